package batch

import (
	"encoding/binary"
	"fmt"
)

// Record is one record of a batch. Key, Value and header bytes point into the batch or into the Reader's buffer.
// A nil Key or Value is Kafka's null; an empty one is not nil.
type Record struct {
	Offset      int64
	OffsetDelta int32
	Timestamp   int64 // milliseconds
	Key         []byte
	Value       []byte
	Headers     []Header
	Attributes  int8 // unused by the protocol today
}

// Header is a record header. Value may be nil.
type Header struct {
	Key   []byte
	Value []byte
}

// Reader iterates over the records of one batch at a time. The zero value is ready for Reset; it keeps its buffers
// from batch to batch, so that steady use does not allocate. It is not safe for concurrent use.
type Reader struct {
	// Limit bounds the decompressed bytes of a batch; 0 means MaxDecompressed.
	Limit int

	buf     []byte // decompressed records
	lent    bool   // buf is from Lend
	whole   []byte // all records
	data    []byte // what is left to parse
	rec     Record
	headers []Header
	left    int32
	base    int64
	baseTs  int64
	maxTs   int64
	appTime bool
	err     error
}

// Reset begins a batch that passed Check (or Next), decompressing it when needed.
func (r *Reader) Reset(b Batch) error {
	r.err, r.left, r.data, r.whole = nil, 0, nil, nil
	if len(b) < HeaderSize {
		r.err = ErrShort
		return r.err
	}
	r.base, r.baseTs, r.maxTs, r.appTime = b.BaseOffset(), b.BaseTimestamp(), b.MaxTimestamp(), b.IsLogAppendTime()
	n := b.RecordCount()
	if n < 0 {
		r.err = fmt.Errorf("%w: record count %d", ErrCorrupt, n)
		return r.err
	}
	if c := b.Codec(); c == None {
		r.data = b.RawRecords()
	} else if n > 0 {
		if cap(r.buf) > 5<<20 && !r.lent {
			r.buf = nil // one huge batch must not pin its memory for ever
		}
		if r.buf, r.err = Decompress(r.buf[:0], c, b.RawRecords(), r.Limit); r.err != nil {
			return r.err
		}
		r.data = r.buf
	}
	r.left, r.whole = n, r.data
	return nil
}

// Unpacked returns the decompressed records of the batch as a whole. They are valid until the next Reset.
func (r *Reader) Unpacked() []byte { return r.whole }

// Lend gives the Reader memory to decompress into, until Return.
func (r *Reader) Lend(buf []byte) { r.buf, r.lent = buf[:0], true }

// Return gives up the memory that the Reader decompresses into, lent or its own. The records of the last batch are no longer valid.
func (r *Reader) Return() []byte {
	buf := r.buf
	r.buf, r.data, r.whole, r.left, r.lent = nil, nil, nil, 0, false
	return buf
}

// Next returns the next record, or false at the end or on an error. The record is valid until the following call of
// Next; its bytes are valid until Reset or as long as the batch's own.
func (r *Reader) Next() (*Record, bool) {
	if r.err != nil {
		return nil, false
	}
	if r.left == 0 {
		if len(r.data) > 0 {
			r.err = fmt.Errorf("%w: %d bytes follow the last record", ErrCorrupt, len(r.data))
		}
		return nil, false
	}
	n, k := varint(r.data)
	if k <= 0 || n < 0 || n > int64(len(r.data)-k) {
		r.err = fmt.Errorf("%w: record length %d of %d bytes left", ErrCorrupt, n, len(r.data))
		return nil, false
	}
	body := r.data[k : k+int(n)]
	r.data = r.data[k+int(n):]
	r.left--
	if err := r.parse(body); err != nil {
		r.err = err
		return nil, false
	}
	return &r.rec, true
}

// Err is the error that ended the iteration, if any.
func (r *Reader) Err() error { return r.err }

// Left is the number of records that Next has not returned yet.
func (r *Reader) Left() int { return int(r.left) }

