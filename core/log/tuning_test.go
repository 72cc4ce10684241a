package log

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheExpiryOfProducersChangesWhileTheDirectoryIsOpen(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().UnixMilli())
	ds, err := OpenDirs([]string{t.TempDir()}, Options{Now: func() time.Time { return time.UnixMilli(now.Load()) }})
	require.NoError(t, err)
	defer func() { require.NoError(t, ds.Close()) }()
	l, err := ds.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	mustAppend(t, l, records(1, producer(7, 0, 0)))
	active := func() int {
		require.NoError(t, ds.Housekeep(context.Background()))
		ps, err := l.ActiveProducers()
		require.NoError(t, err)
		return len(ps)
	}
	now.Add(time.Hour.Milliseconds())
	require.Equal(t, 1, active(), "a day is the default")
	ds.Tune(Tuning{ProducerIDExpiration: 30 * time.Minute})
	require.Equal(t, 0, active())
	ds.Tune(Tuning{})
	mustAppend(t, l, records(1, producer(7, 0, 0)))
	now.Add(time.Hour.Milliseconds())
	require.Equal(t, 1, active())
}

func TestTheMemoryOfTheCleanerChangesWhileTheDirectoryIsOpen(t *testing.T) {
	cfg := compactedConfig()
	cfg.SegmentBytes = 4000
	l := newTestLog(t, Options{}, cfg)
	for i := range 3000 {
		mustAppend(t, l, at(time.Now().UnixMilli(), fmt.Sprint("k", i), "v"))
	}
	require.NoError(t, l.Roll())
	require.NoError(t, l.Sync())
	l.d.tune(Tuning{CleanerBufferBytes: 1})
	require.NoError(t, l.Compact(context.Background()))
	require.Less(t, l.dirtyFrom, l.EndOffset(), "not all keys fit")
	const enough = 4096 * offsetSlotBytes * 3 / 2
	l.d.tune(Tuning{CleanerBufferBytes: enough, CleanerThreads: 2})
	l.dirtyFrom = 0
	require.NoError(t, l.Compact(context.Background()))
	require.Less(t, l.dirtyFrom, l.EndOffset(), "it is for two")
	l.d.tune(Tuning{CleanerBufferBytes: enough})
	l.dirtyFrom = 0
	require.NoError(t, l.Compact(context.Background()))
	require.Equal(t, l.EndOffset(), l.dirtyFrom)
	l.dirtyFrom = 0
	l.d.tune(Tuning{})
	require.NoError(t, l.Compact(context.Background()))
	require.Equal(t, l.EndOffset(), l.dirtyFrom)
}

// refusingFS makes no folders in a directory.
type refusingFS struct {
	FS
	in  string
	err error
}

func (f *refusingFS) MkdirAll(path string) error {
	if f.in != "" && strings.HasPrefix(path, f.in) {
		return f.err
	}
	return f.FS.MkdirAll(path)
}

func TestANewPartitionGoesElsewhereWhenItsDirectoryFailsOrIsFull(t *testing.T) {
	for _, c := range []struct {
		err     error
		offline int
	}{{syscall.EIO, 1}, {syscall.ENOSPC, 0}} {
		root := t.TempDir()
		a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
		fs := &refusingFS{FS: OS, err: c.err}
		ds, err := OpenDirs([]string{a, b}, Options{FS: fs})
		require.NoError(t, err)
		fs.in = a
		for i := range int32(3) {
			l, err := ds.Create("t", i, [16]byte{1}, DefaultConfig())
			require.NoError(t, err, "the next directory is taken, as in Kafka")
			require.Equal(t, b, l.Dir().Path())
		}
		require.Equal(t, c.offline, ds.Offline())
		fs.in = root
		_, err = ds.Create("t", 3, [16]byte{1}, DefaultConfig())
		require.ErrorIs(t, err, ErrStorage)
		require.NoError(t, ds.Close())
	}
}
