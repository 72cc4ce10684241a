package converters

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
)

// memoryRegistry is a registry without compatibility rules that counts what it is asked.
type memoryRegistry struct {
	schemas  []RegisteredSchema // by id, from 1
	subjects map[string][]int32 // ids by version
	calls    int
	fail     error
}

func newMemoryRegistry() *memoryRegistry { return &memoryRegistry{subjects: map[string][]int32{}} }

var errNotThere = &RegistryError{Status: 404, Code: 40401, Message: "Subject not found."}

func (m *memoryRegistry) call() error { m.calls++; return m.fail }

func (m *memoryRegistry) add(subject string, s RegisteredSchema) int32 {
	for i := range m.schemas {
		if m.schemas[i].Text == s.Text {
			s.ID = m.schemas[i].ID
		}
	}
	if s.ID == 0 {
		s.ID = int32(len(m.schemas) + 1)
		m.schemas = append(m.schemas, s)
	}
	m.subjects[subject] = append(m.subjects[subject], s.ID)
	return s.ID
}

func (m *memoryRegistry) Register(ctx context.Context, subject, schema string, normalize bool) (int32, error) {
	if err := m.call(); err != nil {
		return 0, err
	}
	if s, err := m.find(subject, schema); err == nil {
		return s.ID, nil
	}
	return m.add(subject, RegisteredSchema{Text: schema}), nil
}

func (m *memoryRegistry) find(subject, schema string) (RegisteredSchema, error) {
	for v, id := range m.subjects[subject] {
		if s := m.schemas[id-1]; s.Text == schema {
			s.Version = int32(v + 1)
			return s, nil
		}
	}
	return RegisteredSchema{}, errNotThere
}

func (m *memoryRegistry) Lookup(_ context.Context, subject, schema string, _, _ bool) (RegisteredSchema, error) {
	if err := m.call(); err != nil {
		return RegisteredSchema{}, err
	}
	return m.find(subject, schema)
}

func (m *memoryRegistry) Latest(ctx context.Context, subject string) (RegisteredSchema, error) {
	return m.Version(ctx, subject, int32(len(m.subjects[subject])))
}

func (m *memoryRegistry) Version(_ context.Context, subject string, version int32) (RegisteredSchema, error) {
	if err := m.call(); err != nil {
		return RegisteredSchema{}, err
	}
	ids := m.subjects[subject]
	if version < 1 || int(version) > len(ids) {
		return RegisteredSchema{}, errNotThere
	}
	s := m.schemas[ids[version-1]-1]
	s.Version = version
	return s, nil
}

func (m *memoryRegistry) ByID(_ context.Context, id int32, _ string) (RegisteredSchema, error) {
	if err := m.call(); err != nil {
		return RegisteredSchema{}, err
	}
	if id < 1 || int(id) > len(m.schemas) {
		return RegisteredSchema{}, &RegistryError{Status: 404, Code: 40403, Message: "Schema not found"}
	}
	return m.schemas[id-1], nil
}

func avroConverter(t testing.TB, m *memoryRegistry, isKey bool, config map[string]string) *AvroConverter {
	spec := AvroSpec(func(RegistryConfig) (SchemaRegistry, error) { return m, nil })
	cfg, err := spec.Config.Parse(config)
	require.NoError(t, err)
	c := spec.New().(*AvroConverter)
	require.NoError(t, c.Configure(context.Background(), plugins.ConverterEnv{RegistryURL: "http://127.0.0.1:1"}, cfg, isKey))
	return c
}

func person(withAge bool) (*data.Schema, data.Value) {
	b := data.NewStruct().Name("com.acme.Person").Field("name", data.StringSchema)
	vs := []data.Value{data.String("Ema")}
	if withAge {
		b.Field("age", data.OptionalInt32Schema)
		vs = append(vs, data.Int32(78))
	}
	s := b.Build()
	return s, data.StructOf(&data.Struct{Schema: s, Values: vs})
}

