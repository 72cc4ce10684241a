package mysql

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"sort"
	"strings"
	"testing"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/converters"
	"github.com/stretchr/testify/require"
)

// The files testdata/debezium-*.json hold what Debezium 3.6.1 on Kafka Connect wrote, with JsonConverter and schemas, for the workload
// of testdata/golden*.sql on MySQL 8.0.15. These tests run the same workload through this connector and compare every key, value, schema
// and header by content.

type golden struct {
	Schemas []any          `json:"schemas"`
	Records []goldenRecord `json:"records"`
}

type goldenRecord struct {
	Topic   string `json:"topic"`
	Headers []any  `json:"headers"`
	Key     []any  `json:"key"`
	Value   []any  `json:"value"`
}

// flat is a record in comparable form.
type flat struct{ Topic, Headers, KeySchema, Key, ValueSchema, Value string }

// deviation is a difference on purpose: the column of the table is left out of the comparison.
var deviations = map[string]string{
	"g.oth.e":   "a comma in an enum's value is not escaped in the stream",
	"g.oth.j":   "JSON text in the stream is MySQL's own, as in the snapshot",
	"g.def.v":   "a quoted quote in a default is read",
	"g.tim.ts3": "all digits of a fraction are written in the snapshot too",
	"g.tim.ts6": "all digits of a fraction are written in the snapshot too",
	"g.tim.dt3": "dates before 1582 are not shifted to the Julian calendar in the snapshot",
}

// volatile are columns whose values are new in each run; their schemas are compared.
var volatile = map[string]bool{"dtc": true, "dtcn": true, "tsc": true}

func isDeviation(topic, column string) bool {
	_, table, _ := strings.Cut(topic, ".")
	return deviations[table+"."+column] != ""
}

