package broker_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/log/batch"
)

func TestNoRecordsAreEmptyAndNotNull(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	r := dial(t, c)
	for v := int16(4); v <= 12; v++ {
		req := fetchRequest(v, "t", 0, 0)
		corr := r.send(req)
		got, b, err := r.frame()
		require.NoError(t, err)
		require.Equal(t, corr, got)
		if v >= 12 {
			b = b[1:]
		}
		resp := kmsg.NewPtrFetchResponse()
		resp.Version = v
		require.NoError(t, resp.ReadFrom(b))
		p := resp.Topics[0].Partitions[0]
		require.Zero(t, p.ErrorCode)
		require.NotNil(t, p.RecordBatches, "version %d", v)
		require.Empty(t, p.RecordBatches)
		require.Nil(t, p.AbortedTransactions)
		if v < 12 { // the last four bytes but for the later rack: the length of the records is 0, not -1
			require.Equal(t, []byte{0, 0, 0, 0}, b[len(b)-4:], "version %d", v)
		}
	}
}

func TestAFetchInsideOfABatchGetsTheWholeBatch(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	r := dial(t, c)
	require.Zero(t, ask[*kmsg.ProduceResponse](r, produceRequest(9, "t", -1, records(10))).Topics[0].Partitions[0].ErrorCode)
	require.Zero(t, ask[*kmsg.ProduceResponse](r, produceRequest(9, "t", -1, records(5))).Topics[0].Partitions[0].ErrorCode)
	p := ask[*kmsg.FetchResponse](r, fetchRequest(11, "t", 0, 7)).Topics[0].Partitions[0]
	first, rest, err := batch.Next(p.RecordBatches)
	require.NoError(t, err)
	require.NoError(t, first.Check())
	require.Equal(t, int64(0), first.BaseOffset())
	require.Equal(t, int32(10), first.RecordCount())
	second, _, err := batch.Next(rest)
	require.NoError(t, err)
	require.Equal(t, int64(10), second.BaseOffset())

	// However little the client wants, the first batch comes whole; later ones do not come.
	req := fetchRequest(11, "t", 0, 7)
	req.MaxBytes, req.Topics[0].Partitions[0].PartitionMaxBytes = 1, 1
	p = ask[*kmsg.FetchResponse](r, req).Topics[0].Partitions[0]
	require.Len(t, p.RecordBatches, len(first))
}

func TestOffsetsOutsideOfTheLogAreOutOfRange(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	r := dial(t, c)
	ask[*kmsg.ProduceResponse](r, produceRequest(9, "t", -1, records(10)))
	require.Equal(t, kerr.OffsetOutOfRange.Code, ask[*kmsg.FetchResponse](r, fetchRequest(11, "t", 0, 11)).Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, kerr.OffsetOutOfRange.Code, ask[*kmsg.FetchResponse](r, fetchRequest(11, "t", 0, -1)).Topics[0].Partitions[0].ErrorCode)
	require.Zero(t, ask[*kmsg.FetchResponse](r, fetchRequest(11, "t", 0, 10)).Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, ask[*kmsg.FetchResponse](r, fetchRequest(11, "t", 9, 0)).Topics[0].Partitions[0].ErrorCode)
	epoch := fetchRequest(11, "t", 0, 0)
	epoch.Topics[0].Partitions[0].CurrentLeaderEpoch = 99
	require.Equal(t, kerr.UnknownLeaderEpoch.Code, ask[*kmsg.FetchResponse](r, epoch).Topics[0].Partitions[0].ErrorCode)
	follower := fetchRequest(11, "t", 0, 0)
	follower.ReplicaID = 7
	require.Equal(t, kerr.NotLeaderForPartition.Code, ask[*kmsg.FetchResponse](r, follower).Topics[0].Partitions[0].ErrorCode, "nobody reads as a replica that is none")
	diverged := fetchRequest(12, "t", 0, 5)
	diverged.Topics[0].Partitions[0].LastFetchedEpoch = 40
	require.Equal(t, kerr.OffsetOutOfRange.Code, ask[*kmsg.FetchResponse](r, diverged).Topics[0].Partitions[0].ErrorCode)
}

