package s3

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"testing"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/stretchr/testify/require"
)

// The record that internal/bench measures the sink with: a Debezium event of the table shop.orders, 43 columns in Parquet.
var (
	orderSchema = func() *data.Schema {
		named := func(t data.Type, name string) *data.Builder { return data.New(t).Name(name).Version(1) }
		return data.NewStruct().Name("p1.shop.orders.Value").Optional().
			Field("id", data.Int64Schema).
			Field("ref", named(data.TypeString, "io.debezium.data.Uuid").Build()).
			Field("customer", data.StringSchema).
			Field("quantity", data.Int32Schema).
			Field("amount", named(data.TypeBytes, data.LogicalDecimal).Param("scale", "2").Param("connect.decimal.precision", "12").Build()).
			Field("rating", data.OptionalFloat64Schema).
			Field("paid", data.BooleanSchema).
			Field("placed_at", named(data.TypeString, "io.debezium.time.ZonedTimestamp").Build()).
			Field("ship_on", named(data.TypeInt32, "io.debezium.time.Date").Optional().Build()).
			Field("attrs", named(data.TypeString, "io.debezium.data.Json").Optional().Build()).
			Field("note", data.OptionalStringSchema).Build()
	}()
	orderSource = data.NewStruct().Name("io.debezium.connector.postgresql.Source").Version(1).
			Field("version", data.StringSchema).Field("connector", data.StringSchema).Field("name", data.StringSchema).
			Field("ts_ms", data.Int64Schema).Field("snapshot", data.OptionalStringSchema).Field("db", data.StringSchema).
			Field("sequence", data.OptionalStringSchema).Field("ts_us", data.OptionalInt64Schema).Field("ts_ns", data.OptionalInt64Schema).
			Field("schema", data.StringSchema).Field("table", data.StringSchema).Field("txId", data.OptionalInt64Schema).
			Field("lsn", data.OptionalInt64Schema).Field("xmin", data.OptionalInt64Schema).
			Field("origin", data.OptionalStringSchema).Field("origin_lsn", data.OptionalInt64Schema).Build()
	orderTransaction = data.NewStruct().Name("event.block").Version(1).Optional().
				Field("id", data.StringSchema).Field("total_order", data.Int64Schema).Field("data_collection_order", data.Int64Schema).Build()
	orderEvent = data.NewStruct().Name("p1.shop.orders.Envelope").Version(2).
			Field("before", orderSchema).Field("after", orderSchema).Field("source", orderSource).Field("transaction", orderTransaction).
			Field("op", data.StringSchema).
			Field("ts_ms", data.OptionalInt64Schema).Field("ts_us", data.OptionalInt64Schema).Field("ts_ns", data.OptionalInt64Schema).Build()
)

// twosComplement is the shortest big-endian form of n, as Connect's Decimal holds it.
func twosComplement(n int64) []byte {
	x := big.NewInt(n)
	if n < 0 {
		size := len(new(big.Int).Not(x).Bytes()) + 1
		b := new(big.Int).Add(x, new(big.Int).Lsh(big.NewInt(1), uint(8*size))).FillBytes(make([]byte, size))
		if len(b) > 1 && b[0] == 0xff && b[1]&0x80 != 0 {
			b = b[1:]
		}
		return b
	}
	b := x.Bytes()
	if len(b) == 0 || b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return b
}

