package mysql

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins/data"
)

// binlogEvent is an event of the binlog, or of a compressed transaction in it.
type binlogEvent struct {
	typ      replication.EventType
	seconds  uint32
	serverID uint32
	start    uint64 // place in the file
	end      uint64 // 0: the event is not in the file
	body     []byte
}

// assembler turns binlog events into records with positions. It is pure: what it needs from outside comes through relationSource.
//
// Invariants:
//   - A position is a place between transactions and a count of events and rows behind it, counted as Debezium counts: from the BEGIN of
//     the transaction (MariaDB: its GTID) on, rows within an event. What it says of its record is the outbox's promise.
//   - A stream that begins again at a place delivers the transaction behind it once more, in the same events: exactly skip.event events
//     and skip.row rows are passed over.
type assembler struct {
	cfg    *config
	em     *cdc.Emitter
	tx     *cdc.Transactions
	stats  *cdc.Stats
	source relationSource
	// onError decides about a change that cannot be converted: nil goes on without it.
	onError func(error) error

	partition map[string]any
	out       cdc.Outbox[*offset]

	last offset  // the place between transactions where a new stream has to begin
	skip *offset // where to go on in the transaction behind last

	fileValue data.Value
	tables    map[uint64]*relation
	inTx      bool
	pending   *gtidEvent // a GTID whose transaction has not begun
	next      *gtids     // last.gtids with the transaction
	txID      string
	gtid      data.Value
	thread    data.Value
	query     data.Value
	micros    int64 // commit time as far as known
	committed int64 // commit time told by the GTID event, 0: none
	events    int64
	rows      int64
	skipping  bool
	offsets   cdc.Slab[offset]
}

func newAssembler(cfg *config, em *cdc.Emitter, stats *cdc.Stats) *assembler {
	partition := map[string]any{"server": cfg.Prefix}
	return &assembler{cfg: cfg, em: em, tx: cfg.NewTransactions(), stats: stats, tables: map[uint64]*relation{},
		partition: partition, out: cdc.NewOutbox[*offset](partition), onError: func(err error) error { return err }}
}

// resume sets the position to go on from. stored tells that it is stored already.
func (a *assembler) resume(o *offset, stored bool) {
	a.last = *o
	a.last.event, a.last.row, a.last.snapshot = 0, 0, false
	a.next, a.inTx, a.pending = o.gtids, false, nil
	a.out.Release()
	a.setFile(o.file)
	a.skip, a.out.Position = nil, nil
	if stored {
		a.out.Position = o
	}
	if !o.between() {
		a.skip = o
	}
}

// restart prepares for a new stream after the old one broke. It returns the place to begin at.
func (a *assembler) restart() *offset {
	clear(a.tables)
	if !a.out.Restart() && a.inTx && !a.skipping {
		a.skip = &offset{event: a.events, row: a.rows}
	}
	a.inTx, a.skipping, a.pending = false, false, nil
	a.next = a.last.gtids
	a.setFile(a.last.file)
	return &a.last
}

func (a *assembler) setFile(name string) { a.fileValue = data.String(name) }

// handle takes one event. nanos is the wall clock.
func (a *assembler) handle(e *binlogEvent, nanos int64) error {
	err := a.dispatch(e, nanos)
	if err != nil {
		return fmt.Errorf("binlog %s at %d, %s: %w", a.fileValue.Str(), e.start, e.typ, err)
	}
	return nil
}

