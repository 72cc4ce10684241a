package log

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moldau-io/moldau/core/log/batch"
)

// folder is what load found in a partition's folder.
type folder struct {
	sizes     map[int64]int64 // by base, of .log files
	bases     []int64
	has       map[string]bool
	snapshots []int64 // rising
	swaps     []int64
}

// empty says that nothing was ever written, or nothing is left: one segment without a byte.
func (fo *folder) empty() bool { return len(fo.bases) == 1 && fo.sizes[fo.bases[0]] == 0 }

// load opens the log from its folder. It runs before anyone else has the log. clean says that the directory was closed in
// order; recoveryPoint and start are from the checkpoints. What has to be made durable before anyone may rely on the log goes to s.
func (l *Log) load(clean bool, recoveryPoint, start int64, s *settlement) error {
	fo, err := l.readFolder()
	if err != nil {
		return err
	}
	if len(fo.swaps) > 0 {
		if err := l.finishSwaps(fo); err != nil {
			return fmt.Errorf("finish compaction: %w", err)
		}
		if fo, err = l.readFolder(); err != nil {
			return err
		}
	}
	if err := l.loadTopicID(fo); err != nil {
		return err
	}
	if !clean && recoveryPoint == 0 && l.topicID != ([16]byte{}) && !fo.empty() {
		s.file(l.file(fileTopicID)) // perhaps new, and killed before the file was synced
	}
	l.start.Store(start)
	if len(fo.bases) == 0 {
		return l.beginAt(start)
	}
	l.start.Store(max(start, fo.bases[0]))
	segs := make([]*segment, len(fo.bases))
	from := len(segs) // first segment to recover
	if !clean {
		from = 0
	}
	for i, base := range fo.bases {
		segs[i] = l.newSegment(base)
		segs[i].size.Store(fo.sizes[base])
		segs[i].active = i == len(segs)-1
		// A segment that begins at the recovery point may have been begun after it was written: then the indexes of the one
		// before are not synced.
		if !clean && base < recoveryPoint {
			from = i
		}
	}
	l.segs.Store(&segs)
	l.active = segs[len(segs)-1]
	l.lastFlush = l.d.nowMs()
	haveEpochs, err := l.epochs.load(l.d.fs, l.dirPath())
	if err != nil {
		return err
	}
	epochsFrom := from
	if !haveEpochs {
		epochsFrom = 0
	}
	// A segment whose index files are missing was being swapped or written: it is recovered as well.
	for i, s := range segs[:from] {
		if s.size.Load() > 0 && !(fo.has[offsetName(s.base, suffixIndex)] && fo.has[offsetName(s.base, suffixTimeIndex)]) {
			from = i
			break
		}
	}
	var found []EpochEntry // in the segments that are recovered
	if from < len(segs) {
		found, err = l.recover(fo, from, recoveryPoint, s)
	} else {
		err = l.loadClean(fo, s)
	}
	if err != nil {
		return err
	}
	if err := l.loadEpochs(segs[min(epochsFrom, from):from], found); err != nil {
		return err
	}
	if l.start.Load() > l.end.Load() {
		l.d.log.Warn("log ends before its start and begins anew there", "partition", l.id, "end", l.end.Load(), "start", l.start.Load())
		return l.beginAt(l.start.Load())
	}
	l.synced.Store(l.end.Load())
	l.startSaved.Store(l.start.Load())
	return nil
}

// beginAt makes the log empty at an offset, durably.
func (l *Log) beginAt(start int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.resetTo(start); err != nil {
		return err
	}
	l.active.unpin()
	l.activeFile, l.newFile, l.indexStale = nil, false, false
	l.synced.Store(start)
	return l.d.fs.SyncDir(l.dirPath())
}

// readFolder lists the folder and removes what a crash left half done.
func (l *Log) readFolder() (*folder, error) {
	entries, err := l.d.fs.ReadDir(l.dirPath())
	if err != nil {
		return nil, err
	}
	fo := &folder{sizes: map[int64]int64{}, has: map[string]bool{}}
	for _, e := range entries {
		name := e.Name()
		switch ext := filepath.Ext(name); ext {
		case suffixCleaned, suffixDeleted, suffixTmp:
			if err := removeIfExists(l.d.fs, l.file(name)); err != nil {
				return nil, err
			}
			continue
		case suffixSwap:
			if base, ok := parseOffsetName(strings.TrimSuffix(name, suffixSwap), suffixLog); ok {
				fo.swaps = append(fo.swaps, base)
			}
		case suffixSnapshot:
			if o, ok := parseOffsetName(name, suffixSnapshot); ok {
				fo.snapshots = append(fo.snapshots, o)
			}
		case suffixLog:
			base, ok := parseOffsetName(name, suffixLog)
			if !ok {
				continue
			}
			st, err := e.Info()
			if err != nil {
				return nil, err
			}
			fo.sizes[base] = st.Size()
			fo.bases = append(fo.bases, base)
		}
		fo.has[name] = true
	}
	slices.Sort(fo.bases)
	slices.Sort(fo.snapshots)
	for name := range fo.has {
		for _, suffix := range []string{suffixIndex, suffixTimeIndex, suffixTxnIndex} {
			if base, ok := parseOffsetName(name, suffix); ok && !fo.has[offsetName(base, suffixLog)] && !fo.has[offsetName(base, suffixLog)+suffixSwap] {
				if err := removeIfExists(l.d.fs, l.file(name)); err != nil {
					return nil, err
				}
			}
		}
	}
	return fo, nil
}

