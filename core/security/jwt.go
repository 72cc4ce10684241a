package security

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the algorithms below
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/moldau-io/moldau/core/security/sasl"
)

// TokenValidator judges signed tokens (JWS of RFC 7515 in compact form, claims of RFC 7519). The algorithm of a token must fit the key
// that the issuer published: unsigned tokens and shared secrets are never accepted.
type TokenValidator struct {
	keys       *keySet
	issuer     string
	audience   []string
	subClaim   string
	scopeClaim string
	skew       time.Duration
	now        func() time.Time
}

// errToken is what is wrong with a token; it is for the server's log, not for the client.
func errToken(format string, args ...any) error { return fmt.Errorf("token: "+format, args...) }

// Validate judges a token and says whom it is for.
func (v *TokenValidator) Validate(token string) (sasl.Token, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return sasl.Token{}, errToken("it has %d parts, a signed one has 3", len(parts))
	}
	var header struct {
		Alg  string          `json:"alg"`
		Kid  string          `json:"kid"`
		Crit json.RawMessage `json:"crit"`
	}
	if err := decodePart(parts[0], &header); err != nil {
		return sasl.Token{}, errToken("header: %w", err)
	}
	if header.Crit != nil {
		return sasl.Token{}, errToken("header: critical extensions are not supported")
	}
	alg, ok := algorithms[header.Alg]
	if !ok {
		return sasl.Token{}, errToken("header: the algorithm %q is not accepted", header.Alg)
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return sasl.Token{}, errToken("signature: %w", err)
	}
	var claims map[string]any
	if err := decodePart(parts[1], &claims); err != nil {
		return sasl.Token{}, errToken("claims: %w", err)
	}
	// The keys may have to be fetched for it: so the cheap checks come first.
	t, err := v.judge(claims)
	if err != nil {
		return sasl.Token{}, err
	}
	keys := v.keys.find(header.Kid)
	if len(keys) == 0 {
		return sasl.Token{}, errToken("the issuer has no key %q", header.Kid)
	}
	signed := []byte(parts[0] + "." + parts[1])
	for _, k := range keys {
		if k.alg != "" && k.alg != header.Alg {
			continue
		}
		if alg.verify(k.key, signed, signature) {
			return t, nil
		}
	}
	return sasl.Token{}, errToken("the signature is wrong")
}

