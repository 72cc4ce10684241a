package cli

import (
	"testing"

	"github.com/linkedin/goavro/v2"
	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/schemaregistry/avro"
)

func TestAvroIsShownInTheOrderOfTheSchema(t *testing.T) {
	const schema = `{"type":"record","name":"R","fields":[{"name":"z","type":"int"},{"name":"y","type":["null",{"type":"record","name":"I","fields":[{"name":"d","type":"string"},{"name":"c","type":"long"},{"name":"b","type":["null","string"]}]}]},
		{"name":"x","type":{"type":"map","values":"I"}},{"name":"w","type":{"type":"array","items":["null","I",{"type":"map","values":"int"}]}},{"name":"v","type":["null","string",{"type":"array","items":"I"}]},{"name":"a","type":"bytes"}]}`
	const text = `{"z":1,"y":{"d":"1","c":2,"b":null},"x":{"k\"1":{"d":"","c":0,"b":"s"},"k2":{"d":"","c":0,"b":null}},"w":[{"d":"","c":3,"b":null},null,{"m":1,"n":2}],"v":[{"d":"","c":0,"b":null}],"a":"\u0001"}`
	codec, err := goavro.NewCodecForStandardJSONFull(schema)
	require.NoError(t, err)
	parsed, err := avro.Parse(schema, avro.Options{})
	require.NoError(t, err)
	for range 20 {
		v, _, err := codec.NativeFromTextual([]byte(text))
		require.NoError(t, err)
		out, err := codec.TextualFromNative(nil, v)
		require.NoError(t, err)
		require.Equal(t, text, string(inOrder(nil, parsed.Root, out)))
	}
}
