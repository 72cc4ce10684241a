package cdctest

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
)

// Conn is a connection of one writer to a database with a table t of an integer key id, an integer v, the version of the row, and whatever
// else.
type Conn interface {
	Begin() error
	Commit() error
	Rollback() error
	Insert(key, version int) error
	// InsertMany inserts rows that share one place in the database's log.
	InsertMany(keys, versions []int) error
	Update(key, version int) error
	Delete(key int) error
	Close()
}

// Writer changes rows that are its own and counts, for each, how often they were changed.
type Writer struct {
	id   int
	v    map[int]int  // key -> version of the last committed change
	live map[int]bool // whether the row exists
	rnd  *rand.Rand
}

const keysPerWriter = 20

// transact makes one random transaction of one or several changes, some of them of several rows at once.
func (w *Writer) transact(conn Conn) error {
	v, live := map[int]int{}, map[int]bool{}
	for k, n := range w.v {
		v[k], live[k] = n, w.live[k]
	}
	if err := conn.Begin(); err != nil {
		return err
	}
	for range 1 + w.rnd.IntN(6) {
		var missing, versions []int
		for i := range keysPerWriter {
			if k := w.id*1000 + i; !live[k] {
				missing, versions = append(missing, k), append(versions, v[k]+1)
			}
		}
		if len(missing) > 3 && w.rnd.IntN(3) == 0 {
			for _, k := range missing {
				v[k]++
				live[k] = true
			}
			if err := conn.InsertMany(missing, versions); err != nil {
				return err
			}
			continue
		}
		k := w.id*1000 + w.rnd.IntN(keysPerWriter)
		v[k]++
		var err error
		switch {
		case !live[k]:
			err = conn.Insert(k, v[k])
			live[k] = true
		case w.rnd.IntN(4) == 0:
			err = conn.Delete(k)
			live[k] = false
		default:
			err = conn.Update(k, v[k])
		}
		if err != nil {
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

// Load runs writers, each on a connection of its own, until stop, which waits for them and may be called again.
func Load(t testing.TB, writers int, seed uint64, connect func() Conn) (stop func() []*Writer) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var all []*Writer
	for i := range writers {
		w := &Writer{id: i + 1, v: map[int]int{}, live: map[int]bool{}, rnd: rand.New(rand.NewPCG(seed, uint64(i)))}
		all = append(all, w)
		conn := connect()
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
	return func() []*Writer { cancel(); wg.Wait(); return all }
}

// Judge follows what became durable of the table t: within each key, versions must come one after the other, none missing and none twice.
type Judge struct {
	t testing.TB
	v map[int]int
}

// NewJudge returns a judge who has seen nothing.
func NewJudge(t testing.TB) *Judge { return &Judge{t: t, v: map[int]int{}} }

// See judges the next record.
func (j *Judge) See(r plugins.SourceRecord) {
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

// Complete reports whether everything that the writers committed was seen.
func (j *Judge) Complete(writers []*Writer) bool {
	for _, w := range writers {
		for k, v := range w.v {
			if got, ok := j.v[k]; got != v && (v != 0 || ok) {
				return false
			}
		}
	}
	return true
}
