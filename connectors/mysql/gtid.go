package mysql

import (
	"fmt"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// gtids is a set of transactions: what was executed up to some point. It is immutable; adding makes a new one, which in the common case
// (the next transaction of the same server) shares everything with the old. It is rendered only when it is stored.
type gtids struct {
	set mysql.GTIDSet // never changed
	// MySQL: transactions from..to of one source behind the set.
	sid      [16]byte
	tag      string
	from, to int64
}

func parseGTIDs(flavor, s string) (*gtids, error) {
	set, err := mysql.ParseGTIDSet(flavor, s)
	if err != nil {
		return nil, fmt.Errorf("%q is no set of GTIDs: %w", s, err)
	}
	return &gtids{set: set}, nil
}

// all returns everything as one set, which the caller may change.
func (g *gtids) all() mysql.GTIDSet {
	s := g.set.Clone()
	if m, ok := s.(*mysql.MysqlGTIDSet); ok && g.to > 0 {
		if (*m)[g.sid] == nil {
			(*m)[g.sid] = map[mysql.Tag]mysql.IntervalSlice{}
		}
		tag := mysql.NewTag(g.tag)
		(*m)[g.sid][tag] = append((*m)[g.sid][tag], mysql.Interval{Start: g.from, Stop: g.to + 1}).Normalize()
	}
	return s
}

// String renders the set as the server does.
func (g *gtids) String() string {
	if g == nil {
		return ""
	}
	return g.all().String()
}

// add returns the set with one more transaction.
func (g *gtids) add(e *gtidEvent, serverID uint32) *gtids {
	if m, ok := g.set.(*mysql.MariadbGTIDSet); ok {
		n := &mysql.MariadbGTIDSet{Sets: make(map[uint32]*mysql.MariadbGTID, len(m.Sets)+1)}
		for d, old := range m.Sets {
			n.Sets[d] = old
		}
		n.Sets[e.domain] = &mysql.MariadbGTID{DomainID: e.domain, ServerID: serverID, SequenceNumber: e.sequence}
		return &gtids{set: n}
	}
	sid := e.sid
	if g.to > 0 && g.sid == sid && g.tag == e.tag && e.gno == g.to+1 {
		return &gtids{set: g.set, sid: sid, tag: g.tag, from: g.from, to: e.gno}
	}
	return &gtids{set: g.all(), sid: sid, tag: e.tag, from: e.gno, to: e.gno}
}

// name renders the transaction's own GTID.
func (e *gtidEvent) name(mariadb bool, serverID uint32) string {
	if mariadb {
		return fmt.Sprintf("%d-%d-%d", e.domain, serverID, e.sequence)
	}
	if e.tag != "" {
		return fmt.Sprintf("%s:%s:%d", formatUUID(e.sid), e.tag, e.gno)
	}
	return fmt.Sprintf("%s:%d", formatUUID(e.sid), e.gno)
}

func formatUUID(b [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
