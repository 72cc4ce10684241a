package avro

import (
	"strconv"
	"strings"
)

// Kind is an Avro type.
type Kind uint8

// The Avro types.
const (
	Null Kind = iota + 1
	Boolean
	Int
	Long
	Float
	Double
	Bytes
	String
	Record
	Enum
	Array
	Map
	Union
	Fixed
)

var kindNames = [...]string{Null: "null", Boolean: "boolean", Int: "int", Long: "long", Float: "float", Double: "double", Bytes: "bytes",
	String: "string", Record: "record", Enum: "enum", Array: "array", Map: "map", Union: "union", Fixed: "fixed"}

// String returns the kind's name in a schema, such as "long".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "invalid"
}

// java returns the kind's name as Java's enum prints it.
func (k Kind) java() string { return strings.ToUpper(k.String()) }

// Named says whether types of this kind have a name: records, enums and fixed.
func (k Kind) Named() bool { return k == Record || k == Enum || k == Fixed }

var primitives = map[string]Kind{"null": Null, "boolean": Boolean, "int": Int, "long": Long, "float": Float, "double": Double,
	"bytes": Bytes, "string": String}

// Prop is a custom property, such as connect.name or logicalType.
type Prop struct {
	Name  string
	Value Value
}

// Type is one node of a schema. A named type that occurs several times is one Type, so recursive schemas are cyclic
// graphs: whoever walks one must mark the named types that it has seen. Types are read only.
type Type struct {
	Kind Kind
	// Name is the unqualified name of a named type, Namespace its namespace ("" for none).
	Name, Namespace string
	// Doc is the documentation of a named type; HasDoc tells an empty one from none.
	Doc    string
	HasDoc bool
	// Aliases are full names, in order, without duplicates.
	Aliases []string
	// Props are all attributes that Avro does not define for the type, in the order written. Logical types are among them.
	Props []Prop
	// Fields of a record.
	Fields []*Field
	// IsError marks a record that was declared as "error".
	IsError bool
	// Symbols of an enum, and the default symbol.
	Symbols    []string
	Default    string
	HasDefault bool
	// Elem is the type of an array's items or of a map's values.
	Elem *Type
	// Branches of a union.
	Branches []*Type
	// Size of a fixed, in bytes.
	Size int
}

// Field is a field of a record.
type Field struct {
	Name    string
	Type    *Type
	Doc     string
	HasDoc  bool
	Default Value
	// HasDefault tells a default of null from no default.
	HasDefault bool
	// Order is "ascending", "descending" or "ignore".
	Order   string
	Aliases []string
	Props   []Prop
}

// FullName returns the name with its namespace for a named type, else the kind's name.
func (t *Type) FullName() string {
	if !t.Kind.Named() {
		return t.Kind.String()
	}
	if t.Namespace == "" {
		return t.Name
	}
	return t.Namespace + "." + t.Name
}

// Prop returns the custom property called name.
func (t *Type) Prop(name string) (Value, bool) { return findProp(t.Props, name) }

// Prop returns the field's custom property called name.
func (f *Field) Prop(name string) (Value, bool) { return findProp(f.Props, name) }

func findProp(props []Prop, name string) (Value, bool) {
	for i := range props {
		if props[i].Name == name {
			return props[i].Value, true
		}
	}
	return Value{}, false
}

// Field returns the record's field called name, or nil.
func (t *Type) Field(name string) *Field {
	for _, f := range t.Fields {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Logical is a valid logical type.
type Logical struct {
	// Name is the value of the logicalType attribute, such as "timestamp-micros".
	Name string
	// Precision and Scale are those of a decimal.
	Precision, Scale int
}

var logicalKinds = map[string][]Kind{
	"date": {Int}, "time-millis": {Int}, "time-micros": {Long},
	"timestamp-millis": {Long}, "timestamp-micros": {Long}, "timestamp-nanos": {Long},
	"local-timestamp-millis": {Long}, "local-timestamp-micros": {Long}, "local-timestamp-nanos": {Long},
	"uuid": {String, Fixed}, "decimal": {Bytes, Fixed}, "duration": {Fixed}, "big-decimal": {Bytes},
}

// Logical returns the type's logical type. An unknown or misplaced logicalType attribute is none, as the specification asks.
func (t *Type) Logical() (Logical, bool) {
	v, ok := t.Prop("logicalType")
	if !ok || v.Kind != JSONString {
		return Logical{}, false
	}
	found := false
	for _, k := range logicalKinds[v.Text] {
		found = found || k == t.Kind
	}
	if !found {
		return Logical{}, false
	}
	l := Logical{Name: v.Text}
	switch v.Text {
	case "uuid":
		return l, t.Kind == String || t.Size == 16
	case "duration":
		return l, t.Size == 12
	case "decimal":
		if l.Precision, ok = t.intProp("precision"); !ok || l.Precision <= 0 {
			return Logical{}, false
		}
		if _, given := t.Prop("scale"); given {
			if l.Scale, ok = t.intProp("scale"); !ok {
				return Logical{}, false
			}
		}
		if l.Scale < 0 || l.Scale > l.Precision || (t.Kind == Fixed && l.Precision > maxPrecision(t.Size)) {
			return Logical{}, false
		}
	}
	return l, true
}

func (t *Type) intProp(name string) (int, bool) {
	v, ok := t.Prop(name)
	if !ok || v.Kind != JSONInt {
		return 0, false
	}
	i, err := strconv.ParseInt(v.Text, 10, 32)
	return int(i), err == nil
}

// maxPrecision is how many decimal digits fit a two's complement number of size bytes.
func maxPrecision(size int) int {
	return int(float64(8*size-1) * 0.301029995663981195) // log10(2)
}

// Schema is a parsed schema with its references.
type Schema struct {
	// Root is the schema's type.
	Root *Type
	// external are the types that references defined, by full name.
	external map[string]*Type
	names    map[string]*Type
}

// Lookup returns the named type with the given full name that the schema or its references define, or nil.
func (s *Schema) Lookup(fullName string) *Type { return s.names[fullName] }
