package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

func TestMomentsAreReadInEveryForm(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"2026-01-02":              time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC),
		"2026-01-02T03:04:05Z":    time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		"2026-01-02T03:04:05.006": time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC),
		"2026-01-02 03:04:05":     time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		"1735689600000":           time.UnixMilli(1735689600000),
		"-1h":                     now.Add(-time.Hour),
		"90m":                     now.Add(-90 * time.Minute),
	} {
		got, err := moment(s, now)
		require.NoError(t, err, s)
		require.True(t, got.Equal(want), "%s: %s", s, got)
	}
	for _, s := range []string{"", "yesterday", "12:00"} {
		_, err := moment(s, now)
		require.Error(t, err, s)
	}
}

func TestDurationsAreGosOrISO(t *testing.T) {
	for s, want := range map[string]time.Duration{"1h30m": 90 * time.Minute, "PT1H30M": 90 * time.Minute, "P1DT1S": 24*time.Hour + time.Second, "PT0.5S": 500 * time.Millisecond, "P2D": 48 * time.Hour} {
		got, err := isoDuration(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"", "P", "PT5", "PH1", "1 hour", "P1H"} {
		_, err := isoDuration(s)
		require.Error(t, err, s)
	}
}

func TestSeveralFailuresHaveTheCodeOfAllOrOne(t *testing.T) {
	var f failures
	require.NoError(t, f.err())
	f.add("a", notFound("gone"))
	require.Equal(t, exitNotFound, classify(f.err()).Code)
	f.add("b", notFound("gone"))
	require.Equal(t, exitNotFound, classify(f.err()).Code)
	f.add("c", usagef("", "bad"))
	require.Equal(t, exitFailed, classify(f.err()).Code)
}

// TestAnInterruptEndsProduceThoughItsInputGoesOn: a terminal, from which nothing more comes. The transaction is of all records or none.
func TestAnInterruptEndsProduceThoughItsInputGoesOn(t *testing.T) {
	addr := brokertest.Start(t).Addr()
	_, _, code := execute(t, "", "topic", "create", "typed", "--bootstrap-server", addr)
	require.Zero(t, code)
	in, typed := io.Pipe()
	defer typed.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	ended := make(chan int, 1)
	var errs bytes.Buffer
	go func() {
		ended <- Main(ctx, []string{"produce", "typed", "--bootstrap-server", addr, "--transactional-id", "t"}, Streams{In: in, Out: io.Discard, Err: &errs})
	}()
	_, err := io.WriteString(typed, "one\ntwo\n")
	require.NoError(t, err)
	require.Eventually(t, func() bool { // both are sent
		out, _, _ := execute(t, "", "consume", "typed", "--bootstrap-server", addr, "--from-beginning", "--until-end")
		return out == "one\ntwo\n"
	}, 30*time.Second, 10*time.Millisecond)
	interrupt()
	select {
	case code := <-ended:
		require.Equal(t, exitInterrupted, code, errs.String())
	case <-time.After(20 * time.Second):
		require.Fail(t, "it waits for its input")
	}
	out, _, code := execute(t, "", "consume", "typed", "--bootstrap-server", addr, "--from-beginning", "--until-end", "--isolation", "read_committed")
	require.Zero(t, code)
	require.Empty(t, out, "half of what was to come was committed")
}

// TestLogFilesAreShown dumps and checks what a broker wrote, then what was damaged afterwards.
func TestLogFilesAreShown(t *testing.T) {
	c := brokertest.Start(t)
	t.Setenv(envServers, c.Addr())
	_, stderr, code := execute(t, "", "topic", "create", "orders")
	require.Zero(t, code, stderr)
	_, stderr, code = execute(t, "a:one\nb:two\n", "produce", "orders", "--key-separator", ":", "--header", "h=1")
	require.Zero(t, code, stderr)
	_, stderr, code = execute(t, "x\n", "produce", "orders")
	require.Zero(t, code, stderr)
	c.Stop(t)
	dir := filepath.Join(c.Dir, "data")
	segment := filepath.Join(dir, "orders-0", "00000000000000000000.log")
	out, stderr, code := execute(t, "", "log", "dump", segment, "--records")
	require.Zero(t, code, stderr)
	require.Contains(t, out, "offsets 0..1, 2 records, epoch 0, none, CreateTime")
	require.Contains(t, out, `"a" "one" h="1"`)
	require.Contains(t, out, `null "x"`)
	out, _, code = execute(t, "", "log", "dump", segment, "--from", "2", "--json")
	require.Zero(t, code)
	require.Equal(t, 1, strings.Count(out, "\n"))
	require.Contains(t, out, `"base_offset":2`)
	files, err := filepath.Glob(filepath.Join(dir, "orders-0", "*"))
	require.NoError(t, err)
	more, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	for _, f := range append(files, more...) {
		if st, err := os.Stat(f); err == nil && st.Mode().IsRegular() && !strings.HasPrefix(filepath.Base(f), ".") {
			_, stderr, code := execute(t, "", "log", "dump", f)
			require.Zero(t, code, "%s: %s", f, stderr)
		}
	}
	out, stderr, code = execute(t, "", "log", "verify", dir, "--records")
	require.Zero(t, code, out+stderr)
	b, err := os.ReadFile(segment)
	require.NoError(t, err)
	b[70] ^= 1
	require.NoError(t, os.WriteFile(segment, b, 0o600))
	out, stderr, code = execute(t, "", "log", "verify", filepath.Dir(segment))
	require.Equal(t, exitFailed, code, out)
	require.Contains(t, out, "DAMAGED")
	require.Contains(t, stderr, "damaged")
	out, _, code = execute(t, "", "log", "dump", segment)
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "ERROR")
	require.Contains(t, out, "offsets 2..2", "what follows the damage is shown")
}

