package transforms

import (
	"fmt"
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/plugins/javaregex"
)

var byLogicalTableDef = configdef.NewDef(
	configdef.Key{Name: "topic.regex", Type: configdef.String, Required: true, Importance: configdef.Low, Width: configdef.WidthLong, Display: "Topic regex", Check: javaregex.Check,
		Doc: "The regex used for extracting the name of the logical table from the original topic name."},
	configdef.Key{Name: "topic.replacement", Type: configdef.String, Required: true, Importance: configdef.Low, Width: configdef.WidthLong, Display: "Topic replacement",
		Doc: "The replacement string used in conjunction with topic.regex. This will be used to create the new topic name."},
	configdef.Key{Name: "key.enforce.uniqueness", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Width: configdef.WidthShort, Display: "Add source topic name into key",
		Doc: "Augment each record's key with a field denoting the source topic. This field distinguishes records coming from different physical tables which may otherwise have " +
			"primary/unique key conflicts. If the source tables are guaranteed to have globally unique keys then this may be set to false to disable key rewriting."},
	configdef.Key{Name: "key.field.regex", Type: configdef.String, Importance: configdef.Low, Width: configdef.WidthLong, Display: "Key field regex", Check: javaregex.Check,
		Doc: "The regex used for extracting the physical table identifier from the original topic name."},
	configdef.Key{Name: "key.field.name", Type: configdef.String, Default: "__dbz__physicalTableIdentifier", Importance: configdef.Low, Width: configdef.WidthLong, Display: "Key field name",
		Doc: "Each record's key schema will be augmented with this field name. The purpose of this field is to distinguish the different physical tables that can now share a single topic."},
	configdef.Key{Name: "key.field.replacement", Type: configdef.String, Importance: configdef.Low, Width: configdef.WidthLong, Display: "Key field replacement",
		Doc: "The replacement string used in conjunction with key.field.regex. This will be used to create the physical table identifier in the record's key."},
	configdef.Key{Name: "schema.name.adjustment.mode", Type: configdef.String, Default: "none", Importance: configdef.Low, Width: configdef.WidthMedium, Display: "Schema Name Adjustment",
		Check: configdef.OneOf(true, "none", "avro", "avro_unicode"),
		Doc:   "Specify how the message key schema names derived from the resulting topic name should be adjusted for compatibility with the message converter used by the connector."},
	configdef.Key{Name: "logical.table.cache.size", Aliases: []string{"logical.destination.cache.size"}, Type: configdef.Int, Default: 16, Importance: configdef.Low, Width: configdef.WidthLong,
		Display: "Logical table cache size", Check: configdef.AtLeast(1),
		Doc: "The size used for holding the max entries in LRUCache."},
).CrossCheck(func(v configdef.Values, r *configdef.Result) {
	if strings.TrimSpace(v.Str("key.field.regex")) != "" && strings.TrimSpace(v.Str("key.field.replacement")) == "" {
		r.Error("key.field.replacement", "The 'key.field.replacement' value is invalid: key.field.replacement must be non-empty if key.field.regex is set.")
	}
})

// byLogicalTable sends the change events of several tables to one topic, and tells their keys apart.
type byLogicalTable struct {
	topic, keyField rewriter
	unique          bool
	fieldName       string
	adjust          string
	size            int
	keys            map[routeKey]*data.Schema
	envelopes       map[routeKey]*routedEnvelope
}

type routeKey struct {
	schema *data.Schema
	topic  string
}

// routedEnvelope is the schema of an envelope under the new topic's name, and of its rows.
type routedEnvelope struct{ envelope, row *data.Schema }

// rewriter renames what matches a pattern as a whole, and remembers it.
type rewriter struct {
	regex *javaregex.Regexp
	with  javaregex.Replacement
	known map[string]renamed
}

type renamed struct {
	to      string
	matched bool
}

func newRewriter(pattern, with string) (w rewriter, err error) {
	if w.regex, err = javaregex.Compile(pattern); err != nil {
		return w, err
	}
	w.with, err = w.regex.Replacement(with)
	return w, err
}

func (w *rewriter) rename(name string) (renamed, error) {
	if r, ok := w.known[name]; ok {
		return r, nil
	}
	matched, err := w.regex.Matches(name)
	if err != nil {
		return renamed{}, err
	}
	r := renamed{name, matched}
	if matched {
		if r.to, err = w.regex.ReplaceFirst(name, w.with); err != nil {
			return renamed{}, err
		}
	}
	if w.known == nil || len(w.known) >= maxPlans {
		w.known = map[string]renamed{}
	}
	w.known[name] = r
	return r, nil
}

