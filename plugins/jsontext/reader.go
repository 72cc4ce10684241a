package jsontext

import (
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth bounds how deep arrays and objects may nest.
const MaxDepth = 1000

// ErrEmpty says that the text holds no value at all, only white space.
var ErrEmpty = errors.New("no content")

// Kind is the kind of a JSON value.
type Kind uint8

// The kinds of JSON values.
const (
	None Kind = iota // end of the text
	NullKind
	BoolKind
	NumberKind
	StringKind
	ArrayKind
	ObjectKind
)

var kindNames = [...]string{"MISSING", "NULL", "BOOLEAN", "NUMBER", "STRING", "ARRAY", "OBJECT"}

// String names the kind as Connect's error texts do.
func (k Kind) String() string { return kindNames[k] }

// Reader walks one JSON text. The text must be UTF-8 (check with utf8.Valid first) and must not change while results are in use.
type Reader struct {
	b     []byte
	pos   int
	depth int
}

// NewReader returns a reader at the start of b.
func NewReader(b []byte) *Reader { return &Reader{b: b} }

// Reset puts the reader at the start of b.
func (r *Reader) Reset(b []byte) { *r = Reader{b: b} }

// Offset returns the position in bytes.
func (r *Reader) Offset() int { return r.pos }

// Slice returns the text from the position from to the present one.
func (r *Reader) Slice(from int) []byte { return r.b[from:r.pos] }

func (r *Reader) fail(format string, args ...any) error {
	return fmt.Errorf("invalid JSON at byte %d: %s", r.pos, fmt.Sprintf(format, args...))
}

func (r *Reader) space() {
	for r.pos < len(r.b) {
		switch r.b[r.pos] {
		case ' ', '\t', '\n', '\r':
			r.pos++
		default:
			return
		}
	}
}

// Kind skips white space and tells what comes next.
func (r *Reader) Kind() (Kind, error) {
	r.space()
	if r.pos >= len(r.b) {
		return None, nil
	}
	switch c := r.b[r.pos]; {
	case c == '"':
		return StringKind, nil
	case c == '{':
		return ObjectKind, nil
	case c == '[':
		return ArrayKind, nil
	case c == '-' || c >= '0' && c <= '9':
		return NumberKind, nil
	case c == 't' || c == 'f':
		return BoolKind, nil
	case c == 'n':
		return NullKind, nil
	default:
		return None, r.fail("unexpected character %q", c)
	}
}

// Null reads null.
func (r *Reader) Null() error { return r.literal("null") }

// Bool reads true or false.
func (r *Reader) Bool() (bool, error) {
	r.space()
	if r.pos < len(r.b) && r.b[r.pos] == 't' {
		return true, r.literal("true")
	}
	return false, r.literal("false")
}

func (r *Reader) literal(s string) error {
	r.space()
	if len(r.b)-r.pos < len(s) || string(r.b[r.pos:r.pos+len(s)]) != s {
		return r.fail("expected %s", s)
	}
	r.pos += len(s)
	if r.pos < len(r.b) {
		if c := r.b[r.pos]; c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			return r.fail("unexpected character %q after %s", c, s)
		}
	}
	return nil
}

// Number reads a number and returns its text and whether it has neither fraction nor exponent.
func (r *Reader) Number() (text []byte, integral bool, err error) {
	r.space()
	start := r.pos
	integral = true
	if r.at('-') {
		r.pos++
	}
	switch {
	case r.at('0'):
		r.pos++
		if r.pos < len(r.b) && isDigit(r.b[r.pos]) {
			return nil, false, r.fail("a number must not start with 0")
		}
	case r.digits() == 0:
		return nil, false, r.fail("expected a digit")
	}
	if r.at('.') {
		integral = false
		r.pos++
		if r.digits() == 0 {
			return nil, false, r.fail("expected a digit after the decimal point")
		}
	}
	if r.at('e') || r.at('E') {
		integral = false
		r.pos++
		if r.at('+') || r.at('-') {
			r.pos++
		}
		if r.digits() == 0 {
			return nil, false, r.fail("expected a digit in the exponent")
		}
	}
	if r.pos-start > 1000 {
		return nil, false, r.fail("a number of %d digits exceeds the limit of 1000", r.pos-start)
	}
	return r.b[start:r.pos], integral, nil
}

func (r *Reader) at(c byte) bool { return r.pos < len(r.b) && r.b[r.pos] == c }

