package connect_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

// A source and a sink whose behaviour a test decides, found by the configuration key "script".

type script struct {
	mu      sync.Mutex
	start   func() error
	poll    func(ctx context.Context, n int64) ([]plugins.SourceRecord, error)
	put     func(recs []plugins.SinkRecord, env plugins.SinkEnv) error
	full    func() // called in PreCommit(full)
	commits []int64
	got     []plugins.SinkRecord
	opened  []plugins.TopicPartition
	closed  []plugins.TopicPartition
	next    map[plugins.TopicPartition]int64
	hold    map[plugins.TopicPartition]int64 // offsets that are not safe yet
	stops   int

	transactions bool // the source says where its transactions end
	txn          plugins.TransactionContext
}

func (s *script) records() []plugins.SinkRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]plugins.SinkRecord(nil), s.got...)
}

func (s *script) committed() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]int64(nil), s.commits...)
}

var scripts sync.Map

func newScript(name string) *script {
	s := &script{next: map[plugins.TopicPartition]int64{}}
	scripts.Store(name, s)
	return s
}

func scriptDef(more ...configdef.Key) *configdef.Def {
	return configdef.NewDef(append([]configdef.Key{
		{Name: "script", Type: configdef.String, Required: true, Doc: "Name of the script."},
		{Name: "secret", Type: configdef.Password, Doc: "A secret."},
		{Name: "token", Type: configdef.String, Doc: "Another."},
		{Name: "tasks.extra", Type: configdef.Int, Default: 0, Doc: "Tasks beyond tasks.max."},
	}, more...)...)
}

func registerFakes(r *plugins.Registry) {
	r.AddConnector(&plugins.ConnectorSpec{Class: "test.ScriptSourceConnector", Aliases: []string{"ScriptSource"}, Kind: plugins.KindSource, Version: "7", Config: scriptDef(),
		New: func() plugins.Connector { return &exactScript{} }})
	r.AddConnector(&plugins.ConnectorSpec{Class: "test.PlainSourceConnector", Aliases: []string{"PlainSource"}, Kind: plugins.KindSource, Version: "7", Config: scriptDef(),
		New: func() plugins.Connector { return &scriptConnector{} }})
	r.AddConnector(&plugins.ConnectorSpec{Class: "test.ScriptSinkConnector", Aliases: []string{"ScriptSink"}, Kind: plugins.KindSink, Version: "7", Config: scriptDef(),
		New: func() plugins.Connector { return &scriptConnector{} }})
	r.AddTransform(&plugins.Spec[plugins.Transform]{Class: "test.Fail", Config: configdef.NewDef(
		configdef.Key{Name: "what", Type: configdef.String, Default: "error"}, configdef.Key{Name: "match", Type: configdef.String, Default: ""}),
		New: func() plugins.Transform { return &failTransform{} }})
	r.AddPredicate(&plugins.Spec[plugins.Predicate]{Class: "test.Is", Config: configdef.NewDef(configdef.Key{Name: "value", Type: configdef.String, Required: true}),
		New: func() plugins.Predicate { return &isPredicate{} }})
}

// failTransform drops, fails or retries records whose value matches.
type failTransform struct {
	what, match string
	tries       int
}

func (f *failTransform) Configure(v configdef.Values) error {
	f.what, f.match = v.Str("what"), v.Str("match")
	return nil
}

func (f *failTransform) Apply(r *plugins.Record) (bool, error) {
	if f.match != "" && r.Value.String() != f.match {
		return true, nil
	}
	switch f.what {
	case "drop":
		return false, nil
	case "panic":
		panic("transform panics")
	case "retry":
		if f.tries++; f.tries < 3 {
			return false, plugins.Retriable(errors.New("not yet"))
		}
		return true, nil
	case "upper":
		r.Topic += "-moved"
		return true, nil
	}
	return false, plugins.Dataf("bad value %s", r.Value)
}

func (f *failTransform) Close() error { return nil }

type isPredicate struct{ value string }

func (p *isPredicate) Configure(v configdef.Values) error { p.value = v.Str("value"); return nil }
func (p *isPredicate) Test(r *plugins.Record) bool        { return r.Value.String() == p.value }
func (p *isPredicate) Close() error                       { return nil }

type scriptConnector struct{ cfg configdef.Values }

func (c *scriptConnector) Validate(_ context.Context, v configdef.Values, r *configdef.Result) {
	if v.Str("token") == "forbidden" {
		r.Error("token", "the token %s is forbidden", v.Str("token"))
	}
}

func (c *scriptConnector) Start(_ context.Context, _ plugins.Env, v configdef.Values) error {
	c.cfg = v
	if v.Str("token") == "nostart" {
		return fmt.Errorf("cannot log in with %s", v.Str("secret"))
	}
	return nil
}

