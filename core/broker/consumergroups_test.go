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
