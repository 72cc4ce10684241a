package broker

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/server"
	"github.com/moldau-io/moldau/core/wire"
)

func TestLatencyBucketsHoldWhatFallsIntoThem(t *testing.T) {
	for d := time.Duration(0); d < 200*time.Second; d = d*21/20 + 300*time.Nanosecond {
		b := latencyBucket(d)
		require.GreaterOrEqual(t, b, 0)
		require.Less(t, b, latencyBuckets)
		if b < latencyBuckets-1 {
			require.Less(t, d, latencyBound(b), "bucket %d", b)
		}
		if b > 0 {
			require.GreaterOrEqual(t, d, latencyBound(b-1), "bucket %d", b)
			require.Greater(t, latencyBound(b), latencyBound(b-1))
		}
	}
	require.Zero(t, latencyBucket(-time.Second))
}

func TestLatencyQuantilesAreOfTheWindow(t *testing.T) {
	l := newLatencies()
	record := func(n int, d time.Duration) {
		at := time.Now()
		for range n {
			r := &server.Request{Header: wire.Header{Key: 3}, Received: at}
			l.answered(r, at.Add(d))
		}
	}
	gather := func(now time.Time) (count uint64, median float64) {
		r := prometheus.NewPedanticRegistry()
		require.NoError(t, r.Register(collectAt{l, now}))
		families, err := r.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if f.GetName() == "kafka_network_requestmetrics_totaltimems" {
				s := f.GetMetric()[0].GetSummary()
				return s.GetSampleCount(), s.GetQuantile()[0].GetValue()
			}
		}
		return 0, 0
	}
	now := time.Now()
	record(100, 10*time.Millisecond)
	n, median := gather(now)
	require.EqualValues(t, 100, n)
	require.InEpsilon(t, 10, median, 0.2)
	for i := range 3 {
		record(100, time.Millisecond)
		n, median = gather(now.Add(time.Duration(i+1) * latencyWindow))
	}
	require.EqualValues(t, 400, n, "counts go on")
	require.InEpsilon(t, 1, median, 0.3, "the slow ones are long ago")
}

type collectAt struct {
	l   *latencies
	now time.Time
}

func (c collectAt) Describe(chan<- *prometheus.Desc)    {}
func (c collectAt) Collect(ch chan<- prometheus.Metric) { c.l.collect(ch, c.now) }

func TestCountingALatencyAllocatesNothing(t *testing.T) {
	l := newLatencies()
	r := &server.Request{Header: wire.Header{Key: 0}, Received: time.Now()}
	require.Zero(t, testing.AllocsPerRun(1000, func() { l.answered(r, r.Received.Add(time.Millisecond)) }))
}

func TestIdleShareIsBetweenNoneAndAll(t *testing.T) {
	p := &processStats{}
	now := time.Now()
	require.EqualValues(t, 1, p.idleShare(now, 2), "nothing is known at first")
	share := p.idleShare(now.Add(time.Hour), 2)
	require.Greater(t, share, 0.9)
	require.LessOrEqual(t, share, 1.0)
	require.Equal(t, share, p.idleShare(now.Add(time.Hour+time.Millisecond), 2), "not measured anew within a second")
}
