package group

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestBoundsAreKept(t *testing.T) {
	big := func(n int) func(*kmsg.JoinGroupRequest) {
		return func(q *kmsg.JoinGroupRequest) { q.Protocols[0].Metadata = make([]byte, n) }
	}
	t.Run("metadata of a member", func(t *testing.T) {
		r := newRig(t, Config{MaxMemberBytes: 10_000})
		r.join("a", 3, "", nil, big(10_000))
		require.Equal(t, codeInvalidRequest, r.joined("a").ErrorCode)
		require.Equal(t, "Dead", r.state())
		r.join("a", 3, "", nil, big(5_000))
		require.Zero(t, r.joined("a").ErrorCode)
	})
	t.Run("memory of a shard", func(t *testing.T) {
		r := newRig(t, Config{MaxShardBytes: 20_000})
		r.commit("c", "g", "", -1, "t", 0, 1)
		require.Zero(t, r.committed("c"))
		r.join("a", 3, "", nil, big(17_000))
		require.Zero(t, r.joined("a").ErrorCode)
		r.join("b", 3, "", nil, big(3_000))
		require.Equal(t, codeGroupMaxSizeReached, r.joined("b").ErrorCode)
		require.Equal(t, "CompletingRebalance", r.state())
		for i := range 20 {
			r.commit("c", fmt.Sprint("h", i), "", -1, "t", 0, 1)
			if r.committed("c") != 0 {
				break
			}
		}
		r.commit("c", "another", "", -1, "t", 0, 1)
		require.Equal(t, codeCoordinatorNotAvailable, r.committed("c"))
		require.LessOrEqual(t, r.s.bytes(), int64(20_000))
		code := codeMemberIDRequired
		for range 100 { // asking for member ids is bounded as well
			r.join("p", 9, "", nil, func(q *kmsg.JoinGroupRequest) { q.Group = "h0" })
			if code = r.joined("p").ErrorCode; code != codeMemberIDRequired {
				break
			}
		}
		require.Equal(t, codeGroupMaxSizeReached, code)
	})
	t.Run("memory of groups that nobody has joined yet", func(t *testing.T) {
		r := newRig(t, Config{MaxShardBytes: 100_000})
		code := codeMemberIDRequired
		for i := 0; code == codeMemberIDRequired; i++ {
			require.Less(t, i, 100_000/3000, "the names of groups take memory as well")
			r.join("p", 9, "", nil, func(q *kmsg.JoinGroupRequest) { q.Group = fmt.Sprint(strings.Repeat("long", 300), i) })
			code = r.joined("p").ErrorCode
		}
		require.Equal(t, codeGroupMaxSizeReached, code)
		require.LessOrEqual(t, r.s.bytes(), int64(100_000))
		r.pass(700_000) // the member ids expire, and the groups with the next clean-up
		require.Zero(t, r.s.bytes())
	})
	t.Run("a member's id", func(t *testing.T) {
		r := newRig(t, Config{})
		instance := strings.Repeat("i", math.MaxInt16) // as long as a string can be: nothing fits behind it
		r.join("a", 5, "", &instance)
		require.Equal(t, codeUnknownServerError, r.joined("a").ErrorCode)
		require.NotContains(t, string(r.log[len(r.log)-1].Value), instance)
	})
	t.Run("writes in flight", func(t *testing.T) {
		r := newRig(t, Config{MaxInflightBytes: 200})
		r.hold = true
		for i := range 10 {
			r.commit(fmt.Sprint(i), "g", "", -1, "t", 0, int64(i))
		}
		require.Equal(t, codeCoordinatorNotAvailable, r.committed("9"))
		require.LessOrEqual(t, r.s.waiting, int64(200))
		for len(r.queue) > 0 {
			r.settle(nil)
		}
		r.commit("x", "g", "", -1, "t", 0, 11)
		r.settle(nil)
		require.Zero(t, r.committed("x"))
	})
	t.Run("metadata of an offset", func(t *testing.T) {
		r := newRig(t, Config{OffsetMetadataMaxBytes: 4})
		for text, code := range map[string]int16{"1234": 0, "12345": codeOffsetMetadataTooLarge, "éééé": 0, "\U0001F600\U0001F600": 0, "\U0001F600\U0001F600\U0001F600": codeOffsetMetadataTooLarge} {
			r.commit("c", "g", "", -1, "t", 0, 1, func(q *kmsg.OffsetCommitRequest) { q.Topics[0].Partitions[0].Metadata = &text })
			require.Equal(t, code, r.committed("c"), text)
		}
	})
}

