package broker_test

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/security/acl"
)

// refusalCase is one request in some versions, the newest when there are none.
type refusalCase struct {
	name     string
	make     func(t *refusalPeer) kmsg.Request
	versions []int16
}

// refusalGrant is what bob may do.
type refusalGrant struct {
	name    string
	entries []aclEntry
}

var unknownTopic = [16]byte{9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 1}

func pointer[T any](v T) *T { return &v }

// refusalGrants are what bob is given: nothing, single rights, and sets.
func refusalGrants() []refusalGrant {
	const topic, group, cluster, txn = int8(acl.Topic), int8(acl.Group), int8(acl.Cluster), int8(acl.TransactionalID)
	entry := func(kind int8, name string, op acl.Operation, more ...int8) aclEntry {
		e := aclEntry{Type: kind, Name: name, Pattern: 3, Principal: "User:bob", Host: "*", Operation: int8(op), Permission: 3}
		if len(more) > 0 {
			e.Pattern = more[0]
		}
		if len(more) > 1 {
			e.Permission = more[1]
		}
		return e
	}
	out := []refusalGrant{{"none", nil}}
	for _, op := range []acl.Operation{acl.Read, acl.Write, acl.Create, acl.Delete, acl.Alter, acl.Describe, acl.DescribeConfigs, acl.AlterConfigs} {
		out = append(out, refusalGrant{"topic " + op.String(), []aclEntry{entry(topic, "t", op)}})
	}
	for _, op := range []acl.Operation{acl.Read, acl.Delete, acl.Describe, acl.DescribeConfigs, acl.AlterConfigs} {
		out = append(out, refusalGrant{"group " + op.String(), []aclEntry{entry(group, "g", op)}})
	}
	for _, op := range []acl.Operation{acl.Create, acl.Alter, acl.Describe, acl.ClusterAction, acl.DescribeConfigs, acl.AlterConfigs, acl.IdempotentWrite} {
		out = append(out, refusalGrant{"cluster " + op.String(), []aclEntry{entry(cluster, acl.ClusterName, op)}})
	}
	for _, op := range []acl.Operation{acl.Write, acl.Describe} {
		out = append(out, refusalGrant{"txn " + op.String(), []aclEntry{entry(txn, "x", op)}})
	}
	all := []aclEntry{entry(topic, "*", acl.All), entry(group, "*", acl.All), entry(cluster, acl.ClusterName, acl.All), entry(txn, "*", acl.All)}
	return append(out,
		refusalGrant{"everything", all},
		refusalGrant{"exactly once", []aclEntry{entry(topic, "t", acl.Write), entry(topic, "t", acl.Read), entry(group, "g", acl.Read), entry(txn, "x", acl.Write)}},
		refusalGrant{"new topics", []aclEntry{entry(topic, "new", acl.Create, 4), entry(topic, "new", acl.DescribeConfigs, 4), entry(topic, "auto-", acl.Create, 4), entry(topic, "auto-", acl.Describe, 4)}},
		refusalGrant{"all but t", append([]aclEntry{entry(topic, "t", acl.Describe, 3, 2)}, all...)},
		refusalGrant{"all but the cluster", append([]aclEntry{entry(cluster, acl.ClusterName, acl.Describe, 3, 2)}, all...)},
		refusalGrant{"a prefix denied", []aclEntry{entry(topic, "t", acl.Write), entry(topic, "t", acl.Write, 4, 2)}},
		refusalGrant{"describe none", []aclEntry{entry(topic, "u", acl.Describe), entry(topic, "none", acl.Describe), entry(group, "g", acl.Delete), entry(group, "gnone", acl.Delete)}},
	)
}

