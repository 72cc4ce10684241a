package server

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// Memory is set aside for a whole frame when its first bytes are there, and a peer may take its time for the rest. While there is enough
// memory for everyone that is no matter. When somebody has to wait for memory it is: those whose frames come more slowly than shedRate, which
// a peer that means it reaches on any line, are then closed, once they had shedGrace to get going.
const (
	shedRate  = 32 << 10 // bytes a second
	shedGrace = time.Second
	shedEvery = 100 * time.Millisecond
)

// errShed ends a connection whose frame comes too slowly while others wait for the memory that it holds.
var errShed = fmt.Errorf("frame comes with less than %d bytes a second while others wait for request memory", shedRate)

// arrivals are the connections that hold memory for a frame that is not complete, and how many others wait for memory.
type arrivals struct {
	mu      sync.Mutex
	conns   map[*Conn]time.Time // since when
	waiting int
}

// wait takes n bytes of b, and sheds slow peers as long as it must wait.
func (s *Server) wait(b *Budget, n int64) error {
	a := &s.arrivals
	a.mu.Lock()
	if a.waiting++; a.waiting == 1 {
		s.wg.Add(1)
		go s.shed()
	}
	a.mu.Unlock()
	err := b.Acquire(s.ctx, n)
	a.mu.Lock()
	a.waiting--
	a.mu.Unlock()
	return err
}

// shed closes slow peers while somebody waits.
func (s *Server) shed() {
	defer s.wg.Done()
	t := time.NewTicker(shedEvery)
	defer t.Stop()
	a := &s.arrivals
	for {
		now := time.Now()
		var slow []*Conn
		a.mu.Lock()
		if a.waiting == 0 {
			a.mu.Unlock()
			return
		}
		for c, since := range a.conns {
			if took := now.Sub(since); took > shedGrace && float64(c.arrived.Load()) < took.Seconds()*shedRate {
				slow = append(slow, c)
			}
		}
		a.mu.Unlock()
		for _, c := range slow {
			s.stats.Shed.Add(1)
			c.Close(errShed)
		}
		<-t.C
	}
}

// fill reads the whole of p, which memory is held for.
func (c *Conn) fill(p []byte) error {
	if c.br.Buffered() >= len(p) {
		_, err := io.ReadFull(c.br, p)
		return err
	}
	c.arrives(true)
	defer c.arrives(false)
	for n := 0; n < len(p); {
		k, err := c.br.Read(p[n:])
		n += k
		c.arrived.Store(int64(n))
		if err != nil && n < len(p) {
			return err
		}
	}
	return nil
}

// arrives says that the connection's frame begins or ends to arrive, which memory is held for.
func (c *Conn) arrives(begins bool) {
	a := &c.s.arrivals
	a.mu.Lock()
	defer a.mu.Unlock()
	if begins {
		c.arrived.Store(0)
		a.conns[c] = time.Now()
	} else {
		delete(a.conns, c)
	}
}
