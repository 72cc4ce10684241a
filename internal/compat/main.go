// Command compat runs other projects' own test suites against the hub and against Apache Kafka, and writes the results side by side:
// the integration tests of franz-go's client (kgo) and the broker tests of librdkafka. Neither suite is part of this repository; both
// are fetched from their registries (the Go module proxy, npm) in the versions named here.
//
//	compat -bin bin/moldau [-on moldau,kafka] [-suites kgo,librdkafka,...] [-tests REGEXP] [-report docs/compatibility.md]
//
// Results are kept in -dir, one file for each suite and broker, as they come. A run that was interrupted goes on where it was: what was
// run already of this version of the suite on this version of the broker (the hub's commit) is not run again, unless -again is given or
// -tests names it. The page is written only from complete results of one commit. It ends with 1 when a test of kgo fails on the hub, or
// one of librdkafka does that passes on Apache Kafka.
//
// With -lock FILE it takes turns with others on the machine: tests run only while it holds an exclusive lock (flock) on the file, which it
// gives up every few minutes, between tests of librdkafka and between the two runs of kgo's.
//
//	main.go         what to run, in order
//	brokers.go      the brokers under test
//	kgo.go          franz-go's tests
//	librdkafka.go   librdkafka's tests
//	turns.go        the lock that is shared with others
//	report.go       results, the table, the page
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/moldau-io/moldau/internal/servers"
)

var suiteNames = []string{"kgo", "librdkafka", "librdkafka-noautocreate", "librdkafka-kip848"}

// options is what the command line says.
type options struct {
	bin, dir, report string
	on, suites       []string
	tests            *regexp.Regexp // nil: all
	runs, workers    int
	again            bool
	turns            *turns
}

// suite is one project's tests.
type suite interface {
	// prepare fetches and builds.
	prepare(ctx context.Context) error
	// version is what is run, once prepared.
	version() string
	// settings are broker properties that the suite expects.
	settings() []string
	// run runs the tests that opt names and have has not on a broker, tells each result as it comes and calls keep when all that was
	// told may count.
	run(ctx context.Context, opt options, b *broker, have *results, tell func(result), keep func() error) error
}

func main() {
	var opt options
	var on, suites, tests, lock string
	flag.StringVar(&opt.bin, "bin", "bin/moldau", "the hub's binary")
	flag.StringVar(&opt.dir, "dir", "bin/compat", "where results and logs go")
	flag.StringVar(&opt.report, "report", "", "the page to write; none when empty")
	flag.StringVar(&on, "on", "kafka,moldau", "brokers to run on")
	flag.StringVar(&suites, "suites", strings.Join(suiteNames, ","), "suites to run; none makes the report only")
	flag.StringVar(&tests, "tests", "", "run only tests whose name matches this regular expression")
	flag.IntVar(&opt.runs, "runs", 2, "how often kgo's tests run, one after the other, on the same broker")
	flag.IntVar(&opt.workers, "workers", 2, "how many of librdkafka's tests run at once")
	flag.BoolVar(&opt.again, "again", false, "run also what was run already")
	flag.StringVar(&lock, "lock", "", "run tests only while holding a lock on this file")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := func() (err error) {
		opt.on, opt.suites = list(on), list(suites)
		if tests != "" {
			if opt.tests, err = regexp.Compile(tests); err != nil {
				return fmt.Errorf("-tests: %w", err)
			}
		}
		opt.turns = &turns{file: lock}
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
	}
	// All of one broker first: so the other's may have been run before, by another call.
	for _, where := range opt.on {
		for _, name := range opt.suites {
			if err := runOne(ctx, opt, name, known[name], where); err != nil {
				return fmt.Errorf("%s on %s: %w", name, where, err)
			}
		}
	}
	return conclude(opt)
}

// runOne runs a suite on a broker of its own.
func runOne(ctx context.Context, opt options, name string, s suite, where string) error {
	version, err := brokerVersion(ctx, opt, where)
	if err != nil {
		return err
	}
	set := newResults(version, s.version(), name != "kgo")
	if opt.tests == nil && !opt.again {
		old, err := loadResults(opt, name, where)
		if err != nil {
			return err
		}
		if old != nil && old.Broker == version && old.Suite == s.version() {
			if old.Complete {
				fmt.Printf("== %s on %s: %s, from %s\n", name, version, old.tally(), old.When.Format("2006-01-02 15:04"))
				return nil
			}
			set = old
		}
	}
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
	if opt.tests == nil && len(set.Tests) == 0 {
		if err := os.RemoveAll(b.logs); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(b.logs, 0o755); err != nil {
		return err
	}
	fmt.Printf("== %s on %s (logs in %s)\n", name, version, b.logs)
	before := set.Seconds
	opt.turns.reset()
	runErr := s.run(ctx, opt, b, set, func(r result) {
		set.add(r)
		if strings.Contains(r.Name, "/") && r.State != failed {
			return
		}
		fmt.Printf("  %-4s %-60s %7.1f s  %s\n", r.State, r.Name, r.Seconds, r.Why)
	}, func() error {
		set.Seconds = before + opt.turns.spent().Seconds()
		return set.save(opt, name, where)
	})
	_ = copyLog(b, filepath.Join(b.logs, "broker.log"))
	if runErr != nil {
		return runErr
	}
	set.Seconds, set.Complete = before+opt.turns.spent().Seconds(), true
	fmt.Printf("  %s on %s: %s in %.0f s\n", name, where, set.tally(), set.Seconds)
	return set.save(opt, name, where)
}
