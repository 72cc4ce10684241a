package postgres

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/moldau-io/moldau/connectors/cdc/cdctest"
	"github.com/moldau-io/moldau/internal/servers"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { servers.Main(m) }

var dbCount atomic.Int64

// database is a fresh database of the test server, dropped with its slots at the end.
type database struct {
	t    testing.TB
	name string
	url  *url.URL
	conn *pgx.Conn
}

func newDatabase(t testing.TB) *database {
	t.Helper()
	ctx := context.Background()
	base, err := url.Parse(servers.TestPostgres(t).URL)
	require.NoError(t, err)
	admin, err := pgx.Connect(ctx, base.String())
	require.NoError(t, err)
	defer admin.Close(ctx)
	d := &database{t: t, name: fmt.Sprintf("t%d_%d", time.Now().UnixNano()%1e9, dbCount.Add(1))}
	_, err = admin.Exec(ctx, "CREATE DATABASE "+d.name)
	require.NoError(t, err)
	u := *base
	u.Path = "/" + d.name
	d.url = &u
	d.conn, err = pgx.Connect(ctx, u.String())
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = d.conn.Close(ctx)
		admin, err := pgx.Connect(ctx, base.String())
		if err != nil {
			return
		}
		defer admin.Close(ctx)
		for range 50 {
			_, err = admin.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1", d.name)
			if err == nil {
				break
			}
			time.Sleep(50 * time.Millisecond) // the server has not noticed yet that the stream is gone
		}
		_, _ = admin.Exec(ctx, "DROP DATABASE "+d.name+" WITH (FORCE)")
	})
	return d
}

func (d *database) exec(sql string, args ...any) {
	d.t.Helper()
	_, err := d.conn.Exec(context.Background(), sql, args...)
	require.NoError(d.t, err, sql)
}

// script runs a file statement by statement: BEGIN ... COMMIT on one line is one statement.
func (d *database) script(file string) {
	d.t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(d.t, err)
	for _, s := range strings.Split(string(b), ";\n") {
		if strings.TrimSpace(s) == "" {
			continue
		}
		_, err := d.conn.PgConn().Exec(context.Background(), s).ReadAll()
		require.NoError(d.t, err, s)
	}
}

// config returns a configuration for the database, with kv laid over it.
func (d *database) config(kv ...string) map[string]string {
	pw, _ := d.url.User.Password()
	m := map[string]string{
		"database.hostname": d.url.Hostname(), "database.port": d.url.Port(), "database.user": d.url.User.Username(), "database.password": pw,
		"database.dbname": d.name, "database.sslmode": "disable", "topic.prefix": "p", "slot.name": "slot_" + d.name, "poll.interval.ms": "50",
		"retriable.restart.connector.wait.ms": "300", "slot.retry.delay.ms": "2000",
	}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

// running is a started task with everything it delivered.
type running struct {
	*cdctest.Task
	task *Task
}

func startTask(t testing.TB, raw map[string]string, stored map[string]any) *running {
	t.Helper()
	task := &Task{}
	return &running{task: task, Task: cdctest.Start(t, task, Def(), raw, stored, func() bool { return task.runner.Metrics.Connected.Load() })}
}
