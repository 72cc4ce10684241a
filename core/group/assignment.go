package group

import (
	"bytes"
	"maps"
	"slices"
)

// uuid is a topic's id.
type uuid = [16]byte

// assignment is partitions by topic id, ascending, without empty lists. It is not changed once it is shared.
type assignment map[uuid][]int32

// target is a member's target. Its topics have an order: that of the record, which Kafka's assignors go by.
type target struct {
	parts  assignment
	order  []uuid
	listed map[uuid][]int32 // the partitions in the order of the record; a topic that is absent is ascending
}

// list is the partitions of a topic in the order of the record.
func (t *target) list(topic uuid) []int32 {
	if ps, ok := t.listed[topic]; ok {
		return ps
	}
	return t.parts[topic]
}

// newTarget is a target in the order of the topics' ids.
func newTarget(a assignment) *target { return &target{parts: a, order: sortedTopics(a)} }

func (t *target) get() assignment {
	if t == nil {
		return nil
	}
	return t.parts
}

// epochs is partitions by topic id with the member epoch at which each was assigned. It is not changed once
// it is shared.
type epochs map[uuid]map[int32]int32

func (a assignment) equal(o assignment) bool {
	return len(a) == len(o) && maps.EqualFunc(a, o, slices.Equal[[]int32])
}

func (e epochs) equal(o epochs) bool {
	return len(e) == len(o) && maps.EqualFunc(e, o, maps.Equal[map[int32]int32, map[int32]int32])
}

func (e epochs) has(topic uuid, p int32) bool {
	_, ok := e[topic][p]
	return ok
}

// plain is e without its epochs.
func (e epochs) plain() assignment {
	a := make(assignment, len(e))
	for id, ps := range e {
		if len(ps) > 0 {
			a[id] = slices.Sorted(maps.Keys(ps))
		}
	}
	return a
}

// withEpoch is a with one epoch for every partition.
func (a assignment) withEpoch(epoch int32) epochs {
	e := make(epochs, len(a))
	for id, ps := range a {
		m := make(map[int32]int32, len(ps))
		for _, p := range ps {
			m[p] = epoch
		}
		e[id] = m
	}
	return e
}

func (e epochs) clone() epochs {
	c := make(epochs, len(e))
	for id, ps := range e {
		c[id] = maps.Clone(ps)
	}
	return c
}

// sortedTopics is the keys in the order of their bytes: what is written, and what clients see, does not
// depend on the order of a map.
func sortedTopics[V any](m map[uuid]V) []uuid {
	return slices.SortedFunc(maps.Keys(m), func(a, b uuid) int { return bytes.Compare(a[:], b[:]) })
}
