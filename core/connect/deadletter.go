package connect

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/plugins"
)

// deadLetters writes the records that a sink cannot handle to the dead-letter topic, as they lie in the log. Offsets past a record are
// committed only once it is there: see wait.
type deadLetters struct {
	cl      *kgo.Client
	topic   string
	headers bool

	mu      sync.Mutex
	pending int
	err     error
	idle    chan struct{} // closed when pending falls to 0
}

func newDeadLetters(ctx context.Context, cl *kgo.Client, topic string, replication int64, lower, headers bool) (*deadLetters, error) {
	adm := kadm.NewClient(cl)
	td, err := describeTopic(ctx, cl, topic)
	if err != nil {
		return nil, err
	}
	if td == nil {
		if lower {
			if replication, err = brokersUpTo(ctx, adm, replication); err != nil {
				return nil, err
			}
		}
		resp, err := adm.CreateTopic(ctx, 1, int16(replication), nil, topic)
		if err == nil {
			err = resp.Err
		}
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return nil, fmt.Errorf("could not initialize dead letter queue with topic=%s: %w", topic, err)
		}
	}
	return &deadLetters{cl: cl, topic: topic, headers: headers}, nil
}

const contextPrefix = "__connect.errors."

func (d *deadLetters) send(_ context.Context, p *errorPolicy, stage, class string, cause error, at *position, done func(error)) {
	r := &kgo.Record{Topic: d.topic}
	if at.raw != nil {
		r.Key, r.Value = at.raw.Key, at.raw.Value
		for _, h := range at.raw.Headers {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	if d.headers {
		add := func(name, value string) {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: contextPrefix + name, Value: []byte(value)})
		}
		text := p.secrets.clean(cause.Error())
		first, _, _ := strings.Cut(text, "\n")
		add("topic", at.topic)
		add("partition", strconv.Itoa(int(at.partition)))
		add("offset", strconv.FormatInt(at.offset, 10))
		add("connector.name", p.id.connector)
		add("task.id", strconv.Itoa(p.id.task))
		add("stage", stage)
		add("class.name", class)
		add("exception.class.name", javaClass(cause))
		add("exception.message", first)
		add("exception.stacktrace", javaClass(cause)+": "+text)
	}
	d.mu.Lock()
	if d.pending++; d.pending == 1 {
		d.idle = make(chan struct{})
	}
	d.mu.Unlock()
	p.metrics.deadSent.Add(1)
	// Not the caller's context: what was handed over is written also while the task stops.
	d.cl.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
		if err != nil {
			p.metrics.deadFailed.Add(1)
			err = fmt.Errorf("write to the dead letter topic %q: %w", d.topic, err)
		}
		if done != nil {
			done(err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if err != nil && d.err == nil {
			d.err = err
		}
		if d.pending--; d.pending == 0 {
			close(d.idle)
		}
	})
}

// wait returns when everything handed over is in the topic.
func (d *deadLetters) wait(ctx context.Context) error {
	for {
		d.mu.Lock()
		pending, idle, err := d.pending, d.idle, d.err
		d.mu.Unlock()
		if err != nil || pending == 0 {
			return err
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (d *deadLetters) close() { d.cl.Close() }

// rawRecord is the undecoded form of a fetched record.
func rawRecord(r *kgo.Record) plugins.RawRecord {
	raw := plugins.RawRecord{Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		raw.Headers = append(raw.Headers, plugins.RawHeader{Key: h.Key, Value: h.Value})
	}
	return raw
}
