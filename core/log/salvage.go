package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/moldau-io/moldau/core/log/batch"
)

// Recovery reads a segment that may hold bytes that were never synced, and tells three things apart:
//
//   - A torn tail: nothing valid follows the first bad batch. It is a write that a crash interrupted; it was never
//     acknowledged as durable and is cut off.
//   - Damage: a valid batch follows the bad bytes. Those bytes were once good, so they are reported, the original file is kept
//     as <base>.log.corrupt, and the log goes on with what is valid. Readers see a gap in the offsets, as after compaction.
//   - Damage that can be undone: base offset, length and magic are not under the checksum, and when only they are wrong the
//     neighbours and the checksum itself tell what they were. So with the leader epoch, which never falls.
//
// What "valid" means matters, because the value of a record may itself contain record batches (a mirrored topic, a
// backup). A batch is looked for inside the bytes that another one claims only if that claim is impossible, or if the claimant's
// own checksum proves that it ends exactly there. A batch that runs past the end of the file is the usual torn tail; unless the
// recovery point says that it was synced, only such a proof makes it anything else.

// patch restores header fields of the batch at pos.
type patch struct {
	pos    int64
	prefix [batch.OffsetCRC]byte
}

// damage is a range of bytes that is not a batch.
type damage struct {
	pos, length int64
	first, next int64
	repaired    bool
}

// findings are the result of a scan.
type findings struct {
	end     int64 // where the good bytes end: less than the size for a torn tail
	next    int64 // offset after the last good batch
	blank   int64 // behind it there are only zeros, if anything
	whole   bool  // the file is as it was: sound, and no torn tail was cut off but zeros that were written ahead
	damages []damage
	patches []patch
}

func (f *findings) sound() bool { return len(f.damages) == 0 && len(f.patches) == 0 }

// scan is the state of reading a segment of size bytes whose offsets lie in [base, limit).
type scan struct {
	w             window
	size          int64
	blank         int64 // from here on, or a bit later when the last batch ends in zeros, there are only zeros that were written ahead; see zeroRules
	base, limit   int64
	recoveryPoint int64
	epoch         int32 // of the last good batch
	out           findings
}

// head is a batch header that was read at a position.
type head struct {
	prefix [batch.HeaderSize]byte
	n      int64 // size of the batch by its own word
}

func (h *head) b() batch.Batch { return batch.Batch(h.prefix[:]) }

func scanSegment(f io.ReaderAt, size, base, limit, recoveryPoint int64) (findings, error) {
	blank, err := blankFrom(f, size)
	if err != nil {
		return findings{}, err
	}
	s := &scan{w: window{f: f, end: size, chunk: 1 << 20}, size: size, blank: blank, base: base, limit: limit, recoveryPoint: recoveryPoint, epoch: NoEpoch}
	s.out.next, s.out.blank = base, blank
	pos := int64(0)
	for pos < blank {
		next, err := s.step(pos)
		if err != nil {
			return findings{}, err
		}
		if next < 0 {
			break
		}
		pos = next
	}
	s.out.end = pos
	return s.out, nil
}

// read reads the header at pos; ok is false when the file ends before it does.
func (s *scan) read(pos int64) (h head, ok bool, err error) {
	if pos+batch.HeaderSize > s.size {
		return h, false, nil
	}
	p, err := s.w.at(pos, batch.HeaderSize)
	if err != nil {
		return h, false, err
	}
	copy(h.prefix[:], p)
	h.n = int64(int32(binary.BigEndian.Uint32(p[batch.OffsetLength:]))) + batch.Overhead
	return h, true, nil
}

// shape says whether the fields under the checksum are possible. Attributes that nobody knows are: they are kept as they were sent.
func (h *head) shape() bool {
	b := h.b()
	return b.Codec() <= batch.Zstd && b.LastOffsetDelta() >= 0 && b.RecordCount() >= 0 &&
		int64(b.RecordCount()) <= int64(b.LastOffsetDelta())+1
}

// fits says whether the length is possible at pos.
func (h *head) fits(pos, size int64) bool { return h.n >= batch.HeaderSize && pos+h.n <= size }

// places says whether the offsets are possible after next.
func (s *scan) places(h *head, next int64) bool {
	o, d := h.b().BaseOffset(), int64(h.b().LastOffsetDelta())
	return o >= next && o-s.base <= math.MaxInt32 && o+d < s.limit && o+d-s.base <= math.MaxInt32
}

