package connect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Worker runs connectors. Make one with New, run it with Run; its other methods are what the REST API is made of and may be called
// from any goroutine. Their errors are *api.Error where Connect's REST API has a status code for them.
type Worker struct {
	cfg     Config
	set     *settings
	log     *slog.Logger
	configs *configStore
	offsets *offsetStore
	status  *statusStore
	herd    *herder
	il      *internalLog
	adm     *kadm.Client
	starts  starts
	started time.Time

	clusterID atomic.Pointer[string]
	ready     atomic.Bool
	readyC    chan struct{}
	readyOnce sync.Once
	gen       atomic.Int64
	successor atomic.Pointer[string] // the worker that fenced this one

	exactly atomic.Pointer[exactlyOnce]
	fencing sync.Map // connector -> *sync.Mutex, held for its round of fencing

	writeMu sync.Mutex // orders what this worker writes to the configuration topic
	runCtx  context.Context
	levels  *loggerLevels
}

// New checks the configuration and makes a worker. Nothing outside is touched before Run.
func New(cfg Config) (*Worker, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Plugins == nil {
		return nil, errors.New("connect configuration: no plugins")
	}
	set, err := newSettings(&cfg)
	if err != nil {
		return nil, err
	}
	for _, k := range []string{"key.converter", "value.converter"} {
		if _, ok := cfg.Plugins.Converter(set.values.Str(k)); !ok {
			return nil, fmt.Errorf("connect configuration: "+classMissing, set.values.Str(k), k, set.values.Str(k))
		}
	}
	if class := set.values.Str("header.converter"); class != "" {
		if _, ok := cfg.Plugins.HeaderConverter(class); !ok {
			return nil, fmt.Errorf("connect configuration: "+classMissing, class, "header.converter", class)
		}
	}
	levels := newLoggerLevels(cfg.Logger.Handler())
	w := &Worker{cfg: cfg, set: set, log: levels.logger(rootLogger), started: time.Now(), readyC: make(chan struct{}), levels: levels}
	w.configs = newConfigStore(set.configTopic, w.log)
	w.offsets = newOffsetStore(set.offsetTopic, w.log)
	w.status = newStatusStore(set.statusTopic, w.log)
	w.herd = newHerder(w, assignment{all: true})
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(&collector{w: w, descs: map[string]*prometheus.Desc{}}); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return w, nil
}

func (w *Worker) now() time.Time { return time.Now() }

func (w *Worker) generation() int { return int(w.gen.Load()) }

// Ready reports whether the worker has read its topics and serves requests.
func (w *Worker) Ready() bool { return w.ready.Load() }

// Started is closed when Ready turns true for the first time.
func (w *Worker) Started() <-chan struct{} { return w.readyC }

// AllowOrigin and AllowMethods return the settings for cross-origin requests to the REST API.
func (w *Worker) AllowOrigin() string { return w.set.values.Str("access.control.allow.origin") }

// AllowMethods returns the methods allowed to cross-origin requests, "" for the default.
func (w *Worker) AllowMethods() string { return w.set.values.Str("access.control.allow.methods") }

// ownOpts are the options of the worker's own clients.
func (w *Worker) ownOpts(id string) ([]kgo.Opt, error) {
	v := w.set.values
	props := map[string]string{"client.id": v.Str("client.id") + id}
	for _, k := range []string{"request.timeout.ms", "metadata.max.age.ms"} {
		if v.IsSet(k) {
			props[k] = w.set.values.Raw()[k]
		}
	}
	opts, err := clientOpts("admin", merged(props, w.set.withPrefix("admin.")))
	if err != nil {
		return nil, err
	}
	return append(append([]kgo.Opt{}, w.cfg.KafkaOpts...), append(opts, kgo.WithLogger(kgoLogger{w.log}))...), nil
}

