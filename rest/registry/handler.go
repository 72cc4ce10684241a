package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/moldau-io/moldau/schemaregistry/api"
	"github.com/prometheus/client_golang/prometheus"
)

// Registry is what the edge needs of a schema registry; *schemaregistry.Registry has it.
type Registry interface {
	Register(ctx context.Context, subject string, req api.Request, o api.RegisterOptions) (api.Schema, error)
	Lookup(subject string, req api.Request, normalize, deleted bool) (api.Schema, error)
	Check(subject string, number int, req api.Request, normalize bool) (bool, []string, error)
	Format(sc api.Schema, format string) (string, error)
	QualifyReferences(subject string, refs []api.Reference) []api.Reference
	FindTags(sc api.Schema, wanted []string) ([]api.SchemaTags, error)

	ByID(id int, subject string) (api.Schema, error)
	MaxID(subject string) int
	VersionsOfID(id int, subject string, f api.Filter) ([]api.SubjectVersion, error)
	ByGUID(guid string) (api.Schema, []api.ContextID, error)
	Schemas(q api.Search) ([]api.Schema, error)

	Subjects(prefix string, f api.Filter) ([]string, error)
	Versions(subject string, f api.Filter, negative bool) ([]int, error)
	Version(subject string, number int, deleted bool) (api.Schema, error)
	WithMetadata(subject string, properties map[string]string, deleted bool) (api.Schema, error)
	ReferencedBy(subject string, number int, f api.Filter) ([]int, error)
	DeleteSubject(ctx context.Context, subject string, permanent bool) ([]int, error)
	DeleteVersion(ctx context.Context, subject string, number int, asked string, permanent bool) (int, error)

	Alias(subject string) string
	Config(subject string, inScope bool) (api.Config, error)
	SetConfig(ctx context.Context, subject string, body map[string]json.RawMessage) (api.Config, error)
	DeleteConfig(ctx context.Context, subject string) (api.Config, error)
	Mode(subject string, inScope bool) (api.Mode, error)
	SetMode(ctx context.Context, subject, mode string, force bool) error
	DeleteMode(ctx context.Context, subject string, recursive bool) (api.Mode, error)
	Contexts() ([]string, error)
	DeleteContext(ctx context.Context, context string) error

	ClusterID() string
	MaxSchemaBytes() int
	SearchLimits() (byDefault, most int)
}

// Options configure the edge. The zero value serves.
type Options struct {
	// Version and Commit are what /v1/metadata/version answers.
	Version, Commit string
	// GroupID names the registry cluster in /v1/metadata/id; "" means schema-registry.
	GroupID string
	// Client forwards writes to the node that leads; nil is http.DefaultClient.
	Client *http.Client
	// Logger of failures; nil discards.
	Logger *slog.Logger
	// Registerer of the request metrics; nil keeps none.
	Registerer prometheus.Registerer
}

// media are the types that the API speaks, the preferred first.
var media = []string{"application/vnd.schemaregistry.v1+json", "application/vnd.schemaregistry+json", "application/json"}

type handler struct {
	reg      Registry
	opts     Options
	router   *mux.Router
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// Handler serves the registry API at "/".
func Handler(reg Registry, o Options) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.GroupID == "" {
		o.GroupID = "schema-registry"
	}
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	h := &handler{reg: reg, opts: o, router: mux.NewRouter().SkipClean(true).UseEncodedPath()}
	h.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kafka_schema_registry_requests_total", Help: "Requests by route, method and HTTP status."}, []string{"route", "method", "status"})
	h.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "kafka_schema_registry_request_seconds", Help: "Time to answer a request, by route and method.",
		Buckets: []float64{.0005, .001, .005, .01, .05, .1, .5, 1, 5}}, []string{"route", "method"})
	if o.Registerer != nil {
		// A second edge of the same process counts on the first one's metrics.
		var already prometheus.AlreadyRegisteredError
		if err := o.Registerer.Register(h.requests); errors.As(err, &already) {
			h.requests, _ = already.ExistingCollector.(*prometheus.CounterVec)
		}
		if err := o.Registerer.Register(h.seconds); errors.As(err, &already) {
			h.seconds, _ = already.ExistingCollector.(*prometheus.HistogramVec)
		}
	}
	h.routes()
	return h
}

// call is one request on its way through a route.
type call struct {
	*http.Request
	h    *handler
	vars map[string]string
	// context is the name in a /contexts/{context}/ prefix, or "".
	context string
	body    []byte
}

// status is an answer without a body.
type status int

// text is an answer that is not wrapped as a JSON value, such as a schema by itself.
type text string

