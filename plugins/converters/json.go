package converters

import (
	"context"
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

// jsonOptions are the settings that change what a schema compiles to.
type jsonOptions struct {
	numericDecimals bool
	replaceNulls    bool
}

// JSONConverter is org.apache.kafka.connect.json.JsonConverter: JSON text, by default in an envelope {"schema":...,"payload":...}.
// It serves as header converter too.
type JSONConverter struct {
	schemas bool
	opts    jsonOptions
	known   *lru[*data.Schema] // schema text -> schema
}

// NewJSONConverter returns an unconfigured converter.
func NewJSONConverter() *JSONConverter { return &JSONConverter{} }

var jsonDef = configdef.NewDef(
	configdef.Key{Name: "schemas.enable", Type: configdef.Boolean, Default: true, Importance: configdef.High, Group: "Schemas", Width: configdef.WidthMedium, Display: "Enable Schemas",
		Doc: "Include schemas within each of the serialized values and keys."},
	configdef.Key{Name: "schemas.cache.size", Type: configdef.Int, Default: 1000, Importance: configdef.High, Group: "Schemas", Width: configdef.WidthMedium, Display: "Schema Cache Size",
		Doc: "The maximum number of schemas that can be cached in this converter instance."},
	configdef.Key{Name: "decimal.format", Type: configdef.String, Default: "BASE64", Importance: configdef.Low, Group: "Serialization", Width: configdef.WidthMedium, Display: "Decimal Format",
		Check: configdef.OneOf(true, "BASE64", "NUMERIC"),
		Doc:   "Controls which format this converter will serialize decimals in. This value is case insensitive and can be either 'BASE64' (default) or 'NUMERIC'"},
	configdef.Key{Name: "replace.null.with.default", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Group: "Serialization", Width: configdef.WidthMedium, Display: "Replace null with default",
		Doc: "Whether to replace fields that have a default value and that are null to the default value. When set to true, the default value is used, otherwise null is used."},
).Unsupported("an external schema (KIP-1054) cannot be given; send the schema in the envelope or disable schemas", "schema.content").
	Merge(converterTypeDef)

// converterTypeDef is the key that Connect itself adds to say which side a converter serves; moldau passes that in another way.
var converterTypeDef = configdef.NewDef(
	configdef.Key{Name: "converter.type", Type: configdef.String, Importance: configdef.Low, Internal: true,
		Check: configdef.OneOf(false, "key", "value", "header"), Doc: "How this converter will be used."},
)

// Configure implements plugins.Converter.
func (c *JSONConverter) Configure(_ context.Context, _ plugins.ConverterEnv, cfg configdef.Values, _ bool) error {
	c.schemas = cfg.Bool("schemas.enable")
	c.opts = jsonOptions{numericDecimals: strings.EqualFold(cfg.Str("decimal.format"), "NUMERIC"), replaceNulls: cfg.Bool("replace.null.with.default")}
	c.known = newLRU[*data.Schema](int(cfg.Int("schemas.cache.size")))
	return nil
}

// FromData implements plugins.Converter.
func (c *JSONConverter) FromData(_ context.Context, dst []byte, _ string, schema *data.Schema, v data.Value) ([]byte, error) {
	if schema == nil && v.IsNull() {
		return nil, nil
	}
	if schema == nil {
		if c.schemas {
			dst = append(dst, `{"schema":null,"payload":`...)
		}
		dst, err := appendSchemalessJSON(dst, v)
		if err == nil && c.schemas {
			dst = append(dst, '}')
		}
		return dst, err
	}
	form, err := jsonFormOf(schema, c.opts)
	if err != nil {
		return nil, err
	}
	if c.schemas {
		dst = append(dst, `{"schema":`...)
		dst = append(dst, form.text...)
		dst = append(dst, `,"payload":`...)
	}
	dst, err = form.append(dst, v)
	if err != nil {
		return nil, err
	}
	if c.schemas {
		dst = append(dst, '}')
	}
	return dst, nil
}

// jsonHeaders adapts the converter to headers.
type jsonHeaders struct{ c JSONConverter }

func (h *jsonHeaders) Configure(ctx context.Context, env plugins.ConverterEnv, cfg configdef.Values) error {
	return h.c.Configure(ctx, env, cfg, false)
}

func (h *jsonHeaders) FromHeader(topic, _ string, schema *data.Schema, v data.Value) ([]byte, error) {
	return h.c.FromData(context.Background(), nil, topic, schema, v)
}

func (h *jsonHeaders) ToHeader(topic, _ string, b []byte) (*data.Schema, data.Value, error) {
	return h.c.ToData(context.Background(), topic, b)
}
