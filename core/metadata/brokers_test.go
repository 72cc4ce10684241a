package metadata

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

func TestBrokerLifecycle(t *testing.T) {
	im := apply(t, Empty(), &ClusterIDRecord{"c"}, &FeatureLevelRecord{"metadata.version", 20})
	reg := RegisterBroker{ClusterID: "c", ID: 1, IncarnationID: UUID{1}, Listeners: []Listener{{Name: "P", Host: "h", Port: 9092}}, Features: []FeatureRange{{"metadata.version", 1, 20}}, PreviousEpoch: -1}

	bad := reg
	bad.ClusterID = "d"
	_, _, err := DecideRegisterBroker(im, rules(), bad)
	require.ErrorIs(t, err, kerr.InconsistentClusterID)
	require.ErrorContains(t, err, "Expected cluster ID c, but got cluster ID d")
	bad = reg
	bad.Features = nil
	_, _, err = DecideRegisterBroker(im, rules(), bad)
	require.ErrorIs(t, err, kerr.UnsupportedVersion)
	bad = reg
	bad.Listeners = nil
	_, _, err = DecideRegisterBroker(im, rules(), bad)
	require.ErrorIs(t, err, kerr.InvalidRequest)

	records, epoch, err := DecideRegisterBroker(im, rules(), reg)
	require.NoError(t, err)
	im = apply(t, im, records...)
	require.True(t, im.Broker(1).Fenced)
	require.Equal(t, epoch, im.Broker(1).Epoch)

	// The same process may ask again; another one only when the session of the first has ended.
	records, again, err := DecideRegisterBroker(im, rules(), reg)
	require.NoError(t, err)
	require.Equal(t, epoch, again)
	im = apply(t, im, records...)
	other := reg
	other.IncarnationID, other.SessionAlive = UUID{2}, true
	_, _, err = DecideRegisterBroker(im, rules(), other)
	require.ErrorIs(t, err, kerr.DuplicateBrokerRegistration)

	_, _, err = DecideHeartbeat(im, rules(), Heartbeat{BrokerID: 1, Epoch: epoch + 1})
	require.ErrorIs(t, err, kerr.StaleBrokerEpoch)
	records, res, err := DecideHeartbeat(im, rules(), Heartbeat{BrokerID: 1, Epoch: epoch, MetadataOffset: epoch - 1})
	require.NoError(t, err)
	require.Equal(t, HeartbeatResult{Fenced: true}, res)
	require.Empty(t, records, "not caught up with its own registration")
	records, res, err = DecideHeartbeat(im, rules(), Heartbeat{BrokerID: 1, Epoch: epoch, MetadataOffset: im.Offset})
	require.NoError(t, err)
	require.Equal(t, HeartbeatResult{CaughtUp: true}, res)
	im = apply(t, im, records...)
	require.False(t, im.Broker(1).Fenced)
	records, _, err = DecideHeartbeat(im, rules(), Heartbeat{BrokerID: 1, Epoch: epoch, MetadataOffset: im.Offset})
	require.NoError(t, err)
	require.Empty(t, records)

	records, res, err = DecideHeartbeat(im, rules(), Heartbeat{BrokerID: 1, Epoch: epoch, WantShutDown: true})
	require.NoError(t, err)
	require.True(t, res.ShouldShutDown, "nobody else could lead, so it may go at once")
	im = apply(t, im, records...)
	require.True(t, im.Broker(1).Fenced)

	other.SessionAlive, other.PreviousEpoch = false, epoch
	records, next, err := DecideRegisterBroker(im, rules(), other)
	require.NoError(t, err)
	require.Greater(t, next, epoch)
	im = apply(t, im, records...)
	_, err = UnregisterBroker(im, rules(), 4)
	require.ErrorIs(t, err, kerr.BrokerIDNotRegistered)
	records, err = UnregisterBroker(im, rules(), 1)
	require.NoError(t, err)
	require.Nil(t, apply(t, im, records...).Broker(1))
}

