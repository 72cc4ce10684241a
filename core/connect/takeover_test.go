package connect_test

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/connect"
	"github.com/moldau-io/moldau/core/connect/connecttest"
	"github.com/moldau-io/moldau/core/kafkaclient"
	"github.com/moldau-io/moldau/plugins"
)

// TestAKafkaConnectClusterIsTakenOver starts a worker on the very records that a Kafka Connect 4.3 left behind: connectors running, paused,
// stopped and failed, others removed, all with the history that led there.
func TestAKafkaConnectClusterIsTakenOver(t *testing.T) {
	kafka, props, dir := cluster(t), internalTopics(t), t.TempDir()
	for k, n := range map[string]int32{"config": 1, "offset": 25, "status": 5} {
		createTopic(t, kafka, props[k+".storage.topic"], n)
		setCompact(t, kafka, props[k+".storage.topic"])
	}
	topics := map[string]string{"configs": props["config.storage.topic"], "offsets": props["offset.storage.topic"], "status": props["status.storage.topic"]}
	f, err := os.Open("testdata/kafka-connect-topics.jsonl")
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	cl, err := kgo.NewClient(append(kafka, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	require.NoError(t, err)
	defer cl.Close()
	var recs []*kgo.Record
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	here := strings.NewReplacer("/srv/files", dir)
	for sc.Scan() {
		var d dumped
		require.NoError(t, json.Unmarshal(sc.Bytes(), &d))
		r := &kgo.Record{Topic: topics[d.Topic], Partition: d.Partition, Key: []byte(here.Replace(d.Key))}
		if d.Value != nil {
			r.Value = []byte(here.Replace(*d.Value))
		}
		recs = append(recs, r)
	}
	require.NoError(t, cl.ProduceSync(context.Background(), recs...).FirstErr())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "in.txt"), []byte("a\nb\nc\nd\n"), 0o600))
	createTopic(t, kafka, "lines", 1)

	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
	w.Await("file-source-1", "RUNNING", "RUNNING")
	w.Await("sink-2", "RUNNING", "RUNNING", "RUNNING")
	w.Await("stopped", "STOPPED")
	w.Await("paused-ünï", "PAUSED", "PAUSED")
	w.Await("broken", "RUNNING", "FAILED")
	names, err := w.Connectors()
	require.NoError(t, err)
	require.Equal(t, []string{"broken", "file-source-1", "paused-ünï", "sink-2", "stopped"}, names)
	require.Equal(t, "d", string(consume(t, kafka, "lines", 1)[0].Value), "the source goes on at its stored position")
	require.Eventually(t, func() bool {
		b, _ := os.ReadFile(filepath.Join(dir, "out.txt"))
		return string(b) == "d\n"
	}, 20*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		offs, err := w.Offsets(context.Background(), "file-source-1")
		return err == nil && len(offs.Offsets) == 1 && offs.Offsets[0].Offset["position"] == int64(8)
	}, 20*time.Second, 10*time.Millisecond)
	w.Shutdown()

	// What is written lies where Kafka Connect looks for it, and reads as what it writes.
	have := []string{}
	for _, r := range consume(t, kafka, props["offset.storage.topic"], 6) {
		have = append(have, string(r.Key)+" "+string(r.Value))
	}
	require.Contains(t, have, `["file-source-1",{"filename":"`+filepath.Join(dir, "in.txt")+`"}] {"position":8}`)
}

