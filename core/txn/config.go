package txn

import (
	"fmt"

	"github.com/moldau-io/moldau/core/coordinator"
)

// Config is what the coordinator is told by the broker's properties. The zero value of a field means the property's default.
// Durations are milliseconds, as in the properties.
type Config struct {
	// Partitions is transaction.state.log.num.partitions (50), or how many the topic has that exists.
	Partitions int32
	// MaxTimeoutMs is transaction.max.timeout.ms (900000).
	MaxTimeoutMs int32
	// ExpirationMs is transactional.id.expiration.ms (604800000).
	ExpirationMs int64
	// AbortCheckMs is transaction.abort.timed.out.transaction.cleanup.interval.ms (10000).
	AbortCheckMs int64
	// ExpireCheckMs is transaction.remove.expired.transaction.cleanup.interval.ms (3600000).
	ExpireCheckMs int64
	// RetryMs is how long a marker or a completion that failed waits before it is tried again (100). Not a property.
	RetryMs int64
	// MaxShardBytes bounds what the transactional ids of one partition may take in memory (default 256 MiB).
	MaxShardBytes int64
	// MaxBatchBytes is how large a batch of tombstones may grow (default 16 KiB, as in Kafka).
	MaxBatchBytes int
	// Clock is the edge's clock; the default is the system's.
	Clock Clock
}

// Clock is time as the edge sees it.
type Clock = coordinator.Clock

// WithDefaults is c with the unset fields filled in.
func (c Config) WithDefaults() Config {
	def := func(p *int64, v int64) {
		if *p == 0 {
			*p = v
		}
	}
	if c.Partitions == 0 {
		c.Partitions = 50
	}
	if c.MaxTimeoutMs == 0 {
		c.MaxTimeoutMs = 900_000
	}
	if c.MaxBatchBytes == 0 {
		c.MaxBatchBytes = 16 << 10
	}
	def(&c.ExpirationMs, 604_800_000)
	def(&c.AbortCheckMs, 10_000)
	def(&c.ExpireCheckMs, 3_600_000)
	def(&c.RetryMs, 100)
	def(&c.MaxShardBytes, 256<<20)
	if c.Clock == nil {
		c.Clock = coordinator.SystemClock()
	}
	return c
}

// Validate names the first field that is out of range.
func (c Config) Validate() error {
	for _, f := range []struct {
		name string
		v    int64
	}{
		{"Partitions", int64(c.Partitions)},
		{"MaxTimeoutMs", int64(c.MaxTimeoutMs)},
		{"ExpirationMs", c.ExpirationMs},
		{"AbortCheckMs", c.AbortCheckMs},
		{"ExpireCheckMs", c.ExpireCheckMs},
		{"RetryMs", c.RetryMs},
		{"MaxShardBytes", c.MaxShardBytes},
		{"MaxBatchBytes", int64(c.MaxBatchBytes)},
	} {
		if f.v < 1 {
			return fmt.Errorf("%s is %d, it must be positive", f.name, f.v)
		}
	}
	return nil
}
