package datagen

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
)

type offsets map[string]any

func (o offsets) Offset(context.Context, map[string]any) (map[string]any, error) { return o, nil }

func start(t testing.TB, stored map[string]any, more ...string) *task {
	t.Helper()
	raw := map[string]string{"kafka.topic": "t", "max.interval": "0"}
	for i := 0; i+1 < len(more); i += 2 {
		raw[more[i]] = more[i+1]
	}
	v, err := config().Parse(raw)
	require.NoError(t, err)
	x := &task{}
	require.NoError(t, x.Start(t.Context(), plugins.Env{TaskID: 1, Offsets: offsets(stored)}, v))
	return x
}

func collect(t testing.TB, x *task, n int) (out []plugins.SourceRecord) {
	t.Helper()
	for len(out) < n {
		recs, err := x.Poll(t.Context())
		require.NoError(t, err)
		out = append(out, recs...)
	}
	return out
}

func TestRowsRepeatFromAnyPoint(t *testing.T) {
	for _, k := range kinds {
		all := collect(t, start(t, nil, "quickstart", k.name, "iterations", "2500"), 2500)
		require.Len(t, all, 2500)
		tail := collect(t, start(t, map[string]any{"current.iteration": int64(2000)}, "quickstart", k.name, "iterations", "2500"), 500)
		require.Len(t, tail, 500)
		for i := range tail {
			require.True(t, all[2000+i].Value.Equal(tail[i].Value), "row %d of %s", i, k.name)
			require.True(t, all[2000+i].Key.Equal(tail[i].Key))
		}
		last := all[len(all)-1]
		require.Equal(t, map[string]any{"task.id": int64(1)}, last.SourcePartition)
		require.Equal(t, map[string]any{"current.iteration": int64(2500)}, last.SourceOffset.OffsetMap())
		st := last.Value.Struct()
		require.Len(t, st.Values, len(st.Schema.Fields()))
		for i, f := range st.Schema.Fields() {
			require.Equal(t, f.Schema.Type(), st.Values[i].Type(), "%s.%s", k.name, f.Name)
		}
	}
}

func TestTheRateIsKept(t *testing.T) {
	x := start(t, nil, "rows.per.second", "2000")
	begin := time.Now()
	collect(t, x, 400)
	took := time.Since(begin)
	require.Greater(t, took, 150*time.Millisecond)
	require.Less(t, took, 5*time.Second)
}

func TestUnsupportedKeysAreRefused(t *testing.T) {
	_, err := config().Parse(map[string]string{"kafka.topic": "t", "schema.string": "{}"})
	require.ErrorContains(t, err, "not supported by moldau: the schemas are those of the quickstarts")
}

func BenchmarkOrders(b *testing.B) {
	x := start(b, nil)
	b.ReportAllocs()
	for n := 0; n < b.N; {
		recs, err := x.Poll(b.Context())
		require.NoError(b, err)
		n += len(recs)
	}
}
