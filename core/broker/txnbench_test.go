package broker_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/kafkaclient"
	"github.com/moldau-io/moldau/core/log"
)

// BenchmarkTransaction is the latency of small transactions over two topics, as a connector's with its offsets: until the records are
// acknowledged, until the commit is answered, until a reader of committed records has them. Between two transactions of "paced" the
// producer rests. MOLDAU_BENCH_BOOTSTRAP names another Kafka to be measured in place of the hub, MOLDAU_BENCH_DIR the folder of the data.
func BenchmarkTransaction(b *testing.B) {
	if os.Getenv("MOLDAU_BENCH_BOOTSTRAP") == "" {
		b.Run("bare sync of one file", func(b *testing.B) { benchBareSync(b) })
	}
	for _, pace := range []time.Duration{0, 10 * time.Millisecond} {
		for _, n := range []int{1, 10, 100} {
			name := "back to back"
			if pace > 0 {
				name = "paced"
			}
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) { benchTransaction(b, n, pace) })
		}
	}
}

type spans []time.Duration

func (s spans) report(b *testing.B, what string) {
	slices.Sort(s)
	us := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(us(s[len(s)/2]), what+"-p50-ms")
	b.ReportMetric(us(s[len(s)*99/100]), what+"-p99-ms")
}

func benchDir(b *testing.B) string {
	dir := os.Getenv("MOLDAU_BENCH_DIR")
	if dir == "" {
		return b.TempDir()
	}
	dir, err := os.MkdirTemp(dir, "txn")
	require.NoError(b, err)
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func benchBareSync(b *testing.B) {
	f, err := log.OS.OpenFile(benchDir(b)+"/f", os.O_RDWR|os.O_CREATE)
	require.NoError(b, err)
	defer f.Close()
	var took spans
	for i := range b.N {
		start := time.Now()
		_, err := f.WriteAt(make([]byte, 200), int64(200*i))
		require.NoError(b, err)
		require.NoError(b, f.Sync())
		took = append(took, time.Since(start))
	}
	took.report(b, "sync")
}

func benchTransaction(b *testing.B, n int, pace time.Duration) {
	ctx := context.Background()
	var opts []kgo.Opt
	syncs := func() float64 { return 0 }
	if addr := os.Getenv("MOLDAU_BENCH_BOOTSTRAP"); addr != "" {
		opts = []kgo.Opt{kgo.SeedBrokers(addr)}
	} else {
		c := brokertest.Start(b, brokertest.With("log.durability", "fsync"), brokertest.In(benchDir(b)))
		opts, syncs = c.MemoryOptions(), func() float64 { return flushes(b, c.Registry) }
	}
	ac, err := kgo.NewClient(opts...)
	require.NoError(b, err)
	defer ac.Close()
	topic := fmt.Sprintf("bench-%d", time.Now().UnixNano())
	topics, err := kadm.NewClient(ac).CreateTopics(ctx, 1, 1, nil, topic, topic+"-offsets")
	require.NoError(b, err)
	require.NoError(b, topics.Error())
	p, err := kgo.NewClient(append(opts, kgo.TransactionalID(topic), kgo.ProducerLinger(0), kgo.ConcurrentTransactionsBackoff(2*time.Millisecond))...)
	require.NoError(b, err)
	defer p.Close()
	r, err := kgo.NewClient(append(opts, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMinBytes(1), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	require.NoError(b, err)
	defer r.Close()
	seen := make(chan time.Time, 16)
	rctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for got := 0; rctx.Err() == nil; {
			fs := r.PollFetches(rctx)
			now := time.Now()
			for got += fs.NumRecords(); got >= n; got -= n {
				seen <- now
			}
		}
	}()
	var produced, ended, visible, whole spans
	value := make([]byte, 200)
	const warm = 5
	var before float64
	for i := range b.N + warm {
		if i == warm {
			before = syncs()
			b.ResetTimer()
		}
		t0 := time.Now()
		require.NoError(b, p.BeginTransaction())
		var recs []*kgo.Record
		for range n {
			recs = append(recs, &kgo.Record{Topic: topic, Value: value})
		}
		recs = append(recs, &kgo.Record{Topic: topic + "-offsets", Value: value[:50]})
		require.NoError(b, p.ProduceSync(ctx, recs...).FirstErr())
		t1 := time.Now()
		require.NoError(b, kafkaclient.EndTransaction(ctx, p, kgo.TryCommit))
		t2 := time.Now()
		t3 := <-seen
		if i >= warm {
			produced, ended, visible, whole = append(produced, t1.Sub(t0)), append(ended, t2.Sub(t1)), append(visible, t3.Sub(t2)), append(whole, t3.Sub(t0))
		}
		time.Sleep(pace)
	}
	b.ReportMetric((syncs()-before)/float64(b.N), "syncs/txn")
	produced.report(b, "produce")
	ended.report(b, "end")
	visible.report(b, "visible")
	whole.report(b, "whole")
}

// flushes counts the syncs of logs.
func flushes(b *testing.B, r *prometheus.Registry) float64 {
	all, err := r.Gather()
	require.NoError(b, err)
	for _, f := range all {
		if f.GetName() == "kafka_log_logflushstats_logflushrateandtimems_count" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return -1
}
