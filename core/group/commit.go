package group

import (
	"log/slog"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// committer is who commits offsets.
type committer struct {
	group      string
	memberID   string
	instance   *string
	generation int32
	txn        bool
	version    int16
}

// validateCommit finds the group of a commit, or says why not. A commit without a generation makes a
// group of its own if there is none: consumers that assign partitions by themselves only ever commit.
func (s *Shard) validateCommit(c committer, unknownGroup int16) (*group, int16) {
	g := s.groups[c.group]
	if g == nil {
		if c.generation >= 0 {
			return nil, unknownGroup
		}
		if s.full(groupBytes(c.group)) {
			return nil, codeCoordinatorNotAvailable
		}
		s.note(slog.LevelInfo, "creating a simple consumer group via manual offset commit", "group", strings.Clone(c.group))
		return s.getOrCreate(c.group), codeNone
	}
	if c.generation < 0 && g.state == stateEmpty {
		return g, codeNone
	}
	switch {
	case c.generation >= 0 || c.memberID != "" || c.instance != nil:
		if code := g.validateMember(c.memberID, c.instance); code != codeNone {
			return nil, code
		}
		if c.generation != g.generation {
			return nil, codeIllegalGeneration
		}
	case !c.txn && g.state != stateEmpty:
		// Members manage the group's offsets; a stranger would set them back.
		return nil, codeUnknownMemberID
	}
	if !c.txn && g.state == stateCompletingRebalance {
		return nil, codeRebalanceInProgress
	}
	return g, codeNone
}

// mayCommit is whether c may commit, and the id of the group for which it does. The function, if not nil,
// judges each partition.
func (s *Shard) mayCommit(c committer, unknownGroup int16) (string, func(topic uuid, p int32) int16, int16) {
	if g := s.consumers[c.group]; g != nil {
		judge, code := g.validateConsumerCommit(c)
		return g.id, judge, code
	}
	g, code := s.validateCommit(c, unknownGroup)
	if code != codeNone {
		return "", nil, code
	}
	return g.id, nil, codeNone
}

// forgetUnused takes back the group that a commit made and then had no offset for: there is no record of it.
func (s *Shard) forgetUnused(id string, had bool) {
	if g := s.groups[id]; g != nil && !had {
		s.dropGroup(g)
	}
}

func (s *Shard) offsetCommit(e OffsetCommit) {
	r, resp := e.Request, e.Response
	unknownGroup := codeIllegalGeneration
	if r.Version >= 9 {
		unknownGroup = codeGroupIDNotFound
	}
	generation := r.Generation
	if r.Version < 1 {
		generation = -1
	}
	fail := func(code int16) {
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == codeNone {
					p.ErrorCode = code
				}
			}
		}
		s.reply(e.Waiter, resp)
	}
	had := s.groups[r.Group] != nil
	group, judge, code := s.mayCommit(committer{r.Group, r.MemberID, r.InstanceID, generation, false, r.Version}, unknownGroup)
	if code != codeNone {
		fail(code)
		return
	}
	if g := s.groups[group]; g != nil && g.members[r.MemberID] != nil {
		m := g.members[r.MemberID]
		s.startSession(g, m, int64(m.sessionTimeoutMs)) // a commit is a sign of life
	}

	var b commitBatch
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			p, rp := &r.Topics[i].Partitions[j], &resp.Topics[i].Partitions[j]
			if rp.ErrorCode != codeNone {
				continue
			}
			if rp.ErrorCode = s.admitOffset(group, e.Names[i], p.Partition, p.Metadata); rp.ErrorCode != codeNone {
				continue
			}
			if judge != nil {
				if code := judge(e.IDs[i], p.Partition); code != codeNone {
					fail(code)
					return
				}
			}
			v := offsetValue{offset: p.Offset, epoch: -1, metadata: cloneMetadata(p.Metadata), commitMs: s.now, expireMs: -1, topicID: e.IDs[i]}
			if r.Version >= 6 {
				v.epoch = max(p.LeaderEpoch, -1)
			}
			if r.Version == 1 && p.Timestamp != -1 {
				v.commitMs = p.Timestamp
			}
			if r.Version >= 2 && r.Version <= 4 && r.RetentionTimeMillis != -1 {
				v.expireMs = s.now + min(r.RetentionTimeMillis, math.MaxInt64-s.now)
			}
			b.add(&offsetOp{key: offsetKey{group, e.Names[i], p.Partition}, value: v})
		}
	}
	if len(b.ops) == 0 {
		s.forgetUnused(group, had)
		s.reply(e.Waiter, resp)
		return
	}
	s.stats.OffsetCommits += int64(len(b.ops))
	s.emit(b.recs, b.ops, fail) // with code 0 fail changes nothing
}

