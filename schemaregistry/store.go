package schemaregistry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// store is the schemas topic: one partition that is read from its start and appended to. apply is called with each record in
// order, by one goroutine, restart before the first record is read a second time (the log was cut behind us), and caughtUp at the
// end of the log. All three run under the lock.
type store struct {
	opts    *Options
	client  *kgo.Client
	admin   *kadm.Client
	apply   func(Record)
	restart func()
	caught  func()
	// moved is closed and replaced when the reader has moved; next is the offset it will read next. Both are under the lock.
	moved chan struct{}
	next  int64
	lock  rwLocker
	// topicID tells records that were decided for this topic from copies of another; zero if the broker has no ids.
	topicID   [16]byte
	clusterID string
}

type rwLocker interface {
	Lock()
	Unlock()
	RLock()
	RUnlock()
}

var errTimeout = errors.New("timed out")

func newStore(o *Options, lock rwLocker, apply func(Record), restart, caught func()) (*store, error) {
	opts := slices.Concat(o.KafkaOpts, []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(int32(min(max(2*o.Limits.SchemaBytes, 1<<20), 64<<20))), //nolint:gosec // bounded
		kgo.RecordDeliveryTimeout(max(o.Timeout, time.Second)),                            // the client's least
		kgo.FetchMaxWait(time.Second),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	})
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("kafka client of the registry: %w", err)
	}
	return &store{opts: o, client: client, admin: kadm.NewClient(client), apply: apply, restart: restart, caught: caught, moved: make(chan struct{}), lock: lock}, nil
}

// badTopicError says that the topic cannot hold schemas; trying again does not help.
type badTopicError struct{ reason string }

func (e *badTopicError) Error() string { return e.reason }

// ensureTopic creates the topic, or checks that it is what the registry needs.
func (s *store) ensureTopic(ctx context.Context) error {
	topic := s.opts.Topic
	t, err := s.metadata(ctx)
	if err != nil {
		return fmt.Errorf("look up topic %s: %w", topic, err)
	}
	err = kerr.ErrorForCode(t.ErrorCode)
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		if err = s.createTopic(ctx); err == nil && s.checked() || err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return err
		}
		if t, err = s.metadata(ctx); err == nil {
			err = kerr.ErrorForCode(t.ErrorCode)
		}
	}
	if err != nil {
		return fmt.Errorf("look up topic %s: %w", topic, err)
	}
	if n := len(t.Partitions); n != 1 {
		return &badTopicError{fmt.Sprintf("the schemas topic %s has %d partitions, but its order is the registry's order: it must have 1", topic, n)}
	}
	s.topicID = t.TopicID
	configs, err := s.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return fmt.Errorf("describe topic %s: %w", topic, err)
	}
	c, err := configs.On(topic, nil)
	if err == nil {
		err = c.Err
	}
	if err != nil {
		return fmt.Errorf("describe topic %s: %w", topic, err)
	}
	for _, entry := range c.Configs {
		if entry.Key == "cleanup.policy" && entry.MaybeValue() != "compact" {
			return &badTopicError{fmt.Sprintf("the schemas topic %s has cleanup.policy %q and would lose schemas; set it to \"compact\"", topic, entry.MaybeValue())}
		}
	}
	return nil
}

// metadata asks the cluster about the topic; the client's own metadata may be seconds old.
func (s *store) metadata(ctx context.Context) (kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(s.opts.Topic)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, s.client)
	if err != nil {
		return kmsg.MetadataResponseTopic{}, err
	}
	if resp.ClusterID != nil {
		s.clusterID = *resp.ClusterID
	}
	if len(resp.Topics) != 1 {
		return kmsg.MetadataResponseTopic{}, fmt.Errorf("metadata of %d topics", len(resp.Topics))
	}
	return resp.Topics[0], nil
}

func (s *store) createTopic(ctx context.Context) error {
	brokers, err := s.admin.ListBrokers(ctx)
	if err != nil {
		return fmt.Errorf("list brokers: %w", err)
	}
	replicas := max(1, min(s.opts.ReplicationFactor, len(brokers)))
	policy := "compact"
	r, err := s.admin.CreateTopic(ctx, 1, int16(replicas), map[string]*string{"cleanup.policy": &policy}, s.opts.Topic) //nolint:gosec // few brokers
	if err == nil {
		err = r.Err
	}
	if err != nil {
		return fmt.Errorf("create topic %s: %w", s.opts.Topic, err)
	}
	s.topicID = r.ID
	if replicas < s.opts.ReplicationFactor {
		s.opts.Logger.Warn("schemas topic has fewer replicas than configured", "topic", s.opts.Topic, "replicas", replicas, "configured", s.opts.ReplicationFactor)
	}
	return nil
}

