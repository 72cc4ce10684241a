package connect

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBodiesThatCannotBeReadAreExplained(t *testing.T) {
	for body, want := range map[string]string{
		`{"name":"a",`:                   "malformed JSON in the request: body: unexpected end of JSON input (line 1, column 12)",
		"{\n \"name\": \"a\"\n b}":       "malformed JSON in the request: body: invalid character 'b' after object key:value pair (line 3, column 2)",
		`[]`:                             "malformed JSON in the request: body is of type array, which cannot be here",
		`{"name":"a","config":"x"}`:      "malformed JSON in the request: config is of type string, which cannot be here",
		`{"name":"a"}`:                   `Cannot invoke "java.util.Map.get(Object)" because "connectorConfig" is null: the request holds no configuration`,
		``:                               `Cannot invoke "org.apache.kafka.connect.runtime.rest.entities.CreateConnectorRequest.name()" because "createRequest" is null: the request has no body, which is {"name": ..., "config": {...}}`,
		`{"name":"a","config":{},"x":1}`: `Unrecognized field "x"`,
	} {
		_, err := decodeCreate(strings.NewReader(body))
		require.ErrorContains(t, err, want, body)
	}
	for body, want := range map[string]string{
		`{"offsets":{}}`:               "malformed JSON in the request: offsets is of type object, which cannot be here",
		`{"offsets":[{"offset":"x"}]}`: "malformed JSON in the request: offset is of type string, which cannot be here",
		``:                             `because "offsets" is null: the request has no body`,
	} {
		_, err := decodeOffsets(strings.NewReader(body))
		require.ErrorContains(t, err, want, body)
	}
}
