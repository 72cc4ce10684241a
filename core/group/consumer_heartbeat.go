package group

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// apiError is a refusal with Kafka's code and text.
type apiError struct {
	code int16
	text string
}

func apiErrorf(code int16, format string, args ...any) *apiError {
	return &apiError{code, fmt.Sprintf(format, args...)}
}

func (s *Shard) refuseBeat(e ConsumerGroupHeartbeat, err *apiError) {
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.Version, resp.ErrorCode = e.Request.Version, err.code
	if err.text != "" {
		resp.ErrorMessage = &err.text
	}
	s.reply(e.Waiter, resp)
}

// answerBeat answers once the records that the answer speaks of are durable.
func (s *Shard) answerBeat(e ConsumerGroupHeartbeat, resp *kmsg.ConsumerGroupHeartbeatResponse) func(int16) {
	return func(code int16) {
		if code != codeNone {
			s.refuseBeat(e, &apiError{code: code})
			return
		}
		s.reply(e.Waiter, resp)
	}
}

func isBlank(s *string) bool { return s != nil && strings.TrimSpace(*s) == "" }

// checkBeat is what is wrong with the request by itself, nil if nothing.
func (s *Shard) checkBeat(r *kmsg.ConsumerGroupHeartbeatRequest) *apiError {
	invalid := func(text string) *apiError { return &apiError{codeInvalidRequest, text} }
	switch {
	case (r.Version >= 1 || r.MemberEpoch > 0 || r.MemberEpoch == epochLeave) && isBlank(&r.MemberID):
		return invalid("MemberId can't be empty.")
	case isBlank(&r.Group):
		return invalid("GroupId can't be empty.")
	case isBlank(r.InstanceID):
		return invalid("InstanceId can't be empty.")
	case isBlank(r.RackID):
		return invalid("RackId can't be empty.")
	case r.MemberEpoch == 0 && r.RebalanceTimeoutMillis == -1:
		return invalid("RebalanceTimeoutMs must be provided in first request.")
	case r.MemberEpoch == 0 && (r.Topics == nil || len(r.Topics) > 0):
		return invalid("TopicPartitions must be empty when (re-)joining.")
	case r.MemberEpoch == 0 && r.SubscribedTopicNames == nil && r.SubscribedTopicRegex == nil:
		return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
	case r.MemberEpoch == epochStaticLeave && r.InstanceID == nil:
		return invalid("InstanceId can't be null.")
	case r.MemberEpoch < epochStaticLeave:
		return invalid("MemberEpoch is invalid.")
	case r.ServerAssignor != nil && !slices.Contains(s.cfg.ConsumerAssignors, *r.ServerAssignor):
		return apiErrorf(codeUnsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %s.",
			*r.ServerAssignor, strings.Join(s.cfg.ConsumerAssignors, ", "))
	}
	return nil
}

func (s *Shard) consumerHeartbeat(e ConsumerGroupHeartbeat) {
	r := e.Request
	err := s.checkBeat(r)
	switch {
	case err != nil:
	case r.MemberEpoch < 0:
		err = s.consumerLeave(e)
	default:
		err = s.consumerBeat(e)
	}
	if err != nil {
		s.refuseBeat(e, err)
	}
}

// beatBytes is what the request makes a member weigh, roughly.
func beatBytes(r *kmsg.ConsumerGroupHeartbeatRequest) int64 {
	n := 700 + len(r.MemberID)
	for _, t := range r.SubscribedTopicNames {
		n += 16 + len(t)
	}
	for _, p := range []*string{r.InstanceID, r.RackID, r.SubscribedTopicRegex} {
		if p != nil {
			n += len(*p)
		}
	}
	return int64(n)
}

