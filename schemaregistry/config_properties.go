package schemaregistry

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moldau-io/moldau/schemaregistry/avro"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Options configure a Registry. DefaultOptions has what a server without configuration uses; New fills zero members the same way.
type Options struct {
	// KafkaOpts say how to reach Kafka: seed brokers, TLS and SASL, or a dialer in memory. The registry adds what it needs.
	KafkaOpts []kgo.Opt
	// Topic that holds the schemas.
	Topic string
	// ReplicationFactor of the topic when it is created; fewer if there are fewer brokers.
	ReplicationFactor int
	// Timeout bounds one read to the end of the topic, and one write until this node has read it back.
	Timeout time.Duration
	// InitTimeout bounds the wait for the next record while the topic is read at start.
	InitTimeout time.Duration
	// WriteRetries is how often a decision is taken again because another node's write came first.
	WriteRetries int
	// Level is the compatibility level where none is configured.
	Level string
	// ImmutableMode refuses changes of mode.
	ImmutableMode bool
	// SkipNewValidation accepts names and defaults that Avro does not allow in new schemas.
	SkipNewValidation bool
	// ValidateFields checks reserved fields where config does not say.
	ValidateFields bool
	// IncompatibleCode is the error code of an incompatible schema: 409, or 40901 as the newest releases of Confluent's registry.
	IncompatibleCode int
	// SearchLimit is how many schemas GET /schemas returns if the request does not say, SearchMaxLimit how many it may ask for.
	SearchLimit, SearchMaxLimit int
	// Limits bound the cost of a schema.
	Limits Limits
	// Leadership says which node writes. Nil: this one, which is safe but slower to notice others.
	Leadership Leadership
	// Logger of the registry; nil discards.
	Logger *slog.Logger
	// Registerer of the metrics; nil keeps them to the registry.
	Registerer prometheus.Registerer
}

// DefaultOptions returns the options of a registry without configuration.
func DefaultOptions() Options {
	return Options{Topic: "_schemas", ReplicationFactor: 3, Timeout: 5 * time.Second, InitTimeout: time.Minute, WriteRetries: 5,
		Level: string(avro.Backward), IncompatibleCode: 409, SearchLimit: 1000, SearchMaxLimit: 1000,
		Limits: Limits{SchemaBytes: avro.DefaultMaxBytes, CacheSize: 1000}}
}

// Property is a configuration property of the registry.
type Property struct {
	Name    string
	Default string
	Doc     string
	// Only is the one value that is accepted, where the property is known but changes nothing here.
	Only string
	// Refused says why the property cannot be set at all.
	Refused string
	set     func(*Options, string) error
}

func text(to func(*Options) *string) func(*Options, string) error {
	return func(o *Options, v string) error {
		if v == "" {
			return errors.New("is empty")
		}
		*to(o) = v
		return nil
	}
}

func number(least int, to func(*Options) *int) func(*Options, string) error {
	return func(o *Options, v string) error {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil || int(n) < least {
			return fmt.Errorf("is %q, not a whole number of at least %d", v, least)
		}
		*to(o) = int(n)
		return nil
	}
}

func millis(to func(*Options) *time.Duration) func(*Options, string) error {
	return func(o *Options, v string) error {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil || n <= 0 {
			return fmt.Errorf("is %q, not a number of milliseconds above 0", v)
		}
		*to(o) = time.Duration(n) * time.Millisecond
		return nil
	}
}

func flag(to func(*Options, bool)) func(*Options, string) error {
	return func(o *Options, v string) error {
		switch strings.ToLower(v) {
		case "true":
			to(o, true)
		case "false":
			to(o, false)
		default:
			return fmt.Errorf("is %q, not true or false", v)
		}
		return nil
	}
}

func setLevel(o *Options, v string) error {
	level, ok := avro.ParseLevel(v)
	if !ok {
		return fmt.Errorf("is %q, not one of none, backward, forward, full, backward_transitive, forward_transitive, full_transitive", v)
	}
	o.Level = string(level)
	return nil
}

const oneWriter = "nodes do not elect a leader yet; every node may write"

