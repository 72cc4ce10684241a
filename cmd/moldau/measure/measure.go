package measure

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

// Result is what a run gave. Sizes are in bytes, MB is 1024*1024 bytes as in Kafka's own perf tools.
type Result struct {
	Operation        string   `json:"operation"`
	Topic            string   `json:"topic"`
	Clients          int      `json:"clients"`
	Records          int64    `json:"records"`
	Bytes            int64    `json:"bytes"`
	Seconds          float64  `json:"seconds"`
	RecordsPerSecond float64  `json:"records_per_second"`
	MBPerSecond      float64  `json:"mb_per_second"`
	WarmupRecords    int64    `json:"warmup_records"`
	Errors           int64    `json:"errors"`
	FirstError       string   `json:"first_error,omitempty"`
	Latency          *Latency `json:"latency_ms,omitempty"`
	// ClientCPUSeconds is what this process took of the CPU between the first counted record and the end.
	ClientCPUSeconds float64 `json:"client_cpu_seconds"`
}

// Progress is told of a run's figures every interval: how many records were counted since the last time and how long that was.
type Progress func(records, bytes int64, took time.Duration)

// Produce describes a run that produces.
type Produce struct {
	// Options make a client: addresses, security, acks, compression, linger. Each of Clients has its own.
	Options []kgo.Opt
	Topic   string
	// Partitions is the number that the topic has.
	Partitions int
	Clients    int
	// Records ends the run after so many counted records, Duration after so long; one of them is set.
	Records  int64
	Duration time.Duration
	// Warmup is how long records are sent before they count.
	Warmup time.Duration
	// RecordSize is the value's size in bytes; KeySize the key's (0: no key).
	RecordSize, KeySize int
	// Throughput is the rate in records a second over all clients; 0 is as fast as it goes.
	Throughput float64
	// Payloads are values to send in turn, instead of random letters.
	Payloads [][]byte
	Progress Progress
}

// meter is the counting half of a run: when it counts and what.
type meter struct {
	limit   int64
	opened  atomic.Int64 // unix nanos when counting began, 0 before
	counted atomic.Int64 // records sent that count
	records atomic.Int64 // answered
	bytes   atomic.Int64
	warm    atomic.Int64
	errs    atomic.Int64
	last    atomic.Int64 // unix nanos of the last answer
	mu      sync.Mutex
	err     error
	cpu     time.Duration
}

func (m *meter) open(now time.Time) {
	m.cpu = cpuTime()
	m.opened.Store(now.UnixNano())
}

func (m *meter) failed(err error) {
	m.errs.Add(1)
	m.mu.Lock()
	if m.err == nil {
		m.err = err
	}
	m.mu.Unlock()
}

func (m *meter) result(op, topic string, clients int) Result {
	r := Result{Operation: op, Topic: topic, Clients: clients, Records: m.records.Load(), Bytes: m.bytes.Load(), WarmupRecords: m.warm.Load(), Errors: m.errs.Load()}
	if m.err != nil {
		r.FirstError = m.err.Error()
	}
	if o := m.opened.Load(); o > 0 && m.last.Load() > o {
		s := float64(m.last.Load()-o) / 1e9
		r.Seconds = round(s)
		r.RecordsPerSecond = round(float64(r.Records) / s)
		r.MBPerSecond = round(float64(r.Bytes) / s / (1 << 20))
		r.ClientCPUSeconds = round((cpuTime() - m.cpu).Seconds())
	}
	return r
}

// report tells p of the progress until ctx ends.
func (m *meter) report(ctx context.Context, p Progress) {
	if p == nil {
		return
	}
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	var records, bytes int64
	since := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			r, b := m.records.Load(), m.bytes.Load()
			p(r-records, b-bytes, now.Sub(since))
			records, bytes, since = r, b, now
		}
	}
}

// clock tells the time at less than time.Now's price, which an item pays twice.
type clock struct{ base time.Time }

func (c clock) now() time.Time { return c.base.Add(time.Since(c.base)) }

// nanos is now in Unix nanoseconds.
func (c clock) nanos() int64 { return c.base.UnixNano() + int64(time.Since(c.base)) }

// answers knows when the last answer to a client's produce requests was read: the clock is read once for all records of an answer.
type answers struct {
	clock clock
	at    atomic.Int64 // Unix nanoseconds, 0 before the first
}

