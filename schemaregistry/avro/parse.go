package avro

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Limits that Parse applies when Options leaves them zero.
const (
	// DefaultMaxBytes bounds a schema's text; a Kafka record of a default topic holds no more.
	DefaultMaxBytes = 1 << 20
	// DefaultMaxDepth bounds the nesting of the JSON text, as Java's parser does.
	DefaultMaxDepth = 1000
)

// ErrTooLarge is in the chain of errors for a schema text beyond Options.MaxBytes.
var ErrTooLarge = errors.New("schema is too large")

// Options says how to parse.
type Options struct {
	// Strict checks names and defaults, for schemas that are new. Stored schemas are parsed without.
	Strict bool
	// References are the texts of the schemas that this one refers to by type name, each after those it needs itself.
	References []string
	// MaxBytes bounds the schema's text and each reference's, MaxDepth the JSON nesting. 0 means the defaults.
	MaxBytes, MaxDepth int
}

// Parse parses a schema. Errors read like those of Avro's Java parser.
func Parse(text string, opts Options) (*Schema, error) {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = DefaultMaxBytes
	}
	if opts.MaxDepth <= 0 {
		opts.MaxDepth = DefaultMaxDepth
	}
	p := parser{strict: opts.Strict, names: map[string]*Type{}}
	parse := func(text string) (*Type, error) {
		if len(text) > opts.MaxBytes {
			return nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLarge, len(text), opts.MaxBytes)
		}
		v, err := ParseValue(text, opts.MaxDepth)
		if err != nil {
			return nil, err
		}
		p.space = ""
		return p.parse(&v)
	}
	for i, ref := range opts.References {
		if _, err := parse(ref); err != nil {
			return nil, fmt.Errorf("reference %d: %w", i+1, err)
		}
	}
	s := &Schema{external: make(map[string]*Type, len(p.names)), names: p.names}
	for name, t := range p.names {
		s.external[name] = t
	}
	var err error
	s.Root, err = parse(text)
	if err != nil {
		return nil, err
	}
	return s, nil
}

type parser struct {
	strict bool
	names  map[string]*Type
	space  string // namespace of the enclosing type
}

// cut shortens JSON in an error text.
func cut(v *Value) string {
	s := v.String()
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "..."
	}
	return s
}

func (p *parser) lookup(name string) *Type {
	if strings.Contains(name, ".") {
		return p.names[strings.TrimPrefix(name, ".")]
	}
	if p.space != "" {
		if t := p.names[p.space+"."+name]; t != nil {
			return t
		}
	}
	return p.names[name]
}

// named returns the type that a JSON string stands for, or nil.
func (p *parser) named(name string) *Type {
	if k, ok := primitives[name]; ok {
		return &Type{Kind: k}
	}
	return p.lookup(name)
}

func (p *parser) parse(v *Value) (*Type, error) {
	switch v.Kind {
	case JSONString:
		t := p.named(v.Text)
		if t == nil {
			return nil, fmt.Errorf("Undefined name: %s", cut(v)) //nolint:staticcheck // Java's text
		}
		return t, nil
	case JSONArray:
		return p.union(v)
	case JSONObject:
		return p.object(v)
	}
	return nil, fmt.Errorf("Schema not yet supported: %s", cut(v)) //nolint:staticcheck // Java's text
}

func (p *parser) union(v *Value) (*Type, error) {
	t := &Type{Kind: Union, Branches: make([]*Type, 0, len(v.Items))}
	seen := make(map[string]bool, len(v.Items))
	for i := range v.Items {
		b, err := p.parse(&v.Items[i])
		if err != nil {
			return nil, err
		}
		if b.Kind == Union {
			return nil, fmt.Errorf("Nested union: %s", cut(v)) //nolint:staticcheck // Java's text
		}
		name := b.FullName()
		if seen[name] {
			return nil, fmt.Errorf("Duplicate in union:%s", name) //nolint:staticcheck // Java's text
		}
		seen[name] = true
		t.Branches = append(t.Branches, b)
	}
	return t, nil
}

func text(v *Value, name, missing string) (string, error) {
	m, ok := v.Get(name)
	if !ok || m.Kind != JSONString {
		return "", fmt.Errorf("%s: %s", missing, cut(v))
	}
	return m.Text, nil
}

