package server

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authHandler answers each request with its correlation id, throttles when told, and lets peers in on their second request.
type authHandler struct {
	mu       sync.Mutex
	seen     map[*Conn]int
	throttle time.Duration
	finish   bool
}

func (h *authHandler) HandleRequest(r *Request) {
	h.mu.Lock()
	h.seen[r.Conn]++
	n := h.seen[r.Conn]
	h.mu.Unlock()
	if n == 2 {
		r.Conn.Authenticated()
	}
	r.Conn.Throttle(h.throttle)
	if h.finish {
		r.Conn.Finish()
	}
	frame := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 4}, uint32(r.CorrelationID))
	r.DetachFrame()
	r.Respond(frame, nil)
}

func authServer(t *testing.T, cfg Config, o ListenerOptions, h *authHandler) (string, *Server) {
	t.Helper()
	h.seen = map[*Conn]int{}
	s := New(cfg, h)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.ServeListener(ctx, l, o) }()
	t.Cleanup(func() {
		cancel()
		<-done
		stop, c := context.WithTimeout(context.Background(), time.Second)
		defer c()
		_ = s.Shutdown(stop)
	})
	return l.Addr().String(), s
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(10*time.Second)))
	return nc
}

// versions is an ApiVersions request of version 0 with a correlation id.
func versions(id byte) []byte {
	return []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, id, 0xff, 0xff}
}

func exchange(nc net.Conn, id byte) error {
	if _, err := nc.Write(versions(id)); err != nil {
		return err
	}
	_, err := io.ReadFull(nc, make([]byte, 8))
	return err
}

func TestStrangersGetSmallFramesAndLittleTime(t *testing.T) {
	addr, s := authServer(t, Config{MaxUnauthenticatedBytes: 1000, AuthTimeout: 300 * time.Millisecond}, ListenerOptions{Name: "L", Authenticate: true}, &authHandler{})
	big := dial(t, addr)
	_, err := big.Write(binary.BigEndian.AppendUint32(nil, 1001))
	require.NoError(t, err)
	_, err = big.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)

	slow := dial(t, addr)
	start := time.Now()
	require.NoError(t, exchange(slow, 1), "it may speak")
	_, err = slow.Read(make([]byte, 1))
	require.Error(t, err, "but not for ever")
	require.Less(t, time.Since(start), 5*time.Second)

	known := dial(t, addr)
	require.NoError(t, exchange(known, 1))
	require.NoError(t, exchange(known, 2))
	require.Eventually(t, func() bool { return s.Unauthenticated() == 0 }, 5*time.Second, 5*time.Millisecond)
	time.Sleep(400 * time.Millisecond) // longer than strangers have
	require.NoError(t, exchange(known, 3))
	frame := append(binary.BigEndian.AppendUint32(nil, 2000), versions(4)[4:]...)
	_, err = known.Write(append(frame, make([]byte, 2000-10)...))
	require.NoError(t, err)
	_, err = io.ReadFull(known, make([]byte, 8))
	require.NoError(t, err, "and larger frames")
}

func TestTheOldestStrangerGoesForANewOne(t *testing.T) {
	addr, s := authServer(t, Config{MaxUnauthenticated: 3}, ListenerOptions{Name: "L", Authenticate: true}, &authHandler{})
	known := dial(t, addr)
	require.NoError(t, exchange(known, 1))
	require.NoError(t, exchange(known, 2))
	var conns []net.Conn
	for range 4 {
		nc := dial(t, addr)
		require.NoError(t, exchange(nc, 1))
		conns = append(conns, nc)
	}
	_, err := conns[0].Read(make([]byte, 1))
	require.Error(t, err)
	require.Eventually(t, func() bool { return s.Unauthenticated() == 3 }, 5*time.Second, 5*time.Millisecond)
	require.NoError(t, exchange(known, 3), "those who are known stay")
	require.NoError(t, exchange(conns[3], 2))
}

// TestSilentPeersMakeRoom is the same where nobody authenticates: who has sent a request stays.
func TestSilentPeersMakeRoom(t *testing.T) {
	s, dial := start(t, Config{MaxUnauthenticated: 2}, echo)
	known := dial()
	_, err := known.Write(request(1, nil))
	require.NoError(t, err)
	readAnswer(t, known)
	require.Zero(t, s.Unauthenticated())
	oldest := dial()
	require.Eventually(t, func() bool { return s.Unauthenticated() == 1 }, 5*time.Second, time.Millisecond)
	younger := dial()
	require.Eventually(t, func() bool { return s.Unauthenticated() == 2 }, 5*time.Second, time.Millisecond)
	dial()
	closedSoon(t, oldest)
	for i, nc := range []net.Conn{known, younger} {
		_, err := nc.Write(request(int32(i), nil))
		require.NoError(t, err)
		corr, _ := readAnswer(t, nc)
		require.Equal(t, int32(i), corr)
	}
}

func TestAThrottledConnectionIsAnsweredAndThenMuted(t *testing.T) {
	addr, _ := authServer(t, Config{}, ListenerOptions{Name: "L"}, &authHandler{throttle: 300 * time.Millisecond})
	nc := dial(t, addr)
	start := time.Now()
	require.NoError(t, exchange(nc, 1))
	require.Less(t, time.Since(start), 200*time.Millisecond, "the answer does not wait")
	require.NoError(t, exchange(nc, 2))
	require.GreaterOrEqual(t, time.Since(start), 300*time.Millisecond)
}

func TestAFinishedConnectionAnswersAndCloses(t *testing.T) {
	addr, _ := authServer(t, Config{}, ListenerOptions{Name: "L"}, &authHandler{finish: true})
	nc := dial(t, addr)
	require.NoError(t, exchange(nc, 1))
	_, err := nc.Read(make([]byte, 1))
	require.Error(t, err)
}

func TestConnectionsAreAdmitted(t *testing.T) {
	admit := make(chan Admission, 3)
	admit <- Admission{RefuseAfter: 50 * time.Millisecond}
	admit <- Admission{Wait: 300 * time.Millisecond}
	admit <- Admission{}
	addr, s := authServer(t, Config{Admit: func(string, string) Admission { return <-admit }}, ListenerOptions{Name: "L"}, &authHandler{})
	start := time.Now()
	_, err := dial(t, addr).Read(make([]byte, 1))
	require.Error(t, err)
	require.GreaterOrEqual(t, time.Since(start), 50*time.Millisecond)
	require.Equal(t, int64(1), s.Stats().Rejected.Load())
	start = time.Now()
	require.NoError(t, exchange(dial(t, addr), 1), "this one waits")
	require.GreaterOrEqual(t, time.Since(start), 300*time.Millisecond)
	require.NoError(t, exchange(dial(t, addr), 1))
}
