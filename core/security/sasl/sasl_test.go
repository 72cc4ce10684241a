package sasl_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	. "github.com/moldau-io/moldau/core/security/sasl"
)

func TestPlainTranscripts(t *testing.T) {
	users := Passwords{"alice": "secret", "empty": ""}
	for in, want := range map[string]string{
		"\x00alice\x00secret":           "",
		"alice\x00alice\x00secret":      "",
		"bob\x00alice\x00secret":        "Authentication failed: Client requested an authorization id that is different from username",
		"\x00alice\x00wrong":            "Authentication failed: Invalid username or password",
		"\x00alice\x00secre":            "Authentication failed: Invalid username or password",
		"\x00nobody\x00secret":          "Authentication failed: Invalid username or password",
		"\x00\x00secret":                "Authentication failed: username not specified",
		"\x00alice\x00":                 "Authentication failed: password not specified",
		"\x00empty\x00":                 "Authentication failed: password not specified",
		"":                              "Invalid SASL/PLAIN response: expected 3 tokens, got 1",
		"alice\x00secret":               "Invalid SASL/PLAIN response: expected 3 tokens, got 2",
		"\x00alice\x00secret\x00":       "Invalid SASL/PLAIN response: expected 3 tokens, got 4",
		"\x00a\x00b\x00c\x00d\x00e\x00": "Invalid SASL/PLAIN response: expected 3 tokens, got 4",
	} {
		x := NewPlain(users)
		answer, done, err := x.Step([]byte(in))
		if want == "" {
			require.NoError(t, err, "%q", in)
			require.True(t, done)
			require.Empty(t, answer)
			require.Equal(t, "alice", x.Identity().Name)
			continue
		}
		var told *Error
		require.ErrorAs(t, err, &told, "%q", in)
		require.Equal(t, want, told.Message)
		require.False(t, done)
	}
}

