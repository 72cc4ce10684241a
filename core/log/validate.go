package log

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/moldau-io/moldau/core/log/batch"
)

// readers are batch readers with their decompression buffers.
var readers = sync.Pool{New: func() any { return new(batch.Reader) }}

// validate checks the batches of an append without a lock and brings them into the form to be stored: largest timestamps
// corrected, recompressed when the topic's compression.type wants it (then into new memory).
func (l *Log) validate(data []byte, o AppendOptions, cfg *Config) (incoming, error) {
	in := incoming{data: data}
	var out []byte // when a batch was recompressed
	for rest := data; len(rest) > 0; {
		b, r, err := batch.Next(rest)
		if err != nil {
			if errors.Is(err, batch.ErrMagic) {
				return in, fmt.Errorf("%w: %w", ErrUnsupportedFormat, err)
			}
			return in, fmt.Errorf("%w: %w", ErrCorruptMessage, err)
		}
		rest = r
		if o.Origin != Replica && int64(len(b)) > cfg.MaxMessageBytes {
			return in, fmt.Errorf("%w: the record batch size in the append to %s is %d bytes which exceeds the maximum configured value of %d",
				ErrMessageTooLarge, l.id, len(b), cfg.MaxMessageBytes)
		}
		if err := b.Check(); err != nil {
			return in, fmt.Errorf("%w: %w in topic partition %s", ErrCorruptMessage, err, l.id)
		}
		in.count++
		in.delta += int64(b.LastOffsetDelta()) + 1
		if b.ProducerID() >= 0 {
			in.hasPID = true
		}
		if o.Origin == Replica {
			if b.BaseOffset() < 0 || b.BaseOffset() > math.MaxInt64-int64(b.LastOffsetDelta())-1 {
				return in, fmt.Errorf("%w: base offset %d", ErrCorruptMessage, b.BaseOffset())
			}
			continue
		}
		if err := checkHeader(b, o.Origin, l.id); err != nil {
			return in, err
		}
		if b.Codec() > batch.Zstd {
			return in, fmt.Errorf("%w: codec %d", ErrUnsupportedCompression, b.Codec())
		}
		recompress := cfg.CompressionType != CompressionProducer && cfg.CompressionType != b.Codec() && !b.IsControl()
		if recompress && out == nil {
			out = append(make([]byte, 0, len(data)), data[:len(data)-len(rest)-len(b)]...)
		}
		if out, err = l.checkRecords(b, o.Origin, cfg, out, recompress); err != nil {
			return in, err
		}
		if out != nil && !recompress {
			out = append(out, b...)
		}
	}
	switch {
	case in.count == 0:
		return in, fmt.Errorf("%w: append of no record batches", ErrInvalidRecord)
	case in.count > 1 && in.hasPID && o.Origin == Client:
		return in, invalidRecord("an idempotent append must have exactly one record batch, got %d", in.count)
	}
	if out != nil {
		in.data = out
	}
	if o.Origin != Replica && int64(len(in.data)) > cfg.SegmentBytes {
		return in, fmt.Errorf("%w: %d bytes exceed the segment size of %d", ErrRecordListTooLarge, len(in.data), cfg.SegmentBytes)
	}
	return in, nil
}

// checkHeader applies the rules for a batch that is new to the log.
func checkHeader(b batch.Batch, o Origin, partition string) error {
	n := b.RecordCount()
	switch {
	case n <= 0:
		return invalidRecord("record batch for partition %s has an invalid count of records: %d", partition, n)
	case b.LastOffsetDelta() != n-1:
		return invalidRecord("record batch for partition %s has offsets 0 to %d but %d records", partition, b.LastOffsetDelta(), n)
	case o == Client && b.BaseOffset() != 0:
		return invalidRecord("the baseOffset of the record batch in the append to %s should be 0, but it is %d", partition, b.BaseOffset())
	case o == Client && b.IsControl():
		return invalidRecord("clients are not allowed to write control records")
	case o == Client && b.ProducerID() >= 0 && b.BaseSequence() < 0:
		return invalidRecord("invalid sequence number %d in record batch with producerId %d", b.BaseSequence(), b.ProducerID())
	case o == Client && b.ProducerID() >= 0 && b.ProducerEpoch() < 0:
		return invalidRecord("invalid producer epoch %d in record batch with producerId %d", b.ProducerEpoch(), b.ProducerID())
	case b.IsTransactional() && b.ProducerID() < 0:
		return invalidRecord("transactional record batch without a producer id")
	case o == Client && b.HasDeleteHorizon():
		return invalidRecord("clients are not allowed to set the delete horizon")
	}
	return nil
}

