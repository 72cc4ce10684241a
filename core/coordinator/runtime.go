// Package coordinator runs coordinators: the group coordinator over __consumer_offsets and the transaction coordinator over
// __transaction_state are both pure shards, one for each partition of their topic, and this is the edge around them.
//
// A [Shard] is a function (state, event, now) -> (batches, effects) without goroutine, lock, clock or I/O. The [Runtime] owns the
// shards of the partitions that this broker leads: it loads a shard when the broker is elected and forgets it when it resigns,
// serialises the events of a shard under its lock, appends the batches, reports their fate in the order in which they were given,
// wakes the shards' timers and hands the effects to the coordinator. It decides nothing, and knows of no group and no transaction:
// what a [Kind] of coordinator adds is listed there.
//
// # The invariant
//
// For each partition there is at most one shard that serves. It has replayed the whole log, it sees its events one after the other,
// and of each of its batches exactly one fate, in order, without a gap. A shard that was resigned sees nothing any more: fates and
// loads that come late find another shard in its place, and are dropped.
package coordinator

import (
	"context"
	"iter"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Shard is the state of one partition, as the runtime sees it: events E go in, batches B and effects F come out. The zero value stands
// for none.
type Shard[E, B, F any] interface {
	comparable
	// Step lets the event happen at now. The batches are appended in order, each as one atomic unit.
	Step(ev E, now time.Time) ([]B, []F)
	// NextDeadline is when the shard wants a tick, in milliseconds since 1970; math.MaxInt64 if never.
	NextDeadline() int64
	// SetLeaderEpoch tells a serving shard that its broker leads on, in a new epoch.
	SetLeaderEpoch(epoch int32)
}

// Kind is what makes a coordinator one of groups or of transactions.
type Kind[S Shard[E, B, F], E, B, F any] struct {
	// State names what a partition holds, for the log: "groups and offsets".
	State string
	// New is an empty shard.
	New func() S
	// Load replays the log of the partition into an empty shard and returns how many records it had. A record that cannot be read
	// is reported and left out. It ends early when ctx is done.
	Load func(ctx context.Context, partition int32, shard S, log *slog.Logger) (records int, err error)
	// Loaded, Appended, Resigned and Tick are the runtime's own events: the replay is over and the shard serves under this epoch;
	// the fate of a batch; the end; a timer.
	Loaded         func(leaderEpoch int32) E
	Appended       func(seq uint64, err error) E
	Resigned, Tick E
	// Append appends the batch to the partition without waiting for the disk and calls done exactly once, from any goroutine, also
	// before it returns. Seq is the batch's number: a shard counts its batches from 1.
	Append func(partition int32, batch B, done func(error))
	Seq    func(batch B) uint64
	// CarryOut carries out the effects of a step at the partition. No lock is held.
	CarryOut func(partition int32, effects []F)
	// Began, when set, is told of a shard that serves from now on: the records that were read in the time read, and how long it was since
	// the election.
	Began func(log *slog.Logger, records int, read, sinceElected time.Duration)
	// Retired, when set, is told of a shard that served until now. The partition is locked.
	Retired func(shard S)
}

// Runtime runs the shards of one coordinator. All methods are safe for concurrent use.
type Runtime[S Shard[E, B, F], E, B, F any] struct {
	kind  Kind[S, E, B, F]
	clock Clock
	log   *slog.Logger
	parts []partition[S, E]

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	closed atomic.Bool

	wake     chan struct{} // a shard has a deadline before sleepTo
	sleepTo  atomic.Int64
	loadSema chan struct{}

	doneMu sync.Mutex
	dones  []fate[S]
	doneC  chan struct{}
}

type status uint8

const (
	notOwned status = iota
	loading
	active
)

// partition is the place of one shard.
type partition[S comparable, E any] struct {
	mu         sync.Mutex
	status     status
	shard      S
	epoch      int32
	cancelLoad context.CancelFunc
	elected    time.Time
	news       []E              // what happened while loading
	early      map[uint64]error // fates of batches that overtook an older one
	nextDone   uint64           // the batch whose fate comes next
	failed     uint64           // the newest batch that is not in the log, as far as that is known; 0 for none
	failure    error            // why

	next atomic.Int64 // the shard's next deadline
}

// fate is what became of a batch.
type fate[S any] struct {
	partition int32
	shard     S
	seq       uint64
	err       error
}

// loadsAtOnce bounds how many partitions are read at a time.
const loadsAtOnce = 4

// New is a runtime of so many partitions that owns none yet. Call Start, then OnElected for each partition that the broker leads.
func New[S Shard[E, B, F], E, B, F any](kind Kind[S, E, B, F], partitions int32, clock Clock, log *slog.Logger) *Runtime[S, E, B, F] {
	r := &Runtime[S, E, B, F]{
		kind: kind, clock: clock, log: log,
		parts:    make([]partition[S, E], partitions),
		wake:     make(chan struct{}, 1),
		doneC:    make(chan struct{}, 1),
		loadSema: make(chan struct{}, loadsAtOnce),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	for i := range r.parts {
		r.parts[i].next.Store(math.MaxInt64)
	}
	return r
}

// Start starts the timers. Close ends them.
func (r *Runtime[S, E, B, F]) Start() {
	r.wg.Add(2)
	go r.runTimers()
	go r.runFates()
}

// Close resigns from everything and waits for the runtime's goroutines. Events after it are refused with COORDINATOR_NOT_AVAILABLE. The
// done functions of batches may still be called.
func (r *Runtime[S, E, B, F]) Close() {
	if r.closed.Swap(true) {
		return
	}
	for i := range r.parts {
		r.OnResigned(int32(i))
	}
	r.cancel()
	r.wg.Wait()
}

// Go runs f in a goroutine that Close waits for.
func (r *Runtime[S, E, B, F]) Go(f func()) {
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		f()
	}()
}

func (r *Runtime[S, E, B, F]) has(partition int32) bool {
	return partition >= 0 && int(partition) < len(r.parts)
}

// OnElected is the news that this broker leads the partition from leaderEpoch on. It is loaded in the background; until then
// events are refused with COORDINATOR_LOAD_IN_PROGRESS. A partition that does not exist is passed over.
func (r *Runtime[S, E, B, F]) OnElected(partition, leaderEpoch int32) {
	if !r.has(partition) {
		return
	}
	p := &r.parts[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.closed.Load() {
		return
	}
	if p.status != notOwned {
		if leaderEpoch > p.epoch { // leads on: what is in memory stays right
			p.epoch = leaderEpoch
			if p.status == active {
				p.shard.SetLeaderEpoch(leaderEpoch)
			}
		}
		return
	}
	r.begin(partition, p, leaderEpoch)
}

// begin begins to load the partition. The caller holds its lock.
func (r *Runtime[S, E, B, F]) begin(partition int32, p *partition[S, E], leaderEpoch int32) {
	ctx, cancel := context.WithCancel(r.ctx)
	shard := r.kind.New()
	p.status, p.shard, p.epoch, p.cancelLoad, p.elected, p.news = loading, shard, leaderEpoch, cancel, r.clock.Now(), nil
	r.Go(func() { r.load(ctx, partition, shard) })
}

// OnResigned is the news that this broker no longer leads the partition. The shard is told, and forgotten.
func (r *Runtime[S, E, B, F]) OnResigned(partition int32) {
	if !r.has(partition) {
		return
	}
	p := &r.parts[partition]
	p.mu.Lock()
	if p.status == notOwned {
		p.mu.Unlock()
		return
	}
	effects := r.end(p)
	p.mu.Unlock()
	r.kind.CarryOut(partition, effects)
}

// end forgets the shard of a partition that is loading or serves. The caller holds its lock, and carries out the effects without it.
func (r *Runtime[S, E, B, F]) end(p *partition[S, E]) (effects []F) {
	p.cancelLoad()
	if p.status == active {
		_, effects = p.shard.Step(r.kind.Resigned, r.clock.Now())
		if r.kind.Retired != nil {
			r.kind.Retired(p.shard)
		}
	}
	var none S
	p.status, p.shard, p.news, p.early = notOwned, none, nil, nil
	p.next.Store(math.MaxInt64)
	return effects
}

// Reload loads a serving shard anew. It ends the one and begins the next in one go, so that news that the broker no longer leads the
// partition finds either of them.
func (r *Runtime[S, E, B, F]) Reload(partition int32) {
	p := &r.parts[partition]
	p.mu.Lock()
	if p.status != active || r.closed.Load() {
		p.mu.Unlock()
		return
	}
	effects := r.end(p)
	r.begin(partition, p, p.epoch)
	p.mu.Unlock()
	r.kind.CarryOut(partition, effects)
}

// Step lets the event happen at the partition and carries out what follows, unless the partition does not serve; then it returns why:
// COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE or NOT_COORDINATOR.
func (r *Runtime[S, E, B, F]) Step(partition int32, ev E) (code int16) {
	effects, code := r.Take(partition, ev)
	r.kind.CarryOut(partition, effects)
	return code
}

// Take is Step for one who looks at the effects and carries them out.
func (r *Runtime[S, E, B, F]) Take(partition int32, ev E) (effects []F, code int16) {
	p := &r.parts[partition]
	p.mu.Lock()
	defer p.mu.Unlock()
	if code := r.unavailable(p); code != 0 {
		return nil, code
	}
	return r.step(partition, p, ev), 0
}

// Tell is Step with news that must not be missed: while the partition is loading it waits until everything is read, as it may be about
// something that is still to be read. Where the broker does not lead it means nothing.
func (r *Runtime[S, E, B, F]) Tell(partition int32, ev E) {
	if !r.has(partition) {
		return
	}
	p := &r.parts[partition]
	var effects []F
	p.mu.Lock()
	switch p.status {
	case loading:
		p.news = append(p.news, ev)
	case active:
		effects = r.step(partition, p, ev)
	}
	p.mu.Unlock()
	r.kind.CarryOut(partition, effects)
}

// Partitions is the number of partitions, led by this broker or not.
func (r *Runtime[S, E, B, F]) Partitions() int32 { return int32(len(r.parts)) }

// Acquire locks the partition and returns its shard to look at, or, with none, why it does not serve. Call Release in any case.
func (r *Runtime[S, E, B, F]) Acquire(partition int32) (shard S, code int16) {
	p := &r.parts[partition]
	p.mu.Lock()
	if code = r.unavailable(p); code == 0 {
		shard = p.shard
	}
	return shard, code
}

// Release unlocks the partition.
func (r *Runtime[S, E, B, F]) Release(partition int32) { r.parts[partition].mu.Unlock() }

// Rescheduled tells that the shard of a partition that is acquired may have another deadline.
func (r *Runtime[S, E, B, F]) Rescheduled(partition int32) { r.setNext(&r.parts[partition]) }

// All yields the shard of each partition, or why it does not serve, acquired while the body of the loop runs.
func (r *Runtime[S, E, B, F]) All() iter.Seq2[S, int16] {
	return func(yield func(S, int16) bool) {
		for i := range r.Partitions() {
			shard, code := r.Acquire(i)
			more := yield(shard, code)
			r.Release(i)
			if !more {
				return
			}
		}
	}
}

// unavailable is why the partition does not serve, 0 if it does. The caller holds its lock.
func (r *Runtime[S, E, B, F]) unavailable(p *partition[S, E]) int16 {
	switch {
	case p.status == active:
		return 0
	case p.status == loading:
		return kerr.CoordinatorLoadInProgress.Code
	case r.closed.Load():
		return kerr.CoordinatorNotAvailable.Code
	}
	return kerr.NotCoordinator.Code
}

// load replays the partition and begins to serve it. It tries again until it succeeds or the broker resigns: while the log cannot be
// read, nothing about the state is known.
func (r *Runtime[S, E, B, F]) load(ctx context.Context, partition int32, shard S) {
	log, p := r.log.With("partition", partition), &r.parts[partition]
	for attempt := 0; ; attempt++ {
		select {
		case r.loadSema <- struct{}{}:
		case <-ctx.Done():
			return
		}
		start := r.clock.Now()
		records, err := r.kind.Load(ctx, partition, shard, log)
		<-r.loadSema
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			r.serve(partition, shard, log, records, start)
			return
		}
		log.Error("loading "+r.kind.State+" failed; trying again", "error", err)
		wait, stop := r.clock.After(time.Duration(min(1<<min(attempt, 5), 30)) * time.Second)
		select {
		case <-wait:
		case <-ctx.Done():
			stop()
			return
		}
		fresh := r.kind.New()
		p.mu.Lock()
		if p.shard != shard {
			p.mu.Unlock()
			return
		}
		p.shard, shard = fresh, fresh
		p.mu.Unlock()
	}
}

// serve makes a loaded shard serve.
func (r *Runtime[S, E, B, F]) serve(partition int32, shard S, log *slog.Logger, records int, start time.Time) {
	p := &r.parts[partition]
	p.mu.Lock()
	if p.shard != shard || p.status != loading {
		p.mu.Unlock()
		return
	}
	now, elected := r.clock.Now(), p.elected
	p.status, p.nextDone, p.early, p.failed = active, 1, map[uint64]error{}, 0
	effects := r.step(partition, p, r.kind.Loaded(p.epoch))
	for _, ev := range p.news {
		effects = append(effects, r.step(partition, p, ev)...)
	}
	p.news = nil
	p.mu.Unlock()
	if r.kind.Began != nil {
		r.kind.Began(log, records, now.Sub(start), now.Sub(elected))
	}
	r.kind.CarryOut(partition, effects)
}

// step steps the shard of a partition that serves and appends what it gives. The caller holds the partition's lock.
func (r *Runtime[S, E, B, F]) step(partition int32, p *partition[S, E], ev E) []F {
	shard := p.shard
	batches, effects := shard.Step(ev, r.clock.Now())
	for _, b := range batches {
		r.append(partition, p, b)
	}
	r.setNext(p)
	return effects
}

// append appends a batch of the partition's shard, unless it is behind one that could not be appended and whose fate the shard has not been
// told. The caller holds the partition's lock.
func (r *Runtime[S, E, B, F]) append(partition int32, p *partition[S, E], b B) {
	shard, seq := p.shard, r.kind.Seq(b)
	if p.failed >= p.nextDone {
		p.failed = seq
		r.decided(fate[S]{partition, shard, seq, p.failure})
		return
	}
	var failure atomic.Pointer[error]
	r.kind.Append(partition, b, func(err error) {
		if err != nil {
			failure.Store(&err)
		}
		r.decided(fate[S]{partition, shard, seq, err})
	})
	if err := failure.Load(); err != nil {
		p.failed, p.failure = seq, *err
	}
}

func (r *Runtime[S, E, B, F]) setNext(p *partition[S, E]) {
	next := p.shard.NextDeadline()
	p.next.Store(next)
	if next < r.sleepTo.Load() {
		poke(r.wake)
	}
}

// poke leaves a signal in a channel of capacity 1.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (r *Runtime[S, E, B, F]) decided(f fate[S]) {
	r.doneMu.Lock()
	r.dones = append(r.dones, f)
	r.doneMu.Unlock()
	poke(r.doneC)
}