func (a *assembler) dispatch(e *binlogEvent, nanos int64) error {
	switch e.typ {
	case replication.ROTATE_EVENT:
		return a.rotate(e)
	case replication.FORMAT_DESCRIPTION_EVENT, replication.HEARTBEAT_EVENT, replication.HEARTBEAT_LOG_EVENT_V2, replication.PREVIOUS_GTIDS_EVENT,
		replication.STOP_EVENT, replication.MARIADB_GTID_LIST_EVENT, replication.MARIADB_BINLOG_CHECKPOINT_EVENT, replication.MARIADB_START_ENCRYPTION_EVENT:
		return nil
	case replication.GTID_EVENT, replication.GTID_TAGGED_LOG_EVENT, replication.MARIADB_GTID_EVENT, replication.ANONYMOUS_GTID_EVENT:
		return a.gtidEvent(e)
	case replication.TRANSACTION_PAYLOAD_EVENT:
		return decodePayload(e.body, func(typ replication.EventType, header, body []byte) error {
			h := cursor{b: header}
			in := binlogEvent{typ: typ, seconds: uint32(h.uint(4)), start: e.start, end: e.end, body: body}
			h.uint(1)
			in.serverID = uint32(h.uint(4))
			return a.dispatch(&in, nanos)
		})
	case replication.INCIDENT_EVENT:
		return cdc.Fatalf("the server reports a gap in its binlog (an incident event): take a new snapshot")
	}
	if a.micros == 0 || a.committed == 0 {
		a.micros = int64(e.seconds) * microsPerSec
	}
	var err error
	switch e.typ {
	case replication.QUERY_EVENT, replication.MARIADB_QUERY_COMPRESSED_EVENT:
		err = a.statement(e, nanos)
	case replication.XID_EVENT, replication.XA_PREPARE_LOG_EVENT:
		a.commit(e)
		return nil
	case replication.TABLE_MAP_EVENT:
		err = a.tableMap(e)
	case replication.ROWS_QUERY_EVENT:
		if a.cfg.includeQuery && len(e.body) > 0 {
			a.query = a.em.Arena.String(e.body[1:])
		}
	case replication.MARIADB_ANNOTATE_ROWS_EVENT:
		if a.cfg.includeQuery {
			a.query = a.em.Arena.String(e.body)
		}
	case replication.WRITE_ROWS_EVENTv0, replication.UPDATE_ROWS_EVENTv0, replication.DELETE_ROWS_EVENTv0,
		replication.WRITE_ROWS_EVENTv1, replication.UPDATE_ROWS_EVENTv1, replication.DELETE_ROWS_EVENTv1,
		replication.WRITE_ROWS_EVENTv2, replication.UPDATE_ROWS_EVENTv2, replication.DELETE_ROWS_EVENTv2, replication.PARTIAL_UPDATE_ROWS_EVENT,
		replication.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1, replication.MARIADB_UPDATE_ROWS_COMPRESSED_EVENT_V1, replication.MARIADB_DELETE_ROWS_COMPRESSED_EVENT_V1:
		err = a.rowsEvent(e, nanos)
	}
	if err != nil {
		return err
	}
	if a.inTx {
		a.events++
		a.rows = 0
		if a.skipping && a.events > a.skip.event {
			a.skip, a.skipping = nil, false
		}
	}
	return nil
}

func (a *assembler) rotate(e *binlogEvent) error {
	c := cursor{b: e.body}
	pos := c.uint(8)
	if c.bad || len(c.b) == 0 || len(c.b) > 512 {
		return errShort
	}
	name := string(c.b)
	if name != a.fileValue.Str() {
		a.setFile(name)
	}
	if !a.inTx && a.skip == nil && (name != a.last.file || pos > a.last.pos) {
		a.last.file, a.last.pos = name, pos
	}
	return nil
}

func (a *assembler) gtidEvent(e *binlogEvent) error {
	g, err := decodeGTID(e.typ, e.body)
	if err != nil {
		return err
	}
	a.out.Release()
	a.pending, a.inTx = &g, false
	a.committed = g.commit
	if a.micros = g.commit; g.commit == 0 {
		a.micros = int64(e.seconds) * microsPerSec
	}
	a.thread, a.query = data.Null, data.Null
	a.next, a.gtid, a.txID = a.last.gtids, data.Null, ""
	a.last.file, a.last.pos = a.fileValue.Str(), e.start
	if e.typ != replication.ANONYMOUS_GTID_EVENT {
		a.txID = g.name(a.cfg.mariadb, e.serverID)
		a.gtid = data.String(a.txID)
		if a.last.gtids != nil {
			a.next = a.last.gtids.add(&g, e.serverID)
		}
	}
	if e.typ == replication.MARIADB_GTID_EVENT && !g.standalone { // there is no BEGIN
		a.begin(e)
		a.events = 1
	}
	return nil
}

