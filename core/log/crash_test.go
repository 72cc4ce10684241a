package log

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

var (
	crashSeed  = flag.Uint64("crash.seed", 0, "seed of the crash test; 0 for the usual ones")
	crashSeeds = flag.Int("crash.seeds", 4, "how many histories the crash test runs")
)

// The crash test runs a history of appends, rolls, compactions, retention, record deletions, topic deletions and checkpoints on a
// disk that stops at its n-th operation, for n over the whole history; takes what a power loss leaves; opens that; and compares
// with a model of what was acknowledged. It goes on from there, so that the next crash hits a recovered log.

// modelRecord is what was written at an offset.
type modelRecord struct {
	key, value string
	ts         int64
	epoch      int32
	txn        int // 0 for none
}

// txnOutcome is how a transaction was ended; acked says that its marker was acknowledged.
type txnOutcome struct {
	abort, acked bool
	at           int64 // offset of the marker
}

// model is what is known of a partition.
type model struct {
	name  string
	cfg   Config
	wrote map[int64]modelRecord
	acked int64 // everything below was acknowledged as durable
	start int64 // records below were deleted, and that was acknowledged
	// maybe is a start that was asked for and not acknowledged.
	maybe int64
	lost  bool // the log was being emptied: nothing in it is promised
	hadID bool // the topic's id is in the folder, durable with the first acknowledged record
	seq   int32
	last  AppendResult // of the idempotent producer's last acknowledged batch
	lastB []byte
	n     int // records made, for unique values

	// Of the transactional topics, whose only producer is txnProducer.
	txn      int // the open transaction, 0 for none
	txns     int // begun so far
	outcomes map[int]txnOutcome
}

const txnProducer = 77

func (m *model) transactional() bool { return strings.HasPrefix(m.name, "txn") }

func crashConfig(name string) Config {
	c := DefaultConfig()
	c.SegmentBytes = 700
	c.IndexIntervalBytes = 100
	c.FileDeleteDelayMs = 0
	c.RetentionMs = -1
	switch name {
	case "compacted", "txncompacted":
		c.Compact, c.Delete, c.MinCleanableDirtyRatio, c.DeleteRetentionMs = true, false, 0, 0
	case "bounded":
		c.RetentionBytes = 2500
	}
	return c
}

// judge is the testing.T of a history: what it finds wrong ends the history, and is a failure only if nothing was broken on purpose.
type judge struct{ found strings.Builder }

// verdict is what FailNow panics with.
type verdict struct{}

func (j *judge) Errorf(format string, args ...any) { fmt.Fprintf(&j.found, format, args...) }
func (j *judge) FailNow()                          { panic(verdict{}) }
func (j *judge) Fatalf(format string, args ...any) { j.Errorf(format, args...); j.FailNow() }

type crashWorld struct {
	t      *judge
	now    atomic.Int64
	epoch  int32
	focus  string
	r      *rand.Rand
	fs     *memFS
	d      *Dir
	models map[string]*model
	gone   map[string]bool // deletion was acknowledged
	trace  []string
}

func (w *crashWorld) open() error {
	d, err := OpenDir("/log", Options{FS: w.fs, Now: func() time.Time { return time.UnixMilli(w.now.Load()) }, Config: func(topic string) (Config, bool) { return crashConfig(topic), true }, CleanerBufferBytes: 1 << 16, treeSyncFrom: 1, groupFrom: 1, removeAtOnce: 100, removePause: 1, room: smallRoom, zeros: smallZeros, writeOut: smallWriteOut, settling: w.fs.settle})
	if err != nil {
		return err
	}
	w.d = d
	return nil
}

func (w *crashWorld) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
	if len(w.trace) > 200 {
		w.trace = w.trace[1:]
	}
}

// step does one random thing. Its error is that of the stopped disk.
func (w *crashWorld) step() error {
	names := []string{"plain", "compacted", "bounded", "producer", "txn", "txncompacted"}
	name := names[w.r.IntN(len(names))]
	if w.focus != "" {
		name = w.focus
	}
	m := w.models[name]
	l, ok := w.d.Log(name, 0)
	if !ok {
		if m == nil {
			m = &model{name: name, cfg: crashConfig(name), wrote: map[int64]modelRecord{}, outcomes: map[int]txnOutcome{}}
			w.models[name] = m
		}
		_, err := w.d.Create(name, 0, [16]byte{1}, m.cfg)
		m.hadID = err == nil
		return err
	}
	if l.TopicID() == ([16]byte{}) { // as the broker does
		err := l.SetTopicID([16]byte{1})
		m.hadID = err == nil
		return err
	}
	x := w.r.IntN(100)
	if w.focus != "" && w.r.IntN(3) == 0 {
		x = 70 + x*3/10 // more of all but appends
	}
	switch {
	case x < 20 && m.txn != 0:
		return w.endTxn(m, l)
	case x < 70:
		return w.append(m, l)
	case x < 75:
		w.note("roll %s", name)
		return l.Roll()
	case x < 80 && m.cfg.Compact:
		w.note("compact %s", name)
		return l.Compact(context.Background())
	case x < 84:
		w.note("checkpoint")
		return w.d.checkpoint()
	case x < 88:
		return w.d.retain(context.Background())
	case x < 90:
		return w.d.emptyTrash(context.Background())
	case x < 92 && name == "plain":
		to := l.StartOffset() + w.r.Int64N(max(1, l.DurableOffset()-l.StartOffset()))
		m.maybe = max(m.maybe, to)
		if err := l.DeleteRecordsBefore(to); err != nil {
			return err
		}
		m.start = max(m.start, to)
	case x < 94:
		w.note("close and open")
		if err := w.d.Close(); err != nil {
			return err
		}
		if err := w.open(); err != nil {
			return err
		}
		if !w.d.WasClean() {
			w.t.Fatalf("an orderly close must leave its marker")
		}
	case x < 95 && name == "plain":
		w.note("delete %s", name)
		delete(w.models, name)
		w.gone[name] = false
		if err := w.d.Delete(name, 0); err != nil {
			return err
		}
		w.gone[name] = true
	case x < 97 && name == "plain":
		return w.truncate(m, l)
	case x < 98 && name == "plain":
		return w.restart(m, l)
	case x < 100:
		w.epoch++
	}
	return nil
}

