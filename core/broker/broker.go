package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/group"
	"github.com/moldau-io/moldau/core/log"
	"github.com/moldau-io/moldau/core/loglevel"
	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/security"
	"github.com/moldau-io/moldau/core/security/acl"
	"github.com/moldau-io/moldau/core/server"
	"github.com/moldau-io/moldau/core/txn"
)

// Quorum is what the broker needs of the metadata quorum; *quorum.Node is one.
type Quorum interface {
	// Image is the newest committed image.
	Image() *metadata.Image
	// Do decides on the newest image, and returns when the records are committed and all subscribers have seen them.
	Do(ctx context.Context, decide func(*metadata.Image) ([]metadata.Record, error)) error
	// Subscribe calls fn for the current image (as a change from the empty one) and then for each change, in order.
	Subscribe(fn func(before, after *metadata.Image, d metadata.Delta))
	// WaitReady waits until the node can decide or has followed a leader.
	WaitReady(ctx context.Context) error
	// LeaderID is the node that leads the quorum, -1 while there is none.
	LeaderID() int32
}

// Config is what a Broker is made of.
type Config struct {
	// Core holds the broker's properties.
	Core *config.Broker
	// Quorum must be running when Start is called.
	Quorum Quorum
	// LogDir is the only directory of the logs; empty means Core's log.dirs.
	LogDir string
	// FS holds the logs; nil is the operating system's. Tests give one that forgets what was not synced.
	FS log.FS
	// Log gets what happens; its level is the one of the broker's logger (see brokerloggers.go). Nil discards it.
	Log *loglevel.Switch
	// Registerer gets the metrics; nil for none.
	Registerer prometheus.Registerer
	// Pattern judges a regular expression in Java's syntax (see config.ValidateClientMetrics); nil takes Go's syntax for it.
	Pattern func(string) error
}

// Broker serves the Kafka protocol. Make one with New; Start or Run it once; Close it.
type Broker struct {
	cfg    Config
	set    settings
	log    *slog.Logger
	level  *loglevel.Switch // of log
	quorum Quorum
	rules  metadata.Rules

	dir      *log.Dirs
	topics   *topics
	groups   *group.Coordinator
	txns     *txn.Coordinator
	sessions *sessionCache
	pollers  *pollers
	ids      producerIDs
	metrics  *metrics
	lag      *lagCollector
	apis     map[int16]api

	fetchMemory  *server.Budget
	aheadMemory  *server.Budget
	aheadFor     time.Duration
	answers      answerSizes
	decodeMemory *server.Budget
	server       *server.Server
	memory       *server.MemoryListener
	listeners    []boundListener
	epoch        int64 // the broker epoch of this registration

	security   map[string]*security.Listener // by the name of the listener
	super      map[string]bool               // super.users
	acls       atomic.Pointer[acl.Index]     // nil without authorizer
	aclVersion uint64                        // of acls; the metadata's subscriber counts it
	quotas     *quotas
	guards     map[int16]guard // by API key

	verifiesTxns atomic.Bool // transaction.partition.verification.enable

	electedMu sync.Mutex
	electedAt map[int32]int32

	ctx      context.Context // ends when the broker stops serving
	cancel   context.CancelFunc
	serving  sync.WaitGroup
	failed   chan error
	started  bool
	applied  chan struct{} // closed after the first image was applied
	offline  chan struct{} // has room for one: replicas may have to be reported offline
	unopened atomic.Bool   // some partitions have no log; set by offlineReplicas
	once     sync.Once
	closeErr error
}

