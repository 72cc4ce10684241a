package mysql

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins"
)

func lenenc(b []byte) []byte { return append([]byte{byte(len(b))}, b...) }

// mapEvent makes a table map event of table d.t (id INT NOT NULL PRIMARY KEY, name VARCHAR(20) utf8mb4, n DECIMAL(10,2), u BIGINT UNSIGNED).
func mapEvent(table uint64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, table)[:6]
	b = append(b, 1, 0)
	b = append(append(b, lenenc([]byte("d"))...), 0)
	b = append(append(b, lenenc([]byte("t"))...), 0)
	b = append(b, 4, mysql.MYSQL_TYPE_LONG, mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_NEWDECIMAL, mysql.MYSQL_TYPE_LONGLONG)
	b = append(b, 4, 80, 0, 10, 2)
	b = append(b, 0b1110)
	b = append(b, metaSignedness, 1, 0b00100000)
	b = append(b, metaDefaultCharset, 1, 45)
	b = append(b, metaNames, 12, 2, 'i', 'd', 4, 'n', 'a', 'm', 'e', 1, 'n', 1, 'u')
	return append(b, metaKey, 1, 0)
}

func rowImage(id int32, name string, n string, u uint64) []byte {
	b := []byte{0}
	b = binary.LittleEndian.AppendUint32(b, uint32(id))
	b = append(b, lenenc([]byte(name))...)
	d, _ := hex.DecodeString(n)
	b = append(b, d...)
	return binary.LittleEndian.AppendUint64(b, u)
}

func rowsBody(table uint64, rows ...[]byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, table)[:6]
	b = append(b, 1, 0, 2, 0, 4, 0xff)
	for _, r := range rows {
		b = append(b, r...)
	}
	return b
}

func queryBody(sql string) []byte {
	b := []byte{7, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'd', 0}
	return append(b, sql...)
}

func gtidBody(gno uint64) []byte {
	b := append([]byte{0}, make([]byte, 16)...)
	b[1] = 0xaa
	return binary.LittleEndian.AppendUint64(b, gno)
}

// noCatalog knows collations and nothing of tables.
type noCatalog struct{}

func (noCatalog) name(uint64) string                    { return "utf8mb4" }
func (noCatalog) decoder(string) (decoder, error)       { return nil, nil }
func (noCatalog) table(cdc.TableID) (*tableInfo, error) { return nil, nil }

func testAssembler(t testing.TB, kv ...string) *assembler {
	raw := map[string]string{"database.hostname": "h", "database.user": "u", "database.server.id": "5", "topic.prefix": "p"}
	for i := 0; i < len(kv); i += 2 {
		raw[kv[i]] = kv[i+1]
	}
	v, err := Def(false).Parse(raw)
	require.NoError(t, err)
	cfg, err := parseConfig(v, false)
	require.NoError(t, err)
	stats := &cdc.Stats{}
	a := newAssembler(cfg, cfg.NewEmitter(0, "run", stats), stats)
	a.source = newBuilder(cfg, noCatalog{}, slog.New(slog.DiscardHandler))
	return a
}

// transaction is the events of one transaction of two rows events.
func transaction(pos uint64, gno uint64) []*binlogEvent {
	row := func(id int32) []byte { return rowImage(id, "né", "8000000c22", math.MaxUint64) } // 12.34
	var out []*binlogEvent
	add := func(typ replication.EventType, body []byte) {
		out = append(out, &binlogEvent{typ: typ, seconds: 1000, serverID: 1, start: pos, end: pos + 100, body: body})
		pos += 100
	}
	add(replication.GTID_EVENT, gtidBody(gno))
	add(replication.QUERY_EVENT, queryBody("BEGIN"))
	add(replication.TABLE_MAP_EVENT, mapEvent(9))
	add(replication.WRITE_ROWS_EVENTv2, rowsBody(9, row(1), row(2), row(3)))
	add(replication.WRITE_ROWS_EVENTv2, rowsBody(9, row(4)))
	add(replication.XID_EVENT, make([]byte, 8))
	return out
}

func gtidsOf(t testing.TB, s string) *gtids {
	g, err := parseGTIDs("mysql", s)
	require.NoError(t, err)
	return g
}

const sid = "aa000000-0000-0000-0000-000000000000"

