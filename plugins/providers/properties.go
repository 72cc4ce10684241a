package providers

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ParseProperties reads text in Java's properties format: key=value, key:value or key value, comments behind # or !, lines that go
// on behind a backslash, and the escapes \t \n \f \r \uXXXX. Of a repeated key the last value counts.
func ParseProperties(text string) (map[string]string, error) {
	out := map[string]string{}
	for text != "" {
		var line string
		line, text = logicalLine(text)
		if line == "" {
			continue
		}
		end, start := splitPair(line)
		key, err := unescape(line[:end])
		if err != nil {
			return nil, err
		}
		value, err := unescape(line[start:])
		if err != nil {
			return nil, err
		}
		out[key] = value
	}
	return out, nil
}

const blanks = " \t\f"

// logicalLine takes one line with those that continue it; comments are "".
func logicalLine(text string) (line, rest string) {
	var sb strings.Builder
	first := true
	for {
		natural := text
		if i := strings.IndexAny(text, "\r\n"); i >= 0 {
			natural, text = text[:i], text[i:]
			text = strings.TrimPrefix(strings.TrimPrefix(text, "\r"), "\n")
		} else {
			text = ""
		}
		natural = strings.TrimLeft(natural, blanks)
		if first && (natural == "" || natural[0] == '#' || natural[0] == '!') {
			return "", text
		}
		first = false
		slashes := len(natural) - len(strings.TrimRight(natural, `\`))
		if slashes%2 == 0 {
			sb.WriteString(natural)
			return sb.String(), text
		}
		sb.WriteString(natural[:len(natural)-1])
		if text == "" {
			return sb.String(), ""
		}
	}
}

// splitPair finds the end of the key and the start of the value.
func splitPair(line string) (end, start int) {
	for end < len(line) {
		switch line[end] {
		case '\\':
			end++
		case '=', ':', ' ', '\t', '\f':
			start = end
			for start < len(line) && strings.IndexByte(blanks, line[start]) >= 0 {
				start++
			}
			if start < len(line) && (line[start] == '=' || line[start] == ':') {
				start++
				for start < len(line) && strings.IndexByte(blanks, line[start]) >= 0 {
					start++
				}
			}
			return end, start
		}
		end++
	}
	return len(line), len(line)
}

func unescape(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	var sb strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 >= len(s) {
			if s[i] != '\\' {
				sb.WriteByte(s[i])
			}
			continue
		}
		i++
		switch s[i] {
		case 't':
			sb.WriteByte('\t')
		case 'n':
			sb.WriteByte('\n')
		case 'f':
			sb.WriteByte('\f')
		case 'r':
			sb.WriteByte('\r')
		case 'u':
			r, ok := hex4(s, i+1)
			if !ok {
				return "", errors.New(`malformed \uxxxx encoding`)
			}
			i += 4
			if utf16.IsSurrogate(r) && strings.HasPrefix(s[i+1:], `\u`) {
				if low, ok := hex4(s, i+3); ok {
					if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
						r = both
						i += 6
					}
				}
			}
			sb.WriteRune(r)
		default:
			sb.WriteByte(s[i])
		}
	}
	return sb.String(), nil
}

func hex4(s string, i int) (rune, bool) {
	if i+4 > len(s) {
		return 0, false
	}
	v, err := strconv.ParseUint(s[i:i+4], 16, 16)
	return rune(v), err == nil
}
