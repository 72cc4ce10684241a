package broker_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/kafkaclient"
)

const authorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"

// aclCluster is saslCluster with the authorizer: alice is the super user, bob has nothing.
func aclCluster(t testing.TB, opts ...brokertest.Option) *brokertest.Cluster {
	t.Helper()
	return saslCluster(t, append([]brokertest.Option{brokertest.With("authorizer.class.name", authorizer)}, opts...)...)
}

// grant adds entries as the super user: "allow topic t read", "deny group p* describe" (a prefix), "allow cluster create".
func grant(t testing.TB, c *brokertest.Cluster, who string, entries ...string) {
	t.Helper()
	req := kmsg.NewPtrCreateACLsRequest()
	for _, e := range entries {
		q := entryOf(t, who, e)
		req.Creations = append(req.Creations, q)
	}
	resp, err := req.RequestWith(ctxOf(t), as(t, c, plainAuth("alice", "alice-secret")))
	require.NoError(t, err)
	for _, r := range resp.Results {
		require.NoError(t, kerr.ErrorForCode(r.ErrorCode))
	}
}

func entryOf(t testing.TB, who, e string) kmsg.CreateACLsRequestCreation {
	t.Helper()
	f := strings.Fields(e)
	q := kmsg.NewCreateACLsRequestCreation()
	q.Principal, q.Host, q.PermissionType, q.ResourcePatternType = "User:"+who, "*", kmsg.ACLPermissionTypeAllow, kmsg.ACLResourcePatternTypeLiteral
	if f[0] == "deny" {
		q.PermissionType = kmsg.ACLPermissionTypeDeny
	}
	switch f[1] {
	case "topic":
		q.ResourceType = kmsg.ACLResourceTypeTopic
	case "group":
		q.ResourceType = kmsg.ACLResourceTypeGroup
	case "txn":
		q.ResourceType = kmsg.ACLResourceTypeTransactionalId
	case "cluster":
		q.ResourceType = kmsg.ACLResourceTypeCluster
		f = append([]string{f[0], f[1], "kafka-cluster"}, f[2:]...)
	default:
		t.Fatalf("entry %q", e)
	}
	q.ResourceName = f[2]
	if n, ok := strings.CutSuffix(f[2], "*"); ok && n != "" {
		q.ResourceName, q.ResourcePatternType = n, kmsg.ACLResourcePatternTypePrefixed
	}
	require.NoError(t, q.Operation.UnmarshalText([]byte(strings.ToUpper(f[3]))))
	return q
}

func TestTopicsAreHiddenAndClosed(t *testing.T) {
	c := aclCluster(t)
	ctx := ctxOf(t)
	root := adminAs(t, c, plainAuth("alice", "alice-secret"))
	_, err := root.CreateTopics(ctx, 2, 1, nil, "open", "closed", "ro-1")
	require.NoError(t, err)
	grant(t, c, "bob", "allow topic open all", "allow topic ro-* read", "allow group g* read", "deny topic open alter")
	bob := adminAs(t, c, plainAuth("bob", "bob-secret"))
	bobs := as(t, c, plainAuth("bob", "bob-secret"), kgo.DisableIdempotentWrite(), kgo.RecordRetries(1))

	list, err := bob.ListTopics(ctx)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"open", "ro-1"}, list.Names())
	meta := kmsg.NewPtrMetadataRequest()
	for _, name := range []string{"closed", "never-was", "open"} {
		meta.Topics = append(meta.Topics, kmsg.MetadataRequestTopic{Topic: &name})
	}
	one, err := meta.RequestWith(ctx, bobs)
	require.NoError(t, err)
	codes := map[string]int16{}
	for _, mt := range one.Topics {
		codes[*mt.Topic] = mt.ErrorCode
	}
	require.Equal(t, map[string]int16{"open": 0, "closed": kerr.TopicAuthorizationFailed.Code, "never-was": kerr.TopicAuthorizationFailed.Code}, codes, "whether a topic exists is a secret")

	require.NoError(t, bobs.ProduceSync(ctx, &kgo.Record{Topic: "open", Value: []byte("x")}).FirstErr())
	require.ErrorIs(t, bobs.ProduceSync(ctx, &kgo.Record{Topic: "closed", Value: []byte("x")}).FirstErr(), kerr.TopicAuthorizationFailed)
	require.ErrorIs(t, bobs.ProduceSync(ctx, &kgo.Record{Topic: "ro-1", Value: []byte("x")}).FirstErr(), kerr.TopicAuthorizationFailed)

	created, err := bob.CreateTopics(ctx, 1, 1, nil, "mine", "open-2")
	require.NoError(t, err)
	require.ErrorIs(t, created["mine"].Err, kerr.TopicAuthorizationFailed)
	grant(t, c, "bob", "allow topic mine create")
	require.Eventually(t, func() bool {
		created, err = bob.CreateTopics(ctx, 1, 1, nil, "mine")
		return err == nil && created["mine"].Err == nil
	}, 5*time.Second, 20*time.Millisecond)

	parts, err := bob.CreatePartitions(ctx, 1, "open")
	require.NoError(t, err)
	require.ErrorIs(t, parts["open"].Err, kerr.TopicAuthorizationFailed, "deny wins over all")
	deleted, err := bob.DeleteTopics(ctx, "closed")
	require.NoError(t, err)
	require.ErrorIs(t, deleted["closed"].Err, kerr.TopicAuthorizationFailed)

	offsets := kmsg.NewPtrListOffsetsRequest()
	offsets.Version = 7
	for _, name := range []string{"open", "closed"} {
		offsets.Topics = append(offsets.Topics, kmsg.ListOffsetsRequestTopic{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Partition: 0, Timestamp: -1}}})
	}
	got, err := bobs.Broker(1).Request(ctx, offsets)
	require.NoError(t, err)
	for _, ot := range got.(*kmsg.ListOffsetsResponse).Topics {
		require.Equal(t, ot.Topic == "closed", ot.Partitions[0].ErrorCode == kerr.TopicAuthorizationFailed.Code)
	}
}

