package connect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/plugins"
)

// batchEnd tells what ends with a batch.
type batchEnd uint8

const (
	endNone   batchEnd = iota // the poll goes on in the next batch
	endPoll                   // of a poll
	endCommit                 // of a transaction that the connector wants committed
	endAbort                  // of one that it wants aborted
)

// boundary is transaction.boundary.
type boundary uint8

const (
	boundaryPoll boundary = iota
	boundaryInterval
	boundaryConnector
)

// Limits of the writer.
const (
	// maxQueued bounds the encoded bytes that wait for their transaction. A batch is always let in when nothing waits.
	maxQueued = 16 << 20
	// maxTransaction ends a transaction of polls; the rest goes into the next one.
	maxTransaction = 16 << 20
	// maxRetained is how much of a transaction is kept in memory to be written again when its commit fails on the way. Only transactions
	// by interval or by the connector get larger; for them such a failure fails the task, as it does in Kafka Connect.
	maxRetained = 64 << 20
	// Under load, which is a transaction of busyRecords or more, the next one is kept open for busyLinger: a commit costs the same for one record
	// as for ten thousand.
	busyRecords = 500
	busyLinger  = 20 * time.Millisecond
)

// txnWriter is the BatchWriter that writes exactly once: the records of whole polls and the source offsets behind them in one transaction.
//
// The task's goroutine converts and queues, run takes what is queued and writes it. While one transaction is being committed the next
// polls are converted and wait, and go into one transaction together: the longer a commit takes, the more goes along with the next, and a
// single change waits for nothing.
//
// Invariants:
//   - A transaction holds whole polls (boundaryPoll, boundaryInterval) or what the connector said (boundaryConnector), and the newest
//     offset of each source partition in it. What is cut off at the end is aborted and read again from the stored offsets.
//   - The task is told of a position (commit) only when the transaction with it has been committed.
//   - The transactional id is taken over again only from this writer itself: every new start of the producer first asks the coordinator
//     to go on from the epoch that was used last, which it refuses once another producer has come (a later task, another worker). A
//     writer that was shut out (lost) tries nothing more: whoever goes on does so from the stored offsets.
//   - When a commit's answer is lost, the offset topic decides: after the coordinator has ended the old transaction, the offset record is
//     there exactly if it was committed. If not, the same records are written again.
type txnWriter struct {
	txnID     string
	timeout   time.Duration
	newClient func() (*kgo.Client, error)
	offsets   *connectorOffsets
	commit    func(ctx context.Context, marks []sourceMark) error
	onDone    func(b *Batch)
	metrics   *taskMetrics
	log       *slog.Logger
	mode      boundary
	interval  time.Duration

	ctx    context.Context
	cancel context.CancelFunc
	ended  chan struct{}
	free   sync.Pool

	closing sync.Mutex

	mu     sync.Mutex
	cl     *kgo.Client // changed by run alone
	pid    int64       // as of the last answer, likewise
	epoch  int16
	queue  []*Batch
	bytes  int
	closed bool
	err    error
	failed chan struct{} // closed with err
	more   chan struct{} // capacity 1: something was queued, or closed
	room   chan struct{} // capacity 1: something was taken

	// Of run alone.
	busy      bool
	lastEnded time.Time // of the last transaction, for the interval
}

// start begins to write with a client whose producer was initialised as pid and epoch.
func (w *txnWriter) start(cl *kgo.Client, pid int64, epoch int16) {
	w.cl, w.pid, w.epoch = cl, pid, epoch
	w.ended, w.failed, w.more, w.room = make(chan struct{}), make(chan struct{}), make(chan struct{}, 1), make(chan struct{}, 1)
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.free.New = func() any { return newBatch() }
	w.lastEnded = time.Now()
	go w.run()
}

// Get implements BatchWriter.
func (w *txnWriter) Get() *Batch { return w.free.Get().(*Batch) }

// Err implements BatchWriter.
func (w *txnWriter) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Failed implements BatchWriter.
func (w *txnWriter) Failed() <-chan struct{} { return w.failed }

func (w *txnWriter) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
		close(w.failed)
	}
}

// client returns the present client.
func (w *txnWriter) client() *kgo.Client {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cl
}

