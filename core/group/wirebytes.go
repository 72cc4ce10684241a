package group

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errShort is a value that ends before its fields do, or claims more than it holds.
var errShort = errors.New("value ends early")

// byteReader reads the fields of stored values and of the embedded consumer protocol. Nothing is allocated
// for a length that the bytes left cannot hold. After an error every read gives zero.
type byteReader struct {
	b   []byte
	err error
}

func (r *byteReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

func (r *byteReader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail(errShort)
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *byteReader) int8() int8 {
	if b := r.take(1); b != nil {
		return int8(b[0])
	}
	return 0
}

func (r *byteReader) int16() int16 {
	if b := r.take(2); b != nil {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (r *byteReader) int32() int32 {
	if b := r.take(4); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *byteReader) int64() int64 {
	if b := r.take(8); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *byteReader) uuid() (id [16]byte) {
	copy(id[:], r.take(16))
	return id
}

func (r *byteReader) uvarint() uint32 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 5 || v > 1<<32-1 {
		r.fail(errShort)
		return 0
	}
	r.b = r.b[n:]
	return uint32(v)
}

// array is the length of an array whose elements take at least least bytes each; -1 for null.
func (r *byteReader) array(n int64, least int) int {
	if n < -1 || n > int64(len(r.b)/least) {
		r.fail(errShort)
		return 0
	}
	return int(n)
}

// compactArray is the length of a compact array, array that of a classic one.
func (r *byteReader) compactArray(least int) int { return r.array(int64(r.uvarint())-1, least) }
func (r *byteReader) plainArray(least int) int   { return r.array(int64(r.int32()), least) }

// compactString is a compact nullable string.
func (r *byteReader) compactString() *string {
	n := int64(r.uvarint()) - 1
	if n < 0 || r.err != nil {
		return nil
	}
	if n > int64(len(r.b)) {
		r.fail(errShort)
		return nil
	}
	s := string(r.take(int(n)))
	return &s
}

// compactText is a compact string that may not be null.
func (r *byteReader) compactText() string {
	s := r.compactString()
	if s == nil {
		if r.err == nil {
			r.fail(errors.New("null where a string must be"))
		}
		return ""
	}
	return *s
}

func (r *byteReader) plainString() *string {
	n := r.int16()
	if n < 0 || r.err != nil {
		return nil
	}
	b := r.take(int(n))
	if r.err != nil {
		return nil
	}
	s := string(b)
	return &s
}

func (r *byteReader) plainText() string {
	s := r.plainString()
	if s == nil {
		if r.err == nil {
			r.fail(errors.New("null where a string must be"))
		}
		return ""
	}
	return *s
}

// plainBytes is nullable bytes; the slice is the input's.
func (r *byteReader) plainBytes() []byte {
	n := r.int32()
	if n < 0 || r.err != nil {
		return nil
	}
	return r.take(int(n))
}

// compactBytes is compact bytes; the slice is the input's.
func (r *byteReader) compactBytes() []byte {
	n := int64(r.uvarint()) - 1
	if n < 0 || r.err != nil {
		return nil
	}
	if n > int64(len(r.b)) {
		r.fail(errShort)
		return nil
	}
	return r.take(int(n))
}

// tags calls known for each tagged field with its own reader; it says whether it knows the tag.
func (r *byteReader) tags(known func(tag uint32, v *byteReader) error) {
	n := r.uvarint()
	for range n {
		if r.err != nil {
			return
		}
		tag := r.uvarint()
		size := r.uvarint()
		if int64(size) > int64(len(r.b)) {
			r.fail(errShort)
			return
		}
		v := byteReader{b: r.take(int(size))}
		if known == nil {
			continue
		}
		if err := known(tag, &v); err != nil {
			r.fail(err)
		} else if v.err != nil {
			r.fail(fmt.Errorf("tag %d: %w", tag, v.err))
		}
	}
}

func appendUvarint(dst []byte, v int) []byte { return binary.AppendUvarint(dst, uint64(v)) }

func appendCompact(dst []byte, s string) []byte {
	return append(appendUvarint(dst, len(s)+1), s...)
}

func appendCompactNullable(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, 0)
	}
	return appendCompact(dst, *s)
}

func appendInt32(dst []byte, v int32) []byte { return binary.BigEndian.AppendUint32(dst, uint32(v)) }
func appendInt64(dst []byte, v int64) []byte { return binary.BigEndian.AppendUint64(dst, uint64(v)) }
