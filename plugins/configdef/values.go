package configdef

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Values is a parsed configuration. Getters of a key that has neither value nor default return the zero value; asking for a key that
// the definition does not have panics, as it can only be a bug.
type Values struct {
	def    *Def
	parsed map[string]any
	raw    map[string]string
}

// Raw returns the configuration as it was given, without defaults. Do not change it.
func (v Values) Raw() map[string]string { return v.raw }

// IsSet reports whether the user gave the key (by any of its names).
func (v Values) IsSet(name string) bool {
	k := v.key(name)
	if _, ok := v.raw[k.Name]; ok {
		return true
	}
	for _, a := range k.Aliases {
		if _, ok := v.raw[a]; ok {
			return true
		}
	}
	return false
}

// Has reports whether the key has a value or a default.
func (v Values) Has(name string) bool { return v.parsed[v.key(name).Name] != nil }

func (v Values) key(name string) *Key {
	k, ok := v.def.Key(name)
	if !ok {
		panic(fmt.Sprintf("configdef: no key %q is defined", name))
	}
	return k
}

// Str returns a STRING, CLASS or PASSWORD.
func (v Values) Str(name string) string { s, _ := v.parsed[v.key(name).Name].(string); return s }

// Bool returns a BOOLEAN.
func (v Values) Bool(name string) bool { b, _ := v.parsed[v.key(name).Name].(bool); return b }

// Int returns an INT, SHORT or LONG.
func (v Values) Int(name string) int64 { n, _ := v.parsed[v.key(name).Name].(int64); return n }

// Float returns a DOUBLE.
func (v Values) Float(name string) float64 { f, _ := v.parsed[v.key(name).Name].(float64); return f }

// List returns a LIST.
func (v Values) List(name string) []string { l, _ := v.parsed[v.key(name).Name].([]string); return l }

// Millis returns a number of milliseconds as a duration.
func (v Values) Millis(name string) time.Duration {
	return time.Duration(v.Int(name)) * time.Millisecond
}

// WithPrefix returns the raw settings whose key starts with prefix, with the prefix taken off.
func (v Values) WithPrefix(prefix string) map[string]string {
	m := map[string]string{}
	for k, s := range v.raw {
		if strings.HasPrefix(k, prefix) {
			m[k[len(prefix):]] = s
		}
	}
	return m
}

// Result is the outcome of a validation, one entry a key.
type Result struct {
	Values []*Value
	byName map[string]*Value
}

// Value is one key's part of a Result.
type Value struct {
	Key         *Key
	Value       *string // as given or the default's text; nil: null. A PASSWORD is given as it was written.
	Recommended []string
	Errors      []string
	Visible     bool
}

// Error adds an error to a key (which need not be defined).
func (r *Result) Error(name, format string, args ...any) {
	v := r.byName[name]
	if v == nil {
		v = &Value{Key: &Key{Name: name, Type: String, Importance: Low, Width: WidthNone, Display: name}, Visible: true}
		r.byName[name] = v
		r.Values = append(r.Values, v)
	}
	v.Errors = append(v.Errors, fmt.Sprintf(format, args...))
}

// Get finds a key's entry.
func (r *Result) Get(name string) (*Value, bool) { v, ok := r.byName[name]; return v, ok }

// ErrorCount counts keys with errors, as Connect's error_count does.
func (r *Result) ErrorCount() int {
	n := 0
	for _, v := range r.Values {
		if len(v.Errors) > 0 {
			n++
		}
	}
	return n
}

// Messages lists all error texts in key order.
func (r *Result) Messages() []string {
	var out []string
	for _, v := range r.Values {
		out = append(out, v.Errors...)
	}
	return out
}

// Err returns all errors as one, or nil.
func (r *Result) Err() error {
	if m := r.Messages(); len(m) > 0 {
		return fmt.Errorf("%s", strings.Join(m, "; "))
	}
	return nil
}

// Merge appends the entries of o; errors of keys that r already has are added to them.
func (r *Result) Merge(o *Result) {
	for _, v := range o.Values {
		if have := r.byName[v.Key.Name]; have != nil {
			have.Errors = append(have.Errors, v.Errors...)
			continue
		}
		r.byName[v.Key.Name] = v
		r.Values = append(r.Values, v)
	}
}

// Parse checks raw against d and returns the values, or all errors as one. Unknown keys are errors here.
func (d *Def) Parse(raw map[string]string) (Values, error) {
	v, r := d.Validate(raw)
	d.RefuseUnknown(raw, r)
	return v, r.Err()
}

