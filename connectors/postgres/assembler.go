package postgres

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

// assembler turns pgoutput messages into records with positions. It is pure: what it needs from outside comes through relationSource.
//
// Invariants:
//   - Positions never go back, and a record's position says that all changes up to it were handed over. The records of one change but
//     its last carry the position before it, so that a resumption never begins inside a change.
//   - The last change of a transaction carries the position of the transaction's end. As that is known only when the commit arrives, the
//     records of the latest change stay in the assembler until the next message.
//   - A stream that begins again at lsnCommit delivers the transaction that was under way once more, in the same order: exactly the
//     changes up to (lsn, events) are passed over. Transactions are told apart by their id, changes of one LSN by counting.
type assembler struct {
	cfg    *config
	em     *cdc.Emitter
	tx     *cdc.Transactions
	stats  *cdc.Stats
	rels   map[uint32]*relation
	source relationSource
	// onError decides about a change that cannot be converted: nil goes on without it.
	onError func(error) error

	partition map[string]any
	out       []plugins.SourceRecord
	bytes     int64
	held      int // index in out of the first record of the change whose position may still become the transaction's end; -1: none
	heldBytes int64
	opening   bool // what is held begins with the BEGIN record of a transaction

	pos     *offset // position of the last record
	lastEnd uint64  // what the stream was followed up to between transactions, 0: nothing yet
	lastTx  uint64  // end of the last transaction that had changes, for source.sequence
	skip    *offset // where to go on in a transaction that is delivered again
	horizon uint64  // end of the server's log when the stream began

	inTx      bool
	xid       uint32
	micros    int64
	lsn       uint64
	events    int64
	skipping  bool // skip is about this transaction
	origin    data.Value
	originLSN data.Value
	scratch   []offset
	msgs      messageSchemas
}

func newAssembler(cfg *config, em *cdc.Emitter, stats *cdc.Stats, src relationSource) *assembler {
	return &assembler{cfg: cfg, em: em, tx: cfg.NewTransactions(), stats: stats, rels: map[uint32]*relation{}, source: src, held: -1, msgs: newMessageSchemas(cfg.Binary),
		partition: map[string]any{"server": cfg.Prefix}, onError: func(err error) error { return err }}
}

// resume sets the position to go on from: a stored one, or nil. It returns the LSN to begin the stream at, 0 for the slot's own.
func (a *assembler) resume(o *offset) uint64 {
	a.pos = o
	if o == nil {
		return 0
	}
	a.lastEnd, a.lastTx = o.lsnCommit, 0
	if o.snapshot == "" {
		a.lastTx = o.lsnCommit
		if !o.atCommit() {
			a.skip = o
		}
	}
	return o.lsnCommit
}

// restart prepares for a new stream, the first or one after the old one broke, and returns the LSN to begin at. horizon is the present
// end of the server's log.
func (a *assembler) restart(horizon uint64) uint64 {
	a.horizon = horizon
	clear(a.rels)
	if a.opening { // nothing but its BEGIN is there, and will come again
		a.out, a.held = a.out[:a.held], -1
	} else if a.inTx && !a.skipping {
		a.skip = &offset{lsnCommit: a.lastEnd, lsn: a.lsn, events: a.events, xid: a.xid}
	}
	a.inTx, a.skipping, a.opening = false, false, false
	return a.lastEnd
}

func (a *assembler) newOffset() *offset {
	if len(a.scratch) == 0 {
		a.scratch = make([]offset, 256)
	}
	o := &a.scratch[0]
	a.scratch = a.scratch[1:]
	return o
}

var errNoTransaction = errors.New("a change arrived outside of a transaction")

// handle takes one message, whose change lies at lsn. nanos is the wall clock.
func (a *assembler) handle(m *message, lsn uint64, nanos int64, size int) error {
	switch m.kind {
	case msgBegin:
		return a.begin(m, lsn)
	case msgCommit:
		a.commit(m)
	case msgRelation:
		r, err := a.source.relation(&m.relation, a.rels[m.relation.id])
		if err != nil {
			return fmt.Errorf("relation %s.%s: %w", m.relation.schema, m.relation.table, err)
		}
		a.rels[m.relation.id] = r
	case msgInsert, msgUpdate, msgDelete, msgTruncate:
		return a.change(m, lsn, nanos, size)
	case msgMessage:
		return a.message(m, lsn, nanos, size)
	case msgOrigin:
		a.origin, a.originLSN = data.String(m.origin), data.Int64(int64(m.lsn))
	}
	return nil
}

