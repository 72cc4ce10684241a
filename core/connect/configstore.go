package connect

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TargetState is what the user wants of a connector.
type TargetState string

// The target states of the configuration topic.
const (
	Started TargetState = "STARTED"
	Paused  TargetState = "PAUSED"
	Stopped TargetState = "STOPPED"
)

const (
	keyConnector = "connector-"
	keyTask      = "task-"
	keyCommit    = "commit-"
	keyTarget    = "target-state-"
	keyFencing   = "tasks-fencing-"
	keySession   = "session-key"
	keyRestart   = "restart-connector-"
	keyLogger    = "logger-cluster-"
)

// connectorView is what the configuration topic says about one connector. Its maps are never changed once it is handed out.
type connectorView struct {
	name   string
	exists bool
	config map[string]string
	rev    int64 // offset of the configuration record
	target TargetState
	// tasks are the committed task configurations; applied is the connector configuration they were made from. tasksRev is the offset of the
	// commit record, -1 without one. inconsistent: the commit named tasks whose records are gone; they must be made again.
	tasks        []map[string]string
	applied      map[string]string
	tasksRev     int64
	inconsistent bool
	// pendingFencing: tasks were committed since the last round of fencing. fenced is how many tasks ran as of that round, -1: there was
	// none (KIP-618).
	pendingFencing bool
	fenced         int
}

// restartRequest is a restart asked for over REST, as it travels through the configuration topic.
type restartRequest struct {
	connector    string
	includeTasks bool
	onlyFailed   bool
}

type connectorEntry struct {
	config   map[string]string // nil: none
	rev      int64
	target   TargetState // "": none
	tasks    map[int]map[string]string
	count    int
	applied  map[string]string
	tasksRev int64
	bad      bool
	deferred map[int]map[string]string
	pending  bool // tasks were committed since the last fencing record
	fenced   int  // what that record says, -1: none
}

// configState is the state of the configuration topic: a pure fold over its records.
//
// Invariant: tasks 0..count-1 of an entry that is not bad all come from records before its commit record, so a set of task
// configurations is seen whole or not at all.
type configState struct {
	connectors map[string]*connectorEntry
	loggers    map[string]string
	session    sessionKey
}

// sessionKey is what Kafka Connect's leader shares with the workers that follow it, to sign requests with.
type sessionKey struct {
	key       []byte
	algorithm string
	created   int64
}

func newConfigState() *configState {
	return &configState{connectors: map[string]*connectorEntry{}, loggers: map[string]string{}}
}

func (s *configState) entry(name string) *connectorEntry {
	e := s.connectors[name]
	if e == nil {
		e = &connectorEntry{tasksRev: -1, fenced: -1}
		s.connectors[name] = e
	}
	return e
}

// change tells what a record changed.
type change struct {
	connector string // "": nothing about a connector
	restart   *restartRequest
	logger    string
}

// apply folds one record in. An error means that the record was ignored.
func (s *configState) apply(key string, value []byte, offset int64) (change, error) {
	switch {
	case strings.HasPrefix(key, keyTarget):
		return s.applyTarget(key[len(keyTarget):], value)
	case strings.HasPrefix(key, keyConnector):
		return s.applyConnector(key[len(keyConnector):], value, offset)
	case strings.HasPrefix(key, keyFencing):
		return change{}, s.applyFencing(key[len(keyFencing):], value)
	case key == keySession:
		return change{}, s.applySession(value)
	case strings.HasPrefix(key, keyTask):
		return change{}, s.applyTask(key[len(keyTask):], value)
	case strings.HasPrefix(key, keyCommit):
		return s.applyCommit(key[len(keyCommit):], value, offset)
	case strings.HasPrefix(key, keyRestart):
		var v struct {
			IncludeTasks *bool `json:"include-tasks"`
			OnlyFailed   *bool `json:"only-failed"`
		}
		if value == nil {
			return change{}, nil
		}
		if err := json.Unmarshal(value, &v); err != nil || v.IncludeTasks == nil || v.OnlyFailed == nil {
			return change{}, fmt.Errorf("malformed restart request")
		}
		return change{restart: &restartRequest{key[len(keyRestart):], *v.IncludeTasks, *v.OnlyFailed}}, nil
	case strings.HasPrefix(key, keyLogger):
		var v struct {
			Level string `json:"level"`
		}
		if value == nil {
			return change{}, nil
		}
		if err := json.Unmarshal(value, &v); err != nil || v.Level == "" {
			return change{}, fmt.Errorf("malformed logger level")
		}
		ns := key[len(keyLogger):]
		s.loggers[ns] = v.Level
		return change{logger: ns}, nil
	}
	return change{}, fmt.Errorf("unknown key")
}

