package log

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// records makes a batch of n records with the values v0, v1, ...
func records(n int, opts ...func(*batch.Builder)) []byte {
	w := batch.Builder{}
	for _, o := range opts {
		o(&w)
	}
	for i := range n {
		w.Append(time.Now().UnixMilli(), fmt.Appendf(nil, "k%d", i), fmt.Appendf(nil, "v%d", i))
	}
	return w.MustBuild()
}

func producer(id int64, epoch int16, seq int32) func(*batch.Builder) {
	return func(w *batch.Builder) {
		w.Idempotent, w.ProducerID, w.ProducerEpoch, w.BaseSequence = true, id, epoch, seq
	}
}

// testClock is a clock that a test moves.
type testClock struct{ ns atomic.Int64 }

func newTestClock(t time.Time) *testClock {
	c := &testClock{}
	c.ns.Store(t.UnixNano())
	return c
}

func (c *testClock) now() time.Time      { return time.Unix(0, c.ns.Load()) }
func (c *testClock) add(d time.Duration) { c.ns.Add(int64(d)) }

func openDir(t testing.TB, path string, opts Options) *Dir {
	t.Helper()
	d, err := OpenDir(path, opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func newTestLog(t testing.TB, opts Options, cfg Config) *Log {
	t.Helper()
	d := openDir(t, t.TempDir(), opts)
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	return l
}

func mustAppend(t testing.TB, l *Log, b []byte) AppendResult {
	t.Helper()
	r, err := l.Append(b, AppendOptions{})
	require.NoError(t, err)
	return r
}

// values reads everything from offset on and returns "offset:value" for each record.
func values(t testing.TB, l *Log, offset int64) []string {
	t.Helper()
	var out []string
	for offset < l.EndOffset() {
		p, err := l.Read(nil, offset, 1<<20, l.EndOffset(), true)
		require.NoError(t, err)
		if len(p) == 0 {
			break
		}
		for len(p) > 0 {
			var b batch.Batch
			b, p, err = batch.Next(p)
			require.NoError(t, err)
			require.NoError(t, b.Check())
			var r batch.Reader
			require.NoError(t, r.Reset(b))
			for {
				rec, ok := r.Next()
				if !ok {
					break
				}
				if rec.Offset >= offset {
					out = append(out, fmt.Sprintf("%d:%s", rec.Offset, rec.Value))
				}
			}
			require.NoError(t, r.Err())
			offset = b.NextOffset()
		}
	}
	return out
}

func TestAppendThenRead(t *testing.T) {
	l := newTestLog(t, Options{}, DefaultConfig())
	r := mustAppend(t, l, records(3))
	require.Equal(t, AppendResult{BaseOffset: 0, LastOffset: 2, LogAppendTimeMs: -1}, r)
	r = mustAppend(t, l, records(2))
	require.Equal(t, int64(3), r.BaseOffset)
	require.NoError(t, l.WaitDurable(context.Background(), 4))
	require.Equal(t, int64(5), l.DurableOffset())
	require.Equal(t, []string{"0:v0", "1:v1", "2:v2", "3:v0", "4:v1"}, values(t, l, 0))
	require.Equal(t, []string{"4:v1"}, values(t, l, 4))
}

func TestReopenAfterCleanCloseAndAfterCrash(t *testing.T) {
	for _, clean := range []bool{true, false} {
		t.Run(fmt.Sprint("clean=", clean), func(t *testing.T) {
			path := t.TempDir()
			d := openDir(t, path, Options{})
			cfg := DefaultConfig()
			cfg.SegmentBytes = 300
			l, err := d.Create("t", 7, [16]byte{1}, cfg)
			require.NoError(t, err)
			for range 10 {
				mustAppend(t, l, records(2))
			}
			require.NoError(t, l.WaitDurable(context.Background(), 19))
			want := values(t, l, 0)
			require.Len(t, want, 20)
			if clean {
				require.NoError(t, d.Close())
			} else {
				require.NoError(t, d.lock.Close())
			}
			d = openDir(t, path, Options{})
			require.Equal(t, clean, d.WasClean())
			l, ok := d.Log("t", 7)
			require.True(t, ok)
			require.Equal(t, [16]byte{1}, l.TopicID())
			require.Equal(t, int64(20), l.EndOffset())
			require.Equal(t, want, values(t, l, 0))
			require.Empty(t, d.Corruptions())
			mustAppend(t, l, records(1))
			require.Len(t, values(t, l, 0), 21)
		})
	}
}
