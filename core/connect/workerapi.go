package connect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/moldau-io/moldau/core/connect/api"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

func fail(code int, format string, args ...any) error {
	return &api.Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// notReady answers requests that come before the topics were read.
func (w *Worker) notReady() error {
	if by := w.successor.Load(); by != nil {
		return fail(503, "This worker has been succeeded by worker %s, which runs the connectors now", *by)
	}
	if !w.ready.Load() {
		return fail(503, "Connect worker is starting up and has not read its configuration yet")
	}
	return nil
}

func (w *Worker) existing(name string) (connectorView, error) {
	if err := w.notReady(); err != nil {
		return connectorView{}, err
	}
	v := w.configs.view(name)
	if !v.exists {
		return v, fail(404, "Connector %s not found", name)
	}
	return v, nil
}

// ServerInfo tells who answers.
func (w *Worker) ServerInfo() api.ServerInfo {
	s := api.ServerInfo{Version: w.cfg.Version, Commit: w.cfg.Commit}
	if id := w.clusterID.Load(); id != nil {
		s.ClusterID = *id
	}
	return s
}

// Health tells whether the worker can serve (KIP-1017).
func (w *Worker) Health() api.Health {
	if by := w.successor.Load(); by != nil {
		return api.Health{Status: "unhealthy", Message: "Worker has been succeeded by worker " + *by + " and stopped its connectors."}
	}
	if !w.ready.Load() {
		return api.Health{Status: "starting", Message: "Worker is still starting up."}
	}
	return api.Health{Status: "healthy", Message: "Worker has completed startup and is ready to handle requests."}
}

// Connectors lists the names of all connectors.
func (w *Worker) Connectors() ([]string, error) {
	if err := w.notReady(); err != nil {
		return nil, err
	}
	return append([]string{}, w.configs.names()...), nil
}

func (w *Worker) info(v connectorView) *api.ConnectorInfo {
	out := &api.ConnectorInfo{Name: v.name, Config: maps.Clone(v.config), Tasks: []api.TaskID{}, Type: kindOf(w.cfg.Plugins, v.config["connector.class"])}
	for i := range v.tasks {
		out.Tasks = append(out.Tasks, api.TaskID{Connector: v.name, Task: i})
	}
	return out
}

// ConnectorInfo describes a connector.
func (w *Worker) ConnectorInfo(name string) (*api.ConnectorInfo, error) {
	v, err := w.existing(name)
	if err != nil {
		return nil, err
	}
	return w.info(v), nil
}

// ConnectorConfig returns a connector's configuration as it was written.
func (w *Worker) ConnectorConfig(name string) (map[string]string, error) {
	v, err := w.existing(name)
	return maps.Clone(v.config), err
}

// ConnectorStatus returns the states of a connector and its tasks.
func (w *Worker) ConnectorStatus(name string) (*api.ConnectorStateInfo, error) {
	if err := w.notReady(); err != nil {
		return nil, err
	}
	v := w.configs.view(name)
	st := w.status.info(name, kindOf(w.cfg.Plugins, v.config["connector.class"]))
	if st == nil {
		return nil, fail(404, "No status found for connector %s", name)
	}
	return st, nil
}

// Tasks lists a connector's tasks with their configurations.
func (w *Worker) Tasks(name string) ([]api.TaskInfo, error) {
	v, err := w.existing(name)
	if err != nil {
		return nil, err
	}
	out := []api.TaskInfo{}
	for i, t := range v.tasks {
		out = append(out, api.TaskInfo{ID: api.TaskID{Connector: name, Task: i}, Config: maps.Clone(t)})
	}
	return out, nil
}

// TaskStatus returns a task's state.
func (w *Worker) TaskStatus(name string, task int) (*api.TaskState, error) {
	if err := w.notReady(); err != nil {
		return nil, err
	}
	if st := w.status.info(name, ""); st != nil {
		for i := range st.Tasks {
			if st.Tasks[i].ID == task {
				return &st.Tasks[i], nil
			}
		}
	}
	return nil, fail(404, "No status found for task %s-%d", name, task)
}

// check validates a configuration and returns a 400 error with all that is wrong.
func (w *Worker) check(ctx context.Context, name string, config map[string]string) error {
	p, err := w.parse(ctx, config)
	if err != nil {
		return err
	}
	if err := p.validateWorld(ctx); err != nil {
		return fail(500, "%s", p.secrets.clean(err.Error()))
	}
	if infos := p.infos(config); infos.ErrorCount > 0 {
		return invalid(infos)
	}
	w.warnUnknown(name, p)
	return nil
}

func initialState(s string) (TargetState, error) {
	switch strings.ToUpper(s) {
	case "":
		return "", nil
	case "RUNNING":
		return Started, nil
	case "PAUSED":
		return Paused, nil
	case "STOPPED":
		return Stopped, nil
	}
	return "", fail(400, "Unsupported initial state %q: it must be one of RUNNING, PAUSED, STOPPED", s)
}

// Create makes a connector.
func (w *Worker) Create(ctx context.Context, req api.CreateRequest) (*api.ConnectorInfo, error) {
	initial, err := initialState(req.InitialState)
	if err != nil {
		return nil, err
	}
	info, _, err := w.put(ctx, req.Name, req.Config, initial, false)
	return info, err
}

// PutConfig makes a connector or changes its configuration; created tells which.
func (w *Worker) PutConfig(ctx context.Context, name string, config map[string]string) (info *api.ConnectorInfo, created bool, err error) {
	return w.put(ctx, name, config, "", true)
}

func (w *Worker) put(ctx context.Context, name string, config map[string]string, initial TargetState, replace bool) (*api.ConnectorInfo, bool, error) {
	if err := w.notReady(); err != nil {
		return nil, false, err
	}
	if err := w.check(ctx, name, config); err != nil {
		return nil, false, err
	}
	w.writeMu.Lock()
	defer w.writeMu.Unlock()
	exists := w.configs.view(name).exists
	if exists && !replace {
		return nil, false, fail(409, "Connector %s already exists", name)
	}
	if err := w.configs.putConnector(ctx, name, config, initial); err != nil {
		return nil, false, w.failed("write the connector configuration", err)
	}
	v := w.configs.view(name)
	if !exists {
		v.tasks = nil
	}
	return w.info(v), !exists, nil
}

func (w *Worker) failed(what string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fail(500, "Request timed out. The last operation the worker tried to perform was: %s", what)
	}
	return fail(500, "%s: %s", what, err)
}