// New checks the configuration and makes a broker. Nothing is opened before Start.
func New(cfg Config) (*Broker, error) {
	switch {
	case cfg.Core == nil:
		return nil, errors.New("new broker: Core is missing")
	case cfg.Quorum == nil:
		return nil, errors.New("new broker: Quorum is missing")
	}
	if cfg.Log == nil {
		cfg.Log = loglevel.NewSwitch(slog.DiscardHandler)
	}
	if cfg.LogDir == "" && len(cfg.Core.LogDirs) == 0 {
		return nil, errors.New("new broker: log.dirs must name a directory")
	}
	b := &Broker{
		cfg: cfg, set: settingsOf(cfg.Core), log: cfg.Log.Logger().With("role", "broker"), level: cfg.Log, quorum: cfg.Quorum,
		rules: metadata.Rules{
			NumPartitions: cfg.Core.NumPartitions, ReplicationFactor: cfg.Core.DefaultReplicationFactor,
			DeleteTopics: cfg.Core.DeleteTopics, Configs: metadata.TableRules{Static: cfg.Core.Static, Pattern: cfg.Pattern},
		},
		topics: newTopics(), pollers: newPollers(),
		electedAt: map[int32]int32{},
		failed:    make(chan error, 1), applied: make(chan struct{}), offline: make(chan struct{}, 1),
	}
	b.quotas, b.guards = newQuotas(cfg.Core), guards()
	b.sessions = newSessionCache(b.set.fetchSessionSlots, time.Now)
	b.metrics, b.lag = newMetrics(b), newLagCollector(b)
	b.fetchMemory = server.NewBudget(b.set.fetchMemoryBytes)
	b.aheadMemory, b.aheadFor = server.NewBudget(b.set.fetchMemoryBytes/4), aheadFor
	b.answers = nearAnswers
	b.decodeMemory = server.NewBudget(maxDecodeMemory)
	b.memory = server.NewMemoryListener("memory")
	b.apis = b.handlers()
	connections := b.maxConnections(b.set.maxConnections)
	b.server = server.New(server.Config{
		MaxRequestBytes: b.set.maxRequestBytes, MemoryBytes: b.set.requestMemoryBytes,
		ReceiveBufferBytes: b.set.receiveBuffer, SendBufferBytes: b.set.sendBuffer,
		Limits: b.connectionLimits(cfg.Core, config.ListenerLimits(config.Layers{Static: cfg.Core.Static})), MaxUnauthenticated: maxStrangers(connections),
		IdleTimeout: b.set.idleTimeout, Logger: b.log, Answered: b.answered,
		MaxUnauthenticatedBytes: int(cfg.Core.SaslMaxReceiveSize), Admit: b.admitConnection,
	}, b)
	b.ctx, b.cancel = context.WithCancel(context.Background())
	return b, nil
}

// image is the newest metadata.
func (b *Broker) image() *metadata.Image { return b.quorum.Image() }

// Start brings the broker up; when it returns nil, clients are served. ctx bounds the start only.
func (b *Broker) Start(ctx context.Context) (err error) {
	if b.started {
		return errors.New("start broker: it was started before")
	}
	b.started = true
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start broker: %w", err), b.abandon())
		}
	}()
	if err := b.quorum.WaitReady(ctx); err != nil {
		return fmt.Errorf("wait for the metadata quorum: %w", err)
	}
	if err := b.openSecurity(); err != nil {
		return err
	}
	b.indexACLs(b.image())
	if err := b.openDir(); err != nil {
		return err
	}
	b.followOwnConfig(b.image())
	if err := b.startGroups(); err != nil {
		return err
	}
	if err := b.startTxns(); err != nil {
		return err
	}
	if err := b.listen(ctx); err != nil {
		return err
	}
	if err := b.register(ctx); err != nil {
		return err
	}
	if err := b.bootstrapScram(ctx); err != nil {
		return err
	}
	b.quorum.Subscribe(b.follow)
	select {
	case <-b.applied:
	case <-ctx.Done():
		return fmt.Errorf("open the partitions: %w", ctx.Err())
	}
	b.dropStray(b.image())
	if err := b.reportOffline(ctx); err != nil {
		return err
	}
	b.followDirs()
	if err := b.unfence(ctx); err != nil {
		return err
	}
	if b.cfg.Registerer != nil {
		if err := b.cfg.Registerer.Register(b.metrics); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	b.followSecurity()
	b.serve()
	return nil
}

