package avrodata

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/linkedin/goavro/v2"
	"github.com/stretchr/testify/require"
	tavro "github.com/twmb/avro"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// withoutLogical is the schema with logical types as plain ones, since goavro turns them into Go's.
func withoutLogical(t *testing.T, text string) string {
	var v any
	require.NoError(t, json.Unmarshal([]byte(text), &v))
	var walk func(v any)
	walk = func(v any) {
		switch x := v.(type) {
		case map[string]any:
			delete(x, "logicalType")
			for _, e := range x {
				walk(e)
			}
		case []any:
			for _, e := range x {
				walk(e)
			}
		}
	}
	walk(v)
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

func oracleSchemas() []*data.Schema {
	return []*data.Schema{rowSchema(), envelopeSchema(), data.Int64Schema, data.OptionalStringSchema, data.NewArray(data.OptionalFloat64Schema).Build(),
		data.NewMap(data.StringSchema, data.BytesSchema).Optional().Build()}
}

func oracleValues(s *data.Schema) data.Value {
	switch s.Type() {
	case data.TypeInt64:
		return data.Int64(math.MinInt64)
	case data.TypeString:
		return data.String("ž")
	case data.TypeArray:
		return data.Array([]data.Value{data.Float64(math.Inf(1)), data.Null, data.Float64(-0.5)})
	case data.TypeMap:
		return data.Map([]data.MapEntry{{Key: data.String("k"), Value: data.Bytes([]byte{1, 2})}})
	}
	if _, ok := s.Field("op"); ok {
		return envelopeValue(s)
	}
	row := rowValue(s, 7)
	one := &data.Struct{Schema: s, Values: append([]data.Value(nil), row.Struct().Values...)}
	f, _ := s.Field("attrs")
	one.Values[f.Index] = data.Map([]data.MapEntry{{Key: data.String("x"), Value: data.Int32(1)}}) // goavro has no order of keys
	return data.StructOf(one)
}

func TestOurBytesAreGoavrosBothWays(t *testing.T) {
	for _, s := range oracleSchemas() {
		v := oracleValues(s)
		if s.Name() == "shop.public.orders.Envelope" {
			after := v.Field("after").Struct()
			f, _ := after.Schema.Field("attrs")
			after.Values[f.Index] = data.Map([]data.MapEntry{{Key: data.String("x"), Value: data.Int32(1)}})
		}
		e, err := NewEncoder(s, DefaultConfig())
		require.NoError(t, err)
		ours, err := e.Append(nil, v)
		require.NoError(t, err)
		codec, err := goavro.NewCodec(withoutLogical(t, e.Text()))
		require.NoError(t, err)
		datum, rest, err := codec.NativeFromBinary(ours)
		require.NoError(t, err)
		require.Empty(t, rest)
		theirs, err := codec.BinaryFromNative(nil, datum)
		require.NoError(t, err)
		require.Equal(t, ours, theirs, "goavro read %v", datum)

		d, err := NewDecoder(e.Schema(), 0, DefaultConfig())
		require.NoError(t, err)
		back, err := d.Decode(theirs)
		require.NoError(t, err)
		require.Equal(t, v.String(), back.String())
	}
}

func TestOurBytesAreReadByAnotherLibrary(t *testing.T) {
	for _, s := range oracleSchemas() {
		v := oracleValues(s)
		e, err := NewEncoder(s, DefaultConfig())
		require.NoError(t, err)
		ours, err := e.Append(nil, v)
		require.NoError(t, err)
		schema, err := tavro.Parse(withoutLogical(t, e.Text()))
		require.NoError(t, err)
		var generic any
		rest, err := schema.Decode(ours, &generic)
		require.NoError(t, err)
		require.Empty(t, rest)
		again, err := schema.Encode(generic)
		require.NoError(t, err)
		require.Len(t, again, len(ours))
		d, err := NewDecoder(e.Schema(), 0, DefaultConfig())
		require.NoError(t, err)
		_, err = d.Decode(again)
		require.NoError(t, err)
	}
}

func TestARecordIsWrittenInAnotherSchema(t *testing.T) {
	from := data.NewStruct().Name("R").Field("a", data.Int32Schema).Field("gone", data.StringSchema).Field("opt", data.OptionalInt64Schema).Build()
	v := data.StructOf(&data.Struct{Schema: from, Values: []data.Value{data.Int32(7), data.String("x"), data.Null}})
	to, err := avro.Parse(`{"type":"record","name":"R","fields":[{"name":"opt","type":["null","double"],"default":null},{"name":"a","type":"long"},`+
		`{"name":"new","type":"string","default":"dflt"},{"name":"arr","type":{"type":"array","items":"int"},"default":[1]},{"name":"n","type":["null","int"],"default":null}]}`, avro.Options{})
	require.NoError(t, err)
	_, err = NewEncoderTo(from, to, DefaultConfig(), false)
	require.EqualError(t, err, "field gone is not in record R of the Avro schema")
	e, err := NewEncoderTo(from, to, DefaultConfig(), true)
	require.NoError(t, err)
	b, err := e.Append(nil, v)
	require.NoError(t, err)
	d, err := NewDecoder(to, 0, DefaultConfig())
	require.NoError(t, err)
	got, err := d.Decode(b)
	require.NoError(t, err)
	require.Equal(t, "Struct{opt=null,a=7,new=dflt,arr=[1],n=null}", got.String())

	narrow, err := avro.Parse(`{"type":"record","name":"R","fields":[{"name":"must","type":"string"}]}`, avro.Options{})
	require.NoError(t, err)
	_, err = NewEncoderTo(from, narrow, DefaultConfig(), true)
	require.EqualError(t, err, "field must of record R is not in the data and has no default")
}

func TestErrorsNameTheField(t *testing.T) {
	s := envelopeSchema()
	v := envelopeValue(s)
	row := v.Field("after").Struct()
	id, _ := row.Schema.Field("id")
	e, err := NewEncoder(s, DefaultConfig())
	require.NoError(t, err)
	row.Values[id.Index] = data.Null
	_, err = e.Append(nil, v)
	require.EqualError(t, err, "Found null value for non-optional schema (field after.id)")
	row.Values[id.Index] = data.String("x")
	_, err = e.Append(nil, v)
	require.EqualError(t, err, "Invalid type for int64: string (field after.id)")
	var d *plugins.DataError
	require.ErrorAs(t, err, &d)
	_, err = e.Append(nil, data.StructOf(data.NewStructValue(rowSchema())))
	require.EqualError(t, err, "Mismatching struct schema")
}

func TestRecursiveSchemasAreRefused(t *testing.T) {
	a, err := avro.Parse(`{"type":"record","name":"Node","fields":[{"name":"next","type":["null","Node"]}]}`, avro.Options{})
	require.NoError(t, err)
	_, err = NewDecoder(a, 0, DefaultConfig())
	require.ErrorContains(t, err, "refers to itself")
}

func TestHostileBytesAreErrors(t *testing.T) {
	for _, c := range []struct {
		schema string
		b      []byte
	}{
		{`"string"`, []byte{0xfe, 0xff, 0xff, 0xff, 0x0f, 'x'}},                                           // a length of gigabytes
		{`"bytes"`, []byte{0x01}},                                                                         // a negative length
		{`"long"`, []byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1}},                           // more than 64 bits
		{`"int"`, []byte{0xfe, 0xff, 0xff, 0xff, 0x1f}},                                                   // more than 32 bits
		{`{"type":"array","items":"long"}`, []byte{0xfe, 0xff, 0xff, 0xff, 0x0f}},                         // billions of elements
		{`{"type":"array","items":{"type":"fixed","name":"E","size":0}}`, []byte{0xfe, 0xff, 0xff, 0x0f}}, // millions of empty ones
		{`{"type":"map","values":"int"}`, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0x00}},
		{`["null","int"]`, []byte{4}}, {`["int","string","null"]`, []byte{9}}, {`{"type":"enum","name":"E","symbols":["A"]}`, []byte{2}},
		{`{"type":"fixed","name":"F","size":4}`, []byte{1}}, {`"double"`, []byte{1}}, {`"float"`, nil}, {`"boolean"`, nil},
	} {
		a, err := avro.Parse(c.schema, avro.Options{})
		require.NoError(t, err)
		d, err := NewDecoder(a, 0, DefaultConfig())
		require.NoError(t, err, c.schema)
		_, err = d.Decode(c.b)
		var de *plugins.DataError
		require.ErrorAs(t, err, &de, c.schema)
	}
}

