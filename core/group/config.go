package group

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"

	"github.com/moldau-io/moldau/core/coordinator"
)

// OffsetsTopic is the name of the internal topic that holds groups and offsets.
const OffsetsTopic = "__consumer_offsets"

// Config is what the coordinator is told by the broker's properties. The zero value of a field means the
// property's default, see [Config.WithDefaults]. Durations are milliseconds, as in the properties.
type Config struct {
	// OffsetsTopicPartitions is offsets.topic.num.partitions (50). It must equal the partition count of the
	// topic that exists: a group is found by its hash modulo this number.
	OffsetsTopicPartitions int32
	// MinSessionTimeoutMs is group.min.session.timeout.ms (6000).
	MinSessionTimeoutMs int32
	// MaxSessionTimeoutMs is group.max.session.timeout.ms (1800000).
	MaxSessionTimeoutMs int32
	// InitialRebalanceDelayMs is group.initial.rebalance.delay.ms (3000); -1 here means 0, because 0 is "not set".
	InitialRebalanceDelayMs int32
	// MaxGroupSize is group.max.size (2147483647).
	MaxGroupSize int32
	// OffsetMetadataMaxBytes is offset.metadata.max.bytes (4096), counted as Kafka does, in UTF-16 units.
	OffsetMetadataMaxBytes int32
	// OffsetsRetentionMs is offsets.retention.minutes in milliseconds (10080 minutes).
	OffsetsRetentionMs int64
	// OffsetsRetentionCheckMs is offsets.retention.check.interval.ms (600000).
	OffsetsRetentionCheckMs int64
	// CommitTimeoutMs is offsets.commit.timeout.ms (5000): how long an answer waits for its records.
	CommitTimeoutMs int32
	// NewMemberJoinTimeoutMs is how long a member that has not completed its first join may stay silent
	// (300000). Not a property; Kafka fixes it as well.
	NewMemberJoinTimeoutMs int32

	// ConsumerSessionTimeoutMs is group.consumer.session.timeout.ms (45000), ConsumerHeartbeatIntervalMs
	// group.consumer.heartbeat.interval.ms (5000): what KIP-848 groups have that have no value of their own.
	ConsumerSessionTimeoutMs    int32
	ConsumerHeartbeatIntervalMs int32
	// ConsumerAssignmentIntervalMs is group.consumer.assignment.interval.ms (1000), the least time between two
	// targets of a group; -1 here means 0, because 0 is "not set".
	ConsumerAssignmentIntervalMs int32
	// ConsumerMaxSize is group.consumer.max.size (2147483647).
	ConsumerMaxSize int32
	// ConsumerAssignors is group.consumer.assignors (uniform, range); the first one is the default.
	ConsumerAssignors []string
	// ConsumerMigration is group.consumer.migration.policy, in lower case (bidirectional).
	ConsumerMigration string
	// ConsumerRegexRefreshMs is group.consumer.regex.refresh.interval.ms (600000).
	ConsumerRegexRefreshMs int32

	// MaxMemberBytes bounds one member's protocols and metadata (default 4 MiB).
	MaxMemberBytes int64
	// MaxShardBytes bounds what the groups and offsets of one partition of the offsets topic may take in
	// memory (default 256 MiB).
	MaxShardBytes int64
	// MaxInflightBytes bounds the records of one partition that were appended and are not yet durable
	// (default 64 MiB).
	MaxInflightBytes int64
	// MaxBatchBytes is how large a batch of tombstones may grow before it is divided (default 512 KiB);
	// keep it below max.message.bytes of the offsets topic.
	MaxBatchBytes int
	// MaxAtomicBytes bounds what one change of a KIP-848 group may write, as one batch (default 1000000); keep
	// it below max.message.bytes of the offsets topic.
	MaxAtomicBytes int

	// NewMemberSuffix makes the unique part of a member id; the default is a random UUID.
	NewMemberSuffix func() string
	// NewMemberID makes the id of a member that has none and joins a KIP-848 group; the default is a random
	// one in the form of Kafka's.
	NewMemberID func() string
	// Clock is the edge's clock; the default is the system's.
	Clock Clock
}

// Clock is time as the edge sees it.
type Clock = coordinator.Clock

// initialRebalanceDelay is group.initial.rebalance.delay.ms.
func (c *Config) initialRebalanceDelay() int64 { return max(int64(c.InitialRebalanceDelayMs), 0) }

