package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/moldau-io/moldau/internal/servers"
)

type state string

const (
	passed  state = "pass"
	failed  state = "FAIL"
	skipped state = "skip"
)

// result is one run of one test.
type result struct {
	Name    string
	State   state
	Seconds float64
	Why     string `json:",omitempty"`
}

// results is what a suite gave on a broker: each test's runs, in order.
type results struct {
	Broker   string
	Suite    string // with its version
	When     time.Time
	Seconds  float64
	Last     bool // of a test that ran again because it failed, the last run counts
	Complete bool // all tests ran, on one broker or more of the version
	Tests    map[string][]result
}

func newResults(broker, suite string, last bool) *results {
	return &results{Broker: broker, Suite: suite, Last: last, When: time.Now().UTC(), Tests: map[string][]result{}}
}

func (r *results) add(one result) { r.Tests[one.Name] = append(r.Tests[one.Name], one) }

func (r *results) tally() string {
	n := map[state]int{}
	for name := range r.Tests {
		if !strings.Contains(name, "/") {
			n[r.state(name)]++
		}
	}
	return fmt.Sprintf("%d pass, %d fail, %d skip", n[passed], n[failed], n[skipped])
}

// state of a test over its runs: one that failed once has failed, unless the last run counts.
func (r *results) state(name string) state {
	runs := r.Tests[name]
	if len(runs) == 0 {
		return ""
	}
	for _, one := range runs {
		if one.State == failed && !r.Last {
			return failed
		}
	}
	return runs[len(runs)-1].State
}

func (r *results) why(name string) string {
	for _, one := range r.Tests[name] {
		if one.Why != "" {
			return one.Why
		}
	}
	return ""
}

// cell is a test's result in the table: "pass", "pass 2/2", "FAIL, then pass".
func (r *results) cell(name string) string {
	runs := r.Tests[name]
	switch {
	case len(runs) == 0:
		return "-"
	case len(runs) == 1:
		return string(runs[0].State)
	}
	same := true
	var all []string
	for _, one := range runs {
		same = same && one.State == runs[0].State
		all = append(all, string(one.State))
	}
	if same {
		return fmt.Sprintf("%s %d/%d", runs[0].State, len(runs), len(runs))
	}
	return strings.Join(all, ", then ")
}

func resultsFile(opt options, suite, where string) string {
	return filepath.Join(opt.dir, suite+"-"+where+".json")
}

func loadResults(opt options, suite, where string) (*results, error) {
	b, err := os.ReadFile(resultsFile(opt, suite, where))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := &results{}
	return r, json.Unmarshal(b, r)
}

// save writes the results; when only some tests ran, they replace theirs in what is there.
func (r *results) save(opt options, suite, where string) error {
	if opt.tests != nil {
		old, err := loadResults(opt, suite, where)
		if err != nil {
			return err
		}
		if old != nil {
			if old.Broker != r.Broker || old.Suite != r.Suite {
				old.Complete = false // the rest is of another version
			}
			maps.Copy(old.Tests, r.Tests)
			old.Broker, old.Suite, old.When, old.Last = r.Broker, r.Suite, r.When, r.Last
			r = old
		} else {
			r.Complete = false
		}
	}
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(resultsFile(opt, suite, where), b, 0o644)
}

// clip makes a reason fit a table's cell.
func clip(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 160 {
		s = s[:157] + "..."
	}
	return s
}

