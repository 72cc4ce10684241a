package transforms

import (
	"fmt"
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

var replaceFieldDef = configdef.NewDef(
	configdef.Key{Name: "exclude", Type: configdef.List, Default: "", Importance: configdef.Medium, Doc: "Fields to exclude. This takes precedence over the fields to include."},
	configdef.Key{Name: "include", Type: configdef.List, Default: "", Importance: configdef.Medium, Doc: "Fields to include. If specified, only these fields will be used."},
	configdef.Key{Name: "renames", Type: configdef.List, Default: "", Importance: configdef.Medium, Doc: "Field rename mappings.", Check: func(v any) string {
		l, _ := v.([]string)
		if _, err := renameMappings(l); err != nil {
			return err.Error()
		}
		return ""
	}},
	keyReplaceNull,
)

func renameMappings(list []string) (map[string]string, error) {
	m := make(map[string]string, len(list))
	for _, s := range list {
		from, to, ok := strings.Cut(s, ":")
		if !ok || to == "" || strings.Contains(to, ":") {
			return nil, fmt.Errorf("Invalid rename mapping: %s", s) //nolint:staticcheck // Kafka's text
		}
		m[from] = to
	}
	return m, nil
}

// replaceField drops, keeps and renames fields.
type replaceField struct {
	side             side
	exclude, include map[string]bool
	renames          map[string]string
	replaceNull      bool
	plans            plans[*pickPlan]
}

func set(list []string) map[string]bool {
	m := make(map[string]bool, len(list))
	for _, s := range list {
		m[s] = true
	}
	return m
}

func (t *replaceField) Configure(cfg configdef.Values) (err error) {
	t.exclude, t.include = set(cfg.List("exclude")), set(cfg.List("include"))
	t.replaceNull = cfg.Bool("replace.null.with.default")
	t.renames, err = renameMappings(cfg.List("renames"))
	return err
}

// name returns the new name of a field; keep is false when it goes.
func (t *replaceField) name(field string) (name string, keep bool) {
	if t.exclude[field] || len(t.include) > 0 && !t.include[field] {
		return "", false
	}
	if to, ok := t.renames[field]; ok {
		return to, true
	}
	return field, true
}

func (t *replaceField) Apply(r *plugins.Record) (bool, error) {
	schema, v := t.side.get(r)
	if v.IsNull() {
		return true, nil
	}
	if schema == nil {
		entries, err := requireMap(v, "field replacement")
		if err != nil {
			return false, err
		}
		out := make([]data.MapEntry, 0, len(entries))
		for _, e := range entries {
			if e.Key.Type() != data.TypeString {
				out = append(out, e)
			} else if name, keep := t.name(e.Key.Str()); keep {
				out = mapPut(out, name, e.Value)
			}
		}
		t.side.set(r, nil, data.Map(out))
		return true, nil
	}
	st, err := requireStruct(v, "field replacement")
	if err != nil {
		return false, err
	}
	plan, err := t.plans.get(st.Schema, t.derive)
	if err != nil {
		return false, err
	}
	t.side.set(r, plan.schema, plan.apply(st, t.replaceNull))
	return true, nil
}

func (t *replaceField) derive(s *data.Schema) (*pickPlan, error) {
	b, names, p := basics(s), map[string]bool{}, &pickPlan{}
	for _, f := range s.Fields() {
		name, keep := t.name(f.Name)
		if !keep {
			continue
		}
		if err := addField(b, names, name, f.Schema); err != nil {
			return nil, err
		}
		p.src = append(p.src, f.Index)
	}
	p.schema = b.Build()
	return p, nil
}

func (t *replaceField) Close() error { return nil }

var valueToKeyDef = configdef.NewDef(
	configdef.Key{Name: "fields", Type: configdef.List, Required: true, Importance: configdef.High, Check: nonEmptyList,
		Doc: "Field names on the record value to extract as the record key."},
	keyReplaceNull,
)

// valueToKey makes the key of fields of the value.
type valueToKey struct {
	fields      []string
	replaceNull bool
	plans       plans[*pickPlan]
}

func (t *valueToKey) Configure(cfg configdef.Values) error {
	t.fields, t.replaceNull = cfg.List("fields"), cfg.Bool("replace.null.with.default")
	return nil
}

func (t *valueToKey) Apply(r *plugins.Record) (bool, error) {
	const purpose = "copying fields from value to key"
	if r.ValueSchema == nil {
		entries, err := requireMap(r.Value, purpose)
		if err != nil {
			return false, err
		}
		key := make([]data.MapEntry, 0, len(t.fields))
		for _, name := range t.fields {
			v, _ := mapGet(entries, name)
			key = mapPut(key, name, v)
		}
		r.KeySchema, r.Key = nil, data.Map(key)
		return true, nil
	}
	st, err := requireStruct(r.Value, purpose)
	if err != nil {
		return false, err
	}
	plan, err := t.plans.get(st.Schema, t.derive)
	if err != nil {
		return false, err
	}
	r.KeySchema, r.Key = plan.schema, plan.apply(st, t.replaceNull)
	return true, nil
}

func (t *valueToKey) derive(s *data.Schema) (*pickPlan, error) {
	b, names, p := data.NewStruct(), map[string]bool{}, &pickPlan{}
	for _, name := range t.fields {
		f, ok := s.Field(name)
		if !ok {
			return nil, plugins.Dataf("Field does not exist: %s", name)
		}
		if err := addField(b, names, name, f.Schema); err != nil {
			return nil, err
		}
		p.src = append(p.src, f.Index)
	}
	p.schema = b.Build()
	return p, nil
}

func (t *valueToKey) Close() error { return nil }

var hoistFieldDef = configdef.NewDef(
	configdef.Key{Name: "field", Type: configdef.String, Required: true, Importance: configdef.Medium,
		Doc: "Field name for the single field that will be created in the resulting Struct or Map."},
)

// hoistField wraps the whole in a struct or map of one field.
type hoistField struct {
	side  side
	name  string
	plans plans[*data.Schema]
}

func (t *hoistField) Configure(cfg configdef.Values) error {
	t.name = cfg.Str("field")
	return nil
}

func (t *hoistField) Apply(r *plugins.Record) (bool, error) {
	schema, v := t.side.get(r)
	if schema == nil {
		t.side.set(r, nil, data.Map([]data.MapEntry{{Key: data.String(t.name), Value: v}}))
		return true, nil
	}
	to, err := t.plans.get(schema, func(s *data.Schema) (*data.Schema, error) {
		return data.NewStruct().Field(t.name, s).Build(), nil
	})
	if err != nil {
		return false, err
	}
	t.side.set(r, to, data.StructOf(&data.Struct{Schema: to, Values: []data.Value{v}}))
	return true, nil
}

func (t *hoistField) Close() error { return nil }
