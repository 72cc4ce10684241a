package group

import (
	"fmt"
	"log/slog"
	"math"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// joinError is a JoinGroup answer that says only what went wrong.
func joinError(memberID string, code int16) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.ErrorCode, resp.MemberID, resp.Generation = code, memberID, -1
	return resp
}

// refuseJoin answers a request that never became a member's.
func (s *Shard) refuseJoin(e JoinGroup, memberID string, code int16) {
	resp := joinError(memberID, code)
	resp.Version = e.Request.Version
	s.reply(e.Waiter, resp)
}

// answerJoin answers the member's JoinGroup, if one waits.
func (s *Shard) answerJoin(g *group, m *member, resp *kmsg.JoinGroupResponse) {
	if !m.join.set {
		return
	}
	resp.Version = m.join.version
	s.reply(m.join.to, resp)
	g.setJoin(m, waiter{})
}

// setJoin makes the request the member's unanswered JoinGroup. An older one was sent by a connection that
// has since given up; it is answered so that it does not hang.
func (s *Shard) setJoin(g *group, m *member, e JoinGroup) {
	s.answerJoin(g, m, joinError(m.id, codeRebalanceInProgress))
	g.setJoin(m, waiter{set: true, to: e.Waiter, version: e.Request.Version})
}

func reasonOf(r *kmsg.JoinGroupRequest) string {
	if r.Reason == nil || *r.Reason == "" {
		return "not provided"
	}
	return *r.Reason
}

// offerBytes is what the protocols of a request weigh.
func offerBytes(r *kmsg.JoinGroupRequest) int64 {
	n := 600 + len(r.Group) + 2*len(r.MemberID)
	for i := range r.Protocols {
		n += 48 + len(r.Protocols[i].Name) + len(r.Protocols[i].Metadata)
	}
	return int64(n)
}

func (s *Shard) joinGroup(e JoinGroup) {
	r := e.Request
	switch {
	case r.Group == "":
		s.refuseJoin(e, r.MemberID, codeInvalidGroupID)
		return
	case r.SessionTimeoutMillis < s.cfg.MinSessionTimeoutMs || r.SessionTimeoutMillis > s.cfg.MaxSessionTimeoutMs:
		s.refuseJoin(e, r.MemberID, codeInvalidSessionTimeout)
		return
	}
	size := offerBytes(r)
	if size > s.cfg.MaxMemberBytes {
		s.note(slog.LevelWarn, "refused a member: its metadata is too large", "group", strings.Clone(r.Group), "bytes", size, "limit", s.cfg.MaxMemberBytes)
		s.refuseJoin(e, r.MemberID, codeInvalidRequest)
		return
	}

	if cg := s.consumers[r.Group]; cg != nil {
		if len(cg.members) > 0 {
			if s.full(size) {
				s.refuseJoin(e, r.MemberID, codeGroupMaxSizeReached)
				return
			}
			s.joinConsumerGroup(e, cg)
			return
		}
		if code := s.deleteEmptyConsumer(cg); code != codeNone {
			s.refuseJoin(e, r.MemberID, code)
			return
		}
	}
	g := s.groups[r.Group]
	isNew := g == nil
	if isNew && r.MemberID != "" {
		s.refuseJoin(e, r.MemberID, codeUnknownMemberID)
		return
	}
	if isNew {
		size += groupBytes(r.Group)
	}
	if (isNew || g.members[r.MemberID] == nil) && s.full(size) {
		s.note(slog.LevelWarn, "refused a member: the groups of this partition take too much memory", "group", strings.Clone(r.Group), "bytes", s.bytes(), "limit", s.cfg.MaxShardBytes)
		s.refuseJoin(e, r.MemberID, codeGroupMaxSizeReached)
		return
	}
	if isNew {
		g = s.getOrCreate(r.Group)
	}
	switch {
	case !s.hasRoom(g, r.MemberID):
		s.forgetPending(g, r.MemberID)
		s.refuseJoin(e, "", codeGroupMaxSizeReached)
	case r.MemberID == "":
		s.joinNew(e, g)
	default:
		s.joinKnown(e, g)
	}
	if isNew && s.groups[g.id] == g {
		// The group exists from here on, also after a restart. Kafka does not make the member wait for it.
		rec := Record{Key: appendGroupKey(nil, g.id), Value: emptyGroupValue(s.now)}
		s.emit([]Record{rec}, nil, func(code int16) {
			if code != codeNone {
				s.note(slog.LevelWarn, "could not write the metadata of a new group", "group", g.id, "code", code)
			}
		})
	}
}

