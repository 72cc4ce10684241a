package group

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// answerSync answers the member's SyncGroup, if one waits, and says whether one did.
func (s *Shard) answerSync(m *member, resp *kmsg.SyncGroupResponse) bool {
	if !m.sync.set {
		return false
	}
	resp.Version = m.sync.version
	if resp.MemberAssignment == nil {
		resp.MemberAssignment = []byte{}
	}
	s.reply(m.sync.to, resp)
	m.sync = waiter{}
	return true
}

func (s *Shard) refuseSync(e SyncGroup, code int16) {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version, resp.ErrorCode, resp.MemberAssignment = e.Request.Version, code, []byte{}
	s.reply(e.Waiter, resp)
}

// assigned is the SyncGroup answer with the member's assignment.
func (g *group) assigned(m *member) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.MemberAssignment = m.assignment
	if g.hasProtocol {
		resp.Protocol = kmsg.StringPtr(g.protocol)
	}
	if g.protocolType != "" {
		resp.ProtocolType = kmsg.StringPtr(g.protocolType)
	}
	return resp
}

func (s *Shard) syncGroup(e SyncGroup) {
	r := e.Request
	g := s.groups[r.Group]
	switch {
	case r.Version >= 5 && (r.ProtocolType == nil || r.Protocol == nil): // KIP-559: version 5 must name both
		s.refuseSync(e, codeInconsistentGroupProtocol)
		return
	case r.Group == "":
		s.refuseSync(e, codeInvalidGroupID)
		return
	case s.consumers[r.Group] != nil:
		s.syncConsumerGroup(e, s.consumers[r.Group])
		return
	case g == nil || g.state == stateEmpty:
		s.refuseSync(e, codeUnknownMemberID)
		return
	}
	if code := g.validateMember(r.MemberID, r.InstanceID); code != codeNone {
		s.refuseSync(e, code)
		return
	}
	if r.Generation != g.generation {
		s.refuseSync(e, codeIllegalGeneration)
		return
	}
	if r.ProtocolType != nil && *r.ProtocolType != g.protocolType && g.protocolType != "" ||
		r.Protocol != nil && g.hasProtocol && *r.Protocol != g.protocol {
		s.refuseSync(e, codeInconsistentGroupProtocol)
		return
	}
	m := g.members[r.MemberID]
	switch g.state {
	case statePreparingRebalance:
		s.refuseSync(e, codeRebalanceInProgress)
	case stateCompletingRebalance:
		// An older request of this member is of a connection that has since given up.
		s.answerSync(m, &kmsg.SyncGroupResponse{ErrorCode: codeRebalanceInProgress})
		m.sync = waiter{set: true, to: e.Waiter, version: r.Version}
		g.setPendingSync(m, false)
		if g.leader == m && g.assigning != g.generation {
			s.assign(e, g)
		}
	case stateStable:
		g.setPendingSync(m, false)
		resp := g.assigned(m)
		resp.Version = r.Version
		if resp.MemberAssignment == nil {
			resp.MemberAssignment = []byte{}
		}
		s.reply(e.Waiter, resp)
	}
}

// assign writes the leader's assignment. Members learn it when it is durable.
func (s *Shard) assign(e SyncGroup, g *group) {
	given := make(map[string][]byte, len(e.Request.GroupAssignment))
	for i := range e.Request.GroupAssignment {
		a := &e.Request.GroupAssignment[i]
		given[a.MemberID] = append([]byte{}, a.MemberAssignment...)
	}
	byMember := make(map[*member][]byte, len(g.order))
	missing := 0
	for _, m := range g.order {
		a, ok := given[m.id]
		if !ok {
			missing++
		}
		byMember[m] = a
	}
	if missing > 0 {
		s.note(slog.LevelWarn, "the leader gave no assignment to some members: theirs is empty", "group", g.id,
			"generation", g.generation, "members", missing)
	}
	generation := g.generation
	g.assigning = generation
	rec := Record{
		Key:   appendGroupKey(nil, g.id),
		Value: g.appendValue(nil, func(m *member) []byte { return byMember[m] }),
	}
	s.emit([]Record{rec}, nil, func(code int16) {
		if s.groups[g.id] != g || g.assigning != generation {
			return
		}
		g.assigning = 0
		if g.state != stateCompletingRebalance || g.generation != generation {
			return // a rebalance has begun meanwhile
		}
		if code != codeNone {
			for _, m := range g.order {
				m.assignment = nil
				s.account(m)
			}
			s.propagate(g, code)
			s.prepareRebalance(g, "the assignment could not be written")
			return
		}
		for _, m := range g.order {
			m.assignment = byMember[m]
			s.account(m)
		}
		s.propagate(g, codeNone)
		g.transition(stateStable, s.now)
		s.stats.CompletedRebalances++
	})
}

