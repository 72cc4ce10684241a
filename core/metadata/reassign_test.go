package metadata

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

// move moves partition 0 of t; to nowhere, it cancels the move under way.
func move(t testing.TB, im *Image, replicas ...int32) *Image {
	t.Helper()
	records, results := DecideReassignments(im, rules(), []Reassignment{{"t", 0, replicas}}, false)
	require.Nil(t, results[0])
	return apply(t, im, records...)
}

// The codes and texts are what Apache Kafka 4.3.1 answered.
func TestMovesAreRefusedAsKafkaDoes(t *testing.T) {
	im := cluster(t, 1)
	for _, c := range []struct {
		move Reassignment
		code *kerr.Error
		text string
	}{
		{Reassignment{"nosuch", 0, []int32{1}}, kerr.UnknownTopicOrPartition, "Unable to find a topic named nosuch."},
		{Reassignment{"t", 9, []int32{1}}, kerr.UnknownTopicOrPartition, "Unable to find partition t:9."},
		{Reassignment{"t", 0, []int32{77}}, kerr.InvalidReplicaAssignment, "The manual partition assignment includes broker 77, but no such broker is registered."},
		{Reassignment{"t", 0, []int32{-1}}, kerr.InvalidReplicaAssignment, "The manual partition assignment includes broker -1, but no such broker is registered."},
		{Reassignment{"t", 0, []int32{}}, kerr.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list."},
		{Reassignment{"t", 0, []int32{1, 1}}, kerr.InvalidReplicaAssignment, "The manual partition assignment includes the broker 1 more than once."},
		{Reassignment{"t", 0, nil}, kerr.NoReassignmentInProgress, ""},
	} {
		records, results := DecideReassignments(im, rules(), []Reassignment{c.move, {"t", 0, []int32{1}}}, false)
		requireRefused(t, results[0], c.code, c.text)
		require.Nil(t, results[1], "the others are decided by themselves; being there already is no error")
		require.Empty(t, records)
	}
	_, results := DecideReassignments(cluster(t, 2), rules(), []Reassignment{{"t", 0, []int32{1, 2}}}, true)
	requireRefused(t, results[0], kerr.InvalidReplicationFactor, "The replication factor is changed from 1 to 2")
}

func TestAMoveEndsWhenAllNewReplicasAreInSync(t *testing.T) {
	im := move(t, cluster(t, 3), 2, 3)
	p := im.Partition("t", 0)
	require.Equal(t, []int32{2, 3, 1}, p.Replicas)
	require.Equal(t, []int32{2, 3}, p.Adding)
	require.Equal(t, []int32{1}, p.Removing)
	require.Equal(t, int32(1), p.Leader)
	grow := func(isr ...int32) *Partition {
		p := im.Partition("t", 0)
		a := AlterPartition{TopicID: UUID{9}, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
		for _, id := range isr {
			a.NewISR = append(a.NewISR, ISRMember{id, -1})
		}
		records, results, err := DecideAlterPartition(im, rules(), 1, 101, []AlterPartition{a})
		require.NoError(t, err)
		require.Contains(t, []int16{0, kerr.NewLeaderElected.Code}, results[0].ErrorCode)
		im = apply(t, im, records...)
		return im.Partition("t", 0)
	}
	p = grow(1, 2)
	require.Equal(t, []int32{2, 3}, p.Adding, "one is still missing")
	require.Equal(t, []int32{1, 2}, p.ISR)
	epoch := p.LeaderEpoch
	p = grow(1, 2, 3)
	require.Equal(t, []int32{2, 3}, p.Replicas)
	require.ElementsMatch(t, []int32{2, 3}, p.ISR)
	require.Empty(t, p.Adding)
	require.Empty(t, p.Removing)
	require.Equal(t, int32(2), p.Leader)
	require.Greater(t, p.LeaderEpoch, epoch)
}

func TestAMoveIsCancelled(t *testing.T) {
	im := cluster(t, 3)
	was := *im.Partition("t", 0)
	im = move(t, move(t, im, 2), 3, 1) // a second move takes the place of the first
	require.Equal(t, []int32{3, 1}, im.Partition("t", 0).Replicas)
	require.Equal(t, []int32{3}, im.Partition("t", 0).Adding)
	require.Empty(t, im.Partition("t", 0).Removing)
	im = move(t, im)
	now := *im.Partition("t", 0)
	require.Equal(t, was.Replicas, now.Replicas)
	require.Equal(t, was.ISR, now.ISR)
	require.Empty(t, now.Adding)
	require.Equal(t, was.Leader, now.Leader)
}

func TestAMoveThatAddsNobodyIsOverAtOnce(t *testing.T) {
	im := cluster(t, 3)
	im = apply(t, im, &PartitionChangeRecord{TopicID: UUID{9}, Partition: 0, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}})
	im = move(t, im, 3, 2)
	p := im.Partition("t", 0)
	require.Equal(t, []int32{3, 2}, p.Replicas)
	require.Equal(t, []int32{2}, p.ISR)
	require.Equal(t, int32(2), p.Leader, "the first that is in sync")
	require.Empty(t, p.Removing)
}
