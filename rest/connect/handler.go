// Package connect is Kafka Connect's REST API over HTTP: routes, media types, bodies and status codes. What the answers say is decided
// by the worker behind it. Held against the real one by the transcripts in testdata.
//
// Connector names may hold anything but control characters, also / and %, when they are escaped in the path.
package connect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/moldau-io/moldau/core/connect/api"
)

// Worker is what the edge needs. Errors that are *api.Error are answered with their code, others with 500.
type Worker interface {
	ServerInfo() api.ServerInfo
	Health() api.Health
	Connectors() ([]string, error)
	ConnectorInfo(name string) (*api.ConnectorInfo, error)
	ConnectorConfig(name string) (map[string]string, error)
	ConnectorStatus(name string) (*api.ConnectorStateInfo, error)
	Tasks(name string) ([]api.TaskInfo, error)
	TaskStatus(name string, task int) (*api.TaskState, error)
	Create(ctx context.Context, req api.CreateRequest) (*api.ConnectorInfo, error)
	PutConfig(ctx context.Context, name string, config map[string]string) (info *api.ConnectorInfo, created bool, err error)
	PatchConfig(ctx context.Context, name string, patch map[string]*string) (*api.ConnectorInfo, error)
	Delete(ctx context.Context, name string) error
	Pause(ctx context.Context, name string) error
	Resume(ctx context.Context, name string) error
	Stop(ctx context.Context, name string) error
	Restart(ctx context.Context, name string, includeTasks, onlyFailed bool) (*api.ConnectorStateInfo, error)
	RestartTask(ctx context.Context, name string, task int) error
	ActiveTopics(name string) ([]string, error)
	ResetTopics(name string) error
	Offsets(ctx context.Context, name string) (*api.ConnectorOffsets, error)
	AlterOffsets(ctx context.Context, name string, offsets []api.ConnectorOffset) (*api.Message, error)
	ResetOffsets(ctx context.Context, name string) (*api.Message, error)
	Plugins(connectorsOnly bool) []api.PluginInfo
	PluginConfig(name string) ([]*api.ConfigKeyInfo, error)
	Validate(ctx context.Context, plugin string, config map[string]string) (*api.ConfigInfos, error)
	Loggers() map[string]api.LoggerLevel
	Logger(name string) (api.LoggerLevel, error)
	SetLogger(ctx context.Context, name, level string, cluster bool) ([]string, error)
	CheckSignature(body []byte, signature, algorithm string) error
	Fence(ctx context.Context, name string) error
	AllowOrigin() string
	AllowMethods() string
}

// Options configure the edge. The zero value serves.
type Options struct {
	// Logger of failures; nil discards.
	Logger *slog.Logger
	// MaxBody bounds request bodies in bytes; 0 means 8 MiB.
	MaxBody int64
	// Timeout bounds the work on a request; 0 means Kafka Connect's 90 seconds.
	Timeout time.Duration
}

type handler struct {
	w      Worker
	opts   Options
	router *mux.Router
	routes []route
}

// answer is what a route returns: a code with a body to render as JSON, or nil for none.
type answer struct {
	code     int
	body     any
	location string
}

type route struct {
	method, path string
	serve        func(*request) (answer, error)
	body         bool // it reads a JSON body
}

type request struct {
	*http.Request
	h    *handler
	vars map[string]string
}

// Handler returns the API over w.
func Handler(w Worker, opts Options) http.Handler {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.MaxBody == 0 {
		opts.MaxBody = 8 << 20
	}
	if opts.Timeout == 0 {
		opts.Timeout = 90 * time.Second
	}
	h := &handler{w: w, opts: opts, router: mux.NewRouter().SkipClean(true).UseEncodedPath()}
	h.routes = h.table()
	for _, rt := range h.routes {
		methods := []string{rt.method}
		if rt.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		path := rt.path
		if path != "/" {
			path += "{slash:/?}"
		}
		h.router.HandleFunc(path, func(rw http.ResponseWriter, r *http.Request) { h.serve(rt, rw, r) }).Methods(methods...)
	}
	h.router.NotFoundHandler = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { plainError(rw, http.StatusNotFound) })
	h.router.MethodNotAllowedHandler = http.HandlerFunc(h.otherMethod)
	return h
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if h.cors(rw, r) {
		return
	}
	h.router.ServeHTTP(rw, r)
}

