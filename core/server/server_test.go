package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// handlerFunc is a Handler.
type handlerFunc func(*Request)

func (f handlerFunc) HandleRequest(r *Request) { f(r) }

// echo answers with the correlation id and the body.
func echo(r *Request) {
	b := binary.BigEndian.AppendUint32(make([]byte, 4), uint32(r.CorrelationID))
	b = append(b, r.Body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	r.ReleaseFrame()
	r.Respond(b, nil)
}

// request is a frame of Metadata version 0 without a client id.
func request(corr int32, body []byte) []byte {
	b := []byte{0, 0, 0, 0, 0, 3, 0, 0}
	b = binary.BigEndian.AppendUint32(b, uint32(corr))
	b = append(b, 0xff, 0xff)
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

func readAnswer(t testing.TB, nc io.Reader) (int32, []byte) {
	t.Helper()
	var head [4]byte
	_, err := io.ReadFull(nc, head[:])
	require.NoError(t, err)
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	_, err = io.ReadFull(nc, b)
	require.NoError(t, err)
	return int32(binary.BigEndian.Uint32(b)), b[4:]
}

// start serves h on loopback.
func start(t testing.TB, cfg Config, h handlerFunc) (*Server, func() net.Conn) {
	t.Helper()
	return serve(t, New(cfg, h))
}

// startEarly serves h on loopback, which takes large requests as they arrive.
func startEarly(t testing.TB, cfg Config, h earlyFunc) (*Server, func() net.Conn) {
	t.Helper()
	return serve(t, New(cfg, h))
}

func serve(t testing.TB, s *Server) (*Server, func() net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, "TEST") }()
	t.Cleanup(func() {
		cancel()
		sctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		_ = s.Shutdown(sctx)
		require.NoError(t, <-done)
	})
	return s, func() net.Conn {
		nc, err := net.Dial("tcp", l.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { _ = nc.Close() })
		require.NoError(t, nc.SetDeadline(time.Now().Add(20*time.Second)))
		return nc
	}
}

func closedSoon(t testing.TB, nc net.Conn) {
	t.Helper()
	require.NoError(t, nc.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err := io.Copy(io.Discard, nc)
	var ne net.Error
	if errors.As(err, &ne) {
		require.False(t, ne.Timeout(), "the connection stays open")
	}
}

func TestAnswersKeepTheOrderOfRequestsHoweverLateTheyAre(t *testing.T) {
	var wg sync.WaitGroup
	_, dial := start(t, Config{MaxInFlight: 50}, func(r *Request) {
		if r.CorrelationID%2 == 0 {
			echo(r)
			return
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			time.Sleep(time.Duration(rand.Intn(3)) * time.Millisecond)
			if r.CorrelationID%3 == 0 {
				r.RespondLater(func() ([][]byte, func()) {
					b := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 4}, uint32(r.CorrelationID))
					return [][]byte{b[:3], b[3:]}, nil
				}, nil)
				return
			}
			echo(r)
		}()
	})
	for range 4 {
		nc := dial()
		const n = 400
		go func() {
			for i := range int32(n) {
				_, _ = nc.Write(request(i, bytes.Repeat([]byte{byte(i)}, rand.Intn(200))))
			}
		}()
		for i := range int32(n) {
			corr, _ := readAnswer(t, nc)
			require.Equal(t, i, corr)
		}
	}
	wg.Wait()
}

func TestAnswersThatAreDoneFreeTheirMemory(t *testing.T) {
	var freed atomic.Int32
	s, dial := start(t, Config{}, func(r *Request) {
		b := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 4}, uint32(r.CorrelationID))
		r.ReleaseFrame()
		r.Respond(b, func() { freed.Add(1) })
	})
	nc := dial()
	for i := range int32(10) {
		_, err := nc.Write(request(i, make([]byte, 1000)))
		require.NoError(t, err)
		readAnswer(t, nc)
	}
	require.Eventually(t, func() bool { return freed.Load() == 10 }, 5*time.Second, time.Millisecond)
	require.Zero(t, s.FrameBytes())
}

func TestALargeFrameComesWhole(t *testing.T) {
	_, dial := start(t, Config{}, echo)
	nc := dial()
	body := make([]byte, 9<<20)
	_, _ = rand.New(rand.NewSource(1)).Read(body)
	go func() { _, _ = nc.Write(request(7, body)) }()
	corr, got := readAnswer(t, nc)
	require.Equal(t, int32(7), corr)
	require.True(t, bytes.Equal(body, got))
}

func TestFramesOutsideOfTheLimitsCloseTheConnection(t *testing.T) {
	s, dial := start(t, Config{MaxRequestBytes: 1000}, echo)
	for _, b := range [][]byte{request(1, make([]byte, 2000)), {0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 1, 1}, {0x7f, 0, 0, 0}} {
		nc := dial()
		_, err := nc.Write(b)
		require.NoError(t, err)
		closedSoon(t, nc)
	}
	require.Equal(t, int64(4), s.Stats().BadFrames.Load())
}

