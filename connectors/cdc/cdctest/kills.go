package cdctest

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
)

// Kills plays a worker that stores positions together with records (its transactions do that), and stops the task at random moments: what
// was polled and not stored is forgotten. A judge looks at what was stored.
type Kills struct {
	// Start starts the task at a stored position, nil for none.
	Start func(stored map[string]any) *Task
	// Same reports whether two positions say the same: a task that began again at a stored position holds a copy of it.
	Same func(a, b plugins.Offset) bool
	// Inside reports whether a position lies inside a transaction.
	Inside func(plugins.Offset) bool
	// Stored, when not nil, is told of each position that was stored and of the task it came from.
	Stored func(task *Task, last plugins.Offset)
	// For is how long the writers go on.
	For time.Duration
}

// Play kills the task while the writers go on, stops them, and goes on until everything was seen.
func (k *Kills) Play(t testing.TB, rnd *rand.Rand, stop func() []*Writer) {
	t.Helper()
	j := NewJudge(t)
	var stored map[string]any
	var last plugins.Offset
	var handed, inside, kills int
	same := func(a, b plugins.Offset) bool {
		if a == nil || b == nil {
			return a == b
		}
		return k.Same(a, b)
	}
	r := k.Start(nil)
	poll := func() {
		recs := r.Poll()
		if len(recs) == 0 {
			return
		}
		keep := len(recs)
		kill := rnd.IntN(30) == 0
		if kill { // only a part of the batch is stored, up to the end of a change: there the position moves
			for keep = rnd.IntN(len(recs) + 1); keep > 0; keep-- {
				before := last
				if keep > 1 {
					before = recs[keep-2].SourceOffset
				}
				if !same(recs[keep-1].SourceOffset, before) {
					break
				}
			}
		}
		for _, rec := range recs[:keep] {
			j.See(rec)
			handed++
		}
		if keep > 0 && recs[keep-1].SourceOffset != nil {
			last = recs[keep-1].SourceOffset
			stored = last.OffsetMap()
			if k.Inside(last) {
				inside++
			}
			if k.Stored != nil {
				k.Stored(r, last)
			}
		}
		if kill {
			kills++
			r.Stop()
			r = k.Start(stored)
		}
	}
	for end := time.Now().Add(k.For); time.Now().Before(end); {
		poll()
	}
	writers := stop()
	require.Eventually(t, func() bool { poll(); return j.Complete(writers) }, 30*time.Second, time.Millisecond)
	t.Logf("%d records, %d kills, %d batches ended inside a transaction", handed, kills, inside)
	require.Positive(t, kills)
}
