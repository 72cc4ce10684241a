//go:build linux

package broker_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// partitionsOf is what Metadata and DescribeTopicPartitions say of a topic's partitions.
func partitionsOf(t *testing.T, c *brokertest.Cluster, topic string) ([]kmsg.MetadataResponseTopicPartition, []kmsg.DescribeTopicPartitionsResponseTopicPartition) {
	t.Helper()
	r := dial(t, c)
	m := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.Topic = &topic
	m.Topics = append(m.Topics, mt)
	d := kmsg.NewPtrDescribeTopicPartitionsRequest()
	dt := kmsg.NewDescribeTopicPartitionsRequestTopic()
	dt.Topic = topic
	d.Topics, d.ResponsePartitionLimit = append(d.Topics, dt), 2000
	return ask[*kmsg.MetadataResponse](r, request(m, 12)).Topics[0].Partitions,
		ask[*kmsg.DescribeTopicPartitionsResponse](r, request(d, 0)).Topics[0].Partitions
}

// breakDir takes a log directory away from under a running broker; mend brings it back.
func breakDir(t *testing.T, dir string) (mend func()) {
	t.Helper()
	away := dir + ".away"
	require.NoError(t, os.Rename(dir, away))
	require.NoError(t, os.WriteFile(dir, nil, 0o644))
	return func() {
		require.NoError(t, os.Remove(dir))
		require.NoError(t, os.Rename(away, dir))
	}
}

// TestPartitionsOfAFailedLogDirectoryHaveNoLeader holds what Kafka 4.3.1 answered for a broker with a directory that failed under it, and
// after a start without and with that directory.
func TestPartitionsOfAFailedLogDirectoryHaveNoLeader(t *testing.T) {
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	c := brokertest.Start(t, brokertest.With("log.dirs", a+","+b), brokertest.With("log.flush.offset.checkpoint.interval.ms", "100"),
		brokertest.With("log.durability", "fsync"))
	c.CreateTopic(t, "x", 2)
	acked := [2]int64{}
	produce := func(part int32) error {
		cl := c.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordRetries(3), kgo.RecordDeliveryTimeout(3*time.Second), kgo.DisableIdempotentWrite())
		err := cl.ProduceSync(context.Background(), &kgo.Record{Topic: "x", Partition: part, Value: []byte("v")}).FirstErr()
		if err == nil {
			acked[part]++
		}
		return err
	}
	require.NoError(t, produce(0))
	require.NoError(t, produce(1))
	require.Equal(t, map[string][]string{a: {"x-0"}, b: {"x-1"}}, logDirs(t, c))

	mend := breakDir(t, a)
	offline := func(leaderEpoch int32) {
		t.Helper()
		require.Eventually(t, func() bool {
			_ = produce(0)
			m, _ := partitionsOf(t, c, "x")
			return m[0].Leader == -1
		}, 20*time.Second, 20*time.Millisecond)
		m, d := partitionsOf(t, c, "x")
		require.Equal(t, kerr.LeaderNotAvailable.Code, m[0].ErrorCode)
		require.Equal(t, leaderEpoch, m[0].LeaderEpoch)
		require.Equal(t, []int32{1}, m[0].Replicas)
		require.Equal(t, []int32{1}, m[0].OfflineReplicas)
		require.Empty(t, m[0].ISR)
		require.Zero(t, d[0].ErrorCode)
		require.EqualValues(t, -1, d[0].LeaderID)
		require.Equal(t, []int32{1}, d[0].OfflineReplicas)
		require.Equal(t, []int32{1}, d[0].LastKnownELR)
		require.Empty(t, d[0].ISR)
		require.EqualValues(t, 1, m[1].Leader, "the other directory goes on")
		require.Empty(t, m[1].OfflineReplicas)
		require.NoError(t, produce(1))
		require.Equal(t, map[string][]string{a: {kerr.KafkaStorageError.Error()}, b: {"x-1"}}, logDirs(t, c))

		r := dial(t, c)
		require.Equal(t, kerr.KafkaStorageError.Code, ask[*kmsg.ProduceResponse](r, produceRequest(9, "x", -1, records(1))).Topics[0].Partitions[0].ErrorCode)
		require.Equal(t, kerr.KafkaStorageError.Code, ask[*kmsg.FetchResponse](r, fetchRequest(11, "x", 0, 0)).Topics[0].Partitions[0].ErrorCode)
		lo := kmsg.NewPtrListOffsetsRequest()
		lt := kmsg.NewListOffsetsRequestTopic()
		lp := kmsg.NewListOffsetsRequestTopicPartition()
		lp.Timestamp = -1
		lt.Topic, lt.Partitions = "x", append(lt.Partitions, lp)
		lo.Topics = append(lo.Topics, lt)
		require.Equal(t, kerr.KafkaStorageError.Code, ask[*kmsg.ListOffsetsResponse](r, request(lo, 7)).Topics[0].Partitions[0].ErrorCode)
		el := kmsg.NewPtrElectLeadersRequest()
		el.TimeoutMillis = 1000
		et := kmsg.NewElectLeadersRequestTopic()
		et.Topic, et.Partitions = "x", []int32{0}
		el.Topics = append(el.Topics, et)
		for kind, want := range []int16{kerr.PreferredLeaderNotAvailable.Code, kerr.EligibleLeadersNotAvailable.Code} {
			el.ElectionType = int8(kind)
			require.Equal(t, want, ask[*kmsg.ElectLeadersResponse](r, request(el, 2)).Topics[0].Partitions[0].ErrorCode)
		}
		names := []string{"kafka_log_logmanager_offlinelogdirectorycount", "kafka_server_replicamanager_offlinereplicacount", "kafka_controller_kafkacontroller_offlinepartitionscount"}
		require.Equal(t, map[string]float64{names[0]: 1, names[1]: 1, names[2]: 1}, figures(t, c, names...))
	}
	offline(1)
	_, d := partitionsOf(t, c, "x")
	require.Equal(t, []int32{1}, d[0].EligibleLeaderReplicas, "what it has is whole, as far as is known")

	// Nothing moves from there or to there.
	require.Equal(t, kerr.KafkaStorageError.Code, alterLogDir(t, c, b, "x", 0))
	require.Equal(t, kerr.KafkaStorageError.Code, alterLogDir(t, c, a, "x", 1))
	producers := kmsg.NewPtrDescribeProducersRequest()
	dp := kmsg.NewDescribeProducersRequestTopic()
	dp.Topic, dp.Partitions = "x", []int32{0}
	producers.Topics = append(producers.Topics, dp)
	require.Equal(t, kerr.KafkaStorageError.Code, ask[*kmsg.DescribeProducersResponse](dial(t, c), request(producers, 0)).Topics[0].Partitions[0].ErrorCode)

	// New partitions go where there is a directory, also those of a topic that had one on the other.
	c.CreateTopic(t, "y", 3)
	require.Equal(t, []string{"x-1", "y-0", "y-1", "y-2"}, logDirs(t, c)[b])
	m, _ := partitionsOf(t, c, "y")
	for _, p := range m {
		require.EqualValues(t, 1, p.Leader)
	}

	c.Stop(t)
	c.Restart(t)
	m, _ = partitionsOf(t, c, "x")
	require.EqualValues(t, -1, m[0].Leader)
	require.EqualValues(t, 1, m[0].LeaderEpoch)
	require.Equal(t, []int32{1}, m[0].OfflineReplicas)
	require.EqualValues(t, 1, m[1].Leader)

	// With the directory back, its partitions have their leader again, and their records.
	c.Stop(t)
	mend()
	c.Restart(t)
	m, d = partitionsOf(t, c, "x")
	require.EqualValues(t, 1, m[0].Leader)
	require.Empty(t, m[0].OfflineReplicas)
	require.Equal(t, []int32{1}, d[0].ISR)
	require.NoError(t, produce(0))
	fetched := ask[*kmsg.FetchResponse](dial(t, c), fetchRequest(11, "x", 0, 0))
	require.Zero(t, fetched.Topics[0].Partitions[0].ErrorCode)
	require.GreaterOrEqual(t, fetched.Topics[0].Partitions[0].HighWatermark, acked[0])
}