// restart empties a log and begins anew further on, as a follower does that fell behind its leader's start.
func (w *crashWorld) restart(m *model, l *Log) error {
	to := l.EndOffset() + w.r.Int64N(20)
	w.note("restart %s at %d", m.name, to)
	m.acked, m.lost = 0, true
	m.maybe = to
	if w.r.IntN(2) == 0 {
		to = l.StartOffset() + w.r.Int64N(l.EndOffset()-l.StartOffset()+1)
		m.start = min(m.start, to)
	}
	if err := l.TruncateFullyAndStartAt(to); err != nil {
		return err
	}
	m.cut(0)
	m.acked, m.start, m.lost = to, to, false
	return nil
}

// endTxn writes the marker of the open transaction.
func (w *crashWorld) endTxn(m *model, l *Log) error {
	o := txnOutcome{abort: w.r.IntN(2) == 0}
	typ := batch.ControlCommit
	if o.abort {
		typ = batch.ControlAbort
	}
	id := m.txn
	o.at = l.EndOffset()
	m.txn, m.outcomes[id] = 0, o
	res, err := l.Append(batch.BuildEndTxn(w.tick(), txnProducer, 0, batch.EndTxn{Type: typ}), AppendOptions{LeaderEpoch: w.epoch, Origin: Coordinator})
	if err != nil {
		return err
	}
	o.at = res.LastOffset
	m.outcomes[id] = o
	if w.r.IntN(4) == 0 {
		return nil
	}
	if err := l.WaitDurable(context.Background(), res.LastOffset); err != nil {
		return err
	}
	o.acked = true
	m.outcomes[id] = o
	m.acked = max(m.acked, res.LastOffset+1)
	w.note("%s transaction %d ended, abort %v, acked to %d", m.name, id, o.abort, m.acked)
	return nil
}

func (w *crashWorld) tick() int64 {
	return w.now.Add(1 + w.r.Int64N(5))
}

func (w *crashWorld) truncate(m *model, l *Log) error {
	to := max(0, l.StartOffset()-w.r.Int64N(3)+w.r.Int64N(l.EndOffset()-l.StartOffset()+1))
	w.note("truncate %s to %d of %d", m.name, to, l.EndOffset())
	// From here on nothing at or after the offset is promised.
	old := m.acked
	m.acked = min(m.acked, max(to-10, 0))
	if to < l.StartOffset() {
		m.start, m.maybe = to, max(m.maybe, to)
	}
	if err := l.TruncateTo(to); err != nil {
		return err
	}
	m.acked = min(old, l.EndOffset())
	m.start = min(m.start, l.StartOffset())
	m.cut(l.EndOffset())
	return nil
}

func (m *model) cut(end int64) {
	for o := range m.wrote {
		if o >= end {
			delete(m.wrote, o)
		}
	}
}

