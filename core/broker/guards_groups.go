package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/security/acl"
)

// readGroup wants READ of the group that a request names.
func readGroup[Q kmsg.Request](group func(q Q) string) guard {
	return func(c *call, req kmsg.Request) kmsg.Response {
		if c.allowed(acl.Read, acl.Group, group(req.(Q))) {
			return nil
		}
		return refused(req, kerr.GroupAuthorizationFailed)
	}
}

// shareKeyVersion is the first version of FindCoordinator that knows shares.
const shareKeyVersion = 6

func guardFindCoordinator(c *call, req *kmsg.FindCoordinatorRequest) kmsg.Response {
	kind := req.CoordinatorType
	if req.Version < 1 {
		kind = groupKey
	}
	may := func(key string) *kerr.Error {
		switch {
		case kind == groupKey && !c.allowed(acl.Describe, acl.Group, key):
			return kerr.GroupAuthorizationFailed
		case kind == transactionKey && !c.allowed(acl.Describe, acl.TransactionalID, key):
			return kerr.TransactionalIDAuthorizationFailed
		case kind == shareKey && req.Version >= shareKeyVersion && !c.allowedCluster(acl.ClusterAction):
			return kerr.ClusterAuthorizationFailed
		}
		return nil // older requests that ask for a share's coordinator are invalid, which the handler says
	}
	if req.Version < 4 {
		e := may(req.CoordinatorKey)
		if e == nil {
			return nil
		}
		resp := refused(req, e).(*kmsg.FindCoordinatorResponse)
		resp.NodeID, resp.Port = -1, -1
		return resp
	}
	var denied []kmsg.FindCoordinatorResponseCoordinator
	req.CoordinatorKeys, _ = split(req.CoordinatorKeys, func(key *string) bool {
		e := may(*key)
		if e == nil {
			return true
		}
		o := kmsg.NewFindCoordinatorResponseCoordinator()
		text := ""
		if kind == shareKey {
			text = authorizationText(e)
		}
		o.Key, o.NodeID, o.Port, o.ErrorCode, o.ErrorMessage = *key, -1, -1, e.Code, &text
		denied = append(denied, o)
		return false
	})
	amended(c, func(resp *kmsg.FindCoordinatorResponse) { resp.Coordinators = append(resp.Coordinators, denied...) })
	return nil
}

func guardOffsetCommit(c *call, req *kmsg.OffsetCommitRequest) kmsg.Response {
	deny := func(topics []kmsg.OffsetCommitRequestTopic, code int16) []kmsg.OffsetCommitResponseTopic {
		var out []kmsg.OffsetCommitResponseTopic
		for i := range topics {
			t := kmsg.NewOffsetCommitResponseTopic()
			t.Topic, t.TopicID = topics[i].Topic, topics[i].TopicID
			for _, q := range topics[i].Partitions {
				p := kmsg.NewOffsetCommitResponseTopicPartition()
				p.Partition, p.ErrorCode = q.Partition, code
				t.Partitions = append(t.Partitions, p)
			}
			out = append(out, t)
		}
		return out
	}
	if !c.allowed(acl.Read, acl.Group, req.Group) {
		resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		resp.Topics = deny(req.Topics, kerr.GroupAuthorizationFailed.Code)
		return resp
	}
	kept, rest := split(req.Topics, func(q *kmsg.OffsetCommitRequestTopic) bool {
		name := q.Topic
		if req.Version >= 10 {
			if name = c.topicByID(q.TopicID); name == "" {
				return true
			}
		}
		return c.allowed(acl.Read, acl.Topic, name)
	})
	denied := deny(rest, kerr.TopicAuthorizationFailed.Code)
	if len(kept) == 0 && len(rest) > 0 {
		resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		resp.Topics = denied
		return resp
	}
	req.Topics = kept
	amended(c, func(resp *kmsg.OffsetCommitResponse) { resp.Topics = append(resp.Topics, denied...) })
	return nil
}

