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
	// before, when set, adds to the log that all scenes begin with.
	before func(t require.TestingT, d *Dir, l *Log)
	do     func(d *Dir, l *Log) error
	// hurt, when set, damages the disk after the crash.
	hurt func(t require.TestingT, disk *memFS)
	// holds says what must be true after a crash. done says that do returned without an error before it.
	holds func(t require.TestingT, d *Dir, l *Log, done bool)
}

// sceneLog has keys 0 to 9 in turn, a committed and an aborted transaction in each segment, and a tombstone; all of it is synced, and
// the recovery point is at its end.
func sceneLog(t require.TestingT, fs *memFS, cfg Config) (*Dir, *Log) {
	d, err := OpenDir("/log", Options{FS: fs, settling: fs.settle})
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
	lazy := small
	lazy.Durability = DurabilityOS
	threeMore := func(t require.TestingT, _ *Dir, l *Log, done bool) {
		if done {
			require.EqualValues(t, sceneEnd+3, l.EndOffset())
		}
		committed(t, l)
	}
	same := func(t require.TestingT, _ *Dir, l *Log, _ bool) {
		ref := newMemFS()
		d, whole := sceneLog(t, ref, small)
		want := committed(t, whole)
		require.NoError(t, d.Close())
		require.Equal(t, want, committed(t, l))
	}
	return map[string]scene{
		"compaction": {cfg: compacted, do: func(d *Dir, l *Log) error {
			if err := l.Compact(context.Background()); err != nil {
				return err
			}
			return d.checkpoint()
		}, holds: same},
		"truncation": {cfg: small, do: func(d *Dir, l *Log) error { return l.TruncateTo(15) }, holds: func(t require.TestingT, d *Dir, l *Log, done bool) {
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
		"truncation and other records": {cfg: small, do: func(d *Dir, l *Log) error {
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
		}, holds: func(t require.TestingT, d *Dir, l *Log, _ bool) { committed(t, l) }},
		"retention": {cfg: bounded, do: func(d *Dir, l *Log) error { return d.retain(context.Background()) }, holds: func(t require.TestingT, d *Dir, l *Log, done bool) {
			if done {
				require.Positive(t, l.StartOffset())
			}
			committed(t, l)
		}},
		"deletion": {cfg: small, do: func(d *Dir, l *Log) error { return d.Delete("t", 0) }, holds: func(t require.TestingT, _ *Dir, l *Log, done bool) {
			if done {
				require.Nil(t, l, "a deleted partition is there again")
			}
		}},
		"delete records": {cfg: small, do: func(d *Dir, l *Log) error { return l.DeleteRecordsBefore(25) }, holds: func(t require.TestingT, _ *Dir, l *Log, done bool) {
			if done {
				require.EqualValues(t, 25, l.StartOffset())
			}
			committed(t, l)
		}},
		"orderly close": {cfg: small, do: func(d *Dir, l *Log) error {
			if _, err := l.Append(records(3), AppendOptions{LeaderEpoch: 9}); err != nil {
				return err
			}
			return d.Close()
		}, holds: threeMore},
		"orderly close of what was not synced": {cfg: lazy, do: func(d *Dir, l *Log) error {
			for range 2 {
				if _, err := l.Append(records(1), AppendOptions{LeaderEpoch: 9}); err != nil {
					return err
				}
				l.mu.Lock()
				err := l.roll() // Roll would have it synced
				l.mu.Unlock()
				if err != nil {
					return err
				}
			}
			if _, err := l.Append(records(1), AppendOptions{LeaderEpoch: 9}); err != nil {
				return err
			}
			return d.Close()
		}, holds: threeMore},
		"group of segments compacted": compactedGroup(compacted),
		"truncation to a sealed segment": {cfg: small, do: func(d *Dir, l *Log) error {
			// Into the second segment, behind an abort marker, and sealed as it is.
			if err := l.TruncateTo(22); err != nil {
				return err
			}
			if err := l.Roll(); err != nil {
				return err
			}
			if err := l.Sync(); err != nil {
				return err
			}
			return d.checkpoint()
		}, holds: func(t require.TestingT, _ *Dir, l *Log, done bool) {
			committed(t, l)
			if !done {
				return
			}
			aborted, err := l.AbortedTxns(0, l.EndOffset())
			require.NoError(t, err)
			require.Len(t, aborted, 1)
		}},
		"creation": {cfg: small, do: func(d *Dir, _ *Log) error {
			l, err := d.Create("u", 0, [16]byte{}, small)
			if err != nil {
				return err
			}
			for range 3 {
				res, err := l.Append(records(1), AppendOptions{})
				if err == nil {
					err = l.WaitDurable(context.Background(), res.LastOffset)
				}
				if err != nil {
					return err
				}
			}
			return l.SetTopicID([16]byte{7})
		}, holds: func(t require.TestingT, d *Dir, _ *Log, done bool) {
			if !done {
				return
			}
			l, ok := d.Log("u", 0)
			require.True(t, ok)
			require.GreaterOrEqual(t, l.EndOffset(), int64(3))
			require.Equal(t, [16]byte{7}, l.TopicID())
		}},
		"damage": {cfg: small, do: func(_ *Dir, l *Log) error {
			_, err := l.Append(records(2), AppendOptions{LeaderEpoch: 9})
			return err
		}, hurt: func(t require.TestingT, disk *memFS) {
			// With no recovery point all is read.
			require.NoError(t, disk.Remove("/log/"+fileRecoveryPoint))
			require.NoError(t, disk.SyncDir("/log"))
			disk.flip("/log/t-0/00000000000000000000.log", batch.HeaderSize+10, 0x10)
		}, holds: func(t require.TestingT, _ *Dir, l *Log, _ bool) {
			require.GreaterOrEqual(t, l.EndOffset(), int64(sceneEnd))
			committed(t, l)
			n := int64(0)
			for next := l.StartOffset(); next < l.EndOffset(); {
				p, err := l.Read(nil, next, 1, l.EndOffset(), true)
				require.NoError(t, err)
				require.NotEmpty(t, p)
				b := batch.Batch(p)
				n += int64(b.LastOffsetDelta()) + 1
				next = b.NextOffset()
			}
			require.GreaterOrEqual(t, n, l.EndOffset()-3, "more than the damaged batch is lost")
		}},
		"restart further on": {cfg: small, do: func(d *Dir, l *Log) error { return l.TruncateFullyAndStartAt(500) }, holds: func(t require.TestingT, _ *Dir, l *Log, done bool) {
			if done {
				require.EqualValues(t, 500, l.StartOffset())
				require.EqualValues(t, 500, l.EndOffset())
			}
			committed(t, l)
		}},
	}
}

// compactedGroup is a group of three segments of which compaction leaves the first: what is left of a transaction lies in the second, its
// marker in the third, and both go at once. The second without the third would be a transaction that nobody ends.
func compactedGroup(cfg Config) scene {
	cfg.DeleteRetentionMs, cfg.MinCleanableDirtyRatio, cfg.SegmentBytes = 0, 0, 1<<20
	return scene{cfg: cfg, before: func(t require.TestingT, d *Dir, l *Log) {
		seq := int32(0)
		put := func(key string, txn bool) {
			b := batch.Builder{}
			if txn {
				b.Idempotent, b.Transactional, b.ProducerID, b.BaseSequence = true, true, 9, seq
				seq++
			}
			b.Append(2000, []byte(key), []byte(key))
			_, err := l.Append(b.MustBuild(), AppendOptions{Guard: Unverified, LeaderEpoch: 9})
			require.NoError(t, err)
		}
		end := func() {
			_, err := l.Append(batch.BuildEndTxn(2000, 9, 0, batch.EndTxn{Type: batch.ControlAbort}), AppendOptions{Origin: Coordinator, LeaderEpoch: 9})
			require.NoError(t, err)
		}
		roll := func() {
			require.NoError(t, l.Roll())
			require.NoError(t, l.Sync())
		}
		compact := func() {
			for now := d.nowMs(); d.nowMs() <= now; { // horizons are in milliseconds
			}
			require.NoError(t, l.Compact(context.Background()))
			require.NoError(t, l.Compact(context.Background()))
		}
		put("stays", false)
		roll()
		put("aborted", true)
		roll()
		end()
		roll()
		// One at a time, so that they stay three segments, until the batch is empty and the marker has its horizon.
		cfg := l.Config()
		apart := cfg
		apart.SegmentBytes = 1
		l.UpdateConfig(apart)
		compact()
		l.UpdateConfig(cfg)
		put("later", true) // the batch before no longer is the producer's last
		end()
		roll()
		require.NoError(t, d.checkpoint())
		for now := d.nowMs(); d.nowMs() <= now; {
		}
	}, do: func(_ *Dir, l *Log) error { return l.Compact(context.Background()) }, holds: func(t require.TestingT, _ *Dir, l *Log, _ bool) {
		require.Equal(t, "stays", committed(t, l)["stays"])
		require.Equal(t, l.EndOffset(), l.LastStableOffset(), "a transaction is open that was ended")
	}}
}

// start makes the scene's log on a disk that stops at the at-th operation of what the scene does, and has it do that. over says
// that the scene ended before.
func (sc scene) start(j *judge, at int, ignore func(site string) bool, seen map[string][]int) (fs *memFS, d *Dir, done, over bool) {
	fs = newMemFS()
	d, l := sceneLog(j, fs, sc.cfg)
	if sc.before != nil {
		sc.before(j, d, l)
	}
	d.syncer.mu.Lock()
	for d.syncer.workers > 0 { // what Roll asked for
		d.syncer.idle.Wait()
	}
	d.syncer.mu.Unlock()
	fs.mu.Lock()
	fs.failAt = fs.ops + at
	fs.ignore, fs.seen = ignore, seen
	fs.mu.Unlock()
	err := sc.do(d, l)
	fs.mu.Lock()
	over = fs.ops < fs.failAt
	fs.mu.Unlock()
	return fs, d, err == nil, over
}

// crashed is what a crash leaves, with the given fates of what was not synced.
func (sc scene) crashed(j *judge, fs *memFS, seed, files, dirs int, ignore func(site string) bool, seen map[string][]int) *memFS {
	disk := fs.crashWith(rand.New(rand.NewPCG(uint64(seed), uint64(files*4+dirs))), files, dirs)
	if sc.hurt != nil {
		sc.hurt(j, disk)
	}
	disk.mu.Lock()
	disk.ignore, disk.seen = ignore, seen
	disk.mu.Unlock()
	return disk
}

func (sc scene) open(fs *memFS) (*Dir, error) {
	return OpenDir("/log", Options{FS: fs, settling: fs.settle, removeAtOnce: 100, removePause: 1, room: smallRoom, zeros: smallZeros, writeOut: smallWriteOut, Config: func(string) (Config, bool) { return sc.cfg, true }})
}

// judged runs fn and returns what it found wrong.
func judged(fn func(j *judge)) (found string) {
	j := &judge{}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(verdict); !ok {
				panic(r)
			}
			found = j.found.String()
		}
	}()
	fn(j)
	return ""
}

