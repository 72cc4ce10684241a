package txn

import (
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/moldau-io/moldau/core/coordinator"
)

// Shard is the transactional ids of one partition of __transaction_state. See the package comment. It is not safe for
// concurrent use.
type Shard struct {
	cfg     Config
	version int16 // finalised transaction.version
	epoch   int32
	now     int64
	serving bool

	txns  map[string]*transaction
	bytes int64
	retry map[string]*transaction // with markers to send again
	waits map[string]*transaction // with additions that wait

	seq      uint64
	inflight []inflight // oldest first

	abortAt, expireAt int64 // the next sweeps

	batches []Batch
	effects []Effect
}

// inflight is a batch whose fate is not known yet.
type inflight struct {
	seq  uint64
	done func(code int16)
}

// NewShard is an empty shard. Replay what the log holds, then step it with [Loaded].
func NewShard(cfg Config) *Shard {
	return &Shard{cfg: cfg.WithDefaults(), txns: map[string]*transaction{}, retry: map[string]*transaction{}, waits: map[string]*transaction{}}
}

// SetVersion tells the shard the finalised level of the feature transaction.version.
func (s *Shard) SetVersion(level int16) { s.version = level }

// SetLeaderEpoch tells a serving shard that its broker leads on, in a new epoch.
func (s *Shard) SetLeaderEpoch(epoch int32) { s.epoch = epoch }

// Step lets the event happen at now. The batches must be appended in order and their fate reported in the same order with
// [Appended]; the effects are to be carried out at once. Both belong to the caller. A now before an earlier one counts as the
// earlier one.
func (s *Shard) Step(ev Event, now time.Time) ([]Batch, []Effect) {
	s.now = max(s.now, now.UnixMilli())
	s.batches, s.effects = nil, nil
	switch e := ev.(type) {
	case InitProducerID:
		s.initProducerID(e)
	case AddPartitions:
		s.addPartitions(e)
	case EndTxn:
		s.endTxn(e)
	case MarkersWritten:
		s.markersWritten(e)
	case Appended:
		s.appended(e)
	case Loaded:
		s.loaded(e)
	case Resigned:
		s.resigned()
	}
	if s.serving {
		s.runDue()
	}
	return s.batches, s.effects
}

// NextDeadline is when the shard wants a [Tick], in milliseconds since 1970; math.MaxInt64 if never.
func (s *Shard) NextDeadline() int64 {
	if !s.serving || len(s.txns) == 0 {
		return math.MaxInt64
	}
	next := min(s.abortAt, s.expireAt)
	for _, t := range s.retry {
		next = min(next, t.retryAt)
	}
	for _, t := range s.waits {
		next = min(next, t.parked[0].until)
	}
	return next
}

// runDue runs the sweeps and retries that are due.
func (s *Shard) runDue() {
	if len(s.retry) > 0 {
		for _, id := range slices.Sorted(maps.Keys(s.retry)) {
			if t := s.retry[id]; t.retryAt <= s.now {
				delete(s.retry, id)
				s.sendMarkers(t)
			}
		}
	}
	if len(s.waits) > 0 {
		s.parkedTooLong()
	}
	if s.now >= s.abortAt {
		s.abortAt = s.now + s.cfg.AbortCheckMs
		s.abortTimedOut()
	}
	if s.now >= s.expireAt {
		s.expireAt = s.now + s.cfg.ExpireCheckMs
		s.expire()
	}
}

func (s *Shard) answer(to Reply, r Result) {
	if to != nil {
		s.effects = append(s.effects, Effect{Reply: to, Result: r})
	}
}

// refuse answers with an error.
func (s *Shard) refuse(to Reply, code int16) {
	s.answer(to, Result{code, NoProducerID, NoProducerEpoch})
}

func (s *Shard) note(level slog.Level, note string, args ...any) {
	s.effects = append(s.effects, Effect{Level: level, Note: note, Args: args})
}

// takeSpare is the spare producer id of an event, false if there is none.
func (s *Shard) takeSpare(id int64) (int64, bool) {
	if id < 0 {
		return NoProducerID, false
	}
	s.effects = append(s.effects, Effect{TookSpare: true})
	return id, true
}

// emit gives a batch to the edge; done is called with its fate.
func (s *Shard) emit(recs []Record, done func(code int16)) {
	s.seq++
	s.batches = append(s.batches, Batch{Seq: s.seq, LeaderEpoch: s.epoch, TimeMs: s.now, Records: recs})
	s.inflight = append(s.inflight, inflight{s.seq, done})
}

// valueVersion is the version of the values that are written.
func (s *Shard) valueVersion() int16 {
	if s.version >= 1 {
		return 1
	}
	return 0
}

