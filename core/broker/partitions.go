package broker

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/replica"
)

// topicState is a topic as this broker serves it. The set of partitions grows; it is replaced, never changed.
type topicState struct {
	name     string
	id       [16]byte
	internal bool
	parts    atomic.Pointer[[]*replica.Partition] // by index, nil where this broker holds no replica
	stats    *topicStats
}

// partition returns the local replica, or nil.
func (t *topicState) partition(index int32) *replica.Partition {
	parts := *t.parts.Load()
	if index < 0 || int(index) >= len(parts) {
		return nil
	}
	return parts[index]
}

// topics is the index of the topics that exist, for the hot paths.
type topics struct {
	mu     sync.RWMutex
	byName map[string]*topicState
	byID   map[[16]byte]*topicState
}

func newTopics() *topics {
	return &topics{byName: map[string]*topicState{}, byID: map[[16]byte]*topicState{}}
}

func (t *topics) all() []*topicState {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make([]*topicState, 0, len(t.byName))
	for _, s := range t.byName {
		out = append(out, s)
	}
	return out
}

// topicFor finds a topic by its name, or by its id when name is nil, as requests have the one or the other.
func (b *Broker) topicFor(name []byte, id [16]byte) *topicState {
	b.topics.mu.RLock()
	defer b.topics.mu.RUnlock()
	if name != nil {
		return b.topics.byName[string(name)]
	}
	return b.topics.byID[id]
}

func (b *Broker) topicNamed(name string) *topicState {
	b.topics.mu.RLock()
	defer b.topics.mu.RUnlock()
	return b.topics.byName[name]
}

// partitionOf finds the partition of a fetch session's key, or nil.
func (b *Broker) partitionOf(k partKey) *replica.Partition {
	b.topics.mu.RLock()
	t := b.topics.byName[k.name]
	if k.name == "" {
		t = b.topics.byID[k.id]
	}
	b.topics.mu.RUnlock()
	if t == nil {
		return nil
	}
	return t.partition(k.index)
}

// localPartition finds a partition this broker holds, or nil.
func (b *Broker) localPartition(topic string, index int32) *replica.Partition {
	if t := b.topicNamed(topic); t != nil {
		return t.partition(index)
	}
	return nil
}

// apply follows a change of the metadata. It runs on the quorum's publisher goroutine, in order; whoever asked for the change is
// answered after it has returned.
func (b *Broker) apply(_, im *metadata.Image, d metadata.Delta) {
	for _, c := range d.Topics {
		if c.Old != nil && c.New == nil {
			b.removeTopic(c.Old)
		}
	}
	for _, c := range d.Topics {
		if c.New != nil {
			if err := b.updateTopic(im, c); err != nil {
				b.log.Error("cannot open the log of a partition", "topic", c.New.Name, "error", err)
				b.dirsChanged()
			}
		}
	}
	if d.Features {
		b.txns.SetVersion(im.Feature(transactionVersion))
	}
	for _, r := range d.Configs {
		switch {
		case r.Type == metadata.TopicResource:
			b.topicConfigChanged(im, r.Name)
		case r.Type == metadata.BrokerResource && (r.Name == "" || r.Name == fmt.Sprint(b.set.nodeID)):
			b.brokerConfigChanged(im)
		}
	}
	b.groupsFollow(d)
}

func (b *Broker) removeTopic(t *metadata.Topic) {
	b.topics.mu.Lock()
	s := b.topics.byID[t.ID]
	delete(b.topics.byID, t.ID)
	if s != nil && b.topics.byName[s.name] == s {
		delete(b.topics.byName, s.name)
	}
	b.topics.mu.Unlock()
	if s == nil {
		return
	}
	for _, p := range *s.parts.Load() {
		if p == nil {
			continue
		}
		b.resigned(s.name, p.Index())
		p.Close()
		if err := b.dir.Delete(s.name, p.Index()); err != nil && !errors.Is(err, log.ErrNotFound) {
			b.log.Error("cannot delete the log of a partition", "topic", s.name, "partition", p.Index(), "error", err)
		}
	}
	b.topicDeleted(s.name)
}

