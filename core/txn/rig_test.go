package txn

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

// rig drives a shard by hand. Appends stay in flight until settle.
type rig struct {
	t       testing.TB
	s       *Shard
	now     time.Time
	nextID  int64
	log     []Record
	batches []Batch
	markers []Markers
	notes   []string
	results map[string]Result // by request name
	spare   bool              // the last step took its spare id
}

func newRig(t testing.TB, cfg Config) *rig {
	r := &rig{t: t, now: time.UnixMilli(1_000_000), nextID: 100, results: map[string]Result{}}
	r.s = NewShard(cfg)
	r.s.SetVersion(2)
	r.step(Loaded{LeaderEpoch: 5})
	return r
}

func (r *rig) step(ev Event) {
	r.spare = false
	batches, effects := r.s.Step(ev, r.now)
	r.batches = append(r.batches, batches...)
	for i := range effects {
		switch e := &effects[i]; {
		case e.Reply != nil:
			e.Reply(e.Result)
		case e.Markers != nil:
			r.markers = append(r.markers, *e.Markers)
		case e.TookSpare:
			r.spare = true
		default:
			r.notes = append(r.notes, e.Note)
		}
	}
}

func (r *rig) reply(name string) Reply {
	return func(res Result) {
		_, twice := r.results[name]
		require.False(r.t, twice, "%s is answered twice", name)
		r.results[name] = res
	}
}

// take is a result that must be there.
func (r *rig) take(name string) Result {
	r.t.Helper()
	res, ok := r.results[name]
	require.True(r.t, ok, "%s is not answered", name)
	delete(r.results, name)
	return res
}

// settle makes what is in flight durable, or fails it.
func (r *rig) settle(err error) {
	for len(r.batches) > 0 {
		b := r.batches[0]
		r.batches = r.batches[1:]
		if err == nil {
			r.log = append(r.log, b.Records...)
		}
		r.step(Appended{Seq: b.Seq, Err: err})
	}
}

// mark reports the fate of all markers that are on their way.
func (r *rig) mark(code int16) {
	ms := r.markers
	r.markers = nil
	for _, m := range ms {
		codes := make([]int16, len(m.Partitions))
		for i := range codes {
			codes[i] = code
		}
		r.step(MarkersWritten{Markers: m, Codes: codes})
	}
}

func (r *rig) spareID() int64 {
	r.nextID++
	return r.nextID
}

// init is InitProducerID that is durable at once.
func (r *rig) init(id string, expect ...int64) Result {
	ev := InitProducerID{TransactionalID: id, TimeoutMs: 60_000, ExpectedID: -1, ExpectedEpoch: -1, SpareID: r.spareID(), Reply: r.reply("init")}
	if len(expect) == 2 {
		ev.ExpectedID, ev.ExpectedEpoch = expect[0], int16(expect[1])
	}
	r.step(ev)
	r.settle(nil)
	return r.take("init")
}

func (r *rig) add(id string, producer int64, epoch int16, version int16, parts ...TopicPartition) int16 {
	r.step(AddPartitions{TransactionalID: id, ProducerID: producer, ProducerEpoch: epoch, Partitions: parts, Version: version, Reply: r.reply("add")})
	r.settle(nil)
	return r.take("add").Code
}

// end is EndTxn whose decision is durable at once; the markers stay on their way.
func (r *rig) end(id string, producer int64, epoch int16, commit bool, version int16) Result {
	r.step(EndTxn{TransactionalID: id, ProducerID: producer, ProducerEpoch: epoch, Commit: commit, Version: version, SpareID: r.spareID(), Reply: r.reply("end")})
	r.settle(nil)
	return r.take("end")
}

// finish writes the markers and the completion.
func (r *rig) finish() {
	r.mark(0)
	r.settle(nil)
}

func (r *rig) state(id string) Entry {
	r.t.Helper()
	e, ok := r.s.Describe(id)
	require.True(r.t, ok)
	return e
}

// reload is a new shard over the same log.
func (r *rig) reload(cfg Config) *rig {
	n := newRig(r.t, cfg)
	n.now, n.nextID, n.log = r.now, r.nextID, r.log
	n.s = NewShard(cfg)
	n.s.SetVersion(2)
	for _, rec := range r.log {
		require.NoError(r.t, n.s.Replay(rec.Key, rec.Value))
	}
	n.step(Loaded{LeaderEpoch: 6})
	return n
}

// put sets a transactional id to a state.
func (r *rig) put(e Entry, lastEpoch int16) {
	t := &transaction{Entry: e, lastEpoch: lastEpoch, pending: none}
	if t.Partitions == nil && e.State != Empty && e.State < CompleteCommit {
		t.Partitions = []TopicPartition{tp("t", 0)}
	}
	r.s.txns[e.TransactionalID] = t
	r.s.account(t)
}

func tp(topic string, partition int32) TopicPartition { return TopicPartition{topic, partition} }

func sortedIDs(s *Shard) []string { return slices.Sorted(maps.Keys(s.txns)) }

var errDisk = kerr.KafkaStorageError
