package broker

import (
	"errors"
	"reflect"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/security/acl"
)

// guard is the authorization of one API. It stands before the handler, which need not know of it: it may answer at once with what it returns,
// take out of the request what the peer may not do, and put into the answer, through call.amend, what was taken out. It runs
// only when there is an authorizer and the peer is not of this process.
//
// Produce and Fetch are not here: their handlers ask for themselves. An API without a guard is refused, so that a
// new one cannot be forgotten.
type guard func(c *call, req kmsg.Request) kmsg.Response

// guarded makes a guard of a function of one request type.
func guarded[Q kmsg.Request](fn func(c *call, req Q) kmsg.Response) guard {
	return func(c *call, req kmsg.Request) kmsg.Response { return fn(c, req.(Q)) }
}

// open lets everyone in: APIs that are needed before and beside authorization, and those whose handlers ask for themselves.
func open(*call, kmsg.Request) kmsg.Response { return nil }

// forCluster wants an operation on the cluster.
func forCluster(op acl.Operation) guard {
	return func(c *call, req kmsg.Request) kmsg.Response {
		if c.allowedCluster(op) {
			return nil
		}
		return refused(req, kerr.ClusterAuthorizationFailed)
	}
}

// refused answers a request as a whole with an error, in the places that its answer has for one.
func refused(req kmsg.Request, e *kerr.Error) kmsg.Response {
	resp := req.ResponseKind()
	v := reflect.ValueOf(resp).Elem()
	if f := v.FieldByName("ErrorCode"); f.IsValid() {
		f.SetInt(int64(e.Code))
	}
	if f := v.FieldByName("ErrorMessage"); f.IsValid() && f.Kind() == reflect.Pointer {
		text := authorizationText(e)
		f.Set(reflect.ValueOf(&text))
	}
	return resp
}

// authorizationText is Kafka's text for an error of authorization.
func authorizationText(e *kerr.Error) string {
	switch e {
	case kerr.TopicAuthorizationFailed:
		return "Topic authorization failed."
	case kerr.GroupAuthorizationFailed:
		return "Group authorization failed."
	case kerr.TransactionalIDAuthorizationFailed:
		return "Transactional Id authorization failed."
	}
	return clusterRefused
}

// split parts a list into what keep accepts and the rest, in order.
func split[T any](list []T, keep func(*T) bool) (kept, rest []T) {
	for i := range list {
		if keep(&list[i]) {
			kept = append(kept, list[i])
		} else {
			rest = append(rest, list[i])
		}
	}
	return kept, rest
}

// amended makes c change its answer of type R before it is sent.
func amended[R kmsg.Response](c *call, fn func(resp R)) {
	before := c.amend
	c.amend = func(resp kmsg.Response) {
		if before != nil {
			before(resp)
		}
		if r, ok := resp.(R); ok {
			fn(r)
		}
	}
}

// topicByID is the name of a topic, "" when there is none.
func (c call) topicByID(id [16]byte) string {
	if t := c.b.image().TopicByID(id); t != nil {
		return t.Name
	}
	return ""
}

