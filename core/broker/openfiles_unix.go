//go:build linux || darwin || freebsd

package broker

import (
	"math"

	"golang.org/x/sys/unix"
)

// openFilesLimit is how many files the process may have open.
func openFilesLimit() int {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return math.MaxInt32
	}
	//nolint:unconvert // the types differ between systems
	return int(min(uint64(r.Cur), math.MaxInt32))
}