func TestNamesAreCompleted(t *testing.T) {
	c := brokertest.Start(t)
	t.Setenv(envServers, c.Addr())
	_, _, code := execute(t, "", "topic", "create", "orders", "other")
	require.Zero(t, code)
	out, _, code := execute(t, "", "__complete", "topic", "describe", "o")
	require.Zero(t, code)
	require.True(t, strings.HasPrefix(out, "orders\nother\n"), out)
	out, _, _ = execute(t, "", "__complete", "consume", "orders", "--value", "")
	require.Contains(t, out, "avro")
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		out, _, code := execute(t, "", "completion", shell)
		require.Zero(t, code)
		require.NotEmpty(t, out)
	}
}

func TestBenchReportsAsJSON(t *testing.T) {
	c := brokertest.Start(t)
	t.Setenv(envServers, c.Addr())
	out, stderr, code := execute(t, "", "bench", "produce", "--records", "1000", "--record-size", "100", "--partitions", "2", "--clients", "2", "--compression", "lz4", "--json")
	require.Zero(t, code, stderr)
	for _, want := range []string{`"operation": "produce"`, `"records": 1000`, `"bytes": 100000`, `"partitions": 2`, `"p99_9"`, `"compression": "lz4"`} {
		require.Contains(t, out, want)
	}
	out, stderr, code = execute(t, "", "bench", "consume", "--records", "1000", "--json")
	require.Zero(t, code, stderr)
	require.Contains(t, out, `"records": 1000`)
	out, stderr, code = execute(t, "", "bench", "e2e", "--records", "20", "--warmup-records", "2", "--delete-topic")
	require.Zero(t, code, stderr)
	require.Contains(t, out, "20 records in")
	_, _, code = execute(t, "", "topic", "describe", "moldau-bench")
	require.Equal(t, exitNotFound, code, "it was deleted at the end")
}

func TestFileOfOffsets(t *testing.T) {
	f := filepath.Join(t.TempDir(), "offsets.csv")
	require.NoError(t, os.WriteFile(f, []byte("# comment\na,0,5\na, 1, 6\n"), 0o600))
	os1, err := offsetsOfFile(f)
	require.NoError(t, err)
	o, ok := os1.Lookup("a", 1)
	require.True(t, ok)
	require.EqualValues(t, 6, o.At)
	for _, bad := range []string{"a,0\n", "a,x,1\n", "a,0,-1\n"} {
		require.NoError(t, os.WriteFile(f, []byte(bad), 0o600))
		_, err := offsetsOfFile(f)
		require.Error(t, err, bad)
	}
}

func FuzzRecordOfJSON(f *testing.F) {
	f.Add([]byte(`{"key":"a","value":{"n":1},"headers":[{"key":"h","value":"x"}],"partition":1,"timestamp":5}`))
	f.Add([]byte(`{"value_base64":"AA==","headers":{"a":"b"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := recordOfJSON(b, -1); err == nil {
			require.NotNil(t, r)
		}
	})
}

func FuzzWords(f *testing.F) {
	f.Add("1:2,3")
	f.Fuzz(func(_ *testing.T, s string) {
		_, _ = topicSelection([]string{s})
		_, _ = partitionOffsets("offset", []string{s})
		_, _ = isoDuration(s)
		_, _ = moment(s, time.Unix(0, 0))
		_, _ = startAt(s+" ", time.Unix(0, 0))
	})
}

// TestASecuredClusterIsReached logs in with the properties that Kafka's own tools take.
func TestASecuredClusterIsReached(t *testing.T) {
	c := brokertest.Start(t,
		brokertest.With("listeners", "SASL_PLAINTEXT://127.0.0.1:0"),
		brokertest.With("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-512"),
		brokertest.With("listener.name.sasl_plaintext.plain.sasl.jaas.config", `org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="alice-secret" user_bob="bob-secret";`),
		brokertest.With("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
		brokertest.With("super.users", "User:alice"), brokertest.With("connection.failed.authentication.delay.ms", "10"))
	t.Setenv(envServers, c.Addr())
	login := func(user, password, mechanism string) string {
		f := filepath.Join(t.TempDir(), "client.properties")
		text := "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=" + mechanism + "\nsasl.jaas.config=x required username=\"" + user + "\" password=\"" + password + "\";\n"
		require.NoError(t, os.WriteFile(f, []byte(text), 0o600))
		return f
	}
	_, stderr, code := execute(t, "", "topic", "create", "orders", "--command-config", login("alice", "alice-secret", "PLAIN"))
	require.Zero(t, code, stderr)
	_, stderr, code = execute(t, "pw\n", "user", "set", "carol", "--password-file", "-", "--command-config", login("alice", "alice-secret", "PLAIN"))
	require.Zero(t, code, stderr)
	_, stderr, code = execute(t, "", "topic", "list", "--command-config", login("carol", "pw", "SCRAM-SHA-512"))
	require.Zero(t, code, stderr)
	_, stderr, code = execute(t, "", "topic", "list", "--command-config", login("alice", "wrong", "PLAIN"))
	require.Equal(t, exitUnauthorized, code, stderr)
	require.NotContains(t, stderr, "wrong")
	_, stderr, code = execute(t, "", "topic", "delete", "orders", "--command-config", login("bob", "bob-secret", "PLAIN"))
	require.Equal(t, exitUnauthorized, code, stderr)
}