func guardOffsetFetch(c *call, req *kmsg.OffsetFetchRequest) kmsg.Response {
	if req.Version < 8 {
		return guardOldOffsetFetch(c, req)
	}
	var denied []kmsg.OffsetFetchResponseGroup
	extra := map[string][]kmsg.OffsetFetchResponseGroupTopic{}
	all := map[string]bool{}
	req.Groups, _ = split(req.Groups, func(g *kmsg.OffsetFetchRequestGroup) bool {
		if !c.allowed(acl.Describe, acl.Group, g.Group) {
			o := kmsg.NewOffsetFetchResponseGroup()
			o.Group, o.ErrorCode = g.Group, kerr.GroupAuthorizationFailed.Code
			denied = append(denied, o)
			return false
		}
		if g.Topics == nil {
			all[g.Group] = true
			return true
		}
		kept, rest := split(g.Topics, func(q *kmsg.OffsetFetchRequestGroupTopic) bool { return c.describable(req.Version, q.Topic, q.TopicID) })
		if g.Topics = kept; kept == nil {
			g.Topics = []kmsg.OffsetFetchRequestGroupTopic{} // none, which is not all
		}
		for i := range rest {
			t := kmsg.NewOffsetFetchResponseGroupTopic()
			t.Topic, t.TopicID = rest[i].Topic, rest[i].TopicID
			for _, index := range rest[i].Partitions {
				p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
				p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = index, -1, -1, new(string), kerr.TopicAuthorizationFailed.Code
				t.Partitions = append(t.Partitions, p)
			}
			extra[g.Group] = append(extra[g.Group], t)
		}
		return true
	})
	version := req.Version
	amended(c, func(resp *kmsg.OffsetFetchResponse) {
		for i := range resp.Groups {
			g := &resp.Groups[i]
			if all[g.Group] {
				g.Topics, _ = split(g.Topics, func(t *kmsg.OffsetFetchResponseGroupTopic) bool {
					return c.describableQuietly(version, t.Topic, t.TopicID)
				})
			}
			if g.ErrorCode == 0 {
				g.Topics = append(g.Topics, extra[g.Group]...)
			}
		}
		resp.Groups = append(resp.Groups, denied...)
	})
	return nil
}

// describable says whether a topic, by its name or from version 10 on by its id, may be described. Ids that nobody has are.
func (c call) describable(version int16, name string, id [16]byte) bool {
	if version >= 10 {
		if name = c.topicByID(id); name == "" {
			return true
		}
	}
	return c.allowed(acl.Describe, acl.Topic, name)
}

func (c call) describableQuietly(version int16, name string, id [16]byte) bool {
	if version >= 10 {
		name = c.topicByID(id)
	}
	return name != "" && c.may(acl.Describe, acl.Topic, name)
}

func guardOldOffsetFetch(c *call, req *kmsg.OffsetFetchRequest) kmsg.Response {
	deny := func(topics []kmsg.OffsetFetchRequestTopic, code int16) []kmsg.OffsetFetchResponseTopic {
		var out []kmsg.OffsetFetchResponseTopic
		for i := range topics {
			t := kmsg.NewOffsetFetchResponseTopic()
			t.Topic = topics[i].Topic
			for _, index := range topics[i].Partitions {
				p := kmsg.NewOffsetFetchResponseTopicPartition()
				p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = index, -1, -1, new(string), code
				t.Partitions = append(t.Partitions, p)
			}
			out = append(out, t)
		}
		return out
	}
	if !c.allowed(acl.Describe, acl.Group, req.Group) {
		resp := refused(req, kerr.GroupAuthorizationFailed).(*kmsg.OffsetFetchResponse)
		if req.Version < 2 { // there is no place but the partitions
			resp.Topics = deny(req.Topics, kerr.GroupAuthorizationFailed.Code)
		}
		return resp
	}
	if req.Topics == nil {
		amended(c, func(resp *kmsg.OffsetFetchResponse) {
			resp.Topics, _ = split(resp.Topics, func(t *kmsg.OffsetFetchResponseTopic) bool { return c.may(acl.Describe, acl.Topic, t.Topic) })
		})
		return nil
	}
	kept, rest := split(req.Topics, func(q *kmsg.OffsetFetchRequestTopic) bool { return c.allowed(acl.Describe, acl.Topic, q.Topic) })
	if req.Topics = kept; kept == nil {
		req.Topics = []kmsg.OffsetFetchRequestTopic{}
	}
	denied := deny(rest, kerr.TopicAuthorizationFailed.Code)
	amended(c, func(resp *kmsg.OffsetFetchResponse) { resp.Topics = append(resp.Topics, denied...) })
	return nil
}

func guardOffsetDelete(c *call, req *kmsg.OffsetDeleteRequest) kmsg.Response {
	if !c.allowed(acl.Delete, acl.Group, req.Group) {
		return refused(req, kerr.GroupAuthorizationFailed)
	}
	kept, rest := split(req.Topics, func(q *kmsg.OffsetDeleteRequestTopic) bool { return c.allowed(acl.Read, acl.Topic, q.Topic) })
	req.Topics = kept
	amended(c, func(resp *kmsg.OffsetDeleteResponse) {
		if resp.ErrorCode != 0 {
			return
		}
		for i := range rest {
			t := kmsg.NewOffsetDeleteResponseTopic()
			t.Topic = rest[i].Topic
			for _, q := range rest[i].Partitions {
				p := kmsg.NewOffsetDeleteResponseTopicPartition()
				p.Partition, p.ErrorCode = q.Partition, kerr.TopicAuthorizationFailed.Code
				t.Partitions = append(t.Partitions, p)
			}
			resp.Topics = append(resp.Topics, t)
		}
	})
	return nil
}

