package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// state is a classic group's state, with Kafka's names.
type state uint8

const (
	stateEmpty state = iota
	statePreparingRebalance
	stateCompletingRebalance
	stateStable
	stateDead
)

var stateNames = [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}

func (s state) String() string { return stateNames[s] }

// consumerProtocol is the protocol type of consumers, the one whose metadata the coordinator can read.
const consumerProtocol = "consumer"

// protocol is one way of dividing the work that a member offers.
type protocol struct {
	name     string
	metadata []byte
}

// waiter is an unanswered JoinGroup or SyncGroup.
type waiter struct {
	set     bool
	to      any
	version int16
}

// member is a member that has joined.
type member struct {
	id                 string
	instance           string // group.instance.id (KIP-345)
	static             bool   // whether it has one
	clientID           string
	clientHost         string
	rebalanceTimeoutMs int32
	sessionTimeoutMs   int32
	protocols          []protocol // in its order of preference
	assignment         []byte
	isNew              bool // its first join has not completed: it may expire although it waits
	pendingSync        bool // it was told of the generation and has not synced yet
	join               waiter
	sync               waiter
	session            timer
	bytes              int64
}

// metadataOf is what the member sent with the protocol, nil if it does not offer it.
func (m *member) metadataOf(name string) []byte {
	for i := range m.protocols {
		if m.protocols[i].name == name {
			return m.protocols[i].metadata
		}
	}
	return nil
}

// matches is whether the offer is what the member already sent, in the same order.
func (m *member) matches(offer []kmsg.JoinGroupRequestProtocol) bool {
	return slices.EqualFunc(m.protocols, offer, func(p protocol, o kmsg.JoinGroupRequestProtocol) bool {
		return p.name == o.Name && string(p.metadata) == string(o.Metadata)
	})
}

// size is what the member takes in memory, roughly.
func (m *member) size() int64 {
	n := 400 + len(m.id) + len(m.instance) + len(m.clientID) + len(m.clientHost) + len(m.assignment)
	for i := range m.protocols {
		n += 48 + len(m.protocols[i].name) + len(m.protocols[i].metadata)
	}
	return int64(n)
}

// pendingMember is a member id that was given out and has not joined yet (KIP-394).
type pendingMember struct {
	id      string
	session timer
}

// group is a classic group. Its methods keep the counts and indexes right and decide nothing about time.
type group struct {
	id           string
	state        state
	previous     state
	stateTs      int64  // since when it is in this state, ms; -1 if loaded from a record that did not say
	protocolType string // empty: a group that only ever committed offsets
	protocol     string
	hasProtocol  bool
	generation   int32
	leader       *member

	members   map[string]*member
	order     []*member // the same, in the order of joining
	statics   map[string]*member
	pending   map[string]*pendingMember
	supported map[string]int // protocol name -> how many members offer it

	awaitingJoin int // members with an unanswered JoinGroup
	awaitingSync int // members with pendingSync

	subscribed      map[string]struct{} // what the members of a consumer group subscribe to
	subscribedKnown bool

	// The initial rebalance of an empty group (KIP-134).
	newMemberAdded   bool
	initialDelay     int64
	initialRemaining int64

	// assigning is the generation whose assignment is being written, 0 if none: a leader that sends its
	// assignment twice is answered with the first.
	assigning int32

	joinTimer timer
	syncTimer timer
}

func newGroup(id string, st state, now int64) *group {
	g := &group{
		id: id, state: st, previous: stateDead, stateTs: now,
		members: map[string]*member{}, statics: map[string]*member{},
		pending: map[string]*pendingMember{}, supported: map[string]int{},
	}
	g.joinTimer.group, g.syncTimer.group = g, g
	g.syncTimer.kind = timerSync
	return g
}

// size is what the group takes in memory beside its members, roughly.
func (g *group) size() int64 { return groupBytes(g.id) }

// groupBytes is the size of a group with this id.
func groupBytes(id string) int64 { return 1000 + 2*int64(len(id)) }

