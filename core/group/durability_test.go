package group

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestCommitIsAnsweredWhenItIsDurable(t *testing.T) {
	r := newRig(t, Config{})
	r.hold = true
	r.commit("c1", "g", "", -1, "t", 0, 5)
	r.commit("c2", "g", "", -1, "t", 0, 6)
	r.quiet("c1")
	require.Equal(t, int64(-1), r.fetch("g", "t", 0))
	r.settle(nil)
	require.Zero(t, r.committed("c1"))
	r.quiet("c2")
	require.Equal(t, int64(5), r.fetch("g", "t", 0))
	r.settle(kerr.NotLeaderForPartition)
	require.Equal(t, codeNotCoordinator, r.committed("c2"))
	require.Equal(t, int64(5), r.fetch("g", "t", 0))
}

func TestCommitThatTakesTooLongIsAnsweredAndCountsLater(t *testing.T) {
	r := newRig(t, Config{})
	r.hold = true
	r.commit("c1", "g", "", -1, "t", 0, 5)
	r.pass(3000)
	r.commit("c2", "g", "", -1, "t", 1, 5)
	r.pass(1999)
	r.quiet("c1")
	r.pass(1)
	require.Equal(t, codeCoordinatorNotAvailable, r.committed("c1"))
	r.quiet("c2")
	r.settle(nil)
	require.Equal(t, int64(5), r.fetch("g", "t", 0))
	r.pass(3000)
	require.Equal(t, codeCoordinatorNotAvailable, r.committed("c2"))
	r.settle(kerr.NotEnoughReplicas)
	require.Equal(t, int64(-1), r.fetch("g", "t", 1))
}

func TestAssignmentIsToldWhenItIsDurable(t *testing.T) {
	r := newRig(t, Config{})
	r.join("a", 3, "", nil)
	a := r.joined("a")
	r.hold = true
	r.sync("s1", a.MemberID, 1, nil, a.MemberID, "all")
	r.quiet("s1")
	require.Equal(t, "CompletingRebalance", r.state())
	r.sync("s2", a.MemberID, 1, nil, a.MemberID, "something else") // the leader lost patience
	require.Equal(t, codeRebalanceInProgress, r.synced("s1").ErrorCode)
	require.Len(t, r.queue, 1)
	r.settle(nil)
	require.Equal(t, "all", string(r.synced("s2").MemberAssignment))
	require.Equal(t, "Stable", r.state())
	require.Equal(t, "all", string(r.reload().groups["g"].members[a.MemberID].assignment))
}

func TestAssignmentThatCannotBeWrittenStartsARebalance(t *testing.T) {
	r := newRig(t, Config{})
	r.join("a", 3, "", nil)
	a := r.joined("a")
	r.hold = true
	r.sync("a", a.MemberID, 1, nil, a.MemberID, "all")
	r.settle(kerr.MessageTooLarge)
	require.Equal(t, codeUnknownServerError, r.synced("a").ErrorCode)
	require.Equal(t, codeRebalanceInProgress, r.beat(a.MemberID, 1))
}

func TestAssignmentOfAnOlderGenerationIsNotTold(t *testing.T) {
	r := newRig(t, Config{})
	r.join("a", 3, "", nil)
	a := r.joined("a")
	r.hold = true
	r.sync("a", a.MemberID, 1, nil, a.MemberID, "old")
	r.join("b", 3, "", nil)
	require.Equal(t, codeRebalanceInProgress, r.synced("a").ErrorCode)
	r.join("a", 3, a.MemberID, nil)
	require.Equal(t, int32(2), r.joined("a").Generation)
	b := r.joined("b")
	r.sync("b", b.MemberID, 2, nil)
	r.settle(nil)
	r.quiet("b")
	r.sync("a", a.MemberID, 2, nil, a.MemberID, "new", b.MemberID, "new too")
	r.settle(nil)
	require.Equal(t, "new", string(r.synced("a").MemberAssignment))
	require.Equal(t, "new too", string(r.synced("b").MemberAssignment))
}

