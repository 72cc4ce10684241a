package connect

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/moldau-io/moldau/core/connect/api"
)

func ok(body any, err error) (answer, error) { return answer{code: http.StatusOK, body: body}, err }

func empty(code int, err error) (answer, error) { return answer{code: code}, err }

// table lists every route. A trailing slash is accepted everywhere.
func (h *handler) table() []route {
	const c = "/connectors/{name}"
	r := []route{
		{method: "GET", path: "/", serve: func(*request) (answer, error) { return ok(h.w.ServerInfo(), nil) }},
		{method: "GET", path: "/health", serve: h.health},
		{method: "GET", path: "/connectors", serve: h.list},
		{method: "POST", path: "/connectors", serve: h.create, body: true},
		{method: "GET", path: c, serve: func(r *request) (answer, error) { return ok(h.w.ConnectorInfo(r.name())) }},
		{method: "DELETE", path: c, serve: func(r *request) (answer, error) {
			return empty(http.StatusNoContent, h.w.Delete(r.Context(), r.name()))
		}},
		{method: "GET", path: c + "/config", serve: func(r *request) (answer, error) { return ok(h.w.ConnectorConfig(r.name())) }},
		{method: "PUT", path: c + "/config", serve: h.putConfig, body: true},
		{method: "PATCH", path: c + "/config", serve: h.patchConfig, body: true},
		{method: "GET", path: c + "/status", serve: func(r *request) (answer, error) { return ok(h.w.ConnectorStatus(r.name())) }},
		{method: "GET", path: c + "/tasks", serve: func(r *request) (answer, error) { return ok(h.w.Tasks(r.name())) }},
		{method: "POST", path: c + "/tasks", serve: h.putTasks},
		{method: "PUT", path: c + "/fence", serve: h.fence},
		{method: "GET", path: c + "/tasks/{task}/status", serve: h.taskStatus},
		{method: "POST", path: c + "/tasks/{task}/restart", serve: h.restartTask},
		{method: "POST", path: c + "/restart", serve: h.restart},
		{method: "PUT", path: c + "/pause", serve: func(r *request) (answer, error) {
			return empty(http.StatusAccepted, h.w.Pause(r.Context(), r.name()))
		}},
		{method: "PUT", path: c + "/resume", serve: func(r *request) (answer, error) {
			return empty(http.StatusAccepted, h.w.Resume(r.Context(), r.name()))
		}},
		{method: "PUT", path: c + "/stop", serve: func(r *request) (answer, error) {
			return empty(http.StatusNoContent, h.w.Stop(r.Context(), r.name()))
		}},
		{method: "GET", path: c + "/topics", serve: h.topics},
		{method: "PUT", path: c + "/topics/reset", serve: func(r *request) (answer, error) {
			return empty(http.StatusAccepted, h.w.ResetTopics(r.name()))
		}},
		{method: "GET", path: c + "/offsets", serve: func(r *request) (answer, error) { return ok(h.w.Offsets(r.Context(), r.name())) }},
		{method: "PATCH", path: c + "/offsets", serve: h.alterOffsets, body: true},
		{method: "DELETE", path: c + "/offsets", serve: func(r *request) (answer, error) {
			return ok(h.w.ResetOffsets(r.Context(), r.name()))
		}},
		{method: "GET", path: "/connector-plugins", serve: func(r *request) (answer, error) {
			only := r.URL.Query().Get("connectorsOnly")
			return ok(h.w.Plugins(only == "" || strings.EqualFold(only, "true")), nil)
		}},
		{method: "GET", path: "/connector-plugins/{plugin}/config", serve: func(r *request) (answer, error) { return ok(h.w.PluginConfig(r.vars["plugin"])) }},
		{method: "PUT", path: "/connector-plugins/{plugin}/config/validate", serve: h.validate, body: true},
		{method: "GET", path: "/admin/loggers", serve: func(*request) (answer, error) { return ok(h.w.Loggers(), nil) }},
		{method: "GET", path: "/admin/loggers/{logger}", serve: func(r *request) (answer, error) { return ok(h.w.Logger(r.vars["logger"])) }},
		{method: "PUT", path: "/admin/loggers/{logger}", serve: h.setLogger, body: true},
	}
	return r
}

func (r *request) name() string { return r.vars["name"] }

// flag reads a boolean parameter as Java does: whatever is not "true" is false.
func (r *request) flag(name string) bool { return strings.EqualFold(r.URL.Query().Get(name), "true") }

// signed reads the body of a request that workers of one cluster make to each other, and checks its signature.
func (h *handler) signed(r *request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	return h.w.CheckSignature(body, r.Header.Get("X-Connect-Authorization"), r.Header.Get("X-Connect-Request-Signature-Algorithm"))
}

// putTasks takes no task configurations: they come from the connectors that this worker runs, which are all.
func (h *handler) putTasks(r *request) (answer, error) {
	if err := h.signed(r); err != nil {
		return answer{}, err
	}
	return answer{}, &api.Error{Code: http.StatusServiceUnavailable, Message: "This worker runs all connectors by itself and takes no task configurations from others"}
}

func (h *handler) fence(r *request) (answer, error) {
	if err := h.signed(r); err != nil {
		return answer{}, err
	}
	return empty(http.StatusNoContent, h.w.Fence(r.Context(), r.name()))
}

