package converters

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/moldau-io/moldau/plugins"
	"github.com/moldau-io/moldau/plugins/configdef"
	"github.com/moldau-io/moldau/plugins/converters/avrodata"
)

const (
	strategyPackage     = "io.confluent.kafka.serializers.subject."
	topicNameStrategy   = "TopicNameStrategy"
	recordNameStrategy  = "RecordNameStrategy"
	topicRecordStrategy = "TopicRecordNameStrategy"
)

var strategies = []string{topicNameStrategy, recordNameStrategy, topicRecordStrategy,
	strategyPackage + topicNameStrategy, strategyPackage + recordNameStrategy, strategyPackage + topicRecordStrategy}

func checkStrategy(v any) string {
	if m := configdef.OneOf(false, strategies...)(v); m != "" {
		return "the subject name strategies are " + strings.Join(strategies[3:], ", ")
	}
	return ""
}

var avroDef = configdef.NewDef(
	configdef.Key{Name: "schema.registry.url", Type: configdef.List, Importance: configdef.High,
		Doc: "Comma-separated list of URLs of schema registry instances. By default the registry of this hub."},
	configdef.Key{Name: "schema.registry.url.randomize", Type: configdef.Boolean, Default: false, Importance: configdef.Low,
		Doc: "Start with any of the registry's URLs instead of the first."},
	configdef.Key{Name: "auto.register.schemas", Type: configdef.Boolean, Default: true, Importance: configdef.Medium,
		Doc: "Register schemas that the registry does not have. Otherwise they must be there."},
	configdef.Key{Name: "use.latest.version", Type: configdef.Boolean, Default: false, Importance: configdef.Low,
		Doc: "Without auto.register.schemas, write with the latest version of the subject instead of the version equal to the data's schema."},
	configdef.Key{Name: "latest.compatibility.strict", Type: configdef.Boolean, Default: true, Importance: configdef.Low,
		Doc: "With use.latest.version, refuse data with fields that the latest version does not have, instead of leaving them out."},
	configdef.Key{Name: "latest.cache.ttl.sec", Type: configdef.Long, Default: -1, Importance: configdef.Low,
		Doc: "How long the latest version of a subject is remembered, in seconds; -1 is for good."},
	configdef.Key{Name: "normalize.schemas", Type: configdef.Boolean, Default: false, Importance: configdef.Medium,
		Doc: "Ask the registry to normalize schemas when they are registered or looked up."},
	configdef.Key{Name: "key.subject.name.strategy", Type: configdef.Class, Default: strategyPackage + topicNameStrategy, Importance: configdef.Medium, Check: checkStrategy,
		Doc: "How the subject of a key's schema is named: by topic, by record, or by both."},
	configdef.Key{Name: "value.subject.name.strategy", Type: configdef.Class, Default: strategyPackage + topicNameStrategy, Importance: configdef.Medium, Check: checkStrategy,
		Doc: "How the subject of a value's schema is named: by topic, by record, or by both."},
	configdef.Key{Name: "basic.auth.credentials.source", Type: configdef.String, Default: "URL", Importance: configdef.Medium, Check: configdef.OneOf(false, "URL", "USER_INFO"),
		Doc: "Where the credentials of HTTP basic authentication are: in the URL, or in basic.auth.user.info (USER_INFO)."},
	configdef.Key{Name: "basic.auth.user.info", Aliases: []string{"schema.registry.basic.auth.user.info"}, Type: configdef.Password, Default: "", Importance: configdef.Medium,
		Doc: "User and password as user:password, for basic.auth.credentials.source=USER_INFO."},
	configdef.Key{Name: "bearer.auth.credentials.source", Type: configdef.String, Default: "STATIC_TOKEN", Importance: configdef.Medium,
		Unsupported: "only STATIC_TOKEN is"},
	configdef.Key{Name: "bearer.auth.token", Type: configdef.Password, Default: "", Importance: configdef.Medium,
		Doc: "A token for bearer authentication."},
	configdef.Key{Name: "http.connect.timeout.ms", Type: configdef.Int, Default: 60000, Importance: configdef.Low, Doc: "How long connecting to the registry may take."},
	configdef.Key{Name: "http.read.timeout.ms", Type: configdef.Int, Default: 60000, Importance: configdef.Low, Doc: "How long the registry's answer may take."},
	configdef.Key{Name: "max.retries", Type: configdef.Int, Default: 3, Importance: configdef.Low, Doc: "How often a failed request to the registry is repeated."},
	configdef.Key{Name: "retries.wait.ms", Type: configdef.Int, Default: 1000, Importance: configdef.Low, Doc: "Time before the first repetition, doubled for each further one."},
	configdef.Key{Name: "retries.max.wait.ms", Type: configdef.Int, Default: 20000, Importance: configdef.Low, Doc: "The longest time before a repetition."},
	configdef.Key{Name: "max.schemas.per.subject", Type: configdef.Int, Default: 1000, Importance: configdef.Low, Check: configdef.AtLeast(1), Doc: "How many schema ids are remembered."},
	configdef.Key{Name: "schemas.cache.config", Type: configdef.Int, Default: 1000, Importance: configdef.Low, Doc: "How many converted schemas are remembered."},
	configdef.Key{Name: "enhanced.avro.schema.support", Type: configdef.Boolean, Default: false, Importance: configdef.Medium,
		Doc: "Toggle for enabling/disabling enhanced avro schema support: Enum symbol preservation and Package Name awareness"},
	configdef.Key{Name: "scrub.invalid.names", Type: configdef.Boolean, Default: false, Importance: configdef.Medium,
		Doc: "Whether to scrub invalid names by replacing invalid characters with valid ones"},
	configdef.Key{Name: "connect.meta.data", Type: configdef.Boolean, Default: true, Importance: configdef.Low,
		Doc: "Toggle for enabling/disabling connect converter to add its meta data to the output schema or not"},
	configdef.Key{Name: "discard.type.doc.default", Type: configdef.Boolean, Default: false, Importance: configdef.Low,
		Doc: "Only Avro field doc and default will be retained during conversion of Avro and Connect schema."},
	configdef.Key{Name: "allow.optional.map.keys", Type: configdef.Boolean, Default: false, Importance: configdef.Low,
		Doc: "Allow optional string map key when converting from Connect Schema to Avro Schema."},
	configdef.Key{Name: "flatten.singleton.unions", Type: configdef.Boolean, Default: true, Importance: configdef.Low,
		Doc: "Whether to flatten singleton unions"},
	configdef.Key{Name: "ignore.default.for.nullables", Type: configdef.Boolean, Default: false, Importance: configdef.Medium,
		Doc: "Whether to ignore the default for nullable fields when the value is null"},
	configdef.Key{Name: "generalized.sum.type.support", Type: configdef.Boolean, Default: false, Importance: configdef.Medium,
		Unsupported: "unions and enums keep the form of the Avro converter"},
	configdef.Key{Name: "propagate.schema.tags", Type: configdef.Boolean, Default: false, Importance: configdef.Low, Unsupported: "schema tags are not known"},
	configdef.Key{Name: "use.schema.id", Type: configdef.Int, Default: -1, Importance: configdef.Low, Unsupported: "schemas are found by their subject"},
	configdef.Key{Name: "schema.reflection", Type: configdef.Boolean, Default: false, Importance: configdef.Low, Unsupported: "there are no Java classes to reflect on"},
	configdef.Key{Name: "context.name.strategy", Type: configdef.Class, Default: "io.confluent.kafka.serializers.context.NullContextNameStrategy", Importance: configdef.Low,
		Unsupported: "subjects are looked for in the default context"},
	configdef.Key{Name: "id.compatibility.strict", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Unsupported: "it goes with use.schema.id"},
	configdef.Key{Name: "latest.cache.size", Type: configdef.Int, Default: 1000, Importance: configdef.Low, Unsupported: "schemas.cache.config bounds the caches"},
	configdef.Key{Name: "rule.metrics.enable", Type: configdef.Boolean, Default: true, Importance: configdef.Low, Unsupported: "data contract rules are not run"},
	configdef.Key{Name: "schema.backup.enabled", Type: configdef.Boolean, Default: false, Importance: configdef.Low, Unsupported: "backup envelopes are not written"},
	idSerializer("key.schema.id.serializer", "PrefixSchemaIdSerializer"), idSerializer("value.schema.id.serializer", "PrefixSchemaIdSerializer"),
	idSerializer("key.schema.id.deserializer", "DualSchemaIdDeserializer"), idSerializer("value.schema.id.deserializer", "DualSchemaIdDeserializer"),
).Unsupported("data contract rules are not run", "rule.executors", "rule.actions", "rule.service.loader.enable", "use.latest.with.metadata", "execution.environment").
	Unsupported("schemas are found by their subject", "use.schema.guid", "schema.format").
	Unsupported("requests to the registry go straight", "proxy.host", "proxy.port").
	Unsupported("the cache of absent schemas is not kept", "missing.cache.size", "missing.id.cache.ttl.sec", "missing.version.cache.ttl.sec", "missing.schema.cache.ttl.sec").
	Allow(configdef.Pattern{Prefix: "request.header."},
		configdef.Pattern{Prefix: "schema.registry.ssl.", Unsupported: "the system's certificates are trusted"},
		configdef.Pattern{Prefix: "bearer.auth.", Unsupported: "only a static token is"}).
	Merge(converterTypeDef)

