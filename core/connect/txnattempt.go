package connect

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/kafkaclient"
	"github.com/moldau-io/moldau/plugins"
)

// transaction is one transaction on its way.
type transaction struct {
	w       *txnWriter
	opened  time.Time
	begun   error    // of BeginTransaction
	batches []*Batch // written and kept
	bytes   int      // in them
	records int      // of the whole transaction
	loose   bool     // some of it was given up already (maxRetained)
	marks   []sourceMark
	started bool // some of it may be at the broker
}

// gather fills the transaction from b on and ends it.
func (t *transaction) gather(b *Batch) error {
	w := t.w
	for {
		t.add(b)
		if err := t.shrink(); err != nil {
			return err
		}
		end := b.end
		switch {
		case w.mode == boundaryConnector && end == endCommit:
			return t.finish(true)
		case w.mode == boundaryConnector && end == endAbort:
			return t.finish(false)
		}
		wait := time.Duration(-1)
		if end != endNone {
			switch w.mode {
			case boundaryPoll:
				wait = 0
				if w.busy {
					wait = max(0, busyLinger-time.Since(t.opened))
				}
				if t.bytes >= maxTransaction || time.Since(t.opened) > 4*busyLinger {
					return t.finish(true)
				}
			case boundaryInterval:
				if wait = w.interval - time.Since(w.lastEnded); wait <= 0 {
					return t.finish(true)
				}
			}
		}
		var closed bool
		if b, closed = w.await(wait); b != nil {
			continue
		}
		if !closed || end != endNone && w.mode != boundaryConnector && w.ctx.Err() == nil {
			return t.finish(true)
		}
		return t.abandon() // the task ends in the middle of a poll, or of a transaction of the connector's
	}
}

// add writes a batch.
func (t *transaction) add(b *Batch) {
	t.batches = append(t.batches, b)
	t.bytes += b.size
	t.records += len(b.recs)
	for _, m := range b.marks {
		t.marks = mergeMark(t.marks, m)
	}
	t.produce(b)
}

func (t *transaction) begin() {
	t.begun = t.w.cl.BeginTransaction()
	t.started = true
}

func (t *transaction) produce(b *Batch) {
	if !t.started {
		t.begin()
	}
	if t.begun != nil {
		return
	}
	for i := range b.recs {
		t.w.cl.Produce(t.w.ctx, &b.recs[i], b.promise) // waits while buffer.memory is used up
	}
}

// shrink lets go of acknowledged batches of a transaction that has become too large to be kept.
func (t *transaction) shrink() error {
	for t.bytes > maxRetained && len(t.batches) > 1 {
		if t.begun != nil {
			return t.begun
		}
		b := t.batches[0]
		if err := t.w.acked(b); err != nil {
			return err
		}
		t.loose = true
		t.batches[0] = nil
		t.batches = t.batches[1:]
		t.bytes -= b.size
		t.w.recycle(b)
	}
	return nil
}

// acked waits for the answers about a batch.
func (w *txnWriter) acked(b *Batch) error {
	<-b.done // answered even when the client is closed
	b.done <- struct{}{}
	return b.err
}

func (w *txnWriter) recycle(b *Batch) {
	w.onDone(b)
	if cap(b.slab) <= 4*maxSlab {
		<-b.done
		b.reset()
		w.free.Put(b)
	}
}

// offsetRecords are the records of the marks. answer tells how writing them went.
type offsetRecords struct {
	recs []*kgo.Record
	wg   sync.WaitGroup
	mu   sync.Mutex
	err  error
}

func (w *txnWriter) produceOffsets(marks []sourceMark) (*offsetRecords, error) {
	o := &offsetRecords{}
	for _, m := range marks {
		r, err := w.offsets.primary.render(w.offsets.name, m)
		if err != nil {
			return nil, finalError{fmt.Errorf("write source offsets: %w", err)}
		}
		r.Partition = plugins.NoPartition
		o.recs = append(o.recs, r)
	}
	o.wg.Add(len(o.recs))
	for _, r := range o.recs {
		w.cl.Produce(w.ctx, r, func(r *kgo.Record, err error) {
			if err != nil {
				o.mu.Lock()
				if o.err == nil {
					o.err = fmt.Errorf("write to topic %q: %w", r.Topic, err)
				}
				o.mu.Unlock()
			}
			o.wg.Done()
		})
	}
	return o, nil
}

