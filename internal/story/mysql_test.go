package story

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moldau-io/moldau/internal/servers"
	"github.com/stretchr/testify/require"
)

// mysqlSource is the config of a source of one table.
func mysqlSource(t *testing.T, m *servers.MySQL, prefix, table string, partitions int) Connector {
	t.Helper()
	host, port, err := net.SplitHostPort(m.Addr)
	require.NoError(t, err)
	class := "io.debezium.connector.mysql.MySqlConnector"
	if m.Flavor == "mariadb" {
		class = "io.debezium.connector.mariadb.MariaDbConnector"
	}
	return Connector{"source", map[string]string{
		"connector.class":                           class,
		"database.hostname":                         host,
		"database.port":                             port,
		"database.user":                             m.User,
		"database.password":                         m.Password,
		"database.server.id":                        strconv.Itoa(100_000 + servers.FreePort()),
		"database.include.list":                     strings.Split(table, ".")[0],
		"table.include.list":                        strings.ReplaceAll(table, ".", `\.`),
		"topic.prefix":                              prefix,
		"topic.creation.default.partitions":         strconv.Itoa(partitions),
		"topic.creation.default.replication.factor": "-1",
	}}
}

// mysqlItems makes a table that will evolve, in a database of its own.
func mysqlItems(t *testing.T, m *servers.MySQL, wideKey bool) *items {
	t.Helper()
	db := unique("story_")
	it := &items{table: db + ".items", wideKey: wideKey}
	it.session = func(ctx context.Context) (func(string) (int, error), func(), error) {
		c, err := MySQLConn(ctx, m)
		if err != nil {
			return nil, nil, err
		}
		return func(sql string) (int, error) {
			r, err := c.Execute(sql)
			if err != nil {
				return 0, err
			}
			defer r.Close()
			return int(r.AffectedRows), nil
		}, func() { _ = c.Close() }, nil
	}
	key := ""
	if wideKey {
		key = "MODIFY id BIGINT NOT NULL, "
	}
	it.alters = [3]string{
		"ALTER TABLE " + it.table + " ADD COLUMN added VARCHAR(30) NOT NULL DEFAULT 'fresh', ALTER COLUMN era SET DEFAULT 2",
		"ALTER TABLE " + it.table + " DROP COLUMN gone, ALTER COLUMN era SET DEFAULT 3",
		"ALTER TABLE " + it.table + " " + key + "MODIFY qty BIGINT NOT NULL, MODIFY code VARCHAR(40), ALTER COLUMN era SET DEFAULT 4",
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		exec, end, err := it.session(ctx)
		if err != nil {
			t.Errorf("clean up: %v", err)
			return
		}
		defer end()
		_, _ = exec("DROP DATABASE " + db)
	})
	require.NoError(t, it.make(t.Context(), "CREATE DATABASE "+db, `CREATE TABLE `+it.table+` (
		id INT PRIMARY KEY, era INT NOT NULL DEFAULT 1, name VARCHAR(60) NOT NULL, qty INT NOT NULL, price DECIMAL(10,2) NOT NULL,
		code VARCHAR(8), gone VARCHAR(20) DEFAULT 'going', made TIMESTAMP(6) NOT NULL DEFAULT '2020-01-01 00:00:00') CHARACTER SET utf8mb4`))
	return it
}

func mysqlCapture(t *testing.T, m *servers.MySQL, prefix string, wideKey bool) *capture {
	t.Helper()
	it := mysqlItems(t, m, wideKey)
	table := Table{Name: it.table, Topic: prefix + "." + it.table, Key: "id", Columns: itemsColumns(`DATE_FORMAT(made, '%Y-%m-%dT%H:%i:%s.%fZ')`)}
	partitions := 3
	if wideKey {
		partitions = 1
	}
	return &capture{
		table: table, items: it, source: mysqlSource(t, m, prefix, it.table, partitions),
		rows: func(ctx context.Context) (Rows, error) { return MySQLRows(ctx, m, table) },
	}
}

// TestMySQLToAvro follows a table of MySQL, its key widened too, into Avro objects, which fastavro reads.
func TestMySQLToAvro(t *testing.T) {
	m, lake := servers.TestMySQL(t), servers.TestS3(t)
	c := mysqlCapture(t, m, "mystory", true)
	c.hub = startHub(t)
	c.bootstrap = c.hub.Endpoints.Kafka
	c.sinks = []captureSink{toLake(lake, bucket(t, lake), c.table.Topic, "io.confluent.connect.s3.format.avro.AvroFormat", fastavroReader)}
	c.run(t)
}

// TestMariaDBToElasticsearch follows a table of MariaDB into an index of Elasticsearch.
func TestMariaDBToElasticsearch(t *testing.T) {
	m, search := servers.TestMariaDB(t), servers.TestElasticsearch(t)
	c := mysqlCapture(t, m, "mariastory", false)
	c.hub = startHub(t)
	c.bootstrap = c.hub.Endpoints.Kafka
	c.sinks = []captureSink{toIndex(search, c.table.Topic)}
	c.run(t)
}
