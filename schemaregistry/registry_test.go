package schemaregistry

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

func kafka(t *testing.T) []kgo.Opt {
	t.Helper()
	return brokertest.Start(t).MemoryOptions()
}

func run(t *testing.T, o Options) *Registry {
	t.Helper()
	r, err := New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	wait, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	require.NoError(t, r.WaitReady(wait))
	return r
}

func fixedText(n int) string { return fmt.Sprintf(`{"type":"fixed","name":"F","size":%d}`, n) }

func TestTwoNodesThatWriteAtOnceAgree(t *testing.T) {
	opts := kafka(t)
	nodes := []*Registry{run(t, Options{KafkaOpts: opts, Level: "NONE", WriteRetries: 50}), run(t, Options{KafkaOpts: opts, Level: "NONE", WriteRetries: 50})}
	const schemas = 60
	var mu sync.Mutex
	told := map[int]string{}
	var wg sync.WaitGroup
	for i, n := range nodes {
		for w := range 2 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for k := range schemas {
					text := fixedText((k*7 + i*3 + w) % 40)
					s, err := n.Register(context.Background(), "s", Request{Schema: text}, RegisterOptions{})
					if err != nil {
						t.Errorf("register: %v", err)
						return
					}
					mu.Lock()
					if old, ok := told[s.ID]; ok && old != text {
						t.Errorf("id %d is %s and %s", s.ID, old, text)
					}
					told[s.ID] = text
					mu.Unlock()
				}
			}()
		}
	}
	wg.Wait()
	require.Len(t, told, 40)
	nodes = append(nodes, run(t, Options{KafkaOpts: opts, Level: "NONE"})) // and one that starts later
	for _, n := range nodes {
		require.Eventually(t, func() bool {
			versions, err := n.Versions("s", Live, false)
			return err == nil && len(versions) == 40
		}, 10*time.Second, 10*time.Millisecond)
		for id, text := range told {
			s, err := n.ByID(id, "")
			require.NoError(t, err)
			require.Equal(t, text, s.Schema)
		}
	}
}

