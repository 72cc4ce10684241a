// Package transforms holds the single message transforms that ship: those of Apache Kafka Connect and, of Debezium's, the ones that
// unwrap change events and route them by logical table. Class names, keys, defaults and results are the originals'.
//
// A transform that changes a schema derives the new one once for each schema it meets, together with a plan of where each field
// comes from, and finds both again by the schema's address. So a record costs a new slice of values and nothing more.
package transforms