func (a *assembler) begin(m *message, lsn uint64) error {
	if a.inTx {
		return fmt.Errorf("transaction %d begins inside of transaction %d", m.xid, a.xid)
	}
	a.inTx, a.xid, a.micros, a.lsn, a.events, a.held = true, m.xid, m.micros, 0, 0, -1
	a.origin, a.originLSN = data.Null, data.Null
	a.skipping = a.skip != nil && a.skip.xid == m.xid
	if a.tx != nil {
		before := len(a.out)
		a.out = a.tx.Begin(a.out, strconv.FormatUint(uint64(m.xid), 10)+":"+strconv.FormatUint(lsn, 10), m.micros/1000)
		if a.skipping { // written before
			a.out = a.out[:before]
		}
		a.place(before, nil)
		if len(a.out) > before { // it has no position of its own: it goes out with the first change
			a.held, a.heldBytes, a.opening = before, 0, true
		}
	}
	return nil
}

func (a *assembler) commit(m *message) {
	if !a.inTx {
		return
	}
	a.inTx = false
	if a.skipping || a.events > 0 { // it was to be the first with changes
		a.skip, a.skipping = nil, false
	}
	a.lastEnd, a.lastTx = m.endLSN, m.endLSN
	a.stats.Transactions.Add(1)
	end := a.newOffset()
	*end = offset{lsnCommit: m.endLSN, lsn: m.endLSN, xid: a.xid, micros: m.micros, kind: "COMMIT"}
	if a.tx != nil {
		before := len(a.out)
		a.out = a.tx.End(a.out, m.micros/1000)
		a.place(before, end)
		a.held = -1
	}
	a.opening = false
	if a.held >= 0 {
		a.out[len(a.out)-1].SourceOffset = end
		a.pos = end
	}
	a.held = -1
}

// counted steps to a change at lsn and reports whether it was handled before.
func (a *assembler) counted(lsn uint64) (handled bool) {
	if lsn == a.lsn {
		a.events++
	} else {
		a.lsn, a.events = lsn, 1
	}
	if !a.skipping {
		return false
	}
	if lsn < a.skip.lsn || lsn == a.skip.lsn && a.events <= a.skip.events {
		return true
	}
	a.skip, a.skipping = nil, false
	return false
}

var kindNames = map[byte]string{msgInsert: "INSERT", msgUpdate: "UPDATE", msgDelete: "DELETE", msgTruncate: "TRUNCATE", msgMessage: "MESSAGE"}

// here returns the position after the current change.
func (a *assembler) here(kind byte) *offset {
	o := a.newOffset()
	*o = offset{lsnCommit: a.lastEnd, lsn: a.lsn, events: a.events, xid: a.xid, micros: a.micros, kind: kindNames[kind]}
	return o
}

// place gives the records from index from on their positions: the last one end, or the position before when end is nil, the others the
// position before.
func (a *assembler) place(from int, end *offset) {
	for i := from; i < len(a.out); i++ {
		if end != nil && i == len(a.out)-1 {
			a.pos = end
		}
		if a.pos != nil {
			a.out[i].SourcePartition, a.out[i].SourceOffset = a.partition, a.pos
		}
	}
}

func (a *assembler) change(m *message, lsn uint64, nanos int64, size int) error {
	if !a.inTx {
		return errNoTransaction
	}
	handled := a.counted(lsn)
	ids := m.relIDs
	if m.kind != msgTruncate {
		ids = []uint32{m.relID}
	}
	from := len(a.out)
	for _, id := range ids {
		rel := a.rels[id]
		if rel == nil {
			return fmt.Errorf("a change of relation %d arrived that was not described", id)
		}
		if !rel.captured {
			continue
		}
		op := opOf(m.kind)
		if a.em.Skips(op) {
			a.stats.Filtered.Add(1)
			continue
		}
		if handled && a.tx == nil {
			continue
		}
		c := cdc.Change{Table: rel.table, Op: op, Nanos: nanos, Tx: a.tx}
		if err := a.rows(&c, rel, m); err != nil {
			a.stats.Erroneous.Add(1)
			if err = a.onError(err); err != nil {
				return err
			}
			continue
		}
		c.Source = a.sourceBlock(rel)
		if handled { // only counted for the transaction's metadata
			a.em.Append(nil, &c)
			continue
		}
		a.out = a.em.Append(a.out, &c)
	}
	if len(a.out) > from {
		a.hold(from, m.kind, size)
	}
	return nil
}

// hold positions the records of a change and keeps them back.
func (a *assembler) hold(from int, kind byte, size int) {
	a.place(from, a.here(kind))
	if !a.opening {
		a.held = from
	}
	a.opening = false
	a.heldBytes = int64(len(a.out)-from)*recordOverhead + 2*int64(size)
	a.bytes += a.heldBytes
}

