package broker

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/config"
	"github.com/moldau-io/moldau/core/metadata"
	"github.com/moldau-io/moldau/core/security/quota"
	"github.com/moldau-io/moldau/core/server"
)

// quotas hold clients to their limits. As in Kafka an answer goes out at once, says for how long the client should be silent, and its
// connection is not read from meanwhile (KIP-219). Without quotas each check is one look at a nil pointer.
type quotas struct {
	windows, mutationWindows int
	window, mutationWindow   time.Duration
	rates                    atomic.Pointer[connectionRates]
	spared                   string // the inter-broker listener, which the broker's rate spares

	table atomic.Pointer[quota.Table]
	ips   atomic.Pointer[ipQuotas]

	mu      sync.Mutex
	sensors sensors[quota.Scope]
	arrived sensors[string] // connections, by "ip:", "listener:" or "broker"
}

// ipQuotas are the connection_creation_rate of addresses; everyone is that of those without their own, NaN for none.
type ipQuotas struct {
	byIP     map[string]float64
	everyone float64
}

// connectionRates are max.connection.creation.rate, of the broker and of single listeners; MaxInt32 for none.
type connectionRates struct {
	broker     int32
	byListener map[string]config.ListenerLimit
}

// of is a listener's own rate. One that has none has the broker's, which matters where that of all connections together does not count.
func (r *connectionRates) of(listener string) int32 {
	if l, ok := r.byListener[listener]; ok && l.Rate < math.MaxInt32 {
		return l.Rate
	}
	return r.broker
}

// sensor counts for one scope.
type sensor struct {
	mu     sync.Mutex
	rate   quota.Rate
	bucket quota.Bucket
	used   time.Time
}

// Sensors that were not used for sensorIdle are forgotten now and then when there are more than manySensors. There are never more than
// maxSensors: then those go that were used longest ago.
const (
	manySensors = 10_000
	maxSensors  = 100_000
	sensorIdle  = 10 * time.Minute
)

// sensors are the sensors of one kind.
type sensors[K comparable] struct {
	all   map[K]*sensor
	swept time.Time
}

// get returns the sensor for the key, made if need be.
func (s *sensors[K]) get(key K, now time.Time, fresh func() *sensor) *sensor {
	x := s.all[key]
	if x == nil {
		s.makeRoom(now)
		x = fresh()
		s.all[key] = x
	}
	x.used = now
	return x
}

func (s *sensors[K]) makeRoom(now time.Time) {
	forget := func(idle time.Duration) {
		maps.DeleteFunc(s.all, func(_ K, x *sensor) bool { return now.Sub(x.used) >= idle })
	}
	if len(s.all) >= manySensors && now.Sub(s.swept) >= sensorIdle/10 {
		s.swept = now
		forget(sensorIdle)
	}
	if len(s.all) >= maxSensors {
		for idle := sensorIdle; len(s.all) > maxSensors/2; idle /= 2 {
			forget(idle)
		}
	}
}

func newQuotas(c *config.Broker) *quotas {
	q := &quotas{
		windows: int(c.QuotaWindows), window: time.Duration(c.QuotaWindowSeconds) * time.Second,
		mutationWindows: int(c.ControllerQuotaWindows), mutationWindow: time.Duration(c.ControllerQuotaWindowSeconds) * time.Second,
		sensors: sensors[quota.Scope]{all: map[quota.Scope]*sensor{}}, arrived: sensors[string]{all: map[string]*sensor{}},
	}
	q.setRates(c.MaxConnectionRate, config.ListenerLimits(config.Layers{Static: c.Static}))
	if len(c.Listeners) > 1 {
		q.spared = c.InterBrokerListenerName
	}
	return q
}

// setRates takes over max.connection.creation.rate, of the broker and of listeners.
func (q *quotas) setRates(n int32, listeners map[string]config.ListenerLimit) {
	q.rates.Store(&connectionRates{n, listeners})
}

var quotaKindOf = map[string]quota.Kind{
	metadata.QuotaProducerByteRate: quota.Produce, metadata.QuotaConsumerByteRate: quota.Fetch,
	metadata.QuotaRequestPercentage: quota.Request, metadata.QuotaControllerMutationRate: quota.Mutation,
}

// update takes over the quotas of an image.
func (q *quotas) update(im *metadata.Image) {
	var entries []quota.Entry
	ips := &ipQuotas{byIP: map[string]float64{}, everyone: math.NaN()}
	part := func(n metadata.QuotaName) quota.Part {
		return quota.Part{Set: n.Kind != metadata.QuotaAbsent, Default: n.Kind == metadata.QuotaDefault, Name: n.Name}
	}
	for _, e := range im.QuotaEntities() {
		for k, v := range im.Quotas(e) {
			kind, ok := quotaKindOf[k]
			switch {
			case ok:
				entries = append(entries, quota.Entry{User: part(e.User), ClientID: part(e.ClientID), Kind: kind, Limit: v})
			case k == metadata.QuotaConnectionCreationRate && e.IP.Kind == metadata.QuotaDefault:
				ips.everyone = v
			case k == metadata.QuotaConnectionCreationRate:
				ips.byIP[e.IP.Name] = v
			}
		}
	}
	q.table.Store(quota.NewTable(entries))
	if len(ips.byIP) == 0 && math.IsNaN(ips.everyone) {
		ips = nil
	}
	q.ips.Store(ips)
}

