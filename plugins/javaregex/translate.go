package javaregex

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// posix are Java's ASCII classes, as the inside of a bracket expression.
var posix = map[string]string{
	"Lower": "a-z", "Upper": "A-Z", "ASCII": `\x00-\x7F`, "Alpha": "a-zA-Z", "Digit": "0-9", "Alnum": "a-zA-Z0-9",
	"Punct": `!-/:-@\[-` + "`" + `{-~`, "Graph": "!-~", "Print": " -~", "Blank": ` \t`, "Cntrl": `\x00-\x1F\x7F`,
	"XDigit": "0-9a-fA-F", "Space": ` \t\n\x0B\f\r`,
}

// shorthand are Java's class escapes, which are ASCII there, as the inside of a bracket expression.
var shorthand = map[byte]string{
	'd': "0-9", 'w': "a-zA-Z_0-9", 's': ` \t\n\x0B\f\r`,
	'h': ` \t\xA0\u1680\u180e\u2000-\u200a\u202f\u205f\u3000`, 'v': `\n\x0B\f\r\x85\u2028\u2029`,
}

// repetition is what an opening brace outside of a class begins. The engine would take another brace for itself, which Java does not.
var repetition = regexp.MustCompile(`^\{\d+(,\d*)?\}`)

type translator struct {
	in  string
	pos int
	out strings.Builder
}

func (t *translator) refuse(what string) error {
	return &unsupported{fmt.Sprintf("%q: %s (at index %d) is not supported", t.in, what, t.pos)}
}

// unsupported is the error of what Java understands and this package does not. It is errors.ErrUnsupported.
type unsupported struct{ text string }

func (u *unsupported) Error() string { return u.text }

func (u *unsupported) Is(target error) bool { return target == errors.ErrUnsupported }

func translate(pattern string) (string, error) {
	t := &translator{in: pattern}
	for t.pos < len(t.in) {
		c := t.in[t.pos]
		var err error
		switch {
		case c == '\\':
			err = t.escape(false)
		case c == '[':
			err = t.class()
		case c == '(' && strings.HasPrefix(t.in[t.pos:], "(?"):
			err = t.group()
		case c == '+' && t.pos > 0 && t.quantified():
			err = t.refuse("a possessive quantifier")
		case c == '{' && !repetition.MatchString(t.in[t.pos:]):
			err = fmt.Errorf("%q: illegal repetition (at index %d)", t.in, t.pos)
		default:
			t.out.WriteByte(c)
			t.pos++
		}
		if err != nil {
			return "", err
		}
	}
	return t.out.String(), nil
}

// quantified says whether the + at hand follows a quantifier, which makes it possessive.
func (t *translator) quantified() bool {
	prev := t.in[t.pos-1]
	if prev != '*' && prev != '+' && prev != '?' && prev != '}' {
		return false
	}
	slashes := 0
	for i := t.pos - 2; i >= 0 && t.in[i] == '\\'; i-- {
		slashes++
	}
	if slashes%2 == 1 {
		return false
	}
	if prev == '}' {
		open := strings.LastIndexByte(t.in[:t.pos-1], '{')
		return open > 0 && strings.Trim(t.in[open+1:t.pos-1], "0123456789,") == ""
	}
	return t.pos >= 2 && !strings.HasSuffix(t.in[:t.pos], "(?")
}

func (t *translator) group() error {
	rest := t.in[t.pos+2:]
	for i := range len(rest) {
		switch c := rest[i]; c {
		case 'i', 'm', 's', 'x', '-':
			continue
		case 'd', 'u', 'U':
			return t.refuse("the flag " + string(c))
		case ')', ':', '=', '!', '<', '>':
		default:
			return fmt.Errorf("%q: this kind of group (at index %d) is not supported", t.in, t.pos)
		}
		break
	}
	t.out.WriteString("(?")
	t.pos += 2
	return nil
}

