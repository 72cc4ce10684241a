package broker_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/log/batch"
)

// cleaned is a broker whose topics are compacted and shortened as testdata/kafka_cleaner.txt was recorded from Apache Kafka 4.3.1.
type cleaned struct {
	*testing.T
	c    *brokertest.Cluster
	r    *raw
	zero int64 // the time that timestamps are counted from
}

// at is a batch of records "key=value", or "key" for a tombstone, so many times five seconds after zero.
func (c *cleaned) at(step int64, pairs ...string) []byte {
	return pairsAt(batch.Builder{}, c.zero+step*5000, pairs...)
}

func pairsAt(w batch.Builder, ms int64, pairs ...string) []byte {
	for _, p := range pairs {
		k, v, has := strings.Cut(p, "=")
		var value []byte
		if has {
			value = []byte(v)
		}
		w.Append(ms, []byte(k), value)
	}
	return w.MustBuild()
}

func (c *cleaned) put(topic string, batches ...[]byte) {
	c.Helper()
	for _, b := range batches {
		require.Zero(c, ask[*kmsg.ProduceResponse](c.r, produceRequest(9, topic, -1, b)).Topics[0].Partitions[0].ErrorCode)
	}
}

// dump is what a partition holds, batch by batch.
func (c *cleaned) dump(topic string) string {
	adm := c.c.Admin(c.T)
	starts, err := adm.ListStartOffsets(c.Context(), topic)
	require.NoError(c, err)
	ends, err := adm.ListEndOffsets(c.Context(), topic)
	require.NoError(c, err)
	start, _ := starts.Lookup(topic, 0)
	end, _ := ends.Lookup(topic, 0)
	var out strings.Builder
	for next := start.Offset; next < end.Offset; {
		p := ask[*kmsg.FetchResponse](c.r, fetchRequest(11, topic, 0, next)).Topics[0].Partitions[0]
		if p.ErrorCode != 0 {
			return fmt.Sprint("error ", p.ErrorCode) // the start has moved
		}
		for rest := p.RecordBatches; len(rest) > 0; {
			b, r, err := batch.Next(rest)
			if err != nil {
				break // cut off
			}
			rest, next = r, b.NextOffset()
			out.WriteString(c.describe(b))
		}
	}
	return fmt.Sprintf("%s  start %d end %d", out.String(), start.Offset, end.Offset)
}

func (c *cleaned) describe(b batch.Batch) string {
	var rb kmsg.RecordBatch
	require.NoError(c, rb.ReadFrom(b))
	producer, ts := "-", "-"
	if rb.ProducerID >= 0 {
		producer = fmt.Sprintf("e%d s%d", rb.ProducerEpoch, rb.FirstSequence)
	}
	if d := rb.MaxTimestamp - c.zero; d < 100_000 && !b.IsControl() {
		ts = fmt.Sprint(d)
	}
	line := fmt.Sprintf("  [%d-%d] n=%d attr=%x %s ts=%s:", b.BaseOffset(), b.LastOffset(), rb.NumRecords, rb.Attributes, producer, ts)
	for rs := rb.Records; len(rs) > 0; {
		n, w := binary.Varint(rs)
		var r kmsg.Record
		require.NoError(c, r.ReadFrom(rs[:int(n)+w]))
		rs = rs[int(n)+w:]
		key, value := string(r.Key), string(r.Value)
		switch {
		case b.IsControl():
			key, value = fmt.Sprint("marker", r.Key[3]), ""
		case len(key) > 10:
			key = "long" + key[:1]
		}
		switch {
		case r.Value == nil:
			value = "<nil>"
		case len(value) > 10:
			value = fmt.Sprint(len(value), "B")
		}
		line += fmt.Sprintf(" %d:%s=%s", b.BaseOffset()+int64(r.OffsetDelta), key, value)
	}
	return line + "\n"
}

