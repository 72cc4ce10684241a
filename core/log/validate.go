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
	recompress := false
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
		if err := l.checkRecords(b, o.Origin, cfg); err != nil {
			return in, err
		}
		if t := cfg.CompressionType; t != CompressionProducer && t != b.Codec() && !b.IsControl() {
			recompress = true
		}
	}
	switch {
	case in.count == 0:
		return in, fmt.Errorf("%w: append of no record batches", ErrInvalidRecord)
	case in.count > 1 && in.hasPID && o.Origin == Client:
		return in, invalidRecord("an idempotent append must have exactly one record batch, got %d", in.count)
	}
	if recompress {
		out, err := l.recompress(data, cfg)
		if err != nil {
			return in, err
		}
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

// checkRecords walks the records: offsets in sequence, keys on a compacted topic, timestamps in range.
func (l *Log) checkRecords(b batch.Batch, o Origin, cfg *Config) error {
	r := readers.Get().(*batch.Reader)
	defer readers.Put(r)
	r.Limit = l.d.opts.MaxDecompressedBatchSize
	if b.Codec() != batch.None {
		// Decompressing keeps a processor busy anyhow; no more at once than there are bounds the memory it takes.
		l.d.decompress <- struct{}{}
		defer func() { <-l.d.decompress }()
	}
	if err := r.Reset(b); err != nil {
		if errors.Is(err, batch.ErrTooLarge) {
			return fmt.Errorf("%w: %w", ErrMessageTooLarge, err)
		}
		return invalidRecord("%s", err)
	}
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
	if !cfg.LogAppendTime && maxTs != b.MaxTimestamp() {
		b.SetMaxTimestamp(maxTs, false)
		b.UpdateCRC()
	}
	return nil
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

// recompress rebuilds the batches in the topic's codec.
func (l *Log) recompress(data []byte, cfg *Config) ([]byte, error) {
	r := readers.Get().(*batch.Reader)
	defer readers.Put(r)
	r.Limit = l.d.opts.MaxDecompressedBatchSize
	out := make([]byte, 0, len(data))
	for rest := data; len(rest) > 0; {
		var b batch.Batch
		b, rest, _ = batch.Next(rest)
		if b.Codec() == cfg.CompressionType || b.IsControl() {
			out = append(out, b...)
			continue
		}
		w := rebuilder(b)
		w.Codec, w.Level = cfg.CompressionType, cfg.codecLevel(cfg.CompressionType)
		if err := r.Reset(b); err != nil {
			return nil, invalidRecord("%s", err)
		}
		for {
			rec, more := r.Next()
			if !more {
				break
			}
			w.AppendDelta(rec.OffsetDelta, rec.Timestamp, rec.Key, rec.Value, rec.Headers...)
		}
		if err := r.Err(); err != nil {
			return nil, invalidRecord("%s", err)
		}
		var err error
		if out, err = w.AppendTo(out); err != nil {
			return nil, fmt.Errorf("recompress: %w", err)
		}
	}
	return out, nil
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
