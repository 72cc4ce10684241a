package txn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau-io/moldau/core/coordinator"
)

// IDs gives out producer ids that nobody had before.
type IDs func(ctx context.Context) (int64, error)

// Coordinator is the transaction coordinator of this broker: it runs the shards of the partitions of __transaction_state that the broker
// leads, see [coordinator.Runtime]. All methods are safe for concurrent use. Replies are called exactly once, from any goroutine and
// possibly before the method returns; they must not block.
type Coordinator struct {
	cfg     Config
	store   Store
	markers MarkerWriter
	ids     IDs
	log     *slog.Logger
	version atomic.Int32
	shards  *coordinator.Runtime[versioned, Event, Batch, Effect]

	spareMu sync.Mutex
	spares  []int64 // producer ids that were taken and not used
}

// versioned is a shard that steps under the coordinator's version.
type versioned struct {
	*Shard
	version *atomic.Int32
}

// Step implements [coordinator.Shard].
func (v versioned) Step(ev Event, now time.Time) ([]Batch, []Effect) {
	v.SetVersion(int16(v.version.Load()))
	return v.Shard.Step(ev, now)
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
	c := &Coordinator{cfg: cfg, store: store, markers: markers, ids: ids, log: logger}
	c.shards = coordinator.New(coordinator.Kind[versioned, Event, Batch, Effect]{
		State:    "transactions",
		New:      func() versioned { return versioned{NewShard(cfg), &c.version} },
		Load:     c.load,
		Loaded:   func(leaderEpoch int32) Event { return Loaded{LeaderEpoch: leaderEpoch} },
		Appended: func(seq uint64, err error) Event { return Appended{Seq: seq, Err: err} },
		Resigned: Resigned{}, Tick: Tick{},
		Append:   store.Append,
		Seq:      func(b Batch) uint64 { return b.Seq },
		CarryOut: c.carryOut,
		Began: func(log *slog.Logger, records int, read, _ time.Duration) {
			if records > 0 {
				log.Info("loaded transactions", "records", records, "took", read)
			}
		},
	}, cfg.Partitions, cfg.Clock, logger)
	return c, nil
}

// Start starts the timers. Close ends them.
func (c *Coordinator) Start() { c.shards.Start() }

// Close resigns from everything and waits for the coordinator's goroutines. Requests after it are answered
// COORDINATOR_NOT_AVAILABLE. Store and MarkerWriter may still call the functions that they hold.
func (c *Coordinator) Close() { c.shards.Close() }

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
	if code := c.shards.Step(c.PartitionFor(e.TransactionalID), e); code != codeNone {
		if e.TransactionalID == "" {
			code = codeInvalidRequest
		}
		e.Reply(Result{code, NoProducerID, NoProducerEpoch})
	}
}

// Verify says for each partition whether the producer's transaction has it; see [Shard.Verify].
func (c *Coordinator) Verify(transactionalID string, producerID int64, epoch int16, partitions []TopicPartition) []int16 {
	p := c.PartitionFor(transactionalID)
	shard, code := c.shards.Acquire(p)
	defer c.shards.Release(p)
	switch {
	case code == codeNone:
		return shard.Verify(transactionalID, producerID, epoch, partitions)
	case transactionalID == "": // refused by any
		return (&Shard{}).Verify(transactionalID, producerID, epoch, partitions)
	default:
		codes := make([]int16, len(partitions))
		for i := range codes {
			codes[i] = code
		}
		return codes
	}
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
	p := c.PartitionFor(transactionalID)
	shard, code := c.shards.Acquire(p)
	defer c.shards.Release(p)
	if code != codeNone {
		return Entry{}, code
	}
	e, ok := shard.Describe(transactionalID)
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
	for shard, code := range c.shards.All() {
		switch code {
		case codeNone:
			shard.List(f, now, func(e *Entry) { out = append(out, *e) })
		case codeNotCoordinator:
		default:
			return nil, code
		}
	}
	return out, codeNone
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
	p := c.PartitionFor(transactionalID)
	_, code := c.shards.Acquire(p)
	c.shards.Release(p)
	return code
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
	p := c.PartitionFor(transactionalID)
	effects, code := c.shards.Take(p, ev)
	if code != codeNone {
		reply(Result{code, NoProducerID, NoProducerEpoch})
		return false
	}
	for i := range effects {
		tookSpare = tookSpare || effects[i].TookSpare
	}
	c.carryOut(p, effects)
	return tookSpare
}

// OnElected is the news that this broker leads the partition of __transaction_state from leaderEpoch on. Its transactions are
// loaded in the background; until then requests are answered COORDINATOR_LOAD_IN_PROGRESS.
func (c *Coordinator) OnElected(partition, leaderEpoch int32) {
	c.shards.OnElected(partition, leaderEpoch)
}

// OnResigned is the news that this broker no longer leads the partition. Everyone who waits is told NOT_COORDINATOR, and the shard
// is forgotten.
func (c *Coordinator) OnResigned(partition int32) { c.shards.OnResigned(partition) }

// load replays the partition into the shard.
func (c *Coordinator) load(ctx context.Context, partition int32, shard versioned, log *slog.Logger) (records int, err error) {
	err = c.store.Load(ctx, partition, func(key, value []byte, offset int64) error {
		records++
		if err := shard.Replay(key, value); errors.Is(err, ErrUnknownKey) {
			log.Debug("left out a record of a kind this coordinator does not keep", "offset", offset, "error", err)
		} else if err != nil {
			log.Error("left out a record that cannot be read", "topic", StateTopic, "offset", offset, "error", err)
		}
		return ctx.Err()
	})
	return records, err
}

// carryOut answers, sends markers and logs. No lock is held.
func (c *Coordinator) carryOut(partition int32, effects []Effect) {
	for i := range effects {
		e := &effects[i]
		switch {
		case e.Reply != nil:
			e.Reply(e.Result)
		case e.Markers != nil:
			m := *e.Markers
			c.markers.WriteMarkers(m, func(codes []int16) { c.shards.Step(partition, MarkersWritten{Markers: m, Codes: codes}) })
		case e.Note != "":
			c.log.Log(context.Background(), e.Level, e.Note, e.Args...)
		}
	}
}
