package metadata

import (
	"math/rand/v2"
	"strconv"
)

// Rules are what a decision depends on beside the image and the request. The zero value of a field
// stands for what its comment says.
type Rules struct {
	// NumPartitions is num.partitions, for topics that ask for the default. 0 means 1.
	NumPartitions int32
	// ReplicationFactor is default.replication.factor. 0 means 1.
	ReplicationFactor int16
	// DeleteTopics is delete.topic.enable.
	DeleteTopics bool
	// Configs judges configs; core/config implements it. Nil accepts every config as it is.
	Configs ConfigRules
	// NewID makes topic ids. Nil means RandomUUID.
	NewID func() UUID
	// Rand returns a number in [0, n), for the placement of replicas. Nil means math/rand.
	Rand func(n int) int
}

// ConfigRules judges the configs of resources. Its errors are given to the client as they are when
// they are *Error, otherwise their text with INVALID_CONFIG.
type ConfigRules interface {
	// ValidateConfigs judges all the overrides that the resource would have.
	ValidateConfigs(r ConfigResource, overrides map[string]string) error
	// ValidateUpdate judges which keys may be changed at run time for the resource; it is asked for
	// brokers only.
	ValidateUpdate(r ConfigResource, keys []string) error
	// ListDefault returns the default of a key whose type is a list; ok is false when the key is not
	// a list (or not known).
	ListDefault(t ResourceType, key string) (value string, ok bool)
	// MinInSyncReplicas returns the effective min.insync.replicas under the topic's overrides and the
	// cluster-wide broker overrides.
	MinInSyncReplicas(topic, cluster map[string]string) int
	// UncleanElection returns the effective unclean.leader.election.enable likewise.
	UncleanElection(topic, cluster map[string]string) bool
}

func (r *Rules) newID() UUID {
	if r.NewID != nil {
		return r.NewID()
	}
	return RandomUUID()
}

func (r *Rules) random(n int) int {
	if r.Rand != nil {
		return r.Rand(n)
	}
	return rand.IntN(n)
}

func (r *Rules) minISR(im *Image, topic string) int {
	if r.Configs == nil {
		return 1
	}
	return r.Configs.MinInSyncReplicas(im.Configs(TopicResource, topic), im.Configs(BrokerResource, ""))
}

func (r *Rules) uncleanElection(im *Image, topic string) bool {
	if r.Configs == nil {
		return false
	}
	return r.Configs.UncleanElection(im.Configs(TopicResource, topic), im.Configs(BrokerResource, ""))
}

// FeatureELR is the feature of KIP-966, eligible leader replicas.
const FeatureELR = "eligible.leader.replicas.version"

// pinMinISR keeps min.insync.replicas the same for all brokers while KIP-966 is on, as Kafka does: what the file says becomes the
// cluster's default, and those of single brokers go away. When KIP-966 is turned off, what its lists hold means nothing any more.
func pinMinISR(im *Image, rules *Rules, on bool) []Record {
	if !on {
		return []Record{&ClearELRRecord{}}
	}
	var records []Record
	for _, r := range im.ConfigResources() {
		if _, set := im.Config(r)[minInSyncReplicas]; set && r.Type == BrokerResource && r.Name != "" {
			records = append(records, &ConfigRecord{Resource: r, Key: minInSyncReplicas})
		}
	}
	if cluster := (ConfigResource{BrokerResource, ""}); rules.Configs != nil && im.Config(cluster)[minInSyncReplicas] == "" {
		v := strconv.Itoa(rules.Configs.MinInSyncReplicas(nil, nil))
		records = append(records, &ConfigRecord{Resource: cluster, Key: minInSyncReplicas, Value: &v})
	}
	return records
}

func elrEnabled(im *Image) bool { return im.Feature(FeatureELR) > 0 }
