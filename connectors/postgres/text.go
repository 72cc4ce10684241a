package postgres

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/moldau-io/moldau/connectors/cdc"
)

// This file reads the text forms of PostgreSQL's types, as a session with DateStyle ISO, IntervalStyle postgres, TimeZone UTC and
// bytea_output hex prints them.

func malformed(what string, b []byte) error { return fmt.Errorf("%s %.60q is malformed", what, b) }

// parseInt reads a decimal integer without allocating.
func parseInt(b []byte) (int64, error) {
	if len(b) == 0 || len(b) > 20 {
		return 0, malformed("number", b)
	}
	neg := b[0] == '-'
	d := b
	if neg {
		d = b[1:]
	}
	if len(d) == 0 {
		return 0, malformed("number", b)
	}
	var n uint64
	for _, c := range d {
		if c < '0' || c > '9' || n > math.MaxInt64/10 {
			return 0, malformed("number", b)
		}
		n = n*10 + uint64(c-'0')
	}
	if neg {
		if n > 1<<63 {
			return 0, malformed("number", b)
		}
		return -int64(n), nil
	}
	if n > math.MaxInt64 {
		return 0, malformed("number", b)
	}
	return int64(n), nil
}

func parseFloat(b []byte, bits int) (float64, error) {
	f, err := strconv.ParseFloat(string(b), bits)
	if err != nil && !math.IsInf(f, 0) {
		return 0, malformed("number", b)
	}
	return f, nil
}

// digits reads n digits at the start of b.
func digits(b []byte, n int) (int64, bool) {
	if len(b) < n {
		return 0, false
	}
	var v int64
	for _, c := range b[:n] {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int64(c-'0')
	}
	return v, true
}

// parseDate reads "2024-02-29", with any number of digits in the year and perhaps " BC" at the end of the whole text; it returns days
// since the epoch and what follows the date.
func parseDate(b []byte, bc bool) (days int64, rest []byte, ok bool) {
	i := 0
	for i < len(b) && b[i] != '-' {
		i++
	}
	if i < 4 || i > 7 || len(b) < i+6 || b[i+3] != '-' {
		return 0, nil, false
	}
	y, ok1 := digits(b, i)
	m, ok2 := digits(b[i+1:], 2)
	d, ok3 := digits(b[i+4:], 2)
	if !ok1 || !ok2 || !ok3 || m < 1 || m > 12 || d < 1 || d > 31 {
		return 0, nil, false
	}
	if bc {
		y = 1 - y
	}
	return cdc.DaysFromCivil(y, int(m), int(d)), b[i+6:], true
}

func cutBC(b []byte) ([]byte, bool) {
	if n := len(b); n > 3 && b[n-1] == 'C' && b[n-2] == 'B' && b[n-3] == ' ' {
		return b[:n-3], true
	}
	return b, false
}

// parseClock reads "12:34:56.789012" (hours may exceed 24 in intervals) and returns microseconds and what follows.
func parseClock(b []byte) (micros int64, rest []byte, ok bool) {
	i := 0
	for i < len(b) && b[i] != ':' {
		i++
	}
	if i < 2 || i > 10 || len(b) < i+6 || b[i+3] != ':' {
		return 0, nil, false
	}
	h, ok1 := digits(b, i)
	m, ok2 := digits(b[i+1:], 2)
	s, ok3 := digits(b[i+4:], 2)
	if !ok1 || !ok2 || !ok3 || m > 59 || s > 60 {
		return 0, nil, false
	}
	micros = (h*3600 + m*60 + s) * 1_000_000
	b = b[i+6:]
	if len(b) > 0 && b[0] == '.' {
		scale := int64(100_000)
		for b = b[1:]; len(b) > 0 && b[0] >= '0' && b[0] <= '9'; b = b[1:] {
			micros += int64(b[0]-'0') * scale
			scale /= 10
		}
	}
	return micros, b, true
}

// parseOffset reads "+02", "-07:30" or "+02:30:15" and returns it in microseconds.
func parseOffset(b []byte) (int64, bool) {
	if len(b) < 3 || b[0] != '+' && b[0] != '-' {
		return 0, false
	}
	var parts [3]int64
	neg := b[0] == '-'
	b = b[1:]
	for i := 0; ; i++ {
		v, ok := digits(b, 2)
		if !ok || i == 3 {
			return 0, false
		}
		parts[i] = v
		b = b[2:]
		if len(b) == 0 {
			break
		}
		if b[0] != ':' {
			return 0, false
		}
		b = b[1:]
	}
	us := (parts[0]*3600 + parts[1]*60 + parts[2]) * 1_000_000
	if neg {
		us = -us
	}
	return us, true
}

