package moldau

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/connectors/datagen"
	"github.com/moldau-io/moldau/connectors/elasticsearch"
	"github.com/moldau-io/moldau/connectors/file"
	"github.com/moldau-io/moldau/connectors/mysql"
	"github.com/moldau-io/moldau/connectors/postgres"
	"github.com/moldau-io/moldau/connectors/s3"
	"github.com/moldau-io/moldau/core/broker"
	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/connect"
	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/loglevel"
	"github.com/moldau-io/moldau/core/quorum"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/builtin"
	"github.com/moldau-io/moldau/plugins/javaregex"
	"github.com/moldau-io/moldau/plugins/providers"
	restconnect "github.com/moldau-io/moldau/rest/connect"
	restregistry "github.com/moldau-io/moldau/rest/registry"
	"github.com/moldau-io/moldau/schemaregistry"
)

type launcher = func(name string, run func(ctx context.Context) error)

// brokerConfig judges the section broker.
func (n *Node) brokerConfig() (*config.Broker, error) {
	props := maps.Clone(n.cfg.Broker)
	if props == nil {
		props = map[string]string{}
	}
	if props["listeners"] == "" {
		props["listeners"] = "PLAINTEXT://127.0.0.1:9092"
	}
	if props["node.id"] == "" {
		delete(props, "node.id")
	}
	if props["log.dirs"] == "" && props["log.dir"] == "" {
		props["log.dirs"] = filepath.Join(n.cfg.DataDir, "log")
	}
	bc, err := config.ParseBroker(props)
	if err != nil {
		return nil, fmt.Errorf("section broker: %w", err)
	}
	return bc, nil
}

// registryConfig judges the section registry.
func (n *Node) registryConfig() (schemaregistry.Options, error) {
	props := maps.Clone(n.cfg.Registry)
	for k := range props {
		if k == "listeners" || k == "bootstrap.servers" || connect.IsClientSecurity(k) {
			delete(props, k)
		}
	}
	o, err := schemaregistry.ParseConfig(props)
	if err != nil {
		return o, fmt.Errorf("section registry: %w", err)
	}
	return o, nil
}

// withRemedy says what to do about a directory that another process has open.
func withRemedy(err error) error {
	if errors.Is(err, quorum.ErrLocked) || errors.Is(err, log.ErrLocked) {
		return fmt.Errorf("%w: stop the other moldau, or give this one a directory of its own (--data-dir, broker.log.dirs, broker.metadata.log.dir)", err)
	}
	return err
}

// checkConfig judges the sections of the roles that the node plays, before anything is opened: a port that is taken must not hide what is wrong with them.
func (n *Node) checkConfig() error {
	var errs []error
	if n.plays(RoleBroker) {
		_, err := n.brokerConfig()
		errs = append(errs, err)
	}
	if n.plays(RoleRegistry) {
		_, err := n.registryConfig()
		errs = append(errs, err)
	}
	if n.plays(RoleConnect) {
		if _, err := connect.Properties().Parse(n.cfg.Connect); err != nil {
			errs = append(errs, fmt.Errorf("section connect: %w", err))
		}
	}
	return errors.Join(errs...)
}

// startBroker starts quorum and broker and returns the client options that reach it without a socket; nil without the role.
func (n *Node) startBroker(ctx context.Context, launch launcher, stops *[]func() error) ([]kgo.Opt, error) {
	if !n.plays(RoleBroker) {
		return nil, nil
	}
	bc, err := n.brokerConfig()
	if err != nil {
		return nil, err
	}
	dir := bc.MetadataLogDir
	if dir == "" {
		dir = filepath.Join(n.cfg.DataDir, "metadata")
	}
	level := loglevel.NewSwitch(n.log.Handler()) // of both, which are one server to Kafka's tools
	q, err := quorum.Open(quorum.Config{NodeID: bc.NodeID, Dir: dir, Bootstrap: broker.BootstrapRecords(), Logger: level.Logger().With("role", "controller"),
		ElectionTimeout: bc.ElectionTimeout, SnapshotBytes: bc.MetadataSnapshotBytes, SegmentBytes: bc.MetadataSegmentBytes})
	if err != nil {
		return nil, withRemedy(err)
	}
	launch("controller", q.Run)
	b, err := broker.New(broker.Config{Core: bc, Quorum: q, Log: level, Registerer: n.metrics, Pattern: javaPattern})
	if err != nil {
		return nil, err
	}
	sctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if err := b.Start(sctx); err != nil {
		return nil, withRemedy(err)
	}
	launch("broker", func(ctx context.Context) error {
		var err error
		select {
		case <-ctx.Done():
		case err = <-b.Failed():
		}
		cctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		return errors.Join(err, b.Close(cctx))
	})
	n.mu.Lock()
	n.endpoints.Kafka = b.Addr()
	n.mu.Unlock()
	n.answers(RoleBroker)
	return []kgo.Opt{kgo.SeedBrokers(b.Addr()), kgo.Dialer(b.Dial)}, nil
}