func TestMemoryOfFramesIsBoundedAndOthersAreServed(t *testing.T) {
	release := make(chan struct{})
	var held, most atomic.Int64
	s, dial := start(t, Config{MemoryBytes: 1 << 20}, func(r *Request) {
		if len(r.Body) < 1000 {
			echo(r)
			return
		}
		most.Store(max(most.Load(), held.Add(int64(len(r.Body)))))
		go func() {
			<-release
			held.Add(-int64(len(r.Body)))
			echo(r)
		}()
	})
	const n = 16
	var conns []net.Conn
	for i := range int32(n) {
		nc := dial()
		conns = append(conns, nc)
		go func() { _, _ = nc.Write(request(i, make([]byte, 100<<10))) }()
	}
	require.Eventually(t, func() bool { return held.Load() == 5*100<<10 }, 5*time.Second, time.Millisecond, "half of the budget is for ordinary frames")
	require.LessOrEqual(t, s.FrameBytes(), int64(1<<20))
	// A peer that announces a huge frame and stalls takes nothing from the others.
	stalled := dial()
	_, err := stalled.Write(request(99, make([]byte, 50<<20))[:20<<10])
	require.NoError(t, err)
	close(release)
	for i, nc := range conns {
		corr, _ := readAnswer(t, nc)
		require.Equal(t, int32(i), corr)
	}
	require.LessOrEqual(t, most.Load(), int64(512<<10))
}

// TestSlowFramesGoWhenOthersNeedTheirMemory: peers that make the server set memory aside for frames that they do not send keep it as long as
// nobody needs it, and lose their connections when somebody does. Tiny frames need none of it.
func TestSlowFramesGoWhenOthersNeedTheirMemory(t *testing.T) {
	s, dial := start(t, Config{MemoryBytes: 1 << 20}, echo)
	const frame = 100 << 10
	var stalled []net.Conn
	for i := range int32(5) {
		nc := dial()
		_, err := nc.Write(request(i, make([]byte, frame))[:20<<10])
		require.NoError(t, err)
		stalled = append(stalled, nc)
	}
	require.Eventually(t, func() bool { return s.FrameBytes() > 5*frame }, 5*time.Second, time.Millisecond)
	tiny := dial()
	_, err := tiny.Write(request(6, make([]byte, 100)))
	require.NoError(t, err)
	corr, _ := readAnswer(t, tiny)
	require.Equal(t, int32(6), corr)
	require.Zero(t, s.Stats().Shed.Load(), "nobody needs their memory yet")

	honest := dial()
	go func() { _, _ = honest.Write(request(7, make([]byte, frame))) }()
	corr, body := readAnswer(t, honest)
	require.Equal(t, int32(7), corr)
	require.Len(t, body, frame)
	for _, nc := range stalled {
		closedSoon(t, nc)
	}
	require.Equal(t, int64(5), s.Stats().Shed.Load())
	require.Eventually(t, func() bool { return s.FrameBytes() == 0 }, 5*time.Second, time.Millisecond)
}

