package elasticsearch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { servers.Main(m) }

var rowSchema = data.NewStruct().Name("row").
	Field("id", data.Int64Schema).
	Field("name", data.OptionalStringSchema).
	Field("amount", data.New(data.TypeBytes).Name(data.LogicalDecimal).Param("scale", "2").Build()).
	Build()

func row(id int64, name string, cents byte) data.Value {
	st := data.NewStructValue(rowSchema)
	st.Set("id", data.Int64(id))
	st.Set("name", data.String(name))
	st.Set("amount", data.Bytes([]byte{cents}))
	return data.StructOf(st)
}

func rec(offset int64, key, value data.Value) plugins.SinkRecord {
	r := plugins.SinkRecord{Topic: "T.Rows", OriginalTopic: "T.Rows", Offset: offset, Key: key, KeySchema: data.Int64Schema, Value: value}
	if !value.IsNull() {
		r.ValueSchema = rowSchema
	}
	return r
}

var tp0 = plugins.TopicPartition{Topic: "T.Rows"}

type harness struct {
	*task
	mu       sync.Mutex
	reported []int64
	paused   atomic.Bool
}

func start(t *testing.T, url string, report bool, kv ...string) *harness {
	t.Helper()
	raw := map[string]string{"connection.url": url, "behavior.on.null.values": "delete"}
	for i := 0; i < len(kv); i += 2 {
		raw[kv[i]] = kv[i+1]
	}
	cfg, err := definition().Parse(raw)
	require.NoError(t, err)
	h := &harness{task: &task{}}
	env := plugins.SinkEnv{Env: plugins.Env{ConnectorName: "es", Logger: slog.New(slog.NewTextHandler(io.Discard, nil))},
		Pause: func(...plugins.TopicPartition) { h.paused.Store(true) }, Resume: func(...plugins.TopicPartition) { h.paused.Store(false) }, RequestCommit: func() {}}
	if report {
		env.Report = func(r *plugins.SinkRecord, _ error, done func(error)) {
			h.mu.Lock() // documents that the server refuses are reported from the request's goroutine
			h.reported = append(h.reported, r.Offset)
			h.mu.Unlock()
			done(nil)
		}
	}
	require.NoError(t, h.Start(t.Context(), env, cfg))
	require.NoError(t, h.Open(t.Context(), []plugins.TopicPartition{tp0}))
	t.Cleanup(func() { require.NoError(t, h.Stop()) })
	return h
}

func documents(t *testing.T, url, index string) map[string]string {
	t.Helper()
	out := map[string]string{}
	_, err := http.Post(url+"/"+index+"/_refresh", "application/json", nil)
	require.NoError(t, err)
	res, err := http.Get(url + "/" + index + "/_search?size=1000")
	require.NoError(t, err)
	defer res.Body.Close()
	var a struct {
		Hits struct {
			Hits []struct {
				ID     string          `json:"_id"`
				Source json.RawMessage `json:"_source"`
			} `json:"hits"`
		} `json:"hits"`
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&a))
	for _, h := range a.Hits.Hits {
		out[h.ID] = string(h.Source)
	}
	return out
}

func drop(t *testing.T, url, index string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodDelete, url+"/"+index, http.NoBody)
	require.NoError(t, err)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	res.Body.Close()
}

func eachServer(t *testing.T, f func(t *testing.T, url string)) {
	t.Run("opensearch", func(t *testing.T) { f(t, servers.TestOpenSearch(t).URL) })
	t.Run("elasticsearch", func(t *testing.T) { f(t, servers.TestElasticsearch(t).URL) })
}

