package connect_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/connect"
	"github.com/moldau-io/moldau/core/connect/api"
	"github.com/moldau-io/moldau/core/connect/connecttest"
	"github.com/moldau-io/moldau/plugins"
)

func setCompact(t *testing.T, kafka []kgo.Opt, topic string) {
	t.Helper()
	cl, err := kgo.NewClient(kafka...)
	require.NoError(t, err)
	defer cl.Close()
	v := "compact"
	_, err = kadm.NewClient(cl).AlterTopicConfigs(context.Background(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &v}}, topic)
	require.NoError(t, err)
}

// runWorker runs a worker that is expected to give up.
func runWorker(t *testing.T, kafka []kgo.Opt, props map[string]string) error {
	t.Helper()
	props["key.converter"], props["value.converter"] = "org.apache.kafka.connect.json.JsonConverter", "org.apache.kafka.connect.json.JsonConverter"
	w, err := connect.New(connect.Config{KafkaOpts: kafka, Plugins: registry(), Properties: props, AdvertisedURL: "http://h:1"})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return w.Run(ctx)
}

// secretStore resolves ${vault::name}.
type secretStore map[string]string

func (s secretStore) Resolve(_ context.Context, props map[string]string) (map[string]string, error) {
	out := map[string]string{}
	for k, v := range props {
		for name, secret := range s {
			v = strings.ReplaceAll(v, "${vault::"+name+"}", secret)
		}
		if strings.Contains(v, "${vault::") {
			return nil, fmt.Errorf("%s: no such secret in %s", k, v)
		}
		out[k] = v
	}
	return out, nil
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestSecretsAreResolvedAtUseAndShownNowhere(t *testing.T) {
	kafka, name, props := cluster(t), unique(t, "s"), internalTopics(t)
	s := newScript(name)
	var seen string
	s.poll = func(context.Context, int64) ([]plugins.SourceRecord, error) {
		return nil, fmt.Errorf("login with %s and %s failed", "hunter2-password", "tokenvalue99")
	}
	logs := &syncBuffer{}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props, Resolver: secretStore{"pw": "hunter2-password", "tok": "tokenvalue99"}, Logger: slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	config := map[string]string{"connector.class": "ScriptSource", "script": name, "secret": "${vault::pw}", "token": "t-${vault::tok}", "name": name}
	_, err := w.Create(context.Background(), api.CreateRequest{Name: name, Config: config})
	require.NoError(t, err)
	w.Await(name, "RUNNING", "FAILED")
	st, err := w.TaskStatus(name, 0)
	require.NoError(t, err)
	require.Contains(t, st.Trace, "login with [hidden] and [hidden] failed")
	cfg, err := w.ConnectorConfig(name)
	require.NoError(t, err)
	require.Equal(t, config, cfg)
	tasks, err := w.Tasks(name)
	require.NoError(t, err)
	require.Equal(t, "${vault::pw}", tasks[0].Config["secret"])
	infos, err := w.Validate(context.Background(), "ScriptSource", config)
	require.NoError(t, err)
	for _, c := range infos.Configs {
		if c.Value.Value != nil {
			seen += *c.Value.Value
		}
	}
	config["token"] = "${vault::missing}"
	_, _, err = w.PutConfig(context.Background(), name, config)
	require.ErrorContains(t, err, "no such secret")
	config["token"], config["secret"] = "nostart", "${vault::pw}"
	_, _, err = w.PutConfig(context.Background(), name, config)
	require.NoError(t, err)
	require.Eventually(t, func() bool { s := w.State(name); return len(s) > 0 && s[0] == "FAILED" }, 10*time.Second, 5*time.Millisecond)
	cst, err := w.ConnectorStatus(name)
	require.NoError(t, err)
	require.Contains(t, cst.Connector.Trace, "cannot log in with [hidden]")
	w.Shutdown()
	all := logs.String() + seen + fmt.Sprint(cst)
	for _, topic := range []string{"config", "status"} {
		for _, r := range consume(t, kafka, props[topic+".storage.topic"], 3) {
			all += string(r.Value)
		}
	}
	require.NotContains(t, all, "hunter2")
	require.NotContains(t, all, "tokenvalue99")
	require.Contains(t, logs.String(), "login with [hidden]")
}

func TestAChangedConfigurationReachesConnectorAndTasks(t *testing.T) {
	kafka, name := cluster(t), unique(t, "s")
	a, b := newScript(name+"a"), newScript(name+"b")
	idle := func(ctx context.Context, _ int64) ([]plugins.SourceRecord, error) {
		pause(ctx, 5*time.Millisecond)
		return nil, nil
	}
	a.poll, b.poll = idle, idle
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	ctx := context.Background()
	w.MustCreate(name, map[string]string{"connector.class": "ScriptSource", "script": name + "a"})
	w.Await(name, "RUNNING", "RUNNING")
	info, created, err := w.PutConfig(ctx, name, map[string]string{"name": name, "connector.class": "ScriptSource", "script": name + "b", "tasks.max": "3"})
	require.NoError(t, err)
	require.False(t, created)
	require.Equal(t, "3", info.Config["tasks.max"])
	w.Await(name, "RUNNING", "RUNNING", "RUNNING", "RUNNING")
	require.Eventually(t, func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.stops == 1 }, 10*time.Second, 5*time.Millisecond)
	one := "1"
	_, err = w.PatchConfig(ctx, name, map[string]*string{"tasks.max": &one, "script": nil})
	require.ErrorContains(t, err, `Missing required configuration "script" which has no default value.`)
	_, err = w.PatchConfig(ctx, name, map[string]*string{"tasks.max": &one})
	require.NoError(t, err)
	w.Await(name, "RUNNING", "RUNNING")

	// More tasks than allowed fail the connector, unless that is not enforced.
	extra, no := "2", "false"
	_, err = w.PatchConfig(ctx, name, map[string]*string{"tasks.extra": &extra})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return w.State(name)[0] == "FAILED" }, 10*time.Second, 5*time.Millisecond)
	_, err = w.PatchConfig(ctx, name, map[string]*string{"tasks.max.enforce": &no})
	require.NoError(t, err)
	w.Await(name, "RUNNING", "RUNNING", "RUNNING", "RUNNING")
}

