package connect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// internalLog follows the internal topics from their start, with one client for all, and writes to them. Records are handed to their
// topic's handler in order, from one goroutine.
type internalLog struct {
	cl       *kgo.Client
	ac       *kgo.Client
	adm      *kadm.Client
	log      *slog.Logger
	handlers map[string]func(*kgo.Record)

	mu      sync.Mutex
	next    map[string]map[int32]int64 // topic -> partition -> offset of the record after the last one handled
	changed chan struct{}              // closed and replaced whenever next moves
}

// internalTopic is a topic that the worker needs.
type internalTopic struct {
	name        string
	property    string // the property that names it, for errors
	partitions  int32
	replication int64             // -1: min(3, brokers)
	configs     map[string]string // beside cleanup.policy=compact
}

// ensureInternalTopic creates the topic when it is missing and checks that it can be used.
func ensureInternalTopic(ctx context.Context, cl *kgo.Client, t internalTopic, create bool) error {
	adm := kadm.NewClient(cl)
	td, err := describeTopic(ctx, cl, t.name)
	if err != nil {
		return err
	}
	if td == nil && !create {
		return fmt.Errorf("topic %q of property %s does not exist and internal.topics.automatic.creation.enable is false; create it with cleanup.policy=compact", t.name, t.property)
	}
	if td == nil {
		cfg := map[string]*string{}
		for k, v := range t.configs {
			cfg[k] = kadm.StringPtr(v)
		}
		cfg["cleanup.policy"] = kadm.StringPtr("compact")
		rf := t.replication
		if rf < 0 {
			if rf, err = brokersUpTo(ctx, adm, 3); err != nil {
				return err
			}
		}
		resp, err := adm.CreateTopic(ctx, t.partitions, int16(rf), cfg, t.name)
		if err == nil {
			err = resp.Err
		}
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("create topic %q of property %s: %w", t.name, t.property, err)
		}
		for td == nil { // until the broker that we ask knows it
			if td, err = describeTopic(ctx, cl, t.name); err != nil {
				return err
			}
			if td == nil {
				if err := sleep(ctx, 20*time.Millisecond); err != nil {
					return err
				}
			}
		}
	}
	if t.partitions == 1 && len(td.leaders) != 1 {
		return fmt.Errorf("topic '%s' supplied via the '%s' property is required to have a single partition in order to guarantee consistency of connector configurations, but found %d partitions", t.name, t.property, len(td.leaders))
	}
	rcs, err := adm.DescribeTopicConfigs(ctx, t.name)
	if err != nil {
		return fmt.Errorf("describe configuration of topic %q: %w", t.name, err)
	}
	for _, rc := range rcs {
		for _, c := range rc.Configs {
			if c.Key == "cleanup.policy" && c.Value != nil && *c.Value != "compact" {
				return fmt.Errorf("topic '%s' supplied via the '%s' property is required to have 'cleanup.policy=compact' to guarantee consistency and durability of source connector offsets, but found the topic currently has 'cleanup.policy=%s'; change it before starting the worker", t.name, t.property, *c.Value)
			}
		}
	}
	return nil
}

// topicInfo is what the cluster says about a topic.
type topicInfo struct {
	id      [16]byte
	leaders map[int32]int32 // partition -> broker
}

// describeTopic returns nil when there is no such topic. It asks the cluster itself: what a client remembers of a topic that was missing is
// too old for one that has just been made.
func describeTopic(ctx context.Context, cl *kgo.Client, name string) (*topicInfo, error) {
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &name
	req.Topics = append(req.Topics, rt)
	// A broker is named, as metadata requests through the client are answered from its cache.
	brokers := append(cl.DiscoveredBrokers(), cl.SeedBrokers()...)
	var kresp kmsg.Response
	err := errors.New("no broker is known")
	for i := 0; i < len(brokers) && err != nil && ctx.Err() == nil; i++ {
		kresp, err = brokers[i].RetriableRequest(ctx, req)
	}
	if err != nil {
		return nil, fmt.Errorf("describe topic %q: %w", name, err)
	}
	resp, ok := kresp.(*kmsg.MetadataResponse)
	if !ok || len(resp.Topics) != 1 {
		return nil, fmt.Errorf("describe topic %q: the broker's answer is not about it", name)
	}
	t := resp.Topics[0]
	err = kerr.ErrorForCode(t.ErrorCode)
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return nil, nil
	case err != nil && !errors.Is(err, kerr.LeaderNotAvailable):
		return nil, fmt.Errorf("describe topic %q: %w", name, err)
	}
	info := &topicInfo{id: t.TopicID, leaders: make(map[int32]int32, len(t.Partitions))}
	for _, p := range t.Partitions {
		info.leaders[p.Partition] = p.Leader
	}
	return info, nil
}

