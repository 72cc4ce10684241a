package elasticsearch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/moldau-io/moldau/plugins"
)

// sender sends bulk requests, several at a time, and knows up to which offset of each partition all of them are through.
//
// Batches are formed in the order of records and finish in any order; safe offsets advance over the finished prefix only. A batch
// finishes when every item of it was accepted, given up by configuration, or reported to the dead-letter topic durably.
type sender struct {
	s   settings
	cl  *client
	env plugins.SinkEnv

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	idle     *sync.Cond // something finished or failed
	current  *batch
	since    time.Time // when current got its first record
	waiting  []*batch  // formed, not sent
	order    []*batch  // formed and not finished, oldest first
	inFlight int
	busy     map[string]int // documents under way; updates only
	records  int            // in current, waiting and under way
	bytes    int            // of their bodies
	safe     map[plugins.TopicPartition]int64
	failure  error
	timer    *time.Timer
	stopped  bool // nothing is sent any more
	spare    [][]byte
}

func newSender(s settings, cl *client, env plugins.SinkEnv) *sender {
	x := &sender{s: s, cl: cl, env: env, busy: map[string]int{}, safe: map[plugins.TopicPartition]int64{}}
	x.idle = sync.NewCond(&x.mu)
	x.ctx, x.cancel = context.WithCancel(context.Background())
	return x
}

// add appends an item to the current batch; render writes its lines.
func (x *sender) add(it item, tp plugins.TopicPartition, render func(dst []byte) ([]byte, error)) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	b := x.open()
	was := len(b.body)
	body, err := render(b.body)
	if err != nil {
		b.body = b.body[:was]
		return err
	}
	b.body = body
	it.from, it.to = was, len(body)
	b.items = append(b.items, it)
	b.ends[tp] = it.rec.Offset + 1
	x.records++
	x.bytes += it.to - it.from
	b.size += it.to - it.from
	if len(b.items) >= x.s.batchRecords || len(b.body) >= x.s.batchBytes {
		x.seal()
	}
	return nil
}

// open returns the current batch. The lock is held.
func (x *sender) open() *batch {
	if x.current == nil {
		x.current = &batch{ends: map[plugins.TopicPartition]int64{}}
		if n := len(x.spare); n > 0 {
			x.current.body, x.spare = x.spare[n-1], x.spare[:n-1]
		}
		x.since = time.Now()
	}
	return x.current
}

// skip notes an offset that needs nothing written.
func (x *sender) skip(tp plugins.TopicPartition, offset int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.current == nil && len(x.order) == 0 {
		x.safe[tp] = offset + 1
		return
	}
	x.open().ends[tp] = offset + 1
}

// seal closes the current batch and sends what may be sent. The lock is held.
func (x *sender) seal() {
	if x.current == nil {
		return
	}
	x.waiting = append(x.waiting, x.current)
	x.order = append(x.order, x.current)
	x.current = nil
	x.dispatch()
}

func (x *sender) dispatch() {
	for x.inFlight < x.s.inFlight && len(x.waiting) > 0 && x.failure == nil && !x.stopped {
		b := x.waiting[0]
		if x.s.upsert {
			for i := range b.items {
				if x.busy[b.items[i].doc] > 0 {
					return // its turn comes when the write before it is through
				}
			}
			for i := range b.items {
				x.busy[b.items[i].doc]++
			}
		}
		x.waiting = x.waiting[1:]
		x.inFlight++
		x.wg.Go(func() { x.run(b) })
	}
}

// tick is called after every put. A batch that is not full waits for linger.ms, and for the requests under way: while the server is
// busy requests grow towards batch.size instead of becoming many, and when it is idle nothing waits.
func (x *sender) tick() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.nudge()
}

