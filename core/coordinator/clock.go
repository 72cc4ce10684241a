package coordinator

import (
	"sync"
	"time"
)

// Clock is time as the edge sees it. Tests put a clock of their own here.
type Clock interface {
	Now() time.Time
	// After is a channel that receives once after d, and a function that releases it.
	After(d time.Duration) (<-chan time.Time, func())
}

// SystemClock is the system's clock without its steps. When the system's is set, by hand or because a machine was asleep, the sessions of
// groups must not all end, and no timer wait until the old time comes again: this clock goes on, a tenth faster or slower, until it says
// what the system's says.
func SystemClock() Clock {
	now := time.Now()
	return &steadyClock{read: time.Now, at: now, says: now.Round(0)}
}

// steadyClock follows the clock that it reads.
type steadyClock struct {
	read func() time.Time // with a monotonic reading

	mu   sync.Mutex
	at   time.Time // the last reading
	says time.Time // what was said then
}

// Now implements Clock.
func (c *steadyClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.read()
	passed := max(now.Sub(c.at), 0)
	c.at, c.says = now, follow(c.says, now.Round(0), passed)
	return c.says
}

// follow is what a clock says that said says when time passed and the one that it follows says system now.
func follow(says, system time.Time, passed time.Duration) time.Time {
	says = says.Add(passed)
	most := passed / 10
	return says.Add(min(max(system.Sub(says), -most), most))
}

// After implements Clock.
func (*steadyClock) After(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}
