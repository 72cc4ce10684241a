package connect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/plugins"
)

// run is one instance of a connector or task: what an effStart of the core made.
type run struct {
	w           *Worker
	id          workID
	incarnation uint64
	view        connectorView
	log         *slog.Logger
	metrics     *taskMetrics // tasks only

	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine is gone

	mu      sync.Mutex
	target  TargetState
	changed chan struct{} // closed and replaced when target changes
	raised  error
	abort   []func() // cuts an instance that does not stop off from the log

	leftBehind atomic.Bool // it did not stop in time

	lostAt time.Time     // source tasks: when the producer was shut out last
	ask    chan struct{} // connectors: TaskConfigs is wanted
}

func (w *Worker) newRun(e effStart) *run {
	r := &run{w: w, id: e.id, incarnation: e.incarnation, view: e.view, target: e.view.target, done: make(chan struct{}), changed: make(chan struct{}), ask: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	class := e.view.config["connector.class"]
	if s, ok := w.cfg.Plugins.Connector(class); ok {
		class = s.Class
	}
	r.log = w.levels.logger(class).With("connector", e.id.connector)
	if !e.id.isConnector() {
		r.log = r.log.With("task", e.id.task)
		r.metrics = &taskMetrics{since: w.now()}
	}
	return r
}

func (r *run) setTarget(t TargetState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.target = t
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *run) targetState() (TargetState, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.target, r.changed
}

// raise fails the instance from outside its calls.
func (r *run) raise(err error) {
	if err == nil {
		return
	}
	r.mu.Lock()
	if r.raised == nil {
		r.raised = err
	}
	r.mu.Unlock()
	r.cancel()
}

func (r *run) raisedError() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.raised
}

// onAbort registers what to do when the instance is left behind.
func (r *run) onAbort(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.abort = append(r.abort, f)
}

func (r *run) cutOff() {
	r.mu.Lock()
	fs := r.abort
	r.mu.Unlock()
	for _, f := range fs {
		f()
	}
}

// execute runs the instance to its end and reports it.
func (r *run) execute() {
	defer close(r.done)
	var (
		version string
		p       *parsed
	)
	err := guard(func() error {
		config := r.view.config
		if !r.id.isConnector() && r.view.applied != nil {
			config = r.view.applied
		}
		var err error
		if p, err = r.w.parse(r.ctx, config); err != nil {
			return err
		}
		version = p.spec.Version
		r.log = slog.New(redactingHandler{r.log.Handler(), p.secrets})
		if n := p.errorCount(); n > 0 {
			return fmt.Errorf("configuration of the connector is not valid any more: %w", invalid(p.infos(config)))
		}
		switch {
		case r.id.isConnector():
			return r.runConnector(p)
		case p.spec.Kind == plugins.KindSource:
			return r.runSource(p)
		default:
			return r.runSink(p)
		}
	})
	if raised := r.raisedError(); raised != nil {
		err = raised
	} else if r.ctx.Err() != nil && err != nil {
		if !errors.Is(err, context.Canceled) {
			r.log.Warn("error while stopping", "error", err)
		}
		err = nil
	} else if err == nil && r.ctx.Err() == nil {
		err = fmt.Errorf("ended by itself")
	}
	r.cancel()
	text := ""
	if err != nil {
		text = trace(err)
		if p != nil {
			text = p.secrets.clean(text)
		}
		r.log.Error("failed; it will not recover until it is restarted or configured anew", "error", text)
	}
	r.w.herd.post(evEnded{id: r.id, incarnation: r.incarnation, trace: text, version: version})
}

// awaitStart waits while the task is to be paused, and says so. It returns false when the task is to stop.
func (r *run) awaitStart(version string) bool {
	for reported := false; ; {
		t, changed := r.targetState()
		if t == Started {
			r.metrics.paused(false)
			return r.ctx.Err() == nil
		}
		if !reported {
			r.metrics.paused(true)
			r.report(StatePaused, version)
			reported = true
		}
		select {
		case <-r.ctx.Done():
			return false
		case <-changed:
		}
	}
}

func (r *run) report(state State, version string) {
	r.w.herd.post(evUp{id: r.id, incarnation: r.incarnation, state: state, version: version})
}

func (r *run) env(offsets plugins.OffsetReader) plugins.Env {
	e := plugins.Env{ConnectorName: r.id.connector, TaskID: r.id.task, Logger: r.log, RaiseError: r.raise, RequestTaskReconfiguration: func() {}, Offsets: offsets}
	if r.w.cfg.Registerer != nil {
		labels := prometheus.Labels{"connector": r.id.connector, "task": strconv.Itoa(r.id.task)}
		reg := newScopedRegisterer(prometheus.WrapRegistererWith(labels, r.w.cfg.Registerer))
		e.Metrics = reg
		r.onEnd(reg.unregisterAll)
	}
	return e
}

// onEnd registers what to do when the instance is gone for good.
func (r *run) onEnd(f func()) {
	go func() {
		<-r.done
		f()
	}()
}

