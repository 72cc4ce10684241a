package cdc

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math"

	"github.com/moldau-io/moldau/plugins/data"
)

// BinaryMode is binary.handling.mode.
type BinaryMode string

// The ways to write binary columns.
const (
	BinaryBytes     BinaryMode = "bytes"
	BinaryBase64    BinaryMode = "base64"
	BinaryBase64URL BinaryMode = "base64-url-safe"
	BinaryHex       BinaryMode = "hex"
)

// Schema starts the schema of a binary column.
func (m BinaryMode) Schema() *data.Builder {
	if m == BinaryBytes {
		return data.New(data.TypeBytes)
	}
	return data.New(data.TypeString)
}

// Value encodes raw, which is kept when the mode is bytes and must not change afterwards.
func (m BinaryMode) Value(a *Arena, raw []byte) data.Value {
	switch m {
	case BinaryHex:
		b := a.Alloc(hex.EncodedLen(len(raw)))
		hex.Encode(b, raw)
		return data.StringBytes(b)
	case BinaryBase64, BinaryBase64URL:
		enc := base64.StdEncoding
		if m == BinaryBase64URL {
			enc = base64.URLEncoding
		}
		b := a.Alloc(enc.EncodedLen(len(raw)))
		enc.Encode(b, raw)
		return data.StringBytes(b)
	}
	return data.Bytes(raw)
}

// PointWKB is the little-endian well-known binary form of a point.
func PointWKB(a *Arena, x, y float64) []byte {
	b := a.Alloc(21)
	clear(b[:5])
	b[0], b[1] = 1, 1
	binary.LittleEndian.PutUint64(b[5:], math.Float64bits(x))
	binary.LittleEndian.PutUint64(b[13:], math.Float64bits(y))
	return b
}

// PointValue is the value of the Point schema, without a spatial reference.
func PointValue(a *Arena, schema *data.Schema, x, y float64) data.Value {
	v := a.Values(4)
	v[0], v[1], v[2] = data.Float64(x), data.Float64(y), data.Bytes(PointWKB(a, x, y))
	return a.Struct(schema, v)
}

// ZeroValue is what stands in for a missing value of a column that may not be null: the schema's default, else zero or "".
func ZeroValue(s *data.Schema) data.Value {
	if d, ok := s.Default(); ok {
		return d
	}
	switch s.Type() {
	case data.TypeInt8:
		return data.Int8(0)
	case data.TypeInt16:
		return data.Int16(0)
	case data.TypeInt32:
		return data.Int32(0)
	case data.TypeInt64:
		return data.Int64(0)
	case data.TypeFloat32:
		return data.Float32(0)
	case data.TypeFloat64:
		return data.Float64(0)
	case data.TypeBoolean:
		return data.Bool(false)
	case data.TypeString:
		return data.String("")
	case data.TypeBytes:
		if s.Name() == data.LogicalDecimal {
			return data.Bytes([]byte{0})
		}
		return data.Bytes(nil)
	case data.TypeArray:
		return data.Array(nil)
	case data.TypeMap:
		return data.Map(nil)
	case data.TypeStruct:
		switch s.Name() {
		case SchemaPoint:
			return PointValue(&Arena{}, s, 0, 0)
		case SchemaVariableDecimal:
			return data.StructOf(&data.Struct{Schema: s, Values: []data.Value{data.Int32(0), data.Bytes([]byte{0})}})
		}
		st := data.NewStructValue(s)
		for i, f := range s.Fields() {
			if !f.Schema.Optional() {
				st.Values[i] = ZeroValue(f.Schema)
			}
		}
		return data.StructOf(st)
	}
	return data.Null
}
