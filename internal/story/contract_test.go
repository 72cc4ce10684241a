package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// anyPort lets the system choose every port; of two --set of one key the last counts.
func anyPort(h *Hub) {
	h.Set = append(h.Set, "broker.listeners=PLAINTEXT://127.0.0.1:0", "registry.listeners=http://127.0.0.1:0",
		"connect.listeners=http://127.0.0.1:0", "admin.listeners=http://127.0.0.1:0")
}

func httpGet(t *testing.T, address string) (code int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(b)
}

func kadmin(t *testing.T, bootstrap string) *kadm.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap))
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return kadm.NewClient(cl)
}

func TestEndpointsFileTellsWhereAllRolesAnswer(t *testing.T) {
	h := startHub(t, anyPort)
	b, err := os.ReadFile(filepath.Join(h.Dir, "endpoints.json"))
	require.NoError(t, err)
	var file map[string]string
	require.NoError(t, json.Unmarshal(b, &file))
	require.Len(t, file, 4)
	for _, k := range []string{"kafka", "registry", "connect", "admin"} {
		host, port, err := net.SplitHostPort(strings.TrimPrefix(file[k], "http://"))
		require.NoError(t, err, k)
		require.Equal(t, "127.0.0.1", host, k)
		require.NotEqual(t, "0", port, k)
		require.Equal(t, k != "kafka", strings.HasPrefix(file[k], "http://"), k)
	}

	// What the file names answers at once, without a retry.
	brokers, err := kadmin(t, file["kafka"]).ListBrokers(t.Context())
	require.NoError(t, err)
	require.Len(t, brokers, 1)
	require.Equal(t, file["kafka"], net.JoinHostPort(brokers[0].Host, strconv.Itoa(int(brokers[0].Port))), "clients are sent to the port that was found")
	for address, want := range map[string]string{
		file["registry"] + "/subjects":         "[]",
		file["registry"] + "/schemas/types":    "AVRO",
		file["connect"] + "/":                  "kafka_cluster_id",
		file["connect"] + "/connectors":        "[]",
		file["connect"] + "/connector-plugins": "io.debezium.connector.postgresql.PostgresConnector",
		file["admin"] + "/healthz":             "ok",
		file["admin"] + "/readyz":              "ready",
	} {
		code, body := httpGet(t, address)
		require.Equal(t, http.StatusOK, code, address)
		require.Contains(t, body, want, address)
	}
	_, metrics := httpGet(t, file["admin"]+"/metrics")
	for _, name := range []string{"kafka_server_brokertopicmetrics_messagesin_total", "kafka_log_log_logendoffset", "kafka_connect_worker_connector_count",
		"kafka_schema_registry_registered_count", "process_resident_memory_bytes"} {
		require.Contains(t, metrics, "\n"+name, "a metric")
	}
}

func TestRolesThatAreNotPlayedHaveNoEndpoint(t *testing.T) {
	h := startHub(t, func(h *Hub) { h.Roles = "broker,controller" })
	require.Empty(t, h.Endpoints.Registry)
	require.Empty(t, h.Endpoints.Connect)
	makeTopic(t, h.Endpoints.Kafka, "a", 1)
	code, body := httpGet(t, h.Endpoints.Admin+"/readyz")
	require.Equal(t, http.StatusOK, code, body)
}

func TestEverySectionIsSetByFlagEnvironmentAndFile(t *testing.T) {
	file := scratch(t, "moldau.yaml", `
broker:
  num.partitions: 2
  message.max.bytes: 1000001
  log:
    retention.ms: 1234567
registry:
  schema.compatibility.level: forward
connect:
  config.storage.topic: from-file
  offset.storage.topic: my-offsets
  status.storage.topic: from-file-status
admin:
  log.format: json
`)
	h := startHub(t, func(h *Hub) {
		h.Args = []string{"--config", file}
		h.Env = []string{"MOLDAU_BROKER_NUM_PARTITIONS=3", "MOLDAU_BROKER_MESSAGE_MAX_BYTES=1000002", "MOLDAU_CONNECT_CONFIG_STORAGE_TOPIC=from-environment", "MOLDAU_ADMIN_LOG_LEVEL=debug"}
		h.Set = append(h.Set, "broker.num.partitions=5", "registry.schema.compatibility.level=FULL", "connect.status.storage.topic=from-flag")
	})
	adm := kadmin(t, h.Endpoints.Kafka)
	_, err := adm.CreateTopic(t.Context(), -1, -1, nil, "by-default")
	require.NoError(t, err)
	topics, err := adm.ListTopics(t.Context())
	require.NoError(t, err)
	require.Len(t, topics["by-default"].Partitions, 5, "a flag wins over all")
	for _, n := range []string{"from-environment", "my-offsets", "from-flag"} {
		require.True(t, topics.Has(n), n)
	}
	for _, n := range []string{"from-file", "from-file-status", "connect-configs"} {
		require.False(t, topics.Has(n), n)
	}
	configs, err := adm.DescribeBrokerConfigs(t.Context(), 1)
	require.NoError(t, err)
	got := map[string]string{}
	for _, c := range configs[0].Configs {
		got[c.Key] = c.MaybeValue()
	}
	require.Equal(t, "1000002", got["message.max.bytes"], "the environment wins over the file")
	require.Equal(t, "1234567", got["log.retention.ms"], "the file wins over the default")
	_, body := httpGet(t, h.Endpoints.Registry+"/config")
	require.JSONEq(t, `{"compatibilityLevel":"FULL"}`, body)
	log, err := os.ReadFile(h.LogFile())
	require.NoError(t, err)
	require.Contains(t, string(log), `"level":"DEBUG"`)
}

