// Package metadata is the cluster's metadata: an immutable image of it, the typed records
// that change it, and the controller's decisions as pure functions.
//
// # The invariant
//
// The committed log of record batches is the only truth. An [Image] is what one gets by
// applying, in order, every batch up to Image.Offset to the empty image; nothing else ever
// changes it. So:
//
//   - Two nodes that applied the same prefix of the log hold equal images. [Image.Apply] reads
//     no clock, no randomness and no configuration; whatever a change depends on is inside the
//     record.
//   - An image, once published, never changes. Apply copies what it touches and shares the
//     rest, so a reader needs no lock and may hold an image as long as it likes.
//   - A batch is atomic: it is one log entry, applied as a whole or not at all.
//     (That is what Kafka needs its Begin/EndTransaction records for.)
//   - A snapshot is a batch too: [Image.Records] gives records that rebuild the image from
//     empty. The round trip is a property test.
//
// Decisions ([CreateTopics], [AlterPartition], ...) are functions from an image, a request and
// the [Rules] to records and results. They are run on the leader, one after the other, each on the
// newest image, by package core/quorum; they change nothing by themselves. Their validation,
// error codes and error texts are those of Apache Kafka's controller.
//
// # Partition state
//
// LeaderEpoch grows when the leader changes, PartitionEpoch at every change (it is the
// compare-and-set token of AlterPartition). ELR and LastKnownELR are KIP-966's eligible leader
// replicas: replicas that left the ISR while it was smaller than min.insync.replicas, which hold
// everything up to the high watermark and may lead without loss.
package metadata