func TestTheHotPathsFollowChangesOfTheLists(t *testing.T) {
	c := aclCluster(t)
	ctx := ctxOf(t)
	root := adminAs(t, c, plainAuth("alice", "alice-secret"))
	_, err := root.CreateTopics(ctx, 1, 1, nil, "t")
	require.NoError(t, err)
	grant(t, c, "bob", "allow topic t all")
	bob := as(t, c, plainAuth("bob", "bob-secret"), kgo.DisableIdempotentWrite(), kgo.RecordRetries(1), kgo.ConsumeTopics("t"))
	require.NoError(t, bob.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("1")}).FirstErr())
	require.Equal(t, "1", string(bob.PollFetches(ctx).Records()[0].Value))
	grant(t, c, "bob", "deny topic t write")
	require.Eventually(t, func() bool {
		err := bob.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("2")}).FirstErr()
		return err != nil && strings.Contains(err.Error(), "TOPIC_AUTHORIZATION_FAILED")
	}, 5*time.Second, 20*time.Millisecond, "the connection that could write cannot any more")
	grant(t, c, "bob", "deny topic t read")
	require.Eventually(t, func() bool {
		short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		for _, e := range bob.PollFetches(short).Errors() {
			if strings.Contains(e.Err.Error(), "TOPIC_AUTHORIZATION_FAILED") {
				return true
			}
		}
		return false
	}, 10*time.Second, 20*time.Millisecond)
}

