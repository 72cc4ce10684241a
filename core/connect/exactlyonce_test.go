package connect_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/connect"
	"github.com/moldau-io/moldau/core/connect/api"
	"github.com/moldau-io/moldau/core/connect/connecttest"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

// hasTransactions asks a cluster.
func hasTransactions(t testing.TB, kafka []kgo.Opt) bool {
	t.Helper()
	cl, err := kgo.NewClient(kafka...)
	require.NoError(t, err)
	defer cl.Close()
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(context.Background(), cl)
	require.NoError(t, err)
	for _, k := range resp.ApiKeys {
		if k.ApiKey == int16(kmsg.EndTxn) {
			return true
		}
	}
	return false
}

// transactionalCluster is cluster, for tests that need transactions.
func transactionalCluster(t testing.TB) []kgo.Opt {
	t.Helper()
	kafka := cluster(t)
	if !hasTransactions(t, kafka) {
		t.Skip("the cluster has no transactions")
	}
	return kafka
}

// readCommitted reads what committed transactions left in a topic, up to its present end.
func readCommitted(t testing.TB, kafka []kgo.Opt, topic string) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords()}, kafka...)...)
	require.NoError(t, err)
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, topic)
	require.NoError(t, err)
	require.NoError(t, ends.Error())
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	var out []*kgo.Record
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "%s is not readable up to %v", topic, left)
		fs.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				out = append(out, r)
			}
		})
	}
	return out
}

// requireSequence demands the numbers 0 to n-1, each once and in order.
func requireSequence(t testing.TB, recs []*kgo.Record, n int) {
	t.Helper()
	for i, r := range recs {
		require.Equal(t, strconv.Itoa(i), string(r.Value), "at %d of %d", i, len(recs))
	}
	require.Len(t, recs, n)
}

// counting makes a source of the numbers below total, in polls of random size.
func counting(name, topic string, total int64, most int, gap time.Duration) *script {
	s := newScript(name)
	s.poll = func(ctx context.Context, n int64) ([]plugins.SourceRecord, error) {
		if n >= total {
			pause(ctx, 20*time.Millisecond)
			return nil, nil
		}
		pause(ctx, gap)
		return sequence(topic, n, int(min(1+rand.Int64N(int64(most)), total-n))), nil
	}
	return s
}

func (s *script) lastCommit() int64 {
	c := s.committed()
	if len(c) == 0 {
		return 0
	}
	return c[len(c)-1]
}

// awaitStops waits until tasks were stopped n times.
func (s *script) awaitStops(t testing.TB, n int) {
	t.Helper()
	require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.stops >= n }, 20*time.Second, 2*time.Millisecond)
}

func TestKilledSourceWritesEverythingExactlyOnce(t *testing.T) {
	kafka, topic, props, name := transactionalCluster(t), unique(t, "t"), internalTopics(t), unique(t, "s")
	props["task.shutdown.graceful.timeout.ms"] = "200"
	createTopic(t, kafka, topic, 1)
	const total, lives = 30000, 12
	s := counting(name, topic, total, 300, time.Millisecond)
	for life := range lives {
		wire := &connecttest.Wire{}
		w := connecttest.Start(t, append(kafka, wire.Opt()), registry(), connecttest.Options{Properties: props})
		if life == 0 {
			w.MustCreate("c", map[string]string{"connector.class": "ScriptSource", "script": name})
		}
		if life < lives-1 {
			before := len(s.committed())
			require.Eventually(t, func() bool { return len(s.committed()) > before+life%4 || s.lastCommit() == total }, 20*time.Second, time.Millisecond)
			time.Sleep(time.Duration(rand.Int64N(int64(5 * time.Millisecond))))
			wire.Cut()
			w.Shutdown()
			continue
		}
		require.Eventually(t, func() bool { return s.lastCommit() == total }, 30*time.Second, 5*time.Millisecond)
		offs, err := w.Offsets(context.Background(), "c")
		require.NoError(t, err)
		require.Equal(t, int64(total), offs.Offsets[0].Offset["n"])
	}
	requireSequence(t, readCommitted(t, kafka, topic), total)
}

