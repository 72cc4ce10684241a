package sasl

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Token is what a validated token says.
type Token struct {
	Principal string
	Expires   time.Time
}

// ValidateToken judges a bearer token.
type ValidateToken func(token string) (Token, error)

type oauth struct {
	validate ValidateToken
	refused  bool
	reason   error
	id       Identity
}

// NewOAuthBearer begins an OAUTHBEARER exchange.
func NewOAuthBearer(validate ValidateToken) Exchange { return &oauth{validate: validate} }

// invalidToken is what a client is told about a token that was not accepted.
const invalidToken = `{"status":"invalid_token"}`

// Step implements Exchange. A token that is not accepted is answered with a text, and fails with the message after it.
func (o *oauth) Step(message []byte) ([]byte, bool, error) {
	if o.refused {
		if len(message) == 1 && message[0] == 1 {
			return nil, false, &Error{invalidToken}
		}
		return nil, false, fmt.Errorf("after a refused token: %w", o.reason)
	}
	authzid, token, err := parseBearer(string(message))
	if err != nil {
		return nil, false, err
	}
	t, err := o.validate(token)
	if err != nil {
		o.refused, o.reason = true, err
		return []byte(invalidToken), false, nil //nolint:nilerr // RFC 7628: the refusal is an answer, the failure comes with the next message
	}
	if authzid != "" && authzid != t.Principal {
		return nil, false, &Error{fmt.Sprintf("Authentication failed: Client requested an authorization id (%s) that is different from the token's principal name (%s)", authzid, t.Principal)}
	}
	o.id = Identity{Name: t.Principal, Expires: t.Expires}
	return []byte{}, true, nil
}

// Identity implements Exchange.
func (o *oauth) Identity() Identity { return o.id }

// Refusal is why the last token was not accepted, for the server's log; nil when none was refused.
func Refusal(e Exchange) error {
	if o, ok := e.(*oauth); ok && o.refused {
		return o.reason
	}
	return nil
}

// parseBearer reads "n,[a=authzid],\x01auth=Bearer token\x01[key=value\x01...]\x01".
func parseBearer(m string) (authzid, token string, err error) {
	bad := errors.New("Invalid OAUTHBEARER client first message") //nolint:staticcheck // Kafka's text
	header, rest, ok := strings.Cut(m, "\x01")
	if !ok || !strings.HasPrefix(header, "n,") || !strings.HasSuffix(header, ",") || len(header) < 3 {
		return "", "", bad
	}
	if a := header[2 : len(header)-1]; a != "" {
		if !strings.HasPrefix(a, "a=") {
			return "", "", bad
		}
		if authzid, err = unescape(a[2:]); err != nil || authzid == "" || strings.Contains(a, ",") {
			return "", "", bad
		}
	}
	rest, ok = strings.CutSuffix(rest, "\x01")
	if !ok {
		return "", "", bad
	}
	seen := map[string]bool{}
	for kv := range strings.SplitSeq(strings.TrimSuffix(rest, "\x01"), "\x01") {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" || strings.Trim(k, letters) != "" || seen[k] {
			return "", "", bad
		}
		seen[k] = true
		if k != "auth" {
			continue
		}
		scheme, t, ok := strings.Cut(v, " ")
		t = strings.TrimSpace(t)
		if !ok || !strings.EqualFold(scheme, "bearer") || t == "" {
			return "", "", bad
		}
		token = t
	}
	if token == "" {
		return "", "", bad
	}
	return authzid, token, nil
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
