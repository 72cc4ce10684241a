package postgres

import (
	"crypto/md5"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins/data"
)

// encodeFunc turns a value's text into a value. The text may be reused after the call.
type encodeFunc func(a *cdc.Arena, text []byte) (data.Value, error)

// codec is how a column of some type is written.
type codec struct {
	schema *data.Schema // required, without default
	encode encodeFunc
	// unavailable stands for a TOASTed value that the server did not send.
	unavailable data.Value
	zero        data.Value // what stands for a missing value; null: the usual
	character   bool
	base        string // name of the type, of a domain that of the type it stands for
	typeName    string // name of the type, of a domain its own
	length      int    // what column.propagate.source.type tells
	scale       int
}

// codecs builds codecs under a configuration.
type codecs struct {
	cfg   *config
	types *typeRegistry
}

func encodeText(a *cdc.Arena, b []byte) (data.Value, error) { return a.String(b), nil }

func encodeBool(_ *cdc.Arena, b []byte) (data.Value, error) {
	if len(b) == 1 && (b[0] == 't' || b[0] == 'f') {
		return data.Bool(b[0] == 't'), nil
	}
	return data.Null, malformed("boolean", b)
}

func encodeInt2(_ *cdc.Arena, b []byte) (data.Value, error) {
	n, err := parseInt(b)
	return data.Int16(int16(n)), err
}

func encodeInt4(_ *cdc.Arena, b []byte) (data.Value, error) {
	n, err := parseInt(b)
	return data.Int32(int32(n)), err
}

func encodeInt8(_ *cdc.Arena, b []byte) (data.Value, error) {
	n, err := parseInt(b)
	return data.Int64(n), err
}

func encodeFloat4(_ *cdc.Arena, b []byte) (data.Value, error) {
	f, err := parseFloat(b, 32)
	return data.Float32(float32(f)), err
}

func encodeFloat8(_ *cdc.Arena, b []byte) (data.Value, error) {
	f, err := parseFloat(b, 64)
	return data.Float64(f), err
}

// fraction returns the digits of a time type's fraction.
func fraction(typmod int32) int {
	if typmod < 0 || typmod > 6 {
		return 6
	}
	return int(typmod)
}

// of returns the codec of a type, or nil when the type has no form in events: include.unknown.datatypes is off, or it is an array of such.
func (cs *codecs) of(oid uint32, typmod int32) *codec {
	t, mod := cs.types.resolve(oid, typmod)
	if t == nil {
		return cs.unknown("")
	}
	c := cs.base(t, mod)
	if c == nil {
		if t.array {
			c = cs.array(t, mod)
		} else {
			c = cs.unknown(t.name)
		}
	}
	if c == nil {
		return nil
	}
	c.base, c.typeName = t.name, cs.types.byOID[oid].name
	return c
}

func (cs *codecs) unknown(name string) *codec {
	if !cs.cfg.includeUnknown {
		return nil
	}
	m := cs.cfg.Binary
	return &codec{schema: m.Schema().Build(), typeName: name, length: math.MaxInt32,
		unavailable: cs.unavailableBytes(),
		encode:      func(a *cdc.Arena, b []byte) (data.Value, error) { return m.Value(a, a.Copy(b)), nil }}
}

func (cs *codecs) unavailableBytes() data.Value {
	if cs.cfg.Binary == cdc.BinaryBytes {
		return data.Bytes([]byte(cs.cfg.UnavailablePlaceholder))
	}
	return data.String(cs.cfg.UnavailablePlaceholder)
}

// text makes a codec that writes the server's text as it is.
func (cs *codecs) text(b *data.Builder, character bool, length int) *codec {
	return &codec{schema: b.Build(), encode: encodeText, character: character, length: length, unavailable: data.String(cs.cfg.UnavailablePlaceholder)}
}

