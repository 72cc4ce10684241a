package avrodata

import (
	"encoding/binary"
	"math"
	"sync/atomic"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// Encoder writes values of one Connect schema in Avro's binary form. It is immutable and safe for concurrent use.
type Encoder struct {
	schema *avro.Schema
	text   string
	root   *encNode
}

// NewEncoder derives the Avro schema of s and compiles it; s may be nil (data without a schema).
func NewEncoder(s *data.Schema, cfg Config) (*Encoder, error) {
	a, err := FromConnect(s, cfg)
	if err != nil {
		return nil, err
	}
	return newEncoder(s, a, cfg, false)
}

// NewEncoderTo compiles an encoder of values of s into a given Avro schema: fields are matched by name, fields that s lacks are
// written as their default, numbers are widened. Fields that the Avro schema lacks are an error, or with lenient left out.
func NewEncoderTo(s *data.Schema, to *avro.Schema, cfg Config, lenient bool) (*Encoder, error) {
	return newEncoder(s, to, cfg, lenient)
}

func newEncoder(s *data.Schema, a *avro.Schema, cfg Config, lenient bool) (*Encoder, error) {
	c := encCompiler{cfg: cfg, lenient: lenient, done: map[encKey]*encNode{}}
	root, err := c.compile(s, a.Root)
	if err != nil {
		return nil, err
	}
	return &Encoder{schema: a, text: a.Canonical(), root: root}, nil
}

// Schema returns the Avro schema that is written. It is read only.
func (e *Encoder) Schema() *avro.Schema { return e.schema }

// Text returns the schema as it is registered.
func (e *Encoder) Text() string { return e.text }

// Append writes v at the end of dst. It allocates nothing but what dst grows by.
func (e *Encoder) Append(dst []byte, v data.Value) ([]byte, error) { return e.root.append(dst, v) }

type encOp uint8

const (
	opInvalid encOp = iota
	opInt           // any integer as a varint: int and long are the same bytes
	opFloat
	opDouble
	opIntFloat  // an integer written as float
	opIntDouble // an integer written as double
	opBool
	opString
	opBytes
	opFixed
	opDecimalFixed
	opEnum
	opArray
	opMap
	opEntries // a map as an array of records
	opRecord
	opUnion    // the struct that stands for a union
	opAnything // a value without a schema
	opConst    // bytes that do not depend on the value
)

type encNode struct {
	op     encOp
	kind   data.Type
	nullOK bool
	hasDef bool
	// prefixes are the indexes in the union that the type is a member of; empty without a union.
	nullPrefix, valuePrefix []byte
	def                     data.Value // written for a null field
	schema                  *data.Schema
	fields                  []encField
	key, elem               *encNode
	size                    int
	symbols                 map[string]int64
	constant                []byte
	alike                   *atomic.Pointer[data.Schema] // the struct schema last found to be as good as schema
}

type encField struct {
	node *encNode
	src  int // index of the field in the struct
	name string
}

type encKey struct {
	s *data.Schema
	t *avro.Type
}

type encCompiler struct {
	cfg     Config
	lenient bool
	done    map[encKey]*encNode
}

func (c *encCompiler) compile(s *data.Schema, t *avro.Type) (*encNode, error) {
	if n := c.done[encKey{s, t}]; n != nil {
		return n, nil
	}
	n := &encNode{schema: s, kind: s.Type(), nullOK: s.Optional()}
	var err error
	if t.Kind == avro.Union {
		err = c.member(n, s, t)
	} else {
		n.nullOK = false
		err = c.fill(n, s, t)
	}
	if err == nil {
		c.done[encKey{s, t}] = n
	}
	return n, err
}

// member compiles a type that is one of a union's.
func (c *encCompiler) member(n *encNode, s *data.Schema, u *avro.Type) error {
	null := -1
	for i, b := range u.Branches {
		if b.Kind == avro.Null {
			null = i
		}
	}
	n.nullOK = n.nullOK && null >= 0
	if null >= 0 {
		n.nullPrefix = binary.AppendVarint(nil, int64(null))
	}
	if s.Name() == UnionName && s.Type() == data.TypeStruct {
		n.op, n.alike = opUnion, new(atomic.Pointer[data.Schema])
		for _, field := range s.Fields() {
			at := -1
			for i, b := range u.Branches {
				if b.Kind != avro.Null && c.cfg.memberName(b) == field.Name {
					at = i
				}
			}
			if at < 0 {
				return plugins.Dataf("union member %s is not in the Avro schema", field.Name)
			}
			m := &encNode{schema: field.Schema, kind: field.Schema.Type(), valuePrefix: binary.AppendVarint(nil, int64(at))}
			if err := c.fill(m, field.Schema, u.Branches[at]); err != nil {
				return atPath(field.Name, err)
			}
			n.fields = append(n.fields, encField{m, field.Index, field.Name})
		}
		return nil
	}
	var first error
	for i, b := range u.Branches {
		if b.Kind == avro.Null {
			continue
		}
		try := *n
		try.valuePrefix = binary.AppendVarint(nil, int64(i))
		err := c.fill(&try, s, b)
		if err == nil {
			*n = try
			return nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = plugins.Dataf("the Avro schema allows nothing but null")
	}
	return first
}

func isInteger(t data.Type) bool { return t >= data.TypeInt8 && t <= data.TypeInt64 }

// fill compiles s against a type that is no union.
func (c *encCompiler) fill(n *encNode, s *data.Schema, t *avro.Type) error {
	if s == nil {
		if !isAnything(t) {
			return plugins.Dataf("data without a schema cannot be written as %s", t.FullName())
		}
		n.op = opAnything
		return nil
	}
	switch k := s.Type(); {
	case k == data.TypeStruct && t.Kind == avro.Record:
		return c.record(n, s, t)
	case k == data.TypeArray && t.Kind == avro.Array:
		n.op = opArray
		return c.part(&n.elem, s.ValueSchema(), t.Elem)
	case k == data.TypeMap && t.Kind == avro.Map && s.KeySchema().Type() == data.TypeString:
		n.op = opMap
		return c.part(&n.elem, s.ValueSchema(), t.Elem)
	case k == data.TypeMap && t.Kind == avro.Array && t.Elem.Kind == avro.Record && t.Elem.Field("key") != nil && t.Elem.Field("value") != nil && len(t.Elem.Fields) == 2:
		n.op = opEntries
		if err := c.part(&n.key, s.KeySchema(), t.Elem.Field("key").Type); err != nil {
			return err
		}
		return c.part(&n.elem, s.ValueSchema(), t.Elem.Field("value").Type)
	case isInteger(k) && (t.Kind == avro.Int && k != data.TypeInt64 || t.Kind == avro.Long):
		n.op = opInt
	case isInteger(k) && t.Kind == avro.Float:
		n.op = opIntFloat
	case isInteger(k) && t.Kind == avro.Double:
		n.op = opIntDouble
	case k == data.TypeFloat32 && t.Kind == avro.Float:
		n.op = opFloat
	case (k == data.TypeFloat32 || k == data.TypeFloat64) && t.Kind == avro.Double:
		n.op = opDouble
	case k == data.TypeBoolean && t.Kind == avro.Boolean:
		n.op = opBool
	case k == data.TypeString && t.Kind == avro.String:
		n.op = opString
	case k == data.TypeString && t.Kind == avro.Enum:
		n.op = opEnum
		n.symbols = make(map[string]int64, len(t.Symbols))
		for i, symbol := range t.Symbols {
			n.symbols[symbol] = int64(i)
		}
	case k == data.TypeBytes && t.Kind == avro.Bytes, k == data.TypeString && t.Kind == avro.Bytes, k == data.TypeBytes && t.Kind == avro.String:
		n.op = opBytes
	case k == data.TypeBytes && t.Kind == avro.Fixed:
		n.op, n.size = opFixed, t.Size
		if s.Name() == data.LogicalDecimal {
			n.op = opDecimalFixed
		}
	default:
		return plugins.Dataf("%s cannot be written as the Avro type %s", k, t.FullName())
	}
	return nil
}

func (c *encCompiler) part(to **encNode, s *data.Schema, t *avro.Type) (err error) {
	*to, err = c.compile(s, t)
	return err
}

func (c *encCompiler) record(n *encNode, s *data.Schema, t *avro.Type) error {
	n.op, n.alike = opRecord, new(atomic.Pointer[data.Schema])
	bySource := make(map[string]data.Field, len(s.Fields()))
	for _, f := range s.Fields() {
		name := f.Name
		if c.cfg.ScrubNames {
			name = scrubName(name)
		}
		bySource[name] = f
	}
	for _, af := range t.Fields {
		f, ok := bySource[af.Name]
		if !ok {
			if !af.HasDefault {
				return plugins.Dataf("field %s of record %s is not in the data and has no default", af.Name, t.FullName())
			}
			b, err := defaultBytes(af)
			if err != nil {
				return atPath(af.Name, err)
			}
			n.fields = append(n.fields, encField{node: &encNode{op: opConst, constant: b}, src: -1, name: af.Name})
			continue
		}
		delete(bySource, af.Name)
		node, err := c.compile(f.Schema, af.Type)
		if err != nil {
			return atPath(f.Name, err)
		}
		if d, ok := f.Schema.Default(); ok && !d.IsNull() && !c.cfg.IgnoreDefaultForNullables {
			withDefault := *node
			withDefault.def, withDefault.hasDef = d, true
			node = &withDefault
		}
		n.fields = append(n.fields, encField{node, f.Index, f.Name})
	}
	if !c.lenient {
		for name := range bySource {
			return plugins.Dataf("field %s is not in record %s of the Avro schema", name, t.FullName())
		}
	}
	return nil
}

func appendLong(dst []byte, v int64) []byte {
	u := uint64(v)<<1 ^ uint64(v>>63)
	for u >= 0x80 {
		dst = append(dst, byte(u)|0x80)
		u >>= 7
	}
	return append(dst, byte(u))
}

var errNull = plugins.Dataf("Found null value for non-optional schema")

func (n *encNode) wrongType(v data.Value) error {
	return plugins.Dataf("Invalid type for %s: %s", n.kind, v.Type())
}

// append writes v as the member of a union that it is, if it is one. Whether a null is an absent value or the default was decided
// when the node was compiled.
func (n *encNode) append(dst []byte, v data.Value) ([]byte, error) {
	if v.IsNull() && n.op != opAnything && n.op != opConst {
		switch {
		case n.hasDef:
			v = n.def
		case n.nullOK:
			return append(dst, n.nullPrefix...), nil
		default:
			return nil, errNull
		}
	}
	dst = append(dst, n.valuePrefix...)
	switch n.op {
	case opInt:
		if !isInteger(v.Type()) {
			return nil, n.wrongType(v)
		}
		return appendLong(dst, v.Int()), nil
	case opString:
		if v.Type() != data.TypeString {
			return nil, n.wrongType(v)
		}
		s := v.Str()
		return append(appendLong(dst, int64(len(s))), s...), nil
	case opRecord:
		return n.record(dst, v)
	case opBool:
		if v.Type() != data.TypeBoolean {
			return nil, n.wrongType(v)
		}
		return append(dst, byte(v.Int())), nil
	case opBytes:
		if v.Type() != data.TypeBytes && v.Type() != data.TypeString {
			return nil, n.wrongType(v)
		}
		b := v.Bytes()
		return append(appendLong(dst, int64(len(b))), b...), nil
	case opFloat, opDouble:
		if v.Type() != n.kind {
			return nil, n.wrongType(v)
		}
		if n.op == opFloat {
			return binary.LittleEndian.AppendUint32(dst, math.Float32bits(v.Float32())), nil
		}
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v.Float())), nil
	default:
		return n.appendRare(dst, v)
	}
}

