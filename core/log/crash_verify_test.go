package log

import (
	"math"
	"slices"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/core/log/batch"
)

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
	for id, o := range m.outcomes {
		o.acked = o.acked || o.at < m.acked // a later write was acknowledged
		m.outcomes[id] = o
	}
	require.GreaterOrEqual(t, l.EndOffset(), m.acked, "%s lost acknowledged records", m.name)
	require.GreaterOrEqual(t, l.StartOffset(), m.start, "%s shows deleted records", m.name)
	if m.cfg.RetentionBytes < 0 {
		require.LessOrEqual(t, l.StartOffset(), max(m.start, m.maybe), "%s lost its beginning", m.name)
	}
	w.note("%s: was clean %v, recovery point %d, end %d", m.name, w.d.clean, w.d.recoveryFile[topicPartition{m.name, 0}], l.EndOffset())
	served := w.read(m, l)
	for o, rec := range served {
		want := m.wrote[o]
		rec.txn = want.txn
		if o >= m.acked {
			want.epoch = rec.epoch // a header that was torn off has no checksum; recovery takes the epoch of its neighbours
		}
		require.Equal(t, want, rec, "%s serves at %d what was never written there", m.name, o)
		m.wrote[o], served[o] = want, want
	}
	if m.cfg.Compact {
		w.verifyCompacted(m, l, served)
	} else if !m.lost {
		for o := l.StartOffset(); o < m.acked; o++ {
			if _, ok := m.wrote[o]; !ok {
				continue // an earlier crash took it, before it was acknowledged, and left what was written after it
			}
			if _, ok := served[o]; !ok {
				t.Fatalf("%s lost the acknowledged record %d", m.name, o)
			}
		}
	}
	if (m.acked > 0 || m.start > 0) && m.hadID {
		require.Equal(t, [16]byte{1}, l.TopicID(), "%s forgot its topic", m.name)
	}
	if m.transactional() {
		w.verifyTxns(m, l, served)
	} else {
		w.verifyTimes(m, l, served)
	}
	if !m.cfg.Compact {
		for o := range m.wrote {
			if _, ok := served[o]; !ok {
				delete(m.wrote, o)
			}
		}
	}
	m.cut(l.EndOffset())
	m.acked = l.EndOffset() // what survived opening is durable
	m.start = l.StartOffset()
	m.maybe, m.lost, m.hadID = m.start, false, l.TopicID() != [16]byte{}
	require.Equal(t, l.EndOffset(), l.DurableOffset())
	if m.name == "producer" {
		w.verifyProducer(m, l)
	}
}

// read returns all records of a log, checks that batches are whole, and reads some again from the middle.
func (w *crashWorld) read(m *model, l *Log) map[int64]modelRecord {
	t := w.t
	served := map[int64]modelRecord{}
	epochs := l.Epochs()
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
			epoch := NoEpoch
			for _, e := range epochs {
				if e.StartOffset <= max(b.BaseOffset(), l.StartOffset()) {
					epoch = e.Epoch
				}
			}
			require.Equal(t, b.LeaderEpoch(), epoch, "%s: leader epoch at %d, history %v", m.name, b.BaseOffset(), epochs)
			next = b.NextOffset()
			if b.IsControl() {
				continue
			}
			var r batch.Reader
			require.NoError(t, r.Reset(b))
			for {
				rec, ok := r.Next()
				if !ok {
					break
				}
				served[rec.Offset] = modelRecord{string(rec.Key), string(rec.Value), rec.Timestamp, b.LeaderEpoch(), 0}
			}
			require.NoError(t, r.Err())
		}
	}
	for o := range served {
		if w.r.IntN(4) > 0 || o < l.StartOffset() {
			continue
		}
		p, err := l.Read(nil, o, 1, l.EndOffset(), true)
		require.NoError(t, err)
		b, _, err := batch.Next(p)
		require.NoError(t, err)
		require.True(t, b != nil && b.BaseOffset() <= o && o <= b.LastOffset(), "%s: a read at %d finds another batch", m.name, o)
	}
	return served
}

// dump notes what is in a log.
func (w *crashWorld) dump(l *Log) {
	for _, s := range l.list() {
		w.note("segment %d, %d bytes, times %v, offsets %v", s.base, s.size.Load(), s.times, s.offsets)
		_ = s.batches(func(b batch.Batch) (bool, error) {
			w.note("  %d-%d records %d control %v txn %v producer %d max time %d", b.BaseOffset(), b.LastOffset(), b.RecordCount(), b.IsControl(), b.IsTransactional(), b.ProducerID(), b.MaxTimestamp())
			return true, nil
		})
		ts, err := s.abortedTxns()
		w.note("  aborted %v %v", ts, err)
		times, err := dumpTimeIndex(w.fs, s.path(suffixTimeIndex))
		w.note("  time index %v %v", times, err)
	}
	entries, _ := w.fs.ReadDir(l.dirPath())
	for _, e := range entries {
		w.note("  %s", e.Name())
	}
}

