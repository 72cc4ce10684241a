package txn

import (
	"log/slog"
	"math"
)

// What EndTxn does, apart from refusing: the tables of KIP-98 and KIP-890.
type decision struct {
	code int16 // to answer at once, unless prepare is set
	// prepare is the state to go to, none otherwise.
	prepare State
	// empty: an abort of a transaction without a partition (version 2).
	empty bool
}

func refusal(code int16) decision { return decision{code: code, prepare: none} }

// endTxn ends the transaction: the answer comes when the decision is durable, the markers follow.
func (s *Shard) endTxn(e EndTxn) {
	t := s.txns[e.TransactionalID]
	switch {
	case e.TransactionalID == "":
		s.refuse(e.Reply, codeInvalidRequest)
		return
	case t == nil:
		s.refuse(e.Reply, codeInvalidProducerIDMapping)
		return
	}
	d := t.decide(e)
	if d.code == codeInvalidTxnState {
		s.note(slog.LevelWarn, "a transaction cannot end like this", "transactional_id", t.TransactionalID, "state", t.State.String(), "commit", e.Commit)
	}
	if d.prepare == none {
		r := Result{d.code, NoProducerID, NoProducerEpoch}
		if d.code == codeNone {
			r.ProducerID, r.ProducerEpoch = t.ProducerID, t.ProducerEpoch
		}
		s.answer(e.Reply, r)
		return
	}
	next := NoProducerID
	if e.Version >= 2 && t.exhausted() {
		var ok bool
		if next, ok = s.takeSpare(e.SpareID); !ok {
			s.refuse(e.Reply, codeCoordinatorLoadInProgress)
			return
		}
	}
	s.prepare(t, d.prepare, e.Version, next, d.empty, func(r Result) { s.answer(e.Reply, r) })
}

// decide judges an EndTxn request. It changes nothing.
func (t *transaction) decide(e EndTxn) decision {
	if t.pending != none {
		return refusal(codeConcurrentTransactions)
	}
	if e.Version >= 2 {
		return t.decideV2(e)
	}
	switch {
	case t.ProducerID != e.ProducerID:
		return refusal(codeInvalidProducerIDMapping)
	case t.ProducerEpoch != e.ProducerEpoch:
		return refusal(codeProducerFenced)
	}
	want, done := PrepareAbort, CompleteAbort
	if e.Commit {
		want, done = PrepareCommit, CompleteCommit
	}
	switch t.State {
	case Ongoing:
		return decision{prepare: want}
	case done:
		return refusal(codeNone) // a retry
	case want:
		return refusal(codeConcurrentTransactions)
	}
	return refusal(codeInvalidTxnState)
}

// decideV2 judges a request of a client that gets a new epoch with every end. An epoch that is one behind is a retry of the
// last end; the current one is the next end, which may be an abort of nothing.
func (t *transaction) decideV2(e EndTxn) decision {
	overflow := t.PreviousProducerID == e.ProducerID && e.ProducerEpoch == lastEpoch && t.ProducerEpoch == 0
	retry := overflow || int(t.ProducerEpoch) == int(e.ProducerEpoch)+1
	current := t.ProducerEpoch == e.ProducerEpoch
	valid := current
	switch t.State {
	case PrepareCommit, PrepareAbort:
		valid = retry && !overflow
	case CompleteCommit, CompleteAbort:
		valid = retry || current
	}
	switch {
	case t.ProducerID != e.ProducerID && !overflow:
		return refusal(codeInvalidProducerIDMapping)
	case !valid:
		return refusal(codeProducerFenced)
	}
	abortNothing := decision{prepare: PrepareAbort, empty: true}
	switch t.State {
	case Ongoing:
		if e.Commit {
			return decision{prepare: PrepareCommit}
		}
		return decision{prepare: PrepareAbort}
	case Empty:
		if !e.Commit {
			return abortNothing
		}
	case CompleteCommit:
		if e.Commit && retry {
			return refusal(codeNone)
		}
		if !e.Commit && !retry {
			return abortNothing
		}
	case CompleteAbort:
		if !e.Commit && retry {
			return refusal(codeNone)
		}
		if !e.Commit {
			return abortNothing
		}
	case PrepareCommit:
		if e.Commit {
			return refusal(codeConcurrentTransactions)
		}
	case PrepareAbort:
		if !e.Commit {
			return refusal(codeConcurrentTransactions)
		}
	}
	return refusal(codeInvalidTxnState)
}

// prepare writes the decision. When it is durable done learns the producer's id and epoch from now on, and the markers are sent.
func (s *Shard) prepare(t *transaction, to State, version int16, next int64, empty bool, done func(Result)) {
	c := t.transit(to)
	if version >= 2 {
		if t.ProducerEpoch < math.MaxInt16 {
			c.ProducerEpoch++
		}
		c.lastEpoch = t.ProducerEpoch
	}
	if empty {
		c.StartMs = s.now
	}
	c.NextProducerID, c.ClientVersion, c.LastUpdateMs = next, version, s.now
	s.write(t, c, func() {
		to := s.decided(t)
		s.sendMarkers(t) // first: the producer's next records come behind them
		done(Result{codeNone, to.ProducerID, to.ProducerEpoch})
	}, func(code int16) {
		done(Result{code, NoProducerID, NoProducerEpoch})
	})
}

