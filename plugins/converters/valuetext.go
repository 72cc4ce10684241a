package converters

import (
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/plugins/jsontext"
)

// AppendValueText appends the text form that Connect's Values.convertToString gives: what the simple header converter writes and
// [ParseValueText] reads. Strings inside arrays, maps and structs are quoted, bytes are base64, dates and times ISO 8601 in UTC.
func AppendValueText(dst []byte, s *data.Schema, v data.Value) []byte {
	return appendValueText(dst, s, v, false)
}

func appendValueText(dst []byte, s *data.Schema, v data.Value, embedded bool) []byte {
	switch v.Type() {
	case data.TypeString:
		if !embedded {
			return append(dst, v.Str()...)
		}
		return appendQuoted(dst, v.Str())
	case data.TypeBytes:
		if s.Name() == data.LogicalDecimal {
			return AppendJavaString(dst, s, v)
		}
		if embedded {
			return jsontext.AppendBase64(dst, v.Bytes())
		}
		return base64.StdEncoding.AppendEncode(dst, v.Bytes())
	case data.TypeInt32, data.TypeInt64:
		switch s.Name() {
		case data.LogicalDate:
			return appendISO(dst, v.Int()*millisPerDay)
		case data.LogicalTime, data.LogicalTimestamp:
			return appendISO(dst, v.Int())
		}
		return strconv.AppendInt(dst, v.Int(), 10)
	case data.TypeArray:
		var elem *data.Schema
		if s.Type() == data.TypeArray {
			elem = s.ValueSchema()
		}
		dst = append(dst, '[')
		for i, e := range v.Array() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValueText(dst, elem, e, true)
		}
		return append(dst, ']')
	case data.TypeMap:
		var key, elem *data.Schema
		if s.Type() == data.TypeMap {
			key, elem = s.KeySchema(), s.ValueSchema()
		}
		dst = append(dst, '{')
		for i, e := range v.Map() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValueText(dst, key, e.Key, true)
			dst = append(dst, ':')
			dst = appendValueText(dst, elem, e.Value, true)
		}
		return append(dst, '}')
	case data.TypeStruct:
		st := v.Struct()
		dst = append(dst, '{')
		for i, f := range st.Schema.Fields() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendQuoted(dst, f.Name)
			dst = append(dst, ':')
			fv := st.Values[i]
			if fv.IsNull() {
				fv, _ = f.Schema.Default()
			}
			dst = appendValueText(dst, f.Schema, fv, true)
		}
		return append(dst, '}')
	default:
		return AppendJavaString(dst, s, v)
	}
}

const millisPerDay = 86_400_000

func appendISO(dst []byte, millis int64) []byte {
	t := time.UnixMilli(millis).UTC()
	switch {
	case millis < millisPerDay:
		return t.AppendFormat(dst, "15:04:05.000Z")
	case millis%millisPerDay == 0:
		return t.AppendFormat(dst, "2006-01-02")
	default:
		return t.AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	}
}

func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// ParseValueText infers a value and its schema from text as Connect's Values.parseString does: null, booleans, the smallest
// integer or floating type, decimals beyond them, ISO dates and times, arrays, maps, and otherwise the text itself. Schema and value
// are null for "null".
func ParseValueText(text string) (*data.Schema, data.Value) {
	if text == "" {
		return data.StringSchema, data.String("")
	}
	p := valueParser{text: text}
	r, ok := p.parse(false, 0)
	if !ok {
		return data.StringSchema, data.String(text)
	}
	return r.schema, r.value
}

type inferred struct {
	schema *data.Schema // nil: null
	value  data.Value
}

// maxTextDepth bounds nested arrays and maps; deeper text stays a string.
const maxTextDepth = 100

// valueParser cuts text into delimiters (: , { } [ ] ") and what lies between, with one token of look-ahead.
type valueParser struct {
	text     string
	pos      int
	next     string
	haveNext bool
}

func (p *valueParser) mark() int {
	if p.haveNext {
		return p.pos - len(p.next)
	}
	return p.pos
}

func (p *valueParser) rewind(to int) { p.pos, p.haveNext = to, false }

func (p *valueParser) more() bool { return p.haveNext || p.pos < len(p.text) }

func (p *valueParser) token() string {
	if p.haveNext {
		p.haveNext = false
		return p.next
	}
	return p.cut()
}

func (p *valueParser) cut() string {
	start, escaped := p.pos, false
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case '\\':
			escaped = !escaped
		case ':', ',', '{', '}', '[', ']', '"':
			if !escaped {
				if start < p.pos {
					return p.text[start:p.pos]
				}
				p.pos++
				return p.text[start:p.pos]
			}
			escaped = false
		default:
			escaped = false
		}
		p.pos++
	}
	return p.text[start:]
}

// tokens returns the text of the next n tokens; ok is false, and nothing is taken, when there are fewer.
func (p *valueParser) tokens(n int) (string, bool) {
	start := p.mark()
	for range n {
		if !p.more() {
			p.rewind(start)
			return "", false
		}
		p.token()
	}
	return p.text[start:p.pos], true
}