// loadTopicID reads partition.metadata. One that is damaged is treated as absent: the broker sets it again.
func (l *Log) loadTopicID(fo *folder) error {
	if !fo.has[fileTopicID] {
		return nil
	}
	p, err := readFile(l.d.fs, l.file(fileTopicID), 64<<10)
	if err != nil {
		return err
	}
	id, err := parseTopicID(p)
	if err != nil {
		l.d.log.Warn("partition metadata is unreadable and ignored", "file", l.file(fileTopicID), "err", err)
		return nil
	}
	l.topicID = id
	return nil
}

// loadClean finds the end of a log that was closed in order: the last index entry is near it.
func (l *Log) loadClean(fo *folder, st *settlement) error {
	s := l.active
	end := s.base
	if size := s.size.Load(); size > 0 {
		pos, err := l.lastIndexed(s, size)
		if err == nil {
			err = s.headers(pos, size, func(_ int64, h batch.Batch, _ int64) bool { end = h.NextOffset(); return true })
		}
		if err != nil {
			if errors.Is(err, batch.ErrCorrupt) || errors.Is(err, batch.ErrShort) {
				l.d.log.Warn("log does not end as it was closed, recovering", "partition", l.id, "err", err)
				_, err := l.recover(fo, len(l.list())-1, 0, st)
				return err
			}
			return err
		}
	}
	l.end.Store(end)
	if !slices.Contains(fo.snapshots, end) {
		if len(fo.snapshots) == 0 && s.size.Load() == 0 && len(fo.bases) == 1 {
			return nil
		}
	}
	p, err := l.loadProducers(l.list(), end, fo.snapshots)
	if err != nil {
		return err
	}
	l.producers = p
	l.publishTxn()
	return nil
}

