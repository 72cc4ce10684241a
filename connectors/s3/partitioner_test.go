package s3

import (
	"testing"
	"time"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/data"
	"github.com/stretchr/testify/require"
)

// pathOf returns the partitioner that a configuration makes.
func pathOf(t *testing.T, kv ...string) partitioner {
	t.Helper()
	raw := map[string]string{"s3.bucket.name": "b", "flush.size": "1", "format.class": "json"}
	for i := 0; i < len(kv); i += 2 {
		raw[kv[i]] = kv[i+1]
	}
	cfg, err := definition().Parse(raw)
	require.NoError(t, err)
	s, err := newSettings(cfg)
	require.NoError(t, err)
	p, _, err := newPartitioner(cfg, s.location, time.Now)
	require.NoError(t, err)
	return p
}

func TestTimePartitionsBeginInLocalTime(t *testing.T) {
	at := func(zone, clock string) int64 {
		loc, err := time.LoadLocation(zone)
		require.NoError(t, err)
		v, err := time.ParseInLocation("2006-01-02 15:04", clock, loc)
		require.NoError(t, err)
		return v.UnixMilli()
	}
	for _, c := range []struct{ class, zone, clock, want string }{
		{"Daily", "UTC", "2026-11-21 23:59", "year=2026/month=11/day=21"},
		{"Daily", "Europe/Prague", "2026-11-21 00:00", "year=2026/month=11/day=21"},
		// Days on which clocks change have a midnight of another offset than their afternoon.
		{"Daily", "Europe/Prague", "2026-03-29 15:00", "year=2026/month=03/day=29"},
		{"Daily", "Europe/Prague", "2026-10-25 15:00", "year=2026/month=10/day=25"},
		{"Hourly", "Europe/Prague", "2026-03-29 03:30", "year=2026/month=03/day=29/hour=03"},
		{"Hourly", "Europe/Prague", "2026-10-25 02:30", "year=2026/month=10/day=25/hour=02"},
		// There clocks leave out midnight itself.
		{"Daily", "America/Asuncion", "2023-10-01 15:00", "year=2023/month=10/day=01"},
		{"Hourly", "Asia/Kolkata", "2026-11-21 10:31", "year=2026/month=11/day=21/hour=10"},
	} {
		p := pathOf(t, "partitioner.class", partitionerPackage+c.class+"Partitioner", "timezone", c.zone, "locale", "en-US", "timestamp.extractor", "Record")
		r := line(0, 1)
		r.Timestamp = at(c.zone, c.clock)
		got, err := p(&r)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%+v", c)
	}
}

func TestPathFormatMayEndWithTheDelimiter(t *testing.T) {
	p := pathOf(t, "partitioner.class", "TimeBasedPartitioner", "partition.duration.ms", "3600000", "path.format", "'d'=YYYY-MM-dd/", "timezone", "UTC", "timestamp.extractor", "Record")
	r := line(0, 1)
	got, err := p(&r)
	require.NoError(t, err)
	require.Equal(t, "d=2023-11-14", got)
	p = pathOf(t, "partitioner.class", "HourlyPartitioner", "directory.delim", "_", "timezone", "UTC", "timestamp.extractor", "Record")
	got, err = p(&r)
	require.NoError(t, err)
	require.Equal(t, "year=2023_month=11_day=14_hour=22", got)
}

var shipment = func() *data.Schema {
	inner := data.NewStruct().Field("country", data.OptionalStringSchema).Optional().Build()
	return data.NewStruct().Field("id", data.Int32Schema).Field("express", data.BooleanSchema).Field("to", inner).Field("weight", data.Float64Schema).Field("at", data.OptionalStringSchema).Build()
}()

func TestFieldPaths(t *testing.T) {
	rec := func(country data.Value) *plugins.SinkRecord {
		st := data.NewStructValue(shipment)
		st.Set("id", data.Int32(7))
		st.Set("express", data.Bool(true))
		st.Set("weight", data.Float64(1))
		if !country.IsNull() {
			f, _ := shipment.Field("to")
			in := data.NewStructValue(f.Schema)
			in.Set("country", country)
			st.Set("to", data.StructOf(in))
		}
		return &plugins.SinkRecord{Topic: "t", ValueSchema: shipment, Value: data.StructOf(st)}
	}
	p := pathOf(t, "partitioner.class", "FieldPartitioner", "partition.field.name", "id,express,to.country")
	got, err := p(rec(data.String("CZ")))
	require.NoError(t, err)
	require.Equal(t, "id=7/express=true/to.country=CZ", got)
	got, err = p(rec(data.Null))
	require.NoError(t, err)
	require.Equal(t, "id=7/express=true/to.country=null", got, "a field of an absent struct is null")
	_, err = pathOf(t, "partitioner.class", "FieldPartitioner", "partition.field.name", "colour")(rec(data.Null))
	require.ErrorContains(t, err, `"colour" is not in the record`)
	_, err = pathOf(t, "partitioner.class", "FieldPartitioner", "partition.field.name", "weight")(rec(data.Null))
	require.ErrorContains(t, err, "must be an integer, a string or a boolean")
}

func TestTimesInTextFields(t *testing.T) {
	for text, want := range map[string]string{
		"1700000000000":                 "2023-11-14T22:13:20Z",
		"-1":                            "1969-12-31T23:59:59.999Z",
		"2026-11-21":                    "2026-11-21T00:00:00Z",
		"2026-11":                       "2026-11-01T00:00:00Z",
		"2026-325":                      "2026-11-21T00:00:00Z",
		"2026-11-21T10":                 "2026-11-21T10:00:00Z",
		"2026-11-21T10:05":              "2026-11-21T10:05:00Z",
		"2026-11-21T10:05:06.123456789": "2026-11-21T10:05:06.123Z",
		"2026-11-21T10:05:06,5Z":        "2026-11-21T10:05:06.5Z",
		"2026-11-21T10:05:06+02:00":     "2026-11-21T08:05:06Z",
		"2026-11-21T10:05+0200":         "2026-11-21T08:05:00Z",
		"2026-11-21T10:05:06Z":          "2026-11-21T10:05:06Z",
	} {
		ms, ok := textTime(text)
		require.True(t, ok, text)
		require.Equal(t, want, time.UnixMilli(ms).UTC().Format(time.RFC3339Nano), text)
	}
	for _, bad := range []string{"", "yesterday", "21.11.2026", "+5", "2026-11-21T25:00"} {
		_, ok := textTime(bad)
		require.False(t, ok, bad)
	}
}
