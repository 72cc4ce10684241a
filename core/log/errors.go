package log

import (
	"errors"
	"fmt"
	"strings"
)

// Errors of a log. The names are those of the Kafka error codes that they map to.
var (
	// ErrOffsetOutOfRange: the offset is below the start or past the end (OFFSET_OUT_OF_RANGE).
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrCorruptMessage: a checksum or length is wrong in what a client sent (CORRUPT_MESSAGE).
	ErrCorruptMessage = errors.New("corrupt message")
	// ErrMessageTooLarge: a batch is larger than max.message.bytes (MESSAGE_TOO_LARGE).
	ErrMessageTooLarge = errors.New("message too large")
	// ErrRecordListTooLarge: the batches together are larger than a segment (RECORD_LIST_TOO_LARGE).
	ErrRecordListTooLarge = errors.New("record list too large")
	// ErrInvalidRecord: a record breaks a rule (INVALID_RECORD); comes as *InvalidRecordError.
	ErrInvalidRecord = errors.New("invalid record")
	// ErrInvalidTimestamp: a timestamp is out of range (INVALID_TIMESTAMP); comes as *InvalidRecordError.
	ErrInvalidTimestamp = errors.New("invalid timestamp")
	// ErrUnsupportedFormat: the batches are of an older message format (UNSUPPORTED_FOR_MESSAGE_FORMAT).
	ErrUnsupportedFormat = errors.New("unsupported message format")
	// ErrUnsupportedCompression: the codec is unknown (UNSUPPORTED_COMPRESSION_TYPE).
	ErrUnsupportedCompression = errors.New("unsupported compression type")
	// ErrOutOfOrderSequence: a producer's sequence number does not follow its last (OUT_OF_ORDER_SEQUENCE_NUMBER).
	ErrOutOfOrderSequence = errors.New("out of order sequence number")
	// ErrInvalidProducerEpoch: the producer was fenced by a newer epoch (INVALID_PRODUCER_EPOCH).
	ErrInvalidProducerEpoch = errors.New("invalid producer epoch")
	// ErrUnknownProducerID: the producer id has no state (UNKNOWN_PRODUCER_ID). Kafka no longer answers it to appends.
	ErrUnknownProducerID = errors.New("unknown producer id")
	// ErrInvalidTxnState: a write outside the producer's open transaction (INVALID_TXN_STATE).
	ErrInvalidTxnState = errors.New("invalid transaction state")
	// ErrCoordinatorFenced: a marker of an old transaction coordinator (TRANSACTION_COORDINATOR_FENCED).
	ErrCoordinatorFenced = errors.New("transaction coordinator fenced")
	// ErrOutOfOrderOffsets: replicated batches do not follow the end of the log.
	ErrOutOfOrderOffsets = errors.New("out of order offsets")
	// ErrTruncated: the offset that was waited for is gone, the log was truncated below it (NOT_LEADER_OR_FOLLOWER).
	ErrTruncated = errors.New("log was truncated")
	// ErrStorage: the directory has failed or is closed (KAFKA_STORAGE_ERROR).
	ErrStorage = errors.New("log storage failed")
	// ErrClosed: the log or directory is closed or the partition deleted. It is an ErrStorage too.
	ErrClosed = fmt.Errorf("%w: log is closed", ErrStorage)
	// ErrBusy: the append would have to wait for too many others; trying again may help (REQUEST_TIMED_OUT).
	ErrBusy = errors.New("busy")
	// ErrExists: the partition exists already.
	ErrExists = errors.New("partition exists")
	// ErrNotFound: no such partition.
	ErrNotFound = errors.New("partition not found")
	// ErrLocked: another process has the directory open.
	ErrLocked = errors.New("log directory is locked by another process")
)

// RecordError says what is wrong with one record of a batch. Index is its place in the batch, from 0.
type RecordError struct {
	Index   int32
	Message string
}

// InvalidRecordError refuses an append for its records. It unwraps to ErrInvalidRecord or ErrInvalidTimestamp.
type InvalidRecordError struct {
	Err     error
	Message string
	Records []RecordError // at most maxRecordErrors; empty when the batch as a whole is wrong
}

// maxRecordErrors bounds the list in an InvalidRecordError.
const maxRecordErrors = 100

func (e *InvalidRecordError) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	for i, r := range e.Records {
		if i == 3 {
			fmt.Fprintf(&b, " (and %d more)", len(e.Records)-i)
			break
		}
		fmt.Fprintf(&b, "; record %d: %s", r.Index, r.Message)
	}
	return b.String()
}

func (e *InvalidRecordError) Unwrap() error { return e.Err }

func invalidRecord(format string, args ...any) error {
	return &InvalidRecordError{Err: ErrInvalidRecord, Message: fmt.Sprintf(format, args...)}
}

// CorruptionError reports damage that recovery found in the middle of a log.
type CorruptionError struct {
	Topic     string
	Partition int32
	File      string
	Position  int64 // where the damaged bytes begin
	Length    int64
	First     int64 // first offset that may be lost
	Next      int64 // first offset known to be good again
	Repaired  bool  // the bytes could be restored, nothing is lost
}

func (e *CorruptionError) Error() string {
	if e.Repaired {
		return fmt.Sprintf("%s: header of the batch at offset %d, position %d was damaged and could be restored", e.File, e.First, e.Position)
	}
	return fmt.Sprintf("%s: %d bytes at position %d are damaged: offsets %d to %d are lost", e.File, e.Length, e.Position, e.First, e.Next-1)
}
