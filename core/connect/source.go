package connect

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

const (
	// maxSlab and maxBatchRecords end a batch: a poll that returns more goes out in several.
	maxSlab         = 1 << 20
	maxBatchRecords = 16384
	// recordOverhead is the most that a batch adds to one record's key, value and header values, with some room for header names.
	recordOverhead = 160
	// unknownTopicTries is how often a topic may be unknown before the task fails.
	unknownTopicTries = 20
)

const producerClass = "org.apache.kafka.clients.producer.KafkaProducer"

// sourceRun is a running source task.
type sourceRun struct {
	*run
	p      *parsed
	task   plugins.SourceTask
	chain  chain
	codecs *codecs
	policy *errorPolicy
	topics *topicMaker
	rec    plugins.Record // what transforms work on

	offsets   *connectorOffsets
	writer    BatchWriter
	begin     func()        // makes writer
	close     func()        // closes the producer
	maxRecord int           // bytes
	boundary  *taskBoundary // nil unless the task says where transactions end
}

// A task whose producer was shut out although no other worker has come (the broker gave its transaction up: the process or the broker
// was held up for longer than transaction.timeout.ms) begins again, from the stored offsets. Time passes first, in which a worker
// that was succeeded hears of it, and it is not done twice in a row: two workers that do not know of each other would go on for ever.
const (
	lostPause = 2 * time.Second
	lostAgain = 5 * time.Minute
)

func (r *run) runSource(p *parsed) error {
	for {
		err := r.runSourceOnce(p)
		if !lost(err) || r.ctx.Err() != nil || !r.lostAt.IsZero() && time.Since(r.lostAt) < lostAgain {
			return err
		}
		r.lostAt = time.Now()
		r.log.Warn("the producer was shut out; the task begins again from the stored offsets unless another worker has it", "error", err)
		if sleep(r.ctx, lostPause) != nil {
			return nil //nolint:nilerr // it was asked to stop
		}
	}
}

func (r *run) runSourceOnce(p *parsed) (err error) {
	r.w.starts.taskTry.Add(1)
	r.metrics.source = true
	started := false
	defer func() {
		if started {
			r.w.starts.taskOK.Add(1)
		} else {
			r.w.starts.taskFail.Add(1)
		}
	}()
	s := &sourceRun{run: r, p: p, policy: newErrorPolicy(r.id, p.base, r.log, r.metrics, p.secrets)}
	env := plugins.ConverterEnv{Logger: r.log, RegistryURL: r.w.cfg.RegistryURL}
	if s.codecs, err = r.w.buildCodecs(r.ctx, p.resolved, env); err != nil {
		return err
	}
	if s.chain, err = r.w.buildChain(p.resolved); err != nil {
		return err
	}
	defer s.chain.close()
	s.topics = &topicMaker{log: r.log, known: map[string]bool{}, first: func(topic string) {
		if r.w.set.topicTracking {
			r.w.status.putTopic(topic, r.id, r.w.now())
		}
	}}
	if r.w.set.topicCreation {
		s.topics.rules = topicRules(p.resolved, nil)
	}
	if len(s.topics.rules) > 0 {
		// Not the producer's client: that one may make brokers create topics just by asking for them.
		ac, _, err := r.newClient("admin", r.label("adminclient"), p)
		if err != nil {
			return err
		}
		defer ac.Close()
		s.topics.ac, s.topics.adm = ac, kadm.NewClient(ac)
	}
	// A task that starts paused waits before it touches anything outside.
	if !r.awaitStart(p.spec.Version) {
		return nil
	}
	conn := p.spec.New()
	sc, ok := conn.(plugins.SourceConnector)
	if !ok {
		return fmt.Errorf("%s is registered as a source but makes no source tasks", p.spec.Class)
	}
	_, taskConfig, err := r.taskValues(p)
	if err != nil {
		return err
	}
	vals, err := values(p.spec.Config, taskConfig)
	if err != nil {
		return fmt.Errorf("task configuration: %w", err)
	}
	s.maxRecord = maxRequestSize(r.clientProps("producer", p, nil))
	if r.w.eos().tasks {
		err = s.openTransactions()
	} else {
		err = s.openProducer()
	}
	if err != nil {
		return err
	}
	defer s.offsets.close()
	defer s.close()
	s.task = sc.NewSourceTask()
	taskEnv := r.env(s.offsets)
	if s.boundary != nil {
		taskEnv.Transactions = s.boundary
	}
	if err := s.task.Start(r.ctx, taskEnv, vals); err != nil {
		_ = guard(s.task.Stop)
		return err
	}
	started = true
	r.report(StateRunning, p.spec.Version)
	s.begin()
	r.onAbort(s.writer.Abort)
	err = guard(s.loop)
	ctx, cancel := context.WithTimeout(context.Background(), min(r.w.set.values.Millis("offset.flush.timeout.ms"), r.w.set.graceful*4/5))
	defer cancel()
	if e := s.writer.Close(ctx); err == nil {
		err = e
	}
	if e := guard(s.task.Stop); e != nil && err == nil {
		err = fmt.Errorf("stop: %w", e)
	}
	return err
}

