package mysql

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins/data"
)

// coding is how a column's values become values of events.
type coding struct {
	column
	schema    *data.Schema // without nullability and default
	character bool
	zero      data.Value // stands in for what is missing where null is not allowed

	decimal cdc.DecimalMode
	time    cdc.TimeMode
	binary  cdc.BinaryMode
	precise bool // bigint.unsigned.handling.mode
	adjust  bool // enable.time.adjuster
	decode  decoder
	choices []data.Value // of an enum by number
}

// newCoding returns nil for a column that has no form in events.
func newCoding(cfg *config, col column, cs charsets) (*coding, error) {
	x := &coding{column: col, decimal: cfg.Decimal, time: cfg.Time, binary: cfg.Binary, precise: cfg.bigintPrecise, adjust: cfg.adjustTime}
	var b *data.Builder
	switch col.kind {
	case kindTiny:
		b = data.New(data.TypeInt16)
	case kindShort:
		b = data.New(data.TypeInt16)
		if col.unsigned {
			b = data.New(data.TypeInt32)
		}
	case kindInt24:
		b = data.New(data.TypeInt32)
	case kindLong:
		b = data.New(data.TypeInt32)
		if col.unsigned {
			b = data.New(data.TypeInt64)
		}
	case kindLongLong:
		b = data.New(data.TypeInt64)
		if col.unsigned && x.precise {
			b = cdc.DecimalPrecise.Schema(20, 0)
		}
	case kindFloat:
		b = data.New(data.TypeFloat32)
		if col.scale >= 0 { // FLOAT(m,d)
			b = data.New(data.TypeFloat64)
		}
	case kindDouble:
		b = data.New(data.TypeFloat64)
	case kindDecimal:
		b = x.decimal.Schema(col.precision, col.scale)
	case kindChar, kindEnum, kindSet:
		var err error
		if x.decode, err = cs.decoder(col.charset); err != nil {
			return nil, fmt.Errorf("column %q: %w", col.name, err)
		}
		switch col.kind {
		case kindChar:
			b, x.character = data.New(data.TypeString), true
		case kindEnum:
			b = cdc.Enum(escapeCommas(col.values))
			x.choices = append(x.choices, data.String(""))
			for _, v := range col.values {
				x.choices = append(x.choices, data.String(v))
			}
		default:
			b = cdc.EnumSet(escapeCommas(col.values))
		}
	case kindUUID, kindInet:
		b = data.New(data.TypeString)
	case kindFixed, kindBinary:
		b = x.binary.Schema()
	case kindBit:
		if col.length == 1 {
			b = data.New(data.TypeBoolean)
		} else {
			b = cdc.Bits(col.length)
		}
	case kindYear:
		b = cdc.Semantic(data.TypeInt32, cdc.SchemaYear)
	case kindDate:
		b = x.time.DateSchema()
	case kindTime:
		b = x.time.TimeSchema(col.fsp)
	case kindDatetime:
		b = x.time.TimestampSchema(col.fsp)
	case kindTimestamp:
		b = cdc.Semantic(data.TypeString, cdc.SchemaZonedTimestamp)
	case kindJSON:
		b = cdc.Semantic(data.TypeString, cdc.SchemaJSON)
	case kindGeometry:
		b = cdc.Geometry()
		if col.point {
			b = cdc.Point()
		}
	case kindVector:
		b = data.NewArray(data.Float32Schema).Name(cdc.SchemaFloatVector).Version(1)
	default:
		return nil, nil
	}
	x.schema = b.Build()
	a := &cdc.Arena{}
	switch col.kind {
	case kindDate:
		x.zero = x.time.Date(a, 0)
	case kindTime:
		x.zero = x.time.Time(a, 0, col.fsp)
	case kindDatetime:
		x.zero = x.time.Timestamp(a, 0, col.fsp)
	case kindTimestamp:
		x.zero = cdc.ZonedTimestamp(a, 0, 0)
	case kindJSON:
		x.zero = data.String("{}")
	}
	return x, nil
}

func escapeCommas(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = strings.ReplaceAll(v, ",", `\,`)
	}
	return out
}

// readFunc reads a value from the start of what is left of a row image and tells its size; -1: the image is too short.
type readFunc func(a *cdc.Arena, b []byte) (v data.Value, size int, err error)

// sized makes a readFunc of a fixed size.
func sized(n int, f func(a *cdc.Arena, b []byte) (data.Value, error)) readFunc {
	return func(a *cdc.Arena, b []byte) (data.Value, int, error) {
		if len(b) < n {
			return data.Null, -1, nil
		}
		v, err := f(a, b[:n:n])
		return v, n, err
	}
}

