package log

import (
	"context"
	"math"
	"sync"
	"time"
)

// pace keeps some work at a rate: all moves between directories together, or all compactions. What was copied is a debt that the rate pays off, and
// whoever copies waits until there is none. So no more than a piece is copied at once by each, and the rate holds over any time that is longer than
// their pieces take. A change of the rate counts from then on.
type pace struct {
	mu     sync.Mutex
	rate   int64 // bytes a second; math.MaxInt64 for no limit
	debt   float64
	paid   time.Time     // when debt was right
	change chan struct{} // closed when the rate changes
}

func newPace() *pace { return &pace{rate: math.MaxInt64, change: make(chan struct{})} }

// set changes the rate. With 0 nothing is copied any more.
func (p *pace) set(rate int64, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rate == p.rate {
		return
	}
	p.pay(now)
	p.rate = rate
	close(p.change)
	p.change = make(chan struct{})
}

// pay takes from the debt what the rate has paid.
func (p *pace) pay(now time.Time) {
	switch {
	case p.rate == math.MaxInt64:
		p.debt = 0
	case now.After(p.paid):
		p.debt = max(0, p.debt-now.Sub(p.paid).Seconds()*float64(p.rate))
	}
	p.paid = now
}

// copied adds to the debt.
func (p *pace) copied(n int, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pay(now)
	p.debt += float64(n)
}

// due says how long to wait before the next piece, and how large that may be; less than nothing means until change is closed.
func (p *pace) due(now time.Time) (wait time.Duration, piece int, change <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pay(now)
	// A tenth of a second's worth, so that a low rate is not a piece now and a long silence.
	piece = int(min(max(p.rate/10, copyChunk/64), copyChunk))
	switch {
	case p.rate == 0:
		return -1, piece, p.change
	case p.debt == 0:
		return 0, piece, p.change
	}
	return time.Duration(min(p.debt/float64(p.rate), 3600) * float64(time.Second)), piece, p.change
}

// wait waits until more may be copied, and gives how much at once.
func (p *pace) wait(ctx context.Context) (int, error) {
	for {
		wait, piece, change := p.due(time.Now())
		if wait == 0 {
			return piece, ctx.Err()
		}
		var over <-chan time.Time
		if wait > 0 {
			over = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-change:
		case <-over:
		}
	}
}

// SetMoveRate bounds how many bytes a second are copied by all moves between the directories together; math.MaxInt64 for no bound. The last piece of
// each, while appends are held off, is not waited for.
func (ds *Dirs) SetMoveRate(bytes int64) { ds.pace.set(bytes, time.Now()) }
