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
	id      Guard
	epoch   int16
	givenMs int64
}

// maxGuards bounds how many permissions may wait to be used; beyond it the oldest half goes.
const maxGuards = 100_000

// StartVerification says whether a transactional write of the producer needs to be verified before it is appended: it does unless
// the producer has a transaction open in this log. Then the guard goes with the append.
func (l *Log) StartVerification(producerID int64, epoch int16) (g Guard, needed bool, err error) {
	if err := l.check(); err != nil {
		return NoGuard, false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.needProducers(); err != nil {
		return NoGuard, false, err
	}
	p := l.producers
	if e := p.byID[producerID]; e != nil && e.epoch == epoch && e.txnFirst != NoOffset {
		return NoGuard, false, nil
	}
	if have, ok := p.guards[producerID]; ok && have.epoch == epoch {
		return have.id, true, nil // of a write that is under way: one of them begins the transaction
	}
	if len(p.guards) >= maxGuards {
		p.dropGuards(l.d.nowMs())
	}
	if p.guards == nil {
		p.guards = map[int64]guard{}
	}
	p.lastGuard++
	p.guards[producerID] = guard{p.lastGuard, epoch, l.d.nowMs()}
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