// replicated is a cluster of three live brokers and topic "r" with one partition on all of them, led by 1.
func replicated(t testing.TB, features ...Record) *Image {
	t.Helper()
	return apply(t, cluster(t, 3, features...), &TopicRecord{"r", UUID{7}},
		&PartitionRecord{TopicID: UUID{7}, Partition: Partition{Leader: 1, Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}}})
}

var elr = &FeatureLevelRecord{FeatureELR, 1}

func fence(t testing.TB, im *Image, id int32) *Image {
	t.Helper()
	return apply(t, im, FenceBroker(im, rules(), id)...)
}

func unfence(t testing.TB, im *Image, id int32) *Image {
	t.Helper()
	records, res, err := DecideHeartbeat(im, rules(), Heartbeat{BrokerID: id, Epoch: im.Broker(id).Epoch, MetadataOffset: 1 << 40})
	require.NoError(t, err)
	require.False(t, res.Fenced)
	return apply(t, im, records...)
}

func TestFencingMovesLeadershipAndKeepsTheLastReplica(t *testing.T) {
	im := fence(t, replicated(t), 1)
	p := im.Partition("r", 0)
	require.Equal(t, int32(2), p.Leader)
	require.Equal(t, []int32{2, 3}, p.ISR)
	require.Equal(t, int32(1), p.LeaderEpoch)
	im = fence(t, im, 3)
	require.Equal(t, []int32{2}, im.Partition("r", 0).ISR)
	require.Equal(t, int32(1), im.Partition("r", 0).LeaderEpoch, "a smaller ISR is no new epoch")
	require.Equal(t, int32(2), im.Partition("r", 0).PartitionEpoch)
	im = fence(t, im, 2)
	require.Equal(t, []int32{2}, im.Partition("r", 0).ISR, "the last member stays: it alone has everything")
	require.Equal(t, NoLeader, im.Partition("r", 0).Leader)
	im = unfence(t, im, 1)
	require.Equal(t, NoLeader, im.Partition("r", 0).Leader, "a replica out of sync does not lead")
	im = unfence(t, im, 2)
	require.Equal(t, int32(2), im.Partition("r", 0).Leader)
	require.Empty(t, FenceBroker(im, rules(), 3), "already fenced")
	require.Empty(t, FenceBroker(im, rules(), 42), "not there")
}

func TestUncleanElectionOnlyWhenAllowed(t *testing.T) {
	im := replicated(t)
	v := "true"
	im = apply(t, im, &ConfigRecord{ConfigResource{TopicResource, "r"}, "unclean.leader.election.enable", &v})
	im = fence(t, fence(t, fence(t, im, 3), 2), 1)
	im = unfence(t, im, 3)
	p := im.Partition("r", 0)
	require.Equal(t, int32(3), p.Leader)
	require.Equal(t, []int32{3}, p.ISR)
	require.Equal(t, Recovering, p.Recovery)
}

