package server

import (
	"sync"
	"time"

	"github.com/moldau-io/moldau/core/wire"
)

// Request is one request and the place for its answer. It must not be touched after it was answered.
type Request struct {
	wire.Header
	// Body is what follows the header, a slice of the frame.
	Body []byte
	// Conn is where it came from.
	Conn *Conn
	// Received is when the frame was complete, or as much of it as the handler began with.
	Received time.Time
	// Raw says that the frame has no header, see Conn.ReadRaw.
	Raw bool

	busy    time.Duration // see Busy
	frame   []byte
	bodyAt  int  // where Body begins in frame
	early   bool // it is handled while the frame arrives, see EarlyHandler
	charged int64
	budget  *Budget

	// Guarded by Conn.mu.
	handling bool
	ready    bool
	silent   bool
	size     int
	pieces   [][]byte
	one      [1][]byte
	done     func()
	later    func() (pieces [][]byte, done func())
	drop     func()
}

// Busy is the time that the server itself spent with the request: reading a large frame, making an answer that was left for later
// (RespondLater) and writing the answer. The handler's own time is not in it, nor waiting for the peer: reading and writing count for what
// they take at wireRate at most. Config.Answered may ask.
func (r *Request) Busy() time.Duration { return r.busy }

// wireRate is the slowest that bytes move without waiting, in nanoseconds for each byte, and wireCost what a call takes beside.
const (
	wireRate = 4
	wireCost = 100 * time.Microsecond
)

// wireTime is what moving n bytes took of the processors when it took d altogether.
func wireTime(d time.Duration, n int64) time.Duration {
	return min(d, wireCost+time.Duration(n)*wireRate)
}

var requests = sync.Pool{New: func() any { return new(Request) }}

// ReleaseFrame recycles the frame: Body and all slices decoded from it must no longer be used by anyone.
func (r *Request) ReleaseFrame() {
	if r.frame != nil {
		PutBuffer(r.frame)
	}
	r.DetachFrame()
}

// DetachFrame gives the frame's share of the memory budget back but leaves the frame to its holders and the collector.
func (r *Request) DetachFrame() {
	r.frame, r.Body = nil, nil
	if r.budget != nil {
		r.budget.Release(r.charged)
		r.budget, r.charged = nil, 0
	}
}

// Respond answers with one encoded frame. done, if not nil, is called when the bytes are no longer needed, also when
// the connection was lost.
func (r *Request) Respond(frame []byte, done func()) {
	r.one[0] = frame
	r.RespondPieces(r.one[:], done)
}

// RespondPieces answers with a frame in pieces.
func (r *Request) RespondPieces(pieces [][]byte, done func()) {
	r.pieces, r.done = pieces, done
	r.size = 0
	for _, p := range pieces {
		r.size += len(p)
	}
	r.Conn.answered(r)
}

// RespondLater answers with what fn returns when it is this answer's turn to be written. fn runs on a goroutine of the connection and
// may block; so the bytes of at most one such answer exist for each connection. When the connection was lost before, drop is
// called instead, on a goroutine that holds no locks.
func (r *Request) RespondLater(fn func() (pieces [][]byte, done func()), drop func()) {
	r.later, r.drop = fn, drop
	r.Conn.answered(r)
}

// RespondNothing ends a request that has no answer, such as a produce request with acks=0.
func (r *Request) RespondNothing() {
	r.silent = true
	r.Conn.answered(r)
}

// recycle ends the life of an answered request. No lock may be held.
func (r *Request) recycle() {
	if r.done != nil {
		r.done()
	}
	if r.drop != nil {
		r.drop()
	}
	r.DetachFrame()
	*r = Request{}
	requests.Put(r)
}