// off cuts a disk from a directory that is still open on it.
func (m *memFS) off(d *Dir) {
	m.mu.Lock()
	m.failAt = 1
	m.mu.Unlock()
	_ = d.Close()
}

// play runs a scene with the disk stopping at its at-th operation, for every fate. found is what was wrong; over says that
// the scene ended before. The seeds differ in what happens after the log was opened again: nothing; the power fails right then; it
// fails after one more record was acknowledged.
func (sc scene) play(at, seeds int, ignore func(site string) bool, seen map[string][]int) (found string, over bool) {
	found = judged(func(j *judge) {
		var fs *memFS
		var d *Dir
		var done bool
		fs, d, done, over = sc.start(j, at, ignore, seen)
		defer fs.off(d)
		for k := range seeds {
			for files := range 5 {
				for dirs := range 4 {
					disk := sc.crashed(j, fs, at*100+k, files, dirs, ignore, seen)
					again, err := sc.open(disk)
					require.NoError(j, err)
					log, _ := again.Log("t", 0)
					sc.holds(j, again, log, done)
					if k%3 > 0 {
						again, disk = sc.again(j, again, disk, at*100+k, k%3 == 2, files == 1 && dirs == 1)
						if k%3 == 1 {
							log, _ = again.Log("t", 0)
							sc.holds(j, again, log, done)
						}
					}
					disk.off(again)
				}
			}
		}
	})
	return found, over
}

