package data

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unsafe"
)

// Value is one immutable datum: null (the zero Value), a number, boolean, string, byte slice, array, map or struct.
// It is 24 bytes and copies by assignment; only arrays, maps and structs refer to memory allocated for them.
// A Value knows its physical type but not its schema: the schema travels beside it.
type Value struct {
	num uint64
	ref unsafe.Pointer
	typ Type
}

// Null is the absent value.
var Null Value

// Int8 and the other constructors make values of the named type.
func Int8(v int8) Value   { return Value{num: uint64(int64(v)), typ: TypeInt8} }
func Int16(v int16) Value { return Value{num: uint64(int64(v)), typ: TypeInt16} }
func Int32(v int32) Value { return Value{num: uint64(int64(v)), typ: TypeInt32} }
func Int64(v int64) Value { return Value{num: uint64(v), typ: TypeInt64} }

// Float32 holds v.
func Float32(v float32) Value { return Value{num: uint64(math.Float32bits(v)), typ: TypeFloat32} }

// Float64 holds v.
func Float64(v float64) Value { return Value{num: math.Float64bits(v), typ: TypeFloat64} }

// Bool holds v.
func Bool(v bool) Value {
	if v {
		return Value{num: 1, typ: TypeBoolean}
	}
	return Value{typ: TypeBoolean}
}

// String aliases s.
func String(s string) Value {
	return Value{num: uint64(len(s)), ref: unsafe.Pointer(unsafe.StringData(s)), typ: TypeString}
}

// StringBytes is a string value that aliases b, which must not change afterwards.
func StringBytes(b []byte) Value {
	return Value{num: uint64(len(b)), ref: unsafe.Pointer(unsafe.SliceData(b)), typ: TypeString}
}

// Bytes aliases b, which must not change afterwards. Nil gives an empty, non-null value.
func Bytes(b []byte) Value {
	return Value{num: uint64(len(b)), ref: unsafe.Pointer(unsafe.SliceData(b)), typ: TypeBytes}
}

// Array aliases vs.
func Array(vs []Value) Value {
	return Value{num: uint64(len(vs)), ref: unsafe.Pointer(unsafe.SliceData(vs)), typ: TypeArray}
}

// MapEntry is one pair of a map value; maps keep their order.
type MapEntry struct{ Key, Value Value }

// Map aliases es.
func Map(es []MapEntry) Value {
	return Value{num: uint64(len(es)), ref: unsafe.Pointer(unsafe.SliceData(es)), typ: TypeMap}
}

// Struct is the value of a struct schema: one Value a field, in the schema's order.
type Struct struct {
	Schema *Schema
	Values []Value
}

// StructOf holds st; nil gives Null.
func StructOf(st *Struct) Value {
	if st == nil {
		return Value{}
	}
	return Value{ref: unsafe.Pointer(st), typ: TypeStruct}
}

// NewStructValue returns a struct of schema s with all fields null, to be filled by index.
func NewStructValue(s *Schema) *Struct {
	return &Struct{Schema: s, Values: make([]Value, len(s.fields))}
}

// Get returns the field named name; ok is false when the schema has no such field.
func (st *Struct) Get(name string) (v Value, ok bool) {
	f, ok := st.Schema.Field(name)
	if !ok {
		return Value{}, false
	}
	return st.Values[f.Index], true
}

// Set stores the field named name and reports whether the schema has it. Only the maker of a struct may call it.
func (st *Struct) Set(name string, v Value) bool {
	f, ok := st.Schema.Field(name)
	if ok {
		st.Values[f.Index] = v
	}
	return ok
}

// IsNull reports whether v is null.
func (v Value) IsNull() bool { return v.typ == TypeInvalid }

// Type returns the physical type, TypeInvalid for null.
func (v Value) Type() Type { return v.typ }

// Int returns an integer of any width, or a boolean as 0 or 1. Meaningless for other types.
func (v Value) Int() int64 { return int64(v.num) }

// Float32 returns a float32 value.
func (v Value) Float32() float32 { return math.Float32frombits(uint32(v.num)) }

// Float returns a float32 or float64 value as float64.
func (v Value) Float() float64 {
	if v.typ == TypeFloat32 {
		return float64(math.Float32frombits(uint32(v.num)))
	}
	return math.Float64frombits(v.num)
}

// Bool returns a boolean value.
func (v Value) Bool() bool { return v.num != 0 }

// Str returns a string value (or bytes seen as a string) without copying.
func (v Value) Str() string {
	if v.num == 0 {
		return ""
	}
	return unsafe.String((*byte)(v.ref), int(v.num))
}

// Bytes returns a bytes value (or a string's bytes) without copying; do not change it. Never nil for a non-null value.
func (v Value) Bytes() []byte {
	if v.num == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(v.ref), int(v.num))
}

