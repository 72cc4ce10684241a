package servers

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// KafkaScripts maps the names of the scripts in a Kafka download's bin folder, without ".sh", to the classes they run.
var KafkaScripts = map[string]string{
	"kafka-acls":                         "org.apache.kafka.tools.AclCommand",
	"kafka-broker-api-versions":          "org.apache.kafka.tools.BrokerApiVersionsCommand",
	"kafka-client-metrics":               "org.apache.kafka.tools.ClientMetricsCommand",
	"kafka-cluster":                      "org.apache.kafka.tools.ClusterTool",
	"kafka-configs":                      "kafka.admin.ConfigCommand",
	"kafka-console-consumer":             "org.apache.kafka.tools.consumer.ConsoleConsumer",
	"kafka-console-producer":             "org.apache.kafka.tools.ConsoleProducer",
	"kafka-consumer-groups":              "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
	"kafka-consumer-perf-test":           "org.apache.kafka.tools.ConsumerPerformance",
	"kafka-delete-records":               "org.apache.kafka.tools.DeleteRecordsCommand",
	"kafka-dump-log":                     "org.apache.kafka.tools.DumpLogSegments",
	"kafka-e2e-latency":                  "org.apache.kafka.tools.EndToEndLatency",
	"kafka-features":                     "org.apache.kafka.tools.FeatureCommand",
	"kafka-get-offsets":                  "org.apache.kafka.tools.GetOffsetShell",
	"kafka-groups":                       "org.apache.kafka.tools.GroupsCommand",
	"kafka-leader-election":              "org.apache.kafka.tools.LeaderElectionCommand",
	"kafka-log-dirs":                     "org.apache.kafka.tools.LogDirsCommand",
	"kafka-metadata-quorum":              "org.apache.kafka.tools.MetadataQuorumCommand",
	"kafka-producer-perf-test":           "org.apache.kafka.tools.ProducerPerformance",
	"kafka-reassign-partitions":          "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
	"kafka-topics":                       "org.apache.kafka.tools.TopicCommand",
	"kafka-transactions":                 "org.apache.kafka.tools.TransactionsCommand",
	"kafka-transactional-message-copier": "org.apache.kafka.tools.TransactionalMessageCopier",
	"kafka-verifiable-consumer":          "org.apache.kafka.tools.VerifiableConsumer",
	"kafka-verifiable-producer":          "org.apache.kafka.tools.VerifiableProducer",
}

// WriteScripts writes dir/bin/kafka-*.sh and dir/libs, so that dir serves as the folder of a Kafka download (KAFKA_PATH of other projects' tests).
func (k *KafkaTools) WriteScripts(dir string) error {
	bin, libs := filepath.Join(dir, "bin"), filepath.Join(dir, "libs")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	if !exists(libs) {
		if err := os.Symlink(filepath.Dir(k.libs), libs); err != nil {
			return err
		}
	}
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
	write := func(name string, args []string) error {
		for i, a := range args {
			args[i] = quote(a)
			if a == k.libs {
				args[i] += "${CLASSPATH:+:$CLASSPATH}"
			}
		}
		// The tools live for a second: the quick compiler and the serial collector let them start sooner.
		text := fmt.Sprintf("#!/bin/sh\nexec %s -XX:TieredStopAtLevel=1 -XX:+UseSerialGC %s \"$@\"\n", quote(k.java), strings.Join(args, " "))
		return os.WriteFile(filepath.Join(bin, name+".sh"), []byte(text), 0o755) //nolint:gosec // a script is to be run
	}
	for name, class := range KafkaScripts {
		if err := write(name, k.args("512m", class)); err != nil {
			return err
		}
	}
	all := k.args("512m", "")
	return write("kafka-run-class", all[:len(all)-1])
}
