package cdc

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/moldau-io/moldau/plugins/data"
	"github.com/stretchr/testify/require"
)

// fromTwos reads what BigIntBytes and DecimalBytes write.
func fromTwos(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}

func TestDecimalsAreTheShortestTwosComplement(t *testing.T) {
	var a Arena
	for _, c := range []struct {
		text  string
		scale int
		want  []byte
	}{
		{"0", 0, []byte{0}}, {"-0.00", 2, []byte{0}}, {"127", 0, []byte{127}}, {"128", 0, []byte{0, 128}}, {"-128", 0, []byte{0x80}}, {"-129", 0, []byte{0xff, 0x7f}},
		{"123.45", 2, []byte{0x30, 0x39}}, {"1.5", 4, []byte{0x3a, 0x98}}, {"-0.0001", 4, []byte{0xff}}, {"12300", -2, []byte{123}}, {"1.500", 1, []byte{15}},
	} {
		got, err := DecimalBytes(&a, []byte(c.text), c.scale)
		require.NoError(t, err, c.text)
		require.Equal(t, c.want, got, c.text)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		digits := make([]byte, 1+rnd.IntN(90))
		for i := range digits {
			digits[i] = byte('0' + rnd.IntN(10))
		}
		n, _ := new(big.Int).SetString(string(digits), 10)
		if rnd.IntN(2) == 0 {
			n.Neg(n)
		}
		b := BigIntBytes(n)
		require.Zero(t, fromTwos(b).Cmp(n), n.String())
		if len(b) > 1 {
			require.False(t, b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80, "%s is not the shortest form of %s", b, n)
		}
		d, err := DecimalBytes(&a, []byte(n.String()), 0)
		require.NoError(t, err)
		require.Equal(t, b, d)
	}
	for _, bad := range []string{"", "-", "1.2.3", "1e5", "x", " 1", "1.55"} {
		_, err := DecimalBytes(&a, []byte(bad), 1)
		require.Error(t, err, bad)
	}
}

func TestDecimalModes(t *testing.T) {
	var a Arena
	v, err := DecimalDouble.Value(&a, []byte("12.5"), 2)
	require.NoError(t, err)
	require.InDelta(t, 12.5, v.Float(), 0)
	v, _ = DecimalDouble.Value(&a, []byte("NaN"), 2)
	require.True(t, math.IsNaN(v.Float()))
	v, _ = DecimalString.Value(&a, []byte("12.5"), 3)
	require.Equal(t, "12.500", v.Str())
	v, _ = DecimalString.Value(&a, []byte("12"), 2)
	require.Equal(t, "12.00", v.Str())
	v, _ = DecimalString.Value(&a, []byte("-Infinity"), 3)
	require.Equal(t, "NEGATIVE_INFINITY", v.Str())
	v, _ = DecimalPrecise.Value(&a, []byte("NaN"), 3)
	require.True(t, v.IsNull())
	s := VariableScaleDecimal().Build()
	v, _ = DecimalPrecise.VariableValue(&a, s, []byte("1.250"))
	require.Equal(t, int64(2), v.Field("scale").Int())
	require.Equal(t, []byte{125}, v.Field("value").Bytes())
	v, _ = DecimalPrecise.VariableValue(&a, s, []byte("-0.00"))
	require.Equal(t, "Struct{scale=0,value=0x00}", v.String())
}

func TestCalendarIsThatOfGo(t *testing.T) {
	for days := int64(-800000); days < 3000000; days += 37 {
		y, m, d := CivilFromDays(days)
		want := time.Unix(days*86400, 0).UTC()
		require.Equal(t, [3]int{want.Year(), int(want.Month()), want.Day()}, [3]int{int(y), m, d})
		require.Equal(t, days, DaysFromCivil(y, m, d))
	}
}