// conclude writes the page when one is asked for and says whether the hub holds.
func conclude(opt options) error {
	var page strings.Builder
	var bad, partial []string
	version := ""
	for _, name := range suiteNames {
		hub, err := loadResults(opt, name, "moldau")
		if err != nil {
			return err
		}
		kafka, err := loadResults(opt, name, "kafka")
		if err != nil {
			return err
		}
		for _, r := range []*results{hub, kafka} {
			if r == nil || !r.Complete {
				partial = append(partial, fmt.Sprintf("not all of %s has run on both brokers", name))
				break
			}
		}
		if hub == nil {
			continue
		}
		if version == "" {
			version = hub.Broker
		}
		if hub.Broker != version {
			partial = append(partial, fmt.Sprintf("%s was run on %s, what comes before it on %s", name, hub.Broker, version))
		}
		if kafka == nil {
			kafka = newResults("", "", false)
		}
		for _, t := range slices.Sorted(maps.Keys(hub.Tests)) {
			if !strings.Contains(t, "/") && hub.state(t) == failed && (name == "kgo" || kafka.state(t) != failed) {
				bad = append(bad, name+" "+t)
			}
		}
		section(&page, name, hub, kafka)
	}
	if opt.report != "" {
		if len(partial) > 0 {
			return fmt.Errorf("no page is written:\n  %s", strings.Join(partial, "\n  "))
		}
		if err := os.WriteFile(opt.report, []byte(head(version)+page.String()), 0o644); err != nil {
			return err
		}
		fmt.Println("wrote", opt.report)
	}
	if len(bad) > 0 {
		return fmt.Errorf("%d tests fail on the hub that should not:\n  %s", len(bad), strings.Join(bad, "\n  "))
	}
	return nil
}

func head(version string) string {
	return fmt.Sprintf(`# Compatibility

Two projects' own test suites, run on %s and on Apache Kafka %s, each broker alone on one machine (%s/%s, %d cores), with its data
new. `+"`make compat`"+` fetches and builds the suites, starts both brokers, runs everything and writes this page, from complete results of one
commit only; it goes on where it was interrupted, and does not run Apache Kafka's part again. Parts of it:

    go run ./internal/compat -bin bin/moldau -on moldau -suites kgo            # one suite on one broker
    go run ./internal/compat -bin bin/moldau -suites librdkafka -tests 0081    # one test on both

Results and logs of each test are in `+"`bin/compat`"+`. Nothing of the suites is part of this repository.

- **kgo**: all tests of franz-go's client, in the version of go.mod, `+"`KGO_TEST_RF=1`"+` and a SCRAM listener, twice in a row on the same broker where a
  cell says 2/2. Tests that need no broker are among them. Subtests are listed only where one fails.
- **librdkafka %s**: all tests that need a broker, quick mode (`+"`-L -Q`"+`), each in its own process, several at a time; one that fails runs once
  more, and that counts: some of them race with their own clients on a busy machine. Scenarios: default (four partitions, access control lists on),
  noautocreate, and default again with consumers of the new group protocol (kip848). Not run: 0101, which needs three brokers, and tests of
  share groups, which moldau answers as a broker with that feature off. A test that is skipped needs what the scenario does not set up (TLS, SASL, several brokers) on either
  side. Tests that make topics with three replicas make them with one (0098, 0103, 0107, 0111), since there is one broker.

`, version, servers.KafkaVersion, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), servers.LibrdkafkaVersion)
}

func section(page *strings.Builder, name string, hub, kafka *results) {
	fmt.Fprintf(page, "## %s\n\n| broker | result | time | when |\n|---|---|---|---|\n", name)
	for _, r := range []*results{hub, kafka} {
		if len(r.Tests) > 0 {
			fmt.Fprintf(page, "| %s | %s | %.0f s | %s |\n", r.Broker, r.tally(), r.Seconds, r.When.Format("2006-01-02 15:04"))
		}
	}
	names := map[string]bool{}
	for _, r := range []*results{hub, kafka} {
		for t := range r.Tests {
			if !strings.Contains(t, "/") || r.state(t) == failed {
				names[t] = true
			}
		}
	}
	page.WriteString("\n| test | moldau | Apache Kafka | why, where it is no pass |\n|---|---|---|---|\n")
	for _, t := range slices.Sorted(maps.Keys(names)) {
		why := hub.why(t)
		if w := kafka.why(t); w != "" && w != why {
			if why != "" {
				why += "; "
			}
			why += "Kafka: " + w
		}
		fmt.Fprintf(page, "| %s | %s | %s | %s |\n", t, hub.cell(t), kafka.cell(t), strings.ReplaceAll(why, "|", "\\|"))
	}
	page.WriteString("\n")
}
