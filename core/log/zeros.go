package log

import (
	"fmt"
	"sync/atomic"
)

// A sync of a file that has grown waits for two things: for the data, and after that for the file system's own books, which say that the file is longer
// now and which blocks are its data. Where a journal keeps the books that is a commit of the journal, with writes of its own in order. A sync of bytes that
// were written before, within the file's size, waits for the data alone: databases write their logs' files full of zeros for that. On ext4 with a
// journal a sync of 30 KB takes 0.4 ms instead of 1.2, on XFS 0.35 instead of 0.9, on ext4 without a journal 0.25 instead of 0.45 (docs/benchmarks.md).
//
// So zeros are written ahead of the end of a segment whose syncs are small, instead of reserving blocks there: as much as roomRules say but no more than
// some times what was written since there were any last, and anew when half of it is used up. So they become more as long as a segment is written to, and
// one with a few records now and then, whose zeros are cut off each time that it is idle, has hardly any. Every byte goes to the disk twice then. Where
// syncs are large that costs more than it gains, and blocks are reserved as ever.
//
// The invariant: behind the segment's end there are zeros up to the file's end, and nothing but zeros. It holds because a piece of them is written
// with Log.mu held, as records are, behind the end as it is then, and because whoever makes the end smaller cuts the file there. Nobody waits for
// zeros: an append that comes before them writes as it always did. Between the pieces, without locks, each one is written to the disk: a
// sync that comes meanwhile has no more than one piece to write for them.
//
// That they are durable is never counted on. What is counted on is that they are gone where the file's size is believed: sealing and closing cut them
// off, and have that made durable with the records. A segment that a crash leaves with zeros is recovered, since it was the active one or not yet synced
// after it was sealed; see scan.blank.
type zeroRules struct {
	piece int64 // so many bytes, zeroPiece at most, are written with the log's lock held
	most  int64 // for segments whose syncs made no more bytes durable than that, on average
	syncs int64 // over at least so many of them
	times int64 // what was written since
	logs  int64 // in so many logs of a directory at a time: where more are synced at once, one sync does it for all
}

const zeroPiece = 512 << 10

var defaultZeros = zeroRules{piece: zeroPiece, most: 64 << 10, syncs: 4, times: 4, logs: groupFrom}

// outlook is what is known when there is to be room ahead of a segment's end.
type outlook struct {
	end, limit     int64 // where the records end, and up to where there may be room
	written, syncs int64 // bytes and syncs since there were any zeros last, or it was known that its syncs are large
	first          bool  // there was no room yet, or it was given back
	synced         bool  // each append is followed by a sync
	use            ahead
}

// plan is what to do about it.
type plan struct {
	zeros  int64 // up to where zeros are to be written, if that is behind the end
	forget bool  // its syncs are large: they are to be counted anew
	room   int64 // without zeros, when to look again
}

func (r zeroRules) plan(o outlook, rules *roomRules) (p plan) {
	known := o.syncs >= r.syncs
	small := known && o.written/o.syncs <= r.most
	p.forget = known && !small
	if p.room = o.limit; !o.use.reserve {
		p.room = o.end + rules.again
	}
	if !o.use.zeros {
		return p
	}
	if goal := min(o.limit, o.end+r.times*o.written); small && goal-o.end >= rules.least {
		p.zeros = goal
	}
	if o.synced && (small || !known && (o.first || o.syncs > 0)) {
		p.room = min(p.room, o.end+rules.least) // it is soon known how large its syncs are, or there are zeros to be had
	}
	return p
}

// next is the piece to be written of a file whose records end at size, which is zeros up to zeroed and is to be up to goal: pieces end at multiples
// of their size. There is none when from is not below to.
func (r zeroRules) next(size, zeroed, goal int64) (from, to int64) {
	from = max(size, zeroed)
	return from, min(goal, (from/r.piece+1)*r.piece)
}

// zeroBytes are those of all directories.
var zeroBytes [zeroPiece]byte

// zeroAhead has the active segment written with zeros up to goal, on a goroutine of its own. It is false when too many are already at it. Call with mu held.
func (l *Log) zeroAhead(goal int64) bool {
	s := l.active
	if !s.zeroing {
		if !takeOne(&l.d.zeroers, l.d.opts.zeros.logs) {
			return false
		}
		s.zeroing = true
		s.hold()
		l.d.zeroing.Add(1)
		go func() {
			defer l.d.zeroing.Done()
			defer l.d.zeroers.Add(-1)
			defer s.release()
			l.writeZeros(s)
		}()
	}
	s.zeroGoal = goal
	return true
}

// takeOne adds one to a count that may not exceed limit.
func takeOne(n *atomic.Int64, limit int64) bool {
	if n.Add(1) <= limit {
		return true
	}
	n.Add(-1)
	return false
}

// writeZeros writes zeros behind the end of a segment, piece by piece, until there are as many as are wanted or it is no longer the active one. That a
// piece cannot be written to the disk fails the directory as a failed sync does: the descriptor has been told of it, and will not be again.
func (l *Log) writeZeros(s *segment) {
	for {
		f, from, to := l.writeZeroPiece(s)
		if f == nil {
			return
		}
		w, ok := f.(outWriter)
		if !ok {
			continue
		}
		if err := w.WriteOut(from, to); err != nil {
			l.wakeAll(l.d.broken(fmt.Errorf("write zeros ahead in %s: %w", s.path(suffixLog), err)))
		}
	}
}

// writeZeroPiece writes the next piece and returns the file and where the piece is; no file when there is none, or no room for it.
func (l *Log) writeZeroPiece(s *segment) (f File, from, to int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rules := &l.d.opts.zeros
	size := s.size.Load()
	from, to = rules.next(size, s.zeroed, s.zeroGoal)
	f = l.activeFile
	if l.closed || l.active != s || f == nil || from >= to || l.d.failure() != nil {
		s.zeroing = false
		return nil, 0, 0
	}
	// From here on the file may be longer than the records: also when the write fails half-way.
	s.zeroed = to
	if _, err := f.WriteAt(zeroBytes[:to-from], from); err != nil {
		s.zeroing, s.zeroGoal = false, 0
		if l.giveBack() == nil {
			s.room = size + l.d.opts.room.again // records may find room yet
		}
		return nil, 0, 0
	}
	return f, from, to
}
