package cdc

import (
	"context"
	"sync"
	"time"

	"github.com/moldau-io/moldau/plugins"
)

// Queue carries records from a connector's reading goroutine to Poll. It is bounded in records and in bytes: Put waits while either is
// exceeded, so a slow log slows the reader and never grows memory. A batch that alone exceeds a bound enters an empty queue.
//
// Invariant: records come out in the order they went in, each once; after Fail the records put before it come out first.
type Queue struct {
	mu       sync.Mutex
	batches  []batch
	records  int
	bytes    int64
	maxRecs  int
	maxBytes int64
	err      error
	closed   bool
	readable chan struct{} // capacity 1: something to read or an end
	writable chan struct{} // capacity 1: room again
}

type batch struct {
	recs  []plugins.SourceRecord
	bytes int64
}

// NewQueue returns a queue of at most maxRecords records holding about maxBytes bytes.
func NewQueue(maxRecords int, maxBytes int64) *Queue {
	return &Queue{maxRecs: maxRecords, maxBytes: maxBytes, readable: make(chan struct{}, 1), writable: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Put appends recs, of about bytes bytes in memory, waiting for room until ctx is done. The queue owns recs afterwards. One goroutine
// puts at a time.
func (q *Queue) Put(ctx context.Context, recs []plugins.SourceRecord, bytes int64) error {
	if len(recs) == 0 {
		return nil
	}
	for {
		q.mu.Lock()
		if q.closed {
			q.mu.Unlock()
			return context.Canceled
		}
		if q.records == 0 || q.records+len(recs) <= q.maxRecs && q.bytes+bytes <= q.maxBytes {
			q.batches = append(q.batches, batch{recs, bytes})
			q.records += len(recs)
			q.bytes += bytes
			q.mu.Unlock()
			signal(q.readable)
			return nil
		}
		q.mu.Unlock()
		select {
		case <-q.writable:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Fail ends the queue with err, which Poll returns once the records are drained.
func (q *Queue) Fail(err error) {
	q.mu.Lock()
	if q.err == nil {
		q.err = err
	}
	q.mu.Unlock()
	signal(q.readable)
}

// Close makes waiting Puts give up and drops what is queued.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed, q.batches, q.records, q.bytes = true, nil, 0, 0
	q.mu.Unlock()
	signal(q.writable)
	signal(q.readable)
}

// Poll returns up to limit records (at least one batch), waiting for the first for at most wait. Nil, nil means there was nothing.
func (q *Queue) Poll(ctx context.Context, limit int, wait time.Duration) ([]plugins.SourceRecord, error) {
	var timer *time.Timer
	for {
		recs, err := q.take(limit)
		if recs != nil || err != nil {
			if timer != nil {
				timer.Stop()
			}
			return recs, err
		}
		if timer == nil {
			timer = time.NewTimer(wait)
		}
		select {
		case <-q.readable:
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			timer.Stop()
			return nil, nil
		}
	}
}

func (q *Queue) take(limit int) ([]plugins.SourceRecord, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.batches) == 0 {
		return nil, q.err
	}
	recs, n := q.batches[0].recs, 1
	q.bytes -= q.batches[0].bytes
	for n < len(q.batches) && len(recs)+len(q.batches[n].recs) <= limit {
		recs = append(recs, q.batches[n].recs...)
		q.bytes -= q.batches[n].bytes
		n++
	}
	clear(q.batches[:n])
	q.batches = q.batches[n:]
	if len(q.batches) == 0 {
		q.batches = nil
	}
	q.records -= len(recs)
	signal(q.writable)
	if len(q.batches) > 0 || q.err != nil {
		signal(q.readable)
	}
	return recs, nil
}

// Len returns the records and bytes that are queued.
func (q *Queue) Len() (records int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.records, q.bytes
}