func TestRecordsAreThoseOfKafkaConnect(t *testing.T) {
	kafka, props, dir := cluster(t), internalTopics(t), t.TempDir()
	in := filepath.Join(dir, "in")
	require.NoError(t, os.WriteFile(in, []byte("x\n"), 0o600))
	topic := unique(t, "lines")
	createTopic(t, kafka, topic, 1)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
	ctx := context.Background()
	w.MustCreate("src", map[string]string{"connector.class": "FileStreamSource", "file": in, "topic": topic})
	w.Await("src", "RUNNING", "RUNNING")
	consume(t, kafka, topic, 1)
	_, err := w.Restart(ctx, "src", true, false)
	require.NoError(t, err)
	require.NoError(t, w.Pause(ctx, "src"))
	w.Await("src", "PAUSED", "PAUSED")
	require.NoError(t, w.Stop(ctx, "src"))
	w.Await("src", "STOPPED")
	require.NoError(t, w.Delete(ctx, "src"))
	require.Eventually(t, func() bool { return w.State("src") == nil }, 10*time.Second, 5*time.Millisecond)
	w.Shutdown()
	lines := func(topic string, n int) (out []string) {
		for _, r := range consume(t, kafka, topic, n) {
			v := "null"
			if r.Value != nil {
				v = string(r.Value)
			}
			out = append(out, string(r.Key)+" "+v)
		}
		return out
	}
	q := `"` + in + `"`
	want := []string{
		`connector-src {"properties":{"connector.class":"FileStreamSource","file":` + q + `,"name":"src","topic":"` + topic + `"}}`,
		`task-src-0 {"properties":{"connector.class":"FileStreamSource","file":` + q + `,"name":"src","task.class":"org.apache.kafka.connect.file.FileStreamSourceTask","topic":"` + topic + `"}}`,
		`commit-src {"tasks":1}`,
		`restart-connector-src {"include-tasks":true,"only-failed":false}`,
		`target-state-src {"state":"PAUSED","state.v2":"PAUSED"}`,
		`target-state-src {"state":"PAUSED","state.v2":"STOPPED"}`,
		`commit-src {"tasks":0}`,
		`connector-src null`,
		`target-state-src null`,
	}
	if hasTransactions(t, kafka) { // KIP-618: once the tasks from before can write no more, how many there are now
		want = slices.Insert(want, 3, `tasks-fencing-src {"task-count":1}`)
	}
	require.Equal(t, want, sorted(lines(props["config.storage.topic"], len(want))))
	st := lines(props["status.storage.topic"], 10)
	require.Contains(t, st, `status-connector-src {"state":"RUNNING","trace":null,"worker_id":"127.0.0.1:8083","generation":1,"version":"1.0.0"}`)
	require.Contains(t, st, `status-task-src-0 {"state":"PAUSED","trace":null,"worker_id":"127.0.0.1:8083","generation":1,"version":"1.0.0"}`)
	require.Contains(t, st, `status-connector-src {"state":"STOPPED","trace":null,"worker_id":"127.0.0.1:8083","generation":1,"version":"1.0.0"}`)
	require.Contains(t, st, `status-task-src-0 null`)
	require.Equal(t, []string{`["src",{"filename":` + q + `}] {"position":2}`}, lines(props["offset.storage.topic"], 1))
}

// sorted gives the members of properties, which come in the order of a hash map, a fixed order.
func sorted(lines []string) []string {
	for i, l := range lines {
		key, v, _ := strings.Cut(l, " ")
		var m map[string]map[string]string
		if json.Unmarshal([]byte(v), &m) == nil && m["properties"] != nil {
			b, _ := json.Marshal(m)
			lines[i] = key + " " + string(b)
		}
	}
	return lines
}

func TestAnUnsuitableInternalTopicIsRefused(t *testing.T) {
	kafka, props := cluster(t), internalTopics(t)
	createTopic(t, kafka, props["config.storage.topic"], 2)
	setCompact(t, kafka, props["config.storage.topic"])
	err := runWorker(t, kafka, props)
	require.ErrorContains(t, err, "supplied via the 'config.storage.topic' property is required to have a single partition in order to guarantee consistency of connector configurations, but found 2 partitions")
	props = internalTopics(t)
	createTopic(t, kafka, props["status.storage.topic"], 1)
	require.ErrorContains(t, runWorker(t, kafka, props), "is required to have 'cleanup.policy=compact'")
	props = internalTopics(t)
	props["internal.topics.automatic.creation.enable"] = "false"
	require.ErrorContains(t, runWorker(t, kafka, props), "does not exist and internal.topics.automatic.creation.enable is false")
}

