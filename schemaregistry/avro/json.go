package avro

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ValueKind is the JSON type of a Value.
type ValueKind uint8

// The JSON types. Integers and floats differ because Avro defaults do.
const (
	JSONNull ValueKind = iota
	JSONFalse
	JSONTrue
	JSONInt
	JSONFloat
	JSONString
	JSONArray
	JSONObject
)

// Value is a JSON value that keeps the order of object members and the text of numbers. It holds defaults and
// custom properties. Values are immutable once parsed.
type Value struct {
	Kind ValueKind
	// Text is the string's content, or the number as it is printed.
	Text string
	// Items are the elements of an array.
	Items []Value
	// Members are the members of an object, in the order written.
	Members []Member
}

// Member is one name and value of a JSON object.
type Member struct {
	Name  string
	Value Value
}

// StringValue returns the JSON string s.
func StringValue(s string) Value { return Value{Kind: JSONString, Text: s} }

// IntValue returns the JSON number i.
func IntValue(i int64) Value { return Value{Kind: JSONInt, Text: strconv.FormatInt(i, 10)} }

// BoolValue returns a JSON boolean.
func BoolValue(b bool) Value {
	if b {
		return Value{Kind: JSONTrue}
	}
	return Value{Kind: JSONFalse}
}

// Get returns the member called name of an object.
func (v Value) Get(name string) (Value, bool) {
	for i := range v.Members {
		if v.Members[i].Name == name {
			return v.Members[i].Value, true
		}
	}
	return Value{}, false
}

// String returns the value as compact JSON, numbers and escapes as Java (Jackson) prints them.
func (v Value) String() string { return string(v.append(nil)) }

// Any returns the value as plain Go data: nil, bool, int64, *big.Int (beyond int64), float64, string, []any, map[string]any.
func (v Value) Any() any {
	switch v.Kind {
	case JSONTrue:
		return true
	case JSONFalse:
		return false
	case JSONInt:
		if i, err := strconv.ParseInt(v.Text, 10, 64); err == nil {
			return i
		}
		i, _ := new(big.Int).SetString(v.Text, 10)
		return i
	case JSONFloat:
		f, _ := strconv.ParseFloat(v.Text, 64)
		return f
	case JSONString:
		return v.Text
	case JSONArray:
		out := make([]any, len(v.Items))
		for i := range v.Items {
			out[i] = v.Items[i].Any()
		}
		return out
	case JSONObject:
		out := make(map[string]any, len(v.Members))
		for i := range v.Members {
			out[v.Members[i].Name] = v.Members[i].Value.Any()
		}
		return out
	}
	return nil
}

func (v Value) append(b []byte) []byte {
	switch v.Kind {
	case JSONNull:
		return append(b, "null"...)
	case JSONFalse:
		return append(b, "false"...)
	case JSONTrue:
		return append(b, "true"...)
	case JSONInt:
		return append(b, v.Text...)
	case JSONFloat:
		if c := v.Text[len(v.Text)-1]; c < '0' || c > '9' { // NaN, Infinity
			return appendString(b, v.Text)
		}
		return append(b, v.Text...)
	case JSONString:
		return appendString(b, v.Text)
	case JSONArray:
		b = append(b, '[')
		for i := range v.Items {
			if i > 0 {
				b = append(b, ',')
			}
			b = v.Items[i].append(b)
		}
		return append(b, ']')
	default:
		b = append(b, '{')
		for i := range v.Members {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, v.Members[i].Name)
			b = append(b, ':')
			b = v.Members[i].Value.append(b)
		}
		return append(b, '}')
	}
}

// appendString appends s as a JSON string with Jackson's escapes: only quotes, backslashes and control characters.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\t':
			b = append(b, '\\', 't')
		case '\n':
			b = append(b, '\\', 'n')
		case '\f':
			b = append(b, '\\', 'f')
		case '\r':
			b = append(b, '\\', 'r')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(b, s[start:]...), '"')
}

// javaDouble prints f as Java's Double.toString does: 1.0, 1.0E10, 1.0E-5.
func javaDouble(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case f == 0:
		if math.Signbit(f) {
			return "-0.0"
		}
		return "0.0"
	}
	if a := math.Abs(f); a >= 1e-3 && a < 1e7 {
		s := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	n, _ := strconv.Atoi(exponent)
	return mantissa + "E" + strconv.Itoa(n)
}

