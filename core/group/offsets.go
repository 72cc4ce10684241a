package group

import "strings"

// offsetTable is the committed offsets of a shard, in layers: the durable value, at most one pending
// change on top (the newest; it decides), and values within open transactions beside them.
type offsetTable struct {
	groups  map[string]*groupOffsets
	txns    map[int64]map[offsetKey]*offsetOp // by producer id
	order   uint64                            // counts changes in the order of the log
	durable int64                             // entries with a durable value
	bytes   int64
}

type groupOffsets struct {
	id     string
	topics map[string]*topicOffsets
}

type topicOffsets struct {
	name  string
	parts map[int32]*offsetEntry
}

// offsetEntry exists while it has a durable value, a pending change, or a value in an open transaction.
type offsetEntry struct {
	value offsetValue
	has   bool
	order uint64
	pend  *offsetOp
	txns  int // open transactions with a value for it
}

// offsetOp is one change of an offset on its way to the log.
type offsetOp struct {
	key        offsetKey
	value      offsetValue
	tombstone  bool
	producerID int64 // of a transactional commit; only meaningful if txn
	txn        bool
	order      uint64
	entry      *offsetEntry
}

const entryBytes = 200 // an entry with its map slot, roughly

func (t *offsetTable) init() {
	t.groups = map[string]*groupOffsets{}
	t.txns = map[int64]map[offsetKey]*offsetOp{}
}

func (t *offsetTable) get(group, topic string, partition int32) *offsetEntry {
	if g := t.groups[group]; g != nil {
		if tp := g.topics[topic]; tp != nil {
			return tp.parts[partition]
		}
	}
	return nil
}

// latest is the value that counts for decisions, false if there is none.
func (e *offsetEntry) latest() (offsetValue, bool) {
	if e.pend != nil {
		return e.pend.value, !e.pend.tombstone
	}
	return e.value, e.has
}

// entry is the entry of the key, made if need be; the key's strings become the table's own.
func (t *offsetTable) entry(k *offsetKey) *offsetEntry {
	g := t.groups[k.group]
	if g == nil {
		g = &groupOffsets{id: strings.Clone(k.group), topics: map[string]*topicOffsets{}}
		t.groups[g.id] = g
		t.bytes += int64(len(g.id)) + entryBytes
	}
	tp := g.topics[k.topic]
	if tp == nil {
		tp = &topicOffsets{name: strings.Clone(k.topic), parts: map[int32]*offsetEntry{}}
		g.topics[tp.name] = tp
		t.bytes += int64(len(tp.name)) + entryBytes
	}
	k.group, k.topic = g.id, tp.name
	e := tp.parts[k.partition]
	if e == nil {
		e = &offsetEntry{}
		tp.parts[k.partition] = e
		t.bytes += entryBytes
	}
	return e
}

// free takes the entry out if nothing is in it any more.
func (t *offsetTable) free(k offsetKey, e *offsetEntry) {
	if e.has || e.pend != nil || e.txns > 0 {
		return
	}
	g := t.groups[k.group]
	if g == nil {
		return
	}
	tp := g.topics[k.topic]
	if tp == nil || tp.parts[k.partition] != e {
		return
	}
	delete(tp.parts, k.partition)
	t.bytes -= entryBytes
	if len(tp.parts) == 0 {
		delete(g.topics, k.topic)
		t.bytes -= int64(len(k.topic)) + entryBytes
	}
	if len(g.topics) == 0 {
		delete(t.groups, k.group)
		t.bytes -= int64(len(k.group)) + entryBytes
	}
}

// pend puts the change on top. Its fate comes with settle, in the same order.
func (t *offsetTable) pend(op *offsetOp) {
	t.order++
	op.order = t.order
	op.entry = t.entry(&op.key)
	if op.txn {
		op.entry.txns++ // unstable from now on, KIP-447
		return
	}
	op.entry.pend = op
}

// settle makes the change durable, or takes it back. live is called when the key has a durable value that
// nothing is about to change.
func (t *offsetTable) settle(op *offsetOp, ok bool, live func(group string)) {
	e := op.entry
	switch {
	case op.txn:
		e.txns--
		if ok {
			t.txnPut(op.producerID, op)
		}
	case ok && op.tombstone:
		t.clear(e)
		t.dropTxnValues(op.key, e)
	case ok:
		t.store(e, op)
	}
	if e.pend == op {
		e.pend = nil
	}
	if ok && e.has && e.pend == nil && !op.tombstone {
		live(op.key.group)
	}
	t.free(op.key, e)
}

func (t *offsetTable) store(e *offsetEntry, op *offsetOp) {
	t.clear(e)
	e.value, e.has, e.order = op.value, true, op.order
	t.durable++
	t.bytes += int64(len(e.value.metadata))
}

func (t *offsetTable) clear(e *offsetEntry) {
	if e.has {
		t.durable--
		t.bytes -= int64(len(e.value.metadata))
	}
	e.value, e.has = offsetValue{}, false
}

// txnPut keeps a durable value of an open transaction.
func (t *offsetTable) txnPut(producerID int64, op *offsetOp) {
	if op.entry == nil { // a replay
		t.order++
		op.order = t.order
		op.entry = t.entry(&op.key)
	}
	m := t.txns[producerID]
	if m == nil {
		m = map[offsetKey]*offsetOp{}
		t.txns[producerID] = m
	}
	if op.tombstone {
		if old := m[op.key]; old != nil {
			delete(m, op.key)
			t.bytes -= txnBytes(old)
			old.entry.txns--
		}
		t.free(op.key, op.entry)
		if len(m) == 0 {
			delete(t.txns, producerID)
		}
		return
	}
	if old := m[op.key]; old != nil {
		t.bytes -= txnBytes(old)
	} else {
		op.entry.txns++
	}
	m[op.key] = op
	t.bytes += txnBytes(op)
}

func txnBytes(op *offsetOp) int64 { return entryBytes + int64(len(op.value.metadata)) }

// endTxn ends the producer's transaction: a commit makes its values durable ones, unless a plain commit of
// the same offset came later in the log.
func (t *offsetTable) endTxn(producerID int64, commit bool, live func(group string)) {
	m := t.txns[producerID]
	delete(t.txns, producerID)
	for k, op := range m {
		e := op.entry
		e.txns--
		t.bytes -= txnBytes(op)
		if commit && (!e.has || e.order < op.order) {
			t.store(e, op)
			if e.pend == nil {
				live(k.group)
			}
		}
		t.free(k, e)
	}
}

// dropTxnValues forgets the values of the key in open transactions.
func (t *offsetTable) dropTxnValues(k offsetKey, e *offsetEntry) {
	if e.txns == 0 {
		return
	}
	for id, m := range t.txns {
		if old := m[k]; old != nil {
			delete(m, k)
			t.bytes -= txnBytes(old)
			e.txns--
			if len(m) == 0 {
				delete(t.txns, id)
			}
		}
	}
}
