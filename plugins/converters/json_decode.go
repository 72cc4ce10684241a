package converters

import (
	"context"
	"encoding/base64"
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/plugins/jsontext"
)

const jsonFailed = "Converting byte[] to Kafka Connect data failed due to serialization error: "

var errNoEnvelope = plugins.Dataf("JsonConverter with schemas.enable requires \"schema\" and \"payload\" fields and may not contain additional fields." +
	" If you are trying to deserialize plain JSON data, set schemas.enable=false in your converter configuration.")

// ToData implements plugins.Converter. Text after the value is ignored, as Connect does.
func (c *JSONConverter) ToData(_ context.Context, _ string, b []byte) (*data.Schema, data.Value, error) {
	if b == nil {
		return nil, data.Null, nil
	}
	if !utf8.Valid(b) {
		return nil, data.Null, plugins.Dataf(jsonFailed + "not UTF-8")
	}
	r := jsontext.NewReader(b)
	kind, err := r.Kind()
	if err != nil {
		return nil, data.Null, plugins.Dataf(jsonFailed+"%w", err)
	}
	if !c.schemas {
		if kind == jsontext.None {
			return nil, data.Null, nil
		}
		v, err := readSchemaless(r, kind)
		return nil, v, asDataError(err)
	}
	if kind != jsontext.ObjectKind {
		if kind != jsontext.None {
			if err := r.Skip(); err != nil {
				return nil, data.Null, plugins.Dataf(jsonFailed+"%w", err)
			}
		}
		return nil, data.Null, errNoEnvelope
	}
	var schemaText, payload []byte
	err = r.Object(func(name []byte) error {
		if _, err := r.Kind(); err != nil {
			return err
		}
		from := r.Offset()
		if err := r.Skip(); err != nil {
			return err
		}
		switch string(name) {
		case "schema":
			schemaText = r.Slice(from)
		case "payload":
			payload = r.Slice(from)
		default:
			return errNoEnvelope
		}
		return nil
	})
	switch {
	case errors.Is(err, errNoEnvelope):
		return nil, data.Null, err
	case err != nil:
		return nil, data.Null, plugins.Dataf(jsonFailed+"%w", err)
	case schemaText == nil || payload == nil:
		return nil, data.Null, errNoEnvelope
	}
	schema, err := c.schemaOf(schemaText)
	if err != nil {
		return nil, data.Null, err
	}
	r.Reset(payload)
	if schema == nil {
		if kind, err = r.Kind(); err != nil {
			return nil, data.Null, plugins.Dataf(jsonFailed+"%w", err)
		}
		v, err := readSchemaless(r, kind)
		return nil, v, asDataError(err)
	}
	v, err := c.read(r, schema)
	if err != nil {
		return nil, data.Null, asDataError(err)
	}
	return schema, v, nil
}

// asDataError marks what the reader found as bad data.
func asDataError(err error) error {
	var d *plugins.DataError
	if err == nil || errors.As(err, &d) {
		return err
	}
	return plugins.Dataf(jsonFailed+"%w", err)
}

func (c *JSONConverter) schemaOf(text []byte) (*data.Schema, error) {
	if s, ok := c.known.get(text); ok {
		return s, nil
	}
	n, err := jsontext.Parse(text)
	if err != nil {
		return nil, plugins.Dataf(jsonFailed+"%w", err)
	}
	s, err := c.buildSchema(n)
	if err != nil {
		return nil, err
	}
	c.known.put(string(text), s)
	return s, nil
}

