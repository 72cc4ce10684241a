//go:build unix

package broker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/log/batch"
)

// actor is a broker on which single topic configs are tried.
type actor struct {
	*testing.T
	c    *brokertest.Cluster
	r    *raw
	next int
}

// topic makes a topic with these configs.
func (a *actor) topic(configs ...string) string { return a.topicOf(1, configs...) }

func (a *actor) topicOf(partitions int32, configs ...string) string {
	a.Helper()
	a.next++
	name := fmt.Sprintf("topic%d", a.next)
	a.c.CreateTopic(a.T, name, partitions, configs...)
	return name
}

// set changes a config of a topic that is there.
func (a *actor) set(topic, key, value string) {
	a.Helper()
	rs, err := a.c.Admin(a.T).AlterTopicConfigs(a.Context(), []kadm.AlterConfig{{Name: key, Value: &value}}, topic)
	require.NoError(a, err)
	require.NoError(a, rs[0].Err, rs[0].ErrMessage)
}

// write appends a batch to partition 0 and returns the answer.
func (a *actor) write(topic string, age time.Duration, pairs ...string) kmsg.ProduceResponseTopicPartition {
	a.Helper()
	w := batch.Builder{}
	for _, p := range pairs {
		k, v, has := strings.Cut(p, "=")
		value := []byte(v)
		if !has {
			value = nil
		}
		w.Append(time.Now().Add(-age).UnixMilli(), []byte(k), value)
	}
	return ask[*kmsg.ProduceResponse](a.r, produceRequest(9, topic, -1, w.MustBuild())).Topics[0].Partitions[0]
}

// must is write that succeeds.
func (a *actor) must(topic string, age time.Duration, pairs ...string) {
	a.Helper()
	require.Zero(a, a.write(topic, age, pairs...).ErrorCode)
}

// read is what is in partition 0, as "key=value" or "key" for a tombstone.
func (a *actor) read(topic string) string {
	a.Helper()
	ends, err := a.c.Admin(a.T).ListEndOffsets(a.Context(), topic)
	require.NoError(a, err)
	end, _ := ends.Lookup(topic, 0)
	// The last record of a partition is never compacted away.
	cl := a.c.Client(a.T, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	defer cl.Close()
	var out []string
	for last := int64(-1); last < end.Offset-1; {
		if a.start(topic) == end.Offset {
			return "" // perhaps only now, with the client waiting for the next record
		}
		ctx, cancel := context.WithTimeout(a.Context(), time.Second)
		fs := cl.PollFetches(ctx)
		if ctx.Err() == nil {
			require.NoError(a, fs.Err())
		}
		cancel()
		fs.EachRecord(func(r *kgo.Record) {
			last = r.Offset
			if r.Value == nil {
				out = append(out, string(r.Key))
				return
			}
			out = append(out, string(r.Key)+"="+string(r.Value))
		})
	}
	return strings.Join(out, " ")
}

func (a *actor) start(topic string) int64 {
	a.Helper()
	starts, err := a.c.Admin(a.T).ListStartOffsets(a.Context(), topic)
	require.NoError(a, err)
	o, _ := starts.Lookup(topic, 0)
	return o.Offset
}

// files are the names of a partition's files that end so, with their sizes.
func (a *actor) files(topic string, partition int, suffix string) map[string]int64 {
	a.Helper()
	entries, err := os.ReadDir(filepath.Join(a.c.Dir, "data", fmt.Sprintf("%s-%d", topic, partition)))
	require.NoError(a, err)
	out := map[string]int64{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), suffix) {
			out[e.Name()] = info.Size()
		}
	}
	return out
}

func (a *actor) bytes(topic string) (n int64) {
	for _, size := range a.files(topic, 0, ".log") {
		n += size
	}
	return n
}

func (a *actor) soon(what string, ok func() bool) {
	a.Helper()
	require.Eventually(a, ok, 20*time.Second, 20*time.Millisecond, what)
}

