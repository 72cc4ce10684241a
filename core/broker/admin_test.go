package broker_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// The codes and texts in this file are what Apache Kafka 4.3.1 answered to the same requests.

func createTopic(r *raw, name string, partitions int32) {
	r.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 5000
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	req.Topics = append(req.Topics, t)
	require.Zero(r.t, ask[*kmsg.CreateTopicsResponse](r, req).Topics[0].ErrorCode)
}

func TestMovingPartitionsOnOneNode(t *testing.T) {
	c := brokertest.Start(t)
	r := dial(t, c)
	createTopic(r, "probe", 2)
	move := func(replicas []int32, partition int32, topic string) (int16, string) {
		req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		req.Version = 1
		rt := kmsg.NewAlterPartitionAssignmentsRequestTopic()
		rt.Topic = topic
		rp := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
		rp.Partition, rp.Replicas = partition, replicas
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		resp := ask[*kmsg.AlterPartitionAssignmentsResponse](r, req)
		require.Zero(t, resp.ErrorCode)
		p := resp.Topics[0].Partitions[0]
		if p.ErrorMessage == nil {
			return p.ErrorCode, ""
		}
		return p.ErrorCode, *p.ErrorMessage
	}
	for _, x := range []struct {
		replicas  []int32
		partition int32
		topic     string
		code      int16
		text      string
	}{
		{[]int32{1}, 0, "probe", 0, ""},
		{[]int32{1}, 9, "probe", kerr.UnknownTopicOrPartition.Code, "Unable to find partition probe:9."},
		{[]int32{1}, 0, "nosuch", kerr.UnknownTopicOrPartition.Code, "Unable to find a topic named nosuch."},
		{[]int32{77}, 0, "probe", kerr.InvalidReplicaAssignment.Code, "The manual partition assignment includes broker 77, but no such broker is registered."},
		{nil, 0, "probe", kerr.NoReassignmentInProgress.Code, ""},
	} {
		code, text := move(x.replicas, x.partition, x.topic)
		require.Equal(t, x.code, code)
		require.Equal(t, x.text, text)
	}
	list := kmsg.NewPtrListPartitionReassignmentsRequest()
	require.Empty(t, ask[*kmsg.ListPartitionReassignmentsResponse](r, list).Topics)
}

func TestTheQuorumIsDescribed(t *testing.T) {
	r := dial(t, brokertest.Start(t))
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Version = 2
	for _, name := range []string{"__cluster_metadata", "nosuch"} {
		qt := kmsg.NewDescribeQuorumRequestTopic()
		qt.Topic = name
		qt.Partitions = append(qt.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
		req.Topics = append(req.Topics, qt)
	}
	resp := ask[*kmsg.DescribeQuorumResponse](r, req)
	p := resp.Topics[0].Partitions[0]
	require.Equal(t, int32(1), p.LeaderID)
	require.Positive(t, p.LeaderEpoch)
	require.Positive(t, p.HighWatermark)
	require.Len(t, p.CurrentVoters, 1)
	require.Equal(t, p.HighWatermark, p.CurrentVoters[0].LogEndOffset)
	require.Len(t, resp.Nodes, 1)
	bad := resp.Topics[1].Partitions[0]
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, bad.ErrorCode)
	require.Equal(t, "This server does not host this topic-partition.", *bad.ErrorMessage)
}