// prefixed makes a readFunc of a length in n bytes and that many bytes.
func prefixed(n int, f func(a *cdc.Arena, b []byte) (data.Value, error)) readFunc {
	return func(a *cdc.Arena, b []byte) (data.Value, int, error) {
		if len(b) < n {
			return data.Null, -1, nil
		}
		size := int(littleEndian(b[:n]))
		if len(b)-n < size {
			return data.Null, -1, nil
		}
		v, err := f(a, b[n:n+size:n+size])
		return v, n + size, err
	}
}

// nothing is what the values of columns that nobody wants become.
func nothing(*cdc.Arena, []byte) (data.Value, error) { return data.Null, nil }

// reader returns how to read the column from a row image with the type of m. A nil x passes over the value.
func (x *coding) reader(m *mapColumn) readFunc {
	wanted := x != nil
	pick := func(f func(a *cdc.Arena, b []byte) (data.Value, error)) func(a *cdc.Arena, b []byte) (data.Value, error) {
		if !wanted {
			return nothing
		}
		return f
	}
	fsp := int(m.meta)
	switch m.typ {
	case mysql.MYSQL_TYPE_NULL:
		return sized(0, nothing)
	case mysql.MYSQL_TYPE_TINY:
		return sized(1, pick(func(_ *cdc.Arena, b []byte) (data.Value, error) {
			if x.unsigned {
				return data.Int16(int16(b[0])), nil
			}
			return data.Int16(int16(int8(b[0]))), nil
		}))
	case mysql.MYSQL_TYPE_SHORT:
		return sized(2, pick(func(_ *cdc.Arena, b []byte) (data.Value, error) {
			v := binary.LittleEndian.Uint16(b)
			if x.unsigned {
				return data.Int32(int32(v)), nil
			}
			return data.Int16(int16(v)), nil
		}))
	case mysql.MYSQL_TYPE_INT24:
		return sized(3, pick(func(_ *cdc.Arena, b []byte) (data.Value, error) {
			v := int32(b[0]) | int32(b[1])<<8 | int32(b[2])<<16
			if !x.unsigned {
				v = v << 8 >> 8
			}
			return data.Int32(v), nil
		}))
	case mysql.MYSQL_TYPE_LONG:
		return func(_ *cdc.Arena, b []byte) (data.Value, int, error) {
			if len(b) < 4 {
				return data.Null, -1, nil
			}
			if !wanted {
				return data.Null, 4, nil
			}
			v := binary.LittleEndian.Uint32(b)
			if x.unsigned {
				return data.Int64(int64(v)), 4, nil
			}
			return data.Int32(int32(v)), 4, nil
		}
	case mysql.MYSQL_TYPE_LONGLONG:
		return func(a *cdc.Arena, b []byte) (data.Value, int, error) {
			if len(b) < 8 {
				return data.Null, -1, nil
			}
			if !wanted {
				return data.Null, 8, nil
			}
			v := binary.LittleEndian.Uint64(b)
			if x.unsigned && x.precise {
				d, err := x.unsignedDecimal(a, v)
				return d, 8, err
			}
			return data.Int64(int64(v)), 8, nil
		}
	case mysql.MYSQL_TYPE_FLOAT:
		return sized(4, pick(func(_ *cdc.Arena, b []byte) (data.Value, error) {
			f := math.Float32frombits(binary.LittleEndian.Uint32(b))
			if x.scale >= 0 {
				return data.Float64(float64(f)), nil
			}
			return data.Float32(f), nil
		}))
	case mysql.MYSQL_TYPE_DOUBLE:
		return sized(8, pick(func(_ *cdc.Arena, b []byte) (data.Value, error) {
			return data.Float64(math.Float64frombits(binary.LittleEndian.Uint64(b))), nil
		}))
	case mysql.MYSQL_TYPE_NEWDECIMAL:
		p, s := int(m.meta>>8), int(m.meta&0xff)
		if wanted && p <= 18 && x.decimal == cdc.DecimalPrecise {
			return sized(decimalSize(p, s), func(a *cdc.Arena, b []byte) (data.Value, error) {
				return data.Bytes(cdc.Int64Bytes(a, decimalInt64(b, p, s))), nil
			})
		}
		return sized(decimalSize(p, s), pick(func(a *cdc.Arena, b []byte) (data.Value, error) {
			var tmp [96]byte
			return x.decimal.Value(a, appendDecimal(tmp[:0], b, p, s), s)
		}))
	case mysql.MYSQL_TYPE_STRING, mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_VAR_STRING:
		n := 1
		if m.meta > 255 {
			n = 2
		}
		return prefixed(n, pick(func(a *cdc.Arena, b []byte) (data.Value, error) { return x.text(a, b) }))
	case mysql.MYSQL_TYPE_BLOB:
		return prefixed(int(m.meta), pick(func(a *cdc.Arena, b []byte) (data.Value, error) { return x.text(a, b) }))
	case mysql.MYSQL_TYPE_BIT:
		return sized((int(m.meta)+7)/8, pick(func(a *cdc.Arena, b []byte) (data.Value, error) { return x.bits(a, b) }))
	case mysql.MYSQL_TYPE_YEAR:
		return sized(1, pick(func(_ *cdc.Arena, b []byte) (data.Value, error) {
			if b[0] == 0 {
				return data.Int32(0), nil
			}
			return data.Int32(int32(b[0]) + 1900), nil
		}))
	case mysql.MYSQL_TYPE_DATE, mysql.MYSQL_TYPE_NEWDATE:
		return sized(3, pick(func(a *cdc.Arena, b []byte) (data.Value, error) {
			v := int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16
			return x.date(a, v>>9, int(v>>5&15), int(v&31)), nil
		}))
	case mysql.MYSQL_TYPE_TIME: // of servers and tables before MySQL 5.6
		return sized(3, pick(func(a *cdc.Arena, b []byte) (data.Value, error) {
			v := int64(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24) >> 8)
			return x.clock(a, (v/10000*3600+v/100%100*60+v%100)*microsPerSec, 0), nil
		}))
	case mysql.MYSQL_TYPE_TIME2:
		return sized(3+(fsp+1)/2, pick(func(a *cdc.Arena, b []byte) (data.Value, error) { return x.clock(a, time2(b, fsp), fsp), nil }))
	case mysql.MYSQL_TYPE_DATETIME:
		return sized(8, pick(func(a *cdc.Arena, b []byte) (data.Value, error) {
			v := int64(binary.LittleEndian.Uint64(b))
			d, t := v/1_000_000, v%1_000_000
			return x.datetime(a, d/10000, int(d/100%100), int(d%100), (t/10000*3600+t/100%100*60+t%100)*microsPerSec, 0), nil
		}))
	case mysql.MYSQL_TYPE_DATETIME2:
		return sized(5+(fsp+1)/2, pick(func(a *cdc.Arena, b []byte) (data.Value, error) { return x.datetime2(a, b, fsp), nil }))
	case mysql.MYSQL_TYPE_TIMESTAMP:
		return sized(4, pick(func(a *cdc.Arena, b []byte) (data.Value, error) {
			return x.timestamp(a, int64(binary.LittleEndian.Uint32(b)), 0, 0), nil
		}))
	case mysql.MYSQL_TYPE_TIMESTAMP2:
		return sized(4+(fsp+1)/2, pick(func(a *cdc.Arena, b []byte) (data.Value, error) {
			return x.timestamp(a, int64(binary.BigEndian.Uint32(b)), fraction(b[4:], fsp), fsp), nil
		}))
	case mysql.MYSQL_TYPE_ENUM:
		n := 1
		if m.meta == 2 {
			n = 2
		}
		return sized(n, pick(func(_ *cdc.Arena, b []byte) (data.Value, error) {
			i := int(littleEndian(b))
			if i >= len(x.choices) {
				return data.Null, fmt.Errorf("the enum has no value %d", i)
			}
			return x.choices[i], nil
		}))
	case mysql.MYSQL_TYPE_SET:
		return sized(min(int(m.meta), 8), pick(func(a *cdc.Arena, b []byte) (data.Value, error) { return x.members(a, littleEndian(b)) }))
	case mysql.MYSQL_TYPE_JSON:
		return prefixed(int(m.meta), pick(func(a *cdc.Arena, b []byte) (data.Value, error) {
			t, err := appendJSON(a.Scratch(len(b)+len(b)/2+32), b)
			return data.StringBytes(a.Keep(t)), err
		}))
	case mysql.MYSQL_TYPE_GEOMETRY:
		return prefixed(int(m.meta), pick(func(a *cdc.Arena, b []byte) (data.Value, error) { return x.geometry(a, b) }))
	case mysql.MYSQL_TYPE_VECTOR:
		return prefixed(int(m.meta), pick(vector))
	}
	return nil
}

