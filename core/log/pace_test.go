package log

import (
	"context"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAPaceHoldsItsRate(t *testing.T) {
	now := time.Unix(1000, 0)
	p := newPace()
	// Without a limit nobody waits.
	p.copied(1<<40, now)
	wait, piece, _ := p.due(now)
	require.Zero(t, wait)
	require.Equal(t, copyChunk, piece)
	for _, rate := range []int64{1, 1000, 1 << 20, 123_456_789} {
		p.set(rate, now)
		began, copied := now, 0
		for now.Sub(began) < time.Minute || copied < 3*copyChunk {
			wait, piece, _ := p.due(now)
			require.GreaterOrEqual(t, wait, time.Duration(0))
			if wait == 0 {
				require.LessOrEqual(t, piece, copyChunk)
				p.copied(piece, now)
				copied += piece
				continue
			}
			now = now.Add(wait)
		}
		got := float64(copied) / now.Sub(began).Seconds()
		require.Less(t, got, float64(rate)*1.02+copyChunk/now.Sub(began).Seconds())
		require.Greater(t, got, float64(rate)*0.98)
	}
	p.set(0, now)
	wait, _, change := p.due(now.Add(time.Hour))
	require.Negative(t, wait, "nothing is copied")
	p.set(5, now.Add(time.Hour))
	select {
	case <-change:
	default:
		require.Fail(t, "who waits is not told of the new rate")
	}
}

func TestAThrottledMoveGoesOnWhenTheRateIsRaised(t *testing.T) {
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	ds := openDirs(t, Options{}, a, b)
	l, err := ds.Create("t", 0, [16]byte{9}, DefaultConfig())
	require.NoError(t, err)
	for l.Size() < 200_000 {
		mustAppend(t, l, records(30))
	}
	p := &place{l: l}
	to, _ := ds.Find(b)
	ds.SetMoveRate(1)
	require.NoError(t, ds.Move("t", 0, to, p))
	require.Eventually(t, func() bool { fl := ds.FutureLogs(); return len(fl) == 1 && fl[0].Size > 0 }, 10*time.Second, time.Millisecond)
	require.Less(t, ds.FutureLogs()[0].Size, int64(2*copyChunk/64))
	require.Equal(t, l, p.log())
	ds.SetMoveRate(math.MaxInt64)
	require.Eventually(t, func() bool { return p.log() != l }, 10*time.Second, time.Millisecond)
	require.Equal(t, l.EndOffset(), p.log().EndOffset())
}

func TestAThrottledMoveEndsWithItsContext(t *testing.T) {
	p := newPace()
	p.set(1, time.Now())
	p.copied(1<<20, time.Now())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := p.wait(ctx)
	require.ErrorIs(t, err, context.Canceled)
}
