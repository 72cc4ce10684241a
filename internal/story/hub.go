package story

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moldau-io/moldau/internal/servers"
)

// Hub is a moldau server process.
type Hub struct {
	Bin string   // the binary
	Dir string   // data, log, endpoints file
	Set []string // further --set SECTION.KEY=VALUE
	Env []string // further environment, what ${env:...} in connector configs refers to
	// Roles, when not "", is passed on.
	Roles string
	Args  []string // further arguments
	// Listeners are further ones of the broker, NAME://HOST:PORT.
	Listeners []string

	Endpoints Endpoints

	mu    sync.Mutex
	ports [4]int
	cmd   *exec.Cmd
	done  chan struct{}
	exit  error
}

// Endpoints is the content of the file that `server --endpoints` writes.
type Endpoints struct {
	Kafka    string `json:"kafka"`
	Registry string `json:"registry"`
	Connect  string `json:"connect"`
	Admin    string `json:"admin"`
}

// BuildHub compiles the binary into dir and returns its path; tests of several packages each need one.
func BuildHub(ctx context.Context, dir string, flags ...string) (string, error) {
	bin := filepath.Join(dir, "moldau")
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build"}, flags...), "-o", bin, "github.com/moldau-io/moldau/cmd/moldau")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the hub: %w\n%s", err, out)
	}
	return bin, nil
}

// Start starts the hub and waits until all its roles answer. After a Kill it comes back on the same ports with the same data.
func (h *Hub) Start(ctx context.Context) error {
	if err := h.Launch(); err != nil {
		return err
	}
	return h.WaitUp(ctx)
}

// Launch starts the process and waits for nothing.
func (h *Hub) Launch() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd != nil {
		return errors.New("the hub runs already")
	}
	if h.ports[0] == 0 {
		for i := range h.ports {
			h.ports[i] = servers.FreePort()
		}
	}
	if err := os.MkdirAll(h.Dir, 0o755); err != nil {
		return err
	}
	endpoints := filepath.Join(h.Dir, "endpoints.json")
	_ = os.Remove(endpoints)
	args := []string{"server", "--data-dir", filepath.Join(h.Dir, "data"), "--endpoints", endpoints,
		"--set", "broker.listeners=" + strings.Join(append([]string{fmt.Sprintf("PLAINTEXT://127.0.0.1:%d", h.ports[0])}, h.Listeners...), ","),
		"--set", fmt.Sprintf("registry.listeners=http://127.0.0.1:%d", h.ports[1]),
		"--set", fmt.Sprintf("connect.listeners=http://127.0.0.1:%d", h.ports[2]),
		"--set", fmt.Sprintf("admin.listeners=http://127.0.0.1:%d", h.ports[3])}
	if h.Roles != "" {
		args = append(args, "--roles", h.Roles)
	}
	for _, s := range h.Set {
		args = append(args, "--set", s)
	}
	args = append(args, h.Args...)
	log, err := os.OpenFile(h.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(h.Bin, args...)
	cmd.Env = append(os.Environ(), h.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	h.cmd, h.done = cmd, make(chan struct{})
	go func(done chan struct{}) { h.exit = cmd.Wait(); close(done) }(h.done)
	return nil
}

// WaitUp waits until all roles answer.
func (h *Hub) WaitUp(ctx context.Context) error {
	h.mu.Lock()
	done := h.done
	h.mu.Unlock()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		if b, err := os.ReadFile(filepath.Join(h.Dir, "endpoints.json")); err == nil && json.Unmarshal(b, &h.Endpoints) == nil {
			return nil
		}
		select {
		case <-done:
			h.mu.Lock()
			defer h.mu.Unlock()
			h.cmd = nil
			return fmt.Errorf("the hub ended at its start (%w):\n%s", h.exit, h.Tail())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the hub does not come up:\n%s", h.Tail())
		}
	}
}

// LogFile is where the hub's output goes.
func (h *Hub) LogFile() string { return filepath.Join(h.Dir, "hub.log") }

// Tail returns the end of the log.
func (h *Hub) Tail() string {
	b, _ := os.ReadFile(h.LogFile())
	if len(b) > 4000 {
		b = b[len(b)-4000:]
	}
	return string(b)
}

