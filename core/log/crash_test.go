package log

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

var (
	crashSeed  = flag.Uint64("crash.seed", 0, "seed of the crash test; 0 for the usual ones")
	crashSeeds = flag.Int("crash.seeds", 2, "how many histories the crash test runs")
)

// The crash test runs a history of appends, rolls, compactions, retention, record deletions, topic deletions and checkpoints on a
// disk that stops at its n-th operation, for n over the whole history; takes what a power loss leaves; opens that; and compares
// with a model of what was acknowledged. It goes on from there, so that the next crash hits a recovered log.

// modelRecord is what was written at an offset.
type modelRecord struct{ key, value string }

// model is what is known of a partition.
type model struct {
	name  string
	cfg   Config
	wrote map[int64]modelRecord
	acked int64 // everything below was acknowledged as durable
	start int64 // records below were deleted, and that was acknowledged
	// maybe is a start that was asked for and not acknowledged.
	maybe int64
	seq   int32
	last  AppendResult // of the idempotent producer's last acknowledged batch
	lastB []byte
	n     int // records made, for unique values
}

func crashConfig(name string) Config {
	c := DefaultConfig()
	c.SegmentBytes = 700
	c.IndexIntervalBytes = 100
	c.FileDeleteDelayMs = 0
	c.RetentionMs = -1
	switch name {
	case "compacted":
		c.Compact, c.Delete, c.MinCleanableDirtyRatio, c.DeleteRetentionMs = true, false, 0, 0
	case "bounded":
		c.RetentionBytes = 2500
	}
	return c
}

type crashWorld struct {
	t      *testing.T
	r      *rand.Rand
	fs     *memFS
	d      *Dir
	models map[string]*model
	gone   map[string]bool // deletion was acknowledged
	trace  []string
}

func (w *crashWorld) open() error {
	d, err := OpenDir("/log", Options{FS: w.fs, Config: func(topic string) (Config, bool) { return crashConfig(topic), true }, CleanerBufferBytes: 1 << 16})
	if err != nil {
		return err
	}
	w.d = d
	return nil
}

func (w *crashWorld) note(format string, args ...any) {
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
	if len(w.trace) > 60 {
		w.trace = w.trace[1:]
	}
}

// step does one random thing. Its error is that of the stopped disk.
func (w *crashWorld) step() error {
	names := []string{"plain", "compacted", "bounded", "producer"}
	name := names[w.r.IntN(len(names))]
	m := w.models[name]
	l, ok := w.d.Log(name, 0)
	if !ok {
		if m == nil {
			m = &model{name: name, cfg: crashConfig(name), wrote: map[int64]modelRecord{}}
			w.models[name] = m
		}
		_, err := w.d.Create(name, 0, [16]byte{1}, m.cfg)
		return err
	}
	switch x := w.r.IntN(100); {
	case x < 70:
		return w.append(m, l)
	case x < 75:
		return l.Roll()
	case x < 80 && m.cfg.Compact:
		return l.Compact(context.Background())
	case x < 84:
		return w.d.checkpoint()
	case x < 88:
		return w.d.retain(context.Background())
	case x < 90:
		return w.d.emptyTrash()
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
			w.t.Fatal("an orderly close must leave its marker")
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
	}
	return nil
}

