package connect

import (
	"context"
	"sync"
	"time"
)

// herder carries out what the core decides. Its goroutine is the only one that touches the core.
type herder struct {
	w    *Worker
	core *core

	mu     sync.Mutex
	events []any
	signal chan struct{}

	runsMu sync.RWMutex    // for readers beside the herder's goroutine
	runs   map[workID]*run // instances that have not ended
}

func newHerder(w *Worker, own assignment) *herder {
	return &herder{w: w, core: newCore(own), signal: make(chan struct{}, 1), runs: map[workID]*run{}}
}

// post hands an event to the herder. It never blocks.
func (h *herder) post(ev any) {
	h.mu.Lock()
	h.events = append(h.events, ev)
	h.mu.Unlock()
	select {
	case h.signal <- struct{}{}:
	default:
	}
}

func (h *herder) take() []any {
	h.mu.Lock()
	defer h.mu.Unlock()
	evs := h.events
	h.events = nil
	return evs
}

// run handles events until shutdown is complete: ctx is done and every instance has ended or was left behind.
func (h *herder) run(ctx context.Context) {
	done := ctx.Done()
	for {
		select {
		case <-h.signal:
		case <-done:
			done = nil
			h.post(evShutdown{})
		}
		for _, ev := range h.take() {
			if e, ok := ev.(evEnded); ok {
				h.ended(e)
			}
			for _, eff := range h.core.step(ev) {
				h.do(eff)
			}
		}
		if done == nil && len(h.runs) == 0 {
			return
		}
	}
}

func (h *herder) ended(e evEnded) {
	h.runsMu.Lock()
	defer h.runsMu.Unlock()
	if r := h.runs[e.id]; r != nil && r.incarnation == e.incarnation {
		delete(h.runs, e.id)
	}
}

func (h *herder) do(eff any) {
	switch e := eff.(type) {
	case effStart:
		r := h.w.newRun(e)
		h.runsMu.Lock()
		h.runs[e.id] = r
		h.runsMu.Unlock()
		go r.execute()
	case effStop:
		if r := h.runs[e.id]; r != nil && r.incarnation == e.incarnation {
			r.cancel()
			go h.leaveBehind(r)
		}
	case effTarget:
		if r := h.runs[e.id]; r != nil && r.incarnation == e.incarnation {
			r.setTarget(e.target)
		}
	case effAskTasks:
		if r := h.runs[e.id]; r != nil && r.incarnation == e.incarnation {
			r.askTasks()
		}
	case effWriteTasks:
		go h.w.writeTasks(e)
	case effStatus:
		h.w.putStatus(e)
	case effForgetTopics:
		h.w.status.dropTopics(e.connector)
	}
}

// cutOffPatience is how long an instance that is left behind may take to be cut off from the log before another one starts.
const cutOffPatience = time.Second

// leaveBehind gives an instance the graceful timeout to end. After that it is cut off from the log and counts as ended.
func (h *herder) leaveBehind(r *run) {
	t := time.NewTimer(h.w.set.graceful)
	defer t.Stop()
	select {
	case <-r.done:
	case <-t.C:
		r.log.Error("did not stop in time and is left behind", "timeout", h.w.set.graceful)
		// What hangs may hold what cutting it off needs (a sink's Put, the lock that its rebalances wait for). A task that takes its place
		// shuts it out anyway: by its static membership, or its transactional id.
		r.leftBehind.Store(true)
		cut := make(chan struct{})
		go func() { r.cutOff(); close(cut) }()
		select {
		case <-cut:
		case <-time.After(cutOffPatience):
		}
		h.post(evEnded{id: r.id, incarnation: r.incarnation})
	}
}

// alive reports whether anything of a connector is still running.
func (h *herder) alive(name string) bool {
	h.runsMu.RLock()
	defer h.runsMu.RUnlock()
	for id := range h.runs {
		if id.connector == name {
			return true
		}
	}
	return false
}
