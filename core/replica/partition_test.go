package replica

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/log/batch"
)

// open is a partition that this node (1) leads, on a fresh directory.
func open(t testing.TB, d log.Durability) (*Partition, *log.Dir) {
	t.Helper()
	dir, err := log.OpenDir(t.TempDir(), log.Options{Durability: d})
	require.NoError(t, err)
	t.Cleanup(func() { _ = dir.Close() })
	l, err := dir.Create("t", 0, [16]byte{1}, log.DefaultConfig())
	require.NoError(t, err)
	p := New("t", [16]byte{1}, 0, 1, l)
	p.SetLeadership(Leadership{Leader: 1, Epoch: 0, Replicas: []int32{1}, ISR: []int32{1}, MinISR: 1})
	return p, dir
}

func records(n int) []byte {
	w := batch.Builder{}
	for range n {
		w.Append(time.Now().UnixMilli(), nil, []byte("value"))
	}
	return w.MustBuild()
}

// acks collects acknowledgements by slot.
type acks struct {
	mu   sync.Mutex
	errs map[int]error
	n    int
}

func (a *acks) Acknowledged(slot int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.errs == nil {
		a.errs = map[int]error{}
	}
	a.errs[slot] = err
	a.n++
}

func (a *acks) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

func TestEveryAppendIsAcknowledgedOnceAndOnlyBelowTheHighWatermark(t *testing.T) {
	for _, d := range []log.Durability{log.DurabilityFsync, log.DurabilityOS} {
		p, _ := open(t, d)
		var a acks
		var wg sync.WaitGroup
		const workers, each = 8, 50
		for w := range workers {
			wg.Go(func() {
				for i := range each {
					var end atomic.Int64
					done := make(chan struct{})
					f := ackFunc(func(err error) {
						a.Acknowledged(w*each+i, err)
						if e := end.Load(); e > 0 && p.HighWatermark() < e {
							t.Errorf("acknowledged at %d below the high watermark %d", e, p.HighWatermark())
						}
						close(done)
					})
					res, err := p.Append(records(2), AppendOptions{Acks: -1}, f, 0)
					if err != nil {
						t.Error(err)
						return
					}
					end.Store(res.LastOffset + 1)
					<-done
					if p.HighWatermark() < res.LastOffset+1 {
						t.Errorf("acknowledged %d, high watermark %d", res.LastOffset, p.HighWatermark())
					}
				}
			})
		}
		wg.Wait()
		require.Equal(t, workers*each, a.count())
		require.Equal(t, int64(2*workers*each), p.HighWatermark())
		p.mu.Lock()
		require.Empty(t, p.appends)
		p.mu.Unlock()
	}
}

type ackFunc func(error)

func (f ackFunc) Acknowledged(_ int, err error) { f(err) }

func TestConsumersStopAtTheHighWatermark(t *testing.T) {
	p, _ := open(t, log.DurabilityFsync)
	done := make(chan error, 1)
	_, err := p.Append(records(3), AppendOptions{}, ackFunc(func(err error) { done <- err }), 0)
	require.NoError(t, err)
	require.NoError(t, <-done)
	out, next, o, err := p.Read(nil, 0, 1<<20, false, true)
	require.NoError(t, err)
	require.NotEmpty(t, out)
	require.EqualValues(t, 3, next)
	require.Equal(t, Offsets{HighWatermark: 3, LastStable: 3}, o)
	out, _, _, err = p.Read(nil, 3, 1<<20, false, true)
	require.NoError(t, err)
	require.Empty(t, out)
	_, _, _, err = p.Read(nil, 4, 1<<20, false, true)
	require.ErrorIs(t, err, log.ErrOffsetOutOfRange)
	// Between high watermark and end a consumer is early and not lost.
	p.hw.Store(1)
	out, _, _, err = p.Read(nil, 2, 1<<20, false, true)
	require.NoError(t, err)
	require.Empty(t, out)
}

