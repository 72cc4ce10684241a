package connect_test

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/connect/connecttest"
	"github.com/moldau-io/moldau/plugins"
)

// numbers reads a topic until it holds every number below n, and returns how often each occurs.
func numbers(t *testing.T, kafka []kgo.Opt, topic string, n int) map[int]int {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100 * time.Millisecond)}, kafka...)...)
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	seen := map[int]int{}
	for len(seen) < n {
		fs := cl.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "have %d of %d numbers", len(seen), n)
		fs.EachRecord(func(r *kgo.Record) {
			i, err := strconv.Atoi(string(r.Value))
			require.NoError(t, err)
			seen[i]++
		})
	}
	return seen
}

func TestKilledSourceLosesNothing(t *testing.T) {
	kafka, topic, props := cluster(t), unique(t, "t"), internalTopics(t)
	props["task.shutdown.graceful.timeout.ms"] = "200"
	createTopic(t, kafka, topic, 1)
	const total = 20000
	name := unique(t, "s")
	s := newScript(name)
	s.poll = func(ctx context.Context, n int64) ([]plugins.SourceRecord, error) {
		if n >= total {
			pause(ctx, 50*time.Millisecond)
			return nil, nil
		}
		pause(ctx, time.Millisecond)
		return sequence(topic, n, int(min(100, total-n))), nil
	}
	for life := range 4 {
		wire := &connecttest.Wire{}
		w := connecttest.Start(t, append(kafka, wire.Opt()), registry(), connecttest.Options{Properties: props})
		if life == 0 {
			w.MustCreate("c", map[string]string{"connector.class": "ScriptSource", "script": name})
		}
		before := len(s.committed())
		require.Eventually(t, func() bool { return len(s.committed()) > before+2 || life == 3 }, 20*time.Second, time.Millisecond)
		if life < 3 {
			wire.Cut()
			w.Shutdown()
			continue
		}
		seen := numbers(t, kafka, topic, total)
		require.Len(t, seen, total)
		require.Eventually(t, func() bool {
			c := s.committed()
			return c[len(c)-1] == total
		}, 20*time.Second, 5*time.Millisecond)
		offs, err := w.Offsets(context.Background(), "c")
		require.NoError(t, err)
		require.Equal(t, int64(total), offs.Offsets[0].Offset["n"])
	}
}