func (o *offsetRecords) wait() error {
	o.wg.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// finish ends the transaction: with commit all of it is in the log, without only its offsets are.
func (t *transaction) finish(commit bool) error {
	w := t.w
	start := time.Now()
	var offs *offsetRecords
	for try := 0; ; try++ {
		attempted, err := false, t.begun
		if err == nil && !commit && t.records > 0 {
			err = t.endAborted()
		}
		if err == nil {
			offs, err = w.produceOffsets(t.marks)
		}
		if err == nil {
			attempted, err = t.end(offs)
		} else if offs != nil {
			_ = offs.wait()
		}
		if err == nil {
			break
		}
		w.metrics.committed(0, err)
		if final(err) || lost(err) || w.ctx.Err() != nil {
			return fmt.Errorf("transaction %s: %w", w.txnID, err)
		}
		if t.loose {
			return fmt.Errorf("transaction %s cannot be written again, as it is larger than what is kept of it: %w", w.txnID, err)
		}
		w.log.Warn("a transaction could not be ended; the producer starts again", "transactional_id", w.txnID, "error", err)
		t.settle()
		done, err := w.recover(try, t.marks, offs, attempted)
		if err != nil {
			return fmt.Errorf("transaction %s: %w", w.txnID, err)
		}
		if done {
			break
		}
		offs = nil
		t.begin()
		for _, b := range t.batches {
			b.again()
			if commit {
				t.produce(b)
			} else {
				b.left = 0
				b.done <- struct{}{}
			}
		}
		if !commit { // there is nothing to abort any more: the broker did
			t.records = 0
		}
	}
	w.metrics.committed(time.Since(start), nil)
	w.metrics.transaction(t.records)
	return t.done(offs)
}

// end waits for everything to be acknowledged and commits. attempted tells whether the commit was asked for.
func (t *transaction) end(offs *offsetRecords) (attempted bool, err error) {
	w := t.w
	for _, b := range t.batches {
		if e := w.acked(b); e != nil && err == nil {
			err = e
		}
	}
	if e := offs.wait(); e != nil && err == nil {
		err = e
	}
	if err != nil {
		return false, err
	}
	// Everything is answered for; what Flush waits for is the client's own bookkeeping.
	if err := w.cl.Flush(w.ctx); err != nil {
		return false, err
	}
	if err := kafkaclient.EndTransaction(w.ctx, w.cl, kgo.TryCommit); err != nil {
		return true, err
	}
	return true, w.noteEpoch()
}

// endAborted aborts the records, and begins a transaction for their offsets.
func (t *transaction) endAborted() error {
	w := t.w
	t.settle()
	if err := w.cl.Flush(w.ctx); err != nil {
		return err
	}
	if err := kafkaclient.EndTransaction(w.ctx, w.cl, kgo.TryAbort); err != nil {
		return err
	}
	if err := w.noteEpoch(); err != nil {
		return err
	}
	t.begin()
	for _, b := range t.batches { // their records are gone, as asked for
		b.err = nil
	}
	return t.begun
}

// noteEpoch remembers the producer's epoch, which every transaction moves on.
func (w *txnWriter) noteEpoch() error {
	pid, epoch, err := w.cl.ProducerID(w.ctx)
	if err != nil {
		return nil //nolint:nilerr // the next transaction will say
	}
	w.mu.Lock()
	w.pid, w.epoch = pid, epoch
	w.mu.Unlock()
	return nil
}

// settle waits until no record of the transaction is under way.
func (t *transaction) settle() {
	if t.begun != nil {
		return
	}
	for _, b := range t.batches {
		_ = t.w.acked(b)
	}
}

// done tells everybody about a transaction that was committed.
func (t *transaction) done(offs *offsetRecords) error {
	w := t.w
	w.lastEnded = time.Now()
	w.busy = t.records >= busyRecords
	if err := w.offsets.stored(offs.recs, t.marks); err != nil {
		return err
	}
	if len(t.marks) > 0 {
		if err := guard(func() error { return w.commit(w.ctx, t.marks) }); err != nil {
			return fmt.Errorf("commit of the source task: %w", err)
		}
	}
	for _, b := range t.batches {
		w.recycle(b)
	}
	t.batches = nil
	return nil
}

// abandon aborts a transaction that is not whole.
func (t *transaction) abandon() error {
	t.giveUp(true)
	return t.w.ctx.Err()
}

// giveUp aborts what was written, so that nobody waits for the broker to do so, and counts what is not in the log after all.
func (t *transaction) giveUp(abort bool) {
	w := t.w
	if abort && t.started && t.begun == nil && w.ctx.Err() == nil && len(t.batches) > 0 {
		ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
		defer cancel()
		if err := kafkaclient.EndTransaction(ctx, w.cl, kgo.TryAbort); err != nil {
			w.log.Warn("an unfinished transaction was left to the broker to abort", "transactional_id", w.txnID, "error", err)
		}
	}
	for _, b := range t.batches {
		w.metrics.active.Add(-int64(len(b.recs)))
	}
	t.batches = nil
}

// again makes a batch ready to be written once more.
func (b *Batch) again() {
	select {
	case <-b.done:
	default:
	}
	b.err, b.left, b.skipped = nil, len(b.recs), 0
	if b.left == 0 {
		b.done <- struct{}{}
	}
}
