package group

import (
	"maps"
	"math"
	"slices"

	"github.com/moldau-io/moldau/core/javahash"
)

// metadataRefreshMs is how long a group does not look at the metadata of its topics unless it is told that
// they changed.
const metadataRefreshMs = math.MaxInt32

// bumped is the outcome of a look at the group's subscriptions and topics.
type bumped struct {
	epoch       int32
	homogeneous bool
}

// refreshMetadata looks whether the topics of the group are what they were, and begins a new group epoch if
// they are not, or if force says that the subscriptions changed. old becomes m.
func (s *Shard) refreshMetadata(g *consumerGroup, force bool, old, m *consumerMember, recs *[]consumerRecord) bumped {
	topics, regexes := maps.Clone(g.topics), g.regexes
	for _, t := range old.topics {
		bumpTopic(topics, t, -1, 0)
	}
	for _, t := range m.topics {
		bumpTopic(topics, t, 1, 0)
	}
	if was, is := old.subscribedRegex(), m.subscribedRegex(); was != is {
		regexes = maps.Clone(regexes)
		if was != "" {
			bump(regexes, was, -1)
			if x := g.resolved[was]; x != nil && g.regexes[was] == 1 {
				for _, t := range x.topics {
					bumpTopic(topics, t, 0, -1)
				}
			}
		}
		if is != "" {
			bump(regexes, is, 1)
		}
	}
	n := len(g.members)
	if g.members[m.id] == nil && g.static(m.instance) == nil {
		n++
	}
	out := bumped{epoch: g.epoch, homogeneous: homogeneous(regexes, topics, n)}
	hash := s.metadataHash(topics)
	if force || hash != g.metadataHash {
		out.epoch++
		*recs = append(*recs, consumerRecord{kind: keyConsumerEpoch, group: g.id, value: epochRecord{out.epoch, hash}})
	}
	if g.partitionsRecord {
		*recs = append(*recs, consumerRecord{kind: keyConsumerPartitions, group: g.id})
	}
	return out
}

// preferredAssignor is what most members ask for once old has become m.
func (s *Shard) preferredAssignor(g *consumerGroup, old, m *consumerMember) string {
	counts := maps.Clone(g.assignors)
	if old != nil && old.assignor != nil {
		bump(counts, *old.assignor, -1)
	}
	if m != nil && m.assignor != nil {
		bump(counts, *m.assignor, 1)
	}
	names := sortedKeys(counts)
	tableOrder(names, grownTable(len(names)), javahash.String)
	best := s.cfg.ConsumerAssignors[0]
	for i, name := range names {
		if i == 0 || counts[name] > counts[best] {
			best = name
		}
	}
	return best
}

// target is the target of m, computed anew if the group's epoch is ahead of it and the assignment interval
// has passed. old becomes m.
func (s *Shard) target(g *consumerGroup, b bumped, old, m *consumerMember, recs *[]consumerRecord) (int32, assignment, *apiError) {
	last := func() (int32, assignment, *apiError) { return g.targetEpoch, g.targetOf(m), nil }
	if g.targetEpoch >= b.epoch {
		return last()
	}
	if interval := s.assignmentIntervalMs(g.id); g.targetAt != 0 && interval != 0 && s.now < g.targetAt+interval {
		return last()
	}
	name := s.preferredAssignor(g, old, m)
	spec := s.specOf(g, b.homogeneous, m)
	result, err := assign(name, spec)
	if err != nil {
		return 0, nil, &apiError{codeUnknownServerError, "Failed to compute a new target assignment: " + err.Error()}
	}
	for i := range spec.members {
		id := spec.members[i].id
		is := orEmpty(result[id])
		if was, ok := g.target[id]; !ok || !was.parts.equal(is.parts) {
			*recs = append(*recs, consumerRecord{kind: keyConsumerTargetMember, group: g.id, name: id, value: is})
		}
	}
	*recs = append(*recs, consumerRecord{kind: keyConsumerTargetEpoch, group: g.id, value: targetEpochRecord{b.epoch, s.now}})
	return b.epoch, result[m.id].get(), nil
}

// specOf is the group for an assignor, with m added or updated; a predecessor of m under its instance id is
// left out, and m inherits its target.
func (s *Shard) specOf(g *consumerGroup, homogeneous bool, m *consumerMember) *groupSpec {
	spec := &groupSpec{homogeneous: homogeneous, owned: map[uuid]map[int32]bool{}}
	spec.partitions = func(id uuid) int32 {
		t, _ := s.image.TopicByID(id)
		return t.Partitions
	}
	predecessor := ""
	if p := g.static(m.instance); p != nil && p.id != m.id {
		predecessor = p.id
	}
	ids := slices.SortedFunc(maps.Keys(g.members), func(a, b string) int { return g.arrived[a] - g.arrived[b] })
	timelineOrder(ids, g.peak, javahash.String)
	if g.members[m.id] == nil {
		ids = append(ids, m.id)
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return id == predecessor })
	tableOrder(ids, grownTable(len(ids)), javahash.String)
	for _, id := range ids {
		x, was := g.members[id], g.target[id]
		if id == m.id {
			x = m
			if predecessor != "" {
				was = g.target[predecessor]
			}
		}
		topics, n := s.subscription(g, x)
		spec.members = append(spec.members, memberSpec{id: id, instance: x.instance, topics: topics, subscribed: n, old: was})
	}
	for _, a := range g.target {
		for id, ps := range a.parts {
			if spec.owned[id] == nil {
				spec.owned[id] = make(map[int32]bool, len(ps))
			}
			for _, p := range ps {
				spec.owned[id][p] = true
			}
		}
	}
	return spec
}

// subscription is the topics that exist of those the member subscribes to, in Java's order, and how many it
// subscribes to.
func (s *Shard) subscription(g *consumerGroup, m *consumerMember) ([]uuid, int) {
	names := slices.Clone(m.topics)
	tableOrder(names, copiedTable(len(names)), javahash.String)
	if x := g.resolved[m.subscribedRegex()]; x != nil && m.subscribedRegex() != "" {
		matched := slices.Clone(x.topics)
		tableOrder(matched, copiedTable(len(matched)), javahash.String)
		if len(matched) > len(names) { // a union goes through the larger set first
			names, matched = matched, names
		}
		have := make(map[string]bool, len(names))
		for _, n := range names {
			have[n] = true
		}
		for _, n := range matched {
			if !have[n] {
				names = append(names, n)
			}
		}
	}
	ids := make([]uuid, 0, len(names))
	for _, n := range names {
		if t, ok := s.image.Topic(n); ok {
			ids = append(ids, t.ID)
		}
	}
	return ids, len(names)
}