func TestRepeatedRequestAnswersTheOneThatWaits(t *testing.T) {
	r := newRig(t, Config{})
	ids, _ := r.stable("a", "b")
	r.join("a", 3, ids[0], nil)
	r.join("a again", 3, ids[0], nil)
	require.Equal(t, codeRebalanceInProgress, r.joined("a").ErrorCode)
	r.quiet("a again")
	r.join("b", 3, ids[1], nil)
	require.Zero(t, r.joined("a again").ErrorCode)
	r.joined("b")
	r.sync("b", ids[1], 2, nil)
	r.sync("b again", ids[1], 2, nil)
	require.Equal(t, codeRebalanceInProgress, r.synced("b").ErrorCode)
	r.sync("a", ids[0], 2, nil, ids[1], "all")
	require.Equal(t, "all", string(r.synced("b again").MemberAssignment))
	require.Empty(t, r.synced("a").MemberAssignment)
}

func TestResignationAnswersEveryoneWhoWaits(t *testing.T) {
	r := newRig(t, Config{})
	ids, _ := r.stable("a", "b")
	r.join("a", 3, ids[0], nil)
	r.hold = true
	r.commit("commit", "other", "", -1, "t", 0, 1)
	r.step(DeleteGroups{Groups: []string{"other"}, Waiter: "delete"})
	r.step(Resigned{})
	require.Equal(t, codeNotCoordinator, r.joined("a").ErrorCode)
	require.Equal(t, codeNotCoordinator, r.committed("commit"))
	require.Equal(t, codeNotCoordinator, take[*kmsg.DeleteGroupsResponse](r, "delete").Groups[0].ErrorCode)
	require.Equal(t, int64(1<<63-1), r.s.NextDeadline())
}

