// Package postgres captures row changes of a PostgreSQL database by logical decoding: Debezium's PostgreSQL connector, with its
// configuration, events and offsets.
//
// # Parts
//
// pgoutput.go decodes the stream, text.go and codec.go turn values' text into events' values, relation.go joins what the stream and the
// catalog say about a table, assembler.go is the pure core that turns messages into records and positions, frames.go and stream.go are
// the replication connection, snapshot.go reads tables by COPY, slot.go keeps publication and slot, task.go drives it all and is the
// only place with goroutines.
//
// # Positions
//
// A change's position is (end of the last whole transaction before it, its LSN, how many changes with that LSN were handled). The slot
// is confirmed only up to transaction ends that the worker reported durable in Commit: what was confirmed is always at or below what is
// stored. Where nothing of interest happens the server's keepalives move the position on; that too goes through the queue and the
// worker's offsets before the slot hears of it. So a slot that is ahead of the stored offset was moved by someone else and changes are
// missing: the task says so and stops, unless offset.mismatch.strategy or snapshot.mode=when_needed tell what to do.
//
// # Differences from Debezium 3.6 on purpose
//
//   - plugin.name is pgoutput when unset; decoderbufs is refused.
//   - A missing slot or one ahead of the stored offset is an error instead of a silent gap.
//   - Tables identified by an index that leaves primary key columns out (REPLICA IDENTITY USING INDEX) are keyed by that index, as a
//     delete does not tell the primary key; the original writes zeros there.
//   - Multi-dimensional arrays are written flat instead of as nulls, arrays of bit strings as arrays instead of null. Elements of enum
//     arrays may be null.
//   - numeric with a negative scale is a decimal of scale 0.
//   - Columns of type name are written in the stream as in the snapshot.
//   - A default of 'it”s' is read as it's.
//   - A transaction has one id in all of its events and its BEGIN and END records.
//   - A partitioned table is read once by a snapshot, through its leaves, or through its root when changes are published so.
//   - NaN or infinity in a numeric column that may not be null fails in precise mode, as there is no value for it.
//   - snapshot.isolation.mode is always at least what was asked for: the snapshot is the slot's own, which is repeatable read.
package postgres
