//go:build linux || darwin || freebsd

package broker

import "golang.org/x/sys/unix"

// diskSpace is the size of the volume that holds path and what is free of it, -1 when unknown.
func diskSpace(path string) (total, usable int64) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return -1, -1
	}
	//nolint:unconvert // the types differ between systems
	return int64(st.Blocks) * int64(st.Bsize), int64(st.Bavail) * int64(st.Bsize)
}
