package group

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetched is the answer for one committed offset.
type fetched struct {
	offset   int64
	epoch    int32
	metadata string
	code     int16
}

const codeUnstableOffsetCommit int16 = 88

// fetchOffset is the durable committed offset, offset -1 if there is none. With stable, one that an open
// transaction may change is an error that clients retry (KIP-447). id is the topic's id if the request
// named it: an offset that was committed for another topic of the same name is not this topic's.
func (s *Shard) fetchOffset(group, topic string, id [16]byte, partition int32, stable bool) fetched {
	none := fetched{offset: -1, epoch: -1}
	e := s.offsets.get(group, topic, partition)
	switch {
	case e == nil:
		return none
	case stable && e.txns > 0:
		none.code = codeUnstableOffsetCommit
		return none
	case !e.has, id != [16]byte{} && e.value.topicID != [16]byte{} && id != e.value.topicID:
		return none
	}
	return fetched{offset: e.value.offset, epoch: e.value.epoch, metadata: e.value.metadata}
}

// forEachOffset calls fn for every topic of the group with a committed offset, and its partitions.
func (s *Shard) forEachOffset(group string, fn func(topic string, partitions []int32)) {
	og := s.offsets.groups[group]
	if og == nil {
		return
	}
	for _, topic := range sortedKeys(og.topics) {
		tp := og.topics[topic]
		var ps []int32
		for _, p := range sortedKeys(tp.parts) {
			if tp.parts[p].has { // Kafka does not name a partition that has only what a transaction has not committed yet
				ps = append(ps, p)
			}
		}
		if len(ps) > 0 {
			fn(topic, ps)
		}
	}
}

// describe is the DescribeGroups answer for one group. Before version 6 a group that does not exist is
// simply dead (KIP-1043).
func (s *Shard) describe(id string, version int16) kmsg.DescribeGroupsResponseGroup {
	d := kmsg.NewDescribeGroupsResponseGroup()
	d.Group, d.Members = id, []kmsg.DescribeGroupsResponseGroupMember{}
	g := s.groups[id]
	if g == nil {
		text := "Group %s not found."
		if s.consumers[id] != nil {
			text = "Group %s is not a classic group."
		}
		d.State = stateDead.String()
		if version >= 6 {
			d.ErrorCode = codeGroupIDNotFound
			d.ErrorMessage = kmsg.StringPtr(fmt.Sprintf(text, id))
		}
		return d
	}
	d.State, d.ProtocolType = g.state.String(), g.protocolType
	stable := g.state == stateStable
	if stable {
		d.Protocol = g.protocol
	}
	for _, m := range g.order {
		dm := kmsg.NewDescribeGroupsResponseGroupMember()
		dm.MemberID, dm.ClientID, dm.ClientHost = m.id, m.clientID, m.clientHost
		if m.static {
			dm.InstanceID = kmsg.StringPtr(m.instance)
		}
		dm.ProtocolMetadata, dm.MemberAssignment = []byte{}, []byte{}
		if stable {
			dm.ProtocolMetadata = m.metadataOf(g.protocol)
		}
		if m.assignment != nil { // in a rebalance, what it still has
			dm.MemberAssignment = m.assignment
		}
		d.Members = append(d.Members, dm)
	}
	return d
}

// The types of groups, as ListGroups names them (KIP-848).
const (
	typeClassic  = "classic"
	typeConsumer = "consumer"
)

// list appends the groups that pass the filters, which are lower case; an empty filter passes all.
func (s *Shard) list(dst []kmsg.ListGroupsResponseGroup, states, types map[string]bool) []kmsg.ListGroupsResponseGroup {
	add := func(id, protocol, state, kind string) {
		if len(states) > 0 && !states[strings.ToLower(state)] || len(types) > 0 && !types[kind] {
			return
		}
		lg := kmsg.NewListGroupsResponseGroup()
		lg.Group, lg.ProtocolType, lg.GroupState, lg.GroupType = id, protocol, state, kind
		dst = append(dst, lg)
	}
	for _, id := range sortedKeys(s.groups) {
		g := s.groups[id]
		add(g.id, g.protocolType, g.state.String(), typeClassic)
	}
	for _, id := range sortedKeys(s.consumers) {
		g := s.consumers[id]
		add(g.id, consumerProtocol, g.state(), typeConsumer)
	}
	return dst
}
