package coordinator

import "time"

// Clock is time as the edge sees it. Tests put a clock of their own here.
type Clock interface {
	Now() time.Time
	// After is a channel that receives once after d, and a function that releases it.
	After(d time.Duration) (<-chan time.Time, func())
}

// SystemClock is the system's.
type SystemClock struct{}

// Now implements Clock.
func (SystemClock) Now() time.Time { return time.Now() }

// After implements Clock.
func (SystemClock) After(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}
