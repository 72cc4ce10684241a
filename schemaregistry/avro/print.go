package avro

import (
	"crypto/md5" //nolint:gosec // a fingerprint that Avro defines, not a secret
	"crypto/sha256"
	"encoding/binary"
	"strconv"
)

// Canonical returns the schema as Java's Schema.toString prints it, with the types of references by name. This text is a
// schema's identity in the registry.
func (s *Schema) Canonical() string {
	p := printer{seen: make(map[string]*Type, len(s.external))}
	for name, t := range s.external {
		p.seen[name] = t
	}
	p.typ(s.Root)
	return string(p.buf)
}

// Resolved is Canonical with the types of references written out, so that the text stands alone (format=resolved).
func (s *Schema) Resolved() string { return printType(s.Root) }

func printType(t *Type) string {
	p := printer{seen: map[string]*Type{}}
	p.typ(t)
	return string(p.buf)
}

type printer struct {
	buf   []byte
	seen  map[string]*Type
	space string
}

func (p *printer) raw(s string)    { p.buf = append(p.buf, s...) }
func (p *printer) string(s string) { p.buf = appendString(p.buf, s) }

func (p *printer) member(name, value string) {
	p.raw(`,"` + name + `":`)
	p.string(value)
}

// qualified returns the short form of a full name within namespace space.
func qualified(fullName, space string) string {
	for i := len(fullName) - 1; i >= 0; i-- {
		if fullName[i] == '.' {
			if _, primitive := primitives[fullName[i+1:]]; fullName[:i] == space && !primitive {
				return fullName[i+1:]
			}
			break
		}
	}
	return fullName
}

func (p *printer) typ(t *Type) {
	switch t.Kind {
	case Record, Enum, Fixed:
		p.named(t)
	case Array:
		p.raw(`{"type":"array","items":`)
		p.typ(t.Elem)
		p.props(t.Props)
		p.raw("}")
	case Map:
		p.raw(`{"type":"map","values":`)
		p.typ(t.Elem)
		p.props(t.Props)
		p.raw("}")
	case Union:
		p.raw("[")
		for i, b := range t.Branches {
			if i > 0 {
				p.raw(",")
			}
			p.typ(b)
		}
		p.raw("]")
	default:
		if len(t.Props) == 0 {
			p.string(t.Kind.String())
			return
		}
		p.raw(`{"type":"` + t.Kind.String() + `"`)
		p.props(t.Props)
		p.raw("}")
	}
}

func (p *printer) named(t *Type) {
	full := t.FullName()
	if p.seen[full] != nil {
		p.string(qualified(full, p.space))
		return
	}
	p.seen[full] = t
	kind := t.Kind.String()
	if t.IsError {
		kind = "error"
	}
	p.raw(`{"type":"` + kind + `"`)
	p.member("name", t.Name)
	if t.Namespace != p.space {
		p.member("namespace", t.Namespace)
	}
	if t.HasDoc {
		p.member("doc", t.Doc)
	}
	switch t.Kind {
	case Record:
		saved := p.space
		p.space = t.Namespace
		p.raw(`,"fields":[`)
		for i, f := range t.Fields {
			if i > 0 {
				p.raw(",")
			}
			p.field(f)
		}
		p.raw("]")
		p.props(t.Props)
		p.aliases(t.Aliases, t.Namespace)
		p.space = saved
	case Enum:
		p.raw(`,"symbols":[`)
		for i, s := range t.Symbols {
			if i > 0 {
				p.raw(",")
			}
			p.string(s)
		}
		p.raw("]")
		if t.HasDefault {
			p.member("default", t.Default)
		}
		p.props(t.Props)
		p.aliases(t.Aliases, t.Namespace)
	case Fixed:
		p.raw(`,"size":` + strconv.Itoa(t.Size))
		p.props(t.Props)
		p.aliases(t.Aliases, t.Namespace)
	}
	p.raw("}")
}

