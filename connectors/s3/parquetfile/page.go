package parquetfile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"

	"github.com/klauspost/compress/s2"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// maxBound is the size of a bound above which it is not worth its place in the footer.
const maxBound = 1 << 10

// chunk is what a column has closed of a row group.
type chunk struct {
	pages []byte // headers and bodies
	dict  dictionary
	plain bool // a dictionary does not pay, or no longer

	entries, rows, nulls int64
	raw                  int64 // bytes of the values in plain form
	unpacked             int64 // bytes of pages before compression, headers included
	dictPages, rest      int32 // data pages with indices, and plain
	info                 []pageInfo
	lo, hi               []byte
	unordered            bool // no bounds for all values
}

type pageInfo struct {
	offset   int // in pages
	size     int
	firstRow int64
	nulls    int64
	empty    bool // nulls only
	lo, hi   []byte
}

func (k *chunk) reset() {
	clear(k.info)
	pages, dict, info := k.pages[:0], k.dict, k.info[:0]
	dict.reset()
	*k = chunk{pages: pages, dict: dict, info: info}
}

// packer holds what closing pages needs, shared by the columns of a writer.
type packer struct {
	codec     compress.Codec
	ids       []uint32
	body      []byte
	packed    []byte
	thriftBuf byteWriter
	protocol  thrift.CompactProtocol
	encoder   *thrift.Encoder
}

// byteWriter is a slice to write to.
type byteWriter struct{ b []byte }

func (w *byteWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

func newPacker(codec compress.Codec) *packer {
	p := &packer{codec: codec}
	p.encoder = thrift.NewEncoder(p.protocol.NewWriter(&p.thriftBuf))
	return p
}

// encode returns v in Thrift's compact form; it is good until the next call.
func (p *packer) encode(v any) ([]byte, error) {
	p.thriftBuf.b = p.thriftBuf.b[:0]
	if err := p.encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("thrift: %w", err)
	}
	return p.thriftBuf.b, nil
}

// compress returns body in compressed form; it is good until the next call.
func (p *packer) compress(body []byte) ([]byte, error) {
	switch p.codec.CompressionCodec() {
	case format.Uncompressed:
		return body, nil
	case format.Snappy: // the library's codec is set to the slower of two searches
		if n := s2.MaxEncodedLen(len(body)); cap(p.packed) < n {
			p.packed = make([]byte, n)
		}
		p.packed = s2.EncodeSnappy(p.packed[:cap(p.packed)], body)
		return p.packed, nil
	}
	var err error
	if p.packed, err = p.codec.Encode(p.packed[:0], body); err != nil {
		return nil, fmt.Errorf("%s: %w", p.codec, err)
	}
	return p.packed, nil
}

// closePage encodes the open page of c into its chunk.
func (p *packer) closePage(c *Column) error {
	if c.n == 0 {
		return nil
	}
	if len(c.data) > math.MaxInt32 {
		return fmt.Errorf("column %v: a page of %d bytes is more than a Parquet file can hold", c.leaf.Path, len(c.data))
	}
	k := &c.chunk
	rows := int64(c.rows())
	nulls := int64(c.n - c.values())
	info := pageInfo{offset: len(k.pages), firstRow: k.rows, nulls: nulls, empty: c.values() == 0}

	var b bounds
	indices := !k.plain && c.leaf.Type != format.Boolean && p.index(c, &b)
	if !indices {
		k.plain = true
		b = bounds{}
		c.bound(&b)
		if k.dictPages == 0 {
			k.dict.reset()
		}
	}
	info.lo, info.hi = b.plain(c.leaf.Type, c.leaf.Order)

	body := p.body[:0]
	if c.leaf.MaxRep > 0 {
		body = appendLevels(body, c.reps, c.leaf.MaxRep)
	}
	if c.leaf.MaxDef > 0 {
		body = appendLevels(body, c.defs, c.leaf.MaxDef)
	}
	encoding := format.Plain
	switch {
	case indices:
		encoding = format.RLEDictionary
		w := bits.Len(uint(max(k.dict.len()-1, 0)))
		body = appendHybrid(append(body, byte(w)), p.ids, w)
		k.dictPages++
	case c.leaf.Type == format.ByteArray:
		body = appendPlainBytes(body, c.data, c.ends)
		k.rest++
	default:
		body = appendPlainFixed(body, c.leaf.Type, c.fixed)
		k.rest++
	}
	p.body = body
	header := format.PageHeader{Type: format.DataPage, DataPageHeader: thrift.New(format.DataPageHeader{
		NumValues: int32(c.n), Encoding: encoding, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
		Statistics: format.Statistics{NullCount: nulls},
	})}
	var err error
	if k.pages, info.size, err = p.appendPage(k.pages, &header, body, &k.unpacked); err != nil {
		return fmt.Errorf("column %v: %w", c.leaf.Path, err)
	}

	switch {
	case info.empty:
	case info.lo == nil || len(info.lo)+len(info.hi) > 2*maxBound:
		info.lo, info.hi, k.unordered = nil, nil, true
	default:
		k.lo, k.hi = merge(c.leaf.Type, c.leaf.Order, k.lo, k.hi, info.lo, info.hi)
	}
	k.info = append(k.info, info)
	k.raw += int64(c.rawSize())
	k.entries += int64(c.n)
	k.rows += rows
	k.nulls += nulls
	c.clear()
	return nil
}