func brokersUpTo(ctx context.Context, adm *kadm.Client, most int64) (int64, error) {
	brokers, err := adm.ListBrokers(ctx)
	if err != nil {
		return 0, fmt.Errorf("list brokers: %w", err)
	}
	return max(1, min(most, int64(len(brokers)))), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// newInternalLog makes the client that follows the handlers' topics, which must exist. run must be called to make it follow.
func newInternalLog(ctx context.Context, log *slog.Logger, ac *kgo.Client, opts []kgo.Opt, handlers map[string]func(*kgo.Record)) (*internalLog, error) {
	l := &internalLog{ac: ac, adm: kadm.NewClient(ac), log: log, handlers: handlers, next: map[string]map[int32]int64{}, changed: make(chan struct{})}
	parts := map[string]map[int32]kgo.Offset{}
	for topic := range handlers {
		td, err := describeTopic(ctx, ac, topic)
		if err != nil {
			return nil, err
		}
		if td == nil {
			return nil, fmt.Errorf("topic %q does not exist", topic)
		}
		parts[topic], l.next[topic] = map[int32]kgo.Offset{}, map[int32]int64{}
		for p := range td.leaders {
			parts[topic][p] = kgo.NewOffset().AtStart()
			l.next[topic][p] = 0
		}
	}
	opts = append(append([]kgo.Opt{}, opts...),
		kgo.ConsumePartitions(parts),
		// Markers of transactions are kept, for the position to move past them.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		// A fetch that was sent before all partitions were found holds the others up for as long as it waits.
		kgo.FetchMaxWait(250*time.Millisecond),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("client of the internal topics: %w", err)
	}
	l.cl = cl
	return l, nil
}

func (l *internalLog) close() { l.cl.Close() }

// run hands records to their handlers until ctx is done.
func (l *internalLog) run(ctx context.Context) {
	for ctx.Err() == nil {
		fs := l.cl.PollFetches(ctx)
		if fs.IsClientClosed() {
			return
		}
		moved := false
		fs.EachPartition(func(p kgo.FetchTopicPartition) {
			if p.Err != nil && ctx.Err() == nil {
				l.log.Warn("reading an internal topic failed; it is tried again", "topic", p.Topic, "partition", p.Partition, "error", p.Err)
			}
			for _, r := range p.Records {
				if !r.Attrs.IsControl() {
					l.handlers[r.Topic](r)
				}
			}
			if n := len(p.Records); n > 0 {
				l.advance(p.Topic, p.Partition, p.Records[n-1].Offset+1)
				moved = true
			}
		})
		if moved {
			l.wake()
		} else if fs.Err() != nil {
			_ = sleep(ctx, 100*time.Millisecond)
		}
	}
}

func (l *internalLog) advance(topic string, partition int32, next int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if next > l.next[topic][partition] {
		l.next[topic][partition] = next
	}
}

func (l *internalLog) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *internalLog) position(topic string, partition int32) (int64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next[topic][partition], l.changed
}

// readToEnd returns when all records that were in the topics at the call have been handled. Those of transactions that are open are not
// waited for.
func (l *internalLog) readToEnd(ctx context.Context, topics ...string) error {
	return l.readTo(ctx, l.adm.ListCommittedOffsets, topics...)
}

