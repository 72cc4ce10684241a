package parquetfile

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/parquet-go/parquet-go/format"
)

// Order says how the values of a column compare.
type Order uint8

// The orders.
const (
	Signed  Order = iota // integers and booleans
	Float                // FLOAT and DOUBLE
	Bytes                // byte arrays, byte by byte
	Decimal              // byte arrays that are two's complement numbers, big end first
)

// bounds are the least and the greatest of some values.
type bounds struct {
	any, broken    bool // broken: there is no order among them (NaN)
	lo, hi         uint64
	loBytes, hiRaw []byte // byte arrays; they alias the values
}

// fixed takes a number in.
func (b *bounds) fixed(o Order, t format.Type, v uint64) {
	if o == Float {
		f := toFloat(t, v)
		if f != f {
			b.broken = true
			return
		}
		if !b.any {
			b.any, b.lo, b.hi = true, v, v
			return
		}
		if f < toFloat(t, b.lo) {
			b.lo = v
		}
		if f > toFloat(t, b.hi) {
			b.hi = v
		}
		return
	}
	if !b.any {
		b.any, b.lo, b.hi = true, v, v
		return
	}
	if toInt(t, v) < toInt(t, b.lo) {
		b.lo = v
	}
	if toInt(t, v) > toInt(t, b.hi) {
		b.hi = v
	}
}

// bytes takes a byte array in.
func (b *bounds) bytes(o Order, v []byte) {
	if !b.any {
		b.any, b.loBytes, b.hiRaw = true, v, v
		return
	}
	compare := bytes.Compare
	if o == Decimal {
		compare = compareDecimals
	}
	if compare(v, b.hiRaw) > 0 {
		b.hiRaw = v
	} else if compare(v, b.loBytes) < 0 {
		b.loBytes = v
	}
}

func toInt(t format.Type, v uint64) int64 {
	if t == format.Int32 {
		return int64(int32(v))
	}
	return int64(v)
}

func toFloat(t format.Type, v uint64) float64 {
	if t == format.Float {
		return float64(math.Float32frombits(uint32(v)))
	}
	return math.Float64frombits(v)
}

// compareDecimals compares two's complement numbers of any length; an empty one is zero.
func compareDecimals(a, b []byte) int {
	na, nb := len(a) > 0 && a[0]&0x80 != 0, len(b) > 0 && b[0]&0x80 != 0
	switch {
	case na && !nb:
		return -1
	case nb && !na:
		return 1
	}
	var fill byte
	if na {
		fill = 0xff
	}
	for len(a) > len(b) {
		if a[0] != fill {
			return sign(!na)
		}
		a = a[1:]
	}
	for len(b) > len(a) {
		if b[0] != fill {
			return sign(na)
		}
		b = b[1:]
	}
	return bytes.Compare(a, b) // of one sign and length the bytes order them
}

func sign(positive bool) int {
	if positive {
		return 1
	}
	return -1
}

// plain returns the bounds as the format stores them, or nil when there are none. Zeros of floats stand for both zeros.
func (b *bounds) plain(t format.Type, o Order) (lo, hi []byte) {
	switch {
	case !b.any || b.broken:
		return nil, nil
	case t == format.ByteArray:
		return append([]byte{}, b.loBytes...), append([]byte{}, b.hiRaw...)
	}
	l, h := b.lo, b.hi
	if o == Float {
		signBit := uint64(1) << 63
		if t == format.Float {
			signBit = 1 << 31
		}
		if toFloat(t, l) == 0 {
			l = signBit
		}
		if toFloat(t, h) == 0 {
			h = 0
		}
	}
	return appendFixed(nil, t, l), appendFixed(nil, t, h)
}

func appendFixed(dst []byte, t format.Type, v uint64) []byte {
	switch width(t) {
	case 1:
		return append(dst, byte(v))
	case 4:
		return binary.LittleEndian.AppendUint32(dst, uint32(v))
	}
	return binary.LittleEndian.AppendUint64(dst, v)
}

// merge takes the bounds of a page, in plain form, into those of a chunk.
func merge(t format.Type, o Order, lo, hi, pageLo, pageHi []byte) (l, h []byte) {
	if lo == nil {
		return pageLo, pageHi
	}
	if compare(t, o, pageLo, lo) < 0 {
		lo = pageLo
	}
	if compare(t, o, pageHi, hi) > 0 {
		hi = pageHi
	}
	return lo, hi
}

// compare compares two values in plain form.
func compare(t format.Type, o Order, a, b []byte) int {
	switch {
	case o == Decimal:
		return compareDecimals(a, b)
	case t == format.ByteArray:
		return bytes.Compare(a, b)
	}
	x, y := loadFixed(a), loadFixed(b)
	var less, more bool
	if o == Float {
		less, more = toFloat(t, x) < toFloat(t, y), toFloat(t, x) > toFloat(t, y)
	} else {
		less, more = toInt(t, x) < toInt(t, y), toInt(t, x) > toInt(t, y)
	}
	switch {
	case less:
		return -1
	case more:
		return 1
	}
	return 0
}

func loadFixed(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}
