package broker_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// everyFigure is all metrics of a broker: name and labels as Prometheus writes them, and the value.
func everyFigure(t *testing.T, c *brokertest.Cluster) map[string]float64 {
	t.Helper()
	families, err := c.Registry.Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%s", l.GetName(), l.GetValue()))
			}
			slices.Sort(labels)
			name := strings.TrimPrefix(f.GetName(), "kafka_")
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			switch {
			case m.Counter != nil:
				out[name] = m.GetCounter().GetValue()
			case m.Gauge != nil:
				out[name] = m.GetGauge().GetValue()
			case m.Summary != nil:
				out[name] = float64(m.GetSummary().GetSampleCount())
			}
		}
	}
	return out
}

// figures are the gauges of the broker with these names.
func figures(t *testing.T, c *brokertest.Cluster, names ...string) map[string]float64 {
	t.Helper()
	families, err := c.Registry.Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, f := range families {
		for _, n := range names {
			if f.GetName() == n {
				out[n] = f.GetMetric()[0].GetGauge().GetValue()
			}
		}
	}
	return out
}

// TestFiguresMoveWithWhatTheyCount: each is caused to change, and by how much is known.
func TestFiguresMoveWithWhatTheyCount(t *testing.T) {
	c := aclCluster(t, brokertest.With("group.initial.rebalance.delay.ms", "0"))
	ctx := ctxOf(t)
	root := as(t, c, plainAuth("alice", "alice-secret"), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ConsumeTopics("t"), kgo.ConsumerGroup("g"), kgo.FetchMaxWait(time.Second), kgo.DisableAutoCommit())
	small := "500"
	created, err := adminAs(t, c, plainAuth("alice", "alice-secret")).CreateTopics(ctx, 1, 1, map[string]*string{"max.message.bytes": &small}, "t")
	require.NoError(t, err)
	require.NoError(t, created.Error())
	compact := "compact"
	keyed, err := adminAs(t, c, plainAuth("alice", "alice-secret")).CreateTopics(ctx, 1, 1, map[string]*string{"cleanup.policy": &compact}, "keyed")
	require.NoError(t, err)
	require.NoError(t, keyed.Error())
	before := everyFigure(t, c)

	for range 3 {
		require.NoError(t, root.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: bytes.Repeat([]byte("v"), 100)}).FirstErr())
	}
	noise := make([]byte, 5000)
	_, _ = rand.Read(noise)
	require.ErrorIs(t, root.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: noise}).FirstErr(), kerr.MessageTooLarge)
	require.ErrorIs(t, root.ProduceSync(ctx, &kgo.Record{Topic: "keyed", Value: []byte("v")}).FirstErr(), kerr.InvalidRecord)
	for n := 0; n < 3; {
		f := root.PollFetches(ctx)
		require.NoError(t, f.Err())
		n += f.NumRecords()
	}
	require.NoError(t, root.CommitRecords(ctx, &kgo.Record{Topic: "t", Partition: 0, Offset: 0, LeaderEpoch: -1}))
	require.Error(t, as(t, c, plainAuth("bob", "wrong")).Ping(ctx))
	_, err = adminAs(t, c, plainAuth("bob", "bob-secret")).CreateTopics(ctx, 1, 1, nil, "secret")
	require.NoError(t, err)
	grant(t, c, "bob", "allow topic t read")
	out := kmsg.NewPtrFetchRequest()
	out.Topics = []kmsg.FetchRequestTopic{{Topic: "t", TopicID: created["t"].ID, Partitions: []kmsg.FetchRequestTopicPartition{{FetchOffset: 99, CurrentLeaderEpoch: -1, LastFetchedEpoch: -1, LogStartOffset: -1, PartitionMaxBytes: 1000}}}}
	out.MaxBytes, out.SessionEpoch = 1000, -1
	far, err := root.Broker(1).Request(ctx, out)
	require.NoError(t, err)
	require.Equal(t, kerr.OffsetOutOfRange.Code, far.(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode)

	after := map[string]float64{}
	moved := func(name string) float64 { return after[name] - before[name] }
	look := func() bool {
		after = everyFigure(t, c)
		return after["server_delayedoperationpurgatory_purgatorysize{delayedoperation=Fetch}"] > 0
	}
	go func() { root.PollFetches(ctx) }() // waits
	require.Eventually(t, look, 10*time.Second, 5*time.Millisecond)
	for name, want := range map[string]float64{
		"server_brokertopicmetrics_messagesin_total{topic=t}":           3,
		"server_brokertopicmetrics_totalproducerequests_total{topic=t}": 4,
		// As Kafka's counters say by JMX: too large records and offsets out of range are no trouble of the broker.
		"server_brokertopicmetrics_failedproducerequests_total{topic=keyed}": 1,
		"server_brokertopicmetrics_failedproducerequests_total{topic=t}":     0,
		"server_brokertopicmetrics_failedproducerequests_total{topic=}":      1,
		"server_brokertopicmetrics_failedfetchrequests_total{topic=t}":       0,
		"server_brokertopicmetrics_failedfetchrequests_total{topic=}":        0,
		"log_log_logendoffset{partition=0,topic=t}":                          3,
		"topic_partition_current_offset{partition=0,topic=t}":                3,
		"consumergroup_current_offset{consumergroup=g,partition=0,topic=t}":  1,
		"consumergroup_lag{consumergroup=g,partition=0,topic=t}":             2,
		"consumergroup_members{consumergroup=g}":                             1,
		"server_socket_server_metrics_failed_authentication_total":           1,
	} {
		require.InDelta(t, want, moved(name), 0, name)
	}
	for _, name := range []string{
		"server_brokertopicmetrics_bytesin_total{topic=t}", "server_brokertopicmetrics_bytesin_total{topic=}", "server_brokertopicmetrics_bytesout_total{topic=t}",
		"server_brokertopicmetrics_totalfetchrequests_total{topic=t}", "server_brokertopicmetrics_totalfetchrequests_total{topic=}",
		"log_log_size{partition=0,topic=t}", "network_requestmetrics_totaltimems{request=Produce}", "network_requestmetrics_totaltimems{request=Fetch}",
		"server_standardauthorizermetrics_denied_total", "server_standardauthorizermetrics_acls_total_count", "server_socket_server_metrics_successful_authentication_total",
		"server_socket_server_metrics_connection_count", "server_socket_server_metrics_connection_creation_total", "server_socket_server_metrics_incoming_byte_total",
		"server_socket_server_metrics_outgoing_byte_total", "server_fetchsessioncache_numincrementalfetchsessions",
		"server_group_coordinator_metrics_offset_commit_total", "controller_kafkacontroller_globalpartitioncount", "server_raftmetrics_high_watermark",
	} {
		require.Positive(t, moved(name), name)
	}
	produced := 0.0
	for k, v := range after {
		if strings.HasPrefix(k, "network_requestmetrics_requests_total{request=Produce,version=") {
			produced += v
		}
	}
	require.InDelta(t, 5, produced, 0)
	// The sum over topics is that of the topic without a name.
	for _, name := range []string{"totalproducerequests", "totalfetchrequests", "bytesin", "messagesin"} {
		sum := 0.0
		for k, v := range after {
			if strings.HasPrefix(k, "server_brokertopicmetrics_"+name+"_total{") && !strings.HasSuffix(k, "{topic=}") {
				sum += v
			}
		}
		require.InDelta(t, after["server_brokertopicmetrics_"+name+"_total{topic=}"], sum, 0, name)
	}
}
