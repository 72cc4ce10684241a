package quorum

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	pb "go.etcd.io/raft/v3/raftpb"
)

// The write-ahead log is a row of segment files, wal-<number>.log. A segment begins with a header: magic,
// node id, number of its first frame, CRC-32C; frames follow. Segments are made aside and renamed,
// so that one without a whole header does not exist.
const (
	walMagic      = "MLDWAL\x00\x01"
	segmentHeader = 8 + 4 + 8 + 4
	walPrefix     = "wal-"
	walSuffix     = ".log"
	maxSegment    = 1 << 30
)

// ErrCorrupt is wrapped by every error that says that files of the quorum are damaged.
var ErrCorrupt = errors.New("metadata log is corrupt")

// wal is the log open for writing.
type wal struct {
	fs     FS
	dir    string
	nodeID int32
	limit  int64 // bytes after which a new segment begins

	file     File
	size     int64
	seq      uint64 // number of the last frame
	hard     *pb.HardState
	segments []segment // oldest first; the last one is open
	buf      []byte
	failed   error
	// room waits for room on a full disk: nil to try again, an error to give up. Without it a full disk is a failure like any other.
	room func(err error) error
}

type segment struct {
	number   uint64
	maxIndex uint64 // the highest entry in it
	maxReset uint64 // the highest reset in it
}

func segmentName(n uint64) string { return fmt.Sprintf("%s%020d%s", walPrefix, n, walSuffix) }

// walState is what replaying the log gives.
type walState struct {
	hard    *pb.HardState
	entries []*pb.Entry // a run without gaps
	torn    int64       // bytes that were cut from the end
	fresh   bool        // there was no log
}

// openWAL replays the log of the directory and opens it to go on. An empty directory gets a first segment.
func openWAL(fsys FS, dir string, nodeID int32, limit int64) (*wal, *walState, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("open metadata log: %w", err)
	}
	w := &wal{fs: fsys, dir: dir, nodeID: nodeID, limit: limit, hard: &pb.HardState{}}
	var numbers []uint64
	for _, n := range names {
		if !strings.HasPrefix(n, walPrefix) {
			continue
		}
		if strings.HasSuffix(n, ".tmp") {
			if err := fsys.Remove(filepath.Join(dir, n)); err != nil {
				return nil, nil, fmt.Errorf("open metadata log: %w", err)
			}
			continue
		}
		num, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimPrefix(n, walPrefix), walSuffix), 10, 64)
		if err != nil || segmentName(num) != n {
			return nil, nil, fmt.Errorf("open metadata log: file %s does not belong there; move it away", n)
		}
		numbers = append(numbers, num)
	}
	slices.Sort(numbers)
	st := &walState{hard: w.hard}
	for i, num := range numbers {
		if i > 0 && num != numbers[i-1]+1 {
			return nil, nil, fmt.Errorf("%w: segment %s is missing between %s and %s", ErrCorrupt, segmentName(numbers[i-1]+1), segmentName(numbers[i-1]), segmentName(num))
		}
		if err := w.replay(st, num, i == 0, i == len(numbers)-1); err != nil {
			return nil, nil, err
		}
	}
	if len(numbers) == 0 {
		if err := w.roll(1); err != nil {
			return nil, nil, fmt.Errorf("open metadata log: %w", err)
		}
		st.fresh = true
		return w, st, nil
	}
	last := segmentName(numbers[len(numbers)-1])
	if st.torn > 0 {
		if err := fsys.Truncate(filepath.Join(dir, last), w.size); err != nil {
			return nil, nil, fmt.Errorf("cut torn end of %s: %w", last, err)
		}
	}
	if w.file, err = fsys.OpenAppend(filepath.Join(dir, last)); err != nil {
		return nil, nil, fmt.Errorf("open metadata log: %w", err)
	}
	w.hard = st.hard
	return w, st, nil
}

// replay reads one segment into st.
func (w *wal) replay(st *walState, number uint64, first, last bool) error {
	name := segmentName(number)
	b, err := w.fs.ReadFile(filepath.Join(w.dir, name), maxSegment)
	if err != nil {
		return fmt.Errorf("read metadata log: %w", err)
	}
	corrupt := func(at int, format string, args ...any) error {
		return fmt.Errorf("%w: %s at byte %d: %s; restore the directory from a copy, or remove it and let this node follow the others", ErrCorrupt, name, at, fmt.Sprintf(format, args...))
	}
	if len(b) < segmentHeader || string(b[:8]) != walMagic || crc32.Checksum(b[:segmentHeader-4], castagnoli) != binary.LittleEndian.Uint32(b[segmentHeader-4:]) {
		return corrupt(0, "the header of the segment is damaged")
	}
	if id := int32(binary.LittleEndian.Uint32(b[8:])); id != w.nodeID {
		return fmt.Errorf("metadata log %s belongs to node %d, this is node %d; set node.id to %d or use another directory", name, id, w.nodeID, id)
	}
	firstSeq := binary.LittleEndian.Uint64(b[12:])
	if first {
		w.seq = firstSeq - 1
	} else if firstSeq != w.seq+1 {
		return corrupt(0, "the segment begins with frame %d, the one before ended with %d", firstSeq, w.seq)
	}
	w.segments = append(w.segments, segment{number: number})
	at := segmentHeader
	for at < len(b) {
		body, seq, size, why := frameAt(b[at:])
		if why != frameOK {
			end := len(b)
			if size > 0 {
				end = at + size
			} else if why == frameBadHeader {
				end = at + frameHeader
			}
			switch {
			case !last:
				return corrupt(at, "a frame is damaged and segments follow")
			case at == segmentHeader:
				return corrupt(at, "the first frame, which is never torn, is damaged")
			case why != frameCut && !torn(b, at, end):
				return corrupt(at, "a frame is damaged, not torn")
			}
			if after, found := frameAfter(b, at, w.seq); found {
				return corrupt(at, "a frame is damaged and a good one follows at byte %d", after)
			}
			st.torn = int64(len(b) - at)
			break
		}
		if seq != w.seq+1 {
			return corrupt(at, "frame %d where %d is expected", seq, w.seq+1)
		}
		s, err := decodeSaved(body)
		if err != nil {
			return corrupt(at, "%v", err)
		}
		if err := st.add(s); err != nil {
			return corrupt(at, "%v", err)
		}
		w.note(s)
		w.seq = seq
		at += size
	}
	w.size = int64(at)
	return nil
}

