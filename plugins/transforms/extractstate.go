package transforms

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

// The ways to handle deletes and tombstones.
const (
	modeDrop        = "drop"
	modeTombstone   = "tombstone"
	modeRewrite     = "rewrite"
	modeRewriteKeep = "rewrite-with-tombstone"
	modeToTombstone = "delete-to-tombstone"
)

var extractNewRecordStateDef = configdef.NewDef(
	configdef.Key{Name: "delete.tombstone.handling.mode", Type: configdef.String, Default: modeTombstone, Importance: configdef.Medium, Width: configdef.WidthMedium,
		Display: "Handle delete and tombstone records", Check: configdef.OneOf(true, modeDrop, modeTombstone, modeRewrite, modeRewriteKeep, modeToTombstone),
		Doc: "How to handle delete records. Options are: drop - Remove the delete event and tombstone from the stream. " +
			"tombstone (default) - For each delete event, leave only a tombstone in the stream. " +
			"rewrite - Remove tombstone from the record, and add a `__deleted` field with the value `true`. " +
			"rewrite-with-tombstone - Retain tombstone in record and add a `__deleted` field with the value `true`. " +
			"delete-to-tombstone - Convert delete events to tombstone events and drop tombstone events."},
	configdef.Key{Name: "route.by.field", Type: configdef.String, Default: "", Importance: configdef.Low, Width: configdef.WidthLong, Display: "Route by field name",
		Doc: "The column which determines how the events will be routed, the value will replace the topic name."},
	configdef.Key{Name: "add.fields.prefix", Type: configdef.String, Default: "__", Importance: configdef.Low, Width: configdef.WidthShort, Display: "Field prefix to be added to each field.",
		Doc: "Adds this prefix to each field listed."},
	configdef.Key{Name: "add.fields", Type: configdef.List, Default: "", Importance: configdef.Low, Width: configdef.WidthLong, Display: "Adds the specified field(s) to the message if they exist.",
		Check: checkFieldReferences,
		Doc: "Adds each field listed, prefixed with __ (or __<struct>_ if the struct is specified). Example: 'version,connector,source.ts_ms' would add __version, __connector and " +
			"__source_ts_ms fields. Optionally one can also map new field name like version:VERSION,connector:CONNECTOR,source.ts_ms:EVENT_TIMESTAMP." +
			"Please note that the new field name is case-sensitive."},
	configdef.Key{Name: "add.headers.prefix", Type: configdef.String, Default: "__", Importance: configdef.Low, Width: configdef.WidthShort, Display: "Header prefix to be added to each header.",
		Doc: "Adds this prefix listed to each header."},
	configdef.Key{Name: "add.headers", Type: configdef.List, Default: "", Importance: configdef.Low, Width: configdef.WidthLong, Display: "Adds the specified fields to the header if they exist.",
		Check: checkFieldReferences,
		Doc: "Adds each field listed to the header, __ (or __<struct>_ if the struct is specified). Example: 'version,connector,source.ts_ms' would add __version, __connector and " +
			"__source_ts_ms fields. Optionally one can also map new field name like version:VERSION,connector:CONNECTOR,source.ts_ms:EVENT_TIMESTAMP." +
			"Please note that the new field name is case-sensitive."},
	configdef.Key{Name: "drop.fields.header.name", Type: configdef.String, Importance: configdef.Low, Width: configdef.WidthShort,
		Display: "Specifies a header that contains a list of field names to be removed",
		Doc:     "Specifies the name of a header that contains a list of fields to be removed from the event value."},
	configdef.Key{Name: "drop.fields.from.key", Type: configdef.Boolean, Default: false, Importance: configdef.Low, Width: configdef.WidthShort,
		Display: "Specifies whether the fields to be dropped should also be omitted from the key",
		Doc: "Specifies whether to apply the drop fields behavior to the event key as well as the value. " +
			"Default behavior is to only remove fields from the event value, not the key."},
	configdef.Key{Name: "drop.fields.keep.schema.compatible", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Width: configdef.WidthShort,
		Display: "Specifies if fields are dropped, will the event's schemas be compatible",
		Doc: "Controls the output event's schema compatibility when using the drop fields feature. " +
			"`true`: dropped fields are removed if the schema indicates its optional leaving the schemas unchanged, " +
			"`false`: dropped fields are removed from the key/value schemas, regardless of optionality."},
	configdef.Key{Name: "replace.null.with.default", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Width: configdef.WidthShort,
		Display: "replace null field value with default",
		Doc:     "When this option is enabled, null field values are replaced by source-defined defaults when rewriting the record."},
).Unsupported("use delete.tombstone.handling.mode", "drop.tombstones", "delete.handling.mode")

