package clientprops

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// securityKeys are the keys that security reads together.
var securityKeys = []string{
	"security.protocol", "sasl.mechanism", "sasl.jaas.config", "sasl.login.callback.handler.class",
	"sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.scope.claim.name", "sasl.oauthbearer.sub.claim.name",
	"sasl.oauthbearer.client.credentials.client.id", "sasl.oauthbearer.client.credentials.client.secret", "sasl.oauthbearer.scope",
	"ssl.protocol", "ssl.enabled.protocols", "ssl.endpoint.identification.algorithm",
	"ssl.truststore.type", "ssl.truststore.location", "ssl.truststore.certificates", "ssl.truststore.password",
	"ssl.keystore.type", "ssl.keystore.location", "ssl.keystore.key", "ssl.keystore.certificate.chain", "ssl.keystore.password", "ssl.key.password",
}

func security(p map[string]string) ([]kgo.Opt, error) {
	protocol := strings.ToUpper(p["security.protocol"])
	var opts []kgo.Opt
	switch protocol {
	case "", "PLAINTEXT", "SASL_PLAINTEXT":
	case "SSL", "SASL_SSL":
		c, err := tlsConfig(p)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(c))
	default:
		return nil, fmt.Errorf("security.protocol: %q must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL", p["security.protocol"])
	}
	if !strings.HasPrefix(protocol, "SASL_") {
		return opts, nil // as in Kafka: sasl.* without a SASL protocol does nothing, ssl.* without SSL neither
	}
	m, err := mechanism(p)
	if err != nil {
		return nil, err
	}
	return append(opts, kgo.SASL(m)), nil
}

func mechanism(p map[string]string) (sasl.Mechanism, error) {
	name := p["sasl.mechanism"]
	if name == "" {
		name = "GSSAPI"
	}
	if p["sasl.jaas.config"] == "" {
		return nil, errors.New(`sasl.jaas.config is not set: give the login, such as org.apache.kafka.common.security.scram.ScramLoginModule required username="..." password="...";`)
	}
	j, err := ParseJAAS(p["sasl.jaas.config"])
	if err != nil {
		return nil, err
	}
	user, password := j.Options["username"], j.Options["password"]
	needUser := func() error {
		if user == "" || j.Options["password"] == "" {
			return fmt.Errorf("sasl.jaas.config: %s needs username and password", name)
		}
		return nil
	}
	switch name {
	case "PLAIN":
		return plain.Auth{User: user, Pass: password}.AsMechanism(), needUser()
	case "SCRAM-SHA-256":
		return scram.Auth{User: user, Pass: password, IsToken: j.Options["tokenauth"] == "true"}.AsSha256Mechanism(), needUser()
	case "SCRAM-SHA-512":
		return scram.Auth{User: user, Pass: password, IsToken: j.Options["tokenauth"] == "true"}.AsSha512Mechanism(), needUser()
	case "OAUTHBEARER":
		return bearer(p, j)
	}
	return nil, fmt.Errorf("sasl.mechanism: %q must be PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER", name)
}

// bearer gets tokens by the client credentials grant, or makes an unsecured one (for development) of unsecuredLoginStringClaim_sub.
func bearer(p map[string]string, j JAAS) (sasl.Mechanism, error) {
	ext := map[string]string{}
	for k, v := range j.Options {
		if name, ok := strings.CutPrefix(k, "extension_"); ok {
			ext[name] = v
		}
	}
	if sub := j.Options["unsecuredLoginStringClaim_sub"]; sub != "" {
		return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
			now := time.Now()
			enc := func(v any) string {
				b, _ := json.Marshal(v)
				return base64.RawURLEncoding.EncodeToString(b)
			}
			token := enc(map[string]string{"alg": "none"}) + "." + enc(map[string]any{"sub": sub, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}) + "."
			return oauth.Auth{Token: token, Extensions: ext}, nil
		}), nil
	}
	first := func(l ...string) string {
		for _, s := range l {
			if s != "" {
				return s
			}
		}
		return ""
	}
	src := &tokens{
		endpoint: p["sasl.oauthbearer.token.endpoint.url"],
		id:       first(p["sasl.oauthbearer.client.credentials.client.id"], j.Options["clientId"]),
		secret:   first(p["sasl.oauthbearer.client.credentials.client.secret"], j.Options["clientSecret"]),
		scope:    first(p["sasl.oauthbearer.scope"], j.Options["scope"]),
	}
	u, err := url.Parse(src.endpoint)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, errors.New("sasl.oauthbearer.token.endpoint.url must be an http or https URL: OAUTHBEARER gets its tokens there")
	}
	if src.id == "" || src.secret == "" {
		return nil, errors.New("OAUTHBEARER needs clientId and clientSecret in sasl.jaas.config, or sasl.oauthbearer.client.credentials.client.id and .secret")
	}
	return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
		t, err := src.get(ctx)
		return oauth.Auth{Token: t, Extensions: ext}, err
	}), nil
}

