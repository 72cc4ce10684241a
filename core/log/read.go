package log

import (
	"errors"
	"fmt"
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
	out, _, err := l.ReadNext(dst, offset, maxBytes, upTo, minOne)
	return out, err
}

// ReadNext is Read, and returns the offset to go on from: the one after the last batch read, or offset when there was none.
func (l *Log) ReadNext(dst []byte, offset int64, maxBytes int, upTo int64, minOne bool) (out []byte, next int64, err error) {
	for {
		if err := l.check(); err != nil {
			return dst, offset, err
		}
		gen, segs := l.truncations.Load(), l.segs.Load()
		out, next, err := l.read(dst, offset, maxBytes, upTo, minOne, gen)
		if gen&1 != 0 || l.truncations.Load() != gen {
			l.awaitTruncation()
			continue
		}
		if errors.Is(err, ErrStorage) && l.segs.Load() != segs {
			continue // a segment went away under the read
		}
		return out, next, err
	}
}

// Truncations changes with every truncation, and is odd while one runs: what was read when it was the same is still in the log, unless retention or
// compaction have taken it.
func (l *Log) Truncations() int64 { return l.truncations.Load() }

// awaitTruncation returns when no truncation runs.
func (l *Log) awaitTruncation() {
	l.mu.Lock()
	defer l.mu.Unlock()
}

func (l *Log) read(dst []byte, offset int64, maxBytes int, upTo int64, minOne bool, gen int64) ([]byte, int64, error) {
	end, next := l.end.Load(), offset
	if offset < l.start.Load() || offset > end {
		return dst, next, fmt.Errorf("%w: offset %d of partition %s, which has offsets %d to %d", ErrOffsetOutOfRange, offset, l.id, l.start.Load(), end)
	}
	upTo = min(upTo, end)
	if offset >= upTo || maxBytes <= 0 && !minOne {
		return dst, next, nil
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
		dst, next, more, err = s.read(dst, offset, next, left, upTo, minOne && len(dst) == base, gen)
		if err != nil || !more {
			return dst, next, err
		}
	}
	return dst, next, nil
}

// read appends whole batches of this segment. after is the offset after the last batch appended, before if there was none; more says that
// the segment was read to its end and the next may follow.
func (s *segment) read(dst []byte, offset, before int64, maxBytes int, upTo int64, minOne bool, gen int64) (out []byte, after int64, more bool, err error) {
	size := s.size.Load()
	pos, err := s.position(offset)
	if err != nil {
		return dst, before, false, s.l.readError(err)
	}
	if pos >= size {
		return dst, before, true, nil
	}
	f, err := s.acquire()
	if err != nil {
		return dst, before, false, s.l.readError(err)
	}
	defer s.release()
	base := len(dst)
	// Up to an index interval before the batch is read along, and thrown away, unless that may be much.
	along := s.l.config().IndexIntervalBytes
	if along > readAlong {
		along = 0
		err := s.headers(pos, size, func(at int64, h batch.Batch, _ int64) bool { pos = at; return h.LastOffset() < offset })
		if err != nil {
			return dst, before, false, s.l.readError(err)
		}
	}
	want := int(min(int64(max(maxBytes, batch.HeaderSize))+along, size-pos))
	for {
		dst = slices.Grow(dst[:base], want)[:base+want]
		if err := readFull(f, dst[base:], pos); err != nil {
			return dst[:base], before, false, s.l.readError(err)
		}
		c, err := cut(dst[base:], offset, maxBytes, upTo, minOne, size-pos)
		if err != nil {
			return dst[:base], before, false, s.l.readError(fmt.Errorf("%s: position %d: %w", s.path(suffixLog), pos+int64(c.from), err))
		}
		if c.need == 0 {
			n := copy(dst[base:], dst[base+c.from:base+c.to])
			if n > 0 {
				before = c.next
				s.remember(c.next, pos+int64(c.to), gen)
			}
			return dst[:base+n], before, c.all && pos+int64(c.to) >= size, nil
		}
		pos += int64(c.from)
		want = c.need
	}
}

// readAlong is how many bytes that nobody wants are read along at most.
const readAlong = 64 << 10

// piece is what cut found: the batches wanted are p[from:to], and next is the offset after them.
type piece struct {
	from, to int
	next     int64
	all      bool // it ended with the bytes and not for a limit
	need     int  // not 0: more is wanted than the bytes hold; read so many at from
}

// cut finds the whole batches that a read wants in p, which has the bytes from the beginning of a batch on. avail is how many
// the segment has from there.
func cut(p []byte, offset int64, maxBytes int, upTo int64, minOne bool, avail int64) (piece, error) {
	var c piece
	found := false
	again := func(at, need int) piece {
		return piece{from: at, to: at, need: int(min(int64(max(need, batch.HeaderSize)), avail-int64(at)))}
	}
	for at := 0; at < len(p) || int64(at) < avail; {
		n := 0
		if len(p)-at >= batch.HeaderSize {
			var err error
			b := batch.Batch(p[at:])
			if n, err = batch.Size(b); err != nil || b.Magic() != 2 || int64(n) > avail-int64(at) {
				return piece{from: at}, fmt.Errorf("%w: batch of %d bytes, %d are left", batch.ErrCorrupt, n, avail-int64(at))
			}
			if b.LastOffset() < offset {
				at += n
				c.from, c.to = at, at
				continue
			}
			if b.BaseOffset() >= upTo {
				return c, nil
			}
		} else if avail-int64(at) < batch.HeaderSize {
			return piece{from: at}, fmt.Errorf("%w: %d bytes are left", batch.ErrCorrupt, avail-int64(at))
		}
		switch {
		case n == 0 && !found:
			return again(at, maxBytes), nil
		case n > 0 && !found && n > maxBytes:
			switch {
			case !minOne:
			case at+n > len(p):
				return again(at, n), nil
			default:
				c.to, c.next = at+n, batch.Batch(p[at:]).NextOffset()
			}
			return c, nil
		case n > 0 && at+n-c.from > maxBytes:
			return c, nil
		case n == 0 || at+n > len(p):
			// The read was too short, because of what it began with before the batch wanted: once more from there.
			if c.from > 0 && maxBytes > c.to-c.from || !found {
				return again(c.from, maxBytes), nil
			}
			return c, nil
		}
		found = true
		c.next = batch.Batch(p[at:]).NextOffset()
		at += n
		c.to = at
	}
	c.all = true
	return c, nil
}

// readError turns an I/O error of a read into ErrStorage. It does not fail the directory: the other files may be fine.
func (l *Log) readError(err error) error {
	return fmt.Errorf("%w: read %s: %w", ErrStorage, l.id, err)
}
