package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Process is a server that this program started. Its methods may be called from several goroutines.
type Process struct {
	Name string // "postgres"
	Dir  string // scratch folder: data, log
	Port int

	spec spec
	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
}

type spec struct {
	path, dir string
	args, env []string
	dropRoot  bool                            // it refuses to run as root
	stop      syscall.Signal                  // polite stop
	patience  time.Duration                   // how long to wait for it before SIGKILL
	ready     func(ctx context.Context) error // nil error: it serves
}

// FreePort returns a TCP port of the loopback interface that is free now.
func FreePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic("servers: no free loopback port: " + err.Error())
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// LogFile is where the server's output goes.
func (p *Process) LogFile() string { return filepath.Join(p.Dir, "log") }

// PID is the server's process id, 0 when it is down.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Start starts the server (again) and waits until it serves.
func (p *Process) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("%s runs already", p.Name)
	}
	if p.spec.dropRoot {
		if err := handOver(p.Dir); err != nil {
			return fmt.Errorf("start %s: %w", p.Name, err)
		}
	}
	log, err := os.OpenFile(p.LogFile(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.spec.path, p.spec.args...)
	cmd.Dir = p.spec.dir
	cmd.Env = append(os.Environ(), p.spec.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attrs(p.spec.dropRoot)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	p.cmd, p.done = cmd, done

	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		tctx, tcancel := context.WithTimeout(ctx, 5*time.Second)
		err = p.spec.ready(tctx)
		tcancel()
		if err == nil {
			return nil
		}
		select {
		case <-done:
			p.cmd = nil
			return fmt.Errorf("%s ended at its start:\n%s", p.Name, p.tail())
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			<-done
			p.cmd = nil
			return fmt.Errorf("%s does not answer (%w):\n%s", p.Name, err, p.tail())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *Process) tail() string {
	b, _ := os.ReadFile(p.LogFile())
	b = bytes.TrimSpace(b)
	if len(b) > 1500 {
		b = b[len(b)-1500:]
	}
	return string(b)
}

// Stop ends the server politely, or by force when it takes too long. The data stays.
func (p *Process) Stop() error { return p.end(p.spec.stop, p.spec.patience) }

// Kill ends the server at once, as a crash does.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL, time.Minute) }

func (p *Process) end(sig syscall.Signal, patience time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return nil
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	p.cmd = nil
	return nil
}

// Freeze stops the process from running without ending it (SIGSTOP); Thaw lets it go on.
func (p *Process) Freeze() error { return p.signal(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (p *Process) Thaw() error { return p.signal(syscall.SIGCONT) }

func (p *Process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("%s is down", p.Name)
	}
	return p.cmd.Process.Signal(sig)
}