func TestAvroRecordsCarryTheIDOfTheirSchema(t *testing.T) {
	m := newMemoryRegistry()
	c := avroConverter(t, m, false, nil)
	ctx := context.Background()
	s, v := person(true)
	b, err := c.FromData(ctx, []byte("prefix"), "people", s, v)
	require.NoError(t, err)
	require.Equal(t, "prefix\x00\x00\x00\x00\x01\x06Ema\x02\x9c\x01", string(b))
	require.Equal(t, []int32{1}, m.subjects["people-value"])
	for range 3 {
		_, err = c.FromData(ctx, nil, "people", s, v)
		require.NoError(t, err)
	}
	again, v2 := person(true) // an equal schema at another address
	_, err = c.FromData(ctx, nil, "people", again, v2)
	require.NoError(t, err)
	require.Equal(t, 1, m.calls)

	got, back, err := c.ToData(ctx, "people", b[len("prefix"):])
	require.NoError(t, err)
	require.True(t, v.Struct().Values[0].Equal(back.Struct().Values[0]))
	version, ok := got.Version()
	require.True(t, ok)
	require.Equal(t, int32(1), version) // that of the registry
	same, _, err := c.ToData(ctx, "people", b[len("prefix"):])
	require.NoError(t, err)
	require.Same(t, got, same)

	// A schema that is not under the topic's subject is read all the same.
	_, _, err = c.ToData(ctx, "copy", b[len("prefix"):])
	require.NoError(t, err)

	dst := make([]byte, 0, 100)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if _, err := c.FromData(ctx, dst, "people", s, v); err != nil {
			t.Fatal(err)
		}
	}))
}

func TestAvroNullsAndBareBytes(t *testing.T) {
	m := newMemoryRegistry()
	c := avroConverter(t, m, false, nil)
	ctx := context.Background()
	for _, s := range []*data.Schema{nil, data.OptionalStringSchema} {
		b, err := c.FromData(ctx, []byte("x"), "t", s, data.Null)
		require.NoError(t, err)
		require.Nil(t, b)
	}
	_, err := c.FromData(ctx, nil, "t", data.StringSchema, data.Null)
	require.ErrorContains(t, err, "Found null value for non-optional schema")
	b, err := c.FromData(ctx, nil, "t", data.BytesSchema, data.Bytes([]byte{9, 8}))
	require.NoError(t, err)
	require.Equal(t, []byte{9, 8}, b[5:]) // without a length
	s, v, err := c.ToData(ctx, "t", b)
	require.NoError(t, err)
	require.Equal(t, data.TypeBytes, s.Type())
	require.Equal(t, []byte{9, 8}, v.Bytes())
	s, v, err = c.ToData(ctx, "t", nil)
	require.NoError(t, err)
	require.True(t, s == nil && v.IsNull())
}

func TestSubjectsAreNamedByTheStrategy(t *testing.T) {
	s, v := person(false)
	ctx := context.Background()
	for strategy, want := range map[string]string{"TopicNameStrategy": "t-key", "RecordNameStrategy": "com.acme.Person", "TopicRecordNameStrategy": "t-com.acme.Person"} {
		for _, name := range []string{strategy, "io.confluent.kafka.serializers.subject." + strategy} {
			m := newMemoryRegistry()
			c := avroConverter(t, m, true, map[string]string{"key.subject.name.strategy": name, "value.subject.name.strategy": "RecordNameStrategy"})
			_, err := c.FromData(ctx, nil, "t", s, v)
			require.NoError(t, err)
			require.Contains(t, m.subjects, want)
			if strategy != "TopicNameStrategy" {
				_, err = c.FromData(ctx, nil, "t", data.StringSchema, data.String("x"))
				require.ErrorContains(t, err, "the message key must only be a record schema")
			}
		}
	}
}

func TestSchemasMustBeThereWithoutAutoRegistration(t *testing.T) {
	m := newMemoryRegistry()
	ctx := context.Background()
	s, v := person(false)
	c := avroConverter(t, m, false, map[string]string{"auto.register.schemas": "false"})
	_, err := c.FromData(ctx, nil, "people", s, v)
	require.ErrorContains(t, err, "Error retrieving Avro schema")
	require.ErrorContains(t, err, "Subject not found.; error code: 40401")
	var d *plugins.DataError
	require.ErrorAs(t, err, &d)

	registrar := avroConverter(t, m, false, nil)
	_, err = registrar.FromData(ctx, nil, "people", s, v)
	require.NoError(t, err)
	b, err := c.FromData(ctx, nil, "people", s, v)
	require.NoError(t, err)
	require.Equal(t, uint32(1), binary.BigEndian.Uint32(b[1:]))
}