// admitOffset is whether the offset may be committed as far as its size goes.
func (s *Shard) admitOffset(group, topic string, partition int32, metadata *string) int16 {
	n := 0
	if metadata != nil {
		if n = len(*metadata); n > int(s.cfg.OffsetMetadataMaxBytes) && utf16Len(*metadata) > int(s.cfg.OffsetMetadataMaxBytes) {
			return codeOffsetMetadataTooLarge
		}
	}
	if s.offsets.get(group, topic, partition) == nil && s.full(int64(n+len(topic))+3*entryBytes) {
		return codeCoordinatorNotAvailable
	}
	return codeNone
}

func cloneMetadata(m *string) string {
	if m == nil {
		return ""
	}
	return strings.Clone(*m)
}

// commitBatch collects commits and deletions of offsets, with their records.
type commitBatch struct {
	recs []Record
	ops  []*offsetOp
}

func (b *commitBatch) add(op *offsetOp) {
	rec := Record{Key: appendOffsetKey(nil, op.key.group, op.key.topic, op.key.partition)}
	if !op.tombstone {
		rec.Value = appendOffsetValue(nil, op.value)
	}
	b.recs, b.ops = append(b.recs, rec), append(b.ops, op)
}

func (b *commitBatch) addTombstone(group, topic string, partition int32) {
	b.add(&offsetOp{key: offsetKey{group, topic, partition}, tombstone: true})
}

// txnOffsetCommit commits offsets within a transaction (KIP-98, KIP-447).
func (s *Shard) txnOffsetCommit(e TxnOffsetCommit) {
	r, resp := e.Request, e.Response
	fail := func(code int16) {
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == codeNone {
					p.ErrorCode = code
				}
			}
		}
		s.reply(e.Waiter, resp)
	}
	c := committer{group: r.Group, generation: -1, txn: true, version: r.Version}
	if r.Version >= 3 {
		c.memberID, c.instance, c.generation = r.MemberID, r.InstanceID, r.Generation
	}
	if r.Group == "" {
		fail(codeInvalidGroupID)
		return
	}
	unknownGroup := codeIllegalGeneration
	if r.Version >= 6 {
		unknownGroup = codeGroupIDNotFound // KIP-1319
	}
	had := s.groups[r.Group] != nil
	group, judge, code := s.mayCommit(c, unknownGroup)
	if code != codeNone {
		fail(code)
		return
	}
	var b commitBatch
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			p, rp := &r.Topics[i].Partitions[j], &resp.Topics[i].Partitions[j]
			if rp.ErrorCode != codeNone {
				continue
			}
			if rp.ErrorCode = s.admitOffset(group, r.Topics[i].Topic, p.Partition, p.Metadata); rp.ErrorCode != codeNone {
				continue
			}
			if judge != nil {
				if code := judge(e.IDs[i], p.Partition); code != codeNone {
					fail(code)
					return
				}
			}
			v := offsetValue{offset: p.Offset, epoch: -1, metadata: cloneMetadata(p.Metadata), commitMs: s.now, expireMs: -1, topicID: e.IDs[i]}
			if r.Version >= 2 {
				v.epoch = max(p.LeaderEpoch, -1)
			}
			b.add(&offsetOp{key: offsetKey{group, r.Topics[i].Topic, p.Partition}, value: v, txn: true, producerID: r.ProducerID})
		}
	}
	if len(b.ops) == 0 {
		s.forgetUnused(group, had)
		s.reply(e.Waiter, resp)
		return
	}
	s.stats.OffsetCommits += int64(len(b.ops))
	s.emitBatch(Batch{ProducerID: r.ProducerID, ProducerEpoch: r.ProducerEpoch, Guard: e.Guard, Records: b.recs}, b.ops, &held{left: 1, fin: fail})
}

// txnMarker ends a transaction, after the commits within it that are still in flight: the marker is behind
// them in the log.
func (s *Shard) txnMarker(e TxnMarker) {
	for _, f := range slices.Backward(s.inflight) {
		for _, op := range f.ops {
			if op.txn && op.producerID == e.ProducerID {
				f.markers = append(f.markers, e)
				return
			}
		}
	}
	s.offsets.endTxn(e.ProducerID, e.Commit, s.ensureGroup)
}

