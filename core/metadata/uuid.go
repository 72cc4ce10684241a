package metadata

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
)

// UUID identifies a topic, a directory or an incarnation of a broker. Its text form is Kafka's:
// 22 characters of unpadded URL-safe base64.
type UUID [16]byte

// String returns Kafka's text form.
func (u UUID) String() string { return base64.RawURLEncoding.EncodeToString(u[:]) }

// IsZero reports whether u is the zero id, which Kafka uses for "no id".
func (u UUID) IsZero() bool { return u == UUID{} }

// ParseUUID reads Kafka's text form.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	if len(s) > 24 {
		return u, fmt.Errorf("parse uuid: %d characters, want 22", len(s))
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return u, fmt.Errorf("parse uuid %q: %w", s, err)
	}
	if len(b) != len(u) {
		return u, fmt.Errorf("parse uuid %q: %d bytes, want 16", s, len(b))
	}
	copy(u[:], b)
	return u, nil
}

// RandomUUID returns a random version 4 UUID whose text form does not begin with a dash (so that it
// can be a command-line argument), and which is none of the ids Kafka reserves.
func RandomUUID() UUID {
	for {
		var u UUID
		_, _ = rand.Read(u[:]) // never fails: crypto/rand ends the process instead
		u[6] = u[6]&0x0f | 0x40
		u[8] = u[8]&0x3f | 0x80
		if u.String()[0] != '-' {
			return u
		}
	}
}
