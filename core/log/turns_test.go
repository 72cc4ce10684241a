package log

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSyncsTakeTurns(t *testing.T) {
	a, b := &segment{}, &segment{}
	begin := func(plain *segment, lane int, ok bool) func(*testing.T, *syncTurns) {
		return func(t *testing.T, s *syncTurns) {
			l, k := s.begin(plain)
			require.Equal(t, ok, k)
			if ok {
				require.Equal(t, lane, l)
			}
		}
	}
	end := func(lane int, due bool) func(*testing.T, *syncTurns) {
		return func(t *testing.T, s *syncTurns) {
			s.end(lane)
			require.Equal(t, due, s.due())
		}
	}
	hold := func(ok bool) func(*testing.T, *syncTurns) {
		return func(t *testing.T, s *syncTurns) { require.Equal(t, ok, s.hold()) }
	}
	want := func(_ *testing.T, s *syncTurns) { s.want() }
	letGo := func(due bool) func(*testing.T, *syncTurns) {
		return func(t *testing.T, s *syncTurns) {
			s.letGo()
			require.Equal(t, due, s.due())
		}
	}
	for name, steps := range map[string][]func(*testing.T, *syncTurns){
		"two of the same segment":              {begin(a, 0, true), begin(a, 1, true), begin(a, 0, false), end(0, true), begin(a, 0, true), end(1, false), begin(a, 1, true)},
		"not of two segments":                  {begin(a, 0, true), begin(b, 0, false), end(0, true), begin(b, 0, true)},
		"nothing joins one that is not plain":  {begin(nil, 0, true), begin(a, 0, false), begin(nil, 0, false), end(0, true)},
		"one that is not plain joins nothing":  {begin(a, 0, true), begin(nil, 0, false), end(0, true), begin(nil, 0, true)},
		"one that is not plain waits for both": {begin(a, 0, true), begin(a, 1, true), end(0, false), begin(nil, 0, false), end(1, true)},
		"holding waits for both":               {begin(a, 0, true), begin(a, 1, true), want, hold(false), end(1, false), hold(false), end(0, false), hold(true), begin(a, 0, false), letGo(true), begin(a, 0, true)},
		"holding goes before":                  {begin(a, 0, true), want, begin(a, 0, false), end(0, false), begin(a, 0, false), hold(true), letGo(true)},
		"two hold after each other":            {want, hold(true), want, hold(false), letGo(false), hold(true), letGo(false)},
	} {
		t.Run(name, func(t *testing.T) {
			var s syncTurns
			for _, step := range steps {
				step(t, &s)
			}
		})
	}
}

// TestNoSyncEndsTooEarly plays appends, rolls and syncs in any order, with a disk that knows what it was told to write. Whatever a sync that ends
// calls durable must have been written by then, by itself or by one that ended before.
func TestNoSyncEndsTooEarly(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for range 2000 {
		type sync struct {
			target, lane int
			segs         []*segment
			upTo         []int
		}
		var turns syncTurns
		written, durable := map[*segment]int{}, map[*segment]int{} // bytes of each
		active, sealed := &segment{}, []*segment(nil)              // sealed with bytes that nobody has begun to sync
		dirty, total, claimed := false, 0, 0
		all := []*segment{active}
		var running []sync
		joined := 0
		for range 60 {
			switch rnd.IntN(5) {
			case 0, 1:
				written[active]++
				total, dirty = total+1, true
			case 2:
				if rnd.IntN(4) == 0 {
					if dirty {
						sealed = append(sealed, active)
					}
					active, dirty = &segment{}, false
					all = append(all, active)
				}
			case 3:
				var plain *segment
				if dirty && len(sealed) == 0 {
					plain = active
				}
				lane, ok := turns.begin(plain)
				if !ok {
					continue
				}
				s := sync{target: total, lane: lane, segs: sealed}
				if dirty {
					s.segs = append(s.segs, active)
				}
				for _, seg := range s.segs {
					s.upTo = append(s.upTo, written[seg])
				}
				sealed, dirty = nil, false
				running = append(running, s)
				joined = max(joined, len(running))
			case 4:
				if len(running) == 0 {
					continue
				}
				i := rnd.IntN(len(running))
				s := running[i]
				running = append(running[:i], running[i+1:]...)
				for i, seg := range s.segs {
					durable[seg] = max(durable[seg], s.upTo[i])
				}
				turns.end(s.lane)
				claimed = max(claimed, s.target)
				have := 0
				for _, seg := range all {
					have += durable[seg]
					if durable[seg] < written[seg] {
						break
					}
				}
				require.GreaterOrEqual(t, have, claimed)
			}
		}
		require.LessOrEqual(t, joined, 2)
	}
}

