package broker_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// within is a context for one test step.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// consume polls until it has n records.
func consume(t testing.TB, cl *kgo.Client, n int) []*kgo.Record {
	t.Helper()
	ctx := within(t, 20*time.Second)
	var out []*kgo.Record
	for len(out) < n {
		fs := cl.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "got %d of %d records", len(out), n)
		for _, e := range fs.Errors() {
			require.NoError(t, e.Err, "%s-%d", e.Topic, e.Partition)
		}
		out = append(out, fs.Records()...)
	}
	return out
}

func TestRecordsComeBackAsTheyWereProduced(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 3)
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	want := map[string]bool{}
	for name, codec := range codecs {
		p := c.Client(t, kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic("t"))
		for i := range 200 {
			v := fmt.Sprintf("%s-%d-%s", name, i, "some text that compresses, some text that compresses")
			want[v] = true
			p.Produce(context.Background(), &kgo.Record{Key: []byte(fmt.Sprint(i)), Value: []byte(v), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}}}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Errorf("produce: %v", err)
				}
			})
		}
		require.NoError(t, p.Flush(within(t, 10*time.Second)))
	}
	cl := c.Client(t, kgo.ConsumeTopics("t"))
	for _, r := range consume(t, cl, len(want)) {
		require.True(t, want[string(r.Value)], "%s came twice or was never sent", r.Value)
		delete(want, string(r.Value))
		require.Equal(t, "h", r.Headers[0].Key)
	}
	require.Empty(t, want)
}

func TestClientsWithoutSocketsAreClientsLikeAnyOther(t *testing.T) {
	c := brokertest.Start(t)
	cl, err := kgo.NewClient(append(c.MemoryOptions(), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("mem"), kgo.ConsumeTopics("mem"))...)
	require.NoError(t, err)
	defer cl.Close()
	for i := range 100 {
		require.NoError(t, cl.ProduceSync(within(t, 10*time.Second), kgo.StringRecord(fmt.Sprint(i))).FirstErr())
	}
	for i, r := range consume(t, cl, 100) {
		require.Equal(t, fmt.Sprint(i), string(r.Value))
	}
}

func TestEveryAckModeEndsInTheLog(t *testing.T) {
	for _, durability := range []string{"os", "fsync"} {
		t.Run(durability, func(t *testing.T) {
			c := brokertest.Start(t, brokertest.With("log.durability", durability))
			c.CreateTopic(t, "t", 1)
			for _, acks := range []kgo.Acks{kgo.NoAck(), kgo.LeaderAck(), kgo.AllISRAcks()} {
				p := c.Client(t, kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite(), kgo.DefaultProduceTopic("t"), kgo.MaxProduceRequestsInflightPerBroker(5))
				for i := range 50 {
					require.NoError(t, p.ProduceSync(within(t, 10*time.Second), kgo.StringRecord(fmt.Sprint(acks, i))).FirstErr())
				}
			}
			require.Len(t, consume(t, c.Client(t, kgo.ConsumeTopics("t")), 150), 150)
		})
	}
}

func TestRecordsAndGroupsSurviveARestart(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("log.durability", "fsync"))
	c.CreateTopic(t, "t", 2)
	produce := func(n int) {
		p := c.Client(t, kgo.DefaultProduceTopic("t"))
		for i := range n {
			require.NoError(t, p.ProduceSync(within(t, 10*time.Second), kgo.StringRecord(fmt.Sprint(i))).FirstErr())
		}
		p.Close()
	}
	group := func() *kgo.Client {
		return c.Client(t, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	}
	produce(20)
	g := group()
	require.Len(t, consume(t, g, 20), 20)
	require.NoError(t, g.CommitUncommittedOffsets(within(t, 10*time.Second)))
	g.Close()
	c.Restart(t)
	produce(5)
	require.Len(t, consume(t, group(), 5), 5, "the group goes on where it committed")
	require.Len(t, consume(t, c.Client(t, kgo.ConsumeTopics("t")), 25), 25)
}