// OnBrokerRead implements kgo.HookBrokerRead; it runs before the answer's promises.
func (a *answers) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if err == nil && key == int16(kmsg.Produce) {
		a.at.Store(a.clock.nanos())
	}
}

// tally is what one client's promises have counted and the meter does not know yet.
type tally struct {
	records, bytes int64
	at             int64 // when the last of them was answered, in Unix nanoseconds
}

// hand gives it to the meter.
func (t *tally) hand(m *meter) {
	m.records.Add(t.records)
	m.bytes.Add(t.bytes)
	for last := m.last.Load(); t.at > last && !m.last.CompareAndSwap(last, t.at); {
		last = m.last.Load()
	}
	*t = tally{at: t.at}
}

// payloads are n values of random letters, as Kafka's own perf producer sends: they compress a little.
func payloads(n, size int) [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	l := make([][]byte, n)
	for i := range l {
		l[i] = make([]byte, size)
		for j := range l[i] {
			l[i][j] = 'A' + byte(r.IntN(26))
		}
	}
	return l
}

// unpaced is how many records have the time of the first of them where they are sent as fast as it goes: reading the clock for each takes a twentieth
// of the client's CPU, and so many are sent within some 20 µs. Where the client's buffer is full in between, the latency of the rest holds that wait.
const unpaced = 16

// item is a record on its way, with the promise that is called when it is answered.
type item struct {
	rec   kgo.Record
	start int64
	size  int64
	warm  bool
	done  func(*kgo.Record, error)
}

// Run produces until the limit, the duration or ctx ends, and waits for the answers.
func (p Produce) Run(ctx context.Context) (Result, error) {
	if p.Records <= 0 && p.Duration <= 0 {
		return Result{}, errors.New("the run has no end: give a number of records or a duration")
	}
	p.Clients = max(p.Clients, 1)
	values := p.Payloads
	if len(values) == 0 {
		values = payloads(1024, p.RecordSize)
	}
	m := &meter{limit: p.Records}
	hists := make([]*Histogram, p.Clients)
	clients := make([]*kgo.Client, p.Clients)
	answered := make([]*answers, p.Clients)
	for i := range clients {
		hists[i], answered[i] = &Histogram{}, &answers{clock: clock{time.Now()}}
		cl, err := kgo.NewClient(append([]kgo.Opt{kgo.WithHooks(answered[i]), kgo.DefaultProduceTopic(p.Topic), kgo.MaxBufferedRecords(1 << 20), kgo.MaxBufferedBytes(64 << 20)}, p.Options...)...)
		if err != nil {
			return Result{}, err
		}
		defer cl.Close()
		clients[i] = cl
		if err := cl.Ping(ctx); err != nil {
			return Result{}, fmt.Errorf("connect: %w", err)
		}
	}
	rctx, stop := context.WithCancel(ctx)
	defer stop()
	go m.report(rctx, p.Progress)
	start := time.Now()
	if p.Warmup == 0 {
		m.open(start)
	}
	var g errgroup.Group
	for i, cl := range clients {
		g.Go(func() error { return p.client(ctx, cl, m, hists[i], answered[i], values, start) })
	}
	err := g.Wait()
	sum := &Histogram{}
	for _, h := range hists {
		sum.Merge(h)
	}
	r := m.result("produce", p.Topic, p.Clients)
	if sum.Count() > 0 {
		l := sum.Summary()
		r.Latency = &l
	}
	return r, err
}

