package log

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/moldau-io/moldau/core/log/batch"
)

const createFlags = os.O_RDWR | os.O_CREATE | os.O_TRUNC

// Origin says where batches come from; it decides what is checked.
type Origin int8

const (
	// Client batches are checked in full: records, timestamps, size, sequences. Their offsets are assigned.
	Client Origin = iota
	// Coordinator batches are the broker's own (group and transaction state, markers). Control batches are allowed and
	// sequences are not checked; the rest is as for clients.
	Coordinator
	// Replica batches were checked by the leader: only checksums are, and offsets, epochs and timestamps stay as they are.
	Replica
)

// AppendOptions go with an append.
type AppendOptions struct {
	// LeaderEpoch is stamped into the batches of a Client or Coordinator.
	LeaderEpoch int32
	Origin      Origin
	// Guard permits a transactional batch to begin its transaction in this log; see StartVerification.
	Guard Guard
	// TransactionVersion is that of the transaction a marker ends. From 2 on its epoch is one that the producer did not write with.
	TransactionVersion int16
	// SyncLater, when not nil, collects the log for a sync that would otherwise begin with this append.
	SyncLater *SyncLater
}

// AppendResult says where batches went.
type AppendResult struct {
	BaseOffset      int64
	LastOffset      int64
	LogAppendTimeMs int64 // -1 unless message.timestamp.type is LogAppendTime
	LogStartOffset  int64
	Duplicate       bool // nothing was written: the producer repeats an append that is in the log at these offsets
}

// Append writes one or more record batches v2 that lie back to back. Base offset and leader epoch are written into the
// caller's buffer (and the largest timestamp and checksum, when they must change); the buffer is not kept. It returns
// when the bytes are in the page cache; WaitDurable and NotifyDurable tell when they are durable.
//
// Errors that refuse the append and leave the log as it was: ErrCorruptMessage, ErrMessageTooLarge,
// ErrRecordListTooLarge, *InvalidRecordError, ErrUnsupportedFormat, ErrUnsupportedCompression, ErrOutOfOrderSequence,
// ErrInvalidProducerEpoch, ErrInvalidTxnState, ErrCoordinatorFenced, ErrOutOfOrderOffsets. A write that fails is ErrStorage.
func (l *Log) Append(batches []byte, o AppendOptions) (AppendResult, error) {
	if err := l.check(); err != nil {
		return AppendResult{}, err
	}
	cfg := l.config()
	in, err := l.validate(batches, o, cfg)
	if err != nil {
		return AppendResult{}, err
	}
	res, records, err := l.appendLocked(in, o, cfg)
	if err != nil || res.Duplicate {
		return res, err
	}
	if l.needsSync(cfg, records) {
		if o.SyncLater != nil {
			o.SyncLater.add(l, len(batches))
		} else {
			l.d.syncer.kick(l)
		}
	}
	l.notify()
	return res, nil
}

// needsSync says whether an append is followed by a sync of itself.
func (l *Log) needsSync(cfg *Config, unflushed int64) bool {
	return l.durability() == DurabilityFsync || unflushed >= cfg.FlushMessages
}

// incoming is what validation found out about the batches of an append.
type incoming struct {
	data   []byte
	count  int   // batches
	delta  int64 // offsets that they take
	hasPID bool
}