func TestATransactionBecomesRecordsWithPositions(t *testing.T) {
	a := testAssembler(t)
	a.resume(&offset{file: "f", pos: 100, gtids: gtidsOf(t, sid+":1-4")}, true)
	for _, e := range transaction(100, 5) {
		require.NoError(t, a.handle(e, 0))
	}
	recs, _ := a.out.Take()
	require.Len(t, recs, 4)
	require.Equal(t, "Struct{id=1,name=né,n=0x04d2,u=-1}", recs[0].Value.Field("after").String())
	var at []any
	for _, r := range recs {
		m := r.SourceOffset.OffsetMap()
		at = append(at, []any{m["pos"], m["gtids"], m["event"], m["row"]})
	}
	require.Equal(t, []any{
		[]any{int64(100), sid + ":1-4", int64(2), int64(1)}, []any{int64(100), sid + ":1-4", int64(2), int64(2)},
		[]any{int64(100), sid + ":1-4", int64(2), int64(3)}, []any{int64(700), sid + ":1-5", nil, nil},
	}, at)
}

func TestEveryPositionResumesRightBehindIt(t *testing.T) {
	for cut := range 4 {
		a := testAssembler(t)
		a.resume(&offset{file: "f", pos: 100, gtids: gtidsOf(t, sid+":1-4")}, true)
		for _, e := range transaction(100, 5) {
			require.NoError(t, a.handle(e, 0))
		}
		recs, _ := a.out.Take()
		stored, err := readOffset(recs[cut].SourceOffset.OffsetMap())
		require.NoError(t, err)
		stored.gtids = gtidsOf(t, stored.gtidText)
		b := testAssembler(t)
		b.resume(stored, true)
		from := b.restart()
		events := append(transaction(100, 5), transaction(700, 6)...)
		if from.pos == 700 {
			events = events[6:]
		}
		for _, e := range events {
			require.NoError(t, b.handle(e, 0))
		}
		rest, _ := b.out.Take()
		require.Len(t, rest, 3-cut+4, "behind record %d", cut)
	}
}

func TestAStreamThatBreaksAnywhereGoesOnRightThere(t *testing.T) {
	for cut := range 7 {
		a := testAssembler(t)
		a.resume(&offset{file: "f", pos: 100, gtids: gtidsOf(t, sid+":1-4")}, true)
		var all []plugins.SourceRecord
		for i, e := range transaction(100, 5) {
			if i == cut {
				break
			}
			require.NoError(t, a.handle(e, 0))
		}
		from := a.restart()
		events := transaction(100, 5)
		if from.pos == 700 {
			events = nil
		}
		for _, e := range events {
			require.NoError(t, a.handle(e, 0))
		}
		recs, _ := a.out.Take()
		all = append(all, recs...)
		require.Len(t, all, 4)
		for i, r := range all {
			require.EqualValues(t, i+1, r.Key.Field("id").Int())
		}
	}
}

func TestACompressedTransactionIsReadLikeOthers(t *testing.T) {
	var plain []byte
	events := transaction(100, 5)
	for _, e := range events[1:] {
		h := make([]byte, replication.EventHeaderSize)
		binary.LittleEndian.PutUint32(h, e.seconds)
		h[4] = byte(e.typ)
		binary.LittleEndian.PutUint32(h[5:], e.serverID)
		binary.LittleEndian.PutUint32(h[9:], uint32(len(h)+len(e.body)))
		plain = append(append(plain, h...), e.body...)
	}
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	body := []byte{replication.OTW_PAYLOAD_COMPRESSION_TYPE_FIELD, 1, 0, 0}
	body = append(body, enc.EncodeAll(plain, nil)...)
	for _, stop := range []bool{false, true} {
		a := testAssembler(t)
		o := &offset{file: "f", pos: 100, gtids: gtidsOf(t, sid+":1-4")}
		if stop {
			o.event, o.row = 2, 2
		}
		a.resume(o, true)
		require.NoError(t, a.handle(events[0], 0))
		require.NoError(t, a.handle(&binlogEvent{typ: replication.TRANSACTION_PAYLOAD_EVENT, start: 200, end: 300, body: body}, 0))
		recs, _ := a.out.Take()
		if stop {
			require.Len(t, recs, 2)
		} else {
			require.Len(t, recs, 4)
		}
		require.EqualValues(t, 300, recs[len(recs)-1].SourceOffset.OffsetMap()["pos"])
	}
	require.Error(t, decodePayload(body[:len(body)-3], func(replication.EventType, []byte, []byte) error { return nil }))
	require.ErrorContains(t, decodePayload([]byte{2, 1, 9, 0}, nil), "unknown algorithm 9")
}

