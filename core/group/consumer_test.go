package group

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// configured is an image in which one group has a configuration of its own.
type configured struct {
	memImage
	group string
	conf  GroupConfig
}

func (c configured) GroupConfig(group string) GroupConfig {
	if group == c.group {
		return c.conf
	}
	return GroupConfig{AssignmentIntervalMs: -1}
}

func consumerRig(t *testing.T, cfg Config) *rig {
	if cfg.ConsumerAssignmentIntervalMs == 0 {
		cfg.ConsumerAssignmentIntervalMs = -1
	}
	r := newRig(t, cfg)
	r.step(MetadataChanged{Image: memImage{memTopics{"orders": 3, "audit": 1}, 1}})
	return r
}

func (r *rig) next(name, member string, epoch int32, opts ...beatOpt) {
	r.step(ConsumerGroupHeartbeat{Context: RequestContext{ClientID: "c", ClientHost: "/h"}, Request: newBeat("g", member, epoch, opts...), Waiter: name})
}

func (r *rig) nexted(name string) *kmsg.ConsumerGroupHeartbeatResponse {
	r.t.Helper()
	return take[*kmsg.ConsumerGroupHeartbeatResponse](r, name)
}

func (r *rig) owns(ps ...int32) beatOpt {
	if len(ps) == 0 {
		return ownedOpt([]kmsg.ConsumerGroupHeartbeatRequestTopic{})
	}
	return ownedOpt([]kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: topicID("orders"), Partitions: ps}})
}

func TestASilentConsumerIsFencedAndItsPartitionsGoOn(t *testing.T) {
	r := consumerRig(t, Config{})
	r.next("a", "m1", 0)
	require.Zero(t, r.nexted("a").ErrorCode)
	r.pass(40_000)
	r.next("b", "m2", 0)
	require.Empty(t, r.nexted("b").Assignment.Topics)
	r.pass(6_000)
	require.Len(t, r.s.consumers["g"].members, 1)
	r.next("b", "m2", 3, r.owns())
	require.Equal(t, []int32{0, 1, 2}, r.nexted("b").Assignment.Topics[0].Partitions)
	r.next("a", "m1", 2)
	require.Equal(t, codeUnknownMemberID, r.nexted("a").ErrorCode)
}

func TestAConsumerThatKeepsWhatItMustGiveUpIsFenced(t *testing.T) {
	r := consumerRig(t, Config{})
	r.next("a", "m1", 0, func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.RebalanceTimeoutMillis = 20_000 })
	r.nexted("a")
	r.next("b", "m2", 0)
	r.nexted("b")
	r.next("a", "m1", 2, r.owns(0, 1, 2))
	require.Len(t, r.nexted("a").Assignment.Topics[0].Partitions, 2)
	for range 4 { // it heartbeats, and holds on
		r.pass(4_000)
		r.next("a", "m1", 2, r.owns(0, 1, 2))
		require.Zero(t, r.nexted("a").ErrorCode)
	}
	r.pass(4_001)
	r.next("a", "m1", 2, r.owns(0, 1, 2))
	require.Equal(t, codeUnknownMemberID, r.nexted("a").ErrorCode)
	r.next("b", "m2", 3, r.owns())
	require.Equal(t, []int32{0, 1, 2}, r.nexted("b").Assignment.Topics[0].Partitions)
}

func TestAGroupHasTimeoutsOfItsOwn(t *testing.T) {
	r := consumerRig(t, Config{})
	im := configured{memImage{memTopics{"orders": 3}, 2}, "g", GroupConfig{SessionTimeoutMs: 50_000, HeartbeatIntervalMs: 7000, AssignmentIntervalMs: 2000}}
	r.step(MetadataChanged{Image: im})
	r.next("a", "m1", 0)
	require.Equal(t, int32(7000), r.nexted("a").HeartbeatIntervalMillis)
	r.pass(1000)
	r.next("b", "m2", 0) // within the assignment interval: there is no target yet
	require.Equal(t, int32(2), r.nexted("b").MemberEpoch)
	require.Equal(t, consumerAssigning, r.s.consumers["g"].state())
	r.pass(1000)
	r.next("b", "m2", 2, r.owns())
	require.Equal(t, int32(3), r.nexted("b").MemberEpoch)
	r.pass(47_999)
	require.Len(t, r.s.consumers["g"].members, 2)
	r.pass(2)
	require.Len(t, r.s.consumers["g"].members, 1)
}

func TestAConsumerHearsOfAnEpochOnlyWhenItIsDurable(t *testing.T) {
	r := consumerRig(t, Config{})
	r.hold = true
	r.next("a", "m1", 0)
	r.quiet("a")
	r.next("again", "m1", 0) // says nothing new, and speaks of what is not durable
	r.quiet("again")
	r.settle(nil)
	require.Equal(t, int32(2), r.nexted("a").MemberEpoch)
	require.Equal(t, int32(2), r.nexted("again").MemberEpoch)
}

