package s3

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/stretchr/testify/require"
)

var allTypes = func() *data.Schema {
	inner := data.NewStruct().Name("test.Inner").Field("a", data.OptionalInt32Schema).Field("b", data.NewArray(data.OptionalStringSchema).Optional().Build()).Optional().Build()
	return data.NewStruct().Name("test.All").
		Field("z_first", data.Int64Schema).
		Field("i8", data.Int8Schema).
		Field("i32", data.OptionalInt32Schema).
		Field("f32", data.Float32Schema).
		Field("f64", data.OptionalFloat64Schema).
		Field("ok", data.BooleanSchema).
		Field("text", data.OptionalStringSchema).
		Field("raw", data.BytesSchema).
		Field("amount", data.New(data.TypeBytes).Name(data.LogicalDecimal).Version(1).Param("scale", "2").Param("connect.decimal.precision", "12").Optional().Build()).
		Field("day", data.New(data.TypeInt32).Name(data.LogicalDate).Version(1).Build()).
		Field("at", data.New(data.TypeInt64).Name(data.LogicalTimestamp).Version(1).Build()).
		Field("inner", inner).
		Field("tags", data.NewArray(data.StringSchema).Build()).
		Field("counts", data.NewMap(data.StringSchema, data.OptionalInt64Schema).Optional().Build()).
		Build()
}()

func sample(i int) plugins.SinkRecord {
	null := func(every int, v data.Value) data.Value {
		if i%every == 0 {
			return data.Null
		}
		return v
	}
	st := data.NewStructValue(allTypes)
	var innerSchema *data.Schema
	if f, ok := allTypes.Field("inner"); ok {
		innerSchema = f.Schema
	}
	in := data.NewStructValue(innerSchema)
	in.Set("a", null(4, data.Int32(int32(i))))
	in.Set("b", null(6, data.Array([]data.Value{data.String("x"), data.Null, data.String(fmt.Sprint(i))}[:i%4])))
	unscaled := big.NewInt(int64(i)*7 + 1)
	var tags []data.Value
	for k := range i % 3 {
		tags = append(tags, data.String(fmt.Sprint("t", k)))
	}
	var counts []data.MapEntry
	for k := range i % 3 {
		counts = append(counts, data.MapEntry{Key: data.String(fmt.Sprint("k", k)), Value: null(5, data.Int64(int64(k)))})
	}
	for n, v := range map[string]data.Value{
		"z_first": data.Int64(int64(i)), "i8": data.Int8(int8(i % 100)), "i32": null(3, data.Int32(int32(-i))), "f32": data.Float32(float32(i) / 4), "f64": null(2, data.Float64(float64(i)/8)),
		"ok": data.Bool(i%2 == 0), "text": null(7, data.String(fmt.Sprintf("text – %d", i))), "raw": data.Bytes([]byte{byte(i), 1}), "amount": null(9, data.Bytes(unscaled.FillBytes(make([]byte, 4)))),
		"day": data.Int32(int32(20000 + i)), "at": data.Int64(1_700_000_000_000 + int64(i)), "inner": null(8, data.StructOf(in)), "tags": data.Array(tags), "counts": null(5, data.Map(counts)),
	} {
		st.Set(n, v)
	}
	return plugins.SinkRecord{Topic: "t", OriginalTopic: "t", Offset: int64(i), ValueSchema: allTypes, Value: data.StructOf(st)}
}

// expected is what an independent reader should find, as JSON.
func expected(i int) string {
	r := sample(i).Value
	var conv func(v data.Value, s *data.Schema) any
	conv = func(v data.Value, s *data.Schema) any {
		if v.IsNull() {
			return nil
		}
		switch s.Name() {
		case data.LogicalDecimal:
			return new(big.Rat).SetFrac(new(big.Int).SetBytes(v.Bytes()), big.NewInt(100)).FloatString(2)
		}
		switch v.Type() {
		case data.TypeStruct:
			m := map[string]any{}
			for i, f := range v.Struct().Schema.Fields() {
				m[f.Name] = conv(v.Struct().Values[i], f.Schema)
			}
			return m
		case data.TypeArray:
			a := []any{}
			for _, e := range v.Array() {
				a = append(a, conv(e, s.ValueSchema()))
			}
			return a
		case data.TypeMap:
			m := map[string]any{}
			for _, e := range v.Map() {
				m[e.Key.Str()] = conv(e.Value, s.ValueSchema())
			}
			return m
		case data.TypeString:
			return v.Str()
		case data.TypeBytes:
			return fmt.Sprintf("%x", v.Bytes())
		case data.TypeBoolean:
			return v.Bool()
		case data.TypeFloat32, data.TypeFloat64:
			return v.Float()
		}
		return v.Int()
	}
	b, _ := json.Marshal(conv(r, allTypes))
	return string(b)
}