func TestDocumentsFollowRecordsAndRepeatsChangeNothing(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		drop(t, url, "t.rows")
		h := start(t, url, false, "batch.size", "3")
		var recs []plugins.SinkRecord
		for i := range int64(10) {
			recs = append(recs, rec(i, data.Int64(i%4), row(i%4, fmt.Sprint("v", i), byte(i))))
		}
		recs = append(recs, rec(10, data.Int64(1), data.Null))
		require.NoError(t, h.Put(t.Context(), recs))
		safe, err := h.PreCommit(t.Context(), true)
		require.NoError(t, err)
		require.Equal(t, map[plugins.TopicPartition]int64{tp0: 11}, safe)
		want := map[string]string{"0": `{"id":0,"name":"v8","amount":0.08}`, "2": `{"id":2,"name":"v6","amount":0.06}`, "3": `{"id":3,"name":"v7","amount":0.07}`}
		require.Equal(t, want, documents(t, url, "t.rows"))

		again := start(t, url, false) // another task from the first offset: a crash before the commit
		require.NoError(t, again.Put(t.Context(), recs[:6]))
		_, err = again.PreCommit(t.Context(), true)
		require.NoError(t, err)
		require.Equal(t, want, documents(t, url, "t.rows"), "older offsets lose")
	})
}

func TestUpsertsMergeInOrder(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		drop(t, url, "t.rows")
		h := start(t, url, false, "write.method", "upsert", "batch.size", "1", "max.in.flight.requests", "5")
		for i := range int64(40) {
			require.NoError(t, h.Put(t.Context(), []plugins.SinkRecord{rec(i, data.Int64(i%2), row(i%2, fmt.Sprint("v", i), byte(i)))}))
		}
		_, err := h.PreCommit(t.Context(), true)
		require.NoError(t, err)
		docs := documents(t, url, "t.rows")
		require.JSONEq(t, `{"id":0,"name":"v38","amount":0.38}`, docs["0"])
		require.JSONEq(t, `{"id":1,"name":"v39","amount":0.39}`, docs["1"])
	})
}

func TestBadDocumentsGoToTheDeadLetterTopicAndTheRestIsWritten(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		drop(t, url, "t.rows")
		h := start(t, url, true)
		require.NoError(t, h.Put(t.Context(), []plugins.SinkRecord{rec(0, data.Int64(1), row(1, "good", 1))}))
		bad := rec(1, data.Int64(2), row(2, "bad", 2))
		other := data.NewStruct().Field("id", data.StringSchema).Build()
		st := data.NewStructValue(other)
		st.Set("id", data.String("no number"))
		bad.Value, bad.ValueSchema = data.StructOf(st), nil
		unkeyed := rec(2, data.Null, row(3, "no key", 3))
		require.NoError(t, h.Put(t.Context(), []plugins.SinkRecord{bad, unkeyed, rec(3, data.Int64(4), row(4, "good", 4))}))
		safe, err := h.PreCommit(t.Context(), true)
		require.NoError(t, err)
		require.Equal(t, int64(4), safe[tp0])
		require.ElementsMatch(t, []int64{1, 2}, h.reported)
		require.Len(t, documents(t, url, "t.rows"), 2)
	})
}

func TestARefusedDocumentFailsTheTaskWithTheServersWords(t *testing.T) {
	url := servers.TestOpenSearch(t).URL
	drop(t, url, "t.rows")
	h := start(t, url, false)
	bad := rec(1, data.Int64(2), data.Map([]data.MapEntry{{Key: data.String("id"), Value: data.String("no number")}}))
	bad.ValueSchema = nil
	require.NoError(t, h.Put(t.Context(), []plugins.SinkRecord{rec(0, data.Int64(1), row(1, "good", 1)), bad}))
	_, err := h.PreCommit(t.Context(), true)
	require.ErrorContains(t, err, "T.Rows-0 offset 1: the server refuses document t.rows/2: HTTP 400 mapper_parsing_exception")
}