func (w *crashWorld) truncate(m *model, l *Log) error {
	to := l.StartOffset() + w.r.Int64N(l.EndOffset()-l.StartOffset()+1)
	w.note("truncate %s to %d of %d", m.name, to, l.EndOffset())
	// From here on nothing at or after the offset is promised.
	old := m.acked
	m.acked = min(m.acked, max(to-10, 0))
	if err := l.TruncateTo(to); err != nil {
		return err
	}
	m.acked = min(old, l.EndOffset())
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
	for range n {
		m.n++
		rec := modelRecord{key: fmt.Sprint("k", w.r.IntN(7)), value: fmt.Sprintf("%s-%d-%d", m.name, m.n, w.r.Uint32())}
		var v []byte
		if m.cfg.Compact && w.r.IntN(6) == 0 {
			rec.value = ""
		} else {
			v = []byte(rec.value)
		}
		b.Append(time.Now().UnixMilli(), []byte(rec.key), v)
		recs = append(recs, rec)
	}
	raw := b.MustBuild()
	keep := slices.Clone(raw)
	end := l.EndOffset()
	// Note it before: a failed write may have reached the disk.
	for i, rec := range recs {
		m.wrote[end+int64(i)] = rec
	}
	res, err := l.Append(raw, AppendOptions{LeaderEpoch: 3})
	if err != nil {
		return err
	}
	require.Equal(w.t, end, res.BaseOffset)
	if w.r.IntN(3) == 0 {
		m.seq += int32(n)
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

// verify compares the opened directory with the models and takes over what survived without being acknowledged.
func (w *crashWorld) verify() {
	t := w.t
	for name, acked := range w.gone {
		if _, ok := w.d.Log(name, 0); ok && acked && w.models[name] == nil {
			t.Fatalf("%s was deleted and is there again", name)
		}
	}
	for _, c := range w.d.Corruptions() {
		w.note("%s", c)
	}
	for name, m := range w.models {
		l, ok := w.d.Log(name, 0)
		if !ok {
			require.Zero(t, m.acked, "%s had acknowledged records and is gone", name)
			delete(w.models, name)
			continue
		}
		w.verifyLog(m, l)
	}
	for _, name := range []string{"plain"} {
		// A deletion that was not acknowledged may not have happened: begin anew with an empty model.
		if l, ok := w.d.Log(name, 0); ok && w.models[name] == nil {
			_ = l
			require.NoError(t, w.d.Delete(name, 0))
			w.gone[name] = true
		}
	}
}

func (w *crashWorld) verifyLog(m *model, l *Log) {
	t := w.t
	require.GreaterOrEqual(t, l.EndOffset(), m.acked, "%s lost acknowledged records", m.name)
	require.GreaterOrEqual(t, l.StartOffset(), m.start, "%s shows deleted records", m.name)
	if m.cfg.RetentionBytes < 0 {
		require.LessOrEqual(t, l.StartOffset(), max(m.start, m.maybe), "%s lost its beginning", m.name)
	}
	served := map[int64]modelRecord{}
	next := l.StartOffset()
	for next < l.EndOffset() {
		p, err := l.Read(nil, next, 1+w.r.IntN(4096), l.EndOffset(), true)
		require.NoError(t, err)
		if len(p) == 0 {
			break // compaction left nothing
		}
		for len(p) > 0 {
			var b batch.Batch
			b, p, err = batch.Next(p)
			require.NoError(t, err)
			require.NoError(t, b.Check())
			require.GreaterOrEqual(t, b.LastOffset(), next)
			require.EqualValues(t, 3, b.LeaderEpoch())
			var r batch.Reader
			require.NoError(t, r.Reset(b))
			for {
				rec, ok := r.Next()
				if !ok {
					break
				}
				served[rec.Offset] = modelRecord{string(rec.Key), string(rec.Value)}
			}
			require.NoError(t, r.Err())
			next = b.NextOffset()
		}
	}
	for o, rec := range served {
		require.Equal(t, m.wrote[o], rec, "%s serves at %d what was never written there", m.name, o)
	}
	if m.cfg.Compact {
		w.verifyCompacted(m, l, served)
	} else {
		for o := l.StartOffset(); o < m.acked; o++ {
			if _, ok := m.wrote[o]; !ok {
				continue // an earlier crash took it, before it was acknowledged, and left what was written after it
			}
			if _, ok := served[o]; !ok {
				t.Fatalf("%s lost the acknowledged record %d", m.name, o)
			}
		}
		for o := range m.wrote {
			if _, ok := served[o]; !ok {
				delete(m.wrote, o)
			}
		}
	}
	m.cut(l.EndOffset())
	m.acked = l.EndOffset() // what survived opening is durable
	m.start = l.StartOffset()
	m.maybe = m.start
	require.Equal(t, l.EndOffset(), l.DurableOffset())
	if m.name == "producer" {
		w.verifyProducer(m, l)
	}
}

// verifyCompacted: a reader of the whole log ends with the last value of each key.
func (w *crashWorld) verifyCompacted(m *model, l *Log, served map[int64]modelRecord) {
	latest := func(recs map[int64]modelRecord, below int64) map[string]int64 {
		out := map[string]int64{}
		for o, rec := range recs {
			if at, ok := out[rec.key]; o < below && (!ok || o > at) {
				out[rec.key] = o
			}
		}
		return out
	}
	got := latest(served, l.EndOffset())
	for key, o := range latest(m.wrote, m.acked) {
		at, ok := got[key]
		if ok && at >= o {
			continue
		}
		// An unacknowledged record after o may have let compaction remove o and then be the one served; otherwise only a
		// tombstone may go.
		require.Empty(w.t, m.wrote[o].value, "compacted lost the last value of %s, at %d (served: %d, %v)", key, o, at, ok)
		require.False(w.t, ok, "compacted shows an old value of %s, of %d, after its tombstone at %d", key, at, o)
	}
	for o := range m.wrote {
		if _, ok := served[o]; !ok && o >= m.acked {
			delete(m.wrote, o)
		}
	}
}

// verifyProducer: the last acknowledged batch, sent again, is known; the next one follows.
func (w *crashWorld) verifyProducer(m *model, l *Log) {
	ps, err := l.ActiveProducers()
	require.NoError(w.t, err)
	if len(ps) == 0 {
		require.Nil(w.t, m.lastB)
		m.seq = 0
		return
	}
	if m.lastB != nil && ps[0].LastSequence == batch.Batch(m.lastB).LastSequence() {
		again, err := l.Append(slices.Clone(m.lastB), AppendOptions{LeaderEpoch: 3})
		require.NoError(w.t, err)
		require.True(w.t, again.Duplicate)
		require.Equal(w.t, m.last.BaseOffset, again.BaseOffset)
		require.Equal(w.t, m.last.LastOffset, again.LastOffset)
	}
	m.seq = batch.AddSequence(ps[0].LastSequence, 1)
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
			crashes := 0
			for at := 5; at < 900; at += 1 + int(seed+uint64(at))%4 {
				crashHistory(t, seed, at)
				crashes++
			}
			t.Logf("%d crashes", crashes)
		})
	}
}

