//go:build !(linux || darwin || freebsd)

package broker

// diskSpace is not known on this system.
func diskSpace(string) (total, usable int64) { return -1, -1 }