// TestScramOfRFC7677 replays the example of RFC 7677, section 3, whose nonce is fixed.
func TestScramOfRFC7677(t *testing.T) {
	cred, err := NewCredential(ScramSHA256, "pencil", Unbase64("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
	require.NoError(t, err)
	find := func(user string) (Credential, bool) { return cred, user == "user" }
	run := func(final string) ([]byte, bool, error) {
		x := NewScramWithNonce(ScramSHA256, find, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
		first, done, err := x.Step([]byte("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"))
		require.NoError(t, err)
		require.False(t, done)
		require.Equal(t, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", string(first))
		return x.Step([]byte(final))
	}
	const good = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	answer, done, err := run(good)
	require.NoError(t, err)
	require.True(t, done)
	require.Equal(t, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=", string(answer))
	for name, final := range map[string]string{
		"another proof":      strings.Replace(good, "p=dHzb", "p=dHzc", 1),
		"the nonce cut":      strings.Replace(good, "rOprNGfwEbeRWgbNEkqO%", "%", 1), // CVE-2024-56128
		"the client's alone": "c=biws,r=rOprNGfwEbeRWgbNEkqO,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"no proof":           "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
		"a short proof":      strings.Replace(good, "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "dHzb", 1),
		"nothing":            "",
		"no base64":          strings.Replace(good, "dHzb", "****", 1),
	} {
		_, done, err := run(final)
		require.Error(t, err, name)
		require.False(t, done, name)
		var told *Error
		require.False(t, errors.As(err, &told), "%s: the client is told nothing", name)
	}
}

// TestScramOfOldLibrdkafka: the client's nonce is repeated before the whole in the final message.
func TestScramOfOldLibrdkafka(t *testing.T) {
	cred, err := NewCredential(ScramSHA256, "pencil", []byte("0123456789abcdef01234567"), 4096)
	require.NoError(t, err)
	x := NewScramWithNonce(ScramSHA256, func(string) (Credential, bool) { return cred, true }, "server")
	first, _, err := x.Step([]byte("n,,n=user,r=client"))
	require.NoError(t, err)
	without := "c=biws,r=clientclientserver"
	_, done, err := x.Step([]byte(without + ",p=" + Proof(t, "pencil", cred, "n=user,r=client,"+string(first)+","+without)))
	require.NoError(t, err)
	require.True(t, done)
}

func TestScramTellsNobodyWhoExists(t *testing.T) {
	cred, err := NewCredential(ScramSHA512, "secret", []byte("0123456789abcdef01234567"), 4096)
	require.NoError(t, err)
	find := func(user string) (Credential, bool) {
		if user == "alice" {
			return cred, true
		}
		return Credential{}, false
	}
	first := func(user string) string {
		b, _, err := NewScram(ScramSHA512, find).Step([]byte("n,,n=" + user + ",r=abc"))
		require.NoError(t, err)
		_, rest, _ := strings.Cut(string(b), ",s=")
		return rest
	}
	require.Equal(t, first("nobody"), first("nobody"), "always the same salt")
	require.NotEqual(t, first("nobody"), first("somebody"))
	require.True(t, strings.HasSuffix(first("nobody"), ",i=4096"))
	require.Len(t, first("nobody"), len(first("alice")))
	x := NewScramWithNonce(ScramSHA512, find, "server")
	_, _, err = x.Step([]byte("n,,n=nobody,r=abc"))
	require.NoError(t, err)
	_, done, err := x.Step([]byte("c=biws,r=abcserver,p=" + Base64(make([]byte, 64))))
	require.ErrorContains(t, err, "invalid client credentials")
	require.False(t, done)
	_, _, err = x.Step([]byte("c=biws"))
	require.ErrorContains(t, err, "is over")
}

func TestBadFirstMessagesOfScram(t *testing.T) {
	find := func(string) (Credential, bool) { return Credential{Salt: []byte("x"), Iterations: 4096}, true }
	for _, m := range []string{"", "n", "n,", "n,,", "n,,n=a", "n,,r=b,n=a", "n,,n=,r=b", "n,,n=a,r=", "p=tls-unique,,n=a,r=b", "x,,n=a,r=b", "n,b=c,n=a,r=b", "n,,m=x,n=a,r=b", "n,,n=a=2,r=b", "n,,n=a,r=b\x01", "n,,n=tok,r=b,tokenauth=true"} {
		_, _, err := NewScram(ScramSHA256, find).Step([]byte(m))
		require.Error(t, err, "%q", m)
	}
	x := NewScram(ScramSHA256, find)
	_, _, err := x.Step([]byte("n,a=a=2Cb,n=a=2Cb,r=b"))
	require.NoError(t, err)
	require.Equal(t, "a,b", x.Identity().Name)
	_, _, err = NewScram(ScramSHA256, find).Step([]byte("n,a=root,n=a,r=b"))
	require.EqualError(t, err, "Authentication failed: Client requested an authorization id that is different from username")
}

func TestOAuthBearerTranscripts(t *testing.T) {
	validate := func(token string) (Token, error) {
		if token != "good" {
			return Token{}, errors.New("bad token")
		}
		return Token{Principal: "alice", Expires: time.Unix(9, 0)}, nil
	}
	x := NewOAuthBearer(validate)
	answer, done, err := x.Step([]byte("n,,\x01auth=Bearer good\x01traceId=1\x01\x01"))
	require.NoError(t, err)
	require.True(t, done)
	require.Empty(t, answer)
	require.Equal(t, Identity{Name: "alice", Expires: time.Unix(9, 0)}, x.Identity())

	x = NewOAuthBearer(validate)
	answer, done, err = x.Step([]byte("n,,\x01auth=Bearer bad\x01\x01"))
	require.NoError(t, err)
	require.False(t, done)
	require.Equal(t, `{"status":"invalid_token"}`, string(answer))
	require.ErrorContains(t, Refusal(x), "bad token")
	_, done, err = x.Step([]byte{1})
	require.EqualError(t, err, `{"status":"invalid_token"}`)
	require.False(t, done)
	_, done, err = x.Step([]byte("n,,\x01auth=Bearer good\x01\x01"))
	require.Error(t, err, "a refused exchange stays refused")
	require.False(t, done)

	_, _, err = NewOAuthBearer(validate).Step([]byte("n,a=bob,\x01auth=Bearer good\x01\x01"))
	require.EqualError(t, err, "Authentication failed: Client requested an authorization id (bob) that is different from the token's principal name (alice)")
	for _, m := range []string{"", "n,,", "n,,\x01", "n,,\x01\x01", "n,,\x01auth=good\x01\x01", "n,,\x01auth=Bearer \x01\x01", "n,,\x01auth=Basic good\x01\x01", "y,,\x01auth=Bearer good\x01\x01", "n,,\x01auth=Bearer good", "n,,\x01auth=Bearer good\x01auth=Bearer good\x01\x01", "n,x=y,\x01auth=Bearer good\x01\x01"} {
		_, done, err := NewOAuthBearer(validate).Step([]byte(m))
		require.Error(t, err, "%q", m)
		require.False(t, done)
	}
}

func FuzzExchanges(f *testing.F) {
	for _, s := range []string{"", "\x00alice\x00secret", "n,,n=user,r=abc", "n,,\x01auth=Bearer a.b.c\x01\x01", "n,a=x,n=x,r=y", "\x01"} {
		f.Add([]byte(s), []byte("c=biws,r=abc,p=AAAA"))
	}
	cred, _ := NewCredential(ScramSHA256, "secret", []byte("salt"), 4096)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		for _, x := range []Exchange{
			NewPlain(Passwords{"alice": "secret-that-nobody-guesses"}),
			NewScram(ScramSHA256, func(u string) (Credential, bool) { return cred, u == "alice" }),
			NewScram(ScramSHA512, func(string) (Credential, bool) { return Credential{}, false }),
			NewOAuthBearer(func(string) (Token, error) { return Token{}, errors.New("no") }),
		} {
			for _, m := range [][]byte{first, second} {
				_, done, err := x.Step(m)
				if done {
					t.Fatalf("%T let %q in", x, m)
				}
				if err != nil {
					break
				}
			}
		}
	})
}
