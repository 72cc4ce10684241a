package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

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

// TestAvroOfSchemasThatReferToOthersIsShown: a value whose schema names types of other subjects, one of them through another.
func TestAvroOfSchemasThatReferToOthersIsShown(t *testing.T) {
	answers := map[string]string{
		"/schemas/ids/7":               `{"schema":"{\"type\":\"record\",\"name\":\"Order\",\"namespace\":\"shop\",\"fields\":[{\"name\":\"id\",\"type\":\"long\"},{\"name\":\"to\",\"type\":\"geo.Address\"},{\"name\":\"back\",\"type\":[\"null\",\"geo.Address\"]}]}","references":[{"name":"geo.Address","subject":"address","version":3}]}`,
		"/subjects/address/versions/3": `{"subject":"address","version":3,"id":2,"schema":"{\"type\":\"record\",\"name\":\"Address\",\"namespace\":\"geo\",\"fields\":[{\"name\":\"city\",\"type\":\"string\"},{\"name\":\"country\",\"type\":\"Country\"}]}","references":[{"name":"geo.Country","subject":"country","version":1}]}`,
		"/subjects/country/versions/1": `{"subject":"country","version":1,"id":1,"schema":"{\"type\":\"enum\",\"name\":\"Country\",\"namespace\":\"geo\",\"symbols\":[\"CZ\",\"AT\"]}"}`,
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			text = `{"error_code":40402,"message":"Version not found."}`
		}
		_, _ = fmt.Fprint(w, text)
	}))
	defer srv.Close()
	d := &decoder{url: srv.URL, timeout: 5 * time.Second}
	value := []byte{0, 0, 0, 0, 7, 84, 8, 'B', 'r', 'n', 'o', 0, 2, 8, 'L', 'i', 'n', 'z', 2}
	out, err := d.avro(value)
	require.NoError(t, err)
	require.Equal(t, `{"id":42,"to":{"city":"Brno","country":"CZ"},"back":{"city":"Linz","country":"AT"}}`, string(out))

	delete(answers, "/subjects/country/versions/1")
	_, err = (&decoder{url: srv.URL, timeout: 5 * time.Second}).avro(value)
	require.ErrorContains(t, err, "schema 7: the schema geo.Country that it refers to, version 1 of country: ")
}
