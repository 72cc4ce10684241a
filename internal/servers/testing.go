package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// EnvExclude lists servers (comma separated: postgres, mysql, mariadb, s3, opensearch, elasticsearch, kafka, clients, readers) that a
// test run is to do without. Tests that need one of them are skipped and say so; a server that is missing without being excluded fails.
const EnvExclude = "MOLDAU_TEST_EXCLUDE"

// Excluded reports whether a server was excluded by name.
func Excluded(name string) bool {
	return slices.Contains(strings.Split(strings.ReplaceAll(os.Getenv(EnvExclude), " ", ""), ","), name)
}

// shared holds the servers of this test process: each is started at its first use and serves all tests of the package. Tests that need
// different servers do not wait for each other.
var shared struct {
	sync.Mutex
	dir   string
	slots map[string]*slot
}

// slot is one server's place. Its lock is held while the server starts.
type slot struct {
	sync.Mutex
	server any
	err    error // of the start, which is not tried twice
	stop   func() error
}

// Main runs a package's tests and then stops the servers that they started: call it from TestMain.
func Main(m *testing.M) {
	code := m.Run()
	StopShared()
	os.Exit(code)
}

// StopShared stops what the tests of this process started and removes its data.
func StopShared() {
	shared.Lock()
	defer shared.Unlock()
	var wg sync.WaitGroup
	for _, s := range shared.slots {
		wg.Go(func() {
			s.Lock()
			defer s.Unlock()
			if s.stop != nil {
				_ = s.stop()
			}
		})
	}
	wg.Wait()
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
	shared.slots, shared.dir = nil, ""
}

// slotOf returns the place of a server and its scratch folder.
func slotOf(name string) (*slot, string, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.dir == "" {
		dir, err := os.MkdirTemp("", "moldau-servers-")
		if err != nil {
			return nil, "", err
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			return nil, "", err
		}
		shared.dir, shared.slots = dir, map[string]*slot{}
	}
	s := shared.slots[name]
	if s == nil {
		s = &slot{}
		shared.slots[name] = s
	}
	dir := filepath.Join(shared.dir, name)
	return s, dir, os.MkdirAll(dir, 0o755)
}

func get[T any](t testing.TB, name string, start func(ctx context.Context, dir string) (T, error), stop func(T) error) T {
	t.Helper()
	if Excluded(name) {
		t.Skipf("%s was excluded by %s", name, EnvExclude)
	}
	s, dir, err := slotOf(name)
	if err != nil {
		t.Fatal(err)
	}
	s.Lock()
	defer s.Unlock()
	if s.server == nil && s.err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
		defer cancel()
		var srv T
		if srv, s.err = start(ctx, dir); s.err == nil {
			s.server, s.stop = srv, func() error { return stop(srv) }
		}
	}
	if s.err != nil {
		t.Fatalf("no real %s to test with (exclude it by name with %s=%s): %v", name, EnvExclude, name, s.err)
	}
	return s.server.(T)
}

// stopProcess ends a server that is ours; one that was given is left alone.
func stopProcess(p *Process) error {
	if p == nil {
		return nil
	}
	return p.Stop()
}

// TestPostgres returns the test process's PostgreSQL.
func TestPostgres(t testing.TB) *Postgres {
	t.Helper()
	return get(t, "postgres", StartPostgres, func(s *Postgres) error { return stopProcess(s.Process) })
}

// TestMySQL returns the test process's MySQL.
func TestMySQL(t testing.TB) *MySQL {
	t.Helper()
	return get(t, "mysql", StartMySQL, func(s *MySQL) error { return stopProcess(s.Process) })
}

// TestMariaDB returns the test process's MariaDB.
func TestMariaDB(t testing.TB) *MySQL {
	t.Helper()
	return get(t, "mariadb", StartMariaDB, func(s *MySQL) error { return stopProcess(s.Process) })
}

// TestS3 returns the test process's S3 server.
func TestS3(t testing.TB) *S3 {
	t.Helper()
	return get(t, "s3", StartS3, func(s *S3) error { return stopProcess(s.Process) })
}

// TestOpenSearch returns the test process's OpenSearch.
func TestOpenSearch(t testing.TB) *Search {
	t.Helper()
	return get(t, "opensearch", StartOpenSearch, func(s *Search) error { return stopProcess(s.Process) })
}

// TestElasticsearch returns the test process's Elasticsearch.
func TestElasticsearch(t testing.TB) *Search {
	t.Helper()
	return get(t, "elasticsearch", StartElasticsearch, func(s *Search) error { return stopProcess(s.Process) })
}