// stalledSyncs is a log whose syncs of records wait until they are let go: each of them reports itself and takes what it is to return.
func stalledSyncs(t *testing.T) (*memFS, *Dir, *Log, chan chan error) {
	t.Helper()
	m, calls, stall := newMemFS(), make(chan chan error), false
	m.judge = func(op memOp) error {
		if !stall || op.kind != "sync .log" {
			return nil
		}
		m.mu.Unlock()
		defer m.mu.Lock()
		c := make(chan error)
		calls <- c
		return <-c
	}
	d, err := OpenDir("/log", Options{FS: m})
	require.NoError(t, err)
	l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	r := appendOne(t, l)
	require.NoError(t, l.WaitDurable(context.Background(), r.LastOffset))
	m.mu.Lock()
	stall = true
	m.mu.Unlock()
	t.Cleanup(func() {
		go func() {
			for c := range calls {
				c <- nil
			}
		}()
		_ = d.Close()
		close(calls)
	})
	return m, d, l, calls
}

// told has a channel get what becomes of an append.
func told(t *testing.T, l *Log) chan error {
	t.Helper()
	c := make(chan error, 1)
	l.NotifyDurable(appendOne(t, l).LastOffset, func(err error) { c <- err })
	return c
}

func soon[T any](t *testing.T, c chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(30 * time.Second):
		require.FailNow(t, "nothing came")
	}
	return v
}

// pending is an append, and the sync that it waits for.
type pending struct {
	told chan error
	sync chan error
}

// twoSyncs has two appends be synced at the same time.
func twoSyncs(t *testing.T, l *Log, calls chan chan error) (one, two pending) {
	t.Helper()
	one.told = told(t, l)
	one.sync = soon(t, calls)
	two.told = told(t, l)
	two.sync = soon(t, calls)
	return one, two
}

func TestSecondSyncOvertakesTheFirst(t *testing.T) {
	_, _, l, calls := stalledSyncs(t)
	one, two := twoSyncs(t, l, calls)
	three := told(t, l)
	two.sync <- nil
	require.NoError(t, soon(t, one.told), "the second covers what the first began with")
	require.NoError(t, soon(t, two.told))
	require.EqualValues(t, 3, l.DurableOffset())
	third := soon(t, calls)
	require.Empty(t, three)
	third <- nil
	require.NoError(t, soon(t, three))
	one.sync <- nil
	l.holdSyncs()
	require.EqualValues(t, 4, l.DurableOffset(), "the first takes nothing back")
	l.letSyncs()
}

func TestSyncOfANewSegmentWaitsForThoseBefore(t *testing.T) {
	_, _, l, calls := stalledSyncs(t)
	one := told(t, l)
	first := soon(t, calls)
	l.mu.Lock()
	require.NoError(t, l.roll())
	l.mu.Unlock()
	two := told(t, l)
	require.Eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.turns.again }, 30*time.Second, time.Millisecond, "it is put off")
	first <- nil
	require.NoError(t, soon(t, one))
	soon(t, calls) <- nil
	require.NoError(t, soon(t, two))
}

