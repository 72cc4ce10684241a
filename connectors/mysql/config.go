package mysql

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

// Class and MariaDBClass are the connectors' Java names.
const (
	Class        = "io.debezium.connector.mysql.MySqlConnector"
	MariaDBClass = "io.debezium.connector.mariadb.MariaDbConnector"
)

// Register adds both connectors to r.
func Register(r *plugins.Registry) {
	r.AddConnector(&plugins.ConnectorSpec{
		Class: Class, Aliases: []string{"mysql", "MySqlConnector", "MySql"}, Kind: plugins.KindSource, Version: cdc.ParityVersion,
		Config: Def(false), New: func() plugins.Connector { return &Connector{} },
	})
	r.AddConnector(&plugins.ConnectorSpec{
		Class: MariaDBClass, Aliases: []string{"mariadb", "MariaDbConnector", "MariaDb"}, Kind: plugins.KindSource, Version: cdc.ParityVersion,
		Config: Def(true), New: func() plugins.Connector { return &Connector{mariadb: true} },
	})
}

// Def defines the keys of the MySQL or MariaDB connector.
func Def(mariadb bool) *configdef.Def {
	modes := []string{"initial", "initial_only", "no_data", "always", "when_needed", "never", "schema_only"}
	one := func(vals ...string) func(any) string { return configdef.OneOf(true, vals...) }
	sslModes := []string{"disabled", "preferred", "required", "verify_ca", "verify_identity"}
	sslDefault := "preferred"
	if mariadb {
		sslModes, sslDefault = []string{"disable", "trust", "verify-ca", "verify-full"}, "disable"
	}
	def := configdef.NewDef(
		configdef.Key{Name: "database.hostname", Type: configdef.String, Required: true, Importance: configdef.High, Check: configdef.NonEmpty, Group: "Connection", Doc: "Host name or address of the server."},
		configdef.Key{Name: "database.port", Type: configdef.Int, Default: 3306, Check: configdef.Between(1, 65535), Importance: configdef.High, Group: "Connection", Doc: "Port of the server."},
		configdef.Key{Name: "database.user", Type: configdef.String, Required: true, Importance: configdef.High, Check: configdef.NonEmpty, Group: "Connection", Doc: "User with SELECT, RELOAD, SHOW DATABASES, REPLICATION SLAVE and REPLICATION CLIENT."},
		configdef.Key{Name: "database.password", Type: configdef.Password, Importance: configdef.High, Group: "Connection", Doc: "The user's password."},
		configdef.Key{Name: "database.server.id", Type: configdef.Long, Required: true, Importance: configdef.High, Check: configdef.Between(1, 1<<32-1), Group: "Connection", Doc: "Number of this connector among the server's replicas. No other replica may have it."},
		configdef.Key{Name: "database.ssl.mode", Type: configdef.String, Default: sslDefault, Check: one(sslModes...), Recommended: sslModes, Group: "Connection", Doc: "Whether and how connections are encrypted and the server checked."},
		configdef.Key{Name: "database.ssl.truststore", Type: configdef.String, Group: "Connection", Doc: "File with the certificates that the server's is checked against, in PEM; a Java keystore is refused."},
		configdef.Key{Name: "database.ssl.truststore.password", Type: configdef.Password, Unsupported: "PEM files have no password", Importance: configdef.Low, Group: "Connection", Doc: "Not supported."},
		configdef.Key{Name: "database.ssl.keystore", Type: configdef.String, Group: "Connection", Doc: "File with the client's certificate and key in PEM; a Java keystore is refused."},
		configdef.Key{Name: "database.ssl.keystore.password", Type: configdef.Password, Unsupported: "PEM files have no password", Importance: configdef.Low, Group: "Connection", Doc: "Not supported."},
		configdef.Key{Name: "database.initial.statements", Type: configdef.String, Importance: configdef.Low, Group: "Connection", Doc: "Statements, separated by ; (;; for a semicolon), run on each connection that queries."},
		configdef.Key{Name: "database.include.list", Type: configdef.List, Importance: configdef.High, Check: checkRegexes, Doc: "Regular expressions of the databases to capture."},
		configdef.Key{Name: "database.exclude.list", Type: configdef.List, Check: checkRegexes, Doc: "Regular expressions of the databases not to capture."},
		configdef.Key{Name: "table.ignore.builtin", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Doc: "Whether tables of the server's own databases are left out."},
		configdef.Key{Name: "connect.timeout.ms", Type: configdef.Int, Default: 30000, Check: configdef.AtLeast(1), Group: "Connection", Doc: "Milliseconds after which an attempt to connect fails."},
		configdef.Key{Name: "connect.keep.alive", Type: configdef.Boolean, Default: true, Unsupported: "a broken connection is always found and made anew", Importance: configdef.Low, Group: "Connection", Doc: "Whether to watch the connection."},
		configdef.Key{Name: "connect.keep.alive.interval.ms", Type: configdef.Long, Default: 60000, Check: configdef.AtLeast(1), Importance: configdef.Low, Group: "Connection", Doc: "Milliseconds of silence after which the server has to give a sign of life; it has three times that."},
		configdef.Key{Name: "bigint.unsigned.handling.mode", Type: configdef.String, Default: "long", Check: one("long", "precise"), Recommended: []string{"long", "precise"}, Doc: "How BIGINT UNSIGNED is written: as a signed number, where large ones become negative, or as a decimal."},
		configdef.Key{Name: "enable.time.adjuster", Type: configdef.Boolean, Default: true, Doc: "Whether years of two digits mean 1970 to 2069."},
		configdef.Key{Name: "include.query", Type: configdef.Boolean, Default: false, Doc: "Whether source.query tells the statement; needs binlog_rows_query_log_events on the server (MariaDB: binlog_annotate_row_events)."},
		configdef.Key{Name: "include.schema.changes", Type: configdef.Boolean, Default: false, Unsupported: "the topic of schema changes is not written: table schemas travel with the events", Doc: "Whether statements that change tables are written to the topic named by topic.prefix."},
		configdef.Key{Name: "include.schema.comments", Type: configdef.Boolean, Default: false, Unsupported: "comments are not read", Importance: configdef.Low, Doc: "Whether schemas carry comments."},
		configdef.Key{Name: "snapshot.locking.mode", Type: configdef.String, Default: "minimal", Check: one("minimal", "extended", "none"), Recommended: []string{"minimal", "extended", "none"}, Doc: "How long the server's tables are locked for a snapshot: for an instant, for all of it, or not at all."},
		configdef.Key{Name: "snapshot.lock.timeout.ms", Type: configdef.Long, Default: 10000, Check: configdef.AtLeast(0), Doc: "Milliseconds to wait for those locks."},
		configdef.Key{Name: "inconsistent.schema.handling.mode", Type: configdef.String, Default: "fail", Accepts: []string{"warn", "skip"}, Unsupported: "schemas come from the binlog itself", Importance: configdef.Low, Doc: "What to do about events of unknown tables; with row metadata in the binlog there are none."},
		configdef.Key{Name: "gtid.ignore.on.recovery", Type: configdef.Boolean, Default: false, Unsupported: "there is no recovery of a schema history", Importance: configdef.Low, Doc: "Not supported."},
		configdef.Key{Name: "gtid.source.filter.dml.events", Type: configdef.Boolean, Default: true, Unsupported: "GTID sources are not filtered", Importance: configdef.Low, Doc: "Not supported."},
		configdef.Key{Name: "binlog.buffer.size", Type: configdef.Int, Default: 0, Unsupported: "the binlog holds committed transactions only", Importance: configdef.Low, Doc: "Look-ahead for transactions that are rolled back."},
		configdef.Key{Name: "min.row.count.to.stream.results", Type: configdef.Int, Default: 1000, Check: configdef.AtLeast(0), Importance: configdef.Low, Doc: "Accepted; all tables are streamed."},
		configdef.Key{Name: "event.converting.failure.handling.mode", Type: configdef.String, Default: "warn", Unsupported: "use event.processing.failure.handling.mode", Importance: configdef.Low, Doc: "Not supported."},
		configdef.Key{Name: "source.struct.version", Type: configdef.String, Default: "v2", Unsupported: "there is one form of source blocks", Importance: configdef.Low, Doc: "Version of the source block."},
		configdef.Key{Name: "use.nongraceful.disconnect", Type: configdef.Boolean, Default: false, Accepts: []string{"true"}, Unsupported: "there is one way to disconnect", Importance: configdef.Low, Doc: "Accepted."},
		configdef.Key{Name: "read.only", Type: configdef.Boolean, Default: false, Unsupported: "incremental snapshots are not supported", Importance: configdef.Low, Doc: "Not supported."},
	)
	def.Unsupported("GTID sources are not filtered", "gtid.source.includes", "gtid.source.excludes")
	def.Unsupported("custom Java classes cannot be loaded", "database.jdbc.driver", "database.protocol")
	def.Allow(
		configdef.Pattern{Prefix: "schema.history.internal"}, // not needed, and in every configuration
		configdef.Pattern{Prefix: "driver.", Unsupported: "there is no JDBC driver"},
	)
	return def.Merge(cdc.Keys(cdc.Defaults{TimePrecision: cdc.TimeAdaptiveMicros, FetchSize: 8192, SnapshotModes: modes,
		TimeModes: []string{"adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds"}})).
		CrossCheck(func(v configdef.Values, r *configdef.Result) {
			if len(v.List("database.include.list")) > 0 && len(v.List("database.exclude.list")) > 0 {
				r.Error("database.exclude.list", "%q is already specified", "database.include.list")
			}
		})
}

