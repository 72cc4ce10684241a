package broker_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/log/batch"
)

// sessionReader is a consumer with a fetch session, as far as a test wants to decide itself what it asks for.
type sessionReader struct {
	r     *raw
	id    int32
	epoch int32
	told  map[int32]int64 // what the broker has been told to fetch
	want  map[int32]int64
}

// fetch asks for all that is wanted and returns the answer by partition; isolation as on the wire.
func (s *sessionReader) fetch(isolation int8, maxBytes, partitionMaxBytes int32) map[int32]kmsg.FetchResponseTopicPartition {
	s.r.t.Helper()
	req := fetchRequest(11, "t", 0, 0)
	req.MaxBytes, req.IsolationLevel, req.SessionID, req.SessionEpoch = maxBytes, isolation, s.id, s.epoch
	rt := &req.Topics[0]
	one := rt.Partitions[0]
	rt.Partitions = nil
	for p, o := range s.want {
		one.Partition, one.FetchOffset, one.PartitionMaxBytes = p, o, partitionMaxBytes
		rt.Partitions = append(rt.Partitions, one)
		s.told[p] = o
	}
	forgotten := kmsg.NewFetchRequestForgottenTopic()
	forgotten.Topic = "t"
	for p := range s.told {
		if _, ok := s.want[p]; !ok {
			forgotten.Partitions = append(forgotten.Partitions, p)
			delete(s.told, p)
		}
	}
	if len(forgotten.Partitions) > 0 {
		req.ForgottenTopics = append(req.ForgottenTopics, forgotten)
	}
	resp := ask[*kmsg.FetchResponse](s.r, req)
	require.Zero(s.r.t, resp.ErrorCode)
	s.id = resp.SessionID
	s.epoch++
	out := map[int32]kmsg.FetchResponseTopicPartition{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			out[p.Partition] = p
		}
	}
	return out
}

func nextOf(t *testing.T, records []byte) int64 {
	t.Helper()
	next := int64(-1)
	for len(records) > 0 {
		b, rest, err := batch.Next(records)
		require.NoError(t, err)
		require.NoError(t, b.Check())
		next, records = b.NextOffset(), rest
	}
	return next
}

func needsNearPeers(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("how far a peer is is known on Linux alone, and only for near ones is read ahead")
	}
}