// PatchConfig merges changes into a connector's configuration; a null removes a key (KIP-477).
func (w *Worker) PatchConfig(ctx context.Context, name string, patch map[string]*string) (*api.ConnectorInfo, error) {
	v, err := w.existing(name)
	if err != nil {
		return nil, err
	}
	config := maps.Clone(v.config)
	for k, s := range patch {
		if s == nil {
			delete(config, k)
		} else {
			config[k] = *s
		}
	}
	info, _, err := w.put(ctx, name, config, "", true)
	return info, err
}

// Delete removes a connector.
func (w *Worker) Delete(ctx context.Context, name string) error {
	if _, err := w.existing(name); err != nil {
		return err
	}
	w.writeMu.Lock()
	defer w.writeMu.Unlock()
	if err := w.configs.removeConnector(ctx, name); err != nil {
		return w.failed("remove the connector", err)
	}
	return nil
}

// SetTarget pauses, resumes or stops a connector. It may return before that has happened.
func (w *Worker) SetTarget(ctx context.Context, name string, t TargetState) error {
	if err := w.notReady(); err != nil {
		return err
	}
	if !w.configs.view(name).exists {
		return fail(404, "Unknown connector %s", name)
	}
	w.writeMu.Lock()
	defer w.writeMu.Unlock()
	if err := w.configs.putTarget(ctx, name, t); err != nil {
		return w.failed("write the target state", err)
	}
	return nil
}

// Pause, Resume and Stop set the target state of a connector.
func (w *Worker) Pause(ctx context.Context, name string) error { return w.SetTarget(ctx, name, Paused) }

// Resume sets the target state STARTED.
func (w *Worker) Resume(ctx context.Context, name string) error {
	return w.SetTarget(ctx, name, Started)
}

// Stop sets the target state STOPPED.
func (w *Worker) Stop(ctx context.Context, name string) error { return w.SetTarget(ctx, name, Stopped) }

// Restart restarts a connector and, as asked, its tasks (KIP-745). The answer shows what will be restarted; it is nil for a restart of
// the connector alone.
func (w *Worker) Restart(ctx context.Context, name string, includeTasks, onlyFailed bool) (*api.ConnectorStateInfo, error) {
	if err := w.notReady(); err != nil {
		return nil, err
	}
	if !w.configs.view(name).exists {
		return nil, fail(404, "Unknown connector: %s", name)
	}
	if !includeTasks && !onlyFailed {
		w.herd.post(evRestart{exact: &workID{name, -1}})
		return nil, nil
	}
	st, err := w.ConnectorStatus(name)
	if err != nil {
		return nil, fail(404, "Status for connector %s not found", name)
	}
	if !onlyFailed || st.Connector.State == string(StateFailed) {
		st.Connector.State = string(StateRestarting)
	}
	for i := range st.Tasks {
		if includeTasks && (!onlyFailed || st.Tasks[i].State == string(StateFailed)) {
			st.Tasks[i].State = string(StateRestarting)
		}
	}
	w.writeMu.Lock()
	defer w.writeMu.Unlock()
	if err := w.configs.putRestart(ctx, restartRequest{name, includeTasks, onlyFailed}); err != nil {
		return nil, w.failed("write the restart request", err)
	}
	return st, nil
}

