package broker

import (
	"sync"
	"time"

	"github.com/moldau-io/moldau/core/replica"
)

// pollers are the fetches that wait, with their time limits. Stopping the broker answers them all.
type pollers struct {
	mu      sync.Mutex
	stopped bool
	timers  map[*replica.Watch]*time.Timer
}

func newPollers() *pollers { return &pollers{timers: map[*replica.Watch]*time.Timer{}} }

// add arms w's time limit. It returns false when the broker stops: the fetch must not wait.
func (p *pollers) add(w *replica.Watch, d time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return false
	}
	p.timers[w] = time.AfterFunc(d, w.Fire)
	return true
}

func (p *pollers) remove(w *replica.Watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.timers[w]; t != nil {
		t.Stop()
		delete(p.timers, w)
	}
}

// len is the number of fetches that wait.
func (p *pollers) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.timers)
}

// stop answers all that wait, and lets nobody wait from now on.
func (p *pollers) stop() {
	p.mu.Lock()
	p.stopped = true
	all := make([]*replica.Watch, 0, len(p.timers))
	for w := range p.timers {
		all = append(all, w)
	}
	p.mu.Unlock()
	for _, w := range all {
		w.Fire()
	}
}
