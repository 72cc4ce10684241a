package log

import (
	"context"
	"fmt"
	"math"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheCleanersWorkersTakeTheDirtiestOfAllDirectories(t *testing.T) {
	a, b := &Dir{}, &Dir{}
	due := func(d *Dir, id string, ratio float64) dueLog { return dueLog{&Log{d: d, id: id}, ratio} }
	c := newCleaner()
	taken := func(l *Log, ok bool) string {
		if !ok {
			return "-"
		}
		return l.id
	}
	require.Equal(t, "-", taken(c.begin()), "nothing waits")
	c.offer(a, []dueLog{due(a, "a8", 0.8), due(a, "a5", 0.5), due(a, "a2", 0.2)})
	c.offer(b, []dueLog{due(b, "b9", 0.9), due(b, "b5", 0.5)})
	require.Equal(t, "b9", taken(c.begin()))
	require.Equal(t, "-", taken(c.begin()), "one at a time")
	c.setThreads(3)
	require.Equal(t, "a8", taken(c.begin()))
	require.Equal(t, "a5", taken(c.begin()), "what was offered first, of two that are as dirty")
	require.Equal(t, "-", taken(c.begin()))
	c.offer(a, []dueLog{due(a, "a7", 0.7)})
	require.Equal(t, "a7", taken(c.next()), "a2 is not due any more")
	c.setThreads(2)
	require.Equal(t, "-", taken(c.next()), "one too many")
	require.Equal(t, "b5", taken(c.next()))
	require.Equal(t, "-", taken(c.next()))
	require.Equal(t, "-", taken(c.next()))
	require.Zero(t, c.running)
	require.Empty(t, c.waiting)
	c.offer(a, []dueLog{due(a, "a1", 0.1)})
	require.Equal(t, "a1", taken(c.begin()), "an end counts as one")
	require.EqualValues(t, 50, c.share(100), "of two")
}

func TestTheRateOfTheCleaner(t *testing.T) {
	for _, x := range []struct {
		set  float64
		want int64
	}{
		{0, 0}, {0.5, 1}, {1, 1}, {1e6, 1_000_000}, {1 << 62, 1 << 62}, {1 << 63, math.MaxInt64}, {math.MaxFloat64, math.MaxInt64}, {math.Inf(1), math.MaxInt64},
		{-1, math.MaxInt64}, {math.Inf(-1), math.MaxInt64}, {math.NaN(), math.MaxInt64},
	} {
		require.Equal(t, x.want, cleanerRate(x.set), "%v", x.set)
	}
}

// dirtyLog makes a compacted partition with two sealed segments and one that is active; only its last key stays.
func dirtyLog(t *testing.T, ds *Dirs, topic string) *Log {
	t.Helper()
	cfg := compactedConfig()
	cfg.SegmentBytes = 150
	l, err := ds.Create(topic, 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	for i := range 3 {
		mustAppend(t, l, at(1, "k", fmt.Sprint("value ", i, " ", strings.Repeat("x", 40))))
	}
	require.Equal(t, 3, l.Segments())
	require.NoError(t, l.Sync())
	return l
}

// clean says whether compaction has seen all of a log but its active segment.
func clean(l *Log) bool {
	if !l.cleanMu.TryLock() {
		return false // it is at it
	}
	defer l.cleanMu.Unlock()
	segs := l.list()
	return l.dirtyFrom >= segs[len(segs)-1].base
}

// TestACompactionThatTakesLongHoldsUpNoOther: with a second worker what becomes due meanwhile is compacted, in whatever directory it is; with one it waits.
func TestACompactionThatTakesLongHoldsUpNoOther(t *testing.T) {
	for _, threads := range []int{1, 2} {
		t.Run(fmt.Sprint("threads=", threads), func(t *testing.T) {
			began, goOn := make(chan struct{}), make(chan struct{})
			var once sync.Once
			var atOnce, most atomic.Int32
			fs := &openingFS{FS: newMemFS()}
			fs.before = func(name string) {
				if !strings.HasSuffix(name, suffixLog+suffixCleaned) {
					return
				}
				now := atOnce.Add(1)
				defer atOnce.Add(-1)
				for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() { //nolint:revive // until it is the most
				}
				if strings.HasPrefix(path.Base(path.Dir(name)), "long") {
					once.Do(func() { close(began) })
					<-goOn
				}
			}
			ds := openDirs(t, Options{FS: fs, CleanerBackoff: time.Millisecond, CleanerThreads: threads}, "/a", "/b")
			long := dirtyLog(t, ds, "long")
			ctx, stop := context.WithCancel(t.Context())
			ran := make(chan error, 1)
			go func() { ran <- ds.Run(ctx) }()
			<-began
			var others []*Log
			for i := range 4 {
				others = append(others, dirtyLog(t, ds, fmt.Sprint("other", i)))
			}
			compacted := func() (n int) {
				for _, l := range others {
					if clean(l) {
						n++
					}
				}
				return n
			}
			if threads == 1 {
				require.Eventually(t, func() bool { // offered, and nobody takes them
					ds.cleaner.mu.Lock()
					defer ds.cleaner.mu.Unlock()
					return len(ds.cleaner.waiting) == len(others)
				}, 10*time.Second, time.Millisecond)
				require.Zero(t, compacted())
			} else {
				require.Eventually(t, func() bool { return compacted() == len(others) }, 10*time.Second, time.Millisecond)
			}
			require.False(t, clean(long))
			close(goOn)
			require.Eventually(t, func() bool { return compacted() == len(others) && clean(long) }, 10*time.Second, time.Millisecond)
			require.EqualValues(t, threads, most.Load())
			require.Eventually(t, func() bool { // a crash now has nothing compacted again
				n := 0
				for _, d := range ds.all {
					d.checkpointMu.Lock()
					n += len(d.cleanerFile)
					d.checkpointMu.Unlock()
				}
				return n == 1+len(others)
			}, 10*time.Second, time.Millisecond)
			stop()
			require.NoError(t, <-ran)
			require.Zero(t, ds.cleaner.running)
		})
	}
}

// TestTheCleanerHoldsItsRate: what is read, twice, and written counts. That it takes no less time than the rate wants is no matter of the machine's speed.
func TestTheCleanerHoldsItsRate(t *testing.T) {
	cfg := compactedConfig()
	cfg.SegmentBytes = 150_000
	ds := openDirs(t, Options{FS: newMemFS()}, "/a")
	l, err := ds.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	for i := 0; l.Segments() < 3; i++ {
		mustAppend(t, l, at(1, fmt.Sprint("key", i), strings.Repeat("v", 5000)))
	}
	require.NoError(t, l.Sync())
	bytes := 3 * (l.Size() - l.list()[2].size.Load()) // no key has a later record
	const rate = 1 << 20
	ds.SetCleanerRate(rate)
	began := time.Now()
	require.NoError(t, l.Compact(t.Context()))
	require.GreaterOrEqual(t, time.Since(began).Seconds(), float64(bytes-rate/10-10_000)/rate, "%d bytes", bytes)
	ds.SetCleanerRate(math.MaxFloat64)
	require.NoError(t, l.Roll())
	require.NoError(t, l.Compact(t.Context()))
	require.Equal(t, l.EndOffset(), l.dirtyFrom)
}

// TestACompactionThatWaitsForItsRateGivesWay to whoever deletes, closes, empties or moves its log.
func TestACompactionThatWaitsForItsRateGivesWay(t *testing.T) {
	for name, hurry := range map[string]func(*Dirs, *Log) error{
		"delete":   func(ds *Dirs, _ *Log) error { return ds.Delete("t", 0) },
		"close":    func(ds *Dirs, _ *Log) error { return ds.Close() },
		"truncate": func(_ *Dirs, l *Log) error { return l.TruncateFullyAndStartAt(1000) },
		"move":     func(ds *Dirs, l *Log) error { return ds.Move("t", 0, ds.all[1], &place{l: l}) },
	} {
		t.Run(name, func(t *testing.T) {
			ds := openDirs(t, Options{FS: newMemFS()}, "/a", "/b")
			l := dirtyLog(t, ds, "t")
			ds.SetCleanerRate(0)
			done := make(chan error, 1)
			go func() { done <- l.Compact(t.Context()) }()
			require.Eventually(t, func() bool { return l.giveWay.Load() != nil }, 10*time.Second, time.Millisecond)
			require.NoError(t, hurry(ds, l))
			require.NoError(t, <-done)
		})
	}
}

func TestACompactionThatWaitsForItsRateGoesOnWhenThatIsRaisedAndEndsWithItsContext(t *testing.T) {
	ds := openDirs(t, Options{FS: newMemFS()}, "/a")
	l := dirtyLog(t, ds, "t")
	ds.SetCleanerRate(0)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Compact(ctx) }()
	require.Eventually(t, func() bool { return l.giveWay.Load() != nil }, 10*time.Second, time.Millisecond)
	stop()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Nil(t, l.giveWay.Load())
	require.False(t, clean(l))
	go func() { done <- l.Compact(t.Context()) }()
	require.Eventually(t, func() bool { return l.giveWay.Load() != nil }, 10*time.Second, time.Millisecond)
	require.False(t, clean(l))
	ds.SetCleanerRate(-1)
	require.NoError(t, <-done)
	require.True(t, clean(l))
}