// producerOpts are the options of the producers of both kinds beside the connector's own.
func sourceProducerOpts() []kgo.Opt {
	return []kgo.Opt{kgo.RecordPartitioner(fixedOrHashed()), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(unknownTopicTries)}
}

// openProducer makes ready to write at least once.
func (s *sourceRun) openProducer() error {
	cl, _, err := s.newClient("producer", s.label("producer"), s.p, sourceProducerOpts()...)
	if err != nil {
		return err
	}
	if s.offsets, err = s.w.openOffsets(s.ctx, s.id.connector, s.p); err != nil {
		cl.Close()
		return err
	}
	s.topics.cl, s.close = cl, sync.OnceFunc(cl.Close)
	s.begin = func() {
		s.writer = newAckedWriter(cl, func(ctx context.Context, marks []sourceMark) error {
			start := time.Now()
			err := s.offsets.write(ctx, marks)
			s.metrics.committed(time.Since(start), err)
			return err
		}, s.close, s.commit, s.batchDone, s.produceFailed())
	}
	return nil
}

// openTransactions makes ready to write exactly once. First whatever ran this task before is fenced, then the positions are read: so
// nobody can move them any more.
func (s *sourceRun) openTransactions() error {
	if err := s.w.fenceZombies(s.ctx, s.id.connector, s.p); err != nil {
		return err
	}
	props, dropped := transactional(s.clientProps("producer", s.p, map[string]string{"client.id": s.label("producer")}))
	if len(dropped) > 0 {
		s.log.Warn("settings of the producer are not used: records are written in transactions", "settings", dropped)
	}
	w := &txnWriter{txnID: s.w.transactionalID(s.id), timeout: time.Duration(intProp(props, "transaction.timeout.ms", 60000)) * time.Millisecond,
		commit: s.commit, onDone: s.batchDone, metrics: s.metrics, log: s.log, interval: s.w.set.flushInterval}
	w.newClient = func() (*kgo.Client, error) {
		return s.clientOf("producer", props, append(sourceProducerOpts(), transactionOpts(w.txnID, props)...)...)
	}
	switch strings.ToLower(s.p.base.Str("transaction.boundary")) {
	case "interval":
		w.mode = boundaryInterval
		if s.p.base.Has("transaction.boundary.interval.ms") {
			w.interval = s.p.base.Millis("transaction.boundary.interval.ms")
		}
	case "connector":
		w.mode = boundaryConnector
		s.boundary = &taskBoundary{}
	}
	cl, err := w.newClient()
	if err != nil {
		return err
	}
	pid, epoch, err := startProducer(s.ctx, cl, w.txnID)
	if err != nil {
		cl.Close()
		if errors.Is(err, kerr.TransactionalIDAuthorizationFailed) {
			err = fmt.Errorf("the producer needs WRITE and DESCRIBE on the transactional id %s (or on the prefix %s-), or set %s=disabled for the worker: %w", w.txnID, s.w.set.groupID, eosKey, err)
		}
		return err
	}
	if w.offsets, err = s.w.openOffsets(s.ctx, s.id.connector, s.p); err == nil {
		if err = w.offsets.readAll(s.ctx); err != nil {
			w.offsets.close()
		}
	}
	if err != nil {
		cl.Close()
		return fmt.Errorf("read the source offsets: %w", err)
	}
	s.offsets = w.offsets
	s.topics.cl = currentClient{w.client}
	w.cl = cl
	s.close = w.closeClient
	s.begin = func() {
		w.start(cl, pid, epoch)
		s.writer = w
	}
	return nil
}

