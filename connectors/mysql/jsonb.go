package mysql

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// Types of MySQL's binary JSON.
const (
	jsonSmallObject = iota
	jsonLargeObject
	jsonSmallArray
	jsonLargeArray
	jsonLiteral
	jsonInt16
	jsonUint16
	jsonInt32
	jsonUint32
	jsonInt64
	jsonUint64
	jsonDouble
	jsonString
	jsonOpaque = 15
)

// maxJSONDepth is MySQL's own limit and one more for a scalar inside.
const maxJSONDepth = 101

var errJSON = errors.New("binary JSON is malformed")

// appendJSON appends the text of a binary JSON document as MySQL prints it: a space after commas and colons, keys in stored order.
func appendJSON(dst, doc []byte) ([]byte, error) {
	if len(doc) == 0 { // what INSERT IGNORE of NULL leaves behind
		return append(dst, "null"...), nil
	}
	// Values may share bytes in a hostile document: the output is bounded by what an honest one can need.
	limit := len(dst) + 64 + 16*len(doc)
	return appendJSONValue(dst, doc[0], doc[1:], 0, limit)
}

func appendJSONValue(dst []byte, typ byte, b []byte, depth, limit int) ([]byte, error) {
	if depth > maxJSONDepth || len(dst) > limit {
		return dst, errJSON
	}
	need := func(n int) bool { return len(b) >= n }
	switch typ {
	case jsonSmallObject, jsonLargeObject, jsonSmallArray, jsonLargeArray:
		return appendJSONContainer(dst, b, typ <= jsonLargeObject, typ == jsonLargeObject || typ == jsonLargeArray, depth, limit)
	case jsonLiteral:
		if !need(1) || b[0] > 2 {
			return dst, errJSON
		}
		return append(dst, [...]string{"null", "true", "false"}[b[0]]...), nil
	case jsonInt16:
		if !need(2) {
			return dst, errJSON
		}
		return strconv.AppendInt(dst, int64(int16(littleEndian(b[:2]))), 10), nil
	case jsonUint16:
		if !need(2) {
			return dst, errJSON
		}
		return strconv.AppendUint(dst, littleEndian(b[:2]), 10), nil
	case jsonInt32:
		if !need(4) {
			return dst, errJSON
		}
		return strconv.AppendInt(dst, int64(int32(littleEndian(b[:4]))), 10), nil
	case jsonUint32:
		if !need(4) {
			return dst, errJSON
		}
		return strconv.AppendUint(dst, littleEndian(b[:4]), 10), nil
	case jsonInt64:
		if !need(8) {
			return dst, errJSON
		}
		return strconv.AppendInt(dst, int64(littleEndian(b[:8])), 10), nil
	case jsonUint64:
		if !need(8) {
			return dst, errJSON
		}
		return strconv.AppendUint(dst, littleEndian(b[:8]), 10), nil
	case jsonDouble:
		if !need(8) {
			return dst, errJSON
		}
		f := math.Float64frombits(littleEndian(b[:8]))
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return dst, errJSON
		}
		return appendDouble(dst, f), nil
	case jsonString:
		s, ok := jsonBytes(b)
		if !ok {
			return dst, errJSON
		}
		return appendJSONString(dst, s), nil
	case jsonOpaque:
		if !need(1) {
			return dst, errJSON
		}
		s, ok := jsonBytes(b[1:])
		if !ok {
			return dst, errJSON
		}
		return appendJSONOpaque(dst, b[0], s)
	}
	return dst, fmt.Errorf("%w: type %d", errJSON, typ)
}

// jsonBytes reads a length of up to five bytes and that many bytes.
func jsonBytes(b []byte) ([]byte, bool) {
	n := uint64(0)
	for i := 0; i < 5 && i < len(b); i++ {
		n |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			b = b[i+1:]
			if n > uint64(len(b)) {
				return nil, false
			}
			return b[:n], true
		}
	}
	return nil, false
}