// verifyTimes: a search by time finds the first record.
func (w *crashWorld) verifyTimes(m *model, l *Log, served map[int64]modelRecord) {
	n := 0
	for _, rec := range served {
		if n++; n > 4 {
			return
		}
		want := int64(math.MaxInt64)
		for o, other := range served {
			if other.ts >= rec.ts && o >= l.StartOffset() {
				want = min(want, o)
			}
		}
		got, _, _, found, err := l.OffsetForTimestamp(rec.ts)
		require.NoError(w.t, err)
		if want == math.MaxInt64 {
			continue
		}
		if !found || want != got {
			w.dump(l)
		}
		require.True(w.t, found, "%s: nothing found at time %d", m.name, rec.ts)
		require.Equal(w.t, want, got, "%s: search for time %d", m.name, rec.ts)
	}
}

// verifyTxns reads as a consumer does that is told of the aborted transactions. What an acknowledged marker committed is visible,
// what one aborted is not. It takes over the transaction that is open.
func (w *crashWorld) verifyTxns(m *model, l *Log, served map[int64]modelRecord) {
	stable := l.LastStableOffset()
	aborted, err := l.AbortedTxns(l.StartOffset(), l.EndOffset())
	require.NoError(w.t, err)
	m.txn = 0
	for o := range served {
		id := m.wrote[o].txn
		if id == 0 {
			continue
		}
		hidden := slices.ContainsFunc(aborted, func(a AbortedTxn) bool { return a.ProducerID == txnProducer && a.FirstOffset <= o && o <= a.LastOffset })
		out := m.outcomes[id]
		switch {
		case o >= stable:
			require.False(w.t, out.acked, "%s: transaction %d was ended and is open again at %d, stable %d", m.name, id, o, stable)
			delete(m.outcomes, id)
			m.txn = id
		case out.acked:
			require.Equal(w.t, out.abort, hidden, "%s: transaction %d, aborted %v, record %d, aborted list %v", m.name, id, out.abort, o, aborted)
		case m.cfg.Compact && hidden != out.abort:
			w.dump(l)
			require.Failf(w.t, "wrong outcome", "%s: transaction %d ended with abort %v and not acknowledged, hidden %v", m.name, id, out.abort, hidden)
		default:
			out.acked = true
			m.outcomes[id] = out
			require.Equal(w.t, out.abort, hidden, "%s: transaction %d, aborted %v, record %d", m.name, id, out.abort, o)
		}
	}
	for id, o := range m.outcomes {
		if !o.acked {
			delete(m.outcomes, id) // nothing of it is left that would tell whether its marker is
		}
	}
	states, err := l.ActiveProducers()
	require.NoError(w.t, err)
	m.seq = 0
	for _, p := range states {
		if p.ProducerID != txnProducer {
			continue
		}
		m.seq = batch.AddSequence(p.LastSequence, 1)
		if p.CurrentTxnStartOffset >= 0 && m.txn == 0 {
			m.txns++
			m.txn = m.txns // its records are gone, or were compacted
		}
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
	promised, unsure := map[int64]modelRecord{}, map[string]int64{}
	for o, rec := range m.wrote {
		switch out := m.outcomes[rec.txn]; {
		case rec.txn == 0 || out.acked && !out.abort:
			promised[o] = rec
		case !out.acked:
			unsure[rec.key] = max(unsure[rec.key], o)
		}
	}
	for key, o := range latest(promised, m.acked) {
		at, ok := got[key]
		if ok && at >= o || unsure[key] > o {
			continue
		}
		if m.wrote[o].value != "" {
			w.dump(l)
			w.note("record of transaction %d, outcome %+v", m.wrote[o].txn, m.outcomes[m.wrote[o].txn])
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
		again, err := l.Append(slices.Clone(m.lastB), AppendOptions{LeaderEpoch: w.epoch})
		require.NoError(w.t, err)
		require.True(w.t, again.Duplicate)
		require.Equal(w.t, m.last.BaseOffset, again.BaseOffset)
		require.Equal(w.t, m.last.LastOffset, again.LastOffset)
	}
	m.seq = batch.AddSequence(ps[0].LastSequence, 1)
}
