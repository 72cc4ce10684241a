// Package batch reads and builds Kafka record batches of format v2, the unit that producers send, the log stores
// and consumers fetch.
//
// # Layout
//
// All integers are big endian.
//
//	 0  baseOffset           int64   offset of the first record
//	 8  batchLength          int32   bytes that follow this field
//	12  partitionLeaderEpoch int32   epoch of the leader that appended the batch
//	16  magic                int8    2
//	17  crc                  uint32  CRC-32C of everything from attributes to the end
//	21  attributes           int16   bits 0-2 codec, 3 log append time, 4 transactional, 5 control, 6 delete horizon
//	23  lastOffsetDelta      int32   last offset - baseOffset; survives compaction
//	27  baseTimestamp        int64   milliseconds; the delete horizon when bit 6 is set (KIP-534)
//	35  maxTimestamp         int64
//	43  producerId           int64   -1 when not idempotent
//	51  producerEpoch        int16
//	53  baseSequence         int32
//	57  recordCount          int32   0 for a batch that compaction emptied
//	61  records, compressed as one block when a codec is set
//
// baseOffset and partitionLeaderEpoch lie outside the checksum, so that a broker can write them into the client's
// bytes without touching the rest.
//
// A [Batch] is a view of such bytes: it does not own or copy them, and its accessors do not allocate. Only bytes that
// went through [Next] or [Batch.Check] may be given to the accessors.
package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Offsets of the header fields within a batch.
const (
	OffsetBaseOffset      = 0
	OffsetLength          = 8
	OffsetLeaderEpoch     = 12
	OffsetMagic           = 16
	OffsetCRC             = 17
	OffsetAttributes      = 21
	OffsetLastOffsetDelta = 23
	OffsetBaseTimestamp   = 27
	OffsetMaxTimestamp    = 35
	OffsetProducerID      = 43
	OffsetProducerEpoch   = 51
	OffsetBaseSequence    = 53
	OffsetRecordCount     = 57

	// HeaderSize is the size of a batch without records.
	HeaderSize = 61
	// Overhead is the size of baseOffset and batchLength: a batch occupies Overhead + batchLength bytes.
	Overhead = 12
)

// Attribute bits.
const (
	AttrCodecMask     = 0x07
	AttrLogAppendTime = 1 << 3
	AttrTransactional = 1 << 4
	AttrControl       = 1 << 5
	AttrDeleteHorizon = 1 << 6
)

// NoTimestamp is the timestamp of a record or a batch that has none.
const NoTimestamp = -1

// NoProducerID is the producer id of a batch that is not idempotent; such a batch has NoProducerEpoch and NoSequence.
const (
	NoProducerID    = -1
	NoProducerEpoch = -1
	NoSequence      = -1
)

// Errors of damaged or foreign bytes. They are wrapped with what was found.
var (
	// ErrShort says that the bytes end before the batch does. More bytes may help.
	ErrShort = errors.New("record batch is incomplete")
	// ErrMagic says that the bytes are a message set of an older format.
	ErrMagic = errors.New("unsupported record batch magic")
	// ErrCorrupt says that the bytes are not a valid batch: a bad checksum or impossible lengths.
	ErrCorrupt = errors.New("record batch is corrupt")
	// ErrTooLarge says that a batch decompresses to more than the allowed bytes.
	ErrTooLarge = errors.New("record batch is too large when decompressed")
	// ErrCodec says that the compression codec is not known.
	ErrCodec = errors.New("unknown compression codec")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is one record batch: exactly its bytes, header first.
type Batch []byte

// Size returns the number of bytes that the batch starting at buf occupies. It needs Overhead bytes, and fails with
// ErrShort when there are fewer, and with ErrCorrupt when the length cannot be a batch of format v2.
func Size(buf []byte) (int, error) {
	if len(buf) < Overhead {
		return 0, ErrShort
	}
	n := int32(binary.BigEndian.Uint32(buf[OffsetLength:]))
	if n < HeaderSize-Overhead {
		return 0, fmt.Errorf("%w: length %d is below the minimum %d", ErrCorrupt, n, HeaderSize-Overhead)
	}
	return int(n) + Overhead, nil
}

// Next splits the first batch off buf and checks its framing (length and magic), not its checksum. At the end of buf
// it returns a nil batch and no error; an incomplete batch is ErrShort.
func Next(buf []byte) (b Batch, rest []byte, err error) {
	if len(buf) == 0 {
		return nil, nil, nil
	}
	if len(buf) > OffsetMagic && buf[OffsetMagic] != 2 {
		return nil, buf, fmt.Errorf("%w %d", ErrMagic, int8(buf[OffsetMagic]))
	}
	n, err := Size(buf)
	if err != nil {
		return nil, buf, err
	}
	if n > len(buf) {
		return nil, buf, ErrShort
	}
	return Batch(buf[:n:n]), buf[n:], nil
}

// Check verifies length, magic and checksum and that the header's counts are possible. After it, the accessors are
// safe and the bytes are the ones that were written; the records inside are not looked at.
func (b Batch) Check() error {
	if len(b) < HeaderSize {
		return ErrShort
	}
	if b[OffsetMagic] != 2 {
		return fmt.Errorf("%w %d", ErrMagic, int8(b[OffsetMagic]))
	}
	n, err := Size(b)
	if err != nil {
		return err
	}
	if n != len(b) {
		return fmt.Errorf("%w: length field says %d bytes, have %d", ErrCorrupt, n, len(b))
	}
	if got := crc32.Checksum(b[OffsetAttributes:], castagnoli); got != b.CRC() {
		return fmt.Errorf("%w: stored crc = %d, computed crc = %d", ErrCorrupt, b.CRC(), got)
	}
	if b.LastOffsetDelta() < 0 || b.RecordCount() < 0 {
		return fmt.Errorf("%w: last offset delta %d, record count %d", ErrCorrupt, b.LastOffsetDelta(), b.RecordCount())
	}
	return nil
}

// BaseOffset is the offset of the first record the batch was built with.
func (b Batch) BaseOffset() int64 { return int64(binary.BigEndian.Uint64(b[OffsetBaseOffset:])) }

// LastOffset is the offset of the last record the batch was built with.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset is the offset that follows the batch.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// LeaderEpoch is the epoch of the leader that appended the batch.
func (b Batch) LeaderEpoch() int32 { return int32(binary.BigEndian.Uint32(b[OffsetLeaderEpoch:])) }

// Magic is the format version.
func (b Batch) Magic() int8 { return int8(b[OffsetMagic]) }

// CRC is the stored checksum.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[OffsetCRC:]) }

// Attributes are the raw attribute bits.
func (b Batch) Attributes() int16 { return int16(binary.BigEndian.Uint16(b[OffsetAttributes:])) }

// Codec is the compression of the records.
func (b Batch) Codec() Codec { return Codec(b[OffsetAttributes+1] & AttrCodecMask) }

// IsLogAppendTime says that the broker's clock gave the timestamps: every record has MaxTimestamp.
func (b Batch) IsLogAppendTime() bool { return b.Attributes()&AttrLogAppendTime != 0 }

// IsTransactional says that the records belong to a transaction.
func (b Batch) IsTransactional() bool { return b.Attributes()&AttrTransactional != 0 }

// IsControl says that the batch holds a control record (a transaction marker, or one of Raft's) and no user data.
func (b Batch) IsControl() bool { return b.Attributes()&AttrControl != 0 }

// HasDeleteHorizon says that compaction has stamped the time at which tombstones in the batch may go (KIP-534).
func (b Batch) HasDeleteHorizon() bool { return b.Attributes()&AttrDeleteHorizon != 0 }

// DeleteHorizonMs is that time, in milliseconds; ok is false when there is none.
func (b Batch) DeleteHorizonMs() (ms int64, ok bool) {
	if !b.HasDeleteHorizon() {
		return 0, false
	}
	return b.BaseTimestamp(), true
}

// LastOffsetDelta is LastOffset - BaseOffset.
func (b Batch) LastOffsetDelta() int32 {
	return int32(binary.BigEndian.Uint32(b[OffsetLastOffsetDelta:]))
}

// BaseTimestamp is what the records' timestamp deltas are added to, in milliseconds.
func (b Batch) BaseTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[OffsetBaseTimestamp:])) }

