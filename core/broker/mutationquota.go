package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/security/quota"
)

// limitMutations holds requests that make and remove partitions to their client's controller_mutation_rate (KIP-599): a topic that the
// quota has no room for is taken out of the request and answered with THROTTLING_QUOTA_EXCEEDED, by requests of versions that know
// that error; older ones are done and then throttled. As in Kafka a request that is only to be validated counts as well.
func (b *Broker) limitMutations(c *call, req kmsg.Request) {
	if !b.quotas.table.Load().Has(quota.Mutation) {
		return
	}
	var m mutation
	switch q := req.(type) {
	case *kmsg.CreateTopicsRequest:
		m = c.mutationQuota(q.Version >= 6)
		limitCreateTopics(c, q, m)
	case *kmsg.DeleteTopicsRequest:
		m = c.mutationQuota(q.Version >= 5)
		limitDeleteTopics(c, q, m)
	case *kmsg.CreatePartitionsRequest:
		m = c.mutationQuota(q.Version >= 3)
		limitCreatePartitions(c, q, m)
	default:
		return
	}
	if m.sensor != nil {
		before := c.amend
		c.amend = func(resp kmsg.Response) {
			if before != nil {
				before(resp)
			}
			setThrottle(resp, m.finish(*c))
		}
	}
}

func limitCreateTopics(c *call, req *kmsg.CreateTopicsRequest, m mutation) {
	if m.sensor == nil {
		return
	}
	var denied []kmsg.CreateTopicsResponseTopic
	req.Topics, _ = split(req.Topics, func(q *kmsg.CreateTopicsRequestTopic) bool {
		n := int(q.NumPartitions)
		if len(q.ReplicaAssignment) > 0 {
			n = len(q.ReplicaAssignment)
		} else if n < 0 {
			n = int(c.b.cfg.Core.NumPartitions)
		}
		e := m.take(n)
		if e != nil {
			t := kmsg.NewCreateTopicsResponseTopic()
			t.Topic, t.NumPartitions, t.ReplicationFactor = q.Topic, -1, -1
			t.ErrorCode, t.ErrorMessage = metadataError(e)
			denied = append(denied, t)
		}
		return e == nil
	})
	amended(c, func(resp *kmsg.CreateTopicsResponse) { resp.Topics = append(resp.Topics, denied...) })
}

func limitDeleteTopics(c *call, req *kmsg.DeleteTopicsRequest, m mutation) {
	if m.sensor == nil {
		return
	}
	im := c.b.image()
	var denied []kmsg.DeleteTopicsResponseTopic
	take := func(t *metadata.Topic, name *string, id [16]byte) bool {
		if t == nil {
			return true
		}
		e := m.take(len(t.Partitions))
		if e != nil {
			o := kmsg.NewDeleteTopicsResponseTopic()
			o.Topic, o.TopicID = name, id
			o.ErrorCode, o.ErrorMessage = metadataError(e)
			denied = append(denied, deletedTopic(req.Version, o))
		}
		return e == nil
	}
	req.TopicNames, _ = split(req.TopicNames, func(name *string) bool {
		n := *name
		return take(im.Topic(n), &n, [16]byte{})
	})
	req.Topics, _ = split(req.Topics, func(q *kmsg.DeleteTopicsRequestTopic) bool {
		if q.Topic != nil {
			return take(im.Topic(*q.Topic), q.Topic, [16]byte{})
		}
		return take(im.TopicByID(q.TopicID), nil, q.TopicID)
	})
	amended(c, func(resp *kmsg.DeleteTopicsResponse) { resp.Topics = append(resp.Topics, denied...) })
}

func limitCreatePartitions(c *call, req *kmsg.CreatePartitionsRequest, m mutation) {
	if m.sensor == nil {
		return
	}
	im := c.b.image()
	var denied []kmsg.CreatePartitionsResponseTopic
	req.Topics, _ = split(req.Topics, func(q *kmsg.CreatePartitionsRequestTopic) bool {
		t := im.Topic(q.Topic)
		if t == nil || int(q.Count) <= len(t.Partitions) {
			return true // refused anyway
		}
		e := m.take(int(q.Count) - len(t.Partitions))
		if e != nil {
			o := kmsg.NewCreatePartitionsResponseTopic()
			o.Topic = q.Topic
			o.ErrorCode, o.ErrorMessage = metadataError(e)
			denied = append(denied, o)
		}
		return e == nil
	})
	amended(c, func(resp *kmsg.CreatePartitionsResponse) { resp.Topics = append(resp.Topics, denied...) })
}