// floatValue returns the JSON number that Java prints for f.
func floatValue(f float64) Value { return Value{Kind: JSONFloat, Text: javaDouble(f)} }

var errDepth = errors.New("nested too deeply")

// ParseValue parses one JSON text of at most maxDepth levels. Like Avro's Java parser it accepts comments, and the last of
// equal member names wins. Its memory is at most a small multiple of len(text).
func ParseValue(text string, maxDepth int) (Value, error) {
	p := jsonParser{text: text, depth: maxDepth}
	v, err := p.value()
	if rest := strings.TrimLeft(text[p.pos:], " \t\r\n"); err == nil && rest != "" {
		err = fmt.Errorf("unexpected %q after the end", rest[0])
	}
	if err != nil {
		return Value{}, fmt.Errorf("json at byte %d: %w", p.pos, err)
	}
	return v, nil
}

type jsonParser struct {
	text  string
	pos   int
	depth int
}

func (p *jsonParser) space() error {
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		case '/':
			rest := p.text[p.pos:]
			switch {
			case strings.HasPrefix(rest, "//"):
				if i := strings.IndexByte(rest, '\n'); i >= 0 {
					p.pos += i + 1
				} else {
					p.pos = len(p.text)
				}
			case strings.HasPrefix(rest, "/*"):
				i := strings.Index(rest[2:], "*/")
				if i < 0 {
					return errors.New("comment without end")
				}
				p.pos += 2 + i + 2
			default:
				return errors.New("unexpected '/'")
			}
		default:
			return nil
		}
	}
	return nil
}

// next skips space and returns the next byte without consuming it.
func (p *jsonParser) next() (byte, error) {
	if err := p.space(); err != nil {
		return 0, err
	}
	if p.pos >= len(p.text) {
		return 0, errors.New("unexpected end")
	}
	return p.text[p.pos], nil
}

func (p *jsonParser) value() (Value, error) {
	c, err := p.next()
	if err != nil {
		return Value{}, err
	}
	switch c {
	case '{', '[':
		if p.depth == 0 {
			return Value{}, errDepth
		}
		p.depth--
		p.pos++
		var v Value
		if c == '{' {
			v, err = p.object()
		} else {
			v, err = p.array()
		}
		p.depth++
		return v, err
	case '"':
		s, err := p.string()
		return Value{Kind: JSONString, Text: s}, err
	case 'n':
		return Value{Kind: JSONNull}, p.word("null")
	case 't':
		return Value{Kind: JSONTrue}, p.word("true")
	case 'f':
		return Value{Kind: JSONFalse}, p.word("false")
	}
	return p.number()
}

func (p *jsonParser) word(w string) error {
	if !strings.HasPrefix(p.text[p.pos:], w) {
		return fmt.Errorf("unexpected %q", p.text[p.pos])
	}
	p.pos += len(w)
	return nil
}

func (p *jsonParser) array() (Value, error) {
	v := Value{Kind: JSONArray}
	for {
		c, err := p.next()
		if err != nil {
			return v, err
		}
		if c == ']' && len(v.Items) == 0 {
			p.pos++
			return v, nil
		}
		item, err := p.value()
		if err != nil {
			return v, err
		}
		v.Items = append(v.Items, item)
		if c, err = p.next(); err != nil {
			return v, err
		}
		p.pos++
		if c == ']' {
			return v, nil
		}
		if c != ',' {
			p.pos--
			return v, fmt.Errorf("unexpected %q in an array", c)
		}
	}
}

