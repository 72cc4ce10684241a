package admin

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

func TestHealthReadinessMetricsAndVersion(t *testing.T) {
	var missing atomic.Value
	missing.Store("starting: connect")
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "seen_total"})
	reg.MustRegister(c)
	c.Inc()
	h := New(Config{Gatherer: reg, Ready: func() string { return missing.Load().(string) }, Version: "1.2", Commit: "abc"})
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	require.Equal(t, http.StatusOK, get("/healthz").Code)
	w := get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Contains(t, w.Body.String(), "starting: connect")
	missing.Store("")
	require.Equal(t, http.StatusOK, get("/readyz").Code)
	require.Contains(t, get("/metrics").Body.String(), "seen_total 1")
	require.JSONEq(t, `{"version":"1.2","commit":"abc"}`, get("/version").Body.String())
	require.Equal(t, http.StatusOK, get("/debug/pprof/").Code)
	require.Equal(t, http.StatusNotFound, get("/nothing").Code)
}
