package clientprops

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxFile bounds a properties file.
const maxFile = 1 << 20

// ReadFile reads a file in the format of java.util.Properties. Keys are given once; the last one wins, as in Java.
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

// Parse reads the text of a properties file: comments (# and !), continued lines, the separators '=', ':' and blank, and escapes.
func Parse(text string) (map[string]string, error) {
	if len(text) > maxFile {
		return nil, errors.New("the text is too long for a properties file")
	}
	props := map[string]string{}
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
		props[k] = strings.TrimRight(v, " \t")
	}
	return props, nil
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
			if i+4 >= len(s) {
				return "", fmt.Errorf(`\u needs four hexadecimal digits`)
			}
			var r rune
			if _, err := fmt.Sscanf(s[i+1:i+5], "%04x", &r); err != nil {
				return "", fmt.Errorf(`\u needs four hexadecimal digits, not %q`, s[i+1:i+5])
			}
			b.WriteRune(r)
			i += 4
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}

// JAAS is the content of sasl.jaas.config: one login module and its options.
type JAAS struct {
	Module  string
	Options map[string]string
}

// ParseJAAS reads `Module required key="value" ...;`.
func ParseJAAS(s string) (JAAS, error) {
	j := JAAS{Options: map[string]string{}}
	rest := strings.TrimSpace(s)
	rest, ok := strings.CutSuffix(rest, ";")
	if !ok {
		return j, errors.New("sasl.jaas.config must end with a semicolon")
	}
	next := func() string {
		rest = strings.TrimLeft(rest, " \t\r\n")
		n := strings.IndexAny(rest, " \t\r\n=")
		if n < 0 {
			n = len(rest)
		}
		w := rest[:n]
		rest = rest[n:]
		return w
	}
	j.Module = next()
	if j.Module == "" {
		return j, errors.New("sasl.jaas.config is empty")
	}
	switch flag := next(); strings.ToLower(flag) {
	case "required", "requisite", "sufficient", "optional":
	default:
		return j, fmt.Errorf("sasl.jaas.config: %q must be required, requisite, sufficient or optional", flag)
	}
	for {
		key := next()
		if key == "" {
			break
		}
		rest = strings.TrimLeft(rest, " \t\r\n")
		if !strings.HasPrefix(rest, "=") {
			return j, fmt.Errorf("sasl.jaas.config: option %s has no value", key)
		}
		rest = strings.TrimLeft(rest[1:], " \t\r\n")
		if !strings.HasPrefix(rest, `"`) {
			j.Options[key] = next()
			continue
		}
		var b strings.Builder
		closed := false
		i := 1
		for ; i < len(rest) && !closed; i++ {
			switch {
			case rest[i] == '\\' && i+1 < len(rest):
				i++
				b.WriteByte(rest[i])
			case rest[i] == '"':
				closed = true
			default:
				b.WriteByte(rest[i])
			}
		}
		if !closed {
			return j, fmt.Errorf("sasl.jaas.config: the value of %s has no closing quote", key)
		}
		j.Options[key], rest = b.String(), rest[i:]
	}
	if strings.TrimSpace(rest) != "" {
		return j, fmt.Errorf("sasl.jaas.config: %q is not understood: write KEY=\"VALUE\"", strings.TrimSpace(rest))
	}
	return j, nil
}
