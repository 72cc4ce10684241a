package group

import (
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// step lets the event happen at the group's shard, unless that does not serve; then it returns why.
func (c *Coordinator) step(group string, ev Event) int16 {
	return c.shards.Step(c.PartitionFor(group), ev)
}

// JoinGroup handles JoinGroup, versions 0 to 9. The answer may take as long as the rebalance timeout.
func (c *Coordinator) JoinGroup(rc RequestContext, req *kmsg.JoinGroupRequest, reply func(*kmsg.JoinGroupResponse)) {
	if code := c.step(req.Group, JoinGroup{Context: rc, Request: req, Waiter: reply}); code != codeNone {
		if req.Group == "" {
			code = codeInvalidGroupID
		}
		resp := joinError(req.MemberID, code)
		resp.Version = req.Version
		reply(resp)
	}
}

// SyncGroup handles SyncGroup, versions 0 to 5.
func (c *Coordinator) SyncGroup(_ RequestContext, req *kmsg.SyncGroupRequest, reply func(*kmsg.SyncGroupResponse)) {
	if code := c.step(req.Group, SyncGroup{Request: req, Waiter: reply}); code != codeNone {
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.Version, resp.ErrorCode, resp.MemberAssignment = req.Version, code, []byte{}
		reply(resp)
	}
}

// HeartbeatCode is Heartbeat without anything to allocate: it returns the error code of the answer.
func (c *Coordinator) HeartbeatCode(req *kmsg.HeartbeatRequest) int16 {
	if req.Group == "" {
		return codeInvalidGroupID
	}
	p := c.PartitionFor(req.Group)
	shard, code := c.shards.Acquire(p)
	defer c.shards.Release(p)
	switch code {
	case codeNone:
	case codeCoordinatorLoadInProgress:
		return codeNone // the member's session starts anew when the group is loaded
	default:
		return code
	}
	code = shard.Heartbeat(req, c.cfg.Clock.Now().UnixMilli())
	c.shards.Rescheduled(p) // a shorter session may have moved a deadline forward
	return code
}

// Heartbeat handles Heartbeat, versions 0 to 4. It answers before it returns.
func (c *Coordinator) Heartbeat(_ RequestContext, req *kmsg.HeartbeatRequest, reply func(*kmsg.HeartbeatResponse)) {
	reply(&kmsg.HeartbeatResponse{Version: req.Version, ErrorCode: c.HeartbeatCode(req)})
}

// LeaveGroup handles LeaveGroup, versions 0 to 5.
func (c *Coordinator) LeaveGroup(_ RequestContext, req *kmsg.LeaveGroupRequest, reply func(*kmsg.LeaveGroupResponse)) {
	if code := c.step(req.Group, LeaveGroup{Request: req, Waiter: reply}); code != codeNone {
		resp := kmsg.NewPtrLeaveGroupResponse()
		resp.Version, resp.ErrorCode = req.Version, code
		reply(resp)
	}
}

// topicOf looks up the topic of a commit, which comes by id (KIP-848) or by name. refused is why its offsets cannot be committed.
func (c *Coordinator) topicOf(byID bool, name string, id [16]byte) (_ string, _ [16]byte, refused int16) {
	var ok bool
	if byID {
		if name, ok = c.topics.TopicName(id); !ok {
			refused = codeUnknownTopicID
		}
	} else if id, ok = c.topics.TopicID(name); !ok {
		refused = codeUnknownTopicOrPartition
	}
	return name, id, refused
}

// partitionCode is why the offset of a partition cannot be committed; refused is why those of its topic cannot.
func (c *Coordinator) partitionCode(refused int16, topic string, partition int32) int16 {
	if refused == codeNone && !c.topics.PartitionExists(topic, partition) {
		return codeUnknownTopicOrPartition
	}
	return refused
}

// OffsetCommit handles OffsetCommit, versions 0 to 10. Offsets of partitions that do not exist are refused
// one by one; the answer comes when the others are durable.
func (c *Coordinator) OffsetCommit(_ RequestContext, req *kmsg.OffsetCommitRequest, reply func(*kmsg.OffsetCommitResponse)) {
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Version = req.Version
	resp.Topics = make([]kmsg.OffsetCommitResponseTopic, len(req.Topics))
	ev := OffsetCommit{
		Request: req, Response: resp, Waiter: reply,
		Names: make([]string, len(req.Topics)), IDs: make([][16]byte, len(req.Topics)),
	}
	for i := range req.Topics {
		t, rt := &req.Topics[i], &resp.Topics[i]
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		rt.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(t.Partitions))
		var refused int16
		ev.Names[i], ev.IDs[i], refused = c.topicOf(req.Version >= 10, t.Topic, t.TopicID)
		for j := range t.Partitions {
			rp := &rt.Partitions[j]
			rp.Partition = t.Partitions[j].Partition
			rp.ErrorCode = c.partitionCode(refused, ev.Names[i], rp.Partition)
		}
	}
	if code := c.step(req.Group, ev); code != codeNone {
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == codeNone {
					p.ErrorCode = code
				}
			}
		}
		reply(resp)
	}
}

