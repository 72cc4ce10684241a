package transforms

import (
	"errors"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

var setSchemaMetadataDef = configdef.NewDef(
	configdef.Key{Name: "schema.name", Type: configdef.String, Importance: configdef.High, Doc: "Schema name to set."},
	configdef.Key{Name: "schema.version", Type: configdef.Int, Importance: configdef.High, Doc: "Schema version to set."},
	keyReplaceNull,
)

// setSchemaMetadata names a schema, or gives it a version.
type setSchemaMetadata struct {
	side        side
	name        string
	version     int32
	hasName     bool
	hasVersion  bool
	replaceNull bool
	plans       plans[*data.Schema]
}

func (t *setSchemaMetadata) Configure(cfg configdef.Values) error {
	t.name, t.hasName = cfg.Str("schema.name"), cfg.Has("schema.name")
	t.version, t.hasVersion = int32(cfg.Int("schema.version")), cfg.Has("schema.version") //nolint:gosec // an INT
	t.replaceNull = cfg.Bool("replace.null.with.default")
	if !t.hasName && !t.hasVersion {
		return errors.New("Neither schema name nor version configured") //nolint:staticcheck // Kafka's text
	}
	return nil
}

func (t *setSchemaMetadata) Apply(r *plugins.Record) (bool, error) {
	schema, v := t.side.get(r)
	if schema == nil {
		if v.IsNull() {
			return true, nil
		}
		return false, plugins.Dataf("Schema required for [updating schema metadata]")
	}
	to, err := t.plans.get(schema, func(s *data.Schema) (*data.Schema, error) {
		b := data.From(s)
		if t.hasName {
			b.Name(t.name)
		}
		if t.hasVersion {
			b.Version(t.version)
		}
		return b.Build(), nil
	})
	if err != nil {
		return false, err
	}
	if st := v.Struct(); st != nil {
		out := data.NewStructValue(to)
		copyFields(out.Values, st, t.replaceNull)
		v = data.StructOf(out)
	}
	t.side.set(r, to, v)
	return true, nil
}

func (t *setSchemaMetadata) Close() error { return nil }
