// Package securitytest makes what tests of security need: a certificate authority with certificates in every store format, and an
// issuer of tokens that publishes its keys.
package securitytest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"github.com/stretchr/testify/require"
	"software.sslmate.com/src/go-pkcs12"
)

// Password protects the stores and keys that CA writes.
const Password = "changeit"

// CA is a certificate authority.
type CA struct {
	Cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

var serial atomic.Int64

// NewCA makes an authority.
func NewCA(t testing.TB) *CA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, key.Public(), key)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &CA{Cert: c, key: key}
}

// Pool trusts the authority.
func (ca *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.Cert)
	return p
}

// Pair is a certificate that the authority signed, with its key.
type Pair struct {
	ca   *CA
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// Issue makes a certificate for localhost and 127.0.0.1.
func (ca *CA) Issue(t testing.TB, subject pkix.Name) *Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, ca.Cert, key.Public(), ca.key)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &Pair{ca: ca, Cert: c, Key: key}
}

// TLS is the pair as crypto/tls wants it.
func (p *Pair) TLS() tls.Certificate {
	return tls.Certificate{Certificate: [][]byte{p.Cert.Raw, p.ca.Cert.Raw}, PrivateKey: p.Key, Leaf: p.Cert}
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// ChainPEM and KeyPEM are the parts of a PEM key store.
func (p *Pair) ChainPEM() []byte {
	return append(pemOf("CERTIFICATE", p.Cert.Raw), pemOf("CERTIFICATE", p.ca.Cert.Raw)...)
}

// KeyPEM is the private key in PKCS#8.
func (p *Pair) KeyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	require.NoError(t, err)
	return pemOf("PRIVATE KEY", der)
}

// PEM is the authority's certificate.
func (ca *CA) PEM() []byte { return pemOf("CERTIFICATE", ca.Cert.Raw) }

// Write puts data in a file at once and returns its path.
func Write(t testing.TB, path string, data []byte) string {
	t.Helper()
	tmp := path + ".new"
	require.NoError(t, os.WriteFile(tmp, data, 0o600))
	require.NoError(t, os.Rename(tmp, path))
	return path
}

// KeyStore is the pair as a store of the type PEM, PKCS12 or JKS.
func (p *Pair) KeyStore(t testing.TB, kind string) []byte {
	t.Helper()
	switch kind {
	case "PEM":
		return append(p.KeyPEM(t), p.ChainPEM()...)
	case "PKCS12":
		b, err := pkcs12.Modern.Encode(p.Key, p.Cert, []*x509.Certificate{p.ca.Cert}, Password)
		require.NoError(t, err)
		return b
	}
	der, err := x509.MarshalPKCS8PrivateKey(p.Key)
	require.NoError(t, err)
	ks := keystore.New()
	require.NoError(t, ks.SetPrivateKeyEntry("server", keystore.PrivateKeyEntry{CreationTime: time.Now(), PrivateKey: der, CertificateChain: []keystore.Certificate{
		{Type: "X509", Content: p.Cert.Raw}, {Type: "X509", Content: p.ca.Cert.Raw},
	}}, []byte(Password)))
	var b bytes.Buffer
	require.NoError(t, ks.Store(&b, []byte(Password)))
	return b.Bytes()
}

// TrustStore trusts the authority, as a store of the type PEM, PKCS12 or JKS.
func (ca *CA) TrustStore(t testing.TB, kind string) []byte {
	t.Helper()
	switch kind {
	case "PEM":
		return ca.PEM()
	case "PKCS12":
		b, err := pkcs12.Modern.EncodeTrustStore([]*x509.Certificate{ca.Cert}, Password)
		require.NoError(t, err)
		return b
	}
	ks := keystore.New()
	require.NoError(t, ks.SetTrustedCertificateEntry("ca", keystore.TrustedCertificateEntry{CreationTime: time.Now(), Certificate: keystore.Certificate{Type: "X509", Content: ca.Cert.Raw}}))
	var b bytes.Buffer
	require.NoError(t, ks.Store(&b, []byte(Password)))
	return b.Bytes()
}

// Files writes the stores of a pair into a directory and returns the broker properties that name them.
func (p *Pair) Files(t testing.TB, dir, kind string) map[string]string {
	t.Helper()
	props := map[string]string{
		"ssl.keystore.type": kind, "ssl.keystore.location": Write(t, filepath.Join(dir, "keystore"), p.KeyStore(t, kind)),
		"ssl.truststore.type": kind, "ssl.truststore.location": Write(t, filepath.Join(dir, "truststore"), p.ca.TrustStore(t, kind)),
	}
	if kind != "PEM" {
		props["ssl.keystore.password"], props["ssl.truststore.password"] = Password, Password
	}
	return props
}

// Issuer issues tokens and publishes its keys at URL.
type Issuer struct {
	URL string
	// Fetches counts how often the keys were asked for.
	Fetches atomic.Int64

	mu   sync.Mutex
	kid  string
	key  *rsa.PrivateKey
	keys []map[string]string
}

// NewIssuer runs an issuer until the test ends.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{}
	i.Rotate(t, "key-1")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i.Fetches.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": i.keys})
	}))
	t.Cleanup(srv.Close)
	i.URL = srv.URL
	return i
}

// Rotate makes the issuer sign with a new key, published beside those before.
func (i *Issuer) Rotate(t testing.TB, kid string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.kid, i.key = kid, key
	i.keys = append(i.keys, map[string]string{
		"kty": "RSA", "use": "sig", "kid": kid, "alg": "RS256",
		"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	})
}

// Keys is the key set as it is published.
func (i *Issuer) Keys(t testing.TB) []byte {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	b, err := json.Marshal(map[string]any{"keys": i.keys})
	require.NoError(t, err)
	return b
}

// Token signs claims; those that are nil are left out. Defaults are a valid token for alice.
func (i *Issuer) Token(t testing.TB, change map[string]any) string {
	t.Helper()
	now := time.Now().Unix()
	claims := map[string]any{"iss": "https://issuer", "aud": "kafka", "sub": "alice", "iat": now, "exp": now + 3600, "scope": "a b"}
	for k, v := range change {
		if v == nil {
			delete(claims, k)
		} else {
			claims[k] = v
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.Sign(t, map[string]any{"alg": "RS256", "kid": i.kid, "typ": "JWT"}, claims)
}

// Sign signs header and claims with the current key, whatever the header says.
func (i *Issuer) Sign(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	h, err := json.Marshal(header)
	require.NoError(t, err)
	c, err := json.Marshal(claims)
	require.NoError(t, err)
	signed := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, i.key, crypto.SHA256, sum[:])
	require.NoError(t, err)
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}
