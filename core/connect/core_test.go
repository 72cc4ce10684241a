package connect

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// world plays the herder and the configuration topic for the core: it keeps what is alive, and answers effects late and in any order.
type world struct {
	t    *testing.T
	rng  *rand.Rand
	core *core
	st   *configState
	off  int64

	alive    map[workID]uint64
	stopping map[workID]bool
	failing  map[workID]bool // fails when it gets to run
	inbox    []any           // events on their way
	status   map[workID]State
	nTasks   map[string]int
	log      []string
}

func newWorld(t *testing.T, seed uint64) *world {
	return &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), core: newCore(assignment{all: true, generation: 1}), st: newConfigState(),
		alive: map[workID]uint64{}, stopping: map[workID]bool{}, failing: map[workID]bool{}, status: map[workID]State{}, nTasks: map[string]int{}}
}

func (w *world) step(ev any) {
	w.log = append(w.log, fmt.Sprintf("%T%+v", ev, ev))
	for _, eff := range append([]any(nil), w.core.step(ev)...) {
		w.log = append(w.log, fmt.Sprintf("   %T%+v", eff, eff))
		switch e := eff.(type) {
		case effStart:
			require.NotContains(w.t, w.alive, e.id, "two instances of %v\n%s", e.id, w.history())
			w.alive[e.id] = e.incarnation
			if w.failing[e.id] {
				w.inbox = append(w.inbox, evEnded{id: e.id, incarnation: e.incarnation, trace: "boom"})
			} else {
				state := StateRunning
				if e.view.target == Paused && !e.id.isConnector() {
					state = StatePaused
				}
				w.inbox = append(w.inbox, evUp{id: e.id, incarnation: e.incarnation, state: state})
			}
		case effStop:
			require.Equal(w.t, e.incarnation, w.alive[e.id], "stop of what is not alive: %v\n%s", e.id, w.history())
			w.stopping[e.id] = true
			w.inbox = append(w.inbox, evEnded{id: e.id, incarnation: e.incarnation})
		case effTarget:
			state := StateRunning
			if e.target == Paused {
				state = StatePaused
			}
			w.inbox = append(w.inbox, evUp{id: e.id, incarnation: e.incarnation, state: state})
		case effAskTasks:
			w.inbox = append(w.inbox, evTasks{e.id, e.incarnation, tasksOf(w.nTasks[e.id.connector])})
		case effWriteTasks:
			if v := w.st.view(e.connector); v.exists && v.rev == e.rev && (v.target == Stopped) == (e.configs == nil) {
				for i, c := range e.configs {
					w.record(fmt.Sprintf("task-%s-%d", e.connector, i), fmt.Sprintf(`{"properties":{"n":%q}}`, c["n"]))
				}
				w.record("commit-"+e.connector, fmt.Sprintf(`{"tasks":%d}`, len(e.configs)))
			}
		case effStatus:
			if e.state == StateDestroyed {
				delete(w.status, e.id)
			} else {
				w.status[e.id] = e.state
			}
		}
	}
}

func (w *world) history() string { return strings.Join(w.log, "\n") }

func tasksOf(n int) []map[string]string {
	out := []map[string]string{}
	for i := range n {
		out = append(out, map[string]string{"n": fmt.Sprint(i)})
	}
	return out
}

func (w *world) record(key, value string) {
	var v []byte
	if value != "" {
		v = []byte(value)
	}
	ch, err := w.st.apply(key, v, w.off)
	require.NoError(w.t, err)
	w.off++
	if ch.connector != "" {
		w.inbox = append(w.inbox, evView{w.st.view(ch.connector)})
	}
	if ch.restart != nil {
		w.inbox = append(w.inbox, evRestart{req: *ch.restart})
	}
}

// stream names what an event comes in order with: the records of the topic, or what one instance reports.
func stream(ev any) string {
	switch e := ev.(type) {
	case evView:
		return "topic"
	case evUp:
		return fmt.Sprint(e.id, e.incarnation)
	case evEnded:
		return fmt.Sprint(e.id, e.incarnation)
	}
	return ""
}

// deliver hands one event over, of any stream, but the streams in order.
func (w *world) deliver() {
	i := w.rng.IntN(len(w.inbox))
	if s := stream(w.inbox[i]); s != "" {
		for j, ev := range w.inbox[:i] {
			if stream(ev) == s {
				i = j
				break
			}
		}
	}
	ev := w.inbox[i]
	w.inbox = append(w.inbox[:i], w.inbox[i+1:]...)
	if e, ok := ev.(evEnded); ok {
		if w.alive[e.id] != e.incarnation {
			return // it has ended already, of itself
		}
		delete(w.alive, e.id)
		delete(w.stopping, e.id)
	}
	w.step(ev)
}

func (w *world) act(names []string) {
	name := names[w.rng.IntN(len(names))]
	id := workID{name, w.rng.IntN(3) - 1}
	switch w.rng.IntN(12) {
	case 0, 1:
		w.nTasks[name] = w.rng.IntN(3)
		w.record("connector-"+name, fmt.Sprintf(`{"properties":{"v":"%d"}}`, w.off))
	case 2:
		w.record("connector-"+name, "")
		w.record("target-state-"+name, "")
	case 3, 4, 5:
		t := []TargetState{Started, Paused, Stopped}[w.rng.IntN(3)]
		w.record("target-state-"+name, fmt.Sprintf(`{"state":"PAUSED","state.v2":%q}`, t))
	case 6:
		w.record("restart-connector-"+name, fmt.Sprintf(`{"include-tasks":%v,"only-failed":%v}`, w.rng.IntN(2) == 0, w.rng.IntN(2) == 0))
	case 7:
		w.inbox = append(w.inbox, evRestart{exact: &id})
	case 8:
		w.failing[id] = !w.failing[id]
	case 9:
		if inc, ok := w.alive[id]; ok && !w.stopping[id] {
			w.inbox = append(w.inbox, evEnded{id: id, incarnation: inc, trace: "fell over"})
		}
	case 10:
		w.nTasks[name] = w.rng.IntN(3)
		if inc, ok := w.alive[workID{name, -1}]; ok {
			w.inbox = append(w.inbox, evReconfigure{workID{name, -1}, inc})
		}
	case 11:
		w.record("commit-"+name, `{"tasks":2}`) // of a worker that died in between: the tasks are missing
	}
}

