package broker

import (
	"iter"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/group"
	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/security/acl"
)

// groupVersion is the feature under which groups of KIP-848 are served, at level 1.
const groupVersion = "group.version"

// servesConsumerGroups is whether the cluster has groups of KIP-848.
func (b *Broker) servesConsumerGroups() bool { return b.image().Feature(groupVersion) >= 1 }

func (b *Broker) consumerGroupHeartbeat(c call, rc group.RequestContext, req kmsg.Request) {
	q := req.(*kmsg.ConsumerGroupHeartbeatRequest)
	if !b.servesConsumerGroups() {
		resp := q.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
		resp.ErrorCode, resp.ErrorMessage = kerr.UnsupportedVersion.Code, kmsg.StringPtr(unsupportedVersionText)
		c.reply(resp)
		return
	}
	if b.acls.Load() != nil {
		// Regular expressions match only what the member may know of; they are resolved after this request.
		peer := c.session()
		rc.CanDescribe = func(topic string) bool {
			x := b.acls.Load()
			return x == nil || peer.internal || x.Allowed(&peer.subject, acl.Describe, acl.Topic, topic)
		}
	}
	b.groups.ConsumerGroupHeartbeat(rc, q, func(r *kmsg.ConsumerGroupHeartbeatResponse) { c.reply(r) })
}

// unsupportedVersionText is Kafka's text for UNSUPPORTED_VERSION.
const unsupportedVersionText = "The version of API is not supported."

func (b *Broker) consumerGroupDescribe(c call, rc group.RequestContext, req kmsg.Request) {
	q := req.(*kmsg.ConsumerGroupDescribeRequest)
	if !b.servesConsumerGroups() {
		resp := q.ResponseKind().(*kmsg.ConsumerGroupDescribeResponse)
		for _, id := range q.Groups {
			g := kmsg.NewConsumerGroupDescribeResponseGroup()
			g.Group, g.ErrorCode = id, kerr.UnsupportedVersion.Code
			g.Members = []kmsg.ConsumerGroupDescribeResponseGroupMember{}
			resp.Groups = append(resp.Groups, g)
		}
		c.reply(resp)
		return
	}
	b.groups.ConsumerGroupDescribe(rc, q, func(r *kmsg.ConsumerGroupDescribeResponse) {
		if q.IncludeAuthorizedOperations {
			for i := range r.Groups {
				if r.Groups[i].ErrorCode == 0 {
					r.Groups[i].AuthorizedOperations = allGroupOperations
				}
			}
		}
		c.reply(r)
	})
}

// groupImage is the metadata as groups see it.
type groupImage struct {
	im         *metadata.Image
	intervalMs int32 // the broker's assignment interval, -1 if it was not changed at run time
}

// Image implements group.Topics.
func (t groupTopics) Image() group.Image {
	im := t.b.image()
	return groupImage{im, config.AssignmentIntervalMs(t.b.layers(im, ""))}
}

func (g groupImage) Version() int64 { return g.im.Offset }

func topicInfo(t *metadata.Topic) (group.TopicInfo, bool) {
	if t == nil {
		return group.TopicInfo{}, false
	}
	return group.TopicInfo{ID: t.ID, Name: t.Name, Partitions: int32(len(t.Partitions))}, true
}

func (g groupImage) Topic(name string) (group.TopicInfo, bool) { return topicInfo(g.im.Topic(name)) }

func (g groupImage) TopicByID(id [16]byte) (group.TopicInfo, bool) {
	return topicInfo(g.im.TopicByID(id))
}

func (g groupImage) TopicNames() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, t := range g.im.Topics() {
			if !yield(t.Name) {
				return
			}
		}
	}
}

func (g groupImage) Racks(topic string, partition int32) []string {
	p := g.im.Partition(topic, partition)
	if p == nil {
		return nil
	}
	var racks []string
	for _, id := range p.Replicas {
		if br := g.im.Broker(id); br != nil && br.Rack != "" {
			racks = append(racks, br.Rack)
		}
	}
	return racks
}

func (g groupImage) GroupConfig(name string) group.GroupConfig {
	c := group.GroupConfig{AssignmentIntervalMs: g.intervalMs}
	overrides := g.im.Configs(metadata.GroupResource, name)
	if len(overrides) == 0 {
		return c
	}
	for key, to := range map[string]*int32{
		"consumer.session.timeout.ms":     &c.SessionTimeoutMs,
		"consumer.heartbeat.interval.ms":  &c.HeartbeatIntervalMs,
		"consumer.assignment.interval.ms": &c.AssignmentIntervalMs,
	} {
		if v, ok := overrides[key]; ok {
			if n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 32); err == nil {
				*to = int32(n)
			}
		}
	}
	return c
}

// groupsFollow tells the group coordinator of a change of the metadata.
func (b *Broker) groupsFollow(d metadata.Delta) {
	if b.groups == nil || len(d.Topics) == 0 && len(d.Configs) == 0 && len(d.Brokers) == 0 {
		return
	}
	var topics []string
	created := false
	for _, c := range d.Topics {
		t := c.New
		if t == nil {
			t = c.Old
		}
		created = created || c.Old == nil
		topics = append(topics, t.Name)
	}
	b.groups.MetadataChanged(topics, created)
}
