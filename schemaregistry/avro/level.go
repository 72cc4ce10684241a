package avro

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Level is a compatibility level of a subject.
type Level string

// The levels. The transitive ones compare with all versions, the others with the latest.
const (
	None               Level = "NONE"
	Backward           Level = "BACKWARD"
	BackwardTransitive Level = "BACKWARD_TRANSITIVE"
	Forward            Level = "FORWARD"
	ForwardTransitive  Level = "FORWARD_TRANSITIVE"
	Full               Level = "FULL"
	FullTransitive     Level = "FULL_TRANSITIVE"
)

// ParseLevel reads a level in any case.
func ParseLevel(s string) (Level, bool) {
	switch l := Level(strings.ToUpper(s)); l {
	case None, Backward, BackwardTransitive, Forward, ForwardTransitive, Full, FullTransitive:
		return l, true
	}
	return "", false
}

// Transitive says whether all versions are compared, not only the latest.
func (l Level) Transitive() bool {
	return l == BackwardTransitive || l == ForwardTransitive || l == FullTransitive
}

func (l Level) backward() bool {
	return l == Backward || l == BackwardTransitive || l == Full || l == FullTransitive
}

func (l Level) forward() bool {
	return l == Forward || l == ForwardTransitive || l == Full || l == FullTransitive
}

// Previous is an earlier version that a new schema is compared with.
type Previous struct {
	// Version is the version's number, or 0 if it has none.
	Version int
	Schema  *Schema
}

// maxOldSchema is how much of an old schema's text a message holds.
const maxOldSchema = 10 * 1024

// Compatible compares schema with previous versions, the newest first, as level asks. It returns the registry's messages, none if
// schema is compatible. The first version that fails ends the comparison.
func Compatible(schema *Schema, level Level, previous func(yield func(Previous, error) bool)) ([]string, error) {
	if !level.backward() && !level.forward() {
		return nil, nil
	}
	var out []string
	var failed error
	previous(func(p Previous, err error) bool {
		if err == nil {
			out, err = comparePair(schema, level, p)
		}
		failed = err
		return err == nil && len(out) == 0 && level.Transitive()
	})
	return out, failed
}

func comparePair(schema *Schema, level Level, p Previous) ([]string, error) {
	var out []string
	if level.forward() {
		list, err := Check(p.Schema, schema)
		if err != nil {
			return nil, err
		}
		for _, i := range list {
			out = append(out, i.Text("old", "new"))
		}
	}
	ended := !level.backward() && len(out) > 0
	if level.backward() {
		list, err := Check(schema, p.Schema)
		if err != nil {
			return nil, err
		}
		for _, i := range list {
			out = append(out, i.Text("new", "old"))
		}
		// FULL names the old schema only when the backward half fails, as the original does.
		ended = len(list) > 0
	}
	if !ended {
		return out, nil
	}
	if p.Version > 0 {
		out = append(out, fmt.Sprintf("{oldSchemaVersion: %d}", p.Version))
	}
	text := p.Schema.Canonical()
	if len(text) <= maxOldSchema {
		return append(out, "{oldSchema: '"+text+"'}"), nil
	}
	end := maxOldSchema
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return append(out, fmt.Sprintf("{oldSchema: <truncated> '%s...'}", text[:end])), nil
}