func TestTemporalModes(t *testing.T) {
	var a Arena
	us := int64(1709210096789100)
	for mode, want := range map[TimeMode][3]string{ // timestamp(3), timestamp(6), time(3) of 12:34:56.7891
		TimeAdaptive:       {"1709210096789", "1709210096789100", "45296789"},
		TimeAdaptiveMicros: {"1709210096789", "1709210096789100", "45296789100"},
		TimeConnect:        {"1709210096789", "1709210096789", "45296789"},
		TimeIsoString:      {"2024-02-29T12:34:56.7891Z", "2024-02-29T12:34:56.7891Z", "12:34:56.7891Z"},
		TimeMicros:         {"1709210096789100", "1709210096789100", "45296789100"},
		TimeNanos:          {"1709210096789100000", "1709210096789100000", "45296789100000"},
	} {
		require.Equal(t, want, [3]string{mode.Timestamp(&a, us, 3).String(), mode.Timestamp(&a, us, 6).String(), mode.Time(&a, 45296789100, 3).String()}, mode)
		require.Equal(t, mode.Timestamp(&a, us, 6).Type(), mode.TimestampSchema(6).Build().Type(), mode)
		require.Equal(t, mode.Time(&a, us, 2).Type(), mode.TimeSchema(2).Build().Type(), mode)
		require.Equal(t, mode.Date(&a, 1).Type(), mode.DateSchema().Build().Type(), mode)
	}
	require.Equal(t, "-1", TimeAdaptive.Timestamp(&a, -1, 3).String(), "milliseconds are rounded down, also before 1970")
	require.Equal(t, "2024-02-29T12:34:56.789100Z", ZonedTimestamp(&a, us, 6).Str())
	require.Equal(t, "2024-02-29T12:34:56Z", ZonedTimestamp(&a, us, 0).Str())
	require.Equal(t, "23:02:03Z", ZonedTime(&a, -3477000000).Str())
	require.Equal(t, "+294247-01-10T04:00:25.2Z", TimeIsoString.Timestamp(&a, InfinityMicros, 6).Str())
	require.Equal(t, "-290308-12-21T19:59:27.6Z", TimeIsoString.Timestamp(&a, NegInfinityMicros, 6).Str())
	require.True(t, TimeNanos.Timestamp(&a, math.MaxInt64/100, 6).IsNull(), "what does not fit is not falsified")
}

func TestBinaryModes(t *testing.T) {
	var a Arena
	raw := []byte{0xfb, 0xff, 0x01}
	require.Equal(t, "fbff01", BinaryHex.Value(&a, raw).Str())
	require.Equal(t, "+/8B", BinaryBase64.Value(&a, raw).Str())
	require.Equal(t, "-_8B", BinaryBase64URL.Value(&a, raw).Str())
	require.Equal(t, raw, BinaryBytes.Value(&a, raw).Bytes())
}

func TestZeroValuesFitTheirSchemas(t *testing.T) {
	for _, s := range []*data.Schema{data.Int8Schema, data.Int16Schema, data.Int32Schema, data.Int64Schema, data.Float32Schema, data.Float64Schema, data.BooleanSchema,
		data.StringSchema, data.BytesSchema, Point().Build(), Geometry().Build(), VariableScaleDecimal().Build(), data.NewArray(data.StringSchema).Build(),
		data.NewMap(data.StringSchema, data.StringSchema).Build(), DecimalPrecise.Schema(5, 2).Build()} {
		require.Equal(t, s.Type(), ZeroValue(s).Type(), s.Name())
	}
	require.Equal(t, int64(7), ZeroValue(data.New(data.TypeInt32).Default(data.Int32(7)).Build()).Int())
}

func TestArenaPiecesDoNotOverlap(t *testing.T) {
	var a Arena
	var all [][]byte
	for i := range 5000 {
		b := a.Alloc(i % 97)
		for j := range b {
			b[j] = byte(i)
		}
		s := append(a.Scratch(8), byte(i), byte(i))
		s = a.Keep(s)
		all = append(all, b, s)
	}
	for i, b := range all {
		require.Equal(t, strings.Repeat(string([]byte{byte(i / 2)}), len(b)), string(b))
	}
	v, w := a.Values(3), a.Values(3)
	v = append(v, data.Int8(1))
	require.True(t, w[0].IsNull())
	require.Len(t, v, 4)
}

func FuzzDecimal(f *testing.F) {
	f.Add("12.30", 2)
	f.Add("-99999999999999999999.5", 1)
	f.Fuzz(func(t *testing.T, s string, scale int) {
		if scale < -50 || scale > 50 {
			return
		}
		var a Arena
		b, err := DecimalBytes(&a, []byte(s), scale)
		if err != nil {
			return
		}
		want, ok := new(big.Rat).SetString(s)
		if !ok {
			return
		}
		pow := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(scale, -scale))), nil)
		got := new(big.Rat).SetFrac(fromTwos(b), big.NewInt(1))
		if scale >= 0 {
			got.Quo(got, new(big.Rat).SetInt(pow))
		} else {
			got.Mul(got, new(big.Rat).SetInt(pow))
		}
		require.Zero(t, got.Cmp(want), "%q at scale %d is %s", s, scale, got)
	})
}