// TestReadingAheadChangesNoAnswer holds each answer of a session against that of a fetch without one, for which nothing is read ahead, while
// offsets are sought, partitions forgotten and taken up again, records deleted, appended and aborted.
func TestReadingAheadChangesNoAnswer(t *testing.T) {
	needsNearPeers(t)
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("MOLDAU_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		seed = n
	}
	t.Logf("MOLDAU_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	c := brokertest.Start(t, brokertest.With("transaction.state.log.num.partitions", "1"))
	c.Broker.KeepReadAhead(time.Hour) // however slow the test is
	if rnd.IntN(2) == 0 {
		c.Broker.AnswerAsAcrossANetwork() // more partitions in an answer
	}
	const partitions = 5
	c.CreateTopic(t, "t", partitions)
	opts := []kgo.Opt{kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression())}
	plain := c.Client(t, opts...)
	txn := c.Client(t, append(opts, kgo.TransactionalID("x"))...)
	ends := make([]int64, partitions)
	produce := func(cl *kgo.Client, p int, size int) {
		r, err := cl.ProduceSync(ctxOf(t), &kgo.Record{Partition: int32(p), Value: make([]byte, size)}).First()
		require.NoError(t, err)
		ends[p] = r.Offset + 1
	}
	transaction := func(end kgo.TransactionEndTry) {
		require.NoError(t, txn.BeginTransaction())
		touched := rnd.Perm(partitions)[:1+rnd.IntN(2)]
		for _, p := range touched {
			produce(txn, p, 1+rnd.IntN(200_000))
		}
		require.NoError(t, txn.EndTransaction(ctxOf(t), end))
		for _, p := range touched {
			ends[p]++
			require.Eventually(t, func() bool { return endOf(t, c, int32(p)) == ends[p] }, 10*time.Second, time.Millisecond)
		}
	}
	for i := range 250 {
		if i%10 == 9 {
			transaction(kgo.TransactionEndTry(rnd.IntN(2) == 0))
		} else {
			produce(plain, rnd.IntN(partitions), 1+rnd.IntN(400_000))
		}
	}
	reference := dial(t, c)
	s := &sessionReader{r: dial(t, c), told: map[int32]int64{}, want: map[int32]int64{}}
	for p := range int32(partitions) {
		s.want[p] = 0
	}
	answered, isolation := 0, int8(0)
	for step := range 400 {
		maxBytes, partitionMaxBytes := int32(50<<20), int32(1<<20)
		switch rnd.IntN(12) {
		case 0: // seek
			p := rnd.IntN(partitions)
			s.want[int32(p)] = rnd.Int64N(ends[p] + 1)
		case 1:
			if len(s.want) > 1 {
				delete(s.want, int32(rnd.IntN(partitions)))
			}
		case 2:
			if p := rnd.IntN(partitions); s.want[int32(p)] == 0 {
				s.want[int32(p)] = rnd.Int64N(ends[p] + 1)
			}
		case 3:
			p := rnd.IntN(partitions)
			os := kadm.Offsets{}
			os.Add(kadm.Offset{Topic: "t", Partition: int32(p), At: min(ends[p]-1, rnd.Int64N(5)+s.want[int32(p)])})
			_, err := c.Admin(t).DeleteRecords(ctxOf(t), os)
			require.NoError(t, err)
		case 4:
			produce(plain, rnd.IntN(partitions), 1+rnd.IntN(400_000))
		case 5:
			transaction(kgo.TransactionEndTry(rnd.IntN(2) == 0))
		case 6:
			isolation = int8(rnd.IntN(2))
		case 7:
			maxBytes = rnd.Int32N(4 << 20)
		case 8:
			partitionMaxBytes = 1 << (10 + rnd.IntN(12))
		}
		answer := s.fetch(isolation, maxBytes, partitionMaxBytes)
		some := false
		for p, got := range answer {
			req := fetchRequest(11, "t", p, s.told[p])
			req.IsolationLevel, req.MaxBytes = isolation, 50<<20
			req.Topics[0].Partitions[0].PartitionMaxBytes = max(int32(len(got.RecordBatches)), 1)
			requireSame(t, ask[*kmsg.FetchResponse](reference, req).Topics[0].Partitions[0], got, fmt.Sprintf("step %d, partition %d from %d on", step, p, s.told[p]))
			records := got.RecordBatches
			switch {
			case got.ErrorCode == kerr.OffsetOutOfRange.Code:
				s.want[p] = got.LogStartOffset
				if got.LogStartOffset < 0 {
					s.want[p] = ask[*kmsg.FetchResponse](reference, fetchRequest(11, "t", p, ends[p])).Topics[0].Partitions[0].LogStartOffset
				}
			case len(records) > 0:
				some = true
				answered += len(records)
				s.want[p] = nextOf(t, records)
			}
		}
		if !some {
			for p := range s.want {
				s.want[p] = max(0, ends[p]-rnd.Int64N(60))
			}
		}
	}
	figures := everyFigure(t, c)
	used, unused := figures["moldau_fetch_read_ahead_bytes_total{used=true}"], figures["moldau_fetch_read_ahead_bytes_total{used=false}"]
	t.Logf("%d MB answered, %.0f MB of it read ahead, %.0f MB in vain", answered/1e6, used/1e6, unused/1e6)
	require.Greater(t, used, 1e6)
	c.Broker.KeepReadAhead(time.Millisecond)
	s.fetch(0, 50<<20, 1<<20) // takes what is there
	require.Eventually(t, func() bool {
		sessions, charged := c.Broker.ReadAhead()
		return sessions == 0 && charged == 0
	}, 10*time.Second, time.Millisecond, "what nobody asks for is given back")
}

// requireSame says that two answers about a partition agree as far as both go: how much is read depends on what there seems to be.
func requireSame(t *testing.T, want, got kmsg.FetchResponseTopicPartition, where string) {
	t.Helper()
	common := min(len(want.RecordBatches), len(got.RecordBatches))
	require.True(t, bytes.Equal(want.RecordBatches[:common], got.RecordBatches[:common]), "%s: the records differ", where)
	less, more := want, got
	if len(got.RecordBatches) == common {
		less, more = got, want
	}
	if common > 0 || len(more.RecordBatches) == 0 {
		require.Subset(t, more.AbortedTransactions, less.AbortedTransactions, where)
	}
	if len(more.RecordBatches) == common {
		require.Len(t, more.AbortedTransactions, len(less.AbortedTransactions), where)
	}
	want.RecordBatches, want.AbortedTransactions = got.RecordBatches, got.AbortedTransactions
	require.Equal(t, want, got, where)
}

// readingAhead is a broker that has read for the next fetch of a session, which goes on at next, and keeps that for an hour. The options are
// the producer's.
func readingAhead(t *testing.T, opts ...kgo.Opt) (c *brokertest.Cluster, s *sessionReader, next int64) {
	t.Helper()
	needsNearPeers(t)
	c = brokertest.Start(t)
	c.Broker.KeepReadAhead(time.Hour)
	fillForAhead(t, c, 300_000, opts...)
	s = &sessionReader{r: dial(t, c), told: map[int32]int64{}, want: map[int32]int64{0: 0}}
	next = nextOf(t, s.fetch(0, 50<<20, 1<<20)[0].RecordBatches)
	require.Eventually(t, func() bool { n, _ := c.Broker.ReadAhead(); return n == 1 }, 10*time.Second, time.Millisecond)
	s.want[0] = next
	return c, s, next
}

