package mysql

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/connectors/cdc/cdctest"
	"github.com/moldau-io/moldau/internal/servers"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

// after returns the rows of records but tombstones.
func after(recs []plugins.SourceRecord) (out []string) {
	for _, r := range recs {
		if !r.Value.IsNull() {
			out = append(out, r.Value.Field("after").String())
		}
	}
	return out
}

func rowSchema(r plugins.SourceRecord) *data.Schema {
	f, _ := r.ValueSchema.Field("after")
	return f.Schema
}

// TestALateReaderSeesEachRowAsItWas changes a table again and again while nobody reads, and reads everything afterwards: names, types and
// nullability must be those of the row's time.
func TestALateReaderSeesEachRowAsItWas(t *testing.T) {
	flavors(t, func(t *testing.T, srv *servers.MySQL) {
		d := newDatabase(t, srv)
		d.exec("CREATE TABLE t (id int PRIMARY KEY, a int, gone varchar(10) CHARACTER SET latin1)")
		r := d.start(nil)
		r.Streaming()
		d.exec("INSERT INTO t VALUES (0, 0, 'ä')")
		r.Count(1)
		stored := r.Stop()
		d.exec("INSERT INTO t VALUES (1, 10, 'é')")
		d.exec("ALTER TABLE t ADD COLUMN b enum('x','y') NOT NULL DEFAULT 'y' FIRST")
		d.exec("INSERT INTO t VALUES ('x', 2, 20, 'two')")
		d.exec("ALTER TABLE t DROP COLUMN gone, MODIFY a bigint unsigned NOT NULL")
		d.exec("INSERT INTO t VALUES ('y', 3, 18446744073709551615)")
		d.exec("UPDATE t SET id = 30 WHERE id = 3")
		d.exec("ALTER TABLE t CHANGE a c decimal(30,2), DROP PRIMARY KEY, ADD PRIMARY KEY (b, id)")
		d.exec("INSERT INTO t VALUES ('x', 4, 1.5)")
		d.exec("ALTER TABLE t MODIFY b enum('y','x','z')  NOT NULL")
		d.exec("INSERT INTO t VALUES ('z', 5, NULL)")
		d.exec("RENAME TABLE t TO u")
		d.exec("INSERT INTO u VALUES ('x', 6, 6)")
		d.exec("DROP TABLE u")
		d.exec("CREATE TABLE t (id int PRIMARY KEY, fresh text)")
		d.exec("INSERT INTO t VALUES (7, 'new')")
		r = d.start(stored)
		recs := r.Count(10)
		require.Equal(t, []string{
			"Struct{id=1,a=10,gone=é}", "Struct{b=x,id=2,a=20,gone=two}", "Struct{b=y,id=3,a=-1}", "null", "Struct{b=y,id=30,a=-1}",
			"Struct{b=x,id=4,c=0x0096}", "Struct{b=z,id=5,c=null}", "Struct{b=x,id=6,c=0x0258}", "Struct{id=7,fresh=new}",
		}, after(recs))
		require.Equal(t, "Struct{id=2}", recs[1].Key.String())
		require.Equal(t, "Struct{b=x,id=4}", recs[6].Key.String())
		f, _ := rowSchema(recs[2]).Field("a")
		require.Equal(t, data.TypeInt64, f.Schema.Type())
		require.False(t, f.Schema.Optional())
		f, _ = rowSchema(recs[6]).Field("c")
		require.Equal(t, "2", f.Schema.Param("scale"))
		f, _ = rowSchema(recs[7]).Field("b")
		require.Equal(t, "y,x,z", f.Schema.Param("allowed"))
	})
}

