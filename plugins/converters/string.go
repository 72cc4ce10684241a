package converters

import (
	"context"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

// StringConverter is org.apache.kafka.connect.storage.StringConverter: a value's text form in a character encoding.
type StringConverter struct{ encoding string }

var stringDef = configdef.NewDef(
	configdef.Key{Name: "converter.encoding", Type: configdef.String, Default: "UTF-8", Importance: configdef.High,
		Check: configdef.OneOf(true, stringEncodings...),
		Doc:   "The name of the Java character set to use for encoding strings as byte arrays."},
).Merge(converterTypeDef)

// stringEncodings are the character sets that can be named.
var stringEncodings = []string{"UTF-8", "UTF8", "ISO-8859-1", "ISO8859_1", "ISO8859-1", "LATIN1", "US-ASCII", "ASCII", "UTF-16", "UTF-16BE", "UTF-16LE"}

// Configure implements plugins.Converter.
func (c *StringConverter) Configure(_ context.Context, _ plugins.ConverterEnv, cfg configdef.Values, _ bool) error {
	switch e := strings.ToUpper(cfg.Str("converter.encoding")); e {
	case "ISO-8859-1", "ISO8859_1", "ISO8859-1", "LATIN1":
		c.encoding = "latin1"
	case "US-ASCII", "ASCII":
		c.encoding = "ascii"
	case "UTF-16", "UTF-16BE", "UTF-16LE":
		c.encoding = e
	default:
		c.encoding = ""
	}
	return nil
}

// FromData implements plugins.Converter.
func (c *StringConverter) FromData(_ context.Context, dst []byte, _ string, schema *data.Schema, v data.Value) ([]byte, error) {
	if v.IsNull() {
		return nil, nil
	}
	if c.encoding == "" {
		if v.Type() == data.TypeString {
			return notNil(append(dst, v.Str()...)), nil
		}
		return AppendJavaString(dst, schema, v), nil
	}
	return notNil(c.encode(dst, string(AppendJavaString(nil, schema, v)))), nil
}

func (c *StringConverter) encode(dst []byte, s string) []byte {
	limit := rune(0x7f)
	switch c.encoding {
	case "latin1":
		limit = 0xff
		fallthrough
	case "ascii":
		for _, r := range s {
			if r > limit {
				r = '?'
			}
			dst = append(dst, byte(r))
		}
		return dst
	case "UTF-16":
		dst = append(dst, 0xfe, 0xff)
	}
	for _, u := range utf16.Encode([]rune(s)) {
		if c.encoding == "UTF-16LE" {
			dst = binary.LittleEndian.AppendUint16(dst, u)
		} else {
			dst = binary.BigEndian.AppendUint16(dst, u)
		}
	}
	return dst
}

// ToData implements plugins.Converter. Bytes that the character set does not know become U+FFFD, as in Java.
func (c *StringConverter) ToData(_ context.Context, _ string, b []byte) (*data.Schema, data.Value, error) {
	if b == nil {
		return data.OptionalStringSchema, data.Null, nil
	}
	return data.OptionalStringSchema, c.decode(b), nil
}

func (c *StringConverter) decode(b []byte) data.Value {
	switch c.encoding {
	case "":
		if utf8.Valid(b) {
			return data.StringBytes(b)
		}
		return data.String(strings.ToValidUTF8(string(b), "\uFFFD"))
	case "latin1", "ascii":
		out := make([]rune, len(b))
		for i, ch := range b {
			out[i] = rune(ch)
			if ch > 0x7f && c.encoding == "ascii" {
				out[i] = utf8.RuneError
			}
		}
		return data.String(string(out))
	}
	var order binary.ByteOrder = binary.BigEndian
	if c.encoding == "UTF-16LE" {
		order = binary.LittleEndian
	}
	if c.encoding == "UTF-16" && len(b) >= 2 {
		switch mark := binary.BigEndian.Uint16(b); mark {
		case 0xfffe:
			order, b = binary.LittleEndian, b[2:]
		case 0xfeff:
			b = b[2:]
		}
	}
	units := make([]uint16, 0, len(b)/2+1)
	for ; len(b) >= 2; b = b[2:] {
		units = append(units, order.Uint16(b))
	}
	if len(b) == 1 {
		units = append(units, utf8.RuneError)
	}
	return data.String(string(utf16.Decode(units)))
}

// stringHeaders adapts the converter to headers.
type stringHeaders struct{ c StringConverter }

func (h *stringHeaders) Configure(ctx context.Context, env plugins.ConverterEnv, cfg configdef.Values) error {
	return h.c.Configure(ctx, env, cfg, false)
}

func (h *stringHeaders) FromHeader(topic, _ string, schema *data.Schema, v data.Value) ([]byte, error) {
	return h.c.FromData(context.Background(), nil, topic, schema, v)
}

func (h *stringHeaders) ToHeader(topic, _ string, b []byte) (*data.Schema, data.Value, error) {
	return h.c.ToData(context.Background(), topic, b)
}