func TestDataWithoutASchemaIsBounded(t *testing.T) {
	v := data.Null
	for range maxDepth + 10 {
		v = data.Array([]data.Value{v})
	}
	e, err := NewEncoder(nil, DefaultConfig())
	require.NoError(t, err)
	_, err = e.Append(nil, v)
	require.ErrorContains(t, err, "nested deeper")
}

func FuzzDecode(f *testing.F) {
	s := envelopeSchema()
	e, err := NewEncoder(s, DefaultConfig())
	require.NoError(f, err)
	b, err := e.Append(nil, envelopeValue(s))
	require.NoError(f, err)
	texts := []string{e.Text(), anythingText,
		`{"type":"record","name":"R","fields":[{"name":"u","type":["null","int",{"type":"fixed","name":"F","size":3},{"type":"enum","name":"E","symbols":["A","B"]}]},` +
			`{"name":"m","type":{"type":"map","values":{"type":"array","items":["null","double"]}}},{"name":"e","type":{"type":"array","items":{"type":"record","name":"MapEntry","namespace":"io.confluent.connect.avro",` +
			`"fields":[{"name":"key","type":"int"},{"name":"value","type":"string"}]}}},{"name":"z","type":{"type":"array","items":{"type":"record","name":"Z","fields":[]}}}]}`}
	var decoders []*Decoder
	for i, text := range texts {
		a, err := avro.Parse(text, avro.Options{})
		require.NoError(f, err)
		d, err := NewDecoder(a, 1, DefaultConfig())
		require.NoError(f, err)
		decoders = append(decoders, d)
		f.Add(byte(i), b)
		f.Add(byte(i), []byte{0, 2, 2, 'k', 2, 0, 0, 0, 4, 2, 2, 'x', 0, 0})
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		d := decoders[int(which)%len(decoders)]
		v, err := d.Decode(b)
		if err != nil {
			var de *plugins.DataError
			require.ErrorAs(t, err, &de)
			return
		}
		enc, err := NewEncoderTo(d.Schema(), d.Avro(), DefaultConfig(), false)
		require.NoError(t, err)
		out, err := enc.Append(nil, v)
		if err != nil {
			return // a decimal or default that does not come back the same way
		}
		again, err := d.Decode(out)
		require.NoError(t, err)
		if v.Size() < 1<<16 {
			_ = again.String()
		}
	})
}

func FuzzSchema(f *testing.F) {
	e, err := NewEncoder(envelopeSchema(), DefaultConfig())
	require.NoError(f, err)
	f.Add(e.Text())
	f.Add(`{"type":"record","name":"R","fields":[{"name":"a","type":["int","null"],"default":5},{"name":"r","type":{"type":"record","name":"I","fields":[{"name":"x","type":"bytes","default":"\u00ff"}]},"default":{"x":"a"}}]}`)
	f.Add(`{"type":"int","connect.type":"int8","connect.default":300,"connect.parameters":{"a":"b"},"connect.version":-1}`)
	f.Fuzz(func(t *testing.T, text string) {
		a, err := avro.Parse(text, avro.Options{MaxBytes: 1 << 16})
		if err != nil {
			return
		}
		for _, cfg := range []Config{DefaultConfig(), {Enhanced: true, ScrubNames: true, DiscardTypeDocDefault: true}} {
			d, err := NewDecoder(a, 3, cfg)
			if err != nil {
				continue
			}
			_, _ = d.Decode([]byte{0, 0, 0, 0})
			_, _ = NewEncoder(d.Schema(), cfg)
		}
	})
}