func (s *configState) applyTarget(name string, value []byte) (change, error) {
	if value == nil {
		if e := s.connectors[name]; e != nil {
			e.target = ""
			s.drop(name)
		}
		return change{connector: name}, nil
	}
	var v struct {
		State   string `json:"state"`
		StateV2 string `json:"state.v2"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return change{}, fmt.Errorf("malformed target state: %w", err)
	}
	t := TargetState(v.StateV2)
	if t == "" {
		t = TargetState(v.State)
	}
	if t != Started && t != Paused && t != Stopped {
		return change{}, fmt.Errorf("unknown target state %q", t)
	}
	s.entry(name).target = t
	return change{connector: name}, nil
}

func properties(value []byte) (map[string]string, error) {
	var v struct {
		Properties map[string]*string `json:"properties"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return nil, fmt.Errorf("malformed properties: %w", err)
	}
	if v.Properties == nil {
		return nil, fmt.Errorf("no properties")
	}
	m := make(map[string]string, len(v.Properties))
	for k, p := range v.Properties {
		if p != nil {
			m[k] = *p
		}
	}
	return m, nil
}

func (s *configState) applyConnector(name string, value []byte, offset int64) (change, error) {
	if value == nil {
		if e := s.connectors[name]; e != nil {
			*e = connectorEntry{target: e.target, tasksRev: -1, fenced: e.fenced, pending: e.pending} // tasks of its last life may still write
			s.drop(name)
		}
		return change{connector: name}, nil
	}
	m, err := properties(value)
	if err != nil {
		return change{}, err
	}
	e := s.entry(name)
	e.config, e.rev = m, offset
	return change{connector: name}, nil
}

// drop forgets an entry that says nothing any more.
func (s *configState) drop(name string) {
	if e := s.connectors[name]; e.config == nil && e.target == "" && len(e.deferred) == 0 && e.fenced < 0 {
		delete(s.connectors, name)
	}
}

func (s *configState) applyTask(rest string, value []byte) error {
	i := strings.LastIndexByte(rest, '-')
	if i < 0 {
		return fmt.Errorf("malformed task key")
	}
	n, err := strconv.Atoi(rest[i+1:])
	if err != nil || n < 0 {
		return fmt.Errorf("malformed task number %q", rest[i+1:])
	}
	if value == nil {
		return nil
	}
	m, err := properties(value)
	if err != nil {
		return err
	}
	e := s.entry(rest[:i])
	if e.deferred == nil {
		e.deferred = map[int]map[string]string{}
	}
	e.deferred[n] = m
	return nil
}

func (s *configState) applyCommit(name string, value []byte, offset int64) (change, error) {
	var v struct {
		Tasks *int `json:"tasks"`
	}
	if value == nil {
		return change{}, nil
	}
	if err := json.Unmarshal(value, &v); err != nil || v.Tasks == nil || *v.Tasks < 0 {
		return change{}, fmt.Errorf("malformed commit of task configurations")
	}
	e := s.entry(name)
	deferred := e.deferred
	e.deferred = nil
	e.tasksRev, e.count, e.applied, e.pending = offset, *v.Tasks, e.config, true
	// Compaction may leave records of tasks beyond the count (the set was larger once), which is fine, or take some below it away
	// (they were written again after this commit, by a worker that died before its own), which is not.
	e.bad = e.count > len(deferred)
	for n := 0; n < e.count && !e.bad; n++ {
		e.bad = deferred[n] == nil
	}
	if e.bad {
		e.count, e.tasks = 0, nil
		return change{connector: name}, nil
	}
	e.tasks = make(map[int]map[string]string, e.count)
	for n := range e.count {
		e.tasks[n] = deferred[n]
	}
	return change{connector: name}, nil
}