// Array returns the elements; do not change them.
func (v Value) Array() []Value {
	if v.num == 0 {
		return nil
	}
	return unsafe.Slice((*Value)(v.ref), int(v.num))
}

// Map returns the pairs; do not change them.
func (v Value) Map() []MapEntry {
	if v.num == 0 {
		return nil
	}
	return unsafe.Slice((*MapEntry)(v.ref), int(v.num))
}

// Struct returns the struct, or nil when v is not one.
func (v Value) Struct() *Struct {
	if v.typ != TypeStruct {
		return nil
	}
	return (*Struct)(v.ref)
}

// Field returns a field of a struct value, or Null when v is no struct or has no such field.
func (v Value) Field(name string) Value {
	st := v.Struct()
	if st == nil {
		return Value{}
	}
	f, _ := st.Get(name)
	return f
}

// Equal compares deeply. Values of different types differ; NaN equals NaN.
func (v Value) Equal(o Value) bool {
	if v.typ != o.typ {
		return false
	}
	switch v.typ {
	case TypeString, TypeBytes:
		return v.num == o.num && bytes.Equal(v.Bytes(), o.Bytes())
	case TypeArray:
		a, b := v.Array(), o.Array()
		if len(a) != len(b) {
			return false
		}
		for i := range a {
			if !a[i].Equal(b[i]) {
				return false
			}
		}
		return true
	case TypeMap:
		a, b := v.Map(), o.Map()
		if len(a) != len(b) {
			return false
		}
		for i := range a {
			if !a[i].Key.Equal(b[i].Key) || !a[i].Value.Equal(b[i].Value) {
				return false
			}
		}
		return true
	case TypeStruct:
		a, b := v.Struct(), o.Struct()
		if a == b {
			return true
		}
		if len(a.Values) != len(b.Values) || !a.Schema.Equal(b.Schema) {
			return false
		}
		for i := range a.Values {
			if !a.Values[i].Equal(b.Values[i]) {
				return false
			}
		}
		return true
	default:
		return v.num == o.num
	}
}

// Size estimates the memory that v keeps alive, in bytes; queues and pools are bounded by it.
func (v Value) Size() int {
	const self = int(unsafe.Sizeof(Value{}))
	switch v.typ {
	case TypeString, TypeBytes:
		return self + int(v.num)
	case TypeArray:
		n := self
		for _, e := range v.Array() {
			n += e.Size()
		}
		return n
	case TypeMap:
		n := self
		for _, e := range v.Map() {
			n += e.Key.Size() + e.Value.Size()
		}
		return n
	case TypeStruct:
		n := self + 32
		for _, e := range v.Struct().Values {
			n += e.Size()
		}
		return n
	default:
		return self
	}
}

// String renders v for people: logs, errors and tests.
func (v Value) String() string {
	var sb strings.Builder
	v.render(&sb)
	return sb.String()
}

func (v Value) render(sb *strings.Builder) {
	switch v.typ {
	case TypeInvalid:
		sb.WriteString("null")
	case TypeInt8, TypeInt16, TypeInt32, TypeInt64:
		sb.WriteString(strconv.FormatInt(v.Int(), 10))
	case TypeFloat32:
		sb.WriteString(strconv.FormatFloat(v.Float(), 'g', -1, 32))
	case TypeFloat64:
		sb.WriteString(strconv.FormatFloat(v.Float(), 'g', -1, 64))
	case TypeBoolean:
		sb.WriteString(strconv.FormatBool(v.Bool()))
	case TypeString:
		sb.WriteString(v.Str())
	case TypeBytes:
		fmt.Fprintf(sb, "0x%x", v.Bytes())
	case TypeArray:
		sb.WriteByte('[')
		for i, e := range v.Array() {
			if i > 0 {
				sb.WriteString(", ")
			}
			e.render(sb)
		}
		sb.WriteByte(']')
	case TypeMap:
		sb.WriteByte('{')
		for i, e := range v.Map() {
			if i > 0 {
				sb.WriteString(", ")
			}
			e.Key.render(sb)
			sb.WriteByte('=')
			e.Value.render(sb)
		}
		sb.WriteByte('}')
	case TypeStruct:
		st := v.Struct()
		sb.WriteString("Struct{")
		for i, f := range st.Schema.fields {
			if i > 0 {
				sb.WriteByte(',')
			}
			sb.WriteString(f.Name)
			sb.WriteByte('=')
			st.Values[i].render(sb)
		}
		sb.WriteByte('}')
	}
}

// Header is a record header. Converters turn Value into bytes; Schema may be nil.
type Header struct {
	Key    string
	Schema *Schema
	Value  Value
}
