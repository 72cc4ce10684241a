package avrodata_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins/converters"
	"github.com/moldau-io/moldau/plugins/converters/avrodata"
	"github.com/moldau-io/moldau/plugins/plugintest"
	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// transcriptCase is what Confluent's AvroData 8 with Avro 1.12 made: of Connect data its Avro schema and bytes, and of those bytes
// Connect data again. Data is in the form of Connect's JSON converter with schemas.
type transcriptCase struct {
	Data    json.RawMessage   `json:"data"`
	Avro    string            `json:"avro"`
	Hex     string            `json:"hex"`
	Version int32             `json:"version"`
	Config  map[string]string `json:"config"`
	Want    struct {
		Avro  string          `json:"avro"`
		Hex   *string         `json:"hex"`
		Back  json.RawMessage `json:"back"`
		Error string          `json:"error"`
	} `json:"want"`
}

func configOf(c map[string]string) avrodata.Config {
	cfg := avrodata.DefaultConfig()
	for k, v := range c {
		on := v == "true"
		switch k {
		case "connect.meta.data":
			cfg.ConnectMetaData = on
		case "enhanced.avro.schema.support":
			cfg.Enhanced = on
		case "scrub.invalid.names":
			cfg.ScrubNames = on
		case "allow.optional.map.keys":
			cfg.AllowOptionalMapKeys = on
		case "discard.type.doc.default":
			cfg.DiscardTypeDocDefault = on
		case "ignore.default.for.nullables":
			cfg.IgnoreDefaultForNullables = on
		default:
			panic(k)
		}
	}
	return cfg
}

// sameText shows only where two long texts part.
func sameText(t *testing.T, want, have string) {
	t.Helper()
	for i := range min(len(want), len(have)) {
		if want[i] != have[i] {
			t.Fatalf("at %d\nwant ...%.150s\nhave ...%.150s", i, want[max(0, i-60):], have[max(0, i-60):])
		}
	}
	require.Equal(t, want, have)
}

// refused are the data that the original writes as something else, or under a schema that they do not fit.
var refused = map[string]string{
	`{"schema":{"type":"bytes","optional":false,"name":"a.b.F","parameters":{"connect.fixed.size":"2"}},"payload":"AAH/"}`: "3 bytes do not make a fixed of 2",
	`{"schema":{"type":"struct","fields":[{"type":"struct","fields":[{"type":"int32","optional":false,"field":"x"}],"optional":false,"name":"S","field":"a"},` +
		`{"type":"struct","fields":[{"type":"int32","optional":false,"field":"y"}],"optional":false,"name":"S","field":"b"}],"optional":false,"name":"R"},"payload":{"a":{"x":1},"b":{"y":1}}}`: "Can't redefine: S",
	`{"schema":{"type":"struct","fields":[{"type":"map","optional":false,"keys":{"type":"int32","optional":false},"values":{"type":"string","optional":true},"field":"m1"},` +
		`{"type":"map","optional":false,"keys":{"type":"int32","optional":false},"values":{"type":"int64","optional":false},"field":"m2"}],"optional":false,"name":"R"},"payload":{"m1":[],"m2":[]}}`: "Can't redefine: io.confluent.connect.avro.MapEntry",
}

func TestSchemasAndBytesAreConfluents(t *testing.T) {
	b, err := os.ReadFile("testdata/confluent-8.json")
	require.NoError(t, err)
	var cases []transcriptCase
	require.NoError(t, json.Unmarshal(b, &cases))
	ctx := context.Background()
	form := plugintest.JSONForm(t, converters.Register)
	for i, c := range cases {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			cfg := configOf(c.Config)
			schemaText, encoded := c.Avro, c.Hex
			if c.Data != nil {
				s, v, err := form.ToData(ctx, "", c.Data)
				require.NoError(t, err)
				e, err := avrodata.NewEncoder(s, cfg)
				if err == nil && c.Want.Avro != "" {
					sameText(t, c.Want.Avro, e.Text())
				}
				var out []byte
				if err == nil && (c.Want.Hex != nil || c.Want.Error != "") {
					out, err = e.Append(nil, v)
				}
				if why := refused[string(c.Data)]; why != "" {
					require.ErrorContains(t, err, why)
					return
				}
				if c.Want.Error != "" {
					require.Error(t, err, "%s\n%s", c.Data, c.Want.Error)
					return
				}
				require.NoError(t, err, "%s", c.Data)
				if c.Want.Hex == nil {
					require.True(t, v.IsNull())
					return
				}
				require.Equal(t, *c.Want.Hex, hex.EncodeToString(out), "%s", c.Data)
				schemaText, encoded = e.Text(), *c.Want.Hex
			}
			bin, err := hex.DecodeString(encoded)
			require.NoError(t, err)
			parsed, err := avro.Parse(schemaText, avro.Options{})
			require.NoError(t, err, schemaText)
			d, err := avrodata.NewDecoder(parsed, c.Version, cfg)
			if c.Want.Error != "" {
				require.Error(t, err, "%s\n%s", schemaText, c.Want.Error)
				return
			}
			require.NoError(t, err, schemaText)
			v, err := d.Decode(bin)
			require.NoError(t, err, schemaText)
			if v.IsNull() {
				require.Nil(t, plugintest.Numbers(t, c.Want.Back))
				return
			}
			got, err := form.FromData(ctx, nil, "", d.Schema(), v)
			require.NoError(t, err)
			require.Equal(t, plugintest.Numbers(t, c.Want.Back), plugintest.Numbers(t, got), schemaText)
		})
	}
}
