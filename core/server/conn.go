package server

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau-io/moldau/core/wire"
)

// readBuffer is the size of a connection's read buffer, and how much of a frame is read before it is charged to the budget.
const readBuffer = 16 << 10

// Conn is one client connection.
type Conn struct {
	s        *Server
	nc       net.Conn
	br       *bufio.Reader
	id       uint64
	remote   string
	host     string
	listener string
	wake     chan struct{} // to the writer goroutine: the head of the queue may be ready

	mu       sync.Mutex
	room     *sync.Cond // queue has shrunk, or the connection ends
	queue    []*Request // in order of arrival; answered ones leave from the front
	queued   int        // encoded bytes in queue
	writing  bool       // one goroutine at a time writes
	draining bool
	closed   bool
	cause    error
	scratch  net.Buffers // of write
	out      net.Buffers // what is left of scratch
	batch    []*Request
	wrote    time.Duration // what the last write cost, for Request.Busy; of the goroutine that writes
	wroteAt  time.Time     // when it was over
	measured time.Time     // when rtt was; these three are of the goroutine that writes
	rtt      time.Duration
	rttKnown bool

	tlsConfig     *tls.Config          // of the listener, nil without TLS
	tlsState      *tls.ConnectionState // after the handshake
	authenticated bool                 // of the reader goroutine
	authBy        time.Time            // when an unauthenticated connection ends
	arrived       atomic.Int64         // bytes of the frame that is being read
	raw           bool                 // of the reader goroutine: frames have no header
	known         bool                 // of the reader goroutine: it has sent a request
	mutedUntil    atomic.Int64         // unix nanoseconds, 0 for never
	heard         atomic.Int64         // unix nanoseconds, when something came from the peer last or went to it
	bounded       bool                 // it is held to Server.limits
	leaves        bool                 // it was closed for others; Server.mu guards it
	joined        []byte               // of writeTLS
	coming        arrival              // of the reader goroutine

	// Value is the handler's own state for this connection. Only HandleRequest may use it.
	Value any
}

func newConn(s *Server, nc net.Conn, o ListenerOptions) *Conn {
	c := &Conn{
		s: s, nc: nc, listener: o.Name, id: s.nextID.Add(1), wake: make(chan struct{}, 1),
		tlsConfig: o.TLS, authenticated: !o.Authenticate,
	}
	c.room = sync.NewCond(&c.mu)
	c.remote = nc.RemoteAddr().String()
	c.host = hostOf(c.remote)
	if c.pending() {
		c.authBy = time.Now().Add(s.cfg.AuthTimeout)
	}
	return c
}

// pending says whether the peer has yet to authenticate or to finish its handshake.
func (c *Conn) pending() bool { return !c.authenticated || c.tlsConfig != nil && c.tlsState == nil }

// ID is unique among the connections of this server.
func (c *Conn) ID() uint64 { return c.id }

// RemoteHost is the peer's address without its port.
func (c *Conn) RemoteHost() string { return c.host }

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() string { return c.remote }

// LocalAddr is the address the peer connected to.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// Listener is the name of the listener that accepted it.
func (c *Conn) Listener() string { return c.listener }

// Close ends the connection at once; answers that were not written are dropped. The first cause is logged.
func (c *Conn) Close(cause error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed, c.cause = true, cause
	c.room.Broadcast()
	nc := c.nc
	c.mu.Unlock()
	_ = nc.Close()
	c.poke()
}

// drain makes the reader stop at once; what was read is still answered.
func (c *Conn) drain() {
	c.mu.Lock()
	c.draining = true
	c.room.Broadcast()
	nc := c.nc
	c.mu.Unlock()
	_ = nc.SetReadDeadline(time.Unix(1, 0))
}

