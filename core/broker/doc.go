// Package broker answers the Kafka protocol: one file for each API or family of APIs, between the connections of
// package server below it and the logs, the group coordinator and the metadata quorum that it drives.
//
// # What runs where
//
// A request is handled on the reader goroutine of its connection and has taken effect when the handler returns, so that
// requests of a connection take effect in order. Produce and Fetch never block: an acknowledgement waits in the partition's list,
// a long poll in its watchers. Changes of the metadata (topics, configs) block their connection until they are
// committed and applied here, as in Kafka. Group APIs answer by callback.
//
// # Life of a broker
//
// Start opens the log directory, registers the broker with the quorum (fenced), follows the image until all its
// partitions are open, binds its listeners, asks to be unfenced, and serves. Close stops reading, answers what is waiting, hands its
// leaderships back by fencing itself, and closes the logs cleanly. The image is the only source of what exists: a log is created,
// configured and deleted because the image says so, in broker.apply.
package broker
