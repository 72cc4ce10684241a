package log

import (
	"encoding/binary"
	"fmt"
	"sort"
)

// Sizes of index entries on disk, in bytes.
const (
	offsetEntrySize = 8
	timeEntrySize   = 12
	txnEntrySize    = 34
)

// offsetEntry says that the batch whose last offset is base+rel begins at pos.
type offsetEntry struct{ rel, pos uint32 }

// timeEntry says that no record with an offset up to base+rel has a timestamp above ts.
type timeEntry struct {
	ts  int64
	rel uint32
}

// AbortedTxn is an aborted transaction of a producer: its records lie in [FirstOffset, LastOffset], where LastOffset
// is that of the abort marker. LastStableOffset is the log's when it was aborted.
type AbortedTxn struct {
	ProducerID       int64
	FirstOffset      int64
	LastOffset       int64
	LastStableOffset int64
}

// lookupOffset returns the position to scan from to find an offset: that of the last entry at or below it, or 0.
func lookupOffset(es []offsetEntry, rel int64) uint32 {
	i := sort.Search(len(es), func(i int) bool { return int64(es[i].rel) > rel })
	if i == 0 {
		return 0
	}
	return es[i-1].pos
}

// lookupTime returns the offset, relative to the base, below which no record has a timestamp above or at ts.
func lookupTime(es []timeEntry, ts int64) int64 {
	i := sort.Search(len(es), func(i int) bool { return es[i].ts >= ts })
	if i == 0 {
		return 0
	}
	return int64(es[i-1].rel)
}

// parseOffsetIndex decodes an index file. Entries must rise; what follows the last that does (the zero bytes of a file
// that was not trimmed) is ignored. Positions at or past size, that of the segment, are an error.
func parseOffsetIndex(p []byte, size int64) ([]offsetEntry, error) {
	es := make([]offsetEntry, 0, len(p)/offsetEntrySize)
	for len(p) >= offsetEntrySize {
		e := offsetEntry{binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:])}
		if n := len(es); n > 0 && (e.rel <= es[n-1].rel || e.pos <= es[n-1].pos) {
			break
		}
		if e.rel == 0 && e.pos == 0 && len(es) == 0 && allZero(p) {
			break
		}
		if int64(e.pos) >= size || e.rel > 1<<31-1 {
			return nil, fmt.Errorf("offset index entry %d points to position %d of %d", len(es), e.pos, size)
		}
		es = append(es, e)
		p = p[offsetEntrySize:]
	}
	if !allZero(p) {
		return nil, fmt.Errorf("offset index has %d bytes after its last entry that is in order", len(p))
	}
	return es, nil
}

func parseTimeIndex(p []byte) ([]timeEntry, error) {
	es := make([]timeEntry, 0, len(p)/timeEntrySize)
	for len(p) >= timeEntrySize {
		e := timeEntry{int64(binary.BigEndian.Uint64(p)), binary.BigEndian.Uint32(p[8:])}
		if n := len(es); n > 0 && (e.ts < es[n-1].ts || e.rel < es[n-1].rel) {
			break
		}
		if e.rel > 1<<31-1 {
			return nil, fmt.Errorf("time index entry %d has relative offset %d", len(es), e.rel)
		}
		if e == (timeEntry{}) && allZero(p) {
			break
		}
		es = append(es, e)
		p = p[timeEntrySize:]
	}
	if !allZero(p) {
		return nil, fmt.Errorf("time index has %d bytes after its last entry that is in order", len(p))
	}
	return es, nil
}

func parseTxnIndex(p []byte) ([]AbortedTxn, error) {
	if len(p)%txnEntrySize != 0 {
		return nil, fmt.Errorf("transaction index has %d bytes, not a multiple of %d", len(p), txnEntrySize)
	}
	var ts []AbortedTxn
	for ; len(p) > 0; p = p[txnEntrySize:] {
		if v := binary.BigEndian.Uint16(p); v != 0 {
			return nil, fmt.Errorf("transaction index entry %d has version %d", len(ts), v)
		}
		t := AbortedTxn{
			ProducerID:       int64(binary.BigEndian.Uint64(p[2:])),
			FirstOffset:      int64(binary.BigEndian.Uint64(p[10:])),
			LastOffset:       int64(binary.BigEndian.Uint64(p[18:])),
			LastStableOffset: int64(binary.BigEndian.Uint64(p[26:])),
		}
		if t.FirstOffset < 0 || t.LastOffset < t.FirstOffset {
			return nil, fmt.Errorf("transaction index entry %d covers offsets %d to %d", len(ts), t.FirstOffset, t.LastOffset)
		}
		ts = append(ts, t)
	}
	return ts, nil
}

func formatOffsetIndex(es []offsetEntry) []byte {
	p := make([]byte, 0, len(es)*offsetEntrySize)
	for _, e := range es {
		p = binary.BigEndian.AppendUint32(p, e.rel)
		p = binary.BigEndian.AppendUint32(p, e.pos)
	}
	return p
}

func formatTimeIndex(es []timeEntry) []byte {
	p := make([]byte, 0, len(es)*timeEntrySize)
	for _, e := range es {
		p = binary.BigEndian.AppendUint64(p, uint64(e.ts))
		p = binary.BigEndian.AppendUint32(p, e.rel)
	}
	return p
}

func formatTxnIndex(ts []AbortedTxn) []byte {
	p := make([]byte, 0, len(ts)*txnEntrySize)
	for _, t := range ts {
		p = binary.BigEndian.AppendUint16(p, 0)
		p = binary.BigEndian.AppendUint64(p, uint64(t.ProducerID))
		p = binary.BigEndian.AppendUint64(p, uint64(t.FirstOffset))
		p = binary.BigEndian.AppendUint64(p, uint64(t.LastOffset))
		p = binary.BigEndian.AppendUint64(p, uint64(t.LastStableOffset))
	}
	return p
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