// again has the power fail once more, after a record was acknowledged or at once, and opens what is left: what an opened log shows is
// durable. whole says that only the process died before, so that nothing of what it left was synced.
func (sc scene) again(j *judge, d *Dir, disk *memFS, seed int, write, whole bool) (*Dir, *memFS) {
	r := rand.New(rand.NewPCG(uint64(seed), 11))
	ends, logs := map[string]int64{}, d.Logs()
	for _, l := range logs {
		if write {
			b := batch.Builder{}
			b.Append(9_000_000, []byte("after"), []byte("after"))
			res, err := l.Append(b.MustBuild(), AppendOptions{LeaderEpoch: 99})
			require.NoError(j, err)
			if l.durability() == DurabilityOS {
				require.NoError(j, l.Sync())
			}
			require.NoError(j, l.WaitDurable(context.Background(), res.LastOffset))
		}
		ends[l.topic] = l.EndOffset()
	}
	files, dirs := []int{0, 2, 3, 4}[r.IntN(4)], []int{0, 3}[r.IntN(2)]
	if whole {
		files = 0
	}
	disk2 := disk.crashWith(r, files, dirs)
	disk.off(d)
	d, err := sc.open(disk2)
	require.NoError(j, err)
	for topic, end := range ends {
		l, ok := d.Log(topic, 0)
		require.True(j, ok, "%s was there and is gone", topic)
		require.GreaterOrEqual(j, l.EndOffset(), end, "%s was longer", topic)
		got := committed(j, l)
		if write {
			require.Equal(j, "after", got["after"], "%s lost an acknowledged record", topic)
		}
	}
	return d, disk2
}