func guardDescribeGroups(c *call, req *kmsg.DescribeGroupsRequest) kmsg.Response {
	kept, rest := split(req.Groups, func(g *string) bool { return c.allowed(acl.Describe, acl.Group, *g) })
	req.Groups = kept
	amended(c, func(resp *kmsg.DescribeGroupsResponse) {
		if req.IncludeAuthorizedOperations {
			for i := range resp.Groups {
				if g := &resp.Groups[i]; g.ErrorCode == 0 {
					g.AuthorizedOperations = c.operations(acl.Group, g.Group)
				}
			}
		}
		for _, name := range rest {
			g := kmsg.NewDescribeGroupsResponseGroup()
			g.Group, g.ErrorCode, g.AuthorizedOperations = name, kerr.GroupAuthorizationFailed.Code, operationsNotAsked
			resp.Groups = append(resp.Groups, g)
		}
	})
	return nil
}

func guardListGroups(c *call, _ *kmsg.ListGroupsRequest) kmsg.Response {
	if c.may(acl.Describe, acl.Cluster, acl.ClusterName) {
		return nil
	}
	amended(c, func(resp *kmsg.ListGroupsResponse) {
		resp.Groups, _ = split(resp.Groups, func(g *kmsg.ListGroupsResponseGroup) bool { return c.may(acl.Describe, acl.Group, g.Group) })
	})
	return nil
}

func guardDeleteGroups(c *call, req *kmsg.DeleteGroupsRequest) kmsg.Response {
	kept, rest := split(req.Groups, func(g *string) bool { return c.allowed(acl.Delete, acl.Group, *g) })
	req.Groups = kept
	amended(c, func(resp *kmsg.DeleteGroupsResponse) {
		for _, name := range rest {
			g := kmsg.NewDeleteGroupsResponseGroup()
			g.Group, g.ErrorCode = name, kerr.GroupAuthorizationFailed.Code
			resp.Groups = append(resp.Groups, g)
		}
	})
	return nil
}

func guardConsumerGroupHeartbeat(c *call, req *kmsg.ConsumerGroupHeartbeatRequest) kmsg.Response {
	refuse := func(e *kerr.Error) kmsg.Response { // Kafka has no text here
		resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
		resp.ErrorCode = e.Code
		return resp
	}
	if !c.allowed(acl.Read, acl.Group, req.Group) {
		return refuse(kerr.GroupAuthorizationFailed)
	}
	for _, t := range req.SubscribedTopicNames {
		if !c.allowed(acl.Describe, acl.Topic, t) {
			return refuse(kerr.TopicAuthorizationFailed)
		}
	}
	return nil
}

// hiddenMembers is Kafka's text for a group whose members must not be shown.
const hiddenMembers = "The group has described topic(s) that the client is not authorized to describe."

func guardConsumerGroupDescribe(c *call, req *kmsg.ConsumerGroupDescribeRequest) kmsg.Response {
	kept, rest := split(req.Groups, func(g *string) bool { return c.allowed(acl.Describe, acl.Group, *g) })
	req.Groups = kept
	amended(c, func(resp *kmsg.ConsumerGroupDescribeResponse) {
		for i := range resp.Groups {
			g := &resp.Groups[i]
			if g.ErrorCode != 0 {
				continue
			}
			if req.IncludeAuthorizedOperations {
				g.AuthorizedOperations = c.operations(acl.Group, g.Group)
			}
			// Subscriptions and assignments name topics.
			if slices.ContainsFunc(g.Members, func(m kmsg.ConsumerGroupDescribeResponseGroupMember) bool { return !c.memberVisible(&m) }) {
				text := hiddenMembers
				g.ErrorCode, g.ErrorMessage, g.Members = kerr.TopicAuthorizationFailed.Code, &text, []kmsg.ConsumerGroupDescribeResponseGroupMember{}
			}
		}
		for _, name := range rest {
			g := kmsg.NewConsumerGroupDescribeResponseGroup()
			g.Group, g.ErrorCode, g.Members = name, kerr.GroupAuthorizationFailed.Code, []kmsg.ConsumerGroupDescribeResponseGroupMember{}
			resp.Groups = append(resp.Groups, g)
		}
	})
	return nil
}

// memberVisible says whether the peer may describe all topics that a member of a group has to do with.
func (c call) memberVisible(m *kmsg.ConsumerGroupDescribeResponseGroupMember) bool {
	may := func(t string) bool { return c.may(acl.Describe, acl.Topic, t) }
	for _, t := range m.SubscribedTopics {
		if !may(t) {
			return false
		}
	}
	for _, a := range []kmsg.Assignment{m.Assignment, m.TargetAssignment} {
		for i := range a.TopicPartitions {
			if !may(a.TopicPartitions[i].Topic) {
				return false
			}
		}
	}
	return true
}
