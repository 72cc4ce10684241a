//go:build !unix

package log

import (
	"io"
	"os"
)

// syncDir does nothing: the file system journals directory entries itself.
func syncDir(string) error { return nil }

// openPlain opens a file.
func openPlain(name string, flag int, perm os.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, perm)
}

// lockFile relies on the file being open: it cannot be removed meanwhile.
func lockFile(name string) (io.Closer, error) { return os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644) }
