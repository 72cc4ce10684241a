// Package measure loads a Kafka cluster, any, with franz-go and says what it gave: produce, consume and end to end.
//
// Latencies are exact to 0.8 % (Histogram). At a fixed rate a record's latency counts from the moment when it was due, not from when it could be
// sent, so that a stall is charged to every record that it delayed (no coordinated omission). What is sent in the warm-up is not counted.
//
// The client is lean on purpose: records, buffers and promises are pooled, so that the cluster is measured and not the client. What the client took
// of the CPU is part of the result.
package measure