func TestTheLatestVersionIsUsedWhenAskedFor(t *testing.T) {
	m := newMemoryRegistry()
	ctx := context.Background()
	latest := `{"type":"record","name":"Person","namespace":"com.acme","fields":[{"name":"name","type":"string"},{"name":"email","type":["null","string"],"default":null}]}`
	m.add("people-value", RegisteredSchema{Text: latest})
	now := time.Unix(1_700_000_000, 0)
	config := map[string]string{"auto.register.schemas": "false", "use.latest.version": "true", "latest.cache.ttl.sec": "60"}
	c := avroConverter(t, m, false, config)
	c.now = func() time.Time { return now }
	s, v := person(false)
	b, err := c.FromData(ctx, nil, "people", s, v)
	require.NoError(t, err)
	require.Equal(t, "\x00\x00\x00\x00\x01\x06Ema\x00", string(b))
	_, back, err := c.ToData(ctx, "people", b)
	require.NoError(t, err)
	require.Equal(t, "Struct{name=Ema,email=null}", back.String())

	withAge, va := person(true)
	_, err = c.FromData(ctx, nil, "people", withAge, va)
	require.ErrorContains(t, err, "latest.compatibility.strict=false")
	config["latest.compatibility.strict"] = "false"
	lenient := avroConverter(t, m, false, config)
	_, err = lenient.FromData(ctx, nil, "people", withAge, va)
	require.NoError(t, err)

	m.add("people-value", RegisteredSchema{Text: `{"type":"record","name":"Person","namespace":"com.acme","fields":[{"name":"name","type":"string"}]}`})
	b, err = c.FromData(ctx, nil, "people", s, v)
	require.NoError(t, err)
	require.Equal(t, uint32(1), binary.BigEndian.Uint32(b[1:]))
	now = now.Add(time.Minute)
	b, err = c.FromData(ctx, nil, "people", s, v)
	require.NoError(t, err)
	require.Equal(t, uint32(2), binary.BigEndian.Uint32(b[1:]))
}

func TestReferencesAreResolved(t *testing.T) {
	m := newMemoryRegistry()
	m.add("currency", RegisteredSchema{Text: `{"type":"enum","name":"Currency","namespace":"a","symbols":["CZK","EUR"]}`})
	m.add("money", RegisteredSchema{Text: `{"type":"record","name":"Money","namespace":"a","fields":[{"name":"c","type":"Currency"},{"name":"n","type":"long"}]}`,
		References: []SchemaReference{{"a.Currency", "currency", 1}}})
	id := m.add("t-value", RegisteredSchema{Text: `{"type":"record","name":"Bill","namespace":"a","fields":[{"name":"sum","type":"Money"},{"name":"in","type":"Currency"}]}`,
		References: []SchemaReference{{"a.Money", "money", 1}, {"a.Currency", "currency", 1}}})
	c := avroConverter(t, m, false, nil)
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(id))
	_, v, err := c.ToData(context.Background(), "t", append(b, 2, 10, 0))
	require.NoError(t, err)
	require.Equal(t, "Struct{sum=Struct{c=EUR,n=5},in=CZK}", v.String())

	loop := m.add("loop", RegisteredSchema{Text: `"a.X"`, References: []SchemaReference{{"a.X", "loop", 1}}})
	_, _, err = c.ToData(context.Background(), "t", append(binary.BigEndian.AppendUint32([]byte{0}, uint32(loop)), 0))
	require.Error(t, err)
}

func TestFailuresOfTheRegistryAreRetriedOrNot(t *testing.T) {
	ctx := context.Background()
	s, v := person(false)
	for _, c := range []struct {
		err       error
		retriable bool
		dataError bool
	}{
		{errors.New("connection refused"), true, false}, {&RegistryError{Status: 500, Code: 50001, Message: "store"}, true, false}, {&RegistryError{Status: 429}, true, false},
		{&RegistryError{Status: 409, Code: 409, Message: "incompatible"}, false, true}, {&RegistryError{Status: 422, Code: 42201}, false, true},
		{&RegistryError{Status: 401, Code: 401, Message: "Unauthorized"}, false, false}, {context.Canceled, false, false},
	} {
		m := newMemoryRegistry()
		m.fail = c.err
		conv := avroConverter(t, m, false, nil)
		_, err := conv.FromData(ctx, nil, "t", s, v)
		require.Error(t, err)
		require.Equal(t, c.retriable, plugins.IsRetriable(err), "%v", c.err)
		var d *plugins.DataError
		require.Equal(t, c.dataError, errors.As(err, &d))
		_, _, err = conv.ToData(ctx, "t", []byte{0, 0, 0, 0, 1, 2})
		require.Equal(t, c.retriable, plugins.IsRetriable(err))
		m.fail = nil // and nothing of the failure is remembered
		_, err = conv.FromData(ctx, nil, "t", s, v)
		require.NoError(t, err)
	}
}

