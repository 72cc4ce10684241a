package broker_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/oauth"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/security/securitytest"
)

func withAll(props map[string]string) []brokertest.Option {
	var out []brokertest.Option
	for k, v := range props {
		out = append(out, brokertest.With(k, v))
	}
	return out
}

func dialTLS(cfg *tls.Config) kgo.Opt {
	return kgo.Dialer((&tls.Dialer{Config: cfg}).DialContext)
}

func TestClientsOfTLS(t *testing.T) {
	ca := securitytest.NewCA(t)
	props := ca.Issue(t, pkix.Name{CommonName: "broker"}).Files(t, t.TempDir(), "PKCS12")
	props["listeners"] = "SSL://127.0.0.1:0"
	c := brokertest.Start(t, withAll(props)...)
	cl := c.Client(t, dialTLS(&tls.Config{RootCAs: ca.Pool()}), kgo.ConsumeTopics("t"), kgo.AllowAutoTopicCreation())
	ctx := ctxOf(t)
	value := bytes.Repeat([]byte("0123456789"), 50_000) // many TLS records
	require.NoError(t, cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: value}).FirstErr())
	require.Equal(t, value, cl.PollFetches(ctx).Records()[0].Value)
	require.Error(t, c.Client(t, kgo.RetryTimeout(time.Second)).Ping(ctx), "without TLS")
	require.Error(t, c.Client(t, kgo.RetryTimeout(time.Second), dialTLS(&tls.Config{RootCAs: securitytest.NewCA(t).Pool()})).Ping(ctx))
}

func TestPrincipalsOfCertificates(t *testing.T) {
	ca := securitytest.NewCA(t)
	props := ca.Issue(t, pkix.Name{CommonName: "broker"}).Files(t, t.TempDir(), "JKS")
	props["listeners"], props["ssl.client.auth"] = "SSL://127.0.0.1:0", "required"
	props["ssl.principal.mapping.rules"] = `RULE:^CN=([^,]+).*$/$1/L`
	props["authorizer.class.name"], props["super.users"] = authorizer, "User:root"
	c := brokertest.Start(t, withAll(props)...)
	client := func(name string) *kgo.Client {
		pair := ca.Issue(t, pkix.Name{CommonName: name, OrganizationalUnit: []string{"x"}}).TLS()
		return c.Client(t, dialTLS(&tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{pair}}), kgo.RetryTimeout(3*time.Second))
	}
	ctx := ctxOf(t)
	created, err := kadm.NewClient(client("ROOT")).CreateTopics(ctx, 1, 1, nil, "t")
	require.NoError(t, err)
	require.NoError(t, created["t"].Err)
	created, err = kadm.NewClient(client("bob")).CreateTopics(ctx, 1, 1, nil, "u")
	require.NoError(t, err)
	require.ErrorIs(t, created["u"].Err, kerr.TopicAuthorizationFailed)
	require.Error(t, c.Client(t, dialTLS(&tls.Config{RootCAs: ca.Pool()}), kgo.RetryTimeout(time.Second)).Ping(ctx), "without a certificate")
}

func TestANewCertificateIsServedWithoutARestart(t *testing.T) {
	ca := securitytest.NewCA(t)
	dir := t.TempDir()
	props := ca.Issue(t, pkix.Name{CommonName: "broker"}).Files(t, dir, "PEM")
	props["listeners"] = "SSL://127.0.0.1:0"
	c := brokertest.Start(t, withAll(props)...)
	served := func() string {
		conn, err := tls.Dial("tcp", c.Addr(), &tls.Config{RootCAs: ca.Pool()})
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	old := served()
	open := c.Client(t, dialTLS(&tls.Config{RootCAs: ca.Pool()}))
	require.NoError(t, open.Ping(ctxOf(t)))
	ca.Issue(t, pkix.Name{CommonName: "broker"}).Files(t, dir, "PEM")
	require.Eventually(t, func() bool { return served() != old }, 10*time.Second, 50*time.Millisecond)
	require.NoError(t, open.Ping(ctxOf(t)), "connections live on")
}

func TestTokensOfAnIssuer(t *testing.T) {
	is := securitytest.NewIssuer(t)
	c := brokertest.Start(t, withAll(map[string]string{
		"listeners": "SASL_PLAINTEXT://127.0.0.1:0", "sasl.enabled.mechanisms": "OAUTHBEARER", "sasl.oauthbearer.jwks.endpoint.url": is.URL,
		"sasl.oauthbearer.expected.issuer": "https://issuer", "sasl.oauthbearer.expected.audience": "kafka", "connection.failed.authentication.delay.ms": "1",
		"listener.name.sasl_plaintext.oauthbearer.sasl.jaas.config": "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required ;",
		"authorizer.class.name": authorizer, "super.users": "User:alice",
	})...)
	ctx := ctxOf(t)
	client := func(change map[string]any) *kgo.Client {
		return c.Client(t, kgo.SASL(oauth.Auth{Token: is.Token(t, change)}.AsMechanism()), kgo.RetryTimeout(3*time.Second))
	}
	created, err := kadm.NewClient(client(nil)).CreateTopics(ctx, 1, 1, nil, "t")
	require.NoError(t, err)
	require.NoError(t, created["t"].Err)
	created, err = kadm.NewClient(client(map[string]any{"sub": "bob"})).CreateTopics(ctx, 1, 1, nil, "u")
	require.NoError(t, err)
	require.ErrorIs(t, created["u"].Err, kerr.TopicAuthorizationFailed)
	require.Error(t, client(map[string]any{"aud": "web"}).Ping(ctx))

	// A connection ends with its token: kgo authenticates again in time.
	short := c.Client(t, kgo.SASL(oauth.Oauth(func(context.Context) (oauth.Auth, error) {
		return oauth.Auth{Token: is.Token(t, map[string]any{"exp": time.Now().Add(3 * time.Second).Unix()})}, nil
	})))
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		require.NoError(t, short.Ping(ctx))
	}
}