func (c *JSONConverter) buildSchema(n *jsontext.Node) (*data.Schema, error) {
	if n.Is(jsontext.NullKind) {
		return nil, nil
	}
	name, ok := n.Str("type")
	if !ok {
		return nil, plugins.Dataf("Schema must contain 'type' field")
	}
	var b *data.Builder
	switch name {
	case "array":
		items := n.Get("items")
		if items == nil || items.Is(jsontext.NullKind) {
			return nil, plugins.Dataf("Array schema did not specify the element type")
		}
		elem, err := c.buildSchema(items)
		if err != nil {
			return nil, err
		}
		b = data.NewArray(elem)
	case "map":
		if n.Get("keys") == nil {
			return nil, plugins.Dataf("Map schema did not specify the key type")
		}
		if n.Get("values") == nil {
			return nil, plugins.Dataf("Map schema did not specify the value type")
		}
		key, err := c.buildSchema(n.Get("keys"))
		if err != nil {
			return nil, err
		}
		value, err := c.buildSchema(n.Get("values"))
		if err != nil {
			return nil, err
		}
		b = data.NewMap(key, value)
	case "struct":
		fields := n.Get("fields")
		if !fields.Is(jsontext.ArrayKind) {
			return nil, plugins.Dataf("Struct schema's \"fields\" argument is not an array.")
		}
		b = data.NewStruct()
		seen := make(map[string]bool, len(fields.Elems))
		for _, f := range fields.Elems {
			field, ok := f.Str("field")
			if !ok {
				return nil, plugins.Dataf("Struct schema's field name not specified properly")
			}
			s, err := c.buildSchema(f)
			if err != nil {
				return nil, err
			}
			if s == nil || seen[field] {
				return nil, plugins.Dataf("Cannot create field because of field name duplication %s", field)
			}
			seen[field] = true
			b.Field(field, s)
		}
	case "float":
		b = data.New(data.TypeFloat32)
	case "double":
		b = data.New(data.TypeFloat64)
	default:
		t, ok := data.TypeFromName(name)
		if !ok || t == data.TypeFloat32 || t == data.TypeFloat64 {
			return nil, plugins.Dataf("Unknown schema type: %s", name)
		}
		b = data.New(t)
	}
	if o := n.Get("optional"); o.Is(jsontext.BoolKind) && o.Bool {
		b.Optional()
	}
	if s, ok := n.Str("name"); ok {
		b.Name(s)
	}
	if v, ok := n.Get("version").Int(); ok && v == int64(int32(v)) {
		b.Version(int32(v))
	}
	if s, ok := n.Str("doc"); ok {
		b.Doc(s)
	}
	if p := n.Get("parameters"); p.Is(jsontext.ObjectKind) {
		for _, m := range p.Members {
			if !m.Value.Is(jsontext.StringKind) {
				return nil, plugins.Dataf("Schema parameters must have string values.")
			}
			b.Param(m.Name, m.Value.Text)
		}
	}
	s := b.Build()
	if d := n.Get("default"); d != nil && !d.Is(jsontext.NullKind) {
		v, err := c.read(jsontext.NewReader(d.Append(nil)), s)
		if err != nil {
			return nil, asDataError(err)
		}
		s = data.From(s).Default(v).Build()
	}
	return s, nil
}

// read reads a value of a known schema.
func (c *JSONConverter) read(r *jsontext.Reader, s *data.Schema) (data.Value, error) {
	kind, err := r.Kind()
	if err != nil {
		return data.Null, err
	}
	if s == nil {
		return readSchemaless(r, kind)
	}
	if kind == jsontext.NullKind {
		if err := r.Null(); err != nil {
			return data.Null, err
		}
		return c.nullOf(s)
	}
	switch t := s.Type(); t {
	case data.TypeBoolean:
		if kind == jsontext.BoolKind {
			b, err := r.Bool()
			return data.Bool(b), err
		}
	case data.TypeInt8, data.TypeInt16, data.TypeInt32, data.TypeInt64:
		if kind == jsontext.NumberKind {
			return readInteger(r, t)
		}
	case data.TypeFloat32, data.TypeFloat64:
		return readFloat(r, kind, s)
	case data.TypeString:
		if kind == jsontext.StringKind {
			b, err := r.Text()
			return data.StringBytes(b), err
		}
	case data.TypeBytes:
		return readBytes(r, kind, s)
	case data.TypeArray:
		if kind == jsontext.ArrayKind {
			elems := []data.Value{}
			err := r.Array(func() error {
				v, err := c.read(r, s.ValueSchema())
				elems = append(elems, v)
				return err
			})
			return data.Array(elems), err
		}
	case data.TypeMap:
		return c.readMap(r, kind, s)
	case data.TypeStruct:
		return c.readStruct(r, kind, s)
	}
	return data.Null, jsonMismatch(s, kind)
}

func jsonMismatch(s *data.Schema, kind jsontext.Kind) error {
	return plugins.Dataf("Invalid type for %s: the JSON value is of type %s", strings.ToUpper(s.Type().String()), kind)
}

