package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins/data"
)

// SourceSchema is the schema of source blocks.
var SourceSchema = cdc.SourceSchema("io.debezium.connector.postgresql.Source").
	Field("schema", data.StringSchema).Field("table", data.StringSchema).Field("txId", data.OptionalInt64Schema).
	Field("lsn", data.OptionalInt64Schema).Field("xmin", data.OptionalInt64Schema).
	Field("origin", data.OptionalStringSchema).Field("origin_lsn", data.OptionalInt64Schema).Build()

// Places of SourceSchema's own fields.
const (
	srcSchema = cdc.SourceOwn + iota
	srcTable
	srcTxID
	srcLSN
	srcXmin
	srcOrigin
	srcOriginLSN
	srcLen
)

// columnPlan tells what becomes of a column of a tuple.
type columnPlan struct {
	at          int // place in the row's values, -1: not wanted
	encode      encodeFunc
	unavailable data.Value
	key         bool // in the replica identity
	name        string
}

// relation is a table as the stream or a snapshot delivers it.
type relation struct {
	captured bool
	table    *cdc.Table
	plan     []columnPlan
	source   []data.Value // source block with all that does not change
	decimal  cdc.DecimalMode
	time     cdc.TimeMode
}

// relationSource turns relation messages into relations; the assembler's only way outside.
type relationSource interface {
	relation(m *relationMsg, before *relation) (*relation, error)
}

// builder makes relations from the catalog.
type builder struct {
	cat    *catalog
	cfg    *config
	codecs *codecs
	log    *slog.Logger
	ctx    context.Context // of the connection the relations come from
}

func newBuilder(ctx context.Context, cat *catalog, log *slog.Logger) *builder {
	return &builder{cat: cat, cfg: cat.cfg, codecs: &codecs{cfg: cat.cfg, types: &cat.types}, log: log, ctx: ctx}
}

// relation implements relationSource. Types come from the message, which tells how the following rows look; nullability, defaults and
// the key from the catalog, which may be ahead of it. before is the relation's last form: its compiled table stays when nothing changed.
func (b *builder) relation(m *relationMsg, before *relation) (*relation, error) {
	if !b.cfg.captures(m.schema, m.table) {
		return &relation{}, nil
	}
	oids := make([]uint32, len(m.columns))
	for i := range m.columns {
		oids[i] = m.columns[i].typeOID
	}
	if err := b.cat.types.refresh(b.ctx, b.cat.conn, oids); err != nil {
		return nil, err
	}
	info, err := b.cat.table(b.ctx, m.id)
	if err != nil {
		return nil, err
	}
	cols := make([]columnInfo, len(m.columns))
	var flagged []string
	for i, mc := range m.columns {
		cols[i] = columnInfo{name: mc.name, typeOID: mc.typeOID, typmod: mc.typmod}
		if info != nil {
			if c := info.column(mc.name); c != nil {
				cols[i].notNull, cols[i].generated = c.notNull, c.generated
				if c.typeOID == mc.typeOID {
					cols[i].def = c.def
				}
			}
		}
		if mc.key {
			flagged = append(flagged, mc.name)
		}
	}
	var key []string
	switch {
	case info != nil:
		key = info.pk
	case m.replident == 'd':
		key = flagged
	}
	if m.replident == 'i' && !subset(key, flagged) {
		key = flagged
		if info != nil && subset(info.identity, flagged) && len(info.identity) == len(flagged) {
			key = info.identity
		}
	}
	r, err := b.build(cdc.TableID{Schema: m.schema, Table: m.table}, cols, key)
	if err != nil {
		return nil, err
	}
	for i := range r.plan {
		r.plan[i].key = m.columns[i].key
	}
	if before != nil && before.captured && before.table.SameEvents(r.table) {
		r.table = before.table
	}
	return r, nil
}

func subset(a, b []string) bool {
	for _, s := range a {
		if !slices.Contains(b, s) {
			return false
		}
	}
	return len(a) > 0
}

