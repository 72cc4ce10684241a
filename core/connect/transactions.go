package connect

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/kafkaclient"
	"github.com/moldau-io/moldau/plugins"
)

// Exactly-once sources (KIP-618): how the worker finds out whether it can use transactions, writes the configuration topic with them, and
// makes sure that tasks of earlier lives cannot write any more.
//
// Every source task has a transactional id of its own, GROUP-CONNECTOR-TASK, so that a new instance of a task fences the one before it just by
// starting its producer. That leaves the tasks that a connector had once and has no more. The configuration topic says how many tasks a
// connector had when it was fenced last (tasks-fencing-CONNECTOR), and a commit of task configurations after that record says that there may
// be others since. So before the first task of a new set of configurations starts, the producers of that many tasks are fenced, and the
// record is written anew. A set of one task that follows a set of one needs no round: it is the same transactional id.

// exactlyOnce is whether source records are written in transactions.
type exactlyOnce struct {
	leader bool   // the configuration topic is written in transactions
	tasks  bool   // source tasks write in transactions
	why    string // why tasks is false although nobody said so
}

// eos tells how the worker writes. It is settled once Run has reached the cluster.
func (w *Worker) eos() exactlyOnce {
	if e := w.exactly.Load(); e != nil {
		return *e
	}
	return exactlyOnce{}
}

const eosKey = "exactly.once.source.support"

// openTransactions settles how the worker writes, and takes over the configuration topic from whoever wrote it before.
func (w *Worker) openTransactions(ctx context.Context, ac *kgo.Client, opts []kgo.Opt) (*configWriter, error) {
	want := strings.ToLower(w.set.values.Str(eosKey))
	if want == "disabled" {
		w.exactly.Store(&exactlyOnce{})
		return nil, nil
	}
	id := "connect-cluster-" + w.set.groupID
	cw := &configWriter{newClient: func() (*kgo.Client, error) {
		all := append(append([]kgo.Opt{}, opts...), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
		cl, err := kgo.NewClient(append(all, transactionOpts(id, w.set.withPrefix("producer."))...)...)
		if err != nil {
			return nil, fmt.Errorf("producer of the configuration topic: %w", err)
		}
		return cl, nil
	}, fenced: func(err error) {
		w.fence("of another process, which writes the configuration topic", -1)
	}}
	err := transactionsKnown(ctx, ac)
	if err == nil {
		err = w.claim(ctx, ac, cw, id)
	}
	if err == nil {
		w.exactly.Store(&exactlyOnce{leader: true, tasks: want == "enabled"})
		return cw, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	var never *noTransactions
	if !errors.As(err, &never) || w.set.values.IsSet(eosKey) {
		return nil, fmt.Errorf("%s=%s: %w", eosKey, want, err)
	}
	w.log.Warn("source records are written at least once: the cluster offers this worker no transactions. Set "+eosKey+"=disabled to have it so, or mend what the reason says and restart the worker", "reason", never.Error())
	w.exactly.Store(&exactlyOnce{why: never.Error()})
	return nil, nil
}

// checkExactlyOnce holds what a source's configuration demands of transactions against what the worker and the connector can.
func (w *Worker) checkExactlyOnce(p *parsed, base *part) {
	var conn plugins.Connector
	if guard(func() error { conn = p.spec.New(); return nil }) != nil {
		return
	}
	ask := func(f func() bool) (yes bool) {
		return guard(func() error { yes = f(); return nil }) == nil && yes
	}
	if strings.EqualFold(p.base.Str("exactly.once.support"), "required") {
		if e := w.eos(); !e.tasks {
			text := "This worker does not have exactly-once source support enabled."
			if e.why != "" {
				text += " The cluster offers it no transactions: " + e.why
			}
			base.result.Error("exactly.once.support", "%s", text)
		}
		if c, ok := conn.(plugins.ExactlyOnceConnector); !ok {
			base.result.Error("exactly.once.support", "The connector does not implement the API required for preflight validation of exactly-once source support. Please consult the documentation for the connector to determine whether it supports exactly-once semantics, and then consider reconfiguring the connector to use the value \"requested\" for this property (which will disable this preflight check and allow the connector to be created).")
		} else if !ask(func() bool { return c.ExactlyOnceSupport(p.own) }) {
			base.result.Error("exactly.once.support", "The connector does not support exactly-once semantics with the provided configuration.")
		}
	}
	if strings.EqualFold(p.base.Str("transaction.boundary"), "connector") {
		if c, ok := conn.(plugins.TransactionDefiner); !ok || !ask(func() bool { return c.CanDefineTransactionBoundaries(p.own) }) {
			base.result.Error("transaction.boundary", "The connector does not support connector-defined transaction boundaries with the given configuration. Please reconfigure it to use a different transaction boundary definition.")
		}
	}
}

// noTransactions says why transactions cannot be used, and that waiting does not help.
type noTransactions struct{ reason string }

// Error tells the reason.
func (e *noTransactions) Error() string { return e.reason }

// transactionsKnown asks a broker whether it has the requests of transactions at all.
func transactionsKnown(ctx context.Context, ac *kgo.Client) error {
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, ac)
	if err != nil {
		return fmt.Errorf("ask for the requests that brokers know: %w", err)
	}
	have := map[int16]bool{}
	for _, k := range resp.ApiKeys {
		have[k.ApiKey] = true
	}
	for _, k := range []kmsg.Key{kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.EndTxn} {
		if !have[int16(k)] {
			return &noTransactions{"the brokers do not know " + k.Name() + " requests"}
		}
	}
	return nil
}

// claim starts the producer of the configuration topic, which ends what an earlier worker left open there.
func (w *Worker) claim(ctx context.Context, ac *kgo.Client, cw *configWriter, id string) error {
	began := time.Now()
	for delay := 50 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		err := cw.open(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		var ke *kerr.Error
		switch {
		case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
			return &noTransactions{fmt.Sprintf("the worker may not use the transactional id %s; it needs WRITE and DESCRIBE on the transactional ids connect-cluster-%s and %s-* (prefixed)", id, w.set.groupID, w.set.groupID)}
		case errors.As(err, &ke) && !ke.Retriable && ke != kerr.ConcurrentTransactions:
			return &noTransactions{fmt.Sprintf("starting the producer %s failed: %s", id, err)}
		case errors.Is(err, errNoProducerID):
			return &noTransactions{"the brokers are too old for transactions"}
		}
		// A cluster whose transaction topic cannot be made (fewer brokers than transaction.state.log.replication.factor) says that its
		// coordinator is not available, for ever. That the topic is not there means that nobody has used transactions yet.
		if time.Since(began) > coordinatorPatience {
			if td, e := describeTopic(ctx, ac, "__transaction_state"); e == nil && td == nil {
				return &noTransactions{fmt.Sprintf("there is no transaction coordinator, and no topic __transaction_state; are there fewer brokers than transaction.state.log.replication.factor? (%s)", err)}
			}
		}
		w.log.Warn("the transaction coordinator does not answer yet", "transactional_id", id, "error", err)
		if err := sleep(ctx, delay); err != nil {
			return err
		}
	}
}

// coordinatorPatience is how long a worker waits for the first transaction coordinator of a cluster.
const coordinatorPatience = 30 * time.Second

var errNoProducerID = errors.New("the broker gave no producer id")

// configWriter writes to the configuration topic, each call in a transaction of its own. The transactional id is the group's: a worker that
// starts later takes it over, and from then on nothing that this one writes reaches the topic.
type configWriter struct {
	newClient func() (*kgo.Client, error)
	fenced    func(error)

	mu sync.Mutex
	cl *kgo.Client
}

// open starts the producer.
func (c *configWriter) open(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cl != nil {
		c.cl.Close()
		c.cl = nil
	}
	cl, err := c.newClient()
	if err != nil {
		return err
	}
	try, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	id, _, err := cl.ProducerID(try)
	if err == nil && id < 0 {
		err = errNoProducerID
	}
	if err != nil {
		cl.Close()
		return err
	}
	c.cl = cl
	return nil
}

func (c *configWriter) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cl != nil {
		c.cl.Close()
	}
}

