package cdc

import (
	"fmt"
	"strings"
	"time"

	"github.com/dlclark/regexp2"
)

// regexTimeout bounds one match, as the expressions (Java's dialect, with look-around) can backtrack.
const regexTimeout = time.Second

// Patterns is a list of regular expressions, each anchored at both ends and ignoring case, as all of Debezium's lists are.
type Patterns struct{ res []*regexp2.Regexp }

// SplitRegexes splits a comma-separated list; a comma behind a backslash belongs to the expression.
func SplitRegexes(list string) []string {
	var out []string
	var cur strings.Builder
	flush := func() {
		if s := strings.TrimSpace(cur.String()); s != "" {
			out = append(out, s)
		}
		cur.Reset()
	}
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == '\\' && i+1 < len(list) && list[i+1] == ',':
			cur.WriteByte(',')
			i++
		case c == ',':
			flush()
		default:
			cur.WriteByte(c)
		}
	}
	flush()
	return out
}

// ParsePatterns compiles a comma-separated list of expressions.
func ParsePatterns(list string) (*Patterns, error) {
	p := &Patterns{}
	for _, s := range SplitRegexes(list) {
		re, err := regexp2.Compile(`\A(?:`+s+`)\z`, regexp2.IgnoreCase)
		if err != nil {
			return nil, fmt.Errorf("%q is not a valid regular expression: %w", s, err)
		}
		re.MatchTimeout = regexTimeout
		p.res = append(p.res, re)
	}
	return p, nil
}

// Empty reports whether the list has no expressions.
func (p *Patterns) Empty() bool { return p == nil || len(p.res) == 0 }

// Match reports whether any expression matches all of s.
func (p *Patterns) Match(s string) bool {
	if p == nil {
		return false
	}
	for _, re := range p.res {
		if ok, err := re.MatchString(s); ok && err == nil {
			return true
		}
	}
	return false
}

// Filter is an include list or an exclude list. With neither, everything passes.
type Filter struct{ include, exclude *Patterns }

// NewFilter compiles both lists.
func NewFilter(include, exclude string) (Filter, error) {
	var f Filter
	var err error
	if f.include, err = ParsePatterns(include); err != nil {
		return f, err
	}
	f.exclude, err = ParsePatterns(exclude)
	return f, err
}

// Includes reports whether name passes.
func (f Filter) Includes(name string) bool {
	if !f.include.Empty() {
		return f.include.Match(name)
	}
	return !f.exclude.Match(name)
}

// HasInclude reports whether an include list was given.
func (f Filter) HasInclude() bool { return !f.include.Empty() }

// TableID names a table. PostgreSQL has Schema and Table, MySQL Catalog (the database) and Table.
type TableID struct{ Catalog, Schema, Table string }

// String returns the parts that are set, joined by dots: what filters are matched against.
func (t TableID) String() string {
	s := t.Table
	if t.Schema != "" {
		s = t.Schema + "." + s
	}
	if t.Catalog != "" {
		s = t.Catalog + "." + s
	}
	return s
}
