package connect

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/connect/api"
)

// fake answers what a test gives it.
type fake struct {
	Worker
	asked  []string
	origin string
}

func (f *fake) ConnectorConfig(name string) (map[string]string, error) {
	f.asked = append(f.asked, name)
	return map[string]string{"html": "<a&b>"}, nil
}
func (f *fake) Connectors() ([]string, error) { return []string{}, nil }
func (f *fake) AllowOrigin() string           { return f.origin }
func (f *fake) AllowMethods() string          { return "GET,PUT" }
func (f *fake) Health() api.Health {
	return api.Health{Status: "starting", Message: "Worker is still starting up."}
}

func call(h http.Handler, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec
}

func TestAnyNameFitsIntoThePath(t *testing.T) {
	f := &fake{}
	h := Handler(f, Options{})
	for _, c := range [][2]string{
		{"/connectors/a%2Fb%2F%2Fc/config", "a/b//c"}, {"/connectors/100%25/config/", "100%"}, {"/connectors/%2525/config", "%25"}, {"/connectors/a+b%20c/config", "a+b c"},
		{"/connectors/%E1%88%B4%27%3F%23/config", "\u1234'?#"}, {"/connectors/config/config", "config"}, {"/connectors/..%2F../config", "../.."},
	} {
		f.asked = nil
		rec := call(h, "GET", c[0], "")
		require.Equal(t, 200, rec.Code, c[0])
		require.Equal(t, []string{c[1]}, f.asked, c[0])
		require.Equal(t, `{"html":"<a&b>"}`, rec.Body.String())
	}
	require.Equal(t, 404, call(h, "GET", "/connectors//config", "").Code)
}

func TestBodiesAreBounded(t *testing.T) {
	h := Handler(&fake{}, Options{MaxBody: 100})
	rec := call(h, "POST", "/connectors", `{"name":"`+strings.Repeat("x", 200)+`"}`, "Content-Type", "application/json")
	require.Equal(t, 413, rec.Code)
	require.Equal(t, `{"error_code":413,"message":"the request body is larger than 100 bytes"}`, rec.Body.String())
}

func TestAWorkerThatStartsIsNotHealthyYet(t *testing.T) {
	rec := call(Handler(&fake{}, Options{}), "GET", "/health", "")
	require.Equal(t, 503, rec.Code)
	require.Equal(t, `{"status":"starting","message":"Worker is still starting up."}`, rec.Body.String())
}

func TestOriginsAreAllowedAsConfigured(t *testing.T) {
	f := &fake{origin: "http://ui, http://other"}
	h := Handler(f, Options{})
	require.Equal(t, "http://ui", call(h, "GET", "/connectors", "", "Origin", "http://ui").Header().Get("Access-Control-Allow-Origin"))
	require.Empty(t, call(h, "GET", "/connectors", "", "Origin", "http://evil").Header().Get("Access-Control-Allow-Origin"))
	rec := call(h, "OPTIONS", "/connectors", "", "Origin", "http://other", "Access-Control-Request-Method", "PUT")
	require.Equal(t, 200, rec.Code)
	require.Equal(t, "GET,PUT", rec.Header().Get("Access-Control-Allow-Methods"))
	f.origin = ""
	require.Empty(t, call(h, "GET", "/connectors", "", "Origin", "http://ui").Header().Get("Access-Control-Allow-Origin"))
}

func FuzzBodies(f *testing.F) {
	for _, s := range []string{`{"name":"a","config":{"b":1,"c":null,"d":true}}`, `{"name":{},"config":[]}`, `{"offsets":[{"partition":{"a":1.5},"offset":{"b":[1,{}]}}]}`, `{"level":"x"}`, "", "null", "[]", `"x"`, `{"name":"\ud800"}`, `{"offsets":null}`} {
		f.Add([]byte(s))
	}
	discard := slog.New(slog.DiscardHandler)
	h := Handler(&fake{}, Options{Logger: discard})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = decodeCreate(strings.NewReader(string(b)))
		_, _ = decodeConfig(strings.NewReader(string(b)))
		_, _ = decodeOffsets(strings.NewReader(string(b)))
		if strings.ContainsAny(string(b), "\r\n #?/") || len(b) > 200 {
			return
		}
		req, err := http.NewRequest(http.MethodGet, "http://h/connectors/"+string(b)+"/config", io.NopCloser(strings.NewReader("")))
		if err != nil {
			return
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		require.NotEqual(t, 500, rec.Code)
	})
}
