package broker

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConnectionsLeaveFilesToTheLog(t *testing.T) {
	for _, c := range []struct{ configured, files, want int }{
		{math.MaxInt32, 20_000, 15_904}, {math.MaxInt32, 1024, 512}, {100, 20_000, 100}, {19_000, 20_000, 15_904}, {math.MaxInt32, 8, 16},
		{0, 1 << 20, 1<<20 - 4096},
	} {
		require.Equal(t, c.want, connectionBound(c.configured, c.files), "%d of %d", c.configured, c.files)
	}
	require.Positive(t, openFilesLimit())
	require.Equal(t, []int{10_000, 150, 100}, []int{maxStrangers(30_000), maxStrangers(300), maxStrangers(20)})
}
