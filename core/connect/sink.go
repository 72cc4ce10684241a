package connect

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

const (
	// tick is the longest time between two puts, empty ones included.
	tick = time.Second
	// putBackoffMax bounds the pause before a batch is delivered again that the task could not take.
	putBackoffMax = 10 * time.Second
	commitTimeout = 30 * time.Second
)

// sinkPartition is what the worker knows about an assigned partition.
type sinkPartition struct {
	consumed  int64 // offset after the last record read
	delivered int64 // offset after the last record that went to the task; -1: none yet
	committed int64 // -1: none yet
	epoch     int32
}

// sinkRun is a running sink task.
//
// The task's methods are called from two goroutines, never at a time: the loop's (Put, PreCommit) and that of the consumer's
// rebalances (Open, Close, PreCommit). mu is held around each call. Rebalances are held off between a poll and the moment when
// the loop has mu (BlockRebalanceOnPoll), so that no record of a partition that is gone reaches the task.
type sinkRun struct {
	*run
	p      *parsed
	task   plugins.SinkTask
	chain  chain
	codecs *codecs
	policy *errorPolicy
	cl     *kgo.Client
	// closeClient closes it, once: what is left behind is closed from outside as well.
	closeClient func()

	group  string
	max    int
	rec    plugins.Record
	topics map[string]bool
	ids    map[string][16]byte // of topics, as the last fetches told

	mu         sync.Mutex
	parts      map[plugins.TopicPartition]*sinkPartition
	pending    []plugins.SinkRecord // the batch that the task has yet to take
	nextCommit time.Time
	over       bool // the task is being stopped: rebalances do nothing any more

	reqMu      sync.Mutex // what the task asks for, from any goroutine
	paused     map[plugins.TopicPartition]bool
	pausedAll  bool
	rewinds    map[plugins.TopicPartition]int64
	commitSoon bool
}

func (r *run) runSink(p *parsed) (err error) {
	r.w.starts.taskTry.Add(1)
	started := false
	defer func() {
		if started {
			r.w.starts.taskOK.Add(1)
		} else {
			r.w.starts.taskFail.Add(1)
		}
	}()
	s := &sinkRun{run: r, p: p, policy: newErrorPolicy(r.id, p.base, r.log, r.metrics, p.secrets), topics: map[string]bool{},
		parts: map[plugins.TopicPartition]*sinkPartition{}, paused: map[plugins.TopicPartition]bool{}, rewinds: map[plugins.TopicPartition]int64{},
		ids: map[string][16]byte{}}
	env := plugins.ConverterEnv{Logger: r.log, RegistryURL: r.w.cfg.RegistryURL}
	if s.codecs, err = r.w.buildCodecs(r.ctx, p.resolved, env); err != nil {
		return err
	}
	if s.chain, err = r.w.buildChain(p.resolved); err != nil {
		return err
	}
	defer s.chain.close()
	if err := s.openDeadLetters(); err != nil {
		return err
	}
	if s.policy.dead != nil {
		defer s.policy.dead.close()
	}
	if !r.awaitStart(p.spec.Version) {
		return nil
	}
	conn, ok := p.spec.New().(plugins.SinkConnector)
	if !ok {
		return fmt.Errorf("%s is registered as a sink but makes no sink tasks", p.spec.Class)
	}
	_, taskConfig, err := r.taskValues(p)
	if err != nil {
		return err
	}
	vals, err := values(p.spec.Config, taskConfig)
	if err != nil {
		return fmt.Errorf("task configuration: %w", err)
	}
	s.task = conn.NewSinkTask()
	if err := s.task.Start(r.ctx, s.sinkEnv(), vals); err != nil {
		_ = guard(s.task.Stop)
		return err
	}
	defer func() {
		if e := guard(s.task.Stop); e != nil && err == nil {
			err = fmt.Errorf("stop: %w", e)
		}
	}()
	if err := s.subscribe(); err != nil {
		return err
	}
	s.closeClient = sync.OnceFunc(s.cl.CloseAllowingRebalance)
	r.onAbort(s.closeClient)
	started = true
	r.report(StateRunning, p.spec.Version)
	s.nextCommit = time.Now().Add(r.w.set.flushInterval)
	err = guard(s.loop)
	s.finish(err)
	return err
}