// TestSchemasStayTheSameObjectWhileTheTableIsTheSame holds what converters rely on for speed.
func TestSchemasStayTheSameObjectWhileTheTableIsTheSame(t *testing.T) {
	d := newDatabase(t, servers.TestMySQL(t))
	d.exec("CREATE TABLE t (id int PRIMARY KEY, a int)")
	r := d.start(nil)
	r.Streaming()
	d.exec("INSERT INTO t VALUES (1, 1)")
	d.exec("CREATE TABLE other (id int)")
	d.exec("INSERT INTO t VALUES (2, 1)")
	d.exec("ALTER TABLE t ADD COLUMN b int")
	d.exec("INSERT INTO t VALUES (3, 1, 1)")
	recs := r.Count(3)
	require.Same(t, recs[0].ValueSchema, recs[1].ValueSchema)
	require.NotSame(t, recs[0].ValueSchema, recs[2].ValueSchema)
}

func TestMinimalRowMetadataIsCompletedFromTheCatalog(t *testing.T) {
	flavors(t, func(t *testing.T, srv *servers.MySQL) {
		d := newDatabase(t, srv)
		d.exec("SET GLOBAL binlog_row_metadata = MINIMAL")
		defer d.exec("SET GLOBAL binlog_row_metadata = FULL")
		d.exec("CREATE TABLE t (b enum('x','y'), u int unsigned, l varchar(5) CHARACTER SET latin1, id int PRIMARY KEY, bin varbinary(5), p point, s set('m','n'))")
		r := d.start(nil)
		r.Streaming()
		d.exec("INSERT INTO t VALUES ('y', 4000000000, 'ä', 1, x'00ff', ST_GeomFromText('POINT(1 2)'), 'm,n')")
		recs := r.Count(1)
		require.Equal(t, "Struct{id=1}", recs[0].Key.String())
		require.Contains(t, after(recs)[0], "Struct{b=y,u=4000000000,l=ä,id=1,bin=0x00ff,p=Struct{x=1,y=2,")
		require.Contains(t, after(recs)[0], "s=m,n}")
		stored := r.Stop()
		d.exec("INSERT INTO t (id) VALUES (2)")
		d.exec("ALTER TABLE t DROP COLUMN u")
		r = d.start(stored)
		require.ErrorContains(t, r.Failure(), "binlog_row_metadata=FULL", "a row of a table that has changed since cannot be read")
	})
}

func TestUniqueKeysStandInForPrimaryKeys(t *testing.T) {
	d := newDatabase(t, servers.TestMySQL(t))
	d.exec("CREATE TABLE t (a int NOT NULL, b int, c int NOT NULL, UNIQUE KEY (b), UNIQUE KEY (c, a))")
	d.exec("INSERT INTO t VALUES (1, 2, 3)")
	r := d.start(nil)
	r.Count(1)
	r.Streaming()
	d.exec("INSERT INTO t VALUES (4, 5, 6)")
	recs := r.Count(2)
	require.Equal(t, "Struct{c=3,a=1}", recs[0].Key.String())
	require.Equal(t, "Struct{c=6,a=4}", recs[1].Key.String())
}