// extractNewRecordState unwraps Debezium's change events: the row after the change becomes the value.
type extractNewRecordState struct {
	mode           string
	routeBy        string
	fields         []fieldReference
	headers        []fieldReference
	dropHeader     string
	dropFromKey    bool
	keepCompatible bool
	replaceNull    bool
	envelopes      plans[*envelopePlan]
	drops          map[dropKey]*pickPlan
}

// fieldReference is a field of the envelope to add to the row or the headers.
type fieldReference struct {
	parent string // the struct that holds it; "": the envelope itself
	field  string
	name   string // of the new field
}

func checkFieldReferences(v any) string {
	l, _ := v.([]string)
	for _, s := range l {
		if _, err := parseFieldReference("", s); err != nil {
			return err.Error()
		}
	}
	return ""
}

func parseFieldReference(prefix, text string) (fieldReference, error) {
	parts := strings.Split(text, ":")
	if len(parts) > 2 || parts[0] == "" || parts[len(parts)-1] == "" {
		return fieldReference{}, fmt.Errorf("Unexpected field name: %s", text) //nolint:staticcheck // Debezium's text
	}
	steps := strings.Split(parts[0], ".")
	var f fieldReference
	if len(steps) == 1 {
		f.field, f.parent = steps[0], parentOf(steps[0])
		f.name = f.field
	} else {
		f.parent, f.field = steps[0], steps[1]
		f.name = f.parent + "_" + f.field
	}
	if len(parts) == 2 {
		f.name = parts[1]
	}
	f.name = prefix + f.name
	return f, nil
}

// parentOf names the struct that holds a field that is given alone.
func parentOf(field string) string {
	switch field {
	case "id", "data_collection_order", "total_order":
		return "transaction"
	case "op", "ts_ms", "ts_us", "ts_ns":
		return ""
	case "updateDescription":
		return "updateDescription"
	default:
		return "source"
	}
}

func (t *extractNewRecordState) Configure(cfg configdef.Values) error {
	t.mode = strings.ToLower(cfg.Str("delete.tombstone.handling.mode"))
	t.routeBy, t.dropHeader = cfg.Str("route.by.field"), cfg.Str("drop.fields.header.name")
	t.dropFromKey, t.keepCompatible = cfg.Bool("drop.fields.from.key"), cfg.Bool("drop.fields.keep.schema.compatible")
	t.replaceNull = cfg.Bool("replace.null.with.default")
	for _, part := range []struct {
		list, prefix string
		to           *[]fieldReference
	}{{"add.fields", "add.fields.prefix", &t.fields}, {"add.headers", "add.headers.prefix", &t.headers}} {
		for _, s := range cfg.List(part.list) {
			f, err := parseFieldReference(cfg.Str(part.prefix), s)
			if err != nil {
				return err
			}
			*part.to = append(*part.to, f)
		}
	}
	return nil
}

// envelopePlan is what was derived from an envelope's schema.
type envelopePlan struct {
	before, after int // index of the fields; -1: none
	headers       []reference
	// What the rows become, by the schema of the row's struct, since before and after may differ.
	rows plans[*rowPlan]
}

// reference is a fieldReference found in a schema.
type reference struct {
	name   string
	schema *data.Schema // optional
	parent int          // index in the envelope; -1: the envelope itself
	field  int
}

// rowPlan is the schema of an unwrapped row: the row's fields, __deleted when rewriting, and the added fields.
type rowPlan struct {
	schema *data.Schema
	added  []reference
}

func (t *extractNewRecordState) isEnvelope(r *plugins.Record) bool {
	return r.ValueSchema != nil && strings.HasSuffix(r.ValueSchema.Name(), ".Envelope")
}

