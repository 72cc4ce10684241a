package broker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// nextGen is a consumer of KIP-848.
func nextGen(t *testing.T, c *brokertest.Cluster, group string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	return c.Client(t, append([]kgo.Opt{kgo.ConsumerGroup(group), kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, opts...)...)
}

// pollUntil polls until it has n records.
func pollUntil(t *testing.T, cl *kgo.Client, n int) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var out []*kgo.Record
	for len(out) < n {
		fs := cl.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "%d of %d records", len(out), n)
		fs.EachError(func(topic string, p int32, err error) { require.NoError(t, err, "%s %d", topic, p) })
		out = append(out, fs.Records()...)
	}
	return out
}

func produceN(t *testing.T, c *brokertest.Cluster, topic string, partitions int32, n int) {
	t.Helper()
	p := c.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	var recs []*kgo.Record
	for i := range n {
		recs = append(recs, &kgo.Record{Topic: topic, Partition: int32(i) % partitions, Value: fmt.Appendf(nil, "%d", i)})
	}
	require.NoError(t, p.ProduceSync(t.Context(), recs...).FirstErr())
}

func describeConsumer(t *testing.T, cl *kgo.Client, group string) kmsg.ConsumerGroupDescribeResponseGroup {
	t.Helper()
	q := kmsg.NewPtrConsumerGroupDescribeRequest()
	q.Groups = []string{group}
	q.IncludeAuthorizedOperations = true
	resp, err := q.RequestWith(t.Context(), cl)
	require.NoError(t, err)
	require.Len(t, resp.Groups, 1)
	return resp.Groups[0]
}

func TestAConsumerOfKIP848ReadsCommitsAndGoesOn(t *testing.T) {
	c := brokertest.Start(t)
	adm := kadm.NewClient(c.Client(t))
	_, err := adm.CreateTopic(t.Context(), 4, 1, nil, "orders")
	require.NoError(t, err)
	produceN(t, c, "orders", 4, 100)

	cl := nextGen(t, c, "g848", kgo.ConsumeTopics("orders"), kgo.DisableAutoCommit())
	require.Len(t, pollUntil(t, cl, 100), 100)
	require.NoError(t, cl.CommitUncommittedOffsets(t.Context()))

	d := describeConsumer(t, cl, "g848")
	require.Zero(t, d.ErrorCode)
	require.Equal(t, "Stable", d.State)
	require.Equal(t, "uniform", d.AssignorName)
	require.Len(t, d.Members, 1)
	require.Len(t, d.Members[0].Assignment.TopicPartitions, 1)
	require.Equal(t, []int32{0, 1, 2, 3}, d.Members[0].Assignment.TopicPartitions[0].Partitions)
	lq := kmsg.NewPtrListGroupsRequest()
	lq.TypesFilter = []string{"Consumer"}
	listed, err := lq.RequestWith(t.Context(), cl)
	require.NoError(t, err)
	require.Len(t, listed.Groups, 1)
	require.Equal(t, "consumer", listed.Groups[0].GroupType)

	cl.Close()
	require.Eventually(t, func() bool { return describeConsumer(t, c.Client(t), "g848").State == "Empty" }, 10*time.Second, 20*time.Millisecond)
	c.Restart(t)
	produceN(t, c, "orders", 4, 8)
	next := nextGen(t, c, "g848", kgo.ConsumeTopics("orders"))
	for _, r := range pollUntil(t, next, 8) {
		require.GreaterOrEqual(t, r.Offset, int64(25), "the committed offsets were not kept")
	}
}

func TestTheBrokerSaysHowFarGroupsAreBehind(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "orders", 2)
	produceN(t, c, "orders", 2, 20)
	adm := c.Admin(t)
	var os kadm.Offsets
	os.Add(kadm.Offset{Topic: "orders", Partition: 0, At: 4})
	os.Add(kadm.Offset{Topic: "orders", Partition: 1, At: 10})
	require.NoError(t, adm.CommitAllOffsets(t.Context(), "behind", os))
	families, err := c.Registry.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			if m.Gauge != nil {
				got[name] = m.Gauge.GetValue()
			}
		}
	}
	for name, want := range map[string]float64{
		"kafka_consumergroup_lag behind 0 orders": 6, "kafka_consumergroup_lag behind 1 orders": 0,
		"kafka_consumergroup_current_offset behind 0 orders": 4, "kafka_consumergroup_lag_sum behind orders": 6,
		"kafka_consumergroup_current_offset_sum behind orders": 14, "kafka_consumergroup_members behind": 0,
		"moldau_consumergroup_partitions_without_series": 0,
	} {
		v, ok := got[name]
		require.True(t, ok, name)
		require.Equal(t, want, v, name)
	}
}

// Members of both protocols share a group while it migrates, and no record is lost or left to nobody.
func TestAGroupMigratesToTheConsumerProtocolAndBackWhileItReads(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("group.consumer.min.heartbeat.interval.ms", "100"),
		brokertest.With("group.consumer.heartbeat.interval.ms", "100"), brokertest.With("group.consumer.assignment.interval.ms", "0"))
	c.CreateTopic(t, "orders", 4)
	old := c.Client(t, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("orders"), kgo.Balancers(kgo.CooperativeStickyBalancer(), kgo.RangeBalancer()),
		kgo.HeartbeatInterval(100*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	produceN(t, c, "orders", 4, 40)
	pollUntil(t, old, 40)

	state := func(want string, members int) {
		t.Helper()
		require.Eventually(t, func() bool {
			d := describeConsumer(t, c.Client(t), "g")
			ok := d.State == want && len(d.Members) == members
			for _, m := range d.Members {
				ok = ok && len(m.Assignment.TopicPartitions) == 1 && len(m.Assignment.TopicPartitions[0].Partitions) == 4/members
			}
			return ok
		}, 20*time.Second, 50*time.Millisecond)
	}
	next := nextGen(t, c, "g", kgo.ConsumeTopics("orders"))
	polled := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		defer close(polled)
		for ctx.Err() == nil {
			next.PollFetches(ctx)
		}
	}()
	go func() {
		for ctx.Err() == nil {
			old.PollFetches(ctx)
		}
	}()
	state("Stable", 2)
	stop()
	<-polled
	next.Close() // the last of the consumer protocol: the group becomes a classic one again
	require.Eventually(t, func() bool {
		d, err := c.Admin(t).DescribeGroups(t.Context(), "g")
		return err == nil && d["g"].State == "Stable" && len(d["g"].Members) == 1
	}, 20*time.Second, 50*time.Millisecond)
	produceN(t, c, "orders", 4, 8)
	pollUntil(t, old, 8)
}
