package postgres

import (
	"context"
	"math/rand/v2"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/plugins"
	"github.com/stretchr/testify/require"
)

// client changes rows that are its own and counts, for each, how often they were changed.
type client struct {
	id   int
	v    map[int]int  // key -> version of the last committed change
	live map[int]bool // whether the row exists
	rnd  *rand.Rand
}

const keysPerClient = 20

// transact makes one random transaction of one or several changes.
func (c *client) transact(ctx context.Context, conn *pgx.Conn) error {
	v, live := map[int]int{}, map[int]bool{}
	for k, n := range c.v {
		v[k], live[k] = n, c.live[k]
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	for range 1 + c.rnd.IntN(6) {
		var missing []int
		for i := range keysPerClient {
			if k := c.id*1000 + i; !live[k] {
				missing = append(missing, k)
			}
		}
		if len(missing) > 3 && c.rnd.IntN(3) == 0 { // several rows at one position of the log
			rows := make([][]any, len(missing))
			for i, k := range missing {
				v[k]++
				live[k] = true
				rows[i] = []any{k, v[k], "copied"}
			}
			if _, err := tx.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"id", "v", "pad"}, pgx.CopyFromRows(rows)); err != nil {
				return err
			}
			continue
		}
		k := c.id*1000 + c.rnd.IntN(keysPerClient)
		v[k]++
		switch {
		case !live[k]:
			_, err = tx.Exec(ctx, "INSERT INTO t VALUES ($1, $2, 'in')", k, v[k])
			live[k] = true
		case c.rnd.IntN(4) == 0:
			_, err = tx.Exec(ctx, "DELETE FROM t WHERE id = $1", k)
			live[k] = false
		default:
			_, err = tx.Exec(ctx, "UPDATE t SET v = $2 WHERE id = $1", k, v[k])
		}
		if err != nil {
			return err
		}
	}
	if c.rnd.IntN(10) == 0 {
		return tx.Rollback(ctx)
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	c.v, c.live = v, live
	return nil
}

// judge follows what became durable: within each key, versions must come one after the other.
type judge struct {
	t     *testing.T
	v     map[int]int
	dups  int
	exact bool // no change may come twice
}

func (j *judge) see(r plugins.SourceRecord) {
	j.t.Helper()
	if r.Topic == "" || r.Value.IsNull() {
		return
	}
	src, op := r.Value.Field("source"), r.Value.Field("op").Str()
	if op == "r" {
		if src.Field("snapshot").Str() == "first" { // a snapshot begins (again)
			clear(j.v)
		}
		row := r.Value.Field("after")
		j.v[int(row.Field("id").Int())] = int(row.Field("v").Int())
		return
	}
	k := int(r.Key.Field("id").Int())
	last, seen := j.v[k]
	v := last + 1
	if op != "d" {
		v = int(r.Value.Field("after").Field("v").Int())
	}
	switch {
	case !seen: // not in the snapshot: never inserted, or deleted before it
		require.Equal(j.t, "c", op, "key %d begins in the middle", k)
	case v == last+1:
	case !j.exact && v <= last:
		j.dups++
	default:
		require.Failf(j.t, "history is broken", "key %d: %s brings version %d after %d at %v", k, op, v, last, r.SourceOffset.OffsetMap())
	}
	j.v[k] = v
}

