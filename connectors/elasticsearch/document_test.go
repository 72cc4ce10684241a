package elasticsearch

import (
	"strings"
	"testing"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/stretchr/testify/require"
)

func TestDocuments(t *testing.T) {
	named := func(ty data.Type, name string, kv ...string) *data.Schema {
		b := data.New(ty).Name(name).Version(1)
		for i := 0; i < len(kv); i += 2 {
			b.Param(kv[i], kv[i+1])
		}
		return b.Build()
	}
	counts := data.NewMap(data.StringSchema, data.Int64Schema).Build()
	byID := data.NewMap(data.Int32Schema, data.StringSchema).Build()
	one := data.Map([]data.MapEntry{{Key: data.String("a"), Value: data.Int64(1)}})
	two := data.Map([]data.MapEntry{{Key: data.Int32(7), Value: data.String("x")}})
	inner := data.NewStruct().Field("n", data.Int8Schema).Build()
	in := data.NewStructValue(inner)
	in.Set("n", data.Int8(-3))
	for _, c := range []struct {
		schema *data.Schema
		v      data.Value
		maps   mapForm
		want   string
	}{
		{data.Int64Schema, data.Int64(-9223372036854775808), mapsCompact, `-9223372036854775808`},
		{data.Float32Schema, data.Float32(0.1), mapsCompact, `0.1`},
		{data.BooleanSchema, data.Bool(true), mapsCompact, `true`},
		{data.OptionalStringSchema, data.Null, mapsCompact, `null`},
		{data.New(data.TypeString).Optional().Default(data.String("d")).Build(), data.Null, mapsCompact, `"d"`},
		{data.BytesSchema, data.Bytes([]byte{0, 1, 255}), mapsCompact, `"AAH/"`},
		{named(data.TypeBytes, data.LogicalDecimal, "scale", "2"), data.Bytes([]byte{0xff}), mapsCompact, `-0.01`},
		{named(data.TypeBytes, data.LogicalDecimal, "scale", "2"), data.Bytes([]byte{0x30, 0x39}), mapsBare, `123.45`},
		{named(data.TypeBytes, data.LogicalDecimal, "scale", "0"), data.Bytes([]byte{0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), mapsCompact, `2.3611832414348226e+21`},
		{named(data.TypeInt32, data.LogicalDate), data.Int32(20000), mapsCompact, `20000`},
		{named(data.TypeInt64, data.LogicalTimestamp), data.Int64(1_700_000_000_000), mapsCompact, `1700000000000`},
		{data.NewArray(inner).Build(), data.Array([]data.Value{data.StructOf(in)}), mapsCompact, `[{"n":-3}]`},
		{counts, one, mapsCompact, `{"a":1}`},
		{counts, one, mapsEntries, `[{"key":"a","value":1}]`},
		{counts, one, mapsBare, `{"a":1}`},
		{byID, two, mapsCompact, `[{"key":7,"value":"x"}]`},
		{byID, two, mapsEntries, `[{"key":7,"value":"x"}]`},
		{byID, two, mapsBare, `[[7,"x"]]`},
		{byID, data.Map(nil), mapsCompact, `[]`},
		{counts, data.Map(nil), mapsCompact, `{}`},
		{nil, one, mapsEntries, `{"a":1}`},
	} {
		got, err := appendDocument(nil, c.schema, c.v, c.maps)
		require.NoError(t, err)
		require.JSONEq(t, c.want, string(got))
	}
}

func TestDocumentIDs(t *testing.T) {
	id := func(v data.Value) (string, error) {
		b, err := documentID(nil, &plugins.SinkRecord{Topic: "t", Key: v})
		return string(b), err
	}
	for _, c := range []struct {
		key       data.Value
		want, bad string
	}{
		{data.Int8(-1), "-1", ""}, {data.Int16(5), "5", ""}, {data.Int32(5), "5", ""}, {data.Int64(1 << 40), "1099511627776", ""}, {data.String("k/é"), "k/é", ""},
		{data.Null, "", "Key is used as document id and can not be null."},
		{data.String(""), "", "Key is used as document id and can not be empty."},
		{data.Float64(1), "", "is not supported as the document id"},
		{data.Bool(true), "", "is not supported as the document id"},
		{data.Bytes([]byte("k")), "", "is not supported as the document id"},
		{data.String(strings.Repeat("k", 513)), "", "at most 512"},
	} {
		got, err := id(c.key)
		if c.bad != "" {
			require.ErrorContains(t, err, c.bad)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, c.want, got)
	}
}
