package mysql

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins/data"
)

// sourceSchema makes the schema of source blocks.
func sourceSchema(name string) *data.Schema {
	return cdc.SourceSchema(name).
		Field("table", data.OptionalStringSchema).Field("server_id", data.Int64Schema).Field("gtid", data.OptionalStringSchema).
		Field("file", data.StringSchema).Field("pos", data.Int64Schema).Field("row", data.Int32Schema).
		Field("thread", data.OptionalInt64Schema).Field("query", data.OptionalStringSchema).Build()
}

// The schemas of source blocks.
var (
	SourceSchema        = sourceSchema("io.debezium.connector.mysql.Source")
	MariaDBSourceSchema = sourceSchema("io.debezium.connector.mariadb.Source")
)

// Places of the source block's own fields.
const (
	srcTable = cdc.SourceOwn + iota
	srcServerID
	srcGTID
	srcFile
	srcPos
	srcRow
	srcThread
	srcQuery
	srcLen
)

// columnPlan tells what becomes of a column of a row image or result set.
type columnPlan struct {
	at   int // place in the row's values, -1: not wanted
	read readFunc
	code *coding
	name string
}

// relation is a version of a table.
type relation struct {
	captured bool
	table    *cdc.Table
	plan     []columnPlan
	source   []data.Value // source block with all that does not change
	id       cdc.TableID
}

// relationSource turns table map events into relations; the assembler's only way outside.
type relationSource interface {
	// relation describes the table of a table map event. rest is what tableMapID calls so.
	relation(name, rest []byte) (*relation, error)
	// truncated describes the table that a statement emptied; nil when it is gone.
	truncated(id cdc.TableID) (*relation, error)
	// changed tells that definitions of tables may have changed.
	changed()
}

// tableInfo is what the catalog knows of a table.
type tableInfo struct {
	columns []columnInfo
	key     []string // of the primary key, or else of the first unique key without null
}

func (t *tableInfo) column(name string) *columnInfo {
	for i := range t.columns {
		if t.columns[i].name == name {
			return &t.columns[i]
		}
	}
	return nil
}

// catalogue is what a builder asks about tables.
type catalogue interface {
	charsets
	// table returns nil for a table that is gone.
	table(id cdc.TableID) (*tableInfo, error)
}

// builder makes relations and remembers them by the bytes of their table map events.
type builder struct {
	cfg   *config
	cat   catalogue
	log   *slog.Logger
	known map[string]*knownTable
	epoch int // number of statements that may have changed tables
}

type knownTable struct {
	rest  []byte
	epoch int
	rel   *relation
}

func newBuilder(cfg *config, cat catalogue, log *slog.Logger) *builder {
	return &builder{cfg: cfg, cat: cat, log: log, known: map[string]*knownTable{}}
}

// changed implements relationSource.
func (b *builder) changed() { b.epoch++ }

// relation implements relationSource. Names, types, nullability and primary key come from the event, which tells how the rows behind it
// look; defaults, and keys of tables without a primary key, from the catalog, which may be ahead of it.
func (b *builder) relation(name, rest []byte) (*relation, error) {
	k := b.known[string(name)]
	if k != nil && k.epoch == b.epoch && string(k.rest) == string(rest) {
		return k.rel, nil
	}
	if k != nil && !k.rel.captured {
		return k.rel, nil
	}
	if k == nil && len(b.known) >= maxKnown {
		clear(b.known)
	}
	r, err := b.load(rest)
	if err != nil {
		return nil, err
	}
	if k != nil && r.captured && k.rel.table.SameEvents(r.table) {
		r.table = k.rel.table
	}
	b.known[string(name)] = &knownTable{rest: slices.Clone(rest), epoch: b.epoch, rel: r}
	return r, nil
}

// truncated implements relationSource.
func (b *builder) truncated(id cdc.TableID) (*relation, error) {
	if k := b.known[id.Catalog+"\x00"+string([]byte{byte(len(id.Table))})+id.Table]; k != nil { // as in table map events
		return k.rel, nil
	}
	info, err := b.cat.table(id)
	if err != nil || info == nil {
		return nil, err
	}
	return b.fromCatalog(id, info)
}

// fromCatalog makes the relation of a table as it is now.
func (b *builder) fromCatalog(id cdc.TableID, info *tableInfo) (*relation, error) {
	cols := make([]column, len(info.columns))
	for i := range info.columns {
		cols[i] = info.columns[i].column()
		cols[i].charset = resultCharset(cols[i].charset)
	}
	return b.build(id, cols, info.key, nil)
}

// resultCharset is the charset in which result sets bring a column: UTF-8 for all text.
func resultCharset(charset string) string {
	if charset == "" {
		return ""
	}
	return "utf8mb4"
}

// maxKnown bounds the tables that are remembered; servers with more pay for looking again.
const maxKnown = 100_000