// TestWrongSettingsAreRefusedWithTheRemedy starts hubs that must not start.
func TestWrongSettingsAreRefusedWithTheRemedy(t *testing.T) {
	bad := scratch(t, "bad.yaml", "broker:\n  num.partition: 4\nconect:\n  group.id: x\n")
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"--set", "broker.num.partition=4"}, []string{`unknown key "num.partition" in section "broker"`, `did you mean "num.partitions"?`}},
		{[]string{"--set", "registry.schema.compatiblity.level=FULL"}, []string{`did you mean "schema.compatibility.level"?`}},
		{[]string{"--set", "connect.grop.id=x", "--set", "admin.log.levle=debug"}, []string{`did you mean "group.id"?`, `did you mean "log.level"?`}},
		{[]string{"--set", "brokers.node.id=1"}, []string{`unknown section "brokers", did you mean "broker"?`}},
		{[]string{"--set", "broker"}, []string{"want SECTION.KEY=VALUE"}},
		{[]string{"--set", "broker.num.partitions=many"}, []string{"num.partitions", "many"}},
		{[]string{"--set", "connect.offset.flush.interval.ms=soon"}, []string{"offset.flush.interval.ms", "soon"}},
		{[]string{"--set", "registry.schema.compatibility.level=UPWARD"}, []string{"schema.compatibility.level", "UPWARD"}},
		{[]string{"--set", "admin.log.level=loud"}, []string{"admin.log.level", "loud"}},
		{[]string{"--set", "connect.listeners=8083"}, []string{"connect.listeners", "http://host:port"}},
		{[]string{"--config", bad}, []string{"bad.yaml:2", `did you mean "num.partitions"?`, "bad.yaml:3", `did you mean "connect"?`}},
		{[]string{"--config", filepath.Join(t.TempDir(), "none.yaml")}, []string{"none.yaml"}},
		{[]string{"--roles", "broker,controller,conect"}, []string{`unknown role "conect"`}},
		{[]string{"--roles", "connect"}, []string{"connect.bootstrap.servers is not set"}},
		{[]string{"--dta-dir", "x"}, []string{"--dta-dir"}},
	} {
		t.Run(tt.args[0]+" "+filepath.Base(tt.args[1]), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			h := &Hub{}
			anyPort(h)
			args := []string{"server", "--data-dir", t.TempDir(), "--endpoints", filepath.Join(t.TempDir(), "endpoints")}
			for _, s := range h.Set {
				args = append(args, "--set", s)
			}
			out, err := exec.CommandContext(ctx, hubBinary(t), append(args, tt.args...)...).CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "%s", out)
			code := 1
			if tt.args[0] == "--dta-dir" {
				code = 2 // a flag that does not exist is a matter of usage, a wrong setting of the hub's
			}
			require.Equal(t, code, exit.ExitCode(), "%s", out)
			for _, w := range tt.want {
				require.Contains(t, string(out), w)
			}
		})
	}
}

