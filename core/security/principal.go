// Package security says who a peer is: TLS with certificates that are read again when their files change, SASL, and the rules
// that make a principal of what was proved.
//
// # The rule
//
// A [Listener] is made once of a listener's properties, which it judges as a whole: what it does not support it refuses by name. After
// that it is immutable but for the files it follows (certificates, keys of token issuers). What a principal may do is
// the matter of package acl, how much of package quota; both are pure.
package security

import "strings"

// Principal is who a connection acts for.
type Principal struct {
	Type string // "User"
	Name string
}

// UserType is the type of all principals that authentication makes.
const UserType = "User"

// Anonymous is the principal of connections without authentication.
var Anonymous = Principal{UserType, "ANONYMOUS"}

// User is the user of that name.
func User(name string) Principal { return Principal{UserType, name} }

// String renders the principal as Type:Name.
func (p Principal) String() string { return p.Type + ":" + p.Name }

// ParsePrincipal reads Type:Name.
func ParsePrincipal(s string) (Principal, bool) {
	t, n, ok := strings.Cut(s, ":")
	if !ok || t == "" || n == "" {
		return Principal{}, false
	}
	return Principal{t, n}, true
}

// ParseSuperUsers reads super.users: principals separated by semicolons.
func ParseSuperUsers(s string) (map[string]bool, error) {
	out := map[string]bool{}
	for e := range strings.SplitSeq(s, ";") {
		if e = strings.TrimSpace(e); e == "" {
			continue
		}
		p, ok := ParsePrincipal(e)
		if !ok {
			return nil, invalid("super.users", e, "expected a string in format principalType:principalName")
		}
		out[p.String()] = true
	}
	return out, nil
}
