package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeTransactions describes transactional ids that this broker coordinates (KIP-664).
func (b *Broker) describeTransactions(_ call, req *kmsg.DescribeTransactionsRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
	for _, id := range req.TransactionalIDs {
		out := kmsg.NewDescribeTransactionsResponseTransactionState()
		out.TransactionalID = id
		e, code := b.txns.Describe(id)
		if out.ErrorCode = code; code == 0 {
			out.State, out.TimeoutMillis, out.StartTimestamp = e.State.String(), e.TimeoutMs, e.StartMs
			out.ProducerID, out.ProducerEpoch = e.ProducerID, e.ProducerEpoch
			for _, p := range e.Partitions {
				if n := len(out.Topics); n == 0 || out.Topics[n-1].Topic != p.Topic {
					t := kmsg.NewDescribeTransactionsResponseTransactionStateTopic()
					t.Topic = p.Topic
					out.Topics = append(out.Topics, t)
				}
				t := &out.Topics[len(out.Topics)-1]
				t.Partitions = append(t.Partitions, p.Partition)
			}
		}
		resp.TransactionStates = append(resp.TransactionStates, out)
	}
	return resp
}
