package postgres

import (
	"bytes"
	"math"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins/data"
)

// vectorCodec writes the types of the vector extension: "[1,2.5]" as an array, "{1:1.5,3:2}/5" as dimensions and a map.
func vectorCodec(name string) *codec {
	if name == "sparsevec" {
		s := cdc.SparseVector().Build()
		return &codec{schema: s, length: math.MaxInt32, encode: func(a *cdc.Arena, b []byte) (data.Value, error) { return parseSparse(a, s, b) }}
	}
	bits, elem, semantic := 64, data.Float64Schema, cdc.SchemaDoubleVector
	if name == "halfvec" {
		bits, elem, semantic = 32, data.Float32Schema, cdc.SchemaFloatVector
	}
	return &codec{schema: data.NewArray(elem).Name(semantic).Version(1).Build(), length: math.MaxInt32, encode: func(a *cdc.Arena, b []byte) (data.Value, error) {
		if len(b) < 2 || b[0] != '[' || b[len(b)-1] != ']' {
			return data.Null, malformed("vector", b)
		}
		rest := b[1 : len(b)-1]
		if len(rest) == 0 {
			return data.Array(nil), nil
		}
		vs := a.Values(bytes.Count(rest, []byte{','}) + 1)
		for i := range vs {
			part, after, _ := bytes.Cut(rest, []byte{','})
			rest = after
			f, err := parseFloat(part, bits)
			if err != nil {
				return data.Null, malformed("vector", b)
			}
			if bits == 32 {
				vs[i] = data.Float32(float32(f))
			} else {
				vs[i] = data.Float64(f)
			}
		}
		return data.Array(vs), nil
	}}
}

func parseSparse(a *cdc.Arena, s *data.Schema, b []byte) (data.Value, error) {
	body, dims, ok := bytes.Cut(b, []byte("}/"))
	n, err := parseInt(dims)
	if !ok || err != nil || n > math.MaxInt16 || len(body) == 0 || body[0] != '{' {
		return data.Null, malformed("sparsevec", b)
	}
	var es []data.MapEntry
	for body = body[1:]; len(body) > 0; {
		part, after, _ := bytes.Cut(body, []byte{','})
		body = after
		k, v, ok := bytes.Cut(part, []byte{':'})
		i, err1 := parseInt(k)
		f, err2 := parseFloat(v, 64)
		if !ok || err1 != nil || err2 != nil || i > math.MaxInt16 {
			return data.Null, malformed("sparsevec", b)
		}
		es = append(es, data.MapEntry{Key: data.Int16(int16(i)), Value: data.Float64(f)})
	}
	v := a.Values(2)
	v[0], v[1] = data.Int16(int16(n)), data.Map(es)
	return a.Struct(s, v), nil
}
