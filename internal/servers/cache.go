package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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

// systemCache is root's cache where servers have to run as nobody and root's home is shut to them.
const systemCache = "/var/cache/moldau/servers"

// CacheDir returns the cache folder, made if need be.
func CacheDir() (string, error) {
	dir := os.Getenv(EnvCache)
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no cache folder: set HOME or %s: %w", EnvCache, err)
		}
		dir = filepath.Join(base, "moldau", "servers")
		if dropMode() == dropIdentity && shutFolder(base) != "" {
			dir = systemCache
		}
	} else if shut := shutFolder(dir); dropMode() == dropIdentity && shut != "" {
		return "", fmt.Errorf("%s=%s: %s is not open to the user nobody, as whom servers run that refuse root", EnvCache, dir, shut)
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// fetchPause is how long the second try of a fetch waits; the third waits twice as long.
var fetchPause = 5 * time.Second

const (
	fetchTries   = 3
	fetchTimeout = 30 * time.Minute // of one try: building MinIO on a busy machine takes a quarter of an hour
)

// cached returns the folder name in the cache, filled by fill when it is not there yet. Concurrent processes wait for each other. A
// fill is tried three times, each time in an empty folder that gets its name only when it is whole: a fetch that fails or is killed
// leaves nothing that could be taken for a server.
func cached(ctx context.Context, name, what string, fill func(ctx context.Context, dir string) error) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	final := filepath.Join(cache, name)
	if exists(final) {
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
	if exists(final) {
		return final, nil
	}
	began := time.Now()
	say("  fetching %s", what)
	work := final + ".part" // ours alone while the lock is held; one that is there was left by a killed process
	defer os.RemoveAll(work)
	for try := 1; ; try++ {
		err := fillOnce(ctx, name, work, fill)
		if err == nil {
			break
		}
		var missing *missingTool
		if try == fetchTries || ctx.Err() != nil || errors.As(err, &missing) {
			return "", fmt.Errorf("fetch %s: %w", what, err)
		}
		say("  %s: try %d of %d failed (%s), again in %s", name, try, fetchTries, lastLine(err), time.Duration(try)*fetchPause)
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(time.Duration(try) * fetchPause):
		}
	}
	if err := os.Rename(work, final); err != nil {
		return "", err
	}
	say("  fetched %s in %.1f s (%s)", name, time.Since(began).Seconds(), size(final))
	return final, nil
}

func fillOnce(ctx context.Context, name, work string, fill func(ctx context.Context, dir string) error) error {
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o755)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	var far atomic.Pointer[string]
	ctx = context.WithValue(ctx, farKey{}, &far)
	defer ticking(func(d time.Duration) {
		so := size(work)
		if f := far.Load(); f != nil {
			so = *f
		}
		say("  ... %s: %d s, %s so far", name, int(d.Seconds()), so)
	})()
	if err := fill(ctx, work); err != nil {
		return err
	}
	return openToAll(work)
}

type farKey struct{}

// setFar tells how far the fetch of ctx is, where the size of its folder would not.
func setFar(ctx context.Context, far string) {
	if p, ok := ctx.Value(farKey{}).(*atomic.Pointer[string]); ok {
		p.Store(&far)
	}
}

// ticking calls tell every ten seconds, with the time since, until the function that it returns is called.
func ticking(tell func(since time.Duration)) (stop func()) {
	began, done := time.Now(), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				tell(time.Since(began))
			case <-done:
				return
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// lastLine is the line of an error that tells most: commands put their reason last.
func lastLine(err error) string {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	l := lines[len(lines)-1]
	if len(l) > 200 {
		l = l[:200] + "..."
	}
	return l
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