// appendRare holds the cases that are kept out of append so that its frame stays small.
func (n *encNode) appendRare(dst []byte, v data.Value) ([]byte, error) {
	switch n.op {
	case opConst:
		return append(dst, n.constant...), nil
	case opAnything:
		return appendAnything(dst, v, 0)
	}
	if v.Type() != n.kind {
		return nil, n.wrongType(v)
	}
	switch n.op {
	case opIntFloat:
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(v.Int()))), nil
	case opIntDouble:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(float64(v.Int()))), nil
	case opFixed:
		if len(v.Bytes()) != n.size {
			return nil, plugins.Dataf("%d bytes do not make a fixed of %d", len(v.Bytes()), n.size)
		}
		return append(dst, v.Bytes()...), nil
	case opDecimalFixed:
		return n.decimalFixed(dst, v.Bytes())
	case opEnum:
		i, ok := n.symbols[v.Str()]
		if !ok {
			return nil, plugins.Dataf("value %q is not a symbol of the enum", v.Str())
		}
		return appendLong(dst, i), nil
	case opArray:
		return n.array(dst, v.Array())
	case opMap, opEntries:
		return n.mapping(dst, v.Map())
	case opUnion:
		return n.union(dst, v)
	default:
		return nil, plugins.Dataf("Unknown schema type: %s", n.kind)
	}
}

