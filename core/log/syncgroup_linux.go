package log

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// mountGroup syncs the file system that a directory is in. The directory is open all the time: an error is reported to those who had
// the file system open when it occurred.
type mountGroup struct {
	dir     *os.File
	meminfo *os.File
	buf     []byte
	read    time.Time
	dirty   int64 // bytes, when it was last read
}

const (
	// maxDirty is how much may wait to be written, of everybody on the machine, for a sync of a file system to be short: a tenth of a second
	// on a slow disk. What fsync topics leave is far less.
	maxDirty = 32 << 20
	// dirtyAge is how long a look at that is good for.
	dirtyAge = 20 * time.Millisecond
)

// OpenGroup returns nil unless the file system keeps one journal for all files, and syncfs tells of all errors: since Linux 5.8 of those
// of files, since 5.17 of those of the file system itself.
func (osFS) OpenGroup(name string) (fileGroup, error) {
	if !kernelAtLeast(5, 17) {
		return nil, nil // one by one, then
	}
	dir, err := openPlain(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	if !onDisk(dir, unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC) {
		return nil, dir.Close()
	}
	m, err := os.Open("/proc/meminfo")
	if err != nil {
		return nil, dir.Close() // one by one, then
	}
	return &mountGroup{dir: dir, meminfo: m, buf: make([]byte, 4096)}, nil
}

// kernelAtLeast says whether the machine runs a version of Linux or a later one; false when that cannot be told.
func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	return unix.Uname(&u) == nil && atLeast(unix.ByteSliceToString(u.Release[:]), major, minor)
}

// atLeast says whether a kernel's release is of a version or later.
func atLeast(release string, major, minor int) bool {
	var a, b int
	if _, err := fmt.Sscanf(release, "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}

func (g *mountGroup) Sync() error {
	for {
		err := unix.Syncfs(int(g.dir.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("syncfs", err)
		}
	}
}

// Check waits for what of the file is being written, which is nothing after Sync, and with that asks for the file's own errors: syncfs
// tells of each once, to whoever comes first, and the file may be synced by then in another way.
func (g *mountGroup) Check(f File) error {
	of, ok := f.(osFile)
	if !ok {
		return f.Sync()
	}
	for {
		err := unix.SyncFileRange(int(of.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WAIT_BEFORE)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("sync_file_range", err)
		}
	}
}

func (g *mountGroup) Worthwhile() bool {
	if now := time.Now(); now.Sub(g.read) >= dirtyAge {
		g.read, g.dirty = now, math.MaxInt64
		if n, _ := g.meminfo.ReadAt(g.buf, 0); n > 0 {
			g.dirty = dirtyBytes(g.buf[:n])
		}
	}
	return g.dirty <= maxDirty
}

func (g *mountGroup) Close() error { return errors.Join(g.dir.Close(), g.meminfo.Close()) }

// dirtyBytes is what a machine's file systems have yet to write, or are writing, by /proc/meminfo; a text that does not say is as bad
// as very much.
func dirtyBytes(meminfo []byte) int64 {
	sum := int64(0)
	for _, name := range []string{"\nDirty:", "\nWriteback:"} {
		i := bytes.Index(meminfo, []byte(name))
		if i < 0 {
			return math.MaxInt64
		}
		digits := bytes.TrimLeft(meminfo[i+len(name):], " ")
		n, ok := int64(0), false
		for _, c := range digits {
			if c < '0' || c > '9' || n > math.MaxInt64>>16 {
				break
			}
			n, ok = n*10+int64(c-'0'), true
		}
		if !ok {
			return math.MaxInt64
		}
		sum += n << 10
	}
	return sum
}
