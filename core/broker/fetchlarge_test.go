package broker_test

import (
	"encoding/binary"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/log/batch"
)

// largeFetch asks for up to 16 MiB of partition 0.
func largeFetch(offset int64, isolation int8) *kmsg.FetchRequest {
	req := fetchRequest(11, "t", 0, offset)
	req.MaxBytes, req.IsolationLevel = 50<<20, isolation
	req.Topics[0].Partitions[0].PartitionMaxBytes = 16 << 20
	return req
}

// TestALargeFetchComesWhole reads more than one buffer holds: batches follow each other without a gap, up to what was asked for, and the
// list of aborted transactions reaches as far as the records.
func TestALargeFetchComesWhole(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("transaction.state.log.num.partitions", "1"))
	c.Broker.AnswerAsAcrossANetwork()
	c.CreateTopic(t, "t", 1)
	value := make([]byte, 300_000)
	plain := c.Client(t, kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(400_000))
	for range 40 {
		require.NoError(t, plain.ProduceSync(ctxOf(t), &kgo.Record{Value: value}).FirstErr())
	}
	cl := c.Client(t, kgo.TransactionalID("x"), kgo.DefaultProduceTopic("t"))
	require.NoError(t, cl.BeginTransaction())
	require.NoError(t, cl.ProduceSync(ctxOf(t), kgo.StringRecord("aborted")).FirstErr())
	require.NoError(t, cl.EndTransaction(ctxOf(t), kgo.TryAbort))
	require.Eventually(t, func() bool { return endOf(t, c, 0) == 42 }, 10*time.Second, 5*time.Millisecond) // the marker comes after the answer

	r := dial(t, c)
	for _, isolation := range []int8{0, 1} {
		next := int64(0)
		for answers := 1; next < 42; answers++ {
			p := ask[*kmsg.FetchResponse](r, largeFetch(next, isolation)).Topics[0].Partitions[0]
			require.Zero(t, p.ErrorCode)
			require.EqualValues(t, 42, p.HighWatermark)
			for rest := p.RecordBatches; len(rest) > 0; {
				b, more, err := batch.Next(rest)
				require.NoError(t, err)
				require.NoError(t, b.Check())
				require.Equal(t, next, b.BaseOffset())
				next, rest = b.NextOffset(), more
			}
			if next < 42 {
				require.Greater(t, len(p.RecordBatches), 3<<20, "more than one buffer")
				require.Empty(t, p.AbortedTransactions)
				require.Less(t, answers, 5)
			} else if isolation == 1 {
				require.Len(t, p.AbortedTransactions, 1)
				require.EqualValues(t, 40, p.AbortedTransactions[0].FirstOffset)
			}
		}
		require.Equal(t, int64(42), next, "12 MB, the aborted record and its marker")
	}
	req := largeFetch(0, 1)
	req.Topics[0].Partitions[0].PartitionMaxBytes = 3 << 20
	p := ask[*kmsg.FetchResponse](r, req).Topics[0].Partitions[0]
	require.Greater(t, len(p.RecordBatches), 5<<19)
	require.LessOrEqual(t, len(p.RecordBatches), 3<<20)
	require.Empty(t, p.AbortedTransactions)
}

// TestAnswersToNearPeersAreSmaller asks over loopback.
func TestAnswersToNearPeersAreSmaller(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("how far a peer is is known on Linux alone")
	}
	for _, want := range []struct {
		network     bool
		above, most int
	}{{false, 1_000_000, 1152 << 10}, {true, 3 << 20, 4 << 20}} {
		c := brokertest.Start(t)
		if want.network {
			c.Broker.AnswerAsAcrossANetwork()
		}
		c.CreateTopic(t, "t", 1)
		plain := c.Client(t, kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(kgo.NoCompression()))
		for range 20 {
			require.NoError(t, plain.ProduceSync(ctxOf(t), &kgo.Record{Value: make([]byte, 500_000)}).FirstErr())
		}
		p := ask[*kmsg.FetchResponse](dial(t, c), largeFetch(0, 0)).Topics[0].Partitions[0]
		require.LessOrEqual(t, len(p.RecordBatches), want.most)
		require.Greater(t, len(p.RecordBatches), want.above)
	}
}

// TestLargeFetchesTakeTheirBuffersFromAPool holds the memory that is allocated for tens of megabytes of answers.
func TestLargeFetchesTakeTheirBuffersFromAPool(t *testing.T) {
	if raceEnabled {
		t.Skip("the detector makes pools forget")
	}
	c := brokertest.Start(t)
	c.Broker.AnswerAsAcrossANetwork()
	c.CreateTopic(t, "t", 1)
	value := make([]byte, 500_000)
	plain := c.Client(t, kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 20 {
		require.NoError(t, plain.ProduceSync(ctxOf(t), &kgo.Record{Value: value}).FirstErr())
	}
	r := dial(t, c)
	into := make([]byte, 16<<20)
	fetch := func() int {
		r.send(largeFetch(0, 0))
		_, err := io.ReadFull(r.nc, into[:4])
		require.NoError(t, err)
		n := int(binary.BigEndian.Uint32(into))
		_, err = io.ReadFull(r.nc, into[:n])
		require.NoError(t, err)
		return n
	}
	require.Greater(t, fetch(), 3<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	total := 0
	for range 10 {
		total += fetch()
	}
	runtime.ReadMemStats(&after)
	require.Less(t, int(after.TotalAlloc-before.TotalAlloc), total/4)
}
