package security_test

import (
	"context"
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	. "github.com/moldau-io/moldau/core/security"
	"github.com/moldau-io/moldau/core/security/sasl"
	"github.com/moldau-io/moldau/core/security/securitytest"
)

func oauthListener(t *testing.T, url string, more map[string]string) *Listener {
	t.Helper()
	props := map[string]string{
		"sasl.enabled.mechanisms": "OAUTHBEARER", "sasl.oauthbearer.jwks.endpoint.url": url, "sasl.oauthbearer.expected.issuer": "https://issuer",
		"sasl.oauthbearer.expected.audience": "other, kafka", "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms": "100",
	}
	for k, v := range more {
		props[k] = v
	}
	l, err := listener(t, "SASL_PLAINTEXT", props)
	require.NoError(t, err)
	return l
}

// bearer authenticates with a token and returns as whom, or why not.
func bearer(t *testing.T, l *Listener, token string) (string, error) {
	t.Helper()
	x := l.Begin(sasl.OAuthBearer)
	_, done, err := x.Step([]byte("n,,\x01auth=Bearer " + token + "\x01\x01"))
	require.NoError(t, err)
	if done {
		return x.Identity().Name, nil
	}
	return "", sasl.Refusal(x)
}

func TestTokens(t *testing.T) {
	is := securitytest.NewIssuer(t)
	l := oauthListener(t, is.URL, nil)
	now := time.Now().Unix()
	valid := map[string]any{"iss": "https://issuer", "aud": "kafka", "sub": "alice", "iat": now, "exp": now + 60}
	for name, tt := range map[string]struct {
		token string
		want  string // the error; "" for accepted
	}{
		"valid":                {is.Token(t, nil), ""},
		"several audiences":    {is.Token(t, map[string]any{"aud": []string{"x", "kafka"}}), ""},
		"expired in the skew":  {is.Token(t, map[string]any{"iat": now - 100, "exp": now - 10}), ""},
		"scopes as a list":     {is.Token(t, map[string]any{"scope": []string{"a", "b"}}), ""},
		"a scope as a number":  {is.Token(t, map[string]any{"scope": 5}), ""},
		"expired":              {is.Token(t, map[string]any{"iat": now - 100, "exp": now - 60}), "expired"},
		"never expires":        {is.Token(t, map[string]any{"exp": nil}), "exp is no time"},
		"expires as text":      {is.Token(t, map[string]any{"exp": "soon"}), "exp is no time"},
		"never issued":         {is.Token(t, map[string]any{"iat": nil}), "iat is no time"},
		"not yet":              {is.Token(t, map[string]any{"nbf": now + 100}), "not valid before"},
		"another issuer":       {is.Token(t, map[string]any{"iss": "https://evil"}), "issuer"},
		"no issuer":            {is.Token(t, map[string]any{"iss": nil}), "issuer"},
		"another audience":     {is.Token(t, map[string]any{"aud": "web"}), "audience"},
		"no audience":          {is.Token(t, map[string]any{"aud": nil}), "audience"},
		"no subject":           {is.Token(t, map[string]any{"sub": ""}), "sub is no name"},
		"a subject of numbers": {is.Token(t, map[string]any{"sub": 7}), "sub is no name"},
		"a scope twice":        {is.Token(t, map[string]any{"scope": []string{"a", "a"}}), "scope"},
		"unsigned":             {is.Sign(t, map[string]any{"alg": "none"}, valid), "algorithm"},
		"a shared secret":      {is.Sign(t, map[string]any{"alg": "HS256", "kid": "key-1"}, valid), "algorithm"},
		"another algorithm":    {is.Sign(t, map[string]any{"alg": "PS256", "kid": "key-1"}, valid), "signature"},
		"critical extension":   {is.Sign(t, map[string]any{"alg": "RS256", "kid": "key-1", "crit": []string{"x"}}, valid), "critical"},
		"an unknown key":       {is.Sign(t, map[string]any{"alg": "RS256", "kid": "key-9"}, valid), "no key"},
		"without a key id":     {is.Sign(t, map[string]any{"alg": "RS256"}, valid), ""},
		"two parts":            {strings.Join(strings.Split(is.Token(t, nil), ".")[:2], "."), "parts"},
		"other claims":         {swapClaims(is.Token(t, nil), `{"iss":"https://issuer","aud":"kafka","sub":"root","iat":1,"exp":9999999999}`), "signature"},
		"no json":              {swapClaims(is.Token(t, nil), `x`), "claims"},
	} {
		t.Run(name, func(t *testing.T) {
			who, err := bearer(t, l, tt.token)
			if tt.want == "" {
				require.NoError(t, err)
				require.Equal(t, "alice", who)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func swapClaims(token, claims string) string {
	p := strings.Split(token, ".")
	return p[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "." + p[2]
}

func TestNewKeysOfAnIssuerAreFetched(t *testing.T) {
	is := securitytest.NewIssuer(t)
	l := oauthListener(t, is.URL, map[string]string{"sasl.oauthbearer.sub.claim.name": "email"})
	_, err := bearer(t, l, is.Token(t, map[string]any{"email": "alice@example.com"}))
	require.NoError(t, err)
	is.Rotate(t, "key-2")
	token := is.Token(t, map[string]any{"email": "bob@example.com"})
	require.Eventually(t, func() bool {
		who, err := bearer(t, l, token)
		return err == nil && who == "bob@example.com"
	}, 5*time.Second, 20*time.Millisecond)
	// Unknown ids do not make us ask the issuer each time.
	before := is.Fetches.Load()
	for range 50 {
		_, err := bearer(t, l, is.Sign(t, map[string]any{"alg": "RS256", "kid": "no-such"}, map[string]any{"iss": "https://issuer", "aud": "kafka", "email": "x", "iat": 1, "exp": 9999999999}))
		require.Error(t, err)
	}
	require.Less(t, is.Fetches.Load()-before, int64(20))
}

func TestKeysFromAFileAndAnAbsentIssuer(t *testing.T) {
	is := securitytest.NewIssuer(t)
	path := securitytest.Write(t, filepath.Join(t.TempDir(), "jwks.json"), is.Keys(t))
	who, err := bearer(t, oauthListener(t, "file://"+path, nil), is.Token(t, nil))
	require.NoError(t, err)
	require.Equal(t, "alice", who)

	absent := oauthListener(t, "http://127.0.0.1:1/jwks", nil)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { absent.Run(ctx); close(done) }()
	_, err = bearer(t, absent, is.Token(t, nil))
	require.ErrorContains(t, err, "no key")
	cancel()
	<-done
}

func FuzzTokens(f *testing.F) {
	is := securitytest.NewIssuer(f)
	f.Add(is.Token(f, nil) + "x")
	f.Add("e30.e30.")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	l, err := NewListener(Options{Name: "L", Protocol: "SASL_PLAINTEXT", Lookup: func(_, k string) (string, bool) {
		v, ok := map[string]string{"sasl.enabled.mechanisms": "OAUTHBEARER", "sasl.oauthbearer.jwks.endpoint.url": is.URL, "sasl.oauthbearer.expected.issuer": "https://issuer", "sasl.oauthbearer.expected.audience": "kafka",
			"sasl.oauthbearer.sub.claim.name": "sub", "sasl.oauthbearer.scope.claim.name": "scope", "sasl.oauthbearer.clock.skew.seconds": "30", "sasl.oauthbearer.jwks.endpoint.refresh.ms": "3600000",
			"sasl.oauthbearer.jwks.endpoint.retry.backoff.ms": "100", "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms": "10000"}[k]
		return v, ok
	}})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, token string) {
		_, done, _ := l.Begin(sasl.OAuthBearer).Step([]byte("n,,\x01auth=Bearer " + token + "\x01\x01"))
		if done && !strings.HasPrefix(token, "ey") {
			t.Fatal("a token that nobody signed was accepted")
		}
	})
}

func FuzzKeySet(f *testing.F) {
	f.Add(securitytest.NewIssuer(f).Keys(f))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseKeySet(b) })
}

func FuzzJaas(f *testing.F) {
	f.Add(`org.apache.kafka.common.security.plain.PlainLoginModule required user_a="b";`)
	f.Add(`a required /* */ // x`)
	f.Add("a required b='\\")
	f.Fuzz(func(t *testing.T, s string) { _, _ = ParseJaas(s) })
}

func FuzzPrincipalRules(f *testing.F) {
	f.Add(`RULE:^CN=(.*?),.*$/$1@$4/L,DEFAULT`, "CN=a,C=DE")
	f.Add(`RULE:\//\$/`, "/")
	f.Fuzz(func(t *testing.T, rules, dn string) { _, _ = ApplyPrincipalRules(rules, dn) })
}

func FuzzNamesAndKeys(f *testing.F) {
	f.Add([]byte{0x30, 0x0f, 0x31, 0x0d, 0x30, 0x0b, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x04, 't', 'e', 's', 't'})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = DistinguishedName(b)
		_, _ = DecryptPKCS8(b, "x")
	})
}

func FuzzScramUsers(f *testing.F) {
	f.Add(`SCRAM-SHA-256=[name=a,salt=AAAA,saltedpassword=AAAA,iterations=4096]`)
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, ",password") || strings.Contains(s, "[password") {
			return // deriving a key is slow on purpose
		}
		_, _ = ParseScramUsers(s)
	})
}
