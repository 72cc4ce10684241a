package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fake answers requests by "METHOD path?query" and counts them.
type fake struct {
	answers map[string]string
	codes   map[string]int
	calls   atomic.Int32
	last    *http.Request
	body    string
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.calls.Add(1)
	f.last = r
	b, _ := io.ReadAll(r.Body)
	f.body = string(b)
	k := r.Method + " " + r.URL.RequestURI()
	if code := f.codes[k]; code != 0 {
		w.WriteHeader(code)
	}
	_, _ = io.WriteString(w, f.answers[k])
}

func inProcess(t *testing.T, f *fake, o Options) *Client {
	t.Helper()
	o.Transport = HandlerTransport(f)
	c, err := New([]string{"http://registry"}, o)
	require.NoError(t, err)
	return c
}

func TestWhatCannotChangeIsAskedOnce(t *testing.T) {
	f := &fake{answers: map[string]string{
		"POST /subjects/a%2Fb/versions?normalize=false":      `{"id":3}`,
		"POST /subjects/a%2Fb?normalize=false&deleted=false": `{"id":3,"version":1,"subject":"a/b","schema":"\"int\""}`,
		"GET /schemas/ids/3?fetchMaxId=false":                `{"schema":"\"int\"","schemaType":"AVRO"}`,
		"GET /subjects/a%2Fb/versions/latest":                `{"id":3,"version":1,"subject":"a/b","schema":"\"int\""}`,
	}}
	c := inProcess(t, f, Options{})
	ctx := context.Background()
	for range 2 {
		id, err := c.RegisterSchema(ctx, "a/b", `"int"`)
		require.NoError(t, err)
		require.Equal(t, 3, id)
		s, err := c.SchemaByID(ctx, 3)
		require.NoError(t, err)
		require.Equal(t, `"int"`, s.Schema)
		s, err = c.LookupSchema(ctx, "a/b", `"int"`)
		require.NoError(t, err)
		require.Equal(t, 1, s.Version)
	}
	require.EqualValues(t, 3, f.calls.Load())
	for range 2 {
		_, err := c.LatestVersion(ctx, "a/b")
		require.NoError(t, err)
	}
	require.EqualValues(t, 5, f.calls.Load())
}

func TestErrorsKeepTheirCode(t *testing.T) {
	f := &fake{answers: map[string]string{"GET /schemas/ids/7?fetchMaxId=false": `{"error_code":40403,"message":"Schema 7 not found"}`},
		codes: map[string]int{"GET /schemas/ids/7?fetchMaxId=false": 404, "GET /subjects": 403}}
	c := inProcess(t, f, Options{})
	_, err := c.SchemaByID(context.Background(), 7)
	require.EqualError(t, err, "get schema 7: Schema 7 not found; error code: 40403")
	require.True(t, NotFound(err))
	_, err = c.Subjects(context.Background())
	require.EqualError(t, err, "list subjects: registry answered Forbidden; error code: 403")
	require.EqualValues(t, 2, f.calls.Load(), "refusals are not tried again")
}

func TestNextURLIsTriedWhenOneFails(t *testing.T) {
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	defer down.Close()
	f := &fake{answers: map[string]string{"GET /api/subjects": `["s"]`}}
	up := httptest.NewServer(f)
	defer up.Close()
	c, err := New([]string{"http://127.0.0.1:1, " + down.URL, up.URL + "/api/"}, Options{})
	require.NoError(t, err)
	defer c.Close()
	for range 3 {
		list, err := c.Subjects(context.Background())
		require.NoError(t, err)
		require.Equal(t, []string{"s"}, list)
	}
}

func TestRetriesEnd(t *testing.T) {
	f := &fake{codes: map[string]int{"GET /subjects": 500}, answers: map[string]string{"GET /subjects": `{"error_code":50002,"message":"x"}`}}
	c := inProcess(t, f, Options{Retries: 2, Backoff: time.Millisecond})
	_, err := c.Subjects(context.Background())
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 50002, e.Code)
	require.EqualValues(t, 3, f.calls.Load())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = c.Subjects(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestCredentials(t *testing.T) {
	f := &fake{answers: map[string]string{"GET /subjects": `[]`}}
	for _, tt := range []struct {
		url  string
		opts Options
		want string
	}{
		{"http://r", Options{}, ""},
		{"http://u:p%40@r", Options{}, "Basic dTpwQA=="},
		{"http://u:p@r", Options{Credentials: URL}, "Basic dTpw"},
		{"http://r", Options{Credentials: UserInfo, UserInfo: "a:b:c"}, "Basic YTpiOmM="},
		{"http://r", Options{BearerToken: "t"}, "Bearer t"},
	} {
		tt.opts.Transport = HandlerTransport(f)
		c, err := New([]string{tt.url}, tt.opts)
		require.NoError(t, err)
		_, err = c.Subjects(context.Background())
		require.NoError(t, err)
		require.Equal(t, tt.want, f.last.Header.Get("Authorization"))
		require.Nil(t, f.last.URL.User)
	}
	_, err := New([]string{"http://r"}, Options{Credentials: UserInfo})
	require.EqualError(t, err, "basic.auth.user.info is not user:password")
	_, err = New([]string{"http://r"}, Options{Credentials: "SASL_INHERIT"})
	require.EqualError(t, err, `basic.auth.credentials.source is "SASL_INHERIT", not USER_INFO or URL`)
	for _, bad := range []string{"", "r:8081", "ftp://r"} {
		_, err := New([]string{bad}, Options{})
		require.Error(t, err)
	}
}

func TestCompatibility(t *testing.T) {
	f := &fake{answers: map[string]string{
		"GET /config/s?defaultToGlobal=true": `{"compatibilityLevel":"FULL"}`,
		"PUT /config":                        `{"compatibility":"NONE"}`,
		"POST /compatibility/subjects/s/versions/latest?verbose=true": `{"is_compatible":false,"messages":["m"]}`,
	}}
	c := inProcess(t, f, Options{})
	ctx := context.Background()
	level, err := c.Compatibility(ctx, "s")
	require.NoError(t, err)
	require.Equal(t, "FULL", level)
	require.NoError(t, c.SetCompatibility(ctx, "", "NONE"))
	require.JSONEq(t, `{"compatibility":"NONE"}`, f.body)
	ok, messages, err := c.TestCompatibility(ctx, "s", Latest, Schema{Schema: `"int"`, References: []Reference{{"n", "s", 1}}})
	require.NoError(t, err)
	require.False(t, ok)
	require.Equal(t, []string{"m"}, messages)
	var body map[string]any
	require.NoError(t, json.NewDecoder(strings.NewReader(f.body)).Decode(&body))
	require.Contains(t, body, "references")
}
