package tools

// Step is one run of a tool.
type Step struct {
	// Tool is the script's name without ".sh".
	Tool string
	// Args are its arguments; $BROKER is host:port, $DIR a folder with the files of the script, $LOG the broker's log directory.
	Args []string
	// Stdin is what it reads.
	Stdin string
	// Differs says why the output on moldau is not that on Apache Kafka; "" means that it is.
	Differs string
	// Figures: the output is measurements, only its words are compared.
	Figures bool
	// Sorted: the tool prints in the order of a hash map.
	Sorted bool
	// Seconds to wait before the tool is interrupted, as Ctrl-C does; 0 means 180, which is only for tools that hang.
	Seconds int
	// Quiet: only the exit code is compared, since the output depends on timing.
	Quiet bool
}

const plainLogin = "org.apache.kafka.common.security.plain.PlainLoginModule required"

// Files are written to $DIR before the script runs.
var Files = map[string]string{
	"delete.json":   `{"partitions":[{"topic":"tool-orders","partition":0,"offset":2}],"version":1}`,
	"elect.json":    `{"partitions":[{"topic":"tool-orders","partition":0}]}`,
	"move.json":     `{"version":1,"partitions":[{"topic":"tool-orders","partition":0,"replicas":[1],"log_dirs":["any"]}]}`,
	"topics.json":   `{"topics":[{"topic":"tool-orders"}],"version":1}`,
	"reset.csv":     "tool-orders,0,3\ntool-orders,1,0\n",
	"txn.conf":      "enable.idempotence=true\n",
	"consumer.conf": "isolation.level=read_committed\n",
	"bob.conf":      "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=" + plainLogin + " username=\"bob\" password=\"bob-secret\";\n",
	"wrong.conf":    "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=" + plainLogin + " username=\"bob\" password=\"guessed\";\n",
}

func bootstrap(args ...string) []string {
	return append([]string{"--bootstrap-server", "$BROKER"}, args...)
}

