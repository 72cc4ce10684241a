package log

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/moldau-io/moldau/core/log/batch"
)

// VerifyOptions say how thoroughly to look.
type VerifyOptions struct {
	// Records decompresses the batches and walks every record. Without it, headers and checksums are checked.
	Records bool
}

// Severity grades a Problem.
type Severity string

// The grades.
const (
	// SeverityError: data is damaged, or an index or checkpoint says what is not so.
	SeverityError Severity = "error"
	// SeverityWarning: opening the directory puts it right, nothing that was acknowledged is concerned.
	SeverityWarning Severity = "warning"
	// SeverityInfo: files that are left over.
	SeverityInfo Severity = "info"
)

// Problem is something that Verify found. Numbers that do not apply are -1.
type Problem struct {
	Severity    Severity `json:"severity"`
	File        string   `json:"file"`
	Position    int64    `json:"position"`
	Length      int64    `json:"length"`
	FirstOffset int64    `json:"first_offset"` // of what is concerned
	NextOffset  int64    `json:"next_offset"`  // that follows it
	Message     string   `json:"message"`
}

// SegmentReport is what a segment holds.
type SegmentReport struct {
	BaseOffset   int64 `json:"base_offset"`
	NextOffset   int64 `json:"next_offset"`
	Size         int64 `json:"size"`
	Batches      int64 `json:"batches"`
	Records      int64 `json:"records"`
	MaxTimestamp int64 `json:"max_timestamp"` // -1 for none
	Indexed      bool  `json:"indexed"`       // offset and time index are there
	Problems     int   `json:"problems"`
}

// PartitionReport is what a partition's folder holds.
type PartitionReport struct {
	Path        string          `json:"path"`
	Topic       string          `json:"topic"`
	Partition   int32           `json:"partition"`
	TopicID     [16]byte        `json:"-"`
	HasTopicID  bool            `json:"-"`
	StartOffset int64           `json:"start_offset"` // of the first segment; DeleteRecords may have moved it further
	EndOffset   int64           `json:"end_offset"`
	Batches     int64           `json:"batches"`
	Records     int64           `json:"records"`
	Bytes       int64           `json:"bytes"`
	Segments    []SegmentReport `json:"segments"`
	Epochs      []EpochEntry    `json:"epochs"`
	Producers   int             `json:"producers"`
	Problems    []Problem       `json:"problems"`
}

// OK says that nothing worse than a warning was found.
func (r *PartitionReport) OK() bool { return sound(r.Problems) }

func sound(ps []Problem) bool {
	return !slices.ContainsFunc(ps, func(p Problem) bool { return p.Severity == SeverityError })
}

// DirReport is what a log directory holds.
type DirReport struct {
	Path           string             `json:"path"`
	Clean          bool               `json:"clean"` // the marker of an orderly close is there
	Properties     map[string]string  `json:"properties"`
	RecoveryPoints []CheckpointEntry  `json:"recovery_points"`
	LogStarts      []CheckpointEntry  `json:"log_starts"`
	CleanerOffsets []CheckpointEntry  `json:"cleaner_offsets"`
	Partitions     []*PartitionReport `json:"partitions"`
	Problems       []Problem          `json:"problems"` // of the directory itself
}

// OK says that nothing worse than a warning was found, in the directory or a partition.
func (r *DirReport) OK() bool {
	return sound(r.Problems) && !slices.ContainsFunc(r.Partitions, func(p *PartitionReport) bool { return !p.OK() })
}

// IsPartitionFolder says whether a path has the name of a partition's folder and is a folder.
func IsPartitionFolder(path string) bool {
	_, _, ok := parseFolderName(filepath.Base(path))
	st, err := OS.Stat(path)
	return ok && err == nil && st.IsDir()
}