// runFates tells the shards the fates of their batches.
func (r *Runtime[S, E, B, F]) runFates() {
	defer r.wg.Done()
	var dones []fate[S]
	for {
		select {
		case <-r.doneC:
		case <-r.ctx.Done():
			return
		}
		r.doneMu.Lock()
		dones, r.dones = r.dones, dones[:0]
		r.doneMu.Unlock()
		for i := range dones {
			r.settle(dones[i])
			dones[i] = fate[S]{}
		}
	}
}

// settle tells a shard the fates that are next in order.
func (r *Runtime[S, E, B, F]) settle(f fate[S]) {
	p := &r.parts[f.partition]
	p.mu.Lock()
	if p.shard != f.shard || p.status != active {
		p.mu.Unlock()
		return
	}
	var effects []F
	p.early[f.seq] = f.err
	for {
		err, ok := p.early[p.nextDone]
		if !ok {
			break
		}
		delete(p.early, p.nextDone)
		seq := p.nextDone
		p.nextDone++
		effects = append(effects, r.step(f.partition, p, r.kind.Appended(seq, err))...)
	}
	p.mu.Unlock()
	r.kind.CarryOut(f.partition, effects)
}

// runTimers wakes the shards at their deadlines.
func (r *Runtime[S, E, B, F]) runTimers() {
	defer r.wg.Done()
	for {
		// A deadline that appears from here on pokes wake, so none is missed between the scan and the sleep.
		r.sleepTo.Store(math.MaxInt64)
		next := int64(math.MaxInt64)
		for i := range r.parts {
			next = min(next, r.parts[i].next.Load())
		}
		now := r.clock.Now().UnixMilli()
		if next <= now {
			for i := range r.parts {
				if r.parts[i].next.Load() <= now {
					r.Step(int32(i), r.kind.Tick)
				}
			}
			continue
		}
		wait := time.Duration(min(next-now, 60_000)) * time.Millisecond
		timer, stop := r.clock.After(wait)
		r.sleepTo.Store(now + wait.Milliseconds())
		select {
		case <-timer:
		case <-r.wake:
			stop()
		case <-r.ctx.Done():
			stop()
			return
		}
	}
}
