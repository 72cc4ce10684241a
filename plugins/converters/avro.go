package converters

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/converters/avrodata"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/moldau-io/moldau/schemaregistry/avro"
)

// AvroConverter is io.confluent.connect.avro.AvroConverter: Avro with the id of a registered schema before it.
//
// What it knows about a schema is compiled once: the encoder hangs on the data.Schema itself, the id in a cache of the converter,
// so that a record costs a pointer comparison and the writing of its bytes.
type AvroConverter struct {
	open     func(RegistryConfig) (SchemaRegistry, error)
	now      func() time.Time
	registry SchemaRegistry
	cfg      avrodata.Config
	isKey    bool
	strategy string

	autoRegister, useLatest, strict, normalize bool

	latestTTL time.Duration
	cacheSize int

	last     writeTarget
	lastForm *writeForm
	forms    map[writeTarget]*writeForm
	equal    map[equalTarget]*writeForm // the form of an equal schema at another address
	ids      map[idTarget]int32

	lastRead     readTarget
	lastReadForm *avrodata.Decoder
	decoders     map[readTarget]*avrodata.Decoder
}

// writeTarget is a schema on its way to a topic.
type writeTarget struct {
	schema *data.Schema
	topic  string
}

type equalTarget struct {
	fingerprint uint64
	topic       string
}

type idTarget struct{ subject, text string }

type readTarget struct {
	id    int32
	topic string
}

// writeForm is how values of a schema are written.
type writeForm struct {
	schema  *data.Schema
	encoder *avrodata.Encoder
	id      int32
	raw     bool      // a bare bytes schema: the bytes as they are, without a length
	expires time.Time // zero: never
}

// AvroSpec describes the converter; open connects to a registry and must not fail because that cannot be reached yet.
func AvroSpec(open func(RegistryConfig) (SchemaRegistry, error)) *plugins.Spec[plugins.Converter] {
	return &plugins.Spec[plugins.Converter]{
		Class: "io.confluent.connect.avro.AvroConverter", Aliases: []string{"AvroConverter"}, Version: AvroVersion, Config: avroDef,
		New: func() plugins.Converter { return &AvroConverter{open: open, now: time.Now} },
	}
}

// AvroVersion is the release of Confluent's converter that ours follows.
const AvroVersion = "8.1.0"

// Configure implements plugins.Converter.
func (c *AvroConverter) Configure(_ context.Context, env plugins.ConverterEnv, cfg configdef.Values, isKey bool) error {
	rc, err := registryConfig(env, cfg)
	if err != nil {
		return err
	}
	if c.registry, err = c.open(rc); err != nil {
		return fmt.Errorf("schema registry: %w", err)
	}
	c.cfg, c.isKey = avroDataConfig(cfg), isKey
	strategy := cfg.Str("value.subject.name.strategy")
	if isKey {
		strategy = cfg.Str("key.subject.name.strategy")
	}
	c.strategy = strings.TrimPrefix(strategy, strategyPackage)
	c.autoRegister, c.useLatest = cfg.Bool("auto.register.schemas"), cfg.Bool("use.latest.version")
	c.strict, c.normalize = cfg.Bool("latest.compatibility.strict"), cfg.Bool("normalize.schemas")
	c.latestTTL = time.Duration(cfg.Int("latest.cache.ttl.sec")) * time.Second
	c.cacheSize = int(max(1, min(cfg.Int("schemas.cache.config"), cfg.Int("max.schemas.per.subject"))))
	c.forms, c.equal, c.ids = map[writeTarget]*writeForm{}, map[equalTarget]*writeForm{}, map[idTarget]int32{}
	c.decoders = map[readTarget]*avrodata.Decoder{}
	return nil
}

// FromData implements plugins.Converter.
func (c *AvroConverter) FromData(ctx context.Context, dst []byte, topic string, schema *data.Schema, v data.Value) ([]byte, error) {
	if v.IsNull() && schema.Optional() {
		return nil, nil
	}
	form, err := c.form(ctx, writeTarget{schema, topic})
	if err != nil {
		return nil, err
	}
	dst = append(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(form.id))
	if form.raw && v.Type() == data.TypeBytes {
		return append(dst, v.Bytes()...), nil
	}
	if dst, err = form.encoder.Append(dst, v); err != nil {
		return nil, writeFailure(topic, err)
	}
	return dst, nil
}

func writeFailure(topic string, err error) error {
	var d *plugins.DataError
	if errors.As(err, &d) {
		return plugins.Dataf("Failed to serialize Avro data from topic %s: %w", topic, d.Err)
	}
	return fmt.Errorf("Failed to serialize Avro data from topic %s: %w", topic, err) //nolint:staticcheck // Confluent's text
}

