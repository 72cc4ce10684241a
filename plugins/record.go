package plugins

import "github.com/moldau-io/moldau/plugins/data"

// NoTimestamp marks a record without a timestamp.
const NoTimestamp int64 = -1

// NoPartition lets the producer's partitioner choose.
const NoPartition int32 = -1

// Offset is a source position, rendered only when it is to be stored. Values of the map are JSON primitives: string, bool,
// int64, float64 or nil, as Kafka Connect's offset topic holds them.
type Offset interface {
	// OffsetMap returns the position as Connect stores it. The caller does not change it.
	OffsetMap() map[string]any
}

// OffsetMap is the plain form of an Offset.
type OffsetMap map[string]any

// OffsetMap returns m.
func (m OffsetMap) OffsetMap() map[string]any { return m }

// SourceRecord is one record on its way into the log. A record without a topic only carries an offset (a position that moved
// without data); it is not produced.
type SourceRecord struct {
	// Partition names the piece of the source this record came from ({"server": "..."}, {"filename": "..."}); one map is shared
	// by all records of it and never changed. Nil: the record carries no offset.
	SourcePartition map[string]any
	// SourceOffset is the position to resume from once this record and all before it are durable.
	SourceOffset Offset

	Topic       string
	Partition   int32    // NoPartition, or fixed
	Boundary    Boundary // only looked at with transaction.boundary=connector
	KeySchema   *data.Schema
	Key         data.Value
	ValueSchema *data.Schema
	Value       data.Value
	Timestamp   int64 // milliseconds since the epoch, or NoTimestamp
	Headers     []data.Header
}

// SinkRecord is one record on its way out of the log.
type SinkRecord struct {
	Topic         string // after transforms
	Partition     int32
	Offset        int64
	OriginalTopic string // where it lies in the log; with Partition and Offset its identity
	KeySchema     *data.Schema
	Key           data.Value
	ValueSchema   *data.Schema
	Value         data.Value
	Timestamp     int64 // milliseconds since the epoch, or NoTimestamp
	TimestampType TimestampType
	Headers       []data.Header
	// Raw is the record as it lies in the log, for error reporting.
	Raw *RawRecord
}

// RawRecord is the undecoded form of a sink record: what a dead-letter topic receives. The slices are never changed.
type RawRecord struct {
	Key, Value []byte
	Headers    []RawHeader
}

// RawHeader is an undecoded header.
type RawHeader struct {
	Key   string
	Value []byte
}

// TimestampType tells who set a record's timestamp.
type TimestampType int8

// The timestamp types of Kafka.
const (
	TimestampNone          TimestampType = -1
	TimestampCreateTime    TimestampType = 0
	TimestampLogAppendTime TimestampType = 1
)

// TopicPartition names a partition of a topic in the log.
type TopicPartition struct {
	Topic     string
	Partition int32
}