func (r *Reader) parse(p []byte) error {
	rec := &r.rec
	if len(p) < 1 {
		return errField("attributes")
	}
	rec.Attributes = int8(p[0])
	p = p[1:]
	ts, k := varint(p)
	if k <= 0 {
		return errField("timestamp delta")
	}
	p = p[k:]
	od, k := varint(p)
	if k <= 0 || od != int64(int32(od)) {
		return errField("offset delta")
	}
	p = p[k:]
	rec.OffsetDelta = int32(od)
	rec.Offset = r.base + od
	if r.appTime {
		rec.Timestamp = r.maxTs
	} else {
		rec.Timestamp = r.baseTs + ts
	}
	var ok bool
	if rec.Key, p, ok = varBytes(p); !ok {
		return errField("key")
	}
	if rec.Value, p, ok = varBytes(p); !ok {
		return errField("value")
	}
	n, k := varint(p)
	// A header takes at least two bytes.
	if k <= 0 || n < 0 || n > int64(len(p)-k)/2 {
		return errField("header count")
	}
	p = p[k:]
	r.headers = r.headers[:0]
	for range n {
		var h Header
		if h.Key, p, ok = varBytes(p); !ok || h.Key == nil {
			return errField("header key")
		}
		if h.Value, p, ok = varBytes(p); !ok {
			return errField("header value")
		}
		r.headers = append(r.headers, h)
	}
	if len(p) > 0 {
		return errField("length")
	}
	rec.Headers = r.headers
	return nil
}

func errField(name string) error { return fmt.Errorf("%w: record %s is invalid", ErrCorrupt, name) }

// varint reads a zigzag varint of at most 64 bits; k <= 0 when it is malformed.
func varint(p []byte) (v int64, k int) {
	if len(p) > 0 && p[0] < 0x80 {
		return int64(p[0]>>1) ^ -int64(p[0]&1), 1
	}
	return binary.Varint(p)
}

func varBytes(p []byte) (v, rest []byte, ok bool) {
	n, k := varint(p)
	if k <= 0 || n < -1 || n > int64(len(p)-k) {
		return nil, nil, false
	}
	p = p[k:]
	if n == -1 {
		return nil, p, true
	}
	return p[:n:n], p[n:], true
}

// AppendRecord appends the encoding of one record to dst, with the deltas given.
func AppendRecord(dst []byte, attributes int8, timestampDelta int64, offsetDelta int32, key, value []byte, headers []Header) []byte {
	n := 1 + varintSize(timestampDelta) + varintSize(int64(offsetDelta)) + varBytesSize(key) + varBytesSize(value) + varintSize(int64(len(headers)))
	for i := range headers {
		n += varBytesSize(nonNil(headers[i].Key)) + varBytesSize(headers[i].Value)
	}
	dst = binary.AppendVarint(dst, int64(n))
	dst = append(dst, byte(attributes))
	dst = binary.AppendVarint(dst, timestampDelta)
	dst = binary.AppendVarint(dst, int64(offsetDelta))
	dst = appendVarBytes(dst, key)
	dst = appendVarBytes(dst, value)
	dst = binary.AppendVarint(dst, int64(len(headers)))
	for i := range headers {
		dst = appendVarBytes(dst, nonNil(headers[i].Key))
		dst = appendVarBytes(dst, headers[i].Value)
	}
	return dst
}

func nonNil(p []byte) []byte {
	if p == nil {
		return []byte{}
	}
	return p
}

func appendVarBytes(dst, p []byte) []byte {
	if p == nil {
		return append(dst, 1) // zigzag of -1
	}
	dst = binary.AppendVarint(dst, int64(len(p)))
	return append(dst, p...)
}

func varBytesSize(p []byte) int {
	if p == nil {
		return 1
	}
	return varintSize(int64(len(p))) + len(p)
}

func varintSize(v int64) int {
	u := uint64(v<<1) ^ uint64(v>>63)
	n := 1
	for u >= 0x80 {
		u >>= 7
		n++
	}
	return n
}
