// Package connect is the worker runtime: it runs source and sink connectors as Kafka Connect's distributed worker does, on the
// same three internal topics with the same record bytes, so that a Kafka Connect cluster can be taken over by pointing moldau at
// its topics. It is a Kafka client and nothing else: what lies behind the bootstrap address is of no interest to it.
//
// The pieces:
//
//   - internal topics (internallog.go, configstore.go, offsetstore.go, statusstore.go): one client follows all three topics from
//     their start; each store is a map that records are applied to. A write is a produced record; it is answered once the record
//     has come back (read your own writes).
//   - core.go decides: a pure function from configuration, requests and what became of earlier decisions to effects (start, stop,
//     write a status). herder.go carries the effects out and feeds back what happened.
//   - connector_run.go, source.go, sink.go run one connector or task each in goroutines of their own. An error or panic ends that one
//     alone and is reported with its trace.
//   - batch.go carries source records into the log at least once. The order poll, transform, convert, produce, all acknowledged, offsets
//     written, offsets acknowledged, task.Commit is kept for every batch, while the next ones are already on their way.
//   - txnwriter.go carries them into the log exactly once: whole polls and the offsets behind them in one transaction, then task.Commit.
//     transactions.go finds out whether the cluster has transactions, writes the configuration topic with them, and fences the tasks
//     that came before.
//
// # One worker
//
// This worker joins no group: it runs every connector and task of its internal topics by itself. Assignment is behind one type
// (assignment in core.go), so that the "connect" group protocol of Kafka Connect can take its place. Until then no two workers should
// share a group.id, and these hold if they do:
//
//   - At start the worker asks the group's coordinator, and refuses to run when the group has members, which is so while a Kafka Connect
//     cluster on the same topics is alive.
//   - Every start takes a generation above all that the status topic has seen. A worker that reads a status of a higher generation by a
//     worker of another id (host:port) has been succeeded: it stops all its connectors without a word in the topics, answers 503
//     and reports unhealthy (fence in worker.go). So of two workers the later one wins, within the time that a record takes.
package connect