// startProducer starts a producer with a transactional id, for as long as the coordinator needs to answer.
func startProducer(ctx context.Context, cl *kgo.Client, id string) (pid int64, epoch int16, err error) {
	for delay := 50 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		pid, epoch, err = cl.ProducerID(ctx)
		if err == nil && pid < 0 {
			err = finalError{errNoProducerID}
		}
		if err == nil || final(err) || ctx.Err() != nil {
			break
		}
		if e := sleep(ctx, delay); e != nil {
			break
		}
	}
	if err != nil {
		err = fmt.Errorf("start the producer %s: %w", id, err)
	}
	return pid, epoch, err
}

// currentClient makes requests with whatever client is in use.
type currentClient struct{ client func() *kgo.Client }

// Request implements kmsg.Requestor.
func (c currentClient) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	return c.client().Request(ctx, req)
}

// commit tells the task of positions that are in the log.
func (s *sourceRun) commit(ctx context.Context, marks []sourceMark) error {
	for _, m := range marks {
		if err := s.task.Commit(ctx, m.partition, m.offset); err != nil {
			return err
		}
	}
	return nil
}

// taskBoundary is the plugins.TransactionContext of a task: what it asked for in its present Poll.
type taskBoundary struct{ asked atomic.Int32 }

// Commit implements plugins.TransactionContext.
func (b *taskBoundary) Commit() { b.asked.Store(int32(endCommit)) }

// Abort implements plugins.TransactionContext.
func (b *taskBoundary) Abort() { b.asked.Store(int32(endAbort)) }

func (s *sourceRun) batchDone(b *Batch) {
	n := int64(len(b.recs))
	s.metrics.active.Add(-n)
	s.metrics.written.Add(n - int64(b.skipped))
}

// produceFailed decides about records that the log does not take; with errors.tolerance=all they are skipped.
func (s *sourceRun) produceFailed() func(*kgo.Record, error) error {
	return func(r *kgo.Record, err error) error {
		return s.policy.failed(s.ctx, stageProduce, producerClass, err, nil, nil)
	}
}

func (s *sourceRun) loop() error {
	for s.ctx.Err() == nil {
		if t, _ := s.targetState(); t != Started {
			if !s.awaitStart(s.p.spec.Version) {
				return nil
			}
			s.report(StateRunning, s.p.spec.Version)
		}
		start := time.Now()
		recs, err := s.poll()
		if err != nil {
			if s.ctx.Err() != nil {
				return nil //nolint:nilerr // it was asked to stop
			}
			return err
		}
		if len(recs) == 0 {
			if err := s.writer.Err(); err != nil { // it should not wait for the next record
				return err
			}
			if s.boundary == nil || s.boundary.asked.Load() == 0 {
				continue
			}
		}
		s.metrics.polled.Add(int64(len(recs)))
		s.metrics.batch(len(recs), time.Since(start))
		if err := s.send(recs); err != nil {
			return err
		}
	}
	return nil
}

