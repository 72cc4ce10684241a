package log

import (
	"hash/maphash"
)

// offsetMap holds the last offset of each key that compaction saw, in bounded memory. It keeps a 128-bit hash in place of the
// key: two halves from hash functions that are seeded apart, so that no key can be made to collide, and by chance it happens
// once in 2^64 keys. Entries take 24 bytes, in an open-addressed table that doubles up to its bound.
type offsetMap struct {
	seed1, seed2 maphash.Seed
	slots        []offsetSlot
	n            int
	maxSlots     int
}

type offsetSlot struct {
	h1, h2 uint64
	offset int64 // plus 1, so that 0 is an empty slot
}

const offsetSlotBytes = 24

// newOffsetMap bounds the table to maxBytes, the old table included while it grows.
func newOffsetMap(maxBytes int64) *offsetMap {
	most := 1024
	for int64(most)*2*offsetSlotBytes*3/2 <= maxBytes {
		most *= 2
	}
	return &offsetMap{seed1: maphash.MakeSeed(), seed2: maphash.MakeSeed(), slots: make([]offsetSlot, 1024), maxSlots: most}
}

// room says whether n more keys surely fit.
func (m *offsetMap) room(n int) bool { return m.n+n <= m.maxSlots*9/10 }

func (m *offsetMap) find(key []byte) *offsetSlot {
	h1, h2 := maphash.Bytes(m.seed1, key), maphash.Bytes(m.seed2, key)
	return m.slot(h1, h2)
}

func (m *offsetMap) slot(h1, h2 uint64) *offsetSlot {
	mask := uint64(len(m.slots) - 1)
	for i := h1 & mask; ; i = (i + 1) & mask {
		s := &m.slots[i]
		if s.offset == 0 || s.h1 == h1 && s.h2 == h2 {
			if s.offset == 0 {
				s.h1, s.h2 = h1, h2
			}
			return s
		}
	}
}

// put notes that key was last seen at offset. The caller made sure that there is room.
func (m *offsetMap) put(key []byte, offset int64) {
	if (m.n+1)*10 > len(m.slots)*9 {
		m.grow()
	}
	s := m.find(key)
	if s.offset == 0 {
		m.n++
	}
	s.offset = offset + 1
}

// get returns the last offset of key.
func (m *offsetMap) get(key []byte) (int64, bool) {
	s := m.find(key)
	return s.offset - 1, s.offset != 0
}

func (m *offsetMap) grow() {
	old := m.slots
	m.slots = make([]offsetSlot, 2*len(old))
	for _, s := range old {
		if s.offset != 0 {
			*m.slot(s.h1, s.h2) = s
		}
	}
}