// crashHistory runs the history of a seed, with the disk stopping at operation at, and again some operations later.
func crashHistory(t *testing.T, seed uint64, at int) {
	w := &crashWorld{t: t, r: rand.New(rand.NewPCG(seed, 7)), fs: newMemFS(), models: map[string]*model{}, gone: map[string]bool{}}
	defer func() {
		if t.Failed() && len(w.trace) > 0 {
			t.Logf("seed %d, crash at operation %d; last steps:", seed, at)
			for _, s := range w.trace {
				t.Log("  " + s)
			}
		}
	}()
	w.fs.failAt = at
	for round := range 3 {
		err := w.open()
		if err == nil && round > 0 {
			w.verify()
		}
		for range 400 {
			if err != nil {
				break
			}
			err = w.step()
		}
		if err != nil && !errors.Is(err, errInjected) && !errors.Is(err, ErrStorage) {
			require.NoError(t, err)
		}
		w.note("crash in round %d: %v", round, err)
		choices := rand.New(rand.NewPCG(seed, uint64(at*10+round)))
		disk := w.fs.crash(choices)
		w.fs.mu.Lock()
		w.fs.failAt = 1 // the old process is gone, whatever its goroutines still try
		w.fs.mu.Unlock()
		if w.d != nil {
			_ = w.d.Close()
		}
		if err == nil {
			return // the history ended before the crash
		}
		w.fs = disk
		if round == 0 && choices.IntN(2) == 0 {
			w.fs.failAt = 1 + choices.IntN(120) // crash again, perhaps during recovery
		}
	}
	w.d = nil
	w.fs.failAt = 0
	require.NoError(t, w.open())
	w.verify()
	require.NoError(t, w.d.Close())
}
