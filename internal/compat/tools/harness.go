package tools

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moldau-io/moldau/internal/servers"
)

//go:embed Harness.java
var harnessSource []byte

// Harness is a JVM with Kafka's classes that runs tools one at a time.
type Harness struct {
	dir   string
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	count int
}

// StartHarness starts the JVM; dir is for its files.
func StartHarness(ctx context.Context, kafka *servers.KafkaTools, dir string) (*Harness, error) {
	src := filepath.Join(dir, "Harness.java")
	if err := os.WriteFile(src, harnessSource, 0o600); err != nil {
		return nil, err
	}
	h := &Harness{dir: dir, cmd: kafka.Command(ctx, src)}
	h.cmd.Dir = dir
	h.cmd.Env = append(os.Environ(), "JDK_JAVA_OPTIONS=--add-opens=java.base/java.lang=ALL-UNNAMED")
	log, err := os.Create(filepath.Join(dir, "harness.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	h.cmd.Stderr = log
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.out = bufio.NewReader(out)
	return h, h.cmd.Start()
}

// Close ends the JVM.
func (h *Harness) Close() error {
	_ = h.in.Close()
	return h.cmd.Wait()
}

// Output is what a tool printed, and its exit code; Timeout when it had to be stopped.
type Output struct {
	Stdout, Stderr string
	Code           int
	Timeout        bool
}

// Run runs the main method of a class.
func (h *Harness) Run(limit time.Duration, stdin, class string, args ...string) (Output, error) {
	h.count++
	stdout, stderr := filepath.Join(h.dir, fmt.Sprintf("%d.out", h.count)), filepath.Join(h.dir, fmt.Sprintf("%d.err", h.count))
	words := append([]string{stdout, stderr, stdin, strconv.Itoa(int(limit.Seconds())), class}, args...)
	for i, w := range words {
		words[i] = base64.StdEncoding.EncodeToString([]byte(w))
	}
	if _, err := fmt.Fprintln(h.in, strings.Join(words, " ")); err != nil {
		return Output{}, fmt.Errorf("run %s: %w", class, err)
	}
	line, err := h.out.ReadString('\n')
	if err != nil {
		log, _ := os.ReadFile(filepath.Join(h.dir, "harness.log"))
		return Output{}, fmt.Errorf("run %s: the JVM ended: %w\n%s", class, err, log)
	}
	o := Output{}
	if line = strings.TrimSpace(line); line == "timeout" {
		o.Timeout = true
	} else if o.Code, err = strconv.Atoi(line); err != nil {
		return o, fmt.Errorf("run %s: %w", class, err)
	}
	b, err := os.ReadFile(stdout)
	if err != nil {
		return o, err
	}
	o.Stdout = string(b)
	if b, err = os.ReadFile(stderr); err != nil {
		return o, err
	}
	o.Stderr = string(b)
	return o, nil
}
