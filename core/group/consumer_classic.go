package group

import (
	"log/slog"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Members of the classic protocol in a KIP-848 group: while a group migrates, those that still use JoinGroup,
// SyncGroup and Heartbeat are members like the others. Their generation is their member epoch; a rebalance
// is what gives them their next one, and with it their next assignment.

// joinConsumerGroup is a JoinGroup to a KIP-848 group with members.
func (s *Shard) joinConsumerGroup(e JoinGroup, g *consumerGroup) {
	if err := s.joinAsClassic(e, g); err != nil {
		s.refuseJoin(e, "", err.code)
	}
}

func (s *Shard) joinAsClassic(e JoinGroup, g *consumerGroup) *apiError {
	r := e.Request
	if s.cfg.ConsumerMigration == MigrationDisabled {
		return apiErrorf(codeInconsistentGroupProtocol, "Cannot join the consumer group %s with the classic protocol because the group migration is disabled.", g.id)
	}
	id := strings.Clone(r.MemberID)
	isNew := id == ""
	if isNew {
		id = s.cfg.NewMemberID()
	}
	if err := s.roomFor(g, id); err != nil {
		return err
	}
	if !g.acceptsClassic(r) {
		return apiErrorf(codeInconsistentGroupProtocol, "Member %s's protocols are not supported.", id)
	}
	if isNew && r.InstanceID == nil && r.Version >= 4 { // KIP-394: come again with this id
		s.refuseJoin(e, id, codeMemberIDRequired)
		return nil
	}
	sub, perr := parseConsumerSubscription(r.Protocols[0].Metadata)
	if perr != nil {
		s.note(slog.LevelWarn, "refused a member: its subscription is malformed", "group", g.id, "error", perr)
		return &apiError{codeUnknownServerError, "Malformed embedded consumer protocol."}
	}
	p := &plan{id: g.id, g: g}
	m, err := s.memberFor(p, id, epochLeave, r.InstanceID, nil, r.InstanceID == nil || isNew, true)
	if err != nil {
		return err
	}
	existing := g.static(r.InstanceID)
	downgrade := existing != nil && !existing.usesClassic() && g.classics == len(g.members)-1 && s.downgrades() &&
		int64(len(g.members)) <= int64(s.cfg.MaxGroupSize)

	updated := *m
	updateText(&updated.instance, r.InstanceID)
	updateText(&updated.rack, sub.rack)
	if t := rebalanceTimeout(r); t != -1 {
		updated.rebalanceMs = t
	}
	updated.topics = uniqueTopics(sub.topics)
	none := ""
	updated.regex = &none
	updated.setClient(e.Context)
	updated.classic = &classicOffer{r.SessionTimeoutMillis, cloneOffer(r.Protocols)}

	after, err := s.update(p, m, &updated, e.Context)
	if err != nil {
		return err
	}
	next := &updated
	epoch, target := g.targetEpoch, g.targetOf(&updated)
	if !downgrade {
		if epoch, target, err = s.target(g, after.bumped, m, &updated, &p.recs); err != nil {
			return err
		}
	}
	if !downgrade || g.targetEpoch >= after.epoch {
		if next, err = s.reconcile(g, &updated, epoch, target, after.subscribed, s.ownedTopics(sub), &p.recs); err != nil {
			return err
		}
	}
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version, resp.MemberID, resp.Generation = r.Version, id, next.epoch
	resp.ProtocolType, resp.Protocol = kmsg.StringPtr(consumerProtocol), kmsg.StringPtr(updated.classic.protocols[0].name)
	fin := func(code int16) {
		if code != codeNone {
			s.refuseJoin(e, "", code)
			return
		}
		s.reply(e.Waiter, resp)
	}
	if downgrade {
		reason := ""
		if g.targetEpoch < after.epoch {
			reason = "Downgrade group " + g.id + " from consumer to classic with stale assignment."
		}
		s.downgrade(g, nil, next, p.recs, reason, fin)
		return nil
	}
	s.commit(p, func(g *consumerGroup) {
		t := s.timersOf(g, id)
		s.timers.cancel(&t.join)
		s.timers.cancel(&t.rebalance)
		s.beat(g, id, int64(r.SessionTimeoutMillis))
		s.restart(&t.sync, int64(max(updated.rebalanceMs, 0)))
		after.done(g)
	}, fin)
	return nil
}

// acceptsClassic is whether a member with this offer can be in the group: of the consumer protocol, with a
// protocol that all members of the classic kind have.
func (g *consumerGroup) acceptsClassic(r *kmsg.JoinGroupRequest) bool {
	if r.ProtocolType != consumerProtocol || len(r.Protocols) == 0 {
		return false
	}
	for i := range r.Protocols {
		if g.classicBy[r.Protocols[i].Name] == g.classics {
			return true
		}
	}
	return false
}

// classicMember is the member of the classic protocol that a request names.
func (g *consumerGroup) classicMember(id string, instance *string, generation int32) (*consumerMember, int16) {
	m := g.members[id]
	if instance != nil {
		m = g.static(instance)
		if m != nil && m.id != id {
			return nil, codeFencedInstanceID
		}
	}
	switch {
	case m == nil || !m.usesClassic():
		return nil, codeUnknownMemberID
	case generation != m.epoch:
		return nil, codeIllegalGeneration
	}
	return m, codeNone
}

// awaitRejoin bounds how long the member may take to join again.
func (s *Shard) awaitRejoin(g *consumerGroup, m *consumerMember) {
	if t := s.timersOf(g, m.id); !t.join.isSet() {
		s.restart(&t.join, int64(max(m.rebalanceMs, 0)))
	}
}

// syncConsumerGroup is a SyncGroup to a KIP-848 group.
func (s *Shard) syncConsumerGroup(e SyncGroup, g *consumerGroup) {
	r := e.Request
	if len(g.members) == 0 {
		s.refuseSync(e, codeUnknownMemberID)
		return
	}
	m, code := g.classicMember(r.MemberID, r.InstanceID, r.Generation)
	if code != codeNone {
		s.refuseSync(e, code)
		return
	}
	offer := m.classic.protocols[0]
	if r.ProtocolType != nil && *r.ProtocolType != consumerProtocol || r.Protocol != nil && *r.Protocol != offer.name {
		s.refuseSync(e, codeInconsistentGroupProtocol)
		return
	}
	if g.targetEpoch > m.epoch && m.state != memberUnrevoked {
		s.awaitRejoin(g, m)
		s.refuseSync(e, codeRebalanceInProgress)
		return
	}
	s.timers.cancel(&s.timersOf(g, m.id).sync)
	s.beat(g, m.id, int64(m.classic.sessionMs))
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version, resp.ProtocolType, resp.Protocol = r.Version, r.ProtocolType, r.Protocol
	resp.MemberAssignment = s.embeddedAssignment(m.assigned.plain(), offer.metadata)
	s.whenDurable(g, func(code int16) {
		if code != codeNone {
			s.refuseSync(e, code)
			return
		}
		s.reply(e.Waiter, resp)
	})
}

// heartbeatConsumerGroup is a Heartbeat to a KIP-848 group: it tells the member when to join again.
func (s *Shard) heartbeatConsumerGroup(r *kmsg.HeartbeatRequest, g *consumerGroup) int16 {
	m, code := g.classicMember(r.MemberID, r.InstanceID, r.Generation)
	if code != codeNone {
		return code
	}
	s.beat(g, m.id, int64(m.classic.sessionMs))
	if m.epoch < g.targetEpoch || m.state == memberUnrevoked || m.state == memberUnreleased && !g.waitsForOthers(m) {
		s.awaitRejoin(g, m)
		return codeRebalanceInProgress
	}
	return codeNone
}

// waitsForOthers is whether some of the member's target is still someone else's.
func (g *consumerGroup) waitsForOthers(m *consumerMember) bool {
	for id, ps := range g.target[m.id].get() {
		for _, p := range ps {
			if !m.assigned.has(id, p) && g.owner(id, p) != -1 {
				return true
			}
		}
	}
	return false
}

// leaveConsumerGroup is a LeaveGroup to a KIP-848 group; an administrator may name members of either protocol.
func (s *Shard) leaveConsumerGroup(e LeaveGroup, g *consumerGroup, leavers []kmsg.LeaveGroupRequestMember) {
	r := e.Request
	resp := kmsg.NewPtrLeaveGroupResponse()
	resp.Version = r.Version
	var leaving []*consumerMember
	seen := map[string]bool{}
	for i := range leavers {
		l := &leavers[i]
		rm := kmsg.NewLeaveGroupResponseMember()
		rm.MemberID, rm.InstanceID = l.MemberID, l.InstanceID
		m := g.members[l.MemberID]
		if l.InstanceID != nil {
			if m = g.static(l.InstanceID); m != nil && l.MemberID != "" && m.id != l.MemberID {
				rm.ErrorCode = codeFencedInstanceID
			}
		}
		switch {
		case rm.ErrorCode != codeNone:
		case m == nil:
			rm.ErrorCode = codeUnknownMemberID
		case !seen[m.id]:
			seen[m.id] = true
			leaving = append(leaving, m)
			s.note(slog.LevelInfo, "member has left group", "group", g.id, "member", m.id)
		}
		resp.Members = append(resp.Members, rm)
	}
	if r.Version < 3 {
		resp.ErrorCode, resp.Members = resp.Members[0].ErrorCode, nil
	}
	s.fence(g, leaving, func(code int16) {
		if code != codeNone {
			resp.ErrorCode, resp.Members = code, nil
		}
		s.reply(e.Waiter, resp)
	})
}
