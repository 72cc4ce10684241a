package cdc

import "github.com/moldau-io/moldau/plugins/data"

// Places of the fields that every source block begins with; a connector's own follow from SourceOwn on.
const (
	SourceVersion = iota
	SourceConnector
	SourceName
	SourceTsMs
	SourceSnapshot
	SourceDB
	SourceSequence
	SourceTsUs
	SourceTsNs
	SourceOwn
)

// SourceSchema starts the schema of a connector's source blocks with the fields that all have.
func SourceSchema(name string) *data.Builder {
	return data.NewStruct().Name(name).Version(1).
		Field("version", data.StringSchema).Field("connector", data.StringSchema).Field("name", data.StringSchema).
		Field("ts_ms", data.Int64Schema).Field("snapshot", SnapshotField).Field("db", data.StringSchema).
		Field("sequence", data.OptionalStringSchema).Field("ts_us", data.OptionalInt64Schema).Field("ts_ns", data.OptionalInt64Schema)
}

// SourceBlock returns the n values of a source block of database db, with what all events have filled in.
func (c *Config) SourceBlock(n int, db string) []data.Value {
	v := make([]data.Value, n)
	v[SourceVersion], v[SourceConnector], v[SourceName] = data.String(ParityVersion), data.String(c.Connector), data.String(c.Prefix)
	v[SourceSnapshot], v[SourceDB] = data.String("false"), data.String(db)
	return v
}

// SetSourceTime fills in when the source made a change, in microseconds since the epoch.
func SetSourceTime(block []data.Value, micros int64) {
	block[SourceTsMs], block[SourceTsUs], block[SourceTsNs] = data.Int64(micros/1000), data.Int64(micros), data.Int64(micros*1000)
}
