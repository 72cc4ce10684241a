package broker

import (
	"fmt"
	"strings"

	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/metadata"
)

// bootstrapLevel is the level of a feature that a new cluster begins with.
func bootstrapLevel(name string) int16 {
	for _, r := range BootstrapRecords() {
		if f, ok := r.(*metadata.FeatureLevelRecord); ok && f.Name == name {
			return f.Level
		}
	}
	return 0
}

// storagePage is what docs/protocol.md says of replicas that cannot be served, and of configurations that change at run time.
func storagePage(b *strings.Builder) {
	b.WriteString(`
With ` + "`eligible.leader.replicas.version`" + ` 1, as Apache Kafka 4.3 begins (KIP-966), the ISR of a partition whose only replica is gone is empty, and
DescribeTopicPartitions names that replica as eligible, or, after a stop that was not orderly, as the last known leader, which leads again when it is back.
` + "`min.insync.replicas`" + ` is then a default of the cluster: what the file says when the cluster is new is kept there, and cannot be taken away. A cluster
that began before has level 0 until UpdateFeatures raises it.

## Log directories that fail

A directory of ` + "`log.dirs`" + ` that fails is offline until the next start; one that is full is not. The broker reports the replicas in it to the controller (Kafka's
brokers report directories, KIP-858), and what clients see was recorded from Apache Kafka 4.3.1: Metadata has LEADER_NOT_AVAILABLE, leader -1 and the replica as
offline, DescribeTopicPartitions the same without an error, DescribeLogDirs KAFKA_STORAGE_ERROR for the directory; Produce, Fetch, ListOffsets, DeleteRecords and
OffsetForLeaderEpoch answer KAFKA_STORAGE_ERROR, also after a start without the directory, where Kafka answers NOT_LEADER_OR_FOLLOWER to Produce. New
partitions go to the other directories. Without any directory left the broker ends, as Kafka does. Each directory is written to every five
seconds, a few bytes for all of its partitions, so that a failure is noticed without traffic, as Kafka's is by its checkpoint of high watermarks.

## Configurations of brokers that change at run time

For one broker or, where the second column says so, as the default of all. Those of topics are their defaults and are followed at once.
Differences to Apache Kafka 4.3.1: ` + "`num.recovery.threads.per.data.dir`" + ` counts from the next start and, as ` + "`log.cleaner.threads`" + `, is not bound to twice or half of its value; a negative
` + "`log.flush.interval.ms`" + ` is refused. What Kafka can change and is not here is refused by name.

| configuration | default of all | what for |
|---|---|---|
`)
	for _, k := range config.BrokerKeys.Keys() {
		if k.Update == config.ReadOnly || k.Unsupported != "" || strings.HasPrefix(k.Name, "sasl.kerberos.") || strings.HasPrefix(k.Name, "ssl.") {
			continue
		}
		all := "no"
		if k.Update == config.ClusterWide {
			all = "yes"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", k.Name, all, k.Doc)
	}
}