func (s *Shard) offsetDelete(e OffsetDelete) {
	r, resp := e.Request, e.Response
	fail := func(code int16) {
		if resp.ErrorCode = code; code != codeNone {
			resp.Topics = nil
		}
		s.reply(e.Waiter, resp)
	}
	g, cg := s.groups[r.Group], s.consumers[r.Group]
	switch {
	case r.Group == "":
		fail(codeInvalidGroupID)
		return
	case g == nil && cg == nil:
		fail(codeGroupIDNotFound)
		return
	case cg != nil:
		g = &group{id: cg.id}
	case g.state != stateEmpty && !g.isConsumer():
		fail(codeNonEmptyGroup)
		return
	}
	subscribed := g.isSubscribedTo
	if cg != nil {
		subscribed = cg.isSubscribedTo
	}
	var b commitBatch
	for i := range r.Topics {
		topic := r.Topics[i].Topic
		for j := range r.Topics[i].Partitions {
			p, rp := r.Topics[i].Partitions[j].Partition, &resp.Topics[i].Partitions[j]
			switch {
			case rp.ErrorCode != codeNone:
			case subscribed(topic):
				rp.ErrorCode = codeGroupSubscribedToTopic
			default:
				if oe := s.offsets.get(g.id, topic, p); oe != nil && oe.alive() {
					b.addTombstone(g.id, topic, p)
				}
			}
		}
	}
	s.stats.OffsetDeletions += int64(len(b.ops))
	s.emitTombstones(b.recs, b.ops, &held{fin: fail})
}

// alive is whether there is a value to delete.
func (e *offsetEntry) alive() bool {
	_, ok := e.latest()
	return ok || e.txns > 0
}

// topicDeleted deletes the offsets of a topic that is gone.
func (s *Shard) topicDeleted(topic string) {
	var b commitBatch
	for _, id := range sortedKeys(s.offsets.groups) {
		s.collect(&b, id, topic)
	}
	if len(b.ops) == 0 {
		return
	}
	s.stats.OffsetDeletions += int64(len(b.ops))
	s.emitTombstones(b.recs, b.ops, &held{fin: func(code int16) {
		if code != codeNone {
			s.note(slog.LevelError, "could not delete the offsets of a deleted topic", "topic", topic, "code", code)
		}
	}})
}

// collect adds tombstones for the group's offsets of the topic.
func (s *Shard) collect(b *commitBatch, group, topic string) {
	og := s.offsets.groups[group]
	if og == nil || og.topics[topic] == nil {
		return
	}
	tp := og.topics[topic]
	for _, p := range sortedKeys(tp.parts) {
		if tp.parts[p].alive() {
			b.addTombstone(og.id, tp.name, p)
		}
	}
}

// deleteGroups deletes groups without members, and their offsets.
func (s *Shard) deleteGroups(e DeleteGroups) {
	resp := kmsg.NewPtrDeleteGroupsResponse()
	var b commitBatch
	var tombs []Record
	var gone []*group
	consumers := 0
	for _, id := range e.Groups {
		rg := kmsg.NewDeleteGroupsResponseGroup()
		rg.Group = id
		switch g, cg := s.groups[id], s.consumers[id]; {
		case cg != nil && len(cg.members) > 0:
			rg.ErrorCode = codeNonEmptyGroup
		case cg != nil:
			s.collectGroup(&b, cg.id)
			tombs = append(tombs, s.bury(cg)...)
			consumers++
		case g == nil:
			rg.ErrorCode = codeGroupIDNotFound
		case g.state != stateEmpty:
			rg.ErrorCode = codeNonEmptyGroup
		default:
			s.collectGroup(&b, g.id)
			tombs = append(tombs, Record{Key: appendGroupKey(nil, g.id)})
			gone = append(gone, g)
			s.dropGroup(g)
		}
		resp.Groups = append(resp.Groups, rg)
	}
	if len(gone)+consumers == 0 {
		s.reply(e.Waiter, resp)
		return
	}
	s.stats.OffsetDeletions += int64(len(b.ops))
	s.emitTombstones(append(b.recs, tombs...), b.ops, &held{
		undo: func() { s.undelete(gone, consumers) },
		fin: func(code int16) {
			for i := range resp.Groups {
				if resp.Groups[i].ErrorCode == codeNone {
					resp.Groups[i].ErrorCode = code
				}
			}
			s.reply(e.Waiter, resp)
		},
	})
}

// collectGroup adds tombstones for all offsets of the group.
func (s *Shard) collectGroup(b *commitBatch, id string) {
	if og := s.offsets.groups[id]; og != nil {
		for _, topic := range sortedKeys(og.topics) {
			s.collect(b, id, topic)
		}
	}
}

