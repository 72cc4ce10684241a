package avro

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// IncompatibilityType says why a reader's schema cannot read a writer's data.
type IncompatibilityType string

// The types of Java's SchemaCompatibility.
const (
	NameMismatch                   IncompatibilityType = "NAME_MISMATCH"
	FixedSizeMismatch              IncompatibilityType = "FIXED_SIZE_MISMATCH"
	MissingEnumSymbols             IncompatibilityType = "MISSING_ENUM_SYMBOLS"
	ReaderFieldMissingDefaultValue IncompatibilityType = "READER_FIELD_MISSING_DEFAULT_VALUE"
	TypeMismatch                   IncompatibilityType = "TYPE_MISMATCH"
	MissingUnionBranch             IncompatibilityType = "MISSING_UNION_BRANCH"
)

// Incompatibility is one reason, with the place in the reader's schema.
type Incompatibility struct {
	Type IncompatibilityType
	// Location is a JSON pointer into the reader's schema, such as "/fields/0/type".
	Location string
	// Message is Java's, such as "expected: 8, found: 16"; its form depends on Type.
	Message string
}

// Text returns the reason as registries print it; reader and writer are "new" and "old" in the order of the check.
func (i Incompatibility) Text(reader, writer string) string {
	var d string
	switch i.Type {
	case FixedSizeMismatch:
		d = fmt.Sprintf("The size of FIXED type field at path '%s' in the %s schema does not match with the %s schema", i.Location, reader, writer)
	case TypeMismatch:
		d = fmt.Sprintf("The type (path '%s') of a field in the %s schema does not match with the %s schema", i.Location, reader, writer)
	case NameMismatch:
		d = fmt.Sprintf("The name of the schema has changed (path '%s')", i.Location)
	case MissingEnumSymbols:
		d = fmt.Sprintf("The %s schema is missing enum symbols '%s' at path '%s' in the %s schema", reader, i.Message, i.Location, writer)
	case MissingUnionBranch:
		d = fmt.Sprintf("The %s schema is missing a type inside a union field at path '%s' in the %s schema", reader, i.Location, writer)
	case ReaderFieldMissingDefaultValue:
		d = fmt.Sprintf("The field '%s' at path '%s' in the %s schema has no default value and is missing in the %s schema", i.Message, i.Location, reader, writer)
	}
	return "{errorType:'" + string(i.Type) + "', description:'" + d + "', additionalInfo:'" + i.Message + "'}"
}

// Limits of one check. Schemas are the users': two unions with thousands of records each would compare every pair.
const (
	maxPairs             = 1 << 20
	maxIncompatibilities = 1000
)

// ErrTooComplex says that a check was given up because the schemas have too many combinations.
type ErrTooComplex struct{}

// Error implements error.
func (ErrTooComplex) Error() string {
	return fmt.Sprintf("schemas are too complex to compare: more than %d combinations of types", maxPairs)
}

// Check returns why data of writer cannot be read with reader, or nil if all of it can. At most 1000 reasons are returned.
func Check(reader, writer *Schema) ([]Incompatibility, error) {
	c := checker{memo: map[pair]*result{}}
	r := c.check(reader.Root, writer.Root, "")
	if c.steps > maxPairs {
		return nil, ErrTooComplex{}
	}
	return r.list, nil
}

// checker compares pairs of types, each pair once. A pair that is being compared counts as compatible: a recursive schema
// is compatible unless something in it proves otherwise. An answer keeps the location where the pair was met first.
type checker struct {
	memo  map[pair]*result
	steps int
}

type pair struct{ reader, writer *Type }

type result struct{ list []Incompatibility }

func (r *result) add(list ...Incompatibility) {
	if n := maxIncompatibilities - len(r.list); n < len(list) {
		list = list[:max(n, 0)]
	}
	r.list = append(r.list, list...)
}

func (r *result) ok() bool { return len(r.list) == 0 }

func (c *checker) check(reader, writer *Type, at string) *result {
	if c.steps++; c.steps > maxPairs {
		return &result{}
	}
	key := pair{reader, writer}
	if r := c.memo[key]; r != nil {
		return r
	}
	// The empty result stands for this pair while it is being compared.
	c.memo[key] = &result{}
	r := c.compare(reader, writer, at)
	c.memo[key] = r
	return r
}

