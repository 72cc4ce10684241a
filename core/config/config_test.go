package config

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTopicKeysAreKafkas holds the names, types and defaults of Kafka's 36 topic configs and moldau's one.
func TestTopicKeysAreKafkas(t *testing.T) {
	want := strings.Fields(`
cleanup.policy=delete:LIST compression.gzip.level=-1:INT compression.lz4.level=9:INT compression.type=producer:STRING compression.zstd.level=3:INT
delete.retention.ms=86400000:LONG durability=fsync:STRING errors.deadletterqueue.group.enable=false:BOOLEAN file.delete.delay.ms=60000:LONG
flush.messages=9223372036854775807:LONG flush.ms=9223372036854775807:LONG follower.replication.throttled.replicas=:LIST index.interval.bytes=4096:INT
leader.replication.throttled.replicas=:LIST local.retention.bytes=-2:LONG local.retention.ms=-2:LONG max.compaction.lag.ms=9223372036854775807:LONG
max.message.bytes=1048588:INT message.timestamp.after.max.ms=3600000:LONG message.timestamp.before.max.ms=9223372036854775807:LONG
message.timestamp.type=CreateTime:STRING min.cleanable.dirty.ratio=0.5:DOUBLE min.compaction.lag.ms=0:LONG min.insync.replicas=1:INT
preallocate=false:BOOLEAN remote.copy.lag.bytes=-1:LONG remote.copy.lag.ms=0:LONG remote.log.copy.disable=false:BOOLEAN remote.log.delete.on.disable=false:BOOLEAN
remote.storage.enable=false:BOOLEAN retention.bytes=-1:LONG retention.ms=604800000:LONG segment.bytes=1073741824:INT segment.index.bytes=10485760:INT
segment.jitter.ms=0:LONG segment.ms=604800000:LONG unclean.leader.election.enable=false:BOOLEAN`)
	var got []string
	for _, e := range DescribeTopic(Layers{}, nil) {
		require.Equal(t, SourceDefault, e.Source, e.Name)
		require.False(t, e.ReadOnly || e.Sensitive)
		require.NotEmpty(t, e.Doc)
		got = append(got, fmt.Sprintf("%s=%s:%s", e.Name, *e.Value, e.Type))
	}
	require.Equal(t, want, got)
	require.Len(t, got, 36+1)
}

