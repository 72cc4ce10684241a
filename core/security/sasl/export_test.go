package sasl

import "encoding/base64"

// NewScramWithNonce is NewScram with a server's nonce that is known, for tests.
func NewScramWithNonce(mechanism string, find Credentials, nonce string) Exchange {
	return &scram{mechanism: mechanism, find: find, nonce: func() string { return nonce }}
}

// Unbase64 and Base64 are for tests.
func Unbase64(s string) []byte {
	b, _ := base64.StdEncoding.DecodeString(s)
	return b
}

// Base64 encodes.
func Base64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