// transactions writes transactions, each in a segment of its own, and then records after them.
func (c *cleaned) transactions(topic string) {
	cl := c.c.Client(c.T, kgo.TransactionalID(topic), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()))
	pause := func() { time.Sleep(120 * time.Millisecond) } // longer than segment.ms: markers have the broker's time
	for _, txn := range []struct {
		commit kgo.TransactionEndTry
		pairs  string
	}{{true, "a=1 b=1"}, {false, "a=2 c=2"}, {true, "a=3"}, {true, "b"}, {false, "d=4"}, {true, "e=5"}} {
		require.NoError(c, cl.BeginTransaction())
		for p := range strings.FieldsSeq(txn.pairs) {
			k, v, has := strings.Cut(p, "=")
			r := &kgo.Record{Key: []byte(k)}
			if has {
				r.Value = []byte(v)
			}
			cl.Produce(c.Context(), r, nil)
		}
		require.NoError(c, cl.Flush(c.Context()))
		require.NoError(c, cl.EndTransaction(c.Context(), txn.commit))
		pause()
	}
	for _, z := range []string{"z=1", "z=2", "z=3"} {
		c.put(topic, pairsAt(batch.Builder{}, time.Now().UnixMilli(), z))
		pause()
	}
}

// TestWhatTheCleanerAndRetentionLeaveIsWhatKafkaLeaves holds the batches that are left of histories to those that Apache Kafka 4.3.1 left
// of the same: offsets, attributes, delete horizons, empty batches that keep a producer's last sequence, markers.
func TestWhatTheCleanerAndRetentionLeaveIsWhatKafkaLeaves(t *testing.T) {
	recorded, err := os.ReadFile("testdata/kafka_cleaner.txt")
	require.NoError(t, err)
	want := map[string]string{}
	for part := range strings.SplitSeq(string(recorded), "== ") {
		if name, text, ok := strings.Cut(part, "\n"); ok {
			want[name] = strings.TrimRight(text, "\n")
		}
	}
	cl := brokertest.Start(t, brokertest.With("log.cleaner.backoff.ms", "20"), brokertest.With("log.retention.check.interval.ms", "20"))
	c := &cleaned{T: t, c: cl, r: dial(t, cl), zero: time.Now().UnixMilli() - 5*3_600_000}
	compact := func(topic string, more ...string) {
		cl.CreateTopic(t, topic, 1, append([]string{"cleanup.policy", "compact", "segment.ms", "100", "min.cleanable.dirty.ratio", "0.01"}, more...)...)
	}
	for topic, retention := range map[string]string{"tomb0": "0", "tomb1h": "3600000"} {
		compact(topic, "delete.retention.ms", retention)
		c.put(topic, c.at(0, "a=1", "b=1", "c=1"), c.at(1, "a"), c.at(2, "b=2", "d"), c.at(3, "e=1"), c.at(4, "f=1"))
	}
	cl.CreateTopic(t, "maxlag", 1, "cleanup.policy", "compact", "segment.ms", "100", "min.cleanable.dirty.ratio", "1.0", "max.compaction.lag.ms", "1000")
	cl.CreateTopic(t, "nolag", 1, "cleanup.policy", "compact", "segment.ms", "100", "min.cleanable.dirty.ratio", "1.0")
	for i := range int64(8) {
		for _, topic := range []string{"maxlag", "nolag"} {
			c.put(topic, c.at(i, fmt.Sprint("a=", i)))
		}
	}
	compact("idem")
	init := kmsg.NewPtrInitProducerIDRequest()
	init.TransactionTimeoutMillis = 60_000
	var id *kmsg.InitProducerIDResponse
	require.Eventually(t, func() bool {
		id = ask[*kmsg.InitProducerIDResponse](c.r, request(init, 4))
		return id.ErrorCode == 0
	}, 10*time.Second, 20*time.Millisecond)
	for i := range int64(3) {
		w := batch.Builder{Idempotent: true, ProducerID: id.ProducerID, ProducerEpoch: id.ProducerEpoch, BaseSequence: int32(2 * i)}
		c.put("idem", pairsAt(w, c.zero+i*5000, fmt.Sprint("a=", i), fmt.Sprint("b=", i)))
	}
	for i := int64(3); i < 7; i++ {
		c.put("idem", c.at(i, "a=x", "b=x"))
	}
	compact("emptykey")
	for i := range int64(5) {
		c.put("emptykey", c.at(i, fmt.Sprint("=", i), fmt.Sprint("z=", i)))
	}
	compact("bigkeys", "max.message.bytes", "4194304")
	for i := range int64(4) {
		c.put("bigkeys", c.at(i, strings.Repeat(fmt.Sprint(i%2), 200_000)+fmt.Sprint("=", i), fmt.Sprint("a=", i)))
	}
	c.put("bigkeys", c.at(9, "z=1"))
	compact("delboth", "cleanup.policy", "compact,delete", "retention.ms", "-1")
	for i := range int64(6) {
		c.put("delboth", c.at(i, fmt.Sprint("a=", i), fmt.Sprintf("b%d=%d", i, i)))
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset("delboth", 0, 3, -1)
	_, err = cl.Admin(t).DeleteRecords(t.Context(), offsets)
	require.NoError(t, err)

	cl.CreateTopic(t, "future", 1, "retention.ms", "1000", "segment.ms", "100")
	now := time.Now().UnixMilli()
	for _, r := range []struct {
		ms   int64
		pair string
	}{{now - 3_600_000, "k=old"}, {now + 1_800_000, "k=new"}, {now - 3_600_000, "k=old"}, {now - 1_800_000, "k=old"}} {
		c.put("future", pairsAt(batch.Builder{}, r.ms, r.pair))
	}
	cl.CreateTopic(t, "allold", 1, "retention.ms", "1000", "segment.ms", "100")
	cl.CreateTopic(t, "both", 1, "cleanup.policy", "compact,delete", "retention.ms", "1000", "segment.ms", "100")
	cl.CreateTopic(t, "nopolicy", 1, "cleanup.policy", "", "retention.ms", "1000", "retention.bytes", "10", "segment.ms", "100")
	for i := range int64(4) {
		for _, topic := range []string{"allold", "both", "nopolicy"} {
			c.put(topic, c.at(i, fmt.Sprint("k=", i)))
		}
	}
	cl.CreateTopic(t, "bytes", 1, "retention.bytes", "250", "segment.ms", "100", "retention.ms", "-1")
	for i := range int64(8) {
		c.put("bytes", c.at(i, "k="+strings.Repeat("x", 30)))
	}
	for topic, retention := range map[string]string{"txn": "0", "txn1h": "3600000"} {
		compact(topic, "delete.retention.ms", retention)
		c.transactions(topic)
	}

	comes := func(topic, name string) {
		t.Helper()
		var got string
		for range 400 {
			if got = c.dump(topic); got == want[name] {
				return
			}
			time.Sleep(25 * time.Millisecond)
		}
		require.Equal(t, want[name], got, name)
	}
	seen := 0
	for name := range want {
		if !strings.HasSuffix(name, " again") {
			comes(name, name)
			seen++
		}
	}
	// Later records make all of it dirty again.
	later := []string{"tomb0", "tomb1h", "idem", "txn", "txn1h", "delboth"}
	for i := range 3 {
		for _, topic := range later {
			c.put(topic, pairsAt(batch.Builder{}, time.Now().UnixMilli(), fmt.Sprint("q=", i)))
		}
		time.Sleep(250 * time.Millisecond)
	}
	for _, topic := range later {
		comes(topic, topic+" again")
		seen++
	}
	require.Len(t, want, seen)
}

func TestAPartitionThatCannotBeReadIsCountedAndTheOthersAreCompacted(t *testing.T) {
	cl := brokertest.Start(t, brokertest.With("log.cleaner.backoff.ms", "20"))
	c := &cleaned{T: t, c: cl, r: dial(t, cl), zero: time.Now().UnixMilli() - 3_600_000}
	const uncleanable = "kafka_log_logcleanermanager_uncleanable_partitions_count"
	for _, topic := range []string{"rotten", "sound"} {
		cl.CreateTopic(t, topic, 1, "cleanup.policy", "compact", "segment.ms", "100", "min.cleanable.dirty.ratio", "1.0")
		c.put(topic, c.at(0, "a=1"), c.at(1, "a=2"), c.at(2, "a=3"))
	}
	require.Equal(t, map[string]float64{uncleanable: 0}, figures(t, cl, uncleanable))
	files, err := filepath.Glob(filepath.Join(cl.Dir, "*", "rotten-0", "00000000000000000000.log"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	b, err := os.ReadFile(files[0])
	require.NoError(t, err)
	f, err := os.OpenFile(files[0], os.O_WRONLY, 0)
	require.NoError(t, err)
	last := int64(len(b)) - 1
	_, err = f.WriteAt([]byte{b[last] ^ 1}, last)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	for _, topic := range []string{"rotten", "sound"} {
		_, err := cl.Admin(t).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "min.cleanable.dirty.ratio", Value: kadm.StringPtr("0.01")}}, topic)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		return figures(t, cl, uncleanable)[uncleanable] == 1 && !strings.Contains(c.dump("sound"), "a=1")
	}, 10*time.Second, 20*time.Millisecond)
	require.Contains(t, c.dump("sound"), "a=3")
}
