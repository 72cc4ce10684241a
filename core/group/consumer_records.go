package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Key versions of the records of KIP-848 groups.
const (
	keyConsumerEpoch        = 3
	keyConsumerPartitions   = 4 // written by Kafka 4.0 only; later versions delete it
	keyConsumerMember       = 5
	keyConsumerTargetEpoch  = 6
	keyConsumerTargetMember = 7
	keyConsumerCurrent      = 8
	keyConsumerRegex        = 16
)

// consumerRecord is one change of a KIP-848 group: the unit that is written, replayed, and applied. A nil
// value is a tombstone. The values are epochRecord (keyConsumerEpoch), *memberRecord, targetEpochRecord,
// *target (keyConsumerTargetMember), *currentRecord and *resolvedRegex, and for keyConsumerPartitions
// anything; keyGroup carries the bytes of a classic group's metadata.
type consumerRecord struct {
	kind  int
	group string
	name  string // the member's id; the regular expression of keyConsumerRegex
	value any
}

type epochRecord struct {
	epoch int32
	hash  int64
}

type targetEpochRecord struct {
	epoch int32
	at    int64 // when it was computed, ms; 0 if not known
}

// memberRecord is what a member says of itself.
type memberRecord struct {
	instance    *string
	rack        *string
	clientID    string
	clientHost  string
	topics      []string // sorted, each once
	regex       *string
	rebalanceMs int32
	assignor    *string
	classic     *classicOffer // set for members that use the classic protocol
}

// classicOffer is what a member of the classic protocol sent with its JoinGroup.
type classicOffer struct {
	sessionMs int32
	protocols []protocol
}

// currentRecord is what a member has.
type currentRecord struct {
	epoch    int32
	previous int32
	state    memberState
	assigned epochs
	revoking epochs
}

// resolvedRegex is the topics that a regular expression matches.
type resolvedRegex struct {
	topics  []string // sorted
	version int64    // of the metadata
	at      int64    // when it was resolved, ms
}

func (o *classicOffer) equal(p *classicOffer) bool {
	if o == nil || p == nil {
		return o == p
	}
	return o.sessionMs == p.sessionMs && slices.EqualFunc(o.protocols, p.protocols, func(a, b protocol) bool {
		return a.name == b.name && string(a.metadata) == string(b.metadata)
	})
}

// key is the record's key.
func (r *consumerRecord) key() []byte {
	dst := binary.BigEndian.AppendUint16(nil, uint16(r.kind))
	dst = appendString(dst, r.group)
	switch r.kind {
	case keyConsumerMember, keyConsumerTargetMember, keyConsumerCurrent, keyConsumerRegex:
		dst = appendString(dst, r.name)
	}
	return dst
}

// bytes is the record's value, nil for a tombstone: version 0 of each kind, with the fields that Kafka 4.3
// writes.
func (r *consumerRecord) bytes() []byte {
	dst := []byte{0, 0}
	switch v := r.value.(type) {
	case nil:
		return nil
	case []byte:
		return v
	case epochRecord:
		dst = appendInt32(dst, v.epoch)
		return appendHashTag(dst, v.hash)
	case targetEpochRecord:
		dst = appendInt32(dst, v.epoch)
		return appendHashTag(dst, v.at)
	case *memberRecord:
		return v.append(dst)
	case *target:
		dst = appendUvarint(dst, len(v.order)+1)
		for _, id := range v.order {
			dst = append(dst, id[:]...)
			dst = appendUvarint(dst, len(v.parts[id])+1)
			for _, p := range v.list(id) {
				dst = appendInt32(dst, p)
			}
			dst = append(dst, 0)
		}
		return append(dst, 0)
	case *currentRecord:
		dst = appendInt32(dst, v.epoch)
		dst = appendInt32(dst, v.previous)
		dst = append(dst, byte(v.state))
		dst = appendEpochs(dst, v.assigned)
		dst = appendEpochs(dst, v.revoking)
		return append(dst, 0)
	case *resolvedRegex:
		dst = appendUvarint(dst, len(v.topics)+1)
		for _, t := range v.topics {
			dst = appendCompact(dst, t)
		}
		dst = appendInt64(dst, v.version)
		dst = appendInt64(dst, v.at)
		return append(dst, 0)
	}
	panic(fmt.Sprintf("group: record value %T", r.value))
}

