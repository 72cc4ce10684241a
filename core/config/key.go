package config

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Type is the type of a value, with the numbers of the DescribeConfigs answer.
type Type int8

// The types.
const (
	Boolean  Type = 1
	String   Type = 2
	Int      Type = 3
	Short    Type = 4
	Long     Type = 5
	Double   Type = 6
	List     Type = 7
	Class    Type = 8
	Password Type = 9
)

// String returns Kafka's name of the type.
func (t Type) String() string {
	return [...]string{"UNKNOWN", "BOOLEAN", "STRING", "INT", "SHORT", "LONG", "DOUBLE", "LIST", "CLASS", "PASSWORD"}[t]
}

// Importance says how much a key matters to most users.
type Importance int8

// The importances.
const (
	High Importance = iota
	Medium
	Low
)

// Update says how a broker property can change at run time.
type Update int8

// The update modes.
const (
	ReadOnly    Update = iota // only in the file
	PerBroker                 // for one broker
	ClusterWide               // for one broker or all
)

// Key is one property.
type Key struct {
	Name string
	Type Type
	// Default is the value when nothing is set; nil means null, no value.
	Default *string
	// Check judges a parsed value; nil accepts all of the type.
	Check      Check
	Importance Importance
	Update     Update
	Doc        string
	// Unsupported says why moldau refuses other values than the default; "" when it acts on the key.
	Unsupported string
}

// Sensitive reports whether the value must never be shown.
func (k *Key) Sensitive() bool { return k.Type == Password }

func text(s string) *string { return &s }

// Table is a set of keys. It does not change.
type Table struct {
	kind   string // "topic" as in "Unknown topic config name"
	keys   []Key
	byName map[string]*Key
}

func newTable(kind string, keys ...[]Key) *Table {
	t := &Table{kind: kind, keys: slices.Concat(keys...), byName: map[string]*Key{}}
	sort.Slice(t.keys, func(i, j int) bool { return t.keys[i].Name < t.keys[j].Name })
	for i := range t.keys {
		t.byName[t.keys[i].Name] = &t.keys[i]
	}
	return t
}

// Keys returns all keys, sorted by name. The caller must not change them.
func (t *Table) Keys() []Key { return t.keys }

// Names returns the names of all keys, sorted.
func (t *Table) Names() []string {
	out := make([]string, len(t.keys))
	for i := range t.keys {
		out[i] = t.keys[i].Name
	}
	return out
}

// Key returns the key of that name, nil when there is none.
func (t *Table) Key(name string) *Key { return t.byName[name] }

// UnknownError says that the table has no such key. Its text begins as Kafka's does.
func (t *Table) UnknownError(name string) error {
	msg := fmt.Sprintf("Unknown %s config name: %s", t.kind, name)
	if s := Suggest(name, t.Names()); s != "" {
		msg += ". Did you mean " + s + "?"
	}
	return invalid(msg)
}

// Validate judges a map of values: keys must be known, values valid, and unsupported keys at their default. The
// error is that of the first bad key by name, unknown ones first, with Kafka's text.
func (t *Table) Validate(values map[string]string) error {
	names := make([]string, 0, len(values))
	for n := range values {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		if t.byName[n] == nil {
			return t.UnknownError(n)
		}
	}
	for _, n := range names {
		if _, err := t.byName[n].Parse(values[n]); err != nil {
			return err
		}
	}
	return nil
}

// Error is a refused config; its text is for the user.
type Error struct{ Message string }

// Error implements error.
func (e *Error) Error() string { return e.Message }

func invalid(msg string) error { return &Error{Message: msg} }

// Suggest returns the candidate that was probably meant by name, "" when none is near.
func Suggest(name string, candidates []string) string {
	limit := max(1, min(3, len(name)/4))
	best, at := "", limit+1
	lower := strings.ToLower(name)
	for _, c := range candidates {
		// The same words in another notation are the same name.
		if plain(c) == plain(lower) {
			return c
		}
		if d := distance(lower, strings.ToLower(c), at); d < at {
			best, at = c, d
		}
	}
	return best
}

func plain(s string) string {
	return strings.NewReplacer(".", "", "_", "", "-", "").Replace(strings.ToLower(s))
}

// distance is the number of edits (insert, delete, replace, swap neighbours) between a and b, or limit when it
// is at least that.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		now := make([]int, len(b)+1)
		now[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			now[j+1] = min(now[j]+1, last[j+1]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				now[j+1] = min(now[j+1], before[j-1]+1)
			}
		}
		before, last = last, now
	}
	return min(last[len(b)], limit)
}
