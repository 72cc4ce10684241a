package avrodata

import (
	"math/big"

	"github.com/moldau-io/moldau/plugins/data"
)

// rowSchema is a table's row as a change event has it.
func rowSchema() *data.Schema {
	return data.NewStruct().Name("shop.public.orders.Value").
		Field("id", data.Int64Schema).
		Field("customer", data.New(data.TypeString).Optional().Build()).
		Field("amount", data.New(data.TypeBytes).Name(data.LogicalDecimal).Version(1).Param("scale", "2").Param("connect.decimal.precision", "10").Optional().Build()).
		Field("quantity", data.New(data.TypeInt32).Default(data.Int32(1)).Build()).
		Field("status", data.New(data.TypeString).Name("io.debezium.data.Enum").Version(1).Param("allowed", "new,paid").Default(data.String("new")).Build()).
		Field("small", data.OptionalInt16Schema).
		Field("ratio", data.OptionalFloat64Schema).
		Field("single", data.Float32Schema).
		Field("ok", data.OptionalBooleanSchema).
		Field("created", data.New(data.TypeInt64).Name("io.debezium.time.MicroTimestamp").Version(1).Build()).
		Field("day", data.New(data.TypeInt32).Name(data.LogicalDate).Version(1).Optional().Build()).
		Field("at", data.New(data.TypeInt64).Name(data.LogicalTimestamp).Version(1).Optional().Build()).
		Field("blob", data.OptionalBytesSchema).
		Field("tags", data.NewArray(data.OptionalStringSchema).Optional().Build()).
		Field("attrs", data.NewMap(data.StringSchema, data.OptionalInt32Schema).Optional().Build()).
		Optional().Build()
}

func envelopeSchema() *data.Schema {
	row := rowSchema()
	source := data.NewStruct().Name("io.debezium.connector.postgresql.Source").Version(1).
		Field("version", data.StringSchema).Field("connector", data.StringSchema).Field("name", data.StringSchema).Field("ts_ms", data.Int64Schema).
		Field("snapshot", data.New(data.TypeString).Name("io.debezium.data.Enum").Version(1).Param("allowed", "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental").Default(data.String("false")).Optional().Build()).
		Field("db", data.StringSchema).Field("schema", data.StringSchema).Field("table", data.StringSchema).
		Field("txId", data.OptionalInt64Schema).Field("lsn", data.OptionalInt64Schema).Field("xmin", data.OptionalInt64Schema).Build()
	return data.NewStruct().Name("shop.public.orders.Envelope").Version(2).
		Field("before", row).Field("after", row).Field("source", source).
		Field("op", data.StringSchema).Field("ts_ms", data.OptionalInt64Schema).Build()
}

func rowValue(s *data.Schema, id int64) data.Value {
	st := data.NewStructValue(s)
	set := func(name string, v data.Value) {
		if !st.Set(name, v) {
			panic(name)
		}
	}
	set("id", data.Int64(id))
	set("customer", data.String("Božena Němcová"))
	set("amount", data.Bytes(data.AppendUnscaled(nil, big.NewInt(-1234567))))
	set("quantity", data.Int32(3))
	set("status", data.String("paid"))
	set("small", data.Int16(-7))
	set("ratio", data.Float64(0.125))
	set("single", data.Float32(1.5))
	set("ok", data.Bool(true))
	set("created", data.Int64(1_700_000_000_000_000))
	set("day", data.Int32(19_000))
	set("at", data.Int64(1_700_000_000_000))
	set("blob", data.Bytes([]byte{0, 1, 2, 255}))
	set("tags", data.Array([]data.Value{data.String("a"), data.Null, data.String("")}))
	set("attrs", data.Map([]data.MapEntry{{Key: data.String("x"), Value: data.Int32(1)}, {Key: data.String("y"), Value: data.Null}}))
	return data.StructOf(st)
}

func envelopeValue(s *data.Schema) data.Value {
	row, _ := s.Field("after")
	source, _ := s.Field("source")
	src := data.NewStructValue(source.Schema)
	for name, v := range map[string]data.Value{"version": data.String("1.0"), "connector": data.String("postgresql"), "name": data.String("shop"),
		"ts_ms": data.Int64(1_700_000_000_123), "snapshot": data.String("false"), "db": data.String("shop"), "schema": data.String("public"),
		"table": data.String("orders"), "txId": data.Int64(742), "lsn": data.Int64(24_023_128)} {
		src.Set(name, v)
	}
	st := data.NewStructValue(s)
	st.Set("after", rowValue(row.Schema, 42))
	st.Set("source", data.StructOf(src))
	st.Set("op", data.String("c"))
	st.Set("ts_ms", data.Int64(1_700_000_000_456))
	return data.StructOf(st)
}
