package metadata

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// maxPartitionsPerRequest is how many partitions one request may create.
const maxPartitionsPerRequest = 10_000

// Assignment is a manual assignment of one partition.
type Assignment struct {
	Partition int32
	Replicas  []int32
}

// ConfigValue is a key with its value, nil for null.
type ConfigValue struct {
	Key   string
	Value *string
}

// CreateTopic asks for one topic.
type CreateTopic struct {
	Name              string
	NumPartitions     int32 // -1 for the default, and with Assignments
	ReplicationFactor int16 // -1 for the default, and with Assignments
	Assignments       []Assignment
	Configs           []ConfigValue
}

// CreateTopicResult is the answer for one topic, in the order of the request (a name that was asked for
// twice has one answer).
type CreateTopicResult struct {
	Name string
	Err  *Error // nil when the topic is created (or would be)
	ID   UUID
	// NumPartitions and ReplicationFactor are what the topic has, -1 both when there is an error.
	NumPartitions     int32
	ReplicationFactor int16
	// Configs are the overrides the topic has.
	Configs map[string]string
}

// CreateTopics decides on a CreateTopics request. Topics are judged one by one; those that are refused
// do not hinder the others. For validate-only requests the caller drops the records.
func CreateTopics(im *Image, rules Rules, topics []CreateTopic) ([]Record, []CreateTopicResult) {
	var records []Record
	var results []CreateTopicResult
	count := map[string]int{}
	for _, t := range topics {
		count[t.Name]++
	}
	planned := 0
	for _, t := range topics {
		switch {
		case len(t.Assignments) > 0:
			planned += len(t.Assignments)
		case t.NumPartitions > 0:
			planned += int(t.NumPartitions)
		default:
			planned += int(max(rules.NumPartitions, 1))
		}
	}
	answered := map[string]bool{}
	for _, t := range topics {
		if answered[t.Name] {
			continue
		}
		answered[t.Name] = true
		var rs []Record
		var res CreateTopicResult
		var err *Error
		switch {
		case count[t.Name] > 1:
			err = refuse(kerr.InvalidRequest, "Duplicate topic name.")
		case t.Name == ClusterMetadataTopic:
			err = refuse(kerr.InvalidRequest, "Creation of internal topic %s is prohibited.", t.Name)
		case planned > maxPartitionsPerRequest:
			err = refuse(kerr.PolicyViolation, "Excessively large number of partitions per request.")
		default:
			rs, res, err = createTopic(im, &rules, t)
		}
		if err != nil {
			res = CreateTopicResult{Err: err, NumPartitions: -1, ReplicationFactor: -1}
		}
		res.Name = t.Name
		results = append(results, res)
		records = append(records, rs...)
	}
	return records, results
}