// Script is what is run, in this order, on a broker that is new.
var Script = []Step{
	// Topics.
	{Tool: "kafka-topics", Args: bootstrap("--create", "--topic", "tool-orders", "--partitions", "3", "--replication-factor", "1", "--config", "retention.ms=3600000")},
	{Tool: "kafka-topics", Args: bootstrap("--create", "--topic", "tool-orders")},
	{Tool: "kafka-topics", Args: bootstrap("--create", "--topic", "tool-orders", "--if-not-exists")},
	{Tool: "kafka-topics", Args: bootstrap("--create", "--topic", "tool-copy", "--partitions", "1")},
	{Tool: "kafka-topics", Args: bootstrap("--create", "--topic", "tool-bad", "--config", "retention.ms=never")},
	{Tool: "kafka-topics", Args: bootstrap("--create", "--topic", "tool-bad", "--replication-factor", "3")},
	{Tool: "kafka-topics", Args: bootstrap("--create", "--topic", "tool-assigned", "--replica-assignment", "1,1")},
	{Tool: "kafka-topics", Args: bootstrap("--list")},
	{Tool: "kafka-topics", Args: bootstrap("--describe", "--topic", "tool-orders")},
	{Tool: "kafka-topics", Args: bootstrap("--describe", "--topic", "tool-none")},
	{Tool: "kafka-topics", Args: bootstrap("--describe", "--under-replicated-partitions")},
	{Tool: "kafka-topics", Args: bootstrap("--describe", "--topics-with-overrides")},
	{Tool: "kafka-topics", Args: bootstrap("--alter", "--topic", "tool-orders", "--partitions", "4")},
	{Tool: "kafka-topics", Args: bootstrap("--alter", "--topic", "tool-orders", "--partitions", "2")},
	// Records.
	{Tool: "kafka-console-producer", Args: bootstrap("--topic", "tool-copy", "--reader-property", "parse.key=true", "--reader-property", "key.separator=:"), Stdin: "a:one\nb:two\nc:three\n"},
	{Tool: "kafka-console-producer", Args: bootstrap("--topic", "tool-copy", "--compression-codec", "zstd", "--sync"), Stdin: "four\nfive\n"},
	{Tool: "kafka-console-consumer", Args: bootstrap("--topic", "tool-copy", "--from-beginning", "--max-messages", "5", "--formatter-property", "print.key=true",
		"--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true", "--formatter-property", "print.headers=true")},
	{Tool: "kafka-console-consumer", Args: bootstrap("--topic", "tool-copy", "--partition", "0", "--offset", "3", "--max-messages", "2", "--isolation-level", "read_committed")},
	{Tool: "kafka-console-consumer", Args: bootstrap("--topic", "tool-copy", "--group", "tool-classic", "--from-beginning", "--timeout-ms", "3000")},
	{Tool: "kafka-verifiable-producer", Args: bootstrap("--topic", "tool-orders", "--max-messages", "20", "--throughput", "-1", "--value-prefix", "7", "--repeating-keys", "4"), Sorted: true},
	{Tool: "kafka-verifiable-producer", Args: bootstrap("--topic", "tool-orders", "--max-messages", "6", "--acks", "0", "--repeating-keys", "3"), Sorted: true},
	{Tool: "kafka-verifiable-consumer", Args: bootstrap("--topic", "tool-orders", "--group-id", "tool-verified", "--max-messages", "20", "--reset-policy", "earliest"), Quiet: true},
	{Tool: "kafka-get-offsets", Args: bootstrap("--topic", "tool-.*", "--exclude-internal-topics")},
	{Tool: "kafka-get-offsets", Args: bootstrap("--topic", "tool-copy", "--time", "earliest")},
	{Tool: "kafka-get-offsets", Args: bootstrap("--topic", "tool-copy", "--time", "max-timestamp")},
	{Tool: "kafka-get-offsets", Args: bootstrap("--topic-partitions", "tool-copy:0", "--time", "0")},
	{Tool: "kafka-get-offsets", Args: bootstrap("--topic", "tool-none")},
	{Tool: "kafka-delete-records", Args: bootstrap("--offset-json-file", "$DIR/delete.json")},
	{Tool: "kafka-get-offsets", Args: bootstrap("--topic-partitions", "tool-orders:0", "--time", "earliest")},
	// Groups.
	{Tool: "kafka-consumer-groups", Args: bootstrap("--list"), Sorted: true},
	{Tool: "kafka-consumer-groups", Args: bootstrap("--list", "--state"), Sorted: true},
	{Tool: "kafka-consumer-groups", Args: bootstrap("--describe", "--group", "tool-classic")},
	{Tool: "kafka-consumer-groups", Args: bootstrap("--describe", "--group", "tool-classic", "--state")},
	{Tool: "kafka-consumer-groups", Args: bootstrap("--describe", "--group", "tool-classic", "--members")},
	{Tool: "kafka-consumer-groups", Args: bootstrap("--describe", "--group", "tool-none")},
	{Tool: "kafka-consumer-groups", Args: bootstrap("--reset-offsets", "--group", "tool-classic", "--topic", "tool-copy", "--to-earliest", "--dry-run")},
	{Tool: "kafka-consumer-groups", Args: bootstrap("--reset-offsets", "--group", "tool-classic", "--topic", "tool-copy", "--shift-by", "-2", "--execute")},
	{Tool: "kafka-consumer-groups", Args: bootstrap("--reset-offsets", "--group", "tool-classic", "--from-file", "$DIR/reset.csv", "--dry-run"), Sorted: true},
	{Tool: "kafka-consumer-groups", Args: bootstrap("--reset-offsets", "--group", "tool-classic", "--topic", "tool-copy", "--to-datetime", "2024-01-01T00:00:00.000", "--export", "--dry-run")},
	{Tool: "kafka-consumer-groups", Args: bootstrap("--delete-offsets", "--group", "tool-classic", "--topic", "tool-copy")},
	{Tool: "kafka-consumer-groups", Args: bootstrap("--delete", "--group", "tool-classic")},
	{Tool: "kafka-consumer-groups", Args: bootstrap("--delete", "--group", "tool-classic")},
	{Tool: "kafka-console-consumer", Args: bootstrap("--topic", "tool-copy", "--group", "tool-new", "--from-beginning", "--timeout-ms", "5000", "--command-property", "group.protocol=consumer")},
	{Tool: "kafka-groups", Args: bootstrap("--list"), Sorted: true},
	{Tool: "kafka-consumer-groups", Args: bootstrap("--describe", "--group", "tool-new")},
	// Configurations and quotas.
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "topics", "--entity-name", "tool-orders")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "topics", "--entity-name", "tool-orders", "--add-config", "cleanup.policy=[compact,delete],max.message.bytes=2000000")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "topics", "--entity-name", "tool-orders", "--add-config", "retention.ms=never")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "topics", "--entity-name", "tool-orders", "--delete-config", "max.message.bytes")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "topics", "--entity-name", "tool-orders")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--all", "--entity-type", "topics", "--entity-name", "tool-copy"), Sorted: true, Differs: "the keys of Apache Kafka 4.4 and moldau's own `durability` are listed"},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "brokers", "--entity-default", "--add-config", "log.retention.ms=7200000")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "brokers", "--entity-default")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "brokers", "--entity-default", "--delete-config", "log.retention.ms")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "brokers", "--entity-name", "1", "--add-config", "node.id=2")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "brokers", "--entity-name", "1", "--add-config", "listener.name.plaintext.max.connections=500,listener.name.plaintext.max.connection.creation.rate=1000")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "brokers", "--entity-name", "1")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "brokers", "--entity-name", "1", "--add-config", "listener.name.plaintext.max.connections=none")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "brokers", "--entity-name", "1", "--delete-config", "listener.name.plaintext.max.connections,listener.name.plaintext.max.connection.creation.rate")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "groups", "--entity-name", "tool-new", "--add-config", "consumer.session.timeout.ms=50000")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "groups", "--entity-name", "tool-new")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "users", "--entity-name", "tool-user", "--add-config", "producer_byte_rate=1048576")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "clients", "--entity-default", "--add-config", "request_percentage=200")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "users", "--entity-name", "tool-user")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "clients", "--entity-default")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "clients", "--entity-default", "--delete-config", "request_percentage")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "users", "--entity-name", "tool-scram", "--add-config", "SCRAM-SHA-256=[iterations=8192,password=secret]")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "users", "--entity-name", "tool-scram")},
	// Access control, which is off on both; SecuredScript has it on.
	{Tool: "kafka-acls", Args: bootstrap("--list")},
	{Tool: "kafka-acls", Args: bootstrap("--add", "--allow-principal", "User:tool", "--operation", "Read", "--topic", "tool-orders")},
	// The cluster.
	{Tool: "kafka-cluster", Args: []string{"cluster-id", "--bootstrap-server", "$BROKER"}},
	{Tool: "kafka-cluster", Args: []string{"list-endpoints", "--bootstrap-server", "$BROKER"}},
	{Tool: "kafka-cluster", Args: []string{"unregister", "--bootstrap-server", "$BROKER", "--id", "9"}},
	{Tool: "kafka-broker-api-versions", Args: bootstrap(), Differs: "the versions of Apache Kafka 4.4 are served, with older ones that clients still ask for; what is absent is in [protocol.md](protocol.md)"},
	{Tool: "kafka-features", Args: bootstrap("describe"), Differs: "the metadata version is that of Apache Kafka 4.4, which the tool of 4.3 does not know; share and streams groups are off, and `kraft.version` is 0"},
	{Tool: "kafka-features", Args: bootstrap("upgrade", "--feature", "transaction.version=9")},
	{Tool: "kafka-metadata-quorum", Args: bootstrap("describe", "--status"), Differs: "the metadata quorum is a Raft group of its own: voters have no directory ids and no controller listener", Figures: true},
	{Tool: "kafka-metadata-quorum", Args: bootstrap("describe", "--replication"), Figures: true},
	{Tool: "kafka-log-dirs", Args: bootstrap("--describe", "--topic-list", "tool-copy"), Figures: true},
	{Tool: "kafka-leader-election", Args: bootstrap("--election-type", "preferred", "--path-to-json-file", "$DIR/elect.json")},
	{Tool: "kafka-leader-election", Args: bootstrap("--election-type", "unclean", "--topic", "tool-orders", "--partition", "1")},
	{Tool: "kafka-leader-election", Args: bootstrap("--election-type", "preferred", "--topic", "tool-none", "--partition", "0")},
	{Tool: "kafka-reassign-partitions", Args: bootstrap("--generate", "--topics-to-move-json-file", "$DIR/topics.json", "--broker-list", "1")},
	{Tool: "kafka-reassign-partitions", Args: bootstrap("--execute", "--reassignment-json-file", "$DIR/move.json")},
	{Tool: "kafka-reassign-partitions", Args: bootstrap("--verify", "--reassignment-json-file", "$DIR/move.json")},
	{Tool: "kafka-reassign-partitions", Args: bootstrap("--list")},
	{Tool: "kafka-reassign-partitions", Args: bootstrap("--execute", "--reassignment-json-file", "$DIR/move.json", "--throttle", "1000000", "--replica-alter-log-dirs-throttle", "2000000")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "topics", "--entity-name", "tool-orders")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "brokers", "--entity-name", "1")},
	{Tool: "kafka-reassign-partitions", Args: bootstrap("--verify", "--reassignment-json-file", "$DIR/move.json", "--preserve-throttles")},
	{Tool: "kafka-reassign-partitions", Args: bootstrap("--verify", "--reassignment-json-file", "$DIR/move.json")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "topics", "--entity-name", "tool-orders")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "brokers", "--entity-name", "1")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "topics", "--entity-name", "tool-orders", "--add-config", "leader.replication.throttled.replicas=all")},
	// Subscriptions to clients' metrics.
	{Tool: "kafka-client-metrics", Args: bootstrap("--list")},
	{Tool: "kafka-client-metrics", Args: bootstrap("--alter", "--name", "tool-metrics", "--metrics", "org.apache.kafka.producer.", "--interval", "60000")},
	{Tool: "kafka-client-metrics", Args: bootstrap("--alter", "--name", "tool-metrics", "--match", "client_id=tool-.*,client_software_name=apache-kafka-java")},
	{Tool: "kafka-client-metrics", Args: bootstrap("--describe", "--name", "tool-metrics")},
	{Tool: "kafka-client-metrics", Args: bootstrap("--describe", "--name", "tool-none")},
	{Tool: "kafka-client-metrics", Args: bootstrap("--alter", "--name", "tool-metrics", "--interval", "99")},
	{Tool: "kafka-client-metrics", Args: bootstrap("--alter", "--name", "tool-metrics", "--interval", "often")},
	{Tool: "kafka-client-metrics", Args: bootstrap("--alter", "--name", "tool-metrics", "--match", "client_name=tool")},
	{Tool: "kafka-client-metrics", Args: bootstrap("--alter", "--name", "tool-metrics", "--match", "client_id=[")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "client-metrics", "--entity-name", "tool-metrics-2", "--add-config", "metrics=[a.,b.],interval.ms=5000")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "client-metrics", "--entity-name", "tool-metrics", "--delete-config", "match")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "client-metrics", "--entity-name", "tool-metrics", "--add-config", "nosuch=1")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "client-metrics", "--entity-name", "tool-metrics")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "client-metrics", "--entity-name", "tool-metrics", "--all")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "client-metrics"), Sorted: true},
	{Tool: "kafka-client-metrics", Args: bootstrap("--describe"), Sorted: true},
	{Tool: "kafka-client-metrics", Args: bootstrap("--list"), Sorted: true},
	{Tool: "kafka-client-metrics", Args: bootstrap("--delete", "--name", "tool-metrics")},
	{Tool: "kafka-client-metrics", Args: bootstrap("--delete", "--name", "tool-none")},
	{Tool: "kafka-client-metrics", Args: bootstrap("--list")},
	// Transactions.
	{Tool: "kafka-transactional-message-copier", Args: []string{"--broker-list", "$BROKER", "--input-topic", "tool-copy", "--input-partition", "0", "--output-topic", "tool-assigned",
		"--transactional-id", "tool-copier", "--transaction-size", "2", "--consumer-group", "tool-copier-group", "--max-messages", "5"}, Figures: true},
	{Tool: "kafka-transactions", Args: bootstrap("list")},
	{Tool: "kafka-transactions", Args: bootstrap("describe", "--transactional-id", "tool-copier"), Figures: true},
	{Tool: "kafka-transactions", Args: bootstrap("describe", "--transactional-id", "tool-none")},
	{Tool: "kafka-transactions", Args: bootstrap("describe-producers", "--topic", "tool-copy", "--partition", "0"), Figures: true},
	{Tool: "kafka-transactions", Args: bootstrap("find-hanging", "--broker-id", "1")},
	{Tool: "kafka-console-consumer", Args: bootstrap("--topic", "tool-assigned", "--from-beginning", "--max-messages", "5", "--isolation-level", "read_committed"), Sorted: true},
	// Measurements.
	{Tool: "kafka-producer-perf-test", Args: bootstrap("--topic", "tool-copy", "--num-records", "2000", "--record-size", "100", "--throughput", "-1"), Figures: true},
	{Tool: "kafka-producer-perf-test", Args: bootstrap("--topic", "tool-copy", "--num-records", "200", "--record-size", "100", "--throughput", "-1", "--transactional-id", "tool-perf", "--transaction-duration-ms", "100"), Figures: true},
	{Tool: "kafka-consumer-perf-test", Args: bootstrap("--topic", "tool-copy", "--num-records", "2000"), Figures: true},
	{Tool: "kafka-e2e-latency", Args: bootstrap("--topic", "tool-copy", "--num-records", "100", "--producer-acks", "1", "--record-size", "10"), Figures: true},
	// Files.
	{Tool: "kafka-dump-log", Args: []string{"--files", "$LOG/tool-orders-1/00000000000000000000.log", "--print-data-log"}, Figures: true},
	{Tool: "kafka-dump-log", Args: []string{"--files", "$LOG/tool-copy-0/00000000000000000000.index", "--index-sanity-check"}, Differs: "the index of a segment that is being written is on disk when it has entries; Kafka keeps an empty file of its full size"},
	// Features that are off.
	{Tool: "kafka-share-groups", Args: bootstrap("--list")},
	{Tool: "kafka-delegation-tokens", Args: bootstrap("--describe")},
	// The end.
	{Tool: "kafka-topics", Args: bootstrap("--delete", "--topic", "tool-assigned")},
	{Tool: "kafka-topics", Args: bootstrap("--delete", "--topic", "tool-none")},
	{Tool: "kafka-topics", Args: bootstrap("--delete", "--topic", "tool-none", "--if-exists")},
	// The last, since it goes on until its process ends.
	{Tool: "kafka-replica-verification", Args: []string{"--broker-list", "$BROKER", "--topics-include", "tool-copy", "--report-interval-ms", "500"}, Seconds: 3, Quiet: true},
}

