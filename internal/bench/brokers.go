package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/moldau-io/moldau/internal/servers"
)

// side is a broker in one mode of durability.
type side struct {
	system, mode, bootstrap string
	pid                     int
	config                  map[string]*string // of the topics
	slow                    bool               // one fsync a batch: a tenth of the records
	synced                  bool               // all topics are, without a config of theirs
}

// cell is a kind of load.
type cell struct {
	size       int
	partitions int32
	codec      string
}

func (c cell) String() string {
	size := fmt.Sprintf("%d B", c.size)
	if c.size == 1024 {
		size = "1 KiB"
	}
	s := fmt.Sprintf("%s, %d partition", size, c.partitions)
	if c.partitions > 1 {
		s += "s"
	}
	return s + ", " + strings.Replace(c.codec, "none", "plain", 1)
}

// brokers measures the hub as a log beside Apache Kafka: Kafka's own perf tools and a lean client, sizes, partitions, codecs, the broker's
// CPU, latency at a fixed rate, end to end, memory. Systems take turns within each measurement, in an
// order drawn anew each time, for what a machine gives depends on what it did just before.
func (b *bench) brokers(ctx context.Context) error {
	tools, err := servers.FetchKafka(ctx)
	if err != nil {
		return err
	}
	kafka, err := servers.StartKafka(ctx, filepath.Join(b.dir, "kafka"), "log.segment.delete.delay.ms=0")
	if err != nil {
		return err
	}
	b.keep(kafka.Process)
	one := "1"
	var sides []side
	for _, mode := range []string{"fsync", "os"} {
		h, err := b.hub(ctx, "hub-"+mode, "broker.log.durability="+mode, "broker.log.segment.delete.delay.ms=0", "broker.log.retention.check.interval.ms=500")
		if err != nil {
			return err
		}
		name := map[string]string{"fsync": "fsync before ack", "os": "os (no fsync)"}[mode]
		sides = append(sides, side{system: "moldau", mode: name, bootstrap: h.Endpoints.Kafka, pid: h.PID(), synced: mode == "fsync"})
	}
	sides = append(sides,
		side{system: kafkaName, mode: "no fsync (default)", bootstrap: kafka.Bootstrap, pid: kafka.PID()},
		side{system: kafkaName, mode: "flush.messages=1", bootstrap: kafka.Bootstrap, pid: kafka.PID(), config: map[string]*string{"flush.messages": &one}, slow: true})
	memory, err := newMemory(b.dir)
	if err != nil {
		return err
	}
	defer memory.close()
	m := &matrix{b: b, tools: tools, memory: memory}
	step("warming up")
	for _, s := range sides[:3] {
		for range 2 {
			if err := m.lean(ctx, s, cell{1024, 4, "none"}, true); err != nil {
				return err
			}
			if err := m.java(ctx, s, cell{1024, 4, "none"}, 0, true); err != nil {
				return err
			}
		}
	}
	order := rand.New(rand.NewPCG(1, 1)) // the same in each run of the program
	for round := range b.runs {
		turn := func(f func(side) error) error {
			for _, i := range order.Perm(len(sides)) {
				if err := f(sides[i]); err != nil {
					return err
				}
			}
			return nil
		}
		for _, size := range []int{1024, 100} {
			for _, partitions := range []int32{1, 16} {
				for _, codec := range []string{"none", "lz4", "zstd"} {
					c := cell{size, partitions, codec}
					if b.cells != nil && !b.cells.MatchString(c.String()) {
						continue
					}
					step("round %d: %s", round+1, c)
					plain := size == 1024 && codec == "none"
					for _, run := range []struct {
						part string
						of   bool
						f    func(side) error
					}{
						{"lean", true, func(s side) error { return m.lean(ctx, s, c, false) }},
						{"java", true, func(s side) error { return m.java(ctx, s, c, 0, false) }},
						{"java", plain, func(s side) error { return m.java(ctx, s, c, 256<<10, false) }},
						{"fixed", plain, func(s side) error { return m.fixed(ctx, s, c) }},
					} {
						if run.of && (b.only == "" || b.only == run.part) {
							if err := turn(run.f); err != nil {
								return err
							}
						}
					}
				}
			}
		}
		step("round %d: end to end", round+1)
		if err := turn(func(s side) error { return m.endToEnd(ctx, s) }); err != nil {
			return err
		}
		if b.only == "" || b.only == "fixed" {
			step("round %d: a synced topic beside one that is not", round+1)
			if err := turn(func(s side) error { return m.beside(ctx, s) }); err != nil {
				return err
			}
		}
	}
	for _, s := range sides[:3] {
		b.rep.add("resident memory after the loads", s.system, s.mode, "MB", rss(s.pid))
	}
	return nil
}

