// Package jsontext reads and writes JSON text the way Kafka Connect's JSON library does, for the converters and whoever else
// must agree with them byte by byte: numbers are rendered as Java renders them (1.0E10, not 1e+10), object members keep their
// order, control characters and those beyond 16 bits are escaped with upper-case hexadecimal digits and everything else is UTF-8.
//
// The appenders do not allocate beyond the growth of dst. The [Reader] walks a text without building a tree, in bounded depth,
// and aliases it where a string has no escapes; [Parse] builds a tree for the few places that want one (schemas).
package jsontext
