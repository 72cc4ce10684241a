//go:build !linux

package log

import "os"

func fdatasync(f *os.File) error { return f.Sync() }

// reserve does nothing where there is no fallocate that keeps the size.
func reserve(*os.File, int64, int64) error { return nil }

// writeOut does nothing where there is no sync of a part.
func writeOut(*os.File, int64, int64) error { return nil }

func freeAhead(*os.File) (free int64, use ahead) { return 0, ahead{} }