// rawSASL speaks to the broker frame by frame.
type rawSASL struct {
	t  *testing.T
	nc net.Conn
}

func rawConn(t *testing.T, c *brokertest.Cluster) *rawSASL {
	t.Helper()
	nc, err := net.Dial("tcp", c.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(15*time.Second)))
	return &rawSASL{t, nc}
}

// send sends a request and, when resp is not nil, reads its answer. The error is that of the connection.
func (r *rawSASL) send(req kmsg.Request, resp kmsg.Response) error {
	r.t.Helper()
	resp.SetVersion(req.GetVersion())
	_, err := r.nc.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("raw")).AppendRequest(nil, req, 7))
	if err != nil {
		return err
	}
	body, err := r.frame()
	if err != nil {
		return err
	}
	skip := 4
	if resp.IsFlexible() && resp.Key() != 18 {
		skip++
	}
	return resp.ReadFrom(body[skip:])
}

func (r *rawSASL) frame() ([]byte, error) {
	var size [4]byte
	if _, err := fullRead(r.nc, size[:]); err != nil {
		return nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := fullRead(r.nc, body)
	return body, err
}

func fullRead(c net.Conn, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		k, err := c.Read(b[n:])
		if n += k; err != nil {
			return n, err
		}
	}
	return n, nil
}

func (r *rawSASL) handshake(version int16, mechanism string) *kmsg.SASLHandshakeResponse {
	r.t.Helper()
	req, resp := kmsg.NewPtrSASLHandshakeRequest(), kmsg.NewPtrSASLHandshakeResponse()
	req.Version, req.Mechanism = version, mechanism
	require.NoError(r.t, r.send(req, resp))
	return resp
}

func (r *rawSASL) authenticate(version int16, token string) *kmsg.SASLAuthenticateResponse {
	r.t.Helper()
	req, resp := kmsg.NewPtrSASLAuthenticateRequest(), kmsg.NewPtrSASLAuthenticateResponse()
	req.Version, req.SASLAuthBytes = version, []byte(token)
	require.NoError(r.t, r.send(req, resp))
	return resp
}