// emptyGroupValue is the metadata of a group that no one has joined yet.
func emptyGroupValue(now int64) []byte {
	v := kmsg.NewGroupMetadataValue()
	v.Version, v.CurrentStateTimestamp = 3, now
	return v.AppendTo(nil)
}

// hasRoom is group.max.size: a known member always has room, except that of a rebalance only the first
// ones are let in.
func (s *Shard) hasRoom(g *group, memberID string) bool {
	limit := int(s.cfg.MaxGroupSize)
	switch g.state {
	case statePreparingRebalance:
		m := g.members[memberID]
		return m != nil && m.join.set || g.awaitingJoin < limit
	case stateCompletingRebalance, stateStable:
		return g.members[memberID] != nil || len(g.members) < limit
	}
	return true
}

func (s *Shard) forgetPending(g *group, memberID string) {
	if p := g.pending[memberID]; p != nil {
		s.timers.cancel(&p.session)
		s.memberBytes -= pendingBytes(p)
		delete(g.pending, memberID)
	}
}

// joinNew is a join without a member id.
func (s *Shard) joinNew(e JoinGroup, g *group) {
	r := e.Request
	if !g.accepts(r.ProtocolType, offerNames(r.Protocols)) {
		s.refuseJoin(e, "", codeInconsistentGroupProtocol)
		return
	}
	prefix := e.Context.ClientID
	if r.InstanceID != nil {
		prefix = *r.InstanceID
	}
	id := prefix + "-" + s.cfg.NewMemberSuffix()
	if len(id) > math.MaxInt16 { // which neither the answer nor the log can say
		s.refuseJoin(e, "", codeUnknownServerError)
		return
	}
	switch {
	case r.InstanceID != nil:
		if old := g.statics[*r.InstanceID]; old != nil {
			s.replaceStatic(e, g, old, id)
			return
		}
		s.addMember(e, g, id)
	case r.Version >= 4: // KIP-394: come again with this id
		p := &pendingMember{id: id}
		p.session.kind, p.session.group, p.session.pending = timerSession, g, p
		g.pending[id] = p
		s.memberBytes += pendingBytes(p)
		s.timers.set(&p.session, s.now+int64(r.SessionTimeoutMillis))
		s.refuseJoin(e, id, codeMemberIDRequired)
	default:
		s.addMember(e, g, id)
	}
}

// joinKnown is a join with a member id.
func (s *Shard) joinKnown(e JoinGroup, g *group) {
	r := e.Request
	if !g.accepts(r.ProtocolType, offerNames(r.Protocols)) {
		s.refuseJoin(e, r.MemberID, codeInconsistentGroupProtocol)
		return
	}
	if g.pending[r.MemberID] != nil {
		if r.InstanceID != nil { // a pending id is never a static member's
			s.refuseJoin(e, "", codeUnknownServerError)
			return
		}
		s.forgetPending(g, r.MemberID)
		s.addMember(e, g, strings.Clone(r.MemberID))
		return
	}
	if code := g.validateMember(r.MemberID, r.InstanceID); code != codeNone {
		resp := joinError(r.MemberID, code)
		resp.Version = r.Version
		s.reply(e.Waiter, resp)
		return
	}
	m := g.members[r.MemberID]
	switch g.state {
	case statePreparingRebalance:
		s.updateMember(e, g, m)
		s.rebalanceOrComplete(g, "member "+m.id+" joins; client reason: "+reasonOf(r))
	case stateCompletingRebalance:
		if m.matches(r.Protocols) {
			// The member did not hear that the join phase is over; nothing has changed.
			s.replyCurrent(e, g, m, g.leader == m)
			return
		}
		s.updateMember(e, g, m)
		s.rebalanceOrComplete(g, "new metadata of member "+m.id+"; client reason: "+reasonOf(r))
	case stateStable:
		switch {
		case g.leader == m: // the leader rejoins to have the assignment made anew
			s.updateMember(e, g, m)
			s.rebalanceOrComplete(g, "leader "+m.id+" rejoins; client reason: "+reasonOf(r))
		case !m.matches(r.Protocols):
			s.updateMember(e, g, m)
			s.rebalanceOrComplete(g, "new metadata of member "+m.id+"; client reason: "+reasonOf(r))
		default:
			s.replyCurrent(e, g, m, false)
		}
	default:
		s.refuseJoin(e, r.MemberID, codeUnknownMemberID)
	}
}