func (c *Conn) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run serves the connection until it ends.
func (c *Conn) run() {
	if c.tlsConfig != nil {
		if err := c.handshake(c.tlsConfig); err != nil {
			c.Close(err)
			c.s.cfg.Logger.Info("connection failed before authentication", "peer", c.remote, "listener", c.listener, "error", err)
			return
		}
		if c.authenticated {
			c.s.mu.Lock()
			c.s.pending.remove(c)
			c.s.mu.Unlock()
		}
	}
	c.br = bufio.NewReaderSize(c.nc, readBuffer)
	var writer sync.WaitGroup
	writer.Add(1)
	go func() { defer writer.Done(); c.writeLoop() }()
	err := c.readLoop()
	// The reader has stopped: what it read may still be answered, unless the connection is broken.
	c.mu.Lock()
	if !c.closed && c.draining {
		for len(c.queue) > 0 && !c.closed {
			c.room.Wait()
		}
	}
	c.mu.Unlock()
	c.Close(err)
	writer.Wait()
	c.mu.Lock()
	cause, rest := c.cause, c.queue
	c.s.queued.Add(-int64(c.queued))
	c.queue, c.queued = nil, 0
	c.mu.Unlock()
	for _, r := range rest {
		if r.ready { // the others are still with the handler: answered will see that the connection is closed
			r.recycle()
		}
	}
	if cause != nil {
		c.s.cfg.Logger.Debug("connection closed", "peer", c.remote, "listener", c.listener, "cause", cause)
	}
}

// errIdle ends a connection that sent nothing for IdleTimeout.
var errIdle = errors.New("idle for connections.max.idle.ms")

func (c *Conn) readLoop() error {
	for {
		c.waitUnmuted()
		r, err := c.readRequest()
		if err != nil {
			// What came before a broken frame in the same read may be answered and not written yet. Shutdown waits for it.
			c.flushReady()
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if !c.known {
			c.introduced()
		}
		c.waitUnmuted() // an answer may have throttled it meanwhile
		c.mu.Lock()
		c.queue = append(c.queue, r)
		r.handling = true
		c.mu.Unlock()

		c.s.handler.HandleRequest(r)

		err = c.skip()
		c.mu.Lock()
		r.handling = false // r is recycled only by a writer, and none has seen it ready with handling set
		for err == nil && !c.closed && !c.draining && c.owes() {
			if c.headReady() && !c.writing {
				c.flush()
				continue
			}
			c.room.Wait()
		}
		stop := c.closed || c.draining
		cause := c.cause
		c.mu.Unlock()
		switch {
		case err != nil: // as when a frame that nobody handles early is broken
			c.flushReady()
			return err
		case stop:
			c.flushReady()
			return cause
		}
	}
}

// owes says whether the peer has so many answers to take that no more is read from it. It needs mu.
func (c *Conn) owes() bool {
	return len(c.queue) >= c.s.cfg.MaxInFlight || c.queued > c.s.cfg.MaxQueuedBytes ||
		c.queued > 0 && c.s.queued.Load() > c.s.cfg.MaxQueuedBytesInAll
}

// readRequest reads the next frame. Before it would block it writes what is ready to be written.
func (c *Conn) readRequest() (*Request, error) {
	if c.br.Buffered() < 4 {
		c.flushReady()
		if err := c.deadline(c.s.cfg.IdleTimeout); err != nil {
			return nil, err
		}
	}
	head, err := c.br.Peek(4)
	if err != nil {
		if len(head) == 0 && errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if !c.authenticated {
				return nil, errAuthTimeout
			}
			return nil, errIdle
		}
		return nil, fmt.Errorf("read frame length: %w", err)
	}
	size := int(int32(binary.BigEndian.Uint32(head)))
	if least, most := c.frameBounds(); size < least || size > most {
		c.s.stats.BadFrames.Add(1)
		key := "socket.request.max.bytes"
		if !c.authenticated {
			key = "sasl.server.max.receive.size"
		}
		return nil, fmt.Errorf("frame of %d bytes is outside of %d to %d (%s)", size, least, most, key)
	}
	if _, err := c.br.Discard(4); err != nil {
		return nil, fmt.Errorf("read frame length: %w", err)
	}
	r := requests.Get().(*Request)
	r.Conn = c
	if c.br.Buffered() < size {
		c.flushReady()
		if err := c.frameDeadline(c.s.frameTimeout(size)); err != nil {
			return nil, err
		}
	}
	if err := c.readFrame(r, size); err != nil {
		r.ReleaseFrame()
		return nil, err
	}
	if r.early {
		return r, nil
	}
	c.s.stats.BytesIn.Add(int64(size) + 4)
	r.Received = time.Now()
	c.heard.Store(r.Received.UnixNano())
	if c.raw {
		r.Header, r.Body, r.Raw = wire.Header{Key: -1}, r.frame, true
		return r, nil
	}
	hdr, body, err := wire.ParseHeader(r.frame)
	if err != nil {
		c.s.stats.BadFrames.Add(1)
		c.s.cfg.Logger.Info("request refused, closing the connection", "peer", c.remote, "listener", c.listener, "error", err)
		r.ReleaseFrame()
		return nil, err
	}
	r.Header, r.Body = hdr, body
	return r, nil
}

