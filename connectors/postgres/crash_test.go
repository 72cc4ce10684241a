package postgres

import (
	"context"
	"math/rand/v2"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/moldau-io/moldau/connectors/cdc/cdctest"
	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/plugins"
	"github.com/stretchr/testify/require"
)

// writerConn is a connection of a writer.
type writerConn struct {
	*pgx.Conn
	tx pgx.Tx
}

func (c *writerConn) Begin() (err error) {
	c.tx, err = c.Conn.Begin(context.Background())
	return err
}
func (c *writerConn) Commit() error   { return c.tx.Commit(context.Background()) }
func (c *writerConn) Rollback() error { return c.tx.Rollback(context.Background()) }
func (c *writerConn) Close()          { _ = c.Conn.Close(context.Background()) }

func (c *writerConn) run(sql string, args ...any) error {
	_, err := c.tx.Exec(context.Background(), sql, args...)
	return err
}
func (c *writerConn) Insert(key, version int) error {
	return c.run("INSERT INTO t VALUES ($1, $2, 'in')", key, version)
}
func (c *writerConn) Update(key, version int) error {
	return c.run("UPDATE t SET v = $2 WHERE id = $1", key, version)
}
func (c *writerConn) Delete(key int) error { return c.run("DELETE FROM t WHERE id = $1", key) }

// InsertMany inserts by COPY: the rows are at one position of the log.
func (c *writerConn) InsertMany(keys, versions []int) error {
	rows := make([][]any, len(keys))
	for i, k := range keys {
		rows[i] = []any{k, versions[i], "copied"}
	}
	_, err := c.tx.CopyFrom(context.Background(), pgx.Identifier{"t"}, []string{"id", "v", "pad"}, pgx.CopyFromRows(rows))
	return err
}

// TestKillsLoseNothingAndDoubleNothing stops the task at random moments and goes on from what was stored, whatever of it the slot was told.
func TestKillsLoseNothingAndDoubleNothing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	d := newDatabase(t)
	d.exec("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL, pad text)")
	stop := cdctest.Load(t, 3, seed, func() cdctest.Conn {
		conn, err := pgx.Connect(context.Background(), d.url.String())
		require.NoError(t, err)
		return &writerConn{Conn: conn}
	})
	defer stop()
	require.Eventually(t, func() bool {
		var n int
		require.NoError(t, d.conn.QueryRow(context.Background(), "SELECT count(*) FROM t").Scan(&n))
		return n > 20
	}, 10*time.Second, 10*time.Millisecond, "the snapshot finds something")
	k := cdctest.Kills{For: 8 * time.Second, Inside: func(o plugins.Offset) bool { return !o.(*offset).atCommit() },
		Same: func(a, b plugins.Offset) bool { return *a.(*offset) == *b.(*offset) },
		Start: func(stored map[string]any) *cdctest.Task {
			return startTask(t, d.config("max.batch.size", "64", "max.queue.size", "200", "poll.interval.ms", "20", "status.update.interval.ms", "20"), stored).Task
		},
		Stored: func(task *cdctest.Task, last plugins.Offset) {
			if rnd.IntN(2) == 0 {
				task.Last = last
				task.Commit()
			}
		}}
	k.Play(t, rnd, stop)
}

// TestAServerThatDiesIsWaitedFor kills the server itself under load. The task never fails, and loses and doubles nothing.
func TestAServerThatDiesIsWaitedFor(t *testing.T) {
	if os.Getenv(servers.EnvPostgres) != "" {
		t.Skip("the server given by " + servers.EnvPostgres + " is not ours to kill")
	}
	pg, err := servers.StartPostgres(context.Background(), t.TempDir())
	require.NoError(t, err)
	defer func() { _ = pg.Stop() }()
	ctx := context.Background()
	d := &database{t: t, name: "postgres"}
	d.url = mustURL(t, pg.URL)
	d.conn, err = pgx.Connect(ctx, pg.URL)
	require.NoError(t, err)
	d.exec("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL, pad text)")
	d.exec("INSERT INTO t VALUES (0, 1, '')")
	r := startTask(t, d.config("poll.interval.ms", "20", "status.update.interval.ms", "50"), nil)
	r.Count(1)
	r.Streaming()
	next := 1
	for round := range 3 {
		for range 200 {
			_, err := d.conn.Exec(ctx, "INSERT INTO t VALUES ($1, 1, '')", next)
			require.NoError(t, err)
			next++
		}
		if round == 1 {
			r.Count(next)
			r.Commit()
		}
		require.NoError(t, pg.Kill())
		require.Eventually(t, func() bool { return pg.Start(ctx) == nil }, 30*time.Second, 50*time.Millisecond, "its orphans have to be gone first")
		d.conn, err = pgx.Connect(ctx, pg.URL)
		require.NoError(t, err)
	}
	d.exec("INSERT INTO t VALUES ($1, 1, '')", next)
	r.Count(next + 1)
	for i, rec := range r.Records {
		require.Equal(t, int64(i), rec.Key.Field("id").Int(), "in order, each once")
	}
	// An orderly stop of the server ends as soon as the log has everything: the server waits until all is confirmed.
	d.exec("INSERT INTO t VALUES ($1, 1, '')", next+1)
	_ = d.conn.Close(ctx)
	stopped := make(chan error, 1)
	start := time.Now()
	go func() { stopped <- pg.Stop() }()
	for done := false; !done; {
		r.Add(r.Poll())
		r.Commit()
		select {
		case err := <-stopped:
			require.NoError(t, err)
			done = true
		default:
		}
	}
	require.Less(t, time.Since(start), 10*time.Second)
	require.Len(t, r.Records, next+2)
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	require.NoError(t, err)
	return u
}
