package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// journal is a shard that writes each word it is told, and says what it saw.
type journal struct {
	epoch    int32
	replayed []string
	saw      []string
	seq      uint64
	deadline int64
	ended    bool
}

func (j *journal) Step(ev string, now time.Time) ([]uint64, []string) {
	if j.ended {
		panic("a shard that resigned saw " + ev)
	}
	j.saw = append(j.saw, ev)
	switch {
	case ev == "tick":
		if now.UnixMilli() >= j.deadline {
			j.deadline = math.MaxInt64
		}
		return nil, []string{"ticked"}
	case ev == "resigned":
		j.ended = true
		return nil, []string{"goodbye"}
	case len(ev) > 6 && ev[:6] == "write ":
		j.seq++
		return []uint64{j.seq}, nil
	}
	return nil, []string{"saw " + ev}
}

func (j *journal) NextDeadline() int64        { return j.deadline }
func (j *journal) SetLeaderEpoch(epoch int32) { j.epoch = epoch }

// world is what a runtime of journals runs in.
type world struct {
	*Runtime[*journal, string, uint64, string]
	t *testing.T

	mu      sync.Mutex
	log     []string      // what a load reads
	gate    chan struct{} // if set, a load waits for it
	broken  error
	loads   int
	held    map[uint64]func(error)
	full    map[uint64]error // batches that are refused at once
	effects []string
	carried func(effects []string) // if set, is told of effects before they are carried out
	began   int
	retired []*journal
}

func start(t *testing.T, clock Clock) *world {
	w := build(t, clock)
	w.Start()
	return w
}

// build makes a world whose timers were not started.
func build(t *testing.T, clock Clock) *world {
	w := &world{t: t, held: map[uint64]func(error){}}
	w.Runtime = New(Kind[*journal, string, uint64, string]{
		State: "words", Resigned: "resigned", Tick: "tick",
		New:      func() *journal { return &journal{deadline: math.MaxInt64} },
		Load:     w.load,
		Loaded:   func(epoch int32) string { return fmt.Sprint("loaded ", epoch) },
		Appended: func(seq uint64, err error) string { return fmt.Sprint("appended ", seq, " ", err) },
		Append: func(_ int32, seq uint64, done func(error)) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if err := w.full[seq]; err != nil {
				done(err)
				return
			}
			w.held[seq] = done
		},
		Seq: func(seq uint64) uint64 { return seq },
		CarryOut: func(_ int32, effects []string) {
			if w.carried != nil {
				w.carried(effects)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.effects = append(w.effects, effects...)
		},
		Began: func(*slog.Logger, int, time.Duration, time.Duration) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.began++
		},
		Retired: func(j *journal) { w.retired = append(w.retired, j) },
	}, 2, clock, slog.New(slog.DiscardHandler))
	t.Cleanup(w.Close)
	return w
}

func (w *world) load(ctx context.Context, _ int32, j *journal, _ *slog.Logger) (int, error) {
	w.mu.Lock()
	w.loads++
	gate, broken, log := w.gate, w.broken, slices.Clone(w.log)
	w.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	j.replayed = append(j.replayed, log...)
	return len(log), broken
}

// set changes the world.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// saw waits until the shard of partition 0 saw exactly these events.
func (w *world) saw(want ...string) *journal {
	w.t.Helper()
	var shard *journal
	var got []string
	require.Eventually(w.t, func() bool {
		j, code := w.Acquire(0)
		defer w.Release(0)
		if code != 0 {
			return false
		}
		shard, got = j, slices.Clone(j.saw)
		return len(got) >= len(want)
	}, 10*time.Second, time.Millisecond)
	require.Equal(w.t, want, got)
	return shard
}

func (w *world) carriedOut() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.effects)
}

