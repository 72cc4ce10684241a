package connect_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/connectors/file"
	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/connect/connecttest"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/builtin"
	restconnect "github.com/moldau-io/moldau/rest/connect"
)

// step is a request of the transcript. The answers of a Kafka Connect 4.3.1 are in testdata/transcript.json, one a step.
type step struct {
	do     string // method and path
	body   string
	header string // "Name: value", beside Content-Type: application/json for requests with a body
	await  string // repeat until the answer contains this
	// loose steps compare code and content type only: their texts name Java's parser, classes or locations.
	loose bool
}

const (
	src = `{"connector.class":"FileStreamSource","file":"/nosuchdir-moldau/in","topic":"moldau-t1"}`
	bad = `{"connector.class":"FileStreamSink","file":"/dev/null/out","topics":"moldau-t1","tasks.max":"2"}`
)

var odd = "odd%20n%C3%A4me%20%3F%26%3D%2B%3C%3E"

var steps = []step{
	{do: "GET /"}, {do: "GET /health"}, {do: "GET /connectors"}, {do: "GET /connectors/"}, {do: "HEAD /connectors"}, {do: "OPTIONS /connectors"}, {do: "OPTIONS /connectors/x/config"},
	// Nothing of this name.
	{do: "GET /connectors/none"}, {do: "GET /connectors/none/"}, {do: "GET /connectors/none/status"}, {do: "GET /connectors/none/config"}, {do: "GET /connectors/none/tasks"},
	{do: "GET /connectors/none/tasks/0/status"}, {do: "PUT /connectors/none/pause"}, {do: "PUT /connectors/none/resume"}, {do: "PUT /connectors/none/stop"}, {do: "POST /connectors/none/restart"},
	{do: "POST /connectors/none/restart?includeTasks=true"}, {do: "POST /connectors/none/tasks/0/restart"}, {do: "DELETE /connectors/none"}, {do: "GET /connectors/none/topics"},
	{do: "PUT /connectors/none/topics/reset"}, {do: "GET /connectors/none/offsets"}, {do: "PATCH /connectors/none/config", body: "{}"}, {do: "PATCH /connectors/none/offsets", body: `{"offsets":[]}`},
	{do: "PATCH /connectors/none/offsets", body: `{"offsets":[{"partition":{"a":1},"offset":null}]}`}, {do: "DELETE /connectors/none/offsets"},
	// What HTTP refuses.
	{do: "PUT /connectors"}, {do: "GET /nope"}, {do: "POST /connectors/x"}, {do: "GET /connectors/x/tasks-config"}, {do: "GET /connectors/x/nope"}, {do: "GET /connectors/x/tasks/y/status"},
	{do: "POST /connectors", body: "{}", header: "Content-Type: text/plain"}, {do: "POST /connectors", body: "{}", header: "Content-Type: application/x-www-form-urlencoded"}, {do: "GET /connectors", header: "Accept: text/plain"},
	{do: "GET /connectors", header: "Accept: text/html, application/json;q=0.5"}, {do: "GET /connectors", header: "Accept: */*"},
	// Bodies.
	{do: "POST /connectors", body: "{bad", loose: true}, {do: "POST /connectors", body: "[]", loose: true}, {do: "POST /connectors", body: `{"name":"x","foo":1}`, loose: true}, {do: "POST /connectors", body: `{"name":"x"}`, loose: true},
	{do: "POST /connectors", body: `{"name":"x","config":{}}`}, {do: "POST /connectors", body: `{"name":"x","config":{"connector.class":"nope"}}`, loose: true}, {do: "POST /connectors", body: `{"config":` + src + `}`},
	{do: "POST /connectors", body: `{"name":"x","config":{"name":"y","connector.class":"FileStreamSource","topic":"t"}}`}, {do: "POST /connectors", body: `{"name":"x","config":` + src + `,"initial_state":"weird"}`, loose: true},
	{do: "POST /connectors", body: `{"name":"x","config":{"connector.class":"FileStreamSource","tasks.max":"many"}}`}, {do: "POST /connectors", body: `{"name":"x\u0007y","config":` + src + `}`, loose: true},
	{do: "PUT /connectors/x/config", body: "{bad", loose: true}, {do: "PUT /connectors/x/config", body: `{"a":{"b":1}}`, loose: true}, {do: "PUT /connectors/x/config", body: "{}"},
	{do: "PATCH /connectors/x/offsets", body: "{}"}, {do: "PATCH /connectors/x/offsets", body: `{"offsets":"x"}`, loose: true},
	{do: "POST /connectors/x/tasks", body: "[]"}, {do: "PUT /connectors/x/fence"},
	// A source.
	{do: "POST /connectors", body: `{"name":" src ","config":` + src + `}`}, {do: "GET /connectors/src/status", await: `"tasks":[{"id":0,"state":"RUNNING"`}, {do: "GET /connectors"}, {do: "GET /connectors/src"}, {do: "GET /connectors/src/"}, {do: "GET /connectors/src/config"},
	{do: "GET /connectors/src/tasks"}, {do: "GET /connectors/src/tasks/0/status"}, {do: "GET /connectors/src/tasks/7/status"}, {do: "POST /connectors/src/tasks/9/restart"}, {do: "GET /connectors/src/topics"}, {do: "GET /connectors/src/offsets"},
	{do: "POST /connectors", body: `{"name":"src","config":` + src + `}`}, {do: "GET /connectors?expand=status"}, {do: "GET /connectors?expand=info"}, {do: "GET /connectors?expand=status&expand=info&expand=odd"}, {do: "GET /connectors?expand=odd"},
	{do: "PUT /connectors/src/config", body: src}, {do: "PUT /connectors/src/config", body: `{"connector.class":"FileStreamSource","file":"/nosuchdir-moldau/in","topic":"moldau-t1","tasks.max":2,"x":null,"flag":true}`}, {do: "GET /connectors/src/config"},
	{do: "PATCH /connectors/src/config", body: `{"flag":null,"x":"y"}`}, {do: "PATCH /connectors/src/config", body: `{"topic":null}`},
	{do: "GET /connectors/src/status", await: `"tasks":[{"id":0,"state":"RUNNING"`},
	{do: "PUT /connectors/src/pause"}, {do: "GET /connectors/src/status", await: `"tasks":[{"id":0,"state":"PAUSED"`}, {do: "PUT /connectors/src/pause"}, {do: "PUT /connectors/src/resume"}, {do: "GET /connectors/src/status", await: `"tasks":[{"id":0,"state":"RUNNING"`},
	{do: "POST /connectors/src/restart"}, {do: "GET /connectors/src/status", await: `"tasks":[{"id":0,"state":"RUNNING"`}, {do: "POST /connectors/src/restart?includeTasks=true&onlyFailed=false"}, {do: "POST /connectors/src/restart?includeTasks=true&onlyFailed=true", await: `"tasks":[{"id":0,"state":"RUNNING"`}, {do: "POST /connectors/src/restart?includeTasks=x"},
	{do: "POST /connectors/src/tasks/0/restart"}, {do: "GET /connectors/src/status", await: `"tasks":[{"id":0,"state":"RUNNING"`},
	{do: "PATCH /connectors/src/offsets", body: `{"offsets":[{"partition":{"filename":"/nosuchdir-moldau/in"},"offset":{"position":2}}]}`}, {do: "DELETE /connectors/src/offsets"},
	{do: "PUT /connectors/src/stop"}, {do: "GET /connectors/src/status", await: `"tasks":[]`}, {do: "GET /connectors/src/tasks"}, {do: "POST /connectors/src/restart?includeTasks=true"}, {do: "GET /connectors/src/status", await: `"tasks":[]`},
	{do: "PATCH /connectors/src/offsets", body: `{"offsets":[{"partition":{"filename":"/nosuchdir-moldau/in"},"offset":{"position":2}}]}`}, {do: "GET /connectors/src/offsets"}, {do: "PATCH /connectors/src/offsets", body: `{"offsets":[{"partition":{"filename":"/nosuchdir-moldau/in"},"offset":{"position":"x"}}]}`},
	{do: "PATCH /connectors/src/offsets", body: `{"offsets":[{"partition":{"foo":"/nosuchdir-moldau/in"},"offset":{"position":2}}]}`}, {do: "PATCH /connectors/src/offsets", body: `{"offsets":[{"partition":{"filename":"/nosuchdir-moldau/in"},"offset":null}]}`}, {do: "GET /connectors/src/offsets"}, {do: "DELETE /connectors/src/offsets"},
	{do: "DELETE /connectors/src"}, {do: "GET /connectors/src/status", await: "No status found"}, {do: "DELETE /connectors/src"},
	// A sink that cannot start, and one that was born stopped.
	{do: "PUT /connectors/bad/config", body: bad}, {do: "GET /connectors/bad/status", await: `{"id":1,"state":"FAILED"`}, {do: "POST /connectors/bad/restart?includeTasks=true&onlyFailed=true"}, {do: "GET /connectors/bad/status", await: `{"id":1,"state":"FAILED"`}, {do: "DELETE /connectors/bad"},
	{do: "POST /connectors", body: `{"name":"rsnk","config":{"connector.class":"FileStreamSink","topics":"moldau-t1"},"initial_state":"stopped"}`}, {do: "GET /connectors/rsnk/status", await: "STOPPED"}, {do: "GET /connectors/rsnk/offsets"},
	{do: "PATCH /connectors/rsnk/offsets", body: `{"offsets":[{"partition":{"kafka_topic":"t1"},"offset":{"kafka_offset":1}}]}`}, {do: "PATCH /connectors/rsnk/offsets", body: `{"offsets":[{"partition":{"kafka_topic":"t1","kafka_partition":0},"offset":{"kafka_offset":"x"}}]}`},
	{do: "PATCH /connectors/rsnk/offsets", body: `{"offsets":[{"partition":{"kafka_topic":"t1","kafka_partition":0},"offset":{"foo":1}}]}`}, {do: "PATCH /connectors/rsnk/offsets", body: `{"offsets":[{"partition":{"kafka_topic":"t1","kafka_partition":"y"},"offset":{"kafka_offset":1}}]}`},
	{do: "PATCH /connectors/rsnk/offsets", body: `{"offsets":[{"partition":null,"offset":{"kafka_offset":1}}]}`}, {do: "PATCH /connectors/rsnk/offsets", body: `{"offsets":[{"partition":{"kafka_topic":"nonesuch","kafka_partition":0},"offset":{"kafka_offset":1}}]}`},
	{do: "PATCH /connectors/rsnk/offsets", body: `{"offsets":[{"partition":{"kafka_topic":"moldau-t2","kafka_partition":"0"},"offset":{"kafka_offset":"1"}}]}`}, {do: "GET /connectors/rsnk/offsets"}, {do: "PATCH /connectors/rsnk/offsets", body: `{"offsets":[{"partition":{"kafka_topic":"moldau-t2","kafka_partition":0},"offset":null}]}`}, {do: "GET /connectors/rsnk/offsets"}, {do: "DELETE /connectors/rsnk/offsets"},
	{do: "DELETE /connectors/rsnk"},
	// A name that needs care.
	{do: "PUT /connectors/" + odd + "/config", body: src}, {do: "GET /connectors/" + odd, await: `"task":0`}, {do: "GET /connectors/" + odd + "/status", await: "RUNNING"}, {do: "GET /connectors"}, {do: "DELETE /connectors/" + odd},
	// Plugins.
	{do: "GET /connector-plugins", loose: true}, {do: "GET /connector-plugins/", loose: true}, {do: "GET /connector-plugins?connectorsOnly=false", loose: true}, {do: "GET /connector-plugins/nope/config"}, {do: "GET /connector-plugins/FileStreamSource/config", loose: true},
	{do: "PUT /connector-plugins/nope/config/validate", body: "{}"}, {do: "PUT /connector-plugins/FileStreamSink/config/validate", body: `{"connector.class":"FileStreamSource"}`}, {do: "PUT /connector-plugins/FileStreamSink/config/validate", body: `{"connector.class":"nope"}`},
	{do: "PUT /connector-plugins/FileStreamSource/config/validate", body: `{"connector.class":"FileStreamSource"}`}, {do: "PUT /connector-plugins/FileStreamSourceConnector/config/validate", body: `{"name":"n","connector.class":"org.apache.kafka.connect.file.FileStreamSourceConnector","topic":"t"}`},
	{do: "PUT /connector-plugins/FileStreamSource/config/validate", body: `{"name":"q","connector.class":"FileStreamSource","topic":"x","batch.size":"x","errors.tolerance":"some","tasks.max":"0","config.action.reload":"never","errors.log.enable":"maybe"}`},
	{do: "PUT /connector-plugins/FileStreamSink/config/validate", body: `{"name":"q","connector.class":"FileStreamSink"}`}, {do: "PUT /connector-plugins/FileStreamSink/config/validate", body: `{"name":"q","connector.class":"FileStreamSink","topics":"x","topics.regex":"x.*","key.converter":"nope","errors.deadletterqueue.topic.name":"x"}`},
	{do: "PUT /connector-plugins/FileStreamSource/config/validate", body: `{"name":"q","connector.class":"FileStreamSource","topic":"x","transforms":"a,b","transforms.a.type":"org.apache.kafka.connect.transforms.RegexRouter","transforms.a.regex":".*","transforms.a.replacement":"r","transforms.b.type":"nope"}`},
	// Loggers.
	{do: "GET /admin/loggers/root"}, {do: "GET /admin/loggers/foo"}, {do: "PUT /admin/loggers/root", body: `{"level":"nope"}`}, {do: "PUT /admin/loggers/root", body: "{}"}, {do: "PUT /admin/loggers/org.moldau.rest", body: `{"level":"DEBUG"}`}, {do: "PUT /admin/loggers/org.moldau.rest?scope=cluster", body: `{"level":"INFO"}`},
}