func (s *sinkRun) openDeadLetters() error {
	topic := s.p.base.Str("errors.deadletterqueue.topic.name")
	if topic == "" || !s.policy.tolerate {
		return nil
	}
	cl, _, err := s.newClient("producer", s.label("dlq-producer"), s.p)
	if err != nil {
		return err
	}
	d, err := newDeadLetters(s.ctx, cl, topic, s.p.base.Int("errors.deadletterqueue.topic.replication.factor"),
		!s.p.base.IsSet("errors.deadletterqueue.topic.replication.factor"), s.p.base.Bool("errors.deadletterqueue.context.headers.enable"))
	if err != nil {
		cl.Close()
		return err
	}
	s.policy.dead = d
	return nil
}

func (s *sinkRun) sinkEnv() plugins.SinkEnv {
	e := plugins.SinkEnv{Env: s.env(nil), Pause: s.pause, Resume: s.resume, Rewind: s.rewind, RequestCommit: func() {
		s.reqMu.Lock()
		s.commitSoon = true
		s.reqMu.Unlock()
	}, TopicID: func(topic string) [16]byte { return s.ids[topic] }}
	if s.policy.tolerate {
		e.Report = func(rec *plugins.SinkRecord, cause error, done func(error)) {
			at := &position{rec.OriginalTopic, rec.Partition, rec.Offset, rec.Timestamp, rec.Raw}
			if err := s.policy.failed(s.ctx, stagePut, s.p.spec.Class, cause, at, done); err != nil && done != nil {
				done(err)
			}
		}
	}
	return e
}

func (s *sinkRun) subscribe() error {
	defaults := map[string]string{"group.id": "connect-" + s.id.connector}
	props := s.clientProps("consumer", s.p, defaults)
	s.max = intProp(props, "max.poll.records", 500)
	s.group = props["group.id"]
	opts := []kgo.Opt{
		// A static member (KIP-345): after a crash the task takes its old place at once, instead of waiting for the session of the one
		// that died to run out. A worker that still runs the task is fenced by it.
		kgo.InstanceID(s.label("consumer")),
		kgo.ConsumerGroup(props["group.id"]), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(s.onAssigned), kgo.OnPartitionsRevoked(s.onRevoked), kgo.OnPartitionsLost(s.onLost),
	}
	var later *topicPattern
	if pattern := s.p.base.Str("topics.regex"); pattern != "" {
		if re, err := regexp.Compile("^(?:" + pattern + ")$"); err == nil {
			opts = append(opts, kgo.ConsumeRegex(), kgo.ConsumeTopics(re.String()))
		} else { // Java knows more than the client
			var topics []string
			if later, topics, err = s.awaitTopics(pattern); err != nil {
				return err
			}
			opts = append(opts, kgo.ConsumeTopics(topics...))
		}
	} else {
		opts = append(opts, kgo.ConsumeTopics(s.p.base.List("topics")...))
	}
	// Rebalances begin with the client, and wait for mu until it is known here; so does what the task asks for.
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reqMu.Lock()
	defer s.reqMu.Unlock()
	cl, _, err := s.newClient("consumer", s.label("consumer"), s.p, opts...)
	s.cl = cl
	if err == nil && later != nil {
		go later.follow(s.ctx, cl)
	}
	return err
}

func (s *sinkRun) pause(tps ...plugins.TopicPartition) {
	s.reqMu.Lock()
	defer s.reqMu.Unlock()
	for _, tp := range tps {
		s.paused[tp] = true
	}
	if s.cl != nil {
		s.cl.PauseFetchPartitions(byTopic(tps))
	}
}

func (s *sinkRun) resume(tps ...plugins.TopicPartition) {
	s.reqMu.Lock()
	defer s.reqMu.Unlock()
	for _, tp := range tps {
		delete(s.paused, tp)
	}
	if s.cl != nil && !s.pausedAll && len(tps) > 0 {
		s.cl.ResumeFetchPartitions(byTopic(tps))
	}
}

func (s *sinkRun) rewind(tp plugins.TopicPartition, offset int64) {
	s.reqMu.Lock()
	defer s.reqMu.Unlock()
	s.rewinds[tp] = offset
}

func byTopic(tps []plugins.TopicPartition) map[string][]int32 {
	m := map[string][]int32{}
	for _, tp := range tps {
		m[tp.Topic] = append(m[tp.Topic], tp.Partition)
	}
	return m
}

func topicPartitions(m map[string][]int32) []plugins.TopicPartition {
	var out []plugins.TopicPartition
	for t, ps := range m {
		for _, p := range ps {
			out = append(out, plugins.TopicPartition{Topic: t, Partition: p})
		}
	}
	return out
}

