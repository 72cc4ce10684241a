package quorum

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/metadata"
)

// start opens and runs a node and stops it at the end of the test.
func start(t testing.TB, cfg Config) *Node {
	t.Helper()
	n, err := Open(cfg)
	require.NoError(t, err)
	ran := make(chan error, 1)
	go func() { ran <- n.Run(context.Background()) }()
	t.Cleanup(func() {
		require.NoError(t, n.Close())
		if err := <-ran; !errors.Is(err, ErrClosed) { // closed before Run began
			require.NoError(t, err)
		}
	})
	return n
}

func ready(t testing.TB, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, n.WaitReady(ctx))
}

// createTopic is a decision that adds a topic with one partition on node 1.
func createTopic(name string) func(*metadata.Image) ([]metadata.Record, error) {
	return func(im *metadata.Image) ([]metadata.Record, error) {
		if im.Topic(name) != nil {
			return nil, fmt.Errorf("topic %s exists", name)
		}
		var id metadata.UUID
		copy(id[:], fmt.Sprintf("%016s", name))
		return []metadata.Record{
			&metadata.TopicRecord{Name: name, ID: id},
			&metadata.PartitionRecord{TopicID: id, Partition: metadata.Partition{Leader: 1, Replicas: []int32{1}, ISR: []int32{1}}},
		}, nil
	}
}

func TestOneNodeElectsItselfAndDecidesAtOnce(t *testing.T) {
	began := time.Now()
	n := start(t, Config{NodeID: 0, Dir: t.TempDir()})
	ready(t, n)
	require.NoError(t, n.Do(context.Background(), createTopic("a")))
	took := time.Since(began)
	require.NotNil(t, n.Image().Topic("a"))
	require.NotEmpty(t, n.Image().ClusterID)
	require.Equal(t, Leader{ID: 0, Epoch: n.Leader().Epoch, Self: true}, n.Leader())
	require.Less(t, took, time.Second, "no election timeout may be waited for")
	t.Logf("open to first decision: %s", took)
}

func TestRestartKeepsWhatWasDecided(t *testing.T) {
	dir := t.TempDir()
	var want string
	for i := range 4 {
		n, err := Open(Config{NodeID: 1, Dir: dir, SegmentBytes: 300, SnapshotBytes: 200})
		require.NoError(t, err)
		ran := make(chan error, 1)
		go func() { ran <- n.Run(context.Background()) }()
		ready(t, n)
		if i == 0 {
			want = n.Image().ClusterID
		}
		require.Equal(t, want, n.Image().ClusterID)
		for j := range 20 {
			require.NoError(t, n.Do(context.Background(), createTopic(fmt.Sprintf("t%d-%d", i, j))))
		}
		require.Equal(t, 20*(i+1), n.Image().NumTopics())
		require.NoError(t, n.Close())
		require.NoError(t, <-ran)
	}
}

