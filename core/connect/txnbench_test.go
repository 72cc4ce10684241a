package connect_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/broker/brokertest"
	"github.com/moldau-io/moldau/core/connect/connecttest"
	"github.com/moldau-io/moldau/plugins"
)

// BenchmarkExactlyOnce is the time from a source's poll to a reader of committed records and to the task's Commit, with the hub in the same
// process and every write synced: "one" polls again when the last records were seen, "paced" goes on every 10 ms, as a database that
// commits 100 times a second. MOLDAU_BENCH_DIR is the folder of the data.
func BenchmarkExactlyOnce(b *testing.B) {
	for _, pace := range []time.Duration{0, 10 * time.Millisecond} {
		for _, n := range []int{1, 10, 100} {
			name := "one"
			if pace > 0 {
				name = "paced"
			}
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) { benchExactlyOnce(b, n, pace) })
		}
	}
}

func benchExactlyOnce(b *testing.B, n int, pace time.Duration) {
	dir := b.TempDir()
	if top := os.Getenv("MOLDAU_BENCH_DIR"); top != "" {
		var err error
		dir, err = os.MkdirTemp(top, "connect")
		require.NoError(b, err)
		b.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	c := brokertest.Start(b, brokertest.With("log.durability", "fsync"), brokertest.In(dir))
	createTopic(b, c.Options(), "bench", 1)
	r, err := kgo.NewClient(append(c.MemoryOptions(), kgo.ConsumeTopics("bench"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMinBytes(1), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	require.NoError(b, err)
	defer r.Close()
	s := newScript("bench")
	polls := make(chan int64)
	s.poll = func(ctx context.Context, at int64) ([]plugins.SourceRecord, error) {
		select {
		case <-polls:
			return sequence("bench", at, n), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
			return nil, nil
		}
	}
	w := connecttest.Start(b, c.MemoryOptions(), registry(), connecttest.Options{Properties: map[string]string{
		"exactly.once.source.support": "enabled", "key.converter": "org.apache.kafka.connect.storage.StringConverter", "value.converter": "org.apache.kafka.connect.storage.StringConverter",
	}})
	w.MustCreate("bench", map[string]string{"connector.class": "ScriptSource", "script": "bench"})
	w.Await("bench", "RUNNING", "RUNNING")
	const warm = 5
	total := b.N + warm
	sent := make(chan time.Time, total)
	var took []time.Duration
	var before float64
	seen := make(chan struct{}, total)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for got, i := 0, 0; i < total; {
			fs := r.PollFetches(context.Background())
			now := time.Now()
			for got += fs.NumRecords(); got >= n; got -= n {
				if t := <-sent; i >= warm {
					took = append(took, now.Sub(t))
				}
				i++
				seen <- struct{}{}
			}
		}
	}()
	for i := range total {
		if i == warm {
			before = flushes(b, c)
			b.ResetTimer()
		}
		polls <- 1
		sent <- time.Now()
		if pace == 0 || i < warm {
			<-seen
		} else {
			time.Sleep(pace)
		}
	}
	<-done
	b.ReportMetric((flushes(b, c)-before)/float64(b.N), "syncs/poll")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// flushes counts the syncs of logs.
func flushes(b *testing.B, c *brokertest.Cluster) float64 {
	all, err := c.Registry.Gather()
	require.NoError(b, err)
	for _, f := range all {
		if f.GetName() == "kafka_log_logflushstats_logflushrateandtimems_count" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return -1
}
