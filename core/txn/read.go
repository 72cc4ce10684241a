package txn

// Filter chooses transactions to list. The zero value of a field chooses all, but for MinDurationMs.
type Filter struct {
	States      map[State]bool
	ProducerIDs map[int64]bool
	// MinDurationMs leaves out transactions that have been open no longer than this; negative for all. As in Kafka a transactional id
	// without a transaction counts from its start of -1, which is since 1970.
	MinDurationMs int64
	// Match judges the transactional id.
	Match func(transactionalID string) bool
}

// Describe is the state of a transactional id, false when there is none.
func (s *Shard) Describe(transactionalID string) (Entry, bool) {
	t := s.txns[transactionalID]
	if t == nil {
		return Entry{}, false
	}
	return t.Entry, true
}

// List calls fn for each transaction that the filter lets pass, in no order.
func (s *Shard) List(f Filter, nowMs int64, fn func(e *Entry)) {
	for _, t := range s.txns {
		switch {
		case len(f.ProducerIDs) > 0 && !f.ProducerIDs[t.ProducerID],
			f.States != nil && !f.States[t.State],
			f.MinDurationMs >= 0 && nowMs-t.StartMs <= f.MinDurationMs,
			f.Match != nil && !f.Match(t.TransactionalID):
			continue
		}
		fn(&t.Entry)
	}
}