// updateTopic opens new partitions of a topic and tells all changed ones who leads them.
func (b *Broker) updateTopic(im *metadata.Image, c metadata.TopicChange) error {
	t := c.New
	s := b.topicFor(nil, t.ID)
	fresh := s == nil
	if fresh {
		s = &topicState{name: t.Name, id: t.ID, internal: t.Internal, stats: b.metrics.topic(t.Name)}
		s.parts.Store(&[]*replica.Partition{})
	}
	old := *s.parts.Load()
	parts := make([]*replica.Partition, len(t.Partitions))
	copy(parts, old)
	var failed error
	var cfg *log.Config // the same for all
	for i := range t.Partitions {
		mp := &t.Partitions[i]
		if parts[i] == nil && holds(mp, b.set.nodeID) {
			if cfg == nil {
				c, err := b.logConfig(im, t.Name)
				if err != nil {
					failed = fmt.Errorf("open %s: %w", t.Name, err)
					break
				}
				cfg = &c
			}
			p, err := b.openPartition(t, mp.Index, cfg)
			if err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			parts[i] = p
		}
	}
	minISR := b.minISR(im, t.Name)
	for i := range t.Partitions {
		if p := parts[i]; p != nil {
			b.lead(p, &t.Partitions[i], minISR)
		}
	}
	s.parts.Store(&parts)
	if fresh {
		b.topics.mu.Lock()
		b.topics.byName[s.name] = s
		b.topics.byID[s.id] = s
		b.topics.mu.Unlock()
	}
	for _, p := range parts {
		switch {
		case p == nil:
		case p.IsLeader():
			b.elected(s.name, p.Index(), p.Leadership().Epoch)
		default:
			b.resigned(s.name, p.Index())
		}
	}
	return failed
}

func holds(p *metadata.Partition, node int32) bool {
	for _, r := range p.Replicas {
		if r == node {
			return true
		}
	}
	return false
}

// openPartition opens the partition's log, or makes it. A log of the same name but another topic id is what is left of a
// deleted topic: it goes away.
func (b *Broker) openPartition(t *metadata.Topic, index int32, cfg *log.Config) (*replica.Partition, error) {
	l, ok := b.dir.Log(t.Name, index)
	if ok && l.TopicID() != t.ID && l.TopicID() != ([16]byte{}) {
		if err := b.dir.Delete(t.Name, index); err != nil {
			return nil, fmt.Errorf("remove %s-%d of a topic that was deleted: %w", t.Name, index, err)
		}
		ok = false
	}
	if ok {
		if l.TopicID() == ([16]byte{}) && l.Err() == nil { // a crash came before the file was on disk
			if err := l.SetTopicID(t.ID); err != nil {
				return nil, fmt.Errorf("open %s-%d: %w", t.Name, index, err)
			}
		}
		l.UpdateConfig(*cfg)
	} else if l, ok = b.lostLog(t, index); !ok {
		var err error
		if l, err = b.dir.Create(t.Name, index, t.ID, *cfg); err != nil {
			return nil, fmt.Errorf("create %s-%d: %w", t.Name, index, err)
		}
	}
	p := replica.New(t.Name, t.ID, index, b.set.nodeID, l)
	b.dir.ResumeMove(t.Name, index, p)
	return p, nil
}

// lostLog is the log of a partition that existed when this broker started and may be on a directory that is offline. To make it anew
// elsewhere would lose what it holds.
func (b *Broker) lostLog(t *metadata.Topic, index int32) (*log.Log, bool) {
	select {
	case <-b.applied:
		return nil, false // it is new
	default:
		return b.dir.Lost(t.Name, index, t.ID)
	}
}

