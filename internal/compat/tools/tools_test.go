package tools

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau"
	"github.com/moldau-io/moldau/internal/compat/compattest"
	"github.com/moldau-io/moldau/internal/servers"
)

var (
	update = flag.Bool("update", false, "write docs/compatibility-tools.md anew")
	only   = flag.String("tools", "", "run only the steps whose command line matches, and show what they print")
)

func TestPage(t *testing.T) {
	const page = "../../../docs/compatibility-tools.md"
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(Page()), 0o644))
	}
	b, err := os.ReadFile(page)
	require.NoError(t, err)
	require.Equal(t, Page(), string(b), "the page is stale: go test ./internal/compat/tools -run TestPage -args -update")
}

// TestToolsPrintTheSame runs the script on both brokers, step by step, in one JVM.
func TestToolsPrintTheSame(t *testing.T) {
	kafka := servers.TestKafka(t) // of this test only: the script begins with a new broker
	if kafka.Process == nil {
		t.Skip("the script needs a broker of its own")
	}
	t.Cleanup(servers.StopShared)
	dir := t.TempDir()
	tools, err := servers.FetchKafka(t.Context())
	require.NoError(t, err)
	hub := compattest.StartHub(t, moldau.Sources{DataDir: filepath.Join(dir, "moldau"), Roles: []string{"broker", "controller"}, // on the defaults
		Set: []string{"broker.listeners=PLAINTEXT://127.0.0.1:0", "broker.group.initial.rebalance.delay.ms=0", "admin.listeners=http://127.0.0.1:0"}}).Kafka
	h, err := StartHarness(t.Context(), tools, dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	for name, text := range Files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	run := func(s Step, broker, log string) string {
		args := make([]string, len(s.Args))
		for i, a := range s.Args {
			args[i] = strings.NewReplacer("$BROKER", broker, "$DIR", dir, "$LOG", log).Replace(a)
		}
		class := servers.KafkaScripts[s.Tool]
		if class == "" {
			class = classes[s.Tool]
		}
		require.NotEmpty(t, class, s.Tool)
		limit := time.Duration(s.Seconds) * time.Second
		if limit == 0 {
			limit = 3 * time.Minute
		}
		o, err := h.Run(limit, s.Stdin, class, args...)
		require.NoError(t, err)
		if s.Quiet && *only == "" {
			o.Stdout, o.Stderr = "", ""
		}
		return fmt.Sprintf("exit %d timeout %v\n--- stdout\n%s\n--- stderr\n%s\n", o.Code, o.Timeout, normalise(o.Stdout, broker, s), normalise(o.Stderr, broker, s))
	}
	var slow time.Duration
	var slowest string
	for i, s := range Script {
		if *only != "" && !regexp.MustCompile(*only).MatchString(s.String()) {
			continue
		}
		t.Run(fmt.Sprintf("%d_%s", i, s.Tool), func(t *testing.T) {
			began := time.Now()
			want := run(s, kafka.Bootstrap, filepath.Join(kafka.Process.Dir, "data"))
			got := run(s, hub, filepath.Join(dir, "moldau", "log"))
			if d := time.Since(began); d > slow {
				slow, slowest = d, s.String()
			}
			if *only != "" {
				t.Logf("%s\non Apache Kafka:\n%s\non moldau:\n%s", s, want, got)
			}
			if s.Differs == "" {
				require.Equal(t, want, got, "%s prints something else on moldau", s)
			} else {
				require.NotEqual(t, want, got, "%s prints the same now: take its reason out of the script", s)
			}
		})
	}
	t.Logf("slowest: %s, %s", slowest, slow.Round(time.Millisecond))
}