func checkRegexes(v any) string {
	l, _ := v.([]string)
	if _, err := cdc.ParsePatterns(strings.Join(l, ",")); err != nil {
		return err.Error()
	}
	return ""
}

// config is the parsed configuration.
type config struct {
	*cdc.Config
	mariadb              bool
	flavor               string
	host, user, password string
	port                 uint16
	serverID             uint32
	tls                  *tls.Config // nil: not encrypted
	tlsOptional          bool
	initialStatements    []string
	connectTimeout       time.Duration
	keepAlive            time.Duration

	databases     cdc.Filter
	ignoreBuiltin bool
	snapshotMode  string
	locking       string
	lockTimeout   time.Duration

	bigintPrecise, adjustTime, includeQuery bool
	sourceSchema                            *data.Schema
}

func parseConfig(v configdef.Values, mariadb bool) (*config, error) {
	name, flavor, source := "mysql", "mysql", SourceSchema
	if mariadb {
		name, flavor, source = "mariadb", "mariadb", MariaDBSourceSchema
	}
	common, err := cdc.Parse(name, v)
	if err != nil {
		return nil, err
	}
	low := func(k string) string { return strings.ToLower(v.Str(k)) }
	text := func(k string) string { return strings.Join(v.List(k), ",") }
	c := &config{
		Config: common, mariadb: mariadb, flavor: flavor, sourceSchema: source,
		host: v.Str("database.hostname"), port: uint16(v.Int("database.port")), user: v.Str("database.user"), password: v.Str("database.password"),
		serverID: uint32(v.Int("database.server.id")), initialStatements: splitStatements(v.Str("database.initial.statements")),
		connectTimeout: v.Millis("connect.timeout.ms"), keepAlive: v.Millis("connect.keep.alive.interval.ms"),
		ignoreBuiltin: v.Bool("table.ignore.builtin"), snapshotMode: low("snapshot.mode"), locking: low("snapshot.locking.mode"),
		lockTimeout:   v.Millis("snapshot.lock.timeout.ms"),
		bigintPrecise: low("bigint.unsigned.handling.mode") == "precise", adjustTime: v.Bool("enable.time.adjuster"), includeQuery: v.Bool("include.query"),
	}
	if c.snapshotMode == "never" || c.snapshotMode == "schema_only" {
		c.snapshotMode = "no_data"
	}
	if c.databases, err = cdc.NewFilter(text("database.include.list"), text("database.exclude.list")); err != nil {
		return nil, fmt.Errorf("database filters: %w", err)
	}
	if err := c.parseTLS(low("database.ssl.mode"), v.Str("database.ssl.truststore"), v.Str("database.ssl.keystore")); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *config) parseTLS(mode, trust, key string) error {
	if mode == "disabled" || mode == "disable" {
		return nil
	}
	t := &tls.Config{ServerName: c.host, MinVersion: tls.VersionTLS12}
	for _, s := range tls.CipherSuites() {
		t.CipherSuites = append(t.CipherSuites, s.ID)
	}
	// MySQL before 8.0.16 offers nothing else that Go speaks.
	t.CipherSuites = append(t.CipherSuites, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384)
	if trust != "" {
		b, err := readPEM("database.ssl.truststore", trust)
		if err != nil {
			return err
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(b) {
			return fmt.Errorf("database.ssl.truststore: %s holds no certificate", trust)
		}
	}
	if key != "" {
		b, err := readPEM("database.ssl.keystore", key)
		if err != nil {
			return err
		}
		cert, err := tls.X509KeyPair(b, b)
		if err != nil {
			return fmt.Errorf("database.ssl.keystore: %w", err)
		}
		t.Certificates = []tls.Certificate{cert}
	}
	switch mode {
	case "preferred":
		c.tlsOptional = true
		t.InsecureSkipVerify = true //nolint:gosec // what the mode means
	case "required", "trust":
		t.InsecureSkipVerify = true //nolint:gosec // what the mode means
	case "verify_ca", "verify-ca":
		t.InsecureSkipVerify = true //nolint:gosec // all but the name is verified here
		t.VerifyConnection = func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("the server sent no certificate")
			}
			o := x509.VerifyOptions{Roots: t.RootCAs, Intermediates: x509.NewCertPool()}
			for _, i := range s.PeerCertificates[1:] {
				o.Intermediates.AddCert(i)
			}
			_, err := s.PeerCertificates[0].Verify(o)
			return err
		}
	}
	c.tls = t
	return nil
}

func readPEM(key, file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if p, _ := pem.Decode(b); p == nil {
		return nil, fmt.Errorf("%s: %s is no PEM file; Java keystores are not supported: convert it with keytool and openssl", key, file)
	}
	return b, nil
}

// builtin are the server's own databases.
var builtin = map[string]bool{"mysql": true, "information_schema": true, "performance_schema": true, "sys": true}

// captures reports whether a table is captured.
func (c *config) captures(id cdc.TableID) bool {
	if c.ignoreBuiltin && builtin[strings.ToLower(id.Catalog)] {
		return false
	}
	return c.databases.Includes(id.Catalog) && c.Tables.Includes(id.String())
}

func splitStatements(s string) []string {
	var out []string
	for _, p := range strings.Split(strings.ReplaceAll(s, ";;", "\x00"), ";") {
		if p = strings.TrimSpace(strings.ReplaceAll(p, "\x00", ";")); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// quoteIdent quotes an SQL identifier.
func quoteIdent(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }

// quoteLiteral quotes an SQL string for the sql_mode that sessions of ours have.
func quoteLiteral(s string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "'", "''") + "'"
}
