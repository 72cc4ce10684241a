package group

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/javahash"
)

// Coordinator owns the shards of the partitions of __consumer_offsets that this broker leads. All methods
// are safe for concurrent use. The API handlers call reply exactly once, from any goroutine and possibly
// before they return; reply must not block. A request belongs to the coordinator until reply is called,
// and nothing of it is kept longer. ThrottleMillis and authorization are the caller's business.
type Coordinator struct {
	cfg     Config
	store   Store
	topics  Topics
	log     *slog.Logger
	metrics *collector
	slots   []slot

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	closed atomic.Bool

	wake     chan struct{} // a shard has a deadline before sleepTo
	sleepTo  atomic.Int64
	loadSema chan struct{}

	doneMu sync.Mutex
	dones  []completion
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
	loadStart  time.Time
	deleted    []string         // topics that were deleted while loading
	ended      []TxnMarker      // transactions that ended while loading
	early      map[uint64]error // fates of batches that overtook an older one
	nextDone   uint64           // the batch whose fate comes next

	next atomic.Int64 // the shard's next deadline
}

type completion struct {
	slot  *slot
	shard *Shard
	seq   uint64
	err   error
}

// NewCoordinator is a coordinator that owns nothing yet. logger and reg may be nil. Call Start, then
// OnElected for each partition that the broker leads.
func NewCoordinator(cfg Config, store Store, topics Topics, logger *slog.Logger, reg prometheus.Registerer) (*Coordinator, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("group coordinator: %w", err)
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	c := &Coordinator{
		cfg: cfg, store: store, topics: topics, log: logger,
		slots:    make([]slot, cfg.OffsetsTopicPartitions),
		wake:     make(chan struct{}, 1),
		doneC:    make(chan struct{}, 1),
		loadSema: make(chan struct{}, 4),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	for i := range c.slots {
		c.slots[i].partition = int32(i)
		c.slots[i].next.Store(math.MaxInt64)
	}
	c.metrics = newCollector(c)
	if reg != nil {
		if err := reg.Register(c.metrics); err != nil {
			return nil, fmt.Errorf("register the group coordinator's metrics: %w", err)
		}
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
// COORDINATOR_NOT_AVAILABLE. The store may still call the done functions that it holds.
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

// PartitionFor is the partition of __consumer_offsets that keeps the group: the broker that leads it is the
// group's coordinator.
func (c *Coordinator) PartitionFor(group string) int32 {
	return javahash.Partition(group, c.cfg.OffsetsTopicPartitions)
}

// OnElected is the news that this broker leads the partition of __consumer_offsets from leaderEpoch on. Its
// groups are loaded in the background; until then requests are answered COORDINATOR_LOAD_IN_PROGRESS.
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
	sl.status, sl.epoch, sl.cancelLoad, sl.loadStart = loading, leaderEpoch, cancel, c.cfg.Clock.Now()
	shard := NewShard(c.cfg)
	sl.shard, sl.deleted, sl.ended = shard, nil, nil
	c.wg.Add(1)
	go c.load(ctx, sl, shard)
}

// OnResigned is the news that this broker no longer leads the partition. Everyone who waits is told
// NOT_COORDINATOR, and the shard is forgotten.
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
		c.metrics.retire(sl.shard)
	}
	sl.status, sl.shard, sl.deleted, sl.early = notOwned, nil, nil, nil
	sl.next.Store(math.MaxInt64)
	sl.mu.Unlock()
	c.carryOut(sl, effects)
}

// TopicDeleted is the news that a topic was deleted: its committed offsets go with it.
func (c *Coordinator) TopicDeleted(topic string) {
	for i := range c.slots {
		sl := &c.slots[i]
		sl.mu.Lock()
		if sl.status == loading {
			sl.deleted = append(sl.deleted, topic)
			sl.mu.Unlock()
			continue
		}
		effects := c.stepLocked(sl, TopicDeleted{Topic: topic})
		sl.mu.Unlock()
		c.carryOut(sl, effects)
	}
}

// TransactionEnded is the news that the end marker of the producer's transaction is durable in the partition
// of __consumer_offsets: offsets within it count from now on, or are dropped.
func (c *Coordinator) TransactionEnded(partition int32, producerID int64, commit bool) {
	if partition < 0 || int(partition) >= len(c.slots) {
		return
	}
	sl, ev := &c.slots[partition], TxnMarker{ProducerID: producerID, Commit: commit}
	sl.mu.Lock()
	if sl.status == loading { // the marker may be behind what is being read
		sl.ended = append(sl.ended, ev)
		sl.mu.Unlock()
		return
	}
	sl.mu.Unlock()
	c.step(sl, ev)
}

