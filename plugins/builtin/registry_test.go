package builtin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/converters"
	"github.com/moldau-io/moldau/plugins/data"
)

// fakeRegistry answers the routes that the converter uses, and fails as often as told.
type fakeRegistry struct {
	failures atomic.Int32
	requests atomic.Int32
	headers  http.Header
}

func (f *fakeRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.requests.Add(1)
	f.headers = r.Header.Clone()
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/vnd.schemaregistry.v1+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	if f.failures.Add(-1) >= 0 {
		answer(500, map[string]any{"error_code": 50001, "message": "not now"})
		return
	}
	schema := map[string]any{"id": 7, "version": 3, "subject": "t-value", "schema": `"string"`}
	switch path := r.URL.Path; {
	case r.Method == http.MethodPost && path == "/subjects/t-value/versions":
		answer(200, map[string]any{"id": 7})
	case r.Method == http.MethodPost && path == "/subjects/t-value", strings.HasPrefix(path, "/subjects/t-value/versions/"):
		answer(200, schema)
	case path == "/schemas/ids/7":
		answer(200, map[string]any{"schema": `"string"`})
	default:
		answer(404, map[string]any{"error_code": 40401, "message": "Subject not found."})
	}
}

func TestTheAvroConverterTalksToARegistry(t *testing.T) {
	f := &fakeRegistry{}
	srv := httptest.NewServer(f)
	defer srv.Close()
	r := plugins.NewRegistry()
	Register(r)
	spec, ok := r.Converter("io.confluent.connect.avro.AvroConverter")
	require.True(t, ok)
	cfg, err := spec.Config.Parse(map[string]string{"schema.registry.url": strings.Replace(srv.URL, "http://", "http://user:pass@", 1), "request.header.X-Tenant": "a",
		"retries.wait.ms": "1", "max.retries": "2"})
	require.NoError(t, err)
	c := spec.New()
	ctx := context.Background()
	require.NoError(t, c.Configure(ctx, plugins.ConverterEnv{}, cfg, false))

	f.failures.Store(2)
	b, err := c.FromData(ctx, nil, "t", data.StringSchema, data.String("x"))
	require.NoError(t, err)
	require.Equal(t, "\x00\x00\x00\x00\x07\x02x", string(b))
	require.Equal(t, int32(3), f.requests.Load())
	require.Equal(t, "a", f.headers.Get("X-Tenant"))
	user, pass, ok := (&http.Request{Header: f.headers}).BasicAuth()
	require.True(t, ok && user == "user" && pass == "pass")

	_, v, err := c.ToData(ctx, "t", b)
	require.NoError(t, err)
	require.Equal(t, "x", v.Str())

	f.failures.Store(100)
	_, err = c.FromData(ctx, nil, "t", data.Int64Schema, data.Int64(1))
	require.True(t, plugins.IsRetriable(err))
	f.failures.Store(0)
	_, err = c.FromData(ctx, nil, "unknown", data.StringSchema, data.String("x"))
	var d *plugins.DataError
	require.ErrorAs(t, err, &d)
	require.ErrorContains(t, err, "Subject not found.; error code: 40401")
}

func TestTheRegistryOfThisProcessIsReachedWithoutTheNetwork(t *testing.T) {
	f := &fakeRegistry{}
	o := Options{RegistryTransport: roundTrip(func(req *http.Request) (*http.Response, error) {
		rec := httptest.NewRecorder()
		f.ServeHTTP(rec, req)
		return rec.Result(), nil
	})}
	reg, err := o.openRegistry(converters.RegistryConfig{URLs: []string{"http://127.0.0.1:1"}, Local: true, MaxRetries: 0, RetryWait: time.Millisecond})
	require.NoError(t, err)
	ctx := context.Background()
	id, err := reg.Register(ctx, "t-value", `"string"`, true)
	require.NoError(t, err)
	require.Equal(t, int32(7), id)
	for _, get := range []func() (converters.RegisteredSchema, error){
		func() (converters.RegisteredSchema, error) {
			return reg.Lookup(ctx, "t-value", `"string"`, false, true)
		},
		func() (converters.RegisteredSchema, error) { return reg.Latest(ctx, "t-value") },
		func() (converters.RegisteredSchema, error) { return reg.Version(ctx, "t-value", 3) },
	} {
		s, err := get()
		require.NoError(t, err)
		require.Equal(t, converters.RegisteredSchema{ID: 7, Version: 3, Text: `"string"`}, s)
	}
	s, err := reg.ByID(ctx, 7, "")
	require.NoError(t, err)
	require.Equal(t, `"string"`, s.Text)
	_, err = reg.ByID(ctx, 8, "")
	var re *converters.RegistryError
	require.ErrorAs(t, err, &re)
	require.Equal(t, 40401, re.Code)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
