package wire

import "fmt"

//go:generate go run ./internal/schemagen schema_gen.go

// field is one field of a request: where it stands, in which versions, and its shape.
type field struct {
	name      string
	min, max  int16
	kind      kind
	size      int     // of kindFixed
	fields    []field // of the structs, or the one element of an array of something else
	ofStructs bool    // an array of structs, each of which ends in tagged fields in flexible versions
}

type kind uint8

const (
	kindFixed kind = iota
	kindString
	kindBytes
	kindArray
	kindStruct
	kindNullableStruct
)

// Check walks the body of a request without decoding it and refuses what kmsg would swallow whole: an array whose elements
// cannot fit in what is left (kmsg allocates them first), and a count of tagged fields that cannot be true (kmsg
// counts it down). After Check, decoding costs memory in proportion to the body's size, within the factor
// between an element's size in memory and its smallest encoding.
func Check(key, version int16, body []byte) error {
	api, ok := Lookup(key)
	if !ok || int(key) >= len(schemas) {
		return fmt.Errorf("api key %d is not served", key)
	}
	flexible := version >= api.Flexible
	r := reader{src: body}
	if at := checkFields(&r, schemas[key], version, flexible); r.err != nil {
		return fmt.Errorf("field %s: %w", at, r.err)
	}
	if r.tags(flexible, nil); r.err != nil {
		return fmt.Errorf("tagged fields: %w", r.err)
	}
	return nil
}

// checkFields walks the fields of one struct, without its tagged fields, and names the one that failed.
func checkFields(r *reader, fields []field, version int16, flexible bool) (failed string) {
	for i := range fields {
		f := &fields[i]
		if version < f.min || version > f.max {
			continue
		}
		if checkField(r, f, version, flexible); r.err != nil {
			return f.name
		}
	}
	return ""
}

func checkField(r *reader, f *field, version int16, flexible bool) {
	switch f.kind {
	case kindFixed:
		r.span(f.size)
	case kindString:
		r.str(flexible)
	case kindBytes:
		r.bytes(flexible)
	case kindStruct:
		checkFields(r, f.fields, version, flexible)
		r.tags(flexible, nil)
	case kindNullableStruct:
		if r.int8() < 0 {
			return
		}
		checkFields(r, f.fields, version, flexible)
		r.tags(flexible, nil)
	case kindArray:
		n := r.array(flexible, f.minSize(version, flexible))
		for ; n > 0 && r.err == nil; n-- {
			checkFields(r, f.fields, version, flexible)
			if f.ofStructs {
				r.tags(flexible, nil)
			}
		}
	}
}

// minSize is the smallest encoding of an element of an array field.
func (f *field) minSize(version int16, flexible bool) int {
	n := 0
	for i := range f.fields {
		e := &f.fields[i]
		if version < e.min || version > e.max {
			continue
		}
		switch e.kind {
		case kindFixed:
			n += e.size
		case kindString:
			n += pick(flexible, 1, 2)
		case kindBytes, kindArray:
			n += pick(flexible, 1, 4)
		case kindNullableStruct:
			n++
		case kindStruct:
			n += e.minSize(version, flexible) + pick(flexible, 1, 0)
		}
	}
	if f.ofStructs && flexible {
		n++
	}
	return max(n, 1)
}

func pick(flexible bool, yes, no int) int {
	if flexible {
		return yes
	}
	return no
}
