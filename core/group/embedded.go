package group

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// consumerSubscription is the metadata of a member of the classic consumer protocol.
type consumerSubscription struct {
	topics []string
	owned  map[string][]int32
	rack   *string
}

// newestEmbedded is the newest version of the embedded protocol; later ones have its fields first.
const newestEmbedded = 3

// parseConsumerSubscription reads the subscription, versions 0 to 3.
func parseConsumerSubscription(b []byte) (consumerSubscription, error) {
	r := byteReader{b: b}
	var sub consumerSubscription
	version := r.int16()
	if version < 0 {
		return sub, errors.New("negative version")
	}
	n := r.plainArray(2)
	if n < 0 {
		return sub, errors.New("no topics")
	}
	for range n {
		sub.topics = append(sub.topics, r.plainText())
	}
	r.plainBytes() // the assignor's
	if version >= 1 && r.err == nil {
		sub.owned = readTopicPartitions(&r)
	}
	if version >= 2 && r.err == nil {
		r.int32() // generation
	}
	if version >= 3 && r.err == nil {
		if rack := r.plainString(); rack != nil && *rack != "" {
			sub.rack = rack
		}
	}
	return sub, r.err
}

// parseConsumerAssignment reads an assignment of the embedded protocol: sorted partitions by topic.
func parseConsumerAssignment(b []byte) (topics map[string][]int32, userData []byte, err error) {
	r := byteReader{b: b}
	if r.int16() < 0 {
		return nil, nil, errors.New("negative version")
	}
	topics = readTopicPartitions(&r)
	userData = r.plainBytes()
	return topics, userData, r.err
}

func readTopicPartitions(r *byteReader) map[string][]int32 {
	n := max(r.plainArray(6), 0)
	topics := make(map[string][]int32, n)
	for range n {
		name := r.plainText()
		ps := make([]int32, max(r.plainArray(4), 0))
		for i := range ps {
			ps[i] = r.int32()
		}
		if r.err != nil {
			return nil
		}
		slices.Sort(ps)
		topics[name] = slices.Compact(ps)
	}
	return topics
}

// embeddedAssignment is an assignment in the bytes of the embedded protocol, in the version of the member's
// subscription. Topics that are gone are left out.
func (s *Shard) embeddedAssignment(a assignment, subscription []byte) []byte {
	version := int16(0)
	if len(subscription) >= 2 {
		version = min(int16(binary.BigEndian.Uint16(subscription)), newestEmbedded)
	}
	v := kmsg.NewConsumerMemberAssignment()
	v.Version = version
	for _, id := range sortedTopics(a) {
		if t, ok := s.image.TopicByID(id); ok {
			v.Topics = append(v.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: t.Name, Partitions: a[id]})
		}
	}
	return v.AppendTo(nil)
}

// ownedTopics is what a member of the classic protocol says that it has.
func (s *Shard) ownedTopics(sub consumerSubscription) ownedPartitions {
	owned := ownedPartitions{}
	for _, name := range sortedKeys(sub.owned) {
		if t, ok := s.image.Topic(name); ok {
			owned = append(owned, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.ID, Partitions: sub.owned[name]})
		}
	}
	return owned
}