// guards is the table of all APIs but Produce and Fetch: which resource and operation each wants, as in Kafka.
func guards() map[int16]guard {
	return map[int16]guard{
		int16(kmsg.ApiVersions):                  open,
		int16(kmsg.SASLHandshake):                open,
		int16(kmsg.SASLAuthenticate):             open,
		int16(kmsg.DescribeACLs):                 open,
		int16(kmsg.CreateACLs):                   open,
		int16(kmsg.DeleteACLs):                   open,
		int16(kmsg.DescribeUserSCRAMCredentials): open,
		int16(kmsg.AlterUserSCRAMCredentials):    open,
		int16(kmsg.DescribeClientQuotas):         open,
		int16(kmsg.AlterClientQuotas):            open,
		int16(kmsg.CreateDelegationToken):        open, // the feature is off: everyone is told so
		int16(kmsg.RenewDelegationToken):         open,
		int16(kmsg.ExpireDelegationToken):        open,
		int16(kmsg.DescribeDelegationToken):      open,

		int16(kmsg.ShareGroupHeartbeat):                   open, // share and streams groups are off as well
		int16(kmsg.ShareGroupDescribe):                    open,
		int16(kmsg.ShareFetch):                            open,
		int16(kmsg.ShareAcknowledge):                      open,
		int16(kmsg.DescribeShareGroupOffsets):             open,
		int16(kmsg.AlterShareGroupOffsets):                open,
		int16(kmsg.DeleteShareGroupOffsets):               open,
		int16(kmsg.StreamsGroupHeartbeat):                 open,
		int16(kmsg.StreamsGroupDescribe):                  open,
		int16(kmsg.StreamsGroupTopologyDescriptionUpdate): open,

		int16(kmsg.ElectLeaders):               guarded(guardElectLeaders),
		int16(kmsg.AlterPartitionAssignments):  guarded(guardAlterPartitionReassignments),
		int16(kmsg.ListPartitionReassignments): forCluster(acl.Describe),
		int16(kmsg.DescribeQuorum):             forCluster(acl.Describe),
		int16(kmsg.UpdateFeatures):             forCluster(acl.Alter),
		int16(kmsg.UnregisterBroker):           forCluster(acl.Alter),
		int16(kmsg.AddRaftVoter):               forCluster(acl.Alter),
		int16(kmsg.RemoveRaftVoter):            forCluster(acl.Alter),
		int16(kmsg.UnregisterController):       forCluster(acl.Alter),
		int16(kmsg.ListConfigResources):        forCluster(acl.DescribeConfigs),
		int16(kmsg.DescribeLogDirs):            forCluster(acl.Describe),
		int16(kmsg.AlterReplicaLogDirs):        guarded(guardAlterReplicaLogDirs),
		int16(kmsg.DescribeCluster):            guarded(guardDescribeCluster),
		int16(kmsg.DescribeConfigs):            guarded(guardDescribeConfigs),
		int16(kmsg.AlterConfigs):               guarded(guardAlterConfigs),
		int16(kmsg.IncrementalAlterConfigs):    guarded(guardIncrementalAlterConfigs),

		int16(kmsg.Metadata):                guarded(guardMetadata),
		int16(kmsg.DescribeTopicPartitions): guarded(guardDescribeTopicPartitions),
		int16(kmsg.CreateTopics):            guarded(guardCreateTopics),
		int16(kmsg.DeleteTopics):            guarded(guardDeleteTopics),
		int16(kmsg.CreatePartitions):        guarded(guardCreatePartitions),
		int16(kmsg.DeleteRecords):           guarded(guardDeleteRecords),
		int16(kmsg.ListOffsets):             guarded(guardListOffsets),
		int16(kmsg.OffsetForLeaderEpoch):    guarded(guardOffsetForLeaderEpoch),
		int16(kmsg.DescribeProducers):       guarded(guardDescribeProducers),

		int16(kmsg.FindCoordinator):        guarded(guardFindCoordinator),
		int16(kmsg.OffsetCommit):           guarded(guardOffsetCommit),
		int16(kmsg.OffsetFetch):            guarded(guardOffsetFetch),
		int16(kmsg.OffsetDelete):           guarded(guardOffsetDelete),
		int16(kmsg.JoinGroup):              readGroup(func(q *kmsg.JoinGroupRequest) string { return q.Group }),
		int16(kmsg.SyncGroup):              readGroup(func(q *kmsg.SyncGroupRequest) string { return q.Group }),
		int16(kmsg.Heartbeat):              readGroup(func(q *kmsg.HeartbeatRequest) string { return q.Group }),
		int16(kmsg.LeaveGroup):             readGroup(func(q *kmsg.LeaveGroupRequest) string { return q.Group }),
		int16(kmsg.DescribeGroups):         guarded(guardDescribeGroups),
		int16(kmsg.ListGroups):             guarded(guardListGroups),
		int16(kmsg.DeleteGroups):           guarded(guardDeleteGroups),
		int16(kmsg.ConsumerGroupHeartbeat): guarded(guardConsumerGroupHeartbeat),
		int16(kmsg.ConsumerGroupDescribe):  guarded(guardConsumerGroupDescribe),

		int16(kmsg.InitProducerID):       guarded(guardInitProducerID),
		int16(kmsg.AddPartitionsToTxn):   guarded(guardAddPartitionsToTxn),
		int16(kmsg.AddOffsetsToTxn):      guarded(guardAddOffsetsToTxn),
		int16(kmsg.EndTxn):               guarded(guardEndTxn),
		int16(kmsg.TxnOffsetCommit):      guarded(guardTxnOffsetCommit),
		int16(kmsg.WriteTxnMarkers):      guarded(guardWriteTxnMarkers),
		int16(kmsg.DescribeTransactions): guarded(guardDescribeTransactions),
		int16(kmsg.ListTransactions):     guarded(guardListTransactions),
	}
}

