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
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/kafkaclient"
	"github.com/moldau-io/moldau/core/log/batch"
	"github.com/moldau-io/moldau/core/metadata"
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
		require.NoError(t, kafkaclient.EndTransaction(ctx, cl, kgo.TransactionEndTry(i%3 != 0)))
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
				kgo.DefaultProduceTopic("out"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
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
	err = errors.Join(err, kafkaclient.EndTransaction(ctx, first, kgo.TryCommit))
	require.Error(t, err)
	require.NoError(t, kafkaclient.EndTransaction(ctx, second, kgo.TryCommit))
	require.Equal(t, []string{"heir"}, readCommitted(t, c, "t"))
}

// The kinds of coordinators.
const (
	groupCoordinator int8 = 0
	txnCoordinator   int8 = 1
)

// awaitCoordinator waits until the coordinator of a group or transactional id is known, and its topic with it.
func awaitCoordinator(t testing.TB, r *raw, kind int8, key string) {
	t.Helper()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.Version, find.CoordinatorType, find.CoordinatorKeys = 4, kind, []string{key}
	require.Eventually(t, func() bool { return ask[*kmsg.FindCoordinatorResponse](r, find).Coordinators[0].ErrorCode == 0 }, 10*time.Second, 10*time.Millisecond)
}

// openTxn begins a transaction of version 2 over a raw connection and writes a record to each partition of the topic.
func openTxn(t testing.TB, r *raw, id, topic string, partitions int32) (int64, int16) {
	t.Helper()
	awaitCoordinator(t, r, txnCoordinator, id)
	init := kmsg.NewPtrInitProducerIDRequest()
	init.Version, init.TransactionalID, init.TransactionTimeoutMillis = 5, &id, 60_000
	var p *kmsg.InitProducerIDResponse
	require.Eventually(t, func() bool { p = ask[*kmsg.InitProducerIDResponse](r, init); return p.ErrorCode == 0 }, 10*time.Second, 10*time.Millisecond)
	for i := range partitions {
		w := batch.Builder{Idempotent: true, Transactional: true, ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch}
		w.Append(time.Now().UnixMilli(), nil, fmt.Appendf(nil, "%s/%d", id, i))
		req := produceRequest(12, topic, -1)
		req.TransactionID = &id
		req.Topics[0].Partitions = []kmsg.ProduceRequestTopicPartition{{Partition: i, Records: w.MustBuild()}}
		require.Zero(t, ask[*kmsg.ProduceResponse](r, req).Topics[0].Partitions[0].ErrorCode)
	}
	return p.ProducerID, p.ProducerEpoch
}

func endTxn(r *raw, id string, producer int64, epoch int16, commit bool) *kmsg.EndTxnResponse {
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = 5, id, producer, epoch, commit
	return ask[*kmsg.EndTxnResponse](r, req)
}

func TestADecidedTransactionIsCompletedAfterARestart(t *testing.T) {
	for _, durability := range []string{"os", "fsync"} {
		c := brokertest.Start(t, brokertest.With("log.durability", durability))
		c.CreateTopic(t, "t", 2)
		r := dial(t, c)
		open, openEpoch := openTxn(t, r, "open", "t", 1)
		id, epoch := openTxn(t, r, "decided", "t", 2)
		require.Zero(t, endTxn(r, "decided", id, epoch, true).ErrorCode)
		c.Restart(t) // perhaps before the markers, certainly with a transaction open
		r = dial(t, c)
		require.Eventually(t, func() bool { return endTxn(r, "open", open, openEpoch, false).ErrorCode == 0 }, 10*time.Second, 10*time.Millisecond)
		require.ElementsMatch(t, []string{"decided/0", "decided/1"}, readCommitted(t, c, "t"))
	}
}

func TestAReadCommittedPollWaitsForTheEndOfTheTransaction(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	id, epoch := openTxn(t, dial(t, c), "x", "t", 1)
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.IsolationLevel, req.MaxWaitMillis, req.MinBytes, req.ReplicaID, req.SessionEpoch = 11, 1<<20, 1, 15_000, 1, -1, -1
	ft := kmsg.NewFetchRequestTopic()
	fp := kmsg.NewFetchRequestTopicPartition()
	fp.PartitionMaxBytes = 1 << 20
	ft.Topic, ft.Partitions = "t", append(ft.Partitions, fp)
	req.Topics = append(req.Topics, ft)
	poll := dial(t, c)
	start := time.Now()
	corr := poll.send(req)
	// A record outside of any transaction passes the high watermark and wakes nobody: it is behind the open transaction.
	require.Zero(t, ask[*kmsg.ProduceResponse](dial(t, c), produceRequest(9, "t", -1, records(1))).Topics[0].Partitions[0].ErrorCode)
	require.Zero(t, endTxn(dial(t, c), "x", id, epoch, true).ErrorCode)
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = 11
	poll.receive(resp, corr)
	require.Less(t, time.Since(start), 10*time.Second)
	p := resp.Topics[0].Partitions[0]
	require.Equal(t, int64(3), p.LastStableOffset)
	require.NotEmpty(t, p.RecordBatches)
}

