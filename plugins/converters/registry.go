package converters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/moldau-io/moldau/plugins"
)

// SchemaRegistry is what the Avro converter asks of a registry with the Confluent API. Implementations are safe for concurrent use,
// retry what may pass by themselves as RegistryConfig says, and return *RegistryError when the registry answered with an error.
type SchemaRegistry interface {
	// Register registers a schema under subject, or finds it there, and returns its id.
	Register(ctx context.Context, subject, schema string, normalize bool) (id int32, err error)
	// Lookup finds a schema under subject. deleted also finds versions that are deleted softly.
	Lookup(ctx context.Context, subject, schema string, normalize, deleted bool) (RegisteredSchema, error)
	// Latest returns the newest version of subject.
	Latest(ctx context.Context, subject string) (RegisteredSchema, error)
	// Version returns one version of subject.
	Version(ctx context.Context, subject string, version int32) (RegisteredSchema, error)
	// ByID returns a schema by its id; subject is a hint at where it was used, and may be empty.
	ByID(ctx context.Context, id int32, subject string) (RegisteredSchema, error)
}

// RegisteredSchema is a schema as a registry knows it. Members that the call at hand does not return are zero.
type RegisteredSchema struct {
	ID, Version int32
	Type        string // "" is AVRO
	Text        string
	References  []SchemaReference
}

// SchemaReference names a schema that another refers to.
type SchemaReference struct {
	Name, Subject string
	Version       int32
}

// RegistryError is an error that the registry answered with.
type RegistryError struct {
	Status  int // of HTTP
	Code    int // of the registry, e.g. 40401
	Message string
}

// Error renders the error as Confluent's client does.
func (e *RegistryError) Error() string { return fmt.Sprintf("%s; error code: %d", e.Message, e.Code) }

// RegistryConfig says how to reach a registry.
type RegistryConfig struct {
	URLs               []string
	Local              bool // the registry is that of plugins.ConverterEnv
	Randomize          bool // start with any of the URLs
	Username, Password string
	BearerToken        string
	Headers            map[string]string
	ConnectTimeout     time.Duration
	ReadTimeout        time.Duration
	MaxRetries         int
	RetryWait          time.Duration // before the first retry, doubled for each further one
	RetryMaxWait       time.Duration
}

// registryFailure sorts an error of the registry: what may pass is retriable, what the registry refused is about the data.
func registryFailure(err error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	var r *RegistryError
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", what, err)
	case !errors.As(err, &r), r.Status >= 500, r.Status == 408, r.Status == 429:
		return plugins.Retriable(fmt.Errorf("%s: %w", what, err))
	case r.Status == 401, r.Status == 403:
		return fmt.Errorf("%s: %w", what, err)
	default:
		return plugins.Dataf("%s: %w", what, err)
	}
}
