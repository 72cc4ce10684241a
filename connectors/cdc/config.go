package cdc

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/moldau-io/moldau/plugins/configdef"
)

// ParityVersion is the version of Debezium whose events are written; it is also what source.version says.
const ParityVersion = "3.6.1.Final"

// DefaultQueueBytes bounds the queue when max.queue.size.in.bytes is 0: unlike the original, the queue is never unbounded in bytes.
const DefaultQueueBytes = 64 << 20

// FailureMode is event.processing.failure.handling.mode.
type FailureMode string

// The ways to meet an event that cannot be converted.
const (
	FailureFail FailureMode = "fail"
	FailureWarn FailureMode = "warn"
	FailureSkip FailureMode = "skip"
)

// Config is the parsed form of the common keys.
type Config struct {
	// Connector is the name in the source block and headers: "postgresql", "mysql".
	Connector string
	Prefix    string
	Topics    Topics

	Tables         Filter
	Columns        Filter
	SnapshotTables *Patterns // empty: all

	SchemaNames, FieldNames NameAdjuster
	Decimal                 DecimalMode
	Time                    TimeMode
	Binary                  BinaryMode
	Failure                 FailureMode

	Tombstones, SkipUnchanged, TransactionMetadata, ExtendedHeaders bool
	Skipped                                                         [256]bool // by Op

	MaxBatch, MaxQueue     int
	MaxQueueBytes          int64
	PollInterval           time.Duration
	HeartbeatInterval      time.Duration // heartbeat.interval.ms; 0: none
	HeartbeatQuery         string
	SnapshotDelay          time.Duration
	StreamingDelay         time.Duration
	RetryWait              time.Duration
	MaxRetries             int64 // -1: for ever
	QueryTimeout           time.Duration
	SnapshotFetchSize      int
	UnavailablePlaceholder string
	selectOverrides        map[string]string

	mappers          []Mapper
	propagateColumns *Patterns
	propagateTypes   *Patterns
	messageKeys      []messageKeys
}

func listText(v any) string {
	l, _ := v.([]string)
	return strings.Join(l, ",")
}

func checkPatterns(v any) string {
	if _, err := ParsePatterns(listText(v)); err != nil {
		return err.Error()
	}
	return ""
}

var prefixPattern = regexp.MustCompile(`^[a-zA-Z0-9._\-]+$`)

func checkPrefix(v any) string {
	if s, _ := v.(string); !prefixPattern.MatchString(s) {
		return "it must start and consist only of alphanumeric characters, hyphens, dots and underscores"
	}
	return ""
}

// Defaults are the values that differ between connectors.
type Defaults struct {
	TimePrecision TimeMode // adaptive (PostgreSQL) or adaptive_time_microseconds (MySQL)
	TimeModes     []string
	FetchSize     int
	SnapshotModes []string
}

