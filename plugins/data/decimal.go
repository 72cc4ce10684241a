package data

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// Decimals travel as Connect's logical type Decimal does: the unscaled value as big-endian two's complement bytes, the scale in the
// schema. The functions here turn them into text and back.

// Unscaled returns the number that b holds as big-endian two's complement. An empty slice is zero.
func Unscaled(b []byte) *big.Int {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(b))*8))
	}
	return n
}

// AppendUnscaled appends n as the shortest big-endian two's complement, at least one byte, as Java's BigInteger.toByteArray gives.
func AppendUnscaled(dst []byte, n *big.Int) []byte {
	switch n.Sign() {
	case 0:
		return append(dst, 0)
	case 1:
		if n.BitLen()%8 == 0 {
			dst = append(dst, 0)
		}
		return append(dst, n.Bytes()...)
	default:
		// The two's complement of a negative n in k bytes is 2^(8k)+n.
		k := new(big.Int).Not(n).BitLen()/8 + 1
		c := new(big.Int).Lsh(big.NewInt(1), uint(k)*8)
		return append(dst, c.Add(c, n).Bytes()...)
	}
}

// AppendDecimal appends the decimal as Java's BigDecimal.toString renders it: plain, but with an exponent when the scale is
// negative or the number is smaller than 1E-6.
func AppendDecimal(dst, unscaled []byte, scale int) []byte {
	return appendDecimal(dst, unscaled, scale, false)
}

// AppendDecimalPlain appends the decimal without an exponent.
func AppendDecimalPlain(dst, unscaled []byte, scale int) []byte {
	return appendDecimal(dst, unscaled, scale, true)
}

func appendDecimal(dst, unscaled []byte, scale int, plain bool) []byte {
	var buf [32]byte
	digits := buf[:0]
	if len(unscaled) <= 8 {
		var v int64
		if len(unscaled) > 0 {
			v = int64(int8(unscaled[0]))
			for _, c := range unscaled[1:] {
				v = v<<8 | int64(c)
			}
		}
		digits = strconv.AppendInt(digits, v, 10)
	} else {
		digits = Unscaled(unscaled).Append(digits, 10)
	}
	if digits[0] == '-' {
		dst = append(dst, '-')
		digits = digits[1:]
	}
	adjusted := len(digits) - 1 - scale
	switch {
	case scale == 0:
		return append(dst, digits...)
	case plain && scale < 0:
		dst = append(dst, digits...)
		if digits[0] != '0' {
			for range -scale {
				dst = append(dst, '0')
			}
		}
		return dst
	case scale > 0 && (plain || adjusted >= -6):
		if point := len(digits) - scale; point > 0 {
			dst = append(dst, digits[:point]...)
			dst = append(dst, '.')
			return append(dst, digits[point:]...)
		}
		dst = append(dst, '0', '.')
		for range scale - len(digits) {
			dst = append(dst, '0')
		}
		return append(dst, digits...)
	}
	dst = append(dst, digits[0])
	if len(digits) > 1 {
		dst = append(dst, '.')
		dst = append(dst, digits[1:]...)
	}
	if adjusted != 0 {
		dst = append(dst, 'E')
		if adjusted > 0 {
			dst = append(dst, '+')
		}
		dst = strconv.AppendInt(dst, int64(adjusted), 10)
	}
	return dst
}

// ParseDecimal reads decimal text (with or without fraction and exponent) as Java's BigDecimal does and returns the unscaled value
// and the scale. The exponent is bounded to six digits.
func ParseDecimal(text string) (unscaled *big.Int, scale int, err error) {
	bad := func() (*big.Int, int, error) {
		if len(text) > 64 {
			text = text[:64] + "..."
		}
		return nil, 0, fmt.Errorf("%q is not a decimal number", text)
	}
	mantissa, exp := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa = text[:i]
		e := text[i+1:]
		if len(e) > 7 || strings.HasPrefix(e, "+-") {
			return bad()
		}
		if exp, err = strconv.Atoi(e); err != nil {
			return bad()
		}
	}
	digits := mantissa
	if i := strings.IndexByte(mantissa, '.'); i >= 0 {
		digits = mantissa[:i] + mantissa[i+1:]
		scale = len(mantissa) - i - 1
	}
	body := digits
	if body != "" && (body[0] == '-' || body[0] == '+') {
		body = body[1:]
	}
	if body == "" || len(body) > 100_000 {
		return bad()
	}
	for i := range len(body) {
		if body[i] < '0' || body[i] > '9' {
			return bad()
		}
	}
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		return bad()
	}
	return n, scale - exp, nil
}

// maxRescale bounds the digits that a change of scale may add: what comes from outside names the exponent.
const maxRescale = 100_000

// Rescale returns n, which has scale from, at scale to; ok is false when digits would be lost.
func Rescale(n *big.Int, from, to int) (r *big.Int, ok bool) {
	if from == to || n.Sign() == 0 {
		return n, true
	}
	if to-from > maxRescale || from-to > maxRescale {
		return nil, false
	}
	if to > from {
		f := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(to-from)), nil)
		return f.Mul(f, n), true
	}
	f := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(from-to)), nil)
	q, rem := new(big.Int).QuoRem(n, f, new(big.Int))
	return q, rem.Sign() == 0
}
