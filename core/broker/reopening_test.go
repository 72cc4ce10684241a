package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLogsThatStayUnopenedAreTriedLessAndLess holds how many records of the metadata an hour of it makes.
func TestLogsThatStayUnopenedAreTriedLessAndLess(t *testing.T) {
	var r reopening
	start, tries := time.Unix(1000, 0), []time.Duration(nil)
	for at := time.Duration(0); at < time.Hour; at += reopenInterval {
		if r.due(start.Add(at)) {
			tries = append(tries, at)
		}
	}
	require.Equal(t, []time.Duration{0, 2 * time.Second, 6 * time.Second, 14 * time.Second, 30 * time.Second, 62 * time.Second}, tries[:6])
	require.Less(t, len(tries), 70)
	r = reopening{}
	require.True(t, r.due(start), "at once, after all were open")
}
