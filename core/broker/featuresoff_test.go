package broker_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/wire"
)

// TestFeaturesThatAreOffAnswerAsInKafka holds the answers for share and streams groups against what Apache Kafka 4.3.1 gave where
// share.version and streams.version were 0.
func TestFeaturesThatAreOffAnswerAsInKafka(t *testing.T) {
	r := dial(t, brokertest.Start(t))
	off := kerr.UnsupportedVersion
	member := "AAAAAAAAAAAAAAAAAAAAAA"
	group := "g"
	heartbeat := kmsg.NewPtrShareGroupHeartbeatRequest()
	heartbeat.GroupID, heartbeat.MemberID, heartbeat.SubscribedTopicNames = group, member, []string{"t"}
	fetch := kmsg.NewPtrShareFetchRequest()
	fetch.GroupID, fetch.MemberID = &group, &member
	acknowledge := kmsg.NewPtrShareAcknowledgeRequest()
	acknowledge.GroupID, acknowledge.MemberID = &group, &member
	alter := kmsg.NewPtrAlterShareGroupOffsetsRequest()
	alter.GroupID = group
	remove := kmsg.NewPtrDeleteShareGroupOffsetsRequest()
	remove.GroupID = group
	streams := kmsg.NewPtrStreamsGroupHeartbeatRequest()
	streams.Group, streams.MemberID = group, member
	texts := map[int16]bool{91: true, 92: true} // with the text of the error; Kafka's others have none
	for _, req := range []kmsg.Request{heartbeat, fetch, acknowledge, alter, remove, streams, kmsg.NewPtrStreamsGroupTopologyDescriptionUpdateRequest()} {
		row, ok := wire.Lookup(req.Key())
		require.True(t, ok)
		for v := row.Min; v <= row.Max; v++ {
			req.SetVersion(v)
			resp := reflect.ValueOf(ask[kmsg.Response](r, req)).Elem()
			require.EqualValues(t, off.Code, resp.FieldByName("ErrorCode").Int(), "%s %d", row.Name, v)
			text := resp.FieldByName("ErrorMessage")
			if !texts[req.Key()] {
				require.True(t, !text.IsValid() || text.IsNil(), row.Name)
				continue
			}
			require.Equal(t, off.Description, text.Elem().String(), row.Name)
		}
	}

	describe := kmsg.NewPtrShareGroupDescribeRequest()
	describe.Version, describe.GroupIDs = 1, []string{"g", "h"}
	shares := ask[*kmsg.ShareGroupDescribeResponse](r, describe).Groups
	require.Len(t, shares, 2)
	require.Equal(t, "h", shares[1].GroupID)
	require.Equal(t, off.Code, shares[1].ErrorCode)
	require.Equal(t, int32(-1<<31), shares[1].AuthorizedOperations)
	describeStreams := kmsg.NewPtrStreamsGroupDescribeRequest()
	describeStreams.Groups = []string{"g"}
	for describeStreams.Version = 0; describeStreams.Version <= 1; describeStreams.Version++ {
		groups := ask[*kmsg.StreamsGroupDescribeResponse](r, describeStreams).Groups
		require.Len(t, groups, 1)
		require.Equal(t, "g", groups[0].Group)
		require.Equal(t, off.Code, groups[0].ErrorCode)
	}
	offsets := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
	offsets.Version = 1
	g := kmsg.NewDescribeShareGroupOffsetsRequestGroup()
	g.GroupID = "g"
	offsets.Groups = append(offsets.Groups, g)
	of := ask[*kmsg.DescribeShareGroupOffsetsResponse](r, offsets).Groups
	require.Len(t, of, 1)
	require.Equal(t, off.Code, of[0].ErrorCode)
	require.Nil(t, of[0].ErrorMessage)
}

