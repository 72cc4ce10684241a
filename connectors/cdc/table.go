package cdc

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau-io/moldau/plugins/data"
)

// Column is one column of a TableDef.
type Column struct {
	Name   string
	Schema *data.Schema
	// KeyOnly columns are decoded for the key but are not part of the row (left out by the column filter).
	KeyOnly bool
	// Character columns can be masked and truncated.
	Character bool
	// Zero stands in for a missing value where null is not allowed; null: what ZeroValue says.
	Zero data.Value
	// TypeName, Length and Scale describe the source's type for column.propagate.source.type; negative numbers are left out.
	TypeName      string
	Length, Scale int
}

// TableDef describes a version of a table.
type TableDef struct {
	ID      TableID
	Columns []Column
	// Key names the columns of the key in their order; empty for none. message.key.columns overrides it.
	Key []string
	// SourceSchema is the schema of the connector's source block.
	SourceSchema *data.Schema
}

// SetKey makes those of columns that the table has its key.
func (d *TableDef) SetKey(columns []string) {
	for _, k := range columns {
		if slices.ContainsFunc(d.Columns, func(c Column) bool { return c.Name == k }) {
			d.Key = append(d.Key, k)
		}
	}
}

// Table is a compiled TableDef: everything about one version of a table that its events share. It is immutable.
type Table struct {
	ID    TableID
	Topic string
	// Key is nil for a table without a key.
	Key, Row, Envelope *data.Schema
	// Columns are the columns in the order in which a row's values are handed over: those of the row, then the key-only ones.
	Columns []Column
	// RowLen is the number of columns that belong to the row.
	RowLen int
	// Fill holds, for each column, what stands in for a missing value: null, or a zero for columns that may not be null.
	Fill []data.Value

	source *data.Schema
	keyIdx []int
	mapIdx []mapping
}

type mapping struct {
	col int
	f   func(*Arena, data.Value) data.Value
}

// Index returns a column's place, or -1.
func (t *Table) Index(column string) int {
	for i := range t.Columns {
		if t.Columns[i].Name == column {
			return i
		}
	}
	return -1
}

// SameEvents reports whether two compiled tables give the same events.
func (t *Table) SameEvents(o *Table) bool {
	if t.Topic != o.Topic || t.ID != o.ID || !t.Envelope.Equal(o.Envelope) || !t.Key.Equal(o.Key) || (t.Key == nil) != (o.Key == nil) || len(t.Columns) != len(o.Columns) {
		return false
	}
	for i := range t.Columns {
		if t.Columns[i].Name != o.Columns[i].Name {
			return false
		}
	}
	return slices.Equal(t.keyIdx, o.keyIdx)
}

// EnvelopeSchema builds the schema of an event from its row and source schemas.
func EnvelopeSchema(name string, row, source *data.Schema) *data.Schema {
	return data.NewStruct().Name(name).Version(2).
		Field("before", row).Field("after", row).Field("source", source).Field("transaction", TransactionBlock).
		Field("op", data.StringSchema).
		Field("ts_ms", data.OptionalInt64Schema).Field("ts_us", data.OptionalInt64Schema).Field("ts_ns", data.OptionalInt64Schema).Build()
}