// recorded is an answer.
type recorded struct {
	Step        string `json:"step"`
	Code        int    `json:"code"`
	ContentType string `json:"content_type,omitempty"`
	Location    string `json:"location,omitempty"`
	Allow       string `json:"allow,omitempty"`
	Body        string `json:"body,omitempty"`
}

func perform(t *testing.T, base string, s step) recorded {
	t.Helper()
	method, path, _ := strings.Cut(s.do, " ")
	for deadline := time.Now().Add(30 * time.Second); ; {
		req, err := http.NewRequest(method, base+path, strings.NewReader(s.body))
		require.NoError(t, err)
		if s.body == "" {
			req.Body, req.ContentLength = nil, 0
		} else {
			req.Header.Set("Content-Type", "application/json")
		}
		if name, v, ok := strings.Cut(s.header, ": "); ok {
			req.Header.Set(name, v)
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		r := recorded{Step: s.do + " " + s.body, Code: resp.StatusCode, ContentType: resp.Header.Get("Content-Type"), Location: strings.TrimPrefix(resp.Header.Get("Location"), base), Allow: resp.Header.Get("Allow"), Body: string(b)}
		if s.await == "" || strings.Contains(r.Body, s.await) {
			return r
		}
		require.True(t, time.Now().Before(deadline), "%s: %q does not turn up in %s", s.do, s.await, r.Body)
		time.Sleep(20 * time.Millisecond)
	}
}

// TestRecordTranscript writes the answers of a running Kafka Connect: MOLDAU_RECORD_CONNECT=http://host:port. Its cluster needs the topic
// moldau-t2.
func TestRecordTranscript(t *testing.T) {
	base := os.Getenv("MOLDAU_RECORD_CONNECT")
	if base == "" {
		t.Skip("MOLDAU_RECORD_CONNECT is not set")
	}
	var out []recorded
	for _, s := range steps {
		out = append(out, perform(t, base, s))
		if strings.HasPrefix(s.do, "DELETE") || strings.HasPrefix(s.do, "PUT") || strings.HasPrefix(s.do, "PATCH") || strings.HasPrefix(s.do, "POST") {
			time.Sleep(700 * time.Millisecond) // let it rebalance
		}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	require.NoError(t, enc.Encode(out))
	require.NoError(t, os.WriteFile("testdata/transcript.json", buf.Bytes(), 0o644))
}

// normal takes out of a body what differs from one worker to the next.
func normal(t *testing.T, body string) any {
	t.Helper()
	var v any
	if json.Unmarshal([]byte(body), &v) != nil {
		return body
	}
	if m, ok := v.(map[string]any); ok && m["configs"] != nil && m["error_count"] != nil {
		return validation(m)
	}
	return scrub(v)
}

func scrub(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for k, e := range x {
			switch k {
			case "worker_id", "version", "commit", "kafka_cluster_id", "trace", "last_modified":
				x[k] = "?"
			default:
				x[k] = scrub(e)
			}
		}
	case []any:
		for i, e := range x {
			x[i] = scrub(e)
		}
	}
	return v
}

// validation keeps the verdict: which keys have which errors.
func validation(m map[string]any) any {
	errs := map[string]any{}
	for _, c := range m["configs"].([]any) {
		v := c.(map[string]any)["value"].(map[string]any)
		if e := v["errors"].([]any); len(e) > 0 {
			errs[v["name"].(string)] = e
		}
	}
	return map[string]any{"name": m["name"], "error_count": m["error_count"], "errors": errs}
}

func serve(t *testing.T) string {
	t.Helper()
	c := brokertest.Start(t)
	c.CreateTopic(t, "moldau-t2", 1)
	reg := plugins.NewRegistry()
	builtin.Register(reg)
	file.Register(reg)
	w := connecttest.Start(t, c.MemoryOptions(), reg, connecttest.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	srv := httptest.NewServer(restconnect.Handler(w.Worker, restconnect.Options{}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestAnswersAreThoseOfKafkaConnect(t *testing.T) {
	b, err := os.ReadFile("testdata/transcript.json")
	require.NoError(t, err)
	var want []recorded
	require.NoError(t, json.Unmarshal(b, &want))
	require.Len(t, want, len(steps), "record the transcript again")
	base := serve(t)
	for i, s := range steps {
		t.Run(fmt.Sprintf("%03d %s", i, s.do), func(t *testing.T) {
			have, w := perform(t, base, s), want[i]
			for deadline := time.Now().Add(20 * time.Second); s.await != "" && time.Now().Before(deadline) && !reflect.DeepEqual(normal(t, w.Body), normal(t, have.Body)); {
				time.Sleep(10 * time.Millisecond) // states follow each other
				have = perform(t, base, s)
			}
			require.Equal(t, w.Step, have.Step, "record the transcript again")
			require.Equal(t, w.Code, have.Code, "%s", have.Body)
			require.Equal(t, w.ContentType, have.ContentType)
			require.Equal(t, w.Location, have.Location)
			if w.Allow != "" && w.Code != http.StatusMethodNotAllowed {
				require.ElementsMatch(t, strings.Split(w.Allow, ","), strings.Split(have.Allow, ","))
			}
			if s.loose || strings.HasPrefix(s.do, "OPTIONS") {
				return
			}
			require.Equal(t, normal(t, w.Body), normal(t, have.Body))
		})
	}
}
