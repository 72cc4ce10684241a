package connect

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/connect/api"
)

// State is the state of a connector or task in the status topic.
type State string

// The states of connectors and tasks. StateDestroyed is never stored: it removes the status.
const (
	StateUnassigned State = "UNASSIGNED"
	StateRunning    State = "RUNNING"
	StatePaused     State = "PAUSED"
	StateStopped    State = "STOPPED"
	StateFailed     State = "FAILED"
	StateRestarting State = "RESTARTING"
	StateDestroyed  State = "DESTROYED"
)

// status is one record of the status topic.
type status struct {
	State      State   `json:"state"`
	Trace      *string `json:"trace"`
	WorkerID   string  `json:"worker_id"`
	Generation int     `json:"generation"`
	Version    *string `json:"version"`
}

const (
	keyStatusConnector = "status-connector-"
	keyStatusTask      = "status-task-"
	keyStatusTopic     = "status-topic-"
	topicSeparator     = ":connector-"
)

type topicUse struct {
	task       int
	discovered int64
}

// statusStore keeps the state of the status topic and writes to it.
type statusStore struct {
	topic string
	il    *internalLog
	log   *slog.Logger

	mu         sync.RWMutex
	connectors map[string]status
	tasks      map[string]map[int]status
	topics     map[string]map[string]topicUse // connector -> topic
	maxGen     int
	// onStatus sees every status that is read; nil while the topic is being loaded.
	onStatus func(worker string, generation int)
}

func newStatusStore(topic string, log *slog.Logger) *statusStore {
	return &statusStore{topic: topic, log: log, connectors: map[string]status{}, tasks: map[string]map[int]status{}, topics: map[string]map[string]topicUse{}}
}

