package log

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

func compactedConfig() Config {
	c := DefaultConfig()
	c.Compact, c.Delete = true, false
	c.SegmentBytes = 300
	c.MinCleanableDirtyRatio = 0
	c.FileDeleteDelayMs = 0
	return c
}

// pairs returns "offset:key=value" of all records, a dash for a tombstone.
func pairs(t testing.TB, l *Log) []string {
	t.Helper()
	var out []string
	for _, s := range l.list() {
		require.NoError(t, s.batches(func(b batch.Batch) (bool, error) {
			var r batch.Reader
			require.NoError(t, r.Reset(b))
			if b.IsControl() {
				out = append(out, fmt.Sprintf("%d:marker", b.BaseOffset()))
				return true, nil
			}
			if b.RecordCount() == 0 {
				out = append(out, fmt.Sprintf("%d:empty", b.LastOffset()))
			}
			for {
				rec, ok := r.Next()
				if !ok {
					return true, r.Err()
				}
				v := string(rec.Value)
				if rec.Value == nil {
					v = "-"
				}
				out = append(out, fmt.Sprintf("%d:%s=%s", rec.Offset, rec.Key, v))
			}
		}))
	}
	return out
}

// script appends one batch for each word: "k=v,k2=v2", a value of "-" is a tombstone; "|" rolls.
func script(t testing.TB, l *Log, now time.Time, codec batch.Codec, words string) {
	t.Helper()
	for word := range strings.FieldsSeq(words) {
		if word == "|" {
			require.NoError(t, l.Roll())
			continue
		}
		w := batch.Builder{Codec: codec}
		for kv := range strings.SplitSeq(word, ",") {
			k, v, _ := strings.Cut(kv, "=")
			var value []byte
			if v != "-" {
				value = []byte(v)
			}
			w.Append(now.UnixMilli(), []byte(k), value)
		}
		mustAppend(t, l, w.MustBuild())
	}
	require.NoError(t, l.Sync())
}

func TestCompactionKeepsTheLastValueOfEachKeyAndAllOffsets(t *testing.T) {
	for codec := batch.None; codec <= batch.Zstd; codec++ {
		l := newTestLog(t, Options{}, compactedConfig())
		script(t, l, time.Now(), codec, "a=1,b=1 a=2 | c=1,a=3 b=2 | a=4 |")
		script(t, l, time.Now(), codec, "c=9")
		end := l.EndOffset()
		require.NoError(t, l.Compact(context.Background()))
		require.Equal(t, []string{"3:c=1", "5:b=2", "6:a=4", "7:c=9"}, pairs(t, l), "the active segment does not count")
		require.Equal(t, end, l.EndOffset())
		require.Equal(t, []string{"3:1", "5:2", "6:4", "7:9"}, values(t, l, 0))
		require.Equal(t, []string{"5:2", "6:4", "7:9"}, values(t, l, 4))
		// The codec stays, the batch keeps its offsets.
		p, err := l.Read(nil, 3, 1, 100, true)
		require.NoError(t, err)
		b := batch.Batch(p)
		require.Equal(t, []any{codec, int64(3), int64(4), int32(1)}, []any{b.Codec(), b.BaseOffset(), b.LastOffset(), b.RecordCount()})
		require.NoError(t, l.Roll())
		require.NoError(t, l.Compact(context.Background()))
		require.Equal(t, []string{"5:b=2", "6:a=4", "7:c=9"}, pairs(t, l))
	}
}

func TestTombstonesStayUntilTheirHorizon(t *testing.T) {
	clock := newTestClock(time.Now())
	cfg := compactedConfig()
	cfg.DeleteRetentionMs = 10_000
	l := newTestLog(t, Options{Now: clock.now}, cfg)
	script(t, l, clock.now(), 0, "a=1 b=1 | a=-,c=1 |")
	require.NoError(t, l.Compact(context.Background()))
	require.Equal(t, []string{"1:b=1", "2:a=-", "3:c=1"}, pairs(t, l))
	p, err := l.Read(nil, 2, 1, 100, true)
	require.NoError(t, err)
	ms, ok := batch.Batch(p).DeleteHorizonMs()
	require.True(t, ok)
	require.Equal(t, clock.now().UnixMilli()+10_000, ms)
	var r batch.Reader
	require.NoError(t, r.Reset(p))
	rec, _ := r.Next()
	require.Equal(t, clock.now().UnixMilli(), rec.Timestamp, "the horizon does not change timestamps")
	script(t, l, clock.now(), 0, "d=1 |")
	require.NoError(t, l.Compact(context.Background()))
	require.Contains(t, pairs(t, l), "2:a=-")
	clock.add(10 * time.Second)
	script(t, l, clock.now(), 0, "e=1 |")
	require.NoError(t, l.Compact(context.Background()))
	require.Equal(t, []string{"1:b=1", "3:c=1", "4:d=1", "5:e=1"}, pairs(t, l))
}

