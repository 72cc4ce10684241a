package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ownedPartitions is what a member says that it has; nil if it says nothing.
type ownedPartitions []kmsg.ConsumerGroupHeartbeatRequestTopic

// within is whether the member said what it has, and all of that is in e.
func (o ownedPartitions) within(e epochs) bool {
	if o == nil {
		return false
	}
	for i := range o {
		for _, p := range o[i].Partitions {
			if !e.has(o[i].TopicID, p) {
				return false
			}
		}
	}
	return true
}

// holdsAny is whether the member may still have some of e: it says so, or says nothing.
func (o ownedPartitions) holdsAny(e epochs) bool {
	if o == nil {
		return true
	}
	for i := range o {
		for _, p := range o[i].Partitions {
			if e.has(o[i].TopicID, p) {
				return true
			}
		}
	}
	return false
}

// reconciler moves a member one step towards its target (KIP-848, the reconciliation of the group). What it
// keeps right: a partition is given to a member only when nobody else has it, and a member is in a new epoch
// only when it has given up what that epoch takes from it.
type reconciler struct {
	s           *Shard
	g           *consumerGroup
	m           *consumerMember
	epoch       int32      // of the target
	target      assignment // the member's
	subscribing bool       // the member's subscription has just changed
	owned       ownedPartitions
}

// step is the member after the step, the same one if it cannot move.
func (r *reconciler) step() (*consumerMember, *apiError) {
	m := r.m
	if !r.subscribing && m.reconciledTo(r.epoch) {
		return m, nil
	}
	switch m.state {
	case memberStable:
		switch {
		case m.epoch != r.epoch:
			return r.next(m.epoch), nil
		case r.subscribing:
			return r.strip(), nil
		}
	case memberUnrevoked:
		switch {
		case !r.owned.holdsAny(m.revoking):
			return r.next(m.epoch), nil
		case r.subscribing:
			return r.strip(), nil
		}
	case memberUnreleased:
		return r.next(m.epoch), nil
	default:
		if r.owned == nil || len(r.owned) > 0 {
			return nil, &apiError{codeFencedMemberEpoch, "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin."}
		}
		return r.next(r.epoch), nil
	}
	return m, nil
}

// subscribes says which topics the member subscribes to.
func (r *reconciler) subscribes() func(uuid) bool {
	var matched []string
	if x := r.m.subscribedRegex(); x != "" {
		if res := r.g.resolved[x]; res != nil { // one that is not resolved yet matches nothing
			matched = res.topics
		}
	}
	return func(id uuid) bool {
		t, ok := r.s.image.TopicByID(id)
		if !ok {
			return false
		}
		if _, ok := slices.BinarySearch(r.m.topics, t.Name); ok {
			return true
		}
		_, ok = slices.BinarySearch(matched, t.Name)
		return ok
	}
}

// strip takes the topics out of the member's partitions that it no longer subscribes to.
func (r *reconciler) strip() *consumerMember {
	m, subscribed := r.m, r.subscribes()
	var gone []uuid
	for id := range m.assigned {
		if !subscribed(id) {
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return m
	}
	assigned, revoking := m.assigned.clone(), m.revoking.clone()
	for _, id := range gone {
		if revoking[id] == nil {
			revoking[id] = map[int32]int32{}
		}
		for p, e := range assigned[id] {
			revoking[id][p] = e
		}
		delete(assigned, id)
	}
	if r.owned.holdsAny(revoking) {
		return m.with(m.epoch, memberUnrevoked, assigned, revoking)
	}
	return m.with(m.epoch, m.state, assigned, m.revoking)
}

// next is the step to the target.
func (r *reconciler) next(epoch int32) *consumerMember {
	m, subscribed := r.m, r.subscribes()
	topics := map[uuid]bool{}
	for id := range r.target {
		topics[id] = true
	}
	for id := range m.assigned {
		topics[id] = true
	}
	unreleased, gains := false, false
	assigned, revoking, gained := epochs{}, epochs{}, assignment{}
	put := func(e epochs, id uuid, p, at int32) {
		if e[id] == nil {
			e[id] = map[int32]int32{}
		}
		e[id][p] = at
	}
	for id := range topics {
		target := r.target[id]
		if !subscribed(id) {
			target = nil
		}
		for p, at := range m.assigned[id] {
			if _, ok := slices.BinarySearch(target, p); ok {
				put(assigned, id, p, at)
			} else {
				put(revoking, id, p, at)
			}
		}
		for _, p := range target {
			switch {
			case assigned.has(id, p):
			case r.g.owner(id, p) != -1 && !m.revoking.has(id, p):
				unreleased = true
			default:
				gained[id] = append(gained[id], p)
				gains = true
			}
		}
	}
	if len(revoking) > 0 && r.owned.holdsAny(revoking) {
		return m.with(epoch, memberUnrevoked, assigned, revoking)
	}
	if gains {
		for id, ps := range gained {
			for _, p := range ps {
				put(assigned, id, p, r.epoch)
			}
		}
	}
	st := memberStable
	if unreleased {
		st = memberUnreleased
	}
	return m.with(r.epoch, st, assigned, nil)
}

// reconcile is the record of the member's next step, if it takes one, and the member after it.
func (s *Shard) reconcile(g *consumerGroup, m *consumerMember, epoch int32, target assignment, subscribing bool, owned ownedPartitions,
	recs *[]consumerRecord,
) (*consumerMember, *apiError) {
	r := reconciler{s: s, g: g, m: m, epoch: epoch, target: target, subscribing: subscribing, owned: owned}
	next, err := r.step()
	if err != nil || next == m || next.sameAs(m) {
		return m, err
	}
	*recs = append(*recs, consumerRecord{kind: keyConsumerCurrent, group: g.id, name: next.id, value: next.current()})
	return next, nil
}

// sameAs is whether the two have the same partitions in the same epochs.
func (m *consumerMember) sameAs(o *consumerMember) bool {
	return m.currentRecord.sameAs(&o.currentRecord)
}

func (m *consumerMember) current() *currentRecord { c := m.currentRecord; return &c }
func (m *consumerMember) self() *memberRecord     { r := m.memberRecord; return &r }
