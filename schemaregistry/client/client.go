// Package client is a client of schema registries with the Confluent API, for converters: it registers and looks up schemas, and
// remembers what cannot change.
//
// What a registry answered for an id, and the id that it answered for a schema, are kept in memory (up to Options.CacheSize of each):
// they never change. Latest versions, configs and modes are asked for each time.
//
// Several URLs are one cluster: a URL that cannot be reached, or answers that it cannot serve now, is left for the next.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Error is an answer of the registry that refuses a request.
type Error struct {
	// Code is the error code, such as 40403; the HTTP status if the answer had none.
	Code    int
	Message string
	// Status is the HTTP status.
	Status int
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("%s; error code: %d", e.Message, e.Code) }

// NotFound says whether the error is that a subject, version or schema does not exist.
func NotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// Reference names another schema that a schema's text uses.
type Reference struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

// Schema is a schema to register or one that is registered.
type Schema struct {
	// Schema is the text.
	Schema string `json:"schema"`
	// Type is "" for AVRO.
	Type       string      `json:"schemaType,omitempty"`
	References []Reference `json:"references,omitempty"`
	Subject    string      `json:"subject,omitempty"`
	Version    int         `json:"version,omitempty"`
	ID         int         `json:"id,omitempty"`
	GUID       string      `json:"guid,omitempty"`
}

// CredentialsSource says where basic credentials come from (basic.auth.credentials.source).
type CredentialsSource string

// The sources: none, Options.UserInfo, or the user of the URL. URL credentials are used with any source but UserInfo.
const (
	NoCredentials CredentialsSource = ""
	UserInfo      CredentialsSource = "USER_INFO"
	URL           CredentialsSource = "URL"
)

// Options configure a Client. The zero value works.
type Options struct {
	// Credentials is the source of basic credentials, UserInfo the "user:password" of USER_INFO.
	Credentials CredentialsSource
	UserInfo    string
	// BearerToken is sent if it is not empty (bearer.auth.credentials.source STATIC_TOKEN).
	BearerToken string
	// Transport sends the requests; nil is a clone of http.DefaultTransport. A registry in the same process is reached by HandlerTransport.
	Transport http.RoundTripper
	// Timeout bounds one try. 0 means 30 s.
	Timeout time.Duration
	// Retries is how often all URLs are tried again after none answered. 0 means 3, less than 0 never.
	Retries int
	// Backoff is the pause before the first such retry; it doubles. 0 means 100 ms.
	Backoff time.Duration
	// CacheSize bounds each cache. 0 means 1000.
	CacheSize int
	// Normalize asks the registry to normalize schemas before it compares them.
	Normalize bool
}

// Client is a registry client, safe for concurrent use.
type Client struct {
	urls  []*url.URL
	opts  Options
	http  *http.Client
	first atomic.Int32 // the URL that answered last

	mu     sync.Mutex
	byID   map[int]*Schema
	ids    map[cacheKey]int
	lookup map[cacheKey]*Schema
}

type cacheKey struct{ subject, schema string }

// New returns a client of the registries at urls (http or https, with a path if the API is not at the root).
func New(urls []string, o Options) (*Client, error) {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Retries == 0 {
		o.Retries = 3
	}
	if o.Backoff <= 0 {
		o.Backoff = 100 * time.Millisecond
	}
	if o.CacheSize <= 0 {
		o.CacheSize = 1000
	}
	if o.Transport == nil {
		if t, ok := http.DefaultTransport.(*http.Transport); ok {
			o.Transport = t.Clone()
		}
	}
	switch o.Credentials {
	case NoCredentials, URL:
	case UserInfo:
		if !strings.Contains(o.UserInfo, ":") {
			return nil, errors.New("basic.auth.user.info is not user:password")
		}
	default:
		return nil, fmt.Errorf("basic.auth.credentials.source is %q, not USER_INFO or URL", o.Credentials)
	}
	c := &Client{opts: o, http: &http.Client{Transport: o.Transport}, byID: map[int]*Schema{}, ids: map[cacheKey]int{}, lookup: map[cacheKey]*Schema{}}
	for _, list := range urls {
		for text := range strings.SplitSeq(list, ",") {
			if text = strings.TrimSpace(text); text == "" {
				continue
			}
			u, err := url.Parse(strings.TrimRight(text, "/"))
			if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
				return nil, fmt.Errorf("schema.registry.url %q is not an http or https URL", text)
			}
			c.urls = append(c.urls, u)
		}
	}
	if len(c.urls) == 0 {
		return nil, errors.New("schema.registry.url is empty")
	}
	return c, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Register registers a schema under a subject, if it is not yet, and returns its id.
