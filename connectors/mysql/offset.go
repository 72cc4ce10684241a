package mysql

import (
	"fmt"

	"github.com/moldau-io/moldau/connectors/cdc"
)

// offset is a position in the format of Debezium's offsets: a place between transactions (file and pos, gtids), and how many events and
// rows of the transaction behind it were handled.
type offset struct {
	file  string
	pos   uint64
	gtids *gtids // what was executed before that place; nil: there are no GTIDs
	// gtidText is the stored form of gtids, before it is known what server they belong to.
	gtidText string
	event    int64 // events of the transaction, counted from its BEGIN, that were handled whole
	row      int64 // rows of the next event that were handled
	serverID uint32
	seconds  int64 // of the last change

	snapshot bool // inside of a snapshot
}

// OffsetMap renders the position as it is stored.
func (o *offset) OffsetMap() map[string]any {
	m := map[string]any{"ts_sec": o.seconds, "file": o.file, "pos": int64(o.pos)}
	if s := o.gtidSet(); s != "" {
		m["gtids"] = s
	}
	if o.snapshot {
		m["snapshot"], m["snapshot_completed"] = "INITIAL", false
		return m
	}
	if o.serverID != 0 {
		m["server_id"] = int64(o.serverID)
	}
	if o.event > 0 {
		m["event"] = o.event
	}
	if o.row > 0 {
		m["row"] = o.row
	}
	return m
}

func (o *offset) gtidSet() string {
	if o.gtids != nil {
		return o.gtids.String()
	}
	return o.gtidText
}

// between reports whether the position lies between transactions.
func (o *offset) between() bool { return o.event == 0 && o.row == 0 }

// readOffset reads a stored position, ours or Debezium's; nil for none.
func readOffset(m map[string]any) (*offset, error) {
	if len(m) == 0 {
		return nil, nil
	}
	num := func(key string) (int64, error) {
		v, ok := m[key]
		if !ok || v == nil {
			return 0, nil
		}
		n, err := cdc.OffsetInt(v)
		if err == nil && n < 0 {
			err = fmt.Errorf("%v is negative", v)
		}
		if err != nil {
			return 0, fmt.Errorf("stored offset: %s: %w", key, err)
		}
		return n, nil
	}
	o := &offset{}
	o.file, _ = m["file"].(string)
	o.gtidText, _ = m["gtids"].(string)
	var pos, server int64
	for key, to := range map[string]*int64{"pos": &pos, "event": &o.event, "row": &o.row, "server_id": &server, "ts_sec": &o.seconds} {
		n, err := num(key)
		if err != nil {
			return nil, err
		}
		*to = n
	}
	o.pos, o.serverID = uint64(pos), uint32(server)
	if s, ok := m["snapshot"]; ok && s != nil && s != false && s != "false" && m["snapshot_completed"] != true {
		o.snapshot = true
	}
	if o.file == "" && o.gtidText == "" {
		return nil, fmt.Errorf("stored offset has neither file nor gtids: %v", m)
	}
	return o, nil
}