// Apply follows Debezium: tombstones and deletes by the mode, truncates are dropped, what is no envelope passes.
func (t *extractNewRecordState) Apply(r *plugins.Record) (bool, error) {
	if r.Value.IsNull() {
		for _, h := range t.headers {
			if h.field == "op" {
				r.Headers = withHeaders(r.Headers, data.Header{Key: h.name, Schema: data.StringSchema, Value: data.String("d")})
			}
		}
		return t.mode == modeRewriteKeep, nil
	}
	if !t.isEnvelope(r) {
		return true, nil
	}
	envelope, err := requireStruct(r.Value, "source field insertion")
	if err != nil {
		return false, err
	}
	plan, err := t.envelopes.get(envelope.Schema, t.derive)
	if err != nil {
		return false, err
	}
	for i := range plan.headers {
		h := &plan.headers[i]
		r.Headers = withHeaders(r.Headers, data.Header{Key: h.name, Schema: h.schema, Value: h.value(envelope)})
	}
	var before, after data.Value
	if plan.before >= 0 {
		before = envelope.Values[plan.before]
	}
	if plan.after >= 0 {
		after = envelope.Values[plan.after]
	}
	switch {
	case !after.IsNull():
		return true, t.change(r, envelope, plan, after)
	case before.IsNull():
		return false, nil // a truncate
	default:
		return t.delete(r, envelope, plan, before)
	}
}

func (t *extractNewRecordState) rewrites() bool {
	return t.mode == modeRewrite || t.mode == modeRewriteKeep
}

// change makes the row after an insert or update the value.
func (t *extractNewRecordState) change(r *plugins.Record, envelope *data.Struct, plan *envelopePlan, after data.Value) error {
	row, err := requireStruct(after, "source field insertion")
	if err != nil {
		return err
	}
	if err := t.row(r, envelope, plan, row, "false"); err != nil {
		return err
	}
	if t.routeBy != "" {
		if err := t.route(r, row); err != nil {
			return err
		}
	}
	return t.drop(r)
}

// delete handles the deletion of a row.
func (t *extractNewRecordState) delete(r *plugins.Record, envelope *data.Struct, plan *envelopePlan, before data.Value) (bool, error) {
	row, err := requireStruct(before, "Read record to set topic routing for DELETE")
	if err != nil {
		return false, err
	}
	switch t.mode {
	case modeDrop:
		return false, nil
	case modeTombstone:
		r.ValueSchema, r.Value = envelope.Schema.Fields()[plan.after].Schema, data.Null
	case modeToTombstone:
		r.ValueSchema, r.Value = nil, data.Null
	default:
		if err := t.row(r, envelope, plan, row, "true"); err != nil {
			return false, err
		}
	}
	if t.routeBy != "" {
		if err := t.route(r, row); err != nil {
			return false, err
		}
	}
	return true, t.drop(r)
}

func (t *extractNewRecordState) route(r *plugins.Record, row *data.Struct) error {
	f, ok := row.Schema.Field(t.routeBy)
	if !ok {
		return plugins.Dataf("%s is not a valid field name", t.routeBy)
	}
	v := field(row, f.Index, true)
	if v.IsNull() {
		return nil
	}
	if v.Type() != data.TypeString {
		return plugins.Dataf("Field '%s' is not of type STRING", t.routeBy)
	}
	if strings.TrimSpace(v.Str()) != "" {
		r.Topic = v.Str()
	}
	return nil
}

// row makes the value from a row, with the fields that are to be added.
func (t *extractNewRecordState) row(r *plugins.Record, envelope *data.Struct, plan *envelopePlan, row *data.Struct, deleted string) error {
	to, err := plan.rows.get(row.Schema, func(s *data.Schema) (*rowPlan, error) { return t.deriveRow(envelope.Schema, s) })
	if err != nil {
		return err
	}
	out := data.NewStructValue(to.schema)
	copyFields(out.Values, row, t.rewrites() && t.replaceNull)
	at := len(row.Values)
	if t.rewrites() {
		out.Values[at] = data.String(deleted)
		at++
	}
	for i := range to.added {
		out.Values[at+i] = to.added[i].value(envelope)
	}
	r.ValueSchema, r.Value = to.schema, data.StructOf(out)
	return nil
}