func TestKIP211Expiry(t *testing.T) {
	const day = 24 * 3600 * 1000
	consumer := func(q *kmsg.JoinGroupRequest) {
		q.ProtocolType, q.SessionTimeoutMillis = "consumer", 1_800_000
		q.Protocols[0].Metadata = []byte("\x00\x00\x00\x00\x00\x01\x00\x04mine\xff\xff\xff\xff")
	}
	cfg := Config{OffsetsRetentionMs: 7 * day, OffsetsRetentionCheckMs: 600_000}

	t.Run("a group without members keeps an offset for the retention after its commit", func(t *testing.T) {
		r := newRig(t, cfg)
		r.commit("c", "g", "", -1, "t", 0, 1)
		r.pass(3 * day)
		r.commit("d", "g", "", -1, "t", 1, 1)
		r.pass(4*day + 600_000)
		require.Equal(t, int64(-1), r.fetch("g", "t", 0))
		require.Equal(t, int64(1), r.fetch("g", "t", 1))
		r.pass(3*day + 600_000)
		require.Equal(t, "Dead", r.state())
		require.Empty(t, r.reload().groups)
	})
	t.Run("an own retention wins", func(t *testing.T) {
		r := newRig(t, cfg)
		r.commit("c", "g", "", -1, "t", 0, 1, func(q *kmsg.OffsetCommitRequest) { q.Version, q.RetentionTimeMillis = 4, 3_600_000 })
		r.commit("d", "g", "", -1, "t", 1, 1, func(q *kmsg.OffsetCommitRequest) { q.Version, q.RetentionTimeMillis = 4, 1<<63-1 })
		r.pass(3_600_000 + 600_000)
		require.Equal(t, int64(-1), r.fetch("g", "t", 0))
		r.pass(30 * day)
		require.Equal(t, int64(1), r.fetch("g", "t", 1))
	})
	t.Run("a group with members keeps what they subscribe to", func(t *testing.T) {
		r := newRig(t, cfg)
		r.join("a", 3, "", nil, consumer)
		a := r.joined("a")
		r.sync("a", a.MemberID, 1, nil, a.MemberID, "all")
		r.commit("c", "g", a.MemberID, 1, "mine", 0, 1)
		r.commit("d", "g", a.MemberID, 1, "other", 0, 1)
		for range 8 * 96 {
			r.pass(day / 96)
			require.Zero(t, r.beat(a.MemberID, 1))
		}
		require.Equal(t, int64(1), r.fetch("g", "mine", 0))
		require.Equal(t, int64(-1), r.fetch("g", "other", 0))

		// Once it is empty its clock starts, also for old commits.
		r.step(LeaveGroup{Request: leaveReq(0, "g", leaver(a.MemberID, nil)), Waiter: "l"})
		r.pass(6 * day)
		require.Equal(t, int64(1), r.fetch("g", "mine", 0))
		r.pass(1*day + 600_000)
		require.Equal(t, "Dead", r.state())
	})
	t.Run("a group of another type keeps everything while it has members", func(t *testing.T) {
		r := newRig(t, cfg)
		slow := func(q *kmsg.JoinGroupRequest) { q.SessionTimeoutMillis = 1_800_000 }
		r.join("a", 3, "", nil, slow)
		a := r.joined("a")
		r.sync("a", a.MemberID, 1, nil, a.MemberID, "all")
		r.commit("c", "g", a.MemberID, 1, "t", 0, 1)
		for range 10 * 96 {
			r.pass(day / 96)
			require.Zero(t, r.beat(a.MemberID, 1))
		}
		require.Equal(t, int64(1), r.fetch("g", "t", 0))
	})
	t.Run("a group that was only created goes with the next check", func(t *testing.T) {
		r := newRig(t, cfg)
		r.join("a", 9, "", nil)
		require.Len(t, r.log, 1)
		r.pass(1_200_000)
		require.Equal(t, "Dead", r.state())
		require.Empty(t, r.reload().groups)
	})
	t.Run("a commit on its way is not expired", func(t *testing.T) {
		r := newRig(t, cfg)
		r.commit("c", "g", "", -1, "t", 0, 1)
		r.pass(7*day - 1000)
		r.hold = true
		r.commit("d", "g", "", -1, "t", 0, 2)
		r.pass(1_200_000)
		r.hold = false
		r.settle(nil)
		r.pass(1_200_000)
		require.Equal(t, int64(2), r.fetch("g", "t", 0))
	})
	t.Run("a failed expiry is tried again", func(t *testing.T) {
		r := newRig(t, cfg)
		r.commit("c", "g", "", -1, "t", 0, 1)
		r.hold = true
		r.pass(7*day + 600_000)
		require.Len(t, r.queue, 1)
		require.Equal(t, "Dead", r.state())
		r.settle(kerr.NotEnoughReplicas)
		require.Equal(t, "Empty", r.state())
		require.Equal(t, int64(1), r.fetch("g", "t", 0))
		r.hold = false
		r.pass(600_000)
		require.Equal(t, "Dead", r.state())
	})
}

func TestGroupDeletionIsDurableBeforeItIsAnswered(t *testing.T) {
	r := newRig(t, Config{MaxBatchBytes: 100})
	for p := range int32(10) {
		r.commit("c", "g", "", -1, "t", p, 1)
		r.committed("c")
	}
	r.hold = true
	r.step(DeleteGroups{Groups: []string{"g", "none"}, Waiter: "d"})
	require.Greater(t, len(r.queue), 2, "deletions are divided")
	r.quiet("d")
	require.Equal(t, "Dead", r.state())
	for len(r.queue) > 1 {
		r.settle(nil)
		r.quiet("d")
	}
	r.settle(nil)
	d := take[*kmsg.DeleteGroupsResponse](r, "d")
	require.Zero(t, d.Groups[0].ErrorCode)
	require.Equal(t, codeGroupIDNotFound, d.Groups[1].ErrorCode)
	require.Empty(t, r.reload().groups)
	require.Zero(t, r.s.Stats().Offsets)
}

