package config

const (
	noTiering = "there is no tiered storage"
	maxLong   = "9223372036854775807"
)

// TopicKeys are the configs of topics: Kafka's 36 and durability.
var TopicKeys = newTable("topic", []Key{
	{Name: "cleanup.policy", Type: List, Default: text("delete"), Check: eachOf("compact", "delete"), Importance: Medium,
		Doc: "What happens to old segments: delete removes them by age and size (retention.ms, retention.bytes), compact keeps the newest record of each key, both do both."},
	{Name: "compression.gzip.level", Type: Int, Default: text("-1"), Check: betweenOr(1, 9, -1), Importance: Medium,
		Doc: "The level of gzip when compression.type is gzip."},
	{Name: "compression.lz4.level", Type: Int, Default: text("9"), Check: between(1, 17), Importance: Medium,
		Doc: "The level of lz4 when compression.type is lz4."},
	{Name: "compression.type", Type: String, Default: text("producer"), Check: oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"), Importance: Medium,
		Doc: "The codec in which batches are stored. producer keeps each batch as it was sent."},
	{Name: "compression.zstd.level", Type: Int, Default: text("3"), Check: between(-131072, 22), Importance: Medium,
		Doc: "The level of zstd when compression.type is zstd."},
	{Name: "delete.retention.ms", Type: Long, Default: text("86400000"), Check: atLeast(0), Importance: Medium,
		Doc: "How long a compacted topic keeps the tombstone of a deleted key, in milliseconds: the time a consumer that reads from the beginning has to see it."},
	{Name: "durability", Type: String, Default: text("fsync"), Check: oneOf("fsync", "os"), Importance: High,
		Doc: "moldau's own. When a produced batch is acknowledged: fsync after a group-committed sync of the log to disk, os when the operating system has it."},
	{Name: "errors.deadletterqueue.group.enable", Type: Boolean, Default: text("false"), Importance: Medium, Unsupported: "there are no share groups",
		Doc: "Whether the topic may be the dead letter queue of a share group."},
	{Name: "file.delete.delay.ms", Type: Long, Default: text("60000"), Check: atLeast(0), Importance: Medium,
		Doc: "How long a deleted segment's file stays on disk, in milliseconds."},
	{Name: "flush.messages", Type: Long, Default: text(maxLong), Check: atLeast(1), Importance: Medium,
		Doc: "After how many records the log is synced, beside what durability asks for."},
	{Name: "flush.ms", Type: Long, Default: text(maxLong), Check: atLeast(0), Importance: Medium,
		Doc: "After how many milliseconds the log is synced, beside what durability asks for."},
	{Name: "follower.replication.throttled.replicas", Type: List, Default: text(""), Check: throttledReplicas, Importance: Medium,
		Doc: "The replicas whose followers are throttled, as partition:broker, or * for all. A single node replicates nothing that could be throttled."},
	{Name: "index.interval.bytes", Type: Int, Default: text("4096"), Check: atLeast(0), Importance: Medium,
		Doc: "How many bytes of log lie between two entries of the offset index."},
	{Name: "leader.replication.throttled.replicas", Type: List, Default: text(""), Check: throttledReplicas, Importance: Medium,
		Doc: "The replicas whose leaders are throttled, as partition:broker, or * for all. A single node replicates nothing that could be throttled."},
	{Name: "local.retention.bytes", Type: Long, Default: text("-2"), Check: atLeast(-2), Importance: Medium, Unsupported: noTiering,
		Doc: "How many bytes of a partition stay on the local disk when older segments are in remote storage."},
	{Name: "local.retention.ms", Type: Long, Default: text("-2"), Check: atLeast(-2), Importance: Medium, Unsupported: noTiering,
		Doc: "How long segments stay on the local disk when they are in remote storage, in milliseconds."},
	{Name: "max.compaction.lag.ms", Type: Long, Default: text(maxLong), Check: atLeast(1), Importance: Medium,
		Doc: "After how many milliseconds a record of a compacted topic can be compacted at the latest."},
	{Name: "max.message.bytes", Type: Int, Default: text("1048588"), Check: atLeast(0), Importance: Medium,
		Doc: "The largest record batch the topic takes, in bytes, compressed."},
	{Name: "message.timestamp.after.max.ms", Type: Long, Default: text("3600000"), Check: atLeast(0), Importance: Medium,
		Doc: "How far a record's timestamp may be ahead of the broker's clock, in milliseconds, when message.timestamp.type is CreateTime."},
	{Name: "message.timestamp.before.max.ms", Type: Long, Default: text(maxLong), Check: atLeast(0), Importance: Medium,
		Doc: "How far a record's timestamp may be behind the broker's clock, in milliseconds, when message.timestamp.type is CreateTime."},
	{Name: "message.timestamp.type", Type: String, Default: text("CreateTime"), Check: oneOf("CreateTime", "LogAppendTime"), Importance: Medium,
		Doc: "Whose time a record has: the producer's (CreateTime) or that of the append (LogAppendTime)."},
	{Name: "min.cleanable.dirty.ratio", Type: Double, Default: text("0.5"), Check: between(0, 1), Importance: Medium,
		Doc: "The part of a compacted log that must be new before it is compacted again."},
	{Name: "min.compaction.lag.ms", Type: Long, Default: text("0"), Check: atLeast(0), Importance: Medium,
		Doc: "How long a record of a compacted topic stays uncompacted at least, in milliseconds."},
	{Name: "min.insync.replicas", Type: Int, Default: text("1"), Check: atLeast(1), Importance: Medium,
		Doc: "How many in-sync replicas must have a record before a producer with acks=all gets its answer."},
	{Name: "preallocate", Type: Boolean, Default: text("false"), Importance: Medium,
		Doc: "Whether the file of a new segment is allocated at its full size."},
	{Name: "remote.copy.lag.bytes", Type: Long, Default: text("-1"), Check: atLeast(-1), Importance: Medium, Unsupported: noTiering,
		Doc: "How many bytes stay local before a segment is copied to remote storage."},
	{Name: "remote.copy.lag.ms", Type: Long, Default: text("0"), Check: atLeast(-1), Importance: Medium, Unsupported: noTiering,
		Doc: "How long a segment stays local before it is copied to remote storage, in milliseconds."},
	{Name: "remote.log.copy.disable", Type: Boolean, Default: text("false"), Importance: Medium, Unsupported: noTiering,
		Doc: "Whether no more segments are copied to remote storage."},
	{Name: "remote.log.delete.on.disable", Type: Boolean, Default: text("false"), Importance: Medium, Unsupported: noTiering,
		Doc: "Whether remote segments are deleted when remote storage is turned off."},
	{Name: "remote.storage.enable", Type: Boolean, Default: text("false"), Importance: Medium, Unsupported: noTiering,
		Doc: "Whether segments go to remote storage."},
	{Name: "retention.bytes", Type: Long, Default: text("-1"), Importance: Medium,
		Doc: "The size in bytes above which a partition loses its oldest segments when cleanup.policy has delete; -1 for no limit."},
	{Name: "retention.ms", Type: Long, Default: text("604800000"), Check: atLeast(-1), Importance: Medium,
		Doc: "How long segments are kept when cleanup.policy has delete, in milliseconds; -1 for ever."},
	{Name: "segment.bytes", Type: Int, Default: text("1073741824"), Check: atLeast(1048576), Importance: Medium,
		Doc: "The size in bytes at which a new segment file begins."},
	{Name: "segment.index.bytes", Type: Int, Default: text("10485760"), Check: atLeast(4), Importance: Medium,
		Doc: "The largest size of a segment's offset index, in bytes."},
	{Name: "segment.jitter.ms", Type: Long, Default: text("0"), Check: atLeast(0), Importance: Medium,
		Doc: "The most by which segment.ms is shortened at random, so that segments do not all roll at once."},
	{Name: "segment.ms", Type: Long, Default: text("604800000"), Check: atLeast(1), Importance: Medium,
		Doc: "The age in milliseconds at which a new segment begins even if the last is not full."},
	{Name: "unclean.leader.election.enable", Type: Boolean, Default: text("false"), Importance: Medium,
		Doc: "Whether a replica that is not in sync may become leader when no other can, which loses records."},
})