// follow is b.apply that tells of the first time.
func (b *Broker) follow(old, im *metadata.Image, d metadata.Delta) {
	if b.ctx.Err() != nil {
		return // closed: the subscription outlives the broker
	}
	if d.Security.ACLs {
		b.indexACLs(im)
	}
	if d.Security.Quotas {
		b.quotas.update(im)
	}
	b.followStores(im, d)
	b.apply(old, im, d)
	select {
	case <-b.applied:
	default:
		close(b.applied)
	}
}

// Run starts the broker, serves until ctx ends or a listener or the last log directory fails, and closes it.
func (b *Broker) Run(ctx context.Context) error {
	if err := b.Start(ctx); err != nil {
		return err
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-b.failed:
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.set.shutdownTimeout)
	defer cancel()
	return errors.Join(err, b.Close(stop))
}

// Failed delivers the error of a listener that broke, or of the last log directory.
func (b *Broker) Failed() <-chan error { return b.failed }

// Close stops the broker: it drains the connections as long as ctx allows, fences the broker, and closes the logs cleanly.
func (b *Broker) Close(ctx context.Context) error {
	b.once.Do(func() { b.closeErr = b.close(ctx) })
	return b.closeErr
}

func (b *Broker) close(ctx context.Context) error {
	var errs error
	// Stop accepting and reading; answer those who wait.
	for i := range b.listeners {
		b.listeners[i].stop()
	}
	b.pollers.stop()
	if b.groups != nil {
		b.groups.Close()
	}
	if b.txns != nil {
		b.txns.Close()
	}
	if err := b.server.Shutdown(ctx); err != nil {
		b.log.Warn("connections did not drain in time", "error", err)
	}
	b.cancel() // what runs beside the connections: housekeeping and heartbeats
	b.serving.Wait()
	if b.epoch != 0 {
		if err := b.leave(ctx); err != nil {
			b.log.Warn("could not say good-bye to the metadata quorum", "error", err)
		}
	}
	if b.cfg.Registerer != nil {
		b.cfg.Registerer.Unregister(b.metrics)
		b.cfg.Registerer.Unregister(b.lag)
	}
	if b.dir != nil {
		errs = errors.Join(errs, b.dir.Close())
	}
	return errs
}

// abandon undoes a start that failed.
func (b *Broker) abandon() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return b.Close(ctx)
}

func (b *Broker) openDir() error {
	opts := b.set.logOptions
	opts.Logger, opts.FS = b.log, b.cfg.FS
	opts.RecoveryThreads = int(config.InEffect(b.layers(b.image(), "")).RecoveryThreads)
	opts.Config = func(topic string) (log.Config, bool) {
		im := b.image()
		if im.Topic(topic) == nil {
			return log.Config{}, false
		}
		cfg, err := b.logConfig(im, topic)
		if err != nil {
			b.log.Error("topic configuration is not usable", "topic", topic, "error", err)
			return log.Config{}, false
		}
		return cfg, true
	}
	opts.TopicID = func(topic string) ([16]byte, bool) {
		if mt := b.image().Topic(topic); mt != nil {
			return mt.ID, true
		}
		return [16]byte{}, false
	}
	opts.OnSync, opts.OnFail = b.metrics.synced, b.dirsChanged
	dir, err := b.openDirs(opts)
	if err != nil {
		return err
	}
	b.dir = dir
	b.serving.Add(1)
	go func() {
		defer b.serving.Done()
		if err := dir.Run(b.listenCtx()); err != nil && b.ctx.Err() == nil {
			b.log.Error("log housekeeping stopped", "error", err)
		}
	}()
	return nil
}

func (b *Broker) startGroups() error {
	c := b.set.group
	if mt := b.image().Topic(group.OffsetsTopic); mt != nil {
		c.OffsetsTopicPartitions = int32(len(mt.Partitions))
	}
	g, err := group.NewCoordinator(c, offsetsStore{b}, groupTopics{b}, b.log, b.cfg.Registerer)
	if err != nil {
		return err
	}
	b.groups = g
	if b.cfg.Registerer != nil {
		if err := b.cfg.Registerer.Register(b.lag); err != nil {
			return fmt.Errorf("register the lag metrics: %w", err)
		}
	}
	g.Start()
	return nil
}