// TxnOffsetCommit handles TxnOffsetCommit, versions 0 to 6. From version 6 on topics come by id (KIP-1319): the names are written into the request. That the transaction is the producer's to write
// in has been verified by the caller.
func (c *Coordinator) TxnOffsetCommit(rc RequestContext, req *kmsg.TxnOffsetCommitRequest, reply func(*kmsg.TxnOffsetCommitResponse)) {
	resp := kmsg.NewPtrTxnOffsetCommitResponse()
	resp.Version = req.Version
	resp.Topics = make([]kmsg.TxnOffsetCommitResponseTopic, len(req.Topics))
	ev := TxnOffsetCommit{Request: req, Response: resp, Guard: rc.Guard, Waiter: reply, IDs: make([][16]byte, len(req.Topics))}
	for i := range req.Topics {
		t, rt := &req.Topics[i], &resp.Topics[i]
		var refused int16
		t.Topic, ev.IDs[i], refused = c.topicOf(req.Version >= 6, t.Topic, t.TopicID)
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		rt.Partitions = make([]kmsg.TxnOffsetCommitResponseTopicPartition, len(t.Partitions))
		for j := range t.Partitions {
			rp := &rt.Partitions[j]
			rp.Partition = t.Partitions[j].Partition
			rp.ErrorCode = c.partitionCode(refused, t.Topic, rp.Partition)
		}
	}
	if code := c.step(req.Group, ev); code != codeNone {
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == codeNone {
					p.ErrorCode = code
				}
			}
		}
		reply(resp)
	}
}

// OffsetFetch handles OffsetFetch, versions 0 to 10. It answers before it returns. A group that does not
// exist has no offsets: that is offset -1 for each partition, not an error.
func (c *Coordinator) OffsetFetch(_ RequestContext, req *kmsg.OffsetFetchRequest, reply func(*kmsg.OffsetFetchResponse)) {
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.Version = req.Version
	if req.Version >= 8 {
		resp.Groups = make([]kmsg.OffsetFetchResponseGroup, 0, len(req.Groups))
		for i := range req.Groups {
			resp.Groups = append(resp.Groups, c.fetchGroup(&req.Groups[i], req.Version, req.RequireStable))
		}
		reply(resp)
		return
	}
	rg := kmsg.NewOffsetFetchRequestGroup()
	rg.Group = req.Group
	if req.Topics != nil || req.Version < 2 {
		rg.Topics = make([]kmsg.OffsetFetchRequestGroupTopic, len(req.Topics))
		for i := range req.Topics {
			rg.Topics[i].Topic, rg.Topics[i].Partitions = req.Topics[i].Topic, req.Topics[i].Partitions
		}
	}
	g := c.fetchGroup(&rg, req.Version, req.RequireStable)
	resp.ErrorCode = g.ErrorCode
	resp.Topics = make([]kmsg.OffsetFetchResponseTopic, len(g.Topics))
	for i := range g.Topics {
		resp.Topics[i].Topic = g.Topics[i].Topic
		resp.Topics[i].Partitions = make([]kmsg.OffsetFetchResponseTopicPartition, len(g.Topics[i].Partitions))
		for j, p := range g.Topics[i].Partitions {
			resp.Topics[i].Partitions[j] = kmsg.OffsetFetchResponseTopicPartition{
				Partition: p.Partition, Offset: p.Offset, LeaderEpoch: p.LeaderEpoch, Metadata: p.Metadata, ErrorCode: p.ErrorCode,
			}
		}
	}
	reply(resp)
}