var properties = []Property{
	{Name: "kafkastore.topic", Default: "_schemas", Doc: "Topic that holds the schemas; one partition, compacted.", set: text(func(o *Options) *string { return &o.Topic })},
	{Name: "kafkastore.topic.replication.factor", Default: "3", Doc: "Replicas of the topic when it is created; fewer if there are fewer brokers.", set: number(1, func(o *Options) *int { return &o.ReplicationFactor })},
	{Name: "kafkastore.timeout.ms", Default: "5000", Doc: "Bounds one read to the end of the topic and one write until it is read back. Confluent's default of 500 answers an error for writes that a busy disk made late.", set: millis(func(o *Options) *time.Duration { return &o.Timeout })},
	{Name: "kafkastore.init.timeout.ms", Default: "60000", Doc: "Bounds the wait for the next record while the topic is read at start.", set: millis(func(o *Options) *time.Duration { return &o.InitTimeout })},
	{Name: "kafkastore.write.max.retries", Default: "5", Doc: "How often a decision is taken again because another node's write came first.", set: number(0, func(o *Options) *int { return &o.WriteRetries })},
	{Name: "schema.compatibility.level", Default: "backward", Doc: "Compatibility level where none is configured.", set: setLevel},
	{Name: "avro.compatibility.level", Default: "", Doc: "Old name of schema.compatibility.level.", set: setLevel},
	{Name: "mode.mutability", Default: "true", Doc: "Whether modes may be changed.", set: flag(func(o *Options, b bool) { o.ImmutableMode = !b })},
	{Name: "schema.validate.fields", Default: "false", Doc: "Check reserved fields where config does not say.", set: flag(func(o *Options, b bool) { o.ValidateFields = b })},
	{Name: "schema.validate.new.schemas", Default: "true", Doc: "Check names and defaults of new schemas.", set: flag(func(o *Options, b bool) { o.SkipNewValidation = !b })},
	{Name: "schema.cache.size", Default: "1000", Doc: "Parsed schemas that are kept for comparisons.", set: number(1, func(o *Options) *int { return &o.Limits.CacheSize })},
	{Name: "schema.search.default.limit", Default: "1000", Doc: "Schemas that GET /schemas returns if the request does not say.", set: number(1, func(o *Options) *int { return &o.SearchLimit })},
	{Name: "schema.search.max.limit", Default: "1000", Doc: "Schemas that GET /schemas returns at most.", set: number(1, func(o *Options) *int { return &o.SearchMaxLimit })},
	{Name: "max.schema.size", Default: "1048576", Doc: "Longest text of a new schema, in bytes.", set: number(1, func(o *Options) *int { return &o.Limits.SchemaBytes })},
	{Name: "incompatible.schema.error.code", Default: "409", Doc: "Error code of an incompatible schema: 409, or 40901 as Confluent's newest releases.", set: func(o *Options, v string) error {
		if v != "409" && v != "40901" {
			return fmt.Errorf("is %q, not 409 or 40901", v)
		}
		o.IncompatibleCode, _ = strconv.Atoi(v)
		return nil
	}},
	{Name: "kafkastore.topic.skip.validation", Only: "false", Doc: "The topic is always validated."},
	{Name: "leader.eligibility", Only: "true", Doc: oneWriter},
	{Name: "master.eligibility", Only: "true", Doc: oneWriter},
	{Name: "schema.registry.group.id", Only: "schema-registry", Doc: oneWriter},
	{Name: "kafkastore.group.id", Refused: oneWriter},
	{Name: "leader.election.delay", Only: "false", Doc: oneWriter},
	{Name: "leader.election.sticky", Only: "false", Doc: oneWriter},
	{Name: "host.name", Refused: oneWriter},
	{Name: "inter.instance.protocol", Only: "http", Doc: oneWriter},
	{Name: "inter.instance.listener.name", Refused: oneWriter},
	{Name: "kafkastore.checkpoint.dir", Refused: "the topic is read at every start"},
	{Name: "kafkastore.checkpoint.version", Only: "0"},
	{Name: "kafkastore.connection.url", Refused: "there is no ZooKeeper; set bootstrap.servers"},
	{Name: "schema.cache.expiry.secs", Only: "300", Doc: "The cache is bounded by its size."},
	{Name: "schema.providers", Refused: "AVRO is the only schema type"},
	{Name: "schema.providers.avro.validate.defaults", Only: "true", Doc: "See schema.validate.new.schemas."},
	{Name: "resource.extension.class", Refused: "there are no plugins in the registry"},
	{Name: "schema.registry.resource.extension.class", Refused: "there are no plugins in the registry"},
	{Name: "resource.static.locations", Refused: "the registry serves no files"},
	{Name: "metadata.encoder.secret", Refused: "sensitive metadata is not encrypted"},
	{Name: "metadata.encoder.topic", Refused: "sensitive metadata is not encrypted"},
	{Name: "response.mediatype.preferred", Only: "application/vnd.schemaregistry.v1+json,application/vnd.schemaregistry+json,application/json"},
	{Name: "response.mediatype.default", Only: "application/vnd.schemaregistry.v1+json"},
	{Name: "authentication.method", Only: "NONE"},
	{Name: "access.control.allow.origin", Only: ""},
	{Name: "access.control.allow.methods", Only: ""},
	{Name: "debug", Only: "false"},
	{Name: "compression.enable", Only: "true"},
	{Name: "request.logger.name", Refused: "requests are logged by the server's logger"},
	{Name: "avro.compatibility.policy", Refused: "use compatibilityPolicy in a subject's config"},
}

// Properties returns every property that the registry knows, those that it refuses among them. bootstrap.servers and listeners are
// the server's.
func Properties() []Property { return slices.Clone(properties) }

// ParseConfig reads options from properties. An error names the property, and the nearest one that exists if it is unknown.
func ParseConfig(props map[string]string) (Options, error) {
	o := DefaultOptions()
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(props)) {
		i := slices.IndexFunc(properties, func(p Property) bool { return p.Name == name })
		if i < 0 {
			errs = append(errs, fmt.Errorf("%s is not a property of the registry%s", name, suggestion(name)))
			continue
		}
		switch p, v := properties[i], strings.TrimSpace(props[name]); {
		case p.Refused != "":
			errs = append(errs, fmt.Errorf("%s is not supported: %s", name, p.Refused))
		case p.set == nil && v != p.Only:
			errs = append(errs, fmt.Errorf("%s is %q, but only %q is supported. %s", name, v, p.Only, p.Doc))
		case p.set != nil:
			if err := p.set(&o, v); err != nil {
				errs = append(errs, fmt.Errorf("%s %w", name, err))
			}
		}
	}
	return o, errors.Join(errs...)
}

// suggestion names the property that name is probably meant to be.
func suggestion(name string) string {
	best, distance := "", 4
	for _, p := range properties {
		if d := editDistance(name, p.Name); d < distance {
			best, distance = p.Name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
