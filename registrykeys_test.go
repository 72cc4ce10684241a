package moldau

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheRegistrysConnectionHasConfluentsNamesToo(t *testing.T) {
	for _, c := range []struct {
		name     string
		in, want map[string]string
		err      string
	}{
		{name: "addresses", in: map[string]string{"kafkastore.bootstrap.servers": "PLAINTEXT://a:1, plaintext://b:2,c:3", "kafkastore.topic": "t"}, want: map[string]string{"bootstrap.servers": "a:1,b:2,c:3", "kafkastore.topic": "t"}},
		{name: "security", in: map[string]string{"kafkastore.bootstrap.servers": "SASL_SSL://a:1", "kafkastore.security.protocol": "SASL_SSL", "kafkastore.sasl.mechanism": "PLAIN"}, want: map[string]string{"bootstrap.servers": "a:1", "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"}},
		{name: "both, the same", in: map[string]string{"kafkastore.bootstrap.servers": "a:1", "bootstrap.servers": "a:1"}, want: map[string]string{"bootstrap.servers": "a:1"}},
		{name: "both", in: map[string]string{"kafkastore.bootstrap.servers": "a:1", "bootstrap.servers": "b:1"}, err: "keep one of them"},
		{name: "another protocol", in: map[string]string{"kafkastore.bootstrap.servers": "PLAINTEXT://b:1,SSL://a:1"}, err: "SSL://a:1 is not of the protocol PLAINTEXT"},
		{name: "neither", in: map[string]string{"kafkastore.topic": "t", "bootstrap.servers": "a:1"}, want: map[string]string{"kafkastore.topic": "t", "bootstrap.servers": "a:1"}},
		{name: "nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := withoutKafkastore(c.in)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

// TestTheFilesOfKafkaConnectAndTheRegistryAreTaken has the keys and values that Kafka, Connect and Confluent's registry are shipped with, in their format.
func TestTheFilesOfKafkaConnectAndTheRegistryAreTaken(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, []byte(text), 0o600))
		return p
	}
	cfg, err := Load(Sources{Roles: []string{"broker", "controller", "connect", "registry"}, Properties: []string{
		"broker=" + write("server.properties", "# a comment\nprocess.roles=broker,controller\nnode.id=1\nlisteners=PLAINTEXT://:9092,CONTROLLER://:9093\nadvertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093\n"+
			"controller.quorum.bootstrap.servers=localhost:9093\ninter.broker.listener.name=PLAINTEXT\ncontroller.listener.names=CONTROLLER\nnum.network.threads=3\nnum.io.threads=8\nlog.dirs="+filepath.Join(dir, "logs")+"\nnum.partitions=1\n"),
		"connect=" + write("connect-distributed.properties", "bootstrap.servers=localhost:9092\ngroup.id=connect-cluster\nkey.converter=org.apache.kafka.connect.json.JsonConverter\nvalue.converter=org.apache.kafka.connect.json.JsonConverter\n"+
			"key.converter.schemas.enable=true\nvalue.converter.schemas.enable=true\noffset.storage.topic=connect-offsets\noffset.storage.replication.factor=1\nconfig.storage.topic=connect-configs\nconfig.storage.replication.factor=1\n"+
			"status.storage.topic=connect-status\nstatus.storage.replication.factor=1\noffset.flush.interval.ms=10000\nlisteners=HTTP://:8083\n"),
		"registry=" + write("schema-registry.properties", "listeners=http://0.0.0.0:8081\nkafkastore.bootstrap.servers=PLAINTEXT://localhost:9092\nkafkastore.topic=_schemas\ndebug=false\n"),
	}})
	require.NoError(t, err)
	n, err := New(cfg)
	require.NoError(t, err)
	require.Equal(t, "localhost:9092", n.cfg.Registry["bootstrap.servers"])
	require.Equal(t, "connect-offsets", n.cfg.Connect["offset.storage.topic"])
}
