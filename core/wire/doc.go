// Package wire speaks the byte level of the Kafka protocol, from the server's side: frames,
// request headers, the table of versions this broker answers, and the codecs of the two hot paths.
//
// # Who decodes what
//
// Produce requests and responses, and Fetch requests and responses, are coded by hand: they carry
// the data, they must not copy it, and kmsg's encoder of a Fetch response costs six allocations for
// each partition. Everything else is [kmsg], behind [DecodeRequest], which first checks the version
// range and then walks the bytes with [Check], because kmsg trusts array lengths and tag counts more
// than a server may.
//
// # Hostile bytes
//
// Nothing in this package allocates in proportion to a number that the peer only claims. An array
// is refused when its smallest possible encoding does not fit in what is left of the frame, a tagged
// field section when its count does not, and a frame when it is larger than socket.request.max.bytes.
// All decoders return errors, none panics; each has a fuzz target.
//
// # Buffer ownership
//
// Decoded byte slices (record batches, group metadata) and the Name fields of the hot codecs are
// sub-slices of the frame they came from, and live only as long as it. Strings decoded by kmsg are copies.
package wire