func TestAHeartbeatBehindAWriteThatTakesTooLongIsAnsweredAsWell(t *testing.T) {
	r := consumerRig(t, Config{CommitTimeoutMs: 5000})
	r.hold = true
	r.next("a", "m1", 0)
	r.pass(2000)
	r.next("again", "m1", 0)
	r.pass(3001)
	require.Equal(t, codeCoordinatorNotAvailable, r.nexted("a").ErrorCode)
	r.quiet("again")
	r.pass(2000)
	require.Equal(t, codeCoordinatorNotAvailable, r.nexted("again").ErrorCode, "it waits as long as others do")
	r.next("late", "m1", 0) // nobody waits for the batch any more
	r.pass(5001)
	require.Equal(t, codeCoordinatorNotAvailable, r.nexted("late").ErrorCode)
	r.settle(nil)
	r.next("b", "m1", 0)
	require.Equal(t, int32(2), r.nexted("b").MemberEpoch)
}

func TestAChangeThatCannotBeWrittenIsTakenBackWithTheShard(t *testing.T) {
	r := consumerRig(t, Config{})
	r.hold = true
	r.next("a", "m1", 0)
	r.next("again", "m1", 0)
	b := r.queue[0]
	r.queue = nil
	_, effects := r.s.Step(Appended{Seq: b.Seq, Err: kerr.KafkaStorageError}, time.UnixMilli(r.now))
	reload, codes := false, []int16{}
	for _, e := range effects {
		reload = reload || e.Reload
		if resp, ok := e.Response.(*kmsg.ConsumerGroupHeartbeatResponse); ok {
			codes = append(codes, resp.ErrorCode)
		}
	}
	require.True(t, reload)
	require.Equal(t, []int16{codeNotCoordinator, codeNotCoordinator}, codes)
	r.next("late", "m1", 0)
	require.Equal(t, codeNotCoordinator, r.nexted("late").ErrorCode)
	require.Empty(t, r.reload().consumers)
}

func TestTheCoordinatorLoadsAShardAnewThatLostAWrite(t *testing.T) {
	p := newLocalPeer(t, Config{ConsumerAssignmentIntervalMs: -1})
	p.store.mu.Lock()
	p.store.fail = errors.Join(errors.New("disk"), kerr.KafkaStorageError)
	p.store.mu.Unlock()
	r := (<-p.send(t, newBeat("g", "m1", 0))).(*kmsg.ConsumerGroupHeartbeatResponse)
	require.Equal(t, codeNotCoordinator, r.ErrorCode)
	p.store.mu.Lock()
	p.store.fail = nil
	p.store.mu.Unlock()
	require.Eventually(t, func() bool {
		r := (<-p.send(t, newBeat("g", "m1", 0))).(*kmsg.ConsumerGroupHeartbeatResponse)
		return r.ErrorCode == 0 && r.MemberEpoch == 2
	}, 10*time.Second, 5*time.Millisecond)
}

func TestAChangeThatIsTooLargeToBeWrittenAtOnceIsRefused(t *testing.T) {
	r := consumerRig(t, Config{MaxAtomicBytes: 200})
	r.next("a", "m1", 0)
	require.Equal(t, codeUnknownServerError, r.nexted("a").ErrorCode)
	require.Empty(t, r.s.consumers)
	require.Empty(t, r.log)
}

func TestConsumerGroupsHaveALimit(t *testing.T) {
	r := consumerRig(t, Config{ConsumerMaxSize: 1})
	r.next("a", "m1", 0)
	r.nexted("a")
	r.next("b", "m2", 0)
	resp := r.nexted("b")
	require.Equal(t, codeGroupMaxSizeReached, resp.ErrorCode)
	require.Equal(t, "The consumer group has reached its maximum capacity of 1 members.", *resp.ErrorMessage)
	r.next("a", "m1", 0)
	require.Zero(t, r.nexted("a").ErrorCode)
}

// KIP-211: offsets of topics that somebody subscribes to stay; the others go when their time is over, and a group
// without members and offsets with them.
func TestOffsetsOfConsumerGroupsExpire(t *testing.T) {
	r := consumerRig(t, Config{OffsetsRetentionMs: 60_000, OffsetsRetentionCheckMs: 1000, ConsumerSessionTimeoutMs: 1_000_000, ConsumerHeartbeatIntervalMs: 5000})
	r.next("a", "m1", 0)
	r.nexted("a")
	v9 := func(q *kmsg.OffsetCommitRequest) { q.Version = 9 }
	r.commit("1", "g", "m1", 2, "orders", 0, 7, v9)
	require.Zero(t, r.committed("1"))
	r.commit("2", "g", "m1", 2, "audit", 0, 8, v9)
	require.Zero(t, r.committed("2"))
	r.pass(61_001)
	require.Equal(t, int64(7), r.fetch("g", "orders", 0))
	require.Equal(t, int64(-1), r.fetch("g", "audit", 0))
	r.next("a", "m1", -1)
	r.nexted("a")
	r.pass(1001)
	require.Equal(t, int64(-1), r.fetch("g", "orders", 0), "a consumer group counts from the commit")
	require.Empty(t, r.s.consumers)
	require.Empty(t, r.s.groups)
	require.Empty(t, snapshotOf(r.reload()))
}