// refusalCases are requests about things that bob may or may not touch: the topics t, u and none, which there is not, the groups g and h,
// the transactional ids x and y.
func refusalCases() []refusalCase {
	topics3 := []string{"t", "u", "none"}
	var out []refusalCase
	add := func(name string, mk func(t *refusalPeer) kmsg.Request, rev ...int16) {
		out = append(out, refusalCase{name, mk, rev})
	}
	add("Metadata", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrMetadataRequest()
		m.IncludeTopicAuthorizedOperations, m.IncludeClusterAuthorizedOperations = true, true
		for _, n := range []string{"t", "u", "auto-1"} {
			m.Topics = append(m.Topics, kmsg.MetadataRequestTopic{Topic: pointer(n)})
		}
		m.AllowAutoTopicCreation = true
		return m
	}, 1, 8, 9, 12)
	add("Metadata-noauto", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrMetadataRequest()
		m.IncludeTopicAuthorizedOperations = true
		for _, n := range topics3 {
			m.Topics = append(m.Topics, kmsg.MetadataRequestTopic{Topic: pointer(n)})
		}
		return m
	}, 4, 13)
	add("Metadata-all", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrMetadataRequest()
		m.IncludeTopicAuthorizedOperations = true
		return m
	}, 8, 13)
	add("Metadata-id", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrMetadataRequest()
		m.IncludeTopicAuthorizedOperations = true
		for _, id := range [][16]byte{t.ids["t"], t.ids["u"], unknownTopic} {
			m.Topics = append(m.Topics, kmsg.MetadataRequestTopic{TopicID: id})
		}
		return m
	}, 12)
	add("DescribeTopicPartitions", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrDescribeTopicPartitionsRequest()
		for _, n := range topics3 {
			x := kmsg.NewDescribeTopicPartitionsRequestTopic()
			x.Topic = n
			m.Topics = append(m.Topics, x)
		}
		m.ResponsePartitionLimit = 100
		return m
	})
	add("DescribeTopicPartitions-all", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrDescribeTopicPartitionsRequest()
		m.ResponsePartitionLimit = 100
		return m
	})
	produce := func(pid int64, epoch int16, txn *string) func(t *refusalPeer) kmsg.Request {
		return func(t *refusalPeer) kmsg.Request {
			m := kmsg.NewPtrProduceRequest()
			m.Acks, m.TimeoutMillis, m.TransactionID = 1, 3000, txn
			for _, n := range topics3 {
				x := kmsg.NewProduceRequestTopic()
				x.Topic, x.TopicID = n, t.ids[n]
				if n == "none" {
					x.TopicID = unknownTopic
				}
				q := kmsg.NewProduceRequestTopicPartition()
				pi := pid
				if pi == -2 {
					pi = t.pid
				}
				q.Records = refusalBatch(pi, epoch, -1, txn != nil)
				if pi >= 0 {
					q.Records = refusalBatch(pi, epoch, 77, txn != nil)
				}
				x.Partitions = append(x.Partitions, q)
				m.Topics = append(m.Topics, x)
			}
			return m
		}
	}
	add("Produce", produce(-1, -1, nil), 3, 9, 12, 13)
	add("Produce-idem", produce(-2, 9, nil), 9, 12)
	add("Produce-txn", produce(-2, 9, pointer("x")), 9, 11, 12)
	add("Produce-txn-other", produce(-2, 9, pointer("y")), 9)
	add("Fetch", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrFetchRequest()
		m.MaxWaitMillis, m.MinBytes, m.MaxBytes, m.SessionEpoch = 1, 0, 1<<20, -1
		for _, n := range topics3 {
			x := kmsg.NewFetchRequestTopic()
			x.Topic, x.TopicID = n, t.ids[n]
			if n == "none" {
				x.TopicID = unknownTopic
			}
			q := kmsg.NewFetchRequestTopicPartition()
			q.PartitionMaxBytes = 1000
			x.Partitions = append(x.Partitions, q)
			m.Topics = append(m.Topics, x)
		}
		return m
	}, 4, 11, 12, 13, 16)
	add("Fetch-replica", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrFetchRequest()
		m.MaxWaitMillis, m.MinBytes, m.MaxBytes, m.SessionEpoch, m.ReplicaID = 1, 0, 1<<20, -1, 5
		m.ReplicaState.ID = 5
		for _, n := range topics3 {
			x := kmsg.NewFetchRequestTopic()
			x.Topic, x.TopicID = n, t.ids[n]
			q := kmsg.NewFetchRequestTopicPartition()
			q.PartitionMaxBytes = 1000
			x.Partitions = append(x.Partitions, q)
			m.Topics = append(m.Topics, x)
		}
		return m
	}, 11)
	add("ListOffsets", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrListOffsetsRequest()
		m.ReplicaID = -1
		for _, n := range topics3 {
			x := kmsg.NewListOffsetsRequestTopic()
			x.Topic = n
			q := kmsg.NewListOffsetsRequestTopicPartition()
			q.Timestamp = -2
			x.Partitions = append(x.Partitions, q)
			m.Topics = append(m.Topics, x)
		}
		return m
	}, 1, 9)
	add("OffsetForLeaderEpoch", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrOffsetForLeaderEpochRequest()
		m.ReplicaID = -1
		for _, n := range topics3 {
			x := kmsg.NewOffsetForLeaderEpochRequestTopic()
			x.Topic = n
			q := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			x.Partitions = append(x.Partitions, q)
			m.Topics = append(m.Topics, x)
		}
		return m
	}, 3, 4)
	add("CreateTopics", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrCreateTopicsRequest()
		m.ValidateOnly = true
		m.TimeoutMillis = 3000
		for _, n := range []string{"t", "new1", "other"} {
			x := kmsg.NewCreateTopicsRequestTopic()
			x.Topic, x.NumPartitions, x.ReplicationFactor = n, 1, 1
			m.Topics = append(m.Topics, x)
		}
		x := kmsg.NewCreateTopicsRequestTopic()
		x.Topic, x.NumPartitions, x.ReplicationFactor = "t dup", 1, 1
		m.Topics = append(m.Topics, x)
		x.Topic = "__cluster_metadata"
		m.Topics = append(m.Topics, x)
		return m
	}, 4, 7)
	add("CreateTopics-dup", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrCreateTopicsRequest()
		m.ValidateOnly = true
		for _, n := range []string{"new1", "new1", "other", "other"} {
			x := kmsg.NewCreateTopicsRequestTopic()
			x.Topic, x.NumPartitions, x.ReplicationFactor = n, 1, 1
			m.Topics = append(m.Topics, x)
		}
		return m
	})
	add("DeleteTopics", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrDeleteTopicsRequest()
		m.TimeoutMillis = 3000
		for _, n := range topics3 {
			x := kmsg.NewDeleteTopicsRequestTopic()
			x.Topic = pointer(n)
			m.Topics = append(m.Topics, x)
			m.TopicNames = append(m.TopicNames, n)
		}
		return m
	}, 3, 6)
	add("DeleteTopics-id", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrDeleteTopicsRequest()
		m.TimeoutMillis = 3000
		for _, n := range [][16]byte{t.ids["t"], t.ids["u"], unknownTopic} {
			x := kmsg.NewDeleteTopicsRequestTopic()
			x.TopicID = n
			m.Topics = append(m.Topics, x)
		}
		return m
	}, 6)
	add("CreatePartitions", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrCreatePartitionsRequest()
		m.ValidateOnly, m.TimeoutMillis = true, 3000
		for _, n := range append(topics3, "t2", "t2") {
			x := kmsg.NewCreatePartitionsRequestTopic()
			x.Topic, x.Count = n, 3
			m.Topics = append(m.Topics, x)
		}
		return m
	})
	add("DeleteRecords", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrDeleteRecordsRequest()
		m.TimeoutMillis = 3000
		for _, n := range topics3 {
			x := kmsg.NewDeleteRecordsRequestTopic()
			x.Topic = n
			q := kmsg.NewDeleteRecordsRequestTopicPartition()
			x.Partitions = append(x.Partitions, q)
			m.Topics = append(m.Topics, x)
		}
		return m
	})
	add("DescribeProducers", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrDescribeProducersRequest()
		for _, n := range topics3 {
			x := kmsg.NewDescribeProducersRequestTopic()
			x.Topic = n
			x.Partitions = []int32{0, 7}
			m.Topics = append(m.Topics, x)
		}
		return m
	})
	res := []struct {
		k kmsg.ConfigResourceType
		n string
	}{{2, "t"}, {2, "u"}, {2, "none"}, {4, "1"}, {4, ""}, {4, "7"}, {8, "1"}, {16, "m"}, {32, "g"}, {32, "h"}}
	add("DescribeConfigs", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrDescribeConfigsRequest()
		for _, x := range res {
			q := kmsg.NewDescribeConfigsRequestResource()
			q.ResourceType, q.ResourceName = x.k, x.n
			q.ConfigNames = []string{"retention.ms", "log.retention.ms", "interval.ms", "consumer.session.timeout.ms", "kafka"}
			m.Resources = append(m.Resources, q)
		}
		return m
	})
	add("AlterConfigs", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrAlterConfigsRequest()
		m.ValidateOnly = true
		for _, x := range res {
			if x.k == 16 || x.k == 4 && x.n == "" {
				continue
			}
			q := kmsg.NewAlterConfigsRequestResource()
			q.ResourceType, q.ResourceName = x.k, x.n
			key := map[kmsg.ConfigResourceType]string{2: "retention.ms", 4: "log.retention.ms", 8: "root", 16: "interval.ms", 32: "consumer.session.timeout.ms"}[x.k]
			c := kmsg.NewAlterConfigsRequestResourceConfig()
			c.Name, c.Value = key, pointer("50000")
			q.Configs = append(q.Configs, c)
			m.Resources = append(m.Resources, q)
		}
		return m
	})
	add("IncrementalAlterConfigs", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrIncrementalAlterConfigsRequest()
		m.ValidateOnly = true
		for _, x := range res {
			if x.k == 8 || x.k == 16 {
				continue
			}
			q := kmsg.NewIncrementalAlterConfigsRequestResource()
			q.ResourceType, q.ResourceName = x.k, x.n
			key := map[kmsg.ConfigResourceType]string{2: "retention.ms", 4: "log.retention.ms", 8: "root", 16: "interval.ms", 32: "consumer.session.timeout.ms"}[x.k]
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Name, c.Value = key, pointer("50000")
			q.Configs = append(q.Configs, c)
			m.Resources = append(m.Resources, q)
		}
		return m
	})
	add("IncrementalAlterConfigs-metrics", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrIncrementalAlterConfigsRequest()
		m.ValidateOnly = true
		m.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: 16, ResourceName: "m", Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "interval.ms", Value: pointer("50000")}}}}
		return m
	})
	add("IncrementalAlterConfigs-dup", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrIncrementalAlterConfigsRequest()
		m.ValidateOnly = true
		for _, n := range []string{"t", "t", "u"} {
			q := kmsg.NewIncrementalAlterConfigsRequestResource()
			q.ResourceType, q.ResourceName = 2, n
			c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
			c.Name, c.Value = "retention.ms", pointer("50000")
			q.Configs = append(q.Configs, c)
			m.Resources = append(m.Resources, q)
		}
		return m
	})
	add("FindCoordinator-old", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrFindCoordinatorRequest()
		m.CoordinatorKey, m.CoordinatorKeys = "h", []string{"h"}
		return m
	}, 0, 3)
	for k := int8(0); k < 4; k++ {
		add(fmt.Sprint("FindCoordinator-", k), func(t *refusalPeer) kmsg.Request {
			m := kmsg.NewPtrFindCoordinatorRequest()
			m.CoordinatorType = k
			m.CoordinatorKeys = []string{"g", "h", "x", "y"}
			return m
		}, 4, 6)
	}
	commit := func(g string) func(t *refusalPeer) kmsg.Request {
		return func(t *refusalPeer) kmsg.Request {
			o := kmsg.NewPtrOffsetCommitRequest()
			o.Group, o.Generation = g, -1
			for _, n := range topics3 {
				x := kmsg.NewOffsetCommitRequestTopic()
				x.Topic, x.TopicID = n, t.ids[n]
				if n == "none" {
					x.TopicID = unknownTopic
				}
				pp := kmsg.NewOffsetCommitRequestTopicPartition()
				pp.Offset = 5
				x.Partitions = append(x.Partitions, pp)
				o.Topics = append(o.Topics, x)
			}
			return o
		}
	}
	add("OffsetCommit-g", commit("g"), 2, 9, 10)
	add("OffsetCommit-h", commit("h"), 9)
	fetch := func(g string, all bool) func(t *refusalPeer) kmsg.Request {
		return func(t *refusalPeer) kmsg.Request {
			o := kmsg.NewPtrOffsetFetchRequest()
			o.Group = g
			gg := kmsg.NewOffsetFetchRequestGroup()
			gg.Group = g
			for _, n := range topics3 {
				if all {
					break
				}
				x := kmsg.NewOffsetFetchRequestTopic()
				x.Topic, x.Partitions = n, []int32{0, 1}
				o.Topics = append(o.Topics, x)
				y := kmsg.NewOffsetFetchRequestGroupTopic()
				y.Topic, y.TopicID, y.Partitions = n, t.ids[n], []int32{0, 1}
				if n == "none" {
					y.TopicID = unknownTopic
				}
				gg.Topics = append(gg.Topics, y)
			}
			o.Groups = append(o.Groups, gg)
			gg.Group = "h"
			o.Groups = append(o.Groups, gg)
			return o
		}
	}
	add("OffsetFetch", fetch("g", false), 1, 5, 7, 8, 9, 10)
	add("OffsetFetch-all", fetch("g", true), 5, 7, 8, 9, 10)
	add("OffsetFetch-h", fetch("h", true), 5, 7, 9)
	add("OffsetDelete", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrOffsetDeleteRequest()
		m.Group = "g"
		for _, n := range topics3 {
			x := kmsg.NewOffsetDeleteRequestTopic()
			x.Topic = n
			x.Partitions = []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 1}}
			m.Topics = append(m.Topics, x)
		}
		return m
	})
	for _, g := range []string{"gnone", "g"} {
		add("JoinGroup-"+g, func(t *refusalPeer) kmsg.Request {
			m := kmsg.NewPtrJoinGroupRequest()
			m.Group, m.SessionTimeoutMillis, m.RebalanceTimeoutMillis, m.ProtocolType = g, 10000, 1000, "consumer"
			m.MemberID = "nobody"
			m.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range"}}
			return m
		}, 5, 9)
		add("SyncGroup-"+g, func(t *refusalPeer) kmsg.Request {
			m := kmsg.NewPtrSyncGroupRequest()
			m.Group, m.Generation, m.MemberID = g, 3, "nobody"
			m.ProtocolType, m.Protocol = pointer("consumer"), pointer("range")
			return m
		}, 3, 5)
		add("Heartbeat-"+g, func(t *refusalPeer) kmsg.Request {
			m := kmsg.NewPtrHeartbeatRequest()
			m.Group, m.Generation, m.MemberID = g, 3, "nobody"
			return m
		})
		add("LeaveGroup-"+g, func(t *refusalPeer) kmsg.Request {
			m := kmsg.NewPtrLeaveGroupRequest()
			m.Group, m.MemberID = g, "nobody"
			m.Members = []kmsg.LeaveGroupRequestMember{{MemberID: "nobody"}}
			return m
		}, 2, 5)
		add("ConsumerGroupHeartbeat-"+g, func(t *refusalPeer) kmsg.Request {
			m := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			m.Group, m.MemberID, m.MemberEpoch = g, "nobody", 5
			m.SubscribedTopicNames = []string{"t", "u"}
			return m
		})
		add("ConsumerGroupHeartbeat-leave-"+g, func(t *refusalPeer) kmsg.Request {
			m := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			m.Group, m.MemberID, m.MemberEpoch = g, "nobody", -1
			return m
		})
	}
	add("DescribeGroups", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrDescribeGroupsRequest()
		m.Groups = []string{"g", "h", "gnone"}
		m.IncludeAuthorizedOperations = true
		return m
	}, 2, 5, 6)
	add("ListGroups", func(t *refusalPeer) kmsg.Request { return kmsg.NewPtrListGroupsRequest() }, 2, 5)
	add("DeleteGroups", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrDeleteGroupsRequest()
		m.Groups = []string{"gnone", "hnone"}
		return m
	})
	add("ConsumerGroupDescribe", func(t *refusalPeer) kmsg.Request {
		h := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		h.Group, h.MemberID, h.MemberEpoch, h.RebalanceTimeoutMillis = "cg", "m1", 0, 1000
		h.SubscribedTopicNames = []string{"u"}
		h.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		t.asRoot(h)
		m := kmsg.NewPtrConsumerGroupDescribeRequest()
		m.Groups = []string{"g", "h", "gnone", "cg"}
		m.IncludeAuthorizedOperations = true
		return m
	})
	for _, id := range []*string{nil, pointer("x"), pointer("y"), pointer("")} {
		add(fmt.Sprintf("InitProducerID-%v", orNull(id)), func(t *refusalPeer) kmsg.Request {
			m := kmsg.NewPtrInitProducerIDRequest()
			m.TransactionalID, m.TransactionTimeoutMillis = id, 0
			if id == nil {
				m.ProducerID, m.ProducerEpoch = 12, -1 // refused, or not
			} else {
				m.ProducerID, m.ProducerEpoch = 4242, 7
			}
			return m
		}, 1, 5)
	}
	add("AddPartitionsToTxn", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrAddPartitionsToTxnRequest()
		m.TransactionalID, m.ProducerID, m.ProducerEpoch = "x", 4242, 7
		for _, n := range topics3 {
			m.Topics = append(m.Topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: n, Partitions: []int32{0}})
		}
		return m
	}, 1, 3)
	add("AddPartitionsToTxn-batched", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrAddPartitionsToTxnRequest()
		x := kmsg.NewAddPartitionsToTxnRequestTransaction()
		x.TransactionalID, x.ProducerID, x.ProducerEpoch, x.VerifyOnly = "x", 4242, 7, true
		for _, n := range topics3 {
			x.Topics = append(x.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: n, Partitions: []int32{0}})
		}
		m.Transactions = append(m.Transactions, x)
		return m
	}, 4, 5)
	for _, id := range []string{"x", "y"} {
		for _, g := range []string{"g", "h"} {
			add("AddOffsetsToTxn-"+id+g, func(t *refusalPeer) kmsg.Request {
				m := kmsg.NewPtrAddOffsetsToTxnRequest()
				m.TransactionalID, m.ProducerID, m.ProducerEpoch, m.Group = id, 4242, 7, g
				return m
			})
			add("TxnOffsetCommit-"+id+g, func(t *refusalPeer) kmsg.Request {
				m := kmsg.NewPtrTxnOffsetCommitRequest()
				m.TransactionalID, m.ProducerID, m.ProducerEpoch, m.Group = id, 4242, 7, g
				m.Generation = -1
				for _, n := range topics3 {
					m.Topics = append(m.Topics, kmsg.TxnOffsetCommitRequestTopic{Topic: n, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Partition: 0, Offset: 1}}})
				}
				return m
			}, 2, 3, 5)
		}
		add("EndTxn-"+id, func(t *refusalPeer) kmsg.Request {
			m := kmsg.NewPtrEndTxnRequest()
			m.TransactionalID, m.ProducerID, m.ProducerEpoch = id, 4242, 7
			return m
		}, 3, 5)
	}
	add("WriteTxnMarkers", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrWriteTxnMarkersRequest()
		m.Markers = []kmsg.WriteTxnMarkersRequestMarker{{ProducerID: 4242, ProducerEpoch: 7, Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "none", Partitions: []int32{0}}}}}
		return m
	})
	add("DescribeTransactions", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrDescribeTransactionsRequest()
		m.TransactionalIDs = []string{"x", "y", "z"}
		return m
	})
	add("ListTransactions", func(t *refusalPeer) kmsg.Request { return kmsg.NewPtrListTransactionsRequest() })
	add("DescribeLogDirs", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrDescribeLogDirsRequest()
		m.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "t", Partitions: []int32{0}}}
		return m
	})
	add("AlterReplicaLogDirs", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrAlterReplicaLogDirsRequest()
		m.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: "/nowhere", Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: "t", Partitions: []int32{0}}, {Topic: "none", Partitions: []int32{0}}}}}
		return m
	})
	add("ElectLeaders", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrElectLeadersRequest()
		m.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0}}, {Topic: "none", Partitions: []int32{0}}}
		m.TimeoutMillis = 3000
		return m
	})
	add("AlterPartitionReassignments", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		m.TimeoutMillis = 3000
		m.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "none", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: 0}}}}
		return m
	})
	add("ListPartitionReassignments", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrListPartitionReassignmentsRequest()
		m.TimeoutMillis = 3000
		return m
	})
	add("DescribeQuorum", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrDescribeQuorumRequest()
		m.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
		return m
	})
	add("UpdateFeatures", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrUpdateFeaturesRequest()
		m.ValidateOnly = true
		m.TimeoutMillis = 3000
		m.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: "nofeature", MaxVersionLevel: 3, UpgradeType: 1}}
		return m
	})
	add("UnregisterBroker", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrUnregisterBrokerRequest()
		m.BrokerID = 99
		return m
	})
	add("ListConfigResources", func(t *refusalPeer) kmsg.Request { return kmsg.NewPtrListConfigResourcesRequest() }, 0, 1)
	add("DescribeCluster", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrDescribeClusterRequest()
		m.IncludeClusterAuthorizedOperations = true
		return m
	})
	add("DescribeACLs", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrDescribeACLsRequest()
		m.ResourceType, m.ResourcePatternType, m.Operation, m.PermissionType = 1, 1, 1, 1
		return m
	})
	add("CreateACLs", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrCreateACLsRequest()
		m.Creations = []kmsg.CreateACLsRequestCreation{{ResourceType: 2, ResourceName: "", ResourcePatternType: 3, Principal: "User:z", Host: "*", Operation: 3, PermissionType: 3}}
		return m
	})
	add("DeleteACLs", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrDeleteACLsRequest()
		m.Filters = []kmsg.DeleteACLsRequestFilter{{ResourceType: 2, ResourceName: pointer("nothing"), ResourcePatternType: 3, Operation: 3, PermissionType: 3}}
		return m
	})
	add("DescribeUserSCRAM", func(t *refusalPeer) kmsg.Request { return kmsg.NewPtrDescribeUserSCRAMCredentialsRequest() })
	add("AlterUserSCRAM", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		m.Deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion{{Name: "nobody", Mechanism: 1}}
		return m
	})
	add("DescribeClientQuotas", func(t *refusalPeer) kmsg.Request { return kmsg.NewPtrDescribeClientQuotasRequest() })
	add("AlterClientQuotas", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrAlterClientQuotasRequest()
		m.ValidateOnly = true
		m.Entries = []kmsg.AlterClientQuotasRequestEntry{{Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: pointer("q")}}, Ops: []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Value: 5}}}}
		return m
	})
	add("CreateDelegationToken", func(t *refusalPeer) kmsg.Request { return kmsg.NewPtrCreateDelegationTokenRequest() })
	add("RenewDelegationToken", func(t *refusalPeer) kmsg.Request { return kmsg.NewPtrRenewDelegationTokenRequest() })
	add("ExpireDelegationToken", func(t *refusalPeer) kmsg.Request { return kmsg.NewPtrExpireDelegationTokenRequest() })
	add("DescribeDelegationToken", func(t *refusalPeer) kmsg.Request { return kmsg.NewPtrDescribeDelegationTokenRequest() })
	add("AddRaftVoter", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrAddRaftVoterRequest()
		m.VoterID = 55
		m.TimeoutMillis = 1000
		return m
	})
	add("RemoveRaftVoter", func(t *refusalPeer) kmsg.Request {
		m := kmsg.NewPtrRemoveRaftVoterRequest()
		m.VoterID = 55
		return m
	})
	return out
}

func orNull(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}
