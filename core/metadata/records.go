package metadata

// RecordType numbers the kinds of record. The numbers are on disk: never reuse one.
type RecordType uint16

// The record types.
const (
	TypeNoOp                     RecordType = 0
	TypeClusterID                RecordType = 1
	TypeRegisterBroker           RecordType = 2
	TypeUnregisterBroker         RecordType = 3
	TypeBrokerRegistrationChange RecordType = 4
	TypeTopic                    RecordType = 5
	TypeRemoveTopic              RecordType = 6
	TypePartition                RecordType = 7
	TypePartitionChange          RecordType = 8
	TypeConfig                   RecordType = 9
	TypeProducerIDs              RecordType = 10
	TypeFeatureLevel             RecordType = 11
	TypeClearELR                 RecordType = 12
	TypeOfflineReplicas          RecordType = 13
)

// Record is one typed change of the metadata. Records are immutable once they were given to Apply or
// Encode: the image shares their slices.
type Record interface {
	// Type tells the kind.
	Type() RecordType
	encode(e *encoder)
	decode(d *decoder)
}

// NoOpRecord changes nothing; it moves the offset.
type NoOpRecord struct{}

// ClusterIDRecord names the cluster, once.
type ClusterIDRecord struct {
	ClusterID string
}

// Listener is one endpoint of a broker.
type Listener struct {
	Name             string
	Host             string
	Port             uint16
	SecurityProtocol int16 // Kafka's numbers: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL
}

// FeatureRange is the range of levels of one feature that a broker supports.
type FeatureRange struct {
	Name     string
	Min, Max int16
}

// RegisterBrokerRecord registers a broker, or a new incarnation of it.
type RegisterBrokerRecord struct {
	BrokerID             int32
	IncarnationID        UUID
	Epoch                int64 // the broker epoch: larger than that of any earlier registration
	Listeners            []Listener
	Features             []FeatureRange
	Rack                 string // "" for none
	Fenced               bool
	InControlledShutdown bool
	LogDirs              []UUID
}

// UnregisterBrokerRecord removes a broker's registration.
type UnregisterBrokerRecord struct {
	BrokerID int32
	Epoch    int64
}

// Change is a three-valued switch in a change record.
type Change int8

// The values of Change.
const (
	Unchanged Change = 0
	SetTrue   Change = 1
	SetFalse  Change = -1
)

// BrokerRegistrationChangeRecord fences, unfences or marks a broker.
type BrokerRegistrationChangeRecord struct {
	BrokerID             int32
	Epoch                int64
	Fenced               Change
	InControlledShutdown Change
}

// TopicRecord creates a topic without partitions.
type TopicRecord struct {
	Name string
	ID   UUID
}

// RemoveTopicRecord removes a topic, its partitions and its configs.
type RemoveTopicRecord struct {
	ID UUID
}

// PartitionRecord sets the whole state of a partition.
type PartitionRecord struct {
	TopicID   UUID
	Partition Partition
}

// PartitionChangeRecord changes some of a partition's state. PartitionEpoch grows by one with every
// such record, LeaderEpoch whenever Leader is set.
type PartitionChangeRecord struct {
	TopicID   UUID
	Partition int32
	Leader    *int32 // nil for no change; NoLeader for none
	// The lists below: nil for no change, empty (not nil) for the empty list.
	Replicas, ISR, ELR, LastKnownELR, Adding, Removing []int32
	Recovery                                           *LeaderRecovery
}

// ConfigRecord sets one override of a resource, or removes it when Value is nil.
type ConfigRecord struct {
	Resource ConfigResource
	Key      string
	Value    *string
}

// ProducerIDsRecord says that producer ids below Next are taken: the block
// [Next-BlockSize, Next) belongs to the broker.
type ProducerIDsRecord struct {
	BrokerID int32
	Epoch    int64
	Next     int64
}

// FeatureLevelRecord sets the finalized level of a feature; level 0 removes it.
type FeatureLevelRecord struct {
	Name  string
	Level int16
}

// ClearELRRecord empties the eligible leader replicas of every partition of the topic, or of all
// topics when Topic is "". Written when min.insync.replicas changes.
type ClearELRRecord struct {
	Topic string
}

// OfflineReplicasRecord says which partitions of a topic have their replica on the broker on a log directory that has failed: those in
// the list, and no others.
type OfflineReplicasRecord struct {
	BrokerID   int32
	TopicID    UUID
	Partitions []int32 // ascending
}

// Type implements Record.
func (*NoOpRecord) Type() RecordType { return TypeNoOp }

// Type implements Record.
func (*ClusterIDRecord) Type() RecordType { return TypeClusterID }

// Type implements Record.
func (*RegisterBrokerRecord) Type() RecordType { return TypeRegisterBroker }

// Type implements Record.
func (*UnregisterBrokerRecord) Type() RecordType { return TypeUnregisterBroker }

// Type implements Record.
func (*BrokerRegistrationChangeRecord) Type() RecordType { return TypeBrokerRegistrationChange }

// Type implements Record.
func (*TopicRecord) Type() RecordType { return TypeTopic }

// Type implements Record.
func (*RemoveTopicRecord) Type() RecordType { return TypeRemoveTopic }

// Type implements Record.
func (*PartitionRecord) Type() RecordType { return TypePartition }

// Type implements Record.
func (*PartitionChangeRecord) Type() RecordType { return TypePartitionChange }

// Type implements Record.
func (*ConfigRecord) Type() RecordType { return TypeConfig }

// Type implements Record.
func (*ProducerIDsRecord) Type() RecordType { return TypeProducerIDs }

// Type implements Record.
func (*FeatureLevelRecord) Type() RecordType { return TypeFeatureLevel }

// Type implements Record.
func (*ClearELRRecord) Type() RecordType { return TypeClearELR }

// Type implements Record.
func (*OfflineReplicasRecord) Type() RecordType { return TypeOfflineReplicas }

// newRecord returns an empty record of the type, or nil when the type is not known.
func newRecord(t RecordType) Record {
	switch t {
	case TypeNoOp:
		return &NoOpRecord{}
	case TypeClusterID:
		return &ClusterIDRecord{}
	case TypeRegisterBroker:
		return &RegisterBrokerRecord{}
	case TypeUnregisterBroker:
		return &UnregisterBrokerRecord{}
	case TypeBrokerRegistrationChange:
		return &BrokerRegistrationChangeRecord{}
	case TypeTopic:
		return &TopicRecord{}
	case TypeRemoveTopic:
		return &RemoveTopicRecord{}
	case TypePartition:
		return &PartitionRecord{}
	case TypePartitionChange:
		return &PartitionChangeRecord{}
	case TypeConfig:
		return &ConfigRecord{}
	case TypeProducerIDs:
		return &ProducerIDsRecord{}
	case TypeFeatureLevel:
		return &FeatureLevelRecord{}
	case TypeClearELR:
		return &ClearELRRecord{}
	case TypeOfflineReplicas:
		return &OfflineReplicasRecord{}
	}
	return newSecurityRecord(t)
}