func TestSnapshotModes(t *testing.T) {
	flavors(t, func(t *testing.T, srv *servers.MySQL) {
		d := newDatabase(t, srv)
		d.exec("CREATE TABLE t (id int PRIMARY KEY)")
		d.exec("INSERT INTO t VALUES (1), (2)")
		poll := func(r *running, n int) {
			t.Helper()
			for range n {
				r.Add(r.Poll())
			}
		}
		t.Run("initial_only", func(t *testing.T) {
			r := d.start(nil, "snapshot.mode", "initial_only")
			r.Count(2)
			d.exec("INSERT INTO t VALUES (3)")
			poll(r, 10)
			require.Len(t, r.Records, 2)
			stored := r.Stop()
			r = d.start(stored)
			require.Equal(t, []string{"Struct{id=3}"}, after(r.Count(1)), "the stream goes on from the snapshot")
		})
		t.Run("no_data", func(t *testing.T) {
			r := d.start(nil, "snapshot.mode", "never")
			r.Streaming()
			d.exec("INSERT INTO t VALUES (4)")
			require.Equal(t, []string{"Struct{id=4}"}, after(r.Count(1)))
		})
		t.Run("always", func(t *testing.T) {
			r := d.start(nil, "snapshot.mode", "always")
			r.Count(4)
			r = d.start(r.Stop(), "snapshot.mode", "always")
			require.Equal(t, "r", r.Count(4)[3].Value.Field("op").Str())
		})
		t.Run("when_needed", func(t *testing.T) {
			r := d.start(nil, "snapshot.mode", "when_needed")
			r.Count(4)
			stored := r.Stop()
			r = d.start(stored, "snapshot.mode", "when_needed")
			r.Streaming()
			require.Empty(t, r.Records)
			_ = r.Stop()
			gone := map[string]any{"file": "binlog.000000", "pos": int64(4)}
			if srv.Flavor == "mariadb" {
				gone = map[string]any{"file": "mysqld-bin.999999", "pos": int64(400)}
			}
			r = d.start(gone, "snapshot.mode", "when_needed")
			r.Count(4)
			_ = r.Stop()
			r = d.start(gone)
			require.ErrorContains(t, r.Failure(), "snapshot.mode=when_needed")
		})
		t.Run("unfinished snapshots are begun again", func(t *testing.T) {
			r := d.start(nil)
			recs := r.Count(4)
			first := recs[0].SourceOffset.OffsetMap()
			require.Equal(t, "INITIAL", first["snapshot"])
			_ = r.Stop()
			r = d.start(first)
			require.Equal(t, "first", r.Count(4)[0].Value.Field("source").Field("snapshot").Str())
		})
	})
}

// TestTheSwitchFromSnapshotToStreamIsExact takes snapshots under load with each way to lock. Nothing may be missing or double, but for
// locking none, which may double.
func TestTheSwitchFromSnapshotToStreamIsExact(t *testing.T) {
	flavors(t, func(t *testing.T, srv *servers.MySQL) {
		for _, locking := range []string{"minimal", "extended", "tables"} {
			t.Run(locking, func(t *testing.T) {
				d := newDatabase(t, srv)
				d.exec("CREATE TABLE t (id int PRIMARY KEY, v int NOT NULL, pad text)")
				kv := []string{"snapshot.locking.mode", locking}
				if locking == "tables" { // a user without RELOAD
					user := "u" + d.name
					d.exec("CREATE USER " + user + "@'%' IDENTIFIED BY 'pw'")
					defer d.exec("DROP USER " + user)
					if _, err := d.conn.Execute("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO " + user + "@'%'"); denied(err) {
						t.Skip("the user given may not grant rights")
					}
					d.exec(fmt.Sprintf("GRANT SELECT, LOCK TABLES ON %s.* TO %s@'%%'", d.name, user))
					kv = []string{"database.user", user, "database.password", "pw"}
					if srv.Flavor == "mariadb" {
						kv = append(kv, "snapshot.locking.mode", "extended") // else it needs no locks at all
					}
				}
				stop := d.load(3, 7)
				defer stop()
				for range 5 {
					j := cdctest.NewJudge(t)
					r := d.start(nil, append(kv, "poll.interval.ms", "20")...)
					seen := 0
					r.Until("changes", func(recs []plugins.SourceRecord) bool {
						for ; seen < len(recs); seen++ {
							j.See(recs[seen])
						}
						return seen > 0 && recs[seen-1].Value.Field("op").Str() != "r" && seen > 400
					})
					require.NoError(t, r.task.Stop())
				}
			})
		}
	})
}

