//go:build !linux

package quorum

import (
	"io"
	"os"
)

// Sync implements File.
func (f osFile) Sync() error { return f.File.Sync() }

// Lock implements FS. Only Linux has a lock that a crash releases; elsewhere the file is only opened.
func (OS) Lock(name string) (io.Closer, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o640)
}