func TestRestartServesTheSameIDs(t *testing.T) {
	c := brokertest.Start(t)
	first := run(t, Options{KafkaOpts: c.Options(), Level: "NONE"})
	ids := map[int]Schema{}
	for i := range 20 {
		s, err := first.Register(context.Background(), fmt.Sprint("s", i%3), Request{Schema: fixedText(i % 7)}, RegisterOptions{})
		require.NoError(t, err)
		ids[s.ID] = s
	}
	c.Restart(t) // the log, too
	again := run(t, Options{KafkaOpts: c.Options(), Level: "NONE"})
	for id, want := range ids {
		got, err := again.ByID(id, want.Subject)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	next, err := again.Register(context.Background(), "new", Request{Schema: `"int"`}, RegisterOptions{})
	require.NoError(t, err)
	require.NotContains(t, ids, next.ID)
	require.Equal(t, len(ids)+1, next.ID)
}

func TestTopicHoldsConfluentsRecords(t *testing.T) {
	opts := kafka(t)
	r := run(t, Options{KafkaOpts: opts})
	ctx := context.Background()
	_, err := r.Register(ctx, "s", Request{Schema: `"int"`}, RegisterOptions{})
	require.NoError(t, err)
	err = r.SetMode(ctx, "s", "readonly", false)
	require.NoError(t, err)
	_, err = r.DeleteMode(ctx, "s", false)
	require.NoError(t, err)
	_, err = r.DeleteSubject(ctx, "s", false)
	require.NoError(t, err)
	_, err = r.DeleteSubject(ctx, "s", true)
	require.NoError(t, err)

	client, err := kgo.NewClient(append(opts, kgo.ConsumeTopics("_schemas"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	require.NoError(t, err)
	defer client.Close()
	want := [][2]string{
		{`{"keytype":"NOOP","magic":0}`, ""},
		{`{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}`, `{"subject":"s","version":1,"id":1,"schema":"\"int\"","deleted":false}`},
		{`{"keytype":"MODE","subject":"s","magic":0}`, `{"subject":"s","mode":"READONLY"}`},
		{`{"keytype":"MODE","subject":"s","magic":0}`, ""},
		{`{"keytype":"DELETE_SUBJECT","subject":"s","magic":0}`, `{"subject":"s","version":1}`},
		{`{"keytype":"SCHEMA","subject":"s","version":1,"magic":1}`, ""},
		{`{"keytype":"DELETE_SUBJECT","subject":"s","magic":0}`, ""},
	}
	var got [][2]string
	for len(got) < len(want) {
		wait, cancel := context.WithTimeout(ctx, 10*time.Second)
		fetches := client.PollFetches(wait)
		cancel()
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			require.Equal(t, r.Value == nil, len(r.Value) == 0)
			got = append(got, [2]string{string(r.Key), string(r.Value)})
		})
	}
	require.Equal(t, want, got)
}

func TestTopicThatWouldLoseSchemasIsRefused(t *testing.T) {
	policy := "delete"
	for want, create := range map[string]func(t *testing.T, r *Registry){
		"has 2 partitions": func(t *testing.T, r *Registry) {
			_, err := r.store.admin.CreateTopic(context.Background(), 2, 1, nil, "_schemas")
			require.NoError(t, err)
		},
		`has cleanup.policy "delete" and would lose schemas`: func(t *testing.T, r *Registry) {
			_, err := r.store.admin.CreateTopic(context.Background(), 1, 1, map[string]*string{"cleanup.policy": &policy}, "_schemas")
			require.NoError(t, err)
		},
	} {
		r, err := New(Options{KafkaOpts: kafka(t)})
		require.NoError(t, err)
		create(t, r)
		require.ErrorContains(t, r.Run(context.Background()), want)
	}
}

func TestWriteThatKafkaDoesNotTakeTimesOut(t *testing.T) {
	c := brokertest.Start(t)
	r := run(t, Options{KafkaOpts: c.MemoryOptions(), Timeout: 300 * time.Millisecond})
	_, err := r.Register(context.Background(), "s", Request{Schema: `"int"`}, RegisterOptions{})
	require.NoError(t, err)
	c.Stop(t)
	_, err = r.Register(context.Background(), "s", Request{Schema: `"long"`}, RegisterOptions{})
	var api *Error
	require.ErrorAs(t, err, &api)
	require.Equal(t, 500, api.Status())
	s, err := r.Register(context.Background(), "s", Request{Schema: `"int"`}, RegisterOptions{})
	require.NoError(t, err, "what is registered is answered without Kafka")
	require.Equal(t, 1, s.ID)
}

func TestMetricsCountSchemas(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := run(t, Options{KafkaOpts: kafka(t), Registerer: reg})
	for _, subject := range []string{"a", "b"} {
		_, err := r.Register(context.Background(), subject, Request{Schema: `"int"`}, RegisterOptions{})
		require.NoError(t, err)
	}
	families, err := reg.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, f := range families {
		if g := f.GetMetric()[0].GetGauge(); g != nil {
			got[f.GetName()] = g.GetValue()
		}
	}
	require.Equal(t, map[string]float64{"kafka_schema_registry_registered_count": 2, "kafka_schema_registry_deleted_count": 0,
		"kafka_schema_registry_subjects": 2, "kafka_schema_registry_schemas": 1}, got)
}

func TestTopicThatLostItsEndIsReadAgain(t *testing.T) {
	r, err := New(Options{KafkaOpts: []kgo.Opt{kgo.SeedBrokers("127.0.0.1:1")}})
	require.NoError(t, err)
	defer r.store.client.Close()
	c := &content{kind: TypeAvro, text: `"int"`}
	r.ready = true
	r.apply(schemaRecord("a", 1, 1, c, false))
	r.apply(schemaRecord("lost", 1, 1, c, false))
	r.restart()
	require.False(t, r.Ready(), "half of the topic is not served")
	r.apply(schemaRecord("a", 1, 1, c, false))
	r.caughtUp()
	require.True(t, r.Ready())
	list, err := r.Subjects(":*:", Live)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, list)
}

func TestRejectedRecordOfANodeThatDiedIsOverwritten(t *testing.T) {
	c := brokertest.Start(t)
	r := run(t, Options{KafkaOpts: c.MemoryOptions()})
	_, err := r.Register(context.Background(), "s", Request{Schema: `"int"`}, RegisterOptions{})
	require.NoError(t, err)
	// Another node decided before that, wrote after it, and is gone.
	late := schemaRecord("s", 1, 1, &content{kind: TypeAvro, text: `"long"`}, false)
	client, err := kgo.NewClient(c.MemoryOptions()...)
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.ProduceSync(context.Background(), &kgo.Record{Topic: "_schemas", Key: late.Key, Value: late.Value,
		Headers: []kgo.RecordHeader{{Key: expectedHeader, Value: encodeExpected(r.store.topicID, 1)}}}).FirstErr())
	read, err := kgo.NewClient(append(c.MemoryOptions(), kgo.ConsumeTopics("_schemas"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	require.NoError(t, err)
	defer read.Close()
	var newest string
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		read.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			if string(r.Key) == string(late.Key) {
				newest = string(r.Value)
			}
		})
		r.mu.RLock()
		defer r.mu.RUnlock()
		return len(r.state.rejected) == 0 && newest == `{"subject":"s","version":1,"id":1,"schema":"\"int\"","deleted":false}`
	}, 10*time.Second, time.Millisecond)
	s, err := r.ByID(1, "")
	require.NoError(t, err)
	require.Equal(t, `"int"`, s.Schema)
}
