package group

import (
	"fmt"
	"maps"
)

// check is what must hold of a shard between two steps, whatever happened before.
func (s *Shard) check() error {
	var memberBytes int64
	for id, g := range s.groups {
		if g.id != id || g.state == stateDead {
			return fmt.Errorf("group %q is kept as %q in state %v", g.id, id, g.state)
		}
		memberBytes += g.size()
		joins, syncs := 0, 0
		supported := map[string]int{}
		if len(g.order) != len(g.members) {
			return fmt.Errorf("group %q: %d members in order, %d by id", id, len(g.order), len(g.members))
		}
		statics := 0
		for _, m := range g.order {
			if g.members[m.id] != m {
				return fmt.Errorf("group %q: member %q is not found by its id", id, m.id)
			}
			if m.join.set {
				joins++
				if g.state != statePreparingRebalance && g.state != stateStable {
					return fmt.Errorf("group %q: member %q waits for its join in %v", id, m.id, g.state)
				}
			}
			if m.sync.set && g.state != stateCompletingRebalance {
				return fmt.Errorf("group %q: member %q waits for its assignment in %v", id, m.id, g.state)
			}
			if m.pendingSync {
				syncs++
			}
			for _, p := range m.protocols {
				supported[p.name]++
			}
			if m.static {
				statics++
				if g.statics[m.instance] != m {
					return fmt.Errorf("group %q: instance %q is not its member", id, m.instance)
				}
			}
			if m.bytes != m.size() {
				return fmt.Errorf("group %q member %q: %d bytes accounted, has %d", id, m.id, m.bytes, m.size())
			}
			memberBytes += m.bytes
			if s.serving && !m.session.isSet() && !m.join.set && !m.sync.set {
				return fmt.Errorf("group %q: member %q can never expire", id, m.id)
			}
		}
		for _, p := range g.pending {
			memberBytes += pendingBytes(p)
			if !p.session.isSet() {
				return fmt.Errorf("group %q: pending member %q can never expire", id, p.id)
			}
		}
		switch {
		case joins != g.awaitingJoin:
			return fmt.Errorf("group %q: awaitingJoin %d, counted %d", id, g.awaitingJoin, joins)
		case syncs != g.awaitingSync:
			return fmt.Errorf("group %q: awaitingSync %d, counted %d", id, g.awaitingSync, syncs)
		case statics != len(g.statics):
			return fmt.Errorf("group %q: %d instances, counted %d", id, len(g.statics), statics)
		case !maps.Equal(supported, g.supported):
			return fmt.Errorf("group %q: supported %v, counted %v", id, g.supported, supported)
		case (g.leader != nil) != (len(g.members) > 0):
			return fmt.Errorf("group %q: leader %v with %d members", id, g.leader, len(g.members))
		case g.leader != nil && g.members[g.leader.id] != g.leader:
			return fmt.Errorf("group %q: leader %q is not a member", id, g.leader.id)
		case g.state == stateEmpty && len(g.members) > 0:
			return fmt.Errorf("group %q is empty with %d members", id, len(g.members))
		case (g.state == stateStable || g.state == stateCompletingRebalance) && (len(g.members) == 0 || !g.hasProtocol):
			return fmt.Errorf("group %q is %v with %d members, protocol %q", id, g.state, len(g.members), g.protocol)
		case s.serving && g.state == statePreparingRebalance && !g.joinTimer.isSet():
			return fmt.Errorf("group %q prepares a rebalance that nothing ends", id)
		case s.serving && g.state == stateCompletingRebalance && !g.syncTimer.isSet() && g.assigning != g.generation:
			return fmt.Errorf("group %q completes a rebalance that nothing ends", id)
		}
	}
	for id, g := range s.consumers {
		if g.id != id || s.groups[id] != nil {
			return fmt.Errorf("consumer group %q is kept as %q, classic too: %v", g.id, id, s.groups[id] != nil)
		}
		if err := s.checkConsumer(g); err != nil {
			return fmt.Errorf("consumer group %q: %w", id, err)
		}
		memberBytes += g.bytes
	}
	if memberBytes != s.memberBytes {
		return fmt.Errorf("member bytes %d, counted %d", s.memberBytes, memberBytes)
	}
	return s.checkOffsets()
}