// poll calls the task with a context that ends when the task is paused or stopped, or the writer has failed.
func (s *sourceRun) poll() ([]plugins.SourceRecord, error) {
	_, changed := s.targetState()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	failed := s.writer.Failed()
	go func() {
		select {
		case <-changed:
		case <-failed:
		case <-stop:
			return
		}
		cancel()
	}()
	recs, err := s.task.Poll(ctx)
	if err != nil && plugins.IsRetriable(err) && s.ctx.Err() == nil && ctx.Err() == nil {
		err = s.policy.retry(s.ctx, stagePoll, err, func() (e error) {
			recs, e = s.task.Poll(ctx)
			return e
		})
	}
	if err != nil && ctx.Err() != nil {
		err = nil // it was interrupted
	}
	return recs, err
}

// send converts the records of a poll and hands them to the writer.
func (s *sourceRun) send(recs []plugins.SourceRecord) error {
	b := s.writer.Get()
	for i := range recs {
		if err := s.encode(b, &recs[i]); err != nil {
			return err
		}
		if s.boundary != nil && recs[i].Boundary != plugins.NoBoundary {
			b.end = endCommit
			if recs[i].Boundary == plugins.AbortAfter {
				b.end = endAbort
			}
		} else if len(b.slab) < maxSlab && len(b.recs) < maxBatchRecords {
			continue
		} else if i == len(recs)-1 {
			break // it is the last one anyway
		}
		if err := s.write(b); err != nil {
			return err
		}
		b = s.writer.Get()
	}
	b.end = endPoll
	if s.boundary != nil {
		if e := batchEnd(s.boundary.asked.Swap(0)); e != endNone {
			b.end = e
		} else if len(b.recs) == 0 && len(b.marks) == 0 {
			return nil
		}
		return s.write(b)
	}
	if len(b.recs) == 0 && len(b.marks) == 0 && len(recs) == 0 {
		return nil
	}
	return s.write(b)
}

func (s *sourceRun) write(b *Batch) error {
	s.metrics.active.Add(int64(len(b.recs)))
	return s.writer.Write(s.ctx, b)
}

// encode appends one record to the batch, or only its position when it is dropped on the way.
func (s *sourceRun) encode(b *Batch, r *plugins.SourceRecord) error {
	if r.SourcePartition != nil && r.SourceOffset != nil {
		defer b.mark(r.SourcePartition, r.SourceOffset)
	}
	if r.Topic == "" {
		return nil
	}
	v := &s.rec
	*v = plugins.Record{Topic: r.Topic, Partition: r.Partition, KeySchema: r.KeySchema, Key: r.Key, ValueSchema: r.ValueSchema, Value: r.Value, Timestamp: r.Timestamp, Headers: r.Headers}
	if len(s.chain) > 0 {
		keep, failed, err := s.transform(v, r)
		if err != nil {
			return s.policy.failed(s.ctx, stageTransform, failed, err, nil, nil)
		}
		if !keep {
			return nil
		}
	}
	slab, hspans := len(b.slab), len(b.hspans)
	sp := span{k0: -1, v0: -1, h0: hspans, h1: hspans}
	undo := func(stage, class string, err error) error {
		b.slab, b.hspans = b.slab[:slab], b.hspans[:hspans]
		return s.policy.failed(s.ctx, stage, class, err, nil, nil)
	}
	for i := range v.Headers {
		h := &v.Headers[i]
		val, err := s.header(v.Topic, h)
		if err != nil {
			return undo(stageHeader, s.codecs.headerClas, err)
		}
		hs := headerSpan{key: h.Key, v0: -1}
		if val != nil {
			hs.v0 = len(b.slab)
			b.slab = append(b.slab, val...)
			hs.v1 = len(b.slab)
		}
		b.hspans = append(b.hspans, hs)
	}
	sp.h1 = len(b.hspans)
	out, err := s.codecs.key.FromData(s.ctx, b.slab, v.Topic, v.KeySchema, v.Key)
	if err != nil {
		if out, err = s.fromData(s.codecs.key, stageKey, b, v.Topic, v.KeySchema, v.Key, err); err != nil {
			return undo(stageKey, s.codecs.keyClass, err)
		}
	}
	if out != nil {
		sp.k0, sp.k1 = len(b.slab), len(out)
		b.slab = out
	}
	if out, err = s.codecs.value.FromData(s.ctx, b.slab, v.Topic, v.ValueSchema, v.Value); err != nil {
		if out, err = s.fromData(s.codecs.value, stageValue, b, v.Topic, v.ValueSchema, v.Value, err); err != nil {
			return undo(stageValue, s.codecs.valueClass, err)
		}
	}
	if out != nil {
		sp.v0, sp.v1 = len(b.slab), len(out)
		b.slab = out
	}
	if n := len(b.slab) - slab + recordOverhead; n > s.maxRecord { // found here, it need not spoil a transaction
		return undo(stageProduce, producerClass, plugins.Dataf("The message is %d bytes when serialized which is larger than %d, which is the value of the max.request.size configuration.", n, s.maxRecord)) //nolint:staticcheck // Kafka's words
	}
	if err := s.topics.ready(s.ctx, v.Topic); err != nil {
		return err
	}
	b.recs = append(b.recs, kgo.Record{Topic: v.Topic, Partition: v.Partition})
	if v.Timestamp >= 0 {
		b.recs[len(b.recs)-1].Timestamp = time.UnixMilli(v.Timestamp)
	}
	b.spans = append(b.spans, sp)
	return nil
}

