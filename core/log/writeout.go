package log

import "fmt"

// What is written to the page cache and synced much later, as mode os does with a whole segment when it is full, is a gigabyte that goes to the disk at
// once. Whatever else wants the disk waits behind it meanwhile: syncs of other partitions, and whoever has blocks reserved (see roomRules), which
// changes what the file system is just writing about itself, with the log's lock held. A synced topic of 5 MB/s beside one of 244 MB/s in mode os had a p99 of 520 to 670 ms,
// and has 16 to 19 since a sync that has much to write writes it out bit by bit first. docs/benchmarks.md has more.
//
// Writing out makes nothing durable. It is followed by a sync in any case, which has little to do then; that is why it is no matter what of the file
// it goes over (segment.cleanTo is a hint), nor that a file system cannot do it.
type writeOutRules struct {
	from   int64 // from how many bytes on a sync writes out first
	atOnce int64 // how many bytes are on their way at a time
}

// defaultWriteOut leaves alone what is synced as it comes: some MiB at most in all loads that were watched. 8 MiB are some milliseconds of a disk that is not slow.
var defaultWriteOut = writeOutRules{from: 64 << 20, atOnce: 8 << 20}

// outWriter is a File that can have a part of it written to the disk.
type outWriter interface {
	// WriteOut writes what is between two places to the disk and waits for that. An error says that something could not be written, as one of
	// Sync does. That the file system cannot is none.
	WriteOut(from, to int64) error
}

// writeOut writes what a sync of the file will find, when that is much.
func (df *dirtyFile) writeOut(rules writeOutRules) error {
	w, ok := df.f.(outWriter)
	if !ok || df.to-df.from < rules.from {
		return nil
	}
	for at := df.from; at < df.to; at += rules.atOnce {
		if err := w.WriteOut(at, min(at+rules.atOnce, df.to)); err != nil {
			return fmt.Errorf("write out: %w", err)
		}
	}
	return nil
}

// sparesActive says whether a sync leaves the active segment to the operating system: in mode os, when a sealed one is all that it was called for,
// as Kafka syncs what is before the new segment. Call with mu held.
func (l *Log) sparesActive() bool {
	cfg := l.config()
	return len(l.dirtySealed) > 0 && l.activeDirty && l.durability() == DurabilityOS &&
		l.unflushed < cfg.FlushMessages && l.d.nowMs()-l.lastFlush < cfg.FlushMs && !l.awaited()
}

// awaited says whether somebody waits for records to be durable, as from before the mode was changed.
func (l *Log) awaited() bool {
	l.waitMu.Lock()
	defer l.waitMu.Unlock()
	return len(l.waiters) > 0
}
