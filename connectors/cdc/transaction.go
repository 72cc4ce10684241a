package cdc

import (
	"sort"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

var (
	txKey = data.NewStruct().Name("io.debezium.connector.common.TransactionMetadataKey").Version(1).
		Field("id", data.StringSchema).Build()
	txCollection = data.NewStruct().Name("event.collection").Version(1).Optional().
			Field("data_collection", data.StringSchema).Field("event_count", data.Int64Schema).Build()
	txValue = data.NewStruct().Name("io.debezium.connector.common.TransactionMetadataValue").Version(1).
		Field("status", data.StringSchema).Field("id", data.StringSchema).Field("event_count", data.OptionalInt64Schema).
		Field("data_collections", data.NewArray(txCollection).Optional().Build()).Field("ts_ms", data.Int64Schema).Build()
)

// Transactions keeps the counts behind provide.transaction.metadata. Begin, then Event for each event, then End; one transaction at a
// time.
type Transactions struct {
	cfg    *Config
	id     string
	total  int64
	tables map[TableID]int64
}

// NewTransactions returns nil when transaction metadata is off; the methods of a nil Transactions do nothing.
func (c *Config) NewTransactions() *Transactions {
	if !c.TransactionMetadata {
		return nil
	}
	return &Transactions{cfg: c, tables: map[TableID]int64{}}
}

// Begin starts transaction id, committed at ms, and appends its BEGIN record.
func (t *Transactions) Begin(dst []plugins.SourceRecord, id string, ms int64) []plugins.SourceRecord {
	if t == nil {
		return dst
	}
	t.id, t.total = id, 0
	clear(t.tables)
	return append(dst, t.record("BEGIN", ms))
}

// Event counts an event and returns its transaction block.
func (t *Transactions) Event(a *Arena, table TableID) data.Value {
	if t == nil || t.id == "" {
		return data.Null
	}
	t.total++
	n := t.tables[table] + 1
	t.tables[table] = n
	v := a.Values(3)
	v[0], v[1], v[2] = data.String(t.id), data.Int64(t.total), data.Int64(n)
	return a.Struct(TransactionBlock, v)
}

// End appends the END record.
func (t *Transactions) End(dst []plugins.SourceRecord, ms int64) []plugins.SourceRecord {
	if t == nil || t.id == "" {
		return dst
	}
	dst = append(dst, t.record("END", ms))
	t.id = ""
	return dst
}

func (t *Transactions) record(status string, ms int64) plugins.SourceRecord {
	id := data.String(t.id)
	v := data.NewStructValue(txValue)
	v.Values[0], v.Values[1], v.Values[4] = data.String(status), id, data.Int64(ms)
	if status == "END" {
		names := make([]string, 0, len(t.tables))
		counts := make(map[string]int64, len(t.tables))
		for k, n := range t.tables {
			names = append(names, k.String())
			counts[k.String()] = n
		}
		sort.Strings(names)
		list := make([]data.Value, len(names))
		for i, n := range names {
			list[i] = data.StructOf(&data.Struct{Schema: txCollection, Values: []data.Value{data.String(n), data.Int64(counts[n])}})
		}
		v.Values[2], v.Values[3] = data.Int64(t.total), data.Array(list)
	}
	return plugins.SourceRecord{
		Topic: t.cfg.Topics.Transaction(), Partition: plugins.NoPartition, Timestamp: plugins.NoTimestamp,
		KeySchema: txKey, Key: data.StructOf(&data.Struct{Schema: txKey, Values: []data.Value{id}}),
		ValueSchema: txValue, Value: data.StructOf(v),
	}
}
