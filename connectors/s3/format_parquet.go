package s3

import (
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"sync"

	"github.com/moldau-io/moldau/connectors/s3/parquetfile"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/encoding"
	physical "github.com/parquet-go/parquet-go/format"
)

// parquetFormat writes Parquet: a column a field, in the schema's order, structs as groups, arrays and maps in the standard
// three-level form, Connect's logical types as Parquet's.
type parquetFormat struct {
	codec compress.Codec
	ext   string
}

func newParquetFormat(codec string) (format, error) {
	codecs := map[string]compress.Codec{"none": &parquet.Uncompressed, "snappy": &parquet.Snappy, "gzip": &parquet.Gzip, "zstd": &parquet.Zstd, "lz4": &parquet.Lz4Raw, "brotli": &parquet.Brotli}
	c, ok := codecs[codec]
	if !ok {
		return nil, fmt.Errorf("parquet.codec %q is not known", codec)
	}
	ext := map[string]string{"none": "", "gzip": ".gz", "brotli": ".br"}
	e, ok := ext[codec]
	if !ok {
		e = "." + codec
	}
	return &parquetFormat{c, e + ".parquet"}, nil
}

func (f *parquetFormat) extension() string { return f.ext }
func (f *parquetFormat) perSchema() bool   { return true }

// maxDecimalPrecision is what is declared for decimals that do not say: the most that common readers take.
const maxDecimalPrecision = 38

// shape is a schema compiled for writing: how a value of it becomes column values.
type shape struct {
	typ      data.Type
	optional bool
	def, rep uint8 // levels of a present value
	column   int   // leaves; -1 for all others
	fields   []*shape
	elem     *shape // array element, map value
	key      *shape
}

// compiled is a schema's Parquet form.
type compiled struct {
	schema  *parquet.Schema
	layout  *parquetfile.Layout
	root    *shape
	writers sync.Pool // of *parquetfile.Writer; one belongs to one codec, and a schema to one task's format
}

// compileParquet builds both forms of a struct schema.
func compileParquet(s *data.Schema) (*compiled, error) {
	name := s.Name()
	if name == "" {
		name = "record"
	}
	c := &compiler{}
	node, root, err := c.structOf(s, 0, 0, name, 0)
	if err != nil {
		return nil, err
	}
	schema := parquet.NewSchema(name, node)
	layout, err := parquetfile.NewLayout(schema, c.leaves)
	if err != nil {
		return nil, &plugins.DataError{Err: err}
	}
	return &compiled{schema: schema, layout: layout, root: root}, nil
}

type compiler struct{ leaves []parquetfile.Leaf }

const maxDepth = 64

func (c *compiler) structOf(s *data.Schema, def, rep uint8, path string, depth int) (parquet.Node, *shape, error) {
	if len(s.Fields()) == 0 {
		return nil, nil, plugins.Dataf("%s is a struct without fields, which Parquet cannot hold", path)
	}
	g := &group{}
	sh := &shape{typ: data.TypeStruct, def: def, rep: rep, column: -1}
	for _, f := range s.Fields() {
		n, fs, err := c.node(f.Schema, def, rep, path+"."+f.Name, depth+1)
		if err != nil {
			return nil, nil, err
		}
		g.fields = append(g.fields, &field{n, f.Name})
		sh.fields = append(sh.fields, fs)
	}
	return g, sh, nil
}

