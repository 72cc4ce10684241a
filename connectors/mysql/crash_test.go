package mysql

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/connectors/cdc/cdctest"
	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/plugins"
)

// writerConn is a connection of a writer.
type writerConn struct{ *client.Conn }

func (c writerConn) run(sql string, args ...any) error {
	_, err := c.Execute(fmt.Sprintf(sql, args...))
	return err
}
func (c writerConn) Insert(key, version int) error {
	return c.run("INSERT INTO t VALUES (%d, %d, 'in')", key, version)
}
func (c writerConn) Update(key, version int) error {
	return c.run("UPDATE t SET v = %d WHERE id = %d", version, key)
}
func (c writerConn) Delete(key int) error { return c.run("DELETE FROM t WHERE id = %d", key) }
func (c writerConn) Close()               { _ = c.Conn.Close() }

// InsertMany inserts in one statement: the rows are one event.
func (c writerConn) InsertMany(keys, versions []int) error {
	rows := make([]string, len(keys))
	for i, k := range keys {
		rows[i] = fmt.Sprintf("(%d,%d,'many')", k, versions[i])
	}
	return c.run("INSERT INTO t VALUES %s", strings.Join(rows, ","))
}

// load runs writers on the table t of the database.
func (d *database) load(writers int, seed uint64) (stop func() []*cdctest.Writer) {
	d.t.Helper()
	return cdctest.Load(d.t, writers, seed, func() cdctest.Conn {
		conn := dial(d.t, d.srv)
		_, err := conn.Execute("USE " + d.name)
		require.NoError(d.t, err)
		return writerConn{conn}
	})
}

// TestKillsLoseNothingAndDoubleNothing stops the task at random moments and goes on from what was stored.
func TestKillsLoseNothingAndDoubleNothing(t *testing.T) {
	for _, mode := range []string{"gtid", "file"} {
		t.Run(mode, func(t *testing.T) {
			flavors(t, func(t *testing.T, srv *servers.MySQL) { kills(t, srv, mode == "file") })
		})
	}
}

func kills(t *testing.T, srv *servers.MySQL, byFile bool) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	d := newDatabase(t, srv)
	d.exec("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL, pad text)")
	stop := d.load(3, seed)
	defer stop()
	require.Eventually(t, func() bool {
		r, err := d.conn.Execute("SELECT COUNT(*) FROM t")
		require.NoError(t, err)
		n, _ := r.GetInt(0, 0)
		return n > 20
	}, 10*time.Second, 10*time.Millisecond, "the snapshot finds something")
	k := cdctest.Kills{For: 4 * time.Second, Same: samePlace, Inside: func(o plugins.Offset) bool { return !o.(*offset).between() },
		Start: func(stored map[string]any) *cdctest.Task {
			if byFile {
				delete(stored, "gtids")
			}
			return d.start(stored, "max.batch.size", "64", "max.queue.size", "200", "poll.interval.ms", "20").Task
		}}
	k.Play(t, rnd, stop)
}

// samePlace compares positions by what they say.
func samePlace(a, b plugins.Offset) bool {
	x, y := a.(*offset), b.(*offset)
	return x.file == y.file && x.pos == y.pos && x.event == y.event && x.row == y.row && x.snapshot == y.snapshot
}

// TestAServerThatDiesIsWaitedFor kills the server itself under load. The task never fails, and loses and doubles nothing.
func TestAServerThatDiesIsWaitedFor(t *testing.T) {
	for flavor, f := range map[string]func(context.Context, string) (*servers.MySQL, error){"mysql": servers.StartMySQL, "mariadb": servers.StartMariaDB} {
		t.Run(flavor, func(t *testing.T) {
			if servers.Excluded(flavor) {
				t.Skip(flavor + " was excluded")
			}
			if os.Getenv(servers.EnvMySQL) != "" || os.Getenv(servers.EnvMariaDB) != "" {
				t.Skip("the server is not ours to kill")
			}
			ctx := context.Background()
			srv, err := f(ctx, t.TempDir())
			require.NoError(t, err)
			defer func() { _ = srv.Kill() }()
			d := newDatabase(t, srv)
			d.exec("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL)")
			d.exec("INSERT INTO t VALUES (0, 1)")
			r := d.start(nil, "poll.interval.ms", "20")
			r.Count(1)
			r.Streaming()
			next := 1
			for round := range 4 {
				for range 100 {
					d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 1), (%d, 1)", next, next+1))
					next += 2
				}
				if round%2 == 1 {
					r.Count(next)
				}
				if round < 3 {
					d.exec("FLUSH ENGINE LOGS") // the settings of the test let a kill lose the last second
					d.exec("FLUSH BINARY LOGS")
					require.NoError(t, srv.Kill())
				} else {
					require.NoError(t, srv.Stop())
				}
				require.Eventually(t, func() bool { return srv.Start(ctx) == nil }, 30*time.Second, 50*time.Millisecond)
				d.conn = dial(t, srv)
				d.exec("USE " + d.name)
			}
			d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 1)", next))
			r.Count(next + 1)
			for i, rec := range r.Records {
				require.EqualValues(t, i, rec.Key.Field("id").Int(), "in order, each once")
			}
		})
	}
}