// propagate answers all who wait for an assignment.
func (s *Shard) propagate(g *group, code int16) {
	for _, m := range g.order {
		resp := &kmsg.SyncGroupResponse{ErrorCode: code}
		if code == codeNone {
			resp = g.assigned(m)
		}
		if s.answerSync(m, resp) {
			s.startSession(g, m, int64(m.sessionTimeoutMs))
		}
	}
}

// syncExpired throws out the members that took part in the join phase and never asked for their assignment.
func (s *Shard) syncExpired(g *group) {
	if g.awaitingSync == 0 || g.state != stateCompletingRebalance && g.state != stateStable {
		return
	}
	n := 0
	for _, m := range append([]*member(nil), g.order...) {
		if m.pendingSync {
			s.removeMember(g, m)
			n++
		}
	}
	s.note(slog.LevelInfo, "removed members that have not sent their sync requests", "group", g.id, "members", n)
	s.prepareRebalance(g, "removing members on pending sync request expiration")
}

// Heartbeat is the Heartbeat request's answer. It allocates nothing. now is milliseconds since 1970.
func (s *Shard) Heartbeat(r *kmsg.HeartbeatRequest, now int64) int16 {
	s.now = max(s.now, now)
	return s.heartbeat(r)
}

func (s *Shard) heartbeat(r *kmsg.HeartbeatRequest) int16 {
	if r.Group == "" {
		return codeInvalidGroupID
	}
	g := s.groups[r.Group]
	if g == nil {
		if cg := s.consumers[r.Group]; cg != nil {
			return s.heartbeatConsumerGroup(r, cg)
		}
		return codeUnknownMemberID
	}
	if code := g.validateMember(r.MemberID, r.InstanceID); code != codeNone {
		return code
	}
	if r.Generation != g.generation {
		return codeIllegalGeneration
	}
	m := g.members[r.MemberID]
	s.startSession(g, m, int64(m.sessionTimeoutMs))
	if g.state == statePreparingRebalance {
		return codeRebalanceInProgress
	}
	return codeNone
}

func (s *Shard) leaveGroup(e LeaveGroup) {
	r := e.Request
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.Version = r.Version
	leavers := r.Members
	if r.Version < 3 {
		leavers = []kmsg.LeaveGroupRequestMember{{MemberID: r.MemberID}}
	}
	if r.Group == "" {
		resp.ErrorCode = codeInvalidGroupID
		s.reply(e.Waiter, resp)
		return
	}
	if cg := s.consumers[r.Group]; cg != nil {
		s.leaveConsumerGroup(e, cg, leavers)
		return
	}
	g := s.groups[r.Group]
	resp.Members = make([]kmsg.LeaveGroupResponseMember, 0, len(leavers))
	left := false
	for i := range leavers {
		l := &leavers[i]
		rm := kmsg.NewLeaveGroupResponseMember()
		rm.MemberID, rm.InstanceID = l.MemberID, l.InstanceID
		rm.ErrorCode = codeUnknownMemberID
		if g != nil {
			rm.ErrorCode = s.leave(g, l)
		}
		left = left || rm.ErrorCode == codeNone
		resp.Members = append(resp.Members, rm)
	}
	if r.Version < 3 {
		resp.ErrorCode, resp.Members = resp.Members[0].ErrorCode, nil
	}
	s.reply(e.Waiter, resp)
	if !left {
		return
	}
	switch g.state {
	case stateStable, stateCompletingRebalance:
		s.prepareRebalance(g, "explicit `LeaveGroup` request")
	case statePreparingRebalance:
		s.maybeCompleteJoin(g)
	}
}

// leave takes one member out, named by its id, or by its instance id alone (an administrator's removal).
func (s *Shard) leave(g *group, l *kmsg.LeaveGroupRequestMember) int16 {
	reason := "not provided"
	if l.Reason != nil {
		reason = *l.Reason
	}
	var m *member
	switch {
	case l.MemberID == "":
		if l.InstanceID != nil {
			m = g.statics[*l.InstanceID]
		}
		if m == nil {
			return codeUnknownMemberID
		}
	case g.pending[l.MemberID] != nil:
		s.forgetPending(g, l.MemberID)
		return codeNone
	default:
		if code := g.validateMember(l.MemberID, l.InstanceID); code != codeNone {
			return code
		}
		m = g.members[l.MemberID]
	}
	s.note(slog.LevelInfo, "member has left group", "group", g.id, "member", m.id, "reason", reason)
	s.removeMember(g, m)
	return codeNone
}
