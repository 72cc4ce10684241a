// Package javaregex runs the regular expressions that users wrote for Java, as configurations of Kafka Connect and Debezium hold
// them: with look-around, back-references and replacements like "$1-$2".
//
// The engine is a backtracking one with a time limit for each match, since a pattern from a configuration meets names from outside.
// Where Java's syntax and the engine's differ the pattern is translated (\Q..\E, \d as ASCII, \p{Alpha}, octal escapes); what cannot
// be said in the engine's terms (possessive quantifiers, class intersections, Unicode flags) is refused by name rather than
// understood in another way.
package javaregex

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
)

// MatchTimeout bounds one match. A pattern that takes longer on a name is reported as an error.
const MatchTimeout = time.Second

// Regexp is a compiled pattern. It is safe for concurrent use.
type Regexp struct {
	pattern string
	full    *regexp2.Regexp // the whole text must match
	find    *regexp2.Regexp
}

// Compile compiles a pattern in Java's syntax. The error for what Java understands and this package does not is errors.ErrUnsupported.
func Compile(pattern string) (*Regexp, error) {
	translated, err := translate(pattern)
	if err != nil {
		return nil, err
	}
	find, err := regexp2.Compile(translated, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("%q is not a regular expression: %w", pattern, err)
	}
	full, err := regexp2.Compile(`\A(?:`+translated+`)\z`, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("%q is not a regular expression: %w", pattern, err)
	}
	find.MatchTimeout, full.MatchTimeout = MatchTimeout, MatchTimeout
	return &Regexp{pattern, full, find}, nil
}

// Check is a check of a configuration key that holds a pattern, with Kafka's words.
func Check(v any) string {
	if s, ok := v.(string); ok {
		if _, err := Compile(s); err != nil {
			return "Invalid regex: " + err.Error()
		}
	}
	return ""
}

// String returns the pattern.
func (r *Regexp) String() string { return r.pattern }

// Matches reports whether all of s matches, as Java's Matcher.matches does.
func (r *Regexp) Matches(s string) (bool, error) {
	ok, err := r.full.MatchString(s)
	if err != nil {
		return false, fmt.Errorf("match %q against %q: %w", s, r.pattern, err)
	}
	return ok, nil
}

// Find reports whether some part of s matches.
func (r *Regexp) Find(s string) (bool, error) {
	ok, err := r.find.MatchString(s)
	if err != nil {
		return false, fmt.Errorf("match %q against %q: %w", s, r.pattern, err)
	}
	return ok, nil
}

// Replacement is a parsed replacement text.
type Replacement struct{ parts []part }

type part struct {
	text  string
	group string // name or number; "" for text
}

// Replacement parses a replacement in Java's syntax ($1, ${name}, \ quotes) and checks that its groups are there.
func (r *Regexp) Replacement(text string) (Replacement, error) {
	var out Replacement
	var lit strings.Builder
	flush := func() {
		if lit.Len() > 0 {
			out.parts = append(out.parts, part{text: lit.String()})
			lit.Reset()
		}
	}
	groups := len(r.find.GetGroupNumbers()) - 1
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			if i++; i == len(text) {
				return out, fmt.Errorf("replacement %q: character to be escaped is missing", text)
			}
			lit.WriteByte(text[i])
		case c != '$':
			lit.WriteByte(c)
		case i+1 < len(text) && text[i+1] == '{':
			end := strings.IndexByte(text[i:], '}')
			if end < 0 {
				return out, fmt.Errorf("replacement %q: named capturing group is missing trailing '}'", text)
			}
			name := text[i+2 : i+end]
			if r.find.GroupNumberFromName(name) < 0 || name == "" || isDigit(name[0]) {
				return out, fmt.Errorf("replacement %q: no group with name {%s}", text, name)
			}
			flush()
			out.parts = append(out.parts, part{group: name})
			i += end
		default:
			if i+1 >= len(text) || !isDigit(text[i+1]) {
				return out, fmt.Errorf("replacement %q: illegal group reference", text)
			}
			// As many digits as name a group.
			n := int(text[i+1] - '0')
			i++
			if n > groups {
				return out, fmt.Errorf("replacement %q: no group %d", text, n)
			}
			for i+1 < len(text) && isDigit(text[i+1]) && n*10+int(text[i+1]-'0') <= groups {
				n = n*10 + int(text[i+1]-'0')
				i++
			}
			flush()
			out.parts = append(out.parts, part{group: strconv.Itoa(n)})
		}
	}
	flush()
	return out, nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// ReplaceFirst replaces the first match in s, as Java's Matcher.replaceFirst does.
func (r *Regexp) ReplaceFirst(s string, with Replacement) (string, error) {
	m, err := r.find.FindStringMatch(s)
	if err != nil {
		return "", fmt.Errorf("match %q against %q: %w", s, r.pattern, err)
	}
	if m == nil {
		return s, nil
	}
	return r.splice(s, m, with), nil
}

// ReplaceAll replaces every match in s.
func (r *Regexp) ReplaceAll(s string, with Replacement) (string, error) {
	m, err := r.find.FindStringMatch(s)
	runes := []rune(s)
	var sb strings.Builder
	at := 0
	for ; m != nil && err == nil; m, err = r.find.FindNextMatch(m) {
		sb.WriteString(string(runes[at:m.Index]))
		with.expand(&sb, m)
		at = m.Index + m.Length
	}
	if err != nil {
		return "", fmt.Errorf("match %q against %q: %w", s, r.pattern, err)
	}
	sb.WriteString(string(runes[at:]))
	return sb.String(), nil
}

func (r *Regexp) splice(s string, m *regexp2.Match, with Replacement) string {
	runes := []rune(s)
	var sb strings.Builder
	sb.WriteString(string(runes[:m.Index]))
	with.expand(&sb, m)
	sb.WriteString(string(runes[m.Index+m.Length:]))
	return sb.String()
}

func (p Replacement) expand(sb *strings.Builder, m *regexp2.Match) {
	for _, part := range p.parts {
		if part.group == "" {
			sb.WriteString(part.text)
		} else if g := m.GroupByName(part.group); g != nil {
			sb.WriteString(g.String())
		}
	}
}
