package converters

import "container/list"

// lru is a bounded cache with text keys that drops the entry least recently used. It is used from one goroutine.
type lru[V any] struct {
	max   int
	order *list.List // of *lruEntry[V], most recent first
	byKey map[string]*list.Element
}

type lruEntry[V any] struct {
	key   string
	value V
}

func newLRU[V any](size int) *lru[V] {
	return &lru[V]{max: max(size, 1), order: list.New(), byKey: map[string]*list.Element{}}
}

// get finds an entry without allocating.
func (c *lru[V]) get(key []byte) (v V, ok bool) {
	e, ok := c.byKey[string(key)]
	if !ok {
		return v, false
	}
	if c.order.Front() != e {
		c.order.MoveToFront(e)
	}
	return e.Value.(*lruEntry[V]).value, true
}

func (c *lru[V]) put(key string, v V) {
	if e, ok := c.byKey[key]; ok {
		e.Value.(*lruEntry[V]).value = v
		return
	}
	c.byKey[key] = c.order.PushFront(&lruEntry[V]{key, v})
	if c.order.Len() > c.max {
		last := c.order.Back()
		c.order.Remove(last)
		delete(c.byKey, last.Value.(*lruEntry[V]).key)
	}
}
