package s3

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// joda is a compiled date pattern in the letters of Joda-Time, which path.format is written in.
type joda []jodaPart

type jodaPart struct {
	literal string
	letter  byte
	count   int
}

// parseJoda compiles a pattern: text stands between quotes, two quotes side by side are one of text wherever they are, and a quote that is
// not closed holds until the end. Letters that Joda does not know are refused, and those that name things in a language other than English.
func parseJoda(pattern string) (joda, error) {
	var out joda
	lit := func(s string) { out = append(out, jodaPart{literal: s}) }
	quoted := false
	for i := 0; i < len(pattern); {
		c := pattern[i]
		switch {
		case c == '\'' && strings.HasPrefix(pattern[i+1:], "'"):
			lit("'")
			i += 2
		case c == '\'':
			quoted = !quoted
			i++
		case quoted:
			end := strings.IndexByte(pattern[i:], '\'')
			if end < 0 {
				end = len(pattern) - i
			}
			lit(pattern[i : i+end])
			i += end
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			n := 1
			for i+n < len(pattern) && pattern[i+n] == c {
				n++
			}
			switch {
			case !strings.ContainsRune("GCyYxMdDeEwHhkKmsSaZz", rune(c)):
				return nil, fmt.Errorf("Illegal pattern component: %s", pattern[i:i+n]) //nolint:staticcheck // Joda's words
			case c == 'z' && n >= 4:
				return nil, fmt.Errorf("the pattern component %s is not supported: a time zone's full name; z is its short one", pattern[i:i+n])
			}
			out = append(out, jodaPart{letter: c, count: n})
			i += n
		default:
			lit(string(c))
			i++
		}
	}
	return out, nil
}

func (j joda) format(t time.Time) string {
	var sb strings.Builder
	for _, p := range j {
		num := func(n int) {
			s := strconv.Itoa(n)
			for k := len(s); k < p.count; k++ {
				sb.WriteByte('0')
			}
			sb.WriteString(s)
		}
		year := func(y int) {
			if p.count == 2 {
				y %= 100
			}
			num(y)
		}
		switch p.letter {
		case 0:
			sb.WriteString(p.literal)
		case 'G':
			sb.WriteString("AD")
		case 'C':
			num(t.Year() / 100)
		case 'y', 'Y': // in Joda both are the calendar year
			year(t.Year())
		case 'x':
			y, _ := t.ISOWeek()
			year(y)
		case 'M':
			switch {
			case p.count >= 4:
				sb.WriteString(t.Month().String())
			case p.count == 3:
				sb.WriteString(t.Month().String()[:3])
			default:
				num(int(t.Month()))
			}
		case 'd':
			num(t.Day())
		case 'D':
			num(t.YearDay())
		case 'e':
			num((int(t.Weekday())+6)%7 + 1)
		case 'E':
			if p.count >= 4 {
				sb.WriteString(t.Weekday().String())
			} else {
				sb.WriteString(t.Weekday().String()[:3])
			}
		case 'w':
			_, w := t.ISOWeek()
			num(w)
		case 'H':
			num(t.Hour())
		case 'k':
			num((t.Hour()+23)%24 + 1)
		case 'K':
			num(t.Hour() % 12)
		case 'h':
			num((t.Hour()+11)%12 + 1)
		case 'm':
			num(t.Minute())
		case 's':
			num(t.Second())
		case 'S':
			f := fmt.Sprintf("%09d", t.Nanosecond())
			for len(f) < p.count {
				f += "0"
			}
			sb.WriteString(f[:p.count])
		case 'a':
			sb.WriteString(t.Format("PM"))
		case 'Z':
			switch p.count {
			case 1:
				sb.WriteString(t.Format("-0700"))
			case 2:
				sb.WriteString(t.Format("-07:00"))
			default:
				sb.WriteString(t.Location().String())
			}
		case 'z':
			sb.WriteString(t.Format("MST"))
		}
	}
	return sb.String()
}
