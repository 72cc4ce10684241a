package converters

import (
	"strconv"
	"time"

	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/plugins/jsontext"
)

// AppendJavaString appends v as the toString of its Java form renders it: structs as Struct{a=1,b=x} without null fields, maps as
// {k=v}, lists as [a, b], decimals as numbers, dates in UTC. Bytes, which Java prints as an object address, are written in
// hexadecimal after 0x.
func AppendJavaString(dst []byte, s *data.Schema, v data.Value) []byte {
	switch v.Type() {
	case data.TypeInvalid:
		return append(dst, "null"...)
	case data.TypeInt8, data.TypeInt16, data.TypeInt32, data.TypeInt64:
		switch s.Name() {
		case data.LogicalDate:
			return time.UnixMilli(v.Int()*86_400_000).UTC().AppendFormat(dst, javaDate)
		case data.LogicalTime, data.LogicalTimestamp:
			return time.UnixMilli(v.Int()).UTC().AppendFormat(dst, javaDate)
		}
		return strconv.AppendInt(dst, v.Int(), 10)
	case data.TypeFloat32:
		return jsontext.AppendJavaFloat(dst, v.Float(), 32)
	case data.TypeFloat64:
		return jsontext.AppendJavaFloat(dst, v.Float(), 64)
	case data.TypeBoolean:
		return strconv.AppendBool(dst, v.Bool())
	case data.TypeString:
		return append(dst, v.Str()...)
	case data.TypeBytes:
		if s.Name() == data.LogicalDecimal {
			if scale, err := decimalScale(s); err == nil {
				return data.AppendDecimal(dst, v.Bytes(), scale)
			}
		}
		dst = append(dst, '0', 'x')
		for _, c := range v.Bytes() {
			dst = append(dst, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		}
		return dst
	case data.TypeArray:
		var elem *data.Schema
		if s.Type() == data.TypeArray {
			elem = s.ValueSchema()
		}
		dst = append(dst, '[')
		for i, e := range v.Array() {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = AppendJavaString(dst, elem, e)
		}
		return append(dst, ']')
	case data.TypeMap:
		var key, elem *data.Schema
		if s.Type() == data.TypeMap {
			key, elem = s.KeySchema(), s.ValueSchema()
		}
		dst = append(dst, '{')
		for i, e := range v.Map() {
			if i > 0 {
				dst = append(dst, ", "...)
			}
			dst = AppendJavaString(dst, key, e.Key)
			dst = append(dst, '=')
			dst = AppendJavaString(dst, elem, e.Value)
		}
		return append(dst, '}')
	default:
		st := v.Struct()
		dst = append(dst, "Struct{"...)
		first := true
		for i, f := range st.Schema.Fields() {
			if st.Values[i].IsNull() {
				continue
			}
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(dst, f.Name...)
			dst = append(dst, '=')
			dst = AppendJavaString(dst, f.Schema, st.Values[i])
		}
		return append(dst, '}')
	}
}

// javaDate is the layout of java.util.Date.toString in UTC.
const javaDate = "Mon Jan 02 15:04:05 UTC 2006"