func (t *translator) escape(inClass bool) error {
	if t.pos+1 >= len(t.in) {
		return fmt.Errorf("%q: unexpected end after a backslash", t.in)
	}
	c := t.in[t.pos+1]
	bracket := func(set string) {
		if inClass {
			t.out.WriteString(set)
		} else {
			t.out.WriteString("[" + set + "]")
		}
		t.pos += 2
	}
	switch c {
	case 'Q':
		end := strings.Index(t.in[t.pos:], `\E`)
		text, next := t.in[t.pos+2:], len(t.in)
		if end >= 0 {
			text, next = t.in[t.pos+2:t.pos+end], t.pos+end+2
		}
		for i := range len(text) {
			if strings.IndexByte(`\*+?|{}[]()^$.#&- `, text[i]) >= 0 {
				t.out.WriteByte('\\')
			}
			t.out.WriteByte(text[i])
		}
		t.pos = next
	case 'd', 'w', 's', 'h', 'v':
		bracket(shorthand[c])
	case 'D', 'W', 'S', 'H', 'V':
		if inClass {
			if c == 'H' || c == 'V' {
				return t.refuse(`\` + string(c) + " in a class")
			}
			t.out.WriteString(t.in[t.pos : t.pos+2])
			t.pos += 2
			return nil
		}
		t.out.WriteString("[^" + shorthand[c|0x20] + "]")
		t.pos += 2
	case 'p', 'P':
		return t.property(inClass, c == 'P')
	case 'x':
		return t.hex()
	case '0':
		n := 2
		for n < 5 && t.pos+n < len(t.in) && t.in[t.pos+n] >= '0' && t.in[t.pos+n] <= '7' {
			n++
		}
		v, err := strconv.ParseUint(t.in[t.pos+2:t.pos+n], 8, 16)
		if err != nil || v > 0xff {
			return t.refuse("this octal escape")
		}
		fmt.Fprintf(&t.out, `\x%02X`, v)
		t.pos += n
	case 'R', 'X', 'N', 'E', 'b':
		if c == 'b' && !inClass && !strings.HasPrefix(t.in[t.pos:], `\b{`) {
			t.out.WriteString(`\b`)
			t.pos += 2
			return nil
		}
		return t.refuse(`\` + string(c))
	default:
		t.out.WriteString(t.in[t.pos : t.pos+2])
		t.pos += 2
	}
	return nil
}

func (t *translator) property(inClass, negated bool) error {
	var name string
	var next int
	if t.pos+2 < len(t.in) && t.in[t.pos+2] != '{' {
		name, next = t.in[t.pos+2:t.pos+3], t.pos+3
	} else if end := strings.IndexByte(t.in[t.pos:], '}'); end > 0 {
		name, next = t.in[t.pos+3:t.pos+end], t.pos+end+1
	} else {
		return fmt.Errorf("%q: a character property is not closed", t.in)
	}
	set, ok := posix[name]
	switch {
	case ok && inClass && negated:
		return t.refuse(`\P{` + name + "} in a class")
	case ok && inClass:
		t.out.WriteString(set)
	case ok && negated:
		t.out.WriteString("[^" + set + "]")
	case ok:
		t.out.WriteString("[" + set + "]")
	case len(name) > 2:
		return t.refuse("the character property " + name)
	default: // a general category
		t.out.WriteString(t.in[t.pos : t.pos+2])
		t.out.WriteString("{" + name + "}")
	}
	t.pos = next
	return nil
}

func (t *translator) hex() error {
	rest := t.in[t.pos+2:]
	if strings.HasPrefix(rest, "{") {
		end := strings.IndexByte(rest, '}')
		if end < 0 {
			return fmt.Errorf("%q: unclosed hexadecimal escape", t.in)
		}
		v, err := strconv.ParseUint(rest[1:end], 16, 32)
		if err != nil || v > 0xffff {
			return t.refuse("this hexadecimal escape")
		}
		fmt.Fprintf(&t.out, `\u%04X`, v)
		t.pos += end + 3
		return nil
	}
	t.out.WriteString(`\x`)
	t.pos += 2
	return nil
}

// class copies a bracket expression.
func (t *translator) class() error {
	t.out.WriteByte('[')
	t.pos++
	if t.pos < len(t.in) && t.in[t.pos] == '^' {
		t.out.WriteByte('^')
		t.pos++
	}
	first := true
	for t.pos < len(t.in) {
		switch c := t.in[t.pos]; {
		case c == ']' && !first:
			t.out.WriteByte(']')
			t.pos++
			return nil
		case c == '\\':
			if err := t.escape(true); err != nil {
				return err
			}
		case c == '[':
			return t.refuse("a class within a class")
		case strings.HasPrefix(t.in[t.pos:], "&&"):
			return t.refuse("the intersection of classes")
		case c == ']':
			t.out.WriteString(`\]`)
			t.pos++
		default:
			t.out.WriteByte(c)
			t.pos++
		}
		first = false
	}
	return fmt.Errorf("%q: unclosed character class", t.in)
}
