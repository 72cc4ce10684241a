package transforms

import (
	"errors"
	"fmt"
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

var extractFieldDef = configdef.NewDef(
	configdef.Key{Name: "field", Type: configdef.String, Required: true, Importance: configdef.Medium, Doc: "Field name to extract."},
	keyReplaceNull,
	configdef.Key{Name: "field.syntax.version", Type: configdef.String, Default: "V1", Importance: configdef.High, Check: configdef.OneOf(true, "V1", "V2"),
		Doc: "Defines the version of the syntax to access fields. If set to V1, then the field paths are limited to access the elements at the root level of the struct or map. " +
			"If set to V2, the syntax will support accessing nested elements. To access nested elements, dotted notation is used. If dots are already included in the field name, " +
			"then backtick pairs can be used to wrap field names containing dots. E.g. to access the subfield baz from a field named \"foo.bar\" in a struct/map " +
			"the following format can be used to access its elements: \"`foo.bar`.baz\"."},
)

// parsePath cuts a path into its steps: at dots, but for names in backticks.
func parsePath(path string) ([]string, error) {
	incomplete := func(at int) error {
		return fmt.Errorf("Incomplete backtick pair in path: [%s], consider adding a backslash before backtick at position %d to escape it", path, at) //nolint:staticcheck // Kafka's text
	}
	var steps []string
	i := 0
	for i < len(path) {
		if path[i] != '`' {
			dot := strings.IndexByte(path[i:], '.')
			if dot < 0 {
				steps = append(steps, path[i:])
				break
			}
			steps = append(steps, path[i:i+dot])
			i += dot + 1
			continue
		}
		open := i
		i++
		var name strings.Builder
		start := i
		for {
			end := strings.IndexByte(path[i:], '`')
			if end < 0 {
				return nil, incomplete(open)
			}
			i += end
			escaped := path[i-1] == '\\'
			if i == len(path)-1 {
				if escaped {
					return nil, incomplete(open)
				}
				name.WriteString(path[start:i])
				i++
				break
			}
			if path[i+1] != '.' { // part of the name
				i++
				continue
			}
			if escaped {
				name.WriteString(path[start : i-1])
				name.WriteByte('`')
				i++
				start = i
				continue
			}
			name.WriteString(path[start:i])
			i += 2
			break
		}
		steps = append(steps, name.String())
	}
	if strings.HasSuffix(path, ".") || len(steps) == 0 {
		steps = append(steps, "")
	}
	return steps, nil
}

// extractField puts a field in the place of the whole.
type extractField struct {
	side        side
	path        string
	steps       []string
	replaceNull bool
	plans       plans[extractPlan]
}

// extractPlan is where the field is: the index at each step.
type extractPlan struct {
	schema *data.Schema
	index  []int
}

func (t *extractField) Configure(cfg configdef.Values) (err error) {
	t.path, t.replaceNull = cfg.Str("field"), cfg.Bool("replace.null.with.default")
	t.steps = []string{t.path}
	if strings.EqualFold(cfg.Str("field.syntax.version"), "V2") {
		t.steps, err = parsePath(t.path)
	}
	return err
}

var errUnknownField = errors.New("Unknown field") //nolint:staticcheck // Kafka's text

func (t *extractField) Apply(r *plugins.Record) (bool, error) {
	schema, v := t.side.get(r)
	if schema == nil {
		for i, step := range t.steps {
			if v.IsNull() {
				break
			}
			purpose := "field extraction"
			if i > 0 {
				purpose = "nested field access"
			}
			entries, err := requireMap(v, purpose)
			if err != nil {
				return false, err
			}
			v, _ = mapGet(entries, step)
		}
		t.side.set(r, nil, v)
		return true, nil
	}
	if !v.IsNull() && v.Type() != data.TypeStruct {
		_, err := requireStruct(v, "field extraction")
		return false, err
	}
	plan, err := t.plans.get(schema, t.derive)
	if err != nil {
		return false, err
	}
	for i, index := range plan.index {
		if v.IsNull() {
			break
		}
		last := i == len(plan.index)-1
		st := v.Struct()
		v = field(st, index, !last || t.replaceNull)
		if !last && !v.IsNull() && v.Type() != data.TypeStruct {
			_, err := requireStruct(v, "nested field access")
			return false, err
		}
	}
	t.side.set(r, plan.schema, v)
	return true, nil
}

func (t *extractField) derive(s *data.Schema) (extractPlan, error) {
	p := extractPlan{schema: s}
	for _, step := range t.steps {
		if p.schema.Type() != data.TypeStruct {
			return p, plugins.Dataf("Cannot look up fields on non-struct type")
		}
		f, ok := p.schema.Field(step)
		if !ok {
			return p, plugins.Dataf("%w: %s", errUnknownField, t.path)
		}
		p.schema = f.Schema
		p.index = append(p.index, f.Index)
	}
	return p, nil
}

func (t *extractField) Close() error { return nil }
