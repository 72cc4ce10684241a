package quorum

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/metadata"
)

// hub is a network in memory: it carries messages between nodes unless one of them is cut off.
type hub struct {
	mu    sync.Mutex
	nodes map[int32]*Node
	cut   map[int32]bool
}

type port struct {
	h    *hub
	from int32
}

func (p port) Send(to int32, b []byte) {
	p.h.mu.Lock()
	n := p.h.nodes[to]
	if p.h.cut[to] || p.h.cut[p.from] {
		n = nil
	}
	p.h.mu.Unlock()
	if n != nil {
		_ = n.Step(b)
	}
}

func (h *hub) isolate(id int32, cut bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cut[id] = cut
}

func three(t *testing.T, timeout time.Duration) (*hub, []*Node) {
	h := &hub{nodes: map[int32]*Node{}, cut: map[int32]bool{}}
	var nodes []*Node
	for id := range int32(3) {
		n := start(t, Config{NodeID: id, Dir: t.TempDir(), Voters: []int32{0, 1, 2}, Transport: port{h, id}, ElectionTimeout: timeout, SnapshotBytes: 2000})
		h.mu.Lock()
		h.nodes[id] = n
		h.mu.Unlock()
		nodes = append(nodes, n)
	}
	return h, nodes
}

// leader waits for a node that can decide, not the one excluded.
func leader(t *testing.T, nodes []*Node, not *Node) *Node {
	t.Helper()
	var l *Node
	require.Eventually(t, func() bool {
		for _, n := range nodes {
			if n != not && n.IsLeader() {
				l = n
				return true
			}
		}
		return false
	}, 20*time.Second, 5*time.Millisecond)
	return l
}

// decide makes a topic on whoever leads.
func decide(t *testing.T, nodes []*Node, name string) {
	t.Helper()
	require.Eventually(t, func() bool {
		for _, n := range nodes {
			if n.Image().Topic(name) != nil {
				return true
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			err := n.Do(ctx, createTopic(name))
			cancel()
			if err == nil {
				return true
			}
		}
		return false
	}, 20*time.Second, 5*time.Millisecond)
}

func TestThreeNodesAgreeAndReplaceALostLeader(t *testing.T) {
	h, nodes := three(t, 100*time.Millisecond)
	for _, n := range nodes {
		ready(t, n)
	}
	first := leader(t, nodes, nil)
	for i := range 30 {
		decide(t, nodes, fmt.Sprintf("a%d", i))
	}
	for _, n := range nodes {
		if n != first {
			require.ErrorIs(t, n.Do(context.Background(), createTopic("no")), ErrNotLeader)
			break
		}
	}

	lost := first.cfg.NodeID
	h.isolate(lost, true)
	var rest []*Node
	for _, n := range nodes {
		if n.cfg.NodeID != lost {
			rest = append(rest, n)
		}
	}
	// The leader that is cut off cannot decide; it learns so by itself.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := first.Do(ctx, createTopic("stale"))
	require.Error(t, err)
	require.True(t, errors.Is(err, ErrLost) || errors.Is(err, ErrNotLeader), "%v", err)
	require.Eventually(t, func() bool { return !first.IsLeader() }, 10*time.Second, 5*time.Millisecond)
	second := leader(t, rest, first)
	require.NotEqual(t, lost, second.cfg.NodeID)
	for i := range 60 {
		decide(t, rest, fmt.Sprintf("b%d", i))
	}
	require.Nil(t, second.Image().Topic("stale"))

	var mu sync.Mutex
	seen := map[string]bool{}
	first.Subscribe(func(_, _ *metadata.Image, d metadata.Delta) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range d.Topics {
			if c.New != nil {
				seen[c.New.Name] = true
			}
		}
	})
	h.isolate(lost, false)
	decide(t, nodes, "last")
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, n := range nodes {
			if n.Image().Topic("last") == nil {
				return false
			}
		}
		return seen["last"]
	}, 20*time.Second, 5*time.Millisecond)
	for _, n := range nodes[1:] {
		require.Equal(t, metadata.Encode(nil, nodes[0].Image().Records()), metadata.Encode(nil, n.Image().Records()))
	}
	mu.Lock()
	defer mu.Unlock()
	require.True(t, seen["a0"] && seen["b59"], "subscribers see what was missed")
}

func TestStepRefusesWhatIsNoPeersMessage(t *testing.T) {
	_, nodes := three(t, time.Second)
	require.Error(t, nodes[0].Step([]byte{0xff}))
	require.Error(t, nodes[0].Step(nil))
}

func TestAFailingDiskStopsTheNode(t *testing.T) {
	fs := newMemFS()
	n, err := Open(Config{NodeID: 1, Dir: "d", FS: fs})
	require.NoError(t, err)
	ran := make(chan error, 1)
	go func() { ran <- n.Run(context.Background()) }()
	ready(t, n)
	require.NoError(t, n.Do(context.Background(), createTopic("a")))
	fs.mu.Lock()
	fs.failing = errPowerLoss
	fs.mu.Unlock()
	require.ErrorIs(t, n.Do(context.Background(), createTopic("b")), ErrClosed)
	require.ErrorIs(t, <-ran, errPowerLoss)
	require.Nil(t, n.Image().Topic("b"))
	require.ErrorIs(t, n.Do(context.Background(), createTopic("c")), ErrClosed)
	require.NoError(t, n.Close())
}

func TestLeaderSubscribersSeeTheElection(t *testing.T) {
	n, err := Open(Config{NodeID: 4, Dir: t.TempDir()})
	require.NoError(t, err)
	got := make(chan Leader, 10)
	n.SubscribeLeader(func(l Leader) { got <- l })
	ran := make(chan error, 1)
	go func() { ran <- n.Run(context.Background()) }()
	require.Equal(t, Leader{ID: -1}, <-got)
	last := Leader{}
	for !last.Self {
		last = <-got
	}
	require.Equal(t, int32(4), last.ID)
	require.NoError(t, n.Close())
	require.NoError(t, <-ran)
}

func BenchmarkDo(b *testing.B) {
	for _, parallel := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", parallel), func(b *testing.B) {
			n := start(b, Config{NodeID: 1, Dir: b.TempDir()})
			ready(b, n)
			v := "1"
			b.SetParallelism(parallel)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := n.Do(context.Background(), func(*metadata.Image) ([]metadata.Record, error) {
						return []metadata.Record{&metadata.ConfigRecord{Resource: metadata.ConfigResource{Type: metadata.TopicResource, Name: "x"}, Key: "k", Value: &v}}, nil
					}); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}
