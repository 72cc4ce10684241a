package avrodata

import (
	"strings"

	"github.com/moldau-io/moldau/plugins"
)

// splitName cuts a full name into namespace and name, as Java's split on dots does (empty parts at the end are dropped).
func splitName(full string, scrub bool) (space, name string) {
	full = strings.TrimRight(full, ".")
	if scrub && full != "" {
		parts := strings.Split(full, ".")
		for i := range parts {
			parts[i] = scrubName(parts[i])
		}
		full = strings.Join(parts, ".")
	}
	if i := strings.LastIndexByte(full, '.'); i >= 0 {
		return full[:i], full[i+1:]
	}
	return "", full
}

func scrubFullName(full string, scrub bool) string {
	if !scrub {
		return full
	}
	space, name := splitName(full, true)
	if space == "" {
		return name
	}
	return space + "." + name
}

func nameChar(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// scrubName makes a valid Avro name: the URL encoding of the name with everything odd replaced by underscores.
func scrubName(name string) string {
	ok := name == "" || name[0] < '0' || name[0] > '9'
	for i := range len(name) {
		ok = ok && nameChar(name[i])
	}
	if ok {
		return name
	}
	var sb strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case nameChar(c):
			sb.WriteByte(c)
		case c == '.' || c == '-' || c == '*' || c == ' ':
			sb.WriteByte('_') // what URL encoding leaves as one character
		default:
			const hex = "0123456789ABCDEF"
			sb.WriteByte('_')
			sb.WriteByte(hex[c>>4])
			sb.WriteByte(hex[c&15])
		}
	}
	s := sb.String()
	if s[0] >= '0' && s[0] <= '9' {
		s = "x" + s
	}
	return s
}

// checkName refuses names that Avro does not allow, in Avro's words.
func checkName(name string) error {
	const remedy = "; rename it, or set scrub.invalid.names=true on the converter or a name adjustment mode on the source"
	if name == "" {
		return plugins.Dataf("Empty name")
	}
	if c := name[0]; !nameChar(c) || c >= '0' && c <= '9' {
		return plugins.Dataf("Illegal initial character: %s%s", name, remedy)
	}
	for i := range len(name) {
		if !nameChar(name[i]) {
			return plugins.Dataf("Illegal character in: %s%s", name, remedy)
		}
	}
	return nil
}