func TestAConnectorIsBornInItsInitialState(t *testing.T) {
	kafka := cluster(t)
	s := newScript("born")
	s.poll = func(ctx context.Context, _ int64) ([]plugins.SourceRecord, error) {
		pause(ctx, 5*time.Millisecond)
		return nil, nil
	}
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	for _, st := range []string{"PAUSED", "STOPPED", "running"} {
		name := "c" + strings.ToLower(st)
		_, err := w.Create(context.Background(), api.CreateRequest{Name: name, InitialState: st, Config: map[string]string{"name": name, "connector.class": "ScriptSource", "script": "born"}})
		require.NoError(t, err)
		if st == "running" {
			w.Await(name, "RUNNING", "RUNNING")
			continue
		}
		w.Await(name, st)
		require.NoError(t, w.Resume(context.Background(), name))
		w.Await(name, "RUNNING", "RUNNING")
	}
}

func TestBadConfigurationsAreRefusedByKey(t *testing.T) {
	kafka := cluster(t)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t)})
	for _, c := range []struct {
		config map[string]string
		want   string
	}{
		{map[string]string{"connector.class": "ScriptSource", "script": "x", "tasks.max": "0"}, "Invalid value 0 for configuration tasks.max: Value must be at least 1"},
		{map[string]string{"connector.class": "ScriptSource", "script": "x", "token": "forbidden"}, "the token forbidden is forbidden"},
		{map[string]string{"connector.class": "PlainSource", "script": "x", "exactly.once.support": "required"}, "The connector does not implement the API required for preflight validation of exactly-once source support."},
		{map[string]string{"connector.class": "ScriptSource", "script": "x", "producer.override.foo": "1"}, `Unknown configuration "foo"`},
		{map[string]string{"connector.class": "ScriptSource", "script": "x", "producer.override.acks": "2"}, "Invalid value 2 for configuration producer.override.acks: String must be one of: all, -1, 1, 0"},
		{map[string]string{"connector.class": "ScriptSource", "script": "x", "consumer.override.max.poll.records": "2"}, "a source connector has no consumer"},
		{map[string]string{"connector.class": "ScriptSource", "script": "x", "topic.creation.default.partitions": "2"}, `Missing required configuration "topic.creation.default.replication.factor" which has no default value.`},
		{map[string]string{"connector.class": "ScriptSource", "script": "x", "transforms": "a"}, `Missing required configuration "transforms.a.type" which has no default value.`},
		{map[string]string{"connector.class": "ScriptSource", "script": "x", "transforms": "a", "transforms.a.type": "nope"}, "Invalid value nope for configuration transforms.a.type: Class nope could not be found."},
		{map[string]string{"connector.class": "ScriptSource", "script": "x", "transforms": "a", "transforms.a.type": "test.Fail", "transforms.a.predicate": "p"}, "there is no predicate of this name in predicates"},
		{map[string]string{"connector.class": "ScriptSource", "script": "x", "key.converter": "nope"}, "Invalid value nope for configuration key.converter: Class nope could not be found."},
		{map[string]string{"connector.class": "ScriptSink", "script": "x"}, "Must configure one of topics or topics.regex"},
		{map[string]string{"connector.class": "ScriptSink", "script": "x", "topics.regex": "(a"}, "Invalid value (a for configuration topics.regex: Invalid regex: "},
	} {
		config := map[string]string{"name": "n"}
		for k, v := range c.config {
			config[k] = v
		}
		_, err := w.Create(context.Background(), api.CreateRequest{Name: "n", Config: config})
		var e *api.Error
		require.ErrorAs(t, err, &e, "%v", c.config)
		require.Equal(t, 400, e.Code)
		require.Contains(t, e.Message, c.want)
		require.Contains(t, e.Message, "Connector configuration is invalid and contains the following ")
	}
}

