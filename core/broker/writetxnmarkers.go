package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/txn"
)

// writeTxnMarkers writes the markers that a transaction coordinator, or an operator with kafka-transactions.sh, asks for.
func (b *Broker) writeTxnMarkers(c call, r kmsg.Request) {
	req := r.(*kmsg.WriteTxnMarkersRequest)
	resp := req.ResponseKind().(*kmsg.WriteTxnMarkersResponse)
	resp.Markers = make([]kmsg.WriteTxnMarkersResponseMarker, len(req.Markers))
	answered := afterAll(len(req.Markers), func() { c.reply(resp) })
	for i := range req.Markers {
		q, out := &req.Markers[i], &resp.Markers[i]
		out.ProducerID = q.ProducerID
		m := txn.Markers{ProducerID: q.ProducerID, ProducerEpoch: q.ProducerEpoch, CoordinatorEpoch: q.CoordinatorEpoch, Commit: q.Committed}
		if req.Version >= 2 {
			m.TransactionVersion = int16(q.TransactionVersion)
		}
		for j := range q.Topics {
			m.Partitions = appendPartitions(m.Partitions, q.Topics[j].Topic, q.Topics[j].Partitions)
		}
		txnMarkers{b}.WriteMarkers(m, func(codes []int16) {
			for j := range q.Topics {
				t := kmsg.NewWriteTxnMarkersResponseMarkerTopic()
				t.Topic = q.Topics[j].Topic
				for _, index := range q.Topics[j].Partitions {
					p := kmsg.NewWriteTxnMarkersResponseMarkerTopicPartition()
					p.Partition, p.ErrorCode = index, codes[0]
					codes = codes[1:]
					t.Partitions = append(t.Partitions, p)
				}
				out.Topics = append(out.Topics, t)
			}
			answered()
		})
	}
}
