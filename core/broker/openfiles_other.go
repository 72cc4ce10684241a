//go:build !linux && !darwin && !freebsd

package broker

import "math"

// openFilesLimit is how many files the process may have open.
func openFilesLimit() int { return math.MaxInt32 }
