package server

import (
	"errors"
	"fmt"
	"time"

	"github.com/moldau-io/moldau/core/wire"
)

// A request whose frame is large can be handled while the frame is still arriving, if its handler wants that: each part of it is then used
// right after it was read, while it is in the processor's caches, and not when the whole of it has pushed it out of them again. For a produce
// request of 16 MiB that is a fifth of the broker's time.

// EarlyHandler is a Handler that can begin with requests that are not complete.
type EarlyHandler interface {
	Handler
	// Early says that HandleRequest may be called for a request of this header while its frame is being read. It then asks Await for what it looks
	// at. What it has not asked for when it returns is skipped.
	Early(h wire.Header) bool
}

// ErrIncomplete says that the connection ended in the middle of a frame.
var ErrIncomplete = errors.New("the rest of a frame does not come")

const (
	// earlyFrame is the size from which on a frame is handled early: smaller ones stay in the caches.
	earlyFrame = 512 << 10
	// earlyRead is the least that is read at once, as far as there is that much.
	earlyRead = 64 << 10
)

// arrival is a frame that is being read while its request is handled. It belongs to the reader goroutine.
type arrival struct {
	left  int           // bytes that were not read yet; 0 when there is no such frame
	err   error         // why they will not be
	spent time.Duration // in Await, which FrameTimeout bounds
}

// early begins to read a large frame and says whether its request is to be handled before the rest is there.
func (c *Conn) early(r *Request) (bool, error) {
	if c.s.early == nil || c.raw || len(r.frame) < earlyFrame {
		return false, nil
	}
	head, err := c.br.Peek(min(c.br.Buffered(), len(r.frame)))
	if err != nil {
		return false, err // it is there
	}
	hdr, body, err := wire.ParseHeader(head)
	if err != nil || body == nil || !c.s.early.Early(hdr) {
		return false, nil //nolint:nilerr // perhaps the header goes on behind the buffer: it is parsed again when all is there
	}
	at := len(head) - len(body)
	c.coming = arrival{left: len(r.frame)}
	r.Header, r.Body, r.bodyAt, r.early = hdr, r.frame[at:], at, true
	r.Received = time.Now()
	return true, nil
}

// Await waits until the first n bytes of Body are there. It is for an EarlyHandler, on the goroutine that HandleRequest was called on and
// until that returns. With an error, ErrIncomplete, the request must be ended without an answer, by RespondNothing; the connection ends
// as soon as what came before is answered.
func (r *Request) Await(n int) error {
	if r.Has(n) {
		return nil
	}
	err := r.Conn.await(r, n)
	if err != nil {
		err = fmt.Errorf("%w: read frame of %d bytes: %w", ErrIncomplete, len(r.frame), err)
		r.Conn.coming.err = err
	}
	return err
}

func (c *Conn) await(r *Request, n int) error {
	if err := c.deadline(max(c.s.frameTimeout(len(r.frame))-c.coming.spent, 0)); err != nil {
		return err
	}
	first := len(r.frame) - c.coming.left
	upTo := min(max(r.bodyAt+n, first+earlyRead), len(r.frame))
	start := time.Now()
	c.arrives(true)
	defer c.arrives(false)
	for at := first; at < upTo; at = len(r.frame) - c.coming.left {
		if c.br.Buffered() == 0 {
			c.flushReady()
		}
		k, err := c.br.Read(r.frame[at:upTo])
		c.coming.left -= k
		c.arrived.Store(int64(at + k - first))
		if err != nil && at+k < upTo {
			return noEOF(err)
		}
	}
	now := time.Now()
	c.coming.spent += now.Sub(start)
	if c.coming.left == 0 {
		c.s.stats.BytesIn.Add(int64(len(r.frame)) + 4)
		r.Received, r.busy = now, wireTime(c.coming.spent, int64(len(r.frame)))
	}
	return nil
}

// Has says that Await(n) would not wait.
func (r *Request) Has(n int) bool {
	return !r.early || r.bodyAt+min(n, len(r.Body)) <= len(r.frame)-r.Conn.coming.left
}

// Complete says whether all of the frame is there.
func (r *Request) Complete() bool { return r.Has(len(r.Body)) }

// skip reads what the handler did not look at.
func (c *Conn) skip() error {
	n, err := c.coming.left, c.coming.err
	c.coming = arrival{}
	if n == 0 || err != nil {
		return err
	}
	if _, err := c.br.Discard(n); err != nil {
		return fmt.Errorf("skip the rest of a frame: %w", noEOF(err))
	}
	return nil
}
