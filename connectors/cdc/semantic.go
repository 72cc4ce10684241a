package cdc

import (
	"strconv"
	"strings"

	"github.com/moldau-io/moldau/plugins/data"
)

// Names of Debezium's semantic types.
const (
	SchemaDate            = "io.debezium.time.Date"
	SchemaTime            = "io.debezium.time.Time"
	SchemaMicroTime       = "io.debezium.time.MicroTime"
	SchemaNanoTime        = "io.debezium.time.NanoTime"
	SchemaTimestamp       = "io.debezium.time.Timestamp"
	SchemaMicroTimestamp  = "io.debezium.time.MicroTimestamp"
	SchemaNanoTimestamp   = "io.debezium.time.NanoTimestamp"
	SchemaIsoDate         = "io.debezium.time.IsoDate"
	SchemaIsoTime         = "io.debezium.time.IsoTime"
	SchemaIsoTimestamp    = "io.debezium.time.IsoTimestamp"
	SchemaZonedTime       = "io.debezium.time.ZonedTime"
	SchemaZonedTimestamp  = "io.debezium.time.ZonedTimestamp"
	SchemaMicroDuration   = "io.debezium.time.MicroDuration"
	SchemaInterval        = "io.debezium.time.Interval"
	SchemaYear            = "io.debezium.time.Year"
	SchemaBits            = "io.debezium.data.Bits"
	SchemaEnum            = "io.debezium.data.Enum"
	SchemaEnumSet         = "io.debezium.data.EnumSet"
	SchemaJSON            = "io.debezium.data.Json"
	SchemaXML             = "io.debezium.data.Xml"
	SchemaUUID            = "io.debezium.data.Uuid"
	SchemaLtree           = "io.debezium.data.Ltree"
	SchemaTsvector        = "io.debezium.data.Tsvector"
	SchemaVariableDecimal = "io.debezium.data.VariableScaleDecimal"
	SchemaPoint           = "io.debezium.data.geometry.Point"
	SchemaGeometry        = "io.debezium.data.geometry.Geometry"
	SchemaGeography       = "io.debezium.data.geometry.Geography"
	SchemaDoubleVector    = "io.debezium.data.DoubleVector"
	SchemaFloatVector     = "io.debezium.data.FloatVector"
	SchemaSparseVector    = "io.debezium.data.SparseDoubleVector"
)

// Semantic starts a schema of physical type t under one of Debezium's names, version 1.
func Semantic(t data.Type, name string) *data.Builder { return data.New(t).Name(name).Version(1) }

// Bits starts the schema of a bit string of n bits.
func Bits(n int) *data.Builder {
	return Semantic(data.TypeBytes, SchemaBits).Param("length", strconv.Itoa(n))
}

// Enum starts the schema of an enumeration. Allowed values are joined by commas as they are.
func Enum(allowed []string) *data.Builder {
	return Semantic(data.TypeString, SchemaEnum).Param("allowed", strings.Join(allowed, ","))
}

// EnumSet starts the schema of a set of enumeration values.
func EnumSet(allowed []string) *data.Builder {
	return Semantic(data.TypeString, SchemaEnumSet).Param("allowed", strings.Join(allowed, ","))
}

// VariableScaleDecimal starts the schema of a decimal whose scale is the value's own.
func VariableScaleDecimal() *data.Builder {
	return data.NewStruct().Name(SchemaVariableDecimal).Version(1).Doc("Variable scaled decimal").
		Field("scale", data.Int32Schema).Field("value", data.BytesSchema)
}

// Point starts the schema of a point.
func Point() *data.Builder {
	return data.NewStruct().Name(SchemaPoint).Version(1).Doc("Geometry (POINT)").
		Field("x", data.Float64Schema).Field("y", data.Float64Schema).
		Field("wkb", data.OptionalBytesSchema).Field("srid", data.OptionalInt32Schema)
}

// Geometry starts the schema of a geometry in well-known binary form.
func Geometry() *data.Builder {
	return data.NewStruct().Name(SchemaGeometry).Version(1).Doc("Geometry").
		Field("wkb", data.BytesSchema).Field("srid", data.OptionalInt32Schema)
}

// SparseVector starts the schema of a sparse vector.
func SparseVector() *data.Builder {
	return data.NewStruct().Name(SchemaSparseVector).Version(1).Doc("Sparse double vector").
		Field("dimensions", data.Int16Schema).Field("vector", data.NewMap(data.Int16Schema, data.Float64Schema).Build())
}

// SnapshotField is the schema of source.snapshot.
var SnapshotField = Enum([]string{"true", "first", "first_in_data_collection", "last_in_data_collection", "last", "false", "incremental"}).
	Optional().Default(data.String("false")).Build()

// TransactionBlock is the schema of an envelope's transaction field.
var TransactionBlock = data.NewStruct().Name("event.block").Version(1).Optional().
	Field("id", data.StringSchema).Field("total_order", data.Int64Schema).Field("data_collection_order", data.Int64Schema).Build()
