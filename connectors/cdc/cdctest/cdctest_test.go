package cdctest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

// failures is a testing.TB that counts failures and goes on.
type failures struct {
	testing.TB
	n int
}

func (f *failures) Helper()               {}
func (f *failures) Errorf(string, ...any) { f.n++ }
func (f *failures) FailNow()              {}

var (
	rowSchema = data.NewStruct().Field("id", data.Int64Schema).Field("v", data.OptionalInt64Schema).Build()
	events    = cdc.EnvelopeSchema("e", data.From(rowSchema).Optional().Build(), cdc.SourceSchema("src").Build())
)

// event is an event of key 1.
func event(op, snapshot string, v int64) plugins.SourceRecord {
	key := data.NewStruct().Field("id", data.Int64Schema).Build()
	row := data.StructOf(&data.Struct{Schema: events.Fields()[0].Schema, Values: []data.Value{data.Int64(1), data.Int64(v)}})
	e := data.NewStructValue(events)
	e.Values[1] = row
	if op == "d" {
		e.Values[0], e.Values[1] = row, data.Null
	}
	src := data.NewStructValue(events.Fields()[2].Schema)
	src.Values[cdc.SourceVersion], src.Values[cdc.SourceConnector], src.Values[cdc.SourceName] = data.String("1"), data.String("c"), data.String("p")
	src.Values[cdc.SourceTsMs], src.Values[cdc.SourceDB], src.Values[cdc.SourceSnapshot] = data.Int64(5), data.String("d"), data.String(snapshot)
	e.Values[2], e.Values[4] = data.StructOf(src), data.String(op)
	return plugins.SourceRecord{Topic: "p.s.t", KeySchema: key, Key: data.StructOf(&data.Struct{Schema: key, Values: []data.Value{data.Int64(1)}}),
		ValueSchema: events, Value: data.StructOf(e), SourceOffset: place{}}
}

type place struct{}

func (place) OffsetMap() map[string]any { return nil }

func TestTheJudgeFindsWhatIsMissingAndWhatCameTwice(t *testing.T) {
	c := func(v int64) plugins.SourceRecord { return event("c", "false", v) }
	u := func(v int64) plugins.SourceRecord { return event("u", "false", v) }
	for _, h := range []struct {
		what    string
		history []plugins.SourceRecord
		wrong   int
	}{
		{"whole", []plugins.SourceRecord{c(1), u(2), event("d", "false", 0), c(4)}, 0},
		{"from a snapshot on", []plugins.SourceRecord{event("r", "first", 7), u(8)}, 0},
		{"a snapshot that began again", []plugins.SourceRecord{event("r", "first", 7), event("r", "first", 7), u(8)}, 0},
		{"missing", []plugins.SourceRecord{c(1), u(3)}, 1},
		{"twice", []plugins.SourceRecord{c(1), u(2), u(2)}, 1},
		{"a delete twice", []plugins.SourceRecord{c(1), event("d", "false", 0), event("d", "false", 0), c(3)}, 1},
		{"begun in the middle", []plugins.SourceRecord{u(1)}, 1},
	} {
		f := &failures{TB: t}
		j := NewJudge(f)
		for _, r := range h.history {
			j.See(r)
		}
		require.Equal(t, h.wrong, f.n, h.what)
	}
	j := NewJudge(t)
	writers := []*Writer{{v: map[int]int{1: 2, 2: 0}}}
	require.False(t, j.Complete(writers))
	j.See(c(1))
	require.False(t, j.Complete(writers))
	j.See(u(2))
	require.True(t, j.Complete(writers))
}

func TestRenderedRecordsEqualGoldenOnesButForWhatIsLeftOut(t *testing.T) {
	rec := event("c", "false", 9)
	rec.Headers = []data.Header{{Key: "__debezium.context.taskId", Schema: data.StringSchema, Value: data.String("0")},
		{Key: "__debezium.newkey", Schema: rec.KeySchema, Value: rec.Key}}
	g := &Golden{Volatile: func(table, column, op string) bool { return table+column+op == "s.tvc" }}
	got := g.Render(t, []plugins.SourceRecord{rec})
	require.Equal(t, 1, got.Total())
	one := got["s.t"][0]
	require.Equal(t, `__debezium.context.taskId __debezium.newkey={"id":1}`, one.Headers)
	require.NotContains(t, one.Value, "ts_ms")
	require.NotContains(t, one.Value, `"v"`)
	require.Contains(t, one.ValueSchema, `"v"`)

	// The same record as Debezium would have written it at another time.
	var schema, value, keySchema any
	require.NoError(t, json.Unmarshal([]byte(one.ValueSchema), &schema))
	require.NoError(t, json.Unmarshal([]byte(one.Value), &value))
	require.NoError(t, json.Unmarshal([]byte(one.KeySchema), &keySchema))
	value.(map[string]any)["ts_ms"] = 77
	value.(map[string]any)["after"].(map[string]any)["v"] = 1234
	b, err := json.Marshal(map[string]any{"schemas": []any{keySchema, schema}, "records": []any{map[string]any{"topic": "q.s.t", "key": []any{0, map[string]any{"id": 1}},
		"value": []any{1, value}, "headers": []any{"__debezium.context.taskId", map[string]any{"k": "__debezium.newkey", "v": `{"id": 1}`}}}}})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "golden.json")
	require.NoError(t, os.WriteFile(file, b, 0o600))
	Compare(t, g.Load(t, file), got, nil, false)
}
