package elasticsearch

import (
	"encoding/base64"
	"math"
	"math/big"
	"strconv"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/plugins/jsontext"
)

// documentID makes the id out of a record key.
func documentID(dst []byte, r *plugins.SinkRecord) ([]byte, error) {
	switch r.Key.Type() {
	case data.TypeInt8, data.TypeInt16, data.TypeInt32, data.TypeInt64:
		return strconv.AppendInt(dst, r.Key.Int(), 10), nil
	case data.TypeString:
		if r.Key.Str() == "" {
			return nil, plugins.Dataf("%s-%d offset %d: Key is used as document id and can not be empty.", r.Topic, r.Partition, r.Offset)
		}
		if len(r.Key.Str()) > 512 {
			return nil, plugins.Dataf("%s-%d offset %d: the key has %d bytes, a document id at most 512", r.Topic, r.Partition, r.Offset, len(r.Key.Str()))
		}
		return append(dst, r.Key.Str()...), nil
	case data.TypeInvalid:
		return nil, plugins.Dataf("%s-%d offset %d: Key is used as document id and can not be null.", r.Topic, r.Partition, r.Offset)
	}
	return nil, plugins.Dataf("%s-%d offset %d: %s is not supported as the document id: use a transform such as ExtractField$Key, or key.ignore=true",
		r.Topic, r.Partition, r.Offset, r.Key.Type())
}

// mapForm says how maps are written.
type mapForm uint8

const (
	mapsCompact mapForm = iota // as objects when their keys are strings, else as lists of {"key","value"}
	mapsEntries                // as lists of {"key","value"}
	mapsBare                   // as objects when their keys are strings, else as lists of [key,value]: what JsonConverter makes of them
)

// appendDocument renders a value as JSON the way the original does: structs as objects, maps in the form asked for, bytes in base64, dates
// and times as the numbers that Connect holds. Decimals are numbers, also with schema.ignore, where the original writes their bytes.
func appendDocument(dst []byte, s *data.Schema, v data.Value, maps mapForm) ([]byte, error) {
	switch v.Type() {
	case data.TypeInvalid:
		if d, ok := s.Default(); ok && !d.IsNull() {
			return appendDocument(dst, s, d, maps)
		}
		return append(dst, "null"...), nil
	case data.TypeBoolean:
		return strconv.AppendBool(dst, v.Bool()), nil
	case data.TypeInt8, data.TypeInt16, data.TypeInt32, data.TypeInt64:
		return strconv.AppendInt(dst, v.Int(), 10), nil
	case data.TypeFloat32, data.TypeFloat64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, plugins.Dataf("%v is no number that JSON can hold", f)
		}
		bits := 64
		if v.Type() == data.TypeFloat32 {
			bits = 32
		}
		return jsontext.AppendFloat(dst, v.Float(), bits), nil
	case data.TypeString:
		return jsontext.AppendString(dst, v.Str()), nil
	case data.TypeBytes:
		if s.Name() == data.LogicalDecimal {
			return appendDecimal(dst, s, v.Bytes())
		}
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, v.Bytes())
		return append(dst, '"'), nil
	case data.TypeArray:
		dst = append(dst, '[')
		var elem *data.Schema
		if s.Type() == data.TypeArray {
			elem = s.ValueSchema()
		}
		for i, e := range v.Array() {
			if i > 0 {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = appendDocument(dst, elem, e, maps); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	case data.TypeMap:
		return appendMap(dst, s, v, maps)
	case data.TypeStruct:
		st := v.Struct()
		dst = append(dst, '{')
		for i, f := range st.Schema.Fields() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = jsontext.AppendString(dst, f.Name)
			dst = append(dst, ':')
			var err error
			if dst, err = appendDocument(dst, f.Schema, st.Values[i], maps); err != nil {
				return nil, err
			}
		}
		return append(dst, '}'), nil
	}
	return nil, plugins.Dataf("a value of type %s cannot be part of a document", v.Type())
}

func appendMap(dst []byte, s *data.Schema, v data.Value, maps mapForm) ([]byte, error) {
	var ks, vs *data.Schema
	if s.Type() == data.TypeMap {
		ks, vs = s.KeySchema(), s.ValueSchema()
	}
	es := v.Map()
	if s == nil {
		maps = mapsBare // a map without a schema is a JSON object to begin with
	}
	object := maps != mapsEntries
	for _, e := range es {
		object = object && e.Key.Type() == data.TypeString
	}
	if len(es) == 0 && ks != nil {
		object = object && ks.Type() == data.TypeString
	}
	before, between, after := `{"key":`, `,"value":`, byte('}')
	if maps == mapsBare {
		before, between, after = `[`, `,`, ']'
	}
	open, shut := byte('['), byte(']')
	if object {
		open, shut = '{', '}'
	}
	dst = append(dst, open)
	var err error
	for i, e := range es {
		if i > 0 {
			dst = append(dst, ',')
		}
		if object {
			dst = append(jsontext.AppendString(dst, e.Key.Str()), ':')
		} else {
			if dst, err = appendDocument(append(dst, before...), ks, e.Key, maps); err != nil {
				return nil, err
			}
			dst = append(dst, between...)
		}
		if dst, err = appendDocument(dst, vs, e.Value, maps); err != nil {
			return nil, err
		}
		if !object {
			dst = append(dst, after)
		}
	}
	return append(dst, shut), nil
}

// appendDecimal writes a decimal as a double, as the original does: digits beyond a double's are lost in the index.
func appendDecimal(dst []byte, s *data.Schema, b []byte) ([]byte, error) {
	scale, err := strconv.Atoi(s.Param("scale"))
	if err != nil || scale < -1000 || scale > 1000 {
		return nil, plugins.Dataf("a Decimal with scale %q", s.Param("scale"))
	}
	if len(b) <= 8 {
		var n int64
		if len(b) > 0 && b[0]&0x80 != 0 {
			n = -1
		}
		for _, x := range b {
			n = n<<8 | int64(x)
		}
		// Up to 2^53 the digits are exact and the quotient is the nearest double.
		if n > -1<<53 && n < 1<<53 && scale >= 0 && scale <= 22 {
			return jsontext.AppendFloat(dst, float64(n)/math.Pow10(scale), 64), nil
		}
	}
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	r := new(big.Rat).SetInt(n)
	p := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(scale, -scale))), nil))
	if scale >= 0 {
		r.Quo(r, p)
	} else {
		r.Mul(r, p)
	}
	f, _ := r.Float64()
	if math.IsInf(f, 0) {
		return nil, plugins.Dataf("a Decimal that is too large for a double")
	}
	return jsontext.AppendFloat(dst, f, 64), nil
}