// Keys defines the keys that all change-data-capture connectors share, under Debezium's names and defaults. Those that are known and
// not supported are refused by name.
func Keys(d Defaults) *configdef.Def {
	one := func(vals ...string) func(any) string { return configdef.OneOf(true, vals...) }
	def := configdef.NewDef(
		configdef.Key{Name: "topic.prefix", Type: configdef.String, Required: true, Importance: configdef.High, Check: checkPrefix, Width: configdef.WidthMedium,
			Doc: "Namespace of this connector: the first part of all topic names and the name in source blocks and offsets. Do not change it later."},
		configdef.Key{Name: "table.include.list", Type: configdef.List, Importance: configdef.High, Check: checkPatterns, Doc: "Regular expressions of the tables to capture, matched against the whole name, ignoring case."},
		configdef.Key{Name: "table.exclude.list", Type: configdef.List, Check: checkPatterns, Doc: "Regular expressions of the tables not to capture."},
		configdef.Key{Name: "column.include.list", Type: configdef.List, Check: checkPatterns, Doc: "Regular expressions of the columns to write. Key columns are always in the key."},
		configdef.Key{Name: "column.exclude.list", Type: configdef.List, Check: checkPatterns, Doc: "Regular expressions of the columns to leave out."},
		configdef.Key{Name: "snapshot.mode", Type: configdef.String, Default: "initial", Check: one(d.SnapshotModes...), Recommended: d.SnapshotModes, Importance: configdef.High, Doc: "When to read the tables before following changes."},
		configdef.Key{Name: "snapshot.include.collection.list", Type: configdef.List, Check: checkPatterns, Doc: "Of the captured tables, those to read in a snapshot."},
		configdef.Key{Name: "snapshot.select.statement.overrides", Type: configdef.List, Doc: "Tables whose rows a snapshot reads by a statement of their own, given in snapshot.select.statement.overrides.TABLE."},
		configdef.Key{Name: "snapshot.delay.ms", Type: configdef.Long, Default: 0, Check: configdef.AtLeast(0), Importance: configdef.Low, Doc: "Milliseconds to wait before a snapshot."},
		configdef.Key{Name: "streaming.delay.ms", Type: configdef.Long, Default: 0, Check: configdef.AtLeast(0), Importance: configdef.Low, Doc: "Milliseconds to wait between a finished snapshot and following changes."},
		configdef.Key{Name: "snapshot.fetch.size", Type: configdef.Int, Default: d.FetchSize, Check: configdef.AtLeast(1), Doc: "Rows that a snapshot reads ahead at most before they are handed on."},
		configdef.Key{Name: "max.batch.size", Type: configdef.Int, Default: 2048, Check: configdef.AtLeast(1), Doc: "Most records that one poll returns."},
		configdef.Key{Name: "max.queue.size", Type: configdef.Int, Default: 8192, Check: configdef.AtLeast(1), Doc: "Most records that wait between reading and the log. Must be larger than max.batch.size."},
		configdef.Key{Name: "max.queue.size.in.bytes", Type: configdef.Long, Default: 0, Check: configdef.AtLeast(0), Doc: "Most bytes that wait between reading and the log. 0 means 64 MiB."},
		configdef.Key{Name: "poll.interval.ms", Type: configdef.Long, Default: 500, Check: configdef.AtLeast(1), Doc: "Milliseconds that a poll waits for records."},
		configdef.Key{Name: "tombstones.on.delete", Type: configdef.Boolean, Default: true, Doc: "Whether a delete is followed by a record with a null value, which lets compaction forget the key."},
		configdef.Key{Name: "decimal.handling.mode", Type: configdef.String, Default: "precise", Check: one("precise", "double", "string"), Recommended: []string{"precise", "double", "string"}, Doc: "How decimals are written."},
		configdef.Key{Name: "time.precision.mode", Type: configdef.String, Default: string(d.TimePrecision), Check: one(d.TimeModes...), Recommended: d.TimeModes, Doc: "How dates and times are written."},
		configdef.Key{Name: "binary.handling.mode", Type: configdef.String, Default: "bytes", Check: one("bytes", "base64", "base64-url-safe", "hex"), Recommended: []string{"bytes", "base64", "base64-url-safe", "hex"}, Doc: "How binary columns are written."},
		configdef.Key{Name: "heartbeat.interval.ms", Type: configdef.Int, Default: 0, Check: configdef.AtLeast(0), Doc: "Milliseconds between heartbeat records; 0: none. The position in the source's log moves on without them too."},
		configdef.Key{Name: "heartbeat.action.query", Type: configdef.String, Doc: "A statement to run in the database with each heartbeat."},
		configdef.Key{Name: "topic.heartbeat.prefix", Type: configdef.String, Default: "__debezium-heartbeat", Importance: configdef.Low, Doc: "First part of the heartbeat topic's name."},
		configdef.Key{Name: "topic.transaction", Type: configdef.String, Default: "transaction", Importance: configdef.Low, Doc: "Last part of the transaction metadata topic's name."},
		configdef.Key{Name: "topic.delimiter", Type: configdef.String, Default: ".", Check: one(".", "-", "_"), Importance: configdef.Low, Doc: "What stands between the parts of topic names."},
		configdef.Key{Name: "message.key.columns", Type: configdef.String, Importance: configdef.Medium, Check: func(v any) string {
			if _, err := parseMessageKeys(v.(string)); err != nil {
				return err.Error()
			}
			return ""
		}, Doc: "Keys other than the primary key: table:column,column;table:column with regular expressions for tables."},
		configdef.Key{Name: "column.propagate.source.type", Type: configdef.List, Check: checkPatterns, Importance: configdef.Low, Doc: "Columns whose schema tells the source's type, length and scale."},
		configdef.Key{Name: "datatype.propagate.source.type", Type: configdef.List, Check: checkPatterns, Importance: configdef.Low, Doc: "Types whose columns' schema tells the source's type, length and scale."},
		configdef.Key{Name: "schema.name.adjustment.mode", Type: configdef.String, Default: "none", Check: one("none", "avro", "avro_unicode"), Recommended: []string{"none", "avro", "avro_unicode"}, Doc: "How schema names are made fit for serialization formats."},
		configdef.Key{Name: "field.name.adjustment.mode", Type: configdef.String, Default: "none", Check: one("none", "avro", "avro_unicode"), Recommended: []string{"none", "avro", "avro_unicode"}, Doc: "How field names are made fit for serialization formats."},
		configdef.Key{Name: "skipped.operations", Type: configdef.List, Default: "t", Check: checkSkipped, Doc: "Operations to leave out: c, u, d, t, or none."},
		configdef.Key{Name: "skip.messages.without.change", Type: configdef.Boolean, Default: false, Doc: "Whether to leave out updates that changed no captured column; needs full row images."},
		configdef.Key{Name: "provide.transaction.metadata", Type: configdef.Boolean, Default: false, Doc: "Whether to write transaction boundaries and counts."},
		configdef.Key{Name: "extended.headers.enabled", Type: configdef.Boolean, Default: true, Doc: "Whether records carry headers that tell their connector and task."},
		configdef.Key{Name: "event.processing.failure.handling.mode", Type: configdef.String, Default: "fail", Check: one("fail", "warn", "skip", "ignore"), Recommended: []string{"fail", "warn", "skip"}, Aliases: []string{"event.deserialization.failure.handling.mode"}, Doc: "What to do about a change that cannot be converted."},
		configdef.Key{Name: "errors.max.retries", Type: configdef.Int, Default: -1, Check: configdef.AtLeast(-1), Importance: configdef.Low, Doc: "How often to try again after an error that may pass; -1: for ever."},
		configdef.Key{Name: "retriable.restart.connector.wait.ms", Type: configdef.Long, Default: 10000, Check: configdef.AtLeast(0), Importance: configdef.Low, Doc: "Most milliseconds to wait before trying again after an error that may pass."},
		configdef.Key{Name: "database.query.timeout.ms", Type: configdef.Int, Default: 600000, Check: configdef.AtLeast(0), Importance: configdef.Low, Doc: "Milliseconds after which a query on the catalog fails; 0: never."},
		configdef.Key{Name: "unavailable.value.placeholder", Type: configdef.String, Default: "__debezium_unavailable_value", Importance: configdef.Low, Doc: "What stands for a value that the source did not send because it did not change."},
		// Known, and supported in one form only.
		configdef.Key{Name: "topic.naming.strategy", Type: configdef.Class, Default: "io.debezium.schema.SchemaTopicNamingStrategy", Accepts: []string{"io.debezium.schema.DefaultTopicNamingStrategy"}, Unsupported: "topics are named as the default strategy does", Importance: configdef.Low, Doc: "Names topics."},
		configdef.Key{Name: "topic.cache.size", Type: configdef.Int, Default: 10000, Unsupported: "there is no such cache", Importance: configdef.Low, Doc: "Size of the original's topic name cache."},
		configdef.Key{Name: "snapshot.max.threads", Type: configdef.Int, Default: 1, Unsupported: "a snapshot reads one table at a time", Importance: configdef.Low, Doc: "Threads of a snapshot."},
		configdef.Key{Name: "snapshot.tables.order.by.row.count", Type: configdef.String, Default: "disabled", Unsupported: "tables are read in the order of their names", Importance: configdef.Low, Doc: "Order of tables in a snapshot."},
		configdef.Key{Name: "snapshot.query.mode", Type: configdef.String, Default: "select_all", Unsupported: "there are no custom snapshot queries but snapshot.select.statement.overrides", Importance: configdef.Low, Doc: "How snapshot queries are made."},
		configdef.Key{Name: "statistics.metrics.enabled", Type: configdef.Boolean, Default: true, Unsupported: "metrics cost nothing", Importance: configdef.Low, Doc: "Whether metrics are kept."},
		configdef.Key{Name: "openlineage.integration.enabled", Type: configdef.Boolean, Default: false, Unsupported: "there is no OpenLineage integration", Importance: configdef.Low, Doc: "OpenLineage."},
		configdef.Key{Name: "signal.enabled.channels", Type: configdef.List, Default: "source", Unsupported: "signals and incremental snapshots are not supported", Importance: configdef.Low, Doc: "Channels of signals; no signals are read."},
		configdef.Key{Name: "signal.poll.interval.ms", Type: configdef.Long, Default: 5000, Unsupported: "signals are not supported", Importance: configdef.Low, Doc: "Interval of signal channels."},
		configdef.Key{Name: "incremental.snapshot.chunk.size", Type: configdef.Int, Default: 1024, Unsupported: "incremental snapshots are not supported", Importance: configdef.Low, Doc: "Rows of a chunk."},
		configdef.Key{Name: "incremental.snapshot.allow.schema.changes", Type: configdef.Boolean, Default: false, Unsupported: "incremental snapshots are not supported", Importance: configdef.Low, Doc: "Schema changes during incremental snapshots."},
		configdef.Key{Name: "incremental.snapshot.watermarking.strategy", Type: configdef.String, Default: "insert_insert", Unsupported: "incremental snapshots are not supported", Importance: configdef.Low, Doc: "Watermarks of incremental snapshots."},
		configdef.Key{Name: "guardrail.collections.max", Type: configdef.Int, Default: 0, Unsupported: "the number of tables is not limited", Importance: configdef.Low, Doc: "Limit of captured tables."},
		configdef.Key{Name: "guardrail.collections.limit.action", Type: configdef.String, Default: "warn", Unsupported: "the number of tables is not limited", Importance: configdef.Low, Doc: "What happens at that limit."},
		configdef.Key{Name: "transaction.metadata.factory", Type: configdef.Class, Default: "io.debezium.pipeline.txmetadata.DefaultTransactionMetadataFactory", Unsupported: "there is one form of transaction metadata", Importance: configdef.Low, Doc: "Makes transaction metadata."},
		configdef.Key{Name: "executor.shutdown.timeout.ms", Type: configdef.Long, Default: 4000, Unsupported: "stopping does not wait on executors", Importance: configdef.Low, Doc: "Patience at shutdown."},
	)
	def.Unsupported("signals and incremental snapshots are not supported", "signal.data.collection", "signal.kafka.topic", "signal.kafka.bootstrap.servers", "signal.kafka.groupId", "signal.kafka.poll.timeout.ms", "signal.file")
	def.Unsupported("notifications are not supported", "notification.enabled.channels", "notification.sink.topic.name")
	def.Unsupported("custom Java classes cannot be loaded", "converters", "post.processors", "sourceinfo.struct.maker", "snapshot.mode.custom.name", "snapshot.locking.mode.custom.name", "snapshot.query.mode.custom.name", "custom.sanitize.pattern")
	def.Unsupported("metrics carry the labels connector and task", "custom.metric.tags")
	def.Allow(
		configdef.Pattern{Prefix: "snapshot.select.statement.overrides."},
		configdef.Pattern{Prefix: maskPrefix}, configdef.Pattern{Prefix: truncatePrefix},
		configdef.Pattern{Prefix: "snapshot.mode.configuration.based.", Unsupported: "snapshot.mode=configuration_based is not supported"},
		configdef.Pattern{Prefix: "signal.consumer.", Unsupported: "signals are not supported"},
		configdef.Pattern{Prefix: "openlineage.integration.", Unsupported: "there is no OpenLineage integration"},
	)
	return def.CrossCheck(func(v configdef.Values, r *configdef.Result) {
		both := func(a, b string) {
			if len(v.List(a)) > 0 && len(v.List(b)) > 0 {
				r.Error(b, "\"%s\" is already specified", a)
			}
		}
		both("table.include.list", "table.exclude.list")
		both("column.include.list", "column.exclude.list")
		if v.Int("max.queue.size") <= v.Int("max.batch.size") {
			r.Error("max.queue.size", "Invalid value %d for configuration max.queue.size: Must be larger than the maximum batch size", v.Int("max.queue.size"))
		}
		if _, err := Parse("", v); err != nil {
			r.Error("column.mask", "%s", err.Error())
		}
	})
}

