package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/security/acl"
)

// guardMetadata hides the topics that the peer may not describe: from a listing of all they are left out, asked for by name they are
// TOPIC_AUTHORIZATION_FAILED whether they exist or not. A topic is only made for who may create it.
func guardMetadata(c *call, req *kmsg.MetadataRequest) kmsg.Response {
	all := req.Topics == nil || req.Version == 0 && len(req.Topics) == 0
	var denied []kmsg.MetadataResponseTopic
	deny := func(name *string, id [16]byte) {
		t := kmsg.NewMetadataResponseTopic()
		t.ErrorCode, t.Topic, t.TopicID, t.AuthorizedOperations = kerr.TopicAuthorizationFailed.Code, name, id, operationsNotAsked
		t.Partitions = []kmsg.MetadataResponseTopicPartition{}
		denied = append(denied, t)
	}
	im := c.b.image()
	creates := c.b.set.autoCreate && (req.Version < 4 || req.AllowAutoTopicCreation)
	kept, _ := split(req.Topics, func(q *kmsg.MetadataRequestTopic) bool {
		byID := q.TopicID != [16]byte{}
		switch {
		case byID && req.Version >= 12:
			t := im.TopicByID(q.TopicID)
			if t == nil || c.allowed(acl.Describe, acl.Topic, t.Name) {
				return true
			}
			deny(nil, q.TopicID)
			return false
		case q.Topic == nil:
			return true
		case !c.allowed(acl.Describe, acl.Topic, *q.Topic),
			creates && im.Topic(*q.Topic) == nil && !c.may(acl.Create, acl.Cluster, acl.ClusterName) && !c.allowed(acl.Create, acl.Topic, *q.Topic):
			deny(q.Topic, [16]byte{})
			return false
		}
		return true
	})
	if !all {
		if req.Topics = kept; kept == nil {
			req.Topics = []kmsg.MetadataRequestTopic{} // none, which is not all
		}
	}
	none := !all && len(req.Topics) == 0
	if none && req.Version == 0 {
		req.Version = 1 // where no topics are no topics; the answer goes out in the version that was asked for
	}
	version := c.r.Version
	amended(c, func(resp *kmsg.MetadataResponse) {
		resp.SetVersion(version)
		if all {
			resp.Topics, _ = split(resp.Topics, func(t *kmsg.MetadataResponseTopic) bool {
				return t.Topic == nil || c.may(acl.Describe, acl.Topic, *t.Topic)
			})
		}
		if req.IncludeTopicAuthorizedOperations {
			for i := range resp.Topics {
				if t := &resp.Topics[i]; t.Topic != nil { // also of one that does not exist
					t.AuthorizedOperations = c.operations(acl.Topic, *t.Topic)
				}
			}
		}
		if req.IncludeClusterAuthorizedOperations {
			resp.AuthorizedOperations = c.clusterOperations()
		}
		resp.Topics = append(resp.Topics, denied...)
	})
	return nil
}

func guardDescribeTopicPartitions(c *call, req *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	all := len(req.Topics) == 0
	kept, rest := split(req.Topics, func(q *kmsg.DescribeTopicPartitionsRequestTopic) bool {
		return c.allowed(acl.Describe, acl.Topic, q.Topic)
	})
	if all {
		for _, t := range c.b.image().Topics() { // so that pages are of what the peer may see
			if c.may(acl.Describe, acl.Topic, t.Name) {
				kept = append(kept, kmsg.DescribeTopicPartitionsRequestTopic{Topic: t.Name})
			}
		}
	}
	denied := func(resp *kmsg.DescribeTopicPartitionsResponse) {
		for i := range rest {
			t := kmsg.NewDescribeTopicPartitionsResponseTopic()
			t.ErrorCode, t.Topic, t.AuthorizedOperations = kerr.TopicAuthorizationFailed.Code, &rest[i].Topic, operationsNotAsked
			resp.Topics = append(resp.Topics, t)
		}
	}
	if len(kept) == 0 { // an empty list would be all
		resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
		denied(resp)
		return resp
	}
	req.Topics = kept
	amended(c, func(resp *kmsg.DescribeTopicPartitionsResponse) {
		for i := range resp.Topics {
			if t := &resp.Topics[i]; t.Topic != nil {
				t.AuthorizedOperations = c.operations(acl.Topic, *t.Topic)
			}
		}
		denied(resp)
	})
	return nil
}

