package avrodata

import (
	"math"
	"strconv"
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/plugins/jsontext"
	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// defaultJSON renders a default in Avro's JSON form.
func (f *fromConnect) defaultJSON(s *data.Schema, v data.Value) (avro.Value, error) {
	if v.IsNull() {
		return avro.Value{}, nil
	}
	if s == nil {
		return avro.Value{}, plugins.Dataf("a default needs a schema for each of its parts")
	}
	if v.Type() != s.Type() {
		return avro.Value{}, plugins.Dataf("Invalid type used for default value of %s field: %s", s.Type(), v.Type())
	}
	switch s.Type() {
	case data.TypeInt8, data.TypeInt16, data.TypeInt32, data.TypeInt64:
		return avro.IntValue(v.Int()), nil
	case data.TypeFloat32:
		return floatJSON(v.Float(), 32), nil
	case data.TypeFloat64:
		return floatJSON(v.Float(), 64), nil
	case data.TypeBoolean:
		return avro.BoolValue(v.Bool()), nil
	case data.TypeString:
		return avro.StringValue(v.Str()), nil
	case data.TypeBytes:
		return avro.StringValue(latin1(v.Bytes())), nil
	case data.TypeArray:
		out := avro.Value{Kind: avro.JSONArray}
		for _, e := range v.Array() {
			j, err := f.defaultJSON(s.ValueSchema(), e)
			if err != nil {
				return out, err
			}
			out.Items = append(out.Items, j)
		}
		return out, nil
	case data.TypeMap:
		out := avro.Value{Kind: avro.JSONArray}
		asObject := f.cfg.stringKeys(s)
		if asObject {
			out.Kind = avro.JSONObject
		}
		for _, e := range v.Map() {
			value, err := f.defaultJSON(s.ValueSchema(), e.Value)
			if err != nil {
				return out, err
			}
			if asObject {
				out.Members = append(out.Members, avro.Member{Name: e.Key.Str(), Value: value})
				continue
			}
			key, err := f.defaultJSON(s.KeySchema(), e.Key)
			if err != nil {
				return out, err
			}
			out.Items = append(out.Items, avro.Value{Kind: avro.JSONArray, Items: []avro.Value{key, value}})
		}
		return out, nil
	default:
		out := avro.Value{Kind: avro.JSONObject}
		st := v.Struct()
		for i, field := range s.Fields() {
			fv := st.Values[i]
			if fv.IsNull() {
				fv, _ = field.Schema.Default()
			}
			j, err := f.defaultJSON(field.Schema, fv)
			if err != nil {
				return out, err
			}
			if s.Name() == UnionName {
				return j, nil
			}
			name := field.Name
			if f.cfg.ScrubNames {
				name = scrubName(name)
			}
			out.Members = append(out.Members, avro.Member{Name: name, Value: j})
		}
		return out, nil
	}
}

func floatJSON(f float64, bits int) avro.Value {
	return avro.Value{Kind: avro.JSONFloat, Text: string(jsontext.AppendJavaFloat(nil, f, bits))}
}

// latin1 is how Avro's JSON writes bytes: one character each.
func latin1(b []byte) string {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

func fromLatin1(s string) ([]byte, bool) {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r > 0xff {
			return nil, false
		}
		b = append(b, byte(r))
	}
	return b, true
}

// validDefault checks a default against a type as Avro does.
func validDefault(t *avro.Type, v avro.Value) bool {
	number := v.Kind == avro.JSONInt || v.Kind == avro.JSONFloat
	integer := func(bits int) bool {
		if v.Kind != avro.JSONInt {
			return false
		}
		_, err := strconv.ParseInt(v.Text, 10, bits)
		return err == nil
	}
	switch t.Kind {
	case avro.Null:
		return v.Kind == avro.JSONNull
	case avro.Boolean:
		return v.Kind == avro.JSONTrue || v.Kind == avro.JSONFalse
	case avro.Int:
		return integer(32)
	case avro.Long:
		return integer(64)
	case avro.Float, avro.Double:
		return number
	case avro.String, avro.Bytes, avro.Enum, avro.Fixed:
		return v.Kind == avro.JSONString
	case avro.Array:
		if v.Kind != avro.JSONArray {
			return false
		}
		for _, e := range v.Items {
			if !validDefault(t.Elem, e) {
				return false
			}
		}
		return true
	case avro.Map:
		if v.Kind != avro.JSONObject {
			return false
		}
		for _, m := range v.Members {
			if !validDefault(t.Elem, m.Value) {
				return false
			}
		}
		return true
	case avro.Union:
		for _, b := range t.Branches {
			if validDefault(b, v) {
				return true
			}
		}
		return false
	default:
		if v.Kind != avro.JSONObject {
			return false
		}
		for _, f := range t.Fields {
			fv, ok := v.Get(f.Name)
			if !ok {
				if !f.HasDefault {
					return false
				}
				fv = f.Default
			}
			if !validDefault(f.Type, fv) {
				return false
			}
		}
		return true
	}
}

// connectDefault turns a default in Avro's JSON form into a value of the Connect schema s; ok is false when it does not fit, and
// then the schema goes without a default.
func (c *toConnect) connectDefault(s *data.Schema, t *avro.Type, v avro.Value) (data.Value, bool) {
	if v.Kind == avro.JSONNull {
		return data.Null, s.Optional()
	}
	if s == nil {
		return data.Null, false
	}
	if t.Kind == avro.Union {
		return c.unionDefault(s, t, v)
	}
	integer := func(bits int) (int64, bool) {
		if v.Kind != avro.JSONInt {
			return 0, false
		}
		n, err := strconv.ParseInt(v.Text, 10, bits)
		return n, err == nil
	}
	switch s.Type() {
	case data.TypeInt8:
		n, ok := integer(8)
		return data.Int8(int8(n)), ok
	case data.TypeInt16:
		n, ok := integer(16)
		return data.Int16(int16(n)), ok
	case data.TypeInt32:
		n, ok := integer(32)
		return data.Int32(int32(n)), ok
	case data.TypeInt64:
		n, ok := integer(64)
		return data.Int64(n), ok
	case data.TypeFloat32:
		f, ok := floatDefault(v)
		return data.Float32(float32(f)), ok
	case data.TypeFloat64:
		f, ok := floatDefault(v)
		return data.Float64(f), ok
	case data.TypeBoolean:
		return data.Bool(v.Kind == avro.JSONTrue), v.Kind == avro.JSONTrue || v.Kind == avro.JSONFalse
	case data.TypeString:
		return data.String(v.Text), v.Kind == avro.JSONString
	case data.TypeBytes:
		b, ok := fromLatin1(v.Text)
		return data.Bytes(b), ok && v.Kind == avro.JSONString
	case data.TypeArray:
		if v.Kind != avro.JSONArray {
			return data.Null, false
		}
		elems := make([]data.Value, len(v.Items))
		for i := range v.Items {
			var ok bool
			if elems[i], ok = c.connectDefault(s.ValueSchema(), t.Elem, v.Items[i]); !ok {
				return data.Null, false
			}
		}
		return data.Array(elems), true
	case data.TypeMap:
		if v.Kind != avro.JSONObject || t.Kind != avro.Map {
			return data.Map(nil), v.Kind == avro.JSONArray && len(v.Items) == 0 // records have no default in a map's form
		}
		entries := make([]data.MapEntry, len(v.Members))
		for i, m := range v.Members {
			e, ok := c.connectDefault(s.ValueSchema(), t.Elem, m.Value)
			if !ok {
				return data.Null, false
			}
			entries[i] = data.MapEntry{Key: data.String(m.Name), Value: e}
		}
		return data.Map(entries), true
	case data.TypeStruct:
		if v.Kind != avro.JSONObject || t.Kind != avro.Record {
			return data.Null, false
		}
		st := data.NewStructValue(s)
		for i, field := range s.Fields() {
			af := t.Fields[i]
			fv, given := v.Get(af.Name)
			if !given {
				d, _ := field.Schema.Default()
				if d.IsNull() && !field.Schema.Optional() {
					return data.Null, false
				}
				st.Values[i] = d
				continue
			}
			var ok bool
			if st.Values[i], ok = c.connectDefault(field.Schema, af.Type, fv); !ok {
				return data.Null, false
			}
		}
		return data.StructOf(st), true
	}
	return data.Null, false
}

func (c *toConnect) unionDefault(s *data.Schema, t *avro.Type, v avro.Value) (data.Value, bool) {
	if s.Name() != UnionName {
		for _, b := range t.Branches {
			if b.Kind != avro.Null {
				return c.connectDefault(s, b, v)
			}
		}
		return data.Null, false
	}
	// A union's default is of its first branch.
	first := t.Branches[0]
	field, ok := s.Field(c.memberName(first))
	if !ok {
		return data.Null, false
	}
	d, ok := c.connectDefault(field.Schema, first, v)
	if !ok {
		return data.Null, false
	}
	st := data.NewStructValue(s)
	st.Values[field.Index] = d
	return data.StructOf(st), true
}

func floatDefault(v avro.Value) (float64, bool) {
	if v.Kind == avro.JSONString {
		switch strings.TrimPrefix(v.Text, "+") {
		case "NaN":
			return math.NaN(), true
		case "Infinity", "INF":
			return math.Inf(1), true
		case "-Infinity", "-INF":
			return math.Inf(-1), true
		}
		return 0, false
	}
	if v.Kind != avro.JSONInt && v.Kind != avro.JSONFloat {
		return 0, false
	}
	f, err := strconv.ParseFloat(v.Text, 64)
	return f, err == nil || math.IsInf(f, 0)
}