func TestTruncationWaitsForBothSyncs(t *testing.T) {
	_, _, l, calls := stalledSyncs(t)
	one, two := twoSyncs(t, l, calls)
	cut := make(chan error, 1)
	go func() { cut <- l.TruncateTo(1) }()
	require.Eventually(t, func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.turns.wanted == 1 }, 30*time.Second, time.Millisecond)
	two.sync <- nil
	require.NoError(t, soon(t, one.told))
	require.NoError(t, soon(t, two.told))
	require.Empty(t, cut)
	one.sync <- nil
	soon(t, calls) <- nil // the truncation's own
	require.NoError(t, soon(t, cut))
	require.EqualValues(t, 1, l.EndOffset())
	require.EqualValues(t, 1, l.DurableOffset())
}

// TestBothSyncsSeeWhatCouldNotBeWritten is about the second descriptor: with one for both, only the one who asks first is told, and the other
// calls durable what is lost before the first one has said so.
func TestBothSyncsSeeWhatCouldNotBeWritten(t *testing.T) {
	m, d, l, calls := stalledSyncs(t)
	returned, goOn := make(chan error, 2), make(chan bool)
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release)
	d.opts.OnSync = func(_ time.Duration, err error) {
		returned <- err
		<-goOn
	}
	one, two := twoSyncs(t, l, calls)
	m.mu.Lock()
	m.lose(l.active.path(suffixLog))
	m.mu.Unlock()
	one.sync <- nil
	require.ErrorIs(t, soon(t, returned), errLost)
	two.sync <- nil
	require.ErrorIs(t, soon(t, returned), errLost)
	release()
	require.ErrorIs(t, soon(t, one.told), ErrStorage)
	require.ErrorIs(t, soon(t, two.told), ErrStorage)
	require.EqualValues(t, 1, l.DurableOffset())
	require.ErrorIs(t, l.WaitDurable(context.Background(), 2), ErrStorage)
}

func TestEachDescriptorTellsOfALoss(t *testing.T) {
	m := newMemFS()
	a, err := m.OpenFile("/f", createFlags)
	require.NoError(t, err)
	b, err := m.OpenFile("/f", 2)
	require.NoError(t, err)
	_, err = a.WriteAt([]byte("x"), 0)
	require.NoError(t, err)
	m.mu.Lock()
	m.lose("/f")
	m.mu.Unlock()
	require.Error(t, a.Sync())
	require.NoError(t, a.Sync(), "it tells once")
	require.Error(t, b.Sync())
	c, err := m.OpenFile("/f", 2)
	require.NoError(t, err)
	require.NoError(t, c.Sync(), "somebody was told before it was opened")
}

func TestSyncGoesOnWhereNoMoreFilesCanBeOpened(t *testing.T) {
	m, _, l, calls := stalledSyncs(t)
	one := told(t, l)
	first := soon(t, calls)
	m.mu.Lock()
	judge := m.judge
	m.judge = func(op memOp) error {
		if op.kind == "open" && strings.HasSuffix(op.name, suffixLog) {
			return errors.New("too many open files")
		}
		return judge(op)
	}
	m.mu.Unlock()
	two := told(t, l)
	first <- nil
	require.NoError(t, soon(t, one))
	soon(t, calls) <- nil
	require.NoError(t, soon(t, two))
}

func TestSecondDescriptorClosesWithTheFirst(t *testing.T) {
	_, d, l, calls := stalledSyncs(t)
	one, two := twoSyncs(t, l, calls)
	require.NotNil(t, l.active.twin)
	open := d.pinned.Load()
	one.sync <- nil
	two.sync <- nil
	require.NoError(t, soon(t, one.told))
	require.NoError(t, soon(t, two.told))
	l.holdSyncs()
	l.mu.Lock()
	l.unpinIdle() // notes the end
	l.unpinIdle()
	require.Nil(t, l.active.twin)
	l.mu.Unlock()
	l.letSyncs()
	require.Equal(t, open-2, d.pinned.Load())
}