func (s *scan) crcOK(h *head, pos, end int64) (bool, error) {
	crc, err := s.w.checksum(pos+batch.OffsetAttributes, end)
	return crc == h.b().CRC(), err
}

// valid reads a batch at pos that is right in all respects and may follow the offset next.
func (s *scan) valid(pos, next int64) (h head, ok bool, err error) {
	h, ok, err = s.read(pos)
	if !ok || err != nil || h.b().Magic() != 2 || !h.fits(pos, s.size) || !h.shape() || !s.places(&h, next) {
		return h, false, err
	}
	ok, err = s.crcOK(&h, pos, pos+h.n)
	return h, ok, err
}

// step judges what is at pos and returns where to go on, or -1 when the rest is a torn tail.
func (s *scan) step(pos int64) (int64, error) {
	next := s.out.next
	h, ok, err := s.read(pos)
	if err != nil {
		return 0, err
	}
	if !ok {
		return -1, nil
	}
	if h.fits(pos, s.size) && h.shape() {
		good, err := s.crcOK(&h, pos, pos+h.n)
		if err != nil {
			return 0, err
		}
		if good {
			return s.intact(pos, &h)
		}
		// The body is damaged. If its length is right, a valid batch or the end of the file follows.
		if after, ok, err := s.valid(pos+h.n, next); err != nil {
			return 0, err
		} else if ok {
			s.lose(pos, pos+h.n, after.b().BaseOffset())
			return pos + h.n, nil
		}
	}
	return s.search(pos, &h)
}

// intact handles a batch whose checksum is right: what is outside of it, magic and base offset, may still be wrong.
func (s *scan) intact(pos int64, h *head) (int64, error) {
	next, b := s.out.next, h.b()
	want := b.BaseOffset()
	delta := int64(b.LastOffsetDelta())
	if want != next {
		// Either the offsets have a gap (compaction, an earlier repair) or the field is damaged: the batch after tells.
		follow := s.limit
		after, ok, err := s.valid(pos+h.n, next)
		if err != nil {
			return 0, err
		}
		if ok {
			follow = after.b().BaseOffset()
		}
		switch {
		case s.places(h, next) && want+delta < follow:
		case follow == next+delta+1, !ok && pos+h.n >= s.blank && next+delta < s.limit:
			want = next
		default:
			s.lose(pos, pos+h.n, min(follow, next+delta+1))
			return pos + h.n, nil
		}
	}
	epoch, err := s.rightEpoch(pos, h)
	if err != nil {
		return 0, err
	}
	s.epoch = epoch
	if want != b.BaseOffset() || b.Magic() != 2 || epoch != b.LeaderEpoch() {
		b.SetBaseOffset(want)
		b.SetLeaderEpoch(epoch)
		b[batch.OffsetMagic] = 2
		s.repair(pos, h)
	}
	s.out.next = want + delta + 1
	return pos + h.n, nil
}

// rightEpoch is the leader epoch of a batch. Epochs never fall in a log: one below that of the batch before is damaged, and so is one
// above that of the batch after, if the neighbours agree without it.
func (s *scan) rightEpoch(pos int64, h *head) (int32, error) {
	e := h.b().LeaderEpoch()
	switch {
	case e == s.epoch:
		return e, nil
	case e < s.epoch:
		return s.epoch, nil
	}
	after, ok, err := s.valid(pos+h.n, s.out.next)
	if err != nil {
		return 0, err
	}
	if next := after.b().LeaderEpoch(); ok && next < e && next >= s.epoch {
		return max(s.epoch, next), nil
	}
	return e, nil
}

