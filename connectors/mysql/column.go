package mysql

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// kind is what a column holds, however it was learnt of.
type kind byte

const (
	kindUnknown kind = iota
	kindTiny
	kindShort
	kindInt24
	kindLong
	kindLongLong
	kindFloat
	kindDouble
	kindDecimal
	kindChar   // CHAR, VARCHAR, TEXT
	kindFixed  // BINARY
	kindBinary // VARBINARY, BLOB
	kindBit
	kindYear
	kindDate
	kindTime
	kindDatetime
	kindTimestamp
	kindEnum
	kindSet
	kindJSON
	kindGeometry
	kindVector
	kindUUID // MariaDB
	kindInet // MariaDB: INET4, INET6
)

// column describes a column for its coding.
type column struct {
	name               string
	kind               kind
	unsigned, nullable bool
	precision, scale   int // decimals; scale >= 0 of a float: FLOAT(m,d)
	length             int // bits of a BIT, bytes of a BINARY
	fsp                int
	charset            string
	values             []string // of an enum or set
	point              bool

	// What only the catalog knows.
	info *columnInfo
}

// columnInfo is a row of information_schema.columns.
type columnInfo struct {
	name, dataType, columnType, charset, extra string
	def                                        string
	hasDef                                     bool // def is not NULL
	quoted                                     bool // def is an expression, with strings in quotes (MariaDB)
	nullable                                   bool
	charLength, precision, scale, fsp          int // -1: NULL
}

// generated reports whether the column is computed from others.
func (c *columnInfo) generated() bool {
	e := strings.ToUpper(c.extra)
	return strings.Contains(e, "VIRTUAL") || strings.Contains(e, "STORED") || strings.Contains(e, "PERSISTENT")
}

// kinds of the catalog's data types.
var kinds = map[string]kind{
	"tinyint": kindTiny, "smallint": kindShort, "mediumint": kindInt24, "int": kindLong, "integer": kindLong, "bigint": kindLongLong,
	"float": kindFloat, "double": kindDouble, "real": kindDouble, "decimal": kindDecimal, "numeric": kindDecimal,
	"char": kindChar, "varchar": kindChar, "tinytext": kindChar, "text": kindChar, "mediumtext": kindChar, "longtext": kindChar,
	"binary": kindFixed, "varbinary": kindBinary, "tinyblob": kindBinary, "blob": kindBinary, "mediumblob": kindBinary, "longblob": kindBinary,
	"bit": kindBit, "year": kindYear, "date": kindDate, "time": kindTime, "datetime": kindDatetime, "timestamp": kindTimestamp,
	"enum": kindEnum, "set": kindSet, "json": kindJSON, "vector": kindVector, "uuid": kindUUID, "inet4": kindInet, "inet6": kindInet,
	"geometry": kindGeometry, "point": kindGeometry, "linestring": kindGeometry, "polygon": kindGeometry, "multipoint": kindGeometry,
	"multilinestring": kindGeometry, "multipolygon": kindGeometry, "geometrycollection": kindGeometry, "geomcollection": kindGeometry,
}

// column describes the column by the catalog alone.
func (c *columnInfo) column() column {
	col := column{name: c.name, kind: kinds[c.dataType], nullable: c.nullable, precision: max(c.precision, 0), scale: c.scale, fsp: max(c.fsp, 0),
		charset: c.charset, info: c, point: c.dataType == "point"}
	_, attributes, _ := strings.Cut(c.columnType, ")")
	if !strings.Contains(c.columnType, "(") {
		attributes = c.columnType
	}
	switch col.kind {
	case kindEnum, kindSet:
		col.values = parseValues(c.columnType)
	case kindBit:
		col.length = max(c.precision, 1)
	case kindFixed:
		col.length = max(c.charLength, 0)
	case kindTiny, kindShort, kindInt24, kindLong, kindLongLong, kindFloat, kindDouble, kindDecimal:
		col.unsigned = strings.Contains(attributes, "unsigned")
	}
	return col
}

