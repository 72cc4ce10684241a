package server

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// MemoryListener is a listener without a network: its Dial connects to it from the same process. It lets the connect
// and registry roles be ordinary Kafka clients of the broker beside them (kgo.Dialer), without sockets.
type MemoryListener struct {
	addr   memoryAddr
	accept chan net.Conn
	once   sync.Once
	closed chan struct{}
}

type memoryAddr string

func (a memoryAddr) Network() string { return "memory" }
func (a memoryAddr) String() string  { return string(a) }

// NewMemoryListener makes a listener with the given address, which is only a name ("memory:9092").
func NewMemoryListener(addr string) *MemoryListener {
	return &MemoryListener{addr: memoryAddr(addr), accept: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *MemoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *MemoryListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *MemoryListener) Addr() net.Addr { return l.addr }

// Dial connects to the listener whatever network and address are asked for; it fits kgo.Dialer.
func (l *MemoryListener) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := newHalf(), newHalf()
	client := &memoryConn{in: a, out: b, local: "memory", remote: l.addr}
	srv := &memoryConn{in: b, out: a, local: l.addr, remote: "memory"}
	select {
	case l.accept <- srv:
		return client, nil
	case <-l.closed:
		return nil, fmt.Errorf("dial %s: %w", l.addr, net.ErrClosed)
	case <-ctx.Done():
		return nil, fmt.Errorf("dial %s: %w", l.addr, ctx.Err())
	}
}

// halfSize is how many bytes one direction holds before a writer waits.
const halfSize = 128 << 10

// half is one direction: a bounded ring of bytes.
type half struct {
	mu            sync.Mutex
	cond          *sync.Cond
	ring          []byte // allocated at the first write, grown to halfSize
	start, n      int
	readClosed    bool // by the reader's side
	writeClosed   bool // by the writer's side
	readDeadline  limit
	writeDeadline limit
}

// limit is a deadline that wakes the waiters of a half.
type limit struct {
	timer  *time.Timer
	passed bool
	gen    int
}

func newHalf() *half {
	h := &half{}
	h.cond = sync.NewCond(&h.mu)
	return h
}

// set arms l for time t. It needs mu.
func (h *half) set(l *limit, t time.Time) {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	l.gen++
	l.passed = false
	if t.IsZero() {
		return
	}
	d := time.Until(t)
	if d <= 0 {
		l.passed = true
		h.cond.Broadcast()
		return
	}
	gen := l.gen
	l.timer = time.AfterFunc(d, func() {
		h.mu.Lock()
		if l.gen == gen {
			l.passed = true
			h.cond.Broadcast()
		}
		h.mu.Unlock()
	})
}

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.readClosed:
			return 0, net.ErrClosed
		case h.readDeadline.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case h.n > 0:
			k := copy(p, h.ring[h.start:min(h.start+h.n, len(h.ring))])
			if k < len(p) && k < h.n {
				k += copy(p[k:], h.ring[:h.n-k])
			}
			h.start = (h.start + k) % len(h.ring)
			h.n -= k
			h.cond.Broadcast()
			return k, nil
		case h.writeClosed:
			return 0, io.EOF
		}
		h.cond.Wait()
	}
}

func (h *half) write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	done := 0
	for {
		switch {
		case h.writeClosed:
			return done, net.ErrClosed
		case h.readClosed:
			return done, io.ErrClosedPipe
		case h.writeDeadline.passed:
			return done, os.ErrDeadlineExceeded
		case done == len(p):
			return done, nil
		}
		h.grow(h.n + len(p) - done)
		if free := len(h.ring) - h.n; free > 0 {
			end := (h.start + h.n) % len(h.ring)
			k := copy(h.ring[end:min(end+free, len(h.ring))], p[done:])
			h.n += k
			done += k
			h.cond.Broadcast()
			continue
		}
		h.cond.Wait()
	}
}

// grow makes the ring large enough for want bytes, up to halfSize.
func (h *half) grow(want int) {
	size := max(len(h.ring), 4<<10)
	for size < want && size < halfSize {
		size *= 2
	}
	if size <= len(h.ring) {
		return
	}
	ring := make([]byte, size)
	k := copy(ring, h.ring[h.start:min(h.start+h.n, len(h.ring))])
	copy(ring[k:], h.ring[:h.n-k])
	h.ring, h.start = ring, 0
}

// memoryConn is one end of an in-memory connection.
type memoryConn struct {
	in, out       *half
	local, remote memoryAddr
}

func (c *memoryConn) Read(p []byte) (int, error)  { return c.in.read(p) }
func (c *memoryConn) Write(p []byte) (int, error) { return c.out.write(p) }
func (c *memoryConn) LocalAddr() net.Addr         { return c.local }
func (c *memoryConn) RemoteAddr() net.Addr        { return c.remote }

// Close ends both directions; the peer may still read what was written.
func (c *memoryConn) Close() error {
	c.in.mu.Lock()
	c.in.readClosed = true
	c.in.set(&c.in.readDeadline, time.Time{})
	c.in.cond.Broadcast()
	c.in.mu.Unlock()
	c.out.mu.Lock()
	c.out.writeClosed = true
	c.out.set(&c.out.writeDeadline, time.Time{})
	c.out.cond.Broadcast()
	c.out.mu.Unlock()
	return nil
}

func (c *memoryConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	c.in.set(&c.in.readDeadline, t)
	c.in.mu.Unlock()
	return nil
}

func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.out.mu.Lock()
	c.out.set(&c.out.writeDeadline, t)
	c.out.mu.Unlock()
	return nil
}
