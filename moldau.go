// Package moldau embeds the hub: a log that speaks the Kafka protocol, a schema registry that speaks Confluent's API, and a worker
// that speaks Kafka Connect's, in one process.
//
//	cfg, err := moldau.Load(moldau.Sources{DataDir: "data"})
//	node, err := moldau.New(cfg)
//	err = node.Run(ctx) // until ctx ends; then everything is drained and closed
//
// This package is the only place that knows all roles. The registry and the worker reach the log as Kafka clients: over memory when
// the broker is in the same process, over the network when bootstrap.servers names another cluster.
package moldau

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/rest/admin"
)

// Version and Commit are set when the binary is built.
var (
	Version = "dev"
	Commit  = "unknown"
)

// Role is a part that a node plays.
type Role string

// The roles. A node with the broker role plays the controller too, until clusters of several nodes are supported.
const (
	RoleBroker     Role = "broker"
	RoleController Role = "controller"
	RoleConnect    Role = "connect"
	RoleRegistry   Role = "registry"
)

// AllRoles is the default.
var AllRoles = []Role{RoleBroker, RoleController, RoleConnect, RoleRegistry}

// Config is what a node runs with. Load makes one; the zero value of a member is its default.
type Config struct {
	// DataDir holds the log and the metadata of the broker role.
	DataDir string
	Roles   []Role
	// Broker, Registry, Connect and Admin are properties by Kafka's, Confluent's and Connect's own names.
	Broker, Registry, Connect, Admin map[string]string
	// EndpointsFile is written when all roles answer.
	EndpointsFile string
	Logger        *slog.Logger
	// Plugins adds connectors and other plugins of the embedding program to those that ship.
	Plugins func(*plugins.Registry)
}

// Endpoints tells where the roles of a running node answer; a role that it does not play is "".
type Endpoints struct {
	Kafka    string `json:"kafka"`
	Registry string `json:"registry"`
	Connect  string `json:"connect"`
	Admin    string `json:"admin"`
}

// Node is a hub. It runs once.
type Node struct {
	cfg     Config
	log     *slog.Logger
	metrics *prometheus.Registry

	ran       atomic.Bool
	started   time.Time
	ready     chan struct{}
	isReady   atomic.Bool
	mu        sync.Mutex
	endpoints Endpoints
	pending   map[string]bool // roles that do not answer yet
}

// New checks a configuration and makes a node of it. Nothing is opened before Run.
func New(cfg Config) (*Node, error) {
	if len(cfg.Roles) == 0 {
		cfg.Roles = AllRoles
	}
	for _, r := range cfg.Roles {
		if !slices.Contains(AllRoles, r) {
			return nil, fmt.Errorf("unknown role %q: the roles are broker, controller, connect and registry", r)
		}
	}
	b, c := slices.Contains(cfg.Roles, RoleBroker), slices.Contains(cfg.Roles, RoleController)
	if b != c {
		return nil, errors.New("the roles broker and controller go together until clusters of several nodes are supported: give both or neither")
	}
	if cfg.DataDir == "" {
		cfg.DataDir = "data"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	if cfg.Registry, err = withoutKafkastore(cfg.Registry); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, log: cfg.Logger, metrics: prometheus.NewRegistry(), ready: make(chan struct{}), pending: map[string]bool{}}
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for role, section := range map[Role]map[string]string{RoleConnect: cfg.Connect, RoleRegistry: cfg.Registry} {
		if n.plays(role) && !b && strings.TrimSpace(section["bootstrap.servers"]) == "" {
			return nil, fmt.Errorf("%s.bootstrap.servers is not set: without the broker role the %s role needs a Kafka cluster to run on", role, role)
		}
	}
	if err := n.checkConfig(); err != nil {
		return nil, err
	}
	return n, nil
}

func (n *Node) plays(r Role) bool { return slices.Contains(n.cfg.Roles, r) }

// Ready is closed when all roles answer.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Endpoints returns where the node answers; complete once Ready is closed.
func (n *Node) Endpoints() Endpoints {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.endpoints
}

