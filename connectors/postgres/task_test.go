package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/stretchr/testify/require"
)

// ops renders records as "op key=after" without positions.
func ops(recs []plugins.SourceRecord) (out []string) {
	for _, r := range recs {
		switch {
		case r.Value.IsNull():
			out = append(out, "tombstone "+r.Key.String())
		default:
			out = append(out, r.Value.Field("op").Str()+" "+r.Value.Field("before").String()+" "+r.Value.Field("after").String())
		}
	}
	return out
}

// confirmed is the slot's confirmed position.
func (d *database) confirmed() uint64 {
	d.t.Helper()
	var s string
	require.NoError(d.t, d.conn.QueryRow(context.Background(), "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1", "slot_"+d.name).Scan(&s))
	lsn, err := parseLSN(s)
	require.NoError(d.t, err)
	return lsn
}

func TestTheSlotIsConfirmedOnlyUpToWhatIsDurable(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY, v text)")
	r := startTask(t, d.config("status.update.interval.ms", "50"), nil)
	r.Streaming()
	before := d.confirmed()
	d.exec("INSERT INTO a VALUES (1, 'x')")
	r.Count(1)
	time.Sleep(300 * time.Millisecond) // several reports
	require.Equal(t, before, d.confirmed(), "nothing is durable yet")
	r.Commit()
	end := r.Last.(*offset).lsnCommit
	require.Greater(t, end, before)
	require.Eventually(t, func() bool { return d.confirmed() >= end }, 5*time.Second, 20*time.Millisecond)
}

func TestThePositionMovesOnWhenOnlyOtherTablesChange(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	d.exec("CREATE TABLE other (id int)")
	r := startTask(t, d.config("status.update.interval.ms", "50", "table.include.list", "public.a", "publication.autocreate.mode", "filtered"), nil)
	r.Streaming()
	r.Commit()
	start := d.confirmed()
	d.exec("INSERT INTO other SELECT generate_series(1, 1000)")
	var now string
	require.NoError(t, d.conn.QueryRow(context.Background(), "SELECT pg_current_wal_lsn()::text").Scan(&now))
	lsn, err := parseLSN(now)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		recs, err := r.task.Poll(context.Background())
		require.NoError(t, err)
		for _, rec := range recs {
			require.Empty(t, rec.Topic, "a bare position")
			r.Last = rec.SourceOffset
		}
		r.Commit()
		return d.confirmed() >= lsn
	}, 10*time.Second, 20*time.Millisecond)
	require.Greater(t, d.confirmed(), start)
	// A change made while the task is down is not lost although the slot is far ahead of the last change.
	stored := r.Stop()
	d.exec("INSERT INTO a VALUES (1)")
	r = startTask(t, d.config("table.include.list", "public.a", "publication.autocreate.mode", "filtered"), stored)
	require.Equal(t, []string{"c null Struct{id=1}"}, ops(r.Count(1)))
}

func TestASlowLogDoesNotCostTheConnection(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY, v text)")
	d.exec("ALTER DATABASE " + d.name + " SET wal_sender_timeout = '1s'")
	r := startTask(t, d.config("max.queue.size", "10", "max.batch.size", "5"), nil)
	r.Streaming()
	pid := func() (n int) {
		_ = d.conn.QueryRow(context.Background(), "SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1", "slot_"+d.name).Scan(&n)
		return n
	}
	first := pid()
	require.NotZero(t, first)
	d.exec("INSERT INTO a SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) i")
	time.Sleep(3 * time.Second) // nobody polls for three times the server's patience
	n, _ := r.task.runner.Queue.Len()
	require.LessOrEqual(t, n, cdc.ChunkRecords, "the queue is bounded")
	require.Equal(t, first, pid())
	r.Count(20000)
	require.Equal(t, first, pid())
}