func TestTruncateAndTransactionMetadata(t *testing.T) {
	flavors(t, func(t *testing.T, srv *servers.MySQL) {
		d := newDatabase(t, srv)
		d.exec("CREATE TABLE t (id int PRIMARY KEY)")
		d.exec("CREATE TABLE k (id int PRIMARY KEY)")
		r := d.start(nil, "skipped.operations", "none", "provide.transaction.metadata", "true", "include.query", "true")
		r.Streaming()
		d.exec("SET SESSION binlog_format = 'ROW'")
		if srv.Flavor == "mysql" {
			d.exec("SET SESSION binlog_rows_query_log_events = ON")
		}
		d.exec("BEGIN")
		d.exec("INSERT INTO t VALUES (1), (2)")
		d.exec("INSERT INTO k VALUES (1)")
		d.exec("COMMIT")
		d.exec("TRUNCATE TABLE t")
		d.exec("truncate " + d.name + ".`k`")
		r.Until("the last truncate", func(recs []plugins.SourceRecord) bool {
			return len(recs) > 0 && recs[len(recs)-1].Topic == "p.transaction" && recs[len(recs)-1].Value.Field("status").Str() == "END" && countOps(recs, "t") == 2
		})
		var got []string
		for _, rec := range r.Records {
			v := rec.Value
			if s := v.Field("status"); !s.IsNull() {
				got = append(got, fmt.Sprint(s.Str(), " ", v.Field("event_count")))
				continue
			}
			tx := v.Field("transaction")
			got = append(got, fmt.Sprint(rec.Topic[len("p."+d.name)+1:], " ", v.Field("op").Str(), " ", tx.Field("total_order"), tx.Field("data_collection_order"), " ", v.Field("source").Field("query")))
		}
		require.Equal(t, []string{"BEGIN null", "t c 1 1 INSERT INTO t VALUES (1), (2)", "t c 2 2 INSERT INTO t VALUES (1), (2)", "k c 3 1 INSERT INTO k VALUES (1)", "END 3",
			"BEGIN null", "t t 1 1 null", "END 1", "BEGIN null", "k t 1 1 null", "END 1"}, got)
	})
}

func countOps(recs []plugins.SourceRecord, op string) (n int) {
	for _, r := range recs {
		if r.Value.Field("op").Str() == op {
			n++
		}
	}
	return n
}

func TestCompressedEventsAreRead(t *testing.T) {
	flavors(t, func(t *testing.T, srv *servers.MySQL) {
		d := newDatabase(t, srv)
		switch r, err := d.conn.Execute("SHOW VARIABLES WHERE Variable_name IN ('log_bin_compress', 'binlog_transaction_compression')"); {
		case err != nil:
			require.NoError(t, err)
		case r.RowNumber() == 0:
			t.Skip("this version does not compress")
		case srv.Flavor == "mariadb":
			d.exec("SET GLOBAL log_bin_compress = ON, GLOBAL log_bin_compress_min_len = 10")
			defer d.exec("SET GLOBAL log_bin_compress = OFF")
		default:
			d.exec("SET SESSION binlog_transaction_compression = ON")
		}
		d.exec("CREATE TABLE t (id int PRIMARY KEY, pad text)")
		r := d.start(nil, "skipped.operations", "none")
		r.Streaming()
		conn := dial(t, srv)
		defer conn.Close()
		for i := range 5 {
			d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, REPEAT('abc', 1000)), (%d, 'x')", 2*i, 2*i+1))
		}
		d.exec("UPDATE t SET pad = REPEAT('y', 500) WHERE id > 7")
		d.exec("DELETE FROM t WHERE id < 2")
		d.exec("TRUNCATE TABLE t")
		recs := r.Count(10 + 2 + 4 + 1)
		require.Len(t, recs[0].Value.Field("after").Field("pad").Str(), 3000)
		require.Len(t, recs[10].Value.Field("after").Field("pad").Str(), 500)
		// Begin again inside of a transaction.
		at := recs[2].SourceOffset.OffsetMap()
		require.EqualValues(t, 1, at["row"])
		_ = r.Stop()
		r = d.start(at, "skipped.operations", "none")
		require.EqualValues(t, 3, r.Count(14)[0].Key.Field("id").Int())
	})
}