// consumerBeat is a heartbeat of a member that stays, or joins.
func (s *Shard) consumerBeat(e ConsumerGroupHeartbeat) *apiError {
	r := e.Request
	joins := r.MemberEpoch == 0
	if size := beatBytes(r); size > s.cfg.MaxMemberBytes || joins && s.full(size+consumerGroupBytes(r.Group)) {
		s.note(slog.LevelWarn, "refused a member: it or the groups of its partition take too much memory", "group", strings.Clone(r.Group), "bytes", size)
		return &apiError{codeGroupMaxSizeReached, "The groups of this partition take too much memory."}
	}
	p, err := s.consumerFor(r.Group, joins)
	if err != nil {
		return err
	}
	g := p.g
	id := strings.Clone(r.MemberID)
	if err := s.roomFor(g, id); err != nil {
		return err
	}
	if id == "" {
		id = s.cfg.NewMemberID()
	}
	owned := ownedPartitions(r.Topics)
	m, err := s.memberFor(p, id, r.MemberEpoch, r.InstanceID, owned, joins, false)
	if err != nil {
		return err
	}
	updated := *m
	updateText(&updated.instance, r.InstanceID)
	updateText(&updated.rack, r.RackID)
	updateText(&updated.assignor, r.ServerAssignor)
	updateText(&updated.regex, r.SubscribedTopicRegex)
	if r.RebalanceTimeoutMillis != -1 {
		updated.rebalanceMs = r.RebalanceTimeoutMillis
	}
	if r.SubscribedTopicNames != nil {
		updated.topics = uniqueTopics(r.SubscribedTopicNames)
	}
	updated.setClient(e.Context)
	updated.classic = nil

	after, err := s.update(p, m, &updated, e.Context)
	if err != nil {
		return err
	}
	epoch, target, err := s.target(g, after.bumped, m, &updated, &p.recs)
	if err != nil {
		return err
	}
	reconciled, err := s.reconcile(g, &updated, epoch, target, after.subscribed, owned, &p.recs)
	if err != nil {
		return err
	}
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.Version, resp.MemberID, resp.MemberEpoch = r.Version, &id, reconciled.epoch
	resp.HeartbeatIntervalMillis = s.consumerHeartbeatMs(r.Group)
	full := r.RebalanceTimeoutMillis != -1 && (r.SubscribedTopicNames != nil || r.SubscribedTopicRegex != nil) && r.Topics != nil
	if joins || full || !m.assigned.equal(reconciled.assigned) {
		resp.Assignment = heartbeatAssignment(reconciled.assigned)
	}
	s.commit(p, func(g *consumerGroup) {
		if m.epoch == 0 && m.previous == -1 {
			s.note(slog.LevelInfo, "member joins the consumer group", "group", g.id, "member", id, "protocol", consumerProtocol)
		}
		s.beat(g, id, s.consumerSessionMs(g.id))
		if reconciled != &updated {
			s.watchRevocation(g, reconciled)
		}
		after.done(g)
	}, s.answerBeat(e, resp))
	return nil
}

func updateText(to **string, v *string) {
	if v != nil && !equalText(*to, v) {
		c := strings.Clone(*v)
		*to = &c
	}
}

