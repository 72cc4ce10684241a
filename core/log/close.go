package log

import (
	"errors"
	"fmt"
	"time"
)

// Close syncs everything, writes indexes, producer snapshots and checkpoints, and leaves the marker of an orderly close.
// After a failure it only releases what it holds.
func (d *Dir) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	d.mu.Unlock()
	err := d.failure()
	clean := err == nil
	d.syncer.stop()
	// From here on nobody else writes checkpoints: the logs about to be closed no longer know what belongs in them.
	d.checkpointMu.Lock()
	d.checkpointed = true
	if clean {
		err = errors.Join(d.writeStarts(), d.writeCleaner())
	}
	d.checkpointMu.Unlock()
	if clean {
		ends, cerr := d.closeClean()
		err = errors.Join(err, cerr)
		if err == nil {
			err = d.writeOffsets(fileRecoveryPoint, ends)
		}
		if err == nil {
			err = d.leaveCleanMarker()
		}
	} else {
		err = errors.Join(err, d.each(d.list(), func(_ int, l *Log) error { return l.close() }))
	}
	d.zeroing.Wait()
	closed := ErrClosed
	d.failed.CompareAndSwap(nil, &closed)
	if g := d.syncer.group; g != nil {
		err = errors.Join(err, g.Close())
	}
	if d.lock == nil {
		return err // it never opened
	}
	return errors.Join(err, d.lock.Close())
}

// closeClean closes the logs so that opening need not recover them, and returns where each ends. The syncs of all partitions are one.
func (d *Dir) closeClean() (map[topicPartition]int64, error) {
	began, logs := time.Now(), d.list()
	p := d.progress("closing partitions", len(logs))
	defer p.stop()
	closings := make([]closing, len(logs))
	st := newSettlement(d, "close")
	err := d.each(logs, func(i int, l *Log) error {
		defer p.done.Add(1)
		return closings[i].begin(l, st)
	})
	if err == nil {
		p.next("syncing partitions")
		err = st.commit()
	}
	if err != nil {
		err = d.broken(fmt.Errorf("close: %w", err)) // the waiters are told
	}
	ends := make(map[topicPartition]int64, len(logs))
	for i, l := range logs {
		ends[topicPartition{l.topic, l.partition}] = closings[i].end
		err = errors.Join(err, closings[i].finish(err))
	}
	if err == nil {
		d.log.Info("partitions are closed", "dir", d.path, "partitions", len(logs), "took", time.Since(began).Round(time.Millisecond))
	}
	return ends, err
}

// closing is the orderly close of one log, together with all others of a directory. From begin to finish it holds cleanMu and the syncs.
type closing struct {
	l   *Log
	end int64
	was bool // closed before
}

// begin stops appends and writes what an orderly close leaves behind.
func (c *closing) begin(l *Log, s *settlement) error {
	c.l = l
	l.haste()
	l.holdSyncs()
	l.mu.Lock()
	defer l.mu.Unlock()
	c.end = l.end.Load()
	if c.was = l.closed; c.was {
		return nil
	}
	l.closed = true
	if err := l.giveBack(); err != nil {
		return err
	}
	c.settleRecords(s)
	if err := c.writeIndexes(s); err != nil {
		return err
	}
	for _, seg := range l.unsyncedIdx {
		for _, suffix := range []string{suffixIndex, suffixTimeIndex, suffixTxnIndex} {
			s.file(seg.path(suffix))
		}
	}
	if len(l.unsyncedIdx) > 0 {
		s.dir(l.dirPath())
	}
	if l.producers != nil || l.indexStale {
		if err := l.needProducers(); err != nil {
			return err
		}
		l.producers.mapEnd = max(l.producers.mapEnd, c.end)
		if err := l.writeSnapshot(l.producers, false); err != nil {
			return err
		}
	}
	written, err := l.epochs.writeAside(l.d.fs, l.dirPath())
	if err != nil {
		return err
	}
	if written != nil {
		written(false) // nobody else writes the file any more
		s.replace(l.file(fileEpochs))
		s.dir(l.dirPath())
	}
	return nil
}

// settleRecords has the records synced that are not.
func (c *closing) settleRecords(s *settlement) {
	l := c.l
	for _, df := range l.dirtySealed {
		s.written(df)
	}
	if l.activeDirty {
		s.written(dirtyFile{s: l.active, f: l.activeFile})
	}
	if l.newFile {
		s.dir(l.dirPath())
	}
	if l.newFolder {
		s.file(l.file(fileTopicID))
		s.dir(l.d.path)
	}
}

// writeIndexes writes those of the active segment.
func (c *closing) writeIndexes(s *settlement) error {
	l := c.l
	if !l.indexStale {
		return nil
	}
	seg := l.active
	seg.imu.Lock()
	defer seg.imu.Unlock()
	if err := seg.ensure(); err != nil {
		return err
	}
	seg.addTime() // the last entry is the segment's largest timestamp
	for suffix, p := range map[string][]byte{suffixIndex: formatOffsetIndex(seg.offsets), suffixTimeIndex: formatTimeIndex(seg.times)} {
		// In place: after a crash those of the active segment are made anew.
		if err := s.overwrite(seg.path(suffix), p); err != nil {
			return fmt.Errorf("write index: %w", err)
		}
	}
	s.file(seg.path(suffixTxnIndex))
	s.dir(l.dirPath()) // also what recovery has removed
	return nil
}

// finish tells those who wait, lets go of the files, and of the log's locks. failed is why the close is not orderly, or nil.
func (c *closing) finish(failed error) error {
	l := c.l
	if l == nil {
		return nil
	}
	defer l.cleanMu.Unlock()
	defer l.letSyncs()
	if c.was {
		return nil
	}
	if failed == nil && c.end > l.synced.Load() {
		l.synced.Store(c.end)
		l.wake(c.end)
		l.notify()
	}
	if failed != nil {
		l.wakeAll(failed)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.letGo()
}

// close closes a log without leaving anything in order.
func (l *Log) close() error {
	l.haste()
	defer l.cleanMu.Unlock()
	l.holdSyncs()
	defer l.letSyncs()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	return l.letGo()
}

// letGo answers those who wait and closes the files. Call with mu held.
func (l *Log) letGo() error {
	l.wakeAll(ErrClosed)
	var err error
	for _, s := range l.list() {
		err = errors.Join(err, s.close())
	}
	l.segs.Store(&[]*segment{})
	l.activeFile, l.active = nil, nil
	return err
}