// bury forgets a KIP-848 group without members and returns its tombstones.
func (s *Shard) bury(g *consumerGroup) (tombs []Record) {
	for _, r := range g.tombstones(nil) {
		tombs = append(tombs, Record{Key: r.key()})
	}
	s.dropConsumer(g)
	return tombs
}

// deleteEmptyConsumer makes way for a classic group.
func (s *Shard) deleteEmptyConsumer(g *consumerGroup) (refused int16) {
	p := &plan{id: g.id, g: g, recs: g.tombstones(nil)}
	refused = codeNone
	s.commit(p, nil, func(code int16) {
		if s.consumers[g.id] == g {
			refused = code
		}
	})
	if s.consumers[g.id] == nil {
		s.note(slog.LevelInfo, "converted an empty consumer group to a classic group", "group", g.id)
	}
	return refused
}

// undelete is restore, or, if groups of the other kind are among those that are gone, a load of the shard.
func (s *Shard) undelete(gone []*group, consumers int) {
	if consumers > 0 {
		s.lose()
		return
	}
	s.restore(gone)
}

func (g *consumerGroup) isSubscribedTo(topic string) bool {
	_, ok := g.topics[topic]
	return ok
}

// restore brings back groups whose deletion failed, unless others have taken their names.
func (s *Shard) restore(gone []*group) {
	for _, g := range gone {
		if s.groups[g.id] == nil {
			g.state = stateEmpty
			g.pending = map[string]*pendingMember{}
			s.keep(g)
		}
	}
}

// cleanup deletes the offsets that are past their retention, and the groups that are left with nothing.
// (KIP-211: the clock of a group's offsets starts when the group becomes empty or, for topics that its
// members no longer subscribe to and for groups without members, with the commit.)
func (s *Shard) cleanup() {
	var b commitBatch
	var tombs []Record
	var gone []*group
	for _, id := range sortedKeys(s.groups) {
		g := s.groups[id]
		if !s.expireOffsets(&b, g) || g.state != stateEmpty || len(g.pending) > 0 {
			continue
		}
		tombs = append(tombs, Record{Key: appendGroupKey(nil, g.id)})
		gone = append(gone, g)
		s.dropGroup(g)
	}
	consumers := 0
	for _, id := range sortedKeys(s.consumers) {
		g := s.consumers[id]
		if s.expireTopics(&b, id, -1, g.isSubscribedTo) && len(g.members) == 0 {
			tombs = append(tombs, s.bury(g)...)
			consumers++
		}
	}
	if len(b.recs)+len(tombs) == 0 {
		return
	}
	s.stats.OffsetExpirations += int64(len(b.ops))
	s.note(slog.LevelInfo, "removed expired offsets and empty groups", "offsets", len(b.ops), "groups", len(gone)+consumers)
	s.emitTombstones(append(b.recs, tombs...), b.ops, &held{
		undo: func() { s.undelete(gone, consumers) },
		fin: func(code int16) {
			if code != codeNone {
				s.note(slog.LevelWarn, "could not remove expired offsets: the next check tries again", "code", code)
			}
		},
	})
}

// expireOffsets adds tombstones for the expired offsets of the group and says whether none is left.
func (s *Shard) expireOffsets(b *commitBatch, g *group) bool {
	if s.offsets.groups[g.id] == nil {
		return true
	}
	since := int64(-1) // the start of the retention; -1: each commit's own
	switch {
	case g.protocolType == "":
	case g.state == stateEmpty:
		since = g.stateTs
	case g.isConsumer() && g.subscribedKnown && g.state == stateStable:
	default:
		return false
	}
	return s.expireTopics(b, g.id, since, g.isSubscribedTo)
}

// expireTopics adds tombstones for the group's expired offsets of topics that it does not subscribe to, and
// says whether none is left.
func (s *Shard) expireTopics(b *commitBatch, id string, since int64, subscribed func(string) bool) bool {
	og := s.offsets.groups[id]
	if og == nil {
		return true
	}
	all := true
	for _, topic := range sortedKeys(og.topics) {
		if subscribed(topic) {
			all = false
			continue
		}
		tp := og.topics[topic]
		for _, p := range sortedKeys(tp.parts) {
			e := tp.parts[p]
			v, ok := e.latest()
			switch {
			case e.txns > 0:
				all = false
			case !ok: // being deleted already
			case s.expired(v, since):
				b.addTombstone(og.id, tp.name, p)
			default:
				all = false
			}
		}
	}
	return all
}

func (s *Shard) expired(v offsetValue, since int64) bool {
	if v.expireMs != -1 {
		return s.now >= v.expireMs
	}
	if since == -1 {
		since = v.commitMs
	}
	return s.now-since >= s.cfg.OffsetsRetentionMs
}