func workload(t *testing.T, d *database, clients int, seed uint64) (stop func() []*client) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var all []*client
	for i := range clients {
		c := &client{id: i + 1, v: map[int]int{}, live: map[int]bool{}, rnd: rand.New(rand.NewPCG(seed, uint64(i)))}
		all = append(all, c)
		conn, err := pgx.Connect(context.Background(), d.url.String())
		require.NoError(t, err)
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer conn.Close(context.Background())
			for ctx.Err() == nil {
				if err := c.transact(context.Background(), conn); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	return func() []*client { cancel(); wg.Wait(); return all }
}

func (j *judge) final(clients []*client) bool {
	for _, c := range clients {
		for k, v := range c.v {
			if got, ok := j.v[k]; got != v && (v != 0 || ok) {
				return false
			}
		}
	}
	return true
}

// TestKillsLoseNothingAndDoubleNothing plays a worker that stores positions together with records (its transactions do that), and stops
// the task at random moments: what was polled and not stored is forgotten, nothing is committed on the way out.
func TestKillsLoseNothingAndDoubleNothing(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	d := newDatabase(t)
	d.exec("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL, pad text)")
	stop := workload(t, d, 3, seed)
	time.Sleep(300 * time.Millisecond) // the snapshot finds something
	j := &judge{t: t, v: map[int]int{}, exact: true}
	var stored map[string]any
	var handed, inside int
	var lastSeen plugins.Offset
	poll := func(r *running) bool {
		recs, err := r.task.Poll(context.Background())
		require.NoError(t, err)
		if len(recs) == 0 {
			return false
		}
		keep := len(recs)
		crash := rnd.IntN(30) == 0
		if crash { // only a part of the batch is stored, up to the end of a change: there the position moves
			for keep = rnd.IntN(len(recs) + 1); keep > 0; keep-- {
				before := lastSeen
				if keep > 1 {
					before = recs[keep-2].SourceOffset
				}
				if before == nil || *recs[keep-1].SourceOffset.(*offset) != *before.(*offset) {
					break
				}
			}
		}
		for _, rec := range recs[:keep] {
			j.see(rec)
			handed++
		}
		if keep > 0 {
			lastSeen = recs[keep-1].SourceOffset
			stored = lastSeen.OffsetMap()
			if !lastSeen.(*offset).atCommit() {
				inside++
			}
			if rnd.IntN(2) == 0 {
				require.NoError(t, r.task.Commit(context.Background(), nil, lastSeen))
			}
		}
		return crash
	}
	r := startTask(t, d.config("max.batch.size", "64", "max.queue.size", "200", "poll.interval.ms", "20", "status.update.interval.ms", "20"), nil)
	kills := 0
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); {
		if poll(r) {
			kills++
			require.NoError(t, r.task.Stop())
			r = startTask(t, d.config("max.batch.size", "64", "max.queue.size", "200", "poll.interval.ms", "20", "status.update.interval.ms", "20"), stored)
		}
	}
	clients := stop()
	require.Eventually(t, func() bool {
		if poll(r) {
			kills++
			require.NoError(t, r.task.Stop())
			r = startTask(t, d.config("poll.interval.ms", "20"), stored)
		}
		return j.final(clients)
	}, 30*time.Second, time.Millisecond)
	t.Logf("%d records, %d kills, %d batches ended inside a transaction", handed, kills, inside)
	require.Positive(t, kills)
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
	r.count(1)
	r.streaming()
	next := 1
	for round := range 3 {
		for range 200 {
			_, err := d.conn.Exec(ctx, "INSERT INTO t VALUES ($1, 1, '')", next)
			require.NoError(t, err)
			next++
		}
		if round == 1 {
			r.count(next)
			r.commit()
		}
		require.NoError(t, pg.Kill())
		require.Eventually(t, func() bool { return pg.Start(ctx) == nil }, 30*time.Second, 50*time.Millisecond, "its orphans have to be gone first")
		d.conn, err = pgx.Connect(ctx, pg.URL)
		require.NoError(t, err)
	}
	d.exec("INSERT INTO t VALUES ($1, 1, '')", next)
	r.count(next + 1)
	for i, rec := range r.recs {
		require.Equal(t, int64(i), rec.Key.Field("id").Int(), "in order, each once")
	}
	// An orderly stop of the server ends as soon as the log has everything: the server waits until all is confirmed.
	d.exec("INSERT INTO t VALUES ($1, 1, '')", next+1)
	_ = d.conn.Close(ctx)
	stopped := make(chan error, 1)
	start := time.Now()
	go func() { stopped <- pg.Stop() }()
	for done := false; !done; {
		recs, err := r.task.Poll(ctx)
		require.NoError(t, err)
		for _, rec := range recs {
			r.last = rec.SourceOffset
			if rec.Topic != "" {
				r.recs = append(r.recs, rec)
			}
		}
		r.commit()
		select {
		case err := <-stopped:
			require.NoError(t, err)
			done = true
		default:
		}
	}
	require.Less(t, time.Since(start), 10*time.Second)
	require.Len(t, r.recs, next+2)
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	require.NoError(t, err)
	return u
}
