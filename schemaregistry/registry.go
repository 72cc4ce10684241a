package schemaregistry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Leadership says which node decides writes. An election among nodes implements it; without one every node decides, which costs
// a repeated decision when two write at once but no schema.
type Leadership interface {
	// Leader returns whether this node leads, else the leader's URL, "" if none is known.
	Leader() (url string, self bool)
}

// Registry is a registry node. Its methods are safe for concurrent use. Before Ready they answer 50001.
type Registry struct {
	opts    Options
	decide  *decider
	store   *store
	metrics *metrics

	// writer is held from reading to the end of the topic until the decision has been read back.
	writer sync.Mutex

	mu    sync.RWMutex
	state *State
	ready bool
	// again is set while the topic is read a second time.
	again bool
	// readyCh is closed when the topic has been read to its end for the first time.
	readyCh   chan struct{}
	clusterID string
	// rejected signals that there may be rejected records to overwrite.
	rejected chan struct{}
}

// New returns a registry that Run starts.
func New(o Options) (*Registry, error) {
	d := DefaultOptions()
	fill(&o, d)
	r := &Registry{opts: o, readyCh: make(chan struct{}), rejected: make(chan struct{}, 1), state: NewState(o.Level, ReadWrite)}
	r.decide = &decider{parser: newParser(o.Limits), mutableMode: !o.ImmutableMode, validateNew: !o.SkipNewValidation, validateFields: o.ValidateFields}
	var err error
	if r.store, err = newStore(&r.opts, &r.mu, r.apply, r.restart, r.caughtUp); err != nil {
		return nil, err
	}
	if r.metrics, err = newMetrics(o.Registerer, r); err != nil {
		r.store.client.Close()
		return nil, fmt.Errorf("metrics of the registry: %w", err)
	}
	return r, nil
}

func fill(o *Options, d Options) {
	if o.Topic == "" {
		o.Topic = d.Topic
	}
	if o.ReplicationFactor <= 0 {
		o.ReplicationFactor = d.ReplicationFactor
	}
	if o.Timeout <= 0 {
		o.Timeout = d.Timeout
	}
	if o.InitTimeout <= 0 {
		o.InitTimeout = d.InitTimeout
	}
	if o.WriteRetries <= 0 {
		o.WriteRetries = d.WriteRetries
	}
	if o.Level == "" {
		o.Level = d.Level
	}
	if o.IncompatibleCode == 0 {
		o.IncompatibleCode = d.IncompatibleCode
	}
	if o.SearchLimit <= 0 {
		o.SearchLimit = d.SearchLimit
	}
	if o.SearchMaxLimit <= 0 {
		o.SearchMaxLimit = d.SearchMaxLimit
	}
	if o.Limits.SchemaBytes <= 0 {
		o.Limits.SchemaBytes = d.Limits.SchemaBytes
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// Run creates the topic, reads it and follows it until ctx ends, which is no error. It returns early only if the topic cannot hold
// schemas. Kafka being away is waited out.
func (r *Registry) Run(ctx context.Context) error {
	defer r.store.client.Close()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := r.store.ensureTopic(ctx)
		var bad *badTopicError
		if err == nil {
			break
		}
		if errors.As(err, &bad) {
			return fmt.Errorf("schema registry: %w", err)
		}
		if ctx.Err() != nil {
			return nil
		}
		r.opts.Logger.Warn("schemas topic is not available yet", "topic", r.opts.Topic, "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
	r.mu.Lock()
	r.clusterID = r.store.clusterID
	r.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.store.read(ctx)
	}()
	r.start(ctx)
	r.repairs(ctx)
	<-done
	return nil
}

// repairs overwrites rejected records until ctx ends. The node whose record was rejected does so at once, but it may have died, and
// compaction must not find such a record to be the newest of its key.
func (r *Registry) repairs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.rejected:
		}
		err := r.change(ctx, "Repair", func(s *State) ([]Record, error) {
			if len(s.rejected) == 0 {
				return nil, nil
			}
			return []Record{noopRecord()}, nil // the repairs go before every write
		}, nil)
		if err != nil && ctx.Err() == nil {
			r.opts.Logger.Warn("rejected record is not overwritten yet", "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
			r.signalRejected()
		}
	}
}

func (r *Registry) signalRejected() {
	select {
	case r.rejected <- struct{}{}:
	default: // one signal is enough
	}
}