// VerifyPartition checks a partition's folder: every checksum, the order of offsets, and that indexes, leader epochs, aborted
// transactions and producer snapshots agree with the batches. What is wrong is in the report; an error is one of reading.
func VerifyPartition(path string, o VerifyOptions) (*PartitionReport, error) {
	return verifyPartition(OS, path, o)
}

// verifier is one run over a partition.
type verifier struct {
	fs      FS
	o       VerifyOptions
	r       *PartitionReport
	path    string
	has     map[string]bool
	batches map[int64]int64 // of the segment at hand: position -> base offset
	stamps  []stamp         // of the segment at hand
	reader  batch.Reader
	prods   *producers
	aborted []AbortedTxn // of the segment at hand, by the markers
	epochs  []EpochEntry // by the batches
}

// stamp is the largest timestamp of a batch.
type stamp struct{ last, ts int64 }

func verifyPartition(fsys FS, path string, o VerifyOptions) (*PartitionReport, error) {
	topic, partition, ok := parseFolderName(filepath.Base(path))
	if !ok {
		return nil, fmt.Errorf("verify %s: not the name of a partition's folder (<topic>-<number>)", path)
	}
	entries, err := fsys.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", path, err)
	}
	v := &verifier{fs: fsys, o: o, path: path, has: map[string]bool{}, prods: newProducers(math.MaxInt64), r: &PartitionReport{Path: path, Topic: topic, Partition: partition}}
	var bases, snapshots []int64
	for _, e := range entries {
		v.has[e.Name()] = true
		switch kind, base := KindOf(e.Name()); kind {
		case KindLog:
			if base >= 0 {
				bases = append(bases, base)
			}
		case KindSnapshot:
			snapshots = append(snapshots, base)
		case KindDeleted, KindCleaned, KindSwap, KindTemporary:
			v.problem(SeverityInfo, e.Name(), "left over; opening the directory removes it or completes what it belongs to")
		case KindCorrupt:
			v.problem(SeverityInfo, e.Name(), "the damaged original of a segment that was repaired")
		}
	}
	slices.Sort(bases)
	slices.Sort(snapshots)
	if len(bases) > 0 {
		v.r.StartOffset, v.r.EndOffset = bases[0], bases[0]
	}
	for i, base := range bases {
		limit := int64(math.MaxInt64)
		if i+1 < len(bases) {
			limit = bases[i+1]
		}
		if err := v.segment(base, limit); err != nil {
			return nil, err
		}
	}
	v.checkEpochs()
	v.checkSnapshots(snapshots)
	if v.has[fileTopicID] {
		id, err := dumpFile(fsys, filepath.Join(path, fileTopicID), parseTopicID)
		if err != nil {
			v.problem(SeverityWarning, fileTopicID, "%s", err.Error())
		} else {
			v.r.TopicID, v.r.HasTopicID = id, true
		}
	}
	return v.r, nil
}

func (v *verifier) problem(s Severity, name, format string, args ...any) {
	v.r.Problems = append(v.r.Problems, Problem{s, filepath.Join(v.path, name), -1, -1, -1, -1, fmt.Sprintf(format, args...)})
}

// segment reads one segment and what belongs to it.
func (v *verifier) segment(base, limit int64) error {
	name := offsetName(base, suffixLog)
	before := len(v.r.Problems)
	s := SegmentReport{BaseOffset: base, NextOffset: base, MaxTimestamp: batch.NoTimestamp}
	active := limit == math.MaxInt64
	v.batches, v.stamps, v.aborted = map[int64]int64{}, v.stamps[:0], nil
	err := dumpSegment(v.fs, filepath.Join(v.path, name), limit, func(d DumpedBatch) error {
		s.Size = d.Position + d.Size
		if d.Err != nil {
			v.damaged(d, active, s.NextOffset, limit)
		}
		if d.Batch == nil {
			return nil
		}
		s.Batches++
		s.Records += int64(d.Batch.RecordCount())
		s.NextOffset = d.Batch.NextOffset()
		s.MaxTimestamp = max(s.MaxTimestamp, d.Batch.MaxTimestamp())
		v.batches[d.Position] = d.Batch.BaseOffset()
		v.stamps = append(v.stamps, stamp{d.Batch.LastOffset(), d.Batch.MaxTimestamp()})
		v.batch(d)
		return nil
	})
	if err != nil {
		return err
	}
	v.checkIndexes(base, &s, active)
	v.checkTxnIndex(base, &s, active)
	s.Problems = len(v.r.Problems) - before
	v.r.Batches += s.Batches
	v.r.Records += s.Records
	v.r.Bytes += s.Size
	v.r.EndOffset = max(v.r.EndOffset, s.NextOffset)
	v.r.Segments = append(v.r.Segments, s)
	return nil
}