func (g *group) transition(st state, now int64) {
	g.previous, g.state, g.stateTs = g.state, st, now
}

func (g *group) isConsumer() bool { return g.protocolType == consumerProtocol }

// accepts is whether a member with this offer can be in the group: of the group's type, with at least one
// protocol that everyone has.
func (g *group) accepts(protocolType string, names func(yield func(string) bool)) bool {
	if g.state == stateEmpty {
		for range names {
			return protocolType != ""
		}
		return false
	}
	if g.protocolType == "" || g.protocolType != protocolType {
		return false
	}
	for name := range names {
		if g.supported[name] == len(g.members) {
			return true
		}
	}
	return false
}

func offerNames(offer []kmsg.JoinGroupRequestProtocol) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := range offer {
			if !yield(offer[i].Name) {
				return
			}
		}
	}
}

func (g *group) add(m *member, protocolType string) {
	if len(g.members) == 0 {
		g.protocolType = protocolType
	}
	if m.static {
		g.statics[m.instance] = m
	}
	if g.leader == nil {
		g.leader = m
	}
	g.members[m.id] = m
	g.order = append(g.order, m)
	g.countProtocols(m, 1)
	if m.join.set {
		g.awaitingJoin++
	}
}

// remove takes the member out. Its waiters must have been answered.
func (g *group) remove(m *member) {
	delete(g.members, m.id)
	if i := slices.Index(g.order, m); i >= 0 {
		g.order = slices.Delete(g.order, i, i+1)
	}
	g.countProtocols(m, -1)
	if m.static && g.statics[m.instance] == m {
		delete(g.statics, m.instance)
	}
	g.setPendingSync(m, false)
	if g.leader == m {
		g.leader = nil
		if len(g.order) > 0 {
			g.leader = g.order[0]
		}
	}
}

// rename gives a static member another id, in place.
func (g *group) rename(m *member, id string) {
	delete(g.members, m.id)
	m.id = id
	g.members[id] = m
}

func (g *group) countProtocols(m *member, d int) {
	for i := range m.protocols {
		name := m.protocols[i].name
		if g.supported[name] += d; g.supported[name] <= 0 {
			delete(g.supported, name)
		}
	}
}

func (g *group) setPendingSync(m *member, v bool) {
	if m.pendingSync == v {
		return
	}
	m.pendingSync = v
	if v {
		g.awaitingSync++
	} else {
		g.awaitingSync--
	}
}

// setJoin replaces the member's unanswered JoinGroup.
func (g *group) setJoin(m *member, w waiter) {
	if m.join.set {
		g.awaitingJoin--
	}
	if w.set {
		g.awaitingJoin++
	}
	m.join = w
}

func (g *group) allJoined() bool { return len(g.members) == g.awaitingJoin && len(g.pending) == 0 }

// rebalanceTimeoutMs is the longest of the members'.
func (g *group) rebalanceTimeoutMs() int64 {
	var most int32
	for _, m := range g.order {
		most = max(most, m.rebalanceTimeoutMs)
	}
	return int64(most)
}

// electJoinedLeader makes sure that the leader is a member that has joined this round, and says whether
// there is one.
func (g *group) electJoinedLeader() bool {
	if g.leader == nil {
		return false
	}
	if g.leader.join.set {
		return true
	}
	for _, m := range g.order {
		if m.join.set {
			g.leader = m
			return true
		}
	}
	return false
}