func TestLostConnectionsNeitherDoubleNorFail(t *testing.T) {
	kafka, topic, props, name := transactionalCluster(t), unique(t, "t"), internalTopics(t), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	const total = 40000
	s := counting(name, topic, total, 300, time.Millisecond)
	wire := &connecttest.Wire{}
	w := connecttest.Start(t, append(kafka, wire.Opt()), registry(), connecttest.Options{Properties: props})
	w.MustCreate("c", map[string]string{"connector.class": "ScriptSource", "script": name})
	w.Await("c", "RUNNING", "RUNNING")
	deadline := time.Now().Add(90 * time.Second)
	for s.lastCommit() < total {
		require.True(t, time.Now().Before(deadline), "at %d", s.lastCommit())
		time.Sleep(time.Duration(rand.Int64N(int64(200 * time.Millisecond))))
		wire.Break()
		require.Equal(t, []string{"RUNNING", "RUNNING"}, w.State("c"))
	}
	requireSequence(t, readCommitted(t, kafka, topic), total)
	last := int64(0)
	for _, c := range s.committed() {
		require.Greater(t, c, last, "positions are confirmed in order and once")
		last = c
	}
}

// TestAWorkerThatWasSucceededWritesNothingMore lets a worker go on that does not know yet that another one has its tasks.
func TestAWorkerThatWasSucceededWritesNothingMore(t *testing.T) {
	kafka, topic, props, name := transactionalCluster(t), unique(t, "t"), internalTopics(t), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	// The source does not run dry before the last worker has it, however long that takes to start.
	var limit, polled atomic.Int64
	limit.Store(math.MaxInt64)
	s := newScript(name)
	s.poll = func(ctx context.Context, n int64) ([]plugins.SourceRecord, error) {
		end := limit.Load()
		if n >= end {
			pause(ctx, 20*time.Millisecond)
			return nil, nil
		}
		pause(ctx, 2*time.Millisecond)
		size := min(1+rand.Int64N(50), end-n)
		for at := polled.Load(); at < n+size && !polled.CompareAndSwap(at, n+size); at = polled.Load() {
		}
		return sequence(topic, n, int(size)), nil
	}
	var w *connecttest.Worker
	for i := range 3 {
		w = connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props, Logger: slog.New(slog.DiscardHandler),
			Config: func(c *connect.Config) { c.AdvertisedURL = fmt.Sprintf("http://127.0.0.1:%d", 9000+i) }})
		if i == 0 {
			w.MustCreate("c", map[string]string{"connector.class": "ScriptSource", "script": name})
		}
		before := len(s.committed())
		for deadline := time.Now().Add(20 * time.Second); len(s.committed()) <= before+20; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				st, err := w.ConnectorStatus("c")
				t.Fatalf("worker %d: %d commits, %d polled, status %+v, error %v", i, len(s.committed())-before, polled.Load(), st, err)
			}
		}
	}
	total := polled.Load() + 5000
	limit.Store(total)
	require.Eventually(t, func() bool {
		offs, err := w.Offsets(context.Background(), "c")
		return err == nil && len(offs.Offsets) == 1 && offs.Offsets[0].Offset["n"] == total
	}, 60*time.Second, 5*time.Millisecond)
	requireSequence(t, readCommitted(t, kafka, topic), int(total))
}

