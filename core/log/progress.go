package log

import (
	"sync/atomic"
	"time"
)

// progressInterval is how often the log says how far opening or closing many partitions is.
const progressInterval = 2 * time.Second

// progress tells, while it runs, how many of the partitions of a directory are done.
type progress struct {
	what atomic.Pointer[string]
	done atomic.Int64
	quit chan struct{}
}

func (d *Dir) progress(what string, total int) *progress {
	p := &progress{quit: make(chan struct{})}
	p.next(what)
	began := time.Now()
	go func() {
		t := time.NewTicker(progressInterval)
		defer t.Stop()
		for {
			select {
			case <-p.quit:
				return
			case <-t.C:
				d.log.Info(*p.what.Load(), "dir", d.path, "done", p.done.Load(), "of", total, "since", time.Since(began).Round(time.Millisecond))
			}
		}
	}()
	return p
}

// next names what goes on from now on.
func (p *progress) next(what string) { p.what.Store(&what) }

func (p *progress) stop() { close(p.quit) }