func TestOrderIsKeptAndCommitsFollowTheLog(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	s := newScript(name)
	const total = 50000
	s.poll = func(ctx context.Context, n int64) ([]plugins.SourceRecord, error) {
		if n >= total {
			pause(ctx, 20*time.Millisecond)
			return nil, nil
		}
		return sequence(topic, n, int(min(777, total-n))), nil
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	w.MustCreate("c", map[string]string{"connector.class": "ScriptSource", "script": name})
	recs := consume(t, kafka, topic, total)
	for i, r := range recs {
		require.Equal(t, strconv.Itoa(i), string(r.Value))
	}
	require.Eventually(t, func() bool { c := s.committed(); return len(c) > 0 && c[len(c)-1] == total }, 20*time.Second, 5*time.Millisecond)
	last := int64(0)
	for _, c := range s.committed() {
		require.Greater(t, c, last, "positions are confirmed in order and once")
		last = c
	}
}

func TestAFailingTaskFailsAlone(t *testing.T) {
	kafka := cluster(t)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	idlePoll := func(ctx context.Context, _ int64) ([]plugins.SourceRecord, error) {
		pause(ctx, 20*time.Millisecond)
		return nil, nil
	}
	good, bad, panics := newScript(unique(t, "good")), newScript(unique(t, "bad")), newScript(unique(t, "panic"))
	good.poll = idlePoll
	var broken atomic.Bool
	broken.Store(true)
	bad.poll = func(ctx context.Context, n int64) ([]plugins.SourceRecord, error) {
		if broken.Load() {
			return nil, errors.New("the source is gone")
		}
		return idlePoll(ctx, n)
	}
	panics.poll = func(context.Context, int64) ([]plugins.SourceRecord, error) { panic("what now") }
	scripts.Store("good", good)
	scripts.Store("bad", bad)
	scripts.Store("panics", panics)
	for _, n := range []string{"good", "bad", "panics"} {
		w.MustCreate(n, map[string]string{"connector.class": "ScriptSource", "script": n})
	}
	w.Await("bad", "RUNNING", "FAILED")
	w.Await("panics", "RUNNING", "FAILED")
	w.Await("good", "RUNNING", "RUNNING")
	st, err := w.TaskStatus("bad", 0)
	require.NoError(t, err)
	require.Equal(t, "org.apache.kafka.connect.errors.ConnectException: the source is gone", st.Trace)
	require.Equal(t, "127.0.0.1:8083", st.WorkerID)
	require.Equal(t, "7", st.Version)
	st, err = w.TaskStatus("panics", 0)
	require.NoError(t, err)
	require.Contains(t, st.Trace, "panic: what now")
	require.Contains(t, st.Trace, "source_test.go")

	// A failed task is started again when somebody asks.
	broken.Store(false)
	require.NoError(t, w.RestartTask(context.Background(), "bad", 0))
	w.Await("bad", "RUNNING", "RUNNING")
	broken.Store(true)
	w.Await("bad", "RUNNING", "FAILED")
	broken.Store(false)
	info, err := w.Restart(context.Background(), "bad", true, true)
	require.NoError(t, err)
	require.Equal(t, "RUNNING", info.Connector.State)
	require.Equal(t, "RESTARTING", info.Tasks[0].State)
	w.Await("bad", "RUNNING", "RUNNING")
}

func TestPauseResumeStopAndDelete(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	s := newScript(name)
	var polls atomic.Int64
	s.poll = func(ctx context.Context, n int64) ([]plugins.SourceRecord, error) {
		polls.Add(1)
		pause(ctx, time.Millisecond)
		return sequence(topic, n, 1), nil
	}
	ctx := context.Background()
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	w.MustCreate("c", map[string]string{"connector.class": "ScriptSource", "script": name})
	w.Await("c", "RUNNING", "RUNNING")
	require.NoError(t, w.Pause(ctx, "c"))
	w.Await("c", "PAUSED", "PAUSED")
	n := polls.Load()
	time.Sleep(50 * time.Millisecond)
	require.LessOrEqual(t, polls.Load(), n+1)
	require.NoError(t, w.Resume(ctx, "c"))
	w.Await("c", "RUNNING", "RUNNING")
	require.Eventually(t, func() bool { return polls.Load() > n+5 }, 10*time.Second, time.Millisecond)
	require.NoError(t, w.Stop(ctx, "c"))
	w.Await("c", "STOPPED")
	tasks, err := w.Tasks("c")
	require.NoError(t, err)
	require.Empty(t, tasks)

	// Restarting a stopped connector leaves it stopped.
	st, err := w.Restart(ctx, "c", true, false)
	require.NoError(t, err)
	require.Equal(t, "RESTARTING", st.Connector.State)
	w.Await("c", "STOPPED")

	require.NoError(t, w.Resume(ctx, "c"))
	w.Await("c", "RUNNING", "RUNNING")
	topics, err := w.ActiveTopics("c")
	require.NoError(t, err)
	require.Equal(t, []string{topic}, topics)
	require.NoError(t, w.Delete(ctx, "c"))
	require.Eventually(t, func() bool { return w.State("c") == nil }, 10*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool { ts, _ := w.ActiveTopics("c"); return len(ts) == 0 }, 10*time.Second, 5*time.Millisecond)
	_, err = w.ConnectorInfo("c")
	require.EqualError(t, err, "Connector c not found")
}

func TestRecordsThatCannotBeConvertedAreSkippedOrFailTheTask(t *testing.T) {
	kafka := cluster(t)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	for _, c := range []struct {
		name  string
		more  map[string]string
		fails string
		want  []string
	}{
		{"none", map[string]string{"transforms": "f", "transforms.f.type": "test.Fail", "transforms.f.match": "3"}, "Tolerance exceeded in error handler", nil},
		{"all", map[string]string{"transforms": "f", "transforms.f.type": "test.Fail", "transforms.f.match": "3", "errors.tolerance": "all", "errors.log.enable": "true"}, "", []string{"0", "1", "2", "4", "5"}},
		{"retry", map[string]string{"transforms": "f", "transforms.f.type": "test.Fail", "transforms.f.match": "3", "transforms.f.what": "retry", "errors.retry.timeout": "5000"}, "", []string{"0", "1", "2", "3", "4", "5"}},
		{"drop", map[string]string{"transforms": "f", "transforms.f.type": "test.Fail", "transforms.f.what": "drop", "transforms.f.predicate": "p", "predicates": "p", "predicates.p.type": "test.Is", "predicates.p.value": "2"}, "", []string{"0", "1", "3", "4", "5"}},
		{"negate", map[string]string{"transforms": "f", "transforms.f.type": "test.Fail", "transforms.f.what": "drop", "transforms.f.predicate": "p", "transforms.f.negate": "true", "predicates": "p", "predicates.p.type": "test.Is", "predicates.p.value": "2"}, "", []string{"2"}},
		{"panic", map[string]string{"transforms": "f", "transforms.f.type": "test.Fail", "transforms.f.what": "panic"}, "transform panics", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			topic, name := unique(t, "t"), unique(t, "s")
			createTopic(t, kafka, topic, 1)
			s := newScript(name)
			s.poll = func(ctx context.Context, n int64) ([]plugins.SourceRecord, error) {
				if n >= 6 {
					pause(ctx, 20*time.Millisecond)
					return nil, nil
				}
				return sequence(topic, n, 6), nil
			}
			config := map[string]string{"connector.class": "ScriptSource", "script": name}
			for k, v := range c.more {
				config[k] = v
			}
			w.MustCreate(name, config)
			if c.fails != "" {
				w.Await(name, "RUNNING", "FAILED")
				st, err := w.TaskStatus(name, 0)
				require.NoError(t, err)
				require.Contains(t, st.Trace, c.fails)
				require.Empty(t, s.committed())
				return
			}
			var have []string
			for _, r := range consume(t, kafka, topic, len(c.want)) {
				have = append(have, string(r.Value))
			}
			require.Equal(t, c.want, have)
			require.Eventually(t, func() bool { c := s.committed(); return len(c) == 1 && c[0] == 6 }, 10*time.Second, 5*time.Millisecond, "the position passes what was dropped")
		})
	}
}

