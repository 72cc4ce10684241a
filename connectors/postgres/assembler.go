package postgres

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins/data"
)

// assembler turns pgoutput messages into records with positions. It is pure: what it needs from outside comes through relationSource.
//
// Invariants:
//   - Positions never go back. What they say of their records is the outbox's promise.
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
	out       cdc.Outbox[*offset]

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
	offsets   cdc.Slab[offset]
	msgs      messageSchemas
}

func newAssembler(cfg *config, em *cdc.Emitter, stats *cdc.Stats, src relationSource) *assembler {
	partition := map[string]any{"server": cfg.Prefix}
	return &assembler{cfg: cfg, em: em, tx: cfg.NewTransactions(), stats: stats, rels: map[uint32]*relation{}, source: src, msgs: newMessageSchemas(cfg.Binary),
		partition: partition, out: cdc.NewOutbox[*offset](partition), onError: func(err error) error { return err }}
}

// resume sets the position to go on from: a stored one, or nil. It returns the LSN to begin the stream at, 0 for the slot's own.
func (a *assembler) resume(o *offset) uint64 {
	a.out.Position = o
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
	if !a.out.Restart() && a.inTx && !a.skipping {
		a.skip = &offset{lsnCommit: a.lastEnd, lsn: a.lsn, events: a.events, xid: a.xid}
	}
	a.inTx, a.skipping = false, false
	return a.lastEnd
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
	a.inTx, a.xid, a.micros, a.lsn, a.events = true, m.xid, m.micros, 0, 0
	a.out.Release()
	a.origin, a.originLSN = data.Null, data.Null
	a.skipping = a.skip != nil && a.skip.xid == m.xid
	if a.tx != nil {
		a.out.Begin(a.tx, strconv.FormatUint(uint64(m.xid), 10)+":"+strconv.FormatUint(lsn, 10), m.micros/1000, a.skipping)
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
	end := a.offsets.New()
	*end = offset{lsnCommit: m.endLSN, lsn: m.endLSN, xid: a.xid, micros: m.micros, kind: "COMMIT"}
	a.out.Commit(a.tx, m.micros/1000, end)
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
	o := a.offsets.New()
	*o = offset{lsnCommit: a.lastEnd, lsn: a.lsn, events: a.events, xid: a.xid, micros: a.micros, kind: kindNames[kind]}
	return o
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
	from := len(a.out.Records)
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
		a.out.Records = a.em.Append(a.out.Records, &c)
	}
	if len(a.out.Records) > from {
		a.out.Hold(from, a.here(m.kind), size)
	}
	return nil
}

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
	cdc.SetSourceTime(v, a.micros)
	v[cdc.SourceSequence] = sequence(&a.em.Arena, a.lastTx, a.lsn)
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
	if p := a.out.Position; a.inTx || a.skip != nil || a.lastEnd == 0 || p != nil && p.snapshot == "" && p.lsnCommit >= a.lastEnd {
		return nil
	}
	o := a.offsets.New()
	*o = offset{lsnCommit: a.lastEnd, lsn: a.lastEnd, xid: a.xid, micros: a.micros, kind: "COMMIT"}
	return o
}