func TestSnapshotModes(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	d.exec("INSERT INTO a VALUES (1)")
	t.Run("initial_only", func(t *testing.T) {
		r := startTask(t, d.config("snapshot.mode", "initial_only"), nil)
		require.Equal(t, []string{"r null Struct{id=1}"}, ops(r.Count(1)))
		off := r.Stop()
		require.Equal(t, true, off["snapshot_completed"])
		var n int
		require.NoError(t, d.conn.QueryRow(context.Background(), "SELECT count(*) FROM pg_replication_slots WHERE database = $1", d.name).Scan(&n))
		require.Zero(t, n, "it needs no slot")
	})
	t.Run("never is no_data", func(t *testing.T) {
		r := startTask(t, d.config("snapshot.mode", "never"), nil)
		r.Streaming()
		d.exec("INSERT INTO a VALUES (2)")
		require.Equal(t, []string{"c null Struct{id=2}"}, ops(r.Count(1)))
		r.Stop()
	})
	t.Run("initial with a slot that exists", func(t *testing.T) {
		r := startTask(t, d.config(), nil)
		require.Equal(t, []string{"r null Struct{id=1}", "r null Struct{id=2}"}, ops(r.Count(2)))
		r.Streaming()
		d.exec("INSERT INTO a VALUES (3)")
		require.Equal(t, "c null Struct{id=3}", ops(r.Count(3))[2], "what the snapshot had is not streamed again")
		stored := r.Stop()
		r = startTask(t, d.config(), stored)
		r.Streaming()
		d.exec("INSERT INTO a VALUES (4)")
		require.Equal(t, []string{"c null Struct{id=4}"}, ops(r.Count(1)), "no second snapshot")
		stored = r.Stop()
		r = startTask(t, d.config("snapshot.mode", "always"), stored)
		require.Len(t, ops(r.Count(4)), 4)
		r.Stop()
	})
	t.Run("an unfinished snapshot begins again", func(t *testing.T) {
		r := startTask(t, d.config(), map[string]any{"lsn": int64(1), "snapshot": "INITIAL", "last_snapshot_record": false})
		require.Equal(t, "r null Struct{id=1}", ops(r.Count(4))[0])
		r.Stop()
	})
}

