package broker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	saslmech "github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// saslCluster runs a broker with PLAIN and SCRAM users, and alice as the super user.
func saslCluster(t testing.TB, opts ...brokertest.Option) *brokertest.Cluster {
	t.Helper()
	return brokertest.Start(t, append([]brokertest.Option{
		brokertest.With("listeners", "SASL_PLAINTEXT://127.0.0.1:0"),
		brokertest.With("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"),
		brokertest.With("listener.name.sasl_plaintext.plain.sasl.jaas.config", `org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="alice-secret" user_bob="bob-secret";`),
		brokertest.With("scram.bootstrap.credentials", "SCRAM-SHA-256=[name=carol,password=carol-secret];SCRAM-SHA-512=[name=dave,password=dave-secret]"),
		brokertest.With("super.users", "User:alice"),
		brokertest.With("connection.failed.authentication.delay.ms", "10"),
	}, opts...)...)
}

func plainAuth(user, pass string) saslmech.Mechanism {
	return plain.Auth{User: user, Pass: pass}.AsMechanism()
}

func scram256(user, pass string) saslmech.Mechanism {
	return scram.Auth{User: user, Pass: pass}.AsSha256Mechanism()
}

func scram512(user, pass string) saslmech.Mechanism {
	return scram.Auth{User: user, Pass: pass}.AsSha512Mechanism()
}

// as is a client that authenticates.
func as(t testing.TB, c *brokertest.Cluster, m saslmech.Mechanism, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	return c.Client(t, append([]kgo.Opt{kgo.SASL(m), kgo.RetryTimeout(3 * time.Second)}, opts...)...)
}

func adminAs(t testing.TB, c *brokertest.Cluster, m saslmech.Mechanism) *kadm.Client {
	t.Helper()
	return kadm.NewClient(as(t, c, m))
}

func ctxOf(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestClientsAuthenticateAndUseTheLog(t *testing.T) {
	c := saslCluster(t)
	for name, m := range map[string]saslmech.Mechanism{
		"plain": plainAuth("bob", "bob-secret"), "scram256": scram256("carol", "carol-secret"), "scram512": scram512("dave", "dave-secret"),
	} {
		t.Run(name, func(t *testing.T) {
			topic := "sasl-" + name
			ctx := ctxOf(t)
			_, err := adminAs(t, c, m).CreateTopic(ctx, 1, 1, nil, topic)
			require.NoError(t, err)
			cl := as(t, c, m, kgo.ConsumeTopics(topic))
			require.NoError(t, cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("hello")}).FirstErr())
			f := cl.PollFetches(ctx)
			require.NoError(t, f.Err())
			require.Equal(t, "hello", string(f.Records()[0].Value))
		})
	}
}

func TestWrongCredentialsGetKafkasTexts(t *testing.T) {
	c := saslCluster(t)
	for name, tt := range map[string]struct {
		m    saslmech.Mechanism
		text string
	}{
		"plain, wrong password":     {plainAuth("bob", "wrong"), "Authentication failed: Invalid username or password"},
		"plain, no such user":       {plainAuth("nobody", "wrong"), "Authentication failed: Invalid username or password"},
		"scram 256, wrong password": {scram256("carol", "wrong"), "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256"},
		"scram 256, no such user":   {scram256("nobody", "wrong"), "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256"},
		"scram 512, other hash":     {scram512("carol", "carol-secret"), "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512"},
		"plain, other authzid":      {plain.Auth{Zid: "alice", User: "bob", Pass: "bob-secret"}.AsMechanism(), "Authentication failed: Client requested an authorization id that is different from username"},
	} {
		t.Run(name, func(t *testing.T) {
			err := as(t, c, tt.m).Ping(ctxOf(t))
			require.ErrorIs(t, err, kerr.SaslAuthenticationFailed)
			require.ErrorContains(t, err, tt.text)
		})
	}
}
