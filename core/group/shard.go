package group

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau-io/moldau/core/coordinator"
)

// Stats counts what a shard did and holds, for metrics.
type Stats struct {
	Groups              [5]int64 // by state, in the order Empty, PreparingRebalance, CompletingRebalance, Stable, Dead
	Consumers           [4]int64 // KIP-848 groups by state: Empty, Assigning, Reconciling, Stable
	Offsets             int64    // durable committed offsets
	Bytes               int64    // of members, assignments and offsets, roughly
	InflightBytes       int64
	OffsetCommits       int64 // offsets committed
	OffsetExpirations   int64
	OffsetDeletions     int64
	CompletedRebalances int64
	SkippedRecords      int64 // records that could not be decoded while loading
}

// Shard is the groups and offsets of one partition of __consumer_offsets. See the package comment. It is
// not safe for concurrent use.
type Shard struct {
	cfg     Config
	epoch   int32
	now     int64
	serving bool // loaded, and not resigned
	closed  bool // resigned

	groups    map[string]*group         // classic ones
	consumers map[string]*consumerGroup // KIP-848; an id is in one of the two
	offsets   offsetTable

	image         Image
	topicHashes   map[string]uint64 // of topics in image
	topicsCreated int64             // the version of the newest image with new topics, -1 before the first
	lost          bool              // the log has not taken what the state holds

	timers timerHeap

	seq      uint64      // of the newest batch
	inflight []*inflight // oldest first
	waiting  int64       // bytes in flight

	commitTimer  timer
	cleanupTimer timer

	batches []Batch
	effects []Effect

	memberBytes int64 // of groups and members
	stats       Stats
}

// inflight is a batch whose fate is not known yet.
type inflight struct {
	seq   uint64
	bytes int64
	ops   []*offsetOp
	held  *held
	// markers end transactions with offsets in this or an earlier batch.
	markers []TxnMarker
	// behind are answers that speak of what this batch says, and write nothing themselves.
	behind []*held
}

// held is a decision that waits for one or several batches. fin is called once, with 0 when all of them are
// durable, else with the error to answer: it may be called early, when the wait is too long. undo, if set,
// is called once when a batch has in fact failed.
type held struct {
	left     int
	code     int16
	deadline int64
	fin      func(code int16)
	undo     func()
}

// settle counts one batch.
func (h *held) settle(code int16) {
	if code != codeNone {
		h.code = code
		if h.undo != nil {
			h.undo()
			h.undo = nil
		}
	}
	if h.left--; h.left == 0 {
		h.finish(h.code)
	}
}

func (h *held) finish(code int16) {
	if h.fin != nil {
		fin := h.fin
		h.fin = nil
		fin(code)
	}
}

// NewShard is an empty shard. Replay what the log holds, then step it with [Loaded].
func NewShard(cfg Config) *Shard {
	s := &Shard{
		cfg: cfg.WithDefaults(), groups: map[string]*group{}, consumers: map[string]*consumerGroup{},
		image: emptyImage{}, topicHashes: map[string]uint64{}, topicsCreated: -1,
	}
	s.offsets.init()
	s.commitTimer.kind, s.cleanupTimer.kind = timerCommit, timerCleanup
	return s
}

// Step lets the event happen at now. The batches must be appended in order, each as one atomic unit, and
// their fate reported in the same order with [Appended]; the effects are to be carried out at once. Both
// belong to the caller. A now before an earlier one counts as the earlier one.
func (s *Shard) Step(ev Event, now time.Time) ([]Batch, []Effect) {
	s.now = max(s.now, now.UnixMilli())
	s.batches, s.effects = nil, nil
	switch e := ev.(type) {
	case JoinGroup:
		s.joinGroup(e)
	case SyncGroup:
		s.syncGroup(e)
	case Heartbeat:
		resp := &kmsg.HeartbeatResponse{Version: e.Request.Version}
		resp.ErrorCode = s.heartbeat(e.Request)
		s.reply(e.Waiter, resp)
	case LeaveGroup:
		s.leaveGroup(e)
	case OffsetCommit:
		s.offsetCommit(e)
	case TxnOffsetCommit:
		s.txnOffsetCommit(e)
	case TxnMarker:
		s.txnMarker(e)
	case OffsetDelete:
		s.offsetDelete(e)
	case ConsumerGroupHeartbeat:
		s.consumerHeartbeat(e)
	case RegexResolved:
		s.regexResolved(e)
	case MetadataChanged:
		s.metadataChanged(e)
	case DeleteGroups:
		s.deleteGroups(e)
	case TopicDeleted:
		s.topicDeleted(e.Topic)
	case Appended:
		s.appended(e)
	case Loaded:
		s.loaded(e)
	case Resigned:
		s.resigned()
	}
	for s.serving {
		t := s.timers.due(s.now)
		if t == nil {
			break
		}
		s.fire(t)
	}
	s.checkLost()
	return s.batches, s.effects
}

