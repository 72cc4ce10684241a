package converters

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

func TestInputOfTheWrongTypeIsBadData(t *testing.T) {
	c := reference(t)
	for _, text := range []string{
		`{"schema":{"type":"int32"},"payload":"abc"}`, `{"schema":{"type":"int8"},"payload":200}`, `{"schema":{"type":"int64"},"payload":1.5}`,
		`{"schema":{"type":"boolean"},"payload":1}`, `{"schema":{"type":"string"},"payload":5}`, `{"schema":{"type":"double"},"payload":"x"}`,
		`{"schema":{"type":"bytes"},"payload":"!"}`, `{"schema":null,"payload":99999999999999999999}`, "\"\xff\"", `{"schema":null,"payload":`,
		`{"schema":{"type":"struct","fields":[{"field":"a","type":"int32"},{"field":"a","type":"int32"}]},"payload":{"a":1}}`,
		`{"schema":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"1"}},"payload":1.25}`,
	} {
		_, _, err := c.ToData(context.Background(), "", []byte(text))
		var d *plugins.DataError
		require.ErrorAs(t, err, &d, text)
	}
	s, v, err := c.ToData(context.Background(), "", []byte(`{"schema":{"type":"double"},"payload":"NaN"}`))
	require.NoError(t, err)
	b, err := c.FromData(context.Background(), nil, "", s, v)
	require.NoError(t, err)
	require.Equal(t, `{"schema":{"type":"double","optional":false},"payload":"NaN"}`, string(b))
}

func TestASchemaIsParsedAndRenderedOnce(t *testing.T) {
	c := configured(t, "JsonConverter", map[string]string{"schemas.cache.size": "2"})
	ctx := context.Background()
	text := []byte(`{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"field":"a"}],"optional":false},"payload":{"a":1}}`)
	first, v, err := c.ToData(ctx, "", text)
	require.NoError(t, err)
	again, _, err := c.ToData(ctx, "", text)
	require.NoError(t, err)
	require.Same(t, first, again)
	dst := make([]byte, 0, 1024)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		out, err := c.FromData(ctx, dst, "", first, v)
		if err != nil || string(out) != string(text) {
			t.Fatal(string(out), err)
		}
	}))
	for _, name := range []string{"int8", "int16", "int32", "int64"} {
		_, _, err := c.ToData(ctx, "", []byte(`{"schema":{"type":"`+name+`"},"payload":1}`))
		require.NoError(t, err)
	}
	evicted, _, err := c.ToData(ctx, "", text)
	require.NoError(t, err)
	require.NotSame(t, first, evicted)
}

func TestPrimitivesAreKafkasBytes(t *testing.T) {
	ctx := context.Background()
	for _, c := range []struct {
		name string
		v    data.Value
		want []byte
	}{
		{"ShortConverter", data.Int16(-2), []byte{0xff, 0xfe}}, {"IntegerConverter", data.Int32(258), []byte{0, 0, 1, 2}},
		{"LongConverter", data.Int64(-1), []byte{255, 255, 255, 255, 255, 255, 255, 255}}, {"FloatConverter", data.Float32(1.5), []byte{0x3f, 0xc0, 0, 0}},
		{"DoubleConverter", data.Float64(-2), []byte{0xc0, 0, 0, 0, 0, 0, 0, 0}}, {"BooleanConverter", data.Bool(true), []byte{1}},
		{"ByteArrayConverter", data.Bytes([]byte("x")), []byte("x")}, {"ByteArrayConverter", data.Bytes(nil), []byte{}}, {"StringConverter", data.String(""), []byte{}},
	} {
		conv := configured(t, c.name, nil)
		b, err := conv.FromData(ctx, nil, "", nil, c.v)
		require.NoError(t, err)
		require.Equal(t, c.want, b)
		require.NotNil(t, b)
		_, back, err := conv.ToData(ctx, "", b)
		require.NoError(t, err)
		require.True(t, c.v.Equal(back))
		b, err = conv.FromData(ctx, []byte("x"), "", nil, data.Null)
		require.NoError(t, err)
		require.Nil(t, b)
		_, back, err = conv.ToData(ctx, "", nil)
		require.NoError(t, err)
		require.True(t, back.IsNull())
		if c.name != "StringConverter" {
			_, err = conv.FromData(ctx, nil, "", nil, data.Array(nil))
			require.Error(t, err)
		}
		if c.name != "StringConverter" && c.name != "ByteArrayConverter" {
			_, _, err = conv.ToData(ctx, "", []byte("123"))
			require.Error(t, err)
		}
	}
	_, err := configured(t, "ByteArrayConverter", nil).FromData(ctx, nil, "", data.StringSchema, data.String("x"))
	require.EqualError(t, err, "Invalid schema type for ByteArrayConverter: STRING")
}

