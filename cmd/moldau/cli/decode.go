package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/linkedin/goavro/v2"

	"github.com/moldau-io/moldau/schemaregistry/avro"
	"github.com/moldau-io/moldau/schemaregistry/client"
)

// decoder shows bytes as people read them. Schemas are asked of the registry once.
type decoder struct {
	url     string
	timeout time.Duration
	reg     *client.Client
	codecs  map[uint32]*avroCodec
}

// avroCodec is a schema twice: to decode by, and for the order of the fields, which the decoder's JSON does not keep.
type avroCodec struct {
	codec *goavro.Codec
	root  *avro.Type
}

func (a *app) registryURL(flag string) string {
	for _, s := range []string{flag, a.env(envSchemas)} {
		if s != "" {
			return s
		}
	}
	return "http://127.0.0.1:8081"
}

// avro returns the JSON of a value that the registry's Avro serializer wrote.
func (d *decoder) avro(b []byte) ([]byte, error) {
	id, rest, err := wireHeader(b)
	if err != nil {
		return nil, err
	}
	c := d.codecs[id]
	if c == nil {
		if d.reg == nil {
			if d.reg, err = client.New([]string{d.url}, client.Options{Credentials: client.URL, Timeout: d.timeout, Retries: -1}); err != nil {
				return nil, usage(fmt.Errorf("--registry-url: %w", err), "")
			}
			d.codecs = map[uint32]*avroCodec{}
		}
		ctx, cancel := context.WithTimeout(context.Background(), d.timeout)
		defer cancel()
		s, err := d.reg.SchemaByID(ctx, int(id))
		if err != nil {
			return nil, fmt.Errorf("schema %d at %s: %w", id, d.url, err)
		}
		if s.Type != "" && s.Type != "AVRO" {
			return nil, fmt.Errorf("schema %d is of the type %s, not AVRO", id, s.Type)
		}
		longest := len(s.Schema)
		name := func(ref client.Reference) (string, error) { return ref.Name, nil }
		texts, err := avro.Follow(s.References, name, func(ref client.Reference) (string, []client.Reference, error) {
			v, err := d.reg.Version(ctx, ref.Subject, ref.Version)
			if err != nil {
				return "", nil, fmt.Errorf("the schema %s that it refers to, version %d of %s: %w", ref.Name, ref.Version, ref.Subject, err)
			}
			longest = max(longest, len(v.Schema))
			return v.Schema, v.References, nil
		})
		if err != nil {
			return nil, fmt.Errorf("schema %d: %w", id, err)
		}
		parsed, err := avro.Parse(s.Schema, avro.Options{References: texts, MaxBytes: longest})
		if err != nil {
			return nil, fmt.Errorf("schema %d: %w", id, err)
		}
		text := s.Schema
		if len(texts) > 0 {
			text = parsed.Resolved()
		}
		codec, err := goavro.NewCodecForStandardJSONFull(text)
		if err != nil {
			return nil, fmt.Errorf("schema %d: %w", id, err)
		}
		c = &avroCodec{codec, parsed.Root}
		d.codecs[id] = c
	}
	v, _, err := c.codec.NativeFromBinary(rest)
	if err != nil {
		return nil, fmt.Errorf("it is not what schema %d says: %w", id, err)
	}
	text, err := c.codec.TextualFromNative(nil, v)
	if err != nil {
		return nil, fmt.Errorf("a value of schema %d as JSON: %w", id, err)
	}
	return inOrder(nil, c.root, text), nil
}

// inOrder appends the JSON of a value of a type to b, the members of records in the schema's order, those of maps sorted.
func inOrder(b []byte, t *avro.Type, text json.RawMessage) []byte {
	switch t.Kind {
	case avro.Array:
		var items []json.RawMessage
		if json.Unmarshal(text, &items) != nil {
			return append(b, text...)
		}
		b = append(b, '[')
		for i, item := range items {
			if i > 0 {
				b = append(b, ',')
			}
			b = inOrder(b, t.Elem, item)
		}
		return append(b, ']')
	case avro.Record, avro.Map:
		var members map[string]json.RawMessage
		if json.Unmarshal(text, &members) != nil {
			return append(b, text...)
		}
		b = append(b, '{')
		add := func(name string, of *avro.Type) {
			if b[len(b)-1] != '{' {
				b = append(b, ',')
			}
			key, _ := json.Marshal(name) // a text always has a form in JSON
			b = inOrder(append(append(b, key...), ':'), of, members[name])
		}
		if t.Kind == avro.Map {
			for _, name := range slices.Sorted(maps.Keys(members)) {
				add(name, t.Elem)
			}
		} else {
			for _, f := range t.Fields {
				if _, ok := members[f.Name]; ok {
					add(f.Name, f.Type)
				}
			}
		}
		return append(b, '}')
	case avro.Union:
		return inOrder(b, branchOf(t, text), text)
	default:
		return append(b, text...)
	}
}

// branchOf is the branch of a union that a JSON value without its name is most likely of; any that has no parts will do for one that has none.
func branchOf(t *avro.Type, text json.RawMessage) *avro.Type {
	var members map[string]json.RawMessage
	if len(text) > 0 && text[0] == '{' && json.Unmarshal(text, &members) == nil {
		for _, x := range t.Branches {
			if x.Kind == avro.Record && len(x.Fields) == len(members) && !slices.ContainsFunc(x.Fields, func(f *avro.Field) bool { return members[f.Name] == nil }) {
				return x
			}
		}
	}
	for _, x := range t.Branches {
		if len(text) > 0 && (text[0] == '{' && x.Kind == avro.Map || text[0] == '[' && x.Kind == avro.Array) {
			return x
		}
	}
	return &avro.Type{Kind: avro.Null}
}