func (c *Client) Register(ctx context.Context, subject string, s Schema) (int, error) {
	key := cacheKey{subject, s.cacheText()}
	c.mu.Lock()
	id, ok := c.ids[key]
	c.mu.Unlock()
	if ok {
		return id, nil
	}
	var out Schema
	if err := c.do(ctx, http.MethodPost, c.query("/subjects/"+url.PathEscape(subject)+"/versions", "normalize", c.opts.Normalize), s.body(), &out); err != nil {
		return 0, fmt.Errorf("register schema of subject %s: %w", subject, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	put(c.ids, key, out.ID, c.opts.CacheSize)
	return out.ID, nil
}

// RegisterSchema is Register of an Avro schema without references.
func (c *Client) RegisterSchema(ctx context.Context, subject, schema string) (int, error) {
	return c.Register(ctx, subject, Schema{Schema: schema})
}

// Lookup returns the version of a subject that holds the schema. NotFound tells that there is none.
func (c *Client) Lookup(ctx context.Context, subject string, s Schema) (*Schema, error) {
	key := cacheKey{subject, s.cacheText()}
	c.mu.Lock()
	found := c.lookup[key]
	c.mu.Unlock()
	if found != nil {
		return found, nil
	}
	out := &Schema{}
	path := c.query("/subjects/"+url.PathEscape(subject), "normalize", c.opts.Normalize) + "&deleted=false"
	if err := c.do(ctx, http.MethodPost, path, s.body(), out); err != nil {
		return nil, fmt.Errorf("look up schema of subject %s: %w", subject, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	put(c.lookup, key, out, c.opts.CacheSize)
	return out, nil
}

// LookupSchema is Lookup of an Avro schema without references.
func (c *Client) LookupSchema(ctx context.Context, subject, schema string) (*Schema, error) {
	return c.Lookup(ctx, subject, Schema{Schema: schema})
}

// SchemaByID returns the schema of an id. Its Subject and Version are not set.
func (c *Client) SchemaByID(ctx context.Context, id int) (*Schema, error) {
	c.mu.Lock()
	found := c.byID[id]
	c.mu.Unlock()
	if found != nil {
		return found, nil
	}
	out := &Schema{}
	if err := c.do(ctx, http.MethodGet, "/schemas/ids/"+strconv.Itoa(id)+"?fetchMaxId=false", nil, out); err != nil {
		return nil, fmt.Errorf("get schema %d: %w", id, err)
	}
	out.ID, out.Subject, out.Version = id, "", 0
	c.mu.Lock()
	defer c.mu.Unlock()
	put(c.byID, id, out, c.opts.CacheSize)
	return out, nil
}

// Latest is the newest version of a subject, where a version is asked for.
const Latest = -1

func versionPath(subject string, version int) string {
	v := "latest"
	if version != Latest {
		v = strconv.Itoa(version)
	}
	return "/subjects/" + url.PathEscape(subject) + "/versions/" + v
}

// Version returns a version of a subject.
func (c *Client) Version(ctx context.Context, subject string, version int) (*Schema, error) {
	out := &Schema{}
	if err := c.do(ctx, http.MethodGet, versionPath(subject, version), nil, out); err != nil {
		return nil, fmt.Errorf("get version %d of subject %s: %w", version, subject, err)
	}
	return out, nil
}

// LatestVersion returns the newest version of a subject.
func (c *Client) LatestVersion(ctx context.Context, subject string) (*Schema, error) {
	return c.Version(ctx, subject, Latest)
}

// Versions returns the numbers of a subject's versions.
func (c *Client) Versions(ctx context.Context, subject string) ([]int, error) {
	var out []int
	if err := c.do(ctx, http.MethodGet, "/subjects/"+url.PathEscape(subject)+"/versions", nil, &out); err != nil {
		return nil, fmt.Errorf("list versions of subject %s: %w", subject, err)
	}
	return out, nil
}

// Subjects returns all subjects.
func (c *Client) Subjects(ctx context.Context) ([]string, error) {
	var out []string
	if err := c.do(ctx, http.MethodGet, "/subjects", nil, &out); err != nil {
		return nil, fmt.Errorf("list subjects: %w", err)
	}
	return out, nil
}

// DeleteSubject deletes a subject and returns the versions that went; permanent needs a deletion before.
func (c *Client) DeleteSubject(ctx context.Context, subject string, permanent bool) ([]int, error) {
	var out []int
	if err := c.do(ctx, http.MethodDelete, c.query("/subjects/"+url.PathEscape(subject), "permanent", permanent), nil, &out); err != nil {
		return nil, fmt.Errorf("delete subject %s: %w", subject, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.ids {
		if k.subject == subject {
			delete(c.ids, k)
		}
	}
	for k := range c.lookup {
		if k.subject == subject {
			delete(c.lookup, k)
		}
	}
	return out, nil
}

func configPath(subject string) string {
	if subject == "" {
		return "/config"
	}
	return "/config/" + url.PathEscape(subject)
}

// Compatibility returns the level of a subject, its own or the one that it inherits; of the registry for "".
func (c *Client) Compatibility(ctx context.Context, subject string) (string, error) {
	var out struct {
		Level string `json:"compatibilityLevel"`
	}
	if err := c.do(ctx, http.MethodGet, configPath(subject)+"?defaultToGlobal=true", nil, &out); err != nil {
		return "", fmt.Errorf("get compatibility of subject %q: %w", subject, err)
	}
	return out.Level, nil
}

// SetCompatibility sets the level of a subject; of the registry for "".
func (c *Client) SetCompatibility(ctx context.Context, subject, level string) error {
	if err := c.do(ctx, http.MethodPut, configPath(subject), map[string]string{"compatibility": level}, nil); err != nil {
		return fmt.Errorf("set compatibility of subject %q: %w", subject, err)
	}
	return nil
}

// TestCompatibility says whether a schema is compatible with a version of a subject, and if not why.
func (c *Client) TestCompatibility(ctx context.Context, subject string, version int, s Schema) (bool, []string, error) {
	var out struct {
		OK       bool     `json:"is_compatible"`
		Messages []string `json:"messages"`
	}
	path := "/compatibility" + versionPath(subject, version) + "?verbose=true"
	if err := c.do(ctx, http.MethodPost, path, s.body(), &out); err != nil {
		return false, nil, fmt.Errorf("test compatibility with subject %s: %w", subject, err)
	}
	return out.OK, out.Messages, nil
}

func (c *Client) query(path, name string, value bool) string {
	return path + "?" + name + "=" + strconv.FormatBool(value)
}

func (s Schema) body() any {
	return struct {
		Schema     string      `json:"schema"`
		Type       string      `json:"schemaType,omitempty"`
		References []Reference `json:"references,omitempty"`
	}{s.Schema, s.Type, s.References}
}

func (s Schema) cacheText() string {
	if s.Type == "" && len(s.References) == 0 {
		return s.Schema
	}
	var b strings.Builder
	b.WriteString(s.Schema)
	for _, r := range s.References {
		fmt.Fprintf(&b, "\x00%s\x00%s\x00%d", r.Name, r.Subject, r.Version)
	}
	return b.String() + "\x00" + s.Type
}

// put keeps at most size entries; which one goes is left to chance.
func put[K comparable, V any](m map[K]V, k K, v V, size int) {
	if len(m) >= size {
		for old := range m {
			delete(m, old)
			break
		}
	}
	m[k] = v
}

const contentType = "application/vnd.schemaregistry.v1+json"

// maxAnswer bounds an answer in bytes.
const maxAnswer = 64 << 20

// do sends a request to the first URL that can answer it.
func (c *Client) do(ctx context.Context, method, path string, body, out any) error {
	var payload []byte
	if body != nil {
		var err error
		if payload, err = json.Marshal(body); err != nil {
			return err
		}
	}
	backoff := c.opts.Backoff
	for attempt := 0; ; attempt++ {
		first := int(c.first.Load())
		var last error
		for i := range c.urls {
			n := (first + i) % len(c.urls)
			again, err := c.try(ctx, c.urls[n], method, path, payload, out)
			if !again {
				c.first.Store(int32(n)) //nolint:gosec // few URLs
				return err
			}
			last = err
		}
		if attempt >= c.opts.Retries {
			return last
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", last, ctx.Err())
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, 5*time.Second)
	}
}

// try sends a request to one URL. again says that another may do better.
func (c *Client) try(ctx context.Context, u *url.URL, method, path string, payload []byte, out any) (again bool, err error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	target := *u
	user := target.User
	target.User = nil
	r, err := http.NewRequestWithContext(ctx, method, target.String()+path, bytes.NewReader(payload))
	if err != nil {
		return false, err
	}
	r.Header.Set("Accept", contentType+", application/vnd.schemaregistry+json, application/json")
	if payload != nil {
		r.Header.Set("Content-Type", contentType)
	}
	switch {
	case c.opts.BearerToken != "":
		r.Header.Set("Authorization", "Bearer "+c.opts.BearerToken)
	case c.opts.Credentials == UserInfo:
		name, password, _ := strings.Cut(c.opts.UserInfo, ":")
		r.SetBasicAuth(name, password)
	case user != nil:
		password, _ := user.Password()
		r.SetBasicAuth(user.Username(), password)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return parent.Err() == nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return parent.Err() == nil, err
	}
	if len(data) > maxAnswer {
		return false, fmt.Errorf("answer of more than %d bytes", maxAnswer)
	}
	if answer.StatusCode/100 != 2 {
		e := &Error{Status: answer.StatusCode}
		var body struct {
			Code    int    `json:"error_code"`
			Message string `json:"message"`
		}
		if json.Unmarshal(data, &body) == nil && body.Code != 0 {
			e.Code, e.Message = body.Code, body.Message
		} else {
			e.Code, e.Message = answer.StatusCode, "registry answered "+answer.Status
		}
		return answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusRequestTimeout, e
	}
	if out == nil {
		return false, nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return false, &Error{Code: 50005, Status: answer.StatusCode, Message: "answer is not valid: " + err.Error()}
	}
	return false, nil
}