func TestALongPollEndsWithDataOrTime(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("log.durability", "fsync"))
	c.CreateTopic(t, "t", 1)
	r, p := dial(t, c), dial(t, c)
	req := fetchRequest(11, "t", 0, 0)
	req.MaxWaitMillis = 10_000
	start := time.Now()
	corr := r.send(req)
	require.Eventually(t, func() bool { return waiting(t, c) == 1 }, 5*time.Second, time.Millisecond)
	require.Zero(t, ask[*kmsg.ProduceResponse](p, produceRequest(9, "t", -1, records(1))).Topics[0].Partitions[0].ErrorCode)
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	r.receive(resp, corr)
	require.NotEmpty(t, resp.Topics[0].Partitions[0].RecordBatches)
	require.Less(t, time.Since(start), 5*time.Second)

	req = fetchRequest(11, "t", 0, 1)
	req.MaxWaitMillis, req.MinBytes = 50, 1<<20
	start = time.Now()
	require.Empty(t, ask[*kmsg.FetchResponse](r, req).Topics[0].Partitions[0].RecordBatches)
	require.GreaterOrEqual(t, time.Since(start), 45*time.Millisecond)

	// min.bytes is waited for over several appends.
	req = fetchRequest(11, "t", 0, 1)
	req.MaxWaitMillis, req.MinBytes = 10_000, int32(3*len(records(1)))
	corr = r.send(req)
	require.Eventually(t, func() bool { return waiting(t, c) == 1 }, 5*time.Second, time.Millisecond)
	for i := range 3 {
		if i == 2 {
			require.Equal(t, 1.0, waiting(t, c), "two batches are not enough")
		}
		ask[*kmsg.ProduceResponse](p, produceRequest(9, "t", -1, records(1)))
	}
	resp = req.ResponseKind().(*kmsg.FetchResponse)
	r.receive(resp, corr)
	require.Len(t, resp.Topics[0].Partitions[0].RecordBatches, 3*len(records(1)))
	require.Zero(t, waiting(t, c))
}

// waiting is how many fetches wait.
func waiting(t testing.TB, c *brokertest.Cluster) float64 {
	t.Helper()
	return gauge(t, c, "kafka_server_delayedoperationpurgatory_purgatorysize")
}

