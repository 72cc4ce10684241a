package loglevel

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestALevelIsChangedForAllThatWasMadeOfTheLogger(t *testing.T) {
	var out bytes.Buffer
	s := NewSwitch(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn}))
	loggers := []*slog.Logger{s.Logger(), s.Logger().With("a", 1), s.Logger().WithGroup("g").With("b", 2)}
	said := func(level slog.Level) int {
		out.Reset()
		for _, l := range loggers {
			l.Log(t.Context(), level, "x")
		}
		return strings.Count(out.String(), "msg=x")
	}
	require.Equal(t, "WARN", s.Name())
	require.Zero(t, said(slog.LevelInfo))
	require.Equal(t, 3, said(slog.LevelWarn))
	for i, n := range names {
		level, ok := Parse(n.name)
		require.True(t, ok)
		s.Set(level)
		require.Equal(t, n.name, s.Name())
		require.Equal(t, 3, said(level), n.name)
		if i > 0 {
			require.Zero(t, said(names[i-1].level), n.name)
		}
	}
	_, ok := Parse("debug")
	require.False(t, ok)
}

func TestALoggerThatSaysNothingIsOff(t *testing.T) {
	require.Equal(t, "OFF", NewSwitch(slog.DiscardHandler).Name())
}