func TestATransactionHoldsWholePolls(t *testing.T) {
	kafka, topic, props, name := transactionalCluster(t), unique(t, "t"), internalTopics(t), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	const polls, size = 4, 60000 // several batches of the writer each
	s := newScript(name)
	s.poll = func(ctx context.Context, n int64) ([]plugins.SourceRecord, error) {
		if n >= polls*size {
			pause(ctx, 20*time.Millisecond)
			return nil, nil
		}
		return sequence(topic, n, size), nil
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
	w.MustCreate("c", map[string]string{"connector.class": "ScriptSource", "script": name})
	require.Eventually(t, func() bool { return s.lastCommit() == polls*size }, 60*time.Second, 5*time.Millisecond)
	recs := readCommitted(t, kafka, topic)
	requireSequence(t, recs, polls*size)
	for _, c := range s.committed() {
		require.Zero(t, c%size, "a transaction ends with a poll")
	}
}

func TestTransactionsByInterval(t *testing.T) {
	kafka, topic, props, name := transactionalCluster(t), unique(t, "t"), internalTopics(t), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	s := counting(name, topic, 1<<40, 10, time.Millisecond)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
	began := time.Now() // before the task starts: on a busy machine its first intervals are over before it is seen to run
	w.MustCreate("c", map[string]string{"connector.class": "ScriptSource", "script": name, "transaction.boundary": "interval", "transaction.boundary.interval.ms": "700"})
	require.Eventually(t, func() bool { return len(s.committed()) >= 3 }, 20*time.Second, time.Millisecond)
	require.GreaterOrEqual(t, time.Since(began), 2000*time.Millisecond)
	require.NoError(t, w.Stop(context.Background(), "c"))
	w.Await("c", "STOPPED")
	recs := readCommitted(t, kafka, topic)
	requireSequence(t, recs, int(s.lastCommit()))
}

func TestTransactionsOfTheConnectorsOwn(t *testing.T) {
	kafka, topic, props, name := transactionalCluster(t), unique(t, "t"), internalTopics(t), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	s := newScript(name)
	s.transactions = true
	var held sync.Map
	s.poll = func(ctx context.Context, n int64) ([]plugins.SourceRecord, error) {
		switch n {
		case 0:
			return sequence(topic, 0, 10), nil // stays open
		case 10:
			held.Store("open", len(s.committed()))
			recs := sequence(topic, 10, 10)
			recs[4].Boundary = plugins.CommitAfter // 0..14
			recs[9].Boundary = plugins.AbortAfter  // 15..19
			return recs, nil
		case 20:
			s.txn.Commit()
			return sequence(topic, 20, 5), nil
		case 25:
			s.txn.Abort()
			return sequence(topic, 25, 5), nil
		case 30:
			return sequence(topic, 30, 5), nil // never ended
		}
		pause(ctx, 20*time.Millisecond)
		return nil, nil
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
	w.MustCreate("c", map[string]string{"connector.class": "ScriptSource", "script": name, "transaction.boundary": "connector", "exactly.once.support": "required"})
	require.Eventually(t, func() bool { return s.lastCommit() == 30 }, 20*time.Second, 5*time.Millisecond)
	require.NoError(t, w.Stop(context.Background(), "c"))
	w.Await("c", "STOPPED")
	require.Equal(t, []int64{15, 20, 25, 30}, s.committed(), "what is aborted is passed over all the same")
	n, _ := held.Load("open")
	require.Equal(t, 0, n)
	var have []string
	for _, r := range readCommitted(t, kafka, topic) {
		have = append(have, string(r.Value))
	}
	require.Equal(t, strings.Fields("0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 20 21 22 23 24"), have)
	offs, err := w.Offsets(context.Background(), "c")
	require.NoError(t, err)
	require.Equal(t, int64(30), offs.Offsets[0].Offset["n"], "the last transaction was aborted with its position")
}

func TestEarlierTasksAreFenced(t *testing.T) {
	kafka, topic, props, name := transactionalCluster(t), unique(t, "t"), internalTopics(t), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	s := newScript(name)
	s.poll = func(ctx context.Context, _ int64) ([]plugins.SourceRecord, error) {
		pause(ctx, 20*time.Millisecond)
		return nil, nil
	}
	var starts atomic.Int64
	s.start = func() error { starts.Add(1); return nil }
	awaitStarts := func(n int64) {
		t.Helper()
		require.Eventually(t, func() bool { return starts.Load() == n }, 20*time.Second, 2*time.Millisecond)
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
	ctx := context.Background()
	config := map[string]string{"name": "c", "connector.class": "ScriptSource", "script": name, "tasks.max": "3"}
	w.MustCreate("c", config)
	w.Await("c", "RUNNING", "RUNNING", "RUNNING", "RUNNING")

	// A zombie: it has what task 2 had, and the topic is held back by what it has open.
	zombie, err := kgo.NewClient(append([]kgo.Opt{kgo.TransactionalID(props["group.id"] + "-c-2")}, kafka...)...)
	require.NoError(t, err)
	defer zombie.Close()
	require.NoError(t, zombie.BeginTransaction())
	require.NoError(t, zombie.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("late")}).FirstErr())
	config["tasks.max"] = "1"
	_, _, err = w.PutConfig(ctx, "c", config)
	require.NoError(t, err)
	fencings := func() (out []string) {
		for _, r := range readCommitted(t, kafka, props["config.storage.topic"]) {
			if strings.HasPrefix(string(r.Key), "tasks-fencing-") {
				out = append(out, string(r.Key)+" "+string(r.Value))
			}
		}
		return out
	}
	require.Eventually(t, func() bool { return len(fencings()) == 2 }, 20*time.Second, 5*time.Millisecond)
	awaitStarts(4) // the status may still be that of the first set's task
	w.Await("c", "RUNNING", "RUNNING")
	require.Error(t, zombie.EndTransaction(ctx, kgo.TryCommit))
	require.Empty(t, readCommitted(t, kafka, topic))

	require.Equal(t, []string{`tasks-fencing-c {"task-count":3}`, `tasks-fencing-c {"task-count":1}`}, fencings())
	require.NoError(t, w.Fence(ctx, "c"), "there is nothing left to fence")
	_, err = w.Restart(ctx, "c", true, false)
	require.NoError(t, err)
	awaitStarts(5)
	w.Await("c", "RUNNING", "RUNNING")
	require.Len(t, fencings(), 2, "a restart makes no new set of tasks")
	var e *api.Error
	require.ErrorAs(t, w.Fence(ctx, "nope"), &e)
	require.Equal(t, 404, e.Code)
}

func TestPositionsInATopicOfTheConnectorsOwn(t *testing.T) {
	kafka := transactionalCluster(t)
	for _, mode := range []string{"enabled", "disabled"} {
		t.Run(mode, func(t *testing.T) {
			topic, props, name, own := unique(t, "t"), internalTopics(t), unique(t, "s"), unique(t, "own")
			props["exactly.once.source.support"] = mode
			createTopic(t, kafka, topic, 1)
			s := counting(name, topic, 100, 10, 0)
			w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
			ctx := context.Background()
			config := map[string]string{"name": "c", "connector.class": "ScriptSource", "script": name}
			w.MustCreate("c", config)
			position := func() any {
				offs, err := w.Offsets(ctx, "c")
				if err != nil || len(offs.Offsets) != 1 {
					return len(offs.Offsets)
				}
				return offs.Offsets[0].Offset["n"]
			}
			require.Eventually(t, func() bool { return position() == int64(100) }, 20*time.Second, 5*time.Millisecond)
			// From the worker's topic to one of its own: it goes on where it was.
			config["offsets.storage.topic"] = own
			_, _, err := w.PutConfig(ctx, "c", config)
			require.NoError(t, err)
			s.awaitStops(t, 1)
			w.Await("c", "RUNNING", "RUNNING")
			s.mu.Lock()
			more := counting(name+"x", topic, 200, 10, 0).poll
			s.poll = more
			s.mu.Unlock()
			require.Eventually(t, func() bool { return s.lastCommit() == 200 }, 20*time.Second, 5*time.Millisecond)
			require.Equal(t, int64(200), position())
			requireSequence(t, readCommitted(t, kafka, topic), 200)
			recs := readCommitted(t, kafka, own)
			require.Equal(t, `["c",{"p":"1"}]`, string(recs[len(recs)-1].Key))
			require.Equal(t, `{"n":200}`, string(recs[len(recs)-1].Value))
			// And back: the worker's topic was kept up to date.
			require.NoError(t, w.Stop(ctx, "c"))
			w.Await("c", "STOPPED")
			delete(config, "offsets.storage.topic")
			_, _, err = w.PutConfig(ctx, "c", config)
			require.NoError(t, err)
			require.Equal(t, int64(200), position())
			// What is removed from the own topic does not shine through from the worker's.
			config["offsets.storage.topic"] = own
			_, _, err = w.PutConfig(ctx, "c", config)
			require.NoError(t, err)
			_, err = w.AlterOffsets(ctx, "c", []api.ConnectorOffset{{Partition: map[string]any{"p": "1"}, Offset: map[string]any{"n": int64(150)}}})
			require.NoError(t, err)
			require.Equal(t, int64(150), position())
			_, err = w.ResetOffsets(ctx, "c")
			require.NoError(t, err)
			require.Equal(t, 0, position())
		})
	}
}

func TestWhatAConfigurationMayDemand(t *testing.T) {
	kafka := transactionalCluster(t)
	ctx := context.Background()
	messages := func(w *connecttest.Worker, config map[string]string) (out []string) {
		config["name"] = "x"
		infos, err := w.Validate(ctx, config["connector.class"], config)
		require.NoError(t, err)
		for _, c := range infos.Configs {
			for _, e := range c.Value.Errors {
				out = append(out, c.Value.Name+": "+e)
			}
		}
		return out
	}
	props := internalTopics(t)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
	file := func(more ...string) map[string]string {
		m := map[string]string{"connector.class": "FileStreamSource", "topic": "t", "file": "/tmp/x"}
		for i := 0; i+1 < len(more); i += 2 {
			if m[more[i]] = more[i+1]; more[i+1] == "-" {
				delete(m, more[i])
			}
		}
		return m
	}
	// The answers of a Kafka Connect 4.3.1.
	require.Empty(t, messages(w, file("exactly.once.support", "required")))
	require.Empty(t, messages(w, file("exactly.once.support", "REQUIRED", "transaction.boundary", "POLL", "transaction.boundary.interval.ms", "0")))
	require.Equal(t, []string{"transaction.boundary: The connector does not support connector-defined transaction boundaries with the given configuration. Please reconfigure it to use a different transaction boundary definition."},
		messages(w, file("exactly.once.support", "required", "transaction.boundary", "connector")))
	require.Equal(t, []string{"exactly.once.support: The connector does not support exactly-once semantics with the provided configuration.",
		"offsets.storage.topic: Invalid value  for configuration offsets.storage.topic: String must be non-empty"},
		messages(w, file("file", "-", "exactly.once.support", "required", "offsets.storage.topic", "")))
	require.Equal(t, []string{
		"exactly.once.support: Invalid value bogus for configuration exactly.once.support: String must be one of (case insensitive): REQUIRED, REQUESTED",
		"transaction.boundary: Invalid value what for configuration transaction.boundary: String must be one of (case insensitive): INTERVAL, POLL, CONNECTOR",
		"transaction.boundary.interval.ms: Invalid value x for configuration transaction.boundary.interval.ms: Not a number of type LONG"},
		messages(w, file("exactly.once.support", "bogus", "transaction.boundary", "what", "transaction.boundary.interval.ms", "x")))
	require.Equal(t, []string{"transaction.boundary.interval.ms: Invalid value -1 for configuration transaction.boundary.interval.ms: Value must be at least 0"},
		messages(w, file("transaction.boundary.interval.ms", "-1")))
	require.Equal(t, []string{`exactly.once.support: The connector does not implement the API required for preflight validation of exactly-once source support. Please consult the documentation for the connector to determine whether it supports exactly-once semantics, and then consider reconfiguring the connector to use the value "requested" for this property (which will disable this preflight check and allow the connector to be created).`},
		messages(w, map[string]string{"connector.class": "PlainSource", "script": "x", "exactly.once.support": "required"}))
	w.Shutdown()
	props["exactly.once.source.support"] = "disabled"
	w = connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
	require.Equal(t, []string{"exactly.once.support: This worker does not have exactly-once source support enabled."}, messages(w, file("exactly.once.support", "required")))
}

func TestAPreparingWorkerWritesOnlyItsConfigurationInTransactions(t *testing.T) {
	kafka, topic, props, name := transactionalCluster(t), unique(t, "t"), internalTopics(t), unique(t, "s")
	props["exactly.once.source.support"] = "preparing"
	createTopic(t, kafka, topic, 1)
	s := counting(name, topic, 10, 10, 0)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
	w.MustCreate("c", map[string]string{"connector.class": "ScriptSource", "script": name})
	require.Eventually(t, func() bool { return s.lastCommit() == 10 }, 20*time.Second, 5*time.Millisecond)
	for _, r := range readCommitted(t, kafka, topic) {
		require.False(t, r.Attrs.IsTransactional())
	}
	for _, r := range readCommitted(t, kafka, props["config.storage.topic"]) {
		require.True(t, r.Attrs.IsTransactional())
		require.NotContains(t, string(r.Key), "tasks-fencing")
	}
}

// TestWithoutTransactionsRecordsAreWrittenAtLeastOnce starts workers on clusters that have none, or allow none.
func TestWithoutTransactionsRecordsAreWrittenAtLeastOnce(t *testing.T) {
	old := func(c *kfake.Cluster) {
		c.ControlKey(int16(kmsg.ApiVersions), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			resp := req.ResponseKind().(*kmsg.ApiVersionsResponse)
			for _, k := range []kmsg.Key{kmsg.Produce, kmsg.Fetch, kmsg.ListOffsets, kmsg.Metadata, kmsg.ApiVersions, kmsg.CreateTopics, kmsg.FindCoordinator, kmsg.DescribeGroups, kmsg.DescribeConfigs} {
				v := kmsg.NewApiVersionsResponseApiKey()
				v.ApiKey, v.MaxVersion = int16(k), min(k.Request().MaxVersion(), 7)
				resp.ApiKeys = append(resp.ApiKeys, v)
			}
			return resp, nil, true
		})
	}
	forbidden := func(c *kfake.Cluster) {
		c.ControlKey(int16(kmsg.InitProducerID), func(req kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			if req.(*kmsg.InitProducerIDRequest).TransactionalID == nil {
				return nil, nil, false
			}
			resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
			resp.ErrorCode = kerr.TransactionalIDAuthorizationFailed.Code
			return resp, nil, true
		})
	}
	for _, c := range []struct {
		name, reason string
		make         func(*kfake.Cluster)
	}{
		{"an old cluster", "the brokers do not know InitProducerID requests", old},
		{"a worker without the right", "it needs WRITE and DESCRIBE on the transactional ids connect-cluster-", forbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake, err := kfake.NewCluster(kfake.NumBrokers(1))
			require.NoError(t, err)
			defer fake.Close()
			c.make(fake)
			kafka := []kgo.Opt{kgo.SeedBrokers(fake.ListenAddrs()...)}
			topic, props, name := unique(t, "t"), internalTopics(t), unique(t, "s")
			props["producer.enable.idempotence"] = "false" // brokers that old have no ids for it either
			var buf syncBuffer
			w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props, Logger: slog.New(slog.NewTextHandler(&buf, nil))})
			require.Contains(t, buf.String(), "source records are written at least once: the cluster offers this worker no transactions")
			require.Contains(t, buf.String(), c.reason)
			if c.name != "an old cluster" {
				createTopic(t, kafka, topic, 1)
				s := counting(name, topic, 10, 10, 0)
				w.MustCreate("c", map[string]string{"connector.class": "ScriptSource", "script": name})
				require.Eventually(t, func() bool { return s.lastCommit() == 10 }, 20*time.Second, 5*time.Millisecond)
			}
			_, err = w.Create(context.Background(), api.CreateRequest{Name: "d", Config: map[string]string{"name": "d", "connector.class": "FileStreamSource", "topic": "t", "file": "/tmp/x", "exactly.once.support": "required"}})
			require.ErrorContains(t, err, "This worker does not have exactly-once source support enabled. The cluster offers it no transactions: ")
			require.ErrorContains(t, err, c.reason)
			w.Shutdown()
			props["exactly.once.source.support"] = "enabled"
			err = runWorker(t, kafka, props)
			require.ErrorContains(t, err, "exactly.once.source.support=enabled: ")
			require.ErrorContains(t, err, c.reason)
		})
	}
}

