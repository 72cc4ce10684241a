package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/internal/story"
)

// worker is one Connect whose sources are measured.
type worker struct {
	system, mode string
	rest         string // URL
	bootstrap    string
	config       map[string]string // what each connector gets on top
}

// source is a database whose capture is measured: a table with a first load and more rows later.
type source struct {
	name, class string
	topic       func(prefix string) string
	config      func(prefix, bootstrap string) map[string]string
	truncate    func(ctx context.Context) error
	insert      func(ctx context.Context, first, n int) error // in transactions of 1000
	cleanUp     func(ctx context.Context, prefix string)
}

func postgresSource(ctx context.Context, pg *servers.Postgres) (*source, error) {
	u, err := url.Parse(pg.URL)
	if err != nil {
		return nil, err
	}
	c, err := pgx.Connect(ctx, pg.URL)
	if err != nil {
		return nil, err
	}
	if _, err := c.Exec(ctx, "DROP TABLE IF EXISTS shop.orders"); err != nil {
		var none interface{ SQLState() string }
		if !errors.As(err, &none) || none.SQLState() != "3F000" { // no such schema
			return nil, err
		}
	}
	if _, err := c.Exec(ctx, story.OrdersDDL); err != nil {
		return nil, err
	}
	pw, _ := u.User.Password()
	return &source{
		name: "PostgreSQL " + pg.Version, class: "io.debezium.connector.postgresql.PostgresConnector",
		topic: func(prefix string) string { return prefix + ".shop.orders" },
		config: func(prefix, _ string) map[string]string {
			return map[string]string{
				"plugin.name": "pgoutput", "database.hostname": u.Hostname(), "database.port": u.Port(), "database.user": u.User.Username(),
				"database.password": pw, "database.dbname": u.Path[1:], "slot.name": prefix, "publication.name": prefix,
				"publication.autocreate.mode": "filtered", "table.include.list": `shop\.orders`,
			}
		},
		truncate: func(ctx context.Context) error { _, err := c.Exec(ctx, "TRUNCATE shop.orders"); return err },
		insert: func(ctx context.Context, first, n int) error {
			for i := 0; i < n; i += 1000 {
				if err := story.InsertOrders(ctx, c, first+i, min(1000, n-i)); err != nil {
					return err
				}
			}
			return nil
		},
		cleanUp: func(ctx context.Context, prefix string) {
			// The slot is free a moment after its connector is gone.
			for range 100 {
				if _, err := c.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", prefix); err == nil {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			_, _ = c.Exec(ctx, "DROP PUBLICATION IF EXISTS "+pgx.Identifier{prefix}.Sanitize())
		},
	}, nil
}

func mysqlSource(ctx context.Context, my *servers.MySQL) (*source, error) {
	c, err := story.MySQLConn(ctx, my)
	if err != nil {
		return nil, err
	}
	for _, q := range []string{"CREATE DATABASE IF NOT EXISTS shop", "DROP TABLE IF EXISTS shop.payments", story.PaymentsDDL} {
		if _, err := c.Execute(q); err != nil {
			return nil, err
		}
	}
	host, port, err := net.SplitHostPort(my.Addr)
	if err != nil {
		return nil, err
	}
	id := 7000
	return &source{
		name: "MySQL " + my.Version, class: "io.debezium.connector.mysql.MySqlConnector",
		topic: func(prefix string) string { return prefix + ".shop.payments" },
		config: func(_, _ string) map[string]string {
			id++
			return map[string]string{
				"database.hostname": host, "database.port": port, "database.user": my.User, "database.password": my.Password,
				"database.server.id": fmt.Sprint(id), "database.include.list": "shop", "table.include.list": `shop\.payments`,
			}
		},
		truncate: func(context.Context) error { _, err := c.Execute("TRUNCATE shop.payments"); return err },
		insert: func(_ context.Context, first, n int) error {
			for i := 0; i < n; i += 1000 {
				if err := story.InsertPayments(c, first+i, min(1000, n-i)); err != nil {
					return err
				}
			}
			return nil
		},
		cleanUp: func(context.Context, string) {},
	}, nil
}

// end returns where a topic of one partition ends for readers of committed records, 0 when there is no such topic yet.
func end(ctx context.Context, adm *kadm.Client, topic string) int64 {
	offsets, err := adm.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return 0
	}
	if o, ok := offsets.Lookup(topic, 0); ok && o.Err == nil {
		return o.Offset
	}
	return 0
}

// committed counts the records of a topic from one offset to another, and those below a third. What else lies there is markers of
// transactions.
func committed(ctx context.Context, bootstrap, topic string, from, below, to int64) (all, early int64, err error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(from)}}))
	if err != nil {
		return 0, 0, err
	}
	defer cl.Close()
	for at := from; at < to; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			return 0, 0, fmt.Errorf("count the records of %s: %w", topic, err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			at = r.Offset + 1
			if r.Offset < to && !r.Attrs.IsControl() {
				all++
				if r.Offset < below {
					early++
				}
			}
		})
	}
	return all, early, nil
}

// quiet is for how long a topic that may be complete must not grow before its records are counted.
const quiet = 300 * time.Millisecond

