package txn

import "math"

// initProducerID begins an incarnation of a producer: its epoch is one that nobody had before.
func (s *Shard) initProducerID(e InitProducerID) {
	switch {
	case e.TransactionalID == "":
		s.refuse(e.Reply, codeInvalidRequest)
		return
	case e.TimeoutMs <= 0 || e.TimeoutMs > s.cfg.MaxTimeoutMs:
		s.refuse(e.Reply, codeInvalidTransactionTimeout)
		return
	}
	t := s.txns[e.TransactionalID]
	if t == nil {
		if s.bytes > s.cfg.MaxShardBytes {
			s.refuse(e.Reply, codeCoordinatorNotAvailable)
			return
		}
		id, ok := s.takeSpare(e.SpareID)
		if !ok {
			s.refuse(e.Reply, codeCoordinatorLoadInProgress)
			return
		}
		t = s.create(e.TransactionalID, id, e.TimeoutMs)
	}
	switch {
	case t.pending != none:
		s.refuse(e.Reply, codeConcurrentTransactions)
		return
	case e.ExpectedID >= 0 && !t.expects(e.ExpectedID, e.ExpectedEpoch):
		s.refuse(e.Reply, codeProducerFenced)
		return
	}
	switch t.State {
	case Ongoing:
		// What is open is aborted first, under an epoch that nobody gets. The client asks again until that is done.
		s.fence(t, func(r Result) {
			if r.Code == codeNone {
				r = Result{codeConcurrentTransactions, NoProducerID, NoProducerEpoch}
			}
			s.answer(e.Reply, r)
		})
	case PrepareCommit, PrepareAbort:
		s.refuse(e.Reply, codeConcurrentTransactions)
	default:
		s.bump(t, e)
	}
}

// expects is whether a producer that names its id and epoch may go on. The epoch itself is judged when it is bumped. The last case
// is the retry of a request that was answered with a new id, and the answer was lost.
func (t *transaction) expects(id int64, epoch int16) bool {
	return t.ProducerEpoch == NoProducerEpoch || id == t.ProducerID || id == t.PreviousProducerID && epoch >= lastEpoch
}

// bump gives the producer the next epoch, or epoch 0 of a new id when they are used up.
func (s *Shard) bump(t *transaction, e InitProducerID) {
	known := e.ExpectedID >= 0
	epoch, last, id := t.ProducerEpoch+1, NoProducerEpoch, t.ProducerID
	switch {
	case t.exhausted() && (!known || e.ExpectedEpoch == t.ProducerEpoch):
		fresh, ok := s.takeSpare(e.SpareID)
		if !ok {
			s.refuse(e.Reply, codeCoordinatorLoadInProgress)
			return
		}
		id, epoch = fresh, 0
		if known {
			last = t.ProducerEpoch
		}
	case t.exhausted():
		// A retry with an epoch that is neither the current nor the last one; Kafka fails in it.
		s.refuse(e.Reply, codeProducerFenced)
		return
	case !known:
	case t.ProducerEpoch == NoProducerEpoch || e.ExpectedEpoch == t.ProducerEpoch:
		last = t.ProducerEpoch
	case e.ExpectedEpoch == t.lastEpoch:
		epoch, last = t.ProducerEpoch, t.lastEpoch // a retry: the same answer
	default:
		s.refuse(e.Reply, codeProducerFenced)
		return
	}
	c := t.transit(Empty)
	c.ProducerID, c.ProducerEpoch, c.lastEpoch = id, epoch, last
	c.TimeoutMs, c.Partitions, c.StartMs, c.LastUpdateMs = e.TimeoutMs, nil, -1, s.now
	s.write(t, c, func() {
		s.answer(e.Reply, Result{codeNone, c.ProducerID, c.ProducerEpoch})
	}, func(code int16) {
		s.refuse(e.Reply, code)
	})
}

// fence aborts what is open and shuts out the producer that opened it. done learns when that is decided, or that it is not.
//
// With transaction version 2 the end of every transaction bumps the epoch, which fences as well. Before that the epoch is bumped for
// the fence, and the bumped one counts from now on, whatever happens to the record: the producer must not come back because a disk was
// slow.
func (s *Shard) fence(t *transaction, done func(Result)) {
	if s.version >= 2 {
		s.prepare(t, PrepareAbort, 2, NoProducerID, false, done)
		return
	}
	if !t.failedFence && t.ProducerEpoch < math.MaxInt16 {
		t.ProducerEpoch++
	}
	t.lastEpoch = NoProducerEpoch
	s.prepare(t, PrepareAbort, 0, NoProducerID, false, func(r Result) {
		if r.Code != codeNone {
			t.failedFence = true
		}
		done(r)
	})
}
