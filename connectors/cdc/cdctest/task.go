// Package cdctest tests change-data-capture connectors on real databases: it runs their tasks, compares what they write with what Debezium
// wrote, and kills them under load while a judge looks at every change.
package cdctest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// patience bounds how long a test waits for records, or for a failure.
const patience = 40 * time.Second

// Task is a started task with everything that it delivered.
type Task struct {
	// Records are all that have a topic.
	Records []plugins.SourceRecord
	// Last is the last position, or nil.
	Last plugins.Offset

	t         testing.TB
	task      plugins.SourceTask
	connected func() bool
}

// offsets is a store of one position.
type offsets map[string]any

func (o offsets) Offset(context.Context, map[string]any) (map[string]any, error) { return o, nil }

// Start starts task with the configuration raw at a stored position, nil for none, until the test ends. connected tells whether its stream
// runs.
func Start(t testing.TB, task plugins.SourceTask, def *configdef.Def, raw map[string]string, stored map[string]any, connected func() bool) *Task {
	t.Helper()
	v, err := def.Parse(raw)
	require.NoError(t, err)
	require.NoError(t, task.Start(context.Background(), plugins.Env{ConnectorName: "c", Offsets: offsets(stored)}, v))
	t.Cleanup(func() { _ = task.Stop() })
	return &Task{t: t, task: task, connected: connected}
}

// Poll polls once and keeps nothing.
func (r *Task) Poll() []plugins.SourceRecord {
	r.t.Helper()
	recs, err := r.task.Poll(context.Background())
	require.NoError(r.t, err)
	return recs
}

// Add keeps records.
func (r *Task) Add(recs []plugins.SourceRecord) {
	for _, rec := range recs {
		if rec.SourceOffset != nil {
			r.Last = rec.SourceOffset
		}
		if rec.Topic != "" {
			r.Records = append(r.Records, rec)
		}
	}
}

// Until polls until ok says that enough records came.
func (r *Task) Until(what string, ok func([]plugins.SourceRecord) bool) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok(r.Records) {
		require.True(r.t, time.Now().Before(deadline), "%s: %d records so far", what, len(r.Records))
		r.Add(r.Poll())
	}
}

// Count polls until n records came.
func (r *Task) Count(n int) []plugins.SourceRecord {
	r.t.Helper()
	r.Until(fmt.Sprintf("%d records", n), func(recs []plugins.SourceRecord) bool { return len(recs) >= n })
	return r.Records
}

// Streaming waits until the stream runs.
func (r *Task) Streaming() {
	r.t.Helper()
	r.Until("streaming", func([]plugins.SourceRecord) bool { return r.connected() })
}

// Drain polls until n records came and keeps none.
func (r *Task) Drain(n int) {
	r.t.Helper()
	for n > 0 {
		for _, rec := range r.Poll() {
			if rec.Topic != "" {
				n--
			}
		}
	}
}

// Failure polls until the task fails.
func (r *Task) Failure() (err error) {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		_, err = r.task.Poll(context.Background())
		return err != nil
	}, patience, time.Millisecond, "the task did not fail")
	return err
}

// Commit tells the task that the last position is durable.
func (r *Task) Commit() {
	r.t.Helper()
	if r.Last != nil {
		require.NoError(r.t, r.task.Commit(context.Background(), nil, r.Last))
	}
}

// Stop stops the task and returns the last position as it would be stored.
func (r *Task) Stop() map[string]any {
	r.t.Helper()
	require.NoError(r.t, r.task.Stop())
	if r.Last == nil {
		return nil
	}
	return r.Last.OffsetMap()
}
