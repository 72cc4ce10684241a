package parquetfile

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Sizes. A page closes when its values have pageBytes in plain form or pageRows entries, parquet-mr's defaults; a row group when all
// that is held of it has groupBytes.
const (
	pageBytes  = 1 << 20
	pageRows   = 20_000
	groupBytes = 64 << 20
	checkRows  = 64 // how often this is looked at, or when checkBytes came
	checkBytes = 1 << 20
)

// Layout is a schema made ready for writing. It does not change and may be shared.
type Layout struct {
	Leaves []Leaf
	schema []format.SchemaElement
	orders []format.ColumnOrder
}

// NewLayout makes the layout of a schema. leaves describes its columns in order; path and levels are filled in here.
func NewLayout(s *parquet.Schema, leaves []Leaf) (*Layout, error) {
	// An empty file of the library has the schema in the form that a footer takes.
	w := parquet.NewGenericWriter[any](io.Discard, s)
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("schema %s: %w", s.Name(), err)
	}
	meta := w.File().Metadata()
	l := &Layout{Leaves: leaves, schema: meta.Schema, orders: meta.ColumnOrders}
	paths := s.Columns()
	if len(paths) != len(leaves) {
		return nil, fmt.Errorf("schema %s: %d columns for %d leaves", s.Name(), len(paths), len(leaves))
	}
	for i, path := range paths {
		col, ok := s.Lookup(path...)
		if !ok {
			return nil, fmt.Errorf("schema %s: no column %v", s.Name(), path)
		}
		l.Leaves[i].Path = path
		l.Leaves[i].MaxDef, l.Leaves[i].MaxRep = uint8(col.MaxDefinitionLevel), uint8(col.MaxRepetitionLevel)
	}
	return l, nil
}

// Writer writes one file after the other of one layout. It belongs to one goroutine.
type Writer struct {
	Columns []Column

	layout    *Layout
	p         *packer
	out       io.Writer
	at        int64 // bytes written
	createdBy string

	rows      int64 // in the open row group
	unchecked int
	bytes     int64 // since the last check
	groups    []format.RowGroup
	index     [][]*format.ColumnIndex
	offsets   [][]format.OffsetIndex
	total     int64
}

// NewWriter returns a writer; Reset it before use.
func NewWriter(l *Layout, codec compress.Codec, createdBy string) *Writer {
	w := &Writer{Columns: make([]Column, len(l.Leaves)), layout: l, p: newPacker(codec), createdBy: createdBy}
	for i := range w.Columns {
		w.Columns[i].leaf = l.Leaves[i]
	}
	return w
}

// Codec returns the codec that the writer was made with.
func (w *Writer) Codec() compress.Codec { return w.p.codec }

const magic = "PAR1"

// Reset begins a file.
func (w *Writer) Reset(out io.Writer) error {
	w.out, w.at, w.rows, w.unchecked, w.bytes, w.total = out, 0, 0, 0, 0, 0
	w.groups, w.index, w.offsets = nil, nil, nil
	for i := range w.Columns {
		c := &w.Columns[i]
		c.clear()
		c.chunk.reset()
		c.trim()
	}
	return w.write([]byte(magic))
}

func (w *Writer) write(b []byte) error {
	n, err := w.out.Write(b)
	w.at += int64(n)
	return err
}

// EndRow completes a row: every column has got its values. size is about how many bytes the row has.
func (w *Writer) EndRow(size int) error {
	w.rows++
	w.unchecked++
	w.bytes += int64(size)
	if w.unchecked < checkRows && w.bytes < checkBytes {
		return nil
	}
	w.unchecked, w.bytes = 0, 0
	var held int64
	for i := range w.Columns {
		c := &w.Columns[i]
		if c.n >= pageRows || c.rawSize() >= pageBytes {
			if err := w.p.closePage(c); err != nil {
				return err
			}
		}
		held += c.held()
	}
	if held >= groupBytes {
		return w.Flush()
	}
	return nil
}

// Undo takes back the values that columns got since the last EndRow.
func (w *Writer) Undo() {
	for i := range w.Columns {
		c := &w.Columns[i]
		c.cut(int(w.rows - c.chunk.rows))
	}
}

// Held returns the bytes in memory of what is not written yet.
func (w *Writer) Held() int64 {
	var n int64
	for i := range w.Columns {
		n += w.Columns[i].held()
	}
	return n
}

// Flush completes the open row group and writes it.
func (w *Writer) Flush() error {
	if w.rows == 0 {
		return nil
	}
	g := format.RowGroup{NumRows: w.rows, FileOffset: w.at, Ordinal: int16(min(len(w.groups), 1<<15-1)), Columns: make([]format.ColumnChunk, len(w.Columns))}
	index, offsets := make([]*format.ColumnIndex, len(w.Columns)), make([]format.OffsetIndex, len(w.Columns))
	for i := range w.Columns {
		c := &w.Columns[i]
		if err := w.p.closePage(c); err != nil {
			return err
		}
		meta := &g.Columns[i].MetaData
		g.Columns[i].FileOffset = w.at
		if err := w.writeChunk(c, meta); err != nil {
			return err
		}
		index[i], offsets[i] = c.indexes(meta.DataPageOffset)
		g.TotalByteSize += meta.TotalUncompressedSize
		g.TotalCompressedSize += meta.TotalCompressedSize
		c.chunk.reset()
	}
	w.groups, w.index, w.offsets = append(w.groups, g), append(w.index, index), append(w.offsets, offsets)
	w.total += w.rows
	w.rows, w.unchecked, w.bytes = 0, 0, 0
	return nil
}

