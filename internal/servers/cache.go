package servers

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// EnvCache names the folder that fetched servers are kept in; default is moldau/servers under the user's cache folder.
const EnvCache = "MOLDAU_SERVERS_CACHE"

// Progress receives lines that tell what is fetched and how far it is. Default is nowhere.
var Progress io.Writer = io.Discard

var progressMu sync.Mutex

func say(format string, args ...any) {
	progressMu.Lock()
	defer progressMu.Unlock()
	fmt.Fprintf(Progress, format+"\n", args...)
}

// CacheDir returns the cache folder, made if need be.
func CacheDir() (string, error) {
	dir := os.Getenv(EnvCache)
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no cache folder: set %s: %w", EnvCache, err)
		}
		dir = filepath.Join(base, "moldau", "servers")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// cached returns the folder name in the cache, filled by fill when it is not there yet. Concurrent processes wait for each other, and
// a fill that fails leaves nothing behind.
func cached(ctx context.Context, name, what string, fill func(ctx context.Context, dir string) error) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	final := filepath.Join(cache, name)
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	lock, err := os.OpenFile(final+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	work, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := os.Chmod(work, 0o755); err != nil {
		return "", err
	}
	began := time.Now()
	say("  fetching %s", what)
	done := make(chan struct{})
	go func() {
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				say("  ... %s: %d s, %s so far", name, int(time.Since(began).Seconds()), size(work))
			case <-done:
				return
			}
		}
	}()
	err = fill(ctx, work)
	close(done)
	if err != nil {
		return "", fmt.Errorf("fetch %s: %w", what, err)
	}
	if err := os.Rename(work, final); err != nil {
		return "", err
	}
	say("  fetched %s in %.1f s (%s)", name, time.Since(began).Seconds(), size(final))
	return final, nil
}

func size(dir string) string {
	var n int64
	_ = filepath.Walk(dir, func(_ string, fi os.FileInfo, err error) error {
		if err == nil && fi.Mode().IsRegular() {
			n += fi.Size()
		}
		return nil
	})
	return fmt.Sprintf("%d MB", n>>20)
}
