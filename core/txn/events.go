package txn

import (
	"context"
	"log/slog"
)

// Record is one record for __transaction_state. A nil Value is a tombstone.
type Record struct {
	Key   []byte
	Value []byte
}

// Batch is what a step wants appended, as one atomic record batch.
type Batch struct {
	// Seq counts the shard's batches from 1. Appended events come back in this order without a gap.
	Seq uint64
	// LeaderEpoch is the epoch of the election under which the shard runs. A store must refuse a batch of an epoch that is over.
	LeaderEpoch int32
	// TimeMs is the timestamp for the records, milliseconds since 1970.
	TimeMs int64
	// Records belong to the store once given.
	Records []Record
}

// Store is the log under the coordinator.
type Store interface {
	// Append appends the batch to the partition of __transaction_state and returns without waiting for the disk. done is called
	// exactly once, from any goroutine (also before Append returns): with nil when the batch is durable, else with an error that
	// wraps a *kerr.Error where one fits. Batches of one partition are appended in the order of the calls.
	Append(partition int32, b Batch, done func(error))
	// Load calls fn for each record of the partition, from the log's start to its end. key and value are valid during the call
	// only; a nil value is a tombstone. It stops at fn's first error and returns it.
	Load(ctx context.Context, partition int32, fn func(key, value []byte, offset int64) error) error
}

// Markers is the end of one transaction, to be written to its partitions.
type Markers struct {
	TransactionalID  string
	ProducerID       int64
	ProducerEpoch    int16
	CoordinatorEpoch int32
	Commit           bool
	// TransactionVersion 2 says that ProducerEpoch was bumped by the end itself: a partition must not take the marker when
	// it has records of that epoch already.
	TransactionVersion int16
	Partitions         []TopicPartition

	of *ending // tells their fate from that of others' markers
}

// MarkerWriter writes transaction markers to the leaders of the partitions.
type MarkerWriter interface {
	// WriteMarkers writes the markers and calls done exactly once, from any goroutine (also before it returns), with the Kafka
	// error code of each partition: 0 when the marker is durable. UNKNOWN_TOPIC_OR_PARTITION says that the partition does not
	// exist any more.
	WriteMarkers(m Markers, done func(codes []int16))
}

// Result answers a request.
type Result struct {
	Code          int16
	ProducerID    int64 // of InitProducerID and EndTxn, -1 with an error
	ProducerEpoch int16
}

// Reply receives a Result.
type Reply func(Result)

// Event is something that happens to a shard: one of the types below.
type Event interface{ event() }

type (
	// InitProducerID begins an incarnation of a transactional producer.
	InitProducerID struct {
		TransactionalID string
		TimeoutMs       int32
		// ExpectedID and ExpectedEpoch are what a producer had that goes on after an error (KIP-360), -1 for a new one.
		ExpectedID    int64
		ExpectedEpoch int16
		// SpareID is a producer id that nobody has, for the shard to take, or -1.
		SpareID int64
		Reply   Reply
	}
	// AddPartitions adds partitions to the producer's transaction, which begins with the first.
	AddPartitions struct {
		TransactionalID string
		ProducerID      int64
		ProducerEpoch   int16
		Partitions      []TopicPartition
		// Version is the transaction version of the client.
		Version int16
		// WaitMs is for how many milliseconds the request may wait for the end of the producer's last transaction before it is answered
		// CONCURRENT_TRANSACTIONS, 0 for not at all.
		WaitMs int64
		Reply  Reply
	}
	// EndTxn ends the producer's transaction.
	EndTxn struct {
		TransactionalID string
		ProducerID      int64
		ProducerEpoch   int16
		Commit          bool
		// Version is the transaction version of the client: from 2 on the epoch is bumped, and the answer names the new one.
		Version int16
		// SpareID is a producer id that nobody has, for the shard to take, or -1.
		SpareID int64
		Reply   Reply
	}
	// MarkersWritten is the fate of markers that an effect asked for: a Kafka error code for each partition. Markers are those of the
	// effect, or some of them.
	MarkersWritten struct {
		Markers Markers
		Codes   []int16
	}
	// Appended is the fate of a batch: Err is nil once it is durable.
	Appended struct {
		Seq uint64
		Err error
	}
	// Loaded ends the replay: the shard begins to serve under this leader epoch, and goes on with the transactions that were
	// decided and not complete.
	Loaded struct{ LeaderEpoch int32 }
	// Resigned ends the shard: everyone who waits is told NOT_COORDINATOR.
	Resigned struct{}
	// Tick runs what is due.
	Tick struct{}
)

func (InitProducerID) event() {}
func (AddPartitions) event()  {}
func (EndTxn) event()         {}
func (MarkersWritten) event() {}
func (Appended) event()       {}
func (Loaded) event()         {}
func (Resigned) event()       {}
func (Tick) event()           {}

// Effect is something for the edge to do; exactly one of Reply, Markers, TookSpare and Note is set.
type Effect struct {
	// Reply is to be called with Result.
	Reply  Reply
	Result Result
	// Markers are to be written, and their fate to come back as MarkersWritten.
	Markers *Markers
	// TookSpare says that the shard keeps the SpareID of the event.
	TookSpare bool
	// Note is a line for the log.
	Note  string
	Level slog.Level
	Args  []any
}
