// Package group is the consumer-group coordinator: the classic group protocol (KIP-62, KIP-134, KIP-345,
// KIP-394, KIP-814), the consumer group protocol (KIP-848) and the committed offsets of every group, over the compacted topic __consumer_offsets
// with the record keys and values that Apache Kafka writes there.
//
// # Two halves
//
// [Shard] is the pure half: the groups and offsets of one partition of __consumer_offsets. It is a function
// (state, event, now) -> (batches, effects). It holds no goroutine, lock, clock, random source or file; time
// and member ids are handed to it, so that a seeded simulator can drive thousands of histories and every one
// of them can be replayed from its seed.
//
// [Coordinator] is the edge: it has a [coordinator.Runtime] own the shards of the partitions that this broker
// leads, serialise their events, append their batches through a [Store] and wake their timers, and hands the
// replies to the callers. It decides nothing.
//
// # The invariant
//
// What a client was told is in the log. A step that writes gives back batches; the answers that depend on
// them stay inside the shard, on the batch, until the edge reports the batch durable with [Appended], and
// batches are reported in the order in which they were given. From this the rest follows:
//
//   - A committed offset lives in two layers: the durable value, which OffsetFetch reads, and at most one
//     pending value on top, which decisions (expiry, deletion) read. Appended moves pending to durable, or
//     drops it when the append failed. So OffsetFetch never shows an offset that a crash could take back,
//     and after a reload every acknowledged commit is there, or a later one.
//   - An assignment reaches a member only after the group's metadata with that generation, leader and
//     assignment is durable. After a crash the same generation has the same assignment or none.
//   - A generation number grows with each completed join phase, and a member is told of a generation only
//     once, by its own JoinGroup answer. A request that names another generation is refused, so no member
//     can act in two generations at once.
//
// What is not in the log is rebuilt from silence: after an election the loaded members get a fresh session,
// clients that were waiting rejoin, and pending member ids (KIP-394) are forgotten, which clients answer by
// asking for a new one. A generation whose assignment never became durable leaves no trace, so after a crash
// its number can come again; that is Kafka's behaviour, and harmless because nobody was told what to work on.
//
// # Groups of KIP-848
//
// What such a group is follows from its records alone. A decision reads the group and adds records to a plan;
// commit encodes the plan, applies it with the code that replays the log, and emits it as one batch. So a
// restart gives the same state because there is no other way to change it, and a refusal halfway changes
// nothing. The answer waits for the batch, and an answer without records for the newest batch of its group:
// nobody hears of an epoch that a crash could take back. Should an append fail, state and log differ; the
// shard then ends ([Effect].Reload) and is loaded anew.
//
//   - A partition is in what one member has, or is giving up, and in no other's. A member gets it when nobody
//     has it; a member keeps its epoch until it has said that it has given up what the next one takes.
//   - A member's epoch is never ahead of the target's, nor the target's of the group's. A heartbeat with another
//     epoch than the member's is refused, but for 0 (it begins again, with nothing) and the one before (an answer
//     was lost, and it has nothing that is not its own).
//   - Members of the classic protocol in such a group are members like the others; their generation is their
//     epoch. A group turns over between the two kinds in one batch, with the tombstones of what it was.
//
// Time, random ids, metadata and the search for topics that match a regular expression come from outside, as
// events; the assignors are functions, and walk what they divide in the order in which Kafka's do.
//
// # Bounds
//
// A shard accounts the bytes of its members, assignments and offsets ([Config.MaxShardBytes]) and of its
// batches in flight ([Config.MaxInflightBytes]); past them it refuses what would grow it, with errors that
// clients retry. A record that cannot be decoded is reported and left out; it never stops the load.
package group