func TestWorkerPropertiesAreChecked(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"exactly.once.source.support", "maybe", "String must be one of (case insensitive): DISABLED, ENABLED, PREPARING"},
		{"plugin.path", "/opt", "plugins are compiled in"},
		{"ofset.flush.interval.ms", "1", `Did you mean "offset.flush.interval.ms"?`},
		{"key.converter", "nope", "Class nope could not be found."},
		{"producer.foo", "1", `Unknown configuration "foo"`},
		{"session.timeout.ms", "30000", "not supported by moldau: this worker joins no group"},
		{"heartbeat.interval.ms", "1000", "not supported by moldau: this worker joins no group"},
		{"rebalance.timeout.ms", "1000", "not supported by moldau: this worker joins no group"},
		{"status.storage.topic", "connect-configs", "it is the topic of config.storage.topic as well"},
		{"listeners.https.ssl.keystore.location", "x", "TLS on the REST API is left to a proxy"},
	} {
		_, err := connect.New(connect.Config{Plugins: registry(), Properties: map[string]string{c.key: c.value}, AdvertisedURL: "http://h:1"})
		require.ErrorContains(t, err, c.want, c.key)
	}
	_, err := connect.New(connect.Config{Plugins: registry(), AdvertisedURL: "h"})
	require.ErrorContains(t, err, "has no host and port")
	_, err = connect.New(connect.Config{Plugins: registry(), AdvertisedURL: "http://h:1"})
	require.NoError(t, err, "the defaults do")
}