// Rebalances.

func (s *sinkRun) onAssigned(_ context.Context, _ *kgo.Client, m map[string][]int32) {
	tps := topicPartitions(m)
	if len(tps) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	for _, tp := range tps {
		s.parts[tp] = &sinkPartition{consumed: -1, delivered: -1, committed: -1, epoch: -1}
	}
	s.metrics.partitions.Store(int64(len(s.parts)))
	s.reqMu.Lock()
	all := s.pausedAll
	s.reqMu.Unlock()
	if all {
		s.cl.PauseFetchPartitions(m)
	}
	s.log.Debug("partitions assigned", "partitions", tps)
	if err := guard(func() error { return s.task.Open(s.ctx, tps) }); err != nil {
		s.raise(fmt.Errorf("open partitions: %w", err))
	}
}

func (s *sinkRun) onRevoked(ctx context.Context, _ *kgo.Client, m map[string][]int32) {
	s.give(ctx, m, true)
}
func (s *sinkRun) onLost(ctx context.Context, _ *kgo.Client, m map[string][]int32) {
	s.give(ctx, m, false)
}

// give hands partitions back; commit is false when they have other owners already.
func (s *sinkRun) give(_ context.Context, m map[string][]int32, commit bool) {
	tps := topicPartitions(m)
	if len(tps) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.log.Debug("partitions revoked", "partitions", tps, "lost", !commit)
	err := guard(func() error {
		if commit {
			if err := s.commit(s.ctx, true); err != nil {
				return err
			}
		}
		return s.task.Close(s.ctx, tps)
	})
	for _, tp := range tps {
		delete(s.parts, tp)
	}
	s.metrics.partitions.Store(int64(len(s.parts)))
	kept := s.pending[:0:0]
	for i := range s.pending {
		if s.parts[plugins.TopicPartition{Topic: s.pending[i].OriginalTopic, Partition: s.pending[i].Partition}] != nil {
			kept = append(kept, s.pending[i])
		}
	}
	s.pending = kept
	s.reqMu.Lock()
	for _, tp := range tps {
		delete(s.paused, tp)
		delete(s.rewinds, tp)
	}
	s.reqMu.Unlock()
	s.cl.ResumeFetchPartitions(m) // whoever gets them next begins unpaused
	if err != nil {
		s.raise(fmt.Errorf("close partitions: %w", err))
	}
}

// The loop.

func (s *sinkRun) loop() error {
	for s.ctx.Err() == nil {
		s.followTarget()
		wait := min(tick, time.Until(s.nextCommit))
		ctx, cancel := context.WithTimeout(s.ctx, max(wait, time.Millisecond))
		fs := s.cl.PollRecords(ctx, s.max)
		cancel()
		if fs.IsClientClosed() {
			return errors.New("the consumer was closed")
		}
		if err := s.turn(fs); err != nil {
			return err
		}
	}
	return nil
}

// turn is one turn of the loop after a poll. A task that panics leaves mu free.
func (s *sinkRun) turn(fs kgo.Fetches) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cl.AllowRebalance()
	return s.iterate(fs)
}

// followTarget pauses and resumes the whole task.
func (s *sinkRun) followTarget() {
	t, _ := s.targetState()
	want := t != Started
	s.reqMu.Lock()
	if want == s.pausedAll {
		s.reqMu.Unlock()
		return
	}
	s.pausedAll = want
	s.reqMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var tps []plugins.TopicPartition
	s.reqMu.Lock()
	for tp := range s.parts {
		if want || !s.paused[tp] {
			tps = append(tps, tp)
		}
	}
	s.reqMu.Unlock()
	s.metrics.paused(want)
	if want {
		if len(tps) > 0 {
			s.cl.PauseFetchPartitions(byTopic(tps))
		}
		s.requestCommit()
		s.report(StatePaused, s.p.spec.Version)
		return
	}
	if len(tps) > 0 {
		s.cl.ResumeFetchPartitions(byTopic(tps))
	}
	s.report(StateRunning, s.p.spec.Version)
}

func (s *sinkRun) requestCommit() {
	s.reqMu.Lock()
	s.commitSoon = true
	s.reqMu.Unlock()
}

