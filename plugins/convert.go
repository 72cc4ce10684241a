package plugins

import (
	"context"
	"log/slog"

	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/data"
)

// Converter turns data into the bytes of a record's key or value and back. It is used by one task at a time, from one goroutine.
type Converter interface {
	// Configure is called once; isKey tells which side it serves.
	Configure(ctx context.Context, env ConverterEnv, cfg configdef.Values, isKey bool) error
	// FromData appends the encoded form to dst and returns it; a null result is (nil, nil) whatever dst holds. Schema may be nil.
	FromData(ctx context.Context, dst []byte, topic string, schema *data.Schema, v data.Value) ([]byte, error)
	// ToData decodes b, which it may alias in the result and which is never changed. b == nil is a null.
	ToData(ctx context.Context, topic string, b []byte) (*data.Schema, data.Value, error)
}

// HeaderConverter is a Converter for header values.
type HeaderConverter interface {
	Configure(ctx context.Context, env ConverterEnv, cfg configdef.Values) error
	FromHeader(topic, key string, schema *data.Schema, v data.Value) ([]byte, error)
	ToHeader(topic, key string, b []byte) (*data.Schema, data.Value, error)
}

// ConverterEnv is what the worker gives a converter.
type ConverterEnv struct {
	Logger *slog.Logger
	// RegistryURL is the hub's own registry, used when the config names none; "" when there is none.
	RegistryURL string
}

// Record is the view of a record that transforms work on; both directions share it.
type Record struct {
	Topic       string
	Partition   int32
	KeySchema   *data.Schema
	Key         data.Value
	ValueSchema *data.Schema
	Value       data.Value
	Timestamp   int64
	Headers     []data.Header
	// Offset and IsSink: a sink record's offset, for InsertField's offset.field.
	Offset int64
	IsSink bool
}

// Transform changes one record at a time. It is used from one goroutine.
type Transform interface {
	Configure(cfg configdef.Values) error
	// Apply changes r in place and reports whether to keep it. Values that r refers to are immutable: replace, do not modify.
	Apply(r *Record) (keep bool, err error)
	Close() error
}

// Predicate decides whether a transform applies.
type Predicate interface {
	Configure(cfg configdef.Values) error
	Test(r *Record) bool
	Close() error
}