// closeClient closes the present client. Closing one from two sides at a time is more than it can take.
func (w *txnWriter) closeClient() {
	w.closing.Lock()
	defer w.closing.Unlock()
	w.client().Close()
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Write implements BatchWriter.
func (w *txnWriter) Write(ctx context.Context, b *Batch) error {
	b.seal()
	for {
		w.mu.Lock()
		if w.err != nil {
			w.mu.Unlock()
			return w.err
		}
		if len(w.queue) == 0 || len(w.queue) < batchesUnderWay && w.bytes+b.size <= maxQueued {
			w.queue = append(w.queue, b)
			w.bytes += b.size
			w.mu.Unlock()
			nudge(w.more)
			return nil
		}
		w.mu.Unlock()
		select {
		case <-w.room:
		case <-w.failed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take removes the first batch of the queue; nil when there is none.
func (w *txnWriter) take() (b *Batch, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return nil, w.closed
	}
	b = w.queue[0]
	w.queue[0] = nil
	w.queue = w.queue[1:]
	w.bytes -= b.size
	nudge(w.room)
	return b, false
}

// await waits for a batch, for at most d when d is not negative. It returns nil when none came, and closed when none will.
func (w *txnWriter) await(d time.Duration) (b *Batch, closed bool) {
	if b, closed = w.take(); b != nil || closed {
		return b, closed
	}
	var late <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		late = t.C
	}
	for {
		select {
		case <-w.more:
			if b, closed = w.take(); b != nil || closed {
				return b, closed
			}
		case <-late:
			return nil, false
		case <-w.ctx.Done():
			return nil, true
		}
	}
}

func (w *txnWriter) run() {
	defer close(w.ended)
	for w.ctx.Err() == nil {
		b, closed := w.await(-1)
		if closed {
			return
		}
		t := &transaction{w: w, opened: time.Now()}
		if err := t.gather(b); err != nil {
			w.fail(err)
			t.giveUp(!lost(err))
			return
		}
	}
	w.fail(w.ctx.Err())
}

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
	if err := w.cl.EndTransaction(w.ctx, kgo.TryCommit); err != nil {
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
	if err := w.cl.EndTransaction(w.ctx, kgo.TryAbort); err != nil {
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
		err := w.cl.AbortBufferedRecords(ctx)
		if err == nil {
			err = w.cl.EndTransaction(ctx, kgo.TryAbort)
		}
		if err != nil {
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

// finalError will come again.
type finalError struct{ error }

// Unwrap returns the error.
func (e finalError) Unwrap() error { return e.error }

// lost reports whether an error says that the producer was shut out: another one has taken over its id, or the broker gave its transaction
// up because it took too long.
func lost(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, errOverwritten)
}

// final reports whether an error will come again.
func final(err error) bool {
	var fe finalError
	if errors.As(err, &fe) || errors.Is(err, kgo.ErrClientClosed) || errors.Is(err, kgo.ErrRecordTimeout) || errors.Is(err, kgo.ErrRecordRetries) {
		return true
	}
	var ke *kerr.Error
	if !errors.As(err, &ke) {
		return false
	}
	switch ke {
	case kerr.UnknownProducerID, kerr.OutOfOrderSequenceNumber, kerr.TransactionAbortable, kerr.InvalidTxnState,
		kerr.InvalidProducerIDMapping, kerr.ConcurrentTransactions, kerr.OperationNotAttempted, kerr.UnknownServerError:
		return false // the coordinator will tell
	}
	return !ke.Retriable
}

// recoverTries bounds how often one transaction is written.
const recoverTries = 20

var errOverwritten = errors.New("the stored source offsets are no longer those that this task wrote: another task of the connector has run meanwhile")

// recover starts the producer again after a transaction went wrong, and finds out what became of it: committed tells that it is in the log.
func (w *txnWriter) recover(try int, marks []sourceMark, offs *offsetRecords, attempted bool) (committed bool, err error) {
	if try >= recoverTries {
		return false, fmt.Errorf("given up after %d tries", try)
	}
	before := w.offsets.primary.positions(w.offsets.name, marks)
	w.closeClient()
	if offs != nil {
		_ = offs.wait()
	}
	for delay := 50 * time.Millisecond * (1 << min(try, 6)); ; delay = min(2*delay, 5*time.Second) {
		if err := sleep(w.ctx, delay); err != nil {
			return false, err
		}
		err := w.restart()
		if err == nil {
			err = w.offsets.primary.il.readAll(w.ctx, w.offsets.primary.topic)
		}
		if err == nil {
			break
		}
		if lost(err) || final(err) || w.ctx.Err() != nil {
			return false, err
		}
		w.log.Warn("the producer cannot be started yet", "transactional_id", w.txnID, "error", err)
	}
	after := w.offsets.primary.positions(w.offsets.name, marks)
	if attempted && offs != nil && len(offs.recs) > 0 {
		committed = true
		for i, r := range offs.recs {
			committed = committed && after[i] == logPosition{r.Partition, r.Offset}
		}
		if committed {
			w.log.Info("the transaction was committed after all", "transactional_id", w.txnID)
			return true, nil
		}
	}
	for i := range after {
		if after[i] != before[i] {
			return false, errOverwritten
		}
	}
	if attempted && (offs == nil || len(offs.recs) == 0) {
		return false, errors.New("the answer to a commit was lost, and there is no source offset in the transaction to tell whether it was committed")
	}
	return false, nil
}

// restart takes the transactional id over from the client that was closed, unless somebody else has.
func (w *txnWriter) restart() error {
	cl, err := w.newClient()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	_, _, err = initProducer(ctx, cl, w.txnID, w.timeout, w.pid, w.epoch)
	var pid int64
	var epoch int16
	// An id that the coordinator has forgotten (it was idle for transactional.id.expiration.ms) is nobody else's.
	if err == nil || errors.Is(err, kerr.InvalidProducerIDMapping) || errors.Is(err, kerr.UnknownProducerID) {
		pid, epoch, err = cl.ProducerID(ctx)
	}
	if err != nil {
		cl.Close()
		return err
	}
	w.mu.Lock()
	w.cl, w.pid, w.epoch = cl, pid, epoch
	w.mu.Unlock()
	return nil
}

// Close implements BatchWriter.
func (w *txnWriter) Close(ctx context.Context) error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	nudge(w.more)
	select {
	case <-w.ended:
	case <-ctx.Done():
		w.fail(fmt.Errorf("the last transaction was not committed in time: %w", ctx.Err()))
		w.closeClient()
	}
	w.cancel()
	<-w.ended
	w.closeClient()
	err := w.Err()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// Abort implements BatchWriter: the task was left behind and must not write any more.
func (w *txnWriter) Abort() {
	w.fail(errors.New("the task was stopped and did not end in time"))
	w.cancel()
	w.closeClient()
}
