package group

import (
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The values of group.consumer.migration.policy.
const (
	MigrationDisabled      = "disabled"
	MigrationUpgrade       = "upgrade"
	MigrationDowngrade     = "downgrade"
	MigrationBidirectional = "bidirectional"
)

func (s *Shard) upgrades() bool {
	return s.cfg.ConsumerMigration == MigrationUpgrade || s.cfg.ConsumerMigration == MigrationBidirectional
}

func (s *Shard) downgrades() bool {
	return s.cfg.ConsumerMigration == MigrationDowngrade || s.cfg.ConsumerMigration == MigrationBidirectional
}

func cloneText(s string) string { return strings.Clone(s) }

// planUpgrade is a plan that makes a KIP-848 group of a classic one with members: they keep their assignments
// and ids, and their generation becomes the group's epoch.
func (s *Shard) planUpgrade(c *group) (*plan, *apiError) {
	refuse := func(why string) (*plan, *apiError) {
		text := "Cannot upgrade classic group " + c.id + " to consumer group because " + why
		s.note(slog.LevelInfo, text)
		return nil, &apiError{codeGroupIDNotFound, text}
	}
	switch {
	case !s.upgrades():
		return refuse("online upgrade is disabled.")
	case !c.isConsumer():
		return refuse("the group does not use the consumer embedded protocol.")
	case int64(len(c.members)) > int64(s.cfg.ConsumerMaxSize):
		return refuse("the group size exceeds the consumer group maximum size.")
	}
	members := make([]*consumerMember, 0, len(c.order))
	for _, cm := range c.order {
		m, err := s.upgradeMember(c, cm)
		switch {
		case errors.Is(err, errCustomAssignor):
			return refuse("an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before re-attempting the upgrade.")
		case err != nil:
			return refuse("the embedded consumer protocol is malformed.")
		}
		members = append(members, m)
	}
	p := &plan{id: c.id, g: newConsumerGroup(c.id), upgraded: c, recs: []consumerRecord{{kind: keyGroup, group: c.id}}}
	for _, m := range members {
		p.add(consumerRecord{kind: keyConsumerMember, group: c.id, name: m.id, value: m.self()})
	}
	p.add(consumerRecord{kind: keyConsumerEpoch, group: c.id, value: epochRecord{c.generation, s.metadataHash(p.g.topics)}})
	for _, m := range members {
		p.add(consumerRecord{kind: keyConsumerTargetMember, group: c.id, name: m.id, value: newTarget(m.assigned.plain())})
	}
	p.add(consumerRecord{kind: keyConsumerTargetEpoch, group: c.id, value: targetEpochRecord{epoch: c.generation}})
	for _, m := range members {
		p.add(consumerRecord{kind: keyConsumerCurrent, group: c.id, name: m.id, value: m.current()})
	}
	s.note(slog.LevelInfo, "converting a classic group to a consumer group", "group", c.id, "members", len(members))
	return p, nil
}

// errCustomAssignor is an assignment with data of an assignor that the server does not have.
var errCustomAssignor = errors.New("user data of a custom assignor would be lost")

func (s *Shard) upgradeMember(c *group, cm *member) (*consumerMember, error) {
	sub, err := parseConsumerSubscription(cm.metadataOf(c.selected()))
	if err != nil {
		return nil, err
	}
	has := assignment{}
	if len(cm.assignment) > 0 {
		topics, userData, err := parseConsumerAssignment(cm.assignment)
		switch {
		case err != nil:
			return nil, err
		case len(userData) > 0:
			return nil, errCustomAssignor
		}
		for name, ps := range topics {
			if t, ok := s.image.Topic(name); ok && len(ps) > 0 {
				has[t.ID] = ps
			}
		}
	}
	m := newConsumerMember(cm.id)
	m.memberRecord = memberRecord{
		clientID: cm.clientID, clientHost: cm.clientHost, topics: uniqueTopics(sub.topics), regex: m.regex,
		rebalanceMs: cm.rebalanceTimeoutMs, rack: sub.rack,
		classic: &classicOffer{cm.sessionTimeoutMs, slices.Clone(cm.protocols)},
	}
	if cm.static {
		m.instance = kmsg.StringPtr(cm.instance)
	}
	m.currentRecord = currentRecord{epoch: c.generation, previous: c.generation, assigned: has.withEpoch(c.generation)}
	return m, nil
}

// selected is the protocol of the group, or, before there is one, that which it would choose.
func (g *group) selected() string {
	if g.hasProtocol {
		return g.protocol
	}
	return g.selectProtocol()
}

// leaveClassic ends a classic group that is converted: its members are to join again, and find themselves in
// the other kind of group. It returns their session timeouts.
func (s *Shard) leaveClassic(c *group) map[string]int64 {
	sessions := map[string]int64{}
	for _, m := range c.order {
		s.answerJoin(c, m, joinError(m.id, codeRebalanceInProgress))
		s.answerSync(m, &kmsg.SyncGroupResponse{ErrorCode: codeRebalanceInProgress})
		sessions[m.id] = int64(m.sessionTimeoutMs)
	}
	return sessions
}

// canDowngrade is whether the group becomes a classic one when these members leave.
func (s *Shard) canDowngrade(g *consumerGroup, leaving []*consumerMember) bool {
	classics := g.classics
	for _, m := range leaving {
		if m.usesClassic() {
			classics--
		}
	}
	left := len(g.members) - len(leaving)
	return left > 0 && classics == left && s.downgrades() && int64(left) <= int64(s.cfg.MaxGroupSize)
}

// downgrade makes a classic group of a KIP-848 one: its members keep their targets, and the epoch becomes the
// generation. joining, a static member that takes its place from one of the other protocol, comes in with
// its new id; recs are the records of that. reason, if set, begins a rebalance.
func (s *Shard) downgrade(g *consumerGroup, leaving []*consumerMember, joining *consumerMember, recs []consumerRecord, reason string, fin func(code int16)) {
	replaced := ""
	if joining != nil {
		if old := g.static(joining.instance); old != nil {
			replaced = old.id
		}
	}
	recs = append(recs, g.tombstones(func(id string) string {
		if joining != nil && id == replaced {
			return joining.id
		}
		return id
	})...)
	c := newGroup(g.id, stateStable, s.now)
	c.generation, c.protocolType = g.epoch, consumerProtocol
	add := func(m *consumerMember) {
		cm := &member{
			id: m.id, clientID: m.clientID, clientHost: m.clientHost, rebalanceTimeoutMs: m.rebalanceMs,
			sessionTimeoutMs: m.classic.sessionMs, protocols: slices.Clone(m.classic.protocols),
		}
		if m.instance != nil {
			cm.instance, cm.static = *m.instance, true
		}
		c.add(cm, consumerProtocol)
	}
	for _, id := range sortedKeys(g.members) {
		if m := g.members[id]; m.usesClassic() && !slices.Contains(leaving, m) && id != replaced {
			add(m)
		}
	}
	if joining != nil {
		add(joining)
	}
	c.protocol, c.hasProtocol = c.selectProtocol(), true
	c.computeSubscribed()
	for _, cm := range c.order {
		id := cm.id
		if joining != nil && id == joining.id {
			id = replaced
		}
		cm.assignment = s.embeddedAssignment(g.target[id].get(), cm.metadataOf(c.protocol))
	}
	recs = append(recs, consumerRecord{kind: keyGroup, group: g.id, value: c.appendValue(nil, func(m *member) []byte { return m.assignment })})

	var batch []Record
	size := 0
	for i := range recs {
		rec := Record{Key: recs[i].key(), Value: recs[i].bytes()}
		size += len(rec.Key) + len(rec.Value) + 32
		batch = append(batch, rec)
	}
	if size > s.cfg.MaxAtomicBytes || s.waiting+int64(size) > s.cfg.MaxInflightBytes && len(s.inflight) > 0 {
		s.note(slog.LevelWarn, "a consumer group could not become a classic one: too much would be written", "group", g.id, "bytes", size)
		fin(codeCoordinatorNotAvailable)
		return
	}
	s.dropConsumer(g)
	s.keep(c)
	for _, cm := range c.order {
		s.account(cm)
		s.startSession(c, cm, int64(cm.sessionTimeoutMs))
	}
	s.note(slog.LevelInfo, "converted a consumer group to a classic group", "group", c.id, "members", len(c.order))
	s.emitBatch(Batch{ProducerID: -1, Records: batch}, nil, &held{left: 1, fin: fin, undo: s.lose})
	if reason != "" {
		s.prepareRebalance(c, reason)
	}
}