// TestNoMoreIsReadAheadThanIsChargedFor has many partitions of which all that is left is read and none of it kept.
func TestNoMoreIsReadAheadThanIsChargedFor(t *testing.T) {
	needsNearPeers(t)
	c := brokertest.Start(t)
	const partitions, size = 40, 400_000
	c.CreateTopic(t, "t", partitions)
	cl := c.Client(t, kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	s := &sessionReader{r: dial(t, c), told: map[int32]int64{}, want: map[int32]int64{}}
	for p := range int32(partitions) {
		require.NoError(t, cl.ProduceSync(ctxOf(t), &kgo.Record{Partition: p, Value: make([]byte, size)}).FirstErr())
		s.want[p] = 0
	}
	require.NotEmpty(t, s.fetch(0, 50<<20, 1<<20))
	unused := func() float64 { return everyFigure(t, c)["moldau_fetch_read_ahead_bytes_total{used=false}"] }
	require.Eventually(t, func() bool { return unused() > 0 }, 10*time.Second, time.Millisecond)
	require.LessOrEqual(t, unused(), float64(4<<20), "an answer's room")
	sessions, charged := c.Broker.ReadAhead()
	require.Zero(t, sessions, "nothing is kept")
	require.Zero(t, charged)
}

// fillForAhead makes topic t, with 40 records of its only partition. A producer with transactions begins one before the fifth and leaves it open.
func fillForAhead(t *testing.T, c *brokertest.Cluster, size int, opts ...kgo.Opt) {
	t.Helper()
	c.CreateTopic(t, "t", 1)
	base := []kgo.Opt{kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(kgo.NoCompression())}
	plain := c.Client(t, base...)
	cl := plain
	if len(opts) > 0 {
		cl = c.Client(t, append(base, opts...)...)
		require.NoError(t, cl.BeginTransaction())
	}
	for i := range 40 {
		if i == 4 {
			plain = cl
		}
		require.NoError(t, plain.ProduceSync(ctxOf(t), &kgo.Record{Value: make([]byte, size)}).FirstErr())
	}
}

func TestTheNextFetchTakesWhatWasReadAhead(t *testing.T) {
	c, s, next := readingAhead(t)
	p := s.fetch(0, 50<<20, 1<<20)[0]
	require.Zero(t, p.ErrorCode)
	first, _, err := batch.Next(p.RecordBatches)
	require.NoError(t, err)
	require.Equal(t, next, first.BaseOffset())
	require.InDelta(t, len(p.RecordBatches), everyFigure(t, c)["moldau_fetch_read_ahead_bytes_total{used=true}"], 0)
}

func TestDeletedRecordsDoNotComeFromWhatWasReadAhead(t *testing.T) {
	c, s, next := readingAhead(t)
	os := kadm.Offsets{}
	os.Add(kadm.Offset{Topic: "t", At: next + 1})
	_, err := c.Admin(t).DeleteRecords(ctxOf(t), os)
	require.NoError(t, err)
	require.Equal(t, kerr.OffsetOutOfRange.Code, s.fetch(0, 50<<20, 1<<20)[0].ErrorCode)
	s.want[0] = next + 1
	p := s.fetch(0, 50<<20, 1<<20)[0]
	require.Zero(t, p.ErrorCode)
	require.Equal(t, next+1, p.LogStartOffset)
}

func TestATopicMadeAnewIsNotServedWhatWasReadAheadOfTheOldOne(t *testing.T) {
	c, s, next := readingAhead(t)
	_, err := c.Admin(t).DeleteTopics(ctxOf(t), "t")
	require.NoError(t, err)
	fillForAhead(t, c, 200_000)
	p := s.fetch(0, 50<<20, 1<<20)[0]
	require.Zero(t, p.ErrorCode)
	first, _, err := batch.Next(p.RecordBatches)
	require.NoError(t, err)
	require.Equal(t, next, first.BaseOffset())
	require.Less(t, len(first), 250_000)
}

func TestAFetchThatWantsLessDoesNotGetWhatWasReadAhead(t *testing.T) {
	_, s, next := readingAhead(t)
	p := s.fetch(0, 50<<20, 400_000)[0]
	require.Equal(t, next+1, nextOf(t, p.RecordBatches))
}

func TestACommittedReadDoesNotGetWhatWasReadAheadWithoutTransactions(t *testing.T) {
	_, s, next := readingAhead(t, kgo.TransactionalID("x"))
	require.EqualValues(t, 3, next)
	require.EqualValues(t, 4, nextOf(t, s.fetch(1, 50<<20, 1<<20)[0].RecordBatches), "the open transaction begins at 4")
}

func TestRecordsThatWereTruncatedDoNotComeFromWhatWasReadAhead(t *testing.T) {
	c, s, next := readingAhead(t)
	require.NoError(t, c.Broker.Truncate("t", 0, next))
	cl := c.Client(t, kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	require.NoError(t, cl.ProduceSync(ctxOf(t), &kgo.Record{Value: make([]byte, 200_000)}).FirstErr())
	first, _, err := batch.Next(s.fetch(0, 50<<20, 1<<20)[0].RecordBatches)
	require.NoError(t, err)
	require.Equal(t, next, first.BaseOffset())
	require.Less(t, len(first), 250_000)
}