// Run runs the worker until ctx is done and then stops all connectors and tasks, within task.shutdown.graceful.timeout.ms each. It
// returns an error when the worker cannot start: topics that cannot be used, a group with other members.
func (w *Worker) Run(ctx context.Context) error {
	opts, err := w.ownOpts("connect-" + w.set.groupID)
	if err != nil {
		return err
	}
	ac, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("admin client: %w", err)
	}
	defer ac.Close()
	w.adm = kadm.NewClient(ac)
	if err := w.awaitCluster(ctx); err != nil {
		return err
	}
	if err := w.ensureAlone(ctx); err != nil {
		return err
	}
	// The configuration topic is taken over before it is read: whatever its last writer left open would hold the reading back.
	var (
		cw      *configWriter
		cwErr   error
		opening sync.WaitGroup
	)
	opening.Go(func() { cw, cwErr = w.openTransactions(ctx, ac, opts) })
	var topicErr error
	for _, t := range w.internalTopics() {
		if topicErr = ensureInternalTopic(ctx, ac, t, w.set.autoInternal); topicErr != nil {
			break
		}
	}
	opening.Wait()
	if cw != nil {
		defer cw.close()
		w.configs.txn = cw
	}
	if err := errors.Join(topicErr, cwErr); err != nil {
		return err
	}
	il, err := newInternalLog(ctx, w.log, ac, opts, map[string]func(*kgo.Record){
		w.set.configTopic: w.configs.handle, w.set.offsetTopic: w.offsets.handle, w.set.statusTopic: w.status.handle,
	})
	if err != nil {
		return err
	}
	defer il.close()
	w.il, w.configs.il, w.offsets.il, w.status.il = il, il, il, il
	follow, stopFollowing := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() { il.run(follow) })
	defer following.Wait()
	defer stopFollowing()
	if err := il.readToEnd(ctx, w.set.configTopic, w.set.offsetTopic, w.set.statusTopic); err != nil {
		return err
	}
	w.runCtx = ctx
	if w.eos().tasks {
		w.fenceIdle(ctx)
	}
	w.gen.Store(int64(w.status.generation() + 1))
	w.begin()
	w.ready.Store(true)
	w.readyOnce.Do(func() { close(w.readyC) })
	w.log.Info("connect worker is ready", "worker", w.set.workerID, "group", w.set.groupID, "connectors", len(w.configs.names()))
	w.herd.run(ctx)
	w.ready.Store(false)
	flush, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := il.cl.Flush(flush); err != nil {
		w.log.Warn("the last statuses could not be written", "error", err)
	}
	return nil
}

// awaitCluster waits until the cluster answers.
func (w *Worker) awaitCluster(ctx context.Context) error {
	for delay := 50 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		md, err := w.adm.BrokerMetadata(try)
		cancel()
		if err == nil && len(md.Brokers) > 0 {
			w.clusterID.Store(&md.Cluster)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		w.log.Warn("the cluster does not answer yet", "error", err)
		if err := sleep(ctx, delay); err != nil {
			return err
		}
	}
}

// ensureAlone refuses to run beside a Kafka Connect cluster that is alive on the same group.
func (w *Worker) ensureAlone(ctx context.Context) error {
	var g kadm.DescribedGroup
	for delay := 50 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		groups, err := w.adm.DescribeGroups(ctx, w.set.groupID)
		g = groups[w.set.groupID]
		if err == nil {
			err = g.Err
		}
		if err == nil || errors.Is(err, kerr.GroupIDNotFound) {
			break
		}
		if !kerr.IsRetriable(err) {
			return fmt.Errorf("describe group %q: %w", w.set.groupID, err)
		}
		// A cluster that has never had a group makes the topic of groups now, and one that has just started loads them.
		w.log.Warn("the group's coordinator does not answer yet", "group", w.set.groupID, "error", err)
		if err := sleep(ctx, delay); err != nil {
			return err
		}
	}
	if len(g.Members) > 0 {
		return fmt.Errorf("group %q has %d active members: another Connect cluster is running on it. This worker runs all connectors by itself; stop the others first, or choose another group.id and other internal topics", w.set.groupID, len(g.Members))
	}
	return nil
}

