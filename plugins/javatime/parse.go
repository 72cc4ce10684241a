package javatime

import (
	"fmt"
	"strings"
	"time"
)

// fields is what a text says.
type fields struct {
	year, month, day, yearDay int
	hour, hour12              int
	minute, second, milli     int
	pm, bc                    bool
	has12, hasMonth, hasDay   bool
	hasYearDay                bool
	offset                    int // seconds east of UTC
}

// Parse reads a time in milliseconds since the epoch. now is where two-digit years are resolved from: 80 years before it to 20 after.
func (f *Format) Parse(text string, now time.Time) (int64, error) {
	v := fields{year: 1970}
	rest := text
	for i, it := range f.items {
		if it.letter == 0 {
			var ok bool
			if rest, ok = strings.CutPrefix(rest, it.text); !ok {
				return 0, f.fail(text)
			}
			continue
		}
		// A number directly before another has as many digits as its letters.
		width := 0
		if i+1 < len(f.items) && numeric(f.items[i+1]) && numeric(it) {
			width = it.count
		}
		var ok bool
		if rest, ok = v.parse(it, rest, width, now); !ok {
			return 0, f.fail(text)
		}
	}
	return v.millis(), nil
}

func (*Format) fail(text string) error {
	return fmt.Errorf("Unparseable date: %q", text) //nolint:staticcheck // Java's text
}

func numeric(it item) bool {
	return strings.IndexByte("ydDuHkKhmsS", it.letter) >= 0 && it.letter != 0 || (it.letter == 'M' || it.letter == 'L') && it.count < 3
}

func (v *fields) parse(it item, s string, width int, now time.Time) (rest string, ok bool) {
	switch it.letter {
	case 'E':
		_, rest, ok = name(s, 7, func(i int) string { return time.Weekday(i).String() })
		return rest, ok
	case 'a':
		for i, n := range []string{"AM", "PM"} {
			if len(s) >= 2 && strings.EqualFold(s[:2], n) {
				v.pm = i == 1
				return s[2:], true
			}
		}
		return s, false
	case 'G':
		for i, n := range []string{"AD", "BC"} {
			if len(s) >= 2 && strings.EqualFold(s[:2], n) {
				v.bc = i == 1
				return s[2:], true
			}
		}
		return s, false
	case 'z', 'Z', 'X':
		return v.zone(s)
	case 'M', 'L':
		if it.count >= 3 {
			var i int
			if i, rest, ok = name(s, 12, func(i int) string { return time.Month(i + 1).String() }); ok {
				v.month, v.hasMonth = i+1, true
				return rest, true
			}
		}
	}
	s = strings.TrimLeft(s, " \t")
	digits := 0
	for digits < len(s) && s[digits] >= '0' && s[digits] <= '9' && digits < 9 && (width == 0 || digits < width) {
		digits++
	}
	if digits == 0 {
		return s, false
	}
	n := 0
	for _, c := range s[:digits] {
		n = n*10 + int(c-'0')
	}
	switch it.letter {
	case 'y':
		v.year = n
		if it.count <= 2 && digits == 2 {
			v.year = century(n, now)
		}
	case 'M', 'L':
		v.month, v.hasMonth = n, true
	case 'd':
		v.day, v.hasDay = n, true
	case 'D':
		v.yearDay, v.hasYearDay = n, true
	case 'H':
		v.hour = n
	case 'k':
		v.hour = n
		if n == 24 {
			v.hour = 0
		}
	case 'K':
		v.hour12, v.has12 = n, true
	case 'h':
		v.hour12, v.has12 = n, true
		if n == 12 {
			v.hour12 = 0
		}
	case 'm':
		v.minute = n
	case 's':
		v.second = n
	case 'S':
		v.milli = n
	}
	return s[digits:], true
}

// century finds the year of the 100 from 80 years before now that ends in yy.
func century(yy int, now time.Time) int {
	start := now.Year() - 80
	year := start/100*100 + yy
	if year < start {
		year += 100
	}
	return year
}

// name reads the longest of n names, in full or by its first three letters, ignoring case.
func name(s string, n int, of func(int) string) (index int, rest string, ok bool) {
	for i := range n {
		if full := of(i); len(s) >= len(full) && strings.EqualFold(s[:len(full)], full) {
			return i, s[len(full):], true
		}
	}
	for i := range n {
		if len(s) >= 3 && strings.EqualFold(s[:3], of(i)[:3]) {
			return i, s[3:], true
		}
	}
	return 0, s, false
}

// zone reads Z, UTC, GMT, or an offset such as +01, +0130 or +01:30, also behind GMT.
func (v *fields) zone(s string) (rest string, ok bool) {
	named := false
	for _, n := range []string{"UTC", "GMT", "UT", "Z"} {
		if len(s) >= len(n) && strings.EqualFold(s[:len(n)], n) {
			s, named = s[len(n):], true
			break
		}
	}
	if s == "" || s[0] != '+' && s[0] != '-' {
		return s, named
	}
	sign := 1
	if s[0] == '-' {
		sign = -1
	}
	var d [4]int
	i, n := 1, 0
	for i < len(s) && n < 4 {
		if s[i] == ':' && n > 0 && n <= 2 {
			i++
			continue
		}
		if s[i] < '0' || s[i] > '9' {
			break
		}
		d[n] = int(s[i] - '0')
		n++
		i++
	}
	switch n {
	case 1:
		v.offset = sign * d[0] * 3600
	case 2:
		v.offset = sign * (d[0]*10 + d[1]) * 3600
	case 3:
		v.offset = sign * (d[0]*3600 + (d[1]*10+d[2])*60)
	case 4:
		v.offset = sign * ((d[0]*10+d[1])*3600 + (d[2]*10+d[3])*60)
	default:
		return s, named
	}
	return s[i:], true
}

func (v *fields) millis() int64 {
	year, month, day, hour := v.year, 1, 1, v.hour
	if v.bc {
		year = 1 - year
	}
	if v.hasMonth {
		month = v.month
	}
	if v.hasDay {
		day = v.day
	}
	if v.hasYearDay && !v.hasMonth && !v.hasDay {
		day = v.yearDay
	}
	if v.has12 {
		hour = v.hour12
		if v.pm {
			hour += 12
		}
	}
	t := time.Date(year, time.Month(month), day, hour, v.minute, v.second, 0, time.UTC)
	return t.UnixMilli() + int64(v.milli) - int64(v.offset)*1000
}
