package broker

import (
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/txn"
)

// addPartitionsToTxn adds partitions to transactions. Up to version 3 it comes from producers, for one transaction; from version 4
// on from brokers, for several, and may only ask whether the partitions are there (KIP-890).
func (b *Broker) addPartitionsToTxn(c call, r kmsg.Request) {
	req := r.(*kmsg.AddPartitionsToTxnRequest)
	resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	if req.Version < 4 {
		var parts []txn.TopicPartition
		for i := range req.Topics {
			parts = appendPartitions(parts, req.Topics[i].Topic, req.Topics[i].Partitions)
		}
		b.addPartitions(txn.AddPartitions{TransactionalID: req.TransactionalID, ProducerID: req.ProducerID, ProducerEpoch: req.ProducerEpoch, Partitions: parts}, false, func(codes []int16) {
			for i := range req.Topics {
				t := kmsg.NewAddPartitionsToTxnResponseTopic()
				t.Topic = req.Topics[i].Topic
				for _, index := range req.Topics[i].Partitions {
					p := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
					p.Partition, p.ErrorCode = index, codes[0]
					if codes = codes[1:]; req.Version < 2 {
						p.ErrorCode = oldFencing(p.ErrorCode)
					}
					t.Partitions = append(t.Partitions, p)
				}
				resp.Topics = append(resp.Topics, t)
			}
			c.reply(resp)
		})
		return
	}
	resp.Transactions = make([]kmsg.AddPartitionsToTxnResponseTransaction, len(req.Transactions))
	answered := afterAll(len(req.Transactions), func() { c.reply(resp) })
	for i := range req.Transactions {
		q, out := &req.Transactions[i], &resp.Transactions[i]
		out.TransactionalID = q.TransactionalID
		var parts []txn.TopicPartition
		for j := range q.Topics {
			parts = appendPartitions(parts, q.Topics[j].Topic, q.Topics[j].Partitions)
		}
		ev := txn.AddPartitions{TransactionalID: q.TransactionalID, ProducerID: q.ProducerID, ProducerEpoch: q.ProducerEpoch, Partitions: parts, Version: 2}
		b.addPartitions(ev, q.VerifyOnly, func(codes []int16) {
			for j := range q.Topics {
				t := kmsg.NewAddPartitionsToTxnResponseTransactionTopic()
				t.Topic = q.Topics[j].Topic
				for _, index := range q.Topics[j].Partitions {
					p := kmsg.NewAddPartitionsToTxnResponseTransactionTopicPartition()
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

// afterAll returns a function, for any goroutine, whose nth call calls f; for n 0 it calls f at once.
func afterAll(n int, f func()) (done func()) {
	if n == 0 {
		f()
	}
	var left atomic.Int64
	left.Store(int64(n))
	return func() {
		if left.Add(-1) == 0 {
			f()
		}
	}
}

func appendPartitions(dst []txn.TopicPartition, topic string, indexes []int32) []txn.TopicPartition {
	for _, i := range indexes {
		dst = append(dst, txn.TopicPartition{Topic: topic, Partition: i})
	}
	return dst
}

// addPartitions adds or verifies, and gives each partition's code to reply. When one partition does not exist none is added.
func (b *Broker) addPartitions(ev txn.AddPartitions, verify bool, reply func(codes []int16)) {
	im := b.image()
	codes := make([]int16, len(ev.Partitions))
	missing := false
	for i, p := range ev.Partitions {
		if im.Partition(p.Topic, p.Partition) == nil {
			codes[i], missing = kerr.UnknownTopicOrPartition.Code, true
		}
	}
	switch {
	case missing:
		for i := range codes {
			if codes[i] == 0 {
				codes[i] = kerr.OperationNotAttempted.Code
			}
		}
		reply(codes)
	case verify:
		reply(b.txns.Verify(ev.TransactionalID, ev.ProducerID, ev.ProducerEpoch, ev.Partitions))
	default:
		ev.Reply = func(r txn.Result) {
			for i := range codes {
				codes[i] = r.Code
			}
			reply(codes)
		}
		b.txns.AddPartitions(ev)
	}
}