// cors adds the headers for cross-origin requests, and answers preflights.
func (h *handler) cors(rw http.ResponseWriter, r *http.Request) (done bool) {
	origin, allowed := r.Header.Get("Origin"), h.w.AllowOrigin()
	if allowed == "" || origin == "" {
		return false
	}
	rw.Header().Add("Vary", "Origin")
	if allowed != "*" && !slices.Contains(splitList(allowed), origin) {
		return false
	}
	rw.Header().Set("Access-Control-Allow-Origin", origin)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	methods := h.w.AllowMethods()
	if methods == "" {
		methods = "GET,POST,HEAD"
	}
	rw.Header().Set("Access-Control-Allow-Methods", methods)
	rw.Header().Set("Access-Control-Allow-Headers", "X-Requested-With,Content-Type,Accept,Origin")
	rw.WriteHeader(http.StatusOK)
	return true
}

func splitList(s string) []string {
	var out []string
	for _, p := range strings.Split(s, ",") {
		out = append(out, strings.TrimSpace(p))
	}
	return out
}

// plainError answers what the original's HTTP layer says before any resource is reached: JSON without a content type.
func plainError(rw http.ResponseWriter, code int) {
	b, _ := json.Marshal(&api.Error{Code: code, Message: "HTTP " + strconv.Itoa(code) + " " + http.StatusText(code)})
	rw.Header()["Content-Type"] = nil
	rw.WriteHeader(code)
	_, _ = rw.Write(b)
}

// otherMethod answers a method that the path does not have: OPTIONS with those that it has, others with 405.
func (h *handler) otherMethod(rw http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodOptions {
		plainError(rw, http.StatusMethodNotAllowed)
		return
	}
	methods := []string{}
	for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		var match mux.RouteMatch
		if h.router.Match(probe, &match) && match.MatchErr == nil {
			if m == "GET" {
				methods = append(methods, "HEAD")
			}
			methods = append(methods, m)
		}
	}
	list := append(methods, "OPTIONS")
	rw.Header().Set("Allow", strings.Join(list, ","))
	rw.Header().Set("Content-Type", "text/plain")
	_, _ = io.WriteString(rw, strings.Join(list, ", "))
}

func (h *handler) serve(rt route, rw http.ResponseWriter, r *http.Request) {
	if !accepts(r) {
		plainError(rw, http.StatusNotAcceptable)
		return
	}
	if ct := r.Header.Get("Content-Type"); (ct != "" || rt.body) && r.Method != http.MethodGet && r.Method != http.MethodHead {
		if m, _, err := mime.ParseMediaType(ct); err != nil || m != "application/json" {
			plainError(rw, http.StatusUnsupportedMediaType)
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.Timeout)
	defer cancel()
	r = r.WithContext(ctx)
	r.Body = http.MaxBytesReader(rw, r.Body, h.opts.MaxBody)
	req := &request{Request: r, h: h, vars: map[string]string{}}
	for k, v := range mux.Vars(r) {
		s, err := url.PathUnescape(v)
		if err != nil {
			plainError(rw, http.StatusBadRequest)
			return
		}
		req.vars[k] = s
	}
	a, err := rt.serve(req)
	if err != nil {
		h.fail(rw, r, err)
		return
	}
	if a.location != "" {
		rw.Header().Set("Location", a.location)
	}
	if a.body == nil {
		rw.WriteHeader(a.code)
		return
	}
	h.write(rw, a.code, a.body)
}

func accepts(r *http.Request) bool {
	values := r.Header.Values("Accept")
	if len(values) == 0 {
		return true
	}
	for _, v := range values {
		for _, part := range strings.Split(v, ",") {
			m, params, err := mime.ParseMediaType(strings.TrimSpace(part))
			if err == nil && params["q"] != "0" && (m == "*/*" || m == "application/*" || m == "application/json") {
				return true
			}
		}
	}
	return false
}

func (h *handler) fail(rw http.ResponseWriter, r *http.Request, err error) {
	var (
		e   *api.Error
		big *http.MaxBytesError
	)
	switch {
	case errors.As(err, &e):
	case errors.As(err, &big):
		e = &api.Error{Code: http.StatusRequestEntityTooLarge, Message: "the request body is larger than " + strconv.FormatInt(big.Limit, 10) + " bytes"}
	default:
		e = &api.Error{Code: http.StatusInternalServerError, Message: err.Error()}
	}
	if e.Code >= 500 {
		h.opts.Logger.Warn("request failed", "method", r.Method, "path", r.URL.EscapedPath(), "code", e.Code, "error", e.Message)
	}
	h.write(rw, e.Code, e)
}

func (h *handler) write(rw http.ResponseWriter, code int, body any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if e, ok := body.(*api.Error); ok { // its own marshaller would escape
		body = struct {
			Code    int    `json:"error_code"`
			Message string `json:"message"`
		}{e.Code, e.Message}
	}
	if err := enc.Encode(body); err != nil {
		h.opts.Logger.Error("rendering an answer failed", "error", err)
		code = http.StatusInternalServerError
		buf.Reset()
	}
	b := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Content-Length", strconv.Itoa(len(b)))
	rw.WriteHeader(code)
	_, _ = rw.Write(b)
}