func TestSaslTranscripts(t *testing.T) {
	c := saslCluster(t, brokertest.With("connections.max.reauth.ms", "60000"))
	metadataAnswers := func(r *rawSASL) error {
		req, resp := kmsg.NewPtrMetadataRequest(), kmsg.NewPtrMetadataResponse()
		req.Version = 9
		return r.send(req, resp)
	}
	t.Run("a mechanism that is not there is told what is, and closed", func(t *testing.T) {
		r := rawConn(t, c)
		resp := r.handshake(1, "GSSAPI")
		require.Equal(t, kerr.UnsupportedSaslMechanism.Code, resp.ErrorCode)
		require.Equal(t, []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}, resp.SupportedMechanisms)
		_, err := r.frame()
		require.Error(t, err)
	})
	t.Run("nothing else is answered before", func(t *testing.T) {
		require.Error(t, metadataAnswers(rawConn(t, c)))
		r := rawConn(t, c)
		r.handshake(1, "PLAIN")
		groups, resp := kmsg.NewPtrListGroupsRequest(), kmsg.NewPtrListGroupsResponse()
		groups.Version = 2
		require.NoError(t, r.send(groups, resp))
		require.Equal(t, kerr.IllegalSaslState.Code, resp.ErrorCode)
		_, err := r.frame()
		require.Error(t, err)
	})
	t.Run("versions first, then authentication, then work", func(t *testing.T) {
		r := rawConn(t, c)
		v := kmsg.NewPtrApiVersionsResponse()
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 3, "x", "1"
		require.NoError(t, r.send(req, v))
		require.Zero(t, r.handshake(1, "PLAIN").ErrorCode)
		a := r.authenticate(2, "\x00bob\x00bob-secret")
		require.Zero(t, a.ErrorCode)
		require.Equal(t, int64(60_000), a.SessionLifetimeMillis)
		require.NoError(t, metadataAnswers(r))
	})
	t.Run("version 0 sends bare tokens", func(t *testing.T) {
		r := rawConn(t, c)
		require.Zero(t, r.handshake(0, "PLAIN").ErrorCode)
		token := "\x00bob\x00bob-secret"
		_, err := r.nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...))
		require.NoError(t, err)
		answer, err := r.frame()
		require.NoError(t, err)
		require.Empty(t, answer)
		require.NoError(t, metadataAnswers(r))
	})
	t.Run("version 0 is closed without an answer", func(t *testing.T) {
		r := rawConn(t, c)
		r.handshake(0, "PLAIN")
		_, err := r.nc.Write([]byte{0, 0, 0, 3, 0, 'a', 0})
		require.NoError(t, err)
		_, err = r.frame()
		require.Error(t, err)
	})
	t.Run("again as the same, not as another, not with another mechanism", func(t *testing.T) {
		r := rawConn(t, c)
		r.handshake(1, "PLAIN")
		r.authenticate(2, "\x00bob\x00bob-secret")
		r.handshake(1, "PLAIN")
		require.Zero(t, r.authenticate(2, "\x00bob\x00bob-secret").ErrorCode)
		require.NoError(t, metadataAnswers(r))
		r.handshake(1, "PLAIN")
		a := r.authenticate(2, "\x00alice\x00alice-secret")
		require.Equal(t, kerr.SaslAuthenticationFailed.Code, a.ErrorCode)
		require.Equal(t, "Cannot change principals during re-authentication from User.bob: User.alice", *a.ErrorMessage)

		r = rawConn(t, c)
		r.handshake(1, "PLAIN")
		r.authenticate(2, "\x00bob\x00bob-secret")
		require.Zero(t, r.handshake(1, "SCRAM-SHA-256").ErrorCode)
		a = r.authenticate(2, "x")
		require.Equal(t, "SASL mechanism 'SCRAM-SHA-256' requested by client is not supported for re-authentication of mechanism 'PLAIN'", *a.ErrorMessage)
	})
	t.Run("again with a mechanism that is not there", func(t *testing.T) {
		r := rawConn(t, c)
		r.handshake(1, "PLAIN")
		require.Empty(t, *r.authenticate(2, "\x00bob\x00bob-secret").ErrorMessage)
		require.Equal(t, kerr.UnsupportedSaslMechanism.Code, r.handshake(1, "GSSAPI").ErrorCode)
		_, err := r.frame()
		require.Error(t, err)
	})
	t.Run("a huge frame before authentication ends the connection at once", func(t *testing.T) {
		for _, size := range []uint32{1<<31 - 1, 512<<10 + 1} {
			r := rawConn(t, c)
			_, err := r.nc.Write(binary.BigEndian.AppendUint32(nil, size))
			require.NoError(t, err)
			_, err = r.frame()
			require.Error(t, err)
			require.False(t, os.IsTimeout(err))
		}
	})
	t.Run("without authentication a handshake is out of place", func(t *testing.T) {
		r := rawConn(t, brokertest.Start(t))
		require.Equal(t, kerr.IllegalSaslState.Code, r.handshake(1, "PLAIN").ErrorCode)
		require.Equal(t, kerr.IllegalSaslState.Code, r.authenticate(1, "x").ErrorCode)
	})
}

func TestSessionsThatAreOverAreClosed(t *testing.T) {
	c := saslCluster(t, brokertest.With("connections.max.reauth.ms", "500"))
	r := rawConn(t, c)
	r.handshake(1, "PLAIN")
	require.Equal(t, int64(500), r.authenticate(2, "\x00bob\x00bob-secret").SessionLifetimeMillis)
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	require.Eventually(t, func() bool { return r.send(req, kmsg.NewPtrMetadataResponse()) != nil }, 5*time.Second, 100*time.Millisecond)
}