// clean drops what cannot be equal: times, positions, the database's name, and deviations.
func clean(topic string, v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	for _, k := range []string{"ts_ms", "ts_us", "ts_ns"} {
		delete(m, k)
	}
	if s, ok := m["source"].(map[string]any); ok {
		for _, k := range []string{"ts_ms", "ts_us", "ts_ns", "gtid", "file", "pos", "thread"} {
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
	for _, k := range []string{"before", "after"} {
		if row, ok := m[k].(map[string]any); ok {
			for c := range row {
				if isDeviation(topic, c) || volatile[c] {
					delete(row, c)
				}
			}
		}
	}
	return m
}

func cleanSchema(topic string, v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	c := map[string]any{}
	for k, x := range m {
		c[k] = x
	}
	// A width that the statement did not name is the server's default here and nothing there.
	if p, ok := c["parameters"].(map[string]any); ok {
		_, table, _ := strings.Cut(topic, ".")
		switch typ := p["__debezium.source.column.type"]; {
		case table == "g.evo" && typ == "BIGINT", (table == "g.late" || table == "g.later") && typ == "INT":
			delete(p, "__debezium.source.column.length")
		}
	}
	if fs, ok := c["fields"].([]any); ok {
		var out []any
		for _, f := range fs {
			fm := f.(map[string]any)
			if name, _ := fm["field"].(string); isDeviation(topic, name) {
				continue
			}
			out = append(out, cleanSchema(topic, f))
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

func text(t *testing.T, v any) string {
	t.Helper()
	if v == nil {
		return ""
	}
	b, err := json.MarshalIndent(v, "", " ")
	require.NoError(t, err)
	return gtidPattern.ReplaceAllString(string(b), "GTID")
}

var gtidPattern = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:\d+`)

func loadGolden(t *testing.T, file string) map[string][]flat {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.Unmarshal(b, &g))
	out := map[string][]flat{}
	for _, r := range g.Records {
		_, kind, _ := strings.Cut(r.Topic, ".")
		f := flat{Topic: kind}
		var hs []string
		for _, h := range r.Headers {
			switch h := h.(type) {
			case string:
				hs = append(hs, h)
			case map[string]any:
				var v any
				require.NoError(t, json.Unmarshal([]byte(h["v"].(string)), &v))
				j, err := json.Marshal(v)
				require.NoError(t, err)
				hs = append(hs, fmt.Sprintf("%s=%s", h["k"], j))
			}
		}
		f.Headers = strings.Join(hs, " ")
		if r.Key != nil {
			f.KeySchema, f.Key = text(t, g.Schemas[int(r.Key[0].(float64))]), text(t, r.Key[1])
		}
		if r.Value != nil {
			f.ValueSchema, f.Value = text(t, cleanSchema(r.Topic, g.Schemas[int(r.Value[0].(float64))])), text(t, clean(r.Topic, r.Value[1]))
		}
		out[kind] = append(out[kind], f)
	}
	return out
}

func jsonConverter(t *testing.T, key bool) *converters.JSONConverter {
	t.Helper()
	reg := plugins.NewRegistry()
	converters.Register(reg)
	spec, ok := reg.Converter("org.apache.kafka.connect.json.JsonConverter")
	require.True(t, ok)
	var v configdef.Values
	v, err := spec.Config.Parse(map[string]string{"schemas.enable": "true", "replace.null.with.default": "false"})
	require.NoError(t, err)
	c := converters.NewJSONConverter()
	require.NoError(t, c.Configure(context.Background(), plugins.ConverterEnv{}, v, key))
	return c
}

func render(t *testing.T, recs []plugins.SourceRecord) map[string][]flat {
	t.Helper()
	kc, vc := jsonConverter(t, true), jsonConverter(t, false)
	split := func(b []byte) (schema, payload any) {
		if b == nil {
			return nil, nil
		}
		var m map[string]any
		require.NoError(t, json.Unmarshal(b, &m), string(b))
		return m["schema"], m["payload"]
	}
	out := map[string][]flat{}
	for i := range recs {
		r := &recs[i]
		_, kind, _ := strings.Cut(r.Topic, ".")
		f := flat{Topic: kind}
		var hs []string
		for _, h := range r.Headers {
			if strings.HasPrefix(h.Key, "__debezium.context") {
				hs = append(hs, h.Key)
				continue
			}
			b, err := kc.FromData(context.Background(), nil, r.Topic, h.Schema, h.Value)
			require.NoError(t, err)
			_, p := split(b)
			j, err := json.Marshal(p)
			require.NoError(t, err)
			hs = append(hs, h.Key+"="+string(j))
		}
		f.Headers = strings.Join(hs, " ")
		if !r.Key.IsNull() {
			b, err := kc.FromData(context.Background(), nil, r.Topic, r.KeySchema, r.Key)
			require.NoError(t, err)
			s, p := split(b)
			f.KeySchema, f.Key = text(t, s), text(t, p)
		}
		if !r.Value.IsNull() {
			b, err := vc.FromData(context.Background(), nil, r.Topic, r.ValueSchema, r.Value)
			require.NoError(t, err, "%s", r.Value)
			s, p := split(b)
			f.ValueSchema, f.Value = text(t, cleanSchema(r.Topic, s)), text(t, short(clean(r.Topic, p)))
		}
		out[kind] = append(out[kind], f)
	}
	return out
}

// compare holds what we wrote against what Debezium wrote, topic by topic.
func compare(t *testing.T, want, got map[string][]flat, skip func(topic string) bool, partial bool) {
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
	for _, l := range strings.Split(want, "\n") {
		count[l]++
	}
	var more []string
	for _, l := range strings.Split(got, "\n") {
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

func total(m map[string][]flat) (n int) {
	for _, l := range m {
		n += len(l)
	}
	return n
}

func goldenDatabase(t *testing.T) *database {
	t.Helper()
	d := newDatabase(t, servers.TestMySQL(t))
	d.name = "g"
	t.Cleanup(func() { _, _ = d.conn.Execute("DROP DATABASE IF EXISTS g") })
	d.script("testdata/golden.sql")
	return d
}

// schemaChanges is the topic of schema changes, which is not written here.
func schemaChanges(topic string) bool { return topic == "" }

func TestSnapshotIsDebeziums(t *testing.T) {
	want := loadGolden(t, "testdata/debezium-snapshot.json")
	delete(want, "")
	d := goldenDatabase(t)
	d.script("testdata/golden_rows.sql")
	r := d.start(nil, "topic.prefix", "snap")
	r.count(total(want))
	r.streaming()
	compare(t, want, render(t, r.recs), nil, false)
	require.Nil(t, r.last.OffsetMap()["snapshot"])
}

func TestStreamIsDebeziums(t *testing.T) {
	for _, c := range []struct {
		file, prefix string
		kv           []string
	}{
		{"stream", "strm", []string{"skipped.operations", "none"}},
		{"variant1", "vara", []string{"decimal.handling.mode", "double", "time.precision.mode", "connect", "binary.handling.mode", "hex", "bigint.unsigned.handling.mode", "precise",
			"column.propagate.source.type", ".*", "column.exclude.list", "g.tim.tn"}},
		{"variant2", "varb", []string{"decimal.handling.mode", "string", "time.precision.mode", "isostring", "binary.handling.mode", "base64", "provide.transaction.metadata", "true",
			"include.query", "true", "column.exclude.list", "g.tim.tn"}},
		{"variant3", "var3", []string{"time.precision.mode", "microseconds", "field.name.adjustment.mode", "avro", "schema.name.adjustment.mode", "avro", "tombstones.on.delete", "false",
			"extended.headers.enabled", "false", "message.key.columns", "g.nopk:a"}},
	} {
		t.Run(c.file, func(t *testing.T) {
			if v := servers.TestMySQL(t).Version; c.file == "variant1" && !strings.HasPrefix(v, "8.0.1") {
				t.Skip("the widths of integers that column.propagate.source.type tells are gone since MySQL 8.0.19; this is " + v)
			}
			want := loadGolden(t, "testdata/debezium-"+c.file+".json")
			delete(want, "")
			d := goldenDatabase(t)
			r := d.start(nil, append([]string{"topic.prefix", c.prefix, "snapshot.mode", "no_data"}, c.kv...)...)
			r.streaming()
			d.script("testdata/golden_rows.sql")
			// Defaults come from the catalog as it is when a row arrives: tables that change are followed step by step.
			inserted := map[string]int{"evo": 1} // by golden_rows.sql
			d.each("testdata/golden_stream.sql", func(sql string) {
				for _, table := range []string{"evo", "late", "later"} {
					if !strings.HasPrefix(sql, "INSERT INTO g."+table+" ") {
						continue
					}
					inserted[table]++
					r.until(sql, func(recs []plugins.SourceRecord) bool {
						n := 0
						for _, rec := range recs {
							if strings.HasSuffix(rec.Topic, ".g."+table) {
								n++
							}
						}
						return n >= inserted[table]
					})
				}
			})
			r.until("the end", func(recs []plugins.SourceRecord) bool {
				for _, rec := range recs[max(0, len(recs)-2):] { // the end of its transaction may follow
					if rec.Topic == c.prefix+".g.tr" && rec.Key.Field("id").Int() == 100 {
						return recs[len(recs)-1].Topic != rec.Topic || c.file != "variant2"
					}
				}
				return false
			})
			compare(t, want, render(t, r.recs), schemaChanges, false)
		})
	}
}
