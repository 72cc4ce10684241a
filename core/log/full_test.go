package log

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

// room bounds the twin's disk to what is used plus n bytes, 0 for no bound.
func (m *memFS) room(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = 0
	if n >= 0 {
		m.capacity = max(1, m.used+n)
	}
}

func TestFullDiskRefusesAppendsServesReadsAndRecoversByItself(t *testing.T) {
	fs := newMemFS()
	d, err := OpenDir("/log", Options{FS: fs})
	require.NoError(t, err)
	cfg := DefaultConfig()
	cfg.SegmentBytes = 1000
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	other, err := d.Create("u", 0, [16]byte{2}, DefaultConfig())
	require.NoError(t, err)
	res := mustAppend(t, l, records(3, producer(7, 0, 0)))
	require.NoError(t, l.WaitDurable(t.Context(), res.LastOffset))
	want := values(t, l, 0)
	for _, left := range []int64{0, 1, 40, 70} {
		fs.room(left) // a write is cut short in the middle of the batch
		_, err = l.Append(records(3, producer(7, 0, 3)), AppendOptions{})
		require.ErrorIs(t, err, ErrStorage)
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.True(t, d.Full())
		require.NoError(t, d.Err(), "the directory is not offline")
		require.Equal(t, want, values(t, l, 0))
		_, err = d.Create("v", 0, [16]byte{3}, cfg)
		if left == 0 {
			require.ErrorIs(t, err, ErrStorage)
		} else if err == nil {
			require.NoError(t, d.Delete("v", 0))
		}
	}
	fs.room(-1)
	res = mustAppend(t, l, records(3, producer(7, 0, 3))) // the same batch again: its sequence was not used up
	require.EqualValues(t, 3, res.BaseOffset)
	require.False(t, res.Duplicate)
	require.False(t, d.Full())
	require.NoError(t, l.WaitDurable(t.Context(), res.LastOffset))
	res = mustAppend(t, other, records(1))
	require.NoError(t, other.WaitDurable(t.Context(), res.LastOffset))
	require.NoError(t, d.Close())
	d, err = OpenDir("/log", Options{FS: fs})
	require.NoError(t, err)
	require.True(t, d.WasClean())
	l, _ = d.Log("t", 0)
	require.Len(t, values(t, l, 0), 6)
	require.NoError(t, d.Close())
}

// TestFullDiskAtEveryWrite fills the disk up at random sizes while a log is written, rolled, compacted and checkpointed, frees it again,
// and at last crashes: whatever was acknowledged is there, whatever was refused is not.
func TestFullDiskAtEveryWrite(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			fs := newMemFS()
			d, err := OpenDir("/log", Options{FS: fs, room: smallRoom})
			require.NoError(t, err)
			cfg := DefaultConfig()
			cfg.SegmentBytes, cfg.IndexIntervalBytes, cfg.Delete, cfg.FileDeleteDelayMs = 700, 100, seed%3 == 0, 0
			cfg.Compact, cfg.DeleteRetentionMs = seed%3 == 1, 1000
			cfg.Preallocate = seed%2 == 0
			l, err := d.Create("t", 0, [16]byte{1}, cfg)
			require.NoError(t, err)
			seq, refused, acked := int32(0), 0, int64(0)
			for range 400 {
				switch x := r.IntN(20); {
				case x == 0:
					fs.room(int64(r.IntN(900)))
				case x == 1:
					fs.room(-1)
				case x == 2:
					_ = d.Housekeep(t.Context())
				case x == 3:
					_ = l.Roll()
				case x == 4 && cfg.Compact:
					_ = l.Compact(t.Context())
				default:
					end := l.EndOffset()
					res, err := l.Append(records(1+r.IntN(3), producer(7, 0, seq)), AppendOptions{})
					if err != nil {
						require.ErrorIs(t, err, syscall.ENOSPC)
						require.Equal(t, end, l.EndOffset())
						refused++
						continue
					}
					require.Equal(t, end, res.BaseOffset)
					seq += int32(res.LastOffset - res.BaseOffset + 1)
					if r.IntN(2) == 0 {
						require.NoError(t, l.WaitDurable(t.Context(), res.LastOffset))
						acked = res.LastOffset + 1
					}
				}
				require.NoError(t, d.Err())
			}
			require.Positive(t, refused)
			fs.room(-1)
			disk := fs.crash(r)
			fs.mu.Lock()
			fs.failAt = 1
			fs.mu.Unlock()
			_ = d.Close()
			d, err = OpenDir("/log", Options{FS: disk})
			require.NoError(t, err)
			l, _ = d.Log("t", 0)
			require.GreaterOrEqual(t, l.EndOffset(), acked)
			got := values(t, l, l.StartOffset())
			if !cfg.Compact {
				require.GreaterOrEqual(t, int64(len(got)), acked-l.StartOffset())
			}
			require.NoError(t, d.Close())
		})
	}
}