func TestFailedGroupDeletionBringsTheGroupBack(t *testing.T) {
	r := newRig(t, Config{})
	r.commit("c", "g", "", -1, "t", 0, 1)
	r.hold = true
	r.step(DeleteGroups{Groups: []string{"g"}, Waiter: "d"})
	r.settle(kerr.NotEnoughReplicas)
	require.Equal(t, codeCoordinatorNotAvailable, take[*kmsg.DeleteGroupsResponse](r, "d").Groups[0].ErrorCode)
	require.Equal(t, "Empty", r.state())
	require.Equal(t, int64(1), r.fetch("g", "t", 0))
}

func TestCommitAfterADeletionInFlightSurvivesIt(t *testing.T) {
	r := newRig(t, Config{})
	r.commit("c", "g", "", -1, "t", 0, 1)
	r.committed("c")
	r.hold = true
	r.step(DeleteGroups{Groups: []string{"g"}, Waiter: "d"})
	r.commit("c", "g", "", -1, "t", 0, 2)
	r.settle(nil)
	require.Equal(t, int64(-1), r.fetch("g", "t", 0))
	r.settle(nil)
	require.Zero(t, r.committed("c"))
	require.Equal(t, int64(2), r.fetch("g", "t", 0))
	require.Equal(t, "Empty", r.state())
	s := r.reload()
	require.Equal(t, int64(2), s.fetchOffset("g", "t", [16]byte{}, 0, true).offset)
}

func TestDeletedTopicTakesItsOffsetsAlong(t *testing.T) {
	r := newRig(t, Config{})
	for i, g := range []string{"g", "h"} {
		r.commit("c", g, "", -1, "t", int32(i), 1)
		r.committed("c")
		r.commit("c", g, "", -1, "u", 0, 1)
		r.committed("c")
	}
	r.step(TopicDeleted{Topic: "t"})
	require.Equal(t, int64(2), r.s.Stats().Offsets)
	require.Equal(t, int64(2), r.reload().Stats().Offsets)
	require.Equal(t, int64(1), r.fetch("h", "u", 0))
}

func TestCommittedOffsetOfAnotherTopicWithTheSameNameIsNotFetchedByID(t *testing.T) {
	r := newRig(t, Config{})
	r.commit("c", "g", "", -1, "t", 0, 1)
	require.Equal(t, int64(1), r.s.fetchOffset("g", "t", topicID("t"), 0, false).offset)
	require.Equal(t, int64(-1), r.s.fetchOffset("g", "t", topicID("t, made anew"), 0, false).offset)
}

func (r *rig) txnCommit(name string, producer int64, partition int32, offset int64, opts ...func(*kmsg.TxnOffsetCommitRequest)) {
	q := kmsg.NewPtrTxnOffsetCommitRequest()
	q.Version, q.Group, q.ProducerID, q.Generation = 4, "g", producer, -1
	q.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Partition: partition, Offset: offset}}}}
	for _, o := range opts {
		o(q)
	}
	resp := kmsg.NewPtrTxnOffsetCommitResponse()
	resp.Topics = []kmsg.TxnOffsetCommitResponseTopic{{Topic: "t", Partitions: make([]kmsg.TxnOffsetCommitResponseTopicPartition, 1)}}
	r.step(TxnOffsetCommit{Request: q, Response: resp, IDs: make([][16]byte, 1), Waiter: name})
}

func (r *rig) txnCommitted(name string) int16 {
	r.t.Helper()
	return take[*kmsg.TxnOffsetCommitResponse](r, name).Topics[0].Partitions[0].ErrorCode
}

