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

// timelineOrder sorts items, in the order of their insertion, as Kafka's TimelineHashMap iterates over them.
func timelineOrder[T any](items []T, hash func(T) int32) {
	bits := 1
	for size := 2; 3*len(items) > 4*size; size *= 2 {
		bits++
	}
	slot := func(t T) uint64 { return uint64(int64(hash(t))*-7046029254386353131) >> (64 - bits) }
	slices.SortStableFunc(items, func(a, b T) int { return int(int64(slot(a)) - int64(slot(b))) })
}

func intHash(p int32) int32 { return p }

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
