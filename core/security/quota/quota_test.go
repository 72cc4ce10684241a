package quota_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	. "github.com/moldau-io/moldau/core/security/quota"
)

var t0 = time.Unix(1_700_000_000, 0)

func TestRateIsOverAllButOneWindowAtLeast(t *testing.T) {
	r := NewRate(11, time.Second)
	r.Record(1000, t0)
	require.InDelta(t, 100, r.PerSecond(t0), 0.01, "1000 over ten windows of a second")
	require.Zero(t, r.Throttle(100, t0))
	r.Record(1000, t0.Add(500*time.Millisecond))
	// 2000 over 10.5 s is 190.5/s: (190.5-100)/100 * 10.5 s.
	require.InDelta(t, 9.5, r.Throttle(100, t0.Add(500*time.Millisecond)).Seconds(), 0.01)
	require.Zero(t, r.PerSecond(t0.Add(time.Minute)), "old windows are forgotten")
}

func TestTakingBackUndoes(t *testing.T) {
	r := NewRate(11, time.Second)
	r.Record(5000, t0)
	r.Record(-5000, t0)
	require.Zero(t, r.PerSecond(t0))
}

func TestAClientThatObeysHasItsLimit(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 7))
		r := NewRate(2+rng.IntN(20), time.Duration(1+rng.IntN(3))*time.Second)
		limit := 1 + rng.Float64()*1e6
		now, total := t0, 0.0
		for now.Sub(t0) < 10*time.Minute {
			n := rng.Float64() * limit * 2
			r.Record(n, now)
			total += n
			d := r.Throttle(limit, now)
			now = now.Add(d + time.Duration(rng.IntN(200))*time.Millisecond)
		}
		require.LessOrEqual(t, total/now.Sub(t0).Seconds(), limit*1.15, "seed %d", seed)
	}
}

func TestAFastClientReachesItsLimit(t *testing.T) {
	r := NewRate(11, time.Second)
	now, total := t0, 0.0
	for now.Sub(t0) < 5*time.Minute {
		r.Record(10_000, now)
		total += 10_000
		now = now.Add(max(r.Throttle(100_000, now), time.Millisecond))
	}
	require.InDelta(t, 100_000, total/now.Sub(t0).Seconds(), 10_000)
}

func TestBucket(t *testing.T) {
	b := NewBucket(10, time.Second)
	require.False(t, b.Exceeded(1, t0))
	b.Take(10, 1, t0)
	require.False(t, b.Exceeded(1, t0), "the burst is the windows' worth")
	b.Take(5, 1, t0)
	require.True(t, b.Exceeded(1, t0))
	require.Equal(t, 5*time.Second, b.Throttle(1, t0))
	require.Equal(t, 2*time.Second, b.Throttle(1, t0.Add(3*time.Second)))
	require.False(t, b.Exceeded(1, t0.Add(6*time.Second)))
	b.Take(0, 1, t0.Add(time.Hour))
	b.Take(10, 1, t0.Add(time.Hour))
	require.False(t, b.Exceeded(1, t0.Add(time.Hour)), "it fills up to the burst")
	b.Take(1, 1, t0.Add(time.Hour))
	require.True(t, b.Exceeded(1, t0.Add(time.Hour)), "and no further")
}

func TestTheMostSpecificQuotaCounts(t *testing.T) {
	// In the order of precedence; each is found when all before it are left out.
	entries := []Entry{
		{Named("u"), Named("c"), Produce, 1}, {Named("u"), Everyone, Produce, 2}, {Named("u"), Part{}, Produce, 3},
		{Everyone, Named("c"), Produce, 4}, {Everyone, Everyone, Produce, 5}, {Everyone, Part{}, Produce, 6},
		{Part{}, Named("c"), Produce, 7}, {Part{}, Everyone, Produce, 8},
	}
	scopes := []Scope{
		{Produce, "u", "c", true, true}, {Produce, "u", "c", true, true}, {Produce, "u", "", true, false},
		{Produce, "u", "c", true, true}, {Produce, "u", "c", true, true}, {Produce, "u", "", true, false},
		{Produce, "", "c", false, true}, {Produce, "", "c", false, true},
	}
	for i := range entries {
		limit, scope, ok := NewTable(entries[i:]).Find(Produce, "u", "c")
		require.True(t, ok)
		require.InDelta(t, float64(i+1), limit, 0)
		require.Equal(t, scopes[i], scope)
	}
	_, _, ok := NewTable(entries[:1]).Find(Produce, "u", "other")
	require.False(t, ok)
	_, _, ok = NewTable(entries).Find(Fetch, "u", "c")
	require.False(t, ok)
	_, _, ok = NewTable(nil).Find(Produce, "u", "c")
	require.False(t, ok)
}
