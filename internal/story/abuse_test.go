package story

import (
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/moldau-io/moldau/core/security/securitytest"
	"github.com/moldau-io/moldau/internal/servers"
)

// rssBound is what the hub's resident memory may not pass under any of the attacks: its budgets for requests, answers and decoding, with
// what the runtime takes for garbage, and connections at 100 KiB each.
func rssBound(connections int) int64 { return 5<<29 + int64(connections)*100<<10 }

// abused is a hub under attack, with clients that are to notice nothing of it.
type abused struct {
	t        *testing.T
	hub      *Hub
	plain    string // address of the listener without security
	secure   string // of the one with TLS and SASL
	tls      *tls.Config
	bin      string        // the hub's binary, unless it is the ordinary one
	n        int           // size of the attacks
	pause    time.Duration // least length of an attack
	victims  []*victim
	newcomer newcomer
	peak     atomic.Int64 // resident bytes
	table    strings.Builder
}

// TestAbuseDoesNotHurtOtherClients attacks a hub with everything that a peer can send or leave unsent, while two clients produce and consume
// at a steady rate and others come and go: none of them sees an error, and the hub's memory stays bounded.
//
// MOLDAU_ABUSE is the number of connections of each attack (60), and scales what else there is to scale; with 5000 and more each attack
// goes on for 10 seconds or more. MOLDAU_ABUSE_ONLY is a regular expression of the attacks to try.
func TestAbuseDoesNotHurtOtherClients(t *testing.T) {
	a := &abused{t: t, n: abuseSize(t), pause: 1500 * time.Millisecond}
	if a.n >= 5000 {
		a.pause = 10 * time.Second
	}
	a.start("broker.log.cleaner.backoff.ms=200")
	bombs := makeBombs(t)

	a.phase("nothing", func(ctx context.Context) string { <-ctx.Done(); return "" })
	a.phase("slow-loris", a.slowLoris)
	a.phase("frames announced, never sent", a.announcers)
	a.phase("lengths that lie", a.lengths)
	a.phase("bombs to all kinds of topics", func(ctx context.Context) string { return a.bombs(ctx, bombs) })
	a.phase("bombs that pass, at rest", func(context.Context) string { return a.storedBombs(bombs) })
	a.phase("bodies of HTTP requests", a.bodies)
	a.phase("half-open handshakes", a.handshakes)
	a.phase("half-open authentication", a.authentications)
	a.phase("fetches, never read", a.nonReaders)
	a.phase("requests, answers never read", a.pipeliners)
	a.phase("nothing, after all", func(ctx context.Context) string { <-ctx.Done(); return "" })
	a.finish()
}

// TestFloodsAgainstLimitsOfConnections floods a hub that has limits of connections.
func TestFloodsAgainstLimitsOfConnections(t *testing.T) {
	n := abuseSize(t)
	a := &abused{t: t, n: n, pause: time.Second}
	if n >= 5000 {
		a.pause = 10 * time.Second
	}
	perIP := max(min(n/2, 500), 20)
	a.start("broker.max.connections.per.ip="+strconv.Itoa(perIP), "broker.max.connections="+strconv.Itoa(2*perIP))
	a.phase("nothing", func(ctx context.Context) string { <-ctx.Done(); return "" })
	a.phase("more than max.connections.per.ip", func(ctx context.Context) string { return a.flood(ctx, "127.0.0.2") })
	// From more addresses, so many that newcomers must wait for a place: those who are in are served.
	a.newcomer.pause.Store(true)
	a.phase("more than max.connections", func(ctx context.Context) string { return a.flood(ctx, "127.0.0.2", "127.0.0.3", "127.0.0.4") })
	a.newcomer.pause.Store(false)
	a.phase("nothing, after all", func(ctx context.Context) string { <-ctx.Done(); return "" })
	admin := kadm.NewClient(a.victims[0].producer)
	_, err := admin.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.connection.creation.rate", Value: kadm.StringPtr("50")}})
	require.NoError(t, err)
	a.newcomer.pause.Store(true)
	a.phase("more than max.connection.creation.rate", func(ctx context.Context) string { return a.flood(ctx, "127.0.0.2") })
	a.finish()
}