// start writes a NOOP and reads up to it: then everything older has been read.
func (r *Registry) start(ctx context.Context) {
	began := time.Now()
	for ctx.Err() == nil {
		err := r.catchUp(ctx)
		if err == nil {
			r.mu.Lock()
			r.ready = true
			r.mu.Unlock()
			close(r.readyCh)
			r.opts.Logger.Info("schema registry is ready", "topic", r.opts.Topic, "took", time.Since(began))
			return
		}
		if ctx.Err() == nil {
			r.opts.Logger.Warn("schemas topic is not read to its end yet", "topic", r.opts.Topic, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
}

func (r *Registry) catchUp(ctx context.Context) error {
	last, err := r.store.append(ctx, anywhere, []Record{noopRecord()})
	if err != nil {
		return err
	}
	return r.store.reached(ctx, last+1, r.opts.InitTimeout)
}

// Ready says whether the topic has been read to its end and requests are answered.
func (r *Registry) Ready() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.ready
}

// WaitReady waits for Ready or the end of ctx.
func (r *Registry) WaitReady(ctx context.Context) error {
	select {
	case <-r.readyCh:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("schema registry is not ready: %w", ctx.Err())
	}
}

// ClusterID returns the id of the Kafka cluster, "" until it is known.
func (r *Registry) ClusterID() string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.clusterID
}

// SearchLimits returns how many schemas a listing returns by default and at most.
func (r *Registry) SearchLimits() (byDefault, most int) {
	return r.opts.SearchLimit, r.opts.SearchMaxLimit
}

// MaxSchemaBytes returns how long a schema's text may be.
func (r *Registry) MaxSchemaBytes() int { return r.opts.Limits.SchemaBytes }

// apply runs under the lock.
func (r *Registry) apply(rec Record) {
	outcome, err := r.state.Apply(rec)
	if outcome == Applied {
		return
	}
	why := "ignored"
	if outcome == Rejected {
		why = "rejected"
		r.signalRejected()
	}
	r.metrics.refused.WithLabelValues(why).Inc()
	r.opts.Logger.Warn("record of the schemas topic was "+why, "topic", r.opts.Topic, "offset", rec.Offset, "error", err)
}

// restart runs under the lock, when the topic is read from an earlier offset again: what was known may be gone.
func (r *Registry) restart() {
	r.opts.Logger.Warn("schemas topic lost its end; it is read again from the start", "topic", r.opts.Topic)
	deletes := r.state.deletes
	r.state = NewState(r.opts.Level, ReadWrite)
	r.state.deletes = deletes + 1
	r.again, r.ready = r.again || r.ready, false
}

// caughtUp runs under the lock, whenever the reader is at the end of the topic.
func (r *Registry) caughtUp() {
	if r.again {
		r.again, r.ready = false, true
	}
}

// view runs f on the state.
func (r *Registry) view(f func(s *State) error) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if !r.ready {
		return errorf(50001, "The registry has not read its topic yet")
	}
	return f(r.state)
}

// change takes a decision at the end of the topic, writes its records and waits until they are applied. confirm, if not nil, looks
// whether the decision held; if another node's record came first, it is taken again.
func (r *Registry) change(ctx context.Context, what string, decide func(s *State) ([]Record, error), confirm func(s *State) bool) error {
	if l := r.opts.Leadership; l != nil {
		if url, self := l.Leader(); !self {
			return &NotLeaderError{URL: url}
		}
	}
	r.writer.Lock()
	defer r.writer.Unlock()
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	for range r.opts.WriteRetries + 1 {
		done, err := r.attempt(ctx, decide, confirm)
		if done || err != nil {
			return r.failure(what, err)
		}
		r.metrics.retries.Inc()
	}
	return errorf(50001, "%s operation failed: other nodes wrote first %d times", what, r.opts.WriteRetries+1)
}

func (r *Registry) attempt(ctx context.Context, decide func(s *State) ([]Record, error), confirm func(s *State) bool) (bool, error) {
	if err := r.store.barrier(ctx); err != nil {
		return false, err
	}
	var records []Record
	var at int64
	if err := r.view(func(s *State) error {
		at = r.store.next
		decided, err := decide(s)
		if err == nil && len(decided) > 0 {
			records = append(s.repairs(), decided...)
		}
		return err
	}); err != nil || len(records) == 0 {
		return true, err
	}
	last, err := r.store.write(ctx, at, records)
	if err != nil {
		return false, err
	}
	r.metrics.writes.Add(float64(len(records)))
	held := last == at+int64(len(records))-1 || !r.store.checked()
	if confirm != nil {
		_ = r.view(func(s *State) error {
			held = confirm(s)
			return nil
		})
	}
	return held, nil
}

// failure gives errors of Kafka the API's codes.
func (r *Registry) failure(what string, err error) error {
	var api *Error
	switch {
	case err == nil || errors.As(err, &api):
		return err
	case errors.Is(err, errTimeout) || errors.Is(err, context.DeadlineExceeded):
		r.opts.Logger.Warn("write to the schemas topic timed out", "operation", what, "error", err)
		return errorf(50002, "%s operation timed out", what)
	}
	if errors.Is(err, context.Canceled) { // the client went away and reads no answer; whether the write arrived, who reads the topic sees
		return errorf(50002, "%s operation timed out", what)
	}
	r.opts.Logger.Error("write to the schemas topic failed", "operation", what, "error", err)
	return errorf(50001, "%s operation failed while writing to the Kafka store", what)
}
