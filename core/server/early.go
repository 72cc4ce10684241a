package server

import (
	"errors"
	"fmt"
	"time"

	"github.com/moldau-io/moldau/core/wire"
)

// A request whose frame is large can be handled while the frame is still arriving, if its handler wants that: each part of it is then used
// right after it was read, while it is in the processor's caches, and the next one is read to the same place. A produce request of 16 MiB that was
// read as a whole would have pushed its beginning out of them again, and have needed 16 MiB.

// EarlyHandler is a Handler that can begin with requests that are not complete.
type EarlyHandler interface {
	Handler
	// Early says that HandleRequest may be called for a request of this header while its frame is being read. It then asks Part for what it looks
	// at, or Whole. What it has not asked for when it returns is skipped.
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

// arrival is a frame that is being read while its request is handled. It belongs to the reader goroutine. Request.frame holds what of it was read
// and not given up: the bytes from at on, have of them.
type arrival struct {
	size  int // of the frame
	at    int
	have  int
	err   error         // why the rest will not be read
	spent time.Duration // waiting for the peer, which FrameTimeout bounds
}

// left is what was not read yet, 0 when there is no such frame.
func (a *arrival) left() int { return a.size - a.at - a.have }

// early begins with a frame of size bytes and says whether its request is to be handled before the rest is there.
func (c *Conn) early(r *Request, size int) (bool, error) {
	if c.s.early == nil || c.raw || size < earlyFrame {
		return false, nil
	}
	head, err := c.br.Peek(min(c.br.Buffered(), size))
	if err != nil {
		return false, err // it is there
	}
	hdr, body, err := wire.ParseHeader(head)
	if err != nil || body == nil || !c.s.early.Early(hdr) {
		return false, nil //nolint:nilerr // perhaps the header goes on behind the buffer: it is parsed again when all is there
	}
	r.Header, r.bodyAt, r.early = hdr, len(head)-len(body), true
	r.Received = time.Now()
	r.frame = GetBuffer(earlyRead)
	c.coming = arrival{size: size, at: r.bodyAt}
	_, err = c.br.Discard(r.bodyAt)
	return true, err
}

// BodySize is the length of the body, whether it is there or not.
func (r *Request) BodySize() int {
	if r.early {
		return r.Conn.coming.size - r.bodyAt
	}
	return len(r.Body)
}

// Complete says whether all of the body is there, in Body. Otherwise it is to be had by Part or Whole.
func (r *Request) Complete() bool { return !r.early }

// Part returns the bytes of the body between two places as soon as they are there. What comes before the first of them is given up, and so is what
// Part returned before: its memory is used again. The first is at most the last of an earlier call. Part is for an EarlyHandler whose request is not
// complete, on the goroutine that HandleRequest was called on and until that returns. With an error, ErrIncomplete, the request must be ended
// without an answer, by RespondNothing; the connection ends as soon as what came before is answered.
func (r *Request) Part(from, to int) ([]byte, error) {
	a := &r.Conn.coming
	from, to = from+r.bodyAt, to+r.bodyAt
	if from < a.at || from > a.at+a.have || to < from || to > a.size {
		panic(fmt.Sprintf("server: bytes %d to %d of a frame of %d of which %d to %d are here", from, to, a.size, a.at, a.at+a.have))
	}
	if to > a.at+a.have {
		if err := r.Conn.await(r, from, to); err != nil {
			a.err = fmt.Errorf("%w: read frame of %d bytes: %w", ErrIncomplete, a.size, err)
			return nil, a.err
		}
	}
	return r.frame[:a.have][from-a.at : to-a.at : to-a.at], nil
}

// There says that Part would not wait for bytes up to this place.
func (r *Request) There(to int) bool { return r.bodyAt+to <= r.Conn.coming.at+r.Conn.coming.have }

// Whole waits until all of the body is there, in Body; the request is complete then. It is called before Part gave anything up, with its rules.
func (r *Request) Whole() error {
	body, err := r.Part(0, r.BodySize())
	if err == nil {
		r.Body, r.early = body, false
	}
	return err
}

// await reads up to place to of the frame at least, and gives up what is before from.
func (c *Conn) await(r *Request, from, to int) error {
	a := &c.coming
	if err := c.frameDeadline(max(c.s.frameTimeout(a.size)-a.spent, 0)); err != nil {
		return err
	}
	kept := r.frame[:a.have][from-a.at:]
	if to-from > cap(r.frame) {
		larger := GetBuffer(to - from)
		copy(larger[:len(kept)], kept)
		PutBuffer(r.frame)
		r.frame = larger
	} else {
		copy(r.frame[:len(kept)], kept)
	}
	a.at, a.have = from, len(kept)
	want := min(max(to-from, a.have+earlyRead), cap(r.frame), a.size-from)
	r.frame = r.frame[:want]
	start := time.Now()
	c.arrives(true)
	defer c.arrives(false)
	for first := a.have; a.have < want; {
		if c.br.Buffered() == 0 {
			c.flushReady()
		}
		k, err := c.br.Read(r.frame[a.have:])
		a.have += k
		c.arrived.Store(int64(a.have - first))
		if err != nil && a.have < want {
			return noEOF(err)
		}
	}
	now := time.Now()
	a.spent += now.Sub(start)
	if a.left() == 0 {
		c.s.stats.BytesIn.Add(int64(a.size) + 4)
		r.Received, r.busy = now, wireTime(a.spent, int64(a.size))
	}
	return nil
}

// skip reads what the handler did not look at.
func (c *Conn) skip() error {
	n, err := c.coming.left(), c.coming.err
	c.coming = arrival{}
	if n == 0 || err != nil {
		return err
	}
	if _, err := c.br.Discard(n); err != nil {
		return fmt.Errorf("skip the rest of a frame: %w", noEOF(err))
	}
	return nil
}
