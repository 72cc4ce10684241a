package log

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// place is a partition as the layer above keeps it.
type place struct {
	mu sync.RWMutex
	l  *Log
}

func (p *place) SwapLog(swap func() (*Log, error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, err := swap()
	if err == nil {
		p.l = l
	}
	return err
}

func (p *place) append(t testing.TB, b []byte) AppendResult {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return mustAppend(t, p.l, b)
}

func (p *place) log() *Log {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.l
}

func openDirs(t testing.TB, opts Options, paths ...string) *Dirs {
	t.Helper()
	ds, err := OpenDirs(paths, opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ds.Close() })
	return ds
}

func TestPartitionsGoWhereThereAreTheFewest(t *testing.T) {
	root := t.TempDir()
	a, b, c := filepath.Join(root, "a"), filepath.Join(root, "b"), filepath.Join(root, "c")
	ds := openDirs(t, Options{}, a, b, c)
	in := func(topic string) string {
		l, ok := ds.Log(topic, 0)
		require.True(t, ok)
		return l.Dir().Path()
	}
	for i := range 6 {
		_, err := ds.Create(fmt.Sprint("t", i), 0, [16]byte{1}, DefaultConfig())
		require.NoError(t, err)
	}
	for _, d := range ds.List() {
		require.Len(t, d.Logs(), 2)
	}
	ds.Cordon([]string{a, c})
	_, err := ds.Create("u", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	require.Equal(t, b, in("u"))
	d, ok := ds.Find(c + "/")
	require.True(t, ok)
	require.True(t, ds.Cordoned(d))
	ds.Prefer("v", 0, d)
	_, err = ds.Create("v", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	require.Equal(t, c, in("v"), "who asks for a directory gets it")
	ds.Cordon([]string{"*"})
	_, err = ds.Create("w", 0, [16]byte{1}, DefaultConfig())
	require.ErrorIs(t, err, ErrStorage)
	_, err = OpenDirs([]string{a, a + "/."}, Options{})
	require.ErrorContains(t, err, "named twice")
	_, err = OpenDirs([]string{a, filepath.Join(root, "d")}, Options{})
	require.ErrorIs(t, err, ErrLocked)
}

func TestFailedDirectoryTakesItsPartitionsOfflineAndNoOthers(t *testing.T) {
	fs := newMemFS()
	ds := openDirs(t, Options{FS: fs}, "/a", "/b")
	x, err := ds.Create("x", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	y, err := ds.Create("y", 0, [16]byte{2}, DefaultConfig())
	require.NoError(t, err)
	for _, l := range []*Log{x, y} {
		require.NoError(t, l.WaitDurable(t.Context(), mustAppend(t, l, records(1)).LastOffset))
	}
	fs.mu.Lock()
	fs.judge = func(op memOp) error {
		if strings.HasPrefix(op.name, "/a") {
			return &os.PathError{Op: op.kind, Path: op.name, Err: syscall.EIO}
		}
		return nil
	}
	fs.mu.Unlock()
	_, err = x.Append(records(1), AppendOptions{})
	require.ErrorIs(t, err, ErrStorage)
	require.Equal(t, 1, ds.Offline())
	require.ErrorIs(t, x.Err(), ErrStorage)
	require.NoError(t, y.WaitDurable(t.Context(), mustAppend(t, y, records(1)).LastOffset))
	z, err := ds.Create("z", 0, [16]byte{3}, DefaultConfig())
	require.NoError(t, err)
	require.Equal(t, "/b", z.Dir().Path())
	require.NoError(t, ds.Housekeep(t.Context()))
	require.NoError(t, ds.Close())
	// Opened with the directory still broken, the other serves, and what may be on the broken one is offline.
	ds = openDirs(t, Options{FS: fs}, "/a", "/b")
	require.Equal(t, 1, ds.Offline())
	_, ok := ds.Log("x", 0)
	require.False(t, ok)
	lost, ok := ds.Lost("x", 0, [16]byte{1})
	require.True(t, ok)
	require.ErrorIs(t, lost.Err(), ErrStorage)
	_, err = lost.Append(records(1), AppendOptions{})
	require.ErrorIs(t, err, ErrStorage)
	y, ok = ds.Log("y", 0)
	require.True(t, ok)
	require.Len(t, values(t, y, 0), 2)
	require.NoError(t, ds.Close())
	_, err = OpenDirs([]string{"/a"}, Options{FS: fs})
	require.ErrorIs(t, err, syscall.EIO)
}

func TestMoveToAnotherDirectoryUnderWrites(t *testing.T) {
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	ds := openDirs(t, Options{}, a, b)
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.FileDeleteDelayMs = 5000, 0
	l, err := ds.Create("t", 0, [16]byte{9}, cfg)
	require.NoError(t, err)
	require.Equal(t, a, l.Dir().Path())
	p := &place{l: l}
	seq := int32(0)
	put := func() AppendResult {
		r := p.append(t, records(2, producer(5, 0, seq), func(w *batch.Builder) { w.LeaderEpoch = 1 }))
		seq += 2
		return r
	}
	for range 200 {
		put()
	}
	require.NoError(t, l.Sync())
	require.NoError(t, l.DeleteRecordsBefore(50))
	to, _ := ds.Find(b)
	require.NoError(t, ds.Move("t", 0, to, p))
	for p.log() == l {
		put()
	}
	moved := p.log()
	require.Equal(t, b, moved.Dir().Path())
	require.ErrorIs(t, l.Err(), ErrClosed)
	require.EqualValues(t, 50, moved.StartOffset())
	require.Len(t, values(t, moved, 50), int(seq)-50)
	r := put()
	require.EqualValues(t, seq-1, r.LastOffset, "the producer goes on in its sequence")
	require.NoError(t, moved.WaitDurable(t.Context(), r.LastOffset))
	require.Empty(t, ds.FutureLogs())
	require.NoError(t, ds.Housekeep(t.Context()))
	entries, err := filepath.Glob(filepath.Join(a, "t-0*"))
	require.NoError(t, err)
	require.Empty(t, entries)
	require.NoError(t, ds.Close())
	rep, err := VerifyPartition(filepath.Join(b, "t-0"), VerifyOptions{Records: true})
	require.NoError(t, err)
	require.True(t, rep.OK(), rep.Problems)
	ds = openDirs(t, Options{}, a, b)
	got, ok := ds.Log("t", 0)
	require.True(t, ok)
	require.Equal(t, b, got.Dir().Path())
	require.EqualValues(t, seq, got.EndOffset())
	require.EqualValues(t, 50, got.StartOffset())
	require.Equal(t, [16]byte{9}, got.TopicID())
}

func TestMoveOfAPartitionWithTheLongestName(t *testing.T) {
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	ds := openDirs(t, Options{}, a, b)
	name := strings.Repeat("x", 249)
	l, err := ds.Create(name, 99999, [16]byte{9}, DefaultConfig())
	require.NoError(t, err)
	mustAppend(t, l, records(1))
	p := &place{l: l}
	to, _ := ds.Find(b)
	require.NoError(t, ds.Move(name, 99999, to, p))
	require.Eventually(t, func() bool { return p.log() != l || to.Err() != nil }, 10*time.Second, time.Millisecond)
	require.NoError(t, to.Err(), "the directory is not to blame")
	require.Len(t, values(t, p.log(), 0), 1)
	// What a crash leaves of a copy goes, even if it does not tell of what.
	require.NoError(t, ds.Close())
	left := filepath.Join(a, futureName(name+"-99999", [16]byte{1}))
	require.NoError(t, os.Mkdir(left, 0o755))
	ds = openDirs(t, Options{}, a, b)
	require.NoError(t, ds.Housekeep(t.Context()))
	require.NoDirExists(t, left)
	_, ok := ds.Log(name, 99999)
	require.True(t, ok)
}

func TestMoveKeepsGapsOfCompaction(t *testing.T) {
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	ds := openDirs(t, Options{}, a, b)
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.Compact = 1000, true
	l, err := ds.Create("t", 0, [16]byte{9}, cfg)
	require.NoError(t, err)
	for range 50 {
		mustAppend(t, l, records(3))
	}
	require.NoError(t, l.Sync())
	require.NoError(t, l.Roll())
	require.NoError(t, l.Compact(t.Context()))
	want := values(t, l, 0)
	end := l.EndOffset()
	p := &place{l: l}
	to, _ := ds.Find(b)
	require.NoError(t, ds.Move("t", 0, to, p))
	require.Eventually(t, func() bool { return p.log() != l }, 10*time.Second, time.Millisecond)
	require.Equal(t, want, values(t, p.log(), 0))
	require.Equal(t, end, p.log().EndOffset())
}

// TestTransactionsThatHaveEndedCostACopyNothing: a copy has no high watermark that would have them forgotten.
func TestTransactionsThatHaveEndedCostACopyNothing(t *testing.T) {
	l := newTestLog(t, Options{Durability: DurabilityOS}, DefaultConfig())
	seq := int32(0)
	transactions := func() time.Duration {
		began := time.Now()
		for range 500 {
			mustAppend(t, l, records(1, producer(1, 0, seq), func(w *batch.Builder) { w.Transactional = true }))
			seq++
			_, err := l.Append(batch.BuildEndTxn(1, 1, 0, batch.EndTxn{Type: batch.ControlCommit}), AppendOptions{Origin: Coordinator})
			require.NoError(t, err)
		}
		return time.Since(began)
	}
	few := transactions()
	l.producers.closed = slices.Grow(l.producers.closed, 5_000_000)
	for range 5_000_000 {
		l.producers.closed = append(l.producers.closed, closedTxn{1, 2})
	}
	require.Less(t, transactions(), 10*few+time.Second)
	require.Equal(t, l.EndOffset(), l.LastStableOffset())
}

func TestMoveGivenUpLeavesNothing(t *testing.T) {
	fs := newMemFS()
	ds := openDirs(t, Options{FS: fs}, "/a", "/b")
	l, err := ds.Create("t", 0, [16]byte{9}, DefaultConfig())
	require.NoError(t, err)
	for range 10 {
		mustAppend(t, l, records(3))
	}
	p := &place{l: l}
	to, _ := ds.Find("/b")
	hold := make(chan struct{})
	p.mu.RLock() // the swap waits
	require.NoError(t, ds.Move("t", 0, to, p))
	require.Eventually(t, func() bool { fl := ds.FutureLogs(); return len(fl) == 1 && fl[0].Lag == 0 }, 10*time.Second, time.Millisecond)
	require.Equal(t, l.Size(), ds.FutureLogs()[0].Size)
	from, _ := ds.Find("/a")
	require.NoError(t, ds.Move("t", 0, from, p), "back to where it is: the move is given up")
	close(hold)
	p.mu.RUnlock()
	require.Eventually(t, func() bool {
		es, err := fs.ReadDir("/b")
		require.NoError(t, err)
		for _, e := range es {
			if strings.HasSuffix(e.Name(), futureSuffix) {
				return false
			}
		}
		return true
	}, 10*time.Second, time.Millisecond)
	require.Same(t, l, p.log())
	mustAppend(t, l, records(1))
	// A full target ends the move, and the partition stays.
	fs.room(100)
	require.NoError(t, ds.Move("t", 0, to, p))
	require.Eventually(t, func() bool { ds.mu.Lock(); defer ds.mu.Unlock(); return len(ds.moves) == 0 }, 10*time.Second, time.Millisecond)
	require.Same(t, l, p.log())
	fs.room(-1)
	mustAppend(t, l, records(1))
}

// TestPartitionThatIsDeletedWhileItIsMovedIsGone, however late the deletion comes.
func TestPartitionThatIsDeletedWhileItIsMovedIsGone(t *testing.T) {
	for name, when := range map[string]string{"before the copy has its name": futureSuffix, "after": fileLogStart + suffixTmp} {
		t.Run(name, func(t *testing.T) {
			fs := &renamingFS{FS: newMemFS()}
			ds := openDirs(t, Options{FS: fs}, "/a", "/b")
			cfg := DefaultConfig()
			cfg.FileDeleteDelayMs = 0
			l, err := ds.Create("t", 0, [16]byte{9}, cfg)
			require.NoError(t, err)
			mustAppend(t, l, records(3))
			deleted := false
			fs.before = func(from string) {
				if !deleted && strings.HasPrefix(from, "/b") && strings.HasSuffix(from, when) {
					deleted = true
					require.NoError(t, ds.Delete("t", 0))
				}
			}
			require.NoError(t, ds.Move("t", 0, ds.all[1], &place{l: l}))
			ds.moving.Wait()
			require.True(t, deleted)
			require.Empty(t, ds.Logs())
			require.NoError(t, ds.Housekeep(t.Context()))
			for _, dir := range []string{"/a", "/b"} {
				es, err := fs.ReadDir(dir)
				require.NoError(t, err)
				require.False(t, slices.ContainsFunc(es, func(e os.DirEntry) bool { return e.IsDir() }), "%s: %v", dir, es)
			}
		})
	}
}

// TestAMoveIsAskedForAgainWhileItEnds: whoever looks for the partition, or asks for the move once more, meets it in one directory or the other.
func TestAMoveIsAskedForAgainWhileItEnds(t *testing.T) {
	for n := range 300 {
		from, to := "/b", "/a"
		if n%2 == 0 {
			from, to = to, from
		}
		ds, err := OpenDirs([]string{"/a", "/b"}, Options{FS: newMemFS()})
		require.NoError(t, err)
		source, _ := ds.Find(from)
		target, _ := ds.Find(to)
		ds.Prefer("t", 0, source)
		l, err := ds.Create("t", 0, [16]byte{9}, DefaultConfig())
		require.NoError(t, err)
		mustAppend(t, l, records(1))
		p := &place{l: l}
		require.NoError(t, ds.Move("t", 0, target, p))
		for p.log().Dir() != target {
			_, ok := ds.Log("t", 0)
			require.True(t, ok, "round %d", n)
			require.NoError(t, ds.Move("t", 0, target, p), "round %d", n)
		}
		require.Len(t, ds.Logs(), 1)
		require.NoError(t, ds.Close())
	}
}

// TestCrashAtEveryOperationOfAMove: after a crash anywhere the partition is there, once, with all that was acknowledged, and a move that
// was cut off can be gone on with.
func TestCrashAtEveryOperationOfAMove(t *testing.T) {
	t.Run("down", func(t *testing.T) { crashAtEveryOperationOfAMove(t, "/a", "/b") })
	t.Run("up", func(t *testing.T) { crashAtEveryOperationOfAMove(t, "/b", "/a") })
}

func crashAtEveryOperationOfAMove(t *testing.T, from, target string) {
	for at := 1; ; at++ {
		fs := newMemFS()
		ds, err := OpenDirs([]string{"/a", "/b"}, Options{FS: fs})
		require.NoError(t, err)
		cfg := DefaultConfig()
		cfg.SegmentBytes = 400
		source, _ := ds.Find(from)
		ds.Prefer("t", 0, source)
		l, err := ds.Create("t", 0, [16]byte{9}, cfg)
		require.NoError(t, err)
		for i := range 6 {
			require.NoError(t, l.WaitDurable(t.Context(), mustAppend(t, l, records(2, producer(5, 0, int32(2*i)))).LastOffset))
		}
		require.NoError(t, l.DeleteRecordsBefore(3))
		require.NoError(t, ds.Housekeep(t.Context()))
		p := &place{l: l}
		fs.mu.Lock()
		first := fs.ops
		fs.failAt = first + at
		fs.mu.Unlock()
		to, _ := ds.Find(target)
		_ = ds.Move("t", 0, to, p)
		require.Eventually(t, func() bool { ds.mu.Lock(); defer ds.mu.Unlock(); return len(ds.moves) == 0 }, 10*time.Second, 100*time.Microsecond)
		fs.mu.Lock()
		done := fs.ops < fs.failAt
		fs.mu.Unlock()
		for fate := range 20 {
			disk := fs.crashWith(rand.New(rand.NewPCG(uint64(at), uint64(fate))), fate%5, fate/5)
			again, err := OpenDirs([]string{"/a", "/b"}, Options{FS: disk})
			require.NoError(t, err)
			require.Len(t, again.Logs(), 1, "crash at operation %d, fate %d", at, fate)
			got, ok := again.Log("t", 0)
			require.True(t, ok)
			require.EqualValues(t, 3, got.StartOffset(), "crash at operation %d, fate %d", at, fate)
			require.EqualValues(t, 12, got.EndOffset(), "crash at operation %d, fate %d", at, fate)
			require.Len(t, values(t, got, 3), 9)
			q := &place{l: got}
			again.ResumeMove("t", 0, q)
			dst, _ := again.Find(target)
			require.NoError(t, again.Move("t", 0, dst, q))
			require.Eventually(t, func() bool { return q.log().Dir() == dst }, 10*time.Second, 100*time.Microsecond)
			require.NoError(t, again.Housekeep(t.Context()))
			r := mustAppend(t, q.log(), records(1, producer(5, 0, 12)))
			require.EqualValues(t, 12, r.BaseOffset)
			require.NoError(t, again.Close())
		}
		fs.mu.Lock()
		fs.failAt = 1
		fs.mu.Unlock()
		_ = ds.Close()
		if done {
			require.Greater(t, at, 15)
			return
		}
	}
}