func TestATaskThatWasShutOutBeginsAgainOnce(t *testing.T) {
	kafka, topic, props, name := transactionalCluster(t), unique(t, "t"), internalTopics(t), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	s := counting(name, topic, 1<<40, 20, time.Millisecond)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props, Logger: slog.New(slog.DiscardHandler)})
	w.MustCreate("c", map[string]string{"connector.class": "ScriptSource", "script": name})
	shutOut := func() {
		before := len(s.committed())
		require.Eventually(t, func() bool { return len(s.committed()) > before+10 }, 20*time.Second, time.Millisecond)
		cl, err := kgo.NewClient(append([]kgo.Opt{kgo.TransactionalID(props["group.id"] + "-c-0")}, kafka...)...)
		require.NoError(t, err)
		defer cl.Close()
		_, _, err = cl.ProducerID(context.Background())
		require.NoError(t, err)
	}
	shutOut()
	s.awaitStops(t, 1)
	require.Equal(t, []string{"RUNNING", "RUNNING"}, w.State("c"))
	shutOut()
	w.Await("c", "RUNNING", "FAILED")
	st, err := w.TaskStatus("c", 0)
	require.NoError(t, err)
	require.Regexp(t, "PRODUCER_FENCED|INVALID_PRODUCER_EPOCH", st.Trace)
	requireSequence(t, readCommitted(t, kafka, topic), int(s.lastCommit()))
}

