package transforms

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/converters"
	"github.com/moldau-io/moldau/plugins/data"
)

var castDef = configdef.NewDef(
	configdef.Key{Name: "spec", Type: configdef.List, Required: true, Importance: configdef.High, Check: func(v any) string {
		l, _ := v.([]string)
		if _, _, err := castSpec(l); err != nil {
			return err.Error()
		}
		return ""
	}, Doc: "List of fields and the type to cast them to of the form field1:type,field2:type to cast fields of Maps or Structs. " +
		"A single type to cast the entire value. Valid types are int8, int16, int32, int64, float32, float64, boolean, and string. " +
		"Note that binary fields can only be cast to string."},
	keyReplaceNull,
)

const castTypes = "[INT8, INT16, INT32, INT64, FLOAT32, FLOAT64, BOOLEAN, STRING]"

// castSpec parses the list; whole is the type for the entire value, or invalid.
func castSpec(list []string) (fields []castField, whole data.Type, err error) {
	if len(list) == 0 {
		return nil, whole, errors.New("Must specify at least one field to cast.") //nolint:staticcheck // Kafka's text
	}
	for _, s := range list {
		parts := strings.Split(s, ":")
		if len(parts) > 2 {
			return nil, whole, fmt.Errorf("Invalid rename mapping: %s", s) //nolint:staticcheck // Kafka's text
		}
		text := strings.TrimSpace(parts[len(parts)-1])
		t, ok := data.TypeFromName(strings.ToLower(text))
		if !ok {
			return nil, whole, fmt.Errorf("Invalid type found in casting spec: %s", text) //nolint:staticcheck // Kafka's text
		}
		if t >= data.TypeBytes {
			return nil, whole, fmt.Errorf("Cast transformation does not support casting to %s; supported types are %s", upper(t), castTypes) //nolint:staticcheck // Kafka's text
		}
		if len(parts) == 1 {
			whole = t
		} else {
			fields = append(fields, castField{strings.TrimSpace(parts[0]), t})
		}
	}
	if whole != data.TypeInvalid && len(list) > 1 {
		return nil, whole, errors.New("Cast transformations that specify a type to cast the entire value to may only specify a single cast in their spec") //nolint:staticcheck // Kafka's text
	}
	return fields, whole, nil
}

type castField struct {
	name string
	to   data.Type
}

// cast changes the type of fields, or of the whole.
type cast struct {
	side        side
	fields      []castField
	whole       data.Type
	replaceNull bool
	plans       plans[castPlan]
}

type castPlan struct {
	schema *data.Schema
	to     []data.Type // for each field; invalid: as it is
}

func (t *cast) Configure(cfg configdef.Values) (err error) {
	t.replaceNull = cfg.Bool("replace.null.with.default")
	t.fields, t.whole, err = castSpec(cfg.List("spec"))
	return err
}

func (t *cast) Apply(r *plugins.Record) (bool, error) {
	schema, v := t.side.get(r)
	if v.IsNull() {
		return true, nil
	}
	if schema == nil {
		out, err := t.schemaless(v)
		if err != nil {
			return false, err
		}
		t.side.set(r, nil, out)
		return true, nil
	}
	plan, err := t.plans.get(schema, t.derive)
	if err != nil {
		return false, err
	}
	if t.whole != data.TypeInvalid {
		out, err := castValue(schema, v, t.whole)
		if err != nil {
			return false, err
		}
		t.side.set(r, plan.schema, out)
		return true, nil
	}
	st, err := requireStruct(v, "cast types")
	if err != nil {
		return false, err
	}
	out := data.NewStructValue(plan.schema)
	copyFields(out.Values, st, t.replaceNull)
	for i, to := range plan.to {
		if to != data.TypeInvalid {
			if out.Values[i], err = castValue(schema.Fields()[i].Schema, out.Values[i], to); err != nil {
				return false, err
			}
		}
	}
	t.side.set(r, plan.schema, data.StructOf(out))
	return true, nil
}

