package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/moldau-io/moldau/connectors/cdc"
)

// errGone says that the server has no binlog from the stored position on.
var errGone = errors.New("the binlog from there on is gone")

// readingBinlog is the code under which a server ends a stream for reasons of its own.
const readingBinlog = 1236

// serverError returns the server's error in err, or nil.
func serverError(err error) *mysql.MyError {
	var me *mysql.MyError
	if errors.As(err, &me) {
		return me
	}
	return nil
}

func denied(err error) bool {
	me := serverError(err)
	if me == nil {
		return false
	}
	switch me.Code {
	case mysql.ER_ACCESS_DENIED_ERROR, mysql.ER_DBACCESS_DENIED_ERROR, mysql.ER_SPECIFIC_ACCESS_DENIED_ERROR, mysql.ER_TABLEACCESS_DENIED_ERROR:
		return true
	}
	return false
}

// retriable reports whether an error may pass by itself.
func retriable(err error) bool {
	if cdc.IsFatal(err) || errors.Is(err, errGone) {
		return false
	}
	if me := serverError(err); me != nil {
		switch me.Code {
		case mysql.ER_SERVER_SHUTDOWN, mysql.ER_CON_COUNT_ERROR, mysql.ER_TOO_MANY_USER_CONNECTIONS, mysql.ER_USER_LIMIT_REACHED,
			mysql.ER_ABORTING_CONNECTION, mysql.ER_NEW_ABORTING_CONNECTION, mysql.ER_NET_READ_ERROR, mysql.ER_NET_READ_INTERRUPTED, mysql.ER_NET_ERROR_ON_WRITE, mysql.ER_NET_WRITE_INTERRUPTED,
			mysql.ER_LOCK_WAIT_TIMEOUT, mysql.ER_LOCK_DEADLOCK, mysql.ER_QUERY_INTERRUPTED, mysql.ER_TABLE_DEF_CHANGED,
			1927 /* MariaDB: connection was killed */, 3024 /* statement timeout */, 3168 /* server isn't available */, 4031 /* disconnected for inactivity */ :
			return true
		case readingBinlog:
			m := strings.ToLower(me.Message)
			return strings.Contains(m, "shutdown") || strings.Contains(m, "shutting down") || strings.Contains(m, "net_") || strings.Contains(m, "timeout")
		}
		return false
	}
	var ne net.Error
	return errors.Is(err, mysql.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &ne) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, replication.ErrSyncClosed) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errStreamEnded)
}

// explain adds the remedy to errors that the server only names.
func explain(cfg *config, err error) error {
	if errors.Is(err, errGone) {
		return fmt.Errorf("%w: changes since then cannot be read any more. Use snapshot.mode=when_needed to read the tables again, or reset the connector's offsets", err)
	}
	if denied(err) {
		return fmt.Errorf("%w: user %q needs SELECT on the captured tables, RELOAD or LOCK TABLES for snapshots, and REPLICATION SLAVE and REPLICATION CLIENT (MariaDB: BINLOG MONITOR) to read the binlog", err, cfg.user)
	}
	me := serverError(err)
	if me == nil {
		return err
	}
	m := strings.ToLower(me.Message)
	switch {
	case purged(err):
		return fmt.Errorf("%w: the server has removed a part of its binlog that was not read yet (binlog_expire_logs_seconds). Use snapshot.mode=when_needed to read the tables again, or reset the connector's offsets", err)
	case strings.Contains(m, "same server_uuid/server_id"):
		return fmt.Errorf("%w: another replica uses database.server.id=%d; give each its own", err, cfg.serverID)
	case me.Code == readingBinlog && strings.Contains(m, "max_allowed_packet"):
		return fmt.Errorf("%w: raise max_allowed_packet on the server", err)
	}
	return err
}

// purged reports whether the server says that the binlog asked for is gone.
func purged(err error) bool {
	me := serverError(err)
	if me == nil || me.Code != readingBinlog {
		return false
	}
	m := strings.ToLower(me.Message)
	return strings.Contains(m, "purged") || strings.Contains(m, "could not find first log") || strings.Contains(m, "could not find gtid state") ||
		strings.Contains(m, "position > file size") || strings.Contains(m, "impossible position")
}