func TestSlowAndSilentPeersAreClosed(t *testing.T) {
	_, dial := start(t, Config{IdleTimeout: 100 * time.Millisecond, FrameTimeout: 100 * time.Millisecond}, echo)
	silent := dial()
	closedSoon(t, silent)
	loris := dial()
	go func() {
		for _, b := range request(1, make([]byte, 100)) {
			if _, err := loris.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	closedSoon(t, loris)
	busy := dial()
	for i := range int32(10) {
		_, err := busy.Write(request(i, nil))
		require.NoError(t, err)
		readAnswer(t, busy)
		time.Sleep(30 * time.Millisecond)
	}
}

func TestAPeerThatDoesNotReadIsNotReadFrom(t *testing.T) {
	var handled atomic.Int64
	s, dial := start(t, Config{WriteTimeout: 300 * time.Millisecond, MaxQueuedBytes: 100 << 10}, func(r *Request) {
		handled.Add(1)
		b := make([]byte, 64<<10)
		binary.BigEndian.PutUint32(b, 64<<10-4)
		r.Respond(b, nil)
	})
	nc := dial()
	go func() {
		for i := range int32(100_000) {
			if _, err := nc.Write(request(i, nil)); err != nil {
				return
			}
		}
	}()
	require.Eventually(t, func() bool { return s.Stats().Connections.Load() == 0 && handled.Load() > 0 }, 10*time.Second, time.Millisecond)
	require.Less(t, handled.Load(), int64(1000), "what the sockets hold, and not more")
}

func TestManyPeersThatDoNotReadHoldOneAnswerEach(t *testing.T) {
	const peers, answer = 20, 256 << 10
	var handled atomic.Int64
	s, dial := start(t, Config{WriteTimeout: 500 * time.Millisecond, MaxQueuedBytes: 8 << 20, MaxQueuedBytesInAll: 1 << 20}, func(r *Request) {
		handled.Add(1)
		b := make([]byte, answer)
		binary.BigEndian.PutUint32(b, answer-4)
		r.Respond(b, nil)
	})
	most := int64(0)
	for range peers {
		nc := dial()
		require.NoError(t, nc.(*net.TCPConn).SetReadBuffer(4<<10))
		go func() {
			for i := range int32(1000) {
				if _, err := nc.Write(request(i, nil)); err != nil {
					return
				}
			}
		}()
	}
	require.Eventually(t, func() bool {
		most = max(most, s.queued.Load())
		return s.Stats().Connections.Load() == 0 && handled.Load() > peers
	}, 20*time.Second, time.Millisecond)
	require.LessOrEqual(t, most, int64(1<<20+2*peers*answer), "one for each above the bound, and those that came to it at once")
	require.Zero(t, s.queued.Load(), "what ended connections owed is no longer owed")
}

func TestConnectionLimits(t *testing.T) {
	s, dial := start(t, Config{Limits: Limits{PerIP: 2}}, echo)
	a, b := dial(), dial()
	for _, nc := range []net.Conn{a, b} {
		_, err := nc.Write(request(1, nil))
		require.NoError(t, err)
		readAnswer(t, nc)
	}
	closedSoon(t, dial())
	require.Equal(t, int64(1), s.Stats().Rejected.Load())
	require.NoError(t, a.Close())
	require.Eventually(t, func() bool { return s.Stats().Connections.Load() == 1 }, 5*time.Second, time.Millisecond)
	c := dial()
	_, err := c.Write(request(2, nil))
	require.NoError(t, err)
	readAnswer(t, c)
}

func TestShutdownAnswersWhatWasRead(t *testing.T) {
	got := make(chan *Request, 1)
	s, dial := start(t, Config{}, func(r *Request) { got <- r })
	idle, nc := dial(), dial()
	_, err := nc.Write(request(5, []byte("x")))
	require.NoError(t, err)
	r := <-got
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	closedSoon(t, idle)
	select {
	case <-done:
		t.Fatal("shutdown did not wait for the answer")
	case <-time.After(50 * time.Millisecond):
	}
	echo(r)
	corr, body := readAnswer(t, nc)
	require.Equal(t, int32(5), corr)
	require.Equal(t, "x", string(body))
	require.NoError(t, <-done)
	closedSoon(t, nc)
}

func TestShutdownDoesNotWaitForever(t *testing.T) {
	s, dial := start(t, Config{}, func(*Request) {})
	nc := dial()
	_, err := nc.Write(request(5, nil))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return s.Stats().BytesIn.Load() > 0 }, 5*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
	closedSoon(t, nc)
}

func TestAnAnswerForALostConnectionIsDropped(t *testing.T) {
	got := make(chan *Request, 1)
	s, dial := start(t, Config{}, func(r *Request) { got <- r })
	nc := dial()
	_, err := nc.Write(request(5, nil))
	require.NoError(t, err)
	r := <-got
	require.NoError(t, nc.Close())
	require.Eventually(t, func() bool { return s.Stats().Connections.Load() == 0 }, 5*time.Second, time.Millisecond)
	dropped := make(chan struct{})
	r.RespondLater(func() ([][]byte, func()) { panic("there is nobody to write to") }, func() { close(dropped) })
	<-dropped
	require.Zero(t, s.FrameBytes())
}

func TestSmallRequestsAreServedWithoutAllocating(t *testing.T) {
	answer := []byte{0, 0, 0, 4, 0, 0, 0, 1}
	_, dial := start(t, Config{}, func(r *Request) {
		r.ReleaseFrame()
		r.Respond(answer, nil)
	})
	nc := dial()
	req, buf := request(1, make([]byte, 100)), make([]byte, 8)
	ping := func() {
		if _, err := nc.Write(req); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(nc, buf); err != nil {
			t.Error(err)
		}
	}
	for range 100 {
		ping()
	}
	require.Less(t, testing.AllocsPerRun(500, ping), 1.0)
}

func TestTheBudgetIsFirstComeAndNeverLosesBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(10)
		require.NoError(t, b.Acquire(t.Context(), 8))
		require.False(t, b.TryAcquire(3))
		var order []int
		var mu sync.Mutex
		for i := range 3 {
			go func() {
				time.Sleep(time.Duration(i+1) * time.Second)
				if b.Acquire(t.Context(), 5) == nil {
					mu.Lock()
					order = append(order, i)
					mu.Unlock()
					time.Sleep(time.Minute)
					b.Release(5)
				}
			}()
		}
		time.Sleep(5 * time.Second)
		require.False(t, b.TryAcquire(1), "nobody passes those who wait")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, b.Acquire(ctx, 1), context.DeadlineExceeded)
		b.Release(8)
		time.Sleep(5 * time.Minute)
		mu.Lock()
		defer mu.Unlock()
		require.ElementsMatch(t, []int{0, 1}, order[:2])
		require.Equal(t, 2, order[2])
		require.Zero(t, b.Used())
		require.NoError(t, b.Acquire(t.Context(), 100), "more than all is let in alone")
		require.False(t, b.TryAcquire(1))
		b.Release(100)
	})
}