func (t *cast) schemaless(v data.Value) (data.Value, error) {
	if t.whole != data.TypeInvalid {
		return castValue(nil, v, t.whole)
	}
	entries, err := requireMap(v, "cast types")
	if err != nil {
		return v, err
	}
	entries = copyMap(entries, len(t.fields))
	for _, f := range t.fields {
		have, _ := mapGet(entries, f.name)
		out, err := castValue(nil, have, f.to)
		if err != nil {
			return v, err
		}
		entries = mapPut(entries, f.name, out)
	}
	return data.Map(entries), nil
}

func (t *cast) derive(s *data.Schema) (castPlan, error) {
	var p castPlan
	def, hasDef := s.Default()
	if t.whole != data.TypeInvalid {
		b := copyBasics(s, data.New(t.whole)).SetOptional(s.Optional())
		if hasDef && !def.IsNull() {
			d, err := castValue(s, def, t.whole)
			if err != nil {
				return p, err
			}
			b.Default(d)
		}
		p.schema = b.Build()
		return p, nil
	}
	if s.Type() != data.TypeStruct {
		return p, plugins.Dataf("Only Struct objects supported for [cast types], found: %s", upper(s.Type()))
	}
	casts := map[string]data.Type{}
	for _, f := range t.fields {
		casts[f.name] = f.to
	}
	b := basics(s).SetOptional(s.Optional())
	for _, f := range s.Fields() {
		to := casts[f.Name]
		p.to = append(p.to, to)
		if to == data.TypeInvalid {
			b.Field(f.Name, f.Schema)
			continue
		}
		fb := data.New(to).SetOptional(f.Schema.Optional())
		if d, ok := f.Schema.Default(); ok && !d.IsNull() {
			d, err := castValue(f.Schema, d, to)
			if err != nil {
				return p, err
			}
			fb.Default(d)
		}
		b.Field(f.Name, fb.Build())
	}
	p.schema = b.Build()
	if st := def.Struct(); st != nil {
		out := data.NewStructValue(p.schema)
		copyFields(out.Values, st, true)
		for i, to := range p.to {
			if to != data.TypeInvalid {
				var err error
				if out.Values[i], err = castValue(s.Fields()[i].Schema, out.Values[i], to); err != nil {
					return p, err
				}
			}
		}
		p.schema = data.From(p.schema).Default(data.StructOf(out)).Build()
	}
	return p, nil
}

func (t *cast) Close() error { return nil }

// castValue casts as Java does: integers are cut, floats saturate, strings are parsed.
func castValue(s *data.Schema, v data.Value, to data.Type) (data.Value, error) {
	if v.IsNull() {
		return v, nil
	}
	decimal := v.Type() == data.TypeBytes && s.Name() == data.LogicalDecimal
	if v.Type() > data.TypeBytes {
		return v, plugins.Dataf("Cast transformation does not support casting from %s; supported types are [INT8, INT16, INT32, INT64, FLOAT32, FLOAT64, BOOLEAN, STRING, BYTES]", upper(v.Type()))
	}
	switch {
	case to == data.TypeString && v.Type() == data.TypeString:
		return v, nil
	case to == data.TypeString && v.Type() == data.TypeBytes && !decimal:
		return data.String(base64.StdEncoding.EncodeToString(v.Bytes())), nil
	case to == data.TypeString && isDate(s):
		return data.String(string(converters.AppendValueText(nil, s, v))), nil
	case to == data.TypeString:
		return data.String(string(converters.AppendJavaString(nil, s, v))), nil
	case v.Type() == data.TypeString:
		return castText(v.Str(), to)
	case v.Type() == data.TypeBytes && !decimal:
		return v, plugins.Dataf("Unexpected type in Cast transformation: class %s", javaClass(v))
	case decimal:
		return castDecimal(s, v, to)
	}
	isFloat := v.Type() == data.TypeFloat32 || v.Type() == data.TypeFloat64
	n, f := v.Int(), v.Float()
	if isFloat {
		n = saturate(f, 64)
	} else {
		f = float64(n)
	}
	switch to {
	case data.TypeInt8, data.TypeInt16, data.TypeInt32:
		if isFloat {
			n = saturate(f, 32)
		}
		return integer(n, to), nil
	case data.TypeInt64:
		return data.Int64(n), nil
	case data.TypeFloat32:
		if !isFloat {
			return data.Float32(float32(n)), nil
		}
		return data.Float32(float32(f)), nil
	case data.TypeFloat64:
		return data.Float64(f), nil
	default:
		return data.Bool(n != 0), nil
	}
}