// client is the loop of one client. Promises of one client run one after the other, so that its histogram needs no lock.
func (p Produce) client(ctx context.Context, cl *kgo.Client, m *meter, h *Histogram, answered *answers, values [][]byte, start time.Time) error {
	var pool sync.Pool
	var counted tally
	clock := answered.clock
	pool.New = func() any {
		it := &item{}
		it.done = func(_ *kgo.Record, err error) {
			now := answered.at.Load()
			if now < it.start { // nothing is answered with acks=0
				now = clock.nanos()
			}
			switch {
			case err != nil:
				m.failed(err)
			case it.warm:
				m.warm.Add(1)
			default:
				h.Record(time.Duration(now - it.start))
				if now != counted.at {
					counted.hand(m)
					counted.at = now
				}
				counted.records++
				counted.bytes += it.size
			}
			pool.Put(it)
		}
		return it
	}
	key := make([]byte, p.KeySize)
	var interval float64 // nanoseconds between the records of this client
	if p.Throughput > 0 {
		interval = 1e9 * float64(p.Clients) / p.Throughput
	}
	begin := start
	together := 1 // records that have one time of their own
	if interval == 0 {
		together = unpaced
	}
	for n := 0; ctx.Err() == nil; {
		due := clock.now()
		take := int64(together)
		if interval > 0 {
			at := begin.Add(time.Duration(float64(n) * interval))
			if wait := at.Sub(due); wait > 0 {
				// Waking for each record costs more than sending it: records that are due within a millisecond of each other go together.
				select {
				case <-time.After(max(wait, time.Millisecond)):
				case <-ctx.Done():
				}
			}
			due = at
		}
		warm := false
		if m.opened.Load() == 0 {
			if due.Sub(start) < p.Warmup {
				warm = true
			} else {
				m.mu.Lock()
				if m.opened.Load() == 0 {
					m.open(due)
				}
				m.mu.Unlock()
			}
		}
		if !warm {
			if m.limit > 0 {
				if take = min(take, m.limit-(m.counted.Add(take)-take)); take <= 0 {
					break
				}
			}
			if p.Duration > 0 && due.UnixNano()-m.opened.Load() >= int64(p.Duration) {
				break
			}
		}
		for began := due.UnixNano(); take > 0; take-- {
			it := pool.Get().(*item)
			v := values[n%len(values)]
			it.rec = kgo.Record{Value: v, Timestamp: due}
			if p.KeySize > 0 {
				it.rec.Key = append([]byte(nil), fill(key, n)...)
			}
			it.start, it.size, it.warm = began, int64(len(v)+p.KeySize), warm
			cl.Produce(ctx, &it.rec, it.done)
			n++
		}
	}
	err := cl.Flush(context.WithoutCancel(ctx))
	counted.hand(m)
	return err
}

// fill writes a number into a key.
func fill(key []byte, n int) []byte {
	r := uint64(n) * 0x9e3779b97f4a7c15
	for i := range key {
		key[i] = 'a' + byte(r%26)
		if r /= 26; r == 0 {
			r = uint64(n+i) * 0xbf58476d1ce4e5b9
		}
	}
	return key
}

// Consume describes a run that consumes whole partitions, from their start.
type Consume struct {
	Options []kgo.Opt
	Topic   string
	// Partitions is the number that the topic has; client i of Clients reads the partitions i, i+Clients and so on.
	Partitions, Clients int
	// Records ends the run after so many; Duration after so long; Patience when nothing came for so long.
	Records            int64
	Duration, Patience time.Duration
	Progress           Progress
}

// records is a pool of record slices: fetched records are counted and given back.
type records struct{ p sync.Pool }

// GetRecords implements kgo.PoolRecords.
func (r *records) GetRecords(n int) []kgo.Record {
	if s, _ := r.p.Get().(*[]kgo.Record); s != nil && cap(*s) >= n {
		return (*s)[:0]
	}
	return make([]kgo.Record, 0, n)
}

// PutRecords implements kgo.PoolRecords.
func (r *records) PutRecords(s []kgo.Record) { r.p.Put(&s) }

// Run consumes.
func (c Consume) Run(ctx context.Context) (Result, error) {
	c.Clients = min(max(c.Clients, 1), max(c.Partitions, 1))
	if c.Patience == 0 {
		c.Patience = 10 * time.Second
	}
	m := &meter{limit: c.Records}
	if c.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Duration)
		defer cancel()
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go m.report(ctx, c.Progress)
	clients := make([]*kgo.Client, c.Clients)
	for i := range clients {
		parts := map[int32]kgo.Offset{}
		for p := i; p < c.Partitions; p += c.Clients {
			parts[int32(p)] = kgo.NewOffset().AtStart()
		}
		cl, err := kgo.NewClient(append([]kgo.Opt{kgo.WithPools(&records{}), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.Topic: parts})}, c.Options...)...)
		if err != nil {
			return Result{}, err
		}
		defer cl.Close()
		clients[i] = cl
	}
	m.open(time.Now())
	m.last.Store(m.opened.Load())
	var g errgroup.Group
	for _, cl := range clients {
		g.Go(func() error {
			for ctx.Err() == nil {
				pctx, cancel := context.WithTimeout(ctx, c.Patience)
				fs := cl.PollFetches(pctx)
				idle := pctx.Err() != nil && ctx.Err() == nil
				cancel()
				if idle {
					return nil
				}
				for _, e := range fs.Errors() {
					if !errors.Is(e.Err, context.Canceled) && !errors.Is(e.Err, context.DeadlineExceeded) {
						m.failed(fmt.Errorf("%s-%d: %w", e.Topic, e.Partition, e.Err))
						stop()
					}
				}
				var n, b int64
				fs.EachPartition(func(p kgo.FetchTopicPartition) {
					for _, r := range p.Records {
						n++
						b += int64(len(r.Key) + len(r.Value))
						r.Recycle()
					}
				})
				if n == 0 {
					continue
				}
				m.bytes.Add(b)
				m.last.Store(time.Now().UnixNano())
				if total := m.records.Add(n); m.limit > 0 && total >= m.limit {
					stop()
				}
			}
			return nil
		})
	}
	err := g.Wait()
	r := m.result("consume", c.Topic, c.Clients)
	if err == nil && c.Records > 0 && r.Records < c.Records && r.Errors == 0 {
		err = fmt.Errorf("only %d of %d records came: the topic holds no more, or nothing came for %s", r.Records, c.Records, c.Patience)
	}
	return r, err
}

