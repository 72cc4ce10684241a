package group

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestKIP394MemberIDIsRequiredFromVersion4Only(t *testing.T) {
	for v := range int16(10) {
		r := newRig(t, Config{})
		r.join("a", v, "", nil)
		j := r.joined("a")
		if v < 4 {
			require.Zero(t, j.ErrorCode, "version %d", v)
			continue
		}
		require.Equal(t, codeMemberIDRequired, j.ErrorCode, "version %d", v)
		require.Equal(t, "Empty", r.state())
		r.join("a", v, j.MemberID, nil)
		require.Zero(t, r.joined("a").ErrorCode)
	}
}

func TestKIP394PendingMemberIDExpiresWithItsSession(t *testing.T) {
	r := newRig(t, Config{})
	r.join("a", 9, "", nil)
	id := r.joined("a").MemberID
	r.pass(9_999)
	require.Len(t, r.s.groups["g"].pending, 1)
	r.pass(1)
	require.Empty(t, r.s.groups["g"].pending)
	r.join("a", 9, id, nil)
	require.Equal(t, codeUnknownMemberID, r.joined("a").ErrorCode)
}

func TestKIP394PendingMemberIsWaitedForInARebalance(t *testing.T) {
	r := newRig(t, Config{})
	ids, _ := r.stable("a")
	r.join("b", 9, "", nil)
	pending := r.joined("b").MemberID
	r.join("a", 3, ids[0], nil) // the leader wants a rebalance
	r.quiet("a")
	r.join("b", 9, pending, nil)
	require.Equal(t, int32(2), r.joined("a").Generation)
	require.Equal(t, int32(2), r.joined("b").Generation)
}

func TestKIP134InitialRebalanceDelayGrowsWithNewMembers(t *testing.T) {
	r := newRig(t, Config{InitialRebalanceDelayMs: 3000})
	r.join("a", 3, "", nil)
	r.pass(2000)
	r.join("b", 3, "", nil)
	r.pass(2000)
	r.quiet("a") // prolonged to 6 s because b came
	r.join("c", 3, "", nil)
	r.pass(2000)
	r.quiet("a")
	// At 9 s nobody has come since; the rebalance timeout of 10 s would have been the end in any case.
	r.pass(2999)
	r.quiet("a")
	r.pass(1)
	for _, n := range []string{"a", "b", "c"} {
		require.Equal(t, int32(1), r.joined(n).Generation)
	}
}

func TestKIP134InitialRebalanceEndsWithTheRebalanceTimeout(t *testing.T) {
	r := newRig(t, Config{InitialRebalanceDelayMs: 3000})
	short := func(q *kmsg.JoinGroupRequest) { q.RebalanceTimeoutMillis = 5000 }
	r.join("m0", 3, "", nil, short)
	for i := range 4 {
		r.pass(1000)
		r.join(fmt.Sprint("m", i+1), 3, "", nil, short)
	}
	r.pass(1000) // 5 s
	require.Zero(t, r.joined("m0").ErrorCode)
	require.Zero(t, r.joined("m4").ErrorCode)
}

func TestKIP62MemberThatDoesNotRejoinInTimeIsRemoved(t *testing.T) {
	r := newRig(t, Config{})
	ids, gen := r.stable("a", "b")
	r.join("c", 3, "", nil)
	for range 9 {
		r.pass(1000)
		require.Equal(t, codeRebalanceInProgress, r.beat(ids[0], gen))
		require.Equal(t, codeRebalanceInProgress, r.beat(ids[1], gen))
	}
	r.join("b", 3, ids[1], nil)
	r.quiet("b")
	r.pass(1000)
	require.Equal(t, ids[1], r.joined("b").LeaderID, "the old leader is gone, the first to have joined leads")
	require.Equal(t, ids[1], r.joined("c").LeaderID)
	require.Equal(t, codeUnknownMemberID, r.beat(ids[0], gen))
}

func TestSilentMemberIsRemovedAndTheOthersRebalance(t *testing.T) {
	r := newRig(t, Config{})
	ids, gen := r.stable("a", "b")
	r.pass(9_000)
	require.Zero(t, r.beat(ids[0], gen))
	r.pass(1_000)
	require.Equal(t, codeRebalanceInProgress, r.beat(ids[0], gen))
	r.join("a", 3, ids[0], nil)
	require.Len(t, r.joined("a").Members, 1)
}

func TestMemberThatWaitsDoesNotExpire(t *testing.T) {
	r := newRig(t, Config{})
	ids, gen := r.stable("a", "b")
	slow := func(q *kmsg.JoinGroupRequest) { q.RebalanceTimeoutMillis = 60_000 }
	r.join("a", 3, ids[0], nil, slow)
	for range 5 {
		r.pass(9_000)
		require.Equal(t, codeRebalanceInProgress, r.beat(ids[1], gen))
	}
	r.quiet("a")
	r.join("b", 3, ids[1], nil)
	require.Zero(t, r.joined("a").ErrorCode)
	require.Zero(t, r.joined("b").ErrorCode)
}

func TestNewMemberThatGoesAwayWhileItJoinsExpiresAfterFiveMinutes(t *testing.T) {
	r := newRig(t, Config{})
	slow := func(q *kmsg.JoinGroupRequest) {
		q.RebalanceTimeoutMillis, q.SessionTimeoutMillis = 3_600_000, 1_800_000
	}
	r.join("a", 3, "", nil, slow)
	a := r.joined("a")
	r.sync("a", a.MemberID, a.Generation, nil, a.MemberID, "all")
	r.synced("a")
	r.join("b", 3, "", nil, slow)
	r.pass(299_999)
	r.quiet("b")
	r.pass(1)
	require.Equal(t, codeUnknownMemberID, r.joined("b").ErrorCode)
}

