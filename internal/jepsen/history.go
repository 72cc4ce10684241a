package jepsen

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Pair is a value at an offset.
type Pair struct{ Offset, Value int64 }

// Unknown is the offset of a value whose acknowledgement was not seen.
const Unknown int64 = -1

// Mop is one step of an operation: a send, or a poll when Polled is not nil.
type Mop struct {
	Key    int
	Sent   Pair
	Polled map[int][]Pair // by key, in the order of arrival
}

// Send returns the step that sent value, acknowledged at offset.
func Send(key int, value, offset int64) Mop { return Mop{Key: key, Sent: Pair{offset, value}} }

// Poll returns the step that polled pairs of one key.
func Poll(key int, pairs ...Pair) Mop { return Mop{Polled: map[int][]Pair{key: pairs}} }

// Outcome is what the worker knows of its operation's end.
type Outcome uint8

// The outcomes.
const (
	OK   Outcome = iota // it happened
	Fail                // it did not and will not happen: nobody may ever poll its values
	Info                // unknown; it may still happen
)

// Kind is what an operation does.
type Kind string

// The kinds of operation.
const (
	KindSend      Kind = "send"
	KindPoll      Kind = "poll"
	KindTxn       Kind = "txn"
	KindAssign    Kind = "assign"
	KindSubscribe Kind = "subscribe"
	KindCrash     Kind = "crash"
)

// Op is one operation of a worker.
type Op struct {
	Process int
	Kind    Kind
	Mops    []Mop
	Outcome Outcome
	// Subscribed tells that the worker's partitions were given to it by a group.
	Subscribed bool
	// Rebalanced tells that they changed during the operation.
	Rebalanced bool
	Start, End time.Duration // since the start of the history
	Err        string
}

// String prints an operation on one line.
func (o *Op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%8.3fs process %d %s %s", o.End.Seconds(), o.Process, o.Kind, [...]string{"ok", "fail", "info"}[o.Outcome])
	for _, m := range o.Mops {
		if m.Polled == nil {
			fmt.Fprintf(&b, " send(%d: %d@%d)", m.Key, m.Sent.Value, m.Sent.Offset)
			continue
		}
		b.WriteString(" poll(")
		for _, k := range sortedKeys(m.Polled) {
			fmt.Fprintf(&b, "%d:", k)
			for _, p := range m.Polled[k] {
				fmt.Fprintf(&b, " %d@%d", p.Value, p.Offset)
			}
			b.WriteString("; ")
		}
		b.WriteString(")")
	}
	if o.Err != "" {
		fmt.Fprintf(&b, " (%s)", o.Err)
	}
	return b.String()
}

func sortedKeys[V any](m map[int]V) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// History is a list of operations in the order of their ends. Its methods may be called from any goroutine.
type History struct {
	mu    sync.Mutex
	start time.Time
	ops   []*Op
}

// NewHistory returns an empty history that starts now.
func NewHistory() *History { return &History{start: time.Now()} }

// Now is the time since the history's start.
func (h *History) Now() time.Duration { return time.Since(h.start) }

// Add appends an operation that has ended.
func (h *History) Add(o *Op) {
	o.End = h.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

// Ops returns the operations so far.
func (h *History) Ops() []*Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.ops)
}
