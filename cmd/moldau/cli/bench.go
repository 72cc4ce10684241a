package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/cmd/moldau/clientprops"
	"github.com/moldau-io/moldau/cmd/moldau/measure"
)

func (a *app) benchCommand() *cobra.Command {
	c := noun("bench", "Measure any Kafka cluster: produce, consume, end to end", a.benchProduce(), a.benchConsume(), a.benchE2E())
	c.Long = `Measure any Kafka cluster with a lean client (franz-go, pooled records).

A topic that is not there is created, with --partitions, --replication-factor and --topic-config, and stays unless --delete-topic is given.
MB is 1024*1024 bytes of keys and values, as in Kafka's own perf tools. Latencies are in milliseconds, exact to 0.8 %; at a fixed --throughput they
count from the moment when a record was due.`
	a.clusterFlags(c.PersistentFlags())
	return c
}

// benchTopic are the flags that all benchmarks share.
type benchTopic struct {
	topic       string
	partitions  int32
	replication int16
	configs     []string
	remove      bool
	quiet       bool

	leaders int // the brokers that lead its partitions, once it is ready
}

func (t *benchTopic) flags(c *cobra.Command, a *app) {
	f := c.Flags()
	f.StringVar(&t.topic, "topic", "moldau-bench", "the topic")
	f.Int32Var(&t.partitions, "partitions", 1, "the partitions of a topic that is created")
	f.Int16Var(&t.replication, "replication-factor", -1, "the replicas of a topic that is created")
	f.StringArrayVar(&t.configs, "topic-config", nil, "a configuration of a topic that is created, KEY=VALUE; may be repeated")
	f.BoolVar(&t.remove, "delete-topic", false, "delete the topic at the end")
	f.BoolVar(&t.quiet, "quiet", false, "no progress on stderr")
	complete(c, "topic", a.names(topicNames))
}

// ready makes sure that the topic is there and returns how many partitions it has, and what ends the benchmark.
func (t *benchTopic) ready(c *cobra.Command, a *app, create bool) (int, func(), error) {
	kv, err := keyValues("topic-config", t.configs)
	if err != nil {
		return 0, nil, err
	}
	adm, ctx, done, err := a.admin(c.Context())
	if err != nil {
		return 0, nil, err
	}
	defer done()
	if create {
		cfg := map[string]*string{}
		for k, v := range kv {
			cfg[k] = &v
		}
		_, err := adm.CreateTopic(ctx, t.partitions, t.replication, cfg, t.topic)
		if errors.Is(err, kerr.TopicAlreadyExists) && (c.Flags().Changed("partitions") || len(kv) > 0) && !a.json && !t.quiet {
			fmt.Fprintf(a.Err, "topic %s is there: --partitions and --topic-config do not change it\n", t.topic)
		}
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return 0, nil, fmt.Errorf("create topic %s: %w", t.topic, err)
		}
	}
	var n int
	for {
		l, err := adm.ListTopics(ctx, t.topic)
		if err != nil {
			return 0, nil, fmt.Errorf("describe topic %s: %w", t.topic, err)
		}
		d := l[t.topic]
		n, t.leaders = len(d.Partitions), leaders(d)
		if d.Err == nil && t.leaders > 0 {
			break
		}
		if d.Err != nil && !create {
			return 0, nil, fmt.Errorf("topic %s: %w", t.topic, d.Err)
		}
		select {
		case <-ctx.Done():
			return 0, nil, fmt.Errorf("topic %s has no leaders yet: %w", t.topic, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	end := func() {}
	if t.remove {
		end = func() {
			adm, ctx, done, err := a.admin(context.WithoutCancel(c.Context()))
			if err != nil {
				return
			}
			defer done()
			_, _ = adm.DeleteTopics(ctx, t.topic)
		}
	}
	return n, end, nil
}

// leaders counts the brokers that lead a topic's partitions: 0 while one of them has no leader.
func leaders(d kadm.TopicDetail) int {
	seen := map[int32]bool{}
	for _, p := range d.Partitions {
		if p.Err != nil || p.Leader < 0 {
			return 0
		}
		seen[p.Leader] = true
	}
	return len(seen)
}

func (a *app) benchOptions(conf *clientprops.Config) []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers(conf.Bootstrap...), kgo.ClientID("moldau-bench")}
}

func (a *app) progress(quiet bool) measure.Progress {
	if quiet || a.json {
		return nil
	}
	return func(n, b int64, took time.Duration) {
		fmt.Fprintf(a.Err, "%d records, %.1f records/s, %.2f MB/s\n", n, float64(n)/took.Seconds(), float64(b)/took.Seconds()/(1<<20))
	}
}

