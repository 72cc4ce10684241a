package security_test

import (
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/asn1"
	"maps"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/config"
	. "github.com/moldau-io/moldau/core/security"
	"github.com/moldau-io/moldau/core/security/sasl"
	"github.com/moldau-io/moldau/core/security/securitytest"
)

// listener makes one of properties, with the defaults of the broker's table.
func listener(t *testing.T, protocol string, props map[string]string) (*Listener, error) {
	t.Helper()
	all := map[string]string{"listeners": protocol + "://127.0.0.1:9092", "sasl.enabled.mechanisms": "PLAIN"}
	maps.Copy(all, props)
	c, err := config.ParseBroker(all)
	require.NoError(t, err)
	return NewListener(Options{
		Name: protocol, Protocol: protocol, Lookup: func(m, k string) (string, bool) { return c.ListenerValue(protocol, m, k) },
		Scram: func(_, user string) (sasl.Credential, bool) { return sasl.Credential{}, false },
	})
}

const plainUsers = `org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="hunter2";`

func TestMistakesInSecurityAreNamed(t *testing.T) {
	dir := t.TempDir()
	ca := securitytest.NewCA(t)
	good := ca.Issue(t, pkix.Name{CommonName: "broker"}).Files(t, dir, "PEM")
	other := ca.Issue(t, pkix.Name{CommonName: "other"})
	with := func(more ...string) map[string]string {
		m := maps.Clone(good)
		for i := 0; i < len(more); i += 2 {
			if m[more[i]] = more[i+1]; more[i+1] == "" {
				delete(m, more[i])
			}
		}
		return m
	}
	oauth := func(drop string) map[string]string {
		m := map[string]string{"sasl.enabled.mechanisms": "OAUTHBEARER", "sasl.oauthbearer.jwks.endpoint.url": "http://127.0.0.1:1/", "sasl.oauthbearer.expected.issuer": "i", "sasl.oauthbearer.expected.audience": "a"}
		delete(m, drop)
		return m
	}
	for name, tt := range map[string]struct {
		protocol string
		props    map[string]string
		want     []string
	}{
		"no key store":               {"SSL", nil, []string{"ssl.keystore.location"}},
		"no file":                    {"SSL", with("ssl.keystore.location", dir+"/none"), []string{"ssl.keystore.location", "no such file"}},
		"no trust store file":        {"SSL", with("ssl.client.auth", "required", "ssl.truststore.location", dir+"/none"), []string{"ssl.truststore.location"}},
		"unknown type":               {"SSL", with("ssl.keystore.type", "BCFKS"), []string{"ssl.keystore.type", "JKS, PKCS12 and PEM"}},
		"wrong type":                 {"SSL", with("ssl.keystore.type", "PKCS12"), []string{"ssl.keystore.location"}},
		"password of a PEM":          {"SSL", with("ssl.keystore.password", "x"), []string{"ssl.keystore.password"}},
		"old TLS":                    {"SSL", with("ssl.enabled.protocols", "TLSv1.1"), []string{"ssl.enabled.protocols", "TLSv1.1"}},
		"no such suite":              {"SSL", with("ssl.cipher.suites", "TLS_NULL"), []string{"ssl.cipher.suites", "TLS_NULL"}},
		"bad rule":                   {"SSL", with("ssl.principal.mapping.rules", "RULE:x"), []string{"ssl.principal.mapping.rules", "Invalid rule"}},
		"look-around":                {"SSL", with("ssl.principal.mapping.rules", "RULE:(?=x)/y/"), []string{"ssl.principal.mapping.rules", "not supported"}},
		"key without chain":          {"SSL", map[string]string{"ssl.keystore.type": "PEM", "ssl.keystore.key": "x"}, []string{"go together"}},
		"key of another":             {"SSL", map[string]string{"ssl.keystore.type": "PEM", "ssl.keystore.key": string(other.KeyPEM(t)), "ssl.keystore.certificate.chain": string(ca.Issue(t, pkix.Name{CommonName: "x"}).ChainPEM())}, []string{"does not belong"}},
		"no plain users":             {"SASL_PLAINTEXT", nil, []string{"sasl.jaas.config", "listener.name.sasl_plaintext.plain.sasl.jaas.config"}},
		"wrong login module":         {"SASL_PLAINTEXT", map[string]string{"listener.name.sasl_plaintext.plain.sasl.jaas.config": "com.Evil required;"}, []string{"sasl.jaas.config", "PlainLoginModule"}},
		"broken jaas":                {"SASL_PLAINTEXT", map[string]string{"listener.name.sasl_plaintext.plain.sasl.jaas.config": plainUsers[:len(plainUsers)-1]}, []string{"sasl.jaas.config", "not terminated by semi-colon"}},
		"oauth without keys":         {"SASL_PLAINTEXT", oauth("sasl.oauthbearer.jwks.endpoint.url"), []string{"sasl.oauthbearer.jwks.endpoint.url"}},
		"oauth without issuer":       {"SASL_PLAINTEXT", oauth("sasl.oauthbearer.expected.issuer"), []string{"sasl.oauthbearer.expected.issuer"}},
		"oauth without audience":     {"SASL_PLAINTEXT", oauth("sasl.oauthbearer.expected.audience"), []string{"sasl.oauthbearer.expected.audience"}},
		"oauth with unsigned":        {"SASL_PLAINTEXT", map[string]string{"sasl.enabled.mechanisms": "OAUTHBEARER", "listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config": `org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="x";`}, []string{"unsecured tokens"}},
		"callback handlers of plain": {"SASL_PLAINTEXT", map[string]string{"listener.name.sasl_plaintext.plain.sasl.jaas.config": plainUsers, "sasl.server.callback.handler.class": config.OAuthBearerValidator}, []string{"sasl.server.callback.handler.class"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := listener(t, tt.protocol, tt.props)
			require.Error(t, err)
			for _, w := range tt.want {
				require.ErrorContains(t, err, w)
			}
			require.NotContains(t, err.Error(), "hunter2", "passwords are not shown")
		})
	}
}

