package log

import (
	"errors"
	"os"
	"syscall"
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

// preallocate reserves blocks and keeps the file's size. A file system that cannot is no error: it is only slower.
func preallocate(f *os.File, size int64) error {
	const keepSize = 1
	err := syscall.Fallocate(int(f.Fd()), keepSize, 0, size)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return os.NewSyscallError("fallocate", err)
}
