package log

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/moldau-io/moldau/core/log/batch"
)

// OffsetForTimestamp finds the first record whose timestamp is at or after ts (milliseconds): its offset and timestamp,
// and the leader epoch it was written in. found is false when there is none.
func (l *Log) OffsetForTimestamp(ts int64) (offset, timestamp int64, epoch int32, found bool, err error) {
	return l.searchTime(func(start int64) (*segment, int64, error) {
		for _, s := range l.list() {
			largest, _, err := s.largestTimestamp()
			if err != nil {
				return nil, 0, err
			}
			if largest >= ts {
				return s, ts, nil
			}
		}
		return nil, 0, nil
	})
}

// MaxTimestampOffset finds the first record with the largest timestamp of the log (ListOffsets with timestamp -3).
func (l *Log) MaxTimestampOffset() (offset, timestamp int64, epoch int32, found bool, err error) {
	return l.searchTime(func(start int64) (*segment, int64, error) {
		type candidate struct {
			s  *segment
			ts int64
		}
		var cs []candidate
		for _, s := range l.list() {
			ts, _, err := s.largestTimestamp()
			if err != nil {
				return nil, 0, err
			}
			if ts >= 0 {
				cs = append(cs, candidate{s, ts})
			}
		}
		slices.SortStableFunc(cs, func(a, b candidate) int { return cmp.Compare(b.ts, a.ts) })
		var best candidate
		for _, c := range cs {
			if best.s != nil && c.ts <= best.ts {
				break
			}
			_, ts, _, found, err := c.s.searchTime(c.ts, start)
			if err == nil && !found {
				ts, err = c.s.largestFrom(start) // that record is below the start of the log, or was compacted away
			}
			if err != nil {
				return nil, 0, err
			}
			if ts >= 0 && (best.s == nil || ts > best.ts || ts == best.ts && c.s.base < best.s.base) {
				best = candidate{c.s, ts}
			}
		}
		return best.s, best.ts, nil
	})
}

// searchTime picks a segment and a timestamp, and finds the first record in it, or after it, that is not older.
func (l *Log) searchTime(pick func(start int64) (*segment, int64, error)) (offset, timestamp int64, epoch int32, found bool, err error) {
	for {
		if err = l.check(); err != nil {
			return
		}
		gen, segs := l.truncations.Load(), l.segs.Load()
		offset, timestamp, epoch, found, err = l.searchTimeOnce(pick)
		switch {
		case gen&1 != 0 || l.truncations.Load() != gen:
			l.awaitTruncation()
		case err != nil && l.segs.Load() != segs: // a segment went away under the search
		case err != nil:
			err = l.readError(err)
			return
		default:
			return
		}
	}
}

func (l *Log) searchTimeOnce(pick func(start int64) (*segment, int64, error)) (int64, int64, int32, bool, error) {
	start := l.start.Load()
	s, ts, err := pick(start)
	if err != nil || s == nil {
		return NoOffset, batch.NoTimestamp, NoEpoch, false, err
	}
	segs := l.list()
	for _, s := range segs[max(slices.Index(segs, s), 0):] {
		off, rts, epoch, found, err := s.searchTime(ts, start)
		if err != nil || found {
			return off, rts, epoch, found, err
		}
	}
	return NoOffset, batch.NoTimestamp, NoEpoch, false, nil
}

// searchTime finds the first record of the segment, at or after the offset start, that is not older than ts.
func (s *segment) searchTime(ts, start int64) (int64, int64, int32, bool, error) {
	s.imu.Lock()
	err := s.ensure()
	rel := lookupTime(s.times, ts)
	s.imu.Unlock()
	if err != nil {
		return 0, 0, 0, false, err
	}
	pos, err := s.position(max(s.base+rel, start))
	if err != nil {
		return 0, 0, 0, false, err
	}
	f, err := s.acquire()
	if err != nil {
		return 0, 0, 0, false, err
	}
	defer s.release()
	var buf []byte
	off, rts, epoch, found := NoOffset, int64(batch.NoTimestamp), NoEpoch, false
	var rerr error
	err = s.headers(pos, s.size.Load(), func(pos int64, h batch.Batch, size int64) bool {
		if h.MaxTimestamp() < ts || h.LastOffset() < start {
			return true
		}
		inEpoch := h.LeaderEpoch()
		buf, rerr = s.records(f, buf, pos, size, func(rec *batch.Record) bool {
			if found = rec.Timestamp >= ts && rec.Offset >= start; found {
				off, rts, epoch = rec.Offset, rec.Timestamp, inEpoch
			}
			return !found
		})
		return rerr == nil && !found
	})
	return off, rts, epoch, found, s.scanError(err, rerr)
}

// largestFrom is the largest timestamp of the segment's records at or after the offset start, by a look at all of its batches.
func (s *segment) largestFrom(start int64) (int64, error) {
	f, err := s.acquire()
	if err != nil {
		return 0, err
	}
	defer s.release()
	var buf []byte
	most := int64(batch.NoTimestamp)
	var rerr error
	err = s.headers(0, s.size.Load(), func(pos int64, h batch.Batch, size int64) bool {
		switch {
		case h.RecordCount() == 0 || h.LastOffset() < start || h.MaxTimestamp() <= most:
			return true
		case h.BaseOffset() >= start:
			most = h.MaxTimestamp()
			return true
		}
		buf, rerr = s.records(f, buf, pos, size, func(rec *batch.Record) bool {
			if rec.Offset >= start {
				most = max(most, rec.Timestamp)
			}
			return true
		})
		return rerr == nil
	})
	return most, s.scanError(err, rerr)
}

// records calls fn with the records of the batch of size bytes at pos, until it returns false. It returns buf, which it reads into.
func (s *segment) records(f File, buf []byte, pos, size int64, fn func(rec *batch.Record) bool) ([]byte, error) {
	buf = slices.Grow(buf[:0], int(size))[:size]
	if err := readFull(f, buf, pos); err != nil {
		return buf, err
	}
	r := readers.Get().(*batch.Reader)
	defer readers.Put(r)
	u, err := s.l.unpack(r, batch.Batch(buf), 0, false)
	defer u.done(r)
	if err != nil {
		return buf, err
	}
	for {
		rec, more := r.Next()
		if !more {
			return buf, r.Err()
		}
		if !fn(rec) {
			return buf, nil
		}
	}
}

// scanError is the error of a scan of headers, or of the records of one of the batches.
func (s *segment) scanError(err, rerr error) error {
	if err == nil && rerr != nil {
		err = fmt.Errorf("%s: %w", s.path(suffixLog), rerr)
	}
	return err
}