// checkRecords walks the records: offsets in sequence, keys on a compacted topic, timestamps in range. With recompress it appends the batch
// in the topic's codec to out, which it returns.
func (l *Log) checkRecords(b batch.Batch, o Origin, cfg *Config, out []byte, recompress bool) ([]byte, error) {
	r := readers.Get().(*batch.Reader)
	defer readers.Put(r)
	u, err := l.unpack(r, b, l.d.opts.MaxDecompressedBatchSize, o != Client)
	defer u.done(r)
	switch {
	case errors.Is(err, ErrBusy):
		return out, err
	case errors.Is(err, batch.ErrTooLarge):
		return out, fmt.Errorf("%w: %w", ErrMessageTooLarge, err)
	case err != nil:
		return out, invalidRecord("%s", err)
	}
	if err := l.walkRecords(r, b, o, cfg); err != nil || !recompress {
		return out, err
	}
	// As in Kafka, what a batch takes in the topic's codec is held to the limit again.
	size := int64(batch.HeaderSize + len(r.Unpacked()))
	at := len(out)
	if cfg.CompressionType != batch.None {
		if out, err = batch.Recode(out, b, cfg.CompressionType, cfg.codecLevel(cfg.CompressionType), r.Unpacked()); err != nil {
			return out[:at], fmt.Errorf("recompress: %w", err)
		}
		size = int64(len(out) - at)
	}
	if size > cfg.MaxMessageBytes {
		return out[:at], fmt.Errorf("%w: the record batch size in the append to %s is %d bytes in the topic's compression, which exceeds the maximum configured value of %d",
			ErrMessageTooLarge, l.id, size, cfg.MaxMessageBytes)
	}
	if cfg.CompressionType == batch.None {
		out, err = batch.Recode(out, b, batch.None, 0, r.Unpacked())
	}
	return out, err
}

// walkRecords is the part of checkRecords that looks at the records, and mends the batch's largest timestamp.
func (l *Log) walkRecords(r *batch.Reader, b batch.Batch, o Origin, cfg *Config) error {
	var bad *InvalidRecordError
	fail := func(err error, i int32, format string, args ...any) {
		if bad == nil {
			bad = &InvalidRecordError{Err: err, Message: "One or more records have been rejected due to invalid record"}
		}
		bad.Err = err
		if err == ErrInvalidTimestamp { //nolint:errorlint // a sentinel given by the calls below
			bad.Message = "One or more records have been rejected due to invalid timestamp"
		}
		if len(bad.Records) < maxRecordErrors {
			bad.Records = append(bad.Records, RecordError{i, fmt.Sprintf(format, args...)})
		}
	}
	if !cfg.LogAppendTime && b.IsLogAppendTime() {
		return &InvalidRecordError{Err: ErrInvalidTimestamp, Message: "Invalid timestamp type in message. Producer should not set timestamp type to LogAppendTime."}
	}
	needKey := cfg.Compact && !b.IsControl()
	checkTime := !cfg.LogAppendTime && o == Client
	now := int64(0)
	if checkTime {
		now = l.d.nowMs()
	}
	if s, ok := batch.Skim(r.Unpacked(), b.RecordCount()); ok && !(needKey && s.NullKey) && b.BaseTimestamp() >= 0 {
		oldest, newest := satAdd(b.BaseTimestamp(), s.MinTimestampDelta), satAdd(b.BaseTimestamp(), s.MaxTimestampDelta)
		if oldest >= 0 && (!checkTime || now-oldest <= cfg.TimestampBeforeMaxMs && newest-now <= cfg.TimestampAfterMaxMs) {
			setMaxTimestamp(b, newest, cfg)
			return nil
		}
	}
	maxTs, i := int64(batch.NoTimestamp), int32(0)
	for {
		rec, more := r.Next()
		if !more {
			break
		}
		if rec.OffsetDelta != i {
			return invalidRecord("inner record %d has offset delta %d: offsets inside a batch must be incremental", i, rec.OffsetDelta)
		}
		if needKey && rec.Key == nil {
			fail(ErrInvalidRecord, i, "Compacted topic cannot accept message without key in topic partition %s", l.id)
		}
		if ts := rec.Timestamp; checkTime && ts != batch.NoTimestamp &&
			(now-ts > cfg.TimestampBeforeMaxMs || ts-now > cfg.TimestampAfterMaxMs) {
			fail(ErrInvalidTimestamp, i, "Timestamp %d of message with offset %d is out of range. The timestamp should be within [%d, %d]",
				ts, i, satSub(now, cfg.TimestampBeforeMaxMs), satAdd(now, cfg.TimestampAfterMaxMs))
		}
		maxTs = max(maxTs, rec.Timestamp)
		i++
	}
	if err := r.Err(); err != nil {
		return invalidRecord("%s", err)
	}
	if i != b.RecordCount() {
		return invalidRecord("record batch has %d records, its header says %d", i, b.RecordCount())
	}
	if bad != nil {
		return bad
	}
	setMaxTimestamp(b, maxTs, cfg)
	return nil
}

// setMaxTimestamp corrects what a batch says of its records, where they have timestamps of their own.
func setMaxTimestamp(b batch.Batch, ms int64, cfg *Config) {
	if !cfg.LogAppendTime && ms != b.MaxTimestamp() {
		b.SetMaxTimestamp(ms, false)
		b.UpdateCRC()
	}
}

func satAdd(a, b int64) int64 {
	if b > math.MaxInt64-a {
		return math.MaxInt64
	}
	return a + b
}

func satSub(a, b int64) int64 {
	if b > a {
		return 0
	}
	return a - b
}

// rebuilder is a builder that makes a batch like b.
func rebuilder(b batch.Batch) *batch.Builder {
	w := &batch.Builder{
		Codec: b.Codec(), BaseOffset: b.BaseOffset(), LeaderEpoch: b.LeaderEpoch(),
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(), Idempotent: true,
		Transactional: b.IsTransactional(), Control: b.IsControl(), LogAppendTime: b.IsLogAppendTime(),
	}
	w.DeleteHorizon, w.HasHorizon = b.DeleteHorizonMs()
	return w
}
