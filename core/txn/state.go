package txn

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/moldau-io/moldau/core/javahash"
)

// StateTopic is the internal topic that the coordinator keeps its state in.
const StateTopic = "__transaction_state"

// NoProducerID and NoProducerEpoch stand for none.
const (
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
)

// lastEpoch is the largest epoch that a client may use: one more is left, to fence it.
const lastEpoch = math.MaxInt16 - 1

// State is where a transactional id stands. The numbers are those in __transaction_state.
type State int8

// The states. Dead and PrepareEpochFence are only ever pending: they are not written.
const (
	Empty             State = 0 // no transaction since the producer was initialised
	Ongoing           State = 1
	PrepareCommit     State = 2 // decided, markers are on their way
	PrepareAbort      State = 3
	CompleteCommit    State = 4 // all markers are written
	CompleteAbort     State = 5
	Dead              State = 6 // expired, the tombstone is on its way
	PrepareEpochFence State = 7

	none State = -1
)

var stateNames = [...]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence"}

// String is Kafka's name of the state.
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return "Unknown"
	}
	return stateNames[s]
}

// ParseState is the state with this name, false if there is none.
func ParseState(name string) (State, bool) {
	i := slices.Index(stateNames[:], name)
	return State(i), i >= 0
}

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

func comparePartitions(a, b TopicPartition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return cmp.Compare(a.Partition, b.Partition)
}

// Entry is the durable state of one transactional id: what a record of __transaction_state says.
type Entry struct {
	TransactionalID string
	ProducerID      int64
	// PreviousProducerID is the producer id of the record before this one, -1 if unknown: a retry of the request that
	// used up its epochs is told by it.
	PreviousProducerID int64
	// NextProducerID takes over when the transaction is complete, -1 for none: the epochs of ProducerID are used up.
	NextProducerID int64
	ProducerEpoch  int16
	TimeoutMs      int32
	State          State
	// Partitions of the transaction, sorted, each once. The slice is never changed.
	Partitions []TopicPartition
	// LastUpdateMs and StartMs are milliseconds since 1970; StartMs is -1 while there is no transaction.
	LastUpdateMs int64
	StartMs      int64
	// ClientVersion is the transaction version of the client's last request: 0, or 2 for KIP-890.
	ClientVersion int16
}

// transaction is an entry with what is not in the log.
type transaction struct {
	Entry
	lastEpoch   int16 // the epoch before the last bump that a client knows of, -1 for none
	pending     State // what is being appended or, from the decision to its last marker, Complete*; none otherwise
	failedFence bool  // an epoch was bumped to fence, and the record of it failed: it is not bumped again

	ending  *ending // from the decision to the completion
	retryAt int64
	bytes   int64

	flying int            // changes that are being appended, each built on the one before
	newest *change        // the last of them
	parked []parkedAdding // wait for the end of the transaction before theirs
}

// ending is one decided end of a transaction: the partitions whose markers are not written. True: being sent, false: to be sent again at
// retryAt.
type ending struct{ unmarked map[TopicPartition]bool }

func (t *transaction) exhausted() bool { return t.ProducerEpoch >= lastEpoch }

// has is whether the partition is in the transaction.
func (t *transaction) has(p TopicPartition) bool {
	_, ok := slices.BinarySearchFunc(t.Partitions, p, comparePartitions)
	return ok
}

func (t *transaction) hasAll(ps []TopicPartition) bool {
	for _, p := range ps {
		if !t.has(p) {
			return false
		}
	}
	return true
}

// change is a transition that is not durable yet.
type change struct {
	Entry
	lastEpoch int16
}

// transit begins a transition: a copy of the transaction to change and append.
func (t *transaction) transit(to State) change {
	c := change{Entry: t.Entry, lastEpoch: t.lastEpoch}
	c.State = to
	c.PreviousProducerID = t.ProducerID
	t.pending = to
	return c
}

// become makes a change that is durable what the transaction is.
func (t *transaction) become(c change) {
	t.Entry, t.lastEpoch = c.Entry, c.lastEpoch
}

// union is the sorted union of two sets; a is sorted.
func union(a, b []TopicPartition) []TopicPartition {
	out := append(slices.Clone(a), b...)
	slices.SortFunc(out, comparePartitions)
	return slices.Compact(out)
}

// without is a without p.
func without(a []TopicPartition, p TopicPartition) []TopicPartition {
	i, ok := slices.BinarySearchFunc(a, p, comparePartitions)
	if !ok {
		return a
	}
	return slices.Concat(a[:i], a[i+1:])
}

// PartitionFor is the partition of __transaction_state, of n, that keeps a transactional id, as in Kafka.
func PartitionFor(transactionalID string, n int32) int32 {
	return javahash.Partition(transactionalID, n)
}
