package broker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

// within is a context for one test step.
func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// consume polls until it has n records.
func consume(t testing.TB, cl *kgo.Client, n int) []*kgo.Record {
	t.Helper()
	ctx := within(t, 20*time.Second)
	var out []*kgo.Record
	for len(out) < n {
		fs := cl.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "got %d of %d records", len(out), n)
		for _, e := range fs.Errors() {
			require.NoError(t, e.Err, "%s-%d", e.Topic, e.Partition)
		}
		out = append(out, fs.Records()...)
	}
	return out
}

func TestRecordsComeBackAsTheyWereProduced(t *testing.T) {
	c := brokertest.Start(t)
	c.CreateTopic(t, "t", 3)
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	want := map[string]bool{}
	for name, codec := range codecs {
		p := c.Client(t, kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic("t"))
		for i := range 200 {
			v := fmt.Sprintf("%s-%d-%s", name, i, "some text that compresses, some text that compresses")
			want[v] = true
			p.Produce(context.Background(), &kgo.Record{Key: []byte(fmt.Sprint(i)), Value: []byte(v), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}}}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Errorf("produce: %v", err)
				}
			})
		}
		require.NoError(t, p.Flush(within(t, 10*time.Second)))
	}
	cl := c.Client(t, kgo.ConsumeTopics("t"))
	for _, r := range consume(t, cl, len(want)) {
		require.True(t, want[string(r.Value)], "%s came twice or was never sent", r.Value)
		delete(want, string(r.Value))
		require.Equal(t, "h", r.Headers[0].Key)
	}
	require.Empty(t, want)
}
