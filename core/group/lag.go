package group

// Committed is a committed offset of a group, for metrics.
type Committed struct {
	Topic     string
	Partition int32
	Offset    int64
}

// GroupOffsets is a group with its durable committed offsets, sorted by topic and partition.
type GroupOffsets struct {
	Group   string
	Members int
	Offsets []Committed
}

// offsetsOf is the groups of the shard, sorted, with their durable committed offsets.
func (s *Shard) offsetsOf() []GroupOffsets {
	out := make([]GroupOffsets, 0, len(s.groups)+len(s.consumers))
	add := func(id string, members int) {
		g := GroupOffsets{Group: id, Members: members}
		if og := s.offsets.groups[id]; og != nil {
			for _, topic := range sortedKeys(og.topics) {
				tp := og.topics[topic]
				for _, p := range sortedKeys(tp.parts) {
					if e := tp.parts[p]; e.has {
						g.Offsets = append(g.Offsets, Committed{tp.name, p, e.value.offset})
					}
				}
			}
		}
		out = append(out, g)
	}
	for _, id := range sortedKeys(s.groups) {
		add(id, len(s.groups[id].members))
	}
	for _, id := range sortedKeys(s.consumers) {
		add(id, len(s.consumers[id].members))
	}
	return out
}

// Offsets calls fn for each group that this broker coordinates. No lock is held while it does.
func (c *Coordinator) Offsets(fn func(GroupOffsets)) {
	for p := range c.shards.Partitions() {
		var groups []GroupOffsets
		if shard, code := c.shards.Acquire(p); code == codeNone {
			groups = shard.offsetsOf()
		}
		c.shards.Release(p)
		for _, g := range groups {
			fn(g)
		}
	}
}
