package log

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/moldau-io/moldau/core/log/batch"
)

// Durability says when a write counts as durable.
type Durability int8

const (
	// DurabilityDefault takes the directory's setting; for a directory it is DurabilityFsync.
	DurabilityDefault Durability = iota
	// DurabilityFsync: after a group-committed fdatasync.
	DurabilityFsync
	// DurabilityOS: when it is in the page cache. A power loss may take it; replicas are what protects it, as in Kafka.
	DurabilityOS
)

// ParseDurability reads "fsync" or "os".
func ParseDurability(s string) (Durability, error) {
	switch s {
	case "fsync":
		return DurabilityFsync, nil
	case "os":
		return DurabilityOS, nil
	}
	return 0, fmt.Errorf("durability %q: want fsync or os", s)
}

func (d Durability) String() string {
	switch d {
	case DurabilityFsync:
		return "fsync"
	case DurabilityOS:
		return "os"
	}
	return "default"
}

// CompressionProducer is the CompressionType that keeps what the producer chose.
const CompressionProducer batch.Codec = -1

// Config is the part of a topic's configuration that its logs obey. Names and units are Kafka's: Ms fields are
// milliseconds, and math.MaxInt64 or -1 mean without limit where Kafka says so.
type Config struct {
	SegmentBytes           int64
	SegmentMs              int64
	SegmentJitterMs        int64
	SegmentIndexBytes      int64
	IndexIntervalBytes     int64
	RetentionBytes         int64 // -1: no limit
	RetentionMs            int64 // -1: no limit
	Delete                 bool  // cleanup.policy has delete
	Compact                bool  // cleanup.policy has compact
	MinCleanableDirtyRatio float64
	DeleteRetentionMs      int64
	MinCompactionLagMs     int64
	MaxCompactionLagMs     int64
	MaxMessageBytes        int64
	LogAppendTime          bool // message.timestamp.type
	TimestampBeforeMaxMs   int64
	TimestampAfterMaxMs    int64
	CompressionType        batch.Codec // CompressionProducer or the codec that batches are brought to
	GzipLevel              int
	LZ4Level               int
	ZstdLevel              int
	FlushMessages          int64
	FlushMs                int64
	FileDeleteDelayMs      int64
	Preallocate            bool
	Durability             Durability
}

// DefaultConfig is a topic without any setting.
func DefaultConfig() Config {
	return Config{
		SegmentBytes:           1 << 30,
		SegmentMs:              604800000,
		SegmentIndexBytes:      10 << 20,
		IndexIntervalBytes:     4096,
		RetentionBytes:         -1,
		RetentionMs:            604800000,
		Delete:                 true,
		MinCleanableDirtyRatio: 0.5,
		DeleteRetentionMs:      86400000,
		MaxCompactionLagMs:     math.MaxInt64,
		MaxMessageBytes:        1048588,
		TimestampBeforeMaxMs:   math.MaxInt64,
		TimestampAfterMaxMs:    3600000,
		CompressionType:        CompressionProducer,
		GzipLevel:              -1,
		LZ4Level:               9,
		ZstdLevel:              3,
		FlushMessages:          math.MaxInt64,
		FlushMs:                math.MaxInt64,
		FileDeleteDelayMs:      60000,
	}
}

// ParseConfig reads topic configs over the defaults. Keys that do not concern the log (min.insync.replicas, the
// remote storage and throttling keys) are skipped: who sets topic configs checks their names. "durability" (fsync or os)
// is moldau's own key; a bad value is an error that names the key.
func ParseConfig(topicConfigs map[string]string) (Config, error) {
	c := DefaultConfig()
	for k, v := range topicConfigs {
		if err := c.set(k, strings.TrimSpace(v)); err != nil {
			return Config{}, fmt.Errorf("invalid value %s for configuration %s: %w", v, k, err)
		}
	}
	return c, nil
}

