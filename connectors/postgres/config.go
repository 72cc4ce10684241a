package postgres

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// Class is the connector's Java name.
const Class = "io.debezium.connector.postgresql.PostgresConnector"

// Register adds the connector to r.
func Register(r *plugins.Registry) {
	r.AddConnector(&plugins.ConnectorSpec{
		Class: Class, Aliases: []string{"postgres", "Postgres", "PostgresConnector"},
		Kind: plugins.KindSource, Version: cdc.ParityVersion, Config: Def(),
		New: func() plugins.Connector { return &Connector{} },
	})
}

var slotName = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// Def defines the connector's keys.
func Def() *configdef.Def {
	modes := []string{"initial", "initial_only", "no_data", "always", "when_needed", "never", "schema_only"}
	one := func(vals ...string) func(any) string { return configdef.OneOf(true, vals...) }
	return configdef.NewDef(
		configdef.Key{Name: "database.hostname", Type: configdef.String, Required: true, Importance: configdef.High, Check: configdef.NonEmpty, Group: "Connection", Doc: "Host name or address of the server."},
		configdef.Key{Name: "database.port", Type: configdef.Int, Default: 5432, Check: configdef.Between(1, 65535), Importance: configdef.High, Group: "Connection", Doc: "Port of the server."},
		configdef.Key{Name: "database.user", Type: configdef.String, Required: true, Importance: configdef.High, Check: configdef.NonEmpty, Group: "Connection", Doc: "User with the right to replicate and to read the captured tables."},
		configdef.Key{Name: "database.password", Type: configdef.Password, Importance: configdef.High, Group: "Connection", Doc: "The user's password."},
		configdef.Key{Name: "database.dbname", Type: configdef.String, Required: true, Importance: configdef.High, Check: configdef.NonEmpty, Group: "Connection", Doc: "The database to capture."},
		configdef.Key{Name: "database.sslmode", Type: configdef.String, Default: "prefer", Check: one("disable", "allow", "prefer", "require", "verify-ca", "verify-full"), Group: "Connection", Doc: "Whether and how connections are encrypted and the server checked."},
		configdef.Key{Name: "database.sslcert", Type: configdef.String, Group: "Connection", Doc: "File with the client's certificate (PEM)."},
		configdef.Key{Name: "database.sslkey", Type: configdef.String, Group: "Connection", Doc: "File with the client's key (PEM)."},
		configdef.Key{Name: "database.sslpassword", Type: configdef.Password, Group: "Connection", Doc: "Password of the client's key."},
		configdef.Key{Name: "database.sslrootcert", Type: configdef.String, Group: "Connection", Doc: "File with the certificates that the server's is checked against (PEM)."},
		configdef.Key{Name: "database.sslfactory", Type: configdef.String, Unsupported: "custom Java classes cannot be loaded", Importance: configdef.Low, Doc: "Not supported."},
		configdef.Key{Name: "database.tcpKeepAlive", Type: configdef.Boolean, Default: true, Unsupported: "TCP keepalives are always on", Importance: configdef.Low, Group: "Connection", Doc: "TCP keepalives."},
		configdef.Key{Name: "database.initial.statements", Type: configdef.String, Importance: configdef.Low, Group: "Connection", Doc: "Statements, separated by ; (;; for a semicolon), run on each connection that queries."},
		configdef.Key{Name: "schema.include.list", Type: configdef.List, Check: checkRegexes, Doc: "Regular expressions of the schemas to capture."},
		configdef.Key{Name: "schema.exclude.list", Type: configdef.List, Check: checkRegexes, Doc: "Regular expressions of the schemas not to capture."},
		configdef.Key{Name: "plugin.name", Type: configdef.String, Default: "pgoutput", Check: checkPlugin, Recommended: []string{"pgoutput"}, Doc: "The logical decoding plugin: pgoutput, which every server has."},
		configdef.Key{Name: "slot.name", Type: configdef.String, Default: "debezium", Check: func(v any) string {
			if s, _ := v.(string); !slotName.MatchString(s) {
				return "Valid replication slot name must contain only digits, lowercase characters and underscores with length <= 63"
			}
			return ""
		}, Doc: "The replication slot, created when it does not exist."},
		configdef.Key{Name: "slot.drop.on.stop", Type: configdef.Boolean, Default: false, Doc: "Whether to drop the slot when the connector stops. Changes made until the next start are lost then; for tests only."},
		configdef.Key{Name: "slot.failover", Type: configdef.Boolean, Default: false, Doc: "Whether a new slot follows the server to its standbys (PostgreSQL 17)."},
		configdef.Key{Name: "slot.max.retries", Type: configdef.Int, Default: 6, Check: configdef.AtLeast(0), Doc: "How often to wait for a slot that someone else uses."},
		configdef.Key{Name: "slot.retry.delay.ms", Type: configdef.Long, Default: 10000, Check: configdef.AtLeast(0), Doc: "Milliseconds of each such wait."},
		configdef.Key{Name: "slot.stream.params", Type: configdef.String, Importance: configdef.Low, Check: func(v any) string {
			if _, err := parseParams(v.(string)); err != nil {
				return err.Error()
			}
			return ""
		}, Doc: "Further options of the decoding plugin: key=value;key=value."},
		configdef.Key{Name: "publication.name", Type: configdef.String, Default: "dbz_publication", Check: configdef.NonEmpty, Doc: "The publication that selects what is streamed."},
		configdef.Key{Name: "publication.autocreate.mode", Type: configdef.String, Default: "all_tables", Check: one("all_tables", "disabled", "filtered", "no_tables"), Recommended: []string{"all_tables", "disabled", "filtered", "no_tables"}, Doc: "How a missing publication is created."},
		configdef.Key{Name: "publish.via.partition.root", Type: configdef.Boolean, Default: false, Doc: "Whether a new publication tells changes of partitions as changes of the partitioned table."},
		configdef.Key{Name: "replica.identity.autoset.values", Type: configdef.List, Check: func(v any) string {
			if _, err := parseIdentities(v.([]string)); err != nil {
				return err.Error()
			}
			return ""
		}, Doc: "Replica identities to set at start: schema.table:FULL,schema.other:INDEX name, with regular expressions for tables."},
		configdef.Key{Name: "hstore.handling.mode", Type: configdef.String, Default: "json", Check: one("json", "map"), Recommended: []string{"json", "map"}, Doc: "How hstore is written."},
		configdef.Key{Name: "interval.handling.mode", Type: configdef.String, Default: "numeric", Check: one("numeric", "string"), Recommended: []string{"numeric", "string"}, Doc: "How intervals are written: microseconds or ISO 8601."},
		configdef.Key{Name: "money.fraction.digits", Type: configdef.Short, Default: 2, Check: configdef.Between(0, 10), Importance: configdef.Low, Doc: "Digits behind the point of money."},
		configdef.Key{Name: "include.unknown.datatypes", Type: configdef.Boolean, Default: false, Doc: "Whether columns of types without a form of their own are written, as the bytes of their text."},
		configdef.Key{Name: "schema.refresh.mode", Type: configdef.String, Default: "columns_diff", Accepts: []string{"columns_diff_exclude_unchanged_toast"}, Unsupported: "the stream itself tells of changed tables", Importance: configdef.Low, Doc: "When table schemas are read again."},
		configdef.Key{Name: "status.update.interval.ms", Type: configdef.Int, Default: 10000, Check: configdef.AtLeast(1), Importance: configdef.Low, Doc: "Milliseconds between reports of the confirmed position to the server."},
		configdef.Key{Name: "lsn.flush.mode", Type: configdef.String, Default: "connector", Check: one("connector", "manual", "connector_and_driver"), Doc: "Whether the position is confirmed to the slot: connector, connector_and_driver (the same here) or manual (never)."},
		configdef.Key{Name: "flush.lsn.source", Type: configdef.Boolean, Default: true, Doc: "Deprecated form of lsn.flush.mode: false is manual."},
		configdef.Key{Name: "offset.mismatch.strategy", Type: configdef.String, Default: "no_validation", Check: one("no_validation", "trust_offset", "trust_slot", "trust_greater_lsn"), Doc: "What to do when slot and stored offset disagree. A slot ahead of the offset is an error unless the slot or the greater is trusted."},
		configdef.Key{Name: "xmin.fetch.interval.ms", Type: configdef.Long, Default: 0, Unsupported: "the slot's xmin is not read", Importance: configdef.Low, Doc: "Interval of reading xmin."},
		configdef.Key{Name: "snapshot.isolation.mode", Type: configdef.String, Default: "serializable", Check: one("serializable", "repeatable_read", "read_committed", "read_uncommitted"), Importance: configdef.Low, Doc: "Isolation of a snapshot; it is always the slot's exported snapshot, which satisfies all."},
		configdef.Key{Name: "snapshot.locking.mode", Type: configdef.String, Default: "none", Check: one("none", "shared"), Doc: "Whether tables are locked against changes of their structure during a snapshot."},
		configdef.Key{Name: "snapshot.lock.timeout.ms", Type: configdef.Long, Default: 10000, Check: configdef.AtLeast(0), Doc: "Milliseconds to wait for those locks."},
		configdef.Key{Name: "message.prefix.include.list", Type: configdef.List, Check: checkRegexes, Doc: "Prefixes of logical decoding messages to write."},
		configdef.Key{Name: "message.prefix.exclude.list", Type: configdef.List, Check: checkRegexes, Doc: "Prefixes of logical decoding messages not to write."},
		configdef.Key{Name: "read.only", Type: configdef.Boolean, Default: false, Unsupported: "incremental snapshots are not supported", Importance: configdef.Low, Doc: "Not supported."},
	).Merge(cdc.Keys(cdc.Defaults{TimePrecision: cdc.TimeAdaptive, FetchSize: 10240, SnapshotModes: modes,
		TimeModes: []string{"adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds"}})).
		CrossCheck(func(v configdef.Values, r *configdef.Result) {
			for _, p := range []string{"schema", "message.prefix"} {
				if len(v.List(p+".include.list")) > 0 && len(v.List(p+".exclude.list")) > 0 {
					r.Error(p+".exclude.list", "%q is already specified", p+".include.list")
				}
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

func checkPlugin(v any) string {
	if s, _ := v.(string); !strings.EqualFold(s, "pgoutput") {
		return "only pgoutput is supported, which every server since PostgreSQL 10 has built in: set plugin.name=pgoutput or leave it out, and use a slot that was created with it"
	}
	return ""
}

// identity is one clause of replica.identity.autoset.values.
type identity struct {
	table *cdc.Patterns
	form  string // as ALTER TABLE ... REPLICA IDENTITY takes it
}

var identityForm = regexp.MustCompile(`(?i)^(DEFAULT|FULL|NOTHING|INDEX\s+(\S+))$`)

func parseIdentities(list []string) ([]identity, error) {
	var out []identity
	for _, s := range list {
		t, form, ok := strings.Cut(s, ":")
		m := identityForm.FindStringSubmatch(strings.TrimSpace(form))
		if !ok || m == nil {
			return nil, fmt.Errorf("%q must have the form schema.table:FULL, DEFAULT, NOTHING or INDEX name", s)
		}
		p, err := cdc.ParsePatterns(strings.TrimSpace(t))
		if err != nil {
			return nil, err
		}
		f := strings.ToUpper(m[1])
		if m[2] != "" {
			f = "USING INDEX " + quoteIdent(m[2])
		}
		out = append(out, identity{p, f})
	}
	return out, nil
}

var paramName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

func parseParams(s string) ([][2]string, error) {
	var out [][2]string
	for _, kv := range strings.Split(s, ";") {
		if strings.TrimSpace(kv) == "" {
			continue
		}
		k, v, ok := strings.Cut(strings.TrimSpace(kv), "=")
		switch {
		case !ok || !paramName.MatchString(k):
			return nil, fmt.Errorf("%q must have the form key=value", kv)
		case k == "proto_version" || k == "publication_names" || k == "binary" || k == "streaming" || k == "two_phase" || k == "messages":
			return nil, fmt.Errorf("%s is set by the connector itself", k)
		}
		out = append(out, [2]string{k, v})
	}
	return out, nil
}

// config is the parsed configuration.
type config struct {
	*cdc.Config
	host, user, password, dbname, sslmode, sslcert, sslkey, sslpassword, sslrootcert string
	port                                                                             int
	initialStatements                                                                []string

	schemas, messagePrefixes cdc.Filter
	snapshotMode             string

	slot                         string
	dropSlot, failover           bool
	slotRetries                  int
	slotRetryDelay               time.Duration
	streamParams                 [][2]string
	publication, publicationMode string
	viaRoot                      bool
	identities                   []identity
	hstoreMap, intervalString    bool
	moneyDigits                  int
	includeUnknown               bool
	statusInterval               time.Duration
	confirm                      bool
	mismatch                     string
	lockTables                   bool
	lockTimeout                  time.Duration
}

func parseConfig(v configdef.Values) (*config, error) {
	common, err := cdc.Parse("postgresql", v)
	if err != nil {
		return nil, err
	}
	low := func(k string) string { return strings.ToLower(v.Str(k)) }
	text := func(k string) string { return strings.Join(v.List(k), ",") }
	c := &config{
		Config: common,
		host:   v.Str("database.hostname"), port: int(v.Int("database.port")), user: v.Str("database.user"), password: v.Str("database.password"),
		dbname: v.Str("database.dbname"), sslmode: low("database.sslmode"), sslcert: v.Str("database.sslcert"), sslkey: v.Str("database.sslkey"),
		sslpassword: v.Str("database.sslpassword"), sslrootcert: v.Str("database.sslrootcert"),
		initialStatements: splitStatements(v.Str("database.initial.statements")),
		snapshotMode:      low("snapshot.mode"),
		slot:              v.Str("slot.name"), dropSlot: v.Bool("slot.drop.on.stop"), failover: v.Bool("slot.failover"),
		slotRetries: int(v.Int("slot.max.retries")), slotRetryDelay: v.Millis("slot.retry.delay.ms"),
		publication: v.Str("publication.name"), publicationMode: low("publication.autocreate.mode"), viaRoot: v.Bool("publish.via.partition.root"),
		hstoreMap: low("hstore.handling.mode") == "map", intervalString: low("interval.handling.mode") == "string",
		moneyDigits: int(v.Int("money.fraction.digits")), includeUnknown: v.Bool("include.unknown.datatypes"),
		statusInterval: v.Millis("status.update.interval.ms"), confirm: low("lsn.flush.mode") != "manual" && v.Bool("flush.lsn.source"),
		mismatch:   low("offset.mismatch.strategy"),
		lockTables: low("snapshot.locking.mode") == "shared", lockTimeout: v.Millis("snapshot.lock.timeout.ms"),
	}
	if c.snapshotMode == "never" || c.snapshotMode == "schema_only" {
		c.snapshotMode = "no_data"
	}
	if c.schemas, err = cdc.NewFilter(text("schema.include.list"), text("schema.exclude.list")); err != nil {
		return nil, fmt.Errorf("schema filters: %w", err)
	}
	if c.messagePrefixes, err = cdc.NewFilter(text("message.prefix.include.list"), text("message.prefix.exclude.list")); err != nil {
		return nil, fmt.Errorf("message prefix filters: %w", err)
	}
	if c.identities, err = parseIdentities(v.List("replica.identity.autoset.values")); err != nil {
		return nil, fmt.Errorf("replica.identity.autoset.values: %w", err)
	}
	if c.streamParams, err = parseParams(v.Str("slot.stream.params")); err != nil {
		return nil, fmt.Errorf("slot.stream.params: %w", err)
	}
	return c, nil
}

// captures reports whether a table is captured.
func (c *config) captures(schema, table string) bool {
	switch schema {
	case "pg_catalog", "information_schema", "pg_toast":
		return false
	}
	return c.schemas.Includes(schema) && c.Tables.Includes(schema+"."+table)
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

// connString is the libpq URL of the configuration.
func (c *config) connString() string {
	q := url.Values{"sslmode": {c.sslmode}, "connect_timeout": {"30"}}
	for k, v := range map[string]string{"sslcert": c.sslcert, "sslkey": c.sslkey, "sslpassword": c.sslpassword, "sslrootcert": c.sslrootcert} {
		if v != "" {
			q.Set(k, v)
		}
	}
	host := c.host
	if strings.Contains(host, ":") && !strings.HasPrefix(host, "[") {
		host = "[" + host + "]"
	}
	if strings.HasPrefix(host, "/") { // a socket's directory
		q.Set("host", host)
		host = ""
	} else {
		host += ":" + strconv.Itoa(c.port)
	}
	if host == "" {
		q.Set("port", strconv.Itoa(c.port))
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(c.user, c.password), Host: host, Path: "/" + c.dbname, RawQuery: q.Encode()}
	return u.String()
}

// quoteIdent quotes an SQL identifier.
func quoteIdent(s string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(s, "\x00", ""), `"`, `""`) + `"`
}

// quoteLiteral quotes an SQL string.
func quoteLiteral(s string) string {
	return `'` + strings.ReplaceAll(strings.ReplaceAll(s, "\x00", ""), `'`, `''`) + `'`
}
