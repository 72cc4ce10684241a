package cdc

import (
	"bytes"
	"fmt"
	"math"
	"math/big"
	"strconv"

	"github.com/moldau-io/moldau/plugins/data"
)

// DecimalMode is decimal.handling.mode.
type DecimalMode string

// The ways to write decimals.
const (
	DecimalPrecise DecimalMode = "precise"
	DecimalDouble  DecimalMode = "double"
	DecimalString  DecimalMode = "string"
)

// MaxDecimalDigits bounds the digits of one number; PostgreSQL's own limit is 131072 before and 16383 behind the point.
const MaxDecimalDigits = 131072 + 16383 + 2

// Schema starts the schema of a decimal column. precision 0 leaves the parameter out.
func (m DecimalMode) Schema(precision, scale int) *data.Builder {
	switch m {
	case DecimalDouble:
		return data.New(data.TypeFloat64)
	case DecimalString:
		return data.New(data.TypeString)
	}
	b := data.New(data.TypeBytes).Name(data.LogicalDecimal).Version(1).Param("scale", strconv.Itoa(scale))
	if precision > 0 {
		b.Param("connect.decimal.precision", strconv.Itoa(precision))
	}
	return b
}

// VariableSchema starts the schema of a decimal column without a fixed scale.
func (m DecimalMode) VariableSchema() *data.Builder {
	if m == DecimalPrecise {
		return VariableScaleDecimal()
	}
	return m.Schema(0, 0)
}

// Value encodes a plain decimal text ("-12.30", no exponent) of a column with a fixed scale. Not-a-number and infinities become null
// in precise mode, which cannot hold them.
func (m DecimalMode) Value(a *Arena, text []byte, scale int) (data.Value, error) {
	if special(text) {
		return m.special(text), nil
	}
	switch m {
	case DecimalDouble:
		return decimalDouble(text)
	case DecimalString:
		return data.StringBytes(rescaleText(a, text, scale)), nil
	}
	b, err := DecimalBytes(a, text, scale)
	if err != nil {
		return data.Null, err
	}
	return data.Bytes(b), nil
}

// VariableValue encodes a decimal text of a column without a fixed scale. schema is the built VariableSchema.
func (m DecimalMode) VariableValue(a *Arena, schema *data.Schema, text []byte) (data.Value, error) {
	if special(text) {
		return m.special(text), nil
	}
	switch m {
	case DecimalDouble:
		return decimalDouble(text)
	case DecimalString:
		return a.String(text), nil
	}
	scale := 0
	if i := bytes.IndexByte(text, '.'); i >= 0 { // zeros at the end have no place in a scale of one's own
		for text[len(text)-1] == '0' {
			text = text[:len(text)-1]
		}
		if scale = len(text) - i - 1; scale == 0 {
			text = text[:i]
		}
	}
	b, err := DecimalBytes(a, text, scale)
	if err != nil {
		return data.Null, err
	}
	v := a.Values(2)
	v[0], v[1] = data.Int32(int32(scale)), data.Bytes(b)
	return a.Struct(schema, v), nil
}

func decimalDouble(text []byte) (data.Value, error) {
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil && !math.IsInf(f, 0) {
		return data.Null, fmt.Errorf("decimal %.40q is malformed", text)
	}
	return data.Float64(f), nil
}

func special(text []byte) bool {
	return len(text) > 0 && (text[0] == 'N' || text[0] == 'I' || text[0] == 'n' || text[0] == 'i' ||
		len(text) > 1 && text[0] == '-' && (text[1] == 'I' || text[1] == 'i'))
}

func (m DecimalMode) special(text []byte) data.Value {
	kind := 0
	switch text[0] {
	case 'I', 'i':
		kind = 1
	case '-':
		kind = -1
	}
	switch m {
	case DecimalDouble:
		if kind == 0 {
			return data.Float64(math.NaN())
		}
		return data.Float64(math.Inf(kind))
	case DecimalString:
		switch kind {
		case 0:
			return data.String("NAN")
		case 1:
			return data.String("POSITIVE_INFINITY")
		}
		return data.String("NEGATIVE_INFINITY")
	}
	return data.Null
}

