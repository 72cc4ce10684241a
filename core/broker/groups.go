package broker

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/group"
	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/log/batch"
	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/replica"
	"github.com/moldau-io/moldau/core/txn"
)

// groupAPI is an api of the group coordinator, which answers by callback.
func (b *Broker) groupAPI(fn func(c call, rc group.RequestContext, req kmsg.Request)) api {
	return func(c call, req kmsg.Request) {
		fn(c, group.RequestContext{ClientID: c.r.ClientID, ClientHost: "/" + c.r.Conn.RemoteHost()}, req)
	}
}

func (b *Broker) joinGroup(c call, rc group.RequestContext, req kmsg.Request) {
	b.groups.JoinGroup(rc, req.(*kmsg.JoinGroupRequest), func(r *kmsg.JoinGroupResponse) { c.reply(r) })
}

func (b *Broker) syncGroup(c call, rc group.RequestContext, req kmsg.Request) {
	b.groups.SyncGroup(rc, req.(*kmsg.SyncGroupRequest), func(r *kmsg.SyncGroupResponse) { c.reply(r) })
}

func (b *Broker) heartbeat(c call, rc group.RequestContext, req kmsg.Request) {
	b.groups.Heartbeat(rc, req.(*kmsg.HeartbeatRequest), func(r *kmsg.HeartbeatResponse) { c.reply(r) })
}

func (b *Broker) leaveGroup(c call, rc group.RequestContext, req kmsg.Request) {
	b.groups.LeaveGroup(rc, req.(*kmsg.LeaveGroupRequest), func(r *kmsg.LeaveGroupResponse) { c.reply(r) })
}

func (b *Broker) offsetCommit(c call, rc group.RequestContext, req kmsg.Request) {
	b.groups.OffsetCommit(rc, req.(*kmsg.OffsetCommitRequest), func(r *kmsg.OffsetCommitResponse) { c.reply(r) })
}

func (b *Broker) offsetFetch(c call, rc group.RequestContext, req kmsg.Request) {
	b.groups.OffsetFetch(rc, req.(*kmsg.OffsetFetchRequest), func(r *kmsg.OffsetFetchResponse) { c.reply(r) })
}

func (b *Broker) offsetDelete(c call, rc group.RequestContext, req kmsg.Request) {
	b.groups.OffsetDelete(rc, req.(*kmsg.OffsetDeleteRequest), func(r *kmsg.OffsetDeleteResponse) { c.reply(r) })
}

// allGroupOperations are READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS and ALTER_CONFIGS.
const allGroupOperations = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11

func (b *Broker) describeGroups(c call, rc group.RequestContext, req kmsg.Request) {
	q := req.(*kmsg.DescribeGroupsRequest)
	b.groups.DescribeGroups(rc, q, func(r *kmsg.DescribeGroupsResponse) {
		if q.IncludeAuthorizedOperations {
			for i := range r.Groups {
				if r.Groups[i].ErrorCode == 0 {
					r.Groups[i].AuthorizedOperations = allGroupOperations
				}
			}
		}
		c.reply(r)
	})
}

func (b *Broker) listGroups(c call, rc group.RequestContext, req kmsg.Request) {
	b.groups.ListGroups(rc, req.(*kmsg.ListGroupsRequest), func(r *kmsg.ListGroupsResponse) { c.reply(r) })
}

func (b *Broker) deleteGroups(c call, rc group.RequestContext, req kmsg.Request) {
	b.groups.DeleteGroups(rc, req.(*kmsg.DeleteGroupsRequest), func(r *kmsg.DeleteGroupsResponse) { c.reply(r) })
}

// elected tells a coordinator that this broker leads one of its partitions.
func (b *Broker) elected(topic string, partition, epoch int32) {
	if topic == txn.StateTopic {
		b.txns.OnElected(partition, epoch)
	}
	if topic != group.OffsetsTopic {
		return
	}
	b.electedMu.Lock()
	known, ok := b.electedAt[partition]
	b.electedAt[partition] = epoch
	b.electedMu.Unlock()
	if !ok || known != epoch {
		b.groups.OnElected(partition, epoch)
	}
}

// resigned is the opposite.
func (b *Broker) resigned(topic string, partition int32) {
	if topic == txn.StateTopic {
		b.txns.OnResigned(partition)
	}
	if topic != group.OffsetsTopic {
		return
	}
	b.electedMu.Lock()
	delete(b.electedAt, partition)
	b.electedMu.Unlock()
	b.groups.OnResigned(partition)
}

func (b *Broker) topicDeleted(name string) { b.groups.TopicDeleted(name) }

// groupTopics is what the group coordinator asks of the metadata.
type groupTopics struct{ b *Broker }

func (t groupTopics) PartitionExists(topic string, partition int32) bool {
	return t.b.image().Partition(topic, partition) != nil
}

func (t groupTopics) TopicID(topic string) ([16]byte, bool) {
	mt := t.b.image().Topic(topic)
	if mt == nil {
		return [16]byte{}, false
	}
	return mt.ID, true
}

func (t groupTopics) TopicName(id [16]byte) (string, bool) {
	mt := t.b.image().TopicByID(id)
	if mt == nil {
		return "", false
	}
	return mt.Name, true
}

// offsetsStore keeps the group coordinator's records in __consumer_offsets.
type offsetsStore struct{ b *Broker }

// doneFunc is an acker with one slot.
type doneFunc func(error)

// Acknowledged implements replica.Acker.
func (f doneFunc) Acknowledged(_ int, err error) { f(storeError(err)) }