// appendLocked assigns offsets and writes. It returns the records that are not synced yet.
func (l *Log) appendLocked(in incoming, o AppendOptions, cfg *Config) (AppendResult, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return AppendResult{}, 0, ErrClosed
	}
	if in.hasPID || o.Origin == Replica {
		if err := l.needProducers(); err != nil {
			return AppendResult{}, 0, err
		}
	}
	if in.hasPID {
		dup, err := l.producers.check(batch.Batch(in.data), o)
		if err != nil {
			return AppendResult{}, 0, err
		}
		if dup != nil {
			r := AppendResult{BaseOffset: dup.lastOffset - int64(dup.delta), LastOffset: dup.lastOffset, LogAppendTimeMs: -1, LogStartOffset: l.start.Load(), Duplicate: true}
			if cfg.LogAppendTime {
				r.LogAppendTimeMs = dup.timestamp
			}
			return r, 0, nil
		}
	}
	first := l.end.Load()
	next, now := first, int64(-1)
	if o.Origin == Replica {
		// Followers keep the leader's offsets; after compaction there they may leave gaps, but never go back.
		for rest := in.data; len(rest) > 0; {
			var b batch.Batch
			b, rest, _ = batch.Next(rest)
			if b.BaseOffset() < next {
				return AppendResult{}, 0, fmt.Errorf("%w: batch at offset %d, the log ends at %d", ErrOutOfOrderOffsets, b.BaseOffset(), next)
			}
			next = b.NextOffset()
		}
		first = batch.Batch(in.data).BaseOffset()
	} else {
		if cfg.LogAppendTime {
			now = max(l.d.nowMs(), l.appendTime)
			l.appendTime = now
		}
		if first > math.MaxInt64-in.delta-1 {
			return AppendResult{}, 0, fmt.Errorf("%w: offsets are exhausted", ErrStorage)
		}
		for rest := in.data; len(rest) > 0; {
			var b batch.Batch
			b, rest, _ = batch.Next(rest)
			b.SetBaseOffset(next)
			b.SetLeaderEpoch(o.LeaderEpoch)
			if now >= 0 {
				b.SetMaxTimestamp(now, true)
				b.UpdateCRC()
			}
			next = b.NextOffset()
		}
	}
	if err := l.write(in.data, cfg); err != nil {
		if !isFull(err) || l.d.failure() != nil {
			return AppendResult{}, 0, l.d.broken(err)
		}
		if uerr := l.undoWrite(); uerr != nil {
			return AppendResult{}, 0, l.d.broken(errors.Join(err, uerr))
		}
		return AppendResult{}, 0, l.d.full(err)
	}
	if l.d.noSpace.Load() {
		l.d.hasSpace()
	}
	l.unflushed += next - first
	return AppendResult{BaseOffset: first, LastOffset: next - 1, LogAppendTimeMs: now, LogStartOffset: l.start.Load()}, l.unflushed, nil
}

// write appends validated batches, whose offsets are final, rolling where it must. Call with mu held. An error leaves
// memory and file apart: the caller fails the directory or, when the disk is full, calls undoWrite.
func (l *Log) write(data []byte, cfg *Config) error {
	if err := l.needActive(); err != nil {
		return err
	}
	for len(data) > 0 {
		run, err := l.fit(data, cfg)
		if err != nil {
			return err
		}
		if err := l.writeRun(data[:run], cfg); err != nil {
			return err
		}
		data = data[run:]
	}
	return nil
}

// undoWrite brings memory and the file back to the last append that went through, after one that found the disk full. What that
// one left behind the end is cut off; where even that fails, the next append overwrites it. Call with mu held.
func (l *Log) undoWrite() error {
	s := l.active
	if l.activeFile != nil {
		if l.activeFile.Truncate(s.size.Load()) == nil {
			s.gaveBack()
		}
		l.activeDirty = true // a crash must not bring it back once the log has gone on
	}
	end := l.end.Load()
	l.epochs.truncateEnd(end)
	s.imu.Lock()
	err := s.rescan()
	s.imu.Unlock()
	l.producers = nil
	return errors.Join(err, l.needProducers())
}

// needActive opens the active segment for writing, which a log does when it is first appended to. Call with mu held.
func (l *Log) needActive() error {
	if l.activeFile != nil {
		return nil
	}
	s := l.active
	f, err := s.pin()
	if err != nil {
		return err
	}
	s.imu.Lock()
	defer s.imu.Unlock()
	if err := s.ensure(); err != nil {
		return err
	}
	if s.size.Load() > 0 && !s.firstOK {
		var h [batch.HeaderSize]byte
		if err := readFull(f, h[:], 0); err != nil {
			return err
		}
		s.firstTs, s.firstOK = batch.Batch(h[:]).MaxTimestamp(), true
	}
	l.activeFile, l.indexStale, s.cleanTo = f, true, s.size.Load()
	if s.syncs == 0 {
		s.asked = s.size.Load()
	}
	return nil
}

