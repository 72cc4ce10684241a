package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Handler gives meaning to requests.
type Handler interface {
	// HandleRequest is called on the connection's reader goroutine, in the order of arrival. When it returns, the request
	// must have taken effect as far as later requests of the connection can tell; the answer may be given later, from any goroutine.
	// It must answer exactly once with one of the Respond methods, or close the connection.
	HandleRequest(r *Request)
}

// Config bounds a Server. Zero values take the defaults named.
type Config struct {
	// MaxRequestBytes is socket.request.max.bytes: a larger frame closes its connection. 100 MiB.
	MaxRequestBytes int
	// MemoryBytes bounds the frames held at once: an eighth of it for frames up to 16 KiB, half for those up to 1 MiB, the rest for larger
	// ones. 512 MiB.
	MemoryBytes int64
	// ReceiveBufferBytes and SendBufferBytes are socket.receive.buffer.bytes and socket.send.buffer.bytes: the sockets' buffers. -1 leaves them to the
	// operating system, which lets them grow with what a connection needs; so does 0, but for what is sent to peers on the same machine
	// (localSendBuffer).
	ReceiveBufferBytes, SendBufferBytes int
	// Limits are the first; see Server.SetLimits.
	Limits Limits
	// IdleTimeout is connections.max.idle.ms. 10 minutes.
	IdleTimeout time.Duration
	// FrameTimeout is how long a frame may take from its first byte to its last, plus one second for each 128 KiB. 30 s.
	FrameTimeout time.Duration
	// WriteTimeout is how long a peer may leave an answer untaken. 60 s.
	WriteTimeout time.Duration
	// MaxInFlight bounds the unanswered requests of one connection. 64.
	MaxInFlight int
	// MaxQueuedBytes bounds the encoded, unsent answers of one connection. 1 MiB.
	MaxQueuedBytes int
	// MaxQueuedBytesInAll bounds those of all connections together: above it a connection is read from only when its answers are sent, so that each
	// holds one at most, as each of Apache Kafka's always does. 64 MiB.
	MaxQueuedBytesInAll int64
	// MaxUnauthenticatedBytes is sasl.server.max.receive.size: the largest frame of a peer that has not authenticated. 512 KiB.
	MaxUnauthenticatedBytes int
	// UnauthenticatedMemoryBytes bounds the frames of all such peers at once. 16 MiB.
	UnauthenticatedMemoryBytes int64
	// MaxUnauthenticated bounds the connections that have not authenticated, not finished their handshake or, where neither is asked for, sent
	// no request yet; the oldest is closed for a new one. 10000.
	MaxUnauthenticated int
	// AuthTimeout is how long handshake and authentication may take together. 30 s.
	AuthTimeout time.Duration
	// Admit is asked about each new connection; nil admits all.
	Admit func(listener, host string) Admission
	// Answered is told of each request when its answer was written, and must keep nothing of it; nil tells nobody.
	Answered func(r *Request, written time.Time)
	Logger   *slog.Logger
}