func optionalText(v *Value, name string) (string, bool) {
	m, ok := v.Get(name)
	if !ok || m.Kind != JSONString {
		return "", false
	}
	return m.Text, true
}

var schemaReserved = map[string]bool{"doc": true, "fields": true, "items": true, "name": true, "namespace": true, "size": true,
	"symbols": true, "values": true, "type": true, "aliases": true}

var fieldReserved = map[string]bool{"default": true, "doc": true, "name": true, "order": true, "type": true, "aliases": true}

func (p *parser) object(v *Value) (*Type, error) {
	kind, err := text(v, "type", "No type")
	if err != nil {
		return nil, err
	}
	saved := p.space
	defer func() { p.space = saved }()
	var t *Type
	switch kind {
	case "record", "error", "enum", "fixed":
		if t, err = p.header(v, kind); err == nil {
			err = p.body(t, v)
		}
		if err == nil && p.names[t.FullName()] != t {
			return p.names[t.FullName()], nil // the same enum or fixed written out again
		}
	case "array":
		t, err = p.container(v, Array, "items", "Array has no items type")
	case "map":
		t, err = p.container(v, Map, "values", "Map has no values type")
	default:
		if k, ok := primitives[kind]; ok {
			t = &Type{Kind: k}
			break
		}
		if t = p.lookup(kind); t != nil {
			return t, nil // {"type": "a.Name"} stands for the name
		}
		return nil, fmt.Errorf("Type not supported: %s", kind) //nolint:staticcheck // Java's text
	}
	if err != nil {
		return nil, err
	}
	for i := range v.Members {
		if m := &v.Members[i]; !schemaReserved[m.Name] && (t.Kind != Enum || m.Name != "default") {
			t.Props = append(t.Props, Prop(*m))
		}
	}
	if t.Kind.Named() {
		t.Aliases, err = p.aliases(v, t.Namespace, true)
	}
	return t, err
}

// header reads the name of a named type and makes its namespace the current one.
func (p *parser) header(v *Value, kind string) (*Type, error) {
	t := &Type{IsError: kind == "error"}
	switch kind {
	case "enum":
		t.Kind = Enum
	case "fixed":
		t.Kind = Fixed
	default:
		t.Kind = Record
	}
	name, err := text(v, "name", "No name in schema")
	if err != nil {
		return nil, err
	}
	if space, ok := optionalText(v, "namespace"); ok {
		p.space = space
	}
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		p.space, name = name[:i], name[i+1:]
	}
	if err := p.checkName(name); err != nil {
		return nil, err
	}
	t.Name, t.Namespace = name, p.space
	if p.strict && t.Namespace != "" {
		for _, part := range strings.Split(t.Namespace, ".") {
			if err := p.checkName(part); err != nil {
				return nil, err
			}
		}
	}
	if _, ok := primitives[name]; ok && t.Namespace == "" {
		return nil, fmt.Errorf("Schemas may not be named after primitives: %s", t.FullName()) //nolint:staticcheck // Java's text
	}
	t.Doc, t.HasDoc = optionalText(v, "doc")
	return t, nil
}

func (p *parser) checkName(name string) error {
	if !p.strict {
		return nil
	}
	if name == "" {
		return errors.New("Empty name") //nolint:staticcheck // Java's text
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if i == 0 && !letter {
			return fmt.Errorf("Illegal initial character: %s", name) //nolint:staticcheck // Java's text
		}
		if !letter && (c < '0' || c > '9') {
			return fmt.Errorf("Illegal character in: %s", name) //nolint:staticcheck // Java's text
		}
	}
	return nil
}

// define makes t known by its name.
func (p *parser) define(t *Type) error {
	if _, ok := p.names[t.FullName()]; ok {
		return fmt.Errorf("Can't redefine: %s", t.FullName()) //nolint:staticcheck // Java's text
	}
	p.names[t.FullName()] = t
	return nil
}

// redefines says whether t repeats an enum or fixed that is defined already, which is allowed.
func (p *parser) redefines(t *Type) bool {
	old := p.names[t.FullName()]
	return old != nil && old.Kind == t.Kind && t.Kind != Record && old.Size == t.Size && slices.Equal(old.Symbols, t.Symbols)
}

