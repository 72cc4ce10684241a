// Package cdc holds what change-data-capture connectors share: it turns row changes into the events that Debezium 3.6 writes.
//
// A connector describes each table once (TableDef) and gets a compiled Table: key, row and envelope schemas, built once for each
// version of the table so that schema identity is pointer identity. For each row change it decodes the columns into a slice of values
// taken from an Arena and hands a Change to the Emitter, which assembles key, envelope, headers, tombstones and the two events of a
// primary key change. Nothing is looked up by name on that path and the arena makes its cost a few bytes of a shared slab.
//
// Around it stands the life of a task: a Runner makes attempts at capturing until one's error cannot pass, a Snapshot hands on the rows of
// tables, an Outbox holds the records of a stream and gives them positions. What is said to the server, and what its answers mean, is the
// connector's.
//
// The rest are the parts around that: configuration keys (Keys, Parse), filters, topic names, name adjustment, masks, the encodings of
// temporal, decimal, binary and geometric values, heartbeats, transaction metadata, the bounded queue between reading goroutine and
// Poll, and metrics under the names that dashboards for Debezium use.
package cdc
