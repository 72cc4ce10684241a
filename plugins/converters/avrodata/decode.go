package avrodata

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// Decoder reads values of one Avro schema into Connect's form. It is used from one goroutine at a time.
type Decoder struct {
	avro     *avro.Schema
	schema   *data.Schema
	root     *decNode
	anything bool
	// What the last record took, so that the next is served from two allocations of that size.
	values, structs int
}

// NewDecoder compiles a decoder of what a was written with. version is that of the schema in the registry, or 0.
func NewDecoder(a *avro.Schema, version int32, cfg Config) (*Decoder, error) {
	if a.Root.Kind == avro.Null {
		return &Decoder{avro: a, root: &decNode{op: rdNull}}, nil
	}
	s, err := ToConnect(a, version, cfg)
	if err != nil {
		return nil, err
	}
	d := &Decoder{avro: a, schema: s, anything: s == nil}
	if s != nil {
		c := decCompiler{cfg: cfg, done: map[encKey]*decNode{}}
		if d.root, err = c.compile(s, a.Root); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Schema returns the Connect schema of the values; nil for data without a schema.
func (d *Decoder) Schema() *data.Schema { return d.schema }

// Avro returns the schema that the data was written with.
func (d *Decoder) Avro() *avro.Schema { return d.avro }

// Decode reads one value, whose strings and bytes alias b. What follows the value is ignored, as the original does. Errors are
// *plugins.DataError.
func (d *Decoder) Decode(b []byte) (data.Value, error) {
	r := decoding{b: b, nextValues: d.values, nextStructs: d.structs}
	var v data.Value
	var err error
	if d.anything {
		v, err = r.anything(0)
	} else {
		v, err = r.read(d.root)
	}
	if err != nil {
		return data.Null, err
	}
	d.values, d.structs = min(r.usedValues, maxArena), min(r.usedStructs, maxArena)
	return v, nil
}

// maxArena bounds what a big record makes the next one allocate at once.
const maxArena = 4096

// maxEmpty bounds the elements of an array that take no bytes, in one record.
const maxEmpty = 1 << 16

type decOp uint8

const (
	rdInvalid decOp = iota
	rdInt8
	rdInt16
	rdInt32
	rdInt64
	rdFloat
	rdDouble
	rdBool
	rdString
	rdBytes
	rdFixed
	rdEnum
	rdArray
	rdMap
	rdEntries
	rdRecord
	rdOptional // a union of null and one type
	rdUnion
	rdAnything
	rdNull
)

type decNode struct {
	op       decOp
	schema   *data.Schema
	fields   []*decNode
	names    []string
	elem     *decNode
	key      *decNode
	keyFirst bool
	size     int
	symbols  []data.Value
	null     int64 // the branch of null in an optional union
	branches []decBranch
	min      int // the fewest bytes that a value takes
}

type decBranch struct {
	node  *decNode // nil: null
	field int
}

type decCompiler struct {
	cfg  Config
	done map[encKey]*decNode
}

func (c *decCompiler) compile(s *data.Schema, t *avro.Type) (*decNode, error) {
	if n := c.done[encKey{s, t}]; n != nil {
		return n, nil
	}
	n, err := c.build(s, t)
	if err != nil {
		return nil, err
	}
	c.done[encKey{s, t}] = n
	return n, nil
}

func (c *decCompiler) build(s *data.Schema, t *avro.Type) (n *decNode, err error) {
	n = &decNode{schema: s, min: 1}
	if s == nil && t.Kind != avro.Union {
		n.op, n.min = rdAnything, anyFields
		return n, nil
	}
	switch t.Kind {
	case avro.Null:
		n.op, n.min = rdNull, 0
	case avro.Boolean:
		n.op = rdBool
	case avro.Int:
		switch s.Type() {
		case data.TypeInt8:
			n.op = rdInt8
		case data.TypeInt16:
			n.op = rdInt16
		default:
			n.op = rdInt32
		}
	case avro.Long:
		n.op = rdInt64
	case avro.Float:
		n.op, n.min = rdFloat, 4
	case avro.Double:
		n.op, n.min = rdDouble, 8
	case avro.String:
		n.op = rdString
	case avro.Bytes:
		n.op = rdBytes
	case avro.Fixed:
		n.op, n.size, n.min = rdFixed, t.Size, t.Size
	case avro.Enum:
		n.op = rdEnum
		for _, symbol := range t.Symbols {
			n.symbols = append(n.symbols, data.String(symbol))
		}
	case avro.Map:
		n.op = rdMap
		n.elem, err = c.compile(s.ValueSchema(), t.Elem)
	case avro.Array:
		err = c.array(n, s, t)
	case avro.Record:
		err = c.record(n, s, t)
	case avro.Union:
		err = c.union(n, s, t)
	}
	return n, err
}

func (c *decCompiler) array(n *decNode, s *data.Schema, t *avro.Type) (err error) {
	if s.Type() != data.TypeMap {
		n.op = rdArray
		n.elem, err = c.compile(s.ValueSchema(), t.Elem)
		return err
	}
	n.op = rdEntries
	n.keyFirst = t.Elem.Fields[0].Name == "key"
	if n.key, err = c.compile(s.KeySchema(), t.Elem.Field("key").Type); err != nil {
		return err
	}
	n.elem, err = c.compile(s.ValueSchema(), t.Elem.Field("value").Type)
	return err
}

func (c *decCompiler) record(n *decNode, s *data.Schema, t *avro.Type) error {
	n.op, n.min = rdRecord, 0
	for i, f := range t.Fields {
		node, err := c.compile(s.Fields()[i].Schema, f.Type)
		if err != nil {
			return atPath(f.Name, err)
		}
		n.fields = append(n.fields, node)
		n.names = append(n.names, f.Name)
		if n.min < 1<<20 {
			n.min += node.min
		}
	}
	return nil
}

func (c *decCompiler) union(n *decNode, s *data.Schema, t *avro.Type) (err error) {
	if member := nullable(t); member != nil {
		n.op = rdOptional
		if t.Branches[1].Kind == avro.Null {
			n.null = 1
		}
		n.elem, err = c.compile(s, member)
		return err
	}
	n.op = rdUnion
	field := 0
	for _, b := range t.Branches {
		switch {
		case b.Kind == avro.Null:
			n.branches = append(n.branches, decBranch{field: -1})
			continue
		case s.Name() != UnionName || s.Type() != data.TypeStruct: // a flattened union of one
			node, err := c.compile(s, b)
			if err != nil {
				return err
			}
			n.branches = append(n.branches, decBranch{node, -1})
			continue
		}
		node, err := c.compile(s.Fields()[field].Schema, b)
		if err != nil {
			return err
		}
		n.branches = append(n.branches, decBranch{node, field})
		field++
	}
	return nil
}

// decoding is the state of one record's reading: what is left of it, and the arenas that its structs are cut from.
type decoding struct {
	b           []byte
	values      []data.Value
	structs     []data.Struct
	nextValues  int
	nextStructs int
	usedValues  int
	usedStructs int
	empty       int
}

// newStruct returns a struct with null fields. Arenas are sized by the record before, so that mostly one of each serves a record.
func (r *decoding) newStruct(s *data.Schema) *data.Struct {
	n := len(s.Fields())
	if n > len(r.values) {
		r.values = make([]data.Value, max(n, r.nextValues))
		r.nextValues = 0
	}
	if len(r.structs) == 0 {
		r.structs = make([]data.Struct, max(1, r.nextStructs))
		r.nextStructs = 0
	}
	st := &r.structs[0]
	r.structs = r.structs[1:]
	st.Schema, st.Values = s, r.values[:n:n]
	r.values = r.values[n:]
	r.usedValues += n
	r.usedStructs++
	return st
}

var errShort = plugins.Dataf("malformed Avro data: it ends within a value")

// long reads a zig-zag varint.
func (r *decoding) long() (int64, error) {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		u := r.b[0]
		r.b = r.b[1:]
		return int64(u>>1) ^ -int64(u&1), nil
	}
	v, n := binary.Varint(r.b)
	if n == 0 {
		return 0, errShort
	}
	if n < 0 {
		return 0, plugins.Dataf("malformed Avro data: a number has more than 64 bits")
	}
	r.b = r.b[n:]
	return v, nil
}

func (r *decoding) take(n int) ([]byte, error) {
	if n > len(r.b) {
		return nil, errShort
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b, nil
}

// sized reads a length and as many bytes.
func (r *decoding) sized() ([]byte, error) {
	n, err := r.long()
	if err != nil {
		return nil, err
	}
	if n < 0 {
		return nil, plugins.Dataf("malformed Avro data: length %d is negative", n)
	}
	if n > int64(len(r.b)) {
		return nil, plugins.Dataf("malformed Avro data: length %d exceeds the %d bytes that are left", n, len(r.b))
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b, nil
}

func (r *decoding) read(n *decNode) (data.Value, error) {
	switch n.op {
	case rdOptional:
		i, err := r.long()
		if err != nil {
			return data.Null, err
		}
		if i == n.null {
			return data.Null, nil
		}
		if i != 1-n.null {
			return data.Null, badBranch(i)
		}
		return r.read(n.elem)
	case rdInt32, rdInt8, rdInt16:
		return r.integer(n)
	case rdInt64:
		v, err := r.long()
		return data.Int64(v), err
	case rdString:
		b, err := r.sized()
		return data.StringBytes(b), err
	case rdRecord:
		st := r.newStruct(n.schema)
		for i, f := range n.fields {
			var err error
			if st.Values[i], err = r.read(f); err != nil {
				return data.Null, atPath(n.names[i], err)
			}
		}
		return data.StructOf(st), nil
	case rdBool:
		b, err := r.take(1)
		if err != nil {
			return data.Null, err
		}
		return data.Bool(b[0] == 1), nil
	case rdBytes:
		b, err := r.sized()
		return data.Bytes(b), err
	case rdDouble:
		b, err := r.take(8)
		if err != nil {
			return data.Null, err
		}
		return data.Float64(math.Float64frombits(binary.LittleEndian.Uint64(b))), nil
	case rdFloat:
		b, err := r.take(4)
		if err != nil {
			return data.Null, err
		}
		return data.Float32(math.Float32frombits(binary.LittleEndian.Uint32(b))), nil
	default:
		return r.readRare(n)
	}
}

func badBranch(i int64) error {
	return plugins.Dataf("malformed Avro data: a union has no branch %d", i)
}

func (r *decoding) integer(n *decNode) (data.Value, error) {
	v, err := r.long()
	if err != nil {
		return data.Null, err
	}
	if v != int64(int32(v)) {
		return data.Null, plugins.Dataf("malformed Avro data: int %d has more than 32 bits", v)
	}
	switch n.op {
	case rdInt8:
		return data.Int8(int8(v)), nil
	case rdInt16:
		return data.Int16(int16(v)), nil
	default:
		return data.Int32(int32(v)), nil
	}
}

func (r *decoding) readRare(n *decNode) (data.Value, error) {
	switch n.op {
	case rdNull:
		return data.Null, nil
	case rdFixed:
		b, err := r.take(n.size)
		return data.Bytes(b), err
	case rdEnum:
		i, err := r.long()
		if err != nil {
			return data.Null, err
		}
		if i < 0 || i >= int64(len(n.symbols)) {
			return data.Null, plugins.Dataf("malformed Avro data: an enum has no symbol %d", i)
		}
		return n.symbols[i], nil
	case rdArray:
		elems := []data.Value{}
		err := r.blocks(n.elem.min, func(count int) { elems = grow(elems, count) }, func() error {
			v, err := r.read(n.elem)
			elems = append(elems, v)
			return err
		})
		return data.Array(elems), err
	case rdMap, rdEntries:
		return r.mapping(n)
	case rdUnion:
		i, err := r.long()
		if err != nil {
			return data.Null, err
		}
		if i < 0 || i >= int64(len(n.branches)) {
			return data.Null, badBranch(i)
		}
		b := n.branches[i]
		if b.node == nil {
			return data.Null, nil
		}
		v, err := r.read(b.node)
		if err != nil || b.field < 0 {
			return v, err
		}
		st := r.newStruct(n.schema)
		st.Values[b.field] = v
		return data.StructOf(st), nil
	case rdAnything:
		return r.anything(0)
	default:
		return data.Null, fmt.Errorf("avrodata: no reader for op %d", n.op)
	}
}

// grow makes room for count more elements, but not for more than a record may claim without showing them.
func grow[T any](s []T, count int) []T {
	if free := cap(s) - len(s); free < count {
		s = append(make([]T, 0, max(2*len(s), len(s)+min(count, maxEmpty))), s...)
	}
	return s
}

// blocks reads the blocks of an array or map. least is the fewest bytes of an element; room is told how many are to come.
func (r *decoding) blocks(least int, room func(int), element func() error) error {
	for {
		count, err := r.long()
		if err != nil || count == 0 {
			return err
		}
		if count < 0 {
			if count == math.MinInt64 {
				return plugins.Dataf("malformed Avro data: a block of %d elements", count)
			}
			count = -count
			if _, err := r.long(); err != nil { // the size in bytes, for those who skip
				return err
			}
		}
		if least > 0 {
			if count > int64(len(r.b)/least) {
				return plugins.Dataf("malformed Avro data: %d elements cannot be in the %d bytes that are left", count, len(r.b))
			}
		} else if r.empty += int(min(count, maxEmpty+1)); r.empty > maxEmpty {
			return plugins.Dataf("malformed Avro data: more than %d elements without content", maxEmpty)
		}
		room(int(count))
		for range count {
			if err := element(); err != nil {
				return err
			}
		}
	}
}

func (r *decoding) mapping(n *decNode) (data.Value, error) {
	entries := []data.MapEntry{}
	least := n.elem.min + 1
	if n.op == rdEntries {
		least = n.elem.min + n.key.min
	}
	err := r.blocks(least, func(count int) { entries = grow(entries, count) }, func() (err error) {
		var e data.MapEntry
		switch {
		case n.op == rdMap:
			var k []byte
			if k, err = r.sized(); err != nil {
				return err
			}
			e.Key = data.StringBytes(k)
			e.Value, err = r.read(n.elem)
		case n.keyFirst:
			if e.Key, err = r.read(n.key); err != nil {
				return err
			}
			e.Value, err = r.read(n.elem)
		default:
			if e.Value, err = r.read(n.elem); err != nil {
				return err
			}
			e.Key, err = r.read(n.key)
		}
		entries = append(entries, e)
		return err
	})
	return data.Map(entries), err
}

// anything reads a value without a schema: the first field that is set counts, as in the original.
func (r *decoding) anything(depth int) (data.Value, error) {
	if depth > maxDepth {
		return data.Null, plugins.Dataf("malformed Avro data: data without a schema is nested deeper than %d", maxDepth)
	}
	var out data.Value
	for field := range anyFields {
		branch, err := r.long()
		if err != nil {
			return data.Null, err
		}
		if branch == 0 {
			continue
		}
		if branch != 1 {
			return data.Null, badBranch(branch)
		}
		v, err := r.anyField(field, depth)
		if err != nil {
			return data.Null, err
		}
		if out.IsNull() {
			out = v
		}
	}
	return out, nil
}

var anyNodes = [...]*decNode{anyBoolean: {op: rdBool}, anyBytes: {op: rdBytes}, anyDouble: {op: rdDouble}, anyFloat: {op: rdFloat},
	anyInt: {op: rdInt32}, anyLong: {op: rdInt64}, anyString: {op: rdString}}

func (r *decoding) anyField(field, depth int) (data.Value, error) {
	switch field {
	case anyArray:
		elems := []data.Value{}
		err := r.blocks(anyFields, func(n int) { elems = grow(elems, n) }, func() error {
			v, err := r.anything(depth + 1)
			elems = append(elems, v)
			return err
		})
		return data.Array(elems), err
	case anyMap:
		entries := []data.MapEntry{}
		err := r.blocks(2*anyFields, func(n int) { entries = grow(entries, n) }, func() error {
			k, err := r.anything(depth + 1)
			if err != nil {
				return err
			}
			v, err := r.anything(depth + 1)
			entries = append(entries, data.MapEntry{Key: k, Value: v})
			return err
		})
		return data.Map(entries), err
	default:
		return r.read(anyNodes[field])
	}
}
