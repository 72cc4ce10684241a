package log

import "fmt"

// The file system takes room for what is written behind a file's end block by block, under locks and counted by quota. Where blocks are reserved
// ahead, many at a time, it only looks them up: writing a GiB into the page cache took 0.50 s in pieces of 16 KiB and 0.20 s in pieces of a MiB
// on ext4, and takes 0.40 and 0.13 s. Syncs take as long as before, for blocks that are not reserved are marked as not yet written as well.
//
// What is reserved and not used is given back when the segment is sealed, when nothing was appended for a while and when the log is
// closed. After a crash it stays with the file until then, or until the file is removed. The file's size never tells of it.

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
	// Free returns how many bytes the file system has left, 0 when reserving blocks ahead is of no use there.
	Free() int64
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
	to := rules.ahead(end, cfg.SegmentBytes, f.Free())
	if to > end {
		s.reserved = true
		if f.Reserve(s.size.Load(), to) == nil {
			s.room = to
			return
		}
	}
	s.room = end + rules.again
}

// giveBack frees what was reserved behind the end of the active segment. Call with mu held.
func (l *Log) giveBack() error {
	s := l.active
	if !s.reserved {
		return nil
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
	s.gaveBack()
	return nil
}

// gaveBack notes that the file was cut off at its end. Call with Log.mu held.
func (s *segment) gaveBack() { s.room, s.reserved = 0, false }