// appendHashTag appends a tagged int64 with tag 0, or no tag if it is 0.
func appendHashTag(dst []byte, v int64) []byte {
	if v == 0 {
		return append(dst, 0)
	}
	return appendInt64(append(dst, 1, 0, 8), v)
}

func appendEpochs(dst []byte, e epochs) []byte {
	dst = appendUvarint(dst, len(e)+1)
	for _, id := range sortedTopics(e) {
		ps := slices.Sorted(maps.Keys(e[id]))
		dst = append(dst, id[:]...)
		dst = appendUvarint(dst, len(ps)+1)
		for _, p := range ps {
			dst = appendInt32(dst, p)
		}
		if len(ps) == 0 {
			dst = append(dst, 0)
			continue
		}
		dst = append(dst, 1, 0)
		n := appendUvarint(nil, len(ps)+1)
		dst = appendUvarint(dst, len(n)+4*len(ps))
		dst = append(dst, n...)
		for _, p := range ps {
			dst = appendInt32(dst, e[id][p])
		}
	}
	return dst
}

func (v *memberRecord) append(dst []byte) []byte {
	dst = appendCompactNullable(dst, v.instance)
	dst = appendCompactNullable(dst, v.rack)
	dst = appendCompact(dst, v.clientID)
	dst = appendCompact(dst, v.clientHost)
	dst = appendUvarint(dst, len(v.topics)+1)
	for _, t := range v.topics {
		dst = appendCompact(dst, t)
	}
	dst = appendCompactNullable(dst, v.regex)
	dst = appendInt32(dst, v.rebalanceMs)
	dst = appendCompactNullable(dst, v.assignor)
	if v.classic == nil {
		return append(dst, 1, 0, 1, 0) // the tag is there, and null
	}
	tag := appendInt32([]byte{1}, v.classic.sessionMs)
	tag = appendUvarint(tag, len(v.classic.protocols)+1)
	for _, p := range v.classic.protocols {
		tag = appendCompact(tag, p.name)
		tag = appendUvarint(tag, len(p.metadata)+1)
		tag = append(tag, p.metadata...)
		tag = append(tag, 0)
	}
	tag = append(tag, 0)
	dst = append(dst, 1, 0)
	dst = appendUvarint(dst, len(tag))
	return append(dst, tag...)
}

// decodeConsumerRecord reads a record of a KIP-848 group. Nothing of the input is kept.
func decodeConsumerRecord(key, value []byte) (consumerRecord, error) {
	k := byteReader{b: key}
	r := consumerRecord{kind: int(k.int16()), group: k.plainText()}
	switch r.kind {
	case keyConsumerMember, keyConsumerTargetMember, keyConsumerCurrent, keyConsumerRegex:
		r.name = k.plainText()
	}
	if k.err != nil {
		return r, fmt.Errorf("key of kind %d: %w", r.kind, k.err)
	}
	if value == nil {
		return r, nil
	}
	v := byteReader{b: value}
	if version := v.int16(); version != 0 {
		return r, fmt.Errorf("value of kind %d: version %d is not known", r.kind, version)
	}
	switch r.kind {
	case keyConsumerEpoch:
		e := epochRecord{epoch: v.int32()}
		v.tags(int64Tag(&e.hash))
		r.value = e
	case keyConsumerTargetEpoch:
		e := targetEpochRecord{epoch: v.int32()}
		v.tags(int64Tag(&e.at))
		if e.epoch < -1 || e.at < 0 {
			v.fail(fmt.Errorf("epoch %d at %d cannot be", e.epoch, e.at))
		}
		r.value = e
	case keyConsumerPartitions:
		r.value = true // that there is one is all that matters
	case keyConsumerMember:
		r.value = readMember(&v)
	case keyConsumerTargetMember:
		r.value = readTarget(&v)
	case keyConsumerCurrent:
		c := &currentRecord{epoch: v.int32(), previous: v.int32(), state: memberStateOf(v.int8())}
		c.assigned = readEpochs(&v, c.epoch)
		c.revoking = readEpochs(&v, c.epoch)
		v.tags(nil)
		r.value = c
	case keyConsumerRegex:
		x := &resolvedRegex{topics: make([]string, max(v.compactArray(1), 0))}
		for i := range x.topics {
			x.topics[i] = v.compactText()
		}
		x.version, x.at = v.int64(), v.int64()
		v.tags(nil)
		slices.Sort(x.topics)
		x.topics = slices.Compact(x.topics)
		r.value = x
	default:
		v.fail(errUnknownKind)
	}
	if v.err != nil {
		return r, fmt.Errorf("value of kind %d: %w", r.kind, v.err)
	}
	return r, nil
}