// matrix runs single measurements.
type matrix struct {
	b      *bench
	tools  *servers.KafkaTools
	memory memory
}

// removalTime is how long a broker may take to remove the files of a deleted topic.
const removalTime = 2 * time.Minute

// newTopic makes a topic for a measurement when those of earlier ones are gone from the disk: whoever syncs would wait for the removal of their
// files. No broker waits with that here, where their default is a minute.
func (m *matrix) newTopic(ctx context.Context, s side, topic string, partitions int32) (remove func(), err error) {
	for began := time.Now(); ; {
		var left []string
		for _, depth := range []string{"*", "*/*", "*/*/*"} {
			more, err := filepath.Glob(filepath.Join(m.b.dir, depth, "*-delete"))
			if err != nil {
				return nil, err
			}
			left = append(left, more...)
		}
		if len(left) == 0 {
			return newTopic(ctx, s.bootstrap, topic, partitions, s.config)
		}
		if time.Since(began) > removalTime {
			return nil, fmt.Errorf("%s of a deleted topic is still there after %s", left[0], removalTime)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// records is how many a run of the Java client has: -mb of values, but no more than two million.
func (m *matrix) records(s side, c cell) int { return records(s, c, m.b.produceMB, 2_000_000) }

// leanRecords is how many a run of the lean client has: five times as many, for it takes a fifth of the time.
func (m *matrix) leanRecords(s side, c cell) int { return records(s, c, 5*m.b.produceMB, 5_000_000) }

func records(s side, c cell, mb, limit int) int {
	n := min(mb<<20/c.size, limit)
	if s.slow {
		n /= 8
	}
	return n
}

// cpu returns the CPU seconds of a process so far.
func cpu(pid int) float64 {
	stat := read(fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100 // ticks of USER_HZ
}

// add notes a rate and the broker's CPU for it; quiet notes nothing.
func (m *matrix) add(quiet bool, what string, s side, bytes, mbs, cpuSeconds float64) {
	if quiet {
		return
	}
	m.b.rep.add(what, s.system, s.mode, "MB/s", mbs)
	m.b.rep.add(what+", broker CPU", s.system, s.mode, "s/GiB", cpuSeconds/(bytes/(1<<30)))
}

type leanResult struct {
	Bytes     float64 `json:"bytes"`
	Seconds   float64 `json:"seconds"`
	ClientCPU float64 `json:"client_cpu_seconds"`
	Latency   struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
	} `json:"latency_ms"`
}

// moldau runs "moldau bench OPERATION" in a process of its own.
func (m *matrix) moldau(ctx context.Context, operation string, s side, args ...string) (r leanResult, err error) {
	cmd := exec.CommandContext(ctx, m.b.bin, append([]string{"bench", operation, "--json", "--quiet", "--bootstrap-server", s.bootstrap}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err == nil && r.Seconds == 0 {
		err = fmt.Errorf("no figures in %s", out)
	}
	if err != nil {
		return r, fmt.Errorf("moldau bench %s: %w\n%s", operation, err, stderr.Bytes())
	}
	return r, nil
}

// leanConsumes is how many times the lean client reads all: once takes about a second.
const leanConsumes = 3

// lean measures with the lean client: produce all, then consume all.
func (m *matrix) lean(ctx context.Context, s side, c cell, quiet bool) error {
	topic := m.b.unique("lean")
	remove, err := m.newTopic(ctx, s, topic, c.partitions)
	if err != nil {
		return err
	}
	defer remove()
	records := m.leanRecords(s, c)
	n := strconv.Itoa(records)
	if err := m.memory.ready(); err != nil {
		return err
	}
	add := func(what string, r leanResult, broker float64) {
		what += ", " + c.String() + ", lean client"
		m.add(quiet, what, s, r.Bytes, r.Bytes/1e6/r.Seconds, broker)
		if !quiet {
			m.b.rep.add(what+", client CPU", s.system, s.mode, "s/GiB", r.ClientCPU/(r.Bytes/(1<<30)))
		}
	}
	before := cpu(s.pid)
	r, err := m.moldau(ctx, "produce", s, "--topic", topic, "--records", n, "--record-size", strconv.Itoa(c.size), "--compression", c.codec)
	if err != nil {
		return err
	}
	add("produce", r, cpu(s.pid)-before)
	if s.slow { // reading is the same as in the other mode
		return nil
	}
	syscall.Sync()
	for range leanConsumes {
		before = cpu(s.pid)
		if r, err = m.moldau(ctx, "consume", s, "--topic", topic, "--records", n); err != nil {
			return err
		}
		add("consume", r, cpu(s.pid)-before)
	}
	return nil
}

// java measures with Kafka's own perf tools: the producer's defaults, or batches of batch bytes. The first half of what is produced warms the
// client up and is not in the rate: until it has compiled itself it is slower than any broker. It is in the broker's CPU.
func (m *matrix) java(ctx context.Context, s side, c cell, batch int, quiet bool) error {
	topic := m.b.unique("perf")
	remove, err := m.newTopic(ctx, s, topic, c.partitions)
	if err != nil {
		return err
	}
	defer remove()
	n := m.records(s, c)
	if s.slow {
		n /= 2
	}
	all := 2 * n
	if err := m.memory.ready(); err != nil {
		return err
	}
	what := c.String() + ", Java client"
	props := []string{"compression.type=" + c.codec}
	if batch > 0 {
		what += fmt.Sprintf(", batch.size=%d", batch)
		props = append(props, fmt.Sprintf("batch.size=%d", batch))
	}
	before := cpu(s.pid)
	mbs, _, err := producerPerformance(ctx, m.tools, s.bootstrap, topic, []string{"--num-records", strconv.Itoa(all), "--warmup-records", strconv.Itoa(n),
		"--record-size", strconv.Itoa(c.size), "--throughput", "-1"}, props...)
	if err != nil {
		return err
	}
	size := float64(all) * float64(c.size)
	m.add(quiet, "produce, "+what, s, size, mbs, cpu(s.pid)-before)
	if s.slow || batch > 0 {
		return nil
	}
	before = cpu(s.pid)
	if mbs, err = consumerPerformance(ctx, m.tools, s.bootstrap, topic, all); err != nil {
		return err
	}
	m.add(quiet, "consume, "+what, s, size, mbs, cpu(s.pid)-before)
	return nil
}

// fixed measures latency at 50 MB/s, after a warm-up, with both clients. The Java client does not reach the rate in its first seconds, for it is not compiled, and
// sends what is late by then as fast as it goes: the warm-up must be long enough for that, 10 s were not.
func (m *matrix) fixed(ctx context.Context, s side, c cell) error {
	if s.slow { // it does not reach the rate
		return nil
	}
	const rate, warm, counted = 50_000_000 / 1024, 25, 15 // records a second, seconds, seconds
	what := "50 MB/s, " + c.String() + ", "
	topic := m.b.unique("fixed")
	remove, err := m.newTopic(ctx, s, topic, c.partitions)
	if err != nil {
		return err
	}
	defer remove()
	if err := m.memory.ready(); err != nil {
		return err
	}
	args := []string{"--num-records", strconv.Itoa(rate * (warm + counted)), "--warmup-records", strconv.Itoa(rate * warm), "--record-size", strconv.Itoa(c.size), "--throughput", strconv.Itoa(rate)}
	_, p99, err := producerPerformance(ctx, m.tools, s.bootstrap, topic, args)
	if err != nil {
		return err
	}
	m.b.rep.add(what+"Java client, p99", s.system, s.mode, "ms", p99)
	if err := m.memory.ready(); err != nil {
		return err
	}
	// Without acknowledgement nothing is waited for but the client: what it shows then is in every figure above.
	if _, p99, err = producerPerformance(ctx, m.tools, s.bootstrap, topic, args, "acks=0"); err != nil {
		return err
	}
	m.b.rep.add(what+"Java client, acks=0, p99", s.system, s.mode, "ms", p99)
	if err := m.memory.ready(); err != nil {
		return err
	}
	r, err := m.moldau(ctx, "produce", s, "--topic", topic, "--warmup", "3s", "--duration", "10s", "--record-size", strconv.Itoa(c.size), "--throughput", strconv.Itoa(rate))
	if err != nil {
		return err
	}
	m.b.rep.add(what+"lean client, p99", s.system, s.mode, "ms", r.Latency.P99)
	return nil
}

// beside measures a topic of which each acknowledgement waits for a sync, 5 MB/s, while another one, which nobody wants synced, takes 244 MB/s: its full segments
// go to the same disk.
func (m *matrix) beside(ctx context.Context, s side) error {
	if s.slow || s.synced { // the other topic would be synced as well
		return nil
	}
	one, loud, quiet := "1", m.b.unique("loud"), m.b.unique("quiet")
	remove, err := m.newTopic(ctx, s, loud, 1)
	if err != nil {
		return err
	}
	defer remove()
	s.config = map[string]*string{"flush.messages": &one}
	if remove, err = m.newTopic(ctx, s, quiet, 1); err != nil {
		return err
	}
	defer remove()
	if err := m.memory.ready(); err != nil {
		return err
	}
	var r leanResult
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		_, err := m.moldau(ctx, "produce", s, "--topic", loud, "--duration", "16s", "--record-size", "1024", "--throughput", "238281")
		return err
	})
	g.Go(func() (err error) {
		r, err = m.moldau(ctx, "produce", s, "--topic", quiet, "--warmup", "2s", "--duration", "12s", "--record-size", "1024", "--batch-size", "16384", "--throughput", "4883")
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	m.b.rep.add("5 MB/s with flush.messages=1 beside 244 MB/s without, 1 KiB, 1 partition each, lean client, p99", s.system, s.mode, "ms", r.Latency.P99)
	return nil
}

// endToEnd measures one record at a time.
func (m *matrix) endToEnd(ctx context.Context, s side) error {
	topic := m.b.unique("e2e")
	remove, err := m.newTopic(ctx, s, topic, 1)
	if err != nil {
		return err
	}
	defer remove()
	r, err := m.moldau(ctx, "e2e", s, "--topic", topic, "--records", "5000", "--record-size", "1024")
	if err != nil {
		return err
	}
	m.b.rep.add("one record end to end, lean client, p50", s.system, s.mode, "ms", r.Latency.P50)
	m.b.rep.add("one record end to end, lean client, p99", s.system, s.mode, "ms", r.Latency.P99)
	return nil
}

// runBrokers is the run of -brokers.
func (b *bench) runBrokers(ctx context.Context) error {
	began := time.Now()
	err := b.brokers(ctx)
	if err != nil && len(b.rep.rows) == 0 {
		return err
	}
	head := fmt.Sprintf("%s: %s. %d round(s), %d MiB for each run; took %.0f s.\n", time.Now().UTC().Format("2006-01-02"), machine(), b.runs, b.produceMB, time.Since(began).Seconds())
	text := b.rep.pivot(head)
	fmt.Print(text)
	if b.out != "" {
		if werr := os.WriteFile(b.out, []byte(text), 0o644); err == nil {
			err = werr
		}
	}
	return err
}
