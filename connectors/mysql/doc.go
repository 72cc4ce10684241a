// Package mysql captures row changes of a MySQL or MariaDB server from its binlog: Debezium's MySQL and MariaDB connectors, with their
// configuration, events and offsets.
//
// # Parts
//
// binlog.go decodes events and jsonb.go binary JSON, column.go says what a column is by what binlog and catalog tell, coding.go and
// value.go turn row images and result sets into values, relation.go joins it all into a table, assembler.go is the pure core that turns
// events into records and positions, gtid.go and offset.go are the positions, catalog.go is the connection that queries, locate.go checks
// whether a position can be gone on from, stream.go reads the binlog (the transport is go-mysql's, in its raw mode), snapshot.go reads
// tables, task.go drives it all and is the only place with goroutines.
//
// # Tables
//
// There is no DDL parser and no schema history. With binlog_row_metadata=FULL each row comes with the names, types, nullability, charsets,
// enum values and primary key of its time, so a reader that lags behind sees each row as it was. With MINIMAL these come from
// information_schema as it is now; a row that does not fit it is an error that names the setting, never a guess.
//
// Only the catalog knows defaults, display widths, FLOAT(m,d), and the unique key that stands in for a missing primary key. They are read
// when a table is first seen and again after statements that may have changed it; a reader that lags behind sees the later ones, and
// none for a table or column that is gone. They never change how a row is read, only what its schema says beside the types.
//
// # Positions
//
// A position is a place between transactions (file and position, and the set of executed GTIDs where there are such) and a count of events
// and rows behind it, as in Debezium's offsets, in both directions. The last change of a transaction carries the place behind it. With
// GTIDs the place is found on any server of the topology, else in the file. What is not on the server any more is an error, or with
// snapshot.mode=when_needed a new snapshot.
//
// # Differences from Debezium 3.6 on purpose
//
//   - The topic of schema changes is not written; include.schema.changes=true is refused where it is set, and its default is false.
//   - schema.history.internal.* is accepted and not used.
//   - BOOLEAN is TINYINT(1) and INT16 always; the original writes BOOLEAN for tables that it saw being created.
//   - JSON text is MySQL's own in the stream too (`{"a": 1}`), as in snapshots.
//   - An enum's value with a comma is written as it is; the original escapes it in the stream.
//   - TIMESTAMP has all digits of its fraction in snapshots too; dates before 1582 are not shifted there.
//   - A default of 'it”s' is read as it's. A YEAR of 0 is 0.
//   - A snapshot on MariaDB takes no locks, as the server tells the binlog position of a transaction's view.
//   - A TIME that is negative or longer than a day, in a column that may not be null, under time.precision.mode connect or isostring is met
//     by event.processing.failure.handling.mode; the original always fails.
//   - GTID sources cannot be filtered, and snapshot.mode=recovery is refused: there is no history to recover.
//   - Rows of XA transactions are written when they are prepared (as in the original), also when they are rolled back later.
//   - Partial JSON updates (binlog_row_value_options) and MariaDB's compressed columns are refused by name; compressed transactions and
//     events are read.
package mysql