// orderRecords makes events as internal/story's InsertOrders does: the first half of a snapshot, the second of a stream in transactions
// of a thousand rows.
func orderRecords(n int) []plugins.SinkRecord {
	opt := func(ok bool, v data.Value) data.Value {
		if ok {
			return v
		}
		return data.Null
	}
	out := make([]plugins.SinkRecord, n)
	for i := range n {
		id := int64(i + 1)
		at := 1_700_000_000_000_000 + id*37
		stream := i >= n/2
		var ref [16]byte
		copy(ref[:], new(big.Int).Exp(big.NewInt(id*7919+13), big.NewInt(9), new(big.Int).Lsh(big.NewInt(1), 127)).FillBytes(make([]byte, 16)))
		h := hex.EncodeToString(ref[:])
		after := &data.Struct{Schema: orderSchema, Values: []data.Value{
			data.Int64(id), data.String(h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]),
			data.String(fmt.Sprint("customer ", id%1000)), data.Int32(int32(id%9 + 1)), data.Bytes(twosComplement(id%100000 - 5000)),
			opt(id%5 != 0, data.Float64(float64(id%50)/8)), data.Bool(id%3 == 0),
			data.String(fmt.Sprintf("2026-01-%02dT%02d:%02d:%02d.%06dZ", 1+id/86400%28, id/3600%24, id/60%60, id%60, id*37%1_000_000)),
			opt(id%4 != 0, data.Int32(int32(20454+id%365))), opt(id%2 == 0, data.String(fmt.Sprintf(`{"n": %d, "tag": "t%d"}`, id, id%7))),
			opt(id%10 == 0, data.String(fmt.Sprint("note – ünïcode ", id))),
		}}
		tx, snapshot, op := int64(741), "true", "r"
		lsn := int64(24_000_000)
		if stream {
			tx, snapshot, op, lsn = 742+id/1000, "false", "c", 24_000_000+id*240
			at += id / 1000 * 5_000_000
		}
		src := &data.Struct{Schema: orderSource, Values: []data.Value{
			data.String("3.6.0.Final"), data.String("postgresql"), data.String("p1"), data.Int64(at / 1000), data.String(snapshot), data.String("postgres"),
			data.String(fmt.Sprintf(`["%d","%d"]`, lsn-lsn%1000, lsn)), data.Int64(at), data.Int64(at * 1000), data.String("shop"), data.String("orders"), data.Int64(tx),
			data.Int64(lsn), data.Null, data.Null, data.Null,
		}}
		ev := &data.Struct{Schema: orderEvent, Values: []data.Value{
			data.Null, data.StructOf(after), data.StructOf(src), data.Null, data.String(op), data.Int64(at/1000 + 3), data.Int64(at + 3123), data.Int64(at*1000 + 3123456),
		}}
		out[i] = plugins.SinkRecord{Topic: "p1.shop.orders", OriginalTopic: "p1.shop.orders", Offset: int64(i), ValueSchema: orderEvent, Value: data.StructOf(ev),
			Raw: &plugins.RawRecord{Value: make([]byte, 300)}}
	}
	return out
}

// benchmarkFormat writes objects of 10,000 events, which is what internal/bench's flush.size makes of them.
func benchmarkFormat(b *testing.B, kv ...string) {
	raw := map[string]string{"s3.bucket.name": "b", "flush.size": "10000"}
	for i := 0; i < len(kv); i += 2 {
		raw[kv[i]] = kv[i+1]
	}
	cfg, err := definition().Parse(raw)
	require.NoError(b, err)
	s, err := newSettings(cfg)
	require.NoError(b, err)
	f, err := newFormat(s)
	require.NoError(b, err)
	recs := orderRecords(40_000)
	pool := newPool(64 << 20)
	b.ReportAllocs()
	b.ResetTimer()
	var size int64
	n := 0
	for range b.N {
		buf := &buffer{pool: pool, scratch: b.TempDir()}
		e, err := f.newEncoder(buf, "p1.shop.orders", orderEvent)
		require.NoError(b, err)
		for range 10_000 {
			if err := e.write(&recs[n%len(recs)]); err != nil {
				b.Fatal(err)
			}
			n++
		}
		require.NoError(b, e.close())
		size = buf.size()
		buf.release()
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(size)/10_000, "bytes/record")
}

func BenchmarkChangeEventsToParquet(b *testing.B) { benchmarkFormat(b, "format.class", "parquet") }

func BenchmarkChangeEventsToAvro(b *testing.B) { benchmarkFormat(b, "format.class", "avro") }

func BenchmarkChangeEventsToJSON(b *testing.B) { benchmarkFormat(b, "format.class", "json") }