func (v *verifier) damaged(d DumpedBatch, active bool, next, limit int64) {
	p := Problem{SeverityError, d.File, d.Position, d.Size, next, -1, d.Err.Error()}
	var c *CorruptionError
	switch {
	case errors.As(d.Err, &c):
		p.FirstOffset, p.NextOffset = c.First, c.Next
	case active:
		p.Severity = SeverityWarning
	default:
		// The log goes on in the next segment, so these bytes were once whole.
		p.NextOffset = limit
		p.Message = fmt.Sprintf("%d bytes at the end of a sealed segment are not a whole batch", d.Size)
	}
	v.r.Problems = append(v.r.Problems, p)
}

// batch follows a batch: records, producers, epochs.
func (v *verifier) batch(d DumpedBatch) {
	b := d.Batch
	if e := b.LeaderEpoch(); e >= 0 && (len(v.epochs) == 0 || e > v.epochs[len(v.epochs)-1].Epoch) {
		v.epochs = append(v.epochs, EpochEntry{e, b.BaseOffset()})
	}
	complain := func(err error) {
		v.r.Problems = append(v.r.Problems, Problem{SeverityError, d.File, d.Position, d.Size, b.BaseOffset(), b.NextOffset(), err.Error()})
	}
	t, err := v.prods.apply(b, func() (batch.EndTxn, bool, error) { return batch.ParseEndTxn(&v.reader, b) })
	if err != nil && b.RecordCount() > 0 {
		complain(fmt.Errorf("control batch is not understood: %w", err))
	}
	if t != nil {
		v.aborted = append(v.aborted, *t)
	}
	if !v.o.Records {
		return
	}
	if err := v.walk(b); err != nil {
		complain(fmt.Errorf("records: %w", err))
	}
}

// walk reads all records of a batch.
func (v *verifier) walk(b batch.Batch) error {
	if err := v.reader.Reset(b); err != nil {
		return err
	}
	n, last := int32(0), int32(-1)
	for {
		rec, more := v.reader.Next()
		if !more {
			break
		}
		if rec.OffsetDelta <= last || rec.OffsetDelta > b.LastOffsetDelta() {
			return fmt.Errorf("record %d has offset delta %d after %d, the batch ends at %d", n, rec.OffsetDelta, last, b.LastOffsetDelta())
		}
		last = rec.OffsetDelta
		n++
	}
	if err := v.reader.Err(); err != nil {
		return err
	}
	if n != b.RecordCount() {
		return fmt.Errorf("%d records, the header says %d", n, b.RecordCount())
	}
	return nil
}