// frameBounds are the smallest and the largest frame that is read now.
func (c *Conn) frameBounds() (least, most int) {
	least, most = wire.HeaderSize, c.s.cfg.MaxRequestBytes
	if c.raw {
		least = 0
	}
	if !c.authenticated {
		most = min(most, c.s.cfg.MaxUnauthenticatedBytes)
	}
	return least, most
}

// readFrame fills r.frame with size bytes. A frame that fits in the read buffer is not charged beyond its own size; a larger one is charged
// once as much has arrived as the read buffer holds.
func (c *Conn) readFrame(r *Request, size int) error {
	budget := c.s.budgetFor(size, c.authenticated)
	if first := min(size, readBuffer); c.br.Buffered() < first {
		if _, err := c.br.Peek(first); err != nil {
			return fmt.Errorf("read frame of %d bytes: %w", size, noEOF(err))
		}
	}
	if !budget.TryAcquire(int64(size)) {
		c.flushReady()
		if err := c.s.wait(budget, int64(size)); err != nil {
			return fmt.Errorf("wait for request memory: %w", err)
		}
		// The peer could not be read from meanwhile: its time begins anew.
		if err := c.frameDeadline(c.s.frameTimeout(size)); err != nil {
			budget.Release(int64(size))
			return err
		}
	}
	r.budget, r.charged = budget, int64(size)
	if early, err := c.early(r, size); early || err != nil {
		return err
	}
	r.frame = GetBuffer(size)[:size]
	if size <= readBuffer { // it has arrived
		if err := c.fill(r.frame); err != nil {
			return fmt.Errorf("read frame of %d bytes: %w", size, noEOF(err))
		}
		return nil
	}
	start := time.Now()
	if err := c.fill(r.frame); err != nil {
		return fmt.Errorf("read frame of %d bytes: %w", size, noEOF(err))
	}
	r.busy = wireTime(time.Since(start), int64(size))
	return nil
}

// frameTimeout is how long a frame of so many bytes may take.
func (s *Server) frameTimeout(size int) time.Duration {
	return s.cfg.FrameTimeout + time.Duration(size>>17)*time.Second
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// deadline sets the read deadline unless the connection is draining, whose deadline in the past must stay.
func (c *Conn) deadline(d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining || c.closed {
		return fmt.Errorf("connection ends: %w", net.ErrClosed)
	}
	t := time.Now().Add(d)
	if !c.authenticated && t.After(c.authBy) {
		t = c.authBy
	}
	return c.nc.SetReadDeadline(t)
}

// frameDeadline is deadline for a frame that has begun to arrive.
func (c *Conn) frameDeadline(d time.Duration) error {
	c.heard.Store(time.Now().UnixNano())
	return c.deadline(d)
}

// answered marks r as ready to be written, and sees to it that somebody writes it.
func (c *Conn) answered(r *Request) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		if r.done != nil {
			r.done()
		}
		if r.drop != nil {
			go r.drop() // the caller may hold locks that drop wants
		}
		r.DetachFrame()
		return
	}
	r.ready = true
	c.queued += r.size
	c.s.queued.Add(int64(r.size))
	// While the handler runs, its reader goroutine writes afterwards; while somebody writes, it looks again before it stops.
	call := !r.handling && !c.writing && c.queue[0] == r
	c.mu.Unlock()
	if call {
		c.poke()
	}
}