func TestKeptStringsAreNotTheRequests(t *testing.T) {
	// A request may alias the buffer that it was read from.
	r := newRig(t, Config{})
	q := joinReq(5, "g", "", kmsg.StringPtr("i"), "proto:meta")
	body := q.AppendTo(nil)
	alias := kmsg.NewPtrJoinGroupRequest()
	alias.Version = 5
	require.NoError(t, alias.UnsafeReadFrom(body))
	r.step(JoinGroup{Request: alias, Waiter: "a"})
	for i := range body {
		body[i] = 'z'
	}
	g := r.s.groups["g"]
	require.NotNil(t, g)
	require.Equal(t, "connect", g.protocolType)
	require.Equal(t, "proto", g.protocol)
	m := g.order[0]
	require.Equal(t, "i", m.instance)
	require.Equal(t, "meta", string(m.protocols[0].metadata))
	require.Contains(t, g.statics, "i")
	require.False(t, strings.Contains(m.id, "z"))

	c := commitReq(8, "simple", "", -1, "topic", [16]byte{}, 0, 1, "text")
	body = c.AppendTo(nil)
	ac := kmsg.NewPtrOffsetCommitRequest()
	ac.Version = 8
	require.NoError(t, ac.UnsafeReadFrom(body))
	resp := kmsg.NewPtrOffsetCommitResponse()
	resp.Topics = []kmsg.OffsetCommitResponseTopic{{Partitions: make([]kmsg.OffsetCommitResponseTopicPartition, 1)}}
	r.step(OffsetCommit{Request: ac, Response: resp, Names: []string{ac.Topics[0].Topic}, IDs: make([][16]byte, 1), Waiter: "c"})
	for i := range body {
		body[i] = 'z'
	}
	require.Equal(t, "text", r.s.fetchOffset("simple", "topic", [16]byte{}, 0, true).metadata)
	require.NoError(t, r.s.check())
}

func TestVotesChooseTheProtocol(t *testing.T) {
	for want, offers := range map[string][]string{
		"b": {"a b", "b a", "b a"},
		"a": {"a b", "b a"},        // a tie goes to the first vote
		"c": {"a c b", "b c", "c"}, // the only one that all have
	} {
		g := newGroup("g", stateEmpty, 0)
		for i, o := range offers {
			m := &member{id: fmt.Sprint(i)}
			for _, p := range strings.Fields(o) {
				m.protocols = append(m.protocols, protocol{name: p})
			}
			g.add(m, "t")
		}
		require.Equal(t, want, g.selectProtocol(), "%v", offers)
	}
}

func TestTimersFireInOrderAndMoveLater(t *testing.T) {
	var h timerHeap
	ts := make([]timer, 100)
	for i := range ts {
		h.set(&ts[i], int64((i*37)%100))
	}
	for i := range ts {
		switch i % 3 {
		case 0:
			h.set(&ts[i], ts[i].deadline+100)
		case 1:
			h.cancel(&ts[i])
		}
	}
	var got []int64
	for now := range int64(300) {
		for {
			x := h.due(now)
			if x == nil {
				break
			}
			require.Equal(t, now, x.deadline)
			require.False(t, x.isSet())
			got = append(got, x.deadline)
		}
	}
	require.True(t, slices.IsSorted(got))
	require.Len(t, got, 67)
	require.Equal(t, int64(1<<63-1), h.next())
}

func TestHeartbeatAllocatesNothing(t *testing.T) {
	r := newRig(t, Config{})
	ids, gen := r.stable("a")
	q := beatReq("g", ids[0], gen, nil)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		r.now++
		if r.s.Heartbeat(q, r.now) != 0 {
			t.Fatal("refused")
		}
	}))
}

func BenchmarkHeartbeat(b *testing.B) {
	s := NewShard(Config{InitialRebalanceDelayMs: -1})
	s.Step(Loaded{}, time.UnixMilli(1))
	_, effects := s.Step(JoinGroup{Request: joinReq(3, "g", "", nil, "x:a")}, time.UnixMilli(1))
	id := ""
	for _, e := range effects {
		if j, ok := e.Response.(*kmsg.JoinGroupResponse); ok {
			id = j.MemberID
		}
	}
	q := beatReq("g", id, 1, nil)
	b.ReportAllocs()
	now := int64(1)
	for b.Loop() {
		now++
		if s.Heartbeat(q, now) != 0 {
			b.Fatal("refused")
		}
	}
}

func BenchmarkOffsetCommit(b *testing.B) {
	s := NewShard(Config{})
	s.Step(Loaded{}, time.UnixMilli(1))
	q := commitReq(8, "g", "", -1, "topic", [16]byte{}, 0, 1, "")
	b.ReportAllocs()
	for b.Loop() {
		resp := &kmsg.OffsetCommitResponse{Topics: []kmsg.OffsetCommitResponseTopic{{Partitions: make([]kmsg.OffsetCommitResponseTopicPartition, 1)}}}
		batches, _ := s.Step(OffsetCommit{Request: q, Response: resp, Names: []string{"topic"}, IDs: make([][16]byte, 1)}, time.UnixMilli(1))
		s.Step(Appended{Seq: batches[0].Seq}, time.UnixMilli(1))
	}
}