// A directory that fails while nobody writes to it is noticed within seconds, as by Apache Kafka, whose checkpoint of high watermarks is every five.
func TestAQuietLogDirectoryThatFailsIsNoticed(t *testing.T) {
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	c := brokertest.Start(t, brokertest.With("log.dirs", a+","+b))
	c.CreateTopic(t, "x", 2)
	require.Equal(t, map[string][]string{a: {"x-0"}, b: {"x-1"}}, logDirs(t, c))
	breakDir(t, a)
	require.Eventually(t, func() bool {
		m, _ := partitionsOf(t, c, "x")
		return m[0].Leader == -1 && m[1].Leader == 1
	}, 20*time.Second, 20*time.Millisecond)
	require.Equal(t, map[string][]string{a: {kerr.KafkaStorageError.Error()}, b: {"x-1"}}, logDirs(t, c))
}

func TestABrokerEndsWhenItsLastLogDirectoryHasFailed(t *testing.T) {
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	c := brokertest.Start(t, brokertest.With("log.dirs", a+","+b), brokertest.With("log.flush.offset.checkpoint.interval.ms", "20"))
	c.CreateTopic(t, "x", 2)
	cl := c.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordRetries(0), kgo.RecordDeliveryTimeout(time.Second), kgo.DisableIdempotentWrite())
	fails := func(dir string, partition int32, offline float64) {
		breakDir(t, dir)
		require.Eventually(t, func() bool {
			_ = cl.ProduceSync(context.Background(), &kgo.Record{Topic: "x", Partition: partition, Value: []byte("v")})
			return figures(t, c, "kafka_log_logmanager_offlinelogdirectorycount")["kafka_log_logmanager_offlinelogdirectorycount"] == offline
		}, 20*time.Second, 20*time.Millisecond)
	}
	fails(a, 0, 1)
	select {
	case err := <-c.Broker.Failed():
		require.NoError(t, err)
	case <-time.After(200 * time.Millisecond):
	}
	fails(b, 1, 2)
	select {
	case err := <-c.Broker.Failed():
		require.ErrorContains(t, err, "all log directories have failed")
	case <-time.After(10 * time.Second):
		require.Fail(t, "the broker goes on without a directory")
	}
}