func TestAGroupSharesPartitionsAndTakesOverFromMembersThatLeave(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 4)
	var mu sync.Mutex
	got := map[string]int{}
	member := func(name string) *kgo.Client {
		cl := c.Client(t, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("t"), kgo.ClientID(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(100*time.Millisecond), kgo.Balancers(kgo.CooperativeStickyBalancer()))
		go func() {
			for {
				fs := cl.PollFetches(context.Background())
				if fs.IsClientClosed() {
					return
				}
				mu.Lock()
				fs.EachRecord(func(r *kgo.Record) { got[string(r.Value)]++ })
				mu.Unlock()
			}
		}()
		return cl
	}
	a, b := member("a"), member("b")
	adm := c.Admin(t)
	require.Eventually(t, func() bool {
		d, err := adm.DescribeGroups(context.Background(), "g")
		return err == nil && d["g"].State == "Stable" && len(d["g"].Members) == 2
	}, 20*time.Second, 20*time.Millisecond)
	p := c.Client(t, kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	send := func(from, to int) {
		for i := from; i < to; i++ {
			require.NoError(t, p.ProduceSync(within(t, 10*time.Second), kgo.StringRecord(fmt.Sprint(i))).FirstErr())
		}
		require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == to }, 20*time.Second, 10*time.Millisecond)
	}
	send(0, 40)
	b.Close()
	send(40, 80)
	a.Close()
	lag, err := adm.Lag(within(t, 10*time.Second), "g")
	require.NoError(t, err)
	require.NoError(t, lag.Error())
	require.Zero(t, lag["g"].Lag.Total())
}

func TestAStaticMemberKeepsItsPlace(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	require.NoError(t, c.Client(t).ProduceSync(within(t, 10*time.Second), &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr())
	member := func() *kgo.Client {
		return c.Client(t, kgo.ConsumerGroup("g"), kgo.InstanceID("i"), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	}
	first := member()
	consume(t, first, 1)
	d, err := c.Admin(t).DescribeGroups(within(t, 10*time.Second), "g")
	require.NoError(t, err)
	before := d["g"].Members[0].MemberID
	first.Close() // static members do not leave
	again := member()
	require.Eventually(t, func() bool {
		d, err := c.Admin(t).DescribeGroups(context.Background(), "g")
		return err == nil && len(d["g"].Members) == 1 && d["g"].State == "Stable" && d["g"].Members[0].MemberID != before && *d["g"].Members[0].InstanceID == "i"
	}, 20*time.Second, 50*time.Millisecond)
	again.Close()
}

func TestOffsetsAreFoundByTime(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	p := c.Client(t, kgo.DefaultProduceTopic("t"))
	start := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for i := range 100 {
		r := kgo.StringRecord(fmt.Sprint(i))
		r.Timestamp = start.Add(time.Duration(i) * time.Second)
		require.NoError(t, p.ProduceSync(within(t, 10*time.Second), r).FirstErr())
	}
	adm := c.Admin(t)
	at := func(ts time.Time) int64 {
		o, err := adm.ListOffsetsAfterMilli(within(t, 10*time.Second), ts.UnixMilli(), "t")
		require.NoError(t, err)
		require.NoError(t, o.Error())
		l, _ := o.Lookup("t", 0)
		return l.Offset
	}
	require.Equal(t, int64(0), at(start.Add(-time.Minute)))
	require.Equal(t, int64(42), at(start.Add(42*time.Second)))
	require.Equal(t, int64(43), at(start.Add(42*time.Second+time.Millisecond)))
	require.Equal(t, int64(100), at(start.Add(time.Hour)), "kadm answers the end when nothing is later")
	m, err := adm.ListMaxTimestampOffsets(within(t, 10*time.Second), "t")
	require.NoError(t, err)
	l, _ := m.Lookup("t", 0)
	require.Equal(t, int64(99), l.Offset)
	require.Equal(t, start.Add(99*time.Second).UnixMilli(), l.Timestamp)
}

func TestDeletedRecordsAreGoneForReaders(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	p := c.Client(t, kgo.DefaultProduceTopic("t"), kgo.ProducerLinger(0))
	for i := range 20 {
		require.NoError(t, p.ProduceSync(within(t, 10*time.Second), kgo.StringRecord(fmt.Sprint(i))).FirstErr())
	}
	adm := c.Admin(t)
	os := kadm.Offsets{}
	os.AddOffset("t", 0, 7, -1)
	r, err := adm.DeleteRecords(within(t, 10*time.Second), os)
	require.NoError(t, err)
	require.NoError(t, r.Error())
	require.Equal(t, int64(7), r["t"][0].LowWatermark)
	require.Equal(t, "7", string(consume(t, c.Client(t, kgo.ConsumeTopics("t")), 13)[0].Value))
	os.AddOffset("t", 0, 100, -1)
	r, err = adm.DeleteRecords(within(t, 10*time.Second), os)
	require.NoError(t, err)
	require.ErrorIs(t, r["t"][0].Err, kerr.OffsetOutOfRange)
	// A consumer below the start is reset.
	reset := c.Client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().At(3)}}))
	require.Equal(t, "7", string(consume(t, reset, 13)[0].Value))
}