func decodePart(s string, into any) error {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// judge looks at the claims.
func (v *TokenValidator) judge(claims map[string]any) (sasl.Token, error) {
	now := v.now()
	exp, err := timeClaim(claims, "exp")
	if err != nil {
		return sasl.Token{}, err
	}
	iat, err := timeClaim(claims, "iat")
	if err != nil {
		return sasl.Token{}, err
	}
	switch {
	case !now.Before(exp.Add(v.skew)):
		return sasl.Token{}, errToken("it expired at %s", exp)
	case exp.Before(iat):
		return sasl.Token{}, errToken("it expires before it was issued")
	}
	if _, set := claims["nbf"]; set {
		nbf, err := timeClaim(claims, "nbf")
		if err != nil {
			return sasl.Token{}, err
		}
		if now.Add(v.skew).Before(nbf) {
			return sasl.Token{}, errToken("it is not valid before %s", nbf)
		}
	}
	if iss, _ := claims["iss"].(string); iss != v.issuer {
		return sasl.Token{}, errToken("its issuer is %q, expected %q", iss, v.issuer)
	}
	if !v.forUs(claims["aud"]) {
		return sasl.Token{}, errToken("its audience %v is none of the expected", claims["aud"])
	}
	sub, _ := claims[v.subClaim].(string)
	if sub = strings.TrimSpace(sub); sub == "" {
		return sasl.Token{}, errToken("its claim %s is no name", v.subClaim)
	}
	if err := checkScope(claims[v.scopeClaim], v.scopeClaim); err != nil {
		return sasl.Token{}, err
	}
	return sasl.Token{Principal: sub, Expires: exp}, nil
}

func (v *TokenValidator) forUs(aud any) bool {
	switch a := aud.(type) {
	case string:
		return slices.Contains(v.audience, a)
	case []any:
		return slices.ContainsFunc(a, func(e any) bool {
			s, ok := e.(string)
			return ok && slices.Contains(v.audience, s)
		})
	}
	return false
}

// checkScope judges the scopes' form, as Kafka does; nothing hangs on them.
func checkScope(scope any, claim string) error {
	list, ok := scope.([]any)
	if !ok {
		return nil // Kafka takes anything else for no scope, or for one
	}
	seen := map[string]bool{}
	for _, e := range list {
		s, ok := e.(string)
		if s = strings.TrimSpace(s); !ok || s == "" || seen[s] {
			return errToken("its claim %s holds an empty, repeated or strange scope", claim)
		}
		seen[s] = true
	}
	return nil
}

func timeClaim(claims map[string]any, name string) (time.Time, error) {
	f, ok := claims[name].(float64)
	if !ok || math.IsNaN(f) || f < 0 || f > 1<<40 {
		return time.Time{}, errToken("its claim %s is no time", name)
	}
	return time.UnixMilli(int64(f * 1000)), nil
}

// algorithm is a signature algorithm of RFC 7518.
type algorithm struct {
	hash crypto.Hash
	kind string // RS, PS, ES, Ed
	size int    // of the numbers of ES
}

var algorithms = map[string]algorithm{
	"RS256": {crypto.SHA256, "RS", 0}, "RS384": {crypto.SHA384, "RS", 0}, "RS512": {crypto.SHA512, "RS", 0},
	"PS256": {crypto.SHA256, "PS", 0}, "PS384": {crypto.SHA384, "PS", 0}, "PS512": {crypto.SHA512, "PS", 0},
	"ES256": {crypto.SHA256, "ES", 32}, "ES384": {crypto.SHA384, "ES", 48}, "ES512": {crypto.SHA512, "ES", 66},
	"EdDSA": {0, "Ed", 0},
}

func (a algorithm) verify(key crypto.PublicKey, signed, signature []byte) bool {
	var sum []byte
	if a.hash != 0 {
		h := a.hash.New()
		h.Write(signed)
		sum = h.Sum(nil)
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		switch a.kind {
		case "RS":
			return rsa.VerifyPKCS1v15(k, a.hash, sum, signature) == nil
		case "PS":
			return rsa.VerifyPSS(k, a.hash, sum, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
	case *ecdsa.PublicKey:
		if a.kind != "ES" || len(signature) != 2*a.size || (k.Curve.Params().BitSize+7)/8 != a.size {
			return false
		}
		return ecdsa.Verify(k, sum, new(big.Int).SetBytes(signature[:a.size]), new(big.Int).SetBytes(signature[a.size:]))
	case ed25519.PublicKey:
		return a.kind == "Ed" && ed25519.Verify(k, signed, signature)
	}
	return false
}

// newTokens makes the validator of a listener's OAUTHBEARER.
func (l *Listener) newTokens(jaas *LoginModule) (*TokenValidator, error) {
	get := func(key string) string {
		v, _ := l.opts.Lookup(sasl.OAuthBearer, key)
		return strings.TrimSpace(v)
	}
	if jaas != nil {
		for k := range jaas.Options {
			if strings.HasPrefix(k, "unsecured") {
				return nil, invalid("sasl.jaas.config", hidden, "unsecured tokens are not supported: remove %s and set sasl.oauthbearer.jwks.endpoint.url", k)
			}
		}
	}
	v := &TokenValidator{issuer: get("sasl.oauthbearer.expected.issuer"), subClaim: get("sasl.oauthbearer.sub.claim.name"), scopeClaim: get("sasl.oauthbearer.scope.claim.name"), now: l.opts.Now}
	for a := range strings.SplitSeq(get("sasl.oauthbearer.expected.audience"), ",") {
		if a = strings.TrimSpace(a); a != "" {
			v.audience = append(v.audience, a)
		}
	}
	switch {
	case get("sasl.oauthbearer.jwks.endpoint.url") == "":
		return nil, invalid("sasl.oauthbearer.jwks.endpoint.url", "null", "OAUTHBEARER needs it: tokens without a verified signature are not accepted")
	case v.issuer == "":
		return nil, invalid("sasl.oauthbearer.expected.issuer", "null", "OAUTHBEARER needs it: else tokens of every issuer with that key set were accepted")
	case len(v.audience) == 0:
		return nil, invalid("sasl.oauthbearer.expected.audience", "null", "OAUTHBEARER needs it: else tokens for other services were accepted")
	case v.subClaim == "" || v.scopeClaim == "":
		return nil, invalid("sasl.oauthbearer.sub.claim.name", v.subClaim, "the names of claims must not be empty")
	}
	ms := func(key string, least int64) (time.Duration, error) {
		var n int64
		if _, err := fmt.Sscan(get(key), &n); err != nil || n < least || n > math.MaxInt64/int64(time.Millisecond) {
			return 0, invalid(key, get(key), "want a number of at least %d", least)
		}
		return time.Duration(n) * time.Millisecond, nil
	}
	skew, err := ms("sasl.oauthbearer.clock.skew.seconds", 0)
	if err != nil {
		return nil, err
	}
	v.skew = skew * 1000
	refresh, err1 := ms("sasl.oauthbearer.jwks.endpoint.refresh.ms", 1000)
	backoff, err2 := ms("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", 1)
	longest, err3 := ms("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", 1)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	v.keys, err = newKeySet(get("sasl.oauthbearer.jwks.endpoint.url"), refresh, backoff, longest, l.opts.Logger.With("listener", l.opts.Name))
	return v, err
}
