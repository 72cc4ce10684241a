package group

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
)

// memStore is a log in memory. It reports batches durable at once, or, with hold, when released.
type memStore struct {
	mu    sync.Mutex
	logs  map[int32][]StoredRecord
	hold  bool
	held  []func(error)
	fail  error
	loads int
	gate  chan struct{} // if set, Load waits for it to be closed
	broke error         // what Load fails with
}

func (m *memStore) Append(partition int32, b Batch, done func(error)) {
	m.mu.Lock()
	if m.fail != nil {
		err := m.fail
		m.mu.Unlock()
		done(err)
		return
	}
	if m.logs == nil {
		m.logs = map[int32][]StoredRecord{}
	}
	for _, r := range b.Records {
		m.logs[partition] = append(m.logs[partition], StoredRecord{
			Offset: int64(len(m.logs[partition])), Key: slices.Clone(r.Key), Value: slices.Clone(r.Value), ProducerID: b.ProducerID,
		})
	}
	if m.hold {
		m.held = append(m.held, done)
		m.mu.Unlock()
		return
	}
	m.mu.Unlock()
	done(nil)
}

// release reports the held batches.
func (m *memStore) release(err error) {
	m.mu.Lock()
	held := m.held
	m.held = nil
	m.mu.Unlock()
	for _, done := range held {
		done(err)
	}
}

func (m *memStore) Load(ctx context.Context, partition int32, fn func(StoredRecord) error) error {
	m.mu.Lock()
	m.loads++
	recs, gate, broke := m.logs[partition], m.gate, m.broke
	m.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if broke != nil {
		return broke
	}
	for _, r := range recs {
		if err := fn(r); err != nil {
			return err
		}
	}
	return nil
}

func (m *memStore) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, l := range m.logs {
		n += len(l)
	}
	return n
}

// memTopics is a set of topics with one id each.
type memTopics map[string]int32

func topicID(name string) (id [16]byte) {
	copy(id[:], name)
	return id
}

func (m memTopics) PartitionExists(topic string, p int32) bool { return p >= 0 && p < m[topic] }

func (m memTopics) TopicID(topic string) ([16]byte, bool) {
	_, ok := m[topic]
	return topicID(topic), ok
}

func (m memTopics) TopicName(id [16]byte) (string, bool) {
	for name := range m {
		if topicID(name) == id {
			return name, true
		}
	}
	return "", false
}

func (m memTopics) Image() Image { return memImage{m, 1} }

// memImage is a set of topics as an image.
type memImage struct {
	topics  memTopics
	version int64
}

func (m memImage) Version() int64 { return m.version }

func (m memImage) Topic(name string) (TopicInfo, bool) {
	n, ok := m.topics[name]
	return TopicInfo{ID: topicID(name), Name: name, Partitions: n}, ok
}

func (m memImage) TopicByID(id [16]byte) (TopicInfo, bool) {
	name, ok := m.topics.TopicName(id)
	if !ok {
		return TopicInfo{}, false
	}
	return m.Topic(name)
}

func (m memImage) TopicNames() iter.Seq[string] { return maps.Keys(m.topics) }
func (m memImage) Racks(string, int32) []string { return nil }
func (m memImage) GroupConfig(string) GroupConfig {
	return GroupConfig{AssignmentIntervalMs: -1}
}
