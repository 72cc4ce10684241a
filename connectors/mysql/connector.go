package mysql

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
)

// Connector runs one task: a binlog has one order.
type Connector struct {
	mariadb bool
	raw     map[string]string
}

var _ plugins.SourceConnector = (*Connector)(nil)

// validateTimeout bounds the look at the server.
const validateTimeout = 15 * time.Second

// Validate connects and looks whether the server can be captured from.
func (c *Connector) Validate(ctx context.Context, v configdef.Values, res *configdef.Result) {
	cfg, err := parseConfig(v, c.mariadb)
	if err != nil {
		res.Error("database.ssl.mode", "%s", err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(ctx, validateTimeout)
	defer cancel()
	cat, err := openCatalog(ctx, cfg)
	if err != nil {
		key := "database.hostname"
		var me *mysql.MyError
		if errors.As(err, &me) && (me.Code == mysql.ER_ACCESS_DENIED_ERROR || me.Code == mysql.ER_ACCESS_DENIED_NO_PASSWORD_ERROR) {
			key = "database.user"
		}
		res.Error(key, "Unable to connect: %s", err)
		return
	}
	defer cat.close()
	if key, err := cat.checkServer(nil); err != nil {
		res.Error(key, "%s", err.Error())
		return
	}
	if cfg.snapshotMode == "initial_only" {
		return
	}
	if _, err := cat.binlogPosition(); err != nil {
		key := "database.hostname"
		if denied(err) {
			key = "database.user"
		}
		res.Error(key, "%s", explain(cfg, err).Error())
	}
}

// Start implements plugins.Connector.
func (c *Connector) Start(_ context.Context, _ plugins.Env, v configdef.Values) error {
	if _, err := parseConfig(v, c.mariadb); err != nil {
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

// ExactlyOnceSupport implements plugins.ExactlyOnceConnector: the binlog is gone on with at the very row, in the middle of a transaction
// too. A snapshot that was interrupted is begun anew, as Debezium does: its rows are then in the log once more, as reads. One of MySQL
// without locks may meet a change twice.
func (c *Connector) ExactlyOnceSupport(cfg configdef.Values) bool {
	return c.mariadb || cfg.Str("snapshot.locking.mode") != "none"
}

// NewSourceTask implements plugins.SourceConnector.
func (c *Connector) NewSourceTask() plugins.SourceTask { return &Task{mariadb: c.mariadb} }