func trim(s string) string { return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' }) }

func (p *valueParser) accept(want string) bool {
	if !p.haveNext {
		if !p.more() {
			return false
		}
		p.next, p.haveNext = p.cut(), true
	}
	for trim(p.next) == "" && p.pos < len(p.text) {
		p.next = p.cut()
	}
	if trim(p.next) != want {
		return false
	}
	p.haveNext = false
	return true
}

func (p *valueParser) literal(embedded bool, want string) bool {
	start := p.mark()
	if p.accept(want) && (embedded || !p.more()) {
		return true
	}
	p.rewind(start)
	return false
}

// parse reads one value; ok is false where an embedded value cannot be read.
func (p *valueParser) parse(embedded bool, depth int) (r inferred, ok bool) {
	switch {
	case !p.more():
		return inferred{}, true
	case embedded && p.accept(`"`):
		return p.quoted(), true
	case p.literal(embedded, "null"):
		return inferred{}, true
	case p.literal(embedded, "true"):
		return inferred{data.BooleanSchema, data.Bool(true)}, true
	case p.literal(embedded, "false"):
		return inferred{data.BooleanSchema, data.Bool(false)}, true
	}
	start := p.mark()
	if depth < maxTextDepth {
		if p.accept("[") {
			if r, ok := p.array(depth); ok {
				return r, true
			}
			p.rewind(start)
		} else if p.accept("{") {
			if r, ok := p.mapping(depth); ok {
				return r, true
			}
			p.rewind(start)
		}
	}
	token := p.token()
	if trim(token) == "" {
		return inferred{data.StringSchema, data.String(token)}, true
	}
	return p.scalar(embedded, trim(token))
}

func (p *valueParser) scalar(embedded bool, token string) (inferred, bool) {
	digit := token[0] >= '0' && token[0] <= '9'
	if digit {
		at := p.mark()
		if rest, ok := p.tokens(4); ok {
			if r, ok := parseTemporal(token + rest); ok {
				return r, true
			}
		}
		p.rewind(at)
		if r, ok := parseTemporal(token); ok {
			return r, true
		}
	}
	if digit || token[0] == '+' || token[0] == '-' {
		if r, ok := parseNumber(token); ok {
			return r, true
		}
	}
	if embedded {
		return inferred{}, false
	}
	return inferred{data.StringSchema, data.String(p.text)}, true
}

func (p *valueParser) quoted() inferred {
	var sb strings.Builder
	for p.more() && !p.accept(`"`) {
		sb.WriteString(p.token())
	}
	if r, ok := parseTemporal(sb.String()); ok {
		return r
	}
	return inferred{data.StringSchema, data.String(sb.String())}
}

func (p *valueParser) array(depth int) (inferred, bool) {
	var common commonSchema
	elems := []data.Value{}
	for p.more() {
		if p.accept("]") {
			for i := range elems {
				if common.schema != nil && elems[i].IsNull() {
					return inferred{}, false // no schema for null beside other values
				}
				elems[i] = widen(common.schema, elems[i])
			}
			return inferred{data.NewArray(common.schema).Build(), data.Array(elems)}, true
		}
		if p.accept(",") {
			return inferred{}, false
		}
		e, ok := p.parse(true, depth+1)
		if !ok {
			return inferred{}, false
		}
		common.merge(e.schema)
		elems = append(elems, e.value)
		at := p.mark()
		if p.accept("]") {
			p.rewind(at)
		} else if !p.accept(",") {
			return inferred{}, false
		}
	}
	return inferred{}, false
}

func (p *valueParser) mapping(depth int) (inferred, bool) {
	var keys, values commonSchema
	entries := []data.MapEntry{}
	for p.more() {
		if p.accept("}") {
			if keys.schema == nil {
				values.schema = nil
			}
			for i := range entries {
				if values.schema != nil && entries[i].Value.IsNull() {
					return inferred{}, false
				}
				entries[i].Key = widen(keys.schema, entries[i].Key)
				entries[i].Value = widen(values.schema, entries[i].Value)
			}
			return inferred{data.NewMap(keys.schema, values.schema).Build(), data.Map(entries)}, true
		}
		if p.accept(",") {
			return inferred{}, false
		}
		k, ok := p.parse(true, depth+1)
		if !ok || k.schema == nil || !p.accept(":") {
			return inferred{}, false
		}
		v, ok := p.parse(true, depth+1)
		if !ok {
			return inferred{}, false
		}
		entries = putEntry(entries, k.value, v.value)
		p.accept(",")
		keys.merge(k.schema)
		values.merge(v.schema)
	}
	return inferred{}, false
}

// commonSchema finds the schema that holds all values seen; nil when there is none.
type commonSchema struct {
	schema       *data.Schema
	incompatible bool
}

func (c *commonSchema) merge(s *data.Schema) {
	if s == nil || c.incompatible {
		return
	}
	if c.schema == nil {
		c.schema = s
		return
	}
	a, b := c.schema.Type(), s.Type()
	number := func(t data.Type) bool { return t >= data.TypeInt8 && t <= data.TypeFloat64 }
	switch {
	case a == b:
		c.schema = s
	case number(a) && number(b):
		if b > a {
			c.schema = s
		}
	default:
		c.schema, c.incompatible = nil, true
	}
}

// widen turns a number into the wider type of s.
func widen(s *data.Schema, v data.Value) data.Value {
	if s == nil || v.IsNull() || v.Type() == s.Type() {
		return v
	}
	f := v.Float()
	if v.Type() <= data.TypeInt64 {
		f = float64(v.Int())
	}
	switch s.Type() {
	case data.TypeInt16:
		return data.Int16(int16(v.Int()))
	case data.TypeInt32:
		return data.Int32(int32(v.Int()))
	case data.TypeInt64:
		return data.Int64(v.Int())
	case data.TypeFloat32:
		return data.Float32(float32(f))
	case data.TypeFloat64:
		return data.Float64(f)
	}
	return v
}

var (
	dateSchema      = data.New(data.TypeInt32).Name(data.LogicalDate).Version(1).Build()
	timeSchema      = data.New(data.TypeInt32).Name(data.LogicalTime).Version(1).Build()
	timestampSchema = data.New(data.TypeInt64).Name(data.LogicalTimestamp).Version(1).Build()
)

func decimalSchema(scale int) *data.Schema {
	return data.New(data.TypeBytes).Name(data.LogicalDecimal).Param("scale", strconv.Itoa(scale)).Version(1).Build()
}

func parseNumber(token string) (inferred, bool) {
	n, scale, err := data.ParseDecimal(token)
	if err != nil {
		return inferred{}, false
	}
	if w, ok := data.Rescale(n, scale, 0); ok && w.IsInt64() {
		switch i := w.Int64(); {
		case i == int64(int8(i)):
			return inferred{data.Int8Schema, data.Int8(int8(i))}, true
		case i == int64(int16(i)):
			return inferred{data.Int16Schema, data.Int16(int16(i))}, true
		case i == int64(int32(i)):
			return inferred{data.Int32Schema, data.Int32(int32(i))}, true
		default:
			return inferred{data.Int64Schema, data.Int64(i)}, true
		}
	}
	if scale != 0 {
		if f, err := strconv.ParseFloat(token, 32); err == nil {
			return inferred{data.Float32Schema, data.Float32(float32(f))}, true
		}
		if f, err := strconv.ParseFloat(token, 64); err == nil {
			return inferred{data.Float64Schema, data.Float64(f)}, true
		}
	}
	return inferred{decimalSchema(scale), data.Bytes(data.AppendUnscaled(nil, n))}, true
}

// parseTemporal reads the three ISO forms by their exact length, leniently within (the 32nd of January is the 1st of February).
func parseTemporal(token string) (inferred, bool) {
	token = strings.ReplaceAll(token, `\:`, ":")
	switch len(token) {
	case len("00:00:00.000Z"):
		if f, ok := numbers(token, "HH:mm:ss.SSSZ", 4); ok {
			ms := ((f[0]*60+f[1])*60+f[2])*1000 + f[3]
			return inferred{timeSchema, data.Int32(int32(ms % millisPerDay))}, true
		}
	case len("2000-01-01T00:00:00.000Z"):
		if f, ok := numbers(token, "yyyy-MM-ddTHH:mm:ss.SSSZ", 7); ok {
			t := time.Date(f[0], time.Month(f[1]), f[2], f[3], f[4], f[5], f[6]*1_000_000, time.UTC)
			return inferred{timestampSchema, data.Int64(t.UnixMilli())}, true
		}
	case len("2000-01-01"):
		if f, ok := numbers(token, "yyyy-MM-dd", 3); ok {
			t := time.Date(f[0], time.Month(f[1]), f[2], 0, 0, 0, 0, time.UTC)
			return inferred{dateSchema, data.Int32(int32(t.UnixMilli() / millisPerDay))}, true
		}
	}
	return inferred{}, false
}

// numbers reads the n numbers of a pattern whose other characters must match.
func numbers(token, pattern string, n int) ([7]int, bool) {
	var out [7]int
	i, field := 0, 0
	for p := 0; p < len(pattern); {
		c := pattern[p]
		if strings.IndexByte("yMdHmsS", c) < 0 {
			if i >= len(token) || token[i] != c {
				return out, false
			}
			i, p = i+1, p+1
			continue
		}
		start := i
		for i < len(token) && token[i] >= '0' && token[i] <= '9' && i-start < 9 {
			out[field] = out[field]*10 + int(token[i]-'0')
			i++
		}
		if i == start {
			return out, false
		}
		field++
		for p < len(pattern) && pattern[p] == c {
			p++
		}
	}
	return out, field == n
}
