// Package server moves Kafka frames between connections and a [Handler]: listeners, request order, memory
// bounds, time limits and draining. It knows frame lengths, API keys and correlation ids, never what a message means.
//
// # Order
//
// Kafka promises a client that its requests on one connection take effect, and are answered, in the order they were
// sent; idempotent producers lean on it. Here the reader goroutine of a connection hands each request to the handler,
// and the handler has applied the request when it returns (a produce request is in the log), though it may answer later.
// So the next request may start while the answer of the one before waits for a disk sync, which is what makes
// pipelined small produce requests cheap. Answers leave strictly in order of the requests, however late each is given.
//
// # Bounds
//
// Invariant: the bytes of all frames that were read or announced and not yet released never exceed Config.MemoryBytes
// plus one read buffer (16 KiB) for each connection: a frame is charged when that much of it has arrived, small and
// large frames (and tiny ones, which are complete when they are charged) from separate parts. While somebody waits for a part, peers whose frames
// come too slowly are closed (shed.go). A connection is not read from while it owes MaxInFlight answers or more than
// MaxQueuedBytes of encoded answers, and while all connections together owe more than MaxQueuedBytesInAll not while it owes any; a peer that does
// not read its answers therefore stops being read.
// Response bytes made by [Request.RespondLater] exist for one answer at a time on each connection.
//
// # Time limits
//
// An idle connection is closed after IdleTimeout, a frame that has begun must be complete within FrameTimeout (this
// stops slow-loris peers), and an answer must be taken within WriteTimeout,
// each with an allowance for size.
package server