func (c *compiler) node(s *data.Schema, def, rep uint8, path string, depth int) (n parquet.Node, sh *shape, err error) {
	if depth > maxDepth {
		return nil, nil, plugins.Dataf("%s is nested more than %d deep", path, maxDepth)
	}
	optional := s.Optional()
	if optional {
		def++
	}
	switch s.Type() {
	case data.TypeStruct:
		n, sh, err = c.structOf(s, def, rep, path, depth)
	case data.TypeArray:
		var en parquet.Node
		sh = &shape{typ: data.TypeArray, def: def, rep: rep, column: -1}
		if en, sh.elem, err = c.node(s.ValueSchema(), def+1, rep+1, path+".element", depth+1); err == nil {
			n = parquet.List(en)
		}
	case data.TypeMap:
		var kn, vn parquet.Node
		sh = &shape{typ: data.TypeMap, def: def, rep: rep, column: -1}
		if s.KeySchema().Optional() {
			return nil, nil, plugins.Dataf("%s is a map whose keys are optional, which Parquet cannot hold", path)
		}
		if kn, sh.key, err = c.node(s.KeySchema(), def+1, rep+1, path+".key", depth+1); err == nil {
			if vn, sh.elem, err = c.node(s.ValueSchema(), def+1, rep+1, path+".value", depth+1); err == nil {
				n = parquet.Map(kn, vn)
			}
		}
	default:
		if n, err = leaf(s, path); err == nil {
			sh = &shape{typ: s.Type(), def: def, rep: rep, column: len(c.leaves)}
			c.leaves = append(c.leaves, columnOf(s, n))
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if sh.optional = optional; optional {
		n = parquet.Optional(n)
	}
	return n, sh, nil
}

// columnOf tells the writer of files what is in a column of schema s and node n.
func columnOf(s *data.Schema, n parquet.Node) parquetfile.Leaf {
	l := parquetfile.Leaf{Type: physical.Type(n.Type().Kind())}
	switch l.Type {
	case physical.Float, physical.Double:
		l.Order = parquetfile.Float
	case physical.ByteArray:
		l.Order = parquetfile.Bytes
		if t := n.Type().LogicalType(); t != nil && s.Name() == data.LogicalDecimal {
			l.Order = parquetfile.Decimal
		}
	}
	return l
}

func leaf(s *data.Schema, path string) (parquet.Node, error) {
	switch s.Name() {
	case data.LogicalDate:
		return parquet.Date(), nil
	case data.LogicalTime:
		return parquet.Time(parquet.Millisecond), nil
	case data.LogicalTimestamp:
		return parquet.Timestamp(parquet.Millisecond), nil
	case data.LogicalDecimal:
		scale, err := strconv.Atoi(s.Param("scale"))
		if err != nil {
			return nil, plugins.Dataf("%s is a Decimal without a scale", path)
		}
		precision, err := strconv.Atoi(s.Param("connect.decimal.precision"))
		if err != nil || precision <= 0 {
			precision = maxDecimalPrecision
		}
		// A scale below zero or above the precision is no Parquet decimal: the bytes stay what they are.
		if scale >= 0 && scale <= precision {
			return parquet.Encoded(parquet.Decimal(scale, precision, parquet.ByteArrayType), &parquet.Plain), nil // readers know no other encoding for it
		}
	}
	switch s.Type() {
	case data.TypeInt8, data.TypeInt16, data.TypeInt32:
		return parquet.Leaf(parquet.Int32Type), nil
	case data.TypeInt64:
		return parquet.Leaf(parquet.Int64Type), nil
	case data.TypeFloat32:
		return parquet.Leaf(parquet.FloatType), nil
	case data.TypeFloat64:
		return parquet.Leaf(parquet.DoubleType), nil
	case data.TypeBoolean:
		return parquet.Leaf(parquet.BooleanType), nil
	case data.TypeString:
		return parquet.Encoded(parquet.String(), &parquet.RLEDictionary), nil
	case data.TypeBytes:
		return parquet.Encoded(parquet.Leaf(parquet.ByteArrayType), &parquet.Plain), nil
	}
	return nil, plugins.Dataf("%s has a type that Parquet cannot hold: %s", path, s.Type())
}

// write adds v to the columns below sh. rep is the repetition level of the first value. After an error the row is incomplete.
func (sh *shape) write(cols []parquetfile.Column, v data.Value, rep uint8) error {
	if v.IsNull() {
		if !sh.optional {
			return errRequired
		}
		sh.absent(cols, rep, sh.def-1)
		return nil
	}
	if v.Type() != sh.typ {
		return plugins.Dataf("a value is a %s where the schema says %s", v.Type(), sh.typ)
	}
	switch sh.typ {
	case data.TypeStruct:
		vals := v.Struct().Values
		if len(vals) != len(sh.fields) {
			return plugins.Dataf("a struct has %d fields where the schema has %d", len(vals), len(sh.fields))
		}
		for i, f := range sh.fields {
			if err := f.write(cols, vals[i], rep); err != nil {
				return err
			}
		}
	case data.TypeArray:
		es := v.Array()
		if len(es) == 0 {
			sh.elem.absent(cols, rep, sh.def)
		}
		for _, e := range es {
			if err := sh.elem.write(cols, e, rep); err != nil {
				return err
			}
			rep = sh.rep + 1
		}
	case data.TypeMap:
		es := v.Map()
		if len(es) == 0 {
			sh.key.absent(cols, rep, sh.def)
			sh.elem.absent(cols, rep, sh.def)
		}
		for _, e := range es {
			if err := sh.key.write(cols, e.Key, rep); err != nil {
				return err
			}
			if err := sh.elem.write(cols, e.Value, rep); err != nil {
				return err
			}
			rep = sh.rep + 1
		}
	case data.TypeString, data.TypeBytes:
		cols[sh.column].Bytes(rep, v.Bytes())
	case data.TypeFloat32:
		cols[sh.column].Fixed(rep, uint64(math.Float32bits(v.Float32())))
	case data.TypeFloat64:
		cols[sh.column].Fixed(rep, math.Float64bits(v.Float()))
	default:
		cols[sh.column].Fixed(rep, uint64(v.Int()))
	}
	return nil
}

var errRequired = plugins.Dataf("a value is null that the schema requires")

// absent adds a null to every column below sh.
func (sh *shape) absent(cols []parquetfile.Column, rep, def uint8) {
	switch {
	case sh.column >= 0:
		cols[sh.column].Null(rep, def)
	case sh.typ == data.TypeStruct:
		for _, f := range sh.fields {
			f.absent(cols, rep, def)
		}
	default:
		if sh.key != nil {
			sh.key.absent(cols, rep, def)
		}
		sh.elem.absent(cols, rep, def)
	}
}

func compiledFor(s *data.Schema) (*compiled, error) {
	slot := s.Slot(data.SlotSink)
	if p := slot.Load(); p != nil {
		if c, ok := (*p).(*compiled); ok {
			return c, nil
		}
	}
	c, err := compileParquet(s)
	if err != nil {
		return nil, err
	}
	var a any = c
	slot.Store(&a)
	return c, nil
}

func (f *parquetFormat) newEncoder(w io.Writer, topic string, s *data.Schema) (encoder, error) {
	if s.Type() != data.TypeStruct {
		return nil, needsStruct(&plugins.SinkRecord{Topic: topic, ValueSchema: s}, "ParquetFormat")
	}
	c, err := compiledFor(s)
	if err != nil {
		return nil, err
	}
	fw, ok := c.writers.Get().(*parquetfile.Writer)
	if !ok || fw.Codec() != f.codec {
		fw = parquetfile.NewWriter(c.layout, f.codec, createdBy)
	}
	return &parquetEncoder{c, fw}, fw.Reset(w)
}

// createdBy is in every file; readers look for bugs of known writers by it.
const createdBy = "moldau version 1 (build )"

// parquetEncoder writes an object.
type parquetEncoder struct {
	c *compiled
	w *parquetfile.Writer
}

func (e *parquetEncoder) write(r *plugins.SinkRecord) error {
	if err := e.c.root.write(e.w.Columns, r.Value, 0); err != nil {
		e.w.Undo()
		return fmt.Errorf("%s-%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	size := 16
	if r.Raw != nil {
		size += len(r.Raw.Value)
	} else {
		size += r.Value.Size()
	}
	return e.w.EndRow(size)
}

func (e *parquetEncoder) flush() error { return e.w.Flush() }

func (e *parquetEncoder) held() int64 { return e.w.Held() }

func (e *parquetEncoder) close() error {
	err := e.w.Close()
	if err == nil {
		e.c.writers.Put(e.w)
	}
	e.w = nil
	return err
}

// group is a Parquet group whose fields keep their order (the library's own sorts them by name).
type group struct{ fields []parquet.Field }

type field struct {
	parquet.Node
	name string
}

func (f *field) Name() string { return f.name }

// Value is not used: rows are written as column values, never from Go structs.
func (f *field) Value(base reflect.Value) reflect.Value {
	return base.MapIndex(reflect.ValueOf(f.name))
}

func (g *group) base() parquet.Group {
	m := parquet.Group{}
	for _, f := range g.fields {
		m[f.Name()] = f
	}
	return m
}

func (g *group) ID() int                     { return 0 }
func (g *group) String() string              { return g.base().String() }
func (g *group) Type() parquet.Type          { return g.base().Type() }
func (g *group) Optional() bool              { return false }
func (g *group) Repeated() bool              { return false }
func (g *group) Required() bool              { return true }
func (g *group) Leaf() bool                  { return false }
func (g *group) Fields() []parquet.Field     { return g.fields }
func (g *group) Encoding() encoding.Encoding { return nil }
func (g *group) Compression() compress.Codec { return nil }
func (g *group) GoType() reflect.Type        { return reflect.TypeFor[map[string]any]() }
