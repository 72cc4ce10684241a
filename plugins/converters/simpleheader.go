package converters

import (
	"context"
	"unicode/utf8"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

// SimpleHeaderConverter is org.apache.kafka.connect.storage.SimpleHeaderConverter, the default of header.converter: header values
// are written as text, and their type is inferred when they are read.
type SimpleHeaderConverter struct{}

// Configure implements plugins.HeaderConverter.
func (SimpleHeaderConverter) Configure(context.Context, plugins.ConverterEnv, configdef.Values) error {
	return nil
}

// FromHeader implements plugins.HeaderConverter.
func (SimpleHeaderConverter) FromHeader(_, _ string, schema *data.Schema, v data.Value) ([]byte, error) {
	if v.IsNull() {
		return nil, nil
	}
	return AppendValueText([]byte{}, schema, v), nil
}

// ToHeader implements plugins.HeaderConverter.
func (SimpleHeaderConverter) ToHeader(_, _ string, b []byte) (*data.Schema, data.Value, error) {
	if b == nil {
		return nil, data.Null, nil
	}
	if !utf8.Valid(b) {
		return nil, data.Null, plugins.Dataf("Failed to deserialize value for header: it is not UTF-8")
	}
	s, v := ParseValueText(string(b))
	return s, v, nil
}
