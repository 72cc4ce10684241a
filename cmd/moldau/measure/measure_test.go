package measure

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/broker/brokertest"
)

func TestQuantilesAreExactToOnePercent(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	a, b := &Histogram{}, &Histogram{}
	var all []time.Duration
	for i := range 100000 {
		d := time.Duration(r.ExpFloat64() * float64(10*time.Millisecond))
		all = append(all, d)
		if i%2 == 0 {
			a.Record(d)
		} else {
			b.Record(d)
		}
	}
	a.Merge(b)
	slices.Sort(all)
	require.EqualValues(t, len(all), a.Count())
	for _, q := range []float64{0, 0.5, 0.95, 0.99, 0.999, 1} {
		want := all[min(max(int(q*float64(len(all)))-1, 0), len(all)-1)]
		require.InEpsilon(t, float64(want)+1, float64(a.Quantile(q))+1, 0.01, "%v", q)
	}
	s := a.Summary()
	require.InEpsilon(t, 10, s.Mean, 0.02)
	require.InDelta(t, float64(all[len(all)-1])/1e6, s.Max, 0.001)
	require.Zero(t, (&Histogram{}).Quantile(0.5))
}

func TestEveryBucketHoldsWhatFallsIntoIt(t *testing.T) {
	for v := int64(0); v >= 0 && v < 1<<62; v = v*9/8 + 1 {
		b := bucket(v)
		require.LessOrEqual(t, v, upper(b))
		if b > 0 {
			require.Greater(t, v, upper(b-1))
		}
	}
}

func TestRecordingAllocatesNothing(t *testing.T) {
	h := &Histogram{}
	require.Zero(t, testing.AllocsPerRun(1000, func() { h.Record(12345) }))
}

// TestRunsCountWhatTheyDid produces, consumes and goes end to end on a broker.
func TestRunsCountWhatTheyDid(t *testing.T) {
	c := brokertest.Start(t)
	cl, err := kgo.NewClient(c.Options()...)
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	admin := c.Admin(t)
	_, err = admin.CreateTopic(ctx, 3, 1, nil, "bench")
	require.NoError(t, err)
	p := Produce{Options: c.Options(), Topic: "bench", Partitions: 3, Clients: 2, Records: 5000, RecordSize: 100, KeySize: 10}
	r, err := p.Run(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 5000, r.Records)
	require.EqualValues(t, 5000*110, r.Bytes)
	require.Zero(t, r.Errors)
	require.Positive(t, r.RecordsPerSecond)
	require.Positive(t, r.Latency.P99)
	r, err = Consume{Options: c.Options(), Topic: "bench", Partitions: 3, Clients: 2, Records: 5000}.Run(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 5000, r.Records)
	require.EqualValues(t, 5000*110, r.Bytes)
	_, err = Consume{Options: c.Options(), Topic: "bench", Partitions: 3, Records: 6000, Patience: 500 * time.Millisecond}.Run(ctx)
	require.ErrorContains(t, err, "only 5000 of 6000")
	r, err = EndToEnd{Options: c.Options(), Topic: "bench", Partition: 1, Records: 50, Warmup: 5, RecordSize: 20}.Run(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 50, r.Records)
	require.Positive(t, r.Latency.P50)
}

func TestAFixedRateIsKeptAndTheWarmUpNotCounted(t *testing.T) {
	c := brokertest.Start(t)
	admin := c.Admin(t)
	_, err := admin.CreateTopic(t.Context(), 1, 1, nil, "bench")
	require.NoError(t, err)
	r, err := Produce{Options: c.Options(), Topic: "bench", Partitions: 1, Duration: time.Second, Warmup: 300 * time.Millisecond, RecordSize: 10, Throughput: 1000}.Run(t.Context())
	require.NoError(t, err)
	require.InDelta(t, 1000, r.Records, 5)
	require.InDelta(t, 300, r.WarmupRecords, 5)
}

// slowest keeps the longest that a produce request was on its way.
type slowest struct{ took atomic.Int64 }

func (s *slowest) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	if took := int64(e.DurationE2E()); key == int16(kmsg.Produce) && took > s.took.Load() {
		s.took.Store(took)
	}
}

// TestALatencyEndsWithTheAnswer is about acks=0 as well, to which there is none.
func TestALatencyEndsWithTheAnswer(t *testing.T) {
	c := brokertest.Start(t)
	admin := c.Admin(t)
	_, err := admin.CreateTopic(t.Context(), 1, 1, nil, "bench")
	require.NoError(t, err)
	for _, acks := range []kgo.Acks{kgo.AllISRAcks(), kgo.LeaderAck(), kgo.NoAck()} {
		request := &slowest{}
		opts := append(c.Options(), kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite(), kgo.WithHooks(request))
		began := time.Now()
		r, err := Produce{Options: opts, Topic: "bench", Partitions: 1, Records: 300, RecordSize: 10, Throughput: 1000}.Run(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 300, r.Records)
		require.EqualValues(t, 3000, r.Bytes)
		require.Positive(t, r.Latency.P50)
		longest := time.Duration(r.Latency.Max * float64(time.Millisecond))
		require.LessOrEqual(t, longest, time.Since(began)*101/100)
		if acks != kgo.NoAck() {
			require.GreaterOrEqual(t, longest, time.Duration(request.took.Load())*98/100)
		}
	}
}

func TestAFailureIsCounted(t *testing.T) {
	c := brokertest.Start(t)
	r, err := Produce{Options: append(c.Options(), kgo.UnknownTopicRetries(0)), Topic: "none", Partitions: 1, Records: 3, RecordSize: 10}.Run(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 3, r.Errors)
	require.Contains(t, r.FirstError, "UNKNOWN_TOPIC_OR_PARTITION")
	_, err = Produce{Topic: "none"}.Run(t.Context())
	require.ErrorContains(t, err, "no end")
}