func (w *Worker) internalTopics() []internalTopic {
	v := w.set.values
	extra := func(prefix string, partitions bool) map[string]string {
		m := w.set.withPrefix(prefix + ".storage.")
		delete(m, "topic")
		delete(m, "replication.factor")
		if partitions {
			delete(m, "partitions")
		}
		return m
	}
	return []internalTopic{
		{w.set.configTopic, "config.storage.topic", 1, w.set.replication["config"], extra("config", false)},
		{w.set.offsetTopic, "offset.storage.topic", int32(v.Int("offset.storage.partitions")), w.set.replication["offset"], extra("offset", true)},
		{w.set.statusTopic, "status.storage.topic", int32(v.Int("status.storage.partitions")), w.set.replication["status"], extra("status", true)},
	}
}

// begin gives the core what the topics say and lets it follow them from now on.
func (w *Worker) begin() {
	w.status.follow(func(worker string, generation int) {
		if generation > w.generation() && worker != w.set.workerID {
			w.fence(worker, generation)
		}
	})
	views := w.configs.follow(func(ch change, v connectorView) {
		switch {
		case ch.connector != "":
			w.herd.post(evView{v})
		case ch.restart != nil:
			w.herd.post(evRestart{req: *ch.restart})
		case ch.logger != "":
			w.levels.put(ch.logger, w.configs.loggerLevel(ch.logger), w.now())
		}
	})
	for _, v := range views {
		w.herd.post(evView{v})
	}
	for _, id := range w.status.ids() {
		w.herd.post(evOrphan{id})
	}
}

// fence stops everything for good: another worker runs the connectors now. It may hold locks of the stores and must not wait for them.
func (w *Worker) fence(worker string, generation int) {
	if !w.successor.CompareAndSwap(nil, &worker) {
		return
	}
	w.log.Error("another worker has taken over the connectors of this group; this one stops its own. Workers that run at the same time need group.ids and internal topics of their own", "worker", worker, "generation", generation)
	w.ready.Store(false)
	w.herd.post(evShutdown{})
}

func (w *Worker) putStatus(e effStatus) {
	if w.successor.Load() != nil {
		return // it is the other one's word that counts
	}
	st := status{State: e.state, WorkerID: w.set.workerID, Generation: w.generation()}
	if e.trace != "" {
		st.Trace = &e.trace
	}
	version := e.version
	if version == "" && e.state != StateUnassigned {
		if spec, ok := w.cfg.Plugins.Connector(w.configs.view(e.id.connector).config["connector.class"]); ok {
			version = spec.Version
		}
	}
	if version != "" {
		st.Version = &version
	}
	w.status.put(e.id, st)
}

// writeTasks commits task configurations, until it has worked or they are out of date.
func (w *Worker) writeTasks(e effWriteTasks) {
	for delay := firstRetryDelay; ; delay = min(2*delay, time.Minute) {
		err := func() error {
			w.writeMu.Lock()
			defer w.writeMu.Unlock()
			v := w.configs.view(e.connector)
			if !v.exists || v.rev != e.rev || (v.target == Stopped) != (e.configs == nil) {
				return nil
			}
			return w.configs.putTasks(w.runCtx, e.connector, e.configs)
		}()
		if err == nil || w.runCtx.Err() != nil {
			return
		}
		w.log.Error("writing task configurations failed; it is tried again", "connector", e.connector, "error", err)
		if sleep(w.runCtx, delay) != nil {
			return
		}
	}
}

// eachTask calls f for the metrics of every running task.
func (w *Worker) eachTask(f func(workID, *taskMetrics)) {
	w.herd.runsMu.RLock()
	defer w.herd.runsMu.RUnlock()
	for id, r := range w.herd.runs {
		if r.metrics != nil {
			f(id, r.metrics)
		}
	}
}
