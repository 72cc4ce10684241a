package plugins

import "github.com/moldau-io/moldau/plugins/configdef"

// Boundary tells what happens to a task's transaction after a record, with transaction.boundary=connector.
type Boundary uint8

// The boundaries of a record.
const (
	// NoBoundary lets the transaction go on.
	NoBoundary Boundary = iota
	// CommitAfter commits the transaction after this record.
	CommitAfter
	// AbortAfter aborts it: this record and those before it in the transaction are never seen by consumers that read committed records.
	// Their source offsets are stored all the same, so that they are not read again.
	AbortAfter
)

// TransactionContext lets a source task say where transactions end when its connector runs with transaction.boundary=connector. Its methods may
// be called from within Poll only. For a boundary in the middle of what a Poll returns, see SourceRecord.Boundary.
type TransactionContext interface {
	// Commit asks to commit the transaction after the records that this Poll returns.
	Commit()
	// Abort asks to abort it after them.
	Abort()
}

// ExactlyOnceConnector may be implemented by a source connector to tell whether it writes exactly once under a configuration: whether each
// position that its tasks store lets them go on without a record missing or read twice. The worker asks when exactly.once.support is
// required.
type ExactlyOnceConnector interface {
	// ExactlyOnceSupport must not touch anything outside.
	ExactlyOnceSupport(cfg configdef.Values) bool
}

// TransactionDefiner may be implemented by a source connector whose tasks can use a TransactionContext. One that does not implement it is
// refused with transaction.boundary=connector.
type TransactionDefiner interface {
	// CanDefineTransactionBoundaries must not touch anything outside.
	CanDefineTransactionBoundaries(cfg configdef.Values) bool
}