// TestEveryListenerPropertyIsAskedFor: what core/config accepts for listeners is read here.
func TestEveryListenerPropertyIsAskedFor(t *testing.T) {
	asked := map[string]bool{"max.connection.creation.rate": true, "max.connections": true} // the broker's bounds
	ca := securitytest.NewCA(t)
	for _, kind := range []string{"PEM", "JKS"} {
		files := ca.Issue(t, pkix.Name{CommonName: "b"}).Files(t, t.TempDir(), kind)
		_, err := NewListener(Options{Name: "L", Protocol: "SASL_SSL", Lookup: func(_, k string) (string, bool) {
			asked[k] = true
			switch k {
			case "sasl.enabled.mechanisms":
				return "SCRAM-SHA-256,OAUTHBEARER", true
			case "ssl.client.auth":
				return "required", true
			case "sasl.oauthbearer.jwks.endpoint.url":
				return "http://127.0.0.1:1", true
			case "sasl.oauthbearer.expected.issuer", "sasl.oauthbearer.expected.audience":
				return "x", true
			}
			if v, ok := files[k]; ok {
				return v, true
			}
			if d := config.BrokerKeys.Key(k).Default; d != nil && !strings.HasPrefix(k, "ssl.keystore") {
				return *d, true
			}
			return "", false
		}})
		require.NoError(t, err)
	}
	elsewhere := map[string]bool{
		// read by the broker or checked by core/config
		"sasl.mechanism.inter.broker.protocol": true, "sasl.server.max.receive.size": true, "ssl.endpoint.identification.algorithm": true,
	}
	for _, k := range config.BrokerKeys.Keys() {
		if k.Unsupported == "" && (strings.HasPrefix(k.Name, "ssl.") || strings.HasPrefix(k.Name, "sasl.")) && !elsewhere[k.Name] && !strings.HasPrefix(k.Name, "sasl.kerberos.") {
			require.True(t, asked[k.Name], "%s is accepted and not read", k.Name)
		}
	}
}

// shake does a TLS handshake with the listener over a pipe and returns the server's side.
func shake(t *testing.T, l *Listener, client *tls.Config) (*tls.ConnectionState, *tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	deadline := time.Now().Add(10 * time.Second)
	require.NoError(t, a.SetDeadline(deadline))
	require.NoError(t, b.SetDeadline(deadline))
	srv, cl := tls.Server(a, l.TLS()), tls.Client(b, client)
	done := make(chan error, 1)
	go func() {
		err := cl.Handshake()
		if err == nil {
			_, _ = cl.Read(make([]byte, 1)) // an alert about our certificate comes with the first read in TLS 1.3
		}
		done <- err
	}()
	if err := srv.Handshake(); err != nil {
		_ = a.Close()
		<-done
		return nil, nil, err
	}
	_, err := srv.Write([]byte{1})
	require.NoError(t, err)
	require.NoError(t, <-done)
	s, c := srv.ConnectionState(), cl.ConnectionState()
	return &s, &c, nil
}