// TestFloodsLeaveFilesToTheLog floods a hub that may have few files open with connections that say nothing: topics are made and written to all the same.
func TestFloodsLeaveFilesToTheLog(t *testing.T) {
	a := &abused{t: t, n: 1000, pause: 3 * time.Second}
	sh := scratch(t, "few-files", "#!/bin/sh\nulimit -n 600\nexec "+hubBinary(t)+" \"$@\"\n")
	require.NoError(t, os.Chmod(sh, 0o755)) //nolint:gosec // it is run
	a.bin = sh
	a.start()
	a.phase("more than open files allow", func(ctx context.Context) string {
		conns, failed := a.open(a.n, func(int) (net.Conn, error) { return abuseDial("", a.plain) })
		defer closeAll(conns)
		admin := kadm.NewClient(a.victims[0].producer)
		const topics = 10
		for i := range topics {
			topic := fmt.Sprint("made-", i)
			_, err := admin.CreateTopic(t.Context(), 4, 1, nil, topic)
			require.NoError(t, err)
			for p := range int32(4) {
				r := &kgo.Record{Topic: topic, Partition: p, Value: []byte("x")}
				require.NoError(t, a.victims[0].producer.ProduceSync(t.Context(), r).FirstErr(), topic)
			}
		}
		<-ctx.Done()
		return fmt.Sprintf("%d connections%s, %d topics made meanwhile", len(conns), because(failed), topics)
	})
	a.finish()
}

func abuseSize(t *testing.T) int {
	n := 60
	if s := os.Getenv("MOLDAU_ABUSE"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	return n
}

const abusePassword = "abuse-secret"

// start starts the hub and its clients.
func (a *abused) start(settings ...string) {
	t := a.t
	ca := securitytest.NewCA(t)
	files := ca.Issue(t, pkix.Name{CommonName: "broker"}).Files(t, t.TempDir(), "PEM")
	a.tls = &tls.Config{RootCAs: ca.Pool()}
	a.secure = fmt.Sprintf("127.0.0.1:%d", servers.FreePort())
	a.hub = startHub(t, func(h *Hub) {
		h.Roles = "broker,controller,registry,connect"
		if a.bin != "" {
			h.Bin = a.bin
		}
		h.Listeners = []string{"SASL_SSL://" + a.secure}
		for k, v := range files {
			h.Set = append(h.Set, "broker."+k+"="+v)
		}
		h.Set = append(h.Set, "broker.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256",
			`broker.listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_abuse="`+abusePassword+`";`)
		h.Set = append(h.Set, settings...)
	})
	a.plain = a.hub.Endpoints.Kafka
	if i := strings.IndexByte(a.plain, ','); i >= 0 {
		a.plain = a.plain[:i]
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	a.victims = []*victim{
		{name: "plain", topic: "victim-plain", opts: []kgo.Opt{kgo.SeedBrokers(a.plain)}},
		{name: "secure", topic: "victim-secure", opts: a.secureClient()},
	}
	for _, v := range a.victims {
		v.start(t)
		wg.Go(func() { v.produce(ctx) })
		wg.Go(func() { v.consume(ctx) })
	}
	wg.Go(func() { a.newcomer.run(ctx, []kgo.Opt{kgo.SeedBrokers(a.plain)}, a.secureClient()) })
	wg.Go(func() { a.watchMemory(ctx) })
	t.Cleanup(func() {
		stop()
		wg.Wait()
		for _, v := range a.victims {
			v.producer.Close()
			v.consumer.Close()
		}
	})
	fmt.Fprintf(&a.table, "%-40s %19s %19s %19s %8s  %s\n", "attack", "plain p50/p99 ms", "secure p50/p99 ms", "newcomer p50/max ms", "RSS MiB", "what was done")
}

func (a *abused) secureClient() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(a.secure), kgo.DialTLSConfig(a.tls), kgo.SASL(plain.Auth{User: "abuse", Pass: abusePassword}.AsMechanism())}
}

