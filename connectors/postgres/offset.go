package postgres

import (
	"fmt"

	"github.com/moldau-io/moldau/connectors/cdc"
)

// offset is a position in the format of Debezium's offsets, with lsn_events_processed added: how many of the changes at lsn_proc were
// handled, which tells changes of one multi-row insert apart.
type offset struct {
	lsnCommit uint64 // end of the last whole transaction at or before the position
	lsn       uint64 // LSN of the last handled change, or lsnCommit
	events    int64  // changes at lsn that were handled; 0 at a transaction's end
	xid       uint32 // transaction of the change
	micros    int64  // its commit time
	kind      string // message type: INSERT, UPDATE, ..., COMMIT

	snapshot          string // "INITIAL" while and after a snapshot, until the first change
	snapshotCompleted bool
}

// atCommit reports whether the position lies between transactions.
func (o *offset) atCommit() bool { return o.events == 0 && o.lsn == o.lsnCommit }

// OffsetMap renders the position as it is stored.
func (o *offset) OffsetMap() map[string]any {
	if o.snapshot != "" {
		return map[string]any{"lsn": int64(o.lsn), "txId": int64(o.xid), "ts_usec": o.micros, "snapshot": o.snapshot,
			"last_snapshot_record": o.snapshotCompleted, "snapshot_completed": o.snapshotCompleted}
	}
	m := map[string]any{"lsn_proc": int64(o.lsn), "lsn_commit": int64(o.lsnCommit), "lsn": int64(o.lsn), "txId": int64(o.xid),
		"ts_usec": o.micros, "messageType": o.kind}
	if o.events > 0 {
		m["lsn_events_processed"] = o.events
	}
	return m
}

// readOffset reads a stored position, ours or Debezium's; nil for none.
func readOffset(m map[string]any) (*offset, error) {
	if len(m) == 0 {
		return nil, nil
	}
	var bad error
	num := func(key string) (uint64, bool) {
		v, ok := m[key]
		if !ok || v == nil {
			return 0, false
		}
		n, err := cdc.OffsetInt(v)
		if err != nil && bad == nil {
			bad = fmt.Errorf("stored offset: %s: %w", key, err)
		}
		return uint64(n), true
	}
	o := &offset{}
	lsn, hasLSN := num("lsn")
	proc, hasProc := num("lsn_proc")
	commit, hasCommit := num("lsn_commit")
	events, _ := num("lsn_events_processed")
	xid, _ := num("txId")
	micros, _ := num("ts_usec")
	o.kind, _ = m["messageType"].(string)
	o.xid, o.micros, o.events = uint32(xid), int64(micros), int64(events)
	if bad != nil {
		return nil, bad
	}
	done := truth(m["snapshot_completed"]) || truth(m["last_snapshot_record"])
	if s, ok := m["snapshot"]; ok && s != nil && s != false && s != "false" {
		o.snapshot, o.snapshotCompleted = "INITIAL", done
		o.lsn, o.lsnCommit = lsn, lsn
		return o, nil
	}
	switch {
	case hasProc:
		o.lsn = proc
	case hasLSN:
		o.lsn = lsn
	default:
		return nil, fmt.Errorf("stored offset has neither lsn nor lsn_proc: %v", m)
	}
	o.lsnCommit = o.lsn
	if hasCommit {
		o.lsnCommit = commit
	}
	return o, nil
}

func truth(v any) bool { return v == true || v == "true" }

// formatLSN renders an LSN as the server does: 16/B374D848.
func formatLSN(lsn uint64) string { return fmt.Sprintf("%X/%X", lsn>>32, uint32(lsn)) }
