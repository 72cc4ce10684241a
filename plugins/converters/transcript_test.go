package converters

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/plugins/plugintest"
)

// transcriptCase is something that Apache Kafka Connect 4.3.1 converted. Data is in the form of its JSON converter with schemas.
type transcriptCase struct {
	Op     string            `json:"op"`
	Config map[string]string `json:"config"`
	Data   json.RawMessage   `json:"data"`
	Text   string            `json:"text"`
	Want   struct {
		Text  *string         `json:"text"`
		Data  json.RawMessage `json:"data"`
		Error string          `json:"error"`
		Back  *string         `json:"back"`
		Type  string          `json:"type"`
		Java  string          `json:"java"`
	} `json:"want"`
}

func transcripts(t *testing.T, file string) []transcriptCase {
	b, err := os.ReadFile("testdata/" + file)
	require.NoError(t, err)
	var cases []transcriptCase
	require.NoError(t, json.Unmarshal(b, &cases))
	return cases
}

func configured(t testing.TB, name string, config map[string]string) plugins.Converter {
	t.Helper()
	return plugintest.Converter(t, Register, name, config)
}

// reference is the converter in whose form the transcripts hold data.
func reference(t testing.TB) plugins.Converter {
	t.Helper()
	return plugintest.JSONForm(t, Register)
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

func input(t *testing.T, raw json.RawMessage) (*data.Schema, data.Value) {
	if isNull(raw) {
		return nil, data.Null
	}
	s, v, err := reference(t).ToData(context.Background(), "", raw)
	require.NoError(t, err)
	return s, v
}

func TestJSONIsThatOfKafkaConnect(t *testing.T) {
	ctx := context.Background()
	for i, c := range transcripts(t, "json-kafka-connect-4.3.1.json") {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			conv := configured(t, "JsonConverter", c.Config)
			if c.Op == "encode" {
				s, v := input(t, c.Data)
				b, err := conv.FromData(ctx, nil, "t", s, v)
				if c.Want.Error != "" {
					require.EqualError(t, err, c.Want.Error)
					return
				}
				require.NoError(t, err)
				if c.Want.Text == nil {
					require.Nil(t, b)
					return
				}
				if s == nil { // a HashMap has its own order
					require.Equal(t, plugintest.Numbers(t, []byte(*c.Want.Text)), plugintest.Numbers(t, b))
					return
				}
				require.Equal(t, *c.Want.Text, string(b))
				return
			}
			s, v, err := conv.ToData(ctx, "t", []byte(c.Text))
			if c.Want.Error != "" {
				require.Error(t, err, "%s: %s", c.Text, c.Want.Error)
				var d *plugins.DataError
				require.ErrorAs(t, err, &d)
				return
			}
			require.NoError(t, err, c.Text)
			got, err := reference(t).FromData(ctx, nil, "t", s, v)
			require.NoError(t, err)
			require.Equal(t, plugintest.Numbers(t, c.Want.Data), plugintest.Numbers(t, got), c.Text)
		})
	}
}

var address = regexp.MustCompile(`\[B@[0-9a-f]+`)

func TestTextIsThatOfKafkaConnect(t *testing.T) {
	ctx := context.Background()
	for _, c := range transcripts(t, "text-kafka-connect-4.3.1.json") {
		if c.Op == "string" {
			s, v := input(t, c.Data)
			b, err := configured(t, "StringConverter", nil).FromData(ctx, nil, "t", s, v)
			require.NoError(t, err)
			if c.Want.Text == nil {
				require.Nil(t, b)
			} else {
				// Java prints an array of bytes as its address.
				require.Equal(t, address.ReplaceAllString(*c.Want.Text, "0x0102ff"), string(b))
			}
			continue
		}
		s, v := ParseValueText(c.Text)
		if c.Want.Type != "" {
			require.Equal(t, c.Want.Type, upperType(s), c.Text)
		} else {
			got, err := reference(t).FromData(ctx, nil, "t", s, v)
			require.NoError(t, err, c.Text)
			require.Equal(t, plugintest.Numbers(t, c.Want.Data), plugintest.Numbers(t, got), c.Text)
		}
		if c.Want.Back != nil {
			require.Equal(t, *c.Want.Back, string(AppendValueText(nil, s, v)), c.Text)
		}
	}
}

func upperType(s *data.Schema) string {
	switch s.Type() {
	case data.TypeArray:
		return "ARRAY"
	case data.TypeMap:
		return "MAP"
	}
	return s.Type().String()
}
