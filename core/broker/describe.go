package broker

import (
	"path/filepath"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/log/batch"
	"github.com/moldau-io/moldau/core/replica"
	"github.com/moldau-io/moldau/core/wire"
)

func (b *Broker) describeLogDirs(c call, req *kmsg.DescribeLogDirsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	d := kmsg.NewDescribeLogDirsResponseDir()
	d.Dir = b.dir.Path()
	if abs, err := filepath.Abs(d.Dir); err == nil {
		d.Dir = abs
	}
	d.TotalBytes, d.UsableBytes = diskSpace(b.dir.Path())
	if b.dir.Err() != nil {
		d.ErrorCode = kerr.KafkaStorageError.Code
		resp.Dirs = append(resp.Dirs, d)
		return resp
	}
	wanted := func(*topicState, int32) bool { return true }
	if req.Topics != nil {
		want := map[string][]int32{}
		for _, t := range req.Topics {
			want[t.Topic] = append(want[t.Topic], t.Partitions...)
		}
		wanted = func(t *topicState, i int32) bool { return slices.Contains(want[t.name], i) }
	}
	for _, t := range b.topics.sorted() {
		out := kmsg.NewDescribeLogDirsResponseDirTopic()
		out.Topic = t.name
		for _, p := range *t.parts.Load() {
			if p == nil || !wanted(t, p.Index()) {
				continue
			}
			r := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
			r.Partition, r.Size = p.Index(), p.Log().Size()
			out.Partitions = append(out.Partitions, r)
		}
		if len(out.Partitions) > 0 {
			d.Topics = append(d.Topics, out)
		}
	}
	resp.Dirs = append(resp.Dirs, d)
	return resp
}

func (b *Broker) describeProducers(c call, req *kmsg.DescribeProducersRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	for i := range req.Topics {
		q := &req.Topics[i]
		t := kmsg.NewDescribeProducersResponseTopic()
		t.Topic = q.Topic
		for _, index := range q.Partitions {
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = index
			part := b.localPartition(q.Topic, index)
			if part == nil {
				p.ErrorCode = b.missingPartition(q.Topic, index)
				t.Partitions = append(t.Partitions, p)
				continue
			}
			states, err := part.Log().ActiveProducers()
			p.ErrorCode, p.ErrorMessage = codeOf(err), messageOf(err)
			for _, s := range states {
				a := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
				a.ProducerID, a.ProducerEpoch, a.LastSequence, a.LastTimestamp = s.ProducerID, int32(s.ProducerEpoch), s.LastSequence, s.LastTimestamp
				a.CoordinatorEpoch, a.CurrentTxnStartOffset = s.CoordinatorEpoch, s.CurrentTxnStartOffset
				p.ActiveProducers = append(p.ActiveProducers, a)
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// aborted lists the aborted transactions among the records answered to a read_committed fetch; not nil, since null means
// read_uncommitted.
func (b *Broker) aborted(p *replica.Partition, from, stable int64, records []byte) []wire.AbortedTransaction {
	none := []wire.AbortedTransaction{}
	if len(records) == 0 {
		return none
	}
	txns, err := p.Log().AbortedTxns(from, stable)
	if err != nil {
		b.log.Error("cannot list aborted transactions", "partition", partitionName(p.Topic(), p.Index()), "error", err)
	}
	if len(txns) == 0 {
		return none
	}
	end := endOffset(records)
	out := make([]wire.AbortedTransaction, 0, len(txns))
	for _, t := range txns {
		if t.FirstOffset < end {
			out = append(out, wire.AbortedTransaction{ProducerID: t.ProducerID, FirstOffset: t.FirstOffset})
		}
	}
	return out
}

// endOffset is the offset after the last batch in records.
func endOffset(records []byte) int64 {
	end := int64(0)
	for rest := records; len(rest) > 0; {
		bt, more, err := batch.Next(rest)
		if err != nil {
			break
		}
		end, rest = bt.NextOffset(), more
	}
	return end
}