// build compiles a table.
func (b *builder) build(id cdc.TableID, cols []columnInfo, key []string) (*relation, error) {
	def := cdc.TableDef{ID: id, SourceSchema: SourceSchema}
	r := &relation{captured: true, plan: make([]columnPlan, len(cols)), decimal: b.cfg.Decimal, time: b.cfg.Time}
	wanted := key
	if own := b.cfg.MessageKeyColumns(id); own != nil {
		wanted = own
	}
	for i, c := range cols {
		r.plan[i] = columnPlan{at: -1, name: c.name}
		inKey := slices.Contains(wanted, c.name)
		included := b.cfg.IncludesColumn(id, c.name)
		if !included && !inKey {
			continue
		}
		cd := b.codecs.of(c.typeOID, c.typmod)
		if cd == nil {
			name := fmt.Sprint(c.typeOID)
			if t := b.cat.types.byOID[c.typeOID]; t != nil {
				name = t.name
			}
			b.log.Warn("column is left out as its type has no form in events; include.unknown.datatypes=true writes it as bytes",
				"table", id.String(), "column", c.name, "type", name)
			continue
		}
		s := data.From(cd.schema).SetOptional(!c.notNull)
		if c.def != "" && !c.generated {
			if v, ok := cd.defaultValue(c.def); ok {
				s.Default(v)
			}
		}
		r.plan[i].encode, r.plan[i].unavailable = cd.encode, cd.unavailable
		def.Columns = append(def.Columns, cdc.Column{Name: c.name, Schema: s.Build(), KeyOnly: !included, Character: cd.character, Zero: cd.zero,
			TypeName: cd.typeName, Length: cd.length, Scale: cd.scale})
	}
	def.SetKey(key)
	var err error
	if r.table, err = b.cfg.NewTable(def); err != nil {
		return nil, err
	}
	for i := range r.plan {
		if r.plan[i].encode != nil {
			r.plan[i].at = r.table.Index(r.plan[i].name)
		}
	}
	r.source = b.cfg.sourceTemplate(id.Schema, id.Table)
	return r, nil
}

// sourceTemplate is a source block with everything that is the same for all events of a table.
func (c *config) sourceTemplate(schema, table string) []data.Value {
	v := c.SourceBlock(srcLen, c.dbname)
	v[srcSchema], v[srcTable] = data.String(schema), data.String(table)
	return v
}

// row decodes a tuple. identityOnly tells that columns outside the replica identity are absent: they become null, or a zero where null
// is not allowed. old, when not nil, has the values of columns that the tuple left out as unchanged.
func (r *relation) row(a *cdc.Arena, t tuple, old []data.Value, identityOnly bool) ([]data.Value, error) {
	if t.n != len(r.plan) {
		return nil, fmt.Errorf("table %s: a row has %d columns but the table was told to have %d", r.table.ID, t.n, len(r.plan))
	}
	vals := a.Values(len(r.table.Columns))
	for i := range r.plan {
		kind, text := t.next()
		p := &r.plan[i]
		if p.at < 0 {
			continue
		}
		switch kind {
		case colText:
			v, err := p.encode(a, text)
			if err != nil {
				return nil, fmt.Errorf("table %s, column %s: %w", r.table.ID, p.name, err)
			}
			if v.IsNull() && !r.table.Columns[p.at].Schema.Optional() {
				return nil, fmt.Errorf("table %s, column %s: value %.40q cannot be written under decimal.handling.mode=%s, time.precision.mode=%s, and null is not allowed", r.table.ID, p.name, text, r.decimal, r.time)
			}
			vals[p.at] = v
		case colNull:
			if identityOnly && !p.key {
				vals[p.at] = r.table.Fill[p.at]
			}
		case colUnchanged:
			switch {
			case old != nil:
				vals[p.at] = old[p.at]
			case !p.unavailable.IsNull():
				vals[p.at] = p.unavailable
			default:
				vals[p.at] = r.table.Fill[p.at]
			}
		default:
			return nil, fmt.Errorf("table %s, column %s: value in binary form, which was not asked for", r.table.ID, p.name)
		}
	}
	return vals, nil
}
