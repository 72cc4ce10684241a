package server

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheRoundTripToAPeerIsKnown(t *testing.T) {
	type answer struct {
		rtt time.Duration
		ok  bool
	}
	got := make(chan answer, 10)
	handle := func(r *Request) {
		r.RespondLater(func() ([][]byte, func()) {
			rtt, ok := r.Conn.RoundTrip()
			got <- answer{rtt, ok}
			return [][]byte{{0, 0, 0, 4, 0, 0, 0, 1}}, nil
		}, nil)
	}
	s, dial := start(t, Config{}, handle)
	nc := dial()
	for range 3 {
		_, err := nc.Write(request(1, nil))
		require.NoError(t, err)
		readAnswer(t, nc)
		a := <-got
		require.Equal(t, runtime.GOOS == "linux", a.ok)
		require.Less(t, a.rtt, 5*time.Second)
		if a.ok {
			require.Positive(t, a.rtt)
		}
	}
	l := NewMemoryListener("memory:1")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, "MEMORY") }()
	near, err := l.Dial(ctx, "tcp", "")
	require.NoError(t, err)
	_, err = near.Write(request(1, nil))
	require.NoError(t, err)
	readAnswer(t, near)
	require.Equal(t, answer{0, true}, <-got, "in this process")
	require.NoError(t, near.Close())
	cancel()
	require.NoError(t, <-done)

	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	_, ok := (&Conn{nc: a}).RoundTrip()
	require.False(t, ok)
}