// appendPage compresses a page's body and appends header and body to dst.
func (p *packer) appendPage(dst []byte, h *format.PageHeader, body []byte, unpacked *int64) (out []byte, size int, err error) {
	packed, err := p.compress(body)
	if err != nil {
		return dst, 0, err
	}
	if len(body) > math.MaxInt32 || len(packed) > math.MaxInt32 {
		return dst, 0, fmt.Errorf("a page of %d bytes is more than a Parquet file can hold", len(body))
	}
	h.UncompressedPageSize, h.CompressedPageSize = int32(len(body)), int32(len(packed))
	h.CRC = int32(crc32.ChecksumIEEE(packed))
	head, err := p.encode(h)
	if err != nil {
		return dst, 0, err
	}
	*unpacked += int64(len(head) + len(body))
	return append(append(dst, head...), packed...), len(head) + len(packed), nil
}

// appendLevels writes levels as data pages v1 hold them.
func appendLevels(dst []byte, levels []uint8, most uint8) []byte {
	at := len(dst)
	dst = appendHybrid(append(dst, 0, 0, 0, 0), levels, bits.Len8(most))
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// index fills p.ids with the page's values as entries of the chunk's dictionary and b with their bounds. It reports false when a
// dictionary does not pay, or would grow too large; then the page is to be written plain.
func (p *packer) index(c *Column, b *bounds) bool {
	k := &c.chunk
	d := &k.dict
	n := c.values()
	if cap(p.ids) < n {
		p.ids = make([]uint32, n+n/4)
	}
	ids := p.ids[:n]
	page := uint32(len(k.info) + 1)
	before := k.entries - k.nulls
	pays := func(values, raw int64) bool {
		if d.plainSize(c.leaf.Type) > maxDictionary {
			return false
		}
		width := int64(bits.Len(uint(max(d.len()-1, 0))))
		return int64(d.plainSize(c.leaf.Type))+values*width/8 < raw || values == 0
	}
	if c.leaf.Type == format.ByteArray {
		var from uint32
		var last []byte
		var lastID uint32
		for i, end := range c.ends {
			v := c.data[from:end]
			from = end
			if i > 0 && string(v) == string(last) {
				ids[i] = lastID
				continue
			}
			id := d.addBytes(v)
			if d.seen[id] != page {
				d.seen[id] = page
				b.bytes(c.leaf.Order, v)
			}
			ids[i], last, lastID = id, v, id
			if i%sampleSize == sampleSize-1 && !pays(before+int64(i), k.raw+int64(end)+4*int64(i)) {
				return false
			}
		}
	} else {
		var last uint64
		var lastID uint32
		w := int64(width(c.leaf.Type))
		for i, v := range c.fixed {
			if i > 0 && v == last {
				ids[i] = lastID
				continue
			}
			id := d.addFixed(v)
			if d.seen[id] != page {
				d.seen[id] = page
				b.fixed(c.leaf.Order, c.leaf.Type, v)
			}
			ids[i], last, lastID = id, v, id
			if i%sampleSize == sampleSize-1 && !pays(before+int64(i), k.raw+w*int64(i)) {
				return false
			}
		}
	}
	p.ids = ids
	return pays(before+int64(n), k.raw+int64(c.rawSize()))
}

// bound takes the values of the open page into b.
func (c *Column) bound(b *bounds) {
	if c.leaf.Type == format.ByteArray {
		var from uint32
		for _, end := range c.ends {
			b.bytes(c.leaf.Order, c.data[from:end])
			from = end
		}
		return
	}
	for _, v := range c.fixed {
		b.fixed(c.leaf.Order, c.leaf.Type, v)
	}
}
