package group

import (
	"context"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Record is one record for, or from, __consumer_offsets. A nil Value is a tombstone.
type Record struct {
	Key   []byte
	Value []byte
}

// Batch is what a step wants appended, as one atomic record batch.
type Batch struct {
	// Seq counts the shard's batches from 1. Appended events come back in this order without a gap.
	Seq uint64
	// LeaderEpoch is the epoch of the election under which the shard runs. A store must refuse a batch of
	// an epoch that is over.
	LeaderEpoch int32
	// TimeMs is the timestamp for the records, milliseconds since 1970.
	TimeMs int64
	// ProducerID and ProducerEpoch are the transaction's, for offsets committed within one; ProducerID -1
	// otherwise. The batch is transactional exactly if ProducerID is not -1.
	ProducerID    int64
	ProducerEpoch int16
	// Guard is the request's, for offsets committed within a transaction.
	Guard int64
	// Records belong to the store once given; the shard does not touch them again.
	Records []Record
}

// StoredRecord is one record of __consumer_offsets as it is loaded. Key and Value are only valid during the
// call that hands them over.
type StoredRecord struct {
	Offset int64
	Key    []byte
	Value  []byte // nil is a tombstone
	// ProducerID is that of a transactional batch, else -1.
	ProducerID int64
	// Control is true for the end marker of a transaction; Commit says which of the two it is, and Key and
	// Value are not looked at.
	Control bool
	Commit  bool
}

// Store is the log under the coordinator.
type Store interface {
	// Append appends the batch to the partition of __consumer_offsets and returns without waiting for the
	// disk. done is called exactly once, from any goroutine (also before Append returns): with nil when the
	// batch is durable, else with an error that wraps a *kerr.Error where there is one that fits
	// (NOT_LEADER_OR_FOLLOWER, MESSAGE_TOO_LARGE, NOT_ENOUGH_REPLICAS, KAFKA_STORAGE_ERROR, ...).
	// Batches of one partition are appended in the order of the calls.
	Append(partition int32, b Batch, done func(error))
	// Load calls fn for each record of the partition, from the log's start to its end, transactional
	// records and end markers included, aborted ones too. It stops at fn's first error and returns it.
	Load(ctx context.Context, partition int32, fn func(StoredRecord) error) error
}

// Topics answers what the coordinator must know of the cluster's topics.
type Topics interface {
	// PartitionExists is whether the topic has this partition.
	PartitionExists(topic string, partition int32) bool
	// TopicID is the topic's id, false if there is no such topic.
	TopicID(topic string) ([16]byte, bool)
	// TopicName is the name of the topic with this id, false if there is none.
	TopicName(id [16]byte) (string, bool)
	// Image is the newest metadata. [Coordinator.MetadataChanged] tells of newer ones.
	Image() Image
}

// RequestContext is what a handler needs of the connection. The version is in the request itself.
type RequestContext struct {
	// ClientID is the client.id of the request header, empty if null.
	ClientID string
	// ClientHost is the client's address as Kafka shows it: "/192.0.2.1".
	ClientHost string
	// Guard permits a TxnOffsetCommit to begin its transaction in the log (KIP-890); it is handed to the store as it is.
	Guard int64
	// CanDescribe, if set, says which topics the client may know of; it is kept until the regular expressions of
	// the request are resolved, and may be called from any goroutine.
	CanDescribe func(topic string) bool
}

// Event is something that happens to a shard: one of the types below.
type Event interface{ event() }

// The waiter of an event is handed back, untouched, with the answer.
type (
	// JoinGroup is a JoinGroup request.
	JoinGroup struct {
		Context RequestContext
		Request *kmsg.JoinGroupRequest
		Waiter  any
	}
	// SyncGroup is a SyncGroup request.
	SyncGroup struct {
		Request *kmsg.SyncGroupRequest
		Waiter  any
	}
	// Heartbeat is a Heartbeat request. [Shard.Heartbeat] is the same without the allocations.
	Heartbeat struct {
		Request *kmsg.HeartbeatRequest
		Waiter  any
	}
	// LeaveGroup is a LeaveGroup request.
	LeaveGroup struct {
		Request *kmsg.LeaveGroupRequest
		Waiter  any
	}
	// OffsetCommit is an OffsetCommit request whose topics were looked up: Names and IDs run parallel to
	// Request.Topics, and Response has one entry for each partition, with an error code already where the
	// commit is refused. The shard fills in the rest and answers with Response.
	OffsetCommit struct {
		Request  *kmsg.OffsetCommitRequest
		Response *kmsg.OffsetCommitResponse
		Names    []string
		IDs      [][16]byte
		Waiter   any
	}
	// TxnOffsetCommit is a TxnOffsetCommit request: the offsets count when the transaction commits. Response
	// as for OffsetCommit.
	TxnOffsetCommit struct {
		Request  *kmsg.TxnOffsetCommitRequest
		Response *kmsg.TxnOffsetCommitResponse
		IDs      [][16]byte
		Guard    int64
		Waiter   any
	}
	// TxnMarker is the end of a transaction: its marker is in the log, and durable.
	TxnMarker struct {
		ProducerID int64
		Commit     bool
	}
	// OffsetDelete is an OffsetDelete request; Response as for OffsetCommit.
	OffsetDelete struct {
		Request  *kmsg.OffsetDeleteRequest
		Response *kmsg.OffsetDeleteResponse
		Waiter   any
	}
	// ConsumerGroupHeartbeat is a ConsumerGroupHeartbeat request (KIP-848).
	ConsumerGroupHeartbeat struct {
		Context RequestContext
		Request *kmsg.ConsumerGroupHeartbeatRequest
		Waiter  any
	}
	// RegexResolved answers a [RegexQuery]: the topics, sorted, by regular expression.
	RegexResolved struct {
		Group   string
		Version int64 // of the image in which they were looked for
		At      int64 // when, ms
		Topics  map[string][]string
	}
	// MetadataChanged is a newer image. Topics are those that are new, changed or gone.
	MetadataChanged struct {
		Image         Image
		Topics        []string
		TopicsCreated bool
	}
	// DeleteGroups deletes the groups of one shard; the answer is a *kmsg.DeleteGroupsResponse with these
	// groups in this order.
	DeleteGroups struct {
		Groups []string
		Waiter any
	}
	// TopicDeleted is the news that a topic is gone, and its offsets with it.
	TopicDeleted struct{ Topic string }
	// Appended is the fate of a batch: Err is nil once it is durable.
	Appended struct {
		Seq uint64
		Err error
	}
	// Loaded ends the replay: the shard begins to serve under this leader epoch, with the image if there is one.
	Loaded struct {
		LeaderEpoch int32
		Image       Image
	}
	// Resigned ends the shard: everyone who waits is told NOT_COORDINATOR.
	Resigned struct{}
	// Tick runs the timers that are due.
	Tick struct{}
)

func (JoinGroup) event()       {}
func (SyncGroup) event()       {}
func (Heartbeat) event()       {}
func (LeaveGroup) event()      {}
func (OffsetCommit) event()    {}
func (TxnOffsetCommit) event() {}
func (TxnMarker) event()       {}
func (OffsetDelete) event()    {}
func (DeleteGroups) event()    {}

func (ConsumerGroupHeartbeat) event() {}
func (RegexResolved) event()          {}
func (MetadataChanged) event()        {}

func (TopicDeleted) event() {}
func (Appended) event()     {}
func (Loaded) event()       {}
func (Resigned) event()     {}
func (Tick) event()         {}

// Effect is something for the edge to do: answer a waiter (Response is set), log a line (Note is set), look for
// topics (Resolve is set), or load the shard anew, because it is at odds with its log and serves no more.
type Effect struct {
	Resolve *RegexQuery
	Reload  bool

	Waiter   any
	Response kmsg.Response

	Level slog.Level
	Note  string
	Args  []any
}
