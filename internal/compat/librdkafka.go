package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moldau-io/moldau/internal/servers"
)

// librdkafkaSuite is the tests of librdkafka that need a broker, in quick mode. Each runs in a process of its own, so that one that
// dies or hangs takes no other with it.
type librdkafkaSuite struct {
	scenario string // of its tests' own: "default" or "noautocreate"
	groups   string // group.protocol of its consumers: "classic" or "consumer" (KIP-848)
	dir      string
	tools    *servers.KafkaTools
}

// testTimeout is for one test; the longest takes a minute and a half in quick mode, on a machine that does nothing else.
const testTimeout = 12 * time.Minute

func (s *librdkafkaSuite) version() string { return "librdkafka " + servers.LibrdkafkaVersion }

func (s *librdkafkaSuite) prepare(ctx context.Context) (err error) {
	if s.dir, err = servers.FetchLibrdkafka(ctx); err != nil {
		return err
	}
	s.tools, err = servers.FetchKafka(ctx)
	return err
}

// settings: four partitions by default is what the suite's scenarios name; some tests deny and allow by access control lists; and 0118
// supposes that two consumers that are started together join together.
func (s *librdkafkaSuite) settings() []string {
	return []string{"num.partitions=4", "group.initial.rebalance.delay.ms=500", fmt.Sprintf("auto.create.topics.enable=%t", s.scenario != "noautocreate"),
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "allow.everyone.if.no.acl.found=true"}
}

var (
	testEntry   = regexp.MustCompile(`(?m)^\s+_TEST\((\w+),\s*([^,)]*)`)
	scenarioOf  = regexp.MustCompile(`\.scenario\s*=\s*"([^"]*)"`)
	failure     = regexp.MustCompile(`^### Test "([^"]*)" failed at (.*) at \w+ \w+ +\d+ [\d:]+ \d+: ###$`)
	summaryLine = regexp.MustCompile(`^\|\s*(\S+)\s*\|\s*(\S+)\s*\|\s*([\d.]+)s\s*\|\s*(.*)$`)
	colour      = regexp.MustCompile("\x1b\\[[0-9;]*m")
)