// origin is a broker property a topic config follows from, and how many of the topic's units one of its units is.
type origin struct {
	name   string
	factor int64 // 0 for not a time
}

// topicOrigins holds, for each topic config that follows from the broker's properties, these in the order in
// which they count.
var topicOrigins = map[string][]origin{
	"cleanup.policy":                  {{name: "log.cleanup.policy"}},
	"compression.gzip.level":          {{name: "compression.gzip.level"}},
	"compression.lz4.level":           {{name: "compression.lz4.level"}},
	"compression.type":                {{name: "compression.type"}},
	"compression.zstd.level":          {{name: "compression.zstd.level"}},
	"delete.retention.ms":             {{name: "log.cleaner.delete.retention.ms"}},
	"durability":                      {{name: "log.durability"}},
	"file.delete.delay.ms":            {{name: "log.segment.delete.delay.ms"}},
	"flush.messages":                  {{name: "log.flush.interval.messages"}},
	"flush.ms":                        {{"log.flush.interval.ms", 1}, {"log.flush.scheduler.interval.ms", 1}},
	"index.interval.bytes":            {{name: "log.index.interval.bytes"}},
	"local.retention.bytes":           {{name: "log.local.retention.bytes"}},
	"local.retention.ms":              {{name: "log.local.retention.ms"}},
	"max.compaction.lag.ms":           {{name: "log.cleaner.max.compaction.lag.ms"}},
	"max.message.bytes":               {{name: "message.max.bytes"}},
	"message.timestamp.after.max.ms":  {{name: "log.message.timestamp.after.max.ms"}},
	"message.timestamp.before.max.ms": {{name: "log.message.timestamp.before.max.ms"}},
	"message.timestamp.type":          {{name: "log.message.timestamp.type"}},
	"min.cleanable.dirty.ratio":       {{name: "log.cleaner.min.cleanable.ratio"}},
	"min.compaction.lag.ms":           {{name: "log.cleaner.min.compaction.lag.ms"}},
	"min.insync.replicas":             {{name: "min.insync.replicas"}},
	"preallocate":                     {{name: "log.preallocate"}},
	"retention.bytes":                 {{name: "log.retention.bytes"}},
	"retention.ms":                    {{"log.retention.ms", 1}, {"log.retention.minutes", 60_000}, {"log.retention.hours", 3_600_000}},
	"segment.bytes":                   {{name: "log.segment.bytes"}},
	"segment.index.bytes":             {{name: "log.index.size.max.bytes"}},
	"segment.jitter.ms":               {{"log.roll.jitter.ms", 1}, {"log.roll.jitter.hours", 3_600_000}},
	"segment.ms":                      {{"log.roll.ms", 1}, {"log.roll.hours", 3_600_000}},
	"unclean.leader.election.enable":  {{name: "unclean.leader.election.enable"}},
}

// brokerFamily maps a broker property that has forms in other units to all of them, in the order in which they count.
var brokerFamily = func() map[string][]string {
	m := map[string][]string{}
	for _, os := range topicOrigins {
		if len(os) < 2 {
			continue
		}
		var names []string
		for _, o := range os {
			names = append(names, o.name)
		}
		for _, n := range names {
			m[n] = names
		}
	}
	return m
}()

// ValidateTopic judges all the overrides a topic would have, with Kafka's texts.
func ValidateTopic(overrides map[string]string) error {
	if err := TopicKeys.Validate(overrides); err != nil {
		return err
	}
	low, high := effectiveLong(overrides, "min.compaction.lag.ms"), effectiveLong(overrides, "max.compaction.lag.ms")
	if low > high {
		return invalid("conflict topic config setting min.compaction.lag.ms (" + itoa(low) + ") > max.compaction.lag.ms (" + itoa(high) + ")")
	}
	return nil
}

// effectiveLong is the override or the default of a valid number.
func effectiveLong(overrides map[string]string, name string) int64 {
	k := TopicKeys.Key(name)
	s, ok := overrides[name]
	if !ok {
		s = *k.Default
	}
	v, _ := parse(k.Type, s)
	return v.Int
}