// TestTermDrainsUnderLoadAndARestartGoesOn stops a hub that is busy with producers, consumers, sources and sinks, and starts it again.
func TestTermDrainsUnderLoadAndARestartGoesOn(t *testing.T) {
	h := startHub(t)
	dir := t.TempDir()
	text := map[string]string{"key.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter": "org.apache.kafka.connect.json.JsonConverter",
		"key.converter.schemas.enable": "false", "value.converter.schemas.enable": "false"}
	with := func(name string, more map[string]string, base ...map[string]string) Connector {
		c := Connector{name, map[string]string{}}
		for _, m := range append(base, more) {
			for k, v := range m {
				c.Config[k] = v
			}
		}
		return c
	}
	create(t, h,
		with("orders", map[string]string{"connector.class": "datagen", "kafka.topic": "orders", "rows.per.second": "4000"}, text),
		with("users", map[string]string{"connector.class": "datagen", "kafka.topic": "users", "quickstart": "users", "rows.per.second": "500"}),
		with("copy", map[string]string{"connector.class": "FileStreamSink", "topics": "orders", "file": filepath.Join(dir, "copy"),
			"key.converter": "org.apache.kafka.connect.storage.StringConverter", "value.converter": "org.apache.kafka.connect.storage.StringConverter"}),
	)
	paused := with("paused", map[string]string{"connector.class": "datagen", "kafka.topic": "paused"})
	create(t, h, paused)
	require.NoError(t, REST(t.Context(), http.MethodPut, h.Endpoints.Connect+"/connectors/paused/pause", nil, nil))

	// A producer from outside, and a consumer that waits in a long poll of its group.
	makeTopic(t, h.Endpoints.Kafka, "outside", 4)
	produce, stopProducing := context.WithCancel(t.Context())
	defer stopProducing()
	pc, err := kgo.NewClient(kgo.SeedBrokers(h.Endpoints.Kafka), kgo.DefaultProduceTopic("outside"), kgo.MaxBufferedRecords(2000))
	require.NoError(t, err)
	defer pc.Close()
	var acked sync.Map
	var ackedCount atomic.Int64
	produced := make(chan struct{})
	go func() {
		defer close(produced)
		for i := 0; produce.Err() == nil; i++ {
			v := strconv.Itoa(i)
			pc.Produce(produce, kgo.StringRecord(v), func(_ *kgo.Record, err error) {
				if err == nil {
					acked.Store(v, true)
					ackedCount.Add(1)
				}
			})
		}
	}()
	cc, err := kgo.NewClient(kgo.SeedBrokers(h.Endpoints.Kafka), kgo.ConsumeTopics("outside"), kgo.ConsumerGroup("outside"))
	require.NoError(t, err)
	defer cc.Close()
	consume, stopConsuming := context.WithCancel(t.Context())
	consumed := make(chan struct{})
	go func() {
		defer close(consumed)
		for consume.Err() == nil {
			cc.PollFetches(consume)
		}
	}()
	defer func() { stopConsuming(); <-consumed }()

	copied := func() int {
		b, _ := os.ReadFile(filepath.Join(dir, "copy"))
		return strings.Count(string(b), "\n")
	}
	loaded := func(rows int) func(context.Context) error {
		return func(ctx context.Context) error {
			if n := copied(); n < rows {
				return fmt.Errorf("%d rows are in the copy", n)
			}
			if n := ackedCount.Load(); n < 5000 {
				return fmt.Errorf("%d records from outside are acknowledged", n)
			}
			return healthy(ctx, h, "orders", "users", "copy")
		}
	}
	eventually(t, 30*time.Second, loaded(4000))

	schemas := func() map[string][]int {
		out := map[string][]int{}
		var subjects []string
		require.NoError(t, REST(t.Context(), http.MethodGet, h.Endpoints.Registry+"/subjects", nil, &subjects))
		for _, s := range subjects {
			var a struct{ ID, Version int }
			require.NoError(t, REST(t.Context(), http.MethodGet, h.Endpoints.Registry+"/subjects/"+s+"/versions/latest", nil, &a))
			out[s] = []int{a.ID, a.Version}
		}
		return out
	}
	before := schemas()
	require.Contains(t, before, "users-value")

	began := time.Now()
	require.NoError(t, h.Stop(), "TERM ends it with success")
	took := time.Since(began)
	require.Less(t, took, 8*time.Second, "a drain takes a few seconds")
	t.Logf("drained in %s", took.Round(time.Millisecond))

	require.NoError(t, h.Start(t.Context()))
	require.Equal(t, before, schemas(), "the same ids after a restart")
	var next struct{ ID int }
	require.NoError(t, REST(t.Context(), http.MethodPost, h.Endpoints.Registry+"/subjects/new/versions", map[string]string{"schema": `"boolean"`}, &next))
	highest := 0
	for _, v := range before {
		highest = max(highest, v[0])
	}
	require.Equal(t, highest+1, next.ID)
	eventually(t, 30*time.Second, loaded(copied()+2000))
	st, err := h.Status(t.Context(), "paused")
	require.NoError(t, err)
	require.Equal(t, "PAUSED", st.Connector.State)

	// Every record that was acknowledged is there, the source's rows go on where they ended, and the sink's file has each row once.
	stopProducing()
	<-produced
	pc.Close()
	require.NoError(t, REST(t.Context(), http.MethodPut, h.Endpoints.Connect+"/connectors/orders/stop", nil, nil))
	eventually(t, 20*time.Second, func(ctx context.Context) error {
		st, err := h.Status(ctx, "orders")
		if err == nil && st.Connector.State != "STOPPED" {
			err = errors.New(st.Connector.State)
		}
		return err
	})
	log, err := readLog(t.Context(), h.Endpoints.Kafka, "outside")
	require.NoError(t, err)
	there := map[string]bool{}
	for _, r := range log.all {
		there[string(r.Value)] = true
	}
	acked.Range(func(k, _ any) bool {
		require.True(t, there[k.(string)], "record %s was acknowledged", k)
		return true
	})
	log, err = readLog(t.Context(), h.Endpoints.Kafka, "orders")
	require.NoError(t, err)
	for i, r := range log.all {
		require.Equal(t, strconv.Itoa(i), string(r.Key), "rows follow each other without a gap and without one twice")
	}
	eventually(t, 20*time.Second, func(context.Context) error {
		if n := copied(); n != log.records {
			return fmt.Errorf("%d rows are in the copy, %d in the log", n, log.records)
		}
		return nil
	})
}
