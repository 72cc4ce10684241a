package avrodata

import (
	"strconv"
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// ToConnect returns the Connect schema of an Avro schema. version is that of the schema in the registry, which a schema without
// connect.version takes over; 0 is none. Nil stands for data without a schema (the Anything record).
//
// A recursive Avro schema cannot be said in Connect's terms without a cycle of schemas and is refused.
func ToConnect(s *avro.Schema, version int32, cfg Config) (*data.Schema, error) {
	if isAnything(s.Root) {
		return nil, nil
	}
	c := toConnect{cfg: cfg, open: map[*avro.Type]bool{}}
	return c.typ(s.Root, options{version: version})
}

func isAnything(t *avro.Type) bool { return t.Kind == avro.Record && t.FullName() == anythingName }

// toConnect is one derivation of a Connect schema.
type toConnect struct {
	cfg  Config
	open map[*avro.Type]bool // records around the present one
	done []doneType
}

// doneType remembers the schema of a record, so that repeated types share it.
type doneType struct {
	t        *avro.Type
	optional bool
	schema   *data.Schema
}

// options are what the place of a type adds to its schema.
type options struct {
	optional   bool
	version    int32
	hasDefault bool
	def        avro.Value // of the record field
	doc        string     // of the record field
	hasDoc     bool
}

func (o options) plain() bool { return o.version == 0 && !o.hasDefault && !o.hasDoc }

func textProp(t *avro.Type, name string) (string, bool) {
	v, ok := t.Prop(name)
	return v.Text, ok && v.Kind == avro.JSONString
}

func (c *toConnect) typ(t *avro.Type, o options) (*data.Schema, error) {
	if t.Kind == avro.Union {
		if len(t.Branches) == 1 && c.cfg.FlattenSingletonUnions {
			return c.typ(t.Branches[0], options{doc: o.doc, hasDoc: o.hasDoc})
		}
		if member := nullable(t); member != nil {
			return c.typ(member, options{optional: true, doc: o.doc, hasDoc: o.hasDoc})
		}
	}
	named := t.Kind == avro.Record
	if !c.cfg.DiscardTypeDocDefault {
		o.doc, o.hasDoc = "", false
	}
	if named {
		if isAnything(t) {
			return nil, nil
		}
		if c.open[t] {
			return nil, plugins.Dataf("the Avro schema of record %s refers to itself; recursive schemas cannot be read by this converter", t.FullName())
		}
		if o.plain() {
			for _, d := range c.done {
				if d.t == t && d.optional == o.optional {
					return d.schema, nil
				}
			}
		}
		c.open[t] = true
		defer delete(c.open, t)
	}
	s, err := c.build(t, o)
	if err == nil && named && o.plain() {
		c.done = append(c.done, doneType{t, o.optional, s})
	}
	return s, err
}

// nullable returns the type T of a union of null and T, or nil.
func nullable(t *avro.Type) *avro.Type {
	if len(t.Branches) != 2 {
		return nil
	}
	for i, b := range t.Branches {
		if b.Kind == avro.Null {
			return t.Branches[1-i]
		}
	}
	return nil
}

func (c *toConnect) build(t *avro.Type, o options) (*data.Schema, error) {
	b, name, version, err := c.physical(t, &o)
	if err != nil {
		return nil, err
	}
	c.docs(b, t, o)

	if v, ok := t.Prop(propVersion); ok {
		n, err := strconv.ParseInt(v.Text, 10, 32)
		if v.Kind != avro.JSONInt || err != nil {
			return nil, plugins.Dataf("Invalid Connect version found: %s", v.String())
		}
		if version != 0 && version != int32(n) {
			return nil, plugins.Dataf("Mismatched versions: version already added to SchemaBuilder (%d) differs from version in source schema (%d)", version, n)
		}
		version = int32(n)
	} else if version == 0 {
		version = o.version
	}
	b.Version(version)

	if v, ok := t.Prop(propParameters); ok && c.cfg.ConnectMetaData {
		if v.Kind != avro.JSONObject {
			return nil, plugins.Dataf("Expected JSON object for schema parameters but found: %s", v.String())
		}
		for _, m := range v.Members {
			if m.Value.Kind != avro.JSONString {
				return nil, plugins.Dataf("Expected schema parameter values to be strings but found: %s", m.Value.String())
			}
			b.Param(m.Name, m.Value.Text)
		}
	}
	for _, p := range t.Props {
		if strings.HasPrefix(p.Name, "avro") {
			text := p.Value.Text
			if p.Value.Kind == avro.JSONArray || p.Value.Kind == avro.JSONObject || text == "" {
				text = p.Value.String()
			}
			b.Param(p.Name, text)
		}
	}

	connectDefault, hasConnectDefault := t.Prop(propDefault)
	switch {
	case !o.hasDefault:
		o.def, o.hasDefault = connectDefault, hasConnectDefault
	case !c.cfg.DiscardTypeDocDefault && c.cfg.ConnectMetaData && !hasConnectDefault:
		b.Param(paramFieldDefault, "true")
	}

	own, ok := c.ownName(t, name)
	if !ok {
		v, _ := t.Prop(propName)
		return nil, plugins.Dataf("Invalid schema name: %s", v.String())
	}
	if own != "" && !strings.HasPrefix(own, Namespace+"."+DefaultName) {
		if name != "" && name != own {
			return nil, plugins.Dataf("Mismatched names: name already added to SchemaBuilder (%s) differs from name in source schema (%s)", name, own)
		}
		b.Name(own)
	}
	if o.optional {
		b.Optional()
	}
	s := b.Build()
	if o.hasDefault && o.def.Kind != avro.JSONNull {
		if d, ok := c.connectDefault(s, t, o.def); ok {
			s = data.From(s).Default(d).Build()
		}
	}
	return s, nil
}

func (c *toConnect) docs(b *data.Builder, t *avro.Type, o options) {
	doc, ok := textProp(t, propDoc)
	if !c.cfg.DiscardTypeDocDefault {
		if ok && c.cfg.ConnectMetaData {
			b.Doc(doc)
		}
		return
	}
	switch {
	case o.hasDoc:
		b.Doc(o.doc)
	case t.HasDoc:
		b.Doc(t.Doc)
	case ok:
		b.Doc(doc)
	}
	if c.cfg.ConnectMetaData && t.HasDoc {
		b.Param(propRecordDoc, t.Doc)
	}
}

// ownName returns the name that the Avro type gives to the Connect schema.
func (c *toConnect) ownName(t *avro.Type, have string) (name string, ok bool) {
	if v, given := t.Prop(propName); given {
		return v.Text, v.Kind == avro.JSONString
	}
	switch t.Kind {
	case avro.Record, avro.Enum:
		return t.FullName(), true
	case avro.Fixed:
		if have != data.LogicalDecimal {
			return t.FullName(), true
		}
	}
	return "", true
}

// physical starts the schema with its type, and the name and version that a logical type brings along.
func (c *toConnect) physical(t *avro.Type, o *options) (b *data.Builder, name string, version int32, err error) {
	logical, _ := textProp(t, "logicalType")
	logicalIs := func(want string) bool { return strings.EqualFold(logical, want) }
	named := func(typ data.Type, n string) (*data.Builder, string, int32, error) {
		return data.New(typ).Name(n).Version(1), n, 1, nil
	}
	plain := func(typ data.Type) (*data.Builder, string, int32, error) { return data.New(typ), "", 0, nil }
	switch t.Kind {
	case avro.Boolean:
		return plain(data.TypeBoolean)
	case avro.Double:
		return plain(data.TypeFloat64)
	case avro.Float:
		return plain(data.TypeFloat32)
	case avro.String:
		return plain(data.TypeString)
	case avro.Long:
		if logicalIs("timestamp-millis") {
			return named(data.TypeInt64, data.LogicalTimestamp)
		}
		return plain(data.TypeInt64)
	case avro.Int:
		switch connectType, _ := textProp(t, propType); {
		case logicalIs("date"):
			return named(data.TypeInt32, data.LogicalDate)
		case logicalIs("time-millis"):
			return named(data.TypeInt32, data.LogicalTime)
		case logical != "" || connectType == "":
			return plain(data.TypeInt32)
		case connectType == "int8":
			return plain(data.TypeInt8)
		case connectType == "int16":
			return plain(data.TypeInt16)
		default:
			return nil, "", 0, plugins.Dataf("Connect type annotation for Avro int field is null")
		}
	case avro.Bytes, avro.Fixed:
		b = data.New(data.TypeBytes)
		if logicalIs("decimal") {
			if err := decimalBuilder(b, t); err != nil {
				return nil, "", 0, err
			}
			name, version = data.LogicalDecimal, 1
		}
		if t.Kind == avro.Fixed {
			b.Param(paramFixedSize, strconv.Itoa(t.Size))
		}
		return b, name, version, nil
	case avro.Array:
		b, err = c.array(t)
		return b, "", 0, err
	case avro.Map:
		elem, err := c.typ(t.Elem, options{})
		if err != nil {
			return nil, "", 0, err
		}
		return data.NewMap(data.StringSchema, elem), "", 0, nil
	case avro.Record:
		b, err = c.record(t)
		return b, "", 0, err
	case avro.Enum:
		return c.enum(t), "", 0, nil
	case avro.Union:
		b, err = c.union(t, o)
		return b, UnionName, 0, err
	default:
		return nil, "", 0, plugins.Dataf("Standalone null schemas are not supported by this converter")
	}
}

func decimalBuilder(b *data.Builder, t *avro.Type) error {
	scale := "0"
	if v, ok := t.Prop("scale"); ok && v.Kind == avro.JSONInt {
		scale = v.Text
	}
	if _, err := strconv.ParseInt(scale, 10, 32); err != nil {
		return plugins.Dataf("scale %s of a decimal is not a number of 32 bits", scale)
	}
	b.Name(data.LogicalDecimal).Version(1).Param("scale", scale)
	if v, ok := t.Prop("precision"); ok {
		if v.Kind != avro.JSONInt {
			return plugins.Dataf("precision property must be a JSON Integer. https://avro.apache.org/docs/1.9.1/spec.html#Decimal")
		}
		if v.Text != strconv.Itoa(defaultPrecision) {
			b.Param(paramPrecision, v.Text)
		}
	}
	return nil
}

// isMapEntry says whether an array of t stands for a map whose keys are not strings.
func isMapEntry(t *avro.Type) bool {
	if t.Kind != avro.Record {
		return false
	}
	internal, _ := textProp(t, propInternal)
	return t.Namespace == Namespace && t.Name == mapEntry || internal == mapEntry
}

func (c *toConnect) array(t *avro.Type) (*data.Builder, error) {
	if !isMapEntry(t.Elem) {
		elem, err := c.typ(t.Elem, options{})
		if err != nil {
			return nil, err
		}
		return data.NewArray(elem), nil
	}
	key, value := t.Elem.Field("key"), t.Elem.Field("value")
	if len(t.Elem.Fields) != 2 || key == nil || value == nil {
		return nil, plugins.Dataf("Found map encoded as array of key-value pairs, but array elements do not match the expected format.")
	}
	k, err := c.typ(key.Type, options{})
	if err != nil {
		return nil, err
	}
	v, err := c.typ(value.Type, options{})
	if err != nil {
		return nil, err
	}
	return data.NewMap(k, v), nil
}

func (c *toConnect) record(t *avro.Type) (*data.Builder, error) {
	b := data.NewStruct()
	keepDocs := !c.cfg.DiscardTypeDocDefault && c.cfg.ConnectMetaData
	if keepDocs && t.HasDoc {
		b.Param(paramRecordDoc, t.Doc)
	}
	for _, f := range t.Fields {
		if keepDocs && f.HasDoc {
			b.Param(paramFieldDoc+f.Name, f.Doc)
		}
		s, err := c.typ(f.Type, options{hasDefault: f.HasDefault, def: f.Default, doc: f.Doc, hasDoc: f.HasDoc})
		if err != nil {
			return nil, atPath(f.Name, err)
		}
		if s == nil {
			return nil, plugins.Dataf("field %s of record %s holds data without a schema, which a struct cannot", f.Name, t.FullName())
		}
		if p, ok := f.Prop(propParameters); ok && c.cfg.ConnectMetaData && p.Kind == avro.JSONObject {
			s = withParams(s, p)
		}
		b.Field(f.Name, s)
	}
	return b, nil
}

// withParams overrides parameters of a schema by those of the field; the schema itself when nothing changes.
func withParams(s *data.Schema, p avro.Value) *data.Schema {
	same := true
	for _, m := range p.Members {
		have, ok := param(s, m.Name)
		same = same && ok && have == m.Value.Text
	}
	if same {
		return s
	}
	b := data.From(s)
	for _, m := range p.Members {
		b.Param(m.Name, m.Value.Text)
	}
	return b.Build()
}

// enum reads an enum as a string whose parameters hold the symbols.
func (c *toConnect) enum(t *avro.Type) *data.Builder {
	b := data.New(data.TypeString)
	if c.cfg.ConnectMetaData {
		if t.HasDoc {
			key := paramEnumDoc + t.Name
			if c.cfg.DiscardTypeDocDefault {
				key = propEnumDoc
			}
			b.Param(key, t.Doc)
		}
		if t.HasDefault && !c.cfg.DiscardTypeDocDefault {
			b.Param(paramEnumDefault+t.Name, t.Default)
		}
	}
	b.Param(EnumParam, t.FullName())
	for _, s := range t.Symbols {
		b.Param(EnumParam+"."+s, s)
	}
	return b
}

// union reads a union of several types as a struct with a field for each, of which one is set.
func (c *toConnect) union(t *avro.Type, o *options) (*data.Builder, error) {
	b := data.NewStruct().Name(UnionName)
	seen := map[string]bool{}
	for _, m := range t.Branches {
		if m.Kind == avro.Null {
			o.optional = true
			continue
		}
		name := c.memberName(m)
		if seen[name] {
			return nil, plugins.Dataf("Multiple union schemas map to the Connect union field name")
		}
		seen[name] = true
		s, err := c.typ(m, options{optional: true})
		if err != nil {
			return nil, atPath(name, err)
		}
		if s == nil {
			return nil, plugins.Dataf("a union holds data without a schema, which a struct cannot")
		}
		b.Field(name, s)
	}
	return b, nil
}

// memberName is the name of the field that stands for a union's member.
func (c *toConnect) memberName(t *avro.Type) string { return c.cfg.memberName(t) }

func (c Config) memberName(t *avro.Type) string {
	if !t.Kind.Named() {
		return t.Kind.String()
	}
	if c.Enhanced {
		return t.FullName()
	}
	_, name := splitName(t.Name, c.ScrubNames)
	return name
}