func TestFeaturesAreUpdatedAndSeenByClients(t *testing.T) {
	r := dial(t, brokertest.Start(t))
	update := func(version int16, name string, level int16, kind int8, validate bool) *kmsg.UpdateFeaturesResponse {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		req.Version, req.ValidateOnly = version, validate
		f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		f.Feature, f.MaxVersionLevel, f.UpgradeType = name, level, kind
		req.FeatureUpdates = append(req.FeatureUpdates, f)
		return ask[*kmsg.UpdateFeaturesResponse](r, req)
	}
	const elr = "eligible.leader.replicas.version"
	finalized := func() int16 {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 4, "t", "1"
		for _, f := range ask[*kmsg.ApiVersionsResponse](r, req).FinalizedFeatures {
			if f.Name == elr {
				return f.MaxVersionLevel
			}
		}
		return 0
	}
	require.Zero(t, update(2, elr, 0, 3, false).ErrorCode)
	require.Zero(t, update(2, elr, 1, 1, true).ErrorCode)
	require.Zero(t, finalized(), "that was only validated")
	resp := update(1, elr, 1, 1, false)
	require.Equal(t, "NONE", *resp.Results[0].ErrorMessage)
	require.Equal(t, int16(1), finalized())
	resp = update(2, "nosuch", 1, 1, false)
	require.Equal(t, kerr.InvalidUpdateVersion.Code, resp.ErrorCode)
	require.Equal(t, "The update failed for all features since the following feature had an error: Invalid update version 1 for feature nosuch. Local controller 1 does not support this feature.", *resp.ErrorMessage)
}

func TestVotersAndBrokersThatAreNotThere(t *testing.T) {
	r := dial(t, brokertest.Start(t))
	un := kmsg.NewPtrUnregisterBrokerRequest()
	un.BrokerID = 77
	gone := ask[*kmsg.UnregisterBrokerResponse](r, un)
	require.Equal(t, kerr.BrokerIDNotRegistered.Code, gone.ErrorCode)
	require.Equal(t, "Broker ID 77 is not currently registered", *gone.ErrorMessage)
	un.BrokerID = 1
	require.Equal(t, kerr.InvalidRequest.Code, ask[*kmsg.UnregisterBrokerResponse](r, un).ErrorCode, "not from under its clients")

	add := kmsg.NewPtrAddRaftVoterRequest()
	add.Version, add.VoterID = 1, 77
	for _, x := range []struct {
		cluster string
		dir     byte
		code    *kerr.Error
		text    string
	}{
		{"nope", 1, kerr.InconsistentClusterID, "The given id \"nope\" doesn't match the cluster id"},
		{"", 0, kerr.InvalidRequest, "Add voter request didn't include a valid voter"},
		{"", 1, kerr.UnsupportedVersion, "Cluster doesn't support adding voter because the kraft.version feature is 0"},
	} {
		add.ClusterID, add.VoterDirectoryID = nil, [16]byte{x.dir}
		if x.cluster != "" {
			add.ClusterID = &x.cluster
		}
		resp := ask[*kmsg.AddRaftVoterResponse](r, add)
		require.Equal(t, x.code.Code, resp.ErrorCode)
		require.Contains(t, *resp.ErrorMessage, x.text)
	}
	remove := kmsg.NewPtrRemoveRaftVoterRequest()
	remove.VoterID, remove.VoterDirectoryID = 1, [16]byte{1}
	require.Equal(t, kerr.UnsupportedVersion.Code, ask[*kmsg.RemoveRaftVoterResponse](r, remove).ErrorCode)
}

func TestThereAreNoDelegationTokens(t *testing.T) {
	r := dial(t, brokertest.Start(t))
	create := kmsg.NewPtrCreateDelegationTokenRequest()
	create.Version = 3
	made := ask[*kmsg.CreateDelegationTokenResponse](r, create)
	require.Equal(t, kerr.DelegationTokenRequestNotAllowed.Code, made.ErrorCode)
	require.Equal(t, "ANONYMOUS", made.PrincipalName)
	describe := kmsg.NewPtrDescribeDelegationTokenRequest()
	describe.Version = 3
	require.Equal(t, kerr.DelegationTokenRequestNotAllowed.Code, ask[*kmsg.DescribeDelegationTokenResponse](r, describe).ErrorCode)
	renew := kmsg.NewPtrRenewDelegationTokenRequest()
	renew.Version = 2
	require.Equal(t, kerr.DelegationTokenRequestNotAllowed.Code, ask[*kmsg.RenewDelegationTokenResponse](r, renew).ErrorCode)
	expire := kmsg.NewPtrExpireDelegationTokenRequest()
	expire.Version = 2
	require.Equal(t, kerr.DelegationTokenRequestNotAllowed.Code, ask[*kmsg.ExpireDelegationTokenResponse](r, expire).ErrorCode)
}