// storeError gives an error the Kafka code that the coordinator looks for.
func storeError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", kerr.ErrorForCode(codeOf(err)), err)
}

// Append implements group.Store.
func (s offsetsStore) Append(partition int32, bt group.Batch, done func(error)) {
	p := s.b.localPartition(group.OffsetsTopic, partition)
	if p == nil {
		done(storeError(replica.ErrNotLeader))
		return
	}
	w := batch.Builder{LeaderEpoch: bt.LeaderEpoch}
	if bt.ProducerID >= 0 {
		w.Idempotent, w.Transactional = true, true
		w.ProducerID, w.ProducerEpoch, w.BaseSequence = bt.ProducerID, bt.ProducerEpoch, -1
	}
	for _, r := range bt.Records {
		w.Append(bt.TimeMs, r.Key, r.Value)
	}
	raw, err := w.Build()
	if err != nil {
		done(storeError(err))
		return
	}
	o := replica.AppendOptions{Acks: -1, Origin: log.Coordinator, Epoch: bt.LeaderEpoch, CheckEpoch: true, Guard: log.Guard(bt.Guard)}
	if _, err := p.Append(raw, o, doneFunc(done), 0); err != nil {
		done(storeError(err))
	}
}

// loadChunk is how much is read of an internal topic at a time.
const loadChunk = 1 << 20

// Load implements group.Store.
func (s offsetsStore) Load(ctx context.Context, partition int32, fn func(group.StoredRecord) error) error {
	return s.b.loadInternal(ctx, group.OffsetsTopic, partition, fn)
}

// loadInternal reads all records of a partition of an internal topic.
func (b *Broker) loadInternal(ctx context.Context, topic string, partition int32, fn func(group.StoredRecord) error) error {
	p := b.localPartition(topic, partition)
	if p == nil {
		return storeError(replica.ErrNotLeader)
	}
	l := p.Log()
	end := l.EndOffset()
	var buf []byte
	var rd batch.Reader
	for offset := l.StartOffset(); offset < end; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var err error
		buf, err = l.Read(buf[:0], offset, loadChunk, end, true)
		if err != nil {
			return fmt.Errorf("read offset %d: %w", offset, err)
		}
		if len(buf) == 0 {
			return nil // compaction took the rest
		}
		for rest := buf; len(rest) > 0; {
			var b batch.Batch
			if b, rest, err = batch.Next(rest); err != nil {
				return fmt.Errorf("read offset %d: %w", offset, err)
			}
			if b.NextOffset() > offset {
				if err := loadBatch(&rd, b, offset, fn); err != nil {
					return err
				}
			}
			offset = max(offset, b.NextOffset())
		}
	}
	return nil
}

func loadBatch(rd *batch.Reader, b batch.Batch, from int64, fn func(group.StoredRecord) error) error {
	producer := int64(-1)
	if b.IsTransactional() {
		producer = b.ProducerID()
	}
	if b.IsControl() {
		m, ok, err := batch.ParseEndTxn(rd, b)
		if err != nil {
			return fmt.Errorf("read the marker at offset %d: %w", b.BaseOffset(), err)
		}
		if !ok {
			return nil
		}
		return fn(group.StoredRecord{Offset: b.BaseOffset(), ProducerID: b.ProducerID(), Control: true, Commit: m.Type == batch.ControlCommit})
	}
	if err := rd.Reset(b); err != nil {
		return fmt.Errorf("read the batch at offset %d: %w", b.BaseOffset(), err)
	}
	for r, ok := rd.Next(); ok; r, ok = rd.Next() {
		offset := b.BaseOffset() + int64(r.OffsetDelta)
		if offset < from {
			continue
		}
		if err := fn(group.StoredRecord{Offset: offset, Key: r.Key, Value: r.Value, ProducerID: producer}); err != nil {
			return err
		}
	}
	return rd.Err()
}

// malformed is Kafka's text for INVALID_REQUEST where there is nothing more to say.
const malformed = "This most likely occurs because of a request being malformed by the client library or the message was sent to an incompatible broker. See the broker logs for more details."

// topicDefaults are the settings with which a topic is created that nobody described.
func (b *Broker) topicDefaults(name string) metadata.CreateTopic {
	if name == txn.StateTopic {
		return b.stateTopic()
	}
	if name != group.OffsetsTopic {
		return metadata.CreateTopic{Name: name, NumPartitions: -1, ReplicationFactor: -1}
	}
	value := func(s string) *string { return &s }
	return metadata.CreateTopic{
		Name: name, NumPartitions: b.set.offsetsPartitions, ReplicationFactor: b.offsetsReplication(),
		Configs: []metadata.ConfigValue{
			{Key: "cleanup.policy", Value: value("compact")},
			{Key: "compression.type", Value: value("producer")},
			{Key: "segment.bytes", Value: value(fmt.Sprint(b.set.offsetsSegmentBytes))},
		},
	}
}

// offsetsReplication is offsets.topic.replication.factor, or as many brokers as there are while the cluster is smaller.
// (Kafka refuses to create the topic then; on a single node its quickstart sets the factor to 1.)
func (b *Broker) offsetsReplication() int16 { return b.internalReplication(b.set.offsetsReplication) }

// internalReplication is a replication factor for an internal topic, or as many brokers as there are.
func (b *Broker) internalReplication(want int16) int16 {
	live := 0
	for _, br := range b.image().Brokers() {
		if !br.Fenced {
			live++
		}
	}
	return min(want, int16(max(live, 1)))
}