// A topic that is made while the disk is full has no leader, and gets one when there is space, without a restart.
func TestAPartitionThatCouldNotBeMadeIsMadeWhenThereIsSpace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "small")
	mountTmpfs(t, dir, 4<<20)
	c := brokertest.Start(t, brokertest.With("log.dirs", dir))
	c.CreateTopic(t, "before", 1)
	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.NoError(t, f.Close())
	c.CreateTopic(t, "during", 2)
	leaders := func() (out []int32) {
		m, _ := partitionsOf(t, c, "during")
		for _, p := range m {
			out = append(out, p.Leader)
		}
		return out
	}
	require.Eventually(t, func() bool { return slices.Equal(leaders(), []int32{-1, -1}) }, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, os.Remove(filler))
	require.Eventually(t, func() bool { return slices.Equal(leaders(), []int32{1, 1}) }, 20*time.Second, 20*time.Millisecond)
	for _, topic := range []string{"before", "during"} {
		require.NoError(t, c.Client(t).ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: []byte("v")}).FirstErr())
	}
}

// A topic that is deleted while its directory is away leaves its log there. When the directory is back, that log must not take the place of
// the one that a new topic of the same name has elsewhere.
func TestATopicMadeAnewWhileItsDirectoryWasAwayKeepsItsRecords(t *testing.T) {
	for _, running := range []bool{false, true} {
		root := t.TempDir()
		a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
		c := brokertest.Start(t, brokertest.With("log.dirs", a+","+b), brokertest.With("log.flush.offset.checkpoint.interval.ms", "50"),
			brokertest.With("log.durability", "fsync"))
		produce := func(values ...string) {
			t.Helper()
			for _, v := range values {
				require.NoError(t, c.Client(t).ProduceSync(context.Background(), &kgo.Record{Topic: "x", Value: []byte(v)}).FirstErr())
			}
		}
		c.CreateTopic(t, "x", 1)
		produce("old", "old", "old")
		require.Equal(t, []string{"x-0"}, logDirs(t, c)[a])
		var mend func()
		if running {
			mend = breakDir(t, a)
			require.Eventually(t, func() bool {
				cl := c.Client(t, kgo.RecordRetries(0), kgo.RecordDeliveryTimeout(time.Second), kgo.DisableIdempotentWrite())
				_ = cl.ProduceSync(context.Background(), &kgo.Record{Topic: "x", Value: []byte("old")})
				m, _ := partitionsOf(t, c, "x")
				return m[0].Leader == -1
			}, 20*time.Second, 20*time.Millisecond)
		} else {
			c.Stop(t)
			mend = breakDir(t, a)
			c.Restart(t)
		}
		del, err := c.Admin(t).DeleteTopic(t.Context(), "x")
		require.NoError(t, err)
		require.NoError(t, del.Err)
		c.CreateTopic(t, "x", 1)
		require.Equal(t, []string{"x-0"}, logDirs(t, c)[b])
		produce("new")
		c.Stop(t)
		mend()
		c.Restart(t)
		consumer := c.Client(t, kgo.ConsumeTopics("x"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		fs := consumer.PollFetches(ctx)
		cancel()
		require.NoError(t, fs.Err())
		require.Equal(t, 1, fs.NumRecords())
		require.Equal(t, "new", string(fs.Records()[0].Value))
		require.Empty(t, logDirs(t, c)[a], "what was left of the old topic is gone")
	}
}

// TestARestartMovesLeaderEpochsAsKafkaDoes: one for the end of the leadership, one for its return, and nobody is missing after it.
func TestARestartMovesLeaderEpochsAsKafkaDoes(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "x", 1)
	for epoch := int32(0); epoch <= 4; epoch += 2 {
		m, d := partitionsOf(t, c, "x")
		require.Equal(t, epoch, m[0].LeaderEpoch)
		require.EqualValues(t, 1, m[0].Leader)
		require.Equal(t, []int32{1}, d[0].ISR)
		require.Empty(t, d[0].EligibleLeaderReplicas)
		require.Empty(t, d[0].LastKnownELR)
		c.Restart(t)
	}
}
