package connect_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/connect/connecttest"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

// BenchmarkSource carries small string records from a task through converters and producer into a log in the same process. The time
// is that of the whole way, broker included.
func BenchmarkSource(b *testing.B) {
	c := brokertest.Start(b)
	createTopic(b, c.Options(), "bench", 1)
	s := newScript("bench")
	recs := make([]plugins.SourceRecord, 2000)
	for i := range recs {
		recs[i] = plugins.SourceRecord{SourcePartition: scriptPartition, SourceOffset: num(0), Topic: "bench", Partition: plugins.NoPartition,
			KeySchema: data.StringSchema, Key: data.String(strconv.Itoa(i)), ValueSchema: data.StringSchema, Value: data.String("a small record of some hundred bytes, such as a row of a table with a few columns that changed just now"), Timestamp: 1}
	}
	var left atomic.Int64
	s.poll = func(ctx context.Context, _ int64) ([]plugins.SourceRecord, error) {
		n := left.Load()
		if n <= 0 {
			pause(ctx, time.Millisecond)
			return nil, nil
		}
		n = min(n, int64(len(recs)))
		left.Add(-n)
		recs[n-1].SourceOffset = num(left.Load() + 1)
		return recs[:n], nil
	}
	w := connecttest.Start(b, c.MemoryOptions(), registry(), connecttest.Options{Properties: map[string]string{
		"key.converter": "org.apache.kafka.connect.storage.StringConverter", "value.converter": "org.apache.kafka.connect.storage.StringConverter",
	}})
	w.MustCreate("bench", map[string]string{"connector.class": "ScriptSource", "script": "bench"})
	w.Await("bench", "RUNNING", "RUNNING")
	b.ReportAllocs()
	b.SetBytes(108)
	b.ResetTimer()
	left.Store(int64(b.N))
	for {
		if c := s.committed(); len(c) > 0 && c[len(c)-1] == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkSink carries them the other way.
func BenchmarkSink(b *testing.B) {
	c := brokertest.Start(b)
	createTopic(b, c.Options(), "bench", 1)
	fillBench(b, c, b.N)
	s := newScript("bench")
	var got atomic.Int64
	s.put = func(recs []plugins.SinkRecord, _ plugins.SinkEnv) error {
		got.Add(int64(len(recs)))
		s.mu.Lock()
		s.got = s.got[:0]
		s.mu.Unlock()
		return nil
	}
	w := connecttest.Start(b, c.MemoryOptions(), registry(), connecttest.Options{Properties: map[string]string{
		"key.converter": "org.apache.kafka.connect.storage.StringConverter", "value.converter": "org.apache.kafka.connect.storage.StringConverter",
	}})
	b.ReportAllocs()
	b.SetBytes(108)
	b.ResetTimer()
	w.MustCreate("bench", sinkConfig("bench", "bench"))
	for got.Load() < int64(b.N) {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func fillBench(b *testing.B, c *brokertest.Cluster, n int) {
	cl := c.Client(b, kgo.MaxBufferedRecords(1<<20))
	v := []byte("a small record of some hundred bytes, such as a row of a table with a few columns that changed just now")
	for i := range n {
		cl.Produce(context.Background(), &kgo.Record{Topic: "bench", Key: []byte(strconv.Itoa(i)), Value: v}, nil)
	}
	if err := cl.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
}