func (c *Config) set(k, v string) (err error) {
	integer := func(dst *int64, lo, hi int64) {
		n, e := strconv.ParseInt(v, 10, 64)
		switch {
		case e != nil:
			err = fmt.Errorf("not a number")
		case n < lo:
			err = fmt.Errorf("value must be at least %d", lo)
		case n > hi:
			err = fmt.Errorf("value must be no more than %d", hi)
		default:
			*dst = n
		}
	}
	level := func(dst *int, lo, hi int64) {
		var n int64
		if integer(&n, lo, hi); err == nil {
			*dst = int(n)
		}
	}
	const maxInt, maxLong = math.MaxInt32, math.MaxInt64
	switch k {
	case "segment.bytes":
		integer(&c.SegmentBytes, 14, maxInt)
	case "segment.ms":
		integer(&c.SegmentMs, 1, maxLong)
	case "segment.jitter.ms":
		integer(&c.SegmentJitterMs, 0, maxLong)
	case "segment.index.bytes":
		integer(&c.SegmentIndexBytes, 4, maxInt)
	case "index.interval.bytes":
		integer(&c.IndexIntervalBytes, 0, maxInt)
	case "retention.bytes":
		integer(&c.RetentionBytes, math.MinInt64, maxLong)
		c.RetentionBytes = max(c.RetentionBytes, -1) // Kafka takes all below zero for none
	case "retention.ms":
		integer(&c.RetentionMs, -1, maxLong)
	case "delete.retention.ms":
		integer(&c.DeleteRetentionMs, 0, maxLong)
	case "min.compaction.lag.ms":
		integer(&c.MinCompactionLagMs, 0, maxLong)
	case "max.compaction.lag.ms":
		integer(&c.MaxCompactionLagMs, 1, maxLong)
	case "max.message.bytes":
		integer(&c.MaxMessageBytes, 0, maxInt)
	case "message.timestamp.before.max.ms":
		integer(&c.TimestampBeforeMaxMs, 0, maxLong)
	case "message.timestamp.after.max.ms":
		integer(&c.TimestampAfterMaxMs, 0, maxLong)
	case "flush.messages":
		integer(&c.FlushMessages, 1, maxLong)
	case "flush.ms":
		integer(&c.FlushMs, 0, maxLong)
	case "file.delete.delay.ms":
		integer(&c.FileDeleteDelayMs, 0, maxLong)
	case "compression.gzip.level":
		if v == "-1" {
			c.GzipLevel = -1
			return nil
		}
		level(&c.GzipLevel, 1, 9)
	case "compression.lz4.level":
		level(&c.LZ4Level, 1, 17)
	case "compression.zstd.level":
		level(&c.ZstdLevel, -131072, 22)
	case "min.cleanable.dirty.ratio":
		f, e := strconv.ParseFloat(v, 64)
		if e != nil || !(f >= 0 && f <= 1) {
			return fmt.Errorf("value must be between 0 and 1")
		}
		c.MinCleanableDirtyRatio = f
	case "message.timestamp.type":
		switch v {
		case "CreateTime", "LogAppendTime":
			c.LogAppendTime = v == "LogAppendTime"
		default:
			return fmt.Errorf("String must be one of: CreateTime, LogAppendTime")
		}
	case "cleanup.policy":
		c.Delete, c.Compact = false, false
		for p := range strings.SplitSeq(v, ",") {
			switch strings.TrimSpace(p) {
			case "delete":
				c.Delete = true
			case "compact":
				c.Compact = true
			case "":
			default:
				return fmt.Errorf("String must be one of: compact, delete")
			}
		}
	case "compression.type":
		if v == "producer" {
			c.CompressionType = CompressionProducer
			return nil
		}
		codec, e := batch.ParseCodec(v)
		if e != nil || v == "none" {
			return fmt.Errorf("String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer")
		}
		c.CompressionType = codec
	case "preallocate":
		b, e := strconv.ParseBool(v)
		if e != nil {
			return fmt.Errorf("expected value to be either true or false")
		}
		c.Preallocate = b
	case "durability":
		c.Durability, err = ParseDurability(v)
	}
	return err
}

// codecLevel is the configured level of a codec.
func (c *Config) codecLevel(codec batch.Codec) int {
	switch codec {
	case batch.Gzip:
		if c.GzipLevel != -1 {
			return c.GzipLevel
		}
	case batch.LZ4:
		return c.LZ4Level
	case batch.Zstd:
		return c.ZstdLevel
	}
	return batch.DefaultLevel
}

// rollMs is the age at which a segment is rolled: a compacted log must roll before max.compaction.lag.ms, because the
// active segment is never compacted.
func (c *Config) rollMs() int64 {
	if c.Compact {
		return min(c.SegmentMs, c.MaxCompactionLagMs)
	}
	return c.SegmentMs
}