func appendJSONContainer(dst, b []byte, object, large bool, depth, limit int) ([]byte, error) {
	w := 2
	if large {
		w = 4
	}
	if len(b) < 2*w {
		return dst, errJSON
	}
	count, size := int(littleEndian(b[:w])), int(littleEndian(b[w:2*w]))
	if size > len(b) {
		return dst, errJSON
	}
	b = b[:size]
	keyEntry, valueEntry := 0, 1+w
	if object {
		keyEntry = w + 2
	}
	values := 2*w + count*keyEntry
	if values+count*valueEntry > size {
		return dst, errJSON
	}
	open, end := byte('['), byte(']')
	if object {
		open, end = '{', '}'
	}
	dst = append(dst, open)
	for i := range count {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if object {
			e := b[2*w+i*keyEntry:]
			at, n := int(littleEndian(e[:w])), int(littleEndian(e[w:w+2]))
			if at+n > size {
				return dst, errJSON
			}
			dst = append(appendJSONString(dst, b[at:at+n]), ": "...)
		}
		e := b[values+i*valueEntry:]
		typ, in := e[0], e[1:valueEntry]
		switch {
		case typ == jsonLiteral, typ == jsonInt16, typ == jsonUint16, large && (typ == jsonInt32 || typ == jsonUint32):
		default:
			at := int(littleEndian(in))
			if at < values || at > size {
				return dst, errJSON
			}
			in = b[at:]
		}
		var err error
		if dst, err = appendJSONValue(dst, typ, in, depth+1, limit); err != nil {
			return dst, err
		}
	}
	return append(dst, end), nil
}

const hexDigits = "0123456789abcdef"

func appendJSONString(dst, s []byte) []byte {
	dst = append(dst, '"')
	for _, c := range s {
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			if c < 0x20 {
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
				continue
			}
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// appendDouble prints a double of a JSON document: the shortest digits, plain up to 15 digits before and 14 zeros behind the point, and
// always recognisable as a double.
func appendDouble(dst []byte, f float64) []byte {
	at := len(dst)
	var tmp [32]byte
	e := strconv.AppendFloat(tmp[:0], f, 'e', -1, 64)
	i := len(e) - 1
	for e[i] != 'e' {
		i--
	}
	exp, _ := strconv.Atoi(string(e[i+1:]))
	if f != 0 && (exp < -15 || exp > 14) {
		dst = append(append(dst, e[:i]...), 'e')
		return strconv.AppendInt(dst, int64(exp), 10)
	}
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	for _, c := range dst[at:] {
		if c == '.' {
			return dst
		}
	}
	return append(dst, '.', '0')
}

func appendJSONOpaque(dst []byte, typ byte, b []byte) ([]byte, error) {
	switch typ {
	case mysql.MYSQL_TYPE_NEWDECIMAL:
		if len(b) < 2 || b[0] == 0 || b[0] > 65 || b[1] > 38 || b[1] > b[0] || len(b)-2 < decimalSize(int(b[0]), int(b[1])) {
			return dst, errJSON
		}
		return appendDecimal(dst, b[2:], int(b[0]), int(b[1])), nil
	case mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_DATETIME, mysql.MYSQL_TYPE_TIMESTAMP, mysql.MYSQL_TYPE_TIME:
		if len(b) != 8 {
			return dst, errJSON
		}
		v := int64(littleEndian(b))
		neg := v < 0
		if neg {
			v = -v
		}
		frac, hms := v&0xffffff, v>>24
		dst = append(dst, '"')
		if typ == mysql.MYSQL_TYPE_TIME {
			if neg {
				dst = append(dst, '-')
			}
			dst = appendPadded(dst, hms>>12&0x3ff, 2)
		} else {
			ymd := hms >> 17
			ym := ymd >> 5
			dst = append(appendPadded(dst, ym/13, 4), '-')
			dst = append(appendPadded(dst, ym%13, 2), '-')
			dst = appendPadded(dst, ymd&31, 2)
			if typ == mysql.MYSQL_TYPE_DATE {
				return append(dst, '"'), nil
			}
			dst = appendPadded(append(dst, ' '), hms>>12&31, 2)
		}
		dst = appendPadded(append(dst, ':'), hms>>6&63, 2)
		dst = appendPadded(append(dst, ':'), hms&63, 2)
		dst = appendPadded(append(dst, '.'), frac, 6)
		return append(dst, '"'), nil
	}
	dst = append(dst, `"base64:type`...)
	dst = append(strconv.AppendInt(dst, int64(typ), 10), ':')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"'), nil
}

// appendPadded appends n >= 0 with at least width digits.
func appendPadded(dst []byte, n int64, width int) []byte {
	for p := int64(10); width > 1; width-- {
		if n < p {
			dst = append(dst, "000000"[:width-1]...)
			break
		}
		p *= 10
	}
	return strconv.AppendInt(dst, n, 10)
}