func TestCompactionRespectsLagWatermarkAndOpenTransactions(t *testing.T) {
	clock := newTestClock(time.Now())
	cfg := compactedConfig()
	cfg.MinCompactionLagMs = 60_000
	l := newTestLog(t, Options{Now: clock.now}, cfg)
	script(t, l, clock.now(), 0, "a=1 | a=2 | a=3 |")
	all := pairs(t, l)
	require.NoError(t, l.Compact(context.Background()))
	require.Equal(t, all, pairs(t, l), "too young")
	clock.add(61 * time.Second)
	l.SetHighWatermark(2)
	require.NoError(t, l.Compact(context.Background()))
	require.Equal(t, []string{"1:a=2", "2:a=3"}, pairs(t, l), "not replicated")
	l.SetHighWatermark(1000)
	mustAppend(t, l, records(1, producer(1, 0, 0), func(w *batch.Builder) { w.Transactional = true }))
	require.NoError(t, l.Roll())
	script(t, l, clock.now(), 0, "k0=9 |")
	clock.add(2 * time.Minute)
	require.NoError(t, l.Compact(context.Background()))
	require.Equal(t, []string{"2:a=3", "3:k0=v0", "4:k0=9"}, pairs(t, l), "a transaction is open")
}

func TestCompactionDropsAbortedRecordsAndKeepsProducerState(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, Options{})
	cfg := compactedConfig()
	cfg.DeleteRetentionMs = 0
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	now := time.Now()
	txn := func(id int64, seq int32, kv string) {
		w := batch.Builder{Transactional: true, Idempotent: true, ProducerID: id, BaseSequence: seq}
		k, v, _ := strings.Cut(kv, "=")
		w.Append(now.UnixMilli(), []byte(k), []byte(v))
		mustAppend(t, l, w.MustBuild())
	}
	mark := func(id int64, typ batch.ControlType) {
		_, err := l.Append(batch.BuildEndTxn(now.UnixMilli(), id, 0, batch.EndTxn{Type: typ}), AppendOptions{Origin: Coordinator})
		require.NoError(t, err)
	}
	txn(1, 0, "a=committed")     // 0
	mark(1, batch.ControlCommit) // 1
	txn(1, 1, "a=aborted")       // 2
	txn(2, 0, "b=committed")     // 3
	mark(1, batch.ControlAbort)  // 4
	mark(2, batch.ControlCommit) // 5
	require.NoError(t, l.Roll())
	require.NoError(t, l.Sync())
	require.NoError(t, l.Compact(context.Background()))
	require.Equal(t, []string{"0:a=committed", "1:marker", "2:empty", "3:b=committed", "4:marker", "5:marker"}, pairs(t, l))
	aborted, err := l.AbortedTxns(0, 100)
	require.NoError(t, err)
	require.Len(t, aborted, 1)

	txn(1, 2, "a=again") // 6
	mark(1, batch.ControlCommit)
	txn(2, 1, "b=again") // 8
	mark(2, batch.ControlCommit)
	require.NoError(t, l.Roll())
	require.NoError(t, l.Sync())
	for range 4 {
		script(t, l, now, 0, "z=1 |")
		require.NoError(t, l.Compact(context.Background()))
	}
	got := pairs(t, l)
	require.Equal(t, []string{"6:a=again", "7:marker", "8:b=again", "9:marker", "13:z=1"}, got, "markers of empty transactions go")
	aborted, err = l.AbortedTxns(0, 100)
	require.NoError(t, err)
	require.Empty(t, aborted)
	require.NoError(t, d.lock.Close()) // a crash: the state is rebuilt from what is left
	d = openDir(t, path, Options{})
	l, _ = d.Log("t", 0)
	w := batch.Builder{Transactional: true, Idempotent: true, ProducerID: 1, BaseSequence: 2}
	w.Append(now.UnixMilli(), []byte("a"), []byte("again"))
	require.True(t, mustAppend(t, l, w.MustBuild()).Duplicate)
	txn(1, 3, "a=more")
}