func TestRegularExpressionsAreLookedForAgainWhenTopicsCome(t *testing.T) {
	r := consumerRig(t, Config{})
	r.next("a", "m1", 0, topicsOpt(), regexOpt("ord.*|new"))
	r.nexted("a")
	q := RegexQuery{Group: "g", Expressions: []string{"ord.*|new"}, Image: r.s.image, At: r.now}
	r.step(q.Resolve())
	require.Equal(t, []string{"orders"}, r.s.consumers["g"].resolved["ord.*|new"].topics)
	r.next("a", "m1", 1, r.owns())
	require.Equal(t, []int32{0, 1, 2}, r.nexted("a").Assignment.Topics[0].Partitions)
	r.pass(11_000)
	r.step(MetadataChanged{Image: memImage{memTopics{"orders": 3, "new": 1, "renewed": 1}, 7}, Topics: []string{"new", "renewed"}, TopicsCreated: true})
	r.next("a", "m1", 2)
	r.nexted("a")
	require.True(t, r.s.consumers["g"].resolving)
	q.Image, q.At, q.CanDescribe = r.s.image, r.now, func(topic string) bool { return topic != "orders" }
	r.step(q.Resolve())
	require.Equal(t, []string{"new"}, r.s.consumers["g"].resolved["ord.*|new"].topics, "a topic that the member may not know of is left out")
	require.Equal(t, int32(3), r.s.consumers["g"].epoch)
}

func TestRecordsOfConsumerGroupsComeBackAsTheyWere(t *testing.T) {
	text := func(s string) *string { return &s }
	id, other := topicID("a"), topicID("b")
	for _, r := range []consumerRecord{
		{kind: keyConsumerEpoch, group: "g", value: epochRecord{7, -3}},
		{kind: keyConsumerEpoch, group: "g", value: epochRecord{7, 0}},
		{kind: keyConsumerTargetEpoch, group: "g", value: targetEpochRecord{7, 123}},
		{kind: keyConsumerMember, group: "g", name: "m", value: &memberRecord{
			instance: text("i"), rack: text("r"), clientID: "c", clientHost: "/h", topics: []string{"a", "b"}, regex: text("x.*"),
			rebalanceMs: 5, assignor: text("range"), classic: &classicOffer{9, []protocol{{"range", []byte{1, 2}}}},
		}},
		{kind: keyConsumerMember, group: "g", name: "m", value: &memberRecord{topics: []string{}, regex: text("")}},
		{kind: keyConsumerTargetMember, group: "g", name: "m", value: &target{
			parts: assignment{id: {1, 2}, other: {0, 19}}, order: []uuid{other, id}, listed: map[uuid][]int32{other: {19, 0}},
		}},
		{kind: keyConsumerCurrent, group: "g", name: "m", value: &currentRecord{
			epoch: 3, previous: 2, state: memberUnrevoked, assigned: epochs{id: {1: 2}}, revoking: epochs{other: {0: 1}},
		}},
		{kind: keyConsumerRegex, group: "g", name: "x.*", value: &resolvedRegex{[]string{"xa"}, 4, 5}},
		{kind: keyConsumerCurrent, group: "g", name: "m"},
		{kind: keyConsumerEpoch, group: "g"},
	} {
		got, err := decodeConsumerRecord(r.key(), r.bytes())
		require.NoError(t, err)
		require.Equal(t, r, got)
	}
}

// FuzzConsumerRecord feeds the replay with bytes that are not from here: it refuses, or what it has taken in can
// be written and read again.
func FuzzConsumerRecord(f *testing.F) {
	for _, kind := range []int{3, 4, 5, 6, 7, 8, 16} {
		r := consumerRecord{kind: kind, group: "g", name: "m"}
		f.Add(r.key(), []byte{0, 0, 0, 0, 0, 7, 0})
	}
	id := topicID("a")
	for _, r := range []consumerRecord{
		{kind: keyConsumerMember, group: "g", name: "m", value: &memberRecord{topics: []string{"a"}, classic: &classicOffer{9, []protocol{{"range", []byte{1}}}}}},
		{kind: keyConsumerTargetMember, group: "g", name: "m", value: newTarget(assignment{id: {1, 2}})},
		{kind: keyConsumerCurrent, group: "g", name: "m", value: &currentRecord{epoch: 3, assigned: epochs{id: {1: 2}}}},
	} {
		f.Add(r.key(), r.bytes())
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		s := NewShard(Config{})
		_ = s.Replay(StoredRecord{Key: key, Value: value, ProducerID: -1})
		r, err := decodeConsumerRecord(key, value)
		if err != nil || r.kind == keyConsumerPartitions {
			return
		}
		again, err := decodeConsumerRecord(r.key(), r.bytes())
		require.NoError(t, err)
		require.Equal(t, r.bytes(), again.bytes())
	})
}

func FuzzEmbeddedProtocol(f *testing.F) {
	f.Add([]byte(embedded(3, []int32{1}, "orders")))
	f.Add([]byte(embeddedPartitions(1, 0, 1)))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = parseConsumerSubscription(b)
		_, _, _ = parseConsumerAssignment(b)
	})
}
