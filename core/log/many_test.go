package log

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// counting has a disk in memory count its operations by kind.
func counting(m *memFS) (counts func() map[string]int) {
	var mu sync.Mutex
	n := map[string]int{}
	m.judge = func(op memOp) error {
		mu.Lock()
		n[op.kind]++
		mu.Unlock()
		return nil
	}
	return func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		out := n
		n = map[string]int{}
		return out
	}
}

// TestOpeningAndClosingManyPartitionsTouchesNoMoreThanNeeded counts what is asked of the file system, so that a start does not get slower
// without anyone noticing: reads bound an opening, and syncs must not grow with the partitions that nobody wrote to.
func TestOpeningAndClosingManyPartitionsTouchesNoMoreThanNeeded(t *testing.T) {
	const n, few = 300, 12 // few: of the directory itself
	for _, tree := range []bool{false, true} {
		t.Run(fmt.Sprint("tree=", tree), func(t *testing.T) {
			fs := newMemFS()
			fs.tree = tree
			counts := counting(fs)
			open := func() *Dir {
				d, err := OpenDir("/log", Options{FS: fs})
				require.NoError(t, err)
				return d
			}
			d := open()
			for i := range n {
				l, err := d.Create(fmt.Sprint("topic", i/100), int32(i%100), [16]byte{1}, DefaultConfig())
				require.NoError(t, err)
				res := mustAppend(t, l, records(1, producer(1, 0, 0)))
				require.NoError(t, l.WaitDurable(t.Context(), res.LastOffset))
			}
			all := func(c map[string]int) (n int) {
				for kind, k := range c {
					if len(kind) >= 4 && kind[:4] == "sync" {
						n += k
					}
				}
				return n
			}
			counts()
			require.NoError(t, d.checkpoint())
			c := counts()
			if tree {
				require.LessOrEqual(t, all(c), few, "a checkpoint syncs the leader epochs of all at once: %v", c)
			} else {
				require.LessOrEqual(t, all(c), 2*n+few, "a file and a folder: %v", c)
			}
			require.NoError(t, d.checkpoint())
			c = counts()
			require.LessOrEqual(t, all(c), few, "nothing is behind: %v", c)
			require.LessOrEqual(t, c["open"], few, "%v", c)
			require.NoError(t, d.Close())
			c = counts()
			if tree {
				require.LessOrEqual(t, all(c), few, "an orderly stop syncs all at once: %v", c)
			} else {
				require.LessOrEqual(t, all(c), 3*n+few, "two indexes and a folder: %v", c)
			}

			d = open()
			c = counts()
			require.True(t, d.WasClean())
			require.LessOrEqual(t, all(c), few, "a clean start: %v", c)
			require.LessOrEqual(t, c["open"], 5*n+few, "topic id, epochs, index, log, producers: %v", c)
			require.LessOrEqual(t, c["read"], 6*n+few, "%v", c)
			require.Zero(t, c["create"]+c["write"]+c["rename"], "nothing is written: %v", c)
			require.Empty(t, d.files.ring, "no file stays open")
			require.NoError(t, d.Close())
			c = counts()
			require.LessOrEqual(t, c["open"], few, "nothing is left to be written for partitions nobody used: %v", c)
			require.LessOrEqual(t, all(c), few)

			// A process that is killed: nothing of the partitions that were not written to is synced or changed.
			d = open()
			require.NoError(t, d.checkpoint())
			const touched = 5
			for i := range touched {
				l, _ := d.Log("topic0", int32(i))
				res := mustAppend(t, l, records(1))
				require.NoError(t, l.WaitDurable(t.Context(), res.LastOffset))
			}
			d.syncer.stop()
			require.NoError(t, d.lock.Close())
			counts()
			d = open()
			c = counts()
			require.False(t, d.WasClean())
			require.LessOrEqual(t, all(c), touched+few, "only what was written to is synced: %v", c)
			require.LessOrEqual(t, c["open"], 5*n+few+touched, "%v", c)
			require.LessOrEqual(t, c["remove"]+c["rename"]+c["write"]+c["truncate"], few, "what is durable is left alone: %v", c)
			require.Empty(t, d.files.ring)
			for i := range touched {
				l, _ := d.Log("topic0", int32(i))
				require.EqualValues(t, 2, l.EndOffset())
			}
			require.NoError(t, d.Close())
		})
	}
}

func TestFilesOfIdlePartitionsAreHandedBack(t *testing.T) {
	d := openDir(t, t.TempDir(), Options{MaxOpenFiles: 3})
	var logs []*Log
	for i := range int32(20) {
		l, err := d.Create("t", i, [16]byte{1}, DefaultConfig())
		require.NoError(t, err)
		res := mustAppend(t, l, records(1))
		require.NoError(t, l.WaitDurable(t.Context(), res.LastOffset))
		logs = append(logs, l)
	}
	open := func() (n int) {
		for _, l := range logs {
			l.active.fmu.Lock()
			if l.active.f != nil {
				n++
			}
			l.active.fmu.Unlock()
		}
		return n
	}
	require.LessOrEqual(t, open(), 8, "as many to be written to as to be read, and the last ones")
	require.NoError(t, d.checkpoint())
	require.NoError(t, d.checkpoint(), "written to since the one before, then idle")
	require.LessOrEqual(t, open(), 4)
	for _, l := range logs {
		res := mustAppend(t, l, records(1))
		require.NoError(t, l.WaitDurable(t.Context(), res.LastOffset))
		require.Len(t, values(t, l, 0), 2)
	}
	require.NoError(t, d.Close())
}

// tenThousand opens a directory and writes a record into each of as many partitions, without a sync.
func tenThousand(b *testing.B, dir string) *Dir {
	b.Helper()
	d, err := OpenDir(dir, Options{Durability: DurabilityOS})
	require.NoError(b, err)
	for i := range 10_000 {
		l, err := d.Create(fmt.Sprint("topic", i/100), int32(i%100), [16]byte{1}, DefaultConfig())
		require.NoError(b, err)
		_, err = l.Append(records(1, producer(1, 0, 0)), AppendOptions{})
		require.NoError(b, err)
	}
	return d
}

func BenchmarkOpenManyPartitions(b *testing.B) {
	dir := b.TempDir()
	d := tenThousand(b, dir)
	began := time.Now()
	require.NoError(b, d.Close())
	b.Logf("close: %v", time.Since(began))
	b.ResetTimer()
	for range b.N {
		for _, clean := range []bool{true, false} {
			if !clean {
				require.NoError(b, os.Remove(dir+"/"+fileCleanShutdown))
			}
			began := time.Now()
			d, err := OpenDir(dir, Options{})
			require.NoError(b, err)
			b.ReportMetric(float64(time.Since(began).Milliseconds()), fmt.Sprintf("ms/clean=%v", clean))
			began = time.Now()
			require.NoError(b, d.Close())
			b.ReportMetric(float64(time.Since(began).Milliseconds()), fmt.Sprintf("ms/close,clean=%v", clean))
		}
	}
}

// BenchmarkCheckpointManyPartitions is the first checkpoint after a process was killed whose partitions were all written to.
func BenchmarkCheckpointManyPartitions(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		d := tenThousand(b, dir)
		d.syncer.stop()
		require.NoError(b, d.lock.Close())
		d, err := OpenDir(dir, Options{})
		require.NoError(b, err)
		b.StartTimer()
		require.NoError(b, d.checkpoint())
		b.StopTimer()
		d.syncer.stop()
		require.NoError(b, d.lock.Close())
		b.StartTimer()
	}
}
