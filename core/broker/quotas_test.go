package broker_test

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// setQuota sets a quota of an entity of pairs of type and name ("" for the default of all).
func setQuota(t *testing.T, c *brokertest.Cluster, key string, value float64, entity ...string) {
	t.Helper()
	req := kmsg.NewPtrAlterClientQuotasRequest()
	e := kmsg.NewAlterClientQuotasRequestEntry()
	for i := 0; i < len(entity); i += 2 {
		part := kmsg.AlterClientQuotasRequestEntryEntity{Type: entity[i]}
		if entity[i+1] != "" {
			part.Name = &entity[i+1]
		}
		e.Entity = append(e.Entity, part)
	}
	e.Ops = append(e.Ops, kmsg.AlterClientQuotasRequestEntryOp{Key: key, Value: value})
	req.Entries = append(req.Entries, e)
	resp, err := req.RequestWith(ctxOf(t), c.Client(t))
	require.NoError(t, err)
	require.NoError(t, kerr.ErrorForCode(resp.Entries[0].ErrorCode))
}

func TestAProducerIsHeldToItsBytes(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("quota.window.num", "3"))
	c.CreateTopic(t, "t", 1)
	setQuota(t, c, "producer_byte_rate", 200_000, "client-id", "slow")
	throttled := make(chan time.Duration, 100)
	produce := func(id string) time.Duration {
		cl := c.Client(t, kgo.ClientID(id), kgo.ProducerLinger(0), kgo.WithHooks(throttleHook(throttled)), kgo.ProducerBatchCompression(kgo.NoCompression()))
		start := time.Now()
		for range 10 {
			require.NoError(t, cl.ProduceSync(ctxOf(t), &kgo.Record{Topic: "t", Value: bytes.Repeat([]byte("x"), 100_000)}).FirstErr())
		}
		return time.Since(start)
	}
	require.Less(t, produce("fast"), 2*time.Second)
	took := produce("slow")
	require.Greater(t, took, 2*time.Second, "a megabyte at 200 kB/s, less what the windows hold")
	require.NotEmpty(t, throttled, "the client is told")
}

// throttleHook tells of answers with a throttle time.
type throttleHook chan time.Duration

func (h throttleHook) OnBrokerThrottle(_ kgo.BrokerMetadata, d time.Duration, after bool) {
	if after {
		select {
		case h <- d:
		default:
		}
	}
}

func TestAConsumerIsHeldToItsBytes(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("quota.window.num", "3"))
	c.CreateTopic(t, "t", 1)
	cl := c.Client(t, kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 10 {
		require.NoError(t, cl.ProduceSync(ctxOf(t), &kgo.Record{Topic: "t", Value: bytes.Repeat([]byte("x"), 100_000)}).FirstErr())
	}
	setQuota(t, c, "consumer_byte_rate", 300_000, "user", "", "client-id", "slow")
	consume := func(id string) time.Duration {
		throttled := make(chan time.Duration, 100)
		cl := c.Client(t, kgo.ClientID(id), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(150_000), kgo.WithHooks(throttleHook(throttled)))
		start := time.Now()
		for n := 0; n < 10; {
			f := cl.PollFetches(ctxOf(t))
			require.NoError(t, f.Err())
			n += f.NumRecords()
		}
		return time.Since(start)
	}
	require.Less(t, consume("fast"), 2*time.Second)
	require.Greater(t, consume("slow"), time.Second)
}

func TestChangesOfMetadataAreHeldToTheirRate(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("controller.quota.window.num", "2"))
	setQuota(t, c, "controller_mutation_rate", 5, "client-id", "admin")
	cl := c.Client(t, kgo.ClientID("admin"))
	create := func(version int16, name string, partitions int32) *kmsg.CreateTopicsResponse {
		req := kmsg.NewPtrCreateTopicsRequest()
		q := kmsg.NewCreateTopicsRequestTopic()
		q.Topic, q.NumPartitions, q.ReplicationFactor = name, partitions, 1
		req.Topics = append(req.Topics, q)
		resp, err := cl.Broker(1).Request(ctxOf(t), req)
		require.NoError(t, err)
		return resp.(*kmsg.CreateTopicsResponse)
	}
	first := create(7, "a", 12)
	require.Zero(t, first.Topics[0].ErrorCode, "the bucket may be overdrawn once")
	require.Positive(t, first.ThrottleMillis)
	require.Eventually(t, func() bool { return create(7, "b", 12).Topics[0].ErrorCode == 0 }, 10*time.Second, 10*time.Millisecond, "with time there is room again")
	setQuota(t, c, "controller_mutation_rate", 0.001, "client-id", "other")
	other := c.Client(t, kgo.ClientID("other"))
	refused := false
	r := kmsg.NewPtrCreateTopicsRequest()
	for _, name := range []string{"x", "x2"} {
		q := kmsg.NewCreateTopicsRequestTopic()
		q.Topic, q.NumPartitions, q.ReplicationFactor = name, 1, 1
		r.Topics = append(r.Topics, q)
	}
	resp, err := other.Broker(1).Request(ctxOf(t), r)
	require.NoError(t, err)
	for _, rt := range resp.(*kmsg.CreateTopicsResponse).Topics {
		if rt.ErrorCode == kerr.ThrottlingQuotaExceeded.Code {
			refused = true
			require.Nil(t, rt.ErrorMessage)
		}
	}
	require.True(t, refused)
	r.ValidateOnly, r.Topics = true, r.Topics[:1]
	resp, err = c.Client(t, kgo.ClientID("other")).Broker(1).Request(ctxOf(t), r)
	require.NoError(t, err)
	require.Equal(t, kerr.ThrottlingQuotaExceeded.Code, resp.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode, "validation alone counts too")
}

