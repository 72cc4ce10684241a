package server

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAnAnswerCostsWhatMakingItTakesAndNotTheWaitForItsPeer: what quotas of time are charged with.
func TestAnAnswerCostsWhatMakingItTakesAndNotTheWaitForItsPeer(t *testing.T) {
	const size = 16 << 20 // more than sockets hold
	busy := make(chan time.Duration, 2)
	big := make([]byte, size+4)
	binary.BigEndian.PutUint32(big, size)
	_, dial := start(t, Config{Answered: func(r *Request, _ time.Time) { busy <- r.Busy() }}, func(r *Request) {
		correlation := r.CorrelationID
		r.ReleaseFrame()
		if correlation == 1 {
			r.RespondLater(func() ([][]byte, func()) {
				time.Sleep(30 * time.Millisecond)
				return [][]byte{{0, 0, 0, 4, 0, 0, 0, 1}}, nil
			}, nil)
			return
		}
		r.Respond(big, nil)
	})
	nc := dial()
	_, err := nc.Write(request(1, nil))
	require.NoError(t, err)
	readAnswer(t, nc)
	made := <-busy
	require.GreaterOrEqual(t, made, 30*time.Millisecond)
	require.Less(t, made, 10*time.Second)

	_, err = nc.Write(request(2, bytes.Repeat([]byte("x"), 2*readBuffer)))
	require.NoError(t, err)
	time.Sleep(500 * time.Millisecond) // the peer does not read
	_, err = io.CopyN(io.Discard, nc, size+4)
	require.NoError(t, err)
	wrote := <-busy
	require.Positive(t, wrote)
	require.LessOrEqual(t, wrote, 2*wireCost+(size+4+2*readBuffer+1000)*wireRate, "the wait for the peer is the peer's")
	require.Less(t, wrote, 500*time.Millisecond)
}