func pointer(at string) string {
	if at == "" {
		return "/"
	}
	return at
}

func (c *checker) compare(reader, writer *Type, at string) *result {
	r := &result{}
	if reader.Kind == writer.Kind {
		switch reader.Kind {
		case Array:
			r.add(c.check(reader.Elem, writer.Elem, at+"/items").list...)
		case Map:
			r.add(c.check(reader.Elem, writer.Elem, at+"/values").list...)
		case Fixed:
			r.names(reader, writer, at)
			if reader.Size != writer.Size {
				r.add(Incompatibility{FixedSizeMismatch, at + "/size", fmt.Sprintf("expected: %d, found: %d", writer.Size, reader.Size)})
			}
		case Enum:
			r.names(reader, writer, at)
			r.symbols(reader, writer, at)
		case Record:
			r.names(reader, writer, at)
			c.fields(r, reader, writer, at)
		case Union:
			for i, branch := range writer.Branches {
				if !c.check(reader, branch, at+"/"+strconv.Itoa(i)).ok() {
					r.missingBranch(branch, at+"/"+strconv.Itoa(i))
				}
			}
		}
		return r
	}
	if writer.Kind == Union { // the reader must be able to read every branch
		for i, branch := range writer.Branches {
			r.add(c.check(reader, branch, at+"/"+strconv.Itoa(i)).list...)
		}
		return r
	}
	if reader.Kind == Union {
		for i, branch := range reader.Branches {
			if c.check(branch, writer, at+"/"+strconv.Itoa(i)).ok() {
				return r
			}
		}
		r.missingBranch(writer, at)
		return r
	}
	if !promotable(writer.Kind, reader.Kind) {
		r.add(Incompatibility{TypeMismatch, pointer(at), fmt.Sprintf("reader type: %s not compatible with writer type: %s", reader.Kind.java(), writer.Kind.java())})
	}
	return r
}

// promotable says whether data of primitive kind from is read as kind to.
func promotable(from, to Kind) bool {
	switch to {
	case Long:
		return from == Int
	case Float:
		return from == Int || from == Long
	case Double:
		return from == Int || from == Long || from == Float
	case Bytes:
		return from == String
	case String:
		return from == Bytes
	}
	return false
}

func (r *result) missingBranch(writer *Type, at string) {
	r.add(Incompatibility{MissingUnionBranch, pointer(at), "reader union lacking writer type: " + writer.Kind.java()})
}

// names compares unqualified names, then the reader's aliases.
func (r *result) names(reader, writer *Type, at string) {
	if reader.Name != writer.Name && !slices.Contains(reader.Aliases, writer.FullName()) {
		r.add(Incompatibility{NameMismatch, at + "/name", "expected: " + writer.FullName()})
	}
}

func (r *result) symbols(reader, writer *Type, at string) {
	if reader.HasDefault && slices.Contains(reader.Symbols, reader.Default) {
		return
	}
	known := make(map[string]bool, len(reader.Symbols))
	for _, s := range reader.Symbols {
		known[s] = true
	}
	var missing []string
	for _, s := range writer.Symbols {
		if !known[s] {
			missing = append(missing, s)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		r.add(Incompatibility{MissingEnumSymbols, at + "/symbols", "[" + strings.Join(missing, ", ") + "]"})
	}
}

func (c *checker) fields(r *result, reader, writer *Type, at string) {
	known := make(map[string]*Field, len(writer.Fields))
	for _, f := range writer.Fields {
		known[f.Name] = f
	}
	for i, f := range reader.Fields {
		at := at + "/fields/" + strconv.Itoa(i)
		from := known[f.Name]
		for _, alias := range f.Aliases {
			if from == nil {
				from = known[alias]
			}
		}
		switch {
		case from != nil:
			r.add(c.check(f.Type, from.Type, at+"/type").list...)
		case f.HasDefault:
		case f.Type.Kind == Enum && f.Type.HasDefault:
			// An enum's default does not stand in for a missing field; Java compares it with the record.
			r.add(c.check(f.Type, writer, at+"/type").list...)
		default:
			r.add(Incompatibility{ReaderFieldMissingDefaultValue, at, f.Name})
		}
	}
}