func (p *jsonParser) object() (Value, error) {
	v := Value{Kind: JSONObject}
	var index map[string]int // only for objects too large to search
	for {
		c, err := p.next()
		if err != nil {
			return v, err
		}
		if c == '}' && len(v.Members) == 0 {
			p.pos++
			return v, nil
		}
		if c != '"' {
			return v, fmt.Errorf("unexpected %q where a member name belongs", c)
		}
		name, err := p.string()
		if err != nil {
			return v, err
		}
		if c, err = p.next(); err != nil {
			return v, err
		}
		if c != ':' {
			return v, fmt.Errorf("unexpected %q after a member name", c)
		}
		p.pos++
		item, err := p.value()
		if err != nil {
			return v, err
		}
		at := -1
		if index == nil && len(v.Members) == 16 {
			index = make(map[string]int, 32)
			for i := range v.Members {
				index[v.Members[i].Name] = i
			}
		}
		if index != nil {
			if i, ok := index[name]; ok {
				at = i
			} else {
				index[name] = len(v.Members)
			}
		} else {
			for i := range v.Members {
				if v.Members[i].Name == name {
					at = i
				}
			}
		}
		if at >= 0 {
			v.Members[at].Value = item
		} else {
			v.Members = append(v.Members, Member{Name: name, Value: item})
		}
		if c, err = p.next(); err != nil {
			return v, err
		}
		p.pos++
		if c == '}' {
			return v, nil
		}
		if c != ',' {
			p.pos--
			return v, fmt.Errorf("unexpected %q in an object", c)
		}
	}
}

func (p *jsonParser) string() (string, error) {
	p.pos++ // the quote
	start := p.pos
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == '"':
			s := p.text[start:p.pos]
			p.pos++
			if !utf8.ValidString(s) {
				return "", errors.New("invalid UTF-8")
			}
			return s, nil
		case c == '\\':
			return p.escaped(start)
		case c < 0x20:
			return "", fmt.Errorf("unescaped control character %#02x in a string", c)
		default:
			p.pos++
		}
	}
	return "", errors.New("string without end")
}

// escaped reads the rest of a string that holds escapes; the part from start to pos does not.
func (p *jsonParser) escaped(start int) (string, error) {
	b := append([]byte(nil), p.text[start:p.pos]...)
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		p.pos++
		switch {
		case c == '"':
			if !utf8.Valid(b) {
				return "", errors.New("invalid UTF-8")
			}
			return string(b), nil
		case c < 0x20:
			return "", fmt.Errorf("unescaped control character %#02x in a string", c)
		case c != '\\':
			b = append(b, c)
			continue
		}
		if p.pos >= len(p.text) {
			break
		}
		c = p.text[p.pos]
		p.pos++
		switch c {
		case '"', '\\', '/':
			b = append(b, c)
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r, err := p.hex()
			if err != nil {
				return "", err
			}
			if utf16.IsSurrogate(r) && strings.HasPrefix(p.text[p.pos:], `\u`) {
				p.pos += 2
				low, err := p.hex()
				if err != nil {
					return "", err
				}
				if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
					b = utf8.AppendRune(b, full)
					continue
				}
				b = utf8.AppendRune(b, utf8.RuneError)
				r = low
			}
			b = utf8.AppendRune(b, r)
		default:
			return "", fmt.Errorf("unknown escape \\%c", c)
		}
	}
	return "", errors.New("string without end")
}

func (p *jsonParser) hex() (rune, error) {
	if p.pos+4 > len(p.text) {
		return 0, errors.New("string without end")
	}
	n, err := strconv.ParseUint(p.text[p.pos:p.pos+4], 16, 32)
	if err != nil {
		return 0, fmt.Errorf("bad escape \\u%s", p.text[p.pos:p.pos+4])
	}
	p.pos += 4
	return rune(n), nil
}

// maxNumber bounds the digits of a number: no default needs more, and big numbers cost time to print.
const maxNumber = 400

func (p *jsonParser) number() (Value, error) {
	start, float := p.pos, false
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		if c == '.' || c == 'e' || c == 'E' {
			float = true
		} else if (c < '0' || c > '9') && c != '-' && c != '+' {
			break
		}
		p.pos++
	}
	text := p.text[start:p.pos]
	bad := func() (Value, error) {
		p.pos = start
		if text == "" {
			return Value{}, fmt.Errorf("unexpected %q", p.text[start])
		}
		return Value{}, errors.New("bad number")
	}
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || digits[0] < '0' || digits[0] > '9' || len(text) > maxNumber || (len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9') {
		return bad()
	}
	if !float {
		if strings.ContainsAny(digits, "+-") {
			return bad()
		}
		if text == "-0" {
			text = "0"
		}
		return Value{Kind: JSONInt, Text: text}, nil
	}
	if i := strings.IndexByte(digits, '.'); i >= 0 && (i+1 == len(digits) || digits[i+1] < '0' || digits[i+1] > '9') {
		return bad()
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return bad()
	}
	return floatValue(f), nil
}
