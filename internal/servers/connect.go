package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ConnectVersion and DebeziumVersion are what StartConnect runs.
const (
	ConnectVersion  = KafkaVersion
	DebeziumVersion = "3.6.1.Final"
)

// Connect is one worker of Apache Kafka Connect in distributed mode, with Debezium's connectors for PostgreSQL and MySQL.
type Connect struct {
	*Process
	URL string // of its REST API, http://host:port
}

// fetchConnect brings the worker's jars into the cache and returns their folder.
func fetchConnect(ctx context.Context) (string, error) {
	return cached(ctx, "connect-"+KafkaVersion, "Apache Kafka Connect "+KafkaVersion+" (Maven Central, 60 MB)", func(ctx context.Context, dir string) error {
		g, l := "org.apache.kafka:", "org.apache.logging.log4j:"
		return mavenCopy(ctx, dir, g+"connect-runtime:"+KafkaVersion, g+"connect-json:"+KafkaVersion, g+"connect-transforms:"+KafkaVersion,
			l+"log4j-slf4j-impl:"+log4jVersion, l+"log4j-core:"+log4jVersion, l+"log4j-1.2-api:"+log4jVersion)
	})
}

// fetchDebezium brings Debezium's plugin archives into the cache and returns the plugin path.
func fetchDebezium(ctx context.Context) (string, error) {
	return cached(ctx, "debezium-"+DebeziumVersion, "Debezium "+DebeziumVersion+" for PostgreSQL and MySQL (Maven Central, 40 MB)", func(ctx context.Context, dir string) error {
		mvn, err := tool(ctx, "mvn", "maven")
		if err != nil {
			return err
		}
		for _, name := range []string{"postgres", "mysql"} {
			if _, err := run(ctx, dir, nil, mvn, append(mavenFlags, "dependency:copy", "-Dmdep.useBaseVersion=true", "-DoutputDirectory="+dir,
				"-Dartifact=io.debezium:debezium-connector-"+name+":"+DebeziumVersion+":tar.gz:plugin")...); err != nil {
				return err
			}
		}
		archives, _ := filepath.Glob(filepath.Join(dir, "*.tar.gz"))
		if len(archives) != 2 {
			return fmt.Errorf("%d archives came instead of 2", len(archives))
		}
		for _, a := range archives {
			if _, err := run(ctx, dir, nil, "tar", "-xzf", a, "--no-same-owner"); err != nil {
				return err
			}
			if err := os.Remove(a); err != nil {
				return err
			}
		}
		return nil
	})
}

// FetchConnect brings Kafka Connect and Debezium's connectors into the cache. Only comparisons need them.
func FetchConnect(ctx context.Context) error {
	if _, err := fetchConnect(ctx); err != nil {
		return err
	}
	_, err := fetchDebezium(ctx)
	return err
}

// StartConnect starts a Kafka Connect worker on the log at bootstrap (host:port) with its files in dir; extra are worker properties
// (KEY=VALUE). Its converters are JSON without schemas unless a connector says otherwise.
func StartConnect(ctx context.Context, dir, bootstrap string, extra ...string) (*Connect, error) {
	tools, err := FetchKafka(ctx) // for its Java and its logging
	if err != nil {
		return nil, err
	}
	libs, err := fetchConnect(ctx)
	if err != nil {
		return nil, err
	}
	plugins, err := fetchDebezium(ctx)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	port := FreePort()
	props := filepath.Join(dir, "worker.properties")
	text := fmt.Sprintf(`bootstrap.servers=%[1]s
group.id=connect
listeners=http://127.0.0.1:%[2]d
rest.advertised.host.name=127.0.0.1
rest.advertised.port=%[2]d
key.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=false
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
config.storage.topic=connect-configs
config.storage.replication.factor=1
offset.storage.topic=connect-offsets
offset.storage.replication.factor=1
status.storage.topic=connect-status
status.storage.replication.factor=1
plugin.path=%[3]s
plugin.discovery=service_load
%[4]s
`, bootstrap, port, plugins, strings.Join(extra, "\n"))
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(props, []byte(text), 0o644)); err != nil {
		return nil, err
	}
	c := &Connect{URL: fmt.Sprintf("http://127.0.0.1:%d", port)}
	// The options of the download's start script.
	args := []string{"-Xms256m", "-Xmx2g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
		"-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true", "-Dlog4j2.configurationFile=" + tools.conf,
		"-cp", filepath.Join(libs, "*"), "org.apache.kafka.connect.cli.ConnectDistributed", props}
	c.Process = &Process{Name: "connect", Dir: dir, Port: port, spec: spec{
		path: tools.java, args: args, dir: dir, stop: syscall.SIGTERM, patience: 30 * time.Second,
		ready: func(ctx context.Context) error { return getJSON(ctx, c.URL+"/connectors", nil) },
	}}
	return c, c.Start(ctx)
}