// applyFencing notes that the tasks before the present set cannot write any more.
func (s *configState) applyFencing(name string, value []byte) error {
	if value == nil {
		if e := s.connectors[name]; e != nil {
			e.fenced = -1
			s.drop(name)
		}
		return nil
	}
	var v struct {
		Count *int `json:"task-count"`
	}
	if err := json.Unmarshal(value, &v); err != nil || v.Count == nil || *v.Count < 0 || *v.Count > maxFenced {
		return fmt.Errorf("malformed fencing of tasks")
	}
	e := s.entry(name)
	e.fenced, e.pending = *v.Count, false
	return nil
}

// maxFenced bounds how many tasks a record can make the worker fence.
const maxFenced = 100_000

func (s *configState) applySession(value []byte) error {
	if value == nil {
		return nil
	}
	var v struct {
		Key       []byte `json:"key"`
		Algorithm string `json:"algorithm"`
		Created   int64  `json:"creation-timestamp"`
	}
	if err := json.Unmarshal(value, &v); err != nil || len(v.Key) == 0 || v.Algorithm == "" {
		return fmt.Errorf("malformed session key")
	}
	s.session = sessionKey{v.Key, v.Algorithm, v.Created}
	return nil
}

func (s *configState) view(name string) connectorView {
	v := connectorView{name: name, target: Started, tasksRev: -1, fenced: -1}
	e := s.connectors[name]
	if e == nil {
		return v
	}
	v.fenced, v.pendingFencing = e.fenced, e.pending
	if e.config == nil {
		return v
	}
	v.exists, v.config, v.rev = true, e.config, e.rev
	if e.target != "" {
		v.target = e.target
	}
	v.applied, v.tasksRev, v.inconsistent = e.applied, e.tasksRev, e.bad
	if !e.bad {
		v.tasks = make([]map[string]string, e.count)
		for n := range e.count {
			v.tasks[n] = e.tasks[n]
		}
	}
	return v
}

func (s *configState) names() []string {
	var out []string
	for n, e := range s.connectors {
		if e.config != nil {
			out = append(out, n)
		}
	}
	sort.Strings(out)
	return out
}

// configStore keeps the state of the configuration topic and writes to it.
type configStore struct {
	topic string
	il    *internalLog
	txn   *configWriter // nil: records are written without transactions
	log   *slog.Logger

	mu       sync.RWMutex
	st       *configState
	onChange func(change, connectorView) // nil while the topic is being loaded
	maxSeen  int64
}

func newConfigStore(topic string, log *slog.Logger) *configStore {
	return &configStore{topic: topic, log: log, st: newConfigState(), maxSeen: -1}
}

func (c *configStore) handle(r *kgo.Record) {
	c.mu.Lock()
	ch, err := c.st.apply(string(r.Key), r.Value, r.Offset)
	c.maxSeen = r.Offset
	var v connectorView
	if ch.connector != "" {
		v = c.st.view(ch.connector)
	}
	notify := c.onChange
	c.mu.Unlock()
	if err != nil {
		c.log.Warn("record of the configuration topic ignored", "topic", c.topic, "offset", r.Offset, "key", string(r.Key), "error", err)
		return
	}
	if notify != nil && (ch.connector != "" || ch.restart != nil || ch.logger != "") {
		notify(ch, v)
	}
}

// follow calls f for every change from now on, and returns the views of all connectors there are now.
func (c *configStore) follow(f func(change, connectorView)) []connectorView {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onChange = f
	var out []connectorView
	for _, n := range c.st.names() {
		out = append(out, c.st.view(n))
	}
	return out
}