func (r *Reader) digits() int {
	n := r.pos
	for r.pos < len(r.b) && isDigit(r.b[r.pos]) {
		r.pos++
	}
	return r.pos - n
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// Text reads a string. The result aliases the text when the string has no escapes.
func (r *Reader) Text() ([]byte, error) {
	r.space()
	if !r.at('"') {
		return nil, r.fail("expected a string")
	}
	start := r.pos + 1
	for i := start; i < len(r.b); i++ {
		switch c := r.b[i]; {
		case c == '"':
			r.pos = i + 1
			return r.b[start:i:i], nil
		case c == '\\':
			return r.escaped(start, i)
		case c < 0x20:
			r.pos = i
			return nil, r.fail("control character in a string")
		}
	}
	return nil, r.fail("a string is not closed")
}

func (r *Reader) escaped(start, i int) ([]byte, error) {
	out := append(make([]byte, 0, i-start+32), r.b[start:i]...)
	for i < len(r.b) {
		c := r.b[i]
		switch {
		case c == '"':
			r.pos = i + 1
			return out, nil
		case c < 0x20:
			r.pos = i
			return nil, r.fail("control character in a string")
		case c != '\\':
			out = append(out, c)
			i++
			continue
		}
		r.pos = i
		if i+1 >= len(r.b) {
			break
		}
		switch e := r.b[i+1]; e {
		case '"', '\\', '/':
			out = append(out, e)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			u, ok := hex4(r.b, i+2)
			if !ok {
				return nil, r.fail("bad \\u escape")
			}
			if utf16.IsSurrogate(u) {
				low, ok := rune(0), false
				if i+7 < len(r.b) && r.b[i+6] == '\\' && r.b[i+7] == 'u' {
					low, ok = hex4(r.b, i+8)
				}
				if dec := utf16.DecodeRune(u, low); ok && dec != utf8.RuneError {
					u = dec
					i += 6
				} else {
					u = utf8.RuneError
				}
			}
			out = utf8.AppendRune(out, u)
			i += 4
		default:
			return nil, r.fail("unknown escape \\%c", e)
		}
		i += 2
	}
	return nil, r.fail("a string is not closed")
}

func hex4(b []byte, i int) (rune, bool) {
	if i+4 > len(b) {
		return 0, false
	}
	var v rune
	for _, c := range b[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			v = v<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return v, true
}

// Array reads an array; elem is called at the start of each element and must read it whole.
func (r *Reader) Array(elem func() error) error {
	if err := r.open('['); err != nil {
		return err
	}
	defer func() { r.depth-- }()
	r.space()
	if r.at(']') {
		r.pos++
		return nil
	}
	for {
		if err := elem(); err != nil {
			return err
		}
		r.space()
		switch {
		case r.at(','):
			r.pos++
		case r.at(']'):
			r.pos++
			return nil
		default:
			return r.fail("expected , or ] in an array")
		}
	}
}

// Object reads an object; member is called with each name, at the start of its value, and must read that whole.
func (r *Reader) Object(member func(name []byte) error) error {
	if err := r.open('{'); err != nil {
		return err
	}
	defer func() { r.depth-- }()
	r.space()
	if r.at('}') {
		r.pos++
		return nil
	}
	for {
		name, err := r.Text()
		if err != nil {
			return err
		}
		r.space()
		if !r.at(':') {
			return r.fail("expected : after a name")
		}
		r.pos++
		if err := member(name); err != nil {
			return err
		}
		r.space()
		switch {
		case r.at(','):
			r.pos++
		case r.at('}'):
			r.pos++
			return nil
		default:
			return r.fail("expected , or } in an object")
		}
	}
}

func (r *Reader) open(c byte) error {
	r.space()
	if !r.at(c) {
		return r.fail("expected %c", c)
	}
	if r.depth >= MaxDepth {
		return r.fail("nesting exceeds the limit of %d", MaxDepth)
	}
	r.depth++
	r.pos++
	return nil
}

// Skip reads one value of any kind and forgets it.
func (r *Reader) Skip() error {
	k, err := r.Kind()
	if err != nil {
		return err
	}
	switch k {
	case NullKind:
		return r.Null()
	case BoolKind:
		_, err = r.Bool()
	case NumberKind:
		_, _, err = r.Number()
	case StringKind:
		_, err = r.Text()
	case ArrayKind:
		return r.Array(r.Skip)
	case ObjectKind:
		return r.Object(func([]byte) error { return r.Skip() })
	default:
		return r.fail("unexpected end")
	}
	return err
}
