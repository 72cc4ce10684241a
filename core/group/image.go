package group

import (
	"encoding/binary"
	"iter"
	"slices"
	"unicode/utf16"

	"github.com/zeebo/xxh3"
)

// TopicInfo is a topic as groups see it.
type TopicInfo struct {
	ID         [16]byte
	Name       string
	Partitions int32
}

// GroupConfig is a group's own configuration in effect (DescribeConfigs, resource GROUP), over the broker's.
// All durations are milliseconds. An AssignmentIntervalMs below 0 and the others at 0 mean the broker's.
type GroupConfig struct {
	SessionTimeoutMs     int32 // consumer.session.timeout.ms
	HeartbeatIntervalMs  int32 // consumer.heartbeat.interval.ms
	AssignmentIntervalMs int32 // consumer.assignment.interval.ms
}

// Image is a view of the cluster's metadata that never changes. A shard decides on the newest that it was
// given ([MetadataChanged]).
type Image interface {
	// Version grows with every change.
	Version() int64
	Topic(name string) (TopicInfo, bool)
	TopicByID(id [16]byte) (TopicInfo, bool)
	// TopicNames is all topics, in any order.
	TopicNames() iter.Seq[string]
	// Racks is the racks of a partition's replicas, those of brokers that have none left out, in any order.
	// The slice is the caller's.
	Racks(topic string, partition int32) []string
	GroupConfig(group string) GroupConfig
}

// emptyImage is the metadata of a shard that was not given any.
type emptyImage struct{}

func (emptyImage) Version() int64                       { return 0 }
func (emptyImage) Topic(string) (TopicInfo, bool)       { return TopicInfo{}, false }
func (emptyImage) TopicByID([16]byte) (TopicInfo, bool) { return TopicInfo{}, false }
func (emptyImage) TopicNames() iter.Seq[string]         { return func(func(string) bool) {} }
func (emptyImage) Racks(string, int32) []string         { return nil }
func (emptyImage) GroupConfig(string) (noConf GroupConfig) {
	return GroupConfig{AssignmentIntervalMs: -1}
}

// topicHash is the hash that Kafka 4.1 and later keep of a topic in the metadata hash of a group: XXH3 over
// a version byte, the id, the name, and each partition with its racks.
func topicHash(im Image, t TopicInfo) uint64 {
	b := make([]byte, 1, 64+4*int(t.Partitions))
	b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(t.ID[:8]))
	b = binary.LittleEndian.AppendUint64(b, binary.BigEndian.Uint64(t.ID[8:]))
	b = appendChars(b, t.Name)
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Partitions))
	for p := range t.Partitions {
		b = binary.LittleEndian.AppendUint32(b, uint32(p))
		racks := im.Racks(t.Name, p)
		slices.Sort(racks)
		for _, rack := range racks {
			b = binary.LittleEndian.AppendUint32(b, uint32(utf16Len(rack)))
			b = appendChars(b, rack)
		}
	}
	return xxh3.Hash(b)
}

// appendChars appends a string as hash4j's putString does: its UTF-16 units, then how many they are.
func appendChars(dst []byte, s string) []byte {
	units := utf16.Encode([]rune(s))
	for _, u := range units {
		dst = binary.LittleEndian.AppendUint16(dst, u)
	}
	return binary.LittleEndian.AppendUint32(dst, uint32(len(units)))
}

// metadataHash is the hash of the metadata of a group's topics, 0 if none of them exists.
func (s *Shard) metadataHash(topics map[string]subscribers) int64 {
	var b []byte
	for _, name := range sortedKeys(topics) {
		t, ok := s.image.Topic(name)
		if !ok {
			continue
		}
		h, ok := s.topicHashes[name]
		if !ok {
			h = topicHash(s.image, t)
			s.topicHashes[name] = h
		}
		b = binary.LittleEndian.AppendUint64(b, h)
	}
	if b == nil {
		return 0
	}
	return int64(xxh3.Hash(b))
}

// metadataChanged takes the newer image. Groups look at it with their next heartbeat.
func (s *Shard) metadataChanged(e MetadataChanged) {
	s.setImage(e.Image)
	if e.TopicsCreated {
		s.topicsCreated = e.Image.Version()
	}
	for _, name := range e.Topics {
		delete(s.topicHashes, name)
	}
	for _, g := range s.consumers {
		for _, name := range e.Topics {
			if _, ok := g.topics[name]; ok {
				g.refreshAt = 0
				break
			}
		}
	}
}

func (s *Shard) setImage(im Image) {
	if im == nil {
		return
	}
	s.image = im
	if s.topicsCreated < 0 {
		s.topicsCreated = im.Version()
	}
}