// completion is what the transaction becomes when its markers are written.
func (t *transaction) completion(now int64) change {
	to := CompleteAbort
	if t.State == PrepareCommit {
		to = CompleteCommit
	}
	c := t.transit(to)
	if t.ClientVersion >= 2 && t.NextProducerID != NoProducerID {
		c.ProducerID, c.ProducerEpoch = t.NextProducerID, 0
	}
	c.NextProducerID, c.Partitions, c.LastUpdateMs = NoProducerID, nil, now
	return c
}

// decided notes the markers that a transaction needs now that its decision is durable, and returns what it becomes then.
func (s *Shard) decided(t *transaction) change {
	t.failedFence = false
	t.ending = &ending{unmarked: make(map[TopicPartition]bool, len(t.Partitions))}
	for _, p := range t.Partitions {
		t.ending.unmarked[p] = false
	}
	return t.completion(s.now)
}

// sendMarkers sends the markers that are not on their way, or finishes the transaction when none is left.
func (s *Shard) sendMarkers(t *transaction) {
	if len(t.ending.unmarked) == 0 {
		s.finish(t)
		return
	}
	m := Markers{
		TransactionalID: t.TransactionalID, ProducerID: t.ProducerID, ProducerEpoch: t.ProducerEpoch, CoordinatorEpoch: s.epoch,
		Commit: t.State == PrepareCommit, TransactionVersion: t.ClientVersion, of: t.ending,
	}
	for _, p := range t.Partitions {
		if sent, ok := t.ending.unmarked[p]; ok && !sent {
			m.Partitions = append(m.Partitions, p)
			t.ending.unmarked[p] = true
		}
	}
	if len(m.Partitions) > 0 {
		s.effects = append(s.effects, Effect{Markers: &m})
	}
}

func (s *Shard) markersWritten(e MarkersWritten) {
	m := &e.Markers
	t := s.txns[m.TransactionalID]
	if t == nil || t.ending == nil || t.ending != m.of {
		return // of a transaction that is over, or of a shard that was here before: producer and epoch do not tell, with version 1 the next transaction has the same
	}
	unmarked, again := t.ending.unmarked, false
	for i, p := range m.Partitions {
		if _, ok := unmarked[p]; !ok {
			continue
		}
		switch code := e.Codes[i]; code {
		case codeNone:
		case codeUnknownTopicOrPartition, codeUnsupportedForFormat:
			s.note(slog.LevelInfo, "a partition of a transaction is gone and needs no marker", "transactional_id", t.TransactionalID, "topic", p.Topic, "partition", p.Partition)
		case codeInvalidProducerEpoch:
			// The partition has seen a later epoch of this producer: what this transaction had there has ended.
			s.note(slog.LevelWarn, "a partition of a transaction has moved on without its marker", "transactional_id", t.TransactionalID, "topic", p.Topic, "partition", p.Partition)
		case codeCoordinatorFenced:
			s.note(slog.LevelWarn, "a newer coordinator has taken over this transaction", "transactional_id", t.TransactionalID, "topic", p.Topic, "partition", p.Partition)
			unmarked[p] = false
			again = true
			continue
		default:
			s.note(slog.LevelInfo, "a transaction marker is written again later", "transactional_id", t.TransactionalID, "topic", p.Topic, "partition", p.Partition, "code", code)
			unmarked[p] = false
			again = true
			continue
		}
		delete(unmarked, p)
		t.Partitions = without(t.Partitions, p)
	}
	switch {
	case again:
		s.retryLater(t)
	case len(unmarked) == 0:
		s.finish(t)
	}
}

func (s *Shard) retryLater(t *transaction) {
	t.retryAt = s.now + s.cfg.RetryMs
	s.retry[t.TransactionalID] = t
}

// finish writes that the transaction is complete, and behind that what waits for it. A transaction whose completion cannot be written
// stays prepared, and tries again: nobody else may end it.
func (s *Shard) finish(t *transaction) {
	t.pending, t.ending = none, nil
	delete(s.retry, t.TransactionalID)
	s.write(t, t.completion(s.now), func() {}, func(int16) {})
	s.unpark(t)
}

// decidedUpon is whether the end of the transaction is decided and not complete.
func (t *transaction) decidedUpon() bool { return t.State == PrepareCommit || t.State == PrepareAbort }

// unfinished has a transaction's completion written again later, when it could not be.
func (s *Shard) unfinished(t *transaction) {
	t.pending, t.ending = t.completion(s.now).State, &ending{}
	s.retryLater(t)
}