func (c *AvroConverter) form(ctx context.Context, t writeTarget) (*writeForm, error) {
	if c.lastForm != nil && c.last == t && c.fresh(c.lastForm) {
		return c.lastForm, nil
	}
	f := c.forms[t]
	if f == nil || !c.fresh(f) {
		var err error
		if f, err = c.newForm(ctx, t); err != nil {
			return nil, err
		}
	}
	c.last, c.lastForm = t, f
	return f, nil
}

func (c *AvroConverter) fresh(f *writeForm) bool {
	return f.expires.IsZero() || c.now().Before(f.expires)
}

// bounded drops a cache that has grown to the limit: what is in use comes back at once.
func bounded[K comparable, V any](m map[K]V, limit int) {
	if len(m) >= limit {
		clear(m)
	}
}

func (c *AvroConverter) newForm(ctx context.Context, t writeTarget) (*writeForm, error) {
	bounded(c.forms, c.cacheSize)
	bounded(c.equal, c.cacheSize)
	alike := equalTarget{t.schema.Fingerprint(), t.topic}
	if f := c.equal[alike]; f != nil && c.fresh(f) && f.schema.Equal(t.schema) {
		c.forms[t] = f
		return f, nil
	}
	encoder, err := avroEncoderOf(t.schema, c.cfg)
	if err != nil {
		return nil, writeFailure(t.topic, err)
	}
	f := &writeForm{schema: t.schema, encoder: encoder}
	subject, err := c.subject(t.topic, encoder.Schema().Root)
	if err != nil {
		return nil, writeFailure(t.topic, err)
	}
	if err := c.identify(ctx, f, subject); err != nil {
		return nil, err
	}
	f.raw = f.encoder.Schema().Root.Kind == avro.Bytes
	c.forms[t], c.equal[alike] = f, f
	return f, nil
}

// identify finds the id that f's data is written with, and with use.latest.version the schema.
func (c *AvroConverter) identify(ctx context.Context, f *writeForm, subject string) error {
	text := f.encoder.Text()
	if !c.autoRegister && c.useLatest {
		latest, err := c.registry.Latest(ctx, subject)
		if err != nil {
			return registryFailure(err, "Error retrieving latest version of Avro schema for subject %s", subject)
		}
		parsed, err := c.parse(ctx, latest)
		if err != nil {
			return err
		}
		if f.encoder, err = avrodata.NewEncoderTo(f.schema, parsed, c.cfg, !c.strict); err != nil {
			return plugins.Dataf("Incompatible schema %s with the latest version of subject %s. Set latest.compatibility.strict=false to leave out fields that it does not have: %w", text, subject, err)
		}
		f.id = latest.ID
		if c.latestTTL >= 0 {
			f.expires = c.now().Add(c.latestTTL)
		}
		return nil
	}
	known := idTarget{subject, text}
	if id, ok := c.ids[known]; ok {
		f.id = id
		return nil
	}
	var err error
	if c.autoRegister {
		if f.id, err = c.registry.Register(ctx, subject, text, c.normalize); err != nil {
			return registryFailure(err, "Error registering Avro schema %s under subject %s", text, subject)
		}
	} else {
		found, err := c.registry.Lookup(ctx, subject, text, c.normalize, false)
		if err != nil {
			return registryFailure(err, "Error retrieving Avro schema %s under subject %s", text, subject)
		}
		f.id = found.ID
	}
	bounded(c.ids, c.cacheSize)
	c.ids[known] = f.id
	return nil
}

// subject names the subject of a schema.
func (c *AvroConverter) subject(topic string, t *avro.Type) (string, error) {
	side := "value"
	if c.isKey {
		side = "key"
	}
	if c.strategy == topicNameStrategy {
		return topic + "-" + side, nil
	}
	if t.Kind != avro.Record {
		return "", plugins.Dataf("In configuration %s.subject.name.strategy = %s%s, the message %s must only be a record schema", side, strategyPackage, c.strategy, side)
	}
	if c.strategy == recordNameStrategy {
		return t.FullName(), nil
	}
	return topic + "-" + t.FullName(), nil
}

// ToData implements plugins.Converter. Strings and bytes alias b.
func (c *AvroConverter) ToData(ctx context.Context, topic string, b []byte) (*data.Schema, data.Value, error) {
	if b == nil {
		return nil, data.Null, nil
	}
	if len(b) < 5 || b[0] != 0 {
		return nil, data.Null, plugins.Dataf("Failed to deserialize data for topic %s to Avro: Unknown magic byte!", topic)
	}
	t := readTarget{int32(binary.BigEndian.Uint32(b[1:5])), topic}
	d := c.lastReadForm
	if d == nil || c.lastRead != t {
		if d = c.decoders[t]; d == nil {
			var err error
			if d, err = c.newDecoder(ctx, t); err != nil {
				return nil, data.Null, err
			}
		}
		c.lastRead, c.lastReadForm = t, d
	}
	if d.Avro().Root.Kind == avro.Bytes {
		return d.Schema(), data.Bytes(b[5:]), nil
	}
	v, err := d.Decode(b[5:])
	if err != nil {
		var de *plugins.DataError
		if errors.As(err, &de) {
			err = de.Err
		}
		return nil, data.Null, plugins.Dataf("Failed to deserialize data for topic %s to Avro: Error deserializing Avro message for id %d: %w", topic, t.id, err)
	}
	return d.Schema(), v, nil
}