// write appends a transition that transit began. When it is durable the transaction has become it, and then is called; when
// not, nothing has happened, and failed is called with the code to answer.
//
// An addition of partitions may be written behind a change that is still on its way (see build). It says all that the change says and
// more, so that it does not matter for the transaction whether only the later one of them gets to the disk.
func (s *Shard) write(t *transaction, c change, then func(), failed func(code int16)) {
	rec := Record{Key: AppendKey(nil, t.TransactionalID), Value: AppendValue(nil, &c.Entry, s.valueVersion())}
	t.flying++
	t.newest = &c
	s.emit([]Record{rec}, func(code int16) {
		if t.flying--; t.flying == 0 {
			t.pending, t.newest = none, nil
		}
		if code != codeNone {
			failed(code)
			if t.flying == 0 && t.decidedUpon() {
				s.unfinished(t)
			}
		} else {
			t.become(c)
			s.account(t)
			then()
		}
		s.unpark(t)
	})
}

func (s *Shard) appended(e Appended) {
	if len(s.inflight) == 0 || s.inflight[0].seq != e.Seq {
		panic(fmt.Sprintf("txn: append %d reported out of order", e.Seq))
	}
	f := s.inflight[0]
	s.inflight[0] = inflight{}
	s.inflight = s.inflight[1:]
	if e.Err != nil {
		s.note(slog.LevelWarn, "append to "+StateTopic+" failed", "error", e.Err)
	}
	f.done(coordinator.AppendErrorCode(e.Err))
}

// account brings the shard's byte count up to date with the transaction.
func (s *Shard) account(t *transaction) {
	n := int64(300 + 2*len(t.TransactionalID))
	for i := range t.Partitions {
		n += 24
		if i == 0 || t.Partitions[i].Topic != t.Partitions[i-1].Topic {
			n += int64(len(t.Partitions[i].Topic))
		}
	}
	s.bytes += n - t.bytes
	t.bytes = n
}

func (s *Shard) drop(t *transaction) {
	s.bytes -= t.bytes
	delete(s.txns, t.TransactionalID)
	delete(s.retry, t.TransactionalID)
	delete(s.waits, t.TransactionalID)
}

// Replay takes in one record of the log. An error speaks of this record only: it was left out, and the shard goes on. Nothing of
// key and value is kept.
func (s *Shard) Replay(key, value []byte) error {
	id, err := DecodeKey(key)
	if err != nil {
		return err
	}
	if value == nil {
		if t := s.txns[id]; t != nil {
			s.drop(t)
		}
		return nil
	}
	e, err := DecodeValue(value)
	if err != nil {
		return fmt.Errorf("transactional id %q: %w", id, err)
	}
	e.TransactionalID = id
	t := s.txns[id]
	if t == nil {
		t = &transaction{}
		s.txns[id] = t
	}
	n := t.bytes
	*t = transaction{Entry: e, lastEpoch: NoProducerEpoch, pending: none, bytes: n}
	s.account(t)
	return nil
}

// loaded begins the service. What was decided is completed: its markers are sent, perhaps again.
func (s *Shard) loaded(e Loaded) {
	s.epoch, s.serving = e.LeaderEpoch, true
	s.abortAt, s.expireAt = s.now+s.cfg.AbortCheckMs, s.now+s.cfg.ExpireCheckMs
	for _, id := range slices.Sorted(maps.Keys(s.txns)) {
		if t := s.txns[id]; t.State == PrepareCommit || t.State == PrepareAbort {
			s.note(slog.LevelInfo, "completing a transaction that was decided before", "transactional_id", id, "state", t.State.String(), "partitions", len(t.Partitions))
			s.decided(t)
			s.sendMarkers(t)
		}
	}
}

// resigned answers everyone who waits.
func (s *Shard) resigned() {
	s.serving = false
	for _, t := range s.waits { // before what they wait for fails
		for _, p := range t.parked {
			s.refuse(p.Reply, codeNotCoordinator)
		}
		t.parked = nil
	}
	clear(s.waits)
	for _, f := range s.inflight {
		f.done(codeNotCoordinator)
	}
	s.inflight, s.batches = nil, nil
	keep := s.effects[:0]
	for _, e := range s.effects {
		if e.Reply != nil {
			keep = append(keep, e) // no new markers, nothing to log
		}
	}
	s.effects = keep
}

// create is a new transactional id, or nil when the shard is full.
func (s *Shard) create(id string, producerID int64, timeoutMs int32) *transaction {
	t := &transaction{
		Entry: Entry{
			TransactionalID: strings.Clone(id), ProducerID: producerID, PreviousProducerID: NoProducerID, NextProducerID: NoProducerID,
			ProducerEpoch: NoProducerEpoch, TimeoutMs: timeoutMs, State: Empty, LastUpdateMs: s.now, StartMs: -1,
		},
		lastEpoch: NoProducerEpoch, pending: none,
	}
	s.txns[t.TransactionalID] = t
	s.account(t)
	return t
}
