//go:build !linux

package broker

import "time"

// processCPU is not known here.
func processCPU() (time.Duration, bool) { return 0, false }

// diskBytes is not known here.
func diskBytes() (read, written int64, ok bool) { return 0, 0, false }