// fetchGroup is the answer for one group. Up to version 1 there is no place for an error of the whole group:
// each partition carries it.
func (c *Coordinator) fetchGroup(rg *kmsg.OffsetFetchRequestGroup, version int16, stable bool) kmsg.OffsetFetchResponseGroup {
	g := kmsg.NewOffsetFetchResponseGroup()
	g.Group = rg.Group
	at := c.PartitionFor(rg.Group)
	shard, code := c.shards.Acquire(at)
	defer c.shards.Release(at)
	if code != codeNone && version >= 2 {
		g.ErrorCode = code
		g.Topics = []kmsg.OffsetFetchResponseGroupTopic{}
		return g
	}
	if version >= 9 && code == codeNone {
		if refused := shard.validateFetch(rg.Group, rg.MemberID, rg.MemberEpoch); refused != codeNone {
			g.ErrorCode, g.Topics = refused, []kmsg.OffsetFetchResponseGroupTopic{}
			return g
		}
	}
	topics := rg.Topics
	if topics == nil { // all
		shard.forEachOffset(rg.Group, func(topic string, ps []int32) {
			t := kmsg.OffsetFetchRequestGroupTopic{Topic: topic, Partitions: ps}
			if version >= 10 {
				id, ok := c.topics.TopicID(topic)
				if !ok {
					return // deleted; its offsets are about to go
				}
				t.TopicID = id
			}
			topics = append(topics, t)
		})
	}
	g.Topics = make([]kmsg.OffsetFetchResponseGroupTopic, len(topics))
	for i := range topics {
		t, gt := &topics[i], &g.Topics[i]
		name, refused := t.Topic, code
		if version >= 10 && code == codeNone {
			var ok bool
			if name, ok = c.topics.TopicName(t.TopicID); !ok {
				refused = codeUnknownTopicID
			}
		}
		gt.Topic, gt.TopicID = t.Topic, t.TopicID
		gt.Partitions = make([]kmsg.OffsetFetchResponseGroupTopicPartition, len(t.Partitions))
		for j, p := range t.Partitions {
			f := fetched{offset: -1, epoch: -1, code: refused}
			if refused == codeNone {
				f = shard.fetchOffset(rg.Group, name, t.TopicID, p, stable)
			}
			gt.Partitions[j] = kmsg.OffsetFetchResponseGroupTopicPartition{
				Partition: p, Offset: f.offset, LeaderEpoch: f.epoch, Metadata: kmsg.StringPtr(f.metadata), ErrorCode: f.code,
			}
		}
	}
	return g
}

// ConsumerGroupHeartbeat handles ConsumerGroupHeartbeat, versions 0 and 1 (KIP-848). The answer comes when
// what it speaks of is durable.
func (c *Coordinator) ConsumerGroupHeartbeat(rc RequestContext, req *kmsg.ConsumerGroupHeartbeatRequest, reply func(*kmsg.ConsumerGroupHeartbeatResponse)) {
	if code := c.step(req.Group, ConsumerGroupHeartbeat{Context: rc, Request: req, Waiter: reply}); code != codeNone {
		resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
		resp.Version, resp.ErrorCode = req.Version, code
		reply(resp)
	}
}

// ConsumerGroupDescribe handles ConsumerGroupDescribe, versions 0 and 1 (KIP-848). It answers before it
// returns. AuthorizedOperations is left at "not asked".
func (c *Coordinator) ConsumerGroupDescribe(_ RequestContext, req *kmsg.ConsumerGroupDescribeRequest, reply func(*kmsg.ConsumerGroupDescribeResponse)) {
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	resp.Version = req.Version
	resp.Groups = make([]kmsg.ConsumerGroupDescribeResponseGroup, 0, len(req.Groups))
	for _, id := range req.Groups {
		resp.Groups = append(resp.Groups, c.describeConsumer(id))
	}
	reply(resp)
}

func (c *Coordinator) describeConsumer(id string) kmsg.ConsumerGroupDescribeResponseGroup {
	refused := func(code int16) kmsg.ConsumerGroupDescribeResponseGroup {
		d := kmsg.NewConsumerGroupDescribeResponseGroup()
		d.Group, d.ErrorCode, d.Members = id, code, []kmsg.ConsumerGroupDescribeResponseGroupMember{}
		return d
	}
	if id == "" {
		return refused(codeInvalidGroupID)
	}
	p := c.PartitionFor(id)
	shard, code := c.shards.Acquire(p)
	defer c.shards.Release(p)
	if code != codeNone {
		return refused(code)
	}
	return shard.describeConsumer(id)
}

// OffsetDelete handles OffsetDelete, version 0 (KIP-496).
func (c *Coordinator) OffsetDelete(_ RequestContext, req *kmsg.OffsetDeleteRequest, reply func(*kmsg.OffsetDeleteResponse)) {
	resp := kmsg.NewPtrOffsetDeleteResponse()
	resp.Version = req.Version
	resp.Topics = make([]kmsg.OffsetDeleteResponseTopic, len(req.Topics))
	for i := range req.Topics {
		t, rt := &req.Topics[i], &resp.Topics[i]
		rt.Topic = t.Topic
		rt.Partitions = make([]kmsg.OffsetDeleteResponseTopicPartition, len(t.Partitions))
		for j := range t.Partitions {
			rp := &rt.Partitions[j]
			rp.Partition = t.Partitions[j].Partition
			if !c.topics.PartitionExists(t.Topic, rp.Partition) {
				rp.ErrorCode = codeUnknownTopicOrPartition
			}
		}
	}
	if code := c.step(req.Group, OffsetDelete{Request: req, Response: resp, Waiter: reply}); code != codeNone {
		resp.ErrorCode, resp.Topics = code, nil
		reply(resp)
	}
}