func TestReadErrorFailsTheReadOnly(t *testing.T) {
	fs := newMemFS()
	d, err := OpenDir("/log", Options{FS: fs})
	require.NoError(t, err)
	l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	res := mustAppend(t, l, records(1))
	require.NoError(t, l.WaitDurable(t.Context(), res.LastOffset))
	eio := errors.New("input/output error")
	fs.mu.Lock()
	fs.judge = func(op memOp) error {
		if op.kind == "read" {
			return eio
		}
		return nil
	}
	fs.mu.Unlock()
	_, err = l.Read(nil, 0, 100, 1, true)
	require.ErrorIs(t, err, ErrStorage)
	fs.mu.Lock()
	fs.judge = nil
	fs.mu.Unlock()
	require.Len(t, values(t, l, 0), 1)
	require.NoError(t, d.Close())
}

// afterCrash is what the directory is after a loss of power.
func afterCrash(t *testing.T, d *Dir, fs *memFS, opts Options) *Dir {
	t.Helper()
	opts.FS = fs.crashWith(rand.New(rand.NewPCG(1, 1)), 0, 0) // what was not synced is gone
	fs.mu.Lock()
	fs.failAt = 1
	fs.mu.Unlock()
	_ = d.Close()
	return openDir(t, "/log", opts)
}

func TestDeletedRecordsStayDeletedThoughTheDiskWasFullAtFirst(t *testing.T) {
	fs := newMemFS()
	d := openDir(t, "/log", Options{FS: fs})
	l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	mustAppend(t, l, records(10))
	require.NoError(t, l.Sync())
	fs.room(0)
	require.ErrorIs(t, l.DeleteRecordsBefore(5), syscall.ENOSPC)
	fs.room(-1)
	require.NoError(t, l.DeleteRecordsBefore(5))
	d = afterCrash(t, d, fs, Options{})
	l, _ = d.Log("t", 0)
	require.EqualValues(t, 5, l.StartOffset())
}

func TestDeletionOfRecordsIsAcknowledgedWhenItIsOnDisk(t *testing.T) {
	fs := &renamingFS{FS: newMemFS()}
	d := openDir(t, "/log", Options{FS: fs})
	l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	mustAppend(t, l, records(10))
	require.NoError(t, l.Sync())
	second, early := make(chan error, 1), false
	fs.before = func(from string) {
		if fs.before = nil; filepath.Base(from) != fileLogStart+suffixTmp {
			t.Errorf("renamed %s", from)
		}
		go func() { second <- l.DeleteRecordsBefore(5) }()
		select {
		case err := <-second:
			early = true
			second <- err
		case <-time.After(20 * time.Millisecond): // it waits for the first
		}
	}
	require.NoError(t, l.DeleteRecordsBefore(5))
	require.NoError(t, <-second)
	require.False(t, early, "acknowledged before the start was on disk")
}

// overRetention is a log of ten small segments, all synced, of which retention.bytes has room for two or three.
func overRetention(t *testing.T, deleteDelayMs int64) (fs *memFS, opts Options, d *Dir, l *Log) {
	t.Helper()
	fs = newMemFS()
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.RetentionBytes, cfg.FileDeleteDelayMs = 100, 250, deleteDelayMs
	opts = Options{FS: fs, Config: func(string) (Config, bool) { return cfg, true }}
	d = openDir(t, "/log", opts)
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	for range 10 {
		mustAppend(t, l, records(1))
	}
	require.NoError(t, l.Sync())
	return fs, opts, d, l
}