// begin starts a transaction.
func (a *assembler) begin(e *binlogEvent) {
	if a.pending == nil { // no GTIDs at all
		a.next, a.gtid, a.txID = a.last.gtids, data.Null, ""
		a.query, a.committed = data.Null, 0
		a.last.file, a.last.pos = a.fileValue.Str(), e.start
	}
	a.inTx, a.pending, a.events, a.rows = true, nil, 0, 0
	clear(a.tables)
	a.skipping = a.skip != nil
	if a.txID == "" {
		a.txID = "file=" + a.last.file + ",pos=" + strconv.FormatUint(a.last.pos, 10)
	}
	a.out.Begin(a.tx, a.txID, a.micros/1000, a.skipping)
}

// commit ends a transaction or a statement of its own.
func (a *assembler) commit(e *binlogEvent) {
	was := a.inTx
	a.inTx, a.pending = false, nil
	a.skip, a.skipping = nil, false
	a.last.gtids = a.next
	a.last.file, a.last.serverID, a.last.seconds = a.fileValue.Str(), e.serverID, a.micros/microsPerSec
	if e.end > 0 {
		a.last.pos = e.end
	}
	if !was {
		return
	}
	a.stats.Transactions.Add(1)
	end := a.offsets.New()
	*end = a.last
	a.out.Commit(a.tx, a.micros/1000, end)
}

func (a *assembler) statement(e *binlogEvent, nanos int64) error {
	q, err := decodeQuery(e.typ, e.body)
	if err != nil {
		return err
	}
	sql := q.sql
	if len(sql) > 4096 { // what we look for stands at the start
		sql = sql[:4096]
	}
	kind, schema, table := classify(string(sql))
	switch kind {
	case stmtBegin, stmtXAStart:
		a.begin(e)
		a.thread = data.Int64(int64(q.thread))
		return nil
	case stmtSavepoint, stmtXA:
		if a.inTx {
			return nil
		}
	case stmtCommit, stmtRollback:
	case stmtDDL:
		a.source.changed()
	case stmtTruncate:
		if schema == "" {
			schema = q.schema
		}
		id := cdc.TableID{Catalog: schema, Table: table}
		if !a.inTx && !a.em.Skips(cdc.OpTruncate) && a.cfg.captures(id) {
			return a.truncate(e, &q, id, nanos)
		}
	}
	if a.inTx && kind != stmtCommit && kind != stmtRollback {
		return nil // CREATE TABLE ... SELECT, statements on tables without transactions
	}
	a.commit(e)
	return nil
}

// truncate writes the event of a TRUNCATE, which is a transaction of its own.
func (a *assembler) truncate(e *binlogEvent, q *queryEvent, id cdc.TableID, nanos int64) error {
	rel, err := a.source.truncated(id)
	if err != nil {
		return err
	}
	if rel == nil || a.skip != nil {
		a.commit(e)
		return nil
	}
	a.thread = data.Int64(int64(q.thread))
	a.begin(e)
	from := len(a.out.Records)
	a.out.Records = a.em.Append(a.out.Records, &cdc.Change{Table: rel.table, Op: cdc.OpTruncate, Nanos: nanos, Tx: a.tx, Source: a.sourceBlock(rel, e, 0)})
	a.hold(from, 0, 0)
	a.commit(e)
	return nil
}

func (a *assembler) tableMap(e *binlogEvent) error {
	id, name, rest, ok := tableMapID(e.body)
	if !ok {
		return errShort
	}
	if a.tables[id] == nil && len(a.tables) >= maxTables {
		return fmt.Errorf("a transaction changes more than %d tables", maxTables)
	}
	r, err := a.source.relation(name, rest)
	if err != nil {
		return err
	}
	a.tables[id] = r
	return nil
}

// maxTables bounds the tables of one transaction.
const maxTables = 1 << 16

var errNoTransaction = errors.New("a change arrived outside of a transaction")