// RefuseUnknown adds an error for each key of raw that d does not know, with a suggestion.
func (d *Def) RefuseUnknown(raw map[string]string, r *Result) {
	names := make([]string, 0, len(raw))
	for n := range raw {
		if !d.Known(n) {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	for _, n := range names {
		if s := d.Suggest(n); s != "" {
			r.Error(n, "Unknown configuration %q. Did you mean %q?", n, s)
		} else {
			r.Error(n, "Unknown configuration %q.", n)
		}
	}
}

// Validate parses every defined key and collects errors by key. Unknown keys are left to the caller.
func (d *Def) Validate(raw map[string]string) (Values, *Result) {
	vals := Values{def: d, parsed: make(map[string]any, len(d.keys)), raw: raw}
	res := &Result{byName: make(map[string]*Value, len(d.keys))}
	for _, k := range d.keys {
		cv := &Value{Key: k, Recommended: k.Recommended, Visible: true}
		res.byName[k.Name] = cv
		res.Values = append(res.Values, cv)
		text, set := raw[k.Name]
		for i := 0; !set && i < len(k.Aliases); i++ {
			text, set = raw[k.Aliases[i]]
		}
		if !set {
			if k.Required {
				cv.Errors = append(cv.Errors, fmt.Sprintf("Missing required configuration %q which has no default value.", k.Name))
				continue
			}
			if k.Default == nil {
				continue
			}
			text = defaultText(k.Default)
			p, err := parse(k, text)
			if err != "" {
				panic("configdef: default of " + k.Name + ": " + err)
			}
			vals.parsed[k.Name], cv.Value = p, &text
			continue
		}
		cv.Value = &text
		if k.Unsupported != "" && !accepted(k, text) {
			cv.Errors = append(cv.Errors, fmt.Sprintf("Invalid value %s for configuration %s: not supported by moldau: %s", mask(k, text), k.Name, k.Unsupported))
			continue
		}
		p, err := parse(k, text)
		if err == "" && k.Check != nil && p != nil {
			if m := k.Check(p); m != "" {
				err = fmt.Sprintf("Invalid value %s for configuration %s: %s", mask(k, text), k.Name, m)
			}
		}
		if err != "" {
			cv.Errors = append(cv.Errors, err)
			continue
		}
		vals.parsed[k.Name] = p
	}
	for n := range raw {
		for _, p := range d.patterns {
			if p.Unsupported != "" && strings.HasPrefix(n, p.Prefix) && d.byName[n] == nil {
				res.Error(n, "Invalid value %s for configuration %s: not supported by moldau: %s", raw[n], n, p.Unsupported)
			}
		}
	}
	if res.ErrorCount() == 0 {
		for _, f := range d.crossChecks {
			f(vals, res)
		}
	}
	return vals, res
}

func accepted(k *Key, text string) bool {
	text = strings.TrimSpace(text)
	if k.Default != nil && strings.EqualFold(text, defaultText(k.Default)) {
		return true
	}
	for _, a := range k.Accepts {
		if strings.EqualFold(text, a) {
			return true
		}
	}
	return false
}

func mask(k *Key, text string) string {
	if k.Type == Password {
		return "[hidden]"
	}
	return text
}

// DefaultText renders a default as Connect's REST API does; ok is false for null.
func (k *Key) DefaultText() (s string, ok bool) {
	if k.Default == nil || k.Required {
		return "", false
	}
	return defaultText(k.Default), true
}

func defaultText(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case []string:
		return strings.Join(x, ",")
	default:
		return fmt.Sprint(x)
	}
}

// parse returns the value, or an error with Kafka's wording.
func parse(k *Key, text string) (any, string) {
	t := strings.TrimSpace(text)
	bad := func(kind string) (any, string) {
		return nil, fmt.Sprintf("Invalid value %s for configuration %s: %s", mask(k, text), k.Name, kind)
	}
	integer := func(bits int, name string) (any, string) {
		n, err := strconv.ParseInt(t, 10, bits)
		if err != nil {
			return bad("Not a number of type " + name)
		}
		return n, ""
	}
	switch k.Type {
	case Boolean:
		switch strings.ToLower(t) {
		case "true":
			return true, ""
		case "false":
			return false, ""
		}
		return bad("Expected value to be either true or false")
	case Int:
		return integer(32, "INT")
	case Short:
		return integer(16, "SHORT")
	case Long:
		return integer(64, "LONG")
	case Double:
		f, err := strconv.ParseFloat(t, 64)
		if err != nil {
			return bad("Not a number of type DOUBLE")
		}
		return f, ""
	case List:
		if t == "" {
			return []string{}, ""
		}
		parts := strings.Split(t, ",")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		return parts, ""
	case Password:
		return text, ""
	default:
		return t, ""
	}
}
