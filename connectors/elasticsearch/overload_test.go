package elasticsearch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/stretchr/testify/require"
)

// overload stands between the sink and a server that is too busy: it answers some requests with 429, and of others it hands only some
// items on and answers the rest itself with the 429 that a full queue gives.
type overload struct {
	t      testing.TB
	server string

	mu              sync.Mutex
	r               *rand.Rand
	whole, partial  int
	handed, refused int
}

func (o *overload) chance(n int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.r.IntN(n) == 0
}

func (o *overload) pass(w http.ResponseWriter, r *http.Request, body []byte) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, o.server+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	req.Header = r.Header.Clone()
	req.Header.Del("Accept-Encoding") // the client here unpacks
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer res.Body.Close()
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	w.WriteHeader(res.StatusCode)
	_, _ = io.Copy(w, res.Body)
}

func (o *overload) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if r.URL.Path != "/_bulk" {
		o.pass(w, r, body)
		return
	}
	if o.chance(5) {
		o.mu.Lock()
		o.whole++
		o.mu.Unlock()
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `{"error":{"type":"circuit_breaking_exception","reason":"too busy"},"status":429}`)
		return
	}
	lines := bytes.SplitAfter(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
	var on []byte
	var actions []string // "" where the item was handed on
	for i := 0; i < len(lines); i++ {
		var head map[string]json.RawMessage
		if err := json.Unmarshal(lines[i], &head); err != nil {
			o.t.Errorf("bulk line %q: %v", lines[i], err)
		}
		var act string
		for k := range head {
			act = k
		}
		item := lines[i]
		if act != "delete" {
			i++
			item = append(append([]byte{}, item...), lines[i]...)
		}
		if o.chance(4) {
			actions = append(actions, act)
			continue
		}
		actions = append(actions, "")
		on = append(append(on, bytes.TrimSuffix(item, []byte("\n"))...), '\n')
	}
	var answer struct {
		Items []json.RawMessage `json:"items"`
	}
	if len(on) > 0 {
		rec := httptest.NewRecorder()
		o.pass(rec, r, on)
		if rec.Code != http.StatusOK {
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
			return
		}
		if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
			o.t.Errorf("answer to _bulk: %v", err)
		}
	}
	var items []json.RawMessage
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, act := range actions {
		if act == "" {
			items, answer.Items = append(items, answer.Items[0]), answer.Items[1:]
			o.handed++
			continue
		}
		items = append(items, json.RawMessage(`{"`+act+`":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"the queue is full"}}}`))
		o.refused++
	}
	o.partial++
	_ = json.NewEncoder(w).Encode(map[string]any{"took": 1, "errors": true, "items": items})
}

// What is sent again after a 429 must not undo a later write of its document: updates and deletes have no version to lose by.
func TestUpsertsKeepTheirOrderThroughOverload(t *testing.T) {
	url := servers.TestOpenSearch(t).URL
	drop(t, url, "t.rows")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	gate := &overload{t: t, server: url, r: rand.New(rand.NewPCG(seed, 1))}
	proxy := httptest.NewServer(gate)
	defer proxy.Close()
	h := start(t, proxy.URL, false, "write.method", "upsert", "batch.size", "7", "max.in.flight.requests", "5", "retry.backoff.ms", "5", "schema.ignore", "true", "read.timeout.ms", "60000")
	r := rand.New(rand.NewPCG(seed, 2))
	want := map[string]string{}
	for i := range int64(250) {
		id := r.Int64N(9)
		v, doc := row(id, fmt.Sprint("v", i), byte(i%100)), fmt.Sprintf(`{"id":%d,"name":"v%d","amount":0.%02d}`, id, i, i%100)
		if r.IntN(6) == 0 {
			v = data.Null
			delete(want, fmt.Sprint(id))
		} else {
			want[fmt.Sprint(id)] = doc
		}
		require.NoError(t, h.Put(t.Context(), []plugins.SinkRecord{rec(i, data.Int64(id), v)}))
	}
	safe, err := h.PreCommit(t.Context(), true)
	require.NoError(t, err)
	require.Equal(t, int64(250), safe[tp0])
	got := documents(t, url, "t.rows")
	require.Len(t, got, len(want))
	for id, doc := range want {
		require.JSONEq(t, doc, got[id], "document %s", id)
	}
	require.NotZero(t, gate.whole)
	require.NotZero(t, gate.refused)
	require.NotZero(t, gate.handed)
}

func TestNothingIsSentOnceStopped(t *testing.T) {
	requests := make(chan *url.URL, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { requests <- r.URL }))
	defer server.Close()
	cfg, err := definition().Parse(map[string]string{"connection.url": server.URL, "linger.ms": "3600000"})
	require.NoError(t, err)
	s := newSettings(cfg)
	x := newSender(s, newClient(s), plugins.SinkEnv{Env: plugins.Env{Logger: slog.New(slog.DiscardHandler)}})
	require.NoError(t, x.add(item{rec: rec(0, data.Int64(1), data.Null)}, tp0, func(dst []byte) ([]byte, error) { return append(dst, "{}\n"...), nil }))
	x.tick()
	require.NotNil(t, x.timer)
	x.stop()
	x.since = time.Now().Add(-2 * time.Hour)
	x.lingered() // the timer had fired already and waited for the lock
	x.reportOnly(tp0, &plugins.SinkRecord{}, nil)
	require.Zero(t, x.inFlight, "a request began behind stop's back")
	require.Empty(t, requests)
}

func TestIDsMadeByTheServer(t *testing.T) {
	eachServer(t, func(t *testing.T, url string) {
		drop(t, url, "t.rows")
		h := start(t, url, false, "use.autogenerated.ids", "true", "read.timeout.ms", "60000")
		unkeyed := rec(2, data.Null, row(3, "no key", 3))
		require.NoError(t, h.Put(t.Context(), []plugins.SinkRecord{rec(0, data.Int64(1), row(1, "a", 1)), rec(1, data.Int64(1), row(1, "b", 2)), unkeyed}))
		_, err := h.PreCommit(t.Context(), true)
		require.NoError(t, err)
		docs := documents(t, url, "t.rows")
		require.Len(t, docs, 3)
		require.NotContains(t, docs, "1")
	})
}