func TestATopicThatIsDeletedHoldsUpNoTransaction(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	c.CreateTopic(t, "gone", 1)
	r := dial(t, c)
	id, epoch := openTxn(t, r, "x", "gone", 1)
	_, err := c.Admin(t).DeleteTopics(t.Context(), "gone")
	require.NoError(t, err)
	end := endTxn(r, "x", id, epoch, true)
	require.Zero(t, end.ErrorCode)
	describe := kmsg.NewPtrDescribeTransactionsRequest()
	describe.TransactionalIDs = []string{"x"}
	require.Eventually(t, func() bool {
		return ask[*kmsg.DescribeTransactionsResponse](r, describe).TransactionStates[0].State == "CompleteCommit"
	}, 10*time.Second, 10*time.Millisecond)
}

func TestOffsetsOfATransactionCountWhenItCommits(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 1)
	r := dial(t, c)
	awaitCoordinator(t, r, groupCoordinator, "g")
	offset := func(stable bool) (int64, int16) {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Version, req.RequireStable = 8, stable
		req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g", MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{0}}}}}
		var g kmsg.OffsetFetchResponseGroup
		require.Eventually(t, func() bool { g = ask[*kmsg.OffsetFetchResponse](r, req).Groups[0]; return g.ErrorCode == 0 }, 10*time.Second, 10*time.Millisecond)
		return g.Topics[0].Partitions[0].Offset, g.Topics[0].Partitions[0].ErrorCode
	}
	want := int64(-1)
	id, epoch := openTxn(t, r, "x", "t", 0)
	for i, commit := range []bool{true, false, true} {
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.Version, req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch, req.Generation = 5, "x", "g", id, epoch, -1
		q := kmsg.NewTxnOffsetCommitRequestTopic()
		qp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		qp.Offset = int64(100 + i)
		q.Topic, q.Partitions = "t", append(q.Partitions, qp)
		req.Topics = append(req.Topics, q)
		require.Eventually(t, func() bool {
			return ask[*kmsg.TxnOffsetCommitResponse](r, req).Topics[0].Partitions[0].ErrorCode == 0
		}, 10*time.Second, 10*time.Millisecond)
		got, errorCode := offset(true)
		require.Equal(t, kerr.UnstableOffsetCommit.Code, errorCode)
		require.Equal(t, int64(-1), got)
		got, _ = offset(false)
		require.Equal(t, want, got)
		end := endTxn(r, "x", id, epoch, commit)
		require.Zero(t, end.ErrorCode)
		id, epoch = end.ProducerID, end.ProducerEpoch
		if commit {
			want = qp.Offset
		}
		if i == 1 {
			c.Restart(t)
			r = dial(t, c)
		}
		require.Eventually(t, func() bool { got, errorCode := offset(true); return errorCode == 0 && got == want }, 10*time.Second, 10*time.Millisecond)
	}
}

func TestTheTransactionLogIsMadeWithKafkasSettings(t *testing.T) {
	c := brokertest.Start(t, brokertest.With("transaction.state.log.num.partitions", "7"), brokertest.With("transaction.state.log.segment.bytes", "2097152"))
	c.CreateTopic(t, "t", 1)
	openTxn(t, dial(t, c), "x", "t", 1)
	mt := c.Quorum.Image().Topic("__transaction_state")
	require.Len(t, mt.Partitions, 7)
	require.True(t, mt.Internal)
	require.Equal(t, map[string]string{
		"cleanup.policy": "compact", "compression.type": "uncompressed", "min.insync.replicas": "1", "segment.bytes": "2097152", "unclean.leader.election.enable": "false",
	}, c.Quorum.Image().Configs(metadata.TopicResource, "__transaction_state"))
}

func TestClientsFallBackToTransactionsOfVersion1(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 2)
	down := kmsg.NewPtrUpdateFeaturesRequest()
	down.Version, down.TimeoutMillis = 1, 10_000
	u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	u.Feature, u.MaxVersionLevel, u.UpgradeType = "transaction.version", 0, 2
	down.FeatureUpdates = append(down.FeatureUpdates, u)
	require.Zero(t, ask[*kmsg.UpdateFeaturesResponse](dial(t, c), down).ErrorCode)
	ctx := t.Context()
	cl := c.Client(t, kgo.TransactionalID("x"), kgo.DefaultProduceTopic("t"))
	var want []string
	for i := range 6 {
		require.NoError(t, cl.BeginTransaction())
		for j := range 4 {
			v := fmt.Sprintf("%d/%d", i, j)
			require.NoError(t, cl.ProduceSync(ctx, &kgo.Record{Value: []byte(v)}).FirstErr())
			if i%2 == 0 {
				want = append(want, v)
			}
		}
		require.NoError(t, kafkaclient.EndTransaction(ctx, cl, kgo.TransactionEndTry(i%2 == 0)))
	}
	_, epoch, err := cl.ProducerID(ctx)
	require.NoError(t, err)
	require.Zero(t, epoch, "the end of a transaction bumps no epoch")
	heir := c.Client(t, kgo.TransactionalID("x"), kgo.DefaultProduceTopic("t"))
	require.NoError(t, cl.BeginTransaction())
	require.NoError(t, cl.ProduceSync(ctx, &kgo.Record{Value: []byte("zombie")}).FirstErr())
	require.NoError(t, heir.BeginTransaction())
	require.NoError(t, heir.ProduceSync(ctx, &kgo.Record{Value: []byte("heir")}).FirstErr())
	require.Error(t, kafkaclient.EndTransaction(ctx, cl, kgo.TryCommit))
	require.NoError(t, kafkaclient.EndTransaction(ctx, heir, kgo.TryCommit))
	require.ElementsMatch(t, append(want, "heir"), readCommitted(t, c, "t"))
}
