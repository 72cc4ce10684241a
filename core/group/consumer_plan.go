package group

import (
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// plan is a change of a KIP-848 group while it is thought out. Nothing is touched before commit, so a
// refusal at any point leaves no trace: decisions read the group as it is, or as it will be converted, and add
// records; commit applies the records, which is all that ever changes the group.
type plan struct {
	id       string
	g        *consumerGroup // not yet the shard's own if the group is new or converted
	recs     []consumerRecord
	replaced string // the static member whose place was taken
	upgraded *group // the classic group that is converted
}

// add adds a record and applies it to the plan's group, which must not be the shard's.
func (p *plan) add(r consumerRecord) {
	if err := p.g.apply(&r); err != nil {
		panic(fmt.Sprintf("group: converting %q: %v", p.id, err))
	}
	p.recs = append(p.recs, r)
}

// consumerFor is a plan for the KIP-848 group. joins says that the group is made if there is none, that a
// classic one without members gives way to it, and that one with members is converted.
func (s *Shard) consumerFor(id string, joins bool) (*plan, *apiError) {
	if g := s.consumers[id]; g != nil {
		return &plan{id: g.id, g: g}, nil
	}
	c := s.groups[id]
	switch {
	case c == nil && !joins:
		return nil, apiErrorf(codeGroupIDNotFound, "Consumer group %s not found.", id)
	case c == nil:
		id = cloneText(id)
		return &plan{id: id, g: newConsumerGroup(id)}, nil
	case joins && c.state == stateEmpty:
		s.note(slog.LevelInfo, "converting an empty classic group to a consumer group", "group", c.id)
		return &plan{id: c.id, g: newConsumerGroup(c.id), recs: []consumerRecord{{kind: keyGroup, group: c.id}}}, nil
	case joins:
		return s.planUpgrade(c)
	}
	return nil, apiErrorf(codeGroupIDNotFound, "Group %s is not a consumer group.", id)
}

// consumer is the KIP-848 group with this id.
func (s *Shard) consumer(id string) (*consumerGroup, *apiError) {
	switch {
	case s.consumers[id] != nil:
		return s.consumers[id], nil
	case s.groups[id] != nil:
		return nil, apiErrorf(codeGroupIDNotFound, "Group %s is not a consumer group.", id)
	}
	return nil, apiErrorf(codeGroupIDNotFound, "Group %s not found.", id)
}

// commit applies the plan's records and emits them. applied, which may be nil, is called with the group as it
// is afterwards; fin when the records are durable, and with them everything of the group that was written
// before. If the records cannot be written nothing is changed, and fin is told why.
func (s *Shard) commit(p *plan, applied func(*consumerGroup), fin func(code int16)) {
	var batch []Record
	size := 0
	for i := range p.recs {
		rec := Record{Key: p.recs[i].key(), Value: p.recs[i].bytes()}
		size += len(rec.Key) + len(rec.Value) + 32
		batch = append(batch, rec)
	}
	switch {
	case s.closed:
		fin(codeNotCoordinator)
		return
	case size > s.cfg.MaxAtomicBytes:
		s.note(slog.LevelError, "a change of a consumer group is too large to be written at once", "group", p.id, "bytes", size, "limit", s.cfg.MaxAtomicBytes)
		fin(codeUnknownServerError)
		return
	case len(batch) > 0 && s.waiting+int64(size) > s.cfg.MaxInflightBytes && len(s.inflight) > 0:
		s.note(slog.LevelWarn, "refused a write: too much is waiting for the disk", "inflight_bytes", s.waiting)
		fin(codeCoordinatorNotAvailable)
		return
	}
	var sessions map[string]int64
	if p.upgraded != nil {
		sessions = s.leaveClassic(p.upgraded)
	}
	for i := range p.recs {
		if err := s.applyConsumer(&p.recs[i]); err != nil {
			panic(fmt.Sprintf("group: a record of %q does not fit: %v", p.id, err))
		}
	}
	g := s.consumers[p.id]
	for _, id := range sortedKeys(sessions) {
		if g.members[id] != nil {
			s.beat(g, id, sessions[id])
		}
	}
	if g != nil && applied != nil {
		applied(g)
	}
	s.emitConsumer(g, batch, fin)
}

// emitConsumer emits records of a KIP-848 group that have been applied. If they cannot be appended the shard
// is at odds with the log: it is loaded anew.
func (s *Shard) emitConsumer(g *consumerGroup, batch []Record, fin func(code int16)) {
	if len(batch) == 0 {
		s.whenDurable(g, fin)
		return
	}
	s.emitBatch(Batch{ProducerID: -1, Records: batch}, nil, &held{left: 1, fin: fin, undo: s.lose})
	if g != nil {
		g.lastSeq = s.seq
	}
}

// whenDurable calls fin when everything that was written of the group is durable.
func (s *Shard) whenDurable(g *consumerGroup, fin func(code int16)) {
	if g != nil && len(s.inflight) > 0 && g.lastSeq >= s.inflight[0].seq {
		h := &held{left: 1, fin: fin}
		s.limit(h)
		f := s.inflight[g.lastSeq-s.inflight[0].seq]
		f.behind = append(f.behind, h)
		return
	}
	fin(codeNone)
}

// lose is that the log has not taken what the state already holds.
func (s *Shard) lose() { s.lost = true }

// checkLost ends a shard whose state is not in the log, and asks for it to be loaded anew.
func (s *Shard) checkLost() {
	if !s.lost || s.closed {
		return
	}
	s.resigned()
	s.effects = append(s.effects, Effect{Reload: true})
	s.note(slog.LevelError, "groups are loaded anew: a change of one could not be written")
}

// consumerLeave is the last heartbeat of a member.
func (s *Shard) consumerLeave(e ConsumerGroupHeartbeat) *apiError {
	r := e.Request
	g, err := s.consumer(r.Group)
	if err != nil {
		return err
	}
	m := g.members[r.MemberID]
	if r.InstanceID != nil {
		m = g.static(r.InstanceID)
		if err := checkInstance(m, r.MemberID, r.InstanceID); err != nil {
			return err
		}
	} else if m == nil {
		return apiErrorf(codeUnknownMemberID, "Member %s is not a member of group %s.", r.MemberID, g.id)
	}
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	id := m.id
	resp.Version, resp.MemberID, resp.MemberEpoch = r.Version, &id, r.MemberEpoch
	if r.InstanceID != nil && r.MemberEpoch == epochStaticLeave {
		s.note(slog.LevelInfo, "static member leaves for a while", "group", g.id, "member", m.id, "instance", *m.instance)
		away := *m
		away.epoch, away.revoking = epochStaticLeave, nil
		away.assigned = m.assigned.plain().withEpoch(0)
		p := &plan{id: g.id, g: g, recs: []consumerRecord{{kind: keyConsumerCurrent, group: g.id, name: m.id, value: away.current()}}}
		s.commit(p, nil, s.answerBeat(e, resp))
		return nil
	}
	s.note(slog.LevelInfo, "member leaves the consumer group", "group", g.id, "member", m.id)
	s.fence(g, []*consumerMember{m}, s.answerBeat(e, resp))
	return nil
}

// fence takes the members out of the group. If only members of the classic protocol are left the group may
// become a classic one.
func (s *Shard) fence(g *consumerGroup, members []*consumerMember, fin func(code int16)) {
	if len(members) == 0 {
		s.whenDurable(g, fin)
		return
	}
	if s.canDowngrade(g, members) {
		s.downgrade(g, members, nil, nil, "Downgrade group "+g.id+" from consumer to classic for member leaving.", fin)
		return
	}
	p := &plan{id: g.id, g: g}
	topics := cloneTopics(g.topics)
	leaving := map[string]int{}
	for _, m := range members {
		p.recs = append(p.recs, removeMember(g.id, m.id)...)
		for _, t := range m.topics {
			bumpTopic(topics, t, -1, 0)
		}
		if x := m.subscribedRegex(); x != "" {
			leaving[x]++
		}
	}
	for _, x := range sortedKeys(leaving) {
		if g.regexes[x] != leaving[x] {
			continue
		}
		p.recs = append(p.recs, consumerRecord{kind: keyConsumerRegex, group: g.id, name: x})
		if res := g.resolved[x]; res != nil {
			for _, t := range res.topics {
				bumpTopic(topics, t, 0, -1)
			}
		}
	}
	p.recs = append(p.recs, consumerRecord{kind: keyConsumerEpoch, group: g.id, value: epochRecord{g.epoch + 1, s.metadataHash(topics)}})
	s.commit(p, nil, fin)
}
