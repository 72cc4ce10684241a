package predicates

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

func predicate(t *testing.T, name string, config map[string]string) plugins.Predicate {
	r := plugins.NewRegistry()
	Register(r)
	spec, ok := r.Predicate("org.apache.kafka.connect.transforms.predicates." + name)
	require.True(t, ok)
	cfg, err := spec.Config.Parse(config)
	require.NoError(t, err)
	p := spec.New()
	require.NoError(t, p.Configure(cfg))
	return p
}

func TestPredicates(t *testing.T) {
	topic := predicate(t, "TopicNameMatches", map[string]string{"pattern": `shop\.(?!secret).*`})
	for _, c := range []struct {
		topic string
		want  bool
	}{{"shop.orders", true}, {"shop.orders", true}, {"shop.secret", false}, {"x.shop.orders", false}, {"", false}, {"shop.a", true}} {
		require.Equal(t, c.want, topic.Test(&plugins.Record{Topic: c.topic}), c.topic)
	}
	header := predicate(t, "HasHeaderKey", map[string]string{"name": "h"})
	require.True(t, header.Test(&plugins.Record{Headers: []data.Header{{Key: "x"}, {Key: "h"}}}))
	require.False(t, header.Test(&plugins.Record{Headers: []data.Header{{Key: "H"}}}))
	tombstone := predicate(t, "RecordIsTombstone", nil)
	require.True(t, tombstone.Test(&plugins.Record{ValueSchema: data.StringSchema}))
	require.False(t, tombstone.Test(&plugins.Record{Value: data.Bool(false)}))
	for _, p := range []plugins.Predicate{topic, header, tombstone} {
		require.NoError(t, p.Close())
	}
}

func TestPredicateConfigurationsAreChecked(t *testing.T) {
	r := plugins.NewRegistry()
	Register(r)
	for name, config := range map[string]map[string]string{"TopicNameMatches": {"pattern": "("}, "HasHeaderKey": {"name": " "}, "RecordIsTombstone": {"x": "y"}} {
		spec, ok := r.Predicate(name)
		require.True(t, ok)
		_, err := spec.Config.Parse(config)
		require.Error(t, err)
		if name != "RecordIsTombstone" {
			_, err = spec.Config.Parse(nil)
			require.ErrorContains(t, err, "Missing required configuration")
		}
	}
}