// NextDeadline is when the shard wants a [Tick], in milliseconds since 1970; math.MaxInt64 if never.
func (s *Shard) NextDeadline() int64 {
	if !s.serving {
		return math.MaxInt64
	}
	return s.timers.next()
}

// Stats is what the shard did and holds.
func (s *Shard) Stats() Stats {
	st := s.stats
	for _, g := range s.groups {
		st.Groups[g.state]++
	}
	for _, g := range s.consumers {
		st.Consumers[slices.Index(consumerStates[:], g.state())]++
	}
	st.Offsets, st.Bytes, st.InflightBytes = s.offsets.durable, s.bytes(), s.waiting
	return st
}

// SetLeaderEpoch tells a serving shard that its broker leads on, in a new epoch.
func (s *Shard) SetLeaderEpoch(epoch int32) { s.epoch = epoch }

func (s *Shard) bytes() int64 { return s.memberBytes + s.offsets.bytes }

// full is whether the shard refuses to grow by n bytes.
func (s *Shard) full(n int64) bool { return s.bytes()+n > s.cfg.MaxShardBytes }

func (s *Shard) reply(to any, resp kmsg.Response) {
	s.effects = append(s.effects, Effect{Waiter: to, Response: resp})
}

func (s *Shard) note(level slog.Level, note string, args ...any) {
	s.effects = append(s.effects, Effect{Level: level, Note: note, Args: args})
}

func (s *Shard) fire(t *timer) {
	switch t.kind {
	case timerSession:
		s.sessionExpired(t)
	case timerJoin:
		s.completeJoin(t.group)
	case timerInitialDelay:
		s.initialDelayOver(t.group)
	case timerSync:
		s.syncExpired(t.group)
	case timerConsumerSession, timerConsumerRebalance, timerConsumerJoin, timerConsumerSync:
		s.fireConsumer(t)
	case timerCommit:
		s.commitTimeout()
	case timerCleanup:
		s.cleanup()
		s.timers.set(&s.cleanupTimer, s.now+s.cfg.OffsetsRetentionCheckMs)
	}
}

// emit gives a batch to the edge. When it is durable the ops become durable, and fin is called. If the
// shard has too much in flight already, nothing is emitted and fin is told so at once.
func (s *Shard) emit(recs []Record, ops []*offsetOp, fin func(code int16)) {
	s.emitBatch(Batch{ProducerID: -1, Records: recs}, ops, &held{left: 1, fin: fin})
}

func (s *Shard) emitBatch(b Batch, ops []*offsetOp, h *held) {
	var n int64
	for i := range b.Records {
		n += int64(len(b.Records[i].Key)+len(b.Records[i].Value)) + 16
	}
	if s.closed {
		h.settle(codeNotCoordinator)
		return
	}
	if s.waiting+n > s.cfg.MaxInflightBytes && len(s.inflight) > 0 {
		s.note(slog.LevelWarn, "refused a write: too much is waiting for the disk", "inflight_bytes", s.waiting)
		h.settle(codeCoordinatorNotAvailable)
		return
	}
	s.seq++
	b.Seq, b.LeaderEpoch, b.TimeMs = s.seq, s.epoch, s.now
	for _, op := range ops {
		s.offsets.pend(op)
	}
	s.inflight = append(s.inflight, &inflight{seq: s.seq, bytes: n, ops: ops, held: h})
	s.waiting += n
	s.limit(h)
	s.batches = append(s.batches, b)
}

// emitTombstones emits deletions of offsets and groups, in as many batches as their size asks for.
func (s *Shard) emitTombstones(recs []Record, ops []*offsetOp, h *held) {
	if len(recs) == 0 {
		h.left = 1
		h.settle(codeNone)
		return
	}
	var chunks [][2]int // ends in recs and ops: the ops stand for the first len(ops) records
	start, size := 0, 0
	for i := range recs {
		n := len(recs[i].Key) + 32
		if size+n > s.cfg.MaxBatchBytes && i > start {
			chunks = append(chunks, [2]int{start, i})
			start, size = i, 0
		}
		size += n
	}
	chunks = append(chunks, [2]int{start, len(recs)})
	h.left = len(chunks)
	for _, c := range chunks {
		lo, hi := min(c[0], len(ops)), min(c[1], len(ops))
		s.emitBatch(Batch{ProducerID: -1, Records: recs[c[0]:c[1]:c[1]]}, ops[lo:hi:hi], h)
	}
}

