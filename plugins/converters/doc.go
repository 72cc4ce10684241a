// Package converters holds the converters that ship: JSON (with and without schemas), String, ByteArray, the number and boolean
// converters, the simple header converter, and Avro with a schema registry. Class names, keys, defaults, bytes and error texts are
// those of Apache Kafka Connect and, for Avro, of Confluent's AvroConverter.
//
// Where the originals turn wrong input into silent garbage (a JSON string where the schema says int32 becomes 0 there, an integer
// beyond 64 bits is cut), these converters report a *plugins.DataError instead, so that error tolerance and the dead-letter topic
// see it.
package converters