// add replays one frame.
func (st *walState) add(s *saved) error {
	if s.hard != nil {
		if s.hard.GetTerm() < st.hard.GetTerm() {
			return fmt.Errorf("the term goes back from %d to %d", st.hard.GetTerm(), s.hard.GetTerm())
		}
		st.hard = s.hard
	}
	if s.reset != nil {
		st.entries = nil
	}
	if len(s.entries) == 0 {
		return nil
	}
	i := s.entries[0].GetIndex()
	if n := len(st.entries); n > 0 {
		base := st.entries[0].GetIndex()
		switch {
		case i > base+uint64(n):
			return fmt.Errorf("entry %d follows entry %d", i, base+uint64(n)-1)
		case i <= base:
			st.entries = nil
		default:
			st.entries = st.entries[:i-base]
		}
	}
	st.entries = append(st.entries, s.entries...)
	return nil
}

// note keeps the highest entry of the open segment.
func (w *wal) note(s *saved) {
	seg := &w.segments[len(w.segments)-1]
	if n := len(s.entries); n > 0 {
		seg.maxIndex = max(seg.maxIndex, s.entries[n-1].GetIndex())
	}
	if s.reset != nil {
		seg.maxReset = max(seg.maxReset, s.reset.index)
	}
}

// save writes the frame and makes it durable. After an error the log is of no use any more.
func (w *wal) save(s *saved) error {
	if w.failed != nil {
		return w.failed
	}
	for {
		err := w.write(s)
		if err == nil {
			return nil
		}
		if err = w.again(err); err != nil {
			w.failed = fmt.Errorf("write metadata log: %w", err)
			return w.failed
		}
	}
}

func (w *wal) write(s *saved) error {
	if w.size >= w.limit {
		if err := w.roll(w.segments[len(w.segments)-1].number + 1); err != nil {
			return err
		}
	}
	w.buf = appendFrame(w.buf[:0], w.seq+1, s)
	if len(w.buf) > maxFrame {
		return fmt.Errorf("frame of %d bytes, at most %d are possible", len(w.buf), maxFrame)
	}
	if _, err := w.file.Write(w.buf); err != nil {
		return noRoom(err)
	}
	if err := w.file.Sync(); err != nil {
		return err
	}
	if cap(w.buf) > 4<<20 {
		w.buf = nil
	}
	w.seq++
	w.size += int64(len(w.buf))
	if s.hard != nil {
		w.hard = s.hard
	}
	w.note(s)
	return nil
}

// roll begins a new segment. Its first frame repeats the hard state, so that older segments can go.
func (w *wal) roll(number uint64) error {
	name := filepath.Join(w.dir, segmentName(number))
	b := append([]byte(nil), walMagic...)
	b = binary.LittleEndian.AppendUint32(b, uint32(w.nodeID))
	b = binary.LittleEndian.AppendUint64(b, w.seq+1)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	b = appendFrame(b, w.seq+1, &saved{hard: w.hard})
	f, err := w.fs.Create(name + ".tmp")
	if err != nil {
		return noRoom(err)
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	} else {
		err = noRoom(err)
	}
	if err == nil {
		err = w.fs.Rename(name+".tmp", name)
	}
	if err == nil {
		err = w.fs.SyncDir(w.dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("begin segment %s: %w", filepath.Base(name), err), f.Close())
	}
	if w.file != nil {
		if err := w.file.Close(); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	w.file = f
	w.seq++
	w.size = int64(len(b))
	w.segments = append(w.segments, segment{number: number})
	return nil
}

// release removes segments that a snapshot at the index makes unnecessary.
func (w *wal) release(index uint64) error {
	n := 0
	for n < len(w.segments)-1 && w.segments[n].maxIndex <= index && w.segments[n].maxReset <= index {
		if err := w.fs.Remove(filepath.Join(w.dir, segmentName(w.segments[n].number))); err != nil {
			return fmt.Errorf("remove old metadata log segment: %w", err)
		}
		n++
	}
	if n == 0 {
		return nil
	}
	w.segments = slices.Delete(w.segments, 0, n)
	if err := w.fs.SyncDir(w.dir); err != nil {
		return fmt.Errorf("remove old metadata log segments: %w", err)
	}
	return nil
}

func (w *wal) close() error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	return err
}
