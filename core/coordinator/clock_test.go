package coordinator

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAClockThatIsSetIsFollowedWithoutAStep(t *testing.T) {
	for name, step := range map[string]time.Duration{"back": -time.Hour, "forward": time.Hour, "a little": -3 * time.Millisecond, "not": 0} {
		t.Run(name, func(t *testing.T) {
			start := time.Unix(1_700_000_000, 0)
			says, system := start, start.Add(step)
			for i := range 12 * 3600 { // of real seconds
				system = system.Add(time.Second)
				next := follow(says, system, time.Second)
				require.InDelta(t, time.Second, next.Sub(says), float64(100*time.Millisecond), "second %d", i)
				says = next
			}
			require.Equal(t, system, says, "in the end it says what the system says")
		})
	}
}

func TestTheSystemsClockGoesOn(t *testing.T) {
	c := SystemClock()
	before := time.Now().Round(0)
	says := c.Now()
	require.WithinDuration(t, before, says, 5*time.Second)
	require.False(t, c.Now().Before(says))
	fired, stop := c.After(time.Millisecond)
	defer stop()
	<-fired
	require.True(t, c.Now().After(says))
}
