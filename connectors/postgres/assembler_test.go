package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins"
	"github.com/stretchr/testify/require"
)

// fixedRelations builds relations without a catalog.
type fixedRelations struct{ b *builder }

func (f fixedRelations) relation(m *relationMsg, before *relation) (*relation, error) {
	if !f.b.cfg.captures(m.schema, m.table) {
		return &relation{}, nil
	}
	var key []string
	cols := make([]columnInfo, len(m.columns))
	for i, c := range m.columns {
		cols[i] = columnInfo{name: c.name, typeOID: c.typeOID, typmod: c.typmod, notNull: c.key}
		if c.key {
			key = append(key, c.name)
		}
	}
	r, err := f.b.build(cdc.TableID{Schema: m.schema, Table: m.table}, cols, key)
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

func builtinTypes() typeRegistry {
	r := typeRegistry{byOID: map[uint32]*pgType{}}
	for oid, name := range map[uint32]string{oidInt4: "int4", oidInt8: "int8", oidInt2: "int2", oidText: "text", oidVarchar: "varchar", oidBool: "bool", oidNumeric: "numeric",
		oidTimestamp: "timestamp", oidTimestamptz: "timestamptz", oidDate: "date", oidFloat8: "float8", oidUUID: "uuid", oidJSONB: "jsonb"} {
		r.byOID[oid] = &pgType{oid: oid, name: name, kind: 'b', delim: ','}
	}
	return r
}

func testAssembler(t testing.TB, kv ...string) *assembler {
	t.Helper()
	raw := map[string]string{"database.hostname": "h", "database.user": "u", "database.dbname": "d", "topic.prefix": "p"}
	for i := 0; i < len(kv); i += 2 {
		raw[kv[i]] = kv[i+1]
	}
	v, err := Def().Parse(raw)
	require.NoError(t, err)
	cfg, err := parseConfig(v)
	require.NoError(t, err)
	stats := &cdc.Stats{}
	b := newBuilder(context.Background(), &catalog{cfg: cfg, types: builtinTypes()}, slog.New(slog.DiscardHandler))
	return newAssembler(cfg, cfg.NewEmitter(0, "run", stats), stats, fixedRelations{b})
}

// feed hands messages over: each is a pair of LSN and bytes.
func feed(t testing.TB, a *assembler, msgs ...any) {
	t.Helper()
	var m message
	for i := 0; i < len(msgs); i += 2 {
		b := msgs[i+1].([]byte)
		require.NoError(t, decode(b, &m))
		require.NoError(t, a.handle(&m, uint64(msgs[i].(int)), time.Now().UnixNano(), len(b)))
	}
}

var idText = []relColumn{{true, "id", oidInt4, -1}, {false, "v", oidText, -1}}

func insert(rel uint32, v ...any) []byte { return wireMsg(msgInsert).u32(rel).u8('N').tuple(v...).b }

// lines renders records with their positions.
func lines(recs []plugins.SourceRecord) (out []string) {
	for _, r := range recs {
		op := r.Value.Field("op").Str()
		if r.Value.IsNull() {
			op = "tombstone"
		}
		key := strings.TrimPrefix(r.Key.String(), "Struct")
		pos := "none"
		if o, ok := r.SourceOffset.(*offset); ok {
			pos = fmt.Sprintf("%d/%d+%d", o.lsnCommit, o.lsn, o.events)
		}
		out = append(out, fmt.Sprintf("%s %s %s", op, key, pos))
	}
	return out
}

func TestTheLastChangeOfATransactionCarriesItsEnd(t *testing.T) {
	a := testAssembler(t)
	feed(t, a, 100, begin(130, 7), 0, relationOf(1, "s", "t", 'd', idText...), 100, insert(1, "1", "a"))
	recs, _ := a.out.Take()
	require.Empty(t, recs, "the only change is held back: it may be the last")
	feed(t, a, 110, insert(1, "2", "b"), 110, insert(1, "3", "c"))
	recs, _ = a.out.Take()
	require.Equal(t, []string{"c {id=1} 0/100+1", "c {id=2} 0/110+1"}, lines(recs))
	feed(t, a, 130, commit(130, 140))
	recs, _ = a.out.Take()
	require.Equal(t, []string{"c {id=3} 140/140+0"}, lines(recs))
	require.Nil(t, a.position(), "the position is that of the last record")
	a.idle(150)
	require.Equal(t, uint64(150), a.position().lsnCommit)
}

func TestAKeyChangeMovesThePositionOnlyWithItsLastRecord(t *testing.T) {
	a := testAssembler(t)
	feed(t, a, 100, begin(130, 7), 0, relationOf(1, "s", "t", 'd', idText...), 100, insert(1, "1", "a"),
		110, wireMsg(msgUpdate).u32(1).u8('K').tuple("1", nil).u8('N').tuple("2", "a").b, 120, wireMsg(msgDelete).u32(1).u8('K').tuple("2", nil).b, 130, commit(130, 140))
	recs, _ := a.out.Take()
	require.Equal(t, []string{
		"c {id=1} 0/100+1",
		"d {id=1} 0/100+1", "tombstone {id=1} 0/100+1", "c {id=2} 0/110+1",
		"d {id=2} 0/110+1", "tombstone {id=2} 140/140+0",
	}, lines(recs))
	require.Equal(t, "__debezium.newkey", recs[1].Headers[0].Key)
	require.Equal(t, "__debezium.oldkey", recs[3].Headers[0].Key)
}

func TestAResumptionInsideATransactionPassesOverWhatWasHandled(t *testing.T) {
	msgs := []any{100, begin(130, 7), 0, relationOf(1, "s", "t", 'd', idText...), 100, insert(1, "1", "a"), 110, insert(1, "2", "b"), 110, insert(1, "3", "c"), 120, insert(1, "4", "d"), 130, commit(130, 140)}
	whole := testAssembler(t)
	feed(t, whole, msgs...)
	all, _ := whole.out.Take()
	require.Len(t, all, 4)
	for i := range all {
		o, err := readOffset(all[i].SourceOffset.OffsetMap())
		require.NoError(t, err)
		a := testAssembler(t)
		from := a.resume(o)
		if i == 3 {
			require.Equal(t, uint64(140), from, "the transaction is not delivered again")
			continue
		}
		require.Equal(t, uint64(0), from)
		feed(t, a, msgs...)
		recs, _ := a.out.Take()
		require.Equal(t, lines(all[i+1:]), lines(recs), "resumed after record %d", i)
	}
}

func TestABrokenStreamGoesOnWhereItWas(t *testing.T) {
	a := testAssembler(t, "provide.transaction.metadata", "true")
	rel := relationOf(1, "s", "t", 'd', idText...)
	feed(t, a, 90, begin(95, 6), 0, rel, 90, insert(1, "0", "z"), 95, commit(95, 99))
	feed(t, a, 100, begin(130, 7), 100, insert(1, "1", "a"), 110, insert(1, "2", "b"))
	first, _ := a.out.Take()
	require.Equal(t, uint64(99), a.restart(200))
	feed(t, a, 100, begin(130, 7), 0, rel, 100, insert(1, "1", "a"), 110, insert(1, "2", "b"), 110, insert(1, "3", "c"), 130, commit(130, 140))
	rest, _ := a.out.Take()
	all := append(first, rest...)
	var got []string
	for _, r := range all {
		if r.Topic == "p.transaction" {
			got = append(got, r.Value.Field("status").Str()+" "+r.Value.Field("event_count").String())
			continue
		}
		got = append(got, r.Key.Field("id").String()+" "+r.Value.Field("transaction").Field("total_order").String())
	}
	require.Equal(t, []string{"BEGIN null", "0 1", "END 1", "BEGIN null", "1 1", "2 2", "3 3", "END 3"}, got)
}

func TestAQuietServerDoesNotMakeAResumptionForgetWhereItIs(t *testing.T) {
	rel := relationOf(1, "s", "t", 'd', idText...)
	stored := &offset{lsnCommit: 90, lsn: 100, events: 1, xid: 7}
	a := testAssembler(t)
	a.resume(stored)
	require.Equal(t, uint64(90), a.restart(135))
	a.idle(95) // the server has read on, not yet up to the commit
	require.Nil(t, a.position())
	feed(t, a, 92, wireMsg(msgMessage).u8(0).u64(92).str("p").u32(0).b) // outside of transactions
	feed(t, a, 100, begin(130, 7), 0, rel, 100, insert(1, "1", "a"), 110, insert(1, "2", "b"), 130, commit(130, 140))
	recs, _ := a.out.Take()
	require.Equal(t, []string{"m {prefix=p} 90/100+1", "c {id=2} 140/140+0"}, lines(recs))
	// One that never comes, as what is published changed, does not hold up the position for ever.
	a = testAssembler(t)
	a.resume(stored)
	a.restart(135)
	a.idle(135)
	require.Equal(t, uint64(135), a.position().lsnCommit)
	a = testAssembler(t)
	a.resume(stored)
	a.restart(135)
	feed(t, a, 96, begin(98, 6), 98, commit(98, 99)) // an empty one, as servers before 15 send
	require.NotNil(t, a.skip)
	feed(t, a, 100, begin(130, 8), 0, rel, 100, insert(1, "1", "a"), 130, commit(130, 140))
	require.Nil(t, a.skip)
}

func TestTransactionsOfOtherTablesMoveThePositionWithoutRecords(t *testing.T) {
	a := testAssembler(t, "table.include.list", "s.t")
	feed(t, a, 100, begin(130, 7), 0, relationOf(1, "s", "other", 'd', idText...), 100, insert(1, "1", "a"), 130, commit(130, 140))
	recs, _ := a.out.Take()
	require.Empty(t, recs)
	require.Equal(t, uint64(140), a.position().lsnCommit)
}

func TestChangesThatCannotBeConverted(t *testing.T) {
	bad := []any{100, begin(130, 7), 0, relationOf(1, "s", "t", 'd', idText...), 100, insert(1, "x", "a")}
	a := testAssembler(t)
	var m message
	for i := 0; i < len(bad); i += 2 {
		require.NoError(t, decode(bad[i+1].([]byte), &m))
		err := a.handle(&m, uint64(bad[i].(int)), 0, 0)
		if m.kind == msgInsert {
			require.ErrorContains(t, err, `table s.t, column id: number "x" is malformed`)
		}
	}
	a = testAssembler(t)
	a.onError = func(error) error { return nil }
	feed(t, a, append(bad, 110, insert(1, "2", "b"), 130, commit(130, 140))...)
	recs, _ := a.out.Take()
	require.Equal(t, []string{"c {id=2} 140/140+0"}, lines(recs))
	require.Equal(t, int64(1), a.stats.Erroneous.Load())
}

func TestSchemasAreSharedUntilTheyChange(t *testing.T) {
	a := testAssembler(t)
	rel := relationOf(1, "s", "t", 'd', idText...)
	feed(t, a, 100, begin(130, 7), 0, rel, 100, insert(1, "1", "a"), 0, rel, 110, insert(1, "2", "a"),
		0, relationOf(1, "s", "t", 'd', append(idText[:2:2], relColumn{false, "w", oidInt8, -1})...), 120, insert(1, "3", "a", "9"), 130, commit(130, 140))
	recs, _ := a.out.Take()
	require.Same(t, recs[0].ValueSchema, recs[1].ValueSchema)
	require.NotSame(t, recs[1].ValueSchema, recs[2].ValueSchema)
	require.Equal(t, int64(9), recs[2].Value.Field("after").Field("w").Int())
}

func TestOffsetsAreReadFromBothKinds(t *testing.T) {
	o, err := readOffset(map[string]any{"lsn_proc": int64(41460512), "messageType": "INSERT", "lsn_commit": float64(41460000), "lsn": "41460576", "txId": int64(930), "ts_usec": int64(5)})
	require.NoError(t, err)
	require.Equal(t, &offset{lsnCommit: 41460000, lsn: 41460512, xid: 930, micros: 5, kind: "INSERT"}, o)
	o, err = readOffset(map[string]any{"last_snapshot_record": true, "lsn": int64(41292320), "txId": int64(868), "ts_usec": int64(1), "snapshot": "INITIAL", "snapshot_completed": true})
	require.NoError(t, err)
	require.True(t, o.snapshotCompleted)
	require.Equal(t, uint64(41292320), o.lsnCommit)
	o, err = readOffset(map[string]any{"lsn": int64(5), "snapshot": "INITIAL", "last_snapshot_record": false})
	require.NoError(t, err)
	require.False(t, o.snapshotCompleted)
	o, err = readOffset(nil)
	require.NoError(t, err)
	require.Nil(t, o)
	_, err = readOffset(map[string]any{"pos": 1})
	require.ErrorContains(t, err, "neither lsn nor lsn_proc")
	_, err = readOffset(map[string]any{"lsn": "x"})
	require.ErrorContains(t, err, "lsn")
	for _, o := range []*offset{{lsnCommit: 1, lsn: 2, events: 3, xid: 4, micros: 5, kind: "UPDATE"}, {lsnCommit: 9, lsn: 9, kind: "COMMIT"}, {lsnCommit: 9, lsn: 9, snapshot: "INITIAL", snapshotCompleted: true}} {
		back, err := readOffset(o.OffsetMap())
		require.NoError(t, err)
		require.Equal(t, o, back)
	}
}

var wide = []relColumn{{true, "id", oidInt8, -1}, {false, "name", oidText, -1}, {false, "city", oidText, -1}, {false, "amount", oidNumeric, (12<<16 | 2) + 4}, {false, "active", oidBool, -1},
	{false, "created", oidTimestamp, -1}, {false, "updated", oidTimestamptz, -1}, {false, "day", oidDate, -1}, {false, "score", oidFloat8, -1}, {false, "note", oidVarchar, 54}}

// BenchmarkDecodeInsert measures what one inserted row of ten mixed columns costs from the bytes of the stream to the record.
func BenchmarkDecodeInsert(b *testing.B) {
	a := testAssembler(b)
	feed(b, a, 100, begin(130, 7), 0, relationOf(1, "s", "t", 'd', wide...))
	row := insert(1, "1234567", "a name of usual length", "Prague", "12345.67", "t", "2024-02-29 12:34:56.789012", "2024-02-29 12:34:56.789012+00", "2024-02-29", "3.14159", "a note that says something")
	var m message
	b.ReportAllocs()
	b.SetBytes(int64(len(row)))
	lsn := uint64(1000)
	for b.Loop() {
		lsn += 8
		if err := decode(row, &m); err != nil {
			b.Fatal(err)
		}
		if err := a.handle(&m, lsn, 1, len(row)); err != nil {
			b.Fatal(err)
		}
		if len(a.out.Records) >= cdc.ChunkRecords {
			a.out.Take()
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkDecodeMessage measures the protocol decoder alone.
func BenchmarkDecodeMessage(b *testing.B) {
	row := insert(1, "1234567", "a name of usual length", "Prague", "12345.67", "t", "2024-02-29 12:34:56.789012", "2024-02-29 12:34:56.789012+00", "2024-02-29", "3.14159", "a note that says something")
	var m message
	b.ReportAllocs()
	for b.Loop() {
		if err := decode(row, &m); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeCopyRow measures a snapshot's row.
func BenchmarkDecodeCopyRow(b *testing.B) {
	a := testAssembler(b)
	feed(b, a, 100, begin(130, 7), 0, relationOf(1, "s", "t", 'd', wide...))
	r := a.cfg.NewRunner(plugins.Env{}, "postgres")
	s := &snapshot{cfg: a.cfg, runner: r, partition: a.partition, rel: a.rels[1], ctx: context.Background(),
		out: r.NewSnapshot(context.Background(), a.partition, &offset{}, 1)}
	s.out.BeginTable()
	line := []byte("1234567\ta name of usual length\tPrague\t12345.67\tt\t2024-02-29 12:34:56.789012\t2024-02-29 12:34:56.789012+00\t2024-02-29\t3.14159\ta note that says something\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Write(line); err != nil {
			b.Fatal(err)
		}
		if n, _ := r.Queue.Len(); n > 4096 {
			_, _ = r.Queue.Poll(context.Background(), 8192, 0)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// TestEveryCutOfTheStreamIsExact stops after each message, with what had gone out by then stored, and lets another assembler go on from
// the last position: together they hand over everything once. A transaction of the worker ends at such cuts.
func TestEveryCutOfTheStreamIsExact(t *testing.T) {
	rel := relationOf(1, "s", "t", 'd', idText...)
	msgs := []any{
		90, begin(95, 6), 0, rel, 90, insert(1, "0", "z"), 95, commit(95, 99),
		100, begin(130, 7), 100, insert(1, "1", "a"), 110, insert(1, "2", "b"), 110, insert(1, "3", "c"),
		115, wireMsg(msgUpdate).u32(1).u8('K').tuple("1", nil).u8('N').tuple("4", "a").b, 120, wireMsg(msgDelete).u32(1).u8('K').tuple("4", nil).b, 130, commit(130, 140),
		150, begin(155, 8), 155, commit(155, 160),
		170, begin(195, 9), 180, insert(1, "5", "a"), 195, commit(195, 199),
	}
	render := func(recs []plugins.SourceRecord) (out []string) {
		for _, r := range recs {
			if r.Topic != "" {
				out = append(out, r.Topic+" "+r.Key.String()+" "+r.Value.Field("op").String()+r.Value.Field("status").String())
			}
		}
		return out
	}
	for _, metadata := range []string{"false", "true"} {
		whole := testAssembler(t, "provide.transaction.metadata", metadata)
		feed(t, whole, msgs...)
		all, _ := whole.out.Take()
		want := render(all)
		for cut := 0; cut <= len(msgs); cut += 2 {
			first := testAssembler(t, "provide.transaction.metadata", metadata)
			feed(t, first, msgs[:cut]...)
			out, _ := first.out.Take()
			var pos *offset
			for _, r := range out {
				if o, ok := r.SourceOffset.(*offset); ok {
					pos = o
				}
			}
			if pos != nil {
				var err error
				pos, err = readOffset(pos.OffsetMap())
				require.NoError(t, err)
			}
			second := testAssembler(t, "provide.transaction.metadata", metadata)
			from := int(second.resume(pos))
			at := 0
			for at < len(msgs) && from > 0 { // the server sends what was committed after from
				end := at
				for msgs[end+1].([]byte)[0] != msgCommit {
					end += 2
				}
				if msgs[end].(int) >= from {
					break
				}
				at = end + 2
			}
			feed(t, second, 0, rel)
			feed(t, second, msgs[at:]...)
			rest, _ := second.out.Take()
			require.Equal(t, want, append(render(out), render(rest)...), "cut after message %d, metadata %s", cut/2, metadata)
		}
	}
}
