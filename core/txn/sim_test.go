package txn

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The simulation drives one shard with producers that retry, come back as zombies and lose their answers, over a network that
// delays, reorders and repeats, with a coordinator that crashes between any two steps and loses what was not durable, and with
// partitions that are modelled after core/log: sequences, epochs, permissions to begin a transaction, markers. A failure prints its seed.

// simRecord is what a partition holds.
type simRecord struct {
	producer int64
	epoch    int16
	value    string // "" for a marker
	commit   bool
}

type simProducer struct {
	epoch       int16
	coordinator int32
	seq         int32
	open        bool
	guard       int
	guardEpoch  int16
}

type simPartition struct {
	records   []simRecord
	producers map[int64]*simProducer
	guards    int
}

func (p *simPartition) producer(id int64) *simProducer {
	e := p.producers[id]
	if e == nil {
		e = &simProducer{epoch: -1, coordinator: -1, seq: -1}
		p.producers[id] = e
	}
	return e
}

// write appends a record, answers a duplicate, or refuses.
func (p *simPartition) write(id int64, epoch int16, seq int32, guard int, value string) int16 {
	e := p.producer(id)
	switch {
	case epoch < e.epoch:
		return codeInvalidProducerEpoch
	case epoch == e.epoch && seq <= e.seq:
		return codeNone
	case epoch > e.epoch && seq != 0 || epoch == e.epoch && seq != e.seq+1:
		return 45
	case (epoch != e.epoch || !e.open) && (guard == 0 || guard != e.guard || epoch != e.guardEpoch):
		return codeInvalidTxnState
	}
	e.epoch, e.seq, e.open, e.guard = epoch, seq, true, 0
	p.records = append(p.records, simRecord{producer: id, epoch: epoch, value: value})
	return codeNone
}

func (p *simPartition) mark(m *Markers) int16 {
	e := p.producer(m.ProducerID)
	switch {
	case m.ProducerEpoch < e.epoch || m.TransactionVersion >= 2 && m.ProducerEpoch == e.epoch && e.open:
		return codeInvalidProducerEpoch
	case m.CoordinatorEpoch < e.coordinator:
		return codeCoordinatorFenced
	}
	if m.TransactionVersion < 2 || e.guardEpoch < m.ProducerEpoch {
		e.guard = 0
	}
	if m.ProducerEpoch != e.epoch {
		e.epoch, e.seq = m.ProducerEpoch, -1
	}
	e.coordinator, e.open = m.CoordinatorEpoch, false
	p.records = append(p.records, simRecord{producer: m.ProducerID, epoch: m.ProducerEpoch, commit: m.Commit})
	return codeNone
}

// visible is what a read_committed consumer reads, and whether a transaction is open.
func (p *simPartition) visible() (out []string, open bool) {
	held := map[int64][]string{}
	for _, r := range p.records {
		switch {
		case r.value != "":
			held[r.producer] = append(held[r.producer], r.value)
		case r.commit:
			out = append(out, held[r.producer]...)
			delete(held, r.producer)
		default:
			delete(held, r.producer)
		}
	}
	return out, len(held) > 0
}

// simClient is one incarnation of a transactional producer.
type simClient struct {
	name     string
	id       string
	version  int16
	producer int64
	epoch    int16
	seq      map[int]int32
	txn      int
	todo     []int           // partitions to write to
	added    map[int]bool    // version 1: asked for
	written  map[string]bool // values acknowledged in this transaction
	commit   bool
	waiting  int // the request under way, 0 for none
	since    int64
	dead     bool
}

type sim struct {
	t     *testing.T
	rng   *rand.Rand
	now   time.Time
	shard *Shard
	epoch int32
	log   []Record

	flying  []Batch  // appended, not durable
	network []func() // deliveries
	parts   []*simPartition
	clients []*simClient
	request int
	nextID  int64
	born    int
	fenced  map[int64]int16            // producer id -> smallest epoch that is not fenced
	fate    map[string]string          // transaction -> committed, aborted
	values  map[string]map[string]bool // transaction -> values that were acknowledged in it
	quiet   bool
}