// lastIndexed is the position of the last entry of the offset index, read without loading the index.
func (l *Log) lastIndexed(s *segment, size int64) (int64, error) {
	f, err := l.d.fs.OpenFile(s.path(suffixIndex), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil || n < offsetEntrySize {
		return 0, err
	}
	var e [offsetEntrySize]byte
	if err := readFull(f, e[:], n/offsetEntrySize*offsetEntrySize-offsetEntrySize); err != nil {
		return 0, err
	}
	es, err := parseOffsetIndex(e[:], size)
	if err != nil || len(es) == 0 {
		return 0, nil //nolint:nilerr // a damaged index: scan from the beginning; it is rebuilt when it is needed
	}
	return int64(es[0].pos), nil
}

// noteEpoch adds the epoch of a batch to those of the batches before it: of a run of batches of one epoch two will do for loadEpochs.
func noteEpoch(es []EpochEntry, h batch.Batch) []EpochEntry {
	e := h.LeaderEpoch()
	if n := len(es); n > 1 && es[n-1].Epoch == e && es[n-2].Epoch == e {
		return es
	}
	return append(es, EpochEntry{e, h.BaseOffset()})
}

// loadEpochs brings the leader epochs in line with the batches of segments, and with those found by recovery in the ones after. The
// epoch of a batch is not under its checksum: one that is above that of the batch after it is not believed.
func (l *Log) loadEpochs(segs []*segment, found []EpochEntry) error {
	var es []EpochEntry
	for _, s := range segs {
		err := s.headers(0, s.size.Load(), func(_ int64, h batch.Batch, _ int64) bool {
			es = noteEpoch(es, h)
			return true
		})
		if err != nil {
			return err
		}
	}
	held := EpochEntry{NoEpoch, 0}
	for _, e := range append(es, found...) {
		if e.Epoch >= held.Epoch {
			l.epochs.found(held.Epoch, held.StartOffset)
		}
		held = e
	}
	l.epochs.found(held.Epoch, held.StartOffset)
	// The file follows with the next checkpoint, before the recovery point moves: until then a crash has the same done again.
	l.epochs.truncateStart(l.start.Load())
	l.epochs.truncateEnd(l.end.Load())
	return nil
}

// recover checks the segments from one on, batch by batch, repairs them (see salvage.go), and rebuilds their indexes and the
// producer state. What lies below the recovery point is durable, so a partition that was not written to since then is only read. It returns
// the leader epochs of the batches.
func (l *Log) recover(fo *folder, from int, recoveryPoint int64, st *settlement) (epochs []EpochEntry, err error) {
	segs := l.list()
	first := segs[from]
	// keep is how far the producer snapshots are of the records that are here: those of records that a crash took are not.
	keep := first.base
	names := recoveryPoint <= first.base || from < len(segs)-1 // in the folder: they may not be durable, or change
	for i := from; i < len(segs); i++ {
		limit := int64(math.MaxInt64)
		if i+1 < len(segs) {
			limit = segs[i+1].base
		}
		found, err := l.salvage(segs[i], limit, recoveryPoint)
		if err != nil {
			return nil, fmt.Errorf("recover %s: %w", segs[i].path(suffixLog), err)
		}
		if !found.whole || found.next > recoveryPoint && segs[i].size.Load() > 0 {
			st.file(segs[i].path(suffixLog))
		}
		if found.whole && from == len(segs)-1 {
			keep = max(keep, min(recoveryPoint, found.next))
		}
	}
	for n := len(fo.snapshots); n > 0 && fo.snapshots[n-1] > keep; n = len(fo.snapshots) {
		if err := removeIfExists(l.d.fs, l.file(offsetName(fo.snapshots[n-1], suffixSnapshot))); err != nil {
			return nil, err
		}
		fo.snapshots, names = fo.snapshots[:n-1], true
	}
	p, err := l.loadProducers(segs[:from], first.base, fo.snapshots)
	if err != nil {
		return nil, err
	}
	end := first.base
	for _, s := range segs[from:] {
		p.mapEnd = max(p.mapEnd, s.base)
		if s != first {
			if err := l.writeSnapshot(p, false); err != nil {
				return nil, err
			}
		}
		var changed bool
		if end, changed, epochs, err = l.reindex(s, p, epochs, fo.has[offsetName(s.base, suffixTxnIndex)], st); err != nil {
			return nil, fmt.Errorf("recover %s: %w", s.path(suffixLog), err)
		}
		names = names || changed
	}
	p.truncateStart(l.start.Load())
	if slices.Contains(fo.snapshots, end) && st.has(l.file(offsetName(end, suffixSnapshot)), p.encode()) {
		p.snapAt = end // closing need not write it again
	}
	l.producers = p
	l.publishTxn()
	l.end.Store(end)
	switch {
	case fo.empty():
		l.newFile, l.newFolder = true, true // there is nothing yet that could be lost: the first sync sees to the names
	case names:
		st.dir(l.dirPath())
	}
	return epochs, nil
}

// reindex rebuilds the indexes of a recovered segment and applies its batches to the producer state. It returns the offset
// that follows the segment, whether files came or went, and the leader epochs with those before. hasTxns says that there is a
// transaction index.
func (l *Log) reindex(s *segment, p *producers, epochs []EpochEntry, hasTxns bool, st *settlement) (end int64, changed bool, _ []EpochEntry, err error) {
	f, err := s.acquire()
	if err != nil {
		return 0, false, nil, err
	}
	defer s.release()
	var aborted []AbortedTxn
	end = s.base
	interval := l.config().IndexIntervalBytes
	s.imu.Lock()
	defer s.imu.Unlock()
	s.offsets, s.times, s.sinceLast, s.maxTs, s.firstOK, s.saved = nil, nil, 0, batch.NoTimestamp, false, false
	var aerr error
	err = s.readHeaders(func(pos int64, h batch.Batch, size int64) bool {
		epochs = noteEpoch(epochs, h)
		s.add(pos, h.LastOffset(), h.MaxTimestamp(), size, interval)
		end = h.NextOffset()
		var t *AbortedTxn
		t, aerr = p.apply(h, func() (batch.EndTxn, bool, error) { return readMarker(p, f, pos, size) })
		if errors.Is(aerr, batch.ErrCorrupt) {
			l.d.log.Warn("control batch is not understood", "partition", l.id, "offset", h.BaseOffset(), "err", aerr)
			aerr = nil
		}
		if t != nil {
			aborted = append(aborted, *t)
		}
		return aerr == nil
	})
	if err = errors.Join(err, aerr); err != nil {
		return 0, false, nil, err
	}
	if changed, err = s.reindexTxns(aborted, hasTxns, st); err != nil {
		return 0, false, nil, err
	}
	s.loaded, s.maxKnown = true, true
	if s.active {
		// What is in the files may be wrong, and is not read before they are written: when the segment is sealed or closed.
		l.indexStale = true
		return end, changed, epochs, nil
	}
	s.addTime()
	for suffix, p := range map[string][]byte{suffixIndex: formatOffsetIndex(s.offsets), suffixTimeIndex: formatTimeIndex(s.times)} {
		if err := st.put(s.path(suffix), p); err != nil {
			return 0, false, nil, fmt.Errorf("write index: %w", err)
		}
	}
	s.saved = true
	l.d.indexes.add(s.iitem, int64(len(s.offsets)*8+len(s.times)*16+64))
	return end, true, epochs, nil
}

// reindexTxns brings the transaction index of a recovered segment in order. has says that there is one.
func (s *segment) reindexTxns(aborted []AbortedTxn, has bool, st *settlement) (changed bool, err error) {
	name := s.path(suffixTxnIndex)
	if len(aborted) == 0 {
		if !has {
			return false, nil
		}
		return true, removeIfExists(s.l.d.fs, name)
	}
	s.aborts.Store(2)
	return true, st.put(name, formatTxnIndex(aborted))
}
