package story

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/moldau-io/moldau/internal/servers"
	"github.com/stretchr/testify/require"
)

// postgresSource is the config of a source of one table; slot and publication are dropped when the test ends, after the hub.
func postgresSource(t *testing.T, pg *servers.Postgres, prefix, table string) Connector {
	t.Helper()
	u, err := url.Parse(pg.URL)
	require.NoError(t, err)
	password, _ := u.User.Password()
	slot := unique("story_")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		c, err := pgx.Connect(ctx, pg.URL)
		if err != nil {
			t.Errorf("clean up: %v", err)
			return
		}
		defer c.Close(ctx)
		for {
			_, err := c.Exec(ctx, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '"+slot+"'")
			if err == nil || ctx.Err() != nil {
				break
			}
		}
		_, _ = c.Exec(ctx, "DROP PUBLICATION IF EXISTS "+slot)
		_, _ = c.Exec(ctx, "DROP SCHEMA IF EXISTS "+strings.Split(table, ".")[0]+" CASCADE")
	})
	return Connector{"source", map[string]string{
		"connector.class":                           "io.debezium.connector.postgresql.PostgresConnector",
		"database.hostname":                         u.Hostname(),
		"database.port":                             u.Port(),
		"database.user":                             u.User.Username(),
		"database.password":                         password,
		"database.dbname":                           strings.TrimPrefix(u.Path, "/"),
		"topic.prefix":                              prefix,
		"slot.name":                                 slot,
		"publication.name":                          slot,
		"publication.autocreate.mode":               "filtered",
		"table.include.list":                        strings.ReplaceAll(table, ".", `\.`),
		"topic.creation.default.partitions":         "3",
		"topic.creation.default.replication.factor": "-1",
	}}
}

// postgresItems makes a table that will evolve, in a schema of its own.
func postgresItems(t *testing.T, pg *servers.Postgres) *items {
	t.Helper()
	schema := unique("story_")
	it := &items{table: schema + ".items"}
	it.session = func(ctx context.Context) (func(string) (int, error), func(), error) {
		c, err := pgx.Connect(ctx, pg.URL)
		if err != nil {
			return nil, nil, err
		}
		_, err = c.Exec(ctx, "SET TIME ZONE 'UTC'")
		return func(sql string) (int, error) {
			tag, err := c.Exec(ctx, sql)
			return int(tag.RowsAffected()), err
		}, func() { _ = c.Close(context.WithoutCancel(ctx)) }, err
	}
	it.alters = [3]string{
		"ALTER TABLE " + it.table + " ADD COLUMN added varchar(30) NOT NULL DEFAULT 'fresh', ALTER COLUMN era SET DEFAULT 2",
		"ALTER TABLE " + it.table + " DROP COLUMN gone, ALTER COLUMN era SET DEFAULT 3",
		"ALTER TABLE " + it.table + " ALTER COLUMN qty TYPE bigint, ALTER COLUMN code TYPE varchar(40), ALTER COLUMN era SET DEFAULT 4",
	}
	require.NoError(t, it.make(t.Context(), "CREATE SCHEMA "+schema, `CREATE TABLE `+it.table+` (
		id bigint PRIMARY KEY, era integer NOT NULL DEFAULT 1, name text NOT NULL, qty integer NOT NULL, price numeric(10,2) NOT NULL,
		code varchar(8), gone text DEFAULT 'going', made timestamptz NOT NULL)`))
	return it
}

func postgresCapture(t *testing.T, pg *servers.Postgres, prefix string) *capture {
	t.Helper()
	it := postgresItems(t, pg)
	table := Table{Name: it.table, Topic: prefix + "." + it.table, Key: "id", Columns: itemsColumns(`to_char(made AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`)}
	return &capture{
		table: table, items: it, source: postgresSource(t, pg, prefix, it.table),
		rows: func(ctx context.Context) (Rows, error) { return PostgresRows(ctx, pg.URL, table) },
	}
}

// TestPostgresToParquetAndIndex follows a table of PostgreSQL through ADD COLUMN, DROP COLUMN and widening into Parquet objects, which
// DuckDB reads, and into an OpenSearch index.
func TestPostgresToParquetAndIndex(t *testing.T) {
	pg, lake, search := servers.TestPostgres(t), servers.TestS3(t), servers.TestOpenSearch(t)
	c := postgresCapture(t, pg, "pgstory")
	c.hub = startHub(t)
	c.bootstrap = c.hub.Endpoints.Kafka
	c.sinks = []captureSink{
		toLake(lake, bucket(t, lake), c.table.Topic, "io.confluent.connect.s3.format.parquet.ParquetFormat", duckdbReader),
		toIndex(search, c.table.Topic),
	}
	c.run(t)
}