func newSim(t *testing.T, seed uint64) *sim {
	s := &sim{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.UnixMilli(1_000_000),
		fenced: map[int64]int16{}, fate: map[string]string{}, values: map[string]map[string]bool{},
	}
	for range 3 {
		s.parts = append(s.parts, &simPartition{producers: map[int64]*simProducer{}})
	}
	s.load()
	return s
}

func (s *sim) load() {
	s.epoch++
	s.shard = NewShard(Config{AbortCheckMs: 500, RetryMs: 50})
	s.shard.SetVersion(2)
	for _, r := range s.log {
		require.NoError(s.t, s.shard.Replay(r.Key, r.Value))
	}
	s.step(s.shard, Loaded{LeaderEpoch: s.epoch})
}

// crash loses what is in memory and what the disk did not have; of what was on its way there, some may have arrived.
func (s *sim) crash() {
	for range s.rng.IntN(len(s.flying) + 1) {
		s.log = append(s.log, s.flying[0].Records...)
		s.flying = s.flying[1:]
	}
	s.flying, s.shard = nil, nil
	for _, p := range s.parts {
		for _, e := range p.producers {
			e.guard = 0
		}
	}
	s.load()
}

// step steps a shard, unless it is one that has crashed.
func (s *sim) step(sh *Shard, ev Event) {
	if sh != s.shard {
		return
	}
	batches, effects := sh.Step(ev, s.now)
	s.flying = append(s.flying, batches...)
	for i := range effects {
		switch e := &effects[i]; {
		case e.Reply != nil:
			e.Reply(e.Result)
		case e.TookSpare:
			s.nextID++
		case e.Markers != nil:
			m := *e.Markers
			for _, p := range m.Partitions {
				one := m
				one.Partitions = []TopicPartition{p}
				s.send(true, func() {
					code := s.parts[p.Partition].mark(&one)
					s.send(false, func() { s.step(sh, MarkersWritten{Markers: one, Codes: []int16{code}}) })
				})
			}
		}
	}
}

// send delivers at some time, perhaps twice, perhaps late; what waits for an answer asks again.
func (s *sim) send(again bool, fn func()) {
	s.network = append(s.network, fn)
	if again && !s.quiet && s.rng.IntN(8) == 0 {
		s.network = append(s.network, fn)
	}
}

func (c *simClient) txnName() string { return fmt.Sprintf("%s#%d", c.name, c.txn) }

// act lets a client do what is next, once per answer.
func (s *sim) act(c *simClient) {
	if c.dead || c.waiting != 0 && s.now.UnixMilli()-c.since < 200 {
		return
	}
	again := c.waiting != 0 // it asks the same again
	s.request++
	n := s.request
	c.waiting, c.since = n, s.now.UnixMilli()
	answer := func(fn func(Result)) Reply {
		return func(r Result) {
			s.send(false, func() {
				if c.waiting == n && !c.dead {
					c.waiting = 0
					fn(r)
				}
			})
		}
	}
	sh := s.shard
	switch {
	case c.producer < 0:
		ev := InitProducerID{TransactionalID: c.id, TimeoutMs: 2000, ExpectedID: -1, ExpectedEpoch: -1, SpareID: s.nextID, Reply: answer(func(r Result) {
			if r.Code == codeNone {
				c.producer, c.epoch, c.seq = r.ProducerID, r.ProducerEpoch, map[int]int32{}
				s.fenced[c.producer] = max(s.fenced[c.producer], c.epoch)
				s.begin(c)
			}
		})}
		s.send(false, func() { ev.SpareID = s.nextID; s.step(sh, ev) })
	case len(c.todo) > 0:
		s.write(c, n, sh, answer)
	default:
		if !again {
			c.commit = s.rng.IntN(3) > 0
		}
		name := c.txnName()
		commit := c.commit
		ev := EndTxn{TransactionalID: c.id, ProducerID: c.producer, ProducerEpoch: c.epoch, Commit: commit, Version: c.version, Reply: answer(func(r Result) {
			switch r.Code {
			case codeNone:
				s.fate[name] = "aborted"
				if commit {
					s.fate[name] = "committed"
				}
				if c.version >= 2 && (r.ProducerID != c.producer || r.ProducerEpoch != c.epoch) {
					c.producer, c.epoch, c.seq = r.ProducerID, r.ProducerEpoch, map[int]int32{}
				}
				s.begin(c)
			case codeConcurrentTransactions, codeNotCoordinator:
				c.waiting, c.since = n, s.now.UnixMilli()-200 // the same again
			default:
				c.dead = true // fenced, or timed out
			}
		})}
		s.send(c.version >= 2, func() { ev.SpareID = s.nextID; s.step(sh, ev) })
	}
}

