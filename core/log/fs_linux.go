package log

import (
	"errors"
	"math"
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

// reserve reserves blocks and keeps the file's size. A file system that cannot is no error: it is only slower.
func reserve(f *os.File, from, to int64) error {
	const keepSize = 1
	var err error = syscall.EINTR
	for errors.Is(err, syscall.EINTR) {
		err = syscall.Fallocate(int(f.Fd()), keepSize, from, to-from)
	}
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return os.NewSyscallError("fallocate", err)
}

// writeOut writes a part of a file to the disk. Where that is refused, Sync is all that there is.
func writeOut(f *os.File, from, to int64) error {
	const all = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	var err error = syscall.EINTR
	for errors.Is(err, syscall.EINTR) {
		err = unix.SyncFileRange(int(f.Fd()), from, to-from, all)
	}
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return os.NewSyscallError("sync_file_range", err)
}

// freeAhead is what is left on ext4, where both were measured to pay, and on XFS, which reserves blocks by itself. On file systems that never write
// over anything (Btrfs, ZFS) zeros would be of no use.
func freeAhead(f *os.File) (free int64, use ahead) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return 0, ahead{}
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC:
		use = ahead{reserve: true, zeros: true}
	case unix.XFS_SUPER_MAGIC:
		use = ahead{zeros: true}
	}
	return int64(min(st.Bavail, math.MaxInt64>>16)) * st.Bsize, use
}

// onDisk says whether a file is in a file system of one of these kinds.
func onDisk(f *os.File, kinds ...uint32) bool {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return false // it is handled like any other
	}
	return slices.Contains(kinds, uint32(st.Type))
}
