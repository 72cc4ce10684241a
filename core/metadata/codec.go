package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The encoding of a batch: magic, format version, number of records, then for each record its type, its
// version, the length of its body, its body. Numbers are varints (zigzag for signed ones), strings
// and lists have a length before them. There is no checksum: the log and the snapshot that carry
// batches have one. A reader refuses what it does not know: metadata that is only half understood is
// worse than a node that does not start.
const (
	batchMagic   = 'M'
	batchVersion = 1

	recordVersion = 1

	maxRecords     = 1 << 26 // a sanity bound; the real one is the number of bytes left
	maxStringBytes = 1 << 20
)

var errTruncated = errors.New("cut short")

// Encode appends the batch of records to dst.
func Encode(dst []byte, records []Record) []byte {
	e := encoder{b: dst}
	e.b = append(e.b, batchMagic, batchVersion)
	e.uvarint(uint64(len(records)))
	var body encoder
	for _, r := range records {
		body.b = body.b[:0]
		r.encode(&body)
		e.uvarint(uint64(r.Type()))
		e.uvarint(recordVersion)
		e.uvarint(uint64(len(body.b)))
		e.b = append(e.b, body.b...)
	}
	return e.b
}

// Decode reads a batch. The records do not refer to b. It never panics and allocates no more than a
// small multiple of len(b), whatever b holds.
func Decode(b []byte) ([]Record, error) {
	d := decoder{b: b}
	magic, version := d.byte(), d.byte()
	if d.err != nil {
		return nil, fmt.Errorf("decode metadata batch: %w", d.err)
	}
	if magic != batchMagic {
		return nil, fmt.Errorf("decode metadata batch: magic byte is 0x%02x, want 0x%02x", magic, batchMagic)
	}
	if version != batchVersion {
		return nil, fmt.Errorf("decode metadata batch: format version %d is not known to this release (it knows %d); upgrade this node", version, batchVersion)
	}
	n := d.count(3) // type, version and length take a byte each
	if d.err != nil {
		return nil, fmt.Errorf("decode metadata batch: number of records: %w", d.err)
	}
	records := make([]Record, 0, min(n, 1024))
	for i := range n {
		t, v := d.uvarint(), d.uvarint()
		body := d.bytes()
		if d.err != nil {
			return nil, fmt.Errorf("decode metadata record %d: %w", i, d.err)
		}
		var r Record
		if t <= math.MaxUint16 {
			r = newRecord(RecordType(t))
		}
		if r == nil {
			return nil, fmt.Errorf("decode metadata record %d: type %d is not known to this release; upgrade this node", i, t)
		}
		if v != recordVersion {
			return nil, fmt.Errorf("decode metadata record %d of type %d: version %d is not known to this release (it knows %d); upgrade this node", i, t, v, recordVersion)
		}
		bd := decoder{b: body}
		r.decode(&bd)
		if bd.err == nil && len(bd.b) > 0 {
			bd.err = fmt.Errorf("%d bytes are left over", len(bd.b))
		}
		if bd.err != nil {
			return nil, fmt.Errorf("decode metadata record %d of type %d: %w", i, t, bd.err)
		}
		records = append(records, r)
	}
	if len(d.b) > 0 {
		return nil, fmt.Errorf("decode metadata batch: %d bytes are left over", len(d.b))
	}
	return records, nil
}

type encoder struct{ b []byte }

func (e *encoder) uvarint(v uint64) { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) varint(v int64)   { e.b = binary.AppendVarint(e.b, v) }
func (e *encoder) uuid(u UUID)      { e.b = append(e.b, u[:]...) }

func (e *encoder) bool(v bool) {
	if v {
		e.b = append(e.b, 1)
	} else {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) string(s string) {
	e.uvarint(uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) ints(v []int32) {
	e.uvarint(uint64(len(v)))
	for _, x := range v {
		e.varint(int64(x))
	}
}

// nullableInts keeps nil and empty apart.
func (e *encoder) nullableInts(v []int32) {
	e.bool(v != nil)
	if v != nil {
		e.ints(v)
	}
}

// decoder reads; after the first error every call returns a zero value.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) byte() byte {
	if d.err != nil {
		return 0
	}
	if len(d.b) == 0 {
		d.fail(errTruncated)
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uvarint() uint64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail(fmt.Errorf("bad varint: %w", errTruncated))
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail(fmt.Errorf("bad varint: %w", errTruncated))
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int32() int32 {
	v := d.varint()
	if v < math.MinInt32 || v > math.MaxInt32 {
		d.fail(fmt.Errorf("%d does not fit 32 bits", v))
		return 0
	}
	return int32(v)
}

func (d *decoder) int16() int16 {
	v := d.varint()
	if v < math.MinInt16 || v > math.MaxInt16 {
		d.fail(fmt.Errorf("%d does not fit 16 bits", v))
		return 0
	}
	return int16(v)
}

func (d *decoder) int8() int8 {
	v := d.varint()
	if v < math.MinInt8 || v > math.MaxInt8 {
		d.fail(fmt.Errorf("%d does not fit 8 bits", v))
		return 0
	}
	return int8(v)
}

func (d *decoder) uint16() uint16 {
	v := d.uvarint()
	if v > math.MaxUint16 {
		d.fail(fmt.Errorf("%d does not fit 16 bits", v))
		return 0
	}
	return uint16(v)
}

func (d *decoder) bool() bool {
	switch c := d.byte(); c {
	case 0:
		return false
	case 1:
		return true
	default:
		d.fail(fmt.Errorf("boolean is 0x%02x", c))
		return false
	}
}

// count reads the length of a list whose elements take at least size bytes each.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if d.err != nil {
		return 0
	}
	if n > maxRecords || int(n)*size > len(d.b) {
		d.fail(fmt.Errorf("list of %d elements in %d bytes: %w", n, len(d.b), errTruncated))
		return 0
	}
	return int(n)
}

// bytes returns a piece of the input, not a copy.
func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if d.err != nil {
		return nil
	}
	if n > uint64(len(d.b)) {
		d.fail(errTruncated)
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string {
	b := d.bytes()
	if len(b) > maxStringBytes {
		d.fail(fmt.Errorf("string of %d bytes, at most %d are allowed", len(b), maxStringBytes))
		return ""
	}
	return string(b)
}

func (d *decoder) uuid() UUID {
	var u UUID
	if d.err != nil {
		return u
	}
	if len(d.b) < len(u) {
		d.fail(errTruncated)
		return u
	}
	copy(u[:], d.b)
	d.b = d.b[len(u):]
	return u
}

func (d *decoder) ints() []int32 {
	n := d.count(1)
	v := make([]int32, 0, n)
	for range n {
		v = append(v, d.int32())
	}
	if d.err != nil {
		return nil
	}
	return v
}

// list is ints with nil for the empty list, the form that images hold.
func (d *decoder) list() []int32 {
	if v := d.ints(); len(v) > 0 {
		return v
	}
	return nil
}

func (d *decoder) nullableInts() []int32 {
	if !d.bool() {
		return nil
	}
	return d.ints()
}
