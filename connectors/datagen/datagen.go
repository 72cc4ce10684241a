// Package datagen is a source that makes rows up: orders, users or pageviews of the shapes that Confluent's quickstarts made known, at a
// given rate and to a given number. What row n holds is a function of n and the seed, so that a run can be repeated, resumed and
// checked.
package datagen

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

// Register adds the connector to a registry.
func Register(r *plugins.Registry) {
	r.AddConnector(&plugins.ConnectorSpec{
		Class:   "io.confluent.kafka.connect.datagen.DatagenConnector",
		Aliases: []string{"datagen", "Datagen", "DatagenConnector"},
		Kind:    plugins.KindSource, Version: "1.0.0", Config: config(),
		New: func() plugins.Connector { return &Connector{} },
	})
}

func config() *configdef.Def {
	return configdef.NewDef(
		configdef.Key{Name: "kafka.topic", Type: configdef.String, Required: true, Importance: configdef.High, Check: configdef.NonEmpty, Doc: "Topic to write to."},
		configdef.Key{Name: "quickstart", Type: configdef.String, Default: "orders", Importance: configdef.High, Check: configdef.OneOf(true, "orders", "users", "pageviews"), Recommended: []string{"orders", "users", "pageviews"},
			Doc: "What the rows are: orders, users or pageviews."},
		configdef.Key{Name: "max.interval", Type: configdef.Long, Default: 500, Importance: configdef.High, Check: configdef.AtLeast(0),
			Doc: "Longest pause between two rows of a task, in milliseconds; the pause is random. 0: no pause. Not used with rows.per.second."},
		configdef.Key{Name: "rows.per.second", Type: configdef.Long, Default: 0, Importance: configdef.Medium, Check: configdef.AtLeast(0), Doc: "Steady rate of each task. 0: by max.interval."},
		configdef.Key{Name: "iterations", Type: configdef.Long, Default: -1, Importance: configdef.High, Doc: "Rows of each task; -1: without end."},
		configdef.Key{Name: "random.seed", Type: configdef.Long, Default: 0, Importance: configdef.Low, Doc: "Seed of what the rows hold."},
	).Unsupported("the schemas are those of the quickstarts", "schema.string", "schema.filename", "schema.keyfield", "generate.timeout")
}

// Connector makes rows up.
type Connector struct{ config map[string]string }

// Validate implements plugins.Connector.
func (c *Connector) Validate(context.Context, configdef.Values, *configdef.Result) {}

// Start implements plugins.Connector.
func (c *Connector) Start(_ context.Context, _ plugins.Env, cfg configdef.Values) error {
	c.config = cfg.Raw()
	return nil
}

// TaskConfigs implements plugins.Connector: every task makes rows of its own.
func (c *Connector) TaskConfigs(most int) ([]map[string]string, error) {
	out := make([]map[string]string, most)
	for i := range out {
		out[i] = c.config
	}
	return out, nil
}

// Stop implements plugins.Connector.
func (c *Connector) Stop() error { return nil }

// ExactlyOnceSupport implements plugins.ExactlyOnceConnector: a row is a function of its number.
func (c *Connector) ExactlyOnceSupport(configdef.Values) bool { return true }

// NewSourceTask implements plugins.SourceConnector.
func (c *Connector) NewSourceTask() plugins.SourceTask { return &task{} }

// iteration is the number of the row that comes next.
type iteration int64

// OffsetMap implements plugins.Offset.
func (i iteration) OffsetMap() map[string]any { return map[string]any{"current.iteration": int64(i)} }

type task struct {
	id        int
	topic     string
	kind      *kind
	rate      int64
	pause     time.Duration
	limit     int64
	seed      uint64
	partition map[string]any
	next      int64
	started   time.Time
	since     int64 // rows made when started was
	rng       *rand.Rand
	pcg       *rand.PCG
}

const batchRows = 1000

// Start implements plugins.SourceTask.
func (t *task) Start(ctx context.Context, env plugins.Env, cfg configdef.Values) error {
	t.id, t.topic, t.rate, t.limit = env.TaskID, cfg.Str("kafka.topic"), cfg.Int("rows.per.second"), cfg.Int("iterations")
	t.pause, t.seed = cfg.Millis("max.interval"), uint64(cfg.Int("random.seed"))
	for i := range kinds {
		if equalFold(kinds[i].name, cfg.Str("quickstart")) {
			t.kind = &kinds[i]
		}
	}
	t.partition = map[string]any{"task.id": int64(t.id)}
	stored, err := env.Offsets.Offset(ctx, t.partition)
	if err != nil {
		return fmt.Errorf("read the stored position: %w", err)
	}
	if n, ok := stored["current.iteration"].(int64); ok {
		t.next = n
	}
	t.started, t.since = time.Now(), t.next
	t.pcg = rand.NewPCG(0, 0)
	t.rng = rand.New(t.pcg)
	return nil
}

func equalFold(a, b string) bool { return len(a) == len(b) && (a == b || lower(a) == lower(b)) }

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 32
		}
	}
	return string(b)
}

