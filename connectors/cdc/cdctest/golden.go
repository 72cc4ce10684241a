package cdctest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/converters"
	"github.com/moldau-io/moldau/plugins/plugintest"
)

// Golden compares what a connector writes with what Debezium on Kafka Connect wrote for the same workload: every key, value, schema and
// header, by content. Tables are named as behind the prefix of their topic.
type Golden struct {
	// Deviations are differences on purpose, by table.column, and why: the column is left out of the comparison, its schema too.
	Deviations map[string]string
	// Source names fields of the source block that cannot be equal.
	Source []string
	// Volatile reports columns of an event of operation op whose values cannot be equal; their schemas are compared.
	Volatile func(table, column, op string) bool
	// Parameters, when not nil, takes out of the parameters of a column's schema what cannot be equal.
	Parameters func(table string, p map[string]any)
	// Text, when not nil, takes out of a rendered key or value what cannot be equal.
	Text func(string) string
}

// Record is a record in comparable form, without what cannot be equal.
type Record struct{ Headers, KeySchema, Key, ValueSchema, Value string }

// Records are records by topic, without the prefix.
type Records map[string][]Record

// Total is the number of records.
func (m Records) Total() (n int) {
	for _, l := range m {
		n += len(l)
	}
	return n
}

// file is what a golden file holds: schemas by number, and records whose keys and values are pairs of a schema's number and content.
type file struct {
	Schemas []any `json:"schemas"`
	Records []struct {
		Topic   string `json:"topic"`
		Headers []any  `json:"headers"`
		Key     []any  `json:"key"`
		Value   []any  `json:"value"`
	} `json:"records"`
}

// Load reads a file of records that Debezium wrote with JsonConverter and schemas.
func (g *Golden) Load(t testing.TB, name string) Records {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	var in file
	require.NoError(t, json.Unmarshal(b, &in))
	out := Records{}
	for _, r := range in.Records {
		_, table, _ := strings.Cut(r.Topic, ".")
		var f Record
		var hs []string
		for _, h := range r.Headers {
			switch h := h.(type) {
			case string:
				hs = append(hs, h)
			case map[string]any:
				var v any
				require.NoError(t, json.Unmarshal([]byte(h["v"].(string)), &v))
				hs = append(hs, fmt.Sprintf("%s=%s", h["k"], compact(t, v)))
			}
		}
		f.Headers = strings.Join(hs, " ")
		if r.Key != nil {
			f.KeySchema, f.Key = g.text(t, in.Schemas[int(r.Key[0].(float64))]), g.text(t, r.Key[1])
		}
		if r.Value != nil {
			f.ValueSchema, f.Value = g.text(t, g.cleanSchema(table, in.Schemas[int(r.Value[0].(float64))])), g.text(t, g.clean(table, r.Value[1]))
		}
		out[table] = append(out[table], f)
	}
	return out
}

// Render writes records with JsonConverter and schemas, as Debezium's were.
func (g *Golden) Render(t testing.TB, recs []plugins.SourceRecord) Records {
	t.Helper()
	conv := plugintest.Converter(t, converters.Register, "org.apache.kafka.connect.json.JsonConverter", map[string]string{"schemas.enable": "true", "replace.null.with.default": "false"})
	split := func(b []byte) (schema, payload any) {
		if b == nil {
			return nil, nil
		}
		var m map[string]any
		require.NoError(t, json.Unmarshal(b, &m), string(b))
		return m["schema"], m["payload"]
	}
	out := Records{}
	for i := range recs {
		r := &recs[i]
		_, table, _ := strings.Cut(r.Topic, ".")
		var f Record
		var hs []string
		for _, h := range r.Headers {
			if strings.HasPrefix(h.Key, "__debezium.context") {
				hs = append(hs, h.Key)
				continue
			}
			b, err := conv.FromData(context.Background(), nil, r.Topic, h.Schema, h.Value)
			require.NoError(t, err)
			_, p := split(b)
			hs = append(hs, h.Key+"="+compact(t, p))
		}
		f.Headers = strings.Join(hs, " ")
		if !r.Key.IsNull() {
			b, err := conv.FromData(context.Background(), nil, r.Topic, r.KeySchema, r.Key)
			require.NoError(t, err)
			s, p := split(b)
			f.KeySchema, f.Key = g.text(t, s), g.text(t, p)
		}
		if !r.Value.IsNull() {
			b, err := conv.FromData(context.Background(), nil, r.Topic, r.ValueSchema, r.Value)
			require.NoError(t, err, "%s", r.Value)
			s, p := split(b)
			f.ValueSchema, f.Value = g.text(t, g.cleanSchema(table, s)), g.text(t, short(g.clean(table, p)))
		}
		out[table] = append(out[table], f)
	}
	return out
}