func (s *Shard) appended(e Appended) {
	if len(s.inflight) == 0 || s.inflight[0].seq != e.Seq {
		panic(fmt.Sprintf("group: append %d reported out of order", e.Seq))
	}
	f := s.inflight[0]
	s.inflight[0] = nil
	s.inflight = s.inflight[1:]
	s.waiting -= f.bytes
	for _, op := range f.ops {
		s.offsets.settle(op, e.Err == nil, s.ensureGroup)
	}
	if e.Err != nil {
		s.note(slog.LevelWarn, "append to "+OffsetsTopic+" failed", "error", e.Err)
	}
	code := coordinator.AppendErrorCode(e.Err)
	f.held.settle(code)
	for _, h := range f.behind {
		h.settle(code)
	}
	for _, m := range f.markers {
		s.offsets.endTxn(m.ProducerID, m.Commit, s.ensureGroup)
	}
}

// ensureGroup makes sure that the group of an offset exists: one that no one ever joined has no record.
func (s *Shard) ensureGroup(id string) {
	if s.consumers[id] == nil {
		s.getOrCreate(id)
	}
}

// limit bounds how long the decision waits. The first deadline that comes is that of the oldest, as all wait equally long.
func (s *Shard) limit(h *held) {
	h.deadline = s.now + int64(s.cfg.CommitTimeoutMs)
	if !s.commitTimer.isSet() {
		s.timers.set(&s.commitTimer, h.deadline)
	}
}

// commitTimeout answers those whose records take longer than offsets.commit.timeout.ms. The batches stay
// in flight and still count when they become durable.
func (s *Shard) commitTimeout() {
	next := int64(math.MaxInt64)
	late := func(h *held) {
		switch {
		case h.fin == nil:
		case h.deadline <= s.now:
			h.finish(codeCoordinatorNotAvailable)
		default:
			next = min(next, h.deadline)
		}
	}
	for _, f := range slices.Clone(s.inflight) {
		late(f.held)
		for _, h := range f.behind {
			late(h)
		}
	}
	if next < math.MaxInt64 {
		s.timers.set(&s.commitTimer, next)
	}
}

// Replay takes in one record of the log. An error speaks of this record only: it was left out, and the
// shard goes on. Nothing of r is kept.
func (s *Shard) Replay(r StoredRecord) error {
	if r.Control {
		s.offsets.endTxn(r.ProducerID, r.Commit, s.ensureGroup)
		return nil
	}
	if isConsumerKey(r.Key) {
		cr, err := decodeConsumerRecord(r.Key, r.Value)
		if err == nil {
			err = s.applyConsumer(&cr)
		}
		if err != nil {
			s.stats.SkippedRecords++
			return fmt.Errorf("group %q: %w", cr.group, err)
		}
		return nil
	}
	kind, ok, groupID, err := decodeKey(r.Key)
	if err != nil {
		s.stats.SkippedRecords++
		return err
	}
	if kind == keyGroup {
		if err := s.replayGroup(groupID, r.Value); err != nil {
			s.stats.SkippedRecords++
			return fmt.Errorf("group %q: %w", groupID, err)
		}
		return nil
	}
	op := &offsetOp{key: ok, tombstone: r.Value == nil}
	if !op.tombstone {
		if op.value, err = decodeOffsetValue(r.Value); err != nil {
			s.stats.SkippedRecords++
			return fmt.Errorf("group %q topic %q partition %d: %w", ok.group, ok.topic, ok.partition, err)
		}
	}
	if r.ProducerID >= 0 {
		s.offsets.txnPut(r.ProducerID, op)
		if !op.tombstone {
			s.ensureGroup(ok.group)
		}
		return nil
	}
	s.offsets.pend(op)
	s.offsets.settle(op, true, s.ensureGroup)
	return nil
}

