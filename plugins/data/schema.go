package data

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Type is the physical type of a schema, named as in Kafka Connect.
type Type uint8

// The types of Kafka Connect's data model.
const (
	TypeInvalid Type = iota
	TypeInt8
	TypeInt16
	TypeInt32
	TypeInt64
	TypeFloat32
	TypeFloat64
	TypeBoolean
	TypeString
	TypeBytes
	TypeArray
	TypeMap
	TypeStruct
)

var typeNames = [...]string{"invalid", "int8", "int16", "int32", "int64", "float32", "float64", "boolean", "string", "bytes", "array", "map", "struct"}

// String returns the name that Connect's JSON schemas use: int8, int16, ..., boolean, string, bytes, array, map, struct.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// Primitive reports whether values of the type have no parts.
func (t Type) Primitive() bool { return t >= TypeInt8 && t <= TypeBytes }

// TypeFromName is the inverse of [Type.String] for valid types.
func TypeFromName(s string) (Type, bool) {
	for i, n := range typeNames {
		if i > 0 && n == s {
			return Type(i), true
		}
	}
	return TypeInvalid, false
}

// Names of the logical types that Kafka Connect itself defines.
const (
	LogicalDecimal   = "org.apache.kafka.connect.data.Decimal"   // bytes, two's complement big endian; parameter "scale"
	LogicalDate      = "org.apache.kafka.connect.data.Date"      // int32, days since the epoch
	LogicalTime      = "org.apache.kafka.connect.data.Time"      // int32, milliseconds since midnight
	LogicalTimestamp = "org.apache.kafka.connect.data.Timestamp" // int64, milliseconds since the epoch
)

// Schema describes a value. It is immutable after Build (see [Builder]); use it by pointer and share it.
type Schema struct {
	typ      Type
	optional bool
	version  int32 // 0: none
	name     string
	doc      string
	params   []Param
	def      Value // null: no default
	hasDef   bool

	key   *Schema // map
	value *Schema // map and array (element)

	fields []Field // struct
	index  map[string]int

	fp   uint64
	once sync.Once
	slot [4]atomic.Pointer[any] // see Slot
}

// Param is one schema parameter; order is kept.
type Param struct{ Key, Value string }

// Field is a named part of a struct schema.
type Field struct {
	Name   string
	Index  int
	Schema *Schema
}

// Type returns the physical type. A nil schema has TypeInvalid.
func (s *Schema) Type() Type {
	if s == nil {
		return TypeInvalid
	}
	return s.typ
}

// Optional reports whether null is a valid value. A nil schema allows anything.
func (s *Schema) Optional() bool { return s == nil || s.optional }

// Name returns the logical or record name, or "".
func (s *Schema) Name() string {
	if s == nil {
		return ""
	}
	return s.name
}

// Version returns the schema version; ok is false when it has none.
func (s *Schema) Version() (v int32, ok bool) {
	if s == nil || s.version == 0 {
		return 0, false
	}
	return s.version, true
}

// Doc returns the documentation text, or "".
func (s *Schema) Doc() string { return s.doc }

// Params returns the parameters in the order they were added. Do not change it.
func (s *Schema) Params() []Param {
	if s == nil {
		return nil
	}
	return s.params
}

// Param returns the parameter named key, or "".
func (s *Schema) Param(key string) string {
	if s == nil {
		return ""
	}
	for _, p := range s.params {
		if p.Key == key {
			return p.Value
		}
	}
	return ""
}

// Default returns the default value; ok is false when there is none. A default may itself be null.
func (s *Schema) Default() (v Value, ok bool) {
	if s == nil {
		return Value{}, false
	}
	return s.def, s.hasDef
}

// KeySchema returns the schema of a map's keys.
func (s *Schema) KeySchema() *Schema { return s.key }

// ValueSchema returns the schema of a map's values or of an array's elements.
func (s *Schema) ValueSchema() *Schema { return s.value }

// Fields returns a struct's fields in order. Do not change it.
func (s *Schema) Fields() []Field {
	if s == nil {
		return nil
	}
	return s.fields
}

// Field looks a field up by name.
func (s *Schema) Field(name string) (Field, bool) {
	if s == nil {
		return Field{}, false
	}
	if s.index != nil {
		i, ok := s.index[name]
		if !ok {
			return Field{}, false
		}
		return s.fields[i], true
	}
	for _, f := range s.fields {
		if f.Name == name {
			return f, true
		}
	}
	return Field{}, false
}

// SlotID names one of the few places on a schema where a package may keep what it compiled from it (see [Schema.Slot]).
type SlotID uint8

// The slots in use; each belongs to one package.
const (
	SlotAvro    SlotID = iota // plugins/converters: compiled Avro encoder
	SlotJSON                  // plugins/converters: pre-rendered JSON schema
	SlotSink                  // a sink connector's own compiled form
	SlotDerived               // plugins/transforms: schema derived from this one
)

// Slot returns a pointer-sized place on the schema for a value compiled from it, so that a hot path finds it without a map
// look-up. It is safe for concurrent use; the last store wins, so what is stored must be a pure function of the schema.
func (s *Schema) Slot(id SlotID) *atomic.Pointer[any] { return &s.slot[id] }

// Equal reports whether two schemas describe the same values: type, optionality, name, version, doc, parameters, default and parts.
func (s *Schema) Equal(o *Schema) bool {
	if s == o {
		return true
	}
	if s == nil || o == nil || s.Fingerprint() != o.Fingerprint() {
		return false
	}
	if s.typ != o.typ || s.optional != o.optional || s.version != o.version || s.name != o.name || s.doc != o.doc ||
		s.hasDef != o.hasDef || !s.def.Equal(o.def) || len(s.params) != len(o.params) || len(s.fields) != len(o.fields) {
		return false
	}
	for i, p := range s.params {
		if o.params[i] != p {
			return false
		}
	}
	for i := range s.fields {
		if s.fields[i].Name != o.fields[i].Name || !s.fields[i].Schema.Equal(o.fields[i].Schema) {
			return false
		}
	}
	return s.key.Equal(o.key) && s.value.Equal(o.value)
}

// Fingerprint returns a hash of everything Equal compares but defaults; computed once.
func (s *Schema) Fingerprint() uint64 {
	if s == nil {
		return 0
	}
	s.once.Do(func() {
		h := fnvOffset
		h = fnvByte(h, byte(s.typ))
		if s.optional {
			h = fnvByte(h, 1)
		}
		h = fnvString(h, s.name)
		h = fnvString(h, s.doc)
		h = fnvUint(h, uint64(uint32(s.version)))
		for _, p := range s.params {
			h = fnvString(fnvString(h, p.Key), p.Value)
		}
		for i := range s.fields {
			h = fnvUint(fnvString(h, s.fields[i].Name), s.fields[i].Schema.Fingerprint())
		}
		s.fp = fnvUint(fnvUint(h, s.key.Fingerprint()), s.value.Fingerprint())
	})
	return s.fp
}

const (
	fnvOffset = uint64(14695981039346656037)
	fnvPrime  = uint64(1099511628211)
)

func fnvByte(h uint64, b byte) uint64 { return (h ^ uint64(b)) * fnvPrime }

func fnvString(h uint64, s string) uint64 {
	for i := range len(s) {
		h = fnvByte(h, s[i])
	}
	return fnvByte(h, 0xff)
}

func fnvUint(h, v uint64) uint64 {
	for range 8 {
		h = fnvByte(h, byte(v))
		v >>= 8
	}
	return h
}