// read applies the topic until ctx ends.
func (s *store) read(ctx context.Context) {
	s.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{s.opts.Topic: {0: kgo.NewOffset().AtStart()}})
	for ctx.Err() == nil {
		fetches := s.client.PollFetches(ctx)
		if fetches.IsClientClosed() {
			return
		}
		fetches.EachError(func(_ string, _ int32, err error) {
			if ctx.Err() == nil {
				s.opts.Logger.Warn("schemas topic cannot be read", "topic", s.opts.Topic, "error", err)
			}
		})
		if fetches.NumRecords() == 0 {
			continue
		}
		s.lock.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset < s.next {
				s.restart()
			}
			rec := Record{Key: r.Key, Value: r.Value, Offset: r.Offset, Time: r.Timestamp.UnixMilli()}
			for _, h := range r.Headers {
				if h.Key == expectedHeader {
					rec.Expected, rec.Decided = decodeExpected(s.topicID, h.Value)
				}
			}
			s.apply(rec)
			s.next = r.Offset + 1
		})
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if s.next >= p.HighWatermark {
				s.caught()
			}
		})
		close(s.moved)
		s.moved = make(chan struct{})
		s.lock.Unlock()
	}
}

// reached waits until the record before offset has been applied. patience bounds the time without any progress.
func (s *store) reached(ctx context.Context, offset int64, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		s.lock.RLock()
		next, moved := s.next, s.moved
		s.lock.RUnlock()
		if next >= offset {
			return nil
		}
		timer.Reset(patience)
		select {
		case <-moved:
		case <-timer.C:
			return fmt.Errorf("%w reading the schemas topic to offset %d, at %d", errTimeout, offset, next)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// barrier waits until everything that was in the topic when it was called has been applied.
func (s *store) barrier(ctx context.Context) error {
	ends, err := s.admin.ListEndOffsets(ctx, s.opts.Topic)
	if err != nil {
		return fmt.Errorf("end of the schemas topic: %w", err)
	}
	end, ok := ends.Lookup(s.opts.Topic, 0)
	if !ok || end.Err != nil {
		return fmt.Errorf("end of the schemas topic: %w", end.Err)
	}
	// The last offsets may hold no record (compaction, control batches). Then only a record of our own shows that we are there.
	if err := s.reached(ctx, end.Offset, min(s.opts.Timeout, 250*time.Millisecond)); err == nil || !errors.Is(err, errTimeout) {
		return err
	}
	_, err = s.write(ctx, anywhere, []Record{noopRecord()})
	return err
}

// checked says whether records are refused at offsets for which they were not decided. Brokers without topic ids cannot have that.
func (s *store) checked() bool { return s.topicID != [16]byte{} }

// anywhere is an offset for records that hold wherever they land.
const anywhere = -1

// append appends records and waits until they are in the log. at is the offset for which they were decided, the first one's. It
// returns the last offset.
func (s *store) append(ctx context.Context, at int64, records []Record) (int64, error) {
	produced := make(chan error, len(records))
	list := make([]*kgo.Record, len(records))
	for i, r := range records {
		list[i] = &kgo.Record{Topic: s.opts.Topic, Partition: 0, Key: r.Key, Value: r.Value}
		if at != anywhere && s.checked() {
			list[i].Headers = []kgo.RecordHeader{{Key: expectedHeader, Value: encodeExpected(s.topicID, at+int64(i))}}
		}
		s.client.Produce(ctx, list[i], func(_ *kgo.Record, err error) { produced <- err })
	}
	for range list {
		select {
		case err := <-produced:
			if err != nil {
				return 0, fmt.Errorf("write to the schemas topic: %w", err)
			}
		case <-ctx.Done(): // the write may still arrive; whoever reads it next will see it
			err := ctx.Err()
			if errors.Is(err, context.DeadlineExceeded) {
				err = errTimeout
			}
			return 0, fmt.Errorf("write to the schemas topic: %w", err)
		}
	}
	return list[len(list)-1].Offset, nil
}

// write is append, and waits until the records have been applied.
func (s *store) write(ctx context.Context, at int64, records []Record) (int64, error) {
	last, err := s.append(ctx, at, records)
	if err != nil {
		return 0, err
	}
	return last, s.reached(ctx, last+1, s.opts.Timeout)
}