func (b *Broker) lead(p *replica.Partition, mp *metadata.Partition, minISR int) {
	p.SetLeadership(replica.Leadership{
		Leader: mp.Leader, Epoch: mp.LeaderEpoch, PartitionEpoch: mp.PartitionEpoch,
		Replicas: mp.Replicas, ISR: mp.ISR, MinISR: min(minISR, len(mp.Replicas)), // as in Kafka, never more than there are replicas
	})
}

// logConfig is the effective configuration of a topic's logs.
func (b *Broker) logConfig(im *metadata.Image, topic string) (log.Config, error) {
	cfg, err := log.ParseConfig(b.effectiveTopicConfig(im, topic))
	if err != nil {
		return log.Config{}, fmt.Errorf("configuration of topic %s: %w", topic, err)
	}
	return cfg, nil
}

// topicConfigChanged gives a topic's logs their new configuration.
func (b *Broker) topicConfigChanged(im *metadata.Image, name string) {
	s := b.topicNamed(name)
	mt := im.Topic(name)
	if s == nil || mt == nil {
		return
	}
	cfg, err := b.logConfig(im, name)
	if err != nil {
		b.log.Error("topic configuration is not usable, the old one stays", "topic", name, "error", err)
		return
	}
	minISR := b.minISR(im, name)
	for i, p := range *s.parts.Load() {
		if p == nil {
			continue
		}
		p.UpdateConfig(cfg)
		b.lead(p, &mt.Partitions[i], minISR)
	}
}

// followOwnConfig takes what is in effect of the properties that can change at run time and are not defaults of topics. The one of consumer
// groups goes with the image that they are given.
func (b *Broker) followOwnConfig(im *metadata.Image) {
	l := b.layers(im, "")
	b.dir.Cordon(config.Cordoned(l))
	c := config.InEffect(l)
	b.dir.SetMoveRate(c.MoveBytesPerSecond)
	b.dir.Tune(log.Tuning{ProducerIDExpiration: c.ProducerIDExpiration, CleanerBackoff: max(c.LogCleanerBackoff, time.Millisecond), CleanerBufferBytes: c.LogCleanerDedupeBufferSize, CleanerThreads: int(c.LogCleanerThreads)})
	b.dir.SetCleanerRate(c.LogCleanerMaxBytesPerSecond)
	listeners := config.ListenerLimits(l)
	b.server.SetLimits(b.connectionLimits(c, listeners))
	b.quotas.setRates(c.MaxConnectionRate, listeners)
	b.verifiesTxns.Store(config.VerifiesTxns(l))
}

// brokerConfigChanged follows a change of this broker's dynamic configuration, which is also the default of all topics.
func (b *Broker) brokerConfigChanged(im *metadata.Image) {
	b.followOwnConfig(im)
	for _, s := range b.topics.all() {
		b.topicConfigChanged(im, s.name)
	}
}

// dropStray deletes logs in the directory whose topic is gone: it was deleted while this broker was down.
func (b *Broker) dropStray(im *metadata.Image) {
	stray := map[*log.Log]bool{}
	for _, l := range b.dir.Logs() {
		p := im.Partition(l.Topic(), l.Partition())
		if p == nil || !holds(p, b.set.nodeID) || (im.Topic(l.Topic()).ID != metadata.UUID(l.TopicID()) && l.TopicID() != ([16]byte{})) {
			stray[l] = true
		}
	}
	for l := range maps.Keys(stray) {
		b.log.Warn("deleting the log of a partition that is no longer this broker's", "topic", l.Topic(), "partition", l.Partition())
		if err := b.dir.Delete(l.Topic(), l.Partition()); err != nil {
			b.log.Error("cannot delete a stray log", "topic", l.Topic(), "partition", l.Partition(), "error", err)
		}
	}
}

// partitionName is a partition as Kafka's messages name it.
func partitionName(topic string, index int32) string { return fmt.Sprintf("%s-%d", topic, index) }