func integer(n int64, to data.Type) data.Value {
	switch to {
	case data.TypeInt8:
		return data.Int8(int8(n)) //nolint:gosec // the cut is meant
	case data.TypeInt16:
		return data.Int16(int16(n)) //nolint:gosec // the cut is meant
	case data.TypeInt32:
		return data.Int32(int32(n)) //nolint:gosec // the cut is meant
	default:
		return data.Int64(n)
	}
}

// saturate is Java's narrowing of a float to an integer of 32 or 64 bits.
func saturate(f float64, bits int) int64 {
	low, high := int64(math.MinInt32), int64(math.MaxInt32)
	if bits == 64 {
		low, high = math.MinInt64, math.MaxInt64
	}
	switch {
	case math.IsNaN(f):
		return 0
	case f >= float64(high):
		return high
	case f <= float64(low):
		return low
	}
	return int64(f)
}

func castText(text string, to data.Type) (data.Value, error) {
	bad := plugins.Dataf("Value (%s) was out of range for requested data type", text)
	switch to {
	case data.TypeInt8, data.TypeInt16, data.TypeInt32, data.TypeInt64:
		n, err := strconv.ParseInt(text, 10, 8<<(to-data.TypeInt8))
		if err != nil {
			return data.Null, bad
		}
		return integer(n, to), nil
	case data.TypeBoolean:
		return data.Bool(strings.EqualFold(text, "true")), nil
	}
	bits := 64
	if to == data.TypeFloat32 {
		bits = 32
	}
	f, err := javaFloat(text, bits)
	if err != nil {
		return data.Null, bad
	}
	if to == data.TypeFloat32 {
		return data.Float32(float32(f)), nil
	}
	return data.Float64(f), nil
}

// javaFloat is Java's Double.parseDouble.
func javaFloat(text string, bits int) (float64, error) {
	t := strings.TrimFunc(text, func(r rune) bool { return r <= ' ' })
	switch strings.TrimLeft(t, "+-") {
	case "NaN":
		return math.NaN(), nil
	case "Infinity":
		if strings.HasPrefix(t, "-") {
			return math.Inf(-1), nil
		}
		return math.Inf(1), nil
	}
	if n := len(t); n > 1 && strings.IndexByte("fFdD", t[n-1]) >= 0 && !strings.ContainsAny(t, "xX") {
		t = t[:n-1]
	}
	if strings.ContainsAny(t, "iInN_") {
		return 0, strconv.ErrSyntax
	}
	f, err := strconv.ParseFloat(t, bits)
	if errors.Is(err, strconv.ErrRange) {
		err = nil
	}
	return f, err
}

func castDecimal(s *data.Schema, v data.Value, to data.Type) (data.Value, error) {
	scale, err := strconv.Atoi(s.Param("scale"))
	if err != nil {
		return v, plugins.Dataf("Invalid scale parameter found in Decimal schema: %q", s.Param("scale"))
	}
	switch to {
	case data.TypeFloat32, data.TypeFloat64:
		return castText(string(data.AppendDecimal(nil, v.Bytes(), scale)), to)
	case data.TypeBoolean:
		return data.Bool(lowBits(data.Unscaled(v.Bytes()), scale) != 0), nil
	default:
		return integer(lowBits(data.Unscaled(v.Bytes()), scale), to), nil
	}
}
