// Package configdef describes configurations as data: one definition of a key gives its parsing, default, check, documentation,
// secrecy and place in Connect's validate answer. It follows Kafka's ConfigDef in types, wording of errors and rendering.
//
// A key that users of the original know but that we do not support yet is defined as unsupported: setting it to anything but the
// value that describes what we do anyway is an error that names it. Nothing is ignored in silence.
package configdef
