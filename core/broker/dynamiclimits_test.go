package broker_test

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// memoryAlterer alters properties of the broker on a connection that no limit is for.
func memoryAlterer(t *testing.T, c *brokertest.Cluster) func(key string, value *string) {
	t.Helper()
	cl, err := kgo.NewClient(c.MemoryOptions()...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return func(key string, value *string) {
		t.Helper()
		op := kadm.SetConfig
		if value == nil {
			op = kadm.DeleteConfig
		}
		rs, err := kadm.NewClient(cl).AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Op: op, Name: key, Value: value}}, 1)
		require.NoError(t, err)
		require.NoError(t, rs[0].Err, rs[0].ErrMessage)
	}
}

// apiVersions is a frame to ask for the API versions with.
var apiVersions = []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff}

// served connects and says whether the broker answers within the time; the connection stays open until the test ends.
func served(t *testing.T, c *brokertest.Cluster, within time.Duration) bool {
	t.Helper()
	conn, err := net.Dial("tcp", c.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(within)))
	if _, err := conn.Write(apiVersions); err != nil {
		return false
	}
	_, err = io.ReadFull(conn, make([]byte, 8))
	return err == nil
}

func TestLimitsOfConnectionsChangeAtRunTime(t *testing.T) {
	c := brokertest.Start(t)
	alter := memoryAlterer(t, c)
	value := func(v any) *string { s := fmt.Sprint(v); return &s }
	require.True(t, served(t, c, 5*time.Second))
	alter("max.connections.per.ip", value(1))
	require.False(t, served(t, c, 5*time.Second), "one address has its connection")
	alter("max.connections.per.ip.overrides", value("localhost:3, 10.1.2.3:7"))
	require.True(t, served(t, c, 5*time.Second))
	alter("max.connections.per.ip", value(0))
	require.True(t, served(t, c, 5*time.Second), "what is named has its number")
	require.False(t, served(t, c, 5*time.Second))
	alter("max.connections.per.ip.overrides", value("10.1.2.3:7"))
	require.False(t, served(t, c, 5*time.Second), "all others have none")
	alter("max.connections.per.ip", nil)
	alter("max.connections.per.ip.overrides", nil)
	require.True(t, served(t, c, 5*time.Second))

	c.Restart(t)
	alter = memoryAlterer(t, c)
	alter("max.connections", value(2)) // that in memory does not count
	require.Eventually(t, func() bool { return !served(t, c, 200*time.Millisecond) }, 10*time.Second, 10*time.Millisecond)
	alter("max.connections", nil)
	require.True(t, served(t, c, 5*time.Second), "those that wait are taken")

	alter("max.connection.creation.rate", value(1))
	slow := false
	for i := 0; i < 40 && !slow; i++ {
		began := time.Now()
		require.True(t, served(t, c, 20*time.Second))
		slow = time.Since(began) > 300*time.Millisecond
	}
	require.True(t, slow, "connections come no faster than one a second")
	alter("max.connection.creation.rate", nil)
	for range 20 {
		require.True(t, served(t, c, 5*time.Second))
	}
}

