package log

import (
	"errors"
	"maps"
	"slices"

	"github.com/moldau-io/moldau/core/log/batch"
)

// syncOnTheWay is how much of a new segment is written before it is synced, long before it is finished: what is left to be written all at once has
// everybody else's syncs wait for it (a file of 1 GiB that is synced at its end makes the p99 of small ones 300 to 550 ms, and 7 when it is synced like this).
const syncOnTheWay = 8 << 20

// segmentWriter writes a new segment under ".cleaned" names.
type segmentWriter struct {
	l        *Log
	s        *segment
	f        File
	buf      []byte
	flushed  int64
	synced   int64 // how much of flushed was synced on the way
	size     int64
	interval int64
	aborted  []AbortedTxn
	scratch  []byte
	done     bool
}

func (l *Log) newSegmentWriter(base int64) (*segmentWriter, error) {
	s := l.newSegment(base)
	f, err := l.d.fs.OpenFile(s.path(suffixLog)+suffixCleaned, createFlags)
	if err != nil {
		return nil, err
	}
	return &segmentWriter{l: l, s: s, f: f, interval: l.config().IndexIntervalBytes}, nil
}

func (w *segmentWriter) write(b batch.Batch) error {
	w.s.add(w.size, b.LastOffset(), b.MaxTimestamp(), int64(len(b)), w.interval)
	w.size += int64(len(b))
	w.buf = append(w.buf, b...)
	if len(w.buf) >= 512<<10 {
		return w.flush()
	}
	return nil
}

func (w *segmentWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if _, err := w.f.WriteAt(w.buf, w.flushed); err != nil {
		return err
	}
	w.flushed += int64(len(w.buf))
	w.buf = w.buf[:0]
	if w.flushed-w.synced < syncOnTheWay {
		return nil
	}
	w.synced = w.flushed
	return w.f.Sync()
}

// finish makes the new files durable.
func (w *segmentWriter) finish() error {
	err := w.flush()
	if err == nil {
		err = w.f.Sync()
	}
	err = errors.Join(err, w.f.Close())
	if err != nil {
		return err
	}
	w.s.size.Store(w.size)
	w.s.loaded, w.s.maxKnown = true, true
	if err := w.s.writeIndexes(suffixCleaned, true); err != nil {
		return err
	}
	if len(w.aborted) > 0 {
		if err := writeFile(w.l.d.fs, w.s.path(suffixTxnIndex)+suffixCleaned, formatTxnIndex(w.aborted), true); err != nil {
			return err
		}
	}
	w.done = true
	return nil
}

// abandon removes the files when the pass did not get to finish.
func (w *segmentWriter) abandon() {
	if w.done {
		return
	}
	_ = w.f.Close()
	for _, suffix := range []string{suffixLog, suffixIndex, suffixTimeIndex, suffixTxnIndex} {
		_ = removeIfExists(w.l.d.fs, w.s.path(suffix)+suffixCleaned)
		_ = removeIfExists(w.l.d.fs, w.s.path(suffix)+suffixCleaned+suffixTmp)
	}
}

// swap puts the finished segment in place of the group. See the comment at the top for the order. Call with cleanMu held.
func (l *Log) swap(group []*segment, w *segmentWriter) error {
	fsys, dir, name := l.d.fs, l.dirPath(), w.s.path(suffixLog)
	steps := func(fns ...func() error) error {
		for _, fn := range fns {
			if err := fn(); err != nil {
				return err
			}
		}
		return fsys.SyncDir(dir)
	}
	rename := func(from, to string) func() error { return func() error { return fsys.Rename(from, to) } }
	if err := steps(rename(name+suffixCleaned, name+suffixSwap)); err != nil {
		return err
	}
	// Readers wait from here until the list is changed. The files stay open for those in the middle of a read.
	for _, s := range group {
		if _, err := s.acquire(); err != nil {
			return err
		}
		defer s.release()
		s.imu.Lock()
		defer s.imu.Unlock()
	}
	err := steps(func() error {
		for i, s := range group {
			if err := s.deleteFiles(); err != nil {
				return err
			}
			if i == len(group)-1 {
				break // steps syncs
			}
			if err := fsys.SyncDir(dir); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = steps(rename(name+suffixSwap, name))
	}
	if err == nil {
		err = steps(rename(w.s.path(suffixTimeIndex)+suffixCleaned, w.s.path(suffixTimeIndex)), func() error {
			if len(w.aborted) == 0 {
				return nil
			}
			return fsys.Rename(w.s.path(suffixTxnIndex)+suffixCleaned, w.s.path(suffixTxnIndex))
		})
	}
	if err == nil {
		err = steps(rename(w.s.path(suffixIndex)+suffixCleaned, w.s.path(suffixIndex)))
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.forgetDirty(group)
	segs := l.list()
	at := slices.Index(segs, group[0])
	fresh := slices.Concat(segs[:at:at], []*segment{w.s}, segs[at+len(group):])
	l.segs.Store(&fresh)
	l.mu.Unlock()
	l.d.indexes.add(w.s.iitem, int64(len(w.s.offsets)*8+len(w.s.times)*16+64))
	keep := maps.Collect(func(yield func(int64, bool) bool) {
		for _, s := range fresh {
			if !yield(s.base, true) {
				return
			}
		}
	})
	for _, s := range group {
		if cerr := s.close(); cerr != nil {
			return cerr
		}
	}
	// Snapshots are of segment bases; those of bases that are gone serve no one.
	lo, hi := group[0].base, group[len(group)-1].base
	return l.removeSnapshots(func(o int64) bool { return o > lo && o <= hi && !keep[o] })
}
