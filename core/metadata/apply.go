package metadata

import (
	"fmt"
	"maps"
	"slices"
)

// Position is a place in the metadata log.
type Position struct {
	Offset int64
	Epoch  int32
}

// Apply returns the image after the batch of records, which lies at the position, and what changed. It
// is pure: im stays as it is. An error means that the records contradict the image (a change of a
// topic that is not there): the log is damaged or a decision is wrong, and the caller must stop.
func (im *Image) Apply(at Position, records []Record) (*Image, Delta, error) {
	next := *im
	next.Offset, next.Epoch = at.Offset, at.Epoch
	m := mutation{old: im, im: &next}
	for i, r := range records {
		if err := m.apply(r); err != nil {
			return nil, Delta{}, fmt.Errorf("apply metadata record %d of type %d at offset %d: %w", i, r.Type(), at.Offset, err)
		}
	}
	return &next, m.delta(), nil
}

// mutation is one Apply under way: which maps and topics of im are already copies of its own, and which
// things were touched.
type mutation struct {
	old, im *Image

	ownTopics, ownNames, ownBrokers, ownConfigs, ownFeatures bool

	topics    map[UUID]*touchedTopic
	brokers   map[int32]bool
	resources map[ConfigResource]bool
	features  bool
	security  securityMutation
}

type touchedTopic struct {
	own        bool
	partitions map[int32]bool
}

func (m *mutation) apply(r Record) error {
	switch r := r.(type) {
	case *NoOpRecord:
		return nil
	case *ClusterIDRecord:
		if m.im.ClusterID != "" && m.im.ClusterID != r.ClusterID {
			return fmt.Errorf("the cluster is %q already, it cannot become %q", m.im.ClusterID, r.ClusterID)
		}
		m.im.ClusterID = r.ClusterID
		return nil
	case *RegisterBrokerRecord:
		m.setBroker(&Broker{
			ID: r.BrokerID, IncarnationID: r.IncarnationID, Epoch: r.Epoch, Listeners: r.Listeners, Features: r.Features,
			Rack: r.Rack, Fenced: r.Fenced, InControlledShutdown: r.InControlledShutdown, LogDirs: r.LogDirs,
		})
		return nil
	case *UnregisterBrokerRecord:
		if _, err := m.broker(r.BrokerID, r.Epoch); err != nil {
			return err
		}
		m.cloneBrokers(r.BrokerID)
		delete(m.im.brokers, r.BrokerID)
		return nil
	case *BrokerRegistrationChangeRecord:
		return m.changeBroker(r)
	case *TopicRecord:
		return m.addTopic(r)
	case *RemoveTopicRecord:
		return m.removeTopic(r)
	case *PartitionRecord:
		return m.setPartition(r)
	case *PartitionChangeRecord:
		return m.changePartition(r)
	case *ConfigRecord:
		m.setConfig(r)
		return nil
	case *ProducerIDsRecord:
		if r.Next <= m.im.NextProducerID {
			return fmt.Errorf("next producer id goes back from %d to %d", m.im.NextProducerID, r.Next)
		}
		m.im.NextProducerID = r.Next
		return nil
	case *FeatureLevelRecord:
		if !m.ownFeatures {
			m.im.features, m.ownFeatures = maps.Clone(m.im.features), true
		}
		m.features = true
		if r.Level == 0 {
			delete(m.im.features, r.Name)
		} else {
			m.im.features[r.Name] = r.Level
		}
		return nil
	case *ClearELRRecord:
		return m.clearELR(r)
	case *OfflineReplicasRecord:
		return m.setOffline(r)
	}
	if handled, err := m.applySecurity(r); handled {
		return err
	}
	return fmt.Errorf("record type %T has no rule", r)
}

func (m *mutation) broker(id int32, epoch int64) (*Broker, error) {
	b := m.im.brokers[id]
	if b == nil {
		return nil, fmt.Errorf("broker %d is not registered", id)
	}
	if b.Epoch != epoch {
		return nil, fmt.Errorf("broker %d has epoch %d, the record is for %d", id, b.Epoch, epoch)
	}
	return b, nil
}

func (m *mutation) cloneBrokers(touched int32) {
	if !m.ownBrokers {
		m.im.brokers, m.ownBrokers = maps.Clone(m.im.brokers), true
		m.brokers = map[int32]bool{}
	}
	m.brokers[touched] = true
}

func (m *mutation) setBroker(b *Broker) {
	m.cloneBrokers(b.ID)
	m.im.brokers[b.ID] = b
}

func (m *mutation) changeBroker(r *BrokerRegistrationChangeRecord) error {
	b, err := m.broker(r.BrokerID, r.Epoch)
	if err != nil {
		return err
	}
	c := *b
	c.Fenced = r.Fenced.on(c.Fenced)
	c.InControlledShutdown = r.InControlledShutdown.on(c.InControlledShutdown)
	m.setBroker(&c)
	return nil
}

func (c Change) on(v bool) bool {
	switch c {
	case SetTrue:
		return true
	case SetFalse:
		return false
	}
	return v
}

func (m *mutation) cloneTopics() {
	if !m.ownTopics {
		m.im.topics, m.ownTopics = maps.Clone(m.im.topics), true
	}
}

func (m *mutation) cloneNames() {
	if !m.ownNames {
		m.im.topicNames, m.ownNames = maps.Clone(m.im.topicNames), true
	}
}

func (m *mutation) touch(id UUID) *touchedTopic {
	if m.topics == nil {
		m.topics = map[UUID]*touchedTopic{}
	}
	t := m.topics[id]
	if t == nil {
		t = &touchedTopic{partitions: map[int32]bool{}}
		m.topics[id] = t
	}
	return t
}

