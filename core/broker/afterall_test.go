package broker

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAfterAllCallsOnceAndLast(t *testing.T) {
	calls := 0
	afterAll(0, func() { calls++ })
	require.Equal(t, 1, calls)
	done := afterAll(20, func() { calls++ })
	var wg sync.WaitGroup
	for range 19 {
		wg.Go(done)
	}
	wg.Wait()
	require.Equal(t, 1, calls)
	done()
	require.Equal(t, 2, calls)
}
