package metadata

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

// place chooses replicas for n new partitions. Goals, in this order: no two replicas of a partition on
// one broker; the first replica (the preferred leader) on a live broker; replicas of a partition on
// as many racks as there are; fenced brokers only where live ones do not suffice; leaders and
// replicas evenly spread.
//
// Brokers are laid out in one ring, live ones first, alternating between the racks. Partition i takes
// its leader at ring position start+i among the live ones, its followers behind it with a shift that
// grows each time the ring was gone round, so that the load of a failed broker falls on many others.
func place(im *Image, rules *Rules, n, factor int) ([][]int32, *Error) {
	if factor > len(im.brokers) {
		return nil, refuse(kerr.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): The target replication factor of %d cannot be reached because only %d broker(s) are registered or some brokers have all their log directories cordoned.", factor, factor, len(im.brokers))
	}
	live := ring(im, func(b *Broker) bool { return !b.Fenced })
	fenced := ring(im, func(b *Broker) bool { return b.Fenced })
	if len(live) == 0 {
		return nil, refuse(kerr.InvalidReplicationFactor, "Unable to replicate the partition %d time(s): All brokers are currently fenced.", factor)
	}
	start := rules.random(len(live))
	shift := rules.random(len(live))
	out := make([][]int32, n)
	for i := range out {
		if i > 0 && i%len(live) == 0 {
			shift++
		}
		out[i] = choose(live, fenced, start+i, shift, factor)
	}
	return out, nil
}

func choose(live, fenced []*Broker, start, shift, factor int) []int32 {
	leader := live[start%len(live)]
	picked := []int32{leader.ID}
	racks := map[string]bool{leader.Rack: true}
	// Two passes over the candidates: first brokers on racks not used yet, then any.
	var rest []*Broker
	for i := range len(live) - 1 {
		rest = append(rest, live[(start+1+(i+shift)%(len(live)-1))%len(live)])
	}
	rest = append(rest, fenced...)
	for pass := range 2 {
		for _, b := range rest {
			if len(picked) == factor {
				return picked
			}
			if slices.Contains(picked, b.ID) || pass == 0 && (b.Fenced || racks[b.Rack]) {
				continue
			}
			picked = append(picked, b.ID)
			racks[b.Rack] = true
		}
	}
	return picked
}

// ring lays the brokers out so that neighbours are on different racks where possible.
func ring(im *Image, want func(*Broker) bool) []*Broker {
	byRack := map[string][]*Broker{}
	var racks []string
	total := 0
	for _, b := range im.Brokers() {
		if !want(b) {
			continue
		}
		if byRack[b.Rack] == nil {
			racks = append(racks, b.Rack)
		}
		byRack[b.Rack] = append(byRack[b.Rack], b)
		total++
	}
	slices.Sort(racks)
	out := make([]*Broker, 0, total)
	for i := 0; len(out) < total; i++ {
		for _, r := range racks {
			if i < len(byRack[r]) {
				out = append(out, byRack[r][i])
			}
		}
	}
	return out
}

// manualPlacement checks the assignments of a new topic and returns them in the order of the partitions.
func manualPlacement(im *Image, t CreateTopic) ([][]int32, *Error) {
	if t.ReplicationFactor != -1 {
		return nil, refuse(kerr.InvalidRequest, "A manual partition assignment was specified, but replication factor was not set to -1.")
	}
	if t.NumPartitions != -1 {
		return nil, refuse(kerr.InvalidRequest, "A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	seen := map[int32]bool{}
	factor := -1
	for _, a := range t.Assignments {
		if seen[a.Partition] {
			return nil, refuse(kerr.InvalidReplicaAssignment, "Found multiple manual partition assignments for partition %d", a.Partition)
		}
		seen[a.Partition] = true
		if err := validateAssignment(im, a.Replicas, factor); err != nil {
			return nil, err
		}
		factor = len(a.Replicas)
	}
	out := make([][]int32, len(t.Assignments))
	for _, a := range t.Assignments {
		if a.Partition < 0 || int(a.Partition) >= len(out) {
			return nil, refuse(kerr.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence")
		}
		out[a.Partition] = a.Replicas
	}
	return out, nil
}

// validateAssignment judges the replicas of one partition; factor is the number that earlier partitions
// have, or -1.
func validateAssignment(im *Image, replicas []int32, factor int) *Error {
	if len(replicas) == 0 {
		return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(replicas))
	for i, id := range sorted {
		if im.brokers[id] == nil {
			return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes broker %d, but no such broker is registered.", id)
		}
		if i > 0 && sorted[i-1] == id {
			return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes the broker %d more than once.", id)
		}
	}
	if factor != -1 && len(replicas) != factor {
		return refuse(kerr.InvalidReplicaAssignment, "The manual partition assignment includes a partition with %d replica(s), but this is not consistent with previous partitions, which have %d replica(s).", len(replicas), factor)
	}
	return nil
}

func joinKeys(keys []string) string { return strings.Join(keys, ",") }
