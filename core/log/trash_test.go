package log

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// removal is what the trash does to a directory with one deleted folder of a file of 1,000 bytes and two small ones, 300 at a time.
func removal(t *testing.T, ctx context.Context, judge func(op memOp) error) (ops []string, fs *memFS, err error) {
	t.Helper()
	fs = newMemFS()
	require.NoError(t, fs.MkdirAll("/log"))
	require.NoError(t, fs.MkdirAll("/log/t-0.x-delete"))
	for name, size := range map[string]int{"0.index": 10, "0.log": 1000, "0.timeindex": 300} {
		require.NoError(t, writeFile(fs, "/log/t-0.x-delete/"+name, make([]byte, size), true))
	}
	d, err := OpenDir("/log", Options{FS: fs, removeAtOnce: 300, removePause: 1}) // it puts the folder into the trash
	require.NoError(t, err)
	fs.judge = func(op memOp) error {
		if op.kind != "open" && op.kind != "read" {
			ops = append(ops, op.kind+" "+strings.TrimPrefix(op.name, "/log"))
		}
		if judge != nil {
			return judge(op)
		}
		return nil
	}
	err = d.emptyTrash(ctx)
	fs.judge = nil
	d.syncer.stop()
	_ = d.lock.Close()
	return ops, fs, err
}

func TestALargeFileIsCutDownOnceItsNewNameIsDurable(t *testing.T) {
	ops, fs, err := removal(t, t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, []string{
		"remove /t-0.x-delete/0.index",
		"syncdir ",
		"truncate /t-0.x-delete/0.log", "truncate /t-0.x-delete/0.log", "truncate /t-0.x-delete/0.log", "remove /t-0.x-delete/0.log",
		"remove /t-0.x-delete/0.timeindex",
		"remove /t-0.x-delete",
	}, ops)
	_, err = fs.Stat("/log/t-0.x-delete")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestAFileWhoseNewNameMayNotBeDurableIsNotCut(t *testing.T) {
	ops, fs, err := removal(t, t.Context(), func(op memOp) error {
		if op.kind == "syncdir" {
			return errInjected
		}
		return nil
	})
	require.ErrorIs(t, err, errInjected)
	require.Equal(t, []string{"remove /t-0.x-delete/0.index", "syncdir "}, ops)
	st, err := fs.Stat("/log/t-0.x-delete/0.log")
	require.NoError(t, err)
	require.EqualValues(t, 1000, st.Size())
}

func TestAFileThatIsGoneDoesNotKeepTheOthersOfItsFolder(t *testing.T) {
	ops, fs, err := removal(t, t.Context(), func(op memOp) error {
		if op.kind == "remove" && strings.HasSuffix(op.name, "0.index") {
			return os.ErrNotExist
		}
		return nil
	})
	require.NoError(t, err)
	require.Contains(t, ops, "remove /t-0.x-delete/0.timeindex")
	_, err = fs.Stat("/log/t-0.x-delete")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestRemovingStopsWhereItIsAndGoesOnAfterTheNextOpening(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ops, fs, err := removal(t, ctx, func(op memOp) error {
		if op.kind == "truncate" {
			cancel()
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, []string{"remove /t-0.x-delete/0.index", "syncdir ", "truncate /t-0.x-delete/0.log"}, ops)
	d, err := OpenDir("/log", Options{FS: fs})
	require.NoError(t, err)
	require.NoError(t, d.Housekeep(t.Context()))
	_, err = fs.Stat("/log/t-0.x-delete")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, d.Close())
}

// TestReadersOfADeletedSegmentSeeAllOrNothing: with no delay before files are removed, whoever reads has the segment cut under it.
func TestReadersOfADeletedSegmentSeeAllOrNothing(t *testing.T) {
	d := openDir(t, t.TempDir(), Options{removeAtOnce: 100, removePause: 1, Durability: DurabilityOS})
	cfg := DefaultConfig()
	cfg.SegmentBytes, cfg.FileDeleteDelayMs = 4000, 0
	l, err := d.Create("t", 0, [16]byte{1}, cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	read := make(chan error)
	go func() {
		var buf []byte
		for ctx.Err() == nil {
			start := l.StartOffset()
			p, err := l.Read(buf[:0], start, 3000, l.EndOffset(), true)
			if err != nil && start >= l.StartOffset() {
				read <- err
				return
			}
			buf = p[:0]
		}
		read <- nil
	}()
	for range 100 {
		for range 8 {
			mustAppend(t, l, records(10))
		}
		require.NoError(t, l.DeleteRecordsBefore(l.EndOffset()-1))
		require.NoError(t, d.retain(ctx))
		require.NoError(t, d.emptyTrash(ctx))
	}
	cancel()
	require.NoError(t, <-read)
	left, err := filepath.Glob(filepath.Join(d.path, "t-0", "*"+suffixDeleted))
	require.NoError(t, err)
	require.Empty(t, left)
}