func (c Config) withDefaults() Config {
	set := func(p *int, v int) {
		if *p <= 0 {
			*p = v
		}
	}
	dur := func(p *time.Duration, v time.Duration) {
		if *p <= 0 {
			*p = v
		}
	}
	set(&c.MaxRequestBytes, 100<<20)
	if c.MemoryBytes <= 0 {
		c.MemoryBytes = 512 << 20
	}
	set(&c.MaxUnauthenticatedBytes, 512<<10)
	if c.UnauthenticatedMemoryBytes <= 0 {
		c.UnauthenticatedMemoryBytes = 16 << 20
	}
	set(&c.MaxUnauthenticated, 10_000)
	dur(&c.AuthTimeout, 30*time.Second)
	dur(&c.IdleTimeout, 10*time.Minute)
	dur(&c.FrameTimeout, 30*time.Second)
	dur(&c.WriteTimeout, time.Minute)
	set(&c.MaxInFlight, 64)
	set(&c.MaxQueuedBytes, 1<<20)
	if c.MaxQueuedBytesInAll <= 0 {
		c.MaxQueuedBytesInAll = 64 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// largeFrame is the size above which frames have their own half of the memory budget, so that peers that
// announce huge frames and stall cannot hold up ordinary ones.
const largeFrame = 1 << 20

// Server serves connections of any number of listeners with one Handler.
type Server struct {
	cfg     Config
	handler Handler
	early   EarlyHandler // the handler, when it is one
	// Frames that fit in a read buffer are complete when they are charged, and wait for no others; tiny, small and large are apart, and so
	// are the frames of peers that have not authenticated.
	tiny, small, large       *Budget
	tinyStrangers, strangers *Budget
	arrivals                 arrivals

	ctx    context.Context // ends when the server must stop at once
	cancel context.CancelFunc

	mu     sync.Mutex
	slot   *sync.Cond // a connection has gone, or the limits have changed
	limits Limits
	conns  map[*Conn]struct{}
	perIP  map[string]int
	// perListener counts the connections of listeners that limits are for.
	perListener map[string]int
	bounded     int // connections that limits are for
	leaving     int // those of them that excess has chosen and that are not gone yet
	pending     pending
	draining    bool
	refusing    atomic.Int64 // refused connections that wait to be closed

	nextID atomic.Uint64
	queued atomic.Int64 // encoded bytes in the queues of all connections
	wg     sync.WaitGroup
	stats  Stats
}

// Stats are the server's counters; all are safe to read at any time.
type Stats struct {
	// Connections is the number open now, by no means a counter.
	Connections atomic.Int64
	// Accepted counts all connections ever; Rejected those closed for a limit.
	Accepted, Rejected atomic.Int64
	// BadFrames counts connections closed for bytes that are not a request this server answers.
	BadFrames atomic.Int64
	// Shed counts connections closed because their frames came slowly while others waited for memory.
	Shed atomic.Int64
	// FailedHandshakes counts TLS handshakes that failed or were not finished in time.
	FailedHandshakes atomic.Int64
	// BytesIn and BytesOut count frames read and written, with their lengths.
	BytesIn, BytesOut atomic.Int64
}

// New makes a server.
func New(cfg Config, h Handler) *Server {
	cfg = cfg.withDefaults()
	s := &Server{
		cfg: cfg, handler: h,
		tiny: NewBudget(cfg.MemoryBytes / 8), small: NewBudget(cfg.MemoryBytes / 2), large: NewBudget(cfg.MemoryBytes / 8 * 3),
		tinyStrangers: NewBudget(cfg.UnauthenticatedMemoryBytes / 4), strangers: NewBudget(cfg.UnauthenticatedMemoryBytes / 4 * 3),
		arrivals: arrivals{conns: map[*Conn]time.Time{}},
		conns:    map[*Conn]struct{}{}, perIP: map[string]int{}, perListener: map[string]int{}, pending: newPending(), limits: cfg.Limits,
	}
	s.early, _ = h.(EarlyHandler)
	s.slot = sync.NewCond(&s.mu)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Stats returns the server's counters.
func (s *Server) Stats() *Stats { return &s.stats }

// FrameBytes is the memory that request frames hold now.
func (s *Server) FrameBytes() int64 {
	return s.tiny.Used() + s.small.Used() + s.large.Used() + s.tinyStrangers.Used() + s.strangers.Used()
}

// budgetFor is the budget that a frame is charged to.
func (s *Server) budgetFor(size int, authenticated bool) *Budget {
	switch {
	case !authenticated && size <= readBuffer:
		return s.tinyStrangers
	case !authenticated:
		return s.strangers
	case size <= readBuffer:
		return s.tiny
	case size <= largeFrame:
		return s.small
	}
	return s.large
}

// Serve is ServeListener for a listener without TLS and authentication.
func (s *Server) Serve(ctx context.Context, l net.Listener, name string) error {
	return s.ServeListener(ctx, l, ListenerOptions{Name: name})
}

// ServeListener accepts connections on l, which is the Kafka listener that o describes, until ctx ends or the listener fails.
// It closes l, and returns nil when ctx ended. Connections live on until Shutdown.
func (s *Server) ServeListener(ctx context.Context, l net.Listener, o ListenerOptions) error {
	stop := context.AfterFunc(ctx, func() {
		_ = l.Close()
		s.mu.Lock()
		s.slot.Broadcast()
		s.mu.Unlock()
	})
	defer stop()
	defer func() { _ = l.Close() }()
	delay := time.Duration(0)
	for {
		nc, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Out of file descriptors and the like: the listener itself is well, so wait and go on.
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.cfg.Logger.Warn("accept failed", "listener", o.Name, "error", err, "retry_in", delay)
			select {
			case <-time.After(delay):
				continue
			case <-ctx.Done():
				return nil
			}
		}
		delay = 0
		if !o.Unlimited && !s.waitSlot(ctx, o.Name) {
			_ = nc.Close()
			return nil
		}
		if s.admit(ctx, nc, o) {
			s.start(nc, o)
		}
	}
}

// waitSlot waits until another connection is allowed on a listener. The one that waits has been accepted, as in Kafka; those behind it have not.
func (s *Server) waitSlot(ctx context.Context, listener string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.full(listener) && !s.draining && ctx.Err() == nil {
		s.slot.Wait()
	}
	return !s.draining && ctx.Err() == nil
}

func (s *Server) start(nc net.Conn, o ListenerOptions) {
	c := newConn(s, nc, o)
	s.mu.Lock()
	reject := s.draining
	if most, ok := s.limits.of(c.host); ok && !o.Unlimited && s.perIP[c.host] >= most {
		reject = true
	}
	if reject {
		s.mu.Unlock()
		s.stats.Rejected.Add(1)
		s.cfg.Logger.Debug("connection refused: too many from its address", "peer", c.remote, "listener", o.Name)
		_ = nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.perIP[c.host]++
	s.perListener[o.Name]++
	c.heard.Store(time.Now().UnixNano())
	s.wg.Add(1)
	var crowded *Conn
	var excess []*Conn
	if c.bounded = !o.Unlimited; c.bounded {
		s.bounded++
		crowded = s.pending.add(c, s.cfg.MaxUnauthenticated)
		if o.Name == s.limits.Spared { // the others have waited for their places
			excess = s.excess()
		}
	}
	s.mu.Unlock()
	closeExcess(excess)
	if crowded != nil {
		crowded.Close(errCrowded)
	}
	s.setBuffers(nc)
	s.stats.Accepted.Add(1)
	s.stats.Connections.Add(1)
	go func() {
		defer s.wg.Done()
		c.run()
		s.stats.Connections.Add(-1)
		s.mu.Lock()
		delete(s.conns, c)
		s.pending.remove(c)
		if s.perIP[c.host]--; s.perIP[c.host] <= 0 {
			delete(s.perIP, c.host)
		}
		s.perListener[o.Name]--
		if c.bounded {
			s.bounded--
		}
		if c.leaves {
			s.leaving--
		}
		s.slot.Broadcast() // those who wait are of different listeners
		s.mu.Unlock()
	}()
}

// setBuffers gives a connection's socket the buffers that are configured. An error means that the connection is gone, which its first read says.
func (s *Server) setBuffers(nc net.Conn) {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	if n := s.cfg.ReceiveBufferBytes; n > 0 {
		_ = tc.SetReadBuffer(n)
	}
	switch n := s.cfg.SendBufferBytes; {
	case n > 0:
		_ = tc.SetWriteBuffer(n)
	case n == 0 && sameMachine(tc.LocalAddr(), tc.RemoteAddr()):
		_ = tc.SetWriteBuffer(localSendBuffer)
	}
}

// localSendBuffer is the send buffer of connections within a machine, where nothing is on its way for long: what a larger one
// holds has left the processor's cache by the time the peer copies it out. The operating system may bound it to less (net.core.wmem_max),
// which serves as well: docs/benchmarks.md has the figures.
const localSendBuffer = 512 << 10

// sameMachine says whether both ends of a connection are here.
func sameMachine(local, remote net.Addr) bool {
	l, lok := local.(*net.TCPAddr)
	r, rok := remote.(*net.TCPAddr)
	return lok && rok && (r.IP.IsLoopback() || r.IP.Equal(l.IP))
}

// Shutdown stops reading requests, lets those that were read be answered, and closes all connections; when ctx ends
// first it closes them at once. The listeners must have been stopped by their own contexts. The handler should answer
// what is waiting (long polls) early.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.slot.Broadcast()
	s.mu.Unlock()
	for _, c := range conns {
		c.drain()
	}
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		s.cancel()
		return nil
	case <-ctx.Done():
	}
	s.cancel()
	for _, c := range conns {
		c.Close(errors.New("server is shutting down"))
	}
	<-done
	return ctx.Err()
}