func TestAMissingOrMovedSlotIsToldAndNotPassedOver(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	d.exec("INSERT INTO a VALUES (1)")
	r := startTask(t, d.config("slot.drop.on.stop", "true"), nil)
	r.Count(1)
	stored := r.Stop()
	r = startTask(t, d.config(), stored)
	require.ErrorContains(t, r.Failure(), "does not exist although changes up to")
	_ = r.task.Stop()
	// A slot made anew stands beyond the stored position.
	d.exec("SELECT pg_switch_wal()")
	d.exec("INSERT INTO a VALUES (2)")
	d.exec("SELECT pg_create_logical_replication_slot($1, 'pgoutput')", "slot_"+d.name)
	r = startTask(t, d.config(), stored)
	require.ErrorContains(t, r.Failure(), "beyond the stored offset")
	_ = r.task.Stop()
	r = startTask(t, d.config("snapshot.mode", "when_needed"), stored)
	require.Equal(t, []string{"r null Struct{id=1}", "r null Struct{id=2}"}, ops(r.Count(2)))
	stored = r.Stop()
	r = startTask(t, d.config("snapshot.mode", "when_needed"), stored)
	r.Streaming()
	d.exec("INSERT INTO a VALUES (3)")
	require.Equal(t, []string{"c null Struct{id=3}"}, ops(r.Count(1)), "nothing is missing: no snapshot")
	_ = r.task.Stop()
	require.Eventually(t, func() bool { // the server takes a moment to notice that the slot is free
		_, err := d.conn.Exec(context.Background(), "SELECT pg_drop_replication_slot($1)", "slot_"+d.name)
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
	r = startTask(t, d.config("offset.mismatch.strategy", "trust_slot"), stored)
	r.Streaming()
	d.exec("INSERT INTO a VALUES (4)")
	require.Equal(t, []string{"c null Struct{id=4}"}, ops(r.Count(1)))
}

func TestADebeziumOffsetIsResumedFrom(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	r := startTask(t, d.config("snapshot.mode", "no_data"), nil)
	r.Streaming()
	_ = r.task.Stop()
	begin := d.confirmed()
	d.exec("INSERT INTO a VALUES (1)")
	d.exec("BEGIN; INSERT INTO a VALUES (2); INSERT INTO a VALUES (3); COMMIT")
	// What Debezium stored after row 2: its LSN, within a transaction, and the end of the transaction before.
	r = startTask(t, d.config("snapshot.mode", "no_data"), map[string]any{"lsn": int64(begin), "lsn_proc": int64(begin), "lsn_commit": int64(begin), "messageType": "COMMIT"})
	recs := r.Count(3)
	_ = r.task.Stop()
	second := recs[1].Value.Field("source")
	stored := map[string]any{"lsn_proc": second.Field("lsn").Int(), "lsn": second.Field("lsn").Int(), "lsn_commit": int64(recs[0].SourceOffset.(*offset).lsnCommit),
		"txId": second.Field("txId").Int(), "messageType": "INSERT", "ts_usec": int64(1)}
	r = startTask(t, d.config("snapshot.mode", "no_data"), stored)
	require.Equal(t, []string{"c null Struct{id=2}", "c null Struct{id=3}"}, ops(r.Count(2)), "the change at the very position is repeated, as it is not told which of its rows were handled")
}

func TestHeartbeatsAndTheirQuery(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	d.exec("CREATE TABLE beats (n int)")
	r := startTask(t, d.config("heartbeat.interval.ms", "100", "heartbeat.action.query", "INSERT INTO beats VALUES (1)", "table.include.list", "public.a"), nil)
	r.Until("heartbeats", func(recs []plugins.SourceRecord) bool { return len(recs) >= 3 })
	require.Equal(t, "__debezium-heartbeat.p", r.Records[0].Topic)
	require.Equal(t, "p", r.Records[0].Key.Field("serverName").Str())
	require.NotZero(t, r.Records[0].Value.Field("ts_ms").Int())
	require.NotNil(t, r.Records[2].SourceOffset, "heartbeats carry the position on")
	var n int
	require.NoError(t, d.conn.QueryRow(context.Background(), "SELECT count(*) FROM beats").Scan(&n))
	require.GreaterOrEqual(t, n, 2)
}

func TestPublicationsAreMadeAsAskedFor(t *testing.T) {
	tables := func(d *database) (out []string) {
		rows, err := d.conn.Query(context.Background(), "SELECT tablename::text FROM pg_publication_tables WHERE pubname = 'dbz_publication' ORDER BY 1")
		require.NoError(t, err)
		defer rows.Close()
		for rows.Next() {
			var s string
			require.NoError(t, rows.Scan(&s))
			out = append(out, s)
		}
		return out
	}
	for mode, want := range map[string][]string{"all_tables": {"a", "b"}, "filtered": {"a"}, "no_tables": nil} {
		d := newDatabase(t)
		d.exec("CREATE TABLE a (id int PRIMARY KEY)")
		d.exec("CREATE TABLE b (id int PRIMARY KEY)")
		cfg := d.config("publication.autocreate.mode", mode, "table.include.list", "public.a")
		r := startTask(t, cfg, nil)
		r.Streaming()
		require.Equal(t, want, tables(d), mode)
		stored := r.Stop()
		if mode == "filtered" { // the filter changes
			cfg["table.include.list"] = "public.[ab]"
			r = startTask(t, cfg, stored)
			r.Streaming()
			require.Equal(t, []string{"a", "b"}, tables(d))
		}
	}
	d := newDatabase(t)
	r := startTask(t, d.config("publication.autocreate.mode", "disabled"), nil)
	require.ErrorContains(t, r.Failure(), `publication "dbz_publication" does not exist`)
}

func TestSnapshotOverridesAndLists(t *testing.T) {
	d := newDatabase(t)
	d.exec(`CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY)`)
	d.exec(`INSERT INTO a VALUES (1, E'tab\there'), (2, E'line\nhere\\'), (3, NULL); INSERT INTO b VALUES (1); INSERT INTO c VALUES (1)`)
	r := startTask(t, d.config("snapshot.include.collection.list", "public.a,public.c", "snapshot.locking.mode", "shared", "snapshot.fetch.size", "1",
		"snapshot.select.statement.overrides", "public.a", "snapshot.select.statement.overrides.public.a", "SELECT v, id FROM a WHERE id > 1 ORDER BY id;"), nil)
	require.Equal(t, []string{"r null Struct{id=2,v=line\nhere\\}", "r null Struct{id=3,v=null}", "r null Struct{id=1}"}, ops(r.Count(3)))
	r.Streaming()
	d.exec("INSERT INTO b VALUES (2)")
	require.Equal(t, "p.public.b", r.Count(4)[3].Topic, "b is followed all the same")
}

func TestPartitionsAreReadOnce(t *testing.T) {
	for _, viaRoot := range []string{"false", "true"} {
		d := newDatabase(t)
		d.exec("CREATE TABLE parted (id int, r text, PRIMARY KEY (id)) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF parted FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF parted FOR VALUES FROM (10) TO (20)")
		d.exec("CREATE TABLE base (id int PRIMARY KEY); CREATE TABLE kid (extra int, PRIMARY KEY (id)) INHERITS (base)")
		d.exec("INSERT INTO parted VALUES (1, 'a'), (11, 'b'); INSERT INTO base VALUES (1); INSERT INTO kid VALUES (2, 3)")
		r := startTask(t, d.config("publish.via.partition.root", viaRoot), nil)
		r.Count(4)
		r.Streaming()
		d.exec("INSERT INTO parted VALUES (2, 'c')")
		topics := map[string]int{}
		for _, rec := range r.Count(5) {
			topics[strings.TrimPrefix(rec.Topic, "p.public.")]++
		}
		if viaRoot == "true" {
			require.Equal(t, map[string]int{"parted": 3, "base": 1, "kid": 1}, topics)
		} else {
			require.Equal(t, map[string]int{"p1": 2, "p2": 1, "base": 1, "kid": 1}, topics)
		}
	}
}

func TestUnchangedToastComesFromTheOldRowUnderFullIdentity(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY, big text, n int); ALTER TABLE a REPLICA IDENTITY FULL; ALTER TABLE a ALTER big SET STORAGE EXTERNAL")
	r := startTask(t, d.config("snapshot.mode", "no_data"), nil)
	r.Streaming()
	d.exec("INSERT INTO a VALUES (1, repeat('x', 10000), 1)")
	d.exec("UPDATE a SET n = 2")
	after := r.Count(2)[1].Value.Field("after")
	require.Equal(t, strings.Repeat("x", 10000), after.Field("big").Str())
}

func TestIdentityIndexesKeyTheirTables(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (a int NOT NULL, b text, id int PRIMARY KEY); CREATE UNIQUE INDEX a_a ON a(a); ALTER TABLE a REPLICA IDENTITY USING INDEX a_a; INSERT INTO a VALUES (1, 'x', 100)")
	r := startTask(t, d.config(), nil)
	r.Count(1)
	r.Streaming()
	d.exec("UPDATE a SET b = 'y'")
	d.exec("UPDATE a SET a = 2")
	d.exec("DELETE FROM a")
	var keys []string
	for _, rec := range r.Count(7) {
		keys = append(keys, rec.Key.String())
	}
	require.Equal(t, []string{"Struct{a=1}", "Struct{a=1}", "Struct{a=1}", "Struct{a=1}", "Struct{a=2}", "Struct{a=2}", "Struct{a=2}"}, keys)
}

func TestReplicaIdentitiesAreSetAtStart(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY, v int); INSERT INTO a VALUES (1, 1)")
	r := startTask(t, d.config("replica.identity.autoset.values", "public.a:FULL", "snapshot.mode", "no_data"), nil)
	r.Streaming()
	d.exec("UPDATE a SET v = 2")
	require.Equal(t, []string{"u Struct{id=1,v=1} Struct{id=1,v=2}"}, ops(r.Count(1)))
}

