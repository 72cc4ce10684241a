package server

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// Before a peer has proved who it is, it gets little: small frames from a budget of its own, a deadline for the whole
// of the handshake and authentication, and a place among MaxUnauthenticated, of whom the oldest is closed for a newcomer.
// So peers that trickle, announce large frames or never finish their handshakes take nothing from those who did.

// ListenerOptions say how the connections of a listener begin.
type ListenerOptions struct {
	// Name is the name of the Kafka listener.
	Name string
	// TLS is the configuration of the handshake, nil for a listener without. Its GetConfigForClient may give newer certificates.
	TLS *tls.Config
	// Authenticate holds connections to the bounds of unauthenticated peers until the handler calls Conn.Authenticated.
	// With TLS alone the handshake does.
	Authenticate bool
	// Unlimited exempts the listener from Config.Admit and the bounds of connections, as the one inside of the process.
	Unlimited bool
}

// Admission is the answer of Config.Admit.
type Admission struct {
	// Wait is how long the listener must not accept further connections; this one is served.
	Wait time.Duration
	// RefuseAfter, when positive, refuses the connection: it is closed after that time.
	RefuseAfter time.Duration
}

// maxRefusing bounds the refused connections that wait to be closed; more are closed at once.
const maxRefusing = 1000

// errCrowded ends an unauthenticated connection when there are too many.
var errCrowded = errors.New("too many connections have not authenticated or sent no request, this one is the oldest of them")

// errAuthTimeout ends a connection that did not authenticate in time.
var errAuthTimeout = errors.New("not authenticated in time")

// pending is the set of connections that are not authenticated or, where they need not be, sent nothing yet, the oldest in front. Server.mu guards it.
type pending struct {
	order *list.List // of *Conn
	at    map[*Conn]*list.Element
}

func newPending() pending { return pending{order: list.New(), at: map[*Conn]*list.Element{}} }

// add puts c in and returns the connection that has to go for it, or nil.
func (p *pending) add(c *Conn, limit int) *Conn {
	p.at[c] = p.order.PushBack(c)
	if p.order.Len() <= limit {
		return nil
	}
	old := p.order.Front().Value.(*Conn)
	p.remove(old)
	return old
}

func (p *pending) remove(c *Conn) {
	if e, ok := p.at[c]; ok {
		p.order.Remove(e)
		delete(p.at, c)
	}
}

// Unauthenticated is the number of connections that have not authenticated yet, or sent no request on listeners that do not ask for it.
func (s *Server) Unauthenticated() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending.order.Len()
}

// Authenticated lifts the bounds of unauthenticated peers. Only HandleRequest may call it.
func (c *Conn) Authenticated() {
	if c.authenticated {
		return
	}
	c.authenticated = true
	c.s.mu.Lock()
	c.s.pending.remove(c)
	c.s.mu.Unlock()
}

// introduced notes that the peer has sent its first request, which is enough where nobody must authenticate.
func (c *Conn) introduced() {
	c.known = true
	if !c.authenticated {
		return
	}
	c.s.mu.Lock()
	c.s.pending.remove(c)
	c.s.mu.Unlock()
}

// TLS is the state of the connection's TLS, nil without.
func (c *Conn) TLS() *tls.ConnectionState { return c.tlsState }

// ReadRaw makes the next frames come as they are, without a request header: Request.Raw is set and Body is the whole
// frame (SASL before KIP-152). Only HandleRequest may call it.
func (c *Conn) ReadRaw(raw bool) { c.raw = raw }

// Finish lets no more requests be read; the connection closes once those that were read are answered.
func (c *Conn) Finish() { c.drain() }

// Throttle takes no further request from the connection for d (KIP-219: the answer goes out, then the connection is muted).
// It may be called from any goroutine.
func (c *Conn) Throttle(d time.Duration) {
	until := time.Now().Add(d).UnixNano()
	for {
		old := c.mutedUntil.Load()
		if old >= until || c.mutedUntil.CompareAndSwap(old, until) {
			return
		}
	}
}

// waitUnmuted waits until a throttled connection may be read again, and writes what is answered meanwhile.
func (c *Conn) waitUnmuted() {
	if c.mutedUntil.Load() == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.closed && !c.draining {
		if c.headReady() && !c.writing {
			c.flush()
			continue
		}
		left := time.Duration(c.mutedUntil.Load() - time.Now().UnixNano())
		if left <= 0 {
			return
		}
		t := time.AfterFunc(left, func() {
			c.mu.Lock()
			c.room.Broadcast()
			c.mu.Unlock()
		})
		c.room.Wait()
		t.Stop()
	}
}

// handshake does the TLS handshake within the time for authentication.
func (c *Conn) handshake(cfg *tls.Config) error {
	tc := tls.Server(c.nc, cfg)
	ctx, cancel := context.WithDeadline(c.s.ctx, c.authBy)
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		c.s.stats.FailedHandshakes.Add(1)
		if errors.Is(err, context.DeadlineExceeded) {
			err = errAuthTimeout
		}
		return fmt.Errorf("tls handshake: %w", err)
	}
	state := tc.ConnectionState()
	c.mu.Lock()
	c.nc, c.tlsState = tc, &state
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	return nil
}

// admit asks Config.Admit about a connection; false when it was refused. It waits if the listener must.
func (s *Server) admit(ctx context.Context, nc net.Conn, o ListenerOptions) bool {
	if s.cfg.Admit == nil || o.Unlimited {
		return true
	}
	a := s.cfg.Admit(o.Name, hostOf(nc.RemoteAddr().String()))
	if a.RefuseAfter > 0 {
		s.stats.Rejected.Add(1)
		if s.refusing.Add(1) > maxRefusing {
			s.refusing.Add(-1)
			_ = nc.Close()
			return false
		}
		time.AfterFunc(a.RefuseAfter, func() {
			s.refusing.Add(-1)
			_ = nc.Close()
		})
		return false
	}
	if a.Wait > 0 {
		t := time.NewTimer(a.Wait)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return true
}

// writeTLS writes pieces in as few records as possible: small ones are put together, large ones go as they are.
func (c *Conn) writeTLS(pieces net.Buffers) error {
	const record = 16 << 10
	small := c.joined[:0]
	flush := func() error {
		if len(small) == 0 {
			return nil
		}
		_, err := c.nc.Write(small)
		small = small[:0]
		return err
	}
	for _, p := range pieces {
		if len(small)+len(p) > record {
			if err := flush(); err != nil {
				return err
			}
		}
		if len(p) > record/2 {
			if err := flush(); err != nil {
				return err
			}
			if _, err := c.nc.Write(p); err != nil {
				return err
			}
			continue
		}
		small = append(small, p...)
	}
	err := flush()
	c.joined = small[:0]
	return err
}

func hostOf(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}