// current is the JoinGroup answer of the present generation.
func (g *group) current(m *member, withMembers bool) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Generation, resp.MemberID = g.generation, m.id
	if g.hasProtocol {
		resp.Protocol = kmsg.StringPtr(g.protocol)
	}
	if g.protocolType != "" {
		resp.ProtocolType = kmsg.StringPtr(g.protocolType)
	}
	if g.leader != nil {
		resp.LeaderID = g.leader.id
	}
	if withMembers {
		resp.Members = g.joinMembers()
	}
	return resp
}

func (s *Shard) replyCurrent(e JoinGroup, g *group, m *member, withMembers bool) {
	resp := g.current(m, withMembers)
	resp.Version = e.Request.Version
	s.reply(e.Waiter, resp)
}

// rebalanceTimeout is what the request says; version 0 has only the session timeout.
func rebalanceTimeout(r *kmsg.JoinGroupRequest) int32 {
	if r.Version == 0 {
		return r.SessionTimeoutMillis
	}
	return r.RebalanceTimeoutMillis
}

func cloneOffer(offer []kmsg.JoinGroupRequestProtocol) []protocol {
	ps := make([]protocol, len(offer))
	for i := range offer {
		ps[i] = protocol{strings.Clone(offer[i].Name), append([]byte{}, offer[i].Metadata...)}
	}
	return ps
}

func (s *Shard) addMember(e JoinGroup, g *group, id string) {
	r := e.Request
	m := &member{
		id: id, clientID: strings.Clone(e.Context.ClientID), clientHost: strings.Clone(e.Context.ClientHost),
		rebalanceTimeoutMs: rebalanceTimeout(r), sessionTimeoutMs: r.SessionTimeoutMillis,
		protocols: cloneOffer(r.Protocols), isNew: true,
		join: waiter{set: true, to: e.Waiter, version: r.Version},
	}
	if r.InstanceID != nil {
		m.instance, m.static = strings.Clone(*r.InstanceID), true
	}
	if g.state == statePreparingRebalance && g.previous == stateEmpty {
		g.newMemberAdded = true // KIP-134: gives the initial rebalance another delay
	}
	g.add(m, strings.Clone(r.ProtocolType))
	s.account(m)
	// It may have to wait for others, without heartbeats, longer than its session.
	s.startSession(g, m, int64(s.cfg.NewMemberJoinTimeoutMs))
	s.rebalanceOrComplete(g, "new member "+m.id+"; client reason: "+reasonOf(r))
}

// updateMember takes in what the member sent with its join, which now waits.
func (s *Shard) updateMember(e JoinGroup, g *group, m *member) {
	r := e.Request
	g.countProtocols(m, -1)
	m.protocols = cloneOffer(r.Protocols)
	g.countProtocols(m, 1)
	m.rebalanceTimeoutMs, m.sessionTimeoutMs = rebalanceTimeout(r), r.SessionTimeoutMillis
	s.account(m)
	s.setJoin(g, m, e)
}

