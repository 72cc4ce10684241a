package cdc

import "github.com/moldau-io/moldau/plugins"

// ChunkRecords is how many records go into the queue at a time under load.
const ChunkRecords = 512

// RecordOverhead estimates the memory of a record beside its column values, in bytes: record, key, envelope and source block.
const RecordOverhead = 1200

// Outbox holds the records that were made of a source's log until they go to the queue, and gives them their positions, of type P, whose
// zero value is none. It belongs to one goroutine.
//
// Invariants:
//   - A record's position says that all changes up to it were handed over. The records of one change but its last carry the position
//     before it, so that a resumption never begins inside a change.
//   - The last change of a transaction carries the position of the transaction's end. As that is known only when the commit arrives, the
//     records of the latest change stay here until the next change or Release.
type Outbox[P position] struct {
	// Records are all that is here. Append the records of a change, then call Hold.
	Records []plugins.SourceRecord
	// Position is that of the last record.
	Position P

	partition map[string]any
	bytes     int64
	held      int // index of the first record of the change whose position may still become the transaction's end; -1: none
	heldBytes int64
	opening   bool // what is held is the BEGIN record of a transaction
}

type position interface {
	comparable
	plugins.Offset
}

// NewOutbox returns an empty outbox for records of partition.
func NewOutbox[P position](partition map[string]any) Outbox[P] {
	return Outbox[P]{partition: partition, held: -1}
}

// Release holds nothing back any more.
func (o *Outbox[P]) Release() { o.held, o.opening = -1, false }

// Begin begins transaction id of tx, committed at ms, and adds its BEGIN record, unless again tells that this was done before. The record has
// no position of its own: it goes out with the first change.
func (o *Outbox[P]) Begin(tx *Transactions, id string, ms int64, again bool) {
	o.Release()
	from := len(o.Records)
	o.Records = tx.Begin(o.Records, id, ms)
	if again {
		o.Records = o.Records[:from]
	}
	var before P
	o.place(from, before)
	if len(o.Records) > from {
		o.held, o.heldBytes, o.opening = from, 0, true
	}
}

// Hold gives the records of a change, from index from on and of about size bytes in the log, their positions, the last one at, and keeps them
// back.
func (o *Outbox[P]) Hold(from int, at P, size int) {
	o.place(from, at)
	if !o.opening {
		o.held = from
	}
	o.opening = false
	o.heldBytes = int64(len(o.Records)-from)*RecordOverhead + 2*int64(size)
	o.bytes += o.heldBytes
}

// Commit ends the transaction at position end and adds the END record of tx, which may be nil.
func (o *Outbox[P]) Commit(tx *Transactions, ms int64, end P) {
	if tx != nil {
		from := len(o.Records)
		o.Records = tx.End(o.Records, ms)
		o.place(from, end)
		o.held = -1
	}
	if o.held >= 0 {
		o.Records[len(o.Records)-1].SourceOffset = end
		o.Position = end
	}
	o.Release()
}

// Add adds a record that belongs to no change of a row, of about size bytes in the log: a heartbeat, a message, or with no topic a bare
// position. It is at position at, or at the last one when at is none.
func (o *Outbox[P]) Add(rec plugins.SourceRecord, at P, size int) {
	o.Release()
	o.Records = append(o.Records, rec)
	o.place(len(o.Records)-1, at)
	o.bytes += RecordOverhead + 2*int64(size)
}

// Restart prepares for a new stream after the old one broke. It reports whether of the transaction that was under way only the BEGIN record
// was here: it is dropped, as it will come again.
func (o *Outbox[P]) Restart() (dropped bool) {
	if dropped = o.opening; dropped {
		o.Records = o.Records[:o.held]
	}
	o.Release()
	return dropped
}

// place gives the records from index from on their positions: the last one end, or the position before when end is none, the others the
// position before.
func (o *Outbox[P]) place(from int, end P) {
	var none P
	for i := from; i < len(o.Records); i++ {
		if end != none && i == len(o.Records)-1 {
			o.Position = end
		}
		if o.Position != none {
			o.Records[i].SourcePartition, o.Records[i].SourceOffset = o.partition, o.Position
		}
	}
}

// Take removes the records that are ready, of about bytes bytes in memory: all but those held back.
func (o *Outbox[P]) Take() (recs []plugins.SourceRecord, bytes int64) {
	n := len(o.Records)
	if o.held >= 0 {
		n = o.held
	}
	if n == 0 {
		return nil, 0
	}
	recs, bytes = o.Records[:n:n], o.bytes
	rest := o.Records[n:]
	o.Records, o.bytes = make([]plugins.SourceRecord, 0, max(64, min(len(o.Records)*2, ChunkRecords+16))), 0
	if len(rest) > 0 {
		o.Records = append(o.Records, rest...)
		o.held = 0
		bytes -= o.heldBytes
		o.bytes = o.heldBytes
	}
	return recs, bytes
}