// clientOpts are the options that reach the log: the broker of this process, or the cluster that the section names.
func clientOpts(section map[string]string, local []kgo.Opt) ([]kgo.Opt, error) {
	if strings.TrimSpace(section["bootstrap.servers"]) == "" {
		return local, nil
	}
	return connect.ClientOptions(section)
}

// startRegistry starts the schema registry and returns its HTTP handler; nil without the role.
func (n *Node) startRegistry(local []kgo.Opt, launch launcher, waits *[]<-chan struct{}) (http.Handler, error) {
	if !n.plays(RoleRegistry) {
		return nil, nil
	}
	opts, err := clientOpts(n.cfg.Registry, local)
	if err != nil {
		return nil, fmt.Errorf("section registry: %w", err)
	}
	o, err := n.registryConfig()
	if err != nil {
		return nil, err
	}
	o.KafkaOpts, o.Logger, o.Registerer = opts, n.log.With("role", "registry"), n.metrics
	reg, err := schemaregistry.New(o)
	if err != nil {
		return nil, err
	}
	h := restregistry.Handler(reg, restregistry.Options{Version: Version, Commit: Commit, Logger: o.Logger, Registerer: n.metrics})
	launch("registry", reg.Run)
	if err := n.serveHTTP("registry", n.cfg.Registry["listeners"], "http://127.0.0.1:8081", h, launch, func(u string) { n.endpoints.Registry = u }); err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	launch("registry start", func(ctx context.Context) error {
		if err := reg.WaitReady(ctx); err != nil {
			return err
		}
		n.answers(RoleRegistry)
		close(ready)
		return nil
	})
	*waits = append(*waits, ready)
	return h, nil
}

// connectors registers everything that ships.
func connectors(r *plugins.Registry) {
	postgres.Register(r)
	mysql.Register(r)
	s3.Register(r)
	elasticsearch.Register(r)
	file.Register(r)
	datagen.Register(r)
}

// startConnect starts the worker.
func (n *Node) startConnect(local []kgo.Opt, registry http.Handler, launch launcher, waits *[]<-chan struct{}) error {
	if !n.plays(RoleConnect) {
		return nil
	}
	opts, err := clientOpts(n.cfg.Connect, local)
	if err != nil {
		return fmt.Errorf("section connect: %w", err)
	}
	reg := plugins.NewRegistry()
	var bo builtin.Options
	if registry != nil {
		bo.RegistryTransport = inProcess{registry}
	}
	builtin.RegisterWith(reg, bo)
	connectors(reg)
	if n.cfg.Plugins != nil {
		n.cfg.Plugins(reg)
	}
	// The listener opens before the worker exists, as the worker's id is its address; until then it answers 503.
	late := &lateHandler{}
	if err := n.serveHTTP("connect", n.cfg.Connect["listeners"], "http://127.0.0.1:8083", late, launch, func(u string) { n.endpoints.Connect = u }); err != nil {
		return err
	}
	resolver, err := providers.FromProperties(n.cfg.Connect)
	if err != nil {
		return fmt.Errorf("section connect: %w", err)
	}
	w, err := connect.New(connect.Config{
		KafkaOpts: opts, Plugins: reg, Resolver: resolver, RegistryURL: n.Endpoints().Registry, Properties: n.cfg.Connect,
		Logger: n.log.With("role", "connect"), Registerer: n.metrics, AdvertisedURL: advertisedURL(n.cfg.Connect, n.Endpoints().Connect), Version: Version, Commit: Commit,
	})
	if err != nil {
		return err
	}
	late.set(restconnect.Handler(w, restconnect.Options{Logger: n.log.With("role", "connect")}))
	launch("connect", w.Run)
	ready := make(chan struct{})
	launch("connect start", func(ctx context.Context) error {
		select {
		case <-w.Started():
			n.answers(RoleConnect)
			close(ready)
		case <-ctx.Done():
		}
		return nil
	})
	*waits = append(*waits, ready)
	return nil
}

// advertisedURL applies rest.advertised.* to the address that the listener got.
func advertisedURL(props map[string]string, listener string) string {
	host, port, err := net.SplitHostPort(strings.TrimPrefix(listener, "http://"))
	if err != nil {
		return listener
	}
	if h := strings.TrimSpace(props["rest.advertised.host.name"]); h != "" {
		host = h
	}
	if p := strings.TrimSpace(props["rest.advertised.port"]); p != "" {
		port = p
	}
	return "http://" + net.JoinHostPort(host, port)
}

// javaPattern judges a regular expression in Java's syntax.
func javaPattern(s string) error {
	_, err := javaregex.Compile(s)
	return err
}
