package story

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/moldau-io/moldau/internal/servers"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// produceValues writes records with keys k0, k1, ... and these values to partition 0 of a topic.
func produceValues(t *testing.T, bootstrap, topic string, values ...string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer cl.Close()
	for i, v := range values {
		r := &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "k%d", i), Value: []byte(v), Headers: []kgo.RecordHeader{{Key: "from", Value: []byte("the story")}}}
		require.NoError(t, cl.ProduceSync(t.Context(), r).FirstErr())
	}
}

// metric returns the value of a metric that has no labels.
func metric(t *testing.T, h *Hub, name string) float64 {
	t.Helper()
	_, text := httpGet(t, h.Endpoints.Admin+"/metrics")
	for l := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(l, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			require.NoError(t, err)
			return f
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// waitFailed waits until task 0 of a connector has failed and returns its trace.
func waitFailed(t *testing.T, h *Hub, name string) string {
	t.Helper()
	var trace string
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		st, err := h.Status(ctx, name)
		if err != nil {
			return err
		}
		if len(st.Tasks) != 1 || st.Tasks[0].State != "FAILED" {
			return fmt.Errorf("%s: %+v", name, st)
		}
		if st.Connector.State != "RUNNING" {
			return fmt.Errorf("the connector itself is %s", st.Connector.State)
		}
		trace = st.Tasks[0].Trace
		return nil
	})
	return trace
}

func waitLines(t *testing.T, file string, want ...string) {
	t.Helper()
	text := strings.Join(want, "\n") + "\n"
	eventually(t, 20*time.Second, func(context.Context) error {
		b, err := os.ReadFile(file)
		if err == nil && string(b) != text {
			err = fmt.Errorf("the file holds %q", b)
		}
		return err
	})
}

func documents(ctx context.Context, s *servers.Search, index string) (map[string]string, error) {
	var a struct {
		Hits struct {
			Hits []struct {
				ID     string         `json:"_id"`
				Source map[string]any `json:"_source"`
			}
		}
	}
	if err := REST(ctx, http.MethodPost, s.URL+"/"+index+"/_refresh", nil, nil); err != nil {
		return nil, err
	}
	if err := REST(ctx, http.MethodGet, s.URL+"/"+index+"/_search?size=1000", nil, &a); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, h := range a.Hits.Hits {
		out[h.ID] = fmt.Sprint(h.Source["n"])
	}
	return out, nil
}

