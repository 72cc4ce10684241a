package metadata

import (
	"errors"
	"regexp"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau-io/moldau/core/config"
)

// TableRules are the ConfigRules of Kafka's property tables (package core/config).
type TableRules struct {
	// Static are the broker's properties from its file, the lowest layer of a topic's values.
	Static map[string]string
	// Pattern judges a regular expression in Java's syntax, see config.ValidateClientMetrics. nil takes Go's syntax for it.
	Pattern func(string) error
}

var _ ConfigRules = TableRules{}

// ValidateConfigs implements ConfigRules.
func (t TableRules) ValidateConfigs(r ConfigResource, overrides map[string]string) error {
	switch r.Type {
	case TopicResource:
		return config.ValidateTopic(overrides)
	case BrokerResource:
		return config.ValidateBroker(overrides, t.Static)
	case GroupResource:
		return config.ValidateGroup(overrides, t.Static)
	case ClientMetricsResource:
		err := config.ValidateClientMetrics(overrides, t.pattern)
		if e := (*config.RequestError)(nil); errors.As(err, &e) {
			return refuse(kerr.InvalidRequest, "%s", e.Message)
		}
		return err
	}
	return nil
}

func (t TableRules) pattern(s string) error {
	if t.Pattern != nil {
		return t.Pattern(s)
	}
	_, err := regexp.Compile(s)
	return err
}

// ValidateUpdate implements ConfigRules.
func (TableRules) ValidateUpdate(r ConfigResource, keys []string) error {
	if r.Type != BrokerResource {
		return nil
	}
	return config.ValidateBrokerUpdate(keys, r.Name == "")
}

// ListDefault implements ConfigRules.
func (TableRules) ListDefault(t ResourceType, key string) (string, bool) {
	var k *config.Key
	switch t {
	case TopicResource:
		k = config.TopicKeys.Key(key)
	case BrokerResource:
		k = config.BrokerKeys.Key(key)
	case GroupResource:
		k = config.GroupKeys.Key(key)
	}
	if k == nil || k.Type != config.List {
		return "", false
	}
	if k.Default == nil {
		return "", true
	}
	return *k.Default, true
}

// MinInSyncReplicas implements ConfigRules.
func (t TableRules) MinInSyncReplicas(topic, cluster map[string]string) int {
	v, _ := config.TopicValue(config.Layers{Topic: topic, Cluster: cluster, Static: t.Static}, minInSyncReplicas)
	n, err := strconv.Atoi(v)
	if err != nil {
		return 1 // cannot be: values are validated before they are stored
	}
	return n
}

// UncleanElection implements ConfigRules.
func (t TableRules) UncleanElection(topic, cluster map[string]string) bool {
	v, _ := config.TopicValue(config.Layers{Topic: topic, Cluster: cluster, Static: t.Static}, "unclean.leader.election.enable")
	return v == "true"
}

// Layers returns the layers of a topic's (or, with topic "", of the broker's) values on the broker of that id.
func (im *Image) Layers(topic string, broker int32, static map[string]string) config.Layers {
	l := config.Layers{
		Broker:  im.Configs(BrokerResource, strconv.Itoa(int(broker))),
		Cluster: im.Configs(BrokerResource, ""),
		Static:  static,
	}
	if topic != "" {
		l.Topic = im.Configs(TopicResource, topic)
	}
	return l
}
