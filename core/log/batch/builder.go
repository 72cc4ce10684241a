package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Builder makes record batches. The zero value builds plain, uncompressed batches at offset 0; set fields before the
// first Append. Reset keeps its buffers. It is not safe for concurrent use.
type Builder struct {
	Codec         Codec
	Level         int // of the codec; 0 means its default
	BaseOffset    int64
	LeaderEpoch   int32
	ProducerID    int64 // used only when Idempotent
	ProducerEpoch int16
	BaseSequence  int32
	Idempotent    bool // write ProducerID, ProducerEpoch and BaseSequence; otherwise they are -1
	Transactional bool
	Control       bool
	LogAppendTime bool  // timestamps are the broker's: all equal MaxTimestamp
	DeleteHorizon int64 // when HasHorizon: stored as base timestamp, attribute bit 6 (KIP-534)
	HasHorizon    bool

	recs   []byte
	count  int32
	last   int32
	baseTs int64
	maxTs  int64
}

// Reset forgets the records and keeps the settings.
func (w *Builder) Reset() { w.recs, w.count, w.last, w.baseTs, w.maxTs = w.recs[:0], 0, 0, 0, 0 }

// Grow makes room for n bytes of records, before compression.
func (w *Builder) Grow(n int) { w.recs = slices.Grow(w.recs, n) }

// Append adds a record at the next offset. Timestamp is in milliseconds; nil key and value are null.
func (w *Builder) Append(timestamp int64, key, value []byte, headers ...Header) {
	d := int32(0)
	if w.count > 0 {
		d = w.last + 1
	}
	w.AppendDelta(d, timestamp, key, value, headers...)
}

// AppendDelta adds a record at BaseOffset + delta, which must be larger than the one before: compaction leaves gaps.
func (w *Builder) AppendDelta(delta int32, timestamp int64, key, value []byte, headers ...Header) {
	if w.count == 0 {
		w.baseTs, w.maxTs = timestamp, timestamp
		if w.HasHorizon {
			w.baseTs = w.DeleteHorizon
		}
	}
	w.maxTs = max(w.maxTs, timestamp)
	w.recs = AppendRecord(w.recs, 0, timestamp-w.baseTs, delta, key, value, headers)
	w.last = delta
	w.count++
}

// Count is the number of records added.
func (w *Builder) Count() int { return int(w.count) }

// Size is the size of the batch so far, before compression, in bytes.
func (w *Builder) Size() int { return HeaderSize + len(w.recs) }

// Build returns the finished batch in fresh memory. The Builder may be Reset and used again.
func (w *Builder) Build() (Batch, error) {
	b, err := w.AppendTo(nil)
	return Batch(b), err
}

// MustBuild is Build for settings that cannot fail: a known codec and level.
func (w *Builder) MustBuild() Batch {
	b, err := w.Build()
	if err != nil {
		panic("batch: " + err.Error())
	}
	return b
}

// AppendTo appends the finished batch to dst.
func (w *Builder) AppendTo(dst []byte) ([]byte, error) {
	if w.count == 0 {
		return nil, errors.New("build record batch: no records")
	}
	return w.build(dst, w.last)
}

// AppendToLast is AppendTo for a batch whose last offset is BaseOffset + lastDelta although that record may be gone:
// a compacted batch keeps its offset range. It may be empty.
func (w *Builder) AppendToLast(dst []byte, lastDelta int32, maxTimestamp int64) ([]byte, error) {
	if w.count == 0 {
		w.baseTs, w.maxTs = maxTimestamp, maxTimestamp
		if w.HasHorizon {
			w.baseTs = w.DeleteHorizon
		}
	}
	return w.build(dst, lastDelta)
}

func (w *Builder) build(dst []byte, lastDelta int32) ([]byte, error) {
	at := len(dst)
	room := HeaderSize
	if w.Codec == None {
		room += len(w.recs)
	}
	dst = slices.Grow(dst, room)[:at+HeaderSize]
	if w.count > 0 {
		level := w.Level
		if level == 0 {
			level = DefaultLevel
		}
		var err error
		if dst, err = Compress(dst, w.Codec, level, w.recs); err != nil {
			return nil, err
		}
	}
	b := Batch(dst[at:])
	if len(b)-Overhead > math.MaxInt32 {
		return nil, fmt.Errorf("build record batch: %d bytes do not fit the length field", len(b))
	}
	attrs := int16(0)
	if w.count > 0 { // nobody can decompress nothing
		attrs = int16(w.Codec)
	}
	for _, a := range []struct {
		on  bool
		bit int16
	}{{w.LogAppendTime, AttrLogAppendTime}, {w.Transactional, AttrTransactional}, {w.Control, AttrControl}, {w.HasHorizon, AttrDeleteHorizon}} {
		if a.on {
			attrs |= a.bit
		}
	}
	pid, epoch, seq := int64(NoProducerID), int16(NoProducerEpoch), int32(NoSequence)
	if w.Idempotent {
		pid, epoch, seq = w.ProducerID, w.ProducerEpoch, w.BaseSequence
	}
	be := binary.BigEndian
	be.PutUint64(b[OffsetBaseOffset:], uint64(w.BaseOffset))
	be.PutUint32(b[OffsetLength:], uint32(len(b)-Overhead))
	be.PutUint32(b[OffsetLeaderEpoch:], uint32(w.LeaderEpoch))
	b[OffsetMagic] = 2
	be.PutUint16(b[OffsetAttributes:], uint16(attrs))
	be.PutUint32(b[OffsetLastOffsetDelta:], uint32(lastDelta))
	be.PutUint64(b[OffsetBaseTimestamp:], uint64(w.baseTs))
	be.PutUint64(b[OffsetMaxTimestamp:], uint64(w.maxTs))
	be.PutUint64(b[OffsetProducerID:], uint64(pid))
	be.PutUint16(b[OffsetProducerEpoch:], uint16(epoch))
	be.PutUint32(b[OffsetBaseSequence:], uint32(seq))
	be.PutUint32(b[OffsetRecordCount:], uint32(w.count))
	b.UpdateCRC()
	return dst, nil
}

// Recode appends b with another codec to dst. Records are the decompressed records of b, and nothing else of it changes.
func Recode(dst []byte, b Batch, codec Codec, level int, records []byte) ([]byte, error) {
	at := len(dst)
	dst = append(dst, b[:HeaderSize]...)
	if level == 0 {
		level = DefaultLevel
	}
	dst, err := Compress(dst, codec, level, records)
	if err != nil {
		return dst[:at], err
	}
	out := Batch(dst[at:])
	if len(out)-Overhead > math.MaxInt32 {
		return dst[:at], fmt.Errorf("build record batch: %d bytes do not fit the length field", len(out))
	}
	be := binary.BigEndian
	be.PutUint32(out[OffsetLength:], uint32(len(out)-Overhead))
	be.PutUint16(out[OffsetAttributes:], be.Uint16(b[OffsetAttributes:])&^AttrCodecMask|uint16(codec))
	out.UpdateCRC()
	return dst, nil
}

// SetLike takes over the settings of another builder, forgets the records and keeps the buffers.
func (w *Builder) SetLike(o *Builder) {
	recs := w.recs[:0]
	*w = *o
	w.recs = recs
	w.count, w.last, w.baseTs, w.maxTs = 0, 0, 0, 0
}