func uniqueTopics(names []string) []string {
	topics := make([]string, len(names))
	for i, n := range names {
		topics[i] = strings.Clone(n)
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

func (m *consumerMember) setClient(c RequestContext) {
	if m.clientID != c.ClientID {
		m.clientID = strings.Clone(c.ClientID)
	}
	if m.clientHost != c.ClientHost {
		m.clientHost = strings.Clone(c.ClientHost)
	}
}

func heartbeatAssignment(e epochs) *kmsg.ConsumerGroupHeartbeatResponseAssignment {
	a := &kmsg.ConsumerGroupHeartbeatResponseAssignment{Topics: []kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{}}
	plain := e.plain()
	for _, id := range sortedTopics(plain) {
		a.Topics = append(a.Topics, kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{TopicID: id, Partitions: plain[id]})
	}
	return a
}

// roomFor is group.consumer.max.size.
func (s *Shard) roomFor(g *consumerGroup, id string) *apiError {
	if int64(len(g.members)) >= int64(s.cfg.ConsumerMaxSize) && (id == "" || g.members[id] == nil) {
		return apiErrorf(codeGroupMaxSizeReached, "The consumer group has reached its maximum capacity of %d members.", s.cfg.ConsumerMaxSize)
	}
	return nil
}

// memberFor is the member that a request names, a new one if it joins. Records of a static member that takes
// the place of another are added to p.
func (s *Shard) memberFor(p *plan, id string, epoch int32, instance *string, owned ownedPartitions, joins, classic bool) (*consumerMember, *apiError) {
	g := p.g
	if instance == nil {
		m := g.members[id]
		switch {
		case m == nil && !joins:
			return nil, apiErrorf(codeUnknownMemberID, "Member %s is not a member of group %s.", id, g.id)
		case m == nil:
			m = newConsumerMember(id)
		}
		if !classic {
			return m, checkEpoch(m, epoch, owned)
		}
		return m, nil
	}
	old := g.static(instance)
	if !joins {
		if err := checkInstance(old, id, instance); err != nil {
			return nil, err
		}
		if !classic {
			return old, checkEpoch(old, epoch, owned)
		}
		return old, nil
	}
	if old == nil {
		if m := g.members[id]; m != nil {
			return m, nil
		}
		return newConsumerMember(id), nil
	}
	if !classic && !old.usesClassic() && old.epoch != epochStaticLeave {
		return nil, apiErrorf(codeUnreleasedInstanceID, "Static member %s with instance id %s cannot join the group because the instance id is owned by %s member.",
			id, *instance, old.id)
	}
	m := *old
	m.id, m.epoch, m.previous = id, 0, 0
	p.replaced = old.id
	p.recs = append(p.recs, removeMember(g.id, old.id)...)
	p.recs = append(p.recs,
		consumerRecord{kind: keyConsumerMember, group: g.id, name: id, value: m.self()},
		consumerRecord{kind: keyConsumerTargetMember, group: g.id, name: id, value: orEmpty(g.target[old.id])},
		consumerRecord{kind: keyConsumerCurrent, group: g.id, name: id, value: m.current()})
	return &m, nil
}

func orEmpty(t *target) *target {
	if t == nil {
		return &target{parts: assignment{}}
	}
	return t
}

func removeMember(group, id string) []consumerRecord {
	return []consumerRecord{
		{kind: keyConsumerCurrent, group: group, name: id},
		{kind: keyConsumerTargetMember, group: group, name: id},
		{kind: keyConsumerMember, group: group, name: id},
	}
}

// checkInstance is whether a request of the member speaks for the instance, whose member is m.
func checkInstance(m *consumerMember, id string, instance *string) *apiError {
	switch {
	case m == nil:
		return apiErrorf(codeUnknownMemberID, "Instance id %s is unknown.", *instance)
	case m.id != id:
		return apiErrorf(codeFencedInstanceID, "Static member %s with instance id %s was fenced by member %s.", id, *instance, m.id)
	}
	return nil
}

// checkEpoch lets the member in with its own epoch, with 0, which means that it has nothing, and with the one
// before if it did not hear of the new one and has nothing that is not its own.
func checkEpoch(m *consumerMember, epoch int32, owned ownedPartitions) *apiError {
	which := "greater"
	switch {
	case epoch == 0 || epoch == m.epoch:
		return nil
	case epoch < m.epoch:
		if epoch == m.previous && owned.within(m.assigned) {
			return nil
		}
		which = "smaller"
	}
	return apiErrorf(codeFencedMemberEpoch,
		"The consumer group member has a %s member epoch (%d) than the one known by the group coordinator (%d). The member must abandon all its partitions and rejoin.",
		which, epoch, m.epoch)
}

// updated is what an update of a member leads to.
type updated struct {
	bumped
	subscribed bool // its subscription changed
	done       func(*consumerGroup)
}

// update adds the records of what the member now says of itself, and of the group epoch that follows from it.
func (s *Shard) update(p *plan, old, m *consumerMember, c RequestContext) (updated, *apiError) {
	g := p.g
	topicsChanged := false
	if !m.memberRecord.sameAs(&old.memberRecord) {
		p.recs = append(p.recs, consumerRecord{kind: keyConsumerMember, group: g.id, name: m.id, value: m.self()})
		topicsChanged = !slices.Equal(m.topics, old.topics)
	}
	rx, err := s.updateRegex(p, old, m)
	if err != nil {
		return updated{}, err
	}
	u := updated{bumped: bumped{g.epoch, g.homogeneous}, subscribed: topicsChanged || rx.changed}
	force, refreshed := topicsChanged || rx.resolved, false
	if m.classic != nil {
		force = topicsChanged || rx.changed
	}
	if force || s.now >= g.refreshAt {
		u.bumped = s.refreshMetadata(g, force, old, m, &p.recs)
		refreshed = true
	}
	u.done = func(g *consumerGroup) {
		if refreshed {
			g.refreshAt = s.now + metadataRefreshMs
		}
		s.resolveRegexes(g, rx.resolve, c)
	}
	return u, nil
}