// clean drops from an event what cannot be equal: times, positions, deviations.
func (g *Golden) clean(table string, v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	times := []string{"ts_ms", "ts_us", "ts_ns"}
	for _, k := range times {
		delete(m, k)
	}
	if s, ok := m["source"].(map[string]any); ok {
		for _, k := range append(times, g.Source...) {
			delete(s, k)
		}
		if s["snapshot"] == nil {
			s["snapshot"] = "false" // the schema's default
		}
	}
	if list, ok := m["data_collections"].([]any); ok { // in no order
		sort.Slice(list, func(i, j int) bool {
			return fmt.Sprint(list[i].(map[string]any)["data_collection"]) < fmt.Sprint(list[j].(map[string]any)["data_collection"])
		})
	}
	if tx, ok := m["transaction"].(map[string]any); ok {
		delete(tx, "id")
	}
	op, _ := m["op"].(string)
	for _, k := range []string{"before", "after"} {
		if row, ok := m[k].(map[string]any); ok {
			for c := range row {
				if g.Deviations[table+"."+c] != "" || g.Volatile(table, c, op) {
					delete(row, c)
				}
			}
		}
	}
	return m
}

func (g *Golden) cleanSchema(table string, v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	c := map[string]any{}
	for k, x := range m {
		c[k] = x
	}
	if p, ok := c["parameters"].(map[string]any); ok && g.Parameters != nil {
		g.Parameters(table, p)
	}
	if fs, ok := c["fields"].([]any); ok {
		var out []any
		for _, f := range fs {
			fm := f.(map[string]any)
			if name, _ := fm["field"].(string); g.Deviations[table+"."+name] != "" {
				continue
			}
			out = append(out, g.cleanSchema(table, f))
		}
		c["fields"] = out
		if name, _ := c["name"].(string); strings.HasSuffix(name, ".Value") { // a column a line
			for i, f := range out {
				b, _ := json.Marshal(f)
				out[i] = string(b)
			}
		}
	}
	return c
}

// short cuts long values as the golden files do.
func short(v any) any {
	switch x := v.(type) {
	case string:
		if n := len([]rune(x)); n > 300 {
			return map[string]any{"$len": n, "$head": x[:40]}
		}
	case []any:
		if len(x) > 300 {
			return map[string]any{"$n": len(x), "$first": x[:3]}
		}
		for i := range x {
			x[i] = short(x[i])
		}
	case map[string]any:
		for k := range x {
			x[k] = short(x[k])
		}
	}
	return v
}

func compact(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

func (g *Golden) text(t testing.TB, v any) string {
	t.Helper()
	if v == nil {
		return ""
	}
	b, err := json.MarshalIndent(v, "", " ")
	require.NoError(t, err)
	if g.Text != nil {
		return g.Text(string(b))
	}
	return string(b)
}

// Compare holds what we wrote against what Debezium wrote, topic by topic but for those that skip names. partial: Debezium stopped early, more
// than it wrote is fine.
func Compare(t *testing.T, want, got Records, skip func(table string) bool, partial bool) {
	t.Helper()
	var topics []string
	for k := range want {
		topics = append(topics, k)
	}
	for k := range got {
		if want[k] == nil {
			topics = append(topics, k)
		}
	}
	sort.Strings(topics)
	for _, k := range topics {
		if skip != nil && skip(k) {
			continue
		}
		t.Run(k, func(t *testing.T) {
			if partial && len(got[k]) > len(want[k]) {
				got[k] = got[k][:len(want[k])]
			}
			require.Len(t, got[k], len(want[k]))
			for i := range want[k] {
				w, g := want[k][i], got[k][i]
				same(t, w.Value, g.Value, "value of record %d", i)
				same(t, w.ValueSchema, g.ValueSchema, "value schema of record %d", i)
				same(t, w.Key, g.Key, "key of record %d", i)
				same(t, w.KeySchema, g.KeySchema, "key schema of record %d", i)
				same(t, w.Headers, g.Headers, "headers of record %d", i)
			}
		})
	}
}

// same compares long texts and shows only the lines that differ.
func same(t *testing.T, want, got, what string, args ...any) {
	t.Helper()
	if want == got {
		return
	}
	count := map[string]int{}
	for l := range strings.SplitSeq(want, "\n") {
		count[l]++
	}
	var more []string
	for l := range strings.SplitSeq(got, "\n") {
		if count[l]--; count[l] < 0 {
			more = append(more, l)
			count[l] = 0
		}
	}
	var less []string
	for l, n := range count {
		if n > 0 {
			less = append(less, l)
		}
	}
	t.Errorf("%s\nmissing:\n%s\nnot expected:\n%s", fmt.Sprintf(what, args...), strings.Join(less, "\n"), strings.Join(more, "\n"))
}
