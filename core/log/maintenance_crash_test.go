package log

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// A scene is a log on which one thing is done while the disk stops at every operation of it, with every fate of what was not synced.
// Nothing else runs, so that the same operation always is the same one; the long histories of crash_test.go mix everything.
type scene struct {
	cfg Config
	do  func(d *Dir, l *Log) error
	// holds says what must be true after a crash. done says that do returned without an error before it.
	holds func(t require.TestingT, d *Dir, l *Log, done bool)
}

// sceneLog has keys 0 to 9 in turn, a committed and an aborted transaction in each segment, and a tombstone; all of it is synced, and
// the recovery point is at its end.
func sceneLog(t require.TestingT, fs *memFS, cfg Config) (*Dir, *Log) {
	d, err := OpenDir("/log", Options{FS: fs})
	require.NoError(t, err)
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	seq := int32(0)
	put := func(txn bool, n int) {
		b := batch.Builder{}
		if txn {
			b.Idempotent, b.Transactional, b.ProducerID, b.BaseSequence = true, true, 5, seq
			seq += int32(n)
		}
		for i := range n {
			o := l.EndOffset() + int64(i)
			b.Append(1000+o*10, fmt.Appendf(nil, "k%d", o%10), fmt.Appendf(nil, "v%d", o))
		}
		_, err := l.Append(b.MustBuild(), AppendOptions{Guard: Unverified, LeaderEpoch: int32(l.EndOffset() / 20)})
		require.NoError(t, err)
	}
	end := func(c batch.ControlType) {
		o := l.EndOffset()
		_, err := l.Append(batch.BuildEndTxn(1000+o*10, 5, 0, batch.EndTxn{Type: c}), AppendOptions{Origin: Coordinator, LeaderEpoch: int32(o / 20)})
		require.NoError(t, err)
	}
	for i := range 8 {
		put(false, 3)
		put(true, 2)
		if i%2 == 0 {
			end(batch.ControlCommit)
		} else {
			put(true, 2)
			require.NoError(t, l.Roll()) // the abort is in the segment after
			end(batch.ControlAbort)
		}
	}
	require.NoError(t, l.Sync())
	require.NoError(t, l.Roll())
	require.NoError(t, l.Sync())
	require.NoError(t, d.checkpoint())
	return d, l
}

// sceneEnd is where sceneLog ends.
const sceneEnd = 8*(3+2+1) + 4*2

// committed is what a read_committed consumer ends with: the last value of each key, and how many records it saw. All reads, by offset
// and by time, are checked on the way.
func committed(t require.TestingT, l *Log) map[string]string {
	out := map[string]string{}
	aborted, err := l.AbortedTxns(l.StartOffset(), l.EndOffset())
	require.NoError(t, err)
	type rec struct{ off, ts int64 }
	var all []rec
	for next := l.StartOffset(); next < l.EndOffset(); {
		p, err := l.Read(nil, next, 1, l.EndOffset(), true)
		require.NoError(t, err)
		if len(p) == 0 {
			break
		}
		b := batch.Batch(p)
		require.NoError(t, b.Check())
		require.GreaterOrEqual(t, b.LastOffset(), next)
		next = b.NextOffset()
		if b.IsControl() {
			continue
		}
		hidden := b.IsTransactional() && slices.ContainsFunc(aborted, func(a AbortedTxn) bool {
			return a.ProducerID == b.ProducerID() && a.FirstOffset <= b.BaseOffset() && b.BaseOffset() <= a.LastOffset
		})
		var r batch.Reader
		require.NoError(t, r.Reset(b))
		for {
			x, more := r.Next()
			if !more {
				break
			}
			all = append(all, rec{x.Offset, x.Timestamp})
			if !hidden {
				out[string(x.Key)] = string(x.Value)
			}
		}
		require.NoError(t, r.Err())
	}
	for i, r := range all {
		if r.off < l.StartOffset() {
			continue
		}
		at, ts, _, found, err := l.OffsetForTimestamp(r.ts)
		require.NoError(t, err)
		require.True(t, found)
		require.True(t, at <= r.off && ts >= r.ts, "search for %d finds %d", r.ts, at)
		if i > 0 && all[i-1].ts < r.ts && all[i-1].off >= l.StartOffset() {
			require.Greater(t, at, all[i-1].off)
		}
	}
	return out
}

