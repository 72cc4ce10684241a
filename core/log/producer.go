package log

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/moldau-io/moldau/core/log/batch"
)

// Producer state is what makes a producer's retries harmless and its transactions visible. It is a pure function of
// the batches of the log, in order, plus expiry: check says whether a batch may be appended, apply follows one that
// was. The rules are Kafka's:
//
//   - A batch that equals one of the producer's last five (same epoch, first and last sequence) is a duplicate: it is
//     answered with the offset it got the first time.
//   - An epoch below the last one is fenced.
//   - A new epoch must begin with sequence 0.
//   - Within an epoch the first sequence must follow the last one. A producer that has no state (it is new, or was idle
//     for longer than producer.id.expiration.ms) may begin anywhere: the state was dropped, not the records.
//   - Sequences wrap from the largest int32 to 0.
//
// Replicated batches were checked by their leader and are applied as they are.

// numBatches is how many batches of a producer are remembered: as many as a client may have in flight.
const numBatches = 5

// batchMeta is what is remembered of a batch.
type batchMeta struct {
	firstSeq, lastSeq int32
	lastOffset        int64
	delta             int32 // lastOffset - first offset
	timestamp         int64
}

// producerEntry is the state of one producer id.
type producerEntry struct {
	id               int64
	epoch            int16
	coordinatorEpoch int32
	lastTimestamp    int64 // of its last write; what expiry counts from
	txnFirst         int64 // first offset of its open transaction, or NoOffset
	n                int   // of batches
	batches          [numBatches]batchMeta
}

func (e *producerEntry) last() *batchMeta {
	if e.n == 0 {
		return nil
	}
	return &e.batches[e.n-1]
}

func (e *producerEntry) push(m batchMeta) {
	if e.n == numBatches {
		copy(e.batches[:], e.batches[1:])
		e.n--
	}
	e.batches[e.n] = m
	e.n++
}

func (e *producerEntry) find(firstSeq, lastSeq int32) *batchMeta {
	for i := range e.batches[:e.n] {
		if m := &e.batches[i]; m.firstSeq == firstSeq && m.lastSeq == lastSeq {
			return m
		}
	}
	return nil
}

// ProducerState is the public view of one producer, as DescribeProducers answers it.
type ProducerState struct {
	ProducerID            int64
	ProducerEpoch         int16
	LastSequence          int32 // -1 when none
	LastTimestamp         int64 // milliseconds
	CoordinatorEpoch      int32 // -1 when none
	CurrentTxnStartOffset int64 // -1 when no transaction is open
}

// closedTxn is a transaction that has ended but perhaps not on all replicas.
type closedTxn struct{ first, last int64 }

// producers is the producer state of a log.
type producers struct {
	byID    map[int64]*producerEntry
	open    map[int64]int64 // producer id -> first offset of its open transaction
	closed  []closedTxn     // ended; kept until the high watermark passes their marker
	mapEnd  int64           // the offset the state is as of
	snapAt  int64           // the offset of the newest snapshot file, or NoOffset
	reader  batch.Reader
	expires int64 // producer.id.expiration.ms

	guards        map[int64]guard // by producer id: permissions to begin a transaction
	lastGuard     Guard
	markerVersion int16 // transaction version of the marker that is being appended
}

func newProducers(expiresMs int64) *producers {
	return &producers{byID: map[int64]*producerEntry{}, open: map[int64]int64{}, snapAt: NoOffset, expires: expiresMs}
}

// inSequence says whether next may follow last.
func inSequence(last, next int32) bool {
	return int64(next) == int64(last)+1 || (next == 0 && last == math.MaxInt32)
}

// check decides about a client's batch. dup is the earlier append that it repeats.
func (p *producers) check(b batch.Batch, o AppendOptions) (dup *batchMeta, err error) {
	origin := o.Origin
	if origin == Replica {
		return nil, nil
	}
	if b.IsControl() {
		p.markerVersion = o.TransactionVersion
	}
	e := p.byID[b.ProducerID()]
	if e == nil {
		if origin == Client {
			if err := p.checkFirst(b); err != nil {
				return nil, err
			}
		}
		return nil, p.checkGuard(b, o)
	}
	epoch := b.ProducerEpoch()
	if b.IsControl() {
		return nil, p.checkMarker(e, b, o.TransactionVersion)
	}
	if origin == Client && epoch == e.epoch {
		if m := e.find(b.BaseSequence(), b.LastSequence()); m != nil {
			return m, nil
		}
	}
	if epoch < e.epoch {
		return nil, fmt.Errorf("%w: epoch %d of producer %d is smaller than the last seen epoch %d", ErrInvalidProducerEpoch, epoch, e.id, e.epoch)
	}
	if origin != Client {
		return nil, p.checkGuard(b, o)
	}
	if err := p.checkFirst(b); err != nil {
		return nil, err
	}
	seq := b.BaseSequence()
	if epoch != e.epoch {
		if seq != 0 {
			return nil, fmt.Errorf("%w: new epoch %d of producer %d begins with sequence %d instead of 0, last seen epoch %d",
				ErrOutOfOrderSequence, epoch, e.id, seq, e.epoch)
		}
	} else if m := e.last(); m != nil && !inSequence(m.lastSeq, seq) {
		return nil, fmt.Errorf("%w: producer %d sent sequence %d, the last was %d", ErrOutOfOrderSequence, e.id, seq, m.lastSeq)
	} else if m == nil && seq != 0 {
		return nil, fmt.Errorf("%w: producer %d begins epoch %d with sequence %d instead of 0", ErrOutOfOrderSequence, e.id, epoch, seq)
	}
	if e.txnFirst != NoOffset && !b.IsTransactional() {
		return nil, fmt.Errorf("%w: producer %d has a transaction open since offset %d and wrote outside of it", ErrInvalidTxnState, e.id, e.txnFirst)
	}
	return nil, p.checkGuard(b, o)
}