// TestRetentionMakesRoomOnAFullDisk: without a byte for a checkpoint.
func TestRetentionMakesRoomOnAFullDisk(t *testing.T) {
	for _, crash := range []bool{false, true} {
		fs, opts, d, l := overRetention(t, 0)
		fs.room(0)
		_, err := l.Append(records(1), AppendOptions{})
		require.ErrorIs(t, err, syscall.ENOSPC)
		if err := d.retain(t.Context()); err != nil { // of the last checkpoint
			require.ErrorIs(t, err, syscall.ENOSPC)
		}
		require.NoError(t, d.Err())
		require.Less(t, l.Segments(), 5)
		start := l.StartOffset()
		require.Positive(t, start)
		if crash {
			d = afterCrash(t, d, fs, opts)
			l, _ = d.Log("t", 0)
			require.Equal(t, start, l.StartOffset())
			require.Len(t, values(t, l, start), int(10-start))
			continue
		}
		require.NoError(t, d.emptyTrash(t.Context()))
		mustAppend(t, l, records(1))
	}
}

// TestAPartitionOfTheNameOfADeletedOneIsNotGivenItsOffsets: the disk was full when the deletion was to be noted.
func TestAPartitionOfTheNameOfADeletedOneIsNotGivenItsOffsets(t *testing.T) {
	fs := newMemFS()
	d := openDir(t, "/log", Options{FS: fs})
	l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	mustAppend(t, l, records(10))
	require.NoError(t, l.Sync())
	require.NoError(t, l.DeleteRecordsBefore(8))
	require.NoError(t, d.checkpoint())
	fs.room(0)
	require.ErrorIs(t, d.Delete("t", 0), syscall.ENOSPC)
	_, ok := d.Log("t", 0)
	require.False(t, ok)
	_, err = d.Create("t", 0, [16]byte{2}, DefaultConfig())
	require.ErrorIs(t, err, syscall.ENOSPC)
	fs.room(-1)
	l, err = d.Create("t", 0, [16]byte{2}, DefaultConfig())
	require.NoError(t, err)
	require.NoError(t, l.WaitDurable(t.Context(), mustAppend(t, l, records(3)).LastOffset))
	d = afterCrash(t, d, fs, Options{})
	l, _ = d.Log("t", 0)
	require.Equal(t, []int64{0, 3}, []int64{l.StartOffset(), l.EndOffset()})
	require.Len(t, values(t, l, 0), 3)
}

// TestAMarkerThatTheDiskHadNoRoomForLeavesReadersInPeace: the marker fits, and its entry in the transaction index only in part.
func TestAMarkerThatTheDiskHadNoRoomForLeavesReadersInPeace(t *testing.T) {
	fs := newMemFS()
	d := openDir(t, "/log", Options{FS: fs})
	l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	mark := func() error {
		_, err := l.Append(batch.BuildEndTxn(1, 7, 0, batch.EndTxn{Type: batch.ControlAbort}), AppendOptions{Origin: Coordinator})
		return err
	}
	mustAppend(t, l, inTxn(7, 0, 0))
	require.NoError(t, mark())
	mustAppend(t, l, inTxn(7, 0, 1))
	fs.room(int64(len(batch.BuildEndTxn(1, 7, 0, batch.EndTxn{}))) + 10)
	require.ErrorIs(t, mark(), syscall.ENOSPC)
	want := []AbortedTxn{{7, 0, 1, 2}}
	got, err := l.AbortedTxns(0, l.EndOffset())
	require.NoError(t, err)
	require.Equal(t, want, got)
	fs.room(-1)
	require.NoError(t, mark())
	got, err = l.AbortedTxns(0, l.EndOffset())
	require.NoError(t, err)
	require.Equal(t, append(want, AbortedTxn{7, 2, 3, 4}), got)
}

// TestRetentionMakesRoomWhereNotEvenANameHasAny: a longer name may take another block of the folder.
func TestRetentionMakesRoomWhereNotEvenANameHasAny(t *testing.T) {
	fs, opts, d, l := overRetention(t, DefaultConfig().FileDeleteDelayMs)
	fs.mu.Lock()
	fs.judge = func(op memOp) error {
		if op.kind == "rename" && strings.Contains(op.name, "/t-0/") {
			return &os.LinkError{Op: op.kind, Old: op.name, Err: syscall.ENOSPC}
		}
		return nil
	}
	fs.mu.Unlock()
	require.NoError(t, d.retain(t.Context()))
	start := l.StartOffset()
	require.Positive(t, start)
	fs.mu.Lock()
	fs.judge = nil
	fs.mu.Unlock()
	d = afterCrash(t, d, fs, opts)
	l, _ = d.Log("t", 0)
	require.Equal(t, start, l.StartOffset())
}