// NewTable compiles def under the connector's configuration.
func (c *Config) NewTable(def TableDef) (*Table, error) {
	t := &Table{ID: def.ID, Topic: c.Topics.Table(def.ID), source: def.SourceSchema}
	id := def.ID.String()
	for _, keyOnly := range []bool{false, true} {
		for _, col := range def.Columns {
			if col.KeyOnly == keyOnly {
				t.Columns = append(t.Columns, col)
			}
		}
		if !keyOnly {
			t.RowLen = len(t.Columns)
		}
	}
	base := c.SchemaNames.Schema(t.Topic)
	row := data.NewStruct().Name(base + ".Value").Optional()
	seen := map[string]string{}
	for i := range t.Columns {
		col := &t.Columns[i]
		b := data.From(col.Schema)
		full := id + "." + col.Name
		if col.Character {
			for _, m := range c.mappers {
				if m.columns.Match(full) {
					b.Param(m.param, m.value)
					t.mapIdx = append(t.mapIdx, mapping{i, m.apply})
				}
			}
		}
		if c.propagateColumns.Match(full) || c.propagateTypes.Match(id+"."+col.TypeName) {
			b.Param("__debezium.source.column.type", strings.ToUpper(col.TypeName))
			if col.Length >= 0 {
				b.Param("__debezium.source.column.length", strconv.Itoa(col.Length))
			}
			if col.Scale >= 0 {
				b.Param("__debezium.source.column.scale", strconv.Itoa(col.Scale))
			}
			b.Param("__debezium.source.column.name", col.Name)
		}
		s := b.Build()
		if i < t.RowLen {
			name := c.FieldNames.Field(col.Name)
			if other, dup := seen[name]; dup {
				return nil, fmt.Errorf("table %s: columns %q and %q both become field %q under field.name.adjustment.mode=%s", id, other, col.Name, name, c.FieldNames)
			}
			seen[name] = col.Name
			row.Field(name, s)
		}
		if s.Optional() {
			t.Fill = append(t.Fill, data.Null)
		} else if _, ok := s.Default(); !ok && !col.Zero.IsNull() {
			t.Fill = append(t.Fill, col.Zero)
		} else {
			t.Fill = append(t.Fill, ZeroValue(s))
		}
	}
	t.Row = row.Build()
	t.Envelope = EnvelopeSchema(base+".Envelope", t.Row, def.SourceSchema)
	keys := def.Key
	if own := c.messageKey(def); own != nil {
		keys = own
	}
	if len(keys) == 0 {
		return t, nil
	}
	kb := data.NewStruct().Name(base + ".Key")
	for _, k := range keys {
		i := t.Index(k)
		if i < 0 {
			return nil, fmt.Errorf("table %s: key column %q does not exist", id, k)
		}
		t.keyIdx = append(t.keyIdx, i)
		kb.Field(c.FieldNames.Field(k), t.Columns[i].Schema)
	}
	t.Key = kb.Build()
	return t, nil
}

// messageKeys is one clause of message.key.columns.
type messageKeys struct {
	table   *Patterns
	columns []string
}

var messageKeyClause = regexp.MustCompile(`^\s*([^\s:]+):([^:\s]+)\s*$`)

// parseMessageKeys reads "table:col1,col2;table2:col" where table is a regular expression.
func parseMessageKeys(s string) ([]messageKeys, error) {
	var out []messageKeys
	for _, clause := range strings.Split(s, ";") {
		if strings.TrimSpace(clause) == "" {
			continue
		}
		m := messageKeyClause.FindStringSubmatch(clause)
		if m == nil {
			return nil, fmt.Errorf("%q must have the form table:column,column", clause)
		}
		p, err := ParsePatterns(m[1])
		if err != nil {
			return nil, err
		}
		out = append(out, messageKeys{table: p, columns: strings.Split(m[2], ",")})
	}
	return out, nil
}

// MessageKeyColumns returns the columns that message.key.columns names for a table, or nil.
func (c *Config) MessageKeyColumns(id TableID) []string {
	for _, k := range c.messageKeys {
		if k.table.Match(id.String()) {
			return k.columns
		}
	}
	return nil
}

// messageKey resolves the configured columns against the table's, ignoring case, in the table's order as Debezium does.
func (c *Config) messageKey(def TableDef) []string {
	cols := c.MessageKeyColumns(def.ID)
	if cols == nil {
		return nil
	}
	var out []string
	for _, col := range def.Columns {
		for _, k := range cols {
			if strings.EqualFold(k, col.Name) {
				out = append(out, col.Name)
				break
			}
		}
	}
	return out
}