func (cs *codecs) base(t *pgType, mod int32) *codec {
	cfg := cs.cfg
	str := func() *data.Builder { return data.New(data.TypeString) }
	semantic := func(name string) *codec { return cs.text(cdc.Semantic(data.TypeString, name), false, math.MaxInt32) }
	switch t.oid {
	case oidBool:
		return &codec{schema: data.BooleanSchema, encode: encodeBool, length: 1}
	case oidInt2:
		return &codec{schema: data.Int16Schema, encode: encodeInt2, length: 5}
	case oidInt4:
		return &codec{schema: data.Int32Schema, encode: encodeInt4, length: 10}
	case oidInt8:
		return &codec{schema: data.Int64Schema, encode: encodeInt8, length: 19}
	case oidOID:
		return &codec{schema: data.Int64Schema, encode: encodeInt8, length: 10}
	case oidFloat4:
		return &codec{schema: data.Float32Schema, encode: encodeFloat4, length: 8, scale: 8}
	case oidFloat8:
		return &codec{schema: data.Float64Schema, encode: encodeFloat8, length: 17, scale: 17}
	case oidText, oidInet, oidCIDR, oidMacaddr, oidMacaddr8:
		return cs.text(str(), t.oid == oidText, math.MaxInt32)
	case oidName:
		return cs.text(str(), true, 63)
	case oidChar:
		return cs.text(str(), true, 1)
	case oidBpchar, oidVarchar:
		n := math.MaxInt32
		if mod >= 4 {
			n = int(mod) - 4
		}
		return cs.text(str(), true, n)
	case oidJSON, oidJSONB:
		return semantic(cdc.SchemaJSON)
	case oidXML:
		return semantic(cdc.SchemaXML)
	case oidUUID:
		return semantic(cdc.SchemaUUID)
	case oidTsvector:
		return semantic(cdc.SchemaTsvector)
	case oidBytea:
		m := cfg.Binary
		c := &codec{schema: m.Schema().Build(), length: math.MaxInt32, encode: func(a *cdc.Arena, b []byte) (data.Value, error) {
			raw, err := parseBytea(a, b)
			if err != nil {
				return data.Null, err
			}
			return m.Value(a, raw), nil
		}}
		c.unavailable = cs.unavailableBytes()
		return c
	case oidBit, oidVarbit:
		return bitCodec(mod)
	case oidMoney:
		return cs.money()
	case oidNumeric:
		return cs.numeric(mod)
	case oidDate, oidTime, oidTimetz, oidTimestamp, oidTimestamptz, oidInterval:
		return cs.temporal(t.oid, mod)
	case oidPoint:
		s := cdc.Point().Build()
		return &codec{schema: s, length: math.MaxInt32, encode: func(a *cdc.Arena, b []byte) (data.Value, error) {
			x, y, err := parsePoint(b)
			if err != nil {
				return data.Null, err
			}
			return cdc.PointValue(a, s, x, y), nil
		}}
	}
	switch {
	case t.kind == 'e':
		return cs.text(cdc.Enum(t.labels), false, math.MaxInt32)
	case t.kind == 'r':
		return cs.text(str(), false, math.MaxInt32)
	case t.name == "citext":
		return cs.text(str(), true, math.MaxInt32)
	case t.name == "ltree":
		return semantic(cdc.SchemaLtree)
	case t.name == "hstore":
		return cs.hstore()
	case t.name == "vector" || t.name == "halfvec" || t.name == "sparsevec":
		return vectorCodec(t.name)
	}
	return nil
}

func bitCodec(mod int32) *codec {
	n := math.MaxInt32
	if mod > 0 {
		n = int(mod)
	}
	if n == 1 {
		return &codec{schema: data.BooleanSchema, length: 1, encode: func(_ *cdc.Arena, b []byte) (data.Value, error) {
			return data.Bool(len(b) == 1 && b[0] == '1'), nil
		}}
	}
	return &codec{schema: cdc.Bits(n).Build(), length: n, encode: func(a *cdc.Arena, b []byte) (data.Value, error) {
		v, err := parseBits(a, b)
		if err != nil {
			return data.Null, err
		}
		return data.Bytes(v), nil
	}}
}

func (cs *codecs) money() *codec {
	m, scale := cs.cfg.Decimal, cs.cfg.moneyDigits
	return &codec{schema: m.Schema(0, scale).Build(), length: 2147483647, encode: func(a *cdc.Arena, b []byte) (data.Value, error) {
		t := a.Keep(parseMoney(a, b))
		if i := strings.IndexByte(string(t), '.'); i >= 0 && len(t)-i-1 > scale { // fewer digits than the server has are cut
			if t = t[:i+1+scale]; scale == 0 {
				t = t[:i]
			}
		}
		if m == cdc.DecimalString {
			return data.StringBytes(t), nil
		}
		return m.Value(a, t, scale)
	}, zero: zeroDecimal(m, scale)}
}

func zeroDecimal(m cdc.DecimalMode, scale int) data.Value {
	v, _ := m.Value(&cdc.Arena{}, []byte("0"), scale) // a zero always encodes
	return v
}

