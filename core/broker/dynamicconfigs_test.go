package broker_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// alterBroker sets properties of broker 1 at run time, or, with a value of nil, takes them away.
func alterBroker(t *testing.T, c *brokertest.Cluster, key string, value *string) {
	t.Helper()
	op := kadm.SetConfig
	if value == nil {
		op = kadm.DeleteConfig
	}
	rs, err := c.Admin(t).AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Op: op, Name: key, Value: value}}, 1)
	require.NoError(t, err)
	require.NoError(t, rs[0].Err, rs[0].ErrMessage)
}

func TestCordonedDirectoriesGetNoNewPartitions(t *testing.T) {
	dir := t.TempDir()
	x, y := filepath.Join(dir, "x"), filepath.Join(dir, "y")
	c := brokertest.Start(t, brokertest.With("log.dirs", x+","+y), brokertest.With("cordoned.log.dirs", x))
	count := func(want map[string]int) {
		t.Helper()
		dirs := logDirs(t, c)
		for d, n := range want {
			require.Len(t, dirs[d], n, "%s: %v", d, dirs)
		}
	}
	c.CreateTopic(t, "first", 4)
	count(map[string]int{x: 0, y: 4})

	alterBroker(t, c, "cordoned.log.dirs", &y)
	c.CreateTopic(t, "second", 3)
	count(map[string]int{x: 3, y: 4})
	c.Restart(t)
	c.CreateTopic(t, "third", 2)
	count(map[string]int{x: 5, y: 4})

	alterBroker(t, c, "cordoned.log.dirs", nil)
	c.CreateTopic(t, "fourth", 2)
	count(map[string]int{x: 5, y: 6})
}

func TestMovesBetweenDirectoriesAreThrottledAtRunTime(t *testing.T) {
	dir := t.TempDir()
	x, y := filepath.Join(dir, "x"), filepath.Join(dir, "y")
	c := brokertest.Start(t, brokertest.With("log.dirs", x+","+y), brokertest.With("cordoned.log.dirs", y))
	c.CreateTopic(t, "a", 1)
	cl := c.Client(t, kgo.ProducerBatchMaxBytes(20_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 40 {
		require.NoError(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: "a", Value: make([]byte, 10_000)}).FirstErr())
	}
	throttle := "replica.alter.log.dirs.io.max.bytes.per.second"
	alterBroker(t, c, throttle, pointer("1"))
	move := func(to string) {
		t.Helper()
		rs, err := c.Admin(t).AlterAllReplicaLogDirs(t.Context(), kadm.AlterReplicaLogDirsReq{to: kadm.TopicsSet{"a": {0: {}}}})
		require.NoError(t, err)
		for _, r := range rs {
			for _, ps := range r {
				for _, p := range ps {
					require.NoError(t, p.Err)
				}
			}
		}
	}
	move(y)
	require.Eventually(t, func() bool { return strings.Join(logDirs(t, c)[y], " ") == "a-0 (future)" }, 10*time.Second, 5*time.Millisecond)
	c.Restart(t) // the throttle and the move are there again
	require.Never(t, func() bool { return len(logDirs(t, c)[x]) == 0 }, 300*time.Millisecond, 20*time.Millisecond)
	require.Equal(t, []string{"a-0 (future)"}, logDirs(t, c)[y])
	alterBroker(t, c, throttle, nil)
	require.Eventually(t, func() bool { d := logDirs(t, c); return len(d[x]) == 0 && strings.Join(d[y], " ") == "a-0" }, 10*time.Second, 5*time.Millisecond)
}

func TestVerificationOfTransactionsIsTurnedOffAtRunTime(t *testing.T) {
	c := brokertest.Start(t)
	s := &script{raw: dial(t, c), ids: map[int64]string{}}
	createTopic(s.raw, "txns", 2)
	awaitCoordinator(t, s.raw, txnCoordinator, "tx")
	p := s.init(4, "tx", 60_000, nobody)
	write := func(part int32) string {
		s.produce(10, "tx", p, part, 0)
		return s.out[len(s.out)-1]
	}
	require.Contains(t, write(0), "INVALID_TXN_STATE", "the transaction does not have the partition")
	off := "false"
	alterBroker(t, c, "transaction.partition.verification.enable", &off)
	require.Contains(t, write(0), ": OK")
	alterBroker(t, c, "transaction.partition.verification.enable", nil)
	require.Contains(t, write(1), "INVALID_TXN_STATE")
}

func TestTheAssignmentIntervalOfConsumerGroupsChangesAtRunTime(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("group.consumer.assignment.interval.ms", "15000"))
	c.CreateTopic(t, "orders", 4)
	none := "0"
	alterBroker(t, c, "group.consumer.assignment.interval.ms", &none)
	nextGen(t, c, "g", kgo.ConsumeTopics("orders"))
	shares := func() string {
		var out []string
		for _, m := range describeConsumer(t, c.Client(t), "g").Members {
			for _, tp := range m.Assignment.TopicPartitions {
				out = append(out, strings.Repeat("p", len(tp.Partitions)))
			}
		}
		return strings.Join(out, " ")
	}
	require.Eventually(t, func() bool { return shares() == "pppp" }, 10*time.Second, 20*time.Millisecond)
	begin := time.Now()
	nextGen(t, c, "g", kgo.ConsumeTopics("orders"))
	require.Eventually(t, func() bool { return shares() == "pp pp" }, 20*time.Second, 20*time.Millisecond)
	require.Less(t, time.Since(begin), 13*time.Second, "the interval of the file was kept")
}