// RestartTask restarts one task.
func (w *Worker) RestartTask(_ context.Context, name string, task int) error {
	if err := w.notReady(); err != nil {
		return err
	}
	v := w.configs.view(name)
	if !v.exists {
		return fail(404, "Unknown connector: %s", name)
	}
	if task < 0 || task >= len(v.tasks) {
		return fail(404, "Unknown task: %s-%d", name, task)
	}
	w.herd.post(evRestart{exact: &workID{name, task}})
	return nil
}

// ActiveTopics lists the topics that a connector has used since its creation or the last reset.
func (w *Worker) ActiveTopics(name string) ([]string, error) {
	if !w.set.topicTracking {
		return nil, fail(403, "Topic tracking is disabled.")
	}
	if err := w.notReady(); err != nil {
		return nil, err
	}
	return w.status.activeTopics(name), nil
}

// ResetTopics forgets the topics of a connector.
func (w *Worker) ResetTopics(name string) error {
	if !w.set.topicTracking {
		return fail(403, "Topic tracking is disabled.")
	}
	if !w.set.trackingReset {
		return fail(403, "Topic tracking reset is disabled.")
	}
	if err := w.notReady(); err != nil {
		return err
	}
	w.status.dropTopics(name)
	return nil
}

// Plugins lists the plugins of the worker.
func (w *Worker) Plugins(connectorsOnly bool) []api.PluginInfo {
	out := []api.PluginInfo{}
	for _, i := range w.cfg.Plugins.List(connectorsOnly) {
		out = append(out, api.PluginInfo{Class: i.Class, Type: string(i.Type), Version: i.Version})
	}
	return out
}

// Validate checks a configuration for a plugin without storing it.
func (w *Worker) Validate(ctx context.Context, plugin string, config map[string]string) (*api.ConfigInfos, error) {
	if class, ok := config["connector.class"]; ok {
		want, wok := w.cfg.Plugins.Connector(plugin)
		have, hok := w.cfg.Plugins.Connector(class)
		if class != plugin && (!wok || !hok || want != have) {
			return nil, fail(400, "Included connector type %s does not match request type %s", class, plugin)
		}
	}
	p, err := w.parse(ctx, config)
	if err != nil {
		var e *api.Error
		if errors.As(err, &e) && e.Code == 400 {
			// Kafka Connect runs the validation elsewhere and reports its exception as it is.
			return nil, fail(500, "org.apache.kafka.connect.runtime.rest.errors.BadRequestException: %s", e.Message)
		}
		return nil, err
	}
	if err := p.validateWorld(ctx); err != nil {
		return nil, fail(500, "%s", p.secrets.clean(err.Error()))
	}
	return p.infos(config), nil
}

// PluginConfig lists the keys of a plugin of any kind.
func (w *Worker) PluginConfig(name string) ([]*api.ConfigKeyInfo, error) {
	reg := w.cfg.Plugins
	var def *configdef.Def
	if s, ok := reg.Connector(name); ok {
		d := w.workerDefaults()
		if s.Kind == plugins.KindSink {
			def = sinkDef(d).Merge(s.Config)
		} else {
			def = sourceDef(d).Merge(s.Config)
		}
	} else if s, ok := reg.Converter(name); ok {
		def = s.Config
	} else if s, ok := reg.HeaderConverter(name); ok {
		def = s.Config
	} else if s, ok := reg.Transform(name); ok {
		def = s.Config
	} else if s, ok := reg.Predicate(name); ok {
		def = s.Config
	} else {
		return nil, fail(404, "Unknown plugin %s.", name)
	}
	out, order := []*api.ConfigKeyInfo{}, map[string]int{}
	if def == nil {
		return out, nil
	}
	for _, k := range def.Keys() {
		if !k.Internal {
			out = append(out, keyInfo(k, k.Name, k.Group, order))
		}
	}
	return out, nil
}

func (w *Worker) workerDefaults() workerDefaults {
	v := w.set.values
	return workerDefaults{v.Str("key.converter"), v.Str("value.converter"), v.Str("header.converter")}
}