func TestPartialUpdatesAreRefused(t *testing.T) {
	_, err := decodeRows(replication.PARTIAL_UPDATE_ROWS_EVENT, nil)
	require.ErrorContains(t, err, "binlog_row_value_options=''")
}

func TestTaggedGTIDs(t *testing.T) {
	g := gtidsOf(t, sid+":1-4")
	g = g.add(&gtidEvent{sid: [16]byte{0xaa}, gno: 5}, 1).add(&gtidEvent{sid: [16]byte{0xaa}, gno: 6}, 1)
	require.Equal(t, sid+":1-6", g.String())
	h := g.add(&gtidEvent{sid: [16]byte{0xaa}, gno: 1, tag: "blue"}, 1)
	require.Equal(t, sid+":1-6:blue:1", h.String())
	require.Equal(t, sid+":1-6", g.String(), "the old set is as it was")
	require.Equal(t, sid+":1-6:blue:1-2", h.add(&gtidEvent{sid: [16]byte{0xaa}, gno: 2, tag: "blue"}, 1).String())
	require.Equal(t, sid+":1-6:9", g.add(&gtidEvent{sid: [16]byte{0xaa}, gno: 9}, 1).String())
	m, err := parseGTIDs("mariadb", "0-1-10,1-2-5")
	require.NoError(t, err)
	require.Equal(t, "0-3-11,1-2-5", m.add(&gtidEvent{domain: 0, sequence: 11}, 3).String())
	require.Equal(t, "0-1-10,1-2-5", m.String())
}

func TestStoredOffsets(t *testing.T) {
	o, err := readOffset(map[string]any{"ts_sec": int64(5), "file": "b.1", "pos": float64(7), "gtids": "x:1", "row": int64(1), "server_id": int64(3), "event": "2"})
	require.NoError(t, err)
	require.Equal(t, &offset{seconds: 5, file: "b.1", pos: 7, gtidText: "x:1", row: 1, serverID: 3, event: 2}, o)
	require.Equal(t, map[string]any{"ts_sec": int64(5), "file": "b.1", "pos": int64(7), "gtids": "x:1", "row": int64(1), "server_id": int64(3), "event": int64(2)}, o.OffsetMap())
	o, err = readOffset(map[string]any{"file": "b.1", "pos": int64(7), "snapshot": "INITIAL", "snapshot_completed": false})
	require.NoError(t, err)
	require.True(t, o.snapshot)
	o, err = readOffset(nil)
	require.NoError(t, err)
	require.Nil(t, o)
	for _, bad := range []map[string]any{{"pos": int64(7)}, {"file": "f", "pos": "x"}, {"file": "f", "pos": int64(-1)}, {"file": "f", "event": 1.5}} {
		_, err = readOffset(bad)
		require.Error(t, err, bad)
	}
}

func TestStatements(t *testing.T) {
	for sql, want := range map[string]statementKind{
		"BEGIN": stmtBegin, "begin": stmtBegin, "START TRANSACTION": stmtBegin, "COMMIT": stmtCommit, "ROLLBACK": stmtRollback, "ROLLBACK TO `a`": stmtSavepoint,
		"SAVEPOINT x": stmtSavepoint, "XA START X'31',X'',1": stmtXAStart, "XA COMMIT X'31'": stmtXA, "INSERT INTO t VALUES (1)": stmtOther, "": stmtOther,
		"/* hi */ ALTER TABLE t ADD x int": stmtDDL, "CREATE TABLE `TEMPORARY` (a int)": stmtDDL, "CREATE TEMPORARY TABLE x (a int)": stmtOther, "-- c\ndrop table x": stmtDDL,
		"DROP /*!40005 TEMPORARY */ TABLE IF EXISTS `x`": stmtOther, "RENAME TABLE a TO b": stmtDDL, "# truncate t\nGRANT ALL": stmtOther, "CREATE USER x": stmtOther,
		"/*!": stmtOther, "/* ": stmtOther, "`BEGIN`": stmtOther,
	} {
		kind, _, _ := classify(sql)
		require.Equal(t, want, kind, sql)
	}
	for sql, want := range map[string]string{"TRUNCATE t": ".t", "truncate TABLE a.b": "a.b", "TRUNCATE TABLE `a``x`.`table`": "a`x.table", "TRUNCATE /* x */ TABLE `a` . b": "a.b", "TRUNCATE `table`": ".table"} {
		kind, schema, table := classify(sql)
		require.Equal(t, stmtTruncate, kind)
		require.Equal(t, want, schema+"."+table, sql)
	}
}