// selectProtocol is the protocol with the most votes among those that every member offers; each member
// votes for the first one in its own order. A tie goes to the one voted for first, in the order of joining.
func (g *group) selectProtocol() string {
	votes := make(map[string]int, len(g.supported))
	best := ""
	var ballots []string
	for _, m := range g.order {
		for i := range m.protocols {
			if name := m.protocols[i].name; g.supported[name] == len(g.members) {
				if votes[name]++; votes[name] == 1 {
					ballots = append(ballots, name)
				}
				break
			}
		}
	}
	for _, name := range ballots {
		if best == "" || votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// nextGeneration ends the join phase.
func (g *group) nextGeneration(now int64) {
	g.generation++
	g.hasProtocol, g.protocol = false, ""
	next := stateEmpty
	if len(g.members) > 0 {
		g.protocol, g.hasProtocol = g.selectProtocol(), true
		next = stateCompletingRebalance
	}
	g.computeSubscribed()
	g.transition(next, now)
	g.clearPendingSync()
}

func (g *group) clearPendingSync() {
	for _, m := range g.order {
		m.pendingSync = false
	}
	g.awaitingSync = 0
}

// computeSubscribed reads the members' subscriptions under the chosen protocol. A group whose metadata the
// coordinator cannot read keeps all its offsets while it has members.
func (g *group) computeSubscribed() {
	g.subscribed, g.subscribedKnown = nil, false
	if !g.isConsumer() {
		return
	}
	set := map[string]struct{}{}
	if len(g.members) > 0 {
		if !g.hasProtocol {
			return
		}
		for _, m := range g.order {
			topics, ok := parseSubscription(m.metadataOf(g.protocol))
			if !ok {
				return
			}
			for _, t := range topics {
				set[t] = struct{}{}
			}
		}
	}
	g.subscribed, g.subscribedKnown = set, true
}

func (g *group) isSubscribedTo(topic string) bool {
	if g.subscribedKnown {
		_, ok := g.subscribed[topic]
		return ok
	}
	return g.isConsumer()
}

// validateMember is Kafka's check of a member id and instance id, 0 if they name a member.
func (g *group) validateMember(id string, instance *string) int16 {
	if instance != nil {
		m, ok := g.statics[*instance]
		switch {
		case !ok:
			return codeUnknownMemberID
		case m.id != id:
			return codeFencedInstanceID
		}
	}
	if g.members[id] == nil {
		return codeUnknownMemberID
	}
	return codeNone
}

// joinMembers is the member list of a leader's JoinGroup answer.
func (g *group) joinMembers() []kmsg.JoinGroupResponseMember {
	list := make([]kmsg.JoinGroupResponseMember, 0, len(g.order))
	for _, m := range g.order {
		jm := kmsg.NewJoinGroupResponseMember()
		jm.MemberID = m.id
		if m.static {
			jm.InstanceID = kmsg.StringPtr(m.instance)
		}
		jm.ProtocolMetadata = m.metadataOf(g.protocol)
		list = append(list, jm)
	}
	return list
}

// appendValue appends the group's metadata as a record value, with these assignments. Version 3, which is
// what Kafka 4.3 writes.
func (g *group) appendValue(dst []byte, assignment func(*member) []byte) []byte {
	v := kmsg.NewGroupMetadataValue()
	v.Version = 3
	v.ProtocolType = g.protocolType
	v.Generation = g.generation
	if g.hasProtocol {
		v.Protocol = kmsg.StringPtr(g.protocol)
	}
	if g.leader != nil {
		v.Leader = kmsg.StringPtr(g.leader.id)
	}
	v.CurrentStateTimestamp = g.stateTs
	v.Members = make([]kmsg.GroupMetadataValueMember, 0, len(g.order))
	for _, m := range g.order {
		vm := kmsg.NewGroupMetadataValueMember()
		vm.MemberID, vm.ClientID, vm.ClientHost = m.id, m.clientID, m.clientHost
		if m.static {
			vm.InstanceID = kmsg.StringPtr(m.instance)
		}
		vm.RebalanceTimeoutMillis, vm.SessionTimeoutMillis = m.rebalanceTimeoutMs, m.sessionTimeoutMs
		vm.Subscription, vm.Assignment = m.metadataOf(g.protocol), assignment(m)
		v.Members = append(v.Members, vm)
	}
	return v.AppendTo(dst)
}

// sortedKeys is for loops whose order a client or the log sees.
func sortedKeys[K interface{ ~string | ~int32 }, V any](m map[K]V) []K {
	return slices.Sorted(maps.Keys(m))
}
