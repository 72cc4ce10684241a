package postgres

import (
	"regexp"
	"strings"

	"github.com/moldau-io/moldau/connectors/cdc"
	"github.com/moldau-io/moldau/plugins/data"
)

// functionDefault matches defaults that a function computes when a row is inserted.
var functionDefault = regexp.MustCompile(`^\(?[A-Za-z0-9_."]+\(.*\)|^(CURRENT_[A-Z]+|LOCALTIME(STAMP)?)\b`)

// defaultValue returns the value that a column's default expression (as pg_get_expr prints it) puts into the schema: literals become
// themselves, functions the zero of the type as in the original, anything else nothing.
func (c *codec) defaultValue(expr string) (data.Value, bool) {
	switch c.base { // types whose defaults the original does not carry
	case "bytea", "money", "point", "inet", "cidr", "macaddr", "macaddr8", "timetz", "hstore", "tsvector", "xml", "oid":
		return data.Null, false
	}
	if strings.HasSuffix(c.base, "range") {
		return data.Null, false
	}
	switch c.schema.Type() {
	case data.TypeArray, data.TypeMap, data.TypeStruct:
		return data.Null, false
	}
	if lit, ok := literal(expr); ok {
		v, err := c.encode(&cdc.Arena{}, []byte(lit))
		if err != nil {
			return data.Null, false
		}
		return v, true
	}
	if !functionDefault.MatchString(expr) {
		return data.Null, false
	}
	zero := ""
	switch c.base {
	case "int2", "int4", "int8", "float4", "float8", "numeric":
		zero = "0"
	case "bool":
		zero = "f"
	case "date":
		zero = "1970-01-01"
	case "time":
		zero = "00:00:00"
	case "timestamp":
		zero = "1970-01-01 00:00:00"
	case "timestamptz":
		zero = "1970-01-01 00:00:00+00"
	case "interval":
		zero = "00:00:00"
	case "uuid":
		zero = "00000000-0000-0000-0000-000000000000"
	case "text", "varchar", "bpchar", "citext":
	case "json", "jsonb":
		zero = "{}"
	default:
		return data.Null, false
	}
	v, err := c.encode(&cdc.Arena{}, []byte(zero))
	return v, err == nil
}

var (
	numberLiteral = regexp.MustCompile(`^\(?(-?\d+(\.\d+)?)\)?(::[^':]+)?$`)
	stringLiteral = regexp.MustCompile(`(?s)^[BE]?'((?:[^']|'')*)'(?:::[^']+)?$`)
)

// literal takes the text out of a constant expression.
func literal(expr string) (string, bool) {
	switch expr {
	case "true":
		return "t", true
	case "false":
		return "f", true
	}
	if m := numberLiteral.FindStringSubmatch(expr); m != nil {
		return m[1], true
	}
	if m := stringLiteral.FindStringSubmatch(expr); m != nil {
		s := strings.ReplaceAll(m[1], "''", "'")
		if strings.HasPrefix(expr, "E") {
			s = strings.ReplaceAll(s, `\\`, `\`)
		}
		return s, true
	}
	return "", false
}
