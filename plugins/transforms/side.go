package transforms

import (
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

// side is the part of a record that a transform works on: the $Key or the $Value of its class name.
type side bool

const (
	valueSide side = false
	keySide   side = true
)

func (s side) get(r *plugins.Record) (*data.Schema, data.Value) {
	if s == keySide {
		return r.KeySchema, r.Key
	}
	return r.ValueSchema, r.Value
}

func (s side) set(r *plugins.Record, schema *data.Schema, v data.Value) {
	if s == keySide {
		r.KeySchema, r.Key = schema, v
	} else {
		r.ValueSchema, r.Value = schema, v
	}
}

// javaClass names the Java class that a value would have, for error texts.
func javaClass(v data.Value) string {
	switch v.Type() {
	case data.TypeInvalid:
		return "null"
	case data.TypeInt8:
		return "java.lang.Byte"
	case data.TypeInt16:
		return "java.lang.Short"
	case data.TypeInt32:
		return "java.lang.Integer"
	case data.TypeInt64:
		return "java.lang.Long"
	case data.TypeFloat32:
		return "java.lang.Float"
	case data.TypeFloat64:
		return "java.lang.Double"
	case data.TypeBoolean:
		return "java.lang.Boolean"
	case data.TypeString:
		return "java.lang.String"
	case data.TypeBytes:
		return "[B"
	case data.TypeArray:
		return "java.util.ArrayList"
	case data.TypeMap:
		return "java.util.HashMap"
	default:
		return "org.apache.kafka.connect.data.Struct"
	}
}

func requireMap(v data.Value, purpose string) ([]data.MapEntry, error) {
	if v.Type() != data.TypeMap {
		return nil, plugins.Dataf("Only Map objects supported in absence of schema for [%s], found: %s", purpose, javaClass(v))
	}
	return v.Map(), nil
}

func requireStruct(v data.Value, purpose string) (*data.Struct, error) {
	if v.Type() != data.TypeStruct {
		return nil, plugins.Dataf("Only Struct objects supported for [%s], found: %s", purpose, javaClass(v))
	}
	return v.Struct(), nil
}

// mapGet finds a string key; the last of equal ones counts.
func mapGet(entries []data.MapEntry, key string) (data.Value, bool) {
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].Key.Type() == data.TypeString && entries[i].Key.Str() == key {
			return entries[i].Value, true
		}
	}
	return data.Null, false
}

// mapPut sets a string key in a slice that the caller owns.
func mapPut(entries []data.MapEntry, key string, v data.Value) []data.MapEntry {
	for i := range entries {
		if entries[i].Key.Type() == data.TypeString && entries[i].Key.Str() == key {
			entries[i].Value = v
			return entries
		}
	}
	return append(entries, data.MapEntry{Key: data.String(key), Value: v})
}

// copyMap returns a copy with room for more entries.
func copyMap(entries []data.MapEntry, more int) []data.MapEntry {
	return append(make([]data.MapEntry, 0, len(entries)+more), entries...)
}

// basics starts a struct schema with the name, version, doc and parameters of s, as Connect's SchemaUtil.copySchemaBasics does: what
// comes out is required and has no default.
func basics(s *data.Schema) *data.Builder { return copyBasics(s, data.NewStruct()) }

func copyBasics(s *data.Schema, b *data.Builder) *data.Builder {
	b.Name(s.Name()).Doc(s.Doc())
	if v, ok := s.Version(); ok {
		b.Version(v)
	}
	for _, p := range s.Params() {
		b.Param(p.Key, p.Value)
	}
	return b
}

// addField adds a field, or reports that the name is taken.
func addField(b *data.Builder, names map[string]bool, name string, s *data.Schema) error {
	if names[name] {
		return plugins.Dataf("Cannot create field because of field name duplication %s", name)
	}
	names[name] = true
	b.Field(name, s)
	return nil
}

// field returns field i of a struct, or its default when it is null and withDefault says so.
func field(st *data.Struct, i int, withDefault bool) data.Value {
	v := st.Values[i]
	if v.IsNull() && withDefault {
		v, _ = st.Schema.Fields()[i].Schema.Default()
	}
	return v
}

// copyFields copies all fields of st into dst, which may be longer.
func copyFields(dst []data.Value, st *data.Struct, withDefault bool) {
	copy(dst, st.Values)
	if !withDefault {
		return
	}
	for i := range st.Values {
		if dst[i].IsNull() {
			dst[i], _ = st.Schema.Fields()[i].Schema.Default()
		}
	}
}

// maxPlans bounds the plans that a transform keeps.
const maxPlans = 256

// plans remembers what was derived from a schema: by its address, and by its content for those who make equal schemas anew.
type plans[T any] struct {
	lastSchema *data.Schema
	last       T
	byPointer  map[*data.Schema]T
	byContent  map[uint64]planOf[T]
}

type planOf[T any] struct {
	schema *data.Schema
	plan   T
}

func (p *plans[T]) get(s *data.Schema, derive func(*data.Schema) (T, error)) (T, error) {
	if s == p.lastSchema && s != nil {
		return p.last, nil
	}
	plan, ok := p.byPointer[s]
	if !ok {
		known, have := p.byContent[s.Fingerprint()]
		if have && known.schema.Equal(s) {
			plan = known.plan
		} else {
			var err error
			if plan, err = derive(s); err != nil {
				return plan, err
			}
		}
		if p.byPointer == nil || len(p.byPointer) >= maxPlans {
			p.byPointer, p.byContent = map[*data.Schema]T{}, map[uint64]planOf[T]{}
		}
		p.byPointer[s] = plan
		p.byContent[s.Fingerprint()] = planOf[T]{s, plan}
	}
	p.lastSchema, p.last = s, plan
	return plan, nil
}

// keyReplaceNull is the key that most transforms share.
var keyReplaceNull = configdef.Key{Name: "replace.null.with.default", Type: configdef.Boolean, Default: true, Importance: configdef.Medium,
	Doc: "Whether to replace fields that have a default value and that are null to the default value. When set to true, the default value is used, otherwise null is used."}

func nonEmptyList(v any) string {
	if l, ok := v.([]string); ok && len(l) == 0 {
		return "Empty list"
	}
	return ""
}

func upper(t data.Type) string { return strings.ToUpper(t.String()) }