func TestTheMemoryListenerIsANetwork(t *testing.T) {
	l := NewMemoryListener("here")
	s := New(Config{}, handlerFunc(echo))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, "MEMORY") }()
	nc, err := l.Dial(ctx, "tcp", "anything")
	require.NoError(t, err)
	body := make([]byte, 3<<20)
	_, _ = rand.New(rand.NewSource(2)).Read(body)
	for i := range int32(3) {
		go func() { _, _ = nc.Write(request(i, body)) }()
		corr, got := readAnswer(t, nc)
		require.Equal(t, i, corr)
		require.True(t, bytes.Equal(body, got))
	}
	require.NoError(t, nc.SetReadDeadline(time.Now().Add(10*time.Millisecond)))
	_, err = nc.Read(make([]byte, 1))
	var ne net.Error
	require.ErrorAs(t, err, &ne)
	require.True(t, ne.Timeout())
	require.NoError(t, nc.SetReadDeadline(time.Time{}))
	cancel()
	require.NoError(t, s.Shutdown(context.Background()))
	_, err = nc.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, <-done)
	_, err = l.Dial(context.Background(), "tcp", "x")
	require.ErrorIs(t, err, net.ErrClosed)
}

func TestWhatCameBeforeABrokenFrameIsAnswered(t *testing.T) {
	for range 200 {
		l := NewMemoryListener("here")
		s := New(Config{}, handlerFunc(echo))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l, "MEMORY") }()
		nc, err := l.Dial(ctx, "", "")
		require.NoError(t, err)
		// Both arrive in one read: when the length of the second is seen, the first waits for its turn to be written.
		_, err = nc.Write(append(request(7, []byte("body")), 0xff, 0xff, 0xff, 0xfd))
		require.NoError(t, err)
		corr, got := readAnswer(t, nc)
		require.EqualValues(t, 7, corr)
		require.Equal(t, "body", string(got))
		_, err = nc.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		cancel()
		require.NoError(t, s.Shutdown(t.Context()))
		require.NoError(t, <-done)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(request(1, []byte("body")))
	f.Add(append(request(1, nil), request(2, nil)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		l := NewMemoryListener("fuzz")
		s := New(Config{MaxRequestBytes: 1 << 20, IdleTimeout: time.Second, FrameTimeout: time.Second}, handlerFunc(echo))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l, "FUZZ") }()
		nc, err := l.Dial(ctx, "", "")
		require.NoError(t, err)
		go func() { _, _ = io.Copy(io.Discard, nc) }()
		_, _ = nc.Write(b)
		_ = nc.Close()
		cancel()
		require.NoError(t, s.Shutdown(context.Background()))
		<-done
		require.Zero(t, s.FrameBytes())
	})
}

// stalledWrites are connections whose writes return only when they may.
type stalledWrites struct {
	net.Listener
	may chan struct{}
}

func (l stalledWrites) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return stalledConn{nc, l.may}, err
}

type stalledConn struct {
	net.Conn
	may chan struct{}
}

func (c stalledConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	<-c.may
	return n, err
}

// TestAPeerWithAnAnswerWasHeard: of two peers who have their answers the one that had it first was silent longer, whatever the server is doing.
func TestAPeerWithAnAnswerWasHeard(t *testing.T) {
	l := stalledWrites{NewMemoryListener("here"), make(chan struct{})}
	s := New(Config{}, handlerFunc(echo))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, "MEMORY") }()
	nc, err := l.Listener.(*MemoryListener).Dial(ctx, "tcp", "anything")
	require.NoError(t, err)
	sent := time.Now()
	_, err = nc.Write(request(1, nil))
	require.NoError(t, err)
	readAnswer(t, nc)
	s.mu.Lock()
	for c := range s.conns {
		require.GreaterOrEqual(t, c.heard.Load(), sent.UnixNano())
	}
	s.mu.Unlock()
	close(l.may)
	cancel()
	require.NoError(t, s.Shutdown(context.Background()))
	require.NoError(t, <-done)
}
