package connect

import (
	"context"
	"log/slog"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/moldau-io/moldau/core/connect/api"
	"github.com/moldau-io/moldau/core/loglevel"
)

// The loggers of the REST API. Kafka Connect's are Java classes; here the worker logs as "root", and a connector and its tasks as the
// connector's class, so that a level for a class, or for a package above it, acts on what its name says.

const rootLogger = "root"

// loggerLevels are the levels that were set. Without one a logger has that of the next name above it, and at last what the program's
// logger lets through.
type loggerLevels struct {
	base slog.Handler

	mu  sync.RWMutex
	set map[string]api.LoggerLevel
}

func newLoggerLevels(base slog.Handler) *loggerLevels {
	return &loggerLevels{base: base, set: map[string]api.LoggerLevel{}}
}

func (l *loggerLevels) put(name, level string, at time.Time) {
	level = strings.ToUpper(level)
	if _, ok := loglevel.Parse(level); !ok {
		return
	}
	ms := at.UnixMilli()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set[name] = api.LoggerLevel{Level: level, LastModified: &ms}
}

// own returns the level that was set for exactly this name.
func (l *loggerLevels) own(name string) string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.set[name].Level
}

// find returns the level that holds for a name, and whether one was set for it or above it.
func (l *loggerLevels) find(name string) (api.LoggerLevel, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for n := name; n != ""; {
		if v, ok := l.set[n]; ok {
			return v, true
		}
		i := strings.LastIndexByte(n, '.')
		n = n[:max(i, 0)]
	}
	v, ok := l.set[rootLogger]
	return v, ok
}

func (l *loggerLevels) level(name string) api.LoggerLevel {
	if v, ok := l.find(name); ok {
		return v
	}
	return api.LoggerLevel{Level: loglevel.Of(l.base)}
}

// logger makes a logger that obeys the level of name.
func (l *loggerLevels) logger(name string) *slog.Logger {
	return slog.New(levelHandler{l.base, l, name})
}

type levelHandler struct {
	slog.Handler
	levels *loggerLevels
	name   string
}

// Enabled implements slog.Handler.
func (h levelHandler) Enabled(ctx context.Context, level slog.Level) bool {
	if v, ok := h.levels.find(h.name); ok {
		least, _ := loglevel.Parse(v.Level)
		return level >= least
	}
	return h.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (h levelHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return levelHandler{h.Handler.WithAttrs(attrs), h.levels, h.name}
}

// WithGroup implements slog.Handler.
func (h levelHandler) WithGroup(name string) slog.Handler {
	return levelHandler{h.Handler.WithGroup(name), h.levels, h.name}
}

func (w *Worker) loggerNames() []string {
	names := map[string]bool{rootLogger: true}
	for _, n := range w.configs.names() {
		if s, ok := w.cfg.Plugins.Connector(w.configs.view(n).config["connector.class"]); ok {
			names[s.Class] = true
		}
	}
	w.levels.mu.RLock()
	defer w.levels.mu.RUnlock()
	for n := range w.levels.set {
		names[n] = true
	}
	out := sortedKeys(names)
	sort.Strings(out)
	return out
}

// Loggers lists the loggers with their levels.
func (w *Worker) Loggers() map[string]api.LoggerLevel {
	out := map[string]api.LoggerLevel{}
	for _, n := range w.loggerNames() {
		out[n] = w.levels.level(n)
	}
	return out
}

// Logger returns the level of a logger.
func (w *Worker) Logger(name string) (api.LoggerLevel, error) {
	for _, n := range w.loggerNames() {
		if n == name {
			return w.levels.level(n), nil
		}
	}
	return api.LoggerLevel{}, fail(404, "Logger %s not found.", name)
}

// SetLogger sets the level of a logger and of those below it, and returns their names; for the whole cluster (KIP-976) through the
// configuration topic, where it returns nil.
func (w *Worker) SetLogger(ctx context.Context, name, level string, cluster bool) ([]string, error) {
	if _, ok := loglevel.Parse(strings.ToUpper(level)); !ok {
		return nil, fail(404, "invalid log level '%s'.", level)
	}
	if cluster {
		if err := w.notReady(); err != nil {
			return nil, err
		}
		if err := w.configs.putLogger(ctx, name, strings.ToUpper(level)); err != nil {
			return nil, w.failed("write the logger level", err)
		}
		return nil, nil
	}
	out := []string{} // those whose level changes
	for _, n := range append(w.loggerNames(), name) {
		if n != name && name != rootLogger && !strings.HasPrefix(n, name+".") {
			continue
		}
		if have, set := w.levels.find(n); !set || have.Level != strings.ToUpper(level) || n == name && w.levels.own(n) == "" {
			w.levels.put(n, level, w.now())
			out = append(out, n)
		}
	}
	sort.Strings(out)
	return out, nil
}
