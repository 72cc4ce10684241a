package s3

import (
	"fmt"
	"io"
	"reflect"
	"strconv"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/encoding"
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
	def, rep int // levels of a present value
	column   int // leaves
	fields   []*shape
	elem     *shape // array element, map value
	key      *shape
}

// compiled is a schema's Parquet form.
type compiled struct {
	schema  *parquet.Schema
	root    *shape
	columns int
	// repeated says that some column can have several values in a row. A row lists its values column by column, so that they have to
	// be sorted then.
	repeated bool
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
	return &compiled{parquet.NewSchema(name, node), root, c.columns, c.repeated}, nil
}

type compiler struct {
	columns  int
	repeated bool
}

const maxDepth = 64

func (c *compiler) structOf(s *data.Schema, def, rep int, path string, depth int) (parquet.Node, *shape, error) {
	if len(s.Fields()) == 0 {
		return nil, nil, plugins.Dataf("%s is a struct without fields, which Parquet cannot hold", path)
	}
	g := &group{}
	sh := &shape{typ: data.TypeStruct, def: def, rep: rep}
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

func (c *compiler) node(s *data.Schema, def, rep int, path string, depth int) (n parquet.Node, sh *shape, err error) {
	if depth > maxDepth {
		return nil, nil, plugins.Dataf("%s is nested more than %d deep", path, maxDepth)
	}
	c.repeated = c.repeated || s.Type() == data.TypeArray || s.Type() == data.TypeMap
	optional := s.Optional()
	if optional {
		def++
	}
	switch s.Type() {
	case data.TypeStruct:
		n, sh, err = c.structOf(s, def, rep, path, depth)
	case data.TypeArray:
		var en parquet.Node
		sh = &shape{typ: data.TypeArray, def: def, rep: rep}
		if en, sh.elem, err = c.node(s.ValueSchema(), def+1, rep+1, path+".element", depth+1); err == nil {
			n = parquet.List(en)
		}
	case data.TypeMap:
		var kn, vn parquet.Node
		sh = &shape{typ: data.TypeMap, def: def, rep: rep}
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
			sh = &shape{typ: s.Type(), def: def, rep: rep, column: c.columns}
			c.columns++
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

// append adds the column values of v to row. rep is the repetition level of the first value; def is that of the parent when v is absent.
func (sh *shape) append(row parquet.Row, v data.Value, rep int) (parquet.Row, error) {
	if v.IsNull() {
		if !sh.optional {
			return nil, plugins.Dataf("a value is null that the schema requires")
		}
		return sh.absent(row, rep, sh.def-1), nil
	}
	if v.Type() != sh.typ {
		return nil, plugins.Dataf("a value is a %s where the schema says %s", v.Type(), sh.typ)
	}
	var err error
	switch sh.typ {
	case data.TypeStruct:
		vals := v.Struct().Values
		for i, f := range sh.fields {
			if row, err = f.append(row, vals[i], rep); err != nil {
				return nil, err
			}
		}
		return row, nil
	case data.TypeArray:
		es := v.Array()
		if len(es) == 0 {
			return sh.elem.absent(row, rep, sh.def), nil
		}
		for i, e := range es {
			if i > 0 {
				rep = sh.rep + 1
			}
			if row, err = sh.elem.append(row, e, rep); err != nil {
				return nil, err
			}
		}
		return row, nil
	case data.TypeMap:
		es := v.Map()
		if len(es) == 0 {
			return sh.elem.absent(sh.key.absent(row, rep, sh.def), rep, sh.def), nil
		}
		for i, e := range es {
			if i > 0 {
				rep = sh.rep + 1
			}
			if row, err = sh.key.append(row, e.Key, rep); err != nil {
				return nil, err
			}
			if row, err = sh.elem.append(row, e.Value, rep); err != nil {
				return nil, err
			}
		}
		return row, nil
	}
	return append(row, sh.leaf(v).Level(rep, sh.def, sh.column)), nil
}

func (sh *shape) leaf(v data.Value) parquet.Value {
	switch sh.typ {
	case data.TypeInt64:
		return parquet.Int64Value(v.Int())
	case data.TypeFloat32:
		return parquet.FloatValue(v.Float32())
	case data.TypeFloat64:
		return parquet.DoubleValue(v.Float())
	case data.TypeBoolean:
		return parquet.BooleanValue(v.Bool())
	case data.TypeString, data.TypeBytes:
		return parquet.ByteArrayValue(v.Bytes())
	default:
		return parquet.Int32Value(int32(v.Int()))
	}
}

// absent adds a null for every column below sh.
func (sh *shape) absent(row parquet.Row, rep, def int) parquet.Row {
	switch sh.typ {
	case data.TypeStruct:
		for _, f := range sh.fields {
			row = f.absent(row, rep, def)
		}
		return row
	case data.TypeArray:
		return sh.elem.absent(row, rep, def)
	case data.TypeMap:
		return sh.elem.absent(sh.key.absent(row, rep, def), rep, def)
	}
	return append(row, parquet.NullValue().Level(rep, def, sh.column))
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
	e := &parquetEncoder{c: c}
	e.w = parquet.NewGenericWriter[any](w, c.schema, parquet.Compression(f.codec), parquet.CreatedBy("moldau", "1", ""),
		parquet.DictionaryMaxBytes(1<<20), parquet.DataPageStatistics(true))
	return e, nil
}

const rowBatch = 64

// parquetEncoder collects rows in batches: a row's values refer to the record until the batch is written.
type parquetEncoder struct {
	c    *compiled
	w    *parquet.GenericWriter[any]
	rows [rowBatch]parquet.Row
	n    int
	raw  int64

	sorted parquet.Row
	at     []int
}

func (e *parquetEncoder) write(r *plugins.SinkRecord) error {
	row, err := e.c.root.append(e.rows[e.n][:0], r.Value, 0)
	if err != nil {
		return fmt.Errorf("%s-%d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
	}
	if e.c.repeated {
		row = e.byColumn(row)
	}
	e.rows[e.n] = row
	e.n++
	if r.Raw != nil {
		e.raw += int64(len(r.Raw.Value)) + 16
	} else {
		e.raw += int64(r.Value.Size())
	}
	if e.n == rowBatch {
		return e.spool()
	}
	return nil
}

// byColumn sorts a row's values by column, keeping their order within each.
func (e *parquetEncoder) byColumn(row parquet.Row) parquet.Row {
	if e.at == nil {
		e.at = make([]int, e.c.columns+1)
	}
	clear(e.at)
	for _, v := range row {
		e.at[v.Column()+1]++
	}
	for i := 1; i < len(e.at); i++ {
		e.at[i] += e.at[i-1]
	}
	if cap(e.sorted) < len(row) {
		e.sorted = make(parquet.Row, len(row)+16)
	}
	e.sorted = e.sorted[:len(row)]
	for _, v := range row {
		e.sorted[e.at[v.Column()]] = v
		e.at[v.Column()]++
	}
	copy(row, e.sorted)
	return row
}

func (e *parquetEncoder) spool() error {
	if e.n == 0 {
		return nil
	}
	_, err := e.w.WriteRows(e.rows[:e.n])
	for i := range e.rows[:e.n] {
		clear(e.rows[i])
	}
	e.n = 0
	return err
}

func (e *parquetEncoder) flush() error {
	if err := e.spool(); err != nil {
		return err
	}
	e.raw = 0
	return e.w.Flush()
}

func (e *parquetEncoder) held() int64 { return e.raw }

func (e *parquetEncoder) close() error {
	if err := e.spool(); err != nil {
		return err
	}
	return e.w.Close()
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
