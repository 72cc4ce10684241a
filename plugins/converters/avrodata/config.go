package avrodata

import (
	"errors"

	"github.com/moldau-io/moldau/plugins"
)

// Config are the settings of the mapping. It is comparable: compiled forms are cached by it. [DefaultConfig] gives the defaults.
type Config struct {
	// ConnectMetaData writes and reads the connect.* properties.
	ConnectMetaData bool
	// Enhanced keeps enums (from the parameters of a string schema) and full names of union members.
	Enhanced bool
	// ScrubNames replaces characters that Avro does not allow in names.
	ScrubNames bool
	// AllowOptionalMapKeys writes maps with optional string keys as Avro maps.
	AllowOptionalMapKeys bool
	// FlattenSingletonUnions reads a union of one type as that type.
	FlattenSingletonUnions bool
	// DiscardTypeDocDefault keeps only field docs and defaults, not those of types.
	DiscardTypeDocDefault bool
	// IgnoreDefaultForNullables writes a null as null even where the schema has a default.
	IgnoreDefaultForNullables bool
}

// DefaultConfig returns the defaults of the original.
func DefaultConfig() Config { return Config{ConnectMetaData: true, FlattenSingletonUnions: true} }

// Names that the mapping uses in Avro schemas and in Connect schemas made from them.
const (
	Namespace   = "io.confluent.connect.avro"
	DefaultName = "ConnectDefault"
	UnionName   = Namespace + ".Union"
	EnumParam   = Namespace + ".Enum"

	anythingName = Namespace + ".Anything"
	mapEntry     = "MapEntry"

	propName       = "connect.name"
	propDoc        = "connect.doc"
	propRecordDoc  = "connect.record.doc"
	propEnumDoc    = "connect.enum.doc"
	propVersion    = "connect.version"
	propDefault    = "connect.default"
	propParameters = "connect.parameters"
	propInternal   = "connect.internal.type"
	propType       = "connect.type"

	paramRecordDoc    = Namespace + ".record.doc"
	paramEnumDoc      = Namespace + ".enum.doc."
	paramFieldDoc     = Namespace + ".field.doc."
	paramFieldDefault = Namespace + ".field.default"
	paramEnumDefault  = Namespace + ".enum.default."
	paramFixedSize    = "connect.fixed.size"
	paramPrecision    = "connect.decimal.precision"

	defaultPrecision = 64
)

// maxDepth bounds the nesting of schemaless values, the only ones whose depth the schema does not bound.
const maxDepth = 200

// atPath adds a field name to the path of a data error.
func atPath(name string, err error) error {
	var p *pathError
	if errors.As(err, &p) {
		p.path = name + "." + p.path
		return err
	}
	var d *plugins.DataError
	if errors.As(err, &d) {
		return &plugins.DataError{Err: &pathError{name, d.Err}}
	}
	return err
}

// pathError says in which field an error was found.
type pathError struct {
	path string
	err  error
}

func (e *pathError) Error() string { return e.err.Error() + " (field " + e.path + ")" }

func (e *pathError) Unwrap() error { return e.err }