// MaxTimestamp is the largest timestamp in the batch, in milliseconds.
func (b Batch) MaxTimestamp() int64 { return int64(binary.BigEndian.Uint64(b[OffsetMaxTimestamp:])) }

// ProducerID is the producer's id, or NoProducerID.
func (b Batch) ProducerID() int64 { return int64(binary.BigEndian.Uint64(b[OffsetProducerID:])) }

// ProducerEpoch is the producer's epoch.
func (b Batch) ProducerEpoch() int16 { return int16(binary.BigEndian.Uint16(b[OffsetProducerEpoch:])) }

// BaseSequence is the sequence number of the first record.
func (b Batch) BaseSequence() int32 { return int32(binary.BigEndian.Uint32(b[OffsetBaseSequence:])) }

// LastSequence is the sequence number of the last record; it wraps from the largest int32 to 0.
func (b Batch) LastSequence() int32 {
	if b.BaseSequence() == NoSequence {
		return NoSequence
	}
	return AddSequence(b.BaseSequence(), b.LastOffsetDelta())
}

// RecordCount is the number of records that are in the batch now.
func (b Batch) RecordCount() int32 { return int32(binary.BigEndian.Uint32(b[OffsetRecordCount:])) }

// RawRecords are the record bytes as stored, perhaps compressed.
func (b Batch) RawRecords() []byte { return b[HeaderSize:] }

// AddSequence adds n to a sequence number as Kafka does: after the largest int32 comes 0.
func AddSequence(seq, n int32) int32 {
	return int32((int64(seq) + int64(n)) & 0x7fffffff)
}

// SetBaseOffset writes the base offset. The checksum does not cover it.
func (b Batch) SetBaseOffset(v int64) { binary.BigEndian.PutUint64(b[OffsetBaseOffset:], uint64(v)) }

// SetLeaderEpoch writes the leader epoch. The checksum does not cover it.
func (b Batch) SetLeaderEpoch(v int32) { binary.BigEndian.PutUint32(b[OffsetLeaderEpoch:], uint32(v)) }

// SetMaxTimestamp writes the largest timestamp and whether the broker's clock gave it. Call UpdateCRC afterwards.
func (b Batch) SetMaxTimestamp(ms int64, logAppendTime bool) {
	binary.BigEndian.PutUint64(b[OffsetMaxTimestamp:], uint64(ms))
	a := b.Attributes() &^ AttrLogAppendTime
	if logAppendTime {
		a |= AttrLogAppendTime
	}
	binary.BigEndian.PutUint16(b[OffsetAttributes:], uint16(a))
}

// UpdateCRC computes and writes the checksum.
func (b Batch) UpdateCRC() {
	binary.BigEndian.PutUint32(b[OffsetCRC:], crc32.Checksum(b[OffsetAttributes:], castagnoli))
}

// Checksum is the CRC-32C that format v2 uses, continued from crc (0 to begin).
func Checksum(crc uint32, p []byte) uint32 { return crc32.Update(crc, castagnoli, p) }

// ChecksumZero is Checksum continued over one byte that is zero, without the cost of a call for a slice.
func ChecksumZero(crc uint32) uint32 { return ^(castagnoli[byte(^crc)] ^ (^crc >> 8)) }