// follow calls f for every status from now on.
func (s *statusStore) follow(f func(worker string, generation int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onStatus = f
}

func (s *statusStore) handle(r *kgo.Record) {
	if err := s.apply(string(r.Key), r.Value); err != nil {
		s.log.Warn("record of the status topic ignored", "topic", s.topic, "partition", r.Partition, "offset", r.Offset, "key", string(r.Key), "error", err)
	}
}

func (s *statusStore) apply(key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rest, ok := strings.CutPrefix(key, keyStatusTopic); ok {
		return s.applyTopic(rest, value)
	}
	var st status
	if value != nil {
		if err := json.Unmarshal(value, &st); err != nil {
			return fmt.Errorf("malformed status: %w", err)
		}
		if st.State == "" {
			return fmt.Errorf("malformed status: no state")
		}
		s.maxGen = max(s.maxGen, st.Generation)
		if s.onStatus != nil {
			s.onStatus(st.WorkerID, st.Generation)
		}
	}
	gone := value == nil || st.State == StateDestroyed
	if name, ok := strings.CutPrefix(key, keyStatusConnector); ok {
		if gone {
			delete(s.connectors, name)
		} else {
			s.connectors[name] = st
		}
		return nil
	}
	rest, ok := strings.CutPrefix(key, keyStatusTask)
	i := strings.LastIndexByte(rest, '-')
	if !ok || i < 0 {
		return fmt.Errorf("unknown key")
	}
	n, err := strconv.Atoi(rest[i+1:])
	if err != nil {
		return fmt.Errorf("malformed task number %q", rest[i+1:])
	}
	name := rest[:i]
	if gone {
		delete(s.tasks[name], n)
		if len(s.tasks[name]) == 0 {
			delete(s.tasks, name)
		}
		return nil
	}
	if s.tasks[name] == nil {
		s.tasks[name] = map[int]status{}
	}
	s.tasks[name][n] = st
	return nil
}

func (s *statusStore) applyTopic(rest string, value []byte) error {
	topic, name, ok := strings.Cut(rest, topicSeparator)
	if !ok {
		return fmt.Errorf("malformed topic key")
	}
	if value == nil {
		delete(s.topics[name], topic)
		if len(s.topics[name]) == 0 {
			delete(s.topics, name)
		}
		return nil
	}
	var v struct {
		Topic struct {
			Task       int   `json:"task"`
			Discovered int64 `json:"discoverTimestamp"`
		} `json:"topic"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return fmt.Errorf("malformed topic: %w", err)
	}
	if s.topics[name] == nil {
		s.topics[name] = map[string]topicUse{}
	}
	s.topics[name][topic] = topicUse{v.Topic.Task, v.Topic.Discovered}
	return nil
}

// put writes a status; it does not wait. task is -1 for the connector itself. StateDestroyed removes it.
func (s *statusStore) put(id workID, st status) {
	key := keyStatusConnector + id.connector
	if id.task >= 0 {
		key = keyStatusTask + id.connector + "-" + strconv.Itoa(id.task)
	}
	var value []byte
	if st.State != StateDestroyed {
		value = append(value, `{"state":`...)
		value = appendJSONString(value, string(st.State))
		value = appendOptional(append(value, `,"trace":`...), st.Trace)
		value = appendJSONString(append(value, `,"worker_id":`...), st.WorkerID)
		value = strconv.AppendInt(append(value, `,"generation":`...), int64(st.Generation), 10)
		value = appendOptional(append(value, `,"version":`...), st.Version)
		value = append(value, '}')
	}
	s.send(key, value)
}

func appendOptional(b []byte, s *string) []byte {
	if s == nil {
		return append(b, "null"...)
	}
	return appendJSONString(b, *s)
}

func (s *statusStore) send(key string, value []byte) {
	s.il.cl.Produce(context.Background(), &kgo.Record{Topic: s.topic, Key: []byte(key), Value: value}, func(_ *kgo.Record, err error) {
		if err != nil {
			s.log.Error("writing a status failed", "topic", s.topic, "key", key, "error", err)
		}
	})
}

// putTopic notes that a connector uses a topic, once.
func (s *statusStore) putTopic(topic string, id workID, now time.Time) {
	s.mu.RLock()
	_, known := s.topics[id.connector][topic]
	s.mu.RUnlock()
	if known {
		return
	}
	b := appendJSONString([]byte(`{"topic":{"name":`), topic)
	b = appendJSONString(append(b, `,"connector":`...), id.connector)
	b = strconv.AppendInt(append(b, `,"task":`...), int64(id.task), 10)
	b = strconv.AppendInt(append(b, `,"discoverTimestamp":`...), now.UnixMilli(), 10)
	s.send(keyStatusTopic+topic+topicSeparator+id.connector, append(b, "}}"...))
}

// dropTopics forgets the topics of a connector.
func (s *statusStore) dropTopics(name string) {
	for _, t := range s.activeTopics(name) {
		s.send(keyStatusTopic+t+topicSeparator+name, nil)
	}
}

func (s *statusStore) activeTopics(name string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := []string{}
	for t := range s.topics[name] {
		out = append(out, t)
	}
	sort.Strings(out)
	return out
}

func (s *statusStore) generation() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.maxGen
}

// ids lists everything that has a status.
func (s *statusStore) ids() []workID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []workID
	for n := range s.connectors {
		out = append(out, workID{n, -1})
	}
	for n, m := range s.tasks {
		for t := range m {
			out = append(out, workID{n, t})
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].connector != out[j].connector {
			return out[i].connector < out[j].connector
		}
		return out[i].task < out[j].task
	})
	return out
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// info renders a connector's status; nil without one.
func (s *statusStore) info(name, kind string) *api.ConnectorStateInfo {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, ok := s.connectors[name]
	if !ok {
		return nil
	}
	out := &api.ConnectorStateInfo{
		Name:      name,
		Connector: api.ConnectorState{State: string(c.State), WorkerID: c.WorkerID, Trace: deref(c.Trace), Version: deref(c.Version)},
		Tasks:     []api.TaskState{},
		Type:      kind,
	}
	for id, t := range s.tasks[name] {
		out.Tasks = append(out.Tasks, api.TaskState{ID: id, State: string(t.State), WorkerID: t.WorkerID, Trace: deref(t.Trace), Version: deref(t.Version)})
	}
	sort.Slice(out.Tasks, func(i, j int) bool { return out.Tasks[i].ID < out.Tasks[j].ID })
	return out
}

// counts counts tasks by connector and state.
func (s *statusStore) counts() (connectors map[string]State, tasks map[string]map[int]State) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	connectors, tasks = map[string]State{}, map[string]map[int]State{}
	for n, c := range s.connectors {
		connectors[n] = c.State
	}
	for n, m := range s.tasks {
		tasks[n] = map[int]State{}
		for i, t := range m {
			tasks[n][i] = t.State
		}
	}
	return connectors, tasks
}
