// Package sasl holds the server's side of the SASL mechanisms that Kafka clients use: PLAIN (RFC 4616), SCRAM-SHA-256 and
// SCRAM-SHA-512 (RFC 5802, 7677) and OAUTHBEARER (RFC 7628).
//
// An [Exchange] is one authentication: a pure machine that takes the client's messages and gives the server's, without I/O
// but for what its credential source does. Whatever bytes come, it answers or fails; it allocates in proportion to them, and the caller
// bounds them (sasl.server.max.receive.size). The error that a client may read is an [Error]; every other error must be
// told to the client in general words only, since it may say whether a user exists.
package sasl

import "time"

// The mechanisms' names.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
	OAuthBearer = "OAUTHBEARER"
)

// Identity is who authenticated.
type Identity struct {
	// Name is the principal's name, without its type.
	Name string
	// Expires is when the credential ends; zero for never.
	Expires time.Time
}

// Exchange is one authentication under way. It is not safe for concurrent use, and of no use after an error or success.
type Exchange interface {
	// Step takes the client's next message, which it does not keep, and returns the server's. done says that the
	// client is authenticated: then Identity tells as whom.
	Step(message []byte) (answer []byte, done bool, err error)
	// Identity is valid after Step said done.
	Identity() Identity
}

// Error is a failure whose text the client may read.
type Error struct{ Message string }

// Error implements error.
func (e *Error) Error() string { return e.Message }