// parseTimestamp reads a timestamp with or without zone; inf is +1 or -1 for the infinities.
func parseTimestamp(b []byte) (micros int64, inf int, err error) {
	switch string(b) {
	case "infinity":
		return cdc.InfinityMicros, 1, nil
	case "-infinity":
		return cdc.NegInfinityMicros, -1, nil
	}
	t, bc := cutBC(b)
	days, rest, ok := parseDate(t, bc)
	if !ok || len(rest) == 0 || rest[0] != ' ' {
		return 0, 0, malformed("timestamp", b)
	}
	us, rest, ok := parseClock(rest[1:])
	if !ok {
		return 0, 0, malformed("timestamp", b)
	}
	micros = days*86_400_000_000 + us
	if len(rest) > 0 {
		off, ok := parseOffset(rest)
		if !ok {
			return 0, 0, malformed("timestamp", b)
		}
		micros -= off
	}
	return micros, 0, nil
}

// interval is a parsed interval.
type interval struct {
	months, days int64
	micros       int64
}

// parseInterval reads "1 year 2 mons -3 days +04:05:06.789".
func parseInterval(b []byte) (interval, error) {
	var iv interval
	rest := b
	word := func() []byte {
		for len(rest) > 0 && rest[0] == ' ' {
			rest = rest[1:]
		}
		i := 0
		for i < len(rest) && rest[i] != ' ' {
			i++
		}
		w := rest[:i]
		rest = rest[i:]
		return w
	}
	for {
		w := word()
		if len(w) == 0 {
			return iv, nil
		}
		neg := w[0] == '-'
		num := w
		if neg || w[0] == '+' {
			num = w[1:]
		}
		if us, r, ok := parseClock(num); ok && len(r) == 0 {
			if neg {
				us = -us
			}
			iv.micros += us
			continue
		}
		n, err := parseInt(num)
		if err != nil || n > math.MaxInt32 {
			return iv, malformed("interval", b)
		}
		if neg {
			n = -n
		}
		switch u := string(word()); {
		case strings.HasPrefix(u, "year"):
			iv.months += n * 12
		case strings.HasPrefix(u, "mon"):
			iv.months += n
		case strings.HasPrefix(u, "day"):
			iv.days += n
		default:
			return iv, malformed("interval", b)
		}
	}
}

// totalMicros is the interval with months of 365.25/12 days.
func (iv interval) totalMicros() int64 {
	const perMonth = int64(2_629_800) * 1_000_000
	return iv.months*perMonth + iv.days*86_400_000_000 + iv.micros
}

// iso renders "P1Y2M3DT4H5M6.789S".
func (iv interval) iso(b []byte) []byte {
	part := func(n int64, unit byte) {
		b = append(strconv.AppendInt(b, n, 10), unit)
	}
	b = append(b, 'P')
	part(iv.months/12, 'Y')
	part(iv.months%12, 'M')
	part(iv.days, 'D')
	b = append(b, 'T')
	sec, us := iv.micros/1_000_000, iv.micros%1_000_000
	part(sec/3600, 'H')
	part(sec/60%60, 'M')
	if us < 0 || sec%60 < 0 {
		b = append(b, '-')
		us, sec = -us, -sec
	}
	b = strconv.AppendInt(b, sec%60, 10)
	if us != 0 {
		b = append(b, '.')
		for div := int64(100_000); us > 0; div /= 10 {
			b = append(b, byte('0'+us/div))
			us %= div
		}
	}
	return append(b, 'S')
}

// parseBytea reads the hex form into a.
func parseBytea(a *cdc.Arena, b []byte) ([]byte, error) {
	if len(b) < 2 || b[0] != '\\' || b[1] != 'x' {
		return nil, malformed("bytea", b)
	}
	out := a.Alloc(hex.DecodedLen(len(b) - 2))
	if _, err := hex.Decode(out, b[2:]); err != nil {
		return nil, malformed("bytea", b)
	}
	return out, nil
}

// parseBits reads "10110" into little-endian bytes without trailing zero bytes.
func parseBits(a *cdc.Arena, b []byte) ([]byte, error) {
	out := a.Alloc((len(b) + 7) / 8)
	clear(out)
	used := 0
	for i, c := range b {
		switch c {
		case '1':
			at := len(b) - 1 - i
			out[at/8] |= 1 << (at % 8)
			used = max(used, at/8+1)
		case '0':
		default:
			return nil, malformed("bit string", b)
		}
	}
	return out[:used:used], nil
}

