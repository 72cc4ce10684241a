package log

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau-io/moldau/core/log/batch"
)

// File name suffixes.
const (
	suffixLog       = ".log"
	suffixIndex     = ".index"
	suffixTimeIndex = ".timeindex"
	suffixTxnIndex  = ".txnindex"
	suffixSnapshot  = ".snapshot"
	suffixDeleted   = ".deleted"
	suffixCleaned   = ".cleaned"
	suffixSwap      = ".swap"
	suffixCorrupt   = ".corrupt"
	suffixTmp       = ".tmp"
)

func offsetName(offset int64, suffix string) string { return fmt.Sprintf("%020d%s", offset, suffix) }

// parseOffsetName is the inverse of offsetName.
func parseOffsetName(name, suffix string) (int64, bool) {
	s, ok := strings.CutSuffix(name, suffix)
	if !ok || len(s) != 20 {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0
}

// segment is a stretch of the log in one file. Its size only grows, and only while it is the active one; everything else
// is fixed when it is sealed.
type segment struct {
	l    *Log
	base int64
	size atomic.Int64

	// Guarded by Log.mu: up to where there is room on the disk or none to be had (0: not known), and whether blocks may be reserved behind the end.
	room     int64
	reserved bool
	asked    int64 // where the segment ended when it was last known how large its syncs are,
	syncs    int64 // and how many there were since
	zeroed   int64 // up to where there are zeros behind the end, when that is more than size; see zeroRules
	zeroGoal int64 // up to where there are to be
	zeroing  bool  // somebody is writing them
	cleanTo  int64 // also Log.mu's: up to where a sync has been over the file, or more after it was cut; see writeOutRules

	// aborts is what is known of the transaction index: 0 nothing, 1 that there is none, 2 that there may be one.
	aborts atomic.Int32

	created int64 // milliseconds; of this segment in memory, for rolling by age without timestamps

	// Of the file, guarded by fmu. The file opens when it is first needed and, unless pinned, closes again by the clock.
	fmu    sync.Mutex
	f      File
	twin   File // a second descriptor of f for a second sync, counted as pinned; nil until there is one
	refs   int
	pinned bool   // written to and perhaps not synced: stays open
	closed bool   // no new references
	stale  []File // replaced by reopen, closed with the last reference
	fitem  *clockItem

	// Of the indexes, guarded by imu. Those of the active segment are always loaded.
	imu       sync.Mutex
	loaded    bool
	active    bool
	offsets   []offsetEntry
	times     []timeEntry
	iitem     *clockItem
	maxTs     int64 // largest timestamp, NoTimestamp when none
	maxTsRel  uint32
	maxKnown  bool
	firstTs   int64 // timestamp of the first batch; what time-based rolling counts from
	firstOK   bool
	hints     [4]readHint
	hint      int
	sinceLast int64 // bytes since the last entry of the offset index
	// saved says that the index files are on disk as they are in memory. They must not be written again then: the recovery point
	// may have passed them, and a crash in between would leave them torn and trusted.
	saved bool
}

// readHint says where the batch with an offset begins.
type readHint struct{ offset, pos int64 }

func (l *Log) newSegment(base int64) *segment {
	s := &segment{l: l, base: base, maxTs: batch.NoTimestamp, created: l.d.nowMs()}
	s.fitem = newClockItem(s.tryClose)
	s.iitem = newClockItem(s.tryUnload)
	return s
}

func (s *segment) path(suffix string) string {
	return filepath.Join(s.l.dirPath(), offsetName(s.base, suffix))
}

// acquire returns the open file and keeps it open until release.
func (s *segment) acquire() (File, error) {
	s.fmu.Lock()
	defer s.fmu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.f == nil {
		f, err := s.l.d.fs.OpenFile(s.path(suffixLog), os.O_RDWR)
		if err != nil {
			return nil, fmt.Errorf("open segment: %w", err)
		}
		s.f = f
		if !s.pinned {
			s.l.d.files.add(s.fitem, 1)
		}
	}
	s.fitem.used.Store(true)
	s.refs++
	return s.f, nil
}

// hold keeps an open file open until release.
func (s *segment) hold() {
	s.fmu.Lock()
	s.refs++
	s.fmu.Unlock()
}

func (s *segment) release() {
	s.fmu.Lock()
	defer s.fmu.Unlock()
	s.refs--
	if s.refs > 0 {
		return
	}
	for _, f := range s.stale {
		_ = f.Close() // read only
	}
	s.stale = nil
	s.closeTwin()
	if s.closed && s.f != nil {
		_ = s.f.Close() // everything that mattered was synced
		s.f = nil
	}
}

// pin keeps the file open while it is written to; unpin hands it back to the clock.
func (s *segment) pin() (File, error) {
	f, err := s.acquire()
	if err != nil {
		return nil, err
	}
	s.fmu.Lock()
	s.refs--
	if !s.pinned {
		s.setPinned(true)
		s.l.d.files.drop(s.fitem)
	}
	s.fmu.Unlock()
	return f, nil
}

// setPinned counts. Call with fmu held, or before anyone else has the segment.
func (s *segment) setPinned(on bool) {
	if s.pinned == on {
		return
	}
	s.pinned = on
	if on {
		s.l.d.pinned.Add(1)
	} else {
		s.l.d.pinned.Add(-1)
	}
}

func (s *segment) unpin() {
	s.fmu.Lock()
	defer s.fmu.Unlock()
	if !s.pinned {
		return
	}
	s.setPinned(false)
	s.closeTwin()
	if s.f != nil && !s.closed {
		s.l.d.files.add(s.fitem, 1)
	}
}

// second returns a second descriptor of a segment that is pinned, for a sync beside one through the first. It stays open as long as the
// segment is pinned.
func (s *segment) second() (File, error) {
	s.fmu.Lock()
	defer s.fmu.Unlock()
	if s.twin != nil {
		return s.twin, nil
	}
	f, err := s.l.d.fs.OpenFile(s.path(suffixLog), os.O_RDWR)
	if err != nil {
		return nil, fmt.Errorf("open segment once more: %w", err)
	}
	s.twin = f
	s.l.d.pinned.Add(1)
	return f, nil
}

// closeTwin closes the second descriptor once nobody uses the segment or writes to it. Call with fmu held.
func (s *segment) closeTwin() {
	if s.twin == nil || s.pinned || s.refs > 0 {
		return
	}
	_ = s.twin.Close() // what was written was written through the first
	s.twin = nil
	s.l.d.pinned.Add(-1)
}

// tryClose is the clock's eviction.
func (s *segment) tryClose() bool {
	if !s.fmu.TryLock() {
		return false
	}
	defer s.fmu.Unlock()
	if s.refs > 0 || s.pinned || s.f == nil {
		return false
	}
	_ = s.f.Close()
	s.f = nil
	return true
}

// close lets go of file and indexes; readers that hold the file finish first.
func (s *segment) close() error {
	s.l.d.files.drop(s.fitem)
	s.l.d.indexes.drop(s.iitem)
	s.fmu.Lock()
	defer s.fmu.Unlock()
	s.closed = true
	s.setPinned(false)
	s.closeTwin()
	if s.refs == 0 && s.f != nil {
		err := s.f.Close()
		s.f = nil
		return err
	}
	return nil
}

// tryUnload is the clock's eviction of the indexes.
func (s *segment) tryUnload() bool {
	if !s.imu.TryLock() {
		return false
	}
	defer s.imu.Unlock()
	if s.active || !s.loaded {
		return false
	}
	s.loaded, s.offsets, s.times = false, nil, nil
	return true
}

// load brings the indexes of a sealed segment into memory. Call with imu held.
func (s *segment) load() error {
	s.iitem.used.Store(true)
	if s.loaded {
		return nil
	}
	size := s.size.Load()
	if size == 0 {
		s.loaded, s.maxKnown = true, true
		return nil
	}
	limit := size/batch.HeaderSize*timeEntrySize + 64<<20
	p, err := readFile(s.l.d.fs, s.path(suffixIndex), limit)
	if err != nil {
		return fmt.Errorf("load offset index: %w", err)
	}
	if s.offsets, err = parseOffsetIndex(p, max(size, 1)); err != nil {
		return fmt.Errorf("load %s: %w", s.path(suffixIndex), err)
	}
	p, err = readFile(s.l.d.fs, s.path(suffixTimeIndex), limit)
	if err != nil {
		return fmt.Errorf("load time index: %w", err)
	}
	if s.times, err = parseTimeIndex(p); err != nil {
		return fmt.Errorf("load %s: %w", s.path(suffixTimeIndex), err)
	}
	s.loaded, s.saved = true, true
	if n := len(s.times); n > 0 && !s.maxKnown {
		s.maxTs, s.maxTsRel, s.maxKnown = s.times[n-1].ts, s.times[n-1].rel, true
	}
	s.maxKnown = true
	if n := len(s.offsets); n > 0 {
		s.sinceLast = size - int64(s.offsets[n-1].pos)
	} else {
		s.sinceLast = size
	}
	if !s.active {
		s.l.d.indexes.add(s.iitem, int64(len(s.offsets)*8+len(s.times)*16+64))
	}
	return nil
}

// position returns where to scan from to find offset.
func (s *segment) position(offset int64) (int64, error) {
	s.imu.Lock()
	defer s.imu.Unlock()
	if offset <= s.base {
		return 0, nil
	}
	for _, h := range s.hints {
		if h.offset == offset {
			return h.pos, nil
		}
	}
	if err := s.ensure(); err != nil {
		return 0, err
	}
	return int64(lookupOffset(s.offsets, offset-s.base)), nil
}

// remember notes where a read ended, since that is where the same reader goes on.
// gen is the truncation count from before the read: what a truncation cut off must not be remembered.
func (s *segment) remember(next, pos, gen int64) {
	s.imu.Lock()
	if s.l.truncations.Load() == gen {
		s.hints[s.hint%len(s.hints)] = readHint{next, pos}
		s.hint++
	}
	s.imu.Unlock()
}

// ensure loads the indexes, and rebuilds them from the segment when their files are damaged. Call with imu held.
func (s *segment) ensure() error {
	err := s.load()
	if err == nil {
		return nil
	}
	s.l.d.log.Warn("index is unreadable and rebuilt", "segment", s.path(suffixLog), "err", err)
	return s.rebuild()
}

// largestTimestamp returns the largest timestamp and its offset, loading the time index when it must.
func (s *segment) largestTimestamp() (ts, offset int64, err error) {
	s.imu.Lock()
	defer s.imu.Unlock()
	if !s.maxKnown {
		if err := s.ensure(); err != nil {
			return 0, 0, err
		}
	}
	return s.maxTs, s.base + int64(s.maxTsRel), nil
}

// add notes a batch that was written at pos. Call with imu held or the segment not shared yet.
func (s *segment) add(pos int64, lastOffset, maxTs int64, size int64, interval int64) {
	s.saved = false
	if !s.firstOK {
		s.firstTs, s.firstOK = maxTs, true
	}
	if maxTs > s.maxTs {
		s.maxTs, s.maxTsRel = maxTs, uint32(lastOffset-s.base)
	}
	if s.sinceLast > interval && pos > 0 {
		s.offsets = append(s.offsets, offsetEntry{uint32(lastOffset - s.base), uint32(pos)})
		s.addTime()
		s.sinceLast = 0
	}
	s.sinceLast += size
}

func (s *segment) addTime() {
	if s.maxTs < 0 {
		return
	}
	if n := len(s.times); n > 0 && s.maxTs <= s.times[n-1].ts {
		return
	}
	s.times = append(s.times, timeEntry{s.maxTs, s.maxTsRel})
}

// writeIndexes writes the index files as they are in memory. With sync they are durable, but for their names, and each is put in
// place at once: the recovery point may have passed the segment, and what is in place then is believed. Call with imu held.
func (s *segment) writeIndexes(suffix string, sync bool) error {
	s.addTime() // the last entry is the segment's largest timestamp
	if err := s.writeBeside(s.path(suffixIndex)+suffix, formatOffsetIndex(s.offsets), sync); err != nil {
		return fmt.Errorf("write offset index: %w", err)
	}
	if err := s.writeBeside(s.path(suffixTimeIndex)+suffix, formatTimeIndex(s.times), sync); err != nil {
		return fmt.Errorf("write time index: %w", err)
	}
	s.saved = sync && suffix == ""
	return nil
}

// writeBeside writes a file of the segment; with sync by way of a temporary one.
func (s *segment) writeBeside(name string, p []byte, sync bool) error {
	if !sync {
		return writeFile(s.l.d.fs, name, p, false)
	}
	if err := writeFile(s.l.d.fs, name+suffixTmp, p, true); err != nil {
		return err
	}
	return s.l.d.fs.Rename(name+suffixTmp, name)
}

// rescan makes the offset and time index in memory anew from the segment. Call with imu held.
func (s *segment) rescan() error {
	s.offsets, s.times, s.sinceLast, s.hints = nil, nil, 0, [4]readHint{}
	s.maxTs, s.maxTsRel, s.firstOK = batch.NoTimestamp, 0, false
	interval := s.l.config().IndexIntervalBytes
	err := s.headers(0, s.size.Load(), func(pos int64, h batch.Batch, size int64) bool {
		s.add(pos, h.LastOffset(), h.MaxTimestamp(), size, interval)
		return true
	})
	if err != nil {
		return fmt.Errorf("rebuild index: %w", err)
	}
	s.loaded, s.maxKnown = true, true
	return nil
}

// rebuild is rescan that writes the index files as well. Call with imu held.
func (s *segment) rebuild() error {
	if err := s.rescan(); err != nil {
		return err
	}
	if err := s.writeIndexes("", true); err != nil {
		if !isFull(err) {
			return err
		}
		_ = s.l.d.full(err) // what is in memory serves
	}
	if !s.active {
		s.l.d.indexes.add(s.iitem, int64(len(s.offsets)*8+len(s.times)*16+64))
	}
	return nil
}

// headers calls fn with the header (not the records) of each batch from pos to end. It stops when fn returns false.
// A header that does not parse is an error: recovery made sure that there is none.
func (s *segment) headers(pos, end int64, fn func(pos int64, h batch.Batch, size int64) bool) error {
	f, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release()
	return s.walk(&window{f: f, end: end}, pos, false, fn)
}

// readHeaders is headers of the whole segment just after it was read: what is in the page cache need not be copied from there once more,
// but for the headers of large batches.
func (s *segment) readHeaders(fn func(pos int64, h batch.Batch, size int64) bool) error {
	f, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release()
	return s.walk(&window{f: f, end: s.size.Load()}, 0, true, fn)
}

// largeBatch is from how many bytes on a header read by itself costs less than all that lies between it and the next.
const largeBatch = 4 << 10

// walk calls fn for the headers that a window shows. sparse has it skip over what large batches hold.
func (s *segment) walk(w *window, pos int64, sparse bool, fn func(pos int64, h batch.Batch, size int64) bool) error {
	for end := w.end; pos < end; {
		h, err := w.at(pos, batch.HeaderSize)
		if err != nil {
			return fmt.Errorf("%s: position %d: %w", s.path(suffixLog), pos, err)
		}
		n, err := batch.Size(h)
		if err != nil || pos+int64(n) > end {
			return fmt.Errorf("%s: position %d: %w: batch of %d bytes, file of %d", s.path(suffixLog), pos, batch.ErrCorrupt, n, end)
		}
		if w.chunk = 0; sparse && n >= largeBatch {
			w.chunk = batch.HeaderSize
		}
		if !fn(pos, batch.Batch(h), int64(n)) {
			return nil
		}
		pos += int64(n)
	}
	return nil
}

// deleteFiles renames the files of a segment that left the list to ".deleted"; Housekeep removes them after
// file.delete.delay.ms. The log comes first: what is left after a crash in between are indexes without a log, which
// opening removes.
func (s *segment) deleteFiles() error {
	d := s.l.d
	for _, suffix := range []string{suffixLog, suffixIndex, suffixTimeIndex, suffixTxnIndex} {
		from := s.path(suffix)
		err := d.fs.Rename(from, from+suffixDeleted)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case isFull(err): // the longer name has no room; those who read have the file open
			err = removeIfExists(d.fs, from)
		}
		if err != nil {
			return fmt.Errorf("delete segment: %w", err)
		}
		d.removeLater(from+suffixDeleted, time.Duration(min(s.l.config().FileDeleteDelayMs, 1<<40))*time.Millisecond)
	}
	return nil
}
