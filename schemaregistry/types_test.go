package schemaregistry

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func body(t *testing.T, text string) map[string]json.RawMessage {
	t.Helper()
	var b map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(text), &b))
	return b
}

func TestAConfigIsReplacedAndNeverWrittenTo(t *testing.T) {
	first, err := updateConfig(Config{}, body(t, `{"alias":"a","normalize":true,"defaultMetadata":{"properties":{"a":"1"}}}`))
	require.NoError(t, err)
	second, err := updateConfig(first, body(t, `{"normalize":false,"defaultMetadata":{"properties":{"b":"2"}}}`))
	require.NoError(t, err)
	require.True(t, *first.Normalize, "what others read does not change before the change is in the topic")
	require.Equal(t, map[string]string{"a": "1"}, first.DefaultMetadata.Properties)
	require.False(t, *second.Normalize)
	require.Equal(t, map[string]string{"b": "2"}, second.DefaultMetadata.Properties, "a member that is given replaces the old one")
	require.Equal(t, "a", second.Alias, "one that is not given stays")
	third, err := updateConfig(second, body(t, `{"alias":null,"normalize":null,"defaultMetadata":null}`))
	require.NoError(t, err)
	require.Equal(t, Config{}, third)
}