func TestStringsAreEncodedAsConfigured(t *testing.T) {
	ctx := context.Background()
	for enc, want := range map[string]string{"UTF-8": "aé€", "ISO-8859-1": "a\xe9?", "US-ASCII": "a??", "UTF-16": "\xfe\xff\x00a\x00\xe9\x20\xac", "UTF-16LE": "a\x00\xe9\x00\xac\x20"} {
		conv := configured(t, "StringConverter", map[string]string{"converter.encoding": enc})
		b, err := conv.FromData(ctx, nil, "", data.StringSchema, data.String("aé€"))
		require.NoError(t, err)
		require.Equal(t, want, string(b), enc)
		_, v, err := conv.ToData(ctx, "", b)
		require.NoError(t, err)
		if enc[:3] == "UTF" {
			require.Equal(t, "aé€", v.Str())
		}
	}
	r := plugins.NewRegistry()
	Register(r)
	spec, _ := r.Converter("StringConverter")
	_, err := spec.Config.Parse(map[string]string{"converter.encoding": "EBCDIC"})
	require.Error(t, err)
	_, v, err := configured(t, "StringConverter", nil).ToData(ctx, "", []byte("a\xff"))
	require.NoError(t, err)
	require.Equal(t, "a\uFFFD", v.Str())
}

func TestHeadersGoThroughEveryConverter(t *testing.T) {
	r := plugins.NewRegistry()
	Register(r)
	for _, name := range []string{"SimpleHeaderConverter", "JsonConverter", "StringConverter", "ByteArrayConverter"} {
		spec, ok := r.HeaderConverter(name)
		require.True(t, ok)
		def := spec.Config
		if def == nil {
			def = configdef.NewDef()
		}
		cfg, err := def.Parse(nil)
		require.NoError(t, err)
		h := spec.New()
		require.NoError(t, h.Configure(context.Background(), plugins.ConverterEnv{}, cfg))
		v, s := data.String("x"), data.StringSchema
		if name == "ByteArrayConverter" {
			v, s = data.Bytes([]byte("x")), data.BytesSchema
		}
		b, err := h.FromHeader("t", "k", s, v)
		require.NoError(t, err)
		_, back, err := h.ToHeader("t", "k", b)
		require.NoError(t, err)
		require.True(t, v.Equal(back), name)
		b, err = h.FromHeader("t", "k", nil, data.Null)
		require.NoError(t, err)
		require.Nil(t, b)
	}
	_, _, err := SimpleHeaderConverter{}.ToHeader("t", "k", []byte{0xff})
	require.Error(t, err)
}

func FuzzJSONToData(f *testing.F) {
	f.Add([]byte(`{"schema":{"type":"struct","fields":[{"field":"a","type":"int32","default":5},{"field":"m","type":"map","keys":{"type":"int8"},"values":{"type":"bytes"}}]},"payload":{"a":null,"m":[[1,"AQ=="]]}}`))
	f.Add([]byte(`{"payload":[1,2.5,{"x":null}],"schema":null}`))
	f.Add([]byte(`{"schema":{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"99999"}},"payload":1e5}`))
	f.Add([]byte(`{"schema":{"type":"array","items":{"type":"array","items":{"type":"float"}}},"payload":[[1,"NaN"]]}`))
	with, without := configured(f, "JsonConverter", nil), configured(f, "JsonConverter", map[string]string{"schemas.enable": "false", "decimal.format": "NUMERIC"})
	ctx := context.Background()
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range []plugins.Converter{with, without} {
			s, v, err := c.ToData(ctx, "t", b)
			if err != nil {
				var d *plugins.DataError
				require.ErrorAs(t, err, &d)
				continue
			}
			out, err := c.FromData(ctx, nil, "t", s, v)
			if err != nil || out == nil {
				continue // a null where the schema asks for a value came as a default
			}
			_, again, err := c.ToData(ctx, "t", out)
			require.NoError(t, err, "%s", out)
			if strings.Contains(v.String(), "Inf") {
				continue // a number beyond a double's range is infinite, which JSON can only quote: it comes back as a text, as in Java
			}
			require.Equal(t, v.String(), again.String())
		}
	})
}

func FuzzParseValueText(f *testing.F) {
	for _, s := range []string{`[1,{"a":2.5}]`, "2024-02-05T12:34:56.789Z", "1e999999", `{"a":[null]}`, `"x\"`, "[[[[", "12:34:56.789Z", "-1e-400"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, v := ParseValueText(text)
		AppendValueText(nil, s, v)
		AppendJavaString(nil, s, v)
	})
}

func BenchmarkJSONEncodeWithSchema(b *testing.B) { benchmarkJSON(b, "true") }

func BenchmarkJSONEncodeWithoutSchema(b *testing.B) { benchmarkJSON(b, "false") }

func benchmarkJSON(b *testing.B, schemas string) {
	c := configured(b, "JsonConverter", map[string]string{"schemas.enable": schemas})
	s := data.NewStruct().Name("row").Field("id", data.Int64Schema).Field("name", data.OptionalStringSchema).Field("f", data.Float64Schema).Field("b", data.BytesSchema).Build()
	v := data.StructOf(&data.Struct{Schema: s, Values: []data.Value{data.Int64(5), data.String("Božena"), data.Float64(1.25), data.Bytes([]byte("abc"))}})
	ctx := context.Background()
	var dst []byte
	var err error
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = c.FromData(ctx, dst[:0], "t", s, v); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(dst)))
}
