package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

// snapshot reads the captured tables as of one moment and hands their rows on as events of op r. One record is held back all the time,
// as the last one of a table and of the snapshot are marked.
type snapshot struct {
	cfg   *config
	log   *slog.Logger
	queue *cdc.Queue
	met   *cdc.Metrics
	em    *cdc.Emitter

	partition map[string]any
	lsn       uint64
	xid       uint32
	micros    int64
	running   *offset // position of all records but the last

	out   []plugins.SourceRecord
	bytes int64
	first bool // no row was read yet
	chunk int

	rel   *relation
	rows  int64  // of the present table
	tuple []byte // the row being converted, in the form of a stream's tuple
	part  []byte // an incomplete row
	ctx   context.Context
}

// Values of source.snapshot.
var (
	markFirst   = data.String("first")
	markFirstIn = data.String("first_in_data_collection")
	markTrue    = data.String("true")
	markLastIn  = data.String("last_in_data_collection")
	markLast    = data.String("last")
)

// take runs the snapshot over conn inside the exported snapshot ("": a snapshot of its own). It returns the finished position.
func (s *snapshot) take(ctx context.Context, cat *catalog, exportedName string, lsn uint64) (*offset, error) {
	s.met.SnapshotRunning.Store(true)
	s.met.SnapshotStart.Store(time.Now().UnixMilli())
	s.met.SnapshotEnd.Store(0)
	end, err := s.run(ctx, cat, exportedName, lsn)
	s.met.SnapshotRunning.Store(false)
	s.met.SnapshotEnd.Store(time.Now().UnixMilli())
	s.met.SnapshotCompleted.Store(err == nil)
	s.met.SnapshotAborted.Store(err != nil)
	return end, err
}

func (s *snapshot) run(ctx context.Context, cat *catalog, exportedName string, lsn uint64) (*offset, error) {
	conn := cat.conn
	if _, err := conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"); err != nil {
		return nil, fmt.Errorf("begin snapshot: %w", err)
	}
	defer func() {
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_, _ = conn.Exec(rctx, "ROLLBACK")
	}()
	if exportedName != "" {
		if _, err := conn.Exec(ctx, "SET TRANSACTION SNAPSHOT "+quoteLiteral(exportedName)); err != nil {
			return nil, fmt.Errorf("use exported snapshot: %w", err)
		}
	}
	fn := "txid_snapshot_xmax(txid_current_snapshot())"
	var xmax int64
	var lsnText string
	err := conn.QueryRow(ctx, "SELECT "+fn+", (extract(epoch FROM now()) * 1000000)::bigint, pg_current_wal_lsn()::text").Scan(&xmax, &s.micros, &lsnText)
	if err != nil {
		return nil, fmt.Errorf("begin snapshot: %w", err)
	}
	if lsn == 0 {
		if lsn, err = parseLSN(lsnText); err != nil {
			return nil, fmt.Errorf("begin snapshot: %w", err)
		}
	}
	s.lsn, s.xid, s.ctx, s.first = lsn, uint32(xmax), ctx, true
	s.chunk = max(1, min(chunkRecords, s.cfg.SnapshotFetchSize, s.cfg.MaxBatch))
	s.running = &offset{lsnCommit: lsn, lsn: lsn, xid: s.xid, micros: s.micros, snapshot: "INITIAL"}
	all, err := cat.tables(ctx)
	if err != nil {
		return nil, err
	}
	var list []tableName
	for _, t := range all {
		viaRoot := s.cfg.viaRoot
		if t.partition && viaRoot || t.kind == 'p' && !viaRoot || !s.cfg.SnapshotIncludes(t.id()) {
			continue
		}
		list = append(list, t)
	}
	if s.cfg.lockTables && len(list) > 0 {
		names := make([]string, len(list))
		for i, t := range list {
			names[i] = t.quoted()
		}
		if _, err := conn.Exec(ctx, fmt.Sprintf("SET LOCAL lock_timeout = %d", s.cfg.lockTimeout.Milliseconds())); err != nil {
			return nil, fmt.Errorf("lock tables: %w", err)
		}
		if _, err := conn.Exec(ctx, "LOCK TABLE "+strings.Join(names, ", ")+" IN ACCESS SHARE MODE"); err != nil {
			return nil, fmt.Errorf("lock tables: %w", err)
		}
	}
	s.met.SnapshotTables.Store(int64(len(list)))
	s.met.SnapshotTablesLeft.Store(int64(len(list)))
	b := newBuilder(ctx, cat, s.log)
	for _, t := range list {
		if err := s.table(cat, b, t); err != nil {
			return nil, err
		}
		s.met.SnapshotTablesLeft.Add(-1)
	}
	return s.finish()
}

