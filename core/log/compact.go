package log

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/moldau-io/moldau/core/log/batch"
)

// Compaction keeps the last record of each key. One pass reads the part of the log that no pass has seen (the dirty part) and
// notes each key's last offset, in bounded memory; when that is full, the pass ends there and the next goes on. Then it
// rewrites the sealed segments from the oldest up to that point, dropping every record whose key has a later one.
//
//   - Offsets are kept: a batch keeps its first and last offset even when records inside it are gone.
//   - A tombstone (null value) stays until delete.retention.ms after the first pass that saw it, so that a consumer which
//     read an older value in time learns of the deletion. That moment, the delete horizon, is stored in the batch (KIP-534).
//   - The active segment, what is not below the high watermark, what a transaction holds open, and what is younger than
//     min.compaction.lag.ms are not touched.
//   - Records of aborted transactions go. A transaction's marker goes when none of its records is left, after the horizon.
//   - The last batch of a producer stays, emptied if need be, because its sequence number is the producer's state.
//
// A group of segments is replaced in an order such that a crash at any point leaves the old ones or the new one:
//
//  1. The new segment and its indexes are written as ".cleaned" and synced. A crash up to here leaves nothing but those.
//  2. The new log is renamed to ".swap": from now on it stands for the group, and opening the directory would complete the rest.
//  3. The old segments are renamed away, the index files of the first too: the oldest first, each durably before the next. Of those
//     that the new one does not reach, because it dropped their last records, a crash then leaves the end and never a part without
//     what follows it, such as records without their abort marker.
//  4. ".swap" becomes the log, then the indexes follow, the offset index last: a segment without it is recovered when opened.
//
// The directory is synced after each. Readers keep the files that they have open, and look the segment up again when it was
// replaced under them.

// compactDue compacts the logs that are dirty enough, dirtiest first, one after the other.
func (d *Dir) compactDue(ctx context.Context) error {
	due, err := d.dueLogs()
	for _, c := range due {
		if ctx.Err() != nil {
			break
		}
		err = errors.Join(err, c.l.compactDue(ctx))
	}
	if len(due) > 0 {
		err = errors.Join(err, d.checkpointCleaner())
	}
	return err
}

// dueLogs are the logs that are dirty enough, dirtiest first. Those that are being compacted are not among them.
func (d *Dir) dueLogs() (due []dueLog, err error) {
	for _, l := range d.list() {
		if !l.config().Compact || !l.configured.Load() || l.uncleanable.Load() {
			continue
		}
		ratio, must, lerr := l.dirtiness()
		if lerr != nil {
			err = errors.Join(err, l.unclean(fmt.Errorf("compact %s: %w", l.id, lerr)))
			continue
		}
		if ratio > l.config().MinCleanableDirtyRatio || must && ratio > 0 {
			due = append(due, dueLog{l, ratio})
		}
	}
	sortDirtiest(due)
	return due, err
}

// compactDue compacts a log, and gives retention the turn that it left to that.
func (l *Log) compactDue(ctx context.Context) error {
	err := l.unclean(l.Compact(ctx))
	if l.passedBy.Swap(false) {
		err = errors.Join(err, l.d.retainLogs(ctx, []*Log{l}))
	}
	return err
}

// unclean says what is to be told of an error of compaction. A log that holds what cannot be read is compacted no more until it is opened again, as in
// Kafka: reading it up to there each time would bring nothing. Retention, appends and reads of the rest go on.
func (l *Log) unclean(err error) error {
	switch {
	case errors.Is(err, ErrClosed):
		return nil
	case errors.Is(err, batch.ErrCorrupt) || errors.Is(err, batch.ErrShort) || errors.Is(err, batch.ErrMagic):
		l.uncleanable.Store(true)
		return fmt.Errorf("%w; it is not compacted again before the next start", err)
	}
	return err
}

// cleanable returns the sealed segments that may be compacted and the offset where the dirty part begins. Call with
// cleanMu held.
func (l *Log) cleanable() (segs []*segment, dirtyFrom int64, err error) {
	all := l.list()
	if len(all) == 0 {
		return nil, 0, ErrClosed
	}
	cfg, now := l.config(), l.d.nowMs()
	bound := l.StableOffset(l.highWatermark())
	n := 0
	for ; n < len(all)-1; n++ {
		if all[n+1].base > bound {
			break
		}
		if cfg.MinCompactionLagMs > 0 {
			ts, _, err := all[n].largestTimestamp()
			if err != nil {
				return nil, 0, err
			}
			if ts > satSub(now, cfg.MinCompactionLagMs) {
				break
			}
		}
	}
	from := l.dirtyFrom
	if from < all[0].base || from > l.end.Load() {
		from = all[0].base // the checkpoint is of another time: begin anew
	}
	return all[:n], from, nil
}

