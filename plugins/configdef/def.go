package configdef

import (
	"fmt"
	"strings"
)

// Type is the type of a key, spelled as Connect's REST API spells it.
type Type string

// The types of Kafka's ConfigDef.
const (
	Boolean  Type = "BOOLEAN"
	String   Type = "STRING"
	Int      Type = "INT"
	Short    Type = "SHORT"
	Long     Type = "LONG"
	Double   Type = "DOUBLE"
	List     Type = "LIST"
	Class    Type = "CLASS"
	Password Type = "PASSWORD"
)

// Importance is shown by the REST API.
type Importance string

// The levels of importance.
const (
	High   Importance = "HIGH"
	Medium Importance = "MEDIUM"
	Low    Importance = "LOW"
)

// Width is a hint for forms.
type Width string

// The widths of Kafka's ConfigDef.
const (
	WidthNone   Width = "NONE"
	WidthShort  Width = "SHORT"
	WidthMedium Width = "MEDIUM"
	WidthLong   Width = "LONG"
)

// Key defines one key. The zero values of the optional members are sensible.
type Key struct {
	Name       string
	Type       Type
	Default    any  // string (parsed by Type), bool, int, int64 or float64; nil with Required false means "null"
	Required   bool // no default: the user must set it
	Importance Importance
	Doc        string
	Group      string
	Width      Width
	Display    string // default: Name
	Dependents []string
	// Check gets the parsed value (string, bool, int64, float64, []string; never nil) and returns the text after "Invalid value X for
	// configuration NAME: ", or "".
	Check func(v any) string
	// Recommended values for the validate endpoint.
	Recommended []string
	// Unsupported refuses the key unless its value is one of Accepts (compared as text; the default is always accepted); the reason
	// goes into the error.
	Unsupported string
	Accepts     []string
	// Internal keys are parsed but not listed.
	Internal bool
	// Aliases are older names of the key; Name wins when both are set.
	Aliases []string
}

// Pattern accepts a family of keys by prefix ("transforms.", "producer.override.").
type Pattern struct {
	Prefix string
	// Unsupported, when not "", refuses all keys of the family with this reason.
	Unsupported string
}

// Def is a set of keys. It is filled once and read-only afterwards.
type Def struct {
	keys     []*Key
	byName   map[string]*Key
	patterns []Pattern
	// CrossChecks see the parsed values together and set errors on single keys.
	crossChecks []func(Values, *Result)
}

// NewDef returns a definition of the given keys.
func NewDef(keys ...Key) *Def {
	d := &Def{byName: map[string]*Key{}}
	return d.Add(keys...)
}

// Add appends keys. It panics on a duplicate: a bug of the program.
func (d *Def) Add(keys ...Key) *Def {
	for i := range keys {
		k := keys[i]
		if k.Display == "" {
			k.Display = k.Name
		}
		if k.Importance == "" {
			k.Importance = Medium
		}
		if k.Width == "" {
			k.Width = WidthNone
		}
		for _, n := range append([]string{k.Name}, k.Aliases...) {
			if d.byName[n] != nil {
				panic(fmt.Sprintf("configdef: key %q is defined twice", n))
			}
			d.byName[n] = &k
		}
		d.keys = append(d.keys, &k)
	}
	return d
}

// Unsupported defines keys that are known and refused by name.
func (d *Def) Unsupported(reason string, names ...string) *Def {
	for _, n := range names {
		d.Add(Key{Name: n, Type: String, Importance: Low, Unsupported: reason, Doc: "Not supported: " + reason})
	}
	return d
}

// Allow accepts a family of keys by prefix.
func (d *Def) Allow(p ...Pattern) *Def { d.patterns = append(d.patterns, p...); return d }

// CrossCheck adds a check over several keys, run only when every single value was fine.
func (d *Def) CrossCheck(f func(Values, *Result)) *Def {
	d.crossChecks = append(d.crossChecks, f)
	return d
}

// Merge returns a new definition with the keys of d and then those of others.
func (d *Def) Merge(others ...*Def) *Def {
	m := &Def{byName: map[string]*Key{}}
	for _, o := range append([]*Def{d}, others...) {
		if o == nil {
			continue
		}
		for _, k := range o.keys {
			if m.byName[k.Name] == nil {
				m.Add(*k)
			}
		}
		m.patterns = append(m.patterns, o.patterns...)
		m.crossChecks = append(m.crossChecks, o.crossChecks...)
	}
	return m
}

// Keys returns the keys in definition order. Do not change them.
func (d *Def) Keys() []*Key { return d.keys }

// Key finds a key by name or alias.
func (d *Def) Key(name string) (*Key, bool) { k, ok := d.byName[name]; return k, ok }

// Known reports whether name is a key, an alias or of an allowed family.
func (d *Def) Known(name string) bool {
	if d.byName[name] != nil {
		return true
	}
	for _, p := range d.patterns {
		if strings.HasPrefix(name, p.Prefix) {
			return true
		}
	}
	return false
}

// Suggest returns the known key most like name, or "".
func (d *Def) Suggest(name string) string {
	names := make([]string, len(d.keys))
	for i := range d.keys {
		names[i] = d.keys[i].Name
	}
	return Nearest(name, names)
}

// Nearest returns the name most like name, or "" when none is.
func Nearest(name string, names []string) string {
	best, dist := "", len(name)/3+2
	for _, k := range names {
		if n := distance(name, k, dist); n < dist {
			best, dist = k, n
		}
	}
	return best
}

// distance is the Levenshtein distance, or limit when it is not below it.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diag := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diag
			if a[i-1] != b[j-1] {
				cost++
			}
			diag = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return min(row[len(b)], limit)
}
