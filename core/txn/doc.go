// Package txn is the transaction coordinator (KIP-98, KIP-360, KIP-890): who a transactional id's current producer is, which
// partitions its transaction has touched, and how the transaction ends.
//
// # The pure core
//
// A [Shard] is the transactional ids of one partition of __transaction_state. It has no goroutine, no clock, no lock and no I/O:
//
//	batches, effects := shard.Step(event, now)
//
// The batches are to be appended to the partition, in order, each as one atomic unit; their fate comes back as [Appended] events
// in the same order. The effects are carried out at once: answer a request, send transaction markers to the partitions, log a
// line. A [Coordinator] is the edge around the shards of one broker; its goroutines and locks are those of a [coordinator.Runtime].
//
// # The invariant
//
// A transaction is all or nothing for a read_committed consumer, because
//
//   - what decides is one record: PrepareCommit or PrepareAbort in __transaction_state. Before it is durable nothing has been
//     decided and nobody was told; once it is, only that outcome can be reached, by this coordinator or by the one that loads the
//     partition after it;
//   - a partition is in the durable state of the transaction before a record of the transaction is in the partition. So the
//     prepare record names every partition that needs a marker, and no transaction hangs in one that was forgotten;
//   - markers carry the leader epoch of the state partition (the coordinator epoch) and the producer's epoch: a partition
//     refuses the marker of a coordinator that was replaced, and of an epoch that is over;
//   - the state becomes Complete only after every marker is durable. A crash between leaves Prepare in the log, and the next
//     load sends all markers again; a marker for a transaction that is not open changes nothing.
//
// A producer is fenced by its epoch, which only grows for one producer id: InitProducerId bumps it, aborting what was open
// before it answers; the coordinator bumps it when it aborts a transaction that took longer than its timeout; and with
// transaction version 2 every end of a transaction bumps it, so that no delayed write of a past transaction can be taken for one of
// the next (the hole in version 1 that Jepsen reported). When the epochs of a producer id are used up, a new id takes its place.
//
// Every change is in one of three places: decided but not durable (pending is set, and other requests are answered
// CONCURRENT_TRANSACTIONS), durable (in the transaction's fields), or not there. A failed append takes pending back and leaves no
// trace, but for an epoch that was bumped to fence a producer of transaction version 1.
//
// # Waiting for a disk once
//
// A producer begins its next transaction as soon as the end of the last one is decided, while its markers are still being written. The
// addition of partitions that begins it is parked until they are, instead of being refused and tried again after 20 ms, and its record
// is appended right behind the completion, or behind another addition that is on its way: one sync serves them. That is the only change
// that may follow one that is not durable. It holds because records become durable in the order of the log and the later one says
// all that the earlier one does: who has the later one needs the earlier one no more, and who has only the earlier one is where it
// would have been without the later one, which nobody was told of. Nobody waits for the completion alone.
//
// A small transaction so waits for four syncs: the addition, the records, the decision, the markers. None of the first three may run
// beside the one after it, because what was written and not synced may be on the disk after a crash, or not, file by file:
//
//   - Records beside the addition: the records may be there and the addition not. The transaction is then open in a partition that no
//     decision will name, and readers of committed records stand still. To abort what the coordinator does not know, when a
//     broker starts, would need an epoch of its own: under the old one the producer's retry is a duplicate of records that were
//     aborted, is acknowledged, and they are lost. And it would hold on one node only, where partition and coordinator crash together.
//   - Markers beside the decision: a marker may be there and the decision not. One partition then has committed what the next
//     coordinator aborts in the others when the time is up.
//   - The decision beside the records: a commit of records that are not there.
//
// The markers of a transaction do go beside each other, and are appended before the producer hears of the decision: whatever it
// writes next lies behind them.
package txn
