package clientprops

import (
	"errors"
	"fmt"
	"strings"
)

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