// sensorFor returns the counter of a scope.
func (q *quotas) sensorFor(scope quota.Scope, now time.Time) *sensor {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.sensors.get(scope, now, func() *sensor {
		if scope.Kind == quota.Mutation {
			return &sensor{bucket: quota.NewBucket(q.mutationWindows, q.mutationWindow)}
		}
		return &sensor{rate: quota.NewRate(q.windows, q.window)}
	})
}

// charge counts v for the client and returns how long it must be silent.
func (q *quotas) charge(s *session, clientID string, kind quota.Kind, v float64, now time.Time) time.Duration {
	t := q.table.Load()
	if !t.Has(kind) || s.internal {
		return 0
	}
	limit, scope, ok := t.Find(kind, s.who.Name, clientID)
	if !ok {
		return 0
	}
	c := q.sensorFor(scope, now)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rate.Record(v, now)
	return c.rate.Throttle(limit, now)
}

// most is how many bytes a client may be sent at once without going over what its windows hold; the largest number without a quota.
func (q *quotas) most(s *session, clientID string) int {
	limit, _, ok := q.table.Load().Find(quota.Fetch, s.who.Name, clientID)
	if !ok || s.internal {
		return math.MaxInt
	}
	return int(min(limit*float64(q.windows-1)*q.window.Seconds(), math.MaxInt32))
}

// longestRequestThrottle is the most that a quota of time throttles at once, as in Kafka: one window.
func (q *quotas) longestRequestThrottle() time.Duration { return q.window }

// The request_percentage quota holds the time that a client's requests take of this process to a share of it, 100 for one processor. As in
// Kafka that is the time of handling and of the network: from the moment a request goes to its handler until the handler returns (spend), and what
// the server spends on frames and answers, the reading of the log for a fetch among it (answered). Waiting for a peer, a long poll, a
// group or the metadata quorum is not in it (uncounted). An answer that is given at once says what its own request cost.

// spend counts the time since the connection's request began to be handled, or since the last call. Only the reader goroutine may call it.
func (b *Broker) spend(c *server.Conn, clientID string) {
	s, ok := c.Value.(*session)
	if !ok || !s.ready || s.handlingSince.IsZero() {
		return
	}
	now := time.Now()
	took := now.Sub(s.handlingSince)
	s.handlingSince = now
	if d := b.quotas.charge(s, clientID, quota.Request, percentage(took), now); d > 0 {
		b.throttle(c, min(d, b.quotas.longestRequestThrottle()))
	}
}

// uncounted is called before a handler waits for others, for the metadata quorum or for a transaction to have its partitions, and what it
// returns afterwards: as in Kafka, where no handler waits for them, the time between is not the client's. Only the reader goroutine may call
// them.
func (c call) uncounted() (counted func()) {
	s, ok := c.r.Conn.Value.(*session)
	if !ok || s.handlingSince.IsZero() {
		return func() {}
	}
	from := time.Now()
	return func() { s.handlingSince = s.handlingSince.Add(time.Since(from)) }
}

// answered is told of each request whose answer was written.
func (b *Broker) answered(r *server.Request, written time.Time) {
	b.metrics.latencies.answered(r, written)
	if !b.quotas.table.Load().Has(quota.Request) || r.Raw {
		return
	}
	switch r.Key {
	case int16(kmsg.ApiVersions), int16(kmsg.SASLHandshake), int16(kmsg.SASLAuthenticate):
		return // the peer may not be known yet
	}
	if s, ok := r.Conn.Value.(*session); ok {
		b.quotas.charge(s, r.ClientID, quota.Request, percentage(r.Busy()), written)
	}
}

func percentage(d time.Duration) float64 { return d.Seconds() * 100 }

// throttle mutes a connection after the answer under way.
func (b *Broker) throttle(c *server.Conn, d time.Duration) {
	if d <= 0 {
		return
	}
	b.metrics.throttled.Add(1)
	c.Throttle(d)
}

// pendingThrottle is for how long the time of the client's earlier requests throttles it, in milliseconds: what answers say.
func (b *Broker) pendingThrottle(c call) int32 {
	if !b.quotas.table.Load().Has(quota.Request) {
		return 0
	}
	d := b.quotas.charge(c.session(), c.r.ClientID, quota.Request, 0, time.Now())
	return int32(min(d, b.quotas.longestRequestThrottle()).Milliseconds())
}