func (x *coding) unsignedDecimal(a *cdc.Arena, v uint64) (data.Value, error) {
	var tmp [20]byte
	b, err := cdc.DecimalBytes(a, strconv.AppendUint(tmp[:0], v, 10), 0)
	return data.Bytes(b), err
}

// text is the value of characters or bytes as the table holds them; b stays part of it.
func (x *coding) text(a *cdc.Arena, b []byte) (data.Value, error) {
	switch {
	case x.kind == kindUUID || x.kind == kindInet:
		return x.address(a, b)
	case x.kind == kindFixed && len(b) < x.length: // the row image leaves the padding out
		p := a.Alloc(x.length)
		clear(p[copy(p, b):])
		return x.binary.Value(a, p), nil
	case x.kind == kindFixed || x.kind == kindBinary:
		return x.binary.Value(a, b), nil
	case x.decode != nil:
		return data.StringBytes(a.Keep(x.decode(a.Scratch(len(b)+len(b)/2+8), b))), nil
	}
	return data.StringBytes(b), nil
}

// bits is the value of a bit string, whose first byte holds the highest bits.
func (x *coding) bits(a *cdc.Arena, b []byte) (data.Value, error) {
	if x.length == 1 {
		return data.Bool(len(b) > 0 && b[len(b)-1]&1 != 0), nil
	}
	n := (x.length + 7) / 8
	out := a.Alloc(n)
	clear(out)
	for i := range min(n, len(b)) {
		out[i] = b[len(b)-1-i]
	}
	return data.Bytes(out), nil
}