func TestEligibleLeaderReplicas(t *testing.T) {
	im := replicated(t, elr)
	v := "2"
	im = apply(t, im, &ConfigRecord{ConfigResource{TopicResource, "r"}, "min.insync.replicas", &v})
	im = fence(t, im, 3)
	require.Empty(t, im.Partition("r", 0).ELR, "two are enough")
	im = fence(t, im, 2)
	require.Equal(t, []int32{2}, im.Partition("r", 0).ELR)
	im = fence(t, im, 1)
	p := im.Partition("r", 0)
	require.Empty(t, p.ISR)
	require.ElementsMatch(t, []int32{1, 2}, p.ELR)
	require.Equal(t, NoLeader, p.Leader)
	im = unfence(t, im, 3)
	require.Equal(t, NoLeader, im.Partition("r", 0).Leader)
	im = unfence(t, im, 2)
	p = im.Partition("r", 0)
	require.Equal(t, int32(2), p.Leader)
	require.Equal(t, []int32{2}, p.ISR)
	require.Equal(t, []int32{1}, p.ELR)

	// A broker that comes back after an unclean shutdown may have lost what made it eligible.
	reg := RegisterBroker{ID: 1, IncarnationID: UUID{77}, Listeners: []Listener{{Name: "P"}}, Features: []FeatureRange{{FeatureELR, 0, 1}}, PreviousEpoch: -1}
	records, _, err := DecideRegisterBroker(im, rules(), reg)
	require.NoError(t, err)
	im = apply(t, im, records...)
	require.Empty(t, im.Partition("r", 0).ELR)

	// A new minimum makes the old ELR meaningless.
	im = replicated(t, elr)
	im = apply(t, im, &ConfigRecord{ConfigResource{TopicResource, "r"}, "min.insync.replicas", &v})
	im = fence(t, fence(t, im, 3), 2)
	require.NotEmpty(t, im.Partition("r", 0).ELR)
	records, res := IncrementalAlterConfigs(im, rules(), []AlterConfig{{ConfigResource{TopicResource, "r"}, []ConfigOp{{"min.insync.replicas", str("1"), OpSet}}}})
	require.Nil(t, res[0].Err)
	require.Empty(t, apply(t, im, records...).Partition("r", 0).ELR)
	_, res = IncrementalAlterConfigs(im, rules(), []AlterConfig{{ConfigResource{BrokerResource, "1"}, []ConfigOp{{"min.insync.replicas", str("1"), OpSet}}}})
	requireRefused(t, res[0].Err, kerr.InvalidConfig, "Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
}

func TestTheOnlyReplicaComesBackAfterAnUncleanShutdown(t *testing.T) {
	for _, features := range [][]Record{nil, {elr}} {
		im := cluster(t, 1, features...)
		reg := RegisterBroker{ID: 1, IncarnationID: UUID{77}, Listeners: []Listener{{Name: "P"}}, Features: []FeatureRange{{FeatureELR, 0, 1}}, PreviousEpoch: -1}
		records, _, err := DecideRegisterBroker(im, rules(), reg)
		require.NoError(t, err)
		im = apply(t, im, records...)
		require.Equal(t, NoLeader, im.Partition("t", 0).Leader)
		im = unfence(t, im, 1)
		require.Equal(t, int32(1), im.Partition("t", 0).Leader)
		require.Equal(t, []int32{1}, im.Partition("t", 0).ISR)
		require.Equal(t, int32(2), im.Partition("t", 0).LeaderEpoch)
	}
}

func TestControlledShutdownHandsLeadershipOver(t *testing.T) {
	im := replicated(t)
	epoch := im.Broker(1).Epoch
	records, res, err := DecideHeartbeat(im, rules(), Heartbeat{BrokerID: 1, Epoch: epoch, WantShutDown: true})
	require.NoError(t, err)
	require.False(t, res.ShouldShutDown)
	im = apply(t, im, records...)
	require.True(t, im.Broker(1).InControlledShutdown)
	require.Equal(t, int32(2), im.Partition("r", 0).Leader)
	_, res, err = DecideHeartbeat(im, rules(), Heartbeat{BrokerID: 1, Epoch: epoch, WantShutDown: true})
	require.NoError(t, err)
	require.False(t, res.ShouldShutDown, "others have not seen it yet")
	records, res, err = DecideHeartbeat(im, rules(), Heartbeat{BrokerID: 1, Epoch: epoch, WantShutDown: true, OthersCaughtUp: true})
	require.NoError(t, err)
	require.True(t, res.ShouldShutDown)
	require.True(t, apply(t, im, records...).Broker(1).Fenced)
}

func TestAlterPartition(t *testing.T) {
	im := fence(t, replicated(t), 3) // ISR 1, 2; partition epoch 1
	ask := func(f func(*AlterPartition)) AlterPartitionResult {
		t.Helper()
		a := AlterPartition{TopicID: UUID{7}, LeaderEpoch: 0, PartitionEpoch: 1, NewISR: []ISRMember{{1, 101}, {2, 102}}}
		f(&a)
		_, res, err := DecideAlterPartition(im, rules(), 1, 101, []AlterPartition{a})
		require.NoError(t, err)
		return res[0]
	}
	for _, c := range []struct {
		f    func(*AlterPartition)
		want *kerr.Error
	}{
		{func(a *AlterPartition) { a.TopicID = UUID{1} }, kerr.UnknownTopicID},
		{func(a *AlterPartition) { a.Partition = 1 }, kerr.UnknownTopicOrPartition},
		{func(a *AlterPartition) { a.LeaderEpoch = 1 }, kerr.NotController},
		{func(a *AlterPartition) { a.PartitionEpoch = 2 }, kerr.NotController},
		{func(a *AlterPartition) { a.LeaderEpoch = -1 }, kerr.FencedLeaderEpoch},
		{func(a *AlterPartition) { a.PartitionEpoch = 0 }, kerr.InvalidUpdateVersion},
		{func(a *AlterPartition) { a.NewISR = []ISRMember{{2, 102}} }, kerr.InvalidRequest},
		{func(a *AlterPartition) { a.NewISR = []ISRMember{{1, 101}, {1, 101}} }, kerr.InvalidRequest},
		{func(a *AlterPartition) { a.NewISR = []ISRMember{{1, 101}, {9, 1}} }, kerr.InvalidRequest},
		{func(a *AlterPartition) { a.Recovery = Recovering }, kerr.InvalidRequest},
		{func(a *AlterPartition) { a.NewISR = append(a.NewISR, ISRMember{3, 103}) }, kerr.IneligibleReplica},
		{func(a *AlterPartition) { a.NewISR[1].BrokerEpoch = 99 }, kerr.IneligibleReplica},
	} {
		require.Equal(t, c.want.Code, ask(c.f).ErrorCode, "%v", c.want)
	}
	_, _, err := DecideAlterPartition(im, rules(), 1, 7, nil)
	require.ErrorIs(t, err, kerr.StaleBrokerEpoch)

	records, res, err := DecideAlterPartition(im, rules(), 1, 101, []AlterPartition{{TopicID: UUID{7}, PartitionEpoch: 1, NewISR: []ISRMember{{1, 101}}}})
	require.NoError(t, err)
	require.Zero(t, res[0].ErrorCode)
	im = apply(t, im, records...)
	require.Equal(t, *im.Partition("r", 0), res[0].State)
	require.Equal(t, []int32{1}, res[0].State.ISR)
	require.Equal(t, int32(2), res[0].State.PartitionEpoch)
}

// TestElectionsNeverLoseData drives a replicated partition through random failures. It keeps, beside the image, which
// replicas really have everything that was acknowledged, and holds that every clean leader does.
func TestElectionsNeverLoseData(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 5))
		withELR := seed%2 == 0
		var features []Record
		if withELR {
			features = []Record{elr}
		}
		im := replicated(t, features...)
		minISR := 1 + rng.IntN(2)
		v := string(rune('0' + minISR))
		im = apply(t, im, &ConfigRecord{ConfigResource{TopicResource, "r"}, "min.insync.replicas", &v})
		has := map[int32]bool{1: true, 2: true, 3: true} // has all acknowledged records
		for range 60 {
			id := 1 + rng.Int32N(3)
			p := *im.Partition("r", 0)
			switch rng.IntN(4) {
			case 0:
				im = fence(t, im, id)
			case 1:
				if im.Broker(id).Fenced {
					im = unfence(t, im, id)
				}
			case 2: // the leader takes a record and acknowledges it when the ISR is large enough
				if p.Leader != NoLeader && (len(p.ISR) >= minISR) {
					has = map[int32]bool{}
					for _, r := range p.ISR {
						has[r] = true
					}
				}
			case 3: // the leader changes the ISR; a member that joins has caught up
				if p.Leader == NoLeader {
					continue
				}
				a := AlterPartition{TopicID: UUID{7}, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch, NewISR: []ISRMember{{p.Leader, -1}}}
				for _, r := range p.Replicas {
					if r != p.Leader && rng.IntN(2) == 0 {
						a.NewISR = append(a.NewISR, ISRMember{r, -1})
					}
				}
				records, res, err := DecideAlterPartition(im, rules(), p.Leader, im.Broker(p.Leader).Epoch, []AlterPartition{a})
				require.NoError(t, err)
				if res[0].ErrorCode == 0 {
					for _, m := range a.NewISR {
						has[m.BrokerID] = has[m.BrokerID] || has[p.Leader]
					}
				}
				im = apply(t, im, records...)
			}
			q := im.Partition("r", 0)
			if q.Leader != NoLeader {
				require.True(t, has[q.Leader], "seed %d: %+v leads without all data", seed, q)
				require.Contains(t, q.ISR, q.Leader, "seed %d", seed)
				require.True(t, im.Broker(q.Leader).EligibleForISR(), "seed %d", seed)
			}
			if !withELR {
				require.NotEmpty(t, q.ISR, "seed %d", seed)
			}
			require.GreaterOrEqual(t, q.PartitionEpoch, p.PartitionEpoch)
			require.Equal(t, q.Leader != p.Leader, q.LeaderEpoch != p.LeaderEpoch, "seed %d", seed)
			for _, r := range append(slices.Clone(q.ISR), q.ELR...) {
				require.Contains(t, q.Replicas, r)
				require.False(t, slices.Contains(q.ISR, r) && slices.Contains(q.ELR, r), "seed %d: %d is in ISR and ELR", seed, r)
			}
		}
	}
}

