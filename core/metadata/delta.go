package metadata

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
)

// TopicChange is what happened to one topic between two images. A topic that was deleted and created
// again under its name has another id: that is two changes.
type TopicChange struct {
	Old *Topic // nil when the topic is new
	New *Topic // nil when the topic is gone
	// Partitions lists the partitions that are new or whose state changed, ascending. It is empty for a
	// topic that is gone.
	Partitions []int32
}

// Delta says what changed from one image to the next. What is not named in it did not change.
type Delta struct {
	Topics      []TopicChange    // removals first, then by name
	Brokers     []int32          // registered, changed or unregistered, ascending
	Configs     []ConfigResource // with other overrides than before, sorted
	Features    bool
	ProducerIDs bool
	ClusterID   bool
	Security    SecurityChange
}

// Empty reports whether nothing changed.
func (d Delta) Empty() bool {
	return len(d.Topics) == 0 && len(d.Brokers) == 0 && len(d.Configs) == 0 && !d.Features && !d.ProducerIDs && !d.ClusterID && d.Security.Empty()
}

// delta turns what a mutation touched into what it changed.
func (m *mutation) delta() Delta {
	var d Delta
	for id := range m.topics {
		d.addTopic(m.old.TopicByID(id), m.im.TopicByID(id), slices.Collect(maps.Keys(m.topics[id].partitions)))
	}
	for id := range m.brokers {
		if !reflect.DeepEqual(m.old.brokers[id], m.im.brokers[id]) {
			d.Brokers = append(d.Brokers, id)
		}
	}
	for r := range m.resources {
		if !maps.Equal(m.old.configs[r], m.im.configs[r]) {
			d.Configs = append(d.Configs, r)
		}
	}
	d.Features = m.features && !maps.Equal(m.old.features, m.im.features)
	d.ProducerIDs = m.old.NextProducerID != m.im.NextProducerID
	d.ClusterID = m.old.ClusterID != m.im.ClusterID
	if m.security != (securityMutation{}) {
		d.Security = diffSecurity(m.old, m.im)
	}
	d.sort()
	return d
}

// Diff compares two images as a whole. It is for the cases where the records between them are not at
// hand: a snapshot that was installed, a subscriber that has seen nothing yet. It costs time in
// the size of the images.
func Diff(from, to *Image) Delta {
	var d Delta
	for id := range from.topicNames {
		if to.TopicByID(id) == nil {
			d.addTopic(from.TopicByID(id), nil, nil)
		}
	}
	for id := range to.topicNames {
		o, n := from.TopicByID(id), to.TopicByID(id)
		if o == n {
			continue
		}
		all := make([]int32, len(n.Partitions))
		for i := range all {
			all[i] = int32(i)
		}
		d.addTopic(o, n, all)
	}
	for id, b := range from.brokers {
		if n := to.brokers[id]; n != b && !reflect.DeepEqual(b, n) {
			d.Brokers = append(d.Brokers, id)
		}
	}
	for id := range to.brokers {
		if from.brokers[id] == nil {
			d.Brokers = append(d.Brokers, id)
		}
	}
	for r, c := range from.configs {
		if !maps.Equal(c, to.configs[r]) {
			d.Configs = append(d.Configs, r)
		}
	}
	for r := range to.configs {
		if from.configs[r] == nil {
			d.Configs = append(d.Configs, r)
		}
	}
	d.Features = !maps.Equal(from.features, to.features)
	d.ProducerIDs = from.NextProducerID != to.NextProducerID
	d.ClusterID = from.ClusterID != to.ClusterID
	d.Security = diffSecurity(from, to)
	d.sort()
	return d
}

// addTopic adds the change from o to n if there is one; candidates are the partitions that may differ.
func (d *Delta) addTopic(o, n *Topic, candidates []int32) {
	switch {
	case o == nil && n == nil:
		return
	case n == nil:
		d.Topics = append(d.Topics, TopicChange{Old: o})
		return
	}
	c := TopicChange{Old: o, New: n}
	for _, i := range candidates {
		if o == nil || int(i) >= len(o.Partitions) || !o.Partitions[i].Equal(&n.Partitions[i]) {
			c.Partitions = append(c.Partitions, i)
		}
	}
	if o != nil && len(c.Partitions) == 0 {
		return
	}
	slices.Sort(c.Partitions)
	d.Topics = append(d.Topics, c)
}

// Equal reports whether the two states are the same.
func (p *Partition) Equal(q *Partition) bool {
	return p.Index == q.Index && p.Leader == q.Leader && p.LeaderEpoch == q.LeaderEpoch &&
		p.PartitionEpoch == q.PartitionEpoch && p.Recovery == q.Recovery &&
		slices.Equal(p.Replicas, q.Replicas) && slices.Equal(p.ISR, q.ISR) &&
		slices.Equal(p.ELR, q.ELR) && slices.Equal(p.LastKnownELR, q.LastKnownELR) &&
		slices.Equal(p.Adding, q.Adding) && slices.Equal(p.Removing, q.Removing) && slices.Equal(p.Offline, q.Offline)
}

func (d *Delta) sort() {
	slices.SortFunc(d.Topics, func(a, b TopicChange) int {
		if (a.New == nil) != (b.New == nil) {
			if a.New == nil {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.name(), b.name())
	})
	slices.Sort(d.Brokers)
	slices.SortFunc(d.Configs, compareResources)
}

func (c *TopicChange) name() string {
	if c.New != nil {
		return c.New.Name
	}
	return c.Old.Name
}