// arrival waits until n records were added to a topic of one partition that ended at from, and returns the records per second between the
// first and the last that were seen to arrive, so that the start of a connector is not part of it, and when the last one came. Counting
// begins when the topic has stopped growing: it takes nothing from what is measured.
func arrival(ctx context.Context, adm *kadm.Client, bootstrap, topic string, from, n int64, alive func() error) (rate float64, last time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	var first time.Time
	seen, at := from, from
	for i := 0; ; i++ {
		to, now := end(ctx, adm, topic), time.Now()
		if to > from && first.IsZero() {
			first, seen = now, to
		}
		if to > at {
			at, last = to, now
		}
		if at >= from+n && now.Sub(last) > quiet {
			all, early, err := committed(ctx, bootstrap, topic, from, seen, at)
			switch {
			case err != nil:
				return 0, last, err
			case early >= n:
				return 0, last, fmt.Errorf("%s: all %d records came at once: too few to measure", topic, n)
			case all >= n:
				return float64(all-early) / last.Sub(first).Seconds(), last, nil
			}
		}
		if i%100 == 99 {
			if err := alive(); err != nil {
				return 0, last, err
			}
		}
		select {
		case <-ctx.Done():
			return 0, last, fmt.Errorf("%s ends at %d, and %d records more than %d offsets were expected: %w", topic, at, n, from, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func failure(ctx context.Context, rest, name string) error {
	var st story.ConnectorStatus
	if err := story.REST(ctx, http.MethodGet, rest+"/connectors/"+name+"/status", nil, &st); err == nil {
		if f := st.Failed(); f != "" {
			return fmt.Errorf("connector %s failed: %s", name, f)
		}
	}
	return nil
}

// has reports whether a worker knows a connector class.
func has(ctx context.Context, rest, class string) bool {
	var plugins []struct {
		Class string `json:"class"`
	}
	if err := story.REST(ctx, http.MethodGet, rest+"/connector-plugins", nil, &plugins); err != nil {
		return false
	}
	for _, p := range plugins {
		if p.Class == class {
			return true
		}
	}
	return false
}

// capture measures snapshot and stream of one source through one worker. The log keeps the topic, whose name it returns.
func (b *bench) capture(ctx context.Context, s *source, w worker) (topic string, err error) {
	if !has(ctx, w.rest, s.class) {
		b.rep.gap("%s through %s: %s is not among its plugins", s.name, w.system, s.class)
		return "", nil
	}
	prefix := b.unique("b")
	topic = s.topic(prefix)
	n := b.rows
	if err := s.truncate(ctx); err != nil {
		return "", err
	}
	if err := s.insert(ctx, 1, n); err != nil {
		return "", err
	}
	config := map[string]string{"connector.class": s.class, "tasks.max": "1", "topic.prefix": prefix, "snapshot.mode": "initial",
		"topic.creation.default.partitions": "1", "topic.creation.default.replication.factor": "1"}
	for k, v := range s.config(prefix, w.bootstrap) {
		config[k] = v
	}
	for k, v := range w.config {
		config[k] = v
	}
	if w.system != "moldau" && s.class == "io.debezium.connector.mysql.MySqlConnector" {
		config["schema.history.internal.kafka.bootstrap.servers"] = w.bootstrap
		config["schema.history.internal.kafka.topic"] = prefix + "-history"
		config["driver.allowPublicKeyRetrieval"] = "true"
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.bootstrap), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		return "", err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	at := w.rest + "/connectors/" + prefix
	began := time.Now()
	if err := retry(ctx, func() error {
		return story.REST(ctx, http.MethodPost, w.rest+"/connectors", story.Connector{Name: prefix, Config: config}, nil)
	}); err != nil {
		return "", err
	}
	defer func() {
		_ = story.REST(context.WithoutCancel(ctx), http.MethodDelete, at, nil, nil)
		s.cleanUp(context.WithoutCancel(ctx), prefix)
	}()
	alive := func() error { return failure(ctx, w.rest, prefix) }
	rate, last, err := arrival(ctx, adm, w.bootstrap, topic, 0, int64(n), alive)
	if err != nil {
		return "", err
	}
	b.rep.add(s.name+" snapshot", w.system, w.mode, "events/s", rate)
	b.rep.add(s.name+" snapshot, POST to last event", w.system, w.mode, "s", last.Sub(began).Seconds())

	// The changes of the stream are made while the connector is stopped, so that the database does not compete with it.
	if err := retry(ctx, func() error { return story.REST(ctx, http.MethodPut, at+"/stop", nil, nil) }); err != nil {
		return "", err
	}
	if err := b.waitState(ctx, w.rest, prefix, "STOPPED"); err != nil {
		return "", err
	}
	if err := s.insert(ctx, n+1, n); err != nil {
		return "", err
	}
	from := end(ctx, adm, topic)
	if err := retry(ctx, func() error { return story.REST(ctx, http.MethodPut, at+"/resume", nil, nil) }); err != nil {
		return "", err
	}
	if rate, _, err = arrival(ctx, adm, w.bootstrap, topic, from, int64(n), alive); err != nil {
		return "", err
	}
	b.rep.add(s.name+" stream", w.system, w.mode, "events/s", rate)
	return topic, nil
}

// retry repeats a call that a worker refuses while it rebalances (409).
func retry(ctx context.Context, call func() error) error {
	for i := 0; ; i++ {
		err := call()
		var st *story.StatusError
		if err == nil || i == 100 || !errors.As(err, &st) || st.Code != http.StatusConflict {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// waitState waits until a connector is in a state and, when that is STOPPED, has no task left.
func (b *bench) waitState(ctx context.Context, rest, name, state string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		var st story.ConnectorStatus
		err := story.REST(ctx, http.MethodGet, rest+"/connectors/"+name+"/status", nil, &st)
		if err == nil && st.Connector.State == state && (state != "STOPPED" || len(st.Tasks) == 0) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("connector %s is not %s: %+v: %w", name, state, st, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