// dirtiness is the share of dirty bytes in what can be compacted; must says that max.compaction.lag.ms has passed for some.
func (l *Log) dirtiness() (ratio float64, must bool, err error) {
	if !l.cleanMu.TryLock() {
		return 0, false, nil // retention or compaction is at it
	}
	defer l.cleanMu.Unlock()
	segs, from, err := l.cleanable()
	if err != nil {
		return 0, false, err
	}
	var clean, dirty int64
	cfg, now := l.config(), l.d.nowMs()
	for i, s := range segs {
		next := l.list()[i+1].base
		if next <= from {
			clean += s.size.Load()
			continue
		}
		dirty += s.size.Load()
		if !must && s.size.Load() > 0 {
			ts, err := s.firstTimestamp()
			if err != nil {
				return 0, false, err
			}
			must = ts >= 0 && now-ts > cfg.MaxCompactionLagMs
		}
	}
	if dirty == 0 {
		return 0, false, nil
	}
	return float64(dirty) / float64(clean+dirty), must, nil
}

// firstTimestamp is that of the first batch.
func (s *segment) firstTimestamp() (int64, error) {
	ts := int64(batch.NoTimestamp)
	err := s.headers(0, s.size.Load(), func(_ int64, h batch.Batch, _ int64) bool { ts = h.MaxTimestamp(); return false })
	return ts, err
}

// Uncleanable says whether compaction leaves the log alone because it found what cannot be read.
func (l *Log) Uncleanable() bool { return l.uncleanable.Load() }

// errGaveWay ends a compaction whose log somebody cannot wait for.
var errGaveWay = errors.New("compaction gave way")

// Compact compacts the log now, however little is dirty. It returns early, with the work done so far kept, when ctx ends or the log is
// deleted, truncated or moved meanwhile.
func (l *Log) Compact(ctx context.Context) error {
	if err := l.check(); err != nil {
		return err
	}
	l.cleanMu.Lock()
	defer l.cleanMu.Unlock()
	segs, from, err := l.cleanable()
	if err != nil || len(segs) == 0 || l.list()[len(segs)].base <= from {
		return err
	}
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	l.giveWay.Store(&giveUp)
	defer l.giveWay.Store(nil)
	c := &compaction{l: l, ctx: ctx, cfg: l.config(), now: l.d.nowMs(), keys: newOffsetMap(l.d.cleaner.share(l.d.tuning.Load().CleanerBufferBytes))}
	if err := c.run(segs, from); errors.Is(err, errGaveWay) {
		return nil
	} else if err != nil {
		return fmt.Errorf("compact %s: %w", l.id, err)
	}
	l.dirtyFrom = c.end
	return nil
}

// compaction is one pass over a log.
type compaction struct {
	l    *Log
	ctx  context.Context
	cfg  *Config
	now  int64
	keys *offsetMap
	end  int64 // the pass knows all keys below

	aborted []AbortedTxn // by first offset
	last    map[int64]lastBatch

	reader  batch.Reader
	txns    txnTracker
	builder batch.Builder

	before, after int64 // bytes

	spent, allowed int // bytes that were read and written since the pace was asked, and that may be until it is asked again
}

// lastBatch is what the producer state needs of a producer's last batch.
type lastBatch struct {
	epoch      int16
	lastOffset int64 // of data; -1 when only a marker is known
}

// stopped is why to stop, if that is so.
func (c *compaction) stopped() error {
	if c.l.hasty.Load() > 0 {
		return errGaveWay
	}
	return c.ctx.Err()
}

// spend counts what was read and written, waits when that was more than the cleaner's pace allows, and says why to stop if that is so. It is called
// with each batch.
func (c *compaction) spend(bytes int) (err error) {
	if c.spent += bytes; c.spent > c.allowed {
		p := c.l.d.cleaner.pace
		p.copied(c.spent, time.Now())
		c.spent = 0
		c.allowed, err = p.wait(c.ctx)
	}
	return cmp.Or(c.stopped(), err)
}

