package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/moldau-io/moldau/core/log/batch"
)

// Offline reading of a partition's files, for the command line. Nothing here writes or takes a lock, so it works beside a
// running broker; what is appended meanwhile may look like a torn tail. See inspect_verify.go for whole folders.

// FileKind says what a file of a log directory is.
type FileKind string

// The kinds of files.
const (
	KindLog           FileKind = "log"
	KindIndex         FileKind = "index"
	KindTimeIndex     FileKind = "timeindex"
	KindTxnIndex      FileKind = "txnindex"
	KindSnapshot      FileKind = "snapshot"
	KindEpochs        FileKind = "epochs"
	KindTopicID       FileKind = "topic-id"
	KindCheckpoint    FileKind = "checkpoint"
	KindProperties    FileKind = "properties"
	KindCleanShutdown FileKind = "clean-shutdown"
	KindDeleted       FileKind = "deleted" // removed by retention or compaction, waits for file.delete.delay.ms
	KindCleaned       FileKind = "cleaned" // a compaction that did not finish
	KindSwap          FileKind = "swap"    // a compacted segment that is about to take its place
	KindCorrupt       FileKind = "corrupt" // a damaged segment as it was before its repair
	KindTemporary     FileKind = "tmp"
	KindOther         FileKind = "other"
)

// kindBySuffix lists the suffixes; the ones that end a longer name come first.
var kindBySuffix = []struct {
	suffix string
	kind   FileKind
}{
	{suffixDeleted, KindDeleted}, {suffixCleaned, KindCleaned}, {suffixSwap, KindSwap}, {suffixTmp, KindTemporary},
	{suffixLog, KindLog}, {suffixIndex, KindIndex}, {suffixTimeIndex, KindTimeIndex}, {suffixTxnIndex, KindTxnIndex}, {suffixSnapshot, KindSnapshot},
}

var corruptName = regexp.MustCompile(`\.corrupt(\.\d+)?$`)

// KindOf tells from a file's name what it is, and the offset that its name begins with, or -1.
func KindOf(path string) (FileKind, int64) {
	name := filepath.Base(path)
	base := baseOfName(name)
	switch name {
	case fileEpochs:
		return KindEpochs, base
	case fileTopicID:
		return KindTopicID, base
	case fileRecoveryPoint, fileLogStart, fileCleaner, "replication-offset-checkpoint":
		return KindCheckpoint, base
	case fileMeta:
		return KindProperties, base
	case fileCleanShutdown:
		return KindCleanShutdown, base
	}
	if corruptName.MatchString(name) {
		return KindCorrupt, base
	}
	for _, k := range kindBySuffix {
		if strings.HasSuffix(name, k.suffix) {
			return k.kind, base
		}
	}
	return KindOther, base
}

// baseOfName is the offset in a file's name, or -1.
func baseOfName(name string) int64 {
	digits, _, _ := strings.Cut(name, ".")
	o, ok := parseOffsetName(digits+suffixLog, suffixLog)
	if !ok {
		return NoOffset
	}
	return o
}

// ErrTornTail marks bytes at the end of a segment that are no whole batch: a write that was cut off, or is under way.
var ErrTornTail = errors.New("torn tail: the bytes at the end are not a whole batch")

// DumpedBatch is one batch of a segment file, or a stretch of bytes that is none.
type DumpedBatch struct {
	File     string
	Position int64
	Size     int64
	// Batch holds the whole batch and is valid during the call. It is nil where the bytes are not a batch. With an Err
	// beside it, the header was damaged outside of its checksum: Batch is as recovery would restore it.
	Batch batch.Batch
	// Err is nil for a sound batch; ErrTornTail at a torn end; *CorruptionError for damage.
	Err error
}

// DumpSegment calls fn for each batch of a .log file (also one that is .deleted, .swap, .cleaned or .corrupt), in order, and
// goes on behind damage. It stops when fn returns an error, which it returns.
func DumpSegment(path string, fn func(DumpedBatch) error) error {
	return dumpSegment(OS, path, math.MaxInt64, fn)
}

