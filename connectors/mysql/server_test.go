package mysql

import (
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/connectors/cdc/cdctest"
	"github.com/moldau-io/moldau/internal/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

var (
	dbCount   atomic.Int64
	serverIDs atomic.Int64
)

// database is a fresh database of a test server, dropped at the end.
type database struct {
	t    testing.TB
	srv  *servers.MySQL
	name string
	conn *client.Conn
}

// flavors runs a test on MySQL and on MariaDB.
func flavors(t *testing.T, f func(t *testing.T, srv *servers.MySQL)) {
	t.Run("mysql", func(t *testing.T) { f(t, servers.TestMySQL(t)) })
	t.Run("mariadb", func(t *testing.T) { f(t, servers.TestMariaDB(t)) })
}

func dial(t testing.TB, srv *servers.MySQL) *client.Conn {
	t.Helper()
	c, err := client.Connect(srv.Addr, srv.User, srv.Password, "")
	require.NoError(t, err)
	_, err = c.Execute("SET NAMES utf8mb4")
	require.NoError(t, err)
	return c
}

func newDatabase(t testing.TB, srv *servers.MySQL) *database {
	t.Helper()
	d := &database{t: t, srv: srv, name: fmt.Sprintf("t%d_%d", time.Now().UnixNano()%1e9, dbCount.Add(1)), conn: dial(t, srv)}
	d.exec("CREATE DATABASE " + d.name)
	d.exec("USE " + d.name)
	t.Cleanup(func() {
		_, _ = d.conn.Execute("DROP DATABASE IF EXISTS " + d.name)
		_ = d.conn.Close()
	})
	return d
}

func (d *database) exec(sql string, args ...any) {
	d.t.Helper()
	_, err := d.conn.Execute(sql, args...)
	require.NoError(d.t, err, sql)
}

// script runs a file statement by statement.
func (d *database) script(file string) {
	d.t.Helper()
	d.each(file, func(string) {})
}

// each runs a file statement by statement and calls f after each.
func (d *database) each(file string, f func(sql string)) {
	d.t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(d.t, err)
	for _, line := range strings.Split(string(b), ";\n") {
		for _, s := range strings.Split(line, "; ") {
			if strings.TrimSpace(s) != "" {
				d.exec(s)
				f(s)
			}
		}
	}
}

// config returns a configuration for the database, with kv laid over it.
func (d *database) config(kv ...string) map[string]string {
	host, port, err := net.SplitHostPort(d.srv.Addr)
	require.NoError(d.t, err)
	m := map[string]string{
		"database.hostname": host, "database.port": port, "database.user": d.srv.User, "database.password": d.srv.Password,
		"database.server.id": fmt.Sprint(5000 + serverIDs.Add(1)), "database.include.list": d.name, "topic.prefix": "p", "poll.interval.ms": "50",
		"retriable.restart.connector.wait.ms": "300",
		"schema.history.internal.kafka.topic": "history", "schema.history.internal.kafka.bootstrap.servers": "nowhere:1",
	}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
		if kv[i+1] == "" {
			delete(m, kv[i])
		}
	}
	return m
}

func (d *database) start(stored map[string]any, kv ...string) *running {
	d.t.Helper()
	return startTask(d.t, d.srv.Flavor == "mariadb", d.config(kv...), stored)
}

// running is a started task with everything it delivered.
type running struct {
	*cdctest.Task
	task *Task
}

func startTask(t testing.TB, mariadb bool, raw map[string]string, stored map[string]any) *running {
	t.Helper()
	task := &Task{mariadb: mariadb}
	return &running{task: task, Task: cdctest.Start(t, task, Def(mariadb), raw, stored, func() bool { return task.runner.Metrics.Connected.Load() })}
}