func (cs *codecs) numeric(mod int32) *codec {
	m := cs.cfg.Decimal
	if mod < 4 {
		s := m.VariableSchema().Build()
		c := &codec{schema: s, length: 131089, scale: 0}
		c.zero, _ = m.VariableValue(&cdc.Arena{}, s, []byte("0")) // a zero always encodes
		c.encode = func(a *cdc.Arena, b []byte) (data.Value, error) { return m.VariableValue(a, s, b) }
		if m == cdc.DecimalString {
			c.unavailable = data.String(cs.cfg.UnavailablePlaceholder)
		}
		return c
	}
	precision, scale := int((mod-4)>>16)&0xffff, int((mod-4)&0x7ff)
	if scale > 1023 { // 11 bits with a sign
		scale -= 2048
	}
	length := precision
	if scale < 0 { // digits before the point are rounded: the number has more of them than its precision
		precision, scale = precision-scale, 0
	}
	return &codec{schema: m.Schema(precision, scale).Build(), length: length, scale: scale, zero: zeroDecimal(m, scale),
		encode: func(a *cdc.Arena, b []byte) (data.Value, error) { return m.Value(a, b, scale) }}
}

// temporal returns the codec of a date or time type, whose zero is the epoch.
func (cs *codecs) temporal(oid uint32, mod int32) *codec {
	c := cs.temporalType(oid, mod)
	a := &cdc.Arena{}
	switch oid {
	case oidDate:
		c.zero = cs.cfg.Time.Date(a, 0)
	case oidTime:
		c.zero = cs.cfg.Time.Time(a, 0, fraction(mod))
	case oidTimetz:
		c.zero = cdc.ZonedTime(a, 0)
	case oidTimestamp:
		c.zero = cs.cfg.Time.Timestamp(a, 0, fraction(mod))
	case oidTimestamptz:
		c.zero = cdc.ZonedTimestamp(a, 0, 0)
	case oidInterval:
		c.zero, _ = c.encode(a, []byte("00:00:00")) // always well formed
	}
	return c
}

func (cs *codecs) temporalType(oid uint32, mod int32) *codec {
	m, fsp := cs.cfg.Time, fraction(mod)
	extra := 0 // what a fraction adds to the printed length
	if fsp > 0 {
		extra = fsp + 1
	}
	switch oid {
	case oidDate:
		return &codec{schema: m.DateSchema().Build(), length: 13, encode: func(a *cdc.Arena, b []byte) (data.Value, error) {
			switch string(b) {
			case "infinity":
				return m.Date(a, math.MaxInt32), nil
			case "-infinity":
				return m.Date(a, math.MinInt32), nil
			}
			t, bc := cutBC(b)
			days, rest, ok := parseDate(t, bc)
			if !ok || len(rest) > 0 {
				return data.Null, malformed("date", b)
			}
			return m.Date(a, days), nil
		}}
	case oidTime:
		return &codec{schema: m.TimeSchema(fsp).Build(), length: 8 + extra, scale: fsp, encode: func(a *cdc.Arena, b []byte) (data.Value, error) {
			us, rest, ok := parseClock(b)
			if !ok || len(rest) > 0 {
				return data.Null, malformed("time", b)
			}
			return m.Time(a, us, fsp), nil
		}}
	case oidTimetz:
		c := &codec{schema: cdc.Semantic(data.TypeString, cdc.SchemaZonedTime).Build(), length: 14 + extra, scale: fsp}
		c.encode = func(a *cdc.Arena, b []byte) (data.Value, error) {
			us, rest, ok := parseClock(b)
			off, ok2 := parseOffset(rest)
			if !ok || !ok2 {
				return data.Null, malformed("time", b)
			}
			return cdc.ZonedTime(a, us-off), nil
		}
		return c
	case oidTimestamp:
		return &codec{schema: m.TimestampSchema(fsp).Build(), length: 22 + extra, scale: fsp, encode: func(a *cdc.Arena, b []byte) (data.Value, error) {
			us, _, err := parseTimestamp(b)
			if err != nil {
				return data.Null, err
			}
			return m.Timestamp(a, us, fsp), nil
		}}
	case oidTimestamptz:
		c := &codec{schema: cdc.Semantic(data.TypeString, cdc.SchemaZonedTimestamp).Build(), length: 28 + extra, scale: fsp}
		c.encode = func(a *cdc.Arena, b []byte) (data.Value, error) {
			us, inf, err := parseTimestamp(b)
			if err != nil {
				return data.Null, err
			}
			if inf != 0 {
				return a.String(b), nil
			}
			return cdc.ZonedTimestamp(a, us, fsp), nil
		}
		return c
	}
	scale := fsp
	if mod >= 0 {
		scale = int(mod & 0xffff)
	}
	if cs.cfg.intervalString {
		return &codec{schema: cdc.Semantic(data.TypeString, cdc.SchemaInterval).Build(), length: 49, scale: scale, encode: func(a *cdc.Arena, b []byte) (data.Value, error) {
			iv, err := parseInterval(b)
			if err != nil {
				return data.Null, err
			}
			return data.StringBytes(a.Keep(iv.iso(a.Scratch(64)))), nil
		}}
	}
	return &codec{schema: cdc.Semantic(data.TypeInt64, cdc.SchemaMicroDuration).Build(), length: 49, scale: scale, encode: func(_ *cdc.Arena, b []byte) (data.Value, error) {
		iv, err := parseInterval(b)
		return data.Int64(iv.totalMicros()), err
	}}
}

