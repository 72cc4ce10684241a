// Package avrodata maps Kafka Connect's data to Avro and back, exactly as Confluent's AvroData does, and compiles the mapping: an
// [Encoder] writes a data.Value straight into Avro's binary form, a [Decoder] reads it straight back, with no generic tree between.
//
// # Schemas
//
// A struct becomes a record of the same name and namespace (ConnectDefault in io.confluent.connect.avro when it has none), int8
// and int16 become int with connect.type, an optional type the union of null and the type with null first, or second when it has
// a default, since an Avro default is of a union's first branch. Maps whose keys are not required strings become arrays of
// MapEntry records. What Avro cannot say goes into the properties connect.version, connect.parameters, connect.default,
// connect.name and connect.doc, in that order of writing, because the printed schema is its identity in a registry.
//
// # Null and defaults
//
// A null struct field whose schema has a default is written as the default, unless Config.IgnoreDefaultForNullables is set. This
// is what the original does; other nulls (elements, map values, whole records) stay null.
//
// # Bounds
//
// Decoders trust nothing: every length is checked against what is left of the record before memory is taken, elements that take
// no bytes are limited in number, and nesting is bounded. Strings and bytes alias the record.
//
// The general purpose codec of linkedin/goavro stands behind [GenericCodec] for what is not hot: the binary form of a field's
// default when a record is written with a registered schema that has more fields than the data.
package avrodata
