package broker

import (
	"math/bits"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/moldau-io/moldau/core/server"
	"github.com/moldau-io/moldau/core/wire"
)

// Latencies of requests, from the last byte of a request's frame to the last byte of its answer given to the socket, by API. Counting takes two
// atomic additions and no memory; quantiles are worked out when somebody asks.
//
// A duration falls into one of four buckets for each power of two of microseconds, so that a quantile is at most 19 % above the truth.
const (
	latencyBuckets = 4 * 28 // up to 134 s
	latencyWindow  = time.Minute
)

type latency struct {
	buckets [latencyBuckets]atomic.Uint64
	micros  atomic.Uint64
}

func latencyBucket(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < 4 {
		return int(us)
	}
	shift := bits.Len64(us) - 3
	return min(4*shift+int(us>>shift), latencyBuckets-1)
}

// latencyBound is the upper end of a bucket.
func latencyBound(b int) time.Duration {
	if b < 4 {
		return time.Duration(b+1) * time.Microsecond
	}
	shift := b/4 - 1
	return time.Duration(uint64(b%4+5)<<shift) * time.Microsecond
}

func (l *latency) record(d time.Duration) {
	l.buckets[latencyBucket(d)].Add(1)
	l.micros.Add(uint64(max(d, 0) / time.Microsecond))
}

type latencySnapshot struct {
	buckets [latencyBuckets]uint64
	count   uint64
	micros  uint64
}

func (l *latency) snapshot() (s latencySnapshot) {
	for i := range l.buckets {
		s.buckets[i] = l.buckets[i].Load()
		s.count += s.buckets[i]
	}
	s.micros = l.micros.Load()
	return s
}

// quantile of what s counted more than before did, in milliseconds; 0 of nothing.
func (s *latencySnapshot) quantile(before *latencySnapshot, q float64) float64 {
	n := s.count - before.count
	if n == 0 {
		return 0
	}
	rank := max(uint64(q*float64(n)+0.5), 1)
	var seen uint64
	for i := range s.buckets {
		if seen += s.buckets[i] - before.buckets[i]; seen >= rank {
			return float64(latencyBound(i)) / 1e6
		}
	}
	return float64(latencyBound(latencyBuckets-1)) / 1e6
}

// latencies are those of all APIs. Quantiles are of the last one to two minutes: of what came since the snapshot before the last.
type latencies struct {
	byKey []latency

	mu        sync.Mutex
	taken     time.Time
	last, old []latencySnapshot
}

func newLatencies() *latencies {
	highest := int16(0)
	for _, a := range wire.APIs() {
		highest = max(highest, a.Key)
	}
	n := int(highest) + 1
	return &latencies{byKey: make([]latency, n), last: make([]latencySnapshot, n), old: make([]latencySnapshot, n)}
}

// answered is told of each request whose answer was written.
func (l *latencies) answered(r *server.Request, written time.Time) {
	if !r.Raw && r.Key >= 0 && int(r.Key) < len(l.byKey) {
		l.byKey[r.Key].record(written.Sub(r.Received))
	}
}

var (
	quantiles   = []float64{0.5, 0.75, 0.95, 0.98, 0.99, 0.999}
	descTotal   = desc("kafka_network_requestmetrics_totaltimems", "Milliseconds from a request's arrival to its answer's departure; quantiles are of the last one to two minutes.", "request")
	descSeconds = desc("kafka_network_requestmetrics_totaltime_seconds", "Seconds from a request's arrival to its answer's departure.", "request")
)

func (l *latencies) collect(ch chan<- prometheus.Metric, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rotate := now.Sub(l.taken) >= latencyWindow
	for _, a := range wire.APIs() {
		s := l.byKey[a.Key].snapshot()
		if s.count > 0 {
			qs := make(map[float64]float64, len(quantiles))
			for _, q := range quantiles {
				qs[q] = s.quantile(&l.old[a.Key], q)
			}
			ch <- prometheus.MustNewConstSummary(descTotal, s.count, float64(s.micros)/1e3, qs, a.Name)
			// Every fourth bucket: those that end at a power of two.
			cumulative, buckets := uint64(0), map[float64]uint64{}
			for i, n := range s.buckets {
				cumulative += n
				if i%4 == 3 && i >= 4*6 && i < 4*25 {
					buckets[latencyBound(i).Seconds()] = cumulative
				}
			}
			ch <- prometheus.MustNewConstHistogram(descSeconds, s.count, float64(s.micros)/1e6, buckets, a.Name)
		}
		if rotate {
			l.old[a.Key], l.last[a.Key] = l.last[a.Key], s
		}
	}
	if rotate {
		l.taken = now
	}
}

// processStats are figures of the process that Kafka's dashboards show.
type processStats struct {
	mu   sync.Mutex
	at   time.Time
	cpu  time.Duration
	idle float64
}

// idleShare is the share of the processors that this process may use and does not, since the last time, at least a second ago. Go's scheduler runs network
// and requests on the same threads, so that this is the idle share of Kafka's network processors and of its request handlers.
func (p *processStats) idleShare(now time.Time, procs int) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	cpu, ok := processCPU()
	if !ok {
		return 1
	}
	if p.at.IsZero() {
		p.at, p.cpu, p.idle = now, cpu, 1
	} else if d := now.Sub(p.at); d >= time.Second {
		p.idle = min(max(1-float64(cpu-p.cpu)/float64(d)/float64(procs), 0), 1)
		p.at, p.cpu = now, cpu
	}
	return p.idle
}

func nodeLabel(id int32) string { return strconv.Itoa(int(id)) }