// write sends one record to the next partition, as Produce of its version does.
func (s *sim) write(c *simClient, n int, sh *Shard, answer func(func(Result)) Reply) {
	p := c.todo[0]
	part, tp := s.parts[p], TopicPartition{"t", int32(p)}
	value := fmt.Sprintf("%s/%d", c.txnName(), len(c.todo))
	id, epoch, seq, name := c.producer, c.epoch, c.seq[p], c.txnName()
	done := answer(func(r Result) {
		switch r.Code {
		case codeNone:
			c.seq[p] = seq + 1
			c.written[value] = true
			if s.values[name] == nil {
				s.values[name] = map[string]bool{}
			}
			s.values[name][value] = true
			c.todo = c.todo[1:]
		case codeConcurrentTransactions, codeNotCoordinator, codeInvalidTxnState:
			// later; a permission may have been lost in a crash
		default:
			c.dead = true
		}
	})
	appendIt := func(guard int) {
		before := len(part.records)
		code := part.write(id, epoch, seq, guard, value)
		if len(part.records) > before && epoch < s.fenced[id] {
			s.t.Errorf("a record of producer %d epoch %d was taken after epoch %d was given out", id, epoch, s.fenced[id])
		}
		done(Result{Code: code})
	}
	if c.version < 2 && !c.added[p] {
		ev := AddPartitions{TransactionalID: c.id, ProducerID: id, ProducerEpoch: epoch, Partitions: []TopicPartition{tp}, Reply: answer(func(r Result) {
			switch r.Code {
			case codeNone:
				c.added[p] = true
			case codeConcurrentTransactions, codeNotCoordinator:
			default:
				c.dead = true
			}
		})}
		s.send(false, func() { s.step(sh, ev) })
		return
	}
	s.send(true, func() {
		e := part.producer(id)
		if e.open && e.epoch == epoch {
			appendIt(0)
			return
		}
		if e.guard == 0 || e.guardEpoch != epoch {
			part.guards++
			e.guard, e.guardEpoch = part.guards, epoch
		}
		guard := e.guard
		if c.version < 2 {
			codes := []int16{codeNotCoordinator}
			if sh == s.shard {
				codes = sh.Verify(c.id, id, epoch, []TopicPartition{tp})
			}
			if codes[0] != codeNone {
				done(Result{Code: codes[0]})
				return
			}
			s.send(false, func() { appendIt(guard) })
			return
		}
		wait := int64(s.rng.IntN(3)) * 100
		s.step(sh, AddPartitions{TransactionalID: c.id, ProducerID: id, ProducerEpoch: epoch, Partitions: []TopicPartition{tp}, Version: 2, WaitMs: wait, Reply: func(r Result) {
			if r.Code != codeNone {
				done(r)
				return
			}
			s.send(false, func() { appendIt(guard) })
		}})
	})
}

func (s *sim) begin(c *simClient) {
	c.txn++
	c.added, c.written = map[int]bool{}, map[string]bool{}
	for range s.rng.IntN(5) {
		c.todo = append(c.todo, s.rng.IntN(len(s.parts)))
	}
	if len(c.todo) == 0 && c.version < 2 {
		c.todo = []int{0}
	}
}

