// Package jepsen judges a log that speaks the Kafka protocol by histories of what its clients saw, in the way of Jepsen's "kafka"
// workload and under the same names, so that results can be compared.
//
// A history is made by workers. Each is a producer and a consumer, and does one operation at a time: it sends, polls, or does some of
// both in one transaction; it subscribes or assigns itself partitions; it crashes. Every value is sent once. A key is a partition. While
// they work, faults happen: the broker is killed, frozen, cut off. At the end the faults stop and one more worker polls everything.
//
// [Check] then looks for what must not be in such a history:
//
//	G1a                     a value was polled whose transaction aborted
//	precommitted-read       a transaction polled what it had itself sent
//	inconsistent-offsets    one offset held two values
//	duplicate               one value was at two offsets
//	lost-write              an acknowledged value was passed over: something behind it was polled, and it never was
//	unseen                  an acknowledged value at the end of the log was never polled
//	poll-skip               from one operation to the next a consumer passed over values
//	nonmonotonic-poll       from one operation to the next a consumer went back
//	nonmonotonic-send       from one operation to the next a producer's offsets went back
//	int-poll-skip, int-nonmonotonic-poll, int-nonmonotonic-send    the same inside of one operation
//	G1c                     transactions that polled each other's values in a circle
//	phantom                 a value was polled that nobody sent (ours; Jepsen has no name for it)
//
// Some things Kafka does by design; they are counted, not judged: int-send-skip and G0 (writes of transactions interleave), and poll-skip
// and nonmonotonic-poll across the operations of a subscribed consumer, whose partitions come and go.
package jepsen
