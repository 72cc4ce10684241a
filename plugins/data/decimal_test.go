package data

import (
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDecimalsAreRenderedAsBigDecimalDoes(t *testing.T) {
	for _, c := range []struct {
		unscaled string
		scale    int
		want     string
		plain    string
	}{
		{"0", 0, "0", "0"}, {"0", 2, "0.00", "0.00"}, {"12345", 2, "123.45", "123.45"}, {"-12345", 2, "-123.45", "-123.45"},
		{"5", 3, "0.005", "0.005"}, {"1", 7, "1E-7", "0.0000001"}, {"12", 8, "1.2E-7", "0.00000012"}, {"1", -3, "1E+3", "1000"},
		{"-15", -2, "-1.5E+3", "-1500"}, {"123456789012345678901234567890", 10, "12345678901234567890.1234567890", "12345678901234567890.1234567890"},
		{"0", -2, "0E+2", "0"}, {"0", 8, "0E-8", "0.00000000"}, {"-9223372036854775808", 0, "-9223372036854775808", "-9223372036854775808"},
	} {
		n, _ := new(big.Int).SetString(c.unscaled, 10)
		b := AppendUnscaled(nil, n)
		require.Zero(t, n.Cmp(Unscaled(b)))
		require.Equal(t, c.want, string(AppendDecimal(nil, b, c.scale)))
		require.Equal(t, c.plain, string(AppendDecimalPlain(nil, b, c.scale)))
		back, scale, err := ParseDecimal(c.want)
		require.NoError(t, err)
		require.Equal(t, c.scale, scale)
		require.Zero(t, n.Cmp(back))
	}
}

func TestUnscaledBytesAreTheShortest(t *testing.T) {
	for n, want := range map[int64][]byte{0: {0}, 127: {127}, 128: {0, 128}, -1: {255}, -128: {128}, -129: {255, 127}, 255: {0, 255}, 256: {1, 0}, -256: {255, 0}, -32768: {128, 0}} {
		require.Equal(t, want, AppendUnscaled(nil, big.NewInt(n)), n)
	}
}

func TestTextThatIsNoDecimalIsRefused(t *testing.T) {
	for _, s := range []string{"", "-", ".", "1e", "1e+-5", "1e99999999", "0x10", "1_0", " 1", "1 ", "--1", "1.2.3"} {
		_, _, err := ParseDecimal(s)
		require.Error(t, err, s)
	}
}