// TestAFailingTaskFailsAlone lets records be refused: by a converter and by a search index. The task that meets them fails with its trace
// or puts them aside, others go on, and once the cause is gone a restart heals what failed.
func TestAFailingTaskFailsAlone(t *testing.T) {
	search := servers.TestOpenSearch(t)
	h := startHub(t)
	dir := t.TempDir()
	topic := unique("documents-")
	makeTopic(t, h.Endpoints.Kafka, topic, 1)
	// Each sink of documents has an index of its own, of the topic's name as a router changes it, that takes no field but n.
	sinkOf := func(name string, more map[string]string) (Connector, string) {
		index := unique("refusing-")
		require.NoError(t, REST(t.Context(), http.MethodPut, search.URL+"/"+index,
			map[string]any{"mappings": map[string]any{"dynamic": "strict", "properties": map[string]any{"n": map[string]any{"type": "integer"}}}}, nil))
		c := indexSink(name, search, topic)
		c.Config["key.converter"] = "org.apache.kafka.connect.storage.StringConverter"
		c.Config["value.converter"] = "org.apache.kafka.connect.json.JsonConverter"
		c.Config["value.converter.schemas.enable"] = "false"
		c.Config["transforms"] = "route"
		c.Config["transforms.route.type"] = "org.apache.kafka.connect.transforms.RegexRouter"
		c.Config["transforms.route.regex"] = ".*"
		c.Config["transforms.route.replacement"] = index
		for _, k := range []string{"transforms.unwrap.type", "transforms.id.type", "transforms.id.field"} {
			delete(c.Config, k)
		}
		for k, v := range more {
			c.Config[k] = v
		}
		return c, index
	}
	strict, strictIndex := sinkOf("strict", nil)
	careful, carefulIndex := sinkOf("careful", map[string]string{
		"errors.tolerance": "all", "errors.deadletterqueue.topic.name": topic + ".dead", "errors.deadletterqueue.context.headers.enable": "true",
	})
	text := map[string]string{"connector.class": "FileStreamSink", "topics": topic, "key.converter": "org.apache.kafka.connect.storage.StringConverter"}
	bystander := Connector{"bystander", map[string]string{"file": filepath.Join(dir, "bystander"), "value.converter": "org.apache.kafka.connect.storage.StringConverter"}}
	converter := Connector{"converter", map[string]string{"file": filepath.Join(dir, "converter"), "value.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable": "false"}}
	for k, v := range text {
		bystander.Config[k], converter.Config[k] = v, v
	}
	create(t, h, strict, careful, bystander, converter)

	values := []string{`{"n":1}`, `{"n":2,"more":"a field that the index does not take"}`, `{"n":3}`}
	produceValues(t, h.Endpoints.Kafka, topic, values...)
	trace := waitFailed(t, h, "strict")
	require.Contains(t, trace, "strict_dynamic_mapping_exception")
	require.Contains(t, trace, strictIndex)
	waitLines(t, bystander.Config["file"], values...)

	// A restart that meets the same record again fails again.
	restart := func(name string) {
		started := metric(t, h, "kafka_connect_worker_task_startup_attempts_total")
		var st ConnectorStatus
		require.NoError(t, REST(t.Context(), http.MethodPost, h.Endpoints.Connect+"/connectors/"+name+"/restart?includeTasks=true&onlyFailed=true", nil, &st))
		require.Equal(t, name, st.Name)
		require.Equal(t, "RESTARTING", st.Tasks[0].State)
		// The request is answered once it is stored; until it is carried out the status is the old one.
		eventually(t, 20*time.Second, func(context.Context) error {
			if n := metric(t, h, "kafka_connect_worker_task_startup_attempts_total"); n <= started {
				return fmt.Errorf("%v tasks were started", n)
			}
			return nil
		})
	}
	restart("strict")
	require.Contains(t, waitFailed(t, h, "strict"), "strict_dynamic_mapping_exception")

	// The cause goes, and a restart heals.
	require.NoError(t, REST(t.Context(), http.MethodPut, search.URL+"/"+strictIndex+"/_mapping", map[string]any{"dynamic": true}, nil))
	restart("strict")
	holds := func(index string, want map[string]string) {
		t.Helper()
		eventually(t, 30*time.Second, func(ctx context.Context) error {
			docs, err := documents(ctx, search, index)
			if err == nil && !maps.Equal(docs, want) {
				err = fmt.Errorf("documents: %v", docs)
			}
			return err
		})
	}
	holds(strictIndex, map[string]string{"k0": "1", "k1": "2", "k2": "3"})
	holds(carefulIndex, map[string]string{"k0": "1", "k2": "3"})
	require.NoError(t, healthy(t.Context(), h, "strict", "careful", "bystander", "converter"))

	// What no converter can read: it stops the one that tolerates nothing, and is put aside by the other.
	produceValues(t, h.Endpoints.Kafka, topic, `no JSON {`, `{"n":5}`)
	for _, n := range []string{"converter", "strict"} {
		trace = waitFailed(t, h, n)
		require.Contains(t, trace, "Tolerance exceeded in error handler")
		require.Contains(t, trace, "invalid JSON")
	}
	waitLines(t, bystander.Config["file"], append(values, `no JSON {`, `{"n":5}`)...)
	var dead *logView
	eventually(t, 20*time.Second, func(ctx context.Context) (err error) {
		if dead, err = readLog(ctx, h.Endpoints.Kafka, topic+".dead"); err == nil && dead.records != 2 {
			err = fmt.Errorf("%d dead letters", dead.records)
		}
		return err
	})
	for i, want := range []struct{ key, value, offset, stage, message string }{
		{"k1", values[1], "1", "TASK_PUT", "strict_dynamic_mapping_exception"},
		{"k0", `no JSON {`, "3", "VALUE_CONVERTER", "JSON"},
	} {
		r := dead.all[i]
		require.Equal(t, want.key, string(r.Key))
		require.Equal(t, want.value, string(r.Value), "byte for byte")
		got := map[string]string{}
		for _, hd := range r.Headers {
			got[hd.Key] = string(hd.Value)
		}
		require.Equal(t, "the story", got["from"], "the record's own headers")
		const e = "__connect.errors."
		require.Equal(t, topic, got[e+"topic"])
		require.Equal(t, "0", got[e+"partition"])
		require.Equal(t, want.offset, got[e+"offset"])
		require.Equal(t, "careful", got[e+"connector.name"])
		require.Equal(t, "0", got[e+"task.id"])
		require.Equal(t, want.stage, got[e+"stage"])
		require.NotEmpty(t, got[e+"class.name"])
		require.NotEmpty(t, got[e+"exception.class.name"])
		require.Contains(t, got[e+"exception.message"]+got[e+"exception.stacktrace"], want.message)
	}
	require.NoError(t, healthy(t.Context(), h, "careful", "bystander"))
	_, metrics := httpGet(t, h.Endpoints.Admin+"/metrics")
	require.Regexp(t, `kafka_connect_task_error_deadletterqueue_produce_requests\{[^}]*connector="careful"[^}]*\} 2`, metrics)

	// Tolerance heals what the bad record stopped.
	for _, c := range []Connector{strict, converter} {
		c.Config["errors.tolerance"] = "all"
		require.NoError(t, REST(t.Context(), http.MethodPut, h.Endpoints.Connect+"/connectors/"+c.Name+"/config", c.Config, nil))
	}
	holds(strictIndex, map[string]string{"k0": "1", "k1": "5", "k2": "3"})
	holds(carefulIndex, map[string]string{"k0": "1", "k1": "5", "k2": "3"})
	waitLines(t, converter.Config["file"], "{n=1}", "{n=2, more=a field that the index does not take}", "{n=3}", "{n=5}")
	require.NoError(t, healthy(t.Context(), h, "strict", "careful", "bystander", "converter"))
}