// throttled reads and writes at once what a throttle of one byte a second speaks of.
func (a *actor) throttled(key, value string) {
	a.Helper()
	for _, rate := range []string{"leader.replication.throttled.rate", "follower.replication.throttled.rate"} {
		alterBroker(a.T, a.c, rate, pointer("1"))
		defer alterBroker(a.T, a.c, rate, nil)
	}
	t := a.topic(key, value)
	a.must(t, 0, "a=1", "b=2")
	require.Equal(a, "a=1 b=2", a.read(t))
}

// never looks for a while, in which what would happen has happened elsewhere.
func (a *actor) never(ok func() bool) {
	a.Helper()
	for range 10 {
		require.False(a, ok())
		time.Sleep(20 * time.Millisecond)
	}
}

// compacted are the configs of a topic that is compacted at once; its records are an hour apart.
func compacted(more ...string) []string {
	return append([]string{"cleanup.policy", "compact", "segment.ms", "1000", "min.cleanable.dirty.ratio", "0.01"}, more...)
}

// overwritten writes three values of one key and one of another, which rolls the segment.
func (a *actor) overwritten(topic string) {
	for i := range 3 {
		a.must(topic, time.Duration(9-i)*time.Hour, fmt.Sprint("a=", i))
	}
	a.must(topic, time.Hour, "end=1")
}

func (a *actor) refused(key, value string) {
	a.Helper()
	resp, err := a.c.Admin(a.T).CreateTopic(a.Context(), 1, 1, map[string]*string{key: &value}, "refused")
	require.ErrorIs(a, err, kerr.InvalidConfig)
	require.Contains(a, resp.ErrMessage, "moldau does not support this configuration yet")
}

// levels holds what the extreme levels of a codec make of the same records.
func (a *actor) levels(codec, key, low, high string) {
	a.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	for range 40_000 {
		fmt.Fprintf(&text, "%d word%d ", r.IntN(30), r.IntN(500))
	}
	size := func(level string) int64 {
		t := a.topic("compression.type", codec, key, level)
		a.must(t, 0, "k="+text.String())
		return a.bytes(t)
	}
	l, h := size(low), size(high)
	require.Less(a, h, l)
	t := a.topic("compression.type", codec, key, low)
	a.set(t, key, high)
	a.must(t, 0, "k="+text.String())
	require.Equal(a, h, a.bytes(t), "also when it is set later")
}