func (c *AvroConverter) newDecoder(ctx context.Context, t readTarget) (*avrodata.Decoder, error) {
	hint := ""
	if c.strategy == topicNameStrategy {
		hint, _ = c.subject(t.topic, nil)
	}
	registered, err := c.registry.ByID(ctx, t.id, hint)
	if err != nil {
		return nil, registryFailure(err, "Failed to deserialize data for topic %s to Avro: Error retrieving Avro schema for id %d", t.topic, t.id)
	}
	parsed, err := c.parse(ctx, registered)
	if err != nil {
		return nil, err
	}
	version, err := c.version(ctx, t.topic, registered, parsed)
	if err != nil {
		return nil, err
	}
	d, err := avrodata.NewDecoder(parsed, version, c.cfg)
	if err != nil {
		return nil, plugins.Dataf("Failed to deserialize data for topic %s to Avro: the schema of id %d: %w", t.topic, t.id, err)
	}
	bounded(c.decoders, c.cacheSize)
	c.decoders[t] = d
	return d, nil
}

// version is the version that the schema has under its subject, which becomes that of the Connect schema. A schema that is not
// registered there (data copied from another topic) has none; the original fails then.
func (c *AvroConverter) version(ctx context.Context, topic string, s RegisteredSchema, parsed *avro.Schema) (int32, error) {
	subject, err := c.subject(topic, parsed.Root)
	if err != nil || len(s.References) > 0 {
		return 0, nil //nolint:nilerr // a schema without a subject has no version
	}
	found, err := c.registry.Lookup(ctx, subject, s.Text, c.normalize, true)
	var r *RegistryError
	switch {
	case err == nil:
		return found.Version, nil
	case errors.As(err, &r) && r.Status < 500 && r.Status != 429 && r.Status != 408:
		return 0, nil
	default:
		return 0, registryFailure(err, "Error retrieving Avro schema version for id %d", s.ID)
	}
}

// parse parses a registered schema with the schemas that it refers to.
func (c *AvroConverter) parse(ctx context.Context, s RegisteredSchema) (*avro.Schema, error) {
	if s.Type != "" && s.Type != "AVRO" {
		return nil, plugins.Dataf("the schema of id %d is of type %s, not AVRO", s.ID, s.Type)
	}
	name := func(ref SchemaReference) (string, error) { return ref.Name, nil }
	texts, err := avro.Follow(s.References, name, func(ref SchemaReference) (string, []SchemaReference, error) {
		r, err := c.registry.Version(ctx, ref.Subject, ref.Version)
		if err != nil {
			return "", nil, registryFailure(err, "Error retrieving schema reference %s, version %d of subject %s", ref.Name, ref.Version, ref.Subject)
		}
		return r.Text, r.References, nil
	})
	switch {
	case errors.Is(err, avro.ErrTooManyReferences):
		return nil, plugins.Dataf("the schema of id %d has %w", s.ID, err)
	case err != nil:
		return nil, err
	}
	parsed, err := avro.Parse(s.Text, avro.Options{References: texts})
	if err != nil {
		return nil, plugins.Dataf("the schema of id %d cannot be read: %w", s.ID, err)
	}
	return parsed, nil
}

// encoderList hangs on a schema: its encoders, one for each set of options in use.
type encoderList struct {
	cfg     avrodata.Config
	encoder *avrodata.Encoder
	next    *encoderList
}

func avroEncoderOf(s *data.Schema, cfg avrodata.Config) (*avrodata.Encoder, error) {
	if s == nil {
		return avrodata.NewEncoder(nil, cfg)
	}
	slot := s.Slot(data.SlotAvro)
	var first *encoderList
	if p := slot.Load(); p != nil {
		first = (*p).(*encoderList)
		for e := first; e != nil; e = e.next {
			if e.cfg == cfg {
				return e.encoder, nil
			}
		}
	}
	encoder, err := avrodata.NewEncoder(s, cfg)
	if err != nil {
		return nil, err
	}
	var boxed any = &encoderList{cfg, encoder, first}
	slot.Store(&boxed)
	return encoder, nil
}