func (c *configStore) view(name string) connectorView {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.st.view(name)
}

func (c *configStore) names() []string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.st.names()
}

func (c *configStore) record(key string, v any) *kgo.Record {
	r := &kgo.Record{Topic: c.topic, Key: []byte(key)}
	if v != nil {
		b, err := appendJSON(nil, v)
		if err != nil {
			panic("connect: " + err.Error()) // only maps of strings, booleans and numbers are written
		}
		r.Value = b
	}
	return r
}

func targetRecord(t TargetState) any {
	v1 := t
	if t == Stopped {
		v1 = Paused // readers from before STOPPED existed
	}
	return orderedPair{"state", string(v1), "state.v2", string(t)}
}

// orderedPair is a JSON object of two members in this order, as Connect's struct schemas write them.
type orderedPair struct {
	k1 string
	v1 any
	k2 string
	v2 any
}

// putConnector writes a configuration, and before it the state to begin with when initial is not "".
func (c *configStore) putConnector(ctx context.Context, name string, config map[string]string, initial TargetState) error {
	var recs []*kgo.Record
	if initial != "" {
		recs = append(recs, c.record2(keyTarget+name, targetRecord(initial).(orderedPair)))
	}
	recs = append(recs, c.record(keyConnector+name, map[string]any{"properties": anyMap(config)}))
	return c.write(ctx, recs...)
}

func (c *configStore) record2(key string, p orderedPair) *kgo.Record {
	b := append(appendJSONString([]byte{'{'}, p.k1), ':')
	b, _ = appendJSON(b, p.v1)
	b = append(appendJSONString(append(b, ','), p.k2), ':')
	b, _ = appendJSON(b, p.v2)
	return &kgo.Record{Topic: c.topic, Key: []byte(key), Value: append(b, '}')}
}

func (c *configStore) putTarget(ctx context.Context, name string, t TargetState) error {
	return c.write(ctx, c.record2(keyTarget+name, targetRecord(t).(orderedPair)))
}

func (c *configStore) removeConnector(ctx context.Context, name string) error {
	return c.write(ctx, c.record(keyConnector+name, nil), c.record(keyTarget+name, nil))
}

func (c *configStore) putTasks(ctx context.Context, name string, tasks []map[string]string) error {
	recs := make([]*kgo.Record, 0, len(tasks)+1)
	for i, t := range tasks {
		recs = append(recs, c.record(keyTask+name+"-"+strconv.Itoa(i), map[string]any{"properties": anyMap(t)}))
	}
	recs = append(recs, c.record(keyCommit+name, map[string]any{"tasks": len(tasks)}))
	return c.write(ctx, recs...)
}

// putFencing notes that tasks before the present set of count were fenced.
func (c *configStore) putFencing(ctx context.Context, name string, count int) error {
	return c.write(ctx, c.record(keyFencing+name, map[string]any{"task-count": count}))
}

// write stores records together, in a transaction when the worker uses them, and returns when they have come back.
func (c *configStore) write(ctx context.Context, recs ...*kgo.Record) error {
	if c.txn == nil {
		return c.il.write(ctx, recs...)
	}
	if err := c.txn.write(ctx, recs); err != nil {
		return err
	}
	return c.il.awaitRecords(ctx, recs)
}

func (c *configStore) sessionKey() sessionKey {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.st.session
}

func (c *configStore) putRestart(ctx context.Context, r restartRequest) error {
	return c.write(ctx, c.record2(keyRestart+r.connector, orderedPair{"include-tasks", r.includeTasks, "only-failed", r.onlyFailed}))
}

func (c *configStore) putLogger(ctx context.Context, ns, level string) error {
	return c.write(ctx, c.record(keyLogger+ns, map[string]any{"level": level}))
}

func anyMap(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func sameTasks(a, b []map[string]string) bool {
	return slices.EqualFunc(a, b, func(x, y map[string]string) bool { return maps.Equal(x, y) })
}

func (c *configStore) loggerLevel(ns string) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.st.loggers[ns]
}
