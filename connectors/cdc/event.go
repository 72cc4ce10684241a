package cdc

import (
	"encoding/json"
	"strconv"
	"sync/atomic"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

// Op is an event's operation.
type Op byte

// The operations.
const (
	OpCreate   Op = 'c'
	OpUpdate   Op = 'u'
	OpDelete   Op = 'd'
	OpRead     Op = 'r'
	OpTruncate Op = 't'
	OpMessage  Op = 'm'
)

var opValues = func() (v [256]data.Value) {
	for _, o := range []Op{OpCreate, OpUpdate, OpDelete, OpRead, OpTruncate, OpMessage} {
		v[o] = data.String(string(rune(o)))
	}
	return v
}()

// Value returns the operation as a string value.
func (o Op) Value() data.Value { return opValues[o] }

// Change is one change of one row.
type Change struct {
	Table *Table
	Op    Op
	// Before and After hold a value for each of Table.Columns, or are nil. The emitter keeps them.
	Before, After []data.Value
	// OldKey, when not nil, has the key columns' old values at their places and tells that an update may have changed the key; without
	// it Before is looked at.
	OldKey []data.Value
	// Source holds the values of the source block.
	Source []data.Value
	// Transaction is a value of TransactionBlock or null. With Tx set, each event of the change (a key change has two) takes its own from
	// there instead.
	Transaction data.Value
	Tx          *Transactions
	// Nanos is the wall clock at which the connector handles the change, in nanoseconds since the epoch.
	Nanos int64
}

// Emitter turns changes into records. It belongs to one goroutine.
type Emitter struct {
	Arena   Arena
	cfg     *Config
	headers []data.Header
	stats   *Stats
}

// NewEmitter returns an emitter. taskID and runID go into the context headers of extended.headers.enabled.
func (c *Config) NewEmitter(taskID int, runID string, stats *Stats) *Emitter {
	e := &Emitter{cfg: c, stats: stats}
	if c.ExtendedHeaders {
		h := func(k, v string) data.Header {
			return data.Header{Key: "__debezium.context." + k, Schema: data.StringSchema, Value: data.String(v)}
		}
		e.headers = []data.Header{h("connectorLogicalName", c.Prefix), h("taskId", strconv.Itoa(taskID)), h("connectorName", c.Connector), h("runId", runID)}
	}
	return e
}

// Headers returns the headers that every record carries. Do not change it.
func (e *Emitter) Headers() []data.Header { return e.headers }

// Skips reports whether operation o is left out by skipped.operations.
func (e *Emitter) Skips(o Op) bool { return e.cfg.Skipped[o] }

// Append appends the records of c to dst: none for a skipped operation, an event, a delete and its tombstone, or delete, tombstone and
// create for a changed key. Offsets are for the caller to set.
func (e *Emitter) Append(dst []plugins.SourceRecord, c *Change) []plugins.SourceRecord {
	if e.cfg.Skipped[c.Op] {
		e.stats.Filtered.Add(1)
		return dst
	}
	t := c.Table
	for _, m := range t.mapIdx {
		if c.Before != nil {
			c.Before[m.col] = m.f(&e.Arena, c.Before[m.col])
		}
		if c.After != nil {
			c.After[m.col] = m.f(&e.Arena, c.After[m.col])
		}
		if c.OldKey != nil {
			c.OldKey[m.col] = m.f(&e.Arena, c.OldKey[m.col])
		}
	}
	e.stats.count(c.Op)
	switch c.Op {
	case OpUpdate:
		old := c.OldKey
		if old == nil {
			old = c.Before
		}
		if old != nil && t.keyChanged(old, c.After) {
			return e.keyChange(dst, c, old)
		}
		if e.cfg.SkipUnchanged && c.Before != nil && unchanged(c.Before[:t.RowLen], c.After[:t.RowLen]) {
			e.stats.Filtered.Add(1)
			return dst
		}
		return append(dst, e.event(c, OpUpdate, c.After, c.Before, c.After, e.headers))
	case OpDelete:
		key := c.OldKey
		if key == nil {
			key = c.Before
		}
		rec := e.event(c, OpDelete, key, c.Before, nil, e.headers)
		dst = append(dst, rec)
		if e.cfg.Tombstones { // for a table without a key too, as the original does
			dst = append(dst, tombstone(&rec))
		}
		return dst
	case OpTruncate:
		return append(dst, e.event(c, OpTruncate, nil, nil, nil, e.headers))
	}
	return append(dst, e.event(c, c.Op, c.After, nil, c.After, e.headers))
}

func tombstone(rec *plugins.SourceRecord) plugins.SourceRecord {
	r := *rec
	r.ValueSchema, r.Value = nil, data.Null
	return r
}

// keyChange writes an update that changed the key as Debezium does: a delete under the old key, its tombstone, a create under the new,
// tied together by headers.
func (e *Emitter) keyChange(dst []plugins.SourceRecord, c *Change, old []data.Value) []plugins.SourceRecord {
	newKey, oldKey := e.key(c.Table, c.After), e.key(c.Table, old)
	with := func(name string, v data.Value) []data.Header {
		return append([]data.Header{{Key: name, Schema: c.Table.Key, Value: v}}, e.headers...)
	}
	before := c.Before
	if before == nil {
		before = c.OldKey
	}
	del := e.event(c, OpDelete, old, before, nil, with("__debezium.newkey", newKey))
	dst = append(dst, del)
	if e.cfg.Tombstones {
		dst = append(dst, tombstone(&del))
	}
	return append(dst, e.event(c, OpCreate, c.After, nil, c.After, with("__debezium.oldkey", oldKey)))
}

func (t *Table) keyChanged(a, b []data.Value) bool {
	for _, i := range t.keyIdx {
		if !a[i].Equal(b[i]) {
			return true
		}
	}
	return false
}

func unchanged(a, b []data.Value) bool {
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

func (e *Emitter) key(t *Table, row []data.Value) data.Value {
	v := e.Arena.Values(len(t.keyIdx))
	for i, k := range t.keyIdx {
		v[i] = row[k]
	}
	return e.Arena.Struct(t.Key, v)
}

func (e *Emitter) event(c *Change, op Op, key, before, after []data.Value, headers []data.Header) plugins.SourceRecord {
	t, a := c.Table, &e.Arena
	v := a.Values(8)
	if before != nil {
		v[0] = a.Struct(t.Row, before[:t.RowLen:t.RowLen])
	}
	if after != nil {
		v[1] = a.Struct(t.Row, after[:t.RowLen:t.RowLen])
	}
	v[2] = a.Struct(t.source, c.Source)
	v[3] = c.Transaction
	if c.Tx != nil {
		v[3] = c.Tx.Event(a, t.ID)
	}
	v[4] = opValues[op]
	v[5], v[6], v[7] = data.Int64(c.Nanos/1e6), data.Int64(c.Nanos/1e3), data.Int64(c.Nanos)
	rec := plugins.SourceRecord{Topic: t.Topic, Partition: plugins.NoPartition, ValueSchema: t.Envelope,
		Value: a.Struct(t.Envelope, v), Timestamp: plugins.NoTimestamp, Headers: headers}
	if t.Key != nil && key != nil {
		rec.KeySchema, rec.Key = t.Key, e.key(t, key)
	}
	return rec
}

// Stats counts what an emitter and a queue did; metrics read it from other goroutines.
type Stats struct {
	Creates, Updates, Deletes, Truncates, Reads, Filtered, Erroneous, Transactions atomic.Int64
}

// Total is the number of events seen.
func (s *Stats) Total() int64 {
	return s.Creates.Load() + s.Updates.Load() + s.Deletes.Load() + s.Truncates.Load() + s.Reads.Load()
}

func (s *Stats) count(o Op) {
	switch o {
	case OpCreate:
		s.Creates.Add(1)
	case OpUpdate:
		s.Updates.Add(1)
	case OpDelete:
		s.Deletes.Add(1)
	case OpTruncate:
		s.Truncates.Add(1)
	case OpRead:
		s.Reads.Add(1)
	}
}

// Sequence renders source.sequence: a JSON array of strings or nulls.
func Sequence(a *Arena, parts ...string) data.Value {
	b := append(a.Scratch(64), '[')
	for i, p := range parts {
		if i > 0 {
			b = append(b, ',')
		}
		if p == "" {
			b = append(b, "null"...)
			continue
		}
		q, _ := json.Marshal(p)
		b = append(b, q...)
	}
	return data.StringBytes(a.Keep(append(b, ']')))
}
