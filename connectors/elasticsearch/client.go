package elasticsearch

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 128 << 20

// client talks HTTP to the cluster's nodes in turn. It checks nothing about the product: both kinds of server are welcome.
type client struct {
	s    settings
	http *http.Client
	turn atomic.Uint32
}

func newClient(s settings) *client {
	tr := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: s.connectTimeout, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConnsPerHost: s.inFlight + 1,
		IdleConnTimeout:     s.idle,
		TLSHandshakeTimeout: 10 * time.Second,
	}
	return &client{s: s, http: &http.Client{Transport: tr, Timeout: s.readTimeout}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// answerError is an HTTP status that is no success.
type answerError struct {
	status int
	body   string
	after  time.Duration // Retry-After
}

func (e *answerError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.status, e.body) }

// waits reports whether an error is the server's absence or overload, which is waited out.
func waits(err error) bool {
	var a *answerError
	if errors.As(err, &a) {
		return a.status == http.StatusTooManyRequests || a.status == http.StatusRequestTimeout || a.status >= 500
	}
	return true // no answer at all
}

// do sends a request and returns the answer's body.
func (c *client) do(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	url := c.s.urls[int(c.turn.Add(1))%len(c.s.urls)] + path
	payload, packed := body, false
	if c.s.gzip && len(body) > 1024 {
		var buf bytes.Buffer
		z := gzip.NewWriter(&buf)
		if _, err := z.Write(body); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		payload, packed = buf.Bytes(), true
	}
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if packed {
		req.Header.Set("Content-Encoding", "gzip")
	}
	if c.s.user != "" {
		req.SetBasicAuth(c.s.user, c.s.password)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxAnswer {
		return nil, fmt.Errorf("%s %s: the answer has more than %d bytes", method, path, maxAnswer)
	}
	if res.StatusCode >= 300 {
		text := string(b)
		if len(text) > 1000 {
			text = text[:1000] + "..."
		}
		e := &answerError{status: res.StatusCode, body: strings.TrimSpace(text)}
		if s, err := time.ParseDuration(res.Header.Get("Retry-After") + "s"); err == nil {
			e.after = min(s, time.Minute)
		}
		return b, e
	}
	return b, nil
}
