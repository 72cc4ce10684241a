package file

import (
	"bufio"
	"context"
	"fmt"
	"os"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

type sinkTask struct {
	out  *os.File
	w    *bufio.Writer
	next map[plugins.TopicPartition]int64
}

// Start implements plugins.SinkTask.
func (t *sinkTask) Start(_ context.Context, _ plugins.SinkEnv, cfg configdef.Values) error {
	t.next = map[plugins.TopicPartition]int64{}
	t.out = os.Stdout
	if name := cfg.Str("file"); name != "" {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("Couldn't find or create file '%s' for FileStreamSinkTask: %w", name, err) //nolint:staticcheck // Kafka's words
		}
		t.out = f
	}
	t.w = bufio.NewWriterSize(t.out, 64<<10)
	return nil
}

// Open implements plugins.SinkTask.
func (t *sinkTask) Open(context.Context, []plugins.TopicPartition) error { return nil }

// Close implements plugins.SinkTask.
func (t *sinkTask) Close(_ context.Context, removed []plugins.TopicPartition) error {
	for _, tp := range removed {
		delete(t.next, tp)
	}
	return nil
}

// Put implements plugins.SinkTask.
func (t *sinkTask) Put(_ context.Context, recs []plugins.SinkRecord) error {
	for i := range recs {
		r := &recs[i]
		if _, err := t.w.WriteString(r.Value.String()); err != nil {
			return fmt.Errorf("write %s: %w", t.out.Name(), err)
		}
		if err := t.w.WriteByte('\n'); err != nil {
			return fmt.Errorf("write %s: %w", t.out.Name(), err)
		}
	}
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", t.out.Name(), err)
	}
	for i := range recs {
		t.next[plugins.TopicPartition{Topic: recs[i].OriginalTopic, Partition: recs[i].Partition}] = recs[i].Offset + 1
	}
	return nil
}

// PreCommit implements plugins.SinkTask: offsets are safe once the file is on disk.
func (t *sinkTask) PreCommit(context.Context, bool) (map[plugins.TopicPartition]int64, error) {
	if t.out != os.Stdout {
		if err := t.out.Sync(); err != nil {
			return nil, fmt.Errorf("sync %s: %w", t.out.Name(), err)
		}
	}
	out := make(map[plugins.TopicPartition]int64, len(t.next))
	for tp, n := range t.next {
		out[tp] = n
	}
	return out, nil
}

// Stop implements plugins.SinkTask.
func (t *sinkTask) Stop() error {
	if t.out == nil || t.out == os.Stdout {
		return nil
	}
	return t.out.Close()
}