// nullOf is what an absent or null value becomes.
func (c *JSONConverter) nullOf(s *data.Schema) (data.Value, error) {
	if d, ok := s.Default(); ok && !d.IsNull() && c.opts.replaceNulls {
		return d, nil
	}
	if s.Optional() {
		return data.Null, nil
	}
	return data.Null, plugins.Dataf("Invalid null value for required %s field", strings.ToUpper(s.Type().String()))
}

func readInteger(r *jsontext.Reader, t data.Type) (data.Value, error) {
	text, integral, err := r.Number()
	if err != nil {
		return data.Null, err
	}
	bits := 8 << (t - data.TypeInt8)
	n, err := strconv.ParseInt(string(text), 10, bits)
	if err != nil && !integral {
		// 1.0 and 1e3 are whole numbers too.
		if f, ferr := strconv.ParseFloat(string(text), 64); ferr == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 && math.Abs(f) < math.Ldexp(1, bits-1) {
			n, err = int64(f), nil
		}
	}
	if err != nil {
		return data.Null, plugins.Dataf("the JSON number %s does not fit into %s", text, strings.ToUpper(t.String()))
	}
	switch t {
	case data.TypeInt8:
		return data.Int8(int8(n)), nil
	case data.TypeInt16:
		return data.Int16(int16(n)), nil
	case data.TypeInt32:
		return data.Int32(int32(n)), nil
	default:
		return data.Int64(n), nil
	}
}

func readFloat(r *jsontext.Reader, kind jsontext.Kind, s *data.Schema) (data.Value, error) {
	bits := 64
	if s.Type() == data.TypeFloat32 {
		bits = 32
	}
	var f float64
	switch kind {
	case jsontext.NumberKind:
		text, _, err := r.Number()
		if err != nil {
			return data.Null, err
		}
		f, _ = strconv.ParseFloat(string(text), bits) // out of range gives an infinity, as in Java
	case jsontext.StringKind:
		text, err := r.Text()
		if err != nil {
			return data.Null, err
		}
		switch string(text) {
		case "NaN":
			f = math.NaN()
		case "Infinity":
			f = math.Inf(1)
		case "-Infinity":
			f = math.Inf(-1)
		default:
			return data.Null, jsonMismatch(s, kind)
		}
	default:
		return data.Null, jsonMismatch(s, kind)
	}
	if bits == 32 {
		return data.Float32(float32(f)), nil
	}
	return data.Float64(f), nil
}

func readBytes(r *jsontext.Reader, kind jsontext.Kind, s *data.Schema) (data.Value, error) {
	if kind == jsontext.NumberKind && s.Name() == data.LogicalDecimal {
		text, _, err := r.Number()
		if err != nil {
			return data.Null, err
		}
		scale, err := decimalScale(s)
		if err != nil {
			return data.Null, err
		}
		n, from, err := data.ParseDecimal(string(text))
		if err != nil {
			return data.Null, plugins.Dataf("Invalid bytes for Decimal field: %w", err)
		}
		n, ok := data.Rescale(n, from, scale)
		if !ok {
			return data.Null, plugins.Dataf("the JSON number %s does not fit into a Decimal of scale %d", text, scale)
		}
		return data.Bytes(data.AppendUnscaled(nil, n)), nil
	}
	if kind != jsontext.StringKind {
		return data.Null, jsonMismatch(s, kind)
	}
	text, err := r.Text()
	if err != nil {
		return data.Null, err
	}
	b, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		return data.Null, plugins.Dataf("Invalid bytes field: %w", err)
	}
	return data.Bytes(b), nil
}

