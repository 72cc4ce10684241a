package log

import (
	"fmt"

	"github.com/moldau-io/moldau/core/log/batch"
)

// Guard is the permission to begin a transaction in a log (KIP-890). A writer takes one with StartVerification before it asks the
// transaction coordinator whether the partition is in the producer's transaction, and appends with it. A transaction marker takes
// back what was given before it: a write that was verified for a transaction that has ended since is refused, instead of
// hanging in the log.
type Guard int64

const (
	// Unverified asks for no permission: the caller knows, or verification is switched off.
	Unverified Guard = 0
	// NoGuard is no permission: the append may only go on with a transaction that is open.
	NoGuard Guard = -1
)

// guard is a permission that was given.
type guard struct {
	id       Guard
	epoch    int16
	firstSeq int32 // the lowest sequence that asked for it
	fresh    bool  // the writer begins each transaction with a new epoch
	givenMs  int64
}

// maxGuards bounds how many permissions may wait to be used; beyond it the oldest half goes.
const maxGuards = 100_000

// StartVerification says whether a transactional write of the producer needs to be verified before it is appended: it does unless
// the producer has a transaction open in this log. Then the guard goes with the append, which is not to have a higher sequence than
// the lowest that asked: that one comes before it. freshEpoch is for writers of transaction version 2, who begin with sequence 0
// where the log knows nothing of them.
func (l *Log) StartVerification(producerID int64, epoch int16, firstSeq int32, freshEpoch bool) (g Guard, needed bool, err error) {
	if err := l.check(); err != nil {
		return NoGuard, false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.needProducers(); err != nil {
		return NoGuard, false, err
	}
	p := l.producers
	if e := p.byID[producerID]; e != nil {
		if epoch < e.epoch {
			return NoGuard, false, fmt.Errorf("%w: epoch %d of producer %d is smaller than the last seen epoch %d", ErrInvalidProducerEpoch, epoch, producerID, e.epoch)
		}
		if epoch == e.epoch && e.txnFirst != NoOffset {
			return NoGuard, false, nil
		}
	}
	if have, ok := p.guards[producerID]; ok && have.epoch == epoch {
		if firstSeq < have.firstSeq {
			have.firstSeq = firstSeq
			p.guards[producerID] = have
		}
		return have.id, true, nil // of a write that is under way: one of them begins the transaction
	}
	if len(p.guards) >= maxGuards {
		p.dropGuards(l.d.nowMs())
	}
	if p.guards == nil {
		p.guards = map[int64]guard{}
	}
	p.lastGuard++
	p.guards[producerID] = guard{p.lastGuard, epoch, firstSeq, freshEpoch, l.d.nowMs()}
	return p.lastGuard, true, nil
}

// takeGuard takes back a permission when a marker is written. With transaction version 2 the marker has the epoch of the producer's next
// transaction, whose first write may be waiting for it.
func (p *producers) takeGuard(producerID int64, markerEpoch int16) {
	if g, ok := p.guards[producerID]; ok && (p.markerVersion < 2 || g.epoch < markerEpoch) {
		delete(p.guards, producerID)
	}
}

// dropGuards forgets permissions that are older than a minute, or, when that is not enough, all.
func (p *producers) dropGuards(nowMs int64) {
	for id, g := range p.guards {
		if nowMs-g.givenMs > 60_000 {
			delete(p.guards, id)
		}
	}
	if len(p.guards) >= maxGuards {
		clear(p.guards)
	}
}

// checkFirst refuses a client's batch when another of its producer, which has asked for permission, comes before it.
func (p *producers) checkFirst(b batch.Batch) error {
	g, ok := p.guards[b.ProducerID()]
	if !ok || g.epoch != b.ProducerEpoch() {
		return nil
	}
	if seq := b.BaseSequence(); seq > g.firstSeq || seq != 0 && g.fresh && p.byID[b.ProducerID()] == nil {
		return fmt.Errorf("%w: producer %d begins a transaction with sequence %d, others come first", ErrOutOfOrderSequence, b.ProducerID(), seq)
	}
	return nil
}

// checkGuard refuses a transactional batch that would begin a transaction without permission.
func (p *producers) checkGuard(b batch.Batch, o AppendOptions) error {
	if o.Origin == Replica || o.Guard == Unverified || !b.IsTransactional() || b.IsControl() {
		return nil
	}
	id, epoch := b.ProducerID(), b.ProducerEpoch()
	if e := p.byID[id]; e != nil && e.epoch == epoch && e.txnFirst != NoOffset {
		return nil
	}
	if g, ok := p.guards[id]; ok && g.id == o.Guard && g.epoch == epoch {
		return nil
	}
	return fmt.Errorf("%w: record was not part of an ongoing transaction of producer %d", ErrInvalidTxnState, id)
}
