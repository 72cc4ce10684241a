package sasl

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
)

// Proof is a client's proof of a password with SCRAM-SHA-256.
func Proof(t *testing.T, password string, c Credential, auth string) string {
	t.Helper()
	salted, err := pbkdf2.Key(sha256.New, password, c.Salt, c.Iterations, 32)
	require.NoError(t, err)
	key := mac(sha256.New, salted, []byte("Client Key"))
	subtle.XORBytes(key, key, mac(sha256.New, digest(sha256.New, key), []byte(auth)))
	return Base64(key)
}

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