func taskClass(connector string) string {
	if strings.HasPrefix(connector, "io.debezium.") {
		return connector + "Task"
	}
	return strings.TrimSuffix(connector, "Connector") + "Task"
}

// runConnector starts the connector and answers with task configurations whenever they are asked for.
func (r *run) runConnector(p *parsed) (err error) {
	r.w.starts.connectorTry.Add(1)
	c := p.spec.New()
	env := r.env(nil)
	if p.spec.Kind == plugins.KindSource {
		offs, err := r.w.openOffsets(r.ctx, r.id.connector, p)
		if err != nil {
			return fmt.Errorf("open the source offsets: %w", err)
		}
		defer offs.close()
		env.Offsets = offs
	}
	env.RequestTaskReconfiguration = func() { r.w.herd.post(evReconfigure{r.id, r.incarnation}) }
	if err := c.Start(r.ctx, env, p.own); err != nil {
		r.w.starts.connectorFail.Add(1)
		_ = guard(c.Stop)
		return err
	}
	r.w.starts.connectorOK.Add(1)
	defer func() {
		if e := guard(c.Stop); e != nil && err == nil {
			err = fmt.Errorf("stop: %w", e)
		}
	}()
	r.report(StateRunning, p.spec.Version)
	for {
		select {
		case <-r.ctx.Done():
			return nil
		case <-r.ask:
			configs, err := r.taskConfigs(c, p)
			if plugins.IsRetriable(err) {
				r.log.Warn("making task configurations failed; it is tried again", "error", err)
				if sleep(r.ctx, firstRetryDelay) == nil {
					r.askTasks()
				}
				continue
			}
			if err != nil {
				return err
			}
			r.w.herd.post(evTasks{r.id, r.incarnation, configs})
		}
	}
}

func (r *run) askTasks() {
	select {
	case r.ask <- struct{}{}:
	default:
	}
}

func (r *run) taskConfigs(c plugins.Connector, p *parsed) ([]map[string]string, error) {
	most := int(p.base.Int("tasks.max"))
	configs, err := c.TaskConfigs(most)
	if err != nil {
		return nil, err
	}
	if len(configs) > most && p.base.Bool("tasks.max.enforce") {
		return nil, fmt.Errorf("the connector %s has generated %d tasks, which is greater than %d, the maximum number of tasks it is configured to create. This behaviour should be considered a bug and is disallowed. If necessary, it can be permitted by reconfiguring the connector with 'tasks.max.enforce' set to false", r.id.connector, len(configs), most)
	}
	raw := r.view.config
	out := make([]map[string]string, len(configs))
	for i, m := range configs {
		t := make(map[string]string, len(m)+1)
		for k, v := range m {
			// What came from a reference is stored as the reference.
			if s, ok := raw[k]; ok && s != v && p.resolved[k] == v {
				v = s
			}
			t[k] = v
		}
		t["task.class"] = taskClass(p.spec.Class)
		if p.spec.Kind == plugins.KindSink {
			for _, k := range []string{"topics", "topics.regex"} {
				if s, ok := raw[k]; ok && s != "" {
					t[k] = s
				}
			}
		}
		out[i] = t
	}
	return out, nil
}

// taskValues parses the task's own configuration.
func (r *run) taskValues(p *parsed) (v plugins.ConnectorSpec, resolved map[string]string, err error) {
	resolved, err = r.w.resolve(r.ctx, r.view.tasks[r.id.task])
	return *p.spec, resolved, err
}

// clientProps joins the worker's and a connector's settings of a client side over defaults.
func (w *Worker) clientProps(side string, p *parsed, defaults map[string]string) map[string]string {
	return merged(defaults, w.set.withPrefix(side+"."), below(p.resolved, side+".override."))
}

func (r *run) clientProps(side string, p *parsed, defaults map[string]string) map[string]string {
	return r.w.clientProps(side, p, defaults)
}

func (r *run) newClient(side, id string, p *parsed, extra ...kgo.Opt) (*kgo.Client, map[string]string, error) {
	props := r.clientProps(side, p, map[string]string{"client.id": id})
	cl, err := r.clientOf(side, props, extra...)
	return cl, props, err
}

// clientOf makes a client of a side with these properties.
func (r *run) clientOf(side string, props map[string]string, extra ...kgo.Opt) (*kgo.Client, error) {
	opts, err := clientOpts(side, props)
	if err != nil {
		return nil, err
	}
	all := append(append(append([]kgo.Opt{}, r.w.cfg.KafkaOpts...), kgo.WithLogger(kgoLogger{r.log}), kgo.WithHooks(byteHook{r.metrics})), opts...)
	cl, err := kgo.NewClient(append(all, extra...)...)
	if err != nil {
		return nil, fmt.Errorf("%s client: %w", side, err)
	}
	return cl, nil
}

func (r *run) label(kind string) string {
	return "connector-" + kind + "-" + r.id.connector + "-" + strconv.Itoa(r.id.task)
}
