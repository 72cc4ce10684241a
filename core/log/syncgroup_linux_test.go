package log

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDirtyBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"MemTotal:  24 kB\nDirty:             5544 kB\nWriteback:            12 kB\nAnonPages: 1 kB\n": 5556 << 10,
		"MemTotal:  24 kB\nDirty:             5544 kB\n":                                               math.MaxInt64,
		"MemTotal:  24 kB\nWriteback:         5544 kB\n":                                               math.MaxInt64,
		"MemTotal:  24 kB\nDirty:                   kB\nWriteback: 1 kB\n":                             math.MaxInt64,
		"": math.MaxInt64,
	} {
		require.Equal(t, want, dirtyBytes([]byte(text)), text)
	}
	require.Positive(t, dirtyBytes([]byte("\nDirty: 99999999999999999999999 kB\nWriteback: 0 kB\n")))
}

func TestKernelReleases(t *testing.T) {
	for release, want := range map[string]bool{"5.17.0": true, "5.16.20-x": false, "6.1.0-41-amd64": true, "4.99": false, "10.0": true, "": false, "x.y": false} {
		require.Equal(t, want, atLeast(release, 5, 17), release)
	}
}

func TestFileSystemIsSyncedAtOnce(t *testing.T) {
	dir := t.TempDir()
	g, err := osFS{}.OpenGroup(dir)
	require.NoError(t, err)
	if g == nil {
		t.Skip("files are synced one by one on this file system or kernel")
	}
	f, err := OS.OpenFile(filepath.Join(dir, "f"), createFlags)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("x"), 0)
	require.NoError(t, err)
	require.NoError(t, g.Sync())
	require.NoError(t, g.Check(f))
	g.Worthwhile() // of no interest here how busy the machine is
	require.NoError(t, f.Close())
	require.Error(t, g.Check(f))
	require.NoError(t, g.Close())
	require.Error(t, g.Sync())
}
