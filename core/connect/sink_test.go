package connect_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/connect/connecttest"
	"github.com/moldau-io/moldau/plugins"
)

func fill(t *testing.T, kafka []kgo.Opt, topic string, from, n int) {
	t.Helper()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		recs[i] = &kgo.Record{Topic: topic, Key: []byte(strconv.Itoa(from + i)), Value: []byte(strconv.Itoa(from + i))}
	}
	produce(t, kafka, recs...)
}

func values(recs []plugins.SinkRecord) map[int]int {
	m := map[int]int{}
	for i := range recs {
		n, _ := strconv.Atoi(recs[i].Value.String())
		m[n]++
	}
	return m
}

func sinkConfig(script, topic string, more ...string) map[string]string {
	m := map[string]string{"connector.class": "ScriptSink", "script": script, "topics": topic}
	for i := 0; i+1 < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

func TestKilledSinkGetsAllRecordsAgainThatWereNotSafe(t *testing.T) {
	kafka, topic, props := cluster(t), unique(t, "t"), internalTopics(t)
	props["task.shutdown.graceful.timeout.ms"] = "200"
	createTopic(t, kafka, topic, 3)
	const total = 3000
	fill(t, kafka, topic, 0, total)
	name := unique(t, "s")
	s := newScript(name)
	for life := range 3 {
		wire := &connecttest.Wire{}
		w := connecttest.Start(t, append(kafka, wire.Opt()), registry(), connecttest.Options{Properties: props})
		if life == 0 {
			w.MustCreate(name, sinkConfig(name, topic, "consumer.override.max.poll.records", "50", "consumer.override.session.timeout.ms", "6000"))
		}
		if life < 2 {
			before := len(s.records())
			require.Eventually(t, func() bool { return len(s.records()) > before+100 }, 30*time.Second, time.Millisecond)
			wire.Cut()
			w.Shutdown()
			continue
		}
		require.Eventually(t, func() bool { return len(values(s.records())) == total }, 40*time.Second, 10*time.Millisecond)
		require.Eventually(t, func() bool {
			sum := int64(0)
			for p := range int32(3) {
				sum += committed(t, kafka, "connect-"+name, topic, p)
			}
			return sum == total
		}, 20*time.Second, 20*time.Millisecond)
	}
}

func TestARetriableErrorDeliversTheSameBatchAgain(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	fill(t, kafka, topic, 0, 10)
	s := newScript(name)
	var tries atomic.Int64
	var first []string
	s.put = func(recs []plugins.SinkRecord, _ plugins.SinkEnv) error {
		if len(recs) == 0 || tries.Add(1) > 3 {
			return nil
		}
		ids := ""
		for i := range recs {
			ids += fmt.Sprint(recs[i].Offset, ",")
		}
		first = append(first, ids)
		return plugins.Retriable(errors.New("busy"))
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	w.MustCreate(name, sinkConfig(name, topic))
	require.Eventually(t, func() bool { return len(s.records()) == 10 }, 30*time.Second, 5*time.Millisecond)
	require.Len(t, first, 3)
	require.Equal(t, first[0], first[1])
	require.Equal(t, first[0], first[2])
	w.Await(name, "RUNNING", "RUNNING")
}

func TestASinkThatFailsCommitsNothing(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	fill(t, kafka, topic, 0, 10)
	s := newScript(name)
	s.put = func(recs []plugins.SinkRecord, _ plugins.SinkEnv) error {
		if len(recs) > 0 {
			return errors.New("disk full")
		}
		return nil
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	w.MustCreate(name, sinkConfig(name, topic))
	w.Await(name, "RUNNING", "FAILED")
	st, err := w.TaskStatus(name, 0)
	require.NoError(t, err)
	require.Contains(t, st.Trace, "disk full")
	require.Equal(t, int64(-1), committed(t, kafka, "connect-"+name, topic, 0))
	s.mu.Lock()
	s.put = nil
	s.mu.Unlock()
	_, err = w.Restart(context.Background(), name, true, true)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(s.records()) == 10 }, 30*time.Second, 5*time.Millisecond)
}

func TestASinkThatFailsHasCommittedWhatIsSafe(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	fill(t, kafka, topic, 0, 10)
	s := newScript(name)
	s.hold = map[plugins.TopicPartition]int64{{Topic: topic}: 7}
	s.put = func(recs []plugins.SinkRecord, _ plugins.SinkEnv) error {
		if len(recs) > 0 && recs[0].Offset >= 10 {
			return errors.New("disk full")
		}
		return nil
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	w.MustCreate(name, sinkConfig(name, topic))
	require.Eventually(t, func() bool { return len(s.records()) == 10 }, 30*time.Second, 5*time.Millisecond)
	fill(t, kafka, topic, 10, 1)
	w.Await(name, "RUNNING", "FAILED")
	require.Equal(t, int64(7), committed(t, kafka, "connect-"+name, topic, 0), "what it held back is not made safe by a failure")
}

func TestASinkThatPanicsFailsAndCommitsNothing(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	fill(t, kafka, topic, 0, 10)
	s := newScript(name)
	s.put = func(recs []plugins.SinkRecord, _ plugins.SinkEnv) error {
		if len(recs) > 0 && recs[0].Offset >= 10 {
			panic("what now")
		}
		return nil
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	w.MustCreate(name, sinkConfig(name, topic))
	require.Eventually(t, func() bool { return len(s.records()) == 10 }, 30*time.Second, 5*time.Millisecond)
	fill(t, kafka, topic, 10, 1)
	w.Await(name, "RUNNING", "FAILED")
	st, err := w.TaskStatus(name, 0)
	require.NoError(t, err)
	require.Contains(t, st.Trace, "panic: what now")
	require.Equal(t, int64(-1), committed(t, kafka, "connect-"+name, topic, 0))
}

func TestOnlySafeOffsetsAreCommitted(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	s := newScript(name)
	s.hold = map[plugins.TopicPartition]int64{{Topic: topic}: 4}
	fill(t, kafka, topic, 0, 10)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	w.MustCreate(name, sinkConfig(name, topic))
	require.Eventually(t, func() bool { return committed(t, kafka, "connect-"+name, topic, 0) == 4 }, 30*time.Second, 20*time.Millisecond)
	require.Len(t, s.records(), 10)
	// An orderly stop asks for everything to be made safe.
	require.NoError(t, w.Stop(context.Background(), name))
	w.Await(name, "STOPPED")
	require.Eventually(t, func() bool { return committed(t, kafka, "connect-"+name, topic, 0) == 10 }, 10*time.Second, 20*time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Equal(t, []plugins.TopicPartition{{Topic: topic}}, s.closed)
	require.Equal(t, 1, s.stops)
}

func TestBadRecordsGoToTheDeadLetterTopicWithTheirStory(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	produce(t, kafka,
		&kgo.Record{Topic: topic, Value: []byte("1")},
		&kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("{bad"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}},
		&kgo.Record{Topic: topic, Value: []byte("3")},
		&kgo.Record{Topic: topic, Value: []byte("4")},
		&kgo.Record{Topic: topic, Value: []byte("{also bad")})
	s := newScript(name)
	s.put = func(recs []plugins.SinkRecord, env plugins.SinkEnv) error {
		for i := range recs {
			if recs[i].Value.String() == "4" {
				env.Report(&recs[i], plugins.Dataf("four is refused"), nil)
			}
		}
		return nil
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	dlq := unique(t, "dlq")
	w.MustCreate(name, sinkConfig(name, topic, "errors.tolerance", "all", "errors.deadletterqueue.topic.name", dlq, "errors.deadletterqueue.context.headers.enable", "true", "key.converter", "org.apache.kafka.connect.storage.StringConverter"))
	bad := consume(t, kafka, dlq, 3)
	byOffset := map[string]*kgo.Record{}
	header := func(r *kgo.Record, name string) string {
		for _, h := range r.Headers {
			if h.Key == name {
				return string(h.Value)
			}
		}
		return "(none)"
	}
	for _, r := range bad {
		byOffset[header(r, "__connect.errors.offset")] = r
	}
	r := byOffset["1"]
	require.Equal(t, "k", string(r.Key))
	require.Equal(t, "{bad", string(r.Value))
	require.Equal(t, "v", header(r, "h"))
	for k, want := range map[string]string{
		"topic": topic, "partition": "0", "connector.name": name, "task.id": "0", "stage": "VALUE_CONVERTER",
		"class.name": "org.apache.kafka.connect.json.JsonConverter", "exception.class.name": "org.apache.kafka.connect.errors.DataException",
	} {
		require.Equal(t, want, header(r, "__connect.errors."+k), k)
	}
	require.NotEmpty(t, header(r, "__connect.errors.exception.message"))
	require.NotEmpty(t, header(r, "__connect.errors.exception.stacktrace"))
	require.Equal(t, "TASK_PUT", header(byOffset["3"], "__connect.errors.stage"))
	require.Equal(t, "four is refused", header(byOffset["3"], "__connect.errors.exception.message"))
	require.Equal(t, "test.ScriptSinkConnector", header(byOffset["3"], "__connect.errors.class.name"))
	require.Eventually(t, func() bool { return committed(t, kafka, "connect-"+name, topic, 0) == 5 }, 20*time.Second, 20*time.Millisecond, "a bad last record is passed as well")
	require.Len(t, s.records(), 3)
	w.Await(name, "RUNNING", "RUNNING")
}

func TestABadRecordFailsATaskThatToleratesNone(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	produce(t, kafka, &kgo.Record{Topic: topic, Value: []byte("{bad")})
	s := newScript(name)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	w.MustCreate(name, sinkConfig(name, topic))
	w.Await(name, "RUNNING", "FAILED")
	st, err := w.TaskStatus(name, 0)
	require.NoError(t, err)
	require.Contains(t, st.Trace, "org.apache.kafka.connect.errors.ConnectException: Tolerance exceeded in error handler\nCaused by: org.apache.kafka.connect.errors.DataException: ")
	require.Empty(t, s.records())
}

func TestTasksShareAndPassOnPartitions(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 4)
	s := newScript(name)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	w.MustCreate(name, sinkConfig(name, topic, "tasks.max", "3"))
	w.Await(name, "RUNNING", "RUNNING", "RUNNING", "RUNNING")
	var stop atomic.Bool
	var wg sync.WaitGroup
	sent := 0
	wg.Go(func() {
		for !stop.Load() {
			fill(t, kafka, topic, sent, 20)
			sent += 20
		}
	})
	for i := range 3 {
		before := len(s.records())
		require.Eventually(t, func() bool { return len(s.records()) > before+50 }, 30*time.Second, time.Millisecond)
		require.NoError(t, w.RestartTask(context.Background(), name, i))
	}
	stop.Store(true)
	wg.Wait()
	require.Eventually(t, func() bool { return len(values(s.records())) == sent }, 40*time.Second, 10*time.Millisecond)
	w.Await(name, "RUNNING", "RUNNING", "RUNNING", "RUNNING")
	// Orderly hand-overs commit what was put, so that nothing comes twice.
	for v, n := range values(s.records()) {
		require.Equal(t, 1, n, "value %d", v)
	}
}

func TestATaskPausesAndRewindsPartitions(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	fill(t, kafka, topic, 0, 5)
	tp := plugins.TopicPartition{Topic: topic}
	s := newScript(name)
	envs := make(chan plugins.SinkEnv, 1)
	var once sync.Once
	s.put = func(recs []plugins.SinkRecord, env plugins.SinkEnv) error {
		if len(recs) > 0 {
			once.Do(func() {
				env.Pause(tp)
				envs <- env
			})
		}
		return nil
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	w.MustCreate(name, sinkConfig(name, topic))
	env := <-envs
	require.Eventually(t, func() bool { return len(s.records()) == 5 }, 10*time.Second, time.Millisecond)
	fill(t, kafka, topic, 5, 5)
	time.Sleep(300 * time.Millisecond)
	require.Len(t, s.records(), 5, "a paused partition brings nothing")
	env.Resume(tp)
	require.Eventually(t, func() bool { return len(s.records()) == 10 }, 10*time.Second, time.Millisecond)
	env.Rewind(tp, 7)
	require.Eventually(t, func() bool { return len(s.records()) == 13 }, 10*time.Second, time.Millisecond)
	require.Equal(t, map[int]int{0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 2, 8: 2, 9: 2}, values(s.records()))
}

func TestAPausedSinkKeepsItsPartitionsAndItsPlace(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	s := newScript(name)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	ctx := context.Background()
	w.MustCreate(name, sinkConfig(name, topic))
	fill(t, kafka, topic, 0, 5)
	require.Eventually(t, func() bool { return len(s.records()) == 5 }, 20*time.Second, time.Millisecond)
	require.NoError(t, w.Pause(ctx, name))
	w.Await(name, "PAUSED", "PAUSED")
	fill(t, kafka, topic, 5, 5)
	time.Sleep(200 * time.Millisecond)
	require.Len(t, s.records(), 5)
	require.NoError(t, w.Resume(ctx, name))
	w.Await(name, "RUNNING", "RUNNING")
	require.Eventually(t, func() bool { return len(s.records()) == 10 }, 20*time.Second, time.Millisecond)
	require.Len(t, values(s.records()), 10)
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Len(t, s.opened, 1)
}

func TestTopicsAreFoundByTheirName(t *testing.T) {
	kafka, name := cluster(t), unique(t, "s")
	createTopic(t, kafka, name+"-a", 1)
	createTopic(t, kafka, name+"-b", 1)
	createTopic(t, kafka, "not-"+name, 1)
	for _, topic := range []string{name + "-a", name + "-b", "not-" + name} {
		fill(t, kafka, topic, 0, 1)
	}
	s := newScript(name)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	c := sinkConfig(name, "", "topics.regex", name+"-.*")
	delete(c, "topics")
	w.MustCreate(name, c)
	require.Eventually(t, func() bool { return len(s.records()) == 2 }, 20*time.Second, time.Millisecond)
	require.Eventually(t, func() bool {
		topics, err := w.ActiveTopics(name)
		return err == nil && slices.Equal(topics, []string{name + "-a", name + "-b"})
	}, 10*time.Second, 5*time.Millisecond)
}

func TestTransformsSeeSinkRecordsAndDropThem(t *testing.T) {
	kafka, topic, name := cluster(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	fill(t, kafka, topic, 0, 4)
	s := newScript(name)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	w.MustCreate(name, sinkConfig(name, topic, "transforms", "m,d", "transforms.m.type", "test.Fail", "transforms.m.what", "upper", "transforms.d.type", "test.Fail", "transforms.d.what", "drop", "transforms.d.match", "3"))
	require.Eventually(t, func() bool { return len(s.records()) == 3 }, 20*time.Second, time.Millisecond)
	for i, r := range s.records() {
		require.Equal(t, topic+"-moved", r.Topic)
		require.Equal(t, topic, r.OriginalTopic)
		require.Equal(t, int64(i), r.Offset)
		require.Equal(t, strconv.Itoa(i), string(r.Raw.Value))
	}
	require.Eventually(t, func() bool { return committed(t, kafka, "connect-"+name, topic, 0) == 4 }, 20*time.Second, 20*time.Millisecond)
}
