package mysql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins/data"
)

// snapshot reads the captured tables as of one position of the binlog.
type snapshot struct {
	cfg       *config
	runner    *cdc.Runner
	partition map[string]any
	at        offset
	file      data.Value
	out       *cdc.Snapshot
	rel       *relation // of the present table
	ctx       context.Context
}

// run takes the snapshot. It returns the finished position.
func (s *snapshot) run(ctx context.Context, cat *catalog) (*offset, error) {
	all, err := cat.tables()
	if err != nil {
		return nil, err
	}
	var list []cdc.TableID
	for _, id := range all {
		if s.cfg.SnapshotIncludes(id) {
			list = append(list, id)
		}
	}
	state, release, err := s.freeze(ctx, cat, list)
	if err != nil {
		return nil, err
	}
	defer release()
	defer func() { _, _ = cat.query("ROLLBACK") }()
	s.at = offset{file: state.file, pos: state.pos, gtidText: state.gtids, seconds: time.Now().Unix()}
	s.runner.Log.Info("reading tables", "file", s.at.file, "pos", s.at.pos, "gtids", s.at.gtidText, "tables", len(list))
	if state.gtids != "" {
		if s.at.gtids, err = parseGTIDs(s.cfg.flavor, state.gtids); err != nil {
			return nil, err
		}
	}
	running := s.at
	running.snapshot = true
	s.file, s.ctx = data.String(s.at.file), ctx
	s.out = s.runner.NewSnapshot(ctx, s.partition, &running, len(list))
	b := newBuilder(s.cfg, cat, s.runner.Log)
	for _, id := range list {
		if err := s.table(cat, b, id); err != nil {
			return nil, err
		}
		s.runner.Metrics.SnapshotTablesLeft.Add(-1)
	}
	end := s.at
	return &end, s.out.Finish(&end)
}

