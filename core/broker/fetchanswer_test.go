package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestAnswersAreAsLargeAsTheWayIsLong also keeps what a client takes of one partition by default (max.partition.fetch.bytes, 1 MiB) in one answer.
func TestAnswersAreAsLargeAsTheWayIsLong(t *testing.T) {
	for _, c := range []struct {
		rtt   time.Duration
		known bool
		most  int
		near  bool
	}{
		{0, true, 1152 << 10, true}, // within this process
		{20 * time.Microsecond, true, 1152 << 10, true},
		{100 * time.Microsecond, true, 1152 << 10, true},
		{101 * time.Microsecond, true, 4 << 20, true},
		{2 * time.Millisecond, true, 4 << 20, true},
		{3 * time.Millisecond, true, 16 << 20, false},
		{0, false, 16 << 20, false},
	} {
		most, near := nearAnswers.of(c.rtt, c.known)
		assert.Equal(t, c.most, most, "%s", c.rtt)
		assert.Equal(t, c.near, near, "%s", c.rtt)
	}
}