func int64Tag(to *int64) func(uint32, *byteReader) error {
	return func(tag uint32, v *byteReader) error {
		if tag == 0 {
			*to = v.int64()
		}
		return nil
	}
}

func readMember(v *byteReader) *memberRecord {
	m := &memberRecord{instance: v.compactString(), rack: v.compactString(), clientID: v.compactText(), clientHost: v.compactText()}
	m.topics = make([]string, max(v.compactArray(1), 0))
	for i := range m.topics {
		m.topics[i] = v.compactText()
	}
	slices.Sort(m.topics)
	m.topics = slices.Compact(m.topics)
	m.regex = v.compactString()
	m.rebalanceMs = v.int32()
	m.assignor = v.compactString()
	v.tags(func(tag uint32, t *byteReader) error {
		if tag != 0 || t.int8() == 0 {
			return nil
		}
		o := &classicOffer{sessionMs: t.int32()}
		o.protocols = make([]protocol, max(t.compactArray(3), 0))
		for i := range o.protocols {
			o.protocols[i] = protocol{t.compactText(), slices.Clone(t.compactBytes())}
			t.tags(nil)
		}
		t.tags(nil)
		if len(o.protocols) == 0 && t.err == nil {
			return errors.New("a member of the classic protocol without a protocol")
		}
		m.classic = o
		return nil
	})
	return m
}

func readTarget(v *byteReader) *target {
	n := max(v.compactArray(18), 0)
	t := &target{parts: make(assignment, n)}
	for range n {
		id := v.uuid()
		ps := readPartitions(v)
		v.tags(nil)
		if v.err != nil {
			break
		}
		sorted := slices.Compact(slices.Sorted(slices.Values(ps)))
		if len(sorted) == 0 {
			continue
		}
		if t.parts[id] == nil {
			t.order = append(t.order, id)
		}
		t.parts[id] = sorted
		if delete(t.listed, id); len(sorted) == len(ps) && !slices.Equal(sorted, ps) {
			if t.listed == nil {
				t.listed = map[uuid][]int32{}
			}
			t.listed[id] = ps
		}
	}
	v.tags(nil)
	return t
}

func readPartitions(v *byteReader) []int32 {
	ps := make([]int32, max(v.compactArray(4), 0))
	for i := range ps {
		ps[i] = v.int32()
	}
	return ps
}

// readEpochs reads partitions with their epochs; those that Kafka before 4.3 wrote have none, and get the
// member's.
func readEpochs(v *byteReader, memberEpoch int32) epochs {
	n := max(v.compactArray(18), 0)
	e := make(epochs, n)
	for range n {
		id := v.uuid()
		ps := readPartitions(v)
		var at []int32
		v.tags(func(tag uint32, t *byteReader) error {
			if tag == 0 {
				at = readPartitions(t)
			}
			return nil
		})
		if v.err != nil {
			break
		}
		m := make(map[int32]int32, len(ps))
		for i, p := range ps {
			if m[p] = max(memberEpoch, 0); len(at) == len(ps) {
				m[p] = at[i]
			}
		}
		if len(m) > 0 {
			e[id] = m
		}
	}
	return e
}