func TestTopicsAreMadeChangedAndDeleted(t *testing.T) {
	c := brokertest.Start(t)
	adm := c.Admin(t)
	ctx := within(t, 20*time.Second)
	r, err := adm.CreateTopic(ctx, 3, 1, map[string]*string{"retention.ms": kadm.StringPtr("1000000")}, "a")
	require.NoError(t, err)
	require.NoError(t, r.Err)
	_, err = adm.CreateTopic(ctx, 3, 1, nil, "a")
	require.ErrorIs(t, err, kerr.TopicAlreadyExists)
	r, err = adm.CreateTopic(ctx, 1, 3, nil, "b")
	require.ErrorIs(t, err, kerr.InvalidReplicationFactor)
	require.Contains(t, r.ErrMessage, "Unable to replicate the partition 3 time(s)")
	_, err = adm.CreateTopic(ctx, 1, 1, map[string]*string{"retention.msx": kadm.StringPtr("1")}, "b")
	require.ErrorIs(t, err, kerr.InvalidConfig)
	_, err = adm.CreateTopic(ctx, 1, 1, nil, "b/c")
	require.ErrorIs(t, err, kerr.InvalidTopicException)

	up, err := adm.UpdatePartitions(ctx, 5, "a")
	require.NoError(t, err)
	require.NoError(t, up.Error())
	up, err = adm.UpdatePartitions(ctx, 2, "a")
	require.NoError(t, err)
	require.ErrorIs(t, up["a"].Err, kerr.InvalidPartitions)
	tds, err := adm.ListTopics(ctx, "a")
	require.NoError(t, err)
	require.Len(t, tds["a"].Partitions, 5)

	_, err = adm.DeleteTopic(ctx, "a")
	require.NoError(t, err)
	_, err = adm.DeleteTopic(ctx, "a")
	require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)
	// Under its name again it is another topic, and empty.
	c.CreateTopic(t, "a", 1)
	again, err := c.Admin(t).ListTopics(ctx, "a") // a client that has nothing cached
	require.NoError(t, err)
	require.NotEqual(t, tds["a"].ID, again["a"].ID)
	ends, err := adm.ListEndOffsets(ctx, "a")
	require.NoError(t, err)
	l, _ := ends.Lookup("a", 0)
	require.Zero(t, l.Offset)
}

func TestConfigsAreDescribedAndAlteredWithTheirSources(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("log.retention.hours", "24"))
	c.CreateTopic(t, "t", 1, "cleanup.policy", "compact")
	adm := c.Admin(t)
	ctx := within(t, 20*time.Second)
	get := func(key string) kadm.Config {
		rs, err := adm.DescribeTopicConfigs(ctx, "t")
		require.NoError(t, err)
		require.Len(t, rs, 1)
		require.NoError(t, rs[0].Err)
		for _, k := range rs[0].Configs {
			if k.Key == key {
				return k
			}
		}
		t.Fatalf("no config %s", key)
		return kadm.Config{}
	}
	require.Equal(t, "compact", *get("cleanup.policy").Value)
	require.Equal(t, kmsg.ConfigSourceDynamicTopicConfig, get("cleanup.policy").Source)
	require.Equal(t, "86400000", *get("retention.ms").Value, "from log.retention.hours")
	require.Equal(t, kmsg.ConfigSourceDefaultConfig, get("max.message.bytes").Source)
	require.NotEmpty(t, get("max.message.bytes").Synonyms)

	alter := func(op kadm.IncrementalOp, k, v string) error {
		rs, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: op, Name: k, Value: &v}}, "t")
		require.NoError(t, err)
		return rs[0].Err
	}
	require.NoError(t, alter(kadm.AppendConfig, "cleanup.policy", "delete"))
	require.Equal(t, "compact,delete", *get("cleanup.policy").Value)
	require.NoError(t, alter(kadm.SubtractConfig, "cleanup.policy", "compact"))
	require.Equal(t, "delete", *get("cleanup.policy").Value)
	require.ErrorIs(t, alter(kadm.SetConfig, "retention.ms", "many"), kerr.InvalidConfig)
	require.NoError(t, alter(kadm.SetConfig, "max.message.bytes", "1000"))
	p := c.Client(t, kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	require.ErrorIs(t, p.ProduceSync(ctx, &kgo.Record{Value: make([]byte, 2000)}).FirstErr(), kerr.MessageTooLarge, "the new limit is in force")
	require.NoError(t, alter(kadm.DeleteConfig, "max.message.bytes", ""))
	require.NoError(t, p.ProduceSync(ctx, &kgo.Record{Value: make([]byte, 2000)}).FirstErr())

	rs, err := adm.DescribeBrokerConfigs(ctx, 1)
	require.NoError(t, err)
	require.NoError(t, rs[0].Err)
	require.Greater(t, len(rs[0].Configs), 100)
}