// readAll returns when all records that were in the topics at the call have been handled, those of transactions that were open
// then included: they must end first.
func (l *internalLog) readAll(ctx context.Context, topics ...string) error {
	return l.readTo(ctx, l.adm.ListEndOffsets, topics...)
}

func (l *internalLog) readTo(ctx context.Context, list func(context.Context, ...string) (kadm.ListedOffsets, error), topics ...string) error {
	starts, err := l.adm.ListStartOffsets(ctx, topics...)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return fmt.Errorf("list start offsets of the internal topics: %w", err)
	}
	ends, err := list(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("list end offsets of the internal topics: %w", err)
	}
	starts.Each(func(o kadm.ListedOffset) { l.advance(o.Topic, o.Partition, o.Offset) })
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg   sync.WaitGroup
		once sync.Once
		wait error
	)
	ends.Each(func(o kadm.ListedOffset) {
		if next, _ := l.position(o.Topic, o.Partition); next >= o.Offset {
			return
		}
		wg.Go(func() {
			if err := l.waitFor(ctx, o.Topic, o.Partition, o.Offset); err != nil {
				once.Do(func() { wait = err })
				cancel()
			}
		})
	})
	wg.Wait()
	return wait
}

// waitFor returns when the partition's records below offset have been handled. Compaction may leave nothing at all up to there: when
// no record comes, the log is asked directly.
func (l *internalLog) waitFor(ctx context.Context, topic string, partition int32, offset int64) error {
	began, told := time.Now(), 5*time.Second
	for {
		if d := time.Since(began); d > told {
			told *= 2
			l.log.Warn("still reading an internal topic to its end; a transaction that is open holds back what comes after it", "topic", topic, "partition", partition, "until", offset, "for", d.Round(time.Second))
		}
		next, changed := l.position(topic, partition)
		if next >= offset {
			return nil
		}
		t := time.NewTimer(300 * time.Millisecond)
		select {
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("read topic %q to its end: %w", topic, ctx.Err())
		case <-changed:
		case <-t.C:
			if err := l.skipEmpty(ctx, topic, partition, next); err != nil && ctx.Err() == nil {
				l.log.Warn("looking for the end of an internal topic failed; it is tried again", "topic", topic, "partition", partition, "error", err)
			}
		}
		t.Stop()
	}
}

// skipEmpty moves the position past batches that hold no records any more.
func (l *internalLog) skipEmpty(ctx context.Context, topic string, partition int32, from int64) error {
	td, err := describeTopic(ctx, l.ac, topic)
	if err != nil || td == nil {
		return err
	}
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = partition, from, 1<<20
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID, rt.Partitions = topic, td.id, []kmsg.FetchRequestTopicPartition{rp}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch, req.IsolationLevel, req.Topics = 1<<20, -1, 1, []kmsg.FetchRequestTopic{rt}
	resp, err := l.cl.Broker(int(td.leaders[partition])).RetriableRequest(ctx, req)
	if err != nil {
		return err
	}
	for _, rt := range resp.(*kmsg.FetchResponse).Topics {
		for i := range rt.Partitions {
			fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: from, IsolationLevel: kgo.ReadCommitted(), Topic: topic, Partition: partition},
				&rt.Partitions[i], kgo.DefaultDecompressor(), nil)
			if fp.Err == nil && len(fp.Records) == 0 && next > from {
				l.advance(topic, partition, next)
			}
		}
	}
	return nil
}

// write produces records and returns when they have come back to their handlers.
func (l *internalLog) write(ctx context.Context, recs ...*kgo.Record) error {
	for _, res := range l.cl.ProduceSync(ctx, recs...) {
		if res.Err != nil {
			return fmt.Errorf("write to topic %q: %w", res.Record.Topic, res.Err)
		}
	}
	return l.awaitRecords(ctx, recs)
}

// awaitRecords returns when records that were written have come back to their handlers.
func (l *internalLog) awaitRecords(ctx context.Context, recs []*kgo.Record) error {
	for _, r := range recs {
		if err := l.waitFor(ctx, r.Topic, r.Partition, r.Offset+1); err != nil {
			return err
		}
	}
	return nil
}
