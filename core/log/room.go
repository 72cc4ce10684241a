package log

import "fmt"

// The file system takes room for what is written behind a file's end block by block, under locks and counted by quota. Where blocks are reserved
// ahead, many at a time, it only looks them up: writing a GiB into the page cache took 0.50 s in pieces of 16 KiB and 0.20 s in pieces of a MiB
// on ext4, and takes 0.40 and 0.13 s. Syncs take as long as before, for blocks that are not reserved are marked as not yet written as well.
//
// What is reserved and not used is given back when the segment is sealed, when nothing was appended for a while and when the log is
// closed. After a crash it stays with the file until then, or until the file is removed. The file's size never tells of it, unless it was written with
// zeros: see zeroRules.

// roomRules say how much is reserved ahead of the end of a segment: an eighth of its size, so that small partitions take little more than
// they hold.
type roomRules struct {
	from  int64 // not for segments smaller than that
	least int64 // not worth less than that
	most  int64
	share int64 // of what the disk has left no more than one part of so many
	again int64 // after how many bytes to look again when there was nothing to be had
}

var defaultRoom = roomRules{from: 4 << 20, least: 256 << 10, most: 16 << 20, share: 1024, again: 4 << 20}

// ahead returns up to where room is to be reserved for a segment of size bytes that may grow to limit, with free bytes left on the disk: no
// more than size when it is not worth it.
func (r roomRules) ahead(size, limit, free int64) int64 {
	n := min(size/8, r.most, free/r.share, limit-size)
	if size < r.from || size >= limit || n < r.least && n < limit-size {
		return size
	}
	return size + n
}

// reserver is a File of a file system that can reserve room.
type reserver interface {
	// Reserve reserves the blocks from a position to another and keeps the file's size. Truncate gives back those behind the end. A file system
	// that cannot is no error.
	Reserve(from, to int64) error
	// Ahead returns how many bytes the file system has left, and what is of use there ahead of a file's end.
	Ahead() (free int64, use ahead)
}

// ahead is what is of use ahead of the end of a file that grows.
type ahead struct {
	reserve bool // blocks
	zeros   bool // bytes: what is written over them stays where they are
}

// makeRoom reserves room for the active segment when it is about to grow to end. That it cannot be had is no error: the write will tell. Call with mu held.
func (l *Log) makeRoom(end int64, cfg *Config) {
	s, rules := l.active, &l.d.opts.room
	if end < rules.from || l.crowded() {
		return
	}
	f, ok := l.activeFile.(reserver)
	if !ok {
		return
	}
	free, use := f.Ahead()
	o := outlook{end: end, limit: rules.ahead(end, cfg.SegmentBytes, free), written: end - s.asked, syncs: s.syncs, first: s.room == 0, synced: l.needsSync(cfg, 1), use: use}
	s.room = end + rules.again
	if o.limit <= end {
		return
	}
	p := l.d.opts.zeros.plan(o, rules)
	if p.zeros > end && l.zeroAhead(p.zeros) {
		s.asked, s.syncs, s.room = end, 0, p.zeros-(p.zeros-end)/2
		return
	}
	if p.forget {
		s.asked, s.syncs = end, 0
	}
	if use.reserve {
		s.reserved = true
		if f.Reserve(s.size.Load(), o.limit) != nil {
			return
		}
	}
	s.room = p.room
}

// giveBack frees what was reserved or written with zeros behind the end of the active segment. Where there were zeros the file is to be synced again. Call
// with mu held.
func (l *Log) giveBack() error {
	s := l.active
	blank := s.blank()
	if !s.reserved && !blank {
		return nil
	}
	if blank {
		if err := l.needActive(); err != nil {
			return err
		}
	}
	f := l.activeFile
	if f == nil {
		var err error
		if f, err = s.pin(); err != nil {
			return err
		}
		defer s.unpin()
	}
	if err := f.Truncate(s.size.Load()); err != nil {
		return fmt.Errorf("trim segment: %w", err)
	}
	l.activeDirty = l.activeDirty || blank
	s.gaveBack()
	return nil
}

// gaveBack notes that the file was cut off at its end. Call with Log.mu held.
func (s *segment) gaveBack() { s.room, s.reserved, s.zeroed, s.zeroGoal = 0, false, 0, 0 }

// blank says whether there are zeros behind the end. Call with Log.mu held.
func (s *segment) blank() bool { return s.zeroed > s.size.Load() }