// nudge seals the current batch when its time has come, or sees to it that this is looked at again. The lock is held.
func (x *sender) nudge() {
	if x.current == nil || x.inFlight > 0 || len(x.waiting) > 0 {
		return // finish looks again
	}
	left := x.s.linger - time.Since(x.since)
	if left <= 0 || x.s.linger <= time.Millisecond {
		x.seal()
		return
	}
	if x.timer == nil {
		x.timer = time.AfterFunc(left, x.lingered)
	}
}

// lingered is called when linger.ms is over. It may have been on its way when the timer was stopped.
func (x *sender) lingered() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.timer = nil
	x.nudge()
}

// run sends a batch until it is through.
func (x *sender) run(b *batch) {
	err := x.deliver(b)
	x.mu.Lock()
	x.inFlight--
	x.mu.Unlock()
	x.finish(b, err)
}

// finish notes how a batch ended.
func (x *sender) finish(b *batch, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.records -= len(b.items)
	x.bytes -= b.size
	if x.s.upsert {
		for i := range b.items {
			if x.busy[b.items[i].doc]--; x.busy[b.items[i].doc] == 0 {
				delete(x.busy, b.items[i].doc)
			}
		}
	}
	if err != nil {
		if x.failure == nil && x.ctx.Err() == nil {
			x.failure = err
		}
	} else {
		b.done = true
		for len(x.order) > 0 && x.order[0].done {
			for tp, end := range x.order[0].ends {
				x.safe[tp] = end
			}
			x.order = x.order[1:]
		}
		x.dispatch()
		x.nudge()
	}
	if cap(b.body) <= 16<<20 && len(x.spare) < x.s.inFlight {
		x.spare = append(x.spare, b.body[:0])
	}
	b.items, b.body = nil, nil
	x.idle.Broadcast()
}

// deliver sends a batch and whatever of it the server asks to send again.
func (x *sender) deliver(b *batch) error {
	body, left := b.body, make([]int, len(b.items))
	for i := range left {
		left[i] = i
	}
	reports := newReports()
	failures := 0
	step := 0 // of the backoff: rounds in which nothing got through
	for try := 0; len(left) > 0; try++ {
		if try > 0 {
			body = body[:0:0]
			for _, i := range left {
				body = append(body, b.body[b.items[i].from:b.items[i].to]...)
			}
		}
		answer, err := x.cl.do(x.ctx, http.MethodPost, "/_bulk", "application/x-ndjson", body)
		var results []itemResult
		if err == nil {
			results, err = parseBulk(answer, len(left))
		}
		if err != nil {
			if x.ctx.Err() != nil {
				return x.ctx.Err()
			}
			if !waits(err) {
				if failures++; failures > x.s.maxRetries {
					return fmt.Errorf("bulk request of %d documents: %w", len(left), err)
				}
			}
			if perr := x.pause(try, step, err); perr != nil {
				return perr
			}
			step++
			continue
		}
		var retry []int
		// An update that is sent again must not come after later ones of its document: those are sent again behind it.
		var stale map[string]bool
		var why string
		for k := range results {
			it := &b.items[left[k]]
			switch judge(&results[k], it.act, it.version) {
			case ok:
				if stale[it.doc] {
					retry = append(retry, left[k])
				}
			case again:
				if x.s.upsert {
					if stale == nil {
						stale = map[string]bool{}
					}
					stale[it.doc] = true
				}
				retry, why = append(retry, left[k]), results[k].text()
			case malformed:
				if err := x.refuse(it, &results[k], reports, x.s.malformed == "fail"); err != nil {
					return err
				}
			case refused:
				if err := x.refuse(it, &results[k], reports, true); err != nil {
					return err
				}
			}
		}
		if len(retry) < len(left) {
			step = 0 // the server is busy, but at work
		}
		left = retry
		if len(left) > 0 {
			if err := x.pause(try, step, errors.New(why)); err != nil {
				return err
			}
			step++
		}
	}
	return reports.wait(x.ctx)
}