// WithDefaults is c with the unset fields filled in. Doing it twice changes nothing.
func (c Config) WithDefaults() Config {
	def32 := func(p *int32, v int32) {
		if *p == 0 {
			*p = v
		}
	}
	def64 := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	def32(&c.OffsetsTopicPartitions, 50)
	def32(&c.MinSessionTimeoutMs, 6000)
	def32(&c.MaxSessionTimeoutMs, 1800000)
	def32(&c.InitialRebalanceDelayMs, 3000)
	def32(&c.MaxGroupSize, math.MaxInt32)
	def32(&c.OffsetMetadataMaxBytes, 4096)
	def64(&c.OffsetsRetentionMs, 10080*60*1000)
	def64(&c.OffsetsRetentionCheckMs, 600000)
	def32(&c.CommitTimeoutMs, 5000)
	def32(&c.NewMemberJoinTimeoutMs, 5*60*1000)
	def64(&c.MaxMemberBytes, 4<<20)
	def64(&c.MaxShardBytes, 256<<20)
	def64(&c.MaxInflightBytes, 64<<20)
	if c.MaxBatchBytes == 0 {
		c.MaxBatchBytes = 512 << 10
	}
	def32(&c.ConsumerSessionTimeoutMs, 45000)
	def32(&c.ConsumerHeartbeatIntervalMs, 5000)
	def32(&c.ConsumerAssignmentIntervalMs, 1000)
	def32(&c.ConsumerMaxSize, math.MaxInt32)
	def32(&c.ConsumerRegexRefreshMs, 600000)
	if len(c.ConsumerAssignors) == 0 {
		c.ConsumerAssignors = []string{assignorUniform, assignorRange}
	}
	if c.ConsumerMigration == "" {
		c.ConsumerMigration = MigrationBidirectional
	}
	if c.MaxAtomicBytes == 0 {
		c.MaxAtomicBytes = 1_000_000
	}
	if c.NewMemberID == nil {
		c.NewMemberID = randomMemberID
	}
	if c.NewMemberSuffix == nil {
		c.NewMemberSuffix = randomUUID
	}
	if c.Clock == nil {
		c.Clock = coordinator.SystemClock()
	}
	return c
}

// Validate says by property name what cannot be; call it on a config with its defaults filled in.
func (c Config) Validate() error {
	switch {
	case c.OffsetsTopicPartitions < 1:
		return fmt.Errorf("offsets.topic.num.partitions is %d: must be at least 1", c.OffsetsTopicPartitions)
	case c.MinSessionTimeoutMs < 1 || c.MaxSessionTimeoutMs < c.MinSessionTimeoutMs:
		return fmt.Errorf("group.max.session.timeout.ms is %d: must be at least group.min.session.timeout.ms, which is %d",
			c.MaxSessionTimeoutMs, c.MinSessionTimeoutMs)
	case c.MaxGroupSize < 1:
		return fmt.Errorf("group.max.size is %d: must be at least 1", c.MaxGroupSize)
	case c.OffsetMetadataMaxBytes < 0:
		return fmt.Errorf("offset.metadata.max.bytes is %d: must not be negative", c.OffsetMetadataMaxBytes)
	case c.OffsetsRetentionMs < 60_000:
		return fmt.Errorf("offsets.retention.minutes is %d: must be at least 1", c.OffsetsRetentionMs/60_000)
	case c.OffsetsRetentionCheckMs < 1:
		return fmt.Errorf("offsets.retention.check.interval.ms is %d: must be at least 1", c.OffsetsRetentionCheckMs)
	case c.CommitTimeoutMs < 1:
		return fmt.Errorf("offsets.commit.timeout.ms is %d: must be at least 1", c.CommitTimeoutMs)
	}
	for _, a := range c.ConsumerAssignors {
		if a != assignorUniform && a != assignorRange {
			return fmt.Errorf("group.consumer.assignors names %q: the server has %s and %s", a, assignorUniform, assignorRange)
		}
	}
	switch c.ConsumerMigration {
	case MigrationDisabled, MigrationUpgrade, MigrationDowngrade, MigrationBidirectional:
	default:
		return fmt.Errorf("group.consumer.migration.policy is %q: must be disabled, upgrade, downgrade or bidirectional", c.ConsumerMigration)
	}
	if c.ConsumerHeartbeatIntervalMs >= c.ConsumerSessionTimeoutMs {
		return fmt.Errorf("group.consumer.heartbeat.interval.ms is %d: must be less than group.consumer.session.timeout.ms, which is %d",
			c.ConsumerHeartbeatIntervalMs, c.ConsumerSessionTimeoutMs)
	}
	return nil
}

// randomMemberID is 16 random bytes in URL-safe base64; it does not begin with a dash, which tools would take
// for an option.
func randomMemberID() string {
	for {
		var u [16]byte
		_, _ = rand.Read(u[:]) // crypto/rand.Read never fails, it ends the process instead
		u[6] = u[6]&0x0f | 0x40
		u[8] = u[8]&0x3f | 0x80
		if id := base64.RawURLEncoding.EncodeToString(u[:]); id[0] != '-' {
			return id
		}
	}
}

// randomUUID is a version 4 UUID in its usual form.
func randomUUID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // crypto/rand.Read never fails, it ends the process instead
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	var s [36]byte
	hex.Encode(s[0:8], u[0:4])
	hex.Encode(s[9:13], u[4:6])
	hex.Encode(s[14:18], u[6:8])
	hex.Encode(s[19:23], u[8:10])
	hex.Encode(s[24:36], u[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}
