// Command compat runs other projects' own test suites against the hub and against Apache Kafka, and writes the results side by side:
// the integration tests of franz-go's client (kgo) and the broker tests of librdkafka. Neither suite is part of this repository; both
// are fetched from their registries (the Go module proxy, npm) in the versions named here.
//
//	compat -bin bin/moldau [-on moldau,kafka] [-suites kgo,librdkafka,...] [-tests REGEXP] [-report docs/compatibility.md]
//
// Results are kept in -dir, one file for each suite and broker, so that a part can be run again and the report made from all:
// with -tests, only what was run is replaced. It ends with 1 when a test of kgo fails on the hub, or one of librdkafka does that passes
// on Apache Kafka.
//
//	main.go         what to run, in order
//	brokers.go      the brokers under test
//	kgo.go          franz-go's tests
//	librdkafka.go   librdkafka's tests
//	report.go       results, the table, the page
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
	"strings"
	"syscall"
	"time"

	"github.com/moldau-io/moldau/internal/servers"
)

var suiteNames = []string{"kgo", "librdkafka", "librdkafka-noautocreate", "librdkafka-kip848"}

// options is what the command line says.
type options struct {
	bin, dir, report string
	on, suites       []string
	tests            *regexp.Regexp // nil: all
	runs, workers    int
}

// suite is one project's tests.
type suite interface {
	// prepare fetches and builds.
	prepare(ctx context.Context) error
	// settings are broker properties that the suite expects.
	settings() []string
	// run runs the tests that opt names on a broker and tells each result as it comes.
	run(ctx context.Context, opt options, b *broker, tell func(result)) error
}

func main() {
	var opt options
	var on, suites, tests string
	flag.StringVar(&opt.bin, "bin", "bin/moldau", "the hub's binary")
	flag.StringVar(&opt.dir, "dir", "bin/compat", "where results and logs go")
	flag.StringVar(&opt.report, "report", "", "the page to write; none when empty")
	flag.StringVar(&on, "on", "kafka,moldau", "brokers to run on")
	flag.StringVar(&suites, "suites", strings.Join(suiteNames, ","), "suites to run; none makes the report only")
	flag.StringVar(&tests, "tests", "", "run only tests whose name matches this regular expression")
	flag.IntVar(&opt.runs, "runs", 2, "how often kgo's tests run, one after the other, on the same broker")
	flag.IntVar(&opt.workers, "workers", 2, "how many of librdkafka's tests run at once")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := func() (err error) {
		opt.on, opt.suites = list(on), list(suites)
		if tests != "" {
			if opt.tests, err = regexp.Compile(tests); err != nil {
				return fmt.Errorf("-tests: %w", err)
			}
		}
		return runAll(ctx, opt)
	}()
	cancel()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
		os.Exit(1)
	}
}

func list(s string) []string {
	return slices.DeleteFunc(strings.Split(s, ","), func(s string) bool { return s == "" || s == "none" })
}

func runAll(ctx context.Context, opt options) (err error) {
	servers.Progress = os.Stdout
	if opt.dir, err = filepath.Abs(opt.dir); err != nil {
		return err
	}
	if opt.bin, err = filepath.Abs(opt.bin); err != nil {
		return err
	}
	if err := os.MkdirAll(opt.dir, 0o755); err != nil {
		return err
	}
	known := map[string]suite{"kgo": &kgoSuite{}, "librdkafka": &librdkafkaSuite{scenario: "default", groups: "classic"},
		"librdkafka-noautocreate": &librdkafkaSuite{scenario: "noautocreate", groups: "classic"},
		"librdkafka-kip848":       &librdkafkaSuite{scenario: "default", groups: "consumer"}}
	for _, name := range opt.suites {
		s := known[name]
		if s == nil {
			return fmt.Errorf("-suites: %q is none of %s", name, strings.Join(suiteNames, ", "))
		}
		if err := s.prepare(ctx); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, where := range opt.on {
			if err := runOne(ctx, opt, name, s, where); err != nil {
				return fmt.Errorf("%s on %s: %w", name, where, err)
			}
		}
	}
	return conclude(opt)
}

// runOne runs a suite on a broker of its own.
func runOne(ctx context.Context, opt options, name string, s suite, where string) error {
	scratch, err := os.MkdirTemp("", "moldau-compat-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	b, err := startBroker(ctx, opt, scratch, where, s.settings())
	if err != nil {
		return err
	}
	defer b.stop()
	b.logs = filepath.Join(opt.dir, name+"-"+where)
	if opt.tests == nil {
		if err := os.RemoveAll(b.logs); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(b.logs, 0o755); err != nil {
		return err
	}
	fmt.Printf("== %s on %s (logs in %s)\n", name, b.version, b.logs)
	began := time.Now()
	set := newResults(b.version, name != "kgo")
	runErr := s.run(ctx, opt, b, func(r result) {
		set.add(r)
		if strings.Contains(r.Name, "/") && r.State != failed {
			return
		}
		fmt.Printf("  %-4s %-60s %7.1f s  %s\n", r.State, r.Name, r.Seconds, r.Why)
	})
	set.Seconds = time.Since(began).Seconds()
	fmt.Printf("  %s on %s: %s in %.0f s\n", name, where, set.tally(), set.Seconds)
	_ = copyLog(b, filepath.Join(b.logs, "broker.log"))
	return errors.Join(runErr, set.save(opt, name, where))
}
