package group

import "log/slog"

// timersOf is the deadlines of a member, made if need be.
func (s *Shard) timersOf(g *consumerGroup, id string) *memberTimers {
	t := g.timers[id]
	if t == nil {
		t = &memberTimers{}
		for _, x := range []struct {
			t    *timer
			kind timerKind
		}{{&t.session, timerConsumerSession}, {&t.rebalance, timerConsumerRebalance}, {&t.join, timerConsumerJoin}, {&t.sync, timerConsumerSync}} {
			x.t.kind, x.t.consumer, x.t.name = x.kind, g, id
		}
		g.timers[id] = t
	}
	return t
}

// cancelMember forgets the member's deadlines.
func (s *Shard) cancelMember(g *consumerGroup, id string) {
	t := g.timers[id]
	if t == nil {
		return
	}
	for _, x := range []*timer{&t.session, &t.rebalance, &t.join, &t.sync} {
		s.timers.cancel(x)
	}
	delete(g.timers, id)
}

// consumerSessionMs, and those below it, is the group's own configuration or else the broker's.
func (s *Shard) consumerSessionMs(group string) int64 {
	if c := s.image.GroupConfig(group); c.SessionTimeoutMs > 0 {
		return int64(c.SessionTimeoutMs)
	}
	return int64(s.cfg.ConsumerSessionTimeoutMs)
}

func (s *Shard) consumerHeartbeatMs(group string) int32 {
	if c := s.image.GroupConfig(group); c.HeartbeatIntervalMs > 0 {
		return c.HeartbeatIntervalMs
	}
	return s.cfg.ConsumerHeartbeatIntervalMs
}

func (s *Shard) assignmentIntervalMs(group string) int64 {
	if c := s.image.GroupConfig(group); c.AssignmentIntervalMs >= 0 {
		return int64(c.AssignmentIntervalMs)
	}
	return max(int64(s.cfg.ConsumerAssignmentIntervalMs), 0)
}

// beat starts the member's session anew. A heartbeat that was refused does not.
func (s *Shard) beat(g *consumerGroup, id string, ms int64) {
	s.restart(&s.timersOf(g, id).session, ms)
}

// restart sets a timer to ms from now, also to an earlier time than before.
func (s *Shard) restart(t *timer, ms int64) { s.timers.set(t, s.now+ms) }

// watchRevocation bounds how long the member may take to give up partitions in its epoch.
func (s *Shard) watchRevocation(g *consumerGroup, m *consumerMember) {
	t := s.timersOf(g, m.id)
	if m.state != memberUnrevoked {
		s.timers.cancel(&t.rebalance)
		return
	}
	t.rebalanceEpoch = m.epoch
	s.restart(&t.rebalance, int64(m.rebalanceMs))
}

// fireConsumer is a deadline of a member that has passed.
func (s *Shard) fireConsumer(t *timer) {
	g := t.consumer
	m := g.members[t.name]
	if s.consumers[g.id] != g || m == nil {
		return
	}
	reason := ""
	switch t.kind {
	case timerConsumerSession:
		reason = "its session expired"
	case timerConsumerRebalance:
		if g.timers[t.name].rebalanceEpoch != m.epoch {
			return
		}
		reason = "it did not give up its partitions within its rebalance timeout"
	case timerConsumerJoin:
		reason = "it did not rejoin within its rebalance timeout"
	case timerConsumerSync:
		reason = "it did not sync within its rebalance timeout"
	}
	s.note(slog.LevelInfo, "fenced a member", "group", g.id, "member", m.id, "reason", reason)
	s.fence(g, []*consumerMember{m}, func(code int16) {
		if code != codeNone {
			s.note(slog.LevelWarn, "could not write that a member was fenced", "group", g.id, "member", m.id, "code", code)
		}
	})
	if s.consumers[g.id] == g && g.members[m.id] == m { // it could not be written now
		s.restart(t, retryFenceMs)
	}
}

// retryFenceMs is when a member is fenced that could not be, because too much was in flight.
const retryFenceMs = 1000