func TestGroupsNeedTheirRights(t *testing.T) {
	c := aclCluster(t)
	ctx := ctxOf(t)
	root := adminAs(t, c, plainAuth("alice", "alice-secret"))
	_, err := root.CreateTopics(ctx, 1, 1, nil, "t", "u")
	require.NoError(t, err)
	grant(t, c, "bob", "allow topic t read", "allow group mine read", "allow cluster idempotent_write")
	_, err = as(t, c, plainAuth("alice", "alice-secret")).Request(ctx, kmsg.NewPtrFindCoordinatorRequest())
	require.NoError(t, err)
	topics, err := root.ListTopics(ctx)
	require.NoError(t, err)
	bobs := as(t, c, plainAuth("bob", "bob-secret"))
	bob := kadm.NewClient(bobs)
	commit := func(group string) map[[16]byte]int16 {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Group, req.Generation = group, -1
		for _, name := range []string{"t", "u"} {
			req.Topics = append(req.Topics, kmsg.OffsetCommitRequestTopic{Topic: name, TopicID: topics[name].ID, Partitions: []kmsg.OffsetCommitRequestTopicPartition{kmsg.NewOffsetCommitRequestTopicPartition()}})
		}
		resp, err := bobs.Broker(1).Request(ctx, req)
		require.NoError(t, err)
		codes := map[[16]byte]int16{}
		for _, ot := range resp.(*kmsg.OffsetCommitResponse).Topics {
			codes[ot.TopicID] = ot.Partitions[0].ErrorCode
		}
		return codes
	}
	id := func(name string) [16]byte { return topics[name].ID }
	require.Eventually(t, func() bool { return commit("mine")[id("t")] == 0 }, 10*time.Second, 50*time.Millisecond, "the coordinator loads")
	require.Equal(t, map[[16]byte]int16{id("t"): 0, id("u"): kerr.TopicAuthorizationFailed.Code}, commit("mine"))
	require.Equal(t, map[[16]byte]int16{id("t"): kerr.GroupAuthorizationFailed.Code, id("u"): kerr.GroupAuthorizationFailed.Code}, commit("other"))
	var off kadm.Offsets
	off.Add(kadm.Offset{Topic: "t", Partition: 0, At: 0, LeaderEpoch: -1})
	_, err = root.CommitOffsets(ctx, "other", off)
	require.NoError(t, err)
	groups, err := bob.ListGroups(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"mine"}, groups.Groups())
	seen, err := bob.FetchOffsets(ctx, "mine")
	require.NoError(t, err)
	require.Len(t, seen, 1, "offsets of topics that may be described only")
	_, err = bob.DescribeGroups(ctx, "other")
	require.ErrorContains(t, err, "GROUP_AUTHORIZATION_FAILED")
	desc, err := bob.DescribeGroups(ctx, "mine")
	require.NoError(t, err)
	require.NoError(t, desc["mine"].Err)
	gone, err := bob.DeleteGroups(ctx, "mine")
	require.NoError(t, err)
	require.ErrorIs(t, gone["mine"].Err, kerr.GroupAuthorizationFailed)
}

func TestAPatternFindsOnlyTopicsThatMayBeDescribed(t *testing.T) {
	c := aclCluster(t)
	ctx := ctxOf(t)
	root := adminAs(t, c, plainAuth("alice", "alice-secret"))
	_, err := root.CreateTopics(ctx, 1, 1, nil, "seen", "secret")
	require.NoError(t, err)
	topics, err := root.ListTopics(ctx)
	require.NoError(t, err)
	grant(t, c, "bob", "allow topic seen read", "allow group g read")
	cl := as(t, c, plainAuth("bob", "bob-secret"))
	pattern := "se.*"
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis, req.SubscribedTopicRegex = 1, "g", "m", 5000, &pattern
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	assigned := map[[16]byte]bool{}
	require.Eventually(t, func() bool {
		resp, err := req.RequestWith(ctx, cl)
		if err != nil || resp.ErrorCode != 0 {
			return false
		}
		req.MemberEpoch, req.RebalanceTimeoutMillis, req.SubscribedTopicRegex, req.Topics = resp.MemberEpoch, -1, nil, nil
		if resp.Assignment != nil {
			for _, a := range resp.Assignment.Topics {
				assigned[a.TopicID] = true
			}
		}
		return len(assigned) > 0
	}, 20*time.Second, 50*time.Millisecond)
	require.Equal(t, map[[16]byte]bool{topics["seen"].ID: true}, assigned)
}

func TestTransactionsNeedTheirRights(t *testing.T) {
	c := aclCluster(t)
	ctx := ctxOf(t)
	_, err := adminAs(t, c, plainAuth("alice", "alice-secret")).CreateTopics(ctx, 1, 1, nil, "t")
	require.NoError(t, err)
	try := func(id string) error {
		cl := as(t, c, plainAuth("bob", "bob-secret"), kgo.TransactionalID(id), kgo.RecordRetries(1))
		if err := cl.BeginTransaction(); err != nil {
			return err
		}
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr(); err != nil {
			return err
		}
		return kafkaclient.EndTransaction(ctx, cl, kgo.TryCommit)
	}
	grant(t, c, "bob", "allow topic t write", "allow txn mine-* write")
	require.ErrorIs(t, try("other"), kerr.TransactionalIDAuthorizationFailed)
	require.NoError(t, try("mine-1"))
	plain := as(t, c, plainAuth("bob", "bob-secret"))
	require.NoError(t, plain.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr(), "WRITE of a topic is enough for an idempotent producer")
}

