package log

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// maxTxnIndexBytes bounds a transaction index file: a segment of 1 GiB cannot hold more aborted transactions.
const maxTxnIndexBytes = 1 << 30

// appendTxn adds an aborted transaction to the segment's transaction index. Aborts are rare: the file is opened for
// each. It need not be synced with the batch: recovery rebuilds it from the markers.
func (s *segment) appendTxn(t AbortedTxn) error {
	s.aborts.Store(2)
	f, err := s.l.d.fs.OpenFile(s.path(suffixTxnIndex), os.O_RDWR|os.O_CREATE)
	if err != nil {
		return fmt.Errorf("open transaction index: %w", err)
	}
	n, err := f.Size()
	if err == nil {
		n -= n % txnEntrySize
		if _, err = f.WriteAt(formatTxnIndex([]AbortedTxn{t}), n); err != nil {
			_ = f.Truncate(n) // of a full disk
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("append to transaction index: %w", err)
	}
	return nil
}

// abortedTxns reads the segment's transaction index. It waits while a sealed segment is replaced, when its files are on their way.
func (s *segment) abortedTxns() ([]AbortedTxn, error) {
	if s.aborts.Load() == 1 {
		return nil, nil
	}
	s.imu.Lock()
	if s.active {
		s.imu.Unlock() // nobody replaces it, and appends need not wait
	} else {
		defer s.imu.Unlock()
	}
	return s.readTxns()
}

func (s *segment) readTxns() ([]AbortedTxn, error) {
	p, err := readFile(s.l.d.fs, s.path(suffixTxnIndex), maxTxnIndexBytes)
	p = p[:len(p)-len(p)%txnEntrySize] // an entry that is being written, or that a full disk took a part of, is of no transaction that has ended
	if errors.Is(err, fs.ErrNotExist) {
		s.aborts.CompareAndSwap(0, 1) // the first abort may be on its way
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read transaction index: %w", err)
	}
	ts, err := parseTxnIndex(p)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", s.path(suffixTxnIndex), err)
	}
	return ts, nil
}

// AbortedTxns lists the aborted transactions that may have records in [from, upTo), for a read_committed fetch.
// A transaction is in the index of the segment that holds its marker, so later segments are searched as well, until one
// says that everything before was stable. ErrOffsetOutOfRange when retention has taken the segment of from, and its index with it:
// who has read records from there does not learn any more which of them were aborted.
func (l *Log) AbortedTxns(from, upTo int64) ([]AbortedTxn, error) {
	for {
		if err := l.check(); err != nil {
			return nil, err
		}
		segs := l.segs.Load()
		out, err := abortedTxns(*segs, from, upTo)
		switch {
		case l.segs.Load() != segs: // those of a segment that went away are in the one that took its place
		case err != nil:
			return nil, err
		case len(*segs) > 0 && from < (*segs)[0].base:
			return nil, fmt.Errorf("%w: aborted transactions of %s from offset %d, the log begins at %d", ErrOffsetOutOfRange, l.id, from, (*segs)[0].base)
		default:
			return out, nil
		}
	}
}

func abortedTxns(segs []*segment, from, upTo int64) ([]AbortedTxn, error) {
	var out []AbortedTxn
	for i := max(find(segs, from), 0); i < len(segs); i++ {
		ts, err := segs[i].abortedTxns()
		if err != nil {
			return nil, err
		}
		for _, t := range ts {
			if t.LastOffset >= from && t.FirstOffset < upTo {
				out = append(out, t)
			}
			if t.LastStableOffset >= upTo {
				return out, nil
			}
		}
	}
	return out, nil
}