func (p *producers) checkMarker(e *producerEntry, b batch.Batch, version int16) error {
	m, ok, err := batch.ParseEndTxn(&p.reader, b)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorruptMessage, err)
	}
	if !ok {
		return nil
	}
	if b.ProducerEpoch() < e.epoch {
		return fmt.Errorf("%w: marker with epoch %d for producer %d at epoch %d", ErrInvalidProducerEpoch, b.ProducerEpoch(), e.id, e.epoch)
	}
	if version >= 2 && b.ProducerEpoch() == e.epoch && e.txnFirst != NoOffset {
		// With version 2 a marker has the epoch after that of its transaction: this one is late, and the next transaction is open.
		return fmt.Errorf("%w: marker with epoch %d for producer %d, which writes with that epoch already", ErrInvalidProducerEpoch, b.ProducerEpoch(), e.id)
	}
	if m.CoordinatorEpoch < e.coordinatorEpoch {
		return fmt.Errorf("%w: marker from coordinator epoch %d after %d", ErrCoordinatorFenced, m.CoordinatorEpoch, e.coordinatorEpoch)
	}
	return nil
}

// apply follows a batch that is in the log. Only its header and, for a control batch, its records are looked at. When
// it ended a transaction with an abort, it returns that for the transaction index.
func (p *producers) apply(b batch.Batch, control func() (batch.EndTxn, bool, error)) (aborted *AbortedTxn, err error) {
	p.mapEnd = b.NextOffset()
	id := b.ProducerID()
	if id < 0 {
		return nil, nil
	}
	var m batch.EndTxn
	if b.IsControl() {
		var ok bool
		if m, ok, err = control(); err != nil || !ok {
			return nil, err
		}
	}
	e := p.byID[id]
	if e == nil {
		e = &producerEntry{id: id, epoch: b.ProducerEpoch(), coordinatorEpoch: NoEpoch, txnFirst: NoOffset}
		p.byID[id] = e
	}
	if epoch := b.ProducerEpoch(); epoch != e.epoch {
		e.epoch, e.n = epoch, 0
	}
	e.lastTimestamp = b.MaxTimestamp()
	if b.IsControl() {
		p.takeGuard(id, b.ProducerEpoch())
		e.coordinatorEpoch = m.CoordinatorEpoch
		if e.txnFirst == NoOffset {
			return nil, nil
		}
		t := closedTxn{e.txnFirst, b.LastOffset()}
		delete(p.open, id)
		e.txnFirst = NoOffset
		if m.Type == batch.ControlAbort {
			aborted = &AbortedTxn{ProducerID: id, FirstOffset: t.first, LastOffset: t.last, LastStableOffset: p.lsoAfter(t)}
		}
		p.closed = append(p.closed, t)
		return aborted, nil
	}
	if b.BaseSequence() >= 0 {
		e.push(batchMeta{b.BaseSequence(), b.LastSequence(), b.LastOffset(), b.LastOffsetDelta(), b.MaxTimestamp()})
	}
	if b.IsTransactional() && e.txnFirst == NoOffset {
		e.txnFirst = b.BaseOffset()
		p.open[id] = e.txnFirst
		delete(p.guards, id)
	}
	return nil, nil
}

// lsoAfter is the last stable offset once t has ended: the first offset of another open transaction, or what follows t.
func (p *producers) lsoAfter(t closedTxn) int64 {
	lso := t.last + 1
	for _, first := range p.open {
		lso = min(lso, first)
	}
	return lso
}

// firstUnstable is the first offset of a transaction that is open, or that ended at or above the high watermark.
func (p *producers) firstUnstable(hw int64) (int64, bool) {
	at, ok := int64(math.MaxInt64), false
	for _, first := range p.open {
		at, ok = min(at, first), true
	}
	p.closed = slices.DeleteFunc(p.closed, func(t closedTxn) bool { return t.last < hw })
	for _, t := range p.closed {
		at, ok = min(at, t.first), true
	}
	return at, ok
}

// expire forgets producers that have been idle and have no transaction open.
func (p *producers) expire(nowMs int64) {
	for id, e := range p.byID {
		if e.txnFirst == NoOffset && nowMs-e.lastTimestamp >= p.expires {
			delete(p.byID, id)
		}
	}
	if len(p.guards) > 0 {
		p.dropGuards(nowMs)
	}
}

// truncateStart is told that offsets below start are gone: transactions that ended there cannot be unstable any more.
func (p *producers) truncateStart(start int64) {
	p.closed = slices.DeleteFunc(p.closed, func(t closedTxn) bool { return t.last < start })
	for id, first := range p.open {
		if first < start {
			p.open[id] = start
			p.byID[id].txnFirst = start
		}
	}
}

// list returns the producers by id.
func (p *producers) list() []ProducerState {
	out := make([]ProducerState, 0, len(p.byID))
	for _, e := range p.byID {
		s := ProducerState{e.id, e.epoch, batch.NoSequence, e.lastTimestamp, e.coordinatorEpoch, e.txnFirst}
		if m := e.last(); m != nil {
			s.LastSequence = m.lastSeq
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b ProducerState) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return out
}