// recordOverhead estimates the memory of a record beside its column values: record, key, envelope and source block.
const recordOverhead = 1200

func opOf(kind byte) cdc.Op {
	switch kind {
	case msgInsert:
		return cdc.OpCreate
	case msgUpdate:
		return cdc.OpUpdate
	case msgDelete:
		return cdc.OpDelete
	}
	return cdc.OpTruncate
}

// rows decodes the rows of m into c.
func (a *assembler) rows(c *cdc.Change, rel *relation, m *message) (err error) {
	ar := &a.em.Arena
	var old []data.Value
	if m.old.present() {
		if old, err = rel.row(ar, m.old, nil, m.oldKind == 'K'); err != nil {
			return err
		}
	}
	switch m.kind {
	case msgInsert, msgUpdate:
		var full []data.Value
		if m.oldKind == 'O' {
			full = old
		}
		if c.After, err = rel.row(ar, m.new, full, false); err != nil {
			return err
		}
		if m.oldKind == 'O' {
			c.Before = old
		} else if old != nil && rel.table.Key != nil {
			c.OldKey = old
		}
	case msgDelete:
		c.Before = old
	}
	return nil
}

// sourceBlock fills in the source block for the current change.
func (a *assembler) sourceBlock(rel *relation) []data.Value {
	v := a.em.Arena.Values(srcLen)
	copy(v, rel.source)
	v[srcTsMs], v[srcTsUs], v[srcTsNs] = data.Int64(a.micros/1000), data.Int64(a.micros), data.Int64(a.micros*1000)
	v[srcSequence] = sequence(&a.em.Arena, a.lastTx, a.lsn)
	if a.inTx {
		v[srcTxID] = data.Int64(int64(a.xid))
	}
	v[srcLSN] = data.Int64(int64(a.lsn))
	v[srcOrigin], v[srcOriginLSN] = a.origin, a.originLSN
	return v
}

// sequence renders ["<last commit>","<lsn>"], with null for an unknown commit.
func sequence(a *cdc.Arena, commit, lsn uint64) data.Value {
	b := append(a.Scratch(64), '[')
	if commit == 0 {
		b = append(b, "null,\""...)
	} else {
		b = append(strconv.AppendUint(append(b, '"'), commit, 10), `","`...)
	}
	b = append(strconv.AppendUint(b, lsn, 10), `"]`...)
	return data.StringBytes(a.Keep(b))
}

// idle takes notice of a position that the stream reached between transactions: everything before lsn was delivered. While a
// transaction is still to be delivered again the position stays: how much of that transaction was handled is known only there. It was
// committed before this stream began, so beyond the log's end of that time (horizon) it will not come any more.
func (a *assembler) idle(lsn uint64) {
	if a.inTx || lsn <= a.lastEnd {
		return
	}
	if a.skip != nil {
		if lsn < a.horizon {
			return
		}
		a.skip = nil
	}
	a.lastEnd = lsn
}

// position returns the present position when it lies behind the last record's, for a record without data; nil when there is no news.
func (a *assembler) position() *offset {
	if a.inTx || a.skip != nil || a.lastEnd == 0 || a.pos != nil && a.pos.snapshot == "" && a.pos.lsnCommit >= a.lastEnd {
		return nil
	}
	o := a.newOffset()
	*o = offset{lsnCommit: a.lastEnd, lsn: a.lastEnd, xid: a.xid, micros: a.micros, kind: "COMMIT"}
	return o
}

// add appends a record that belongs to no change (a heartbeat or a bare position) at position o, or the last one when o is nil.
func (a *assembler) add(rec plugins.SourceRecord, o *offset) {
	a.held = -1
	a.out = append(a.out, rec)
	a.place(len(a.out)-1, o)
	a.bytes += recordOverhead
}

// take removes the records that are ready: all but those held back.
func (a *assembler) take() (recs []plugins.SourceRecord, bytes int64) {
	n := len(a.out)
	if a.held >= 0 {
		n = a.held
	}
	if n == 0 {
		return nil, 0
	}
	recs, bytes = a.out[:n:n], a.bytes
	rest := a.out[n:]
	a.out, a.bytes = make([]plugins.SourceRecord, 0, max(64, min(len(a.out)*2, chunkRecords+16))), 0
	if len(rest) > 0 {
		a.out = append(a.out, rest...)
		a.held = 0
		bytes -= a.heldBytes
		a.bytes = a.heldBytes
	}
	return recs, bytes
}

// chunkRecords is how many records go into the queue at a time under load.
const chunkRecords = 512
