package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/security/acl"
)

func guardInitProducerID(c *call, req *kmsg.InitProducerIDRequest) kmsg.Response {
	var e *kerr.Error
	switch {
	case req.TransactionalID != nil:
		if !c.allowed(acl.Write, acl.TransactionalID, *req.TransactionalID) {
			e = kerr.TransactionalIDAuthorizationFailed
		}
	case !c.may(acl.IdempotentWrite, acl.Cluster, acl.ClusterName) && !c.allowedAny(acl.Write, acl.Topic):
		e = kerr.ClusterAuthorizationFailed
	}
	if e == nil {
		return nil
	}
	resp := refused(req, e).(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	return resp
}

// guardAddPartitionsToTxn judges the requests of clients; from version 4 on they are brokers'.
func guardAddPartitionsToTxn(c *call, req *kmsg.AddPartitionsToTxnRequest) kmsg.Response {
	if req.Version >= 4 {
		return forCluster(acl.ClusterAction)(c, req)
	}
	code, may := kerr.TransactionalIDAuthorizationFailed.Code, c.allowed(acl.Write, acl.TransactionalID, req.TransactionalID)
	denied := map[string]bool{}
	if may {
		for i := range req.Topics {
			if t := req.Topics[i].Topic; !c.allowed(acl.Write, acl.Topic, t) {
				denied[t] = true
			}
		}
	}
	if may && len(denied) == 0 {
		return nil
	}
	resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	for i := range req.Topics {
		t := kmsg.NewAddPartitionsToTxnResponseTopic()
		t.Topic = req.Topics[i].Topic
		for _, index := range req.Topics[i].Partitions {
			p := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
			p.Partition, p.ErrorCode = index, code
			switch {
			case !may:
			case denied[t.Topic]:
				p.ErrorCode = kerr.TopicAuthorizationFailed.Code
			case c.b.image().Partition(t.Topic, index) == nil:
				p.ErrorCode = kerr.UnknownTopicOrPartition.Code
			default:
				p.ErrorCode = kerr.OperationNotAttempted.Code
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func guardAddOffsetsToTxn(c *call, req *kmsg.AddOffsetsToTxnRequest) kmsg.Response {
	switch {
	case !c.allowed(acl.Write, acl.TransactionalID, req.TransactionalID):
		return refused(req, kerr.TransactionalIDAuthorizationFailed)
	case !c.allowed(acl.Read, acl.Group, req.Group):
		return refused(req, kerr.GroupAuthorizationFailed)
	}
	return nil
}

func guardEndTxn(c *call, req *kmsg.EndTxnRequest) kmsg.Response {
	if c.allowed(acl.Write, acl.TransactionalID, req.TransactionalID) {
		return nil
	}
	resp := refused(req, kerr.TransactionalIDAuthorizationFailed).(*kmsg.EndTxnResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	return resp
}

func guardTxnOffsetCommit(c *call, req *kmsg.TxnOffsetCommitRequest) kmsg.Response {
	switch {
	case !c.allowed(acl.Write, acl.TransactionalID, req.TransactionalID):
		return txnOffsetCommitError(req, kerr.TransactionalIDAuthorizationFailed.Code)
	case !c.allowed(acl.Read, acl.Group, req.Group):
		return txnOffsetCommitError(req, kerr.GroupAuthorizationFailed.Code)
	}
	kept, rest := split(req.Topics, func(q *kmsg.TxnOffsetCommitRequestTopic) bool {
		name := q.Topic
		if req.Version >= 6 {
			if name = c.topicByID(q.TopicID); name == "" {
				return true // answered with UNKNOWN_TOPIC_ID
			}
		}
		return c.allowed(acl.Read, acl.Topic, name)
	})
	if len(rest) == 0 {
		return nil
	}
	all := req.Topics
	req.Topics = rest
	denied := txnOffsetCommitError(req, kerr.TopicAuthorizationFailed.Code)
	if len(kept) == 0 {
		req.Topics = all
		return denied
	}
	req.Topics = kept
	amended(c, func(resp *kmsg.TxnOffsetCommitResponse) { resp.Topics = append(resp.Topics, denied.Topics...) })
	return nil
}

// guardWriteTxnMarkers wants ALTER of the cluster, for the tool that ends hanging transactions, or CLUSTER_ACTION, which brokers have.
func guardWriteTxnMarkers(c *call, req *kmsg.WriteTxnMarkersRequest) kmsg.Response {
	if c.may(acl.Alter, acl.Cluster, acl.ClusterName) || c.allowedCluster(acl.ClusterAction) {
		return nil
	}
	resp := req.ResponseKind().(*kmsg.WriteTxnMarkersResponse)
	for _, m := range req.Markers {
		o := kmsg.NewWriteTxnMarkersResponseMarker()
		o.ProducerID = m.ProducerID
		for _, q := range m.Topics {
			t := kmsg.NewWriteTxnMarkersResponseMarkerTopic()
			t.Topic = q.Topic
			for _, index := range q.Partitions {
				p := kmsg.NewWriteTxnMarkersResponseMarkerTopicPartition()
				p.Partition, p.ErrorCode = index, kerr.ClusterAuthorizationFailed.Code
				t.Partitions = append(t.Partitions, p)
			}
			o.Topics = append(o.Topics, t)
		}
		resp.Markers = append(resp.Markers, o)
	}
	return resp
}

func guardDescribeTransactions(c *call, req *kmsg.DescribeTransactionsRequest) kmsg.Response {
	kept, rest := split(req.TransactionalIDs, func(id *string) bool { return c.allowed(acl.Describe, acl.TransactionalID, *id) })
	req.TransactionalIDs = kept
	amended(c, func(resp *kmsg.DescribeTransactionsResponse) {
		for i := range resp.TransactionStates {
			s := &resp.TransactionStates[i]
			s.Topics, _ = split(s.Topics, func(t *kmsg.DescribeTransactionsResponseTransactionStateTopic) bool {
				return c.may(acl.Describe, acl.Topic, t.Topic)
			})
		}
		for _, id := range rest {
			s := kmsg.NewDescribeTransactionsResponseTransactionState()
			s.TransactionalID, s.ErrorCode = id, kerr.TransactionalIDAuthorizationFailed.Code
			resp.TransactionStates = append(resp.TransactionStates, s)
		}
	})
	return nil
}

func guardListTransactions(c *call, _ *kmsg.ListTransactionsRequest) kmsg.Response {
	amended(c, func(resp *kmsg.ListTransactionsResponse) {
		resp.TransactionStates, _ = split(resp.TransactionStates, func(s *kmsg.ListTransactionsResponseTransactionState) bool {
			return c.may(acl.Describe, acl.TransactionalID, s.TransactionalID)
		})
	})
	return nil
}
