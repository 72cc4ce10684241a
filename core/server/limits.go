package server

import (
	"cmp"
	"errors"
	"slices"
)

// Limits bound the connections that are open at once. The zero value is no limit.
type Limits struct {
	// Connections is of all together but those of Unlimited listeners; more wait in the accept queue. 0 is no limit.
	Connections int
	// PerIP is of one peer address; more are closed at once. 0 is no limit, unless PerIPOf has entries: then it is none at all.
	PerIP int
	// PerIPOf is what counts instead of PerIP for single addresses.
	PerIPOf map[string]int
	// PerListener is of single listeners, by their names; more wait in the accept queue. One that is not in it has no limit of its own.
	PerListener map[string]int
	// Spared is a listener that Connections does not keep waiting; "" for none. It should have a limit of its own.
	Spared string
}

// of is the limit of an address; ok is false when it has none.
func (l *Limits) of(host string) (most int, ok bool) {
	if n, ok := l.PerIPOf[host]; ok {
		return n, true
	}
	return l.PerIP, l.PerIP > 0 || len(l.PerIPOf) > 0
}

// SetLimits changes the limits. Those that wait are taken as far as there is room now. When there are more than Connections, those are closed of
// which nothing was heard for the longest time, but for those of Spared and of Unlimited listeners (KIP-402).
func (s *Server) SetLimits(l Limits) {
	s.mu.Lock()
	s.limits = l
	s.slot.Broadcast()
	excess := s.excess()
	s.mu.Unlock()
	closeExcess(excess)
}

// errExcess ends a connection that has to make room.
var errExcess = errors.New("there are more connections than max.connections, and nothing was heard of this one for longest")

// full says whether another connection on a listener must wait. Call with mu held.
func (s *Server) full(listener string) bool {
	if most, ok := s.limits.PerListener[listener]; ok && s.perListener[listener] >= most {
		return true
	}
	return s.limits.Connections > 0 && s.bounded >= s.limits.Connections && listener != s.limits.Spared
}

// excess are the connections to be closed so that there are no more than Limits.Connections. They count as gone. Call with mu held.
func (s *Server) excess() []*Conn {
	surplus := s.bounded - s.leaving - s.limits.Connections
	if s.limits.Connections <= 0 || surplus <= 0 {
		return nil
	}
	var out []*Conn
	for c := range s.conns {
		if c.bounded && c.listener != s.limits.Spared && !c.leaves {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *Conn) int { return cmp.Compare(a.heard.Load(), b.heard.Load()) })
	out = out[:min(len(out), surplus)]
	for _, c := range out {
		c.leaves = true
	}
	s.leaving += len(out)
	return out
}

func closeExcess(conns []*Conn) {
	for _, c := range conns {
		c.Close(errExcess)
	}
}
