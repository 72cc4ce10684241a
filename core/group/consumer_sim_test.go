package group

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// simConsumer is a consumer as KIP-848 wants it: it heartbeats, gives up what is taken from it before it says so,
// and takes what it is given.
type simConsumer struct {
	id       string
	instance *string
	topics   []string
	epoch    int32
	owned    map[topicPartition]bool
	tell     bool  // to say everything in the next heartbeat: it gave something up, or an answer was lost
	next     int64 // when it heartbeats
	dead     bool  // it is gone without a word
	away     bool  // a static member that left for a while
	waiting  string
	pending  map[topicPartition]bool // what it has been told to have, until it has given up the rest
}

type consumerSim struct {
	t       *testing.T
	rng     *rand.Rand
	s       *Shard
	now     int64
	topics  memTopics
	version int64
	members []*simConsumer
	log     []Record
	queue   []Batch
	queries []*RegexQuery
	byReq   map[string]*simConsumer
	reqs    int
	ids     int
	held    bool
}

const simConsumers = "g"

func newConsumerSim(t *testing.T, seed uint64) *consumerSim {
	sim := &consumerSim{
		t: t, rng: rand.New(rand.NewPCG(seed, 848)), now: 1_000_000, version: 1,
		topics: memTopics{"a": 6, "b": 3, "c": 11}, byReq: map[string]*simConsumer{},
	}
	sim.s = NewShard(sim.config())
	sim.step(Loaded{LeaderEpoch: 1, Image: sim.image()})
	return sim
}

func (sim *consumerSim) config() Config {
	return Config{ConsumerAssignmentIntervalMs: -1, ConsumerSessionTimeoutMs: 45_000, ConsumerHeartbeatIntervalMs: 5000}
}

func (sim *consumerSim) image() Image { return memImage{maps.Clone(sim.topics), sim.version} }

func (sim *consumerSim) step(ev Event) {
	batches, effects := sim.s.Step(ev, time.UnixMilli(sim.now))
	for _, e := range effects {
		switch {
		case e.Resolve != nil:
			sim.queries = append(sim.queries, e.Resolve)
		case e.Response != nil:
			sim.answer(e.Waiter.(string), e.Response.(*kmsg.ConsumerGroupHeartbeatResponse))
		}
	}
	require.NoError(sim.t, sim.s.check())
	sim.queue = append(sim.queue, batches...)
	for !sim.held && len(sim.queue) > 0 {
		b := sim.queue[0]
		sim.queue = sim.queue[1:]
		sim.log = append(sim.log, b.Records...)
		sim.step(Appended{Seq: b.Seq})
	}
}

// beat sends the member's heartbeat.
func (sim *consumerSim) beat(m *simConsumer) {
	r := newBeat(simConsumers, m.id, m.epoch)
	r.InstanceID = m.instance
	if m.epoch == 0 {
		m.owned, m.pending = map[topicPartition]bool{}, nil
	}
	if m.epoch == 0 || m.tell {
		r.SubscribedTopicNames, r.RebalanceTimeoutMillis = m.topics, 60000
		r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		byTopic := map[uuid][]int32{}
		for tp := range m.owned {
			byTopic[tp.topic] = append(byTopic[tp.topic], tp.partition)
		}
		for _, id := range sortedTopics(byTopic) {
			r.Topics = append(r.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: id, Partitions: byTopic[id]})
		}
		m.tell = false
	}
	sim.reqs++
	m.waiting = strconv.Itoa(sim.reqs)
	sim.byReq[m.waiting] = m
	sim.step(ConsumerGroupHeartbeat{Context: RequestContext{ClientID: "c", ClientHost: "/h"}, Request: r, Waiter: m.waiting})
}

