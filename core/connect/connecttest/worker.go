// Package connecttest runs Connect workers in tests.
package connecttest

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/connect"
	"github.com/moldau-io/moldau/core/connect/api"
	"github.com/moldau-io/moldau/plugins"
)

// Worker is a running worker of a test.
type Worker struct {
	*connect.Worker
	t    testing.TB
	stop context.CancelFunc
	done chan error
	once sync.Once
}

// Options change what Start makes.
type Options struct {
	Properties map[string]string // over JSON converters without schemas and short intervals
	Resolver   connect.Resolver
	Logger     *slog.Logger
	Config     func(*connect.Config) // the last word
}

// Start runs a worker on the cluster that kafka reaches until the test ends, and waits until it is ready.
func Start(t testing.TB, kafka []kgo.Opt, reg *plugins.Registry, o Options) *Worker {
	t.Helper()
	props := map[string]string{
		"key.converter": "org.apache.kafka.connect.json.JsonConverter", "key.converter.schemas.enable": "false",
		"value.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable": "false",
		"offset.storage.partitions": "3", "status.storage.partitions": "2",
		"offset.flush.interval.ms": "500",
	}
	maps.Copy(props, o.Properties)
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	cfg := connect.Config{KafkaOpts: kafka, Plugins: reg, Resolver: o.Resolver, Properties: props, Logger: o.Logger, AdvertisedURL: "http://127.0.0.1:8083", Version: "4.3.1", Commit: "test"}
	if o.Config != nil {
		o.Config(&cfg)
	}
	cw, err := connect.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	w := &Worker{Worker: cw, t: t, stop: cancel, done: make(chan error, 1)}
	go func() { w.done <- cw.Run(ctx) }()
	t.Cleanup(w.Shutdown)
	select {
	case <-cw.Started():
	case err := <-w.done:
		w.done <- err
		require.NoError(t, err)
		t.Fatal("the worker ended")
	case <-time.After(60 * time.Second):
		t.Fatal("the worker did not become ready")
	}
	return w
}

// Shutdown stops the worker and waits until it is gone.
func (w *Worker) Shutdown() {
	w.once.Do(func() {
		w.stop()
		require.NoError(w.t, <-w.done)
	})
}

// MustCreate makes a connector.
func (w *Worker) MustCreate(name string, config map[string]string) {
	w.t.Helper()
	c := maps.Clone(config)
	c["name"] = name
	_, err := w.Create(context.Background(), api.CreateRequest{Name: name, Config: c})
	require.NoError(w.t, err)
}

// State returns the states of a connector and its tasks: the connector's first, "" for none.
func (w *Worker) State(name string) []string {
	st, err := w.ConnectorStatus(name)
	if err != nil {
		return nil
	}
	out := []string{st.Connector.State}
	for _, t := range st.Tasks {
		out = append(out, t.State)
	}
	return out
}

// Await waits until connector and tasks have these states.
func (w *Worker) Await(name string, states ...string) {
	w.t.Helper()
	ok := func() bool {
		have := w.State(name)
		if len(have) != len(states) {
			return false
		}
		for i := range have {
			if have[i] != states[i] {
				return false
			}
		}
		return true
	}
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			st, err := w.ConnectorStatus(name)
			w.t.Fatalf("connector %s should be %v: %+v %v", name, states, st, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	defer func() { _ = recover() }() // a log line after the end of the test is of no interest
	w.t.Logf("%s", b)
	return len(b), nil
}