// TestAnEmptiedBatchIsNotCompressed: Java's consumers fail at a batch that says it is compressed and holds no bytes.
func TestAnEmptiedBatchIsNotCompressed(t *testing.T) {
	for codec := batch.Gzip; codec <= batch.Zstd; codec++ {
		t.Run(codec.String(), func(t *testing.T) {
			l := newTestLog(t, Options{}, compactedConfig())
			w := batch.Builder{Codec: codec, Idempotent: true, ProducerID: 5}
			w.Append(time.Now().UnixMilli(), []byte("a"), []byte("1"))
			mustAppend(t, l, w.MustBuild())
			script(t, l, time.Now(), codec, "a=2 |")
			require.NoError(t, l.Compact(t.Context()))
			require.Equal(t, []string{"0:empty", "1:a=2"}, pairs(t, l))
			p, err := l.Read(nil, 0, 1, 2, true)
			require.NoError(t, err)
			require.Equal(t, batch.None, batch.Batch(p).Codec())
			require.NoError(t, batch.Batch(p).Check())
		})
	}
}

func TestCompactionInBoundedMemoryTakesSeveralPasses(t *testing.T) {
	cfg := compactedConfig()
	cfg.SegmentBytes = 4000
	l := newTestLog(t, Options{CleanerBufferBytes: 1}, cfg) // the least: 1024 slots
	r := rand.New(rand.NewPCG(1, 2))
	want := map[string]string{}
	for i := range 6000 {
		k, v := fmt.Sprint("k", r.IntN(2500)), fmt.Sprint(i)
		mustAppend(t, l, at(time.Now().UnixMilli(), k, v))
		want[k] = v
	}
	require.NoError(t, l.Roll())
	require.NoError(t, l.Sync())
	passes := 0
	for ; l.dirtyFrom < l.EndOffset(); passes++ {
		require.Less(t, passes, 20)
		require.NoError(t, l.Compact(context.Background()))
	}
	require.Greater(t, passes, 2)
	got := map[string]string{}
	n := 0
	for _, p := range pairs(t, l) {
		_, kv, _ := strings.Cut(p, ":")
		k, v, _ := strings.Cut(kv, "=")
		got[k] = v
		n++
	}
	require.Equal(t, want, got)
	require.Less(t, n, 5000)
}

func TestCleanerPicksDirtyLogsAndRemembersWhereItWas(t *testing.T) {
	path := t.TempDir()
	open := func() *Dir {
		return openDir(t, path, Options{Config: func(string) (Config, bool) {
			c := compactedConfig()
			c.MinCleanableDirtyRatio = 0.5
			return c, true
		}})
	}
	d := open()
	cfg := compactedConfig()
	cfg.MinCleanableDirtyRatio = 0.5
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	script(t, l, time.Now(), 0, "a=1 a=2 a=3 | b=1 |")
	require.NoError(t, d.Housekeep(context.Background()))
	require.Equal(t, []string{"2:a=3", "3:b=1"}, pairs(t, l))
	p, err := os.ReadFile(filepath.Join(path, fileCleaner))
	require.NoError(t, err)
	require.Equal(t, "0\n1\nt 0 4\n", string(p))
	require.NoError(t, d.Close())
	d = open()
	l, _ = d.Log("t", 0)
	script(t, l, time.Now(), 0, "b=2 |")
	require.NoError(t, d.Housekeep(context.Background()))
	require.Equal(t, []string{"2:a=3", "3:b=1", "4:b=2"}, pairs(t, l), "a third is dirty, less than min.cleanable.dirty.ratio")
	script(t, l, time.Now(), 0, "b=3,b=4,b=5 |")
	require.NoError(t, d.Housekeep(context.Background()))
	require.Equal(t, []string{"2:a=3", "7:b=5"}, pairs(t, l))
}

