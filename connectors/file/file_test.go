package file

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

type offsets map[string]any

func (o offsets) Offset(context.Context, map[string]any) (map[string]any, error) { return o, nil }

func parse(t testing.TB, def *configdef.Def, raw map[string]string) configdef.Values {
	t.Helper()
	v, err := def.Parse(raw)
	require.NoError(t, err)
	return v
}

func startSource(t testing.TB, name string, stored map[string]any, batch string) *sourceTask {
	t.Helper()
	task := &sourceTask{}
	cfg := parse(t, sourceConfig(), map[string]string{"file": name, "topic": "t", "batch.size": batch})
	require.NoError(t, task.Start(t.Context(), plugins.Env{Logger: slog.New(slog.DiscardHandler), Offsets: offsets(stored)}, cfg))
	t.Cleanup(func() { _ = task.Stop() })
	return task
}

func lines(recs []plugins.SourceRecord) (out []string) {
	for _, r := range recs {
		out = append(out, r.Value.Str())
	}
	return out
}

func TestLinesEndAsInKafka(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(name, []byte("unix\ndos\r\nmac\rempty\n\nlast, without an end"), 0o600))
	task := startSource(t, name, nil, "100")
	recs, err := task.Poll(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"unix", "dos", "mac", "empty", ""}, lines(recs))
	require.Equal(t, map[string]any{"filename": name}, recs[0].SourcePartition)
	var at []any
	for _, r := range recs {
		at = append(at, r.SourceOffset.OffsetMap()["position"])
	}
	require.Equal(t, []any{int64(5), int64(10), int64(14), int64(20), int64(21)}, at)
	require.Same(t, data.StringSchema, recs[0].ValueSchema)
	require.Nil(t, recs[0].KeySchema)
	recs, err = task.Poll(t.Context())
	require.NoError(t, err)
	require.Empty(t, recs)
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(" - now with one\n")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	recs, err = task.Poll(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"last, without an end - now with one"}, lines(recs))
}

func TestReadingGoesOnAtTheStoredPosition(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(name, []byte("a\nb\nc\n"), 0o600))
	task := startSource(t, name, map[string]any{"position": int64(4)}, "100")
	recs, err := task.Poll(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"c"}, lines(recs))
	bad := &sourceTask{}
	err = bad.Start(t.Context(), plugins.Env{Offsets: offsets{"position": "x"}}, parse(t, sourceConfig(), map[string]string{"file": name, "topic": "t"}))
	require.ErrorContains(t, err, "which is not an offset in a file")
}

func TestALargeFileComesInBatchesAndComplete(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	var want []string
	for i := range 3000 {
		want = append(want, strings.Repeat("x", i%700))
	}
	require.NoError(t, os.WriteFile(name, []byte(strings.Join(want, "\n")+"\n"), 0o600))
	task := startSource(t, name, nil, "17")
	var have []string
	for len(have) < len(want) {
		recs, err := task.Poll(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, len(recs), 17)
		have = append(have, lines(recs)...)
	}
	require.Equal(t, want, have)
}

func TestAFileThatDoesNotExistIsWaitedFor(t *testing.T) {
	name := filepath.Join(t.TempDir(), "later")
	task := startSource(t, name, nil, "10")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	recs, err := task.Poll(ctx)
	require.NoError(t, err)
	require.Empty(t, recs)
	require.NoError(t, os.WriteFile(name, []byte("x\n"), 0o600))
	recs, err = task.Poll(t.Context())
	require.NoError(t, err)
	require.Len(t, recs, 1)
}

func TestTheSinkAppendsAndTellsWhatIsOnDisk(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	require.NoError(t, os.WriteFile(name, []byte("before\n"), 0o600))
	task := &sinkTask{}
	require.NoError(t, task.Start(t.Context(), plugins.SinkEnv{}, parse(t, sinkConfig(), map[string]string{"file": name})))
	tp := plugins.TopicPartition{Topic: "t", Partition: 1}
	require.NoError(t, task.Put(t.Context(), []plugins.SinkRecord{
		{OriginalTopic: "t", Partition: 1, Offset: 7, Value: data.String("a")},
		{OriginalTopic: "t", Partition: 1, Offset: 8, Value: data.Int64(5)},
		{OriginalTopic: "t", Partition: 1, Offset: 9},
	}))
	next, err := task.PreCommit(t.Context(), false)
	require.NoError(t, err)
	require.Equal(t, map[plugins.TopicPartition]int64{tp: 10}, next)
	require.NoError(t, task.Close(t.Context(), []plugins.TopicPartition{tp}))
	next, err = task.PreCommit(t.Context(), true)
	require.NoError(t, err)
	require.Empty(t, next)
	require.NoError(t, task.Stop())
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, "before\na\n5\nnull\n", string(b))
	require.ErrorContains(t, (&sinkTask{}).Start(t.Context(), plugins.SinkEnv{}, parse(t, sinkConfig(), map[string]string{"file": "/dev/null/x"})), "Couldn't find or create file '/dev/null/x' for FileStreamSinkTask")
}

func FuzzLineEnd(f *testing.F) {
	for _, s := range []string{"", "\n", "\r", "\r\n", "a\rb", "a\r\n\rb\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		for rest := b; ; {
			end, next := lineEnd(rest, 0)
			if end < 0 {
				require.LessOrEqual(t, next, len(rest))
				require.NotContains(t, string(rest[:next]), "\n")
				break
			}
			require.Less(t, end, next)
			require.NotContains(t, string(rest[:end]), "\n")
			rest, total = rest[next:], total+next
		}
		require.LessOrEqual(t, total, len(b))
	})
}

func TestTheSinkDoesNotCallSafeWhatItCouldNotWrite(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full")
	}
	task := &sinkTask{}
	require.NoError(t, task.Start(t.Context(), plugins.SinkEnv{}, parse(t, sinkConfig(), map[string]string{"file": "/dev/full"})))
	require.ErrorContains(t, task.Put(t.Context(), []plugins.SinkRecord{{OriginalTopic: "t", Offset: 7, Value: data.String("a")}}), "no space left")
	next, err := task.PreCommit(t.Context(), false)
	if err == nil { // this device cannot be synced
		require.Empty(t, next)
	}
	require.NoError(t, task.Stop())
}
