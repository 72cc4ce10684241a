package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/moldau-io/moldau/connectors/cdc"
)

// slotInfo is a replication slot as the server has it.
type slotInfo struct {
	plugin    string
	database  string
	confirmed uint64
	lost      bool // its log was removed
}

// slot reads the configured slot, nil when there is none.
func (c *catalog) slot(ctx context.Context) (*slotInfo, error) {
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	cols := "coalesce(wal_status = 'lost', false)"
	if c.version < 130000 {
		cols = "false"
	}
	var s slotInfo
	var confirmed string
	err := c.conn.QueryRow(ctx, `SELECT coalesce(plugin::text, ''), coalesce(database::text, ''), coalesce(confirmed_flush_lsn, restart_lsn, '0/0')::text, `+cols+
		` FROM pg_replication_slots WHERE slot_name = $1`, c.cfg.slot).Scan(&s.plugin, &s.database, &confirmed, &s.lost)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read replication slot %q: %w", c.cfg.slot, err)
	}
	if s.confirmed, err = parseLSN(confirmed); err != nil {
		return nil, fmt.Errorf("read replication slot %q: %w", c.cfg.slot, err)
	}
	switch {
	case s.plugin != "pgoutput":
		return nil, cdc.Fatalf("replication slot %q uses plugin %q; this connector needs pgoutput: drop the slot or set another slot.name", c.cfg.slot, s.plugin)
	case s.database != c.cfg.dbname:
		return nil, cdc.Fatalf("replication slot %q belongs to database %q, not %q: set another slot.name", c.cfg.slot, s.database, c.cfg.dbname)
	}
	return &s, nil
}

// exported is a slot's snapshot: what the database held at exactly the position from which the stream goes on.
type exported struct {
	conn     *pgconn.PgConn // must stay open and idle while the snapshot is used
	snapshot string
	lsn      uint64
}

func (e *exported) close() {
	if e != nil && e.conn != nil {
		closeConn(e.conn)
	}
}

// createSlot creates a slot and exports its snapshot. A temporary one serves where the permanent one exists already: its position and
// snapshot belong together just as well, and the permanent slot streams from there.
func (c *config) createSlot(ctx context.Context, version int, temporary bool) (*exported, error) {
	conn, err := c.replicationConn(ctx)
	if err != nil {
		return nil, err
	}
	name, temp := c.slot, ""
	if temporary {
		name, temp = fmt.Sprintf("moldau_tmp_%d", conn.PID()), " TEMPORARY"
	}
	sql := fmt.Sprintf("CREATE_REPLICATION_SLOT %s%s LOGICAL pgoutput", quoteIdent(name), temp)
	switch {
	case version >= 170000 && c.failover && !temporary:
		sql += " (SNAPSHOT 'export', FAILOVER true)"
	case version >= 150000:
		sql += " (SNAPSHOT 'export')"
	default:
		sql += " EXPORT_SNAPSHOT"
	}
	res, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		closeConn(conn)
		return nil, fmt.Errorf("create replication slot %q: %w", name, err)
	}
	if len(res) == 0 || len(res[0].Rows) == 0 || len(res[0].Rows[0]) < 3 {
		closeConn(conn)
		return nil, fmt.Errorf("create replication slot %q: the server answered without a row", name)
	}
	row := res[0].Rows[0]
	e := &exported{conn: conn, snapshot: string(row[2])}
	if e.lsn, err = parseLSN(string(row[1])); err != nil {
		closeConn(conn)
		return nil, fmt.Errorf("create replication slot %q: %w", name, err)
	}
	return e, nil
}

// dropSlot drops the configured slot if it exists and is free.
func (c *catalog) dropSlot(ctx context.Context) error {
	_, err := c.conn.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1", c.cfg.slot)
	if err != nil {
		return fmt.Errorf("drop replication slot %q: %w", c.cfg.slot, err)
	}
	return nil
}

// ensurePublication creates or adapts the publication. It must exist before the slot does: decoding looks it up as of then.
func (c *catalog) ensurePublication(ctx context.Context) error {
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	var exists, all bool
	err := c.conn.QueryRow(ctx, "SELECT true, puballtables FROM pg_publication WHERE pubname = $1", c.cfg.publication).Scan(&exists, &all)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read publication %q: %w", c.cfg.publication, err)
	}
	name := quoteIdent(c.cfg.publication)
	with := ""
	if c.cfg.viaRoot && c.version >= 130000 {
		with = " WITH (publish_via_partition_root = true)"
	}
	var sql string
	switch c.cfg.publicationMode {
	case "disabled":
		if !exists {
			return cdc.Fatalf("publication %q does not exist and publication.autocreate.mode=disabled: create it with CREATE PUBLICATION %s FOR TABLE ..., or choose another mode", c.cfg.publication, name)
		}
		return nil
	case "no_tables":
		if exists {
			return nil
		}
		sql = "CREATE PUBLICATION " + name + with
	case "filtered":
		list, err := c.tables(ctx)
		if err != nil {
			return err
		}
		var names []string
		for _, t := range list {
			names = append(names, t.quoted())
		}
		if len(names) == 0 {
			return cdc.Fatalf("no table matches the filters, so publication %q would be empty: check table.include.list and schema.include.list, or use publication.autocreate.mode=all_tables", c.cfg.publication)
		}
		switch {
		case exists && all:
			return nil
		case exists:
			if same, err := c.publishes(ctx, list); err != nil || same {
				return err
			}
			sql = "ALTER PUBLICATION " + name + " SET TABLE " + strings.Join(names, ", ")
		default:
			sql = "CREATE PUBLICATION " + name + " FOR TABLE " + strings.Join(names, ", ") + with
		}
	default:
		if exists {
			return nil
		}
		sql = "CREATE PUBLICATION " + name + " FOR ALL TABLES" + with
	}
	if _, err := c.conn.Exec(ctx, sql); err != nil {
		var pe *pgconn.PgError
		if errors.As(err, &pe) && pe.Code == "42710" { // someone was faster
			return nil
		}
		if errors.As(err, &pe) && pe.Code == "42501" {
			return cdc.Fatalf("create publication %q: %w; grant the right, create it by hand and set publication.autocreate.mode=disabled, or use filtered", c.cfg.publication, err)
		}
		return fmt.Errorf("create publication %q: %w", c.cfg.publication, err)
	}
	return nil
}

// publishes reports whether the publication names exactly the tables of list.
func (c *catalog) publishes(ctx context.Context, list []tableName) (bool, error) {
	rows, err := c.conn.Query(ctx, "SELECT r.prrelid FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = $1", c.cfg.publication)
	if err != nil {
		return false, fmt.Errorf("read publication %q: %w", c.cfg.publication, err)
	}
	oids, err := pgx.CollectRows(rows, pgx.RowTo[uint32])
	if err != nil {
		return false, fmt.Errorf("read publication %q: %w", c.cfg.publication, err)
	}
	have := map[uint32]bool{}
	for _, o := range oids {
		have[o] = true
	}
	for _, t := range list {
		if !have[t.oid] {
			return false, nil
		}
	}
	return len(have) == len(list), nil
}

// setIdentities applies replica.identity.autoset.values.
func (c *catalog) setIdentities(ctx context.Context, list []tableName) error {
	for _, t := range list {
		for _, i := range c.cfg.identities {
			if !i.table.Match(t.id().String()) {
				continue
			}
			if _, err := c.conn.Exec(ctx, "ALTER TABLE "+t.quoted()+" REPLICA IDENTITY "+i.form); err != nil {
				return fmt.Errorf("set replica identity of %s: %w", t.id(), err)
			}
			break
		}
	}
	return nil
}
