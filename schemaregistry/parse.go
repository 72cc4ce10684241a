package schemaregistry

import (
	"fmt"
	"slices"
	"sync"

	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// parser parses schemas and keeps what it parsed of stored ones, for the next comparison.
type parser struct {
	limits Limits

	mu      sync.Mutex
	cache   map[*content]*avro.Schema
	deletes int
}

// Limits bound what a request may cost.
type Limits struct {
	// SchemaBytes bounds a schema's text. 0 means 1 MiB.
	SchemaBytes int
	// CacheSize is how many parsed schemas are kept. 0 means 1000.
	CacheSize int
}

// located is a reference with where it is looked up: the context of the schema that has it, and the versions that count there.
type located struct {
	Reference
	context string
	filter  Filter
}

func locate(context string, refs []Reference, f Filter) []located {
	out := make([]located, len(refs))
	for i := range refs {
		out[i] = located{refs[i], context, f}
	}
	return out
}

// resolve returns the texts of the references, each after those that it needs.
func resolve(s *State, context string, refs []Reference, f Filter) ([]string, error) {
	name := func(r located) (string, error) {
		if r.Name == "" || r.Version == 0 || r.Version < Latest {
			return "", fmt.Errorf("The reference has no name, subject or version: %s", r.Reference) //nolint:staticcheck // the API's text
		}
		return r.Name, nil
	}
	return avro.Follow(locate(context, refs, f), name, func(r located) (string, []located, error) {
		q := qualified{context: r.context}.in(r.Subject)
		v := s.find(q.String(), r.Version, r.filter)
		if v == nil {
			return "", nil, fmt.Errorf("No schema reference found for subject \"%s\" and version %d", r.Subject, r.Version) //nolint:staticcheck // the API's text
		}
		// What was registered once stays readable, whatever was soft-deleted since.
		return v.content.text, locate(q.context, v.content.refs, WithDeleted), nil
	})
}

// numbered returns the references with latest versions replaced by their numbers.
func numbered(s *State, context string, refs []Reference) ([]Reference, error) {
	out := slices.Clone(refs)
	for i := range out {
		q := qualified{context: context}.in(out[i].Subject)
		if out[i].Subject = normalSubject(out[i].Subject); out[i].Version != Latest {
			continue
		}
		v := s.find(q.String(), Latest, Live)
		if v == nil {
			return nil, fmt.Errorf("No schema reference found for subject \"%s\" and version %d", out[i].Subject, Latest) //nolint:staticcheck // the API's text
		}
		out[i].Version = v.number
	}
	return out, nil
}

// checkType refuses the schema types that the registry does not have.
func checkType(kind string) error {
	if kind == "" || kind == TypeAvro {
		return nil
	}
	if kind == "JSON" || kind == "PROTOBUF" {
		return errorf(42201, "Invalid schema type %s: this registry supports AVRO only", kind)
	}
	return errorf(42201, "Invalid schema type %s", kind)
}

// request parses the schema of a request. strict is for schemas that are new.
func (p *parser) request(s *State, context string, text string, refs []Reference, strict bool) (*avro.Schema, error) {
	f := WithDeleted
	if strict {
		f = Live
	}
	texts, err := resolve(s, context, refs, f)
	if err != nil {
		return nil, errInvalidSchema(err)
	}
	if len(text) > p.limits.SchemaBytes {
		return nil, errorf(42209, "Register operation failed because schema is too large")
	}
	parsed, err := avro.Parse(text, avro.Options{Strict: strict, References: texts, MaxBytes: p.limits.SchemaBytes})
	if err != nil {
		return nil, errInvalidSchema(err)
	}
	return parsed, nil
}

// stored parses the schema of a version.
func (p *parser) stored(s *State, v *version) (*avro.Schema, error) {
	p.mu.Lock()
	if p.deletes != s.deletes { // a reference may mean another schema now
		clear(p.cache)
		p.deletes = s.deletes
	}
	parsed := p.cache[v.content]
	p.mu.Unlock()
	if parsed != nil {
		return parsed, nil
	}
	if v.content.kind != TypeAvro {
		return nil, errorf(42201, "Schema %d is of type %s: this registry supports AVRO only", v.id, v.content.kind)
	}
	texts, err := resolve(s, qualify(v.subject).context, v.content.refs, WithDeleted)
	if err == nil {
		// What is stored may be as large as a record, whatever is accepted today.
		parsed, err = avro.Parse(v.content.text, avro.Options{References: texts, MaxBytes: max(p.limits.SchemaBytes, 16<<20)})
	}
	if err != nil {
		return nil, fmt.Errorf("stored schema of subject %q version %d: %w", v.subject, v.number, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.cache) >= p.limits.CacheSize {
		for c := range p.cache { // any of them
			delete(p.cache, c)
			break
		}
	}
	p.cache[v.content] = parsed
	return parsed, nil
}

func newParser(l Limits) *parser {
	if l.SchemaBytes <= 0 {
		l.SchemaBytes = avro.DefaultMaxBytes
	}
	if l.CacheSize <= 0 {
		l.CacheSize = 1000
	}
	return &parser{limits: l, cache: map[*content]*avro.Schema{}}
}
