// Package kafkaclient is what those who talk to a log as Kafka clients need around the client library: how a gap of the library is closed, said
// once. It is a leaf: any package may use it.
package kafkaclient