// freeze begins a transaction whose view of the tables and the returned position agree: a change is either in both or in none. release
// gives up what locks are left.
//
// With snapshot.locking.mode minimal and extended all commits are held back for an instant, by a global lock or, where the user may not
// take it, by locks on the captured tables. MariaDB tells the position of a view by itself. With none, the transactions that are executed
// are looked up before the view is made: it may have more, which then come twice, never less.
func (s *snapshot) freeze(ctx context.Context, cat *catalog, list []cdc.TableID) (state binlogState, release func(), err error) {
	nothing := func() {}
	begin := func() error {
		if _, err := cat.query("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"); err != nil {
			return err
		}
		_, err := cat.query("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
		return err
	}
	if _, err := cat.query(fmt.Sprintf("SET SESSION lock_wait_timeout = %d", max(1, s.cfg.lockTimeout.Milliseconds()/1000))); err != nil {
		return state, nothing, err
	}
	if s.cfg.mariadb && s.cfg.locking != "extended" {
		if err := begin(); err != nil {
			return state, nothing, err
		}
		ok, err := cat.viewPosition(&state)
		if ok || err != nil {
			return state, nothing, err
		}
		if _, err := cat.query("ROLLBACK"); err != nil {
			return state, nothing, err
		}
	}
	if s.cfg.locking == "none" {
		if state, err = cat.binlogPosition(); err != nil {
			return state, nothing, err
		}
		return state, nothing, begin()
	}
	unlock := func() { _, _ = cat.query("UNLOCK TABLES") }
	_, err = cat.query("FLUSH TABLES WITH READ LOCK")
	if denied(err) {
		s.runner.Log.Info("the user may not lock all tables, locking the captured ones", "error", err)
		other, oerr := openCatalog(ctx, s.cfg)
		if oerr != nil {
			return state, nothing, oerr
		}
		names := make([]string, len(list))
		for i, id := range list {
			names[i] = quoteIdent(id.Catalog) + "." + quoteIdent(id.Table) + " READ"
		}
		if len(names) > 0 {
			if _, oerr = other.query(fmt.Sprintf("SET SESSION lock_wait_timeout = %d", max(1, s.cfg.lockTimeout.Milliseconds()/1000))); oerr == nil {
				_, oerr = other.query("LOCK TABLES " + strings.Join(names, ", "))
			}
			if oerr != nil {
				other.close()
				if denied(oerr) {
					return state, nothing, cdc.Fatalf("the user may lock neither all tables (RELOAD) nor the captured ones (LOCK TABLES): grant one of these, or set snapshot.locking.mode=none: %w", oerr)
				}
				return state, nothing, oerr
			}
		}
		unlock = other.close
		err = nil
	}
	if err != nil {
		return state, nothing, fmt.Errorf("lock tables (snapshot.lock.timeout.ms): %w", err)
	}
	if err = begin(); err == nil {
		state, err = cat.binlogPosition()
	}
	if err != nil || s.cfg.locking != "extended" {
		unlock()
		unlock = nothing
	}
	return state, unlock, err
}

// viewPosition reads the position of the present transaction's view of the tables, which MariaDB knows.
func (c *catalog) viewPosition(s *binlogState) (ok bool, err error) {
	r, err := c.query("SHOW STATUS LIKE 'binlog_snapshot_%'")
	if err != nil {
		return false, err
	}
	for i := range r.RowNumber() {
		switch strings.ToLower(cell(r, i, 0)) {
		case "binlog_snapshot_file":
			s.file = cell(r, i, 1)
		case "binlog_snapshot_position":
			s.pos, _ = strconv.ParseUint(cell(r, i, 1), 10, 64) // 0: it is not told
		}
	}
	if s.file == "" || s.file == "none" || s.pos == 0 {
		return false, nil
	}
	s.gtids, err = c.text(fmt.Sprintf("SELECT BINLOG_GTID_POS(%s, %d)", quoteLiteral(s.file), s.pos))
	return true, err
}

// table reads one table.
func (s *snapshot) table(cat *catalog, b *builder, id cdc.TableID) error {
	info, err := cat.table(id)
	if err != nil {
		return err
	}
	if info == nil {
		return nil
	}
	if s.rel, err = b.fromCatalog(id, info); err != nil {
		return err
	}
	var cols []string
	plan := s.rel.plan[:0:0]
	for _, p := range s.rel.plan {
		if p.at < 0 {
			continue
		}
		name := quoteIdent(p.name)
		if p.code.kind == kindFloat { // as itself a FLOAT is printed with 6 digits
			name = "(" + name + " + 0e0)"
		}
		cols = append(cols, name)
		plan = append(plan, p)
	}
	s.rel.plan = plan
	if len(cols) == 0 {
		return nil
	}
	from := s.cfg.SnapshotFrom(id, quoteIdent(id.Catalog)+"."+quoteIdent(id.Table))
	s.out.BeginTable()
	started := time.Now()
	s.runner.Log.Info("reading table", "table", id.String())
	var result mysql.Result
	if err := cat.conn.ExecuteSelectStreaming("SELECT "+strings.Join(cols, ", ")+" FROM "+from, &result, s.row, nil); err != nil {
		if me := serverError(err); me != nil && me.Code == mysql.ER_NO_SUCH_TABLE {
			return nil // dropped since it was listed
		}
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		return fmt.Errorf("snapshot of %s: %w", id, err)
	}
	rows := s.out.EndTable()
	s.runner.Log.Info("read table", "table", id.String(), "rows", rows, "took", time.Since(started).Round(time.Millisecond))
	return nil
}

var errColumns = errors.New("the result set has another number of columns than asked for")

// row converts a row of the result set, which is overwritten afterwards. Waiting for room in the queue holds the server back.
func (s *snapshot) row(fields []mysql.FieldValue) error {
	if len(fields) != len(s.rel.plan) {
		return errColumns
	}
	ar := &s.runner.Emitter.Arena
	vals := ar.Values(len(s.rel.table.Columns))
	size := 0
	for i := range s.rel.plan {
		p := &s.rel.plan[i]
		v, n, err := p.code.field(ar, &fields[i])
		size += n
		if err == nil && v.IsNull() && fields[i].Type != mysql.FieldValueTypeNull {
			v, err = s.rel.missing(p)
		}
		if err != nil {
			s.runner.Metrics.Stats.Erroneous.Add(1)
			return s.runner.Unconvertible("change", fmt.Errorf("table %s, column %s: %w", s.rel.id, p.name, err))
		}
		vals[p.at] = v
	}
	src := ar.Values(srcLen)
	copy(src, s.rel.source)
	cdc.SetSourceTime(src, s.at.seconds*1e6)
	src[srcServerID], src[srcFile], src[srcPos], src[srcRow] = data.Int64(0), s.file, data.Int64(int64(s.at.pos)), data.Int32(0)
	return s.out.Row(s.rel.table, vals, src, size)
}

// field is the value of a field of a result set, and its size.
func (x *coding) field(a *cdc.Arena, f *mysql.FieldValue) (data.Value, int, error) {
	switch f.Type {
	case mysql.FieldValueTypeNull:
		return data.Null, 0, nil
	case mysql.FieldValueTypeUnsigned:
		if x.kind == kindLongLong && x.unsigned && x.precise {
			v, err := x.unsignedDecimal(a, f.AsUint64())
			return v, 8, err
		}
		return x.integer(int64(f.AsUint64())), 8, nil
	case mysql.FieldValueTypeSigned:
		return x.integer(f.AsInt64()), 8, nil
	case mysql.FieldValueTypeFloat:
		if x.schema.Type() == data.TypeFloat32 {
			return data.Float32(float32(f.AsFloat64())), 4, nil
		}
		return data.Float64(f.AsFloat64()), 8, nil
	}
	b := f.AsString()
	v, err := x.parse(a, b)
	return v, len(b), err
}
