package server

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/wire"
)

// earlyFunc is an EarlyHandler of requests with a body.
type earlyFunc func(*Request)

func (f earlyFunc) HandleRequest(r *Request) { f(r) }
func (f earlyFunc) Early(h wire.Header) bool { return h.CorrelationID >= 0 }

func bodyOf(n int, seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

func TestALargeRequestIsHandledAsItArrives(t *testing.T) {
	seen := make(chan int, 100)
	s, dial := startEarly(t, Config{}, func(r *Request) {
		if r.BodySize() < earlyFrame {
			echo(r)
			return
		}
		require.False(t, r.Complete())
		var body []byte
		for _, n := range []int{1000, 200_000, 300_000, r.BodySize() / 2, r.BodySize()} {
			part, err := r.Part(len(body), n)
			if err != nil {
				t.Error(err)
			}
			require.True(t, r.There(n))
			body = append(body, part...)
			seen <- n
		}
		require.LessOrEqual(t, cap(r.frame), 512<<10, "a part is read to where the one before was")
		r.Body = body
		echo(r)
	})
	nc := dial()
	body := bodyOf(1<<20, 1)
	b := request(7, body)
	_, err := nc.Write(request(5, []byte("before")))
	require.NoError(t, err)
	_, err = nc.Write(b[:250_000])
	require.NoError(t, err)
	corr, got := readAnswer(t, nc) // while the next is arriving
	require.EqualValues(t, 5, corr)
	require.Equal(t, "before", string(got))
	require.Equal(t, 1000, <-seen)
	require.Equal(t, 200_000, <-seen)
	_, err = nc.Write(b[250_000:])
	require.NoError(t, err)
	_, err = nc.Write(request(8, []byte("after")))
	require.NoError(t, err)
	corr, got = readAnswer(t, nc)
	require.EqualValues(t, 7, corr)
	require.True(t, bytes.Equal(body, got))
	_, got = readAnswer(t, nc)
	require.Equal(t, "after", string(got))
	require.EqualValues(t, len(b)+len(request(5, []byte("before")))+len(request(8, []byte("after"))), s.Stats().BytesIn.Load())
}

// TestPartsOfALargeRequest asks for parts at random, which may begin with what was returned before, and in the end perhaps for nothing more, or for
// the whole where nothing was given up.
func TestPartsOfALargeRequest(t *testing.T) {
	const seed = 11
	_, dial := startEarly(t, Config{}, func(r *Request) {
		rnd := rand.New(rand.NewPCG(seed, uint64(r.CorrelationID)))
		n := r.BodySize()
		var body []byte
		if rnd.IntN(3) == 0 {
			for range rnd.IntN(3) {
				_, err := r.Part(0, rnd.IntN(n))
				assert.NoError(t, err)
			}
			assert.NoError(t, r.Whole())
			assert.True(t, r.Complete())
			body = r.Body
		}
		for from, to := 0, 0; len(body) < n; {
			from = from + rnd.IntN(to-from+1)
			to = min(max(to, from)+1+rnd.IntN(1<<(1+rnd.IntN(19))), n)
			part, err := r.Part(from, to)
			if !assert.NoError(t, err) || !assert.Len(t, part, to-from) {
				break
			}
			body = append(body[:from], part...)
		}
		r.Body = body
		echo(r)
	})
	nc := dial()
	for i := range int32(50) {
		body := bodyOf(earlyFrame+int(i)*20_011, uint64(i))
		b := append(request(i, body), request(1000+i, bodyOf(earlyFrame, 3))...)
		go func() { _, _ = nc.Write(b) }()
		corr, got := readAnswer(t, nc)
		require.Equal(t, i, corr)
		require.True(t, bytes.Equal(body, got), "seed %d, request %d", seed, i)
		corr, _ = readAnswer(t, nc)
		require.Equal(t, 1000+i, corr)
	}
}

func TestWhatAHandlerDoesNotLookAtIsSkipped(t *testing.T) {
	_, dial := startEarly(t, Config{}, func(r *Request) {
		if !r.Complete() && r.CorrelationID%3 != 0 {
			_, _ = r.Part(0, int(r.CorrelationID)*5_000)
		}
		echo(r)
	})
	nc := dial()
	for i := range int32(20) {
		_, err := nc.Write(append(request(i, bodyOf(earlyFrame+int(i)*100_000, 2)), request(1000+i, []byte("next"))...))
		require.NoError(t, err)
		corr, _ := readAnswer(t, nc)
		require.Equal(t, i, corr)
		corr, got := readAnswer(t, nc)
		require.Equal(t, 1000+i, corr)
		require.Equal(t, "next", string(got))
	}
}

// inBubble has fn start an early handler and talk to it, in time that passes only while all wait.
func inBubble(t *testing.T, fn func(t *testing.T, start func(earlyFunc) (*Server, net.Conn))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fn(t, func(h earlyFunc) (*Server, net.Conn) {
			l := NewMemoryListener("here")
			s := New(Config{}, h)
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- s.Serve(ctx, l, "MEMORY") }()
			nc, err := l.Dial(ctx, "tcp", "anything")
			require.NoError(t, err)
			t.Cleanup(func() {
				_ = nc.Close()
				cancel()
				require.NoError(t, s.Shutdown(context.Background()))
				require.NoError(t, <-done)
			})
			return s, nc
		})
	})
}