const dump = `
import datetime, decimal, json, sys
def plain(v):
    if isinstance(v, datetime.datetime):
        if v.tzinfo is None: v = v.replace(tzinfo=datetime.timezone.utc)
        return round((v - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)) / datetime.timedelta(milliseconds=1))
    if isinstance(v, datetime.date): return (v - datetime.date(1970, 1, 1)).days
    if isinstance(v, decimal.Decimal): return str(v)
    if isinstance(v, (bytes, bytearray)): return v.hex()
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items()}
    if isinstance(v, list): return [plain(x) for x in v]
    return v
`

func writeAll(t *testing.T, f format, n, flushEvery int) string {
	t.Helper()
	var out bytes.Buffer
	e, err := f.newEncoder(&out, "t", allTypes)
	require.NoError(t, err)
	for i := range n {
		r := sample(i)
		require.NoError(t, e.write(&r))
		if flushEvery > 0 && i%flushEvery == flushEvery-1 {
			require.NoError(t, e.flush())
			require.Zero(t, e.held()&^(1<<20-1))
		}
	}
	require.NoError(t, e.close())
	file := filepath.Join(t.TempDir(), "object"+f.extension())
	require.NoError(t, os.WriteFile(file, out.Bytes(), 0o644))
	return file
}

func checkDump(t *testing.T, out []byte, n int) {
	t.Helper()
	rows := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	require.Len(t, rows, n)
	for i, r := range rows {
		require.JSONEq(t, expected(i), string(r), "record %d", i)
	}
}

func TestDuckDBReadsOurParquet(t *testing.T) {
	py := servers.Tool(t, "readers", servers.FetchReaders)
	for _, codec := range []string{"none", "snappy", "gzip", "zstd", "lz4", "brotli"} {
		f, err := newParquetFormat(codec)
		require.NoError(t, err)
		file := writeAll(t, f, 300, 70)
		out, err := py.Command(t.Context(), dump+`
import duckdb
r = duckdb.sql(f"select * from read_parquet('{sys.argv[1]}')")
for row in r.fetchall():
    print(json.dumps({c: plain(v) for c, v in zip(r.columns, row)}))
`, file).CombinedOutput()
		require.NoError(t, err, string(out))
		checkDump(t, out, 300)
	}
}

func TestParquetKeepsTheOrderOfColumns(t *testing.T) {
	c, err := compileParquet(allTypes)
	require.NoError(t, err)
	var names []string
	for _, f := range c.schema.Fields() {
		names = append(names, f.Name())
	}
	require.Equal(t, []string{"z_first", "i8", "i32", "f32", "f64", "ok", "text", "raw", "amount", "day", "at", "inner", "tags", "counts"}, names)
}

func TestFastavroReadsOurAvro(t *testing.T) {
	py := servers.Tool(t, "readers", servers.FetchReaders)
	for _, codec := range []string{"null", "deflate", "snappy"} {
		f, err := newAvroFormat(codec)
		require.NoError(t, err)
		file := writeAll(t, f, 3000, 0)
		out, err := py.Command(t.Context(), dump+`
import fastavro
for row in fastavro.reader(open(sys.argv[1], 'rb')):
    print(json.dumps(plain(row)))
`, file).CombinedOutput()
		require.NoError(t, err, string(out))
		checkDump(t, out, 3000)
	}
}

// Readers skip row groups and pages by their bounds: wrong ones lose rows without a word.
func TestDuckDBFiltersByOurBounds(t *testing.T) {
	py := servers.Tool(t, "readers", servers.FetchReaders)
	f, err := newParquetFormat("snappy")
	require.NoError(t, err)
	recs := orderRecords(60_000)
	var out bytes.Buffer
	e, err := f.newEncoder(&out, "t", orderEvent)
	require.NoError(t, err)
	for i := range recs {
		require.NoError(t, e.write(&recs[i]))
		if i == 20 || i == 45_000 {
			require.NoError(t, e.flush())
		}
	}
	require.NoError(t, e.close())
	file := filepath.Join(t.TempDir(), "object.parquet")
	require.NoError(t, os.WriteFile(file, out.Bytes(), 0o644))
	// Each filter counts the same rows on the file, where bounds prune, as on a table loaded from it.
	got, err := py.Command(t.Context(), `
import duckdb, sys
duckdb.sql(f"create table loaded as select * from read_parquet('{sys.argv[1]}')")
for w in sys.argv[2:]:
    a, b = (duckdb.sql(f"select count(*) from {s} where {w}").fetchone()[0] for s in (f"read_parquet('{sys.argv[1]}')", "loaded"))
    print("same" if a == b and a > 0 else "differs", a, b, w)
`, file, "after.amount < 0", "after.amount > 400", "after.amount between -0.05 and 0.05", "after.amount = -49.99", "after.id = 59999", "after.rating = 0.125", "after.rating > 6", "after.rating is null",
		"after.customer = 'customer 999'", "after.note = 'note – ünïcode 60000'", "source.snapshot = 'false' and op = 'c'", "not after.paid", "before is null", "source.lsn > 38000000", "after.ship_on < 20460").CombinedOutput()
	require.NoError(t, err, string(got))
	for _, l := range bytes.Split(bytes.TrimSpace(got), []byte("\n")) {
		require.Regexp(t, "^same", string(l))
	}
	require.Equal(t, 15, bytes.Count(got, []byte("\n")))
}
