package broker_test

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/security/securitytest"
)

// setConfigs alters this broker's configs: "key=value" sets, "key" deletes. It returns the code and the text.
func setConfigs(t *testing.T, cl *kgo.Client, name string, changes ...string) (int16, string) {
	t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, name
	for _, s := range changes {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		key, value, set := strings.Cut(s, "=")
		if c.Name, c.Op = key, kmsg.IncrementalAlterConfigOpDelete; set {
			c.Op, c.Value = kmsg.IncrementalAlterConfigOpSet, &value
		}
		r.Configs = append(r.Configs, c)
	}
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctxOf(t), cl)
	require.NoError(t, err)
	text := ""
	if m := resp.Resources[0].ErrorMessage; m != nil {
		text = *m
	}
	return resp.Resources[0].ErrorCode, text
}

// TestKeyStoresOfRunningListenersCanBeSet: as in Apache Kafka 4.3.1 (KIP-226), whose texts these are.
func TestKeyStoresOfRunningListenersCanBeSet(t *testing.T) {
	ca, dir := securitytest.NewCA(t), t.TempDir()
	issue := func(name, cn, kind string) (path, serial string) {
		pair := ca.Issue(t, pkix.Name{CommonName: cn})
		return securitytest.Write(t, filepath.Join(dir, name), pair.KeyStore(t, kind)), pair.Cert.SerialNumber.String()
	}
	first, firstSerial := issue("first.pem", "broker", "PEM")
	second, secondSerial := issue("second.p12", "broker", "PKCS12")
	stranger, _ := issue("stranger.pem", "somebody", "PEM")
	c := brokertest.Start(t, withAll(map[string]string{
		"listeners": "SSL://127.0.0.1:0,PLAINTEXT://127.0.0.1:0", "inter.broker.listener.name": "PLAINTEXT", "ssl.keystore.location": first, "ssl.keystore.type": "PEM",
	})...)
	cl := c.Client(t, dialTLS(&tls.Config{RootCAs: ca.Pool()}))
	shown := func() string {
		conn, err := tls.Dial("tcp", c.Addr(), &tls.Config{RootCAs: ca.Pool()})
		require.NoError(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	const l = "listener.name.ssl."
	require.Equal(t, firstSerial, shown())
	refused := func(want, broker string, changes ...string) {
		t.Helper()
		code, text := setConfigs(t, cl, broker, changes...)
		require.Equal(t, kerr.InvalidRequest.Code, code, text)
		require.Contains(t, text, want)
		require.Equal(t, firstSerial, shown())
	}
	const failed = "Invalid value org.apache.kafka.common.config.ConfigException: Validation of dynamic config update of SSLFactory failed: "
	refused(failed, "1", l+"ssl.keystore.location="+filepath.Join(dir, "nothing.pem"))
	refused(failed, "1", l+"ssl.keystore.location="+second)
	refused(failed, "1", l+"ssl.keystore.location="+second, l+"ssl.keystore.type=PKCS12", l+"ssl.keystore.password=wrong")
	refused(failed+"Keystore DistinguishedName does not match", "1", l+"ssl.keystore.location="+stranger)
	refused("Cannot update these configs at default cluster level, broker id must be specified: [listener.name.ssl.ssl.keystore.location]", "", l+"ssl.keystore.location="+second)
	refused("These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.location]", "1", "ssl.keystore.location="+second)
	refused("Cannot update these configs dynamically: [listener.name.ssl.ssl.client.auth]", "1", l+"ssl.client.auth=required")
	refused("this broker has no such listener", "1", "listener.name.nope.ssl.keystore.location="+second)
	refused("the listener PLAINTEXT has no TLS", "1", "listener.name.plaintext.ssl.keystore.location="+second)

	code, text := setConfigs(t, cl, "1", l+"ssl.keystore.location="+second, l+"ssl.keystore.type=PKCS12", l+"ssl.keystore.password="+securitytest.Password)
	require.Zero(t, code, text)
	require.Equal(t, secondSerial, shown(), "handshakes after the answer see it")
	require.NoError(t, cl.Ping(ctxOf(t)), "connections stay")

	d := kmsg.NewPtrDescribeConfigsRequest()
	d.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1", ConfigNames: []string{l + "ssl.keystore.location", l + "ssl.keystore.password"}}}
	described, err := d.RequestWith(ctxOf(t), cl)
	require.NoError(t, err)
	configs := described.Resources[0].Configs
	require.Len(t, configs, 2)
	require.Equal(t, second, *configs[0].Value)
	require.Equal(t, kmsg.ConfigSourceDynamicBrokerConfig, configs[0].Source)
	require.Nil(t, configs[1].Value, "a password is never shown")
	require.True(t, configs[1].IsSensitive)

	c.Restart(t)
	require.Equal(t, secondSerial, shown(), "it is the metadata's")
	cl = c.Client(t, dialTLS(&tls.Config{RootCAs: ca.Pool()}))
	code, text = setConfigs(t, cl, "1", l+"ssl.keystore.location", l+"ssl.keystore.type", l+"ssl.keystore.password")
	require.Zero(t, code, text)
	require.Equal(t, firstSerial, shown(), "that of the file is back")
}
