package log

import (
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
		var best *segment
		most := int64(batch.NoTimestamp)
		for _, s := range l.list() {
			ts, off, err := s.largestTimestamp()
			if err != nil {
				return nil, 0, err
			}
			if ts > most && off >= start {
				best, most = s, ts
			}
		}
		return best, most, nil
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
	r := readers.Get().(*batch.Reader)
	defer readers.Put(r)
	var buf []byte
	off, rts, epoch, found := NoOffset, int64(batch.NoTimestamp), NoEpoch, false
	var rerr error
	err = s.headers(pos, s.size.Load(), func(pos int64, h batch.Batch, size int64) bool {
		if h.MaxTimestamp() < ts || h.LastOffset() < start {
			return true
		}
		buf = slices.Grow(buf[:0], int(size))[:size]
		if rerr = readFull(f, buf, pos); rerr != nil {
			return false
		}
		var u unpacked
		u, rerr = s.l.unpack(r, batch.Batch(buf), 0, false)
		defer u.done(r)
		if rerr != nil {
			return false
		}
		for {
			rec, more := r.Next()
			if !more {
				rerr = r.Err()
				return rerr == nil
			}
			if rec.Timestamp >= ts && rec.Offset >= start {
				off, rts, epoch, found = rec.Offset, rec.Timestamp, h.LeaderEpoch(), true
				return false
			}
		}
	})
	if err == nil && rerr != nil {
		err = fmt.Errorf("%s: %w", s.path(suffixLog), rerr)
	}
	return off, rts, epoch, found, err
}