func (c *compaction) run(segs []*segment, from int64) error {
	// Their markers may lie behind the segments that are compacted.
	aborted, err := c.l.AbortedTxns(segs[0].base, c.l.list()[len(segs)].base)
	if err != nil {
		return err
	}
	c.aborted = aborted
	slices.SortFunc(c.aborted, func(a, b AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	if err := c.buildKeys(segs, from); err != nil {
		return err
	}
	if c.end <= from {
		return fmt.Errorf("the keys of one batch at offset %d do not fit in log.cleaner.dedupe.buffer.size", from)
	}
	if err := c.lastBatches(); err != nil {
		return err
	}
	n := len(segs)
	for n > 0 && segs[n-1].base >= c.end {
		n--
	}
	c.txns = newTxnTracker(c.aborted)
	for _, group := range c.groups(segs[:n]) {
		if err := c.stopped(); err != nil {
			return err
		}
		if err := c.clean(group); err != nil {
			return err
		}
	}
	c.l.d.log.Info("log is compacted", "partition", c.l.id, "upTo", c.end, "keys", c.keys.n, "bytesBefore", c.before, "bytesAfter", c.after)
	return nil
}

// buildKeys notes the last offset of each key in the dirty part, and sets end to where it had to stop.
func (c *compaction) buildKeys(segs []*segment, from int64) error {
	txns := newTxnTracker(c.aborted)
	c.end = from
	full := false
	for i, s := range segs {
		next := c.l.list()[i+1].base
		if next <= from {
			// Only what was aborted and never dropped matters here, and that has its first offset in the index.
			continue
		}
		err := s.batches(func(b batch.Batch) (bool, error) {
			if err := c.spend(len(b)); err != nil || b.LastOffset() < from {
				return err == nil, err
			}
			if !c.keys.room(int(b.RecordCount())) {
				full = true
				return false, nil
			}
			c.end = b.NextOffset()
			if b.IsControl() {
				txns.control(b, &c.reader)
				return true, nil
			}
			if txns.isAborted(b) {
				return true, nil
			}
			u, err := c.l.unpack(&c.reader, b, 0, true)
			defer u.done(&c.reader)
			if err != nil {
				return false, err
			}
			for {
				rec, more := c.reader.Next()
				if !more {
					return true, c.reader.Err()
				}
				if rec.Key != nil && rec.Offset >= from {
					c.keys.put(rec.Key, rec.Offset)
				}
			}
		})
		if err != nil {
			return err
		}
		if full {
			return nil
		}
		c.end = next
	}
	return nil
}

// lastBatches takes from the producer state which batches must stay for it.
func (c *compaction) lastBatches() error {
	l := c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.needProducers(); err != nil {
		return err
	}
	c.last = make(map[int64]lastBatch, len(l.producers.byID))
	for id, e := range l.producers.byID {
		lb := lastBatch{epoch: e.epoch, lastOffset: NoOffset}
		if m := e.last(); m != nil {
			lb.lastOffset = m.lastOffset
		}
		c.last[id] = lb
	}
	return nil
}

// isLast says whether the producer state needs b.
func (c *compaction) isLast(b batch.Batch) bool {
	lb, ok := c.last[b.ProducerID()]
	if !ok || b.ProducerID() < 0 {
		return false
	}
	if lb.lastOffset >= 0 {
		return lb.lastOffset == b.LastOffset()
	}
	return b.IsControl() && lb.epoch == b.ProducerEpoch()
}

// groupMost is how many segments make one at most: all of their files are open while they are replaced.
const groupMost = 256

// groups puts neighbours together that fit in one segment as they are.
func (c *compaction) groups(segs []*segment) [][]*segment {
	var out [][]*segment
	for i := 0; i < len(segs); {
		n, size := i+1, segs[i].size.Load()
		indexes := size / max(c.cfg.IndexIntervalBytes, batch.HeaderSize) * timeEntrySize
		for ; n < len(segs) && n-i < groupMost; n++ {
			s := segs[n].size.Load()
			end := c.l.list()[n+1].base
			indexes += s / max(c.cfg.IndexIntervalBytes, batch.HeaderSize) * timeEntrySize
			if size+s > c.cfg.SegmentBytes || end-segs[i].base > 1<<31-1 || indexes > c.cfg.SegmentIndexBytes {
				break
			}
			size += s
		}
		out = append(out, segs[i:n])
		i = n
	}
	return out
}

// clean rewrites one group.
func (c *compaction) clean(group []*segment) error {
	w, err := c.l.newSegmentWriter(group[0].base)
	if err != nil {
		return err
	}
	defer w.abandon()
	for _, s := range group {
		c.before += s.size.Load()
		err := s.batches(func(b batch.Batch) (bool, error) {
			at := w.size
			if err := c.filter(w, b); err != nil {
				return false, err
			}
			return true, c.spend(len(b) + int(w.size-at))
		})
		if err != nil {
			return err
		}
	}
	if err := w.finish(); err != nil {
		return c.l.d.fail(err)
	}
	c.after += w.size
	if err := c.l.swap(group, w); err != nil {
		return c.l.d.broken(err)
	}
	return nil
}

// filter writes what stays of a batch.
func (c *compaction) filter(w *segmentWriter, b batch.Batch) error {
	horizon, stamped := b.DeleteHorizonMs()
	expired := stamped && horizon <= c.now
	known := b.LastOffset() < c.end // the pass has seen all of it
	if b.IsControl() {
		empty, entry := c.txns.control(b, &c.reader)
		if entry != nil {
			w.aborted = append(w.aborted, *entry)
		}
		switch {
		case !empty || !known:
			return w.write(b)
		case expired && c.isLast(b):
			return c.writeEmpty(w, b)
		case expired:
			return nil
		case stamped:
			return w.write(b)
		}
		return c.stamp(w, b)
	}
	if c.txns.isAborted(b) {
		if c.isLast(b) {
			return c.writeEmpty(w, b)
		}
		return nil
	}
	if b.RecordCount() == 0 {
		if c.isLast(b) || !known {
			return w.write(b)
		}
		return nil
	}
	u, err := c.l.unpack(&c.reader, b, 0, true)
	kept, tombstones := 0, false
	for err == nil {
		rec, more := c.reader.Next()
		if !more {
			err = c.reader.Err()
			break
		}
		if c.keeps(rec, expired) {
			kept++
			tombstones = tombstones || rec.Value == nil
		}
	}
	u.done(&c.reader) // before rebuild, which unpacks it again
	if err != nil {
		return err
	}
	stamp := tombstones && !stamped && known
	switch {
	case kept == 0 && c.isLast(b):
		return c.writeEmpty(w, b)
	case kept == 0:
		return nil
	case kept == int(b.RecordCount()) && !stamp:
		return w.write(b)
	}
	return c.rebuild(w, b, stamp, expired)
}

// keeps says whether a record is its key's last and not a tombstone whose time is over. Records without a key do not belong
// in a compacted log; there may be some from before it was one.
func (c *compaction) keeps(rec *batch.Record, expired bool) bool {
	if rec.Key == nil {
		return false
	}
	if last, ok := c.keys.get(rec.Key); ok && rec.Offset < last {
		return false
	}
	return rec.Value != nil || !expired
}

// rebuild writes a batch with the records that stay, in its own codec, stamped with a delete horizon when asked for.
func (c *compaction) rebuild(w *segmentWriter, b batch.Batch, stamp, expired bool) error {
	bl := c.like(b)
	if stamp {
		bl.HasHorizon, bl.DeleteHorizon = true, satAdd(c.now, c.cfg.DeleteRetentionMs)
	}
	u, err := c.l.unpack(&c.reader, b, 0, true)
	defer u.done(&c.reader)
	if err != nil {
		return err
	}
	bl.Grow(len(c.reader.Unpacked()))
	for {
		rec, more := c.reader.Next()
		if !more {
			break
		}
		if b.IsControl() || c.keeps(rec, expired) {
			bl.AppendDelta(rec.OffsetDelta, rec.Timestamp, rec.Key, rec.Value, rec.Headers...)
		}
	}
	if err := c.reader.Err(); err != nil {
		return err
	}
	return c.put(w, bl, b)
}

// stamp gives a marker whose transaction is empty its delete horizon.
func (c *compaction) stamp(w *segmentWriter, b batch.Batch) error {
	return c.rebuild(w, b, true, false)
}

// writeEmpty writes the batch without its records.
func (c *compaction) writeEmpty(w *segmentWriter, b batch.Batch) error {
	if b.RecordCount() == 0 {
		return w.write(b)
	}
	return c.put(w, c.like(b), b)
}

func (c *compaction) like(b batch.Batch) *batch.Builder {
	fresh := rebuilder(b)
	fresh.Level = c.cfg.codecLevel(b.Codec())
	c.builder.SetLike(fresh)
	return &c.builder
}

func (c *compaction) put(w *segmentWriter, bl *batch.Builder, b batch.Batch) error {
	out, err := bl.AppendToLast(w.scratch[:0], b.LastOffsetDelta(), b.MaxTimestamp())
	if err != nil {
		return err
	}
	w.scratch = out
	return w.write(batch.Batch(out))
}

// batches calls fn with each batch of the segment, until it returns false or an error. A batch is valid during the call.
func (s *segment) batches(fn func(b batch.Batch) (bool, error)) error {
	f, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.release()
	size := s.size.Load()
	w := window{f: f, end: size, chunk: 1 << 20}
	for pos := int64(0); pos < size; {
		h, err := w.at(pos, batch.HeaderSize)
		if err != nil {
			return fmt.Errorf("%s: position %d: %w", s.path(suffixLog), pos, err)
		}
		n, err := batch.Size(h)
		if err != nil || pos+int64(n) > size {
			return fmt.Errorf("%s: position %d: %w: batch of %d bytes, file of %d", s.path(suffixLog), pos, batch.ErrCorrupt, n, size)
		}
		p, err := w.at(pos, n)
		if err != nil {
			return err
		}
		b := batch.Batch(p)
		if err := b.Check(); err != nil {
			return fmt.Errorf("%s: position %d: %w", s.path(suffixLog), pos, err)
		}
		more, err := fn(b)
		if err != nil || !more {
			return err
		}
		pos += int64(n)
	}
	return nil
}