func TestAnAbsentServerIsWaitedForWithPartitionsPaused(t *testing.T) {
	s := servers.TestOpenSearch(t)
	if s.Process == nil {
		t.Skip("the given server is not ours to freeze")
	}
	drop(t, s.URL, "t.rows")
	h := start(t, s.URL, false, "max.buffered.records", "50", "batch.size", "20", "read.timeout.ms", "300")
	first := []plugins.SinkRecord{rec(0, data.Int64(0), row(0, "first", 0))}
	err := h.Put(t.Context(), first)
	for plugins.IsRetriable(err) { // a busy machine may take longer than read.timeout.ms to make the index; the worker asks again
		err = h.Put(t.Context(), first)
	}
	require.NoError(t, err)
	_, err = h.PreCommit(t.Context(), true)
	require.NoError(t, err)
	require.NoError(t, s.Freeze())
	thawed := false
	defer func() {
		if !thawed {
			_ = s.Thaw()
		}
	}()
	var recs []plugins.SinkRecord
	for i := int64(1); i < 100; i++ {
		recs = append(recs, rec(i, data.Int64(i), row(i, "x", 1)))
	}
	require.NoError(t, h.Put(t.Context(), recs))
	require.True(t, h.paused.Load())
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.NoError(t, h.send.flush(ctx))
	safe, err := h.PreCommit(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, int64(1), safe[tp0], "nothing of what is under way counts")
	require.NoError(t, s.Thaw())
	thawed = true
	_, err = h.PreCommit(t.Context(), true)
	require.NoError(t, err)
	require.NoError(t, h.Put(t.Context(), nil))
	require.False(t, h.paused.Load())
	require.Len(t, documents(t, s.URL, "t.rows"), 100)
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		status   int
		typ      string
		act      action
		external bool
		want     verdict
	}{
		{201, "", actIndex, true, ok}, {409, "version_conflict_engine_exception", actIndex, true, ok}, {409, "version_conflict_engine_exception", actUpdate, false, again},
		{409, "version_conflict_engine_exception", actCreate, false, refused}, {404, "", actDelete, true, ok}, {404, "index_not_found_exception", actIndex, true, refused},
		{429, "es_rejected_execution_exception", actIndex, true, again}, {503, "", actIndex, true, again}, {400, "mapper_parsing_exception", actIndex, true, malformed},
		{400, "document_parsing_exception", actIndex, true, malformed}, {403, "cluster_block_exception", actIndex, true, again}, {403, "security_exception", actIndex, true, refused},
	} {
		r := itemResult{Status: c.status}
		r.Error.Type = c.typ
		require.Equal(t, c.want, judge(&r, c.act, c.external), "%+v", c)
	}
}

func FuzzParseBulk(f *testing.F) {
	f.Add([]byte(`{"took":1,"errors":false,"items":[{"index":{"status":201}}]}`), 1)
	f.Add([]byte(`{"errors":true,"items":[{"index":{"status":400,"error":{"type":"mapper_parsing_exception","reason":"r","caused_by":{"type":"t","reason":"x"}}}},{"delete":{"status":404}}]}`), 2)
	f.Add([]byte(`{"errors":true,"items":[{}]}`), 1)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		if n < 0 || n > 1000 {
			return
		}
		rs, err := parseBulk(b, n)
		if err == nil && rs != nil {
			require.Len(t, rs, n)
			for i := range rs {
				_ = judge(&rs[i], actIndex, true)
			}
		}
	})
}

func TestMappingsHaveTheOriginalsTypes(t *testing.T) {
	s := data.NewStruct().Field("b", data.Int8Schema).Field("t", data.OptionalStringSchema).Field("at", data.New(data.TypeInt64).Name(data.LogicalTimestamp).Build()).
		Field("in", data.NewStruct().Field("x", data.Float64Schema).Build()).Field("l", data.NewArray(data.Int32Schema).Build()).Build()
	m, err := appendMapping(nil, s)
	require.NoError(t, err)
	require.JSONEq(t, `{"properties":{"b":{"type":"byte"},"t":{"type":"text","fields":{"keyword":{"type":"keyword","ignore_above":256}}},"at":{"type":"date"},"in":{"properties":{"x":{"type":"double"}}},"l":{"type":"integer"}}}`, string(m))
	_, err = indexName("a/b")
	require.ErrorContains(t, err, "RegexRouter")
	n, err := indexName("PG.Shop.Orders")
	require.NoError(t, err)
	require.Equal(t, strings.ToLower("PG.Shop.Orders"), n)
}
