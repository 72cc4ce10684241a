package log

import (
	"sync"
	"sync/atomic"
)

// clock bounds something that segments hold (open files, indexes in memory) by the second-chance rule. Holders add
// themselves when they acquire it; when the total cost passes the limit, the clock asks those not used since its last
// turn to let go. evict must not block: it answers false when the holder is busy.
type clock struct {
	mu    sync.Mutex
	ring  []*clockItem
	hand  int
	cost  int64
	limit int64
}

type clockItem struct {
	used  atomic.Bool
	evict func() bool
	cost  int64
	pos   int // in the ring, -1 when not in it; guarded by clock.mu
}

func newClockItem(evict func() bool) *clockItem { return &clockItem{evict: evict, pos: -1} }

// add puts an item in the ring and evicts others when the limit is passed.
func (c *clock) add(it *clockItem, cost int64) {
	it.used.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	if it.pos >= 0 {
		return
	}
	it.pos, it.cost = len(c.ring), cost
	c.ring = append(c.ring, it)
	c.cost += cost
	for tries := 2 * len(c.ring); c.cost > c.limit && tries > 0 && len(c.ring) > 1; tries-- {
		if c.hand >= len(c.ring) {
			c.hand = 0
		}
		v := c.ring[c.hand]
		if v == it || v.used.Swap(false) || !v.evict() {
			c.hand++
			continue
		}
		c.unlink(v)
	}
}

// drop takes an item out, whose holder let go by itself.
func (c *clock) drop(it *clockItem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if it.pos >= 0 {
		c.unlink(it)
	}
}

func (c *clock) unlink(it *clockItem) {
	last := len(c.ring) - 1
	c.ring[it.pos] = c.ring[last]
	c.ring[it.pos].pos = it.pos
	c.ring[last] = nil
	c.ring = c.ring[:last]
	c.cost -= it.cost
	it.pos = -1
}
