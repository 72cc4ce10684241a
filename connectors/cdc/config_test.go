package cdc

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func testDefaults() Defaults {
	return Defaults{TimePrecision: TimeAdaptive, FetchSize: 10240,
		TimeModes:     []string{"adaptive", "adaptive_time_microseconds", "connect", "isostring", "microseconds", "nanoseconds"},
		SnapshotModes: []string{"initial", "no_data"}}
}

func parse(t *testing.T, raw map[string]string) *Config {
	t.Helper()
	if raw["topic.prefix"] == "" {
		raw["topic.prefix"] = "p"
	}
	v, err := Keys(testDefaults()).Parse(raw)
	require.NoError(t, err)
	c, err := Parse("postgresql", v)
	require.NoError(t, err)
	return c
}

func TestDefaultsAreDebeziums(t *testing.T) {
	c := parse(t, map[string]string{})
	require.True(t, c.Tombstones)
	require.True(t, c.Skipped[OpTruncate])
	require.False(t, c.Skipped[OpCreate])
	require.Equal(t, 8192, c.MaxQueue)
	require.Equal(t, int64(DefaultQueueBytes), c.MaxQueueBytes, "never unbounded")
	require.Equal(t, "p.s.t", c.Topics.Table(TableID{Schema: "s", Table: "t"}))
	require.Equal(t, "__debezium-heartbeat.p", c.Topics.HeartbeatTopic())
	require.Equal(t, "p.transaction", c.Topics.Transaction())
}

func TestKnownButUnsupportedKeysAreRefusedByName(t *testing.T) {
	for _, k := range []string{"signal.data.collection", "converters", "notification.enabled.channels", "snapshot.mode.configuration.based.snapshot.data"} {
		_, err := Keys(testDefaults()).Parse(map[string]string{"topic.prefix": "p", k: "x"})
		require.ErrorContains(t, err, "configuration "+k+": not supported by moldau", k)
	}
	for k, v := range map[string]string{"snapshot.max.threads": "1", "topic.naming.strategy": "io.debezium.schema.SchemaTopicNamingStrategy", "signal.enabled.channels": "source"} {
		_, err := Keys(testDefaults()).Parse(map[string]string{"topic.prefix": "p", k: v})
		require.NoError(t, err, "what we do anyway is accepted: %s", k)
	}
}

func TestWrongCombinationsAreRefused(t *testing.T) {
	for _, c := range []struct {
		raw  map[string]string
		want string
	}{
		{map[string]string{"table.include.list": "a", "table.exclude.list": "b"}, "already specified"},
		{map[string]string{"max.queue.size": "10"}, "Must be larger than the maximum batch size"},
		{map[string]string{"table.include.list": "a("}, "not a valid regular expression"},
		{map[string]string{"column.mask.with.x.chars": "a"}, "must end in a length"},
		{map[string]string{"column.mask.hash.CRC.with.salt.x": "a"}, "one of MD5"},
		{map[string]string{"message.key.columns": "nonsense"}, "table:column"},
		{map[string]string{"snapshot.select.statement.overrides": "s.t"}, "is not set"},
		{map[string]string{"topic.prefix": "a b"}, "alphanumeric"},
	} {
		if c.raw["topic.prefix"] == "" {
			c.raw["topic.prefix"] = "p"
		}
		_, err := Keys(testDefaults()).Parse(c.raw)
		require.ErrorContains(t, err, c.want, "%v", c.raw)
	}
}

func TestFiltersAreAnchoredAndIgnoreCase(t *testing.T) {
	f, err := NewFilter(`public\.a.*, s\.x{1\,2}`, "")
	require.NoError(t, err)
	require.True(t, f.Includes("PUBLIC.Abc"))
	require.True(t, f.Includes("s.xx"))
	require.False(t, f.Includes("s.xxx"))
	require.False(t, f.Includes("my.public.abc"))
	f, err = NewFilter("", "(?!s.keep$).*")
	require.NoError(t, err)
	require.True(t, f.Includes("s.keep"))
	require.False(t, f.Includes("s.other"))
}

func TestNamesAreAdjusted(t *testing.T) {
	require.Equal(t, "a_b.c-d_e", SanitizeTopic("a b.c-dée"))
	require.Equal(t, "_1st", AdjustAvro.Field("1st"))
	require.Equal(t, "we_ird", AdjustAvro.Field("we-ird"))
	require.Equal(t, "we_u002dird_u005fx", AdjustAvroUnicode.Field("we-ird_x"))
	require.Equal(t, "_u0031st", AdjustAvroUnicode.Field("1st"))
	require.Equal(t, "a_b.c", AdjustAvro.Schema("a-b.c"))
	require.Equal(t, "1 st", AdjustNone.Field("1 st"))
}