// gauge reads a metric without labels, or with one value of them.
func gauge(t testing.TB, c *brokertest.Cluster, name string) float64 {
	t.Helper()
	fams, err := c.Registry.Gather()
	require.NoError(t, err)
	for _, f := range fams {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestALostConnectionLeavesNoPollBehind(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	r := dial(t, c)
	req := fetchRequest(11, "t", 0, 0)
	req.MaxWaitMillis = 300
	r.send(req)
	require.Eventually(t, func() bool { return waiting(t, c) == 1 }, 5*time.Second, time.Millisecond)
	require.NoError(t, r.nc.Close())
	require.Eventually(t, func() bool { return waiting(t, c) == 0 }, 5*time.Second, 5*time.Millisecond)
}

func TestFetchSessionsTellOnlyNews(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 3)
	r := dial(t, c)
	id := c.Quorum.Image().Topic("t").ID
	for _, v := range []int16{12, 16} {
		full := fetchRequest(v, "t", 0, 0)
		full.SessionEpoch = 0
		for i := int32(1); i < 3; i++ {
			p := full.Topics[0].Partitions[0]
			p.Partition = i
			full.Topics[0].Partitions = append(full.Topics[0].Partitions, p)
		}
		full.Topics[0].TopicID = id
		for i := range full.Topics[0].Partitions {
			full.Topics[0].Partitions[i].FetchOffset = endOf(t, c, int32(i))
		}
		resp := ask[*kmsg.FetchResponse](r, full)
		require.Zero(t, resp.ErrorCode)
		require.NotZero(t, resp.SessionID)
		require.Len(t, resp.Topics[0].Partitions, 3)

		next := func(epoch int32) *kmsg.FetchRequest {
			req := kmsg.NewPtrFetchRequest()
			req.Version, req.ReplicaID, req.MinBytes, req.MaxBytes = v, -1, 1, 1<<20
			req.SessionID, req.SessionEpoch = resp.SessionID, epoch
			return req
		}
		require.Empty(t, ask[*kmsg.FetchResponse](r, next(1)).Topics, "nothing new")
		require.Zero(t, ask[*kmsg.ProduceResponse](r, produceRequest(9, "t", -1, records(0, oneRecord), records(0, oneRecord))).Topics[0].Partitions[0].ErrorCode)
		news := ask[*kmsg.FetchResponse](r, next(2))
		require.Len(t, news.Topics[0].Partitions, 2)
		require.NotEmpty(t, news.Topics[0].Partitions[0].RecordBatches)
		require.Equal(t, resp.SessionID, news.SessionID)

		forget := next(3)
		ft := kmsg.NewFetchRequestForgottenTopic()
		ft.Topic, ft.TopicID, ft.Partitions = "t", id, []int32{0}
		forget.ForgottenTopics = append(forget.ForgottenTopics, ft)
		left := ask[*kmsg.FetchResponse](r, forget)
		require.Len(t, left.Topics[0].Partitions, 1, "of partition 1 only, whose offset did not move on")
		require.Equal(t, int32(1), left.Topics[0].Partitions[0].Partition)

		require.Equal(t, kerr.InvalidFetchSessionEpoch.Code, ask[*kmsg.FetchResponse](r, next(9)).ErrorCode)
		unknown := next(4)
		unknown.SessionID++
		require.Equal(t, kerr.FetchSessionIDNotFound.Code, ask[*kmsg.FetchResponse](r, unknown).ErrorCode)
		last := next(-1)
		require.Zero(t, ask[*kmsg.FetchResponse](r, last).SessionID, "the session is over")
		require.Equal(t, kerr.FetchSessionIDNotFound.Code, ask[*kmsg.FetchResponse](r, next(4)).ErrorCode)
	}
}

func oneRecord(w *batch.Builder) { w.Append(time.Now().UnixMilli(), []byte("k"), []byte("v")) }

func endOf(t testing.TB, c *brokertest.Cluster, partition int32) int64 {
	t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version = 5
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = "t"
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = partition, -1, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return ask[*kmsg.ListOffsetsResponse](dial(t, c), req).Topics[0].Partitions[0].Offset
}

// TestAnAnswerEndsWhereTheNextBatchHasNoRoom: the partitions behind it wait for the next fetch, in which they come first, however small their
// batches are.
func TestAnAnswerEndsWhereTheNextBatchHasNoRoom(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 3)
	cl := c.Client(t, kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for p, size := range []int{600_000, 600_000, 10} {
		require.NoError(t, cl.ProduceSync(ctxOf(t), &kgo.Record{Partition: int32(p), Value: make([]byte, size)}).FirstErr())
	}
	s := &sessionReader{r: dial(t, c), told: map[int32]int64{}, want: map[int32]int64{}}
	var told [][]int
	for p := range int32(3) { // one after the other, so that their order in the session is known
		s.want[p] = 1
		s.fetch(0, 1_000_000, 1<<20)
	}
	for p := range int32(3) {
		s.want[p] = 0
	}
	for range 2 {
		answer := s.fetch(0, 1_000_000, 1<<20)
		var with []int
		for p := range int32(3) {
			if len(answer[p].RecordBatches) > 0 {
				with = append(with, int(p))
				s.want[p] = 1
			}
		}
		told = append(told, with)
	}
	require.Equal(t, [][]int{{0}, {1, 2}}, told)
}
