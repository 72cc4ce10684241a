package connect

import (
	"context"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// redactingHandler takes the secrets of a connector out of what it and its tasks log.
type redactingHandler struct {
	slog.Handler
	secrets *redactor
}

// Handle implements slog.Handler.
func (h redactingHandler) Handle(ctx context.Context, rec slog.Record) error {
	out := slog.NewRecord(rec.Time, rec.Level, h.secrets.clean(rec.Message), rec.PC)
	rec.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(h.cleanAttr(a))
		return true
	})
	return h.Handler.Handle(ctx, out)
}

func (h redactingHandler) cleanAttr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		return slog.String(a.Key, h.secrets.clean(v.String()))
	case slog.KindGroup:
		var out []any
		for _, g := range v.Group() {
			out = append(out, h.cleanAttr(g))
		}
		return slog.Group(a.Key, out...)
	case slog.KindAny:
		if s := v.String(); h.secrets.clean(s) != s {
			return slog.String(a.Key, h.secrets.clean(s))
		}
	}
	return a
}

// WithAttrs implements slog.Handler.
func (h redactingHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.cleanAttr(a)
	}
	return redactingHandler{h.Handler.WithAttrs(clean), h.secrets}
}

// WithGroup implements slog.Handler.
func (h redactingHandler) WithGroup(name string) slog.Handler {
	return redactingHandler{h.Handler.WithGroup(name), h.secrets}
}

// kgoLogger passes the client's warnings and errors on.
type kgoLogger struct{ log *slog.Logger }

// Level implements kgo.Logger.
func (l kgoLogger) Level() kgo.LogLevel { return kgo.LogLevelWarn }

// Log implements kgo.Logger.
func (l kgoLogger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	to := slog.LevelDebug
	switch level {
	case kgo.LogLevelError:
		to = slog.LevelWarn // the client recovers by itself; what it cannot mend comes back as an error
	case kgo.LogLevelWarn:
		to = slog.LevelInfo
	}
	l.log.Log(context.Background(), to, "kafka client: "+msg, keyvals...)
}

// scopedRegisterer is a Registerer that can take back all that was registered through it: the metrics of a task go when it goes.
type scopedRegisterer struct {
	prometheus.Registerer
	mu   sync.Mutex
	mine []prometheus.Collector
}

func newScopedRegisterer(r prometheus.Registerer) *scopedRegisterer {
	return &scopedRegisterer{Registerer: r}
}

// Register implements prometheus.Registerer.
func (s *scopedRegisterer) Register(c prometheus.Collector) error {
	err := s.Registerer.Register(c)
	if err == nil {
		s.mu.Lock()
		s.mine = append(s.mine, c)
		s.mu.Unlock()
	}
	return err
}

// MustRegister implements prometheus.Registerer.
func (s *scopedRegisterer) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := s.Register(c); err != nil {
			panic(err)
		}
	}
}

func (s *scopedRegisterer) unregisterAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.mine {
		s.Unregister(c)
	}
	s.mine = nil
}