func TestAWatchFiresOnceWhenEnoughHasCome(t *testing.T) {
	for _, d := range []log.Durability{log.DurabilityFsync, log.DurabilityOS} {
		p, _ := open(t, d)
		size := int64(len(records(1)))
		var fired atomic.Int32
		w := NewWatch(3*size, func() { fired.Add(1) })
		p.Watch(w, p.HighWatermark())
		for i := range 5 {
			done := make(chan error, 1)
			_, err := p.Append(records(1), AppendOptions{}, ackFunc(func(err error) { done <- err }), 0)
			require.NoError(t, err)
			require.NoError(t, <-done)
			if i < 2 {
				require.Zero(t, fired.Load(), "after %d", i+1)
			}
		}
		require.Eventually(t, func() bool { return fired.Load() == 1 }, 5*time.Second, time.Millisecond)
		p.mu.Lock()
		require.Empty(t, p.watchers)
		p.mu.Unlock()
	}
}

func TestAWatchThatComesTooLateFiresAtOnce(t *testing.T) {
	p, _ := open(t, log.DurabilityOS)
	_, err := p.Append(records(1), AppendOptions{}, nil, 0)
	require.NoError(t, err)
	fired := false
	p.Watch(NewWatch(1, func() { fired = true }), 0)
	require.True(t, fired)
	fired = false
	w := NewWatch(1, func() { fired = true })
	p.Watch(w, 1)
	require.True(t, w.Cancel())
	p.Unwatch(w)
	p.Close()
	require.False(t, fired)
	p.Watch(NewWatch(1, func() { fired = true }), 1)
	require.True(t, fired, "a partition that is gone")
}