// PID is the hub's process id, 0 when it is down.
func (h *Hub) PID() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd == nil {
		return 0
	}
	return h.cmd.Process.Pid
}

// Stop drains the hub with SIGTERM and reports how it ended.
func (h *Hub) Stop() error { return h.end(syscall.SIGTERM, 30*time.Second) }

// Kill ends it as a crash does.
func (h *Hub) Kill() error {
	if err := h.end(syscall.SIGKILL, 30*time.Second); err != nil && !strings.Contains(err.Error(), "killed") {
		return err
	}
	return nil
}

func (h *Hub) end(sig syscall.Signal, patience time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cmd == nil {
		return nil
	}
	_ = h.cmd.Process.Signal(sig)
	select {
	case <-h.done:
	case <-time.After(patience):
		_ = h.cmd.Process.Signal(syscall.SIGQUIT) // its stacks go to the log
		select {
		case <-h.done:
		case <-time.After(5 * time.Second):
			_ = h.cmd.Process.Kill()
			<-h.done
		}
		h.cmd = nil
		return fmt.Errorf("the hub did not stop within %s; stacks are in %s", patience, h.LogFile())
	}
	h.cmd = nil
	return h.exit
}

// StatusError is an answer of the hub's REST API that is no success.
type StatusError struct {
	Code int
	Body string
}

// Error tells code and body.
func (e *StatusError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.Code, e.Body) }

// REST calls an endpoint with a JSON body (nil: none) and decodes the answer into out (nil: dropped).
func REST(ctx context.Context, method, address string, body, out any) error {
	var rd io.Reader = http.NoBody
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		rd = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, rd)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return &StatusError{res.StatusCode, string(b)}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(b, out)
}

// Connector is the body of POST /connectors.
type Connector struct {
	Name   string            `json:"name"`
	Config map[string]string `json:"config"`
}

// Create makes a connector.
func (h *Hub) Create(ctx context.Context, c Connector) error {
	if err := REST(ctx, http.MethodPost, h.Endpoints.Connect+"/connectors", c, nil); err != nil {
		return fmt.Errorf("create connector %s: %w", c.Name, err)
	}
	return nil
}

// Delete removes a connector.
func (h *Hub) Delete(ctx context.Context, name string) error {
	return REST(ctx, http.MethodDelete, h.Endpoints.Connect+"/connectors/"+url.PathEscape(name), nil, nil)
}

// ConnectorStatus is the answer of GET /connectors/{name}/status.
type ConnectorStatus struct {
	Name      string `json:"name"`
	Connector struct {
		State string `json:"state"`
		Trace string `json:"trace"`
	} `json:"connector"`
	Tasks []struct {
		ID    int    `json:"id"`
		State string `json:"state"`
		Trace string `json:"trace"`
	} `json:"tasks"`
}

// Status asks for a connector's status.
func (h *Hub) Status(ctx context.Context, name string) (st ConnectorStatus, err error) {
	err = REST(ctx, http.MethodGet, h.Endpoints.Connect+"/connectors/"+url.PathEscape(name)+"/status", nil, &st)
	return st, err
}

// Failed returns the trace of a connector or task that failed, or "".
func (st ConnectorStatus) Failed() string {
	if st.Connector.State == "FAILED" {
		return st.Connector.Trace
	}
	for _, t := range st.Tasks {
		if t.State == "FAILED" {
			return fmt.Sprintf("task %d: %s", t.ID, t.Trace)
		}
	}
	return ""
}

// WaitRunning waits until a connector and at least one task of it run.
func (h *Hub) WaitRunning(ctx context.Context, name string) error {
	for {
		st, err := h.Status(ctx, name)
		if err == nil {
			if f := st.Failed(); f != "" {
				return fmt.Errorf("connector %s failed: %s", name, f)
			}
			running := st.Connector.State == "RUNNING" && len(st.Tasks) > 0
			for _, t := range st.Tasks {
				running = running && t.State == "RUNNING"
			}
			if running {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("connector %s does not run: %+v %w", name, st, errors.Join(err, ctx.Err()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