func (s *sim) spawn() {
	s.born++
	id := s.rng.IntN(3)
	c := &simClient{name: fmt.Sprint("c", s.born), id: fmt.Sprint("tx", id), producer: -1, version: 2}
	if id == 0 {
		c.version = 0
	}
	s.clients = append(s.clients, c)
}

func (s *sim) tick() {
	s.now = s.now.Add(time.Duration(s.rng.IntN(20)) * time.Millisecond)
	switch n := s.rng.IntN(100); {
	case n < 45 && len(s.network) > 0:
		i := s.rng.IntN(len(s.network))
		fn := s.network[i]
		s.network = slices.Delete(s.network, i, i+1)
		fn()
	case n < 65 && len(s.flying) > 0:
		b := s.flying[0]
		s.flying = s.flying[1:]
		s.log = append(s.log, b.Records...)
		s.step(s.shard, Appended{Seq: b.Seq})
	case n < 90 && len(s.clients) > 0:
		s.act(s.clients[s.rng.IntN(len(s.clients))])
	case n < 93:
		s.step(s.shard, Tick{})
	case n == 93 && !s.quiet:
		s.crash()
	case n == 94 && !s.quiet && len(s.clients) < 12:
		s.spawn()
	case n == 95 && !s.quiet && len(s.flying) > 0: // the disk is full for a moment
		b := s.flying[0]
		s.flying = s.flying[1:]
		s.step(s.shard, Appended{Seq: b.Seq, Err: errDisk})
	case n == 96 && !s.quiet && len(s.clients) > 0 && s.rng.IntN(3) == 0:
		s.clients[s.rng.IntN(len(s.clients))].dead = true // killed
	}
}

// settle stops the clients and lets everything come to rest; open transactions time out.
func (s *sim) settle() {
	s.quiet = true
	for _, c := range s.clients {
		c.dead = true
	}
	for range 60_000 {
		s.tick()
		if len(s.network) == 0 && len(s.flying) == 0 && !s.busy() {
			return
		}
	}
	s.t.Errorf("it does not come to rest: %d messages, %d appends, %v", len(s.network), len(s.flying), slices.Sorted(maps.Keys(s.shard.txns)))
}

func (s *sim) busy() bool {
	for _, t := range s.shard.txns {
		if t.pending != none || t.State == Ongoing || t.State == PrepareCommit || t.State == PrepareAbort {
			return true
		}
	}
	return false
}

func (s *sim) check() {
	seen := map[string]int{}
	for i, p := range s.parts {
		values, open := p.visible()
		if open {
			s.t.Errorf("a transaction hangs in partition %d", i)
		}
		for _, v := range values {
			seen[v]++
		}
	}
	for v, n := range seen {
		if n > 1 {
			s.t.Errorf("%s is there %d times", v, n)
		}
	}
	for name, values := range s.values {
		n := 0
		for v := range values {
			n += min(seen[v], 1)
		}
		switch fate := s.fate[name]; {
		case fate == "committed" && n < len(values):
			s.t.Errorf("%s was committed, %d of %d acknowledged records are visible", name, n, len(values))
		case fate == "aborted" && n > 0:
			s.t.Errorf("%s was aborted, %d records are visible", name, n)
		case n > 0 && n < len(values):
			s.t.Errorf("%s is torn: %d of %d acknowledged records are visible", name, n, len(values))
		}
	}
}

// MOLDAU_SEEDS=n runs n seeds.
func TestRandomHistoriesKeepTransactionsWhole(t *testing.T) {
	seeds := 400
	if testing.Short() {
		seeds = 50
	}
	if n, err := strconv.Atoi(os.Getenv("MOLDAU_SEEDS")); err == nil {
		seeds = n
	}
	committed := 0
	for seed := range seeds {
		s := newSim(t, uint64(seed))
		for range 3 {
			s.spawn()
		}
		for range 3000 {
			s.tick()
		}
		s.settle()
		s.check()
		for _, f := range s.fate {
			if f == "committed" {
				committed++
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	require.Greater(t, committed, seeds, "the histories must contain something")
}
