package broker

import (
	"sync"
	"time"

	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/replica"
	"github.com/moldau-io/moldau/core/wire"
)

// A consumer that reads much at a time decodes an answer before it asks for the next one, and meanwhile the broker has nothing to do for it. So the
// records that it will ask for next, if it goes on where the answer ends, are read in that time: after the answer was written, into
// buffers that belong to its fetch session.
//
// Invariant: a fetch is answered as it would be without. Whatever decides about an answer (rights, leadership, epochs, where the log begins,
// quotas, how much is asked for) is decided when the request is there; what was read before only takes the place of a read of the very same offset, in the same
// log, which has not been truncated since, up to a limit (high watermark, last stable offset) that can only have grown since. Aborted
// transactions are listed when the answer is made. Where anything differs it is thrown away and the log is read.
//
// A session has what was read for at most one answer, for aheadFor at most, from a budget of all sessions together. A session that
// keeps asking for something else is left alone, for twice as many answers each time.
type fetchAhead struct {
	committed bool
	buffers   fetchBuffers
	pieces    [][]byte // of all parts
	parts     []aheadPart
	at        int   // the part that is looked for next: partitions are asked for in the session's order
	unused    int   // bytes that were read and not asked for so far
	hits      int   // parts that were asked for
	charged   int64 // to Broker.aheadMemory
}

// aheadPart is what was read of one partition.
type aheadPart struct {
	session     *sessionPart
	req         wire.FetchPartition // as it was expected
	log         *log.Log
	truncations int64
	next        int64
	bytes       int
	from, to    int // in fetchAhead.pieces
}

const (
	// aheadFrom is how many bytes an answer has at least for its successor to be read ahead. Below it there is little to win.
	aheadFrom = 512 << 10
	// aheadFor is how long they are kept (Broker.aheadFor). A client that takes longer does not wait for the log.
	aheadFor = 50 * time.Millisecond
	// aheadParts bounds the partitions that are looked at.
	aheadParts = 64
	// aheadSkips bounds the answers, as a power of two, for which nothing is read ahead after it was of no use.
	aheadSkips = 8
)

var fetchAheads = sync.Pool{New: func() any { return new(fetchAhead) }}

// free ends it: nobody may hold what was taken from it.
func (a *fetchAhead) free(b *Broker) {
	a.buffers.free()
	b.aheadMemory.Release(a.charged)
	b.metrics.aheadUnused.Add(int64(a.unused))
	clear(a.pieces)
	clear(a.parts)
	*a = fetchAhead{buffers: a.buffers, pieces: a.pieces[:0], parts: a.parts[:0]}
	fetchAheads.Put(a)
}

// readAhead ends the call, whose answer was written, and reads for the next.
func (c *fetchCall) readAhead() {
	b, s := c.b, c.session
	a := fetchAheads.Get().(*fetchAhead)
	a.committed = c.req.ReadCommitted
	want := c.most()
	c.recycle() // its buffers are the next ones
	if !a.expect(b, s, want) {
		a.free(b)
		return
	}
	a.read(b, want)
	if len(a.parts) > 0 {
		s.keepAhead(b, a)
		return
	}
	vain := a.unused > 0
	a.free(b)
	if vain {
		s.missAhead()
	}
}

// worthAhead says whether the answer is one that is followed by another of its kind.
func (c *fetchCall) worthAhead() bool {
	_, near := c.b.answers.of(c.r.Conn.RoundTrip())
	return near && c.session != nil && c.b.quotas.table.Load() == nil && c.recordBytes() >= aheadFrom
}

// expect notes the partitions that the session's next fetch is expected to name, and from where on. It says whether there is anything to do.
func (a *fetchAhead) expect(b *Broker, s *fetchSession, want int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aheadSkip > 0 {
		s.aheadSkip--
		return false
	}
	if s.ahead != nil || !b.aheadMemory.TryAcquire(int64(want)) {
		return false
	}
	a.charged = int64(want)
	for _, p := range s.order[:min(len(s.order), aheadParts)] {
		req := p.req
		req.FetchOffset = max(req.FetchOffset, p.next)
		a.parts = append(a.parts, aheadPart{session: p, req: req})
	}
	return true
}

// read reads what is expected, at most want bytes in all, and keeps the parts of which there was more than could be taken: of the others
// there may be more by the time they are asked for.
func (a *fetchAhead) read(b *Broker, want int) {
	keep := 0
	for i := range a.parts {
		part := a.parts[i]
		if want <= 0 {
			break
		}
		p := b.partitionOf(part.session.key)
		if p == nil {
			continue
		}
		part.log, part.from = p.Log(), len(a.pieces)
		part.truncations = part.log.Truncations()
		var o replica.Offsets
		var err error
		most := min(want, int(max(part.req.MaxBytes, 0)))
		a.pieces, part.bytes, part.next, o, err = a.buffers.read(a.pieces, p, part.req.FetchOffset, most, a.committed, false)
		part.to = len(a.pieces)
		if err == nil && part.bytes == 0 && most == want && part.req.FetchOffset < o.Limit(a.committed) {
			break // see readOne
		}
		want -= part.bytes // it takes room, kept or not
		a.unused += part.bytes
		if err != nil || part.bytes == 0 || part.next >= o.Limit(a.committed) {
			continue
		}
		a.parts[keep] = part
		keep++
	}
	clear(a.parts[keep:])
	a.parts = a.parts[:keep]
}

// take appends the records of a partition to pieces, if they are what was asked for.
func (a *fetchAhead) take(pieces [][]byte, f *fetchPart, want int, committed bool) (out [][]byte, total int, next int64, o replica.Offsets, ok bool) {
	if a == nil || a.at == len(a.parts) || a.parts[a.at].session != f.session {
		return pieces, 0, 0, o, false
	}
	part := &a.parts[a.at]
	a.at++
	if part.req.FetchOffset != f.req.FetchOffset || part.bytes > want || a.committed != committed || part.log != f.p.Log() {
		return pieces, 0, 0, o, false
	}
	o = f.p.Offsets()
	if f.p.CheckOffset(f.req.FetchOffset) != nil || part.log.Truncations() != part.truncations {
		return pieces, 0, 0, o, false
	}
	a.hits++
	a.unused -= part.bytes
	return append(pieces, a.pieces[part.from:part.to]...), part.bytes, part.next, o, true
}

// keepAhead leaves what was read to the next fetch.
func (s *fetchSession) keepAhead(b *Broker, a *fetchAhead) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ahead != nil {
		a.free(b)
		return
	}
	s.ahead = a
	if s.aheadTimer == nil {
		s.aheadTimer = time.AfterFunc(b.aheadFor, func() { s.dropAhead(b) })
	} else {
		s.aheadTimer.Reset(b.aheadFor)
	}
}

// takeAhead is for the fetch that comes.
func (s *fetchSession) takeAhead() *fetchAhead {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.ahead
	if a != nil {
		s.ahead = nil
		s.aheadTimer.Stop()
	}
	return a
}

// dropAhead frees what nobody has asked for in time.
func (s *fetchSession) dropAhead(b *Broker) {
	if a := s.takeAhead(); a != nil {
		a.free(b)
		s.missAhead()
	}
}

// missAhead notes that what was read was of no use.
func (s *fetchSession) missAhead() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.judgeAhead(0)
}

// judgeAhead decides by its use when to read ahead again. It needs s.mu.
func (s *fetchSession) judgeAhead(hits int) {
	if hits > 0 {
		s.aheadMissed = 0
		return
	}
	s.aheadMissed = min(s.aheadMissed+1, aheadSkips)
	s.aheadSkip = 1 << s.aheadMissed
}