func TestAWorkerDoesNotRunBesideALiveCluster(t *testing.T) {
	kafka, props := cluster(t), internalTopics(t)
	createTopic(t, kafka, "x", 1)
	cl, err := kgo.NewClient(append(kafka, kgo.ConsumerGroup(props["group.id"]), kgo.ConsumeTopics("x"))...)
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	cl.PollFetches(ctx)
	require.ErrorContains(t, runWorker(t, kafka, props), "has 1 active members: another Connect cluster is running on it")
}

func TestAWorkerWaitsForTheGroupsOfAYoungCluster(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	require.NoError(t, err)
	defer c.Close()
	props := internalTopics(t)
	asked := 0
	c.ControlKey(int16(kmsg.DescribeGroups), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		res := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
		g := kmsg.NewDescribeGroupsResponseGroup()
		g.Group = props["group.id"]
		if asked++; asked <= 2 {
			g.ErrorCode = kerr.CoordinatorNotAvailable.Code
		} else {
			g.State, g.ProtocolType = "Stable", "connect"
			g.Members = append(g.Members, kmsg.NewDescribeGroupsResponseGroupMember())
		}
		res.Groups = append(res.Groups, g)
		return res, nil, true
	})
	require.ErrorContains(t, runWorker(t, []kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}, props), "has 1 active members")
	require.Equal(t, 3, asked)
}

func TestOfTwoWorkersTheLaterOneWins(t *testing.T) {
	kafka, props, topic, name := cluster(t), internalTopics(t), unique(t, "t"), unique(t, "s")
	createTopic(t, kafka, topic, 1)
	s := newScript(name)
	s.poll = func(ctx context.Context, n int64) ([]plugins.SourceRecord, error) {
		pause(ctx, time.Millisecond)
		return sequence(topic, n, 1), nil
	}
	first := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
	first.MustCreate("c", map[string]string{"connector.class": "ScriptSource", "script": name})
	first.Await("c", "RUNNING", "RUNNING")
	second := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props, Config: func(c *connect.Config) { c.AdvertisedURL = "http://127.0.0.1:9999" }})
	require.Eventually(t, func() bool { return first.Health().Status == "unhealthy" }, 20*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.stops == 1 }, 20*time.Second, 5*time.Millisecond)
	_, err := first.Connectors()
	require.EqualError(t, err, "This worker has been succeeded by worker 127.0.0.1:9999, which runs the connectors now")
	first.Shutdown()
	second.Await("c", "RUNNING", "RUNNING")
	st, err := second.TaskStatus("c", 0)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:9999", st.WorkerID)
}

