package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins/data"
)

// snapshot reads the captured tables as of one moment.
type snapshot struct {
	cfg       *config
	runner    *cdc.Runner
	partition map[string]any
	lsn       uint64
	xid       uint32
	micros    int64

	out   *cdc.Snapshot
	rel   *relation // of the present table
	tuple []byte    // the row being converted, in the form of a stream's tuple
	part  []byte    // an incomplete row
	ctx   context.Context
}

// run takes the snapshot inside the exported one ("": one of its own). It returns the finished position.
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
	s.lsn, s.xid, s.ctx = lsn, uint32(xmax), ctx
	running := offset{lsnCommit: lsn, lsn: lsn, xid: s.xid, micros: s.micros, snapshot: "INITIAL"}
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
	s.out = s.runner.NewSnapshot(ctx, s.partition, &running, len(list))
	b := newBuilder(ctx, cat, s.runner.Log)
	for _, t := range list {
		if err := s.table(cat, b, t); err != nil {
			return nil, err
		}
		s.runner.Metrics.SnapshotTablesLeft.Add(-1)
	}
	end := running
	end.snapshotCompleted = true
	return &end, s.out.Finish(&end)
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
	from = s.cfg.SnapshotFrom(t.id(), from)
	s.out.BeginTable()
	started := time.Now()
	s.runner.Log.Info("reading table", "table", t.id().String())
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
	rows := s.out.EndTable()
	s.runner.Log.Info("read table", "table", t.id().String(), "rows", rows, "took", time.Since(started).Round(time.Millisecond))
	return nil
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
	ar := &s.runner.Emitter.Arena
	vals, err := s.rel.row(ar, t, nil, false)
	if err != nil {
		s.runner.Metrics.Stats.Erroneous.Add(1)
		return s.runner.Unconvertible("row", err)
	}
	src := ar.Values(srcLen)
	copy(src, s.rel.source)
	cdc.SetSourceTime(src, s.micros)
	src[srcTxID], src[srcLSN] = data.Int64(int64(s.xid)), data.Int64(int64(s.lsn))
	src[cdc.SourceSequence] = sequence(ar, 0, s.lsn)
	return s.out.Row(s.rel.table, vals, src, len(line))
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
