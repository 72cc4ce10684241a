package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/replica"
	"github.com/moldau-io/moldau/core/wire"
)

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
				if err := metadata.ValidateTopicName(q.Topic); err != nil {
					p.ErrorCode, p.ErrorMessage = metadataError(err)
				} else if b.image().Topic(q.Topic) == nil {
					text := kerr.UnknownTopicOrPartition.Description
					p.ErrorMessage = &text
				}
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

// aborted lists the aborted transactions among the records answered to a read_committed fetch, which have the offsets from from up to end;
// not nil, since null means read_uncommitted.
func (b *Broker) aborted(p *replica.Partition, from, end, stable int64) ([]wire.AbortedTransaction, error) {
	none := []wire.AbortedTransaction{}
	if end <= from {
		return none, nil
	}
	txns, err := p.Log().AbortedTxns(from, stable)
	if err != nil {
		return nil, fmt.Errorf("list aborted transactions: %w", err)
	}
	if len(txns) == 0 {
		return none, nil
	}
	out := make([]wire.AbortedTransaction, 0, len(txns))
	for _, t := range txns {
		if t.FirstOffset < end {
			out = append(out, wire.AbortedTransaction{ProducerID: t.ProducerID, FirstOffset: t.FirstOffset})
		}
	}
	return out, nil
}
