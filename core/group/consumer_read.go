package group

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeConsumer is the ConsumerGroupDescribe answer for one group.
func (s *Shard) describeConsumer(id string) kmsg.ConsumerGroupDescribeResponseGroup {
	d := kmsg.NewConsumerGroupDescribeResponseGroup()
	d.Group, d.Members = id, []kmsg.ConsumerGroupDescribeResponseGroupMember{}
	g, err := s.consumer(id)
	if err != nil {
		d.ErrorCode, d.ErrorMessage = err.code, &err.text
		return d
	}
	d.State, d.Epoch, d.AssignmentEpoch = g.state(), g.epoch, g.targetEpoch
	d.AssignorName = s.preferredAssignor(g, nil, nil)
	for _, mid := range sortedKeys(g.members) {
		m := g.members[mid]
		dm := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		dm.MemberID, dm.InstanceID, dm.RackID, dm.MemberEpoch = m.id, m.instance, m.rack, m.epoch
		dm.ClientID, dm.ClientHost = m.clientID, m.clientHost
		dm.SubscribedTopics, dm.SubscribedTopicRegex = m.topics, m.regex
		if dm.SubscribedTopics == nil {
			dm.SubscribedTopics = []string{}
		}
		has := m.assigned.clone()
		for tid, ps := range m.revoking { // it has these until it says that it has given them up
			if has[tid] == nil {
				has[tid] = map[int32]int32{}
			}
			for p, e := range ps {
				has[tid][p] = e
			}
		}
		dm.Assignment, dm.TargetAssignment = s.described(has.plain()), s.described(g.target[mid].get())
		dm.MemberType = 1
		if m.usesClassic() {
			dm.MemberType = 0
		}
		d.Members = append(d.Members, dm)
	}
	return d
}

func (s *Shard) described(a assignment) kmsg.Assignment {
	out := kmsg.NewAssignment()
	out.TopicPartitions = []kmsg.AssignmentTopicPartition{}
	for _, id := range sortedTopics(a) {
		if t, ok := s.image.TopicByID(id); ok {
			tp := kmsg.NewAssignmentTopicPartition()
			tp.TopicID, tp.Topic, tp.Partitions = id, t.Name, a[id]
			out.TopicPartitions = append(out.TopicPartitions, tp)
		}
	}
	return out
}

// validateFetch is whether a member may ask for the group's offsets: one that says its id and epoch must be
// in the group with that epoch (KIP-848).
func (s *Shard) validateFetch(group string, memberID *string, epoch int32) int16 {
	g := s.consumers[group]
	if g == nil || memberID == nil && epoch < 0 {
		return codeNone
	}
	var m *consumerMember
	if memberID != nil {
		m = g.members[*memberID]
	}
	switch {
	case m == nil:
		return codeUnknownMemberID
	case epoch == m.epoch:
		return codeNone
	case m.usesClassic():
		return codeIllegalGeneration
	}
	return codeStaleMemberEpoch
}

// validateConsumerCommit is whether c may commit offsets of the group. The function that is returned, if not
// nil, judges each partition: a member that has not heard of its new epoch may commit what it has had since
// before.
func (g *consumerGroup) validateConsumerCommit(c committer) (func(topic uuid, p int32) int16, int16) {
	switch {
	case c.generation < 0 && len(g.members) == 0:
		return nil, codeNone
	case c.txn && c.generation == -1 && c.memberID == "" && c.instance == nil:
		return nil, codeNone
	}
	m := g.members[c.memberID]
	if m == nil {
		return nil, codeUnknownMemberID
	}
	stale := codeStaleMemberEpoch
	if m.usesClassic() || c.txn && c.version < 6 { // KIP-1319
		stale = codeIllegalGeneration
	}
	switch {
	case !c.txn && !m.usesClassic() && c.version < 9:
		return nil, codeUnsupportedVersion
	case c.generation == m.epoch:
		return nil, codeNone
	case c.generation > m.epoch:
		return nil, stale
	}
	return func(topic uuid, p int32) int16 {
		since, ok := m.assigned[topic][p]
		if !ok {
			since, ok = m.revoking[topic][p]
		}
		if !ok || c.generation < since {
			return stale
		}
		return codeNone
	}, codeNone
}
