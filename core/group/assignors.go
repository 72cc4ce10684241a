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
	id       string
	instance *string
	topics   []uuid     // what it subscribes to and what exists, in Java's order
	old      assignment // its target until now
}

func (m *memberSpec) subscribes(id uuid) bool { return slices.Contains(m.topics, id) }

// groupSpec is a group as an assignor sees it.
type groupSpec struct {
	members     []memberSpec // in Java's order
	homogeneous bool         // all members subscribe to the same topics
	topicCount  int          // of the first member's subscription, topics that do not exist included
	partitions  func(uuid) int32
	owned       map[uuid]map[int32]bool // what the target until now gives to anyone
}

// assign computes the target with the named assignor: a member that is not in the result gets nothing.
func assign(name string, spec *groupSpec) (map[string]assignment, error) {
	if len(spec.members) == 0 {
		return map[string]assignment{}, nil
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
func assignRange(spec *groupSpec) map[string]assignment {
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
	out := make(map[string]assignment, len(members))
	for _, m := range members {
		a := make(assignment, len(m.topics))
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
			}
			t.next = end
		}
		out[m.id] = a
	}
	return out
}

// topicPartition is one partition.
type topicPartition struct {
	topic     uuid
	partition int32
}

// byTopic is the old target in the order in which Java iterates over it.
func (a assignment) inJavaOrder(visit func(topic uuid, partitions []int32)) {
	ids := sortedTopics(a)
	tableOrder(ids, grownTable(len(ids)), uuidHash)
	for _, id := range ids {
		ps := slices.Clone(a[id])
		tableOrder(ps, copiedTable(len(ps)), intHash)
		visit(id, ps)
	}
}

// assignUniform divides the partitions of topics that everyone subscribes to: sizes differ by one at most,
// and of what a member had it keeps as much as its share allows.
func assignUniform(spec *groupSpec) (map[string]assignment, error) {
	topics := slices.Clone(spec.members[0].topics)
	if len(topics) == 0 {
		return map[string]assignment{}, nil
	}
	tableOrder(topics, copiedTable(spec.topicCount), uuidHash)
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
	out := make(map[string]assignment, len(spec.members))
	for i := range spec.members {
		m := &spec.members[i]
		quota, hasExtra := quotaMin, false
		if extra > 0 {
			quota++
			hasExtra = true
		}
		kept := make(assignment, len(m.old))
		m.old.inJavaOrder(func(id uuid, ps []int32) {
			if !subscribed[id] {
				return
			}
			for _, p := range ps {
				if quota > 0 {
					quota--
					kept[id] = append(kept[id], p)
				} else {
					free = append(free, topicPartition{id, p})
				}
			}
		})
		if quota > 0 && hasExtra && len(spec.members)-i > extra {
			quota-- // others can still take the extra partition
			hasExtra = false
		}
		if quota > 0 {
			wanting = append(wanting, unfilled{i, quota})
		}
		if hasExtra {
			extra--
		}
		out[m.id] = kept
	}
	next := 0
	for _, u := range wanting {
		a := out[spec.members[u.member].id]
		for n := 0; n < u.quota && next < len(free); n++ {
			a[free[next].topic] = append(a[free[next].topic], free[next].partition)
			next++
		}
	}
	if next < len(free) {
		return nil, fmt.Errorf("%d partitions were left unassigned", len(free)-next)
	}
	for _, a := range out {
		for _, ps := range a {
			slices.Sort(ps)
		}
	}
	return out, nil
}