func (p *parser) body(t *Type, v *Value) error {
	switch t.Kind {
	case Record:
		if err := p.define(t); err != nil {
			return err
		}
		return p.fields(t, v)
	case Enum:
		if err := p.enum(t, v); err != nil {
			return err
		}
	case Fixed:
		size, ok := v.Get("size")
		n, err := strconv.ParseInt(size.Text, 10, 32)
		if !ok || size.Kind != JSONInt || err != nil {
			return fmt.Errorf("Invalid or no size: %s", cut(v)) //nolint:staticcheck // Java's text
		}
		if n < 0 {
			return fmt.Errorf("Malformed data. Length is negative: %d", n) //nolint:staticcheck // Java's text
		}
		t.Size = int(n)
	}
	if p.redefines(t) {
		return nil
	}
	return p.define(t)
}

func (p *parser) enum(t *Type, v *Value) error {
	symbols, ok := v.Get("symbols")
	if !ok || symbols.Kind != JSONArray {
		return fmt.Errorf("Enum has no symbols: %s", cut(v)) //nolint:staticcheck // Java's text
	}
	seen := make(map[string]bool, len(symbols.Items))
	for i := range symbols.Items {
		s := &symbols.Items[i]
		if s.Kind != JSONString {
			return fmt.Errorf("enum %s has a symbol that is not a string: %s", t.FullName(), cut(s))
		}
		if err := p.checkName(s.Text); err != nil {
			return err
		}
		if seen[s.Text] {
			return fmt.Errorf("Duplicate in enum: %s", s.Text) //nolint:staticcheck // Java's text
		}
		seen[s.Text] = true
		t.Symbols = append(t.Symbols, s.Text)
	}
	if t.Default, t.HasDefault = optionalText(v, "default"); t.HasDefault && !seen[t.Default] {
		return fmt.Errorf("The Enum Default: %s is not in the enum symbol set: [%s]", t.Default, strings.Join(t.Symbols, ", ")) //nolint:staticcheck // Java's text
	}
	return nil
}

func (p *parser) container(v *Value, kind Kind, member, missing string) (*Type, error) {
	items, ok := v.Get(member)
	if !ok {
		return nil, fmt.Errorf("%s: %s", missing, cut(v))
	}
	elem, err := p.parse(&items)
	if err != nil {
		return nil, err
	}
	return &Type{Kind: kind, Elem: elem}, nil
}

func (p *parser) fields(t *Type, v *Value) error {
	fields, ok := v.Get("fields")
	if !ok || fields.Kind != JSONArray {
		return fmt.Errorf("Record has no fields: %s", cut(v)) //nolint:staticcheck // Java's text
	}
	seen := make(map[string]bool, len(fields.Items))
	for i := range fields.Items {
		f, err := p.field(&fields.Items[i])
		if err != nil {
			return err
		}
		if seen[f.Name] {
			return fmt.Errorf("Duplicate field %s in record %s", f.Name, t.FullName()) //nolint:staticcheck // Java's text
		}
		seen[f.Name] = true
		t.Fields = append(t.Fields, f)
	}
	return nil
}

func (p *parser) field(v *Value) (*Field, error) {
	name, err := text(v, "name", "No field name")
	if err != nil {
		return nil, err
	}
	if err := p.checkName(name); err != nil {
		return nil, err
	}
	f := &Field{Name: name, Order: "ascending"}
	f.Doc, f.HasDoc = optionalText(v, "doc")
	typ, ok := v.Get("type")
	if !ok {
		return nil, fmt.Errorf("No field type: %s", cut(v)) //nolint:staticcheck // Java's text
	}
	if typ.Kind == JSONString && p.named(typ.Text) == nil {
		return nil, fmt.Errorf("%s is not a defined name. The type of the %q field must be a defined name or a {\"type\": ...} expression.", cut(&typ), name) //nolint:staticcheck // Java's text
	}
	if f.Type, err = p.parse(&typ); err != nil {
		return nil, err
	}
	if order, ok := v.Get("order"); ok {
		f.Order = strings.ToLower(order.Text)
		if order.Kind != JSONString || (f.Order != "ascending" && f.Order != "descending" && f.Order != "ignore") {
			return nil, fmt.Errorf("field %s: order %s is not ascending, descending or ignore", name, cut(&order))
		}
	}
	if f.Default, f.HasDefault = v.Get("default"); f.HasDefault {
		if f.Default.Kind == JSONString && (f.Type.Kind == Float || f.Type.Kind == Double) {
			d, err := javaParseDouble(f.Default.Text)
			if err != nil {
				return nil, fmt.Errorf("field %s: default %s is not a number", name, cut(&f.Default))
			}
			f.Default = floatValue(d)
		}
		if p.strict && !validDefault(f.Type, &f.Default, 0) {
			return nil, fmt.Errorf("Invalid default for field %s: %s not a %s", name, cut(&f.Default), printType(f.Type)) //nolint:staticcheck // Java's text
		}
	}
	for i := range v.Members {
		if m := &v.Members[i]; !fieldReserved[m.Name] {
			f.Props = append(f.Props, Prop(*m))
		}
	}
	f.Aliases, err = p.aliases(v, "", false)
	return f, err
}

