package metadata

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Moving a partition to other brokers (KIP-455).
//
// While a partition moves, Replicas holds where it shall be and, behind those, where it shall leave; Adding and Removing say which are
// which. The move is over as soon as every replica that is added is in the ISR: then, in one record, those to be removed leave Replicas
// and ISR, and, if the leader was one of them, another leads. So at each moment the ISR has every replica that had all acknowledged
// records before, or has been replaced by one that has them. A move that adds nobody is over at once. Cancelling it gives Replicas back
// its old members, as far as one of them is in the ISR.

// Reassignment asks to move one partition; a nil Replicas cancels the move under way.
type Reassignment struct {
	Topic     string
	Partition int32
	Replicas  []int32
}

// DecideReassignments decides on each move by itself: results has an error, or nil, for each of moves. With fixedFactor a move must
// keep the number of replicas (KIP-860).
func DecideReassignments(im *Image, rules Rules, moves []Reassignment, fixedFactor bool) (records []Record, results []*Error) {
	results = make([]*Error, len(moves))
	for i, m := range moves {
		rec, err := reassign(im, &rules, m, fixedFactor)
		if results[i] = err; err != nil || rec == nil {
			continue
		}
		next, _, aerr := im.Apply(Position{im.Offset, im.Epoch}, []Record{rec})
		if aerr != nil {
			results[i] = refuse(kerr.UnknownServerError, "%v", aerr)
			continue
		}
		im, records = next, append(records, rec) // the same partition may be named twice
	}
	return records, results
}

func reassign(im *Image, rules *Rules, m Reassignment, fixedFactor bool) (*PartitionChangeRecord, *Error) {
	t := im.Topic(m.Topic)
	if t == nil {
		return nil, refuse(kerr.UnknownTopicOrPartition, "Unable to find a topic named %s.", m.Topic)
	}
	p := im.Partition(m.Topic, m.Partition)
	if p == nil {
		return nil, refuse(kerr.UnknownTopicOrPartition, "Unable to find partition %s:%d.", m.Topic, m.Partition)
	}
	settled := without(p.Replicas, p.Adding) // where it was before a move that is under way
	if m.Replicas == nil {
		if len(p.Adding) == 0 && len(p.Removing) == 0 {
			return nil, refuse(kerr.NoReassignmentInProgress, "")
		}
		if len(intersection(p.ISR, settled)) == 0 {
			return nil, refuse(kerr.InvalidReplicaAssignment, "Unable to revert partition assignment for %s:%d because it would require an unclean leader election.", m.Topic, m.Partition)
		}
		return settle(im, rules, t, p, settled), nil
	}
	if err := checkReplicas(im, m.Replicas); err != nil {
		return nil, err
	}
	if fixedFactor && len(m.Replicas) != len(settled) {
		return nil, refuse(kerr.InvalidReplicationFactor, "The replication factor is changed from %d to %d", len(settled), len(m.Replicas))
	}
	adding, removing := without(m.Replicas, settled), without(settled, m.Replicas)
	if len(without(adding, p.ISR)) == 0 && len(intersection(p.ISR, m.Replicas)) > 0 {
		return settle(im, rules, t, p, m.Replicas), nil
	}
	rec := &PartitionChangeRecord{TopicID: t.ID, Partition: p.Index}
	rec.Replicas = slices.Concat(m.Replicas, removing)
	rec.Adding, rec.Removing = append([]int32{}, adding...), append([]int32{}, removing...)
	if slices.Equal(rec.Replicas, p.Replicas) && slices.Equal(adding, p.Adding) && slices.Equal(removing, p.Removing) {
		return nil, nil
	}
	return rec, nil
}

func checkReplicas(im *Image, replicas []int32) *Error {
	if len(replicas) == 0 {
		return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(replicas))
	for i, id := range sorted {
		if i > 0 && id == sorted[i-1] {
			return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", id)
		}
		if im.Broker(id) == nil {
			return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
	}
	return nil
}

// settle ends a move, at target; nil when the partition is there already.
func settle(im *Image, rules *Rules, t *Topic, p *Partition, target []int32) *PartitionChangeRecord {
	q := *p
	q.Replicas, q.ELR, q.LastKnownELR = target, intersection(p.ELR, target), intersection(p.LastKnownELR, target)
	e := edit(im, rules, t, &q)
	e.isr = intersection(p.ISR, target)
	rec := e.record(t.ID)
	if rec == nil {
		rec = &PartitionChangeRecord{TopicID: t.ID, Partition: p.Index}
	}
	changed := rec.Leader != nil || rec.ISR != nil || rec.ELR != nil || rec.LastKnownELR != nil || rec.Recovery != nil
	set := func(dst *[]int32, old, now []int32) {
		if *dst == nil && !slices.Equal(old, now) {
			*dst, changed = append([]int32{}, now...), true
		}
	}
	set(&rec.Replicas, p.Replicas, target)
	set(&rec.ELR, p.ELR, q.ELR)
	set(&rec.LastKnownELR, p.LastKnownELR, q.LastKnownELR)
	set(&rec.Adding, p.Adding, nil)
	set(&rec.Removing, p.Removing, nil)
	if !changed {
		return nil
	}
	return rec
}

// moved completes a move once the new ISR has all that are added; nil while it has not.
func moved(im *Image, rules *Rules, t *Topic, p *Partition, isr []int32) *PartitionChangeRecord {
	target := without(p.Replicas, p.Removing)
	if len(p.Adding) == 0 && len(p.Removing) == 0 || len(without(p.Adding, isr)) > 0 || len(intersection(isr, target)) == 0 {
		return nil
	}
	q := *p
	q.ISR = isr
	rec := settle(im, rules, t, &q, target)
	if rec != nil && rec.ISR == nil && !slices.Equal(p.ISR, isr) {
		rec.ISR = append([]int32{}, isr...)
	}
	return rec
}

// without returns the members of a that are not in b, in the order of a.
func without(a, b []int32) []int32 {
	return slices.DeleteFunc(slices.Clone(a), func(id int32) bool { return slices.Contains(b, id) })
}

// intersection returns the members of a that are in b, in the order of a.
func intersection(a, b []int32) []int32 {
	return slices.DeleteFunc(slices.Clone(a), func(id int32) bool { return !slices.Contains(b, id) })
}
