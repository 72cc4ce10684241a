package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

const (
	readSize = 64 << 10
	// maxLine bounds the memory that a file without line ends can take.
	maxLine = 64 << 20
	idle    = 100 * time.Millisecond
	absent  = time.Second
)

// position is the offset in the file after a line.
type position int64

// OffsetMap implements plugins.Offset.
func (p position) OffsetMap() map[string]any { return map[string]any{"position": int64(p)} }

type sourceTask struct {
	log       *slog.Logger
	name      string
	topic     string
	batch     int
	partition map[string]any
	in        io.ReadCloser
	pos       int64  // in the file, of buf's first byte
	buf       []byte // read and not yet handed over
	scanned   int    // bytes of buf known to hold no line end
	warned    bool
}

// Start implements plugins.SourceTask.
func (t *sourceTask) Start(ctx context.Context, env plugins.Env, cfg configdef.Values) error {
	t.log, t.name, t.topic, t.batch = env.Logger, cfg.Str("file"), cfg.Str("topic"), int(cfg.Int("batch.size"))
	if t.name == "" {
		t.in = os.Stdin
		return nil
	}
	t.partition = map[string]any{"filename": t.name}
	stored, err := env.Offsets.Offset(ctx, t.partition)
	if err != nil {
		return fmt.Errorf("read the stored position of %s: %w", t.name, err)
	}
	if v, ok := stored["position"]; ok {
		n, ok := v.(int64)
		if !ok || n < 0 {
			return fmt.Errorf("the stored position of %s is %v, which is not an offset in a file; alter or reset the connector's offsets", t.name, v)
		}
		t.pos = n
	}
	return nil
}

func (t *sourceTask) open(ctx context.Context) error {
	f, err := os.Open(t.name)
	if errors.Is(err, os.ErrNotExist) {
		if !t.warned {
			t.log.Warn("file to read does not exist yet", "file", t.name)
			t.warned = true
		}
		wait(ctx, absent)
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", t.name, err)
	}
	if _, err := f.Seek(t.pos, io.SeekStart); err != nil {
		_ = f.Close()
		return fmt.Errorf("seek to %d in %s: %w", t.pos, t.name, err)
	}
	t.in = f
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Poll implements plugins.SourceTask.
func (t *sourceTask) Poll(ctx context.Context) ([]plugins.SourceRecord, error) {
	if t.in == nil {
		if err := t.open(ctx); err != nil || t.in == nil {
			return nil, err
		}
	}
	for ctx.Err() == nil {
		if recs := t.lines(); len(recs) > 0 {
			return recs, nil
		}
		if len(t.buf) > maxLine {
			return nil, fmt.Errorf("%s has a line of more than %d bytes at offset %d", t.name, maxLine, t.pos)
		}
		n, err := t.fill()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read %s: %w", t.name, err)
		}
		if n == 0 {
			wait(ctx, idle)
			return nil, nil
		}
	}
	return nil, nil
}

// fill reads more. The bytes already handed over are referred to by records and stay as they are: a fresh buffer takes the rest.
func (t *sourceTask) fill() (int, error) {
	if cap(t.buf)-len(t.buf) < readSize/2 {
		next := make([]byte, len(t.buf), max(2*len(t.buf), readSize)+readSize)
		copy(next, t.buf)
		t.buf = next
	}
	n, err := t.in.Read(t.buf[len(t.buf):cap(t.buf)])
	t.buf = t.buf[:len(t.buf)+n]
	return n, err
}

// lines takes complete lines from the buffer. A line ends with \n, \r\n or a \r that something else follows.
func (t *sourceTask) lines() []plugins.SourceRecord {
	var recs []plugins.SourceRecord
	now := time.Now().UnixMilli()
	for len(recs) < t.batch {
		end, next := lineEnd(t.buf, t.scanned)
		if end < 0 {
			t.scanned = max(0, next)
			break
		}
		line := t.buf[:end:end]
		t.buf, t.pos, t.scanned = t.buf[next:], t.pos+int64(next), 0
		if recs == nil {
			recs = make([]plugins.SourceRecord, 0, min(t.batch, 1+bytes.Count(t.buf, []byte{'\n'})))
		}
		recs = append(recs, plugins.SourceRecord{
			SourcePartition: t.partition, SourceOffset: position(t.pos), Topic: t.topic, Partition: plugins.NoPartition,
			ValueSchema: data.StringSchema, Value: data.StringBytes(line), Timestamp: now,
		})
	}
	return recs
}

// lineEnd finds the first line's end from scanned on, and where the next line begins. Without one, end is -1 and next says how far
// there is none.
func lineEnd(b []byte, scanned int) (end, next int) {
	i := bytes.IndexAny(b[scanned:], "\r\n")
	if i < 0 {
		return -1, len(b)
	}
	i += scanned
	switch {
	case b[i] == '\n':
		return i, i + 1
	case i+1 == len(b):
		return -1, i
	case b[i+1] == '\n':
		return i, i + 2
	}
	return i, i + 1
}

// Commit implements plugins.SourceTask. A file needs no confirmation.
func (t *sourceTask) Commit(context.Context, map[string]any, plugins.Offset) error { return nil }

// Stop implements plugins.SourceTask.
func (t *sourceTask) Stop() error {
	if t.in == nil || t.in == os.Stdin {
		return nil
	}
	return t.in.Close()
}
