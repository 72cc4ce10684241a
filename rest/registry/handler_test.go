package registry_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/rest/registry"
	"github.com/moldau-io/moldau/schemaregistry"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// node is a registry on a Kafka cluster, with its edge.
type node struct {
	reg *schemaregistry.Registry
	url string
}

func cluster(t *testing.T) []kgo.Opt {
	t.Helper()
	return brokertest.Start(t).MemoryOptions()
}

func start(t *testing.T, kafka []kgo.Opt, change func(*schemaregistry.Options)) *node {
	t.Helper()
	o := schemaregistry.DefaultOptions()
	o.KafkaOpts = kafka
	if change != nil {
		change(&o)
	}
	reg, err := schemaregistry.New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- reg.Run(ctx) }()
	server := httptest.NewServer(registry.Handler(reg, registry.Options{Version: "1", Commit: "abc"}))
	t.Cleanup(func() {
		server.Close()
		cancel()
		require.NoError(t, <-done)
	})
	wait, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	require.NoError(t, reg.WaitReady(wait))
	return &node{reg, server.URL}
}

func (n *node) do(t *testing.T, method, path, body string, headers ...string) (int, string, http.Header) {
	t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r, err := http.NewRequest(method, n.url+path, in)
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { require.NoError(t, answer.Body.Close()) }()
	data, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(data), answer.Header
}

// step is one request of a transcript. want is the JSON answer; members of it called ts and guid are not compared.
type step struct {
	request string
	body    string
	status  int
	want    string
}

func transcript(t *testing.T, n *node, steps []step) {
	t.Helper()
	for _, s := range steps {
		method, path, _ := strings.Cut(s.request, " ")
		status, got, _ := n.do(t, method, path, s.body)
		require.Equal(t, s.status, status, "%s %s\n%s", s.request, s.body, got)
		if s.want == "" {
			require.Empty(t, got)
			continue
		}
		require.JSONEq(t, s.want, strip(t, got), "%s %s", s.request, s.body)
	}
}

func strip(t *testing.T, text string) string {
	var v any
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			delete(v, "ts")
			delete(v, "guid")
			for _, m := range v {
				walk(m)
			}
		case []any:
			for _, m := range v {
				walk(m)
			}
		}
	}
	walk(v)
	out, err := json.Marshal(v)
	require.NoError(t, err)
	return string(out)
}

func schema(text string) string {
	b, _ := json.Marshal(map[string]string{"schema": text})
	return string(b)
}

const (
	recA = `{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}`
	recB = `{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":"int","default":0}]}`
	recC = `{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"c","type":"int"}]}`
)

