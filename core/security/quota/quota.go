// Package quota is the accounting behind Kafka's client quotas. It is pure: rates, token buckets and the table that says which quota
// is whose; time is a parameter, nothing waits.
//
// # The rule
//
// A client is never refused for a quota of bytes or of time; it is told how long to be silent, and is not read from meanwhile. That
// time is what brings its rate, over the remembered windows, back to the limit: (rate - limit) / limit * window. So over any long time
// a client that only sends when it may has at most its limit, plus one burst of what its windows hold. Changes of metadata go against a token bucket
// whose burst is the windows' worth of tokens (KIP-599).
package quota

import (
	"math"
	"time"
)

// Rate counts over a number of windows, the newest of which is being filled. Make it with NewRate.
type Rate struct {
	window  time.Duration
	windows []sample
	at      int // the newest
}

type sample struct {
	start time.Time
	value float64
	used  bool
}

// NewRate makes a rate over n windows (quota.window.num) of a length (quota.window.size.seconds).
func NewRate(n int, window time.Duration) Rate {
	return Rate{window: window, windows: make([]sample, max(n, 2))}
}

// Record adds v, which may be negative to take back.
func (r *Rate) Record(v float64, now time.Time) {
	s := &r.windows[r.at]
	switch {
	case !s.used:
		*s = sample{start: now, used: true}
	case now.Sub(s.start) >= r.window:
		r.at = (r.at + 1) % len(r.windows)
		s = &r.windows[r.at]
		*s = sample{start: now, used: true}
	}
	s.value += v
}

// measure is the sum of the windows that are not too old, and the time they span; at least all but one window, so that a client that has
// just come does not look faster than it is.
func (r *Rate) measure(now time.Time) (sum float64, span time.Duration) {
	oldest := now
	for i := range r.windows {
		s := &r.windows[i]
		if !s.used || now.Sub(s.start) >= r.window*time.Duration(len(r.windows)) {
			continue
		}
		sum += s.value
		if s.start.Before(oldest) {
			oldest = s.start
		}
	}
	span = max(now.Sub(oldest), 0)
	if full, least := int(span/r.window), len(r.windows)-1; full < least {
		span += time.Duration(least-full) * r.window
	}
	return sum, max(span, r.window)
}

// PerSecond is the rate now.
func (r *Rate) PerSecond(now time.Time) float64 {
	sum, span := r.measure(now)
	return sum / span.Seconds()
}

// Throttle is how long nothing must be added for the rate to be limit again; 0 when it is not above.
func (r *Rate) Throttle(limit float64, now time.Time) time.Duration {
	sum, span := r.measure(now)
	rate := sum / span.Seconds()
	if rate <= limit || limit <= 0 {
		return 0
	}
	return seconds((rate - limit) / limit * span.Seconds())
}

// longest bounds a throttle: what a rate needs to forget is never more than this.
const longest = 24 * time.Hour

func seconds(s float64) time.Duration {
	if math.IsNaN(s) || s <= 0 {
		return 0
	}
	if s >= longest.Seconds() {
		return longest
	}
	return time.Duration(s * float64(time.Second)).Round(time.Millisecond)
}

// Bucket is a token bucket: tokens come at a rate, up to a burst, and may be overdrawn once.
type Bucket struct {
	windows int
	window  time.Duration
	tokens  float64
	last    time.Time
	filled  bool
}

// NewBucket makes a full bucket whose burst is that many windows' worth.
func NewBucket(n int, window time.Duration) Bucket { return Bucket{windows: n, window: window} }

// refill brings the tokens up to now.
func (b *Bucket) refill(limit float64, now time.Time) {
	burst := limit * float64(b.windows) * b.window.Seconds()
	if !b.filled {
		b.tokens, b.last, b.filled = burst, now, true
		return
	}
	if d := now.Sub(b.last); d > 0 {
		b.tokens += limit * d.Seconds()
		b.last = now
	}
	b.tokens = min(b.tokens, burst)
}

// Take takes tokens; they may become negative.
func (b *Bucket) Take(n, limit float64, now time.Time) {
	b.refill(limit, now)
	b.tokens -= n
}

// Exceeded says whether the tokens are overdrawn.
func (b *Bucket) Exceeded(limit float64, now time.Time) bool {
	b.refill(limit, now)
	return b.tokens < 0
}

// Throttle is how long it takes until the tokens are not overdrawn any more.
func (b *Bucket) Throttle(limit float64, now time.Time) time.Duration {
	if !b.Exceeded(limit, now) || limit <= 0 {
		return 0
	}
	return seconds(-b.tokens / limit)
}