func TestConcurrentDecisionsSeeEachOther(t *testing.T) {
	n := start(t, Config{NodeID: 1, Dir: t.TempDir()})
	ready(t, n)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := map[string]int{}
	for i := range 200 {
		wg.Go(func() {
			name := fmt.Sprintf("t%d", i%20)
			if err := n.Do(context.Background(), createTopic(name)); err == nil {
				mu.Lock()
				made[name]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	require.Len(t, made, 20)
	for name, times := range made {
		require.Equal(t, 1, times, name)
	}
	require.Equal(t, 20, n.Image().NumTopics())
}

func TestSubscribersSeeEveryChangeInOrderBeforeDoReturns(t *testing.T) {
	n := start(t, Config{NodeID: 1, Dir: t.TempDir()})
	var mu sync.Mutex
	last := metadata.Empty()
	var seen []string
	n.Subscribe(func(was, is *metadata.Image, d metadata.Delta) {
		mu.Lock()
		defer mu.Unlock()
		if last.Offset != 0 && was.Offset < last.Offset {
			t.Errorf("a change from offset %d after one to offset %d", was.Offset, last.Offset) // not require: this is the publisher's goroutine
		}
		last = is
		for _, c := range d.Topics {
			seen = append(seen, c.New.Name)
		}
	})
	ready(t, n)
	for _, name := range []string{"a", "b", "c"} {
		require.NoError(t, n.Do(context.Background(), createTopic(name)))
		mu.Lock()
		got := slices.Clone(seen)
		mu.Unlock()
		require.NotEmpty(t, got)
		require.Equal(t, name, got[len(got)-1])
	}
	late := make(chan int, 1)
	n.Subscribe(func(was, is *metadata.Image, d metadata.Delta) {
		select {
		case late <- len(d.Topics):
		default:
		}
	})
	require.Equal(t, 3, <-late, "a late subscriber gets everything at once")
}

func TestErrorsOfDecisionsChangeNothing(t *testing.T) {
	n := start(t, Config{NodeID: 1, Dir: t.TempDir()})
	ready(t, n)
	before := n.Image()
	mine := errors.New("mine")
	require.ErrorIs(t, n.Do(context.Background(), func(*metadata.Image) ([]metadata.Record, error) { return nil, mine }), mine)
	require.Error(t, n.Do(context.Background(), func(*metadata.Image) ([]metadata.Record, error) {
		return []metadata.Record{&metadata.RemoveTopicRecord{ID: metadata.UUID{1}}}, nil
	}), "records that contradict the image are refused before they are written")
	require.Same(t, before, n.Image())
	require.NoError(t, n.Do(context.Background(), createTopic("a")))
}

func TestTooLargeAChangeIsRefused(t *testing.T) {
	n := start(t, Config{NodeID: 1, Dir: t.TempDir()})
	ready(t, n)
	big := string(make([]byte, 1<<20))
	err := n.Do(context.Background(), func(*metadata.Image) ([]metadata.Record, error) {
		var rs []metadata.Record
		for i := range 20 {
			rs = append(rs, &metadata.ConfigRecord{Resource: metadata.ConfigResource{Type: metadata.BrokerResource}, Key: fmt.Sprint(i), Value: &big})
		}
		return rs, nil
	})
	require.ErrorIs(t, err, ErrTooLarge)
	require.NoError(t, n.Do(context.Background(), createTopic("a")))
}

func TestClosedNodeAnswers(t *testing.T) {
	n, err := Open(Config{NodeID: 1, Dir: t.TempDir()})
	require.NoError(t, err)
	require.NoError(t, n.Close())
	require.ErrorIs(t, n.Do(context.Background(), createTopic("a")), ErrClosed)
	require.ErrorIs(t, n.WaitReady(context.Background()), ErrClosed)
	require.ErrorIs(t, n.Run(context.Background()), ErrClosed)
}

func TestOpenRefusesWhatIsNotItsOwn(t *testing.T) {
	dir := t.TempDir()
	n, err := Open(Config{NodeID: 1, Dir: dir, ClusterID: "abc"})
	require.NoError(t, err)
	_, err = Open(Config{NodeID: 1, Dir: dir})
	require.ErrorContains(t, err, "another process uses this directory")
	ran := make(chan error, 1)
	go func() { ran <- n.Run(context.Background()) }()
	ready(t, n)
	require.Equal(t, "abc", n.Image().ClusterID)
	require.NoError(t, n.Close())
	require.NoError(t, <-ran)
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{NodeID: 2, Dir: dir}, "belongs to node 1"},
		{Config{NodeID: 1, Dir: dir, Voters: []int32{1, 2, 3}, Transport: nowhere{}}, "voters cannot be changed"},
		{Config{NodeID: 1, Dir: dir, Voters: []int32{2, 3}}, "not one of the voters"},
		{Config{NodeID: 1, Dir: dir, Voters: []int32{1, 1}}, "twice"},
		{Config{NodeID: 1, Dir: dir, Voters: []int32{1, 2}}, "need a transport"},
		{Config{NodeID: -1, Dir: dir}, "negative"},
	} {
		_, err := Open(c.cfg)
		require.ErrorContains(t, err, c.want)
	}
	n2, err := Open(Config{NodeID: 1, Dir: dir})
	require.NoError(t, err)
	require.NoError(t, n2.Close())
}

type nowhere struct{}

func (nowhere) Send(int32, []byte) {}