func (x *coding) timestamp(a *cdc.Arena, seconds, micros int64, fsp int) data.Value {
	if seconds == 0 && micros == 0 {
		return data.Null // 0000-00-00 00:00:00
	}
	return cdc.ZonedTimestamp(a, seconds*microsPerSec+micros, fsp)
}

// members is the value of a set.
func (x *coding) members(a *cdc.Arena, mask uint64) (data.Value, error) {
	if len(x.values) < 64 && mask>>len(x.values) != 0 {
		return data.Null, fmt.Errorf("the set has no value %d", mask)
	}
	b := a.Scratch(64)
	for i, v := range x.values {
		if mask&(1<<i) != 0 {
			if len(b) > 0 {
				b = append(b, ',')
			}
			b = append(b, v...)
		}
	}
	return data.StringBytes(a.Keep(b)), nil
}

// parse is the value of what the server prints for the column in a result set in UTF-8. It keeps no part of b.
func (x *coding) parse(a *cdc.Arena, b []byte) (data.Value, error) {
	bad := func() (data.Value, error) { return data.Null, fmt.Errorf("%.60q is no %s", b, x.typeName()) }
	switch x.kind {
	case kindTiny, kindShort, kindInt24, kindLong, kindLongLong, kindYear:
		if x.kind == kindLongLong && x.unsigned {
			v, err := strconv.ParseUint(string(b), 10, 64)
			if err != nil {
				return bad()
			}
			if x.precise {
				return x.unsignedDecimal(a, v)
			}
			return data.Int64(int64(v)), nil
		}
		v, err := strconv.ParseInt(string(b), 10, 64)
		if err != nil {
			return bad()
		}
		return x.integer(v), nil
	case kindFloat:
		f, err := strconv.ParseFloat(string(b), 32)
		if err != nil {
			return bad()
		}
		if x.scale >= 0 {
			return data.Float64(f), nil
		}
		return data.Float32(float32(f)), nil
	case kindDouble:
		f, err := strconv.ParseFloat(string(b), 64)
		if err != nil {
			return bad()
		}
		return data.Float64(f), nil
	case kindDecimal:
		return x.decimal.Value(a, b, x.scale)
	case kindFixed, kindBinary:
		return x.binary.Value(a, a.Copy(b)), nil
	case kindBit:
		return x.bits(a, b)
	case kindDate:
		y, m, d, rest, ok := textDate(b)
		if !ok || len(rest) > 0 {
			return bad()
		}
		return x.date(a, y, m, d), nil
	case kindTime:
		us, ok := textClock(b)
		if !ok {
			return bad()
		}
		return x.clock(a, us, x.fsp), nil
	case kindDatetime, kindTimestamp:
		y, m, d, us, ok := textDatetime(b)
		if !ok {
			return bad()
		}
		if x.kind == kindDatetime {
			return x.datetime(a, y, m, d, us, x.fsp), nil
		}
		if !valid(y, m, d) {
			return data.Null, nil
		}
		return cdc.ZonedTimestamp(a, cdc.DaysFromCivil(y, m, d)*microsPerDay+us, x.fsp), nil
	case kindGeometry:
		return x.geometry(a, a.Copy(b))
	case kindVector:
		return vector(a, b)
	}
	return a.String(b), nil
}

// integer is the value of an integer column but an unsigned bigint.
func (x *coding) integer(v int64) data.Value {
	switch x.schema.Type() {
	case data.TypeInt16:
		return data.Int16(int16(v))
	case data.TypeInt32:
		return data.Int32(int32(v))
	}
	return data.Int64(v)
}