// incarnation names this run of the broker.
func (b *Broker) register(ctx context.Context) error {
	var listeners []metadata.Listener
	for i := range b.listeners {
		if l := &b.listeners[i]; l.advertised != nil {
			listeners = append(listeners, *l.advertised)
		}
	}
	r := metadata.RegisterBroker{
		ID: b.set.nodeID, IncarnationID: metadata.RandomUUID(), Listeners: listeners, Rack: b.set.rack,
		Features: featureRanges(), PreviousEpoch: b.previousEpoch(),
	}
	err := b.retry(ctx, func(im *metadata.Image) ([]metadata.Record, error) {
		records, epoch, err := metadata.DecideRegisterBroker(im, b.rules, r)
		b.epoch = epoch
		return records, err
	})
	if err != nil {
		return fmt.Errorf("register with the metadata quorum: %w", err)
	}
	for _, d := range b.dir.List() {
		d.SetBrokerEpoch(b.epoch)
	}
	return nil
}

// previousEpoch is the broker epoch under which all log directories were closed orderly, -1 when one was not (KIP-966).
func (b *Broker) previousEpoch() int64 {
	dirs := b.dir.List()
	for _, d := range dirs {
		if d.Err() != nil || d.PreviousBrokerEpoch() != dirs[0].PreviousBrokerEpoch() {
			return -1
		}
	}
	return dirs[0].PreviousBrokerEpoch()
}

func featureRanges() []metadata.FeatureRange {
	var out []metadata.FeatureRange
	for _, f := range supportedFeatures {
		out = append(out, metadata.FeatureRange{Name: f.Name, Min: f.MinVersion, Max: f.MaxVersion})
	}
	return out
}

// unfence asks until the broker is shown to clients.
func (b *Broker) unfence(ctx context.Context) error {
	err := b.retry(ctx, func(im *metadata.Image) ([]metadata.Record, error) {
		records, _, err := metadata.DecideHeartbeat(im, b.rules, metadata.Heartbeat{BrokerID: b.set.nodeID, Epoch: b.epoch, MetadataOffset: im.Offset})
		return records, err
	})
	if err != nil {
		return fmt.Errorf("unfence: %w", err)
	}
	return nil
}

// leave gives up the leaderships.
func (b *Broker) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return b.quorum.Do(ctx, func(im *metadata.Image) ([]metadata.Record, error) {
		records, _, err := metadata.DecideHeartbeat(im, b.rules, metadata.Heartbeat{BrokerID: b.set.nodeID, Epoch: b.epoch, MetadataOffset: im.Offset, WantShutDown: true})
		return records, err
	})
}

// retry runs a decision until the quorum has a leader that takes it.
func (b *Broker) retry(ctx context.Context, decide func(*metadata.Image) ([]metadata.Record, error)) error {
	for {
		err := b.quorum.Do(ctx, decide)
		var refused *metadata.Error
		if err == nil || errors.As(err, &refused) && refused.Code != kerr.DuplicateBrokerRegistration.Code || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// BootstrapRecords are the records that a new cluster begins with: its finalised features.
func BootstrapRecords() []metadata.Record {
	return []metadata.Record{
		&metadata.FeatureLevelRecord{Name: metadata.FeatureELR, Level: 1},
		&metadata.FeatureLevelRecord{Name: "metadata.version", Level: 33},
		&metadata.FeatureLevelRecord{Name: groupVersion, Level: 1},
		&metadata.FeatureLevelRecord{Name: transactionVersion, Level: 2},
	}
}

// Dial connects to this broker without a socket when address is one of its own, and over TCP otherwise. It fits kgo.Dialer.
func (b *Broker) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if b.isOwn(address) {
		return b.memory.Dial(ctx, network, address)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// hostname is what an empty listener host is advertised as.
func hostname() string {
	if h, err := os.Hostname(); err == nil && h != "" {
		return h
	}
	return "localhost"
}