func (a *assembler) rowsEvent(e *binlogEvent, nanos int64) error {
	if !a.inTx {
		return errNoTransaction
	}
	ev, err := decodeRows(e.typ, e.body)
	if err != nil {
		return cdc.Fatal{Err: err}
	}
	rel := a.tables[ev.table]
	if rel == nil {
		return fmt.Errorf("a change of table %d arrived that was not described", ev.table)
	}
	if !rel.captured {
		return nil
	}
	if ev.columns != len(rel.plan) {
		return fmt.Errorf("table %s: rows have %d columns but the table was told to have %d", rel.id, ev.columns, len(rel.plan))
	}
	op := cdc.Op(ev.op)
	if a.em.Skips(op) {
		a.stats.Filtered.Add(1)
		return nil
	}
	// A whole event that was handled need not be read, but to count its rows for the transaction's metadata.
	passed := a.skipping && a.events < a.skip.event
	if passed && a.tx == nil {
		return nil
	}
	ar := &a.em.Arena
	c := cursor{b: ev.rows}
	for row := int64(0); len(c.b) > 0; row++ {
		size := len(c.b)
		ch := cdc.Change{Table: rel.table, Op: op, Nanos: nanos, Tx: a.tx}
		var failed, err error
		if ev.before != nil {
			if ch.Before, err = rel.image(ar, &c, ev.before, nil); err != nil {
				failed = err
			}
		}
		if ev.after != nil && (failed == nil || isConversion(failed)) {
			if ch.After, err = rel.image(ar, &c, ev.after, ch.Before); err != nil && (failed == nil || !isConversion(err)) {
				failed = err
			}
		}
		if failed != nil {
			if !isConversion(failed) {
				return failed
			}
			a.stats.Erroneous.Add(1)
			if err := a.onError(failed); err != nil {
				return err
			}
			a.rows = row + 1
			continue
		}
		if size == len(c.b) {
			return errors.New("rows without columns")
		}
		if passed || a.skipping && a.events == a.skip.event && row < a.skip.row {
			ch.Source = a.sourceBlock(rel, e, row)
			if a.tx != nil {
				a.em.Append(nil, &ch)
			}
			a.rows = row + 1
			continue
		}
		ch.Source = a.sourceBlock(rel, e, row)
		from := len(a.out.Records)
		a.out.Records = a.em.Append(a.out.Records, &ch)
		a.rows = row + 1
		if len(a.out.Records) > from {
			a.hold(from, row+1, size-len(c.b))
		}
	}
	return nil
}

func isConversion(err error) bool {
	var c conversionError
	return errors.As(err, &c)
}

// hold positions the records of a change, after which rows rows of the present event are handled, and keeps them back.
func (a *assembler) hold(from int, rows int64, size int) {
	o := a.offsets.New()
	*o = a.last
	o.event, o.row, o.serverID, o.seconds = a.events, rows, a.last.serverID, a.micros/microsPerSec
	a.out.Hold(from, o, size)
}

// sourceBlock fills in the source block for a row of the current event.
func (a *assembler) sourceBlock(rel *relation, e *binlogEvent, row int64) []data.Value {
	v := a.em.Arena.Values(srcLen)
	copy(v, rel.source)
	cdc.SetSourceTime(v, a.micros)
	v[srcServerID], v[srcGTID] = data.Int64(int64(e.serverID)), a.gtid
	v[srcFile], v[srcPos], v[srcRow] = a.fileValue, data.Int64(int64(e.start)), data.Int32(int32(row))
	v[srcThread], v[srcQuery] = a.thread, a.query
	return v
}

// position returns the present position when it lies behind the last record's, for a record without data; nil when there is no news.
func (a *assembler) position() *offset {
	if a.inTx || a.pending != nil || a.skip != nil || a.last.file == "" {
		return nil
	}
	if p := a.out.Position; p != nil && p.between() && !p.snapshot && p.file == a.last.file && p.pos >= a.last.pos {
		return nil
	}
	o := a.offsets.New()
	*o = a.last
	return o
}
