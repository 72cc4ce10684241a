package log

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
)

func syncFile(fsys FS, name string) error {
	f, err := fsys.OpenFile(name, os.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// checkpoint writes the directory's checkpoints.
func (d *Dir) checkpoint() error {
	return errors.Join(d.checkpointRecovery(), d.checkpointStarts(), d.checkpointCleaner())
}

// unpinIdle hands the file of the active segment to the clock when nothing was written since the last call, and gives back what was reserved for
// it: the files of ten thousand partitions that once were written to need not be open. The next append opens it again. Call with mu held.
func (l *Log) unpinIdle() {
	end := l.end.Load()
	if !l.activeDirty && end == l.idleAt && l.synced.Load() == end {
		if !l.config().Preallocate {
			_ = l.giveBack() // if it fails, the next call or the end of the segment does it
		}
		switch {
		case l.activeDirty: // it was cut off where its zeros began
			l.d.syncer.kick(l)
		case l.activeFile != nil:
			l.active.unpin()
			l.activeFile = nil
		}
	}
	l.idleAt = end
}

// unpinCrowded does so at once when as many files are open to be written to as may be open to be read. Call with mu held, after a sync.
func (l *Log) unpinCrowded() {
	if l.activeFile != nil && !l.activeDirty && l.crowded() {
		l.active.unpin()
		l.activeFile = nil
	}
}

// crowded says whether more files are open to be written to than may be open to be read.
func (l *Log) crowded() bool { return l.d.pinned.Load() > int64(l.d.opts.MaxOpenFiles) }

func (l *Log) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// checkpointStarts writes the start offsets that are not those of the first segment.
func (d *Dir) checkpointStarts() error {
	d.checkpointMu.Lock()
	defer d.checkpointMu.Unlock()
	if d.checkpointed {
		return ErrClosed
	}
	return d.writeStarts()
}

func (d *Dir) writeStarts() error {
	m := map[topicPartition]int64{}
	logs := d.list()
	starts := make([]int64, len(logs))
	for i, l := range logs {
		segs := l.list()
		starts[i] = l.start.Load()
		if len(segs) > 0 && starts[i] > segs[0].base {
			m[topicPartition{l.topic, l.partition}] = starts[i]
		}
		if at := l.resetAt.Load(); at != NoOffset {
			m[topicPartition{l.topic, l.partition}] = at
		}
	}
	if err := d.writeOffsets(fileLogStart, m); err != nil {
		return d.fail(err)
	}
	for i, l := range logs {
		l.startSaved.Store(starts[i])
	}
	return nil
}

// checkpointCleaner writes how far compaction came.
func (d *Dir) checkpointCleaner() error {
	d.checkpointMu.Lock()
	defer d.checkpointMu.Unlock()
	if d.checkpointed {
		return ErrClosed
	}
	return d.writeCleaner()
}

func (d *Dir) writeCleaner() error {
	m := maps.Clone(d.cleanerFile)
	for _, l := range d.list() {
		if !l.config().Compact {
			continue
		}
		if !l.cleanMu.TryLock() {
			continue // being compacted: what the file says stays true
		}
		if l.dirtyFrom > 0 {
			m[topicPartition{l.topic, l.partition}] = l.dirtyFrom
		}
		l.cleanMu.Unlock()
	}
	if maps.Equal(m, d.cleanerFile) {
		return nil
	}
	if err := d.writeOffsets(fileCleaner, m); err != nil {
		return d.fail(err)
	}
	d.cleanerFile = m
	return nil
}

// forgetCheckpoints removes a deleted partition from the checkpoints.
func (d *Dir) forgetCheckpoints(tp topicPartition) error {
	d.checkpointMu.Lock()
	defer d.checkpointMu.Unlock()
	if d.checkpointed {
		return ErrClosed
	}
	again := d.unforgotten[tp]
	d.unforgotten[tp] = true
	var err error
	if _, ok := d.recoveryFile[tp]; ok || again {
		delete(d.recoveryFile, tp)
		err = d.writeOffsets(fileRecoveryPoint, d.recoveryFile)
	}
	if _, ok := d.cleanerFile[tp]; ok || again {
		delete(d.cleanerFile, tp)
		err = errors.Join(err, d.writeOffsets(fileCleaner, d.cleanerFile))
	}
	if err != nil {
		return d.fail(err)
	}
	if err := d.writeStarts(); err != nil {
		return err
	}
	delete(d.unforgotten, tp)
	return nil
}

// forgetLeft removes what a deletion had to leave in the checkpoints, because the disk was full, before there is a partition of that name again.
func (d *Dir) forgetLeft(tp topicPartition) error {
	d.checkpointMu.Lock()
	left := d.unforgotten[tp]
	d.checkpointMu.Unlock()
	if !left {
		return nil
	}
	return d.forgetCheckpoints(tp)
}

// forgetStale takes partitions that are gone out of the checkpoints when the directory is opened: a crash came between their deletion
// and that. The offsets would be applied to a new partition of the name.
func (d *Dir) forgetStale(recovery, starts map[topicPartition]int64) error {
	stale := false
	for _, m := range []map[topicPartition]int64{recovery, starts, d.cleanerFile} {
		for tp := range m {
			if _, ok := d.logs[tp]; !ok {
				delete(m, tp)
				stale = true
			}
		}
	}
	if !stale {
		return nil
	}
	err := errors.Join(d.writeOffsets(fileRecoveryPoint, recovery), d.writeOffsets(fileCleaner, d.cleanerFile))
	if err == nil {
		err = d.writeStarts()
	}
	return err
}

// flushDue syncs what flush.ms asks for.
func (d *Dir) flushDue(ctx context.Context) error {
	now := d.nowMs()
	for _, l := range d.list() {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // being stopped is no failure of the log
		}
		l.mu.Lock()
		due := l.unflushed > 0 && now-l.lastFlush >= l.config().FlushMs || len(l.dirtySealed) > 0
		l.mu.Unlock()
		if due {
			d.syncer.kick(l)
		}
	}
	return nil
}

func (d *Dir) expireProducers(context.Context) error {
	now, after := d.nowMs(), d.tuning.Load().ProducerIDExpiration.Milliseconds()
	for _, l := range d.list() {
		l.mu.Lock()
		if l.producers != nil {
			l.producers.expires = after
			l.producers.expire(now)
		}
		l.mu.Unlock()
	}
	return nil
}

// retain applies retention to all partitions. The starts rise, and are on disk, before the files go: a crash in between must not
// show a log with a hole in what was expired. Where the disk is too full for that, they go in order, each durably before the next: retention
// is what makes room.
func (d *Dir) retain(ctx context.Context) error { return d.retainLogs(ctx, d.list()) }

func (d *Dir) retainLogs(ctx context.Context, logs []*Log) error {
	var err error
	note := func(l *Log, lerr error) {
		if lerr != nil && !errors.Is(lerr, ErrClosed) {
			err = errors.Join(err, fmt.Errorf("retention of %s: %w", l.id, lerr))
		}
	}
	var expired []*Log
	unsaved, inOrder := false, false
	for _, l := range logs {
		if ctx.Err() != nil || d.failure() != nil {
			break
		}
		n, lerr := l.expire()
		if n > 0 {
			expired = append(expired, l)
			unsaved = unsaved || l.startSaved.Load() < l.start.Load()
		}
		note(l, lerr)
	}
	if unsaved {
		cerr := d.checkpointStarts()
		if inOrder = isFull(cerr); cerr != nil && !inOrder {
			return errors.Join(err, cerr)
		}
	}
	for _, l := range expired {
		note(l, l.dropExpired(inOrder))
	}
	if len(expired) > 0 {
		err = errors.Join(err, d.checkpointStarts())
	}
	return err
}

// expire raises the start past the oldest segments that the start offset, retention.ms or retention.bytes have no room for, as
// long as they lie below the high watermark. It returns how many segments are to go. A log that is being
// compacted gets its turn afterwards: the others must not wait for that.
func (l *Log) expire() (n int, err error) {
	if !l.configured.Load() {
		return 0, nil
	}
	if !l.cleanMu.TryLock() {
		l.passedBy.Store(true)
		return 0, nil
	}
	defer l.cleanMu.Unlock()
	if err := l.check(); err != nil {
		return 0, err
	}
	cfg, now, hw := l.config(), l.d.nowMs(), l.highWatermark()
	segs := l.list()
	start, over := l.start.Load(), l.Size()-cfg.RetentionBytes
	upTo := start
	for i, s := range segs {
		next := l.end.Load()
		if i+1 < len(segs) {
			next = segs[i+1].base
		}
		size := s.size.Load()
		if next > hw || size == 0 && i == len(segs)-1 {
			break
		}
		why := ""
		switch {
		case next <= start && i+1 < len(segs):
			why = "log start offset"
		case cfg.Delete && cfg.RetentionMs >= 0:
			ts, _, err := s.largestTimestamp()
			if err != nil {
				return 0, err
			}
			if ts < 0 {
				if ts = s.created; i+1 < len(segs) {
					ts = l.modified(s)
				}
			}
			if now-ts > cfg.RetentionMs {
				why = "retention.ms"
			}
		}
		if why == "" && cfg.Delete && cfg.RetentionBytes >= 0 && over-size >= 0 {
			why = "retention.bytes"
		}
		if why == "" {
			break
		}
		over -= size
		l.d.log.Info("segment expired", "partition", l.id, "baseOffset", s.base, "bytes", size, "because", why)
		upTo = next
		n++
	}
	l.raiseStart(upTo)
	return n, nil
}

// dropExpired deletes the segments below the start, durably, unless the log is being compacted. inOrder has each of them go durably before
// the next.
func (l *Log) dropExpired(inOrder bool) error {
	if !l.cleanMu.TryLock() {
		l.passedBy.Store(true)
		return nil
	}
	defer l.cleanMu.Unlock()
	if err := l.check(); err != nil {
		return err
	}
	segs, start, n := l.list(), l.start.Load(), 0
	for ; n < len(segs); n++ {
		next := l.end.Load()
		if n+1 < len(segs) {
			next = segs[n+1].base
		}
		if next > start || n+1 == len(segs) && segs[n].size.Load() == 0 {
			break
		}
	}
	if n == 0 {
		return nil
	}
	at := n
	if inOrder {
		at = 1
	}
	for ; n > 0; n -= at {
		if err := l.dropSegments(at); err != nil {
			return err
		}
		// Before the checkpoint of start offsets forgets them: the files must not come back after a crash.
		if err := l.d.fs.SyncDir(l.dirPath()); err != nil {
			return l.d.broken(err)
		}
	}
	return nil
}

// modified is the time of the last change of a segment's file, in milliseconds; for records without timestamps.
func (l *Log) modified(s *segment) int64 {
	st, err := l.d.fs.Stat(s.path(suffixLog))
	if err != nil {
		return l.d.nowMs()
	}
	return st.ModTime().UnixMilli()
}

// dropSegments deletes the n oldest segments; when that is all of them, an empty one takes their place. Call with
// cleanMu held.
func (l *Log) dropSegments(n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	if n == len(l.list()) {
		if err := l.roll(); err != nil {
			return err
		}
	}
	segs := l.list()
	gone := segs[:n]
	kept := slices.Clone(segs[n:])
	// The start rises before the files go: readers below it get ErrOffsetOutOfRange and not a closed file.
	if base := kept[0].base; base > l.start.Load() {
		l.start.Store(base)
		l.epochs.truncateStart(base)
		if l.producers != nil {
			l.producers.truncateStart(base)
			l.publishTxn()
		}
	}
	l.segs.Store(&kept)
	l.forgetDirty(gone)
	for _, s := range gone {
		if err := l.dropFiles(s); err != nil {
			return l.d.fail(err)
		}
	}
	if err := l.removeSnapshots(func(o int64) bool { return o < kept[0].base }); err != nil {
		return l.d.fail(err)
	}
	return nil
}

// forgetDirty takes segments that leave the log out of the lists of what is to be synced. Call with mu held.
func (l *Log) forgetDirty(gone []*segment) {
	l.dirtySealed = slices.DeleteFunc(l.dirtySealed, func(f dirtyFile) bool { return slices.Contains(gone, f.s) })
	l.unsyncedIdx = slices.DeleteFunc(l.unsyncedIdx, func(s *segment) bool { return slices.Contains(gone, s) })
}

// dropFiles closes a segment that left the list and renames its files away.
func (l *Log) dropFiles(s *segment) error {
	if err := s.close(); err != nil {
		return err
	}
	return s.deleteFiles()
}
