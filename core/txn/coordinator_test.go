package txn

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// memory is a Store and a MarkerWriter in memory.
type memory struct {
	mu      sync.Mutex
	log     map[int32][]Record
	markers []Markers
	broken  atomic.Bool // appends fail, loads fail
	late    atomic.Bool // appends are told of out of order, and late
}

func (m *memory) Append(partition int32, b Batch, done func(error)) {
	if m.broken.Load() {
		done(errDisk)
		return
	}
	m.mu.Lock()
	if m.log == nil {
		m.log = map[int32][]Record{}
	}
	m.log[partition] = append(m.log[partition], b.Records...)
	m.mu.Unlock()
	if m.late.Load() {
		time.AfterFunc(time.Duration(b.Seq%3)*time.Millisecond, func() { done(nil) })
		return
	}
	done(nil)
}

func (m *memory) Load(_ context.Context, partition int32, fn func(key, value []byte, offset int64) error) error {
	if m.broken.Load() {
		return errDisk
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, r := range m.log[partition] {
		if err := fn(r.Key, r.Value, int64(i)); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) WriteMarkers(mk Markers, done func([]int16)) {
	m.mu.Lock()
	m.markers = append(m.markers, mk)
	m.mu.Unlock()
	done(make([]int16, len(mk.Partitions)))
}

func startCoordinator(t *testing.T, m *memory, cfg Config) *Coordinator {
	var last atomic.Int64
	c, err := NewCoordinator(cfg, m, m, func(context.Context) (int64, error) { return last.Add(1), nil }, nil)
	require.NoError(t, err)
	c.SetVersion(2)
	c.Start()
	t.Cleanup(c.Close)
	return c
}

func elect(t *testing.T, c *Coordinator, epoch int32) {
	for i := range c.cfg.Partitions {
		c.OnElected(i, epoch)
	}
	require.Eventually(t, func() bool { _, code := c.List(Filter{MinDurationMs: -1}); return code == 0 }, 10*time.Second, time.Millisecond)
}

// call waits for a reply.
func call(t *testing.T, fn func(Reply)) Result {
	t.Helper()
	ch := make(chan Result, 1)
	fn(func(r Result) { ch <- r })
	select {
	case r := <-ch:
		return r
	case <-time.After(10 * time.Second):
		t.Fatal("no answer")
		return Result{}
	}
}

func (c *Coordinator) initNow(t *testing.T, id string) Result {
	t.Helper()
	var r Result
	require.Eventually(t, func() bool {
		r = call(t, func(reply Reply) {
			c.InitProducerID(t.Context(), InitProducerID{TransactionalID: id, TimeoutMs: 1000, ExpectedID: -1, ExpectedEpoch: -1, Reply: reply})
		})
		return r.Code != codeConcurrentTransactions
	}, 10*time.Second, time.Millisecond)
	return r
}

func TestACoordinatorServesWhatItLeads(t *testing.T) {
	m := &memory{}
	c := startCoordinator(t, m, Config{Partitions: 4})
	require.Equal(t, codeNotCoordinator, c.initNow(t, "x").Code)
	require.Equal(t, codeNotCoordinator, c.Verify("x", 1, 0, []TopicPartition{tp("t", 0)})[0])
	require.Equal(t, codeInvalidRequest, c.Verify("", 1, 0, []TopicPartition{tp("t", 0)})[0])
	_, code := c.Describe("x")
	require.Equal(t, codeNotCoordinator, code)
	_, code = c.Describe("")
	require.Equal(t, codeInvalidRequest, code)
	require.Equal(t, codeNotCoordinator, call(t, func(r Reply) { c.EndTxn(t.Context(), EndTxn{TransactionalID: "x", Reply: r}) }).Code)
	require.Equal(t, codeInvalidRequest, call(t, func(r Reply) { c.AddPartitions(AddPartitions{Reply: r}) }).Code)
	elect(t, c, 1)
	c.OnElected(99, 1)
	c.OnResigned(-1)
	_, code = c.Describe("x")
	require.Equal(t, codeTransactionalIDNotFound, code)
	m.late.Store(true)
	var wg sync.WaitGroup
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		wg.Go(func() {
			p := c.initNow(t, id)
			for i := range 10 {
				require.Eventually(t, func() bool {
					return call(t, func(r Reply) {
						c.AddPartitions(AddPartitions{TransactionalID: id, ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch, Partitions: []TopicPartition{tp("t", int32(i))}, Version: 2, Reply: r})
					}).Code == 0
				}, 10*time.Second, time.Millisecond)
				end := call(t, func(r Reply) {
					c.EndTxn(t.Context(), EndTxn{TransactionalID: id, ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch, Commit: true, Version: 2, Reply: r})
				})
				require.Zero(t, end.Code)
				require.Equal(t, p.ProducerEpoch+1, end.ProducerEpoch)
				p = end
			}
		})
	}
	wg.Wait()
	list, code := c.List(Filter{MinDurationMs: -1})
	require.Zero(t, code)
	require.Len(t, list, 6)
	for i := range c.cfg.Partitions {
		c.OnResigned(i)
	}
	require.Equal(t, codeNotCoordinator, c.initNow(t, "a").Code)
	elect(t, c, 2)
	require.Eventually(t, func() bool {
		e, code := c.Describe("a")
		return code == 0 && e.State == CompleteCommit && e.ProducerEpoch == 10
	}, 10*time.Second, time.Millisecond)
	c.Close()
	require.Equal(t, codeCoordinatorNotAvailable, c.initNow(t, "a").Code)
	c.OnElected(0, 3)
}

func TestALogThatCannotBeReadIsReadAgain(t *testing.T) {
	m := &memory{}
	m.broken.Store(true)
	c := startCoordinator(t, m, Config{Partitions: 1})
	c.OnElected(0, 1)
	require.Equal(t, codeCoordinatorLoadInProgress, c.initNow(t, "x").Code)
	_, code := c.List(Filter{})
	require.Equal(t, codeCoordinatorLoadInProgress, code)
	m.broken.Store(false)
	require.Eventually(t, func() bool { return c.initNow(t, "x").Code == 0 }, 20*time.Second, 10*time.Millisecond)
	m.broken.Store(true)
	require.Equal(t, codeNotCoordinator, c.initNow(t, "x").Code)
	c.OnElected(0, 2) // leads on
	m.broken.Store(false)
	require.Zero(t, c.initNow(t, "x").Code)
}

func TestATimerAbortsWhatTakesTooLong(t *testing.T) {
	m := &memory{}
	c := startCoordinator(t, m, Config{Partitions: 2, AbortCheckMs: 20})
	elect(t, c, 1)
	r := call(t, func(reply Reply) {
		c.InitProducerID(t.Context(), InitProducerID{TransactionalID: "x", TimeoutMs: 1, ExpectedID: -1, ExpectedEpoch: -1, Reply: reply})
	})
	require.Zero(t, call(t, func(reply Reply) {
		c.AddPartitions(AddPartitions{TransactionalID: "x", ProducerID: r.ProducerID, ProducerEpoch: 0, Partitions: []TopicPartition{tp("t", 0)}, Version: 2, Reply: reply})
	}).Code)
	require.Eventually(t, func() bool { e, _ := c.Describe("x"); return e.State == CompleteAbort }, 10*time.Second, time.Millisecond)
}

func TestWithoutProducerIDsThereAreNoNewProducers(t *testing.T) {
	m := &memory{}
	c, err := NewCoordinator(Config{Partitions: 1}, m, m, func(context.Context) (int64, error) { return 0, errors.New("no quorum") }, nil)
	require.NoError(t, err)
	c.Start()
	t.Cleanup(c.Close)
	elect(t, c, 1)
	require.Equal(t, codeCoordinatorLoadInProgress, c.initNow(t, "x").Code)
	_, err = NewCoordinator(Config{Partitions: -1}, m, m, nil, nil)
	require.ErrorContains(t, err, "Partitions is -1")
}

func TestAnUnusedProducerIDIsKeptForTheNext(t *testing.T) {
	m := &memory{}
	c := startCoordinator(t, m, Config{Partitions: 1})
	elect(t, c, 1)
	require.Equal(t, int64(1), c.initNow(t, "x").ProducerID)
	require.Equal(t, int64(1), c.initNow(t, "x").ProducerID)
	require.Equal(t, int64(2), c.initNow(t, "y").ProducerID, "the id that the second call did not need")
}
