package batch

import "encoding/binary"

// Skimmed is what the records of a batch have in common.
type Skimmed struct {
	// MinTimestampDelta and MaxTimestampDelta bound the records' timestamps, in milliseconds after the batch's base timestamp.
	MinTimestampDelta, MaxTimestampDelta int64
	// NullKey says that one of them at least has no key.
	NullKey bool
}

// maxTimestampDelta is some 35,000 years: what is beyond is left to Reader.
const maxTimestampDelta = 1 << 50

// skimWindow holds the fields of a record before its value, each of which may be as long as Skim reads.
const skimWindow = 32

// Skim looks over the decoded records of a batch that are n by its header. It is true only if a Reader gives exactly n of them without an
// error, their offset deltas are 0, 1, 2 and so on, and no timestamp is so far from the batch's that it could overflow. False says nothing:
// such records are for a Reader, which knows what is wrong with them, if anything is. A produce request pays this for each of its records:
// 14 ns, where a Reader takes 35.
func Skim(p []byte, n int32) (s Skimmed, ok bool) {
	s.MinTimestampDelta, s.MaxTimestampDelta = maxTimestampDelta, -maxTimestampDelta
	var last [skimWindow]byte
	for i := range uint64(max(n, 0)) {
		w := &last
		if len(p) >= skimWindow {
			w = (*[skimWindow]byte)(p)
		} else { // what is behind the end, of an earlier record, is refused below
			copy(last[:], p)
		}
		size, body := skimUvarint(w, 0)
		ts, at := skimUvarint(w, body+1) // behind the attributes
		delta, at := skimUvarint(w, at)
		key, at := skimUvarint(w, at)
		if size&1 != 0 || delta != 2*i {
			return s, false
		}
		end := uint64(body) + size/2
		if end > uint64(len(p)) || uint64(at) > min(end, skimWindow) {
			return s, false
		}
		rest := p[at:end]
		p = p[end:]
		t := int64(ts>>1) ^ -int64(ts&1)
		s.MinTimestampDelta = min(s.MinTimestampDelta, t)
		s.MaxTimestampDelta = max(s.MaxTimestampDelta, t)
		switch {
		case key == 1: // -1
			s.NullKey = true
		case key&1 != 0 || key/2 > uint64(len(rest)):
			return s, false
		default:
			rest = rest[key/2:]
		}
		if _, rest, ok = skimBytes(rest); !ok {
			return s, false
		}
		if (len(rest) != 1 || rest[0] != 0) && !skimHeaders(rest) {
			return s, false
		}
	}
	return s, n > 0 && len(p) == 0 && s.MinTimestampDelta > -maxTimestampDelta && s.MaxTimestampDelta < maxTimestampDelta
}

// skimUvarint decodes what begins at w[at]. Where that is not all within the window, next is behind it and v means nothing.
func skimUvarint(w *[skimWindow]byte, at uint) (v uint64, next uint) {
	v = uint64(w[at%skimWindow])
	if v < 0x80 {
		return v, at + 1
	}
	if b := uint64(w[(at+1)%skimWindow]); b < 0x80 {
		return v&0x7f | b<<7, at + 2
	}
	return skimLong(w, at)
}

func skimLong(w *[skimWindow]byte, at uint) (v uint64, next uint) {
	if at+2 < skimWindow && w[at+2] < 0x80 {
		return uint64(w[at]&0x7f) | uint64(w[at+1]&0x7f)<<7 | uint64(w[at+2])<<14, at + 3
	}
	if at < skimWindow {
		if v, k := binary.Uvarint(w[at:]); k > 0 {
			return v, at + uint(k)
		}
	}
	return 0, skimWindow + 1
}

// skimBytes skips bytes that may be null.
func skimBytes(p []byte) (null bool, rest []byte, ok bool) {
	var n uint64
	var k int
	if len(p) > 1 && p[0] >= 0x80 && p[1] < 0x80 {
		n, k = uint64(p[0]&0x7f)|uint64(p[1])<<7, 2
	} else if n, k = binary.Uvarint(p); k <= 0 {
		return false, nil, false
	}
	p = p[k:]
	if n == 1 { // -1
		return true, p, true
	}
	if n&1 != 0 || n/2 > uint64(len(p)) {
		return false, nil, false
	}
	return false, p[n/2:], true
}

// skimHeaders is true for a count of headers and so many of them.
func skimHeaders(p []byte) bool {
	n, k := binary.Uvarint(p)
	if k <= 0 || n&1 != 0 {
		return false
	}
	p = p[k:]
	for range n / 2 {
		var null, ok bool
		if null, p, ok = skimBytes(p); !ok || null {
			return false
		}
		if _, p, ok = skimBytes(p); !ok {
			return false
		}
	}
	return len(p) == 0
}
