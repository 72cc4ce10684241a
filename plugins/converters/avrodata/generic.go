package avrodata

import (
	"fmt"

	"github.com/linkedin/goavro/v2"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// GenericCodec codes native Go values (maps, slices, unions as one-entry maps) by an Avro schema: for what is not hot enough to be
// compiled.
type GenericCodec interface {
	// BinaryFromNative appends the binary form of datum to dst.
	BinaryFromNative(dst []byte, datum any) ([]byte, error)
	// NativeFromBinary reads one datum and returns what follows it.
	NativeFromBinary(b []byte) (datum any, rest []byte, err error)
}

// NewGenericCodec returns the codec of a schema's text.
func NewGenericCodec(schema string) (GenericCodec, error) {
	c, err := goavro.NewCodec(schema)
	if err != nil {
		return nil, fmt.Errorf("avro codec: %w", err)
	}
	return genericCodec{c}, nil
}

type genericCodec struct{ c *goavro.Codec }

func (g genericCodec) BinaryFromNative(dst []byte, datum any) ([]byte, error) {
	return g.c.BinaryFromNative(dst, datum)
}

func (g genericCodec) NativeFromBinary(b []byte) (any, []byte, error) {
	return g.c.NativeFromBinary(b)
}

// defaultBytes returns the binary form of a field's default: what a record of that field alone is when the field is not given.
func defaultBytes(f *avro.Field) ([]byte, error) {
	if f.Type.Kind == avro.Union && f.Default.Kind == avro.JSONNull {
		for i, b := range f.Type.Branches {
			if b.Kind == avro.Null {
				return appendLong(nil, int64(i)), nil
			}
		}
	}
	alone := &avro.Schema{Root: &avro.Type{Kind: avro.Record, Name: "FieldDefault", Namespace: Namespace,
		Fields: []*avro.Field{{Name: f.Name, Type: f.Type, Default: f.Default, HasDefault: true, Order: "ascending"}}}}
	c, err := NewGenericCodec(alone.Resolved())
	if err != nil {
		return nil, plugins.Dataf("default of field %s: %w", f.Name, err)
	}
	b, err := c.BinaryFromNative(nil, map[string]any{})
	if err != nil {
		return nil, plugins.Dataf("default of field %s: %w", f.Name, err)
	}
	return b, nil
}
