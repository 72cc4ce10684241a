package avro

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// Normalize returns the schema with everything sorted whose order means nothing: custom properties (a logical type first)
// and aliases. Empty docs of types are dropped and number defaults take their field's type (0 of a double becomes 0.0).
// Two spellings of one schema have the same canonical text after it.
func (s *Schema) Normalize() *Schema {
	n := normalizer{done: make(map[*Type]*Type), external: make(map[*Type]bool, len(s.external))}
	for _, t := range s.external {
		n.external[t] = true
	}
	out := &Schema{external: s.external, names: make(map[string]*Type, len(s.names))}
	out.Root = n.typ(s.Root)
	for name, t := range s.names {
		if c := n.done[t]; c != nil {
			t = c
		}
		out.names[name] = t
	}
	return out
}

type normalizer struct {
	done     map[*Type]*Type
	external map[*Type]bool
}

func (n *normalizer) typ(t *Type) *Type {
	if n.external[t] {
		return t
	}
	if c := n.done[t]; c != nil {
		return c
	}
	c := *t
	n.done[t] = &c
	c.IsError = false
	c.HasDoc = t.HasDoc && t.Doc != ""
	c.Props = sortedProps(t)
	c.Aliases = sorted(t.Aliases)
	if t.Elem != nil {
		c.Elem = n.typ(t.Elem)
	}
	c.Branches = make([]*Type, len(t.Branches))
	for i, b := range t.Branches {
		c.Branches[i] = n.typ(b)
	}
	c.Fields = make([]*Field, len(t.Fields))
	for i, f := range t.Fields {
		g := *f
		g.Type = n.typ(f.Type)
		g.Aliases = sorted(f.Aliases)
		g.Props = slices.SortedStableFunc(slices.Values(f.Props), byName)
		if f.HasDefault {
			g.Default = typedDefault(f.Type, f.Default)
		}
		c.Fields[i] = &g
	}
	return &c
}

func byName(a, b Prop) int { return strings.Compare(a.Name, b.Name) }

func sorted(names []string) []string {
	out := slices.Clone(names)
	slices.Sort(out)
	return out
}

func sortedProps(t *Type) []Prop {
	props := slices.SortedStableFunc(slices.Values(t.Props), byName)
	l, ok := t.Logical()
	if !ok || t.Kind == Array || t.Kind == Map {
		return props
	}
	first := []string{"logicalType"}
	if l.Name == "decimal" {
		first = append(first, "precision")
		if l.Scale != 0 {
			first = append(first, "scale")
		}
	}
	out := make([]Prop, 0, len(props))
	for _, name := range first {
		if v, ok := t.Prop(name); ok {
			out = append(out, Prop{name, v})
		}
	}
	for _, p := range props {
		if !slices.Contains(first, p.Name) {
			out = append(out, p)
		}
	}
	return out
}

// typedDefault gives numbers in a default the form that their type prints.
func typedDefault(t *Type, v Value) Value {
	switch t.Kind {
	case Union:
		if len(t.Branches) > 0 {
			return typedDefault(t.Branches[0], v)
		}
	case Double, Float:
		if v.Kind != JSONInt && v.Kind != JSONFloat {
			return v
		}
		f, _ := strconv.ParseFloat(v.Text, 64)
		if t.Kind == Float {
			return Value{Kind: JSONFloat, Text: javaFloat(float32(f))}
		}
		return floatValue(f)
	case Array:
		if v.Kind == JSONArray {
			items := make([]Value, len(v.Items))
			for i := range v.Items {
				items[i] = typedDefault(t.Elem, v.Items[i])
			}
			v.Items = items
		}
	case Map, Record:
		if v.Kind != JSONObject {
			return v
		}
		members := slices.Clone(v.Members)
		for i := range members {
			if t.Kind == Map {
				members[i].Value = typedDefault(t.Elem, members[i].Value)
			} else if f := t.Field(members[i].Name); f != nil {
				members[i].Value = typedDefault(f.Type, members[i].Value)
			}
		}
		v.Members = members
	}
	return v
}

// javaFloat prints f as Java's Float.toString does.
func javaFloat(f float32) string {
	if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
		return javaDouble(float64(f))
	}
	// The shortest digits that identify a float32 are another double, printed by the same rules.
	d, _ := strconv.ParseFloat(strconv.FormatFloat(float64(f), 'g', -1, 32), 64)
	return javaDouble(d)
}