// headReady says whether there is something to write. It needs mu.
func (c *Conn) headReady() bool {
	return len(c.queue) > 0 && c.queue[0].ready && !c.queue[0].handling
}

func (c *Conn) flushReady() {
	c.mu.Lock()
	if !c.writing && c.headReady() && !c.closed {
		c.flush()
	}
	c.mu.Unlock()
}

func (c *Conn) writeLoop() {
	for range c.wake {
		c.mu.Lock()
		if c.closed {
			for c.writing { // the reader may be inside of flush
				c.room.Wait()
			}
			c.mu.Unlock()
			return
		}
		if !c.writing && c.headReady() {
			c.flush()
		}
		c.mu.Unlock()
	}
}

// maxBatch bounds the bytes of one vectored write that are gathered from several answers.
const maxBatch = 256 << 10

// flush writes all answers that are ready at the front of the queue. It is called with mu held and writing unset, and returns so;
// it gives mu up while it writes.
func (c *Conn) flush() {
	c.writing = true
	for c.headReady() && !c.closed {
		batch := c.batch[:0]
		bytes := 0
		for _, r := range c.queue {
			if !r.ready || r.handling || bytes >= maxBatch || (r.later != nil && len(batch) > 0) {
				break
			}
			batch = append(batch, r)
			bytes += r.size
			if r.later != nil {
				break
			}
		}
		c.mu.Unlock()
		err := c.write(batch)
		n := len(batch)
		freed := 0
		for _, r := range batch {
			freed += r.size
		}
		c.mu.Lock()
		c.queued -= freed
		c.s.queued.Add(-int64(freed))
		rest := copy(c.queue, c.queue[n:])
		clear(c.queue[rest:])
		c.queue = c.queue[:rest]
		c.mu.Unlock()
		if tell := c.s.cfg.Answered; tell != nil && err == nil {
			for _, r := range batch {
				r.busy += c.wrote / time.Duration(n)
				tell(r, c.wroteAt)
			}
		}
		for i, r := range batch {
			r.recycle()
			batch[i] = nil
		}
		c.batch = batch[:0]
		if err != nil {
			c.Close(err)
		}
		c.mu.Lock()
		c.room.Broadcast()
	}
	c.writing = false
	c.room.Broadcast()
}

// write sends the answers of batch in one vectored write.
func (c *Conn) write(batch []*Request) error {
	bufs := c.scratch[:0]
	total := int64(0)
	for _, r := range batch {
		if r.later != nil {
			start := time.Now()
			r.pieces, r.done = r.later()
			r.busy += time.Since(start)
			r.drop = nil
		}
		if r.silent {
			continue
		}
		for _, p := range r.pieces {
			if len(p) > 0 {
				bufs = append(bufs, p)
				total += int64(len(p))
			}
		}
	}
	c.scratch = bufs // keep the capacity: WriteTo moves its own header along
	start := time.Now()
	c.wrote, c.wroteAt = 0, start
	if len(bufs) == 0 {
		return nil
	}
	c.heard.Store(start.UnixNano()) // before the peer can see it
	limit := c.s.cfg.WriteTimeout + time.Duration(total>>17)*time.Second
	if err := c.nc.SetWriteDeadline(start.Add(limit)); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	c.s.stats.BytesOut.Add(total)
	c.out = bufs
	var err error
	if c.tlsState != nil {
		err = c.writeTLS(bufs)
	} else {
		_, err = c.out.WriteTo(c.nc)
	}
	clear(c.scratch)
	if err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	c.wroteAt = time.Now()
	c.wrote = wireTime(c.wroteAt.Sub(start), total)
	return nil
}