func TestMetricsHaveTheNamesThatDashboardsLookFor(t *testing.T) {
	kafka, name, topic := cluster(t), unique(t, "s"), unique(t, "t")
	createTopic(t, kafka, topic, 1)
	s := newScript(name)
	s.poll = func(ctx context.Context, n int64) ([]plugins.SourceRecord, error) {
		pause(ctx, time.Millisecond)
		return sequence(topic, n, 1), nil
	}
	reg := prometheus.NewRegistry()
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: internalTopics(t), Config: func(c *connect.Config) { c.Registerer = reg }})
	w.MustCreate("src", map[string]string{"connector.class": "ScriptSource", "script": name})
	w.MustCreate("snk", sinkConfig(name, topic))
	require.Eventually(t, func() bool { return len(s.records()) > 10 }, 20*time.Second, 5*time.Millisecond)
	w.Await("src", "RUNNING", "RUNNING")
	w.Await("snk", "RUNNING", "RUNNING")
	fams, err := reg.Gather()
	require.NoError(t, err)
	have := map[string]bool{}
	for _, f := range fams {
		have[f.GetName()] = true
	}
	for _, n := range dashboard {
		require.True(t, have[n], n)
	}
}

// dashboard are the names in the panels and alerts that Strimzi ships for Kafka Connect, but for those of the JVM.
var dashboard = []string{
	"kafka_consumer_incoming_byte_total", "kafka_producer_outgoing_byte_total",
	"kafka_connect_worker_connector_count", "kafka_connect_worker_task_count",
	"kafka_connect_worker_connector_total_task_count", "kafka_connect_worker_connector_running_task_count", "kafka_connect_worker_connector_failed_task_count",
	"kafka_connect_worker_connector_paused_task_count", "kafka_connect_worker_connector_unassigned_task_count", "kafka_connect_worker_connector_destroyed_task_count",
	"kafka_connect_worker_connector_startup_success_total", "kafka_connect_worker_connector_startup_failure_total", "kafka_connect_worker_task_startup_success_total", "kafka_connect_worker_task_startup_failure_total",
	"kafka_connect_worker_rebalance_rebalancing", "kafka_connect_worker_rebalance_time_since_last_rebalance_ms", "kafka_connect_worker_rebalance_completed_rebalances_total", "kafka_connect_worker_rebalance_epoch", "kafka_connect_worker_rebalance_rebalance_avg_time_ms",
	"kafka_connect_coordinator_assigned_connectors", "kafka_connect_coordinator_assigned_tasks",
	"kafka_connect_connector_status", "kafka_connect_connector_connector_type", "kafka_connect_connector_connector_class", "kafka_connect_connector_connector_version", "kafka_connect_connector_task_status",
	"kafka_connect_connector_task_running_ratio", "kafka_connect_connector_task_pause_ratio", "kafka_connect_connector_task_batch_size_avg", "kafka_connect_connector_task_batch_size_max",
	"kafka_connect_connector_task_offset_commit_avg_time_ms", "kafka_connect_connector_task_offset_commit_success_percentage", "kafka_connect_connector_task_offset_commit_failure_percentage",
	"kafka_connect_source_task_source_record_poll_total", "kafka_connect_source_task_source_record_write_total", "kafka_connect_source_task_source_record_poll_rate", "kafka_connect_source_task_source_record_active_count", "kafka_connect_source_task_poll_batch_avg_time_ms",
	"kafka_connect_sink_task_sink_record_read_total", "kafka_connect_sink_task_sink_record_send_total", "kafka_connect_sink_task_partition_count", "kafka_connect_sink_task_put_batch_avg_time_ms", "kafka_connect_sink_task_offset_commit_seq_no",
	"kafka_connect_task_error_total_record_failures", "kafka_connect_task_error_total_record_errors", "kafka_connect_task_error_total_records_skipped", "kafka_connect_task_error_total_retries",
	"kafka_connect_task_error_deadletterqueue_produce_requests", "kafka_connect_task_error_deadletterqueue_produce_failures", "kafka_connect_task_error_last_error_timestamp", "kafka_connect_task_error_total_errors_logged",
}