// route serves path and method with f, whose result is the answer's JSON.
func (h *handler) route(method, path string, f func(c *call) (any, error)) {
	methods := []string{method}
	if method == http.MethodGet {
		methods = append(methods, http.MethodHead)
	}
	h.router.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		status := h.serve(w, r, f)
		h.requests.WithLabelValues(path, r.Method, strconv.Itoa(status)).Inc()
		h.seconds.WithLabelValues(path, r.Method).Observe(time.Since(began).Seconds())
	}).Methods(methods...)
}

// contextKey carries the context of a /contexts/{context}/ prefix.
type contextKey struct{}

// ServeHTTP takes off what the routes need not know: a trailing slash and the context prefix.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if len(path) > 1 {
		path = strings.TrimSuffix(path, "/")
	}
	ctx := r.Context()
	if rest, ok := strings.CutPrefix(path, "/contexts/"); ok {
		if name, rest, ok := strings.Cut(rest, "/"); ok {
			if name, err := url.PathUnescape(name); err == nil {
				ctx = context.WithValue(ctx, contextKey{}, strings.Trim(name, ":"))
				path = "/" + rest
			}
		}
	}
	if path != r.URL.EscapedPath() {
		r = r.WithContext(ctx)
		u := *r.URL
		u.RawPath = path
		u.Path, _ = url.PathUnescape(path)
		r.URL = &u
	}
	h.router.ServeHTTP(w, r)
}

func httpError(code int, message string) *api.Error {
	return &api.Error{Code: code, Message: message}
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request, f func(c *call) (any, error)) int {
	contentType, ok := accepted(r.Header.Values("Accept"))
	if !ok {
		return h.render(w, r, media[0], nil, httpError(406, "HTTP 406 Not Acceptable"))
	}
	c := &call{Request: r, h: h, vars: mux.Vars(r)}
	c.context, _ = r.Context().Value(contextKey{}).(string)
	for name, v := range c.vars {
		unescaped, err := url.PathUnescape(v)
		if err != nil {
			return h.render(w, r, contentType, nil, httpError(400, "HTTP 400 Bad Request"))
		}
		c.vars[name] = unescaped
	}
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		if err := c.readBody(); err != nil {
			return h.render(w, r, contentType, nil, err)
		}
	}
	answer, err := f(c)
	var other *api.NotLeaderError
	if errors.As(err, &other) {
		if other.URL != "" && r.Header.Get("X-Forward") == "" {
			return h.forward(w, c, other.URL)
		}
		err = httpError(50004, "Leader not known.")
	}
	return h.render(w, r, contentType, answer, err)
}

// accepted chooses the answer's media type. A client that accepts nothing by name accepts everything.
func accepted(accept []string) (string, bool) {
	best, bestQ := media[0], -1.0
	for field := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		t, params, err := mime.ParseMediaType(field)
		if err != nil {
			continue
		}
		q := 1.0
		if v, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(v, 64); err != nil || q <= 0 {
				continue
			}
		}
		if t == "*/*" || t == "application/*" {
			t = media[0]
		}
		i := slices.Index(media, t)
		if i >= 0 && (q > bestQ || q == bestQ && i < slices.Index(media, best)) {
			best, bestQ = media[i], q
		}
	}
	return best, bestQ >= 0 || strings.TrimSpace(strings.Join(accept, "")) == ""
}

func (c *call) readBody() error {
	if t := c.Header.Get("Content-Type"); t != "" {
		t, _, err := mime.ParseMediaType(t)
		if err != nil || !slices.Contains(media, t) && t != "application/octet-stream" {
			return httpError(415, "HTTP 415 Unsupported Media Type")
		}
	}
	// Every byte of a schema may be escaped, and metadata and rules come on top.
	limit := int64(6*c.h.reg.MaxSchemaBytes() + 1<<20)
	body, err := io.ReadAll(http.MaxBytesReader(nil, c.Body, limit))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return httpError(413, "HTTP 413 Request Entity Too Large")
		}
		return httpError(400, "request body cannot be read: "+err.Error())
	}
	c.body = body
	return nil
}

// decode reads the body into v. Members that v does not have are ignored.
func (c *call) decode(v any) error {
	if len(bytes.TrimSpace(c.body)) == 0 || bytes.Equal(bytes.TrimSpace(c.body), []byte("null")) {
		return httpError(422, "request body may not be null")
	}
	if err := json.Unmarshal(c.body, v); err != nil {
		return httpError(400, "request body is not valid: "+malformed(err))
	}
	return nil
}

// malformed says what is wrong with a body, without the names that things have in here.
func malformed(err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("%s (after %d bytes)", syntax.Error(), syntax.Offset)
	case errors.As(err, &kind):
		field := strings.TrimPrefix(strings.TrimPrefix(kind.Field, "Request"), ".")
		if field == "" {
			return "it is of type " + kind.Value + ", not an object"
		}
		return field + " cannot be of type " + kind.Value
	}
	return err.Error()
}