// TestASourceIsHealedByARestart lets a source fail for what its database lacks, and makes that good.
func TestASourceIsHealedByARestart(t *testing.T) {
	pg := servers.TestPostgres(t)
	c := postgresCapture(t, pg, "healed")
	h := startHub(t)
	create(t, h, Connector{"bystander", map[string]string{"connector.class": "datagen", "kafka.topic": "bystander"}})

	// A wrong password is refused before anything is made.
	wrong := Connector{"source", map[string]string{}}
	for k, v := range c.source.Config {
		wrong.Config[k] = v
	}
	wrong.Config["database.password"] = "not the password"
	var status *StatusError
	require.ErrorAs(t, h.Create(t.Context(), wrong), &status)
	require.Equal(t, http.StatusBadRequest, status.Code)
	require.Contains(t, status.Body, "password authentication failed")
	require.NotContains(t, status.Body, "not the password")
	code, _ := httpGet(t, h.Endpoints.Connect+"/connectors/source")
	require.Equal(t, http.StatusNotFound, code)

	// A publication that nobody makes is found out by the task.
	c.source.Config["publication.autocreate.mode"] = "disabled"
	require.NoError(t, h.Create(t.Context(), c.source))
	trace := waitFailed(t, h, "source")
	require.Contains(t, trace, c.source.Config["publication.name"])
	require.NoError(t, healthy(t.Context(), h, "bystander"))

	conn, err := pgx.Connect(t.Context(), pg.URL)
	require.NoError(t, err)
	defer conn.Close(t.Context())
	_, err = conn.Exec(t.Context(), "CREATE PUBLICATION "+c.source.Config["publication.name"]+" FOR TABLE "+c.table.Name)
	require.NoError(t, err)
	require.NoError(t, REST(t.Context(), http.MethodPost, h.Endpoints.Connect+"/connectors/source/tasks/0/restart", nil, nil))
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		log, err := readLog(ctx, h.Endpoints.Kafka, c.table.Topic)
		if err == nil && log.records != itemsFirst {
			err = fmt.Errorf("%d records", log.records)
		}
		return err
	})
	require.NoError(t, healthy(t.Context(), h, "source"))
}