func (m *mutation) addTopic(r *TopicRecord) error {
	if r.ID.IsZero() {
		return fmt.Errorf("topic %q has no id", r.Name)
	}
	if m.im.topics[r.Name] != nil {
		return fmt.Errorf("topic %q exists", r.Name)
	}
	if name, ok := m.im.topicNames[r.ID]; ok {
		return fmt.Errorf("topic id %s belongs to %q", r.ID, name)
	}
	m.cloneTopics()
	m.cloneNames()
	m.im.topics[r.Name] = &Topic{Name: r.Name, ID: r.ID, Internal: IsInternalTopic(r.Name)}
	m.im.topicNames[r.ID] = r.Name
	m.touch(r.ID).own = true
	return nil
}

func (m *mutation) removeTopic(r *RemoveTopicRecord) error {
	t := m.im.TopicByID(r.ID)
	if t == nil {
		return fmt.Errorf("there is no topic with id %s", r.ID)
	}
	m.touch(r.ID).own = false
	m.cloneTopics()
	m.cloneNames()
	delete(m.im.topics, t.Name)
	delete(m.im.topicNames, r.ID)
	m.im.partitions -= len(t.Partitions)
	res := ConfigResource{TopicResource, t.Name}
	if m.im.configs[res] != nil {
		m.cloneConfigs(res)
		delete(m.im.configs, res)
	}
	return nil
}

// ownTopic returns a topic that may be written, a copy with its own partition list.
func (m *mutation) ownTopic(id UUID) (*Topic, *touchedTopic, error) {
	t := m.im.TopicByID(id)
	if t == nil {
		return nil, nil, fmt.Errorf("there is no topic with id %s", id)
	}
	touched := m.touch(id)
	if !touched.own {
		m.cloneTopics()
		c := *t
		c.Partitions = slices.Clone(t.Partitions)
		t = &c
		m.im.topics[t.Name] = t
		touched.own = true
	}
	return t, touched, nil
}

func (m *mutation) setPartition(r *PartitionRecord) error {
	t, touched, err := m.ownTopic(r.TopicID)
	if err != nil {
		return err
	}
	p := r.Partition
	switch {
	case p.Index >= 0 && int(p.Index) < len(t.Partitions):
		t.Partitions[p.Index] = p
	case int(p.Index) == len(t.Partitions):
		t.Partitions = append(t.Partitions, p)
		m.im.partitions++
	default:
		return fmt.Errorf("topic %q has %d partitions, partition %d is not the next", t.Name, len(t.Partitions), p.Index)
	}
	touched.partitions[p.Index] = true
	return nil
}

func (m *mutation) changePartition(r *PartitionChangeRecord) error {
	t, touched, err := m.ownTopic(r.TopicID)
	if err != nil {
		return err
	}
	if r.Partition < 0 || int(r.Partition) >= len(t.Partitions) {
		return fmt.Errorf("topic %q has no partition %d", t.Name, r.Partition)
	}
	p := &t.Partitions[r.Partition]
	set := func(dst *[]int32, v []int32) {
		if v == nil {
			return
		}
		if len(v) == 0 {
			v = nil
		}
		*dst = v
	}
	set(&p.Replicas, r.Replicas)
	set(&p.ISR, r.ISR)
	set(&p.ELR, r.ELR)
	set(&p.LastKnownELR, r.LastKnownELR)
	set(&p.Adding, r.Adding)
	set(&p.Removing, r.Removing)
	if len(p.Offline) > 0 {
		set(&p.Offline, append([]int32{}, intersection(p.Offline, p.Replicas)...))
	}
	if r.Recovery != nil {
		p.Recovery = *r.Recovery
	}
	if r.Leader != nil {
		p.Leader = *r.Leader
		p.LeaderEpoch++
	}
	p.PartitionEpoch++
	touched.partitions[r.Partition] = true
	return nil
}

func (m *mutation) clearELR(r *ClearELRRecord) error {
	topics := m.im.Topics()
	if r.Topic != "" {
		t := m.im.topics[r.Topic]
		if t == nil {
			return fmt.Errorf("there is no topic %q", r.Topic)
		}
		topics = []*Topic{t}
	}
	for _, t := range topics {
		for i := range t.Partitions {
			if len(t.Partitions[i].ELR) == 0 && len(t.Partitions[i].LastKnownELR) == 0 {
				continue
			}
			own, touched, err := m.ownTopic(t.ID)
			if err != nil {
				return err
			}
			p := &own.Partitions[i]
			p.ELR, p.LastKnownELR = nil, nil
			p.PartitionEpoch++
			touched.partitions[p.Index] = true
		}
	}
	return nil
}

func (m *mutation) cloneConfigs(touched ConfigResource) {
	if !m.ownConfigs {
		m.im.configs, m.ownConfigs = maps.Clone(m.im.configs), true
		m.resources = map[ConfigResource]bool{}
	}
	m.resources[touched] = true
}

func (m *mutation) setConfig(r *ConfigRecord) {
	first := !m.ownConfigs || !m.resources[r.Resource]
	m.cloneConfigs(r.Resource)
	c := m.im.configs[r.Resource]
	if first {
		c = maps.Clone(c)
	}
	if r.Value != nil {
		if c == nil {
			c = map[string]string{}
		}
		c[r.Key] = *r.Value
	} else {
		delete(c, r.Key)
	}
	if len(c) == 0 {
		delete(m.im.configs, r.Resource)
	} else {
		m.im.configs[r.Resource] = c
	}
}