func TestCrowdsOfStrangersDoNotHurtClients(t *testing.T) {
	ca := securitytest.NewCA(t)
	props := ca.Issue(t, pkix.Name{CommonName: "broker"}).Files(t, t.TempDir(), "PEM")
	props["listeners"] = "SASL_SSL://127.0.0.1:0"
	props["sasl.enabled.mechanisms"] = "PLAIN"
	props["listener.name.sasl_ssl.plain.sasl.jaas.config"] = `org.apache.kafka.common.security.plain.PlainLoginModule required user_bob="bob-secret";`
	c := brokertest.Start(t, withAll(props)...)
	cl := c.Client(t, dialTLS(&tls.Config{RootCAs: ca.Pool()}), kgo.SASL(plainAuth("bob", "bob-secret")), kgo.AllowAutoTopicCreation())
	ctx := ctxOf(t)
	require.NoError(t, cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr())

	// Some say nothing, some begin a handshake, some trickle.
	const strangers = 1500
	hello := []byte{22, 3, 1, 2, 0, 1, 0, 1, 0xfc}
	var conns []net.Conn
	for i := range strangers {
		nc, err := net.Dial("tcp", c.Addr())
		require.NoError(t, err)
		conns = append(conns, nc)
		if i%3 > 0 {
			_, _ = nc.Write(hello[:i%len(hello)])
		}
	}
	defer func() {
		for _, nc := range conns {
			_ = nc.Close()
		}
	}()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				_, _ = conns[i%strangers].Write([]byte{0})
			}
		}
	}()
	var worst time.Duration
	for range 50 {
		start := time.Now()
		require.NoError(t, cl.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr())
		worst = max(worst, time.Since(start))
	}
	start := time.Now()
	fresh := c.Client(t, dialTLS(&tls.Config{RootCAs: ca.Pool()}), kgo.SASL(plainAuth("bob", "bob-secret")))
	require.NoError(t, fresh.Ping(ctx), "and new clients come in")
	close(stop)
	wg.Wait()
	t.Logf("%d strangers: the slowest of 50 produce requests took %s, a new client %s", strangers, worst, time.Since(start))
	require.Less(t, worst, 2*time.Second)
}

// kcatPath is kcat, if this machine has it.
func kcatPath(t *testing.T) string {
	p, err := exec.LookPath("kcat")
	if err != nil {
		t.Skip("no kcat on this machine")
	}
	return p
}

func TestKcatAuthenticatesOverTLS(t *testing.T) {
	kcat := kcatPath(t)
	ca := securitytest.NewCA(t)
	dir := t.TempDir()
	props := ca.Issue(t, pkix.Name{CommonName: "broker"}).Files(t, dir, "PEM")
	props["listeners"] = "SASL_SSL://127.0.0.1:0"
	props["sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"
	props["listener.name.sasl_ssl.plain.sasl.jaas.config"] = `org.apache.kafka.common.security.plain.PlainLoginModule required user_bob="bob-secret";`
	props["scram.bootstrap.credentials"] = "SCRAM-SHA-256=[name=bob,password=bob-secret];SCRAM-SHA-512=[name=bob,password=bob-secret]"
	c := brokertest.Start(t, withAll(props)...)
	caFile := securitytest.Write(t, filepath.Join(dir, "ca.pem"), ca.PEM())
	for _, mech := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		run := func(password, stdin string, args ...string) (string, error) {
			all := append([]string{"-b", c.Addr(), "-X", "security.protocol=SASL_SSL", "-X", "ssl.ca.location=" + caFile, "-X", "sasl.mechanism=" + mech, "-X", "sasl.username=bob", "-X", "sasl.password=" + password, "-m", "5"}, args...)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, kcat, all...)
			cmd.Stdin = strings.NewReader(stdin)
			out, err := cmd.CombinedOutput()
			return string(out), err
		}
		topic := fmt.Sprintf("kcat-%s", strings.ToLower(mech))
		out, err := run("bob-secret", "hello\n", "-P", "-t", topic)
		require.NoError(t, err, out)
		out, err = run("bob-secret", "", "-C", "-t", topic, "-e", "-q")
		require.NoError(t, err, out)
		require.Contains(t, out, "hello")
		out, err = run("wrong", "", "-L")
		require.Error(t, err)
		require.Contains(t, out, "Authentication failed", mech)
	}
}