// search looks for where the log goes on after a batch at pos that is not as it should be.
func (s *scan) search(pos int64, h *head) (int64, error) {
	next := s.out.next
	b := h.b()
	plausible := b.Magic() == 2 && h.shape() && h.n >= batch.HeaderSize && s.places(h, next)
	// Inside of what a plausible header claims, only its own checksum can prove that another batch begins.
	proofOnly := int64(0)
	if plausible {
		proofOnly = pos + h.n
		if proofOnly > s.size && next < s.recoveryPoint {
			proofOnly = 0
		}
	}
	crc, crcAt := uint32(0), pos+batch.OffsetAttributes
	upTo := func(q int64) error {
		for crcAt < q {
			p, err := s.w.at(crcAt, int(min(q-crcAt, windowSize)))
			if err != nil {
				return err
			}
			crc = batch.Checksum(crc, p)
			crcAt += int64(len(p))
		}
		return nil
	}
	for q := pos + 1; q < s.blank && q+batch.HeaderSize <= s.size; q++ {
		m, err := s.w.at(q+batch.OffsetMagic, 1)
		if err != nil {
			return 0, err
		}
		if m[0] != 2 {
			continue
		}
		after, ok, err := s.valid(q, next)
		if err != nil {
			return 0, err
		}
		if !ok {
			continue
		}
		if q >= pos+batch.HeaderSize && h.shape() {
			if err := upTo(q); err != nil {
				return 0, err
			}
			if crc == b.CRC() {
				return s.endsAt(pos, q, h)
			}
		}
		if q < proofOnly {
			continue
		}
		s.lose(pos, q, after.b().BaseOffset())
		return q, nil
	}
	// Only the end of the file is left as a boundary: it is at blank, or among the zeros when it is in zeros that the batch at pos ends.
	if !h.shape() {
		return -1, nil
	}
	q := max(s.blank, pos+batch.HeaderSize)
	if err := upTo(q); err != nil {
		return 0, err
	}
	for ; q < s.size && crc != b.CRC(); q++ {
		crc = batch.ChecksumZero(crc)
	}
	if crc == b.CRC() {
		return s.endsAt(pos, q, h)
	}
	return -1, nil
}

// endsAt goes on behind the batch at pos, which by its checksum ends at q: only its length, or its magic, was damaged.
func (s *scan) endsAt(pos, q int64, h *head) (int64, error) {
	b := h.b()
	binary.BigEndian.PutUint32(b[batch.OffsetLength:], uint32(q-pos-batch.Overhead))
	h.n = q - pos
	b[batch.OffsetMagic] = 2
	before := len(s.out.patches)
	to, err := s.intact(pos, h)
	if err == nil && len(s.out.patches) == before && len(s.out.damages) == 0 || len(s.out.patches) == before && to == q && !s.lost(pos) {
		s.repair(pos, h)
	}
	return to, err
}

// blankFrom returns from where on a file has only zeros: its size when the last byte is none.
func blankFrom(f io.ReaderAt, size int64) (int64, error) {
	var buf []byte
	n := int64(4 << 10) // most files have no such end
	for end := size; end > 0; n = 256 << 10 {
		if int64(len(buf)) < min(n, end) {
			buf = make([]byte, min(n, end))
		}
		p := buf[:min(n, end)]
		if err := readFull(f, p, end-int64(len(p))); err != nil {
			return 0, err
		}
		end -= int64(len(p))
		if kept := bytes.TrimRight(p, "\x00"); len(kept) > 0 {
			return end + int64(len(kept)), nil
		}
	}
	return 0, nil
}

func (s *scan) lost(pos int64) bool {
	n := len(s.out.damages)
	return n > 0 && s.out.damages[n-1].pos <= pos && pos < s.out.damages[n-1].pos+s.out.damages[n-1].length && !s.out.damages[n-1].repaired
}

func (s *scan) lose(pos, to, nextGood int64) {
	s.out.damages = append(s.out.damages, damage{pos: pos, length: to - pos, first: s.out.next, next: nextGood})
}

func (s *scan) repair(pos int64, h *head) {
	p := patch{pos: pos}
	copy(p.prefix[:], h.prefix[:])
	s.out.patches = append(s.out.patches, p)
	b := h.b()
	s.out.damages = append(s.out.damages, damage{pos: pos, length: h.n, first: b.BaseOffset(), next: b.NextOffset(), repaired: true})
}

// salvage scans a segment and brings its file in order.
func (l *Log) salvage(s *segment, limit, recoveryPoint int64) (findings, error) {
	f, err := s.acquire()
	if err != nil {
		return findings{}, err
	}
	defer s.release()
	size := s.size.Load()
	found, err := scanSegment(f, size, s.base, limit, recoveryPoint)
	if err != nil {
		return found, err
	}
	torn, blank := size-found.end, found.end >= found.blank
	if torn > 0 && limit != math.MaxInt64 && found.next < limit {
		// The log goes on in the next segment, so this is damage and not the end.
		found.damages = append(found.damages, damage{pos: found.end, length: torn, first: found.next, next: limit})
	}
	if found.sound() {
		if torn > 0 {
			if !blank {
				l.d.log.Warn("torn tail is cut off", "file", s.path(suffixLog), "position", found.end, "bytes", found.blank-found.end, "nextOffset", found.next)
			}
			if err := f.Truncate(found.end); err != nil {
				return found, err
			}
			s.size.Store(found.end)
			found.whole = blank
			return found, f.Sync()
		}
		found.whole = true
		return found, nil
	}
	for _, d := range found.damages {
		l.d.report(&CorruptionError{Topic: l.topic, Partition: l.partition, File: s.path(suffixLog), Position: d.pos, Length: d.length,
			First: d.first, Next: d.next, Repaired: d.repaired})
	}
	return found, l.rewrite(s, f, &found)
}