func createTopic(im *Image, rules *Rules, t CreateTopic) ([]Record, CreateTopicResult, *Error) {
	var res CreateTopicResult
	if err := ValidateTopicName(t.Name); err != nil {
		return nil, res, err
	}
	if im.topics[t.Name] != nil {
		return nil, res, refuse(kerr.TopicAlreadyExists, "Topic '%s' already exists.", t.Name)
	}
	if other, ok := collision(im, t.Name); ok {
		return nil, res, refuse(kerr.InvalidTopicException, "Topic '%s' collides with existing topic: %s", t.Name, other)
	}
	overrides := map[string]string{}
	var nulls []string
	for _, c := range t.Configs {
		if c.Value == nil {
			nulls = append(nulls, c.Key)
			continue
		}
		overrides[c.Key] = *c.Value
	}
	if len(nulls) > 0 {
		return nil, res, refuse(kerr.InvalidConfig, "Null value not supported for topic configs: %s", joinKeys(nulls))
	}
	resource := ConfigResource{TopicResource, t.Name}
	if err := rules.validateConfigs(resource, overrides); err != nil {
		return nil, res, err
	}

	var replicas [][]int32
	if len(t.Assignments) > 0 {
		var err *Error
		if replicas, err = manualPlacement(im, t); err != nil {
			return nil, res, err
		}
	} else {
		partitions, factor := t.NumPartitions, t.ReplicationFactor
		if factor < -1 || factor == 0 {
			return nil, res, refuse(kerr.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value.")
		}
		if partitions < -1 || partitions == 0 {
			return nil, res, refuse(kerr.InvalidPartitions, "Number of partitions was set to an invalid non-positive value.")
		}
		if partitions == -1 {
			partitions = max(rules.NumPartitions, 1)
		}
		if factor == -1 {
			factor = max(rules.ReplicationFactor, 1)
		}
		var err *Error
		if replicas, err = place(im, rules, int(partitions), int(factor)); err != nil {
			return nil, res, err
		}
	}

	id := rules.newID()
	for im.topicNames[id] != "" {
		id = rules.newID()
	}
	records := make([]Record, 0, 1+len(overrides)+len(replicas))
	records = append(records, &TopicRecord{Name: t.Name, ID: id})
	records = append(records, configRecords(resource, overrides)...)
	for i, rs := range replicas {
		p, err := newPartition(im, int32(i), rs, len(t.Assignments) > 0)
		if err != nil {
			return nil, res, err
		}
		records = append(records, &PartitionRecord{TopicID: id, Partition: p})
	}
	return records, CreateTopicResult{
		ID: id, NumPartitions: int32(len(replicas)), ReplicationFactor: int16(len(replicas[0])), Configs: overrides,
	}, nil
}

// configRecords returns the records for overrides of a resource that has none, sorted by key.
func configRecords(r ConfigResource, overrides map[string]string) []Record {
	records := make([]Record, 0, len(overrides))
	for _, k := range slices.Sorted(maps.Keys(overrides)) {
		v := overrides[k]
		records = append(records, &ConfigRecord{Resource: r, Key: k, Value: &v})
	}
	return records
}

// newPartition is the first state of a partition: the live replicas are the ISR, the first of them leads.
func newPartition(im *Image, index int32, replicas []int32, manual bool) (Partition, *Error) {
	var isr []int32
	for _, id := range replicas {
		if b := im.brokers[id]; b != nil && b.EligibleForISR() {
			isr = append(isr, id)
		}
	}
	if len(isr) == 0 {
		if manual {
			return Partition{}, refuse(kerr.InvalidReplicaAssignment, "All brokers specified in the manual partition assignment for partition %d are fenced or in controlled shutdown.", index)
		}
		return Partition{}, refuse(kerr.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): All brokers are currently fenced or in controlled shutdown.", len(replicas))
	}
	return Partition{Index: index, Leader: isr[0], Replicas: replicas, ISR: isr}, nil
}

// TopicRef names a topic by its name or, when Name is nil, by its id.
type TopicRef struct {
	Name *string
	ID   UUID
}

// DeleteTopicResult is the answer for one topic.
type DeleteTopicResult struct {
	Name    string
	Unnamed bool // it was asked for by an id, and no topic has that
	ID      UUID
	Err     *Error
}

// DeleteTopics decides on a DeleteTopics request.
func DeleteTopics(im *Image, rules Rules, refs []TopicRef) ([]Record, []DeleteTopicResult) {
	names, ids := map[string]int{}, map[UUID]int{}
	for _, r := range refs {
		if r.Name != nil {
			names[*r.Name]++
		} else if !r.ID.IsZero() {
			ids[r.ID]++
		}
	}
	// A topic asked for by name and by id is refused, under both.
	byBoth := func(t *Topic) bool { return names[t.Name] > 0 && ids[t.ID] > 0 }
	refused := map[UUID]bool{}
	answered, answeredIDs := map[string]bool{}, map[UUID]bool{}
	var records []Record
	var results []DeleteTopicResult
	for _, r := range refs {
		res := DeleteTopicResult{ID: r.ID, Unnamed: r.Name == nil}
		var t *Topic
		switch {
		case r.Name != nil && !r.ID.IsZero():
			res.Name = *r.Name
			res.Err = refuse(kerr.InvalidRequest, "You may not specify both topic name and topic id.")
		case r.Name != nil:
			res.Name = *r.Name
			if answered[res.Name] {
				continue
			}
			answered[res.Name] = true
			t = im.topics[res.Name]
			if names[res.Name] > 1 {
				res.Err = refuse(kerr.InvalidRequest, "Duplicate topic name.")
			} else if t == nil {
				res.Err = refuse(kerr.UnknownTopicOrPartition, "This server does not host this topic-partition.")
			}
		case r.ID.IsZero():
			res.Err = refuse(kerr.InvalidRequest, "Neither topic name nor id were specified.")
		default:
			if answeredIDs[r.ID] {
				continue
			}
			answeredIDs[r.ID] = true
			t = im.TopicByID(r.ID)
			if ids[r.ID] > 1 {
				res.Err = refuse(kerr.InvalidRequest, "Duplicate topic id.")
			} else if t == nil {
				res.Err = refuse(kerr.UnknownTopicID, "This server does not host this topic ID.")
			}
		}
		if res.Err == nil && !rules.DeleteTopics {
			res.Err = refuse(kerr.TopicDeletionDisabled, "Topic deletion is disabled.")
		}
		if res.Err == nil && byBoth(t) {
			if refused[t.ID] {
				continue
			}
			refused[t.ID] = true
			res.Name, res.Unnamed, res.ID = t.Name, false, t.ID
			res.Err = refuse(kerr.InvalidRequest, "The provided topic name maps to an ID that was already supplied.")
		}
		if res.Err == nil {
			res.Name, res.Unnamed, res.ID = t.Name, false, t.ID
			records = append(records, &RemoveTopicRecord{ID: t.ID})
		}
		results = append(results, res)
	}
	return records, results
}
