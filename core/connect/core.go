package connect

import (
	"maps"
	"sort"
)

// The core decides what runs. It is a pure function, step(event) -> effects: no goroutine, clock, lock or I/O. The herder feeds it
// with what the configuration topic says, what users ask for and what became of earlier effects, and carries the new effects out.
//
// Each connector and each task has a slot:
//
//	           start                 up
//	  idle ------------> running ---------> running (its status follows what it reports)
//	   ^                    |
//	   |       ended        | stop: configuration changed, removed, restart asked, worker shuts down
//	   +---------------- stopping
//
// Invariants:
//   - At most one instance of a slot is alive: a new one is started only from idle, and idle is reached only by the end of the last one
//     (which the herder reports also for an instance that it has left behind after the graceful timeout, cut off from the log).
//   - What runs converges to what is wanted: every event ends in reconcile of the slots that it touches, and reconcile compares the
//     slot with the newest view, whatever happened on the way there.
//   - An instance that failed is not started again with the same configuration unless somebody asks (a restart request, a new
//     configuration): a failure is shown, not retried in a loop.
//   - Events of an instance that is not the slot's current one (an older incarnation) change nothing.
//   - Task configurations are written only when they differ from the committed ones, or were made from another configuration of the
//     connector: otherwise a restart of the worker would restart every task once more.

// workID names a connector (task is -1) or a task.
type workID struct {
	connector string
	task      int
}

func (id workID) isConnector() bool { return id.task < 0 }

// assignment is what this worker runs. One worker runs everything; under the connect group protocol it will be what the leader
// assigned. generation goes into every status.
type assignment struct {
	all        bool
	generation int
}

func (a assignment) has(workID) bool { return a.all }

type phase uint8

const (
	idle phase = iota
	running
	stopping
)

type slot struct {
	phase       phase
	incarnation uint64
	rev         int64       // of the configuration that the instance was started with
	target      TargetState // that the instance was last told (tasks)
	failed      bool        // the last instance ended with an error, with the configuration rev
	state       State       // last status written; "" none
}

// Events.
type (
	// evView: the configuration topic says this about a connector now.
	evView struct{ view connectorView }
	// evOrphan: there is a status for something that the configuration does not have.
	evOrphan struct{ id workID }
	// evRestart asks for a restart of a connector and perhaps its tasks; exact of exactly one slot.
	evRestart struct {
		req   restartRequest
		exact *workID
	}
	// evUp: the instance has started; state is RUNNING, or PAUSED for a task that waits.
	evUp struct {
		id          workID
		incarnation uint64
		state       State
		version     string
	}
	// evEnded: the instance is gone. trace is "" when it was asked to go.
	evEnded struct {
		id          workID
		incarnation uint64
		trace       string
		version     string
	}
	// evTasks: the connector answers with its task configurations.
	evTasks struct {
		id          workID
		incarnation uint64
		configs     []map[string]string
	}
	// evReconfigure: the connector wants to be asked again.
	evReconfigure struct {
		id          workID
		incarnation uint64
	}
	// evShutdown: stop everything and start nothing any more.
	evShutdown struct{}
)

// Effects.
type (
	effStart struct {
		id          workID
		incarnation uint64
		view        connectorView
	}
	effStop struct {
		id          workID
		incarnation uint64
	}
	effTarget struct {
		id          workID
		incarnation uint64
		target      TargetState
	}
	effAskTasks struct {
		id          workID
		incarnation uint64
	}
	// effWriteTasks is valid only while the connector's configuration is the one of rev.
	effWriteTasks struct {
		connector string
		rev       int64
		configs   []map[string]string
	}
	effStatus struct {
		id      workID
		state   State
		trace   string
		version string
	}
	effForgetTopics struct{ connector string }
)

type core struct {
	own          assignment
	views        map[string]connectorView
	slots        map[workID]*slot
	incarnations uint64
	down         bool
	out          []any
}

func newCore(own assignment) *core {
	return &core{own: own, views: map[string]connectorView{}, slots: map[workID]*slot{}}
}

// step takes one event in and returns what is to be done. The result is valid until the next call.
func (c *core) step(ev any) []any {
	c.out = c.out[:0]
	switch e := ev.(type) {
	case evView:
		c.onView(e.view)
	case evOrphan:
		if c.slots[e.id] == nil && !c.exists(e.id) {
			c.out = append(c.out, effStatus{id: e.id, state: StateDestroyed})
			if e.id.isConnector() {
				c.out = append(c.out, effForgetTopics{e.id.connector})
			}
		}
	case evRestart:
		c.onRestart(e)
	case evUp:
		if s := c.current(e.id, e.incarnation); s != nil && s.phase == running {
			c.put(e.id, s, e.state, "", e.version)
			if e.id.isConnector() {
				c.out = append(c.out, effAskTasks{e.id, s.incarnation})
			}
		}
	case evEnded:
		c.onEnded(e)
	case evTasks:
		c.onTasks(e)
	case evReconfigure:
		if s := c.current(e.id, e.incarnation); s != nil && s.phase == running {
			c.out = append(c.out, effAskTasks{e.id, s.incarnation})
		}
	case evShutdown:
		c.down = true
		for _, id := range c.ids(func(workID) bool { return true }) {
			c.reconcile(id)
		}
	}
	return c.out
}

func (c *core) current(id workID, incarnation uint64) *slot {
	if s := c.slots[id]; s != nil && s.incarnation == incarnation {
		return s
	}
	return nil
}

