package converters

import (
	"context"
	"encoding/binary"
	"math"
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

// primitive converts values of one physical type to and from a fixed binary form, as Kafka's serializer of that type does.
type primitive struct {
	name   string // of the class, for error texts
	kind   data.Type
	schema *data.Schema // what ToData reports
	size   int          // 0: any
}

// The converters of the primitive types. Bytes pass through as they are.
var (
	byteArray = primitive{"ByteArrayConverter", data.TypeBytes, data.OptionalBytesSchema, 0}
	boolean   = primitive{"BooleanConverter", data.TypeBoolean, data.OptionalBooleanSchema, 1}
	short     = primitive{"short", data.TypeInt16, data.OptionalInt16Schema, 2}
	integer   = primitive{"integer", data.TypeInt32, data.OptionalInt32Schema, 4}
	long      = primitive{"long", data.TypeInt64, data.OptionalInt64Schema, 8}
	float     = primitive{"float", data.TypeFloat32, data.OptionalFloat32Schema, 4}
	double    = primitive{"double", data.TypeFloat64, data.OptionalFloat64Schema, 8}
)

func (p *primitive) Configure(context.Context, plugins.ConverterEnv, configdef.Values, bool) error {
	return nil
}

func (p *primitive) FromData(_ context.Context, dst []byte, _ string, schema *data.Schema, v data.Value) ([]byte, error) {
	if schema != nil && schema.Type() != p.kind && p.size <= 1 {
		return nil, plugins.Dataf("Invalid schema type for %s: %s", p.name, strings.ToUpper(schema.Type().String()))
	}
	if v.IsNull() {
		return nil, nil
	}
	if v.Type() != p.kind {
		if p.size <= 1 {
			return nil, plugins.Dataf("%s is not compatible with objects of type %s", p.name, v.Type())
		}
		return nil, plugins.Dataf("Failed to serialize to a %s: the value is of type %s", p.name, v.Type())
	}
	switch p.kind {
	case data.TypeBytes:
		return notNil(append(dst, v.Bytes()...)), nil
	case data.TypeBoolean:
		return append(dst, byte(v.Int())), nil
	case data.TypeInt16:
		return binary.BigEndian.AppendUint16(dst, uint16(v.Int())), nil
	case data.TypeInt32:
		return binary.BigEndian.AppendUint32(dst, uint32(v.Int())), nil
	case data.TypeInt64:
		return binary.BigEndian.AppendUint64(dst, uint64(v.Int())), nil
	case data.TypeFloat32:
		return binary.BigEndian.AppendUint32(dst, math.Float32bits(v.Float32())), nil
	default:
		return binary.BigEndian.AppendUint64(dst, math.Float64bits(v.Float())), nil
	}
}

// notNil tells an empty result from a null one.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func (p *primitive) ToData(_ context.Context, _ string, b []byte) (*data.Schema, data.Value, error) {
	if b == nil {
		return p.schema, data.Null, nil
	}
	if p.size > 0 && len(b) != p.size {
		return nil, data.Null, plugins.Dataf("Failed to deserialize %s: size of data received is %d instead of %d", p.name, len(b), p.size)
	}
	switch p.kind {
	case data.TypeBytes:
		return p.schema, data.Bytes(b), nil
	case data.TypeBoolean:
		if b[0] > 1 {
			return nil, data.Null, plugins.Dataf("Failed to deserialize boolean: unexpected byte received: %d", b[0])
		}
		return p.schema, data.Bool(b[0] == 1), nil
	case data.TypeInt16:
		return p.schema, data.Int16(int16(binary.BigEndian.Uint16(b))), nil
	case data.TypeInt32:
		return p.schema, data.Int32(int32(binary.BigEndian.Uint32(b))), nil
	case data.TypeInt64:
		return p.schema, data.Int64(int64(binary.BigEndian.Uint64(b))), nil
	case data.TypeFloat32:
		return p.schema, data.Float32(math.Float32frombits(binary.BigEndian.Uint32(b))), nil
	default:
		return p.schema, data.Float64(math.Float64frombits(binary.BigEndian.Uint64(b))), nil
	}
}

// primitiveHeaders adapts a primitive converter to headers.
type primitiveHeaders struct{ primitive }

func (h *primitiveHeaders) Configure(context.Context, plugins.ConverterEnv, configdef.Values) error {
	return nil
}

func (h *primitiveHeaders) FromHeader(topic, _ string, schema *data.Schema, v data.Value) ([]byte, error) {
	return h.FromData(context.Background(), nil, topic, schema, v)
}

func (h *primitiveHeaders) ToHeader(topic, _ string, b []byte) (*data.Schema, data.Value, error) {
	return h.ToData(context.Background(), topic, b)
}