func TestACompactedTopicKeepsTheLastOfEachKey(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("log.cleaner.backoff.ms", "50"))
	c.CreateTopic(t, "t", 1, "cleanup.policy", "compact", "segment.bytes", "1048576", "min.cleanable.dirty.ratio", "0.01", "segment.ms", "100", "delete.retention.ms", "0")
	p := c.Client(t, kgo.DefaultProduceTopic("t"), kgo.ProducerLinger(0))
	for i := range 300 {
		require.NoError(t, p.ProduceSync(within(t, 10*time.Second), &kgo.Record{Key: []byte(fmt.Sprint(i % 10)), Value: []byte(fmt.Sprint(i))}).FirstErr())
	}
	require.ErrorIs(t, p.ProduceSync(within(t, 10*time.Second), &kgo.Record{Value: []byte("no key")}).FirstErr(), kerr.InvalidRecord)
	var left int
	require.Eventually(t, func() bool {
		time.Sleep(120 * time.Millisecond) // segment.ms: so that the active segment rolls
		require.NoError(t, p.ProduceSync(within(t, 10*time.Second), &kgo.Record{Key: []byte("roll"), Value: []byte("x")}).FirstErr())
		cl := c.Client(t, kgo.ConsumeTopics("t"), kgo.FetchMaxWait(100*time.Millisecond))
		defer cl.Close()
		ends, err := c.Admin(t).ListEndOffsets(within(t, 5*time.Second), "t")
		require.NoError(t, err)
		end, _ := ends.Lookup("t", 0)
		left = 0
		last := map[string]string{}
		for next := int64(0); next < end.Offset; {
			for _, r := range cl.PollFetches(within(t, 5*time.Second)).Records() {
				left++
				last[string(r.Key)] = string(r.Value)
				next = r.Offset + 1
			}
		}
		for k := range 10 {
			require.Equal(t, fmt.Sprint(290+k), last[fmt.Sprint(k)])
		}
		return left < 60
	}, 30*time.Second, 10*time.Millisecond, "compaction never ran: %d records left", left)
}

func TestAnIdempotentProducerIsNotDoubledByRetries(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	// The network loses the answers of half of the produce requests: the client sends again.
	var cut atomic.Int32
	dial := func(ctx context.Context, network, host string) (net.Conn, error) {
		nc, err := (&net.Dialer{}).DialContext(ctx, network, host)
		if err != nil {
			return nil, err
		}
		return &lossyConn{Conn: nc, cut: &cut}, nil
	}
	p := c.Client(t, kgo.DefaultProduceTopic("t"), kgo.Dialer(dial), kgo.RetryBackoffFn(func(int) time.Duration { return time.Millisecond }), kgo.MetadataMinAge(10*time.Millisecond), kgo.ProducerLinger(0))
	for i := range 100 {
		if i%3 == 0 {
			cut.Store(1)
		}
		require.NoError(t, p.ProduceSync(within(t, 20*time.Second), kgo.StringRecord(fmt.Sprint(i))).FirstErr())
	}
	for i, r := range consume(t, c.Client(t, kgo.ConsumeTopics("t")), 100) {
		require.Equal(t, fmt.Sprint(i), string(r.Value))
		require.Equal(t, int64(i), r.Offset)
	}
}

// lossyConn loses what is read once cut is set: the connection breaks.
type lossyConn struct {
	net.Conn
	cut     *atomic.Int32
	written atomic.Bool
}

func (c *lossyConn) Write(p []byte) (int, error) {
	if len(p) > 6 && p[4] == 0 && p[5] == 0 { // a produce request
		c.written.Store(true)
	}
	return c.Conn.Write(p)
}

func (c *lossyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.written.Load() && c.cut.CompareAndSwap(1, 0) {
		_ = c.Conn.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

func TestMetricsHaveTheNamesOfTheDashboards(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 2)
	require.NoError(t, c.Client(t).ProduceSync(within(t, 10*time.Second), &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr())
	fams, err := c.Registry.Gather()
	require.NoError(t, err)
	names := map[string]bool{}
	for _, f := range fams {
		names[f.GetName()] = true
	}
	for _, want := range []string{
		"kafka_server_brokertopicmetrics_messagesin_total", "kafka_server_brokertopicmetrics_bytesin_total", "kafka_server_brokertopicmetrics_bytesout_total",
		"kafka_server_brokertopicmetrics_totalproducerequests_total", "kafka_server_brokertopicmetrics_failedproducerequests_total",
		"kafka_server_replicamanager_partitioncount", "kafka_server_replicamanager_leadercount", "kafka_server_replicamanager_underreplicatedpartitions",
		"kafka_controller_kafkacontroller_activecontrollercount", "kafka_controller_kafkacontroller_offlinepartitionscount", "kafka_log_log_size",
		"kafka_topic_partitions", "kafka_topic_partition_current_offset", "kafka_topic_partition_oldest_offset",
	} {
		require.True(t, names[want], want)
	}
}