// parseValues reads the values of enum('a','b”c'). Quotes are doubled; nothing else is escaped but on MariaDB, where no name holds a
// backslash in practice.
func parseValues(t string) []string {
	i := strings.IndexByte(t, '(')
	if i < 0 {
		return nil
	}
	var out []string
	var sb strings.Builder
	in := false
	for i++; i < len(t); i++ {
		switch c := t[i]; {
		case !in && c == '\'':
			in = true
			sb.Reset()
		case in && c == '\'':
			if i+1 < len(t) && t[i+1] == '\'' {
				sb.WriteByte('\'')
				i++
				continue
			}
			in = false
			out = append(out, sb.String())
		case in:
			sb.WriteByte(c)
		}
	}
	return out
}

// charsets turns collation numbers and charset names into what the columns hold.
type charsets interface {
	// name returns the charset of a collation, "" when it is unknown.
	name(collation uint64) string
	// decoder returns how a charset's bytes become UTF-8; nil when they are UTF-8 already.
	decoder(charset string) (decoder, error)
}

// fromMap joins what a table map event says about a column with what the catalog says about the column of that name or place, info,
// which may be nil or of another version of the table.
func fromMap(m *mapColumn, info *columnInfo, full bool, cs charsets) (column, error) {
	c := column{name: m.name, nullable: m.nullable, scale: -1, unsigned: m.unsigned}
	var base column
	if info != nil {
		base = info.column()
		if !full {
			c.name, c.unsigned = info.name, base.unsigned
		}
		if !m.signed {
			c.unsigned = base.unsigned
		}
	}
	if m.collation != 0 {
		c.charset = cs.name(m.collation)
	}
	if c.charset == "" && info != nil {
		c.charset = info.charset
		if c.charset == "" && m.collation == 0 {
			c.charset = "binary"
		}
	}
	bytes := func() bool { return m.collation == binaryCollation || m.collation == 0 && c.charset == "binary" }
	switch m.typ {
	case mysql.MYSQL_TYPE_TINY:
		c.kind = kindTiny
	case mysql.MYSQL_TYPE_SHORT:
		c.kind = kindShort
	case mysql.MYSQL_TYPE_INT24:
		c.kind = kindInt24
	case mysql.MYSQL_TYPE_LONG:
		c.kind = kindLong
	case mysql.MYSQL_TYPE_LONGLONG:
		c.kind = kindLongLong
	case mysql.MYSQL_TYPE_FLOAT:
		c.kind = kindFloat
	case mysql.MYSQL_TYPE_DOUBLE:
		c.kind = kindDouble
	case mysql.MYSQL_TYPE_NEWDECIMAL:
		c.kind, c.precision, c.scale = kindDecimal, int(m.meta>>8), int(m.meta&0xff)
	case mysql.MYSQL_TYPE_STRING:
		c.kind = kindChar
		if bytes() {
			c.kind, c.length = kindFixed, int(m.meta)
			if base.kind == kindUUID || base.kind == kindInet { // the binlog does not tell these from bytes
				c.kind = base.kind
			}
		}
	case mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_VAR_STRING, mysql.MYSQL_TYPE_BLOB:
		c.kind = kindChar
		if bytes() {
			c.kind = kindBinary
		}
	case mysql.MYSQL_TYPE_BIT:
		c.kind, c.length = kindBit, int(m.meta)
	case mysql.MYSQL_TYPE_YEAR:
		c.kind, c.unsigned = kindYear, false
	case mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_NEWDATE:
		c.kind = kindDate
	case mysql.MYSQL_TYPE_TIME, mysql.MYSQL_TYPE_TIME2:
		c.kind, c.fsp = kindTime, int(m.meta)
	case mysql.MYSQL_TYPE_DATETIME, mysql.MYSQL_TYPE_DATETIME2:
		c.kind, c.fsp = kindDatetime, int(m.meta)
	case mysql.MYSQL_TYPE_TIMESTAMP, mysql.MYSQL_TYPE_TIMESTAMP2:
		c.kind, c.fsp = kindTimestamp, int(m.meta)
	case mysql.MYSQL_TYPE_ENUM:
		c.kind = kindEnum
	case mysql.MYSQL_TYPE_SET:
		c.kind = kindSet
	case mysql.MYSQL_TYPE_JSON:
		c.kind = kindJSON
	case mysql.MYSQL_TYPE_GEOMETRY:
		c.kind, c.point = kindGeometry, m.geometry == 1
		if m.geometry < 0 {
			c.point = base.point
		}
	case mysql.MYSQL_TYPE_VECTOR:
		c.kind = kindVector
	}
	if c.kind == kindEnum || c.kind == kindSet {
		c.values = base.values
		if m.values != nil {
			dec, err := cs.decoder(c.charset)
			if err != nil {
				return c, fmt.Errorf("column %q: %w", c.name, err)
			}
			c.values = make([]string, len(m.values))
			for i, v := range m.values {
				if dec != nil {
					v = dec(nil, v)
				}
				c.values[i] = string(v)
			}
		}
		if c.values == nil {
			return c, fmt.Errorf("column %q: the binlog does not tell the values of the %s: SET GLOBAL binlog_row_metadata=FULL", c.name, c.typeName())
		}
	}
	// The catalog's word counts only while it speaks of the same type.
	if info != nil && base.kind == c.kind && base.unsigned == c.unsigned {
		c.info = info
		if c.kind == kindFloat {
			c.scale = base.scale
		}
	}
	if info != nil && !full && base.kind != c.kind {
		return c, fmt.Errorf("column %q is a %s in the binlog and a %s now: the table was changed since, and with binlog_row_metadata=MINIMAL the binlog does not tell what it was; SET GLOBAL binlog_row_metadata=FULL", c.name, c.typeName(), info.dataType)
	}
	return c, nil
}