func (sim *consumerSim) answer(req string, r *kmsg.ConsumerGroupHeartbeatResponse) {
	m := sim.byReq[req]
	delete(sim.byReq, req)
	if m == nil || m.waiting != req || m.dead || m.away {
		return
	}
	m.waiting = ""
	switch r.ErrorCode {
	case codeNone:
	case codeFencedMemberEpoch, codeUnknownMemberID, codeGroupIDNotFound:
		m.epoch, m.owned, m.pending = 0, map[topicPartition]bool{}, nil
		return
	default:
		require.Contains(sim.t, []int16{codeUnreleasedInstanceID, codeNotCoordinator, codeCoordinatorNotAvailable}, r.ErrorCode)
		m.tell = true
		return
	}
	m.epoch = r.MemberEpoch
	if r.Assignment != nil {
		m.pending = map[topicPartition]bool{}
		for _, t := range r.Assignment.Topics {
			for _, p := range t.Partitions {
				m.pending[topicPartition{t.TopicID, p}] = true
			}
		}
		m.reconcile()
	}
}

// reconcile gives up, and takes.
func (m *simConsumer) reconcile() {
	if m.pending == nil {
		return
	}
	for tp := range m.owned {
		if !m.pending[tp] {
			delete(m.owned, tp)
		}
	}
	for tp := range m.pending {
		m.owned[tp] = true
	}
	m.pending, m.tell = nil, true
}

// exclusive is that no two members that are alive have the same partition. One that was silent for too long has
// been fenced, and learns it with its next heartbeat.
func (sim *consumerSim) exclusive() {
	owners := map[topicPartition]string{}
	g := sim.s.consumers[simConsumers]
	for _, m := range sim.members {
		if m.dead || m.away || g == nil || g.members[m.id] == nil {
			continue
		}
		for tp := range m.owned {
			require.Empty(sim.t, owners[tp], "%v is owned by %s as well", tp, m.id)
			owners[tp] = m.id
		}
	}
}

func (sim *consumerSim) join() {
	sim.ids++
	m := &simConsumer{id: fmt.Sprint("m", sim.ids), owned: map[topicPartition]bool{}, next: sim.now}
	for _, t := range []string{"a", "b", "c"} {
		if sim.rng.IntN(4) > 0 {
			m.topics = append(m.topics, t)
		}
	}
	if len(m.topics) == 0 {
		m.topics = []string{"a"}
	}
	if sim.rng.IntN(4) == 0 {
		m.instance = kmsg.StringPtr(fmt.Sprint("i", sim.ids))
	}
	sim.members = append(sim.members, m)
}

func (sim *consumerSim) any() *simConsumer {
	if len(sim.members) == 0 {
		return nil
	}
	return sim.members[sim.rng.IntN(len(sim.members))]
}

func (sim *consumerSim) remove(m *simConsumer) {
	sim.members = slices.DeleteFunc(sim.members, func(x *simConsumer) bool { return x == m })
}

// act lets something happen.
func (sim *consumerSim) act() {
	m := sim.any()
	switch sim.rng.IntN(24) {
	case 0, 1, 2, 3:
		if len(sim.members) < 120 {
			sim.join()
		}
	case 4: // leaves
		if m != nil && m.epoch > 0 && !m.dead && !m.away && m.waiting == "" {
			m.epoch, m.away = epochLeave, true
			sim.beat(m)
			sim.remove(m)
		}
	case 5: // dies
		if m != nil {
			m.dead = true
		}
	case 6: // goes for a while, and comes back under another id
		if m != nil && m.instance != nil && m.epoch > 0 && !m.dead && !m.away && m.waiting == "" {
			m.epoch, m.away, m.owned = epochStaticLeave, true, map[topicPartition]bool{}
			sim.beat(m)
			sim.ids++
			m.id, m.epoch, m.away, m.waiting = fmt.Sprint("m", sim.ids), 0, false, ""
		}
	case 7: // subscribes to something else
		if m != nil && !m.dead {
			m.topics, m.tell = []string{[]string{"a", "b", "c"}[sim.rng.IntN(3)]}, true
		}
	case 8: // topics grow
		sim.topics = maps.Clone(sim.topics)
		name := []string{"a", "b", "c"}[sim.rng.IntN(3)]
		if sim.topics[name] < 40 {
			sim.topics[name]++
			sim.version++
			sim.step(MetadataChanged{Image: sim.image(), Topics: []string{name}})
		}
	case 9: // the disk is slow
		sim.held = true
	case 10, 11:
		sim.held = false
		sim.step(Tick{})
	case 12:
		if len(sim.queries) > 0 {
			q := sim.queries[0]
			sim.queries = sim.queries[1:]
			sim.step(q.Resolve())
		}
	case 13:
		if !sim.held && len(sim.queue) == 0 && sim.rng.IntN(4) == 0 {
			sim.restart()
		}
	default:
		sim.now += int64(sim.rng.IntN(2500))
		sim.step(Tick{})
	}
	for _, m := range slices.Clone(sim.members) {
		if !m.dead && !m.away && m.waiting == "" && (sim.now >= m.next || m.tell) {
			m.next = sim.now + 5000
			sim.beat(m)
		}
	}
	sim.exclusive()
}