// TestTokensAreOffForThoseWhoAuthenticate is what Apache Kafka 4.3.1 answered a user of SCRAM.
func TestTokensAreOffForThoseWhoAuthenticate(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("listeners", "SASL_PLAINTEXT://127.0.0.1:0"), brokertest.With("sasl.enabled.mechanisms", "PLAIN"),
		brokertest.With("listener.name.sasl_plaintext.plain.sasl.jaas.config", `org.apache.kafka.common.security.plain.PlainLoginModule required user_bob="bob-secret";`))
	cl := c.Client(t, kgo.SASL(plainAuth("bob", "bob-secret")))
	request := func(req kmsg.Request) kmsg.Response {
		resp, err := cl.Request(ctxOf(t), req)
		require.NoError(t, err)
		return resp
	}
	off := kerr.DelegationTokenAuthDisabled.Code
	made := request(kmsg.NewPtrCreateDelegationTokenRequest()).(*kmsg.CreateDelegationTokenResponse)
	require.Equal(t, off, made.ErrorCode)
	require.Equal(t, "bob", made.PrincipalName)
	require.Equal(t, []int64{0, 0, 0}, []int64{made.IssueTimestamp, made.ExpiryTimestamp, made.MaxTimestamp})
	renewed := request(kmsg.NewPtrRenewDelegationTokenRequest()).(*kmsg.RenewDelegationTokenResponse)
	require.Equal(t, off, renewed.ErrorCode)
	require.Zero(t, renewed.ExpiryTimestamp)
	require.Equal(t, off, request(kmsg.NewPtrExpireDelegationTokenRequest()).(*kmsg.ExpireDelegationTokenResponse).ErrorCode)
	require.Equal(t, off, request(kmsg.NewPtrDescribeDelegationTokenRequest()).(*kmsg.DescribeDelegationTokenResponse).ErrorCode)
}

func TestNoControllerCanBeUnregistered(t *testing.T) {
	r := dial(t, brokertest.Start(t))
	req := kmsg.NewPtrUnregisterControllerRequest()
	req.ControllerID = 7
	resp := ask[*kmsg.UnregisterControllerResponse](r, req)
	require.Equal(t, kerr.ControllerIDNotRegistered.Code, resp.ErrorCode)
	require.Equal(t, "Controller ID 7 is not currently registered.", *resp.ErrorMessage)
	req.ControllerID = 1
	resp = ask[*kmsg.UnregisterControllerResponse](r, req)
	require.Equal(t, kerr.InvalidRequest.Code, resp.ErrorCode)
	require.Equal(t, "Controller cannot unregister itself while it is active.", *resp.ErrorMessage)
}

// TestTransactionalCommitsNameTopicsByID is version 6 of TxnOffsetCommit (KIP-1319).
func TestTransactionalCommitsNameTopicsByID(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	r := dial(t, c)
	awaitCoordinator(t, r, groupCoordinator, "g")
	name := "t"
	meta := kmsg.NewPtrMetadataRequest()
	meta.Version, meta.Topics = 12, []kmsg.MetadataRequestTopic{{Topic: &name}}
	known := ask[*kmsg.MetadataResponse](r, meta).Topics[0].TopicID
	unknown := [16]byte{1, 2, 3}
	id, epoch := openTxn(t, r, "x", "t", 0)

	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch, req.Generation = 6, "x", "g", id, epoch, -1
	for _, topic := range [][16]byte{known, unknown} {
		q := kmsg.NewTxnOffsetCommitRequestTopic()
		q.TopicID = topic
		for partition := range int32(2) {
			p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset = partition, 41
			q.Partitions = append(q.Partitions, p)
		}
		req.Topics = append(req.Topics, q)
	}
	codes := func(resp *kmsg.TxnOffsetCommitResponse) (l []int16) {
		require.Equal(t, known, resp.Topics[0].TopicID)
		require.Equal(t, unknown, resp.Topics[1].TopicID)
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				l = append(l, p.ErrorCode)
			}
		}
		return l
	}
	require.Eventually(t, func() bool { return codes(ask[*kmsg.TxnOffsetCommitResponse](r, req))[0] == 0 }, 10*time.Second, 10*time.Millisecond)
	unknownID := kerr.UnknownTopicID.Code
	require.Equal(t, []int16{0, kerr.UnknownTopicOrPartition.Code, unknownID, unknownID}, codes(ask[*kmsg.TxnOffsetCommitResponse](r, req)))

	other := *req
	other.Group, other.Generation = "none", 3
	require.Equal(t, []int16{kerr.GroupIDNotFound.Code, kerr.UnknownTopicOrPartition.Code, unknownID, unknownID}, codes(ask[*kmsg.TxnOffsetCommitResponse](r, &other)))
	fenced := *req
	fenced.ProducerEpoch--
	require.Equal(t, []int16{kerr.InvalidProducerEpoch.Code, kerr.UnknownTopicOrPartition.Code, unknownID, unknownID}, codes(ask[*kmsg.TxnOffsetCommitResponse](r, &fenced)))

	end := endTxn(r, "x", id, epoch, true)
	require.Zero(t, end.ErrorCode)
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Version, fetch.RequireStable = 8, true
	fetch.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g", MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0}}}}}
	require.Eventually(t, func() bool {
		p := ask[*kmsg.OffsetFetchResponse](r, fetch).Groups[0].Topics[0].Partitions[0]
		return p.ErrorCode == 0 && p.Offset == 41
	}, 10*time.Second, 10*time.Millisecond)
}