// finish marks the held record as the last and lets everything go.
func (s *snapshot) finish() (*offset, error) {
	end := &offset{lsnCommit: s.lsn, lsn: s.lsn, xid: s.xid, micros: s.micros, snapshot: "INITIAL", snapshotCompleted: true}
	if n := len(s.out); n > 0 {
		s.mark(&s.out[n-1], markLast)
		s.out[n-1].SourceOffset = end
	} else { // an empty database: the end is worth storing all the same
		s.out = append(s.out, plugins.SourceRecord{SourcePartition: s.partition, SourceOffset: end})
	}
	err := s.queue.Put(s.ctx, s.out, s.bytes)
	s.out, s.bytes = nil, 0
	return end, err
}

// mark sets source.snapshot of a record that nobody else has seen yet.
func (s *snapshot) mark(rec *plugins.SourceRecord, v data.Value) {
	if st := rec.Value.Struct(); st != nil {
		st.Values[2].Struct().Values[srcSnapshot] = v
	}
}

// table reads one table by COPY.
func (s *snapshot) table(cat *catalog, b *builder, t tableName) error {
	info, err := cat.table(s.ctx, t.oid)
	if err != nil {
		return err
	}
	if info == nil {
		return nil
	}
	key := info.pk
	if info.replident == 'i' && !subset(info.pk, info.identity) {
		key = info.identity
	}
	if s.rel, err = b.build(t.id(), info.columns, key); err != nil {
		return fmt.Errorf("snapshot of %s: %w", t.id(), err)
	}
	var cols []string
	plan := s.rel.plan[:0:0]
	for i, c := range info.columns {
		if s.rel.plan[i].at >= 0 {
			cols = append(cols, quoteIdent(c.name))
			plan = append(plan, s.rel.plan[i])
		}
	}
	s.rel.plan = plan
	if len(cols) == 0 {
		return nil
	}
	from := t.quoted()
	if t.kind == 'r' {
		from = "ONLY " + from
	}
	if own := s.cfg.SelectOverride(t.id()); own != "" {
		from = "(" + strings.TrimRight(strings.TrimSpace(own), ";") + ") moldau_rows"
	}
	s.rows = 0
	started := time.Now()
	s.log.Info("reading table", "table", t.id().String())
	sql := "COPY (SELECT " + strings.Join(cols, ", ") + " FROM " + from + ") TO STDOUT"
	if _, err := cat.conn.PgConn().CopyTo(s.ctx, s, sql); err != nil {
		var pe *pgconn.PgError
		if errors.As(err, &pe) && pe.Code == "42P01" {
			return nil // dropped since it was listed
		}
		return fmt.Errorf("snapshot of %s: %w", t.id(), err)
	}
	if len(s.part) > 0 {
		return fmt.Errorf("snapshot of %s: the last row is incomplete", t.id())
	}
	if s.rows > 0 && (s.rows > 1 || !s.isMarked(markFirst)) {
		s.mark(&s.out[len(s.out)-1], markLastIn)
	}
	s.log.Info("read table", "table", t.id().String(), "rows", s.rows, "took", time.Since(started).Round(time.Millisecond))
	return nil
}

func (s *snapshot) isMarked(v data.Value) bool {
	return s.out[len(s.out)-1].Value.Struct().Values[2].Struct().Values[srcSnapshot].Equal(v)
}