func TestServerErrorsAreTriedAgainOnlyAsOftenAsAllowed(t *testing.T) {
	d := newDatabase(t)
	r := startTask(t, d.config("database.port", "1", "errors.max.retries", "1", "retriable.restart.connector.wait.ms", "10"), nil)
	require.ErrorContains(t, r.Failure(), "gave up after 1 retries")
	r = startTask(t, d.config("database.password", "wrong"), nil)
	err := r.Failure()
	require.ErrorContains(t, err, "password authentication failed")
	require.NotContains(t, err.Error(), "wrong")
}

func TestASlotInUseIsWaitedFor(t *testing.T) {
	d := newDatabase(t)
	d.exec("CREATE TABLE a (id int PRIMARY KEY)")
	first := startTask(t, d.config(), nil)
	first.Streaming()
	second := startTask(t, d.config("snapshot.mode", "no_data", "slot.max.retries", "1", "slot.retry.delay.ms", "200"), nil)
	require.ErrorContains(t, second.Failure(), "is active")
	third := startTask(t, d.config("snapshot.mode", "no_data"), nil)
	first.Stop()
	third.Streaming()
}

func TestValidateLooksAtTheServer(t *testing.T) {
	d := newDatabase(t)
	check := func(kv ...string) *configdef.Result {
		v, res := Def().Validate(d.config(kv...))
		require.NoError(t, res.Err())
		(&Connector{}).Validate(context.Background(), v, res)
		return res
	}
	require.NoError(t, check().Err())
	res := check("database.password", "no")
	e, _ := res.Get("database.user")
	require.NotEmpty(t, e.Errors)
	res = check("database.dbname", "nonesuch")
	e, _ = res.Get("database.dbname")
	require.NotEmpty(t, e.Errors)
	res = check("database.port", "1")
	e, _ = res.Get("database.hostname")
	require.NotEmpty(t, e.Errors)
	role := "r" + d.name
	d.exec(fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'x'", role))
	defer d.exec("DROP ROLE " + role)
	res = check("database.user", role, "database.password", "x")
	e, _ = res.Get("database.user")
	require.ErrorContains(t, res.Err(), "REPLICATION are not assigned")
	require.NotEmpty(t, e.Errors)
}

func TestConfigurationIsRefusedByName(t *testing.T) {
	base := map[string]string{"database.hostname": "h", "database.user": "u", "database.dbname": "d", "topic.prefix": "p"}
	for k, v := range map[string]string{"plugin.name": "decoderbufs", "slot.name": "Bad-Name", "xmin.fetch.interval.ms": "5", "database.sslfactory": "x", "snapshot.mode": "custom",
		"publication.autocreate.mode": "x", "replica.identity.autoset.values": "nonsense", "slot.stream.params": "proto_version=4", "snapshot.max.threads": "4", "signal.data.collection": "s.t",
		"time.precision.mode": "structured", "database.tcpKeepAlive": "false"} {
		raw := map[string]string{k: v}
		for bk, bv := range base {
			raw[bk] = bv
		}
		_, err := Def().Parse(raw)
		require.ErrorContains(t, err, k)
	}
	raw := map[string]string{"plugin.name": "pgoutput", "table.exclude": "x"}
	for bk, bv := range base {
		raw[bk] = bv
	}
	_, err := Def().Parse(raw)
	require.ErrorContains(t, err, `Did you mean "table.exclude.list"?`)
	r := plugins.NewRegistry()
	Register(r)
	for _, name := range []string{Class, "postgres", "Postgres", "PostgresConnector"} {
		_, ok := r.Connector(name)
		require.True(t, ok, name)
	}
}