// binaryCollation is the number of the collation of bytes.
const binaryCollation = 63

// typeName is the column's type as the original names it.
func (c *column) typeName() string {
	name := ""
	switch c.kind {
	case kindTiny:
		name = "TINYINT"
	case kindShort:
		name = "SMALLINT"
	case kindInt24:
		name = "MEDIUMINT"
	case kindLong:
		name = "INT"
	case kindLongLong:
		name = "BIGINT"
	case kindFloat:
		name = "FLOAT"
	case kindDouble:
		name = "DOUBLE"
	case kindDecimal:
		name = "DECIMAL"
	case kindChar:
		name = "VARCHAR"
	case kindFixed:
		name = "BINARY"
	case kindBinary:
		name = "VARBINARY"
	case kindBit:
		name = "BIT"
	case kindYear:
		name = "YEAR"
	case kindDate:
		name = "DATE"
	case kindTime:
		name = "TIME"
	case kindDatetime:
		name = "DATETIME"
	case kindTimestamp:
		name = "TIMESTAMP"
	case kindEnum:
		name = "ENUM"
	case kindSet:
		name = "SET"
	case kindJSON:
		name = "JSON"
	case kindGeometry:
		name = "GEOMETRY"
		if c.point {
			name = "POINT"
		}
	case kindVector:
		name = "VECTOR"
	case kindUUID:
		name = "UUID"
	case kindInet:
		name = "INET6"
	}
	if c.info != nil {
		name = strings.ToUpper(c.info.dataType)
	}
	if c.unsigned {
		name += " UNSIGNED"
		if c.info != nil && strings.Contains(c.info.columnType, "zerofill") {
			name += " ZEROFILL"
		}
	}
	return name
}

// typeLength is the length and scale that column.propagate.source.type tells; negative: none.
func (c *column) typeLength() (length, scale int) {
	length, scale = -1, -1
	switch c.kind {
	case kindDecimal:
		return c.precision, c.scale
	case kindBit:
		return c.length, -1
	case kindEnum:
		return 1, -1
	case kindSet:
		return max(0, 2*len(c.values)-1), -1
	case kindTime, kindDatetime, kindTimestamp:
		if c.fsp > 0 {
			return c.fsp, -1
		}
		return -1, -1
	}
	if c.info == nil {
		return length, scale
	}
	open := strings.IndexByte(c.info.columnType, '(')
	end := strings.IndexByte(c.info.columnType, ')')
	if open < 0 || end < open {
		return length, scale
	}
	a, b, two := strings.Cut(c.info.columnType[open+1:end], ",")
	if n, err := strconv.Atoi(a); err == nil {
		length = n
	}
	if two {
		if n, err := strconv.Atoi(b); err == nil {
			scale = n
		}
	}
	return length, scale
}