// mutation is the quota on changes of metadata for one request (KIP-599).
type mutation struct {
	sensor *sensor // nil for no quota
	limit  float64
	strict bool
}

// mutationQuota is what the request may change. Strict requests are refused beyond it, older ones only throttled.
func (c call) mutationQuota(strict bool) mutation {
	q := c.b.quotas
	s := c.session()
	limit, scope, ok := q.table.Load().Find(quota.Mutation, s.who.Name, c.r.ClientID)
	if !ok || s.internal {
		return mutation{}
	}
	return mutation{sensor: q.sensorFor(scope, time.Now()), limit: limit, strict: strict}
}

// take counts n changes; it refuses them when the request is strict and the quota is used up.
func (m mutation) take(n int) *metadata.Error {
	if m.sensor == nil {
		return nil
	}
	m.sensor.mu.Lock()
	defer m.sensor.mu.Unlock()
	now := time.Now()
	if m.strict && m.sensor.bucket.Exceeded(m.limit, now) {
		return &metadata.Error{Code: kerr.ThrottlingQuotaExceeded.Code} // Kafka has no text here
	}
	m.sensor.bucket.Take(float64(n), m.limit, now)
	return nil
}

// finish mutes the connection as the quota wants and returns the milliseconds that the answer says.
func (m mutation) finish(c call) int32 {
	if m.sensor == nil {
		return 0
	}
	m.sensor.mu.Lock()
	d := m.sensor.bucket.Throttle(m.limit, time.Now())
	m.sensor.mu.Unlock()
	c.b.throttle(c.r.Conn, d)
	return throttleMs(d)
}

func throttleMs(d time.Duration) int32 { return int32(min(d.Milliseconds(), math.MaxInt32)) }

// setThrottle puts a throttle time into an answer that has a place for it, unless a longer one is there.
func setThrottle(resp kmsg.Response, ms int32) {
	if ms <= 0 {
		return
	}
	get, ok := resp.(kmsg.ThrottleResponse)
	set, ok2 := resp.(kmsg.SetThrottleResponse)
	if !ok || !ok2 {
		return
	}
	if have, _ := get.Throttle(); have < ms {
		set.SetThrottle(ms)
	}
}

// arrival counts a connection under a name and returns how long the limit wants to wait.
func (q *quotas) arrival(name string, limit float64, now time.Time) (time.Duration, *sensor) {
	q.mu.Lock()
	s := q.arrived.get(name, now, func() *sensor { return &sensor{rate: quota.NewRate(q.windows, q.window)} })
	q.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rate.Record(1, now)
	return min(s.rate.Throttle(limit, now), time.Duration(q.windows)*q.window), s
}

// admitConnection says when a new connection is served (KIP-612): the broker's and the listener's rate make the listener wait, an
// address's rate refuses the connection.
func (b *Broker) admitConnection(listener, host string) server.Admission {
	q := b.quotas
	now := time.Now()
	var a server.Admission
	if ips := q.ips.Load(); ips != nil {
		limit, ok := ips.byIP[host]
		if !ok {
			limit = ips.everyone
		}
		if !math.IsNaN(limit) {
			if d, s := q.arrival("ip:"+host, limit, now); d > 0 {
				s.mu.Lock()
				s.rate.Record(-1, now) // it does not come in
				s.mu.Unlock()
				a.RefuseAfter = d
				return a
			}
		}
	}
	rates := q.rates.Load()
	if rate := rates.of(listener); rate < math.MaxInt32 {
		a.Wait, _ = q.arrival("listener:"+listener, float64(rate), now)
	}
	if rates.broker < math.MaxInt32 && listener != q.spared {
		d, _ := q.arrival("broker", float64(rates.broker), now)
		a.Wait = max(a.Wait, d)
	}
	return a
}

// throttleProduce counts what a produce request brought, mutes its connection if that was too much, and returns the milliseconds that
// the answer says.
func (b *Broker) throttleProduce(r *server.Request, bytes int) int32 {
	c := call{b: b, r: r}
	b.spend(r.Conn, r.ClientID)
	d := b.quotas.charge(c.session(), r.ClientID, quota.Produce, float64(bytes), time.Now())
	b.throttle(r.Conn, d)
	return max(throttleMs(d), b.pendingThrottle(c))
}

// throttleFetch counts what a fetch is about to be answered with. When it is too much it is taken back: the client gets an empty
// answer, is muted for the milliseconds that are returned, and asks again.
func (b *Broker) throttleFetch(r *server.Request, bytes int) int32 {
	c := call{b: b, r: r}
	now := time.Now()
	d := b.quotas.charge(c.session(), r.ClientID, quota.Fetch, float64(bytes), now)
	if d > 0 {
		b.quotas.charge(c.session(), r.ClientID, quota.Fetch, -float64(bytes), now)
		b.throttle(r.Conn, d)
	}
	return max(throttleMs(d), b.pendingThrottle(c))
}