// refuse handles a document that the server will not take.
func (x *sender) refuse(it *item, r *itemResult, reports *reports, fail bool) error {
	cause := &plugins.DataError{Err: fmt.Errorf("%s-%d offset %d: the server refuses document %s: %s", it.rec.Topic, it.rec.Partition, it.rec.Offset, it.doc, r.text())}
	if x.env.Report != nil {
		x.env.Report(&it.rec, cause, reports.add())
		return nil
	}
	if fail {
		return cause
	}
	if x.s.malformed == "warn" {
		x.env.Logger.Warn("a document was left out", "error", cause)
	}
	return nil
}

// pause waits before a request is sent again, twice as long with each step.
func (x *sender) pause(try, step int, why error) error {
	d := min(30*time.Second, x.s.backoff<<min(step, 20))
	if d <= 0 && x.s.backoff > 0 {
		d = 30 * time.Second
	}
	d = rand.N(d + 1)
	var a *answerError
	if errors.As(why, &a) {
		d = max(d, a.after)
	}
	if try == 0 || try%10 == 9 {
		x.env.Logger.Warn("bulk request is tried again", "attempt", try+1, "pause", d.Round(time.Millisecond), "error", why)
	}
	select {
	case <-x.ctx.Done():
		return x.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// flush sends everything and waits until it is through, a request fails, or ctx ends.
func (x *sender) flush(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { x.mu.Lock(); x.idle.Broadcast(); x.mu.Unlock() })
	defer stop()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.seal()
	for len(x.order) > 0 && x.failure == nil && ctx.Err() == nil {
		x.idle.Wait()
	}
	return x.failure
}

// state returns the safe offsets and whether too much is buffered, in records (max.buffered.records) or bytes (what all requests under way
// and one more can hold), or again little enough.
func (x *sender) state() (safe map[plugins.TopicPartition]int64, full, drained bool, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	safe = make(map[plugins.TopicPartition]int64, len(x.safe))
	for tp, o := range x.safe {
		safe[tp] = o
	}
	limit := (x.s.inFlight + 1) * x.s.batchBytes
	full = x.records > x.s.maxBuffered || x.bytes > limit
	drained = x.records <= x.s.maxBuffered/2 && x.bytes <= limit/2
	return safe, full, drained, x.failure
}

// forget drops a partition's safe offset: it belongs to another task now.
func (x *sender) forget(tp plugins.TopicPartition) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.safe, tp)
	for _, b := range x.order {
		delete(b.ends, tp)
	}
	if x.current != nil {
		delete(x.current.ends, tp)
	}
}

// stop ends requests under way and waits for that; no more begin.
func (x *sender) stop() {
	x.cancel()
	x.mu.Lock()
	x.stopped = true
	if x.timer != nil {
		x.timer.Stop()
	}
	x.mu.Unlock()
	x.wg.Wait()
}

// reports waits for dead-letter reports to become durable.
type reports struct {
	n  int
	ch chan error
}

func newReports() *reports { return &reports{ch: make(chan error, 1)} }

// add returns the callback for one more report.
func (r *reports) add() func(error) {
	r.n++
	ch := r.ch
	return func(err error) {
		go func() { ch <- err }() // the callback must not block its caller
	}
}

func (r *reports) wait(ctx context.Context) error {
	for ; r.n > 0; r.n-- {
		select {
		case err := <-r.ch:
			if err != nil {
				return fmt.Errorf("report to the dead-letter topic: %w", err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// reportOnly hands a record to the dead-letter topic in its place in the order of batches.
func (x *sender) reportOnly(tp plugins.TopicPartition, r *plugins.SinkRecord, cause error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.stopped {
		return
	}
	x.seal()
	b := &batch{ends: map[plugins.TopicPartition]int64{tp: r.Offset + 1}}
	x.order = append(x.order, b)
	rep, rec := newReports(), *r
	done := rep.add()
	x.wg.Go(func() {
		x.env.Report(&rec, cause, done)
		err := rep.wait(x.ctx)
		x.finish(b, err)
	})
}
