package group

import (
	"encoding/binary"
	"slices"
)

// The server-side assignors of Kafka walk Java hash tables, so which member keeps or gets a partition
// depends on the order in which those iterate. Groups that move between Kafka and this broker must not be
// reshuffled for it: the same order is computed here.

// grownTable is the size of a java.util.HashMap that n entries were put into one by one.
func grownTable(n int) int {
	size := 16
	for 4*n > 3*size {
		size *= 2
	}
	return size
}

// copiedTable is the size of a java.util.HashSet that was made from a collection of n.
func copiedTable(n int) int {
	want := max(int(float32(n)/0.75)+1, 16)
	size := 16
	for size < want {
		size *= 2
	}
	return size
}

// tableOrder sorts items, which are in the order of their insertion, as a java.util.HashMap with a table of
// this size iterates over them.
func tableOrder[T any](items []T, size int, hash func(T) int32) {
	bucket := func(t T) int {
		h := uint32(hash(t))
		return int(h^h>>16) & (size - 1)
	}
	slices.SortStableFunc(items, func(a, b T) int { return bucket(a) - bucket(b) })
}

// timelineOrder sorts items, in the order of their insertion, as Kafka's TimelineHashMap that once had peak of
// them iterates over them.
func timelineOrder[T any](items []T, peak int, hash func(T) int32) {
	bits := 1
	for size := 2; 3*peak > 4*size; size *= 2 {
		bits++
	}
	slot := func(t T) uint64 { return uint64(int64(hash(t))*-7046029254386353131) >> (64 - bits) }
	slices.Reverse(items) // within a slot the newest comes first
	slices.SortStableFunc(items, func(a, b T) int { return int(int64(slot(a)) - int64(slot(b))) })
}

// uuidTable is the keys of a java.util.HashMap, as far as their order goes.
type uuidTable struct {
	size  int
	keys  []uuidKey
	first int // below the rank of every key
	last  int // above it
}

// uuidKey is a key with its rank among those of the same bucket.
type uuidKey struct {
	id   uuid
	rank int
}

// newUUIDTable is a table that was made for n keys (HashMap(int)).
func newUUIDTable(n int) *uuidTable {
	t := &uuidTable{size: 1}
	for t.size < n {
		t.size *= 2
	}
	return t
}

func (t *uuidTable) has(id uuid) bool {
	return slices.ContainsFunc(t.keys, func(k uuidKey) bool { return k.id == id })
}

// put is HashMap.put: a new key goes to the end of its bucket, and then the table grows.
func (t *uuidTable) put(id uuid) {
	if t.has(id) {
		return
	}
	t.last++
	t.keys = append(t.keys, uuidKey{id, t.last})
	for len(t.keys) > t.size*3/4 {
		t.size *= 2
	}
}

// compute is HashMap.computeIfAbsent: the table grows if it is full by now, and then a new key goes to the
// front of its bucket.
func (t *uuidTable) compute(id uuid) {
	if len(t.keys) > t.size*3/4 {
		t.size *= 2
	}
	if t.has(id) {
		return
	}
	t.first--
	t.keys = append(t.keys, uuidKey{id, t.first})
}

func (t *uuidTable) remove(id uuid) {
	t.keys = slices.DeleteFunc(t.keys, func(k uuidKey) bool { return k.id == id })
}

// order is the keys as the table iterates over them.
func (t *uuidTable) order() []uuid {
	ranked := slices.Clone(t.keys)
	slices.SortFunc(ranked, func(a, b uuidKey) int { return a.rank - b.rank })
	keys := make([]uuid, len(ranked))
	for i := range ranked {
		keys[i] = ranked[i].id
	}
	tableOrder(keys, t.size, uuidHash)
	return keys
}

// partitionTable is the partitions of a java.util.HashSet, as far as their order goes.
type partitionTable struct {
	size int
	list []int32 // in the order of their insertion
}

// newPartitionTable is a set that was made for n partitions (HashSet(int)); copyPartitions one that was made
// from a collection.
func newPartitionTable(n int) *partitionTable {
	t := &partitionTable{size: 1}
	for t.size < n {
		t.size *= 2
	}
	return t
}

func copyPartitions(list []int32) *partitionTable {
	return &partitionTable{size: copiedTable(len(list)), list: slices.Clone(list)}
}

func (t *partitionTable) add(p int32) {
	t.list = append(t.list, p)
	for len(t.list) > t.size*3/4 {
		t.size *= 2
	}
}

func (t *partitionTable) remove(p int32) {
	if i := slices.Index(t.list, p); i >= 0 {
		t.list = slices.Delete(t.list, i, i+1)
	}
}

// order is the partitions as the set iterates over them.
func (t *partitionTable) order() []int32 {
	list := slices.Clone(t.list)
	tableOrder(list, t.size, func(p int32) int32 { return p })
	return list
}

// targetTable is a target while an assignor changes it.
type targetTable struct {
	topics *uuidTable
	parts  map[uuid]*partitionTable
}

// add is computeIfAbsent(topic, HashSet(room)).add(partition).
func (t *targetTable) add(topic uuid, p int32, room int) {
	t.topics.compute(topic)
	if t.parts[topic] == nil {
		t.parts[topic] = newPartitionTable(room)
	}
	t.parts[topic].add(p)
}

func (t *targetTable) remove(topic uuid, p int32) {
	set := t.parts[topic]
	if set == nil {
		return
	}
	if set.remove(p); len(set.list) == 0 {
		t.drop(topic)
	}
}

func (t *targetTable) drop(topic uuid) {
	t.topics.remove(topic)
	delete(t.parts, topic)
}

// target is what has become of it.
func (t *targetTable) target() *target {
	out := &target{order: t.topics.order(), parts: assignment{}, listed: map[uuid][]int32{}}
	for _, id := range out.order {
		list := t.parts[id].order()
		out.listed[id] = list
		out.parts[id] = slices.Sorted(slices.Values(list))
	}
	return out
}

// javaOrder is the topics in the order in which Kafka, that has read them from the record, goes over them.
func (t *target) javaOrder() []uuid {
	if t == nil {
		return nil
	}
	keys := slices.Clone(t.order)
	tableOrder(keys, grownTable(len(keys)), uuidHash)
	return keys
}

// uuidHash is hashCode of org.apache.kafka.common.Uuid.
func uuidHash(id uuid) int32 {
	x := binary.BigEndian.Uint64(id[:8]) ^ binary.BigEndian.Uint64(id[8:])
	return int32(x>>32) ^ int32(x)
}

// compareUUID is compareTo of org.apache.kafka.common.Uuid: two signed halves.
func compareUUID(a, b uuid) int {
	for i := 0; i < 16; i += 8 {
		x, y := int64(binary.BigEndian.Uint64(a[i:])), int64(binary.BigEndian.Uint64(b[i:]))
		switch {
		case x > y:
			return 1
		case x < y:
			return -1
		}
	}
	return 0
}