func TestBytesThatAreNotOfTheRegistryAreBadData(t *testing.T) {
	m := newMemoryRegistry()
	c := avroConverter(t, m, false, nil)
	ctx := context.Background()
	m.add("t-value", RegisteredSchema{Text: `"string"`})
	m.add("t-value", RegisteredSchema{Text: `{}`, Type: "JSON"})
	m.add("t-value", RegisteredSchema{Text: `{"type":"record","name":"N","fields":[{"name":"n","type":["null","N"]}]}`})
	for b, want := range map[string]string{
		"": "Unknown magic byte!", "\x01\x00\x00\x00\x01x": "Unknown magic byte!", "{\"a\":1}": "Unknown magic byte!",
		"\x00\x00\x00\x00\x63x": "Schema not found; error code: 40403", "\x00\x00\x00\x00\x01\x50x": "length 40 exceeds",
		"\x00\x00\x00\x00\x02x": "of type JSON, not AVRO", "\x00\x00\x00\x00\x03x": "refers to itself",
	} {
		_, _, err := c.ToData(ctx, "t", []byte(b))
		require.ErrorContains(t, err, want, "%q", b)
		var d *plugins.DataError
		require.ErrorAs(t, err, &d)
	}
}

func TestConfigurationsOfTheRegistry(t *testing.T) {
	spec := AvroSpec(nil)
	parse := func(raw map[string]string, env plugins.ConverterEnv) (RegistryConfig, error) {
		cfg, err := spec.Config.Parse(raw)
		if err != nil {
			return RegistryConfig{}, err
		}
		return registryConfig(env, cfg)
	}
	hub := plugins.ConverterEnv{RegistryURL: "http://127.0.0.1:8081"}
	c, err := parse(nil, hub)
	require.NoError(t, err)
	require.True(t, c.Local)
	require.Equal(t, []string{"http://127.0.0.1:8081"}, c.URLs)
	c, err = parse(map[string]string{"schema.registry.url": "http://u:p@r1:8081, https://r2", "request.header.X-A": "b", "bearer.auth.token": "tok"}, hub)
	require.NoError(t, err)
	require.Equal(t, []string{"http://r1:8081", "https://r2"}, c.URLs)
	require.Equal(t, "u", c.Username)
	require.Equal(t, "p", c.Password)
	require.Equal(t, map[string]string{"X-A": "b"}, c.Headers)
	require.False(t, c.Local)
	c, err = parse(map[string]string{"basic.auth.credentials.source": "USER_INFO", "basic.auth.user.info": "me:my:secret"}, hub)
	require.NoError(t, err)
	require.Equal(t, "my:secret", c.Password)

	for _, bad := range []map[string]string{
		{"schema.registry.url": "r1:8081"}, {"basic.auth.credentials.source": "USER_INFO"}, {"basic.auth.credentials.source": "SASL_INHERIT"},
		{"generalized.sum.type.support": "true"}, {"use.schema.id": "5"}, {"rule.executors": "x"}, {"schema.registry.ssl.truststore.location": "/x"}, {"proxy.host": "h"},
		{"value.subject.name.strategy": "com.acme.Mine"}, {"auto.register.schema": "true"}, {"bearer.auth.credentials.source": "OAUTHBEARER"},
	} {
		_, err := parse(bad, hub)
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), "secret")
	}
	_, err = parse(nil, plugins.ConverterEnv{})
	require.ErrorContains(t, err, "schema.registry.url")
	_, err = parse(map[string]string{"generalized.sum.type.support": "false", "use.schema.id": "-1", "value.schema.id.serializer": "io.confluent.kafka.serializers.schema.id.PrefixSchemaIdSerializer"}, hub)
	require.NoError(t, err)
}

func BenchmarkAvroConverterFromData(b *testing.B) {
	c := avroConverter(b, newMemoryRegistry(), false, nil)
	s, v := person(true)
	ctx := context.Background()
	var dst []byte
	var err error
	b.ReportAllocs()
	for b.Loop() {
		if dst, err = c.FromData(ctx, dst[:0], "people", s, v); err != nil {
			b.Fatal(err)
		}
	}
}