func idSerializer(name, class string) configdef.Key {
	full := "io.confluent.kafka.serializers.schema.id." + class
	return configdef.Key{Name: name, Type: configdef.Class, Default: full, Importance: configdef.Low,
		Accepts:     []string{"io.confluent.kafka.serializers.schema.id.PrefixSchemaIdSerializer", "io.confluent.kafka.serializers.schema.id.PrefixSchemaIdDeserializer"},
		Unsupported: "schema ids are written before the data and read there"}
}

func avroDataConfig(cfg configdef.Values) avrodata.Config {
	return avrodata.Config{
		ConnectMetaData:           cfg.Bool("connect.meta.data"),
		Enhanced:                  cfg.Bool("enhanced.avro.schema.support"),
		ScrubNames:                cfg.Bool("scrub.invalid.names"),
		AllowOptionalMapKeys:      cfg.Bool("allow.optional.map.keys"),
		FlattenSingletonUnions:    cfg.Bool("flatten.singleton.unions"),
		DiscardTypeDocDefault:     cfg.Bool("discard.type.doc.default"),
		IgnoreDefaultForNullables: cfg.Bool("ignore.default.for.nullables"),
	}
}

func registryConfig(env plugins.ConverterEnv, cfg configdef.Values) (RegistryConfig, error) {
	c := RegistryConfig{
		URLs:           cfg.List("schema.registry.url"),
		Randomize:      cfg.Bool("schema.registry.url.randomize"),
		BearerToken:    cfg.Str("bearer.auth.token"),
		Headers:        cfg.WithPrefix("request.header."),
		ConnectTimeout: cfg.Millis("http.connect.timeout.ms"),
		ReadTimeout:    cfg.Millis("http.read.timeout.ms"),
		MaxRetries:     int(cfg.Int("max.retries")),
		RetryWait:      cfg.Millis("retries.wait.ms"),
		RetryMaxWait:   cfg.Millis("retries.max.wait.ms"),
	}
	if len(c.URLs) == 0 {
		if env.RegistryURL == "" {
			return c, fmt.Errorf("Missing required configuration \"schema.registry.url\" which has no default value.") //nolint:staticcheck // Kafka's text
		}
		c.URLs = []string{env.RegistryURL}
	}
	c.Local = env.RegistryURL != "" && len(c.URLs) == 1 && strings.TrimRight(c.URLs[0], "/") == strings.TrimRight(env.RegistryURL, "/")
	for i, text := range c.URLs {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return c, fmt.Errorf("Invalid value for configuration schema.registry.url: %q is not an http or https URL", redact(u, text)) //nolint:staticcheck // Kafka's text
		}
		if u.User != nil {
			if cfg.Str("basic.auth.credentials.source") == "URL" {
				c.Username = u.User.Username()
				c.Password, _ = u.User.Password()
			}
			u.User = nil
			c.URLs[i] = u.String()
		}
	}
	if cfg.Str("basic.auth.credentials.source") == "USER_INFO" {
		user, password, ok := strings.Cut(cfg.Str("basic.auth.user.info"), ":")
		if !ok || user == "" {
			return c, fmt.Errorf("UserInfo must be provided when basic.auth.credentials.source is set to USER_INFO; give basic.auth.user.info as user:password") //nolint:staticcheck // Confluent's text
		}
		c.Username, c.Password = user, password
	}
	return c, nil
}

func redact(u *url.URL, text string) string {
	if u == nil {
		return "the text"
	}
	if u.User != nil {
		return u.Redacted()
	}
	return text
}
