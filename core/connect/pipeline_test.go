package connect_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/connect/connecttest"
)

func unique(t *testing.T, s string) string {
	return fmt.Sprintf("%s-%s-%d", strings.ReplaceAll(t.Name(), "/", "-"), s, time.Now().UnixNano())
}

func internalTopics(t *testing.T) map[string]string {
	p := unique(t, "connect")
	return map[string]string{"group.id": p, "config.storage.topic": p + "-configs", "offset.storage.topic": p + "-offsets", "status.storage.topic": p + "-status"}
}

func TestLinesOfAFileReachAnotherFile(t *testing.T) {
	kafka, dir := cluster(t), t.TempDir()
	in, out, topic := filepath.Join(dir, "in"), filepath.Join(dir, "out"), unique(t, "lines")
	require.NoError(t, os.WriteFile(in, []byte("one\ntwo\r\nthree\n"), 0o600))
	props := internalTopics(t)
	w := connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
	src := map[string]string{"connector.class": "FileStreamSource", "file": in, "topic": topic}
	w.MustCreate("src", src)
	w.Await("src", "RUNNING", "RUNNING")
	w.MustCreate("snk", map[string]string{"connector.class": "FileStreamSink", "file": out, "topics": topic})
	lines := func() string {
		b, _ := os.ReadFile(out)
		return string(b)
	}
	require.Eventually(t, func() bool { return lines() == "one\ntwo\nthree\n" }, 20*time.Second, 10*time.Millisecond, "%s", lines())

	offs, err := w.Offsets(context.Background(), "src")
	require.NoError(t, err)
	require.Equal(t, map[string]any{"position": int64(15)}, offs.Offsets[0].Offset)
	group := "connect-snk"
	require.Eventually(t, func() bool { return committed(t, kafka, group, topic, 0) == 3 }, 20*time.Second, 50*time.Millisecond)
	w.Shutdown()

	// Another worker goes on where this one stopped.
	f, err := os.OpenFile(in, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("four\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	w = connecttest.Start(t, kafka, registry(), connecttest.Options{Properties: props})
	w.Await("src", "RUNNING", "RUNNING")
	w.Await("snk", "RUNNING", "RUNNING")
	require.Eventually(t, func() bool { return lines() == "one\ntwo\nthree\nfour\n" }, 20*time.Second, 10*time.Millisecond, "%s", lines())
	topics, err := w.ActiveTopics("src")
	require.NoError(t, err)
	require.Equal(t, []string{topic}, topics)
}
