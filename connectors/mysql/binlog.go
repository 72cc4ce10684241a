package mysql

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/klauspost/compress/zstd"
)

// errShort says that an event ends before its parts do.
var errShort = errors.New("the event is cut short")

// cursor reads fields from an event. After a read beyond the end bad is set and all reads give zeros.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.bad, c.b = true, nil
		return nil
	}
	v := c.b[:n:n]
	c.b = c.b[n:]
	return v
}

// uint reads a little-endian number of n bytes.
func (c *cursor) uint(n int) uint64 { return littleEndian(c.take(n)) }

// lenenc reads a length-encoded number.
func (c *cursor) lenenc() uint64 {
	switch n := c.uint(1); n {
	case 0xfb, 0xff:
		c.bad, c.b = true, nil
		return 0
	case 0xfc:
		return c.uint(2)
	case 0xfd:
		return c.uint(3)
	case 0xfe:
		return c.uint(8)
	default:
		return n
	}
}

// size reads a length-encoded number that counts bytes or parts still to come, so that it cannot be larger than what is left.
func (c *cursor) size() int {
	n := c.lenenc()
	if n > uint64(len(c.b)) {
		c.bad, c.b = true, nil
		return 0
	}
	return int(n)
}

func littleEndian(b []byte) (v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v
}