// replaceStatic is a static member that comes back without its member id: it takes its old place under a
// new id, and whoever still uses the old one is fenced (KIP-345). In a stable group whose protocol stays,
// nobody else notices.
func (s *Shard) replaceStatic(e JoinGroup, g *group, m *member, newID string) {
	r := e.Request
	oldID, oldLeader := m.id, ""
	if g.leader != nil {
		oldLeader = g.leader.id
	}
	s.answerJoin(g, m, joinError(oldID, codeFencedInstanceID))
	s.answerSync(m, &kmsg.SyncGroupResponse{ErrorCode: codeFencedInstanceID})
	old := *m
	g.rename(m, newID)
	s.updateMember(e, g, m)
	s.startSession(g, m, int64(m.sessionTimeoutMs))
	s.note(slog.LevelInfo, "static member takes its place under a new member id", "group", g.id, "instance", m.instance,
		"old_member", oldID, "member", newID)

	switch g.state {
	case stateStable:
		if !g.hasProtocol || g.selectProtocol() != g.protocol {
			s.rebalanceOrComplete(g, "static member "+newID+" changes the group's protocol; client reason: "+reasonOf(r))
			return
		}
		generation, version := g.generation, r.Version
		rec := Record{Key: appendGroupKey(nil, g.id), Value: g.appendValue(nil, func(m *member) []byte { return m.assignment })}
		s.emit([]Record{rec}, nil, func(code int16) {
			if s.groups[g.id] != g || g.members[newID] != m || g.state != stateStable || g.generation != generation {
				return // a rebalance has begun; it answers
			}
			if code != codeNone {
				s.note(slog.LevelWarn, "could not write the new id of a static member: it keeps the old one", "group", g.id,
					"instance", m.instance, "code", code)
				resp := g.current(m, false)
				resp.MemberID, resp.LeaderID, resp.ErrorCode = "", oldLeader, code
				s.answerJoin(g, m, resp)
				g.countProtocols(m, -1)
				m.protocols, m.rebalanceTimeoutMs, m.sessionTimeoutMs = old.protocols, old.rebalanceTimeoutMs, old.sessionTimeoutMs
				g.countProtocols(m, 1)
				g.rename(m, oldID)
				s.account(m)
				s.startSession(g, m, int64(m.sessionTimeoutMs))
				return
			}
			leads := g.leader == m
			resp := g.current(m, version >= 9 && leads)
			if version >= 9 {
				resp.SkipAssignment = leads // KIP-814: it leads, and the assignment stands
			} else {
				// It must not believe that it leads, or it would send an assignment for a generation
				// that has one; the id that led before is no longer anyone's.
				resp.LeaderID = oldLeader
			}
			s.answerJoin(g, m, resp)
			s.startSession(g, m, int64(m.sessionTimeoutMs))
		})
	case stateCompletingRebalance:
		s.prepareRebalance(g, "static member "+newID+" is back; client reason: "+reasonOf(r))
	default:
		s.maybeCompleteJoin(g)
	}
}

func (s *Shard) rebalanceOrComplete(g *group, reason string) {
	switch g.state {
	case stateEmpty, stateStable, stateCompletingRebalance:
		s.prepareRebalance(g, reason)
	default:
		s.maybeCompleteJoin(g)
	}
}

// prepareRebalance opens a join phase.
func (s *Shard) prepareRebalance(g *group, reason string) {
	if g.state == stateCompletingRebalance {
		// Those who wait for an assignment of this generation will not get one.
		for _, m := range g.order {
			m.assignment = nil
			s.account(m)
		}
		s.propagate(g, codeRebalanceInProgress)
	}
	g.clearPendingSync()
	s.timers.cancel(&g.syncTimer)

	initial := g.state == stateEmpty
	g.transition(statePreparingRebalance, s.now)
	s.note(slog.LevelInfo, "preparing to rebalance group", "group", g.id, "generation", g.generation, "reason", reason)
	switch {
	case initial:
		g.newMemberAdded = false
		g.initialDelay = s.cfg.initialRebalanceDelay()
		g.initialRemaining = max(g.rebalanceTimeoutMs()-g.initialDelay, 0)
		g.joinTimer.kind = timerInitialDelay
		s.timers.cancel(&g.joinTimer)
		s.timers.set(&g.joinTimer, s.now+g.initialDelay)
	case g.allJoined():
		s.completeJoin(g)
	default:
		s.setJoinTimer(g)
	}
}

// minJoinWaitMs is the least time between two attempts to complete a join phase that no one joins.
const minJoinWaitMs = 1000

