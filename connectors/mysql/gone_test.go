package mysql

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/internal/servers"
)

func TestAPurgedBinlogIsAnErrorOrASnapshot(t *testing.T) {
	flavors(t, func(t *testing.T, srv *servers.MySQL) {
		d := newDatabase(t, srv)
		d.exec("CREATE TABLE t (id int PRIMARY KEY)")
		d.exec("INSERT INTO t VALUES (1)")
		r := d.start(nil)
		r.Count(1)
		stored := r.Stop()
		d.exec("INSERT INTO t VALUES (2)")
		d.exec("FLUSH BINARY LOGS")
		d.exec("INSERT INTO t VALUES (3)")
		d.exec("FLUSH BINARY LOGS")
		d.exec("INSERT INTO t VALUES (4)")
		res, err := d.conn.Execute("SHOW BINARY LOGS")
		require.NoError(t, err)
		last, _ := res.GetString(res.RowNumber()-1, 0)
		require.Eventually(t, func() bool { // a reader of another test may still be on its way out
			d.exec("PURGE BINARY LOGS TO '" + last + "'")
			res, err := d.conn.Execute("SHOW BINARY LOGS")
			require.NoError(t, err)
			return res.RowNumber() == 1
		}, 20*time.Second, 100*time.Millisecond)
		byFile := map[string]any{"file": stored["file"], "pos": stored["pos"]}
		for _, from := range []map[string]any{stored, byFile} {
			require.ErrorContains(t, d.start(from).Failure(), "snapshot.mode=when_needed")
			r = d.start(from, "snapshot.mode", "when_needed")
			require.Len(t, r.Count(4), 4)
			require.Equal(t, "r", r.Records[3].Value.Field("op").Str())
			r.Streaming()
			_ = r.Stop()
		}
		if srv.Flavor == "mysql" {
			elsewhere := map[string]any{"file": "binlog.000001", "pos": int64(4), "gtids": "11111111-1111-1111-1111-111111111111:1-5"}
			require.ErrorContains(t, d.start(elsewhere).Failure(), "does not know all of the transactions")
		}
	})
}

func TestAServerIDUsedTwiceIsNamed(t *testing.T) {
	d := newDatabase(t, servers.TestMariaDB(t)) // MySQL tells replicas apart by more than the number
	d.exec("CREATE TABLE t (id int PRIMARY KEY)")
	first := d.start(nil, "database.server.id", "4711")
	first.Streaming()
	second := d.start(nil, "database.server.id", "4711")
	second.Streaming()
	require.ErrorContains(t, first.Failure(), "database.server.id=4711")
}

func TestAddressesOfMariaDBAreText(t *testing.T) {
	d := newDatabase(t, servers.TestMariaDB(t))
	d.exec("CREATE TABLE t (id int PRIMARY KEY, u uuid, i4 inet4, i6 inet6)")
	var want []string
	uuids := []string{"00112233-4455-1677-8899-aabbccddeeff", "00112233-4455-4677-8899-aabbccddeeff", "00112233-4455-7677-8899-aabbccddeeff", "00112233-4455-6677-0899-aabbccddeeff",
		"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "00112233-4455-0677-0899-aabbccddeeff", "01234567-89ab-5def-bfff-ffffffffff00"}
	insert := func() {
		for i, u := range uuids {
			d.exec(fmt.Sprintf("INSERT INTO t VALUES (%d, '%s', '10.0.%d.0', '2001:db8::%d')", i, u, i, i))
		}
	}
	insert()
	for i, u := range uuids {
		want = append(want, strings.Replace(fmt.Sprintf("Struct{id=%d,u=%s,i4=10.0.%d.0,i6=2001:db8::%d}", i, u, i, i), "db8::0}", "db8::}", 1))
	}
	r := d.start(nil)
	require.Equal(t, want, after(r.Count(len(uuids))))
	r.Streaming()
	d.exec("TRUNCATE t")
	insert()
	require.Equal(t, want, after(r.Count(2 * len(uuids))[len(uuids):]))
}