func TestARecordThatIsTooLargeIsSkippedWhereThatIsTolerated(t *testing.T) {
	kafka := cluster(t)
	for _, mode := range []string{"enabled", "disabled"} {
		if mode == "enabled" && !hasTransactions(t, kafka) {
			continue
		}
		topic, props, name := unique(t, "t"), internalTopics(t), unique(t, "s")
		props["exactly.once.source.support"] = mode
		createTopic(t, kafka, topic, 1)
		s := newScript(name)
		s.poll = func(ctx context.Context, n int64) ([]plugins.SourceRecord, error) {
			if n >= 3 {
				pause(ctx, 20*time.Millisecond)
				return nil, nil
			}
			recs := sequence(topic, 0, 3)
			recs[1].ValueSchema, recs[1].Value = data.StringSchema, data.String(strings.Repeat("x", 20000))
			return recs, nil
		}
		w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props, Logger: slog.New(slog.DiscardHandler)})
		config := map[string]string{"connector.class": "ScriptSource", "script": name, "producer.override.max.request.size": "10000"}
		w.MustCreate("strict", config)
		w.Await("strict", "RUNNING", "FAILED")
		st, err := w.TaskStatus("strict", 0)
		require.NoError(t, err)
		require.Contains(t, st.Trace, "bytes when serialized which is larger than 10000, which is the value of the max.request.size configuration.")
		require.NoError(t, w.Delete(context.Background(), "strict"))
		config["errors.tolerance"] = "all"
		w.MustCreate("lenient", config)
		require.Eventually(t, func() bool { return s.lastCommit() == 3 }, 20*time.Second, 5*time.Millisecond)
		var have []string
		for _, r := range readCommitted(t, kafka, topic) {
			have = append(have, string(r.Value))
		}
		require.Equal(t, []string{"0", "2"}, have)
		w.Shutdown()
	}
}