// checkIndexes holds the offset and time index against the batches.
func (v *verifier) checkIndexes(base int64, s *SegmentReport, active bool) {
	index, times := offsetName(base, suffixIndex), offsetName(base, suffixTimeIndex)
	s.Indexed = v.has[index] && v.has[times]
	if !s.Indexed && !active && s.Size > 0 {
		v.problem(SeverityWarning, index, "a sealed segment has no index; opening the directory rebuilds it")
	}
	// What says that an index is behind its segment is no error for the active one: its indexes are written on close.
	wrong := SeverityError
	if active {
		wrong = SeverityWarning
	}
	if v.has[index] {
		es, err := dumpOffsetIndex(v.fs, filepath.Join(v.path, index))
		if err != nil {
			v.problem(wrong, index, "%s", err.Error())
		}
		for i, e := range es {
			if at, ok := v.batches[e.Position]; !ok || at > e.Offset || e.Offset >= s.NextOffset {
				v.problem(wrong, index, "entry %d says that offset %d is at position %d, where no such batch begins", i, e.Offset, e.Position)
				break
			}
		}
	}
	if v.has[times] {
		es, err := dumpTimeIndex(v.fs, filepath.Join(v.path, times))
		if err != nil {
			v.problem(wrong, times, "%s", err.Error())
		}
		v.checkTimes(times, es, s, wrong)
	}
}

func (v *verifier) checkTimes(name string, es []TimeIndexEntry, s *SegmentReport, wrong Severity) {
	k, largest := 0, int64(batch.NoTimestamp)
	for i, e := range es {
		for ; k < len(v.stamps) && v.stamps[k].last <= e.Offset; k++ {
			largest = max(largest, v.stamps[k].ts)
		}
		if largest > e.Timestamp {
			v.problem(wrong, name, "entry %d says that no record up to offset %d is later than %d, but there is one of %d", i, e.Offset, e.Timestamp, largest)
			return
		}
	}
	if n := len(es); n > 0 && es[n-1].Timestamp > s.MaxTimestamp {
		v.problem(SeverityWarning, name, "the last entry has timestamp %d, the latest record %d", es[n-1].Timestamp, s.MaxTimestamp)
	}
}

// checkTxnIndex holds the transaction index against the abort markers.
func (v *verifier) checkTxnIndex(base int64, s *SegmentReport, active bool) {
	name := offsetName(base, suffixTxnIndex)
	var es []AbortedTxn
	if v.has[name] {
		var err error
		if es, err = dumpFile(v.fs, filepath.Join(v.path, name), parseTxnIndex); err != nil {
			v.problem(SeverityError, name, "%s", err.Error())
			return
		}
	}
	wrong := SeverityError
	if active {
		wrong = SeverityWarning // not synced with the marker: recovery rebuilds it
	}
	for i, e := range es {
		if e.LastOffset < base || e.LastOffset >= max(s.NextOffset, base+1) {
			v.problem(wrong, name, "entry %d ends at offset %d, outside of the segment", i, e.LastOffset)
		}
	}
	for _, t := range v.aborted {
		if !slices.ContainsFunc(es, func(e AbortedTxn) bool { return e.ProducerID == t.ProducerID && e.LastOffset == t.LastOffset }) {
			v.problem(wrong, name, "the abort of producer %d at offset %d is missing", t.ProducerID, t.LastOffset)
		}
	}
}

// checkEpochs holds the checkpoint of leader epochs against those of the batches.
func (v *verifier) checkEpochs() {
	v.r.Epochs = v.epochs
	if !v.has[fileEpochs] {
		return
	}
	es, err := dumpFile(v.fs, filepath.Join(v.path, fileEpochs), parseEpochs)
	if err != nil {
		v.problem(SeverityWarning, fileEpochs, "%s", err.Error())
		return
	}
	for _, e := range v.epochs {
		i := slices.IndexFunc(es, func(x EpochEntry) bool { return x.Epoch == e.Epoch })
		switch {
		case i < 0:
			v.problem(SeverityWarning, fileEpochs, "leader epoch %d, which begins at offset %d, is missing", e.Epoch, e.StartOffset)
		case es[i].StartOffset > e.StartOffset && es[i].StartOffset > v.r.StartOffset && es[i].StartOffset < v.r.EndOffset:
			v.problem(SeverityError, fileEpochs, "leader epoch %d begins at offset %d, the checkpoint says %d", e.Epoch, e.StartOffset, es[i].StartOffset)
		}
	}
}