// benchReport is the JSON of a benchmark: what was asked for and what came out.
type benchReport struct {
	Bootstrap   []string `json:"bootstrap"`
	RecordSize  int      `json:"record_size,omitempty"`
	Partitions  int      `json:"partitions"`
	Compression string   `json:"compression,omitempty"`
	Acks        string   `json:"acks,omitempty"`
	Throughput  float64  `json:"throughput_target,omitempty"`
	measure.Result
}

func (a *app) benchDone(r benchReport, err error) error {
	if r.Errors > 0 && err == nil {
		err = fmt.Errorf("%d records failed, the first with: %s", r.Errors, r.FirstError)
	}
	if r.Records == 0 && err == nil {
		err = errors.New("no record was counted: the warm-up took the whole run, or it was interrupted")
	}
	if a.json {
		if eerr := a.emitJSON(r); err == nil {
			err = eerr
		}
		return err
	}
	fmt.Fprintf(a.Out, "%d records in %.3f s, %.1f records/s, %.2f MB/s, client CPU %.2f s\n", r.Records, r.Seconds, r.RecordsPerSecond, r.MBPerSecond, r.ClientCPUSeconds)
	if l := r.Latency; l != nil {
		fmt.Fprintf(a.Out, "latency ms: min %.3f, mean %.3f, p50 %.3f, p95 %.3f, p99 %.3f, p99.9 %.3f, max %.3f\n", l.Min, l.Mean, l.P50, l.P95, l.P99, l.P999, l.Max)
	}
	return err
}

func (a *app) benchProduce() *cobra.Command {
	var t benchTopic
	var p measure.Produce
	var acks, compression, payload string
	var linger time.Duration
	var batch int32
	var inflight int
	c := &cobra.Command{
		Use: "produce", Short: "Measure producing: throughput and latency", Args: cobra.NoArgs,
		Example: `  moldau bench produce --records 1000000 --record-size 1024 --partitions 16
  moldau bench produce --duration 30s --warmup 10s --throughput 50000 --json`,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := a.properties()
			if err != nil {
				return err
			}
			if p.RecordSize < 0 || p.RecordSize > maxLine || p.KeySize < 0 || p.KeySize > 1<<20 {
				return usagef("", "--record-size must be 0 to %d and --key-size 0 to %d", maxLine, 1<<20)
			}
			if p.Records <= 0 && p.Duration <= 0 {
				return usagef("give --records N or --duration 30s", "the benchmark has no end")
			}
			if p.Clients < 1 || p.Clients > 1000 {
				return usagef("", "--clients must be 1 to 1000")
			}
			if payload != "" {
				b, err := os.ReadFile(payload)
				if err != nil {
					return usage(fmt.Errorf("--payload-file: %w", err), "")
				}
				for l := range strings.SplitSeq(strings.TrimRight(string(b), "\n"), "\n") {
					p.Payloads = append(p.Payloads, []byte(l))
				}
			}
			o, err := tuning(acks, compression)
			if err != nil {
				return err
			}
			n, end, err := t.ready(c, a, true)
			if err != nil {
				return err
			}
			defer end()
			p.Options = append(a.benchOptions(conf), kgo.ProducerBatchMaxBytes(batch), kgo.ProducerLinger(linger))
			if inflight > 0 {
				p.Options = append(p.Options, kgo.MaxProduceRequestsInflightPerBroker(inflight))
			}
			if p.KeySize == 0 {
				p.Options = append(p.Options, kgo.RecordPartitioner(kgo.UniformBytesPartitioner(max(int(batch), 64<<10), true, true, nil)))
			}
			p.Options = append(append(p.Options, conf.ProducerOptions()...), o...)
			p.Topic, p.Partitions, p.Progress = t.topic, n, a.progress(t.quiet)
			defer tuneProducer()()
			r, err := p.Run(c.Context())
			return a.benchDone(benchReport{Bootstrap: conf.Bootstrap, RecordSize: p.RecordSize, Partitions: n, Compression: compression, Acks: acks, Throughput: p.Throughput, Result: r}, err)
		},
	}
	t.flags(c, a)
	f := c.Flags()
	f.Int64Var(&p.Records, "records", 0, "end after so many counted records")
	f.DurationVar(&p.Duration, "duration", 0, "end so long after the warm-up")
	f.DurationVar(&p.Warmup, "warmup", 0, "send for so long before records count")
	f.IntVar(&p.RecordSize, "record-size", 1024, "bytes of a value")
	f.IntVar(&p.KeySize, "key-size", 0, "bytes of a key; 0 sends none")
	f.StringVar(&payload, "payload-file", "", "a file whose lines are the values, in turn")
	f.Float64Var(&p.Throughput, "throughput", 0, "records a second over all clients; 0 is as fast as it goes")
	f.IntVar(&p.Clients, "clients", 1, "clients, each with connections of its own")
	f.StringVar(&acks, "acks", "all", "all, 1 or 0")
	f.StringVar(&compression, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	f.DurationVar(&linger, "linger", 5*time.Millisecond, "how long a batch waits to be filled")
	f.Int32Var(&batch, "batch-size", 1<<20, "the largest batch in bytes")
	f.IntVar(&inflight, "inflight", 0, "produce requests on their way per broker; 0 is the client's default")
	complete(c, "acks", fixed("all", "1", "0"))
	complete(c, "compression", fixed("none", "gzip", "snappy", "lz4", "zstd"))
	return c
}

