package moldau

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// serveHTTP opens the listeners that a setting names and serves h on them. The first one's URL, with the port it got, is noted.
func (n *Node) serveHTTP(role, setting, byDefault string, h http.Handler, launch func(string, func(context.Context) error), note func(string)) error {
	if strings.TrimSpace(setting) == "" {
		setting = byDefault
	}
	for i, s := range strings.Split(setting, ",") {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil || u.Host == "" || u.Port() == "" {
			return fmt.Errorf("%s.listeners: %q is not of the form http://host:port", role, s)
		}
		if u.Scheme != "http" {
			return fmt.Errorf("%s.listeners: %q: only http is supported; put a proxy in front for TLS", role, s)
		}
		l, err := net.Listen("tcp", u.Host)
		if err != nil {
			return fmt.Errorf("%s.listeners: %w (set %s.listeners to another address; port 0 takes any free one)", role, err, role)
		}
		l = limitConns(l, maxHTTPConns)
		if i == 0 {
			addr := "http://" + advertised(l.Addr(), u.Hostname())
			n.mu.Lock()
			note(addr)
			n.mu.Unlock()
		}
		srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 5 * time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
		launch(role+" listener", func(ctx context.Context) error {
			done := make(chan error, 1)
			go func() { done <- srv.Serve(l) }()
			select {
			case err := <-done:
				return err
			case <-ctx.Done():
				sctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				defer cancel()
				if err := srv.Shutdown(sctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					return err
				}
				return srv.Close()
			}
		})
	}
	return nil
}

// advertised is the address of a listener with a host that others can dial.
func advertised(a net.Addr, host string) string {
	_, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// inProcess carries HTTP requests to a handler of this process.
type inProcess struct{ h http.Handler }

// RoundTrip implements [http.RoundTripper].
func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI = in.URL.RequestURI()
	w := &recorder{header: http.Header{}, code: http.StatusOK}
	t.h.ServeHTTP(w, in)
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.code, http.StatusText(w.code)), StatusCode: w.code, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// recorder is the answer to a request of inProcess.
type recorder struct {
	header http.Header
	body   bytes.Buffer
	code   int
	wrote  bool
}

// Header implements [http.ResponseWriter].
func (w *recorder) Header() http.Header { return w.header }

// WriteHeader implements [http.ResponseWriter].
func (w *recorder) WriteHeader(code int) {
	if !w.wrote {
		w.code, w.wrote = code, true
	}
}

// Write implements [http.ResponseWriter].
func (w *recorder) Write(p []byte) (int, error) {
	w.wrote = true
	return w.body.Write(p)
}

// lateHandler answers 503 until it is given what to serve.
type lateHandler struct{ h atomic.Pointer[http.Handler] }

func (l *lateHandler) set(h http.Handler) { l.h.Store(&h) }

// ServeHTTP implements [http.Handler].
func (l *lateHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := l.h.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = io.WriteString(w, `{"error_code":503,"message":"The hub is starting."}`)
}
