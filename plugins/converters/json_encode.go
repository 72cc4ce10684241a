package converters

import (
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/plugins/jsontext"
)

// jsonForm is what a schema compiles to: its own JSON text and how to write its values. It is kept on the schema itself
// (data.SlotJSON), one form for each set of options in use, so that a record finds it without a look-up.
type jsonForm struct {
	opts    jsonOptions
	next    *jsonForm // the forms for other options
	schema  *data.Schema
	text    []byte // the schema as JSON
	null    []byte // what a null is written as: "null" or the default; nil: a null is an error
	kind    data.Type
	decimal bool
	scale   int
	fields  []jsonField
	key     *jsonForm
	elem    *jsonForm
	alike   atomic.Pointer[data.Schema] // the struct schema last found to be as good as schema
}

type jsonField struct {
	prefix []byte // `"name":`, from the second field on with a comma before it
	form   *jsonForm
}

func jsonFormOf(s *data.Schema, opts jsonOptions) (*jsonForm, error) {
	slot := s.Slot(data.SlotJSON)
	var first *jsonForm
	if p := slot.Load(); p != nil {
		first = (*p).(*jsonForm)
		for f := first; f != nil; f = f.next {
			if f.opts == opts {
				return f, nil
			}
		}
	}
	f, err := compileJSON(s, opts)
	if err != nil {
		return nil, err
	}
	f.next = first
	var boxed any = f
	slot.Store(&boxed)
	return f, nil
}

func compileJSON(s *data.Schema, opts jsonOptions) (*jsonForm, error) {
	f := &jsonForm{opts: opts, schema: s, kind: s.Type()}
	var err error
	part := func(p *data.Schema) (*jsonForm, error) {
		if p == nil {
			return nil, nil // written from the value alone
		}
		return jsonFormOf(p, opts)
	}
	switch f.kind {
	case data.TypeArray:
		if f.elem, err = part(s.ValueSchema()); err != nil {
			return nil, err
		}
	case data.TypeMap:
		if f.key, err = part(s.KeySchema()); err != nil {
			return nil, err
		}
		if f.elem, err = part(s.ValueSchema()); err != nil {
			return nil, err
		}
	case data.TypeStruct:
		for i, field := range s.Fields() {
			form, err := jsonFormOf(field.Schema, opts)
			if err != nil {
				return nil, err
			}
			var prefix []byte
			if i > 0 {
				prefix = append(prefix, ',')
			}
			f.fields = append(f.fields, jsonField{append(jsontext.AppendString(prefix, field.Name), ':'), form})
		}
	case data.TypeBytes:
		if s.Name() == data.LogicalDecimal {
			f.decimal = true
			if f.scale, err = decimalScale(s); err != nil {
				return nil, err
			}
		}
	}
	if s.Optional() {
		f.null = []byte("null")
	}
	var def []byte
	if d, ok := s.Default(); ok && !d.IsNull() {
		if def, err = f.append(nil, d); err != nil {
			return nil, plugins.Dataf("default of schema %q: %w", s.Name(), err)
		}
		if opts.replaceNulls {
			f.null = def
		}
	}
	f.text = f.appendSchema(nil, s, def)
	return f, nil
}

func decimalScale(s *data.Schema) (int, error) {
	text := s.Param("scale")
	if text == "" {
		return 0, plugins.Dataf("Invalid Decimal schema: scale parameter not found.")
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, plugins.Dataf("Invalid scale parameter found in Decimal schema: %s", text)
	}
	return int(n), nil
}

// jsonTypeName is the name of a type in JSON schemas.
func jsonTypeName(t data.Type) string {
	switch t {
	case data.TypeFloat32:
		return "float"
	case data.TypeFloat64:
		return "double"
	default:
		return t.String()
	}
}

// appendSchema writes the schema in Connect's member order.
func (f *jsonForm) appendSchema(dst []byte, s *data.Schema, def []byte) []byte {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, jsonTypeName(s.Type())...)
	dst = append(dst, '"')
	switch s.Type() {
	case data.TypeArray:
		dst = append(dst, `,"items":`...)
		dst = appendSchemaText(dst, f.elem)
	case data.TypeMap:
		dst = append(dst, `,"keys":`...)
		dst = appendSchemaText(dst, f.key)
		dst = append(dst, `,"values":`...)
		dst = appendSchemaText(dst, f.elem)
	case data.TypeStruct:
		dst = append(dst, `,"fields":[`...)
		for i := range f.fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			text := f.fields[i].form.text
			dst = append(dst, text[:len(text)-1]...)
			dst = append(dst, `,"field":`...)
			dst = jsontext.AppendString(dst, s.Fields()[i].Name)
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `,"optional":`...)
	dst = strconv.AppendBool(dst, s.Optional())
	if s.Name() != "" {
		dst = append(dst, `,"name":`...)
		dst = jsontext.AppendString(dst, s.Name())
	}
	if v, ok := s.Version(); ok {
		dst = append(dst, `,"version":`...)
		dst = strconv.AppendInt(dst, int64(v), 10)
	}
	if s.Doc() != "" {
		dst = append(dst, `,"doc":`...)
		dst = jsontext.AppendString(dst, s.Doc())
	}
	if len(s.Params()) > 0 {
		dst = append(dst, `,"parameters":{`...)
		for i, p := range s.Params() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = jsontext.AppendString(dst, p.Key)
			dst = append(dst, ':')
			dst = jsontext.AppendString(dst, p.Value)
		}
		dst = append(dst, '}')
	}
	if def != nil {
		dst = append(dst, `,"default":`...)
		dst = append(dst, def...)
	}
	return append(dst, '}')
}