func (a *app) benchConsume() *cobra.Command {
	var t benchTopic
	var m measure.Consume
	var isolation string
	var fetch int32
	c := &cobra.Command{
		Use: "consume", Short: "Measure consuming a topic from its start", Args: cobra.NoArgs,
		Example: `  moldau bench consume --topic moldau-bench --records 1000000`,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := a.properties()
			if err != nil {
				return err
			}
			iso, err := clientprops.Isolation(isolation)
			if err != nil {
				return usage(fmt.Errorf("--isolation: %w", err), "")
			}
			n, end, err := t.ready(c, a, false)
			if err != nil {
				return err
			}
			defer end()
			m.Options = append(a.benchOptions(conf), kgo.FetchMaxBytes(max(fetch, 50<<20)), kgo.FetchMaxPartitionBytes(fetch))
			m.Options = append(append(m.Options, iso...), conf.ConsumerOptions()...)
			m.Topic, m.Partitions, m.Progress = t.topic, n, a.progress(t.quiet)
			defer tuneConsumer(min(max(m.Clients, 1)*t.leaders, n))()
			r, err := m.Run(c.Context())
			return a.benchDone(benchReport{Bootstrap: conf.Bootstrap, Partitions: n, Result: r}, err)
		},
	}
	t.flags(c, a)
	f := c.Flags()
	f.Int64Var(&m.Records, "records", 0, "end after so many; 0 reads until nothing comes for --idle")
	f.DurationVar(&m.Duration, "duration", 0, "end after so long")
	f.DurationVar(&m.Patience, "idle", 10*time.Second, "end when nothing came for so long")
	f.IntVar(&m.Clients, "clients", 1, "clients that share the partitions")
	f.StringVar(&isolation, "isolation", "read_uncommitted", "read_committed or read_uncommitted")
	f.Int32Var(&fetch, "fetch-size", 1<<20, "bytes of one partition in one fetch")
	return c
}

func (a *app) benchE2E() *cobra.Command {
	var t benchTopic
	var e measure.EndToEnd
	var acks, compression string
	c := &cobra.Command{
		Use: "e2e", Short: "Measure one record at a time from its send to its arrival at a consumer", Args: cobra.NoArgs,
		Example: `  moldau bench e2e --records 10000 --record-size 100 --acks all`,
		RunE: func(c *cobra.Command, _ []string) error {
			conf, err := a.properties()
			if err != nil {
				return err
			}
			if e.Records <= 0 && e.Duration <= 0 {
				return usagef("give --records N or --duration 30s", "the benchmark has no end")
			}
			if acks == "0" {
				return usagef("give all or 1", "--acks 0 has no offset to wait for")
			}
			if e.RecordSize < 8 || e.RecordSize > maxLine {
				return usagef("", "--record-size must be 8 to %d", maxLine)
			}
			o, err := tuning(acks, compression)
			if err != nil {
				return err
			}
			n, end, err := t.ready(c, a, true)
			if err != nil {
				return err
			}
			defer end()
			e.Topic = t.topic
			e.Options = append(append(a.benchOptions(conf), conf.ProducerOptions()...), append(conf.ConsumerOptions(), o...)...)
			defer tuneProducer()()
			r, err := e.Run(c.Context())
			return a.benchDone(benchReport{Bootstrap: conf.Bootstrap, RecordSize: e.RecordSize, Partitions: n, Compression: compression, Acks: acks, Result: r}, err)
		},
	}
	t.flags(c, a)
	f := c.Flags()
	f.Int64Var(&e.Records, "records", 10000, "end after so many counted records; 0 leaves it to --duration")
	f.Int64Var(&e.Warmup, "warmup-records", 500, "records before those that count")
	f.DurationVar(&e.Duration, "duration", 0, "end so long after the warm-up")
	f.DurationVar(&e.Interval, "interval", 0, "time between two records; 0 sends the next when one arrived")
	f.IntVar(&e.RecordSize, "record-size", 100, "bytes of a value")
	f.Int32Var(&e.Partition, "partition", 0, "the partition")
	f.StringVar(&acks, "acks", "all", "all or 1")
	f.StringVar(&compression, "compression", "none", "none, gzip, snappy, lz4 or zstd")
	return c
}