func TestEventsAreRefusedUnlessTheShardServes(t *testing.T) {
	w := start(t, SystemClock())
	require.Equal(t, kerr.NotCoordinator.Code, w.Step(0, "a"))
	w.gate = make(chan struct{})
	w.OnElected(0, 5)
	require.Equal(t, kerr.CoordinatorLoadInProgress.Code, w.Step(0, "a"))
	w.OnElected(0, 4) // old news
	w.OnElected(0, 6) // leads on before it was loaded
	close(w.gate)
	w.saw("loaded 6")
	require.Zero(t, w.Step(0, "b"))
	w.OnElected(0, 7)
	j := w.saw("loaded 6", "b")
	require.EqualValues(t, 7, j.epoch)
	effects, code := w.Take(0, "c")
	require.Equal(t, []string{"saw c"}, effects)
	require.Zero(t, code)
	require.Equal(t, []string{"saw loaded 6", "saw b"}, w.carriedOut(), "what was taken is for the caller to carry out")
	var codes []int16
	for shard, code := range w.All() {
		require.Equal(t, code == 0, shard != nil)
		codes = append(codes, code)
	}
	require.Equal(t, []int16{0, kerr.NotCoordinator.Code}, codes)
	for range w.All() {
		break
	}
	w.OnResigned(0)
	w.OnResigned(0)
	require.Equal(t, kerr.NotCoordinator.Code, w.Step(0, "d"))
	require.Equal(t, []*journal{j}, w.retired)
	for _, p := range []int32{-1, 2} {
		w.OnElected(p, 1)
		w.OnResigned(p)
		w.Tell(p, "x")
	}
	w.Close()
	require.Equal(t, kerr.CoordinatorNotAvailable.Code, w.Step(0, "e"))
	w.OnElected(0, 8)
	require.Equal(t, kerr.CoordinatorNotAvailable.Code, w.Step(0, "f"))
}

func TestNewsOfALoadingPartitionWaitsForTheLog(t *testing.T) {
	w := start(t, SystemClock())
	w.Tell(0, "nobody's")
	w.log, w.gate = []string{"x", "y"}, make(chan struct{})
	w.OnElected(0, 1)
	w.Tell(0, "first")
	w.Tell(0, "second")
	close(w.gate)
	j := w.saw("loaded 1", "first", "second")
	require.Equal(t, []string{"x", "y"}, j.replayed)
	w.Tell(0, "third")
	w.saw("loaded 1", "first", "second", "third")
}

func TestFatesAreToldInTheOrderOfTheBatches(t *testing.T) {
	w := start(t, SystemClock())
	w.OnElected(0, 1)
	w.saw("loaded 1")
	for i := range 3 {
		w.Step(0, fmt.Sprint("write ", i))
	}
	w.held[3](nil)
	w.held[2](errors.New("disk"))
	w.held[1](nil)
	w.saw("loaded 1", "write 0", "write 1", "write 2", "appended 1 <nil>", "appended 2 disk", "appended 3 <nil>")
}

func TestAFateOfAShardThatIsGoneIsDropped(t *testing.T) {
	w := start(t, SystemClock())
	w.OnElected(0, 1)
	first := w.saw("loaded 1")
	w.Step(0, "write a")
	late := w.held[1]
	w.Reload(0)
	second := w.saw("loaded 1")
	require.NotSame(t, first, second)
	late(errors.New("it would panic"))
	w.Step(0, "write b")
	w.held[1](nil)
	w.saw("loaded 1", "write b", "appended 1 <nil>")
	w.OnResigned(0)
	w.Reload(0) // it does not serve
	require.Equal(t, kerr.NotCoordinator.Code, w.Step(0, "c"))
}

func TestBehindABatchThatCouldNotBeAppendedNothingIsUntilTheShardKnows(t *testing.T) {
	w := start(t, SystemClock())
	w.full = map[uint64]error{2: errors.New("disk full")}
	w.OnElected(0, 1)
	w.saw("loaded 1")
	for i := range 4 { // the second finds no room, the third would
		w.Step(0, fmt.Sprint("write ", i))
	}
	var held map[uint64]func(error)
	w.set(func() { held = maps.Clone(w.held) })
	require.Len(t, held, 1, "what rests on a batch that is not in the log must not be there either")
	held[1](nil) // with which the fates of the others are told
	told := []string{"loaded 1", "write 0", "write 1", "write 2", "write 3", "appended 1 <nil>", "appended 2 disk full", "appended 3 disk full", "appended 4 disk full"}
	w.saw(told...)
	w.Step(0, "write 4")
	w.set(func() { held = maps.Clone(w.held) })
	require.Contains(t, held, uint64(5), "the shard knows what is in the log")
	held[5](nil)
	w.saw(append(told, "write 4", "appended 5 <nil>")...)
}

func TestResigningAmidAReloadIsTheLastWord(t *testing.T) {
	w := build(t, SystemClock())
	var once sync.Once
	w.carried = func(effects []string) {
		if slices.Contains(effects, "goodbye") { // of the shard that is to be loaded anew
			once.Do(func() { w.OnResigned(0) })
		}
	}
	w.OnElected(0, 1)
	w.saw("loaded 1")
	w.Reload(0)
	require.Equal(t, kerr.NotCoordinator.Code, w.Step(0, "a"), "the broker does not lead the partition")
}

func TestResigningEndsALoad(t *testing.T) {
	w := start(t, SystemClock())
	w.gate = make(chan struct{})
	w.OnElected(0, 1)
	w.Tell(0, "of the first election")
	w.OnResigned(0)
	w.set(func() { w.gate = nil })
	w.OnElected(0, 2)
	w.saw("loaded 2")
	require.Empty(t, w.retired, "the first never served")
}

