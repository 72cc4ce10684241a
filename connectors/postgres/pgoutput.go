package postgres

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kinds of pgoutput messages (protocol version 1).
const (
	msgBegin    = 'B'
	msgCommit   = 'C'
	msgOrigin   = 'O'
	msgRelation = 'R'
	msgType     = 'Y'
	msgInsert   = 'I'
	msgUpdate   = 'U'
	msgDelete   = 'D'
	msgTruncate = 'T'
	msgMessage  = 'M'
)

// maxColumns is PostgreSQL's limit of columns (1600) with room; a message that says more is malformed.
const maxColumns = 4096

var errShort = errors.New("message ends early")

// tuple is a row image: columns one behind the other, checked when the message was decoded.
type tuple struct {
	n    int
	data []byte
}

// present reports whether the message carries the tuple.
func (t tuple) present() bool { return t.data != nil }

// Kinds of column values in a tuple.
const (
	colNull      = 'n'
	colUnchanged = 'u' // a TOASTed value that did not change
	colText      = 't'
	colBinary    = 'b'
)

// next takes the first column off the tuple: its kind and, for text, its bytes, which alias the message.
func (t *tuple) next() (kind byte, value []byte) {
	kind = t.data[0]
	if kind == colNull || kind == colUnchanged {
		t.data = t.data[1:]
		return kind, nil
	}
	n := 5 + int(binary.BigEndian.Uint32(t.data[1:]))
	value = t.data[5:n]
	t.data = t.data[n:]
	return kind, value
}

// relColumn is a column of a relation message.
type relColumn struct {
	key     bool // part of the replica identity
	name    string
	typeOID uint32
	typmod  int32
}

// relationMsg describes a table at a point of the stream.
type relationMsg struct {
	id            uint32
	schema, table string
	replident     byte // d, n, f, i
	columns       []relColumn
}

// message is a decoded pgoutput message; which members are set depends on kind. Byte slices alias the input.
type message struct {
	kind byte

	lsn      uint64 // Begin: final LSN; Commit: LSN of the commit; Origin, Message: LSN
	endLSN   uint64 // Commit
	micros   int64  // Begin, Commit: commit time, microseconds since the epoch
	xid      uint32 // Begin
	relation relationMsg
	relID    uint32 // Insert, Update, Delete
	oldKind  byte   // Update, Delete: 'K' (identity columns) or 'O' (whole row)
	old, new tuple
	relIDs   []uint32 // Truncate
	flags    byte     // Truncate, Message (1: transactional)
	origin   string
	prefix   []byte
	content  []byte
}

// pgEpochMicros is 2000-01-01 in microseconds since 1970-01-01.
const pgEpochMicros = 946_684_800_000_000

// cursor reads big-endian values from a message; after an overrun every read gives zero and err is set.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if c.bad || n < 0 || n > len(c.b) {
		c.bad = true
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) u8() byte {
	if v := c.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (c *cursor) u16() uint16 {
	if v := c.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if v := c.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if v := c.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func (c *cursor) cstring() []byte {
	for i, b := range c.b {
		if b == 0 {
			v := c.b[:i]
			c.b = c.b[i+1:]
			return v
		}
	}
	c.bad = true
	return nil
}

// tuple checks a row image and steps over it.
func (c *cursor) tuple() tuple {
	n := int(c.u16())
	if n > maxColumns {
		c.bad = true
		return tuple{}
	}
	start := c.b
	for range n {
		switch c.u8() {
		case colNull, colUnchanged:
		case colText, colBinary:
			c.take(int(c.u32()))
		default:
			c.bad = true
		}
		if c.bad {
			return tuple{}
		}
	}
	return tuple{n: n, data: start[: len(start)-len(c.b) : len(start)-len(c.b)]}
}

// decode reads one pgoutput message into m. It allocates only for relation, truncate and origin messages. The result aliases b.
func decode(b []byte, m *message) error {
	if len(b) == 0 {
		return errShort
	}
	c := cursor{b: b[1:]}
	*m = message{kind: b[0]}
	switch m.kind {
	case msgBegin:
		m.lsn = c.u64()
		m.micros = int64(c.u64()) + pgEpochMicros
		m.xid = c.u32()
	case msgCommit:
		m.flags = c.u8()
		m.lsn = c.u64()
		m.endLSN = c.u64()
		m.micros = int64(c.u64()) + pgEpochMicros
	case msgOrigin:
		m.lsn = c.u64()
		m.origin = string(c.cstring())
	case msgRelation:
		decodeRelation(&c, &m.relation)
	case msgType:
		c.u32()
		c.cstring()
		c.cstring()
	case msgInsert:
		m.relID = c.u32()
		if c.u8() != 'N' {
			return fmt.Errorf("insert message without a new row")
		}
		m.new = c.tuple()
	case msgUpdate:
		m.relID = c.u32()
		k := c.u8()
		if k == 'K' || k == 'O' {
			m.oldKind = k
			m.old = c.tuple()
			k = c.u8()
		}
		if k != 'N' && !c.bad {
			return fmt.Errorf("update message without a new row")
		}
		m.new = c.tuple()
	case msgDelete:
		m.relID = c.u32()
		m.oldKind = c.u8()
		if m.oldKind != 'K' && m.oldKind != 'O' && !c.bad {
			return fmt.Errorf("delete message without an old row")
		}
		m.old = c.tuple()
	case msgTruncate:
		n := int(c.u32())
		m.flags = c.u8()
		if n < 0 || n > len(c.b)/4 {
			return errShort
		}
		m.relIDs = make([]uint32, n)
		for i := range m.relIDs {
			m.relIDs[i] = c.u32()
		}
	case msgMessage:
		m.flags = c.u8()
		m.lsn = c.u64()
		m.prefix = c.cstring()
		m.content = c.take(int(c.u32()))
	default:
		return fmt.Errorf("unknown kind of message %q", m.kind)
	}
	if c.bad {
		return fmt.Errorf("message of kind %q: %w", m.kind, errShort)
	}
	return nil
}

func decodeRelation(c *cursor, r *relationMsg) {
	r.id = c.u32()
	r.schema = string(c.cstring())
	r.table = string(c.cstring())
	if r.schema == "" {
		r.schema = "pg_catalog"
	}
	r.replident = c.u8()
	n := int(c.u16())
	if n > maxColumns || n > len(c.b)/10 {
		c.bad = true
		return
	}
	r.columns = make([]relColumn, n)
	for i := range r.columns {
		r.columns[i].key = c.u8()&1 != 0
		r.columns[i].name = string(c.cstring())
		r.columns[i].typeOID = c.u32()
		r.columns[i].typmod = int32(c.u32())
	}
}
