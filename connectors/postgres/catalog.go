package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/moldau-io/moldau/connectors/cdc"
)

// catalog reads the database's structure over a connection of its own. It belongs to one goroutine.
type catalog struct {
	conn    *pgx.Conn
	cfg     *config
	version int // server_version_num
	types   typeRegistry
}

// openCatalog connects and reads what holds for the whole database.
func openCatalog(ctx context.Context, cfg *config) (*catalog, error) {
	conn, err := cfg.connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &catalog{conn: conn, cfg: cfg}
	if err := c.init(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *catalog) init(ctx context.Context) error {
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	var level string
	err := c.conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::int, current_setting('wal_level')").Scan(&c.version, &level)
	if err != nil {
		return fmt.Errorf("read server settings: %w", err)
	}
	if c.version < 100000 {
		return fmt.Errorf("the server's version is %d; pgoutput needs PostgreSQL 10 or newer", c.version)
	}
	if level != "logical" && c.cfg.snapshotMode != "initial_only" {
		return fmt.Errorf("the server's wal_level is %q; set wal_level=logical in postgresql.conf and restart it", level)
	}
	return c.types.loadAll(ctx, c.conn)
}

func (c *catalog) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = c.conn.Close(ctx)
}

func (c *catalog) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.cfg.QueryTimeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.cfg.QueryTimeout)
}

// tableName names a table of the catalog.
type tableName struct {
	oid           uint32
	schema, table string
	kind          byte // r: table, p: partitioned
	partition     bool
}

func (t tableName) id() cdc.TableID { return cdc.TableID{Schema: t.schema, Table: t.table} }
func (t tableName) quoted() string  { return quoteIdent(t.schema) + "." + quoteIdent(t.table) }

// tables lists the captured tables in the order of their names.
func (c *catalog) tables(ctx context.Context) ([]tableName, error) {
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	rows, err := c.conn.Query(ctx, `SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relispartition
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r','p') AND c.relpersistence = 'p' AND n.nspname NOT IN ('pg_catalog','information_schema','pg_toast')
ORDER BY n.nspname::text COLLATE "C", c.relname::text COLLATE "C"`)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	defer rows.Close()
	var out []tableName
	for rows.Next() {
		var t tableName
		var kind string
		if err := rows.Scan(&t.oid, &t.schema, &t.table, &kind, &t.partition); err != nil {
			return nil, fmt.Errorf("list tables: %w", err)
		}
		t.kind = kind[0]
		if c.cfg.captures(t.schema, t.table) {
			out = append(out, t)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	return out, nil
}

// columnInfo is a column as the catalog has it.
type columnInfo struct {
	name      string
	typeOID   uint32
	typmod    int32
	notNull   bool
	def       string // default expression, "" for none
	generated bool
}

// tableInfo is what the catalog knows about a table.
type tableInfo struct {
	columns []columnInfo
	// pk is the primary key in its own order, or the first unique index over columns that may not be null.
	pk []string
	// identity is the index of REPLICA IDENTITY USING INDEX.
	identity  []string
	replident byte
}

func (t *tableInfo) column(name string) *columnInfo {
	for i := range t.columns {
		if t.columns[i].name == name {
			return &t.columns[i]
		}
	}
	return nil
}

// table reads a table, nil when it is gone.
func (c *catalog) table(ctx context.Context, oid uint32) (*tableInfo, error) {
	ctx, cancel := c.timeout(ctx)
	defer cancel()
	t := &tableInfo{}
	var ident string
	err := c.conn.QueryRow(ctx, "SELECT relreplident::text FROM pg_class WHERE oid = $1", oid).Scan(&ident)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read table %d: %w", oid, err)
	}
	t.replident = ident[0]
	generated := "false"
	if c.version >= 120000 {
		generated = "a.attgenerated <> ''"
	}
	rows, err := c.conn.Query(ctx, `SELECT a.attname::text, a.atttypid, a.atttypmod, a.attnotnull OR (t.typtype = 'd' AND t.typnotnull),
  coalesce(pg_get_expr(d.adbin, d.adrelid), ''), `+generated+`
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`, oid)
	if err != nil {
		return nil, fmt.Errorf("read columns of table %d: %w", oid, err)
	}
	t.columns, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (columnInfo, error) {
		var col columnInfo
		err := r.Scan(&col.name, &col.typeOID, &col.typmod, &col.notNull, &col.def, &col.generated)
		return col, err
	})
	if err != nil {
		return nil, fmt.Errorf("read columns of table %d: %w", oid, err)
	}
	rows, err = c.conn.Query(ctx, `SELECT i.indisprimary, i.indisreplident, ARRAY(SELECT a.attname::text
  FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(n, o) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
  WHERE k.o <= i.indnkeyatts ORDER BY k.o),
  NOT EXISTS (SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(n, o) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n
    WHERE k.o <= i.indnkeyatts AND NOT a.attnotnull)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY i.indisprimary DESC, c.relname::text COLLATE "C"`, oid)
	if err != nil {
		return nil, fmt.Errorf("read keys of table %d: %w", oid, err)
	}
	defer rows.Close()
	for rows.Next() {
		var primary, identity, required bool
		var cols []string
		if err := rows.Scan(&primary, &identity, &cols, &required); err != nil {
			return nil, fmt.Errorf("read keys of table %d: %w", oid, err)
		}
		if t.pk == nil && (primary || required) {
			t.pk = cols
		}
		if identity {
			t.identity = cols
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read keys of table %d: %w", oid, err)
	}
	return t, nil
}

// runtimeParams make every server print values in the forms that text.go reads, whatever its configuration.
func runtimeParams(p map[string]string) {
	for k, v := range map[string]string{
		"DateStyle": "ISO", "IntervalStyle": "postgres", "TimeZone": "UTC", "bytea_output": "hex", "extra_float_digits": "3",
		"lc_monetary": "C", "client_encoding": "UTF8", "xmlbinary": "base64", "application_name": "moldau",
		"statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "lock_timeout": "0",
	} {
		p[k] = v
	}
}

// connect opens an ordinary connection.
func (c *config) connect(ctx context.Context) (*pgx.Conn, error) {
	cc, err := pgx.ParseConfig(c.connString())
	if err != nil {
		return nil, fmt.Errorf("connection settings: %s", c.hide(err))
	}
	runtimeParams(cc.RuntimeParams)
	cc.DefaultQueryExecMode = pgx.QueryExecModeExec // nothing is prepared: catalogs change under our feet
	conn, err := pgx.ConnectConfig(ctx, cc)
	if err != nil {
		return nil, fmt.Errorf("connect to %s:%d/%s: %w", c.host, c.port, c.dbname, err)
	}
	for _, s := range c.initialStatements {
		if _, err := conn.Exec(ctx, s); err != nil {
			_ = conn.Close(ctx)
			return nil, fmt.Errorf("database.initial.statements: %q: %w", s, err)
		}
	}
	return conn, nil
}

// hide takes the password out of an error of the settings' parser.
func (c *config) hide(err error) string {
	s := err.Error()
	if c.password != "" {
		s = strings.ReplaceAll(s, c.password, "***")
	}
	return s
}
