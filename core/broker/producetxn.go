package broker

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/log/batch"
	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/security/acl"
	"github.com/moldau-io/moldau/core/txn"
)

// produceTxn is what a produce request with transactional records knows about their transaction, by slot.
type produceTxn struct {
	guards []log.Guard
	errs   []error
	denied error // refuses the whole request, whatever its partitions are; nil for nothing
}

// transactionalRecords says whether records that nobody has looked at yet are of a transaction.
func transactionalRecords(r []byte) bool {
	return len(r) >= batch.HeaderSize && batch.Batch(r).Magic() == 2 && batch.Batch(r).IsTransactional()
}

// transactional says whether the request holds transactional records. It looks at one bit of each batch.
func (c *produceCall) transactional() bool {
	for i := range c.req.Partitions {
		if transactionalRecords(c.req.Partitions[i].Records) {
			return true
		}
	}
	return false
}

// join makes sure that the partitions are in the producer's transaction, as far as the logs do not know that they are.
func (c *produceCall) join() *produceTxn {
	n := len(c.req.Partitions)
	t := &produceTxn{guards: make([]log.Guard, n), errs: make([]error, n)}
	all := func(err error) *produceTxn {
		for i := range t.errs {
			t.errs[i] = err
		}
		return t
	}
	if c.req.TransactionalID == nil || !c.call().allowed(acl.Write, acl.TransactionalID, string(c.req.TransactionalID)) {
		t.denied = kerr.TransactionalIDAuthorizationFailed
		return t
	}
	support := verifyOnly
	switch {
	case c.req.Version >= 12:
		support = addImplicitly
	case c.req.Version == 11:
		support = verifyAbortable
	}
	producer, epoch := int64(-1), int16(-1)
	var parts []txn.TopicPartition
	var slots []int
	for i := range c.req.Topics {
		q := &c.req.Topics[i]
		topic := c.b.topicFor(q.Name, q.ID)
		for j := q.First; j < q.End; j++ {
			in := &c.req.Partitions[j]
			if c.check(topic, in) != nil || !batch.Batch(in.Records).IsTransactional() {
				continue
			}
			h := batch.Batch(in.Records)
			if producer >= 0 && (h.ProducerID() != producer || h.ProducerEpoch() != epoch) {
				return all(&metadata.Error{Code: kerr.InvalidProducerIDMapping.Code, Message: "Transactional records contained more than one producer ID"})
			}
			producer, epoch = h.ProducerID(), h.ProducerEpoch()
			if support != addImplicitly && !c.b.verifiesTxns.Load() {
				continue
			}
			guard, needed, err := topic.partition(in.Index).Log().StartVerification(producer, epoch, h.BaseSequence(), support == addImplicitly)
			switch {
			case err != nil:
				t.errs[j] = err
			case needed:
				t.guards[j] = guard
				parts, slots = append(parts, txn.TopicPartition{Topic: topic.name, Partition: in.Index}), append(slots, j)
			default:
				t.guards[j] = log.NoGuard
			}
		}
	}
	if len(parts) == 0 {
		return t
	}
	for i, code := range c.call().joinTxn(string(c.req.TransactionalID), producer, epoch, parts, support) {
		t.errs[slots[i]] = joinError(code, support)
	}
	return t
}

// joinError is a coordinator's code as a producer is told. Codes that an older client would not take for retriable become one that is,
// and makes it look for no new leader.
func joinError(code int16, support txnSupport) error {
	if code == 0 {
		return nil
	}
	e := kerr.TypedErrorForCode(code)
	switch code {
	case kerr.InvalidTxnState.Code:
		return &metadata.Error{Code: code, Message: "Partition was not added to the transaction"}
	case kerr.ConcurrentTransactions.Code:
		if support == addImplicitly {
			return e
		}
	case kerr.CoordinatorLoadInProgress.Code, kerr.CoordinatorNotAvailable.Code, kerr.NotCoordinator.Code:
	default:
		return e
	}
	return &metadata.Error{
		Code:    kerr.NotEnoughReplicas.Code,
		Message: fmt.Sprintf("Unable to verify the partition has been added to the transaction. Underlying error: %s", e.Message),
	}
}
