// Package properties reads files in the format of java.util.Properties, in which Kafka's servers and clients are configured.
package properties

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
)

// maxFile bounds a properties file.
const maxFile = 1 << 20

// ReadFile reads a file as Parse reads its text.
func ReadFile(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes: it is no properties file", path, maxFile)
	}
	p, err := Parse(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Entry is a key with its value, and the line that it begins in.
type Entry struct {
	Key, Value string
	Line       int
}

// Parse reads the text of a properties file. Of several values of a key the last one counts, as in Java.
func Parse(text string) (map[string]string, error) {
	entries, err := Entries(text)
	if err != nil {
		return nil, err
	}
	props := make(map[string]string, len(entries))
	for _, e := range entries {
		props[e.Key] = e.Value
	}
	return props, nil
}

// Entries reads the text of a properties file in its order: comments (# and !), continued lines, the separators '=', ':' and blank, and escapes.
func Entries(text string) ([]Entry, error) {
	if len(text) > maxFile {
		return nil, errors.New("the text is too long for a properties file")
	}
	var entries []Entry
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text), "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimLeft(lines[i], " \t\f")
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		at := i + 1
		for continued(line) {
			line = line[:len(line)-1]
			if i+1 == len(lines) {
				break
			}
			i++
			line += strings.TrimLeft(lines[i], " \t\f")
		}
		key, value := cut(line)
		k, err := unescape(key)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", at, err)
		}
		v, err := unescape(value)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", at, err)
		}
		entries = append(entries, Entry{k, strings.TrimRight(v, " \t"), at})
	}
	return entries, nil
}

// continued tells whether a line ends in an odd number of backslashes.
func continued(line string) bool {
	n := len(line) - len(strings.TrimRight(line, `\`))
	return n%2 == 1
}

// cut splits a line at its first separator that is not escaped.
func cut(line string) (key, value string) {
	end := len(line)
	for i := 0; i < len(line); i++ {
		if line[i] == '\\' {
			i++
			continue
		}
		if strings.IndexByte("=: \t\f", line[i]) >= 0 {
			end = i
			break
		}
	}
	rest := strings.TrimLeft(line[end:], " \t\f")
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], " \t\f")
	}
	return line[:end], rest
}

func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			unit, err := codeUnit(s[i+1:])
			if err != nil {
				return "", err
			}
			i += 4
			if next, ok := strings.CutPrefix(s[i+1:], `\u`); ok {
				low, err := codeUnit(next)                                                              // when it is none, its own turn tells
				if pair := utf16.DecodeRune(unit, low); err == nil && pair != unicode.ReplacementChar { // a character that Java writes as two
					unit = pair
					i += 6
				}
			}
			b.WriteRune(unit)
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}

// codeUnit reads the four hexadecimal digits that s begins with.
func codeUnit(s string) (rune, error) {
	digits := s[:min(len(s), 4)]
	n, err := strconv.ParseUint(digits, 16, 16)
	if err != nil || len(digits) < 4 {
		return 0, fmt.Errorf(`\u needs four hexadecimal digits, not %q`, digits)
	}
	return rune(n), nil
}