func (p *printer) field(f *Field) {
	p.raw(`{"name":`)
	p.string(f.Name)
	p.raw(`,"type":`)
	p.typ(f.Type)
	if f.HasDoc {
		p.member("doc", f.Doc)
	}
	if f.HasDefault {
		p.raw(`,"default":`)
		p.buf = f.Default.append(p.buf)
	}
	if f.Order != "ascending" {
		p.member("order", f.Order)
	}
	if len(f.Aliases) > 0 {
		p.raw(`,"aliases":[`)
		for i, a := range f.Aliases {
			if i > 0 {
				p.raw(",")
			}
			p.string(a)
		}
		p.raw("]")
	}
	p.props(f.Props)
	p.raw("}")
}

func (p *printer) props(props []Prop) {
	for i := range props {
		p.raw(",")
		p.string(props[i].Name)
		p.raw(":")
		p.buf = props[i].Value.append(p.buf)
	}
}

func (p *printer) aliases(names []string, space string) {
	if len(names) == 0 {
		return
	}
	p.raw(`,"aliases":[`)
	for i, a := range names {
		if i > 0 {
			p.raw(",")
		}
		p.string(qualified(a, space))
	}
	p.raw("]")
}

// ParsingForm returns Avro's Parsing Canonical Form: what matters to a reader of data, with all names in full.
func (s *Schema) ParsingForm() string {
	return string(parsingForm(nil, s.Root, map[*Type]bool{}))
}

func parsingForm(b []byte, t *Type, seen map[*Type]bool) []byte {
	switch t.Kind {
	case Union:
		b = append(b, '[')
		for i, branch := range t.Branches {
			if i > 0 {
				b = append(b, ',')
			}
			b = parsingForm(b, branch, seen)
		}
		return append(b, ']')
	case Array:
		b = append(b, `{"type":"array","items":`...)
		return append(parsingForm(b, t.Elem, seen), '}')
	case Map:
		b = append(b, `{"type":"map","values":`...)
		return append(parsingForm(b, t.Elem, seen), '}')
	case Record, Enum, Fixed:
		if seen[t] {
			return appendString(b, t.FullName())
		}
		seen[t] = true
		b = append(b, `{"name":`...)
		b = appendString(b, t.FullName())
		b = append(b, `,"type":"`+t.Kind.String()+`"`...)
		switch t.Kind {
		case Enum:
			b = append(b, `,"symbols":[`...)
			for i, s := range t.Symbols {
				if i > 0 {
					b = append(b, ',')
				}
				b = appendString(b, s)
			}
			b = append(b, ']')
		case Fixed:
			b = append(b, `,"size":`+strconv.Itoa(t.Size)...)
		case Record:
			b = append(b, `,"fields":[`...)
			for i, f := range t.Fields {
				if i > 0 {
					b = append(b, ',')
				}
				b = append(b, `{"name":`...)
				b = appendString(b, f.Name)
				b = append(b, `,"type":`...)
				b = append(parsingForm(b, f.Type, seen), '}')
			}
			b = append(b, ']')
		}
		return append(b, '}')
	}
	return appendString(b, t.Kind.String())
}

// Rabin returns the CRC-64-AVRO fingerprint of the Parsing Canonical Form.
func (s *Schema) Rabin() uint64 {
	fp := rabinEmpty
	for _, c := range []byte(s.ParsingForm()) {
		fp = fp>>8 ^ rabinTable[byte(fp)^c]
	}
	return fp
}

const rabinEmpty uint64 = 0xc15d213aa4d7a795

var rabinTable = func() (table [256]uint64) {
	for i := range table {
		fp := uint64(i)
		for range 8 {
			fp = fp>>1 ^ rabinEmpty&-(fp&1)
		}
		table[i] = fp
	}
	return table
}()

// SingleObjectMarker returns the ten bytes that start Avro's single-object encoding of data of this schema.
func (s *Schema) SingleObjectMarker() [10]byte {
	m := [10]byte{0xc3, 0x01}
	binary.LittleEndian.PutUint64(m[2:], s.Rabin())
	return m
}

// MD5 returns the MD5 fingerprint of the Parsing Canonical Form.
func (s *Schema) MD5() [16]byte { return md5.Sum([]byte(s.ParsingForm())) } //nolint:gosec // defined by Avro

// SHA256 returns the SHA-256 fingerprint of the Parsing Canonical Form.
func (s *Schema) SHA256() [32]byte { return sha256.Sum256([]byte(s.ParsingForm())) }