func (h *handler) health(*request) (answer, error) {
	s := h.w.Health()
	code := map[string]int{"healthy": http.StatusOK, "starting": http.StatusServiceUnavailable}[s.Status]
	if code == 0 {
		code = http.StatusInternalServerError
	}
	return answer{code: code, body: s}, nil
}

func (h *handler) list(r *request) (answer, error) {
	names, err := h.w.Connectors()
	expand, asked := r.URL.Query()["expand"]
	if err != nil || !asked {
		return ok(names, err)
	}
	out := map[string]map[string]any{}
	for _, n := range names {
		m := map[string]any{}
		gone := false
		for _, e := range expand {
			var (
				v   any
				err error
			)
			switch e {
			case "status":
				v, err = h.w.ConnectorStatus(n)
			case "info":
				v, err = h.w.ConnectorInfo(n)
			default:
				continue
			}
			if err != nil { // it was removed meanwhile
				gone = true
				break
			}
			m[e] = v
		}
		if !gone {
			out[n] = m
		}
	}
	return ok(out, nil)
}

// withName gives a configuration the name of its connector, or refuses another one.
func withName(config map[string]string, name string) error {
	if n, has := config["name"]; has && n != name {
		return &api.Error{Code: http.StatusBadRequest, Message: fmt.Sprintf("Connector name configuration (%s) doesn't match connector name in the URL (%s)", n, name)}
	}
	config["name"] = name
	return nil
}

func (r *request) location(name string) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host + "/connectors/" + url.PathEscape(name)
}

func (h *handler) create(r *request) (answer, error) {
	req, err := decodeCreate(r.Body)
	if err != nil {
		return answer{}, err
	}
	req.Name = strings.TrimFunc(req.Name, func(r rune) bool { return r <= 0x20 }) // as java.lang.String.trim
	if err := withName(req.Config, req.Name); err != nil {
		return answer{}, err
	}
	info, err := h.w.Create(r.Context(), req)
	return answer{code: http.StatusCreated, body: info, location: r.location(req.Name)}, err
}

func (h *handler) putConfig(r *request) (answer, error) {
	vals, err := decodePatch(r.Body)
	if err == nil {
		err = refuseNulls(vals)
	}
	if err != nil {
		return answer{}, err
	}
	config := withoutNulls(vals)
	if err := withName(config, r.name()); err != nil {
		return answer{}, err
	}
	info, created, err := h.w.PutConfig(r.Context(), r.name(), config)
	if created {
		return answer{code: http.StatusCreated, body: info, location: r.location(r.name())}, err
	}
	return ok(info, err)
}

func (h *handler) patchConfig(r *request) (answer, error) {
	patch, err := decodePatch(r.Body)
	if err != nil {
		return answer{}, err
	}
	return ok(h.w.PatchConfig(r.Context(), r.name(), patch))
}

func (r *request) task() (int, error) {
	n, err := strconv.ParseInt(r.vars["task"], 10, 32)
	if err != nil {
		return 0, &api.Error{Code: http.StatusNotFound, Message: "HTTP 404 Not Found"}
	}
	return int(n), nil
}

func (h *handler) taskStatus(r *request) (answer, error) {
	n, err := r.task()
	if err != nil {
		return answer{}, err
	}
	return ok(h.w.TaskStatus(r.name(), n))
}

func (h *handler) restartTask(r *request) (answer, error) {
	n, err := r.task()
	if err != nil {
		return answer{}, err
	}
	return empty(http.StatusNoContent, h.w.RestartTask(r.Context(), r.name(), n))
}

func (h *handler) restart(r *request) (answer, error) {
	st, err := h.w.Restart(r.Context(), r.name(), r.flag("includeTasks"), r.flag("onlyFailed"))
	if err != nil || st == nil {
		return empty(http.StatusNoContent, err)
	}
	return answer{code: http.StatusAccepted, body: st}, nil
}

func (h *handler) topics(r *request) (answer, error) {
	ts, err := h.w.ActiveTopics(r.name())
	return ok(map[string]map[string][]string{r.name(): {"topics": ts}}, err)
}

func (h *handler) alterOffsets(r *request) (answer, error) {
	offsets, err := decodeOffsets(r.Body)
	if err != nil {
		return answer{}, err
	}
	return ok(h.w.AlterOffsets(r.Context(), r.name(), offsets))
}

func (h *handler) validate(r *request) (answer, error) {
	config, err := decodeConfig(r.Body)
	if err != nil {
		return answer{}, err
	}
	return ok(h.w.Validate(r.Context(), r.vars["plugin"], config))
}

func (h *handler) setLogger(r *request) (answer, error) {
	m, err := decodePatch(r.Body)
	if err != nil {
		return answer{}, err
	}
	level := m["level"]
	if level == nil {
		return answer{}, &api.Error{Code: http.StatusBadRequest, Message: "Desired 'level' parameter was not specified in request."}
	}
	cluster := strings.EqualFold(r.URL.Query().Get("scope"), "cluster")
	names, err := h.w.SetLogger(r.Context(), r.vars["logger"], *level, cluster)
	if cluster {
		return empty(http.StatusNoContent, err)
	}
	return ok(names, err)
}
