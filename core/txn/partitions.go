package txn

// addPartitions adds partitions to the transaction. A partition may be written to once this is answered.
func (s *Shard) addPartitions(e AddPartitions) {
	t := s.txns[e.TransactionalID]
	switch {
	case e.TransactionalID == "":
		s.refuse(e.Reply, codeInvalidRequest)
	case t == nil:
		s.refuse(e.Reply, codeInvalidProducerIDMapping)
	case t.pending != none:
		// First of all: the end of a transaction may be about to give the producer the id that it names here already.
		s.refuse(e.Reply, codeConcurrentTransactions)
	case t.ProducerID != e.ProducerID:
		s.refuse(e.Reply, codeInvalidProducerIDMapping)
	case t.ProducerEpoch != e.ProducerEpoch:
		s.refuse(e.Reply, codeProducerFenced)
	case t.State == PrepareCommit || t.State == PrepareAbort:
		s.refuse(e.Reply, codeConcurrentTransactions)
	case t.State == Ongoing && t.hasAll(e.Partitions):
		s.refuse(e.Reply, codeNone)
	case s.bytes > s.cfg.MaxShardBytes:
		s.refuse(e.Reply, codeCoordinatorNotAvailable)
	default:
		c := t.transit(Ongoing)
		if t.State != Ongoing {
			c.StartMs = s.now
		}
		c.Partitions = union(t.Partitions, e.Partitions)
		c.LastUpdateMs, c.ClientVersion = s.now, e.Version
		s.write(t, c, func() { s.refuse(e.Reply, codeNone) }, func(code int16) { s.refuse(e.Reply, code) })
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