func TestKIP345StaticMemberStaysThroughARebalanceItMisses(t *testing.T) {
	r := newRig(t, Config{})
	i := kmsg.StringPtr("i1")
	r.join("s", 5, "", i)
	s := r.joined("s")
	r.sync("s", s.MemberID, s.Generation, i, s.MemberID, "all")
	r.synced("s")
	r.join("d", 3, "", nil)
	d := "d"
	r.pass(9_999)
	require.Equal(t, codeRebalanceInProgress, r.s.Heartbeat(beatReq("g", s.MemberID, 1, i), r.now))
	r.pass(1)
	j := r.joined(d)
	require.Len(t, j.Members, 2, "the static member is still assigned to")
	require.Equal(t, j.MemberID, j.LeaderID, "but does not lead, as it did not join")
}

func TestKIP345RebalanceWaitsWhenOnlyAbsentStaticMembersAreLeft(t *testing.T) {
	for _, timeout := range []int32{10_000, 0} {
		r := newRig(t, Config{})
		with := func(q *kmsg.JoinGroupRequest) {
			q.RebalanceTimeoutMillis, q.SessionTimeoutMillis = timeout, 600_000
		}
		a, b := kmsg.StringPtr("a"), kmsg.StringPtr("b")
		r.s.cfg.InitialRebalanceDelayMs = 100
		r.join("a", 5, "", a, with)
		r.join("b", 5, "", b, with)
		r.s.cfg.InitialRebalanceDelayMs = -1
		r.pass(300)
		ja, jb := r.joined("a"), r.joined("b")
		if timeout == 0 {
			// No time at all to sync: both are out again.
			require.Equal(t, "Empty", r.state())
			continue
		}
		r.sync("a", ja.MemberID, ja.Generation, a, ja.MemberID, "1", jb.MemberID, "2")
		r.synced("a")
		r.sync("b", jb.MemberID, jb.Generation, b)
		r.synced("b")
		r.step(LeaveGroup{Request: leaveReq(3, "g", leaver("", a)), Waiter: "leave"})
		r.pass(25_000)
		require.Equal(t, "PreparingRebalance", r.state())
		r.join("b", 5, jb.MemberID, b, with)
		require.Zero(t, r.joined("b").ErrorCode)
	}
}

func TestKIP814FailedWriteLeavesTheStaticMemberItsOldID(t *testing.T) {
	r := newRig(t, Config{})
	i := kmsg.StringPtr("i1")
	r.join("s", 9, "", i)
	s := r.joined("s")
	r.sync("s", s.MemberID, s.Generation, i, s.MemberID, "all")
	r.synced("s")

	r.hold = true
	r.join("again", 9, "", i)
	r.quiet("again")
	r.settle(fmt.Errorf("append: %w", kerr.NotEnoughReplicas))
	require.Equal(t, codeCoordinatorNotAvailable, r.joined("again").ErrorCode)
	require.Zero(t, r.s.Heartbeat(beatReq("g", s.MemberID, 1, i), r.now))

	r.join("again", 9, "", i)
	r.quiet("again")
	r.settle(nil)
	j := r.joined("again")
	require.True(t, j.SkipAssignment)
	require.NotEqual(t, s.MemberID, j.MemberID)
	require.Equal(t, codeFencedInstanceID, r.s.Heartbeat(beatReq("g", s.MemberID, 1, i), r.now))
	require.Contains(t, r.reload().groups["g"].members, j.MemberID)
}

func TestKIP814RebalanceThatOvertakesTheWriteAnswersTheMember(t *testing.T) {
	r := newRig(t, Config{})
	i := kmsg.StringPtr("i1")
	r.join("s", 9, "", i)
	s := r.joined("s")
	r.sync("s", s.MemberID, s.Generation, i, s.MemberID, "all")
	r.synced("s")
	r.hold = true
	r.join("again", 9, "", i)
	r.join("new", 3, "", nil)
	require.Equal(t, int32(2), r.joined("again").Generation)
	require.Equal(t, int32(2), r.joined("new").Generation)
	r.settle(nil)
	require.Empty(t, r.resp)
}

func TestGroupMaxSizeRefusesFurtherMembers(t *testing.T) {
	r := newRig(t, Config{MaxGroupSize: 2})
	ids, _ := r.stable("a", "b")
	r.join("c", 3, "", nil)
	require.Equal(t, codeGroupMaxSizeReached, r.joined("c").ErrorCode)
	r.join("a", 3, ids[0], nil)
	r.join("c", 3, "", nil) // one place is not taken yet
	r.quiet("c")
	r.join("b", 3, ids[1], nil)
	require.Equal(t, codeGroupMaxSizeReached, r.joined("b").ErrorCode)
}

func TestLoadedGroupAboveMaxSizeRebalances(t *testing.T) {
	r := newRig(t, Config{})
	ids, _ := r.stable("a", "b", "c")
	r.s.cfg.MaxGroupSize = 2
	r.s = r.reload()
	require.Equal(t, "PreparingRebalance", r.state())
	for i, n := range []string{"a", "b", "c"} {
		r.join(n, 3, ids[i], nil)
	}
	require.Equal(t, codeGroupMaxSizeReached, r.joined("c").ErrorCode)
	r.pass(10_000)
	require.Len(t, r.joined("a").Members, 2)
}

func TestLoadedMembersGetAFreshSession(t *testing.T) {
	r := newRig(t, Config{})
	ids, gen := r.stable("a")
	r.now += 1_000_000
	r.s = r.reload()
	require.Zero(t, r.beat(ids[0], gen))
	r.pass(10_000)
	require.Equal(t, codeUnknownMemberID, r.beat(ids[0], gen))
}