func (s *Shard) setJoinTimer(g *group) {
	s.timers.cancel(&g.joinTimer)
	g.joinTimer.kind = timerJoin
	s.timers.set(&g.joinTimer, s.now+g.rebalanceTimeoutMs())
}

// initialDelayOver ends the initial rebalance, or prolongs it if someone joined meanwhile (KIP-134).
func (s *Shard) initialDelayOver(g *group) {
	if !g.newMemberAdded || g.initialRemaining == 0 {
		s.completeJoin(g)
		return
	}
	g.newMemberAdded = false
	delay := min(s.cfg.initialRebalanceDelay(), g.initialRemaining)
	g.initialRemaining = max(g.initialRemaining-g.initialDelay, 0)
	g.initialDelay = delay
	s.timers.set(&g.joinTimer, s.now+delay)
}

func (s *Shard) maybeCompleteJoin(g *group) {
	if g.state == statePreparingRebalance && g.previous != stateEmpty && g.allJoined() {
		s.completeJoin(g)
	}
}

// completeJoin ends the join phase: members that did not join are out (static ones stay), and the others
// are told of the new generation.
func (s *Shard) completeJoin(g *group) {
	s.timers.cancel(&g.joinTimer)
	for _, m := range append([]*member(nil), g.order...) {
		if !m.join.set && !m.static {
			s.removeMember(g, m)
		}
	}
	if !g.electJoinedLeader() && len(g.members) > 0 {
		// Only static members are left, and none of them joined: wait on, and not in a tight loop.
		s.note(slog.LevelError, "group could not complete its rebalance because no members rejoined", "group", g.id)
		g.joinTimer.kind = timerJoin
		s.timers.set(&g.joinTimer, s.now+max(g.rebalanceTimeoutMs(), minJoinWaitMs))
		return
	}
	g.nextGeneration(s.now)
	if g.state == stateEmpty {
		s.note(slog.LevelInfo, "group is now empty", "group", g.id, "generation", g.generation)
		rec := Record{Key: appendGroupKey(nil, g.id), Value: g.appendValue(nil, nil)}
		s.emit([]Record{rec}, nil, func(code int16) {
			if code != codeNone {
				s.note(slog.LevelWarn, "could not write the metadata of an empty group", "group", g.id, "code", code)
			}
		})
		return
	}
	s.note(slog.LevelInfo, "stabilized group", "group", g.id, "generation", g.generation, "members", len(g.members), "protocol", g.protocol)
	for _, m := range g.order {
		s.answerJoin(g, m, g.current(m, g.leader == m))
		s.startSession(g, m, int64(m.sessionTimeoutMs))
		m.isNew = false
		g.setPendingSync(m, true)
	}
	s.timers.set(&g.syncTimer, s.now+g.rebalanceTimeoutMs())
}

// removeMember takes the member out of the group and answers what it waits for.
func (s *Shard) removeMember(g *group, m *member) {
	s.timers.cancel(&m.session)
	s.answerJoin(g, m, joinError("", codeUnknownMemberID))
	s.answerSync(m, &kmsg.SyncGroupResponse{ErrorCode: codeUnknownMemberID})
	g.remove(m)
	s.memberBytes -= m.bytes
	m.bytes = 0
}

// sessionExpired is the silence of a member or of a pending member id.
func (s *Shard) sessionExpired(t *timer) {
	g := t.group
	if t.pending != nil {
		s.forgetPending(g, t.pending.id)
		s.note(slog.LevelInfo, "pending member has not joined within its session timeout", "group", g.id, "member", t.pending.id)
		if g.state == statePreparingRebalance && g.allJoined() {
			s.completeJoin(g)
		}
		return
	}
	m := t.member
	if !m.isNew && (m.join.set || m.sync.set) {
		return // it waits for us; its session begins again with the answer
	}
	s.note(slog.LevelInfo, "member has failed", "group", g.id, "member", m.id)
	s.removeMember(g, m)
	switch g.state {
	case stateStable, stateCompletingRebalance:
		s.prepareRebalance(g, fmt.Sprintf("removing member %s on heartbeat expiration", m.id))
	case statePreparingRebalance:
		if g.allJoined() {
			s.completeJoin(g)
		}
	}
}
