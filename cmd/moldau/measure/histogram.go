package measure

import (
	"math"
	"math/bits"
	"time"
)

// subBits is the number of bits of a value that a bucket keeps: a bucket is at most 1/128 of its value wide.
const subBits = 7

// Histogram counts durations in buckets whose width grows with the value: exact to 0.8 %, from a nanosecond to centuries, in
// a fixed 57 KiB. It is not safe for concurrent use: keep one for each goroutine and Merge.
type Histogram struct {
	counts [(64 - subBits + 1) << subBits]uint64
	n      uint64
	sum    float64
	lo, hi int64
}

func bucket(v int64) int {
	u := uint64(v)
	if u < 1<<subBits {
		return int(u)
	}
	shift := bits.Len64(u) - subBits - 1
	return (shift+1)<<subBits + int(u>>shift) - 1<<subBits
}

// upper is the largest value of a bucket.
func upper(b int) int64 {
	if b < 1<<subBits {
		return int64(b)
	}
	shift := b>>subBits - 1
	low := uint64(b&(1<<subBits-1)|1<<subBits) << shift
	return int64(low + 1<<shift - 1)
}

// Record counts one duration; a negative one counts as 0.
func (h *Histogram) Record(d time.Duration) {
	v := max(int64(d), 0)
	h.counts[bucket(v)]++
	if h.n == 0 || v < h.lo {
		h.lo = v
	}
	h.hi = max(h.hi, v)
	h.n++
	h.sum += float64(v)
}

// Merge adds what o counted.
func (h *Histogram) Merge(o *Histogram) {
	if o.n == 0 {
		return
	}
	for i, c := range o.counts {
		h.counts[i] += c
	}
	if h.n == 0 || o.lo < h.lo {
		h.lo = o.lo
	}
	h.hi = max(h.hi, o.hi)
	h.n += o.n
	h.sum += o.sum
}

// Count is the number of durations recorded.
func (h *Histogram) Count() uint64 { return h.n }

// Quantile is the smallest duration that a share q (0 to 1) of all do not exceed; 0 of none.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(h.n)))
	rank = min(max(rank, 1), h.n)
	var seen uint64
	for i, c := range h.counts {
		if seen += c; seen >= rank {
			return time.Duration(min(max(upper(i), h.lo), h.hi))
		}
	}
	return time.Duration(h.hi)
}

// Latency is a summary in milliseconds.
type Latency struct {
	Min  float64 `json:"min"`
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P95  float64 `json:"p95"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
	Max  float64 `json:"max"`
}

// Summary returns the figures that reports show.
func (h *Histogram) Summary() Latency {
	ms := func(d time.Duration) float64 { return round(float64(d) / 1e6) }
	l := Latency{Min: round(float64(h.lo) / 1e6), Max: round(float64(h.hi) / 1e6)}
	if h.n > 0 {
		l.Mean = round(h.sum / float64(h.n) / 1e6)
	}
	l.P50, l.P95, l.P99, l.P999 = ms(h.Quantile(.5)), ms(h.Quantile(.95)), ms(h.Quantile(.99)), ms(h.Quantile(.999))
	return l
}

// round keeps three decimals.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }
