package security

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
	"software.sslmate.com/src/go-pkcs12"
)

// maxStoreBytes bounds the file of a key or trust store.
const maxStoreBytes = 16 << 20

// readStore reads a store's file.
func readStore(key, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, invalid(key, path, "%s", err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxStoreBytes+1))
	if err != nil {
		return nil, invalid(key, path, "%s", err)
	}
	if len(b) > maxStoreBytes {
		return nil, invalid(key, path, "it has more than %d bytes", maxStoreBytes)
	}
	return b, nil
}

// jksMagic begins a JKS file. Java takes PKCS12 for type JKS too, and so do we.
var jksMagic = []byte{0xfe, 0xed, 0xfe, 0xed}

// keyStore reads the listener's certificate and private key.
func (l *Listener) keyStore() (tls.Certificate, error) {
	const locationKey = "ssl.keystore.location"
	path, kind := l.get(locationKey), strings.ToUpper(l.get("ssl.keystore.type"))
	key, chain := l.get("ssl.keystore.key"), l.get("ssl.keystore.certificate.chain")
	password, keyPassword := l.secret("ssl.keystore.password"), l.secret("ssl.key.password")
	switch {
	case path == "" && key == "" && chain == "":
		return tls.Certificate{}, invalid(locationKey, "null", "a listener with TLS needs a key store, or ssl.keystore.key and ssl.keystore.certificate.chain with type PEM")
	case kind == "PEM" && path == "":
		if key == "" || chain == "" {
			return tls.Certificate{}, invalid("ssl.keystore.key", hidden, "ssl.keystore.key and ssl.keystore.certificate.chain go together")
		}
		cert, err := pemPair([]byte(chain), []byte(key), keyPassword)
		if err != nil {
			return cert, invalid("ssl.keystore.key", hidden, "%s", err)
		}
		return cert, nil
	case path == "":
		return tls.Certificate{}, invalid("ssl.keystore.type", kind, "ssl.keystore.key is for type PEM")
	case key != "" || chain != "":
		return tls.Certificate{}, invalid(locationKey, path, "both a file and ssl.keystore.key or ssl.keystore.certificate.chain are set")
	}
	data, err := readStore(locationKey, path)
	if err != nil {
		return tls.Certificate{}, err
	}
	var cert tls.Certificate
	switch {
	case kind == "PEM":
		if password != "" {
			return cert, invalid("ssl.keystore.password", hidden, "a PEM key store has none; the key's password is ssl.key.password")
		}
		cert, err = pemPair(data, data, keyPassword)
	case kind != "JKS" && kind != "PKCS12":
		return cert, invalid("ssl.keystore.type", kind, "moldau reads JKS, PKCS12 and PEM")
	case bytes.HasPrefix(data, jksMagic):
		cert, err = jksPair(data, password, keyPassword)
	default:
		cert, err = pkcs12Pair(data, password)
	}
	if err != nil {
		return cert, invalid(locationKey, path, "%s", err)
	}
	return cert, nil
}

// secret is a property whose spaces count.
func (l *Listener) secret(key string) string {
	v, _ := l.opts.Lookup("", key)
	return v
}

// finish checks that key and certificate belong together.
func finish(chain []*x509.Certificate, key crypto.PrivateKey) (tls.Certificate, error) {
	if len(chain) == 0 {
		return tls.Certificate{}, errors.New("it holds no certificate")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return tls.Certificate{}, fmt.Errorf("the key's type %T is not supported", key)
	}
	type publicKey interface{ Equal(crypto.PublicKey) bool }
	if pub, ok := chain[0].PublicKey.(publicKey); !ok || !pub.Equal(signer.Public()) {
		return tls.Certificate{}, errors.New("the private key does not belong to the first certificate")
	}
	switch key.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
	default:
		return tls.Certificate{}, fmt.Errorf("the key's type %T is not supported", key)
	}
	c := tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, x := range chain {
		c.Certificate = append(c.Certificate, x.Raw)
	}
	return c, nil
}

func pemPair(chain, key []byte, password string) (tls.Certificate, error) {
	certs, err := pemCertificates(chain)
	if err != nil {
		return tls.Certificate{}, err
	}
	k, err := pemKey(key, password)
	if err != nil {
		return tls.Certificate{}, err
	}
	return finish(certs, k)
}

func pemCertificates(b []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(out)+1, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("it holds no PEM certificate")
	}
	return out, nil
}

