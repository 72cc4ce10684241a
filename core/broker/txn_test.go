package broker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// readCommitted reads a topic from its start to its end, as a read_committed consumer sees it once no transaction is open.
func readCommitted(t testing.TB, c *brokertest.Cluster, topic string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cl := c.Client(t, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.KeepControlRecords())
	adm := kadm.NewClient(cl)
	var ends kadm.ListedOffsets
	for settled := false; !settled; { // until no transaction is open
		high, err := adm.ListEndOffsets(ctx, topic)
		require.NoError(t, err)
		ends, err = adm.ListCommittedOffsets(ctx, topic)
		require.NoError(t, err)
		settled = true
		high.Each(func(o kadm.ListedOffset) {
			if l, _ := ends.Lookup(topic, o.Partition); l.Offset < o.Offset {
				settled = false
			}
		})
	}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset - 1
		}
	})
	var out []string
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		require.NoError(t, fs.Err())
		fs.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				out = append(out, string(r.Value))
			}
			if last, ok := left[r.Partition]; ok && r.Offset >= last {
				delete(left, r.Partition)
			}
		})
	}
	return out
}

func TestATransactionIsSeenWholeOrNotAtAll(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 3)
	ctx := t.Context()
	cl := c.Client(t, kgo.TransactionalID("x"), kgo.DefaultProduceTopic("t"))
	for i := range 20 {
		require.NoError(t, cl.BeginTransaction())
		for j := range 6 {
			cl.Produce(ctx, &kgo.Record{Partition: int32(j % 3), Value: fmt.Appendf(nil, "%d/%d", i, j)}, nil)
		}
		require.NoError(t, cl.Flush(ctx))
		require.NoError(t, cl.EndTransaction(ctx, kgo.TransactionEndTry(i%3 != 0)))
	}
	seen := map[string]int{}
	for _, v := range readCommitted(t, c, "t") {
		seen[v]++
	}
	require.Len(t, seen, 13*6)
	for v, n := range seen {
		require.Equal(t, 1, n, v)
		var i, j int
		_, err := fmt.Sscanf(v, "%d/%d", &i, &j)
		require.NoError(t, err)
		require.NotZero(t, i%3, "aborted: %s", v)
	}
}

func TestGroupTransactSessionsMoveRecordsExactlyOnce(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "in", 4)
	c.CreateTopic(t, "out", 4)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	const total = 2000
	p := c.Client(t, kgo.DefaultProduceTopic("in"))
	for i := range total {
		p.Produce(ctx, &kgo.Record{Value: fmt.Append(nil, i)}, nil)
	}
	require.NoError(t, p.Flush(ctx))
	var mu sync.Mutex
	moved := 0
	var wg sync.WaitGroup
	work, stop := context.WithCancel(ctx)
	defer stop()
	for w := range 3 {
		wg.Go(func() {
			s, err := kgo.NewGroupTransactSession(
				kgo.SeedBrokers(c.Addr()), kgo.TransactionalID(fmt.Sprint("mover-", w)), kgo.ConsumerGroup("movers"), kgo.ConsumeTopics("in"),
				kgo.DefaultProduceTopic("out"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RequireStableFetchOffsets(),
			)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			for n := 0; work.Err() == nil; n++ {
				fs := s.PollRecords(work, 50)
				if work.Err() != nil {
					return
				}
				if err := s.Begin(); err != nil {
					t.Error(err)
					return
				}
				promise := kgo.AbortingFirstErrPromise(s.Client())
				fs.EachRecord(func(r *kgo.Record) { s.Produce(ctx, &kgo.Record{Value: r.Value}, promise.Promise()) })
				commit := promise.Err() == nil && n%7 != 3
				ok, err := s.End(ctx, kgo.TransactionEndTry(commit))
				if err := promise.Err(); err != nil {
					t.Error(err)
				}
				if err != nil {
					t.Error(err)
					return
				}
				if ok {
					mu.Lock()
					moved += fs.NumRecords()
					if moved >= total {
						stop()
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for _, v := range readCommitted(t, c, "out") {
		seen[v]++
	}
	require.Len(t, seen, total)
	for v, n := range seen {
		require.Equal(t, 1, n, v)
	}
}

func TestASecondProducerFencesTheFirst(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	ctx := t.Context()
	first := c.Client(t, kgo.TransactionalID("x"), kgo.DefaultProduceTopic("t"))
	require.NoError(t, first.BeginTransaction())
	require.NoError(t, first.ProduceSync(ctx, &kgo.Record{Value: []byte("zombie")}).FirstErr())
	second := c.Client(t, kgo.TransactionalID("x"), kgo.DefaultProduceTopic("t"))
	require.NoError(t, second.BeginTransaction())
	require.NoError(t, second.ProduceSync(ctx, &kgo.Record{Value: []byte("heir")}).FirstErr())
	err := first.ProduceSync(ctx, &kgo.Record{Value: []byte("zombie again")}).FirstErr()
	require.Error(t, err)
	err = errors.Join(err, first.EndTransaction(ctx, kgo.TryCommit))
	require.Error(t, err)
	require.NoError(t, second.EndTransaction(ctx, kgo.TryCommit))
	require.Equal(t, []string{"heir"}, readCommitted(t, c, "t"))
}