func TestOfflineReplicasLeadNothingUntilTheyAreReportedBack(t *testing.T) {
	report := func(im *Image, id int32, parts ...int32) *Image {
		t.Helper()
		r := OfflineReplicas{BrokerID: id, Epoch: im.Broker(id).Epoch, Partitions: map[UUID][]int32{im.Topic("r").ID: parts, {99}: {0, 7}}}
		records, err := DecideOfflineReplicas(im, rules(), r)
		require.NoError(t, err)
		if len(records) > 0 {
			im = apply(t, im, records...)
		}
		again, err := DecideOfflineReplicas(im, rules(), r)
		require.NoError(t, err)
		require.Empty(t, again, "said once")
		return im
	}
	for _, features := range [][]Record{nil, {elr}} {
		im := replicated(t, features...)
		require.Equal(t, int32(1), im.Partition("r", 0).Leader)
		im = report(im, 1, 0)
		p := im.Partition("r", 0)
		require.Equal(t, []int32{1}, p.Offline)
		require.Equal(t, int32(2), p.Leader, "another replica leads")
		require.Equal(t, []int32{2, 3}, p.ISR)
		require.Equal(t, int32(1), im.Partition("t", 0).Leader, "its other partitions are not concerned")

		// It does not come into the ISR, and nobody elects it, also not when the broker is fenced and comes back.
		_, res, err := DecideAlterPartition(im, rules(), 2, im.Broker(2).Epoch, []AlterPartition{{TopicID: im.Topic("r").ID, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch, NewISR: []ISRMember{{2, -1}, {3, -1}, {1, -1}}}})
		require.NoError(t, err)
		require.Equal(t, kerr.IneligibleReplica.Code, res[0].ErrorCode)
		im = fence(t, fence(t, im, 3), 2)
		require.Equal(t, NoLeader, im.Partition("r", 0).Leader)
		im = unfence(t, fence(t, im, 1), 1)
		require.Equal(t, NoLeader, im.Partition("r", 0).Leader)
		require.Equal(t, int32(1), im.Partition("t", 0).Leader)

		// A snapshot holds it.
		again := apply(t, Empty(), im.Records()...)
		require.Equal(t, im.Partition("r", 0), again.Partition("r", 0))

		im = report(unfence(t, im, 2), 1)
		require.Empty(t, im.Partition("r", 0).Offline)
		require.Equal(t, int32(2), im.Partition("r", 0).Leader)
	}
	im := cluster(t, 1, elr)
	r := OfflineReplicas{BrokerID: 1, Epoch: im.Broker(1).Epoch, Partitions: map[UUID][]int32{{9}: {0}}}
	records, err := DecideOfflineReplicas(im, rules(), r)
	require.NoError(t, err)
	im = apply(t, im, records...)
	p := im.Partition("t", 0)
	require.Equal(t, NoLeader, p.Leader)
	require.Empty(t, p.ISR)
	require.Equal(t, []int32{1}, p.ELR)
	require.Equal(t, []int32{1}, p.LastKnownELR)
	r.Partitions = nil
	records, err = DecideOfflineReplicas(im, rules(), r)
	require.NoError(t, err)
	im = apply(t, im, records...)
	require.Equal(t, int32(1), im.Partition("t", 0).Leader, "the leader returns without a new registration")
	require.Equal(t, []int32{1}, im.Partition("t", 0).ISR)
	r.Epoch++
	_, err = DecideOfflineReplicas(im, rules(), r)
	require.ErrorIs(t, err, kerr.StaleBrokerEpoch)
}

