// Package avro is the registry's model of Apache Avro schemas.
//
// It keeps everything that a schema's author wrote (order, docs, defaults, aliases, custom properties)
// and prints it back as Java's Schema.toString does, because that text is a schema's identity in every
// registry with the Confluent API: one byte more and a producer gets a second id for the same schema.
//
// A schema is parsed in one of two modes. Strict is for schemas that a user registers now: names obey the
// Avro specification and defaults match their types. Lenient is for schemas that are stored already: they
// were accepted once, by whatever registry wrote them, so only their structure is checked.
//
// The package also decides whether a reader's schema can read a writer's data (Check, Level), with the
// error types, locations and texts of Java's SchemaCompatibility.
//
// It does not encode or decode data. All input is bounded (Options) and nothing here panics on any input.
package avro
