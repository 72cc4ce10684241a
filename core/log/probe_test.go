package log

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestADirectoryThatNobodyWritesToIsFoundToHaveFailed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir")
	told := make(chan struct{})
	d := openDir(t, path, Options{ProbeInterval: 5 * time.Millisecond, OnFail: func() { close(told) }})
	l, err := d.Create("t", 0, [16]byte{1}, DefaultConfig())
	require.NoError(t, err)
	mustAppend(t, l, records(1))
	require.NoError(t, l.Sync())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = d.Run(ctx) }()
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(path, fileProbe)); return err == nil }, 10*time.Second, time.Millisecond)
	require.NoError(t, d.Err())
	require.NoError(t, os.Rename(path, path+".away"))
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	select {
	case <-told:
	case <-time.After(10 * time.Second):
		require.Fail(t, "nobody is told")
	}
	require.ErrorIs(t, l.Err(), ErrStorage)
}

func TestWhatAProbeTakesForAFailure(t *testing.T) {
	for _, c := range []struct {
		kind  string // of the operation that fails
		err   error
		fails bool
	}{
		{"", nil, false}, {"sync " + fileProbe, errInjected, true}, {"write", errInjected, true}, {"open", syscall.EROFS, true}, {"create", syscall.EROFS, true},
		{"write", syscall.ENOSPC, false}, {"create", syscall.ENOSPC, false}, {"create", syscall.EMFILE, false}, {"create", syscall.ENFILE, false},
	} {
		fs := newMemFS()
		d := openDir(t, "/d", Options{FS: fs})
		if c.kind == "open" { // it is there from an earlier probe
			require.NoError(t, d.probe())
		}
		fs.mu.Lock()
		fs.judge = func(op memOp) error {
			if op.kind == c.kind && strings.HasSuffix(op.name, fileProbe) {
				return c.err
			}
			return nil
		}
		fs.mu.Unlock()
		err := d.probe()
		require.Equal(t, c.fails, err != nil, "%s %v: %v", c.kind, c.err, err)
		require.Equal(t, c.fails, d.Err() != nil)
		if c.fails {
			require.True(t, errors.Is(err, c.err) && errors.Is(err, ErrStorage), err)
		}
	}
}

func TestAProbeIsNoPartition(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path, Options{})
	require.NoError(t, d.probe())
	require.NoError(t, d.Close())
	d = openDir(t, path, Options{})
	require.Empty(t, d.list())
	require.Empty(t, d.Corruptions())
	require.NoError(t, d.probe())
}
