package log

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// countedGroup is a fileGroup that counts, and fails as asked.
type countedGroup struct {
	syncs, checks atomic.Int64
	err, checkErr error
	dirty         bool
	closed        atomic.Bool
}

func (g *countedGroup) Sync() error      { g.syncs.Add(1); return g.err }
func (g *countedGroup) Check(File) error { g.checks.Add(1); return g.checkErr }
func (g *countedGroup) Worthwhile() bool { return !g.dirty }
func (g *countedGroup) Close() error     { g.closed.Store(true); return nil }

// crowd appends to n logs while the only worker is held up, lets it go, and returns what the appends were told of their durability.
func crowd(t *testing.T, g *countedGroup, n int) []error {
	t.Helper()
	fs := newMemFS()
	var held sync.Mutex
	var first atomic.Bool
	reached := make(chan struct{})
	fs.judge = func(op memOp) error {
		if strings.HasPrefix(op.kind, "sync") && first.CompareAndSwap(true, false) {
			close(reached)
			fs.mu.Unlock() // others go on meanwhile
			held.Lock()
			held.Unlock() //nolint:staticcheck // it only waits
			fs.mu.Lock()
		}
		return nil
	}
	d, err := OpenDir("/log", Options{FS: fs, SyncWorkers: 1})
	require.NoError(t, err)
	d.syncer.group = g
	logs := make([]*Log, n)
	for i := range logs {
		logs[i], err = d.Create("t", int32(i), [16]byte{1}, DefaultConfig())
		require.NoError(t, err)
	}
	hold, err := d.Create("hold", 0, [16]byte{2}, DefaultConfig())
	require.NoError(t, err)
	require.NoError(t, hold.Sync())
	for _, l := range logs {
		require.NoError(t, l.Sync())
	}
	held.Lock()
	first.Store(true)
	appendOne(t, hold)
	<-reached
	told := make([]chan error, n)
	for i, l := range logs {
		told[i] = make(chan error, 1)
		r := appendOne(t, l)
		l.NotifyDurable(r.LastOffset, func(err error) { told[i] <- err })
	}
	g.syncs.Store(0)
	held.Unlock()
	errs := make([]error, n)
	for i := range told {
		errs[i] = <-told[i]
	}
	if err := d.Close(); d.failure() == nil {
		require.NoError(t, err)
	}
	require.True(t, g.closed.Load())
	return errs
}

func appendOne(t *testing.T, l *Log) AppendResult {
	t.Helper()
	r, err := l.Append(records(1), AppendOptions{Origin: Coordinator})
	require.NoError(t, err)
	return r
}

func TestLogsThatWaitAreSyncedTogether(t *testing.T) {
	g := &countedGroup{}
	for _, err := range crowd(t, g, groupFrom) {
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, g.syncs.Load())
	require.EqualValues(t, groupFrom, g.checks.Load())

	g = &countedGroup{}
	for _, err := range crowd(t, g, groupFrom-1) {
		require.NoError(t, err)
	}
	require.Zero(t, g.syncs.Load(), "too few to be worth it")

	g = &countedGroup{dirty: true}
	for _, err := range crowd(t, g, 3*groupFrom) {
		require.NoError(t, err)
	}
	require.Zero(t, g.syncs.Load(), "others have left too much to be written")
}

func TestSyncOfAGroupThatFailsIsRepeatedForEach(t *testing.T) {
	g := &countedGroup{err: errors.New("somebody else's file")}
	for _, err := range crowd(t, g, 8) {
		require.NoError(t, err)
	}
	require.EqualValues(t, 1, g.syncs.Load())
	require.Zero(t, g.checks.Load())
}

func TestFileThatTheGroupCouldNotWriteFailsItsDirectory(t *testing.T) {
	g := &countedGroup{checkErr: errors.New("this very file")}
	for _, err := range crowd(t, g, 8) {
		require.ErrorIs(t, err, ErrStorage)
	}
}

// TestGroupsUnderLoad appends to many logs of a real directory from many goroutines, and syncs and truncates them meanwhile.
func TestGroupsUnderLoad(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var syncs atomic.Int64
	d, err := OpenDir(t.TempDir(), Options{OnSync: func(time.Duration, error) { syncs.Add(1) }})
	require.NoError(t, err)
	const n = 16
	var wg sync.WaitGroup
	for i := range n {
		l, err := d.Create("t", int32(i), [16]byte{1}, DefaultConfig())
		require.NoError(t, err)
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			for range 60 {
				r, err := l.Append(records(1), AppendOptions{Origin: Coordinator})
				if err == nil {
					err = l.WaitDurable(context.Background(), r.LastOffset)
				}
				switch {
				case err != nil:
				case l.DurableOffset() <= r.LastOffset:
					err = fmt.Errorf("durable up to %d after %d was said to be", l.DurableOffset(), r.LastOffset)
				case rnd.IntN(8) == 0:
					err = l.Sync()
				case rnd.IntN(16) == 0:
					err = l.TruncateTo(r.LastOffset)
				}
				if err != nil {
					t.Errorf("log %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%d appends, %d syncs", n*60, syncs.Load())
	require.NoError(t, d.Close())
}