// twice are the names that a request has more than once: as in Kafka that is refused before anything is asked about the peer.
func twice[T any](list []T, name func(*T) string) map[string]bool {
	seen, again := map[string]bool{}, map[string]bool{}
	for i := range list {
		n := name(&list[i])
		if seen[n] {
			again[n] = true
		}
		seen[n] = true
	}
	return again
}

func guardCreateTopics(c *call, req *kmsg.CreateTopicsRequest) kmsg.Response {
	if !c.may(acl.Create, acl.Cluster, acl.ClusterName) {
		again := twice(req.Topics, func(q *kmsg.CreateTopicsRequestTopic) string { return q.Topic })
		var rest []kmsg.CreateTopicsRequestTopic
		req.Topics, rest = split(req.Topics, func(q *kmsg.CreateTopicsRequestTopic) bool {
			return again[q.Topic] || q.Topic == metadataTopic || c.allowed(acl.Create, acl.Topic, q.Topic)
		})
		amended(c, func(resp *kmsg.CreateTopicsResponse) {
			for i := range rest {
				t := kmsg.NewCreateTopicsResponseTopic()
				text := "Authorization failed."
				t.Topic, t.ErrorCode, t.ErrorMessage, t.NumPartitions, t.ReplicationFactor = rest[i].Topic, kerr.TopicAuthorizationFailed.Code, &text, -1, -1
				resp.Topics = append(resp.Topics, t)
			}
		})
	}
	amended(c, func(resp *kmsg.CreateTopicsResponse) {
		for i := range resp.Topics {
			t := &resp.Topics[i]
			if t.ErrorCode == 0 && !c.may(acl.DescribeConfigs, acl.Topic, t.Topic) {
				t.ConfigErrorCode, t.Configs, t.NumPartitions, t.ReplicationFactor = kerr.TopicAuthorizationFailed.Code, nil, -1, -1
			}
			if t.Configs == nil {
				t.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
			}
		}
	})
	return nil
}

func guardDeleteTopics(c *call, req *kmsg.DeleteTopicsRequest) kmsg.Response {
	if c.may(acl.Delete, acl.Cluster, acl.ClusterName) {
		return nil
	}
	var denied []kmsg.DeleteTopicsResponseTopic
	deny := func(name *string, id [16]byte) {
		t := kmsg.NewDeleteTopicsResponseTopic()
		text := authorizationText(kerr.TopicAuthorizationFailed)
		t.Topic, t.TopicID, t.ErrorCode, t.ErrorMessage = name, id, kerr.TopicAuthorizationFailed.Code, &text
		denied = append(denied, t)
	}
	im := c.b.image()
	// Who may describe a topic may know that there is none.
	allowed := func(name string) bool {
		return im.Topic(name) == nil && c.may(acl.Describe, acl.Topic, name) || c.allowed(acl.Delete, acl.Topic, name)
	}
	req.TopicNames, _ = split(req.TopicNames, func(name *string) bool {
		if allowed(*name) {
			return true
		}
		n := *name
		deny(&n, [16]byte{})
		return false
	})
	req.Topics, _ = split(req.Topics, func(q *kmsg.DeleteTopicsRequestTopic) bool {
		if q.Topic != nil {
			if allowed(*q.Topic) {
				return true
			}
			deny(q.Topic, [16]byte{})
			return false
		}
		name := c.topicByID(q.TopicID)
		if name == "" || c.allowed(acl.Delete, acl.Topic, name) {
			return true
		}
		// The name of an id is for those who may describe the topic.
		if c.may(acl.Describe, acl.Topic, name) {
			deny(&name, q.TopicID)
		} else {
			deny(nil, q.TopicID)
		}
		return false
	})
	amended(c, func(resp *kmsg.DeleteTopicsResponse) { resp.Topics = append(resp.Topics, denied...) })
	return nil
}

func guardCreatePartitions(c *call, req *kmsg.CreatePartitionsRequest) kmsg.Response {
	again := twice(req.Topics, func(q *kmsg.CreatePartitionsRequestTopic) string { return q.Topic })
	kept, rest := split(req.Topics, func(q *kmsg.CreatePartitionsRequestTopic) bool {
		return again[q.Topic] || c.allowed(acl.Alter, acl.Topic, q.Topic)
	})
	req.Topics = kept
	amended(c, func(resp *kmsg.CreatePartitionsResponse) {
		for i := range rest {
			t := kmsg.NewCreatePartitionsResponseTopic()
			t.Topic, t.ErrorCode = rest[i].Topic, kerr.TopicAuthorizationFailed.Code
			resp.Topics = append(resp.Topics, t)
		}
	})
	return nil
}