// iterate handles what a poll returned. mu is held.
func (s *sinkRun) iterate(fs kgo.Fetches) error {
	for _, e := range fs.Errors() {
		switch {
		case errors.Is(e.Err, context.DeadlineExceeded), errors.Is(e.Err, context.Canceled):
		case errors.Is(e.Err, kerr.TopicAuthorizationFailed), errors.Is(e.Err, kerr.GroupAuthorizationFailed):
			return fmt.Errorf("read topic %q partition %d: %w", e.Topic, e.Partition, e.Err)
		default:
			s.log.Warn("reading failed; it is tried again", "topic", e.Topic, "partition", e.Partition, "error", e.Err)
		}
	}
	// A rewind that the task asked for since the last turn, in the commit of a rebalance: what was polled meanwhile lies beyond it.
	batch, err := s.convert(fs, s.applyRewinds())
	if err != nil {
		return err
	}
	if err := s.deliver(batch); err != nil {
		return err
	}
	s.applyRewinds()
	s.reqMu.Lock()
	due := s.commitSoon || !time.Now().Before(s.nextCommit)
	s.reqMu.Unlock()
	if due {
		err := s.commit(s.ctx, false)
		s.applyRewinds() // those that the task asked for in PreCommit: the next records must come from there
		return err
	}
	return nil
}

// convert decodes and transforms records, but for those of rewound partitions. Those that are dropped or tolerated leave only their offset.
func (s *sinkRun) convert(fs kgo.Fetches, rewound map[plugins.TopicPartition]int64) ([]plugins.SinkRecord, error) {
	n := fs.NumRecords()
	if n == 0 {
		return nil, nil
	}
	s.metrics.read.Add(int64(n))
	for i := range fs {
		for j := range fs[i].Topics {
			if t := &fs[i].Topics[j]; t.TopicID != [16]byte{} {
				s.ids[t.Topic] = t.TopicID
			}
		}
	}
	batch := make([]plugins.SinkRecord, 0, n)
	raws := make([]plugins.RawRecord, n)
	var fail error
	fs.EachPartition(func(p kgo.FetchTopicPartition) {
		if fail != nil || len(p.Records) == 0 {
			return
		}
		tp := plugins.TopicPartition{Topic: p.Topic, Partition: p.Partition}
		st := s.parts[tp]
		if _, again := rewound[tp]; st == nil || again {
			return
		}
		if s.w.set.topicTracking && !s.topics[p.Topic] {
			s.topics[p.Topic] = true
			s.w.status.putTopic(p.Topic, s.id, s.w.now())
		}
		for _, r := range p.Records {
			raw := &raws[0]
			raws = raws[1:]
			*raw = rawRecord(r)
			batch = append(batch, plugins.SinkRecord{})
			out := &batch[len(batch)-1]
			keep, err := s.decode(out, r, raw)
			if err != nil {
				fail = err
				return
			}
			st.consumed, st.epoch = r.Offset+1, r.LeaderEpoch
			if keep {
				st.delivered = r.Offset + 1
			} else {
				batch = batch[:len(batch)-1]
			}
		}
	})
	return batch, fail
}

func (s *sinkRun) decode(out *plugins.SinkRecord, r *kgo.Record, raw *plugins.RawRecord) (keep bool, err error) {
	v := &s.rec
	*v = plugins.Record{Topic: r.Topic, Partition: r.Partition, Timestamp: r.Timestamp.UnixMilli(), Offset: r.Offset, IsSink: true}
	skip := func(stage, class string, err error) (bool, error) {
		return false, s.policy.failed(s.ctx, stage, class, err, &position{r.Topic, r.Partition, r.Offset, v.Timestamp, raw}, nil)
	}
	if v.KeySchema, v.Key, err = s.codecs.key.ToData(s.ctx, r.Topic, r.Key); err != nil {
		if v.KeySchema, v.Key, err = s.toData(s.codecs.key, stageKey, r.Topic, r.Key, err); err != nil {
			return skip(stageKey, s.codecs.keyClass, err)
		}
	}
	if v.ValueSchema, v.Value, err = s.codecs.value.ToData(s.ctx, r.Topic, r.Value); err != nil {
		if v.ValueSchema, v.Value, err = s.toData(s.codecs.value, stageValue, r.Topic, r.Value, err); err != nil {
			return skip(stageValue, s.codecs.valueClass, err)
		}
	}
	if len(r.Headers) > 0 {
		v.Headers = make([]data.Header, 0, len(r.Headers))
		for i := range r.Headers {
			h := &r.Headers[i]
			schema, val, err := s.codecs.header.ToHeader(r.Topic, h.Key, h.Value)
			if err != nil {
				return skip(stageHeader, s.codecs.headerClas, err)
			}
			v.Headers = append(v.Headers, data.Header{Key: h.Key, Schema: schema, Value: val})
		}
	}
	if len(s.chain) > 0 {
		orig := *v
		keep, failed, err := s.chain.apply(v)
		if err != nil && plugins.IsRetriable(err) {
			err = s.policy.retry(s.ctx, stageTransform, err, func() (e error) {
				*v = orig
				keep, failed, e = s.chain.apply(v)
				return e
			})
		}
		if err != nil {
			return skip(stageTransform, failed, err)
		}
		if !keep {
			return false, nil
		}
	}
	*out = plugins.SinkRecord{
		Topic: v.Topic, Partition: r.Partition, Offset: r.Offset, OriginalTopic: r.Topic,
		KeySchema: v.KeySchema, Key: v.Key, ValueSchema: v.ValueSchema, Value: v.Value,
		Timestamp: v.Timestamp, TimestampType: plugins.TimestampType(r.Attrs.TimestampType()), Headers: v.Headers, Raw: raw,
	}
	return true, nil
}