func checkSkipped(v any) string {
	for _, s := range v.([]string) {
		switch strings.ToLower(s) {
		case "c", "u", "d", "t", "none", "":
		default:
			return "Value must be one of c, u, d, t or none"
		}
	}
	return ""
}

// Parse reads the common keys. connector is the name in the source block.
func Parse(connector string, v configdef.Values) (*Config, error) {
	low := func(k string) string { return strings.ToLower(v.Str(k)) }
	text := func(k string) string { return strings.Join(v.List(k), ",") }
	c := &Config{
		Connector: connector, Prefix: v.Str("topic.prefix"),
		Topics:      Topics{Prefix: v.Str("topic.prefix"), Delimiter: v.Str("topic.delimiter"), Heartbeat: v.Str("topic.heartbeat.prefix"), TransactionSuffix: v.Str("topic.transaction")},
		SchemaNames: NameAdjuster(low("schema.name.adjustment.mode")), FieldNames: NameAdjuster(low("field.name.adjustment.mode")),
		Decimal: DecimalMode(low("decimal.handling.mode")), Time: TimeMode(low("time.precision.mode")), Binary: BinaryMode(low("binary.handling.mode")),
		Failure:    FailureMode(low("event.processing.failure.handling.mode")),
		Tombstones: v.Bool("tombstones.on.delete"), SkipUnchanged: v.Bool("skip.messages.without.change"),
		TransactionMetadata: v.Bool("provide.transaction.metadata"), ExtendedHeaders: v.Bool("extended.headers.enabled"),
		MaxBatch: int(v.Int("max.batch.size")), MaxQueue: int(v.Int("max.queue.size")), MaxQueueBytes: v.Int("max.queue.size.in.bytes"),
		PollInterval: v.Millis("poll.interval.ms"), HeartbeatInterval: v.Millis("heartbeat.interval.ms"), HeartbeatQuery: v.Str("heartbeat.action.query"),
		SnapshotDelay: v.Millis("snapshot.delay.ms"), StreamingDelay: v.Millis("streaming.delay.ms"), SnapshotFetchSize: int(v.Int("snapshot.fetch.size")),
		RetryWait: v.Millis("retriable.restart.connector.wait.ms"), MaxRetries: v.Int("errors.max.retries"), QueryTimeout: v.Millis("database.query.timeout.ms"),
		UnavailablePlaceholder: v.Str("unavailable.value.placeholder"),
		selectOverrides:        map[string]string{},
	}
	if c.Failure == "ignore" {
		c.Failure = FailureSkip
	}
	if c.MaxQueueBytes == 0 {
		c.MaxQueueBytes = DefaultQueueBytes
	}
	for _, s := range v.List("skipped.operations") {
		if s != "" && !strings.EqualFold(s, "none") {
			c.Skipped[strings.ToLower(s)[0]] = true
		}
	}
	var err error
	if c.Tables, err = NewFilter(text("table.include.list"), text("table.exclude.list")); err != nil {
		return nil, fmt.Errorf("table filters: %w", err)
	}
	if c.Columns, err = NewFilter(text("column.include.list"), text("column.exclude.list")); err != nil {
		return nil, fmt.Errorf("column filters: %w", err)
	}
	if c.SnapshotTables, err = ParsePatterns(text("snapshot.include.collection.list")); err != nil {
		return nil, fmt.Errorf("snapshot.include.collection.list: %w", err)
	}
	if c.propagateColumns, err = ParsePatterns(text("column.propagate.source.type")); err != nil {
		return nil, fmt.Errorf("column.propagate.source.type: %w", err)
	}
	if c.propagateTypes, err = ParsePatterns(text("datatype.propagate.source.type")); err != nil {
		return nil, fmt.Errorf("datatype.propagate.source.type: %w", err)
	}
	if c.messageKeys, err = parseMessageKeys(v.Str("message.key.columns")); err != nil {
		return nil, fmt.Errorf("message.key.columns: %w", err)
	}
	if c.mappers, err = parseMappers(v.Raw()); err != nil {
		return nil, err
	}
	own := v.WithPrefix("snapshot.select.statement.overrides.")
	for _, t := range v.List("snapshot.select.statement.overrides") {
		if own[t] == "" {
			return nil, fmt.Errorf("snapshot.select.statement.overrides names %q but snapshot.select.statement.overrides.%s is not set", t, t)
		}
		c.selectOverrides[t] = own[t]
	}
	return c, nil
}

// SnapshotFrom returns what a snapshot selects the rows of a table from: table, or the table's own statement in parentheses.
func (c *Config) SnapshotFrom(id TableID, table string) string {
	if own := c.selectOverrides[id.String()]; own != "" {
		return "(" + strings.TrimRight(strings.TrimSpace(own), ";") + ") moldau_rows"
	}
	return table
}

// SnapshotIncludes reports whether a captured table is read by snapshots.
func (c *Config) SnapshotIncludes(id TableID) bool {
	return c.SnapshotTables.Empty() || c.SnapshotTables.Match(id.String())
}

// IncludesColumn reports whether a column is part of events.
func (c *Config) IncludesColumn(id TableID, column string) bool {
	return c.Columns.Includes(id.String() + "." + column)
}