// playOpening has the disk stop at the at-th operation of a scene, and then at every operation of the opening that follows.
func (sc scene) playOpening(at, seeds int, ignore func(site string) bool) (found string, over bool) {
	found = judged(func(j *judge) {
		var fs *memFS
		var d *Dir
		var done bool
		fs, d, done, over = sc.start(j, at, ignore, nil)
		defer fs.off(d)
		for k := range seeds {
			for _, fate := range [][2]int{{0, 0}, {1, 1}, {1, 2}, {3, 3}} {
				for m, opened := 1, false; !opened; m++ {
					disk := sc.crashed(j, fs, at*100+k, fate[0], fate[1], ignore, nil)
					disk.mu.Lock()
					disk.failAt = disk.ops + m
					disk.mu.Unlock()
					first, err := sc.open(disk)
					opened = err == nil
					disk2 := disk.crashWith(rand.New(rand.NewPCG(uint64(at*100+k), uint64(m))), (k+m)%5, 3)
					if opened {
						disk.off(first)
					}
					again, err := sc.open(disk2)
					require.NoError(j, err)
					log, _ := again.Log("t", 0)
					sc.holds(j, again, log, done)
					disk2.off(again)
				}
			}
		}
	})
	return found, over
}

func TestCrashAtEveryOperationOfMaintenance(t *testing.T) {
	for name, sc := range scenes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for at := 1; ; at++ {
				found, over := sc.play(at, 3, nil, nil)
				require.Empty(t, found, "crash at operation %d", at)
				if at%4 == 1 {
					found, _ := sc.playOpening(at, 1, nil)
					require.Empty(t, found, "crash at operation %d, and when it was opened again", at)
				}
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
			ignore := func(s string) bool { return s == site }
			found, over := all[name].play(at, 3, ignore, nil)
			if found == "" {
				found, _ = all[name].playOpening(at, 2, ignore)
			}
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
