package clientprops

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/config/properties"
)

func TestJAASIsRead(t *testing.T) {
	j, err := ParseJAAS(`org.apache.kafka.common.security.scram.ScramLoginModule required username="al\"ice" password='x' tokenauth=true ;`)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"username": `al"ice`, "password": "'x'", "tokenauth": "true"}, j.Options)
	for text, want := range map[string]string{
		`M required a="b"`:      "semicolon",
		`M needed a="b";`:       "required",
		`M required a;`:         "no value",
		`M required a="b;`:      "closing quote",
		`;`:                     "empty",
		`M required a="b" ="";`: "",
	} {
		_, err := ParseJAAS(text)
		if want != "" {
			require.ErrorContains(t, err, want, text)
		} else {
			require.Error(t, err, text)
		}
	}
}

func TestWhatIsNotKnownIsRefusedByName(t *testing.T) {
	for _, c := range []struct{ key, value, want string }{
		{"bootstrap.server", "x", "did you mean bootstrap.servers?"},
		{"entirely.unknown.thing", "x", "not a client property"},
		{"ssl.cipher.suites", "x", "leave it out"},
		{"acks", "2", "must be all, 1 or 0"},
		{"compression.type", "rot13", "must be none"},
		{"linger.ms", "soon", "milliseconds"},
		{"security.protocol", "TLS", "must be PLAINTEXT"},
		{"group.protocol", "streams", "only classic"},
		{"isolation.level", "none", "read_committed"},
		{"auto.offset.reset", "middle", "earliest"},
		{"interceptor.classes", "com.example.Audit", "Java classes cannot be loaded"},
		{"value.serializer", "io.confluent.kafka.serializers.KafkaAvroSerializer", "--value avro"},
		{"partitioner.adaptive.partitioning.enable", "true", "leave it out"},
	} {
		_, err := New(map[string]string{c.key: c.value})
		require.ErrorContains(t, err, c.want, c.key)
	}
}

func TestOptionsMakeAClient(t *testing.T) {
	c, err := New(map[string]string{
		"bootstrap.servers": "a:1, b:2", "client.id": "x", "group.id": "g", "acks": "1", "compression.type": "zstd", "isolation.level": "read_committed",
		"linger.ms": "5", "batch.size": "1000", "fetch.max.bytes": "1000000", "key.serializer": "org.apache.kafka.common.serialization.StringSerializer",
		"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512", "sasl.jaas.config": `M required username="u" password="p";`,
		"auto.offset.reset": "earliest", "retries": "3",
	})
	require.NoError(t, err)
	require.Equal(t, []string{"a:1", "b:2"}, c.Bootstrap)
	require.Equal(t, "g", c.GroupID)
	for _, opts := range [][]kgo.Opt{c.AdminOptions(), c.ProducerOptions(), c.ConsumerOptions()} {
		cl, err := kgo.NewClient(opts...)
		require.NoError(t, err)
		cl.Close()
	}
}

func TestLoginsAreChecked(t *testing.T) {
	for _, c := range []struct{ mechanism, jaas, want string }{
		{"PLAIN", "", "sasl.jaas.config is not set"},
		{"PLAIN", `M required username="u";`, "needs username and password"},
		{"", `M required username="u" password="p";`, `"GSSAPI" must be`},
		{"OAUTHBEARER", `M required clientId="c" clientSecret="s";`, "token.endpoint.url"},
	} {
		_, err := New(map[string]string{"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": c.mechanism, "sasl.jaas.config": c.jaas})
		require.ErrorContains(t, err, c.want)
	}
}

func TestTokensComeFromTheEndpointAndAreKept(t *testing.T) {
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		id, secret, _ := r.BasicAuth()
		if id != "c" || secret != "s" || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "kafka" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte(`{"access_token":"abc","expires_in":3600}`))
	}))
	defer srv.Close()
	src := &tokens{endpoint: srv.URL, id: "c", secret: "s", scope: "kafka"}
	for range 3 {
		token, err := src.get(context.Background())
		require.NoError(t, err)
		require.Equal(t, "abc", token)
	}
	require.Equal(t, 1, asked)
	bad := &tokens{endpoint: srv.URL, id: "c", secret: "wrong"}
	_, err := bad.get(context.Background())
	require.ErrorContains(t, err, "HTTP 401")
	require.NotContains(t, err.Error(), "wrong", "secrets are never shown")
}

// pair makes a certificate of its own authority for a name, as PEM.
func pair(t *testing.T, name string) (cert, key string) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	require.NoError(t, err)
	kb, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb}))
}

func TestTLSVerifiesTheChainAndTheName(t *testing.T) {
	cert, key := pair(t, "kafka.example")
	other, _ := pair(t, "kafka.example")
	server, err := tls.X509KeyPair([]byte(cert), []byte(key))
	require.NoError(t, err)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequestClientCert})
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*tls.Conn).Handshake()
			_ = c.Close()
		}
	}()
	dial := func(p map[string]string) error {
		c, err := tlsConfig(p)
		require.NoError(t, err)
		nc, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		defer nc.Close()
		if c.ServerName == "" {
			c.ServerName = "127.0.0.1"
		}
		return tls.Client(nc, c).HandshakeContext(context.Background())
	}
	oneLine := strings.ReplaceAll(strings.TrimSpace(cert), "\n", " ")
	require.ErrorContains(t, dial(map[string]string{"ssl.truststore.certificates": cert}), "127.0.0.1", "the name is wrong")
	require.NoError(t, dial(map[string]string{"ssl.truststore.certificates": oneLine, "ssl.endpoint.identification.algorithm": ""}))
	require.Error(t, dial(map[string]string{"ssl.truststore.certificates": other, "ssl.endpoint.identification.algorithm": ""}), "the chain is verified without the name")
	file := filepath.Join(t.TempDir(), "store.pem")
	require.NoError(t, os.WriteFile(file, []byte(key+cert), 0o600))
	require.NoError(t, dial(map[string]string{"ssl.truststore.location": file, "ssl.truststore.type": "PEM", "ssl.keystore.location": file, "ssl.keystore.type": "PEM", "ssl.endpoint.identification.algorithm": ""}))
	for _, c := range []struct {
		p    map[string]string
		want string
	}{
		{map[string]string{"ssl.truststore.location": file}, "JKS is a Java format"},
		{map[string]string{"ssl.keystore.key": key, "ssl.keystore.certificate.chain": cert, "ssl.key.password": "x"}, "ssl.key.password is not supported"},
		{map[string]string{"ssl.truststore.certificates": "x"}, "no certificate"},
		{map[string]string{"ssl.enabled.protocols": "SSLv3"}, "TLSv1.2"},
		{map[string]string{"ssl.protocol": "SSLv3"}, "TLSv1.2"},
		{map[string]string{"ssl.endpoint.identification.algorithm": "ldap"}, "https or empty"},
	} {
		_, err := tlsConfig(c.p)
		require.ErrorContains(t, err, c.want)
	}
}

func FuzzProperties(f *testing.F) {
	f.Add("a=b\\\n c\n# x\nd:\\u0041")
	f.Add("\\")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := properties.Parse(s)
		if err == nil {
			_, _ = New(p)
		}
	})
}

func FuzzParseJAAS(f *testing.F) {
	f.Add(`M required a="b\"c" d=e;`)
	f.Fuzz(func(t *testing.T, s string) {
		if j, err := ParseJAAS(s); err == nil {
			require.NotEmpty(t, j.Module)
		}
	})
}
