package transforms

import (
	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

var flattenDef = configdef.NewDef(
	configdef.Key{Name: "delimiter", Type: configdef.String, Default: ".", Importance: configdef.Medium,
		Doc: "Delimiter to insert between field names from the input record when generating field names for the output record"},
)

// flatten turns nested structs and maps into one level.
type flatten struct {
	side      side
	delimiter string
	plans     plans[flattenPlan]
}

// flattenPlan is the flat schema and, for each of its fields, the way to the value.
type flattenPlan struct {
	schema *data.Schema
	paths  [][]int
}

func (t *flatten) Configure(cfg configdef.Values) error {
	t.delimiter = cfg.Str("delimiter")
	return nil
}

func (t *flatten) name(prefix, field string) string {
	if prefix == "" {
		return field
	}
	return prefix + t.delimiter + field
}

func (t *flatten) Apply(r *plugins.Record) (bool, error) {
	schema, v := t.side.get(r)
	if v.IsNull() {
		return true, nil
	}
	if schema == nil {
		entries, err := requireMap(v, "flattening")
		if err != nil {
			return false, err
		}
		out, err := t.flatMap(nil, "", entries, 0)
		if err != nil {
			return false, err
		}
		t.side.set(r, nil, data.Map(out))
		return true, nil
	}
	if _, err := requireStruct(v, "flattening"); err != nil {
		return false, err
	}
	plan, err := t.plans.get(schema, t.derive)
	if err != nil {
		return false, err
	}
	out := data.NewStructValue(plan.schema)
	for i, path := range plan.paths {
		at := v
		for _, index := range path {
			if at = field(at.Struct(), index, true); at.IsNull() {
				break
			}
		}
		out.Values[i] = at
	}
	t.side.set(r, plan.schema, data.StructOf(out))
	return true, nil
}

// maxFlattenDepth bounds nested maps, which no schema does.
const maxFlattenDepth = 1000

func (t *flatten) flatMap(out []data.MapEntry, prefix string, entries []data.MapEntry, depth int) ([]data.MapEntry, error) {
	if depth > maxFlattenDepth {
		return nil, plugins.Dataf("maps are nested deeper than %d", maxFlattenDepth)
	}
	for _, e := range entries {
		if e.Key.Type() != data.TypeString {
			return nil, plugins.Dataf("Flatten transformation needs maps with string keys, found: %s", javaClass(e.Key))
		}
		name := t.name(prefix, e.Key.Str())
		switch e.Value.Type() {
		case data.TypeMap:
			var err error
			if out, err = t.flatMap(out, name, e.Value.Map(), depth+1); err != nil {
				return nil, err
			}
		case data.TypeStruct:
			return nil, plugins.Dataf("Flatten transformation does not support class %s for record without schemas (for field %s).", javaClass(e.Value), name)
		default:
			out = mapPut(out, name, e.Value)
		}
	}
	return out, nil
}

func (t *flatten) derive(s *data.Schema) (flattenPlan, error) {
	var p flattenPlan
	b := basics(s)
	def, _ := s.Default()
	if err := t.flatSchema(&p, b, map[string]bool{}, s, "", nil, s.Optional(), def.Struct()); err != nil {
		return p, err
	}
	p.schema = b.Build()
	return p, nil
}

// flatSchema adds the fields of s. A field of an optional struct is optional, and a struct's default gives those of its fields.
func (t *flatten) flatSchema(p *flattenPlan, b *data.Builder, names map[string]bool, s *data.Schema, prefix string, path []int, optional bool, parent *data.Struct) error {
	for _, f := range s.Fields() {
		name := t.name(prefix, f.Name)
		optional := optional || f.Schema.Optional()
		def, has := f.Schema.Default()
		if (!has || def.IsNull()) && parent != nil {
			def = field(parent, f.Index, true)
		}
		here := append(path[:len(path):len(path)], f.Index)
		switch f.Schema.Type() {
		case data.TypeStruct:
			if err := t.flatSchema(p, b, names, f.Schema, name, here, optional, def.Struct()); err != nil {
				return err
			}
		case data.TypeMap:
			return plugins.Dataf("Flatten transformation does not support MAP for record with schemas (for field %s).", name)
		default:
			fb := data.From(f.Schema).SetOptional(optional).NoDefault()
			if !def.IsNull() {
				fb.Default(def)
			}
			if err := addField(b, names, name, fb.Build()); err != nil {
				return err
			}
			p.paths = append(p.paths, here)
		}
	}
	return nil
}

func (t *flatten) Close() error { return nil }
