package metadata

import (
	"slices"
)

// partitionEdit computes the next state of a partition from what shall become of its ISR. The rules
// (Kafka's, with KIP-966 when elr is on):
//
//   - The leader stays if it is in the new ISR and may lead. Otherwise the first live replica, in
//     replica order, that is in the ISR leads; failing that one of the ELR; failing that, when ISR
//     and ELR are empty, the last known leader; failing that, if unclean elections are allowed, any
//     live replica, which then is the whole ISR and RECOVERING.
//   - Without KIP-966 the ISR is never emptied: the last member stays in it, leaderless, since it alone
//     has all the data. With KIP-966 it may be empty, the ELR then says who has all the data.
//   - Replicas that leave the ISR while it has fewer than min.insync.replicas members go to the ELR,
//     unless they shut down uncleanly. The ELR is cleared when the ISR is large enough again.
type partitionEdit struct {
	p       *Partition
	isr     []int32             // the new ISR
	live    func(int32) bool    // may this broker lead
	minISR  int                 // min.insync.replicas
	elr     bool                // KIP-966 is on
	unclean bool                // unclean.leader.election.enable
	lost    func(id int32) bool // shut down uncleanly; nil for none
}

// record returns the change, nil when there is none.
func (e *partitionEdit) record(topic UUID) *PartitionChangeRecord {
	p := e.p
	isr, elr, known := e.isr, p.ELR, p.LastKnownELR
	if e.elr {
		elr, known = e.eligible()
	}
	leader, unclean := e.elect(isr, elr, known)
	recovery := p.Recovery
	if unclean {
		isr, elr, known = []int32{leader}, nil, nil
		recovery = Recovering
	} else if leader != NoLeader && !slices.Contains(isr, leader) {
		// Elected from the ELR or as last known leader: it has everything, so it is in sync with itself.
		isr = append(slices.Clone(isr), leader)
		elr = slices.DeleteFunc(slices.Clone(elr), func(id int32) bool { return id == leader })
		known = nil
	}
	if len(isr) == 0 && !e.elr {
		isr = p.ISR
	}
	if e.elr {
		if len(isr) == 0 && p.Leader != NoLeader && leader == NoLeader {
			known = []int32{p.Leader}
		} else if leader != NoLeader {
			known = nil
		}
	}
	rec := &PartitionChangeRecord{TopicID: topic, Partition: p.Index}
	changed := false
	set := func(dst *[]int32, old, now []int32) {
		if !slices.Equal(old, now) {
			*dst, changed = append([]int32{}, now...), true
		}
	}
	set(&rec.ISR, p.ISR, isr)
	set(&rec.ELR, p.ELR, elr)
	set(&rec.LastKnownELR, p.LastKnownELR, known)
	if leader != p.Leader {
		rec.Leader, changed = &leader, true
	}
	if recovery != p.Recovery {
		rec.Recovery, changed = &recovery, true
	}
	if !changed {
		return nil
	}
	return rec
}

// eligible computes ELR and last known ELR that go with the new ISR.
func (e *partitionEdit) eligible() (elr, known []int32) {
	if len(e.isr) >= min(e.minISR, len(e.p.Replicas)) {
		return nil, nil
	}
	add := func(dst []int32, ids []int32, ok func(int32) bool) []int32 {
		for _, id := range ids {
			if ok(id) && !slices.Contains(dst, id) {
				dst = append(dst, id)
			}
		}
		return dst
	}
	kept := func(id int32) bool { return !slices.Contains(e.isr, id) && (e.lost == nil || !e.lost(id)) }
	elr = add(nil, e.p.ELR, kept)
	elr = add(elr, e.p.ISR, kept)
	out := func(id int32) bool { return !slices.Contains(e.isr, id) && !slices.Contains(elr, id) }
	known = add(nil, e.p.LastKnownELR, out)
	known = add(known, e.p.ELR, out)
	known = add(known, e.p.ISR, out)
	return elr, known
}

func (e *partitionEdit) elect(isr, elr, known []int32) (leader int32, unclean bool) {
	p := e.p
	if slices.Contains(isr, p.Leader) && e.live(p.Leader) {
		return p.Leader, false
	}
	for _, from := range [][]int32{isr, elr} {
		for _, id := range p.Replicas {
			if slices.Contains(from, id) && e.live(id) {
				return id, false
			}
		}
	}
	if e.elr && len(isr) == 0 && len(elr) == 0 && len(known) == 1 && len(p.LastKnownELR) == 1 && e.live(known[0]) {
		return known[0], false
	}
	if e.unclean {
		for _, id := range p.Replicas {
			if e.live(id) {
				return id, true
			}
		}
	}
	return NoLeader, false
}

// edit prepares an edit of the partition in which everything stays as it is.
func edit(im *Image, rules *Rules, t *Topic, p *Partition) partitionEdit {
	return partitionEdit{
		p: p, isr: p.ISR,
		live:   func(id int32) bool { return im.brokers[id].canLead(p) },
		minISR: rules.minISR(im, t.Name), elr: elrEnabled(im), unclean: rules.uncleanElection(im, t.Name),
	}
}

// leaveISR takes the broker out of every ISR (and ELR, when its end was unclean) and elects leaders
// where it led.
func leaveISR(im *Image, rules *Rules, id int32, unclean bool) []Record {
	var records []Record
	for _, t := range im.Topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if p.Leader != id && !slices.Contains(p.ISR, id) && !(unclean && slices.Contains(p.ELR, id)) {
				continue
			}
			e := edit(im, rules, t, p)
			e.isr = slices.DeleteFunc(slices.Clone(p.ISR), func(x int32) bool { return x == id })
			live := e.live
			e.live = func(x int32) bool { return x != id && live(x) }
			if unclean {
				e.lost = func(x int32) bool { return x == id }
			}
			if rec := e.record(t.ID); rec != nil {
				records = append(records, rec)
			}
		}
	}
	return records
}

// joinAsLeader elects the broker, which has just been unfenced, where there is no leader and it may lead.
func joinAsLeader(im *Image, rules *Rules, id int32) []Record {
	var records []Record
	for _, t := range im.Topics() {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			if p.Leader != NoLeader || !slices.Contains(p.Replicas, id) {
				continue
			}
			e := edit(im, rules, t, p)
			live := e.live
			e.live = func(x int32) bool { return x == id && !slices.Contains(p.Offline, id) || live(x) }
			if rec := e.record(t.ID); rec != nil {
				records = append(records, rec)
			}
		}
	}
	return records
}
