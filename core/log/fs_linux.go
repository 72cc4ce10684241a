package log

import (
	"errors"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// fdatasync skips times and permissions, which saves a journal commit when a file does not grow.
func fdatasync(f *os.File) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := rc.Control(func(fd uintptr) {
		for {
			serr = syscall.Fdatasync(int(fd))
			if !errors.Is(serr, syscall.EINTR) {
				return
			}
		}
	}); err != nil {
		return err
	}
	return os.NewSyscallError("fdatasync", serr)
}

// SyncsBeside is true since Linux 4.18: an error is kept for each open descriptor, and for those to come while nobody was told of it.
func (osFS) SyncsBeside() bool { return kernelAtLeast(4, 18) }

// SyncTree makes all that is in the file system durable with one call, where that is known to be as good as syncing each file: on
// others (network, FUSE) syncfs may stop short of the server.
func (osFS) SyncTree(name string) (done bool, err error) {
	d, err := openPlain(name, os.O_RDONLY, 0)
	if err != nil {
		return false, err
	}
	defer d.Close()
	if !onDisk(d, unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC) {
		return false, nil
	}
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return false, os.NewSyscallError("syncfs", err)
	}
	return true, nil
}

// preallocate reserves blocks and keeps the file's size. A file system that cannot is no error: it is only slower.
func preallocate(f *os.File, size int64) error {
	const keepSize = 1
	err := syscall.Fallocate(int(f.Fd()), keepSize, 0, size)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return os.NewSyscallError("fallocate", err)
}

// onDisk says whether a file is in a file system of one of these kinds.
func onDisk(f *os.File, kinds ...uint32) bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return false // it is handled like any other
	}
	return slices.Contains(kinds, uint32(st.Type))
}
