package plugins

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/prometheus/client_golang/prometheus"
)

// Kind says what a plugin is; the values are those of Connect's REST API.
type Kind string

// The kinds of plugins.
const (
	KindSource          Kind = "source"
	KindSink            Kind = "sink"
	KindConverter       Kind = "converter"
	KindHeaderConverter Kind = "header_converter"
	KindTransformation  Kind = "transformation"
	KindPredicate       Kind = "predicate"
)

// ConnectorSpec describes a connector to the worker: a connector is registered by one of these.
type ConnectorSpec struct {
	// Class is the class name reported by the REST API, the Java name where there is one.
	Class string
	// Aliases are the other names accepted in connector.class: our short name, the Java simple name (with and without "Connector").
	Aliases []string
	Kind    Kind // KindSource or KindSink
	Version string
	// Config defines every key the connector knows beside those of the worker, with the unsupported ones marked as such.
	Config *configdef.Def
	// New makes an instance. It must be cheap and touch nothing outside.
	New func() Connector
}

// Env is what the worker gives a connector or task.
type Env struct {
	ConnectorName string
	TaskID        int // -1 for the connector itself
	Logger        *slog.Logger
	Metrics       prometheus.Registerer // already labelled with connector and task; may be nil
	// RaiseError fails the connector or task from outside its calls (a background goroutine that cannot go on).
	RaiseError func(error)
	// RequestTaskReconfiguration asks the worker to call TaskConfigs again (connectors only).
	RequestTaskReconfiguration func()
	// Offsets reads the stored source offsets; nil for sinks.
	Offsets OffsetReader
	// Transactions is nil unless a source runs with transaction.boundary=connector and exactly-once is on.
	Transactions TransactionContext
}

// OffsetReader reads what was last stored for source partitions.
type OffsetReader interface {
	// Offset returns the stored position of a source partition, or nil when there is none.
	Offset(ctx context.Context, partition map[string]any) (map[string]any, error)
}

// Connector checks a configuration against the world and splits the work into tasks. Exactly one of SourceTask or SinkTask tells
// what its tasks are.
type Connector interface {
	// Validate adds what a definition alone cannot see (can the server be reached, does the bucket exist): it sets errors on single
	// values. It must honour ctx and never change anything outside. It is called only when the definition itself found no errors.
	Validate(ctx context.Context, cfg configdef.Values, res *configdef.Result)
	// Start prepares TaskConfigs. cfg is resolved (no ${...} references) and validated.
	Start(ctx context.Context, env Env, cfg configdef.Values) error
	// TaskConfigs returns one config a task, at most maxTasks. Values are strings as in the connector config.
	TaskConfigs(maxTasks int) ([]map[string]string, error)
	// Stop releases everything.
	Stop() error
}

// SourceConnector is a Connector whose tasks read from outside.
type SourceConnector interface {
	Connector
	NewSourceTask() SourceTask
}

// SinkConnector is a Connector whose tasks write to the outside.
type SinkConnector interface {
	Connector
	NewSinkTask() SinkTask
}

// OffsetAlterer may be implemented by a Connector that has a say when its stored offsets are changed over REST (KIP-875). It is called
// on an instance that was not started, while the connector is stopped.
type OffsetAlterer interface {
	// AlterOffsets checks the changes (a nil Offset removes a position; a sink's are in the form {"kafka_topic", "kafka_partition"} and
	// {"kafka_offset"}) and makes them outside where the connector keeps positions there. complete tells that after this nothing is
	// left to be changed by hand.
	AlterOffsets(ctx context.Context, cfg configdef.Values, changes []OffsetChange) (complete bool, err error)
}

// OffsetChange is one position to be changed.
type OffsetChange struct{ Partition, Offset map[string]any }

// SourceTask reads records from a source.
type SourceTask interface {
	// Start connects and finds the position to go on from through env.Offsets.
	Start(ctx context.Context, env Env, cfg configdef.Values) error
	// Poll returns the next records in source order, waiting for some until ctx is done or a while has passed (nil, nil is fine and
	// means "nothing yet"). The records belong to the worker from then on. Offsets in one batch refer to positions at which the
	// source may resume: when a source cannot resume inside a transaction, the records of one carry the position before it until
	// the last.
	Poll(ctx context.Context) ([]SourceRecord, error)
	// Commit tells that every record handed over so far up to and including the one that carried offset, and the offset itself, are
	// durable in the log. Only now may the source confirm that position upstream. It is called from another goroutine than Poll, in
	// order, and must not block on Poll.
	Commit(ctx context.Context, partition map[string]any, offset Offset) error
	// Stop releases everything; Poll has returned, Commit will not be called again.
	Stop() error
}

// SinkTask writes records to a sink.
type SinkTask interface {
	Start(ctx context.Context, env SinkEnv, cfg configdef.Values) error
	// Open tells which partitions are assigned from now on (added to those before), Close which are taken away: the task drops what
	// it buffers for them without completing it unless Flush said otherwise.
	Open(ctx context.Context, added []TopicPartition) error
	Close(ctx context.Context, removed []TopicPartition) error
	// Put takes records in offset order for each partition. It may buffer, in bounded memory; to be fed less it pauses partitions
	// through env. An empty batch is a tick, delivered about every second and whenever a timeout asked for is due. A *RetriableError
	// makes the worker redeliver the same batch after a backoff.
	Put(ctx context.Context, records []SinkRecord) error
	// PreCommit returns, for each partition, the offset of the next record that is NOT yet safe outside (what a consumer group
	// stores). Partitions left out are not committed. full asks to make as much as possible safe first (shutdown, rebalance).
	PreCommit(ctx context.Context, full bool) (map[TopicPartition]int64, error)
	Stop() error
}

// SinkEnv is an Env with what only sinks need.
type SinkEnv struct {
	Env
	// Pause and Resume stop and restart the flow from partitions without giving them up.
	Pause, Resume func(...TopicPartition)
	// Rewind makes the worker deliver the partition again from offset.
	Rewind func(tp TopicPartition, offset int64)
	// RequestCommit asks for PreCommit soon.
	RequestCommit func()
	// TopicID returns the id of the topic that the records of this Put were read from: a topic that is deleted and made anew gets
	// another. It is the zero id when the brokers do not tell (before Kafka 3.1), and may be nil. It may be called from Put only.
	TopicID func(topic string) [16]byte
	// Report hands a record that cannot be written to the dead-letter topic; nil when errors.tolerance is none. done (may be nil) is
	// called when the report is durable: until then PreCommit must not pass the record.
	Report func(rec *SinkRecord, cause error, done func(error))
}

// RetriableError marks an error after which the same call may succeed later.
type RetriableError struct{ Err error }

// Error returns the cause's text.
func (e *RetriableError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *RetriableError) Unwrap() error { return e.Err }

// Retriable wraps err so that the worker retries.
func Retriable(err error) error { return &RetriableError{err} }

// IsRetriable reports whether err asks for a retry.
func IsRetriable(err error) bool {
	var r *RetriableError
	return errors.As(err, &r)
}

// DataError says that a record cannot be handled and never will be: with errors.tolerance=all it is skipped or dead-lettered.
type DataError struct{ Err error }

// Error returns the cause's text.
func (e *DataError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *DataError) Unwrap() error { return e.Err }

// Dataf makes a DataError.
func Dataf(format string, args ...any) error { return &DataError{fmt.Errorf(format, args...)} }
