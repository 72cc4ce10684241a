package txn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// IDs gives out producer ids that nobody had before.
type IDs func(ctx context.Context) (int64, error)

// Coordinator owns the shards of the partitions of __transaction_state that this broker leads. All methods are safe for
// concurrent use. Replies are called exactly once, from any goroutine and possibly before the method returns; they must not block.
type Coordinator struct {
	cfg     Config
	store   Store
	markers MarkerWriter
	ids     IDs
	log     *slog.Logger
	slots   []slot
	version atomic.Int32

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	closed atomic.Bool

	wake     chan struct{} // a shard has a deadline before sleepTo
	sleepTo  atomic.Int64
	loadSema chan struct{}

	spareMu sync.Mutex
	spares  []int64 // producer ids that were taken and not used

	doneMu sync.Mutex
	dones  []completed
	doneC  chan struct{}
}

type status uint8

const (
	notOwned status = iota
	loading
	active
)

// slot is the place of one partition.
type slot struct {
	partition int32

	mu         sync.Mutex
	status     status
	shard      *Shard
	epoch      int32
	cancelLoad context.CancelFunc
	early      map[uint64]error // fates of batches that overtook an older one
	nextDone   uint64           // the batch whose fate comes next

	next atomic.Int64 // the shard's next deadline
}

type completed struct {
	slot  *slot
	shard *Shard
	seq   uint64
	err   error
}