// dumpSegment reads a segment whose offsets are below limit.
func dumpSegment(fsys FS, path string, limit int64, fn func(DumpedBatch) error) error {
	f, err := fsys.OpenFile(path, os.O_RDONLY)
	if err != nil {
		return fmt.Errorf("dump segment: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("dump %s: %w", path, err)
	}
	base := baseOfName(filepath.Base(path))
	if base < 0 {
		if base, err = firstOffset(f, size); err != nil {
			return fmt.Errorf("dump %s: %w", path, err)
		}
	}
	found, err := scanSegment(f, size, base, limit, 0)
	if err != nil {
		return fmt.Errorf("dump %s: %w", path, err)
	}
	w := window{f: f, end: found.end, chunk: 1 << 20}
	patched := map[int64]*patch{}
	for i := range found.patches {
		patched[found.patches[i].pos] = &found.patches[i]
	}
	damages := found.damages
	for pos := int64(0); pos < found.end; {
		var bad error
		if len(damages) > 0 && damages[0].pos == pos {
			d := damages[0]
			damages = damages[1:]
			bad = &CorruptionError{File: path, Position: d.pos, Length: d.length, First: d.first, Next: d.next, Repaired: d.repaired}
			if !d.repaired {
				if err := fn(DumpedBatch{File: path, Position: pos, Size: d.length, Err: bad}); err != nil {
					return err
				}
				pos += d.length
				continue
			}
		}
		h, err := w.at(pos, batch.HeaderSize)
		if err != nil {
			return fmt.Errorf("dump %s: position %d: %w", path, pos, err)
		}
		n := int64(int32(binary.BigEndian.Uint32(h[batch.OffsetLength:]))) + batch.Overhead
		p := patched[pos]
		if p != nil {
			n = int64(int32(binary.BigEndian.Uint32(p.prefix[batch.OffsetLength:]))) + batch.Overhead
		}
		if n < batch.HeaderSize || pos+n > found.end {
			return fmt.Errorf("dump %s: position %d: %w: the file changes", path, pos, batch.ErrCorrupt)
		}
		b, err := w.at(pos, int(n))
		if err != nil {
			return fmt.Errorf("dump %s: position %d: %w", path, pos, err)
		}
		if p != nil {
			b = append([]byte(nil), b...)
			copy(b, p.prefix[:])
		}
		if err := fn(DumpedBatch{File: path, Position: pos, Size: n, Batch: batch.Batch(b), Err: bad}); err != nil {
			return err
		}
		pos += n
	}
	tail := found.blank // zeros behind the end were written ahead of it
	if limit != math.MaxInt64 && found.next < limit {
		tail = size
	}
	if found.end < tail {
		return fn(DumpedBatch{File: path, Position: found.end, Size: tail - found.end, Err: ErrTornTail})
	}
	return nil
}

// firstOffset is the base offset of the first batch, for a file whose name does not tell.
func firstOffset(f File, size int64) (int64, error) {
	if size < batch.HeaderSize {
		return 0, nil
	}
	var h [8]byte
	if err := readFull(f, h[:], 0); err != nil {
		return 0, err
	}
	return max(0, int64(binary.BigEndian.Uint64(h[:]))), nil
}

// OffsetIndexEntry says that the batch that holds Offset begins at Position.
type OffsetIndexEntry struct {
	Offset   int64 `json:"offset"`
	Position int64 `json:"position"`
}

// TimeIndexEntry says that no record up to Offset has a timestamp above Timestamp (milliseconds).
type TimeIndexEntry struct {
	Timestamp int64 `json:"timestamp"`
	Offset    int64 `json:"offset"`
}

// CheckpointEntry is a line of a checkpoint of offsets.
type CheckpointEntry struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
}

// maxInspectBytes bounds a file that is read whole.
const maxInspectBytes = 1 << 30

// dumpFile reads a whole file and has it decoded.
func dumpFile[T any](fsys FS, path string, decode func(p []byte) (T, error)) (T, error) {
	p, err := readFile(fsys, path, maxInspectBytes)
	var out T
	if err == nil {
		out, err = decode(p)
	}
	if err != nil {
		return out, fmt.Errorf("dump %s: %w", path, err)
	}
	return out, nil
}

// DumpOffsetIndex reads an .index file.
func DumpOffsetIndex(path string) ([]OffsetIndexEntry, error) { return dumpOffsetIndex(OS, path) }

func dumpOffsetIndex(fsys FS, path string) ([]OffsetIndexEntry, error) {
	base := max(0, baseOfName(filepath.Base(path)))
	return dumpFile(fsys, path, func(p []byte) ([]OffsetIndexEntry, error) {
		es, err := parseOffsetIndex(p, math.MaxInt64)
		out := make([]OffsetIndexEntry, len(es))
		for i, e := range es {
			out[i] = OffsetIndexEntry{base + int64(e.rel), int64(e.pos)}
		}
		return out, err
	})
}

// DumpTimeIndex reads a .timeindex file.
func DumpTimeIndex(path string) ([]TimeIndexEntry, error) { return dumpTimeIndex(OS, path) }

func dumpTimeIndex(fsys FS, path string) ([]TimeIndexEntry, error) {
	base := max(0, baseOfName(filepath.Base(path)))
	return dumpFile(fsys, path, func(p []byte) ([]TimeIndexEntry, error) {
		es, err := parseTimeIndex(p)
		out := make([]TimeIndexEntry, len(es))
		for i, e := range es {
			out[i] = TimeIndexEntry{e.ts, base + int64(e.rel)}
		}
		return out, err
	})
}

// DumpTxnIndex reads a .txnindex file.
func DumpTxnIndex(path string) ([]AbortedTxn, error) { return dumpFile(OS, path, parseTxnIndex) }

// DumpSnapshot reads a producer .snapshot file.
func DumpSnapshot(path string) ([]ProducerState, error) { return dumpSnapshot(OS, path) }

func dumpSnapshot(fsys FS, path string) ([]ProducerState, error) {
	return dumpFile(fsys, path, func(p []byte) ([]ProducerState, error) {
		es, err := decodeSnapshot(p)
		ps := newProducers(0)
		for i := range es {
			ps.byID[es[i].id] = &es[i]
		}
		return ps.list(), err
	})
}

// DumpEpochs reads a leader-epoch-checkpoint.
func DumpEpochs(path string) ([]EpochEntry, error) { return dumpFile(OS, path, parseEpochs) }

// DumpTopicID reads a partition.metadata.
func DumpTopicID(path string) ([16]byte, error) { return dumpFile(OS, path, parseTopicID) }

// DumpProperties reads a meta.properties.
func DumpProperties(path string) (map[string]string, error) {
	return dumpFile(OS, path, parseProperties)
}

// DumpCheckpoint reads a checkpoint of offsets: recovery points, start offsets, cleaner offsets, high watermarks.
func DumpCheckpoint(path string) ([]CheckpointEntry, error) { return dumpCheckpoint(OS, path) }

func dumpCheckpoint(fsys FS, path string) ([]CheckpointEntry, error) {
	return dumpFile(fsys, path, func(p []byte) ([]CheckpointEntry, error) {
		if len(p) == 0 {
			return nil, nil
		}
		m, err := parseOffsets(p)
		out := make([]CheckpointEntry, 0, len(m))
		for _, k := range sortedPartitions(m) {
			out = append(out, CheckpointEntry{k.topic, k.partition, m[k]})
		}
		return out, err
	})
}