func TestDecimals(t *testing.T) {
	for _, c := range []struct {
		hex  string
		p, s int
		want string
	}{
		{"8000000c22", 10, 2, "12.34"}, {"7ffffff3dd", 10, 2, "-12.34"}, {"8000000000", 10, 2, "0.00"}, {"810dfb38d204d2", 14, 4, "1234567890.1234"},
		{"7ef204c72dfb2d", 14, 4, "-1234567890.1234"}, {"80", 1, 0, "0"}, {"7f0a", 3, 0, "-245"}, {"8007", 3, 0, "7"},
	} {
		b, err := hex.DecodeString(c.hex)
		require.NoError(t, err)
		require.Len(t, b, decimalSize(c.p, c.s))
		require.Equal(t, c.want, string(appendDecimal(nil, b, c.p, c.s)))
		whole, frac, _ := strings.Cut(c.want, ".")
		n, _, _ := strings.Cut(c.want, "-")
		_ = n
		v := int64(0)
		neg := false
		for _, d := range whole + frac {
			if d == '-' {
				neg = true
				continue
			}
			v = v*10 + int64(d-'0')
		}
		if neg {
			v = -v
		}
		require.Equal(t, v, decimalInt64(b, c.p, c.s))
	}
}

func TestDoublesInJSON(t *testing.T) {
	for f, want := range map[float64]string{0: "0.0", 1: "1.0", -2.5: "-2.5", 1e14: "100000000000000.0", 1e15: "1e15", 1.5e20: "1.5e20", 1e100: "1e100", 1e-5: "0.00001", 1.25e-14: "0.0000000000000125", 1e-16: "1e-16", 123456.789: "123456.789"} {
		require.Equal(t, want, string(appendDouble(nil, f)))
	}
}

func TestHostileJSONIsRefused(t *testing.T) {
	for _, h := range []string{"00", "000100", "0001000c0000", "0201000700000000", "0c", "0cff", "0f", "0ff6", "ff", "05", "0403", "0b000000000000f07f"} {
		b, _ := hex.DecodeString(h)
		_, err := appendJSON(nil, b)
		require.Error(t, err, h)
	}
	// An array whose only element is the array itself, and ever wider ones.
	for _, h := range []string{"02010007000200000000", "020200100002000000020000000000000000"} {
		b, _ := hex.DecodeString(h)
		_, err := appendJSON(nil, b)
		require.Error(t, err)
	}
}

func TestErrorsNameTheRemedy(t *testing.T) {
	cfg := &config{serverID: 77, user: "me"}
	for message, want := range map[string]string{
		"A slave with the same server_uuid/server_id as this slave has connected to the master": "database.server.id=77",
		"Could not find first log file name in binary log index file":                           "snapshot.mode=when_needed",
		"Cannot replicate because the master purged required binary logs.":                      "snapshot.mode=when_needed",
	} {
		err := &mysql.MyError{Code: readingBinlog, Message: message}
		require.ErrorContains(t, explain(cfg, err), want)
		require.False(t, retriable(err))
	}
	require.ErrorContains(t, explain(cfg, &mysql.MyError{Code: mysql.ER_SPECIFIC_ACCESS_DENIED_ERROR}), `"me" needs`)
	require.True(t, retriable(mysql.ErrBadConn))
	require.True(t, retriable(&mysql.MyError{Code: mysql.ER_SERVER_SHUTDOWN}))
	require.False(t, retriable(errors.New("x")))
}

