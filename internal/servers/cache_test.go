package servers

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// openCache is an empty cache that the user nobody gets at, as CacheDir asks for where servers run as nobody.
func openCache(t *testing.T) string {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755)) //nolint:gosec // a test's folder
	t.Setenv(EnvCache, dir)
	return dir
}

func TestAFetchIsTriedAgainInAnEmptyFolder(t *testing.T) {
	cache := openCache(t)
	before := fetchPause
	fetchPause = 0
	t.Cleanup(func() { fetchPause = before })
	require.NoError(t, os.Mkdir(filepath.Join(cache, "thing-1.part"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(cache, "thing-1.part", "torn"), []byte("half a download"), 0o600))

	tries := 0
	dir, err := cached(t.Context(), "thing-1", "a thing", func(_ context.Context, dir string) error {
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left, "the folder is empty at each try")
		require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("x"), 0o600))
		if tries++; tries == 1 {
			return errors.New("connection reset")
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 2, tries)
	require.FileExists(t, filepath.Join(dir, "file"))
	require.NoDirExists(t, dir+".part")

	_, err = cached(t.Context(), "thing-1", "a thing", func(context.Context, string) error { return errors.New("not called") })
	require.NoError(t, err)
}

func TestAMissingToolIsNamedAtOnceAndLeavesNothing(t *testing.T) {
	cache := openCache(t)
	tries := 0
	_, err := cached(t.Context(), "thing-2", "a thing", func(context.Context, string) error {
		tries++
		return &missingTool{[]string{"maven", "python3-pip"}}
	})
	require.ErrorContains(t, err, "maven")
	require.ErrorContains(t, err, "python3-pip")
	require.Equal(t, 1, tries)
	require.NoDirExists(t, filepath.Join(cache, "thing-2"))
	require.NoDirExists(t, filepath.Join(cache, "thing-2.part"))
}

func TestConcurrentFetchesHappenOnce(t *testing.T) {
	openCache(t)
	var fills atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := cached(t.Context(), "thing-3", "a thing", func(context.Context, string) error { fills.Add(1); return nil })
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, fills.Load())
}

func TestTestsOfDifferentServersDoNotWaitForEachOther(t *testing.T) {
	t.Cleanup(StopShared)
	slow, release := make(chan struct{}), make(chan struct{})
	var starts atomic.Int32
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			get(t, "slow", func(context.Context, string) (int, error) {
				starts.Add(1)
				close(slow)
				<-release
				return i, nil
			}, func(int) error { return nil })
		})
	}
	<-slow
	stopped := false
	require.Equal(t, 7, get(t, "quick", func(context.Context, string) (int, error) { return 7, nil }, func(int) error { stopped = true; return nil }))
	close(release)
	wg.Wait()
	require.EqualValues(t, 1, starts.Load(), "one server is started once")
	StopShared()
	require.True(t, stopped)
}

func TestFetchedFilesCanBeReadByAll(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "sub")
	require.NoError(t, os.Mkdir(sub, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(sub, "file"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(sub, "program"), nil, 0o700))
	require.NoError(t, os.Symlink("/nonexistent", filepath.Join(sub, "link")))
	require.NoError(t, openToAll(dir))
	for name, want := range map[string]os.FileMode{"sub": 0o755, "sub/file": 0o644, "sub/program": 0o755} {
		fi, err := os.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, want, fi.Mode().Perm(), name)
	}
	require.NoError(t, os.Chmod(dir, 0o700))
	require.NotEmpty(t, shutFolder(filepath.Join(sub, "deeper")), "a folder on the way is shut")
	require.Empty(t, shutFolder("/usr/bin"))
}

func TestProgressComesInWholeLines(t *testing.T) {
	var out bytes.Buffer
	progressMu.Lock()
	before := Progress
	Progress = &out
	progressMu.Unlock()
	t.Cleanup(func() { progressMu.Lock(); Progress = before; progressMu.Unlock() })
	openCache(t)
	_, err := cached(t.Context(), "thing-4", "a thing (somewhere, 3 MB)", func(context.Context, string) error { return nil })
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	require.Len(t, lines, 2)
	require.Equal(t, "  fetching a thing (somewhere, 3 MB)", lines[0])
	require.Contains(t, lines[1], "fetched thing-4 in ")
}