func TestRequestsAreHeldToTheirTime(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("quota.window.num", "2"))
	c.CreateTopic(t, "t", 50)
	setQuota(t, c, "request_percentage", 0.01, "user", "ANONYMOUS")
	throttled := make(chan time.Duration, 100)
	cl := c.Client(t, kgo.WithHooks(throttleHook(throttled)))
	require.Eventually(t, func() bool {
		_, err := kmsg.NewPtrMetadataRequest().RequestWith(ctxOf(t), cl)
		return err == nil && len(throttled) > 0
	}, 15*time.Second, time.Millisecond)
	require.LessOrEqual(t, <-throttled, time.Second, "never more than a window at once")
}

// TestAnAnswerSaysWhatItsOwnRequestCost: as in Kafka, the client is told with the very answer that brought it over its quota.
func TestAnAnswerSaysWhatItsOwnRequestCost(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 50)
	cl := c.Client(t, kgo.ClientID("once"))
	require.NoError(t, cl.Ping(ctxOf(t)))
	setQuota(t, c, "request_percentage", 0.000_001, "client-id", "once")
	resp, err := cl.Broker(1).Request(ctxOf(t), kmsg.NewPtrDescribeClusterRequest())
	require.NoError(t, err)
	require.Positive(t, resp.(*kmsg.DescribeClusterResponse).ThrottleMillis)
}

func TestConnectionsAreHeldToTheirRate(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("quota.window.num", "2"))
	admin := c.Client(t)
	require.NoError(t, admin.Ping(ctxOf(t)))
	setQuota(t, c, "connection_creation_rate", 2, "ip", "127.0.0.1")
	closed := 0
	for range 12 {
		nc, err := net.Dial("tcp", c.Addr())
		require.NoError(t, err)
		require.NoError(t, nc.SetDeadline(time.Now().Add(200*time.Millisecond)))
		_, err = nc.Write(kmsg.NewRequestFormatter().AppendRequest(nil, kmsg.NewPtrApiVersionsRequest(), 1))
		require.NoError(t, err)
		if _, err := nc.Read(make([]byte, 4)); err != nil {
			closed++
		}
		_ = nc.Close()
	}
	require.Positive(t, closed, "some were refused")
	require.NoError(t, admin.Ping(ctxOf(t)), "those who are in stay")
}

func TestQuotasAreDescribed(t *testing.T) {
	c := brokertest.Start(t)
	setQuota(t, c, "producer_byte_rate", 1000, "user", "alice", "client-id", "")
	setQuota(t, c, "producer_byte_rate", 2000, "user", "alice")
	describe := func(strict bool, comps ...kmsg.DescribeClientQuotasRequestComponent) *kmsg.DescribeClientQuotasResponse {
		req := kmsg.NewPtrDescribeClientQuotasRequest()
		req.Strict, req.Components = strict, comps
		resp, err := req.RequestWith(ctxOf(t), c.Client(t))
		require.NoError(t, err)
		return resp
	}
	alice := "alice"
	user := kmsg.DescribeClientQuotasRequestComponent{EntityType: "user", MatchType: 0, Match: &alice}
	require.Len(t, describe(false).Entries, 2)
	require.Len(t, describe(false, user).Entries, 2)
	strict := describe(true, user).Entries
	require.Len(t, strict, 1)
	require.InDelta(t, 2000, strict[0].Values[0].Value, 0)
	require.Len(t, describe(true, user, kmsg.DescribeClientQuotasRequestComponent{EntityType: "client-id", MatchType: 1}).Entries, 1)
	require.Equal(t, kerr.InvalidRequest.Code, describe(false, user, user).ErrorCode)
	require.Equal(t, kerr.UnsupportedVersion.Code, describe(false, kmsg.DescribeClientQuotasRequestComponent{EntityType: "planet", MatchType: 1}).ErrorCode)
	c.Restart(t)
	require.Len(t, describe(false).Entries, 2)
}
