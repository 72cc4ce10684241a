package transforms

import (
	"math/big"
	"strconv"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

var maskFieldDef = configdef.NewDef(
	configdef.Key{Name: "fields", Type: configdef.List, Required: true, Importance: configdef.High, Check: nonEmptyList, Doc: "Names of fields to mask."},
	configdef.Key{Name: "replacement", Type: configdef.String, Importance: configdef.Low, Check: configdef.NonEmpty,
		Doc: "Custom value replacement, that will be applied to all 'fields' values (numeric or non-empty string values only)."},
	keyReplaceNull,
)

// maskField overwrites fields with the zero of their type or a replacement.
type maskField struct {
	side        side
	fields      map[string]bool
	names       []string
	replacement string
	replaceNull bool
}

func (t *maskField) Configure(cfg configdef.Values) error {
	t.names, t.fields = cfg.List("fields"), set(cfg.List("fields"))
	t.replacement, t.replaceNull = cfg.Str("replacement"), cfg.Bool("replace.null.with.default")
	return nil
}

func (t *maskField) Apply(r *plugins.Record) (bool, error) {
	schema, v := t.side.get(r)
	if schema == nil {
		entries, err := requireMap(v, "mask fields")
		if err != nil {
			return false, err
		}
		entries = copyMap(entries, 0)
		for _, name := range t.names {
			have, _ := mapGet(entries, name)
			masked, err := t.mask(nil, have)
			if err != nil {
				return false, err
			}
			entries = mapPut(entries, name, masked)
		}
		t.side.set(r, nil, data.Map(entries))
		return true, nil
	}
	st, err := requireStruct(v, "mask fields")
	if err != nil {
		return false, err
	}
	out := data.NewStructValue(st.Schema)
	copyFields(out.Values, st, t.replaceNull)
	for i, f := range st.Schema.Fields() {
		if t.fields[f.Name] {
			if out.Values[i], err = t.mask(f.Schema, out.Values[i]); err != nil {
				return false, err
			}
		}
	}
	t.side.set(r, schema, data.StructOf(out))
	return true, nil
}

func isDate(s *data.Schema) bool {
	switch s.Name() {
	case data.LogicalDate, data.LogicalTime, data.LogicalTimestamp:
		return true
	}
	return false
}

func (t *maskField) mask(s *data.Schema, v data.Value) (data.Value, error) {
	if v.IsNull() {
		return v, nil
	}
	if t.replacement != "" {
		return t.replace(s, v)
	}
	switch v.Type() {
	case data.TypeInt8:
		return data.Int8(0), nil
	case data.TypeInt16:
		return data.Int16(0), nil
	case data.TypeInt32:
		return data.Int32(0), nil
	case data.TypeInt64:
		return data.Int64(0), nil
	case data.TypeFloat32:
		return data.Float32(0), nil
	case data.TypeFloat64:
		return data.Float64(0), nil
	case data.TypeBoolean:
		return data.Bool(false), nil
	case data.TypeString:
		return data.String(""), nil
	case data.TypeArray:
		return data.Array(nil), nil
	case data.TypeMap:
		return data.Map(nil), nil
	case data.TypeBytes:
		if s.Name() == data.LogicalDecimal {
			return data.Bytes([]byte{0}), nil
		}
	}
	return data.Null, plugins.Dataf("Cannot mask value of type: class %s", javaClass(v))
}

func (t *maskField) replace(s *data.Schema, v data.Value) (data.Value, error) {
	decimal := v.Type() == data.TypeBytes && s.Name() == data.LogicalDecimal
	switch {
	case v.Type() == data.TypeString:
		return data.String(t.replacement), nil
	case isDate(s):
		return data.Null, plugins.Dataf("Cannot mask value of type class java.util.Date with custom replacement.")
	case v.Type() > data.TypeFloat64 && !decimal:
		return data.Null, plugins.Dataf("Cannot mask value of type class %s with custom replacement.", javaClass(v))
	}
	n, scale, err := data.ParseDecimal(t.replacement)
	if err != nil {
		return data.Null, plugins.Dataf("Unable to convert %s (class java.lang.String) to a number", t.replacement)
	}
	switch v.Type() {
	case data.TypeBytes:
		want, _ := strconv.Atoi(s.Param("scale"))
		n, ok := data.Rescale(n, scale, want)
		if !ok {
			return data.Null, plugins.Dataf("the replacement %s does not fit into a Decimal of scale %d", t.replacement, want)
		}
		return data.Bytes(data.AppendUnscaled(nil, n)), nil
	case data.TypeFloat32, data.TypeFloat64:
		f, _ := strconv.ParseFloat(t.replacement, 64)
		if v.Type() == data.TypeFloat32 {
			return data.Float32(float32(f)), nil
		}
		return data.Float64(f), nil
	}
	whole := lowBits(n, scale)
	switch v.Type() {
	case data.TypeInt8:
		return data.Int8(int8(whole)), nil
	case data.TypeInt16:
		return data.Int16(int16(whole)), nil
	case data.TypeInt32:
		return data.Int32(int32(whole)), nil
	default:
		return data.Int64(whole), nil
	}
}

// lowBits is Java's BigDecimal.longValue: without fraction, cut to 64 bits.
func lowBits(n *big.Int, scale int) int64 {
	switch {
	case scale > 0 && scale < 100_000:
		n = new(big.Int).Quo(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
	case scale >= 100_000:
		return 0
	case scale < -64: // 10^65 has no low bits
		return 0
	case scale < 0:
		n = new(big.Int).Mul(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-scale)), nil))
	}
	low := new(big.Int).And(n, new(big.Int).SetUint64(^uint64(0)))
	return int64(low.Uint64()) //nolint:gosec // the cut is meant
}

func (t *maskField) Close() error { return nil }
