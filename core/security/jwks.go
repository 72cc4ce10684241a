package security

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

// Bounds on what an issuer of tokens may send.
const (
	maxKeySetBytes = 1 << 20
	maxKeys        = 1000
	fetchTimeout   = 10 * time.Second
)

// verifyKey is a published key.
type verifyKey struct {
	id  string
	alg string // "" for any that fits
	key crypto.PublicKey
}

// keySet holds the keys that an issuer of tokens publishes (RFC 7517), fetched at intervals and, not too often, when a token names
// one that is not there. While none could be fetched no token is accepted.
type keySet struct {
	url      *url.URL
	refresh  time.Duration
	backoff  time.Duration
	longest  time.Duration
	log      *slog.Logger
	client   *http.Client
	fetching sync.Mutex

	mu   sync.Mutex
	keys []verifyKey
	last time.Time // of the last attempt
}

func newKeySet(raw string, refresh, backoff, longest time.Duration, log *slog.Logger) (*keySet, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, invalid("sasl.oauthbearer.jwks.endpoint.url", raw, "%s", err)
	}
	switch u.Scheme {
	case "http", "https", "file":
	default:
		return nil, invalid("sasl.oauthbearer.jwks.endpoint.url", raw, "want an https, http or file URL")
	}
	return &keySet{url: u, refresh: refresh, backoff: backoff, longest: max(longest, backoff), log: log, client: &http.Client{Timeout: fetchTimeout}}, nil
}

// find returns the keys with that id, all keys when the token names none.
func (s *keySet) find(id string) []verifyKey {
	if keys := s.held(id); len(keys) > 0 {
		return keys
	}
	// The issuer may have a new key. Strangers can ask for any id: so that is not done often.
	s.fetching.Lock()
	defer s.fetching.Unlock()
	s.mu.Lock()
	soon := time.Since(s.last) < s.longest && !s.last.IsZero()
	s.mu.Unlock()
	if !soon {
		ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
		defer cancel()
		if err := s.fetch(ctx); err != nil {
			s.log.Warn("cannot fetch the keys of the issuer of tokens", "url", s.url.Redacted(), "error", err)
		}
	}
	return s.held(id)
}

func (s *keySet) held(id string) []verifyKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == "" {
		return s.keys
	}
	var out []verifyKey
	for _, k := range s.keys {
		if k.id == id {
			out = append(out, k)
		}
	}
	return out
}

// run fetches the keys at intervals until ctx ends.
func (s *keySet) run(ctx context.Context) {
	wait := s.backoff
	for {
		s.fetching.Lock()
		err := s.fetch(ctx)
		s.fetching.Unlock()
		next := s.refresh
		if err == nil {
			wait = s.backoff
		} else {
			if ctx.Err() != nil {
				return
			}
			s.log.Error("cannot fetch the keys of the issuer of tokens", "url", s.url.Redacted(), "error", err, "retry_in", wait)
			next, wait = wait, min(2*wait, s.longest)
		}
		t := time.NewTimer(next)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// fetch replaces the keys. It needs fetching.
func (s *keySet) fetch(ctx context.Context) error {
	s.mu.Lock()
	s.last = time.Now()
	s.mu.Unlock()
	body, err := s.read(ctx)
	if err != nil {
		return err
	}
	keys, err := parseKeySet(body)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.keys = keys
	s.mu.Unlock()
	return nil
}

func (s *keySet) read(ctx context.Context) ([]byte, error) {
	var r io.Reader
	if s.url.Scheme == "file" {
		f, err := os.Open(s.url.Path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		r = f
	} else {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url.String(), nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "application/json")
		resp, err := s.client.Do(req)
		if err != nil {
			return nil, err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("status %s", resp.Status)
		}
		r = resp.Body
	}
	b, err := io.ReadAll(io.LimitReader(r, maxKeySetBytes+1))
	if err == nil && len(b) > maxKeySetBytes {
		err = fmt.Errorf("the key set has more than %d bytes", maxKeySetBytes)
	}
	return b, err
}

// parseKeySet reads a JSON web key set. Keys of kinds that are not known are passed over.
func parseKeySet(b []byte) ([]verifyKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("key set: %d keys, at most %d are allowed", len(set.Keys), maxKeys)
	}
	var out []verifyKey
	for _, raw := range set.Keys {
		if k, err := parseKey(raw); err == nil {
			out = append(out, k)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("key set: it holds no key for signatures that is understood")
	}
	return out, nil
}

func parseKey(raw []byte) (verifyKey, error) {
	var j struct {
		Kty, Use, Kid, Alg, N, E, Crv, X, Y string
	}
	if err := json.Unmarshal(raw, &j); err != nil {
		return verifyKey{}, err
	}
	if j.Use != "" && j.Use != "sig" {
		return verifyKey{}, errors.New("not for signatures")
	}
	k := verifyKey{id: j.Kid, alg: j.Alg}
	var err error
	switch j.Kty {
	case "RSA":
		k.key, err = rsaKey(j.N, j.E)
	case "EC":
		k.key, err = ecKey(j.Crv, j.X, j.Y)
	case "OKP":
		var x []byte
		if x, err = base64.RawURLEncoding.DecodeString(j.X); err == nil && (j.Crv != "Ed25519" || len(x) != ed25519.PublicKeySize) {
			err = errors.New("not an Ed25519 key")
		}
		k.key = ed25519.PublicKey(x)
	default:
		err = fmt.Errorf("the key type %q is not supported", j.Kty)
	}
	return k, err
}

func rsaKey(n, e string) (*rsa.PublicKey, error) {
	nb, err := base64.RawURLEncoding.DecodeString(n)
	if err != nil {
		return nil, err
	}
	eb, err := base64.RawURLEncoding.DecodeString(e)
	if err != nil {
		return nil, err
	}
	exp := new(big.Int).SetBytes(eb)
	k := &rsa.PublicKey{N: new(big.Int).SetBytes(nb)}
	if bits := k.N.BitLen(); bits < 2048 || bits > 16384 || !exp.IsInt64() || exp.Int64() < 3 || exp.Int64() > 1<<31-1 {
		return nil, fmt.Errorf("an RSA key of %d bits is not accepted", k.N.BitLen())
	}
	k.E = int(exp.Int64())
	return k, nil
}

func ecKey(curve, x, y string) (*ecdsa.PublicKey, error) {
	curves := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}
	c, ok := curves[curve]
	if !ok {
		return nil, fmt.Errorf("the curve %q is not supported", curve)
	}
	xb, err := base64.RawURLEncoding.DecodeString(x)
	if err != nil {
		return nil, err
	}
	yb, err := base64.RawURLEncoding.DecodeString(y)
	if err != nil {
		return nil, err
	}
	size := (c.Params().BitSize + 7) / 8
	if len(xb) > size || len(yb) > size {
		return nil, errors.New("the point is too large")
	}
	point := make([]byte, 1+2*size)
	point[0] = 4
	copy(point[1+size-len(xb):], xb)
	copy(point[1+2*size-len(yb):], yb)
	return ecdsa.ParseUncompressedPublicKey(c, point) // refuses what is not on the curve
}
