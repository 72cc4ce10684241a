package data

import "fmt"

// Builder builds one schema. Methods return the builder; Build freezes it.
type Builder struct{ s *Schema }

// New starts a schema of a primitive type or an empty struct.
func New(t Type) *Builder { return &Builder{&Schema{typ: t}} }

// NewStruct starts a struct schema.
func NewStruct() *Builder { return New(TypeStruct) }

// NewArray starts an array schema.
func NewArray(elem *Schema) *Builder { return &Builder{&Schema{typ: TypeArray, value: elem}} }

// NewMap starts a map schema.
func NewMap(key, value *Schema) *Builder {
	return &Builder{&Schema{typ: TypeMap, key: key, value: value}}
}

// From starts from a copy of s, to which fields, parameters and attributes may be added.
func From(s *Schema) *Builder {
	c := &Schema{typ: s.typ, optional: s.optional, version: s.version, name: s.name, doc: s.doc, def: s.def, hasDef: s.hasDef, key: s.key, value: s.value}
	c.params = append([]Param(nil), s.params...)
	c.fields = append([]Field(nil), s.fields...)
	return &Builder{c}
}

// Optional makes null a valid value.
func (b *Builder) Optional() *Builder { b.s.optional = true; return b }

// SetOptional sets whether null is a valid value.
func (b *Builder) SetOptional(v bool) *Builder { b.s.optional = v; return b }

// Name sets the logical or record name.
func (b *Builder) Name(n string) *Builder { b.s.name = n; return b }

// Version sets the version; 0 means none.
func (b *Builder) Version(v int32) *Builder { b.s.version = v; return b }

// Doc sets the documentation.
func (b *Builder) Doc(d string) *Builder { b.s.doc = d; return b }

// Param adds a parameter, or replaces the one with the same key.
func (b *Builder) Param(key, value string) *Builder {
	for i := range b.s.params {
		if b.s.params[i].Key == key {
			b.s.params[i].Value = value
			return b
		}
	}
	b.s.params = append(b.s.params, Param{key, value})
	return b
}

// Default sets the default value.
func (b *Builder) Default(v Value) *Builder { b.s.def, b.s.hasDef = v, true; return b }

// NoDefault removes the default value.
func (b *Builder) NoDefault() *Builder { b.s.def, b.s.hasDef = Value{}, false; return b }

// Field adds a struct field. It panics on a duplicate name or on a schema that is no struct: a bug of the caller.
func (b *Builder) Field(name string, s *Schema) *Builder {
	if b.s.typ != TypeStruct || s == nil {
		panic(fmt.Sprintf("data: field %q needs a struct schema and a field schema", name))
	}
	for i := range b.s.fields {
		if b.s.fields[i].Name == name {
			panic(fmt.Sprintf("data: duplicate field %q in schema %q", name, b.s.name))
		}
	}
	b.s.fields = append(b.s.fields, Field{Name: name, Index: len(b.s.fields), Schema: s})
	return b
}

// Build returns the finished schema. The builder must not be used afterwards.
func (b *Builder) Build() *Schema {
	s := b.s
	b.s = nil
	if len(s.fields) > 8 {
		s.index = make(map[string]int, len(s.fields))
		for i := range s.fields {
			s.index[s.fields[i].Name] = i
		}
	}
	return s
}

// Shared schemas of the primitive types.
var (
	Int8Schema    = New(TypeInt8).Build()
	Int16Schema   = New(TypeInt16).Build()
	Int32Schema   = New(TypeInt32).Build()
	Int64Schema   = New(TypeInt64).Build()
	Float32Schema = New(TypeFloat32).Build()
	Float64Schema = New(TypeFloat64).Build()
	BooleanSchema = New(TypeBoolean).Build()
	StringSchema  = New(TypeString).Build()
	BytesSchema   = New(TypeBytes).Build()

	OptionalInt8Schema    = New(TypeInt8).Optional().Build()
	OptionalInt16Schema   = New(TypeInt16).Optional().Build()
	OptionalInt32Schema   = New(TypeInt32).Optional().Build()
	OptionalInt64Schema   = New(TypeInt64).Optional().Build()
	OptionalFloat32Schema = New(TypeFloat32).Optional().Build()
	OptionalFloat64Schema = New(TypeFloat64).Optional().Build()
	OptionalBooleanSchema = New(TypeBoolean).Optional().Build()
	OptionalStringSchema  = New(TypeString).Optional().Build()
	OptionalBytesSchema   = New(TypeBytes).Optional().Build()
)