// watchMemory keeps the peak of the hub's resident memory.
func (a *abused) watchMemory(ctx context.Context) {
	for ctx.Err() == nil {
		if rss := residentBytes(a.hub.PID()); rss > a.peak.Load() {
			a.peak.Store(rss)
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func residentBytes(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// phase runs one attack, for as long as it takes and at least for a.pause, and notes how the clients fared.
func (a *abused) phase(name string, attack func(ctx context.Context) string) {
	a.t.Helper()
	if only := os.Getenv("MOLDAU_ABUSE_ONLY"); only != "" && !regexp.MustCompile(only).MatchString(name) {
		return
	}
	for _, v := range a.victims {
		v.reset()
	}
	a.newcomer.reset()
	a.peak.Store(0)
	ctx, stop := context.WithTimeout(a.t.Context(), a.pause)
	did := attack(ctx)
	<-ctx.Done()
	stop()
	line := fmt.Sprintf("%-40s", name)
	for _, v := range a.victims {
		p50, p99, _ := v.settle(a.t, name)
		line += fmt.Sprintf(" %19s", fmt.Sprintf("%.1f / %.1f", p50, p99))
	}
	p50, _, worst := a.newcomer.take()
	line += fmt.Sprintf(" %19s %8d  %s", fmt.Sprintf("%.1f / %.1f", p50, worst), a.peak.Load()>>20, did)
	a.table.WriteString(line + "\n")
	a.t.Log(line)
	require.NotZero(a.t, a.hub.PID())
	require.Less(a.t, a.peak.Load(), rssBound(a.n), "%s: the hub's memory", name)
	require.Empty(a.t, a.newcomer.errs(), "%s: clients that came meanwhile", name)
}

func (a *abused) finish() { a.t.Logf("attacks of %d:\n%s", a.n, a.table.String()) }

// samples are latencies, in milliseconds.
type samples struct {
	mu     sync.Mutex
	ms     []float64
	failed []string
}

func (s *samples) add(d time.Duration) {
	s.mu.Lock()
	s.ms = append(s.ms, float64(d)/float64(time.Millisecond))
	s.mu.Unlock()
}

func (s *samples) fail(format string, args ...any) {
	s.mu.Lock()
	s.failed = append(s.failed, fmt.Sprintf(format, args...))
	s.mu.Unlock()
}

func (s *samples) errs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.failed)
}

func (s *samples) reset() {
	s.mu.Lock()
	s.ms = nil
	s.mu.Unlock()
}

func (s *samples) take() (p50, p99, worst float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ms) == 0 {
		return 0, 0, 0
	}
	slices.Sort(s.ms)
	n := len(s.ms)
	return s.ms[n/2], s.ms[min(n-1, n*99/100)], s.ms[n-1]
}

// victim produces 50 records a second and consumes them.
type victim struct {
	name, topic        string
	opts               []kgo.Opt
	producer, consumer *kgo.Client
	samples            // from before Produce until the record is read

	sent, acked, seen atomic.Int64
}

// victimPatience is how long a record may take before the client calls it lost.
const victimPatience = 20 * time.Second

func (v *victim) start(t *testing.T) {
	var err error
	v.producer, err = kgo.NewClient(append([]kgo.Opt{kgo.ProducerLinger(0), kgo.RecordDeliveryTimeout(victimPatience), kgo.ProduceRequestTimeout(10 * time.Second)}, v.opts...)...)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err = kadm.NewClient(v.producer).CreateTopic(ctx, 1, 1, nil, v.topic)
	require.NoError(t, err)
	v.consumer, err = kgo.NewClient(append([]kgo.Opt{kgo.ConsumeTopics(v.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, v.opts...)...)
	require.NoError(t, err)
}

func (v *victim) produce(ctx context.Context) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r := &kgo.Record{Topic: v.topic, Value: binary.BigEndian.AppendUint64(make([]byte, 0, 200), uint64(time.Now().UnixNano()))[:200]}
		v.sent.Add(1)
		v.producer.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil && ctx.Err() == nil {
				v.fail("produce: %v", err)
			}
			v.acked.Add(1)
		})
	}
}

func (v *victim) consume(ctx context.Context) {
	for ctx.Err() == nil {
		fs := v.consumer.PollFetches(ctx)
		fs.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.Canceled) {
				v.fail("fetch: %v", err)
			}
		})
		now := time.Now()
		fs.EachRecord(func(r *kgo.Record) {
			v.add(now.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(r.Value)))))
			v.seen.Add(1)
		})
	}
}

// settle waits until all that was sent is read, and returns the latencies in milliseconds.
func (v *victim) settle(t *testing.T, attack string) (p50, p99, worst float64) {
	t.Helper()
	sent := v.sent.Load()
	require.Eventually(t, func() bool { return v.seen.Load() >= sent }, victimPatience, 10*time.Millisecond, "%s: the client %s misses records", attack, v.name)
	require.Empty(t, v.errs(), "%s: the client %s", attack, v.name)
	p50, p99, worst = v.take()
	return p50, p99, worst
}

// newcomer is clients that come one after the other, on each listener in turn.
type newcomer struct {
	samples
	pause atomic.Bool
}

func (n *newcomer) run(ctx context.Context, listeners ...[]kgo.Opt) {
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
		if n.pause.Load() {
			continue
		}
		began := time.Now()
		err := func() error {
			cl, err := kgo.NewClient(listeners[i%len(listeners)]...)
			if err != nil {
				return err
			}
			defer cl.Close()
			ctx, cancel := context.WithTimeout(ctx, victimPatience)
			defer cancel()
			return cl.Ping(ctx)
		}()
		if err != nil && ctx.Err() == nil && !n.pause.Load() {
			n.fail("%v", err)
		}
		n.add(time.Since(began))
	}
}

// dial connects from an address of the loopback network; the connection is reset when it is closed, so that no port stays taken.
func abuseDial(from, to string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	nc, err := d.Dial("tcp", to)
	if err == nil {
		_ = nc.(*net.TCPConn).SetLinger(0)
	}
	return nc, err
}
