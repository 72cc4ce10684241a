package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/group"
	"github.com/moldau-io/moldau/core/txn"
)

// addOffsetsToTxn adds the partition of __consumer_offsets that keeps a group to a transaction. Clients of transaction version 2
// do without.
func (b *Broker) addOffsetsToTxn(c call, r kmsg.Request) {
	req := r.(*kmsg.AddOffsetsToTxnRequest)
	b.txns.AddPartitions(txn.AddPartitions{
		TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch,
		Partitions: []txn.TopicPartition{{Topic: group.OffsetsTopic, Partition: b.groups.PartitionFor(req.Group)}},
		Reply: func(r txn.Result) {
			resp := req.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
			if resp.ErrorCode = r.Code; req.Version < 2 {
				resp.ErrorCode = oldFencing(r.Code)
			}
			c.reply(resp)
		},
	})
}