// restart replays the log into another shard, which must be in the same state, and goes on with it.
func (sim *consumerSim) restart() {
	fresh := NewShard(sim.config())
	for _, r := range sim.log {
		require.NoError(sim.t, fresh.Replay(StoredRecord{Key: r.Key, Value: r.Value, ProducerID: -1}))
	}
	require.Equal(sim.t, snapshotOf(sim.s), snapshotOf(fresh))
	sim.s = fresh
	sim.step(Loaded{LeaderEpoch: 2, Image: sim.image()})
	for _, m := range sim.members {
		if m.waiting != "" {
			m.waiting, m.tell = "", true
		}
	}
	sim.byReq = map[string]*simConsumer{}
}

// snapshotOf is what a shard's KIP-848 groups are as records.
func snapshotOf(s *Shard) map[string]string {
	out := map[string]string{}
	for id, g := range s.consumers {
		out[id] = fmt.Sprint(g.epoch, g.metadataHash, g.targetEpoch, g.targetAt)
		add := func(r consumerRecord) { out[string(r.key())] = string(r.bytes()) }
		for mid, m := range g.members {
			add(consumerRecord{kind: keyConsumerMember, group: id, name: mid, value: m.self()})
			add(consumerRecord{kind: keyConsumerCurrent, group: id, name: mid, value: m.current()})
		}
		for mid, t := range g.target {
			add(consumerRecord{kind: keyConsumerTargetMember, group: id, name: mid, value: t})
		}
		for x, r := range g.resolved {
			add(consumerRecord{kind: keyConsumerRegex, group: id, name: x, value: r})
		}
	}
	return out
}

// settle lets the members that live heartbeat until nothing moves, and the dead ones be found out.
func (sim *consumerSim) settle() {
	sim.held = false
	sim.step(Tick{})
	for range 40 {
		sim.now += 5000
		sim.step(Tick{})
		for _, m := range sim.members {
			if !m.dead {
				m.waiting = ""
				m.next = sim.now + 5000
				sim.beat(m)
			}
		}
		sim.exclusive()
	}
	g := sim.s.consumers[simConsumers]
	alive := slices.DeleteFunc(slices.Clone(sim.members), func(m *simConsumer) bool { return m.dead })
	if len(alive) == 0 {
		return
	}
	require.Equal(sim.t, consumerStable, g.state())
	require.Len(sim.t, g.members, len(alive))
	wanted := map[topicPartition]bool{}
	for _, m := range alive {
		for _, topic := range m.topics {
			for p := range sim.topics[topic] {
				wanted[topicPartition{topicID(topic), p}] = true
			}
		}
	}
	for _, m := range alive {
		for tp := range m.owned {
			require.True(sim.t, wanted[tp])
			delete(wanted, tp)
		}
	}
	require.Empty(sim.t, wanted, "nobody has these")
	if g.homogeneous {
		least, most := 1<<30, 0
		for _, m := range alive {
			least, most = min(least, len(m.owned)), max(most, len(m.owned))
		}
		require.LessOrEqual(sim.t, most-least, 1)
	}
	sim.restart()
}

// Members join, leave, die, change their minds and are slow, the disk is slow, the coordinator restarts: at no
// time do two of them have one partition, what is replayed is what was, and in the end everything is assigned.
// MOLDAU_SEEDS=n runs n seeds.
func TestConsumerGroupsKeepTheirPromises(t *testing.T) {
	seeds := 20
	if n, err := strconv.Atoi(os.Getenv("MOLDAU_SEEDS")); err == nil {
		seeds = n
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			sim := newConsumerSim(t, uint64(seed))
			for range 250 {
				sim.act()
			}
			sim.settle()
		})
	}
}