func (b *builder) load(rest []byte) (*relation, error) {
	c := cursor{b: rest}
	schema := string(c.take(c.size()))
	c.take(1)
	id := cdc.TableID{Catalog: schema, Table: string(c.take(c.size()))}
	if c.bad {
		return nil, errShort
	}
	if !b.cfg.captures(id) {
		return &relation{}, nil
	}
	m, err := decodeTableMap(rest, b.cfg.mariadb)
	if err != nil {
		return nil, err
	}
	info, err := b.cat.table(id)
	if err != nil {
		return nil, err
	}
	if !m.full && (info == nil || len(info.columns) != len(m.columns)) {
		return nil, cdc.Fatalf("table %s was dropped or changed since the change that is to be read, and with binlog_row_metadata=MINIMAL the binlog does not tell how it looked: SET GLOBAL binlog_row_metadata=FULL, and take a new snapshot of what is missing", id)
	}
	cols := make([]column, len(m.columns))
	for i := range m.columns {
		var ci *columnInfo
		switch {
		case info == nil:
		case m.full:
			ci = info.column(m.columns[i].name)
		default:
			ci = &info.columns[i]
		}
		if cols[i], err = fromMap(&m.columns[i], ci, m.full, b.cat); err != nil {
			return nil, cdc.Fatalf("table %s: %w", id, err)
		}
	}
	var key []string
	for _, i := range m.key {
		key = append(key, cols[i].name)
	}
	if key == nil && info != nil && !slices.ContainsFunc(info.key, func(k string) bool {
		return !slices.ContainsFunc(cols, func(c column) bool { return c.name == k })
	}) {
		key = info.key
	}
	return b.build(id, cols, key, m.columns)
}

// build compiles a table. m are the columns of a row image, or nil for result sets.
func (b *builder) build(id cdc.TableID, cols []column, key []string, m []mapColumn) (*relation, error) {
	def := cdc.TableDef{ID: id, SourceSchema: b.cfg.sourceSchema}
	r := &relation{captured: true, id: id, plan: make([]columnPlan, len(cols))}
	wanted := key
	if own := b.cfg.MessageKeyColumns(id); own != nil {
		wanted = own
	}
	for i, c := range cols {
		p := &r.plan[i]
		*p = columnPlan{at: -1, name: c.name}
		included := b.cfg.IncludesColumn(id, c.name)
		if included || slices.Contains(wanted, c.name) {
			x, err := newCoding(b.cfg, c, b.cat)
			if err != nil {
				return nil, cdc.Fatalf("table %s: %w", id, err)
			}
			if p.code = x; x == nil {
				b.log.Warn("column is left out as its type has no form in events", "table", id.String(), "column", c.name)
			} else {
				s := data.From(x.schema).SetOptional(c.nullable)
				if v, ok := x.defaultValue(); ok {
					s.Default(v)
				}
				length, scale := c.typeLength()
				def.Columns = append(def.Columns, cdc.Column{Name: c.name, Schema: s.Build(), KeyOnly: !included, Character: x.character, Zero: x.zero,
					TypeName: c.typeName(), Length: length, Scale: scale})
			}
		}
		if m != nil {
			if p.read = p.code.reader(&m[i]); p.read == nil {
				return nil, cdc.Fatalf("table %s: column %q has type %d, which is not supported", id, c.name, m[i].typ)
			}
		}
	}
	def.SetKey(key)
	var err error
	if r.table, err = b.cfg.NewTable(def); err != nil {
		return nil, cdc.Fatal{Err: err}
	}
	for i := range r.plan {
		if r.plan[i].code != nil {
			r.plan[i].at = r.table.Index(r.plan[i].name)
		}
	}
	r.source = b.cfg.SourceBlock(srcLen, id.Catalog)
	r.source[srcTable] = data.String(id.Table)
	return r, nil
}

// conversionError is a value that has no form in events; the row can be passed over.
type conversionError struct{ err error }

func (e conversionError) Error() string { return e.err.Error() }
func (e conversionError) Unwrap() error { return e.err }

// image decodes one row image with the columns that bitmap tells. Columns that are not in it are taken from other, the row's other
// image, or stand-ins. A conversionError leaves c behind the image; other errors are for ever.
func (r *relation) image(a *cdc.Arena, c *cursor, bitmap []byte, other []data.Value) ([]data.Value, error) {
	present := 0
	for i := range r.plan {
		if bit(bitmap, i) {
			present++
		}
	}
	nulls := c.take((present + 7) / 8)
	if c.bad {
		return nil, fmt.Errorf("table %s: %w", r.id, errShort)
	}
	vals := a.Values(len(r.table.Columns))
	var failed error
	n := 0
	for i := range r.plan {
		p := &r.plan[i]
		if !bit(bitmap, i) {
			if p.at >= 0 {
				vals[p.at] = r.table.Fill[p.at]
				if other != nil {
					vals[p.at] = other[p.at]
				}
			}
			continue
		}
		null := bit(nulls, n)
		n++
		if null {
			continue
		}
		v, size, err := p.read(a, c.b)
		if size < 0 {
			return nil, fmt.Errorf("table %s, column %s: %w", r.id, p.name, errShort)
		}
		c.b = c.b[size:]
		if p.at < 0 {
			continue
		}
		if err != nil {
			if failed == nil {
				failed = conversionError{fmt.Errorf("table %s, column %s: %w", r.id, p.name, err)}
			}
			continue
		}
		if v.IsNull() {
			if v, err = r.missing(p); err != nil && failed == nil {
				failed = err
			}
		}
		vals[p.at] = v
	}
	return vals, failed
}

// missing is what stands for a value that exists in the table and not in events: zero dates, times that are no time of day.
func (r *relation) missing(p *columnPlan) (data.Value, error) {
	if r.table.Columns[p.at].Schema.Optional() {
		return data.Null, nil
	}
	if p.code.kind == kindTime {
		return data.Null, conversionError{fmt.Errorf("table %s, column %s: a time that is negative or longer than a day cannot be written under time.precision.mode=%s, and null is not allowed", r.id, p.name, p.code.time)}
	}
	return r.table.Fill[p.at], nil
}