// endTimeout bounds the end of a transaction of the configuration topic: a request's own end does not cut it short.
const endTimeout = 30 * time.Second

// write stores records together or not at all. An error may also mean that the outcome is not known.
func (c *configWriter) write(ctx context.Context, recs []*kgo.Record) error {
	err := c.once(ctx, recs)
	if errors.Is(err, kerr.InvalidProducerIDMapping) || errors.Is(err, kerr.UnknownProducerID) {
		// Idle for so long that the coordinator forgot the id: it is nobody else's.
		if err = c.open(ctx); err == nil {
			err = c.once(ctx, recs)
		}
	}
	if lost(err) {
		c.fenced(err)
	}
	return err
}

func (c *configWriter) once(ctx context.Context, recs []*kgo.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cl == nil {
		return errors.New("the configuration topic's producer is closed")
	}
	if err := c.cl.BeginTransaction(); err != nil {
		if lost(err) {
			c.cl.Close()
			c.cl = nil
		}
		return fmt.Errorf("begin a transaction: %w", err)
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	err := error(nil)
	for _, res := range c.cl.ProduceSync(ctx, recs...) {
		if res.Err != nil && err == nil {
			err = fmt.Errorf("write to topic %q: %w", res.Record.Topic, res.Err)
		}
	}
	if err == nil {
		if err = kafkaclient.EndTransaction(end, c.cl, kgo.TryCommit); err == nil {
			return nil
		}
		err = fmt.Errorf("commit: %w", err)
	}
	if lost(err) { // whatever else this producer tried would only disturb the one that has its place
		c.cl.Close()
		c.cl = nil
		return err
	}
	if e := kafkaclient.EndTransaction(end, c.cl, kgo.TryAbort); e != nil {
		err = errors.Join(err, fmt.Errorf("abort: %w", e))
	}
	return err
}

// initProducer starts the producer of a transactional id: what it left open is aborted, and who used it before is fenced. With a pid and
// epoch, other than -1, it succeeds only when they were used last.
func initProducer(ctx context.Context, cl kmsg.Requestor, id string, timeout time.Duration, pid int64, epoch int16) (int64, int16, error) {
	for delay := 2 * time.Millisecond; ; delay = min(2*delay, 500*time.Millisecond) {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis = &id, int32(timeout.Milliseconds())
		req.ProducerID, req.ProducerEpoch = pid, epoch
		resp, err := req.RequestWith(ctx, cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err == nil {
			return resp.ProducerID, resp.ProducerEpoch, nil
		}
		var ke *kerr.Error
		if !errors.As(err, &ke) || !ke.Retriable && ke != kerr.ConcurrentTransactions {
			return 0, 0, fmt.Errorf("start the producer %s: %w", id, err)
		}
		if e := sleep(ctx, delay); e != nil {
			return 0, 0, fmt.Errorf("start the producer %s: %w", id, err)
		}
	}
}

// transactionalID is that of a source task.
func (w *Worker) transactionalID(id workID) string {
	return w.set.groupID + "-" + id.connector + "-" + strconv.Itoa(id.task)
}

// fenceTimeout bounds the fencing of one connector's tasks.
const fenceTimeout = time.Minute

// fenceZombies makes sure that no task from before the connector's present set of task configurations can write any more.
func (w *Worker) fenceZombies(ctx context.Context, name string, p *parsed) error {
	lock, _ := w.fencing.LoadOrStore(name, &sync.Mutex{})
	lock.(*sync.Mutex).Lock()
	defer lock.(*sync.Mutex).Unlock()
	v := w.configs.view(name)
	if !v.pendingFencing {
		return nil
	}
	if n := v.fenced; n > 1 || n == 1 && len(v.tasks) != 1 {
		if err := w.fenceTasks(ctx, name, n, p); err != nil {
			return fmt.Errorf("fence the tasks from before: %w", err)
		}
	}
	if err := w.configs.putFencing(ctx, name, len(v.tasks)); err != nil {
		return fmt.Errorf("note that the tasks from before are fenced: %w", err)
	}
	return nil
}

// fenceTasks fences the producers of the tasks 0 to n-1.
func (w *Worker) fenceTasks(ctx context.Context, name string, n int, p *parsed) error {
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	w.log.Info("fencing the producers of earlier tasks", "connector", name, "tasks", n)
	props, _ := transactional(w.clientProps("producer", p, map[string]string{"client.id": "connector-adminclient-" + name + "-fencing"}))
	opts, err := clientOpts("producer", props)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(append(append([]kgo.Opt{kgo.WithLogger(kgoLogger{w.log})}, w.cfg.KafkaOpts...), opts...)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	timeout := time.Duration(intProp(props, "transaction.timeout.ms", 60000)) * time.Millisecond
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
		slots = make(chan struct{}, 16)
	)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if _, _, err := initProducer(ctx, cl, w.transactionalID(workID{name, i}), timeout, -1, -1); err != nil {
				mu.Lock()
				if first == nil {
					first = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return first
}

// fenceIdle ends what tasks of connectors that do not run left open: it would hold back the readers of the offset topic until the
// broker gives it up.
func (w *Worker) fenceIdle(ctx context.Context) {
	var wg sync.WaitGroup
	for _, name := range w.configs.names() {
		v := w.configs.view(name)
		if v.fenced <= 0 || v.target == Started || w.isSink(v) {
			continue
		}
		wg.Go(func() {
			p, err := w.parse(ctx, v.config)
			if err == nil {
				err = w.fenceTasks(ctx, name, v.fenced, p)
			}
			if err != nil && ctx.Err() == nil {
				w.log.Warn("the tasks of a connector that does not run could not be fenced", "connector", name, "error", err)
			}
		})
	}
	wg.Wait()
}

// Fence makes sure that no earlier task of a source connector can write any more. It is what the leader of a Kafka Connect cluster does when a
// worker is about to start tasks.
func (w *Worker) Fence(ctx context.Context, name string) error {
	v, err := w.existing(name)
	if err != nil {
		return err
	}
	if !w.eos().tasks {
		return fail(500, "This worker does not have exactly-once source support enabled.")
	}
	p, err := w.parse(ctx, v.config)
	if err != nil {
		return err
	}
	if err := w.fenceZombies(ctx, name, p); err != nil {
		return w.failed("fence the tasks of the connector", err)
	}
	return nil
}