func TestALogThatCannotBeReadIsNotCompactedAgain(t *testing.T) {
	for _, damaged := range []struct {
		what string
		at   int64
	}{{"a record", batch.HeaderSize + 2}, {"a length", batch.OffsetLength}} {
		t.Run(damaged.what, func(t *testing.T) {
			path, cfg := t.TempDir(), compactedConfig()
			cfg.MaxCompactionLagMs = 0 // what is dirty is looked at before the pass, too
			open := func() *Dir {
				return openDir(t, path, Options{Config: func(string) (Config, bool) { return cfg, true }})
			}
			d := open()
			rotten, err := d.Create("a", 0, [16]byte{1}, cfg)
			require.NoError(t, err)
			sound, err := d.Create("b", 0, [16]byte{2}, cfg)
			require.NoError(t, err)
			script(t, rotten, time.Now(), 0, "a=1 a=2 |")
			script(t, sound, time.Now(), 0, "a=1 a=2 |")
			f, err := os.OpenFile(filepath.Join(path, "a-0", "00000000000000000000.log"), os.O_RDWR, 0)
			require.NoError(t, err)
			var b [1]byte
			_, err = f.ReadAt(b[:], damaged.at)
			require.NoError(t, err)
			_, err = f.WriteAt([]byte{b[0] ^ 0x40}, damaged.at)
			require.NoError(t, err)
			require.NoError(t, f.Close())

			err = d.Housekeep(context.Background())
			require.ErrorIs(t, err, batch.ErrCorrupt)
			require.ErrorContains(t, err, "compact a-0: ")
			require.ErrorContains(t, err, "not compacted again before the next start")
			require.True(t, rotten.Uncleanable())
			require.Equal(t, []string{"1:a=2"}, pairs(t, sound), "the others are compacted")

			script(t, sound, time.Now(), 0, "a=3 |")
			require.NoError(t, d.Housekeep(context.Background()), "it is not read again")
			require.Equal(t, []string{"2:a=3"}, pairs(t, sound))
			appendOne(t, rotten)
			require.NoError(t, d.Close())

			d = open()
			rotten, _ = d.Log("a", 0)
			require.ErrorIs(t, d.Housekeep(context.Background()), batch.ErrCorrupt, "after the next start it is tried anew")
			require.True(t, rotten.Uncleanable())
		})
	}
}

func TestMaxCompactionLagOverridesTheDirtyRatio(t *testing.T) {
	clock := newTestClock(time.Now())
	cfg := compactedConfig()
	cfg.MinCleanableDirtyRatio, cfg.MaxCompactionLagMs = 1, 60_000
	l := newTestLog(t, Options{Now: clock.now}, cfg)
	script(t, l, clock.now(), 0, "a=1 a=2 |")
	require.NoError(t, l.d.Housekeep(context.Background()))
	require.Len(t, pairs(t, l), 2)
	clock.add(61 * time.Second)
	require.NoError(t, l.d.Housekeep(context.Background()))
	require.Len(t, pairs(t, l), 1)
}

func TestReadersGoOnWhileSegmentsAreReplacedAndDeleted(t *testing.T) {
	cfg := compactedConfig()
	cfg.SegmentBytes, cfg.IndexIntervalBytes = 2000, 200
	l := newTestLog(t, Options{MaxOpenFiles: 1, IndexCacheBytes: 1}, cfg)
	const keys = 20
	var stop atomic.Bool
	done := make(chan error, 2)
	for range 2 {
		go func() {
			for !stop.Load() {
				next := l.StartOffset()
				seen := map[string]bool{}
				for next < l.EndOffset() {
					p, err := l.Read(nil, next, 700, l.EndOffset(), true)
					if err != nil {
						done <- err
						return
					}
					for len(p) > 0 {
						var b batch.Batch
						b, p, err = batch.Next(p)
						if err == nil {
							err = b.Check()
						}
						if err == nil && b.LastOffset() < next {
							err = fmt.Errorf("offset %d after %d", b.LastOffset(), next)
						}
						if err != nil {
							done <- err
							return
						}
						var r batch.Reader
						_ = r.Reset(b)
						for rec, ok := r.Next(); ok; rec, ok = r.Next() {
							seen[string(rec.Key)] = true
						}
						next = b.NextOffset()
					}
				}
				if next >= keys && len(seen) != keys {
					done <- fmt.Errorf("saw %d keys of %d", len(seen), keys)
					return
				}
			}
			done <- nil
		}()
	}
	for i := range 60 {
		for k := range keys {
			mustAppend(t, l, at(time.Now().UnixMilli(), fmt.Sprint("k", k), fmt.Sprint(i)))
		}
		require.NoError(t, l.Sync())
		require.NoError(t, l.Compact(context.Background()))
		require.NoError(t, l.d.emptyTrash(context.Background()))
	}
	stop.Store(true)
	require.NoError(t, <-done)
	require.NoError(t, <-done)
}

