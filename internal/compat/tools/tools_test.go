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

// peer is one of the two brokers of a script.
type peer struct {
	broker, sasl string // addresses
	log          string // its log directory
}

// TestToolsPrintTheSame runs the script on both brokers, step by step, in one JVM.
func TestToolsPrintTheSame(t *testing.T) {
	kafka := servers.TestKafka(t) // of this test only: the script begins with a new broker
	if kafka.Process == nil {
		t.Skip("the script needs a broker of its own")
	}
	t.Cleanup(servers.StopShared)
	dir := t.TempDir()
	hub := compattest.StartHub(t, moldau.Sources{DataDir: filepath.Join(dir, "moldau"), Roles: []string{"broker", "controller"}, // on the defaults
		Set: []string{"broker.listeners=PLAINTEXT://127.0.0.1:0", "broker.group.initial.rebalance.delay.ms=0", "admin.listeners=http://127.0.0.1:0"}}).Kafka
	play(t, dir, Script, peer{broker: kafka.Bootstrap, log: filepath.Join(kafka.Process.Dir, "data")}, peer{broker: hub, log: filepath.Join(dir, "moldau", "log")})
}

// TestToolsPrintTheSameWithAnAuthorizer does so with access control, as somebody who may do little.
func TestToolsPrintTheSameWithAnAuthorizer(t *testing.T) {
	if servers.Excluded("kafka") {
		t.Skip("kafka was excluded")
	}
	dir := t.TempDir()
	ports := []int{servers.FreePort(), servers.FreePort(), servers.FreePort()}
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	kafka, err := servers.StartKafkaOn(t.Context(), filepath.Join(dir, "kafka"), []string{"SASL_PLAINTEXT://" + at(0)}, secured...)
	require.NoError(t, err)
	if kafka.Process == nil {
		t.Skip("the script needs a broker of its own")
	}
	t.Cleanup(func() { _ = kafka.Stop() })
	src := moldau.Sources{DataDir: filepath.Join(dir, "moldau"), Roles: []string{"broker", "controller"}, Set: []string{
		"broker.listeners=PLAINTEXT://" + at(1) + ",SASL_PLAINTEXT://" + at(2), "broker.group.initial.rebalance.delay.ms=0", "admin.listeners=http://127.0.0.1:0",
	}}
	for _, s := range secured {
		src.Set = append(src.Set, "broker."+s)
	}
	hub := compattest.StartHub(t, src).Kafka
	play(t, dir, SecuredScript, peer{broker: kafka.Bootstrap, sasl: at(0)}, peer{broker: hub, sasl: at(2)})
}

// play runs a script on both.
func play(t *testing.T, dir string, script []Step, kafka, hub peer) {
	t.Helper()
	tools, err := servers.FetchKafka(t.Context())
	require.NoError(t, err)
	h, err := StartHarness(t.Context(), tools, dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.Close() })
	for name, text := range Files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	run := func(s Step, on peer) string {
		args := make([]string, len(s.Args))
		for i, a := range s.Args {
			args[i] = strings.NewReplacer("$BROKER", on.broker, "$SASL", on.sasl, "$DIR", dir, "$LOG", on.log).Replace(a)
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
		clean := func(text string) string {
			if on.sasl != "" {
				text = normalise(text, on.sasl, Step{})
			}
			return normalise(text, on.broker, s)
		}
		return fmt.Sprintf("exit %d timeout %v\n--- stdout\n%s\n--- stderr\n%s\n", o.Code, o.Timeout, clean(o.Stdout), clean(o.Stderr))
	}
	var slow time.Duration
	var slowest string
	for i, s := range script {
		if *only != "" && !regexp.MustCompile(*only).MatchString(s.String()) {
			continue
		}
		t.Run(fmt.Sprintf("%d_%s", i, s.Tool), func(t *testing.T) {
			began := time.Now()
			want := run(s, kafka)
			got := run(s, hub)
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
