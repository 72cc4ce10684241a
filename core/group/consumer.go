package group

import (
	"errors"
	"fmt"
	"slices"
)

// memberState is how far a member of a KIP-848 group is on the way to its target, with Kafka's numbers.
type memberState int8

const (
	memberStable     memberState = 0   // it has the target of its epoch
	memberUnrevoked  memberState = 1   // it must give up partitions first
	memberUnreleased memberState = 2   // it waits for partitions that others have not given up
	memberUnknown    memberState = 127 // a state that a later version wrote
)

func memberStateOf(v int8) memberState {
	if v >= 0 && v <= 2 {
		return memberState(v)
	}
	return memberUnknown
}

// Member epochs with a meaning of their own.
const (
	epochLeave       = -1 // the member leaves
	epochStaticLeave = -2 // a static member leaves for a while: its place is kept until its session ends
)

// consumerMember is a member of a KIP-848 group, of either protocol. It is not changed once it is in a group:
// an update puts another one in its place.
type consumerMember struct {
	id string
	memberRecord
	currentRecord
}

// newConsumerMember is a member of which nothing is known.
func newConsumerMember(id string) *consumerMember {
	empty := ""
	return &consumerMember{id: id, memberRecord: memberRecord{regex: &empty, rebalanceMs: -1}, currentRecord: currentRecord{previous: -1}}
}

func (m *consumerMember) usesClassic() bool { return m.classic != nil }

func (m *consumerMember) reconciledTo(epoch int32) bool {
	return m.state == memberStable && m.epoch == epoch
}

// subscribedRegex is the member's regular expression, empty if it has none.
func (m *consumerMember) subscribedRegex() string {
	if m == nil || m.regex == nil {
		return ""
	}
	return *m.regex
}

