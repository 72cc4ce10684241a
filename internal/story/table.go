package story

import (
	"encoding/json"
	"fmt"
	"math/big"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Kind says how a column's value is brought into canonical text.
type Kind int

// The kinds of columns.
const (
	Int     Kind = iota // decimal digits
	Text                // as it is
	Bool                // true, false
	Decimal             // digits with Column.Scale places
	Double              // shortest form
	Zoned               // instant, microseconds, RFC 3339 in UTC
	JSON                // compact, keys sorted
)

// Null is the canonical text of a null: no other value can have it.
const Null = "\x00null"

// Column is a column and how to ask for it.
type Column struct {
	Name  string
	Kind  Kind
	Scale int
	// SQL gives the canonical text in the source's own dialect; "" means Name cast to text.
	SQL string
}

// Table is a captured table.
type Table struct {
	Name    string // schema.table or database.table
	Topic   string
	Key     string // its primary key, an Int column of Columns
	Columns []Column
}

func (t Table) column(name string) Column {
	for _, c := range t.Columns {
		if c.Name == name {
			return c
		}
	}
	return Column{Name: name}
}

// Rows is a table's content: key -> canonical values in column order.
type Rows map[string][]string

// Canonical brings a value that came out of a sink into canonical text. It accepts what JSON, Avro and Parquet readers give.
func (c Column) Canonical(v any) (string, error) {
	if v == nil {
		return Null, nil
	}
	switch x := v.(type) {
	case map[string]any: // an Avro union: {"type": value}
		if len(x) == 1 {
			for branch, inner := range x {
				if _, text := inner.(string); c.Kind != JSON || text && branch == "string" {
					return c.Canonical(inner)
				}
			}
		}
	case []byte:
		if c.Kind != Decimal {
			v = string(x)
		}
	}
	bad := func() (string, error) {
		return "", fmt.Errorf("column %s: cannot read %v (%T)", c.Name, v, v)
	}
	switch c.Kind {
	case Int:
		switch x := v.(type) {
		case int32:
			return strconv.FormatInt(int64(x), 10), nil
		case int64:
			return strconv.FormatInt(x, 10), nil
		case int:
			return strconv.Itoa(x), nil
		case json.Number:
			return x.String(), nil
		case float64:
			return strconv.FormatFloat(x, 'f', -1, 64), nil
		}
	case Text:
		if s, ok := v.(string); ok {
			return s, nil
		}
	case Bool:
		switch x := v.(type) {
		case bool:
			return strconv.FormatBool(x), nil
		case int32:
			return strconv.FormatBool(x != 0), nil
		case int64:
			return strconv.FormatBool(x != 0), nil
		case json.Number:
			return strconv.FormatBool(x != "0"), nil
		}
	case Decimal:
		switch x := v.(type) {
		case []byte: // two's complement, big endian, unscaled
			n := new(big.Int).SetBytes(x)
			if len(x) > 0 && x[0]&0x80 != 0 {
				n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(x))))
			}
			return new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(c.Scale)), nil)).FloatString(c.Scale), nil
		case *big.Rat:
			return x.FloatString(c.Scale), nil
		case *big.Float:
			return x.Text('f', c.Scale), nil
		case json.Number:
			f, err := x.Float64()
			return strconv.FormatFloat(f, 'f', c.Scale, 64), err
		case string:
			r, ok := new(big.Rat).SetString(x)
			if ok {
				return r.FloatString(c.Scale), nil
			}
		}
	case Double:
		switch x := v.(type) {
		case float64:
			return strconv.FormatFloat(x, 'g', -1, 64), nil
		case json.Number:
			f, err := x.Float64()
			return strconv.FormatFloat(f, 'g', -1, 64), err
		}
	case Zoned:
		if s, ok := v.(string); ok {
			t, err := time.Parse(time.RFC3339Nano, s)
			return t.UTC().Format("2006-01-02T15:04:05.000000Z"), err
		}
	case JSON:
		if s, ok := v.(string); ok {
			return CanonicalJSON(s)
		}
	}
	return bad()
}

// CanonicalJSON prints JSON compactly with sorted keys.
func CanonicalJSON(s string) (string, error) {
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// Diff tells how got differs from want: keys missing, keys too many, keys with other values, and examples for people.
func Diff(t Table, want, got Rows) (missing, extra, different int, examples []string) {
	note := func(format string, args ...any) {
		if len(examples) < 5 {
			examples = append(examples, fmt.Sprintf(format, args...))
		}
	}
	keys := make([]string, 0, len(want))
	for k := range want {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		g, ok := got[k]
		if !ok {
			missing++
			note("%s %s=%s is missing", t.Name, t.Key, k)
			continue
		}
		for i, c := range t.Columns {
			if g[i] != want[k][i] {
				different++
				note("%s %s=%s: %s is %q, not %q", t.Name, t.Key, k, c.Name, g[i], want[k][i])
				break
			}
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			extra++
			note("%s %s=%s is too many", t.Name, t.Key, k)
		}
	}
	return missing, extra, different, examples
}
