package log

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/moldau-io/moldau/core/log/batch"
)

// TruncateTo removes everything at and after offset: what a follower does when it diverged from its leader. The batch that
// holds offset goes as a whole, so the log may end below it. Waiters for removed offsets get ErrTruncated. It is durable
// when it returns.
func (l *Log) TruncateTo(offset int64) error {
	if err := l.check(); err != nil {
		return err
	}
	if offset < 0 {
		return fmt.Errorf("truncate %s to %d: the offset is negative", l.id, offset)
	}
	if offset >= l.end.Load() {
		return nil
	}
	if offset <= l.list()[0].base {
		return l.truncate(func() error { return l.resetTo(offset) }, offset, offset)
	}
	return l.truncate(func() error {
		if offset <= l.list()[0].base {
			return l.resetTo(offset) // retention was faster
		}
		return l.cutTo(offset)
	}, offset, NoOffset)
}

// endBefore is where the log ends once the batch that holds offset, and all after it, are gone. Call with cleanMu held: what lies before
// an offset of the log then stays as it is.
func (l *Log) endBefore(offset int64) (int64, error) {
	segs := l.list()
	keep := find(segs, offset)
	if keep > 0 && segs[keep].base == offset {
		keep--
	}
	if keep < 0 {
		return offset, nil
	}
	s := segs[keep]
	end := s.base
	err := s.headers(0, s.size.Load(), func(_ int64, h batch.Batch, _ int64) bool {
		if h.LastOffset() >= offset {
			return false
		}
		end = h.NextOffset()
		return true
	})
	return min(end, offset), err
}

// TruncateFullyAndStartAt empties the log and begins anew at offset: what a follower does whose leader has nothing left of
// what it has.
func (l *Log) TruncateFullyAndStartAt(offset int64) error {
	if err := l.check(); err != nil {
		return err
	}
	return l.truncate(func() error { return l.resetTo(offset) }, 0, offset)
}

// truncate runs fn as a truncation: alone, with appends and syncs held off, and readers told to repeat.
// The recovery point on disk is lowered before, to where the log will end, which may be below offset: what is written in place of the
// removed batches must be checked and synced after a crash. When the log is to begin anew at reset, that is noted as well, for an opening that finds nothing left.
func (l *Log) truncate(fn func() error, offset, reset int64) error {
	l.haste()
	defer l.cleanMu.Unlock()
	if err := l.check(); err != nil {
		return err
	}
	end, err := l.endBefore(offset)
	if err != nil {
		return l.d.fail(fmt.Errorf("truncate %s: %w", l.id, err))
	}
	l.recoveryCap.Store(end)
	defer l.recoveryCap.Store(math.MaxInt64)
	if err := l.d.checkpointRecovery(); err != nil {
		return err
	}
	if reset != NoOffset {
		l.resetAt.Store(reset)
		defer l.resetAt.Store(NoOffset)
		if err := l.d.checkpointStarts(); err != nil {
			return err
		}
	}
	l.holdSyncs()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		l.letSyncs()
		return ErrClosed
	}
	l.truncations.Add(1)
	start := l.start.Load()
	err = fn()
	if err == nil {
		end := l.end.Load()
		l.synced.Store(min(l.synced.Load(), end))
		l.dirtyFrom = min(l.dirtyFrom, end)
	}
	l.truncations.Add(1)
	end = l.end.Load()
	l.mu.Unlock()
	if err == nil {
		err = l.syncNow()
	}
	l.letSyncs()
	l.resetAt.Store(NoOffset)
	if err == nil && l.start.Load() != start {
		// A start past the end of what is written from now on would have the next opening throw that away.
		err = l.d.checkpointStarts()
	}
	if err != nil {
		return l.d.broken(fmt.Errorf("truncate %s: %w", l.id, err))
	}
	l.wakeTruncated(end)
	l.notify()
	return nil
}

// resetTo leaves one empty segment at offset. Call with mu held.
func (l *Log) resetTo(offset int64) error {
	if err := l.discardAll(l.list()); err != nil {
		return err
	}
	l.segs.Store(&[]*segment{})
	l.active, l.activeFile, l.activeDirty, l.dirtySealed, l.unsyncedIdx = nil, nil, false, nil, nil
	l.epochs.replace(nil) // the file too, which may not have been read
	if err := l.openSegment(offset); err != nil {
		return err
	}
	l.end.Store(offset)
	l.start.Store(offset)
	l.producers = newProducers(l.d.tuning.Load().ProducerIDExpiration.Milliseconds())
	l.producers.mapEnd = offset
	l.publishTxn()
	if err := l.removeSnapshots(func(int64) bool { return true }); err != nil {
		return err
	}
	return l.epochs.flush(l.d.fs, l.dirPath())
}

// discardAll removes segments for good from the newest to the oldest, each durably before the next: a crash in between leaves a log
// without a hole.
func (l *Log) discardAll(segs []*segment) error {
	for _, s := range slices.Backward(segs) {
		if err := l.discard(s); err != nil {
			return err
		}
		if err := l.d.fs.SyncDir(l.dirPath()); err != nil {
			return err
		}
	}
	return nil
}

