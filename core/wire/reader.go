package wire

import (
	"encoding/binary"
	"errors"
	"math"
)

// ErrTruncated says that a message ends before its last field.
var ErrTruncated = errors.New("message is shorter than its fields")

// ErrBadLength says that a length inside a message is negative where it must not be, or larger than what is left.
var ErrBadLength = errors.New("message holds a length that is larger than the message")

// reader reads big-endian protocol primitives from a slice. After the first error all reads return zero.
type reader struct {
	src []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.src = nil
}

func (r *reader) int8() int8 {
	if len(r.src) < 1 {
		r.fail(ErrTruncated)
		return 0
	}
	v := int8(r.src[0])
	r.src = r.src[1:]
	return v
}

func (r *reader) int16() int16 {
	if len(r.src) < 2 {
		r.fail(ErrTruncated)
		return 0
	}
	v := int16(binary.BigEndian.Uint16(r.src))
	r.src = r.src[2:]
	return v
}

func (r *reader) int32() int32 {
	if len(r.src) < 4 {
		r.fail(ErrTruncated)
		return 0
	}
	v := int32(binary.BigEndian.Uint32(r.src))
	r.src = r.src[4:]
	return v
}

func (r *reader) int64() int64 {
	if len(r.src) < 8 {
		r.fail(ErrTruncated)
		return 0
	}
	v := int64(binary.BigEndian.Uint64(r.src))
	r.src = r.src[8:]
	return v
}

func (r *reader) uuid() (id [16]byte) {
	copy(id[:], r.span(16))
	return id
}

// uvarint reads an unsigned varint of at most five bytes.
func (r *reader) uvarint() uint32 {
	var v uint32
	for i := 0; i < 5; i++ {
		if i >= len(r.src) {
			r.fail(ErrTruncated)
			return 0
		}
		c := r.src[i]
		if i == 4 && c > 0x0f {
			r.fail(ErrBadLength)
			return 0
		}
		v |= uint32(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.src = r.src[i+1:]
			return v
		}
	}
	r.fail(ErrBadLength)
	return 0
}

// span returns the next n bytes as a sub-slice.
func (r *reader) span(n int) []byte {
	if n < 0 || n > len(r.src) {
		r.fail(ErrBadLength)
		return nil
	}
	v := r.src[:n:n]
	r.src = r.src[n:]
	return v
}

// ErrLongString says that a string is longer than strings of the protocol can be.
var ErrLongString = errors.New("message holds a string of more than 32767 bytes")

// maxString is what two bytes say of a string's length. The compact form could say more, which Kafka takes in neither: what is made of strings,
// the keys of internal topics among it, has two bytes for them.
const maxString = math.MaxInt16

// stringLen reads the length of a string (two bytes) or its compact form; -1 is null.
func (r *reader) stringLen(flexible bool) int {
	if !flexible {
		return int(r.int16())
	}
	n := int(r.uvarint()) - 1
	if n > maxString {
		r.fail(ErrLongString)
	}
	return n
}

// str reads a string as a sub-slice; a null string is nil.
func (r *reader) str(flexible bool) []byte {
	n := r.stringLen(flexible)
	if n == -1 {
		return nil
	}
	return r.span(n)
}

// bytes reads a byte array as a sub-slice; null is nil.
func (r *reader) bytes(flexible bool) []byte {
	n := r.bytesLen(flexible)
	if n == -1 {
		return nil
	}
	return r.span(n)
}

// bytesLen reads the length of a byte array; null is -1.
func (r *reader) bytesLen(flexible bool) int {
	if flexible {
		return int(r.uvarint()) - 1
	}
	return int(r.int32())
}

// array reads an array length and refuses one whose elements, of at least size bytes each, do not
// fit in what is left. Null is -1.
func (r *reader) array(flexible bool, size int) int {
	var n int
	if flexible {
		n = int(r.uvarint()) - 1
	} else {
		n = int(r.int32())
	}
	if n < -1 || n*size > len(r.src) {
		r.fail(ErrBadLength)
		return 0
	}
	return n
}

// tags skips a section of tagged fields; fn, when not nil, sees each one.
func (r *reader) tags(flexible bool, fn func(tag uint32, value []byte)) {
	if !flexible || r.err != nil {
		return
	}
	n := int(r.uvarint())
	if n*2 > len(r.src) {
		r.fail(ErrBadLength)
		return
	}
	for ; n > 0 && r.err == nil; n-- {
		tag := r.uvarint()
		value := r.span(int(r.uvarint()))
		if fn != nil && r.err == nil {
			fn(tag, value)
		}
	}
}

func appendUvarint(dst []byte, v uint32) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

func appendInt16(dst []byte, v int16) []byte { return binary.BigEndian.AppendUint16(dst, uint16(v)) }
func appendInt32(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) }
func appendInt64(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }

func appendArrayLen(dst []byte, flexible bool, n int) []byte {
	if flexible {
		return appendUvarint(dst, uint32(n)+1)
	}
	return appendInt32(dst, int32(n))
}

func appendString(dst []byte, flexible bool, s string) []byte {
	if flexible {
		dst = appendUvarint(dst, uint32(len(s))+1)
	} else {
		dst = appendInt16(dst, int16(len(s)))
	}
	return append(dst, s...)
}

func appendNullableString(dst []byte, flexible bool, s *string) []byte {
	if s != nil {
		return appendString(dst, flexible, *s)
	}
	if flexible {
		return append(dst, 0)
	}
	return append(dst, 0xff, 0xff)
}
