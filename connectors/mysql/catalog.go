package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/moldau-io/moldau/connectors/cdc"
)

// catalog is a connection that queries. It belongs to one goroutine.
type catalog struct {
	cfg     *config
	conn    *client.Conn
	encrypt bool // the connection is encrypted
	version string
	stop    func() bool

	collations map[uint64]string
	decoders   map[string]decoder
	deadline   sync.Mutex
	canceled   bool
}

// connect opens a connection and reports whether it is encrypted.
func (c *config) connect(ctx context.Context) (*client.Conn, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.connectTimeout)
	defer cancel()
	addr := net.JoinHostPort(c.host, strconv.Itoa(int(c.port)))
	open := func(encrypt bool) (*client.Conn, error) {
		dialer := func(ctx context.Context, network, addr string) (net.Conn, error) {
			d := net.Dialer{KeepAlive: 30 * time.Second}
			nc, err := d.DialContext(ctx, network, addr)
			if err == nil {
				if t, ok := ctx.Deadline(); ok { // holds for the handshake, which knows no context
					_ = nc.SetDeadline(t)
				}
			}
			return nc, err
		}
		conn, err := client.ConnectWithDialer(ctx, "tcp", addr, c.user, c.password, "", dialer, func(k *client.Conn) error {
			if encrypt {
				k.SetTLSConfig(c.tls)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("connect to %s as %q: %w", addr, c.user, err)
		}
		_ = conn.SetDeadline(time.Time{})
		return conn, nil
	}
	if c.tls != nil {
		conn, err := open(true)
		var me *mysql.MyError
		if err == nil || !c.tlsOptional || errors.As(err, &me) || isDial(err) || ctx.Err() != nil {
			return conn, true, err
		}
	}
	conn, err := open(false)
	return conn, false, err
}

func isDial(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// openCatalog connects and prepares the session: UTC, UTF-8, no surprises.
func openCatalog(ctx context.Context, cfg *config) (*catalog, error) {
	conn, encrypt, err := cfg.connect(ctx)
	if err != nil {
		return nil, err
	}
	c := &catalog{cfg: cfg, conn: conn, encrypt: encrypt, decoders: map[string]decoder{}}
	c.stop = context.AfterFunc(ctx, func() {
		c.deadline.Lock()
		defer c.deadline.Unlock()
		c.canceled = true
		_ = conn.SetDeadline(time.Now())
	})
	setup := append([]string{"SET SESSION time_zone = '+00:00', sql_mode = '', net_write_timeout = 3600", "SET NAMES utf8mb4"}, cfg.initialStatements...)
	for _, s := range setup {
		if _, err := c.query(s); err != nil {
			c.close()
			return nil, err
		}
	}
	if c.version, err = c.text("SELECT VERSION()"); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *catalog) close() {
	c.stop()
	_ = c.conn.Close()
}

// limit bounds the next statement; 0: none.
func (c *catalog) limit(d time.Duration) {
	c.deadline.Lock()
	defer c.deadline.Unlock()
	switch {
	case c.canceled:
	case d > 0:
		_ = c.conn.SetDeadline(time.Now().Add(d))
	default:
		_ = c.conn.SetDeadline(time.Time{})
	}
}

// query runs a statement and reads all of its result.
func (c *catalog) query(sql string) (*mysql.Result, error) {
	c.limit(c.cfg.QueryTimeout)
	defer c.limit(0)
	r, err := c.conn.Execute(sql)
	if err != nil {
		return nil, fmt.Errorf("%.120s: %w", sql, err)
	}
	return r, nil
}

// text returns the first value of a result, "" for none.
func (c *catalog) text(sql string) (string, error) {
	r, err := c.query(sql)
	if err != nil || r.Resultset == nil || r.RowNumber() == 0 {
		return "", err
	}
	return cell(r, 0, 0), nil
}

func cell(r *mysql.Result, row, col int) string {
	s, err := r.GetString(row, col)
	if err != nil {
		return ""
	}
	return strings.Clone(s)
}

// variables returns global settings of the server in lower case.
func (c *catalog) variables(names ...string) (map[string]string, error) {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = quoteLiteral(n)
	}
	r, err := c.query("SHOW GLOBAL VARIABLES WHERE Variable_name IN (" + strings.Join(quoted, ",") + ")")
	if err != nil {
		return nil, err
	}
	m := map[string]string{}
	for i := range r.RowNumber() {
		m[strings.ToLower(cell(r, i, 0))] = cell(r, i, 1)
	}
	return m, nil
}

// tables lists the captured tables.
func (c *catalog) tables() ([]cdc.TableID, error) {
	r, err := c.query("SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE = 'BASE TABLE' ORDER BY 1, 2")
	if err != nil {
		return nil, err
	}
	var out []cdc.TableID
	for i := range r.RowNumber() {
		id := cdc.TableID{Catalog: cell(r, i, 0), Table: cell(r, i, 1)}
		if c.cfg.captures(id) {
			out = append(out, id)
		}
	}
	return out, nil
}

// table implements catalogue.
func (c *catalog) table(id cdc.TableID) (*tableInfo, error) {
	where := " WHERE TABLE_SCHEMA = " + quoteLiteral(id.Catalog) + " AND TABLE_NAME = " + quoteLiteral(id.Table)
	r, err := c.query("SELECT COLUMN_NAME, LOWER(DATA_TYPE), COLUMN_TYPE, CHARACTER_SET_NAME, EXTRA, COLUMN_DEFAULT, IS_NULLABLE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION FROM information_schema.COLUMNS" + where + " ORDER BY ORDINAL_POSITION")
	if err != nil {
		return nil, err
	}
	if r.RowNumber() == 0 {
		return nil, nil
	}
	t := &tableInfo{}
	num := func(row, col int) int {
		if null, _ := r.IsNull(row, col); null {
			return -1
		}
		n, err := strconv.ParseInt(cell(r, row, col), 10, 64)
		if err != nil {
			return -1
		}
		return int(n)
	}
	for i := range r.RowNumber() {
		null, _ := r.IsNull(i, 5)
		t.columns = append(t.columns, columnInfo{name: cell(r, i, 0), dataType: cell(r, i, 1), columnType: cell(r, i, 2), charset: cell(r, i, 3), extra: cell(r, i, 4),
			def: cell(r, i, 5), hasDef: !null, quoted: c.isMariaDB(), nullable: strings.EqualFold(cell(r, i, 6), "YES"), charLength: num(i, 7), precision: num(i, 8), scale: num(i, 9), fsp: num(i, 10)})
	}
	// The primary key, or the first unique key without null; the server keeps the keys in the order in which it prefers them.
	if r, err = c.query("SHOW INDEX FROM " + quoteIdent(id.Table) + " FROM " + quoteIdent(id.Catalog)); err != nil {
		var me *mysql.MyError
		if errors.As(err, &me) && me.Code == mysql.ER_NO_SUCH_TABLE {
			return nil, nil
		}
		return nil, err
	}
	type index struct {
		columns []string
		usable  bool
	}
	var order []string
	found := map[string]*index{}
	for i := range r.RowNumber() {
		nonUnique, _ := r.GetStringByName(i, "Non_unique")
		name, _ := r.GetStringByName(i, "Key_name")
		col, _ := r.GetStringByName(i, "Column_name")
		null, _ := r.GetStringByName(i, "Null")
		if nonUnique != "0" {
			continue
		}
		k := found[name]
		if k == nil {
			name = strings.Clone(name)
			k = &index{usable: true}
			found[name] = k
			order = append(order, name)
		}
		k.columns = append(k.columns, strings.Clone(col))
		if strings.EqualFold(null, "YES") || col == "" {
			k.usable = false
		}
	}
	for _, n := range order {
		if k := found[n]; k.usable && (n == "PRIMARY" || t.key == nil) {
			t.key = k.columns
			if n == "PRIMARY" {
				break
			}
		}
	}
	return t, nil
}

func (c *catalog) isMariaDB() bool { return strings.Contains(c.version, "MariaDB") }

// name implements charsets.
func (c *catalog) name(collation uint64) string {
	if collation == binaryCollation {
		return "binary"
	}
	if c.collations == nil {
		c.collations = map[uint64]string{}
		sql := "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS WHERE ID IS NOT NULL"
		if r, err := c.query(sql); err == nil {
			for i := range r.RowNumber() {
				id, _ := strconv.ParseUint(cell(r, i, 0), 10, 64)
				c.collations[id] = cell(r, i, 1)
			}
		}
		if c.isMariaDB() { // collations that go with several charsets have their numbers here
			if r, err := c.query("SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"); err == nil {
				for i := range r.RowNumber() {
					id, _ := strconv.ParseUint(cell(r, i, 0), 10, 64)
					c.collations[id] = cell(r, i, 1)
				}
			}
		}
	}
	return c.collations[collation]
}

// decoder implements charsets. The server itself says what the characters of single-byte charsets are.
func (c *catalog) decoder(charset string) (decoder, error) {
	if passed(charset) {
		return nil, nil
	}
	if d := c.decoders[charset]; d != nil {
		return d, nil
	}
	d, err := c.makeDecoder(charset)
	if err == nil {
		c.decoders[charset] = d
	}
	return d, err
}

func (c *catalog) makeDecoder(charset string) (decoder, error) {
	if multiByte[charset] != nil {
		return multiByteDecoder(charset)
	}
	size, err := c.text("SELECT MAXLEN FROM information_schema.CHARACTER_SETS WHERE CHARACTER_SET_NAME = " + quoteLiteral(charset))
	if err != nil {
		return nil, err
	}
	if size != "1" {
		return nil, fmt.Errorf("character set %s is not supported", charset)
	}
	var all strings.Builder
	for i := range 256 {
		fmt.Fprintf(&all, "%02x", i)
	}
	s, err := c.text("SELECT CONVERT(_" + charset + " 0x" + all.String() + " USING utf8mb4)")
	if err != nil {
		return nil, err
	}
	runes := []rune(s)
	if len(runes) != 256 {
		return nil, fmt.Errorf("character set %s is not supported: the server tells %d characters", charset, len(runes))
	}
	table := [256]rune(runes)
	return singleByteDecoder(&table), nil
}

// binlogState is a place in the server's binlog.
type binlogState struct {
	file  string
	pos   uint64
	gtids string
}

// binlogPosition returns the end of the binlog.
func (c *catalog) binlogPosition() (binlogState, error) {
	var s binlogState
	sql := "SHOW MASTER STATUS"
	r, err := c.query(sql)
	if err != nil {
		var me *mysql.MyError
		if !errors.As(err, &me) || me.Code != mysql.ER_PARSE_ERROR {
			return s, err
		}
		if r, err = c.query("SHOW BINARY LOG STATUS"); err != nil { // since MySQL 8.2
			return s, err
		}
	}
	if r.RowNumber() == 0 {
		return s, cdc.Fatalf("the server does not write a binlog: start it with log_bin and binlog_format=ROW")
	}
	s.file = cell(r, 0, 0)
	if s.pos, err = strconv.ParseUint(cell(r, 0, 1), 10, 64); err != nil {
		return s, fmt.Errorf("%s: position: %w", sql, err)
	}
	if c.cfg.mariadb {
		s.gtids, err = c.text("SELECT @@GLOBAL.gtid_binlog_pos")
		return s, err
	}
	if r.ColumnNumber() > 4 {
		s.gtids = strings.ReplaceAll(cell(r, 0, 4), "\n", "")
	}
	return s, nil
}

// files lists the binlogs that the server has, with their sizes.
func (c *catalog) files() (map[string]uint64, error) {
	r, err := c.query("SHOW BINARY LOGS")
	if err != nil {
		return nil, err
	}
	m := map[string]uint64{}
	for i := range r.RowNumber() {
		n, _ := strconv.ParseUint(cell(r, i, 1), 10, 64)
		m[cell(r, i, 0)] = n
	}
	return m, nil
}

// usesGTIDs reports whether positions are sets of GTIDs.
func (c *catalog) usesGTIDs() (bool, error) {
	if c.cfg.mariadb {
		return true, nil
	}
	v, err := c.variables("gtid_mode")
	return strings.EqualFold(v["gtid_mode"], "ON"), err
}

// checkServer returns what is wrong with the server's settings, and the key to blame.
func (c *catalog) checkServer(log *slog.Logger) (key string, err error) {
	switch {
	case c.cfg.mariadb && !c.isMariaDB():
		return "database.hostname", fmt.Errorf("the server is MySQL %s: use connector.class=%s", c.version, Class)
	case !c.cfg.mariadb && c.isMariaDB():
		return "database.hostname", fmt.Errorf("the server is %s: use connector.class=%s", c.version, MariaDBClass)
	}
	v, err := c.variables("log_bin", "binlog_format", "binlog_row_image", "binlog_row_value_options", "binlog_row_metadata", "server_id", "gtid_mode")
	if err != nil {
		return "database.user", err
	}
	if c.cfg.snapshotMode == "initial_only" {
		return "", nil
	}
	switch {
	case v["log_bin"] == "OFF" || v["log_bin"] == "0":
		return "database.hostname", errors.New("the MySQL server does not have binary logging enabled: start it with log_bin and binlog_format=ROW")
	case !strings.EqualFold(v["binlog_format"], "ROW") && v["binlog_format"] != "":
		return "database.hostname", fmt.Errorf("the MySQL server is not configured to use a ROW binlog_format, which is required for this connector to work properly: it is %s; SET GLOBAL binlog_format=ROW", v["binlog_format"])
	case v["binlog_row_image"] != "" && !strings.EqualFold(v["binlog_row_image"], "FULL"):
		return "database.hostname", fmt.Errorf("the MySQL server is not configured to use a FULL binlog_row_image, which is required for this connector to work properly: it is %s; SET GLOBAL binlog_row_image=FULL", v["binlog_row_image"])
	case strings.Contains(strings.ToUpper(v["binlog_row_value_options"]), "PARTIAL_JSON"):
		return "database.hostname", errors.New("the MySQL server writes partial JSON updates, which cannot be read: SET GLOBAL binlog_row_value_options=''")
	case v["server_id"] == strconv.FormatUint(uint64(c.cfg.serverID), 10):
		return "database.server.id", fmt.Errorf("%d is the server's own id: choose another", c.cfg.serverID)
	}
	if !strings.EqualFold(v["binlog_row_metadata"], "FULL") && log != nil {
		log.Warn("binlog_row_metadata is not FULL: column names come from the present state of the tables, and a table that is changed while the connector lags behind cannot be read; SET GLOBAL binlog_row_metadata=FULL")
	}
	return "", nil
}