// TestAnExactlyOnceClusterOfKafkaConnectIsTakenOver starts a worker on what a Kafka Connect 4.3 with exactly-once sources left behind when it
// was killed: a task in the middle of a transaction, and a leader in the middle of a write.
func TestAnExactlyOnceClusterOfKafkaConnectIsTakenOver(t *testing.T) {
	kafka, props, dir, topic := transactionalCluster(t), internalTopics(t), t.TempDir(), unique(t, "lines")
	config, offset, group := props["config.storage.topic"], props["offset.storage.topic"], props["group.id"]
	for k, n := range map[string]int32{"config": 1, "offset": 25, "status": 5} {
		createTopic(t, kafka, props[k+".storage.topic"], n)
		setCompact(t, kafka, props[k+".storage.topic"])
	}
	createTopic(t, kafka, topic, 1)
	in := filepath.Join(dir, "in.txt")
	require.NoError(t, os.WriteFile(in, []byte("a\nb\nc\nd\ne\nf\n"), 0o600))
	here := strings.NewReplacer("/srv/in.txt", in, `"lines"`, `"`+topic+`"`)
	ctx := context.Background()
	producer := func(id string) *kgo.Client {
		cl, err := kgo.NewClient(append([]kgo.Opt{kgo.TransactionalID(id)}, kafka...)...)
		require.NoError(t, err)
		return cl
	}
	txn := func(cl *kgo.Client, commit bool, recs ...*kgo.Record) {
		require.NoError(t, cl.BeginTransaction())
		require.NoError(t, cl.ProduceSync(ctx, recs...).FirstErr())
		if commit {
			require.NoError(t, kafkaclient.EndTransaction(ctx, cl, kgo.TryCommit))
		}
	}
	rec := func(topic, key, value string) *kgo.Record {
		r := &kgo.Record{Topic: topic, Value: []byte(here.Replace(value))}
		if key != "" {
			r.Key = []byte(here.Replace(key))
		}
		return r
	}
	leader, task := producer("connect-cluster-"+group), producer(group+"-src-0")
	for _, kv := range [][2]string{
		{"session-key", `{"key":"e/IoMnzlgO5brVVNvugAPRIgB11IYsS9kxiOrS9X0GE=","algorithm":"HmacSHA256","creation-timestamp":1795268591005}`},
		{"connector-src", `{"properties":{"connector.class":"FileStreamSource","topic":"lines","file":"/srv/in.txt","tasks.max":"1","name":"src"}}`},
		{"task-src-0", `{"properties":{"connector.class":"FileStreamSource","file":"/srv/in.txt","task.class":"org.apache.kafka.connect.file.FileStreamSourceTask","tasks.max":"1","name":"src","topic":"lines"}}`},
		{"commit-src", `{"tasks":1}`},
		{"tasks-fencing-src", `{"task-count":1}`},
	} {
		txn(leader, true, rec(config, kv[0], kv[1]))
	}
	position := `["src",{"filename":"/srv/in.txt"}]`
	txn(task, true, rec(topic, "", "a"), rec(topic, "", "b"), rec(topic, "", "c"), rec(offset, position, `{"position":6}`))
	txn(task, true, rec(topic, "", "d"), rec(offset, position, `{"position":8}`))
	txn(leader, false, rec(config, "connector-ghost", `{"properties":{"connector.class":"FileStreamSource","topic":"ghost","name":"ghost"}}`))
	txn(task, false, rec(topic, "", "e"), rec(offset, position, `{"position":10}`))
	leader.Close()
	task.Close()

	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
	w.Await("src", "RUNNING", "RUNNING")
	names, err := w.Connectors()
	require.NoError(t, err)
	require.Equal(t, []string{"src"}, names)
	require.Eventually(t, func() bool {
		offs, err := w.Offsets(ctx, "src")
		return err == nil && len(offs.Offsets) == 1 && offs.Offsets[0].Offset["position"] == int64(12)
	}, 20*time.Second, 10*time.Millisecond)
	var have []string
	for _, r := range readCommitted(t, kafka, topic) {
		have = append(have, strings.Trim(string(r.Value), `"`))
	}
	require.Equal(t, []string{"a", "b", "c", "d", "e", "f"}, have)

	// The session key that the old leader left signs requests (KIP-507).
	mac := func(body string) string {
		key, err := base64.StdEncoding.DecodeString("e/IoMnzlgO5brVVNvugAPRIgB11IYsS9kxiOrS9X0GE=")
		require.NoError(t, err)
		h := hmac.New(sha256.New, key)
		h.Write([]byte(body))
		return base64.StdEncoding.EncodeToString(h.Sum(nil))
	}
	require.NoError(t, w.CheckSignature(nil, mac(""), "HmacSHA256"))
	require.EqualError(t, w.CheckSignature(nil, "YWJj", "HmacSHA256"), "Internal request contained invalid signature.")
	require.EqualError(t, w.CheckSignature([]byte("x"), mac(""), "HmacSHA256"), "Internal request contained invalid signature.")
	require.EqualError(t, w.CheckSignature(nil, "YWJj", "Bogus"), "Algorithm Bogus not available")
	require.EqualError(t, w.CheckSignature(nil, "", "HmacSHA256"), "Internal request missing required signature")
	require.NoError(t, w.Fence(ctx, "src"))
}