// NewCoordinator is a coordinator that owns nothing yet. Call Start, then OnElected for each partition that the broker leads.
func NewCoordinator(cfg Config, store Store, markers MarkerWriter, ids IDs, logger *slog.Logger) (*Coordinator, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("transaction coordinator: %w", err)
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	c := &Coordinator{
		cfg: cfg, store: store, markers: markers, ids: ids, log: logger,
		slots:    make([]slot, cfg.Partitions),
		wake:     make(chan struct{}, 1),
		doneC:    make(chan struct{}, 1),
		loadSema: make(chan struct{}, 4),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	for i := range c.slots {
		c.slots[i].partition = int32(i)
		c.slots[i].next.Store(math.MaxInt64)
	}
	return c, nil
}

// Start starts the timers. Close ends them.
func (c *Coordinator) Start() {
	c.wg.Add(2)
	go c.runTimers()
	go c.runCompletions()
}

// Close resigns from everything and waits for the coordinator's goroutines. Requests after it are answered
// COORDINATOR_NOT_AVAILABLE. Store and MarkerWriter may still call the functions that they hold.
func (c *Coordinator) Close() {
	if c.closed.Swap(true) {
		return
	}
	for i := range c.slots {
		c.OnResigned(int32(i))
	}
	c.cancel()
	c.wg.Wait()
}

// PartitionFor is the partition of __transaction_state that keeps the transactional id: the broker that leads it is its
// coordinator.
func (c *Coordinator) PartitionFor(transactionalID string) int32 {
	return PartitionFor(transactionalID, c.cfg.Partitions)
}

// SetVersion tells the coordinator the finalised level of the feature transaction.version.
func (c *Coordinator) SetVersion(level int16) { c.version.Store(int32(level)) }

// InitProducerID handles InitProducerId with a transactional id. It may wait for a block of producer ids, as long as ctx allows.
func (c *Coordinator) InitProducerID(ctx context.Context, e InitProducerID) {
	c.withSpare(ctx, e.TransactionalID, e.Reply, func(id int64) Event { e.SpareID = id; return e })
}

// AddPartitions handles AddPartitionsToTxn and what stands for it.
func (c *Coordinator) AddPartitions(e AddPartitions) {
	if code := c.step(c.slotOf(e.TransactionalID), e); code != codeNone {
		if e.TransactionalID == "" {
			code = codeInvalidRequest
		}
		e.Reply(Result{code, NoProducerID, NoProducerEpoch})
	}
}

// Verify says for each partition whether the producer's transaction has it; see [Shard.Verify].
func (c *Coordinator) Verify(transactionalID string, producerID int64, epoch int16, partitions []TopicPartition) []int16 {
	sl := c.slotOf(transactionalID)
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if code := c.unavailable(sl); code != codeNone && transactionalID != "" {
		codes := make([]int16, len(partitions))
		for i := range codes {
			codes[i] = code
		}
		return codes
	}
	if sl.shard == nil {
		return (&Shard{}).Verify(transactionalID, producerID, epoch, partitions)
	}
	return sl.shard.Verify(transactionalID, producerID, epoch, partitions)
}

// EndTxn handles EndTxn. The answer comes when the decision is durable. It may wait for a block of producer ids, as long as ctx
// allows.
func (c *Coordinator) EndTxn(ctx context.Context, e EndTxn) {
	if e.Version < 2 || e.ProducerEpoch < lastEpoch {
		e.SpareID = NoProducerID
		c.stepOrRefuse(e.TransactionalID, e, e.Reply)
		return
	}
	c.withSpare(ctx, e.TransactionalID, e.Reply, func(id int64) Event { e.SpareID = id; return e })
}

// Describe is the state of a transactional id, or the error code to answer.
func (c *Coordinator) Describe(transactionalID string) (Entry, int16) {
	if transactionalID == "" {
		return Entry{}, codeInvalidRequest
	}
	sl := c.slotOf(transactionalID)
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if code := c.unavailable(sl); code != codeNone {
		return Entry{}, code
	}
	e, ok := sl.shard.Describe(transactionalID)
	if !ok {
		return Entry{}, codeTransactionalIDNotFound
	}
	return e, codeNone
}

// List lists the transactions of this broker that the filter lets pass, in no order. While some are still loading there is only an
// error code.
func (c *Coordinator) List(f Filter) ([]Entry, int16) {
	now := c.cfg.Clock.Now().UnixMilli()
	var out []Entry
	for i := range c.slots {
		sl := &c.slots[i]
		sl.mu.Lock()
		code := c.unavailable(sl)
		if code == codeNone {
			sl.shard.List(f, now, func(e *Entry) { out = append(out, *e) })
		}
		sl.mu.Unlock()
		if code != codeNone && code != codeNotCoordinator {
			return nil, code
		}
	}
	return out, codeNone
}

func (c *Coordinator) slotOf(transactionalID string) *slot {
	return &c.slots[c.PartitionFor(transactionalID)]
}

// withSpare steps with an event that may need a producer id. One that is not needed is kept for the next.
func (c *Coordinator) withSpare(ctx context.Context, transactionalID string, reply Reply, ev func(id int64) Event) {
	if code := c.ready(transactionalID); code != codeNone {
		reply(Result{code, NoProducerID, NoProducerEpoch})
		return
	}
	id := c.spare(ctx)
	if took := c.stepOrRefuse(transactionalID, ev(id), reply); !took && id >= 0 {
		c.spareMu.Lock()
		c.spares = append(c.spares, id)
		c.spareMu.Unlock()
	}
}

// ready is why the transactional id is not served here, 0 if it is.
func (c *Coordinator) ready(transactionalID string) int16 {
	sl := c.slotOf(transactionalID)
	sl.mu.Lock()
	defer sl.mu.Unlock()
	return c.unavailable(sl)
}

func (c *Coordinator) spare(ctx context.Context) int64 {
	c.spareMu.Lock()
	if n := len(c.spares); n > 0 {
		id := c.spares[n-1]
		c.spares = c.spares[:n-1]
		c.spareMu.Unlock()
		return id
	}
	c.spareMu.Unlock()
	id, err := c.ids(ctx)
	if err != nil {
		c.log.Warn("no producer id", "error", err)
		return NoProducerID
	}
	return id
}

// stepOrRefuse steps, or answers why not. It says whether the event's spare producer id was taken.
func (c *Coordinator) stepOrRefuse(transactionalID string, ev Event, reply Reply) (tookSpare bool) {
	sl := c.slotOf(transactionalID)
	sl.mu.Lock()
	if code := c.unavailable(sl); code != codeNone {
		sl.mu.Unlock()
		reply(Result{code, NoProducerID, NoProducerEpoch})
		return false
	}
	effects := c.stepLocked(sl, ev)
	sl.mu.Unlock()
	for i := range effects {
		tookSpare = tookSpare || effects[i].TookSpare
	}
	c.carryOut(sl, effects)
	return tookSpare
}

// OnElected is the news that this broker leads the partition of __transaction_state from leaderEpoch on. Its transactions are
// loaded in the background; until then requests are answered COORDINATOR_LOAD_IN_PROGRESS.
func (c *Coordinator) OnElected(partition, leaderEpoch int32) {
	if partition < 0 || int(partition) >= len(c.slots) {
		return
	}
	sl := &c.slots[partition]
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if c.closed.Load() {
		return
	}
	if sl.status != notOwned {
		if leaderEpoch > sl.epoch { // leads on: what is in memory stays right
			sl.epoch = leaderEpoch
			if sl.status == active {
				sl.shard.SetLeaderEpoch(leaderEpoch)
			}
		}
		return
	}
	ctx, cancel := context.WithCancel(c.ctx)
	sl.status, sl.epoch, sl.cancelLoad = loading, leaderEpoch, cancel
	shard := NewShard(c.cfg)
	sl.shard = shard
	c.wg.Add(1)
	go c.load(ctx, sl, shard)
}

// OnResigned is the news that this broker no longer leads the partition. Everyone who waits is told NOT_COORDINATOR, and the shard
// is forgotten.
func (c *Coordinator) OnResigned(partition int32) {
	if partition < 0 || int(partition) >= len(c.slots) {
		return
	}
	sl := &c.slots[partition]
	sl.mu.Lock()
	if sl.status == notOwned {
		sl.mu.Unlock()
		return
	}
	sl.cancelLoad()
	var effects []Effect
	if sl.status == active {
		_, effects = sl.shard.Step(Resigned{}, c.cfg.Clock.Now())
	}
	sl.status, sl.shard, sl.early = notOwned, nil, nil
	sl.next.Store(math.MaxInt64)
	sl.mu.Unlock()
	c.carryOut(sl, effects)
}

// load replays the partition and begins to serve it. It tries again until it succeeds or the broker resigns: while the log cannot be
// read, nothing about its transactions is known.
func (c *Coordinator) load(ctx context.Context, sl *slot, shard *Shard) {
	defer c.wg.Done()
	log := c.log.With("partition", sl.partition)
	for attempt := 0; ; attempt++ {
		select {
		case c.loadSema <- struct{}{}:
		case <-ctx.Done():
			return
		}
		start := c.cfg.Clock.Now()
		records := 0
		err := c.store.Load(ctx, sl.partition, func(key, value []byte, offset int64) error {
			records++
			if err := shard.Replay(key, value); errors.Is(err, ErrUnknownKey) {
				log.Debug("left out a record of a kind this coordinator does not keep", "offset", offset, "error", err)
			} else if err != nil {
				log.Error("left out a record that cannot be read", "topic", StateTopic, "offset", offset, "error", err)
			}
			return ctx.Err()
		})
		<-c.loadSema
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			if records > 0 {
				log.Info("loaded transactions", "records", records, "took", c.cfg.Clock.Now().Sub(start))
			}
			c.begin(sl, shard)
			return
		}
		log.Error("loading transactions failed; trying again", "error", err)
		wait, stop := c.cfg.Clock.After(time.Duration(min(1<<min(attempt, 5), 30)) * time.Second)
		select {
		case <-wait:
		case <-ctx.Done():
			stop()
			return
		}
		fresh := NewShard(c.cfg)
		sl.mu.Lock()
		if sl.shard != shard {
			sl.mu.Unlock()
			return
		}
		sl.shard, shard = fresh, fresh
		sl.mu.Unlock()
	}
}