func FuzzEvents(f *testing.F) {
	for _, e := range transaction(100, 5) {
		f.Add(byte(e.typ), e.body)
	}
	f.Add(byte(replication.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1), rowsBody(9, []byte{1, 5}))
	f.Add(byte(replication.MARIADB_GTID_EVENT), make([]byte, 19))
	f.Add(byte(replication.GTID_TAGGED_LOG_EVENT), []byte{2, 0, 0})
	f.Add(byte(replication.TRANSACTION_PAYLOAD_EVENT), []byte{2, 1, 255, 0, 1, 2})
	f.Add(byte(replication.ROTATE_EVENT), []byte("\x04\x00\x00\x00\x00\x00\x00\x00binlog.1"))
	f.Add(byte(replication.QUERY_EVENT), queryBody("TRUNCATE TABLE `x`.y"))
	f.Add(byte(replication.ROWS_QUERY_EVENT), []byte("\x05select"))
	f.Fuzz(func(t *testing.T, typ byte, body []byte) {
		a := testAssembler(t, "skipped.operations", "none")
		a.resume(&offset{file: "f", pos: 100}, true)
		events := transaction(100, 5)
		for _, e := range events[:3] {
			if e.typ == replication.EventType(typ) {
				e.body = body
			}
			if a.handle(e, 0) != nil {
				return
			}
		}
		_ = a.handle(&binlogEvent{typ: replication.EventType(typ), start: 400, end: 500, body: body}, 0)
		_ = a.handle(events[3], 0)
		_ = a.handle(events[5], 0)
	})
}

// FuzzColumns reads a row image of a table whose columns the input chooses.
func FuzzColumns(f *testing.F) {
	f.Add([]byte{3, 8, 15, 246}, []byte{80, 0, 10, 2}, rowImage(1, "x", "8000000c22", 7))
	f.Add([]byte{245, 18, 19, 17, 16, 12}, []byte{4, 6, 3, 2, 1, 1}, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
	f.Add([]byte{254, 254, 252, 255, 242}, []byte{247, 1, 248, 1, 2, 4, 4}, []byte{0, 1, 3, 2, 0, 'a', 'b', 4, 0, 0, 0, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, types, meta, row []byte) {
		if len(types) > 60 || len(meta) > 200 {
			return
		}
		b := append([]byte{1, 'd', 0, 1, 't', 0, byte(len(types))}, types...)
		b = append(append(b, byte(len(meta))), meta...)
		b = append(b, make([]byte, (len(types)+7)/8)...)
		names := []byte{}
		for i := range types {
			names = append(names, 2, 'a'+byte(i/26), 'a'+byte(i%26))
		}
		b = append(append(b, metaNames, byte(len(names))), names...)
		b = append(b, metaEnumValues, 3, 1, 1, 'x', metaSetValues, 3, 1, 1, 'y')
		a := testAssembler(t)
		r, err := a.source.relation([]byte("d\x00t"), b)
		if err != nil {
			return
		}
		c := cursor{b: row}
		bits := make([]byte, (len(types)+7)/8)
		for i := range bits {
			bits[i] = 0xff
		}
		_, _ = r.image(&a.em.Arena, &c, bits, nil)
	})
}

func FuzzJSON(f *testing.F) {
	for _, h := range []string{"00010010000b000100050c00610162", "0202000e000500010005020000", "0f0c0103", "0b000000000000f03f", "0c03616263"} {
		b, _ := hex.DecodeString(h)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		out, _ := appendJSON(nil, b)
		if len(out) > 1<<20+64*len(b) {
			t.Fatalf("%d bytes became %d", len(b), len(out))
		}
	})
}

func FuzzStatement(f *testing.F) {
	f.Add("TRUNCATE TABLE `a``b`.c")
	f.Add("/*!50000 drop */ /* x */ table")
	f.Add("/*M! x*/")
	f.Fuzz(func(t *testing.T, s string) { classify(s) })
}

func BenchmarkRows(b *testing.B) {
	a := testAssembler(b)
	a.resume(&offset{file: "f", pos: 100}, true)
	events := transaction(100, 5)
	var rows [][]byte
	for i := range 100 {
		rows = append(rows, rowImage(int32(i), "somebody's name", "8000000c22", 77))
	}
	for _, e := range events[:3] {
		require.NoError(b, a.handle(e, 0))
	}
	e := &binlogEvent{typ: replication.WRITE_ROWS_EVENTv2, start: 400, end: 500, body: rowsBody(9, rows...)}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if err := a.handle(e, 0); err != nil {
			b.Fatal(err)
		}
		a.out.Take()
		n += 100
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
}