// check refuses structs of another schema. Most have the very schema the node was compiled from.
func (n *encNode) check(s *data.Schema) error {
	if s == n.schema || s == n.alike.Load() {
		return nil
	}
	if !s.EqualFields(n.schema) {
		return plugins.Dataf("Mismatching struct schema")
	}
	n.alike.Store(s)
	return nil
}

func (n *encNode) record(dst []byte, v data.Value) ([]byte, error) {
	st := v.Struct()
	if st == nil {
		return nil, n.wrongType(v)
	}
	if err := n.check(st.Schema); err != nil {
		return nil, err
	}
	var err error
	for i := range n.fields {
		f := &n.fields[i]
		var fv data.Value
		if f.src >= 0 {
			fv = st.Values[f.src]
		}
		if dst, err = f.node.append(dst, fv); err != nil {
			return nil, atPath(f.name, err)
		}
	}
	return dst, nil
}

func (n *encNode) decimalFixed(dst, b []byte) ([]byte, error) {
	if len(b) > n.size {
		return nil, plugins.Dataf("Unscaled value byte array length %d is greater than fixed size %d", len(b), n.size)
	}
	var sign byte
	if len(b) > 0 && b[0]&0x80 != 0 {
		sign = 0xff
	}
	for range n.size - len(b) {
		dst = append(dst, sign)
	}
	return append(dst, b...), nil
}