// discard removes a segment for good: nothing may bring back what a truncation took.
func (l *Log) discard(s *segment) error {
	if err := s.close(); err != nil {
		return err
	}
	return l.removeSegmentFiles(s.base)
}

func (l *Log) removeSegmentFiles(base int64) error {
	var err error
	for _, suffix := range []string{suffixLog, suffixIndex, suffixTimeIndex, suffixTxnIndex} {
		err = errors.Join(err, removeIfExists(l.d.fs, l.file(offsetName(base, suffix))))
	}
	return err
}

// cutTo truncates at an offset inside the log. Call with mu held.
func (l *Log) cutTo(offset int64) error {
	segs := l.list()
	keep := find(segs, offset)
	if segs[keep].base == offset {
		keep-- // not the first: TruncateTo checked
	}
	if err := l.discardAll(segs[keep+1:]); err != nil {
		return err
	}
	s := segs[keep]
	l.dirtySealed = slices.DeleteFunc(l.dirtySealed, func(f dirtyFile) bool { return slices.Contains(segs[keep:], f.s) })
	l.unsyncedIdx = slices.DeleteFunc(l.unsyncedIdx, func(u *segment) bool { return slices.Contains(segs[keep:], u) })
	f, err := s.pin()
	if err != nil {
		return err
	}
	from, err := s.position(offset)
	if err != nil {
		return err
	}
	size, end := s.size.Load(), int64(0)
	at := size
	err = s.headers(from, size, func(pos int64, h batch.Batch, n int64) bool {
		if h.LastOffset() >= offset {
			at = pos
			return false
		}
		return true
	})
	if err != nil {
		return err
	}
	end = s.base
	// The end is what follows the last batch that stays; a compacted batch keeps its last offset, so the scan finds it.
	err = s.headers(0, at, func(_ int64, h batch.Batch, _ int64) bool { end = h.NextOffset(); return true })
	if err != nil {
		return err
	}
	if at == size && keep == len(segs)-1 {
		return nil
	}
	if err := f.Truncate(at); err != nil {
		return err
	}
	s.gaveBack()
	s.size.Store(at)
	l.d.indexes.drop(s.iitem)
	s.imu.Lock()
	s.active = true
	err = s.rebuild()
	if err == nil {
		// The index files of an active segment may be missing but never be wrong.
		err = s.truncateTxnIndex(end)
	}
	s.imu.Unlock()
	if err != nil {
		return err
	}
	kept := slices.Clone(segs[:keep+1])
	l.segs.Store(&kept)
	l.active, l.activeFile, l.activeDirty, l.newFile, l.indexStale = s, f, true, true, true
	// If the segment was empty its base says more than the batches do.
	end = max(end, s.base)
	l.end.Store(end)
	l.epochs.truncateEnd(end)
	if err := l.epochs.flush(l.d.fs, l.dirPath()); err != nil {
		return err
	}
	if err := l.removeSnapshots(func(o int64) bool { return o > end }); err != nil {
		return err
	}
	l.producers = nil
	if l.start.Load() > end {
		l.start.Store(end)
	}
	return l.needProducers()
}

// truncateTxnIndex removes the transactions that ended at or after end. Call with imu held.
func (s *segment) truncateTxnIndex(end int64) error {
	ts, err := s.readTxns()
	if err != nil || len(ts) == 0 {
		return err
	}
	ts = slices.DeleteFunc(ts, func(t AbortedTxn) bool { return t.LastOffset >= end })
	return s.writeBeside(s.path(suffixTxnIndex), formatTxnIndex(ts), true)
}

// DeleteRecordsBefore moves the start of the log up to offset (KIP-107). It is checkpointed durably before it returns;
// the segments that are then entirely below go with the next retention run. ErrOffsetOutOfRange past the high watermark.
func (l *Log) DeleteRecordsBefore(offset int64) error {
	if err := l.check(); err != nil {
		return err
	}
	if offset < 0 || offset > l.highWatermark() {
		return fmt.Errorf("%w: delete records of %s before %d, the high watermark is %d", ErrOffsetOutOfRange, l.id, offset, l.highWatermark())
	}
	if l.raiseStart(offset); l.startSaved.Load() >= offset {
		return nil
	}
	return l.d.checkpointStarts() // also when the start was raised before: that may not be on disk yet
}

// RaiseStart moves the start of a follower's log up to its leader's. It is checkpointed with the others.
func (l *Log) RaiseStart(offset int64) error {
	if err := l.check(); err != nil {
		return err
	}
	l.raiseStart(min(offset, l.end.Load()))
	return nil
}

func (l *Log) raiseStart(offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if offset <= l.start.Load() {
		return
	}
	l.start.Store(offset)
	l.epochs.truncateStart(offset)
	if l.producers != nil {
		l.producers.truncateStart(offset)
		l.publishTxn()
	}
}
