package metadata

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// AlterPartition is a leader's proposal of a new ISR for one partition (KIP-497). PartitionEpoch is the
// compare-and-set token.
type AlterPartition struct {
	TopicID        UUID
	Partition      int32
	LeaderEpoch    int32
	PartitionEpoch int32
	NewISR         []ISRMember
	Recovery       LeaderRecovery
}

// ISRMember is a member of a proposed ISR with the broker epoch under which the leader knows it; -1 is
// not checked (KIP-903).
type ISRMember struct {
	BrokerID    int32
	BrokerEpoch int64
}

// AlterPartitionResult is the answer for one partition: an error code, or the state after the change.
type AlterPartitionResult struct {
	TopicID   UUID
	Partition int32
	ErrorCode int16
	State     Partition
}

// DecideAlterPartition decides on an AlterPartition request of the broker. An error refuses the whole
// request.
func DecideAlterPartition(im *Image, rules Rules, brokerID int32, brokerEpoch int64, parts []AlterPartition) ([]Record, []AlterPartitionResult, error) {
	if err := checkBrokerEpoch(im, brokerID, brokerEpoch); err != nil {
		return nil, nil, err
	}
	var records []Record
	results := make([]AlterPartitionResult, 0, len(parts))
	type key struct {
		id UUID
		p  int32
	}
	seen := map[key]bool{}
	for _, a := range parts {
		res := AlterPartitionResult{TopicID: a.TopicID, Partition: a.Partition}
		k := key{a.TopicID, a.Partition}
		var rec *PartitionChangeRecord
		var kerror *kerr.Error
		if seen[k] {
			kerror = kerr.InvalidRequest
		} else {
			rec, kerror = alterPartition(im, &rules, brokerID, a)
		}
		seen[k] = true
		if kerror != nil {
			res.ErrorCode = kerror.Code
			results = append(results, res)
			continue
		}
		t := im.TopicByID(a.TopicID)
		res.State = t.Partitions[a.Partition]
		if rec != nil {
			records = append(records, rec)
			next, _, err := im.Apply(Position{im.Offset, im.Epoch}, []Record{rec})
			if err != nil {
				return nil, nil, err
			}
			res.State = next.TopicByID(a.TopicID).Partitions[a.Partition]
			if rec.Leader != nil && *rec.Leader != brokerID {
				res.ErrorCode = kerr.NewLeaderElected.Code
			}
		}
		results = append(results, res)
	}
	return records, results, nil
}

func alterPartition(im *Image, rules *Rules, brokerID int32, a AlterPartition) (*PartitionChangeRecord, *kerr.Error) {
	t := im.TopicByID(a.TopicID)
	if t == nil {
		return nil, kerr.UnknownTopicID
	}
	if a.Partition < 0 || int(a.Partition) >= len(t.Partitions) {
		return nil, kerr.UnknownTopicOrPartition
	}
	p := &t.Partitions[a.Partition]
	// A newer epoch than ours means that we are not the controller any more.
	switch {
	case a.LeaderEpoch > p.LeaderEpoch || a.PartitionEpoch > p.PartitionEpoch:
		return nil, kerr.NotController
	case a.LeaderEpoch < p.LeaderEpoch:
		return nil, kerr.FencedLeaderEpoch
	case brokerID != p.Leader:
		return nil, kerr.InvalidRequest
	case a.PartitionEpoch < p.PartitionEpoch:
		return nil, kerr.InvalidUpdateVersion
	}
	isr := make([]int32, len(a.NewISR))
	for i, m := range a.NewISR {
		isr[i] = m.BrokerID
		if slices.Contains(isr[:i], m.BrokerID) || !slices.Contains(p.Replicas, m.BrokerID) {
			return nil, kerr.InvalidRequest
		}
	}
	if !slices.Contains(isr, p.Leader) {
		return nil, kerr.InvalidRequest
	}
	if a.Recovery == Recovering && len(isr) > 1 {
		return nil, kerr.InvalidRequest
	}
	if p.Recovery == Recovered && a.Recovery == Recovering {
		return nil, kerr.InvalidRequest
	}
	for _, m := range a.NewISR {
		b := im.brokers[m.BrokerID]
		if !b.canLead(p) || m.BrokerEpoch != -1 && m.BrokerEpoch != b.Epoch {
			return nil, kerr.IneligibleReplica
		}
	}
	e := edit(im, rules, t, p)
	e.isr = isr
	rec := e.record(t.ID)
	if done := moved(im, rules, t, p, isr); done != nil {
		rec = done
	}
	if a.Recovery != p.Recovery {
		if rec == nil {
			rec = &PartitionChangeRecord{TopicID: t.ID, Partition: p.Index}
		}
		rec.Recovery = &a.Recovery
	}
	return rec, nil
}
