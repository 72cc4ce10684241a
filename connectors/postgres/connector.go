package postgres

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// Connector runs one task: a slot has one reader.
type Connector struct{ raw map[string]string }

var _ plugins.SourceConnector = (*Connector)(nil)

// validateTimeout bounds the look at the server.
const validateTimeout = 15 * time.Second

// Validate connects and looks whether the server can be captured from.
func (c *Connector) Validate(ctx context.Context, v configdef.Values, res *configdef.Result) {
	cfg, err := parseConfig(v)
	if err != nil {
		res.Error("connector.class", "%s", err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(ctx, validateTimeout)
	defer cancel()
	cat, err := openCatalog(ctx, cfg)
	if err != nil {
		var pe *pgconn.PgError
		switch {
		case errors.As(err, &pe) && (pe.Code == "28P01" || pe.Code == "28000"):
			res.Error("database.user", "Error while validating connector config: %s", err)
		case errors.As(err, &pe) && pe.Code == "3D000":
			res.Error("database.dbname", "Error while validating connector config: %s", err)
		default:
			res.Error("database.hostname", "Error while validating connector config: %s", err)
		}
		return
	}
	defer cat.close()
	var super, repl bool
	err = cat.conn.QueryRow(ctx, `SELECT rolsuper, rolreplication OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname IN ('rds_replication', 'rdsadmin', 'azure_pg_admin', 'cloudsqlsuperuser')
  AND pg_has_role(current_user, r.oid, 'member')) FROM pg_roles WHERE rolname = current_user`).Scan(&super, &repl)
	switch {
	case err != nil:
		res.Error("database.user", "Error while validating connector config: %s", err)
	case !super && !repl && cfg.snapshotMode != "initial_only":
		res.Error("database.user", "Postgres roles LOGIN and REPLICATION are not assigned to user: %s", cfg.user)
	}
	if _, err := cat.slot(ctx); err != nil {
		res.Error("slot.name", "%s", err.Error())
	}
}

// Start implements plugins.Connector.
func (c *Connector) Start(_ context.Context, _ plugins.Env, v configdef.Values) error {
	if _, err := parseConfig(v); err != nil {
		return err
	}
	c.raw = v.Raw()
	return nil
}

// TaskConfigs returns the connector's own configuration for its one task.
func (c *Connector) TaskConfigs(int) ([]map[string]string, error) {
	return []map[string]string{maps.Clone(c.raw)}, nil
}

// Stop implements plugins.Connector.
func (c *Connector) Stop() error { return nil }

// ExactlyOnceSupport implements plugins.ExactlyOnceConnector: the stream is gone on with at the very change, in the middle of a transaction too. A
// snapshot that was interrupted is begun anew, as Debezium does: its rows are then in the log once more, as reads.
func (c *Connector) ExactlyOnceSupport(configdef.Values) bool { return true }

// NewSourceTask implements plugins.SourceConnector.
func (c *Connector) NewSourceTask() plugins.SourceTask { return &Task{} }