func TestKIP447OffsetsOfAnOpenTransactionAreUnstable(t *testing.T) {
	r := newRig(t, Config{})
	r.commit("c", "g", "", -1, "t", 0, 1)
	r.hold = true
	r.txnCommit("x", 7, 0, 2)
	require.Equal(t, int64(7), r.queue[0].ProducerID)
	require.Equal(t, codeUnstableOffsetCommit, r.s.fetchOffset("g", "t", [16]byte{}, 0, true).code, "also while it is written")
	r.settle(nil)
	require.Zero(t, r.txnCommitted("x"))
	require.Equal(t, codeUnstableOffsetCommit, r.s.fetchOffset("g", "t", [16]byte{}, 0, true).code)
	require.Equal(t, int64(1), r.fetch("g", "t", 0))
	r.step(TxnMarker{ProducerID: 7, Commit: true})
	require.Equal(t, fetched{offset: 2, epoch: 0}, r.s.fetchOffset("g", "t", [16]byte{}, 0, true))

	r.txnCommit("x", 7, 0, 3)
	r.settle(nil)
	r.step(TxnMarker{ProducerID: 7, Commit: false})
	require.Equal(t, int64(2), r.fetch("g", "t", 0))

	// The marker overtakes the report of the commit before it.
	r.txnCommit("y", 7, 1, 4)
	r.step(TxnMarker{ProducerID: 7, Commit: true})
	require.Equal(t, int64(-1), r.fetch("g", "t", 1))
	r.settle(nil)
	require.Equal(t, int64(4), r.fetch("g", "t", 1))
}

func TestTransactionalCommitsFollowTheirOwnRules(t *testing.T) {
	r := newRig(t, Config{})
	ids, gen := r.stable("a")
	r.txnCommit("x", 7, 0, 1)
	require.Zero(t, r.txnCommitted("x"), "KIP-447: a producer without group metadata may commit beside members")
	as := func(member string, gen int32) func(*kmsg.TxnOffsetCommitRequest) {
		return func(q *kmsg.TxnOffsetCommitRequest) { q.MemberID, q.Generation = member, gen }
	}
	r.txnCommit("x", 7, 0, 1, as(ids[0], gen))
	require.Zero(t, r.txnCommitted("x"))
	r.txnCommit("x", 7, 0, 1, as(ids[0], gen+1))
	require.Equal(t, codeIllegalGeneration, r.txnCommitted("x"))
	r.txnCommit("x", 7, 0, 1, as("nobody", gen))
	require.Equal(t, codeUnknownMemberID, r.txnCommitted("x"))
	r.txnCommit("x", 7, 0, 1, func(q *kmsg.TxnOffsetCommitRequest) { q.Group, q.Generation = "none", 3 })
	require.Equal(t, codeIllegalGeneration, r.txnCommitted("x"))
	r.txnCommit("x", 7, 0, 1, func(q *kmsg.TxnOffsetCommitRequest) { q.Version, q.Group, q.Generation = 6, "none", 3 })
	require.Equal(t, codeGroupIDNotFound, r.txnCommitted("x"), "KIP-1319")
	r.txnCommit("x", 7, 0, 1, func(q *kmsg.TxnOffsetCommitRequest) { q.Group = "" })
	require.Equal(t, codeInvalidGroupID, r.txnCommitted("x"))
}

func TestTransactionalCommitsOfStaleMembers(t *testing.T) {
	r := consumerRig(t, Config{})
	r.next("a", "a", 0)
	epoch := r.nexted("a").MemberEpoch
	as := func(version int16, epoch int32) func(*kmsg.TxnOffsetCommitRequest) {
		return func(q *kmsg.TxnOffsetCommitRequest) { q.Version, q.MemberID, q.Generation = version, "a", epoch }
	}
	r.txnCommit("x", 7, 0, 1, as(6, epoch))
	require.Zero(t, r.txnCommitted("x"))
	r.txnCommit("x", 7, 0, 1, as(6, epoch+1))
	require.Equal(t, codeStaleMemberEpoch, r.txnCommitted("x"), "KIP-1319")
	r.txnCommit("x", 7, 0, 1, as(5, epoch+1))
	require.Equal(t, codeIllegalGeneration, r.txnCommitted("x"))
}
