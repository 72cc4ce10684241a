// Command bench measures the hub beside the systems that it replaces: Apache Kafka, and Kafka Connect with Debezium's connectors. All
// of it happens in one run on one machine, the systems take turns, and medians come out as a Markdown table.
//
//	main.go      the steps, in order
//	starts.go    start times and idle memory
//	logs.go      producing and consuming
//	brokers.go   the log alone, in depth: -brokers
//	capture.go   snapshot and stream of databases
//	sinks.go     object store and index
//	memory.go    memory that the host has taken back: hold.go keeps it, or the page cache is filled
//	report.go    the table
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/internal/story"
)

type bench struct {
	bin, dir, out         string
	runs, rows, produceMB int
	quick, skipLogs       bool
	onlyBrokers           bool
	only                  string         // part of -brokers
	cells                 *regexp.Regexp // of the loads of -brokers; nil: all
	rep                   report
	names                 int
	procs                 []*servers.Process
	hubs                  []*story.Hub
}

func main() {
	b := &bench{}
	flag.StringVar(&b.bin, "bin", "bin/moldau", "the hub's binary")
	flag.StringVar(&b.out, "out", "", "a file for the table, next to standard output")
	flag.IntVar(&b.runs, "runs", 3, "how often each measurement is repeated")
	flag.IntVar(&b.rows, "rows", 200_000, "rows of each snapshot and changes of each stream, a multiple of 5000")
	flag.IntVar(&b.produceMB, "mb", 256, "MiB of each produce run")
	flag.BoolVar(&b.quick, "quick", false, "5000 rows, 16 MiB, one run: to see that it works, its figures mean nothing")
	flag.BoolVar(&b.skipLogs, "skip-logs", false, "leave out producing and consuming")
	flag.BoolVar(&b.onlyBrokers, "brokers", false, "only the log beside Apache Kafka, in depth")
	flag.StringVar(&b.only, "only", "", "with -brokers: lean (the lean client), java (Kafka's own perf tools) or fixed (latency at a fixed rate) alone")
	cells := flag.String("cells", "", "with -brokers: a regular expression for the loads, as in '1 KiB, 1 partition, (plain|lz4)'")
	flag.Parse()
	if *cells != "" {
		var err error
		if b.cells, err = regexp.Compile(*cells); err != nil {
			fmt.Fprintln(os.Stderr, "bench: -cells:", err)
			os.Exit(2)
		}
	}
	if b.quick {
		b.runs, b.rows, b.produceMB = 1, 5000, 16
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := b.run(ctx)
	cancel()
	b.cleanUp()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func step(format string, args ...any) { fmt.Fprintf(os.Stderr, "== "+format+"\n", args...) }

// unique returns a name that this run has not used; it is fit for topics, slots and buckets.
func (b *bench) unique(prefix string) string {
	b.names++
	return fmt.Sprintf("%s%d", prefix, b.names)
}

func (b *bench) flushSize() int { return min(10_000, b.rows/5) }

func (b *bench) run(ctx context.Context) (err error) {
	if b.rows < 5000 || b.rows%5000 != 0 || b.runs < 1 || b.produceMB < 1 {
		return errors.New("-rows is a multiple of 5000, -runs and -mb at least 1")
	}
	if !slices.Contains([]string{"", "lean", "java", "fixed"}, b.only) {
		return fmt.Errorf("-only=%s: it is lean, java or fixed", b.only)
	}
	if os.Getenv(servers.EnvKafka) != "" {
		return fmt.Errorf("unset %s: the peer is measured in a process of its own on this machine", servers.EnvKafka)
	}
	began := time.Now()
	servers.Progress = os.Stderr
	if b.dir, err = os.MkdirTemp("", "moldau-bench-"); err != nil {
		return err
	}
	if err := os.Chmod(b.dir, 0o755); err != nil { // servers run as another user must reach their folder
		return err
	}
	if b.bin, err = filepath.Abs(b.bin); err != nil {
		return err
	}
	if b.onlyBrokers {
		return b.runBrokers(ctx)
	}
	step("start times and idle memory")
	kafka, connect, err := b.starts(ctx)
	if err != nil {
		return err
	}
	hubs := map[string]*story.Hub{}
	for _, mode := range []string{"fsync", "os"} {
		if hubs[mode], err = b.hub(ctx, "hub-"+mode, "broker.log.durability="+mode); err != nil {
			return err
		}
	}
	step("producing and consuming, %d MiB", b.produceMB)
	one := "1"
	brokers := []broker{
		{system: "moldau", mode: "fsync before ack", bootstrap: hubs["fsync"].Endpoints.Kafka},
		{system: kafkaName, mode: "no fsync (default)", bootstrap: kafka.Bootstrap},
		{system: "moldau", mode: "os (no fsync)", bootstrap: hubs["os"].Endpoints.Kafka},
		{system: kafkaName, mode: "flush.messages=1, short run", bootstrap: kafka.Bootstrap, topicConfig: map[string]*string{"flush.messages": &one}, short: true},
	}
	if err := b.warmUp(ctx, brokers); err != nil {
		return err
	}
	for range b.runs {
		if b.skipLogs {
			break
		}
		if err := b.logRound(ctx, brokers); err != nil {
			return err
		}
	}
	if err := hubs["os"].Stop(); err != nil {
		return err
	}
	if err := b.pipelines(ctx, hubs["fsync"], kafka, connect); err != nil {
		return err
	}
	b.rep.add("resident memory after the loads", "moldau", "all roles, one process", "MB", rss(hubs["fsync"].PID()))
	b.rep.add("resident memory after the loads", kafkaName, "-Xmx1g", "MB", rss(kafka.PID()))
	b.rep.add("resident memory after the loads", connectName, "-Xmx2g", "MB", rss(connect.PID()))

	head := fmt.Sprintf("%s: %s. %d run(s), %d rows, %d MiB for each produce run; took %.0f s.\n", time.Now().UTC().Format("2006-01-02"), machine(),
		b.runs, b.rows, b.produceMB, time.Since(began).Seconds())
	text := b.rep.markdown(head)
	fmt.Print(text)
	if b.out != "" {
		return os.WriteFile(b.out, []byte(text), 0o644)
	}
	return nil
}

// pipelines measures the databases' capture and the sinks.
func (b *bench) pipelines(ctx context.Context, hub *story.Hub, kafka *servers.Kafka, connect *servers.Connect) error {
	json := map[string]string{
		"key.converter": "org.apache.kafka.connect.json.JsonConverter", "key.converter.schemas.enable": "false",
		"value.converter": "org.apache.kafka.connect.json.JsonConverter", "value.converter.schemas.enable": "false",
	}
	workers := []worker{
		{system: "moldau", mode: "JSON, fsync", rest: hub.Endpoints.Connect, bootstrap: hub.Endpoints.Kafka, config: json},
		{system: connectName, mode: "JSON, no fsync", rest: connect.URL, bootstrap: kafka.Bootstrap, config: json},
		// Last, as its topic is what the sinks read.
		{system: "moldau", mode: "Avro and registry, fsync", rest: hub.Endpoints.Connect, bootstrap: hub.Endpoints.Kafka},
	}
	step("starting databases, object store and index")
	pg, err := servers.StartPostgres(ctx, filepath.Join(b.dir, "postgres"))
	if err != nil {
		return err
	}
	b.keep(pg.Process)
	fromPG, err := postgresSource(ctx, pg)
	if err != nil {
		return err
	}
	sources := []*source{fromPG}
	if my, err := servers.StartMySQL(ctx, filepath.Join(b.dir, "mysql")); err != nil {
		b.rep.gap("MySQL cannot be had: %v", err)
	} else {
		b.keep(my.Process)
		fromMySQL, err := mysqlSource(ctx, my)
		if err != nil {
			return err
		}
		sources = append(sources, fromMySQL)
	}
	store, err := servers.StartS3(ctx, filepath.Join(b.dir, "s3"))
	if err != nil {
		b.rep.gap("an S3 server cannot be had: %v", err)
	} else {
		b.keep(store.Process)
	}

	step("capturing databases, %d rows of snapshot and %d changes of stream", b.rows, b.rows)
	var filled string // a topic of 2*rows events in Avro
	for range b.runs {
		for _, s := range sources {
			for _, w := range workers {
				topic, err := b.capture(ctx, s, w)
				if err := ctx.Err(); err != nil {
					return err
				}
				if err != nil { // the others are worth measuring all the same
					b.rep.gap("%s through %s (%s): %v", s.name, w.system, w.mode, err)
					continue
				}
				if s == fromPG && w.config == nil && topic != "" {
					filled = topic
				}
			}
		}
	}
	for _, s := range sources {
		b.rep.note(s.name+" stream", connectName, "Avro", "no Avro converter to be had from the registries")
	}

	if filled == "" {
		b.rep.gap("the sinks: no topic could be filled for them")
		return nil
	}
	step("sinks, %d events", 2*b.rows)
	search, err := servers.StartOpenSearch(ctx, filepath.Join(b.dir, "opensearch"))
	if err != nil {
		b.rep.gap("OpenSearch cannot be had: %v", err)
	} else {
		b.keep(search.Process)
	}
	for range b.runs {
		if store != nil {
			for _, f := range [][2]string{{"parquet.ParquetFormat", "Avro to Parquet"}, {"avro.AvroFormat", "Avro to Avro"}} {
				if err := b.toS3(ctx, hub, store, filled, "io.confluent.connect.s3.format."+f[0], f[1], 2*b.rows); err != nil {
					return err
				}
			}
		}
		if search != nil {
			if err := b.toIndex(ctx, hub, search, filled, "Avro, unwrapped, _bulk", 2*b.rows); err != nil {
				return err
			}
		}
	}
	if store != nil {
		b.rep.note("S3 sink, POST to last object", "Confluent's sink", "", noPeer)
	}
	if search != nil {
		b.rep.note("Elasticsearch sink ("+search.Product+" "+search.Version+"), POST to last document", "Confluent's sink", "", noPeer)
	}
	return nil
}

func (b *bench) keep(p *servers.Process) {
	if p != nil {
		b.procs = append(b.procs, p)
	}
}

func (b *bench) cleanUp() {
	for _, h := range b.hubs {
		if err := h.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "bench: stop the hub:", err)
		}
	}
	for i := range b.procs {
		_ = b.procs[len(b.procs)-1-i].Stop()
	}
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}
