package connect

import (
	"github.com/moldau-io/moldau/plugins/configdef"
)

// DefaultConverter is the converter of keys and values when neither worker nor connector names one: Avro with the hub's own
// schema registry. Kafka Connect has no default and demands one.
const DefaultConverter = "io.confluent.connect.avro.AvroConverter"

const (
	oneWorker   = "this worker joins no group; it runs all connectors of its internal topics"
	goPlugins   = "plugins are compiled in, there is no plugin path to scan"
	noJMX       = "metrics are exposed for Prometheus on the admin listener"
	noExtension = "REST extensions are Java classes"
)

// Properties defines the worker's properties: the section connect of the configuration file. Names, defaults and meaning are
// those of Kafka Connect 4.x, but for the names and replication of the internal topics, the converters and the group, which have
// defaults here.
func Properties() *configdef.Def {
	rf := func(name string) configdef.Key {
		return configdef.Key{Name: name, Type: configdef.Short, Default: -1, Importance: configdef.Low,
			Doc: "Replication factor of the topic when it is created. -1 stands for three, or as many as there are brokers when they are fewer."}
	}
	positive := configdef.AtLeast(1)
	d := configdef.NewDef(
		configdef.Key{Name: "bootstrap.servers", Type: configdef.List, Default: "", Importance: configdef.High,
			Doc: "Brokers to start from. Empty: the broker in this process."},
		configdef.Key{Name: "client.id", Type: configdef.String, Default: "", Importance: configdef.Low, Doc: "Prefix of the client ids of the worker's own clients."},
		configdef.Key{Name: "group.id", Type: configdef.String, Default: "connect-cluster", Importance: configdef.High, Check: configdef.NonEmpty,
			Doc: "Name of the Connect cluster. No consumer group may have the same name."},
		configdef.Key{Name: "key.converter", Type: configdef.Class, Default: DefaultConverter, Importance: configdef.High, Doc: "Converter of record keys, unless a connector names its own."},
		configdef.Key{Name: "value.converter", Type: configdef.Class, Default: DefaultConverter, Importance: configdef.High, Doc: "Converter of record values, unless a connector names its own."},
		configdef.Key{Name: "header.converter", Type: configdef.Class, Default: "org.apache.kafka.connect.storage.SimpleHeaderConverter", Importance: configdef.Low,
			Doc: "Converter of header values, unless a connector names its own."},
		configdef.Key{Name: "config.storage.topic", Type: configdef.String, Default: "connect-configs", Importance: configdef.High, Check: configdef.NonEmpty, Doc: "Topic of the connector configurations; it has one partition."},
		rf("config.storage.replication.factor"),
		configdef.Key{Name: "offset.storage.topic", Type: configdef.String, Default: "connect-offsets", Importance: configdef.High, Check: configdef.NonEmpty, Doc: "Topic of the positions of source connectors."},
		configdef.Key{Name: "offset.storage.partitions", Type: configdef.Int, Default: 25, Importance: configdef.Low, Check: positive, Doc: "Number of partitions of the offset topic when it is created."},
		rf("offset.storage.replication.factor"),
		configdef.Key{Name: "status.storage.topic", Type: configdef.String, Default: "connect-status", Importance: configdef.High, Check: configdef.NonEmpty, Doc: "Topic of the states of connectors and tasks."},
		configdef.Key{Name: "status.storage.partitions", Type: configdef.Int, Default: 5, Importance: configdef.Low, Check: positive, Doc: "Number of partitions of the status topic when it is created."},
		rf("status.storage.replication.factor"),
		configdef.Key{Name: "internal.topics.automatic.creation.enable", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Doc: "Create internal topics that do not exist (KIP-1209)."},
		configdef.Key{Name: "offset.flush.interval.ms", Type: configdef.Long, Default: 60000, Importance: configdef.Low, Check: positive,
			Doc: "Longest time between two commits of a sink task's offsets. Source offsets do not wait for it: they are written as soon as the records they belong to are acknowledged."},
		configdef.Key{Name: "offset.flush.timeout.ms", Type: configdef.Long, Default: 5000, Importance: configdef.Low, Check: positive,
			Doc: "How long a task that is being stopped may wait for its last offsets to be written."},
		configdef.Key{Name: "task.shutdown.graceful.timeout.ms", Type: configdef.Long, Default: 5000, Importance: configdef.Low, Doc: "How long tasks may take to stop before they are left behind; for all tasks together."},
		configdef.Key{Name: "topic.tracking.enable", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Doc: "Keep the set of topics that each connector uses."},
		configdef.Key{Name: "topic.tracking.allow.reset", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Doc: "Allow to reset that set over REST."},
		configdef.Key{Name: "topic.creation.enable", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Doc: "Create the topics of source connectors that have topic.creation.* settings."},
		configdef.Key{Name: "connector.client.config.override.policy", Type: configdef.String, Default: "All", Importance: configdef.Medium,
			Check: configdef.OneOf(true, "All", "None"), Doc: "Whether connectors may override client settings (producer.override.* and so on): All or None."},
		configdef.Key{Name: "config.providers", Type: configdef.List, Default: "", Importance: configdef.Low, Doc: "Names of the config providers; env, file and dir are always there."},
		configdef.Key{Name: "listeners", Type: configdef.List, Default: "http://127.0.0.1:8083", Importance: configdef.Low, Doc: "Addresses of the REST API."},
		configdef.Key{Name: "rest.advertised.host.name", Type: configdef.String, Importance: configdef.Low, Doc: "Host in the URL of this worker that others are given."},
		configdef.Key{Name: "rest.advertised.port", Type: configdef.Int, Importance: configdef.Low, Doc: "Port in the URL of this worker that others are given."},
		configdef.Key{Name: "rest.advertised.listener", Type: configdef.String, Importance: configdef.Low, Check: configdef.OneOf(true, "http"), Doc: "Scheme of the URL of this worker that others are given."},
		configdef.Key{Name: "access.control.allow.origin", Type: configdef.String, Default: "", Importance: configdef.Low, Doc: "Value of Access-Control-Allow-Origin in the answers of the REST API; empty: no such header."},
		configdef.Key{Name: "access.control.allow.methods", Type: configdef.String, Default: "", Importance: configdef.Low, Doc: "Methods allowed for cross-origin requests; empty: GET, POST and HEAD."},
		configdef.Key{Name: "request.timeout.ms", Type: configdef.Int, Default: 40000, Importance: configdef.Medium, Check: positive, Doc: "How long the worker's own clients wait for an answer of a broker."},
		configdef.Key{Name: "metadata.max.age.ms", Type: configdef.Long, Default: 300000, Importance: configdef.Low, Check: positive, Doc: "How old the clients' knowledge of topics and brokers may be."},
		configdef.Key{Name: "exactly.once.source.support", Type: configdef.String, Default: "enabled", Importance: configdef.High, Check: anyCase("DISABLED", "ENABLED", "PREPARING"),
			Doc: "Whether source records and their offsets are written in one transaction, so that every change is in the log exactly once. Kafka Connect's default is disabled. When it is not set and the cluster has no transactions, or does not allow them to this worker, records are written at least once and the log says so; when it is set to enabled the worker does not start then. preparing: only the configuration topic is written in transactions, as Kafka Connect's workers do before the whole cluster is switched on."},
		// Accepted at the one value that says what happens here.
		configdef.Key{Name: "connect.protocol", Type: configdef.String, Default: "sessioned", Importance: configdef.Low, Unsupported: oneWorker, Doc: "Compatibility mode of the Connect protocol."},
		configdef.Key{Name: "admin.listeners", Type: configdef.String, Importance: configdef.Low, Unsupported: "the endpoints under /admin are on the main listener", Doc: "Listeners of the admin API."},
		configdef.Key{Name: "plugin.discovery", Type: configdef.String, Default: "service_load", Importance: configdef.Low, Unsupported: goPlugins, Accepts: []string{"only_scan", "hybrid_warn", "hybrid_fail"}, Doc: "How plugins are found; whatever is set, they are compiled in."},
		configdef.Key{Name: "session.timeout.ms", Type: configdef.Int, Default: 10000, Importance: configdef.High, Unsupported: oneWorker, Doc: "After how long without a sign of life a worker is out of its group."},
		configdef.Key{Name: "heartbeat.interval.ms", Type: configdef.Int, Default: 3000, Importance: configdef.High, Unsupported: oneWorker, Doc: "Time between two signs of life of a worker in its group."},
		configdef.Key{Name: "rebalance.timeout.ms", Type: configdef.Int, Default: 60000, Importance: configdef.High, Unsupported: oneWorker, Doc: "How long a worker may take to join its group again."},
	)
	d.Unsupported(oneWorker, "worker.sync.timeout.ms", "worker.unsync.backoff.ms", "scheduled.rebalance.max.delay.ms",
		"inter.worker.key.generation.algorithm", "inter.worker.key.size", "inter.worker.key.ttl.ms", "inter.worker.signature.algorithm", "inter.worker.verification.algorithms")
	d.Unsupported(goPlugins, "plugin.path", "key.converter.plugin.version", "value.converter.plugin.version", "header.converter.plugin.version")
	d.Unsupported(noJMX, "metrics.sample.window.ms", "metrics.num.samples", "metrics.recording.level", "metric.reporters", "auto.include.jmx.reporter")
	d.Unsupported(noExtension, "rest.extension.classes")
	d.Unsupported("the headers of answers are fixed", "response.http.headers.config")
	d.Unsupported("use policy All or None", "connector.client.config.override.allowlist")
	d.Unsupported("positions are stored in offset.storage.topic", "offset.storage.file.filename")
	d.Allow(
		configdef.Pattern{Prefix: "key.converter."}, configdef.Pattern{Prefix: "value.converter."}, configdef.Pattern{Prefix: "header.converter."},
		configdef.Pattern{Prefix: "config.storage."}, configdef.Pattern{Prefix: "offset.storage."}, configdef.Pattern{Prefix: "status.storage."},
		configdef.Pattern{Prefix: "producer."}, configdef.Pattern{Prefix: "consumer."}, configdef.Pattern{Prefix: "admin."},
		configdef.Pattern{Prefix: "config.providers."},
		configdef.Pattern{Prefix: "admin.listeners.https.", Unsupported: "the endpoints under /admin are on the main listener"},
		configdef.Pattern{Prefix: "listeners.https.", Unsupported: "TLS on the REST API is left to a proxy"},
	)
	for _, k := range securityKeys() {
		d.Add(k)
	}
	d.CrossCheck(func(v configdef.Values, r *configdef.Result) {
		seen := map[string]string{}
		for _, k := range []string{"config.storage.topic", "offset.storage.topic", "status.storage.topic"} {
			if other := seen[v.Str(k)]; other != "" {
				r.Error(k, "Invalid value %s for configuration %s: it is the topic of %s as well", v.Str(k), k, other)
			}
			seen[v.Str(k)] = k
		}
		for _, side := range []string{"producer", "consumer", "admin"} {
			if _, err := clientOpts(side, v.WithPrefix(side+".")); err != nil {
				r.Error(side+".", "%s", err)
			}
		}
	})
	return d
}