func (cs *codecs) hstore() *codec {
	ph := cs.cfg.UnavailablePlaceholder
	if cs.cfg.hstoreMap {
		c := &codec{schema: data.NewMap(data.StringSchema, data.OptionalStringSchema).Build(), length: math.MaxInt32}
		c.unavailable = data.Map([]data.MapEntry{{Key: data.String(ph), Value: data.String(ph)}})
		c.encode = func(a *cdc.Arena, b []byte) (data.Value, error) {
			es := []data.MapEntry{}
			err := parseHstore(b, func(k, v []byte, null bool) error {
				e := data.MapEntry{Key: a.String(k)}
				if !null {
					e.Value = a.String(v)
				}
				es = append(es, e)
				return nil
			})
			return data.Map(es), err
		}
		return c
	}
	c := &codec{schema: cdc.Semantic(data.TypeString, cdc.SchemaJSON).Build(), length: math.MaxInt32, zero: data.String("{}")}
	c.unavailable = data.StringBytes(appendJSONString(append(appendJSONString([]byte{'{'}, []byte(ph)), ':'), []byte(ph), '}'))
	c.encode = func(a *cdc.Arena, b []byte) (data.Value, error) {
		out := append(a.Scratch(len(b)+2), '{')
		err := parseHstore(b, func(k, v []byte, null bool) error {
			if len(out) > 1 {
				out = append(out, ',')
			}
			out = append(appendJSONString(out, k), ':')
			if null {
				out = append(out, "null"...)
			} else {
				out = appendJSONString(out, v)
			}
			return nil
		})
		return data.StringBytes(a.Keep(append(out, '}'))), err
	}
	return c
}

func appendJSONString(b, s []byte, after ...byte) []byte {
	var sb strings.Builder
	enc := json.NewEncoder(&sb)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(string(s)) // a string always encodes
	b = append(b, strings.TrimSuffix(sb.String(), "\n")...)
	return append(b, after...)
}

// array returns the codec of an array type whose elements can be written. All dimensions are written as one, in the server's order.
func (cs *codecs) array(t *pgType, mod int32) *codec {
	et, emod := cs.types.resolve(t.elem, mod)
	if et == nil || et.array {
		return nil
	}
	switch et.oid {
	case oidInterval, oidMoney, oidPoint, oidXML, oidTsvector: // not written by the original either
		return nil
	}
	e := cs.base(et, emod)
	if e == nil {
		return nil
	}
	elem := data.From(e.schema).Optional().Build()
	c := &codec{schema: data.NewArray(elem).Build(), length: e.length, scale: e.scale}
	c.encode = func(a *cdc.Arena, b []byte) (data.Value, error) {
		var small [16]data.Value
		vs := small[:0]
		err := parseArray(b, t.delim, func(text []byte, null bool) error {
			if null {
				vs = append(vs, data.Null)
				return nil
			}
			v, err := e.encode(a, text)
			vs = append(vs, v)
			return err
		})
		if err != nil {
			return data.Null, err
		}
		out := a.Values(len(vs))
		copy(out, vs)
		return data.Array(out), nil
	}
	if et.oid != oidNumeric {
		c.unavailable = cs.unavailableArray(e)
	}
	return c
}

// unavailableArray is the placeholder of an array: the text as its one element, or the text's bytes as numbers.
func (cs *codecs) unavailableArray(e *codec) data.Value {
	ph := cs.cfg.UnavailablePlaceholder
	if e.schema.Name() == cdc.SchemaUUID { // a UUID made of the text (version 3, without a name space)
		b := md5.Sum([]byte(ph))
		b[6], b[8] = b[6]&0x0f|0x30, b[8]&0x3f|0x80
		return data.Array([]data.Value{data.String(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))})
	}
	switch e.schema.Type() {
	case data.TypeString, data.TypeBytes:
		if !e.unavailable.IsNull() {
			return data.Array([]data.Value{e.unavailable})
		}
	case data.TypeInt16, data.TypeInt32, data.TypeInt64:
		vs := make([]data.Value, len(ph))
		for i := range vs {
			switch n := int64(ph[i]); e.schema.Type() {
			case data.TypeInt16:
				vs[i] = data.Int16(int16(n))
			case data.TypeInt32:
				vs[i] = data.Int32(int32(n))
			default:
				vs[i] = data.Int64(n)
			}
		}
		return data.Array(vs)
	}
	return data.Null
}
