package log

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/moldau-io/moldau/core/log/batch"
)

// Read appends whole record batches to dst, from the one that holds offset on, at most maxBytes of them, and none that
// begins at or after upTo. The first batch may begin below offset: it comes whole, as Kafka's does. With minOne, the first
// batch comes even when it is larger than maxBytes. When nothing is there (offset is the end, or not below upTo), dst comes
// back as it was. ErrOffsetOutOfRange when offset is below the start or past the end.
//
// It reads with one pread in the common case and allocates only when dst lacks room.
func (l *Log) Read(dst []byte, offset int64, maxBytes int, upTo int64, minOne bool) ([]byte, error) {
	for {
		if err := l.check(); err != nil {
			return dst, err
		}
		gen, segs := l.truncations.Load(), l.segs.Load()
		out, err := l.read(dst, offset, maxBytes, upTo, minOne)
		if gen&1 != 0 || l.truncations.Load() != gen {
			l.awaitTruncation()
			continue
		}
		if errors.Is(err, ErrStorage) && l.segs.Load() != segs {
			continue // a segment went away under the read
		}
		return out, err
	}
}

// awaitTruncation returns when no truncation runs.
func (l *Log) awaitTruncation() {
	l.mu.Lock()
	defer l.mu.Unlock()
}

func (l *Log) read(dst []byte, offset int64, maxBytes int, upTo int64, minOne bool) ([]byte, error) {
	end := l.end.Load()
	if offset < l.start.Load() || offset > end {
		return dst, fmt.Errorf("%w: offset %d of partition %s, which has offsets %d to %d", ErrOffsetOutOfRange, offset, l.id, l.start.Load(), end)
	}
	upTo = min(upTo, end)
	if offset >= upTo || maxBytes <= 0 && !minOne {
		return dst, nil
	}
	segs := l.list()
	base := len(dst)
	for i := max(find(segs, offset), 0); i < len(segs); i++ {
		s := segs[i]
		if s.base >= upTo {
			break
		}
		left := maxBytes - (len(dst) - base)
		if len(dst) > base && left < batch.HeaderSize {
			break
		}
		var more bool
		var err error
		dst, more, err = s.read(dst, offset, left, upTo, minOne && len(dst) == base)
		if err != nil || !more {
			return dst, err
		}
	}
	return dst, nil
}

// read appends whole batches of this segment. more says that the segment was read to its end and the next may follow.
func (s *segment) read(dst []byte, offset int64, maxBytes int, upTo int64, minOne bool) (out []byte, more bool, err error) {
	size := s.size.Load()
	pos, err := s.position(offset)
	if err != nil {
		return dst, false, s.l.readError(err)
	}
	if pos >= size {
		return dst, true, nil
	}
	f, err := s.acquire()
	if err != nil {
		return dst, false, s.l.readError(err)
	}
	defer s.release()
	base := len(dst)
	// Up to an index interval before the batch is read along, and thrown away.
	want := int(min(int64(max(maxBytes, batch.HeaderSize))+s.l.config().IndexIntervalBytes, size-pos))
	for {
		dst = slices.Grow(dst[:base], want)[:base+want]
		if err := readFull(f, dst[base:], pos); err != nil {
			return dst[:base], false, s.l.readError(err)
		}
		from, to, next, need, err := cut(dst[base:], offset, maxBytes, upTo, minOne, size-pos)
		if err != nil {
			return dst[:base], false, s.l.readError(fmt.Errorf("%s: position %d: %w", s.path(suffixLog), pos+int64(from), err))
		}
		if need == 0 || to > from {
			n := copy(dst[base:], dst[base+from:base+to])
			return dst[:base+n], next && pos+int64(to) >= size, nil
		}
		// Not one whole batch: it begins at from and needs that much.
		pos += int64(from)
		want = need
	}
}

// cut finds the whole batches in p that a read wants: p[from:to]. next says that it did not stop for its limits. need is not
// 0 when the batch at from is wanted but is not whole in p, and is how many bytes it takes. avail is how many bytes the
// segment has from p[0] on.
func cut(p []byte, offset int64, maxBytes int, upTo int64, minOne bool, avail int64) (from, to int, next bool, need int, err error) {
	at, found := 0, false
	for at < len(p) {
		if len(p)-at < batch.HeaderSize {
			if avail-int64(at) < batch.HeaderSize {
				return at, at, false, 0, batch.ErrCorrupt
			}
			if !found {
				return at, at, false, min(batch.HeaderSize+maxBytes, int(avail)-at), nil
			}
			return from, to, false, 0, nil
		}
		b := batch.Batch(p[at:])
		n, err := batch.Size(b)
		if err != nil || b.Magic() != 2 || int64(n) > avail-int64(at) {
			return at, at, false, 0, fmt.Errorf("%w: batch of %d bytes, %d are left", batch.ErrCorrupt, n, avail-int64(at))
		}
		if b.LastOffset() < offset {
			at += n
			if at > len(p) {
				return at, at, false, int(min(int64(max(maxBytes, batch.HeaderSize)), avail-int64(at))), nil
			}
			continue
		}
		if b.BaseOffset() >= upTo {
			if !found {
				return at, at, false, 0, nil
			}
			return from, to, false, 0, nil
		}
		if !found {
			found, from, to = true, at, at
			if n > maxBytes {
				if !minOne {
					return at, at, false, 0, nil
				}
				if at+n > len(p) {
					return at, at, false, n, nil
				}
				return at, at + n, false, 0, nil
			}
			if at+n > len(p) {
				return at, at, false, min(maxBytes, int(min(avail-int64(at), math.MaxInt32))), nil
			}
		}
		if at+n-from > maxBytes || at+n > len(p) {
			return from, to, false, 0, nil
		}
		at += n
		to = at
	}
	if !found {
		return at, at, true, 0, nil
	}
	return from, to, true, 0, nil
}

// readError turns an I/O error of a read into ErrStorage. It does not fail the directory: the other files may be fine.
func (l *Log) readError(err error) error {
	return fmt.Errorf("%w: read %s: %w", ErrStorage, l.id, err)
}
