package servers

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// EnvKafka names a Kafka cluster (host:port,...) to use instead of our own.
const EnvKafka = "MOLDAU_KAFKA"

// KafkaVersion is the Apache Kafka that is fetched.
const (
	KafkaVersion = "4.3.1"
	log4jVersion = "2.25.4"
)

// Kafka is one Apache Kafka node in KRaft mode, broker and controller.
type Kafka struct {
	*Process  // nil when it is not ours
	Bootstrap string
	Version   string
}

// KafkaTools is the Java side of Apache Kafka: its command-line tools, run as the download's scripts run them.
type KafkaTools struct {
	java, libs, conf string
}

// FetchKafka brings Apache Kafka's broker and tools into the cache.
func FetchKafka(ctx context.Context) (*KafkaTools, error) {
	java, err := JavaOrInstall(ctx, 17, 99)
	if err != nil {
		return nil, err
	}
	dir, err := cached(ctx, "kafka-"+KafkaVersion, "Apache Kafka "+KafkaVersion+" (Maven Central, 90 MB)", func(ctx context.Context, dir string) error {
		g := "org.apache.kafka:"
		l := "org.apache.logging.log4j:"
		if err := mavenCopy(ctx, dir, g+"kafka_2.13:"+KafkaVersion, g+"kafka-server:"+KafkaVersion, g+"kafka-tools:"+KafkaVersion,
			l+"log4j-slf4j-impl:"+log4jVersion, l+"log4j-core:"+log4jVersion, l+"log4j-1.2-api:"+log4jVersion); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "log4j.properties"), []byte("status=error\nappender.std.type=Console\nappender.std.name=std\n"+
			"appender.std.target=SYSTEM_ERR\nappender.std.layout.type=PatternLayout\nappender.std.layout.pattern=[%d] %p %m%n\n"+
			"rootLogger.level=warn\nrootLogger.appenderRef.std.ref=std\n"), 0o644)
	})
	return &KafkaTools{java: java, libs: filepath.Join(dir, "*"), conf: filepath.Join(dir, "log4j.properties")}, err
}

// FetchKafkaStreams is FetchKafka with the Kafka Streams library on the class path, without RocksDB: for stores in memory.
func FetchKafkaStreams(ctx context.Context) (*KafkaTools, error) {
	k, err := FetchKafka(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := cached(ctx, "streams-"+KafkaVersion, "Kafka Streams "+KafkaVersion+" (Maven Central, 2 MB)", func(ctx context.Context, dir string) error {
		return mavenCopy(ctx, dir, "!org.apache.kafka:kafka-streams:"+KafkaVersion)
	})
	k.libs += string(filepath.ListSeparator) + filepath.Join(dir, "*")
	return k, err
}

func (k *KafkaTools) args(heap, class string, args ...string) []string {
	return append([]string{"-Xmx" + heap, "-Djava.awt.headless=true", "-Dlog4j2.configurationFile=" + k.conf, "-cp", k.libs, class}, args...)
}

// Command returns a command that runs a class of Apache Kafka, such as org.apache.kafka.tools.ConsoleProducer.
func (k *KafkaTools) Command(ctx context.Context, class string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, k.java, k.args("512m", class, args...)...)
}

// StartKafka starts one Apache Kafka node with its data in dir; extra are broker properties (KEY=VALUE).
func StartKafka(ctx context.Context, dir string, extra ...string) (*Kafka, error) {
	return StartKafkaOn(ctx, dir, nil, extra...)
}

// StartKafkaOn is StartKafka with further listeners (SASL_PLAINTEXT://127.0.0.1:9093) beside the plain one.
func StartKafkaOn(ctx context.Context, dir string, listeners []string, extra ...string) (*Kafka, error) {
	if b := os.Getenv(EnvKafka); b != "" {
		k := &Kafka{Bootstrap: b, Version: "given"}
		return k, k.ping(ctx)
	}
	tools, err := FetchKafka(ctx)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	port, cport := FreePort(), FreePort()
	for port == cport {
		cport = FreePort()
	}
	more := ""
	for _, l := range listeners {
		more += "," + l
	}
	if more != "" {
		extra = append([]string{"listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL"}, extra...)
	}
	props := filepath.Join(dir, "server.properties")
	text := fmt.Sprintf(`process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d%[5]s
advertised.listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d%[5]s
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
controller.quorum.bootstrap.servers=127.0.0.1:%[2]d
log.dirs=%[3]s/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
%[4]s
`, port, cport, dir, strings.Join(extra, "\n"), more)
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(props, []byte(text), 0o644)); err != nil {
		return nil, err
	}
	if !exists(filepath.Join(dir, "data", "meta.properties")) {
		id := func() string {
			var b [16]byte
			_, _ = rand.Read(b[:])
			b[0] = 1 // so that the text does not begin with '-'
			return base64.RawURLEncoding.EncodeToString(b[:])
		}
		if _, err := run(ctx, dir, nil, tools.java, tools.args("256m", "kafka.tools.StorageTool", "format", "-t", id(),
			"--initial-controllers", fmt.Sprintf("1@127.0.0.1:%d:%s", cport, id()), "-c", props)...); err != nil {
			return nil, err
		}
	}
	k := &Kafka{Bootstrap: fmt.Sprintf("127.0.0.1:%d", port), Version: KafkaVersion}
	k.Process = &Process{Name: "kafka", Dir: dir, Port: port, spec: spec{
		path: tools.java, args: tools.args("1g", "kafka.Kafka", props), dir: dir,
		stop: syscall.SIGTERM, patience: 30 * time.Second, ready: k.ping,
	}}
	return k, k.Start(ctx)
}

func (k *Kafka) ping(ctx context.Context) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(k.Bootstrap, ",")...))
	if err != nil {
		return err
	}
	defer cl.Close()
	return cl.Ping(ctx)
}
