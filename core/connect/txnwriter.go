package connect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
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
	if d == 0 { // a timer fires late on a busy machine, and the commit would wait for it
		return nil, w.ctx.Err() != nil
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