func TestTopicsAreMadeByTheRulesOfTheConnector(t *testing.T) {
	kafka, name := cluster(t), unique(t, "s")
	wide, plain := unique(t, "wide"), unique(t, "plain")
	s := newScript(name)
	s.poll = func(ctx context.Context, n int64) ([]plugins.SourceRecord, error) {
		if n > 0 {
			pause(ctx, 20*time.Millisecond)
			return nil, nil
		}
		return append(sequence(wide, 0, 1), sequence(plain, 1, 1)...), nil
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	w.MustCreate("c", map[string]string{"connector.class": "ScriptSource", "script": name,
		"topic.creation.default.partitions": "2", "topic.creation.default.replication.factor": "1", "topic.creation.default.retention.ms": "123456",
		"topic.creation.groups": "w", "topic.creation.w.include": ".*-wide-.*", "topic.creation.w.partitions": "5", "topic.creation.w.replication.factor": "-1"})
	consume(t, kafka, wide, 1)
	consume(t, kafka, plain, 1)
	require.Equal(t, 5, partitions(t, kafka, wide))
	require.Equal(t, 2, partitions(t, kafka, plain))
}

func TestATaskLeftBehindWritesNoMore(t *testing.T) {
	kafka, topic, name, props := cluster(t), unique(t, "t"), unique(t, "s"), internalTopics(t)
	props["task.shutdown.graceful.timeout.ms"] = "100"
	createTopic(t, kafka, topic, 1)
	s := newScript(name)
	release, late := make(chan struct{}), make(chan struct{})
	var calls atomic.Int64
	s.poll = func(ctx context.Context, n int64) ([]plugins.SourceRecord, error) {
		switch calls.Add(1) {
		case 1:
			<-release // deaf to ctx
			defer close(late)
			return sequence(topic, 1000, 1), nil
		case 2:
			return sequence(topic, n, 1), nil
		}
		pause(ctx, 20*time.Millisecond)
		return nil, nil
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
	w.MustCreate("c", map[string]string{"connector.class": "ScriptSource", "script": name})
	w.Await("c", "RUNNING", "RUNNING")
	require.NoError(t, w.RestartTask(context.Background(), "c", 0))
	require.Equal(t, "0", string(consume(t, kafka, topic, 1)[0].Value))
	close(release)
	<-late
	time.Sleep(100 * time.Millisecond)
	w.Await("c", "RUNNING", "RUNNING")
	require.Equal(t, []int64{1}, s.committed())
}