// tokens caches the token of an endpoint until shortly before it expires.
type tokens struct {
	endpoint, id, secret, scope string

	mu    sync.Mutex
	token string
	until time.Time
}

func (t *tokens) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token != "" && time.Now().Before(t.until) {
		return t.token, nil
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if t.scope != "" {
		form.Set("scope", t.scope)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	req.SetBasicAuth(t.id, t.secret)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("get a token: %w", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("get a token: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("get a token from %s: HTTP %d", t.endpoint, res.StatusCode)
	}
	var a struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
	}
	if err := json.Unmarshal(b, &a); err != nil || a.AccessToken == "" {
		return "", fmt.Errorf("get a token from %s: the answer holds no access_token", t.endpoint)
	}
	t.token, t.until = a.AccessToken, time.Now().Add(time.Duration(a.ExpiresIn*0.8)*time.Second)
	return t.token, nil
}

func tlsConfig(p map[string]string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	versions := map[string]uint16{"TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}
	if v := p["ssl.protocol"]; v != "" && v != "TLS" && versions[v] == 0 {
		return nil, fmt.Errorf("ssl.protocol: %q must be TLSv1.2 or TLSv1.3", v)
	}
	if l := p["ssl.enabled.protocols"]; l != "" {
		c.MinVersion, c.MaxVersion = 0, 0
		for v := range strings.SplitSeq(l, ",") {
			n := versions[strings.TrimSpace(v)]
			if n == 0 {
				return nil, fmt.Errorf("ssl.enabled.protocols: %q must be TLSv1.2 or TLSv1.3", strings.TrimSpace(v))
			}
			if c.MinVersion == 0 || n < c.MinVersion {
				c.MinVersion = n
			}
			c.MaxVersion = max(c.MaxVersion, n)
		}
	}
	roots, err := pemOf(p, "ssl.truststore", "ssl.truststore.certificates")
	if err != nil {
		return nil, err
	}
	if roots != nil {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(roots) {
			return nil, errors.New("the truststore holds no certificate in PEM")
		}
	}
	key, err := pemOf(p, "ssl.keystore", "")
	if err != nil {
		return nil, err
	}
	if p["ssl.keystore.key"] != "" || p["ssl.keystore.certificate.chain"] != "" {
		key = []byte(lines(p["ssl.keystore.key"]) + "\n" + lines(p["ssl.keystore.certificate.chain"]))
	}
	if key != nil {
		if blk, _ := pem.Decode(key); p["ssl.key.password"] != "" || (blk != nil && blk.Type == "ENCRYPTED PRIVATE KEY") {
			return nil, errors.New("ssl.key.password is not supported: keep the key decrypted (openssl pkcs8 -in key.pem -out plain.pem), readable by its owner only")
		}
		cert, err := tls.X509KeyPair(key, key)
		if err != nil {
			return nil, fmt.Errorf("ssl.keystore: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	switch alg, given := p["ssl.endpoint.identification.algorithm"]; {
	case !given || strings.EqualFold(alg, "https"):
	case alg == "":
		// The chain is verified all the same, the name is not: what the empty value means in Kafka.
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(s tls.ConnectionState) error {
			o := x509.VerifyOptions{Roots: c.RootCAs, Intermediates: x509.NewCertPool()}
			for _, cert := range s.PeerCertificates[1:] {
				o.Intermediates.AddCert(cert)
			}
			_, err := s.PeerCertificates[0].Verify(o)
			return err
		}
	default:
		return nil, fmt.Errorf("ssl.endpoint.identification.algorithm: %q must be https or empty", alg)
	}
	return c, nil
}

// pemOf reads a store in PEM, from a file or inline; nil when it is not set.
func pemOf(p map[string]string, store, inline string) ([]byte, error) {
	if inline != "" && p[inline] != "" {
		return []byte(lines(p[inline])), nil
	}
	path := p[store+".location"]
	if path == "" {
		return nil, nil
	}
	if t := strings.ToUpper(p[store+".type"]); t != "PEM" {
		if t == "" {
			t = "JKS"
		}
		return nil, fmt.Errorf("%s.type: %s is a Java format: set it to PEM and convert the file (keytool -exportcert -rfc, or openssl pkcs12 -in store.p12 -nodes -out store.pem)", store, t)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s.location: %w", store, err)
	}
	return b, nil
}

// oneLine is a PEM block whose line breaks became blanks.
var oneLine = regexp.MustCompile(`(-----BEGIN [A-Z0-9 ]+-----)([A-Za-z0-9+/=\s]*)(-----END [A-Z0-9 ]+-----)`)

// lines restores PEM blocks that were written on one line, as properties files often hold them.
func lines(s string) string {
	return oneLine.ReplaceAllStringFunc(s, func(block string) string {
		m := oneLine.FindStringSubmatch(block)
		return m[1] + "\n" + strings.Join(strings.Fields(m[2]), "\n") + "\n" + m[3] + "\n"
	})
}
