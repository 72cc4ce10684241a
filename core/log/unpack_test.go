package log

import (
	"bytes"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// zeros is a batch of one record of n zeros.
func zeros(t testing.TB, codec batch.Codec, n int) []byte {
	w := batch.Builder{Codec: codec}
	w.Append(time.Now().UnixMilli(), []byte("k"), make([]byte, n))
	b, err := w.Build()
	require.NoError(t, err)
	return b
}

func TestWhatIsRecompressedIsHeldToTheLimitAgain(t *testing.T) {
	for codec, ok := range map[string]bool{"uncompressed": false, "gzip": true, "producer": true, "zstd": true} {
		cfg, err := ParseConfig(map[string]string{"compression.type": codec})
		require.NoError(t, err)
		l := newTestLog(t, Options{}, cfg)
		_, err = l.Append(zeros(t, batch.Zstd, 2<<20), AppendOptions{})
		if ok {
			require.NoError(t, err, codec)
			continue
		}
		require.ErrorIs(t, err, ErrMessageTooLarge, codec)
		require.Zero(t, l.EndOffset())
	}
}

func TestRecompressedBatchesDifferOnlyInTheirCodec(t *testing.T) {
	cfg, err := ParseConfig(map[string]string{"compression.type": "lz4"})
	require.NoError(t, err)
	l := newTestLog(t, Options{}, cfg)
	var sent []byte
	for i, c := range []batch.Codec{batch.LZ4, batch.None, batch.Gzip, batch.LZ4, batch.Snappy} {
		w := batch.Builder{Codec: c}
		for k := range 5 {
			w.Append(time.Now().UnixMilli()+int64(k), []byte{byte(i)}, bytes.Repeat([]byte{byte(k)}, 500), batch.Header{Key: []byte("h"), Value: []byte("v")})
		}
		sent = append(sent, w.MustBuild()...)
	}
	_, err = l.Append(slices.Clone(sent), AppendOptions{LeaderEpoch: 3})
	require.NoError(t, err)
	p, err := l.Read(nil, 0, 1<<20, 25, true)
	require.NoError(t, err)
	var was, is batch.Reader
	for offset := int64(0); len(p) > 0; offset += 5 {
		var a, b batch.Batch
		a, sent, err = batch.Next(sent)
		require.NoError(t, err)
		b, p, err = batch.Next(p)
		require.NoError(t, err)
		require.NoError(t, b.Check())
		require.Equal(t, batch.LZ4, b.Codec())
		require.Equal(t, offset, b.BaseOffset())
		require.Equal(t, a.MaxTimestamp(), b.MaxTimestamp())
		require.Equal(t, a.BaseTimestamp(), b.BaseTimestamp())
		require.NoError(t, was.Reset(a))
		require.NoError(t, is.Reset(b))
		require.Equal(t, was.Unpacked(), is.Unpacked())
	}
	require.Empty(t, sent)
}

// TestBombsWaitForEachOther: batches that unpack to much take turns, whoever sends them and to whatever log, and an ordinary compressed
// batch waits for none of them.
func TestBombsWaitForEachOther(t *testing.T) {
	l := newTestLog(t, Options{}, DefaultConfig())
	for range cap(largeUnpacks) {
		<-largeUnpacks
	}
	var wg sync.WaitGroup
	var bombs [][]byte
	for _, c := range []batch.Codec{batch.Gzip, batch.LZ4, batch.Zstd, batch.Snappy} {
		bombs = append(bombs, zeros(t, c, 12<<20))
	}
	for _, b := range bombs {
		wg.Go(func() {
			_, err := l.Append(b, AppendOptions{})
			require.NoError(t, err)
		})
	}
	require.Eventually(t, func() bool {
		want := int64(0)
		for _, b := range bombs {
			want += int64(len(b))
		}
		return largeQueued.Load() == want
	}, 10*time.Second, time.Millisecond)
	require.Zero(t, l.EndOffset())
	for _, c := range []batch.Codec{batch.Gzip, batch.LZ4, batch.Zstd, batch.Snappy, batch.None} {
		mustAppend(t, l, records(10, func(w *batch.Builder) { w.Codec = c }))
	}
	require.Equal(t, int64(50), l.EndOffset())

	// One more than may wait is sent away.
	largeQueued.Add(maxUnpackQueue)
	_, err := l.Append(zeros(t, batch.Zstd, 12<<20), AppendOptions{})
	require.ErrorIs(t, err, ErrBusy)
	largeQueued.Add(-maxUnpackQueue)

	for range cap(largeUnpacks) {
		largeUnpacks <- nil
	}
	wg.Wait()
	require.Zero(t, largeQueued.Load())
	require.Equal(t, int64(54), l.EndOffset())

	// Alone, a batch is taken however large the queue's limit is.
	off, _, _, _, err := l.OffsetForTimestamp(1)
	require.NoError(t, err)
	require.Zero(t, off)
}

func TestBombsAreCompacted(t *testing.T) {
	cfg := compactedConfig()
	cfg.SegmentBytes = 10 << 20
	l := newTestLog(t, Options{}, cfg)
	for _, c := range []batch.Codec{batch.Gzip, batch.LZ4, batch.Zstd} {
		w := batch.Builder{Codec: c}
		w.Append(time.Now().UnixMilli(), []byte("bomb"), make([]byte, 8<<20))
		w.Append(time.Now().UnixMilli(), []byte(c.String()), []byte("stays"))
		mustAppend(t, l, w.MustBuild()) // all but the last are rebuilt without their bomb
	}
	require.NoError(t, l.Roll())
	l.SetHighWatermark(l.EndOffset())
	require.NoError(t, l.Compact(t.Context()))
	require.Zero(t, largeQueued.Load())
	var got []string
	for _, p := range pairs(t, l) {
		got = append(got, p[:min(len(p), 8)])
	}
	require.Equal(t, []string{"1:gzip=s", "3:lz4=st", "4:bomb=\x00", "5:zstd=s"}, got)
}

// TestGigabytesAreRefusedInLittleMemory: nothing that a batch claims or unpacks to is believed before it has been bounded.
func TestGigabytesAreRefusedInLittleMemory(t *testing.T) {
	small := zeros(t, batch.Zstd, 2<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, limit := range []int{1, 1000, 1 << 20, 2 << 20} {
		for _, c := range []batch.Codec{batch.Gzip, batch.LZ4, batch.Zstd, batch.Snappy} {
			b := batch.Batch(zeros(t, c, 2<<20))
			_, err := batch.Decompress(nil, c, b.RawRecords(), limit)
			require.ErrorIs(t, err, batch.ErrTooLarge, "%s %d", c, limit)
		}
	}
	for range 50 {
		_, err := batch.Decompress(nil, batch.Zstd, batch.Batch(small).RawRecords(), 100<<10)
		require.ErrorIs(t, err, batch.ErrTooLarge)
	}
	// A stream that does not say how much it holds, as Java's do not.
	for _, size := range []int{100, 64 << 10, 3 << 20, 100 << 20} {
		var stream bytes.Buffer
		z, err := zstd.NewWriter(&stream, zstd.WithEncoderConcurrency(1))
		require.NoError(t, err)
		for left := size; left > 0; left -= min(left, 1000) {
			_, err := z.Write(make([]byte, min(left, 1000)))
			require.NoError(t, err)
		}
		require.NoError(t, z.Close())
		for _, limit := range []int{50, 100, 1 << 20, 4 << 20} {
			out, err := batch.Decompress(nil, batch.Zstd, stream.Bytes(), limit)
			if size > limit {
				require.ErrorIs(t, err, batch.ErrTooLarge, "%d %d", size, limit)
				continue
			}
			require.NoError(t, err)
			require.Len(t, out, size)
		}
		_, err = batch.Decompress(nil, batch.Zstd, stream.Bytes()[:stream.Len()-3], 4<<20)
		if size <= 4<<20 {
			require.ErrorIs(t, err, batch.ErrCorrupt)
		}
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<30))
	out, err := batch.Decompress(nil, batch.Zstd, batch.Batch(small).RawRecords(), math.MaxInt32)
	require.NoError(t, err)
	require.Greater(t, len(out), 2<<20)
}
