//go:build linux

package broker_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/log/batch"
)

// mountTmpfs mounts a small file system in memory, or skips the test where that is not permitted.
func mountTmpfs(t *testing.T, path string, bytes int) {
	t.Helper()
	require.NoError(t, os.MkdirAll(path, 0o755))
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("a file system cannot be mounted here, so a disk cannot be filled: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(path, syscall.MNT_DETACH) })
}

func TestFullDiskStopsWritesOfItsPartitionsUntilThereIsSpace(t *testing.T) {
	root := t.TempDir()
	small, big := filepath.Join(root, "small"), filepath.Join(root, "big")
	mountTmpfs(t, small, 2<<20)
	require.NoError(t, os.Mkdir(big, 0o755))
	c := brokertest.Start(t, brokertest.With("log.dirs", small+","+big), brokertest.With("log.durability", "fsync"))
	c.CreateTopic(t, "a", 1)
	c.CreateTopic(t, "b", 1)
	require.Equal(t, map[string][]string{small: {"a-0"}, big: {"b-0"}}, logDirs(t, c))
	cl := c.Client(t, kgo.RecordRetries(3), kgo.RequestRetries(1), kgo.RetryTimeout(2*time.Second), kgo.RecordDeliveryTimeout(3*time.Second), kgo.DisableIdempotentWrite(), kgo.ProducerBatchCompression(kgo.NoCompression()))
	produce := func(topic string) error {
		return cl.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: make([]byte, 200<<10)}).FirstErr()
	}
	acked := 0
	var err error
	for range 20 {
		if err = produce("a"); err != nil {
			break
		}
		acked++
	}
	require.Error(t, err)
	refused := ask[*kmsg.ProduceResponse](dial(t, c), produceRequest(9, "a", -1, records(2000, func(b *batch.Builder) { b.Append(time.Now().UnixMilli(), nil, make([]byte, 200<<10)) })))
	require.Equal(t, kerr.KafkaStorageError.Code, refused.Topics[0].Partitions[0].ErrorCode)
	require.Greater(t, acked, 5)
	require.NoError(t, produce("b"), "the other directory goes on")
	require.Equal(t, []string{"a-0"}, logDirs(t, c)[small], "the directory is not offline")
	consumer := c.Client(t, kgo.ConsumeTopics("a"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	count := func(want int) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for n := 0; n < want; {
			fs := consumer.PollFetches(ctx)
			require.NoError(t, fs.Err())
			n += fs.NumRecords()
		}
	}
	count(acked)
	// Room is made while the broker runs.
	require.NoError(t, syscall.Mount("tmpfs", small, "tmpfs", syscall.MS_REMOUNT, "size=8388608"))
	require.NoError(t, produce("a"))
	count(1)
	c.Restart(t)
	require.Equal(t, []string{"a-0"}, logDirs(t, c)[small])
}

func TestFailedLogDirectoryAtStartKeepsItsPartitionsOffline(t *testing.T) {
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	c := brokertest.Start(t, brokertest.With("log.dirs", a+","+b))
	for _, topic := range []string{"x", "y"} {
		c.CreateTopic(t, topic, 1)
		require.NoError(t, c.Client(t).ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: []byte("v")}).FirstErr())
	}
	require.Equal(t, map[string][]string{a: {"x-0"}, b: {"y-0"}}, logDirs(t, c))
	c.Stop(t)
	away := filepath.Join(root, "away")
	require.NoError(t, os.Rename(a, away))
	require.NoError(t, os.WriteFile(a, nil, 0o644)) // what cannot be opened as a directory
	c.Restart(t)
	require.Equal(t, map[string][]string{a: {kerr.KafkaStorageError.Error()}, b: {"y-0"}}, logDirs(t, c))
	r := dial(t, c)
	resp := ask[*kmsg.ProduceResponse](r, produceRequest(9, "x", -1, records(1)))
	require.Equal(t, kerr.KafkaStorageError.Code, resp.Topics[0].Partitions[0].ErrorCode)
	resp = ask[*kmsg.ProduceResponse](r, produceRequest(9, "y", -1, records(1)))
	require.Zero(t, resp.Topics[0].Partitions[0].ErrorCode)
	fetched := ask[*kmsg.FetchResponse](r, fetchRequest(11, "x", 0, 0))
	require.Equal(t, kerr.KafkaStorageError.Code, fetched.Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, map[string]float64{"kafka_log_logmanager_offlinelogdirectorycount": 1, "kafka_server_replicamanager_offlinereplicacount": 1},
		figures(t, c, "kafka_log_logmanager_offlinelogdirectorycount", "kafka_server_replicamanager_offlinereplicacount"))
	// With the directory back, the records are too.
	c.Stop(t)
	require.NoError(t, os.Remove(a))
	require.NoError(t, os.Rename(away, a))
	c.Restart(t)
	fetched = ask[*kmsg.FetchResponse](dial(t, c), fetchRequest(11, "x", 0, 0))
	require.Zero(t, fetched.Topics[0].Partitions[0].ErrorCode)
	require.EqualValues(t, 1, fetched.Topics[0].Partitions[0].HighWatermark)
}

func alterLogDir(t *testing.T, c *brokertest.Cluster, dir, topic string, partition int32) int16 {
	t.Helper()
	req := kmsg.NewPtrAlterReplicaLogDirsRequest()
	d := kmsg.NewAlterReplicaLogDirsRequestDir()
	d.Dir = dir
	tp := kmsg.NewAlterReplicaLogDirsRequestDirTopic()
	tp.Topic, tp.Partitions = topic, []int32{partition}
	d.Topics = append(d.Topics, tp)
	req.Dirs = append(req.Dirs, d)
	resp := ask[*kmsg.AlterReplicaLogDirsResponse](dial(t, c), request(req, 2))
	return resp.Topics[0].Partitions[0].ErrorCode
}

func TestReplicasMoveBetweenLogDirectoriesUnderLoad(t *testing.T) {
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	c := brokertest.Start(t, brokertest.With("log.dirs", a+","+b), brokertest.With("log.durability", "fsync"))
	c.CreateTopic(t, "x", 1)
	cl := c.Client(t)
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			if err := cl.ProduceSync(context.Background(), &kgo.Record{Topic: "x", Value: fmt.Append(nil, n)}).FirstErr(); err != nil {
				t.Error(err)
				done <- n
				return
			}
			n++
		}
	}()
	for _, to := range []string{b, a, b} {
		require.Zero(t, alterLogDir(t, c, to, "x", 0))
		require.Eventually(t, func() bool { d := logDirs(t, c); return len(d[to]) == 1 && d[to][0] == "x-0" }, 20*time.Second, 10*time.Millisecond)
	}
	close(stop)
	n := <-done
	consumer := c.Client(t, kgo.ConsumeTopics("x"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for next := 0; next < n; {
		fs := consumer.PollFetches(ctx)
		require.NoError(t, fs.Err())
		fs.EachRecord(func(r *kgo.Record) {
			require.Equal(t, fmt.Sprint(next), string(r.Value), "every record once and in order")
			next++
		})
	}
	require.Equal(t, kerr.LogDirNotFound.Code, alterLogDir(t, c, "/nowhere", "x", 0))
	require.Equal(t, kerr.ReplicaNotAvailable.Code, alterLogDir(t, c, b, "later", 0))
	c.CreateTopic(t, "later", 1)
	require.Contains(t, logDirs(t, c)[b], "later-0", "made where it was asked for")
}