func q(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func errorBody(code int, message string) string {
	b, _ := json.Marshal(map[string]any{"error_code": code, "message": message})
	return string(b)
}

func TestRegisterAndRead(t *testing.T) {
	n := start(t, cluster(t), nil)
	transcript(t, n, []step{
		{"GET /", "", 200, `{}`},
		{"POST /", "", 200, `{}`},
		{"GET /subjects", "", 200, `[]`},
		{"GET /schemas/types", "", 200, `["AVRO"]`},
		{"GET /subjects/s/versions", "", 404, errorBody(40401, "Subject 's' not found.")},
		{"GET /subjects/s/versions/1", "", 404, errorBody(40401, "Subject 's' not found.")},
		{"GET /schemas/ids/1", "", 404, errorBody(40403, "Schema 1 not found")},
		{"POST /subjects/s", schema(recA), 404, errorBody(40401, "Subject 's' not found.")},
		// The text is stored as Java prints it.
		{"POST /subjects/s/versions?normalize=False", schema(`{"name": "R", "type": "record", "fields": [{"type": {"type": "int"}, "name": "a"}]}`), 200, `{"id":1,"version":1,"schemaType":"AVRO","schema":` + q(recA) + `}`},
		{"POST /subjects/s/versions", schema(recA), 200, `{"id":1,"version":1,"schemaType":"AVRO","schema":` + q(recA) + `}`},
		{"POST /subjects/s/versions/", `{"schema":` + q(recB) + `,"references":null,"metadata":null,"unknown":1}`, 200, `{"id":2,"version":2,"schemaType":"AVRO","schema":` + q(recB) + `}`},
		{"POST /subjects/other/versions", schema(recB), 200, `{"id":2,"version":1,"schemaType":"AVRO","schema":` + q(recB) + `}`},
		{"GET /subjects", "", 200, `["other","s"]`},
		{"GET /subjects/", "", 200, `["other","s"]`},
		{"GET /subjects?subjectPrefix=o", "", 200, `["other"]`},
		{"GET /subjects?offset=1&limit=5", "", 200, `["s"]`},
		{"GET /subjects/s/versions", "", 200, `[1,2]`},
		{"GET /subjects/s/versions/1", "", 200, `{"subject":"s","version":1,"id":1,"schemaType":"AVRO","schema":` + q(recA) + `}`},
		{"GET /subjects/s/versions/latest", "", 200, `{"subject":"s","version":2,"id":2,"schemaType":"AVRO","schema":` + q(recB) + `}`},
		{"GET /subjects/s/versions/-1", "", 200, `{"subject":"s","version":2,"id":2,"schemaType":"AVRO","schema":` + q(recB) + `}`},
		{"GET /subjects/s/versions/LATEST/schema", "", 200, recB},
		{"GET /subjects/s/versions/3", "", 404, errorBody(40402, "Version 3 not found.")},
		{"GET /subjects/s/versions/0", "", 422, errorBody(42202, `The specified version '0' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`)},
		{"GET /subjects/s/versions/x", "", 422, errorBody(42202, `The specified version 'x' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`)},
		{"POST /subjects/s?normalize=False&deleted=False", schema(recA), 200, `{"subject":"s","version":1,"id":1,"schemaType":"AVRO","schema":` + q(recA) + `}`},
		{"POST /subjects/s", schema(recC), 404, errorBody(40403, "Schema not found")},
		{"GET /schemas/ids/2", "", 200, `{"schemaType":"AVRO","schema":` + q(recB) + `}`},
		{"GET /schemas/ids/2?fetchMaxId=true&subject=other", "", 200, `{"subject":"other","version":1,"schemaType":"AVRO","schema":` + q(recB) + `,"maxId":2}`},
		{"GET /schemas/ids/2/schema", "", 200, recB},
		{"GET /schemas/ids/2/subjects", "", 200, `["other","s"]`},
		{"GET /schemas/ids/2/versions", "", 200, `[{"subject":"other","version":1},{"subject":"s","version":2}]`},
		{"GET /schemas/ids/x", "", 404, errorBody(404, "HTTP 404 Not Found")},
		{"GET /schemas?latestOnly=true&subjectPrefix=s", "", 200, `[{"subject":"s","version":2,"id":2,"schemaType":"AVRO","schema":` + q(recB) + `}]`},
		{"POST /subjects/s/versions", schema(recC), 409, errorBody(409, `Schema being registered is incompatible with an earlier schema for subject "s", details: [{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'c' at path '/fields/1' in the new schema has no default value and is missing in the old schema', additionalInfo:'c'}, {oldSchemaVersion: 2}, {oldSchema: '`+recB+`'}, {validateFields: 'false', compatibility: 'BACKWARD'}]`)},
		{"POST /subjects/s/versions", schema(`{"type":"foo"}`), 422, errorBody(42201, "Invalid schema of type AVRO, details: Type not supported: foo")},
		{"POST /subjects/s/versions", `{"schema":"\"int\"","schemaType":"JSON"}`, 422, errorBody(42201, "Invalid schema type JSON: this registry supports AVRO only")},
		{"POST /subjects/s/versions", `{"schema":"\"int\"","id":7}`, 422, errorBody(42205, "Subject s in context  is not in import mode")},
		{"POST /subjects/s/versions", `{"schema":`, 400, errorBody(400, "request body is not valid: unexpected end of JSON input (after 10 bytes)")},
		{"POST /subjects/s/versions", "", 422, errorBody(422, "request body may not be null")},
		{"POST /subjects/%5Cx%07/versions", schema(recA), 422, errorBody(42208, "The specified subject '\\x\a' is not a valid.")},
		{"GET /nothing", "", 404, errorBody(404, "HTTP 404 Not Found")},
		{"PATCH /subjects", "", 405, errorBody(405, "HTTP 405 Method Not Allowed")},
		{"GET /v1/metadata/version", "", 200, `{"version":"1","commitId":"abc"}`},
		{"GET /contexts", "", 200, `["."]`},
	})
	_, guid, _ := n.do(t, "GET", "/schemas/ids/1", "")
	var s schemaregistry.Schema
	require.NoError(t, json.Unmarshal([]byte(guid), &s))
	transcript(t, n, []step{
		{"GET /schemas/guids/" + s.GUID, "", 200, `{"schemaType":"AVRO","schema":` + q(recA) + `}`},
		{"GET /schemas/guids/" + s.GUID + "/ids", "", 200, `[{"context":".","id":1}]`},
		{"GET /schemas/guids/x", "", 404, errorBody(40403, "Schema x not found")},
	})
	status, body, _ := n.do(t, "GET", "/v1/metadata/id", "")
	require.Equal(t, 200, status)
	require.Contains(t, body, `"schema-registry-cluster":"schema-registry"`)
	require.Contains(t, body, `"kafka-cluster"`)
}

func TestSubjectsAreAnyText(t *testing.T) {
	n := start(t, cluster(t), nil)
	for escaped, subject := range map[string]string{"a%2Fb": "a/b", "a%20b": "a b", "%25": "%", "a+b": "a+b", "..": "..", "%C3%A9": "é", "a:b": "a:b", "%3Ca%26b%3E": "<a&b>", ":.:d": "d"} {
		status, body, _ := n.do(t, "POST", "/subjects/"+escaped+"/versions", schema(`"int"`))
		require.Equal(t, 200, status, "%s: %s", escaped, body)
		status, body, _ = n.do(t, "GET", "/subjects/"+escaped+"/versions/1", "")
		require.Equal(t, 200, status, body)
		var s schemaregistry.Schema
		require.NoError(t, json.Unmarshal([]byte(body), &s))
		require.Equal(t, subject, s.Subject)
	}
}

func TestMediaTypes(t *testing.T) {
	n := start(t, cluster(t), nil)
	for accept, want := range map[string]string{"": "application/vnd.schemaregistry.v1+json", "*/*": "application/vnd.schemaregistry.v1+json", "application/json": "application/json",
		"application/vnd.schemaregistry.v1+json, application/vnd.schemaregistry+json, application/json": "application/vnd.schemaregistry.v1+json",
		"application/json;q=0.5, application/vnd.schemaregistry+json":                                   "application/vnd.schemaregistry+json"} {
		status, _, header := n.do(t, "GET", "/subjects", "", "Accept", accept)
		require.Equal(t, 200, status)
		require.Equal(t, want, header.Get("Content-Type"), accept)
	}
	status, body, _ := n.do(t, "GET", "/subjects", "", "Accept", "text/html")
	require.Equal(t, 406, status)
	require.JSONEq(t, errorBody(406, "HTTP 406 Not Acceptable"), body)
	for contentType, want := range map[string]int{"application/json": 200, "application/octet-stream": 200, "application/vnd.schemaregistry.v1+json; charset=utf-8": 200, "text/plain": 415, "application/x-www-form-urlencoded": 415} {
		status, _, _ := n.do(t, "POST", "/subjects/s/versions", schema(`"int"`), "Content-Type", contentType)
		require.Equal(t, want, status, contentType)
	}
	status, _, _ = n.do(t, "HEAD", "/subjects", "")
	require.Equal(t, 200, status)
}

func TestRequestBodiesAreBounded(t *testing.T) {
	n := start(t, cluster(t), func(o *schemaregistry.Options) { o.Limits.SchemaBytes = 1000 })
	long := `{"type":"string","doc":"` + strings.Repeat("x", 1000) + `"}`
	transcript(t, n, []step{{"POST /subjects/s/versions", schema(long), 422, errorBody(42209, "Register operation failed because schema is too large")}})
	status, _, _ := n.do(t, "POST", "/subjects/s/versions", strings.Repeat(" ", 2<<20))
	require.Equal(t, 413, status)
}

func TestDelete(t *testing.T) {
	kafka := cluster(t)
	n := start(t, kafka, nil)
	softDeleted := func(v string) string {
		return errorBody(40406, "Subject 's' Version "+v+" was soft deleted.Set permanent=true to delete permanently")
	}
	transcript(t, n, []step{
		{"DELETE /subjects/s", "", 404, errorBody(40401, "Subject 's' not found.")},
		{"DELETE /subjects/s/versions/1", "", 404, errorBody(40401, "Subject 's' not found.")},
		{"POST /subjects/s/versions", schema(recA), 200, `{"id":1,"version":1,"schemaType":"AVRO","schema":` + q(recA) + `}`},
		{"POST /subjects/s/versions", schema(recB), 200, `{"id":2,"version":2,"schemaType":"AVRO","schema":` + q(recB) + `}`},
		{"DELETE /subjects/s?permanent=true", "", 404, errorBody(40405, "Subject 's' was not deleted first before being permanently deleted")},
		{"DELETE /subjects/s/versions/1?permanent=true", "", 404, errorBody(40407, "Subject 's' Version 1 was not deleted first before being permanently deleted")},
		{"DELETE /subjects/s/versions/7", "", 404, errorBody(40402, "Version 7 not found.")},
		{"DELETE /subjects/s/versions/1?permanent=False", "", 200, `1`},
		{"DELETE /subjects/s/versions/1", "", 404, softDeleted("1")},
		{"GET /subjects/s/versions", "", 200, `[2]`},
		{"GET /subjects/s/versions?deleted=true", "", 200, `[1,2]`},
		{"GET /subjects/s/versions?deletedOnly=TRUE", "", 200, `[1]`},
		{"GET /subjects/s/versions/1", "", 404, errorBody(40402, "Version 1 not found.")},
		{"GET /subjects/s/versions/1?deleted=true", "", 200, `{"subject":"s","version":1,"id":1,"schemaType":"AVRO","deleted":true,"schema":` + q(recA) + `}`},
		{"GET /schemas/ids/1", "", 200, `{"schemaType":"AVRO","deleted":true,"schema":` + q(recA) + `}`},
		{"POST /subjects/s", schema(recA), 404, errorBody(40403, "Schema not found")},
		{"POST /subjects/s?deleted=true", schema(recA), 200, `{"subject":"s","version":1,"id":1,"schemaType":"AVRO","deleted":true,"schema":` + q(recA) + `}`},
		{"DELETE /subjects/s/versions/latest", "", 200, `2`},
		{"GET /subjects/s/versions", "", 404, errorBody(40401, "Subject 's' not found.")},
		{"DELETE /subjects/s", "", 404, errorBody(40404, "Subject 's' was soft deleted.Set permanent=true to delete permanently")},
		// The schema comes back as a new version with its old id; the deleted version of that id goes.
		{"POST /subjects/s/versions", schema(recA), 200, `{"id":1,"version":3,"schemaType":"AVRO","schema":` + q(recA) + `}`},
		{"GET /subjects/s/versions?deleted=true", "", 200, `[2,3]`},
		{"DELETE /subjects/s", "", 200, `[3]`},
		{"GET /subjects", "", 200, `[]`},
		{"GET /subjects?deleted=true", "", 200, `["s"]`},
		{"PUT /config/s", `{"compatibility":"none"}`, 200, `{"compatibility":"NONE"}`},
		{"DELETE /subjects/s?permanent=true", "", 200, `[2,3]`},
		{"GET /config/s", "", 404, errorBody(40408, "Subject 's' does not have subject-level compatibility configured")},
		{"GET /subjects?deleted=true", "", 200, `[]`},
		{"GET /schemas/ids/1", "", 404, errorBody(40403, "Schema 1 not found")},
		{"POST /subjects/s/versions", schema(recB), 200, `{"id":3,"version":1,"schemaType":"AVRO","schema":` + q(recB) + `}`},
	})
	again := start(t, kafka, nil)
	transcript(t, again, []step{
		{"GET /subjects/s/versions?deleted=true", "", 200, `[1]`},
		{"GET /schemas/ids/3", "", 200, `{"schemaType":"AVRO","schema":` + q(recB) + `}`},
		{"GET /schemas/ids/1", "", 404, errorBody(40403, "Schema 1 not found")},
	})
}

func TestConfigAndMode(t *testing.T) {
	n := start(t, cluster(t), nil)
	transcript(t, n, []step{
		{"GET /config", "", 200, `{"compatibilityLevel":"BACKWARD"}`},
		{"GET /config/s", "", 404, errorBody(40408, "Subject 's' does not have subject-level compatibility configured")},
		{"GET /config/s?defaultToGlobal=True", "", 200, `{"compatibilityLevel":"BACKWARD"}`},
		{"PUT /config", `{"compatibility":"full_transitive"}`, 200, `{"compatibility":"FULL_TRANSITIVE"}`},
		{"GET /config/s?defaultToGlobal=true", "", 200, `{"compatibilityLevel":"FULL_TRANSITIVE"}`},
		{"PUT /config/s", `{"compatibility":"bad"}`, 422, errorBody(42203, "Invalid compatibility level. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive")},
		{"PUT /config/s", `{"compatibility":"NONE","normalize":true,"what":1}`, 200, `{"compatibility":"NONE","normalize":true}`},
		{"PUT /config/s", `{"compatibilityGroup":"major"}`, 200, `{"compatibility":"NONE","normalize":true,"compatibilityGroup":"major"}`},
		{"GET /config/s", "", 200, `{"compatibilityLevel":"NONE","normalize":true,"compatibilityGroup":"major"}`},
		{"PUT /config/s", `{"compatibilityGroup":null}`, 200, `{"compatibility":"NONE","normalize":true}`},
		{"DELETE /config/s", "", 200, `{"compatibilityLevel":"NONE","normalize":true}`},
		{"DELETE /config/s", "", 404, errorBody(40401, "Subject 's' not found.")},
		{"DELETE /config", "", 200, `{"compatibilityLevel":"FULL_TRANSITIVE"}`},
		{"GET /config", "", 200, `{"compatibilityLevel":"BACKWARD"}`},

		{"GET /mode", "", 200, `{"mode":"READWRITE"}`},
		{"GET /mode/s", "", 404, errorBody(40409, "Subject 's' does not have subject-level mode configured")},
		{"GET /mode/s?defaultToGlobal=true", "", 200, `{"mode":"READWRITE"}`},
		{"PUT /mode/s", `{"mode":"bad"}`, 422, errorBody(42204, "Invalid mode. Valid values are READWRITE, READONLY, IMPORT and FORWARD.")},
		{"PUT /mode/s", `{"mode":"readonly"}`, 200, `{"mode":"readonly"}`},
		{"POST /subjects/s/versions", schema(recA), 422, errorBody(42205, "Subject s in context  is in read-only mode")},
		{"DELETE /mode/s", "", 200, `{"mode":"READONLY"}`},
		{"DELETE /mode/s", "", 404, errorBody(40401, "Subject 's' not found.")},
		{"PUT /mode/s", `{"mode":"IMPORT"}`, 200, `{"mode":"IMPORT"}`},
		{"POST /subjects/s/versions", schema(recA), 422, errorBody(42205, "Subject s in context  is not in read-write mode")},
		{"POST /subjects/s/versions", `{"schema":` + q(recA) + `,"id":100,"version":5}`, 200, `{"id":100,"version":5,"schemaType":"AVRO","schema":` + q(recA) + `}`},
		{"POST /subjects/s/versions", `{"schema":` + q(recC) + `,"id":100,"version":6}`, 422, errorBody(42205, "Overwrite new schema with id 100 in context  is not permitted.")},
		{"POST /subjects/s/versions", `{"schema":` + q(recC) + `,"id":90}`, 200, `{"id":90,"version":6,"schemaType":"AVRO","schema":` + q(recC) + `}`},
		{"DELETE /mode/s", "", 200, `{"mode":"IMPORT"}`},
		{"PUT /mode", `{"mode":"IMPORT"}`, 422, errorBody(42205, "Cannot import since found existing subjects")},
		{"PUT /mode?force=True", `{"mode":"IMPORT"}`, 200, `{"mode":"IMPORT"}`},
		{"PUT /mode", `{"mode":"READWRITE"}`, 200, `{"mode":"READWRITE"}`},
		{"POST /subjects/t/versions", schema(`"int"`), 200, `{"id":101,"version":1,"schemaType":"AVRO","schema":"\"int\""}`},
	})
}

func TestCompatibilityCheck(t *testing.T) {
	n := start(t, cluster(t), nil)
	bad := `{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'c' at path '/fields/1' in the new schema has no default value and is missing in the old schema', additionalInfo:'c'}`
	transcript(t, n, []step{
		{"POST /compatibility/subjects/s/versions/latest", schema(recA), 200, `{"is_compatible":true}`},
		{"POST /compatibility/subjects/s/versions", schema(recA), 200, `{"is_compatible":true}`},
		{"POST /compatibility/subjects/s/versions/1", schema(recA), 404, errorBody(40402, "Version 1 not found.")},
		{"POST /subjects/s/versions", schema(recA), 200, `{"id":1,"version":1,"schemaType":"AVRO","schema":` + q(recA) + `}`},
		{"POST /compatibility/subjects/s/versions/latest", schema(recC), 200, `{"is_compatible":false}`},
		{"POST /compatibility/subjects/s/versions/1?verbose=True", schema(recC), 200, `{"is_compatible":false,"messages":[` + q(bad) + `,"{oldSchemaVersion: 1}",` + q("{oldSchema: '"+recA+"'}") + `,"{validateFields: 'false', compatibility: 'BACKWARD'}"]}`},
		{"POST /compatibility/subjects/s/versions/?normalize=False&verbose=true", schema(recB), 200, `{"is_compatible":true}`},
		{"POST /compatibility/subjects/s/versions/latest", schema(`{}`), 422, errorBody(42201, "Invalid schema of type AVRO, details: No type: {}")},
		{"POST /compatibility/subjects/s/versions/latest?verbose=true", schema(`{}`), 200, `{"is_compatible":false,"messages":["Invalid schema of type AVRO, details: No type: {}"]}`},
		{"POST /compatibility/subjects/s/versions/x", schema(recA), 422, errorBody(42202, `The specified version 'x' is not a valid version id. Allowed values are between [1, 2^31-1] and the string "latest"`)},
	})
}

func TestReferences(t *testing.T) {
	n := start(t, cluster(t), nil)
	sub := `{"type":"record","name":"Sub","namespace":"x","fields":[{"name":"a","type":"int"}]}`
	top := `{"type":"record","name":"Top","namespace":"x","fields":[{"name":"s","type":"Sub"}]}`
	full := `{"type":"record","name":"Top","namespace":"x","fields":[{"name":"s","type":{"type":"record","name":"Sub","fields":[{"name":"a","type":"int"}]}}]}`
	ref := func(version string) string {
		return `{"schema":` + q(top) + `,"references":[{"name":"x.Sub","subject":"sub","version":` + version + `}]}`
	}
	stored := `"schemaType":"AVRO","references":[{"name":"x.Sub","subject":"sub","version":1}],"schema":` + q(top)
	transcript(t, n, []step{
		{"POST /subjects/top/versions", ref("1"), 422, errorBody(42201, `Invalid schema of type AVRO, details: No schema reference found for subject "sub" and version 1`)},
		{"POST /subjects/sub/versions", schema(sub), 200, `{"id":1,"version":1,"schemaType":"AVRO","schema":` + q(sub) + `}`},
		{"POST /subjects/top/versions", ref("-1"), 200, `{"id":2,"version":1,` + stored + `}`},
		{"POST /subjects/top/versions", ref("1"), 200, `{"id":2,"version":1,` + stored + `}`},
		{"POST /subjects/top", ref("-1"), 200, `{"subject":"top","id":2,"version":1,` + stored + `}`},
		// A client that wrote the references out means the same schema.
		{"POST /subjects/top", schema(full), 200, `{"subject":"top","id":2,"version":1,` + stored + `}`},
		{"GET /schemas/ids/2", "", 200, `{` + stored + `}`},
		{"GET /schemas/ids/2/schema?format=resolved", "", 200, full},
		{"GET /subjects/top/versions/1/schema?format=resolved", "", 200, full},
		{"GET /subjects/sub/versions/latest/referencedby", "", 200, `[2]`},
		{"GET /subjects/top/versions/1/referencedby", "", 200, `[]`},
		{"DELETE /subjects/sub/versions/1", "", 422, errorBody(42206, "One or more references exist to the schema {magic=1,keytype=SCHEMA,subject=sub,version=1}.")},
		{"DELETE /subjects/sub", "", 422, errorBody(42206, "One or more references exist to the schema {magic=1,keytype=SCHEMA,subject=sub,version=1}.")},
		{"POST /compatibility/subjects/top/versions/latest", ref("1"), 200, `{"is_compatible":true}`},
		{"DELETE /subjects/top", "", 200, `[1]`},
		{"DELETE /subjects/sub", "", 200, `[1]`},
		{"GET /subjects/sub/versions/1/referencedby", "", 200, `[]`},
		{"GET /subjects/sub/versions/1/referencedby?deleted=true", "", 200, `[2]`},
		// A soft-deleted schema may come back, but not without what it refers to.
		{"DELETE /subjects/sub?permanent=true", "", 422, errorBody(42206, "One or more references exist to the schema {magic=1,keytype=SCHEMA,subject=sub,version=1}.")},
		{"DELETE /subjects/top?permanent=true", "", 200, `[1]`},
		{"DELETE /subjects/sub?permanent=true", "", 200, `[1]`},
	})
}

func TestContextsAreSeparate(t *testing.T) {
	n := start(t, cluster(t), nil)
	transcript(t, n, []step{
		{"POST /subjects/s/versions", schema(recA), 200, `{"id":1,"version":1,"schemaType":"AVRO","schema":` + q(recA) + `}`},
		{"POST /subjects/:.c:s/versions", schema(recB), 200, `{"id":1,"version":1,"schemaType":"AVRO","schema":` + q(recB) + `}`},
		{"GET /contexts", "", 200, `[".",".c"]`},
		{"GET /subjects", "", 200, `[":.c:s","s"]`},
		{"GET /subjects?subjectPrefix=:.c:", "", 200, `[":.c:s"]`},
		{"GET /contexts/.c/subjects", "", 200, `[":.c:s"]`},
		{"GET /contexts/.c/subjects/s/versions/1", "", 200, `{"subject":":.c:s","version":1,"id":1,"schemaType":"AVRO","schema":` + q(recB) + `}`},
		{"GET /contexts/.c/schemas/ids/1", "", 200, `{"subject":":.c:s","version":1,"schemaType":"AVRO","schema":` + q(recB) + `}`},
		{"GET /schemas/ids/1?subject=:.c:", "", 200, `{"subject":":.c:s","version":1,"schemaType":"AVRO","schema":` + q(recB) + `}`},
		{"GET /schemas/ids/1", "", 200, `{"schemaType":"AVRO","schema":` + q(recA) + `}`},
		{"PUT /contexts/.c/config", `{"compatibility":"NONE"}`, 200, `{"compatibility":"NONE"}`},
		{"GET /config/:.c:s?defaultToGlobal=true", "", 200, `{"compatibilityLevel":"NONE"}`},
		{"GET /config", "", 200, `{"compatibilityLevel":"BACKWARD"}`},
		{"DELETE /contexts/.c", "", 422, errorBody(42211, "The specified context '.c' is not empty.")},
		{"DELETE /subjects/:.c:s", "", 200, `[1]`},
		{"DELETE /subjects/:.c:s?permanent=true", "", 200, `[1]`},
		{"DELETE /contexts/.c", "", 204, ""},
		{"GET /contexts", "", 200, `["."]`},
	})
}

func TestMetadataAndRulesAreKeptAndMerged(t *testing.T) {
	n := start(t, cluster(t), nil)
	with := `{"schema":` + q(recA) + `,"metadata":{"properties":{"owner":"me"}},"ruleSet":{"domainRules":[{"name":"r","type":"CEL","mode":"WRITE","expr":"true"}]}}`
	contract := `"metadata":{"properties":{"owner":"me"}},"ruleSet":{"domainRules":[{"name":"r","type":"CEL","mode":"WRITE","expr":"true"}]}`
	transcript(t, n, []step{
		{"POST /subjects/s/versions", with, 200, `{"id":1,"version":1,"schemaType":"AVRO",` + contract + `,"schema":` + q(recA) + `}`},
		{"POST /subjects/s/versions", with, 200, `{"id":1,"version":1,"schemaType":"AVRO",` + contract + `,"schema":` + q(recA) + `}`},
		// What a new version does not say is taken from the one before.
		{"POST /subjects/s/versions", schema(recA), 200, `{"id":1,"version":1,"schemaType":"AVRO",` + contract + `,"schema":` + q(recA) + `}`},
		{"POST /subjects/s/versions", `{"metadata":{"properties":{"owner":"you"}}}`, 200, `{"id":2,"version":2,"schemaType":"AVRO","metadata":{"properties":{"owner":"you"}},"ruleSet":{"domainRules":[{"name":"r","type":"CEL","mode":"WRITE","expr":"true"}]},"schema":` + q(recA) + `}`},
		{"GET /subjects/s/metadata?key=owner&value=me", "", 200, `{"subject":"s","id":1,"version":1,"schemaType":"AVRO",` + contract + `,"schema":` + q(recA) + `}`},
		{"GET /subjects/s/metadata?key=owner&value=no", "", 404, errorBody(40403, "Schema not found")},
		{"POST /subjects/s/versions", `{"schema":"\"int\"","ruleSet":{"domainRules":[{"name":"a","type":"CEL"},{"name":"a","type":"CEL"}]}}`, 422, errorBody(42210, "Found rule with duplicate name 'a'")},
		{"PUT /config/t", `{"overrideMetadata":{"properties":{"x":"1"}},"alias":"s"}`, 200, `{"overrideMetadata":{"properties":{"x":"1"}},"alias":"s"}`},
		{"GET /subjects/t/versions", "", 200, `[1,2]`},
	})
}

func TestRegistryIsNotServedBeforeItHasReadItsTopic(t *testing.T) {
	o := schemaregistry.DefaultOptions()
	o.KafkaOpts = []kgo.Opt{kgo.SeedBrokers("127.0.0.1:1")}
	o.Registerer = prometheus.NewRegistry()
	reg, err := schemaregistry.New(o)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	registry.Handler(reg, registry.Options{Registerer: o.Registerer}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/subjects", nil))
	require.Equal(t, 500, w.Code)
	require.JSONEq(t, errorBody(50001, "The registry has not read its topic yet"), w.Body.String())
	require.False(t, reg.Ready())
}

type follower string

func (f follower) Leader() (string, bool) { return string(f), false }

func TestFollowerForwardsWritesOnce(t *testing.T) {
	kafka := cluster(t)
	leader := start(t, kafka, nil)
	second := start(t, kafka, func(o *schemaregistry.Options) { o.Leadership = follower(leader.url) })
	transcript(t, second, []step{
		{"POST /subjects/a%2Fb/versions?normalize=true", schema(recA), 200, `{"id":1,"version":1,"schemaType":"AVRO","schema":` + q(recA) + `}`},
		{"PUT /contexts/.c/config", `{"compatibility":"NONE"}`, 200, `{"compatibility":"NONE"}`},
	})
	transcript(t, leader, []step{{"GET /subjects", "", 200, `["a/b"]`}, {"GET /config/:.c:", "", 200, `{"compatibilityLevel":"NONE"}`}})
	status, body, _ := second.do(t, "POST", "/subjects/s/versions", schema(recB), "X-Forward", "true")
	require.Equal(t, 500, status)
	require.JSONEq(t, errorBody(50004, "Leader not known."), body)
}
