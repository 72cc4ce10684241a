package connect_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/connectors/datagen"
	"github.com/moldau-io/moldau/connectors/file"
	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/builtin"
)

// cluster returns how to reach a cluster of the test's own: MOLDAU_TEST_KAFKA names a running one to use instead.
func cluster(t testing.TB) []kgo.Opt {
	t.Helper()
	if addr := os.Getenv("MOLDAU_TEST_KAFKA"); addr != "" {
		return []kgo.Opt{kgo.SeedBrokers(addr)}
	}
	return []kgo.Opt{kgo.SeedBrokers(brokertest.Start(t).Broker.Addr())}
}

func registry() *plugins.Registry {
	r := plugins.NewRegistry()
	builtin.Register(r)
	file.Register(r)
	datagen.Register(r)
	registerFakes(r)
	return r
}

func createTopic(t testing.TB, kafka []kgo.Opt, name string, partitions int32) {
	t.Helper()
	cl, err := kgo.NewClient(kafka...)
	require.NoError(t, err)
	defer cl.Close()
	_, err = kadm.NewClient(cl).CreateTopic(context.Background(), partitions, 1, nil, name)
	require.NoError(t, err)
}

func produce(t testing.TB, kafka []kgo.Opt, recs ...*kgo.Record) {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.AllowAutoTopicCreation()}, kafka...)...)
	require.NoError(t, err)
	defer cl.Close()
	require.NoError(t, cl.ProduceSync(context.Background(), recs...).FirstErr())
}

// consume reads n records of a topic from its start.
func consume(t testing.TB, kafka []kgo.Opt, topic string, n int) []*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200 * time.Millisecond)}, kafka...)...)
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var out []*kgo.Record
	for len(out) < n {
		fs := cl.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "have %d of %d records of %s", len(out), n, topic)
		fs.EachRecord(func(r *kgo.Record) { out = append(out, r) })
	}
	return out
}

func committed(t testing.TB, kafka []kgo.Opt, group, topic string, partition int32) int64 {
	t.Helper()
	cl, err := kgo.NewClient(kafka...)
	require.NoError(t, err)
	defer cl.Close()
	offs, err := kadm.NewClient(cl).FetchOffsets(context.Background(), group)
	if err != nil {
		return -1
	}
	o, ok := offs.Lookup(topic, partition)
	if !ok {
		return -1
	}
	return o.At
}

func partitions(t testing.TB, kafka []kgo.Opt, topic string) int {
	t.Helper()
	cl, err := kgo.NewClient(kafka...)
	require.NoError(t, err)
	defer cl.Close()
	tds, err := kadm.NewClient(cl).ListTopics(context.Background(), topic)
	require.NoError(t, err)
	return len(tds[topic].Partitions)
}