// writeChunk writes the closed pages of a column and describes them in meta.
func (w *Writer) writeChunk(c *Column, meta *format.ColumnMetaData) error {
	k := &c.chunk
	*meta = format.ColumnMetaData{Type: c.leaf.Type, PathInSchema: c.leaf.Path, Codec: w.p.codec.CompressionCodec(), NumValues: k.entries,
		Statistics: format.Statistics{NullCount: k.nulls}}
	start := w.at
	if k.dictPages > 0 {
		w.p.body = k.dict.appendPlain(w.p.body[:0], c.leaf.Type)
		h := format.PageHeader{Type: format.DictionaryPage, DictionaryPageHeader: thrift.New(format.DictionaryPageHeader{NumValues: int32(k.dict.len()), Encoding: format.Plain})}
		page, _, err := w.p.appendPage(nil, &h, w.p.body, &k.unpacked)
		if err != nil {
			return fmt.Errorf("column %v: %w", c.leaf.Path, err)
		}
		meta.DictionaryPageOffset = w.at
		if err := w.write(page); err != nil {
			return err
		}
		meta.EncodingStats = append(meta.EncodingStats, format.PageEncodingStats{PageType: format.DictionaryPage, Encoding: format.Plain, Count: 1},
			format.PageEncodingStats{PageType: format.DataPage, Encoding: format.RLEDictionary, Count: k.dictPages})
	}
	meta.DataPageOffset = w.at
	if err := w.write(k.pages); err != nil {
		return err
	}
	meta.TotalCompressedSize, meta.TotalUncompressedSize = w.at-start, k.unpacked
	meta.Encoding = append(meta.Encoding, format.Plain)
	if c.leaf.MaxDef > 0 || c.leaf.MaxRep > 0 {
		meta.Encoding = append(meta.Encoding, format.RLE)
	}
	if k.dictPages > 0 {
		meta.Encoding = append(meta.Encoding, format.RLEDictionary)
	}
	if k.rest > 0 {
		meta.EncodingStats = append(meta.EncodingStats, format.PageEncodingStats{PageType: format.DataPage, Encoding: format.Plain, Count: k.rest})
	}
	if !k.unordered {
		meta.Statistics.MinValue, meta.Statistics.MaxValue = k.lo, k.hi
	}
	return nil
}

// indexes returns the chunk's page indexes; that of values is nil when some page has no bounds.
func (c *Column) indexes(first int64) (*format.ColumnIndex, format.OffsetIndex) {
	k := &c.chunk
	var o format.OffsetIndex
	x := &format.ColumnIndex{}
	ascending, descending := true, true
	var lastLo, lastHi []byte
	for _, p := range k.info {
		o.PageLocations = append(o.PageLocations, format.PageLocation{Offset: first + int64(p.offset), CompressedPageSize: int32(p.size), FirstRowIndex: p.firstRow})
		x.NullPages = append(x.NullPages, p.empty)
		x.NullCounts = append(x.NullCounts, p.nulls)
		if p.empty {
			x.MinValues, x.MaxValues = append(x.MinValues, []byte{}), append(x.MaxValues, []byte{})
			continue
		}
		if k.unordered {
			continue
		}
		x.MinValues, x.MaxValues = append(x.MinValues, p.lo), append(x.MaxValues, p.hi)
		if lastLo != nil {
			lo, hi := compare(c.leaf.Type, c.leaf.Order, lastLo, p.lo), compare(c.leaf.Type, c.leaf.Order, lastHi, p.hi)
			ascending, descending = ascending && lo <= 0 && hi <= 0, descending && lo >= 0 && hi >= 0
		}
		lastLo, lastHi = p.lo, p.hi
	}
	if k.unordered {
		return nil, o
	}
	switch {
	case ascending:
		x.BoundaryOrder = format.Ascending
	case descending:
		x.BoundaryOrder = format.Descending
	}
	return x, o
}

// Close completes the file. The writer may be Reset to another one.
func (w *Writer) Close() error {
	if err := w.Flush(); err != nil {
		return err
	}
	for g := range w.groups {
		for i, x := range w.index[g] {
			if x == nil {
				continue
			}
			col := &w.groups[g].Columns[i]
			col.ColumnIndexOffset = w.at
			if err := w.encode(x); err != nil {
				return err
			}
			col.ColumnIndexLength = int32(w.at - col.ColumnIndexOffset)
		}
	}
	for g := range w.groups {
		for i := range w.offsets[g] {
			col := &w.groups[g].Columns[i]
			col.OffsetIndexOffset = w.at
			if err := w.encode(&w.offsets[g][i]); err != nil {
				return err
			}
			col.OffsetIndexLength = int32(w.at - col.OffsetIndexOffset)
		}
	}
	start := w.at
	if err := w.encode(&format.FileMetaData{Version: 1, Schema: w.layout.schema, NumRows: w.total, RowGroups: w.groups, CreatedBy: w.createdBy, ColumnOrders: w.layout.orders}); err != nil {
		return err
	}
	tail := binary.LittleEndian.AppendUint32(nil, uint32(w.at-start))
	if err := w.write(append(tail, magic...)); err != nil {
		return err
	}
	w.out, w.groups, w.index, w.offsets = nil, nil, nil, nil
	return nil
}

func (w *Writer) encode(v any) error {
	b, err := w.p.encode(v)
	if err != nil {
		return err
	}
	return w.write(b)
}