// checkSnapshots reads the producer snapshots, and compares the newest with the batches when it is of the end.
func (v *verifier) checkSnapshots(offsets []int64) {
	v.r.Producers = len(v.prods.byID)
	for _, o := range offsets {
		name := offsetName(o, suffixSnapshot)
		states, err := dumpSnapshot(v.fs, filepath.Join(v.path, name))
		if err != nil {
			v.problem(SeverityWarning, name, "%s", err.Error())
			continue
		}
		if o > v.r.EndOffset {
			v.problem(SeverityWarning, name, "the snapshot is of an offset past the end of the log, %d", v.r.EndOffset)
		}
		if o != v.r.EndOffset {
			continue
		}
		v.r.Producers = len(states)
		for _, p := range states {
			e := v.prods.byID[p.ProducerID]
			if e == nil || e.last() == nil || e.epoch != p.ProducerEpoch {
				continue // retention or compaction took the batches
			}
			if p.LastSequence >= 0 && e.last().lastSeq != p.LastSequence {
				v.problem(SeverityError, name, "producer %d is at sequence %d, its last batch at %d", p.ProducerID, p.LastSequence, e.last().lastSeq)
			}
		}
	}
}

// VerifyDir checks a log directory and all its partitions; each, unless nil, is called with every partition's report.
func VerifyDir(path string, o VerifyOptions, each func(*PartitionReport)) (*DirReport, error) {
	return verifyDir(OS, path, o, each)
}

func verifyDir(fsys FS, path string, o VerifyOptions, each func(*PartitionReport)) (*DirReport, error) {
	entries, err := fsys.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", path, err)
	}
	r := &DirReport{Path: path, Properties: map[string]string{}}
	problem := func(s Severity, name, msg string) {
		r.Problems = append(r.Problems, Problem{s, filepath.Join(path, name), -1, -1, -1, -1, msg})
	}
	for _, c := range []struct {
		name string
		to   *[]CheckpointEntry
	}{{fileRecoveryPoint, &r.RecoveryPoints}, {fileLogStart, &r.LogStarts}, {fileCleaner, &r.CleanerOffsets}} {
		if *c.to, err = dumpCheckpoint(fsys, filepath.Join(path, c.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			problem(SeverityWarning, c.name, err.Error())
		}
	}
	if props, err := dumpFile(fsys, filepath.Join(path, fileMeta), parseProperties); err == nil {
		r.Properties = props
	} else if !errors.Is(err, fs.ErrNotExist) {
		problem(SeverityError, fileMeta, err.Error())
	}
	ends := map[topicPartition]int64{}
	for _, e := range entries {
		if e.Name() == fileCleanShutdown {
			r.Clean = true
		}
		topic, partition, ok := parseFolderName(e.Name())
		if !e.IsDir() || !ok {
			continue
		}
		p, err := verifyPartition(fsys, filepath.Join(path, e.Name()), o)
		if err != nil {
			return nil, err
		}
		ends[topicPartition{topic, partition}] = p.EndOffset
		r.Partitions = append(r.Partitions, p)
		if each != nil {
			each(p)
		}
	}
	for _, c := range r.RecoveryPoints {
		if end, ok := ends[topicPartition{c.Topic, c.Partition}]; ok && c.Offset > end {
			problem(SeverityError, fileRecoveryPoint, fmt.Sprintf("everything of %s below offset %d was synced, but the log ends at %d", folderName(c.Topic, c.Partition), c.Offset, end))
		}
	}
	for _, c := range r.LogStarts {
		if end, ok := ends[topicPartition{c.Topic, c.Partition}]; ok && c.Offset > end {
			problem(SeverityWarning, fileLogStart, fmt.Sprintf("%s begins at offset %d, but the log ends at %d", folderName(c.Topic, c.Partition), c.Offset, end))
		}
	}
	return r, nil
}