func (w *crashWorld) append(m *model, l *Log) error {
	b := batch.Builder{Codec: batch.Codec(w.r.IntN(2) * 4)}
	n := 1 + w.r.IntN(3)
	var recs []modelRecord
	if m.name == "producer" {
		b.Idempotent, b.ProducerID, b.BaseSequence = true, 42, m.seq
	}
	if m.transactional() && (m.txn != 0 || w.r.IntN(3) > 0) {
		if m.txn == 0 {
			m.txns++
			m.txn = m.txns
		}
		b.Idempotent, b.Transactional, b.ProducerID, b.BaseSequence = true, true, txnProducer, m.seq
	}
	for range n {
		m.n++
		rec := modelRecord{key: fmt.Sprint("k", w.r.IntN(7)), value: fmt.Sprintf("%s-%d-%d", m.name, m.n, w.r.Uint32()), ts: w.tick(), epoch: w.epoch}
		if b.Transactional {
			rec.txn = m.txn
		}
		var v []byte
		if m.cfg.Compact && w.r.IntN(6) == 0 {
			rec.value = ""
		} else {
			v = []byte(rec.value)
		}
		b.Append(rec.ts, []byte(rec.key), v)
		recs = append(recs, rec)
	}
	raw := b.MustBuild()
	keep := slices.Clone(raw)
	end := l.EndOffset()
	// Note it before: a failed write may have reached the disk.
	for i, rec := range recs {
		m.wrote[end+int64(i)] = rec
	}
	res, err := l.Append(raw, AppendOptions{LeaderEpoch: w.epoch, Guard: Unverified})
	if err != nil {
		return err
	}
	if b.Transactional {
		m.seq += int32(n)
	}
	require.Equal(w.t, end, res.BaseOffset)
	if m.txn != 0 {
		w.note("%s wrote %d to %d, transaction %d", m.name, res.BaseOffset, res.LastOffset, m.txn)
	}
	if w.r.IntN(3) == 0 {
		if m.name == "producer" {
			m.seq += int32(n)
		}
		return nil // nobody waits
	}
	if err := l.WaitDurable(context.Background(), res.LastOffset); err != nil {
		return err
	}
	m.acked = max(m.acked, res.LastOffset+1)
	if m.name == "producer" {
		m.seq += int32(n)
		m.last, m.lastB = res, keep
	}
	w.note("%s acked to %d", m.name, m.acked)
	return nil
}

func TestCrashAtEveryOperationLosesNothingAcknowledged(t *testing.T) {
	seeds := []uint64{*crashSeed}
	if *crashSeed == 0 {
		seeds = nil
		for i := range *crashSeeds {
			seeds = append(seeds, uint64(i+1))
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			at, stride := 1, 1
			if *crashSeed == 0 {
				stride = 5 // every operation of each kind of work is what maintenance_crash_test.go goes through
			}
			for ; at < 3000; at += stride {
				h := history{seed: seed, at: at}
				ended := h.run()
				h.report(t)
				if ended {
					break
				}
			}
			t.Logf("%d crashes", at)
		})
	}
}

// history is one run: a seed, and the operation at which the disk stops.
type history struct {
	seed   uint64
	at     int
	focus  string // the only topic; "" for all
	ignore func(site string) bool
	seen   map[string][]int
	// fates, when set, says what the first crash leaves: see memFS.crashWith.
	fates *[2]int

	found string // what was wrong
	trace []string
}

func (h *history) report(t testing.TB) {
	t.Helper()
	if h.found == "" {
		return
	}
	for _, s := range h.trace {
		t.Log("  " + s)
	}
	t.Fatalf("seed %d, crash at operation %d: %s", h.seed, h.at, h.found)
}

// run runs the history, with the disk stopping at operation at, and perhaps again some operations later. It returns true when it
// ended before the crash.
func (h *history) run() (ended bool) {
	w := &crashWorld{t: &judge{}, focus: h.focus, r: rand.New(rand.NewPCG(h.seed, 7)), fs: newMemFS(), models: map[string]*model{}, gone: map[string]bool{}}
	w.now.Store(1_700_000_000_000)
	w.fs.tree = h.seed%2 == 0   // half of the histories sync all at once when they open and close
	w.fs.inPlace = h.seed%4 < 2 // half of the others write zeros ahead: groups of files are synced without
	stop := func() {
		w.fs.mu.Lock()
		w.fs.failAt = 1 // the old process is gone, whatever its goroutines still try
		w.fs.mu.Unlock()
		if w.d != nil {
			_ = w.d.Close()
			w.d = nil
		}
	}
	defer func() {
		h.trace = w.trace
		if r := recover(); r != nil {
			if _, ok := r.(verdict); !ok {
				panic(r)
			}
			h.found = w.t.found.String()
			stop()
		}
	}()
	w.fs.failAt = h.at
	for round := range 3 {
		w.fs.mu.Lock()
		w.fs.ignore, w.fs.seen = h.ignore, h.seen
		w.fs.mu.Unlock()
		err := w.open()
		if err == nil && round > 0 {
			w.verify()
		}
		steps := 250
		if round > 0 {
			steps = 60
		}
		for range steps {
			if err != nil {
				break
			}
			err = w.step()
		}
		if err != nil && !errors.Is(err, errInjected) && !errors.Is(err, ErrStorage) {
			require.NoError(w.t, err)
		}
		w.note("crash in round %d: %v", round, err)
		choices := rand.New(rand.NewPCG(h.seed, uint64(h.at*10+round)))
		var disk *memFS
		if h.fates != nil && round == 0 {
			disk = w.fs.crashWith(choices, h.fates[0], h.fates[1])
		} else {
			disk = w.fs.crash(choices)
		}
		stop()
		if err == nil && round == 0 {
			return true // the history ended before the crash
		}
		w.fs = disk
		if round == 0 && choices.IntN(2) == 0 {
			w.fs.failAt = 1 + choices.IntN(120) // crash again, perhaps during recovery
		}
	}
	w.fs.failAt = 0
	require.NoError(w.t, w.open())
	w.verify()
	require.NoError(w.t, w.d.Close())
	return false
}
