package group

import (
	"fmt"
	"slices"
	"strings"
)

// The names of the server-side assignors.
const (
	assignorUniform = "uniform"
	assignorRange   = "range"
)

// memberSpec is a member as an assignor sees it.
type memberSpec struct {
	id         string
	instance   *string
	topics     []uuid  // what it subscribes to and what exists, in Java's order
	subscribed int     // how many topics it subscribes to, those that do not exist included
	old        *target // its target until now, nil if it has none
}

func (m *memberSpec) subscribes(id uuid) bool { return slices.Contains(m.topics, id) }

// copyOld is the old target, to be changed.
func (m *memberSpec) copyOld() *targetTable {
	order := m.old.javaOrder()
	t := &targetTable{topics: newUUIDTable(len(order)), parts: map[uuid]*partitionTable{}}
	for _, id := range order {
		t.topics.put(id)
		t.parts[id] = copyPartitions(copyPartitions(m.old.list(id)).order())
	}
	return t
}

// groupSpec is a group as an assignor sees it.
type groupSpec struct {
	members     []memberSpec // in Java's order
	homogeneous bool         // all members subscribe to the same topics
	partitions  func(uuid) int32
	owned       map[uuid]map[int32]bool // what the target until now gives to anyone
}

// assign computes the target with the named assignor: a member that is not in the result gets nothing.
func assign(name string, spec *groupSpec) (map[string]*target, error) {
	if len(spec.members) == 0 {
		return map[string]*target{}, nil
	}
	switch name {
	case assignorRange:
		return assignRange(spec), nil
	case assignorUniform:
		if spec.homogeneous {
			return assignUniform(spec)
		}
		return newBalancer(spec).run(), nil
	}
	return nil, fmt.Errorf("assignor %q is not known", name)
}

// assignRange gives each member, for each topic that it subscribes to, one range of partitions; the members
// are in the order of their instance ids, those without one follow in the order of their member ids.
func assignRange(spec *groupSpec) map[string]*target {
	members := make([]*memberSpec, len(spec.members))
	for i := range spec.members {
		members[i] = &spec.members[i]
	}
	slices.SortStableFunc(members, func(a, b *memberSpec) int {
		switch {
		case a.instance != nil && b.instance != nil:
			return strings.Compare(*a.instance, *b.instance)
		case a.instance != nil:
			return -1
		case b.instance != nil:
			return 1
		}
		return strings.Compare(a.id, b.id)
	})
	type topic struct{ partitions, members, next, extra int32 }
	topics := map[uuid]*topic{}
	for _, m := range members {
		for _, id := range m.topics {
			t := topics[id]
			if t == nil {
				t = &topic{partitions: spec.partitions(id)}
				topics[id] = t
			}
			t.members++
		}
	}
	for _, t := range topics {
		t.extra = t.partitions % t.members
	}
	out := make(map[string]*target, len(members))
	for _, m := range members {
		a := make(assignment, len(m.topics))
		room := m.subscribed
		if spec.homogeneous {
			room = len(m.topics)
		}
		order := newUUIDTable(int(float32(room)/0.75 + 1))
		for _, id := range m.topics {
			t := topics[id]
			n := t.partitions / t.members
			if t.extra > 0 {
				n++
				t.extra--
			}
			end := min(t.next+n, t.partitions)
			if t.next < end {
				ps := make([]int32, 0, end-t.next)
				for p := t.next; p < end; p++ {
					ps = append(ps, p)
				}
				a[id] = ps
				order.put(id)
			}
			t.next = end
		}
		out[m.id] = &target{parts: a, order: order.order()}
	}
	return out
}

// topicPartition is one partition.
type topicPartition struct {
	topic     uuid
	partition int32
}

// assignUniform divides the partitions of topics that everyone subscribes to: sizes differ by one at most,
// and of what a member had it keeps as much as its share allows.
func assignUniform(spec *groupSpec) (map[string]*target, error) {
	topics := slices.Clone(spec.members[0].topics)
	if len(topics) == 0 {
		return map[string]*target{}, nil
	}
	tableOrder(topics, copiedTable(spec.members[0].subscribed), uuidHash)
	subscribed := make(map[uuid]bool, len(topics))
	var free []topicPartition
	total := 0
	for _, id := range topics {
		subscribed[id] = true
		n := spec.partitions(id)
		for p := range n {
			if !spec.owned[id][p] {
				free = append(free, topicPartition{id, p})
			}
		}
		total += int(n)
	}
	quotaMin, extra := total/len(spec.members), total%len(spec.members)
	type unfilled struct{ member, quota int }
	var wanting []unfilled
	out := make(map[string]*target, len(spec.members))
	tables := make([]*targetTable, len(spec.members)) // of the members whose target changes
	for i := range spec.members {
		m := &spec.members[i]
		quota, hasExtra := quotaMin, false
		if extra > 0 {
			quota++
			hasExtra = true
		}
		change := func() *targetTable {
			if tables[i] == nil {
				tables[i] = m.copyOld()
			}
			return tables[i]
		}
		for _, id := range m.old.javaOrder() {
			if !subscribed[id] {
				change().drop(id)
				continue
			}
			for _, p := range copyPartitions(m.old.list(id)).order() {
				if quota > 0 {
					quota--
					continue
				}
				free = append(free, topicPartition{id, p})
				change().remove(id, p)
			}
		}
		if quota > 0 && hasExtra && len(spec.members)-i > extra {
			quota-- // others can still take the extra partition
			hasExtra = false
		}
		if quota > 0 {
			wanting = append(wanting, unfilled{i, quota})
			change()
		}
		if hasExtra {
			extra--
		}
	}
	next := 0
	for _, u := range wanting {
		for n := 0; n < u.quota && next < len(free); n++ {
			tables[u.member].add(free[next].topic, free[next].partition, 16)
			next++
		}
	}
	if next < len(free) {
		return nil, fmt.Errorf("%d partitions were left unassigned", len(free)-next)
	}
	for i, table := range tables {
		m := &spec.members[i]
		if out[m.id] = m.old; table != nil {
			out[m.id] = table.target()
		}
	}
	return out, nil
}