func appendSchemaText(dst []byte, f *jsonForm) []byte {
	if f == nil {
		return append(dst, "null"...)
	}
	return append(dst, f.text...)
}

var errRequiredNull = plugins.Dataf("Conversion error: null value for field that is required and has no default value")

func wrongType(s *data.Schema, v data.Value) error {
	want := "unknown schema"
	if s != nil {
		want = strings.ToUpper(s.Type().String())
	}
	return plugins.Dataf("Invalid type for %s: %s", want, v.Type())
}

// append writes a value.
func (f *jsonForm) append(dst []byte, v data.Value) ([]byte, error) {
	if v.IsNull() {
		if f.null == nil {
			return nil, errRequiredNull
		}
		return append(dst, f.null...), nil
	}
	if v.Type() != f.kind {
		return nil, wrongType(f.schema, v)
	}
	switch f.kind {
	case data.TypeInt8, data.TypeInt16, data.TypeInt32, data.TypeInt64:
		return strconv.AppendInt(dst, v.Int(), 10), nil
	case data.TypeFloat32:
		return jsontext.AppendFloat(dst, v.Float(), 32), nil
	case data.TypeFloat64:
		return jsontext.AppendFloat(dst, v.Float(), 64), nil
	case data.TypeBoolean:
		return strconv.AppendBool(dst, v.Bool()), nil
	case data.TypeString:
		return jsontext.AppendString(dst, v.Str()), nil
	case data.TypeBytes:
		if f.decimal && f.opts.numericDecimals {
			return data.AppendDecimal(dst, v.Bytes(), f.scale), nil
		}
		return jsontext.AppendBase64(dst, v.Bytes()), nil
	case data.TypeArray:
		return f.appendArray(dst, v.Array())
	case data.TypeMap:
		return f.appendMap(dst, v.Map())
	case data.TypeStruct:
		st := v.Struct()
		if st.Schema != f.schema && st.Schema != f.alike.Load() {
			if !st.Schema.EqualFields(f.schema) {
				return nil, plugins.Dataf("Mismatching schema.")
			}
			f.alike.Store(st.Schema)
		}
		var err error
		dst = append(dst, '{')
		for i := range f.fields {
			dst = append(dst, f.fields[i].prefix...)
			if dst, err = f.fields[i].form.append(dst, st.Values[i]); err != nil {
				return nil, err
			}
		}
		return append(dst, '}'), nil
	default:
		return nil, plugins.Dataf("Couldn't convert %s to JSON.", v.Type())
	}
}

// appendPart writes an element whose schema may be unknown.
func appendPart(dst []byte, f *jsonForm, v data.Value) ([]byte, error) {
	if f == nil {
		return appendSchemalessJSON(dst, v)
	}
	return f.append(dst, v)
}

func (f *jsonForm) appendArray(dst []byte, elems []data.Value) ([]byte, error) {
	var err error
	dst = append(dst, '[')
	for i := range elems {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendPart(dst, f.elem, elems[i]); err != nil {
			return nil, err
		}
	}
	return append(dst, ']'), nil
}

func (f *jsonForm) appendMap(dst []byte, entries []data.MapEntry) ([]byte, error) {
	object := f.key != nil && f.key.kind == data.TypeString
	return appendJSONMap(dst, entries, object, f.key, f.elem)
}

func appendJSONMap(dst []byte, entries []data.MapEntry, object bool, key, elem *jsonForm) ([]byte, error) {
	var err error
	start, end := byte('['), byte(']')
	if object {
		start, end = '{', '}'
	}
	dst = append(dst, start)
	for i := range entries {
		if i > 0 {
			dst = append(dst, ',')
		}
		k := entries[i].Key
		if object {
			if k.IsNull() && key != nil && string(key.null) == "null" {
				k = data.String("null") // as Connect names the member of a null key
			}
			if dst, err = appendPart(dst, key, k); err != nil {
				return nil, err
			}
			dst = append(dst, ':')
		} else {
			dst = append(dst, '[')
			if dst, err = appendPart(dst, key, k); err != nil {
				return nil, err
			}
			dst = append(dst, ',')
		}
		if dst, err = appendPart(dst, elem, entries[i].Value); err != nil {
			return nil, err
		}
		if !object {
			dst = append(dst, ']')
		}
	}
	return append(dst, end), nil
}

// appendSchemalessJSON writes a value by its own type alone.
func appendSchemalessJSON(dst []byte, v data.Value) ([]byte, error) {
	switch v.Type() {
	case data.TypeInvalid:
		return append(dst, "null"...), nil
	case data.TypeInt8, data.TypeInt16, data.TypeInt32, data.TypeInt64:
		return strconv.AppendInt(dst, v.Int(), 10), nil
	case data.TypeFloat32:
		return jsontext.AppendFloat(dst, v.Float(), 32), nil
	case data.TypeFloat64:
		return jsontext.AppendFloat(dst, v.Float(), 64), nil
	case data.TypeBoolean:
		return strconv.AppendBool(dst, v.Bool()), nil
	case data.TypeString:
		return jsontext.AppendString(dst, v.Str()), nil
	case data.TypeBytes:
		return jsontext.AppendBase64(dst, v.Bytes()), nil
	case data.TypeArray:
		return (&jsonForm{}).appendArray(dst, v.Array())
	case data.TypeMap:
		object := true
		for _, e := range v.Map() {
			object = object && e.Key.Type() == data.TypeString
		}
		return appendJSONMap(dst, v.Map(), object, nil, nil)
	default:
		return nil, plugins.Dataf("Mismatching schema.")
	}
}
