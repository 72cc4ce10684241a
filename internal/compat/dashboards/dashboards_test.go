package dashboards

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau"
	"github.com/moldau-io/moldau/internal/compat/compattest"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// family is a metric as /metrics shows it.
type family struct {
	name, kind, help string
	labels           []string
}

// TestDashboardsFindTheirMetrics runs a hub with a topic, a group and a connector, scrapes it as Prometheus does, and looks for every name of the
// public dashboards; and docs/metrics.md lists what there is.
func TestDashboardsFindTheirMetrics(t *testing.T) {
	ep := compattest.StartHub(t, moldau.Sources{DataDir: t.TempDir(), Set: []string{"broker.listeners=PLAINTEXT://127.0.0.1:0", "registry.listeners=http://127.0.0.1:0",
		"connect.listeners=http://127.0.0.1:0", "admin.listeners=http://127.0.0.1:0", "broker.group.initial.rebalance.delay.ms=0", "admin.log.level=error"}})
	work(t, ep)
	var served map[string]family
	asked := map[string]bool{}
	for _, d := range Public {
		for _, n := range d.Names {
			asked[n] = true
		}
	}
	missing := func() (names []string) {
		for _, d := range Public {
			for _, n := range d.Names {
				_, ok := served[n]
				if _, absent := Absent[n]; !ok && !absent {
					names = append(names, n+" ("+d.Name+")")
				}
			}
		}
		return names
	}
	const page = "../../../docs/metrics.md"
	written, err := os.ReadFile(page)
	require.NoError(t, err)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Millisecond) { // commits, connectors and tasks show one after the other
		served = scrape(t, ep.Admin)
		if len(missing()) == 0 && metricsPage(served) == string(written) || time.Now().After(end) {
			break
		}
	}
	require.Empty(t, missing(), "not served, without a reason")
	for n := range Absent {
		_, ok := served[n]
		require.False(t, ok, "%s is served: take it out of the list of those that are absent", n)
	}
	for n := range Absent {
		require.True(t, asked[n], "no dashboard asks for %s", n)
	}
	want := metricsPage(served)
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(written), "docs/metrics.md is stale: go test ./internal/compat/dashboards -args -update")
}

// work makes the hub do what its metrics count.
func work(t *testing.T, ep moldau.Endpoints) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(ep.Kafka), kgo.ConsumeTopics("orders"), kgo.ConsumerGroup("billing"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	_, err = kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, "orders")
	require.NoError(t, err)
	require.NoError(t, cl.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("v")}, &kgo.Record{Topic: "orders", Value: []byte("w")}).FirstErr())
	for n := 0; n < 2; {
		fs := cl.PollFetches(ctx)
		require.NoError(t, fs.Err())
		n += fs.NumRecords()
	}
	require.NoError(t, cl.CommitUncommittedOffsets(ctx))
	file := filepath.Join(t.TempDir(), "lines.txt")
	require.NoError(t, os.WriteFile(file, []byte("one\n"), 0o600))
	body := fmt.Sprintf(`{"name":"lines","config":{"connector.class":"FileStreamSource","file":%q,"topic":"lines","value.converter":"org.apache.kafka.connect.storage.StringConverter"}}`, file)
	res, err := http.Post(ep.Connect+"/connectors", "application/json", strings.NewReader(body))
	require.NoError(t, err)
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusCreated, res.StatusCode, string(b))
}

var labelName = regexp.MustCompile(`[{,]([a-zA-Z_]\w*)="`)

// scrape reads /metrics in the text format.
func scrape(t *testing.T, admin string) map[string]family {
	res, err := http.Get(admin + "/metrics")
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	families := map[string]family{}
	sc := bufio.NewScanner(res.Body)
	sc.Buffer(nil, 1<<20)
	current := ""
	for sc.Scan() {
		l := sc.Text()
		switch {
		case strings.HasPrefix(l, "# HELP "):
			name, help, _ := strings.Cut(l[len("# HELP "):], " ")
			families[name] = family{name: name, help: help}
			current = name
		case strings.HasPrefix(l, "# TYPE "):
			name, kind, _ := strings.Cut(l[len("# TYPE "):], " ")
			f := families[name]
			f.name, f.kind = name, kind
			families[name] = f
			current = name
		default:
			f := families[current]
			for _, m := range labelName.FindAllStringSubmatch(l, -1) {
				if !slices.Contains(f.labels, m[1]) && m[1] != "quantile" && m[1] != "le" {
					f.labels = append(f.labels, m[1])
				}
			}
			families[current] = f
		}
	}
	require.NoError(t, sc.Err())
	return families
}

func metricsPage(served map[string]family) string {
	var b strings.Builder
	b.WriteString(`# Metrics

<!-- generated: go test ./internal/compat/dashboards -args -update -->

"/metrics" of the admin listener, in Prometheus' text format. The names are those that the JMX exporter gives to Apache Kafka's and Kafka Connect's
with Strimzi's rules, and those of kafka_exporter, so that their dashboards and alerts work.

## Dashboards

| dashboard | names | served | not served |
|---|--:|--:|---|
`)
	for _, d := range Public {
		var missing []string
		for _, n := range d.Names {
			if _, ok := served[n]; !ok {
				missing = append(missing, "`"+n+"`")
			}
		}
		slices.Sort(missing)
		fmt.Fprintf(&b, "| %s | %d | %d | %s |\n", d.Name, len(d.Names), len(d.Names)-len(missing), strings.Join(missing, ", "))
	}
	b.WriteString("\nWhy some are not served:\n\n| name | why |\n|---|---|\n")
	for _, n := range slices.Sorted(maps.Keys(Absent)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", n, Absent[n])
	}
	b.WriteString("\n## All\n\nThose of a hub with a topic, a group and a connector. Beside them are Go's `go_*` and `process_*`.\n\n| name | type | labels | |\n|---|---|---|---|\n")
	for _, n := range slices.Sorted(maps.Keys(served)) {
		if strings.HasPrefix(n, "go_") || strings.HasPrefix(n, "process_") || strings.HasPrefix(n, "promhttp_") {
			continue
		}
		f := served[n]
		slices.Sort(f.labels)
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", n, f.kind, strings.Join(f.labels, ", "), f.help)
	}
	return b.String()
}
