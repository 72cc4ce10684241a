package cdc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

var testSource = data.NewStruct().Name("src").Version(1).Field("x", data.Int64Schema).Build()

func testTable(t *testing.T, c *Config) *Table {
	t.Helper()
	tab, err := c.NewTable(TableDef{ID: TableID{Schema: "s", Table: "t"}, SourceSchema: testSource, Key: []string{"b", "a"}, Columns: []Column{
		{Name: "a", Schema: data.Int32Schema, Length: -1, Scale: -1},
		{Name: "hidden", Schema: data.StringSchema, KeyOnly: true, Length: -1, Scale: -1},
		{Name: "b", Schema: data.StringSchema, Character: true, TypeName: "text", Length: 7, Scale: -1},
		{Name: "v", Schema: data.OptionalStringSchema, Character: true, TypeName: "varchar", Length: 9, Scale: 0},
	}})
	require.NoError(t, err)
	return tab
}

func row(a int32, b, v string) []data.Value {
	return []data.Value{data.Int32(a), data.String(b), data.String(v), data.String("h")}
}

func emit(c *Config, changes ...Change) (*Emitter, []plugins.SourceRecord) {
	e := c.NewEmitter(3, "run", &Stats{})
	var out []plugins.SourceRecord
	for i := range changes {
		changes[i].Source = []data.Value{data.Int64(1)}
		out = e.Append(out, &changes[i])
	}
	return e, out
}

func TestEventsHaveDebeziumsShape(t *testing.T) {
	c := parse(t, map[string]string{})
	tab := testTable(t, c)
	require.Equal(t, "p.s.t.Key", tab.Key.Name())
	require.Equal(t, "p.s.t.Envelope", tab.Envelope.Name())
	require.Equal(t, []string{"b", "a"}, []string{tab.Key.Fields()[0].Name, tab.Key.Fields()[1].Name}, "key order, not column order")
	require.Len(t, tab.Row.Fields(), 3, "key-only columns are no fields of the row")
	_, recs := emit(c, Change{Table: tab, Op: OpCreate, After: row(1, "k", "x"), Nanos: 5_000_000})
	require.Len(t, recs, 1)
	require.Equal(t, "p.s.t", recs[0].Topic)
	require.Equal(t, "Struct{b=k,a=1}", recs[0].Key.String())
	require.Equal(t, "Struct{before=null,after=Struct{a=1,b=k,v=x},source=Struct{x=1},transaction=null,op=c,ts_ms=5,ts_us=5000,ts_ns=5000000}", recs[0].Value.String())
	require.Equal(t, "__debezium.context.taskId", recs[0].Headers[1].Key)
	require.Equal(t, "3", recs[0].Headers[1].Value.Str())
}

func TestDeletesKeyChangesAndSkips(t *testing.T) {
	c := parse(t, map[string]string{"skip.messages.without.change": "true"})
	tab := testTable(t, c)
	e, recs := emit(c,
		Change{Table: tab, Op: OpDelete, Before: row(1, "k", "x")},
		Change{Table: tab, Op: OpUpdate, Before: row(1, "k", "x"), After: row(1, "k", "x")}, // unchanged
		Change{Table: tab, Op: OpUpdate, Before: row(1, "k", "x"), After: row(2, "k", "x")},
		Change{Table: tab, Op: OpUpdate, OldKey: row(1, "k", ""), After: row(1, "k", "y")},
		Change{Table: tab, Op: OpTruncate})
	var got []string
	for _, r := range recs {
		got = append(got, r.Value.Field("op").Str()+" "+r.Key.String())
	}
	require.Equal(t, []string{"d Struct{b=k,a=1}", " Struct{b=k,a=1}", "d Struct{b=k,a=1}", " Struct{b=k,a=1}", "c Struct{b=k,a=2}", "u Struct{b=k,a=1}"}, got)
	require.Equal(t, "__debezium.newkey", recs[2].Headers[0].Key)
	require.Equal(t, "Struct{b=k,a=2}", recs[2].Headers[0].Value.String())
	require.Equal(t, "__debezium.oldkey", recs[4].Headers[0].Key)
	require.Len(t, recs[4].Headers, 5)
	require.Equal(t, int64(2), e.stats.Filtered.Load(), "the unchanged row and the truncate")
}

func TestMasksAndPropagatedTypes(t *testing.T) {
	c := parse(t, map[string]string{"column.mask.with.3.chars": `s\.t\.v`, "column.truncate.to.2.chars": "s.t.b", "column.propagate.source.type": `s\.t\.b`, "datatype.propagate.source.type": `.+\.varchar`})
	tab := testTable(t, c)
	_, recs := emit(c, Change{Table: tab, Op: OpCreate, After: row(1, "kéy", "secret")})
	require.Equal(t, "Struct{a=1,b=ké,v=***}", recs[0].Value.Field("after").String())
	f, _ := tab.Row.Field("b")
	require.Equal(t, "TEXT", f.Schema.Param("__debezium.source.column.type"))
	require.Equal(t, "7", f.Schema.Param("__debezium.source.column.length"))
	require.Equal(t, "2", f.Schema.Param("truncateLength"))
	f, _ = tab.Row.Field("v")
	require.Equal(t, "VARCHAR", f.Schema.Param("__debezium.source.column.type"))
	require.Equal(t, "true", f.Schema.Param("masked"))
	c = parse(t, map[string]string{"column.mask.hash.v2.SHA-256.with.salt.abc": "s.t.v"})
	_, recs = emit(c, Change{Table: testTable(t, c), Op: OpCreate, After: row(1, "k", "vn")})
	sum := sha256.Sum256([]byte("abcvn"))
	require.Equal(t, hex.EncodeToString(sum[:]), recs[0].Value.Field("after").Field("v").Str())
}