// authorized says whether the handler may go on; if not, the request was answered or its connection closed.
func (b *Broker) authorized(c *call, req kmsg.Request) bool {
	if b.acls.Load() == nil || c.session().internal {
		return true
	}
	g := b.guards[c.r.Key]
	if g == nil {
		b.refuse(c.r, errUnguarded)
		return false
	}
	if resp := g(c, req); resp != nil {
		c.reply(resp)
		return false
	}
	return true
}

// errUnguarded refuses an API that nobody has given a guard.
var errUnguarded = errors.New("this api has no authorization rule, so it is refused while an authorizer is set")

// guardElectLeaders and guardAlterPartitionReassignments refuse each partition beside the whole.
func guardElectLeaders(c *call, req *kmsg.ElectLeadersRequest) kmsg.Response {
	if c.allowedCluster(acl.Alter) {
		return nil
	}
	resp := refused(req, kerr.ClusterAuthorizationFailed).(*kmsg.ElectLeadersResponse)
	text := clusterRefused
	for i := range req.Topics {
		t := kmsg.NewElectLeadersResponseTopic()
		t.Topic = req.Topics[i].Topic
		for _, index := range req.Topics[i].Partitions {
			p := kmsg.NewElectLeadersResponseTopicPartition()
			p.Partition, p.ErrorCode, p.ErrorMessage = index, kerr.ClusterAuthorizationFailed.Code, &text
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func guardAlterPartitionReassignments(c *call, req *kmsg.AlterPartitionAssignmentsRequest) kmsg.Response {
	if c.allowedCluster(acl.Alter) {
		return nil
	}
	resp := refused(req, kerr.ClusterAuthorizationFailed).(*kmsg.AlterPartitionAssignmentsResponse)
	text := clusterRefused
	for i := range req.Topics {
		t := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		t.Topic = req.Topics[i].Topic
		for _, q := range req.Topics[i].Partitions {
			p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			p.Partition, p.ErrorCode, p.ErrorMessage = q.Partition, kerr.ClusterAuthorizationFailed.Code, &text
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func guardAlterReplicaLogDirs(c *call, req *kmsg.AlterReplicaLogDirsRequest) kmsg.Response {
	if c.allowedCluster(acl.Alter) {
		return nil
	}
	resp := req.ResponseKind().(*kmsg.AlterReplicaLogDirsResponse)
	for _, d := range req.Dirs {
		for _, q := range d.Topics {
			t := kmsg.NewAlterReplicaLogDirsResponseTopic()
			t.Topic = q.Topic
			for _, i := range q.Partitions {
				p := kmsg.NewAlterReplicaLogDirsResponseTopicPartition()
				p.Partition, p.ErrorCode = i, kerr.ClusterAuthorizationFailed.Code
				t.Partitions = append(t.Partitions, p)
			}
			resp.Topics = append(resp.Topics, t)
		}
	}
	return resp
}

// guardDescribeCluster only says what the peer may do: that there is a cluster is no secret.
func guardDescribeCluster(c *call, req *kmsg.DescribeClusterRequest) kmsg.Response {
	if req.IncludeClusterAuthorizedOperations {
		amended(c, func(resp *kmsg.DescribeClusterResponse) {
			if resp.ErrorCode == 0 {
				resp.ClusterAuthorizedOperations = c.clusterOperations()
			}
		})
	}
	return nil
}

// clusterOperations is what the peer may do with the cluster; nothing when it may not even describe it.
func (c call) clusterOperations() int32 {
	if !c.may(acl.Describe, acl.Cluster, acl.ClusterName) {
		return 0
	}
	return c.operations(acl.Cluster, acl.ClusterName)
}

// The types of config resources in requests.
const (
	topicConfigs        = 2
	brokerConfigs       = 4
	brokerLoggers       = 8
	clientMetricConfigs = 16
	groupConfigs        = 32
)

// configsAllowed says whether the peer may read or alter the configs of a resource, and the error when it may not. Unknown types are
// left to the handler.
func (c call) configsAllowed(op acl.Operation, kind int8, name string) *kerr.Error {
	switch kind {
	case topicConfigs:
		if !c.allowed(op, acl.Topic, name) {
			return kerr.TopicAuthorizationFailed
		}
	case groupConfigs:
		if !c.allowed(op, acl.Group, name) {
			return kerr.GroupAuthorizationFailed
		}
	case brokerConfigs, brokerLoggers, clientMetricConfigs:
		if !c.allowedCluster(op) {
			return kerr.ClusterAuthorizationFailed
		}
	}
	return nil
}

func guardDescribeConfigs(c *call, req *kmsg.DescribeConfigsRequest) kmsg.Response {
	var denied []kmsg.DescribeConfigsResponseResource
	req.Resources, _ = split(req.Resources, func(q *kmsg.DescribeConfigsRequestResource) bool {
		e := c.configsAllowed(acl.DescribeConfigs, int8(q.ResourceType), q.ResourceName)
		if e == nil {
			return true
		}
		r := kmsg.NewDescribeConfigsResponseResource()
		text := authorizationText(e)
		r.ResourceType, r.ResourceName, r.ErrorCode, r.ErrorMessage = q.ResourceType, q.ResourceName, e.Code, &text
		denied = append(denied, r)
		return false
	})
	amended(c, func(resp *kmsg.DescribeConfigsResponse) { resp.Resources = append(resp.Resources, denied...) })
	return nil
}

// resourceKey is a config resource as one name.
func resourceKey(kind kmsg.ConfigResourceType, name string) string {
	return string(rune(kind)) + name
}

// otherBroker says whether the resource is a broker that is not this one, which nobody may alter here, whoever asks.
func (c call) otherBroker(kind kmsg.ConfigResourceType, name string) bool {
	return kind == brokerConfigs && name != "" && c.b.checkOwnID(name, "") != nil
}

func guardAlterConfigs(c *call, req *kmsg.AlterConfigsRequest) kmsg.Response {
	var denied []kmsg.AlterConfigsResponseResource
	again := twice(req.Resources, func(q *kmsg.AlterConfigsRequestResource) string { return resourceKey(q.ResourceType, q.ResourceName) })
	req.Resources, _ = split(req.Resources, func(q *kmsg.AlterConfigsRequestResource) bool {
		if again[resourceKey(q.ResourceType, q.ResourceName)] || q.ResourceType == brokerLoggers || c.otherBroker(q.ResourceType, q.ResourceName) {
			return true
		}
		e := c.configsAllowed(acl.AlterConfigs, int8(q.ResourceType), q.ResourceName)
		if e == nil {
			return true
		}
		r := kmsg.NewAlterConfigsResponseResource()
		text := authorizationText(e)
		r.ResourceType, r.ResourceName, r.ErrorCode, r.ErrorMessage = q.ResourceType, q.ResourceName, e.Code, &text
		denied = append(denied, r)
		return false
	})
	amended(c, func(resp *kmsg.AlterConfigsResponse) { resp.Resources = append(resp.Resources, denied...) })
	return nil
}

func guardIncrementalAlterConfigs(c *call, req *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	var denied []kmsg.IncrementalAlterConfigsResponseResource
	again := twice(req.Resources, func(q *kmsg.IncrementalAlterConfigsRequestResource) string {
		return resourceKey(q.ResourceType, q.ResourceName)
	})
	req.Resources, _ = split(req.Resources, func(q *kmsg.IncrementalAlterConfigsRequestResource) bool {
		if again[resourceKey(q.ResourceType, q.ResourceName)] || c.otherBroker(q.ResourceType, q.ResourceName) {
			return true
		}
		op := acl.AlterConfigs
		if q.ResourceType == brokerLoggers {
			op = acl.ClusterAction
		}
		e := c.configsAllowed(op, int8(q.ResourceType), q.ResourceName)
		if e == nil {
			return true
		}
		r := kmsg.NewIncrementalAlterConfigsResponseResource()
		text := authorizationText(e)
		r.ResourceType, r.ResourceName, r.ErrorCode, r.ErrorMessage = q.ResourceType, q.ResourceName, e.Code, &text
		denied = append(denied, r)
		return false
	})
	amended(c, func(resp *kmsg.IncrementalAlterConfigsResponse) { resp.Resources = append(resp.Resources, denied...) })
	return nil
}