func TestInterruptedSwapIsFinishedWhenOpened(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, Options{})
	l, err := d.Create("t", 0, [16]byte{1}, compactedConfig())
	require.NoError(t, err)
	script(t, l, time.Now(), 0, "a=1 b=1 | a=2 c=1 | d=1")
	var w batch.Builder
	var raw []byte
	for _, x := range []struct {
		offset int64
		key    string
	}{{1, "b"}, {2, "a"}, {3, "c"}} {
		w.Reset()
		w.BaseOffset = x.offset
		w.Append(5, []byte(x.key), []byte("new"))
		raw = append(raw, w.MustBuild()...)
	}
	require.NoError(t, d.lock.Close())
	dir := filepath.Join(path, "t-0")
	require.NoError(t, os.WriteFile(filepath.Join(dir, offsetName(0, ".log.swap")), raw, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, offsetName(0, ".index.cleaned")), []byte("junk"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, offsetName(2, ".log.cleaned")), []byte("junk"), 0o600))
	d = openDir(t, path, Options{})
	l, _ = d.Log("t", 0)
	require.Equal(t, []string{"1:b=new", "2:a=new", "3:c=new", "4:d=1"}, pairs(t, l))
	require.Equal(t, []string{"2:new", "3:new", "4:1"}, values(t, l, 2))
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.False(t, slices.ContainsFunc(names, func(e os.DirEntry) bool {
		return strings.HasSuffix(e.Name(), ".cleaned") || strings.HasSuffix(e.Name(), ".swap")
	}))
}

// countingFS counts the files that are open, and the most that were.
type countingFS struct {
	FS
	open, most atomic.Int64
}

type countedFile struct {
	File
	fs *countingFS
}

func (f *countingFS) OpenFile(name string, flag int) (File, error) {
	file, err := f.FS.OpenFile(name, flag)
	if err != nil {
		return nil, err
	}
	f.most.Store(max(f.most.Load(), f.open.Add(1)))
	return &countedFile{file, f}, nil
}

func (f *countedFile) Close() error {
	f.fs.open.Add(-1)
	return f.File.Close()
}

// TestCompactionOfVeryManySegmentsOpensNoMoreFilesThanItMay: it holds those of all that become one.
func TestCompactionOfVeryManySegmentsOpensNoMoreFilesThanItMay(t *testing.T) {
	fs := &countingFS{FS: newMemFS()}
	d := openDir(t, "/log", Options{FS: fs, MaxOpenFiles: 10})
	cfg := compactedConfig()
	cfg.SegmentBytes = 100 // one batch
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	for i := range 1000 {
		mustAppend(t, l, at(time.Now().UnixMilli(), fmt.Sprint(i%900), "v"))
	}
	require.NoError(t, l.Sync())
	cfg.SegmentBytes = 1 << 30
	l.UpdateConfig(cfg)
	fs.most.Store(0)
	require.NoError(t, l.Compact(t.Context()))
	require.LessOrEqual(t, fs.most.Load(), int64(groupMost+20))
	require.Equal(t, 5, l.Segments(), "four and the active one")
	script(t, l, time.Now(), 0, "x=1 |")
	require.NoError(t, l.Compact(t.Context()))
	require.Equal(t, 2, l.Segments())
	require.Len(t, pairs(t, l), 901)
}