func (s *Shard) replayGroup(id string, value []byte) error {
	if value == nil {
		if g := s.groups[id]; g != nil {
			s.dropGroup(g)
		}
		return nil
	}
	v, err := decodeGroupValue(value)
	if err != nil {
		return err
	}
	if s.consumers[id] != nil {
		return errors.New("metadata of a classic group, and the group is a consumer group")
	}
	if g := s.groups[id]; g != nil {
		s.dropGroup(g)
	}
	g := newGroup(id, stateEmpty, v.CurrentStateTimestamp)
	g.generation, g.protocolType = v.Generation, v.ProtocolType
	if v.Protocol != nil {
		g.protocol, g.hasProtocol = *v.Protocol, true
	}
	for i := range v.Members {
		vm := &v.Members[i]
		m := &member{
			id: vm.MemberID, clientID: vm.ClientID, clientHost: vm.ClientHost,
			rebalanceTimeoutMs: vm.RebalanceTimeoutMillis, sessionTimeoutMs: vm.SessionTimeoutMillis,
			protocols: []protocol{{g.protocol, vm.Subscription}}, assignment: vm.Assignment,
		}
		if m.rebalanceTimeoutMs == -1 {
			m.rebalanceTimeoutMs = m.sessionTimeoutMs
		}
		if vm.InstanceID != nil {
			m.instance, m.static = *vm.InstanceID, true
		}
		if g.members[m.id] != nil || m.static && g.statics[m.instance] != nil {
			continue // a member twice: the first one counts
		}
		g.add(m, v.ProtocolType)
		s.account(m)
	}
	if len(g.members) > 0 {
		g.state = stateStable
		g.leader = nil
		if v.Leader != nil {
			g.leader = g.members[*v.Leader]
		}
		if g.leader == nil {
			g.leader = g.order[0]
		}
	}
	g.computeSubscribed()
	s.keep(g)
	return nil
}

// loaded begins the service: sessions start anew, and a group that is larger than the limit has become
// rebalances.
func (s *Shard) loaded(e Loaded) {
	s.epoch, s.serving = e.LeaderEpoch, true
	s.setImage(e.Image)
	for id := range s.offsets.groups {
		s.ensureGroup(id) // the log may end within the deletion of a group
	}
	for _, id := range sortedKeys(s.groups) {
		g := s.groups[id]
		for _, m := range g.order {
			s.startSession(g, m, int64(m.sessionTimeoutMs))
		}
		if int64(len(g.members)) > int64(s.cfg.MaxGroupSize) {
			s.prepareRebalance(g, fmt.Sprintf("freshly loaded group of %d members is over capacity %d", len(g.members), s.cfg.MaxGroupSize))
		}
	}
	for _, id := range sortedKeys(s.consumers) {
		g := s.consumers[id]
		for _, mid := range sortedKeys(g.members) {
			s.beat(g, mid, s.consumerSessionMs(g.id))
			s.watchRevocation(g, g.members[mid])
		}
	}
	s.timers.set(&s.cleanupTimer, s.now+s.cfg.OffsetsRetentionCheckMs)
}

// resigned answers everyone who waits.
func (s *Shard) resigned() {
	s.serving, s.closed = false, true
	for _, f := range s.inflight {
		f.held.finish(codeNotCoordinator)
		for _, h := range f.behind {
			h.finish(codeNotCoordinator)
		}
	}
	for _, id := range sortedKeys(s.groups) {
		g := s.groups[id]
		for _, m := range g.order {
			s.answerJoin(g, m, joinError(m.id, codeNotCoordinator))
			s.answerSync(m, &kmsg.SyncGroupResponse{ErrorCode: codeNotCoordinator})
		}
	}
}

// getOrCreate is the group, made if need be.
func (s *Shard) getOrCreate(id string) *group {
	g := s.groups[id]
	if g == nil {
		g = newGroup(strings.Clone(id), stateEmpty, s.now)
		s.keep(g)
	}
	return g
}

// keep makes the group one of the shard's.
func (s *Shard) keep(g *group) {
	s.groups[g.id] = g
	s.memberBytes += g.size()
}

// dropGroup forgets the group and its timers; its offsets are another matter.
func (s *Shard) dropGroup(g *group) {
	s.timers.cancel(&g.joinTimer)
	s.timers.cancel(&g.syncTimer)
	for _, m := range g.order {
		s.timers.cancel(&m.session)
		s.memberBytes -= m.bytes
	}
	for _, p := range g.pending {
		s.timers.cancel(&p.session)
		s.memberBytes -= pendingBytes(p)
	}
	if s.groups[g.id] == g {
		delete(s.groups, g.id)
		s.memberBytes -= g.size()
	}
	g.state = stateDead
}

// account brings the shard's byte count up to date with the member.
func (s *Shard) account(m *member) {
	n := m.size()
	s.memberBytes += n - m.bytes
	m.bytes = n
}

func pendingBytes(p *pendingMember) int64 { return int64(200 + 2*len(p.id)) }

func (s *Shard) startSession(g *group, m *member, ms int64) {
	m.session.kind, m.session.group, m.session.member = timerSession, g, m
	s.timers.set(&m.session, s.now+ms)
}
