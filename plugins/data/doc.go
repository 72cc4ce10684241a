// Package data is the record data model that every plugin sees: schemas, values, structs and headers.
//
// It follows Kafka Connect's model (org.apache.kafka.connect.data) in what can be expressed (the same types, optionality,
// names, versions, parameters and defaults), and departs from it in how a value is held: a [Value] is a small tagged union
// that stores numbers, booleans, strings and byte slices without a heap object of their own, so that a change event of forty
// columns costs two allocations instead of a hundred.
//
// Ownership: values are immutable once handed on. A Value made by [String] or [Bytes] aliases the memory it was given; whoever
// makes it must not change that memory afterwards. Schemas are immutable after they are built and are compared by pointer
// first, so producers should build a schema once and reuse it.
package data