func (t *byLogicalTable) Configure(cfg configdef.Values) (err error) {
	if t.topic, err = newRewriter(cfg.Str("topic.regex"), cfg.Str("topic.replacement")); err != nil {
		return err
	}
	if p := strings.TrimSpace(cfg.Str("key.field.regex")); p != "" {
		if t.keyField, err = newRewriter(p, cfg.Str("key.field.replacement")); err != nil {
			return err
		}
	}
	t.unique, t.fieldName = cfg.Bool("key.enforce.uniqueness"), cfg.Str("key.field.name")
	t.adjust = strings.ToLower(cfg.Str("schema.name.adjustment.mode"))
	t.size = int(cfg.Int("logical.table.cache.size"))
	t.keys, t.envelopes = map[routeKey]*data.Schema{}, map[routeKey]*routedEnvelope{}
	return nil
}

// name adjusts a schema's name to what Avro allows, as far as the mode asks for it.
func (t *byLogicalTable) name(full string) string {
	if t.adjust == "none" {
		return full
	}
	var sb strings.Builder
	for i, r := range full {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		fits := letter || r == '_' || i > 0 && (r == '.' || r >= '0' && r <= '9')
		switch {
		case t.adjust == "avro_unicode" && (!fits || r == '_'):
			fmt.Fprintf(&sb, "_u%04x", r)
		case fits:
			sb.WriteRune(r)
		default:
			sb.WriteByte('_')
		}
	}
	return sb.String()
}

func (t *byLogicalTable) Apply(r *plugins.Record) (bool, error) {
	to, err := t.topic.rename(r.Topic)
	if err != nil || !to.matched || to.to == "" {
		return true, err
	}
	if r.Key.IsNull() {
		r.KeySchema = nil
	} else if err := t.key(r, to.to); err != nil {
		return false, err
	}
	r.Topic = to.to
	if r.Value.IsNull() || r.ValueSchema == nil || !strings.HasSuffix(r.ValueSchema.Name(), ".Envelope") {
		return true, nil
	}
	st, err := requireStruct(r.Value, "Updating schema")
	if err != nil {
		return false, err
	}
	schemas := t.envelope(st.Schema, to.to)
	out := data.NewStructValue(schemas.envelope)
	copyFields(out.Values, st, true)
	for _, name := range []string{"before", "after"} {
		f, ok := st.Schema.Field(name)
		if !ok {
			continue
		}
		if row := st.Values[f.Index].Struct(); row != nil {
			out.Values[f.Index] = data.StructOf(&data.Struct{Schema: schemas.row, Values: row.Values})
		}
	}
	r.ValueSchema, r.Value = schemas.envelope, data.StructOf(out)
	return true, nil
}

func (t *byLogicalTable) key(r *plugins.Record, topic string) error {
	st, err := requireStruct(r.Key, "Updating schema")
	if err != nil {
		return err
	}
	at := routeKey{st.Schema, topic}
	schema := t.keys[at]
	if schema == nil {
		b := data.From(st.Schema).NoDefault().Name(t.name(topic + ".Key"))
		if t.unique {
			if _, taken := st.Schema.Field(t.fieldName); taken {
				return plugins.Dataf("Cannot create field because of field name duplication %s", t.fieldName)
			}
			b.Field(t.fieldName, data.StringSchema)
		}
		schema = b.Build()
		if len(t.keys) >= max(t.size, maxPlans) {
			clear(t.keys)
		}
		t.keys[at] = schema
	}
	out := data.NewStructValue(schema)
	copyFields(out.Values, st, false)
	if t.unique {
		id := r.Topic
		if t.keyField.regex != nil {
			renamed, err := t.keyField.rename(r.Topic)
			if err != nil {
				return err
			}
			id = renamed.to
		}
		out.Values[len(st.Values)] = data.String(id)
	}
	r.KeySchema, r.Key = schema, data.StructOf(out)
	return nil
}

func (t *byLogicalTable) envelope(s *data.Schema, topic string) *routedEnvelope {
	at := routeKey{s, topic}
	if e := t.envelopes[at]; e != nil {
		return e
	}
	e := &routedEnvelope{}
	row, ok := s.Field("before")
	if !ok {
		row, ok = s.Field("after")
	}
	if ok {
		e.row = data.From(row.Schema).NoDefault().Name(t.name(topic + ".Value")).Build()
	}
	b := copyBasics(s, data.NewStruct()).SetOptional(s.Optional()).Name(t.name(topic + ".Envelope"))
	for _, f := range s.Fields() {
		if e.row != nil && (f.Name == "before" || f.Name == "after") {
			b.Field(f.Name, e.row)
		} else {
			b.Field(f.Name, f.Schema)
		}
	}
	e.envelope = b.Build()
	if len(t.envelopes) >= max(t.size, maxPlans) {
		clear(t.envelopes)
	}
	t.envelopes[at] = e
	return e
}

func (t *byLogicalTable) Close() error { return nil }