func bigEndian(b []byte) (v uint64) {
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

func bit(bitmap []byte, i int) bool { return bitmap[i>>3]&(1<<(i&7)) != 0 }

// mapColumn is a column as a table map event describes it.
type mapColumn struct {
	typ      byte   // as in the row image; enum and set instead of string
	meta     uint16 // length in bytes, precision<<8|scale, fraction digits, bits or size of the length prefix, by type
	nullable bool
	// The rest is there with binlog_row_metadata=FULL, signedness and charset with MINIMAL too.
	name      string
	signed    bool // signedness was told
	unsigned  bool
	collation uint64 // 0: not told
	values    [][]byte
	geometry  int // -1: not told
}

// tableMap is a decoded table map event.
type tableMap struct {
	schema, table string
	columns       []mapColumn
	key           []int // places of the primary key's columns in key order
	full          bool  // names are there
}

// tableMapID splits a table map event into the table's number, its name (schema, 0, table) and the rest, which is the same as long as
// the table is.
func tableMapID(b []byte) (id uint64, name, rest []byte, ok bool) {
	c := cursor{b: b}
	id = c.uint(6)
	c.uint(2)
	rest = c.b
	n := c.size()
	c.take(n + 1)
	m := c.size()
	c.take(m + 1)
	if c.bad {
		return 0, nil, nil, false
	}
	return id, rest[1 : 1+n+2+m], rest, true
}

func numeric(typ byte) bool {
	switch typ {
	case mysql.MYSQL_TYPE_TINY, mysql.MYSQL_TYPE_SHORT, mysql.MYSQL_TYPE_INT24, mysql.MYSQL_TYPE_LONG, mysql.MYSQL_TYPE_LONGLONG,
		mysql.MYSQL_TYPE_DECIMAL, mysql.MYSQL_TYPE_NEWDECIMAL, mysql.MYSQL_TYPE_FLOAT, mysql.MYSQL_TYPE_DOUBLE, mysql.MYSQL_TYPE_YEAR:
		return true
	}
	return false
}

func character(typ byte, mariadb bool) bool {
	switch typ {
	case mysql.MYSQL_TYPE_STRING, mysql.MYSQL_TYPE_VAR_STRING, mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_BLOB:
		return true
	case mysql.MYSQL_TYPE_GEOMETRY:
		return mariadb
	}
	return false
}

// Types of optional metadata.
const (
	metaSignedness = iota + 1
	metaDefaultCharset
	metaColumnCharset
	metaNames
	metaSetValues
	metaEnumValues
	metaGeometry
	metaKey
	metaKeyPrefix
	metaEnumSetDefaultCharset
	metaEnumSetColumnCharset
)

// decodeTableMap reads what tableMapID called the rest.
func decodeTableMap(rest []byte, mariadb bool) (*tableMap, error) {
	c := cursor{b: rest}
	t := &tableMap{schema: string(c.take(c.size()))}
	c.take(1)
	t.table = string(c.take(c.size()))
	c.take(1)
	n := c.size()
	types := c.take(n)
	meta := cursor{b: c.take(c.size())}
	nulls := c.take((n + 7) / 8)
	if c.bad {
		return nil, errShort
	}
	t.columns = make([]mapColumn, n)
	for i, typ := range types {
		col := &t.columns[i]
		col.typ, col.nullable, col.geometry = typ, bit(nulls, i), -1
		switch typ {
		case mysql.MYSQL_TYPE_STRING:
			m := meta.take(2)
			if meta.bad {
				return nil, errShort
			}
			switch {
			case m[0] == mysql.MYSQL_TYPE_ENUM || m[0] == mysql.MYSQL_TYPE_SET:
				col.typ, col.meta = m[0], uint16(m[1])
			case m[0]&0x30 != 0x30: // the two highest bits of the length are hidden in the type
				col.meta = uint16(m[1]) | (uint16(m[0]&0x30)^0x30)<<4
			default:
				col.meta = uint16(m[1])
			}
		case mysql.MYSQL_TYPE_NEWDECIMAL:
			col.meta = uint16(bigEndian(meta.take(2)))
			if p, s := col.meta>>8, col.meta&0xff; p > 65 || s > 38 || s > p || p == 0 && !meta.bad {
				return nil, fmt.Errorf("table %s.%s: column %d has the impossible type decimal(%d,%d)", t.schema, t.table, i+1, p, s)
			}
		case mysql.MYSQL_TYPE_VAR_STRING, mysql.MYSQL_TYPE_VARCHAR:
			col.meta = uint16(meta.uint(2))
		case mysql.MYSQL_TYPE_BIT:
			m := meta.uint(2)
			col.meta = uint16(m>>8*8 + m&0xff)
			if col.meta > 64 || m&0xff > 7 {
				return nil, fmt.Errorf("table %s.%s: column %d has the impossible type bit(%d)", t.schema, t.table, i+1, col.meta)
			}
		case mysql.MYSQL_TYPE_BLOB, mysql.MYSQL_TYPE_GEOMETRY, mysql.MYSQL_TYPE_VECTOR, mysql.MYSQL_TYPE_JSON:
			if col.meta = uint16(meta.uint(1)); col.meta < 1 || col.meta > 4 {
				return nil, fmt.Errorf("table %s.%s: column %d has length prefixes of %d bytes", t.schema, t.table, i+1, col.meta)
			}
		case mysql.MYSQL_TYPE_DOUBLE, mysql.MYSQL_TYPE_FLOAT:
			meta.uint(1)
		case mysql.MYSQL_TYPE_TIME2, mysql.MYSQL_TYPE_DATETIME2, mysql.MYSQL_TYPE_TIMESTAMP2:
			if col.meta = uint16(meta.uint(1)); col.meta > 6 {
				return nil, fmt.Errorf("table %s.%s: column %d has %d digits of fraction", t.schema, t.table, i+1, col.meta)
			}
		case mysql.MYSQL_TYPE_TINY, mysql.MYSQL_TYPE_SHORT, mysql.MYSQL_TYPE_LONG, mysql.MYSQL_TYPE_LONGLONG, mysql.MYSQL_TYPE_INT24,
			mysql.MYSQL_TYPE_TIMESTAMP, mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_NEWDATE, mysql.MYSQL_TYPE_TIME, mysql.MYSQL_TYPE_DATETIME,
			mysql.MYSQL_TYPE_YEAR, mysql.MYSQL_TYPE_NULL:
		default:
			return nil, fmt.Errorf("table %s.%s: column %d has type %d, which is not supported (compressed columns are not)", t.schema, t.table, i+1, typ)
		}
	}
	if meta.bad {
		return nil, errShort
	}
	for len(c.b) > 0 && !c.bad {
		kind := c.uint(1)
		v := cursor{b: c.take(c.size())}
		if c.bad {
			break
		}
		t.optional(int(kind), &v, mariadb)
		if v.bad {
			return nil, errShort
		}
	}
	if c.bad {
		return nil, errShort
	}
	return t, nil
}

// optional reads one block of optional metadata.
func (t *tableMap) optional(kind int, v *cursor, mariadb bool) {
	each := func(is func(c *mapColumn) bool, f func(n int, c *mapColumn)) {
		n := 0
		for i := range t.columns {
			if c := &t.columns[i]; is(c) {
				f(n, c)
				n++
			}
		}
	}
	isChar := func(c *mapColumn) bool { return character(c.typ, mariadb) }
	isEnumSet := func(c *mapColumn) bool { return c.typ == mysql.MYSQL_TYPE_ENUM || c.typ == mysql.MYSQL_TYPE_SET }
	defaults := func(is func(c *mapColumn) bool) {
		def := v.lenenc()
		own := map[int]uint64{}
		for len(v.b) > 0 {
			i := v.lenenc()
			own[int(i)] = v.lenenc()
		}
		each(is, func(n int, c *mapColumn) {
			c.collation = def
			if o, ok := own[n]; ok {
				c.collation = o
			}
		})
	}
	single := func(is func(c *mapColumn) bool) {
		each(is, func(_ int, c *mapColumn) { c.collation = v.lenenc() })
	}
	values := func(typ byte) {
		each(func(c *mapColumn) bool { return c.typ == typ }, func(_ int, c *mapColumn) {
			n := v.size()
			for range n {
				c.values = append(c.values, v.take(v.size()))
			}
		})
	}
	switch kind {
	case metaSignedness:
		each(func(c *mapColumn) bool { return numeric(c.typ) }, func(n int, c *mapColumn) {
			if n/8 < len(v.b) {
				c.signed, c.unsigned = true, v.b[n/8]&(0x80>>(n%8)) != 0
			}
		})
	case metaDefaultCharset:
		defaults(isChar)
	case metaColumnCharset:
		single(isChar)
	case metaEnumSetDefaultCharset:
		defaults(isEnumSet)
	case metaEnumSetColumnCharset:
		single(isEnumSet)
	case metaNames:
		for i := range t.columns {
			t.columns[i].name = string(v.take(v.size()))
		}
		t.full = len(t.columns) > 0
	case metaSetValues:
		values(mysql.MYSQL_TYPE_SET)
	case metaEnumValues:
		values(mysql.MYSQL_TYPE_ENUM)
	case metaGeometry:
		each(func(c *mapColumn) bool { return c.typ == mysql.MYSQL_TYPE_GEOMETRY }, func(_ int, c *mapColumn) { c.geometry = int(v.lenenc() & 0xff) })
	case metaKey, metaKeyPrefix:
		for len(v.b) > 0 {
			i := v.lenenc()
			if kind == metaKeyPrefix {
				v.lenenc()
			}
			if i >= uint64(len(t.columns)) {
				v.bad = true
				return
			}
			t.key = append(t.key, int(i))
		}
	}
}

// rowsEvent is a decoded rows event but for its rows.
type rowsEvent struct {
	op            byte // 'c', 'u', 'd'
	table         uint64
	columns       int
	before, after []byte // bitmaps of the columns in the images; nil when there is no such image
	rows          []byte
}

// maxInflated bounds what a compressed event may grow to.
const maxInflated = 1 << 30

// inflate unpacks MariaDB's form of compressed data: a byte with the size of the length, the length, a zlib stream.
func inflate(b []byte) ([]byte, error) {
	c := cursor{b: b}
	n := bigEndian(c.take(int(c.uint(1) & 7)))
	if c.bad {
		return nil, errShort
	}
	if n > maxInflated {
		return nil, fmt.Errorf("%d bytes are more than the limit of %d", n, maxInflated)
	}
	r, err := zlib.NewReader(bytes.NewReader(c.b))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	out, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && uint64(len(out)) != n {
		err = errShort
	}
	return out, err
}

// decodeRows reads a rows event.
func decodeRows(typ replication.EventType, b []byte) (rowsEvent, error) {
	var e rowsEvent
	v2, compressed := false, false
	switch typ {
	case replication.WRITE_ROWS_EVENTv1:
		e.op = 'c'
	case replication.UPDATE_ROWS_EVENTv1:
		e.op = 'u'
	case replication.DELETE_ROWS_EVENTv1:
		e.op = 'd'
	case replication.WRITE_ROWS_EVENTv2:
		e.op, v2 = 'c', true
	case replication.UPDATE_ROWS_EVENTv2:
		e.op, v2 = 'u', true
	case replication.DELETE_ROWS_EVENTv2:
		e.op, v2 = 'd', true
	case replication.MARIADB_WRITE_ROWS_COMPRESSED_EVENT_V1:
		e.op, compressed = 'c', true
	case replication.MARIADB_UPDATE_ROWS_COMPRESSED_EVENT_V1:
		e.op, compressed = 'u', true
	case replication.MARIADB_DELETE_ROWS_COMPRESSED_EVENT_V1:
		e.op, compressed = 'd', true
	case replication.PARTIAL_UPDATE_ROWS_EVENT:
		return e, errors.New("partial JSON updates are not supported: SET GLOBAL binlog_row_value_options=''")
	default:
		return e, fmt.Errorf("rows events of type %s are not supported", typ)
	}
	c := cursor{b: b}
	e.table = c.uint(6)
	c.uint(2)
	if v2 {
		c.take(int(c.uint(2)) - 2)
	}
	n := c.lenenc()
	if n > 4096 {
		return e, fmt.Errorf("a rows event has %d columns", n)
	}
	e.columns = int(n)
	bits := c.take((e.columns + 7) / 8)
	switch e.op {
	case 'c':
		e.after = bits
	case 'd':
		e.before = bits
	case 'u':
		e.before, e.after = bits, c.take((e.columns+7)/8)
	}
	if c.bad {
		return e, errShort
	}
	e.rows = c.b
	if compressed {
		var err error
		if e.rows, err = inflate(e.rows); err != nil {
			return e, fmt.Errorf("compressed rows event: %w", err)
		}
	}
	return e, nil
}

// queryEvent is a statement in the binlog.
type queryEvent struct {
	thread uint32
	schema string
	sql    []byte
}

func decodeQuery(typ replication.EventType, b []byte) (queryEvent, error) {
	c := cursor{b: b}
	var q queryEvent
	q.thread = uint32(c.uint(4))
	c.uint(4)
	n := int(c.uint(1))
	c.uint(2)
	c.take(int(c.uint(2)))
	q.schema = string(c.take(n))
	c.take(1)
	q.sql = c.b
	if c.bad {
		return q, errShort
	}
	if typ == replication.MARIADB_QUERY_COMPRESSED_EVENT {
		var err error
		if q.sql, err = inflate(q.sql); err != nil {
			return q, fmt.Errorf("compressed query event: %w", err)
		}
	}
	return q, nil
}

// gtidEvent begins a transaction.
type gtidEvent struct {
	sid    [16]byte // MySQL
	tag    string
	gno    int64
	commit int64 // microseconds since the epoch of the commit on this server, 0: not told
	// MariaDB
	domain     uint32
	sequence   uint64
	standalone bool
}

func decodeGTID(typ replication.EventType, b []byte) (g gtidEvent, err error) {
	c := cursor{b: b}
	switch typ {
	case replication.MARIADB_GTID_EVENT:
		g.sequence, g.domain = c.uint(8), uint32(c.uint(4))
		g.standalone = c.uint(1)&replication.BINLOG_MARIADB_FL_STANDALONE != 0
	case replication.GTID_TAGGED_LOG_EVENT:
		defer func() { // the library's decoder is not made for hostile bytes
			if p := recover(); p != nil {
				err = errShort
			}
		}()
		var e replication.GtidTaggedLogEvent
		if err := e.Decode(b); err != nil {
			return g, err
		}
		if len(e.SID) != 16 {
			return g, errShort
		}
		g.sid, g.tag, g.gno, g.commit = [16]byte(e.SID), e.Tag.String(), e.GNO, int64(e.ImmediateCommitTimestamp)
	default:
		c.uint(1)
		sid := c.take(16)
		g.gno = int64(c.uint(8))
		if c.bad {
			return g, errShort
		}
		g.sid = [16]byte(sid)
		if len(c.b) >= 24 && c.uint(1) == replication.LogicalTimestampTypeCode {
			c.uint(16)
			g.commit = int64(c.uint(7) &^ (1 << 55))
		}
		c.bad = false
	}
	if c.bad {
		return g, errShort
	}
	return g, nil
}

// decodePayload unpacks a compressed transaction and calls f for each of its events.
func decodePayload(b []byte, f func(typ replication.EventType, header, body []byte) error) error {
	c := cursor{b: b}
	algorithm, size := uint64(0), uint64(0)
	for {
		kind := c.lenenc()
		if kind == replication.OTW_PAYLOAD_HEADER_END_MARK || c.bad {
			break
		}
		v := cursor{b: c.take(c.size())}
		switch kind {
		case replication.OTW_PAYLOAD_COMPRESSION_TYPE_FIELD:
			algorithm = v.lenenc()
		case replication.OTW_PAYLOAD_UNCOMPRESSED_SIZE_FIELD:
			size = v.lenenc()
		}
		if v.bad {
			return errShort
		}
	}
	if c.bad {
		return errShort
	}
	events := c.b
	switch algorithm {
	case replication.ZSTD:
		if size > maxInflated {
			return fmt.Errorf("a compressed transaction of %d bytes is larger than the limit of %d", size, maxInflated)
		}
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxInflated))
		if err != nil {
			return err
		}
		defer dec.Close()
		if events, err = dec.DecodeAll(c.b, nil); err != nil {
			return fmt.Errorf("compressed transaction: %w", err)
		}
	case replication.NONE:
	default:
		return fmt.Errorf("a transaction is compressed by the unknown algorithm %d", algorithm)
	}
	for len(events) > 0 {
		if len(events) < replication.EventHeaderSize {
			return errShort
		}
		n := binary.LittleEndian.Uint32(events[9:])
		if n < replication.EventHeaderSize || uint64(n) > uint64(len(events)) {
			return errShort
		}
		if err := f(replication.EventType(events[4]), events[:replication.EventHeaderSize], events[replication.EventHeaderSize:n:n]); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}