// asBob makes a tool authenticate as bob.
func asBob(args ...string) []string {
	return append([]string{"--bootstrap-server", "$SASL", "--command-config", "$DIR/bob.conf"}, args...)
}

// SecuredScript is what is run on brokers with an authorizer: whoever comes by $BROKER may do everything, bob by $SASL what he is given.
var SecuredScript = []Step{
	{Tool: "kafka-topics", Args: bootstrap("--create", "--topic", "tool-open")},
	{Tool: "kafka-acls", Args: bootstrap("--add", "--allow-principal", "User:bob", "--operation", "Read", "--topic", "tool-open", "--group", "tool-group"), Sorted: true},
	{Tool: "kafka-acls", Args: bootstrap("--add", "--allow-principal", "User:ann", "--producer", "--topic", "tool-open", "--transactional-id", "x", "--idempotent"), Sorted: true},
	{Tool: "kafka-acls", Args: bootstrap("--add", "--allow-principal", "User:ann", "--consumer", "--topic", "tool-", "--group", "*", "--resource-pattern-type", "prefixed"), Sorted: true},
	{Tool: "kafka-acls", Args: bootstrap("--add", "--deny-principal", "User:ann", "--deny-host", "192.0.2.1", "--operation", "All", "--cluster"), Sorted: true},
	{Tool: "kafka-acls", Args: bootstrap("--add", "--allow-principal", "nobody", "--operation", "Read", "--topic", "tool-open")},
	{Tool: "kafka-acls", Args: bootstrap("--list"), Sorted: true},
	{Tool: "kafka-acls", Args: bootstrap("--list", "--principal", "User:bob"), Sorted: true},
	{Tool: "kafka-acls", Args: bootstrap("--list", "--topic", "tool-open", "--resource-pattern-type", "match"), Sorted: true},
	{Tool: "kafka-acls", Args: asBob("--list")},
	{Tool: "kafka-topics", Args: asBob("--list")},
	{Tool: "kafka-topics", Args: asBob("--create", "--topic", "tool-closed")},
	{Tool: "kafka-topics", Args: asBob("--delete", "--topic", "tool-open")},
	{Tool: "kafka-configs", Args: asBob("--describe", "--entity-type", "topics", "--entity-name", "tool-open")},
	{Tool: "kafka-configs", Args: asBob("--describe", "--entity-type", "users")},
	{Tool: "kafka-consumer-groups", Args: asBob("--list")},
	{Tool: "kafka-consumer-groups", Args: asBob("--describe", "--group", "tool-other")},
	{Tool: "kafka-log-dirs", Args: asBob("--describe")},
	// Without idempotence: whether the tool finds its producer refused before it sends or after is a matter of time.
	{Tool: "kafka-console-producer", Args: asBob("--topic", "tool-open", "--command-property", "enable.idempotence=false"), Stdin: "refused\n"},
	{Tool: "kafka-console-consumer", Args: asBob("--topic", "tool-open", "--group", "tool-group", "--from-beginning", "--timeout-ms", "3000")},
	{Tool: "kafka-console-consumer", Args: asBob("--topic", "tool-open", "--group", "tool-other", "--timeout-ms", "3000")},
	{Tool: "kafka-console-consumer", Args: []string{"--bootstrap-server", "$SASL", "--command-config", "$DIR/wrong.conf", "--topic", "tool-open", "--timeout-ms", "3000"}},
	{Tool: "kafka-client-metrics", Args: asBob("--alter", "--name", "tool-metrics", "--interval", "60000")},
	{Tool: "kafka-client-metrics", Args: asBob("--describe", "--name", "tool-metrics")},
	{Tool: "kafka-client-metrics", Args: asBob("--list")},
	{Tool: "kafka-acls", Args: bootstrap("--remove", "--force", "--topic", "tool-open"), Sorted: true},
	{Tool: "kafka-acls", Args: bootstrap("--list"), Sorted: true},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "users", "--entity-name", "sue", "--entity-type", "clients", "--entity-default", "--add-config", "request_percentage=20")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "users", "--entity-name", "sue", "--add-config", "producer_byte_rate=1.5")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "ips", "--entity-name", "192.0.2.1", "--add-config", "connection_creation_rate=20")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "ips")},
	{Tool: "kafka-configs", Args: bootstrap("--describe", "--entity-type", "users", "--entity-type", "clients")},
	{Tool: "kafka-configs", Args: bootstrap("--alter", "--entity-type", "users", "--entity-name", "nobody", "--delete-config", "SCRAM-SHA-256")},
}

// secured are the properties of brokers for SecuredScript.
var secured = []string{
	"sasl.enabled.mechanisms=PLAIN", "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS",
	`listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_bob="bob-secret";`,
}

// classes are those of tools that servers.KafkaScripts has not.
var classes = map[string]string{
	"kafka-replica-verification": "org.apache.kafka.tools.ReplicaVerificationTool",
	"kafka-share-groups":         "org.apache.kafka.tools.consumer.group.ShareGroupCommand",
	"kafka-delegation-tokens":    "org.apache.kafka.tools.DelegationTokenCommand",
}
