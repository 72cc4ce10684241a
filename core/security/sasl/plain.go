package sasl

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"strings"
)

// Passwords are the users of PLAIN with their passwords.
type Passwords map[string]string

// matches compares in time that tells nothing about the password or whether the user exists.
func (p Passwords) matches(user, password string) bool {
	want, known := p[user]
	a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && known
}

type plain struct {
	users Passwords
	id    Identity
}

// NewPlain begins a PLAIN exchange. The passwords cross the network as they are: use it over TLS.
func NewPlain(users Passwords) Exchange { return &plain{users: users} }

// Step implements Exchange.
func (p *plain) Step(message []byte) ([]byte, bool, error) {
	tokens := strings.SplitN(string(message), "\x00", 5)
	if len(tokens) != 3 {
		return nil, false, &Error{fmt.Sprintf("Invalid SASL/PLAIN response: expected 3 tokens, got %d", min(len(tokens), 4))}
	}
	authzid, user, password := tokens[0], tokens[1], tokens[2]
	switch {
	case user == "":
		return nil, false, &Error{"Authentication failed: username not specified"}
	case password == "":
		return nil, false, &Error{"Authentication failed: password not specified"}
	case !p.users.matches(user, password):
		return nil, false, &Error{"Authentication failed: Invalid username or password"}
	case authzid != "" && authzid != user:
		return nil, false, &Error{"Authentication failed: Client requested an authorization id that is different from username"}
	}
	p.id.Name = user
	return []byte{}, true, nil
}

// Identity implements Exchange.
func (p *plain) Identity() Identity { return p.id }