func TestAdministrationNeedsTheCluster(t *testing.T) {
	c := aclCluster(t)
	ctx := ctxOf(t)
	bob := as(t, c, plainAuth("bob", "bob-secret"))
	for name, req := range map[string]kmsg.Request{
		"describe acls": &kmsg.DescribeACLsRequest{ResourceType: 1, ResourcePatternType: 1, Operation: 1, PermissionType: 1},
		"list configs":  kmsg.NewPtrListConfigResourcesRequest(), "elect": kmsg.NewPtrElectLeadersRequest(), "reassign": kmsg.NewPtrAlterPartitionAssignmentsRequest(),
		"reassignments": kmsg.NewPtrListPartitionReassignmentsRequest(), "quorum": kmsg.NewPtrDescribeQuorumRequest(), "features": kmsg.NewPtrUpdateFeaturesRequest(),
		"unregister": kmsg.NewPtrUnregisterBrokerRequest(), "log dirs": kmsg.NewPtrDescribeLogDirsRequest(), "scram": kmsg.NewPtrDescribeUserSCRAMCredentialsRequest(), "quotas": kmsg.NewPtrDescribeClientQuotasRequest(),
	} {
		resp, err := bob.Broker(1).Request(ctx, req)
		require.NoError(t, err, name)
		require.Contains(t, fmt.Sprintf("%+v", resp), fmt.Sprintf("ErrorCode:%d", kerr.ClusterAuthorizationFailed.Code), name)
	}
	_, err := kadm.NewClient(bob).DescribeBrokerConfigs(ctx, 1)
	require.ErrorContains(t, err, "CLUSTER_AUTHORIZATION_FAILED: Cluster authorization failed.")
}

func TestAuthorizedOperationsAreThoseOfThePeer(t *testing.T) {
	c := aclCluster(t)
	ctx := ctxOf(t)
	_, err := adminAs(t, c, plainAuth("alice", "alice-secret")).CreateTopics(ctx, 1, 1, nil, "t")
	require.NoError(t, err)
	grant(t, c, "bob", "allow topic t read", "allow topic t alter_configs", "allow cluster describe")
	ask := func(who string) *kmsg.MetadataResponse {
		req := kmsg.NewPtrMetadataRequest()
		req.Version, req.IncludeTopicAuthorizedOperations = 12, true
		resp, err := req.RequestWith(ctx, as(t, c, plainAuth(who, who+"-secret")))
		require.NoError(t, err)
		return resp
	}
	require.Equal(t, int32(1<<3|1<<8|1<<10|1<<11), ask("bob").Topics[0].AuthorizedOperations)
	require.Equal(t, int32(1<<3|1<<4|1<<5|1<<6|1<<7|1<<8|1<<10|1<<11), ask("alice").Topics[0].AuthorizedOperations)
	d := kmsg.NewPtrDescribeClusterRequest()
	d.IncludeClusterAuthorizedOperations = true
	resp, err := d.RequestWith(ctx, as(t, c, plainAuth("bob", "bob-secret")))
	require.NoError(t, err)
	require.Equal(t, int32(1<<8), resp.ClusterAuthorizedOperations)
}

// TestRolesOfTheProcessMayDoEverything: connect and registry dial the in-memory listener.
func TestRolesOfTheProcessMayDoEverything(t *testing.T) {
	c := aclCluster(t, brokertest.With("super.users", ""))
	cl, err := kgo.NewClient(append(c.MemoryOptions(), kgo.ConsumeTopics("t"))...)
	require.NoError(t, err)
	defer cl.Close()
	ctx := ctxOf(t)
	_, err = kadm.NewClient(cl).CreateTopics(ctx, 1, 1, nil, "t")
	require.NoError(t, err)
	require.NoError(t, cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr())
	require.Len(t, cl.PollFetches(ctx).Records(), 1)
}

func TestListsSurviveARestart(t *testing.T) {
	c := aclCluster(t)
	grant(t, c, "bob", "allow topic kept* all")
	c.Restart(t)
	resp, err := adminAs(t, c, plainAuth("bob", "bob-secret")).CreateTopics(ctxOf(t), 1, 1, nil, "kept-1", "other")
	require.NoError(t, err)
	require.NoError(t, resp["kept-1"].Err)
	require.ErrorIs(t, resp["other"].Err, kerr.TopicAuthorizationFailed)
}

func TestWithoutAuthorizerThereAreNoLists(t *testing.T) {
	c := brokertest.Start(t)
	resp, err := kmsg.NewPtrDescribeACLsRequest().RequestWith(ctxOf(t), c.Client(t))
	require.NoError(t, err)
	require.Equal(t, kerr.SecurityDisabled.Code, resp.ErrorCode)
	require.Equal(t, "No Authorizer is configured on the broker", *resp.ErrorMessage)
}