// TestInvalidTopicConfigsHaveKafkasTexts holds texts that a Kafka 4.3 broker answered.
func TestInvalidTopicConfigsHaveKafkasTexts(t *testing.T) {
	for _, c := range [][3]string{
		{"retention.ms", "x", "Invalid value x for configuration retention.ms: Not a number of type LONG"},
		{"retention.ms", "", "Invalid value  for configuration retention.ms: Not a number of type LONG"},
		{"retention.ms", "9223372036854775808", "Invalid value 9223372036854775808 for configuration retention.ms: Not a number of type LONG"},
		{"segment.bytes", "1024", "Invalid value 1024 for configuration segment.bytes: Value must be at least 1048576"},
		{"segment.bytes", "99999999999", "Invalid value 99999999999 for configuration segment.bytes: Not a number of type INT"},
		{"min.cleanable.dirty.ratio", "2", "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1"},
		{"min.cleanable.dirty.ratio", "abc", "Invalid value abc for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE"},
		{"compression.type", "foo", "Invalid value foo for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
		{"compression.type", "ZSTD", "Invalid value ZSTD for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
		{"compression.zstd.level", "99", "Invalid value 99 for configuration compression.zstd.level: Value must be no more than 22"},
		{"compression.lz4.level", "0", "Invalid value 0 for configuration compression.lz4.level: Value must be at least 1"},
		{"compression.gzip.level", "0", "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1"},
		{"preallocate", "maybe", "Invalid value maybe for configuration preallocate: Expected value to be either true or false"},
		{"message.timestamp.type", "X", "Invalid value X for configuration message.timestamp.type: String must be one of: CreateTime, LogAppendTime"},
		{"cleanup.policy", "none", "Invalid value none for configuration cleanup.policy: String must be one of: compact, delete"},
		{"cleanup.policy", "delete,bad", "Invalid value bad for configuration cleanup.policy: String must be one of: compact, delete"},
		{"leader.replication.throttled.replicas", "x", "Invalid value [x] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."},
		{"local.retention.ms", "-3", "Invalid value -3 for configuration local.retention.ms: Value must be at least -2"},
		{"segment.ms", "0", "Invalid value 0 for configuration segment.ms: Value must be at least 1"},
		{"cleanup.policy", "compact,", "Configuration 'cleanup.policy' values must not be empty."},
		{"cleanup.policy", ",compact", "Configuration 'cleanup.policy' values must not be empty."},
		{"min.cleanable.dirty.ratio", "NaN", "Invalid value NaN for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE"},
		{"nope", "1", "Unknown topic config name: nope"},
		{"durability", "never", "Invalid value never for configuration durability: String must be one of: fsync, os"},
	} {
		require.EqualError(t, ValidateTopic(map[string]string{c[0]: c[1]}), c[2])
	}
	for _, c := range [][2]string{
		{"cleanup.policy", ""}, {"cleanup.policy", "compact,delete"}, {"cleanup.policy", "compact, delete"}, {"cleanup.policy", "delete,delete"},
		{"retention.ms", " 5 "}, {"retention.ms", "-1"}, {"preallocate", "TRUE"}, {"segment.bytes", "1048576"}, {"local.retention.ms", "-2"}, {"durability", "os"},
		{"compression.type", " zstd "}, {"retention.ms", "+5"}, {"retention.bytes", "-5"}, {"leader.replication.throttled.replicas", ""},
	} {
		require.NoError(t, ValidateTopic(map[string]string{c[0]: c[1]}), "%v", c)
	}
}

func TestUnsupportedKeysTakeTheirDefaultOnly(t *testing.T) {
	for _, table := range []*Table{TopicKeys, BrokerKeys, GroupKeys} {
		for _, k := range table.Keys() {
			if k.Unsupported == "" {
				continue
			}
			if k.Default != nil {
				_, err := k.Parse(*k.Default)
				require.NoError(t, err, k.Name)
			}
		}
	}
	for name, value := range map[string]string{"num.io.threads": "9", "ssl.provider": "x", "sasl.kerberos.service.name": "kafka", "remote.log.storage.system.enable": "true", "delegation.token.secret.key": "hunter2"} {
		_, err := ParseBroker(map[string]string{name: value})
		require.ErrorContains(t, err, name)
		require.ErrorContains(t, err, "does not support this configuration yet")
		require.NotContains(t, err.Error(), "hunter2", "secrets are not shown")
	}
}

// TestEverySupportedPropertyIsRead: a property that moldau accepts has a field of Broker or is the default of a topic
// config, so that none is accepted and then forgotten here.
func TestEverySupportedPropertyIsRead(t *testing.T) {
	read := map[string]bool{}
	typ := reflect.TypeFor[Broker]()
	for i := range typ.NumField() {
		if n := typ.Field(i).Tag.Get("config"); n != "" {
			require.NotNil(t, BrokerKeys.Key(n), n)
			require.False(t, read[n], n)
			read[n] = true
		}
	}
	for topic, os := range topicOrigins {
		require.NotNil(t, TopicKeys.Key(topic), topic)
		for _, o := range os {
			require.NotNil(t, BrokerKeys.Key(o.name), o.name)
			read[o.name] = true
		}
	}
	for _, k := range BrokerKeys.Keys() {
		require.NotEmpty(t, k.Doc, k.Name)
		if k.Unsupported == "" {
			// Those of listeners are read by ListenerValue: package core/security has a test that it asks for each.
			require.True(t, read[k.Name] || listenerScoped(k.Name) || k.Name == "security.inter.broker.protocol", "%s is accepted and not read", k.Name)
		} else {
			require.NotContains(t, securityDocs, k.Name)
			require.NotContains(t, brokerDocs, k.Name)
		}
	}
	for n := range brokerDocs {
		require.NotNil(t, BrokerKeys.Key(n), n)
	}
}

func TestBrokerDefaults(t *testing.T) {
	b, err := ParseBroker(nil)
	require.NoError(t, err)
	require.Equal(t, int32(1), b.NodeID)
	require.Equal(t, []string{"broker", "controller"}, b.Roles)
	require.Equal(t, []Endpoint{{Name: "PLAINTEXT", Host: "127.0.0.1", Port: 9092, Protocol: "PLAINTEXT"}}, b.Listeners)
	require.Equal(t, b.Listeners, b.Advertised)
	require.Equal(t, "PLAINTEXT", b.InterBrokerListenerName)
	require.Equal(t, "PLAINTEXT://127.0.0.1:9092", b.Listeners[0].String())
	require.Equal(t, []string{"data"}, b.LogDirs)
	require.True(t, b.AutoCreateTopics)
	require.Equal(t, int32(104857600), b.SocketRequestMaxBytes)
	require.Equal(t, 10*time.Minute, b.ConnectionsMaxIdle)
	require.Equal(t, 3*time.Second, b.GroupInitialRebalanceDelay)
	require.Equal(t, int16(3), b.OffsetsTopicReplication)
	require.Equal(t, int32(math.MaxInt32), b.GroupMaxSize)
	require.Equal(t, "fsync", b.Durability)
	require.Equal(t, time.Second, b.ElectionTimeout)
}

func TestBrokerMistakesAreNamed(t *testing.T) {
	for _, c := range []struct {
		in   map[string]string
		want []string
	}{
		{map[string]string{"num.partition": "1", "nodeid": "x", "num.partitions": "0"}, []string{"Unknown broker config name: num.partition. Did you mean num.partitions?", "Did you mean node.id?", "Invalid value 0 for configuration num.partitions: Value must be at least 1"}},
		{map[string]string{"socket.send.buffer.bytes": "0"}, []string{"Invalid value 0 for configuration socket.send.buffer.bytes: Value must be at least 1, or -1"}},
		{map[string]string{"socket.receive.buffer.bytes": "-2"}, []string{"socket.receive.buffer.bytes"}},
		{map[string]string{"socket.listen.backlog.size": "0"}, []string{"socket.listen.backlog.size", "Value must be at least 1"}},
		{map[string]string{"node.id": "1", "broker.id": "2"}, []string{"You must set `node.id` to the same value as `broker.id`"}},
		{map[string]string{"broker.id": "-2"}, []string{"broker.id"}},
		{map[string]string{"process.roles": "broker"}, []string{"process.roles", "does not split the roles yet"}},
		{map[string]string{"process.roles": "broker,king"}, []string{"String must be one of: broker, controller"}},
		{map[string]string{"controller.quorum.voters": "1@a:1,2@b:1"}, []string{"controller.quorum.voters", "does not support several controllers yet"}},
		{map[string]string{"controller.quorum.voters": "2@b:1"}, []string{"accepts this node (1) only"}},
		{map[string]string{"controller.quorum.voters": "b:1"}, []string{"want id@host:port"}},
		{map[string]string{"log.dirs": "/a,/b", "cordoned.log.dirs": "/c"}, []string{"Missing entries : /c"}},
		{map[string]string{"log.dirs": "", "log.dir": ""}, []string{"log.dirs"}},
		{map[string]string{"log.retention.hours": "0"}, []string{"log.retention.hours must be unlimited (-1) or, greater than or equal to 1"}},
		{map[string]string{"listeners": "PLAINTEXT:9092"}, []string{"want NAME://host:port"}},
		{map[string]string{"listeners": "PLAINTEXT://:99999"}, []string{"not a number up to 65535"}},
		{map[string]string{"listeners": "FOO://:1"}, []string{"No security protocol defined for listener FOO"}},
		{map[string]string{"listeners": "PLAINTEXT://:1,PLAINTEXT://:2"}, []string{"Each listener must have a different name"}},
		{map[string]string{"listeners": "A://:1,B://:1", "listener.security.protocol.map": "A:PLAINTEXT,B:PLAINTEXT"}, []string{"Each listener must have a different port"}},
		{map[string]string{"listeners": ""}, []string{"at least one listener"}},
		{map[string]string{"advertised.listeners": "OTHER://h:1", "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,OTHER:PLAINTEXT"}, []string{"must be equal to or a subset"}},
		{map[string]string{"listeners": "PLAINTEXT://0.0.0.0:1"}, []string{"cannot use the nonroutable meta-address"}},
		{map[string]string{"listener.security.protocol.map": "A"}, []string{"is not NAME:PROTOCOL"}},
		{map[string]string{"listener.security.protocol.map": "A:B"}, []string{"must be one of"}},
		{map[string]string{"inter.broker.listener.name": "X"}, []string{"inter.broker.listener.name"}},
		{map[string]string{"listener.name.internal.ssl.keystore.location": "x"}, []string{"listeners has no listener INTERNAL"}},
		{map[string]string{"listener.name.plaintext.num.partitions": "3"}, []string{"listener.name.plaintext.num.partitions", "no property that a single listener can have"}},
		{map[string]string{"listener.name.plaintext.gssapi.sasl.jaas.config": "x"}, []string{"does not support the SASL mechanism GSSAPI"}},
		{map[string]string{"listener.name.plaintext.sasl.jaas.config": "hunter2"}, []string{"must name its SASL mechanism"}},
		{map[string]string{"sasl.jaas.config": "hunter2"}, []string{"one for each listener and mechanism"}},
		{map[string]string{"listeners": "SASL_PLAINTEXT://127.0.0.1:1"}, []string{"sasl.enabled.mechanisms", "GSSAPI"}},
		{map[string]string{"authorizer.class.name": "kafka.security.authorizer.AclAuthorizer"}, []string{"moldau has one authorizer"}},
		{map[string]string{"sasl.server.callback.handler.class": "com.example.X"}, []string{"cannot load classes"}},
		{map[string]string{"listeners": "SASL_PLAINTEXT://127.0.0.1:1", "sasl.enabled.mechanisms": "PLAIN", "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-256"}, []string{"must be included in sasl.enabled.mechanisms"}},
		{map[string]string{"security.inter.broker.protocol": "SSL"}, []string{"no listener has that protocol"}},
		{map[string]string{"log.cleaner.min.compaction.lag.ms": "9", "log.cleaner.max.compaction.lag.ms": "8"}, []string{"min.compaction.lag.ms (9) > max.compaction.lag.ms (8)"}},
		{map[string]string{"log.cleaner.threads": "0"}, []string{"Invalid value 0 for configuration log.cleaner.threads: Value must be at least 1"}}, // where Kafka says "/ by zero"
		{map[string]string{"log.cleaner.threads": "3", "log.cleaner.dedupe.buffer.size": "3145728"}, []string{"log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread"}},
		{map[string]string{"log.cleaner.dedupe.buffer.size": "1048576"}, []string{"log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread"}},
		{map[string]string{"log.cleaner.io.buffer.size": "1000"}, []string{"log.cleaner.io.buffer.size", "in pieces of one size"}},
	} {
		_, err := ParseBroker(c.in)
		for _, w := range c.want {
			require.ErrorContains(t, err, w, "%v", c.in)
		}
	}
}

// TestKafkasOwnFileIsTaken holds the keys and values of the server.properties that Apache Kafka 4.3 comes with.
func TestKafkasOwnFileIsTaken(t *testing.T) {
	file := map[string]string{
		"process.roles": "broker,controller", "node.id": "1", "controller.quorum.bootstrap.servers": "localhost:9093",
		"listeners": "PLAINTEXT://:9092,CONTROLLER://:9093", "inter.broker.listener.name": "PLAINTEXT",
		"advertised.listeners": "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093", "controller.listener.names": "CONTROLLER",
		"listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL",
		"num.network.threads":            "3", "num.io.threads": "8", "socket.send.buffer.bytes": "102400", "socket.receive.buffer.bytes": "102400", "socket.request.max.bytes": "104857600",
		"log.dirs": "/tmp/kraft-combined-logs", "num.partitions": "1", "num.recovery.threads.per.data.dir": "2",
		"offsets.topic.replication.factor": "1", "share.coordinator.state.topic.replication.factor": "1", "share.coordinator.state.topic.min.isr": "1",
		"transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1",
		"log.retention.hours": "168", "log.segment.bytes": "1073741824", "log.retention.check.interval.ms": "300000",
	}
	b, err := ParseBroker(file)
	require.NoError(t, err)
	require.Equal(t, int16(1), b.ShareStateReplication)
	for name, value := range file {
		e := DescribeBroker(Layers{Static: b.Static}, []string{name})[0]
		require.Equal(t, value, *e.Value, name)
		require.Equal(t, SourceStatic, e.Source, name)
	}
	for servers, want := range map[string]string{
		"127.0.0.1:9093":             "",
		"[::1]:9093,LOCALHOST:9093":  "",
		"localhost:9092":             "addresses of this node's listeners in controller.listener.names (CONTROLLER) only",
		"localhost:9094":             "several controllers",
		"other:9093":                 "several controllers",
		"localhost:9093,other:9093":  "Invalid value other:9093 for configuration controller.quorum.bootstrap.servers",
		"localhost":                  `Failed to parse host name from localhost for the configuration controller.quorum.bootstrap.servers. Each entry should be in the form "{host}:{port}"`,
		"localhost:x":                "Failed to parse host name from localhost:x ",
		":9093":                      "Failed to parse host name from :9093 ",
		"localhost:9093,,[::1]:9093": "Failed to parse host name from  for",
	} {
		file["controller.quorum.bootstrap.servers"] = servers
		_, err := ParseBroker(file)
		if want == "" {
			require.NoError(t, err, servers)
			continue
		}
		require.ErrorContains(t, err, want, servers)
	}
	for listener, servers := range map[string]string{"CONTROLLER://kafka:9093": "kafka:9093", "CONTROLLER://10.0.0.1:9093": "10.0.0.1:9093"} {
		given := map[string]string{"listeners": "PLAINTEXT://kafka:9092," + listener, "controller.listener.names": "CONTROLLER", "controller.quorum.bootstrap.servers": servers}
		_, err := ParseBroker(given)
		require.NoError(t, err, servers)
		given["controller.quorum.bootstrap.servers"] = "localhost:9093"
		_, err = ParseBroker(given)
		require.ErrorContains(t, err, "several controllers", "nothing listens on loopback")
	}
	for name, value := range map[string]string{"share.coordinator.state.topic.min.isr": "0", "share.coordinator.state.topic.num.partitions": "0",
		"share.coordinator.state.topic.replication.factor": "0", "share.coordinator.state.topic.segment.bytes": "0"} {
		_, err := ParseBroker(map[string]string{name: value})
		require.EqualError(t, err, "Invalid value 0 for configuration "+name+": Value must be at least 1")
	}
}

func TestTheCleanersPropertiesAreTaken(t *testing.T) {
	b, err := ParseBroker(map[string]string{"log.cleaner.threads": "3", "log.cleaner.dedupe.buffer.size": "3145731", "log.cleaner.io.max.bytes.per.second": "1e6"})
	require.NoError(t, err)
	require.Equal(t, []any{int32(3), int64(3145731), 1e6}, []any{b.LogCleanerThreads, b.LogCleanerDedupeBufferSize, b.LogCleanerMaxBytesPerSecond})
	_, err = ParseBroker(map[string]string{"log.cleaner.enable": "false", "log.cleaner.dedupe.buffer.size": "0"})
	require.NoError(t, err, "nobody needs it")
}

func TestBrokerListeners(t *testing.T) {
	b, err := ParseBroker(map[string]string{
		"listeners": "internal://[::1]:0, CLIENT://0.0.0.0:9092,CONTROLLER://:9093", "advertised.listeners": "CLIENT://example.org:9092,INTERNAL://a:1",
		"listener.security.protocol.map": "INTERNAL:PLAINTEXT, client:plaintext", "controller.listener.names": "CONTROLLER", "inter.broker.listener.name": "INTERNAL", "broker.id": "0",
		"max.connections.per.ip": " 7 ", "log.cleaner.backoff.ms": "9223372036854775807",
	})
	require.NoError(t, err)
	require.Equal(t, []Endpoint{{"INTERNAL", "::1", 0, "PLAINTEXT"}, {"CLIENT", "0.0.0.0", 9092, "PLAINTEXT"}, {"CONTROLLER", "", 9093, "PLAINTEXT"}}, b.Listeners)
	require.Equal(t, []Endpoint{{"CLIENT", "example.org", 9092, "PLAINTEXT"}, {"INTERNAL", "a", 1, "PLAINTEXT"}}, b.Advertised)
	require.Equal(t, int32(0), b.NodeID)
	require.Equal(t, int32(7), b.MaxConnectionsPerIP)
	require.Positive(t, b.LogCleanerBackoff, "a huge time does not overflow")
}

// TestNodeAndBrokerIDAreOne holds what a Kafka 4.3 broker described that was given one of the two.
func TestNodeAndBrokerIDAreOne(t *testing.T) {
	for _, c := range []struct {
		given map[string]string
		id    string
	}{
		{map[string]string{"node.id": "7"}, "7"},
		{map[string]string{"broker.id": "7"}, "7"},
		{map[string]string{"node.id": "7", "broker.id": "7"}, "7"},
		{nil, "1"},
	} {
		b, err := ParseBroker(c.given)
		require.NoError(t, err, "%v", c.given)
		require.Equal(t, c.id, fmt.Sprint(b.NodeID))
		es := DescribeBroker(Layers{Static: b.Static}, []string{"broker.id", "node.id"})
		require.Equal(t, c.id, *es[0].Value, "%v", c.given)
		require.Equal(t, SourceStatic, es[0].Source)
		require.Equal(t, "broker.id="+c.id+"@4 broker.id=-1@5", synonyms(es[0]))
		require.Equal(t, "node.id="+c.id+"@4", synonyms(es[1]))
	}
	for _, given := range []map[string]string{{"node.id": "1", "broker.id": "-1"}, {"broker.id": "-1"}} {
		_, err := ParseBroker(given)
		require.ErrorContains(t, err, "broker.id", "%v", given)
	}
}

func synonyms(e Entry) string {
	var out []string
	for _, s := range e.Synonyms {
		v := "<nil>"
		if s.Value != nil {
			v = *s.Value
		}
		out = append(out, fmt.Sprintf("%s=%s@%d", s.Name, v, s.Source))
	}
	return strings.Join(out, " ")
}

// TestDescribeFollowsTheLayersAsKafkaDoes holds what a Kafka 4.3 broker answered with these settings.
func TestDescribeFollowsTheLayersAsKafkaDoes(t *testing.T) {
	l := Layers{Static: map[string]string{"log.retention.minutes": "10", "log.retention.hours": "168", "log.roll.hours": "5", "log.flush.scheduler.interval.ms": "1000", "log.segment.bytes": "1073741824"}}
	topic := func(l Layers, name, value string, src Source, syn string) {
		t.Helper()
		e := DescribeTopic(l, []string{name})[0]
		require.Equal(t, value, *e.Value)
		require.Equal(t, src, e.Source)
		require.Equal(t, syn, synonyms(e))
		v, ok := TopicValue(l, name)
		require.True(t, ok)
		require.Equal(t, value, v)
	}
	topic(l, "retention.ms", "600000", 5, "")
	topic(l, "segment.ms", "18000000", 5, "")
	topic(l, "flush.ms", "1000", 5, "")
	topic(l, "segment.jitter.ms", "0", 5, "")
	topic(l, "segment.bytes", "1073741824", 4, "log.segment.bytes=1073741824@4 log.segment.bytes=1073741824@5")
	topic(l, "cleanup.policy", "delete", 5, "log.cleanup.policy=delete@5")
	o := l
	o.Topic = map[string]string{"retention.ms": " 5000 ", "cleanup.policy": "compact, delete", "min.cleanable.dirty.ratio": "0.10", "preallocate": "TRUE", "segment.bytes": "2097152"}
	topic(o, "retention.ms", "5000", 1, "retention.ms=5000@1")
	topic(o, "cleanup.policy", "compact,delete", 1, "cleanup.policy=compact,delete@1 log.cleanup.policy=delete@5")
	topic(o, "min.cleanable.dirty.ratio", "0.1", 1, "min.cleanable.dirty.ratio=0.1@1 log.cleaner.min.cleanable.ratio=0.5@5")
	topic(o, "preallocate", "true", 1, "preallocate=true@1 log.preallocate=false@5")
	topic(o, "segment.bytes", "2097152", 1, "segment.bytes=2097152@1 log.segment.bytes=1073741824@4 log.segment.bytes=1073741824@5")

	d := l
	d.Cluster = map[string]string{"log.retention.ms": "1000000", "log.segment.bytes": "2097152", "compression.type": "zstd", "log.roll.ms": "10000", "log.flush.interval.ms": "77"}
	d.Broker = map[string]string{"log.retention.ms": "2000000", "log.cleanup.policy": "compact"}
	retention := "log.retention.ms=2000000@2 log.retention.ms=1000000@3 log.retention.minutes=10@4 log.retention.hours=168@4 log.retention.hours=168@5"
	flush := "log.flush.interval.ms=77@3 log.flush.scheduler.interval.ms=1000@4 log.flush.scheduler.interval.ms=9223372036854775807@5"
	topic(d, "retention.ms", "2000000", 2, retention)
	topic(d, "compression.type", "zstd", 3, "compression.type=zstd@3 compression.type=producer@5")
	topic(d, "flush.ms", "77", 3, flush)
	topic(d, "segment.ms", "10000", 3, "log.roll.ms=10000@3 log.roll.hours=5@4 log.roll.hours=168@5")
	topic(d, "cleanup.policy", "compact", 2, "log.cleanup.policy=compact@2 log.cleanup.policy=delete@5")

	broker := func(l Layers, name, value string, src Source, readOnly bool, syn string) {
		t.Helper()
		e := DescribeBroker(l, []string{name})[0]
		if value == "<nil>" {
			require.Nil(t, e.Value)
		} else {
			require.Equal(t, value, *e.Value)
		}
		require.Equal(t, src, e.Source)
		require.Equal(t, readOnly, e.ReadOnly)
		require.Equal(t, syn, synonyms(e))
	}
	broker(l, "log.retention.ms", "<nil>", 5, false, "")
	broker(l, "log.retention.minutes", "10", 4, true, "log.retention.minutes=10@4 log.retention.hours=168@4 log.retention.hours=168@5")
	broker(l, "log.roll.hours", "5", 4, true, "log.roll.hours=5@4 log.roll.hours=168@5")
	broker(d, "log.retention.ms", "2000000", 2, false, retention)
	broker(d, "log.flush.interval.ms", "77", 3, false, flush)
	broker(d, "log.retention.hours", "168", 4, true, "log.retention.hours=168@4 log.retention.hours=168@5")
	broker(l, "ssl.key.password", "<nil>", 5, false, "")

	const store = "listener.name.ssl.ssl.keystore.type"
	broker(Layers{Broker: map[string]string{store: "PEM"}, Static: map[string]string{"ssl.keystore.type": "PKCS12"}}, store, "PEM", 2, true,
		store+"=PEM@2 ssl.keystore.type=PKCS12@4 ssl.keystore.type=JKS@5")

	cluster := DescribeCluster(d, nil)
	require.Len(t, cluster, 5)
	require.Equal(t, "compression.type", cluster[0].Name)
	require.Equal(t, "compression.type=zstd@3", synonyms(cluster[0]))
	require.Empty(t, DescribeCluster(l, nil))
	require.Empty(t, DescribeCluster(d, []string{"num.partitions", "nope"}))
	require.Empty(t, DescribeTopic(l, []string{"nope"}), "unknown names are left out")
	require.Empty(t, DescribeTopic(l, []string{}))

	g := DescribeGroup(map[string]string{"consumer.session.timeout.ms": "50000"}, Layers{}, []string{"consumer.session.timeout.ms"})[0]
	require.Equal(t, SourceGroup, g.Source)
	require.Equal(t, "consumer.session.timeout.ms=50000@8 group.consumer.session.timeout.ms=45000@5", synonyms(g))
	g = DescribeGroup(nil, Layers{Cluster: map[string]string{"group.consumer.assignment.interval.ms": "500"}}, []string{"consumer.assignment.interval.ms"})[0]
	require.Equal(t, SourceClusterDefault, g.Source)
}

func TestTopicConfigHoldsEveryKey(t *testing.T) {
	c := TopicConfig(Layers{Static: map[string]string{"log.retention.hours": "-1", "log.durability": "os"}, Topic: map[string]string{"segment.bytes": " 2097152"}})
	require.Len(t, c, len(TopicKeys.Keys()))
	require.Equal(t, "-1", c["retention.ms"], "unlimited stays unlimited in every unit")
	require.Equal(t, "os", c["durability"])
	require.Equal(t, "2097152", c["segment.bytes"])
	require.NoError(t, ValidateTopic(c))
	_, ok := TopicValue(Layers{}, "nope")
	require.False(t, ok)
}

func TestBrokerUpdatesAtRunTime(t *testing.T) {
	for _, c := range []struct {
		keys    []string
		cluster bool
		want    string
	}{
		{[]string{"num.partitions", "node.id", "log.retention.ms"}, false, "Cannot update these configs dynamically: [node.id, num.partitions]"},
		{[]string{"advertised.listeners"}, false, "Cannot update these configs dynamically: [advertised.listeners]"},
		{[]string{"connections.max.idle.ms"}, true, "Cannot update these configs dynamically: [connections.max.idle.ms]"},
		{[]string{"ssl.keystore.location"}, true, "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.location]"},
		{[]string{"nope"}, true, "Unknown broker config name: nope"},
		{[]string{"listener.name.x.ssl.client.auth"}, false, "Cannot update these configs dynamically: [listener.name.x.ssl.client.auth]. A listener takes them when the broker starts: set them in its configuration and restart it"},
		{[]string{"listener.name.x.ssl.key.password"}, true, "Cannot update these configs at default cluster level, broker id must be specified: [listener.name.x.ssl.key.password]"},
	} {
		require.EqualError(t, ValidateBrokerUpdate(c.keys, c.cluster), c.want)
	}
	require.NoError(t, ValidateBrokerUpdate([]string{"listener.name.x.ssl.key.password", "listener.name.X.ssl.keystore.location"}, false))
	require.NoError(t, ValidateBroker(map[string]string{"listener.name.x.ssl.key.password": "p", "log.retention.ms": "5"}, nil))
	require.NoError(t, ValidateBrokerUpdate([]string{"log.retention.ms", "compression.type", "log.durability"}, true))
	require.NoError(t, ValidateBrokerUpdate([]string{"sasl.kerberos.min.time.before.relogin"}, false))
	require.EqualError(t, ValidateBroker(map[string]string{"log.retention.ms": "0"}, nil), "requirement failed: log.retention.ms must be unlimited (-1) or, greater than or equal to 1")
	require.NoError(t, ValidateBroker(map[string]string{"log.retention.ms": "5"}, nil))
	require.NoError(t, ValidateBrokerUpdate([]string{"cordoned.log.dirs", "group.consumer.assignment.interval.ms", TxnVerification}, false))
	require.EqualError(t, ValidateBrokerUpdate([]string{"cordoned.log.dirs"}, true),
		"Cannot update these configs at default cluster level, broker id must be specified: [cordoned.log.dirs]")
	require.EqualError(t, ValidateBroker(map[string]string{"cordoned.log.dirs": "/c"}, map[string]string{"log.dirs": "/a,/b"}),
		"requirement failed: All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : /c")
	require.NoError(t, ValidateBroker(map[string]string{"cordoned.log.dirs": "/b"}, map[string]string{"log.dirs": "/a,/b"}))
	require.EqualError(t, ValidateBroker(map[string]string{"group.consumer.assignment.interval.ms": "99999"}, nil),
		"group.consumer.assignment.interval.ms must be less than or equal to group.consumer.max.assignment.interval.ms")
	require.NoError(t, ValidateBroker(map[string]string{"group.consumer.assignment.interval.ms": "99999"}, map[string]string{"group.consumer.max.assignment.interval.ms": "100000"}))
	require.EqualError(t, ValidateGroup(map[string]string{"nope": "1"}, nil), "Unknown group config name: nope")
	require.NoError(t, ValidateGroup(map[string]string{"consumer.session.timeout.ms": "50000"}, nil))
	require.NoError(t, ValidateGroup(map[string]string{"share.session.timeout.ms": "50000"}, nil))
	require.EqualError(t, ValidateGroup(map[string]string{"consumer.session.timeout.ms": "1000"}, nil),
		"consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms")
	require.EqualError(t, ValidateGroup(map[string]string{"consumer.heartbeat.interval.ms": "100"}, nil),
		"consumer.heartbeat.interval.ms must be greater than or equal to group.consumer.min.heartbeat.interval.ms")
	require.NoError(t, ValidateGroup(map[string]string{"consumer.heartbeat.interval.ms": "100"}, map[string]string{"group.consumer.min.heartbeat.interval.ms": "100"}))
	require.EqualError(t, ValidateGroup(map[string]string{"consumer.assignment.interval.ms": "99999"}, nil),
		"consumer.assignment.interval.ms must be less than or equal to group.consumer.max.assignment.interval.ms")
}

func TestDurationsOfShareGroupsAreJavas(t *testing.T) {
	for s, want := range map[string]bool{
		"P1DT2H": true, "PT0.5S": true, "PT0S": true, "pt1h": true, "PT1,5S": true, "-PT-1H": true, "+P1D": true, "PT1.S": true, "PT-6H+361M": true, "PT9223372036854775807S": true,
		"": false, "P": false, "PT": false, "P1DT": false, "-PT1H": false, "PT-6H+3M": false, "PT-0.5S": false, "PT1.5H": false, "P1M": false, " PT1H": false,
		"PT9223372036854775808S": false, "P1DT9223372036854775807S": false, "P106751991167301D": false, "PT1.0000000001S": false,
	} {
		require.Equal(t, want, isPastDuration(s), s)
	}
}

func TestSuggestions(t *testing.T) {
	names := BrokerKeys.Names()
	for in, want := range map[string]string{
		"num.partition": "num.partitions", "num_partitions": "num.partitions", "numPartitions": "num.partitions", "log.retnetion.ms": "log.retention.ms",
		"auto.create.topic.enable": "auto.create.topics.enable", "zookeeper.connect": "", "x": "", "": "", "advertised.listener": "advertised.listeners",
	} {
		require.Equal(t, want, Suggest(in, names), in)
	}
}

func TestJavaDoubles(t *testing.T) {
	for f, want := range map[float64]string{0: "0.0", 0.5: "0.5", 2: "2.0", 0.1: "0.1", 1e7: "1.0E7", 12345678.5: "1.23456785E7", 1e-4: "1.0E-4", 0.001: "0.001", 9999999: "9999999.0", math.MaxFloat64: "1.7976931348623157E308"} {
		require.Equal(t, want, javaDouble(f))
	}
}

// FuzzParse gives arbitrary texts to every type and check: no panic, and what is shown of a valid value is valid.
func FuzzParse(f *testing.F) {
	f.Add("5")
	f.Add(" compact , delete")
	f.Add("1e308")
	f.Add("0:1,2:3")
	f.Fuzz(func(t *testing.T, s string) {
		for _, table := range []*Table{TopicKeys, BrokerKeys} {
			for i := range table.keys {
				k := &table.keys[i]
				v, err := k.Parse(s)
				if err != nil {
					continue
				}
				again, err := k.Parse(v.String())
				require.NoError(t, err, "%s: %q shown as %q", k.Name, s, v.String())
				require.Equal(t, v.String(), again.String())
			}
		}
		_, _ = ParseBroker(map[string]string{"listeners": s})
		_, _ = ParseBroker(map[string]string{"listener.security.protocol.map": s})
	})
}