// MetadataChanged is the news of a newer image. topics are those that are new, changed or gone; created says
// that some are new.
func (c *Coordinator) MetadataChanged(topics []string, created bool) {
	im := c.topics.Image()
	for i := range c.slots {
		sl := &c.slots[i]
		sl.mu.Lock()
		effects := c.stepLocked(sl, MetadataChanged{Image: im, Topics: topics, TopicsCreated: created})
		sl.mu.Unlock()
		c.carryOut(sl, effects)
	}
}

// resolve looks for the topics of regular expressions beside the shard.
func (c *Coordinator) resolve(sl *slot, q *RegexQuery) {
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		c.step(sl, q.Resolve())
	}()
}

// reload loads a shard anew that is at odds with its log.
func (c *Coordinator) reload(sl *slot) {
	sl.mu.Lock()
	epoch := sl.epoch
	owned := sl.status == active
	sl.mu.Unlock()
	if owned {
		c.OnResigned(sl.partition)
		c.OnElected(sl.partition, epoch)
	}
}

// load replays the partition and begins to serve it. It tries again until it succeeds or the broker
// resigns: while the log cannot be read, nothing about its groups is known.
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
		err := c.store.Load(ctx, sl.partition, func(r StoredRecord) error {
			records++
			if err := shard.Replay(r); errors.Is(err, errUnknownKind) {
				log.Debug("left out a record of a kind this coordinator does not keep", "offset", r.Offset, "error", err)
			} else if err != nil {
				log.Error("left out a record that cannot be read", "topic", OffsetsTopic, "offset", r.Offset, "error", err)
			}
			return ctx.Err()
		})
		<-c.loadSema
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			took := c.cfg.Clock.Now().Sub(start)
			c.begin(sl, shard)
			if records > 0 { // of the 50 partitions of a new broker none has any
				log.Info("loaded groups and offsets", "records", records, "took", took)
			}
			return
		}
		log.Error("loading groups and offsets failed; trying again", "error", err)
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
	c.metrics.loaded(c.cfg.Clock.Now().Sub(sl.loadStart))
	effects := c.stepLocked(sl, Loaded{LeaderEpoch: sl.epoch, Image: c.topics.Image()})
	for _, topic := range sl.deleted {
		effects = append(effects, c.stepLocked(sl, TopicDeleted{Topic: topic})...)
	}
	for _, ev := range sl.ended {
		effects = append(effects, c.stepLocked(sl, ev)...)
	}
	sl.deleted, sl.ended = nil, nil
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
	if sl.status != active {
		return nil
	}
	shard := sl.shard
	batches, effects := shard.Step(ev, c.cfg.Clock.Now())
	for _, b := range batches {
		seq := b.Seq
		c.store.Append(sl.partition, b, func(err error) { c.completed(completion{sl, shard, seq, err}) })
	}
	c.setNext(sl)
	return effects
}

func (c *Coordinator) setNext(sl *slot) {
	next := sl.shard.NextDeadline()
	sl.next.Store(next)
	if next < c.sleepTo.Load() {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

func (c *Coordinator) completed(d completion) {
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
	var dones []completion
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
			dones[i] = completion{}
		}
	}
}

func (c *Coordinator) settle(d completion) {
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

// carryOut answers and logs. No lock is held.
func (c *Coordinator) carryOut(sl *slot, effects []Effect) {
	for i := range effects {
		e := &effects[i]
		switch {
		case e.Resolve != nil:
			c.resolve(sl, e.Resolve)
			continue
		case e.Reload:
			c.reload(sl)
			continue
		case e.Response == nil:
			c.log.Log(c.ctx, e.Level, e.Note, e.Args...)
			continue
		}
		switch resp := e.Response.(type) {
		case *kmsg.JoinGroupResponse:
			e.Waiter.(func(*kmsg.JoinGroupResponse))(resp)
		case *kmsg.SyncGroupResponse:
			e.Waiter.(func(*kmsg.SyncGroupResponse))(resp)
		case *kmsg.LeaveGroupResponse:
			e.Waiter.(func(*kmsg.LeaveGroupResponse))(resp)
		case *kmsg.OffsetCommitResponse:
			e.Waiter.(func(*kmsg.OffsetCommitResponse))(resp)
		case *kmsg.TxnOffsetCommitResponse:
			e.Waiter.(func(*kmsg.TxnOffsetCommitResponse))(resp)
		case *kmsg.OffsetDeleteResponse:
			e.Waiter.(func(*kmsg.OffsetDeleteResponse))(resp)
		case *kmsg.ConsumerGroupHeartbeatResponse:
			e.Waiter.(func(*kmsg.ConsumerGroupHeartbeatResponse))(resp)
		case *kmsg.DeleteGroupsResponse:
			e.Waiter.(func(*kmsg.DeleteGroupsResponse))(resp)
		}
	}
}