func TestAFrameThatStopsInTheMiddleIsAnError(t *testing.T) {
	const size = 1 << 20
	for name, stop := range map[string]func(nc net.Conn) (least time.Duration){
		"the peer goes":  func(nc net.Conn) time.Duration { _ = nc.Close(); return 0 },
		"the peer waits": func(net.Conn) time.Duration { return New(Config{}, nil).frameTimeout(size) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, start func(earlyFunc) (*Server, net.Conn)) {
				told := make(chan error, 1)
				s, nc := start(func(r *Request) {
					told <- r.Whole()
					r.DetachFrame()
					r.RespondNothing()
				})
				began := time.Now()
				_, err := nc.Write(request(1, bodyOf(size, 3))[:600_000])
				require.NoError(t, err)
				least := stop(nc)
				require.ErrorIs(t, <-told, ErrIncomplete)
				require.GreaterOrEqual(t, time.Since(began), least)
				require.Less(t, time.Since(began), least+time.Second)
				synctest.Wait()
				require.Empty(t, s.arrivals.conns)
				_, err = nc.Read(make([]byte, 1))
				require.Error(t, err)
			})
		})
	}
}

func TestWhatCameBeforeAFrameThatStopsIsAnsweredAtShutdown(t *testing.T) {
	late := make(chan *Request, 1)
	s, dial := startEarly(t, Config{}, func(r *Request) {
		if r.Complete() {
			late <- r
			return
		}
		if r.Whole() == nil {
			t.Error("all of it came")
		}
		r.DetachFrame()
		r.RespondNothing()
	})
	nc := dial()
	_, err := nc.Write(append(request(1, []byte("x")), request(2, bodyOf(1<<20, 6))[:600_000]...))
	require.NoError(t, err)
	r := <-late
	require.Eventually(t, func() bool {
		s.arrivals.mu.Lock()
		defer s.arrivals.mu.Unlock()
		return len(s.arrivals.conns) == 1
	}, 10*time.Second, time.Millisecond)
	down := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		down <- s.Shutdown(ctx)
	}()
	require.Eventually(t, func() bool {
		s.arrivals.mu.Lock()
		defer s.arrivals.mu.Unlock()
		return len(s.arrivals.conns) == 0
	}, 10*time.Second, time.Millisecond)
	echo(r)
	corr, got := readAnswer(t, nc)
	require.EqualValues(t, 1, corr)
	require.Equal(t, "x", string(got))
	require.NoError(t, <-down)
}

// TestTheTimeOfTheHandlerIsNotThePeers has a handler that takes longer, with a disk that is slow, than a frame may to arrive.
func TestTheTimeOfTheHandlerIsNotThePeers(t *testing.T) {
	body := bodyOf(1<<20, 4)
	inBubble(t, func(t *testing.T, start func(earlyFunc) (*Server, net.Conn)) {
		_, nc := start(func(r *Request) {
			var got []byte
			for len(got) < r.BodySize() {
				part, err := r.Part(len(got), len(got)+1<<18)
				if err != nil {
					t.Error(err)
					break
				}
				got = append(got, part...)
				time.Sleep(r.Conn.s.frameTimeout(len(body)))
			}
			r.Body = got
			echo(r)
		})
		go func() { _, _ = nc.Write(request(1, body)) }()
		_, got := readAnswer(t, nc)
		require.True(t, bytes.Equal(body, got))
	})
}

func TestOnlyLargeRequestsThatTheHandlerWantsAreEarly(t *testing.T) {
	early := make(chan bool, 3)
	_, dial := startEarly(t, Config{}, func(r *Request) {
		early <- !r.Complete()
		if !r.Complete() {
			require.NoError(t, r.Whole())
		}
		echo(r)
	})
	nc := dial()
	for corr, n := range map[int32]int{1: earlyFrame, 2: earlyFrame - 1000, -1: earlyFrame} {
		b := request(corr, bodyOf(n, 5))
		go func() { _, _ = nc.Write(b) }()
		got, _ := readAnswer(t, nc)
		require.Equal(t, corr, got)
		require.Equal(t, corr == 1, <-early)
	}
}