// fit rolls when the segment cannot take the first batch, and returns how many bytes of data then go into it: all of
// them, unless a later batch needs another segment.
func (l *Log) fit(data []byte, cfg *Config) (int, error) {
	run := 0
	for rest := data; len(rest) > 0; {
		var b batch.Batch
		b, rest, _ = batch.Next(rest)
		if l.mustRoll(b, int64(run), cfg) {
			if run > 0 {
				break
			}
			if err := l.roll(); err != nil {
				return 0, err
			}
			if b.BaseOffset() != l.active.base && b.LastOffset()-l.active.base > math.MaxInt32 {
				// A gap in replicated offsets larger than a segment can express: begin after it.
				if err := l.restartAt(b.BaseOffset()); err != nil {
					return 0, err
				}
			}
		}
		run += len(b)
	}
	return run, nil
}

// restartAt replaces the empty active segment by one that begins later. Call with mu held.
func (l *Log) restartAt(base int64) error {
	old := l.active
	segs := l.list()
	segs = segs[:len(segs)-1]
	l.segs.Store(&segs)
	if err := old.deleteFiles(); err != nil {
		return err
	}
	if err := old.close(); err != nil {
		return err
	}
	l.active, l.activeFile, l.activeDirty = nil, nil, false
	if err := l.openSegment(base); err != nil {
		return l.d.broken(err) // there is no segment to go on with
	}
	return nil
}

// mustRoll says whether a batch needs a new segment when pending bytes go before it into the active one.
func (l *Log) mustRoll(b batch.Batch, pending int64, cfg *Config) bool {
	s := l.active
	size := s.size.Load() + pending
	if b.LastOffset()-s.base > math.MaxInt32 {
		return size > 0 || b.BaseOffset() != s.base
	}
	if size == 0 {
		return false
	}
	if size+int64(len(b)) > cfg.SegmentBytes {
		return true
	}
	s.imu.Lock()
	full := int64(len(s.offsets)+1)*offsetEntrySize > cfg.SegmentIndexBytes || int64(len(s.times)+2)*timeEntrySize > cfg.SegmentIndexBytes
	firstTs, ok := s.firstTs, s.firstOK
	s.imu.Unlock()
	if full {
		return true
	}
	age := l.d.nowMs() - s.created
	if ts := b.MaxTimestamp(); ok && firstTs >= 0 && ts >= 0 {
		age = ts - firstTs
	}
	return age > cfg.rollMs()-l.jitterMs
}

// writeRun writes batches that fit into the active segment, with one write.
func (l *Log) writeRun(data []byte, cfg *Config) error {
	s := l.active
	pos := s.size.Load()
	if end := pos + int64(len(data)); end > s.room {
		l.makeRoom(end, cfg)
	}
	if n, err := l.activeFile.WriteAt(data, pos); err != nil {
		return fmt.Errorf("append to %s: wrote %d of %d bytes: %w", s.path(suffixLog), n, len(data), err)
	}
	l.activeDirty = true
	at, end := pos, int64(0)
	for rest := data; len(rest) > 0; {
		var b batch.Batch
		b, rest, _ = batch.Next(rest)
		s.imu.Lock()
		s.add(at, b.LastOffset(), b.MaxTimestamp(), int64(len(b)), cfg.IndexIntervalBytes)
		s.imu.Unlock()
		if e := b.LeaderEpoch(); e > l.epochs.latest() {
			l.epochs.assign(e, b.BaseOffset()) // its file follows with the next checkpoint
		}
		if l.producers != nil {
			if err := l.applyProducer(b); err != nil {
				return err
			}
		}
		at += int64(len(b))
		end = b.NextOffset()
	}
	s.size.Store(at)
	l.end.Store(end)
	return nil
}

// applyProducer updates the producer state with a batch that was written, and the transaction index with an abort.
func (l *Log) applyProducer(b batch.Batch) error {
	p := l.producers
	if b.ProducerID() < 0 {
		p.mapEnd = b.NextOffset()
		return nil
	}
	var aborted *AbortedTxn
	var err error
	if b.IsControl() {
		aborted, err = p.apply(b, func() (batch.EndTxn, bool, error) { return batch.ParseEndTxn(&p.reader, b) })
	} else {
		_, err = p.apply(b, nil)
	}
	if err != nil {
		return fmt.Errorf("producer state: %w", err)
	}
	if aborted != nil {
		if err := l.active.appendTxn(*aborted); err != nil {
			return err
		}
	}
	if b.IsControl() || p.open[b.ProducerID()] == b.BaseOffset() { // a transaction ends or begins
		l.publishTxn()
	}
	return nil
}