// transform runs the chain; a retriable error starts it again on the record as it was.
func (s *sourceRun) transform(v *plugins.Record, r *plugins.SourceRecord) (keep bool, failed string, err error) {
	orig := *v
	if keep, failed, err = s.chain.apply(v); err != nil && plugins.IsRetriable(err) {
		err = s.policy.retry(s.ctx, stageTransform, err, func() (e error) {
			*v = orig
			keep, failed, e = s.chain.apply(v)
			return e
		})
	}
	return keep, failed, err
}

func (s *sourceRun) header(topic string, h *data.Header) ([]byte, error) {
	val, err := s.codecs.header.FromHeader(topic, h.Key, h.Schema, h.Value)
	if err != nil && plugins.IsRetriable(err) {
		err = s.policy.retry(s.ctx, stageHeader, err, func() (e error) {
			val, e = s.codecs.header.FromHeader(topic, h.Key, h.Schema, h.Value)
			return e
		})
	}
	return val, err
}

// fromData is the slow way of a conversion that has failed once.
func (s *sourceRun) fromData(c plugins.Converter, stage string, b *Batch, topic string, schema *data.Schema, v data.Value, err error) ([]byte, error) {
	if !plugins.IsRetriable(err) {
		return nil, err
	}
	var out []byte
	err = s.policy.retry(s.ctx, stage, err, func() (e error) {
		out, e = c.FromData(s.ctx, b.slab, topic, schema, v)
		return e
	})
	return out, err
}

// fixedOrHashed partitions by the hash of the key as Kafka's default partitioner does, unless the record names its partition.
func fixedOrHashed() kgo.Partitioner { return partitioner{kgo.StickyKeyPartitioner(nil)} }

type partitioner struct{ inner kgo.Partitioner }

// ForTopic implements kgo.Partitioner.
func (p partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return &topicPartitioner{p.inner.ForTopic(topic)}
}

type topicPartitioner struct{ kgo.TopicPartitioner }

// RequiresConsistency implements kgo.TopicPartitioner.
func (p *topicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition >= 0 || p.TopicPartitioner.RequiresConsistency(r)
}

// Partition implements kgo.TopicPartitioner.
func (p *topicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition) // kgo fails the record when there is no such partition
	}
	return p.TopicPartitioner.Partition(r, n)
}

// OnNewBatch implements kgo.TopicPartitionerOnNewBatch.
func (p *topicPartitioner) OnNewBatch() {
	if o, ok := p.TopicPartitioner.(kgo.TopicPartitionerOnNewBatch); ok {
		o.OnNewBatch()
	}
}