// EndToEnd sends one record at a time and waits until it is consumed.
type EndToEnd struct {
	Options   []kgo.Opt // both producer's and consumer's
	Topic     string
	Partition int32
	// Records are counted, Warmup records come before them; Duration ends the run earlier.
	Records, Warmup int64
	Duration        time.Duration
	RecordSize      int
	// Interval is the time between the starts of two records; 0 sends the next at once.
	Interval time.Duration
}

// Run measures.
func (e EndToEnd) Run(ctx context.Context) (Result, error) {
	producer, err := kgo.NewClient(append([]kgo.Opt{kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner())}, e.Options...)...)
	if err != nil {
		return Result{}, err
	}
	defer producer.Close()
	value := payloads(1, max(e.RecordSize, 8))[0]
	// The consumer starts at a record that is there: at the end, it would be a race which of the two is first.
	first := &kgo.Record{Topic: e.Topic, Partition: e.Partition, Value: value}
	if err := producer.ProduceSync(ctx, first).FirstErr(); err != nil {
		return Result{}, fmt.Errorf("produce: %w", err)
	}
	at := map[string]map[int32]kgo.Offset{e.Topic: {e.Partition: kgo.NewOffset().At(first.Offset)}}
	consumer, err := kgo.NewClient(append([]kgo.Opt{kgo.FetchMaxWait(500 * time.Millisecond), kgo.FetchMinBytes(1), kgo.ConsumePartitions(at)}, e.Options...)...)
	if err != nil {
		return Result{}, err
	}
	defer consumer.Close()
	m, h := &meter{}, &Histogram{}
	var deadline time.Time
	for n := -e.Warmup - 1; ctx.Err() == nil; n++ {
		if n >= 0 && n >= e.Records && e.Records > 0 || !deadline.IsZero() && time.Now().After(deadline) {
			break
		}
		for i := range 8 {
			value[i] = byte(uint64(n) >> (8 * i))
		}
		start := time.Now()
		if n == 0 {
			m.open(start)
			if e.Duration > 0 {
				deadline = start.Add(e.Duration)
			}
		}
		r := &kgo.Record{Topic: e.Topic, Partition: e.Partition, Value: value}
		if err := producer.ProduceSync(ctx, r).FirstErr(); err != nil {
			return m.result("e2e", e.Topic, 1), fmt.Errorf("produce: %w", err)
		}
		for got := false; !got; {
			fs := consumer.PollFetches(ctx)
			if err := fs.Err(); err != nil && ctx.Err() == nil {
				return m.result("e2e", e.Topic, 1), fmt.Errorf("consume: %w", err)
			}
			if ctx.Err() != nil {
				break
			}
			fs.EachRecord(func(f *kgo.Record) { got = got || f.Offset >= r.Offset })
		}
		if ctx.Err() != nil {
			break
		}
		now := time.Now()
		if n < 0 {
			m.warm.Add(1)
		} else {
			h.Record(now.Sub(start))
			m.records.Add(1)
			m.bytes.Add(int64(len(value)))
			m.last.Store(now.UnixNano())
		}
		if wait := e.Interval - now.Sub(start); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
		}
	}
	r := m.result("e2e", e.Topic, 1)
	if h.Count() > 0 {
		l := h.Summary()
		r.Latency = &l
	}
	return r, nil
}