// Write takes COPY's rows; it implements io.Writer for the driver. Waiting for room in the queue holds the server back.
func (s *snapshot) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			s.part = append(s.part, p...)
			break
		}
		line := p[:i]
		if len(s.part) > 0 {
			line = append(s.part, line...)
		}
		if err := s.row(line); err != nil {
			return 0, err
		}
		s.part = s.part[:0]
		p = p[i+1:]
	}
	return n, nil
}

// row converts a line of COPY's text format.
func (s *snapshot) row(line []byte) error {
	t, err := s.copyTuple(line)
	if err != nil {
		return err
	}
	ar := &s.em.Arena
	vals, err := s.rel.row(ar, t, nil, false)
	if err != nil {
		s.met.Stats.Erroneous.Add(1)
		switch s.cfg.Failure {
		case cdc.FailureWarn:
			s.log.Warn("row is left out as it cannot be converted", "error", err)
			return nil
		case cdc.FailureSkip:
			s.log.Debug("row is left out as it cannot be converted", "error", err)
			return nil
		}
		return fatalError{err}
	}
	// The held record is complete now; let full chunks go, all but the new one.
	if len(s.out) >= s.chunk {
		recs, bytes := s.out, s.bytes
		s.out, s.bytes = make([]plugins.SourceRecord, 0, s.chunk), 0
		if err := s.queue.Put(s.ctx, recs, bytes); err != nil {
			return err
		}
	}
	src := ar.Values(srcLen)
	copy(src, s.rel.source)
	src[srcTsMs], src[srcTsUs], src[srcTsNs] = data.Int64(s.micros/1000), data.Int64(s.micros), data.Int64(s.micros*1000)
	src[srcTxID], src[srcLSN] = data.Int64(int64(s.xid)), data.Int64(int64(s.lsn))
	src[srcSequence] = sequence(ar, 0, s.lsn)
	switch {
	case s.first:
		src[srcSnapshot] = markFirst
	case s.rows == 0:
		src[srcSnapshot] = markFirstIn
	default:
		src[srcSnapshot] = markTrue
	}
	s.rows++
	s.first = false
	s.met.SnapshotRows.Add(1)
	now := time.Now().UnixNano()
	from := len(s.out)
	s.out = s.em.Append(s.out, &cdc.Change{Table: s.rel.table, Op: cdc.OpRead, After: vals, Source: src, Nanos: now})
	for i := from; i < len(s.out); i++ {
		s.out[i].SourcePartition, s.out[i].SourceOffset = s.partition, s.running
		s.bytes += recordOverhead + 2*int64(len(line))
	}
	s.met.LastEventMillis.Store(now / 1e6)
	return nil
}

// copyTuple rewrites a line of COPY's text format as a tuple of the stream, undoing the escapes.
func (s *snapshot) copyTuple(line []byte) (tuple, error) {
	t := s.tuple[:0]
	n := 0
	for {
		end := bytes.IndexByte(line, '\t')
		field := line
		if end >= 0 {
			field = line[:end]
		}
		n++
		if len(field) == 2 && field[0] == '\\' && field[1] == 'N' {
			t = append(t, colNull)
		} else {
			at := len(t)
			t = append(t, colText, 0, 0, 0, 0)
			t = unescapeCopy(t, field)
			binary.BigEndian.PutUint32(t[at+1:], uint32(len(t)-at-5))
		}
		if end < 0 {
			break
		}
		line = line[end+1:]
	}
	s.tuple = t
	if n != len(s.rel.plan) {
		return tuple{}, fmt.Errorf("table %s: COPY gave %d columns instead of %d", s.rel.table.ID, n, len(s.rel.plan))
	}
	return tuple{n: n, data: t}, nil
}

// unescapeCopy appends field with COPY's backslash escapes undone.
func unescapeCopy(dst, field []byte) []byte {
	for {
		i := bytes.IndexByte(field, '\\')
		if i < 0 || i+1 >= len(field) {
			return append(dst, field...)
		}
		dst = append(dst, field[:i]...)
		c := field[i+1]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'v':
			c = '\v'
		}
		dst = append(dst, c)
		field = field[i+2:]
	}
}