// topicConfigActs has, for each topic config, what shows that it acts: a test here, or, where one broker shows nothing, the test elsewhere.
var topicConfigActs = map[string]any{
	"cleanup.policy": func(a *actor) {
		t := a.topic("segment.ms", "1000", "retention.ms", "-1", "min.cleanable.dirty.ratio", "0.01")
		a.overwritten(t)
		a.never(func() bool { return a.read(t) != "a=0 a=1 a=2 end=1" })
		a.set(t, "cleanup.policy", "compact")
		a.soon("compacted", func() bool { return a.read(t) == "a=2 end=1" })
		a.set(t, "cleanup.policy", "compact,delete")
		a.set(t, "retention.ms", "1000")
		a.soon("deleted", func() bool { return a.read(t) == "" })
	},
	"compression.gzip.level": func(a *actor) { a.levels("gzip", "compression.gzip.level", "1", "9") },
	"compression.lz4.level":  func(a *actor) { a.levels("lz4", "compression.lz4.level", "1", "17") },
	"compression.zstd.level": func(a *actor) { a.levels("zstd", "compression.zstd.level", "1", "22") },
	"compression.type": func(a *actor) {
		t := a.topic("compression.type", "lz4")
		a.must(t, 0, "a=1")
		a.set(t, "compression.type", "zstd")
		a.must(t, 0, "a=1")
		a.set(t, "compression.type", "producer")
		a.must(t, 0, "a=1")
		var codecs []batch.Codec
		data := ask[*kmsg.FetchResponse](a.r, fetchRequest(11, t, 0, 0)).Topics[0].Partitions[0].RecordBatches
		for len(data) > 0 {
			b, rest, err := batch.Next(data)
			require.NoError(a, err)
			codecs = append(codecs, b.Codec())
			data = rest
		}
		require.Equal(a, []batch.Codec{batch.LZ4, batch.Zstd, batch.None}, codecs)
	},
	"delete.retention.ms": func(a *actor) {
		gone, stays := a.topic(compacted("delete.retention.ms", "0")...), a.topic(compacted("delete.retention.ms", "3600000")...)
		for i := range 9 {
			for _, t := range []string{gone, stays} {
				if i == 0 {
					a.must(t, 20*time.Hour, "a=1")
					a.must(t, 19*time.Hour, "a")
				}
				a.must(t, time.Duration(18-i)*time.Hour, fmt.Sprint("end=", i))
			}
			time.Sleep(60 * time.Millisecond) // several passes: the first one stamps the tombstone
		}
		a.soon("the tombstone goes", func() bool { return !strings.HasPrefix(a.read(gone), "a") })
		require.True(a, strings.HasPrefix(a.read(stays), "a "))
	},
	"errors.deadletterqueue.group.enable": func(a *actor) { a.refused("errors.deadletterqueue.group.enable", "true") },
	"durability": func(a *actor) {
		syncs := func() float64 { return counter(a.T, a.c, "kafka_log_logflushstats_logflushrateandtimems_count") }
		t := a.topic()
		before := syncs()
		a.must(t, 0, "a=1")
		require.Equal(a, before, syncs(), "the broker's is os")
		a.set(t, "durability", "fsync")
		a.must(t, 0, "a=1")
		require.Greater(a, syncs(), before)
	},
	"file.delete.delay.ms": func(a *actor) {
		deleted := func(delay string) map[string]int64 {
			t := a.topic("segment.ms", "1000", "retention.ms", "1000", "file.delete.delay.ms", delay)
			a.overwritten(t)
			a.soon("retention", func() bool { return a.start(t) == 4 })
			a.soon("first files", func() bool { return len(a.files(t, 0, ".log")) == 1 })
			if delay == "0" {
				a.soon("files go at once", func() bool { return len(a.files(t, 0, ".deleted")) == 0 })
			}
			return a.files(t, 0, ".deleted")
		}
		require.Empty(a, deleted("0"))
		require.NotEmpty(a, deleted("3600000"))
	},
	"flush.messages": func(a *actor) {
		syncs := func() float64 { return counter(a.T, a.c, "kafka_log_logflushstats_logflushrateandtimems_count") }
		t := a.topic("flush.messages", "3")
		before := syncs()
		a.must(t, 0, "a=1", "a=2")
		require.Equal(a, before, syncs())
		a.must(t, 0, "a=3")
		a.soon("synced", func() bool { return syncs() > before })
	},
	"flush.ms": func(a *actor) {
		syncs := func() float64 { return counter(a.T, a.c, "kafka_log_logflushstats_logflushrateandtimems_count") }
		t := a.topic("flush.ms", "10")
		before := syncs()
		a.must(t, 0, "a=1")
		a.soon("synced", func() bool { return syncs() > before })
	},
	// Clients are not followers: a throttle of replication does not reach them.
	"follower.replication.throttled.replicas": func(a *actor) { a.throttled("follower.replication.throttled.replicas", "*") },
	"leader.replication.throttled.replicas":   func(a *actor) { a.throttled("leader.replication.throttled.replicas", "0:1") },
	"index.interval.bytes": func(a *actor) {
		entries := func(interval string) (n int64) {
			t := a.topic("index.interval.bytes", interval, "segment.ms", "1000")
			for range 5 {
				a.must(t, 10*time.Hour, "a=1")
			}
			a.must(t, 0, "a=1")
			return a.files(t, 0, ".index")["00000000000000000000.index"]
		}
		require.Zero(a, entries("1000000"))
		require.EqualValues(a, 4*8, entries("1"))
	},
	"local.retention.bytes": func(a *actor) { a.refused("local.retention.bytes", "1") },
	"local.retention.ms":    func(a *actor) { a.refused("local.retention.ms", "1") },
	"max.compaction.lag.ms": func(a *actor) {
		t := a.topic("cleanup.policy", "compact", "segment.ms", "1000", "min.cleanable.dirty.ratio", "1")
		a.overwritten(t)
		a.never(func() bool { return a.read(t) != "a=0 a=1 a=2 end=1" })
		a.set(t, "max.compaction.lag.ms", "1000")
		a.soon("compacted", func() bool { return a.read(t) == "a=2 end=1" })
	},
	"max.message.bytes": func(a *actor) {
		t := a.topic("max.message.bytes", "100")
		a.must(t, 0, "a=1")
		require.Equal(a, kerr.MessageTooLarge.Code, a.write(t, 0, "a="+strings.Repeat("x", 100)).ErrorCode)
		a.set(t, "max.message.bytes", "1000")
		a.must(t, 0, "a="+strings.Repeat("x", 100))
	},
	"message.timestamp.after.max.ms": func(a *actor) {
		t := a.topic("message.timestamp.after.max.ms", "60000")
		a.must(t, -30*time.Second, "a=1")
		require.Equal(a, kerr.InvalidTimestamp.Code, a.write(t, -2*time.Minute, "a=1").ErrorCode)
		a.set(t, "message.timestamp.after.max.ms", "180000")
		a.must(t, -2*time.Minute, "a=1")
	},
	"message.timestamp.before.max.ms": func(a *actor) {
		t := a.topic("message.timestamp.before.max.ms", "60000")
		a.must(t, 30*time.Second, "a=1")
		require.Equal(a, kerr.InvalidTimestamp.Code, a.write(t, 2*time.Minute, "a=1").ErrorCode)
		a.set(t, "message.timestamp.before.max.ms", "180000")
		a.must(t, 2*time.Minute, "a=1")
	},
	"message.timestamp.type": func(a *actor) {
		t := a.topic("message.timestamp.type", "LogAppendTime")
		require.InDelta(a, time.Now().UnixMilli(), a.write(t, time.Hour, "a=1").LogAppendTime, 60_000)
		a.set(t, "message.timestamp.type", "CreateTime")
		require.EqualValues(a, -1, a.write(t, time.Hour, "a=1").LogAppendTime)
	},
	"min.cleanable.dirty.ratio": func(a *actor) {
		t := a.topic("cleanup.policy", "compact", "segment.ms", "1000", "min.cleanable.dirty.ratio", "1")
		a.overwritten(t)
		a.never(func() bool { return a.read(t) != "a=0 a=1 a=2 end=1" })
		a.set(t, "min.cleanable.dirty.ratio", "0.1")
		a.soon("compacted", func() bool { return a.read(t) == "a=2 end=1" })
	},
	"min.compaction.lag.ms": func(a *actor) {
		t := a.topic(compacted("min.compaction.lag.ms", fmt.Sprint((8*time.Hour + 30*time.Minute).Milliseconds()))...)
		a.overwritten(t) // of which the first two are 9 and 8 hours old
		a.never(func() bool { return a.read(t) != "a=0 a=1 a=2 end=1" })
		a.set(t, "min.compaction.lag.ms", "0")
		a.soon("compacted", func() bool { return a.read(t) == "a=2 end=1" })
	},
	"min.insync.replicas": "TestEligibleLeaderReplicas, TestElectionsNeverLoseData (core/metadata), TestEpochsAreChecked (core/replica)",
	"preallocate": func(a *actor) {
		if runtime.GOOS != "linux" {
			a.Skip("space is taken beforehand on Linux only")
		}
		taken := func(on string) int64 {
			t := a.topic("preallocate", on, "segment.bytes", "1048576")
			a.must(t, 0, "a=1")
			var st syscall.Stat_t
			require.NoError(a, syscall.Stat(filepath.Join(a.c.Dir, "data", t+"-0", "00000000000000000000.log"), &st))
			return st.Blocks * 512
		}
		require.Less(a, taken("false"), int64(65536))
		require.GreaterOrEqual(a, taken("true"), int64(1048576))
	},
	"remote.copy.lag.bytes":        func(a *actor) { a.refused("remote.copy.lag.bytes", "1") },
	"remote.copy.lag.ms":           func(a *actor) { a.refused("remote.copy.lag.ms", "1") },
	"remote.log.copy.disable":      func(a *actor) { a.refused("remote.log.copy.disable", "true") },
	"remote.log.delete.on.disable": func(a *actor) { a.refused("remote.log.delete.on.disable", "true") },
	"remote.storage.enable":        func(a *actor) { a.refused("remote.storage.enable", "true") },
	"retention.bytes": func(a *actor) {
		t := a.topic("segment.ms", "1000", "retention.ms", "-1")
		a.overwritten(t)
		a.never(func() bool { return a.start(t) != 0 })
		a.set(t, "retention.bytes", "100")
		a.soon("deleted", func() bool { return a.start(t) == 2 })
	},
	"retention.ms": func(a *actor) {
		t := a.topic("segment.ms", "1000", "retention.ms", fmt.Sprint((8*time.Hour - 30*time.Minute).Milliseconds()))
		a.overwritten(t)
		a.soon("deleted", func() bool { return a.start(t) == 2 })
		a.set(t, "retention.ms", "1000")
		a.soon("deleted", func() bool { return a.start(t) == 4 })
	},
	"segment.bytes": func(a *actor) {
		t := a.topic("segment.bytes", "1048576")
		for range 5 {
			a.must(t, 0, "a="+strings.Repeat("x", 400_000))
		}
		require.Len(a, a.files(t, 0, ".log"), 3)
		t = a.topic()
		for range 5 {
			a.must(t, 0, "a="+strings.Repeat("x", 400_000))
		}
		require.Len(a, a.files(t, 0, ".log"), 1)
	},
	"segment.index.bytes": func(a *actor) {
		t := a.topic("segment.index.bytes", "16", "index.interval.bytes", "1")
		for range 9 {
			a.must(t, 0, "a=1")
		}
		require.Greater(a, len(a.files(t, 0, ".log")), 2)
	},
	"segment.jitter.ms": func(a *actor) {
		const partitions = 40
		t := a.topicOf(partitions, "segment.ms", "3600000", "segment.jitter.ms", "3600000")
		rolled := 0
		for p := range int32(partitions) {
			for _, age := range []time.Duration{30 * time.Minute, 0} {
				w := batch.Builder{}
				w.Append(time.Now().Add(-age).UnixMilli(), []byte("a"), nil)
				req := produceRequest(9, t, -1, w.MustBuild())
				req.Topics[0].Partitions[0].Partition = p
				require.Zero(a, ask[*kmsg.ProduceResponse](a.r, req).Topics[0].Partitions[0].ErrorCode)
			}
			rolled += len(a.files(t, int(p), ".log")) - 1
		}
		require.Positive(a, rolled)
		require.Less(a, rolled, partitions)
	},
	"segment.ms": func(a *actor) {
		t := a.topic()
		a.overwritten(t)
		require.Len(a, a.files(t, 0, ".log"), 1)
		t = a.topic("segment.ms", "1000")
		a.overwritten(t)
		require.Len(a, a.files(t, 0, ".log"), 4)
	},
	"unclean.leader.election.enable": "TestUncleanElectionOnlyWhenAllowed (core/metadata)",
}

// counter is a counter of the broker.
func counter(t *testing.T, c *brokertest.Cluster, name string) float64 {
	t.Helper()
	families, err := c.Registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	require.Fail(t, "no such metric", name)
	return 0
}

// TestEachTopicConfigActs is the table of topic configs and of what shows that each acts, or is refused by name.
func TestEachTopicConfigActs(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("log.cleaner.backoff.ms", "20"), brokertest.With("log.retention.check.interval.ms", "20"))
	for _, name := range config.TopicKeys.Names() {
		t.Run(name, func(t *testing.T) {
			switch act := topicConfigActs[name].(type) {
			case func(*actor):
				act(&actor{T: t, c: c, r: dial(t, c), next: 100 * (1 + slices.Index(config.TopicKeys.Names(), name))})
			case string:
				require.NotEmpty(t, act)
			default:
				require.Fail(t, "nothing shows that it acts")
			}
		})
	}
	require.Len(t, topicConfigActs, len(config.TopicKeys.Names()))
}
