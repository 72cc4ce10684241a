package s3

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/stretchr/testify/require"
)

// offline is a task whose uploads are reported by the test.
func offline(t *testing.T, rewind func(int64), report func(*plugins.SinkRecord, error, func(error))) *task {
	t.Helper()
	cfg, err := definition().Parse(map[string]string{"s3.bucket.name": "b", "store.url": "http://127.0.0.1:1", "aws.access.key.id": "a", "aws.secret.access.key": "s",
		"format.class": "json", "flush.size": "100000", "behavior.on.null.values": "ignore"})
	require.NoError(t, err)
	k := &task{}
	env := plugins.SinkEnv{Env: plugins.Env{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}, Report: report, RequestCommit: func() {},
		Pause: func(...plugins.TopicPartition) {}, Resume: func(...plugins.TopicPartition) {}, Rewind: func(_ plugins.TopicPartition, o int64) { rewind(o) }}
	require.NoError(t, k.Start(t.Context(), env, cfg))
	require.NoError(t, k.Open(t.Context(), []plugins.TopicPartition{tp}))
	t.Cleanup(func() { require.NoError(t, k.Stop()) })
	return k
}

func TestRecordsAtHandWhenAConflictIsFoundDoNotJumpOverTheRewind(t *testing.T) {
	at := int64(-1)
	k := offline(t, func(o int64) { at = o }, nil)
	require.NoError(t, k.Put(t.Context(), records(0, 10, 1)))
	p := k.parts[tp]
	c := &closing{start: 0, end: 10, waiting: 1}
	p.closings = append(p.closings, c)
	k.uploading++
	k.finished <- finish{p: p, epoch: p.epoch, c: c, o: &object{key: "k"}, err: &errConflict{end: 5}}
	require.NoError(t, k.Put(t.Context(), records(10, 20, 1)))
	require.EqualValues(t, 0, at)
	require.False(t, p.started, "records beyond the rewind were taken")
	require.NoError(t, k.Put(t.Context(), records(0, 4, 1)))
	require.EqualValues(t, 0, p.first)
	require.EqualValues(t, 4, p.next)
}

func TestManyReportsInOneCallBlockNobody(t *testing.T) {
	k := offline(t, func(int64) {}, func(_ *plugins.SinkRecord, _ error, done func(error)) { done(nil) })
	var rs []plugins.SinkRecord
	for o := range int64(3000) {
		rs = append(rs, plugins.SinkRecord{Topic: "t", OriginalTopic: "t", Offset: o, Value: data.Null})
	}
	put := make(chan error, 1)
	go func() { put <- k.Put(context.Background(), rs) }()
	select {
	case err := <-put:
		require.NoError(t, err)
	case <-time.After(5 * time.Second):
		require.NoError(t, errors.New("put blocks"))
	}
	for {
		safe, err := k.PreCommit(t.Context(), true)
		require.NoError(t, err)
		if safe[tp] == 3000 {
			return
		}
	}
}
