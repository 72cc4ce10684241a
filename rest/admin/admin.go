// Package admin is the HTTP edge for operators: health, readiness, metrics and profiles.
//
//	GET /healthz       200 as long as the process serves
//	GET /readyz        200 when all roles answer, 503 with what is missing before
//	GET /metrics       Prometheus
//	GET /version       {"version","commit"}
//	GET /debug/pprof/  Go's profiles
package admin

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Config is what the edge serves from.
type Config struct {
	Gatherer prometheus.Gatherer
	// Ready returns "" when all roles answer, and what is missing otherwise.
	Ready           func() string
	Version, Commit string
	Logger          *slog.Logger
}

// New returns the handler.
func New(c Config) http.Handler {
	r := mux.NewRouter()
	r.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	}).Methods(http.MethodGet, http.MethodHead)
	r.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if missing := c.Ready(); missing != "" {
			answer(w, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "message": missing})
			return
		}
		answer(w, http.StatusOK, map[string]string{"status": "ready"})
	}).Methods(http.MethodGet, http.MethodHead)
	r.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"version": c.Version, "commit": c.Commit})
	}).Methods(http.MethodGet)
	r.Handle("/metrics", promhttp.HandlerFor(c.Gatherer, promhttp.HandlerOpts{ErrorLog: logger{c.Logger}, ErrorHandling: promhttp.ContinueOnError})).Methods(http.MethodGet)
	p := r.PathPrefix("/debug/pprof").Subrouter()
	p.HandleFunc("/cmdline", pprof.Cmdline)
	p.HandleFunc("/profile", pprof.Profile)
	p.HandleFunc("/symbol", pprof.Symbol)
	p.HandleFunc("/trace", pprof.Trace)
	p.PathPrefix("/").HandlerFunc(pprof.Index)
	r.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"version": c.Version, "commit": c.Commit})
	}).Methods(http.MethodGet)
	return r
}

func answer(w http.ResponseWriter, code int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

type logger struct{ l *slog.Logger }

// Println implements promhttp.Logger.
func (l logger) Println(v ...any) {
	if l.l != nil {
		l.l.Warn("metrics", "error", fmt.Sprint(v...))
	}
}
