package broker

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/replica"
)

// The timestamps of ListOffsets that are not times.
const (
	latestTimestamp         = -1
	earliestTimestamp       = -2
	maxTimestamp            = -3
	earliestLocalTimestamp  = -4
	latestTieredTimestamp   = -5
	earliestPendingUploadTs = -6
)

func (b *Broker) listOffsets(c call, req *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	seen := map[partKey]int{}
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			seen[partKey{name: req.Topics[i].Topic, index: req.Topics[i].Partitions[j].Partition}]++
		}
	}
	for i := range req.Topics {
		q := &req.Topics[i]
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = q.Topic
		for j := range q.Partitions {
			qp := &q.Partitions[j]
			p := kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition = qp.Partition
			p.Timestamp, p.Offset, p.LeaderEpoch = -1, -1, -1
			p.OldStyleOffsets = []int64{}
			key := partKey{name: q.Topic, index: qp.Partition}
			if n := seen[key]; n > 1 {
				p.ErrorCode = kerr.InvalidRequest.Code // named twice: one answer
				seen[key] = -1
			} else if n < 0 {
				continue
			} else {
				b.listOffset(req, q.Topic, qp, &p)
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func (b *Broker) listOffset(req *kmsg.ListOffsetsRequest, topic string, q *kmsg.ListOffsetsRequestTopicPartition, out *kmsg.ListOffsetsResponseTopicPartition) {
	p := b.localPartition(topic, q.Partition)
	if p == nil {
		out.ErrorCode = b.missingPartition(topic, q.Partition)
		return
	}
	epoch := q.CurrentLeaderEpoch
	if req.Version < 4 {
		epoch = -1
	}
	if err := p.CheckEpoch(epoch); err != nil {
		out.ErrorCode = codeOf(err)
		return
	}
	if req.Version == 0 {
		b.listOffsetsOld(p, q, out)
		return
	}
	o := p.Offsets()
	limit := o.Limit(req.Version >= 2 && req.IsolationLevel == 1)
	var err error
	switch q.Timestamp {
	case latestTimestamp:
		out.Offset = limit
		out.LeaderEpoch = p.Leadership().Epoch
	case earliestTimestamp, earliestLocalTimestamp:
		if q.Timestamp == earliestLocalTimestamp && req.Version < 8 {
			err = kerr.UnsupportedVersion
			break
		}
		out.Offset = o.LogStart
		out.LeaderEpoch = p.EpochAt(o.LogStart)
	case maxTimestamp:
		if req.Version < 7 {
			err = kerr.UnsupportedVersion
			break
		}
		err = b.findTimestamp(p, limit, out, p.Log().MaxTimestampOffset)
	case latestTieredTimestamp, earliestPendingUploadTs:
		if q.Timestamp == latestTieredTimestamp && req.Version < 9 || q.Timestamp == earliestPendingUploadTs && req.Version < 11 {
			err = kerr.UnsupportedVersion
		}
		// Nothing is tiered: -1 and no error, as Kafka answers without remote storage.
	default:
		if q.Timestamp < 0 {
			err = kerr.UnsupportedVersion
			break
		}
		err = b.findTimestamp(p, limit, out, func() (int64, int64, int32, bool, error) { return p.Log().OffsetForTimestamp(q.Timestamp) })
	}
	if err != nil {
		out.Timestamp, out.Offset, out.LeaderEpoch = -1, -1, -1
		out.ErrorCode = codeOf(err)
		if out.ErrorCode == kerr.UnknownServerError.Code {
			b.log.Error("list offsets failed", "partition", partitionName(topic, q.Partition), "error", err)
		}
	}
}

// findTimestamp fills in what find found, if a consumer may see it.
func (b *Broker) findTimestamp(p *replica.Partition, limit int64, out *kmsg.ListOffsetsResponseTopicPartition, find func() (offset, timestamp int64, epoch int32, found bool, err error)) error {
	offset, ts, epoch, found, err := find()
	if err != nil {
		return fmt.Errorf("look up timestamp: %w", err)
	}
	if found && offset < limit {
		out.Offset, out.Timestamp, out.LeaderEpoch = offset, ts, epoch
	}
	return nil
}

// listOffsetsOld answers version 0, which wants a list of offsets, newest first.
func (b *Broker) listOffsetsOld(p *replica.Partition, q *kmsg.ListOffsetsRequestTopicPartition, out *kmsg.ListOffsetsResponseTopicPartition) {
	o := p.Offsets()
	var offsets []int64
	switch {
	case q.Timestamp == latestTimestamp:
		offsets = []int64{o.HighWatermark, o.LogStart}
		if o.HighWatermark == o.LogStart {
			offsets = offsets[:1]
		}
	case q.Timestamp == earliestTimestamp:
		offsets = []int64{o.LogStart}
	case q.Timestamp < 0:
		out.ErrorCode = kerr.UnsupportedVersion.Code
		return
	default:
		offset, _, _, found, err := p.Log().OffsetForTimestamp(q.Timestamp)
		if err != nil && !errors.Is(err, log.ErrOffsetOutOfRange) {
			out.ErrorCode = codeOf(err)
			return
		}
		if found && offset < o.HighWatermark {
			offsets = []int64{offset}
		}
	}
	out.OldStyleOffsets = append(out.OldStyleOffsets, offsets[:min(len(offsets), int(max(q.MaxNumOffsets, 0)))]...)
}

// missingPartition says why this broker has no such partition: it does not exist, or others have it.
func (b *Broker) missingPartition(topic string, index int32) int16 {
	if b.image().Partition(topic, index) == nil {
		return kerr.UnknownTopicOrPartition.Code
	}
	return kerr.NotLeaderForPartition.Code
}

func (b *Broker) offsetForLeaderEpoch(c call, req *kmsg.OffsetForLeaderEpochRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for i := range req.Topics {
		q := &req.Topics[i]
		t := kmsg.NewOffsetForLeaderEpochResponseTopic()
		t.Topic = q.Topic
		for j := range q.Partitions {
			qp := &q.Partitions[j]
			p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			p.Partition, p.LeaderEpoch, p.EndOffset = qp.Partition, -1, -1
			if part := b.localPartition(q.Topic, qp.Partition); part == nil {
				p.ErrorCode = b.missingPartition(q.Topic, qp.Partition)
			} else if err := part.CheckEpoch(qp.CurrentLeaderEpoch); err != nil {
				p.ErrorCode = codeOf(err)
			} else {
				p.LeaderEpoch, p.EndOffset = part.EpochEndOffset(qp.LeaderEpoch)
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func (b *Broker) deleteRecords(c call, req *kmsg.DeleteRecordsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	for i := range req.Topics {
		q := &req.Topics[i]
		t := kmsg.NewDeleteRecordsResponseTopic()
		t.Topic = q.Topic
		topic := b.topicNamed(q.Topic)
		for j := range q.Partitions {
			qp := &q.Partitions[j]
			p := kmsg.NewDeleteRecordsResponseTopicPartition()
			p.Partition, p.LowWatermark = qp.Partition, -1
			part := b.localPartition(q.Topic, qp.Partition)
			switch {
			case part == nil:
				p.ErrorCode = b.missingPartition(q.Topic, qp.Partition)
			case topic.internal:
				p.ErrorCode = kerr.InvalidTopicException.Code
			case compactedOnly(part.Log().Config()):
				p.ErrorCode = kerr.PolicyViolation.Code // there is nothing that may be deleted
			default:
				low, err := part.DeleteRecords(qp.Offset)
				p.LowWatermark, p.ErrorCode = low, codeOf(err)
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// compactedOnly says whether records of a log go only when newer ones have their keys. Without any policy nothing goes by itself.
func compactedOnly(c log.Config) bool { return c.Compact && !c.Delete }
