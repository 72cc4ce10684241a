package metadata

import "github.com/twmb/franz-go/pkg/kerr"

// CreatePartition asks for more partitions of one topic.
type CreatePartition struct {
	Topic string
	Count int32 // the total there shall be
	// Assignments holds the replicas of each new partition, nil to let the controller place them.
	Assignments [][]int32
}

// CreatePartitionResult is the answer for one topic. An error may have an empty text, which Kafka
// sends as null.
type CreatePartitionResult struct {
	Topic string
	Err   *Error
}

// CreatePartitions decides on a CreatePartitions request. For validate-only requests the caller drops
// the records.
func CreatePartitions(im *Image, rules Rules, topics []CreatePartition) ([]Record, []CreatePartitionResult) {
	count := map[string]int{}
	for _, t := range topics {
		count[t.Topic]++
	}
	var records []Record
	var results []CreatePartitionResult
	answered := map[string]bool{}
	added := 0
	for _, t := range topics {
		if answered[t.Topic] {
			continue
		}
		answered[t.Topic] = true
		res := CreatePartitionResult{Topic: t.Topic}
		if count[t.Topic] > 1 {
			res.Err = refuse(kerr.InvalidRequest, "Duplicate topic name.")
		} else {
			var rs []Record
			if rs, res.Err = createPartitions(im, &rules, t, added); res.Err == nil {
				added += len(rs)
				records = append(records, rs...)
			}
		}
		results = append(results, res)
	}
	return records, results
}

func createPartitions(im *Image, rules *Rules, t CreatePartition, added int) ([]Record, *Error) {
	topic := im.topics[t.Topic]
	if topic == nil {
		return nil, &Error{Code: kerr.UnknownTopicOrPartition.Code}
	}
	have := len(topic.Partitions)
	if int(t.Count) == have {
		return nil, refuse(kerr.InvalidPartitions, "Topic already has %d partition(s).", have)
	}
	if int(t.Count) < have {
		return nil, refuse(kerr.InvalidPartitions, "The topic %s currently has %d partition(s); %d would not be an increase.", t.Topic, have, t.Count)
	}
	more := int(t.Count) - have
	if added+more > maxPartitionsPerRequest {
		return nil, refuse(kerr.PolicyViolation, "Excessively large number of partitions per request.")
	}
	factor := len(topic.Partitions[0].Replicas)
	replicas := t.Assignments
	if replicas != nil {
		if len(replicas) != more {
			return nil, refuse(kerr.InvalidReplicaAssignment, "Attempted to add %d additional partition(s), but only %d assignment(s) were specified.", more, len(replicas))
		}
		for _, r := range replicas {
			if err := validateAssignment(im, r, factor); err != nil {
				return nil, err
			}
		}
	} else {
		var err *Error
		if replicas, err = place(im, rules, more, factor); err != nil {
			return nil, err
		}
	}
	records := make([]Record, 0, more)
	for i, r := range replicas {
		p, err := newPartition(im, int32(have+i), r, t.Assignments != nil)
		if err != nil {
			return nil, err
		}
		records = append(records, &PartitionRecord{TopicID: topic.ID, Partition: p})
	}
	return records, nil
}
