package transforms

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

func transform(t testing.TB, name string, config map[string]string) plugins.Transform {
	r := plugins.NewRegistry()
	Register(r)
	spec, ok := r.Transform(name)
	require.True(t, ok)
	cfg, err := spec.Config.Parse(config)
	require.NoError(t, err)
	tr := spec.New()
	require.NoError(t, tr.Configure(cfg))
	return tr
}

func TestAnEqualSchemaAtAnotherAddressIsNotDerivedAgain(t *testing.T) {
	tr := transform(t, "InsertField$Value", map[string]string{"topic.field": "t"})
	apply := func() *data.Schema {
		s := data.NewStruct().Name("x").Field("a", data.Int32Schema).Build()
		r := plugins.Record{Topic: "q", ValueSchema: s, Value: data.StructOf(&data.Struct{Schema: s, Values: []data.Value{data.Int32(1)}})}
		keep, err := tr.Apply(&r)
		require.NoError(t, err)
		require.True(t, keep)
		return r.ValueSchema
	}
	require.Same(t, apply(), apply())
}

func TestPlansAreBounded(t *testing.T) {
	var p plans[int]
	for i := range 10 * maxPlans {
		_, err := p.get(data.NewStruct().Name(fmt.Sprint(i)).Build(), func(*data.Schema) (int, error) { return i, nil })
		require.NoError(t, err)
		require.LessOrEqual(t, len(p.byPointer), maxPlans)
		require.LessOrEqual(t, len(p.byContent), maxPlans)
	}
	router := transform(t, "RegexRouter", map[string]string{"regex": "(.*)", "replacement": "x-$1"}).(*regexRouter)
	for i := range 10 * maxPlans {
		_, err := router.Apply(&plugins.Record{Topic: fmt.Sprint(i)})
		require.NoError(t, err)
		require.LessOrEqual(t, len(router.known), maxPlans)
	}
}

func TestTheRecordGivenIsNotChanged(t *testing.T) {
	s := data.NewStruct().Name("x").Field("a", data.OptionalInt32Schema).Field("b", data.StringSchema).Build()
	st := &data.Struct{Schema: s, Values: []data.Value{data.Int32(1), data.String("x")}}
	entries := []data.MapEntry{{Key: data.String("a"), Value: data.Int64(1)}, {Key: data.String("b"), Value: data.String("x")}}
	headers := append(make([]data.Header, 0, 8), data.Header{Key: "h", Value: data.Int32(1)})
	for name, config := range map[string]map[string]string{
		"InsertField$Value": {"static.field": "c", "static.value": "v"}, "MaskField$Value": {"fields": "a,b"}, "Cast$Value": {"spec": "a:string"},
		"ReplaceField$Value": {"renames": "a:z"}, "SetSchemaMetadata$Value": {"schema.name": "n"}, "HeaderFrom$Value": {"fields": "a", "headers": "q", "operation": "move"},
		"InsertHeader": {"header": "z", "value.literal": "1"}, "DropHeaders": {"headers": "h"}, "ValueToKey": {"fields": "a"},
	} {
		for _, schemaless := range []bool{false, true} {
			if schemaless && name == "SetSchemaMetadata$Value" {
				continue
			}
			r := plugins.Record{Topic: "t", ValueSchema: s, Value: data.StructOf(st), Headers: headers}
			if schemaless {
				r.ValueSchema, r.Value = nil, data.Map(entries)
			}
			_, err := transform(t, name, config).Apply(&r)
			require.NoError(t, err, name)
			require.Equal(t, "Struct{a=1,b=x}", data.StructOf(st).String(), name)
			require.Equal(t, "{a=1, b=x}", data.Map(entries).String(), name)
			require.Equal(t, "h", headers[0].Key)
			require.Empty(t, headers[:2][1].Key, name)
		}
	}
}

func TestConfigurationsAreChecked(t *testing.T) {
	r := plugins.NewRegistry()
	Register(r)
	for name, config := range map[string]map[string]string{
		"RegexRouter": {"regex": "(", "replacement": "x"}, "TimestampRouter": {"timestamp.format": "YYYY"}, "Cast$Value": {"spec": ""}, "MaskField$Key": {"fields": ""},
		"TimestampConverter$Value": {"target.type": "epoch"}, "ExtractField$Value": {"field": "a", "field.syntax.version": "V3"}, "HeaderFrom$Key": {"fields": "a", "headers": "b", "operation": "swap"},
		"ExtractNewRecordState": {"delete.handling.mode": "rewrite"}, "ByLogicalTableRouter": {"topic.regex": "a", "topic.replacement": "b", "key.field.regex": "c"},
		"InsertField$Value": {"topic.fields": "x"}, "Filter": {"condition": "x"}, "ValueToKey": {},
	} {
		spec, ok := r.Transform(name)
		require.True(t, ok)
		_, err := spec.Config.Parse(config)
		require.Error(t, err, name)
	}
}

func BenchmarkExtractNewRecordState(b *testing.B) {
	row := data.NewStruct().Name("shop.orders.Value").Optional()
	vs := []data.Value{}
	for i := range 15 {
		row.Field(fmt.Sprintf("c%d", i), data.OptionalInt64Schema)
		vs = append(vs, data.Int64(int64(i)))
	}
	rs := row.Build()
	src := data.NewStruct().Name("Source").Field("table", data.StringSchema).Build()
	s := data.NewStruct().Name("shop.orders.Envelope").Field("before", rs).Field("after", rs).Field("source", src).Field("op", data.StringSchema).Build()
	v := data.StructOf(&data.Struct{Schema: s, Values: []data.Value{data.Null, data.StructOf(&data.Struct{Schema: rs, Values: vs}),
		data.StructOf(&data.Struct{Schema: src, Values: []data.Value{data.String("orders")}}), data.String("c")}})
	tr := transform(b, "ExtractNewRecordState", map[string]string{"add.fields": "op,table"})
	b.ReportAllocs()
	for b.Loop() {
		r := plugins.Record{Topic: "t", ValueSchema: s, Value: v}
		if _, err := tr.Apply(&r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRegexRouter(b *testing.B) {
	tr := transform(b, "RegexRouter", map[string]string{"regex": `shop\.(.*)\.(.*)`, "replacement": "$2"})
	b.ReportAllocs()
	for b.Loop() {
		r := plugins.Record{Topic: "shop.public.orders"}
		if _, err := tr.Apply(&r); err != nil {
			b.Fatal(err)
		}
	}
}
