package group

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/coordinator"
	"github.com/moldau-io/moldau/core/javahash"
)

// Coordinator is the group coordinator of this broker: it runs the shards of the partitions of __consumer_offsets that the broker leads,
// see [coordinator.Runtime]. All methods are safe for concurrent use. The API handlers call reply exactly once, from any goroutine and
// possibly before they return; reply must not block. A request belongs to the coordinator until reply is called,
// and nothing of it is kept longer. ThrottleMillis and authorization are the caller's business.
type Coordinator struct {
	cfg     Config
	store   Store
	topics  Topics
	log     *slog.Logger
	metrics *collector
	shards  *coordinator.Runtime[*Shard, Event, Batch, Effect]
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
	c := &Coordinator{cfg: cfg, store: store, topics: topics, log: logger}
	c.metrics = newCollector(c)
	c.shards = coordinator.New(coordinator.Kind[*Shard, Event, Batch, Effect]{
		State:    "groups and offsets",
		New:      func() *Shard { return NewShard(cfg) },
		Load:     c.load,
		Loaded:   func(leaderEpoch int32) Event { return Loaded{LeaderEpoch: leaderEpoch, Image: topics.Image()} },
		Appended: func(seq uint64, err error) Event { return Appended{Seq: seq, Err: err} },
		Resigned: Resigned{}, Tick: Tick{},
		Append:   store.Append,
		Seq:      func(b Batch) uint64 { return b.Seq },
		CarryOut: c.carryOut,
		Began: func(log *slog.Logger, records int, read, sinceElected time.Duration) {
			c.metrics.loaded(sinceElected)
			log.Info("loaded groups and offsets", "records", records, "took", read)
		},
		Retired: c.metrics.retire,
	}, cfg.OffsetsTopicPartitions, cfg.Clock, logger)
	if reg != nil {
		if err := reg.Register(c.metrics); err != nil {
			return nil, fmt.Errorf("register the group coordinator's metrics: %w", err)
		}
	}
	return c, nil
}

// Start starts the timers. Close ends them.
func (c *Coordinator) Start() { c.shards.Start() }

// Close resigns from everything and waits for the coordinator's goroutines. Requests after it are answered
// COORDINATOR_NOT_AVAILABLE. The store may still call the done functions that it holds.
func (c *Coordinator) Close() { c.shards.Close() }

// PartitionFor is the partition of __consumer_offsets that keeps the group: the broker that leads it is the
// group's coordinator.
func (c *Coordinator) PartitionFor(group string) int32 {
	return javahash.Partition(group, c.cfg.OffsetsTopicPartitions)
}

// OnElected is the news that this broker leads the partition of __consumer_offsets from leaderEpoch on. Its
// groups are loaded in the background; until then requests are answered COORDINATOR_LOAD_IN_PROGRESS.
func (c *Coordinator) OnElected(partition, leaderEpoch int32) {
	c.shards.OnElected(partition, leaderEpoch)
}

// OnResigned is the news that this broker no longer leads the partition. Everyone who waits is told
// NOT_COORDINATOR, and the shard is forgotten.
func (c *Coordinator) OnResigned(partition int32) { c.shards.OnResigned(partition) }

// TopicDeleted is the news that a topic was deleted: its committed offsets go with it.
func (c *Coordinator) TopicDeleted(topic string) {
	for p := range c.shards.Partitions() {
		c.shards.Tell(p, TopicDeleted{Topic: topic})
	}
}

// TransactionEnded is the news that the end marker of the producer's transaction is durable in the partition
// of __consumer_offsets: offsets within it count from now on, or are dropped.
func (c *Coordinator) TransactionEnded(partition int32, producerID int64, commit bool) {
	c.shards.Tell(partition, TxnMarker{ProducerID: producerID, Commit: commit})
}

// MetadataChanged is the news of a newer image. topics are those that are new, changed or gone; created says
// that some are new. A partition that is loading gets the newest image when it is loaded.
func (c *Coordinator) MetadataChanged(topics []string, created bool) {
	im := c.topics.Image()
	for p := range c.shards.Partitions() {
		c.shards.Step(p, MetadataChanged{Image: im, Topics: topics, TopicsCreated: created})
	}
}

// load replays the partition into the shard.
func (c *Coordinator) load(ctx context.Context, partition int32, shard *Shard, log *slog.Logger) (records int, err error) {
	err = c.store.Load(ctx, partition, func(r StoredRecord) error {
		records++
		if err := shard.Replay(r); errors.Is(err, errUnknownKind) {
			log.Debug("left out a record of a kind this coordinator does not keep", "offset", r.Offset, "error", err)
		} else if err != nil {
			log.Error("left out a record that cannot be read", "topic", OffsetsTopic, "offset", r.Offset, "error", err)
		}
		return ctx.Err()
	})
	return records, err
}

// carryOut answers and logs. No lock is held.
func (c *Coordinator) carryOut(partition int32, effects []Effect) {
	for i := range effects {
		e := &effects[i]
		switch {
		case e.Resolve != nil: // it looks for the topics of regular expressions beside the shard
			q := e.Resolve
			c.shards.Go(func() { c.shards.Step(partition, q.Resolve()) })
			continue
		case e.Reload:
			c.shards.Reload(partition)
			continue
		case e.Response == nil:
			c.log.Log(context.Background(), e.Level, e.Note, e.Args...)
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