func TestOffsetMap(t *testing.T) {
	m := newOffsetMap(1 << 20)
	want := map[string]int64{}
	r := rand.New(rand.NewPCG(3, 4))
	for i := int64(0); m.room(1); i++ {
		k := fmt.Sprint(r.IntN(1 << 20))
		m.put([]byte(k), i)
		want[k] = i
	}
	require.Len(t, want, m.n)
	require.LessOrEqual(t, len(m.slots)*offsetSlotBytes, 1<<20)
	require.Greater(t, m.n, 10000)
	for k, o := range want {
		got, ok := m.get([]byte(k))
		require.True(t, ok)
		require.Equal(t, o, got)
	}
	_, ok := m.get([]byte("absent"))
	require.False(t, ok)
}

// openingFS tells of each file that is about to be opened.
type openingFS struct {
	FS
	before func(name string)
}

func (f *openingFS) OpenFile(name string, flag int) (File, error) {
	if f.before != nil {
		f.before(name)
	}
	return f.FS.OpenFile(name, flag)
}

// TestCompactionGivesWay: whoever deletes, closes, empties or moves a log must not wait until all of it is compacted.
func TestCompactionGivesWay(t *testing.T) {
	const segments = 50
	for name, hurry := range map[string]func(*Dirs, *Log) error{
		"delete":   func(ds *Dirs, _ *Log) error { return ds.Delete("t", 0) },
		"close":    func(ds *Dirs, _ *Log) error { return ds.Close() },
		"truncate": func(_ *Dirs, l *Log) error { return l.TruncateFullyAndStartAt(1000) },
		"move":     func(ds *Dirs, l *Log) error { return ds.Move("t", 0, ds.all[1], &place{l: l}) },
	} {
		t.Run(name, func(t *testing.T) {
			fs := &openingFS{FS: newMemFS()}
			ds := openDirs(t, Options{FS: fs}, "/a", "/b")
			cfg := compactedConfig()
			cfg.SegmentBytes = 100 // one batch
			l, err := ds.Create("t", 0, [16]byte{1}, cfg)
			require.NoError(t, err)
			for range segments {
				mustAppend(t, l, records(1))
			}
			require.NoError(t, l.Sync())
			require.Equal(t, segments, l.Segments())
			cleaned, began := 0, make(chan struct{})
			fs.before = func(name string) {
				if strings.HasSuffix(name, suffixLog+suffixCleaned) && strings.HasPrefix(name, "/a") {
					if cleaned++; cleaned == 1 {
						close(began)
					}
					for wait := 0; l.hasty.Load() == 0 && wait < 10_000; wait++ { // a segment that is large enough
						time.Sleep(time.Millisecond)
					}
				}
			}
			done := make(chan error, 1)
			go func() { done <- l.Compact(t.Context()) }()
			<-began
			require.NoError(t, hurry(ds, l))
			require.NoError(t, <-done)
			require.Equal(t, 1, cleaned)
		})
	}
}

// TestRetentionPassesALogByThatIsBeingCompacted: the others do not wait for it, and it has its turn afterwards.
func TestRetentionPassesALogByThatIsBeingCompacted(t *testing.T) {
	fs := &openingFS{FS: newMemFS()}
	d := openDir(t, "/log", Options{FS: fs})
	cfg := compactedConfig()
	cfg.SegmentBytes, cfg.Delete, cfg.RetentionBytes = 100, true, 0
	compacted, err := d.Create("compacted", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	cfg.Compact = false
	other, err := d.Create("other", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	for _, l := range []*Log{compacted, other} {
		for range 3 {
			mustAppend(t, l, records(1))
		}
		require.NoError(t, l.Sync())
	}
	began, goOn := make(chan struct{}), make(chan struct{})
	fs.before = func(name string) {
		if strings.HasSuffix(name, offsetName(0, suffixLog)+suffixCleaned) {
			close(began)
			<-goOn
		}
	}
	done := make(chan error, 2)
	go func() { done <- d.compactDue(t.Context()) }()
	<-began
	go func() { done <- d.retain(t.Context()) }()
	select {
	case err := <-done:
		done <- err
	case <-time.After(5 * time.Second):
		t.Error("retention waits for compaction")
	}
	starts := []int64{compacted.StartOffset(), other.StartOffset()}
	close(goOn)
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	require.Equal(t, []int64{0, 3}, starts)
	require.EqualValues(t, 3, compacted.StartOffset())
}