// handClock is a clock that a test turns.
type handClock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[chan time.Time]time.Time
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) After(d time.Duration) (<-chan time.Time, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan time.Time, 1)
	c.timers[ch] = c.now.Add(d)
	return ch, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.timers, ch)
	}
}

// turn turns the clock and lets the timers go off that are due.
func (c *handClock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for ch, at := range c.timers {
		if !at.After(c.now) {
			ch <- c.now
			delete(c.timers, ch)
		}
	}
}

// waits reports whether someone waits for so long.
func (c *handClock) waits(d time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.timers {
		if at.Equal(c.now.Add(d)) {
			return true
		}
	}
	return false
}

func newHandClock() *handClock {
	return &handClock{now: time.UnixMilli(1_000_000), timers: map[chan time.Time]time.Time{}}
}

func TestALogThatCannotBeReadIsReadAgainIntoAnEmptyShard(t *testing.T) {
	clock := newHandClock()
	w := build(t, clock)
	w.log, w.broken = []string{"x"}, errors.New("disk")
	w.OnElected(0, 1)
	waits := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 30 * time.Second, 30 * time.Second, 30 * time.Second}
	for i, wait := range waits {
		require.Eventually(t, func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.loads == i+1 && clock.waits(wait)
		}, 10*time.Second, time.Millisecond, "load %d", i)
		if i < len(waits)-1 {
			clock.turn(wait)
		}
	}
	require.Equal(t, kerr.CoordinatorLoadInProgress.Code, w.Step(0, "a"))
	w.set(func() { w.broken = nil })
	clock.turn(30 * time.Second)
	j := w.saw("loaded 1")
	require.Equal(t, []string{"x"}, j.replayed, "once")
	w.set(func() {
		require.Equal(t, len(waits)+1, w.loads)
		w.broken = errors.New("disk")
	})
	w.OnResigned(0)
	w.OnElected(0, 2)
	require.Eventually(t, func() bool { return clock.waits(time.Second) }, 10*time.Second, time.Millisecond)
	w.OnResigned(0) // while it waits to try again
	require.Eventually(t, func() bool { return !clock.waits(time.Second) }, 10*time.Second, time.Millisecond)
}

func TestShardsAreWokenAtTheirDeadlines(t *testing.T) {
	clock := newHandClock()
	w := start(t, clock)
	w.OnElected(0, 1)
	w.saw("loaded 1")
	deadline := func(d time.Duration) {
		j, _ := w.Acquire(0)
		j.deadline = clock.Now().Add(d).UnixMilli()
		w.Rescheduled(0)
		w.Release(0)
	}
	deadline(5 * time.Second)
	require.Eventually(t, func() bool { return clock.waits(5 * time.Second) }, 10*time.Second, time.Millisecond)
	deadline(2 * time.Second) // sooner
	require.Eventually(t, func() bool { return clock.waits(2 * time.Second) }, 10*time.Second, time.Millisecond)
	clock.turn(2 * time.Second)
	w.saw("loaded 1", "tick")
	deadline(-time.Second) // overdue
	w.saw("loaded 1", "tick", "tick")
	require.Eventually(t, func() bool { return slices.Contains(w.carriedOut(), "ticked") }, 10*time.Second, time.Millisecond)
}

func TestManyAtOnceKeepTheOrder(t *testing.T) {
	w := start(t, SystemClock())
	w.OnElected(0, 1)
	w.saw("loaded 1")
	const writers, each = 8, 200
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				require.Zero(t, w.Step(0, "write w"))
			}
		})
		wg.Go(func() {
			for range each {
				w.mu.Lock()
				var done func(error)
				for seq, f := range w.held {
					done = f
					delete(w.held, seq)
					break
				}
				w.mu.Unlock()
				if done != nil {
					done(nil)
				}
			}
		})
	}
	wg.Wait()
	w.mu.Lock()
	rest := w.held
	w.held = map[uint64]func(error){}
	w.mu.Unlock()
	for _, done := range rest {
		done(nil)
	}
	var fates []string
	require.Eventually(t, func() bool {
		j, _ := w.Acquire(0)
		defer w.Release(0)
		fates = fates[:0]
		for _, s := range j.saw {
			if s[:5] == "appen" {
				fates = append(fates, s)
			}
		}
		return len(fates) == writers*each
	}, 10*time.Second, time.Millisecond)
	for i, s := range fates {
		require.Equal(t, fmt.Sprint("appended ", i+1, " <nil>"), s)
	}
}