func TestStoresOfEveryTypeServeMutualTLS(t *testing.T) {
	for _, kind := range []string{"PEM", "PKCS12", "JKS"} {
		t.Run(kind, func(t *testing.T) {
			ca := securitytest.NewCA(t)
			props := ca.Issue(t, pkix.Name{CommonName: "broker"}).Files(t, t.TempDir(), kind)
			props["ssl.client.auth"] = "required"
			props["ssl.principal.mapping.rules"] = `RULE:^CN=([a-z]+),OU=.*$/$1/U,DEFAULT`
			l, err := listener(t, "SSL", props)
			require.NoError(t, err)
			me := ca.Issue(t, pkix.Name{CommonName: "alice", OrganizationalUnit: []string{"dev"}})
			state, _, err := shake(t, l, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", Certificates: []tls.Certificate{me.TLS()}})
			require.NoError(t, err)
			p, err := l.PrincipalOf(state)
			require.NoError(t, err)
			require.Equal(t, "User:ALICE", p.String())
			require.WithinDuration(t, time.Now().Add(time.Hour), l.Expires(), time.Minute)

			_, _, err = shake(t, l, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
			require.Error(t, err, "without a certificate")
			stranger := securitytest.NewCA(t).Issue(t, pkix.Name{CommonName: "alice"})
			_, _, err = shake(t, l, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", Certificates: []tls.Certificate{stranger.TLS()}})
			require.Error(t, err, "of another authority")
		})
	}
}

func TestRequestedCertificatesMayBeMissing(t *testing.T) {
	ca := securitytest.NewCA(t)
	props := ca.Issue(t, pkix.Name{CommonName: "broker"}).Files(t, t.TempDir(), "PEM")
	props["ssl.client.auth"] = "requested"
	l, err := listener(t, "SSL", props)
	require.NoError(t, err)
	state, _, err := shake(t, l, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
	require.NoError(t, err)
	p, err := l.PrincipalOf(state)
	require.NoError(t, err)
	require.Equal(t, Anonymous, p)
}

func TestChangedStoresAreReadAgain(t *testing.T) {
	ca := securitytest.NewCA(t)
	dir := t.TempDir()
	first := ca.Issue(t, pkix.Name{CommonName: "broker"})
	l, err := listener(t, "SSL", first.Files(t, dir, "PEM"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go l.Run(ctx)
	served := func() string {
		_, c, err := shake(t, l, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
		require.NoError(t, err)
		return c.PeerCertificates[0].SerialNumber.String()
	}
	require.Equal(t, first.Cert.SerialNumber.String(), served())
	next := ca.Issue(t, pkix.Name{CommonName: "broker"})
	next.Files(t, dir, "PEM")
	require.Eventually(t, func() bool { return served() == next.Cert.SerialNumber.String() }, 10*time.Second, 50*time.Millisecond)

	// What cannot be used, or is for another name, leaves the one before in force.
	securitytest.Write(t, filepath.Join(dir, "keystore"), []byte("broken"))
	require.Never(t, func() bool { return served() != next.Cert.SerialNumber.String() }, 1500*time.Millisecond, 300*time.Millisecond)
	ca.Issue(t, pkix.Name{CommonName: "another"}).Files(t, dir, "PEM")
	require.Never(t, func() bool { return served() != next.Cert.SerialNumber.String() }, 1500*time.Millisecond, 300*time.Millisecond)
	last := ca.Issue(t, pkix.Name{CommonName: "broker"})
	last.Files(t, dir, "PEM")
	require.Eventually(t, func() bool { return served() == last.Cert.SerialNumber.String() }, 10*time.Second, 50*time.Millisecond)
}

func TestEncryptedKeysOfOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl on this machine")
	}
	ca := securitytest.NewCA(t)
	p := ca.Issue(t, pkix.Name{CommonName: "broker"})
	dir := t.TempDir()
	plain := securitytest.Write(t, filepath.Join(dir, "plain"), p.KeyPEM(t))
	for _, how := range [][]string{{"-v2", "aes-256-cbc"}, {"-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"}, {"-v2", "des3", "-v2prf", "hmacWithSHA1"}} {
		out, err := exec.Command("openssl", append([]string{"pkcs8", "-topk8", "-in", plain, "-passout", "pass:hunter2"}, how...)...).Output()
		require.NoError(t, err)
		props := map[string]string{"ssl.keystore.type": "PEM", "ssl.keystore.key": string(out), "ssl.keystore.certificate.chain": string(p.ChainPEM()), "ssl.key.password": "hunter2"}
		_, err = listener(t, "SSL", props)
		require.NoError(t, err, how)
		props["ssl.key.password"] = "wrong"
		_, err = listener(t, "SSL", props)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "PRIVATE KEY")
	}
}

func TestPrincipalRules(t *testing.T) {
	dn := "CN=Alice Smith,OU=Dev\\,Ops,O=Acme,C=DE"
	for rules, want := range map[string]string{
		"DEFAULT":                 dn,
		"":                        dn,
		`RULE:^CN=(.*?),.*$/$1/`:  "Alice Smith",
		`RULE:^CN=(.*?),.*$/$1/L`: "alice smith",
		`RULE:^CN=(.*?),OU=(.*?),O=.*$/$1@$2/U, DEFAULT`:            `ALICE SMITH@DEV\,OPS`,
		`RULE:^CN=none$/x/,RULE:^.*,C=([A-Z]+)$/country\/$1/`:       "country/DE",
		`RULE:^CN=none$/x/,DEFAULT`:                                 dn,
		`RULE:^CN=(.*?),.*$/$1@$4/`:                                 "Alice Smith@$4",
		`RULE:^CN=([^,]+),OU=.*O=([^,]+).*$/$2-$1/L,RULE:.*/never/`: "acme-alice smith",
	} {
		got, err := ApplyPrincipalRules(rules, dn)
		require.NoError(t, err, rules)
		require.Equal(t, want, got, rules)
	}
	_, err := ApplyPrincipalRules(`RULE:^CN=none$/x/`, dn)
	require.ErrorContains(t, err, "no rule")
}

func TestDistinguishedNamesAreWrittenAsJavaDoes(t *testing.T) {
	name := pkix.Name{Country: []string{"DE"}, Organization: []string{`Acme, "Inc"`}, OrganizationalUnit: []string{"#dev"}, CommonName: " alice ", Locality: []string{"Köln"}, SerialNumber: "7"}
	name.ExtraNames = []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}, Value: "example"}}
	der, err := asn1.Marshal(name.ToRDNSequence())
	require.NoError(t, err)
	got, err := DistinguishedName(der)
	require.NoError(t, err)
	require.Equal(t, `DC=example,2.5.4.5=#130137,CN=\ alice\ ,OU=\#dev,O=Acme\, \"Inc\",L=Köln,C=DE`, got)
}

func TestJaas(t *testing.T) {
	m, err := ParseJaas(` org.apache.kafka.common.security.plain.PlainLoginModule  required
		username="admin" password='a"b' // the broker's own
		user_alice="s\"e;c" /* more */ user_bob=plain-2 ; `)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"username": "admin", "password": `a"b`, "user_alice": `s"e;c`, "user_bob": "plain-2"}, m.Options)
	require.Equal(t, "required", m.Flag)
	for in, want := range map[string]string{
		"": "Login module not specified", "X": "control flag", "X sometimes;": "control flag", "X required": "not terminated by semi-colon",
		"X required a;": "Value not specified for key 'a'", `X required a="b`: "without an end", "X required; Y required;": "more than one login module", "X required /* a": "without an end",
	} {
		_, err := ParseJaas(in)
		require.ErrorContains(t, err, want, in)
	}
}

func TestScramUsers(t *testing.T) {
	us, err := ParseScramUsers(`SCRAM-SHA-256=[name=alice,password=secret]; SCRAM-SHA-512=[name="bob",iterations=8192,salt="MWx2NHBkbnc0ZndxN25vdGN4bTB5eTFrN3E=",saltedpassword="mT0yyUUxnlaC99HOgRTSK06SsUEhOVa1ZzFo7bhMVFI="]`)
	require.NoError(t, err)
	require.Len(t, us, 2)
	require.Equal(t, 8192, us[1].Credential.Iterations)
	for _, bad := range []string{"x", "SCRAM-SHA-1=[name=a,password=b]", "SCRAM-SHA-256=[name=a]", "SCRAM-SHA-256=[password=hunter2]", "SCRAM-SHA-256=[name=a,password=hunter2,iterations=1]", "SCRAM-SHA-256=[name=a,password=hunter2,x=1]"} {
		_, err := ParseScramUsers(bad)
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), "hunter2")
	}
}
