package config

import "strings"

// BrokerKeys are the properties of brokers: Kafka's and log.durability.
var BrokerKeys = newTable("broker", brokerKeys())

func brokerKeys() []Key {
	var keys []Key
	// By topics, which follow changes at once, and by the broker.
	followed := map[string]bool{
		assignmentInterval: true, cordonedDirs: true, TxnVerification: true,
		"log.cleaner.backoff.ms": true, dedupeBuffer: true, cleanerThreads: true, cleanerThrottle: true, "max.connection.creation.rate": true, "max.connections": true,
		leaderThrottle: true, followerThrottle: true, moveThrottle: true,
		"max.connections.per.ip": true, perIPOverrides: true, "num.recovery.threads.per.data.dir": true, "producer.id.expiration.ms": true,
	}
	for _, name := range storeKeys {
		followed[name] = true // with a listener's prefix
	}
	for _, origins := range topicOrigins {
		for _, o := range origins {
			followed[o.name] = true
		}
	}
	for _, part := range [][]Key{brokerKeysA, brokerKeysL, brokerKeysSecurity} {
		for _, k := range part {
			doc, ok := brokerDocs[k.Name]
			if !ok {
				doc, ok = securityDocs[k.Name]
			}
			if ok {
				k.Doc = doc
				// What Kafka can change at run time and moldau cannot is read-only here, so that the change is refused. The times of
				// Kerberos logins change nothing at any time, as there are none.
				if !followed[k.Name] && !strings.HasPrefix(k.Name, "sasl.kerberos.") {
					k.Update = ReadOnly
				}
			} else {
				k.Unsupported = whyNot(k.Name)
				k.Doc = "Known to Kafka, not supported by moldau yet: " + k.Unsupported + ". Only the default is accepted."
			}
			keys = append(keys, k)
		}
	}
	return keys
}

// unsupported gives the reason for the keys with a prefix, the first that fits.
var unsupported = []struct{ prefix, why string }{
	{"alter.config.policy", noPlugins},
	{"alter.log.dirs", noMoves},
	{"auto.leader.rebalance", noReplication},
	{"authorizer.", noSecurity},
	{"background.threads", noPools},
	{"broker.heartbeat", noReplication},
	{"broker.session", noReplication},
	{"client.quota", noQuotas},
	{"config.providers", "properties are not resolved through providers"},
	{"connection.failed.authentication", noSecurity},
	{"connections.max.reauth", noSecurity},
	{"controlled.shutdown", noReplication},
	{"controller.quota", noQuotas},
	{"controller.", "the controllers talk Raft, not Kafka's quorum protocol"},
	{"create.topic.policy", noPlugins},
	{"delete.records.purgatory", noPurge},
	{"delegation.", noSecurity},
	{"early.start", "all listeners open together, when the metadata is there"},
	{"fetch.purgatory", noPurge},
	{"follower.fetch", noTiering},
	{"follower.replication", noReplication},
	{"group.coordinator", "the group coordinator has no such part"},
	{"group.share", "there are no share groups"},
	{"group.streams", "there are no streams groups"},
	{"kafka.metrics", "metrics are served on the admin listener"},
	{"leader.", noReplication},
	{"log.cleaner.io.buffer.load.factor", "the cleaner's map of keys is filled up to nine tenths"},
	{"log.cleaner.io.buffer.size", "the cleaner reads and writes in pieces of one size"},
	{"log.flush.start", "start offsets are checkpointed with log.flush.offset.checkpoint.interval.ms"},
	{"log.local", noTiering},
	{"metadata.log.max.snapshot", noMetadataAge},
	{"metadata.log.segment.ms", noMetadataAge},
	{"metadata.max", noMetadataAge},
	{"metric", "metrics are served on the admin listener"},
	{"num.io", noPools},
	{"num.network", noPools},
	{"num.replica.alter", noMoves},
	{"num.replica", noReplication},
	{"principal.", noSecurity},
	{"producer.purgatory", noPurge},
	{"queued.max.requests", "requests that wait are bounded by their bytes, see queued.max.request.bytes"},
	{"quota.", noQuotas},
	{"remote.", noTiering},
	{"replica.alter", noMoves},
	{"replica", noReplication},
	{"request.timeout", noRequests},
	{"sasl.", noSecurity},
	{"security.", noSecurity},
	{"share.", "there are no share groups"},
	{"socket.connection", noRequests},
	{"ssl.", noSecurity},
	{"telemetry.", "clients' telemetry is not collected"},
	{"transaction.state.log.load", "the log is read in pieces of one size"},
	{"transaction.two.phase", "there is no two-phase commit"},
}

