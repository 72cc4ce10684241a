package txn

import (
	"maps"
	"slices"
)

// maxParked bounds the requests that wait for the end of one transaction.
const maxParked = 16

// parkedAdding is an AddPartitions that waits.
type parkedAdding struct {
	AddPartitions
	until int64
}

// addPartitions adds partitions to the transaction. A partition may be written to once this is answered.
//
// A request that may wait (WaitMs) does not find out by asking again that the producer's last transaction has ended: it is parked until the
// markers are written, and its record then goes to the disk together with the completion of that transaction, or with the addition
// of other partitions before it.
func (s *Shard) addPartitions(e AddPartitions) {
	t := s.txns[e.TransactionalID]
	switch {
	case e.TransactionalID == "":
		s.refuse(e.Reply, codeInvalidRequest)
		return
	case t == nil:
		s.refuse(e.Reply, codeInvalidProducerIDMapping)
		return
	case t.pending != none && (e.WaitMs <= 0 || !t.extensible(e)):
		// First of all: the end of a transaction may be about to give the producer the id that it names here already.
		s.park(t, e)
		return
	}
	on := change{t.Entry, t.lastEpoch}
	if t.newest != nil {
		on = *t.newest
	}
	switch {
	case on.ProducerID != e.ProducerID:
		s.refuse(e.Reply, codeInvalidProducerIDMapping)
	case on.ProducerEpoch != e.ProducerEpoch:
		s.refuse(e.Reply, codeProducerFenced)
	case on.State == PrepareCommit || on.State == PrepareAbort:
		s.refuse(e.Reply, codeConcurrentTransactions)
	case t.newest == nil && on.State == Ongoing && t.hasAll(e.Partitions):
		s.refuse(e.Reply, codeNone)
	case s.bytes > s.cfg.MaxShardBytes:
		s.refuse(e.Reply, codeCoordinatorNotAvailable)
	default:
		c := on
		c.State, c.PreviousProducerID = Ongoing, on.ProducerID
		t.pending = Ongoing
		if on.State != Ongoing {
			c.StartMs = s.now
		}
		c.Partitions = union(on.Partitions, e.Partitions)
		c.LastUpdateMs, c.ClientVersion = s.now, e.Version
		s.write(t, c, func() { s.refuse(e.Reply, codeNone) }, func(code int16) { s.refuse(e.Reply, code) })
	}
}

// extensible is whether an addition can be written behind the change that is on its way: it is of the same producer, and adds partitions or
// completes a transaction.
func (t *transaction) extensible(e AddPartitions) bool {
	n := t.newest
	return n != nil && (n.State == Ongoing || n.State == CompleteCommit || n.State == CompleteAbort) &&
		n.ProducerID == e.ProducerID && n.ProducerEpoch == e.ProducerEpoch
}

// park has a request wait for the end that is under way, if it may and there is one.
func (s *Shard) park(t *transaction, e AddPartitions) {
	ending := t.pending == PrepareCommit || t.pending == PrepareAbort || t.pending == CompleteCommit || t.pending == CompleteAbort
	if e.WaitMs <= 0 || !ending || len(t.parked) >= maxParked {
		s.refuse(e.Reply, codeConcurrentTransactions)
		return
	}
	until := s.now + e.WaitMs
	i, _ := slices.BinarySearchFunc(t.parked, until, func(p parkedAdding, until int64) int { return int(p.until - until) })
	t.parked = slices.Insert(t.parked, i, parkedAdding{e, until})
	s.waits[t.TransactionalID] = t
}

// unpark goes on with the requests that waited, once the end that they waited for is complete or on its way to be, or will not be.
func (s *Shard) unpark(t *transaction) {
	if len(t.parked) == 0 || t.pending != none && t.newest == nil || t.pending == PrepareCommit || t.pending == PrepareAbort {
		return
	}
	parked := t.parked
	t.parked = nil
	delete(s.waits, t.TransactionalID)
	for _, p := range parked {
		if p.WaitMs = p.until - s.now; t.pending != none && (p.WaitMs <= 0 || !t.extensible(p.AddPartitions)) {
			s.refuse(p.Reply, codeConcurrentTransactions)
			continue
		}
		s.addPartitions(p.AddPartitions)
	}
}

// parkedTooLong answers the requests that have waited as long as they may.
func (s *Shard) parkedTooLong() {
	for _, id := range slices.Sorted(maps.Keys(s.waits)) {
		t := s.waits[id]
		for len(t.parked) > 0 && t.parked[0].until <= s.now {
			s.refuse(t.parked[0].Reply, codeConcurrentTransactions)
			t.parked = t.parked[1:]
		}
		if len(t.parked) == 0 {
			t.parked = nil
			delete(s.waits, id)
		}
	}
}

// Verify says for each partition whether the producer's transaction has it, without changing anything: 0,
// TRANSACTION_ABORTABLE when it has not, or what is wrong with the producer.
func (s *Shard) Verify(transactionalID string, producerID int64, epoch int16, partitions []TopicPartition) []int16 {
	codes := make([]int16, len(partitions))
	all := codeNone
	t := s.txns[transactionalID]
	switch {
	case transactionalID == "":
		all = codeInvalidRequest
	case t == nil || t.ProducerID != producerID:
		all = codeInvalidProducerIDMapping
	case t.ProducerEpoch != epoch:
		all = codeProducerFenced
	case t.State == PrepareCommit || t.State == PrepareAbort:
		all = codeConcurrentTransactions
	}
	for i, p := range partitions {
		codes[i] = all
		if all == codeNone && !t.has(p) {
			codes[i] = codeTransactionAbortable
		}
	}
	return codes
}