// rescaleText gives text exactly scale digits behind the point; digits that do not fit are kept.
func rescaleText(a *Arena, text []byte, scale int) []byte {
	have := 0
	dot := bytes.IndexByte(text, '.')
	if dot >= 0 {
		have = len(text) - dot - 1
	}
	if have >= scale {
		return a.Copy(text)
	}
	n := len(text) + scale - have
	if dot < 0 {
		n++
	}
	out := a.Alloc(n)
	i := copy(out, text)
	if dot < 0 {
		out[i] = '.'
		i++
	}
	for ; i < n; i++ {
		out[i] = '0'
	}
	return out
}

// DecimalBytes encodes a plain decimal text as an unscaled big-endian two's complement integer of the given scale: what
// org.apache.kafka.connect.data.Decimal holds. A negative scale drops zeros before the point. Digits behind the scale must be zeros.
func DecimalBytes(a *Arena, text []byte, scale int) ([]byte, error) {
	bad := func() ([]byte, error) { return nil, fmt.Errorf("decimal %.40q is malformed", text) }
	if len(text) > MaxDecimalDigits {
		return bad()
	}
	neg := false
	t := text
	if len(t) > 0 && (t[0] == '-' || t[0] == '+') {
		neg = t[0] == '-'
		t = t[1:]
	}
	if len(t) == 0 {
		return bad()
	}
	intDigits := len(t)
	if i := bytes.IndexByte(t, '.'); i >= 0 {
		intDigits = i
	}
	frac := len(t) - intDigits - 1 // digits behind the point, -1 without one
	if frac < 0 {
		frac = 0
	}
	if total := intDigits + max(frac, scale); total <= 18 && scale >= 0 {
		var n int64
		for i, c := range t {
			if i == intDigits {
				continue
			}
			if c < '0' || c > '9' {
				return bad()
			}
			n = n*10 + int64(c-'0')
		}
		for ; frac < scale; frac++ {
			n *= 10
		}
		for ; frac > scale; frac-- {
			if n%10 != 0 {
				return nil, fmt.Errorf("decimal %.40q has more than %d digits behind the point", text, scale)
			}
			n /= 10
		}
		if neg {
			n = -n
		}
		return Int64Bytes(a, n), nil
	}
	digits := make([]byte, 0, len(t)+max(scale, 0))
	for i, c := range t {
		if i == intDigits {
			continue
		}
		if c < '0' || c > '9' {
			return bad()
		}
		digits = append(digits, c)
	}
	for ; frac < scale; frac++ {
		digits = append(digits, '0')
	}
	for ; frac > scale && len(digits) > 0; frac-- {
		if digits[len(digits)-1] != '0' {
			return nil, fmt.Errorf("decimal %.40q has more than %d digits behind the point", text, scale)
		}
		digits = digits[:len(digits)-1]
	}
	if len(digits) == 0 {
		return Int64Bytes(a, 0), nil
	}
	n, ok := new(big.Int).SetString(string(digits), 10)
	if !ok {
		return bad()
	}
	if neg {
		n.Neg(n)
	}
	return BigIntBytes(n), nil
}

// Int64Bytes is the shortest two's complement form of n, big-endian: the unscaled value of a short decimal.
func Int64Bytes(a *Arena, n int64) []byte {
	size := 1
	for m := n; m > 127 || m < -128; m >>= 8 {
		size++
	}
	b := a.Alloc(size)
	for i := size - 1; i >= 0; i-- {
		b[i] = byte(n)
		n >>= 8
	}
	return b
}

// BigIntBytes is the shortest two's complement form of n, big-endian.
func BigIntBytes(n *big.Int) []byte {
	switch n.Sign() {
	case 0:
		return []byte{0}
	case 1:
		b := n.Bytes()
		if b[0]&0x80 != 0 {
			b = append([]byte{0}, b...)
		}
		return b
	}
	size := n.BitLen()/8 + 1
	m := new(big.Int).Lsh(big.NewInt(1), uint(size*8))
	b := m.Add(m, n).Bytes()
	if len(b) > 1 && b[0] == 0xff && b[1]&0x80 != 0 {
		b = b[1:]
	}
	return b
}