// javaParseDouble reads what Java's Double.valueOf does, as far as anybody writes it.
func javaParseDouble(s string) (float64, error) {
	switch s = strings.TrimSpace(s); s {
	case "NaN", "+NaN", "-NaN":
		return math.NaN(), nil
	case "Infinity", "+Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	}
	if strings.ContainsAny(s, "_nN") || strings.ContainsAny(s, "xX") {
		return 0, strconv.ErrSyntax
	}
	f, err := strconv.ParseFloat(strings.TrimRight(s, "dDfF"), 64)
	if errors.Is(err, strconv.ErrRange) {
		err = nil
	}
	return f, err
}

// aliases reads the aliases of a type (qualified by its namespace) or of a field.
func (p *parser) aliases(v *Value, space string, qualify bool) ([]string, error) {
	list, ok := v.Get("aliases")
	if !ok {
		return nil, nil
	}
	if list.Kind != JSONArray {
		return nil, fmt.Errorf("aliases not an array: %s", cut(v))
	}
	var out []string
	seen := make(map[string]bool, len(list.Items))
	for i := range list.Items {
		a := &list.Items[i]
		if a.Kind != JSONString {
			return nil, fmt.Errorf("alias not a string: %s", cut(a))
		}
		name := a.Text
		if qualify {
			if err := p.checkName(name[strings.LastIndexByte(name, '.')+1:]); err != nil {
				return nil, err
			}
			if !strings.Contains(name, ".") && space != "" {
				name = space + "." + name
			}
			name = strings.TrimPrefix(name, ".")
		}
		if !seen[name] {
			seen[name] = true
			out = append(out, name)
		}
	}
	return out, nil
}

// maxDefaultDepth bounds the walk through a recursive type's own defaults.
const maxDefaultDepth = 64

// validDefault says whether v is a valid default of type t, by Java's rules (Avro 1.12): for a union, any branch.
func validDefault(t *Type, v *Value, depth int) bool {
	if depth > maxDefaultDepth {
		return false
	}
	switch t.Kind {
	case String, Bytes, Enum, Fixed:
		return v.Kind == JSONString
	case Int, Long:
		bits := 32
		if t.Kind == Long {
			bits = 64
		}
		_, err := strconv.ParseInt(v.Text, 10, bits)
		return v.Kind == JSONInt && err == nil
	case Float, Double:
		return v.Kind == JSONInt || v.Kind == JSONFloat
	case Boolean:
		return v.Kind == JSONTrue || v.Kind == JSONFalse
	case Null:
		return v.Kind == JSONNull
	case Array:
		ok := v.Kind == JSONArray
		for i := 0; ok && i < len(v.Items); i++ {
			ok = validDefault(t.Elem, &v.Items[i], depth+1)
		}
		return ok
	case Map:
		ok := v.Kind == JSONObject
		for i := 0; ok && i < len(v.Members); i++ {
			ok = validDefault(t.Elem, &v.Members[i].Value, depth+1)
		}
		return ok
	case Union:
		for _, b := range t.Branches {
			if validDefault(b, v, depth+1) {
				return true
			}
		}
		return false
	case Record:
		if v.Kind != JSONObject {
			return false
		}
		for _, f := range t.Fields {
			m, given := v.Get(f.Name)
			if !given {
				if !f.HasDefault {
					return false
				}
				continue // the field's own default was checked with the field
			}
			if !validDefault(f.Type, &m, depth+1) {
				return false
			}
		}
		return true
	}
	return false
}
