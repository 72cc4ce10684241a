// Package javahash has Java's String.hashCode, by which Kafka spreads groups and transactional ids over partitions and orders
// what it keeps in hash maps. It is a leaf: any package may use it.
package javahash

import "math"

// String is String.hashCode: over UTF-16 units.
func String(s string) int32 {
	var h int32
	for _, r := range s {
		if r >= 0x10000 {
			r -= 0x10000
			h = 31*h + (0xd800 + r>>10)
			h = 31*h + (0xdc00 + r&0x3ff)
			continue
		}
		h = 31*h + r
	}
	return h
}

// Partition is the partition, of n, of an internal topic that holds what belongs to the key (Utils.abs of the hash, modulo n).
func Partition(key string, n int32) int32 {
	h := String(key)
	switch {
	case h == math.MinInt32:
		h = 0
	case h < 0:
		h = -h
	}
	return h % n
}