// rewrite replaces a damaged segment by its good parts and keeps the original beside it. A crash on the way is finished by the
// next opening: the ".swap" file stands for the segment from the moment it exists.
func (l *Log) rewrite(s *segment, f File, found *findings) error {
	name := s.path(suffixLog)
	tmp, err := l.d.fs.OpenFile(name+suffixCleaned, createFlags)
	if err != nil {
		return err
	}
	size, err := copyGood(tmp, f, found)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	dir := l.dirPath()
	if err := l.d.fs.Rename(name+suffixCleaned, name+suffixSwap); err != nil {
		return err
	}
	if err := l.d.fs.SyncDir(dir); err != nil {
		return err
	}
	keep := name + suffixCorrupt
	for i := 1; ; i++ {
		if _, err := l.d.fs.Stat(keep); errors.Is(err, os.ErrNotExist) {
			break
		}
		keep = fmt.Sprintf("%s%s.%d", name, suffixCorrupt, i)
	}
	if err := l.d.fs.Rename(name, keep); err != nil {
		return err
	}
	if err := l.d.fs.Rename(name+suffixSwap, name); err != nil {
		return err
	}
	if err := l.d.fs.SyncDir(dir); err != nil {
		return err
	}
	s.reopen()
	s.size.Store(size)
	return nil
}

// copyGood copies what is not damaged, with the patches applied.
func copyGood(dst, src File, found *findings) (int64, error) {
	at, out := int64(0), int64(0)
	buf := make([]byte, 256<<10)
	copyTo := func(end int64) error {
		for at < end {
			p := buf[:min(int64(len(buf)), end-at)]
			if err := readFull(src, p, at); err != nil {
				return err
			}
			for i := range found.patches {
				// A patch may straddle two pieces.
				for j, c := range found.patches[i].prefix {
					if k := found.patches[i].pos + int64(j) - at; k >= 0 && k < int64(len(p)) {
						p[k] = c
					}
				}
			}
			if _, err := dst.WriteAt(p, out); err != nil {
				return err
			}
			at += int64(len(p))
			out += int64(len(p))
		}
		return nil
	}
	for _, d := range found.damages {
		if d.repaired {
			continue
		}
		if err := copyTo(d.pos); err != nil {
			return 0, err
		}
		at = d.pos + d.length
	}
	if err := copyTo(found.end); err != nil {
		return 0, err
	}
	return out, nil
}

// reopen forgets the open file, because another one has its name now. Readers of the old one finish on it.
func (s *segment) reopen() {
	s.l.d.files.drop(s.fitem)
	s.fmu.Lock()
	defer s.fmu.Unlock()
	s.stale, s.f = append(s.stale, s.f), nil
}

// finishSwaps completes replacements of segments that a crash interrupted after they were decided. A segment that was to go
// lies within the offsets of its replacement.
func (l *Log) finishSwaps(fo *folder) error {
	for _, base := range fo.swaps {
		name := l.file(offsetName(base, suffixLog))
		f, err := l.d.fs.OpenFile(name+suffixSwap, os.O_RDWR)
		if err != nil {
			return err
		}
		size, err := f.Size()
		var found findings
		if err == nil {
			found, err = scanSegment(f, size, base, math.MaxInt64, math.MaxInt64)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		// All that it replaces goes first, durably: beside the new log, an old index or segment would be believed.
		for _, b := range fo.bases {
			if b > base && b < found.next {
				if err := l.removeSegmentFiles(b); err != nil {
					return err
				}
			}
		}
		if err := l.removeSegmentFiles(base); err != nil {
			return err
		}
		if err := l.d.fs.SyncDir(l.dirPath()); err != nil {
			return err
		}
		if err := l.d.fs.Rename(name+suffixSwap, name); err != nil {
			return err
		}
		if err := l.d.fs.SyncDir(l.dirPath()); err != nil {
			return err
		}
	}
	return nil
}