// begin makes a loaded shard serve.
func (c *Coordinator) begin(sl *slot, shard *Shard) {
	sl.mu.Lock()
	if sl.shard != shard || sl.status != loading {
		sl.mu.Unlock()
		return
	}
	sl.status, sl.nextDone, sl.early = active, 1, map[uint64]error{}
	effects := c.stepLocked(sl, Loaded{LeaderEpoch: sl.epoch})
	sl.mu.Unlock()
	c.carryOut(sl, effects)
}

// step lets the event happen, unless the slot does not serve; then it returns why.
func (c *Coordinator) step(sl *slot, ev Event) int16 {
	sl.mu.Lock()
	if code := c.unavailable(sl); code != codeNone {
		sl.mu.Unlock()
		return code
	}
	effects := c.stepLocked(sl, ev)
	sl.mu.Unlock()
	c.carryOut(sl, effects)
	return codeNone
}

// unavailable is why the slot does not serve, 0 if it does. The caller holds its lock.
func (c *Coordinator) unavailable(sl *slot) int16 {
	switch {
	case sl.status == active:
		return codeNone
	case sl.status == loading:
		return codeCoordinatorLoadInProgress
	case c.closed.Load():
		return codeCoordinatorNotAvailable
	}
	return codeNotCoordinator
}