func TestMessageKeyColumnsReplaceTheKey(t *testing.T) {
	c := parse(t, map[string]string{"message.key.columns": "x.y:z;(.*)\\.T:v,A"})
	require.Equal(t, "a", testTable(t, c).Key.Fields()[0].Name)
	require.Len(t, testTable(t, c).Key.Fields(), 2)
}

func TestNamesThatCollideAfterAdjustmentAreRefused(t *testing.T) {
	c := parse(t, map[string]string{"field.name.adjustment.mode": "avro"})
	_, err := c.NewTable(TableDef{ID: TableID{Table: "t"}, SourceSchema: testSource, Columns: []Column{{Name: "a-b", Schema: data.Int8Schema}, {Name: "a_b", Schema: data.Int8Schema}}})
	require.ErrorContains(t, err, `columns "a-b" and "a_b" both become field "a_b"`)
}

func TestTransactionMetadata(t *testing.T) {
	c := parse(t, map[string]string{"provide.transaction.metadata": "true"})
	tx := c.NewTransactions()
	var a Arena
	recs := tx.Begin(nil, "7:100", 5)
	require.Equal(t, "Struct{id=7:100,total_order=1,data_collection_order=1}", tx.Event(&a, TableID{Schema: "s", Table: "a"}).String())
	require.Equal(t, "Struct{id=7:100,total_order=2,data_collection_order=1}", tx.Event(&a, TableID{Schema: "s", Table: "b"}).String())
	require.Equal(t, "Struct{id=7:100,total_order=3,data_collection_order=2}", tx.Event(&a, TableID{Schema: "s", Table: "a"}).String())
	recs = tx.End(recs, 6)
	require.Equal(t, "p.transaction", recs[0].Topic)
	require.Equal(t, "Struct{status=END,id=7:100,event_count=3,data_collections=[Struct{data_collection=s.a,event_count=2}, Struct{data_collection=s.b,event_count=1}],ts_ms=6}", recs[1].Value.String())
	require.Nil(t, parse(t, map[string]string{}).NewTransactions())
}

func recordsN(n int) []plugins.SourceRecord { return make([]plugins.SourceRecord, n) }

func TestQueueIsBoundedInRecordsAndBytes(t *testing.T) {
	ctx := context.Background()
	q := NewQueue(10, 1000)
	require.NoError(t, q.Put(ctx, recordsN(30), 5000), "a batch that is too large enters an empty queue")
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, q.Put(short, recordsN(1), 1), context.DeadlineExceeded)
	recs, err := q.Poll(ctx, 100, time.Second)
	require.NoError(t, err)
	require.Len(t, recs, 30)
	require.NoError(t, q.Put(ctx, recordsN(4), 400))
	require.NoError(t, q.Put(ctx, recordsN(4), 400))
	put := make(chan error, 1)
	go func() { put <- q.Put(ctx, recordsN(1), 400) }() // bytes
	recs, err = q.Poll(ctx, 4, time.Second)
	require.NoError(t, err)
	require.Len(t, recs, 4)
	require.NoError(t, <-put)
	recs, err = q.Poll(ctx, 100, time.Second)
	require.NoError(t, err)
	require.Len(t, recs, 5)
	n, b := q.Len()
	require.Zero(t, n)
	require.Zero(t, b)
}

func TestQueueFailsAfterItsRecords(t *testing.T) {
	ctx := context.Background()
	q := NewQueue(10, 1000)
	require.NoError(t, q.Put(ctx, recordsN(1), 1))
	q.Fail(errors.New("gone"))
	recs, err := q.Poll(ctx, 10, time.Second)
	require.NoError(t, err)
	require.Len(t, recs, 1)
	for range 2 {
		_, err = q.Poll(ctx, 10, time.Second)
		require.EqualError(t, err, "gone")
	}
	q = NewQueue(1, 1)
	recs, err = q.Poll(ctx, 10, time.Millisecond)
	require.NoError(t, err)
	require.Nil(t, recs)
	q.Close()
	require.Error(t, q.Put(ctx, recordsN(1), 1))
}

func TestMetricsHaveTheNamesOfDashboards(t *testing.T) {
	c := parse(t, map[string]string{})
	q := NewQueue(10, 1000)
	reg := prometheus.NewRegistry()
	m := c.NewMetrics(reg, "postgres", q)
	m.Handled(1000, 1500)
	m.Stats.Creates.Add(2)
	fams, err := reg.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, f := range fams {
		got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
	}
	require.InDelta(t, 500, got["debezium_metrics_MilliSecondsBehindSource"], 0)
	require.InDelta(t, 2, got["debezium_metrics_TotalNumberOfEventsSeen"], 0)
	require.Contains(t, got, "debezium_metrics_QueueRemainingCapacity")
	require.Contains(t, got, "debezium_metrics_SnapshotRunning")
	m.Unregister()
	c.NewMetrics(reg, "postgres", q).Unregister()
}

func TestHeartbeatRecord(t *testing.T) {
	r := parse(t, map[string]string{}).Heartbeat(time.UnixMilli(7))
	require.Equal(t, "__debezium-heartbeat.p", r.Topic)
	require.Equal(t, "Struct{serverName=p}", r.Key.String())
	require.Equal(t, "Struct{ts_ms=7}", r.Value.String())
}
