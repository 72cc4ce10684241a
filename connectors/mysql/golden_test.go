package mysql

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/connectors/cdc/cdctest"
	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/plugins"
)

// The files testdata/debezium-*.json hold what Debezium 3.6.1 on Kafka Connect wrote, with JsonConverter and schemas, for the workload
// of testdata/golden*.sql on MySQL 8.0.15. These tests run the same workload through this connector and compare every key, value, schema
// and header by content.

var golden = cdctest.Golden{
	Deviations: map[string]string{
		"g.oth.e":   "a comma in an enum's value is not escaped in the stream",
		"g.oth.j":   "JSON text in the stream is MySQL's own, as in the snapshot",
		"g.def.v":   "a quoted quote in a default is read",
		"g.tim.ts3": "all digits of a fraction are written in the snapshot too",
		"g.tim.ts6": "all digits of a fraction are written in the snapshot too",
		"g.tim.dt3": "dates before 1582 are not shifted to the Julian calendar in the snapshot",
	},

	Source:   []string{"gtid", "file", "pos", "thread"},
	Volatile: func(_, column, _ string) bool { return column == "dtc" || column == "dtcn" || column == "tsc" },
	// A width that the statement did not name is the server's default here and nothing there.
	Parameters: func(table string, p map[string]any) {
		switch typ := p["__debezium.source.column.type"]; {
		case table == "g.evo" && typ == "BIGINT", (table == "g.late" || table == "g.later") && typ == "INT":
			delete(p, "__debezium.source.column.length")
		}
	},
	Text: func(s string) string { return gtidPattern.ReplaceAllString(s, "GTID") },
}

var gtidPattern = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:\d+`)

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
	want := golden.Load(t, "testdata/debezium-snapshot.json")
	delete(want, "")
	d := goldenDatabase(t)
	d.script("testdata/golden_rows.sql")
	r := d.start(nil, "topic.prefix", "snap")
	r.Count(want.Total())
	r.Streaming()
	cdctest.Compare(t, want, golden.Render(t, r.Records), nil, false)
	require.Nil(t, r.Last.OffsetMap()["snapshot"])
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
			want := golden.Load(t, "testdata/debezium-"+c.file+".json")
			delete(want, "")
			d := goldenDatabase(t)
			r := d.start(nil, append([]string{"topic.prefix", c.prefix, "snapshot.mode", "no_data"}, c.kv...)...)
			r.Streaming()
			d.script("testdata/golden_rows.sql")
			// Defaults come from the catalog as it is when a row arrives: tables that change are followed step by step.
			inserted := map[string]int{"evo": 1} // by golden_rows.sql
			d.each("testdata/golden_stream.sql", func(sql string) {
				for _, table := range []string{"evo", "late", "later"} {
					if !strings.HasPrefix(sql, "INSERT INTO g."+table+" ") {
						continue
					}
					inserted[table]++
					r.Until(sql, func(recs []plugins.SourceRecord) bool {
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
			r.Until("the end", func(recs []plugins.SourceRecord) bool {
				for _, rec := range recs[max(0, len(recs)-2):] { // the end of its transaction may follow
					if rec.Topic == c.prefix+".g.tr" && rec.Key.Field("id").Int() == 100 {
						return recs[len(recs)-1].Topic != rec.Topic || c.file != "variant2"
					}
				}
				return false
			})
			cdctest.Compare(t, want, golden.Render(t, r.Records), schemaChanges, false)
		})
	}
}