func guardDeleteRecords(c *call, req *kmsg.DeleteRecordsRequest) kmsg.Response {
	kept, rest := split(req.Topics, func(q *kmsg.DeleteRecordsRequestTopic) bool { return c.allowed(acl.Delete, acl.Topic, q.Topic) })
	req.Topics = kept
	amended(c, func(resp *kmsg.DeleteRecordsResponse) {
		for i := range rest {
			t := kmsg.NewDeleteRecordsResponseTopic()
			t.Topic = rest[i].Topic
			for _, q := range rest[i].Partitions {
				p := kmsg.NewDeleteRecordsResponseTopicPartition()
				p.Partition, p.LowWatermark, p.ErrorCode = q.Partition, -1, kerr.TopicAuthorizationFailed.Code
				t.Partitions = append(t.Partitions, p)
			}
			resp.Topics = append(resp.Topics, t)
		}
	})
	return nil
}

func guardListOffsets(c *call, req *kmsg.ListOffsetsRequest) kmsg.Response {
	kept, rest := split(req.Topics, func(q *kmsg.ListOffsetsRequestTopic) bool { return c.allowed(acl.Describe, acl.Topic, q.Topic) })
	req.Topics = kept
	amended(c, func(resp *kmsg.ListOffsetsResponse) {
		for i := range rest {
			t := kmsg.NewListOffsetsResponseTopic()
			t.Topic = rest[i].Topic
			for _, q := range rest[i].Partitions {
				p := kmsg.NewListOffsetsResponseTopicPartition()
				p.Partition, p.ErrorCode, p.Timestamp, p.Offset, p.LeaderEpoch = q.Partition, kerr.TopicAuthorizationFailed.Code, -1, -1, -1
				p.OldStyleOffsets = []int64{}
				t.Partitions = append(t.Partitions, p)
			}
			resp.Topics = append(resp.Topics, t)
		}
	})
	return nil
}

func guardOffsetForLeaderEpoch(c *call, req *kmsg.OffsetForLeaderEpochRequest) kmsg.Response {
	if c.may(acl.ClusterAction, acl.Cluster, acl.ClusterName) {
		return nil
	}
	kept, rest := split(req.Topics, func(q *kmsg.OffsetForLeaderEpochRequestTopic) bool {
		return c.allowed(acl.Describe, acl.Topic, q.Topic)
	})
	req.Topics = kept
	amended(c, func(resp *kmsg.OffsetForLeaderEpochResponse) {
		for i := range rest {
			t := kmsg.NewOffsetForLeaderEpochResponseTopic()
			t.Topic = rest[i].Topic
			for _, q := range rest[i].Partitions {
				p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				p.Partition, p.ErrorCode, p.LeaderEpoch, p.EndOffset = q.Partition, kerr.TopicAuthorizationFailed.Code, -1, -1
				t.Partitions = append(t.Partitions, p)
			}
			resp.Topics = append(resp.Topics, t)
		}
	})
	return nil
}

func guardDescribeProducers(c *call, req *kmsg.DescribeProducersRequest) kmsg.Response {
	kept, rest := split(req.Topics, func(q *kmsg.DescribeProducersRequestTopic) bool { return c.allowed(acl.Read, acl.Topic, q.Topic) })
	req.Topics = kept
	amended(c, func(resp *kmsg.DescribeProducersResponse) {
		for i := range rest {
			t := kmsg.NewDescribeProducersResponseTopic()
			t.Topic = rest[i].Topic
			for _, index := range rest[i].Partitions {
				p := kmsg.NewDescribeProducersResponseTopicPartition()
				text := authorizationText(kerr.TopicAuthorizationFailed)
				p.Partition, p.ErrorCode, p.ErrorMessage = index, kerr.TopicAuthorizationFailed.Code, &text
				t.Partitions = append(t.Partitions, p)
			}
			resp.Topics = append(resp.Topics, t)
		}
	})
	return nil
}
