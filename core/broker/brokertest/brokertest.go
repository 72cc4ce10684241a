// Package brokertest runs a broker with its own metadata quorum inside of a test, on a temporary directory, reachable
// over TCP on a free port and without sockets through Broker.Dial.
package brokertest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/broker"
	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/loglevel"
	"github.com/moldau-io/moldau/core/quorum"
)

// Cluster is one node: a quorum of one and a broker.
type Cluster struct {
	Broker *broker.Broker
	Quorum *quorum.Node
	// Dir holds data/ and metadata/.
	Dir string
	// Registry has the broker's metrics.
	Registry *prometheus.Registry

	props   map[string]string
	pattern func(string) error
	logger  *slog.Logger
	stop    context.CancelFunc
	done    chan error
}

// Option changes how a Cluster is started.
type Option func(*Cluster)

// With sets a broker property, by its Kafka name.
func With(property, value string) Option {
	return func(c *Cluster) { c.props[property] = value }
}

// WithPatterns has regular expressions in Java's syntax judged by fn.
func WithPatterns(fn func(string) error) Option { return func(c *Cluster) { c.pattern = fn } }

// LogTo has the cluster log to h, whatever MOLDAU_TEST_LOG says.
func LogTo(h slog.Handler) Option { return func(c *Cluster) { c.logger = slog.New(h) } }

// In keeps the data in dir instead of a temporary directory.
func In(dir string) Option { return func(c *Cluster) { c.Dir = dir } }

// Start runs a cluster until the test ends. Group rebalances are not delayed and logs are not synced (log.durability=os),
// which tests do not want to wait for, unless With says otherwise. MOLDAU_TEST_LOG=1 shows what the broker logs.
func Start(t testing.TB, opts ...Option) *Cluster {
	t.Helper()
	c := &Cluster{props: map[string]string{
		"node.id": "1", "listeners": "PLAINTEXT://127.0.0.1:0",
		"group.initial.rebalance.delay.ms": "0", "log.durability": "os",
	}}
	for _, o := range opts {
		o(c)
	}
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	switch {
	case c.logger != nil:
	case os.Getenv("MOLDAU_TEST_LOG") != "":
		c.logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	default:
		c.logger = slog.New(slog.DiscardHandler)
	}
	c.start(t)
	t.Cleanup(func() { c.Stop(t) })
	return c
}

func (c *Cluster) start(t testing.TB) {
	t.Helper()
	core, err := config.ParseBroker(c.props)
	require.NoError(t, err)
	q, err := quorum.Open(quorum.Config{NodeID: core.NodeID, Dir: filepath.Join(c.Dir, "metadata"), Bootstrap: broker.BootstrapRecords(), Logger: c.logger})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	c.Quorum, c.stop, c.done = q, stop, make(chan error, 1)
	go func() { c.done <- q.Run(ctx) }()
	c.Registry = prometheus.NewRegistry()
	dir := filepath.Join(c.Dir, "data")
	if c.props["log.dirs"] != "" {
		dir = ""
	}
	b, err := broker.New(broker.Config{Core: core, Quorum: q, LogDir: dir, Log: loglevel.NewSwitch(c.logger.Handler()), Registerer: c.Registry, Pattern: c.pattern})
	require.NoError(t, err)
	c.Broker = b
	sctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	require.NoError(t, b.Start(sctx))
}

// Stop closes the broker and the quorum orderly. It may be called more than once.
func (c *Cluster) Stop(t testing.TB) {
	t.Helper()
	if c.Broker == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	require.NoError(t, c.Broker.Close(ctx))
	require.NoError(t, c.Quorum.Close())
	c.stop()
	require.NoError(t, <-c.done)
	c.Broker = nil
}

// Restart stops the cluster and starts it again on the same data. The port may be another one.
func (c *Cluster) Restart(t testing.TB) {
	t.Helper()
	c.Stop(t)
	c.start(t)
}

// Addr is the bootstrap address, host:port.
func (c *Cluster) Addr() string { return c.Broker.Addr() }

// Options are what a kgo client needs to connect over TCP.
func (c *Cluster) Options() []kgo.Opt { return []kgo.Opt{kgo.SeedBrokers(c.Addr())} }

// MemoryOptions are what a kgo client needs to connect without sockets.
func (c *Cluster) MemoryOptions() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(c.Addr()), kgo.Dialer(c.Broker.Dial)}
}

// Client is a client over TCP with the given options, closed with the test.
func (c *Cluster) Client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(append(c.Options(), clientLog()...), opts...)...)
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// Admin is an admin client over TCP, closed with the test.
func (c *Cluster) Admin(t testing.TB) *kadm.Client {
	t.Helper()
	return kadm.NewClient(c.Client(t))
}

// CreateTopic makes a topic. Configs are pairs of key and value.
func (c *Cluster) CreateTopic(t testing.TB, name string, partitions int32, configs ...string) {
	t.Helper()
	require.Zero(t, len(configs)%2, "configs are pairs")
	m := map[string]*string{}
	for i := 0; i < len(configs); i += 2 {
		m[configs[i]] = &configs[i+1]
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	resp, err := c.Admin(t).CreateTopic(ctx, partitions, 1, m, name)
	require.NoError(t, err)
	require.NoError(t, resp.Err, fmt.Sprint(resp.ErrMessage))
}

// clientLog shows what clients do when MOLDAU_TEST_LOG is set.
func clientLog() []kgo.Opt {
	if os.Getenv("MOLDAU_TEST_LOG") == "" {
		return nil
	}
	return []kgo.Opt{kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelDebug, func() string { return time.Now().Format("05.000 ") }))}
}
