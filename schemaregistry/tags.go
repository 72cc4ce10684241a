package schemaregistry

import (
	"slices"

	"github.com/moldau-io/moldau/schemaregistry/api"
	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// tagsProperty is the attribute of records and fields that holds their tags.
const tagsProperty = "confluent:tags"

// FindTags returns the records and fields of a schema that have one of the tags, or with "*" any tag, in the order of the schema, with all
// their tags.
func (r *Registry) FindTags(sc Schema, wanted []string) ([]api.SchemaTags, error) {
	var parsed *avro.Schema
	err := r.view(func(s *State) (err error) {
		parsed, err = formatted(s, sc)
		return err
	})
	if err != nil {
		return nil, err
	}
	f := tagFinder{wanted: wanted, seen: map[*avro.Type]bool{}}
	f.walk(parsed.Root)
	return f.found, nil
}

type tagFinder struct {
	wanted []string
	seen   map[*avro.Type]bool
	found  []api.SchemaTags
}

func (f *tagFinder) walk(t *avro.Type) {
	switch t.Kind {
	case avro.Union:
		for _, b := range t.Branches {
			f.walk(b)
		}
	case avro.Array, avro.Map:
		f.walk(t.Elem)
	case avro.Record:
		if f.seen[t] {
			return
		}
		f.seen[t] = true
		name := t.FullName()
		f.add(api.SchemaEntity{Path: name, Type: api.EntityRecord}, t.Props)
		for _, field := range t.Fields {
			f.add(api.SchemaEntity{Path: name + "." + field.Name, Type: api.EntityField}, field.Props)
			f.walk(field.Type)
		}
	default: // no other type has parts
	}
}

func (f *tagFinder) add(e api.SchemaEntity, props []avro.Prop) {
	for i := range props {
		if props[i].Name != tagsProperty || props[i].Value.Kind != avro.JSONArray {
			continue
		}
		var tags []string
		hit := slices.Contains(f.wanted, "*")
		for _, v := range props[i].Value.Items {
			if v.Kind != avro.JSONString || slices.Contains(tags, v.Text) {
				continue
			}
			tags = append(tags, v.Text)
			hit = hit || slices.Contains(f.wanted, v.Text)
		}
		if hit && len(tags) > 0 {
			f.found = append(f.found, api.SchemaTags{Entity: e, Tags: tags})
		}
	}
}

// QualifyReferences returns the references of a schema with the context of their subjects written out, as a client wants them that reads a
// schema of another context than the default one.
func (*Registry) QualifyReferences(subject string, refs []Reference) []Reference {
	q := qualify(subject)
	if q.context == defaultContext {
		return refs
	}
	out := slices.Clone(refs)
	for i := range out {
		out[i].Subject = q.in(out[i].Subject).String()
	}
	return out
}

// hasRuleType says whether one of the rules is of a type.
func hasRuleType(s *RuleSet, kind string) bool {
	is := func(r Rule) bool { return r.Type == kind }
	return s != nil && (slices.ContainsFunc(s.DomainRules, is) || slices.ContainsFunc(s.MigrationRules, is) || slices.ContainsFunc(s.EncodingRules, is))
}
