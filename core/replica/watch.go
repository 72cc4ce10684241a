package replica

import "sync/atomic"

// Watch waits until a number of bytes became readable in any of the partitions it was added to, and then calls its
// function once. It is how a long-polling fetch waits without a goroutine.
type Watch struct {
	need atomic.Int64
	done atomic.Bool
	fn   func()
	// committed: only bytes below the last stable offset count.
	committed bool
}

// NewWatch makes a watch for need bytes. fn is called at most once, from any goroutine, possibly with a partition's lock
// held: it must neither block nor call into a partition.
func NewWatch(need int64, fn func()) *Watch {
	w := &Watch{fn: fn}
	w.need.Store(max(need, 1))
	return w
}

// NewCommittedWatch is NewWatch for a read_committed reader: it fires when the last stable offset has moved far enough.
func NewCommittedWatch(need int64, fn func()) *Watch {
	w := NewWatch(need, fn)
	w.committed = true
	return w
}

// Fire calls the function unless it was called before.
func (w *Watch) Fire() { w.fire() }

// Cancel makes sure that the function will not be called, and says whether that was in time.
func (w *Watch) Cancel() bool { return w.done.CompareAndSwap(false, true) }

func (w *Watch) fire() {
	if w.done.CompareAndSwap(false, true) {
		w.fn()
	}
}

// add counts n readable bytes and says whether the watch is over.
func (w *Watch) add(n int64) bool {
	if w.done.Load() {
		return true
	}
	if w.need.Add(-n) > 0 {
		return false
	}
	w.fire()
	return true
}

// Watch adds w to the partition. Progress between the caller's look at the high watermark, which was hw, and this call
// fires it at once, as does a partition that is gone.
func (p *Partition) Watch(w *Watch, hw int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.hw.Load() != hw || !p.IsLeader() {
		w.fire()
		return
	}
	p.watchers = append(p.watchers, w)
	p.watching.Store(int32(len(p.watchers)))
}

// Unwatch removes w, if it is still there.
func (p *Partition) Unwatch(w *Watch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, o := range p.watchers {
		if o == w {
			last := len(p.watchers) - 1
			p.watchers[i] = p.watchers[last]
			p.watchers[last] = nil
			p.watchers = p.watchers[:last]
			p.watching.Store(int32(last))
			return
		}
	}
}