// DescribeGroups handles DescribeGroups, versions 0 to 6. It answers before it returns.
// AuthorizedOperations is left at "not asked".
func (c *Coordinator) DescribeGroups(_ RequestContext, req *kmsg.DescribeGroupsRequest, reply func(*kmsg.DescribeGroupsResponse)) {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Version = req.Version
	resp.Groups = make([]kmsg.DescribeGroupsResponseGroup, 0, len(req.Groups))
	for _, id := range req.Groups {
		resp.Groups = append(resp.Groups, c.describe(id, req.Version))
	}
	reply(resp)
}

func (c *Coordinator) describe(id string, version int16) kmsg.DescribeGroupsResponseGroup {
	p := c.PartitionFor(id)
	shard, code := c.shards.Acquire(p)
	defer c.shards.Release(p)
	if code != codeNone {
		d := kmsg.NewDescribeGroupsResponseGroup()
		d.Group, d.ErrorCode, d.Members = id, code, []kmsg.DescribeGroupsResponseGroupMember{}
		return d
	}
	return shard.describe(id, version)
}

// ListGroups handles ListGroups, versions 0 to 5, for the groups that this broker coordinates. It answers
// before it returns. While some of them are still loading there is only an error.
func (c *Coordinator) ListGroups(_ RequestContext, req *kmsg.ListGroupsRequest, reply func(*kmsg.ListGroupsResponse)) {
	resp := kmsg.NewPtrListGroupsResponse()
	resp.Version = req.Version
	resp.Groups = []kmsg.ListGroupsResponseGroup{}
	var states, types map[string]bool
	if req.Version >= 4 {
		states = lowerSet(req.StatesFilter)
	}
	if req.Version >= 5 {
		types = lowerSet(req.TypesFilter)
	}
	for shard, code := range c.shards.All() {
		switch code {
		case codeNone:
			resp.Groups = shard.list(resp.Groups, states, types)
		case codeNotCoordinator:
		default:
			resp.ErrorCode = code
		}
	}
	if resp.ErrorCode != codeNone {
		resp.Groups = []kmsg.ListGroupsResponseGroup{}
	}
	reply(resp)
}

func lowerSet(list []string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, s := range list {
		set[strings.ToLower(strings.TrimSpace(s))] = true
	}
	return set
}

// DeleteGroups handles DeleteGroups, versions 0 to 3.
func (c *Coordinator) DeleteGroups(_ RequestContext, req *kmsg.DeleteGroupsRequest, reply func(*kmsg.DeleteGroupsResponse)) {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Version = req.Version
	groups := make([]string, 0, len(req.Groups)) // each once
	seen := make(map[string]bool, len(req.Groups))
	for _, id := range req.Groups {
		if !seen[id] {
			seen[id] = true
			groups = append(groups, id)
		}
	}
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(groups))
	byPartition := map[int32][]int{}
	var order []int32
	for i, id := range groups {
		p := c.PartitionFor(id)
		if byPartition[p] == nil {
			order = append(order, p)
		}
		byPartition[p] = append(byPartition[p], i)
	}
	if len(order) == 0 {
		reply(resp)
		return
	}
	var mu sync.Mutex
	left := len(order)
	for _, p := range order {
		at := byPartition[p]
		part := func(r *kmsg.DeleteGroupsResponse) {
			mu.Lock()
			for k, i := range at {
				resp.Groups[i] = r.Groups[k]
				if code := r.Groups[k].ErrorCode; req.Version >= 3 && code != codeNone {
					resp.Groups[i].ErrorMessage = kmsg.StringPtr(deleteGroupText(groups[i], code))
				}
			}
			left--
			last := left == 0
			mu.Unlock()
			if last {
				reply(resp)
			}
		}
		ids := make([]string, len(at))
		for k, i := range at {
			ids[k] = groups[i]
		}
		if code := c.shards.Step(p, DeleteGroups{Groups: ids, Waiter: part}); code != codeNone {
			r := kmsg.NewPtrDeleteGroupsResponse()
			for _, id := range ids {
				g := kmsg.NewDeleteGroupsResponseGroup()
				g.Group, g.ErrorCode = id, code
				r.Groups = append(r.Groups, g)
			}
			part(r)
		}
	}
}

// deleteGroupText is the message beside an error of DeleteGroups, version 3 and later.
func deleteGroupText(group string, code int16) string {
	if code == codeGroupIDNotFound {
		return "Group " + group + " not found."
	}
	return kerr.TypedErrorForCode(code).Description
}
