package server

// Limits bound the connections that are open at once. The zero value is no limit.
type Limits struct {
	// Connections is of all together; more wait in the accept queue. 0 is no limit.
	Connections int
	// PerIP is of one peer address; more are closed at once. 0 is no limit, unless PerIPOf has entries: then it is none at all.
	PerIP int
	// PerIPOf is what counts instead of PerIP for single addresses.
	PerIPOf map[string]int
	// PerListener is of single listeners, by their names; more wait in the accept queue. One that is not in it has no limit of its own.
	PerListener map[string]int
}

// of is the limit of an address; ok is false when it has none.
func (l *Limits) of(host string) (most int, ok bool) {
	if n, ok := l.PerIPOf[host]; ok {
		return n, true
	}
	return l.PerIP, l.PerIP > 0 || len(l.PerIPOf) > 0
}

// SetLimits changes the limits. Connections that are open stay; those that wait are taken as far as there is room now.
func (s *Server) SetLimits(l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = l
	s.slot.Broadcast()
}