func equalText(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// sameAs is whether both say the same of themselves.
func (r *memberRecord) sameAs(o *memberRecord) bool {
	return r.clientID == o.clientID && r.clientHost == o.clientHost && r.rebalanceMs == o.rebalanceMs &&
		equalText(r.instance, o.instance) && equalText(r.rack, o.rack) && equalText(r.regex, o.regex) &&
		equalText(r.assignor, o.assignor) && slices.Equal(r.topics, o.topics) && r.classic.equal(o.classic)
}

func (c *currentRecord) sameAs(o *currentRecord) bool {
	return c.epoch == o.epoch && c.previous == o.previous && c.state == o.state &&
		c.assigned.equal(o.assigned) && c.revoking.equal(o.revoking)
}

// with is the member with other partitions in the next epoch.
func (m *consumerMember) with(epoch int32, st memberState, assigned, revoking epochs) *consumerMember {
	n := *m
	n.previous, n.epoch, n.state, n.assigned, n.revoking = m.epoch, epoch, st, assigned, revoking
	return &n
}

// size is what the member takes in memory, roughly.
func (m *consumerMember) size() int64 {
	n := 700 + len(m.id) + len(m.clientID) + len(m.clientHost) + len(m.subscribedRegex())
	for _, p := range []*string{m.instance, m.rack, m.assignor} {
		if p != nil {
			n += len(*p)
		}
	}
	for _, t := range m.topics {
		n += 16 + len(t)
	}
	if m.classic != nil {
		for _, p := range m.classic.protocols {
			n += 48 + len(p.name) + len(p.metadata)
		}
	}
	for _, e := range []epochs{m.assigned, m.revoking} {
		for _, ps := range e {
			n += 80 + 20*len(ps)
		}
	}
	return int64(n)
}

func (t *target) size() int64 {
	n := 80
	for _, ps := range t.parts {
		n += 76 + 4*len(ps)
	}
	return int64(n)
}

// subscribers is how many members subscribe to a topic by its name, and how many regular expressions of the
// group match it.
type subscribers struct{ names, regexes int }

// consumerGroup is a KIP-848 group. Everything in it but the part marked so is a function of the group's
// records, and is changed by apply alone.
type consumerGroup struct {
	id           string
	epoch        int32
	metadataHash int64
	// partitionsRecord is that Kafka 4.0 wrote a record of the kind that is no longer written.
	partitionsRecord bool
	members          map[string]*consumerMember
	target           map[string]*target
	targetEpoch      int32
	targetAt         int64 // when the target was computed, ms
	resolved         map[string]*resolvedRegex

	// Indexes of the above.
	statics     map[string]string // instance id -> member id
	topics      map[string]subscribers
	regexes     map[string]int // members by regular expression
	assignors   map[string]int // members by the assignor that they ask for
	owners      map[uuid]map[int32]int32
	classics    int            // members of the classic protocol
	classicBy   map[string]int // members by the protocols that they offer
	bytes       int64
	homogeneous bool
	arrived     map[string]int // members by the order in which they came
	arrivals    int
	peak        int // the most members that there were

	// What is not in the records.
	refreshAt int64  // when the metadata is to be looked at, ms
	lastSeq   uint64 // the newest batch with a record of the group
	timers    map[string]*memberTimers
	resolving bool // a resolution of regular expressions is under way
}

// memberTimers is the deadlines of a member.
type memberTimers struct {
	session        timer
	rebalance      timer // to give up what it must
	rebalanceEpoch int32
	join           timer // of a member of the classic protocol, to rejoin
	sync           timer // and to ask for its assignment
}

// consumerGroupBytes is what a group with this id takes in memory beside its members, roughly.
func consumerGroupBytes(id string) int64 { return 1500 + 2*int64(len(id)) }

// newConsumerGroup is a group that nothing is known of; its first change makes epoch 2, as in Kafka 4.3.
func newConsumerGroup(id string) *consumerGroup {
	return &consumerGroup{
		id: id, epoch: 1, targetEpoch: 1, homogeneous: true,
		members: map[string]*consumerMember{}, target: map[string]*target{}, resolved: map[string]*resolvedRegex{},
		statics: map[string]string{}, topics: map[string]subscribers{}, regexes: map[string]int{}, assignors: map[string]int{},
		owners: map[uuid]map[int32]int32{}, classicBy: map[string]int{}, timers: map[string]*memberTimers{}, arrived: map[string]int{}, bytes: consumerGroupBytes(id),
	}
}

// The states of a KIP-848 group, with Kafka's names.
const (
	consumerEmpty       = "Empty"
	consumerAssigning   = "Assigning"
	consumerReconciling = "Reconciling"
	consumerStable      = "Stable"
)

// consumerStates is all of them.
var consumerStates = [...]string{consumerEmpty, consumerAssigning, consumerReconciling, consumerStable}

func (g *consumerGroup) state() string {
	switch {
	case len(g.members) == 0:
		return consumerEmpty
	case g.epoch > g.targetEpoch:
		return consumerAssigning
	}
	for _, m := range g.members {
		if !m.reconciledTo(g.targetEpoch) {
			return consumerReconciling
		}
	}
	return consumerStable
}

// static is the member with the instance id, nil if there is none.
func (g *consumerGroup) static(instance *string) *consumerMember {
	if instance == nil {
		return nil
	}
	id, ok := g.statics[*instance]
	if !ok {
		return nil
	}
	return g.members[id]
}

// owner is the epoch of the member that has the partition, -1 if nobody has.
func (g *consumerGroup) owner(topic uuid, p int32) int32 {
	if e, ok := g.owners[topic][p]; ok {
		return e
	}
	return -1
}

// targetOf is the target of a member; a static member that has come back takes that of its predecessor.
func (g *consumerGroup) targetOf(m *consumerMember) assignment {
	if m.instance != nil {
		return g.target[g.statics[*m.instance]].get()
	}
	return g.target[m.id].get()
}

// apply makes one change. An error speaks of a record that does not fit; the group stays as it was.
func (g *consumerGroup) apply(r *consumerRecord) error {
	switch r.kind {
	case keyConsumerEpoch:
		e, _ := r.value.(epochRecord)
		g.epoch, g.metadataHash = e.epoch, e.hash
	case keyConsumerPartitions:
		g.partitionsRecord = r.value != nil
	case keyConsumerTargetEpoch:
		g.targetEpoch, g.targetAt = -1, 0
		if e, ok := r.value.(targetEpochRecord); ok {
			g.targetEpoch, g.targetAt = e.epoch, e.at
		}
	case keyConsumerTargetMember:
		if old, ok := g.target[r.name]; ok {
			g.bytes -= old.size()
			delete(g.target, r.name)
		}
		if t, ok := r.value.(*target); ok {
			g.target[r.name] = t
			g.bytes += t.size()
		}
	case keyConsumerRegex:
		g.applyRegex(r)
	case keyConsumerMember:
		return g.applyMember(r)
	case keyConsumerCurrent:
		old := g.members[r.name]
		c, ok := r.value.(*currentRecord)
		if !ok {
			if old == nil {
				return nil
			}
			c = &currentRecord{epoch: epochLeave, previous: epochLeave, state: old.state}
		}
		if old == nil {
			old = newConsumerMember(r.name)
		}
		m := *old
		m.currentRecord = *c
		g.put(&m)
	}
	return nil
}

func (g *consumerGroup) applyMember(r *consumerRecord) error {
	old := g.members[r.name]
	if v, ok := r.value.(*memberRecord); ok {
		if old == nil {
			old = newConsumerMember(r.name)
		}
		m := *old
		m.memberRecord = *v
		g.put(&m)
		return nil
	}
	if old == nil {
		return nil
	}
	if old.epoch != epochLeave {
		return fmt.Errorf("member %q is deleted and still has partitions", r.name)
	}
	if _, ok := g.target[r.name]; ok {
		return fmt.Errorf("member %q is deleted and still has a target", r.name)
	}
	g.index(old, -1)
	delete(g.members, r.name)
	delete(g.arrived, r.name)
	if old.instance != nil && g.statics[*old.instance] == r.name {
		delete(g.statics, *old.instance)
	}
	g.updateHomogeneous()
	return nil
}

// put puts the member in its place.
func (g *consumerGroup) put(m *consumerMember) {
	if old := g.members[m.id]; old != nil {
		g.index(old, -1)
	} else {
		g.arrivals++
		g.arrived[m.id] = g.arrivals
		g.peak = max(g.peak, len(g.members)+1)
	}
	g.members[m.id] = m
	if m.instance != nil {
		g.statics[*m.instance] = m.id
	}
	g.index(m, 1)
	g.updateHomogeneous()
}

// bump counts in a map that holds no zeros.
func bump[K comparable](m map[K]int, k K, d int) {
	if m[k] += d; m[k] <= 0 {
		delete(m, k)
	}
}

func bumpTopic(m map[string]subscribers, topic string, names, regexes int) {
	c := m[topic]
	c.names += names
	c.regexes += regexes
	if c.names <= 0 && c.regexes <= 0 {
		delete(m, topic)
		return
	}
	m[topic] = c
}

// index counts a member in, or out.
func (g *consumerGroup) index(m *consumerMember, d int) {
	g.bytes += int64(d) * m.size()
	for _, t := range m.topics {
		bumpTopic(g.topics, t, d, 0)
	}
	if m.assignor != nil {
		bump(g.assignors, *m.assignor, d)
	}
	if x := m.subscribedRegex(); x != "" {
		bump(g.regexes, x, d)
	}
	if m.classic != nil {
		g.classics += d
		for _, p := range m.classic.protocols {
			bump(g.classicBy, p.name, d)
		}
	}
	for _, e := range []epochs{m.assigned, m.revoking} {
		for id, ps := range e {
			if d > 0 {
				if g.owners[id] == nil {
					g.owners[id] = map[int32]int32{}
				}
				for p := range ps {
					g.owners[id][p] = m.epoch
				}
				continue
			}
			for p := range ps {
				if e, ok := g.owners[id][p]; ok && e == m.epoch {
					delete(g.owners[id], p)
				}
			}
			if len(g.owners[id]) == 0 {
				delete(g.owners, id)
			}
		}
	}
}

func (g *consumerGroup) applyRegex(r *consumerRecord) {
	if old := g.resolved[r.name]; old != nil {
		for _, t := range old.topics {
			bumpTopic(g.topics, t, 0, -1)
		}
		g.bytes -= old.size()
		delete(g.resolved, r.name)
	}
	if x, ok := r.value.(*resolvedRegex); ok {
		for _, t := range x.topics {
			bumpTopic(g.topics, t, 0, 1)
		}
		g.bytes += x.size()
		g.resolved[r.name] = x
	}
	g.updateHomogeneous()
}

func (x *resolvedRegex) size() int64 {
	n := 200
	for _, t := range x.topics {
		n += 16 + len(t)
	}
	return int64(n)
}

func (g *consumerGroup) updateHomogeneous() {
	g.homogeneous = homogeneous(g.regexes, g.topics, len(g.members))
}

// homogeneous is whether n members with these subscriptions all subscribe to the same topics.
func homogeneous(regexes map[string]int, topics map[string]subscribers, n int) bool {
	if len(regexes) == 0 {
		for _, c := range topics {
			if c.names != n {
				return false
			}
		}
		return true
	}
	for _, count := range regexes {
		if count != n {
			return false
		}
	}
	for _, c := range topics {
		if c.regexes != 1 || c.names > 0 {
			return false
		}
	}
	return true
}

// tombstones deletes everything of the group. renamed gives members another id in them.
func (g *consumerGroup) tombstones(renamed func(string) string) (recs []consumerRecord) {
	ids := sortedKeys(g.members)
	each := func(kind int) {
		for _, id := range ids {
			if renamed != nil {
				id = renamed(id)
			}
			recs = append(recs, consumerRecord{kind: kind, group: g.id, name: id})
		}
	}
	each(keyConsumerCurrent)
	each(keyConsumerTargetMember)
	recs = append(recs, consumerRecord{kind: keyConsumerTargetEpoch, group: g.id})
	each(keyConsumerMember)
	for _, x := range sortedKeys(g.resolved) {
		recs = append(recs, consumerRecord{kind: keyConsumerRegex, group: g.id, name: x})
	}
	return append(recs, consumerRecord{kind: keyConsumerPartitions, group: g.id}, consumerRecord{kind: keyConsumerEpoch, group: g.id})
}

// applyConsumer makes one change of a KIP-848 group, or of the classic group in whose place it comes.
func (s *Shard) applyConsumer(r *consumerRecord) error {
	if r.kind == keyGroup {
		value, _ := r.value.([]byte)
		return s.replayGroup(r.group, value)
	}
	g := s.consumers[r.group]
	if g == nil {
		if r.value == nil {
			return nil
		}
		if c := s.groups[r.group]; c != nil {
			if c.protocolType != "" || c.state != stateEmpty || len(c.pending) > 0 {
				return errors.New("the group is not a consumer group")
			}
			s.dropGroup(c) // it only ever committed offsets
		}
		g = newConsumerGroup(r.group)
		s.consumers[g.id] = g
		s.memberBytes += g.bytes
	}
	if r.kind == keyConsumerEpoch && r.value == nil {
		if len(g.members) > 0 || len(g.target) > 0 || g.targetEpoch != -1 {
			return fmt.Errorf("the group is deleted and still has %d members", len(g.members))
		}
		s.dropConsumer(g)
		return nil
	}
	before := g.bytes
	err := g.apply(r)
	s.memberBytes += g.bytes - before
	if r.kind == keyConsumerMember && r.value == nil && err == nil {
		s.cancelMember(g, r.name)
	}
	return err
}

// dropConsumer forgets the group and its timers.
func (s *Shard) dropConsumer(g *consumerGroup) {
	for id := range g.timers {
		s.cancelMember(g, id)
	}
	s.memberBytes -= g.bytes
	if s.consumers[g.id] == g {
		delete(s.consumers, g.id)
	}
}
