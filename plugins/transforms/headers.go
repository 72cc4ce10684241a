package transforms

import (
	"errors"
	"slices"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/converters"
	"github.com/moldau-io/moldau/plugins/data"
)

// withHeader returns the headers with one more; the slice of the record stays as it is.
func withHeaders(have []data.Header, more ...data.Header) []data.Header {
	return append(have[:len(have):len(have)], more...)
}

var dropHeadersDef = configdef.NewDef(
	configdef.Key{Name: "headers", Type: configdef.List, Required: true, Importance: configdef.High, Check: nonEmptyList, Doc: "The name of the headers to be removed."},
)

// dropHeaders removes headers by name.
type dropHeaders struct{ names []string }

func (t *dropHeaders) Configure(cfg configdef.Values) error {
	t.names = cfg.List("headers")
	return nil
}

func (t *dropHeaders) Apply(r *plugins.Record) (bool, error) {
	drop := func(h data.Header) bool { return slices.Contains(t.names, h.Key) }
	if slices.ContainsFunc(r.Headers, drop) {
		r.Headers = slices.DeleteFunc(slices.Clone(r.Headers), drop)
	}
	return true, nil
}

func (t *dropHeaders) Close() error { return nil }

var insertHeaderDef = configdef.NewDef(
	configdef.Key{Name: "header", Type: configdef.String, Required: true, Importance: configdef.High, Doc: "The name of the header."},
	configdef.Key{Name: "value.literal", Type: configdef.String, Required: true, Importance: configdef.High,
		Doc: "The literal value that is to be set as the header value on all records."},
)

// insertHeader adds a header to every record.
type insertHeader struct{ header data.Header }

func (t *insertHeader) Configure(cfg configdef.Values) error {
	t.header.Key = cfg.Str("header")
	t.header.Schema, t.header.Value = converters.ParseValueText(cfg.Str("value.literal"))
	return nil
}

func (t *insertHeader) Apply(r *plugins.Record) (bool, error) {
	r.Headers = withHeaders(r.Headers, t.header)
	return true, nil
}

func (t *insertHeader) Close() error { return nil }

var headerFromDef = configdef.NewDef(
	configdef.Key{Name: "fields", Type: configdef.List, Required: true, Importance: configdef.High, Check: nonEmptyList,
		Doc: "Field names in the record whose values are to be copied or moved to headers."},
	configdef.Key{Name: "headers", Type: configdef.List, Required: true, Importance: configdef.High, Check: nonEmptyList,
		Doc: "Header names, in the same order as the field names listed in the fields configuration property."},
	configdef.Key{Name: "operation", Type: configdef.String, Required: true, Importance: configdef.High, Check: configdef.OneOf(false, "move", "copy"),
		Doc: "Either move if the fields are to be moved to the headers (removed from the key/value), or copy if the fields are to be copied to the headers (retained in the key/value)."},
	keyReplaceNull,
)

// headerFrom copies or moves fields into headers.
type headerFrom struct {
	side        side
	fields      []string
	headers     []string
	operation   string
	replaceNull bool
	plans       plans[*pickPlan]
}

// pickPlan is a struct schema made of some of another's fields.
type pickPlan struct {
	schema *data.Schema
	src    []int
}

func (t *headerFrom) Configure(cfg configdef.Values) error {
	t.fields, t.headers = cfg.List("fields"), cfg.List("headers")
	t.operation, t.replaceNull = cfg.Str("operation"), cfg.Bool("replace.null.with.default")
	if len(t.fields) != len(t.headers) {
		return errors.New("'fields' config must have the same number of elements as 'headers' config.") //nolint:staticcheck // Kafka's text
	}
	return nil
}

func (t *headerFrom) Apply(r *plugins.Record) (bool, error) {
	schema, v := t.side.get(r)
	more := make([]data.Header, len(t.fields))
	if schema == nil {
		entries, err := requireMap(v, "header "+t.operation)
		if err != nil {
			return false, err
		}
		for i, name := range t.fields {
			more[i].Key = t.headers[i]
			more[i].Value, _ = mapGet(entries, name)
		}
		if t.operation == "move" {
			entries = slices.DeleteFunc(slices.Clone(entries), func(e data.MapEntry) bool {
				return e.Key.Type() == data.TypeString && slices.Contains(t.fields, e.Key.Str())
			})
			t.side.set(r, nil, data.Map(entries))
		}
		r.Headers = withHeaders(r.Headers, more...)
		return true, nil
	}
	st, err := requireStruct(v, "header "+t.operation)
	if err != nil {
		return false, err
	}
	for i, name := range t.fields {
		f, ok := schema.Field(name)
		if !ok {
			return false, plugins.Dataf("Field does not exist: %s", name)
		}
		more[i] = data.Header{Key: t.headers[i], Schema: f.Schema, Value: field(st, f.Index, t.replaceNull)}
	}
	if t.operation == "move" {
		plan, err := t.plans.get(schema, t.derive)
		if err != nil {
			return false, err
		}
		t.side.set(r, plan.schema, plan.apply(st, t.replaceNull))
	}
	r.Headers = withHeaders(r.Headers, more...)
	return true, nil
}

func (t *headerFrom) derive(s *data.Schema) (*pickPlan, error) {
	b := basics(s)
	p := &pickPlan{}
	for _, f := range s.Fields() {
		if !slices.Contains(t.fields, f.Name) {
			b.Field(f.Name, f.Schema)
			p.src = append(p.src, f.Index)
		}
	}
	p.schema = b.Build()
	return p, nil
}

func (p *pickPlan) apply(st *data.Struct, withDefault bool) data.Value {
	out := &data.Struct{Schema: p.schema, Values: make([]data.Value, len(p.src))}
	for i, src := range p.src {
		out.Values[i] = field(st, src, withDefault)
	}
	return data.StructOf(out)
}

func (t *headerFrom) Close() error { return nil }