// stepLocked steps the slot's shard and appends what it gives.
func (c *Coordinator) stepLocked(sl *slot, ev Event) []Effect {
	shard := sl.shard
	shard.SetVersion(int16(c.version.Load()))
	batches, effects := shard.Step(ev, c.cfg.Clock.Now())
	for _, b := range batches {
		seq := b.Seq
		c.store.Append(sl.partition, b, func(err error) { c.completed(completed{sl, shard, seq, err}) })
	}
	next := shard.NextDeadline()
	sl.next.Store(next)
	if next < c.sleepTo.Load() {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	return effects
}

func (c *Coordinator) completed(d completed) {
	c.doneMu.Lock()
	c.dones = append(c.dones, d)
	c.doneMu.Unlock()
	select {
	case c.doneC <- struct{}{}:
	default:
	}
}

// runCompletions tells the shards the fate of their batches, in order.
func (c *Coordinator) runCompletions() {
	defer c.wg.Done()
	var dones []completed
	for {
		select {
		case <-c.doneC:
		case <-c.ctx.Done():
			return
		}
		c.doneMu.Lock()
		dones, c.dones = c.dones, dones[:0]
		c.doneMu.Unlock()
		for i := range dones {
			c.settle(dones[i])
			dones[i] = completed{}
		}
	}
}

func (c *Coordinator) settle(d completed) {
	sl := d.slot
	sl.mu.Lock()
	if sl.shard != d.shard || sl.status != active {
		sl.mu.Unlock()
		return
	}
	var effects []Effect
	sl.early[d.seq] = d.err
	for {
		err, ok := sl.early[sl.nextDone]
		if !ok {
			break
		}
		delete(sl.early, sl.nextDone)
		seq := sl.nextDone
		sl.nextDone++
		effects = append(effects, c.stepLocked(sl, Appended{Seq: seq, Err: err})...)
	}
	sl.mu.Unlock()
	c.carryOut(sl, effects)
}

// runTimers wakes the shards at their deadlines.
func (c *Coordinator) runTimers() {
	defer c.wg.Done()
	for {
		// A deadline that appears from here on pokes wake, so none is missed between the scan and the sleep.
		c.sleepTo.Store(math.MaxInt64)
		next := int64(math.MaxInt64)
		for i := range c.slots {
			next = min(next, c.slots[i].next.Load())
		}
		now := c.cfg.Clock.Now().UnixMilli()
		if next <= now {
			for i := range c.slots {
				if sl := &c.slots[i]; sl.next.Load() <= now {
					c.step(sl, Tick{})
				}
			}
			continue
		}
		wait := time.Duration(min(next-now, 60_000)) * time.Millisecond
		timer, stop := c.cfg.Clock.After(wait)
		c.sleepTo.Store(now + wait.Milliseconds())
		select {
		case <-timer:
		case <-c.wake:
			stop()
		case <-c.ctx.Done():
			stop()
			return
		}
	}
}

// carryOut answers, sends markers and logs. No lock is held.
func (c *Coordinator) carryOut(sl *slot, effects []Effect) {
	for i := range effects {
		e := &effects[i]
		switch {
		case e.Reply != nil:
			e.Reply(e.Result)
		case e.Markers != nil:
			m := *e.Markers
			c.markers.WriteMarkers(m, func(codes []int16) { c.step(sl, MarkersWritten{Markers: m, Codes: codes}) })
		case e.Note != "":
			c.log.Log(c.ctx, e.Level, e.Note, e.Args...)
		}
	}
}
