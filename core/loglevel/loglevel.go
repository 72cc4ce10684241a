// Package loglevel has the level of a logger changed while the program runs, by the names that Kafka and Kafka Connect have for levels.
package loglevel

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// names are the levels from the most to the least talkative. TRACE, FATAL and OFF are none of slog's: the first two are a step beyond its own.
var names = []struct {
	name  string
	level slog.Level
}{
	{"TRACE", slog.LevelDebug - 4},
	{"DEBUG", slog.LevelDebug},
	{"INFO", slog.LevelInfo},
	{"WARN", slog.LevelWarn},
	{"ERROR", slog.LevelError},
	{"FATAL", slog.LevelError + 4},
	{"OFF", slog.LevelError + 100},
}

// Parse returns the level of a name in capitals.
func Parse(name string) (level slog.Level, ok bool) {
	for _, n := range names {
		if n.name == name {
			return n.level, true
		}
	}
	return 0, false
}

// Of returns the name of the most talkative level that h lets through.
func Of(h slog.Handler) string {
	for _, n := range names {
		if h.Enabled(context.Background(), n.level) {
			return n.name
		}
	}
	return "OFF"
}

// Switch lets a level through instead of the one that its handler was made with. Its methods may be called at any time.
type Switch struct {
	base slog.Handler
	set  atomic.Pointer[slog.Level]
}

// NewSwitch makes a Switch that lets through what base does until Set is called. What base writes does not depend on its own level then:
// base must not look at that in Handle, as the handlers of slog do not.
func NewSwitch(base slog.Handler) *Switch { return &Switch{base: base} }

// Logger logs through the switch.
func (s *Switch) Logger() *slog.Logger { return slog.New(handler{s.base, s}) }

// Set lets a level and what is above it through.
func (s *Switch) Set(level slog.Level) { s.set.Store(&level) }

// Name is the name of the level that is let through.
func (s *Switch) Name() string { return Of(handler{s.base, s}) }

// handler is base, or what comes of it by WithAttrs and WithGroup, behind the switch.
type handler struct {
	slog.Handler
	s *Switch
}

// Enabled implements slog.Handler.
func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	if l := h.s.set.Load(); l != nil {
		return level >= *l
	}
	return h.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs), h.s}
}

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name), h.s} }
