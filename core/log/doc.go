// Package log keeps the records of partitions on disk, byte for byte as Apache Kafka does.
//
// A [Dir] is one log directory: it holds a folder per partition, the checkpoints that span them, and the syncer that
// makes appends of all partitions durable together. A [Log] is one partition: a list of segments, of which the last
// is active and is appended to.
//
// # Files of a partition
//
//	<base>.log             record batches v2, back to back
//	<base>.index           8-byte entries: offset - base (int32), file position (int32); sparse
//	<base>.timeindex       12-byte entries: timestamp (int64), offset - base (int32); sparse
//	<base>.txnindex        34-byte entries, one for each aborted transaction; absent when there are none
//	<offset>.snapshot      producer state as of that offset
//	leader-epoch-checkpoint  text: which leader epoch began at which offset
//	partition.metadata     text: the topic id
//
// <base> is the offset of a segment's first record in 20 digits. The file of the active segment may end in zeros, see zeroRules. An entry of the offset index names the last offset
// of a batch and where that batch begins; an entry of the time index says that no record at or below the offset has
// a larger timestamp. The indexes of sealed segments are written when the segment is; those of the active segment
// live in memory and are written on close, because recovery can always rebuild them.
//
// # Files of the directory
//
//	recovery-point-offset-checkpoint    everything below was synced, with its indexes
//	log-start-offset-checkpoint         where DeleteRecords moved the start to
//	cleaner-offset-checkpoint           first offset that compaction has not seen
//	.kafka_cleanshutdown                the last close was orderly: nothing to recover
//	.lock                               held while the directory is open
//	.probe                              written every few seconds, to notice a directory that fails while nobody appends
//	meta.properties                     node and cluster that own the directory
//
// # What is promised
//
// Every offset below [Log.DurableOffset] survives power loss: its bytes, and the directory entries that lead to
// them, were synced. A failed write or sync makes the whole directory fail, and it stays failed until it is opened
// again: after a failed sync nobody knows what the disk holds, and trying again would report a lie. A disk without room is
// no failure: the append is refused and taken back, everything can be read, and the next append finds out whether there is
// room again.
//
// Recovery reads what may not have been synced and checks every checksum. A batch that is cut off at the end is a
// write that was under way: it is removed. A bad batch that is followed by good ones is damage: it is reported, the
// damaged file is kept beside the log, and the good batches stay.
//
// What lies below the recovery point is durable and is only read by recovery: a partition that nobody wrote to since its last checkpoint
// costs no sync and no change. What opening and closing a directory, and a checkpoint, have to make durable is collected over all partitions and
// synced together (see settlement), so that their time does not grow with a sync for each.
//
// # Locks
//
// In this order: the syncs of a log, which truncating, closing and moving hold off (see syncTurns), Log.mu (append, roll, truncate; held for
// offset assignment and one write, never for a sync), then the small locks below it (segment, index, clock). Readers take no lock of the log: they work on an immutable list
// of segments and published sizes, and repeat when a truncation ran meanwhile.
package log
