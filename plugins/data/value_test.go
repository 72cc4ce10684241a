package data

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestValuesComeBackAsTheyWentIn(t *testing.T) {
	require.Equal(t, int64(-5), Int8(-5).Int())
	require.Equal(t, int64(math.MinInt64), Int64(math.MinInt64).Int())
	require.Equal(t, float32(1.5), Float32(1.5).Float32())
	require.InDelta(t, 1.5, Float32(1.5).Float(), 0)
	require.InDelta(t, -2.25, Float64(-2.25).Float(), 0)
	require.True(t, Bool(true).Bool())
	require.False(t, Bool(false).Bool())
	require.Equal(t, "héllo", String("héllo").Str())
	require.Empty(t, String("").Str())
	require.Equal(t, []byte{1, 2}, Bytes([]byte{1, 2}).Bytes())
	require.NotNil(t, Bytes(nil).Bytes())
	require.False(t, Bytes(nil).IsNull())
	require.True(t, Null.IsNull())
	require.Len(t, Array([]Value{Int8(1), Null}).Array(), 2)
	require.True(t, Map([]MapEntry{{String("a"), Int8(1)}}).Map()[0].Value.Equal(Int8(1)))
}

func TestStructFieldsAreFoundByName(t *testing.T) {
	b := NewStruct().Name("s")
	for _, n := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		b.Field(n, OptionalStringSchema)
	}
	s := b.Build()
	st := NewStructValue(s)
	require.True(t, st.Set("j", String("x")))
	require.False(t, st.Set("nope", Null))
	require.Equal(t, "x", StructOf(st).Field("j").Str())
	require.True(t, StructOf(nil).IsNull())
	require.Equal(t, "Struct{a=null,b=null,c=null,d=null,e=null,f=null,g=null,h=null,i=null,j=x}", StructOf(st).String())
}

func TestSchemasAreEqualByContent(t *testing.T) {
	mk := func(def Value) *Schema {
		return NewStruct().Name("n").Version(2).Param("k", "v").
			Field("x", New(TypeInt32).Default(def).Build()).
			Field("y", NewArray(OptionalStringSchema).Optional().Build()).
			Field("z", NewMap(StringSchema, Int64Schema).Build()).Build()
	}
	require.True(t, mk(Int32(1)).Equal(mk(Int32(1))))
	require.False(t, mk(Int32(1)).Equal(mk(Int32(2))))
	require.Equal(t, mk(Int32(1)).Fingerprint(), mk(Int32(2)).Fingerprint(), "defaults are left out of the hash, not out of Equal")
	require.False(t, StringSchema.Equal(OptionalStringSchema))
	require.False(t, StringSchema.Equal(nil))
}

func TestScalarsDoNotAllocate(t *testing.T) {
	buf := []byte("some text")
	var sink Value
	require.Zero(t, testing.AllocsPerRun(100, func() {
		sink = Int64(1 << 40)
		sink = StringBytes(buf)
		_ = sink.Str()
		sink = Float64(3)
	}))
}
