package transforms

import (
	"errors"
	"fmt"
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

const optionality = " Suffix with ! to make this a required field, or ? to keep it optional (the default)."

var insertFieldDef = configdef.NewDef(
	configdef.Key{Name: "topic.field", Type: configdef.String, Importance: configdef.Medium, Doc: "Field name for Kafka topic." + optionality},
	configdef.Key{Name: "partition.field", Type: configdef.String, Importance: configdef.Medium, Doc: "Field name for Kafka partition." + optionality},
	configdef.Key{Name: "offset.field", Type: configdef.String, Importance: configdef.Medium, Doc: "Field name for Kafka offset - only applicable to sink connectors." + optionality},
	configdef.Key{Name: "timestamp.field", Type: configdef.String, Importance: configdef.Medium, Doc: "Field name for record timestamp." + optionality},
	configdef.Key{Name: "static.field", Type: configdef.String, Importance: configdef.Medium, Doc: "Field name for static data field." + optionality},
	configdef.Key{Name: "static.value", Type: configdef.String, Importance: configdef.Medium, Doc: "Static field value, if field name configured."},
	keyReplaceNull,
)

var (
	timestampSchema         = data.New(data.TypeInt64).Name(data.LogicalTimestamp).Version(1).Build()
	optionalTimestampSchema = data.New(data.TypeInt64).Name(data.LogicalTimestamp).Version(1).Optional().Build()
)

// insertField adds fields with the record's topic, partition, offset, time, or a constant.
type insertField struct {
	side        side
	fields      []inserted
	replaceNull bool
	plans       plans[*data.Schema]
}

type insertedKind uint8

const (
	insertTopic insertedKind = iota
	insertPartition
	insertOffset
	insertTimestamp
	insertStatic
)

type inserted struct {
	kind   insertedKind
	name   string
	schema *data.Schema
	static data.Value
}

func (t *insertField) Configure(cfg configdef.Values) error {
	t.replaceNull = cfg.Bool("replace.null.with.default")
	for _, k := range []struct {
		key                string
		kind               insertedKind
		required, optional *data.Schema
	}{
		{"topic.field", insertTopic, data.StringSchema, data.OptionalStringSchema},
		{"partition.field", insertPartition, data.Int32Schema, data.OptionalInt32Schema},
		{"offset.field", insertOffset, data.Int64Schema, data.OptionalInt64Schema},
		{"timestamp.field", insertTimestamp, timestampSchema, optionalTimestampSchema},
		{"static.field", insertStatic, data.StringSchema, data.OptionalStringSchema},
	} {
		if !cfg.Has(k.key) {
			continue
		}
		f := inserted{kind: k.kind, name: cfg.Str(k.key), schema: k.optional}
		if name, ok := strings.CutSuffix(f.name, "!"); ok {
			f.name, f.schema = name, k.required
		} else {
			f.name = strings.TrimSuffix(f.name, "?")
		}
		if k.kind == insertStatic {
			if !cfg.Has("static.value") {
				return fmt.Errorf("Invalid value null for configuration static.value: No value specified for static field: %s", f.name) //nolint:staticcheck // Kafka's text
			}
			f.static = data.String(cfg.Str("static.value"))
		}
		t.fields = append(t.fields, f)
	}
	if len(t.fields) == 0 {
		return errors.New("No field insertion configured") //nolint:staticcheck // Kafka's text
	}
	return nil
}

// value returns what to insert; ok is false when the record does not have it.
func (f *inserted) value(r *plugins.Record) (v data.Value, ok bool, err error) {
	switch f.kind {
	case insertTopic:
		return data.String(r.Topic), true, nil
	case insertPartition:
		return data.Int32(r.Partition), r.Partition != plugins.NoPartition, nil
	case insertOffset:
		if !r.IsSink {
			return v, false, plugins.Dataf("Only SinkRecord supported for [field insertion], found: org.apache.kafka.connect.source.SourceRecord")
		}
		return data.Int64(r.Offset), true, nil
	case insertTimestamp:
		return data.Int64(r.Timestamp), r.Timestamp != plugins.NoTimestamp, nil
	default:
		return f.static, true, nil
	}
}

func (t *insertField) Apply(r *plugins.Record) (bool, error) {
	schema, v := t.side.get(r)
	if v.IsNull() {
		return true, nil
	}
	if schema == nil {
		entries, err := requireMap(v, "field insertion")
		if err != nil {
			return false, err
		}
		entries = copyMap(entries, len(t.fields))
		for i := range t.fields {
			v, ok, err := t.fields[i].value(r)
			if err != nil {
				return false, err
			}
			if ok {
				entries = mapPut(entries, t.fields[i].name, v)
			}
		}
		t.side.set(r, nil, data.Map(entries))
		return true, nil
	}
	st, err := requireStruct(v, "field insertion")
	if err != nil {
		return false, err
	}
	to, err := t.plans.get(st.Schema, t.derive)
	if err != nil {
		return false, err
	}
	out := data.NewStructValue(to)
	copyFields(out.Values, st, t.replaceNull)
	at := len(st.Values)
	for i := range t.fields {
		v, ok, err := t.fields[i].value(r)
		if err != nil {
			return false, err
		}
		if ok {
			out.Values[at+i] = v
		}
	}
	t.side.set(r, to, data.StructOf(out))
	return true, nil
}

func (t *insertField) derive(s *data.Schema) (*data.Schema, error) {
	b, names := basics(s), map[string]bool{}
	for _, f := range s.Fields() {
		if err := addField(b, names, f.Name, f.Schema); err != nil {
			return nil, err
		}
	}
	for _, f := range t.fields {
		if err := addField(b, names, f.name, f.schema); err != nil {
			return nil, err
		}
	}
	return b.Build(), nil
}

func (t *insertField) Close() error { return nil }
