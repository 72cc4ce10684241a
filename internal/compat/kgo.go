package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// kgoSuite is the tests of franz-go's client, in the version that go.mod names.
type kgoSuite struct {
	source, module string
}

const kgoModule = "github.com/twmb/franz-go"

func (s *kgoSuite) prepare(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", kgoModule).Output()
	if err != nil {
		return fmt.Errorf("go mod download %s: %w", kgoModule, err)
	}
	var m struct{ Dir, Version string }
	if err := json.Unmarshal(out, &m); err != nil {
		return err
	}
	s.source, s.module = m.Dir, m.Version
	return nil
}

func (s *kgoSuite) version() string { return "franz-go " + s.module }

func (s *kgoSuite) settings() []string { return nil }

// run runs the tests as many times as is asked for, on one broker: what an earlier run left must not disturb. So runs that were
// interrupted between begin anew.
func (s *kgoSuite) run(ctx context.Context, opt options, b *broker, have *results, tell func(result), keep func() error) error {
	clear(have.Tests)
	// The module cache cannot be written to, and its tests belong to another module: they run in a copy.
	work, err := os.MkdirTemp("", "moldau-compat-kgo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	src := filepath.Join(work, "franz-go")
	if err := os.CopyFS(src, os.DirFS(s.source)); err != nil {
		return fmt.Errorf("copy %s: %w", s.source, err)
	}
	for run := 1; run <= opt.runs; run++ {
		err := func() error {
			end, err := opt.turns.take(ctx)
			if err != nil {
				return err
			}
			defer end()
			return s.once(ctx, opt, b, src, run, tell)
		}()
		if err != nil {
			return err
		}
	}
	return keep()
}

// event is a line of `go test -json`.
type event struct {
	Action, Test, Output string
	Elapsed              float64
}

func (s *kgoSuite) once(ctx context.Context, opt options, b *broker, src string, run int, tell func(result)) error {
	args := []string{"test", "-json", "-count=1", "-timeout=30m"}
	if opt.tests != nil {
		args = append(args, "-run", opt.tests.String())
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./pkg/kgo")...)
	cmd.Dir = src
	cmd.Env = append(os.Environ(), "KGO_SEEDS="+b.bootstrap, "KGO_TEST_RF=1", "KGO_TEST_SCRAM_SEEDS="+b.sasl, "KGO_TEST_SCRAM="+scramUser+":"+scramPassword, "CGO_ENABLED=0", "GOFLAGS=-mod=mod -buildvcs=false")
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(b.logs, fmt.Sprintf("run-%d.log", run)))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return err
	}
	began := time.Now()
	lines := bufio.NewReader(out)
	why, open := map[string]string{}, map[string]bool{}
	seen := 0
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var e event
		if json.Unmarshal(line, &e) != nil {
			fmt.Fprintf(log, "%s", line)
			continue
		}
		fmt.Fprintf(log, "%s", e.Output)
		switch e.Action {
		case "run":
			open[e.Test] = true
		case "output":
			if t := strings.TrimSpace(e.Output); reason(t) {
				why[e.Test] = clip(t)
			}
		case "pass", "fail", "skip":
			if e.Test == "" {
				continue
			}
			delete(open, e.Test)
			seen++
			r := result{Name: e.Test, State: passed, Seconds: e.Elapsed}
			switch e.Action {
			case "fail":
				r.State, r.Why = failed, why[e.Test]
			case "skip":
				r.State, r.Why = skipped, why[e.Test]
			}
			tell(r)
		}
	}
	waitErr := cmd.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	// Tests that were still open when the program ended (a timeout, a panic) have failed.
	for name := range open {
		tell(result{Name: name, State: failed, Seconds: time.Since(began).Seconds(), Why: "did not end"})
	}
	var exit *exec.ExitError
	if waitErr != nil && !errors.As(waitErr, &exit) {
		return waitErr
	}
	if seen == 0 {
		return fmt.Errorf("no test ran, see %s", log.Name())
	}
	return nil
}

// reason reports whether a line of a test's output says why it failed or was skipped, as "file_test.go:12: text" does.
func reason(line string) bool {
	file, _, ok := strings.Cut(line, ":")
	return ok && strings.HasSuffix(file, "_test.go")
}