func (n *encNode) array(dst []byte, elems []data.Value) ([]byte, error) {
	if len(elems) > 0 {
		dst = appendLong(dst, int64(len(elems)))
	}
	var err error
	for i := range elems {
		if dst, err = n.elem.append(dst, elems[i]); err != nil {
			return nil, err
		}
	}
	return append(dst, 0), nil
}

func (n *encNode) mapping(dst []byte, entries []data.MapEntry) ([]byte, error) {
	if len(entries) > 0 {
		dst = appendLong(dst, int64(len(entries)))
	}
	var err error
	for i := range entries {
		k := entries[i].Key
		if n.op == opMap {
			if k.Type() != data.TypeString {
				return nil, plugins.Dataf("Invalid type for a map's key: %s", k.Type())
			}
			dst = append(appendLong(dst, int64(len(k.Str()))), k.Str()...)
		} else if dst, err = n.key.append(dst, k); err != nil {
			return nil, err
		}
		if dst, err = n.elem.append(dst, entries[i].Value); err != nil {
			return nil, err
		}
	}
	return append(dst, 0), nil
}

// union writes the first member of a union struct that is set.
func (n *encNode) union(dst []byte, v data.Value) ([]byte, error) {
	st := v.Struct()
	if err := n.check(st.Schema); err != nil {
		return nil, err
	}
	for i := range n.fields {
		f := &n.fields[i]
		if !st.Values[f.src].IsNull() {
			return f.node.append(dst, st.Values[f.src])
		}
	}
	if n.nullOK {
		return append(dst, n.nullPrefix...), nil
	}
	return nil, errNull
}

// The fields of the Anything record, in its order.
const (
	anyBoolean = iota
	anyBytes
	anyDouble
	anyFloat
	anyInt
	anyLong
	anyString
	anyArray
	anyMap
	anyFields
)

// appendAnything writes a value without a schema: a record of optional fields of which one is set.
func appendAnything(dst []byte, v data.Value, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, plugins.Dataf("data without a schema is nested deeper than %d", maxDepth)
	}
	set := anyFields
	switch v.Type() {
	case data.TypeBoolean:
		set = anyBoolean
	case data.TypeBytes:
		set = anyBytes
	case data.TypeFloat64:
		set = anyDouble
	case data.TypeFloat32:
		set = anyFloat
	case data.TypeInt8, data.TypeInt16, data.TypeInt32:
		set = anyInt
	case data.TypeInt64:
		set = anyLong
	case data.TypeString:
		set = anyString
	case data.TypeArray:
		set = anyArray
	case data.TypeMap:
		set = anyMap
	case data.TypeStruct:
		return nil, plugins.Dataf("a struct needs a schema")
	}
	for range set {
		dst = append(dst, 0)
	}
	if set == anyFields {
		return dst, nil
	}
	dst = append(dst, 2) // the second branch of the union
	var err error
	switch set {
	case anyBoolean:
		dst = append(dst, byte(v.Int()))
	case anyDouble:
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v.Float()))
	case anyFloat:
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v.Float32()))
	case anyInt, anyLong:
		dst = appendLong(dst, v.Int())
	case anyBytes, anyString:
		dst = append(appendLong(dst, int64(len(v.Bytes()))), v.Bytes()...)
	case anyArray:
		if len(v.Array()) > 0 {
			dst = appendLong(dst, int64(len(v.Array())))
		}
		for _, e := range v.Array() {
			if dst, err = appendAnything(dst, e, depth+1); err != nil {
				return nil, err
			}
		}
		dst = append(dst, 0)
	case anyMap:
		if len(v.Map()) > 0 {
			dst = appendLong(dst, int64(len(v.Map())))
		}
		for _, e := range v.Map() {
			if dst, err = appendAnything(dst, e.Key, depth+1); err != nil {
				return nil, err
			}
			if dst, err = appendAnything(dst, e.Value, depth+1); err != nil {
				return nil, err
			}
		}
		dst = append(dst, 0)
	}
	for range anyFields - set - 1 {
		dst = append(dst, 0)
	}
	return dst, nil
}