func TestWhateverHappensTheCoreConverges(t *testing.T) {
	names := []string{"a", "b-0", "c"}
	for seed := range uint64(3000) {
		w := newWorld(t, seed)
		for range 60 {
			if len(w.inbox) == 0 || w.rng.IntN(3) == 0 {
				w.act(names)
			} else {
				w.deliver()
			}
		}
		w.failing = map[workID]bool{}
		for n := 0; len(w.inbox) > 0; n++ {
			require.Less(t, n, 10000, "seed %d does not come to rest", seed)
			w.deliver()
		}
		for _, n := range names {
			v := w.st.view(n)
			ids := []workID{{n, -1}}
			for i := range 3 {
				ids = append(ids, workID{n, i})
			}
			for _, id := range ids {
				_, alive := w.alive[id]
				want := v.exists && (id.isConnector() && v.target == Started || !id.isConnector() && v.target != Stopped && id.task < len(v.tasks))
				failed := w.status[id] == StateFailed
				require.False(t, alive && !want, "seed %d: %v should not run\n%s", seed, id, w.history())
				require.False(t, want && !alive && !failed, "seed %d: %v should run\n%s", seed, id, w.history())
				switch {
				case alive && !id.isConnector() && v.target == Paused:
					require.Equal(t, StatePaused, w.status[id], "seed %d %v\n%s", seed, id, w.history())
				case alive:
					require.Equal(t, StateRunning, w.status[id], "seed %d %v\n%s", seed, id, w.history())
				case !v.exists || !id.isConnector() && id.task >= len(v.tasks):
					require.NotContains(t, w.status, id, "seed %d %v\n%s", seed, id, w.history())
				case id.isConnector() && !want:
					require.Equal(t, map[TargetState]State{Paused: StatePaused, Stopped: StateStopped}[v.target], w.status[id], "seed %d %v\n%s", seed, id, w.history())
				}
			}
			if v.exists && v.target == Started && w.alive[workID{n, -1}] != 0 {
				require.False(t, v.inconsistent, "seed %d: tasks of %s were not made again\n%s", seed, n, w.history())
			}
		}
		w.step(evShutdown{})
		for len(w.inbox) > 0 {
			w.deliver()
		}
		require.Empty(t, w.alive, "seed %d", seed)
		for id, st := range w.status {
			require.NotContains(t, []State{StateRunning, StatePaused, StateRestarting}, st, "seed %d %v after shutdown", seed, id)
		}
	}
}

func TestACommitWithoutItsTasksIsInconsistent(t *testing.T) {
	s := newConfigState()
	apply := func(key, value string) {
		var v []byte
		if value != "" {
			v = []byte(value)
		}
		_, err := s.apply(key, v, int64(len(key)))
		require.NoError(t, err)
	}
	apply("connector-a-1", `{"properties":{"name":"a-1","tasks.max":"2"}}`)
	apply("task-a-1-0", `{"properties":{"n":"0"}}`)
	require.Empty(t, s.view("a-1").tasks, "tasks count from their commit on")
	apply("task-a-1-1", `{"properties":{"n":"1"}}`)
	apply("task-a-1-2", `{"properties":{"n":"2"}}`)
	apply("commit-a-1", `{"tasks":2}`)
	require.Equal(t, tasksOf(2), s.view("a-1").tasks, "a task beyond the count is an old one")
	apply("task-a-1-0", `{"properties":{"n":"9"}}`)
	apply("commit-a-1", `{"tasks":2}`)
	v := s.view("a-1")
	require.True(t, v.inconsistent)
	require.Empty(t, v.tasks)
	apply("connector-a-1", "")
	require.False(t, s.view("a-1").exists)
	require.Empty(t, s.names())
	for key, value := range map[string]string{"task-x": `{"properties":{}}`, "commit-x": `{}`, "connector-x": `[]`, "target-state-x": `{"state":"ODD"}`, "weird": "1", "restart-connector-x": "{}", "task-x--": `{"properties":{}}`} {
		_, err := s.apply(key, []byte(value), 0)
		require.Error(t, err, key)
	}
}

func FuzzConfigRecords(f *testing.F) {
	for _, s := range [][2]string{
		{"connector-a", `{"properties":{"a":"b","c":null}}`}, {"task-a-0", `{"properties":{}}`}, {"commit-a", `{"tasks":1}`}, {"target-state-a", `{"state":"PAUSED","state.v2":"STOPPED"}`},
		{"restart-connector-a", `{"include-tasks":true,"only-failed":false}`}, {"logger-cluster-x", `{"level":"INFO"}`}, {"session-key", `{}`}, {"tasks-fencing-a", `{"task-count":1}`}, {"commit-a", `{"tasks":99999999999}`},
	} {
		f.Add(s[0], []byte(s[1]))
	}
	f.Fuzz(func(_ *testing.T, key string, value []byte) {
		s := newConfigState()
		_, _ = s.apply("connector-a", []byte(`{"properties":{}}`), 0)
		if ch, err := s.apply(key, value, 1); err == nil {
			_ = s.view(ch.connector)
		}
		_, _ = s.apply(key, nil, 2)
		_ = s.names()
	})
}