func TestHeartbeatsMoveThePosition(t *testing.T) {
	d := newDatabase(t, servers.TestMySQL(t))
	d.exec("CREATE TABLE beat (n int)")
	r := d.start(nil, "heartbeat.interval.ms", "50", "heartbeat.action.query", "INSERT INTO "+d.name+".beat VALUES (1)", "table.exclude.list", d.name+".beat")
	r.Until("positions", func(recs []plugins.SourceRecord) bool { return len(recs) > 5 })
	require.Equal(t, "__debezium-heartbeat.p", r.Records[0].Topic)
	a, b := r.Records[1].SourceOffset.OffsetMap(), r.Records[5].SourceOffset.OffsetMap()
	require.NotEqual(t, a["gtids"], b["gtids"], "our own writes are not captured, but the position moves")
}

func TestValidateNamesTheKeyToBlame(t *testing.T) {
	my, maria := servers.TestMySQL(t), servers.TestMariaDB(t)
	d, e := newDatabase(t, my), newDatabase(t, maria)
	errors := func(mariadb bool, raw map[string]string) map[string][]string {
		t.Helper()
		v, res := Def(mariadb).Validate(raw)
		require.NoError(t, res.Err())
		(&Connector{mariadb: mariadb}).Validate(context.Background(), v, res)
		out := map[string][]string{}
		for _, x := range res.Values {
			if len(x.Errors) > 0 {
				out[x.Key.Name] = x.Errors
			}
		}
		return out
	}
	require.Empty(t, errors(false, d.config()))
	require.Empty(t, errors(true, e.config()))
	require.Contains(t, errors(false, d.config("database.password", "wrong")), "database.user")
	require.Contains(t, errors(false, d.config("database.port", "1")), "database.hostname")
	require.Contains(t, errors(false, d.config("database.server.id", "1"))["database.server.id"][0], "own id")
	require.Contains(t, errors(true, d.config())["database.hostname"][0], "connector.class="+Class)
	require.Contains(t, errors(false, e.config())["database.hostname"][0], "connector.class="+MariaDBClass)
	d.exec("SET GLOBAL binlog_row_image = MINIMAL")
	require.Contains(t, errors(false, d.config())["database.hostname"][0], "FULL binlog_row_image")
	d.exec("SET GLOBAL binlog_row_image = FULL, GLOBAL binlog_format = MIXED")
	require.Contains(t, errors(false, d.config())["database.hostname"][0], "ROW binlog_format")
	d.exec("SET GLOBAL binlog_format = ROW, GLOBAL binlog_row_value_options = PARTIAL_JSON")
	require.Contains(t, errors(false, d.config())["database.hostname"][0], "partial JSON")
	d.exec("SET GLOBAL binlog_row_value_options = ''")
	user := "v" + d.name
	d.exec("CREATE USER " + user + "@'%' IDENTIFIED BY 'pw'")
	defer d.exec("DROP USER " + user)
	require.Contains(t, errors(false, d.config("database.user", user, "database.password", "pw"))["database.user"][0], "REPLICATION CLIENT")
}

func TestKeysAreRefusedByName(t *testing.T) {
	raw := map[string]string{"database.hostname": "h", "database.user": "u", "database.server.id": "5", "topic.prefix": "p"}
	for key, value := range map[string]string{"include.schema.changes": "true", "gtid.source.includes": "x", "converters": "x", "include.schema.comments": "true",
		"time.precision.mode": "adaptive", "signal.data.collection": "x", "read.only": "true", "driver.x": "y", "snapshot.mode": "recovery", "database.server.id": "0"} {
		m := map[string]string{key: value}
		for k, v := range raw {
			if k != key {
				m[k] = v
			}
		}
		_, err := Def(false).Parse(m)
		require.ErrorContains(t, err, key, "%s=%s", key, value)
	}
	raw["schema.history.internal.kafka.topic"], raw["schema.history.internal"] = "x", "io.debezium.storage.kafka.history.KafkaSchemaHistory"
	raw["include.schema.changes"] = "false"
	_, err := Def(false).Parse(raw)
	require.NoError(t, err)
}
