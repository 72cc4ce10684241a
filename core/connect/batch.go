package connect

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/plugins"
)

// Batch is a run of source records on its way into the log with the source positions behind it. All encoded keys, values and headers
// lie in one slab; a batch is used again once it is done.
type Batch struct {
	recs    []kgo.Record
	slab    []byte
	spans   []span
	headers []kgo.RecordHeader
	hspans  []headerSpan
	marks   []sourceMark
	size    int // of the slab when the batch was sealed
	end     batchEnd

	left    int // records without an answer; written only by the producer's promise goroutine after sealing
	err     error
	skipped int
	done    chan struct{}
	promise func(*kgo.Record, error)
	onError func(*kgo.Record, error) error // nil result: the record is skipped
}

// span is where a record's key and value lie in the slab; a negative start is a null.
type span struct{ k0, k1, v0, v1, h0, h1 int }

type headerSpan struct {
	key    string
	v0, v1 int
}

func newBatch() *Batch {
	b := &Batch{done: make(chan struct{}, 1)}
	b.promise = b.answered
	return b
}

func (b *Batch) reset() {
	clear(b.recs)
	clear(b.headers)
	clear(b.marks)
	b.recs, b.slab, b.spans, b.headers, b.hspans, b.marks = b.recs[:0], b.slab[:0], b.spans[:0], b.headers[:0], b.hspans[:0], b.marks[:0]
	b.err, b.skipped, b.left, b.size, b.end, b.onError = nil, 0, 0, 0, endNone, nil
}

func mapID(m map[string]any) unsafe.Pointer { return reflect.ValueOf(m).UnsafePointer() }

// mark notes the newest position of a source partition. Partitions are told apart by the identity of their map, which their
// connector shares between records: nothing is hashed or rendered per record.
func (b *Batch) mark(partition map[string]any, offset plugins.Offset) {
	b.marks = mergeMark(b.marks, sourceMark{partition, offset})
}

func mergeMark(marks []sourceMark, m sourceMark) []sourceMark {
	id := mapID(m.partition)
	for i := len(marks) - 1; i >= 0; i-- {
		if mapID(marks[i].partition) == id {
			marks[i].offset = m.offset
			return marks
		}
	}
	return append(marks, m)
}

// seal gives the records their keys, values and headers: only now does the slab stay where it is.
func (b *Batch) seal() {
	b.size = len(b.slab)
	b.headers = b.headers[:0]
	for _, h := range b.hspans {
		rh := kgo.RecordHeader{Key: h.key}
		if h.v0 >= 0 {
			rh.Value = b.slab[h.v0:h.v1:h.v1]
		}
		b.headers = append(b.headers, rh)
	}
	for i := range b.recs {
		s := &b.spans[i]
		if s.k0 >= 0 {
			b.recs[i].Key = b.slab[s.k0:s.k1:s.k1]
		}
		if s.v0 >= 0 {
			b.recs[i].Value = b.slab[s.v0:s.v1:s.v1]
		}
		if s.h1 > s.h0 {
			b.recs[i].Headers = b.headers[s.h0:s.h1:s.h1]
		}
	}
	b.left = len(b.recs)
	if b.left == 0 {
		b.done <- struct{}{}
	}
}

// answered is the promise of every record. kgo calls promises one after the other.
func (b *Batch) answered(r *kgo.Record, err error) {
	if err != nil && b.err == nil {
		if b.onError != nil {
			err = b.onError(r, err)
		}
		if err != nil {
			b.err = fmt.Errorf("write to topic %q: %w", r.Topic, err)
		} else {
			b.skipped++
		}
	}
	if b.left--; b.left == 0 {
		b.done <- struct{}{}
	}
}

// BatchWriter carries the batches of one source task into the log, in order: ackedWriter at least once, txnWriter exactly once.
type BatchWriter interface {
	// Write takes the batch over. It returns before the batch is durable, and waits while too much is under way. An error, also of an
	// earlier batch, is final.
	Write(ctx context.Context, b *Batch) error
	// Get returns an empty batch.
	Get() *Batch
	// Close waits until everything written is durable and committed, or ctx is done, and releases everything.
	Close(ctx context.Context) error
	// Failed is closed when writing has failed; Err tells why.
	Failed() <-chan struct{}
	Err() error
	// Abort gives up what is under way: the task was left behind and must not write any more.
	Abort()
}

// ackedWriter is the BatchWriter that writes at least once: records, then, when all of a batch are acknowledged, offsets, then the
// task is told. Offsets of batches that were acknowledged meanwhile are written together.
type ackedWriter struct {
	cl *kgo.Client
	// closeClient closes it, once.
	closeClient func()

	offsets func(ctx context.Context, marks []sourceMark) error
	commit  func(ctx context.Context, marks []sourceMark) error
	onDone  func(b *Batch)
	onError func(*kgo.Record, error) error

	ctx    context.Context
	cancel context.CancelFunc
	queue  chan *Batch
	ended  chan struct{}
	free   sync.Pool

	mu     sync.Mutex
	err    error
	failed chan struct{} // closed with err
}

