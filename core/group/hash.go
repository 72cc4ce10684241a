package group

import (
	"math"
	"unicode/utf8"
)

// javaHash is String.hashCode of Java: over UTF-16 units, so that groups land on the partition where Kafka
// put them.
func javaHash(s string) int32 {
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

// partitionFor is the partition of the offsets topic that holds the group, of n.
func partitionFor(group string, n int32) int32 {
	h := javaHash(group)
	switch {
	case h == math.MinInt32:
		h = 0
	case h < 0:
		h = -h
	}
	return h % n
}

// utf16Len is String.length of Java.
func utf16Len(s string) int {
	n := utf8.RuneCountInString(s)
	for _, r := range s {
		if r >= 0x10000 {
			n++
		}
	}
	return n
}