const (
	noPurge       = "a request that is answered leaves the waiting ones at once"
	noRequests    = "the broker makes no requests to other brokers"
	noMetadataAge = "the metadata log is bounded by its size, see metadata.log.max.record.bytes.between.snapshots"
	noPlugins     = "the broker has no policy plugins"
	noMoves       = "each move between directories has its own thread, and a throttle is not averaged over windows"
	noReplication = "partitions are not replicated"
	noQuotas      = "client quotas have no such part"
	noPools       = "there is no pool of threads to size, the work is spread over all processors"
	noSecurity    = "moldau's security has no such part"
)

func whyNot(name string) string {
	for _, u := range unsupported {
		if strings.HasPrefix(name, u.prefix) {
			return u.why
		}
	}
	return "moldau has no such part"
}

// brokerDocs documents the properties that moldau acts on. A property that is not here is not supported.
var brokerDocs = map[string]string{
	"advertised.listeners":                                        "The addresses that clients are told, as NAME://host:port. Empty means those of listeners, with this host's name where a listener has no host.",
	"auto.create.topics.enable":                                   "Whether a topic that a producer or consumer asks for is made.",
	"broker.id":                                                   "Another name for node.id; when both are set they must be equal.",
	"broker.rack":                                                 "The rack this broker is in. Replicas of a partition are put on different racks.",
	"compression.gzip.level":                                      "The default of the topics' compression.gzip.level.",
	"compression.lz4.level":                                       "The default of the topics' compression.lz4.level.",
	"compression.type":                                            "The default of the topics' compression.type.",
	"compression.zstd.level":                                      "The default of the topics' compression.zstd.level.",
	"connections.max.idle.ms":                                     "After how many milliseconds without a request a connection is closed.",
	"controller.listener.names":                                   "The names of the listeners that controllers use. Clients are not served there.",
	"controller.quorum.bootstrap.servers":                         "Where controllers are found, as host:port. It must name this node's own controller listener: the node finds itself without it.",
	"controller.quorum.election.timeout.ms":                       "The least time without a word of the leader, in milliseconds, after which a controller asks for an election.",
	"controller.quorum.voters":                                    "The controllers, as id@host:port. Empty means this node alone, which is all that is supported yet.",
	"cordoned.log.dirs":                                           "Directories of log.dirs that get no new partitions.",
	"default.replication.factor":                                  "The replication factor of topics that do not say theirs.",
	"delete.topic.enable":                                         "Whether topics can be deleted.",
	leaderThrottle:                                                "How fast, in bytes a second, leaders send to throttled followers. A single node has none.",
	followerThrottle:                                              "How fast, in bytes a second, throttled followers fetch. A single node has none.",
	moveThrottle:                                                  "How fast, in bytes a second, partitions are moved between log directories, all moves together.",
	"fetch.max.bytes":                                             "The most bytes a fetch is answered with, whatever the client allows.",
	"group.consumer.assignment.interval.ms":                       "The least time between two targets of a consumer group (KIP-848), in milliseconds; 0 means a new one with every change.",
	"group.consumer.assignors":                                    "The server-side assignors that consumer groups may use, uniform and range; the first one is the default.",
	"group.consumer.heartbeat.interval.ms":                        "How often members of consumer groups are told to heartbeat, in milliseconds.",
	"group.consumer.max.assignment.interval.ms":                   "The longest consumer.assignment.interval.ms that a group may be given.",
	"group.consumer.max.heartbeat.interval.ms":                    "The longest consumer.heartbeat.interval.ms that a group may be given.",
	"group.consumer.max.session.timeout.ms":                       "The longest consumer.session.timeout.ms that a group may be given.",
	"group.consumer.max.size":                                     "The most members a consumer group may have.",
	"group.consumer.migration.policy":                             "Whether classic groups become consumer groups when a member of the consumer protocol joins (upgrade), and back when the last one leaves (downgrade): disabled, upgrade, downgrade or bidirectional.",
	"group.consumer.min.assignment.interval.ms":                   "The shortest consumer.assignment.interval.ms that a group may be given.",
	"group.consumer.min.heartbeat.interval.ms":                    "The shortest consumer.heartbeat.interval.ms that a group may be given.",
	"group.consumer.min.session.timeout.ms":                       "The shortest consumer.session.timeout.ms that a group may be given.",
	"group.consumer.regex.refresh.interval.ms":                    "How often the topics that a group's regular expressions match are looked for anew, in milliseconds.",
	"group.consumer.session.timeout.ms":                           "After how many milliseconds without a heartbeat a member of a consumer group is out.",
	"group.initial.rebalance.delay.ms":                            "How long the coordinator waits for more members before an empty group's first rebalance, in milliseconds.",
	"group.max.session.timeout.ms":                                "The longest session timeout a group member may ask for, in milliseconds.",
	"group.max.size":                                              "The most members a group may have.",
	"group.min.session.timeout.ms":                                "The shortest session timeout a group member may ask for, in milliseconds.",
	"inter.broker.listener.name":                                  "The name of the listener that brokers would use among themselves. Empty means the first for clients; a single node opens no such connections.",
	"listener.security.protocol.map":                              "The security protocol of each listener name: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
	"listeners":                                                   "The addresses to listen on, as NAME://host:port. Port 0 takes any free one. moldau's default is loopback, so that nobody gets in by accident.",
	"log.cleaner.backoff.ms":                                      "How long the cleaner sleeps when there is nothing to compact, in milliseconds.",
	"log.cleaner.dedupe.buffer.size":                              "The most memory that all compactions together may take for their maps of keys, in bytes.",
	"log.cleaner.delete.retention.ms":                             "The default of the topics' delete.retention.ms.",
	"log.cleaner.enable":                                          "Whether compacted topics are compacted at all.",
	"log.cleaner.io.max.bytes.per.second":                         "How many bytes a second all compactions together may read and write. Negative values are no bound; with 0 nothing is compacted.",
	"log.cleaner.max.compaction.lag.ms":                           "The default of the topics' max.compaction.lag.ms.",
	"log.cleaner.min.cleanable.ratio":                             "The default of the topics' min.cleanable.dirty.ratio.",
	"log.cleaner.min.compaction.lag.ms":                           "The default of the topics' min.compaction.lag.ms.",
	"log.cleaner.threads":                                         "How many logs are compacted at a time, of all log directories together.",
	"log.cleanup.policy":                                          "The default of the topics' cleanup.policy.",
	"log.dir":                                                     "The directory of the logs when log.dirs is not set.",
	"log.dirs":                                                    "The directories of the logs, separated by commas. A new partition goes where there are the fewest.",
	"log.durability":                                              "moldau's own. The default of the topics' durability: when a produced batch is acknowledged. fsync: after a group-committed sync to disk. os: when the operating system has it, as Apache Kafka does.",
	"log.flush.interval.messages":                                 "The default of the topics' flush.messages.",
	"log.flush.interval.ms":                                       "The default of the topics' flush.ms.",
	"log.flush.offset.checkpoint.interval.ms":                     "How often the recovery points are written, in milliseconds.",
	"log.flush.scheduler.interval.ms":                             "The default of the topics' flush.ms when log.flush.interval.ms is not set.",
	"log.index.interval.bytes":                                    "The default of the topics' index.interval.bytes.",
	"log.index.size.max.bytes":                                    "The default of the topics' segment.index.bytes.",
	"log.message.timestamp.after.max.ms":                          "The default of the topics' message.timestamp.after.max.ms.",
	"log.message.timestamp.before.max.ms":                         "The default of the topics' message.timestamp.before.max.ms.",
	"log.message.timestamp.type":                                  "The default of the topics' message.timestamp.type.",
	"log.preallocate":                                             "The default of the topics' preallocate.",
	"log.retention.bytes":                                         "The default of the topics' retention.bytes.",
	"log.retention.check.interval.ms":                             "How often old segments are looked for, in milliseconds.",
	"log.retention.hours":                                         "The default of the topics' retention.ms, in hours.",
	"log.retention.minutes":                                       "The default of the topics' retention.ms, in minutes. It counts before log.retention.hours.",
	"log.retention.ms":                                            "The default of the topics' retention.ms. It counts before log.retention.minutes.",
	"log.roll.hours":                                              "The default of the topics' segment.ms, in hours.",
	"log.roll.jitter.hours":                                       "The default of the topics' segment.jitter.ms, in hours.",
	"log.roll.jitter.ms":                                          "The default of the topics' segment.jitter.ms. It counts before log.roll.jitter.hours.",
	"log.roll.ms":                                                 "The default of the topics' segment.ms. It counts before log.roll.hours.",
	"log.segment.bytes":                                           "The default of the topics' segment.bytes.",
	"log.segment.delete.delay.ms":                                 "The default of the topics' file.delete.delay.ms.",
	"max.connections":                                             "The most connections that are open at once; with listener.name.NAME. before it, on that listener.",
	"max.connections.per.ip":                                      "The most connections from one address that are open at once.",
	"max.connections.per.ip.overrides":                            "For single addresses, or names of hosts, what counts instead of max.connections.per.ip: HOST:NUMBER, separated by commas.",
	"max.incremental.fetch.session.cache.slots":                   "The most fetch sessions that are kept.",
	"message.max.bytes":                                           "The default of the topics' max.message.bytes.",
	"metadata.log.dir":                                            "The directory of the metadata log. Empty means a folder in the log directory.",
	"metadata.log.max.record.bytes.between.snapshots":             "After how many bytes of records the metadata is written as a snapshot.",
	"metadata.log.segment.bytes":                                  "The size in bytes at which a new file of the metadata log begins.",
	"min.insync.replicas":                                         "The default of the topics' min.insync.replicas.",
	"node.id":                                                     "The id of this node in the cluster; 1 when neither this nor broker.id is set.",
	"num.partitions":                                              "The number of partitions of topics that do not say theirs.",
	"num.recovery.threads.per.data.dir":                           "How many logs are recovered at the same time when the broker starts.",
	"offset.metadata.max.bytes":                                   "The longest metadata that can be committed with an offset.",
	"offsets.commit.timeout.ms":                                   "How long a commit of offsets waits for the log, in milliseconds.",
	"offsets.retention.check.interval.ms":                         "How often expired offsets are looked for, in milliseconds.",
	"offsets.retention.minutes":                                   "How long the offsets of a group without members are kept, in minutes.",
	"offsets.topic.num.partitions":                                "The number of partitions of __consumer_offsets when it is made.",
	"offsets.topic.replication.factor":                            "The replication factor of __consumer_offsets when it is made; at most as many as there are brokers then.",
	"offsets.topic.segment.bytes":                                 "The segment.bytes of __consumer_offsets when it is made.",
	"process.roles":                                               "What this node does. Only broker and controller together are supported yet.",
	"add.partitions.to.txn.retry.backoff.max.ms":                  "For how long, in milliseconds, a write waits for the end of the producer's last transaction before the client is told to try again.",
	"add.partitions.to.txn.retry.backoff.ms":                      "How long to wait, in milliseconds, between two looks at whether the producer's last transaction has ended.",
	"transaction.abort.timed.out.transaction.cleanup.interval.ms": "How often, in milliseconds, transactions are looked for that take longer than their timeout.",
	"transaction.max.timeout.ms":                                  "The longest transaction timeout, in milliseconds, that a producer may ask for.",
	"transaction.partition.verification.enable":                   "Whether it is verified that a partition is in the transaction before a client of before transaction version 2 writes to it.",
	"transaction.remove.expired.transaction.cleanup.interval.ms":  "How often, in milliseconds, transactional ids are looked for that have expired.",
	"transaction.state.log.min.isr":                               "min.insync.replicas of __transaction_state when it is made; as many as its replicas while the cluster is smaller.",
	"transaction.state.log.num.partitions":                        "The number of partitions of __transaction_state when it is made.",
	"transaction.state.log.replication.factor":                    "The number of replicas of __transaction_state; as many as there are brokers while the cluster is smaller.",
	"transaction.state.log.segment.bytes":                         "The segment size of __transaction_state.",
	"transactional.id.expiration.ms":                              "After how many milliseconds without a transaction a transactional id is forgotten.",
	"producer.id.expiration.ms":                                   "After how many milliseconds without a batch the state of an idempotent producer is forgotten.",
	"queued.max.request.bytes":                                    "The most bytes of requests that are in memory at once. -1 means moldau's bound of 512 MiB.",
	"share.coordinator.state.topic.min.isr":                       "min.insync.replicas of __share_group_state when it is made. It has no effect yet: that topic is made for share groups, and there are none.",
	"share.coordinator.state.topic.num.partitions":                "The number of partitions of __share_group_state when it is made. It has no effect yet: that topic is made for share groups, and there are none.",
	"share.coordinator.state.topic.replication.factor":            "The replication factor of __share_group_state when it is made. It has no effect yet: that topic is made for share groups, and there are none.",
	"share.coordinator.state.topic.segment.bytes":                 "The segment.bytes of __share_group_state when it is made. It has no effect yet: that topic is made for share groups, and there are none.",
	"socket.listen.backlog.size":                                  "How many connections of a listener may wait to be accepted; the operating system has a bound of its own (net.core.somaxconn), which counts alone when this is not set.",
	"socket.receive.buffer.bytes":                                 "The receive buffer of a connection's socket (SO_RCVBUF). -1, or not set: the operating system's, which grows with the connection.",
	"socket.request.max.bytes":                                    "The largest request, in bytes; a larger one closes its connection.",
	"socket.send.buffer.bytes":                                    "The send buffer of a connection's socket (SO_SNDBUF). -1: the operating system's, which grows with the connection. Not set: the same, but 512 KiB for clients on this machine.",
	"unclean.leader.election.enable":                              "The default of the topics' unclean.leader.election.enable.",
}
