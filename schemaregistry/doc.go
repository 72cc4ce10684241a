// Package schemaregistry is a schema registry with the semantics of Confluent's: subjects, versions, ids, compatibility levels,
// modes, references and contexts, kept in a compacted Kafka topic (`_schemas`) whose records Confluent's registry can read and
// which may have been written by it.
//
// # The state machine
//
// State is a pure function of the topic: Apply(record) is its only way to change, and requests are decided by functions that
// read a State and return the records to write. The Registry drives it: one reader applies what the topic holds, one writer at a
// time decides. A write is answered when this node's own reader has applied it, so what a client was told can be read back here.
//
// # The invariant
//
// An id that was answered once stands for the same schema for ever, and a version of a subject for the same id, on every node
// and after every compaction. Confluent relies on an elected leader for it; here it also holds when two nodes write at once:
//
//   - Before it decides, a writer reads to the end of the topic. Every record that it then writes carries, in a header, the offset
//     at which it must land: the one after the last record read.
//   - Apply refuses a record that landed elsewhere: another writer's record came first and the decision may be wrong. That depends
//     on nothing but the record, so all nodes refuse the same ones, and still do when compaction has dropped what came first.
//   - A writer whose record was refused finds out when it reads it back, and decides again.
//   - A refused record is the newest of its key, so compaction would keep it and drop the record that holds. State remembers such
//     keys (rejected), and the next write of any node first writes what holds again; Run sees to it that there is a next write.
//
// Records of other registries have no such header. They are taken in the order of the log, except that none may give an id other
// content or, outside of IMPORT mode, a version another id.
//
// # Compaction and keys
//
// Compaction compares key bytes, the registry compares what they mean. Old releases wrote other bytes for the same key (another
// magic, another order), and a tombstone with today's bytes leaves those records in the topic, to come back after the next
// restart. So State remembers every spelling it reads and a delete writes a tombstone for each.
package schemaregistry