// Poll implements plugins.SourceTask.
func (t *task) Poll(ctx context.Context) ([]plugins.SourceRecord, error) {
	n := int64(batchRows)
	switch {
	case t.limit >= 0 && t.next >= t.limit:
		sleep(ctx, time.Second)
		return nil, nil
	case t.rate > 0:
		due := t.since + int64(time.Since(t.started).Seconds()*float64(t.rate))
		if due <= t.next {
			sleep(ctx, max(time.Duration(float64(t.next+1-t.since)/float64(t.rate)*float64(time.Second))-time.Since(t.started), time.Millisecond))
			due = t.since + int64(time.Since(t.started).Seconds()*float64(t.rate))
		}
		n = min(n, due-t.next)
	case t.pause > 0:
		sleep(ctx, time.Duration(rand.Int64N(int64(t.pause)+1)))
		n = 1
	}
	if t.limit >= 0 {
		n = min(n, t.limit-t.next)
	}
	if n <= 0 || stopped(ctx) {
		return nil, nil
	}
	recs := make([]plugins.SourceRecord, n)
	now := time.Now().UnixMilli()
	for i := range recs {
		t.row(&recs[i], t.next, now)
		t.next++
	}
	recs[len(recs)-1].SourcePartition, recs[len(recs)-1].SourceOffset = t.partition, iteration(t.next)
	return recs, nil
}

func stopped(ctx context.Context) bool { return ctx.Err() != nil }

func (t *task) row(r *plugins.SourceRecord, n, now int64) {
	t.pcg.Seed(t.seed^uint64(t.id)<<48, uint64(n))
	keySchema, key, value := t.kind.make(t.rng, n)
	*r = plugins.SourceRecord{Topic: t.topic, Partition: plugins.NoPartition, KeySchema: keySchema, Key: key, ValueSchema: value.Schema, Value: data.StructOf(value), Timestamp: now}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Commit implements plugins.SourceTask. There is nothing to confirm.
func (t *task) Commit(context.Context, map[string]any, plugins.Offset) error { return nil }

// Stop implements plugins.SourceTask.
func (t *task) Stop() error { return nil }

type kind struct {
	name string
	make func(rng *rand.Rand, n int64) (*data.Schema, data.Value, *data.Struct)
}

var (
	addressSchema = data.NewStruct().Name("ksql.address").
			Field("city", data.StringSchema).Field("state", data.StringSchema).Field("zipcode", data.Int64Schema).Build()
	orderSchema = data.NewStruct().Name("ksql.orders").
			Field("ordertime", data.Int64Schema).Field("orderid", data.Int32Schema).Field("itemid", data.StringSchema).
			Field("orderunits", data.Float64Schema).Field("address", addressSchema).Build()
	userSchema = data.NewStruct().Name("ksql.users").
			Field("registertime", data.Int64Schema).Field("userid", data.StringSchema).Field("regionid", data.StringSchema).Field("gender", data.StringSchema).Build()
	pageviewSchema = data.NewStruct().Name("ksql.pageviews").
			Field("viewtime", data.Int64Schema).Field("userid", data.StringSchema).Field("pageid", data.StringSchema).Build()
)

var (
	users   = numbered("User_", 10)
	regions = numbered("Region_", 10)
	pages   = numbered("Page_", 100)
	items   = numbered("Item_", 1000)
	cities  = numbered("City_", 100)
	states  = numbered("State_", 100)
	genders = []string{"MALE", "FEMALE", "OTHER"}
)

func numbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = prefix + strconv.Itoa(i)
	}
	return out
}

func pick(rng *rand.Rand, from []string) data.Value { return data.String(from[rng.IntN(len(from))]) }

var kinds = []kind{
	{"orders", func(rng *rand.Rand, n int64) (*data.Schema, data.Value, *data.Struct) {
		address := &data.Struct{Schema: addressSchema, Values: []data.Value{pick(rng, cities), pick(rng, states), data.Int64(10000 + rng.Int64N(90000))}}
		key := data.Int32(int32(n))
		return data.Int32Schema, key, &data.Struct{Schema: orderSchema, Values: []data.Value{
			data.Int64(1487715775521 + rng.Int64N(31788224479)), key, pick(rng, items), data.Float64(0.1 + rng.Float64()*9.9), data.StructOf(address)}}
	}},
	{"users", func(rng *rand.Rand, _ int64) (*data.Schema, data.Value, *data.Struct) {
		key := pick(rng, users[1:])
		return data.StringSchema, key, &data.Struct{Schema: userSchema, Values: []data.Value{
			data.Int64(1487715775521 + rng.Int64N(31788224479)), key, pick(rng, regions[1:]), pick(rng, genders)}}
	}},
	{"pageviews", func(rng *rand.Rand, n int64) (*data.Schema, data.Value, *data.Struct) {
		key := data.Int64(1 + n*10)
		return data.Int64Schema, key, &data.Struct{Schema: pageviewSchema, Values: []data.Value{key, pick(rng, users[1:]), pick(rng, pages[10:])}}
	}},
}