// Run runs the node until ctx ends or a role fails. Then the roles end in the order of their dependence: the worker first, so that its
// tasks can store their positions, the log last. A node runs once.
func (n *Node) Run(ctx context.Context) (err error) {
	if n.ran.Swap(true) {
		return errors.New("run: this node ran before; make another with New")
	}
	n.started = time.Now()
	// Roles get contexts of their own: they end one after the other.
	var stops []func() error
	stop := func() error {
		var errs []error
		for _, s := range slices.Backward(stops) {
			errs = append(errs, s())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if serr := stop(); err == nil {
			err = serr
		}
	}()
	failed := make(chan error, 8)
	// launch runs a role until its turn to stop comes.
	launch := func(name string, run func(ctx context.Context) error) {
		rctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		var g errgroup.Group
		g.Go(func() error {
			err := run(rctx)
			if err != nil && rctx.Err() == nil {
				err = fmt.Errorf("%s: %w", name, err)
				select {
				case failed <- err:
				default:
				}
				return err
			}
			if errors.Is(err, context.Canceled) {
				err = nil
			}
			return err
		})
		stops = append(stops, func() error { cancel(); return g.Wait() })
	}

	// Scripts wait for the endpoints file: one of an earlier run must not tell them that this one answers.
	if n.cfg.EndpointsFile != "" {
		if err := os.Remove(n.cfg.EndpointsFile); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("endpoints file: %w", err)
		}
	}
	for _, r := range n.cfg.Roles {
		if r != RoleController {
			n.pending[string(r)] = true
		}
	}
	a := admin.New(admin.Config{Gatherer: n.metrics, Ready: n.notReady, Version: Version, Commit: Commit, Logger: n.log})
	if err := n.serveHTTP("admin", n.cfg.Admin["listeners"], "http://127.0.0.1:8080", a, launch, func(u string) { n.endpoints.Admin = u }); err != nil {
		return err
	}
	local, err := n.startBroker(ctx, launch, &stops)
	if err != nil {
		return err
	}
	waits := []<-chan struct{}{}
	reg, err := n.startRegistry(local, launch, &waits)
	if err != nil {
		return err
	}
	if err := n.startConnect(local, reg, launch, &waits); err != nil {
		return err
	}
	for _, w := range waits {
		select {
		case <-w:
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
	if err := n.announce(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		n.log.Info("stopping")
		return nil
	case err := <-failed:
		return err
	}
}

// answers notes that a role answers.
func (n *Node) answers(role Role) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.pending, string(role))
}

// notReady names the roles that do not answer yet, or "".
func (n *Node) notReady() string {
	if n.isReady.Load() {
		return ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var l []string
	for r := range n.pending {
		l = append(l, r)
	}
	slices.Sort(l)
	if len(l) == 0 {
		return "starting"
	}
	return "starting: " + strings.Join(l, ", ")
}

// announce says that all roles answer, in the log and in the endpoints file.
func (n *Node) announce() error {
	ep := n.Endpoints()
	if err := n.writeEndpoints(ep); err != nil {
		return err
	}
	n.isReady.Store(true)
	close(n.ready)
	n.log.Info("ready", "took", time.Since(n.started).Round(time.Millisecond), "kafka", ep.Kafka, "registry", ep.Registry, "connect", ep.Connect, "admin", ep.Admin)
	return nil
}

// writeEndpoints replaces the endpoints file at once.
func (n *Node) writeEndpoints(ep Endpoints) error {
	if n.cfg.EndpointsFile == "" {
		return nil
	}
	b, err := json.Marshal(ep)
	if err != nil {
		return err
	}
	tmp := filepath.Join(filepath.Dir(n.cfg.EndpointsFile), "."+filepath.Base(n.cfg.EndpointsFile)+".tmp")
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("endpoints file: %w", err)
	}
	if err := os.Rename(tmp, n.cfg.EndpointsFile); err != nil {
		return fmt.Errorf("endpoints file: %w", err)
	}
	return nil
}
