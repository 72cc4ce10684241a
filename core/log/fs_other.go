//go:build !linux

package log

import "os"

func fdatasync(f *os.File) error { return f.Sync() }

// preallocate does nothing where there is no fallocate that keeps the size.
func preallocate(*os.File, int64) error { return nil }