func (f *reference) value(envelope *data.Struct) data.Value {
	st := envelope
	if f.parent >= 0 {
		if st = envelope.Values[f.parent].Struct(); st == nil {
			return data.Null // the transaction is only there inside one
		}
	}
	return st.Values[f.field]
}

func (t *extractNewRecordState) derive(s *data.Schema) (*envelopePlan, error) {
	p := &envelopePlan{before: -1, after: -1}
	for name, at := range map[string]*int{"before": &p.before, "after": &p.after} {
		f, ok := s.Field(name)
		if !ok {
			return nil, plugins.Dataf("%w: %s", errUnknownField, name)
		}
		*at = f.Index
	}
	p.headers = find(t.headers, s)
	return p, nil
}

// find looks fields up where they are expected, and then in the envelope itself; those that are nowhere are left out.
func find(refs []fieldReference, envelope *data.Schema) []reference {
	var out []reference
	for _, ref := range refs {
		r := reference{name: ref.name, parent: -1}
		from := envelope
		if ref.parent != "" {
			if parent, ok := envelope.Field(ref.parent); ok && parent.Schema.Type() == data.TypeStruct {
				if _, ok := parent.Schema.Field(ref.field); ok {
					from, r.parent = parent.Schema, parent.Index
				}
			}
		}
		f, ok := from.Field(ref.field)
		if !ok {
			continue
		}
		r.field = f.Index
		r.schema = data.From(f.Schema).Optional().NoDefault().Build()
		out = append(out, r)
	}
	return out
}

func (t *extractNewRecordState) deriveRow(envelope, row *data.Schema) (*rowPlan, error) {
	b, names := basics(row), map[string]bool{}
	for _, f := range row.Fields() {
		if err := addField(b, names, f.Name, f.Schema); err != nil {
			return nil, err
		}
	}
	if t.rewrites() {
		if err := addField(b, names, "__deleted", data.OptionalStringSchema); err != nil {
			return nil, err
		}
	}
	p := &rowPlan{added: find(t.fields, envelope)}
	for _, r := range p.added {
		if err := addField(b, names, r.name, r.schema); err != nil {
			return nil, err
		}
	}
	p.schema = b.Build()
	return p, nil
}

type dropKey struct {
	schema *data.Schema
	fields string
}

// drop removes the fields that a header of the record names.
func (t *extractNewRecordState) drop(r *plugins.Record) error {
	if strings.TrimSpace(t.dropHeader) == "" {
		return nil
	}
	i := slices.IndexFunc(r.Headers, func(h data.Header) bool { return h.Key == t.dropHeader })
	if i < 0 || r.Headers[i].Value.IsNull() {
		return nil
	}
	if r.Headers[i].Value.Type() != data.TypeArray {
		return plugins.Dataf("header %s does not hold a list of field names", t.dropHeader)
	}
	var names []string
	for _, v := range r.Headers[i].Value.Array() {
		if v.Type() == data.TypeString {
			names = append(names, v.Str())
		}
	}
	if t.dropFromKey {
		t.dropFrom(keySide, r, names)
	}
	t.dropFrom(valueSide, r, names)
	return nil
}

func (t *extractNewRecordState) dropFrom(s side, r *plugins.Record, names []string) {
	schema, v := s.get(r)
	st := v.Struct()
	if st == nil || len(names) == 0 {
		return
	}
	key := dropKey{schema, strings.Join(names, ",")}
	plan := t.drops[key]
	if plan == nil {
		plan = &pickPlan{}
		b := basics(schema)
		for _, f := range schema.Fields() {
			if slices.Contains(names, f.Name) && (f.Schema.Optional() || !t.keepCompatible) {
				continue
			}
			b.Field(f.Name, f.Schema)
			plan.src = append(plan.src, f.Index)
		}
		plan.schema = b.Build()
		if len(plan.src) == len(schema.Fields()) {
			plan.schema = nil // nothing to drop
		}
		if t.drops == nil || len(t.drops) >= maxPlans {
			t.drops = map[dropKey]*pickPlan{}
		}
		t.drops[key] = plan
	}
	if plan.schema != nil {
		s.set(r, plan.schema, plan.apply(st, true))
	}
}

func (t *extractNewRecordState) Close() error { return nil }