// TestKafka returns the test process's Apache Kafka.
func TestKafka(t testing.TB) *Kafka {
	t.Helper()
	return get(t, "kafka", func(ctx context.Context, dir string) (*Kafka, error) { return StartKafka(ctx, dir) },
		func(s *Kafka) error { return stopProcess(s.Process) })
}

// Row is one server of a report.
type Row struct{ Name, Version, Source string }

// Check starts each server that is not excluded, asks it for its version and stops it again, and brings the clients and readers
// that tests use. Programs that this takes and the machine lacks are installed first, or named in one error.
func Check(ctx context.Context, only ...string) ([]Row, error) {
	if err := Prepare(ctx, only...); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "moldau-check-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	type check struct {
		name, env string
		start     func(ctx context.Context, dir string) (*Process, string, error)
	}
	checks := []check{
		{"postgres", EnvPostgres, func(ctx context.Context, d string) (*Process, string, error) {
			s, err := StartPostgres(ctx, d)
			if err != nil {
				return nil, "", err
			}
			return s.Process, "PostgreSQL " + s.Version, nil
		}},
		{"mysql", EnvMySQL, func(ctx context.Context, d string) (*Process, string, error) {
			s, err := StartMySQL(ctx, d)
			if err != nil {
				return nil, "", err
			}
			return s.Process, "MySQL " + s.Version, nil
		}},
		{"mariadb", EnvMariaDB, func(ctx context.Context, d string) (*Process, string, error) {
			s, err := StartMariaDB(ctx, d)
			if err != nil {
				return nil, "", err
			}
			return s.Process, s.Version, nil
		}},
		{"s3", EnvS3, func(ctx context.Context, d string) (*Process, string, error) {
			s, err := StartS3(ctx, d)
			if err != nil {
				return nil, "", err
			}
			return s.Process, s.Version, nil
		}},
		{"opensearch", EnvSearch, func(ctx context.Context, d string) (*Process, string, error) {
			s, err := StartOpenSearch(ctx, d)
			if err != nil {
				return nil, "", err
			}
			return s.Process, "OpenSearch " + s.Version, nil
		}},
		{"elasticsearch", EnvElastic, func(ctx context.Context, d string) (*Process, string, error) {
			s, err := StartElasticsearch(ctx, d)
			if err != nil {
				return nil, "", err
			}
			return s.Process, "Elasticsearch " + s.Version, nil
		}},
		{"kafka", EnvKafka, func(ctx context.Context, d string) (*Process, string, error) {
			if _, err := FetchKafkaStreams(ctx); err != nil {
				return nil, "", err
			}
			s, err := StartKafka(ctx, d)
			if err != nil {
				return nil, "", err
			}
			return s.Process, "Apache Kafka " + s.Version, nil
		}},
		{"readers", "", func(ctx context.Context, _ string) (*Process, string, error) {
			_, err := FetchReaders(ctx)
			return nil, strings.Join(pythonReaders[:2], ", "), err
		}},
		{"clients", "", func(ctx context.Context, _ string) (*Process, string, error) {
			_, err := FetchPythonClients(ctx)
			_, err2 := FetchNodeClients(ctx)
			_, _, err3 := FetchKcat(ctx)
			return nil, strings.Join(append(pythonClients[:1:1], nodeClients[0], "kcat"), ", "), errors.Join(err, err2, err3)
		}},
	}
	var rows []Row
	var failed []string
	for i, c := range checks {
		if len(only) > 0 && !slices.Contains(only, c.name) {
			continue
		}
		if Excluded(c.name) {
			rows = append(rows, Row{c.name, "-", "excluded by name"})
			continue
		}
		say("[%d/%d] %s", i+1, len(checks), c.name)
		d := filepath.Join(dir, c.name)
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
		p, version, err := c.start(ctx, d)
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s: %v", c.name, err))
			rows = append(rows, Row{c.name, "-", "MISSING"})
			continue
		}
		source := "given by " + c.env
		if c.env == "" {
			source = "fetched"
		}
		if p != nil {
			source = "started by this run"
			if err := p.Stop(); err != nil {
				return nil, err
			}
		}
		rows = append(rows, Row{c.name, version, source})
	}
	if len(failed) > 0 {
		return rows, fmt.Errorf("servers are missing (exclude one by name with %s=NAME):\n%s", EnvExclude, strings.Join(failed, "\n"))
	}
	return rows, nil
}