// render writes an answer or an error. It is the only place that does.
func (h *handler) render(w http.ResponseWriter, r *http.Request, contentType string, answer any, err error) int {
	code := http.StatusOK
	if err != nil {
		var refused *api.Error
		if !errors.As(err, &refused) {
			h.opts.Logger.Error("registry request failed", "method", r.Method, "path", r.URL.Path, "error", err)
			refused = httpError(500, "Internal Server Error: "+err.Error())
		}
		code = refused.Status()
		answer = struct {
			Code    int    `json:"error_code"`
			Message string `json:"message"`
		}{refused.Code, refused.Message}
	}
	var body []byte
	switch a := answer.(type) {
	case status:
		w.WriteHeader(int(a))
		return int(a)
	case text:
		body = []byte(a)
	default:
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(answer); err != nil {
			h.opts.Logger.Error("registry answer cannot be encoded", "path", r.URL.Path, "error", err)
			w.WriteHeader(http.StatusInternalServerError)
			return http.StatusInternalServerError
		}
		body = bytes.TrimRight(b.Bytes(), "\n")
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that has gone away is no error of ours
	}
	return code
}

// forward sends the request to the leader and its answer back.
func (h *handler) forward(w http.ResponseWriter, c *call, leader string) int {
	fail := func(err error) int {
		h.opts.Logger.Warn("registry request cannot be forwarded", "leader", leader, "error", err)
		return h.render(w, c.Request, media[0], nil, httpError(50003, "Error while forwarding the request to the leader"))
	}
	path := c.URL.EscapedPath()
	if c.context != "" {
		path = "/contexts/" + url.PathEscape(c.context) + path
	}
	if c.URL.RawQuery != "" {
		path += "?" + c.URL.RawQuery
	}
	r, err := http.NewRequestWithContext(c.Context(), c.Method, strings.TrimSuffix(leader, "/")+path, bytes.NewReader(c.body))
	if err != nil {
		return fail(err)
	}
	for _, name := range []string{"Accept", "Content-Type", "Authorization"} {
		if v := c.Header.Get(name); v != "" {
			r.Header.Set(name, v)
		}
	}
	r.Header.Set("X-Forward", "true")
	answer, err := h.opts.Client.Do(r)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = answer.Body.Close() }()
	w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, io.LimitReader(answer.Body, 64<<20))
	return answer.StatusCode
}

// boolean reads a query parameter as Java's Boolean.valueOf: true in any case is true, all else false.
func (c *call) boolean(name string) bool { return strings.EqualFold(c.URL.Query().Get(name), "true") }

// integer reads a query parameter, or byDefault. What is no number is not found, as in JAX-RS.
func (c *call) integer(name string, byDefault int) (int, error) {
	v := c.URL.Query().Get(name)
	if v == "" {
		return byDefault, nil
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil {
		return 0, httpError(404, "HTTP 404 Not Found")
	}
	return int(n), nil
}

// qualify puts a subject into the context of the path, unless it names one.
func (c *call) qualify(subject string) string {
	if c.context == "" || strings.HasPrefix(subject, ":.") || strings.HasPrefix(subject, ":*:") {
		return subject
	}
	return ":" + c.context + ":" + subject
}

// subject is the path's subject, with an alias replaced.
func (c *call) subject() string { return c.h.reg.Alias(c.qualify(c.vars["subject"])) }

// scope is the subject of a config or mode path, "" for the registry's own.
func (c *call) scope() string {
	if s, ok := c.vars["subject"]; ok {
		return c.qualify(s)
	}
	if c.context != "" {
		return c.qualify("")
	}
	return ""
}

func (c *call) version() (int, error) { return api.ParseVersion(c.vars["version"]) }

func (c *call) id() (int, error) {
	n, err := strconv.ParseInt(c.vars["id"], 10, 32)
	if err != nil {
		return 0, httpError(404, "HTTP 404 Not Found")
	}
	return int(n), nil
}

// filter reads deleted and deletedOnly, which wins.
func (c *call) filter() api.Filter {
	switch {
	case c.boolean("deletedOnly"):
		return api.OnlyDeleted
	case c.boolean("deleted"):
		return api.WithDeleted
	}
	return api.Live
}

// page cuts a list as offset and limit ask; a limit below 0 is none.
func page[T any](c *call, list []T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	offset, err := c.integer("offset", 0)
	if err != nil {
		return nil, err
	}
	limit, err := c.integer("limit", -1)
	if err != nil {
		return nil, err
	}
	list = list[min(max(offset, 0), len(list)):]
	if limit >= 0 {
		list = list[:min(limit, len(list))]
	}
	if list == nil {
		list = []T{}
	}
	return list, nil
}
