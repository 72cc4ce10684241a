package s3

import (
	"strconv"
	"strings"
	"time"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

// partitioner makes the folder path of a record ("partition=3", "day=2026-11-21").
type partitioner func(r *plugins.SinkRecord) (string, error)

// clock is the wall clock; a seam for tests.
type clock func() time.Time

// newPartitioner builds the configured one, and the extractor that rotate.interval.ms uses: nil when it works on wall-clock time.
func newPartitioner(v configdef.Values, loc *time.Location, now clock) (partitioner, extractor, error) {
	name, _ := partitionerName(v.Str("partitioner.class"))
	extract := newExtractor(v, now)
	switch name {
	case "default":
		paths := map[int32]string{}
		return func(r *plugins.SinkRecord) (string, error) {
			p, ok := paths[r.Partition]
			if !ok {
				p = "partition=" + strconv.Itoa(int(r.Partition))
				paths[r.Partition] = p
			}
			return p, nil
		}, extract, nil
	case "field":
		fields, delim := v.List("partition.field.name"), v.Str("directory.delim")
		return func(r *plugins.SinkRecord) (string, error) { return fieldPath(r, fields, delim) }, extract, nil
	}
	pattern, width := v.Str("path.format"), v.Millis("partition.duration.ms")
	switch name {
	case "daily":
		pattern, width = "'year'=YYYY/'month'=MM/'day'=dd", 24*time.Hour
	case "hourly":
		pattern, width = "'year'=YYYY/'month'=MM/'day'=dd/'hour'=HH", time.Hour
	}
	if delim := v.Str("directory.delim"); name != "time" {
		pattern = strings.ReplaceAll(pattern, "/", delim)
	} else {
		pattern = strings.TrimSuffix(pattern, delim)
	}
	j, err := parseJoda(pattern)
	if err != nil {
		return nil, nil, err
	}
	var last int64 = -1 << 62
	var path string
	return func(r *plugins.SinkRecord) (string, error) {
		ts, err := extract(r)
		if err != nil {
			return "", err
		}
		// The partition a time falls into is counted in local time, as the original does, so that days begin at local midnight.
		_, off := time.UnixMilli(ts).In(loc).Zone()
		w := width.Milliseconds()
		start := (ts + int64(off)*1000) / w * w // cut towards 1970, as the original
		if start != last {
			last, path = start, j.format(localTime(start, loc))
		}
		return path, nil
	}, extract, nil
}

// localTime returns the time at which clocks in loc show what ms says as if it were UTC. A time that clocks left out is moved on by what
// they left out.
func localTime(ms int64, loc *time.Location) time.Time {
	want := time.UnixMilli(ms).UTC()
	t := time.Date(want.Year(), want.Month(), want.Day(), want.Hour(), want.Minute(), want.Second(), want.Nanosecond(), loc)
	if t.Hour() == want.Hour() && t.Minute() == want.Minute() && t.Day() == want.Day() {
		return t
	}
	_, before := t.Add(-6 * time.Hour).Zone()
	return time.UnixMilli(ms - int64(before)*1000).In(loc)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// extractor gives a record's time in milliseconds since the epoch.
type extractor func(r *plugins.SinkRecord) (int64, error)

func newExtractor(v configdef.Values, now clock) extractor {
	switch extractorName(v.Str("timestamp.extractor")) {
	case "record":
		return recordTime
	case "field":
		field := v.Str("timestamp.field")
		return func(r *plugins.SinkRecord) (int64, error) { return fieldTime(r, field) }
	}
	if name, _ := partitionerName(v.Str("partitioner.class")); name == "default" || name == "field" {
		// These have no notion of time; rotate.interval.ms then counts record time, which keeps it deterministic.
		return recordTime
	}
	return func(*plugins.SinkRecord) (int64, error) { return now().UnixMilli(), nil }
}

func recordTime(r *plugins.SinkRecord) (int64, error) {
	if r.Timestamp == plugins.NoTimestamp {
		return 0, plugins.Dataf("%s-%d offset %d: the record has no timestamp", r.Topic, r.Partition, r.Offset)
	}
	return r.Timestamp, nil
}

// lookup follows a path of fields. Below a struct that is null, fields that its schema has are null too.
func lookup(v data.Value, s *data.Schema, path string) (data.Value, *data.Schema, bool) {
	for part := range strings.SplitSeq(path, ".") {
		switch v.Type() {
		case data.TypeInvalid:
			if s.Type() != data.TypeStruct {
				return data.Null, nil, false
			}
			f, ok := s.Field(part)
			if !ok {
				return data.Null, nil, false
			}
			s = f.Schema
		case data.TypeStruct:
			st := v.Struct()
			f, ok := st.Schema.Field(part)
			if !ok {
				return data.Null, nil, false
			}
			v, s = st.Values[f.Index], f.Schema
		case data.TypeMap:
			found := false
			for _, e := range v.Map() {
				if e.Key.Type() == data.TypeString && e.Key.Str() == part {
					v, s, found = e.Value, nil, true
					break
				}
			}
			if !found {
				return data.Null, nil, false
			}
		default:
			return data.Null, nil, false
		}
	}
	return v, s, true
}

func fieldTime(r *plugins.SinkRecord, field string) (int64, error) {
	v, s, ok := lookup(r.Value, r.ValueSchema, field)
	bad := func(why string) (int64, error) {
		return 0, plugins.Dataf("%s-%d offset %d: timestamp.field %q %s", r.Topic, r.Partition, r.Offset, field, why)
	}
	if !ok || v.IsNull() {
		return bad("is not there")
	}
	switch v.Type() {
	case data.TypeInt32, data.TypeInt64:
		switch s.Name() {
		case "io.debezium.time.MicroTimestamp":
			return floorDiv(v.Int(), 1000), nil
		case "io.debezium.time.NanoTimestamp":
			return floorDiv(v.Int(), 1_000_000), nil
		case data.LogicalDate, "io.debezium.time.Date":
			return v.Int() * 86_400_000, nil
		}
		return v.Int(), nil
	case data.TypeFloat64:
		if f := v.Float(); f > -1e18 && f < 1e18 { // a number of a JSON document
			return int64(f), nil
		}
	case data.TypeString:
		if ms, ok := textTime(v.Str()); ok {
			return ms, nil
		}
		return bad("is a text that is no ISO date: " + v.Str())
	}
	return bad("is neither a number nor a text")
}

// textTime reads milliseconds in digits, or an ISO 8601 date with or without a time and an offset; without one it is in UTC.
func textTime(s string) (ms int64, ok bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && s[0] != '+' {
		return n, true
	}
	for _, day := range []string{"2006-01-02", "2006-002", "2006-01"} {
		for _, clock := range []string{"T15:04:05", " 15:04:05", "T15:04", "T15", ""} {
			for _, offset := range []string{"", "Z07:00", "Z0700", "Z07"} {
				if t, err := time.Parse(day+clock+offset, strings.Replace(s, ",", ".", 1)); err == nil {
					return t.UnixMilli(), true
				}
			}
		}
	}
	return 0, false
}

func fieldPath(r *plugins.SinkRecord, fields []string, delim string) (string, error) {
	var sb strings.Builder
	for i, f := range fields {
		if i > 0 {
			sb.WriteString(delim)
		}
		v, _, ok := lookup(r.Value, r.ValueSchema, f)
		if !ok {
			return "", plugins.Dataf("%s-%d offset %d: partition.field.name %q is not in the record", r.Topic, r.Partition, r.Offset, f)
		}
		switch v.Type() {
		case data.TypeInvalid, data.TypeBoolean, data.TypeInt8, data.TypeInt16, data.TypeInt32, data.TypeInt64, data.TypeString:
		default:
			return "", plugins.Dataf("%s-%d offset %d: partition.field.name %q is a %s; it must be an integer, a string or a boolean", r.Topic, r.Partition, r.Offset, f, v.Type())
		}
		sb.WriteString(f)
		sb.WriteByte('=')
		sb.WriteString(v.String())
	}
	return sb.String(), nil
}