func (c *JSONConverter) readMap(r *jsontext.Reader, kind jsontext.Kind, s *data.Schema) (data.Value, error) {
	entries := []data.MapEntry{}
	if s.KeySchema().Type() == data.TypeString || s.KeySchema() == nil {
		if kind != jsontext.ObjectKind {
			return data.Null, plugins.Dataf("Maps with string fields should be encoded as JSON objects, but found %s", kind)
		}
		err := r.Object(func(name []byte) error {
			v, err := c.read(r, s.ValueSchema())
			entries = putEntry(entries, data.StringBytes(name), v)
			return err
		})
		return data.Map(entries), err
	}
	if kind != jsontext.ArrayKind {
		return data.Null, plugins.Dataf("Maps with non-string fields should be encoded as JSON array of tuples, but found %s", kind)
	}
	err := r.Array(func() error {
		k, err := r.Kind()
		if err != nil {
			return err
		}
		if k != jsontext.ArrayKind {
			return plugins.Dataf("Found invalid map entry instead of array tuple: %s", k)
		}
		var e data.MapEntry
		n := 0
		if err := r.Array(func() (err error) {
			switch n++; n {
			case 1:
				e.Key, err = c.read(r, s.KeySchema())
			case 2:
				e.Value, err = c.read(r, s.ValueSchema())
			default:
				err = r.Skip()
			}
			return err
		}); err != nil {
			return err
		}
		if n != 2 {
			return plugins.Dataf("Found invalid map entry, expected length 2 but found :%d", n)
		}
		entries = putEntry(entries, e.Key, e.Value)
		return nil
	})
	return data.Map(entries), err
}

// putEntry adds a pair; a repeated key takes the last value. Beyond a few entries repeated keys are kept, since looking for them
// would cost the square of the map's size; readers of maps take the last.
func putEntry(entries []data.MapEntry, k, v data.Value) []data.MapEntry {
	if len(entries) <= 32 {
		for i := range entries {
			if entries[i].Key.Equal(k) {
				entries[i].Value = v
				return entries
			}
		}
	}
	return append(entries, data.MapEntry{Key: k, Value: v})
}

func (c *JSONConverter) readStruct(r *jsontext.Reader, kind jsontext.Kind, s *data.Schema) (data.Value, error) {
	if kind != jsontext.ObjectKind {
		return data.Null, plugins.Dataf("Structs should be encoded as JSON objects, but found %s", kind)
	}
	st := data.NewStructValue(s)
	fields := s.Fields()
	var small [4]uint64
	seen := small[:]
	if len(fields) > 256 {
		seen = make([]uint64, (len(fields)+63)/64)
	}
	next := 0 // fields mostly come in the order of the schema
	err := r.Object(func(name []byte) error {
		i := next
		if i >= len(fields) || string(name) != fields[i].Name {
			f, ok := s.Field(string(name))
			if !ok {
				return r.Skip()
			}
			i = f.Index
		}
		next = i + 1
		v, err := c.read(r, fields[i].Schema)
		st.Values[i] = v
		seen[i/64] |= 1 << (i % 64)
		return err
	})
	if err != nil {
		return data.Null, err
	}
	for i := range fields {
		if seen[i/64]&(1<<(i%64)) == 0 {
			if st.Values[i], err = c.nullOf(fields[i].Schema); err != nil {
				return data.Null, err
			}
		}
	}
	return data.StructOf(st), nil
}

// readSchemaless reads a value without a schema: whole numbers are int64, others float64, objects maps with string keys.
func readSchemaless(r *jsontext.Reader, kind jsontext.Kind) (data.Value, error) {
	switch kind {
	case jsontext.NullKind:
		return data.Null, r.Null()
	case jsontext.BoolKind:
		b, err := r.Bool()
		return data.Bool(b), err
	case jsontext.StringKind:
		b, err := r.Text()
		return data.StringBytes(b), err
	case jsontext.NumberKind:
		text, integral, err := r.Number()
		if err != nil {
			return data.Null, err
		}
		if !integral {
			f, _ := strconv.ParseFloat(string(text), 64)
			return data.Float64(f), nil
		}
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			return data.Null, plugins.Dataf("the JSON number %s does not fit into INT64", text)
		}
		return data.Int64(n), nil
	case jsontext.ArrayKind:
		elems := []data.Value{}
		err := r.Array(func() error {
			k, err := r.Kind()
			if err != nil {
				return err
			}
			v, err := readSchemaless(r, k)
			elems = append(elems, v)
			return err
		})
		return data.Array(elems), err
	case jsontext.ObjectKind:
		entries := []data.MapEntry{}
		err := r.Object(func(name []byte) error {
			k, err := r.Kind()
			if err != nil {
				return err
			}
			v, err := readSchemaless(r, k)
			entries = putEntry(entries, data.StringBytes(name), v)
			return err
		})
		return data.Map(entries), err
	default:
		return data.Null, r.Skip() // reports the end
	}
}