func scenes() map[string]scene {
	small := DefaultConfig()
	small.SegmentBytes, small.IndexIntervalBytes, small.RetentionMs, small.FileDeleteDelayMs = 1200, 100, -1, 0
	compacted := small
	compacted.Compact, compacted.Delete = true, false
	bounded := small
	bounded.RetentionBytes = 1000
	same := func(t require.TestingT, _ *Dir, l *Log, _ bool) {
		ref := newMemFS()
		d, whole := sceneLog(t, ref, small)
		want := committed(t, whole)
		require.NoError(t, d.Close())
		require.Equal(t, want, committed(t, l))
	}
	return map[string]scene{
		"compaction": {compacted, func(d *Dir, l *Log) error {
			if err := l.Compact(context.Background()); err != nil {
				return err
			}
			return d.checkpoint()
		}, same},
		"truncation": {small, func(d *Dir, l *Log) error { return l.TruncateTo(15) }, func(t require.TestingT, d *Dir, l *Log, done bool) {
			require.Less(t, l.StartOffset(), int64(1))
			if done {
				require.LessOrEqual(t, l.EndOffset(), int64(15))
			}
			require.GreaterOrEqual(t, l.EndOffset(), int64(10))
			require.Empty(t, d.Corruptions())
			next := int64(0) // no hole
			for next < l.EndOffset() {
				p, err := l.Read(nil, next, 1, l.EndOffset(), true)
				require.NoError(t, err)
				require.NotEmpty(t, p)
				require.Equal(t, next, batch.Batch(p).BaseOffset())
				next = batch.Batch(p).NextOffset()
			}
		}},
		"truncation and other records": {small, func(d *Dir, l *Log) error {
			if err := l.TruncateTo(15); err != nil {
				return err
			}
			for range 12 { // several segments, none synced
				b := batch.Builder{}
				b.Append(5000, []byte("new"), make([]byte, 300))
				if _, err := l.Append(b.MustBuild(), AppendOptions{LeaderEpoch: 9}); err != nil {
					return err
				}
			}
			return l.d.failure()
		}, func(t require.TestingT, d *Dir, l *Log, _ bool) { committed(t, l) }},
		"retention": {bounded, func(d *Dir, l *Log) error { return d.retain(context.Background()) }, func(t require.TestingT, d *Dir, l *Log, done bool) {
			if done {
				require.Positive(t, l.StartOffset())
			}
			committed(t, l)
		}},
		"deletion": {small, func(d *Dir, l *Log) error { return d.Delete("t", 0) }, func(t require.TestingT, _ *Dir, l *Log, done bool) {
			if done {
				require.Nil(t, l, "a deleted partition is there again")
			}
		}},
		"delete records": {small, func(d *Dir, l *Log) error { return l.DeleteRecordsBefore(25) }, func(t require.TestingT, _ *Dir, l *Log, done bool) {
			if done {
				require.EqualValues(t, 25, l.StartOffset())
			}
			committed(t, l)
		}},
		"orderly close": {small, func(d *Dir, l *Log) error {
			if _, err := l.Append(records(3), AppendOptions{LeaderEpoch: 9}); err != nil {
				return err
			}
			return d.Close()
		}, func(t require.TestingT, _ *Dir, l *Log, done bool) {
			if done {
				require.EqualValues(t, sceneEnd+3, l.EndOffset())
			}
			committed(t, l)
		}},
		"restart further on": {small, func(d *Dir, l *Log) error { return l.TruncateFullyAndStartAt(500) }, func(t require.TestingT, _ *Dir, l *Log, done bool) {
			if done {
				require.EqualValues(t, 500, l.StartOffset())
				require.EqualValues(t, 500, l.EndOffset())
			}
			committed(t, l)
		}},
	}
}

// play runs a scene with the disk stopping at its at-th operation, for every fate. found is what was wrong; over says that
// the scene ended before.
func (sc scene) play(at, seeds int, ignore func(site string) bool, seen map[string][]int) (found string, over bool) {
	j := &judge{}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(verdict); !ok {
				panic(r)
			}
			found = j.found.String()
		}
	}()
	fs := newMemFS()
	d, l := sceneLog(j, fs, sc.cfg)
	fs.mu.Lock()
	fs.failAt = fs.ops + at
	fs.ignore, fs.seen = ignore, seen
	fs.mu.Unlock()
	err := sc.do(d, l)
	fs.mu.Lock()
	over = fs.ops < fs.failAt
	fs.mu.Unlock()
	for k := range seeds {
		for files := range 5 {
			for dirs := range 4 {
				disk := fs.crashWith(rand.New(rand.NewPCG(uint64(at), uint64(k))), files, dirs)
				disk.mu.Lock()
				disk.ignore, disk.seen = ignore, seen
				disk.mu.Unlock()
				again, oerr := OpenDir("/log", Options{FS: disk, Config: func(string) (Config, bool) { return sc.cfg, true }})
				require.NoError(j, oerr)
				if k%2 == 1 { // and the power fails right after
					disk2 := disk.crashWith(rand.New(rand.NewPCG(uint64(at), uint64(k))), (files+k)%5, 3)
					disk.mu.Lock()
					disk.failAt = 1
					disk.mu.Unlock()
					_ = again.Close()
					again, oerr = OpenDir("/log", Options{FS: disk2, Config: func(string) (Config, bool) { return sc.cfg, true }})
					require.NoError(j, oerr)
				}
				log, _ := again.Log("t", 0)
				sc.holds(j, again, log, err == nil)
				_ = again.Close()
			}
		}
	}
	fs.mu.Lock()
	fs.failAt = 1
	fs.mu.Unlock()
	_ = d.Close()
	return "", over
}

func TestCrashAtEveryOperationOfMaintenance(t *testing.T) {
	for name, sc := range scenes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				found, over := sc.play(at, 2, nil, nil)
				require.Empty(t, found, "crash at operation %d", at)
				if over {
					t.Logf("%d operations", at-1)
					return
				}
			}
		})
	}
}

// sabotageScenes ignores the syncs of a site in all scenes until one notices.
func sabotageScenes(site string) string {
	all := scenes()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for at := 1; at < 400; at++ {
			found, over := all[name].play(at, 2, func(s string) bool { return s == site }, nil)
			if found != "" {
				return fmt.Sprintf("%s, crash at operation %d: %s", name, at, found)
			}
			if over {
				break
			}
		}
	}
	return ""
}