func pemKey(b []byte, password string) (crypto.PrivateKey, error) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return nil, errors.New("it holds no PEM private key")
		}
		switch block.Type {
		case "PRIVATE KEY":
			return x509.ParsePKCS8PrivateKey(block.Bytes)
		case "ENCRYPTED PRIVATE KEY":
			if password == "" {
				return nil, errors.New("the private key is encrypted: set ssl.key.password")
			}
			der, err := decryptPKCS8(block.Bytes, password)
			if err != nil {
				return nil, err
			}
			return x509.ParsePKCS8PrivateKey(der)
		case "RSA PRIVATE KEY":
			return x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			return x509.ParseECPrivateKey(block.Bytes)
		}
	}
}

func pkcs12Pair(data []byte, password string) (tls.Certificate, error) {
	key, leaf, cas, err := pkcs12.DecodeChain(data, password)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read PKCS12: %w", err)
	}
	return finish(append([]*x509.Certificate{leaf}, cas...), key)
}

func jksPair(data []byte, password, keyPassword string) (tls.Certificate, error) {
	ks := keystore.New(keystore.WithOrderedAliases())
	if err := ks.Load(bytes.NewReader(data), []byte(password)); err != nil {
		return tls.Certificate{}, fmt.Errorf("read JKS: %w", err)
	}
	if keyPassword == "" {
		keyPassword = password
	}
	for _, alias := range ks.Aliases() {
		if !ks.IsPrivateKeyEntry(alias) {
			continue
		}
		e, err := ks.GetPrivateKeyEntry(alias, []byte(keyPassword))
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("read the key %q: %w", alias, err)
		}
		key, err := x509.ParsePKCS8PrivateKey(e.PrivateKey)
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("read the key %q: %w", alias, err)
		}
		var chain []*x509.Certificate
		for _, c := range e.CertificateChain {
			x, err := x509.ParseCertificate(c.Content)
			if err != nil {
				return tls.Certificate{}, fmt.Errorf("read the certificate of %q: %w", alias, err)
			}
			chain = append(chain, x)
		}
		return finish(chain, key)
	}
	return tls.Certificate{}, errors.New("it holds no private key")
}

// trustStore reads what clients' certificates are trusted by; nil for the system's.
func (l *Listener) trustStore() (*x509.CertPool, error) {
	const locationKey = "ssl.truststore.location"
	path, kind := l.get(locationKey), strings.ToUpper(l.get("ssl.truststore.type"))
	inline, password := l.get("ssl.truststore.certificates"), l.secret("ssl.truststore.password")
	if path == "" && inline == "" {
		return nil, nil
	}
	key, data := "ssl.truststore.certificates", []byte(inline)
	switch {
	case path != "" && inline != "":
		return nil, invalid(locationKey, path, "both a file and ssl.truststore.certificates are set")
	case inline != "" && kind != "PEM":
		return nil, invalid("ssl.truststore.type", kind, "ssl.truststore.certificates is for type PEM")
	case path != "":
		var err error
		key = locationKey
		if data, err = readStore(key, path); err != nil {
			return nil, err
		}
	}
	var certs []*x509.Certificate
	var err error
	switch {
	case kind == "PEM":
		certs, err = pemCertificates(data)
	case kind != "JKS" && kind != "PKCS12":
		return nil, invalid("ssl.truststore.type", kind, "moldau reads JKS, PKCS12 and PEM")
	case bytes.HasPrefix(data, jksMagic):
		certs, err = jksTrusted(data, password)
	default:
		certs, err = pkcs12.DecodeTrustStore(data, password)
	}
	if err == nil && len(certs) == 0 {
		err = errors.New("it holds no trusted certificate")
	}
	if err != nil {
		return nil, invalid(key, path, "%s", err)
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, nil
}

func jksTrusted(data []byte, password string) ([]*x509.Certificate, error) {
	ks := keystore.New(keystore.WithOrderedAliases())
	if err := ks.Load(bytes.NewReader(data), []byte(password)); err != nil {
		return nil, fmt.Errorf("read JKS: %w", err)
	}
	var out []*x509.Certificate
	for _, alias := range slices.Sorted(slices.Values(ks.Aliases())) {
		if !ks.IsTrustedCertificateEntry(alias) {
			continue
		}
		e, err := ks.GetTrustedCertificateEntry(alias)
		if err != nil {
			return nil, fmt.Errorf("read the certificate %q: %w", alias, err)
		}
		c, err := x509.ParseCertificate(e.Certificate.Content)
		if err != nil {
			return nil, fmt.Errorf("read the certificate %q: %w", alias, err)
		}
		out = append(out, c)
	}
	return out, nil
}