// parsePoint reads "(1.5,-2)".
func parsePoint(b []byte) (x, y float64, err error) {
	if len(b) < 5 || b[0] != '(' || b[len(b)-1] != ')' {
		return 0, 0, malformed("point", b)
	}
	s, t, ok := strings.Cut(string(b[1:len(b)-1]), ",")
	x, err1 := strconv.ParseFloat(s, 64)
	y, err2 := strconv.ParseFloat(t, 64)
	if !ok || err1 != nil && !math.IsInf(x, 0) || err2 != nil && !math.IsInf(y, 0) {
		return 0, 0, malformed("point", b)
	}
	return x, y, nil
}

// parseMoney strips currency signs and group separators: "-$1,234.56" becomes "-1234.56".
func parseMoney(a *cdc.Arena, b []byte) []byte {
	out := a.Scratch(len(b) + 1)
	for _, c := range b {
		if c == '-' || c == '(' {
			out = append(out, '-')
			break
		}
	}
	for _, c := range b {
		if c >= '0' && c <= '9' || c == '.' {
			out = append(out, c)
		}
	}
	return out
}

// maxArrayDepth is PostgreSQL's limit of dimensions.
const maxArrayDepth = 6

// parseArray walks an array's text in order, in all dimensions, calling elem for each element: nil for NULL. buf is reused between
// elements that need unescaping. delim is ',' but for box.
func parseArray(b []byte, delim byte, elem func(text []byte, null bool) error) error {
	if len(b) > 0 && b[0] == '[' { // "[2:3]={1,2}"
		for i, c := range b {
			if c == '=' {
				b = b[i+1:]
				break
			}
		}
	}
	depth, i := 0, 0
	var buf []byte
	needValue := false
	for i < len(b) {
		switch c := b[i]; {
		case c == '{':
			if depth++; depth > maxArrayDepth {
				return malformed("array", b)
			}
			i++
		case c == '}':
			if depth--; depth < 0 || needValue {
				return malformed("array", b)
			}
			i++
		case depth == 0:
			return malformed("array", b)
		case c == delim:
			needValue = true
			i++
			continue
		case c == '"':
			buf = buf[:0]
			i++
			for {
				if i >= len(b) {
					return malformed("array", b)
				}
				if b[i] == '"' {
					break
				}
				if b[i] == '\\' {
					if i++; i >= len(b) {
						return malformed("array", b)
					}
				}
				buf = append(buf, b[i])
				i++
			}
			i++
			if err := elem(buf, false); err != nil {
				return err
			}
		default:
			start := i
			for i < len(b) && b[i] != delim && b[i] != '}' && b[i] != '{' && b[i] != '"' {
				i++
			}
			t := b[start:i]
			if len(t) == 4 && strings.EqualFold(string(t), "NULL") {
				if err := elem(nil, true); err != nil {
					return err
				}
			} else if err := elem(t, false); err != nil {
				return err
			}
		}
		needValue = false
	}
	if depth != 0 || len(b) == 0 {
		return malformed("array", b)
	}
	return nil
}

// parseHstore walks `"k"=>"v", "n"=>NULL`, calling pair with unescaped copies valid during the call.
func parseHstore(b []byte, pair func(key, value []byte, null bool) error) error {
	rest := b
	quoted := func() ([]byte, bool) {
		if len(rest) == 0 || rest[0] != '"' {
			return nil, false
		}
		var out []byte
		for i := 1; i < len(rest); i++ {
			switch rest[i] {
			case '"':
				rest = rest[i+1:]
				return out, true
			case '\\':
				if i++; i >= len(rest) {
					return nil, false
				}
			}
			out = append(out, rest[i])
		}
		return nil, false
	}
	for len(rest) > 0 {
		k, ok := quoted()
		if !ok || len(rest) < 2 || rest[0] != '=' || rest[1] != '>' {
			return malformed("hstore", b)
		}
		rest = rest[2:]
		if len(rest) >= 4 && string(rest[:4]) == "NULL" {
			rest = rest[4:]
			if err := pair(k, nil, true); err != nil {
				return err
			}
		} else {
			v, ok := quoted()
			if !ok {
				return malformed("hstore", b)
			}
			if err := pair(k, v, false); err != nil {
				return err
			}
		}
		if len(rest) > 0 {
			if len(rest) < 3 || rest[0] != ',' || rest[1] != ' ' {
				return malformed("hstore", b)
			}
			rest = rest[2:]
		}
	}
	return nil
}
