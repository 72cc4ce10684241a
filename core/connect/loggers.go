package connect

import (
	"sync"

	"github.com/moldau-io/moldau/core/connect/api"
)

type loggerLevels struct {
	mu sync.RWMutex
	m  map[string]api.LoggerLevel
}

func newLoggerLevels() loggerLevels {
	return loggerLevels{m: map[string]api.LoggerLevel{}}
}

func (l *loggerLevels) set(name, level string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.m[name] = api.LoggerLevel{Level: level}
}
