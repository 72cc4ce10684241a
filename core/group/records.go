package group

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Key versions of the records that this package reads and writes. Those of KIP-848 groups are with their
// codec; share and streams groups have others, which are left alone.
const (
	keyOffsetV0 = 0
	keyOffset   = 1
	keyGroup    = 2
)

// isConsumerKey is whether the key is that of a record of a KIP-848 group.
func isConsumerKey(key []byte) bool {
	if len(key) < 2 {
		return false
	}
	v := int16(binary.BigEndian.Uint16(key))
	return v >= keyConsumerEpoch && v <= keyConsumerCurrent || v == keyConsumerRegex
}

// errUnknownKind is a record of a kind that this coordinator does not keep.
var errUnknownKind = errors.New("unknown record kind")

// offsetKey names a committed offset.
type offsetKey struct {
	group     string
	topic     string
	partition int32
}

// offsetValue is a committed offset.
type offsetValue struct {
	offset   int64
	epoch    int32 // the leader epoch, -1 if not known
	metadata string
	commitMs int64
	expireMs int64 // -1 unless the client asked for a retention of its own (OffsetCommit v2-4)
	topicID  [16]byte
}

// appendOffsetKey appends the key of a commit, version 1.
func appendOffsetKey(dst []byte, group, topic string, partition int32) []byte {
	dst = binary.BigEndian.AppendUint16(dst, keyOffset)
	dst = appendString(dst, group)
	dst = appendString(dst, topic)
	return binary.BigEndian.AppendUint32(dst, uint32(partition))
}

// appendOffsetValue appends the value of a commit in the version that Kafka 4.3 chooses: 1 if the commit
// has an expiry of its own, 4 if the topic's id is known (a tagged field), else 3.
func appendOffsetValue(dst []byte, v offsetValue) []byte {
	kv := kmsg.OffsetCommitValue{
		Version:         3,
		Offset:          v.offset,
		LeaderEpoch:     v.epoch,
		Metadata:        v.metadata,
		CommitTimestamp: v.commitMs,
		ExpireTimestamp: v.expireMs,
	}
	switch {
	case v.expireMs != -1:
		kv.Version = 1
	case v.topicID != [16]byte{}:
		kv.Version = 4
		kv.TopicID = v.topicID
	}
	return kv.AppendTo(dst)
}

// appendGroupKey appends the key of a group's metadata.
func appendGroupKey(dst []byte, group string) []byte {
	return appendString(binary.BigEndian.AppendUint16(dst, keyGroup), group)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// decodeKey reads a record's key: exactly one of the results is meant, by the returned kind (keyOffset or
// keyGroup). Kinds of later Kafka features give errUnknownKind.
func decodeKey(key []byte) (kind int, ok offsetKey, group string, err error) {
	if len(key) < 2 {
		return 0, offsetKey{}, "", fmt.Errorf("key of %d bytes: too short", len(key))
	}
	switch v := int16(binary.BigEndian.Uint16(key)); v {
	case keyOffsetV0, keyOffset:
		var k kmsg.OffsetCommitKey
		if err := k.ReadFrom(key); err != nil {
			return 0, offsetKey{}, "", fmt.Errorf("offset commit key: %w", err)
		}
		return keyOffset, offsetKey{k.Group, k.Topic, k.Partition}, "", nil
	case keyGroup:
		var k kmsg.GroupMetadataKey
		if err := k.ReadFrom(key); err != nil {
			return 0, offsetKey{}, "", fmt.Errorf("group metadata key: %w", err)
		}
		return keyGroup, offsetKey{}, k.Group, nil
	default:
		return 0, offsetKey{}, "", fmt.Errorf("key version %d: %w", v, errUnknownKind)
	}
}

// decodeOffsetValue reads the value of a commit, versions 0 to 4.
func decodeOffsetValue(b []byte) (offsetValue, error) {
	if v := recordVersion(b); v < 0 || v > 4 {
		return offsetValue{}, fmt.Errorf("offset commit value: version %d is not known", v)
	}
	kv := kmsg.NewOffsetCommitValue()
	if err := kv.ReadFrom(b); err != nil {
		return offsetValue{}, fmt.Errorf("offset commit value: %w", err)
	}
	v := offsetValue{
		offset: kv.Offset, epoch: kv.LeaderEpoch, metadata: kv.Metadata,
		commitMs: kv.CommitTimestamp, expireMs: kv.ExpireTimestamp, topicID: kv.TopicID,
	}
	if kv.Version < 3 {
		v.epoch = -1
	}
	if kv.Version != 1 {
		v.expireMs = -1
	}
	return v, nil
}

// decodeGroupValue reads the value of a group's metadata, versions 0 to 4.
func decodeGroupValue(b []byte) (kmsg.GroupMetadataValue, error) {
	kv := kmsg.NewGroupMetadataValue()
	if v := recordVersion(b); v < 0 || v > 4 {
		return kv, fmt.Errorf("group metadata value: version %d is not known", v)
	}
	if err := kv.ReadFrom(b); err != nil {
		return kv, fmt.Errorf("group metadata value: %w", err)
	}
	for i := range kv.Members { // the fields of later versions have their defaults, -1
		if kv.Members[i].MemberID == "" {
			return kv, fmt.Errorf("group metadata value: member %d has no id", i)
		}
	}
	return kv, nil
}

func recordVersion(b []byte) int16 {
	if len(b) < 2 {
		return -1
	}
	return int16(binary.BigEndian.Uint16(b))
}

// parseSubscription reads the topics of a consumer-protocol subscription (version int16, then an array of
// strings; what follows is the assignor's). False if it is not one.
func parseSubscription(b []byte) ([]string, bool) {
	if len(b) < 6 {
		return nil, false
	}
	if int16(binary.BigEndian.Uint16(b)) < 0 {
		return nil, false
	}
	n := int32(binary.BigEndian.Uint32(b[2:]))
	b = b[6:]
	if n < 0 || int(n) > len(b)/2 {
		return nil, false
	}
	topics := make([]string, 0, n)
	for range n {
		if len(b) < 2 {
			return nil, false
		}
		l := int(int16(binary.BigEndian.Uint16(b)))
		if l < 0 || len(b)-2 < l {
			return nil, false
		}
		topics = append(topics, string(b[2:2+l]))
		b = b[2+l:]
	}
	return topics, true
}