func (c *scriptConnector) TaskConfigs(most int) ([]map[string]string, error) {
	n := most + int(c.cfg.Int("tasks.extra"))
	out := make([]map[string]string, n)
	for i := range out {
		out[i] = map[string]string{"script": c.cfg.Str("script"), "i": strconv.Itoa(i)}
		if s := c.cfg.Str("secret"); s != "" {
			out[i]["secret"] = s
		}
	}
	return out, nil
}

func (c *scriptConnector) Stop() error { return nil }

// exactScript is a scriptConnector that knows of transactions.
type exactScript struct{ scriptConnector }

func (c *exactScript) ExactlyOnceSupport(configdef.Values) bool { return true }

func (c *exactScript) CanDefineTransactionBoundaries(v configdef.Values) bool {
	s, err := load(v)
	return err == nil && s.transactions
}

func (c *scriptConnector) NewSourceTask() plugins.SourceTask { return &scriptSource{} }
func (c *scriptConnector) NewSinkTask() plugins.SinkTask     { return &scriptSink{} }

func load(v configdef.Values) (*script, error) {
	s, ok := scripts.Load(v.Str("script"))
	if !ok {
		return nil, fmt.Errorf("no script %s", v.Str("script"))
	}
	return s.(*script), nil
}

type scriptSource struct {
	s    *script
	next int64
}

var scriptPartition = map[string]any{"p": "1"}

type num int64

func (n num) OffsetMap() map[string]any { return map[string]any{"n": int64(n)} }

func (t *scriptSource) Start(ctx context.Context, env plugins.Env, v configdef.Values) (err error) {
	if t.s, err = load(v); err != nil {
		return err
	}
	off, err := env.Offsets.Offset(ctx, scriptPartition)
	if err != nil {
		return err
	}
	if n, ok := off["n"].(int64); ok {
		t.next = n
	}
	t.s.mu.Lock()
	start := t.s.start
	t.s.txn = env.Transactions
	t.s.mu.Unlock()
	if start != nil {
		return start()
	}
	return nil
}

func (t *scriptSource) Poll(ctx context.Context) ([]plugins.SourceRecord, error) {
	t.s.mu.Lock()
	poll := t.s.poll
	t.s.mu.Unlock()
	recs, err := poll(ctx, t.next)
	if n := len(recs); n > 0 {
		t.next = int64(recs[n-1].SourceOffset.(num))
	}
	return recs, err
}

func (t *scriptSource) Commit(_ context.Context, _ map[string]any, o plugins.Offset) error {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.commits = append(t.s.commits, int64(o.(num)))
	return nil
}

func (t *scriptSource) Stop() error {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.stops++
	return nil
}

// sequence makes records with the numbers from next on.
func sequence(topic string, next int64, n int) []plugins.SourceRecord {
	recs := make([]plugins.SourceRecord, n)
	for i := range recs {
		recs[i] = plugins.SourceRecord{SourcePartition: scriptPartition, SourceOffset: num(next + int64(i) + 1), Topic: topic, Partition: plugins.NoPartition,
			ValueSchema: data.Int64Schema, Value: data.Int64(next + int64(i)), Timestamp: plugins.NoTimestamp}
	}
	return recs
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

type scriptSink struct {
	s   *script
	env plugins.SinkEnv
}

func (t *scriptSink) Start(_ context.Context, env plugins.SinkEnv, v configdef.Values) (err error) {
	t.env = env
	if t.s, err = load(v); err != nil {
		return err
	}
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.s.start != nil {
		return t.s.start()
	}
	return nil
}

func (t *scriptSink) Open(_ context.Context, tps []plugins.TopicPartition) error {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.opened = append(t.s.opened, tps...)
	return nil
}

func (t *scriptSink) Close(_ context.Context, tps []plugins.TopicPartition) error {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.closed = append(t.s.closed, tps...)
	for _, tp := range tps {
		delete(t.s.next, tp)
	}
	return nil
}

func (t *scriptSink) Put(_ context.Context, recs []plugins.SinkRecord) error {
	t.s.mu.Lock()
	put := t.s.put
	t.s.mu.Unlock()
	if put != nil {
		if err := put(recs, t.env); err != nil {
			return err
		}
	}
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.got = append(t.s.got, recs...)
	for i := range recs {
		t.s.next[plugins.TopicPartition{Topic: recs[i].OriginalTopic, Partition: recs[i].Partition}] = recs[i].Offset + 1
	}
	return nil
}

func (t *scriptSink) PreCommit(_ context.Context, full bool) (map[plugins.TopicPartition]int64, error) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if full && t.s.full != nil {
		t.s.full()
	}
	out := map[plugins.TopicPartition]int64{}
	for tp, n := range t.s.next {
		if h, ok := t.s.hold[tp]; ok && !full {
			n = min(n, h)
		}
		out[tp] = n
	}
	return out, nil
}

func (t *scriptSink) Stop() error {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.stops++
	return nil
}
