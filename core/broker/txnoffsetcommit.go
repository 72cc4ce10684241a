package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/group"
	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/log/batch"
	"github.com/moldau-io/moldau/core/txn"
)

// txnOffsetCommit commits a group's offsets within a transaction. The group's partition of __consumer_offsets must be in the
// transaction: version 5 adds it (KIP-890), before that it is verified. Version 6 names
// topics by id (KIP-1319).
func (b *Broker) txnOffsetCommit(c call, rc group.RequestContext, r kmsg.Request) {
	req := r.(*kmsg.TxnOffsetCommitRequest)
	support := verifyOnly
	switch {
	case req.Version >= 5:
		support = addImplicitly
	case req.Version == 4:
		support = verifyAbortable
	}
	if !b.hasAny(req) {
		c.reply(b.txnOffsetCommitRefused(req, kerr.UnknownTopicOrPartition.Code)) // and nothing joins the transaction
		return
	}
	index := b.groups.PartitionFor(req.Group)
	if p := b.localPartition(group.OffsetsTopic, index); p != nil && req.Group != "" && (b.verifiesTxns.Load() || support == addImplicitly) {
		guard, needed, err := p.Log().StartVerification(req.ProducerID, req.ProducerEpoch, batch.NoSequence, support == addImplicitly)
		code := codeOf(err)
		if err == nil && needed {
			code = c.joinTxn(req.TransactionalID, req.ProducerID, req.ProducerEpoch, []txn.TopicPartition{{Topic: group.OffsetsTopic, Partition: index}}, support)[0]
		}
		if code != 0 {
			c.reply(b.txnOffsetCommitRefused(req, code))
			return
		}
		if rc.Guard = int64(guard); !needed {
			rc.Guard = int64(log.NoGuard)
		}
	}
	b.groups.TxnOffsetCommit(rc, req, func(resp *kmsg.TxnOffsetCommitResponse) {
		if req.Version < 2 {
			// KAFKA-7296: clients of before 2.0 crash on a coordinator that loads.
			for i := range resp.Topics {
				for j := range resp.Topics[i].Partitions {
					if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == kerr.CoordinatorLoadInProgress.Code {
						p.ErrorCode = kerr.CoordinatorNotAvailable.Code
					}
				}
			}
		}
		c.reply(resp)
	})
}

// hasAny says whether there is any of the partitions whose offsets are to be committed.
func (b *Broker) hasAny(req *kmsg.TxnOffsetCommitRequest) bool {
	im := b.image()
	for i := range req.Topics {
		t := &req.Topics[i]
		name := t.Topic
		if req.Version >= 6 {
			if mt := im.TopicByID(t.TopicID); mt != nil {
				name = mt.Name
			}
		}
		for j := range t.Partitions {
			if im.Partition(name, t.Partitions[j].Partition) != nil {
				return true
			}
		}
	}
	return false
}

// txnOffsetCommitError is an error for all partitions.
func txnOffsetCommitError(req *kmsg.TxnOffsetCommitRequest, code int16) *kmsg.TxnOffsetCommitResponse {
	resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	for i := range req.Topics {
		t := kmsg.NewTxnOffsetCommitResponseTopic()
		t.Topic, t.TopicID = req.Topics[i].Topic, req.Topics[i].TopicID
		for j := range req.Topics[i].Partitions {
			p := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			p.Partition, p.ErrorCode = req.Topics[i].Partitions[j].Partition, code
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// txnOffsetCommitRefused is an error for all partitions that exist; the others are unknown.
func (b *Broker) txnOffsetCommitRefused(req *kmsg.TxnOffsetCommitRequest, code int16) *kmsg.TxnOffsetCommitResponse {
	im := b.image()
	resp := txnOffsetCommitError(req, code)
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if req.Version >= 6 {
			mt := im.TopicByID(t.TopicID)
			if mt == nil {
				for j := range t.Partitions {
					t.Partitions[j].ErrorCode = kerr.UnknownTopicID.Code
				}
				continue
			}
			t.Topic = mt.Name
		}
		for j := range t.Partitions {
			if im.Partition(t.Topic, t.Partitions[j].Partition) == nil {
				t.Partitions[j].ErrorCode = kerr.UnknownTopicOrPartition.Code
			}
		}
	}
	return resp
}