func TestNoWakeUpIsLostBetweenManyProducersAndPollers(t *testing.T) {
	for _, d := range []log.Durability{log.DurabilityFsync, log.DurabilityOS} {
		p, _ := open(t, d)
		const producers, each = 4, 100
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for offset := int64(0); offset < producers*each; {
					hw := p.HighWatermark()
					if hw > offset {
						offset = hw
						continue
					}
					ch := make(chan struct{})
					p.Watch(NewWatch(1, func() { close(ch) }), hw)
					select {
					case <-ch:
					case <-time.After(10 * time.Second):
						t.Errorf("not woken at %d, high watermark %d", offset, p.HighWatermark())
						return
					}
				}
			})
		}
		for range producers {
			wg.Go(func() {
				for range each {
					if _, err := p.Append(records(1), AppendOptions{}, nil, 0); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestThoseWhoWaitLearnThatTheLeadershipOrTheDiskIsGone(t *testing.T) {
	p, dir := open(t, log.DurabilityFsync)
	var a acks
	p.track(appended{end: 100, acker: &a, slot: 1}) // an append that nothing will make durable
	p.SetLeadership(Leadership{Leader: 2, Epoch: 1})
	require.ErrorIs(t, a.errs[1], ErrNotLeader)
	_, err := p.Append(records(1), AppendOptions{}, &a, 2)
	require.ErrorIs(t, err, ErrNotLeader)
	p.SetLeadership(Leadership{Leader: 1, Epoch: 2, ISR: []int32{1}, MinISR: 1})
	p.track(appended{end: 100, acker: &a, slot: 3})
	require.NoError(t, dir.Close())
	require.Eventually(t, func() bool { return a.count() == 2 }, 5*time.Second, time.Millisecond)
	require.ErrorIs(t, a.errs[3], log.ErrStorage)
	p.Close()
	p.track(appended{end: 100, acker: &a, slot: 4})
	require.ErrorIs(t, a.errs[4], ErrClosed)
}

func TestEpochsAreChecked(t *testing.T) {
	p, _ := open(t, log.DurabilityOS)
	p.SetLeadership(Leadership{Leader: 1, Epoch: 5, ISR: []int32{1}, MinISR: 2})
	require.Equal(t, int32(5), p.EpochAt(0), "of what is written next")
	require.NoError(t, p.CheckEpoch(-1))
	require.NoError(t, p.CheckEpoch(5))
	require.ErrorIs(t, p.CheckEpoch(4), ErrFencedEpoch)
	require.ErrorIs(t, p.CheckEpoch(6), ErrUnknownEpoch)
	_, err := p.Append(records(1), AppendOptions{Acks: -1}, nil, 0)
	require.ErrorIs(t, err, ErrNotEnoughReplicas)
	_, err = p.Append(records(1), AppendOptions{Acks: 1, CheckEpoch: true, Epoch: 4}, nil, 0)
	require.ErrorIs(t, err, ErrNotLeader)
	res, err := p.Append(records(1), AppendOptions{Acks: 1}, nil, 0)
	require.NoError(t, err)
	require.Equal(t, int32(5), p.EpochAt(res.BaseOffset))
	p.SetLeadership(Leadership{Leader: 1, Epoch: 7, ISR: []int32{1}, MinISR: 1})
	require.Equal(t, int32(5), p.EpochAt(res.BaseOffset))
	require.Equal(t, int32(7), p.EpochAt(res.BaseOffset+1))
	for epoch, want := range map[int32][2]int64{4: {4, 0}, 5: {5, 1}, 6: {5, 1}, 7: {7, 1}} {
		found, end := p.EpochEndOffset(epoch)
		require.Equal(t, want, [2]int64{int64(found), end}, "epoch %d", epoch)
	}
}

func TestRecordsAreDeletedUpToTheHighWatermark(t *testing.T) {
	p, _ := open(t, log.DurabilityOS)
	for range 4 {
		_, err := p.Append(records(1), AppendOptions{}, nil, 0)
		require.NoError(t, err)
	}
	low, err := p.DeleteRecords(2)
	require.NoError(t, err)
	require.Equal(t, int64(2), low)
	_, err = p.DeleteRecords(5)
	require.ErrorIs(t, err, log.ErrOffsetOutOfRange)
	low, err = p.DeleteRecords(-1)
	require.NoError(t, err)
	require.Equal(t, int64(4), low)
}

// TestChangesOfALogThatIsBeingSwappedAreOfTheNewOne: the copy is complete by then, and what comes late would be lost.
func TestChangesOfALogThatIsBeingSwappedAreOfTheNewOne(t *testing.T) {
	p, dir := open(t, log.DurabilityOS)
	to, err := dir.Create("copy", 0, [16]byte{1}, log.DefaultConfig())
	require.NoError(t, err)
	for range 4 {
		_, err := p.Append(records(1), AppendOptions{}, nil, 0)
		require.NoError(t, err)
		_, err = to.Append(records(1), log.AppendOptions{})
		require.NoError(t, err)
	}
	done := make(chan error, 2)
	require.NoError(t, p.SwapLog(func() (*log.Log, error) {
		began := make(chan struct{}, 2)
		go func() {
			began <- struct{}{}
			_, err := p.DeleteRecords(2)
			done <- err
		}()
		go func() {
			began <- struct{}{}
			c := log.DefaultConfig()
			c.RetentionMs = 1234
			p.UpdateConfig(c)
			done <- nil
		}()
		<-began
		<-began
		time.Sleep(20 * time.Millisecond) // enough for them to go on with the old one, if they may
		return to, nil
	}))
	require.NoError(t, <-done)
	require.NoError(t, <-done)
	require.EqualValues(t, 2, to.StartOffset())
	require.EqualValues(t, 1234, to.Config().RetentionMs)
}

func TestAppendingDoesNotAllocate(t *testing.T) {
	p, _ := open(t, log.DurabilityOS)
	b := records(1)
	var n atomic.Int32
	var a Acker = countAcks{&n}
	appendOne := func() {
		batch.Batch(b).SetBaseOffset(0)
		if _, err := p.Append(b, AppendOptions{Acks: -1}, a, 0); err != nil {
			t.Error(err)
		}
	}
	for range 100 {
		appendOne()
	}
	require.Less(t, testing.AllocsPerRun(500, appendOne), 1.0)
	require.Equal(t, int32(601), n.Load())
}

type countAcks struct{ n *atomic.Int32 }

func (c countAcks) Acknowledged(_ int, err error) {
	if err == nil || errors.Is(err, ErrClosed) {
		c.n.Add(1)
	}
}
