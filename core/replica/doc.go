// Package replica is a partition on this node: its log, its place in the replication of the partition, its
// high watermark, and those who wait for it.
//
// # The high watermark
//
// The high watermark is the end of what an acknowledged producer and a consumer may rely on. Invariants:
//
//   - It never moves backwards while this node leads.
//   - It is at most the smallest end of what each in-sync replica holds safely. A replica holds safely what is
//     synced to its disk when the log is durable (log.durability=fsync), and what is in its log otherwise. With one
//     replica that is the log's own durable end; followers will enter where [Partition.commitLimit] says.
//   - A consumer is never given a record at or above it, so nothing that a power cut could take back was ever read.
//   - A producer with acks=all is answered when its last record is below it; acks=1 when this node alone holds it safely,
//     which without followers is the same moment.
//
// # Waiting without goroutines
//
// Producers that wait for an acknowledgement and fetches that wait for data are entries in lists of the partition, called
// back from the log's own progress (an append in os mode, a finished group sync in fsync mode). Callbacks must
// be short: they mark an answer as ready, and the connection's goroutine makes and writes it.
package replica
