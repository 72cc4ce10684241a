package mysql

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/plugins"
)

// writer changes rows that are its own and counts, for each, how often they were changed.
type writer struct {
	id   int
	v    map[int]int  // key -> version of the last committed change
	live map[int]bool // whether the row exists
	rnd  *rand.Rand
}

const keysPerWriter = 20

// transact makes one random transaction of one or several changes, some of them of several rows in one statement.
func (w *writer) transact(conn *client.Conn) error {
	v, live := map[int]int{}, map[int]bool{}
	for k, n := range w.v {
		v[k], live[k] = n, w.live[k]
	}
	if err := conn.Begin(); err != nil {
		return err
	}
	for range 1 + w.rnd.IntN(6) {
		var missing []int
		for i := range keysPerWriter {
			if k := w.id*1000 + i; !live[k] {
				missing = append(missing, k)
			}
		}
		if len(missing) > 3 && w.rnd.IntN(3) == 0 { // several rows in one event
			var rows []string
			for _, k := range missing {
				v[k]++
				live[k] = true
				rows = append(rows, fmt.Sprintf("(%d,%d,'many')", k, v[k]))
			}
			if _, err := conn.Execute("INSERT INTO t VALUES " + strings.Join(rows, ",")); err != nil {
				return err
			}
			continue
		}
		k := w.id*1000 + w.rnd.IntN(keysPerWriter)
		v[k]++
		sql := fmt.Sprintf("UPDATE t SET v = %d WHERE id = %d", v[k], k)
		switch {
		case !live[k]:
			sql = fmt.Sprintf("INSERT INTO t VALUES (%d, %d, 'in')", k, v[k])
			live[k] = true
		case w.rnd.IntN(4) == 0:
			sql = fmt.Sprintf("DELETE FROM t WHERE id = %d", k)
			live[k] = false
		}
		if _, err := conn.Execute(sql); err != nil {
			return err
		}
	}
	if w.rnd.IntN(10) == 0 {
		return conn.Rollback()
	}
	if err := conn.Commit(); err != nil {
		return err
	}
	w.v, w.live = v, live
	return nil
}

// judge follows what became durable: within each key, versions must come one after the other, none missing and none twice.
type judge struct {
	t *testing.T
	v map[int]int
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
	if !seen { // not in the snapshot: never inserted, or deleted before it
		require.Equal(j.t, "c", op, "key %d begins in the middle", k)
	} else {
		require.Equal(j.t, last+1, v, "history is broken: key %d: %s at %v", k, op, r.SourceOffset.OffsetMap())
	}
	j.v[k] = v
}

func workload(t *testing.T, d *database, writers int, seed uint64) (stop func() []*writer) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var all []*writer
	for i := range writers {
		w := &writer{id: i + 1, v: map[int]int{}, live: map[int]bool{}, rnd: rand.New(rand.NewPCG(seed, uint64(i)))}
		all = append(all, w)
		conn := dial(t, d.srv)
		_, err := conn.Execute("USE " + d.name)
		require.NoError(t, err)
		wg.Go(func() {
			defer conn.Close()
			for ctx.Err() == nil {
				if err := w.transact(conn); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	return func() []*writer { cancel(); wg.Wait(); return all }
}

func (j *judge) final(writers []*writer) bool {
	for _, w := range writers {
		for k, v := range w.v {
			if got, ok := j.v[k]; got != v && !(v == 0 && !ok) {
				return false
			}
		}
	}
	return true
}

// TestKillsLoseNothingAndDoubleNothing plays a worker that stores positions together with records (its transactions do that), and stops
// the task at random moments: what was polled and not stored is forgotten.
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
	stop := workload(t, d, 3, seed)
	defer stop()
	require.Eventually(t, func() bool {
		r, err := d.conn.Execute("SELECT COUNT(*) FROM t")
		require.NoError(t, err)
		n, _ := r.GetInt(0, 0)
		return n > 20
	}, 10*time.Second, 10*time.Millisecond, "the snapshot finds something")
	j := &judge{t: t, v: map[int]int{}}
	var stored map[string]any
	var handed, inside int
	var lastSeen plugins.Offset
	start := func() *running {
		if byFile && stored != nil {
			delete(stored, "gtids")
		}
		return d.start(stored, "max.batch.size", "64", "max.queue.size", "200", "poll.interval.ms", "20")
	}
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
				if !samePlace(recs[keep-1].SourceOffset, before) {
					break
				}
			}
		}
		for _, rec := range recs[:keep] {
			j.see(rec)
			handed++
		}
		if keep > 0 && recs[keep-1].SourceOffset != nil {
			lastSeen = recs[keep-1].SourceOffset
			stored = lastSeen.OffsetMap()
			if !lastSeen.(*offset).between() {
				inside++
			}
		}
		return crash
	}
	r := start()
	crashes := 0
	again := func() {
		if poll(r) {
			crashes++
			require.NoError(t, r.task.Stop())
			r = start()
		}
	}
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
		again()
	}
	writers := stop()
	require.Eventually(t, func() bool { again(); return j.final(writers) }, 30*time.Second, time.Millisecond)
	t.Logf("%d records, %d kills, %d batches ended inside a transaction", handed, crashes, inside)
	require.Positive(t, crashes)
}

// samePlace compares positions by what they say: a task that began again at a stored position holds a copy of it.
func samePlace(a, b plugins.Offset) bool {
	if a == nil || b == nil {
		return a == b
	}
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
			r.count(1)
			r.streaming()
			next := 1
			for round := range 4 {
				for range 100 {
					d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, 1), (%d, 1)", next, next+1))
					next += 2
				}
				if round%2 == 1 {
					r.count(next)
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
			r.count(next + 1)
			for i, rec := range r.recs {
				require.EqualValues(t, i, rec.Key.Field("id").Int(), "in order, each once")
			}
		})
	}
}