func (s *sinkRun) toData(c plugins.Converter, stage, topic string, b []byte, err error) (*data.Schema, data.Value, error) {
	var (
		schema *data.Schema
		v      data.Value
	)
	if plugins.IsRetriable(err) {
		err = s.policy.retry(s.ctx, stage, err, func() (e error) {
			schema, v, e = c.ToData(s.ctx, topic, b)
			return e
		})
	}
	return schema, v, err
}

// deliver puts a batch, again and again while the task asks for it. Between two tries mu is free, so that rebalances go on; what they
// take away leaves the batch, and so do the records of partitions that the task, in the failed try or in a commit since, has rewound:
// they come again from there, and a task that saw them now would leave out what lies between.
func (s *sinkRun) deliver(batch []plugins.SinkRecord) error {
	s.pending = batch
	n := int64(len(batch))
	s.metrics.active.Add(n)
	defer func() {
		s.metrics.active.Add(-n)
		s.pending = nil
	}()
	delay := firstRetryDelay
	for {
		start := time.Now()
		err := s.task.Put(s.ctx, s.pending)
		if err == nil {
			if len(s.pending) > 0 {
				s.metrics.batch(len(s.pending), time.Since(start))
				s.metrics.sent.Add(int64(len(s.pending)))
			}
			return nil
		}
		if s.ctx.Err() != nil {
			return nil
		}
		if !plugins.IsRetriable(err) {
			return fmt.Errorf("exiting sink task due to unrecoverable exception: %w", err)
		}
		s.metrics.retries.Add(1)
		s.log.Warn("the task could not take a batch; it is delivered again", "records", len(s.pending), "delay", delay, "error", err)
		s.mu.Unlock()
		e := sleep(s.ctx, delay)
		s.mu.Lock()
		if e != nil {
			return nil // stopping; the batch was not taken and is not committed
		}
		delay = min(2*delay, putBackoffMax, max(s.policy.retryDelayMax, firstRetryDelay))
		if time.Now().After(s.nextCommit) {
			if err := s.commit(s.ctx, false); err != nil {
				return err
			}
		}
		if rewound := s.applyRewinds(); len(rewound) > 0 {
			s.pending = slices.DeleteFunc(s.pending, func(r plugins.SinkRecord) bool {
				_, again := rewound[plugins.TopicPartition{Topic: r.OriginalTopic, Partition: r.Partition}]
				return again
			})
		}
	}
}

// applyRewinds sends the consumer to where the task asked for, and returns what it asked for. mu is held.
func (s *sinkRun) applyRewinds() map[plugins.TopicPartition]int64 {
	s.reqMu.Lock()
	rewinds := s.rewinds
	if len(rewinds) > 0 {
		s.rewinds = map[plugins.TopicPartition]int64{}
	}
	s.reqMu.Unlock()
	if len(rewinds) == 0 {
		return nil
	}
	set := map[string]map[int32]kgo.EpochOffset{}
	for tp, off := range rewinds {
		st := s.parts[tp]
		if st == nil {
			continue
		}
		if set[tp.Topic] == nil {
			set[tp.Topic] = map[int32]kgo.EpochOffset{}
		}
		set[tp.Topic][tp.Partition] = kgo.EpochOffset{Epoch: -1, Offset: off}
		st.consumed, st.delivered = off, -1
	}
	s.cl.SetOffsets(set)
	return rewinds
}
