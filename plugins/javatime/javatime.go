// Package javatime formats and parses times by Java's SimpleDateFormat patterns, in UTC and English, as configurations of Kafka
// Connect hold them.
//
// Supported are the pattern letters y (year), M and L (month), d (day), D (day of year), E (weekday), u (day number of week), a (AM or
// PM), H, k, K, h (hours), m, s, S (milliseconds, not a fraction), z, Z, X (zone) and G (era), quoted text and all other characters.
// The letters Y, w, W and F (weeks) are refused by name.
//
// Parsing is lenient as in Java: the 32nd of January is the 1st of February, and what follows the parsed text is ignored.
package javatime

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Format is a compiled pattern. It is safe for concurrent use.
type Format struct {
	pattern string
	items   []item
}

// item is a letter with its number of repetitions, or literal text.
type item struct {
	letter byte // 0: text
	count  int
	text   string
}

const letters = "yMLdDEuaHkKhmsSzZXG"

// Compile compiles a pattern.
func Compile(pattern string) (*Format, error) {
	f := &Format{pattern: pattern}
	text := func(s string) {
		if n := len(f.items); n > 0 && f.items[n-1].letter == 0 {
			f.items[n-1].text += s
		} else {
			f.items = append(f.items, item{text: s})
		}
	}
	for i := 0; i < len(pattern); {
		c := pattern[i]
		switch {
		case c == '\'':
			if strings.HasPrefix(pattern[i:], "''") {
				text("'")
				i += 2
				continue
			}
			i++
			for {
				end := strings.IndexByte(pattern[i:], '\'')
				if end < 0 {
					return nil, fmt.Errorf("pattern %q: a quote is not closed", pattern)
				}
				text(pattern[i : i+end])
				i += end + 1
				if i >= len(pattern) || pattern[i] != '\'' {
					break
				}
				text("'")
				i++
			}
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			if strings.IndexByte(letters, c) < 0 {
				return nil, fmt.Errorf("pattern %q: the letter '%c' is not supported; the letters are %s", pattern, c, letters)
			}
			n := 1
			for i+n < len(pattern) && pattern[i+n] == c {
				n++
			}
			if c == 'X' && n > 3 {
				return nil, fmt.Errorf("pattern %q: at most three X", pattern)
			}
			f.items = append(f.items, item{letter: c, count: n})
			i += n
		default:
			text(pattern[i : i+1])
			i++
		}
	}
	return f, nil
}

// Check is a check of a configuration key that holds a pattern.
func Check(v any) string {
	if s, ok := v.(string); ok && strings.TrimSpace(s) != "" {
		if _, err := Compile(s); err != nil {
			return err.Error()
		}
	}
	return ""
}

// String returns the pattern.
func (f *Format) String() string { return f.pattern }

// Append appends the time, given in milliseconds since the epoch.
func (f *Format) Append(dst []byte, millis int64) []byte {
	t := time.UnixMilli(millis).UTC()
	for _, it := range f.items {
		switch it.letter {
		case 0:
			dst = append(dst, it.text...)
		case 'y':
			y := t.Year()
			if y <= 0 {
				y = 1 - y
			}
			if it.count == 2 {
				dst = pad(dst, y%100, 2)
			} else {
				dst = pad(dst, y, it.count)
			}
		case 'M', 'L':
			switch {
			case it.count >= 4:
				dst = append(dst, t.Month().String()...)
			case it.count == 3:
				dst = append(dst, t.Month().String()[:3]...)
			default:
				dst = pad(dst, int(t.Month()), it.count)
			}
		case 'd':
			dst = pad(dst, t.Day(), it.count)
		case 'D':
			dst = pad(dst, t.YearDay(), it.count)
		case 'E':
			if it.count >= 4 {
				dst = append(dst, t.Weekday().String()...)
			} else {
				dst = append(dst, t.Weekday().String()[:3]...)
			}
		case 'u':
			dst = pad(dst, (int(t.Weekday())+6)%7+1, it.count)
		case 'a':
			dst = append(dst, [...]string{"AM", "PM"}[t.Hour()/12]...)
		case 'H':
			dst = pad(dst, t.Hour(), it.count)
		case 'k':
			dst = pad(dst, (t.Hour()+23)%24+1, it.count)
		case 'K':
			dst = pad(dst, t.Hour()%12, it.count)
		case 'h':
			dst = pad(dst, (t.Hour()+11)%12+1, it.count)
		case 'm':
			dst = pad(dst, t.Minute(), it.count)
		case 's':
			dst = pad(dst, t.Second(), it.count)
		case 'S':
			dst = pad(dst, t.Nanosecond()/1_000_000, it.count)
		case 'z':
			if it.count >= 4 {
				dst = append(dst, "Coordinated Universal Time"...)
			} else {
				dst = append(dst, "UTC"...)
			}
		case 'Z':
			dst = append(dst, "+0000"...)
		case 'X':
			dst = append(dst, 'Z')
		case 'G':
			if t.Year() > 0 {
				dst = append(dst, "AD"...)
			} else {
				dst = append(dst, "BC"...)
			}
		}
	}
	return dst
}

func pad(dst []byte, n, width int) []byte {
	var buf [20]byte
	digits := strconv.AppendInt(buf[:0], int64(n), 10)
	for range width - len(digits) {
		dst = append(dst, '0')
	}
	return append(dst, digits...)
}
