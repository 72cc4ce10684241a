package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/internal/servers"
)

var update = flag.Bool("update", false, "write the transcripts anew, from moldau's broker")

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	servers.StopShared()
	os.Exit(code)
}

// execute runs a command line and returns what it wrote and its exit code.
func execute(t testing.TB, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	code = Main(ctx, args, Streams{In: strings.NewReader(stdin), Out: &out, Err: &errs})
	return out.String(), errs.String(), code
}

// TestTranscripts runs the command lines of testdata on moldau's broker and on Apache Kafka: both must give the same output, byte by byte,
// but for addresses, ids and times. A transcript has "$ arguments", "< line" of the standard input, then the output, "! line" of stderr, and
// "? code" when the exit code is not 0.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	t.Run("moldau", func(t *testing.T) {
		for _, f := range files {
			t.Run(filepath.Base(f), func(t *testing.T) {
				opts := []brokertest.Option{}
				for _, kv := range secured {
					k, v, _ := strings.Cut(kv, "=")
					opts = append(opts, brokertest.With(k, v))
				}
				got := play(t, f, brokertest.Start(t, opts...).Addr(), 0)
				if *update {
					require.NoError(t, os.WriteFile(f, []byte(got), 0o644))
				}
				want, err := os.ReadFile(f)
				require.NoError(t, err)
				require.Equal(t, string(want), got)
			})
		}
	})
	t.Run("kafka", func(t *testing.T) {
		if servers.Excluded("kafka") {
			t.Skip("excluded")
		}
		kafka, err := servers.StartKafka(t.Context(), t.TempDir(), secured...)
		require.NoError(t, err)
		t.Cleanup(func() { _ = kafka.Stop() })
		for _, f := range files {
			t.Run(filepath.Base(f), func(t *testing.T) {
				want, err := os.ReadFile(f)
				require.NoError(t, err)
				require.Equal(t, string(want), play(t, f, kafka.Bootstrap, kafkaSettles))
			})
		}
	})
}

// secured are broker properties under which access control can be tried by whoever connects.
var secured = []string{"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS"}

var (
	idPattern   = regexp.MustCompile(`\b[A-Za-z0-9_-]{22}\b`)
	timePattern = regexp.MustCompile(`\b1[78]\d{11}\b|\b20\d\d-\d\d-\d\dT[0-9:.]+Z`)
	uuidPattern = regexp.MustCompile(`moldau-cli-[0-9a-f-]{36}`)
)

// kafkaSettles is how long an Apache Kafka may take to show what it has acknowledged: its broker follows its controller behind the answer.
const kafkaSettles = 10 * time.Second

// looks matches the commands that change nothing, so that they can be run again.
var looks = regexp.MustCompile(`^\w+ (list|describe|offsets|producers)\b`)

// play runs the commands of a transcript and returns it with the output that they gave. Those that only look are run again, for as long as
// settles, until they say what the transcript says.
func play(t *testing.T, file, server string, settles time.Duration) string {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	t.Setenv(envServers, server)
	dir := t.TempDir()
	var out strings.Builder
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		if strings.HasPrefix(lines[i], "#") {
			fmt.Fprintln(&out, lines[i])
			continue
		}
		cmd, ok := strings.CutPrefix(lines[i], "$ ")
		if !ok {
			continue // earlier output
		}
		fmt.Fprintln(&out, lines[i])
		var stdin strings.Builder
		for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "< ") {
			i++
			fmt.Fprintln(&out, lines[i])
			fmt.Fprintln(&stdin, lines[i][2:])
		}
		clean := func(s string) string {
			host, port, _ := strings.Cut(server, ":")
			s = strings.NewReplacer(server, "HOST:PORT", host, "HOST", port, "PORT ", dir, "$DIR",
				"Group cli-group not found.", "The group id does not exist.", // Kafka says so since 4.4 (KIP-1331)
			).Replace(s)
			return timePattern.ReplaceAllString(idPattern.ReplaceAllString(uuidPattern.ReplaceAllString(s, "<client>"), "<<--------id-------->>"), "<time>")
		}
		run := func() string {
			var said strings.Builder
			stdout, stderr, code := execute(t, stdin.String(), words(strings.ReplaceAll(cmd, "$DIR", dir))...)
			said.WriteString(clean(stdout))
			for l := range strings.SplitSeq(strings.TrimRight(clean(stderr), "\n"), "\n") {
				if l != "" {
					fmt.Fprintln(&said, "! "+l)
				}
			}
			if code != 0 {
				fmt.Fprintln(&said, "?", code)
			}
			return said.String()
		}
		said := run()
		if looks.MatchString(cmd) {
			want := expected(lines[i+1:])
			for began := time.Now(); said != want && time.Since(began) < settles; said = run() {
				time.Sleep(20 * time.Millisecond)
			}
		}
		out.WriteString(said)
	}
	return out.String()
}

// expected is the output that a transcript goes on with.
func expected(lines []string) string {
	var out strings.Builder
	for _, l := range lines {
		if strings.HasPrefix(l, "$ ") || strings.HasPrefix(l, "#") {
			break
		}
		fmt.Fprintln(&out, l)
	}
	return out.String()
}

// words splits a command line; single quotes keep blanks.
func words(s string) []string {
	var l []string
	for s = strings.TrimLeft(s, " "); s != ""; s = strings.TrimLeft(s, " ") {
		var w strings.Builder
		for s != "" && s[0] != ' ' {
			if s[0] == '\'' {
				q, rest, _ := strings.Cut(s[1:], "'")
				w.WriteString(q)
				s = rest
				continue
			}
			w.WriteByte(s[0])
			s = s[1:]
		}
		l = append(l, w.String())
	}
	return l
}
