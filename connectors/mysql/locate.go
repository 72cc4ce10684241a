package mysql

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/moldau-io/moldau/connectors/cdc"
)

// isGone reports whether the server cannot go on from a position.
func isGone(err error) bool { return errors.Is(err, errGone) || purged(err) }

// locate makes sure that the server can go on from o without a gap, as far as it can be told beforehand, and reads o's GTIDs.
func (c *catalog) locate(o *offset) error {
	use, err := c.usesGTIDs()
	if err != nil {
		return err
	}
	if !use {
		o.gtids, o.gtidText = nil, ""
	} else if o.gtids == nil && (o.gtidText != "" || c.cfg.mariadb && o.pos <= 4) {
		if o.gtids, err = parseGTIDs(c.cfg.flavor, o.gtidText); err != nil {
			return cdc.Fatalf("stored offset: %w", err)
		}
	}
	if o.gtids != nil {
		if c.cfg.mariadb {
			return nil // told when the stream begins
		}
		return c.locateGTIDs(o.gtids)
	}
	files, err := c.files()
	if err != nil {
		return err
	}
	size, ok := files[o.file]
	if !ok || o.pos > size {
		return fmt.Errorf("position %d of %s: %w", o.pos, o.file, errGone)
	}
	return nil
}

func (c *catalog) locateGTIDs(g *gtids) error {
	r, err := c.query("SELECT @@GLOBAL.gtid_executed, @@GLOBAL.gtid_purged")
	if err != nil {
		return err
	}
	sets := make([]mysql.GTIDSet, 2)
	for i := range sets {
		if sets[i], err = mysql.ParseMysqlGTIDSet(strings.ReplaceAll(cell(r, 0, i), "\n", "")); err != nil {
			return fmt.Errorf("the server's GTIDs: %w", err)
		}
	}
	have := g.all()
	switch {
	case !sets[0].Contain(have):
		return fmt.Errorf("the server does not know all of the transactions %s that were read before (another server, or one that was reset): %w", have, errGone)
	case !have.Contain(sets[1]):
		return fmt.Errorf("the server has removed transactions behind %s (gtid_purged is %s): %w", have, sets[1], errGone)
	}
	return nil
}