const (
	// batchesUnderWay bounds the batches between Write and their offsets; bytes are bounded by the producer's buffer.memory.
	batchesUnderWay = 64
	// offsetGap is the least time between two writes of offsets of a task under load.
	offsetGap = 20 * time.Millisecond
)

func newAckedWriter(cl *kgo.Client, offsets func(context.Context, []sourceMark) error, closeClient func(), commit func(context.Context, []sourceMark) error, onDone func(*Batch), onError func(*kgo.Record, error) error) *ackedWriter {
	w := &ackedWriter{cl: cl, closeClient: closeClient, offsets: offsets, commit: commit, onDone: onDone, onError: onError, queue: make(chan *Batch, batchesUnderWay), ended: make(chan struct{}), failed: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.free.New = func() any { return newBatch() }
	go w.run()
	return w
}

// Get implements BatchWriter.
func (w *ackedWriter) Get() *Batch { return w.free.Get().(*Batch) }

// Err implements BatchWriter.
func (w *ackedWriter) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Failed implements BatchWriter.
func (w *ackedWriter) Failed() <-chan struct{} { return w.failed }

func (w *ackedWriter) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
		close(w.failed)
	}
}

// Write implements BatchWriter.
func (w *ackedWriter) Write(ctx context.Context, b *Batch) error {
	if err := w.Err(); err != nil {
		return err
	}
	b.onError = w.onError
	b.seal()
	select {
	case w.queue <- b:
	case <-w.failed:
		return w.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
	for i := range b.recs {
		w.cl.Produce(w.ctx, &b.recs[i], b.promise) // waits while buffer.memory is used up
	}
	return nil
}

// run commits batches in order.
func (w *ackedWriter) run() {
	defer close(w.ended)
	var (
		marks []sourceMark
		group []*Batch
		next  *Batch
	)
	for {
		b := next
		next = nil
		if b == nil {
			var ok bool
			if b, ok = <-w.queue; !ok {
				return
			}
		}
		select {
		case <-b.done:
		case <-w.ctx.Done():
			w.fail(w.ctx.Err())
			return
		}
		group, marks = append(group[:0], b), marks[:0]
		for b.err == nil && next == nil { // whatever is acknowledged by now goes along
			select {
			case n, ok := <-w.queue:
				if !ok {
					next = nil
					goto gathered
				}
				select {
				case <-n.done:
					if n.err != nil {
						n.done <- struct{}{}
						next = n
					} else {
						group = append(group, n)
					}
				default:
					next = n
				}
			default:
				goto gathered
			}
		}
	gathered:
		if b.err != nil {
			w.fail(b.err)
			return
		}
		for _, g := range group {
			for _, m := range g.marks {
				marks = mergeMark(marks, m)
			}
		}
		if err := w.store(marks); err != nil {
			w.fail(err)
			return
		}
		for _, g := range group {
			w.onDone(g)
			if g.skipped == 0 && cap(g.slab) <= 4*maxSlab {
				g.reset()
				w.free.Put(g)
			}
		}
		if len(marks) > 0 {
			_ = sleepUnlessClosing(w.ctx, w.queue, offsetGap)
		}
	}
}

// sleepUnlessClosing waits for d, so that the next offsets are written with more behind them.
func sleepUnlessClosing(ctx context.Context, q chan *Batch, d time.Duration) error {
	if len(q) == 0 {
		return nil
	}
	return sleep(ctx, d)
}

func (w *ackedWriter) store(marks []sourceMark) error {
	if len(marks) == 0 {
		return nil
	}
	if err := w.offsets(w.ctx, marks); err != nil {
		return fmt.Errorf("write source offsets: %w", err)
	}
	if err := guard(func() error { return w.commit(w.ctx, marks) }); err != nil {
		return fmt.Errorf("commit of the source task: %w", err)
	}
	return nil
}

// Close implements BatchWriter.
func (w *ackedWriter) Close(ctx context.Context) error {
	close(w.queue)
	select {
	case <-w.ended:
	case <-ctx.Done():
		w.fail(fmt.Errorf("records and offsets under way were not acknowledged in time: %w", ctx.Err()))
	}
	w.cancel()
	<-w.ended
	err := w.Err()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

// Abort implements BatchWriter.
func (w *ackedWriter) Abort() {
	w.fail(errors.New("the task was stopped and did not end in time"))
	w.cancel()
	w.closeClient()
}