// ids lists the slots that f accepts, tasks before their connector, in a fixed order.
func (c *core) ids(f func(workID) bool) []workID {
	var out []workID
	for id := range c.slots {
		if f(id) {
			out = append(out, id)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].connector != out[j].connector {
			return out[i].connector < out[j].connector
		}
		return uint(out[i].task) < uint(out[j].task)
	})
	return out
}

func (c *core) exists(id workID) bool {
	v, ok := c.views[id.connector]
	return ok && (id.isConnector() || id.task < len(v.tasks))
}

// wanted reports whether an instance should be alive, and with which configuration.
func (c *core) wanted(id workID) (rev int64, ok bool) {
	v, have := c.views[id.connector]
	if !have || c.down || !c.own.has(id) {
		return 0, false
	}
	if id.isConnector() {
		return v.rev, v.target == Started
	}
	return v.tasksRev, v.target != Stopped && id.task < len(v.tasks)
}

func (c *core) onView(v connectorView) {
	if v.exists {
		c.views[v.name] = v
	} else {
		delete(c.views, v.name)
	}
	touched := map[workID]bool{}
	for id := range c.slots {
		if id.connector == v.name {
			touched[id] = true
		}
	}
	if v.exists {
		touched[workID{v.name, -1}] = true
		for i := range v.tasks {
			touched[workID{v.name, i}] = true
		}
	}
	for id := range touched {
		if c.slots[id] == nil {
			c.slots[id] = &slot{}
		}
	}
	for _, id := range c.ids(func(id workID) bool { return id.connector == v.name }) {
		c.reconcile(id)
	}
	if !v.exists || c.down {
		return
	}
	if v.target == Stopped && (len(v.tasks) > 0 || v.inconsistent) {
		c.out = append(c.out, effWriteTasks{v.name, v.rev, nil})
	}
	id := workID{v.name, -1}
	if s := c.slots[id]; v.inconsistent && s.phase == running && s.rev == v.rev {
		c.out = append(c.out, effAskTasks{id, s.incarnation}) // a commit of somebody who died has broken the set of tasks
	}
}

// reconcile moves a slot a step towards what is wanted.
func (c *core) reconcile(id workID) {
	s := c.slots[id]
	rev, want := c.wanted(id)
	v := c.views[id.connector]
	switch s.phase {
	case stopping: // its end brings us back here
	case running:
		if !want || rev != s.rev {
			c.stop(id, s)
		} else if !id.isConnector() && v.target != s.target {
			s.target = v.target
			c.out = append(c.out, effTarget{id, s.incarnation, v.target})
		}
	case idle:
		switch {
		case want && (!s.failed || rev != s.rev):
			c.incarnations++
			*s = slot{phase: running, incarnation: c.incarnations, rev: rev, target: v.target, state: s.state}
			c.out = append(c.out, effStart{id, s.incarnation, v})
		case !want:
			c.settle(id, s, v)
		}
	}
}

func (c *core) stop(id workID, s *slot) {
	s.phase = stopping
	c.out = append(c.out, effStop{id, s.incarnation})
}

// settle gives something that is not to run the status that says why.
func (c *core) settle(id workID, s *slot, v connectorView) {
	switch {
	case c.down || !c.own.has(id):
		if s.state != "" && s.state != StateUnassigned {
			c.put(id, s, StateUnassigned, "", "")
		}
	case !c.exists(id):
		c.out = append(c.out, effStatus{id: id, state: StateDestroyed})
		if id.isConnector() {
			c.out = append(c.out, effForgetTopics{id.connector})
		}
		delete(c.slots, id)
	case id.isConnector():
		state := StatePaused
		if v.target == Stopped {
			state = StateStopped
		}
		s.failed = false
		if s.state != state {
			c.put(id, s, state, "", "")
		}
	default: // a task of a stopped connector: it is about to be removed from the configuration
		s.failed = false
	}
}

func (c *core) put(id workID, s *slot, state State, trace, version string) {
	s.state = state
	c.out = append(c.out, effStatus{id, state, trace, version})
}

func (c *core) onEnded(e evEnded) {
	s := c.current(e.id, e.incarnation)
	if s == nil || s.phase == idle {
		return
	}
	asked := s.phase == stopping
	s.phase = idle
	if e.trace != "" && !asked {
		s.failed = true
		c.put(e.id, s, StateFailed, e.trace, e.version)
	}
	c.reconcile(e.id)
}

// restartable lists what a restart request means, by the statuses written last.
func (c *core) restartable(r restartRequest) []workID {
	return c.ids(func(id workID) bool {
		if id.connector != r.connector || !id.isConnector() && !r.includeTasks {
			return false
		}
		return !r.onlyFailed || c.slots[id].state == StateFailed
	})
}

func (c *core) onRestart(e evRestart) {
	ids := []workID{}
	if e.exact != nil {
		ids = append(ids, *e.exact)
	} else {
		ids = c.restartable(e.req)
	}
	for _, id := range ids {
		s := c.slots[id]
		if s == nil || c.down {
			continue
		}
		s.failed = false
		c.put(id, s, StateRestarting, "", "")
		if s.phase == running {
			c.stop(id, s)
		} else {
			c.reconcile(id)
		}
	}
}

func (c *core) onTasks(e evTasks) {
	s := c.current(e.id, e.incarnation)
	v, ok := c.views[e.id.connector]
	if s == nil || s.phase != running || !ok || v.rev != s.rev || v.target != Started {
		return
	}
	if !v.inconsistent && v.tasksRev >= 0 && sameTasks(v.tasks, e.configs) && maps.Equal(v.applied, v.config) {
		return
	}
	c.out = append(c.out, effWriteTasks{v.name, v.rev, e.configs})
}