// checkConsumer builds the group anew from what its records say, and compares everything that is kept beside.
func (s *Shard) checkConsumer(g *consumerGroup) error {
	fresh := newConsumerGroup(g.id)
	owners := map[topicPartition]string{}
	for _, id := range sortedKeys(g.members) {
		m := g.members[id]
		fresh.put(m)
		if s.serving && g.timers[id] == nil || s.serving && !g.timers[id].session.isSet() {
			return fmt.Errorf("member %q can never expire", id)
		}
		if s.serving && m.state == memberUnrevoked && !m.usesClassic() && !g.timers[id].rebalance.isSet() && m.epoch >= 0 {
			return fmt.Errorf("member %q may keep what it must give up for ever", id)
		}
		for _, e := range []epochs{m.assigned, m.revoking} {
			for topic, ps := range e {
				if len(ps) == 0 {
					return fmt.Errorf("member %q has no partitions of a topic that it has", id)
				}
				for p := range ps {
					tp := topicPartition{topic, p}
					if owners[tp] != "" {
						return fmt.Errorf("%q and %q both have %v", owners[tp], id, tp)
					}
					owners[tp] = id
				}
			}
		}
		if m.state != memberUnrevoked && len(m.revoking) > 0 {
			return fmt.Errorf("member %q gives up partitions in state %d", id, m.state)
		}
		if m.epoch > g.targetEpoch && g.targetEpoch >= 0 {
			return fmt.Errorf("member %q is in epoch %d, the target in %d", id, m.epoch, g.targetEpoch)
		}
	}
	if len(g.timers) > len(g.members) {
		return fmt.Errorf("%d members with timers, %d members", len(g.timers), len(g.members))
	}
	for id, t := range g.target {
		if g.members[id] == nil {
			return fmt.Errorf("target of %q, who is not a member", id)
		}
		if len(t.order) != len(t.parts) {
			return fmt.Errorf("target of %q: %d topics in order, has %d", id, len(t.order), len(t.parts))
		}
		fresh.bytes += t.size()
	}
	for x, r := range g.resolved {
		if err := fresh.apply(&consumerRecord{kind: keyConsumerRegex, name: x, value: r}); err != nil {
			return err
		}
	}
	switch {
	case g.targetEpoch > g.epoch:
		return fmt.Errorf("target of epoch %d, group in %d", g.targetEpoch, g.epoch)
	case !maps.Equal(g.statics, fresh.statics):
		return fmt.Errorf("statics %v, counted %v", g.statics, fresh.statics)
	case !maps.Equal(g.topics, fresh.topics):
		return fmt.Errorf("topics %v, counted %v", g.topics, fresh.topics)
	case !maps.Equal(g.regexes, fresh.regexes), !maps.Equal(g.assignors, fresh.assignors), !maps.Equal(g.classicBy, fresh.classicBy), g.classics != fresh.classics:
		return fmt.Errorf("counts differ")
	case !maps.EqualFunc(g.owners, fresh.owners, maps.Equal[map[int32]int32, map[int32]int32]):
		return fmt.Errorf("owners %v, counted %v", g.owners, fresh.owners)
	case g.homogeneous != fresh.homogeneous:
		return fmt.Errorf("homogeneous %v, counted %v", g.homogeneous, fresh.homogeneous)
	case g.bytes != fresh.bytes:
		return fmt.Errorf("%d bytes, counted %d", g.bytes, fresh.bytes)
	}
	return nil
}

func (s *Shard) checkOffsets() error {
	var durable, bytes int64
	for id, og := range s.offsets.groups {
		bytes += int64(len(id)) + entryBytes
		if len(og.topics) == 0 {
			return fmt.Errorf("offsets of %q are empty", id)
		}
		for topic, tp := range og.topics {
			bytes += int64(len(topic)) + entryBytes
			if len(tp.parts) == 0 {
				return fmt.Errorf("offsets of %q %q are empty", id, topic)
			}
			for p, e := range tp.parts {
				bytes += entryBytes
				if !e.has && e.pend == nil && e.txns == 0 {
					return fmt.Errorf("offset of %q %q %d is nothing", id, topic, p)
				}
				if e.has {
					durable++
					bytes += int64(len(e.value.metadata))
				}
				if _, ok := e.latest(); ok && s.groups[id] == nil && s.consumers[id] == nil {
					return fmt.Errorf("offset of %q %q %d has no group", id, topic, p)
				}
			}
		}
	}
	for _, m := range s.offsets.txns {
		for _, op := range m {
			bytes += txnBytes(op)
		}
	}
	if durable != s.offsets.durable || bytes != s.offsets.bytes {
		return fmt.Errorf("offsets: %d durable and %d bytes, counted %d and %d", s.offsets.durable, s.offsets.bytes, durable, bytes)
	}
	for i, t := range s.timers {
		if t.pos != i+1 || t.deadline < t.when || i > 0 && s.timers[(i-1)/2].when > t.when {
			return fmt.Errorf("timer %d is out of place", i)
		}
	}
	var waiting int64
	for _, f := range s.inflight {
		waiting += f.bytes
	}
	if waiting != s.waiting {
		return fmt.Errorf("%d bytes in flight, counted %d", s.waiting, waiting)
	}
	return nil
}