// TestMinInSyncReplicasIsTheClustersWhileELRIsOn holds what a Kafka 4.3.1 controller answered, with KIP-966 on, off and on again.
func TestMinInSyncReplicasIsTheClustersWhileELRIsOn(t *testing.T) {
	const stays = "Cluster-level min.insync.replicas cannot be removed while ELR is enabled."
	r := rules()
	r.Configs = TableRules{Static: map[string]string{"min.insync.replicas": "2"}}
	all, one := ConfigResource{BrokerResource, ""}, ConfigResource{BrokerResource, "1"}
	im := apply(t, Empty(), elr)
	records, _, err := DecideRegisterBroker(im, r, RegisterBroker{ID: 1, IncarnationID: UUID{1}, Listeners: []Listener{{Name: "P"}}, Features: []FeatureRange{{FeatureELR, 0, 1}}})
	require.NoError(t, err)
	im = apply(t, im, records...)
	require.Equal(t, map[string]string{"min.insync.replicas": "2"}, im.Config(all), "what the file says")
	replace := func(res ConfigResource, kv ...string) *Error {
		t.Helper()
		records, results := AlterConfigs(im, r, []ReplaceConfig{{res, set(kv...)}})
		if results[0].Err == nil {
			im = apply(t, im, records...)
		}
		return results[0].Err
	}
	requireRefused(t, replace(all, "log.retention.ms", "100000"), kerr.InvalidConfig, stays)
	requireRefused(t, replace(all), kerr.InvalidConfig, stays)
	require.Nil(t, replace(all, "log.retention.ms", "100000", "min.insync.replicas", "3"))
	_, res := IncrementalAlterConfigs(im, r, []AlterConfig{{all, []ConfigOp{{"min.insync.replicas", nil, OpDelete}}}})
	requireRefused(t, res[0].Err, kerr.InvalidConfig, stays)
	_, res = IncrementalAlterConfigs(im, r, []AlterConfig{{all, []ConfigOp{{"log.retention.ms", nil, OpDelete}}}})
	require.Nil(t, res[0].Err)
	requireRefused(t, replace(one, "min.insync.replicas", "1"), kerr.InvalidConfig, "Broker-level min.insync.replicas cannot be altered while ELR is enabled.")

	level := func(n int16, kind UpgradeType) {
		t.Helper()
		records, err := DecideFeatures(im, r, 1, []FeatureRange{{FeatureELR, 0, 1}}, []FeatureUpdate{{FeatureELR, n, kind}})
		require.NoError(t, err)
		im = apply(t, im, records...)
	}
	level(0, SafeDowngrade)
	require.Nil(t, replace(all, "log.retention.ms", "100000"))
	require.Nil(t, replace(one, "min.insync.replicas", "3"))
	level(1, Upgrade)
	require.Equal(t, map[string]string{"log.retention.ms": "100000", "min.insync.replicas": "2"}, im.Config(all))
	require.Empty(t, im.Config(one))
}