// tests returns the names of the tests that need a broker: not those that are local or manual, nor those of share groups, a feature
// that the hub says it does not have, nor 0101, which needs three brokers.
func (s *librdkafkaSuite) tests(opt options) ([]string, error) {
	src, err := os.ReadFile(filepath.Join(s.dir, "tests", "test.c"))
	if err != nil {
		return nil, err
	}
	var names []string
	all := testEntry.FindAllSubmatchIndex(src, -1)
	for i, m := range all {
		name, flags, rest := string(src[m[2]:m[3]]), string(src[m[4]:m[5]]), src[m[1]:]
		if i+1 < len(all) {
			rest = src[m[1]:all[i+1][0]]
		}
		scenario := "default"
		if sc := scenarioOf.FindSubmatch(rest); sc != nil {
			scenario = string(sc[1])
		}
		if !slices.Contains(strings.Split(scenario, ","), s.scenario) {
			continue
		}
		if strings.Contains(flags, "TEST_F_LOCAL") || strings.Contains(flags, "TEST_F_MANUAL") ||
			strings.Contains(name, "share_consumer") || name == "0101_fetch_from_follower" {
			continue
		}
		if opt.tests == nil || opt.tests.MatchString(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, errors.New("no test to run")
	}
	return names, nil
}

func (s *librdkafkaSuite) run(ctx context.Context, opt options, b *broker, have *results, tell func(result), keep func() error) error {
	names, err := s.tests(opt)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return len(have.Tests[n]) > 0 })
	kafka := filepath.Join(b.logs, "kafka")
	if err := s.tools.WriteScripts(kafka); err != nil {
		return err
	}
	conf := filepath.Join(b.logs, "test.conf")
	// Random topic names let a test run again; the machine may be busy with the other worker's test.
	if err := os.WriteFile(conf, []byte("metadata.broker.list="+b.bootstrap+"\ntest.topic.random=true\ntest.timeout.multiplier=5\n"), 0o644); err != nil {
		return err
	}
	env := append(os.Environ(), "RDKAFKA_TEST_CONF="+conf, "KAFKA_PATH="+kafka, "BROKERS="+b.bootstrap, "TEST_KAFKA_VERSION="+servers.KafkaVersion, "TEST_SCENARIO="+s.scenario,
		"TEST_CONSUMER_GROUP_PROTOCOL="+s.groups,
		"LD_LIBRARY_PATH="+filepath.Join(s.dir, "src")+":"+filepath.Join(s.dir, "src-cpp"))
	for len(names) > 0 && ctx.Err() == nil {
		if names, err = s.turn(ctx, opt, b, env, names, tell, keep); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// turn runs tests, opt.workers at a time, until the turn is over, and returns those that are left.
func (s *librdkafkaSuite) turn(ctx context.Context, opt options, b *broker, env, names []string, tell func(result), keep func() error) ([]string, error) {
	end, err := opt.turns.take(ctx)
	if err != nil {
		return names, err
	}
	defer end()
	var mu sync.Mutex
	var failure error
	queue := make(chan string)
	var wg sync.WaitGroup
	for range opt.workers {
		wg.Go(func() {
			for name := range queue {
				runs := []result{s.one(ctx, b, env, name, "")}
				if runs[0].State == failed && ctx.Err() == nil { // once more: is it the test or the moment?
					runs = append(runs, s.one(ctx, b, env, name, ".again"))
				}
				if ctx.Err() != nil {
					continue // cut short
				}
				mu.Lock()
				for _, r := range runs {
					tell(r)
				}
				failure = errors.Join(failure, keep())
				mu.Unlock()
			}
		})
	}
	for len(names) > 0 && ctx.Err() == nil && !opt.turns.over() {
		select {
		case queue <- names[0]:
			names = names[1:]
		case <-ctx.Done():
		}
	}
	close(queue)
	wg.Wait()
	return names, failure
}

// one runs one test in its own process.
func (s *librdkafkaSuite) one(ctx context.Context, b *broker, env []string, name, suffix string) result {
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	tests := filepath.Join(s.dir, "tests")
	cmd := exec.CommandContext(ctx, filepath.Join(tests, "test-runner"), "-L", "-Q", "-p1")
	cmd.Dir = tests
	cmd.Env = append(slices.Clip(slices.Clone(env)), "TESTS="+name) // env is shared with the other worker
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	began := time.Now()
	out, err := cmd.CombinedOutput()
	r := result{Name: name, State: failed, Seconds: time.Since(began).Seconds()}
	out = colour.ReplaceAll(out, nil)
	_ = os.WriteFile(filepath.Join(b.logs, name+suffix+".log"), out, 0o644)
	found := false
	for _, line := range bytes.Split(out, []byte("\n")) {
		m := summaryLine.FindSubmatch(line)
		if m == nil || string(m[1]) != name {
			continue
		}
		found = true
		r.Seconds, _ = strconv.ParseFloat(string(m[3]), 64)
		r.Why = clip(string(m[4]))
		switch string(m[2]) {
		case "PASSED":
			r.State, r.Why = passed, ""
		case "SKIPPED":
			r.State = skipped
		}
	}
	switch {
	case found && r.State != failed:
	case ctx.Err() != nil:
		r.Why = fmt.Sprintf("did not end within %s", testTimeout)
	case err == nil && !found: // skipped without a word: it needs what this build or scenario has not
		r.State = skipped
	default:
		if why := failureOf(out, name); why != "" {
			r.Why = why
		} else if !found {
			r.Why = "the test program ended without a result"
		}
	}
	return r
}

// failureOf is what a test said of its failure: the test or subtest, the place, and the line after.
func failureOf(out []byte, name string) string {
	lines := strings.Split(string(out), "\n")
	for i, l := range lines {
		m := failure.FindStringSubmatch(strings.TrimSpace(l))
		if m == nil || !strings.HasPrefix(m[1], name) {
			continue
		}
		why := m[2]
		if _, sub, ok := strings.Cut(strings.TrimSuffix(m[1], ")"), " ("); ok {
			why = sub + ", " + why
		}
		if i+1 < len(lines) {
			why += ": " + lines[i+1]
		}
		return clip(why)
	}
	return ""
}
