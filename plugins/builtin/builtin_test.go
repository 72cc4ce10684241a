package builtin

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
)

func TestPluginsAreFoundByTheirJavaNames(t *testing.T) {
	r := plugins.NewRegistry()
	Register(r)
	for _, name := range []string{"org.apache.kafka.connect.json.JsonConverter", "org.apache.kafka.connect.storage.StringConverter",
		"org.apache.kafka.connect.converters.ByteArrayConverter", "io.confluent.connect.avro.AvroConverter", "AvroConverter"} {
		s, ok := r.Converter(name)
		require.True(t, ok, name)
		require.NotNil(t, s.New())
	}
	for _, name := range []string{"org.apache.kafka.connect.storage.SimpleHeaderConverter", "org.apache.kafka.connect.json.JsonConverter"} {
		_, ok := r.HeaderConverter(name)
		require.True(t, ok, name)
	}
	for _, name := range []string{"Cast$Key", "Cast$Value", "DropHeaders", "ExtractField$Key", "ExtractField$Value", "Filter", "Flatten$Key", "Flatten$Value", "HeaderFrom$Key",
		"HeaderFrom$Value", "HoistField$Key", "HoistField$Value", "InsertField$Key", "InsertField$Value", "InsertHeader", "MaskField$Key", "MaskField$Value", "RegexRouter",
		"ReplaceField$Key", "ReplaceField$Value", "SetSchemaMetadata$Key", "SetSchemaMetadata$Value", "TimestampConverter$Key", "TimestampConverter$Value", "TimestampRouter", "ValueToKey"} {
		s, ok := r.Transform("org.apache.kafka.connect.transforms." + name)
		require.True(t, ok, name)
		require.NotNil(t, s.New())
	}
	_, ok := r.Transform("io.debezium.transforms.ExtractNewRecordState")
	require.True(t, ok)
	_, ok = r.Predicate("org.apache.kafka.connect.transforms.predicates.TopicNameMatches")
	require.True(t, ok)
}
