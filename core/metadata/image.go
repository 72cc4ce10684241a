package metadata

import (
	"cmp"
	"maps"
	"slices"
)

// NoLeader is the leader of a partition that has none.
const NoLeader int32 = -1

// ResourceType is the kind of a configurable resource, with Kafka's numbers.
type ResourceType int8

// The resource types.
const (
	TopicResource         ResourceType = 2
	BrokerResource        ResourceType = 4
	BrokerLoggerResource  ResourceType = 8
	ClientMetricsResource ResourceType = 16
	GroupResource         ResourceType = 32
)

// ConfigResource names what a config belongs to. The broker resource with the empty name is the
// cluster-wide default of all brokers.
type ConfigResource struct {
	Type ResourceType
	Name string
}

// LeaderRecovery tells whether a leader was elected uncleanly and has not recovered yet.
type LeaderRecovery uint8

// The recovery states.
const (
	Recovered  LeaderRecovery = 0
	Recovering LeaderRecovery = 1
)

// Partition is the state of one partition. The lists keep the order in which Kafka's clients see them;
// the first replica is the preferred leader.
type Partition struct {
	Index          int32
	Leader         int32 // NoLeader for none
	LeaderEpoch    int32
	PartitionEpoch int32
	Replicas       []int32
	ISR            []int32
	ELR            []int32 // eligible leader replicas (KIP-966)
	LastKnownELR   []int32
	Adding         []int32 // being added by a reassignment
	Removing       []int32 // being removed by a reassignment
	Offline        []int32 // replicas on log directories that have failed, as their brokers reported
	Recovery       LeaderRecovery
}

// Topic is a topic with its partitions, indexed by their number. It never changes once published.
type Topic struct {
	Name       string
	ID         UUID
	Partitions []Partition
	Internal   bool // one of Kafka's internal topics, see IsInternalTopic
}

// Broker is a registered broker. It never changes once published.
type Broker struct {
	ID                   int32
	IncarnationID        UUID
	Epoch                int64
	Listeners            []Listener
	Features             []FeatureRange
	Rack                 string
	Fenced               bool
	InControlledShutdown bool
	LogDirs              []UUID
}

// Active reports whether the broker may be in an ISR and may be shown to clients.
func (b *Broker) Active() bool { return !b.Fenced }

// EligibleForISR reports whether the controller may put the broker in an ISR (KIP-841).
func (b *Broker) EligibleForISR() bool { return !b.Fenced && !b.InControlledShutdown }

// canLead reports whether the broker is there and its replica of the partition can be served.
func (b *Broker) canLead(p *Partition) bool {
	return b != nil && b.EligibleForISR() && !slices.Contains(p.Offline, b.ID)
}

// Listener returns the endpoint of that name.
func (b *Broker) Listener(name string) (Listener, bool) {
	for _, l := range b.Listeners {
		if l.Name == name {
			return l, true
		}
	}
	return Listener{}, false
}

// Image is the cluster's metadata at one offset of its log. It is immutable; see the package comment.
type Image struct {
	// ClusterID is "" until the first leader named the cluster.
	ClusterID string
	// Offset is the offset in the metadata log of the last batch applied.
	Offset int64
	// Epoch is the leader epoch (the Raft term) in which that batch was written.
	Epoch int32
	// NextProducerID is the first producer id not yet given to a broker.
	NextProducerID int64

	topics     map[string]*Topic
	topicNames map[UUID]string
	brokers    map[int32]*Broker
	configs    map[ConfigResource]map[string]string
	features   map[string]int16
	partitions int
	security   securityImage
}

// Empty returns the image before the first record.
func Empty() *Image {
	return &Image{
		topics:     map[string]*Topic{},
		topicNames: map[UUID]string{},
		brokers:    map[int32]*Broker{},
		configs:    map[ConfigResource]map[string]string{},
		features:   map[string]int16{},
	}
}

// Topic returns the topic of that name, nil when there is none.
func (im *Image) Topic(name string) *Topic { return im.topics[name] }

// TopicByID returns the topic of that id, nil when there is none.
func (im *Image) TopicByID(id UUID) *Topic {
	name, ok := im.topicNames[id]
	if !ok {
		return nil
	}
	return im.topics[name]
}

// Partition returns the partition's state, nil when there is no such topic or partition.
func (im *Image) Partition(topic string, partition int32) *Partition {
	t := im.topics[topic]
	if t == nil || partition < 0 || int(partition) >= len(t.Partitions) {
		return nil
	}
	return &t.Partitions[partition]
}

// Topics returns all topics, sorted by name.
func (im *Image) Topics() []*Topic {
	return slices.SortedFunc(maps.Values(im.topics), func(a, b *Topic) int { return cmp.Compare(a.Name, b.Name) })
}

// NumTopics returns the number of topics.
func (im *Image) NumTopics() int { return len(im.topics) }

// NumPartitions returns the number of partitions of all topics.
func (im *Image) NumPartitions() int { return im.partitions }

// Broker returns the registration of a broker, nil when there is none.
func (im *Image) Broker(id int32) *Broker { return im.brokers[id] }

// Brokers returns all registered brokers, fenced ones too, sorted by id.
func (im *Image) Brokers() []*Broker {
	return slices.SortedFunc(maps.Values(im.brokers), func(a, b *Broker) int { return cmp.Compare(a.ID, b.ID) })
}

// Config returns the overrides of a resource, nil when there are none. The caller must not change it.
func (im *Image) Config(r ConfigResource) map[string]string { return im.configs[r] }

// Configs is Config with the resource in two pieces.
func (im *Image) Configs(t ResourceType, name string) map[string]string {
	return im.configs[ConfigResource{t, name}]
}

// ConfigResources returns the resources that have overrides, sorted by type and name.
func (im *Image) ConfigResources() []ConfigResource {
	return slices.SortedFunc(maps.Keys(im.configs), compareResources)
}

// Features returns the finalized feature levels. The caller must not change it.
func (im *Image) Features() map[string]int16 { return im.features }

// Feature returns the finalized level of a feature, 0 when it is not set.
func (im *Image) Feature(name string) int16 { return im.features[name] }

func compareResources(a, b ConfigResource) int {
	return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
}

// IsInternalTopic reports whether Kafka treats the topic as internal.
func IsInternalTopic(name string) bool {
	switch name {
	case "__consumer_offsets", "__transaction_state", "__share_group_state":
		return true
	}
	return false
}
