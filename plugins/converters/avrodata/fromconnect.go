package avrodata

import (
	"math"
	"strconv"
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// anythingText is the schema of data without a schema.
const anythingText = `{"type":"record","name":"Anything","namespace":"io.confluent.connect.avro","fields":[` +
	`{"name":"boolean","type":["null","boolean"],"default":null},{"name":"bytes","type":["null","bytes"],"default":null},` +
	`{"name":"double","type":["null","double"],"default":null},{"name":"float","type":["null","float"],"default":null},` +
	`{"name":"int","type":["null","int"],"default":null},{"name":"long","type":["null","long"],"default":null},` +
	`{"name":"string","type":["null","string"],"default":null},` +
	`{"name":"array","type":["null",{"type":"array","items":"Anything"}],"default":null},` +
	`{"name":"map","type":["null",{"type":"array","items":{"type":"record","name":"MapEntry","fields":[` +
	`{"name":"key","type":"Anything"},{"name":"value","type":"Anything"}]}}],"default":null}]}`

func anythingType() *avro.Type {
	s, err := avro.Parse(anythingText, avro.Options{})
	if err != nil {
		panic(err)
	}
	return s.Root
}

// FromConnect returns the Avro schema of a Connect schema; nil stands for data without a schema.
func FromConnect(s *data.Schema, cfg Config) (*avro.Schema, error) {
	f := fromConnect{cfg: cfg, types: map[string]*avro.Type{}, done: map[string][]derived{}, seen: map[string]bool{}}
	t, err := f.typ(s, false)
	if err != nil {
		return nil, err
	}
	return &avro.Schema{Root: t}, nil
}

// fromConnect is one derivation of a schema.
type fromConnect struct {
	cfg      Config
	types    map[string]*avro.Type // named types by full name: a name has one meaning
	done     map[string][]derived  // structs by name ("" too), so that equal ones are derived once and share a name
	seen     map[string]bool       // names of field schemas so far
	unnamed  int
	anything *avro.Type
}

type derived struct {
	from *data.Schema
	to   *avro.Type
}

func primitive(k avro.Kind) *avro.Type { return &avro.Type{Kind: k} }

func addProp(t *avro.Type, name string, v avro.Value) {
	if _, have := t.Prop(name); !have {
		t.Props = append(t.Props, avro.Prop{Name: name, Value: v})
	}
}

// typ derives the type of s. required leaves out the union with null (for the members of a union).
func (f *fromConnect) typ(s *data.Schema, required bool) (*avro.Type, error) {
	if s == nil {
		if f.anything == nil {
			f.anything = anythingType()
		}
		return f.anything, nil
	}
	if s.Type() == data.TypeStruct {
		if s.Name() == UnionName {
			return f.union(s)
		}
		t, err := f.record(s)
		if err != nil || !s.Optional() || required {
			return t, err
		}
		return &avro.Type{Kind: avro.Union, Branches: []*avro.Type{primitive(avro.Null), t}}, nil
	}
	t, connectType, err := f.base(s)
	if err != nil {
		return nil, err
	}
	if err := f.metadata(t, s, connectType); err != nil {
		return nil, err
	}
	if t, err = f.define(t); err != nil {
		return nil, err
	}
	if !s.Optional() || required {
		return t, nil
	}
	if hasDefault(s) {
		return &avro.Type{Kind: avro.Union, Branches: []*avro.Type{t, primitive(avro.Null)}}, nil
	}
	return &avro.Type{Kind: avro.Union, Branches: []*avro.Type{primitive(avro.Null), t}}, nil
}

func hasDefault(s *data.Schema) bool {
	d, ok := s.Default()
	return ok && !d.IsNull()
}

// define makes a named type known, or returns the one that has the name already: types that differ in nothing but properties share
// a name, and the parameters of the later ones are kept at their fields. Other differences are refused. (The original writes data
// then that does not fit its schema.)
func (f *fromConnect) define(t *avro.Type) (*avro.Type, error) {
	if !t.Kind.Named() {
		return t, nil
	}
	full := t.FullName()
	if old := f.types[full]; old != nil {
		if old != t && (&avro.Schema{Root: old}).ParsingForm() != (&avro.Schema{Root: t}).ParsingForm() {
			return nil, plugins.Dataf("Can't redefine: %s", full)
		}
		return old, nil
	}
	f.types[full] = t
	return t, nil
}

func (f *fromConnect) union(s *data.Schema) (*avro.Type, error) {
	u := &avro.Type{Kind: avro.Union}
	if s.Optional() {
		u.Branches = append(u.Branches, primitive(avro.Null))
	}
	for _, field := range s.Fields() {
		t, err := f.typ(field.Schema, true)
		if err != nil {
			return nil, atPath(field.Name, err)
		}
		u.Branches = append(u.Branches, t)
	}
	return u, nil
}

func (f *fromConnect) typeName(name string) (space, short string, err error) {
	if name == "" {
		if f.unnamed++; f.unnamed > 1 {
			return Namespace, DefaultName + strconv.Itoa(f.unnamed), nil
		}
		return Namespace, DefaultName, nil
	}
	space, short = splitName(name, f.cfg.ScrubNames)
	return space, short, checkName(short)
}

func (f *fromConnect) record(s *data.Schema) (*avro.Type, error) {
	for _, d := range f.done[s.Name()] {
		if sameButOptional(d.from, s) {
			return d.to, nil
		}
	}
	space, name, err := f.typeName(s.Name())
	if err != nil {
		return nil, err
	}
	t := &avro.Type{Kind: avro.Record, Name: name, Namespace: space}
	doc := paramRecordDoc
	if f.cfg.DiscardTypeDocDefault {
		doc = propRecordDoc
	}
	t.Doc, t.HasDoc = param(s, doc)
	names := make(map[string]bool, len(s.Fields()))
	for _, field := range s.Fields() {
		fieldName := field.Name
		if f.cfg.ScrubNames {
			fieldName = scrubName(fieldName)
		}
		if err := checkName(fieldName); err != nil {
			return nil, err
		}
		if names[fieldName] {
			return nil, plugins.Dataf("Duplicate field %s in record %s", fieldName, t.FullName())
		}
		names[fieldName] = true
		var fieldDoc string
		var hasDoc bool
		if !f.cfg.DiscardTypeDocDefault {
			fieldDoc, hasDoc = param(s, paramFieldDoc+field.Name)
		} else if field.Schema.Doc() != "" {
			fieldDoc, hasDoc = field.Schema.Doc(), true
		}
		af, err := f.field(fieldName, field.Schema, fieldDoc, hasDoc)
		if err != nil {
			return nil, atPath(field.Name, err)
		}
		t.Fields = append(t.Fields, af)
	}
	if err := f.metadata(t, s, ""); err != nil {
		return nil, err
	}
	if t, err = f.define(t); err != nil {
		return nil, err
	}
	f.done[s.Name()] = append(f.done[s.Name()], derived{s, t})
	return t, nil
}

// sameButOptional compares two schemas but for their own optionality.
func sameButOptional(a, b *data.Schema) bool {
	if a.Optional() != b.Optional() {
		a = data.From(a).SetOptional(b.Optional()).Build()
	}
	return a.Equal(b)
}

func param(s *data.Schema, key string) (string, bool) {
	for _, p := range s.Params() {
		if p.Key == key {
			return p.Value, true
		}
	}
	return "", false
}

func (f *fromConnect) field(name string, s *data.Schema, doc string, hasDoc bool) (*avro.Field, error) {
	af := &avro.Field{Name: name, Doc: doc, HasDoc: hasDoc, Order: "ascending"}
	scrubbed := scrubFullName(s.Name(), f.cfg.ScrubNames)
	already := scrubbed != "" && f.seen[scrubbed]
	if scrubbed != "" {
		f.seen[scrubbed] = true
	}
	var err error
	if af.Type, err = f.typ(s, false); err != nil {
		return nil, err
	}
	if hasDefault(s) {
		d, _ := s.Default()
		v, err := f.defaultJSON(s, d)
		if err != nil {
			return nil, err
		}
		if validDefault(af.Type, v) { // an invalid one is left out, as the original does
			af.Default, af.HasDefault = v, true
		}
	} else if s.Optional() {
		af.HasDefault = true
	}
	if f.cfg.ConnectMetaData && already && isNamed(af.Type) {
		if p := f.parameters(s); len(p.Members) > 0 {
			af.Props = append(af.Props, avro.Prop{Name: propParameters, Value: p})
		}
	}
	return af, nil
}

func isNamed(t *avro.Type) bool {
	for _, b := range t.Branches {
		if b.Kind.Named() {
			return true
		}
	}
	return t.Kind.Named()
}

func (f *fromConnect) parameters(s *data.Schema) avro.Value {
	v := avro.Value{Kind: avro.JSONObject}
	for _, p := range s.Params() {
		if f.cfg.DiscardTypeDocDefault || p.Key != paramFieldDefault {
			v.Members = append(v.Members, avro.Member{Name: p.Key, Value: avro.StringValue(p.Value)})
		}
	}
	return v
}

// base derives everything but structs, without properties.
func (f *fromConnect) base(s *data.Schema) (t *avro.Type, connectType string, err error) {
	switch s.Type() {
	case data.TypeInt8, data.TypeInt16:
		return primitive(avro.Int), s.Type().String(), nil
	case data.TypeInt32:
		return primitive(avro.Int), "", nil
	case data.TypeInt64:
		return primitive(avro.Long), "", nil
	case data.TypeFloat32:
		return primitive(avro.Float), "", nil
	case data.TypeFloat64:
		return primitive(avro.Double), "", nil
	case data.TypeBoolean:
		return primitive(avro.Boolean), "", nil
	case data.TypeString:
		if enumName, ok := param(s, EnumParam); ok && f.cfg.Enhanced {
			t, err = f.enum(s, enumName)
			return t, "", err
		}
		return primitive(avro.String), "", nil
	case data.TypeBytes:
		t, err = f.bytes(s)
		return t, "", err
	case data.TypeArray:
		elem, err := f.typ(s.ValueSchema(), false)
		return &avro.Type{Kind: avro.Array, Elem: elem}, "", err
	case data.TypeMap:
		t, err = f.mapping(s)
		return t, "", err
	default:
		return nil, "", plugins.Dataf("Unknown schema type: %s", s.Type())
	}
}

func (f *fromConnect) enum(s *data.Schema, enumName string) (*avro.Type, error) {
	_, name, err := f.typeName(s.Name())
	if err != nil {
		return nil, err
	}
	t := &avro.Type{Kind: avro.Enum}
	t.Namespace, t.Name = splitName(enumName, false)
	if err := checkName(t.Name); err != nil {
		return nil, err
	}
	for _, p := range s.Params() {
		if symbol, ok := strings.CutPrefix(p.Key, EnumParam+"."); ok {
			if err := checkName(symbol); err != nil {
				return nil, err
			}
			t.Symbols = append(t.Symbols, symbol)
		}
	}
	if f.cfg.DiscardTypeDocDefault {
		t.Doc, t.HasDoc = param(s, propEnumDoc)
	} else {
		t.Doc, t.HasDoc = param(s, paramEnumDoc+name)
		t.Default, t.HasDefault = param(s, paramEnumDefault+name)
	}
	return t, nil
}

// fixedSize returns the size of a fixed, ok only for schemas that came from one.
func fixedSize(s *data.Schema) (size int, ok bool, err error) {
	text, ok := param(s, paramFixedSize)
	if !ok || s.Name() == "" || s.Type() != data.TypeBytes {
		return 0, false, nil
	}
	size, err = strconv.Atoi(text)
	if err != nil || size < 0 {
		return 0, false, plugins.Dataf("parameter %s of schema %s: %q is not a size", paramFixedSize, s.Name(), text)
	}
	return size, true, nil
}

func (f *fromConnect) bytes(s *data.Schema) (*avro.Type, error) {
	size, fixed, err := fixedSize(s)
	if err != nil {
		return nil, err
	}
	t := primitive(avro.Bytes)
	if fixed {
		t = &avro.Type{Kind: avro.Fixed, Size: size}
		if t.Namespace, t.Name, err = f.typeName(s.Name()); err != nil {
			return nil, err
		}
	}
	if strings.EqualFold(s.Name(), data.LogicalDecimal) {
		scale, precision, _, err := decimalOf(s)
		if err != nil {
			return nil, err
		}
		if most := int(math.Floor(math.Log10(2) * float64(8*size-1))); fixed && precision > most {
			return nil, plugins.Dataf("fixed(%d) cannot store %d digits (max %d)", size, precision, most)
		}
		addProp(t, "scale", avro.IntValue(int64(scale)))
		addProp(t, "precision", avro.IntValue(int64(precision)))
	}
	return t, nil
}

func decimalOf(s *data.Schema) (scale, precision int, explicit bool, err error) {
	if scale, err = strconv.Atoi(s.Param("scale")); err != nil {
		return 0, 0, false, plugins.Dataf("Invalid scale parameter found in Decimal schema: %q", s.Param("scale"))
	}
	precision = defaultPrecision
	if text, ok := param(s, paramPrecision); ok {
		if precision, err = strconv.Atoi(text); err != nil {
			return 0, 0, false, plugins.Dataf("parameter %s: %q is not a number", paramPrecision, text)
		}
		explicit = true
	}
	return scale, precision, explicit, nil
}

// stringKeys says whether a map is written as an Avro map.
func (c Config) stringKeys(s *data.Schema) bool {
	k := s.KeySchema()
	return k.Type() == data.TypeString && (!k.Optional() || c.AllowOptionalMapKeys)
}

func (f *fromConnect) mapping(s *data.Schema) (*avro.Type, error) {
	if f.cfg.stringKeys(s) {
		elem, err := f.typ(s.ValueSchema(), false)
		return &avro.Type{Kind: avro.Map, Elem: elem}, err
	}
	if s.KeySchema() == nil || s.ValueSchema() == nil {
		if f.anything == nil {
			f.anything = anythingType()
		}
		return f.anything.Field("map").Type.Branches[1], nil
	}
	entry := &avro.Type{Kind: avro.Record, Name: mapEntry, Namespace: Namespace}
	if s.Name() != "" {
		var err error
		if entry.Namespace, entry.Name, err = f.typeName(s.Name()); err != nil {
			return nil, err
		}
		addProp(entry, propInternal, avro.StringValue(mapEntry))
	}
	for _, part := range []struct {
		name   string
		schema *data.Schema
	}{{"key", s.KeySchema()}, {"value", s.ValueSchema()}} {
		af, err := f.field(part.name, part.schema, "", false)
		if err != nil {
			return nil, atPath(part.name, err)
		}
		entry.Fields = append(entry.Fields, af)
	}
	entry, err := f.define(entry)
	return &avro.Type{Kind: avro.Array, Elem: entry}, err
}

// metadata adds the connect.* properties and the logical type.
func (f *fromConnect) metadata(t *avro.Type, s *data.Schema, connectType string) error {
	if f.cfg.ConnectMetaData {
		if s.Doc() != "" {
			addProp(t, propDoc, avro.StringValue(s.Doc()))
		}
		if v, ok := s.Version(); ok {
			addProp(t, propVersion, avro.IntValue(int64(v)))
		}
		if p := f.parameters(s); len(p.Members) > 0 {
			addProp(t, propParameters, p)
		}
		if hasDefault(s) {
			_, fromField := param(s, paramFieldDefault)
			if f.cfg.DiscardTypeDocDefault || !fromField {
				d, _ := s.Default()
				v, err := f.defaultJSON(s, d)
				if err != nil {
					return err
				}
				addProp(t, propDefault, v)
			}
		}
		if s.Name() != "" {
			addProp(t, propName, avro.StringValue(s.Name()))
		}
		if connectType != "" {
			addProp(t, propType, avro.StringValue(connectType))
		}
	}
	switch {
	case strings.EqualFold(s.Name(), data.LogicalDecimal) && s.Type() == data.TypeBytes:
		addProp(t, "logicalType", avro.StringValue("decimal"))
	case strings.EqualFold(s.Name(), data.LogicalTime):
		addProp(t, "logicalType", avro.StringValue("time-millis"))
	case strings.EqualFold(s.Name(), data.LogicalTimestamp):
		addProp(t, "logicalType", avro.StringValue("timestamp-millis"))
	case strings.EqualFold(s.Name(), data.LogicalDate):
		addProp(t, "logicalType", avro.StringValue("date"))
	}
	for _, p := range s.Params() {
		if strings.HasPrefix(p.Key, "avro") {
			addProp(t, p.Key, avro.StringValue(p.Value))
		}
	}
	return nil
}