func TestTheCleanersBackoffAndRateChangeAtRunTime(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("log.cleaner.backoff.ms", "3600000"))
	c.CreateTopic(t, "keyed", 1, "cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0.01", "segment.ms", "1", "segment.bytes", "1048576")
	cl := c.Client(t, kgo.ProducerLinger(0))
	for i := range 10 {
		require.NoError(t, cl.ProduceSync(t.Context(), &kgo.Record{Topic: "keyed", Key: []byte("k"), Value: fmt.Append(nil, i)}).FirstErr())
		time.Sleep(2 * time.Millisecond) // of another age than the segment may have
	}
	kept := func() int {
		cons := c.Client(t, kgo.ConsumeTopics("keyed"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		defer cons.Close()
		n := 0
		for {
			fs := cons.PollFetches(t.Context())
			require.NoError(t, fs.Err())
			last := int64(-1)
			fs.EachRecord(func(r *kgo.Record) { n++; last = r.Offset })
			if last == 9 {
				return n
			}
		}
	}
	require.Equal(t, 10, kept())
	short, none, much := "20", "0", "1e9"
	alterBroker(t, c, "log.cleaner.io.max.bytes.per.second", &none)
	alterBroker(t, c, "log.cleaner.backoff.ms", &short)
	require.Never(t, func() bool { return kept() < 10 }, 300*time.Millisecond, 50*time.Millisecond, "compaction stands still")
	alterBroker(t, c, "log.cleaner.io.max.bytes.per.second", &much)
	require.Eventually(t, func() bool { return kept() <= 2 }, 20*time.Second, 50*time.Millisecond)
}

func TestBrokerPropertiesAreRefusedAtRunTimeAsKafkaDoes(t *testing.T) {
	c := brokertest.Start(t)
	cl := c.Client(t)
	for _, x := range []struct{ key, value, text string }{
		{"max.connections", "0", "Invalid value org.apache.kafka.common.config.ConfigException: Invalid max.connections 0 for configuration Invalid dynamic configuration"},
		{"max.connections", "-1", "Invalid value -1 for configuration max.connections: Value must be at least 0"},
		{"max.connection.creation.rate", "0", "Invalid value org.apache.kafka.common.config.ConfigException: Invalid max.connection.creation.rate 0 for configuration Invalid dynamic configuration"},
		{"max.connections.per.ip", "0", "requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set."},
		{"max.connections.per.ip.overrides", "delete", "Error parsing configuration property 'max.connections.per.ip.overrides': begin 0, end -1, length 6"},
		{"max.connections.per.ip.overrides", "*:*", `For input string: "*"`},
		{"max.connections.per.ip.overrides", "1:abc", `For input string: "abc"`},
		{"producer.id.expiration.ms", "0", "Invalid value 0 for configuration producer.id.expiration.ms: Value must be at least 1"},
		{"log.cleaner.backoff.ms", "-1", "Invalid value -1 for configuration log.cleaner.backoff.ms: Value must be at least 0"},
		{"log.cleaner.dedupe.buffer.size", "1048576", "requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread."},
		{"log.cleaner.threads", "-1", "Invalid value -1 for configuration log.cleaner.threads: Value must be at least 0"},
		{"log.cleaner.threads", "0", "Invalid value 0 for configuration log.cleaner.threads: Value must be at least 1"}, // where Kafka says "/ by zero"
		{"log.cleaner.threads", "128", "requirement failed: log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread."},
		{"log.cleaner.threads", "x", "Invalid value x for configuration log.cleaner.threads: Not a number of type INT"},
		{"log.cleaner.io.max.bytes.per.second", "abc", "Invalid value abc for configuration log.cleaner.io.max.bytes.per.second: Not a number of type DOUBLE"},
		{"log.cleaner.io.max.bytes.per.second", "-1", ""},
		{"log.cleaner.io.max.bytes.per.second", "1e6", ""},
		{"log.cleaner.threads", "2", ""},
		{"log.cleaner.dedupe.buffer.size", "abc", "Invalid value abc for configuration log.cleaner.dedupe.buffer.size: Not a number of type LONG"},
		{"num.recovery.threads.per.data.dir", "0", "Invalid value 0 for configuration num.recovery.threads.per.data.dir: Value must be at least 1"},
		{"log.roll.ms", "-2", "requirement failed: log.roll.ms must be greater than or equal to 1"},
		{"log.roll.jitter.ms", "-2", "requirement failed: log.roll.jitter.ms must be greater than or equal to 0"},
		{"log.retention.ms", "0", "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1"},
		{"cordoned.log.dirs", "a,b", "requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : a, b"},
		{"cordoned.log.dirs", "a,,b", "Configuration 'cordoned.log.dirs' values must not be empty."},
		{"cordoned.log.dirs", "", ""},
		{"log.cleaner.dedupe.buffer.size", "2147483647", ""},
		{"num.recovery.threads.per.data.dir", "1", ""},
		{"producer.id.expiration.ms", "1", ""},
		{"log.retention.bytes", "-2", ""},
		{"log.cleaner.backoff.ms", "0", ""},
	} {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r := kmsg.NewIncrementalAlterConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, "1"
		k := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		k.Name, k.Value = x.key, &x.value
		r.Configs = append(r.Configs, k)
		req.Resources = append(req.Resources, r)
		resp, err := req.RequestWith(t.Context(), cl)
		require.NoError(t, err)
		got := ""
		if m := resp.Resources[0].ErrorMessage; m != nil {
			got = *m
		}
		require.Equal(t, x.text, got, "%s=%s", x.key, x.value)
		require.Equal(t, x.text != "", resp.Resources[0].ErrorCode != 0)
	}
}
